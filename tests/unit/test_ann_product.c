/* SPDX-License-Identifier: Apache-2.0 */
/* test_ann_product.c - product codes in a graph, through pv.h: learned by itself, and again when
 * the data have changed; sound at every step, and through rollback and reopening. */
#include "test_api_kit.h"

/* Where clusters lie far apart, 16 centres for an element hardly differ inside one. */
#define T_DRIFTED 0.8

enum { T_DIMS = 32, T_K = 10, T_CLUSTERS = 24 };

typedef struct t_points {
    uint64_t seed;
    float centre[T_CLUSTERS][T_DIMS];
} t_points;

static float t_random(t_points *p) { /* -1 to 1 */
    p->seed ^= p->seed << 13;
    p->seed ^= p->seed >> 7;
    p->seed ^= p->seed << 17;
    return (float)((double)(p->seed >> 11) / 4503599627370496.0 - 1.0);
}

static void t_points_init(t_points *p, uint64_t seed, float size) {
    p->seed = seed * 0x9E3779B97F4A7C15u + 1;
    for (unsigned c = 0; c < T_CLUSTERS; c++) {
        for (unsigned i = 0; i < T_DIMS; i++) {
            p->centre[c][i] = size * t_random(p);
        }
    }
}

static void t_point(t_points *p, unsigned cluster, float out[T_DIMS]) {
    for (unsigned i = 0; i < T_DIMS; i++) {
        out[i] = p->centre[cluster % T_CLUSTERS][i] + 0.7f * t_random(p) + 0.7f * t_random(p);
    }
}

static void t_make(t_api *t, uint32_t metric, uint32_t flags) {
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.dims = T_DIMS;
    c.metric = metric;
    c.key = PV_KEY_U64;
    c.index = PV_INDEX_HNSW;
    c.code = PV_CODE_PQ;
    c.compression = 8; /* of 32 elements: as many parts of 4 bits */
    c.code_bits = 4;
    c.flags = flags;
    test_assert_ok(pv_collection_create(t->db, NULL, "c", &c, &t->err), &t->err);
}

static void t_insert(t_api *t, pv_txn *txn, t_points *p, uint64_t first, size_t count) {
    float *v = malloc(count * T_DIMS * sizeof *v);
    uint64_t *ids = malloc(count * sizeof *ids);
    pv_batch b = PV_BATCH_INIT;
    assert_true(v && ids);
    for (size_t i = 0; i < count; i++) {
        t_point(p, (unsigned)(first + i), v + i * T_DIMS);
        ids[i] = first + i;
    }
    b.count = count;
    b.dims = T_DIMS;
    b.vectors = v;
    b.ids_u64 = ids;
    test_assert_ok(pv_upsert_batch(t->db, txn, "c", &b, NULL, &t->err), &t->err);
    free(ids);
    free(v);
}

static double t_recall(t_api *t, t_points *p, unsigned queries) {
    size_t hits = 0;
    for (unsigned i = 0; i < queries; i++) {
        float v[T_DIMS];
        pv_results *want = NULL, *got = NULL;
        t_point(p, i, v);
        pv_query q = t_query(v, T_DIMS, T_K);
        test_assert_ok(pv_search(t->db, NULL, "c", &q, &got, &t->err), &t->err);
        q.flags = PV_QUERY_EXACT;
        test_assert_ok(pv_search(t->db, NULL, "c", &q, &want, &t->err), &t->err);
        assert_int_equal(pv_results_count(got), T_K);
        const float kth = pv_results_distance(want, T_K - 1);
        for (size_t h = 0; h < T_K; h++) {
            hits += pv_results_distance(got, h) <= kth + fabsf(kth) * 1e-5f;
        }
        pv_results_free(got);
        pv_results_free(want);
    }
    return (double)hits / (double)(queries * T_K);
}

static pv_collection_info t_info(t_api *t) {
    pv_collection_info info = PV_COLLECTION_INFO_INIT;
    test_assert_ok(pv_collection_info_get(t->db, NULL, "c", &info, &t->err), &t->err);
    return info;
}

static void t_expect_recall(t_api *t, t_points *p, double want) {
    const double recall = t_recall(t, p, 50);
    if (recall < want) {
        const pv_collection_info info = t_info(t);
        fail_msg("recall %.4f, metric %u, %llu records", recall, (unsigned)info.metric,
                 (unsigned long long)info.count);
    }
}

static void test_ann_product__finds_before_and_after_it_has_learned(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        const uint32_t metric = PV_METRIC_L2 + i / 2;
        t_api t;
        t_points p;
        t_api_open(&t, NULL);
        t_points_init(&p, metric, 2);
        t_make(&t, metric, i % 2 ? PV_COLLECTION_OPQ : 0);
        t_insert(&t, NULL, &p, 0, 900); /* no book yet */
        t_expect_recall(&t, &p, 0.93);
        t_expect_sound(&t);
        t_insert(&t, NULL, &p, 900, 200); /* learned; a part has codes */
        t_expect_sound(&t);
        t_expect_recall(&t, &p, 0.93);
        t_insert(&t, NULL, &p, 1100, 1900); /* all have */
        t_expect_sound(&t);
        t_expect_recall(&t, &p, 0.93);
        assert_int_equal(t_info(&t).code, PV_CODE_PQ);
        t_api_shut(&t);
        t_api_reopen(&t, NULL);
        t_expect_recall(&t, &p, 0.93);
        t_api_done(&t);
    }
}

/* Vectors from elsewhere lose more: another book is learned, and rows of both are told apart. */
static void test_ann_product__learns_again_when_data_drift(void **state) {
    (void)state;
    t_api t;
    t_points p, other;
    t_api_open(&t, NULL);
    t_points_init(&p, 5, 1);
    t_points_init(&other, 6, 6);
    t_make(&t, PV_METRIC_L2, 0);
    t_insert(&t, NULL, &p, 0, 2000);
    for (uint64_t i = 0; i < 12; i++) { /* in the middle of it, too */
        t_insert(&t, NULL, &other, 2000 + 100 * i, 100);
        t_expect_sound(&t);
    }
    t_expect_recall(&t, &other, T_DRIFTED);
    t_expect_recall(&t, &p, T_DRIFTED);
    t_insert(&t, NULL, &other, 4000, 6000); /* four times as many: and again */
    t_expect_sound(&t);
    t_expect_recall(&t, &other, T_DRIFTED);
    t_api_done(&t);
}

static void test_ann_product__rollback_deletes_and_single_rows(void **state) {
    (void)state;
    t_api t;
    t_points p;
    pv_txn *txn = NULL;
    uint64_t deleted = 0;
    t_api_open(&t, NULL);
    t_points_init(&p, 9, 2);
    t_make(&t, PV_METRIC_COSINE, PV_COLLECTION_OPQ);
    t_insert(&t, NULL, &p, 0, 800);
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &txn, &t.err), &t.err);
    t_insert(&t, txn, &p, 800, 1200); /* learned and undone */
    pv_txn_rollback(txn);
    t_expect_sound(&t);
    t_expect_recall(&t, &p, 0.93);
    t_insert(&t, NULL, &p, 800, 1000);
    uint64_t gone[300];
    for (uint64_t i = 0; i < 300; i++) {
        gone[i] = 5 * i;
    }
    pv_ids ids = PV_IDS_INIT;
    ids.ids_u64 = gone;
    ids.count = 300;
    test_assert_ok(pv_delete_many(t.db, NULL, "c", &ids, &deleted, &t.err), &t.err);
    assert_int_equal(deleted, 300);
    t_expect_sound(&t);
    for (uint64_t i = 0; i < 30; i++) {
        t_insert(&t, NULL, &p, 3000 + i, 1);
    }
    t_expect_sound(&t);
    t_expect_recall(&t, &p, 0.93);
    t_api_done(&t);
}

static void test_ann_product__options_are_checked(void **state) {
    (void)state;
    static const struct {
        uint32_t code, compression, bits, parts;
        int want;
    } cases[] = {
        {PV_CODE_PQ, 3, 0, 0, PV_ERR_LIMIT},           {PV_CODE_PQ, 65, 0, 0, PV_ERR_LIMIT},
        {PV_CODE_PQ, 0, 5, 0, PV_ERR_UNSUPPORTED},     {PV_CODE_PQ, 0, 8, T_DIMS + 1, PV_ERR_LIMIT},
        {PV_CODE_SQ8, 16, 0, 0, PV_ERR_MISUSE},        {PV_CODE_AUTO, 0, 8, 0, PV_ERR_MISUSE},
        {PV_CODE_PQ + 1, 0, 0, 0, PV_ERR_UNSUPPORTED},
    };
    t_api t;
    t_api_open(&t, NULL);
    for (size_t i = 0; i < PV_COUNTOF(cases); i++) {
        pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
        c.dims = T_DIMS;
        c.code = cases[i].code;
        c.compression = cases[i].compression;
        c.code_bits = cases[i].bits;
        c.code_parts = cases[i].parts;
        assert_int_equal(pv_collection_create(t.db, NULL, "c", &c, &t.err), cases[i].want);
    }
    pv_collection_opts opq = PV_COLLECTION_OPTS_INIT;
    opq.dims = T_DIMS;
    opq.flags = PV_COLLECTION_OPQ;
    assert_int_equal(pv_collection_create(t.db, NULL, "c", &opq, &t.err), PV_ERR_MISUSE);
    opq.code = PV_CODE_PQ;
    opq.dims = 2049;
    assert_int_equal(pv_collection_create(t.db, NULL, "c", &opq, &t.err), PV_ERR_LIMIT);
    opq.flags = 2 * PV_COLLECTION_OPQ;
    assert_int_equal(pv_collection_create(t.db, NULL, "c", &opq, &t.err), PV_ERR_UNSUPPORTED);
    t_make(&t, PV_METRIC_L2, 0);
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.dims = T_DIMS;
    c.metric = PV_METRIC_L2;
    c.key = PV_KEY_U64;
    c.code = PV_CODE_PQ; /* 32 times, not 8 */
    assert_int_equal(pv_collection_ensure(t.db, NULL, "c", &c, &t.err), PV_ERR_EXISTS);
    t_api_done(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ann_product__finds_before_and_after_it_has_learned),
        cmocka_unit_test(test_ann_product__learns_again_when_data_drift),
        cmocka_unit_test(test_ann_product__rollback_deletes_and_single_rows),
        cmocka_unit_test(test_ann_product__options_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
