/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_keep.c - what is kept of pages that are not in memory: bounded, counted, of the right
 * version, and what is wanted stays; squeezed pages come back as they were, whole and in pieces. */
#include "test_store_mutants_kit.h"

enum { T_PAGES = 1200, T_ROW = 128, T_ROWS = 31 };
static uint64_t t_ids[T_PAGES];
static uint8_t t_scratch[PV__PIECES_MAX * 3 * 4096];

static uint32_t t_below(uint32_t n) { return (uint32_t)test_rng_below(&t_w.rng, n); }

/* ---- squeezing ------------------------------------------------------------------------------ */

static void t_same_after(const uint8_t *page, bool fits) {
    uint8_t bytes[PV__SQUEEZED_MAX + PV__SQUEEZED_PAD], back[PV__SLOT_SIZE];
    memset(bytes, 0xEE, sizeof bytes);
    const size_t size = pv__squeeze(page, bytes);
    assert_int_equal(size > 0, fits);
    assert_true(size <= PV__SQUEEZED_MAX);
    for (size_t i = PV__SQUEEZED_MAX; i < sizeof bytes; i++) {
        assert_int_equal(bytes[i], 0xEE);
    }
    if (!fits) {
        return;
    }
    memset(back, 0xEE, sizeof back);
    pv__unsqueeze(bytes, 0, sizeof back, back);
    assert_memory_equal(back, page, sizeof back);
    for (unsigned i = 0; i < 50; i++) {
        const uint32_t at = t_below(PV__SLOT_SIZE), n = 1 + t_below(PV__SLOT_SIZE - at);
        memset(back, 0xEE, sizeof back);
        pv__unsqueeze(bytes, at, n, back);
        assert_memory_equal(back + at, page + at, n);
    }
}

static void test_keep__a_squeezed_page_comes_back_as_it_was(void **state) {
    (void)state;
    uint32_t words[PV__SLOT_SIZE / 4];
    test_rng_init(&t_w.rng, 1);
    memset(words, 0, sizeof words);
    t_same_after((const uint8_t *)words, true);
    for (size_t at = 0; at < PV_COUNTOF(words); at += 7) {
        memset(words, 0, sizeof words);
        words[at] = UINT32_MAX;
        t_same_after((const uint8_t *)words, true);
    }
    static const unsigned few[] = {1, 2, 8, 17, 21, 24}, many[] = {30, 31, 32};
    for (unsigned n = 0; n < PV_COUNTOF(few) + PV_COUNTOF(many); n++) {
        const bool fits = n < PV_COUNTOF(few);
        const unsigned bits = fits ? few[n] : many[n - PV_COUNTOF(few)];
        for (size_t i = 0; i < PV_COUNTOF(words); i++) { /* and the highest bit, which is a flag */
            words[i] = (t_below(UINT32_MAX) >> (32 - bits)) | t_below(2) << 31;
            words[i] = t_below(5) == 0 ? 0 : words[i];
        }
        t_same_after((const uint8_t *)words, fits);
    }
}

/* ---- keeping -------------------------------------------------------------------------------- */

static void test_keep__is_bounded_and_what_is_wanted_stays(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    uint8_t bytes[300], got[300];
    t_begin(7, 8, 1);
    sim *s = sim_new(1);
    t_open(t_opts(sim_vfs(s)));
    const uint64_t before = atomic_load(&t_w.store->cache_bytes);
    pv__keep k;
    memset(&k, 0, sizeof k);
    test_assert_ok(pv__keep_init(&k, 20000, 200, &err), &err);
    assert_int_equal(pv__keep_get(&k, 1, 1, got, sizeof got), 0);
    unsigned there = 0;
    for (uint64_t id = 1; id < 4000; id++) {
        const size_t size = 100 + t_below(200);
        memset(bytes, (int)(id & 0xFF), sizeof bytes);
        (void)pv__keep_put(t_w.store, &k, id, id * 3, bytes, size);
        assert_true(k.bytes <= k.bytes_max);
        assert_int_equal(atomic_load(&t_w.store->cache_bytes) - before,
                         k.bytes + k.sets * 4 * sizeof(void *));
        const size_t n = pv__keep_get(&k, id, id * 3, got, sizeof got);
        assert_true(n == 0 || (n == size && memcmp(got, bytes, n) == 0));
        assert_int_equal(pv__keep_get(&k, id, id * 3 + 1, got, sizeof got), 0); /* an older page */
        for (uint64_t hot = 1; hot <= 10 && id >= hot; hot++) { /* asked for all the time */
            if (pv__keep_get(&k, hot, hot * 3, got, sizeof got) == 0) {
                (void)pv__keep_put(t_w.store, &k, hot, hot * 3, bytes, 100);
                there += id > 20;
            }
        }
    }
    assert_true(there < 400); /* of 40,000; a set may overflow */
    /* A newer version takes the place; too little room is none. */
    assert_true(pv__keep_put(t_w.store, &k, 5, 99, bytes, 200));
    assert_int_equal(pv__keep_get(&k, 5, 99, got, 199), 0);
    assert_int_equal(pv__keep_get(&k, 5, 99, got, 200), 200);
    assert_int_equal(pv__keep_get(&k, 5, 15, got, sizeof got), 0);
    for (unsigned i = 0; i < 4000 && k.bytes > 0; i++) { /* nobody asks */
        pv__keep_age(t_w.store, &k);
    }
    assert_int_equal(k.bytes, 0);
    pv__keep_done(t_w.store, &k);
    assert_int_equal(atomic_load(&t_w.store->cache_bytes), before);
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* ---- pages of a store ----------------------------------------------------------------------- */

static uint32_t t_word(size_t page, uint64_t round, size_t at) {
    const uint64_t h = pv__mix64(page * 1000003 + round * 77 + at);
    return h % 11 == 0 ? 0 : (uint32_t)(h >> 20 & 0x1FFFF) | (uint32_t)(h & 1) << 31;
}

static void t_write(size_t from, size_t to, uint64_t round) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint8_t *page = NULL;
    test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
    for (size_t i = from; i < to; i++) {
        if (round == 0) {
            test_assert_ok(
                pv__page_new(t, PV__PAGE_COLUMN, 1, 9, (uint32_t)i, &t_ids[i], &page, &err), &err);
        } else {
            test_assert_ok(pv__page_write(t, t_ids[i], PV__PAGE_COLUMN, &page, &err), &err);
        }
        for (size_t w = 0; w < T_ROWS * T_ROW / 4; w++) {
            pv__put32(page + PV__PAGE_HEAD + 4 * w, t_word(i, round, w));
        }
        test_assert_ok(pv__txn_pause(t, &err), &err);
    }
    test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
    t_checkpoint();
}

/* A row of the page, in one of two ways. */
static int t_row(pv__txn *t, size_t page, uint64_t round, bool piece, pv_error *err) {
    const uint32_t row = t_below(T_ROWS), offset = PV__PAGE_HEAD + row * T_ROW;
    uint8_t got[T_ROW];
    if (piece) {
        pv__piece p = {.page_id = t_ids[page], .offset = offset, .size = T_ROW, .to = got};
        PV_TRY(pv__page_pieces(t, PV__PAGE_COLUMN, &p, 1, t_scratch, err));
        assert_int_equal(p.owner, 9);
        assert_int_equal(p.ordinal, page);
        assert_int_equal(p.slots, 1);
    } else {
        const uint8_t *bytes = NULL;
        PV_TRY(pv__page_read(t, t_ids[page], PV__PAGE_COLUMN, &bytes, err));
        memcpy(got, bytes + offset, T_ROW);
    }
    for (size_t w = 0; w < T_ROW / 4; w++) {
        assert_int_equal(pv__get32(got + 4 * w), t_word(page, round, row * T_ROW / 4 + w));
    }
    return pv__txn_pause(t, err);
}

static sim *t_cramped(uint64_t seed, bool slabs) {
    t_begin(seed, 8, 1);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    pv__store_opts o = t_opts(sim_vfs(s));
    o.cache_bytes = T_PAGES / 4 * (uint64_t)5 * 1024;
    o.slab_bytes = slabs ? (uint64_t)64 << 10 : 0;
    t_open(o);
    t_write(0, T_PAGES, 0);
    return s;
}

static void t_end(sim *s) {
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

static void test_keep__pages_are_read_from_few_bits_and_right(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    for (unsigned slabs = 0; slabs < 2; slabs++) {
        pv__txn *old = NULL, *now = NULL;
        sim *s = t_cramped(1 + slabs, slabs);
        test_assert_ok(pv__txn_begin(t_w.store, 0, &old, &err), &err);
        for (unsigned i = 0; i < 4 * T_PAGES; i++) {
            test_assert_ok(t_row(old, i % T_PAGES, 0, i / T_PAGES % 2, &err), &err);
        }
        assert_in_range(t_w.store->squeezed.bytes, 100 * 1000, t_w.store->cache_limit / 5);
        t_write(0, T_PAGES / 2, 1); /* what was kept is of the older ones */
        test_assert_ok(pv__txn_begin(t_w.store, 0, &now, &err), &err);
        for (unsigned i = 0; i < 6 * T_PAGES; i++) {
            const size_t page = t_below(T_PAGES);
            test_assert_ok(t_row(old, page, 0, t_below(2), &err), &err);
            test_assert_ok(t_row(now, page, page < T_PAGES / 2, t_below(2), &err), &err);
        }
        assert_true(atomic_load(&t_w.store->cache_bytes) <= t_w.store->cache_limit + (256u << 10));
        pv__txn_rollback(old);
        pv__txn_rollback(now);
        t_end(s);
    }
}

/* Pages that are wanted again and again are not read again. */
static void test_keep__saves_reads(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    sim *s = t_cramped(3, false);
    enum { T_SOME = T_PAGES / 20 };
    test_assert_ok(pv__txn_begin(t_w.store, 0, &t, &err), &err);
    for (unsigned i = 0; i < T_PAGES; i++) {
        test_assert_ok(t_row(t, i, 0, false, &err), &err);
    }
    uint64_t before = 0;
    for (unsigned i = 0; i < 5 * T_SOME; i++) {
        before = i == T_SOME ? atomic_load(&t_w.store->misses) : before;
        t_w.store->cramped = true;
        test_assert_ok(t_row(t, i % T_SOME, 0, true, &err), &err);
    }
    assert_in_range(atomic_load(&t_w.store->misses) - before, 0, T_SOME); /* a set may overflow */
    pv__txn_rollback(t);
    t_end(s);
}

/* Each allocation fails in turn: an error, or the right row. */
static void test_keep__without_memory_it_is_an_error_or_right(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    unsigned failed = 0, right = 0;
    sim *s = t_cramped(4, false);
    test_assert_ok(pv__txn_begin(t_w.store, 0, &t, &err), &err);
    for (unsigned i = 0; i < T_PAGES; i++) {
        test_assert_ok(t_row(t, i, 0, false, &err), &err);
    }
    for (unsigned n = 0; n < 200; n++) {
        if (n % 20 == 0) {
            pv__keep_clear(t_w.store, &t_w.store->squeezed);
        }
        atomic_store(&t_mem.fail_at, atomic_load(&t_mem.calls) + 1 + n % 5);
        const int rc = t_row(t, t_below(T_PAGES), 0, n % 2, &err);
        atomic_store(&t_mem.fail_at, 0);
        assert_true(rc == PV_OK || rc == PV_ERR_NOMEM);
        failed += rc != PV_OK;
        right += rc == PV_OK;
    }
    assert_true(failed + right == 200 && right > 100);
    assert_true(t_w.store->squeezed.bytes > 0);
    pv__txn_rollback(t);
    t_end(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keep__a_squeezed_page_comes_back_as_it_was),
        cmocka_unit_test(test_keep__is_bounded_and_what_is_wanted_stays),
        cmocka_unit_test(test_keep__pages_are_read_from_few_bits_and_right),
        cmocka_unit_test(test_keep__saves_reads),
        cmocka_unit_test(test_keep__without_memory_it_is_an_error_or_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
