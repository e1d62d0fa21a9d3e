/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_pack.c - a clean close that moves pages to the front of the file, and each call of it
 * to disk or allocator that can fail: the file is shorter, or as good as before. */
#include "test_store_mutants_kit.h"

enum { T_PAGES = 24, T_SLOTS = 4, T_SIZE = T_SLOTS * 4096 };
static uint64_t t_ids[T_PAGES];

static void t_write(uint64_t round) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint8_t *page = NULL;
    test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
    for (size_t i = 0; i < T_PAGES; i++) {
        if (round == 0) {
            test_assert_ok(
                pv__page_new(t, PV__PAGE_COLUMN, T_SLOTS, 9, (uint32_t)i, &t_ids[i], &page, &err),
                &err);
        } else {
            test_assert_ok(pv__page_write(t, t_ids[i], PV__PAGE_COLUMN, &page, &err), &err);
        }
        kit_fill(page, T_SIZE, t_ids[i] * 100 + round);
    }
    test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
    t_checkpoint();
}

/* All pages were changed: half of the file is free, its first half. */
static sim *t_half_free(void) {
    t_begin(1, 8, 1);
    sim *s = sim_new(1);
    t_open(t_opts(sim_vfs(s)));
    t_write(0);
    t_write(1);
    return s;
}

/* What the disk has after the close; its length in slots. */
static uint64_t t_holds_all(sim *s) {
    pv_error err = PV_ERROR_INIT;
    uint64_t bad = 0;
    pv__txn *t = NULL;
    pv__store_stats st;
    const uint8_t *page = NULL;
    t_open(t_opts(sim_vfs(s)));
    test_assert_ok(pv__txn_begin(t_w.store, 0, &t, &err), &err);
    for (size_t i = 0; i < T_PAGES; i++) {
        test_assert_ok(pv__page_read(t, t_ids[i], PV__PAGE_COLUMN, &page, &err), &err);
        assert_true(kit_is(page, T_SIZE, t_ids[i] * 100 + 1));
    }
    pv__txn_rollback(t);
    test_assert_ok(pv__store_check(t_w.store, true, t_finding, NULL, &bad, &err), &err);
    assert_int_equal(bad, 0);
    pv__store_stats_get(t_w.store, &st);
    pv__store_abandon(t_w.store);
    t_w.store = NULL;
    return st.file_bytes / PV__SLOT_SIZE;
}

static void t_finished(sim *s) {
    sim_free(s);
    test_mem_done(&t_mem);
}

static void test_pack__a_close_shortens_a_file_with_free_slots(void **state) {
    (void)state;
    sim *s = t_half_free();
    pv__store_stats st;
    pv__store_stats_get(t_w.store, &st);
    assert_true(st.file_bytes / PV__SLOT_SIZE > 2 * T_PAGES * T_SLOTS);
    t_close();
    assert_in_range(t_holds_all(s), T_PAGES * T_SLOTS, T_PAGES * T_SLOTS * 5 / 4);
    t_finished(s);
}

/* The n-th call of a kind fails in the close, for each n. One that leaves the old root in force is
 * no error of the close; none loses anything. */
static void t_fails(sim_kind kind, sim_fault_kind what, unsigned least) {
    unsigned closed = 0, failed = 0;
    for (sim_fault fault = {what, kind, SIM_CLASS_DB, 1, false};; fault.nth++) {
        pv_error err = PV_ERROR_INIT;
        sim *s = t_half_free();
        sim_fault_set(s, &fault);
        const int rc = pv__store_close(t_w.store, &err);
        t_w.store = NULL;
        const bool hit = sim_fault_hits(s) > 0;
        sim_fault_set(s, NULL);
        closed += hit && rc == 0;
        failed += hit && rc != 0;
        assert_true(hit || rc == 0);
        (void)t_holds_all(s);
        t_finished(s);
        if (!hit) {
            break;
        }
    }
    assert_true(closed + failed >= least);
}

static void test_pack__an_error_of_the_disk_loses_nothing(void **state) {
    (void)state;
    t_fails(SIM_READ, SIM_FAULT_IO, T_PAGES / 2);
    t_fails(SIM_WRITE, SIM_FAULT_IO, T_PAGES / 2);
    t_fails(SIM_WRITE, SIM_FAULT_FULL, T_PAGES / 2);
    t_fails(SIM_SYNC, SIM_FAULT_IO, 3);
}

static void test_pack__without_memory_the_file_stays_as_it_is(void **state) {
    (void)state;
    unsigned closed = 0;
    for (uint64_t n = 1;; n++) {
        pv_error err = PV_ERROR_INIT;
        sim *s = t_half_free();
        const uint64_t begun = atomic_load(&t_mem.calls);
        atomic_store(&t_mem.fail_at, begun + n);
        const int rc = pv__store_close(t_w.store, &err);
        t_w.store = NULL;
        const bool hit = atomic_load(&t_mem.calls) >= begun + n;
        atomic_store(&t_mem.fail_at, 0);
        assert_true(rc == 0 || rc == PV_ERR_NOMEM);
        closed += hit && rc == 0;
        (void)t_holds_all(s);
        t_finished(s);
        if (!hit) {
            break;
        }
    }
    assert_true(closed > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pack__a_close_shortens_a_file_with_free_slots),
        cmocka_unit_test(test_pack__an_error_of_the_disk_loses_nothing),
        cmocka_unit_test(test_pack__without_memory_the_file_stays_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
