/* SPDX-License-Identifier: Apache-2.0 */
/* test_engine_check.c - damage that no checksum sees: pages that are whole and contradict each
 * other. Check finds and names it, the calls that meet it say PV_ERR_CORRUPT, the rest goes on. */
#include "engine/db.h"
#include "engine/parts.h"
#include "unit/test_api_kit.h"

typedef struct t_damage {
    t_api t;
    pv__txn *txn;
    pv__parts parts;
    char findings[4096];
} t_damage;

static void t_begin(t_damage *d) {
    test_assert_ok(pv__txn_begin(d->t.db->store, PV__TXN_WRITE, &d->txn, &d->t.err), &d->t.err);
    test_assert_ok(pv__parts_open(&d->parts, d->txn, "docs", &d->t.err), &d->t.err);
}

static void t_commit(t_damage *d) {
    pv__parts_done(&d->parts);
    test_assert_ok(pv__txn_commit(d->txn, NULL, &d->t.err), &d->t.err);
}

/* Five records a..e, x = 0..4, and a sound neighbour. */
static void t_damage_open(t_damage *d) {
    char id[2] = {0, 0}, text[32];
    memset(d, 0, sizeof(*d));
    t_api_open(&d->t, NULL);
    t_api_create(&d->t, "docs", 2, PV_METRIC_L2, 0);
    t_api_create(&d->t, "other", 2, PV_METRIC_L2, 0);
    for (int i = 0; i < 5; i++) {
        id[0] = (char)('a' + i);
        snprintf(text, sizeof(text), "{\"n\":%d}", i);
        t_put2(&d->t, NULL, "docs", id, (float)i, 0, text);
        t_put2(&d->t, NULL, "other", id, (float)i, 0, text);
    }
    t_begin(d);
}

static uint32_t t_slot(t_damage *d, const char *id) {
    uint32_t slot = 0;
    bool found = false;
    const pv__bytes key = {(const uint8_t *)id, strlen(id)};
    test_assert_ok(pv__idmap_get(&d->parts.ids, key, &slot, &found, &d->t.err), &d->t.err);
    assert_true(found);
    return slot;
}

static void t_collect(void *ctx, const char *collection, uint64_t page_id, const char *message) {
    t_damage *d = ctx;
    const size_t at = strlen(d->findings);
    (void)page_id;
    snprintf(d->findings + at, sizeof(d->findings) - at, "%s: %s\n", collection ? collection : "-",
             message);
}

/* Number of findings, all of them about "docs" and one with these words. */
static void t_expect_findings(t_damage *d, uint32_t flags, uint64_t want, const char *words) {
    uint64_t problems = UINT64_MAX;
    d->findings[0] = 0;
    test_assert_ok(pv_check(d->t.db, flags, t_collect, d, &problems, &d->t.err), &d->t.err);
    if (problems != want || (words && !strstr(d->findings, words)) ||
        strstr(d->findings, "other:")) {
        fprintf(stderr, "%llu findings\n%s", (unsigned long long)problems, d->findings);
        fail();
    }
}

static int t_search(t_damage *d, const char *filter) {
    const float q[2] = {0, 0};
    pv_query query = t_query(q, 2, 10);
    pv_results *r = NULL;
    query.filter = filter;
    const int rc = pv_search(d->t.db, NULL, "docs", &query, &r, &d->t.err);
    pv_results_free(r);
    return rc;
}

static void t_expect_neighbour_sound(t_damage *d) {
    const float q[2] = {0, 0};
    t_expect_search(&d->t, NULL, "other", t_query(q, 2, 10), "a b c d e");
    t_put2(&d->t, NULL, "other", "f", 9, 9, NULL);
}

/* ---- cases ---- */

static void test_engine_check__missing_document(void **state) {
    (void)state;
    t_damage d;
    pv_results *r = NULL;
    t_damage_open(&d);
    test_assert_ok(pv__row_del(&d.parts, t_slot(&d, "c"), &d.t.err), &d.t.err);
    t_commit(&d);
    t_expect_findings(&d, PV_CHECK_QUICK, 0, NULL);
    t_expect_findings(&d, PV_CHECK_DEEP, 1, "docs: 5 live slots, 5 keys and 4 documents");
    t_expect_error(pv_get(d.t.db, NULL, "docs", "c", &r, &d.t.err), PV_ERR_CORRUPT, &d.t.err,
                   "'docs'");
    assert_null(r);
    assert_int_equal(t_search(&d, NULL), PV_ERR_CORRUPT);
    assert_true(t_has(&d.t, NULL, "docs", "a"));
    t_expect_neighbour_sound(&d);
    t_api_done(&d.t);
}

static void test_engine_check__key_that_leads_elsewhere(void **state) {
    (void)state;
    t_damage d;
    bool replaced = false;
    t_damage_open(&d);
    const pv__bytes key = {(const uint8_t *)"b", 1};
    test_assert_ok(pv__idmap_put(&d.parts.ids, key, t_slot(&d, "d"), &replaced, &d.t.err),
                   &d.t.err);
    t_commit(&d);
    t_expect_findings(&d, PV_CHECK_DEEP, 1, "docs: record 'b' in slot 1 leads to another slot");
    t_begin(&d);
    test_assert_ok(pv__idmap_put(&d.parts.ids, key, 4000000, &replaced, &d.t.err), &d.t.err);
    t_commit(&d);
    const float v[2] = {1, 2};
    const pv_record r = t_record("b", v, 2, NULL);
    t_expect_error(pv_upsert(d.t.db, NULL, "docs", &r, 1, NULL, &d.t.err), PV_ERR_CORRUPT, &d.t.err,
                   "4000000");
    test_assert_rc(pv_delete(d.t.db, NULL, "docs", "b", &d.t.err), PV_ERR_CORRUPT, &d.t.err);
    t_expect_neighbour_sound(&d);
    t_api_done(&d.t);
}

static void test_engine_check__document_that_is_none(void **state) {
    (void)state;
    static const struct {
        uint8_t bytes[8];
        size_t size;
    } cases[] = {
        {{2, 1, 'c'}, 3},          /* a layout of later */
        {{1, 0}, 2},               /* no key */
        {{1, 9, 'c'}, 3},          /* a key cut short */
        {{1}, 1},                  /* nothing */
        {{1, 1, 'c', 10}, 4},      /* an object without its count */
        {{1, 1, 'c', 0xEE, 1}, 5}, /* an unknown type */
        {{1, 1, 'c', 1}, 4},       /* null is a document, but no metadata */
    };
    for (size_t i = 0; i < PV_COUNTOF(cases); i++) {
        t_damage d;
        uint8_t slot_key[4];
        pv_iter_opts o = PV_ITER_OPTS_INIT;
        pv_iter *it = NULL;
        uint64_t n = 0;
        t_damage_open(&d);
        const pv__bytes value = {cases[i].bytes, cases[i].size};
        test_assert_ok(pv__tree_put(&d.parts.docs, pv__row_slot_key(slot_key, t_slot(&d, "c")),
                                    value, NULL, &d.t.err),
                       &d.t.err);
        t_commit(&d);
        t_expect_findings(&d, PV_CHECK_DEEP, 1, "docs: ");
        assert_int_equal(t_search(&d, "{\"n\": 1}"), PV_ERR_CORRUPT);
        test_assert_rc(pv_count(d.t.db, NULL, "docs", "{\"n\": 1}", &n, &d.t.err), PV_ERR_CORRUPT,
                       &d.t.err);
        test_assert_rc(pv_delete_where(d.t.db, NULL, "docs", "{}", &n, &d.t.err), PV_ERR_CORRUPT,
                       &d.t.err);
        o.include = PV_INCLUDE_METADATA;
        test_assert_ok(pv_iter_open(d.t.db, NULL, "docs", &o, &it, &d.t.err), &d.t.err);
        assert_int_equal(pv_iter_next(it, &d.t.err), 1);
        assert_int_equal(pv_iter_next(it, &d.t.err), 1);
        assert_int_equal(pv_iter_next(it, &d.t.err), PV_ERR_CORRUPT);
        pv_iter_close(it);
        /* Writing the record anew mends it. */
        t_put2(&d.t, NULL, "docs", "c", 2, 0, "{\"n\":2}");
        t_expect_findings(&d, PV_CHECK_DEEP, 0, NULL);
        t_expect_neighbour_sound(&d);
        t_api_done(&d.t);
    }
}

static void test_engine_check__vector_that_is_no_number(void **state) {
    (void)state;
    t_damage d;
    uint8_t *row = NULL;
    const float bad[2] = {NAN, 1};
    t_damage_open(&d);
    test_assert_ok(pv__column_write(&d.parts.column, t_slot(&d, "a"), &row, &d.t.err), &d.t.err);
    memcpy(row, bad, sizeof(bad));
    t_commit(&d);
    t_expect_findings(&d, PV_CHECK_DEEP, 1, "docs: record 'a' in slot 0 has a vector with NaN");
    const float q[2] = {0, 0};
    t_expect_search(&d.t, NULL, "docs", t_query(q, 2, 10), "b c d e a"); /* sorted, at the end */
    t_api_done(&d.t);
}

static void test_engine_check__slot_that_is_free(void **state) {
    (void)state;
    t_damage d;
    t_damage_open(&d);
    test_assert_ok(pv__slots_free(&d.parts.slots, t_slot(&d, "e"), &d.t.err), &d.t.err);
    test_assert_ok(pv__parts_save(&d.parts, &d.t.err), &d.t.err);
    t_commit(&d);
    t_expect_findings(&d, PV_CHECK_DEEP, 2,
                      "docs: record 'e' in slot 4 has a document, but its slot is free");
    test_assert_rc(pv_delete(d.t.db, NULL, "docs", "e", &d.t.err), PV_ERR_CORRUPT, &d.t.err);
    assert_int_equal(t_search(&d, NULL), 0);
    t_expect_neighbour_sound(&d);
    t_api_done(&d.t);
}

static void test_engine_check__collection_of_a_later_version(void **state) {
    (void)state;
    t_damage d;
    uint8_t *page = NULL;
    pv_names *names = NULL;
    uint64_t n = 0;
    t_damage_open(&d);
    test_assert_ok(pv__page_write(d.txn, d.parts.c.page, PV__PAGE_COLLECTION, &page, &d.t.err),
                   &d.t.err);
    page[PV__PAGE_HEAD] = 7;
    t_commit(&d);
    t_expect_error(pv_count(d.t.db, NULL, "docs", NULL, &n, &d.t.err), PV_ERR_FORMAT, &d.t.err,
                   "newer");
    test_assert_rc(pv_collection_drop(d.t.db, NULL, "docs", &d.t.err), PV_ERR_FORMAT, &d.t.err);
    test_assert_ok(pv_collection_list(d.t.db, NULL, &names, &d.t.err), &d.t.err);
    assert_int_equal(pv_names_count(names), 2);
    pv_names_free(names);
    d.findings[0] = 0;
    test_assert_ok(pv_check(d.t.db, PV_CHECK_QUICK, t_collect, &d, &n, &d.t.err), &d.t.err);
    assert_int_equal(n, 1);
    assert_non_null(strstr(d.findings, "'docs'"));
    t_expect_neighbour_sound(&d);
    t_api_done(&d.t);
}

/* What is wrong with one collection's page hides neither its name nor the other collections. */
static void test_engine_check__goes_on_behind_a_damaged_collection(void **state) {
    (void)state;
    t_damage d;
    uint8_t *page = NULL;
    uint64_t n = 0;
    t_damage_open(&d);
    test_assert_ok(pv__page_write(d.txn, d.parts.c.page, PV__PAGE_COLLECTION, &page, &d.t.err),
                   &d.t.err);
    page[PV__PAGE_HEAD] = 7;
    t_commit(&d);
    test_assert_ok(pv__txn_begin(d.t.db->store, PV__TXN_WRITE, &d.txn, &d.t.err), &d.t.err);
    test_assert_ok(pv__parts_open(&d.parts, d.txn, "other", &d.t.err), &d.t.err);
    test_assert_ok(pv__row_del(&d.parts, t_slot(&d, "c"), &d.t.err), &d.t.err);
    t_commit(&d);
    d.findings[0] = 0;
    test_assert_ok(pv_check(d.t.db, PV_CHECK_DEEP, t_collect, &d, &n, &d.t.err), &d.t.err);
    assert_int_equal(n, 2);
    assert_non_null(strstr(d.findings, "docs: collection 'docs'"));
    assert_non_null(strstr(d.findings, "other: 5 live slots, 5 keys and 4 documents"));
    t_api_done(&d.t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine_check__missing_document),
        cmocka_unit_test(test_engine_check__key_that_leads_elsewhere),
        cmocka_unit_test(test_engine_check__document_that_is_none),
        cmocka_unit_test(test_engine_check__vector_that_is_no_number),
        cmocka_unit_test(test_engine_check__slot_that_is_free),
        cmocka_unit_test(test_engine_check__collection_of_a_later_version),
        cmocka_unit_test(test_engine_check__goes_on_behind_a_damaged_collection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
