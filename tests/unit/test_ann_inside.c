/* SPDX-License-Identifier: Apache-2.0 */
/* test_ann_inside.c - the graph below pv.h: walks that may answer with some slots only, and the
 * bytes of its pages. */
#include "ann/internal.h"
#include "base/bytes.h"
#include "engine/db.h"
#include "engine/parts.h"
#include "test_api_kit.h"

enum { T_DIMS = 8, T_ROWS = 1200, T_K = 10 };

typedef struct t_inside {
    t_api t;
    float vectors[T_ROWS][T_DIMS];
} t_inside;

static void t_inside_open(t_inside *in) {
    static uint64_t ids[T_ROWS];
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    pv_batch b = PV_BATCH_INIT;
    test_rng rng;
    memset(in, 0, sizeof(*in));
    t_api_open(&in->t, &o);
    c.dims = T_DIMS;
    c.metric = PV_METRIC_L2;
    c.key = PV_KEY_U64;
    c.index = PV_INDEX_HNSW;
    test_assert_ok(pv_collection_create(in->t.db, NULL, "c", &c, &in->t.err), &in->t.err);
    test_rng_init(&rng, test_seed());
    for (size_t i = 0; i < T_ROWS; i++) {
        ids[i] = i;
        for (size_t d = 0; d < T_DIMS; d++) {
            in->vectors[i][d] = (float)test_rng_below(&rng, 2000) / 100.0f;
        }
    }
    b.count = T_ROWS;
    b.dims = T_DIMS;
    b.vectors = in->vectors;
    b.ids_u64 = ids;
    test_assert_ok(pv_insert_batch(in->t.db, NULL, "c", &b, NULL, &in->t.err), &in->t.err);
}

static void t_parts(t_inside *in, uint32_t flags, pv__txn **out_txn, pv__parts *p) {
    pv_error *err = &in->t.err;
    test_assert_ok(pv__txn_begin(in->t.db->store, flags, out_txn, err), err);
    test_assert_ok(pv__parts_open(p, *out_txn, "c", err), err);
    test_assert_ok(pv__parts_graph(p, in->t.db->cpu, 1, err), err);
}

/* ---- some slots only ------------------------------------------------------------------------- */

static double t_distance2(const float *a, const float *b) {
    double sum = 0;
    for (size_t i = 0; i < T_DIMS; i++) {
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    }
    return sum;
}

/* Every `step`-th slot is allowed: never another one, and nearly all of the nearest of them. */
static void t_expect_allowed(t_inside *in, pv__walker *w, pv__parts *p, uint32_t step) {
    uint64_t words[(T_ROWS + 63) / 64] = {0};
    pv__allowed allowed = {words, T_ROWS};
    const uint32_t there = (T_ROWS + step - 1) / step, k = there < T_K ? there : T_K;
    const pv__effort effort = {256, T_K, INFINITY};
    unsigned hits = 0, wanted = 0;
    for (uint32_t s = 0; s < T_ROWS; s += step) {
        words[s / 64] |= UINT64_C(1) << (s % 64);
    }
    for (uint32_t q = 1; q < T_ROWS; q += 97) {
        pv__hit found[T_K];
        uint32_t n = 0;
        bool complete = false;
        test_assert_ok(pv__graph_search(&p->graph, w, in->vectors[q], &effort, T_K, &allowed, found,
                                        &n, &complete, &in->t.err),
                       &in->t.err);
        assert_true(n == k || !complete); /* short only where a scan shall answer */
        for (uint32_t i = 0; i < n; i++) {
            unsigned nearer = 0;
            assert_int_equal(found[i].slot % step, 0);
            const double d = t_distance2(in->vectors[q], in->vectors[found[i].slot]);
            for (uint32_t s = 0; s < T_ROWS; s += step) {
                nearer += t_distance2(in->vectors[q], in->vectors[s]) < d;
            }
            hits += complete && nearer < k;
        }
        wanted += complete ? k : 0;
        test_assert_ok(pv__txn_pause(p->txn, &in->t.err), &in->t.err);
    }
    if ((double)hits < 0.9 * (double)wanted) {
        fprintf(stderr, "1 of %u allowed: %u of %u found\n", (unsigned)step, hits, wanted);
    }
    assert_true((double)hits >= 0.9 * (double)wanted);
    if (step <= 16) {
        assert_true(wanted > 0);
    }
}

static void test_ann_inside__walks_answer_with_allowed_slots_only(void **state) {
    (void)state;
    t_inside *in = malloc(sizeof *in);
    pv__walker *w = NULL;
    pv__txn *txn = NULL;
    pv__parts p;
    assert_non_null(in);
    t_inside_open(in);
    t_parts(in, 0, &txn, &p);
    test_assert_ok(pv__db_walker_take(in->t.db, &w, &in->t.err), &in->t.err);
    static const uint32_t steps[] = {1, 2, 7, 16, 100, 400};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        t_expect_allowed(in, w, &p, steps[i]);
    }
    pv__db_walker_give(in->t.db, w);
    pv__parts_done(&p);
    pv__txn_rollback(txn);
    t_api_done(&in->t);
    free(in);
}

/* ---- the same bytes -------------------------------------------------------------------------- */

enum { T_MANY = 8000, T_FIRST = 5000, T_WIDTH = 24 };

/* Of the contents of all pages, without their heads, which name the database and the commit. */
static uint64_t t_hash_pages(pv__txn *txn, pv_error *err) {
    uint64_t end = 0, hash = 0;
    size_t pages = 0;
    test_assert_ok(pv__page_ids_end(txn, &end, err), err);
    for (uint64_t id = 1; id < end; id++) {
        const uint8_t *page = NULL;
        if (pv__page_read(txn, id, PV__PAGE_ANY, &page, NULL) == 0) {
            const size_t size = pv__page_size(page) - PV__PAGE_HEAD;
            hash = pv__mix64(hash ^ pv__hash64(page + PV__PAGE_HEAD, size, id));
            hash = pv__mix64(hash ^ pv__page_owner(page) ^ (uint64_t)pv__page_kind(page) << 32);
            pages++;
        }
        test_assert_ok(pv__txn_pause(txn, err), err);
    }
    assert_true(pages > 300);
    return hash;
}

static void t_insert_many(t_api *t, pv_txn *txn, const float *v, size_t from, size_t count) {
    uint64_t *ids = malloc(count * sizeof *ids);
    pv_batch b = PV_BATCH_INIT;
    assert_non_null(ids);
    for (size_t i = 0; i < count; i++) {
        ids[i] = from + i;
    }
    b.count = count;
    b.dims = T_WIDTH;
    b.vectors = v + from * T_WIDTH;
    b.ids_u64 = ids;
    test_assert_ok(pv_insert_batch(t->db, txn, "c", &b, NULL, &t->err), &t->err);
    free(ids);
}

/* G5: whatever the number of threads, the same calls write the same bytes: rows in random order,
 * then rows sorted by cluster, in three calls of one transaction. */
static void test_ann_inside__threads_change_no_byte(void **state) {
    (void)state;
    static const uint32_t threads[] = {1, 2, 4};
    float *v = malloc(sizeof(float) * T_MANY * T_WIDTH);
    uint64_t hash[3] = {0};
    test_rng rng;
    assert_non_null(v);
    test_rng_init(&rng, test_seed());
    for (size_t i = 0; i < T_MANY; i++) {
        const size_t cluster = i < T_FIRST ? test_rng_below(&rng, 30) : i / 100;
        for (size_t d = 0; d < T_WIDTH; d++) {
            v[i * T_WIDTH + d] =
                (float)(cluster * 7 % (d + 3)) + (float)test_rng_below(&rng, 1000) / 400.0f;
        }
    }
    for (size_t i = 0; i < 3; i++) {
        t_api t;
        pv_open_opts o = PV_OPEN_OPTS_INIT;
        pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
        pv_txn *txn = NULL;
        o.threads = threads[i];
        t_api_open(&t, &o);
        c.dims = T_WIDTH;
        c.metric = PV_METRIC_L2;
        c.key = PV_KEY_U64;
        c.index = PV_INDEX_HNSW;
        test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &txn, &t.err), &t.err);
        test_assert_ok(pv_collection_create(t.db, txn, "c", &c, &t.err), &t.err);
        t_insert_many(&t, txn, v, 0, T_FIRST);
        t_insert_many(&t, txn, v, T_FIRST, T_MANY - T_FIRST - 500);
        t_insert_many(&t, txn, v, T_MANY - 500, 500);
        hash[i] = t_hash_pages(txn->txn, &t.err); /* afterwards the background writes, too */
        test_assert_ok(pv_txn_commit(txn, NULL, &t.err), &t.err);
        t_expect_sound(&t);
        t_api_done(&t);
    }
    free(v);
    assert_int_equal(hash[0], hash[1]);
    assert_int_equal(hash[0], hash[2]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ann_inside__walks_answer_with_allowed_slots_only),
        cmocka_unit_test(test_ann_inside__threads_change_no_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
