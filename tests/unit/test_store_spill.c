/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_spill.c - a write transaction that is larger than its cache: what leaves memory, what
 * stays, and what is written. With single frames and with slabs. */
#include "test_store_mutants_kit.h"

#define T_PAGES 1200u /* of 4 KiB: four times the cache */
#define T_HOT 60u
#define T_CACHE (1200u << 10)

static uint64_t t_ids[T_PAGES];
static uint64_t t_seeds[T_PAGES];

static sim *t_start(uint64_t slab_bytes) {
    t_begin(5, 8, 1);
    sim *s = sim_new(1);
    pv__store_opts o = t_opts(sim_vfs(s));
    o.cache_bytes = T_CACHE;
    o.slab_bytes = slab_bytes;
    sim_log_enable(s, false);
    t_open(o);
    return s;
}

static void t_end(sim *s) {
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

static pv__ver *t_mine(size_t i) { return atomic_load(&pv__xlat_find(t_w.store, t_ids[i])->mine); }

static bool t_is_here(size_t i) { return pv__ver_flags(t_mine(i)) & PV__VER_RESIDENT; }

static uint64_t t_cache_bytes(void) { return atomic_load(&t_w.store->cache_bytes); }

static uint64_t t_slots_in_use(void) {
    pv__store_stats st;
    pv__store_stats_get(t_w.store, &st);
    return t_w.store->space.count - st.free_slots;
}

static void t_new(pv__txn *t, size_t i) {
    pv_error err = PV_ERROR_INIT;
    uint8_t *page = NULL;
    test_assert_ok(pv__page_new(t, PV__PAGE_COLUMN, 1, 7, (uint32_t)i, &t_ids[i], &page, &err),
                   &err);
    t_seeds[i] = i + 1;
    kit_fill(page, PV__SLOT_SIZE, t_seeds[i]);
}

static void t_change(pv__txn *t, size_t i, uint64_t seed) {
    pv_error err = PV_ERROR_INIT;
    uint8_t *page = NULL;
    test_assert_ok(pv__page_write(t, t_ids[i], PV__PAGE_COLUMN, &page, &err), &err);
    t_seeds[i] = seed;
    kit_fill(page, PV__SLOT_SIZE, seed);
}

static void t_look(pv__txn *t, size_t i) {
    pv_error err = PV_ERROR_INIT;
    const uint8_t *page = NULL;
    test_assert_ok(pv__page_read(t, t_ids[i], PV__PAGE_COLUMN, &page, &err), &err);
    assert_true(kit_is(page, PV__SLOT_SIZE, t_seeds[i]));
}

static void t_pause(pv__txn *t) {
    pv_error err = PV_ERROR_INIT;
    test_assert_ok(pv__txn_pause(t, &err), &err);
    assert_true(t->mine_bytes <= T_CACHE / 8 || t_cache_bytes() <= T_CACHE + T_CACHE / 16);
}

static void t_all_there(void) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint64_t bad = 0;
    test_assert_ok(pv__txn_begin(t_w.store, 0, &t, &err), &err);
    for (size_t i = 0; i < T_PAGES; i++) {
        t_look(t, i);
        test_assert_ok(pv__txn_pause(t, &err), &err);
    }
    pv__txn_rollback(t);
    test_assert_ok(pv__store_check(t_w.store, true, t_finding, NULL, &bad, &err), &err);
    assert_int_equal(bad, 0);
}

/* After a commit all pages are what they should be; after a rollback no slot is held. */
static void t_commit_or_not(pv__txn *t, bool commit, uint64_t slots_before) {
    pv_error err = PV_ERROR_INIT;
    if (commit) {
        test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        t_all_there();
    } else {
        pv__txn_rollback(t);
        assert_int_equal(t_slots_in_use(), slots_before);
    }
}

static const uint64_t t_slabs[] = {0, 64u << 10};

/* What is used all the time stays, while what is written once goes; and the budget is kept. */
static void test_spill__what_is_used_stays(void **state) {
    (void)state;
    for (size_t k = 0; k < PV_COUNTOF(t_slabs); k++) {
        pv_error err = PV_ERROR_INIT;
        pv__txn *t = NULL;
        sim *s = t_start(t_slabs[k]);
        size_t gone = 0, here = 0;
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        for (size_t i = 0; i < T_PAGES; i++) {
            t_new(t, i);
            for (size_t h = 0; h < PV_MIN(i, (size_t)T_HOT); h++) {
                gone += !t_is_here(h);
                t_look(t, h);
            }
            t_pause(t);
        }
        for (size_t i = 0; i < T_PAGES; i++) {
            here += t_is_here(i);
        }
        assert_int_equal(gone, 0);
        assert_in_range(here, T_CACHE / PV__SLOT_SIZE / 2, T_CACHE / PV__SLOT_SIZE);
        test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        t_all_there();
        t_end(s);
    }
}

/* What a transaction has for each of its pages, in memory or not, is part of the budget. */
static void test_spill__the_budget_has_what_pages_need(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    sim *s = t_start(0);
    test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
    uint64_t before = 0;
    for (size_t i = 0; i < T_PAGES; i++) {
        t_new(t, i);
        t_pause(t);
        if (i == T_PAGES / 2) { /* twice the cache: what is as long as a round is there by now */
            before = atomic_load(&t_mem.bytes_used) - t_cache_bytes();
        }
    }
    const uint64_t after = atomic_load(&t_mem.bytes_used) - t_cache_bytes();
    assert_true(after < before + (4u << 10));
    const uint64_t held = t_cache_bytes();
    pv__txn_rollback(t);
    assert_true(t_cache_bytes() < held);
    t_end(s);
}

/* Brought back and only read, a page keeps its slots and goes without being written again; changed,
 * it gets others. */
static void test_spill__what_is_not_changed_is_not_written_again(void **state) {
    (void)state;
    for (size_t k = 0; k < PV_COUNTOF(t_slabs); k++) {
        static uint64_t slots[T_PAGES];
        pv_error err = PV_ERROR_INIT;
        pv__txn *t = NULL;
        sim *s = t_start(t_slabs[k]);
        const uint64_t before = t_slots_in_use();
        size_t kept = 0, moved = 0;
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        for (size_t i = 0; i < T_PAGES; i++) {
            t_new(t, i);
            t_pause(t);
        }
        for (unsigned round = 0; round < 3; round++) {
            for (size_t i = 0; i < T_PAGES; i++) {
                const pv__ver *v = t_mine(i);
                slots[i] = pv__ver_flags(v) & PV__VER_STORED ? v->pte.slot : 0;
            }
            for (size_t i = 0; i < T_PAGES; i++) {
                if (i % 10 == round) {
                    t_change(t, i, 7000 * (round + 1) + i);
                } else {
                    t_look(t, i);
                }
                t_pause(t);
            }
            for (size_t i = 0; i < T_PAGES; i++) {
                const pv__ver *v = t_mine(i);
                if (i % 10 != round && slots[i] != 0) {
                    assert_true(pv__ver_flags(v) & PV__VER_STORED);
                    assert_int_equal(v->pte.slot, slots[i]);
                    kept++;
                } else {
                    moved += pv__ver_flags(v) & PV__VER_STORED && v->pte.slot != slots[i];
                }
            }
        }
        assert_true(kept > T_PAGES);
        assert_true(moved > T_PAGES / 10);
        assert_in_range(t_slots_in_use(), before, before + T_PAGES); /* one place each */
        t_commit_or_not(t, k == 0, before);
        t_end(s);
    }
}

/* Pages of a committed state and those of the writer share one budget: whoever is not used goes. */
static void test_spill__one_budget_for_old_and_new(void **state) {
    (void)state;
    for (size_t k = 0; k < PV_COUNTOF(t_slabs); k++) {
        pv_error err = PV_ERROR_INIT;
        pv__txn *t = NULL;
        sim *s = t_start(t_slabs[k]);
        size_t here = 0;
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        for (size_t i = 0; i < T_PAGES; i++) {
            t_new(t, i);
            t_pause(t);
        }
        test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        t_checkpoint();
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        for (size_t i = 0; i < T_PAGES; i++) { /* old ones are used, new ones written once */
            for (size_t h = 0; h < T_HOT; h++) {
                t_look(t, h);
            }
            if (i >= T_HOT) {
                t_change(t, i, 9000 + i);
            }
            t_pause(t);
        }
        for (size_t h = 0; h < T_HOT; h++) {
            const uintptr_t f = atomic_load(&pv__xlat_find(t_w.store, t_ids[h])->frame);
            here += f != 0 && !(f & 1);
        }
        assert_int_equal(here, T_HOT);
        test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        t_all_there();
        t_end(s);
    }
}

/* Under savepoints, and when the disk fails in the middle: nothing is lost, no slot left over. */
static void test_spill__savepoints_and_failing_disks(void **state) {
    (void)state;
    for (uint64_t nth = 1; nth < 200; nth += nth < 8 ? 1 : 23) {
        pv_error err = PV_ERROR_INIT;
        pv__txn *t = NULL;
        uint32_t number = 0;
        sim *s = t_start(t_slabs[nth % 2]);
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        for (size_t i = 0; i < T_PAGES; i++) {
            t_new(t, i);
            t_pause(t);
        }
        test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        t_checkpoint();
        const uint64_t before = t_slots_in_use();
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        for (size_t i = 0; i < T_PAGES / 2; i++) {
            t_change(t, i, 5000 + i);
            t_pause(t);
        }
        test_assert_ok(pv__txn_savepoint(t, &number, &err), &err);
        const sim_fault fault = {SIM_FAULT_FULL, SIM_WRITE, SIM_CLASS_DB, nth, true};
        sim_fault_set(s, &fault);
        int rc = 0;
        for (size_t i = 0; i < T_PAGES && rc == 0; i++) {
            uint8_t *page = NULL;
            rc = pv__page_write(t, t_ids[i], PV__PAGE_COLUMN, &page, &err);
            if (rc == 0) {
                kit_fill(page, PV__SLOT_SIZE, 1);
                rc = pv__txn_pause(t, &err);
            }
        }
        sim_fault_set(s, NULL);
        assert_true(rc == 0 || rc == PV_ERR_FULL);
        test_assert_ok(pv__txn_rollback_to(t, number, &err), &err);
        for (size_t i = 0; i < T_PAGES; i++) {
            t_look(t, i);
            test_assert_ok(pv__txn_pause(t, &err), &err);
        }
        t_commit_or_not(t, nth % 2 != 0, before);
        t_end(s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spill__what_is_used_stays),
        cmocka_unit_test(test_spill__the_budget_has_what_pages_need),
        cmocka_unit_test(test_spill__what_is_not_changed_is_not_written_again),
        cmocka_unit_test(test_spill__one_budget_for_old_and_new),
        cmocka_unit_test(test_spill__savepoints_and_failing_disks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
