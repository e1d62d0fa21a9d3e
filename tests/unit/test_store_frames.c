/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_frames.c - memory for pages in slabs: what is in a frame stays in it, the budget holds
 * for slabs counted whole, memory wanders between sizes of pages, and a store that gets no slab
 * goes on. Slabs are small here, and asked for: debug builds have none by themselves. */
#include <stddef.h>

#include "test_store_mutants_kit.h"

#define T_SLAB ((uint64_t)256 << 10)

static pv__store_opts t_slabs(pv_vfs *vfs, uint64_t cache_bytes) {
    pv__store_opts o = t_opts(vfs);
    o.cache_bytes = cache_bytes;
    o.slab_bytes = T_SLAB;
    return o;
}

static uint64_t t_cached(void) { return atomic_load(&t_w.store->cache_bytes); }

static size_t t_slab_count(unsigned raw_slots) {
    const pv__frames *f = &t_w.store->frames;
    size_t n = 0;
    for (uint32_t i = 0; i < f->count; i++) {
        n += raw_slots == 0 || f->slabs[i]->raw_slots == raw_slots;
    }
    return n;
}

static pv__ver *t_frame(uint64_t page_id, unsigned raw_slots) {
    pv_error err = PV_ERROR_INIT;
    pv__ver *v = NULL;
    test_assert_ok(pv__ver_new(t_w.store, page_id, raw_slots, true, &v, &err), &err);
    assert_int_equal((uintptr_t)pv__ver_page(v) % 64, 0);
    memset(pv__ver_page(v), (int)page_id, (size_t)raw_slots * PV__SLOT_SIZE);
    return v;
}

static bool t_frame_is(pv__ver *v, uint64_t page_id) {
    const uint8_t *p = pv__ver_page(v);
    const size_t size = (size_t)v->raw_slots * PV__SLOT_SIZE;
    return v->page_id == page_id && p[0] == (uint8_t)page_id && memcmp(p, p + 1, size - 1) == 0;
}

static void test_frames__a_slab_is_counted_whole_and_its_frames_lie_side_by_side(void **state) {
    (void)state;
    pv__ver *v[40];
    t_begin(1, 8, 1);
    sim *s = sim_new(1);
    t_open(t_slabs(sim_vfs(s), 8u << 20));
    const uint64_t before = t_cached();
    for (size_t i = 0; i < PV_COUNTOF(v); i++) {
        v[i] = t_frame(100 + i, 2);
        assert_non_null(v[i]->slab);
    }
    assert_int_equal(t_slab_count(2), 2); /* 31 frames of 8,320 bytes each */
    for (size_t i = 0; i < PV_COUNTOF(v); i++) {
        assert_true(t_frame_is(v[i], 100 + i));
        if (i > 0 && i != 31) {
            assert_ptr_equal(v[i], (uint8_t *)v[i - 1] + pv__ver_bytes(2));
        }
    }
    assert_in_range(t_cached() - before, 2 * T_SLAB, 2 * T_SLAB + 2048);
    pv__ver_free(t_w.store, v[7]);
    v[7] = t_frame(300, 2);
    assert_ptr_equal(v[7], (uint8_t *)v[6] + pv__ver_bytes(2)); /* the same place again */
    for (size_t i = 0; i < PV_COUNTOF(v); i++) {
        assert_true(t_frame_is(v[i], i == 7 ? 300 : 100 + i));
        pv__ver_free(t_w.store, v[i]);
    }
    assert_int_equal(t_slab_count(0), 0);
    assert_int_equal(t_cached() - before, 2 * T_SLAB); /* kept: a sixteenth of the cache */
    v[0] = t_frame(9, 16);
    assert_int_equal(v[0]->slab->bytes, 2 * T_SLAB); /* 7 frames waste less than 3 in the half */
    assert_int_equal(t_cached() - before, 4 * T_SLAB + sizeof(pv__slab) + 7 * sizeof(uint32_t));
    pv__ver_free(t_w.store, v[0]);
    assert_int_equal(t_cached() - before, 2 * T_SLAB); /* no more than that: the newest */
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* ---- stock ---- */

/* Frames of 8 KiB with pages from `first` on, until there are so many slabs of them. */
static uint64_t t_slabs_of_frames(uint64_t first, size_t slabs) {
    const uint64_t per_slab = T_SLAB / pv__ver_bytes(2);
    for (uint64_t i = 0; i < slabs * per_slab; i++) {
        (void)t_frame(first + i, 2);
    }
    assert_int_equal(t_slab_count(2), (first - 100) / per_slab + slabs);
    return first + slabs * per_slab;
}

static void t_free_frames(void) {
    pv__frames *f = &t_w.store->frames;
    while (f->count > 0) {
        const pv__slab *b = f->slabs[0];
        const size_t size = pv__ver_bytes(b->raw_slots);
        for (uint32_t i = 0, left = b->used; left > 0; i++) {
            if (b->ids[i]) {
                left--;
                pv__ver_free(t_w.store, (pv__ver *)(void *)(b->base + i * size));
            }
        }
    }
}

static void t_ahead_of_load(void) {
    pv__frames_ahead(t_w.store);
    pv__helper_wait(&t_w.store->frames.stocker);
}

/* While a load goes on memory for the next slabs is there before they are: a quarter as much as is
 * in use, a sixteenth of the cache at most, counted like the rest and as empty. */
static void test_frames__memory_is_ready_before_a_load_needs_it(void **state) {
    (void)state;
    t_begin(1, 8, 1);
    sim *s = sim_new(1);
    const uint64_t limit = 24u << 20;
    pv__store_opts o = t_slabs(sim_vfs(s), limit);
    o.no_threads = false;
    t_open(o);
    pv__frames *f = &t_w.store->frames;
    t_ahead_of_load();
    assert_int_equal(f->stock_count, 0); /* nobody has a slab yet */
    uint64_t next = t_slabs_of_frames(100, 3);
    t_ahead_of_load();
    assert_int_equal(f->stock_count, 0); /* a small database stays small */
    next = t_slabs_of_frames(next, 9);
    const uint64_t before = t_cached();
    t_ahead_of_load();
    assert_int_equal(f->stock_count, 3);
    assert_int_equal(t_cached() - before, 3 * T_SLAB);
    assert_int_equal(atomic_load(&f->stock_bytes), 3 * T_SLAB);
    t_ahead_of_load();
    assert_int_equal(f->stock_count, 3);
    const void *base = f->stock[2].base;
    next = t_slabs_of_frames(next, 1);
    assert_int_equal(f->stock_count, 2);
    assert_ptr_equal(f->slabs[f->count - 1]->base, base);
    next = t_slabs_of_frames(next, 50);
    t_ahead_of_load();
    assert_int_equal(f->stock_count, limit / 16 / T_SLAB);
    t_free_frames();
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* The stock goes to whoever needs its bytes, in slabs of another size, before the budget is said to
 * be used up; a full cache has none made ready. */
static void test_frames__the_stock_is_part_of_the_budget(void **state) {
    (void)state;
    t_begin(1, 8, 1);
    sim *s = sim_new(1);
    const uint64_t limit = 16u << 20;
    pv__store_opts o = t_slabs(sim_vfs(s), limit);
    o.no_threads = false;
    t_open(o);
    pv__frames *f = &t_w.store->frames;
    const size_t most = (size_t)((limit - t_cached()) / (T_SLAB + 2048));
    uint64_t next = t_slabs_of_frames(100, most - 4);
    t_ahead_of_load();
    assert_int_equal(f->stock_count, 4);
    assert_true(t_cached() + T_SLAB > limit);
    pv__ver *v = t_frame(90000, 4); /* in a slab twice as long */
    assert_int_equal(v->slab->bytes, 2 * T_SLAB);
    assert_in_range(f->stock_count, 1, 2);
    assert_in_range(t_cached(), limit - 2 * T_SLAB, limit);
    const uint32_t left = f->stock_count;
    next = t_slabs_of_frames(next, left);
    t_ahead_of_load();
    assert_int_equal(f->stock_count, 0);
    assert_in_range(t_cached(), limit - T_SLAB, limit);
    pv__ver_free(t_w.store, v);
    t_free_frames();
    assert_true(f->stock_count > 0);
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

static void test_frames__without_threads_nothing_is_made_ready(void **state) {
    (void)state;
    t_begin(1, 8, 1);
    sim *s = sim_new(1);
    pv__store_opts o = t_slabs(sim_vfs(s), 24u << 20);
    o.no_threads = true;
    t_open(o);
    (void)t_slabs_of_frames(100, 12);
    t_ahead_of_load();
    assert_int_equal(t_w.store->frames.stock_count, 0);
    t_free_frames();
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* Slabs are 2 MiB, and hardly anybody has 32 MiB of cache for three records. */
static void test_frames__a_small_database_takes_no_slab(void **state) {
    (void)state;
    t_begin(2, 20, 4);
    pv__mem_init(&t_mem, NULL, 0);
    sim *s = sim_new(1);
    t_open(t_opts(sim_vfs(s)));
    t_commit(100, 0);
    assert_int_equal(t_slab_count(0), 0);
    assert_in_range(t_cached(), 4096, 1u << 20);
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* A page for each i < count, of slots slots, with content i. */
static void t_fill(uint64_t *ids, size_t count, unsigned slots) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
    for (size_t i = 0; i < count; i++) {
        uint8_t *page = NULL;
        test_assert_ok(pv__page_new(t, PV__PAGE_COLUMN, slots, 9, 0, &ids[i], &page, &err), &err);
        kit_fill(page, (size_t)slots * PV__SLOT_SIZE, ids[i]);
        test_assert_ok(pv__txn_pause(t, &err), &err);
    }
    test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
    t_checkpoint();
}

/* All pages, one after the other, in one transaction. Returns the most that was cached. */
static uint64_t t_read(const uint64_t *ids, size_t count, unsigned slots) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint64_t most = 0;
    test_assert_ok(pv__txn_begin(t_w.store, 0, &t, &err), &err);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *page = NULL;
        test_assert_ok(pv__page_read(t, ids[i], PV__PAGE_COLUMN, &page, &err), &err);
        assert_true(kit_is(page, (size_t)slots * PV__SLOT_SIZE, ids[i]));
        test_assert_ok(pv__txn_pause(t, &err), &err);
        most = PV_MAX(most, t_cached());
    }
    pv__txn_rollback(t);
    return most;
}

static void test_frames__memory_wanders_between_sizes_within_the_budget(void **state) {
    (void)state;
    enum { SMALL = 1500, LARGE = 120 };
    static uint64_t small[SMALL], large[LARGE];
    const uint64_t budget = 4u << 20;
    t_begin(3, 8, 1);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    t_open(t_slabs(sim_vfs(s), budget));
    t_fill(small, SMALL, 2); /* 12 MiB */
    t_fill(large, LARGE, 31);
    t_close();
    t_open(t_slabs(sim_vfs(s), budget));
    for (int round = 0; round < 3; round++) {
        assert_in_range(t_read(small, SMALL, 2), budget / 2, budget + T_SLAB / 2);
        assert_true(t_slab_count(2) * T_SLAB > budget / 2);
        assert_in_range(t_read(large, LARGE, 31), budget / 2, budget + T_SLAB / 2);
        assert_true(t_slab_count(2) * T_SLAB < budget / 2);
        assert_in_range(pv__frames_excess(t_w.store), 0, budget / 16);
    }
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* Half the cache is read again and again while pages of another size pass by once: it stays. */
static void t_used_stays(uint64_t slab_bytes) {
    enum { SMALL = 200, LARGE = 120 };
    static uint64_t small[SMALL], large[LARGE];
    t_begin(4, 8, 1);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    pv__store_opts o = t_slabs(sim_vfs(s), 4u << 20);
    o.slab_bytes = slab_bytes;
    t_open(o);
    t_fill(small, SMALL, 2);
    t_fill(large, LARGE, 16);
    t_close();
    t_open(o);
    t_read(small, SMALL, 2);
    t_read(small, SMALL, 2);
    const uint64_t before = atomic_load(&t_w.store->misses);
    for (size_t i = 0; i < LARGE; i++) {
        t_read(large + i, 1, 16);
        t_read(small, SMALL, 2);
    }
    assert_in_range(atomic_load(&t_w.store->misses) - before, LARGE, LARGE + SMALL / 2);
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

static void test_frames__what_is_used_stays(void **state) {
    (void)state;
    t_used_stays(T_SLAB);
}

static void test_frames__what_is_used_stays_among_single_frames(void **state) {
    (void)state;
    t_used_stays(0); /* the cache is too small for slabs of 2 MiB */
}

/* A graph beside its vectors: small pages that are read now and then outlive large ones of which
 * there are more than fit. */
static void test_frames__small_pages_stay_longer_than_large_ones(void **state) {
    (void)state;
    enum { SMALL = 300, LARGE = 120, STEPS = 1200, EACH = 2 };
    static uint64_t small[SMALL], large[LARGE];
    uint64_t missed = 0;
    t_begin(5, 8, 1);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    t_open(t_slabs(sim_vfs(s), 4u << 20));
    t_fill(small, SMALL, 1); /* 1.2 MiB */
    t_fill(large, LARGE, 16);
    t_close();
    t_open(t_slabs(sim_vfs(s), 4u << 20));
    t_read(small, SMALL, 1);
    for (size_t i = 0; i < STEPS; i++) { /* each small page at every 150th step */
        t_read(large + i % LARGE, 1, 16);
        const uint64_t before = atomic_load(&t_w.store->misses);
        t_read(small + i * EACH % SMALL, EACH, 1);
        missed += atomic_load(&t_w.store->misses) - before;
    }
    assert_in_range(missed, 0, STEPS * EACH / 10);
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* What eviction goes round is what is in memory, however many pages the database has. */
static void test_frames__the_ring_holds_the_single_frames(void **state) {
    (void)state;
    enum { PAGES = 600 };
    static uint64_t ids[PAGES];
    const uint64_t budget = 512u << 10;
    t_begin(7, 8, 1);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    pv__store_opts o = t_slabs(sim_vfs(s), budget);
    o.slab_bytes = 0;
    t_open(o);
    t_fill(ids, PAGES, 2);
    t_read(ids, PAGES, 2);
    const pv__frames *f = &t_w.store->frames;
    uint64_t n = 0;
    for (const pv__ver *v = f->ring; v && (n == 0 || v != f->ring); v = v->after, n++) {
        assert_null(v->slab);
        assert_ptr_equal(v->after->before, v);
    }
    assert_int_equal(n, f->ring_count);
    assert_in_range(n, 10, budget / pv__ver_bytes(1));
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* A snapshot pins what it reads; the store goes beyond its budget, and back when it ends. */
static void test_frames__excess_is_given_back(void **state) {
    (void)state;
    enum { PAGES = 150 };
    static uint64_t ids[PAGES], others[PAGES];
    const uint64_t budget = 2u << 20;
    const uint8_t *page[PAGES];
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    t_begin(5, 8, 1);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    t_open(t_slabs(sim_vfs(s), budget));
    t_fill(ids, PAGES, 8);
    t_fill(others, PAGES, 8);
    test_assert_ok(pv__txn_begin(t_w.store, 0, &t, &err), &err);
    for (size_t i = 0; i < PAGES; i++) { /* no pause: all pointers stay good */
        test_assert_ok(pv__page_read(t, ids[i], PV__PAGE_COLUMN, &page[i], &err), &err);
    }
    for (size_t i = 0; i < PAGES; i++) {
        assert_true(kit_is(page[i], 8 * PV__SLOT_SIZE, ids[i]));
    }
    assert_true(t_cached() > 2 * budget);
    assert_true(pv__frames_excess(t_w.store) > budget);
    pv__txn_rollback(t);
    t_read(others, PAGES, 8);
    assert_in_range(t_cached(), budget / 2, budget + T_SLAB / 2);
    assert_in_range(pv__frames_excess(t_w.store), 0, budget / 16);
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

static void test_frames__random_changes_with_a_small_cache(void **state) {
    (void)state;
    test_mem_init(&t_mem);
    for (uint64_t round = 0; round < 12; round++) {
        t_begin(100 + round, 60, round % 2 ? 16 : 4);
        pv__mem_init(&t_mem, NULL, 0);
        sim *s = sim_new(round);
        sim_log_enable(s, false);
        pv__store_opts o = t_slabs(sim_vfs(s), (round + 1) * (300u << 10));
        o.slab_bytes = T_SLAB >> (round % 3);
        t_open(o);
        for (int i = 0; i < 20; i++) {
            t_commit(30, 0);
            if (i % 4 == 3) {
                t_checkpoint();
            }
            if (i % 7 == 6) {
                t_close();
                t_open(o);
            }
            t_matches();
        }
        t_close();
        sim_free(s);
        test_mem_done(&t_mem);
    }
}

/* What is evicted while a reader holds pointers is not free before it pauses: its misses drive out
 * about as much as they bring, not as much again each time. */
static void test_frames__a_reader_that_does_not_pause_drives_out_what_it_brings(void **state) {
    (void)state;
    enum { PAGES = 160, HOT = 120, COLD = 24 };
    static uint64_t ids[PAGES];
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    const uint8_t *page = NULL;
    t_begin(7, 8, 1);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    const pv__store_opts o = t_slabs(sim_vfs(s), 9u << 20); /* about HOT pages */
    t_open(o);
    t_fill(ids, PAGES, 16);
    t_close();
    t_open(o);
    test_assert_ok(pv__txn_begin(t_w.store, 0, &t, &err), &err);
    for (size_t i = 0; i < HOT; i++) {
        test_assert_ok(pv__page_read(t, ids[i], PV__PAGE_COLUMN, &page, &err), &err);
        test_assert_ok(pv__txn_pause(t, &err), &err);
    }
    unsigned before = 0, after = 0;
    for (size_t i = 0; i < HOT; i++) {
        before += pv__page_whereabouts(t, ids[i]) != NULL;
    }
    assert_in_range(before, HOT - 16, HOT);
    for (size_t i = 0; i < COLD; i++) {
        test_assert_ok(pv__page_read(t, ids[HOT + i], PV__PAGE_COLUMN, &page, &err), &err);
    }
    for (size_t i = 0; i < HOT; i++) {
        after += pv__page_whereabouts(t, ids[i]) != NULL;
    }
    assert_in_range(before - after, COLD / 2, 2 * COLD);
    pv__txn_rollback(t);
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* Of a few readings with a cache to be filled, each allocation in turn fails: slabs too. */
static void test_frames__a_failed_allocation_is_an_error_or_nothing(void **state) {
    (void)state;
    enum { PAGES = 60 };
    static uint64_t ids[PAGES];
    pv__store_opts o = {.path = NULL};
    uint64_t failures = 0, n = 0;
    bool reached = true;
    t_begin(6, 8, 1);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    t_open(t_slabs(sim_vfs(s), 1u << 20));
    t_fill(ids, PAGES, 16);
    t_close();
    o = t_slabs(sim_vfs(s), 1u << 20);
    while (reached) {
        pv_error err = PV_ERROR_INIT;
        pv__txn *t = NULL;
        t_open(o);
        const uint64_t from = atomic_load(&t_mem.calls);
        atomic_store(&t_mem.fail_at, from + ++n);
        int rc = pv__txn_begin(t_w.store, 0, &t, &err);
        for (size_t i = 0; i < PAGES && !rc; i++) {
            const uint8_t *page = NULL;
            rc = pv__page_read(t, ids[i], PV__PAGE_COLUMN, &page, &err);
            if (!rc) {
                assert_true(kit_is(page, 16 * PV__SLOT_SIZE, ids[i]));
                rc = pv__txn_pause(t, &err);
            }
        }
        atomic_store(&t_mem.fail_at, 0);
        reached = atomic_load(&t_mem.calls) >= from + n;
        if (rc) {
            assert_int_equal(rc, PV_ERR_NOMEM);
            failures++;
        }
        pv__txn_rollback(t);
        t_read(ids, PAGES, 16);
        t_close();
    }
    assert_true(n > 8);
    assert_true(failures > 2 && failures < n - 1); /* without a slab a single frame does */
    sim_free(s);
    test_mem_done(&t_mem);
}

/* A database in memory uses its budget to less than a slab, then says so. */
static void test_frames__a_database_in_memory_uses_its_budget(void **state) {
    (void)state;
    const uint64_t budget = 3u << 20;
    t_begin(7, 8, 1);
    pv__store_opts o = t_slabs(NULL, budget);
    o.path = ":memory:";
    t_open(o);
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    int rc = PV_OK;
    uint64_t bytes = 0;
    test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
    while (!rc) {
        uint64_t id = 0;
        uint8_t *page = NULL;
        rc = pv__page_new(t, PV__PAGE_COLUMN, 4, 9, 0, &id, &page, &err);
        bytes += rc ? 0 : pv__ver_bytes(4);
    }
    assert_int_equal(rc, PV_ERR_LIMIT);
    assert_true(strstr(err.message, "budget") != NULL);
    assert_in_range(t_cached(), budget - pv__ver_bytes(4) - 4096, budget);
    assert_true(bytes > budget / 10 * 8);
    pv__txn_rollback(t);
    t_close();
    test_mem_done(&t_mem);
}

/* ---- what will be read soon ---- */

static uint64_t t_ahead_bytes, t_ahead_calls, t_ahead_end;

static void t_ahead(pv_vfs *vfs, pv_file *file, uint64_t offset, uint64_t size) {
    (void)vfs;
    (void)file;
    assert_int_equal(offset % PV__SLOT_SIZE, 0);
    assert_true(size > 0);
    t_ahead_bytes += size;
    t_ahead_end = PV_MAX(t_ahead_end, offset + size);
    t_ahead_calls++;
}

/* So many bytes, in few calls. */
static void t_ahead_counts(uint64_t most_calls, uint64_t bytes) {
    assert_true(t_ahead_calls <= most_calls);
    assert_int_equal(t_ahead_bytes, bytes);
    t_ahead_calls = t_ahead_bytes = 0;
}

static void test_pages__what_is_expected_and_absent_is_asked_of_the_disk_in_runs(void **state) {
    (void)state;
    enum { PAGES = 40 };
    static uint64_t ids[PAGES];
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    const uint8_t *page = NULL;
    const uint64_t size = 4 * PV__SLOT_SIZE;
    t_begin(8, 8, 1);
    sim *s = sim_new(1);
    pv_vfs *vfs = sim_vfs(s);
    vfs->ahead = t_ahead;
    t_ahead_calls = t_ahead_bytes = t_ahead_end = 0;
    t_open(t_opts(vfs));
    t_fill(ids, PAGES, 4);
    test_assert_ok(pv__txn_begin(t_w.store, 0, &t, &err), &err);
    pv__pages_expect(t, ids, PAGES);
    t_ahead_counts(0, 0); /* all in memory */
    assert_non_null(pv__page_whereabouts(t, ids[3]));
    pv__txn_rollback(t);
    t_close();
    t_open(t_opts(vfs));
    test_assert_ok(pv__txn_begin(t_w.store, 0, &t, &err), &err);
    assert_null(pv__page_whereabouts(t, ids[3]));
    pv__pages_expect(t, ids, PAGES);
    t_ahead_counts(3, PAGES * size);
    test_assert_ok(pv__page_read(t, ids[20], PV__PAGE_COLUMN, &page, &err), &err);
    assert_ptr_equal(pv__page_whereabouts(t, ids[20]), page);
    ids[10] = 0; /* no page */
    ids[5] = PV__PAGE_ID_MAX;
    pv__pages_expect(t, ids, PAGES);
    t_ahead_counts(6, (PAGES - 3) * size);
    pv__pages_expect(t, ids, 0);
    t_ahead_counts(0, 0);
    uint64_t bytes = 0;
    test_assert_ok(vfs->size(vfs, t_w.store->file, &bytes, &err), &err);
    assert_true(t_ahead_end <= bytes);
    vfs->struct_size = offsetof(pv_vfs, ahead); /* of a caller who does not know it */
    pv__pages_expect(t, ids, PAGES);
    t_ahead_counts(0, 0);
    pv__txn_rollback(t);
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* The database file while a log is replayed: what was asked for, by slot, and who read without. */
enum { T_SLOTS = 16384 };
static pv_file *t_data;
static uint8_t t_asked[T_SLOTS];
static uint64_t t_pages_asked, t_pages_not_asked, t_nodes_asked, t_nodes_not_asked;
static int (*t_sim_read)(pv_vfs *vfs, pv_file *file, pv_io *reqs, size_t n, pv_error *err);

static void t_ahead_note(pv_vfs *vfs, pv_file *file, uint64_t offset, uint64_t size) {
    t_ahead(vfs, file, offset, size);
    t_data = file;
    assert_true((offset + size) / PV__SLOT_SIZE <= T_SLOTS);
    memset(t_asked + offset / PV__SLOT_SIZE, 1, (size_t)(size / PV__SLOT_SIZE));
}

static int t_read_note(pv_vfs *vfs, pv_file *file, pv_io *reqs, size_t n, pv_error *err) {
    for (size_t i = 0; file == t_data && i < n; i++) {
        const bool asked = t_asked[reqs[i].offset / PV__SLOT_SIZE];
        *(reqs[i].size == PV__SLOT_SIZE ? asked ? &t_nodes_asked : &t_nodes_not_asked
          : asked                       ? &t_pages_asked
                                        : &t_pages_not_asked) += 1;
    }
    return t_sim_read(vfs, file, reqs, n, err);
}

/* Set the last byte of every step-th page, so many in one commit. */
static void t_touch(const uint64_t *ids, size_t count, size_t step, size_t at_once, uint8_t to) {
    pv_error err = PV_ERROR_INIT;
    for (size_t i = 0; i < count;) {
        pv__txn *t = NULL;
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        for (size_t n = 0; n < at_once && i < count; n++, i += step) {
            uint8_t *page = NULL;
            test_assert_ok(pv__page_write(t, ids[i], PV__PAGE_COLUMN, &page, &err), &err);
            page[pv__page_size(page) - 1] = to;
        }
        test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
    }
}

static void t_replay(sim *disk, const uint64_t *ids, size_t count, size_t step, uint8_t to) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint64_t bad = 0;
    memset(t_asked, 0, sizeof t_asked);
    t_data = NULL;
    t_ahead_calls = t_ahead_bytes = t_ahead_end = 0;
    t_pages_asked = t_pages_not_asked = t_nodes_asked = t_nodes_not_asked = 0;
    t_sim_read = sim_vfs(disk)->read;
    sim_vfs(disk)->read = t_read_note;
    t_open(t_opts(sim_vfs(disk)));
    sim_vfs(disk)->read = t_sim_read;
    test_assert_ok(pv__txn_begin(t_w.store, 0, &t, &err), &err);
    for (size_t i = 0; i < count; i += step) {
        const uint8_t *page = NULL;
        test_assert_ok(pv__page_read(t, ids[i], PV__PAGE_COLUMN, &page, &err), &err);
        assert_int_equal(page[pv__page_size(page) - 1], to);
    }
    pv__txn_rollback(t);
    test_assert_ok(pv__store_check(t_w.store, true, t_finding, NULL, &bad, &err), &err);
    assert_int_equal(bad, 0);
    t_close();
    sim_free(disk);
}

/* Small commits, a large one, pages that a commit names by reference and a later one changes:
 * whatever replay reads, it has asked for before; and it asks nothing where nobody listens. */
static void test_replay__asks_the_disk_for_pages_before_it_reads_them(void **state) {
    (void)state;
    enum { PAGES = 2000, MORE = 600, STEP = 3 };
    static uint64_t ids[PAGES + MORE];
    pv_error err = PV_ERROR_INIT;
    for (unsigned turn = 0; turn < 2; turn++) {
        pv__txn *t = NULL;
        t_begin(11, 8, 1);
        sim *s = sim_new(1);
        t_open(t_opts(sim_vfs(s)));
        t_fill(ids, PAGES, 4);
        t_touch(ids, PAGES, STEP, 5, 1);
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        for (size_t i = PAGES; i < PAGES + MORE; i++) { /* by reference: they are many */
            uint8_t *page = NULL;
            test_assert_ok(pv__page_new(t, PV__PAGE_COLUMN, 4, 9, 0, &ids[i], &page, &err), &err);
            kit_fill(page, 4 * (size_t)PV__SLOT_SIZE, ids[i]);
        }
        test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        t_touch(ids, PAGES, STEP, PAGES, 2);
        t_touch(ids + PAGES, MORE, 1, 50, 2);
        s = t_kill(s);
        if (turn == 1) {
            sim_vfs(s)->ahead = t_ahead_note;
        }
        t_replay(s, ids, PAGES, STEP, 2);
        const uint64_t changed = (PAGES + STEP - 1) / STEP + MORE;
        test_mem_done(&t_mem);
        if (turn == 0) {
            assert_int_equal(t_ahead_calls, 0);
            continue;
        }
        assert_int_equal(t_pages_asked, changed);
        assert_int_equal(t_pages_not_asked, 0);
        assert_int_equal(t_nodes_not_asked, 0);
        assert_in_range(t_nodes_asked, PAGES / PV__PT_FANOUT, PAGES / PV__PT_FANOUT + 6);
        assert_in_range(t_ahead_calls, 3, 30); /* neighbours, and what lies close by, in one */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames__a_slab_is_counted_whole_and_its_frames_lie_side_by_side),
        cmocka_unit_test(test_frames__memory_is_ready_before_a_load_needs_it),
        cmocka_unit_test(test_frames__the_stock_is_part_of_the_budget),
        cmocka_unit_test(test_frames__without_threads_nothing_is_made_ready),
        cmocka_unit_test(test_frames__a_small_database_takes_no_slab),
        cmocka_unit_test(test_frames__memory_wanders_between_sizes_within_the_budget),
        cmocka_unit_test(test_frames__what_is_used_stays),
        cmocka_unit_test(test_frames__what_is_used_stays_among_single_frames),
        cmocka_unit_test(test_frames__small_pages_stay_longer_than_large_ones),
        cmocka_unit_test(test_frames__the_ring_holds_the_single_frames),
        cmocka_unit_test(test_frames__excess_is_given_back),
        cmocka_unit_test(test_frames__random_changes_with_a_small_cache),
        cmocka_unit_test(test_frames__a_reader_that_does_not_pause_drives_out_what_it_brings),
        cmocka_unit_test(test_frames__a_failed_allocation_is_an_error_or_nothing),
        cmocka_unit_test(test_frames__a_database_in_memory_uses_its_budget),
        cmocka_unit_test(test_pages__what_is_expected_and_absent_is_asked_of_the_disk_in_runs),
        cmocka_unit_test(test_replay__asks_the_disk_for_pages_before_it_reads_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
