/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_mutants_kit.h - what test_store_mutants.c and test_store_held.c share: a store on a
 * simulated disk whose time stands still and whose freed memory is overwritten. */
#ifndef PV_TEST_STORE_MUTANTS_KIT_H
#define PV_TEST_STORE_MUTANTS_KIT_H

#include <stdio.h>
#include <stdlib.h>

#include "sim/sim_vfs.h"
#include "store/internal.h"
#include "support/store_kit.h"

static pv__mem t_mem;
static kit_world t_w;

static inline uint64_t t_mono(void *ctx) {
    (void)ctx;
    return 1;
}
static inline int64_t t_wall(void *ctx) {
    (void)ctx;
    return 1700000000000000;
}
static inline int t_random(void *ctx, void *out, size_t n) {
    (void)ctx;
    memset(out, 0x5A, n);
    return 0;
}
/* Time stands still: asynchronous commits are never flushed because they have waited too long. */
static const pv_clock t_clock = {NULL, t_wall, t_mono, t_random};

/* What is freed is overwritten, so that a reader of freed memory is noticed without a sanitizer. */
static inline void *t_realloc(void *ctx, void *p, size_t old_size, size_t new_size) {
    (void)ctx;
    if (new_size == 0) {
        if (p) {
            memset(p, 0xDD, old_size);
        }
        free(p);
        return NULL;
    }
    return realloc(p, new_size);
}

static inline pv__store_opts t_opts(pv_vfs *vfs) {
    pv__store_opts o;
    memset(&o, 0, sizeof o);
    o.path = "a.pv";
    o.vfs = vfs;
    o.mem = &t_mem;
    o.clock = &t_clock;
    o.create = true;
    o.no_threads = true;
    o.cache_bytes = 64u << 20;
    o.log_segment_bytes = 64u << 10;
    return o;
}

static inline void t_begin(uint64_t seed, unsigned pages, unsigned slots_max) {
    static const pv_allocator poison = {NULL, t_realloc};
    memset(&t_w, 0, sizeof t_w);
    test_rng_init(&t_w.rng, seed);
    t_w.pages = pages;
    t_w.slots_max = slots_max;
    pv__mem_init(&t_mem, &poison, 0);
}

static inline void t_open(pv__store_opts o) {
    pv_error err = PV_ERROR_INIT;
    test_assert_ok(pv__store_open(&o, &t_w.store, &err), &err);
}

static inline void t_close(void) {
    pv_error err = PV_ERROR_INIT;
    test_assert_ok(pv__store_close(t_w.store, &err), &err);
    t_w.store = NULL;
}

static inline void t_commit(unsigned changes, uint32_t flags) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE | flags, &t, &err), &err);
    test_assert_ok(kit_mutate(&t_w, t, changes, &err), &err);
    test_assert_ok(pv__txn_commit(t, &t_w.now.lsn, &err), &err);
}

static inline void t_checkpoint(void) {
    pv_error err = PV_ERROR_INIT;
    test_assert_ok(pv__store_checkpoint(t_w.store, &err), &err);
}

static inline void t_finding(void *ctx, uint64_t page_id, uint32_t owner, const char *what) {
    (void)ctx;
    print_message("check: page %llu, object %u: %s\n", (unsigned long long)page_id, owner, what);
}

static inline void t_matches(void) {
    char why[200];
    pv_error err = PV_ERROR_INIT;
    uint64_t bad = 0;
    if (!kit_matches(t_w.store, &t_w.now, why)) {
        fail_msg("%s", why);
    }
    test_assert_ok(pv__store_check(t_w.store, true, t_finding, NULL, &bad, &err), &err);
    assert_int_equal(bad, 0);
}

/* The image opens and holds t_w.now; frees it. The open store and its disk stay as they are. */
static inline void t_image_matches(sim *image, uint64_t cache_bytes) {
    pv__store *open = t_w.store;
    pv__store_opts o = t_opts(sim_vfs(image));
    char why[200];
    o.create = false;
    o.cache_bytes = cache_bytes;
    t_open(o);
    if (!kit_matches(t_w.store, &t_w.now, why)) {
        fail_msg("%s", why);
    }
    pv__store_abandon(t_w.store);
    t_w.store = open;
    sim_free(image);
}

static inline sim *t_cut(sim *s) { return sim_image(s, sim_op_count(s), SIM_CUT_KEEP_ALL, 1); }

/* Kill the process: the store goes on with what is on the disk. */
static inline sim *t_kill(sim *s) {
    sim *after = t_cut(s);
    pv__store_abandon(t_w.store);
    t_w.store = NULL;
    sim_free(s);
    return after;
}

#endif
