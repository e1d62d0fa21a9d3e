/* SPDX-License-Identifier: Apache-2.0 */
/* bench_same.c - many records with one and the same vector, among others that differ: is what
 * comes out right, and how long does it take?
 *
 * Usage: bench_same DIR base.fvecs ROWS l2|cos [ZEROS [COPIES]]
 *
 *      grow      records one by one until the graph has begun: the longest call
 *      fill      the rest of ROWS, in batches
 *      zeros     ZEROS (100,000) zero vectors, in batches and the last thousand one by one
 *      copies    COPIES (10,000) of one vector that is no other's, one by one
 *      search    beside them: recall@10 and time of searches before and after; the nearest of the
 *                copy and of zeros; filters that leave ten of them
 *      delete    half of the copies one by one, all zeros by filter; then the same searches
 *      check     pv_check with PV_CHECK_DEEP
 *
 * Whatever must hold is looked at: a wrong answer ends the program with 1. Every write is a
 * transaction of its own with sync async, so that the disk is not what is measured; times of calls
 * are wall time and processor time of the calling thread. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

#define SAME_BATCH 10000u
#define SAME_SINGLE 1000u /* zeros that come one by one */
#define SAME_GROW 65536u  /* the graph has begun before so many records */
#define SAME_QUERIES 200u
#define SAME_K 10u
#define SAME_CACHE (UINT64_C(4) << 30)

typedef struct same_bench {
    pv_db *db;
    pv_error err;
    FILE *in;
    uint32_t dims, metric;
    float *v, *copy, *queries, *kth;
    double *wall, *cpu;
    uint64_t next; /* id */
} same_bench;

static double same_cpu(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void same_row(same_bench *b, float *out) {
    int32_t dims = 0;
    if (fread(&dims, 4, 1, b->in) != 1 || dims != (int32_t)b->dims ||
        fread(out, 4, b->dims, b->in) != b->dims) {
        bench_die("the file of vectors is too short");
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

static void same_name(char out[32], char kind, uint64_t n) {
    snprintf(out, 32, "%c%09llu", kind, (unsigned long long)n);
}

/* One record, timed into place i. Copies and zeros say so, and a number of a hundred. */
static void same_insert(same_bench *b, char kind, uint64_t n, const float *v, size_t i) {
    char id[32], meta[64];
    pv_record r = PV_RECORD_INIT;
    same_name(id, kind, n);
    snprintf(meta, sizeof meta, "{\"kind\":\"%c\",\"n\":%llu}", kind, (unsigned long long)n);
    r.id = id;
    r.vector = v;
    r.dims = b->dims;
    r.metadata = meta;
    const double cpu = same_cpu(), wall = bench_now();
    bench_check(pv_insert(b->db, NULL, "docs", &r, 1, NULL, &b->err), &b->err, "insert");
    b->wall[i] = bench_now() - wall;
    b->cpu[i] = same_cpu() - cpu;
}

static double same_longest(const double *t, size_t n) {
    double longest = 0;
    for (size_t i = 0; i < n; i++) {
        longest = fmax(longest, t[i]);
    }
    return longest;
}

static void same_print(same_bench *b, const char *what, size_t n) {
    char name[64];
    printf("%s.longest %.0f us, processor %.0f us\n", what, same_longest(b->wall, n) * 1e6,
           same_longest(b->cpu, n) * 1e6);
    snprintf(name, sizeof name, "%s.wall", what);
    bench_print_times(name, b->wall, n);
    snprintf(name, sizeof name, "%s.cpu", what);
    bench_print_times(name, b->cpu, n);
}

/* Rows of the file (kind r) or zeros (kind z) in batches. */
static void same_batches(same_bench *b, char kind, uint64_t first, uint64_t count,
                         const char *what) {
    char *ids = bench_alloc(SAME_BATCH * 10 + 32), *meta = bench_alloc(SAME_BATCH * 64);
    uint64_t *id_at = bench_alloc((SAME_BATCH + 1) * sizeof *id_at);
    uint64_t *meta_at = bench_alloc((SAME_BATCH + 1) * sizeof *meta_at);
    float *v = bench_alloc(SAME_BATCH * b->dims * sizeof *v);
    double seconds = 0, longest = 0;
    memset(v, 0, SAME_BATCH * b->dims * sizeof *v);
    for (uint64_t at = 0; at < count;) {
        pv_batch batch = PV_BATCH_INIT;
        batch.count = count - at < SAME_BATCH ? (size_t)(count - at) : SAME_BATCH;
        id_at[0] = meta_at[0] = 0;
        for (size_t i = 0; i < batch.count; i++) {
            char id[32];
            const unsigned long long n = first + at + i;
            same_name(id, kind, n);
            memcpy(ids + id_at[i], id, 10);
            id_at[i + 1] = id_at[i] + 10;
            meta_at[i + 1] =
                meta_at[i] +
                (uint64_t)snprintf(meta + meta_at[i], 64, "{\"kind\":\"%c\",\"n\":%llu}", kind, n);
            if (kind == 'r') {
                same_row(b, v + i * b->dims);
            }
        }
        batch.vectors = v;
        batch.dims = b->dims;
        batch.id_data = ids;
        batch.id_offsets = id_at;
        batch.metadata_data = meta;
        batch.metadata_offsets = meta_at;
        const double start = bench_now();
        bench_check(pv_insert_batch(b->db, NULL, "docs", &batch, NULL, &b->err), &b->err, "batch");
        const double took = bench_now() - start;
        seconds += took;
        longest = fmax(longest, took);
        at += batch.count;
    }
    printf("%s.rows %llu rows in %.2f s, %.1f us each, longest batch of %u %.2f s\n", what,
           (unsigned long long)count, seconds, seconds / (double)(count ? count : 1) * 1e6,
           SAME_BATCH, longest);
    free(ids);
    free(meta);
    free(id_at);
    free(meta_at);
    free(v);
}

/* ---- searching ------------------------------------------------------------------------------- */

static pv_results *same_search(same_bench *b, const float *v, uint32_t k, const char *filter,
                               uint32_t flags) {
    pv_query q = PV_QUERY_INIT;
    pv_results *res = NULL;
    q.vector = v;
    q.dims = b->dims;
    q.k = k;
    q.filter = filter;
    q.flags = flags;
    bench_check(pv_search(b->db, NULL, "docs", &q, &res, &b->err), &b->err, "search");
    return res;
}

/* Recall against comparing with all, and time. */
static void same_recall(same_bench *b, const char *what) {
    double right = 0;
    for (size_t i = 0; i < SAME_QUERIES; i++) {
        const float *q = b->queries + i * b->dims;
        pv_results *exact = same_search(b, q, SAME_K, NULL, PV_QUERY_EXACT);
        const float kth = pv_results_distance(exact, SAME_K - 1);
        pv_results_free(exact);
        const double cpu = same_cpu(), wall = bench_now();
        pv_results *res = same_search(b, q, SAME_K, NULL, 0);
        b->wall[i] = bench_now() - wall;
        b->cpu[i] = same_cpu() - cpu;
        if (pv_results_count(res) != SAME_K) {
            bench_die("%zu answers", pv_results_count(res));
        }
        for (size_t r = 0; r < SAME_K; r++) {
            right += pv_results_distance(res, r) <= kth + fabsf(kth) * 1e-5f;
        }
        pv_results_free(res);
    }
    printf("%s.recall %.4f\n", what, right / (SAME_QUERIES * SAME_K));
    same_print(b, what, SAME_QUERIES);
}

/* The k nearest of v are all of one kind, at one distance, and no id comes twice. */
static void same_expect(same_bench *b, const char *what, const float *v, uint32_t k, char kind,
                        uint64_t from, const char *filter) {
    const double cpu = same_cpu(), wall = bench_now();
    pv_results *res = same_search(b, v, k, filter, 0);
    const double took = bench_now() - wall, used = same_cpu() - cpu;
    char seen[32] = "";
    if (pv_results_count(res) != k) {
        bench_die("%s: %zu answers of %u", what, pv_results_count(res), (unsigned)k);
    }
    for (uint32_t i = 0; i < k; i++) {
        const char *id = pv_results_id(res, i);
        if (id[0] != kind || strtoull(id + 1, NULL, 10) < from ||
            fabsf(pv_results_distance(res, i) - pv_results_distance(res, 0)) > 1e-5f ||
            strcmp(id, seen) == 0) {
            bench_die("%s: answer %u is %s at %g", what, (unsigned)i, id,
                      (double)pv_results_distance(res, i));
        }
        snprintf(seen, sizeof seen, "%s", id);
    }
    printf("%s %u answers at %g, %.0f us, processor %.0f us (%s)\n", what, (unsigned)k,
           (double)pv_results_distance(res, 0), took * 1e6, used * 1e6, pv_results_plan(res));
    pv_results_free(res);
}

static void same_none(same_bench *b, const char *what, const float *v, char kind) {
    pv_results *res = same_search(b, v, 100, NULL, 0);
    if (pv_results_count(res) != 100) {
        bench_die("%s: %zu answers", what, pv_results_count(res));
    }
    for (size_t i = 0; i < 100; i++) {
        if (pv_results_id(res, i)[0] == kind) {
            bench_die("%s: %s was deleted", what, pv_results_id(res, i));
        }
    }
    pv_results_free(res);
}

/* ---- all ------------------------------------------------------------------------------------- */

static void same_grow(same_bench *b, uint64_t rows) {
    const size_t n = rows < SAME_GROW ? (size_t)rows : SAME_GROW;
    for (size_t i = 0; i < n; i++) {
        same_row(b, b->v);
        same_insert(b, 'r', i, b->v, i);
    }
    same_print(b, "grow", n);
    same_batches(b, 'r', n, rows - n, "fill");
}

static void same_zeros(same_bench *b, uint64_t zeros) {
    memset(b->v, 0, b->dims * sizeof *b->v);
    same_batches(b, 'z', 0, zeros - SAME_SINGLE, "zeros");
    for (size_t i = 0; i < SAME_SINGLE; i++) {
        same_insert(b, 'z', zeros - SAME_SINGLE + i, b->v, i);
    }
    same_print(b, "zero", SAME_SINGLE);
}

static void same_copies(same_bench *b, uint64_t copies) {
    for (size_t i = 0; i < copies; i++) {
        same_insert(b, 'c', i, b->copy, i);
    }
    same_print(b, "copy", (size_t)copies);
}

static void same_answers(same_bench *b, const char *when, uint64_t copies, uint64_t from) {
    char what[64], filter[64];
    snprintf(what, sizeof what, "%s.copies_10", when);
    same_expect(b, what, b->copy, 10, 'c', from, NULL);
    snprintf(what, sizeof what, "%s.copies_1000", when);
    same_expect(b, what, b->copy, 1000, 'c', from, NULL);
    snprintf(what, sizeof what, "%s.copies_filtered", when);
    snprintf(filter, sizeof filter, "{\"kind\":\"c\",\"n\":{\"$gte\":%llu}}",
             (unsigned long long)copies - 10);
    same_expect(b, what, b->copy, 10, 'c', copies - 10, filter);
}

static void same_zero_answers(same_bench *b, uint64_t zeros) {
    char filter[64];
    memset(b->v, 0, b->dims * sizeof *b->v);
    if (b->metric == PV_METRIC_L2) { /* with cosine a zero vector is as far from all */
        same_expect(b, "after.zeros_10", b->v, 10, 'z', 0, NULL);
        same_expect(b, "after.zeros_1000", b->v, 1000, 'z', 0, NULL);
    }
    snprintf(filter, sizeof filter, "{\"kind\":\"z\",\"n\":{\"$gte\":%llu}}",
             (unsigned long long)zeros - 10);
    same_expect(b, "after.zeros_filtered", b->v, 10, 'z', zeros - 10, filter);
}

static void same_delete(same_bench *b, uint64_t zeros, uint64_t copies) {
    uint64_t gone = 0, problems = 0;
    for (size_t i = 0; i < copies / 2; i++) {
        char id[32];
        same_name(id, 'c', i);
        const double cpu = same_cpu(), wall = bench_now();
        bench_check(pv_delete(b->db, NULL, "docs", id, &b->err), &b->err, "delete");
        b->wall[i] = bench_now() - wall;
        b->cpu[i] = same_cpu() - cpu;
    }
    same_print(b, "delete", (size_t)copies / 2);
    double start = bench_now();
    bench_check(pv_delete_where(b->db, NULL, "docs", "{\"kind\":\"z\"}", &gone, &b->err), &b->err,
                "delete");
    printf("delete.zeros %.2f s for %llu\n", bench_now() - start, (unsigned long long)gone);
    if (gone != zeros) {
        bench_die("%llu zeros were deleted", (unsigned long long)gone);
    }
    same_answers(b, "deleted", copies, copies / 2);
    memset(b->v, 0, b->dims * sizeof *b->v);
    same_none(b, "deleted.zeros", b->v, 'z');
    same_recall(b, "deleted");
    start = bench_now();
    bench_check(pv_check(b->db, PV_CHECK_DEEP, NULL, NULL, &problems, &b->err), &b->err, "check");
    printf("check %llu problems, %.1f s\n", (unsigned long long)problems, bench_now() - start);
    if (problems != 0) {
        bench_die("the check found problems");
    }
}

int main(int argc, char **argv) {
    static same_bench b;
    char path[1024];
    int32_t dims = 0;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    if (argc < 5) {
        bench_die("usage: bench_same DIR base.fvecs ROWS l2|cos [ZEROS [COPIES]]");
    }
    const uint64_t rows = bench_number(argv[3], "rows");
    const uint64_t zeros = argc > 5 ? bench_number(argv[5], "zeros") : 100000;
    const uint64_t copies = argc > 6 ? bench_number(argv[6], "copies") : 10000;
    if (zeros < SAME_SINGLE || copies < 2000) {
        bench_die("at least %u zeros and 2000 copies", SAME_SINGLE);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    b.err = (pv_error)PV_ERROR_INIT;
    b.in = fopen(argv[2], "rb");
    if (!b.in || fread(&dims, 4, 1, b.in) != 1 || dims <= 0) {
        bench_die("%s cannot be read", argv[2]);
    }
    rewind(b.in);
    b.dims = (uint32_t)dims;
    b.metric = strcmp(argv[4], "l2") == 0 ? PV_METRIC_L2 : PV_METRIC_COSINE;
    const size_t most = copies > SAME_GROW ? (size_t)copies : SAME_GROW;
    b.v = bench_alloc(b.dims * sizeof *b.v);
    b.copy = bench_alloc(b.dims * sizeof *b.copy);
    b.queries = bench_alloc(SAME_QUERIES * b.dims * sizeof *b.queries);
    b.wall = bench_alloc(most * sizeof *b.wall);
    b.cpu = bench_alloc(most * sizeof *b.cpu);
    for (size_t i = 0; i < SAME_QUERIES; i++) { /* not inserted: rows before those that are */
        same_row(&b, b.queries + i * b.dims);
    }
    same_row(&b, b.copy);
    snprintf(path, sizeof path, "%s/bench-same.pv", argv[1]);
    bench_remove_db(path);
    o.cache_bytes = SAME_CACHE;
    o.sync = PV_SYNC_ASYNC;
    bench_check(pv_open(path, &o, &b.db, &b.err), &b.err, "open");
    c.dims = b.dims;
    c.metric = b.metric;
    bench_check(pv_collection_create(b.db, NULL, "docs", &c, &b.err), &b.err, "create");
    same_grow(&b, rows);
    same_recall(&b, "before");
    same_zeros(&b, zeros);
    same_copies(&b, copies);
    same_recall(&b, "after");
    same_answers(&b, "after", copies, 0);
    same_zero_answers(&b, zeros);
    same_delete(&b, zeros, copies);
    bench_check(pv_close(b.db, &b.err), &b.err, "close");
    bench_remove_db(path);
    fclose(b.in);
    return 0;
}
