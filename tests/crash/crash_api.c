/* SPDX-License-Identifier: Apache-2.0 */
/* crash_api.c - power cuts at every operation of the disk while a program works through pv.h.
 *
 *      workload ----> commit 0, 1, 2, ...   model, checksum, operations before and after
 *          '--------> log of the disk --sim_each_cut--> image --pv_open--> which commit is it?
 *
 * A cut after operation `upto` may show any commit from the last that was known to be durable by
 * then to the last that had begun; nothing else, and nothing in between. Each image is opened,
 * compared with the model of the commit it shows, checked deeply, written to, closed and opened
 * again. Of a sample the recovery itself is cut at every operation, once more with all modes.
 *
 * PV_CRASH_IMAGES: go on with new workloads until so many distinct images were opened.
 * PV_CRASH_SEED: begin with this workload. PV_CRASH_SAMPLE: open only one image of so many (what
 * sanitisers do, to see all kinds of workloads). PV_SOAK=1: ten times as many images. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/map.h"
#include "sim/sim_vfs.h"
#include "support/api_ops.h"

#define T_PATH "c.pv"
enum { T_COMMITS_MAX = 400, T_NESTED_EVERY = 199 };

typedef struct t_commit {
    api_model model;
    uint64_t lsn, checksum;
    size_t begun;   /* operations of the disk before the call */
    size_t durable; /* operations after which it is known to be durable; SIZE_MAX: not yet */
} t_commit;

typedef struct t_work {
    uint64_t seed;
    const char *name;
    sim *disk;
    api_clock clock;
    api_world w;
    pv_open_opts opts;
    bool opened; /* once */
    uint8_t uuid[16];
    t_commit commits[T_COMMITS_MAX];
    size_t count;
} t_work;

typedef struct t_total {
    uint64_t workloads, commits, operations, images, distinct, nested, older, torn;
    uint64_t sample;
    pv__mem mem;
    pv__map seen; /* hash of every image */
} t_total;
static t_total t_all;

static int t_rc(t_work *t, int rc, const char *what) {
    if (rc != 0) {
        snprintf(t->w.why, sizeof(t->w.why), "%s: %s", what, t->w.err.message);
    }
    return rc == 0 ? 0 : -1;
}

/* ---- the workload and its log of commits ---- */

/* The newest state, and which commits are durable by now. */
static int t_note(t_work *t, size_t begun) {
    pv_stats s = PV_STATS_INIT;
    const size_t now = sim_op_count(t->disk);
    if (t_rc(t, pv_stats_get(t->w.db, &s, &t->w.err), "pv_stats_get") != 0) {
        return -1;
    }
    if (!t->w.txn && (t->count == 0 || t->commits[t->count - 1].lsn != s.lsn)) {
        assert_true(t->count < T_COMMITS_MAX);
        t_commit *c = &t->commits[t->count++];
        *c = (t_commit){
            .lsn = s.lsn, .checksum = s.db_checksum, .begun = begun, .durable = SIZE_MAX};
        api_model_copy(&c->model, &t->w.now);
    }
    for (size_t i = t->count; i > 0 && t->commits[i - 1].durable == SIZE_MAX; i--) {
        if (t->commits[i - 1].lsn <= s.durable_lsn) {
            t->commits[i - 1].durable = now;
        }
    }
    return 0;
}

static size_t t_begun;

static int t_around(void *ctx, api_world *w, api_phase phase, int want) {
    t_work *t = ctx;
    (void)w;
    (void)want;
    if (phase == API_BEFORE) {
        t_begun = sim_op_count(t->disk);
        return 0;
    }
    return t_note(t, t_begun);
}

static int t_open(t_work *t) {
    const size_t begun = sim_op_count(t->disk);
    pv_stats s = PV_STATS_INIT;
    t->opts.vfs = sim_vfs(t->disk);
    t->opts.clock = &t->clock.clock;
    t->opts.threads = 1;
    if (t_rc(t, pv_open(T_PATH, &t->opts, &t->w.db, &t->w.err), "pv_open") != 0 ||
        t_rc(t, pv_stats_get(t->w.db, &s, &t->w.err), "pv_stats_get") != 0) {
        return -1;
    }
    memcpy(t->uuid, s.uuid, sizeof(t->uuid));
    if (t->opened && (t->commits[t->count - 1].lsn != s.lsn ||
                      t->commits[t->count - 1].checksum != s.db_checksum)) {
        snprintf(t->w.why, sizeof(t->w.why), "other lsn or checksum after reopening");
        return -1;
    }
    t->opened = true;
    return t_note(t, begun);
}

static int t_reopen(t_work *t) {
    pv_db *db = t->w.db;
    api_rollback(&t->w);
    t->w.db = NULL;
    if (t_rc(t, pv_close(db, &t->w.err), "pv_close") != 0) {
        return -1;
    }
    for (size_t i = 0; i < t->count; i++) { /* a clean close makes all durable */
        if (t->commits[i].durable == SIZE_MAX) {
            t->commits[i].durable = sim_op_count(t->disk);
        }
    }
    return t_open(t);
}

static int t_checkpoint(t_work *t) {
    return t_rc(t, pv_checkpoint(t->w.db, &t->w.err), "pv_checkpoint") == 0
               ? t_note(t, sim_op_count(t->disk))
               : -1;
}

/* ---- workloads: each a list of steps, any of which may fail ---- */

#define T_DO(x)                                                                                    \
    do {                                                                                           \
        if ((x) != 0) {                                                                            \
            return -1;                                                                             \
        }                                                                                          \
    } while (0)

/* Batches over a collection of texts and one of numbers; some keys come again. */
static int t_work_batches(t_work *t) {
    T_DO(api_op_create(&t->w, "a", 24, PV_METRIC_L2, PV_KEY_STRING));
    T_DO(api_op_create(&t->w, "b", 3, PV_METRIC_DOT, PV_KEY_U64));
    for (uint32_t i = 0; i < 8; i++) {
        T_DO(api_op_upsert(&t->w, "a", i * 6, 9));
        T_DO(api_op_upsert(&t->w, "b", i * 9, 12));
    }
    return 0;
}

/* Slots become free and are used again by others. */
static int t_work_deletes(t_work *t) {
    T_DO(api_op_create(&t->w, "a", 64, PV_METRIC_COSINE, PV_KEY_U64));
    T_DO(api_op_upsert(&t->w, "a", 0, 60));
    for (uint32_t i = 0; i < 7; i++) {
        T_DO(api_op_delete(&t->w, "a", i * 8, 8));
        T_DO(api_op_upsert(&t->w, "a", 100 + i * 6, 6));
    }
    T_DO(api_op_delete(&t->w, "a", 0, 64));
    T_DO(api_op_delete(&t->w, "a", 64, 64));
    T_DO(api_op_delete(&t->w, "a", 128, 64));
    return api_op_upsert(&t->w, "a", 5, 3);
}

/* Collections come and go, under the same name with another shape. */
static int t_work_drops(t_work *t) {
    T_DO(api_op_create(&t->w, "keep", 3, PV_METRIC_L2, PV_KEY_STRING));
    T_DO(api_op_upsert(&t->w, "keep", 0, 10));
    for (uint32_t i = 0; i < 4; i++) {
        T_DO(api_op_create(&t->w, "a", 30 + i * 40, 1 + i % 3, 1 + i % 2));
        T_DO(api_op_upsert(&t->w, "a", 0, 40));
        T_DO(api_op_upsert(&t->w, "keep", i, 3));
        T_DO(api_op_drop(&t->w, "a"));
    }
    T_DO(api_begin(&t->w, 0)); /* made, filled and dropped inside one transaction */
    T_DO(api_op_create(&t->w, "x", 12, PV_METRIC_L2, PV_KEY_U64));
    T_DO(api_op_upsert(&t->w, "x", 0, 20));
    T_DO(api_op_drop(&t->w, "x"));
    T_DO(api_op_drop(&t->w, "keep"));
    T_DO(api_op_create(&t->w, "keep", 6, PV_METRIC_DOT, PV_KEY_U64));
    T_DO(api_op_upsert(&t->w, "keep", 0, 20));
    return api_commit(&t->w);
}

/* Transactions over two collections, every second one undone. */
static int t_work_rollbacks(t_work *t) {
    T_DO(api_op_create(&t->w, "a", 8, PV_METRIC_L2, PV_KEY_STRING));
    T_DO(api_op_create(&t->w, "b", 33, PV_METRIC_COSINE, PV_KEY_U64));
    for (uint32_t i = 0; i < 10; i++) {
        T_DO(api_begin(&t->w, 0));
        T_DO(api_op_upsert(&t->w, "a", i * 3, 8));
        T_DO(api_op_delete(&t->w, "b", i * 2, 5));
        T_DO(api_op_upsert(&t->w, "b", i * 4, 8));
        for (int k = 0; k < 3; k++) {
            T_DO(api_op(&t->w));
        }
        if (i % 2) {
            api_rollback(&t->w);
        } else {
            T_DO(api_commit(&t->w));
        }
    }
    return 0;
}

/* Anything, with checkpoints and clean closes between. */
static int t_work_mixed(t_work *t) {
    for (uint32_t i = 0; i < 60; i++) {
        const uint64_t which = test_rng_below(&t->w.rng, 24);
        if (which == 0 && !t->w.txn) {
            T_DO(t_checkpoint(t));
        } else if (which == 1 && !t->w.txn) {
            T_DO(t_reopen(t));
        } else if (which < 5 && !t->w.txn) {
            T_DO(api_begin(&t->w, 0));
        } else if (which < 5) {
            T_DO(api_commit(&t->w));
        } else {
            T_DO(api_op(&t->w));
        }
    }
    api_rollback(&t->w);
    return 0;
}

/* Transactions too large for the cache, whose pages the log names by slot; small ones that change
 * the same pages by some bytes; and checkpoints, which must leave those slots alone until the new
 * root is there. */
static int t_work_spills(t_work *t) {
    T_DO(api_op_create(&t->w, "a", 300, PV_METRIC_L2, PV_KEY_U64));
    for (uint32_t i = 0; i < 3; i++) {
        T_DO(api_begin(&t->w, 0));
        T_DO(api_op_upsert(&t->w, "a", i * 20, 110));
        T_DO(api_commit(&t->w));
        T_DO(api_op_upsert(&t->w, "a", i * 20 + 3, 1));
        T_DO(api_op_upsert(&t->w, "a", i * 20 + 70, 1));
        T_DO(api_op_delete(&t->w, "a", i * 20 + 4, 2));
        T_DO(t_checkpoint(t));
        T_DO(api_op_upsert(&t->w, "a", i * 20 + 3, 1));
    }
    return 0;
}

/* Commits that do not wait for the disk: the last ones may be lost, in order. */
static int t_work_async(t_work *t) {
    T_DO(api_op_create(&t->w, "a", 10, PV_METRIC_L2, PV_KEY_U64));
    for (uint32_t i = 0; i < 24; i++) {
        T_DO(api_op_upsert(&t->w, "a", i * 3, 4));
        if (i % 9 == 8) {
            T_DO(i == 8 ? t_checkpoint(t) : t_reopen(t));
        }
    }
    return 0;
}

typedef struct t_kind {
    const char *name;
    int (*run)(t_work *t);
    uint64_t checkpoint_bytes;
    uint64_t cache_bytes; /* 1: the least, transactions go to slots before they commit */
    uint32_t sync;
} t_kind;

static const t_kind t_kinds[] = {
    {"batches", t_work_batches, 0, 0, PV_SYNC_FULL},
    {"deletes", t_work_deletes, 0, 0, PV_SYNC_FULL},
    {"drops", t_work_drops, 0, 0, PV_SYNC_FULL},
    {"rollbacks", t_work_rollbacks, 0, 0, PV_SYNC_FULL},
    {"mixed", t_work_mixed, 0, 0, PV_SYNC_FULL},
    {"mixed with checkpoints", t_work_mixed, 48u << 10, 0, PV_SYNC_FULL},
    {"mixed with the least cache", t_work_mixed, 0, 1, PV_SYNC_FULL},
    {"rollbacks with little cache", t_work_rollbacks, 0, 300u << 10, PV_SYNC_FULL},
    {"spills", t_work_spills, 0, 512u << 10, PV_SYNC_FULL},
    {"drops with checkpoints", t_work_drops, 32u << 10, 0, PV_SYNC_FULL},
    {"async", t_work_async, 0, 0, PV_SYNC_ASYNC},
};
enum { T_KINDS = sizeof(t_kinds) / sizeof(t_kinds[0]) };

#undef T_DO

/* ---- one image ---- */

typedef struct t_cut {
    t_work *work;
    size_t lo, hi; /* commits that may be shown; hi: one beyond the last */
    uint64_t verified;
    size_t nested_upto; /* of images of a recovery: the first cut, for messages */
    sim_cut nested_mode;
    bool nested;
} t_cut;

static int t_image_fail(const t_cut *c, size_t upto, sim_cut mode, uint64_t seed, const char *why) {
    fprintf(stderr, "PV_CRASH_SEED=%" PRIu64 " (%s), ", c->work->seed, c->work->name);
    if (c->nested) {
        fprintf(stderr, "cut %zu %s, then its recovery, ", c->nested_upto,
                sim_cut_name(c->nested_mode));
    }
    fprintf(stderr, "cut %zu %s seed %" PRIu64 ", commits %zu to %zu: %s\n", upto,
            sim_cut_name(mode), seed, c->lo, c->hi - 1, why);
    return -1;
}

/* The commit that the open database shows; SIZE_MAX: none that is allowed. */
static size_t t_image_which(const t_cut *c, pv_db *db, test_rng *r, char why[API_WHY]) {
    const t_work *t = c->work;
    pv_stats s = PV_STATS_INIT;
    if (pv_stats_get(db, &s, NULL) != 0) {
        return SIZE_MAX;
    }
    /* Made anew: the cut was before the file was there for good. */
    const bool same = memcmp(s.uuid, t->uuid, sizeof(s.uuid)) == 0;
    snprintf(why, API_WHY, "it shows lsn %" PRIu64 " with checksum %" PRIx64 ", no such commit",
             s.lsn, s.db_checksum);
    for (size_t i = c->hi; i > c->lo; i--) {
        const t_commit *commit = &t->commits[i - 1];
        if ((same || i == 1) && (!same || commit->checksum == s.db_checksum) &&
            api_matches(&commit->model, db, NULL, r, 1, why)) {
            return i - 1;
        }
    }
    return SIZE_MAX;
}

typedef struct t_findings {
    uint64_t superblocks;
    char why[API_WHY];
} t_findings;

static void t_finding(void *ctx, const char *collection, uint64_t page_id, const char *message) {
    t_findings *f = ctx;
    if (strstr(message, "superblock")) {
        f->superblocks++;
    } else if (!f->why[0]) {
        snprintf(f->why, sizeof(f->why), "pv_check, collection '%s', page %" PRIu64 ": %s",
                 collection ? collection : "-", page_id, message);
    }
}

/* The superblock that was being written may be torn; its twin holds, and the next close mends it.
 * Anything else is a fault. */
static bool t_image_sound(pv_db *db, char why[API_WHY]) {
    pv_error err = PV_ERROR_INIT;
    uint64_t problems = UINT64_MAX;
    t_findings f = {0, ""};
    if (pv_check(db, PV_CHECK_DEEP, t_finding, &f, &problems, &err) != 0) {
        snprintf(why, API_WHY, "pv_check: %s", err.message);
        return false;
    }
    t_all.torn += f.superblocks;
    memcpy(why, f.why, sizeof(f.why));
    if (problems != f.superblocks && !why[0]) {
        snprintf(why, API_WHY, "pv_check counts %" PRIu64 " problems and names fewer", problems);
    }
    return !why[0];
}

/* Life goes on: one more upsert, found by a search. */
static int t_image_use(pv_db *db, char why[API_WHY]) {
    const float vector[3] = {1, 2, 3};
    pv_error err = PV_ERROR_INIT;
    pv_collection_opts o = PV_COLLECTION_OPTS_INIT;
    pv_record rec = PV_RECORD_INIT;
    pv_query q = PV_QUERY_INIT;
    pv_results *res = NULL;
    o.dims = q.dims = rec.dims = 3;
    o.metric = PV_METRIC_L2;
    rec.id = "more";
    q.vector = rec.vector = vector;
    q.k = 2;
    int rc = pv_collection_ensure(db, NULL, "more", &o, &err);
    rc = rc ? rc : pv_upsert(db, NULL, "more", &rec, 1, NULL, &err);
    rc = rc ? rc : pv_search(db, NULL, "more", &q, &res, &err);
    if (rc != 0) {
        snprintf(why, API_WHY, "one more upsert: %s", err.message);
    } else if (pv_results_count(res) != 1 || pv_results_distance(res, 0) > 0 ||
               strcmp(pv_results_id(res, 0), "more") != 0) {
        snprintf(why, API_WHY, "one more upsert is not found");
        rc = -1;
    }
    pv_results_free(res);
    return rc == 0 ? 0 : -1;
}

/* A model with what t_image_use has added. */
static void t_image_model(const t_commit *commit, api_model *m) {
    const api_meta none = {-1, -1, 0, 0};
    const float vector[3] = {1, 2, 3};
    api_model_copy(m, &commit->model);
    api_collection_put(api_model_create(m, "more", 3, PV_METRIC_L2, PV_KEY_STRING, true), "more", 0,
                       vector, &none);
}

static int t_image_open(const t_cut *c, sim *image, api_clock *clock, pv_db **out, const char *when,
                        char why[API_WHY]) {
    pv_error err = PV_ERROR_INIT;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    o.vfs = sim_vfs(image);
    o.clock = &clock->clock;
    o.threads = 1;
    o.checkpoint_bytes = c->work->opts.checkpoint_bytes;
    o.cache_bytes = c->work->opts.cache_bytes;
    if (pv_open(T_PATH, &o, out, &err) != 0) {
        snprintf(why, API_WHY, "pv_open %s: %s", when, err.message);
        return -1;
    }
    return 0;
}

static int t_image_again(const t_cut *c, sim *image, api_clock *clock, const t_commit *commit,
                         test_rng *r, char why[API_WHY]) {
    pv_error err = PV_ERROR_INIT;
    pv_db *db = NULL;
    api_model m;
    api_model_init(&m);
    int rc = t_image_open(c, image, clock, &db, "once more", why);
    if (rc == 0) {
        t_image_model(commit, &m);
        rc = api_matches(&m, db, NULL, r, 0, why) && api_is_sound(db, PV_CHECK_DEEP, why) ? 0 : -1;
    }
    if (pv_close(db, &err) != 0 && rc == 0) {
        snprintf(why, API_WHY, "the last pv_close: %s", err.message);
        rc = -1;
    }
    api_model_done(&m);
    return rc;
}

/* Open and compare; with `use` also write, close and open again. out_served: operations after
 * which the database was open and a commit had been shown. */
static int t_image_verify(const t_cut *c, sim *image, uint64_t seed, bool use, size_t *out_shown,
                          size_t *out_served, char why[API_WHY]) {
    pv_error err = PV_ERROR_INIT;
    pv_db *db = NULL;
    api_clock clock;
    test_rng r;
    int rc = -1;
    api_clock_init(&clock, seed + 77);
    test_rng_init(&r, seed);
    if (t_image_open(c, image, &clock, &db, "after the cut", why) != 0) {
        return -1;
    }
    *out_served = sim_op_count(image);
    *out_shown = t_image_which(c, db, &r, why);
    if (*out_shown != SIZE_MAX && t_image_sound(db, why)) {
        rc = use ? t_image_use(db, why) : 0;
    }
    if (pv_close(db, &err) != 0 && rc == 0) {
        snprintf(why, API_WHY, "pv_close: %s", err.message);
        rc = -1;
    }
    if (rc == 0 && use) {
        rc = t_image_again(c, image, &clock, &c->work->commits[*out_shown], &r, why);
    }
    return rc;
}

/* ---- all images ---- */

static bool t_is_new(sim *image) {
    const uint64_t hash = sim_image_hash(image) >> 1; /* never UINT64_MAX */
    uint64_t there = 0;
    t_all.images++;
    if (pv__map_get(&t_all.seen, hash, &there)) {
        return false;
    }
    assert_int_equal(pv__map_put(&t_all.seen, hash, 1, NULL), 0);
    t_all.distinct++;
    return true;
}

static bool t_is_wanted(uint64_t seed) { return pv__mix64(seed) % t_all.sample == 0; }

static int t_nested_image(void *arg, sim *image, size_t upto, sim_cut mode, uint64_t seed) {
    const t_cut *c = arg;
    size_t shown = 0, served = 0;
    char why[API_WHY] = "";
    if (!t_is_wanted(seed)) {
        return 0;
    }
    (void)t_is_new(image);
    t_all.nested++;
    return t_image_verify(c, image, seed, seed % 4 == 0, &shown, &served, why) == 0
               ? 0
               : t_image_fail(c, upto, mode, seed, why);
}

/* The recovery of an image, cut at every operation. Until it has served, any allowed commit may be
 * shown; afterwards only the one that it has shown. */
static int t_nested(const t_cut *c, size_t upto, sim_cut mode, uint64_t seed) {
    t_cut inner = *c;
    size_t shown = 0, served = 0;
    char why[API_WHY] = "";
    int rc = 0;
    sim *image = sim_image(c->work->disk, upto, mode, seed);
    const size_t base = sim_op_count(image);
    inner.nested = true;
    inner.nested_upto = upto;
    inner.nested_mode = mode;
    if (t_image_verify(c, image, seed, false, &shown, &served, why) != 0) {
        sim_free(image);
        return t_image_fail(c, upto, mode, seed, why);
    }
    if (served > base) {
        sim_each_cut(image, base, served - 1, 1, seed, t_nested_image, &inner, &rc);
    }
    if (rc == 0) {
        inner.lo = shown;
        inner.hi = shown + 1;
        sim_each_cut(image, served, sim_op_count(image), 1, seed + 1, t_nested_image, &inner, &rc);
    }
    sim_free(image);
    return rc;
}

static int t_cut_image(void *arg, sim *image, size_t upto, sim_cut mode, uint64_t seed) {
    t_cut *c = arg;
    t_work *t = c->work;
    size_t shown = 0, served = 0;
    char why[API_WHY] = "";
    while (c->lo + 1 < t->count && t->commits[c->lo + 1].durable <= upto) {
        c->lo++;
    }
    while (c->hi < t->count && t->commits[c->hi].begun < upto) {
        c->hi++;
    }
    if (!t_is_wanted(seed)) {
        return 0;
    }
    (void)t_is_new(image);
    if (t_image_verify(c, image, seed, true, &shown, &served, why) != 0) {
        return t_image_fail(c, upto, mode, seed, why);
    }
    t_all.older += shown + 1 < c->hi;
    return ++c->verified % T_NESTED_EVERY == 0 ? t_nested(c, upto, mode, seed) : 0;
}

/* ---- one workload ---- */

static int t_work_run(uint64_t seed) {
    const t_kind *kind = &t_kinds[seed % T_KINDS];
    t_work *t = calloc(1, sizeof(*t));
    int rc = 0;
    if (!t) {
        abort();
    }
    t->seed = seed;
    t->name = kind->name;
    t->disk = sim_new(seed);
    t->opts = (pv_open_opts)PV_OPEN_OPTS_INIT;
    t->opts.checkpoint_bytes = kind->checkpoint_bytes;
    t->opts.cache_bytes = kind->cache_bytes;
    t->opts.sync = kind->sync;
    api_clock_init(&t->clock, seed);
    api_world_init(&t->w, NULL, seed + 1);
    t->w.around = t_around;
    t->w.around_ctx = t;
    t->w.keys = 40;
    t->w.batch = 8;
    t->w.names = 3;
    rc = t_open(t);
    rc = rc ? rc : kind->run(t);
    rc = rc ? rc : t_reopen(t);
    if (rc != 0) {
        fprintf(stderr, "PV_CRASH_SEED=%" PRIu64 " (%s), %s: %s\n", seed, t->name, t->w.what,
                t->w.why);
    }
    if (t->w.db && pv_close(t->w.db, &t->w.err) != 0 && rc == 0) {
        fprintf(stderr, "%s: pv_close: %s\n", t->name, t->w.err.message);
        rc = -1;
    }
    t->w.db = NULL;
    if (rc == 0) {
        t_cut cut = {.work = t, .lo = 0, .hi = 1};
        sim_each_cut(t->disk, 0, sim_op_count(t->disk), 1, seed * 1000003u, t_cut_image, &cut, &rc);
    }
    t_all.workloads++;
    t_all.commits += t->count;
    t_all.operations += sim_op_count(t->disk);
    for (size_t i = 0; i < t->count; i++) {
        api_model_done(&t->commits[i].model);
    }
    api_world_done(&t->w);
    sim_free(t->disk);
    free(t);
    return rc;
}

static uint64_t t_number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text && text[0] ? strtoull(text, NULL, 0) : otherwise;
}

static void test_crash_api__every_cut_shows_a_commit(void **state) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    const uint64_t some = 1500, sample = 10;
#else
    const uint64_t some = 40000, sample = 1;
#endif
    const uint64_t want = t_number("PV_CRASH_IMAGES", t_number("PV_SOAK", 0) ? some * 10 : some);
    uint64_t seed = t_number("PV_CRASH_SEED", 0), failed = 0;
    const bool all_kinds = !getenv("PV_CRASH_SEED");
    (void)state;
    t_all.sample = t_number("PV_CRASH_SAMPLE", sample);
    pv__mem_init(&t_all.mem, NULL, 0);
    pv__map_init(&t_all.seen, &t_all.mem);
    do {
        failed += t_work_run(seed++) != 0;
        /* All kinds are seen, unless one was asked for. */
    } while ((t_all.distinct < want || (all_kinds && seed < T_KINDS)) && failed < 3);
    pv__map_done(&t_all.seen);
    fprintf(stderr,
            "%" PRIu64 " workloads, %" PRIu64 " commits, %" PRIu64
            " operations of the disk, %" PRIu64 " images opened (%" PRIu64
            " of a recovery), %" PRIu64 " distinct, %" PRIu64
            " showed an earlier commit than the last begun, %" PRIu64 " a torn superblock\n",
            t_all.workloads, t_all.commits, t_all.operations, t_all.images, t_all.nested,
            t_all.distinct, t_all.older, t_all.torn);
    assert_int_equal(failed, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash_api__every_cut_shows_a_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#undef T_PATH
