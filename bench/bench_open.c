/* SPDX-License-Identifier: Apache-2.0 */
/* bench_open.c - how long opening takes, and whether a small cache stays small.
 *
 *      bench_open kill DIR ROWS LOG_MIB       makes bench-open.pv: ROWS records, checkpoint, random
 *                                             updates until the log has LOG_MIB; counts the pages
 *                                             that log touches; then kill -9
 *      bench_open make DIR ROWS DIMS          makes bench-open.pv and closes it
 *      bench_open open DIR                    drops the page cache, opens, reads one record, closes
 *      bench_open memory DIR CACHE_MIB GETS   random gets, an iteration over everything and exact
 *                                             searches, each answer compared with a model; the peak
 *                                             of resident memory after each
 *      bench_open clean DIR                   removes the file
 *
 * Each is a process of its own, so that nothing is warm and peaks are one's own. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define OPEN_BATCH 10000u
#define OPEN_KILL_DIMS 8u
#define OPEN_KILL_META 240u
#define OPEN_META 100u
#define OPEN_SEED UINT64_C(3)
#define OPEN_SEARCHES 3
#define OPEN_K 10u
#define OPEN_ONES 200u /* one-row commits beside a large one */

static void open_path(char *out, size_t size, const char *dir) {
    snprintf(out, size, "%s/bench-open.pv", dir);
}

static pv_db *open_db(const char *path, uint64_t cache_bytes, uint64_t checkpoint_bytes) {
    pv_error err = PV_ERROR_INIT;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv_db *db = NULL;
    o.cache_bytes = cache_bytes;
    o.checkpoint_bytes = checkpoint_bytes;
    bench_check(pv_open(path, &o, &db, &err), &err, "open");
    return db;
}

static pv_stats open_stats(pv_db *db) {
    pv_error err = PV_ERROR_INIT;
    pv_stats s = PV_STATS_INIT;
    bench_check(pv_stats_get(db, &s, &err), &err, "stats");
    return s;
}

static void open_fill(pv_db *db, uint64_t rows, uint64_t dims, size_t meta) {
    pv_error err = PV_ERROR_INIT;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.index = PV_INDEX_FLAT; /* the store and the scan are measured here, not a graph */
    pv_batch columns;
    bench_batch b;
    bench_random r = {OPEN_SEED};
    c.dims = (uint32_t)dims;
    c.metric = PV_METRIC_L2;
    bench_check(pv_collection_create(db, NULL, "docs", &c, &err), &err, "create");
    bench_batch_init(&b, OPEN_BATCH, (size_t)dims, meta);
    for (uint64_t at = 0; at < rows; at += b.rows) {
        b.rows = rows - at < OPEN_BATCH ? (size_t)(rows - at) : OPEN_BATCH;
        bench_batch_fill(&b, at, &r);
        bench_batch_columns(&b, &columns);
        bench_check(pv_insert_batch(db, NULL, "docs", &columns, NULL, &err), &err, "insert");
    }
    bench_batch_done(&b);
}

static uint64_t open_gcd(uint64_t a, uint64_t b) { return b ? open_gcd(b, a % b) : a; }

static uint64_t open_step(uint64_t rows) {
    uint64_t step = (uint64_t)((double)rows * 0.6180339887498949);
    while (open_gcd(step, rows) != 1) {
        step++;
    }
    return step;
}

/* One large commit, some of a row each, some that delete a row: a log as programs leave it. */
static void open_change(pv_db *db, const pv_record *records, size_t n) {
    pv_error err = PV_ERROR_INIT;
    const size_t ones = n < OPEN_ONES ? n : OPEN_ONES;
    bench_check(pv_upsert(db, NULL, "docs", records + ones, n - ones, NULL, &err), &err, "upsert");
    for (size_t i = 0; i < ones; i++) {
        if (i % 4 == 3) {
            char id[BENCH_ID_BYTES + 1] = {0};
            memcpy(id, records[i].id, BENCH_ID_BYTES);
            bench_check(pv_delete(db, NULL, "docs", id, &err), &err, "delete");
        } else {
            bench_check(pv_upsert(db, NULL, "docs", records + i, 1, NULL, &err), &err, "upsert");
        }
    }
}

/* Small vectors and long metadata: many pages of documents, which random updates all touch. */
static int open_run_kill(const char *dir, uint64_t rows, uint64_t log_mib) {
    pv_error err = PV_ERROR_INIT;
    pv_record *records = bench_alloc(OPEN_BATCH * sizeof(*records));
    bench_random r = {5};
    bench_batch b;
    char path[1024];
    open_path(path, sizeof path, dir);
    bench_remove_db(path);
    /* Checkpoints only by hand: a cache that holds everything and a log without a bound. */
    pv_db *db = open_db(path, (uint64_t)6 << 30, (uint64_t)1 << 40);
    open_fill(db, rows, OPEN_KILL_DIMS, OPEN_KILL_META);
    bench_check(pv_checkpoint(db, &err), &err, "checkpoint");
    const pv_stats before = open_stats(db);
    pv_stats now = before;
    uint64_t updates = 0;
    bench_batch_init(&b, OPEN_BATCH, OPEN_KILL_DIMS, OPEN_KILL_META);
    /* Steps of the golden section spread any number of updates evenly: each falls into the widest
     * gap (Weyl), so that as many pages come up as there can. */
    const uint64_t step = open_step(rows);
    for (uint64_t at = 0; now.lsn - before.lsn < log_mib << 20;) {
        for (size_t i = 0; i < OPEN_BATCH; i++) {
            at = (at + step) % rows;
            snprintf(b.ids + i * BENCH_ID_BYTES, BENCH_ID_BYTES + 1, "doc-%09llu",
                     (unsigned long long)at % 1000000000u);
        }
        bench_random_normal(&r, b.vectors, OPEN_BATCH * OPEN_KILL_DIMS);
        for (size_t i = 0; i < OPEN_BATCH; i++) {
            const pv_record none = PV_RECORD_INIT;
            char *m = b.meta + i * OPEN_KILL_META;
            memset(m, 'a' + (int)bench_random_below(&r, 26), OPEN_KILL_META);
            memcpy(m, "{\"t\":\"", 6);
            memcpy(m + OPEN_KILL_META - 2, "\"}", 2);
            records[i] = none;
            records[i].id = b.ids + i * BENCH_ID_BYTES;
            records[i].id_len = BENCH_ID_BYTES;
            records[i].vector = b.vectors + i * OPEN_KILL_DIMS;
            records[i].dims = OPEN_KILL_DIMS;
            records[i].metadata = m;
            records[i].metadata_len = OPEN_KILL_META;
        }
        open_change(db, records, OPEN_BATCH);
        updates += OPEN_BATCH;
        now = open_stats(db);
    }
    bench_touched touched;
    bench_touched_pages(path, before.lsn, &touched);
    printf("kill.rows %llu rows\n", (unsigned long long)rows);
    printf("kill.commits %llu\n", (unsigned long long)(updates / OPEN_BATCH * (OPEN_ONES + 1)));
    printf("kill.updates %llu rows\n", (unsigned long long)updates);
    printf("kill.one_update_in %.1f rows\n",
           (double)rows / (double)(updates < rows ? updates : rows));
    printf("kill.rows_in_a_page %.1f rows\n", (double)rows / (double)now.pages);
    printf("kill.log %.1f MiB\n", (double)(now.lsn - before.lsn) / 1048576.0);
    printf("kill.log_files %.1f MiB\n", (double)bench_log_bytes(path) / 1048576.0);
    printf("kill.file %.1f MiB\n", (double)bench_file_bytes(path) / 1048576.0);
    printf("kill.pages %llu pages\n", (unsigned long long)now.pages);
    printf("kill.log_entries %llu\n", (unsigned long long)touched.entries);
    printf("kill.pages_touched %llu pages\n", (unsigned long long)touched.pages);
    printf("kill.pages_to_be_read %llu pages\n", (unsigned long long)touched.based);
    printf("kill.pages_by_reference %llu pages\n", (unsigned long long)touched.referred);
    printf("kill.checkpoints_meanwhile %llu\n",
           (unsigned long long)(now.checkpoints - before.checkpoints));
    fflush(stdout);
    raise(SIGKILL);
    return 1;
}

static int open_run_make(const char *dir, uint64_t rows, uint64_t dims) {
    pv_error err = PV_ERROR_INIT;
    char path[1024];
    open_path(path, sizeof path, dir);
    bench_remove_db(path);
    pv_db *db = open_db(path, (uint64_t)512 << 20, 0);
    open_fill(db, rows, dims, OPEN_META);
    bench_check(pv_close(db, &err), &err, "close");
    printf("make.file %.1f MiB\n", (double)bench_file_bytes(path) / 1048576.0);
    return 0;
}

static int open_run_open(const char *dir) {
    pv_error err = PV_ERROR_INIT;
    pv_results *res = NULL;
    char path[1024];
    open_path(path, sizeof path, dir);
    const uint64_t log_bytes = bench_log_bytes(path);
    const int dropped = bench_drop_cache(path);
    printf("open.cache_dropped %s\n", dropped == 1 ? "all" : "by advice");
    const bench_io before = bench_io_get();
    const double t0 = bench_now();
    const clock_t c0 = clock();
    pv_db *db = open_db(path, 0, 0);
    const double cpu = (double)(clock() - c0) / CLOCKS_PER_SEC;
    const double t1 = bench_now();
    const bench_io io = bench_io_get();
    const uint64_t pages_read = open_stats(db).page_misses; /* what the log names whole is not */
    const double t1b = bench_now();
    const int got = pv_get(db, NULL, "docs", "doc-000000001", &res, &err); /* or deleted */
    if (got != PV_ERR_NOTFOUND) {
        bench_check(got, &err, "get");
    }
    const double t2 = bench_now();
    pv_results_free(res);
    const pv_stats s = open_stats(db);
    printf("open.file %.1f MiB\n", (double)bench_file_bytes(path) / 1048576.0);
    printf("open.log %.1f MiB\n", (double)log_bytes / 1048576.0);
    printf("open.open %.4f s\n", t1 - t0);
    printf("open.processor %.4f s\n", cpu);
    printf("open.read_calls %llu\n", (unsigned long long)(io.read_calls - before.read_calls));
    printf("open.read %.1f MiB\n", (double)(io.read_bytes - before.read_bytes) / 1048576.0);
    printf("open.waits %llu\n", (unsigned long long)(io.waits - before.waits));
    printf("open.pages_read %llu pages\n", (unsigned long long)pages_read);
    printf("open.first_get %.4f s\n", t2 - t1b);
    printf("open.pages_in_cache_after %.1f MiB\n", (double)s.cache_bytes / 1048576.0);
    printf("open.peak_rss %.1f MiB\n", (double)bench_peak_rss() / 1048576.0);
    uint64_t count = 0;
    bench_check(pv_count(db, NULL, "docs", NULL, &count, &err), &err, "count");
    printf("open.records %llu rows\n", (unsigned long long)count);
    const double t3 = bench_now();
    bench_check(pv_close(db, &err), &err, "close");
    printf("open.close %.4f s\n", bench_now() - t3);
    return 0;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void open_memory_line(pv_db *db, const char *after, uint64_t base, uint64_t budget) {
    const uint64_t peak = bench_peak_rss();
    const pv_stats s = open_stats(db);
    printf("memory.%s peak %.1f MiB, of the program alone %.1f; of the database %.3f of the "
           "budget; cache %.1f MiB, memory_peak %.1f MiB\n",
           after, (double)peak / 1048576.0, (double)base / 1048576.0,
           (double)(peak - base) / (double)budget, (double)s.cache_bytes / 1048576.0,
           (double)s.memory_peak / 1048576.0);
}

/* The model: any record can be made again by itself, as open_fill made it, so that it needs no
 * memory that would count. */
typedef struct open_model {
    bench_batch one; /* the record made last */
    uint64_t rows;
} open_model;

static void open_model_make(open_model *m, uint64_t row) {
    bench_random r = {OPEN_SEED};
    bench_random_skip(&r, row * (m->one.dims / 2)); /* two deviates of one number */
    bench_batch_fill(&m->one, row, &r);
    /* The library gives the members of an object in the order of their keys. */
    char text[64];
    const int n =
        snprintf(text, sizeof text, "{\"g\":%llu,\"n\":%llu,\"t\":", (unsigned long long)row % 97,
                 (unsigned long long)row);
    memcpy(m->one.meta, text, (size_t)n);
}

static void open_model_expect(open_model *m, uint64_t row, const char *id, const char *meta,
                              size_t meta_len, const void *vector) {
    open_model_make(m, row);
    if (!id || strlen(id) != BENCH_ID_BYTES || memcmp(id, m->one.ids, BENCH_ID_BYTES) != 0 ||
        !meta || meta_len != OPEN_META || memcmp(meta, m->one.meta, OPEN_META) != 0 || !vector ||
        memcmp(vector, m->one.vectors, m->one.dims * sizeof(float)) != 0) {
        bench_die("record %llu differs from the model", (unsigned long long)row);
    }
}

static void open_gets(pv_db *db, open_model *m, bench_random *r, uint64_t gets) {
    pv_error err = PV_ERROR_INIT;
    double seconds = 0;
    for (uint64_t i = 0; i < gets; i++) {
        pv_results *res = NULL;
        char id[32];
        const uint64_t row = bench_random_below(r, m->rows);
        snprintf(id, sizeof id, "doc-%09llu", (unsigned long long)row);
        const double t0 = bench_now();
        bench_check(pv_get(db, NULL, "docs", id, &res, &err), &err, "get");
        seconds += bench_now() - t0;
        size_t len = 0;
        const char *meta = pv_results_metadata(res, 0, &len);
        open_model_expect(m, row, pv_results_id(res, 0), meta, len, pv_results_vector(res, 0));
        pv_results_free(res);
    }
    printf("memory.get %.1f us mean\n", seconds * 1e6 / (double)(gets ? gets : 1));
    printf("memory.gets_compared %llu records\n", (unsigned long long)gets);
}

/* Ids are numbered with leading zeros: their order is that of the rows. */
static void open_iterate(pv_db *db, open_model *m) {
    pv_error err = PV_ERROR_INIT;
    pv_iter_opts o = PV_ITER_OPTS_INIT;
    pv_iter *it = NULL;
    uint64_t n = 0;
    double seconds = 0;
    o.include = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    bench_check(pv_iter_open(db, NULL, "docs", &o, &it, &err), &err, "iterate");
    for (;;) {
        const double t0 = bench_now();
        const int more = bench_check(pv_iter_next(it, &err), &err, "iterate");
        seconds += bench_now() - t0;
        if (more == 0) {
            break;
        }
        size_t len = 0;
        const char *meta = pv_iter_metadata(it, &len);
        open_model_expect(m, n++, pv_iter_id(it), meta, len, pv_iter_vector(it, NULL));
    }
    pv_iter_close(it);
    if (n != m->rows) {
        bench_die("%llu rows of %llu", (unsigned long long)n, (unsigned long long)m->rows);
    }
    printf("memory.iterated %llu rows in %.2f s, all as the model\n", (unsigned long long)n,
           seconds);
}

typedef struct open_near {
    double distance[OPEN_K];
    uint64_t row[OPEN_K];
    size_t count;
} open_near;

static void open_near_offer(open_near *n, double distance, uint64_t row) {
    if (n->count == OPEN_K && distance >= n->distance[OPEN_K - 1]) {
        return;
    }
    size_t at = n->count < OPEN_K ? n->count++ : OPEN_K - 1;
    for (; at > 0 && n->distance[at - 1] > distance; at--) {
        n->distance[at] = n->distance[at - 1];
        n->row[at] = n->row[at - 1];
    }
    n->distance[at] = distance;
    n->row[at] = row;
}

static double open_distance(const float *a, const float *b, size_t dims) {
    double sum = 0;
    for (size_t i = 0; i < dims; i++) {
        const double d = (double)a[i] - (double)b[i];
        sum += d * d;
    }
    return sqrt(sum);
}

/* Rank by rank: the same record, or one that is as near but for rounding. */
static void open_near_expect(const open_near *n, const pv_results *res, const float *query,
                             open_model *m) {
    if (pv_results_count(res) != n->count) {
        bench_die("%zu results, the model has %zu", pv_results_count(res), n->count);
    }
    for (size_t i = 0; i < n->count; i++) {
        const double least = 1e-5 * n->distance[i], said = (double)pv_results_distance(res, i);
        const uint64_t row = strtoull(pv_results_id(res, i) + 4, NULL, 10);
        open_model_make(m, row);
        if (fabs(said - n->distance[i]) > least ||
            fabs(open_distance(query, m->one.vectors, m->one.dims) - said) > least) {
            bench_die("result %zu is record %llu at %.9g, the model has %llu at %.9g", i,
                      (unsigned long long)row, said, (unsigned long long)n->row[i], n->distance[i]);
        }
    }
}

static void open_searches(pv_db *db, open_model *m, bench_random *r) {
    pv_error err = PV_ERROR_INIT;
    const size_t dims = m->one.dims;
    float *v = bench_alloc(OPEN_SEARCHES * dims * sizeof(float));
    open_near near[OPEN_SEARCHES] = {{.count = 0}};
    pv_results *res[OPEN_SEARCHES] = {NULL};
    bench_random_normal(r, v, OPEN_SEARCHES * dims);
    for (size_t i = 0; i < OPEN_SEARCHES; i++) {
        pv_query q = PV_QUERY_INIT;
        q.flags = PV_QUERY_EXACT;
        q.vector = v + i * dims;
        q.dims = (uint32_t)dims;
        q.k = OPEN_K;
        const double t0 = bench_now();
        bench_check(pv_search(db, NULL, "docs", &q, &res[i], &err), &err, "search");
        printf("memory.search %.2f s\n", bench_now() - t0);
    }
    for (uint64_t row = 0; row < m->rows; row++) {
        open_model_make(m, row);
        for (size_t i = 0; i < OPEN_SEARCHES; i++) {
            open_near_offer(&near[i], open_distance(v + i * dims, m->one.vectors, dims), row);
        }
    }
    for (size_t i = 0; i < OPEN_SEARCHES; i++) {
        open_near_expect(&near[i], res[i], v + i * dims, m);
        pv_results_free(res[i]);
    }
    printf("memory.searches_compared %d searches\n", OPEN_SEARCHES);
    free(v);
}

static int open_run_memory(const char *dir, uint64_t cache_mib, uint64_t gets) {
    pv_error err = PV_ERROR_INIT;
    pv_collection_info info = PV_COLLECTION_INFO_INIT;
    bench_random r = {8};
    open_model m;
    char path[1024];
    open_path(path, sizeof path, dir);
    const uint64_t base = bench_peak_rss(), budget = cache_mib << 20;
    pv_db *db = open_db(path, budget, 0);
    bench_check(pv_collection_info_get(db, NULL, "docs", &info, &err), &err, "info");
    bench_batch_init(&m.one, 1, info.dims, OPEN_META);
    m.rows = info.count;
    open_memory_line(db, "open", base, budget);
    open_gets(db, &m, &r, gets);
    open_memory_line(db, "gets", base, budget);
    open_iterate(db, &m);
    open_memory_line(db, "iterate", base, budget);
    open_searches(db, &m, &r);
    open_memory_line(db, "searches", base, budget);
    bench_check(pv_close(db, &err), &err, "close");
    bench_batch_done(&m.one);
    printf("memory.file %.1f MiB\n", (double)bench_file_bytes(path) / 1048576.0);
    printf("memory.peak_to_budget %.3f ratio\n",
           (double)(bench_peak_rss() - base) / (double)budget);
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 2 ? argv[1] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(what, "kill") == 0 && argc == 5) {
        return open_run_kill(argv[2], bench_number(argv[3], "rows"), bench_number(argv[4], "log"));
    }
    if (strcmp(what, "make") == 0 && argc == 5) {
        return open_run_make(argv[2], bench_number(argv[3], "rows"), bench_number(argv[4], "dims"));
    }
    if (strcmp(what, "open") == 0) {
        return open_run_open(argv[2]);
    }
    if (strcmp(what, "memory") == 0 && argc == 5) {
        return open_run_memory(argv[2], bench_number(argv[3], "cache"),
                               bench_number(argv[4], "gets"));
    }
    if (strcmp(what, "clean") == 0) {
        char path[1024];
        open_path(path, sizeof path, argv[2]);
        bench_remove_db(path);
        return 0;
    }
    fprintf(stderr, "usage: bench_open kill DIR ROWS LOG_MIB | make DIR ROWS DIMS | open DIR |\n"
                    "       memory DIR CACHE_MIB GETS | clean DIR\n");
    return 1;
}
