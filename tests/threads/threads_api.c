/* SPDX-License-Identifier: Apache-2.0 */
/* threads_api.c - one handle, many threads, for the thread sanitiser and without it.
 *
 *      one writer, readers     every transaction keeps invariants over two collections; a reader
 *                              checks all of them in whatever state it gets
 *      many writers            commits of one collection each go to the disk together; nothing that
 *                              was acknowledged is missing, no snapshot has a gap
 *      writers of transactions a sum that every transfer keeps, refused and undone ones between
 *
 * Work is counted in rounds and never in time. PV_THREADS_ROUNDS: that many per cent of them. */
#include <pthread.h>
#include <stdatomic.h>

#include "unit/test_api_kit.h"

enum { T_DIMS = 12, T_PAIRS = 24, T_SUM = 1000 };

typedef struct t_shared {
    t_api t;
    _Atomic int stop, failed;
    _Atomic uint64_t reads, writes, number;
    uint64_t rounds, workers;
} t_shared;

static uint64_t t_rounds(uint64_t otherwise) {
    const char *text = getenv("PV_THREADS_ROUNDS");
    const uint64_t percent = text && text[0] ? strtoull(text, NULL, 10) : 100;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    otherwise /= 4;
#endif
    return otherwise * percent / 100 + 1;
}

static void t_fail(t_shared *s, const char *what, const char *why) {
    if (atomic_exchange(&s->failed, 1) == 0) {
        fprintf(stderr, "%s: %s\n", what, why);
    }
    atomic_store(&s->stop, 1);
}

/* false and the failure noted when rc is not 0 */
static bool t_good(t_shared *s, int rc, const pv_error *err, const char *what) {
    if (rc != 0) {
        t_fail(s, what, err->message);
    }
    return rc == 0;
}

static bool t_true(t_shared *s, bool holds, const char *what) {
    if (!holds) {
        t_fail(s, what, "does not hold");
    }
    return holds;
}

/* ---- one writer, several readers ---- */

/* Generation g: pair i, of records a_i and b_i in both collections, was last written by the newest
 * g' <= g with g' % T_PAIRS == i; it says so in metadata and vector. The record "g" says g. One
 * record "moving" has another key in each generation. */
static void t_generation_vector(uint64_t g, float v[T_DIMS]) {
    for (uint32_t i = 0; i < T_DIMS; i++) {
        v[i] = (float)((g * 31 + i * 7) % 101);
    }
}

static int t_write_generation(t_shared *s, pv_txn *txn, uint64_t g, pv_error *err) {
    static const char *const names[] = {"left", "right"};
    const pv_record end = PV_RECORD_INIT;
    float v[T_DIMS];
    char ids[3][32], text[64];
    int rc = 0;
    t_generation_vector(g, v);
    snprintf(ids[0], sizeof(ids[0]), "a%02u", (unsigned)(g % T_PAIRS));
    snprintf(ids[1], sizeof(ids[1]), "b%02u", (unsigned)(g % T_PAIRS));
    snprintf(text, sizeof(text), "{\"g\":%llu}", (unsigned long long)g);
    for (int side = 0; side < 2 && rc == 0; side++) {
        pv_record r[4] = {end, end, end, end};
        snprintf(ids[2], sizeof(ids[2]), "moving-%llu", (unsigned long long)g);
        r[0] = t_record(ids[0], v, T_DIMS, text);
        r[1] = t_record(ids[1], v, T_DIMS, text);
        r[2] = t_record("g", v, T_DIMS, text);
        r[3] = t_record(ids[2], v, T_DIMS, text);
        rc = pv_upsert(s->t.db, txn, names[side], r, 4, NULL, err);
        if (rc == 0 && g > T_PAIRS) {
            snprintf(ids[2], sizeof(ids[2]), "moving-%llu", (unsigned long long)g - 1);
            rc = pv_delete(s->t.db, txn, names[side], ids[2], err);
        }
    }
    return rc;
}

static void *t_generation_writer(void *arg) {
    t_shared *s = arg;
    pv_error err = PV_ERROR_INIT;
    for (uint64_t g = T_PAIRS + 1; g <= s->rounds && !atomic_load(&s->stop); g++) {
        pv_txn *txn = NULL;
        if (g % 5 == 0) { /* one that is undone */
            if (!t_good(s, pv_txn_begin(s->t.db, PV_TXN_WRITE, &txn, &err), &err, "begin")) {
                break;
            }
            (void)t_write_generation(s, txn, g, &err);
            pv_txn_rollback(txn);
        }
        if (!t_good(s, pv_txn_begin(s->t.db, PV_TXN_WRITE, &txn, &err), &err, "begin")) {
            break;
        }
        const int rc = t_write_generation(s, txn, g, &err);
        if (rc != 0) {
            pv_txn_rollback(txn);
        }
        if (!t_good(s, rc, &err, "write") ||
            !t_good(s, pv_txn_commit(txn, NULL, &err), &err, "commit")) {
            break;
        }
        atomic_store(&s->number, g); /* acknowledged: whoever begins now sees it */
    }
    atomic_store(&s->stop, 1);
    return NULL;
}

static uint64_t t_number_of(const char *metadata) {
    return metadata ? strtoull(metadata + strlen("{\"g\":"), NULL, 10) : 0;
}

static bool t_row_is_whole(t_shared *s, uint64_t g, const char *metadata, const void *vector) {
    float want[T_DIMS];
    t_generation_vector(g, want);
    return t_true(s, t_number_of(metadata) == g, "metadata of its generation") &&
           t_true(s, vector && memcmp(vector, want, sizeof(want)) == 0, "vector of its generation");
}

/* The newest generation of pair i as of g. */
static uint64_t t_pair_of(uint64_t g, uint64_t i) {
    return g - (g % T_PAIRS + T_PAIRS - i) % T_PAIRS;
}

static bool t_walk_is_whole(t_shared *s, pv_txn *txn, const char *name, uint64_t g) {
    pv_error err = PV_ERROR_INIT;
    pv_iter_opts o = PV_ITER_OPTS_INIT;
    pv_iter *it = NULL;
    uint64_t n = 0, rows = 0;
    int rc = 0;
    bool good = true;
    o.include = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    if (!t_good(s, pv_iter_open(s->t.db, txn, name, &o, &it, &err), &err, "iter")) {
        return false;
    }
    while (good && (rc = pv_iter_next(it, &err)) == 1) {
        const char *id = pv_iter_id(it);
        const bool pair = (id[0] == 'a' || id[0] == 'b') && id[1] != 0;
        const uint64_t want = pair ? t_pair_of(g, strtoull(id + 1, NULL, 10)) : g;
        good = t_row_is_whole(s, want, pv_iter_metadata(it, NULL), pv_iter_vector(it, NULL));
        rows++;
    }
    good = good && t_good(s, rc, &err, "next");
    pv_iter_close(it);
    return good && t_true(s, rows == 2 * T_PAIRS + 2, "number of rows in a walk") &&
           t_good(s, pv_count(s->t.db, txn, name, NULL, &n, &err), &err, "count") &&
           t_true(s, n == rows, "count equals the walk");
}

static bool t_search_is_whole(t_shared *s, pv_txn *txn, const char *name, uint64_t g) {
    pv_error err = PV_ERROR_INIT;
    pv_results *res = NULL;
    float v[T_DIMS];
    char want[32];
    bool good;
    t_generation_vector(g, v);
    pv_query q = t_query(v, T_DIMS, 4);
    q.include = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    if (!t_good(s, pv_search(s->t.db, txn, name, &q, &res, &err), &err, "search")) {
        return false;
    }
    /* Its own four records are at distance 0, in the order of their keys. */
    snprintf(want, sizeof(want), "a%02u", (unsigned)(g % T_PAIRS));
    good = t_true(s, pv_results_count(res) == 4, "four rows in a search") &&
           t_true(s, strcmp(pv_results_id(res, 0), want) == 0, "first row of a search") &&
           t_true(s, strcmp(pv_results_id(res, 2), "g") == 0, "third row of a search");
    for (size_t i = 0; i < 4 && good; i++) {
        good = t_row_is_whole(s, g, pv_results_metadata(res, i, NULL), pv_results_vector(res, i)) &&
               t_true(s, pv_results_distance(res, i) <= 0, "distance");
    }
    pv_results_free(res);
    return good;
}

static bool t_get_generation(t_shared *s, pv_txn *txn, const char *name, uint64_t *out) {
    pv_error err = PV_ERROR_INIT;
    pv_results *res = NULL;
    const int rc = pv_get(s->t.db, txn, name, "g", &res, &err);
    *out = rc == 0 ? t_number_of(pv_results_metadata(res, 0, NULL)) : 0;
    pv_results_free(res);
    return t_good(s, rc, &err, "get");
}

static void *t_generation_reader(void *arg) {
    t_shared *s = arg;
    pv_error err = PV_ERROR_INIT;
    uint64_t last = 0;
    do {
        const uint64_t acknowledged = atomic_load(&s->number);
        uint64_t g = 0, other = 0;
        pv_txn *txn = NULL;
        if (!t_good(s, pv_txn_begin(s->t.db, PV_TXN_READ, &txn, &err), &err, "begin to read")) {
            break;
        }
        if (t_get_generation(s, txn, "left", &g) && t_get_generation(s, txn, "right", &other) &&
            t_true(s, g == other, "one generation on both sides") &&
            t_true(s, g >= last && g >= acknowledged, "no step back") &&
            t_search_is_whole(s, txn, "left", g) && t_walk_is_whole(s, txn, "right", g) &&
            t_search_is_whole(s, txn, "right", g) && t_walk_is_whole(s, txn, "left", g)) {
            /* Much later it still sees the same. */
            (void)(t_get_generation(s, txn, "left", &other) &&
                   t_true(s, g == other, "the same to the end"));
        }
        pv_txn_rollback(txn);
        last = g;
        atomic_fetch_add(&s->reads, 1);
    } while (!atomic_load(&s->stop));
    return NULL;
}

static void *t_checkpointer(void *arg) {
    t_shared *s = arg;
    pv_error err = PV_ERROR_INIT;
    uint64_t at = 0;
    while (!atomic_load(&s->stop)) {
        const uint64_t now = atomic_load(&s->reads);
        if (now < at) {
            sched_yield();
            continue;
        }
        at = now + 10;
        uint64_t problems = 0;
        if (!t_good(s, pv_checkpoint(s->t.db, &err), &err, "checkpoint") ||
            !t_good(s, pv_check(s->t.db, PV_CHECK_DEEP, t_finding, NULL, &problems, &err), &err,
                    "check") ||
            !t_true(s, problems == 0, "check finds nothing")) {
            break;
        }
    }
    return NULL;
}

static void t_start(pthread_t *thread, void *(*fn)(void *), void *arg) {
    assert_int_equal(pthread_create(thread, NULL, fn, arg), 0);
}

static void t_generations(uint64_t cache_bytes, uint32_t library_threads, uint64_t rounds) {
    t_shared s;
    pthread_t threads[5];
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    memset(&s, 0, sizeof(s));
    o.sync = PV_SYNC_ASYNC;
    o.cache_bytes = cache_bytes;
    o.checkpoint_bytes = 256u << 10;
    o.threads = library_threads;
    t_api_open(&s.t, &o);
    t_api_create(&s.t, "left", T_DIMS, PV_METRIC_L2, 0);
    t_api_create(&s.t, "right", T_DIMS, PV_METRIC_L2, 0);
    for (uint64_t g = 1; g <= T_PAIRS; g++) {
        pv_txn *txn = NULL;
        test_assert_ok(pv_txn_begin(s.t.db, PV_TXN_WRITE, &txn, &s.t.err), &s.t.err);
        test_assert_ok(t_write_generation(&s, txn, g, &s.t.err), &s.t.err);
        if (g < T_PAIRS) { /* only one of the moving ones may be there in the end */
            char id[32];
            snprintf(id, sizeof(id), "moving-%llu", (unsigned long long)g);
            test_assert_ok(pv_delete(s.t.db, txn, "left", id, &s.t.err), &s.t.err);
            test_assert_ok(pv_delete(s.t.db, txn, "right", id, &s.t.err), &s.t.err);
        }
        test_assert_ok(pv_txn_commit(txn, NULL, &s.t.err), &s.t.err);
    }
    s.number = T_PAIRS;
    s.rounds = T_PAIRS + rounds;
    for (size_t i = 0; i < 3; i++) {
        t_start(&threads[i], t_generation_reader, &s);
    }
    t_start(&threads[3], t_checkpointer, &s);
    t_start(&threads[4], t_generation_writer, &s);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    fprintf(stderr, "%llu generations, read %llu times\n", (unsigned long long)s.rounds,
            (unsigned long long)s.reads);
    assert_int_equal(s.failed, 0);
    assert_int_equal(s.number, s.rounds);
    t_expect_sound(&s.t);
    t_api_shut(&s.t);
    t_api_reopen(&s.t, NULL);
    assert_true(t_walk_is_whole(&s, NULL, "left", s.rounds));
    assert_true(t_walk_is_whole(&s, NULL, "right", s.rounds));
    t_api_done(&s.t);
}

static void test_threads_api__readers_see_one_generation(void **state) {
    (void)state;
    t_generations(0, 0, t_rounds(1200));
}

static void test_threads_api__readers_see_one_generation_with_the_least_cache(void **state) {
    (void)state;
    t_generations(1, 0, t_rounds(600));
}

static void test_threads_api__readers_see_one_generation_without_a_worker(void **state) {
    (void)state;
    t_generations(512u << 10, 1, t_rounds(600));
}

/* ---- several writers ---- */

typedef struct t_worker {
    t_shared *s;
    uint64_t number;
} t_worker;

/* Keys worker * 2^32 + 0, 1, 2, ..: what is there of a worker has no gap. */
static void *t_adder(void *arg) {
    const t_worker *w = arg;
    t_shared *s = w->s;
    pv_error err = PV_ERROR_INIT;
    char text[64];
    float v[T_DIMS];
    for (uint64_t i = 0; i < s->rounds && !atomic_load(&s->stop); i++) {
        t_generation_vector(w->number * 1000 + i, v);
        snprintf(text, sizeof(text), "{\"g\":%llu}", (unsigned long long)(w->number * 1000 + i));
        const pv_record r = t_record_u64(w->number << 32 | i, v, T_DIMS, text);
        pv_results *res = NULL;
        if (!t_good(s, pv_insert(s->t.db, NULL, "rows", &r, 1, NULL, &err), &err, "insert") ||
            !t_good(s, pv_get_u64(s->t.db, NULL, "rows", r.id_u64, &res, &err), &err, "own row")) {
            break;
        }
        const bool whole = t_row_is_whole(
            s, w->number * 1000 + i, pv_results_metadata(res, 0, NULL), pv_results_vector(res, 0));
        pv_results_free(res);
        if (!whole) {
            break;
        }
        /* The same again is refused and harms nobody. */
        if (i % 16 == 0 &&
            !t_true(s, pv_insert(s->t.db, NULL, "rows", &r, 1, NULL, &err) == PV_ERR_EXISTS,
                    "the same id is refused")) {
            break;
        }
        atomic_fetch_add(&s->writes, 1);
    }
    return NULL;
}

static bool t_rows_have_no_gap(t_shared *s, pv_txn *txn, uint64_t *out_rows) {
    pv_error err = PV_ERROR_INIT;
    pv_iter_opts o = PV_ITER_OPTS_INIT;
    pv_iter *it = NULL;
    uint64_t next[16] = {0};
    int rc = 0;
    bool good = t_good(s, pv_iter_open(s->t.db, txn, "rows", &o, &it, &err), &err, "iter");
    *out_rows = 0;
    while (good && (rc = pv_iter_next(it, &err)) == 1) {
        const uint64_t id = pv_iter_id_u64(it);
        good = t_true(s, id >> 32 < 16 && next[id >> 32]++ == (uint32_t)id, "no gap");
        ++*out_rows;
    }
    good = good && t_good(s, rc, &err, "next");
    pv_iter_close(it);
    return good;
}

static void *t_gap_reader(void *arg) {
    t_shared *s = arg;
    pv_error err = PV_ERROR_INIT;
    uint64_t before = 0;
    do {
        const uint64_t acknowledged = atomic_load(&s->writes);
        uint64_t rows = 0, n = 0;
        pv_txn *txn = NULL;
        if (!t_good(s, pv_txn_begin(s->t.db, PV_TXN_READ, &txn, &err), &err, "begin")) {
            break;
        }
        const bool good = t_rows_have_no_gap(s, txn, &rows) &&
                          t_good(s, pv_count(s->t.db, txn, "rows", NULL, &n, &err), &err, "count");
        pv_txn_rollback(txn);
        if (!good || !t_true(s, n == rows, "count equals the walk") ||
            !t_true(s, rows >= acknowledged && rows >= before, "acknowledged rows are there")) {
            break;
        }
        before = rows;
        atomic_fetch_add(&s->reads, 1);
    } while (!atomic_load(&s->stop));
    return NULL;
}

static void test_threads_api__commits_of_many_writers(void **state) {
    enum { T_WRITERS = 6 };
    (void)state;
    t_shared s;
    pthread_t threads[T_WRITERS], reader;
    t_worker workers[T_WRITERS];
    pv_stats stats = PV_STATS_INIT;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    memset(&s, 0, sizeof(s));
    o.sync = PV_SYNC_FULL;
    o.checkpoint_bytes = 512u << 10;
    o.busy_timeout_ms = 60000; /* each waits for five others, and perhaps for a sanitiser */
    s.rounds = t_rounds(120);
    t_api_open(&s.t, &o);
    t_api_create(&s.t, "rows", T_DIMS, PV_METRIC_L2, PV_KEY_U64);
    t_start(&reader, t_gap_reader, &s);
    for (size_t i = 0; i < T_WRITERS; i++) {
        workers[i] = (t_worker){&s, i};
        t_start(&threads[i], t_adder, &workers[i]);
    }
    for (size_t i = 0; i < T_WRITERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    atomic_store(&s.stop, 1);
    assert_int_equal(pthread_join(reader, NULL), 0);
    assert_int_equal(s.failed, 0);
    test_assert_ok(pv_stats_get(s.t.db, &stats, &s.t.err), &s.t.err);
    fprintf(stderr, "%llu commits, %llu syncs of the log, read %llu times\n",
            (unsigned long long)stats.commits, (unsigned long long)stats.log_syncs,
            (unsigned long long)s.reads);
    assert_true(stats.log_syncs <= stats.commits);
    assert_int_equal(stats.durable_lsn, stats.lsn);
    t_expect_sound(&s.t);
    t_api_shut(&s.t);
    t_api_reopen(&s.t, NULL);
    uint64_t rows = 0;
    assert_true(t_rows_have_no_gap(&s, NULL, &rows));
    assert_int_equal(rows, T_WRITERS * s.rounds);
    t_api_done(&s.t);
}

/* ---- transfers ---- */

static bool t_balance(t_shared *s, pv_txn *txn, uint64_t id, int64_t *out) {
    pv_error err = PV_ERROR_INIT;
    pv_results *res = NULL;
    const int rc = pv_get_u64(s->t.db, txn, "rows", id, &res, &err);
    *out = rc == 0
               ? (int64_t)strtoll(pv_results_metadata(res, 0, NULL) + strlen("{\"g\":"), NULL, 10)
               : 0;
    pv_results_free(res);
    return t_good(s, rc, &err, "balance");
}

static int t_balance_set(t_shared *s, pv_txn *txn, uint64_t id, int64_t amount, pv_error *err) {
    char text[64];
    snprintf(text, sizeof(text), "{\"g\":%lld}", (long long)amount);
    const pv_record r = t_record_u64(id, NULL, 0, text);
    return pv_update(s->t.db, txn, "rows", &r, 1, NULL, err);
}

/* Read, change, write: without serial transactions the sum would drift. */
static void *t_transferrer(void *arg) {
    const t_worker *w = arg;
    t_shared *s = w->s;
    pv_error err = PV_ERROR_INIT;
    test_rng r;
    test_rng_init(&r, w->number + 1);
    for (uint64_t i = 0; i < s->rounds && !atomic_load(&s->stop); i++) {
        const uint64_t from = test_rng_below(&r, 10), to = (from + 1 + test_rng_below(&r, 9)) % 10;
        const int64_t amount = (int64_t)test_rng_below(&r, 50);
        int64_t a = 0, b = 0;
        pv_txn *txn = NULL;
        if (!t_good(s, pv_txn_begin(s->t.db, PV_TXN_WRITE, &txn, &err), &err, "begin")) {
            break;
        }
        bool good = t_balance(s, txn, from, &a) && t_balance(s, txn, to, &b) &&
                    t_good(s, t_balance_set(s, txn, from, a - amount, &err), &err, "take");
        if (good && i % 7 == 0) { /* half of it done, and then not */
            pv_txn_rollback(txn);
            continue;
        }
        good = good && t_good(s, t_balance_set(s, txn, to, b + amount, &err), &err, "give");
        if (!good) {
            pv_txn_rollback(txn);
            break;
        }
        if (!t_good(s, pv_txn_commit(txn, NULL, &err), &err, "commit")) {
            break;
        }
        atomic_fetch_add(&s->writes, 1);
    }
    return NULL;
}

static void *t_auditor(void *arg) {
    t_shared *s = arg;
    pv_error err = PV_ERROR_INIT;
    do {
        int64_t sum = 0;
        pv_txn *txn = NULL;
        bool good = t_good(s, pv_txn_begin(s->t.db, PV_TXN_READ, &txn, &err), &err, "begin");
        for (uint64_t id = 0; id < 10 && good; id++) {
            int64_t one = 0;
            good = t_balance(s, txn, id, &one);
            sum += one;
        }
        pv_txn_rollback(txn);
        if (!good || !t_true(s, sum == T_SUM * 10, "the sum")) {
            break;
        }
        atomic_fetch_add(&s->reads, 1);
    } while (!atomic_load(&s->stop));
    return NULL;
}

static void test_threads_api__transfers_keep_the_sum(void **state) {
    enum { T_WRITERS = 4, T_AUDITORS = 2 };
    (void)state;
    t_shared s;
    pthread_t threads[T_WRITERS + T_AUDITORS];
    t_worker workers[T_WRITERS];
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    const float v[1] = {1};
    memset(&s, 0, sizeof(s));
    o.sync = PV_SYNC_ASYNC;
    o.busy_timeout_ms = 60000;
    s.rounds = t_rounds(400);
    t_api_open(&s.t, &o);
    t_api_create(&s.t, "rows", 1, PV_METRIC_L2, PV_KEY_U64);
    for (uint64_t id = 0; id < 10; id++) {
        t_put(&s.t, NULL, "rows", t_record_u64(id, v, 1, "{\"g\":1000}"));
    }
    for (size_t i = 0; i < T_AUDITORS; i++) {
        t_start(&threads[T_WRITERS + i], t_auditor, &s);
    }
    for (size_t i = 0; i < T_WRITERS; i++) {
        workers[i] = (t_worker){&s, i};
        t_start(&threads[i], t_transferrer, &workers[i]);
    }
    for (size_t i = 0; i < T_WRITERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    atomic_store(&s.stop, 1);
    for (size_t i = 0; i < T_AUDITORS; i++) {
        assert_int_equal(pthread_join(threads[T_WRITERS + i], NULL), 0);
    }
    fprintf(stderr, "%llu transfers, %llu audits\n", (unsigned long long)s.writes,
            (unsigned long long)s.reads);
    assert_int_equal(s.failed, 0);
    t_expect_sound(&s.t);
    t_api_done(&s.t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_api__readers_see_one_generation),
        cmocka_unit_test(test_threads_api__readers_see_one_generation_with_the_least_cache),
        cmocka_unit_test(test_threads_api__readers_see_one_generation_without_a_worker),
        cmocka_unit_test(test_threads_api__commits_of_many_writers),
        cmocka_unit_test(test_threads_api__transfers_keep_the_sum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
