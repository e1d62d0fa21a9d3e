/* SPDX-License-Identifier: Apache-2.0 */
/* test_engine_scan.c - an exact search for one vector finds what comparing with every live record
 * finds: short rows and long ones, few, many and nearly all records deleted, one by one and in
 * runs, so that blocks of rows end anywhere in and between pages. */
#include <math.h>

#include "test_api_kit.h"

enum { T_ROWS = 2500, T_DIMS_MAX = 300, T_K = 20 };

static float t_vectors[T_ROWS][T_DIMS_MAX];
static bool t_dead[T_ROWS];

static void t_fill(t_api *t, test_rng *rng, uint32_t dims, unsigned dead_of_16) {
    static uint64_t ids[T_ROWS];
    static float packed[T_ROWS * T_DIMS_MAX];
    pv_batch b = PV_BATCH_INIT;
    pv_ids gone = PV_IDS_INIT;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    uint64_t n = 0;
    c.dims = dims;
    c.metric = PV_METRIC_L2;
    c.key = PV_KEY_U64;
    c.index = PV_INDEX_FLAT;
    test_assert_ok(pv_collection_create(t->db, NULL, "docs", &c, &t->err), &t->err);
    for (size_t i = 0; i < T_ROWS; i++) {
        for (size_t d = 0; d < dims; d++) {
            t_vectors[i][d] = packed[i * dims + d] = test_rng_gauss(rng);
        }
        ids[i] = i;
    }
    b.count = T_ROWS;
    b.dims = dims;
    b.ids_u64 = ids;
    b.vectors = packed;
    test_assert_ok(pv_insert_batch(t->db, NULL, "docs", &b, NULL, &t->err), &t->err);
    for (size_t i = 0; i < T_ROWS; i++) { /* a run of 100 lives, and one is dead */
        t_dead[i] = i / 100 == 3   ? false
                    : i / 100 == 7 ? true
                                   : test_rng_below(rng, 16) < dead_of_16;
        if (t_dead[i]) {
            ids[gone.count++] = i;
        }
    }
    gone.ids_u64 = ids;
    test_assert_ok(pv_delete_many(t->db, NULL, "docs", &gone, &n, &t->err), &t->err);
    assert_int_equal(n, gone.count);
}

static double t_distance(const float *a, const float *b, uint32_t dims) {
    double sum = 0;
    for (uint32_t d = 0; d < dims; d++) {
        sum += ((double)a[d] - (double)b[d]) * ((double)a[d] - (double)b[d]);
    }
    return sqrt(sum);
}

/* Every live record that is clearly nearer than the last answer is in the answer, which holds live
 * records only, in order, at their distances. */
static void t_check(const pv_results *res, const float *query, uint32_t dims) {
    const uint64_t *ids = pv_results_ids_u64(res);
    const float *distances = pv_results_distances(res);
    size_t live = 0, nearer = 0, found = 0;
    for (size_t i = 0; i < T_ROWS; i++) {
        live += !t_dead[i];
    }
    const size_t count = pv_results_count(res);
    assert_int_equal(count, PV_MIN(live, (size_t)T_K));
    for (size_t i = 0; i < count; i++) {
        assert_true(ids[i] < T_ROWS && !t_dead[ids[i]]);
        assert_true(i == 0 || distances[i - 1] <= distances[i]);
        assert_true(fabs(t_distance(query, t_vectors[ids[i]], dims) - (double)distances[i]) < 1e-3);
        found += distances[i] < distances[count - 1] - 2e-3f;
    }
    for (size_t i = 0; i < T_ROWS; i++) {
        nearer += !t_dead[i] &&
                  t_distance(query, t_vectors[i], dims) < (double)(distances[count - 1] - 2e-3f);
    }
    assert_true(nearer >= found && nearer <= count);
    for (size_t i = 0; i < T_ROWS; i++) {
        bool in = t_dead[i] ||
                  t_distance(query, t_vectors[i], dims) >= (double)distances[count - 1] - 2e-3;
        for (size_t r = 0; r < count && !in; r++) {
            in = ids[r] == i;
        }
        assert_true(in);
    }
}

static void test_scan__one_query_finds_what_all_live_records_give(void **state) {
    (void)state;
    static const uint32_t dims[] = {7, 100, 256, T_DIMS_MAX};
    static const unsigned dead[] = {0, 1, 4, 8, 15};
    for (size_t at = 0; at < PV_COUNTOF(dims) * PV_COUNTOF(dead); at++) {
        const uint32_t d = dims[at % PV_COUNTOF(dims)];
        float query[T_DIMS_MAX];
        test_rng rng;
        t_api t;
        pv_open_opts o = PV_OPEN_OPTS_INIT;
        o.sync = PV_SYNC_ASYNC;
        o.cache_bytes = at % 3 == 0 ? 300u << 10 : 0;
        test_rng_init(&rng, test_seed() + at);
        t_api_open(&t, &o);
        t_fill(&t, &rng, d, dead[at / PV_COUNTOF(dims)]);
        for (size_t i = 0; i < 5; i++) {
            pv_results *res = NULL;
            pv_query q = PV_QUERY_INIT;
            for (size_t k = 0; k < d; k++) {
                query[k] = test_rng_gauss(&rng);
            }
            q.flags = PV_QUERY_EXACT;
            q.vector = query;
            q.dims = d;
            q.k = T_K;
            test_assert_ok(pv_search(t.db, NULL, "docs", &q, &res, &t.err), &t.err);
            t_check(res, query, d);
            pv_results_free(res);
        }
        t_api_done(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan__one_query_finds_what_all_live_records_give),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
