/* SPDX-License-Identifier: Apache-2.0 */
/* test_ann_upkeep.c - what the graph does by itself: damage of each of its pages is survived and
 * mended, a graph that has become bad is built again beside the one in use. The steps of the
 * background are run by hand (pv__upkeep_run), one by one, on a database without threads. */
#include "test_ann_kit.h"

/* ---- damage on the disk ---- */

/* Pages of one kind of a graph whose object ids begin at `owner`: which of its objects, which kind
 * of page, which part of an object with two columns (-1: any). */
typedef struct t_place {
    const char *name;
    uint32_t object;
    unsigned kind;
    int part;
    bool by_search; /* a search meets it */
} t_place;
/* Lists have the same objects: blocks in place of links, centres in place of level 1. */
static const t_place t_places[] = {
    {"meta", 0, PV__PAGE_GRAPH, -1, true},
    {"directory of links or blocks", 0, PV__PAGE_COLDIR, -1, true},
    {"links or blocks", 0, PV__PAGE_COLUMN, -1, true},
    {"shared nodes", 0, PV__PAGE_TREE, -1, false},
    {"directory of codes", 1, PV__PAGE_COLDIR, -1, true},
    {"codes", 1, PV__PAGE_COLUMN, -1, true},
    {"directories of the maps", 2, PV__PAGE_COLDIR, -1, true},
    {"node to slot", 2, PV__PAGE_COLUMN, 0, true},
    {"slot to node", 2, PV__PAGE_COLUMN, 1, false},
    {"directory of level 1 or centres", 3, PV__PAGE_COLDIR, -1, true},
    {"level 1 or centres", 3, PV__PAGE_COLUMN, -1, true},
};

/* Of what is searched; another one, once it has been built again. */
static pv__graph_ref t_graph(t_up *u) {
    pv__txn *txn = NULL;
    pv__parts p;
    t_parts(u, 0, &txn, &p);
    const pv__graph_ref graph = p.c.graph;
    pv__parts_done(&p);
    pv__txn_rollback(txn);
    return graph;
}

static uint8_t *t_read_file(const char *path, size_t *out_size) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *out_size = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = malloc(*out_size);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *out_size, f), *out_size);
    fclose(f);
    return bytes;
}

static void t_write_file(const char *path, const uint8_t *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* Flip a bit in every page of the place; how many there were. */
static size_t t_flip(uint8_t *file, size_t size, uint64_t uuid_tag, uint32_t owner,
                     const t_place *place) {
    size_t count = 0;
    for (size_t at = 0; at + PV__SLOT_SIZE <= size; at += PV__SLOT_SIZE) {
        uint8_t *page = file + at;
        const bool there = pv__get64(page + PV__HEAD_UUID) == uuid_tag &&
                           pv__page_kind(page) == place->kind &&
                           pv__page_owner(page) == owner + place->object;
        const int part = (int)(pv__get32(page + PV__HEAD_ORDINAL) >> 31);
        if (there && (place->part < 0 || place->part == part)) {
            page[PV__PAGE_HEAD + 5] ^= 0x10;
            count++;
        }
    }
    return count;
}

/* A life with the damage: searches, writes of all kinds, then it is mended, then reopened. */
static void t_live_on(t_up *u, const t_place *place, bool search_first) {
    const pv__graph_ref old = t_graph(u);
    if (search_first) {
        t_expect_answers(u, 20);
        if (place->by_search) {
            assert_true(t_info(u).flags & PV_COLLECTION_INDEX_DAMAGED);
            assert_int_equal(u->complaints, 1); /* not once for each search */
        }
    }
    t_insert(u, 30);
    t_delete(u, 120);
    t_change(u, 20);
    t_expect_answers(u, 10);
    assert_true(t_upkeep(u, 100000) < 100000);
    assert_true(u->complaints >= 1);
    const pv_collection_info info = t_info(u);
    assert_int_equal(info.flags, 0);
    assert_int_equal(info.indexed, u->count);
    t_expect_answers(u, 20);
    t_expect_graphs(u);
    assert_int_equal(t_pages_of(u, old.owner, PV__GRAPH_OWNERS), 0);
    t_api_shut(&u->t);
    t_api_reopen(&u->t, &u->opts);
    t_expect_answers(u, 5);
    t_expect_graphs(u);
}

static void t_expect_mended(const t_place *place, bool lists, bool search_first) {
    t_up *u = lists ? t_new_lists(1100, 1, 0) : t_new(1100, 1);
    const uint64_t uuid_tag = u->t.db->store->uuid_tag;
    const uint32_t owner = t_graph(u).owner;
    size_t size = 0;
    t_api_shut(&u->t);
    uint8_t *file = t_read_file(u->t.path, &size);
    const size_t flipped = t_flip(file, size, uuid_tag, owner, place);
    if (flipped == 0) {
        fprintf(stderr, "no page of '%s'\n", place->name);
    }
    assert_true(flipped > 0);
    t_write_file(u->t.path, file, size);
    free(file);
    t_api_reopen(&u->t, &u->opts);
    t_live_on(u, place, search_first);
    t_free(u);
}

static void test_ann_upkeep__damage_of_any_page_is_mended(void **state) {
    (void)state;
    for (size_t i = 0; i < PV_COUNTOF(t_places) * 4; i++) {
        t_expect_mended(&t_places[i / 4], i % 4 / 2 == 1, i % 2 == 1);
    }
}

/* ---- damage that the checksums cannot see: what a writer with a bug might have left ---- */

typedef void (*t_damage)(pv__graph *g, uint8_t *meta_page, pv_error *err);

static void t_no_version(pv__graph *g, uint8_t *meta, pv_error *err) {
    (void)g;
    (void)err;
    pv__put32(meta + PV__PAGE_HEAD, 0);
}
static void t_counters(pv__graph *g, uint8_t *meta, pv_error *err) {
    (void)g;
    (void)err;
    pv__put32(meta + PV__PAGE_HEAD + 20, UINT32_MAX);
}
static void t_links_beyond(pv__graph *g, uint8_t *meta, pv_error *err) {
    (void)meta;
    for (uint32_t node = 0; node < g->meta.node_high; node++) {
        uint8_t *row = NULL;
        test_assert_ok(pv__column_write(&g->links, node, &row, err), err);
        if (pv__links_count(row) > 0) {
            pv__links_set(row, 0, g->meta.node_high + 5);
        }
    }
}
static void t_maps_lead_nowhere(pv__graph *g, uint8_t *meta, pv_error *err) {
    (void)meta;
    for (uint32_t slot = 0; slot < 1100; slot++) {
        uint8_t *row = NULL;
        test_assert_ok(pv__column_write(&g->node_of, slot, &row, err), err);
        pv__put32(row, g->meta.node_high + 9);
    }
}

static void test_ann_upkeep__a_wrong_graph_is_given_up(void **state) {
    (void)state;
    static const t_damage damages[] = {t_no_version, t_counters, t_links_beyond,
                                       t_maps_lead_nowhere};
    static const t_place seen = {"planted", 0, 0, -1, true}, unseen = {"planted", 0, 0, -1, false};
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        t_up *u = t_new(1100, 1);
        pv__txn *txn = NULL;
        pv__parts p;
        uint8_t *meta = NULL;
        t_parts(u, PV__TXN_WRITE, &txn, &p);
        test_assert_ok(pv__parts_graph(&p, 0, 1, &u->t.err), &u->t.err);
        test_assert_ok(pv__page_write(txn, p.c.graph.page, PV__PAGE_GRAPH, &meta, &u->t.err),
                       &u->t.err);
        damages[i](&p.graph, meta, &u->t.err);
        pv__parts_done(&p);
        test_assert_ok(pv__txn_commit(txn, NULL, &u->t.err), &u->t.err);
        t_live_on(u, damages[i] == t_maps_lead_nowhere ? &unseen : &seen, i % 2 == 0);
        uint64_t problems = 0;
        test_assert_ok(pv_check(u->t.db, PV_CHECK_DEEP, NULL, NULL, &problems, &u->t.err),
                       &u->t.err);
        assert_int_equal(problems, 0); /* all pages could be read, so all were given back */
        t_free(u);
    }
}

/* Nobody writes: what a search has found is mended all the same. */
static void test_ann_upkeep__what_a_search_finds_is_mended(void **state) {
    (void)state;
    t_up *u = t_new(1100, 1);
    pv__txn *txn = NULL;
    pv__parts p;
    (void)t_upkeep(u, 100000);
    t_parts(u, PV__TXN_WRITE, &txn, &p);
    test_assert_ok(pv__parts_graph(&p, 0, 1, &u->t.err), &u->t.err);
    t_links_beyond(&p.graph, NULL, &u->t.err);
    pv__parts_done(&p);
    test_assert_ok(pv__txn_commit(txn, NULL, &u->t.err), &u->t.err);
    t_expect_answers(u, 10);
    assert_true(t_info(u).flags & PV_COLLECTION_INDEX_DAMAGED);
    assert_true(t_upkeep(u, 100000) < 100000);
    assert_int_equal(t_info(u).flags, 0);
    assert_int_equal(t_info(u).indexed, u->count);
    t_expect_graphs(u);
    t_expect_sound(&u->t);
    t_free(u);
}

/* A collection can be dropped whatever its graph looks like, and leaves nothing. */
static void test_ann_upkeep__a_collection_with_a_wrong_graph_can_be_dropped(void **state) {
    (void)state;
    t_up *u = t_new(1100, 1);
    pv__txn *txn = NULL;
    pv__parts p;
    uint8_t *meta = NULL;
    t_parts(u, PV__TXN_WRITE, &txn, &p);
    const uint32_t owner = p.c.graph.owner;
    test_assert_ok(pv__page_write(txn, p.c.graph.page, PV__PAGE_GRAPH, &meta, &u->t.err),
                   &u->t.err);
    t_no_version(NULL, meta, NULL);
    pv__parts_done(&p);
    test_assert_ok(pv__txn_commit(txn, NULL, &u->t.err), &u->t.err);
    test_assert_ok(pv_collection_drop(u->t.db, NULL, "c", &u->t.err), &u->t.err);
    assert_true(t_upkeep(u, 100000) < 100000);
    assert_int_equal(t_pages_of(u, owner, PV__GRAPH_OWNERS), 0);
    t_expect_sound(&u->t);
    t_free(u);
}

/* ---- built again ---- */

static bool t_is_rebuilding(t_up *u) {
    return (t_info(u).flags & PV_COLLECTION_INDEX_REBUILDING) != 0;
}

/* Two thirds of the records go; nobody writes any more. The numbers that stood for them go too. */
static void test_ann_upkeep__a_graph_with_many_gone_is_built_again(void **state) {
    (void)state;
    t_up *u = t_new(1800, 1);
    pv__txn *txn = NULL;
    pv__parts p;
    const uint32_t owner = t_graph(u).owner;
    t_delete(u, 1200);
    unsigned steps = 0;
    bool seen = false;
    while (t_upkeep(u, 4) == 4) { /* whoever looks meanwhile sees nothing of it */
        steps++;
        if (steps % 16 == 0) {
            t_expect_answers(u, 3);
            t_expect_sound(&u->t);
        }
        seen = seen || t_is_rebuilding(u);
    }
    assert_true(seen && !t_is_rebuilding(u));
    t_parts(u, 0, &txn, &p);
    test_assert_ok(pv__parts_graph(&p, 0, 1, &u->t.err), &u->t.err);
    assert_int_not_equal(p.c.graph.owner, owner);
    assert_int_equal(p.graph.meta.node_high, p.graph.meta.node_count);
    assert_int_equal(p.graph.meta.node_count + p.graph.meta.dup_count, 600);
    pv__parts_done(&p);
    pv__txn_rollback(txn);
    assert_int_equal(t_pages_of(u, owner, PV__GRAPH_OWNERS), 0);
    t_expect_answers(u, 20);
    t_expect_sound(&u->t);
    t_free(u);
}

/* Records come, go and change while the next graph is being built: it gets all of that too. */
static void test_ann_upkeep__writes_go_on_while_it_is_built_again(void **state) {
    (void)state;
    t_up *u = t_new(1800, 1);
    t_delete(u, 800);
    unsigned rounds = 0;
    while (!t_is_rebuilding(u)) {
        assert_true(t_upkeep(u, 1) == 1);
    }
    for (; t_is_rebuilding(u); rounds++) {
        t_insert(u, 3);
        t_delete(u, 2);
        t_change(u, 2);
        (void)t_upkeep(u, 1);
        if (rounds % 8 == 7) {
            t_expect_answers(u, 2);
            t_expect_graphs(u);
        }
        if (rounds == 5) { /* where it stood is in the pages */
            t_api_shut(&u->t);
            t_api_reopen(&u->t, &u->opts);
        }
    }
    assert_true(rounds > 6);
    assert_true(t_upkeep(u, 100000) < 100000);
    assert_int_equal(t_info(u).indexed, u->count);
    t_expect_answers(u, 20);
    t_expect_sound(&u->t);
    t_free(u);
}

/* The calls that write pay for all of it where there is no thread. */
static void test_ann_upkeep__writes_alone_build_it_again(void **state) {
    (void)state;
    t_up *u = t_new(1800, 1);
    bool seen = false;
    t_delete(u, 800);
    for (unsigned i = 0; i < 4000 && !(seen && !t_is_rebuilding(u)); i++) {
        t_change(u, 1);
        seen = seen || t_is_rebuilding(u);
    }
    assert_true(seen && !t_is_rebuilding(u));
    t_expect_answers(u, 20);
    t_expect_sound(&u->t);
    t_free(u);
}

/* What a test has written into the graph's page; upkeep is told. The graph's owner. */
static uint32_t t_commit_graph(t_up *u, pv__txn *txn, pv__parts *p) {
    const uint32_t owner = p->c.graph.owner;
    p->graph.changed = true;
    test_assert_ok(pv__parts_save(p, &u->t.err), &u->t.err);
    (void)pv__upkeep_want(u->t.db, &p->c);
    pv__parts_done(p);
    test_assert_ok(pv__txn_commit(txn, NULL, &u->t.err), &u->t.err);
    return owner;
}

/* Recall, as the graph measures it itself, has fallen by more than two points. */
static void test_ann_upkeep__fallen_recall_asks_for_a_new_graph(void **state) {
    (void)state;
    t_up *u = t_new(2000, 1);
    pv__txn *txn = NULL;
    pv__parts p;
    (void)t_upkeep(u, 100000);
    t_change(u, 900);
    (void)t_upkeep(u, 100000);
    assert_false(t_is_rebuilding(u));
    t_parts(u, PV__TXN_WRITE, &txn, &p);
    test_assert_ok(pv__parts_graph(&p, 0, 1, &u->t.err), &u->t.err);
    assert_true(p.graph.meta.removed >= 600 && p.graph.meta.curve.first > 0);
    assert_false(pv__graph_rebuild_due(&p.graph));
    p.graph.meta.curve.recall[PV__CURVES - 1][8] = (uint16_t)(p.graph.meta.curve.first - 1300);
    assert_true(pv__graph_rebuild_due(&p.graph));
    const uint32_t owner = t_commit_graph(u, txn, &p);
    assert_true(t_upkeep(u, 100000) < 100000);
    assert_int_not_equal(t_graph(u).owner, owner);
    t_expect_answers(u, 20);
    t_expect_sound(&u->t);
    t_free(u);
}

/* A graph of dot whose links were chosen as an earlier version did, by the distance after
 * augmentation, answers as it did, and is built again. */
static void test_ann_upkeep__links_of_an_earlier_version_are_chosen_again(void **state) {
    (void)state;
    t_up *u = malloc(sizeof *u);
    pv__txn *txn = NULL;
    pv__parts p;
    assert_non_null(u);
    t_open_metric(u, 2000, PV_METRIC_DOT);
    (void)t_upkeep(u, 100000);
    t_parts(u, PV__TXN_WRITE, &txn, &p);
    test_assert_ok(pv__parts_graph(&p, 0, 1, &u->t.err), &u->t.err);
    assert_true(p.graph.meta.by_product && !pv__graph_rebuild_due(&p.graph));
    p.graph.meta.by_product = false;
    assert_true(pv__graph_rebuild_due(&p.graph));
    const uint32_t owner = t_commit_graph(u, txn, &p);
    t_expect_sound(&u->t);
    assert_true(t_upkeep(u, 100000) < 100000);
    assert_int_not_equal(t_graph(u).owner, owner);
    t_parts(u, 0, &txn, &p);
    test_assert_ok(pv__parts_graph(&p, 0, 1, &u->t.err), &u->t.err);
    assert_true(p.graph.meta.by_product);
    pv__parts_done(&p);
    pv__txn_rollback(txn);
    t_expect_sound(&u->t);
    t_free(u);
}

/* Damage of the graph in use while the next one is being built: the next one takes its place. */
static void test_ann_upkeep__the_next_graph_takes_the_place_of_a_damaged_one(void **state) {
    (void)state;
    for (int next = 0; next < 2; next++) { /* which of the two is damaged */
        t_up *u = t_new(1800, 1);
        pv__txn *txn = NULL;
        pv__parts p;
        uint8_t *meta = NULL;
        t_delete(u, 800);
        while (!t_is_rebuilding(u)) {
            assert_true(t_upkeep(u, 1) == 1);
        }
        (void)t_upkeep(u, 1);
        assert_true(t_is_rebuilding(u));
        t_parts(u, PV__TXN_WRITE, &txn, &p);
        const uint64_t page = next ? p.c.next.page : p.c.graph.page;
        test_assert_ok(pv__page_write(txn, page, PV__PAGE_GRAPH, &meta, &u->t.err), &u->t.err);
        t_no_version(NULL, meta, NULL);
        pv__parts_done(&p);
        test_assert_ok(pv__txn_commit(txn, NULL, &u->t.err), &u->t.err);
        t_expect_answers(u, 3);
        t_delete(u, 5);
        t_change(u, 5);
        t_insert(u, 5);
        t_expect_answers(u, 3);
        t_expect_graphs(u);
        assert_true(t_upkeep(u, 100000) < 100000);
        assert_int_equal(t_info(u).indexed, u->count);
        assert_int_equal(t_info(u).flags, 0);
        t_expect_answers(u, 20);
        t_expect_sound(&u->t);
        t_free(u);
    }
}

/* A reader's answers are the same bits for as long as it reads, whatever becomes of the graph. */
static void test_ann_upkeep__an_old_snapshot_keeps_its_graph(void **state) {
    (void)state;
    t_up *u = t_new(1800, 1);
    pv_txn *old = NULL;
    uint64_t first[8] = {0};
    test_assert_ok(pv_txn_begin(u->t.db, PV_TXN_READ, &old, &u->t.err), &u->t.err);
    for (unsigned round = 0; round < 6; round++) {
        test_rng rng;
        test_rng_init(&rng, 3);
        for (size_t i = 0; i < 8; i++) {
            uint64_t hash = 0;
            pv_results *r = NULL;
            float v[T_DIMS];
            pv_query q = t_query(v, T_DIMS, T_K);
            for (size_t d = 0; d < T_DIMS; d++) {
                v[d] = (float)test_rng_below(&rng, 1000) / 100.0f;
            }
            q.ef = 24;
            test_assert_ok(pv_search(u->t.db, old, "c", &q, &r, &u->t.err), &u->t.err);
            for (size_t h = 0; h < pv_results_count(r); h++) {
                const float d = pv_results_distance(r, h);
                uint32_t bits;
                memcpy(&bits, &d, 4);
                hash = pv__mix64(hash ^ pv_results_id_u64(r, h) ^ (uint64_t)bits << 32);
            }
            pv_results_free(r);
            first[i] = round == 0 ? hash : first[i];
            assert_int_equal(hash, first[i]);
        }
        if (round == 0) {
            t_delete(u, 800);
        }
        t_change(u, 40);
        t_insert(u, 40);
        (void)t_upkeep(u, round < 4 ? 12 : 100000); /* sweep, rebuild, swap, graves */
        test_assert_ok(pv_checkpoint(u->t.db, &u->t.err), &u->t.err);
    }
    assert_false(t_is_rebuilding(u));
    pv_txn_rollback(old);
    t_expect_answers(u, 20);
    t_expect_sound(&u->t);
    t_free(u);
}

/* With threads nobody has to do anything: the graph becomes whole while readers and a writer go
 * on. */
static void test_ann_upkeep__a_thread_does_it(void **state) {
    (void)state;
    t_up *u = t_new(1800, 0);
    const uint64_t page = t_graph(u).page;
    t_delete(u, 800);
    for (unsigned i = 0; i < 60000 && (t_graph(u).page == page || t_is_rebuilding(u)); i++) {
        if (i % 64 == 0) {
            t_expect_answers(u, 10);
            t_change(u, 1);
        }
        pv__sys_sleep_ms(1);
    }
    assert_true(t_graph(u).page != page && !t_is_rebuilding(u));
    t_expect_answers(u, 20);
    t_expect_graphs(u);
    t_free(u);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ann_upkeep__damage_of_any_page_is_mended),
        cmocka_unit_test(test_ann_upkeep__a_wrong_graph_is_given_up),
        cmocka_unit_test(test_ann_upkeep__what_a_search_finds_is_mended),
        cmocka_unit_test(test_ann_upkeep__a_collection_with_a_wrong_graph_can_be_dropped),
        cmocka_unit_test(test_ann_upkeep__a_graph_with_many_gone_is_built_again),
        cmocka_unit_test(test_ann_upkeep__writes_go_on_while_it_is_built_again),
        cmocka_unit_test(test_ann_upkeep__writes_alone_build_it_again),
        cmocka_unit_test(test_ann_upkeep__fallen_recall_asks_for_a_new_graph),
        cmocka_unit_test(test_ann_upkeep__links_of_an_earlier_version_are_chosen_again),
        cmocka_unit_test(test_ann_upkeep__the_next_graph_takes_the_place_of_a_damaged_one),
        cmocka_unit_test(test_ann_upkeep__an_old_snapshot_keeps_its_graph),
        cmocka_unit_test(test_ann_upkeep__a_thread_does_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
