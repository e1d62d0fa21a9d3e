/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_race.c - what another thread does in the middle of a call, done by this thread at that
 * very place: from the allocator, which calls are known to ask. Found by tests/sched. */
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

static void t_evict_all(void) { pv__ver_evict(t_store, 1, (uint64_t)1 << 40); }

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
    t_hook = t_evict_all;
    test_assert_ok(pv__page_free(t, id, &err), &err);
    assert_null(t_hook);
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

/* ---- a write transaction read by several threads ---- */

enum { T_THREADS = 4, T_PAGES = 200, T_ROUNDS = 10 };

typedef struct t_part {
    pv__thread thread;
    pv__txn *txn;
    const uint64_t *ids;
    size_t first;
    unsigned wrong;
} t_part;

static void *t_read_all(void *arg) {
    t_part *p = arg;
    for (size_t i = 0; i < T_PAGES; i++) {
        const size_t at = (p->first + i) % T_PAGES;
        pv_error err = PV_ERROR_INIT;
        const uint8_t *page = NULL;
        p->wrong += pv__page_read(p->txn, p->ids[at], PV__PAGE_COLUMN, &page, &err) != 0 ||
                    !kit_is(page, PV__SLOT_SIZE, at + 1);
    }
    return NULL;
}

static void t_read_in_threads(pv__txn *t, const uint64_t *ids) {
    t_part parts[T_THREADS];
    memset(parts, 0, sizeof parts);
    for (size_t i = 0; i < T_THREADS; i++) {
        parts[i].txn = t;
        parts[i].ids = ids;
        parts[i].first = i; /* close behind one another */
        assert_int_equal(pv__thread_start(&parts[i].thread, t_read_all, &parts[i], NULL), 0);
    }
    for (size_t i = 0; i < T_THREADS; i++) {
        pv__thread_join(parts[i].thread);
        assert_int_equal(parts[i].wrong, 0);
    }
}

/* Pages that the transaction has spilled come back whichever thread asks for them first. Found by
 * building a graph in a transaction larger than the cache. */
static void test_race__threads_that_read_a_write_transaction_share_its_spilled_pages(void **state) {
    (void)state;
    pv__mem mem;
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint64_t ids[T_PAGES];
    sim *disk = sim_new(1);
    pv__mem_init(&mem, NULL, 0);
    const pv__store_opts o = {.path = "a.pv",
                              .vfs = sim_vfs(disk),
                              .mem = &mem,
                              .create = true,
                              .no_threads = true,
                              .cache_bytes = 64u << 20};
    test_assert_ok(pv__store_open(&o, &t_store, &err), &err);
    test_assert_ok(pv__txn_begin(t_store, PV__TXN_WRITE, &t, &err), &err);
    for (size_t i = 0; i < T_PAGES; i++) {
        uint8_t *page = NULL;
        test_assert_ok(pv__page_new(t, PV__PAGE_COLUMN, 1, 7, 0, &ids[i], &page, &err), &err);
        kit_fill(page, PV__SLOT_SIZE, i + 1);
    }
    for (unsigned round = 0; round < T_ROUNDS; round++) {
        test_assert_ok(pv__txn_pause(t, &err), &err);
        test_assert_ok(pv__images_spill(t, &err), &err);
        t_read_in_threads(t, ids);
        assert_true(t->mine_bytes >= (uint64_t)T_PAGES * PV__SLOT_SIZE);
        assert_true(t->mine_bytes < (uint64_t)(T_PAGES + 8) * 2 * PV__SLOT_SIZE); /* each once */
    }
    test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
    test_assert_ok(pv__txn_begin(t_store, 0, &t, &err), &err);
    t_read_in_threads(t, ids);
    pv__txn_rollback(t);
    test_assert_ok(pv__store_close(t_store, &err), &err);
    sim_free(disk);
    test_mem_done(&mem);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_race__threads_that_read_a_write_transaction_share_its_spilled_pages),
        cmocka_unit_test(test_race__a_page_evicted_while_it_is_freed_stays_for_older_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
