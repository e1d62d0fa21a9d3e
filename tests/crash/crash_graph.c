/* SPDX-License-Identifier: Apache-2.0 */
/* crash_graph.c - power cuts while a large graph changes: single inserts, deletes and what repairs
 * after them, sweeps, a graph built again beside the one in use, one given up because it is
 * damaged, old pages given back.
 *
 *      base (made once, some upper levels) --copy--> workload --sim_each_cut--> image
 *
 * Each image shows one of the commits that may be shown: same LSN, same checksum, and the answers
 * of a few searches through the graph are the same bits. Of some images every page is checked, and
 * life goes on: one more record, some upkeep, close, open, check.
 *
 * PV_CRASH_NODES: size of the base. PV_CRASH_IMAGES: so many distinct images. PV_CRASH_SEED: begin
 * with this workload. With sanitizers one image of ten is opened. PV_SOAK=1: 20,000 nodes and
 * 50,000 images. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/map.h"
#include "engine/index.h"
#include "engine/upkeep.h"
#include "sim/sim_vfs.h"
#include "support/api_model.h"
#include "support/test_support.h"

#define T_PATH "g.pv"
enum { T_DIMS = 8, T_COMMITS = 600, T_QUERIES = 4, T_K = 10, T_DEEP_EVERY = 40, T_WHY = 600 };

typedef struct t_commit {
    uint64_t lsn, checksum, answers;
    size_t begun, durable; /* operations of the disk; SIZE_MAX: not known to be durable yet */
} t_commit;

typedef struct t_work {
    uint64_t seed;
    sim *disk;
    api_clock clock;
    pv_db *db;
    pv_error err;
    test_rng rng;
    uint64_t next;  /* number */
    uint64_t *live; /* numbers that are there */
    size_t count, cap;
    t_commit commits[T_COMMITS];
    size_t commit_count;
    char why[T_WHY];
} t_work;

static struct {
    sim *base;
    size_t nodes;
    uint32_t index; /* PV_INDEX_ */
    uint64_t sample, images, distinct, deep, workloads, commits;
    uint64_t swaps, losses, sweeps, graves;
    pv__mem mem;
    pv__map seen;
} t_all;

#define T_DO(x)                                                                                    \
    do {                                                                                           \
        if ((x) != 0) {                                                                            \
            return -1;                                                                             \
        }                                                                                          \
    } while (0)

static int t_rc(t_work *t, int rc, const char *what) {
    if (rc != 0 && !t->why[0]) {
        snprintf(t->why, sizeof t->why, "%s: %s", what, t->err.message);
    }
    return rc == 0 ? 0 : -1;
}

static void t_vector(test_rng *r, float v[T_DIMS]) {
    const uint64_t hub = test_rng_below(r, 40);
    for (size_t d = 0; d < T_DIMS; d++) {
        v[d] = (float)(hub * (d + 3) % 17) + (float)test_rng_below(r, 512) / 128.0f;
    }
}

static int t_open_on(sim *disk, api_clock *clock, pv_db **out, pv_error *err) {
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    o.vfs = sim_vfs(disk);
    o.clock = &clock->clock;
    o.threads = 1;
    o.checkpoint_bytes = 256u << 10;
    o.log_level = PV_LOG_ERROR;
    return pv_open(T_PATH, &o, out, err);
}

/* The answers of a few searches, as one number. */
static int t_answers(pv_db *db, uint64_t *out, pv_error *err) {
    test_rng r;
    uint64_t hash = 0;
    test_rng_init(&r, 5);
    for (unsigned i = 0; i < T_QUERIES; i++) {
        float v[T_DIMS];
        pv_results *res = NULL;
        pv_query q = PV_QUERY_INIT;
        t_vector(&r, v);
        q.vector = v;
        q.dims = T_DIMS;
        q.k = T_K;
        q.ef = 20;
        const int rc = pv_search(db, NULL, "c", &q, &res, err);
        if (rc != 0) {
            return rc;
        }
        for (size_t h = 0; h < pv_results_count(res); h++) {
            const float d = pv_results_distance(res, h);
            uint32_t bits;
            memcpy(&bits, &d, 4);
            hash = pv__mix64(hash ^ pv_results_id_u64(res, h) ^ (uint64_t)bits << 32);
        }
        pv_results_free(res);
    }
    *out = hash;
    return 0;
}

/* ---- steps of a workload ---- */

/* The newest state, and which commits are durable by now. */
static int t_note(t_work *t, size_t begun) {
    pv_stats s = PV_STATS_INIT;
    T_DO(t_rc(t, pv_stats_get(t->db, &s, &t->err), "pv_stats_get"));
    if (t->commit_count == 0 || t->commits[t->commit_count - 1].lsn != s.lsn) {
        assert_true(t->commit_count < T_COMMITS);
        t_commit *c = &t->commits[t->commit_count++];
        *c = (t_commit){
            .lsn = s.lsn, .checksum = s.db_checksum, .begun = begun, .durable = SIZE_MAX};
        T_DO(t_rc(t, t_answers(t->db, &c->answers, &t->err), "search"));
    }
    for (size_t i = t->commit_count; i > 0 && t->commits[i - 1].durable == SIZE_MAX; i--) {
        if (t->commits[i - 1].lsn <= s.durable_lsn) {
            t->commits[i - 1].durable = sim_op_count(t->disk);
        }
    }
    return 0;
}

static int t_insert(t_work *t, size_t count) {
    const size_t begun = sim_op_count(t->disk);
    float *v = malloc(count * T_DIMS * sizeof *v);
    uint64_t *ids = malloc(count * sizeof *ids);
    pv_batch b = PV_BATCH_INIT;
    assert_true(v && ids);
    if (t->count + count > t->cap) {
        t->cap = 2 * (t->count + count);
        t->live = realloc(t->live, t->cap * sizeof *t->live);
        assert_non_null(t->live);
    }
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && i % 10 == 9) { /* equal vectors share a node */
            memcpy(v + i * T_DIMS, v + (i - 1) * T_DIMS, T_DIMS * sizeof *v);
        } else {
            t_vector(&t->rng, v + i * T_DIMS);
        }
        ids[i] = t->next++;
        t->live[t->count++] = ids[i];
    }
    b.count = count;
    b.dims = T_DIMS;
    b.vectors = v;
    b.ids_u64 = ids;
    const int rc = pv_insert_batch(t->db, NULL, "c", &b, NULL, &t->err);
    free(ids);
    free(v);
    T_DO(t_rc(t, rc, "insert"));
    return t_note(t, begun);
}

static int t_delete(t_work *t, size_t count) {
    const size_t begun = sim_op_count(t->disk);
    uint64_t *ids = malloc(count * sizeof *ids), deleted = 0;
    pv_ids list = PV_IDS_INIT;
    assert_non_null(ids);
    for (size_t i = 0; i < count; i++) {
        const size_t at = test_rng_below(&t->rng, t->count);
        ids[i] = t->live[at];
        t->live[at] = t->live[--t->count];
    }
    list.count = count;
    list.ids_u64 = ids;
    const int rc = pv_delete_many(t->db, NULL, "c", &list, &deleted, &t->err);
    free(ids);
    T_DO(t_rc(t, rc, "delete"));
    return t_note(t, begun);
}

/* One step of the background, in units instead of by the clock. */
static int t_step(pv_db *db, uint32_t units, bool *out_more, pv_error *err) {
    const pv__index_budget budget = {0, units};
    pv__txn *txn = NULL;
    pv__parts p;
    int rc = pv__txn_begin(db->store, PV__TXN_WRITE | PV__TXN_ASYNC | PV__TXN_CHORE, &txn, err);
    if (rc != 0) {
        return rc;
    }
    rc = pv__parts_open(&p, txn, "c", err);
    if (rc == 0) {
        const uint64_t graph = p.c.graph.page;
        const bool sweeps =
            p.c.graph.page && pv__parts_graph(&p, 0, 1, NULL) == 0 && p.graph.meta.sweep_phase != 0;
        rc = pv__index_upkeep(db, &p, budget, err);
        t_all.swaps += graph != p.c.graph.page;
        t_all.sweeps += sweeps;
        *out_more = pv__index_due(db, &p);
    }
    pv__parts_done(&p);
    if (rc == 0 && !*out_more) {
        rc = pv__index_graves(db, txn, budget, out_more, err);
        t_all.graves += *out_more;
    }
    if (rc != 0) {
        pv__txn_rollback(txn);
        return rc;
    }
    return pv__txn_commit(txn, NULL, err);
}

static int t_upkeep(t_work *t, uint32_t units, unsigned steps) {
    bool more = true;
    for (unsigned i = 0; i < steps && more; i++) {
        const size_t begun = sim_op_count(t->disk);
        T_DO(t_rc(t, t_step(t->db, units, &more, &t->err), "upkeep"));
        T_DO(t_note(t, begun));
    }
    return 0;
}

/* A bug has left the graph's page unreadable for us. */
static int t_damage(t_work *t) {
    const size_t begun = sim_op_count(t->disk);
    pv__txn *txn = NULL;
    pv__parts p;
    uint8_t *page = NULL;
    T_DO(t_rc(t, pv__txn_begin(t->db->store, PV__TXN_WRITE, &txn, &t->err), "begin"));
    int rc = pv__parts_open(&p, txn, "c", &t->err);
    rc = rc ? rc : pv__page_write(txn, p.c.graph.page, PV__PAGE_GRAPH, &page, &t->err);
    if (rc == 0) {
        pv__put32(page + PV__PAGE_HEAD, 0);
    }
    pv__parts_done(&p);
    if (rc != 0) {
        pv__txn_rollback(txn);
        return t_rc(t, rc, "damage");
    }
    T_DO(t_rc(t, pv__txn_commit(txn, NULL, &t->err), "commit"));
    t_all.losses++;
    return t_note(t, begun);
}

/* ---- workloads ---- */

static int t_work_inserts(t_work *t) {
    for (unsigned i = 0; i < 25; i++) {
        T_DO(t_insert(t, i % 5 == 4 ? 40 : 1 + i % 3));
        if (i % 8 == 7) {
            T_DO(t_delete(t, 2));
        }
    }
    return 0;
}

static int t_work_deletes(t_work *t) {
    T_DO(t_delete(t, t_all.nodes / 12));
    for (unsigned i = 0; i < 12; i++) { /* each pays for a part of the sweep, too */
        T_DO(t_delete(t, 1 + t_all.nodes / 150));
        T_DO(t_insert(t, 3));
        T_DO(t_upkeep(t, 1 + (uint32_t)t_all.nodes / 2000, 2));
    }
    return t_upkeep(t, (uint32_t)t_all.nodes / 40, 60);
}

static int t_work_rebuild(t_work *t) {
    /* Lists have places to spare: they are made anew later. */
    T_DO(t_delete(t, t_all.nodes * (t_all.index == PV_INDEX_IVF ? 4 : 2) / 5));
    T_DO(t_upkeep(t, (uint32_t)t_all.nodes / 16, 6));
    for (unsigned i = 0; i < 6; i++) {
        T_DO(t_insert(t, 2));
        T_DO(t_delete(t, 3));
        T_DO(t_upkeep(t, (uint32_t)t_all.nodes / 100, 1));
    }
    return t_upkeep(t, (uint32_t)t_all.nodes / 60, 60);
}

static int t_work_damage(t_work *t) {
    T_DO(t_damage(t));
    T_DO(t_insert(t, 3));
    T_DO(t_delete(t, 4));
    T_DO(t_upkeep(t, (uint32_t)t_all.nodes / 60, 5));
    T_DO(t_insert(t, 3));
    return t_upkeep(t, (uint32_t)t_all.nodes / 30, 60);
}

static const struct {
    const char *name;
    int (*run)(t_work *t);
} t_kinds[] = {
    {"inserts", t_work_inserts},
    {"deletes", t_work_deletes},
    {"rebuild", t_work_rebuild},
    {"damage", t_work_damage},
};

/* ---- images ---- */

typedef struct t_cut {
    t_work *work;
    size_t lo, hi; /* commits that may be shown */
} t_cut;

static int t_check(pv_db *db, pv_error *err, char *why) {
    uint64_t problems = 0;
    if (pv_check(db, PV_CHECK_DEEP, NULL, NULL, &problems, err) != 0 || problems != 0) {
        snprintf(why, T_WHY, "check: %" PRIu64 " problems %s", problems, err->message);
        return -1;
    }
    return 0;
}

/* The planted damage is still there until somebody writes: then a check is right to complain. */
static bool t_is_damaged(pv_db *db) {
    pv_collection_info info = PV_COLLECTION_INFO_INIT;
    return pv_collection_info_get(db, NULL, "c", &info, NULL) == 0 &&
           (info.flags & PV_COLLECTION_INDEX_DAMAGED);
}

static int t_go_on(sim *image, api_clock *clock, pv_db **io_db, char *why) {
    pv_error err = PV_ERROR_INIT;
    const float v[T_DIMS] = {1, 2, 3, 4, 5, 6, 7, 8};
    pv_record rec = PV_RECORD_INIT;
    bool more = true;
    if (!t_is_damaged(*io_db) && t_check(*io_db, &err, why) != 0) {
        return -1;
    }
    rec.id_u64 = 1u << 30;
    rec.vector = v;
    rec.dims = T_DIMS;
    int rc = pv_upsert(*io_db, NULL, "c", &rec, 1, NULL, &err);
    for (unsigned i = 0; i < 3 && more && rc == 0; i++) {
        rc = t_step(*io_db, 200, &more, &err);
    }
    rc = rc ? rc : pv_close(*io_db, &err);
    *io_db = NULL;
    rc = rc ? rc : t_open_on(image, clock, io_db, &err);
    if (rc != 0) {
        snprintf(why, T_WHY, "going on: %s", err.message);
        return -1;
    }
    return t_check(*io_db, &err, why);
}

static int t_verify(const t_cut *c, sim *image, bool deep, char *why) {
    const t_work *t = c->work;
    pv_error err = PV_ERROR_INIT;
    pv_stats s = PV_STATS_INIT;
    pv_db *db = NULL;
    api_clock clock;
    uint64_t answers = 0;
    int rc = -1;
    api_clock_init(&clock, t->seed + 77);
    if (t_open_on(image, &clock, &db, &err) != 0 || pv_stats_get(db, &s, &err) != 0 ||
        t_answers(db, &answers, &err) != 0) {
        snprintf(why, T_WHY, "open or search: %s", err.message);
        (void)pv_close(db, NULL);
        return -1;
    }
    snprintf(why, T_WHY, "it shows lsn %" PRIu64 ", no such commit or other answers", s.lsn);
    for (size_t i = c->lo; i < c->hi && rc != 0; i++) {
        const t_commit *k = &t->commits[i];
        rc = k->lsn == s.lsn && k->checksum == s.db_checksum && k->answers == answers ? 0 : -1;
    }
    if (rc == 0 && deep) {
        t_all.deep++;
        rc = t_go_on(image, &clock, &db, why);
    }
    if (pv_close(db, &err) != 0 && rc == 0) {
        snprintf(why, T_WHY, "close: %s", err.message);
        rc = -1;
    }
    return rc;
}

static int t_image(void *arg, sim *image, size_t upto, sim_cut mode, uint64_t seed) {
    t_cut *c = arg;
    t_work *t = c->work;
    char why[T_WHY] = "";
    uint64_t there = 0;
    while (c->lo + 1 < t->commit_count && t->commits[c->lo + 1].durable <= upto) {
        c->lo++;
    }
    while (c->hi < t->commit_count && t->commits[c->hi].begun < upto) {
        c->hi++;
    }
    if (t_all.images++ % t_all.sample != 0) {
        return 0;
    }
    const uint64_t hash = sim_image_hash(image) >> 1;
    if (pv__map_get(&t_all.seen, hash, &there)) {
        return 0;
    }
    t_all.distinct++;
    assert_int_equal(pv__map_put(&t_all.seen, hash, 1, NULL), 0);
    if (t_verify(c, image, t_all.distinct % T_DEEP_EVERY == 0, why) != 0) {
        fprintf(stderr,
                "PV_CRASH_SEED=%" PRIu64 " (%s), cut %zu %s seed %" PRIu64 ", commits %zu to "
                "%zu: %s\n",
                t->seed, t_kinds[t->seed % 4].name, upto, sim_cut_name(mode), seed, c->lo,
                c->hi - 1, why);
        return -1;
    }
    return 0;
}

/* ---- all ---- */

static t_work *t_work_new(uint64_t seed, sim *disk) {
    t_work *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->seed = seed;
    t->disk = disk;
    t->err = (pv_error)PV_ERROR_INIT;
    api_clock_init(&t->clock, seed);
    test_rng_init(&t->rng, seed + 1);
    return t;
}

static void t_work_free(t_work *t) {
    sim_free(t->disk);
    free(t->live);
    free(t);
}

static void t_make_base(void) {
    t_work *t = t_work_new(0, sim_new(1));
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.dims = T_DIMS;
    c.metric = PV_METRIC_L2;
    c.key = PV_KEY_U64;
    c.index = t_all.index;
    test_assert_ok(t_open_on(t->disk, &t->clock, &t->db, &t->err), &t->err);
    test_assert_ok(pv_collection_create(t->db, NULL, "c", &c, &t->err), &t->err);
    while (t->count < t_all.nodes) {
        assert_int_equal(t_insert(t, 1000), 0);
    }
    assert_int_equal(t_upkeep(t, 1000, 400), 0);
    test_assert_ok(pv_close(t->db, &t->err), &t->err);
    t_all.base = sim_image(t->disk, sim_op_count(t->disk), SIM_CUT_KEEP_ALL, 0);
    t_all.swaps = t_all.sweeps = t_all.graves = 0;
    t_work_free(t);
}

static int t_work_run(uint64_t seed) {
    sim *copy = sim_image(t_all.base, sim_op_count(t_all.base), SIM_CUT_KEEP_ALL, seed);
    t_work *t = t_work_new(seed, copy);
    int rc = 0;
    t->next = t_all.nodes;
    t->cap = 2 * t_all.nodes;
    t->live = malloc(t->cap * sizeof *t->live);
    assert_non_null(t->live);
    for (; t->count < t_all.nodes; t->count++) {
        t->live[t->count] = t->count;
    }
    const size_t from = sim_op_count(copy);
    rc = t_rc(t, t_open_on(copy, &t->clock, &t->db, &t->err), "pv_open");
    rc = rc ? rc : t_note(t, from);
    if (rc == 0) {
        t->commits[0].durable = from;
        rc = t_kinds[seed % 4].run(t);
    }
    if (rc != 0) {
        fprintf(stderr, "workload %" PRIu64 " (%s): %s\n", seed, t_kinds[seed % 4].name, t->why);
    }
    if (t->db && pv_close(t->db, &t->err) != 0 && rc == 0) {
        fprintf(stderr, "pv_close: %s\n", t->err.message);
        rc = -1;
    }
    if (rc == 0) {
        t_cut cut = {.work = t, .lo = 0, .hi = 1};
        sim_each_cut(copy, from, sim_op_count(copy), 1, seed * 1000003u, t_image, &cut, &rc);
    }
    t_all.workloads++;
    t_all.commits += t->commit_count;
    t_work_free(t);
    return rc;
}

static uint64_t t_number(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text && text[0] ? strtoull(text, NULL, 0) : otherwise;
}

/* part: one of so many of the images that are asked for. */
static void t_expect_commits(uint32_t index, unsigned part) {
    const bool soak = t_number("PV_SOAK", 0) != 0;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    const uint64_t some = 400, sample = 10;
#else
    const uint64_t some = 1500, sample = 1;
#endif
    const uint64_t want = t_number("PV_CRASH_IMAGES", soak ? 50000 : some) / part;
    uint64_t seed = t_number("PV_CRASH_SEED", 0), failed = 0;
    const uint64_t first = seed;
    memset(&t_all, 0, sizeof t_all);
    t_all.sample = sample;
    t_all.index = index;
    t_all.nodes = (size_t)t_number("PV_CRASH_NODES", soak ? 20000 : 2000);
    pv__mem_init(&t_all.mem, NULL, 0);
    pv__map_init(&t_all.seen, &t_all.mem);
    t_make_base();
    do {
        failed += t_work_run(seed++) != 0;
    } while ((t_all.distinct < want || seed < first + 4) && failed < 2); /* four kinds of work */
    fprintf(stderr,
            "%zu nodes, %" PRIu64 " workloads, %" PRIu64 " commits, %" PRIu64 " images, %" PRIu64
            " distinct, %" PRIu64 " checked whole; steps of sweeps %" PRIu64 ", of graves %" PRIu64
            ", graphs replaced %" PRIu64 ", damaged %" PRIu64 "\n",
            t_all.nodes, t_all.workloads, t_all.commits, t_all.images, t_all.distinct, t_all.deep,
            t_all.sweeps, t_all.graves, t_all.swaps, t_all.losses);
    assert_true(index == PV_INDEX_HNSW ? t_all.sweeps > 0 : t_all.sweeps == 0);
    assert_true(t_all.graves > 0 && t_all.swaps > 0 && t_all.losses > 0);
    assert_true(t_all.deep > 0);
    pv__map_done(&t_all.seen);
    sim_free(t_all.base);
    assert_int_equal(failed, 0);
}

static void test_crash_graph__every_image_shows_one_commit(void **state) {
    (void)state;
    t_expect_commits(PV_INDEX_HNSW, 1);
}

/* The same work on lists, which sweep nothing. */
static void test_crash_graph__so_it_does_of_lists(void **state) {
    (void)state;
    t_expect_commits(PV_INDEX_IVF, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash_graph__every_image_shows_one_commit),
        cmocka_unit_test(test_crash_graph__so_it_does_of_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#undef T_PATH
#undef T_DO
