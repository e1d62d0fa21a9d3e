/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_image.c - pages that go to slots before the record: finished ones, with and without a
 * second thread, and a disk that is full when a superblock is written. */
#include "test_store_mutants_kit.h"

#define T_PAGES 40u
#define T_SLOTS 16u /* 40 pages of 64 KiB: more than a commit takes into its record */
#define T_LARGE (256u << 20)

/* ---- finished pages ------------------------------------------------------------------------ */

typedef struct t_load {
    uint64_t ids[T_PAGES];
    uint64_t seeds[T_PAGES]; /* 0: freed */
} t_load;

static void t_write(pv__txn *t, t_load *l, size_t i, uint64_t seed) {
    pv_error err = PV_ERROR_INIT;
    uint8_t *page = NULL;
    test_assert_ok(pv__page_write(t, l->ids[i], PV__PAGE_COLUMN, &page, &err), &err);
    kit_fill(page, (size_t)T_SLOTS * PV__SLOT_SIZE, seed);
    l->seeds[i] = seed;
}

/* New pages, each declared finished as soon as it is filled. */
static void t_fill(pv__txn *t, t_load *l, uint64_t seed) {
    pv_error err = PV_ERROR_INIT;
    uint8_t *page = NULL;
    for (size_t i = 0; i < T_PAGES; i++) {
        test_assert_ok(
            pv__page_new(t, PV__PAGE_COLUMN, T_SLOTS, 7, (uint32_t)i, &l->ids[i], &page, &err),
            &err);
        kit_fill(page, (size_t)T_SLOTS * PV__SLOT_SIZE, seed + i);
        l->seeds[i] = seed + i;
        pv__page_finished(t, l->ids[i]);
    }
}

static void t_expect(const t_load *l) {
    pv_error err = PV_ERROR_INIT;
    const uint8_t *page = NULL;
    uint64_t bad = 0;
    pv__txn *t = NULL;
    test_assert_ok(pv__txn_begin(t_w.store, 0, &t, &err), &err);
    for (size_t i = 0; i < T_PAGES; i++) {
        if (l->seeds[i]) {
            test_assert_ok(pv__page_read(t, l->ids[i], PV__PAGE_COLUMN, &page, &err), &err);
            assert_true(kit_is(page, (size_t)T_SLOTS * PV__SLOT_SIZE, l->seeds[i]));
        } else {
            test_assert_rc(pv__page_read(t, l->ids[i], PV__PAGE_COLUMN, &page, &err),
                           PV_ERR_CORRUPT, NULL);
        }
    }
    pv__txn_rollback(t);
    test_assert_ok(pv__store_check(t_w.store, true, t_finding, NULL, &bad, &err), &err);
    assert_int_equal(bad, 0);
}

static uint64_t t_slots_in_use(void) {
    pv__store_stats st;
    pv__store_stats_get(t_w.store, &st);
    return t_w.store->space.count - st.free_slots;
}

static sim *t_start(bool threads, uint64_t cache_bytes) {
    t_begin(5, 8, 1);
    sim *s = sim_new(1);
    pv__store_opts o = t_opts(sim_vfs(s));
    o.no_threads = !threads;
    o.cache_bytes = cache_bytes;
    o.slab_bytes = cache_bytes >= T_LARGE ? 256u << 10 : 0; /* of which some are made ready */
    t_open(o);
    return s;
}

/* Changed, freed, kept by a savepoint, rolled back: whatever becomes of a finished page, the commit
 * holds what was written last. */
static void test_image__finished_pages_may_change_all_the_same(void **state) {
    (void)state;
    static const uint64_t caches[] = {64u << 20, 1u << 20, T_LARGE}; /* the last: long runs */
    for (unsigned round = 0; round < 12; round++) {
        const bool threads = round & 1, savepoint = round & 2;
        sim *s = t_start(threads, caches[round / 4]);
        pv_error err = PV_ERROR_INIT;
        pv__txn *t = NULL;
        uint32_t number = 0;
        t_load l;
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        t_fill(t, &l, 1000);
        for (size_t i = 0; i < PV_COUNTOF(t_w.store->images.crew); i++) {
            pv__helper_wait(&t_w.store->images.crew[i]);
        }
        t_write(t, &l, 3, 77); /* with threads it is in slots by now */
        test_assert_ok(pv__page_free(t, l.ids[5], &err), &err);
        l.seeds[5] = 0;
        test_assert_ok(pv__txn_pause(t, &err), &err);
        if (savepoint) {
            const t_load before = l;
            test_assert_ok(pv__txn_savepoint(t, &number, &err), &err);
            t_write(t, &l, 3, 78);
            t_write(t, &l, 9, 79);
            pv__page_finished(t, l.ids[9]);
            test_assert_ok(pv__txn_rollback_to(t, number, &err), &err);
            l = before;
        }
        t_write(t, &l, 11, 80);
        pv__page_finished(t, l.ids[11]);
        test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        t_expect(&l);
        sim *image = sim_image(s, sim_op_count(s), SIM_CUT_DROP_ALL, 1);
        t_close(); /* with its thread */
        sim_free(s);
        pv__store_opts o = t_opts(sim_vfs(image));
        t_open(o);
        t_expect(&l);
        t_close();
        sim_free(image);
        test_mem_done(&t_mem);
    }
}

static void test_image__rollback_gives_all_slots_back(void **state) {
    (void)state;
    for (unsigned threads = 0; threads < 2; threads++) {
        sim *s = t_start(threads, 64u << 20);
        pv_error err = PV_ERROR_INIT;
        pv__txn *t = NULL;
        t_load l, gone;
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        t_fill(t, &l, 1);
        test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        const uint64_t used = t_slots_in_use();
        for (unsigned i = 0; i < 4; i++) {
            test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
            t_fill(t, &gone, 100);
            pv__txn_rollback(t);
            assert_int_equal(t_slots_in_use(), used);
        }
        t_expect(&l);
        t_close();
        sim_free(s);
        test_mem_done(&t_mem);
    }
}

/* Is the page there, in the newest state? */
static bool t_is_there(uint64_t page_id) {
    pv_error err = PV_ERROR_INIT;
    const uint8_t *page = NULL;
    pv__txn *t = NULL;
    test_assert_ok(pv__txn_begin(t_w.store, 0, &t, &err), &err);
    const int rc = pv__page_read(t, page_id, PV__PAGE_COLUMN, &page, &err);
    pv__txn_rollback(t);
    return rc == 0;
}

/* Emptied, with pages on their way to slots, it gives all of them back and goes on as if new: with
 * the same page ids and slots for something else. No power cut shows what was undone. */
static void test_image__an_undone_transaction_goes_on(void **state) {
    (void)state;
    for (unsigned threads = 0; threads < 2; threads++) {
        sim *s = t_start(threads, 64u << 20);
        pv_error err = PV_ERROR_INIT;
        pv__txn *t = NULL;
        t_load first, gone, second;
        unsigned shown[2] = {0, 0};
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        t_fill(t, &first, 1);
        test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        const uint64_t used = t_slots_in_use();
        const size_t from = sim_op_count(s);
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        t_load changed = first;
        t_fill(t, &gone, 100);
        t_write(t, &changed, 3, 500);
        pv__txn_doom(t, PV_ERR_NOMEM);
        pv__txn_undo(t);
        assert_false(pv__txn_is_dirty(t));
        assert_int_equal(t_slots_in_use(), used);
        t_fill(t, &second, 200);
        assert_int_equal(second.ids[0], gone.ids[0]);
        test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        t_expect(&first);
        t_expect(&second);
        const size_t to = sim_op_count(s);
        t_close();
        for (size_t upto = from; upto <= to; upto++) {
            for (unsigned cut = SIM_CUT_DROP_ALL; cut <= SIM_CUT_TORN_4K; cut++) {
                sim *image = sim_image(s, upto, (sim_cut)cut, upto + 1);
                t_open(t_opts(sim_vfs(image)));
                const bool there = t_is_there(second.ids[0]);
                t_expect(&first);
                if (there) {
                    t_expect(&second);
                }
                shown[there]++;
                t_close();
                sim_free(image);
            }
        }
        assert_true(shown[0] > 0 && shown[1] > 0);
        sim_free(s);
        test_mem_done(&t_mem);
    }
}

/* The same pages and the same record size whoever wrote them, and one sync of the file. */
static void test_image__a_second_thread_changes_no_content(void **state) {
    (void)state;
    uint64_t sums[2] = {0, 0}, lsn[2] = {0, 0};
    for (unsigned threads = 0; threads < 2; threads++) {
        sim *s = t_start(threads, 64u << 20);
        pv_error err = PV_ERROR_INIT;
        pv__txn *t = NULL;
        pv__store_stats st;
        t_load l;
        t_commit(3, 0); /* the segment is there */
        const uint64_t before = sim_calls(s, SIM_SYNC, SIM_CLASS_DB);
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        t_fill(t, &l, 31);
        test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        assert_int_equal(sim_calls(s, SIM_SYNC, SIM_CLASS_DB) - before, 1);
        pv__store_stats_get(t_w.store, &st);
        sums[threads] = st.db_checksum;
        lsn[threads] = st.lsn;
        t_close();
        sim_free(s);
        test_mem_done(&t_mem);
    }
    assert_int_equal(sums[0], sums[1]);
    assert_int_equal(lsn[0], lsn[1]);
}

/* A write that fails once, in whichever thread, is made good. One that fails for good refuses the
 * commit and nothing else; or, where it was the last and another thread's, its pages go with the
 * log and the commit is made. */
static void test_image__failed_writes(void **state) {
    (void)state;
    for (unsigned round = 0; round < 12; round++) {
        sim *s = t_start(round & 1, 64u << 20);
        const bool for_good = round & 2;
        pv_error err = PV_ERROR_INIT;
        pv__txn *t = NULL;
        t_load l, gone;
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        t_fill(t, &l, 1);
        test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        const uint64_t used = t_slots_in_use();
        const sim_fault fault = {SIM_FAULT_FULL, SIM_WRITE, SIM_CLASS_DB, round / 4 + 1, for_good};
        sim_fault_set(s, &fault);
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        t_fill(t, &gone, 100);
        const int rc = pv__txn_commit(t, NULL, &err);
        const bool alone = (round & 1) == 0, hit = sim_fault_hits(s) > 0;
        sim_fault_set(s, NULL);
        if (rc) {
            assert_int_equal(rc, PV_ERR_FULL);
            assert_int_equal(t_slots_in_use(), used);
        } else {
            assert_false(for_good && alone && hit);
        }
        t_expect(&l);
        if (!rc) {
            t_expect(&gone);
        }
        t_commit(5, 0);
        t_close();
        sim_free(s);
        test_mem_done(&t_mem);
    }
}

/* A larger file is given space ahead, so that several threads may write its end. It is a hint: a
 * disk that has none changes nothing, a crash leaves a longer file, and a close the shortest. */
static void test_image__space_ahead(void **state) {
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        sim *s = t_start(round > 0, 64u << 20);
        pv_error err = PV_ERROR_INIT;
        pv__store_stats st;
        pv__txn *t = NULL;
        t_load l[6];
        const sim_fault full = {SIM_FAULT_FULL, SIM_ALLOCATE, SIM_CLASS_DB, 1, true};
        sim_fault_set(s, round == 2 ? &full : NULL);
        for (size_t i = 0; i < PV_COUNTOF(l); i++) {
            test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
            t_fill(t, &l[i], 1000 * i + 1);
            test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        }
        sim_fault_set(s, NULL);
        pv__store_stats_get(t_w.store, &st);
        const uint64_t wanted = t_w.store->space.count * PV__SLOT_SIZE;
        assert_int_equal(st.file_bytes > wanted, round == 1);
        assert_true(st.file_bytes <= wanted + wanted / 8);
        for (size_t i = 0; i < PV_COUNTOF(l); i++) {
            t_expect(&l[i]);
        }
        sim *image = sim_image(s, sim_op_count(s), SIM_CUT_KEEP_ALL, 1);
        t_close();
        sim_free(s);
        pv__store_opts o = t_opts(sim_vfs(image));
        t_open(o);
        for (size_t i = 0; i < PV_COUNTOF(l); i++) {
            t_expect(&l[i]);
        }
        t_commit(3, 0);
        t_close();
        t_open(o);
        pv__store_stats_get(t_w.store, &st);
        assert_true(st.file_bytes <
                    PV_COUNTOF(l) * T_PAGES * (T_SLOTS * PV__SLOT_SIZE) + (1u << 20));
        t_close();
        sim_free(image);
        test_mem_done(&t_mem);
    }
}

/* ---- a full disk and the superblock -------------------------------------------------------- */

/* Every image of the operations [from, to] holds one of the two states. */
static void t_images_hold(sim *s, size_t from, size_t to, const kit_state *a, const kit_state *b) {
    pv__store *open = t_w.store;
    for (size_t upto = from; upto <= to; upto++) {
        char why[200];
        sim *image = sim_image(s, upto, SIM_CUT_KEEP_ALL, 1);
        pv__store_opts o = t_opts(sim_vfs(image));
        o.create = false;
        t_open(o);
        if (!kit_matches(t_w.store, a, why) && !kit_matches(t_w.store, b, why)) {
            fail_msg("after %zu of %zu operations: %s", upto - from, to - from, why);
        }
        pv__store_abandon(t_w.store);
        t_w.store = open;
        sim_free(image);
    }
}

/* The checkpoint fails, nothing else does; whatever of the superblock has reached the disk, an
 * image taken now or later opens. */
static void test_image__full_disk_at_the_superblock_of_a_checkpoint(void **state) {
    (void)state;
    bool passed = false;
    for (uint64_t nth = 1; !passed; nth++) {
        t_begin(nth, 14, 2); /* few pages: what counts are the last writes */
        sim *s = sim_new(nth);
        pv__store_opts o = t_opts(sim_vfs(s));
        pv_error err = PV_ERROR_INIT;
        t_open(o);
        t_commit(20, 0);
        t_checkpoint();
        t_commit(20, 0);
        for (unsigned again = 0; again < 3; again++) {
            const sim_fault full = {SIM_FAULT_FULL, SIM_WRITE, SIM_CLASS_DB, nth, true};
            sim_fault_set(s, &full);
            const int rc = pv__store_checkpoint(t_w.store, &err);
            passed = rc == 0;
            assert_true(passed || rc == PV_ERR_FULL);
            sim_fault_set(s, NULL);
            t_matches();
            for (unsigned cut = 0; cut < 4; cut++) {
                static const sim_cut modes[] = {SIM_CUT_DROP_ALL, SIM_CUT_KEEP_ALL, SIM_CUT_SUBSET,
                                                SIM_CUT_TORN_512};
                t_image_matches(sim_image(s, sim_op_count(s), modes[cut], nth), 64u << 20);
            }
            t_commit(10, 0);
            t_matches();
        }
        for (unsigned i = 0; i < 4; i++) { /* slots of the failed ones come back */
            t_commit(2, 0);
            const size_t from = sim_op_count(s);
            t_checkpoint();
            if (i == 0) { /* the superblock that failed is good until the next has its place */
                t_images_hold(s, from, sim_op_count(s), &t_w.now, &t_w.now);
            }
            t_image_matches(sim_image(s, sim_op_count(s), SIM_CUT_DROP_ALL, 1), 64u << 20);
        }
        const uint64_t used = t_slots_in_use();
        t_matches();
        t_close();
        t_open(o);
        t_commit(1, 0);
        assert_true(t_slots_in_use() <= used + 64); /* nothing that only a reopening would find */
        assert_true(used <= t_slots_in_use() + 64);
        t_close();
        sim_free(s);
        test_mem_done(&t_mem);
    }
}

/* The first commit after a clean close has its segment, but no room for the word that it is
 * required: it is refused, the next one, larger than that segment, goes through. */
static void test_image__full_disk_at_the_word_that_the_log_is_required(void **state) {
    (void)state;
    for (uint64_t nth = 1; nth <= 2; nth++) {
        t_begin(nth, 60, 16);
        sim *s = sim_new(nth);
        pv__store_opts o = t_opts(sim_vfs(s));
        pv_error err = PV_ERROR_INIT;
        pv__txn *t = NULL;
        t_open(o);
        t_commit(2, 0);
        t_close();
        t_open(o);
        const kit_state was = t_w.now;
        for (unsigned again = 0; again < 2; again++) {
            const sim_fault full = {SIM_FAULT_FULL, SIM_WRITE, SIM_CLASS_DB, nth, true};
            sim_fault_set(s, &full);
            test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
            test_assert_ok(kit_mutate(&t_w, t, 2, &err), &err);
            test_assert_rc(pv__txn_commit(t, NULL, &err), PV_ERR_FULL, &err);
            sim_fault_set(s, NULL);
            t_w.now = was;
            t_matches();
            for (unsigned cut = SIM_CUT_DROP_ALL; cut <= SIM_CUT_TORN_4K; cut++) {
                t_image_matches(sim_image(s, sim_op_count(s), (sim_cut)cut, nth), 64u << 20);
            }
        }
        const size_t from = sim_op_count(s);
        t_commit(25, 0); /* images of new pages: more than the first 64 KiB of log */
        assert_true(t_w.store->log.segs[0].cap > 64u << 10);
        assert_int_equal(t_w.store->log.seg_count, 1);
        t_images_hold(s, from, sim_op_count(s), &was, &t_w.now);
        t_matches();
        t_image_matches(sim_image(s, sim_op_count(s), SIM_CUT_DROP_ALL, 1), 64u << 20);
        t_close();
        t_open(o);
        t_matches();
        t_close();
        sim_free(s);
        test_mem_done(&t_mem);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image__finished_pages_may_change_all_the_same),
        cmocka_unit_test(test_image__rollback_gives_all_slots_back),
        cmocka_unit_test(test_image__an_undone_transaction_goes_on),
        cmocka_unit_test(test_image__a_second_thread_changes_no_content),
        cmocka_unit_test(test_image__failed_writes),
        cmocka_unit_test(test_image__space_ahead),
        cmocka_unit_test(test_image__full_disk_at_the_superblock_of_a_checkpoint),
        cmocka_unit_test(test_image__full_disk_at_the_word_that_the_log_is_required),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
