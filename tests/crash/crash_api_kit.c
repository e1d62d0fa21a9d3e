/* SPDX-License-Identifier: Apache-2.0 */
/* crash_api_kit.c - see crash_api_kit.h: the log of commits, one image, all of them, all kinds. */
#include "crash/crash_api_kit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/map.h"

#define T_PATH "c.pv"
enum { T_NESTED_EVERY = 199 };

typedef struct t_total {
    uint64_t workloads, commits, operations, images, distinct, nested, older, again;
    uint64_t sample;
    pv__mem mem;
    pv__map seen; /* hash of an image -> workload << 32 | commit that it showed + 1 */
    const capi_kind *kinds;
    size_t kind_count;
} t_total;
static t_total t_all;

static int t_rc(capi_work *t, int rc, const char *what) {
    if (rc != 0) {
        snprintf(t->w.why, sizeof(t->w.why), "%s: %s", what, t->w.err.message);
    }
    return rc == 0 ? 0 : -1;
}

/* ---- the workload and its log of commits ---- */

/* The newest state, and which commits are durable by now. */
static int t_note(capi_work *t, size_t begun) {
    pv_stats s = PV_STATS_INIT;
    const size_t now = sim_op_count(t->disk);
    if (t_rc(t, pv_stats_get(t->w.db, &s, &t->w.err), "pv_stats_get") != 0) {
        return -1;
    }
    if (!t->w.txn && (t->count == 0 || t->commits[t->count - 1].lsn != s.lsn)) {
        assert_true(t->count < CAPI_COMMITS_MAX);
        capi_commit *c = &t->commits[t->count++];
        *c = (capi_commit){
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
    capi_work *t = ctx;
    (void)w;
    (void)want;
    if (phase == API_BEFORE) {
        t_begun = sim_op_count(t->disk);
        return 0;
    }
    return t_note(t, t_begun);
}

static int t_open(capi_work *t) {
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

int capi_reopen(capi_work *t) {
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

int capi_checkpoint(capi_work *t) {
    return t_rc(t, pv_checkpoint(t->w.db, &t->w.err), "pv_checkpoint") == 0
               ? t_note(t, sim_op_count(t->disk))
               : -1;
}

/* ---- one image ---- */

typedef struct t_cut {
    capi_work *work;
    size_t lo, hi; /* commits that may be shown; hi: one beyond the last */
    uint64_t verified;
    size_t nested_upto; /* of images of a recovery: the first cut, for messages */
    sim_cut nested_mode;
    bool nested;
} t_cut;

static int t_image_fail(const t_cut *c, size_t upto, sim_cut mode, uint64_t seed, const char *why) {
    fprintf(stderr, "PV_CRASH_SEED=%" PRIu64 " (%s), ", c->work->seed, c->work->kind->name);
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
    const capi_work *t = c->work;
    pv_stats s = PV_STATS_INIT;
    if (pv_stats_get(db, &s, NULL) != 0) {
        return SIZE_MAX;
    }
    /* Made anew: the cut was before the file was there for good. */
    const bool same = memcmp(s.uuid, t->uuid, sizeof(s.uuid)) == 0;
    snprintf(why, API_WHY, "it shows lsn %" PRIu64 " with checksum %" PRIx64 ", no such commit",
             s.lsn, s.db_checksum);
    for (size_t i = c->hi; i > c->lo; i--) {
        const capi_commit *commit = &t->commits[i - 1];
        if ((same || i == 1) && (!same || commit->checksum == s.db_checksum) &&
            api_matches(&commit->model, db, NULL, r, 1, why)) {
            return i - 1;
        }
    }
    return SIZE_MAX;
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
static void t_image_model(const capi_commit *commit, api_model *m) {
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

static int t_image_again(const t_cut *c, sim *image, api_clock *clock, const capi_commit *commit,
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
    if (*out_shown != SIZE_MAX && api_is_sound(db, PV_CHECK_DEEP, why) &&
        (!c->work->kind->look || c->work->kind->look(db, &c->work->commits[*out_shown], &r, why))) {
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

/* Was this very image opened before, in this workload, and has it shown a commit that may be shown
 * now? out_hash: for t_remember. */
static bool t_was_seen(const t_cut *c, sim *image, uint64_t *out_hash) {
    uint64_t there = 0;
    *out_hash = sim_image_hash(image) >> 1; /* never UINT64_MAX */
    t_all.images++;
    if (!pv__map_get(&t_all.seen, *out_hash, &there)) {
        t_all.distinct++;
        return false;
    }
    const size_t shown = (size_t)(there & UINT32_MAX) - 1;
    const bool same = there >> 32 == t_all.workloads && shown >= c->lo && shown < c->hi;
    t_all.again += same;
    return same;
}

static void t_remember(uint64_t hash, size_t shown) {
    assert_int_equal(
        pv__map_put(&t_all.seen, hash, t_all.workloads << 32 | (uint64_t)(shown + 1), NULL), 0);
}

static bool t_is_wanted(uint64_t seed) { return pv__mix64(seed) % t_all.sample == 0; }

static int t_nested_image(void *arg, sim *image, size_t upto, sim_cut mode, uint64_t seed) {
    const t_cut *c = arg;
    uint64_t hash = 0;
    size_t shown = 0, served = 0;
    char why[API_WHY] = "";
    if (!t_is_wanted(seed)) {
        return 0;
    }
    t_all.nested++;
    if (t_was_seen(c, image, &hash)) {
        return 0;
    }
    if (t_image_verify(c, image, seed, seed % 4 == 0, &shown, &served, why) != 0) {
        return t_image_fail(c, upto, mode, seed, why);
    }
    t_remember(hash, shown);
    return 0;
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
    capi_work *t = c->work;
    uint64_t hash = 0;
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
    if (t_was_seen(c, image, &hash)) {
        return 0;
    }
    if (t_image_verify(c, image, seed, true, &shown, &served, why) != 0) {
        return t_image_fail(c, upto, mode, seed, why);
    }
    t_remember(hash, shown);
    t_all.older += shown + 1 < c->hi;
    return ++c->verified % T_NESTED_EVERY == 0 ? t_nested(c, upto, mode, seed) : 0;
}

/* ---- one workload ---- */

static int capi_work_run(uint64_t seed) {
    const capi_kind *kind = &t_all.kinds[seed % t_all.kind_count];
    capi_work *t = calloc(1, sizeof(*t));
    int rc = 0;
    if (!t) {
        abort();
    }
    t->seed = seed;
    t->kind = kind;
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
    rc = rc ? rc : capi_reopen(t);
    if (rc != 0) {
        fprintf(stderr, "PV_CRASH_SEED=%" PRIu64 " (%s), %s: %s\n", seed, kind->name, t->w.what,
                t->w.why);
    }
    if (t->w.db && pv_close(t->w.db, &t->w.err) != 0 && rc == 0) {
        fprintf(stderr, "%s: pv_close: %s\n", kind->name, t->w.err.message);
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

uint64_t capi_hunt(const capi_kind *kinds, size_t count, uint64_t images) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    const uint64_t some = images < 1500 ? images : 1500, sample = 10;
#else
    const uint64_t some = images, sample = 1;
#endif
    const uint64_t want = t_number("PV_CRASH_IMAGES", t_number("PV_SOAK", 0) ? some * 10 : some);
    uint64_t seed = t_number("PV_CRASH_SEED", 0), failed = 0;
    const bool all_kinds = !getenv("PV_CRASH_SEED");
    memset(&t_all, 0, sizeof(t_all));
    t_all.kinds = kinds;
    t_all.kind_count = count;
    t_all.sample = t_number("PV_CRASH_SAMPLE", sample);
    pv__mem_init(&t_all.mem, NULL, 0);
    pv__map_init(&t_all.seen, &t_all.mem);
    do {
        failed += capi_work_run(seed++) != 0;
        /* All kinds are seen, unless one was asked for. */
    } while ((t_all.distinct < want || (all_kinds && seed < count)) && failed < 3);
    pv__map_done(&t_all.seen);
    fprintf(stderr,
            "%" PRIu64 " workloads, %" PRIu64 " commits, %" PRIu64
            " operations of the disk, %" PRIu64 " images (%" PRIu64 " of a recovery), %" PRIu64
            " distinct, %" PRIu64 " seen before, %" PRIu64
            " showed an earlier commit than the last begun\n",
            t_all.workloads, t_all.commits, t_all.operations, t_all.images, t_all.nested,
            t_all.distinct, t_all.again, t_all.older);
    return failed;
}

#undef T_PATH
