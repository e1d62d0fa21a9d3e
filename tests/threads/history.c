/* SPDX-License-Identifier: Apache-2.0 */
/* history.c - see history.h. Who finds something wrong says so once, and all end. */
#include "threads/history.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/checksum.h"
#include "os/thread.h"
#include "sim/sim_content.h"
#include "sim/sim_vfs.h"

#define HISTORY_PATH "h.pv"
#define HISTORY_THREADS_MAX 32u

typedef struct history {
    const history_plan *plan;
    uint64_t seed;
    sim *disk;
    pv__mem mem;
    pv__store *store;
    kit_state *states;      /* by commit number; [n] is written by the writer that makes n */
    _Atomic uint64_t *lsn;  /* of commit n, 0: nobody has seen it */
    _Atomic uint64_t acked; /* highest commit that was acknowledged as durable */
    _Atomic uint64_t acked_lsn;
    _Atomic uint64_t reads, pages, believed, checkpoints, checks;
    _Atomic uint32_t wrong, ticket, working;
    char why[300];
} history;

static _Atomic uint64_t history_ticks;

static int64_t history_wall_us(void *ctx) {
    (void)ctx;
    return (int64_t)(atomic_fetch_add(&history_ticks, 500) + 1700000000000000u);
}
static uint64_t history_mono_us(void *ctx) {
    (void)ctx;
    return atomic_fetch_add(&history_ticks, 500);
}
static int history_random(void *ctx, void *out, size_t n) {
    (void)ctx;
    for (size_t i = 0; i < n; i++) {
        ((uint8_t *)out)[i] = (uint8_t)pv__mix64(i + 1);
    }
    return 0;
}
static const pv_clock history_clock = {NULL, history_wall_us, history_mono_us, history_random};

/* What is freed is overwritten: who reads it is noticed without a sanitizer. */
static void *history_realloc(void *ctx, void *p, size_t old_size, size_t new_size) {
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
static const pv_allocator history_allocator = {NULL, history_realloc};

static void history_wrong(history *h, const char *what, const char *why) {
    if (atomic_fetch_add(&h->wrong, 1) == 0) {
        (void)snprintf(h->why, sizeof h->why, "%.80s: %.200s", what, why);
    }
}

static bool history_good(history *h, int rc, const pv_error *err, const char *what) {
    if (rc) {
        history_wrong(h, what, err->message);
    }
    return rc == 0;
}

static void history_max(_Atomic uint64_t *at, uint64_t value) {
    uint64_t seen = atomic_load(at);
    while (seen < value && !atomic_compare_exchange_weak(at, &seen, value)) {
    }
}

/* Whoever meets commit n at an LSN meets it there. */
static void history_lsn_is(history *h, uint64_t n, uint64_t lsn) {
    uint64_t none = 0;
    if (!atomic_compare_exchange_strong(&h->lsn[n], &none, lsn) && none != lsn) {
        char why[120];
        (void)snprintf(why, sizeof why, "commit %llu is seen at LSN %llu and at %llu",
                       (unsigned long long)n, (unsigned long long)none, (unsigned long long)lsn);
        history_wrong(h, "one commit, two LSNs", why);
    }
}

/* ---- writers --------------------------------------------------------------------------------- */

/* Changes under savepoints, some of which are undone. */
static int history_savepoints(kit_world *w, pv__txn *t, unsigned changes, pv_error *err) {
    for (uint64_t left = 1 + test_rng_below(&w->rng, 2); left > 0; left--) {
        const kit_state at = w->now;
        uint32_t number = 0;
        PV_TRY(pv__txn_savepoint(t, &number, err));
        PV_TRY(kit_mutate(w, t, changes, err));
        w->now.commits = at.commits;
        PV_TRY(pv__store_root_set(t, 0, at.commits, err));
        if (test_rng_below(&w->rng, 2)) {
            PV_TRY(pv__txn_rollback_to(t, number, err));
            w->now = at;
        } else if (test_rng_below(&w->rng, 2)) {
            PV_TRY(pv__txn_release(t, number, err));
        }
    }
    return PV_OK;
}

/* One write transaction. False: the work is done, or something is wrong. */
static bool history_write(history *h, kit_world *w) {
    const history_plan *p = h->plan;
    const bool async = test_rng_below(&w->rng, 8) < p->async_of_8;
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint64_t n = 0, lsn = 0;
    if (!history_good(
            h, pv__txn_begin(h->store, PV__TXN_WRITE | (async ? PV__TXN_ASYNC : 0), &t, &err), &err,
            "begin of a writer")) {
        return false;
    }
    int rc = pv__store_root_get(t, 0, &n, &err);
    if (rc == 0 && n >= p->commits) {
        pv__txn_rollback(t);
        return false;
    }
    w->now = h->states[n];
    rc = rc ? rc : kit_mutate(w, t, 1 + (unsigned)test_rng_below(&w->rng, p->changes), &err);
    if (rc == 0 && test_rng_below(&w->rng, 8) < p->savepoint_of_8) {
        rc = history_savepoints(w, t, p->changes, &err);
    }
    if (rc || test_rng_below(&w->rng, 8) < p->rollback_of_8) {
        pv__txn_rollback(t);
        return history_good(h, rc, &err, "change");
    }
    h->states[n + 1] = w->now;
    if (!history_good(h, pv__txn_commit(t, &lsn, &err), &err, "commit")) {
        return false;
    }
    history_lsn_is(h, n + 1, lsn);
    if (!async) {
        history_max(&h->acked, n + 1);
        history_max(&h->acked_lsn, lsn);
    }
    return true;
}

static void history_writer(history *h, uint64_t seed) {
    kit_world w;
    memset(&w, 0, sizeof w);
    test_rng_init(&w.rng, seed);
    w.store = h->store;
    w.pages = h->plan->pages;
    w.slots_max = h->plan->slots_max;
    w.trees = h->plan->trees;
    while (!atomic_load(&h->wrong) && history_write(h, &w)) {
    }
}

/* ---- readers --------------------------------------------------------------------------------- */

static void history_read(history *h, test_rng *r, kit_memory *m) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint64_t n = 0;
    char why[200];
    const uint64_t acked = atomic_load(&h->acked), acked_lsn = atomic_load(&h->acked_lsn);
    if (!history_good(h, pv__txn_begin(h->store, 0, &t, &err), &err, "begin of a reader")) {
        return;
    }
    if (!history_good(h, pv__store_root_get(t, 0, &n, &err), &err, "commit number")) {
        pv__txn_rollback(t);
        return;
    }
    const uint64_t lsn = pv__txn_lsn(t);
    if (n < acked || lsn < acked_lsn || n > h->plan->commits) {
        (void)snprintf(why, sizeof why, "shows commit %llu at LSN %llu, acknowledged %llu at %llu",
                       (unsigned long long)n, (unsigned long long)lsn, (unsigned long long)acked,
                       (unsigned long long)acked_lsn);
        history_wrong(h, "a reader", why);
    } else {
        history_lsn_is(h, n, lsn);
        for (uint64_t looks = 1 + test_rng_below(r, 3); looks > 0 && !atomic_load(&h->wrong);
             looks--) {
            const bool sees = test_rng_below(r, 2) ? kit_sees(t, &h->states[n], why)
                                                   : kit_remembers(t, &h->states[n], m, why);
            if (!sees) {
                history_wrong(h, "a reader", why);
            }
            atomic_fetch_add(&h->pages, h->plan->pages);
        }
        atomic_fetch_add(&h->reads, 1);
    }
    pv__txn_rollback(t);
}

static void history_reader(history *h, uint64_t seed) {
    test_rng r;
    kit_memory m = {.believed = 0};
    test_rng_init(&r, seed);
    for (unsigned looks = 0; !atomic_load(&h->wrong); looks++) {
        if (h->plan->looks ? looks >= h->plan->looks : !atomic_load(&h->working)) {
            break;
        }
        history_read(h, &r, &m);
    }
    atomic_fetch_add(&h->believed, m.believed);
}

static void history_keeper(history *h, uint64_t seed) {
    pv_error err = PV_ERROR_INIT;
    pv__store_stats st;
    test_rng r;
    test_rng_init(&r, seed);
    for (unsigned i = 0; !atomic_load(&h->wrong); i++) {
        uint64_t bad = 0;
        if (h->plan->looks ? i >= h->plan->looks : !atomic_load(&h->working)) {
            break;
        }
        if (test_rng_below(&r, 8) == 0) {
            if (history_good(h, pv__store_check(h->store, true, NULL, NULL, &bad, &err), &err,
                             "check") &&
                bad) {
                history_wrong(h, "check", "finds damage");
            }
            atomic_fetch_add(&h->checks, 1);
        } else {
            (void)history_good(h, pv__store_checkpoint(h->store, &err), &err, "checkpoint");
            atomic_fetch_add(&h->checkpoints, 1);
        }
        pv__store_stats_get(h->store, &st);
        if (st.durable_lsn < st.checkpoint_lsn) {
            history_wrong(h, "statistics", "a checkpoint beyond what is durable");
        }
        pv__thread_yield();
    }
}

/* ---- all ------------------------------------------------------------------------------------- */

static void *history_thread(void *arg) {
    history *h = arg;
    const uint32_t i = atomic_fetch_add(&h->ticket, 1);
    const uint64_t seed = pv__mix64(h->seed * 64 + i);
    if (i < h->plan->writers) {
        history_writer(h, seed);
        atomic_fetch_sub(&h->working, 1);
    } else if (i < h->plan->writers + h->plan->readers) {
        history_reader(h, seed);
    } else {
        history_keeper(h, seed);
    }
    return NULL;
}

static pv__store_opts history_opts(history *h, sim *disk) {
    pv__store_opts o = {.path = HISTORY_PATH,
                        .vfs = sim_vfs(disk),
                        .clock = &history_clock,
                        .mem = &h->mem,
                        .create = true,
                        .busy_timeout_ms = 600000,
                        .no_threads = !h->plan->worker,
                        .cache_bytes = h->plan->cache_bytes,
                        .checkpoint_bytes = h->plan->checkpoint_bytes,
                        .log_segment_bytes = h->plan->segment_bytes};
#if PV_WITH_ZSTD
    o.codec = h->plan->trees ? 1 : 0;
#endif
    return o;
}

static void history_finding(void *ctx, uint64_t page_id, uint32_t owner, const char *what) {
    char why[200];
    (void)owner;
    (void)snprintf(why, sizeof why, "page %llu: %.150s", (unsigned long long)page_id, what);
    history_wrong(ctx, "check at the end", why);
}

/* What a disk shows: a commit that was made, not older than `least`, whole. */
static void history_judge(history *h, sim *disk, uint64_t least, const char *what) {
    pv__store_opts o = history_opts(h, disk);
    pv_error err = PV_ERROR_INIT;
    pv__store *s = NULL;
    pv__txn *t = NULL;
    uint64_t n = 0, bad = 0;
    char why[200] = "";
    int rc = pv__store_open(&o, &s, &err);
    rc = rc ? rc : pv__txn_begin(s, 0, &t, &err);
    rc = rc ? rc : pv__store_root_get(t, 0, &n, &err);
    if (rc == 0 && (n < least || n > h->plan->commits)) {
        (void)snprintf(why, sizeof why, "shows commit %llu, acknowledged is %llu",
                       (unsigned long long)n, (unsigned long long)least);
        history_wrong(h, what, why);
    } else if (rc == 0 && !kit_sees(t, &h->states[n], why)) {
        history_wrong(h, what, why);
    }
    pv__txn_rollback(t);
    rc = rc ? rc : pv__store_check(s, true, history_finding, h, &bad, &err);
    (void)history_good(h, rc, &err, what);
    if (s) {
        (void)history_good(h, pv__store_close(s, &err), &err, what);
    }
}

static void history_threads(history *h) {
    pv__thread threads[HISTORY_THREADS_MAX];
    const history_plan *p = h->plan;
    const uint32_t count = p->writers + p->readers + p->keepers;
    uint32_t started = 0;
    pv_error err = PV_ERROR_INIT;
    assert_in_range(count, 1, HISTORY_THREADS_MAX);
    atomic_store(&h->working, p->writers);
    while (started < count &&
           history_good(h, pv__thread_start(&threads[started], history_thread, h, &err), &err,
                        "thread")) {
        started++;
    }
    for (uint32_t i = 0; i < started; i++) {
        pv__thread_join(threads[i]);
    }
}

void history_run(const history_plan *plan, uint64_t seed, void (*before)(uint64_t seed),
                 void (*after)(void), history_result *out) {
    static history h;
    pv_error err = PV_ERROR_INIT;
    pv__store_stats st;
    memset(&h, 0, sizeof h);
    memset(out, 0, sizeof *out);
    h.plan = plan;
    h.seed = seed;
    atomic_store(&history_ticks, 0);
    pv__mem_init(&h.mem, &history_allocator, 0);
    h.disk = sim_new(seed);
    h.states = sim_alloc((plan->commits + 2) * sizeof *h.states);
    h.lsn = sim_alloc((plan->commits + 2) * sizeof *h.lsn);
    if (before) {
        before(seed);
    }
    pv__store_opts o = history_opts(&h, h.disk);
    if (history_good(&h, pv__store_open(&o, &h.store, &err), &err, "open")) {
        history_threads(&h);
        pv__store_stats_get(h.store, &st);
        out->misses = st.page_misses;
        out->syncs = st.log_syncs;
        const uint64_t acked = atomic_load(&h.acked);
        const size_t ops = sim_op_count(h.disk);
        (void)history_good(&h, pv__store_close(h.store, &err), &err, "close");
        if (after) {
            after();
            after = NULL;
        }
        const sim_cut cut = (sim_cut)(pv__mix64(seed) % SIM_CUT_COUNT);
        sim *image = sim_image(h.disk, ops, cut, seed);
        history_judge(&h, image, acked, "after a power cut");
        sim_free(image);
        history_judge(&h, h.disk, atomic_load(&h.wrong) ? 0 : plan->commits, "after the close");
    }
    if (after) {
        after();
    }
    out->commits = atomic_load(&h.acked);
    out->reads = atomic_load(&h.reads);
    out->pages_judged = atomic_load(&h.pages);
    out->believed = atomic_load(&h.believed);
    out->checkpoints = atomic_load(&h.checkpoints);
    out->checks = atomic_load(&h.checks);
    memcpy(out->wrong, h.why, sizeof out->wrong);
    free(h.states);
    free(h.lsn);
    sim_free(h.disk);
    test_mem_done(&h.mem);
}

history_plan history_plan_random(uint64_t seed, bool small) {
    test_rng r;
    test_rng_init(&r, pv__mix64(seed + 1));
    history_plan p = {.writers = 1 + (unsigned)test_rng_below(&r, small ? 3 : 6),
                      .readers = 1 + (unsigned)test_rng_below(&r, small ? 3 : 8),
                      .keepers = (unsigned)test_rng_below(&r, 3),
                      .commits = small ? 6 + (unsigned)test_rng_below(&r, 12) : 400,
                      .looks = small ? 3 : 0,
                      .pages = 4 + (unsigned)test_rng_below(&r, small ? 10 : 60),
                      .slots_max = 1u << test_rng_below(&r, small ? 3 : 5),
                      .changes = 1 + (unsigned)test_rng_below(&r, 6),
                      .async_of_8 = (unsigned)test_rng_below(&r, 4),
                      .rollback_of_8 = (unsigned)test_rng_below(&r, 3),
                      .savepoint_of_8 = (unsigned)test_rng_below(&r, 3)};
    p.cache_bytes = (uint64_t)(small ? 64 : 128) << (10 + test_rng_below(&r, small ? 3 : 7));
    p.checkpoint_bytes = test_rng_below(&r, 2) ? (uint64_t)16 << (10 + test_rng_below(&r, 3)) : 0;
    p.segment_bytes = (uint64_t)16 << (10 + test_rng_below(&r, 3));
    p.trees = test_rng_below(&r, 4) == 0;
    p.worker = test_rng_below(&r, 2) == 0;
    return p;
}

#undef HISTORY_PATH
#undef HISTORY_THREADS_MAX
