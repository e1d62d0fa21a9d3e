/* SPDX-License-Identifier: Apache-2.0 */
/* test_ann_choose.c - the code that a collection gets when nobody asks for one, through pv.h: it
 * follows from the records, says why, is the same for any number of threads, and stays. */
#include "engine/db.h"
#include "engine/upkeep.h"
#include "test_api_kit.h"

enum { T_MOST_DIMS = 768, T_K = 10 };

typedef struct t_data {
    uint32_t dims;
    float apart; /* what all vectors have in their first element */
    uint64_t seed;
} t_data;

static float t_random(t_data *d) { /* -1 to 1 */
    d->seed ^= d->seed << 13;
    d->seed ^= d->seed >> 7;
    d->seed ^= d->seed << 17;
    return (float)((double)(d->seed >> 11) / 4503599627370496.0 - 1.0);
}

/* Few of the dimensions have most of what vectors differ by, as in embeddings. */
static void t_vector(t_data *d, float *v) {
    for (uint32_t i = 0; i < d->dims; i++) {
        v[i] = t_random(d) / (1.0f + 0.2f * (float)i);
    }
    v[0] += d->apart;
}

static void t_make(t_api *t, const t_data *d, uint32_t index, uint32_t code) {
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.dims = d->dims;
    c.metric = PV_METRIC_L2;
    c.key = PV_KEY_U64;
    c.index = index;
    c.code = code;
    test_assert_ok(pv_collection_create(t->db, NULL, "c", &c, &t->err), &t->err);
}

static void t_insert(t_api *t, t_data *d, uint64_t first, size_t count) {
    float *v = malloc(count * d->dims * sizeof *v);
    uint64_t *ids = malloc(count * sizeof *ids);
    pv_batch b = PV_BATCH_INIT;
    assert_true(v && ids);
    for (size_t i = 0; i < count; i++) {
        t_vector(d, v + i * d->dims);
        ids[i] = first + i;
    }
    b.count = count;
    b.dims = d->dims;
    b.vectors = v;
    b.ids_u64 = ids;
    test_assert_ok(pv_insert_batch(t->db, NULL, "c", &b, NULL, &t->err), &t->err);
    free(ids);
    free(v);
}

static pv_collection_info t_info(t_api *t) {
    pv_collection_info info = PV_COLLECTION_INFO_INIT;
    test_assert_ok(pv_collection_info_get(t->db, NULL, "c", &info, &t->err), &t->err);
    assert_non_null(memchr(info.code_reason, 0, sizeof info.code_reason));
    return info;
}

static double t_recall(t_api *t, t_data *d) {
    size_t hits = 0;
    for (unsigned i = 0; i < 40; i++) {
        float v[T_MOST_DIMS];
        pv_results *want = NULL, *got = NULL;
        t_vector(d, v);
        pv_query q = t_query(v, d->dims, T_K);
        test_assert_ok(pv_search(t->db, NULL, "c", &q, &got, &t->err), &t->err);
        q.flags = PV_QUERY_EXACT;
        test_assert_ok(pv_search(t->db, NULL, "c", &q, &want, &t->err), &t->err);
        const float kth = pv_results_distance(want, T_K - 1);
        for (size_t h = 0; h < T_K; h++) {
            hits += pv_results_distance(got, h) <= kth * 1.00001f;
        }
        pv_results_free(got);
        pv_results_free(want);
    }
    return (double)hits / (40.0 * T_K);
}

static t_data t_open(t_api *t, uint32_t dims, float apart, uint32_t threads, uint64_t cache) {
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    o.threads = threads;
    o.cache_bytes = cache;
    o.sync = PV_SYNC_ASYNC;
    t_api_open(t, &o);
    return (t_data){dims, apart, 88172645463325252u};
}

/* Every step of the background, until nothing is left to do. */
static void t_upkeep(t_api *t) {
    unsigned steps = 0;
    while (pv__upkeep_run(t->db) != PV__CHORE_DONE) {
        assert_true(++steps < 20000);
    }
}

static void t_expect_said(const pv_collection_info *i, const char *what) {
    if (!strstr(i->code_reason, what)) {
        fail_msg("'%s' is not in '%s'", what, i->code_reason);
    }
}

/* ---- tests ---- */

static void test_ann_choose__long_vectors_get_short_codes(void **state) {
    (void)state;
    static const struct {
        uint32_t dims, code;
        const char *why;
    } cases[] = {{8, PV_CODE_SQ8, "sq8, measured"}, {T_MOST_DIMS, PV_CODE_Q4, "q4, measured"}};
    for (size_t i = 0; i < PV_COUNTOF(cases); i++) {
        t_api t;
        t_data d = t_open(&t, cases[i].dims, 0, 1, 16u << 20);
        t_make(&t, &d, PV_INDEX_HNSW, PV_CODE_AUTO);
        pv_collection_info info = t_info(&t);
        assert_int_equal(info.code, PV_CODE_AUTO); /* nothing to measure yet */
        t_expect_said(&info, "until there are");
        pv_collection_opts same = PV_COLLECTION_OPTS_INIT;
        same.dims = cases[i].dims;
        same.metric = PV_METRIC_L2;
        same.key = PV_KEY_U64;
        t_insert(&t, &d, 0, 1500);
        info = t_info(&t);
        t_expect_said(&info, "measured at 1500 records");
        assert_int_equal(info.code_asked, PV_CODE_AUTO);
        if (info.code != cases[i].code) {
            fail_msg("%u dimensions: %s", cases[i].dims, info.code_reason);
        }
        t_expect_said(&info, cases[i].why);
        assert_true(t_recall(&t, &d) >= 0.95);
        t_expect_sound(&t);
        test_assert_ok(pv_collection_ensure(t.db, NULL, "c", &same, &t.err), &t.err);
        same.code = PV_CODE_F32;
        assert_int_equal(pv_collection_ensure(t.db, NULL, "c", &same, &t.err), PV_ERR_EXISTS);
        t_api_shut(&t); /* it is in the file */
        t_api_reopen(&t, NULL);
        const pv_collection_info again = t_info(&t);
        assert_int_equal(again.code, info.code);
        assert_string_equal(again.code_reason, info.code_reason);
        t_api_done(&t);
    }
}

/* One element of 10,000 takes the grid of 8 bits for itself: such a code finds nothing. */
static void test_ann_choose__a_code_that_tells_nothing_is_not_taken(void **state) {
    (void)state;
    for (unsigned automatic = 0; automatic < 2; automatic++) {
        t_api t;
        t_data d = t_open(&t, 8, 10000, 1, 0);
        t_make(&t, &d, PV_INDEX_HNSW, automatic ? PV_CODE_AUTO : PV_CODE_SQ8);
        t_insert(&t, &d, 0, 2000);
        const pv_collection_info info = t_info(&t);
        const double recall = t_recall(&t, &d);
        if (automatic ? recall < 0.95 || info.code == PV_CODE_SQ8 : recall > 0.5) {
            fail_msg("recall %.3f: %s", recall, info.code_reason);
        }
        t_expect_said(&info, automatic ? "sq8 recall 0." : "asked for");
        t_api_done(&t);
    }
}

/* Begun with one record, when there is nothing to measure; then it is, and built again once. */
static void test_ann_choose__it_is_looked_at_again_and_stays(void **state) {
    (void)state;
    t_api t;
    t_data d = t_open(&t, 8, 10000, 1, 0);
    t_make(&t, &d, PV_INDEX_HNSW, PV_CODE_AUTO);
    t_insert(&t, &d, 0, 1);
    assert_int_equal(t_info(&t).code, PV_CODE_SQ8);
    uint64_t id = 1;
    for (; id < 4300; id += 300) {
        t_insert(&t, &d, id, 300);
    }
    t_upkeep(&t);
    const uint32_t code = t_info(&t).code;
    assert_int_not_equal(code, PV_CODE_SQ8);
    assert_true(t_recall(&t, &d) >= 0.95);
    t_expect_sound(&t);
    for (unsigned i = 0; i < 20; i++, id += 100) {
        t_insert(&t, &d, id, 100);
        t_upkeep(&t);
        assert_int_equal(t_info(&t).flags, 0);
        assert_int_equal(t_info(&t).code, code);
    }
    t_api_done(&t);
}

static void test_ann_choose__threads_make_no_difference(void **state) {
    (void)state;
    char reason[2][256];
    uint32_t code[2];
    for (uint32_t threads = 1; threads <= 2; threads++) {
        t_api t;
        t_data d = t_open(&t, 64, 0, threads, 64u << 20);
        t_make(&t, &d, PV_INDEX_HNSW, PV_CODE_AUTO);
        t_insert(&t, &d, 0, 3000);
        const pv_collection_info info = t_info(&t);
        memcpy(reason[threads - 1], info.code_reason, sizeof reason[0]);
        code[threads - 1] = info.code;
        t_api_done(&t);
    }
    assert_int_equal(code[0], code[1]);
    assert_string_equal(reason[0], reason[1]);
}

/* Signs are looked at only where 4 bits would be far larger than the cache. */
static void test_ann_choose__one_bit_is_for_what_no_cache_holds(void **state) {
    (void)state;
    for (unsigned small = 0; small < 2; small++) {
        t_api t;
        t_data d = t_open(&t, 128, 0, 1, small ? 128u << 10 : 64u << 20);
        t_make(&t, &d, PV_INDEX_HNSW, PV_CODE_AUTO);
        t_insert(&t, &d, 0, 2500);
        const pv_collection_info info = t_info(&t);
        assert_int_equal(strstr(info.code_reason, "b1 recall") != NULL, small);
        assert_true(small || info.code != PV_CODE_B1);
        assert_true(t_recall(&t, &d) >= 0.9);
        t_api_done(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ann_choose__long_vectors_get_short_codes),
        cmocka_unit_test(test_ann_choose__a_code_that_tells_nothing_is_not_taken),
        cmocka_unit_test(test_ann_choose__it_is_looked_at_again_and_stays),
        cmocka_unit_test(test_ann_choose__threads_make_no_difference),
        cmocka_unit_test(test_ann_choose__one_bit_is_for_what_no_cache_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
