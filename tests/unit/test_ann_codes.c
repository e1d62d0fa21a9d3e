/* SPDX-License-Identifier: Apache-2.0 */
/* test_ann_codes.c - PV_QUERY_CODES: answers whose distances are those of codes, and say so. */
#include "test_api_kit.h"

enum { T_DIMS = 96, T_ROWS = 1200, T_K = 10, T_QUERIES = 20 };

static uint64_t t_seed;

static float t_random(void) { /* -1 to 1 */
    t_seed ^= t_seed << 13;
    t_seed ^= t_seed >> 7;
    t_seed ^= t_seed << 17;
    return (float)((double)(t_seed >> 11) / 4503599627370496.0 - 1.0);
}

static void t_vector(float v[T_DIMS]) {
    for (unsigned i = 0; i < T_DIMS; i++) {
        v[i] = 0.3f + t_random() / (1.0f + 0.1f * (float)i);
    }
}

static void t_fill(t_api *t, uint32_t metric, uint32_t index, uint32_t code) {
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    float *v = malloc((size_t)T_ROWS * T_DIMS * sizeof *v);
    uint64_t ids[T_ROWS];
    pv_batch b = PV_BATCH_INIT;
    assert_non_null(v);
    t_seed = 88172645463325252u + metric;
    t_api_open(t, NULL);
    c.dims = T_DIMS;
    c.metric = metric;
    c.key = PV_KEY_U64;
    c.index = index;
    c.code = code;
    c.compression = code == PV_CODE_PQ ? 8 : 0;
    c.code_bits = code == PV_CODE_PQ ? 4 : 0;
    test_assert_ok(pv_collection_create(t->db, NULL, "c", &c, &t->err), &t->err);
    for (size_t i = 0; i < T_ROWS; i++) {
        t_vector(v + i * T_DIMS);
        ids[i] = i;
    }
    b.count = T_ROWS;
    b.dims = T_DIMS;
    b.vectors = v;
    b.ids_u64 = ids;
    test_assert_ok(pv_insert_batch(t->db, NULL, "c", &b, NULL, &t->err), &t->err);
    free(v);
}

static pv_results *t_search(t_api *t, const float *v, uint32_t k, uint32_t flags) {
    pv_results *r = NULL;
    pv_query q = t_query(v, T_DIMS, k);
    q.flags = flags;
    test_assert_ok(pv_search(t->db, NULL, "c", &q, &r, &t->err), &t->err);
    return r;
}

/* The distance of `id` as a scan of all says it. */
static float t_true_distance(const pv_results *all, uint64_t id) {
    for (size_t i = 0; i < pv_results_count(all); i++) {
        if (pv_results_id_u64(all, i) == id) {
            return pv_results_distance(all, i);
        }
    }
    fail();
    return 0;
}

static void t_expect_close(t_api *t, double least) {
    size_t hits = 0, within = 0;
    for (unsigned i = 0; i < T_QUERIES; i++) {
        float v[T_DIMS];
        t_vector(v);
        pv_results *all = t_search(t, v, T_ROWS, PV_QUERY_EXACT);
        pv_results *got = t_search(t, v, T_K, PV_QUERY_CODES);
        pv_results *ranked = t_search(t, v, T_K, 0);
        const float error = pv_results_error(got), kth = pv_results_distance(all, T_K - 1);
        assert_int_equal(pv_results_count(got), T_K);
        assert_true(error > 0 && error < 10);
        assert_true(pv_results_error(ranked) == 0 && pv_results_error(all) == 0);
        for (size_t h = 0; h < T_K; h++) {
            const float truth = t_true_distance(all, pv_results_id_u64(got, h));
            const float said = pv_results_distance(got, h);
            assert_true(h == 0 || said >= pv_results_distance(got, h - 1));
            within += fabsf(said - truth) <= error;
            hits += truth <= kth + fabsf(kth) * 1e-5f;
        }
        pv_results_free(ranked);
        pv_results_free(got);
        pv_results_free(all);
    }
    const double all = T_QUERIES * T_K;
    if ((double)hits < least * all || (double)within < 0.9 * all) {
        fail_msg("%zu of %g found, %zu within the error", hits, all, within);
    }
}

static void test_ann_codes__distances_are_near_the_truth(void **state) {
    (void)state;
    static const struct {
        uint32_t code;
        double least; /* recall */
    } cases[] = {
        {PV_CODE_F32, 0.95}, {PV_CODE_SQ8, 0.9}, {PV_CODE_Q4, 0.6},
        {PV_CODE_B1, 0.6},   {PV_CODE_F16, 0.9}, {PV_CODE_PQ, 0.6},
    };
    for (uint32_t i = 0; i < PV_COUNTOF(cases); i++) {
        t_api t;
        t_fill(&t, PV_METRIC_L2 + i % 3, PV_INDEX_HNSW, cases[i].code);
        t_expect_close(&t, cases[i].least);
        t_api_done(&t);
    }
}

static void test_ann_codes__into_arrays_and_within(void **state) {
    (void)state;
    t_api t;
    float v[T_DIMS], distances[T_K];
    t_fill(&t, PV_METRIC_L2, PV_INDEX_HNSW, PV_CODE_Q4);
    t_vector(v);
    pv_results *got = t_search(&t, v, T_K, PV_QUERY_CODES);
    pv_rows rows = PV_ROWS_INIT;
    pv_query q = t_query(v, T_DIMS, T_K);
    q.flags = PV_QUERY_CODES;
    rows.room = T_K;
    rows.distances = distances;
    test_assert_ok(pv_search_into(t.db, NULL, "c", &q, &rows, &t.err), &t.err);
    assert_int_equal(rows.count, T_K);
    assert_true(rows.error == pv_results_error(got));
    assert_memory_equal(distances, pv_results_distances(got), sizeof distances);
    q.flags = 0;
    test_assert_ok(pv_search_into(t.db, NULL, "c", &q, &rows, &t.err), &t.err);
    assert_true(rows.error == 0);
    q.flags = PV_QUERY_CODES | PV_QUERY_WITHIN;
    q.max_distance = pv_results_distance(got, 4);
    pv_results *within = NULL;
    test_assert_ok(pv_search(t.db, NULL, "c", &q, &within, &t.err), &t.err);
    assert_int_equal(pv_results_count(within), 5);
    pv_results_free(within);
    pv_results_free(got);
    t_api_done(&t);
}

static void test_ann_codes__without_a_graph_nothing_is_off(void **state) {
    (void)state;
    t_api t;
    float v[T_DIMS];
    t_fill(&t, PV_METRIC_COSINE, PV_INDEX_FLAT, 0);
    t_vector(v);
    pv_results *got = t_search(&t, v, T_K, PV_QUERY_CODES);
    assert_true(pv_results_error(got) == 0);
    pv_results_free(got);
    assert_true(isnan(pv_results_error(NULL)));
    t_api_done(&t);
}

static void test_ann_codes__what_cannot_be_is_refused(void **state) {
    (void)state;
    t_api t;
    float v[T_DIMS];
    pv_results *r = NULL;
    pv_cursor *cursor = NULL;
    t_fill(&t, PV_METRIC_L2, PV_INDEX_HNSW, PV_CODE_SQ8);
    t_vector(v);
    pv_query q = t_query(v, T_DIMS, T_K);
    q.flags = PV_QUERY_CODES | PV_QUERY_EXACT;
    assert_int_equal(pv_search(t.db, NULL, "c", &q, &r, &t.err), PV_ERR_MISUSE);
    q.flags = PV_QUERY_CODES;
    assert_int_equal(pv_cursor_open(t.db, NULL, "c", &q, &cursor, &t.err), PV_ERR_UNSUPPORTED);
    assert_null(cursor);
    t_api_done(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ann_codes__distances_are_near_the_truth),
        cmocka_unit_test(test_ann_codes__into_arrays_and_within),
        cmocka_unit_test(test_ann_codes__without_a_graph_nothing_is_off),
        cmocka_unit_test(test_ann_codes__what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
