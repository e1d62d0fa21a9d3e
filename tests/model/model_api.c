/* SPDX-License-Identifier: Apache-2.0 */
/* model_api.c - random work through pv.h beside a model, seed by seed.
 *
 * Each seed is a database of its own on a simulated disk, worked on with a small cache: writes that
 * succeed and writes that must be refused, transactions, snapshots held by read transactions,
 * checkpoints, closing, killing and power cuts between two calls. Always the database must be what
 * the model says, every snapshot what the model was when it was taken, and after a refused call
 * no byte of any file and no figure may have changed.
 *
 * PV_MODEL_SEEDS: "100" for so many seeds, "7-9" for seeds 7 and 8. PV_SOAK=1: ten times as many
 * seeds. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sim/sim_vfs.h"
#include "support/api_ops.h"

enum { T_SNAPSHOTS = 4, T_STEPS = 200 };

typedef struct t_snapshot {
    pv_txn *txn;
    api_model model;
} t_snapshot;

typedef struct t_run {
    sim *disk;
    api_clock clock;
    api_world w;
    t_snapshot snapshots[T_SNAPSHOTS];
    bool spills; /* the cache is so small that a write goes to free slots before it is judged */
    uint64_t hash, checksum, lsn;
    size_t disk_ops;
} t_run;

typedef struct t_total {
    uint64_t seeds, ops, refused, snapshots, reopens, kills, cuts, checkpoints, compares;
} t_total;
static t_total t_all;

static int t_bad(t_run *t, const char *what) {
    char text[API_WHY];
    snprintf(text, sizeof(text), "%.60s: %.600s", what, t->w.why);
    memcpy(t->w.why, text, sizeof(text));
    return -1;
}

static int t_rc(t_run *t, int rc, const char *what) {
    if (rc != 0) {
        snprintf(t->w.why, sizeof(t->w.why), "%s: %s", what, t->w.err.message);
    }
    return rc == 0 ? 0 : -1;
}

static int t_stats(t_run *t, pv_stats *out) {
    *out = (pv_stats)PV_STATS_INIT;
    return t_rc(t, pv_stats_get(t->w.db, out, &t->w.err), "pv_stats_get");
}

/* ---- a refused call changes nothing ---- */

/* Of all files; where a transaction may spill, of all but the database, whose records are compared
 * again and again. */
static uint64_t t_hash(const t_run *t) {
    return sim_image_hash_but(t->disk, t->spills || t->w.txn ? "m.pv" : NULL);
}

static int t_around(void *ctx, api_world *w, api_phase phase, int want) {
    t_run *t = ctx;
    pv_stats s;
    if (want == 0) {
        return 0;
    }
    if (t_stats(t, &s) != 0) {
        return -1;
    }
    if (phase == API_BEFORE) {
        t->hash = t_hash(t);
        t->disk_ops = sim_op_count(t->disk);
        t->checksum = s.db_checksum;
        t->lsn = s.lsn;
        return 0;
    }
    if (t->checksum != s.db_checksum || t->lsn != s.lsn) {
        snprintf(w->why, sizeof(w->why), "%.200s was refused, but checksum or lsn changed",
                 w->what);
        return -1;
    }
    const bool written = !w->txn && !t->spills && t->disk_ops != sim_op_count(t->disk);
    if (t->hash != t_hash(t) || written) {
        snprintf(w->why, sizeof(w->why), "%.200s was refused, but the files changed", w->what);
        return -1;
    }
    return 0;
}

/* ---- open and close ---- */

static int t_open(t_run *t) {
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    o.vfs = sim_vfs(t->disk);
    o.clock = &t->clock.clock;
    o.threads = 1;
    t->spills = test_rng_below(&t->w.rng, 2);
    o.cache_bytes = t->spills ? 1 : UINT64_C(2) << 20; /* 1: the least */
    o.checkpoint_bytes = test_rng_below(&t->w.rng, 2) ? 64u << 10 : 0;
    o.sync = test_rng_below(&t->w.rng, 4) ? PV_SYNC_FULL : PV_SYNC_ASYNC;
    return t_rc(t, pv_open("m.pv", &o, &t->w.db, &t->w.err), "pv_open");
}

static void t_drop_snapshots(t_run *t) {
    for (size_t i = 0; i < T_SNAPSHOTS; i++) {
        pv_txn_rollback(t->snapshots[i].txn);
        t->snapshots[i].txn = NULL;
        api_model_done(&t->snapshots[i].model);
    }
}

static int t_compare(t_run *t, unsigned searches, const char *what) {
    t_all.compares++;
    return api_matches(&t->w.now, t->w.db, t->w.txn, &t->w.rng, searches, t->w.why)
               ? 0
               : t_bad(t, what);
}

static int t_reopen(t_run *t) {
    pv_stats before, after;
    char why[API_WHY];
    api_rollback(&t->w);
    t_drop_snapshots(t);
    if (t_stats(t, &before) != 0) {
        return -1;
    }
    pv_db *db = t->w.db;
    t->w.db = NULL;
    if (t_rc(t, pv_close(db, &t->w.err), "pv_close") != 0) {
        return -1;
    }
    if (t_open(t) != 0 || t_stats(t, &after) != 0) {
        return -1;
    }
    t_all.reopens++;
    if (before.db_checksum != after.db_checksum || before.lsn > after.lsn ||
        memcmp(before.uuid, after.uuid, sizeof(before.uuid)) != 0) {
        snprintf(t->w.why, sizeof(t->w.why), "other checksum, lsn or uuid after closing");
        return -1;
    }
    if (!api_is_sound(t->w.db, PV_CHECK_QUICK, why)) {
        memcpy(t->w.why, why, sizeof(why));
        return -1;
    }
    return t_compare(t, 1, "after reopening");
}

/* The process dies between two calls; with `power` the disk loses what was not synced. */
static int t_kill(t_run *t, bool power) {
    pv_stats before, after;
    if (t_stats(t, &before) != 0) {
        return -1;
    }
    if (before.durable_lsn < before.lsn) { /* async commits may be lost; crash_api.c cuts there */
        return 0;
    }
    sim *left = sim_image(t->disk, sim_op_count(t->disk),
                          power ? SIM_CUT_DROP_ALL : SIM_CUT_KEEP_ALL, test_rng_u64(&t->w.rng));
    api_rollback(&t->w);
    t_drop_snapshots(t);
    (void)pv_close(t->w.db, NULL); /* of the dead one; its disk is gone */
    sim_free(t->disk);
    t->w.db = NULL;
    t->disk = left;
    if (t_open(t) != 0 || t_stats(t, &after) != 0) {
        return t_bad(t, power ? "after a power cut" : "after a kill");
    }
    t_all.kills += !power;
    t_all.cuts += power;
    if (before.db_checksum != after.db_checksum) {
        snprintf(t->w.why, sizeof(t->w.why), "other checksum after a %s",
                 power ? "power cut" : "kill");
        return -1;
    }
    return t_compare(t, 1, power ? "after a power cut" : "after a kill");
}

/* ---- snapshots ---- */

static int t_snapshot_step(t_run *t) {
    t_snapshot *s = &t->snapshots[test_rng_below(&t->w.rng, T_SNAPSHOTS)];
    if (!s->txn) {
        api_model_copy(&s->model, t->w.txn ? &t->w.before : &t->w.now);
        t_all.snapshots++;
        return t_rc(t, pv_txn_begin(t->w.db, PV_TXN_READ, &s->txn, &t->w.err), "begin to read");
    }
    if (!api_matches(&s->model, t->w.db, s->txn, &t->w.rng, 1, t->w.why)) {
        return t_bad(t, "a snapshot");
    }
    t_all.compares++;
    if (test_rng_below(&t->w.rng, 3) == 0) {
        pv_txn_rollback(s->txn);
        s->txn = NULL;
    }
    return 0;
}

/* While a transaction writes, others see the state before it. */
static int t_outside(t_run *t) {
    return api_matches(&t->w.before, t->w.db, NULL, &t->w.rng, 0, t->w.why)
               ? 0
               : t_bad(t, "outside of a transaction");
}

/* ---- one seed ---- */

static int t_step(t_run *t) {
    api_world *w = &t->w;
    const uint64_t which = test_rng_below(&w->rng, 60);
    if (which < 6) {
        return t_snapshot_step(t);
    }
    if (which < 12) {
        if (!w->txn) {
            return api_begin(w, 0);
        }
        if (which < 7 && t_outside(t) != 0) {
            return -1;
        }
        if (which < 10) {
            return api_commit(w);
        }
        api_rollback(w);
        return which < 11 ? t_compare(t, 1, "after a rollback") : 0;
    }
    if (which == 12 && !w->txn) {
        t_all.checkpoints++;
        return t_rc(t, pv_checkpoint(w->db, &w->err), "pv_checkpoint");
    }
    if (which == 13 && test_rng_below(&w->rng, 2)) {
        return t_reopen(t);
    }
    if (which == 14) {
        return t_kill(t, test_rng_below(&w->rng, 2));
    }
    if (which < 18) {
        return t_compare(t, 2, w->txn ? "in a transaction" : "now");
    }
    return api_op(w);
}

static int t_seed_end(t_run *t) {
    api_rollback(&t->w);
    for (size_t i = 0; i < T_SNAPSHOTS; i++) {
        t_snapshot *s = &t->snapshots[i];
        if (s->txn && !api_matches(&s->model, t->w.db, s->txn, &t->w.rng, 1, t->w.why)) {
            return t_bad(t, "a snapshot at the end");
        }
    }
    if (t_compare(t, 2, "at the end") != 0 || t_reopen(t) != 0) {
        return -1;
    }
    return api_is_sound(t->w.db, PV_CHECK_DEEP, t->w.why) ? 0 : -1;
}

static int t_seed_run(uint64_t seed) {
    t_run *t = calloc(1, sizeof(*t));
    int rc = 0;
    size_t step = 0;
    if (!t) {
        abort();
    }
    t->disk = sim_new(seed);
    api_clock_init(&t->clock, seed);
    api_world_init(&t->w, NULL, seed * 2654435761u + 1);
    t->w.around = t_around;
    t->w.around_ctx = t;
    t->w.dims_max = seed % 10 == 0 ? API_DIMS_MAX : 72;
    t->w.keys = seed % 7 == 0 ? 300 : 60;
    t->w.batch = seed % 7 == 0 ? 60 : 12;
    rc = t_open(t);
    for (; rc == 0 && step < T_STEPS; step++) {
        rc = t_step(t);
    }
    if (rc == 0) {
        rc = t_seed_end(t);
    }
    if (rc != 0) {
        fprintf(stderr, "PV_MODEL_SEEDS=%" PRIu64 "-%" PRIu64 ", step %zu, last op: %s\n%s\n", seed,
                seed + 1, step, t->w.what, t->w.why);
    }
    t_all.seeds++;
    t_all.ops += t->w.ops;
    t_all.refused += t->w.refused;
    t_drop_snapshots(t);
    api_world_done(&t->w);
    if (pv_close(t->w.db, &t->w.err) != 0 && rc == 0) {
        fprintf(stderr, "seed %" PRIu64 ": close: %s\n", seed, t->w.err.message);
        rc = -1;
    }
    sim_free(t->disk);
    free(t);
    return rc;
}

static void t_seed_range(uint64_t *from, uint64_t *to) {
    const char *text = getenv("PV_MODEL_SEEDS");
    const char *soak = getenv("PV_SOAK");
    char *end = NULL;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    const uint64_t some = 200;
#else
    const uint64_t some = 1000;
#endif
    *from = 0;
    *to = soak && soak[0] == '1' ? some * 10 : some;
    if (text && text[0]) {
        const uint64_t n = strtoull(text, &end, 10);
        *from = *end == '-' ? n : 0;
        *to = *end == '-' ? strtoull(end + 1, NULL, 10) : n;
    }
}

static void test_model_api__database_is_what_the_model_says(void **state) {
    uint64_t from = 0, to = 0, failed = 0;
    (void)state;
    t_seed_range(&from, &to);
    for (uint64_t seed = from; seed < to && failed < 5; seed++) {
        failed += t_seed_run(seed) != 0;
    }
    fprintf(stderr,
            "%" PRIu64 " seeds, %" PRIu64 " writing calls (%" PRIu64 " refused), %" PRIu64
            " snapshots, %" PRIu64 " checkpoints, %" PRIu64 " reopened, %" PRIu64
            " killed, %" PRIu64 " power cuts, %" PRIu64 " whole comparisons\n",
            t_all.seeds, t_all.ops, t_all.refused, t_all.snapshots, t_all.checkpoints,
            t_all.reopens, t_all.kills, t_all.cuts, t_all.compares);
    assert_int_equal(failed, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_api__database_is_what_the_model_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
