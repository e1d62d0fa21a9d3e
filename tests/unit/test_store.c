/* SPDX-License-Identifier: Apache-2.0 */
/* test_store.c - the store through store.h: what is committed is there, at once and after reopening
 * in every way; what is rolled back or refused is not; snapshots stay as they were. On files of a
 * memory VFS and on real ones. */
#include "base/checksum.h"
#include "os/vfs.h"
#include "sim/sim_vfs.h"
#include "support/store_kit.h"

static pv__mem t_mem;

static pv__store_opts t_opts(pv_vfs *vfs, const char *path) {
    pv__store_opts o;
    memset(&o, 0, sizeof o);
    o.path = path;
    o.vfs = vfs;
    o.mem = &t_mem;
    o.create = true;
    o.no_threads = true;
    o.cache_bytes = 64u << 20;
    return o;
}

static void t_open(kit_world *w, pv__store_opts o) {
    pv_error err = PV_ERROR_INIT;
    test_assert_ok(pv__store_open(&o, &w->store, &err), &err);
}

static void t_commit(kit_world *w, unsigned changes) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    pv__store_stats st;
    test_assert_ok(pv__txn_begin(w->store, PV__TXN_WRITE, &t, &err), &err);
    test_assert_ok(kit_mutate(w, t, changes, &err), &err);
    test_assert_ok(pv__txn_commit(t, &w->now.lsn, &err), &err);
    pv__store_stats_get(w->store, &st);
    w->now.db_sum = st.db_checksum;
}

static void t_finding(void *ctx, uint64_t page_id, uint32_t owner, const char *what) {
    (void)ctx;
    print_message("check: page %llu, object %u: %s\n", (unsigned long long)page_id, owner, what);
}

static void t_matches(kit_world *w) {
    char message[200];
    if (!kit_matches(w->store, &w->now, message)) {
        fail_msg("%s", message);
    }
    uint64_t bad = 0;
    pv_error err = PV_ERROR_INIT;
    test_assert_ok(pv__store_check(w->store, true, t_finding, NULL, &bad, &err), &err);
    assert_int_equal(bad, 0);
}

static void t_close(kit_world *w) {
    pv_error err = PV_ERROR_INIT;
    test_assert_ok(pv__store_close(w->store, &err), &err);
    w->store = NULL;
}

static void t_world(kit_world *w, uint64_t seed) {
    memset(w, 0, sizeof *w);
    test_rng_init(&w->rng, seed);
}

static int t_interrupt(void *ctx) {
    ++*(unsigned *)ctx;
    return 1;
}

/* A pause asks the interrupt of a call's own transaction, changes nothing when the answer is to
 * end, and never asks where all is done. */
static void test_store__pauses_ask_the_interrupt(void **state) {
    (void)state;
    static kit_world w;
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    unsigned asked = 0;
    uint32_t savepoint = 0;
    t_world(&w, 1);
    test_mem_init(&t_mem);
    pv__store_opts o = t_opts(NULL, ":memory:");
    o.interrupt = t_interrupt;
    o.interrupt_ctx = &asked;
    t_open(&w, o);
    test_assert_ok(pv__txn_begin(w.store, PV__TXN_WRITE, &t, &err), &err);
    test_assert_ok(pv__txn_pause(t, &err), &err); /* of the store's own threads, for instance */
    pv__txn_rollback(t);
    assert_int_equal(asked, 0);
    test_assert_ok(pv__txn_begin(w.store, PV__TXN_WRITE | PV__TXN_ASKS, &t, &err), &err);
    test_assert_rc(pv__txn_pause(t, &err), PV_ERR_CANCELLED, &err);
    assert_int_equal(asked, 1);
    test_assert_ok(pv__txn_doomed(t, &err), &err);
    test_assert_ok(pv__txn_savepoint(t, &savepoint, &err), &err);
    test_assert_ok(pv__txn_rollback_to(t, savepoint, &err), &err);
    test_assert_ok(pv__txn_rest(t, &err), &err);
    assert_int_equal(asked, 1);
    test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
    t_close(&w);
    test_mem_done(&t_mem);
}

static void test_store__memory_database_keeps_what_is_committed(void **state) {
    (void)state;
    static kit_world w;
    t_world(&w, 1);
    test_mem_init(&t_mem);
    t_open(&w, t_opts(NULL, ":memory:"));
    for (int i = 0; i < 100; i++) {
        t_commit(&w, 10);
        t_matches(&w);
    }
    t_close(&w);
    test_mem_done(&t_mem);
}

static void t_count_file(void *arg, const char *path, uint64_t size) {
    assert_string_equal(path, "a.pv");
    assert_true(size > 0);
    ++*(unsigned *)arg;
}

static void test_store__clean_close_leaves_one_file_with_everything(void **state) {
    (void)state;
    static kit_world w;
    t_world(&w, test_seed());
    test_mem_init(&t_mem);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    for (int round = 0; round < 30; round++) {
        t_open(&w, t_opts(sim_vfs(s), "a.pv"));
        t_matches(&w);
        for (int i = 0; i < 10; i++) {
            t_commit(&w, 1 + (unsigned)test_rng_below(&w.rng, 30));
        }
        t_matches(&w);
        if (round % 3 == 0) {
            pv_error err = PV_ERROR_INIT;
            test_assert_ok(pv__store_checkpoint(w.store, &err), &err);
            t_matches(&w);
            t_commit(&w, 5);
        }
        t_close(&w);
        unsigned files = 0;
        sim_file_each(s, t_count_file, &files);
        assert_int_equal(files, 1);
    }
    sim_free(s);
    test_mem_done(&t_mem);
}

/* Pages change in one session, all of them or a part, between checkpoints: their old places are
 * free, the new ones and those of the table are behind them. A close leaves neither. */
static void test_store__clean_close_gives_the_free_slots_back(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    pv_vfs *vfs = NULL;
    pv__mem_init(&t_mem, NULL, 0);
    test_assert_ok(pv__vfs_mem_new(&t_mem, &vfs, &err), &err);
    enum { T_PAGES = 1200, T_SESSIONS = 12 }; /* some nodes of the table */
    static uint64_t ids[T_PAGES], values[T_PAGES];
    uint64_t first = 0;
    for (unsigned session = 0; session < T_SESSIONS; session++) {
        pv__store_opts o = t_opts(vfs, "p.pv");
        pv__store *s = NULL;
        test_assert_ok(pv__store_open(&o, &s, &err), &err);
        for (unsigned part = 0; part < (session == 0 ? 1 : session % 4 + 1); part++) {
            pv__txn *t = NULL;
            const unsigned begin = part * T_PAGES / 6;
            const unsigned end = session % 3 == 1 ? T_PAGES : begin + T_PAGES / 3;
            test_assert_ok(pv__txn_begin(s, PV__TXN_WRITE, &t, &err), &err);
            for (unsigned i = session == 0 ? 0 : begin; i < (session == 0 ? T_PAGES : end); i++) {
                uint8_t *page = NULL;
                if (session == 0) {
                    const unsigned n = i % 7 == 0 ? 16 : 1;
                    test_assert_ok(pv__page_new(t, PV__PAGE_TREE, n, 20, i, &ids[i], &page, &err),
                                   &err);
                } else {
                    test_assert_ok(pv__page_write(t, ids[i], PV__PAGE_TREE, &page, &err), &err);
                    assert_int_equal(pv__get64(page + PV__PAGE_HEAD), values[i]);
                }
                values[i] = ids[i] * 64 + session * 4 + part;
                pv__put64(page + PV__PAGE_HEAD, values[i]);
            }
            test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
            test_assert_ok(pv__store_checkpoint(s, &err), &err);
        }
        test_assert_ok(pv__store_close(s, &err), &err);
        pv_file *f = NULL;
        uint64_t size = 0;
        test_assert_ok(vfs->open(vfs, o.path, PV_VFS_OPEN_READONLY, &f, NULL, &err), &err);
        test_assert_ok(vfs->size(vfs, f, &size, &err), &err);
        test_assert_ok(vfs->close(vfs, f, &err), &err);
        first = session == 0 ? size : first;
        if (size * 4 > first * 5) {
            print_message("session %u: %llu bytes, at first %llu\n", session,
                          (unsigned long long)size, (unsigned long long)first);
        }
        assert_true(size * 4 <= first * 5);
    }
    pv__store_opts o = t_opts(vfs, "p.pv");
    pv__store *s = NULL;
    uint64_t bad = 0;
    test_assert_ok(pv__store_open(&o, &s, &err), &err);
    test_assert_ok(pv__store_check(s, true, t_finding, NULL, &bad, &err), &err);
    assert_int_equal(bad, 0);
    test_assert_ok(pv__store_close(s, &err), &err);
    pv__vfs_mem_free(vfs);
    assert_int_equal(atomic_load(&t_mem.bytes_used), 0);
}

static void test_store__crash_at_any_commit_is_replayed(void **state) {
    (void)state;
    static kit_world w;
    t_world(&w, 3);
    test_mem_init(&t_mem);
    sim *s = sim_new(1);
    for (int round = 0; round < 40; round++) {
        t_open(&w, t_opts(sim_vfs(s), "a.pv"));
        t_matches(&w);
        unsigned commits = (unsigned)test_rng_below(&w.rng, 8);
        for (unsigned i = 0; i < commits; i++) {
            t_commit(&w, 1 + (unsigned)test_rng_below(&w.rng, 40));
        }
        if (round % 4 == 1) {
            pv_error err = PV_ERROR_INIT;
            test_assert_ok(pv__store_checkpoint(w.store, &err), &err);
            t_commit(&w, 3);
        }
        t_matches(&w);
        sim *after = sim_image(s, sim_op_count(s), SIM_CUT_KEEP_ALL, 1); /* kill -9 */
        pv__store_abandon(w.store);
        sim_free(s);
        s = after;
    }
    sim_free(s);
    test_mem_done(&t_mem);
}

/* A batch of several records that begins at an LSN which is a multiple of 4 KiB and is not proven
 * by a later one: the first batch of a database. */
static void test_store__an_unproven_batch_is_adopted_from_its_first_record(void **state) {
    (void)state;
    static kit_world w;
    t_world(&w, 9);
    test_mem_init(&t_mem);
    sim *s = sim_new(1);
    t_open(&w, t_opts(sim_vfs(s), "a.pv"));
    for (int i = 0; i < 4; i++) {
        pv_error err = PV_ERROR_INIT;
        pv__txn *t = NULL;
        test_assert_ok(
            pv__txn_begin(w.store, PV__TXN_WRITE | (i < 3 ? PV__TXN_ASYNC : 0), &t, &err), &err);
        test_assert_ok(kit_mutate(&w, t, 3, &err), &err);
        test_assert_ok(pv__txn_commit(t, &w.now.lsn, &err), &err);
    }
    for (int round = 0; round < 3; round++) {
        sim *after = sim_image(s, sim_op_count(s), SIM_CUT_DROP_ALL, 1);
        pv__store_abandon(w.store);
        sim_free(s);
        s = after;
        t_open(&w, t_opts(sim_vfs(s), "a.pv"));
        t_matches(&w);
    }
    t_close(&w);
    sim_free(s);
    test_mem_done(&t_mem);
}

/* Images that a transaction wrote to their slots may be lost by the failed sync of a checkpoint
 * meanwhile; the commit's own sync would not notice (S8). */
static void test_store__a_failed_sync_of_a_checkpoint_refuses_the_open_transaction(void **state) {
    (void)state;
    static kit_world w;
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    char why[200];
    t_world(&w, 10);
    test_mem_init(&t_mem);
    sim *s = sim_new(1);
    pv__store_opts o = t_opts(sim_vfs(s), "a.pv");
    o.cache_bytes = 512u << 10;
    t_open(&w, o);
    t_commit(&w, 20);
    w.saved = w.now;
    test_assert_ok(pv__txn_begin(w.store, PV__TXN_WRITE, &t, &err), &err);
    test_assert_ok(kit_mutate(&w, t, 100, &err), &err); /* spills */
    const sim_fault fault = {SIM_FAULT_IO, SIM_SYNC, SIM_CLASS_DB, 1, false};
    sim_fault_set(s, &fault);
    test_assert_rc(pv__store_checkpoint(w.store, &err), PV_ERR_IO, &err);
    assert_int_equal(sim_fault_hits(s), 1);
    test_assert_rc(pv__txn_commit(t, NULL, &err), PV_ERR_IO, &err);
    test_assert_rc(pv__txn_begin(w.store, PV__TXN_WRITE, &t, &err), PV_ERR_IO, &err);
    w.now = w.saved;
    assert_true(kit_matches(w.store, &w.now, why)); /* reads go on */
    test_assert_rc(pv__store_close(w.store, &err), PV_ERR_IO, &err);
    t_open(&w, o);
    t_matches(&w);
    t_commit(&w, 5);
    t_close(&w);
    sim_free(s);
    test_mem_done(&t_mem);
}

/* More freed ids than a page of the free list holds: lists are chained and used up again. */
static void test_store__long_free_lists_are_chained(void **state) {
    (void)state;
    static uint64_t ids[1300];
    static kit_world w;
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint8_t *page = NULL;
    uint64_t bad = 0;
    pv__store_stats before, after;
    t_world(&w, 11);
    test_mem_init(&t_mem);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    for (int round = 0; round < 3; round++) {
        t_open(&w, t_opts(sim_vfs(s), "a.pv"));
        test_assert_ok(pv__txn_begin(w.store, PV__TXN_WRITE, &t, &err), &err);
        for (size_t i = 0; i < PV_COUNTOF(ids); i++) {
            test_assert_ok(
                pv__page_new(t, PV__PAGE_COLUMN, 1, 1, (uint32_t)i, &ids[i], &page, &err), &err);
        }
        test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        pv__store_stats_get(w.store, &after);
        if (round > 0) {
            assert_int_equal(after.page_count, before.page_count); /* all ids came back */
        }
        before = after;
        test_assert_ok(pv__txn_begin(w.store, PV__TXN_WRITE, &t, &err), &err);
        for (size_t i = 0; i < PV_COUNTOF(ids); i++) {
            test_assert_ok(pv__page_free(t, ids[(i * 7) % PV_COUNTOF(ids)], &err), &err);
        }
        test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        test_assert_ok(pv__store_check(w.store, true, NULL, NULL, &bad, &err), &err);
        assert_int_equal(bad, 0);
        t_close(&w);
    }
    sim_free(s);
    test_mem_done(&t_mem);
}

static void test_store__rollback_leaves_no_trace(void **state) {
    (void)state;
    static kit_world w;
    t_world(&w, 4);
    test_mem_init(&t_mem);
    sim *s = sim_new(1);
    t_open(&w, t_opts(sim_vfs(s), "a.pv"));
    t_commit(&w, 100);
    for (int i = 0; i < 50; i++) {
        pv_error err = PV_ERROR_INIT;
        pv__txn *t = NULL;
        pv__store_stats before, after;
        pv__store_stats_get(w.store, &before);
        size_t ops = sim_op_count(s);
        w.saved = w.now;
        test_assert_ok(pv__txn_begin(w.store, PV__TXN_WRITE, &t, &err), &err);
        test_assert_ok(kit_mutate(&w, t, 60, &err), &err);
        pv__txn_rollback(t);
        w.now = w.saved;
        pv__store_stats_get(w.store, &after);
        assert_int_equal(before.db_checksum, after.db_checksum);
        assert_int_equal(before.lsn, after.lsn);
        assert_int_equal(ops, sim_op_count(s));
        t_matches(&w);
        t_commit(&w, 5);
    }
    t_close(&w);
    sim_free(s);
    test_mem_done(&t_mem);
}

static void test_store__a_reader_sees_its_snapshot_for_ever(void **state) {
    (void)state;
    static kit_world w;
    static kit_state seen[20];
    pv__txn *readers[20];
    pv_error err = PV_ERROR_INIT;
    t_world(&w, 5);
    test_mem_init(&t_mem);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    t_open(&w, t_opts(sim_vfs(s), "a.pv"));
    for (int i = 0; i < 20; i++) {
        t_commit(&w, 50);
        seen[i] = w.now;
        test_assert_ok(pv__txn_begin(w.store, 0, &readers[i], &err), &err);
        if (i % 4 == 3) {
            test_assert_ok(pv__store_checkpoint(w.store, &err), &err);
        }
    }
    for (int order = 0; order < 20; order++) {
        int i = (order * 7 + 3) % 20;
        for (size_t p = 0; p < KIT_PAGES_MAX; p++) {
            const uint8_t *page = NULL;
            const kit_page *k = &seen[i].pages[p];
            if (k->id) {
                test_assert_ok(pv__page_read(readers[i], k->id, PV__PAGE_COLUMN, &page, &err),
                               &err);
                assert_true(kit_is(page, pv__page_size(page), k->seed));
                test_assert_ok(pv__txn_pause(readers[i], &err), &err);
            }
        }
        pv__txn_rollback(readers[i]);
        t_commit(&w, 20);
        test_assert_ok(pv__store_checkpoint(w.store, &err), &err);
    }
    t_matches(&w);
    t_close(&w);
    sim_free(s);
    test_mem_done(&t_mem);
}

static void test_store__small_cache_evicts_and_spills(void **state) {
    (void)state;
    static kit_world w;
    pv_error err = PV_ERROR_INIT;
    t_world(&w, 6);
    test_mem_init(&t_mem);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    pv__store_opts o = t_opts(sim_vfs(s), "a.pv");
    o.cache_bytes = 700 * 1024;
    o.checkpoint_bytes = 1 << 20;
    for (int round = 0; round < 10; round++) {
        t_open(&w, o);
        for (int i = 0; i < 20; i++) {
            t_commit(&w, i % 5 ? 10 : 250);
            if (i % 7 == 0) {
                t_matches(&w);
            }
            if (i % 3 == 0) {
                pv__txn *t = NULL;
                w.saved = w.now;
                test_assert_ok(pv__txn_begin(w.store, PV__TXN_WRITE, &t, &err), &err);
                test_assert_ok(kit_mutate(&w, t, 200, &err), &err);
                pv__txn_rollback(t);
                w.now = w.saved;
            }
        }
        t_matches(&w);
        if (round % 2) {
            t_close(&w);
        } else {
            pv__store_abandon(w.store); /* locks of the sim go with its files */
        }
    }
    t_open(&w, o);
    t_matches(&w);
    t_close(&w);
    sim_free(s);
    test_mem_done(&t_mem);
}

/* Random nesting: the model keeps a copy of itself at each savepoint. */
static void test_store__savepoints_undo_what_came_after_them(void **state) {
    (void)state;
    static kit_world w;
    static kit_state kept[8];
    pv_error err = PV_ERROR_INIT;
    t_world(&w, 8);
    test_mem_init(&t_mem);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    pv__store_opts o = t_opts(sim_vfs(s), "a.pv");
    o.cache_bytes = 2 << 20;
    t_open(&w, o);
    for (int round = 0; round < 60; round++) {
        pv__txn *t = NULL;
        uint32_t depth = 0, number = 0;
        w.saved = w.now;
        test_assert_ok(pv__txn_begin(w.store, PV__TXN_WRITE, &t, &err), &err);
        for (int step = 0; step < 20; step++) {
            uint64_t what = test_rng_below(&w.rng, 5);
            if (what == 0 && depth < PV_COUNTOF(kept)) {
                kept[depth++] = w.now;
                test_assert_ok(pv__txn_savepoint(t, &number, &err), &err);
                assert_int_equal(number, depth);
            } else if (what == 1 && depth > 0) {
                depth = 1 + (uint32_t)test_rng_below(&w.rng, depth);
                test_assert_ok(pv__txn_rollback_to(t, depth, &err), &err);
                w.now = kept[depth - 1];
            } else if (what == 2 && depth > 0) {
                uint32_t to = 1 + (uint32_t)test_rng_below(&w.rng, depth);
                test_assert_ok(pv__txn_release(t, to, &err), &err);
                depth = to - 1;
            } else {
                test_assert_ok(kit_mutate(&w, t, 15, &err), &err);
            }
        }
        test_assert_rc(pv__txn_rollback_to(t, depth + 1, &err), PV_ERR_NOTFOUND, &err);
        if (round % 3 == 0) {
            pv__txn_rollback(t);
            w.now = w.saved;
        } else {
            test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        }
        t_matches(&w);
    }
    t_close(&w);
    t_open(&w, o);
    t_matches(&w);
    t_close(&w);
    sim_free(s);
    test_mem_done(&t_mem);
}

/* Replay larger than the cache checkpoints on the way; killed right after it, the next open must
 * find its way too, wherever in a batch of several commits that was. */
static void test_store__replay_cut_after_its_own_checkpoint(void **state) {
    (void)state;
    static kit_world w;
    test_mem_init(&t_mem);
    for (uint64_t round = 0; round < 12; round++) {
        pv_error err = PV_ERROR_INIT;
        t_world(&w, 100 + round);
        sim *s = sim_new(1);
        t_open(&w, t_opts(sim_vfs(s), "a.pv"));
        for (uint64_t i = 0; i < 12 + round; i++) {
            t_commit(&w, 8);
        }
        for (int i = 0; i < 6; i++) { /* one batch of several records */
            pv__txn *t = NULL;
            uint32_t flags = PV__TXN_WRITE | (i < 5 ? PV__TXN_ASYNC : 0);
            test_assert_ok(pv__txn_begin(w.store, flags, &t, &err), &err);
            test_assert_ok(kit_mutate(&w, t, 6, &err), &err);
            test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        }
        for (int crash = 0; crash < 3; crash++) {
            sim *after = sim_image(s, sim_op_count(s), SIM_CUT_KEEP_ALL, 1);
            pv__store_abandon(w.store);
            sim_free(s);
            s = after;
            pv__store_opts o = t_opts(sim_vfs(s), "a.pv");
            o.cache_bytes = (200 + 60 * round) * 1024;
            t_open(&w, o);
        }
        t_matches(&w);
        t_commit(&w, 5);
        t_close(&w);
        t_open(&w, t_opts(sim_vfs(s), "a.pv"));
        t_matches(&w);
        t_close(&w);
        sim_free(s);
    }
    test_mem_done(&t_mem);
}

/* Change a number in all four superblocks and mend their checksums. */
static void t_poke_supers(sim *s, uint64_t offset, uint64_t bits) {
    static const uint64_t places[4] = {0, 1, 16, 17};
    for (int i = 0; i < 4; i++) {
        static uint8_t p[PV__SLOT_SIZE];
        assert_true(sim_file_peek(s, "a.pv", places[i] * PV__SLOT_SIZE, p, sizeof p));
        pv__put64(p + offset, pv__get64(p + offset) ^ bits);
        pv__put64(p + PV__SUPER_CHECKSUM, pv__hash64(p, PV__SUPER_CHECKSUM, 0));
        assert_true(sim_file_poke(s, "a.pv", places[i] * PV__SLOT_SIZE, p, sizeof p));
    }
}

static void test_store__newer_formats_are_refused(void **state) {
    (void)state;
    static kit_world w;
    static const struct {
        uint64_t offset, bits;
        int write, read; /* what opening gives */
    } cases[] = {
        {PV__SUPER_MAJOR, 2, PV_ERR_FORMAT, PV_ERR_FORMAT},
        {PV__SUPER_INCOMPAT, (uint64_t)1 << 40, PV_ERR_FORMAT, PV_ERR_FORMAT},
        {PV__SUPER_RO_COMPAT, 4, PV_ERR_FORMAT, PV_OK},
        {PV__SUPER_COMPAT, 4, PV_OK, PV_OK},
    };
    t_world(&w, 9);
    test_mem_init(&t_mem);
    sim *s = sim_new(1);
    t_open(&w, t_opts(sim_vfs(s), "a.pv"));
    t_commit(&w, 10);
    t_close(&w);
    for (size_t i = 0; i < PV_COUNTOF(cases); i++) {
        pv_error err = PV_ERROR_INIT;
        pv__store_opts o = t_opts(sim_vfs(s), "a.pv");
        t_poke_supers(s, cases[i].offset, cases[i].bits);
        const uint64_t before = sim_image_hash(s);
        o.readonly = true;
        test_assert_rc(pv__store_open(&o, &w.store, &err), cases[i].read, &err);
        pv__store_close(w.store, &err);
        o.readonly = false;
        test_assert_rc(pv__store_open(&o, &w.store, &err), cases[i].write, &err);
        pv__store_close(w.store, &err);
        assert_true(sim_image_hash(s) == before);
        t_poke_supers(s, cases[i].offset, cases[i].bits);
    }
    t_open(&w, t_opts(sim_vfs(s), "a.pv"));
    t_matches(&w);
    t_close(&w);
    sim_free(s);
    test_mem_done(&t_mem);
}

/* S7, S8: a commit whose sync failed is never seen, writes are refused, readers go on. */
static void test_store__what_is_not_durable_is_not_seen(void **state) {
    (void)state;
    static kit_world w;
    const sim_fault fault = {SIM_FAULT_IO, SIM_SYNC, SIM_CLASS_LOG, 1, false};
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    t_world(&w, 10);
    test_mem_init(&t_mem);
    sim *s = sim_new(1);
    t_open(&w, t_opts(sim_vfs(s), "a.pv"));
    t_commit(&w, 20);
    w.saved = w.now;
    sim_fault_set(s, &fault);
    test_assert_ok(pv__txn_begin(w.store, PV__TXN_WRITE, &t, &err), &err);
    test_assert_ok(kit_mutate(&w, t, 20, &err), &err);
    test_assert_rc(pv__txn_commit(t, NULL, &err), PV_ERR_IO, &err);
    assert_int_equal(sim_fault_hits(s), 1);
    sim_fault_set(s, NULL);
    w.now = w.saved;
    char message[200];
    if (!kit_matches(w.store, &w.now, message)) {
        fail_msg("%s", message);
    }
    test_assert_rc(pv__txn_begin(w.store, PV__TXN_WRITE, &t, &err), PV_ERR_IO, &err);
    test_assert_rc(pv__store_close(w.store, &err), PV_ERR_IO, &err);
    sim_free(s);
    test_mem_done(&t_mem);
}

static void test_store__real_files(void **state) {
    (void)state;
    static kit_world w;
    test_dir d;
    char path[600];
    pv_error err = PV_ERROR_INIT;
    pv__store *second = NULL;
    t_world(&w, 7);
    test_mem_init(&t_mem);
    test_dir_init(&d);
    test_dir_file(&d, "a.pv", path, sizeof path);
    pv__store_opts o = t_opts(NULL, path);
    for (int round = 0; round < 4; round++) {
        t_open(&w, o);
        t_matches(&w);
        for (int i = 0; i < 10; i++) {
            t_commit(&w, 30);
        }
        test_assert_rc(pv__store_open(&o, &second, &err), PV_ERR_BUSY, &err);
        assert_non_null(strstr(err.message, "process"));
        if (round % 2) {
            t_close(&w);
        } else {
            pv__store_abandon(w.store);
        }
    }
    test_dir_done(&d);
    test_mem_done(&t_mem);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store__pauses_ask_the_interrupt),
        cmocka_unit_test(test_store__memory_database_keeps_what_is_committed),
        cmocka_unit_test(test_store__clean_close_leaves_one_file_with_everything),
        cmocka_unit_test(test_store__clean_close_gives_the_free_slots_back),
        cmocka_unit_test(test_store__crash_at_any_commit_is_replayed),
        cmocka_unit_test(test_store__an_unproven_batch_is_adopted_from_its_first_record),
        cmocka_unit_test(test_store__a_failed_sync_of_a_checkpoint_refuses_the_open_transaction),
        cmocka_unit_test(test_store__long_free_lists_are_chained),
        cmocka_unit_test(test_store__rollback_leaves_no_trace),
        cmocka_unit_test(test_store__a_reader_sees_its_snapshot_for_ever),
        cmocka_unit_test(test_store__small_cache_evicts_and_spills),
        cmocka_unit_test(test_store__savepoints_undo_what_came_after_them),
        cmocka_unit_test(test_store__replay_cut_after_its_own_checkpoint),
        cmocka_unit_test(test_store__newer_formats_are_refused),
        cmocka_unit_test(test_store__what_is_not_durable_is_not_seen),
        cmocka_unit_test(test_store__real_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
