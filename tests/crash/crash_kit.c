/* SPDX-License-Identifier: Apache-2.0 */
/* crash_kit.c - see crash_kit.h: steps and the judge. Sites and set of hashes: crash_sites.c. */
#include "crash/crash_kit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/checksum.h"
#include "sim/sim_content.h"

#define CRASH_PATH "a.pv"

/* name; cache, checkpoint after, segment; pages, largest page, steps, changes, big changes;
 * commit big async rollback doom checkpoint inside reopen kill full badsync savepoint load;
 * smallest page, trees */
/* clang-format off */
const crash_plan crash_plans[] = {
    {"small", 64u << 20, 0, 32u << 10, 24, 4, 40, 6, 30,
     24, 2, 0, 3, 2, 3, 1, 3, 2, 0, 0, 2, 0, 0, false},
    {"async", 64u << 20, 0, 32u << 10, 24, 2, 60, 5, 20,
     10, 1, 24, 2, 1, 3, 1, 2, 3, 0, 0, 1, 0, 0, false},
    {"spill", 160u << 10, 0, 32u << 10, 40, 16, 30, 8, 30,
     12, 8, 2, 3, 1, 2, 2, 2, 2, 0, 0, 2, 0, 0, true},
    {"bulk", 64u << 20, 0, 32u << 10, 10, 64, 24, 3, 14,
     8, 8, 1, 2, 0, 4, 1, 2, 2, 0, 0, 1, 0, 0, false},
    {"load", 64u << 20, 0, 32u << 10, 20, 16, 12, 4, 6,
     6, 1, 1, 1, 0, 2, 1, 1, 2, 0, 0, 1, 6, 16, false},
    {"wide", 64u << 20, 0, 64u << 10, 250, 1, 24, 30, 150,
     10, 4, 1, 2, 1, 3, 1, 2, 2, 0, 0, 1, 0, 0, false},
    {"rollover", 64u << 20, 0, 16u << 10, 24, 4, 50, 10, 24,
     24, 6, 4, 2, 1, 2, 0, 1, 3, 0, 0, 2, 0, 0, true},
    {"replay", 128u << 10, 0, 32u << 10, 30, 4, 40, 8, 20,
     20, 3, 3, 2, 0, 1, 1, 1, 6, 0, 0, 1, 0, 0, false},
    {"faulty", 256u << 10, 0, 32u << 10, 24, 8, 60, 8, 24,
     16, 3, 4, 2, 1, 3, 2, 2, 2, 8, 6, 2, 0, 0, true},
    {"savepoints", 192u << 10, 0, 32u << 10, 40, 8, 30, 6, 16,
     6, 1, 2, 2, 1, 2, 1, 1, 2, 0, 0, 16, 0, 0, false},
    {"churn", 512u << 10, 48u << 10, 32u << 10, 60, 8, 60, 10, 24,
     30, 4, 2, 2, 0, 6, 2, 1, 1, 0, 0, 2, 0, 0, true},
};
/* clang-format on */
const size_t crash_plan_count = PV_COUNTOF(crash_plans);

const char *crash_phase = "";

/* Time and randomness that can be replayed: each asking is half a millisecond later. */
static uint64_t crash_ticks, crash_random_state;

static int64_t crash_wall_us(void *ctx) {
    (void)ctx;
    return (int64_t)(crash_ticks += 500) + 1700000000000000;
}

static uint64_t crash_mono_us(void *ctx) {
    (void)ctx;
    return crash_ticks += 500;
}

static int crash_random(void *ctx, void *out, size_t n) {
    (void)ctx;
    for (size_t i = 0; i < n; i++) {
        ((uint8_t *)out)[i] = (uint8_t)pv__mix64(++crash_random_state);
    }
    return 0;
}

static const pv_clock crash_clock = {NULL, crash_wall_us, crash_mono_us, crash_random};

static bool crash_wrong(crash_run *r, const char *what, const char *why) {
    if (!r->wrong[0]) {
        (void)snprintf(r->wrong, sizeof r->wrong, "%s: %.220s", what, why);
    }
    return false;
}

/* Codes that a caller may meet when the disk or the memory fails. */
static int crash_sane(crash_run *r, const char *what, int rc, const pv_error *err) {
    if (rc == PV_OK) {
        return rc;
    }
    r->calls_failed++;
    if ((rc != PV_ERR_IO && rc != PV_ERR_FULL && rc != PV_ERR_NOMEM) || err->code != rc ||
        err->message[0] == 0) {
        char why[300];
        (void)snprintf(why, sizeof why, "code %d: %.220s", rc, err->message);
        crash_wrong(r, what, why);
    }
    return rc;
}

void crash_run_init(crash_run *r, const crash_plan *plan, uint64_t seed, sim *disk, pv__mem *mem) {
    memset(r, 0, sizeof *r);
    r->plan = plan;
    r->seed = seed;
    r->disk = disk;
    r->opts.path = CRASH_PATH;
    r->opts.vfs = sim_vfs(disk);
    r->opts.mem = mem;
    r->opts.clock = &crash_clock;
    crash_random_state = pv__mix64(seed) << 20;
    crash_ticks = 0;
    r->opts.create = true;
    r->opts.no_threads = true;
    r->opts.cache_bytes = plan->cache_bytes;
    r->opts.checkpoint_bytes = plan->checkpoint_bytes;
    r->opts.log_segment_bytes = plan->segment_bytes;
    r->opts.slab_bytes = seed % 2 ? 64u << 10 : 0; /* pages in slabs, or one by one */
#if PV_WITH_ZSTD
    r->opts.codec = plan->trees ? 1 : 0;
#endif
    test_rng_init(&r->w.rng, seed);
    r->w.pages = plan->pages;
    r->w.slots_max = plan->slots_max;
    r->w.slots_min = plan->slots_min;
    r->w.trees = plan->trees;
    r->entries = sim_grow(NULL, &r->cap, 8, sizeof *r->entries);
    memset(&r->entries[0], 0, sizeof r->entries[0]);
    r->entries[0].acked = r->entries[0].voided = SIZE_MAX;
    r->count = 1;
    crash_site_watch(disk);
}

void crash_run_done(crash_run *r) {
    pv__store_abandon(r->w.store);
    free(r->entries);
    sim_free(r->disk);
    memset(r, 0, sizeof *r);
}

bool crash_allowed(const crash_run *r, size_t entry, size_t upto) {
    const crash_entry *e = &r->entries[entry];
    uint64_t least = 0;
    for (size_t i = 0; i < r->count; i++) {
        if (r->entries[i].acked <= upto) {
            least = PV_MAX(least, r->entries[i].state.commits);
        }
    }
    return (e->begun < upto || entry == 0) && e->voided > upto && e->state.commits >= least;
}

/* Did the store fail to answer, as opposed to giving a wrong answer? */
static bool crash_no_answer(const crash_run *r, const char *why) {
    return r->tolerant && !strstr(why, "other content") && !strstr(why, "has commit") &&
           !strstr(why, "does not exist") && !strstr(why, "damaged");
}

/* The allowed entry that the store holds. */
static bool crash_which(crash_run *r, pv__store *s, size_t upto, size_t *out) {
    char why[200] = "no entry is allowed";
    pv__store_stats st;
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint64_t commits = 0;
    if (pv__txn_begin(s, 0, &t, &err) || pv__store_root_get(t, 0, &commits, &err)) {
        pv__txn_rollback(t);
        return !crash_no_answer(r, err.message) &&
               crash_wrong(r, "asking which commit it is", err.message);
    }
    pv__txn_rollback(t);
    pv__store_stats_get(s, &st);
    for (size_t i = r->count; i-- > 0;) {
        const crash_entry *e = &r->entries[i];
        if (e->state.commits != commits) {
            continue;
        }
        if (!crash_allowed(r, i, upto)) {
            (void)snprintf(why, sizeof why, "commit %llu (begun %zu, acked %zu, void %zu) at %zu",
                           (unsigned long long)commits, e->begun, e->acked, e->voided, upto);
        } else if (kit_matches(s, &e->state, why)) {
            if (st.db_checksum == e->state.db_sum) {
                *out = i;
                return true;
            }
            (void)snprintf(why, sizeof why, "commit %llu: the database checksum differs",
                           (unsigned long long)commits);
        } else if (crash_no_answer(r, why)) {
            return false;
        }
    }
    return crash_wrong(r, "no commit of the history", why);
}

void crash_print(const crash_run *r, size_t upto) {
    for (size_t i = r->count > 12 ? r->count - 12 : 0; i < r->count; i++) {
        const crash_entry *e = &r->entries[i];
        fprintf(stderr, "commit %llu, LSN %llu: begun %zd, acked %zd, void %zd\n",
                (unsigned long long)e->state.commits, (unsigned long long)e->state.lsn,
                (ssize_t)e->begun, (ssize_t)e->acked, (ssize_t)e->voided);
    }
    sim_op_print(r->disk, upto > 60 ? upto - 60 : 0, upto, stderr);
}

static void crash_ack(crash_run *r, size_t entry) {
    const size_t now = sim_op_count(r->disk);
    if (r->entries[entry].acked > now) {
        r->entries[entry].acked = now;
    }
}

/* ---- steps ----------------------------------------------------------------------------------- */

int crash_open(crash_run *r) {
    pv_error err = PV_ERROR_INIT;
    crash_phase = "open";
    const int rc = crash_sane(r, "open", pv__store_open(&r->opts, &r->w.store, &err), &err);
    crash_phase = "work";
    if (rc) {
        return rc;
    }
    const size_t now = sim_op_count(r->disk);
    size_t found = 0;
    pv__store_stats st;
    pv__store_stats_get(r->w.store, &st);
    r->pages_at_open = st.page_count;
    r->did[CRASH_RECOVERED] += r->killed;
    r->killed = false;
    if (crash_which(r, r->w.store, now + 1, &found)) {
        for (size_t i = 0; i < r->count; i++) {
            crash_entry *e = &r->entries[i];
            if (i != found && e->voided == SIZE_MAX &&
                e->state.commits >= r->entries[found].state.commits) {
                e->voided = now; /* S6: what an open did not find never comes back */
            }
        }
        r->w.now = r->entries[found].state;
        r->head = found;
        crash_ack(r, found);
        return rc;
    }
    crash_kill(r);
    return PV_ERR_IO;
}

/* Add what the open transaction is about to commit. */
static crash_entry *crash_begun(crash_run *r) {
    r->entries = sim_grow(r->entries, &r->cap, r->count + 1, sizeof *r->entries);
    crash_entry *e = &r->entries[r->count++];
    e->state = r->w.now;
    e->begun = sim_op_count(r->disk);
    e->acked = e->voided = SIZE_MAX;
    return e;
}

/* Commit t, which holds what r->w.now says; r->w.saved is what there was before. */
static int crash_finish(crash_run *r, pv__txn *t, uint32_t flags) {
    pv_error err = PV_ERROR_INIT;
    pv__store_stats st;
    crash_entry *e = crash_begun(r);
    crash_phase = flags & PV__TXN_ASYNC ? "async commit" : "commit";
    const int rc = crash_sane(r, "commit", pv__txn_commit(t, &e->state.lsn, &err), &err);
    crash_phase = "work";
    pv__store_stats_get(r->w.store, &st);
    e->state.db_sum = st.db_checksum;
    if (!rc) {
        r->head = r->count - 1;
        if (!(flags & PV__TXN_ASYNC)) {
            crash_ack(r, r->head);
        }
        r->w.now = e->state;
    } else {
        r->w.now = r->w.saved;
        if (st.commits != e->state.commits) { /* refused before it was accepted: never there */
            r->count--;
        } else if (flags & PV__TXN_ASYNC) {
            r->w.now = e->state; /* visible at once */
            r->head = r->count - 1;
        }
    }
    return rc;
}

static int crash_commit_of(crash_run *r,
                           int (*change)(kit_world *, pv__txn *, unsigned, pv_error *),
                           unsigned changes, uint32_t flags) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    if (!r->w.store) {
        return PV_OK;
    }
    crash_phase = "work";
    r->w.saved = r->w.now;
    int rc =
        crash_sane(r, "begin", pv__txn_begin(r->w.store, PV__TXN_WRITE | flags, &t, &err), &err);
    if (rc) {
        return rc;
    }
    rc = crash_sane(r, "change", change(&r->w, t, changes, &err), &err);
    if (rc) {
        pv__txn_rollback(t);
        r->w.now = r->w.saved;
        return rc;
    }
    return crash_finish(r, t, flags);
}

int crash_commit(crash_run *r, unsigned changes, uint32_t flags) {
    return crash_commit_of(r, kit_mutate, changes, flags);
}

static int crash_drop_all(kit_world *w, pv__txn *t, unsigned changes, pv_error *err) {
    (void)changes;
    return kit_drop(w, t, err);
}

static int crash_load_all(kit_world *w, pv__txn *t, unsigned changes, pv_error *err) {
    (void)changes;
    return kit_load(w, t, err);
}

/* All goes, and comes anew in one transaction, which is large enough to go by reference. */
static void crash_load(crash_run *r) {
    if (!crash_commit_of(r, crash_drop_all, 0, 0) && test_rng_below(&r->w.rng, 2)) {
        (void)crash_checkpoint(r);
    }
    (void)crash_commit_of(r, crash_load_all, 0, 0);
}

static void crash_rollback(crash_run *r, unsigned changes, bool doom) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint8_t *page = NULL;
    if (!r->w.store ||
        crash_sane(r, "begin", pv__txn_begin(r->w.store, PV__TXN_WRITE, &t, &err), &err)) {
        return;
    }
    r->w.saved = r->w.now;
    (void)crash_sane(r, "change", kit_mutate(&r->w, t, changes, &err), &err);
    r->w.now = r->w.saved;
    if (doom) {
        if (pv__page_write(t, 1u << 20, PV__PAGE_ANY, &page, &err) == PV_OK ||
            pv__txn_commit(t, NULL, &err) == PV_OK) {
            crash_wrong(r, "a doomed transaction", "went through");
        }
    } else {
        pv__txn_rollback(t);
        r->did[CRASH_ROLLED_BACK]++;
    }
}

int crash_checkpoint(crash_run *r) {
    pv_error err = PV_ERROR_INIT;
    if (!r->w.store) {
        return PV_OK;
    }
    crash_phase = "checkpoint";
    const int rc = crash_sane(r, "checkpoint", pv__store_checkpoint(r->w.store, &err), &err);
    crash_phase = "work";
    if (!rc) {
        crash_ack(r, r->head);
    }
    return rc;
}

/* A checkpoint while a write transaction is open and perhaps spilled. */
static void crash_inside(crash_run *r) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    if (!r->w.store ||
        crash_sane(r, "begin", pv__txn_begin(r->w.store, PV__TXN_WRITE, &t, &err), &err)) {
        return;
    }
    r->w.saved = r->w.now;
    int rc = crash_sane(r, "change", kit_mutate(&r->w, t, r->plan->changes_big, &err), &err);
    (void)crash_checkpoint(r);
    if (rc) {
        pv__txn_rollback(t);
        r->w.now = r->w.saved;
        return;
    }
    (void)crash_finish(r, t, 0);
}

/* Changes under savepoints, of which some are undone; what stays is committed. */
static void crash_savepoints(crash_run *r) {
    static kit_state at;
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    test_rng *rng = &r->w.rng;
    if (!r->w.store ||
        crash_sane(r, "begin", pv__txn_begin(r->w.store, PV__TXN_WRITE, &t, &err), &err)) {
        return;
    }
    r->w.saved = r->w.now;
    int rc = crash_sane(r, "change", kit_mutate(&r->w, t, r->plan->changes, &err), &err);
    for (uint64_t left = 1 + test_rng_below(rng, 3); left > 0 && !rc; left--) {
        uint32_t number = 0;
        at = r->w.now;
        rc = crash_sane(r, "savepoint", pv__txn_savepoint(t, &number, &err), &err);
        if (!rc) { /* may fail: then the savepoint saves the transaction */
            rc = crash_sane(r, "change", kit_mutate(&r->w, t, r->plan->changes_big, &err), &err);
            r->w.now.commits = at.commits;
            rc = rc ? rc : pv__store_root_set(t, 0, at.commits, &err);
        }
        if (number && (rc || test_rng_below(rng, 2))) {
            rc = crash_sane(r, "rollback to", pv__txn_rollback_to(t, number, &err), &err);
            r->w.now = at;
            r->did[CRASH_ROLLED_BACK_TO]++;
        } else if (number && test_rng_below(rng, 2)) {
            rc = crash_sane(r, "release", pv__txn_release(t, number, &err), &err);
        }
    }
    if (rc) {
        pv__txn_rollback(t);
        r->w.now = r->w.saved;
        return;
    }
    (void)crash_finish(r, t, 0);
}

/* Each page that was there at open may be read once; what was read beyond that had been evicted. */
static void crash_handle_ends(crash_run *r) {
    pv__store_stats st;
    if (r->w.store) {
        pv__store_stats_get(r->w.store, &st);
        r->did[CRASH_EVICTED] +=
            st.page_misses > r->pages_at_open ? st.page_misses - r->pages_at_open : 0;
    }
}

int crash_close(crash_run *r) {
    pv_error err = PV_ERROR_INIT;
    if (!r->w.store) {
        return PV_OK;
    }
    crash_phase = "close";
    crash_handle_ends(r);
    const int rc = crash_sane(r, "close", pv__store_close(r->w.store, &err), &err);
    crash_phase = "work";
    r->w.store = NULL;
    if (!rc) {
        crash_ack(r, r->head);
    }
    return rc;
}

void crash_kill(crash_run *r) {
    crash_handle_ends(r);
    r->killed |= r->w.store != NULL;
    pv__store_abandon(r->w.store);
    r->w.store = NULL;
}

/* With a fault of its own: the disk is full for the next few calls, or a sync fails. */
static void crash_fault(crash_run *r, bool full) {
    sim_fault f = {full ? SIM_FAULT_FULL : SIM_FAULT_IO, SIM_SYNC, SIM_CLASS_ANY,
                   1 + test_rng_below(&r->w.rng, 3), false};
    if (full) {
        f.kind = test_rng_below(&r->w.rng, 2) ? SIM_ALLOCATE : SIM_WRITE;
        f.cls = f.kind == SIM_WRITE ? SIM_CLASS_DB : SIM_CLASS_ANY;
        f.for_good = true;
        f.nth = 1;
    }
    sim_fault_set(r->disk, &f);
    for (unsigned i = 0; i < 3; i++) {
        (void)crash_commit(r, i == 1 ? r->plan->changes_big : r->plan->changes, 0);
        if (i == 1) {
            (void)crash_checkpoint(r);
        }
    }
    sim_fault_set(r->disk, NULL);
    if (r->w.store) {
        (void)crash_look(r, false);
    }
    /* Where room is asked for beforehand, a full disk refuses commits and nothing else. */
    if (f.kind == SIM_ALLOCATE && crash_commit(r, 1, 0)) {
        crash_wrong(r, "after the disk was full", "commits are refused");
    }
}

static bool crash_pick(uint64_t *at, unsigned weight) {
    if (*at < weight) {
        *at = UINT64_MAX;
        return true;
    }
    *at -= *at == UINT64_MAX ? 0 : weight;
    return false;
}

static void crash_step(crash_run *r) {
    const crash_plan *p = r->plan;
    const unsigned sum = p->commit + p->big + p->async + p->rollback + p->doom + p->checkpoint +
                         p->inside + p->reopen + p->kill + p->savepoint + p->load + p->full +
                         p->badsync;
    uint64_t at = test_rng_below(&r->w.rng, sum);
    const unsigned few = 1 + (unsigned)test_rng_below(&r->w.rng, p->changes);
    if (crash_pick(&at, p->commit)) {
        (void)crash_commit(r, few, 0);
    } else if (crash_pick(&at, p->big)) {
        (void)crash_commit(r, p->changes_big, 0);
    } else if (crash_pick(&at, p->async)) {
        (void)crash_commit(r, few, PV__TXN_ASYNC);
    } else if (crash_pick(&at, p->rollback)) {
        crash_rollback(r, p->changes_big, false);
    } else if (crash_pick(&at, p->doom)) {
        crash_rollback(r, few, true);
    } else if (crash_pick(&at, p->checkpoint)) {
        (void)crash_checkpoint(r);
    } else if (crash_pick(&at, p->inside)) {
        crash_inside(r);
    } else if (crash_pick(&at, p->reopen)) {
        (void)crash_close(r);
    } else if (crash_pick(&at, p->kill)) {
        crash_kill(r);
    } else if (crash_pick(&at, p->savepoint)) {
        crash_savepoints(r);
    } else if (crash_pick(&at, p->load)) {
        crash_load(r);
    } else {
        crash_fault(r, at < p->full);
    }
}

void crash_work(crash_run *r) {
    for (unsigned i = 0; i < r->plan->steps && !r->wrong[0]; i++) {
        if (!r->w.store && crash_open(r)) {
            continue;
        }
        crash_step(r);
        pv__store_stats st;
        if (r->w.store) { /* S8: after a failed sync only reopening helps */
            pv_error err = PV_ERROR_INIT;
            pv__txn *t = NULL;
            pv__store_stats_get(r->w.store, &st);
            if (pv__txn_begin(r->w.store, PV__TXN_WRITE, &t, &err) && err.code != PV_ERR_NOMEM) {
                r->refused++;
                (void)crash_look(r, false);
                (void)crash_close(r);
            } else {
                pv__txn_rollback(t);
            }
        }
    }
    if (!r->wrong[0] && (r->w.store || crash_open(r) == PV_OK)) {
        (void)crash_close(r);
    }
}

/* ---- judging --------------------------------------------------------------------------------- */

typedef struct crash_findings {
    uint64_t other;
    char first[200];
} crash_findings;

/* A power cut may have torn the superblock that was being written; its pair holds. */
static void crash_finding(void *ctx, uint64_t page_id, uint32_t owner, const char *what) {
    crash_findings *f = ctx;
    (void)owner;
    if (strstr(what, "superblock")) {
        return;
    }
    if (f->other++ == 0) {
        (void)snprintf(f->first, sizeof f->first, "page %llu: %.150s", (unsigned long long)page_id,
                       what);
    }
}

static bool crash_check(crash_run *r, pv__store *s, bool strict) {
    pv_error err = PV_ERROR_INIT;
    crash_findings f;
    uint64_t bad = 0;
    memset(&f, 0, sizeof f);
    if (pv__store_check(s, true, crash_finding, &f, &bad, &err)) {
        return crash_wrong(r, "check", err.message);
    }
    if (f.other || (strict && bad)) {
        return crash_wrong(r, "check finds", f.other ? f.first : "a damaged superblock");
    }
    return true;
}

bool crash_look(crash_run *r, bool deep) {
    char why[200];
    if (r->wrong[0]) {
        return false;
    }
    if (!kit_matches(r->w.store, &r->w.now, why)) {
        return crash_no_answer(r, why) || crash_wrong(r, "the open handle", why);
    }
    return !deep || crash_check(r, r->w.store, false);
}

static void crash_count_file(void *arg, const char *path, uint64_t size) {
    (void)size;
    *(unsigned *)arg += strcmp(path, CRASH_PATH) != 0;
}

/* Media that cannot be written: the log is replayed in memory, the disk stays as it is. */
static bool crash_judge_readonly(crash_run *r, sim *image, size_t upto) {
    pv_error err = PV_ERROR_INIT;
    pv__store_opts o = r->opts;
    pv__store *s = NULL;
    size_t entry = 0;
    o.vfs = sim_vfs(image);
    o.readonly = true;
    o.create = false;
    if (pv__store_open(&o, &s, &err)) {
        return crash_wrong(r, "open read-only", err.message);
    }
    const bool good = crash_which(r, s, upto, &entry);
    if (pv__store_close(s, &err)) {
        return crash_wrong(r, "close read-only", err.message);
    }
    return good &&
           (sim_op_count(image) == 0 || crash_wrong(r, "a read-only handle", "changed the disk"));
}

bool crash_judge(crash_run *r, sim *image, size_t upto, uint64_t seed, size_t *out_entry,
                 crash_run *after) {
    crash_run next;
    unsigned others = 0;
    uint64_t size = 0;
    const bool there = sim_file_size(image, CRASH_PATH, &size) && size > 0;
    if (seed % 8 == 0 && there && upto > r->entries[0].acked &&
        !crash_judge_readonly(r, image, upto)) {
        return false;
    }
    pv_error err = PV_ERROR_INIT;
    crash_run_init(&next, r->plan, seed, image, r->opts.mem);
    crash_phase = "open";
    if (pv__store_open(&next.opts, &next.w.store, &err)) {
        crash_wrong(r, "open", err.message);
        goto done;
    }
    crash_phase = "work";
    if (!crash_which(r, next.w.store, upto, out_entry) || !crash_check(r, next.w.store, true)) {
        goto done;
    }
    next.entries[0] = r->entries[*out_entry];
    next.entries[0].begun = 0;
    next.entries[0].acked = 0;
    next.entries[0].voided = SIZE_MAX;
    next.w.now = next.entries[0].state;
    if (crash_commit(&next, 1 + (unsigned)(seed % 7), 0) || !crash_look(&next, false) ||
        crash_close(&next)) {
        crash_wrong(r, "after recovery", next.wrong[0] ? next.wrong : "a call failed");
        goto done;
    }
    sim_file_each(image, crash_count_file, &others);
    if (others) {
        crash_wrong(r, "after the clean close", "more than one file is left");
        goto done;
    }
    if (crash_open(&next) || next.wrong[0]) {
        crash_wrong(r, "reopen", next.wrong);
        goto done;
    }
    (void)crash_check(r, next.w.store, true);
done:
    pv__store_abandon(next.w.store);
    next.w.store = NULL;
    if (after) {
        *after = next;
    } else {
        next.disk = NULL; /* the caller's */
        crash_run_done(&next);
    }
    return r->wrong[0] == 0;
}

#undef CRASH_PATH
