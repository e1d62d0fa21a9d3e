/* SPDX-License-Identifier: Apache-2.0 */
/* threads_store.c - writers and readers in threads over one store: commits that share a sync,
 * checkpoints in the background, a cache far too small. What a page must say follows from the
 * commit that the reader's snapshot shows, so that every read can be judged without a lock.
 *
 *   commit n writes pages (n * 7 + i * 13) % T_PAGES for i < 1 + n % T_TOUCH, and frees and makes
 *   again one page of the second half now and then; its number stands in root 0
 *
 * Meant for SAN=thread. PV_THREADS_COMMITS: commits in all (6,000, with sanitizers 1,200). */
#include <stdio.h>
#include <stdlib.h>

#include "base/checksum.h"
#include "crash/crash_kit.h"
#include "os/thread.h"

#define T_PAGES 200u
#define T_TOUCH 5u
#define T_WRITERS 4u
#define T_READERS 3u

static pv__mem t_mem;

typedef struct t_world {
    pv__store *store;
    uint64_t limit;         /* commits in all */
    uint64_t ids[T_PAGES];  /* set before the threads start */
    _Atomic uint64_t acked; /* highest commit that returned */
    _Atomic uint64_t reads, checkpoints;
    _Atomic uint32_t wrong;
    _Atomic bool done;
    char why[200]; /* written by whoever turns `wrong` to 1 */
} t_world;

static void t_report(t_world *w, const char *what, uint64_t a, uint64_t b) {
    if (atomic_fetch_add(&w->wrong, 1) == 0) {
        (void)snprintf(w->why, sizeof w->why, "%.120s (%llu, %llu)", what, (unsigned long long)a,
                       (unsigned long long)b);
    }
}

static unsigned t_touched(uint64_t commit, unsigned i) {
    return (unsigned)((commit * 7 + i * 13) % T_PAGES);
}

static bool t_touches(uint64_t commit, unsigned page) {
    for (unsigned i = 0; i <= commit % T_TOUCH; i++) {
        if (t_touched(commit, i) == page) {
            return true;
        }
    }
    return false;
}

/* The commit whose number page `index` shows at commit n. */
static uint64_t t_expected(uint64_t n, unsigned index) {
    while (n > 1 && !t_touches(n, index)) {
        n--;
    }
    return n;
}

static void t_fill(uint8_t *page, uint64_t commit, unsigned index) {
    const size_t words = (pv__page_size(page) - PV__PAGE_HEAD) / 8;
    for (size_t i = 0; i < words; i += 37) {
        pv__put64(page + PV__PAGE_HEAD + 8 * i, pv__mix64(commit * 1000 + index) + i);
    }
}

static bool t_is(const uint8_t *page, uint64_t commit, unsigned index) {
    const size_t words = (pv__page_size(page) - PV__PAGE_HEAD) / 8;
    for (size_t i = 0; i < words; i += 37) {
        if (pv__get64(page + PV__PAGE_HEAD + 8 * i) != pv__mix64(commit * 1000 + index) + i) {
            return false;
        }
    }
    return true;
}

static int t_change(t_world *w, pv__txn *t, uint64_t *out_commit, pv_error *err) {
    uint64_t n = 0, spare = 0;
    uint8_t *page = NULL;
    PV_TRY(pv__store_root_get(t, 0, &n, err));
    n++;
    for (unsigned i = 0; i <= n % T_TOUCH; i++) {
        const unsigned index = t_touched(n, i);
        PV_TRY(pv__page_write(t, w->ids[index], PV__PAGE_COLUMN, &page, err));
        t_fill(page, n, index);
        if (i % 2) {
            PV_TRY(pv__txn_pause(t, err));
        }
    }
    if (n % 9 == 0) { /* ids come and go; root 2 remembers the one that is there */
        PV_TRY(pv__store_root_get(t, 2, &spare, err));
        if (spare) {
            PV_TRY(pv__page_free(t, spare, err));
        }
        PV_TRY(pv__page_new(t, PV__PAGE_COLUMN, 1 + (unsigned)(n % 4), 3, 0, &spare, &page, err));
        t_fill(page, n, 0);
        PV_TRY(pv__store_root_set(t, 2, spare, err));
    }
    *out_commit = n;
    return pv__store_root_set(t, 0, n, err);
}

static void *t_writer(void *arg) {
    t_world *w = arg;
    pv_error err = PV_ERROR_INIT;
    for (unsigned turn = 0; !atomic_load(&w->wrong); turn++) {
        pv__txn *t = NULL;
        uint64_t n = 0, seen;
        const uint32_t flags = PV__TXN_WRITE | (turn % 11 == 5 ? PV__TXN_ASYNC : 0);
        if (pv__txn_begin(w->store, flags, &t, &err)) {
            t_report(w, err.message, 0, 0);
            break;
        }
        if (t_change(w, t, &n, &err)) {
            pv__txn_rollback(t);
            t_report(w, err.message, n, 0);
            break;
        }
        if (turn % 7 == 3) {
            pv__txn_rollback(t);
            continue;
        }
        if (pv__txn_commit(t, NULL, &err)) {
            t_report(w, err.message, n, 1);
            break;
        }
        seen = atomic_load(&w->acked);
        while (!(flags & PV__TXN_ASYNC) && seen < n &&
               !atomic_compare_exchange_weak(&w->acked, &seen, n)) {
        }
        if (n >= w->limit) {
            break;
        }
    }
    atomic_store(&w->done, true);
    return NULL;
}

static void t_read_all(t_world *w, test_rng *r) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint64_t n = 0, spare = 0;
    const uint8_t *page = NULL;
    const uint64_t least = atomic_load(&w->acked);
    if (pv__txn_begin(w->store, 0, &t, &err) || pv__store_root_get(t, 0, &n, &err) ||
        pv__store_root_get(t, 2, &spare, &err)) {
        t_report(w, err.message, n, least);
    } else if (n < least) {
        t_report(w, "a reader does not see an acknowledged commit", n, least);
    }
    for (unsigned i = 0; i < 60 && !atomic_load(&w->wrong); i++) {
        const unsigned index = (unsigned)test_rng_below(r, T_PAGES);
        if (pv__page_read(t, w->ids[index], PV__PAGE_COLUMN, &page, &err)) {
            t_report(w, err.message, n, index);
        } else if (!t_is(page, t_expected(n, index), index)) {
            t_report(w, "a page is not as of the snapshot", n, index);
        }
        atomic_fetch_add(&w->reads, 1);
        if (i % 16 == 0 && pv__txn_pause(t, &err)) {
            t_report(w, err.message, n, index);
        }
    }
    if (spare && !atomic_load(&w->wrong)) {
        if (pv__page_read(t, spare, PV__PAGE_COLUMN, &page, &err)) {
            t_report(w, err.message, n, spare);
        } else if (!t_is(page, n / 9 * 9, 0)) {
            t_report(w, "a page of reused id is not as of the snapshot", n, spare);
        }
    }
    pv__txn_rollback(t);
}

static void *t_reader(void *arg) {
    t_world *w = arg;
    test_rng r;
    test_rng_init(&r, pv__thread_id());
    while (!atomic_load(&w->done) && !atomic_load(&w->wrong)) {
        t_read_all(w, &r);
    }
    return NULL;
}

/* Checkpoints, checks and statistics as another caller would ask for them. */
static void *t_keeper(void *arg) {
    t_world *w = arg;
    pv_error err = PV_ERROR_INIT;
    pv__store_stats st;
    for (unsigned i = 0; !atomic_load(&w->done) && !atomic_load(&w->wrong); i++) {
        uint64_t bad = 0;
        if (pv__store_checkpoint(w->store, &err)) {
            t_report(w, err.message, 0, 2);
        }
        atomic_fetch_add(&w->checkpoints, 1);
        pv__store_stats_get(w->store, &st);
        if (i % 8 == 0 && (pv__store_check(w->store, true, NULL, NULL, &bad, &err) || bad)) {
            t_report(w, bad ? "the check finds damage" : err.message, bad, 3);
        }
        pv__thread_yield();
    }
    return NULL;
}

static void t_start(t_world *w, const pv__store_opts *o) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint8_t *page = NULL;
    test_assert_ok(pv__store_open(o, &w->store, &err), &err);
    test_assert_ok(pv__txn_begin(w->store, PV__TXN_WRITE, &t, &err), &err);
    for (unsigned i = 0; i < T_PAGES; i++) {
        test_assert_ok(pv__page_new(t, PV__PAGE_COLUMN, 1 + i % 3, 2, i, &w->ids[i], &page, &err),
                       &err);
        t_fill(page, 1, i);
    }
    test_assert_ok(pv__store_root_set(t, 0, 1, &err), &err);
    test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
    atomic_store(&w->acked, 1);
}

static void t_run(t_world *w) {
    pv__thread threads[T_WRITERS + T_READERS + 1];
    pv_error err = PV_ERROR_INIT;
    for (size_t i = 0; i < PV_COUNTOF(threads); i++) {
        void *(*fn)(void *) = i < T_WRITERS               ? t_writer
                              : i < T_WRITERS + T_READERS ? t_reader
                                                          : t_keeper;
        test_assert_ok(pv__thread_start(&threads[i], fn, w, &err), &err);
    }
    for (size_t i = 0; i < PV_COUNTOF(threads); i++) {
        pv__thread_join(threads[i]);
    }
    if (atomic_load(&w->wrong)) {
        fail_msg("%s", w->why);
    }
}

static void threads_over(pv_vfs *vfs, const char *path, uint64_t cache_bytes, uint64_t share,
                         uint64_t slab_bytes) {
    static t_world w;
    test_rng r;
    pv__store_stats st;
    pv_error err = PV_ERROR_INIT;
    pv__store_opts o = {.path = path,
                        .vfs = vfs,
                        .mem = &t_mem,
                        .create = true,
                        .busy_timeout_ms = 600000,
                        .cache_bytes = cache_bytes,
                        .checkpoint_bytes = 256u << 10,
                        .log_segment_bytes = 64u << 10,
                        .slab_bytes = slab_bytes};
    memset(&w, 0, sizeof w);
    test_mem_init(&t_mem);
    test_rng_init(&r, 1);
    w.limit = crash_env("PV_THREADS_COMMITS", 6000, 1200) / share;
    t_start(&w, &o);
    t_run(&w);
    pv__store_stats_get(w.store, &st);
    printf("%llu commits in %llu syncs, %llu checkpoints, %llu misses, %llu reads judged\n",
           (unsigned long long)st.commits, (unsigned long long)st.log_syncs,
           (unsigned long long)st.checkpoints, (unsigned long long)st.page_misses,
           (unsigned long long)atomic_load(&w.reads));
    t_read_all(&w, &r);
    test_assert_ok(pv__store_close(w.store, &err), &err);
    test_assert_ok(pv__store_open(&o, &w.store, &err), &err);
    t_read_all(&w, &r);
    assert_int_equal(atomic_load(&w.wrong), 0);
    test_assert_ok(pv__store_close(w.store, &err), &err);
    test_mem_done(&t_mem);
}

static void test_threads__readers_and_writers_with_a_small_cache(void **state) {
    (void)state;
    sim *disk = sim_new(1);
    sim_log_enable(disk, false);
    threads_over(sim_vfs(disk), "t.pv", 512u << 10, 1, 0);
    sim_free(disk);
}

static void test_threads__readers_and_writers_with_slabs_that_change_size(void **state) {
    (void)state;
    sim *disk = sim_new(1);
    sim_log_enable(disk, false);
    threads_over(sim_vfs(disk), "t.pv", 512u << 10, 2, 32u << 10);
    sim_free(disk);
}

static void test_threads__readers_and_writers_with_a_large_cache(void **state) {
    (void)state;
    sim *disk = sim_new(1);
    sim_log_enable(disk, false);
    threads_over(sim_vfs(disk), "t.pv", 64u << 20, 2, 1u << 20);
    sim_free(disk);
}

static void test_threads__commits_share_syncs_on_real_files(void **state) {
    (void)state;
    test_dir d;
    char path[600];
    test_dir_init(&d);
    test_dir_file(&d, "t.pv", path, sizeof path);
    threads_over(NULL, path, 1u << 20, 4, 0);
    test_dir_done(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads__readers_and_writers_with_a_small_cache),
        cmocka_unit_test(test_threads__readers_and_writers_with_slabs_that_change_size),
        cmocka_unit_test(test_threads__readers_and_writers_with_a_large_cache),
        cmocka_unit_test(test_threads__commits_share_syncs_on_real_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
