/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_held.c - what must be kept or kept back for others, as far as the other tests of the
 * store would not notice; found by planting bugs (tests/mutants). Commits while a sync runs, memory
 * and slots that readers still need, slots of what was undone, the identity of a page. */
#include <sched.h>

#include "test_store_mutants_kit.h"

/* ---- while a sync runs --------------------------------------------------------------------- */

static pv_vfs t_hooked; /* the disk, whose sync calls t_hook first, once */
static int (*t_real_sync)(pv_vfs *vfs, pv_file *file, pv_error *err);
typedef void (*t_hook_fn)(void);
static _Atomic(t_hook_fn) t_hook;

static bool t_die; /* before the file, not its log, is synced: the process ends there */

static int t_sync(pv_vfs *vfs, pv_file *file, pv_error *err) {
    if (t_die && file == t_w.store->file) {
        return pv__err(err, PV_ERR_IO, "killed");
    }
    t_hook_fn hook = atomic_exchange(&t_hook, (t_hook_fn)0);
    if (hook) {
        hook();
    }
    return t_real_sync(vfs, file, err);
}

static void t_open_hooked(sim *s) {
    t_hooked = *sim_vfs(s);
    t_real_sync = t_hooked.sync;
    t_hooked.sync = t_sync;
    t_hook = (t_hook_fn)0;
    pv__store_opts o = t_opts(&t_hooked);
    o.log_segment_bytes = 8u << 20;
    t_open(o);
}

static kit_state t_acked, t_pending; /* before and with the commit whose sync runs */

static void t_sees(pv__store *store, const kit_state *want) {
    char why[200];
    if (!kit_matches(store, want, why)) {
        fail_msg("%s", why);
    }
}

static void t_hook_look(void) { t_sees(t_w.store, &t_acked); }

static void t_hook_async(void) {
    t_pending = t_w.now;
    t_commit(40, PV__TXN_ASYNC);
    t_commit(40, PV__TXN_ASYNC);
    t_sees(t_w.store, &t_acked);
}

/* The first commit since a clean close has written the superblock that says that the log is
 * required, and dies before that is synced: only the system's cache has it. What is then committed
 * must not depend on it. */
static void test_mutants__a_mark_that_only_the_cache_holds_is_written_again(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    t_begin(31, 20, 1);
    sim *s = sim_new(1);
    t_open_hooked(s);
    t_commit(20, 0);
    t_close();
    t_open_hooked(s);
    t_die = true;
    test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
    uint8_t *page = NULL;
    uint64_t id = 0;
    test_assert_ok(pv__page_new(t, PV__PAGE_COLUMN, 1, 9, 0, &id, &page, &err), &err);
    test_assert_rc(pv__txn_commit(t, NULL, &err), PV_ERR_IO, &err);
    t_die = false;
    pv__store_abandon(t_w.store);
    t_open(t_opts(sim_vfs(s)));
    t_commit(5, 0); /* acknowledged */
    t_image_matches(sim_image(s, sim_op_count(s), SIM_CUT_DROP_ALL, 1), 64u << 20);
    t_matches();
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

static void test_mutants__nothing_is_seen_before_it_is_durable(void **state) {
    (void)state;
    t_begin(12, 60, 1);
    sim *s = sim_new(1);
    t_open_hooked(s);
    for (int i = 0; i < 4; i++) {
        t_commit(60, 0);
    }
    t_acked = t_w.now;
    t_hook = t_hook_look;
    t_commit(60, 0);
    assert_true(t_hook == NULL);
    for (int i = 0; i < 5; i++) {
        t_acked = t_w.now;
        t_hook = t_hook_async;
        t_commit(60, 0); /* while it is synced, two others are accepted behind it */
        assert_true(t_hook == NULL);
        t_sees(t_w.store, &t_pending); /* it is visible, the others are not: of all three versions
                                          the sweep has kept the middle one, too */
        t_commit(1, 0);
        t_matches();
    }
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

static void t_hook_overtake(void) {
    t_commit(40, PV__TXN_ASYNC);
    t_commit(40, PV__TXN_ASYNC);
    t_commit(40, PV__TXN_ASYNC);
}

/* A checkpoint waits for the log; meanwhile the pages it has to write are changed and swept. */
static void test_mutants__a_checkpoint_writes_what_it_was_cut_at(void **state) {
    (void)state;
    t_begin(13, 60, 1);
    sim *s = sim_new(1);
    t_open_hooked(s);
    t_commit(120, 0);
    for (int i = 0; i < 5; i++) {
        t_commit(60, PV__TXN_ASYNC);
        kit_state cut = t_w.now;
        t_hook = t_hook_overtake;
        t_checkpoint();
        assert_true(t_hook == NULL);
        kit_state now = t_w.now;
        sim *image = sim_image(s, sim_op_count(s), SIM_CUT_DROP_ALL, 1);
        t_w.now = cut; /* what came later is not on disk */
        t_image_matches(image, 64u << 20);
        t_w.now = now;
        t_sees(t_w.store, &now);
    }
    t_commit(1, 0);
    t_matches();
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

static void *t_checkpoint_thread(void *arg) {
    pv_error err = PV_ERROR_INIT;
    *(int *)arg = pv__store_checkpoint(t_w.store, &err);
    return NULL;
}

static pv__thread t_thread;
static int t_thread_rc;

/* One commit, a checkpoint cut behind it, and another commit before the first is written. */
static void t_hook_cut(void) {
    pv_error err = PV_ERROR_INIT;
    pv__store *s = t_w.store;
    bool cut = false;
    t_commit(5, PV__TXN_ASYNC);
    t_thread_rc = 1;
    test_assert_ok(pv__thread_start(&t_thread, t_checkpoint_thread, &t_thread_rc, &err), &err);
    while (!cut) {
        pv__mutex_lock(&s->ver_mutex);
        cut = s->ckpt_snap != 0;
        pv__mutex_unlock(&s->ver_mutex);
        (void)sched_yield();
    }
    t_commit(5, PV__TXN_ASYNC);
}

/* Where a root is cut a batch can begin, so that the tail behind it can be copied. */
static void test_mutants__a_root_is_cut_where_a_batch_can_begin(void **state) {
    (void)state;
    t_begin(21, 20, 1);
    sim *s = sim_new(1);
    t_open_hooked(s);
    t_commit(20, 0);
    t_hook = t_hook_cut;
    t_commit(5, 0);
    assert_true(t_hook == NULL);
    pv__thread_join(t_thread);
    assert_int_equal(t_thread_rc, PV_OK);
    assert_true(t_w.store->super.lsn < t_w.store->log.end);
    s = t_kill(s);
    t_open(t_opts(sim_vfs(s)));
    t_matches();
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* ---- what readers need --------------------------------------------------------------------- */

static void t_pressure(unsigned rounds) {
    for (unsigned i = 0; i < rounds; i++) {
        t_commit(30, 0);
        t_checkpoint();
        t_matches();
    }
}

static void test_mutants__a_pointer_is_good_until_pause(void **state) {
    (void)state;
    static uint8_t copy[16][PV__SLOT_SIZE * 4];
    const uint8_t *page[16];
    pv_error err = PV_ERROR_INIT;
    t_begin(14, 60, 4);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    pv__store_opts o = t_opts(sim_vfs(s));
    o.cache_bytes = 400u << 10;
    t_open(o);
    for (int round = 0; round < 6; round++) {
        pv__txn *r = NULL;
        size_t n = 0;
        t_commit(100, 0);
        t_checkpoint();
        test_assert_ok(pv__txn_begin(t_w.store, 0, &r, &err), &err);
        for (size_t i = 0; i < t_w.pages && n < PV_COUNTOF(page); i++) {
            if (t_w.now.pages[i].id) {
                test_assert_ok(pv__page_read(r, t_w.now.pages[i].id, PV__PAGE_ANY, &page[n], &err),
                               &err);
                memcpy(copy[n], page[n], pv__page_size(page[n]));
                n++;
            }
        }
        t_pressure(3);
        for (size_t i = 0; i < n; i++) {
            assert_memory_equal(copy[i], page[i], (size_t)copy[i][PV__HEAD_SLOTS] * PV__SLOT_SIZE);
        }
        pv__txn_rollback(r);
    }
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* Nothing has been retired when the reader enters: what is evicted then is of its own epoch. */
static void test_mutants__a_page_of_this_epoch_is_not_freed_in_it(void **state) {
    (void)state;
    static uint8_t copy[PV__SLOT_SIZE];
    const uint8_t *page = NULL;
    pv_error err = PV_ERROR_INIT;
    pv__txn *r = NULL;
    t_begin(22, 8, 1);
    sim *s = sim_new(1);
    t_open(t_opts(sim_vfs(s)));
    t_commit(20, 0);
    t_checkpoint();
    pv__mutex_lock(&t_w.store->ver_mutex);
    pv__ver_reclaim(t_w.store);
    assert_int_equal(t_w.store->retired_count, 0);
    pv__mutex_unlock(&t_w.store->ver_mutex);
    test_assert_ok(pv__txn_begin(t_w.store, 0, &r, &err), &err);
    test_assert_ok(pv__page_read(r, PV__META_PAGE, PV__PAGE_META, &page, &err), &err);
    memcpy(copy, page, sizeof copy);
    pv__ver_evict(t_w.store, 1, 64u << 20);
    assert_true(t_w.store->retired_count > 0);
    assert_memory_equal(copy, page, sizeof copy);
    pv__txn_rollback(r);
    t_matches();
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* The pages of a snapshot are evicted, and read again from slots the root has long replaced. */
static void test_mutants__slots_of_a_snapshot_are_kept(void **state) {
    (void)state;
    static kit_state seen[4];
    pv__txn *r[4] = {NULL, NULL, NULL, NULL};
    pv_error err = PV_ERROR_INIT;
    char why[200];
    t_begin(15, 60, 4);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    pv__store_opts o = t_opts(sim_vfs(s));
    o.cache_bytes = 400u << 10;
    t_open(o);
    for (int round = 0; round < 24; round++) {
        size_t i = (size_t)round % 4;
        pv__txn_rollback(r[i]);
        seen[i] = t_w.now;
        test_assert_ok(pv__txn_begin(t_w.store, 0, &r[i], &err), &err);
        t_pressure(2);
        for (i = 0; i < 4; i++) {
            if (r[i] && !kit_sees(r[i], &seen[i], why)) {
                fail_msg("round %d: %s", round, why);
            }
        }
    }
    for (size_t i = 0; i < 4; i++) {
        pv__txn_rollback(r[i]);
    }
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* ---- slots and identity -------------------------------------------------------------------- */

static uint64_t t_slots_in_use(void) {
    pv__store_stats st;
    pv__store_stats_get(t_w.store, &st);
    return t_w.store->space.count - st.free_slots;
}

static void test_mutants__what_is_undone_leaves_no_slots_behind(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    t_begin(16, 60, 8);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    pv__store_opts o = t_opts(sim_vfs(s));
    o.cache_bytes = 256u << 10;
    t_open(o);
    t_commit(60, 0);
    t_checkpoint();
    t_commit(10, 0);
    for (int i = 0; i < 5; i++) {
        pv__txn *t = NULL;
        uint32_t number = 0;
        uint64_t used = t_slots_in_use();
        kit_state was = t_w.now;
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        test_assert_ok(kit_mutate(&t_w, t, 100, &err), &err);
        test_assert_ok(pv__txn_savepoint(t, &number, &err), &err);
        test_assert_ok(kit_mutate(&t_w, t, 100, &err), &err);
        assert_true(t_slots_in_use() > used); /* spilled */
        pv__txn_rollback(t);
        t_w.now = was;
        assert_int_equal(t_slots_in_use(), used);
        const sim_fault full = {SIM_FAULT_FULL, SIM_WRITE, SIM_CLASS_DB, (uint64_t)i + 1, true};
        sim_fault_set(s, &full);
        test_assert_rc(pv__store_checkpoint(t_w.store, &err), PV_ERR_FULL, &err);
        sim_fault_set(s, NULL);
        assert_int_equal(t_slots_in_use(), used);
    }
    t_matches();
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* Three pages of free ids, one behind the other: all of them are found again. */
static void test_mutants__every_freed_page_id_comes_back(void **state) {
    (void)state;
    static uint64_t ids[1300];
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint8_t *page = NULL;
    uint64_t last = 0;
    t_begin(23, 8, 1);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    t_open(t_opts(sim_vfs(s)));
    for (int round = 0; round < 3; round++) {
        uint64_t highest = 0;
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        for (size_t i = 0; i < PV_COUNTOF(ids); i++) {
            test_assert_ok(pv__page_new(t, PV__PAGE_COLUMN, 1, 1, 0, &ids[i], &page, &err), &err);
            highest = PV_MAX(highest, ids[i]);
        }
        for (size_t i = 0; i < PV_COUNTOF(ids); i++) {
            test_assert_ok(pv__page_free(t, ids[i], &err), &err);
        }
        test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        assert_true(round == 0 || highest == last);
        last = highest;
    }
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

static void test_mutants__savepoints_of_a_spilled_transaction(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    t_begin(17, 30, 16);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    pv__store_opts o = t_opts(sim_vfs(s));
    o.cache_bytes = 256u << 10;
    t_open(o);
    t_commit(60, 0);
    for (int i = 0; i < 20; i++) {
        pv__txn *t = NULL;
        uint32_t number = 0;
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        test_assert_ok(kit_mutate(&t_w, t, 60, &err), &err);
        test_assert_ok(pv__txn_savepoint(t, &number, &err), &err);
        kit_state was = t_w.now;
        test_assert_ok(kit_mutate(&t_w, t, 60, &err), &err);
        test_assert_ok(pv__txn_rollback_to(t, number, &err), &err);
        t_w.now = was;
        test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        t_matches();
    }
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

static void test_mutants__a_page_must_state_who_it_is(void **state) {
    (void)state;
    static uint8_t page[PV__SLOT_SIZE], got[PV__SLOT_SIZE];
    pv_error err = PV_ERROR_INIT;
    t_begin(18, 8, 1);
    sim *s = sim_new(1);
    t_open(t_opts(sim_vfs(s)));
    for (unsigned wrong = 0; wrong < 3; wrong++) {
        pv__pte pte;
        memset(&pte, 0, sizeof pte);
        memset(page, 0, sizeof page);
        pv__put64(page + PV__HEAD_UUID, t_w.store->uuid_tag + (wrong == 1));
        pv__put64(page + PV__HEAD_PAGE_ID, 7 + (wrong == 2));
        page[PV__HEAD_SLOTS] = 1;
        (void)pv__pageio_encode(t_w.store, 7, page, NULL, &pte);
        test_assert_ok(pv__space_alloc(t_w.store, 1, &pte.slot, &err), &err);
        test_assert_ok(pv__vfs_write(t_w.store->vfs, t_w.store->file, pte.slot * PV__SLOT_SIZE,
                                     page, sizeof page, &err),
                       &err);
        test_assert_rc(pv__pageio_read(t_w.store, 7, &pte, got, &err),
                       wrong ? PV_ERR_CORRUPT : PV_OK, &err);
        pv__space_free_now(t_w.store, pte.slot, 1);
    }
    /* The same bytes in the place of another page have another checksum. */
    assert_true(pv__page_seed(t_w.store, 7) != pv__page_seed(t_w.store, 8));
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

enum { T_SNAPSHOTS = 300 };

/* More readers than have a place at first, and more than a sweep tells apart. */
static void test_mutants__three_hundred_snapshots_see_what_they_saw(void **state) {
    (void)state;
    static kit_state seen[T_SNAPSHOTS];
    pv__txn *readers[T_SNAPSHOTS];
    pv_error err = PV_ERROR_INIT;
    pv__store_stats st;
    char why[200];
    t_begin(14, 20, 1);
    sim *s = sim_new(1);
    t_open(t_opts(sim_vfs(s)));
    for (unsigned i = 0; i < T_SNAPSHOTS; i++) {
        t_commit(3, 0);
        seen[i] = t_w.now;
        test_assert_ok(pv__txn_begin(t_w.store, 0, &readers[i], &err), &err);
        if (i % 64 == 63) {
            t_checkpoint();
        }
    }
    t_commit(60, 0);
    for (unsigned i = 0; i < T_SNAPSHOTS; i++) {
        if (!kit_sees(readers[i], &seen[i], why)) {
            fail_msg("snapshot %u: %s", i, why);
        }
    }
    for (unsigned i = 0; i < T_SNAPSHOTS; i++) {
        pv__txn_rollback(readers[i]);
    }
    for (unsigned i = 0; i < 4; i++) { /* nobody needs them any more */
        t_commit(60, 0);
        t_checkpoint();
    }
    pv__store_stats_get(t_w.store, &st);
    assert_in_range(st.versions, 1, 80);
    t_matches();
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mutants__a_mark_that_only_the_cache_holds_is_written_again),
        cmocka_unit_test(test_mutants__nothing_is_seen_before_it_is_durable),
        cmocka_unit_test(test_mutants__a_checkpoint_writes_what_it_was_cut_at),
        cmocka_unit_test(test_mutants__a_root_is_cut_where_a_batch_can_begin),
        cmocka_unit_test(test_mutants__a_pointer_is_good_until_pause),
        cmocka_unit_test(test_mutants__a_page_of_this_epoch_is_not_freed_in_it),
        cmocka_unit_test(test_mutants__slots_of_a_snapshot_are_kept),
        cmocka_unit_test(test_mutants__what_is_undone_leaves_no_slots_behind),
        cmocka_unit_test(test_mutants__every_freed_page_id_comes_back),
        cmocka_unit_test(test_mutants__savepoints_of_a_spilled_transaction),
        cmocka_unit_test(test_mutants__a_page_must_state_who_it_is),
        cmocka_unit_test(test_mutants__three_hundred_snapshots_see_what_they_saw),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
