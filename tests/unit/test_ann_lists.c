/* SPDX-License-Identifier: Apache-2.0 */
/* test_ann_lists.c - collections with PV_INDEX_IVF: lists that stay what they say whatever comes
 * and goes, with every code, and are made anew when the records have outgrown them. */
#include "ann/lists.h"
#include "test_ann_kit.h"

typedef struct t_shape {
    pv__graph_meta meta;
    uint32_t rows; /* of a block */
    uint64_t longest;
} t_shape;

/* What the lists look like. */
static t_shape t_lists(t_up *u) {
    pv__txn *txn = NULL;
    pv__parts p;
    t_shape s = {.rows = 0};
    pv_error *err = &u->t.err;
    t_parts(u, 0, &txn, &p);
    test_assert_ok(pv__parts_graph(&p, u->t.db->cpu, 1, err), err);
    pv__graph *g = &p.graph;
    s.meta = g->meta;
    s.rows = g->built ? pv__block_rows(g) : 0;
    for (uint32_t i = 0; g->built && i < g->meta.lists.count; i++) {
        const uint8_t *row = NULL;
        uint64_t count = 0;
        test_assert_ok(pv__column_read(&g->upper[0], g->meta.lists.groups + i, &row, err), err);
        const uint32_t heads[2] = {pv__list_open(row), pv__list_full(row)};
        for (unsigned h = 0; h < 2; h++) {
            for (uint32_t at = heads[h]; at != 0;) {
                test_assert_ok(pv__column_read(&g->links, at - 1, &row, err), err);
                count += pv__block_of(row).count;
                at = pv__block_of(row).next;
            }
        }
        s.longest = count > s.longest ? count : s.longest;
    }
    pv__parts_done(&p);
    pv__txn_rollback(txn);
    return s;
}

static uint32_t t_owner(t_up *u) {
    pv__txn *txn = NULL;
    pv__parts p;
    t_parts(u, 0, &txn, &p);
    const uint32_t owner = p.c.graph.owner;
    pv__parts_done(&p);
    pv__txn_rollback(txn);
    return owner;
}

/* All that the background would do. */
static void t_settle(t_up *u) {
    pv__txn *txn = NULL;
    pv__parts p;
    t_parts(u, 0, &txn, &p);
    (void)pv__upkeep_want(u->t.db, &p.c);
    pv__parts_done(&p);
    pv__txn_rollback(txn);
    assert_true(t_upkeep(u, 100000) < 100000);
}

/* ---- life ---- */

static void test_ann_lists__begin_when_there_are_enough(void **state) {
    (void)state;
    t_up *u = t_new_lists(60, 1, 0);
    assert_int_equal(t_info(u).index, PV_INDEX_IVF);
    assert_int_equal(t_info(u).lists, 0);
    assert_int_equal(t_info(u).indexed, 0);
    t_expect_answers(u, 5);
    t_insert(u, 10);
    t_settle(u);
    assert_int_equal(t_info(u).lists, 1);
    assert_int_equal(t_info(u).indexed, 70);
    t_expect_graphs(u);
    t_insert(u, 1130);
    t_settle(u);
    assert_int_equal(t_info(u).indexed, 1200);
    assert_true(t_info(u).lists > 1);
    assert_int_equal(t_info(u).index_dead, 0);
    t_expect_graphs(u);
    t_expect_answers(u, 20);
    t_expect_sound(&u->t);
    t_free(u);
}

static void test_ann_lists__sound_after_every_step(void **state) {
    (void)state;
    t_up *u = t_new_lists(1500, 1, 0);
    t_come_and_go(u, 16);
    t_expect_sound(&u->t);
    t_free(u);
}

/* All pages of codes of blocks without nodes are given back, and their numbers used again. */
static void test_ann_lists__places_are_used_again(void **state) {
    (void)state;
    t_up *u = t_new_lists(3000, 1, 0);
    t_settle(u);
    const t_shape before = t_lists(u);
    for (unsigned round = 0; round < 6; round++) {
        t_delete(u, 500);
        t_insert(u, 500);
        assert_int_equal(t_lists(u).meta.node_count + t_lists(u).meta.dup_count, u->count);
    }
    assert_int_equal(t_lists(u).meta.removed >= 2000, 1);
    assert_true(t_lists(u).meta.node_high <= before.meta.node_high + before.meta.node_high / 4);
    t_expect_graphs(u);
    const size_t pages = t_pages_of(u, t_owner(u) + 1, 1);
    t_delete(u, u->count);
    assert_true(pages > 10);
    assert_true(t_pages_of(u, t_owner(u) + 1, 1) <= 2); /* the directory */
    t_expect_graphs(u);
    t_free(u);
}

/* Equal vectors share a node whatever the order in which they come. */
static void test_ann_lists__equal_vectors_share_a_node(void **state) {
    (void)state;
    t_up *u = t_new_lists(2000, 1, 0);
    t_settle(u);
    const uint32_t nodes = t_lists(u).meta.node_count;
    for (unsigned i = 0; i < 40; i++) { /* one by one, and two in one call */
        uint64_t ids[2] = {u->next, u->next + 1};
        memcpy(u->v[ids[0]], u->v[7], sizeof u->v[7]);
        memcpy(u->v[ids[1]], u->v[7], sizeof u->v[7]);
        u->next += 2;
        t_put_ids(u, ids, 1 + i % 2);
        if (i % 2 == 0) {
            t_put_ids(u, ids + 1, 1);
        }
    }
    assert_int_equal(t_lists(u).meta.node_count, nodes);
    t_expect_graphs(u);
    t_expect_answers(u, 10);
    for (uint64_t id = u->next - 80; id < u->next; id++) {
        u->there[id] = false;
        u->count--;
        test_assert_ok(pv_delete_u64(u->t.db, NULL, "c", id, &u->t.err), &u->t.err);
    }
    t_expect_graphs(u);
    assert_int_equal(t_lists(u).meta.node_count, nodes);
    t_free(u);
}

/* Four times as many records: lists are made anew beside the old ones. */
static void test_ann_lists__made_anew_when_outgrown(void **state) {
    (void)state;
    t_up *u = t_new_lists(1100, 1, 0);
    t_settle(u);
    const t_shape small = t_lists(u);
    assert_int_equal(small.meta.lists.rows, 1100);
    while (u->count < 5200) {
        t_insert(u, 300);
    }
    t_settle(u);
    const t_shape large = t_lists(u);
    assert_true(large.meta.lists.rows >= 4000);
    assert_true(large.meta.lists.count > 2 * small.meta.lists.count);
    assert_int_equal(t_info(u).indexed, u->count);
    assert_int_equal(t_info(u).flags, 0);
    t_expect_graphs(u);
    t_expect_answers(u, 20);
    t_expect_sound(&u->t);
    t_free(u);
}

static void test_ann_lists__made_anew_when_nearly_empty(void **state) {
    (void)state;
    t_up *u = t_new_lists(6000, 1, 0);
    t_settle(u);
    const uint32_t high = t_lists(u).meta.node_high;
    t_delete(u, 4500);
    t_settle(u);
    assert_true(t_lists(u).meta.node_high < high / 2);
    assert_int_equal(t_lists(u).meta.lists.rows, 1500);
    t_expect_graphs(u);
    t_expect_answers(u, 10);
    t_free(u);
}

/* ---- codes ---- */

static void test_ann_lists__every_code(void **state) {
    (void)state;
    static const uint32_t codes[] = {PV_CODE_F32, PV_CODE_F16, PV_CODE_SQ8, PV_CODE_Q4,
                                     PV_CODE_B1,  PV_CODE_PQ,  PV_CODE_AUTO};
    for (size_t i = 0; i < PV_COUNTOF(codes); i++) {
        t_up *u = t_new_lists(2500, 1, codes[i]);
        t_settle(u);
        t_delete(u, 200);
        t_insert(u, 200);
        t_settle(u);
        assert_int_equal(t_info(u).code_asked, codes[i]);
        t_expect_graphs(u);
        t_expect_answers(u, 10);
        t_expect_sound(&u->t);
        t_free(u);
    }
}

/* ---- efforts ---- */

/* ef is a number of lists; a search of all finds all. */
static void test_ann_lists__ef_is_a_number_of_lists(void **state) {
    (void)state;
    t_up *u = t_new_lists(6000, 1, PV_CODE_F32);
    t_settle(u);
    size_t hits[3] = {0}, wanted = 0;
    for (unsigned i = 0; i < 40; i++) {
        float v[T_DIMS];
        t_vector(u, v);
        const double kth = t_kth(u, v, T_K);
        for (unsigned e = 0; e < 3; e++) {
            pv_results *r = NULL;
            pv_query q = t_query(v, T_DIMS, T_K);
            q.ef = e == 0 ? 1 : e == 1 ? 8 : 16384;
            test_assert_ok(pv_search(u->t.db, NULL, "c", &q, &r, &u->t.err), &u->t.err);
            assert_int_equal(pv_results_count(r), T_K);
            assert_string_equal(pv_results_plan(r), "lists");
            for (size_t h = 0; h < T_K; h++) {
                hits[e] += pv_results_distance(r, h) <= kth * 1.00001 + 1e-6;
            }
            pv_results_free(r);
        }
        wanted += T_K;
    }
    assert_true(hits[0] < hits[1] && hits[1] <= hits[2]);
    assert_int_equal(hits[2], wanted);
    t_free(u);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ann_lists__begin_when_there_are_enough),
        cmocka_unit_test(test_ann_lists__sound_after_every_step),
        cmocka_unit_test(test_ann_lists__places_are_used_again),
        cmocka_unit_test(test_ann_lists__equal_vectors_share_a_node),
        cmocka_unit_test(test_ann_lists__made_anew_when_outgrown),
        cmocka_unit_test(test_ann_lists__made_anew_when_nearly_empty),
        cmocka_unit_test(test_ann_lists__every_code),
        cmocka_unit_test(test_ann_lists__ef_is_a_number_of_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
