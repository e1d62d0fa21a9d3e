/* SPDX-License-Identifier: Apache-2.0 */
/* test_ann_churn.c - a graph whose records come and go for long: it stays what it says after every
 * step, and finds what it found at first. PV_CHURN_ROWS and PV_CHURN_EF make it as large as wanted;
 * then it prints a table: recall of each round against ground truth, bytes, times. */
#include <inttypes.h>
#include <sys/stat.h>
#include <time.h>

#include "test_ann_kit.h"

/* ---- every step ---- */

/* Inserts, deletes, changes and all that follows from them, looked at after every call. The order
 * of sizes makes lists overflow, levels begin and end, shared nodes come and go. */
static void test_ann_churn__sound_after_every_step(void **state) {
    (void)state;
    t_up *u = t_new(700, 1);
    t_come_and_go(u, 24);
    assert_int_equal(t_info(u).indexed, u->count);
    t_expect_sound(&u->t);
    t_free(u);
}

/* ---- rounds ---- */

enum { T_WIDTH = 24, T_HUBS = 64, T_ROUNDS = 10 };

typedef struct t_churn {
    t_api t;
    test_rng rng;
    pv_open_opts opts;
    size_t rows, next, first; /* ids [first, next) have been used */
    uint32_t ef;
    bool *there;
    uint32_t *hub;
    float *v;
    float centre[T_HUBS][T_WIDTH];
} t_churn;

static double t_seconds(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

static size_t t_setting(const char *name, size_t otherwise) {
    const char *text = getenv(name);
    return text ? (size_t)strtoull(text, NULL, 0) : otherwise;
}

/* Around a hub, in fewer dimensions than there are: about as hard as real embeddings. */
static void t_point(t_churn *c, uint32_t hub, float *out) {
    float z[8];
    for (size_t i = 0; i < 8; i++) {
        z[i] = test_rng_gauss(&c->rng);
    }
    for (size_t d = 0; d < T_WIDTH; d++) {
        out[d] = c->centre[hub][d] + z[d % 8] + 0.6f * z[(d * 3 + hub) % 8] +
                 0.3f * test_rng_gauss(&c->rng);
    }
}

/* Records [first, first + count), whose vectors are there. */
static void t_churn_put(t_churn *c, size_t first, size_t count) {
    uint64_t *ids = malloc(count * sizeof *ids);
    pv_batch b = PV_BATCH_INIT;
    assert_non_null(ids);
    for (size_t i = 0; i < count; i++) {
        ids[i] = first + i;
    }
    b.count = count;
    b.dims = T_WIDTH;
    b.vectors = c->v + first * T_WIDTH;
    b.ids_u64 = ids;
    test_assert_ok(pv_insert_batch(c->t.db, NULL, "c", &b, NULL, &c->t.err), &c->t.err);
    free(ids);
}

static void t_churn_insert(t_churn *c, size_t count) {
    const size_t first = c->next;
    for (; c->next < first + count; c->next++) {
        c->hub[c->next] = (uint32_t)test_rng_below(&c->rng, T_HUBS);
        c->there[c->next] = true;
        t_point(c, c->hub[c->next], c->v + c->next * T_WIDTH);
    }
    t_churn_put(c, first, count);
}

static void t_churn_delete(t_churn *c, const uint64_t *ids, size_t count) {
    pv_ids list = PV_IDS_INIT;
    uint64_t deleted = 0;
    list.count = count;
    list.ids_u64 = ids;
    test_assert_ok(pv_delete_many(c->t.db, NULL, "c", &list, &deleted, &c->t.err), &c->t.err);
    assert_int_equal(deleted, count);
    for (size_t i = 0; i < count; i++) {
        c->there[ids[i]] = false;
    }
}

/* A fifth of the records: any, or those of whole hubs. In calls of `step` records. */
static void t_churn_fifth(t_churn *c, bool clustered, unsigned round, size_t step) {
    uint64_t *ids = malloc(c->rows * sizeof *ids);
    const size_t want = c->rows / 5;
    size_t n = 0;
    assert_non_null(ids);
    for (uint32_t h = 0; clustered && h < T_HUBS; h++) {
        const uint32_t hub = (h + round * 13) % T_HUBS;
        for (size_t id = c->first; id < c->next && n < want; id++) {
            if (c->there[id] && c->hub[id] == hub) {
                ids[n++] = id;
            }
        }
    }
    while (!clustered && n < want) {
        const size_t id = c->first + test_rng_below(&c->rng, c->next - c->first);
        if (c->there[id]) {
            c->there[id] = false;
            ids[n++] = id;
        }
    }
    for (size_t i = 0; i < n; i += step) {
        t_churn_delete(c, ids + i, n - i < step ? n - i : step);
    }
    for (size_t i = 0; i < n; i += step) {
        t_churn_insert(c, n - i < step ? n - i : step);
    }
    free(ids);
}

static double t_churn_recall(t_churn *c, unsigned queries) {
    size_t hits = 0, wanted = 0;
    test_rng keep = c->rng;
    test_rng_init(&c->rng, 77); /* the same queries in every round, around where the hubs are now */
    for (unsigned i = 0; i < queries; i++) {
        float v[T_WIDTH];
        pv_results *want = NULL, *got = NULL;
        t_point(c, i % T_HUBS, v);
        pv_query q = t_query(v, T_WIDTH, 10);
        q.ef = c->ef;
        test_assert_ok(pv_search(c->t.db, NULL, "c", &q, &got, &c->t.err), &c->t.err);
        q.flags = PV_QUERY_EXACT;
        test_assert_ok(pv_search(c->t.db, NULL, "c", &q, &want, &c->t.err), &c->t.err);
        const size_t n = pv_results_count(want);
        assert_int_equal(pv_results_count(got), n);
        for (size_t h = 0; h < n; h++) {
            hits += pv_results_distance(got, h) <= pv_results_distance(want, n - 1) * 1.00001f;
        }
        wanted += n;
        pv_results_free(want);
        pv_results_free(got);
    }
    c->rng = keep;
    return (double)hits / (double)wanted;
}

/* The distribution moves on: what comes now lies elsewhere. */
static void t_churn_shift(t_churn *c) {
    for (size_t h = 0; h < T_HUBS; h++) {
        for (size_t d = 0; d < T_WIDTH; d++) {
            c->centre[h][d] += 0.3f * test_rng_gauss(&c->rng);
        }
    }
}

static size_t t_churn_unreachable(t_churn *c) {
    pv__txn *txn = NULL;
    pv__parts p;
    pv_error *err = &c->t.err;
    test_assert_ok(pv__txn_begin(c->t.db->store, 0, &txn, err), err);
    test_assert_ok(pv__parts_open(&p, txn, "c", err), err);
    test_assert_ok(pv__parts_graph(&p, c->t.db->cpu, 1, err), err);
    const size_t n = t_unreachable(&p.graph, err);
    pv__parts_done(&p);
    pv__txn_rollback(txn);
    return n;
}

static double t_file_mib(const char *path) {
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (double)st.st_size / 1048576.0;
}

/* threads: 1 or, to let the background do it, 0. */
static t_churn *t_churn_new(uint32_t threads, size_t rows, uint32_t ef) {
    t_churn *c = calloc(1, sizeof *c);
    pv_collection_opts o = PV_COLLECTION_OPTS_INIT;
    assert_non_null(c);
    c->rows = rows;
    c->ef = ef;
    c->there = calloc(rows * 4, sizeof *c->there);
    c->hub = calloc(rows * 4, sizeof *c->hub);
    c->v = malloc(rows * 4 * T_WIDTH * sizeof *c->v);
    assert_true(c->there && c->hub && c->v);
    test_rng_init(&c->rng, test_seed());
    for (size_t h = 0; h < T_HUBS; h++) {
        for (size_t d = 0; d < T_WIDTH; d++) {
            c->centre[h][d] = 2 * test_rng_gauss(&c->rng);
        }
    }
    c->opts = (pv_open_opts)PV_OPEN_OPTS_INIT;
    c->opts.threads = threads;
    c->opts.sync = PV_SYNC_ASYNC;
    t_api_open(&c->t, &c->opts);
    o.dims = T_WIDTH;
    o.metric = PV_METRIC_L2;
    o.key = PV_KEY_U64;
    o.index = PV_INDEX_HNSW;
    test_assert_ok(pv_collection_create(c->t.db, NULL, "c", &o, &c->t.err), &c->t.err);
    return c;
}

static void t_churn_free(t_churn *c) {
    t_api_done(&c->t);
    free(c->v);
    free(c->hub);
    free(c->there);
    free(c);
}

/* A database that was made at once of the records that are there now. */
static t_churn *t_churn_again(const t_churn *c) {
    t_churn *fresh = t_churn_new(0, c->rows, c->ef);
    memcpy(fresh->centre, c->centre, sizeof c->centre);
    for (size_t id = 0; id < c->next; id++) {
        if (c->there[id]) {
            memcpy(fresh->v + fresh->next * T_WIDTH, c->v + id * T_WIDTH, T_WIDTH * sizeof *c->v);
            fresh->next++;
        }
    }
    t_churn_put(fresh, 0, fresh->next);
    return fresh;
}

/* What the file has become, next to one that was made of the same records at once. */
static void t_churn_at_rest(t_churn *c, t_churn *fresh) {
    const double asked = t_seconds(CLOCK_MONOTONIC);
    bool busy = true;
    while (busy && t_seconds(CLOCK_MONOTONIC) < asked + 60) { /* the background comes to its end */
        pv__mutex_lock(&c->t.db->mutex);
        busy = c->t.db->upkeep.count > 0 || c->t.db->upkeep.graves;
        pv__mutex_unlock(&c->t.db->mutex);
        pv__thread_yield();
    }
    t_api_shut(&c->t);
    t_api_shut(&fresh->t);
    const double used = t_file_mib(c->t.path), least = t_file_mib(fresh->t.path);
    fprintf(stderr, "  at rest %.1f MiB, made at once %.1f MiB: %.2f\n", used, least, used / least);
}

/* Ten rounds of a fifth each: all records twice. */
static void t_churn_run(bool clustered, double fall) {
    const size_t rows = t_setting("PV_CHURN_ROWS", 2500);
    const bool large = rows > 2500;
    const unsigned queries = large ? 1000 : 250;
    t_churn *c = t_churn_new(large ? 0 : 1, rows, (uint32_t)t_setting("PV_CHURN_EF", 24));
    t_churn_insert(c, rows);
    const double first = t_churn_recall(c, queries);
    double worst = 0; /* points lost */
    if (large) {
        fprintf(stderr, "%s, %zu rows, ef %u: recall %.4f\n", clustered ? "clustered" : "random",
                rows, (unsigned)c->ef, first);
    }
    for (unsigned round = 0; round < T_ROUNDS; round++) {
        const double cpu = t_seconds(CLOCK_PROCESS_CPUTIME_ID);
        t_churn_shift(c);
        t_churn_fifth(c, clustered, round, large ? 100 : 50);
        const double spent = t_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        const double recall = t_churn_recall(c, queries);
        const size_t lost = t_churn_unreachable(c);
        double wanted = first;
        if (large) { /* the data have changed, too: what would a new graph find? */
            t_churn *fresh = t_churn_again(c);
            wanted = t_churn_recall(fresh, queries);
            fprintf(stderr,
                    "  round %2u: recall %.4f (made at once %.4f), %zu unreachable, %.1f CPU s\n",
                    round + 1, recall, wanted, lost, spent);
            if (round + 1 == T_ROUNDS) {
                t_churn_at_rest(c, fresh);
                t_api_reopen(&c->t, &c->opts);
            }
            t_churn_free(fresh);
        }
        assert_int_equal(lost, 0);
        worst = wanted - recall > worst ? wanted - recall : worst;
    }
    if (worst > fall) {
        fprintf(stderr, "recall fell by %.4f\n", worst);
    }
    assert_true(worst <= fall);
    t_expect_sound(&c->t);
    t_churn_free(c);
}

static void test_ann_churn__random_rounds_keep_recall(void **state) {
    (void)state;
    t_churn_run(false, 0.01);
}

static void test_ann_churn__clustered_rounds_keep_recall(void **state) {
    (void)state;
    t_churn_run(true, 0.03);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ann_churn__sound_after_every_step),
        cmocka_unit_test(test_ann_churn__random_rounds_keep_recall),
        cmocka_unit_test(test_ann_churn__clustered_rounds_keep_recall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
