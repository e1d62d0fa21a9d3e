/* SPDX-License-Identifier: Apache-2.0 */
/* test_api_txn.c - transactions and iterators: what each sees, and what is refused. */
#include "unit/test_api_kit.h"

static void t_fill_ids(t_api *t, const char *const *ids, size_t n) {
    char text[32];
    for (size_t i = 0; i < n; i++) {
        snprintf(text, sizeof(text), "{\"n\": %zu}", i);
        t_put2(t, NULL, "docs", ids[i], (float)i, 1, text);
    }
}

/* Ids of a walk, joined by blanks. */
static const char *t_walk(t_api *t, pv_txn *txn, const pv_iter_opts *o, char *out, size_t cap) {
    pv_iter *it = NULL;
    size_t at = 0;
    int rc;
    out[0] = 0;
    test_assert_ok(pv_iter_open(t->db, txn, "docs", o, &it, &t->err), &t->err);
    while ((rc = pv_iter_next(it, &t->err)) == 1) {
        if (pv_iter_id(it)) {
            at += (size_t)snprintf(out + at, cap - at, "%s%s", at ? " " : "", pv_iter_id(it));
        } else {
            at += (size_t)snprintf(out + at, cap - at, "%s%llu", at ? " " : "",
                                   (unsigned long long)pv_iter_id_u64(it));
        }
    }
    test_assert_ok(rc, &t->err);
    pv_iter_close(it);
    return out;
}

/* ---- transactions ---- */

static void test_api_txn__changes_are_seen_inside_and_after_commit(void **state) {
    (void)state;
    t_api t;
    pv_txn *w = NULL, *r = NULL;
    const float q[2] = {0, 0};
    const pv_query query = t_query(q, 2, 0);
    uint64_t lsn = 0;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_put2(&t, NULL, "docs", "a", 1, 0, NULL);
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_READ, &r, &t.err), &t.err);
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &w, &t.err), &t.err);
    t_put2(&t, w, "docs", "b", 0.5f, 0, NULL);
    t_expect_search(&t, w, "docs", query, "b a");
    t_expect_search(&t, NULL, "docs", query, "a");
    t_expect_search(&t, r, "docs", query, "a");
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.dims = 3;
    test_assert_ok(pv_collection_create(t.db, w, "more", &c, &t.err), &t.err);
    test_assert_ok(pv_txn_commit(w, &lsn, &t.err), &t.err);
    assert_true(lsn > pv_txn_lsn(r));
    t_expect_search(&t, NULL, "docs", query, "b a");
    t_expect_search(&t, r, "docs", query, "a"); /* still the state of its begin */
    uint64_t n = 0;
    test_assert_rc(pv_count(t.db, r, "more", NULL, &n, &t.err), PV_ERR_NOTFOUND, &t.err);
    test_assert_ok(pv_txn_commit(r, NULL, &t.err), &t.err);
    assert_int_equal(t_count(&t, NULL, "more", NULL), 0);
    t_api_done(&t);
}

static void test_api_txn__rollback_leaves_nothing(void **state) {
    (void)state;
    t_api t;
    pv_txn *w = NULL;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_put2(&t, NULL, "docs", "a", 1, 0, "{\"n\":1}");
    const t_mark before = t_mark_of(&t);
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &w, &t.err), &t.err);
    t_put2(&t, w, "docs", "a", 9, 9, "{\"n\":2}");
    t_put2(&t, w, "docs", "b", 9, 9, NULL);
    c.dims = 7;
    test_assert_ok(pv_collection_create(t.db, w, "more", &c, &t.err), &t.err);
    test_assert_ok(pv_delete(t.db, w, "docs", "a", &t.err), &t.err);
    test_assert_ok(pv_collection_drop(t.db, w, "docs", &t.err), &t.err);
    pv_txn_rollback(w);
    t_expect_unchanged(&t, before);
    t_expect_metadata(&t, NULL, "docs", "a", "{\"n\":1}");
    assert_int_equal(t_count(&t, NULL, "docs", NULL), 1);
    t_expect_sound(&t);
    t_api_done(&t);
}

static void test_api_txn__writer_cannot_wait_for_itself(void **state) {
    (void)state;
    t_api t;
    pv_txn *w = NULL, *other = NULL;
    const float v[2] = {1, 2};
    const pv_record r = t_record("a", v, 2, NULL);
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &w, &t.err), &t.err);
    t_expect_error(pv_insert(t.db, NULL, "docs", &r, 1, NULL, &t.err), PV_ERR_MISUSE, &t.err,
                   "this thread");
    test_assert_rc(pv_txn_begin(t.db, PV_TXN_WRITE, &other, &t.err), PV_ERR_MISUSE, &t.err);
    test_assert_rc(pv_collection_drop(t.db, NULL, "docs", &t.err), PV_ERR_MISUSE, &t.err);
    test_assert_ok(pv_insert(t.db, w, "docs", &r, 1, NULL, &t.err), &t.err);
    pv_txn_rollback(w);
    test_assert_ok(pv_insert(t.db, NULL, "docs", &r, 1, NULL, &t.err), &t.err);
    t_api_done(&t);
}

static void test_api_txn__wrong_use_is_refused(void **state) {
    (void)state;
    t_api t, u;
    pv_txn *txn = NULL;
    const float v[2] = {1, 2};
    const pv_record r = t_record("a", v, 2, NULL);
    pv_write_opts w = PV_WRITE_OPTS_INIT;
    uint64_t n = 0;
    t_api_open(&t, NULL);
    t_api_open(&u, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_api_create(&u, "docs", 2, PV_METRIC_L2, 0);
    test_assert_rc(pv_txn_begin(t.db, 0x100, &txn, &t.err), PV_ERR_UNSUPPORTED, &t.err);
    test_assert_rc(pv_txn_begin(t.db, PV_TXN_SYNC_FULL | PV_TXN_SYNC_ASYNC, &txn, &t.err),
                   PV_ERR_MISUSE, &t.err);
    test_assert_rc(pv_txn_begin(t.db, 0, NULL, &t.err), PV_ERR_MISUSE, &t.err);
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_READ, &txn, &t.err), &t.err);
    t_expect_error(pv_insert(t.db, txn, "docs", &r, 1, NULL, &t.err), PV_ERR_MISUSE, &t.err,
                   "reading");
    t_expect_error(pv_count(u.db, txn, "docs", NULL, &n, &t.err), PV_ERR_MISUSE, &t.err,
                   "another database");
    pv_txn_rollback(txn);
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &txn, &t.err), &t.err);
    w.sync = PV_SYNC_ASYNC;
    test_assert_rc(pv_insert(t.db, txn, "docs", &r, 1, &w, &t.err), PV_ERR_MISUSE, &t.err);
    pv_txn_rollback(txn);
    test_assert_ok(pv_insert(t.db, NULL, "docs", &r, 1, &w, &t.err), &t.err);
    w.sync = 9;
    test_assert_rc(pv_insert(t.db, NULL, "docs", &r, 1, &w, &t.err), PV_ERR_UNSUPPORTED, &t.err);
    t_api_done(&t);
    t_api_done(&u);
}

static void test_api_txn__every_sync_level_survives_a_clean_close(void **state) {
    (void)state;
    static const uint32_t levels[] = {0, PV_TXN_SYNC_FULL, PV_TXN_SYNC_ASYNC};
    t_api t;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    for (uint32_t sync = 0; sync <= PV_SYNC_ASYNC; sync++) {
        o.sync = sync;
        t_api_open(&t, &o);
        t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
        for (size_t i = 0; i < PV_COUNTOF(levels); i++) {
            pv_txn *txn = NULL;
            char id[2] = {(char)('a' + i), 0};
            test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE | levels[i], &txn, &t.err), &t.err);
            t_put2(&t, txn, "docs", id, 1, 2, NULL);
            test_assert_ok(pv_txn_commit(txn, NULL, &t.err), &t.err);
        }
        t_api_shut(&t);
        t_api_reopen(&t, NULL);
        assert_int_equal(t_count(&t, NULL, "docs", NULL), 3);
        t_api_done(&t);
    }
}

/* ---- iterators ---- */

static void test_api_txn__walk_is_in_key_order(void **state) {
    (void)state;
    static const char *const ids[] = {"b", "a", "\xc3\xa4", "ab", "B", "aa"};
    t_api t;
    char got[256];
    pv_iter_opts o = PV_ITER_OPTS_INIT;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    assert_string_equal(t_walk(&t, NULL, NULL, got, sizeof(got)), "");
    t_fill_ids(&t, ids, PV_COUNTOF(ids));
    assert_string_equal(t_walk(&t, NULL, NULL, got, sizeof(got)), "B a aa ab b \xc3\xa4");
    o.after_id = "a";
    assert_string_equal(t_walk(&t, NULL, &o, got, sizeof(got)), "aa ab b \xc3\xa4");
    o.after_id = "aaa"; /* not there */
    assert_string_equal(t_walk(&t, NULL, &o, got, sizeof(got)), "ab b \xc3\xa4");
    o.after_id = "aXX";
    o.after_id_len = 1;
    assert_string_equal(t_walk(&t, NULL, &o, got, sizeof(got)), "aa ab b \xc3\xa4");
    o.filter = "{\"n\": {\"$gte\": 3}}";
    assert_string_equal(t_walk(&t, NULL, &o, got, sizeof(got)), "aa ab");
    o.after_id = "zz\xff"; /* need not be an id that could exist */
    o.after_id_len = 0;
    assert_string_equal(t_walk(&t, NULL, &o, got, sizeof(got)), "");
    t_api_done(&t);
}

static void test_api_txn__walk_over_numbers(void **state) {
    (void)state;
    t_api t;
    char got[256];
    const float v[2] = {1, 2};
    const uint64_t ids[] = {256, 1, UINT64_MAX - 1, 0, 255, 65536};
    pv_iter_opts o = PV_ITER_OPTS_INIT;
    pv_iter *it = NULL;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, PV_KEY_U64);
    for (size_t i = 0; i < PV_COUNTOF(ids); i++) {
        t_put(&t, NULL, "docs", t_record_u64(ids[i], v, 2, NULL));
    }
    assert_string_equal(t_walk(&t, NULL, NULL, got, sizeof(got)),
                        "0 1 255 256 65536 18446744073709551614");
    o.after_id_u64 = 0;
    assert_string_equal(t_walk(&t, NULL, &o, got, sizeof(got)),
                        "1 255 256 65536 18446744073709551614");
    o.after_id = "text";
    test_assert_rc(pv_iter_open(t.db, NULL, "docs", &o, &it, &t.err), PV_ERR_MISUSE, &t.err);
    assert_null(it);
    t_api_done(&t);
}

static void test_api_txn__walk_hands_out_what_is_asked_for(void **state) {
    (void)state;
    t_api t;
    const float v[2] = {0.25f, -7};
    pv_iter_opts o = PV_ITER_OPTS_INIT;
    pv_iter *it = NULL;
    size_t len = 9;
    uint32_t dims = 9;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_put(&t, NULL, "docs", t_record("a", v, 2, "{\"n\": 1}"));
    test_assert_ok(pv_iter_open(t.db, NULL, "docs", NULL, &it, &t.err), &t.err);
    assert_null(pv_iter_id(it)); /* before the first */
    assert_int_equal(pv_iter_next(it, &t.err), 1);
    assert_null(pv_iter_metadata(it, &len));
    assert_null(pv_iter_vector(it, &dims));
    assert_int_equal(len, 0);
    assert_int_equal(dims, 0);
    pv_iter_close(it);
    o.include = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    test_assert_ok(pv_iter_open(t.db, NULL, "docs", &o, &it, &t.err), &t.err);
    assert_int_equal(pv_iter_next(it, &t.err), 1);
    assert_string_equal(pv_iter_id(it), "a");
    assert_int_equal(pv_iter_id_u64(it), PV_ID_NONE);
    assert_string_equal(pv_iter_metadata(it, &len), "{\"n\":1}");
    assert_int_equal(len, 7);
    assert_memory_equal(pv_iter_vector(it, &dims), v, sizeof(v));
    assert_int_equal(dims, 2);
    assert_int_equal(pv_iter_next(it, &t.err), 0);
    assert_null(pv_iter_id(it));
    assert_null(pv_iter_vector(it, NULL));
    pv_iter_close(it);
    o.include = 0x10;
    test_assert_rc(pv_iter_open(t.db, NULL, "docs", &o, &it, &t.err), PV_ERR_UNSUPPORTED, &t.err);
    o.include = 0;
    o.filter = "{";
    test_assert_rc(pv_iter_open(t.db, NULL, "docs", &o, &it, &t.err), PV_ERR_FORMAT, &t.err);
    t_api_done(&t);
}

static void test_api_txn__walk_is_stable_under_writes(void **state) {
    (void)state;
    enum { N = 300 };
    t_api t;
    pv_open_opts oo = PV_OPEN_OPTS_INIT;
    pv_iter *it = NULL;
    char id[16];
    size_t seen = 0;
    int rc;
    oo.sync = PV_SYNC_ASYNC;
    t_api_open(&t, &oo);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    for (int i = 0; i < N; i++) {
        snprintf(id, sizeof(id), "k%03d", i);
        t_put2(&t, NULL, "docs", id, (float)i, 1, "{\"v\":1}");
    }
    pv_iter_opts o = PV_ITER_OPTS_INIT;
    o.include = PV_INCLUDE_METADATA;
    test_assert_ok(pv_iter_open(t.db, NULL, "docs", &o, &it, &t.err), &t.err);
    while ((rc = pv_iter_next(it, &t.err)) == 1) {
        snprintf(id, sizeof(id), "k%03zu", seen);
        assert_string_equal(pv_iter_id(it), id);
        assert_string_equal(pv_iter_metadata(it, NULL), "{\"v\":1}");
        seen++;
        /* Whatever is written meanwhile is not for this walk. */
        snprintf(id, sizeof(id), "k%03zu", (seen * 37) % N);
        if (seen % 3 == 0) {
            (void)pv_delete(t.db, NULL, "docs", id, &t.err);
        } else {
            t_put2(&t, NULL, "docs", id, 0, 0, "{\"v\":2}");
        }
        snprintf(id, sizeof(id), "j%03zu", seen);
        t_put2(&t, NULL, "docs", id, 0, 0, NULL);
    }
    test_assert_ok(rc, &t.err);
    assert_int_equal(seen, N);
    pv_iter_close(it);
    t_expect_sound(&t);
    t_api_done(&t);
}

/* Inside a write transaction: each key at most once, in order, what is deleted ahead never, what
 * is added ahead for certain. */
static void test_api_txn__walk_sees_its_transactions_changes(void **state) {
    (void)state;
    static const char *const ids[] = {"a", "c", "e", "g", "i"};
    t_api t;
    pv_txn *w = NULL;
    pv_iter *it = NULL;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_fill_ids(&t, ids, PV_COUNTOF(ids));
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &w, &t.err), &t.err);
    test_assert_ok(pv_iter_open(t.db, w, "docs", NULL, &it, &t.err), &t.err);
    assert_int_equal(pv_iter_next(it, &t.err), 1);
    assert_string_equal(pv_iter_id(it), "a");
    test_assert_ok(pv_delete(t.db, w, "docs", "a", &t.err), &t.err); /* where it stands */
    test_assert_ok(pv_delete(t.db, w, "docs", "e", &t.err), &t.err);
    t_put2(&t, w, "docs", "b", 1, 1, NULL);
    t_put2(&t, w, "docs", "A", 1, 1, NULL); /* behind it */
    t_put2(&t, w, "docs", "z", 1, 1, NULL);
    static const char *const rest[] = {"b", "c", "g", "i", "z"};
    for (size_t i = 0; i < PV_COUNTOF(rest); i++) {
        assert_int_equal(pv_iter_next(it, &t.err), 1);
        assert_string_equal(pv_iter_id(it), rest[i]);
    }
    assert_int_equal(pv_iter_next(it, &t.err), 0);
    pv_iter_close(it);
    test_assert_ok(pv_iter_open(t.db, w, "docs", NULL, &it, &t.err), &t.err);
    assert_int_equal(pv_iter_next(it, &t.err), 1);
    test_assert_ok(pv_collection_drop(t.db, w, "docs", &t.err), &t.err);
    test_assert_rc(pv_iter_next(it, &t.err), PV_ERR_NOTFOUND, &t.err);
    pv_txn_rollback(w);
    test_assert_rc(pv_iter_next(it, &t.err), PV_ERR_CLOSED, &t.err);
    pv_iter_close(it);
    t_api_done(&t);
}

static void test_api_txn__iterators_end_with_their_transaction(void **state) {
    (void)state;
    static const char *const ids[] = {"a", "b"};
    t_api t;
    pv_txn *r = NULL;
    pv_iter *x = NULL, *y = NULL, *z = NULL;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_fill_ids(&t, ids, PV_COUNTOF(ids));
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_READ, &r, &t.err), &t.err);
    test_assert_ok(pv_iter_open(t.db, r, "docs", NULL, &x, &t.err), &t.err);
    test_assert_ok(pv_iter_open(t.db, r, "docs", NULL, &y, &t.err), &t.err);
    test_assert_ok(pv_iter_open(t.db, r, "docs", NULL, &z, &t.err), &t.err);
    assert_int_equal(pv_iter_next(x, &t.err), 1);
    pv_iter_close(y); /* in the middle of the list, before the end */
    test_assert_ok(pv_txn_commit(r, NULL, &t.err), &t.err);
    assert_null(pv_iter_id(x));
    test_assert_rc(pv_iter_next(x, &t.err), PV_ERR_CLOSED, &t.err);
    test_assert_rc(pv_iter_next(z, &t.err), PV_ERR_CLOSED, &t.err);
    pv_iter_close(x);
    pv_iter_close(z);
    t_api_done(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_txn__changes_are_seen_inside_and_after_commit),
        cmocka_unit_test(test_api_txn__rollback_leaves_nothing),
        cmocka_unit_test(test_api_txn__writer_cannot_wait_for_itself),
        cmocka_unit_test(test_api_txn__wrong_use_is_refused),
        cmocka_unit_test(test_api_txn__every_sync_level_survives_a_clean_close),
        cmocka_unit_test(test_api_txn__walk_is_in_key_order),
        cmocka_unit_test(test_api_txn__walk_over_numbers),
        cmocka_unit_test(test_api_txn__walk_hands_out_what_is_asked_for),
        cmocka_unit_test(test_api_txn__walk_is_stable_under_writes),
        cmocka_unit_test(test_api_txn__walk_sees_its_transactions_changes),
        cmocka_unit_test(test_api_txn__iterators_end_with_their_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
