/* SPDX-License-Identifier: Apache-2.0 */
/* bench_insert.c - one record at a time into a collection whose graph is large already.
 *
 *      bench_insert make DIR base.fvecs ROWS METRIC EFC    makes bench-insert.pv of the first ROWS
 *                                                          rows, graph and all, and closes it
 *      bench_insert add DIR base.fvecs COUNT full|async    inserts the COUNT rows that follow, one
 *                                                          a call, each its own transaction
 *      bench_insert clean DIR                              removes the file
 *
 * METRIC is l2, ip or cos. With `full` each insert has a plain fdatasync of 8 KiB on the same disk
 * beside it, in turn. Log bytes are those of the records themselves, read from the log's files;
 * what a batch is padded with is told apart. The peer is hnswlib: bench/ann/peer_hnswlib.cpp with
 * tail=COUNT times its last add_point calls in the same way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

#define INSERT_BATCH 100000u
#define INSERT_CACHE (UINT64_C(6) << 30)
#define INSERT_CHECKPOINT (UINT64_C(8) << 30) /* none while inserts are timed */

typedef struct insert_rows {
    FILE *f;
    int32_t dims;
} insert_rows;

static insert_rows insert_rows_open(const char *path, uint64_t skip) {
    insert_rows r = {fopen(path, "rb"), 0};
    if (!r.f || fread(&r.dims, 4, 1, r.f) != 1 || r.dims <= 0 ||
        fseeko(r.f, (off_t)(skip * 4 * (1 + (uint64_t)r.dims)), SEEK_SET) != 0) {
        bench_die("%s cannot be read", path);
    }
    return r;
}

static void insert_rows_next(insert_rows *r, float *out) {
    int32_t dims = 0;
    if (fread(&dims, 4, 1, r->f) != 1 || dims != r->dims ||
        fread(out, 4, (size_t)dims, r->f) != (size_t)dims) {
        bench_die("the file of vectors is too short");
    }
}

static pv_db *insert_open(const char *dir, uint32_t sync, unsigned threads, char *path,
                          size_t size) {
    pv_error err = PV_ERROR_INIT;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv_db *db = NULL;
    snprintf(path, size, "%s/bench-insert.pv", dir);
    o.cache_bytes = INSERT_CACHE;
    o.checkpoint_bytes = INSERT_CHECKPOINT;
    o.sync = sync;
    o.threads = threads;
    bench_check(pv_open(path, &o, &db, &err), &err, "open");
    return db;
}

static int insert_make(const char *dir, const char *base, uint64_t rows, uint32_t metric,
                       uint32_t efc, uint32_t index) {
    char path[1024];
    pv_error err = PV_ERROR_INIT;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    insert_rows in = insert_rows_open(base, 0);
    pv_db *db = insert_open(dir, PV_SYNC_FULL, 0, path, sizeof path);
    bench_batch b;
    pv_batch columns;
    c.dims = (uint32_t)in.dims;
    c.metric = metric;
    c.index = index;
    c.ef_construction = efc;
    bench_check(pv_collection_create(db, NULL, "docs", &c, &err), &err, "create");
    bench_batch_init(&b, INSERT_BATCH, c.dims, 0);
    const double start = bench_now();
    for (uint64_t at = 0; at < rows; at += b.rows) {
        b.rows = rows - at < INSERT_BATCH ? (size_t)(rows - at) : INSERT_BATCH;
        bench_batch_names(&b, at);
        for (size_t i = 0; i < b.rows; i++) {
            insert_rows_next(&in, b.vectors + i * c.dims);
        }
        bench_batch_columns(&b, &columns);
        columns.metadata_data = NULL;
        columns.metadata_offsets = NULL;
        bench_check(pv_insert_batch(db, NULL, "docs", &columns, NULL, &err), &err, "insert");
    }
    bench_check(pv_close(db, &err), &err, "close");
    printf("make.seconds %.1f s\n", bench_now() - start);
    bench_batch_done(&b);
    fclose(in.f);
    return 0;
}

static double insert_cpu(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

typedef struct insert_times {
    double *wall, *cpu, *sync;
} insert_times;

static void insert_print(const char *dir, const insert_times *t, size_t n, int full) {
    double longest = 0;
    for (size_t i = 0; i < n; i++) {
        longest = t->wall[i] > longest ? t->wall[i] : longest;
    }
    bench_print_disk(dir);
    bench_print_times("insert.wall", t->wall, n);
    bench_print_times("insert.cpu", t->cpu, n);
    printf("insert.longest %.0f us\n", longest * 1e6);
    if (full) {
        bench_print_times("insert.fdatasync", t->sync, n);
    }
}

static int insert_add(const char *dir, const char *base, uint64_t count, int full) {
    char path[1024], id[32];
    pv_error err = PV_ERROR_INIT;
    pv_collection_info info = PV_COLLECTION_INFO_INIT;
    pv_stats before = PV_STATS_INIT, after = PV_STATS_INIT;
    pv_db *db = insert_open(dir, full ? PV_SYNC_FULL : PV_SYNC_ASYNC, 1, path, sizeof path);
    bench_check(pv_collection_info_get(db, NULL, "docs", &info, &err), &err, "info");
    insert_rows in = insert_rows_open(base, info.count);
    float *v = bench_alloc((size_t)in.dims * sizeof *v);
    insert_times t = {bench_alloc(count * sizeof(double)), bench_alloc(count * sizeof(double)),
                      bench_alloc(count * sizeof(double))};
    bench_sync sync;
    bench_touched touched;
    bench_sync_open(&sync, dir);
    bench_check(pv_stats_get(db, &before, &err), &err, "stats");
    for (uint64_t i = 0; i < count; i++) {
        pv_record r = PV_RECORD_INIT;
        insert_rows_next(&in, v);
        snprintf(id, sizeof id, "doc-%09u", (unsigned)(info.count + i));
        r.id = id;
        r.vector = v;
        r.dims = (uint32_t)in.dims;
        const double cpu = insert_cpu(), wall = bench_now();
        bench_check(pv_insert(db, NULL, "docs", &r, 1, NULL, &err), &err, "insert");
        t.wall[i] = bench_now() - wall;
        t.cpu[i] = insert_cpu() - cpu;
        t.sync[i] = full ? bench_sync_once(&sync) : 0;
    }
    bench_check(pv_stats_get(db, &after, &err), &err, "stats");
    bench_touched_pages(path, before.lsn, &touched);
    insert_print(dir, &t, (size_t)count, full);
    const double n = (double)touched.records;
    const double payload = (double)BENCH_ID_BYTES + 4.0 * in.dims;
    printf("insert.records %.0f records\n", n);
    printf("insert.payload %.0f bytes\n", payload);
    printf("insert.log %.0f bytes\n", (double)touched.bytes / n);
    printf("insert.beyond_payload %.0f bytes\n", (double)touched.bytes / n - payload);
    printf("insert.log_padded %.0f bytes\n", (double)(after.lsn - before.lsn) / n);
    printf("insert.pages %.1f pages\n", (double)touched.entries / n);
    bench_check(pv_close(db, &err), &err, "close");
    bench_sync_close(&sync);
    fclose(in.f);
    free(v);
    free(t.wall);
    free(t.cpu);
    free(t.sync);
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 2 ? argv[1] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(what, "make") == 0 && (argc == 7 || argc == 8)) {
        const uint32_t metric = strcmp(argv[5], "l2") == 0   ? PV_METRIC_L2
                                : strcmp(argv[5], "ip") == 0 ? PV_METRIC_DOT
                                                             : PV_METRIC_COSINE;
        return insert_make(argv[2], argv[3], bench_number(argv[4], "rows"), metric,
                           (uint32_t)bench_number(argv[6], "efc"),
                           argc == 8 && strcmp(argv[7], "ivf") == 0 ? PV_INDEX_IVF : PV_INDEX_HNSW);
    }
    if (strcmp(what, "add") == 0 && argc == 6) {
        return insert_add(argv[2], argv[3], bench_number(argv[4], "count"),
                          strcmp(argv[5], "async") != 0);
    }
    if (strcmp(what, "clean") == 0) {
        char path[1024];
        snprintf(path, sizeof path, "%s/bench-insert.pv", argv[2]);
        bench_remove_db(path);
        return 0;
    }
    fprintf(stderr, "usage: bench_insert make DIR base.fvecs ROWS l2|ip|cos EFC [ivf] |\n"
                    "       add DIR base.fvecs COUNT full|async | clean DIR\n");
    return 1;
}
