/* SPDX-License-Identifier: Apache-2.0 */
/* test_api_savepoint.c - savepoints through pv.h: what comes after one goes, what came before
 * stays, and an error inside a transaction costs no more than the way back to the savepoint. */
#include "test_api_kit.h"

static const float t_v[2][2] = {{1, 0}, {0, 1}};

static void t_save(t_api *t, pv_txn *txn, const char *id, int which) {
    pv_record r = t_record(id, t_v[which], 2, "{\"n\": 1}");
    test_assert_ok(pv_upsert(t->db, txn, "c", &r, 1, NULL, &t->err), &t->err);
}

static uint64_t t_rows(t_api *t, pv_txn *txn) {
    uint64_t n = 0;
    test_assert_ok(pv_count(t->db, txn, "c", NULL, &n, &t->err), &t->err);
    return n;
}

static void test_api_savepoint__undoes_records_and_collections(void **state) {
    (void)state;
    t_api t;
    pv_txn *txn = NULL;
    uint32_t a = 0, b = 0;
    t_api_open(&t, NULL);
    t_api_create(&t, "c", 2, PV_METRIC_L2, PV_KEY_STRING);
    t_save(&t, NULL, "old", 0);
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &txn, &t.err), &t.err);
    t_save(&t, txn, "one", 0);
    test_assert_ok(pv_txn_savepoint(txn, &a, &t.err), &t.err);
    assert_int_equal(a, 1);
    t_save(&t, txn, "two", 1);
    t_save(&t, txn, "old", 1);
    test_assert_ok(pv_txn_savepoint(txn, &b, &t.err), &t.err);
    test_assert_ok(pv_collection_drop(t.db, txn, "c", &t.err), &t.err);
    test_assert_ok(pv_txn_rollback_to(txn, b, &t.err), &t.err);
    assert_int_equal(t_rows(&t, txn), 3);
    test_assert_ok(pv_txn_rollback_to(txn, a, &t.err), &t.err);
    assert_int_equal(t_rows(&t, txn), 2);
    test_assert_rc(pv_txn_rollback_to(txn, b, &t.err), PV_ERR_NOTFOUND, &t.err);
    t_save(&t, txn, "three", 1);
    test_assert_ok(pv_txn_release(txn, a, &t.err), &t.err);
    test_assert_ok(pv_txn_commit(txn, NULL, &t.err), &t.err);
    t_api_shut(&t);
    t_api_reopen(&t, NULL);
    assert_int_equal(t_rows(&t, NULL), 3);
    pv_results *r = NULL;
    test_assert_ok(pv_get(t.db, NULL, "c", "old", &r, &t.err), &t.err);
    test_assert_same_bytes(pv_results_vector(r, 0), t_v[0], sizeof(t_v[0]));
    pv_results_free(r);
    t_api_done(&t);
}

/* An error in the middle of a change dooms the transaction: every call says so, until it goes back
 * to a savepoint made before. */
static void test_api_savepoint__saves_a_doomed_transaction(void **state) {
    (void)state;
    t_api t;
    t_heap heap;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    t_heap_init(&heap);
    o.allocator = &heap.allocator;
    o.threads = 1;
    t_api_open(&t, &o);
    t_api_create(&t, "c", 2, PV_METRIC_L2, PV_KEY_STRING);
    heap.fail_on = 1; /* pages are asked for twice */
    unsigned doomed = 0;
    for (uint64_t n = 1; n < 200; n++) {
        pv_txn *txn = NULL;
        pv_record r = t_record("new", t_v[1], 2, "{}");
        uint32_t point = 0;
        uint64_t count = 0;
        test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &txn, &t.err), &t.err);
        t_save(&t, txn, "one", 0);
        test_assert_ok(pv_txn_savepoint(txn, &point, &t.err), &t.err);
        heap.fail_at = heap.calls + n;
        int rc = pv_insert(t.db, txn, "c", &r, 1, NULL, &t.err);
        bool reached = heap.calls >= heap.fail_at;
        heap.fail_at = 0;
        int after = pv_count(t.db, txn, "c", NULL, &count, &t.err);
        assert_true(after == 0 || (rc == PV_ERR_NOMEM && after == PV_ERR_NOMEM));
        doomed += after != 0;
        test_assert_ok(pv_txn_rollback_to(txn, point, &t.err), &t.err);
        assert_int_equal(t_rows(&t, txn), 1);
        test_assert_ok(pv_insert(t.db, txn, "c", &r, 1, NULL, &t.err), &t.err);
        pv_txn_rollback(txn);
        if (!reached) {
            break;
        }
    }
    assert_true(doomed > 0);
    t_api_done(&t);
    assert_int_equal(heap.bytes, 0);
}

static void test_api_savepoint__wrong_use_is_refused(void **state) {
    (void)state;
    t_api t;
    pv_txn *txn = NULL;
    uint32_t n = 77;
    t_api_open(&t, NULL);
    test_assert_rc(pv_txn_savepoint(NULL, &n, &t.err), PV_ERR_MISUSE, &t.err);
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_READ, &txn, &t.err), &t.err);
    test_assert_rc(pv_txn_savepoint(txn, &n, &t.err), PV_ERR_MISUSE, &t.err);
    test_assert_rc(pv_txn_release(txn, 1, &t.err), PV_ERR_MISUSE, &t.err);
    pv_txn_rollback(txn);
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &txn, &t.err), &t.err);
    test_assert_rc(pv_txn_savepoint(txn, NULL, &t.err), PV_ERR_MISUSE, &t.err);
    test_assert_rc(pv_txn_rollback_to(txn, 1, &t.err), PV_ERR_NOTFOUND, &t.err);
    for (uint32_t i = 1; i <= 1000; i++) {
        test_assert_ok(pv_txn_savepoint(txn, &n, &t.err), &t.err);
        assert_int_equal(n, i);
    }
    test_assert_rc(pv_txn_savepoint(txn, &n, &t.err), PV_ERR_LIMIT, &t.err);
    pv_txn_rollback(txn);
    t_api_done(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_savepoint__undoes_records_and_collections),
        cmocka_unit_test(test_api_savepoint__saves_a_doomed_transaction),
        cmocka_unit_test(test_api_savepoint__wrong_use_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
