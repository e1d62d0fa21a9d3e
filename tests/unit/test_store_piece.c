/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_piece.c - bytes of pages that are read without the pages: right in every slot and
 * across them, of the version that the transaction sees, and damage is found, also where an old
 * slot lies in a new page. */
#include "test_store_mutants_kit.h"

enum { T_PAGES = 120, T_SLOTS = 16, T_SIZE = T_SLOTS * 4096 };
static uint64_t t_ids[T_PAGES];
static bool t_mixed; /* every other page has half the slots */
static uint8_t t_scratch[PV__PIECES_MAX * 4 * 4096];

static uint32_t t_below(uint32_t n) { return (uint32_t)test_rng_below(&t_w.rng, n); }

static uint8_t t_byte(uint64_t id, uint64_t round, size_t at) {
    return (uint8_t)pv__mix64(id * 1000003 + round * 77 + at / 8);
}

static unsigned t_slots(size_t i) { return t_mixed && i % 2 ? T_SLOTS / 2 : T_SLOTS; }

static void t_fill_page(uint8_t *page, uint64_t id, uint64_t round) {
    for (size_t at = pv__page_front(pv__page_slots(page)); at < pv__page_size(page); at++) {
        page[at] = t_byte(id, round, at);
    }
}

static void t_write(size_t from, size_t to, uint64_t round) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint8_t *page = NULL;
    test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
    for (size_t i = from; i < to; i++) {
        if (round == 0) {
            test_assert_ok(pv__page_new(t, PV__PAGE_COLUMN | PV__PAGE_BY_SLOT, t_slots(i), 9,
                                        (uint32_t)i, &t_ids[i], &page, &err),
                           &err);
        } else {
            test_assert_ok(pv__page_write(t, t_ids[i], PV__PAGE_COLUMN, &page, &err), &err);
        }
        t_fill_page(page, t_ids[i], round);
        test_assert_ok(pv__txn_pause(t, &err), &err);
    }
    test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
    t_checkpoint();
}

/* Pages in a store whose cache holds a sixth of them, and is full. */
static sim *t_full(uint64_t seed, bool slabs) {
    t_begin(seed, 8, 1);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    pv__store_opts o = t_opts(sim_vfs(s));
    o.cache_bytes = T_PAGES / 6 * (uint64_t)T_SIZE;
    o.slab_bytes = slabs ? (uint64_t)256 << 10 : 0;
    t_open(o);
    t_write(0, T_PAGES, 0);
    t_close();
    t_open(o);
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    const uint8_t *page = NULL;
    test_assert_ok(pv__txn_begin(t_w.store, 0, &t, &err), &err);
    for (size_t i = 0; i < T_PAGES; i++) {
        test_assert_ok(pv__page_read(t, t_ids[i], PV__PAGE_COLUMN, &page, &err), &err);
        test_assert_ok(pv__txn_pause(t, &err), &err);
    }
    pv__txn_rollback(t);
    assert_true(t_w.store->cramped);
    return s;
}

static void t_end(sim *s) {
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

static int t_piece(pv__txn *t, uint64_t id, uint32_t offset, uint32_t size, uint8_t *to,
                   pv_error *err) {
    pv__piece p = {.page_id = id, .offset = offset, .size = size, .to = to};
    return pv__page_pieces(t, PV__PAGE_COLUMN, &p, 1, t_scratch, err);
}

static void t_is_what_the_page_holds(bool slabs) {
    static uint8_t got[PV__PIECES_MAX][4096];
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    sim *s = t_full(1, slabs);
    const uint64_t versions = atomic_load(&t_w.store->versions);
    test_assert_ok(pv__txn_begin(t_w.store, 0, &t, &err), &err);
    for (unsigned round = 0; round < 400; round++) {
        pv__piece p[PV__PIECES_MAX];
        const size_t n = 1 + t_below(PV__PIECES_MAX);
        for (size_t i = 0; i < n; i++) {
            const uint32_t which = t_below(T_PAGES), from = pv__page_front(t_slots(which));
            p[i].size = 1 + t_below(4096);
            p[i].offset = from + t_below(t_slots(which) * 4096 - from - p[i].size + 1);
            p[i].page_id = t_ids[which];
            p[i].to = got[i];
        }
        test_assert_ok(pv__page_pieces(t, PV__PAGE_COLUMN, p, n, t_scratch, &err), &err);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(p[i].owner, 9);
            assert_int_equal(t_ids[p[i].ordinal], p[i].page_id);
            assert_int_equal(p[i].slots, t_slots(p[i].ordinal));
            for (size_t at = 0; at < p[i].size; at++) {
                assert_int_equal(got[i][at], t_byte(p[i].page_id, 0, p[i].offset + at));
            }
        }
        test_assert_ok(pv__txn_pause(t, &err), &err);
    }
    /* Most of it without frames, and the fronts are counted and bounded. */
    assert_true(atomic_load(&t_w.store->pieces) > 3000);
    assert_in_range(atomic_load(&t_w.store->versions), 1, versions + 8);
    assert_in_range(t_w.store->fronts.bytes, 1, t_w.store->cache_limit / 16 + 1);
    assert_true(atomic_load(&t_w.store->cache_bytes) <= t_w.store->cache_limit + T_SIZE);
    pv__txn_rollback(t);
    t_end(s);
}

static void test_piece__is_what_the_page_holds(void **state) {
    (void)state;
    t_is_what_the_page_holds(false);
    t_is_what_the_page_holds(true);
    t_mixed = true; /* a front takes the place of one of another length */
    t_is_what_the_page_holds(false);
    t_is_what_the_page_holds(true);
    t_mixed = false;
}

/* What is wanted often comes as a page after all. */
static void test_piece__a_page_that_is_wanted_often_comes(void **state) {
    (void)state;
    uint8_t got[64];
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    for (unsigned slabs = 0; slabs < 2; slabs++) { /* single frames have no size of their own */
        sim *s = t_full(2, slabs);
        test_assert_ok(pv__txn_begin(t_w.store, 0, &t, &err), &err);
        assert_null(pv__page_whereabouts(t, t_ids[0]));
        unsigned reads = 0;
        t_w.store->pieces = 1;
        for (; !pv__page_whereabouts(t, t_ids[0]); reads++) {
            assert_true(reads < 2000);
            test_assert_ok(t_piece(t, t_ids[0], 9000, sizeof got, got, &err), &err);
            t_w.store->piece_page = 0; /* not in a row */
            test_assert_ok(pv__txn_pause(t, &err), &err);
        }
        /* Rows of one page, one after the other: the fourth brings it. */
        assert_null(pv__page_whereabouts(t, t_ids[1]));
        for (unsigned i = 0; i < 4; i++) {
            assert_null(pv__page_whereabouts(t, t_ids[1]));
            t_w.store->pieces = 1;
            t_w.store->cramped = true;
            test_assert_ok(t_piece(t, t_ids[1], 9000 + 64 * i, sizeof got, got, &err), &err);
            assert_int_equal(got[0], t_byte(t_ids[1], 0, 9000 + 64 * i));
        }
        assert_non_null(pv__page_whereabouts(t, t_ids[1]));
        assert_in_range(reads, 32, slabs ? 128 : 1024);
        pv__txn_rollback(t);
        t_end(s);
    }
}

static void test_piece__is_of_the_version_that_the_transaction_sees(void **state) {
    (void)state;
    uint8_t got[200];
    pv_error err = PV_ERROR_INIT;
    pv__txn *old = NULL, *now = NULL;
    sim *s = t_full(3, false);
    test_assert_ok(pv__txn_begin(t_w.store, 0, &old, &err), &err);
    t_write(0, T_PAGES, 1);
    t_write(0, T_PAGES / 2, 2);
    test_assert_ok(pv__txn_begin(t_w.store, 0, &now, &err), &err);
    for (unsigned round = 0; round < 2000; round++) {
        const size_t i = t_below(T_PAGES);
        const uint32_t from = pv__page_front(T_SLOTS);
        const uint32_t at = from + t_below(T_SIZE - from - (uint32_t)sizeof got);
        const uint64_t want[2] = {0, i < T_PAGES / 2 ? 2 : 1};
        pv__txn *both[2] = {old, now};
        for (unsigned k = 0; k < 2; k++) {
            test_assert_ok(t_piece(both[k], t_ids[i], at, sizeof got, got, &err), &err);
            assert_int_equal(got[0], t_byte(t_ids[i], want[k], at));
            assert_int_equal(got[199], t_byte(t_ids[i], want[k], at + 199));
            test_assert_ok(pv__txn_pause(both[k], &err), &err);
        }
    }
    assert_true(atomic_load(&t_w.store->pieces) > 1000);
    pv__txn_rollback(old);
    pv__txn_rollback(now);
    t_end(s);
}

/* ---- damage --------------------------------------------------------------------------------- */

static uint64_t t_place(uint64_t id) {
    pv_error err = PV_ERROR_INIT;
    pv__pte pte;
    test_assert_ok(pv__table_lookup(t_w.store, id, &pte, &err), &err);
    assert_int_equal(pte.codec, PV__PTE_BY_SLOT);
    return pte.slot * PV__SLOT_SIZE;
}

static void t_disk(uint64_t at, void *data, size_t size, bool write) {
    pv_error err = PV_ERROR_INIT;
    test_assert_ok(write ? pv__vfs_write(t_w.store->vfs, t_w.store->file, at, data, size, &err)
                         : pv__vfs_read(t_w.store->vfs, t_w.store->file, at, data, size, &err),
                   &err);
}

/* A page that is not in memory. */
static uint64_t t_absent(pv__txn *t) {
    for (size_t i = 0; i < T_PAGES; i++) {
        if (!pv__page_whereabouts(t, t_ids[i])) {
            return t_ids[i];
        }
    }
    fail_msg("all pages are in memory");
    return 0;
}

/* Read a byte of each slot; what is right is right, and the slots in `bad` are refused. */
static void t_slots_are(pv__txn *t, uint64_t id, uint64_t round, uint32_t bad) {
    for (uint32_t i = 0; i < T_SLOTS; i++) {
        pv_error err = PV_ERROR_INIT;
        uint8_t got[8];
        const uint32_t at = i * 4096 + 1000;
        t_w.store->pieces = 1; /* not the one that brings the page */
        t_w.store->piece_page = 0;
        t_w.store->cramped = true;
        const int rc = t_piece(t, id, at, sizeof got, got, &err);
        if (bad >> i & 1) {
            assert_int_equal(rc, PV_ERR_CORRUPT);
            assert_non_null(strstr(err.message, "checksum differs"));
        } else {
            test_assert_ok(rc, &err);
            assert_int_equal(got[0], t_byte(id, round, at));
        }
        test_assert_ok(pv__txn_pause(t, &err), &err);
    }
}

static void test_piece__damage_is_found_in_the_slot_it_is_in(void **state) {
    (void)state;
    uint8_t byte = 0;
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    for (unsigned front = 0; front < 2; front++) { /* read before, or not */
        sim *s = t_full(4, false);
        test_assert_ok(pv__txn_begin(t_w.store, 0, &t, &err), &err);
        const uint64_t id = t_absent(t), at = t_place(id);
        if (front) {
            t_slots_are(t, id, 0, 0);
        }
        for (uint32_t i = 1; i < T_SLOTS; i += 3) {
            const uint64_t where = at + i * 4096 + 4095 * (i & 1);
            t_disk(where, &byte, 1, false);
            byte ^= 0x10;
            t_disk(where, &byte, 1, true);
            t_slots_are(t, id, 0, 1u << i);
            byte ^= 0x10;
            t_disk(where, &byte, 1, true);
        }
        t_slots_are(t, id, 0, 0);
        /* Of the front everything depends, until it is known. */
        for (uint64_t where = at; where < at + pv__page_front(T_SLOTS); where += 24) {
            t_disk(where, &byte, 1, false);
            byte ^= 0x80;
            t_disk(where, &byte, 1, true);
            pv__keep_clear(t_w.store, &t_w.store->fronts);
            t_slots_are(t, id, 0, 0xFFFF);
            byte ^= 0x80;
            t_disk(where, &byte, 1, true);
        }
        pv__txn_rollback(t);
        t_end(s);
    }
}

/* Slots of the page's last version, whole and consistent in themselves, in the place of new ones:
 * a write that was lost. */
static void test_piece__an_old_slot_in_a_new_page_is_found(void **state) {
    (void)state;
    static uint8_t old[T_SIZE], fresh[T_SIZE];
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    sim *s = t_full(5, false);
    test_assert_ok(pv__txn_begin(t_w.store, 0, &t, &err), &err);
    const uint64_t id = t_absent(t);
    pv__txn_rollback(t);
    t_disk(t_place(id), old, sizeof old, false);
    t_write(0, T_PAGES, 1);
    test_assert_ok(pv__txn_begin(t_w.store, 0, &t, &err), &err);
    const uint8_t *page = NULL;
    for (size_t i = 0; i < T_PAGES; i++) {
        if (t_ids[i] != id) {
            test_assert_ok(pv__page_read(t, t_ids[i], PV__PAGE_COLUMN, &page, &err), &err);
            test_assert_ok(pv__txn_pause(t, &err), &err);
        }
    }
    const uint64_t at = t_place(id);
    t_disk(at, fresh, sizeof fresh, false);
    for (uint32_t i = 1; i < T_SLOTS; i++) {
        t_disk(at + i * 4096, old + i * 4096, 4096, true);
        t_slots_are(t, id, 1, 1u << i);
        t_disk(at + i * 4096, fresh + i * 4096, 4096, true);
    }
    t_slots_are(t, id, 1, 0);
    pv__keep_clear(t_w.store, &t_w.store->fronts);
    t_disk(at, old, sizeof old, true); /* all of it: the entry tells */
    t_slots_are(t, id, 1, 0xFFFF);
    pv__txn_rollback(t);
    t_end(s);
}

/* Each allocation, and each read, fails in turn: an error, or the right bytes. */
static void test_piece__what_fails_is_an_error_or_nothing(void **state) {
    (void)state;
    uint8_t got[16];
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    unsigned failed = 0, right = 0;
    sim *s = t_full(6, false);
    for (unsigned n = 1; n < 40; n++) {
        test_assert_ok(pv__txn_begin(t_w.store, 0, &t, &err), &err);
        const uint64_t id = t_absent(t);
        pv__keep_clear(t_w.store, &t_w.store->fronts);
        t_w.store->pieces = n % 2; /* 0: the page comes */
        atomic_store(&t_mem.fail_at, atomic_load(&t_mem.calls) + 1 + n / 2 % 5);
        const int rc = t_piece(t, id, 20000, sizeof got, got, &err);
        atomic_store(&t_mem.fail_at, 0);
        if (rc) {
            assert_int_equal(rc, PV_ERR_NOMEM);
            failed++;
        } else {
            assert_int_equal(got[0], t_byte(id, 0, 20000));
            right++;
        }
        pv__txn_rollback(t);
    }
    assert_true(failed > 0 && right > 20);
    t_end(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_piece__is_what_the_page_holds),
        cmocka_unit_test(test_piece__a_page_that_is_wanted_often_comes),
        cmocka_unit_test(test_piece__is_of_the_version_that_the_transaction_sees),
        cmocka_unit_test(test_piece__damage_is_found_in_the_slot_it_is_in),
        cmocka_unit_test(test_piece__an_old_slot_in_a_new_page_is_found),
        cmocka_unit_test(test_piece__what_fails_is_an_error_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
