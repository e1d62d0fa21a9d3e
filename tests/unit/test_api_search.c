/* SPDX-License-Identifier: Apache-2.0 */
/* test_api_search.c - search against a naive one: every metric, filters, ties, any k, thresholds,
 * many queries at once. Coordinates are small whole numbers, so that l2 and dot distances are
 * exact and their ties real; cosine is compared within rounding. */
#include "unit/test_api_kit.h"

enum { T_N = 600, T_DIMS = 6 };

typedef struct t_item {
    char id[8];
    float v[T_DIMS];
    int year;
    bool there;
} t_item;

static double t_distance(uint32_t metric, const float *a, const float *b) {
    double dot = 0, aa = 0, bb = 0, l2 = 0;
    for (int i = 0; i < T_DIMS; i++) {
        dot += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
        l2 += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    }
    switch (metric) {
    case PV_METRIC_L2:
        return sqrt(l2);
    case PV_METRIC_DOT:
        return -dot;
    default:
        return aa == 0 || bb == 0 ? 1.0 : 1.0 - dot / sqrt(aa * bb);
    }
}

typedef struct t_hit {
    const t_item *item;
    double distance;
} t_hit;

static int t_hit_compare(const void *a, const void *b) {
    const t_hit *x = a, *y = b;
    if (x->distance < y->distance || x->distance > y->distance) {
        return x->distance < y->distance ? -1 : 1;
    }
    return strcmp(x->item->id, y->item->id);
}

static size_t t_oracle(const t_item *items, uint32_t metric, const float *q, int year_from,
                       int year_to, double within, t_hit *out) {
    size_t n = 0;
    for (size_t i = 0; i < T_N; i++) {
        const t_item *it = &items[i];
        if (it->there && it->year >= year_from && it->year <= year_to) {
            const double d = (double)(float)t_distance(metric, q, it->v);
            if (d <= within) {
                out[n++] = (t_hit){it, d};
            }
        }
    }
    qsort(out, n, sizeof(*out), t_hit_compare);
    return n;
}

/* exact: ids and order must be the oracle's. Else distances must agree place by place, and each id
 * must have the distance that it claims. */
static void t_compare(const pv_results *r, const t_hit *want, size_t n, bool exact) {
    assert_int_equal(pv_results_count(r), n);
    for (size_t i = 0; i < n; i++) {
        const double d = (double)pv_results_distance(r, i);
        if (exact) {
            assert_string_equal(pv_results_id(r, i), want[i].item->id);
            assert_true(d == want[i].distance);
        } else {
            assert_true(fabs(d - want[i].distance) < 1e-6);
        }
        if (i > 0) {
            const double before = (double)pv_results_distance(r, i - 1);
            assert_true(before < d ||
                        (before == d && strcmp(pv_results_id(r, i - 1), pv_results_id(r, i)) < 0));
        }
    }
}

static void t_fill(t_api *t, t_item *items, test_rng *rng, uint32_t metric) {
    char text[64];
    t_api_create(t, "docs", T_DIMS, metric, 0);
    for (int i = 0; i < T_N; i++) {
        t_item *it = &items[i];
        /* Ids whose order is not that of insertion. */
        snprintf(it->id, sizeof(it->id), "%03d", (i * 7919) % T_N);
        for (int d = 0; d < T_DIMS; d++) {
            it->v[d] = (float)((int)test_rng_below(rng, 5) - 2);
        }
        if (i % 50 == 0) {
            memset(it->v, 0, sizeof(it->v));
        }
        it->year = 2000 + (int)test_rng_below(rng, 20);
        it->there = true;
        snprintf(text, sizeof(text), "{\"year\": %d, \"odd\": %s}", it->year,
                 it->year % 2 ? "true" : "false");
        t_put(t, NULL, "docs", t_record(it->id, it->v, T_DIMS, text));
    }
    for (int i = 0; i < T_N; i += 3) { /* holes */
        test_assert_ok(pv_delete(t->db, NULL, "docs", items[i].id, &t->err), &t->err);
        items[i].there = false;
    }
}

static void t_agree(uint32_t metric) {
    static t_item items[T_N];
    static t_hit want[T_N];
    static const uint32_t ks[] = {1, 2, 7, 10, 100, 399, 400, 401, 5000};
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    t_api t;
    test_rng rng;
    char filter[128];
    const bool exact = metric != PV_METRIC_COSINE;
    o.sync = PV_SYNC_ASYNC;
    test_rng_init(&rng, test_seed() + metric);
    t_api_open(&t, &o);
    t_fill(&t, items, &rng, metric);
    for (size_t round = 0; round < 60; round++) {
        float q[T_DIMS];
        for (int d = 0; d < T_DIMS; d++) {
            q[d] = (float)((int)test_rng_below(&rng, 5) - 2);
        }
        if (round == 1) {
            memset(q, 0, sizeof(q));
        }
        pv_query query = t_query(q, T_DIMS, ks[round % PV_COUNTOF(ks)]);
        pv_results *r = NULL;
        const int from = 2000 + (int)test_rng_below(&rng, 22), to = from + (int)(round % 7);
        double within = INFINITY;
        int first = 0, last = 9999;
        if (round % 2) {
            first = from;
            last = to;
            snprintf(filter, sizeof(filter), "{\"year\": {\"$gte\": %d, \"$lte\": %d}}", from, to);
            query.filter = filter;
        }
        if (round % 3 == 0) {
            query.flags = PV_QUERY_WITHIN | PV_QUERY_EXACT;
            /* Not on a distance that occurs, where cosine might round either way. */
            query.max_distance = metric == PV_METRIC_DOT ? -2.5f : 0.7071f;
            within = (double)query.max_distance;
        }
        size_t n = t_oracle(items, metric, q, first, last, within, want);
        n = PV_MIN(n, (size_t)query.k);
        test_assert_ok(pv_search(t.db, NULL, "docs", &query, &r, &t.err), &t.err);
        t_compare(r, want, n, exact);
        for (size_t i = 0; i < n; i++) {
            const float score = pv_results_score(r, i), d = pv_results_distance(r, i);
            assert_true(metric == PV_METRIC_COSINE ? score == 1.0f - d : score == 0.0f - d);
        }
        pv_results_free(r);
    }
    t_api_done(&t);
}

static void test_api_search__l2_agrees_with_the_naive_one(void **state) {
    (void)state;
    t_agree(PV_METRIC_L2);
}

static void test_api_search__dot_agrees_with_the_naive_one(void **state) {
    (void)state;
    t_agree(PV_METRIC_DOT);
}

static void test_api_search__cosine_agrees_with_the_naive_one(void **state) {
    (void)state;
    t_agree(PV_METRIC_COSINE);
}

static void test_api_search__many_queries_give_the_same_as_single_ones(void **state) {
    (void)state;
    enum { Q = 37 };
    static t_item items[T_N];
    static float q[Q][T_DIMS + 1]; /* one float of something else between */
    static const uint32_t metrics[] = {PV_METRIC_L2, PV_METRIC_COSINE, PV_METRIC_DOT};
    t_api t;
    test_rng rng;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    o.sync = PV_SYNC_ASYNC;
    for (size_t m = 0; m < PV_COUNTOF(metrics); m++) {
        pv_results *many[Q];
        pv_query_vectors v = PV_QUERY_VECTORS_INIT;
        test_rng_init(&rng, test_seed() + m);
        t_api_open(&t, &o);
        t_fill(&t, items, &rng, metrics[m]);
        for (size_t i = 0; i < Q; i++) {
            for (size_t d = 0; d <= T_DIMS; d++) {
                q[i][d] = d == T_DIMS ? NAN : test_rng_gauss(&rng);
            }
        }
        for (int filtered = 0; filtered < 2; filtered++) {
            pv_query query = t_query(q[0], T_DIMS, 13);
            query.filter = filtered ? "{\"odd\": true}" : NULL;
            query.include = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
            v.count = Q;
            v.stride = sizeof(q[0]);
            test_assert_ok(pv_search_many(t.db, NULL, "docs", &query, &v, many, &t.err), &t.err);
            for (size_t i = 0; i < Q; i++) {
                pv_results *one = NULL;
                query.vector = q[i];
                test_assert_ok(pv_search(t.db, NULL, "docs", &query, &one, &t.err), &t.err);
                assert_int_equal(pv_results_count(one), 13);
                assert_int_equal(pv_results_count(many[i]), 13);
                for (size_t r = 0; r < 13; r++) {
                    assert_string_equal(pv_results_id(one, r), pv_results_id(many[i], r));
                    assert_string_equal(pv_results_metadata(one, r, NULL),
                                        pv_results_metadata(many[i], r, NULL));
                }
                assert_memory_equal(pv_results_distances(one), pv_results_distances(many[i]),
                                    13 * sizeof(float));
                assert_memory_equal(pv_results_vectors(one), pv_results_vectors(many[i]),
                                    13 * T_DIMS * sizeof(float));
                pv_results_free(one);
                pv_results_free(many[i]);
            }
        }
        t_api_done(&t);
    }
}

static void test_api_search__many_queries_are_judged(void **state) {
    (void)state;
    t_api t;
    float q[3][2] = {{1, 2}, {3, NAN}, {5, 6}};
    pv_results *r[3] = {(pv_results *)q, (pv_results *)q, (pv_results *)q};
    pv_query query = t_query(q[0], 2, 3);
    pv_query_vectors v = PV_QUERY_VECTORS_INIT;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_put2(&t, NULL, "docs", "a", 1, 2, NULL);
    v.count = 3;
    test_assert_rc(pv_search_many(t.db, NULL, "docs", &query, &v, r, &t.err), PV_ERR_MISUSE,
                   &t.err);
    assert_int_equal(t.err.record_index, 1);
    assert_null(r[0]);
    assert_null(r[2]);
    q[1][1] = 4;
    v.stride = 4;
    test_assert_rc(pv_search_many(t.db, NULL, "docs", &query, &v, r, &t.err), PV_ERR_MISUSE,
                   &t.err);
    v.stride = 0;
    v.count = (size_t)PV_LIMIT_QUERIES + 1;
    test_assert_rc(pv_search_many(t.db, NULL, "docs", &query, &v, r, &t.err), PV_ERR_LIMIT, &t.err);
    test_assert_rc(pv_search_many(t.db, NULL, "docs", &query, NULL, r, &t.err), PV_ERR_MISUSE,
                   &t.err);
    v.count = 0;
    test_assert_ok(pv_search_many(t.db, NULL, "docs", &query, &v, r, &t.err), &t.err);
    v.count = 3;
    test_assert_ok(pv_search_many(t.db, NULL, "docs", &query, &v, r, &t.err), &t.err);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pv_results_count(r[i]), 1);
        pv_results_free(r[i]);
    }
    t_api_done(&t);
}

/* 20,000 equal vectors: which k come back is decided by the ids alone. */
static void test_api_search__ties_are_decided_by_id(void **state) {
    (void)state;
    enum { N = 20000 };
    t_api t;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    float *v = calloc(N, sizeof(float) * 2);
    uint64_t *ids = malloc(N * sizeof(*ids));
    pv_batch b = PV_BATCH_INIT;
    const float q[2] = {3, 4};
    char got[256];
    pv_results *r = NULL;
    assert_non_null(v);
    assert_non_null(ids);
    o.sync = PV_SYNC_ASYNC;
    t_api_open(&t, &o);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, PV_KEY_U64);
    for (size_t i = 0; i < N; i++) {
        ids[i] = N - i;
    }
    b.count = N;
    b.vectors = v;
    b.dims = 2;
    b.ids_u64 = ids;
    test_assert_ok(pv_insert_batch(t.db, NULL, "docs", &b, NULL, &t.err), &t.err);
    const float near[2] = {3, 3}, far[2] = {-9, -9};
    t_put(&t, NULL, "docs", t_record_u64(70000, near, 2, NULL));
    t_put(&t, NULL, "docs", t_record_u64(0, far, 2, NULL));
    pv_query query = t_query(q, 2, 5);
    test_assert_ok(pv_search(t.db, NULL, "docs", &query, &r, &t.err), &t.err);
    assert_string_equal(t_ids(r, got, sizeof(got)), "70000 1 2 3 4");
    assert_true(pv_results_distance(r, 0) == 1.0f && pv_results_distance(r, 4) == 5.0f);
    pv_results_free(r);
    query.k = 300;
    test_assert_ok(pv_search(t.db, NULL, "docs", &query, &r, &t.err), &t.err);
    for (size_t i = 1; i < 300; i++) {
        assert_int_equal(pv_results_id_u64(r, i), i);
    }
    pv_results_free(r);
    free(v);
    free(ids);
    t_api_done(&t);
}

static void test_api_search__defaults(void **state) {
    (void)state;
    t_api t;
    char id[16];
    const float q[2] = {0, 0};
    pv_results *r = NULL;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    pv_query query = t_query(q, 2, 0);
    t_expect_search(&t, NULL, "docs", query, ""); /* nothing there */
    for (int i = 0; i < 30; i++) {
        snprintf(id, sizeof(id), "%02d", i);
        t_put2(&t, NULL, "docs", id, (float)i, 0, "{\"a\":1}");
    }
    t_expect_search(&t, NULL, "docs", query, "00 01 02 03 04 05 06 07 08 09");
    test_assert_ok(pv_search(t.db, NULL, "docs", &query, &r, &t.err), &t.err);
    assert_null(pv_results_metadata(r, 0, NULL));
    assert_null(pv_results_vector(r, 0));
    assert_int_equal(pv_results_found(r, 0), 1);
    pv_results_free(r);
    /* A threshold without k: all that are within, not the first ten. */
    query.flags = PV_QUERY_WITHIN;
    query.max_distance = 14.0f;
    test_assert_ok(pv_search(t.db, NULL, "docs", &query, &r, &t.err), &t.err);
    assert_int_equal(pv_results_count(r), 15);
    pv_results_free(r);
    query.max_distance = -1.0f;
    t_expect_search(&t, NULL, "docs", query, "");
    query.max_distance = 14.0f;
    query.k = 2;
    t_expect_search(&t, NULL, "docs", query, "00 01");
    t_api_done(&t);
}

static void test_api_search__cosine_knows_zero_vectors(void **state) {
    (void)state;
    t_api t;
    const float q[2] = {1, 0}, zero[2] = {0, 0};
    pv_results *r = NULL;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, 0, 0);
    t_put2(&t, NULL, "docs", "same", 5, 0, NULL);
    t_put2(&t, NULL, "docs", "zero", 0, 0, NULL);
    t_put2(&t, NULL, "docs", "back", -1, 0, NULL);
    pv_query query = t_query(q, 2, 0);
    test_assert_ok(pv_search(t.db, NULL, "docs", &query, &r, &t.err), &t.err);
    char got[64];
    assert_string_equal(t_ids(r, got, sizeof(got)), "same zero back");
    assert_true(pv_results_distance(r, 0) == 0.0f && pv_results_score(r, 0) == 1.0f);
    assert_true(pv_results_distance(r, 1) == 1.0f && pv_results_score(r, 1) == 0.0f);
    assert_true(pv_results_distance(r, 2) == 2.0f && pv_results_score(r, 2) == -1.0f);
    pv_results_free(r);
    query.vector = zero;
    test_assert_ok(pv_search(t.db, NULL, "docs", &query, &r, &t.err), &t.err);
    for (size_t i = 0; i < 3; i++) {
        assert_true(pv_results_distance(r, i) == 1.0f);
    }
    assert_string_equal(t_ids(r, got, sizeof(got)), "back same zero");
    pv_results_free(r);
    t_api_done(&t);
}

static void test_api_search__queries_are_judged(void **state) {
    (void)state;
    t_api t;
    const float v[3] = {1, 2, 3}, bad[2] = {NAN, 1};
    pv_results *r = NULL;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_put2(&t, NULL, "docs", "a", 1, 2, NULL);
    pv_query q = t_query(v, 3, 1);
    t_expect_error(pv_search(t.db, NULL, "docs", &q, &r, &t.err), PV_ERR_DIMS, &t.err,
                   "3 dimensions");
    q = t_query(v, 0, 1);
    test_assert_rc(pv_search(t.db, NULL, "docs", &q, &r, &t.err), PV_ERR_DIMS, &t.err);
    q = t_query(v, 2, 1);
    q.type = PV_TYPE_I8;
    test_assert_rc(pv_search(t.db, NULL, "docs", &q, &r, &t.err), PV_ERR_DIMS, &t.err);
    q = t_query(NULL, 2, 1);
    test_assert_rc(pv_search(t.db, NULL, "docs", &q, &r, &t.err), PV_ERR_MISUSE, &t.err);
    q = t_query(bad, 2, 1);
    t_expect_error(pv_search(t.db, NULL, "docs", &q, &r, &t.err), PV_ERR_MISUSE, &t.err,
                   "position 0");
    q = t_query(v, 2, PV_LIMIT_K + 1);
    test_assert_rc(pv_search(t.db, NULL, "docs", &q, &r, &t.err), PV_ERR_LIMIT, &t.err);
    q = t_query(v, 2, PV_LIMIT_K);
    q.flags = 0x1000;
    test_assert_rc(pv_search(t.db, NULL, "docs", &q, &r, &t.err), PV_ERR_UNSUPPORTED, &t.err);
    q.flags = PV_QUERY_WITHIN;
    q.max_distance = NAN;
    test_assert_rc(pv_search(t.db, NULL, "docs", &q, &r, &t.err), PV_ERR_MISUSE, &t.err);
    q.flags = 0;
    q.include = 0x80;
    test_assert_rc(pv_search(t.db, NULL, "docs", &q, &r, &t.err), PV_ERR_UNSUPPORTED, &t.err);
    q.include = 0;
    q.filter = "{\"a\": {\"$regexx\": \"x\"}}";
    t_expect_error(pv_search(t.db, NULL, "docs", &q, &r, &t.err), PV_ERR_UNSUPPORTED, &t.err,
                   "$regexx");
    q.filter = "[]";
    test_assert_rc(pv_search(t.db, NULL, "docs", &q, &r, &t.err), PV_ERR_FORMAT, &t.err);
    q.filter = "{}XX";
    q.filter_len = 2;
    test_assert_ok(pv_search(t.db, NULL, "docs", &q, &r, &t.err), &t.err);
    pv_results_free(r);
    q.threads = 1025;
    test_assert_rc(pv_search(t.db, NULL, "docs", &q, &r, &t.err), PV_ERR_LIMIT, &t.err);
    q.threads = 0;
    q.struct_size = 0;
    test_assert_rc(pv_search(t.db, NULL, "docs", &q, &r, &t.err), PV_ERR_MISUSE, &t.err);
    test_assert_rc(pv_search(t.db, NULL, "docs", NULL, &r, &t.err), PV_ERR_MISUSE, &t.err);
    assert_null(r);
    t_api_done(&t);
}

static int t_interrupt(void *ctx) {
    int *left = ctx;
    return --*left < 0;
}

static void test_api_search__can_be_interrupted(void **state) {
    (void)state;
    t_api t;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    int left = 1 << 30;
    const float q[2] = {1, 2};
    pv_query query = t_query(q, 2, 1);
    pv_results *r = NULL;
    uint64_t n = 0;
    char id[16];
    o.sync = PV_SYNC_ASYNC;
    o.interrupt = t_interrupt;
    o.interrupt_ctx = &left;
    t_api_open(&t, &o);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    for (int i = 0; i < 600; i++) {
        snprintf(id, sizeof(id), "%d", i);
        t_put2(&t, NULL, "docs", id, (float)i, 0, "{\"a\":1}");
    }
    left = 0;
    test_assert_rc(pv_search(t.db, NULL, "docs", &query, &r, &t.err), PV_ERR_CANCELLED, &t.err);
    assert_null(r);
    left = 0;
    test_assert_rc(pv_count(t.db, NULL, "docs", "{\"a\":2}", &n, &t.err), PV_ERR_CANCELLED, &t.err);
    left = 0;
    const t_mark before = t_mark_of(&t);
    test_assert_rc(pv_delete_where(t.db, NULL, "docs", "{}", &n, &t.err), PV_ERR_CANCELLED, &t.err);
    t_expect_unchanged(&t, before);
    left = 1 << 30;
    t_expect_search(&t, NULL, "docs", query, "1");
    t_api_done(&t);
}

static void test_api_search__count_with_a_filter(void **state) {
    (void)state;
    t_api t;
    char id[16], text[32];
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    for (int i = 0; i < 50; i++) {
        snprintf(id, sizeof(id), "%d", i);
        snprintf(text, sizeof(text), "{\"n\": %d}", i);
        t_put2(&t, NULL, "docs", id, (float)i, 0, text);
    }
    assert_int_equal(t_count(&t, NULL, "docs", NULL), 50);
    assert_int_equal(t_count(&t, NULL, "docs", "{}"), 50);
    assert_int_equal(t_count(&t, NULL, "docs", "{\"n\": {\"$lt\": 20}}"), 20);
    assert_int_equal(t_count(&t, NULL, "docs", "{\"n\": {\"$in\": [1, 2, 99]}}"), 2);
    t_api_done(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_search__l2_agrees_with_the_naive_one),
        cmocka_unit_test(test_api_search__dot_agrees_with_the_naive_one),
        cmocka_unit_test(test_api_search__cosine_agrees_with_the_naive_one),
        cmocka_unit_test(test_api_search__many_queries_give_the_same_as_single_ones),
        cmocka_unit_test(test_api_search__many_queries_are_judged),
        cmocka_unit_test(test_api_search__ties_are_decided_by_id),
        cmocka_unit_test(test_api_search__defaults),
        cmocka_unit_test(test_api_search__cosine_knows_zero_vectors),
        cmocka_unit_test(test_api_search__queries_are_judged),
        cmocka_unit_test(test_api_search__can_be_interrupted),
        cmocka_unit_test(test_api_search__count_with_a_filter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
