/* SPDX-License-Identifier: Apache-2.0 */
/* test_api_collection.c - collections as a whole: names, options, list, info, drop. */
#include "unit/test_api_kit.h"

static int t_create(t_api *t, const char *name, uint32_t dims) {
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.dims = dims;
    return pv_collection_create(t->db, NULL, name, &c, &t->err);
}

static void test_api_collection__names_are_judged(void **state) {
    (void)state;
    t_api t;
    static const char *const bad[] = {
        "",     ".",     "..",        "../x", "a/b",       "a\\b",      "_x",    ".x",
        "a\nb", "a\x7f", "a\xc2\x85", "\xff", "a\xc0\x80", "tab\there", "a\x1b", "\xed\xa0\x80",
    };
    static const char *const good[] = {
        "a", "a b", "a.b", "a_b", "-", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "A%2e%2e",
    };
    char name[PV_LIMIT_NAME_BYTES + 2];
    t_api_open(&t, NULL);
    const t_mark before = t_mark_of(&t);
    for (size_t i = 0; i < PV_COUNTOF(bad); i++) {
        test_assert_rc(t_create(&t, bad[i], 2), PV_ERR_MISUSE, &t.err);
    }
    memset(name, 'n', sizeof(name));
    name[PV_LIMIT_NAME_BYTES + 1] = 0;
    test_assert_rc(t_create(&t, name, 2), PV_ERR_LIMIT, &t.err);
    test_assert_rc(t_create(&t, NULL, 2), PV_ERR_MISUSE, &t.err);
    t_expect_unchanged(&t, before);
    name[PV_LIMIT_NAME_BYTES] = 0;
    test_assert_ok(t_create(&t, name, 2), &t.err);
    for (size_t i = 0; i < PV_COUNTOF(good); i++) {
        test_assert_ok(t_create(&t, good[i], 2), &t.err);
        t_put2(&t, NULL, good[i], "x", 1.0f, 2.0f, NULL);
    }
    t_expect_sound(&t);
    t_api_done(&t);
}

static void test_api_collection__options_are_judged(void **state) {
    (void)state;
    t_api t;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    t_api_open(&t, NULL);
    const t_mark before = t_mark_of(&t);
    t_expect_error(pv_collection_create(t.db, NULL, "x", &c, &t.err), PV_ERR_MISUSE, &t.err,
                   "dims");
    test_assert_rc(pv_collection_create(t.db, NULL, "x", NULL, &t.err), PV_ERR_MISUSE, &t.err);
    c.dims = PV_LIMIT_DIMS + 1;
    test_assert_rc(pv_collection_create(t.db, NULL, "x", &c, &t.err), PV_ERR_LIMIT, &t.err);
    c.dims = 4;
    c.metric = 9;
    test_assert_rc(pv_collection_create(t.db, NULL, "x", &c, &t.err), PV_ERR_UNSUPPORTED, &t.err);
    c.metric = 0;
    c.type = PV_TYPE_BF16;
    t_expect_error(pv_collection_create(t.db, NULL, "x", &c, &t.err), PV_ERR_UNSUPPORTED, &t.err,
                   "bf16");
    c.type = 99;
    test_assert_rc(pv_collection_create(t.db, NULL, "x", &c, &t.err), PV_ERR_UNSUPPORTED, &t.err);
    c.type = 0;
    c.key = 3;
    test_assert_rc(pv_collection_create(t.db, NULL, "x", &c, &t.err), PV_ERR_UNSUPPORTED, &t.err);
    c.key = 0;
    c.flags = 2;
    test_assert_rc(pv_collection_create(t.db, NULL, "x", &c, &t.err), PV_ERR_UNSUPPORTED, &t.err);
    c.flags = PV_COLLECTION_OPQ;
    t_expect_error(pv_collection_create(t.db, NULL, "x", &c, &t.err), PV_ERR_MISUSE, &t.err, "pq");
    c.flags = 0;
    c.struct_size = 0;
    test_assert_rc(pv_collection_create(t.db, NULL, "x", &c, &t.err), PV_ERR_MISUSE, &t.err);
    t_expect_unchanged(&t, before);
    c.struct_size = sizeof(c);
    test_assert_ok(pv_collection_create(t.db, NULL, "x", &c, &t.err), &t.err);
    t_api_done(&t);
}

static void test_api_collection__ensure_compares(void **state) {
    (void)state;
    t_api t;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT, d;
    t_api_open(&t, NULL);
    c.dims = 4;
    test_assert_ok(pv_collection_ensure(t.db, NULL, "docs", &c, &t.err), &t.err);
    const t_mark before = t_mark_of(&t);
    test_assert_ok(pv_collection_ensure(t.db, NULL, "docs", &c, &t.err), &t.err);
    c.metric = PV_METRIC_COSINE; /* the default, by its name */
    c.type = PV_TYPE_F32;
    c.key = PV_KEY_STRING;
    test_assert_ok(pv_collection_ensure(t.db, NULL, "docs", &c, &t.err), &t.err);
    t_expect_error(pv_collection_create(t.db, NULL, "docs", &c, &t.err), PV_ERR_EXISTS, &t.err,
                   "docs");
    d = c;
    d.dims = 5;
    t_expect_error(pv_collection_ensure(t.db, NULL, "docs", &d, &t.err), PV_ERR_EXISTS, &t.err,
                   "dimensions");
    d = c;
    d.metric = PV_METRIC_DOT;
    t_expect_error(pv_collection_ensure(t.db, NULL, "docs", &d, &t.err), PV_ERR_EXISTS, &t.err,
                   "metric");
    d = c;
    d.key = PV_KEY_U64;
    t_expect_error(pv_collection_ensure(t.db, NULL, "docs", &d, &t.err), PV_ERR_EXISTS, &t.err,
                   "key");
    t_expect_unchanged(&t, before);
    t_api_done(&t);
}

static void test_api_collection__list_is_sorted_and_survives_reopen(void **state) {
    (void)state;
    t_api t;
    pv_names *names = NULL;
    t_api_open(&t, NULL);
    test_assert_ok(pv_collection_list(t.db, NULL, &names, &t.err), &t.err);
    assert_int_equal(pv_names_count(names), 0);
    pv_names_free(names);
    t_api_create(&t, "b", 2, 0, 0);
    t_api_create(&t, "a", 3, 0, 0);
    t_api_create(&t, "ab", 4, 0, 0);
    t_api_create(&t, "B", 5, 0, 0);
    t_api_shut(&t);
    t_api_reopen(&t, NULL);
    test_assert_ok(pv_collection_list(t.db, NULL, &names, &t.err), &t.err);
    assert_int_equal(pv_names_count(names), 4);
    assert_string_equal(pv_names_get(names, 0), "B");
    assert_string_equal(pv_names_get(names, 1), "a");
    assert_string_equal(pv_names_get(names, 2), "ab");
    assert_string_equal(pv_names_get(names, 3), "b");
    assert_null(pv_names_get(names, 4));
    pv_names_free(names);
    t_api_done(&t);
}

static void test_api_collection__info_tells_what_it_is(void **state) {
    (void)state;
    t_api t;
    pv_collection_info i = PV_COLLECTION_INFO_INIT;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_DOT, PV_KEY_U64);
    test_assert_ok(pv_collection_info_get(t.db, NULL, "docs", &i, &t.err), &t.err);
    assert_int_equal(i.dims, 2);
    assert_int_equal(i.metric, PV_METRIC_DOT);
    assert_int_equal(i.type, PV_TYPE_F32);
    assert_int_equal(i.key, PV_KEY_U64);
    assert_int_equal(i.count, 0);
    const uint64_t generation = i.generation, object = i.object_id;
    const float v[2] = {1.0f, 2.0f};
    t_put(&t, NULL, "docs", t_record_u64(7, v, 2, NULL));
    test_assert_ok(pv_collection_info_get(t.db, NULL, "docs", &i, &t.err), &t.err);
    assert_int_equal(i.count, 1);
    assert_true(i.slots >= 1 && i.generation > generation && i.object_id == object);
    test_assert_ok(pv_collection_drop(t.db, NULL, "docs", &t.err), &t.err);
    test_assert_rc(pv_collection_info_get(t.db, NULL, "docs", &i, &t.err), PV_ERR_NOTFOUND, &t.err);
    t_api_create(&t, "docs", 2, PV_METRIC_DOT, PV_KEY_U64);
    test_assert_ok(pv_collection_info_get(t.db, NULL, "docs", &i, &t.err), &t.err);
    assert_true(i.object_id > object); /* numbers are never used twice */
    t_api_done(&t);
}

static void test_api_collection__drop_gives_all_pages_back(void **state) {
    (void)state;
    t_api t;
    float v[64];
    char id[16], text[3000];
    t_api_open(&t, NULL);
    t_api_create(&t, "keep", 2, 0, 0);
    t_api_create(&t, "docs", 64, PV_METRIC_L2, 0);
    test_assert_ok(pv_collection_drop(t.db, NULL, "docs", &t.err), &t.err);
    uint64_t pages = 0; /* numbers of pages that the first round took are enough for the others */
    for (int round = 0; round < 3; round++) {
        t_api_create(&t, "docs", 64, PV_METRIC_L2, 0);
        for (int i = 0; i < 300; i++) {
            for (size_t d = 0; d < 64; d++) {
                v[d] = (float)(i + (int)d);
            }
            snprintf(id, sizeof(id), "id%d", i);
            snprintf(text, sizeof(text), "{\"n\": %d, \"text\": \"%*d\"}", i, 20 + i * 9, i);
            t_put(&t, NULL, "docs", t_record(id, v, 64, text));
        }
        t_expect_sound(&t);
        test_assert_ok(pv_collection_drop(t.db, NULL, "docs", &t.err), &t.err);
        pv_stats s = PV_STATS_INIT;
        test_assert_ok(pv_stats_get(t.db, &s, &t.err), &t.err);
        assert_true(round == 0 || s.pages == pages);
        pages = s.pages;
    }
    test_assert_rc(pv_collection_drop(t.db, NULL, "docs", &t.err), PV_ERR_NOTFOUND, &t.err);
    t_expect_sound(&t);
    t_api_shut(&t);
    t_api_reopen(&t, NULL);
    assert_int_equal(t_count(&t, NULL, "keep", NULL), 0);
    t_expect_sound(&t);
    t_api_done(&t);
}

static void test_api_collection__missing_one_is_named(void **state) {
    (void)state;
    t_api t;
    const float v[2] = {1.0f, 2.0f};
    const pv_record r = t_record("a", v, 2, NULL);
    const pv_query q = t_query(v, 2, 1);
    pv_results *res = NULL;
    pv_iter *it = NULL;
    uint64_t n = 0;
    t_api_open(&t, NULL);
    t_expect_error(pv_insert(t.db, NULL, "nope", &r, 1, NULL, &t.err), PV_ERR_NOTFOUND, &t.err,
                   "nope");
    test_assert_rc(pv_insert(t.db, NULL, NULL, &r, 1, NULL, &t.err), PV_ERR_MISUSE, &t.err);
    test_assert_rc(pv_insert(t.db, NULL, "", &r, 1, NULL, &t.err), PV_ERR_NOTFOUND, &t.err);
    test_assert_rc(pv_insert(t.db, NULL, "../..", &r, 1, NULL, &t.err), PV_ERR_NOTFOUND, &t.err);
    test_assert_rc(pv_search(t.db, NULL, "nope", &q, &res, &t.err), PV_ERR_NOTFOUND, &t.err);
    test_assert_rc(pv_count(t.db, NULL, "nope", NULL, &n, &t.err), PV_ERR_NOTFOUND, &t.err);
    test_assert_rc(pv_delete(t.db, NULL, "nope", "a", &t.err), PV_ERR_NOTFOUND, &t.err);
    test_assert_rc(pv_iter_open(t.db, NULL, "nope", NULL, &it, &t.err), PV_ERR_NOTFOUND, &t.err);
    t_api_done(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_collection__names_are_judged),
        cmocka_unit_test(test_api_collection__options_are_judged),
        cmocka_unit_test(test_api_collection__ensure_compares),
        cmocka_unit_test(test_api_collection__list_is_sorted_and_survives_reopen),
        cmocka_unit_test(test_api_collection__info_tells_what_it_is),
        cmocka_unit_test(test_api_collection__drop_gives_all_pages_back),
        cmocka_unit_test(test_api_collection__missing_one_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
