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

typedef struct t_walks {
    t_inside *in;
    pv__txn *txn;
    pv__parts p;
    pv__walker *w;
    uint64_t words[(T_ROWS + 63) / 64];
    bool live[T_ROWS];
} t_walks;

static t_walks *t_walks_new(t_inside *in) {
    t_walks *x = calloc(1, sizeof *x);
    assert_non_null(x);
    x->in = in;
    t_parts(in, 0, &x->txn, &x->p);
    test_assert_ok(pv__db_walker_take(in->t.db, &x->w, &in->t.err), &in->t.err);
    for (uint32_t s = 0; s < T_ROWS; s++) {
        test_assert_ok(pv__slots_is_live(&x->p.slots, s, &x->live[s], &in->t.err), &in->t.err);
    }
    return x;
}

static void t_walks_free(t_walks *x) {
    pv__db_walker_give(x->in->t.db, x->w);
    pv__parts_done(&x->p);
    pv__txn_rollback(x->txn);
    free(x);
}

static bool t_is_allowed(const t_walks *x, uint32_t slot) {
    return x->words[slot / 64] >> (slot % 64) & 1u;
}

static int t_ask(void *ctx, uint32_t slot, bool *out, pv_error *err) {
    (void)err;
    assert_true(slot < T_ROWS);
    *out = t_is_allowed(ctx, slot);
    return 0;
}

/* How many of the found are among the true k nearest of those that are allowed and live; nobody
 * stands twice or may not be there. */
static uint32_t t_judge(const t_walks *x, const float *query, uint32_t k, const pv__hit *found,
                        uint32_t n) {
    static double d[T_ROWS];
    uint32_t right = 0;
    for (uint32_t s = 0; s < T_ROWS; s++) {
        d[s] = t_is_allowed(x, s) && x->live[s] ? t_distance2(query, x->in->vectors[s]) : INFINITY;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t nearer = 0;
        assert_true(found[i].slot < T_ROWS && d[found[i].slot] < INFINITY);
        for (uint32_t s = 0; s < T_ROWS; s++) {
            nearer += d[s] < d[found[i].slot];
        }
        for (uint32_t o = 0; o < i; o++) {
            assert_int_not_equal(found[o].slot, found[i].slot);
        }
        right += nearer < k ? 1u : 0u;
    }
    return PV_MIN(right, k);
}

/* Whatever the plan: all there are when they are few, never another, nearly all of the nearest. */
static void t_expect_plan(t_walks *x, pv__plan plan, uint32_t k, bool asked) {
    pv_error *err = &x->in->t.err;
    pv__hit found[300 + 10];
    pv__allowed allowed = {.words = asked ? NULL : x->words,
                           .slots = T_ROWS,
                           .ask = asked ? t_ask : NULL,
                           .ctx = x,
                           .words_ns = asked ? INFINITY : 0};
    uint32_t live = 0, right = 0, wanted = 0, incomplete = 0;
    for (uint32_t s = 0; s < T_ROWS; s++) {
        allowed.count += t_is_allowed(x, s);
        live += t_is_allowed(x, s) && x->live[s];
    }
    const uint32_t want = pv__graph_want(k), least = PV_MIN(k, live);
    const pv__effort effort = {PV_MAX(256, want), k, 1.5f};
    for (uint32_t q = 1; q < T_ROWS; q += 97) {
        pv__plan used = plan;
        uint32_t n = 0;
        bool complete = false;
        test_assert_ok(pv__graph_search_allowed(&x->p.graph, x->w, x->in->vectors[q], &effort, want,
                                                &allowed, &used, found, &n, &complete, err),
                       err);
        if (complete) {
            assert_true(n >= least);
            right += t_judge(x, x->in->vectors[q], least, found, n);
            wanted += least;
        } else {
            incomplete++;
        }
        test_assert_ok(pv__txn_pause(x->p.txn, err), err);
    }
    /* Who is asked cannot know that there are no k. */
    assert_true(incomplete == 0 || (asked && live < k));
    const double recall = plan == PV__PLAN_TWO_HOP ? 0.6 : 0.9;
    if ((double)right < recall * (double)wanted) {
        fprintf(stderr, "%u of %u allowed live, plan %d, k %u%s: %u of %u found\n", (unsigned)live,
                (unsigned)allowed.count, (int)plan, (unsigned)k, asked ? ", asked" : "",
                (unsigned)right, (unsigned)wanted);
        fail();
    }
}

static void t_expect_plans(t_walks *x) {
    static const uint32_t ks[] = {1, T_K, 200};
    for (size_t k = 0; k < sizeof ks / sizeof ks[0]; k++) {
        for (pv__plan plan = PV__PLAN_AUTO; plan < PV__PLANS; plan++) {
            t_expect_plan(x, plan, ks[k], false);
        }
        t_expect_plan(x, PV__PLAN_AUTO, ks[k], true);
    }
}

static void t_allow_steps(t_walks *x, uint32_t step) {
    memset(x->words, 0, sizeof x->words);
    for (uint32_t s = 0; s < T_ROWS && step > 0; s += step) {
        x->words[s / 64] |= UINT64_C(1) << (s % 64);
    }
}

/* The n farthest from one row: for many of the queries nothing is allowed for a long way. */
static void t_allow_far(t_walks *x, uint32_t n) {
    memset(x->words, 0, sizeof x->words);
    for (uint32_t s = 0; s < T_ROWS; s++) {
        uint32_t farther = 0;
        const double d = t_distance2(x->in->vectors[1], x->in->vectors[s]);
        for (uint32_t o = 0; o < T_ROWS; o++) {
            farther += t_distance2(x->in->vectors[1], x->in->vectors[o]) > d;
        }
        if (farther < n) {
            x->words[s / 64] |= UINT64_C(1) << (s % 64);
        }
    }
}

static void t_expect_all_shares(t_walks *x) {
    static const uint32_t steps[] = {0, 1, 2, 7, 16, 100, 400};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        t_allow_steps(x, steps[i]);
        t_expect_plans(x);
    }
    t_allow_far(x, 400);
    t_expect_plans(x);
    t_allow_far(x, 30);
    t_expect_plans(x);
}

static void test_ann_inside__every_plan_finds_what_is_allowed(void **state) {
    (void)state;
    t_inside *in = malloc(sizeof *in);
    assert_non_null(in);
    t_inside_open(in);
    t_walks *x = t_walks_new(in);
    t_expect_all_shares(x);
    t_walks_free(x);
    t_api_done(&in->t);
    free(in);
}

static void t_delete_some(t_inside *in, uint64_t from, uint64_t to, uint64_t step) {
    for (uint64_t id = from; id < to; id += step) {
        test_assert_ok(pv_delete_u64(in->t.db, NULL, "c", id, &in->t.err), &in->t.err);
    }
}

/* Bits of dead slots are there too: they count for nobody. */
static void test_ann_inside__allowed_among_tombstones(void **state) {
    (void)state;
    t_inside *in = malloc(sizeof *in);
    assert_non_null(in);
    t_inside_open(in);
    t_delete_some(in, 0, 200, 2);
    t_walks *x = t_walks_new(in);
    assert_true(x->p.graph.meta.tomb_count > 0);
    t_allow_steps(x, 2); /* of the first 200, only dead ones */
    t_expect_plans(x);
    t_allow_steps(x, 100);
    t_expect_plans(x);
    t_walks_free(x);
    t_api_done(&in->t);
    free(in);
}

/* A node whose first slots may not be in the answer, and which must not hide others either. */
static void test_ann_inside__allowed_among_equal_vectors(void **state) {
    (void)state;
    t_inside *in = malloc(sizeof *in);
    assert_non_null(in);
    t_inside_open(in);
    for (uint64_t id = 0; id < 300; id++) {
        pv_record r = PV_RECORD_INIT;
        memset(in->vectors[id], 0, sizeof in->vectors[id]);
        r.id_u64 = id;
        r.vector = in->vectors[id];
        r.dims = T_DIMS;
        test_assert_ok(pv_upsert(in->t.db, NULL, "c", &r, 1, NULL, &in->t.err), &in->t.err);
    }
    t_walks *x = t_walks_new(in);
    assert_int_equal(x->p.graph.meta.dup_count, 299);
    t_allow_steps(x, 7);
    t_expect_plans(x);
    memset(x->words, 0, sizeof x->words); /* one of the equal ones, and all behind them */
    x->words[299 / 64] |= UINT64_C(1) << (299 % 64);
    for (uint32_t s = 300; s < T_ROWS; s++) {
        x->words[s / 64] |= UINT64_C(1) << (s % 64);
    }
    t_expect_plans(x);
    t_walks_free(x);
    t_api_done(&in->t);
    free(in);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ann_inside__damaged_graph_leaves_the_scan),
        cmocka_unit_test(test_ann_inside__every_plan_finds_what_is_allowed),
        cmocka_unit_test(test_ann_inside__allowed_among_tombstones),
        cmocka_unit_test(test_ann_inside__allowed_among_equal_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
