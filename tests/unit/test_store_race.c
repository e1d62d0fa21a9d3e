/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_race.c - what another thread does in the middle of a call, done by this thread at that
 * very place: from the allocator, which calls are known to ask. Found by tests/sched. And what
 * several threads do with one transaction. */
#include <stdio.h>
#include <stdlib.h>

#include "sim/sim_vfs.h"
#include "store/internal.h"
#include "support/store_kit.h"

static pv__store *t_store;
static void (*t_hook)(void); /* called by the next allocation, once */

static void *t_realloc(void *ctx, void *p, size_t old_size, size_t new_size) {
    void (*hook)(void) = t_hook;
    (void)ctx;
    if (new_size == 0) {
        if (p) {
            memset(p, 0xDD, old_size);
        }
        free(p);
        return NULL;
    }
    if (hook) {
        t_hook = NULL;
        hook();
    }
    return realloc(p, new_size);
}

static uint64_t t_victim; /* page that has to leave memory */
static bool t_gone;

/* A page that was used gets more than one chance. */
static void t_evict_victim(void) {
    pv__xent *x = pv__xlat_find(t_store, t_victim);
    assert_non_null(x);
    for (uint32_t round = 0; round < 2 * PV__USED_NOW && !t_gone; round++) {
        t_store->evict_again_at = 0;
        pv__ver_evict(t_store, 1, (uint64_t)1 << 40);
        t_gone = atomic_load(&x->frame) == 0;
    }
}

static uint64_t t_new_page(uint64_t seed) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint64_t id = 0;
    uint8_t *page = NULL;
    test_assert_ok(pv__txn_begin(t_store, PV__TXN_WRITE, &t, &err), &err);
    test_assert_ok(pv__page_new(t, PV__PAGE_COLUMN, 1, 7, 0, &id, &page, &err), &err);
    kit_fill(page, PV__SLOT_SIZE, seed);
    test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
    return id;
}

static void t_expect_page(pv__txn *t, uint64_t id, uint64_t seed) {
    pv_error err = PV_ERROR_INIT;
    const uint8_t *page = NULL;
    test_assert_ok(pv__page_read(t, id, PV__PAGE_COLUMN, &page, &err), &err);
    assert_true(kit_is(page, PV__SLOT_SIZE, seed));
    test_assert_ok(pv__txn_pause(t, &err), &err);
}

/* A page is freed; between finding its newest version and saying so in its entry that version is
 * evicted. Who reads an older state needs it all the same. */
static void test_race__a_page_evicted_while_it_is_freed_stays_for_older_readers(void **state) {
    (void)state;
    static const pv_allocator hooked = {NULL, t_realloc};
    pv__mem mem;
    pv_error err = PV_ERROR_INIT;
    pv__txn *reader = NULL, *t = NULL;
    sim *disk = sim_new(1);
    pv__mem_init(&mem, &hooked, 0);
    const pv__store_opts o = {.path = "a.pv",
                              .vfs = sim_vfs(disk),
                              .mem = &mem,
                              .create = true,
                              .no_threads = true,
                              .cache_bytes = 64u << 20,
                              .log_segment_bytes = 64u << 10};
    test_assert_ok(pv__store_open(&o, &t_store, &err), &err);
    const uint64_t id = t_new_page(77);
    test_assert_ok(pv__store_checkpoint(t_store, &err), &err);
    test_assert_ok(pv__txn_begin(t_store, 0, &reader, &err), &err);
    t_expect_page(reader, id, 77);
    test_assert_ok(pv__txn_begin(t_store, PV__TXN_WRITE, &t, &err), &err);
    t_victim = id;
    t_gone = false;
    t_hook = t_evict_victim;
    test_assert_ok(pv__page_free(t, id, &err), &err);
    assert_null(t_hook);
    assert_true(t_gone);
    test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
    t_expect_page(reader, id, 77);
    pv__txn_rollback(reader);
    test_assert_ok(pv__txn_begin(t_store, 0, &reader, &err), &err);
    const uint8_t *page = NULL;
    test_assert_rc(pv__page_read(reader, id, PV__PAGE_COLUMN, &page, &err), PV_ERR_CORRUPT, &err);
    pv__txn_rollback(reader);
    test_assert_ok(pv__store_close(t_store, &err), &err);
    sim_free(disk);
    test_mem_done(&mem);
}

/* ---- several threads read one transaction -------------------------------------------------- */

#define T_THREADS 4u
#define T_SPILLED 200u

static uint64_t t_ids[T_SPILLED];

typedef struct t_reading {
    pv__txn *txn;
    _Atomic uint32_t *ready;
    uint32_t wrong;
} t_reading;

static void *t_read_all(void *arg) {
    t_reading *r = arg;
    pv_error err = PV_ERROR_INIT;
    atomic_fetch_add(r->ready, 1);
    while (atomic_load(r->ready) < T_THREADS) { /* all at the same page at the same time */
        pv__thread_yield();
    }
    for (size_t i = 0; i < T_SPILLED; i++) {
        const uint8_t *page = NULL;
        if (pv__page_read(r->txn, t_ids[i], PV__PAGE_COLUMN, &page, &err) ||
            !kit_is(page, 4 * PV__SLOT_SIZE, i)) {
            r->wrong++;
        }
    }
    return NULL;
}

/* The writer's pages have gone to slots because they were too many, and its readers bring them
 * back: each page once. */
static void test_race__threads_of_one_writer_bring_spilled_pages_back(void **state) {
    (void)state;
    static const pv_allocator hooked = {NULL, t_realloc};
    pv__mem mem;
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    sim *disk = sim_new(2);
    pv__mem_init(&mem, &hooked, 0);
    const pv__store_opts o = {.path = "a.pv",
                              .vfs = sim_vfs(disk),
                              .mem = &mem,
                              .create = true,
                              .no_threads = true,
                              .cache_bytes = 1u << 20};
    test_assert_ok(pv__store_open(&o, &t_store, &err), &err);
    for (int round = 0; round < 10; round++) {
        test_assert_ok(pv__txn_begin(t_store, PV__TXN_WRITE, &t, &err), &err);
        for (size_t i = 0; i < T_SPILLED; i++) {
            uint8_t *page = NULL;
            test_assert_ok(pv__page_new(t, PV__PAGE_COLUMN, 4, 7, 0, &t_ids[i], &page, &err), &err);
            kit_fill(page, 4 * PV__SLOT_SIZE, i);
            test_assert_ok(pv__txn_pause(t, &err), &err);
        }
        const uint8_t *meta = NULL; /* the epoch that all of them share */
        test_assert_ok(pv__page_read(t, PV__META_PAGE, PV__PAGE_META, &meta, &err), &err);
        assert_true(t->mine_bytes < T_SPILLED * 2 * PV__SLOT_SIZE);
        _Atomic uint32_t ready = 0;
        t_reading r[T_THREADS];
        pv__thread threads[T_THREADS];
        for (size_t i = 0; i < T_THREADS; i++) {
            r[i] = (t_reading){t, &ready, 0};
            test_assert_ok(pv__thread_start(&threads[i], t_read_all, &r[i], &err), &err);
        }
        for (size_t i = 0; i < T_THREADS; i++) {
            pv__thread_join(threads[i]);
            assert_int_equal(r[i].wrong, 0);
        }
        assert_int_equal(t->mine_bytes, T_SPILLED * pv__ver_bytes(4) + pv__ver_bytes(1));
        pv__txn_rollback(t);
    }
    test_assert_ok(pv__store_close(t_store, &err), &err);
    sim_free(disk);
    test_mem_done(&mem);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_race__a_page_evicted_while_it_is_freed_stays_for_older_readers),
        cmocka_unit_test(test_race__threads_of_one_writer_bring_spilled_pages_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
