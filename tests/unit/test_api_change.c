/* SPDX-License-Identifier: Apache-2.0 */
/* test_api_change.c - changing and removing records that exist, and reading them by id. */
#include "unit/test_api_kit.h"

static const float t_v2[2] = {1.0f, 2.0f};

/* ---- update ---- */

static void test_api_change__update_changes_what_is_given(void **state) {
    (void)state;
    t_api t;
    const float other[2] = {8, 9};
    pv_results *r = NULL;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_put2(&t, NULL, "docs", "a", 1, 2, "{\"n\":1}");
    pv_record u = t_record("a", NULL, 0, "{\"m\":2}");
    test_assert_ok(pv_update(t.db, NULL, "docs", &u, 1, NULL, &t.err), &t.err);
    test_assert_ok(pv_get(t.db, NULL, "docs", "a", &r, &t.err), &t.err);
    assert_memory_equal(pv_results_vector(r, 0), t_v2, sizeof(t_v2));
    assert_string_equal(pv_results_metadata(r, 0, NULL), "{\"m\":2}");
    pv_results_free(r);
    u = t_record("a", other, 2, NULL);
    test_assert_ok(pv_update(t.db, NULL, "docs", &u, 1, NULL, &t.err), &t.err);
    test_assert_ok(pv_get(t.db, NULL, "docs", "a", &r, &t.err), &t.err);
    assert_memory_equal(pv_results_vector(r, 0), other, sizeof(other));
    assert_string_equal(pv_results_metadata(r, 0, NULL), "{\"m\":2}");
    pv_results_free(r);
    const t_mark before = t_mark_of(&t);
    const pv_record missing[2] = {t_record("a", NULL, 0, "{}"), t_record("b", NULL, 0, "{}")};
    t_expect_error(pv_update(t.db, NULL, "docs", missing, 2, NULL, &t.err), PV_ERR_NOTFOUND, &t.err,
                   "'b'");
    assert_int_equal(t.err.record_index, 1);
    u = t_record(NULL, NULL, 0, "{}");
    test_assert_rc(pv_update(t.db, NULL, "docs", &u, 1, NULL, &t.err), PV_ERR_MISUSE, &t.err);
    u = t_record("a", NULL, 0, NULL); /* nothing to do */
    test_assert_ok(pv_update(t.db, NULL, "docs", &u, 1, NULL, &t.err), &t.err);
    t_expect_unchanged(&t, before);
    t_expect_sound(&t);
    t_api_done(&t);
}

/* The examples of RFC 7396, appendix A, as far as both sides are objects, and some more. */
static void test_api_change__merge_follows_the_rfc(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"{\"e\":null}", "{\"a\":1}", "{\"a\":1,\"e\":null}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
        {"{\"a\":7}", "{\"a\":{\"b\":{\"c\":1,\"d\":null}}}", "{\"a\":{\"b\":{\"c\":1}}}"},
        {"{\"ab\":1,\"a\":2}", "{\"abc\":3}", "{\"a\":2,\"ab\":1,\"abc\":3}"},
        {"{\"a\":1.5,\"t\":true,\"f\":false}", "{}", "{\"a\":1.5,\"f\":false,\"t\":true}"},
    };
    t_api t;
    pv_write_opts w = PV_WRITE_OPTS_INIT;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    w.flags = PV_WRITE_MERGE;
    for (size_t i = 0; i < PV_COUNTOF(cases); i++) {
        t_put2(&t, NULL, "docs", "a", 1, 2, cases[i][0]);
        const pv_record u = t_record("a", NULL, 0, cases[i][1]);
        test_assert_ok(pv_update(t.db, NULL, "docs", &u, 1, &w, &t.err), &t.err);
        t_expect_metadata(&t, NULL, "docs", "a", cases[i][2]);
    }
    /* Twins build on each other, in order. */
    t_put2(&t, NULL, "docs", "a", 1, 2, "{\"n\":0}");
    const float other[2] = {8, 9};
    const pv_record u[4] = {t_record("a", other, 2, "{\"x\":1}"), t_record("a", NULL, 0, NULL),
                            t_record("a", NULL, 0, "{\"x\":null,\"y\":2}"),
                            t_record("a", NULL, 0, "{\"z\":3}")};
    pv_results *r = NULL;
    test_assert_ok(pv_update(t.db, NULL, "docs", u, 4, &w, &t.err), &t.err);
    test_assert_ok(pv_get(t.db, NULL, "docs", "a", &r, &t.err), &t.err);
    assert_string_equal(pv_results_metadata(r, 0, NULL), "{\"n\":0,\"y\":2,\"z\":3}");
    assert_memory_equal(pv_results_vector(r, 0), other, sizeof(other));
    pv_results_free(r);
    test_assert_rc(pv_upsert(t.db, NULL, "docs", u, 1, &w, &t.err), PV_ERR_MISUSE, &t.err);
    w.flags = 0x80;
    test_assert_rc(pv_update(t.db, NULL, "docs", u, 1, &w, &t.err), PV_ERR_UNSUPPORTED, &t.err);
    t_expect_sound(&t);
    t_api_done(&t);
}

static void test_api_change__merging_keeps_the_limit(void **state) {
    (void)state;
    enum { PART = 600 * 1024 };
    t_api t;
    char *text = malloc(PART + 32);
    pv_write_opts w = PV_WRITE_OPTS_INIT;
    assert_non_null(text);
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    w.flags = PV_WRITE_MERGE;
    memcpy(text, "{\"a\":\"", 6);
    memset(text + 6, 'x', PART);
    memcpy(text + 6 + PART, "\"}", 3);
    t_put2(&t, NULL, "docs", "a", 1, 2, text);
    text[2] = 'b';
    const pv_record u = t_record("a", NULL, 0, text);
    const t_mark before = t_mark_of(&t);
    t_expect_error(pv_update(t.db, NULL, "docs", &u, 1, &w, &t.err), PV_ERR_LIMIT, &t.err,
                   "merged");
    t_expect_unchanged(&t, before);
    free(text);
    t_api_done(&t);
}

/* ---- delete ---- */

static void test_api_change__delete_removes(void **state) {
    (void)state;
    t_api t;
    const char *const list[5] = {"b", "no", "c", "b", "xxx"};
    const size_t lens[5] = {0, 0, 0, 0, 1};
    pv_ids ids = PV_IDS_INIT;
    uint64_t n = 77;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_put2(&t, NULL, "docs", "a", 1, 2, NULL);
    t_put2(&t, NULL, "docs", "b", 1, 2, NULL);
    t_put2(&t, NULL, "docs", "c", 1, 2, NULL);
    t_put2(&t, NULL, "docs", "x", 1, 2, NULL);
    test_assert_ok(pv_delete(t.db, NULL, "docs", "a", &t.err), &t.err);
    assert_false(t_has(&t, NULL, "docs", "a"));
    const t_mark before = t_mark_of(&t);
    t_expect_error(pv_delete(t.db, NULL, "docs", "a", &t.err), PV_ERR_NOTFOUND, &t.err, "'a'");
    test_assert_rc(pv_delete(t.db, NULL, "docs", NULL, &t.err), PV_ERR_MISUSE, &t.err);
    test_assert_rc(pv_delete_u64(t.db, NULL, "docs", 5, &t.err), PV_ERR_MISUSE, &t.err);
    ids.count = 1;
    ids.ids = list + 1;
    test_assert_ok(pv_delete_many(t.db, NULL, "docs", &ids, &n, &t.err), &t.err);
    assert_int_equal(n, 0);
    t_expect_unchanged(&t, before);
    ids.count = 5;
    ids.ids = list;
    ids.id_lens = lens;
    test_assert_ok(pv_delete_many(t.db, NULL, "docs", &ids, &n, &t.err), &t.err);
    assert_int_equal(n, 3);
    assert_int_equal(t_count(&t, NULL, "docs", NULL), 0);
    t_put2(&t, NULL, "docs", "a", 1, 2, "{\"again\":1}");
    t_expect_metadata(&t, NULL, "docs", "a", "{\"again\":1}");
    t_expect_sound(&t);
    t_api_done(&t);
}

static void test_api_change__delete_where_takes_what_matches(void **state) {
    (void)state;
    t_api t;
    char id[16], text[32];
    uint64_t n = 0;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    for (int i = 0; i < 500; i++) {
        snprintf(id, sizeof(id), "id%d", i);
        snprintf(text, sizeof(text), "{\"n\": %d}", i);
        t_put2(&t, NULL, "docs", id, (float)i, 1, text);
    }
    const t_mark before = t_mark_of(&t);
    test_assert_rc(pv_delete_where(t.db, NULL, "docs", NULL, &n, &t.err), PV_ERR_MISUSE, &t.err);
    test_assert_rc(pv_delete_where(t.db, NULL, "docs", "{\"n\":", &n, &t.err), PV_ERR_FORMAT,
                   &t.err);
    t_expect_error(pv_delete_where(t.db, NULL, "docs", "{\"n\":{\"$near\":1}}", &n, &t.err),
                   PV_ERR_UNSUPPORTED, &t.err, "$near");
    test_assert_ok(pv_delete_where(t.db, NULL, "docs", "{\"n\": -1}", &n, &t.err), &t.err);
    assert_int_equal(n, 0);
    t_expect_unchanged(&t, before);
    test_assert_ok(pv_delete_where(t.db, NULL, "docs", "{\"n\":{\"$lt\": 400}}", &n, &t.err),
                   &t.err);
    assert_int_equal(n, 400);
    assert_int_equal(t_count(&t, NULL, "docs", NULL), 100);
    t_expect_sound(&t);
    test_assert_ok(pv_delete_where(t.db, NULL, "docs", "{}", NULL, &t.err), &t.err);
    assert_int_equal(t_count(&t, NULL, "docs", NULL), 0);
    t_expect_sound(&t);
    t_api_done(&t);
}

static void test_api_change__get_many_keeps_the_order(void **state) {
    (void)state;
    t_api t;
    const char *const list[4] = {"b", "no", "a", "b"};
    pv_ids ids = PV_IDS_INIT;
    pv_results *r = NULL;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_put2(&t, NULL, "docs", "a", 1, 2, "{\"n\":1}");
    t_put2(&t, NULL, "docs", "b", 3, 4, "{\"n\":2}");
    ids.count = 4;
    ids.ids = list;
    test_assert_ok(
        pv_get_many(t.db, NULL, "docs", &ids, PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR, &r, &t.err),
        &t.err);
    assert_int_equal(pv_results_count(r), 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(pv_results_id(r, i), list[i]);
        assert_int_equal(pv_results_found(r, i), i != 1);
    }
    assert_null(pv_results_metadata(r, 1, NULL));
    assert_null(pv_results_vector(r, 1));
    assert_string_equal(pv_results_metadata(r, 3, NULL), "{\"n\":2}");
    const float want[8] = {3, 4, 0, 0, 1, 2, 3, 4};
    assert_memory_equal(pv_results_vectors(r), want, sizeof(want));
    assert_int_equal(pv_results_found(r, 4), 0);
    assert_null(pv_results_id(r, 4));
    assert_true(isnan(pv_results_distance(r, 0)));
    assert_null(pv_results_distances(r));
    pv_results_free(r);
    test_assert_ok(pv_get_many(t.db, NULL, "docs", &ids, 0, &r, &t.err), &t.err);
    assert_null(pv_results_metadata(r, 0, NULL));
    assert_null(pv_results_vectors(r));
    assert_int_equal(pv_results_dims(r), 0);
    pv_results_free(r);
    test_assert_rc(pv_get_many(t.db, NULL, "docs", &ids, 0x40, &r, &t.err), PV_ERR_UNSUPPORTED,
                   &t.err);
    ids.count = (size_t)PV_LIMIT_BATCH_RECORDS + 1;
    test_assert_rc(pv_get_many(t.db, NULL, "docs", &ids, 0, &r, &t.err), PV_ERR_LIMIT, &t.err);
    ids.count = 1;
    ids.ids = NULL;
    test_assert_rc(pv_get_many(t.db, NULL, "docs", &ids, 0, &r, &t.err), PV_ERR_MISUSE, &t.err);
    assert_null(r);
    t_api_done(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_change__update_changes_what_is_given),
        cmocka_unit_test(test_api_change__merge_follows_the_rfc),
        cmocka_unit_test(test_api_change__merging_keeps_the_limit),
        cmocka_unit_test(test_api_change__delete_removes),
        cmocka_unit_test(test_api_change__delete_where_takes_what_matches),
        cmocka_unit_test(test_api_change__get_many_keeps_the_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
