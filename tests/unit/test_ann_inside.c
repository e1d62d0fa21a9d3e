/* SPDX-License-Identifier: Apache-2.0 */
/* test_ann_inside.c - the graph below pv.h: walks that may answer with some slots only, and the
 * order of a large call. */
#include <math.h>

#include "ann/build.h"
#include "ann/near.h"
#include "ann/shape.h"
#include "base/bytes.h"
#include "engine/db.h"
#include "engine/parts.h"
#include "test_api_kit.h"

enum { T_DIMS = 8, T_ROWS = 1200, T_K = 10 };

typedef struct t_inside {
    t_api t;
    float vectors[T_ROWS][T_DIMS];
} t_inside;

static void t_inside_open_by(t_inside *in, uint32_t metric) {
    static uint64_t ids[T_ROWS];
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    pv_batch b = PV_BATCH_INIT;
    test_rng rng;
    memset(in, 0, sizeof(*in));
    o.threads = 1; /* what the background adds depends on time */
    t_api_open(&in->t, &o);
    c.dims = T_DIMS;
    c.metric = metric;
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

static void t_inside_open(t_inside *in) { t_inside_open_by(in, PV_METRIC_L2); }

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

static size_t t_slots_asked;

static int t_ask(void *ctx, const uint32_t *slots, size_t n, bool *out, pv_error *err) {
    (void)err;
    assert_true(n > 0 && n <= PV__ASK_MANY);
    t_slots_asked += n;
    for (size_t i = 0; i < n; i++) {
        assert_true(slots[i] < T_ROWS);
        out[i] = t_is_allowed(ctx, slots[i]);
    }
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
    const pv__effort effort = {PV_MAX(256, want), k, 1.5f, 0, 0};
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

/* The first 300 of its vectors are equal. */
static void t_inside_open_equal(t_inside *in) {
    t_inside_open(in);
    for (uint64_t id = 0; id < 300; id++) {
        pv_record r = PV_RECORD_INIT;
        memset(in->vectors[id], 0, sizeof in->vectors[id]);
        r.id_u64 = id;
        r.vector = in->vectors[id];
        r.dims = T_DIMS;
        test_assert_ok(pv_upsert(in->t.db, NULL, "c", &r, 1, NULL, &in->t.err), &in->t.err);
    }
}

/* A node whose first slots may not be in the answer, and which must not hide others either. */
static void test_ann_inside__allowed_among_equal_vectors(void **state) {
    (void)state;
    t_inside *in = malloc(sizeof *in);
    assert_non_null(in);
    t_inside_open_equal(in);
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

/* As many of one group as are wanted: who is asked is asked about that group, and a few near it. */
static void test_ann_inside__enough_of_equal_vectors_end_a_walk(void **state) {
    (void)state;
    t_inside *in = malloc(sizeof *in);
    assert_non_null(in);
    t_inside_open_equal(in);
    t_walks *x = t_walks_new(in);
    pv_error *err = &in->t.err;
    const uint32_t want = pv__graph_want(T_K);
    const pv__effort effort = {256, T_K, 1.2f, 0, 0};
    const pv__allowed allowed = {
        .slots = T_ROWS, .count = T_K, .ask = t_ask, .ctx = x, .words_ns = INFINITY};
    pv__plan plan = PV__PLAN_AUTO;
    pv__hit found[T_K + T_K];
    uint32_t n = 0;
    bool complete = false;
    memset(x->words, 0, sizeof x->words);
    for (uint32_t s = 300 - T_K; s < 300; s++) {
        x->words[s / 64] |= UINT64_C(1) << (s % 64);
    }
    t_slots_asked = 0;
    assert_true(want <= sizeof found / sizeof found[0]);
    test_assert_ok(pv__graph_search_allowed(&x->p.graph, x->w, in->vectors[0], &effort, want,
                                            &allowed, &plan, found, &n, &complete, err),
                   err);
    assert_true(complete);
    assert_int_equal(n, T_K);
    assert_int_equal(t_judge(x, in->vectors[0], T_K, found, n), T_K);
    if (t_slots_asked >= T_ROWS) {
        fprintf(stderr, "asked about %zu slots\n", t_slots_asked);
        fail();
    }
    t_walks_free(x);
    t_api_done(&in->t);
    free(in);
}

/* Nodes that a walk follows among those that are allowed, with a stop that ends none; of its k
 * nearest, how many are true. */
static uint32_t t_roam(t_walks *x, const pv__allowed *a, uint32_t q, float calm,
                       uint32_t *out_right) {
    const pv__effort effort = {256, T_K, 1e6f, 0, 0};
    pv__roam r = {.allowed = a, .enough = T_K, .calm = calm, .calm_least = 3 * T_K};
    pv_error *err = &x->in->t.err;
    pv__hit found[T_K];
    size_t seeds = 0, count = 0;
    bool cut = false;
    const float *query = x->in->vectors[q];
    test_assert_ok(pv__search_begin(&x->p.graph, x->w, query, 256, &seeds, err), err);
    test_assert_ok(pv__roam_begin(&x->p.graph, x->w, &r, seeds, err), err);
    test_assert_ok(pv__roam_nearest(&x->p.graph, x->w, &r, &effort, UINT32_MAX, &count, &cut, err),
                   err);
    assert_false(cut);
    assert_true(count >= T_K);
    for (size_t i = 0; i < T_K; i++) {
        uint32_t word = 0;
        test_assert_ok(pv__graph_word_get(&x->p.graph.slot_of, x->w->pool[i].slot, &word, err),
                       err);
        found[i] = (pv__hit){x->w->pool[i].distance, word};
    }
    *out_right += t_judge(x, query, T_K, found, T_K);
    test_assert_ok(pv__txn_pause(x->p.txn, err), err);
    return r.followed;
}

/* However far the stop is: when none of many that were followed came among the nearest. */
static void test_ann_inside__calm_ends_a_walk(void **state) {
    (void)state;
    t_inside *in = malloc(sizeof *in);
    assert_non_null(in);
    t_inside_open(in);
    t_walks *x = t_walks_new(in);
    uint32_t all = 0, calm = 0, right = 0, right_calm = 0, queries = 0;
    t_allow_steps(x, 2);
    const pv__allowed a = {.words = x->words, .slots = T_ROWS, .count = T_ROWS / 2};
    for (uint32_t q = 1; q < T_ROWS; q += 97, queries++) {
        all += t_roam(x, &a, q, 0, &right);
        calm += t_roam(x, &a, q, 0.3f, &right_calm);
    }
    fprintf(stderr, "of %u nodes %u followed, %u of %u right\n", (unsigned)all, (unsigned)calm,
            (unsigned)right_calm, (unsigned)right);
    assert_true(calm < all / 2);
    assert_true(calm > queries * 3 * T_K); /* as many were waited for */
    assert_true(right_calm * 10 >= right * 9);
    t_walks_free(x);
    t_api_done(&in->t);
    free(in);
}

enum { T_ENDLESS = 13 };

/* Of walks to the k nearest of each `step`th row how many are given up, when comparing those takes
 * `codes_ns` and the stop ends none: it would follow all nodes, about 110 ns each. */
static unsigned t_given_up(uint32_t metric, uint32_t k, uint32_t step, float codes_ns) {
    t_inside *in = malloc(sizeof *in);
    assert_non_null(in);
    t_inside_open_by(in, metric);
    t_walks *x = t_walks_new(in);
    pv_error *err = &in->t.err;
    const uint32_t want = pv__graph_want(k);
    const pv__effort effort = {T_ROWS, k, 1e6f, 0, 0};
    pv__allowed allowed = {.words = x->words, .slots = T_ROWS, .count = T_ROWS / step};
    pv__hit found[64];
    float share = 0;
    unsigned given_up = 0;
    t_allow_steps(x, step);
    assert_true(want <= sizeof found / sizeof found[0]);
    allowed.words_ns = codes_ns - pv__allowed_codes_ns(&x->p.graph, &allowed, &share);
    assert_true(allowed.words_ns > 0);
    for (uint32_t q = 0; q < T_ENDLESS; q++) { /* rows that are not allowed */
        pv__plan plan = PV__PLAN_AUTO;
        uint32_t n = 0;
        bool complete = false;
        test_assert_ok(pv__graph_search_allowed(&x->p.graph, x->w, in->vectors[1 + 92 * q], &effort,
                                                want, &allowed, &plan, found, &n, &complete, err),
                       err);
        assert_true(complete && n >= k);
        assert_true(plan == PV__PLAN_CODES || plan == PV__PLAN_ONE_HOP);
        given_up += plan == PV__PLAN_CODES ? 1u : 0u;
        test_assert_ok(pv__txn_pause(x->p.txn, err), err);
    }
    fprintf(stderr, "%u walks given up\n", given_up);
    t_walks_free(x);
    t_api_done(&in->t);
    free(in);
    return given_up;
}

/* By the share it would have ended long ago: what it sees then is what is left, not nothing. */
static void test_ann_inside__a_walk_longer_than_by_its_share_is_given_up(void **state) {
    (void)state;
    assert_int_equal(t_given_up(PV_METRIC_L2, 1, 2, 45e3f), T_ENDLESS);
    /* Where that is less than codes take, it goes on to the end. */
    assert_int_equal(t_given_up(PV_METRIC_L2, 1, 2, 1e6f), 0);
}

/* Of dot before that: when it has settled, the share says no more how long a walk will be. */
static void test_ann_inside__a_walk_of_dot_is_given_up_by_what_it_sees(void **state) {
    (void)state;
    assert_true(t_given_up(PV_METRIC_DOT, 2, 10, 58e3f) > T_ENDLESS / 2);
    assert_int_equal(t_given_up(PV_METRIC_DOT, 2, 10, 1e6f), 0);
}

static void test_ann_inside__the_next_that_is_allowed(void **state) {
    (void)state;
    const uint64_t words[] = {UINT64_C(1) << 5 | UINT64_C(1) << 63, 0, 1};
    const pv__allowed a = {.words = words, .slots = 129};
    assert_int_equal(pv__allowed_next(&a, 0, 129), 5);
    assert_int_equal(pv__allowed_next(&a, 5, 129), 5);
    assert_int_equal(pv__allowed_next(&a, 6, 129), 63);
    assert_int_equal(pv__allowed_next(&a, 64, 129), 128);
    assert_int_equal(pv__allowed_next(&a, 64, 128), 128); /* none */
    assert_int_equal(pv__allowed_next(&a, 6, 63), 63);
    assert_int_equal(pv__allowed_next(&a, 129, 129), 129);
}

/* As far beyond the k nearest of a share as for as many more of all. */
static void test_ann_inside__efforts_among_a_share(void **state) {
    (void)state;
    pv__graph *g = calloc(1, sizeof *g);
    assert_non_null(g);
    g->shape = pv__shape_links();
    g->metric = PV_METRIC_L2;
    g->meta.curve.nodes = 1;
    for (unsigned i = 0; i < PV__CURVE_POINTS; i++) { /* with 100 as good three points earlier */
        g->meta.curve.recall[1][i] = (uint16_t)(30000 + 2000 * i);
        g->meta.curve.recall[2][i] = (uint16_t)PV_MIN(30000 + 2000 * (i + 3), 60000u);
    }
    const pv__effort whole = pv__graph_effort(g, 10, 0.7f);
    const uint32_t want = pv__graph_want(10);
    pv__fewer f;
    pv__graph_fewer_init(g, &whole, &f);
    assert_true(f.power > 0.1f && f.power <= 1);
    assert_true(f.miss > 0.1f && f.miss <= 0.3f); /* what was asked for, with a margin */
    assert_true(pv__graph_fewer(&f, &whole, 1, want).stop == whole.stop);
    float before = whole.stop;
    for (float share = 0.5f; share > 0.1f; share *= 0.8f) {
        const float stop = pv__graph_fewer(&f, &whole, share, want).stop;
        assert_true(stop < before && stop > 1);
        before = stop;
    }
    const float tenth = pv__graph_fewer(&f, &whole, 0.1f, want).stop;
    assert_true(pv__graph_fewer(&f, &whole, 0.001f, want).stop == tenth); /* not measured */
    pv__graph unmeasured = *g;
    unmeasured.meta.curve.nodes = 0;
    pv__fewer none;
    pv__graph_fewer_init(&unmeasured, &whole, &none);
    assert_true(none.miss == 0);
    memcpy(g->meta.curve.recall[2], g->meta.curve.recall[1], sizeof g->meta.curve.recall[1]);
    pv__fewer same;
    pv__graph_fewer_init(g, &whole, &same); /* as hard with a hundred: as far */
    assert_true(pv__graph_fewer(&same, &whole, 0.1f, want).stop >= whole.stop - 1e-5f);
    free(g);
}

/* ---- the order of a large call --------------------------------------------------------------- */

static double t_apart(const t_inside *in, const uint32_t *slots, size_t from) {
    double sum = 0;
    for (size_t i = from; i + 1 < T_ROWS; i++) {
        sum += t_distance2(in->vectors[slots[i]], in->vectors[slots[i + 1]]);
    }
    return sum;
}

/* Every slot once; the first ones from everywhere, as they came; then near ones together, cell by
 * cell; twice the same. */
static void test_ann_inside__near_rows_of_a_large_call_come_together(void **state) {
    (void)state;
    static t_inside in;
    static uint32_t slots[T_ROWS], order[T_ROWS], again[T_ROWS];
    bool seen[T_ROWS] = {false};
    pv__walker *w = NULL;
    pv__parts p;
    pv__txn *txn = NULL;
    const size_t first = (T_ROWS + 15) / 16;
    t_inside_open(&in);
    pv_error *err = &in.t.err;
    t_parts(&in, PV__TXN_WRITE, &txn, &p);
    test_assert_ok(pv__db_walker_take(in.t.db, &w, err), err);
    for (uint32_t i = 0; i < T_ROWS; i++) {
        slots[i] = i;
    }
    test_assert_ok(pv__graph_order(&p.graph, w, slots, T_ROWS, 16, NULL, NULL, order, err), err);
    test_assert_ok(pv__graph_order(&p.graph, w, slots, T_ROWS, 16, NULL, NULL, again, err), err);
    assert_memory_equal(order, again, sizeof order);
    for (size_t i = 0; i < T_ROWS; i++) {
        assert_true(order[i] < T_ROWS && !seen[order[i]]);
        seen[order[i]] = true;
        assert_true(i >= first || order[i] == 16 * i);
    }
    assert_true(t_apart(&in, order, first) < 0.75 * t_apart(&in, slots, first));
    /* Cells whose rows keep their order: where it falls back, the next one begins. */
    size_t cells = 1;
    for (size_t i = first + 1; i < T_ROWS; i++) {
        cells += order[i] < order[i - 1];
    }
    assert_in_range(cells, 8, 16);
    assert_int_equal(pv__graph_order_centres(&p.graph, 5000), 0);
    assert_in_range(pv__graph_order_centres(&p.graph, 100000), 48, 96);
    assert_int_equal(pv__graph_order_centres(&p.graph, PV__SLOTS_PER_COLLECTION_MAX),
                     PV__ORDER_CENTRES_MAX);
    pv__graph g = p.graph; /* cells: of large calls, and of no more than rows are compared with */
    g.meta.node_count = 0;
    assert_int_equal(pv__near_cells(&g, 3000), 0);
    assert_int_equal(pv__near_cells(&g, 76800), 100);
    assert_int_equal(pv__near_cells(&g, PV__SLOTS_PER_COLLECTION_MAX), 512);
    for (uint32_t kind = PV__CODE_F32; kind <= PV__CODE_BIT; kind++) {
        g.fine.kind = kind; /* all that rows can be measured by; pq and bits by walks */
        assert_int_equal(pv__near_cells(&g, 76800),
                         kind == PV__CODE_B1 || kind == PV__CODE_PQ || kind == PV__CODE_BIT ? 0
                                                                                            : 100);
    }
    g.fine.kind = PV__CODE_SQ8;
    g.meta.node_count = 390000;
    assert_int_equal(pv__near_cells(&g, 10000), 0);
    assert_int_equal(pv__near_cells(&g, 39000), 512);
    g.meta.node_count = 400000;
    assert_int_equal(pv__near_cells(&g, 390000), 0);
    pv__db_walker_give(in.t.db, w);
    pv__parts_done(&p);
    pv__txn_rollback(txn);
    t_api_done(&in.t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ann_inside__near_rows_of_a_large_call_come_together),
        cmocka_unit_test(test_ann_inside__every_plan_finds_what_is_allowed),
        cmocka_unit_test(test_ann_inside__allowed_among_tombstones),
        cmocka_unit_test(test_ann_inside__allowed_among_equal_vectors),
        cmocka_unit_test(test_ann_inside__enough_of_equal_vectors_end_a_walk),
        cmocka_unit_test(test_ann_inside__calm_ends_a_walk),
        cmocka_unit_test(test_ann_inside__a_walk_longer_than_by_its_share_is_given_up),
        cmocka_unit_test(test_ann_inside__a_walk_of_dot_is_given_up_by_what_it_sees),
        cmocka_unit_test(test_ann_inside__the_next_that_is_allowed),
        cmocka_unit_test(test_ann_inside__efforts_among_a_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
