/* SPDX-License-Identifier: Apache-2.0 */
/* test_ann_inside.c - the graph below pv.h: damage planted in its pages, and walks that may answer
 * with some slots only. */
#include "ann/internal.h"
#include "base/bytes.h"
#include "engine/db.h"
#include "engine/parts.h"
#include "test_api_kit.h"

enum { T_DIMS = 8, T_ROWS = 1200, T_K = 10 };

typedef struct t_inside {
    t_api t;
    unsigned complaints; /* log messages of category "index" */
    float vectors[T_ROWS][T_DIMS];
} t_inside;

static void t_log(void *ctx, int level, const char *category, const char *message) {
    t_inside *in = ctx;
    if (level == PV_LOG_ERROR && strcmp(category, "index") == 0) {
        assert_non_null(strstr(message, "without its graph"));
        in->complaints++;
    }
}

static void t_inside_open(t_inside *in) {
    static uint64_t ids[T_ROWS];
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    pv_batch b = PV_BATCH_INIT;
    test_rng rng;
    memset(in, 0, sizeof(*in));
    o.log = t_log;
    o.log_ctx = in;
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

/* ---- damage ---------------------------------------------------------------------------------- */

/* What a writer with a bug, or damage that the checksums cannot see, might have left. */
typedef void (*t_damage)(uint8_t *page);
static void t_no_version(uint8_t *page) { pv__put32(page + PV__PAGE_HEAD, 0); }
static void t_counters(uint8_t *page) { pv__put32(page + PV__PAGE_HEAD + 20, UINT32_MAX); }

static void t_damage_meta(t_inside *in, t_damage damage) {
    pv__txn *txn = NULL;
    pv__parts p;
    uint8_t *page = NULL;
    t_parts(in, PV__TXN_WRITE, &txn, &p);
    test_assert_ok(pv__page_write(txn, p.c.field.graph, PV__PAGE_GRAPH, &page, &in->t.err),
                   &in->t.err);
    damage(page);
    pv__parts_done(&p);
    test_assert_ok(pv__txn_commit(txn, NULL, &in->t.err), &in->t.err);
}

/* All lists lead beyond the last node. */
static void t_damage_links(t_inside *in) {
    pv__txn *txn = NULL;
    pv__parts p;
    t_parts(in, PV__TXN_WRITE, &txn, &p);
    for (uint32_t node = 0; node < p.graph.meta.node_high; node++) {
        uint8_t *row = NULL;
        test_assert_ok(pv__column_write(&p.graph.links, node, &row, &in->t.err), &in->t.err);
        if (pv__links_count(row) > 0) {
            pv__links_set(row, 0, p.graph.meta.node_high + 5);
        }
    }
    pv__parts_done(&p);
    test_assert_ok(pv__txn_commit(txn, NULL, &in->t.err), &in->t.err);
}

/* The scan answers, and says so once for each search. */
static void t_expect_fallback(t_inside *in) {
    pv_query q = t_query(in->vectors[7], T_DIMS, T_K);
    pv_results *got = NULL, *want = NULL;
    uint64_t problems = 0;
    q.ef = 32;
    test_assert_ok(pv_search(in->t.db, NULL, "c", &q, &got, &in->t.err), &in->t.err);
    assert_int_equal(in->complaints, 1);
    q.flags = PV_QUERY_EXACT;
    test_assert_ok(pv_search(in->t.db, NULL, "c", &q, &want, &in->t.err), &in->t.err);
    assert_int_equal(in->complaints, 1);
    assert_int_equal(pv_results_count(got), T_K);
    for (size_t i = 0; i < T_K; i++) {
        assert_int_equal(pv_results_id_u64(got, i), pv_results_id_u64(want, i));
    }
    pv_results_free(want);
    pv_results_free(got);
    test_assert_ok(pv_check(in->t.db, PV_CHECK_DEEP, NULL, NULL, &problems, &in->t.err),
                   &in->t.err);
    assert_true(problems > 0);
    assert_int_equal(t_count(&in->t, NULL, "c", NULL), T_ROWS); /* the records are all there */
}

static void test_ann_inside__damaged_graph_leaves_the_scan(void **state) {
    (void)state;
    static const t_damage damages[] = {t_no_version, t_counters, NULL};
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        t_inside *in = malloc(sizeof *in);
        assert_non_null(in);
        t_inside_open(in);
        if (damages[i]) {
            t_damage_meta(in, damages[i]);
        } else {
            t_damage_links(in);
        }
        t_expect_fallback(in);
        t_api_done(&in->t);
        free(in);
    }
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ann_inside__damaged_graph_leaves_the_scan),
        cmocka_unit_test(test_ann_inside__walks_answer_with_allowed_slots_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
