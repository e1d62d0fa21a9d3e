/* SPDX-License-Identifier: Apache-2.0 */
/* bench_cursor.c - a search that is read page by page, against one search for as many rows.
 *
 * Usage: bench_cursor DB query.fvecs [queries]
 *
 * DB is what `bench/ann --save DB` leaves. For some totals and pages: processor time of one
 * pv_search of `total` rows, and of pv_cursor_open, total / page times pv_cursor_next and
 * pv_cursor_close, in turn, smallest of the rounds for each query; and the recall of both, by
 * distance, against an exact search. String ids are in both. One thread. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

#define CACHE_BYTES (UINT64_C(6) << 30)
#define ROUNDS 5

static const struct {
    uint32_t total, page;
} kinds[] = {{100, 10}, {100, 50}, {1000, 10}, {1000, 100}};
#define KINDS (sizeof kinds / sizeof kinds[0])

typedef struct cursor_bench {
    pv_db *db;
    pv_error err;
    uint32_t dims;
    float *query;
    float kth; /* distance of the last row of an exact search, and a little more */
} cursor_bench;

static double cpu_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint32_t right_of(const cursor_bench *b, const pv_results *r) {
    uint32_t right = 0;
    for (size_t i = 0; i < pv_results_count(r); i++) {
        right += pv_results_distance(r, i) <= b->kth ? 1u : 0u;
    }
    return right;
}

static pv_query query_of(const cursor_bench *b, uint32_t k) {
    pv_query q = PV_QUERY_INIT;
    q.vector = b->query;
    q.dims = b->dims;
    q.k = k;
    return q;
}

static double search_once(cursor_bench *b, uint32_t total, uint32_t *out_right) {
    const pv_query q = query_of(b, total);
    pv_results *r = NULL;
    const double start = cpu_s();
    bench_check(pv_search(b->db, NULL, "base", &q, &r, &b->err), &b->err, "search");
    const double seconds = cpu_s() - start;
    *out_right = right_of(b, r);
    pv_results_free(r);
    return seconds;
}

static double cursor_once(cursor_bench *b, uint32_t total, uint32_t page, uint32_t *out_right) {
    const pv_query q = query_of(b, 0);
    pv_cursor *c = NULL;
    double seconds = 0;
    *out_right = 0;
    double start = cpu_s();
    bench_check(pv_cursor_open(b->db, NULL, "base", &q, &c, &b->err), &b->err, "cursor");
    for (uint32_t got = 0; got < total; got += page) {
        pv_results *r = NULL;
        bench_check(pv_cursor_next(c, page, &r, &b->err), &b->err, "next");
        seconds += cpu_s() - start;
        *out_right += right_of(b, r);
        pv_results_free(r);
        start = cpu_s();
    }
    pv_cursor_close(c);
    return seconds + cpu_s() - start;
}

static void truth(cursor_bench *b, uint32_t total) {
    pv_query q = query_of(b, total);
    pv_results *r = NULL;
    q.flags = PV_QUERY_EXACT;
    bench_check(pv_search(b->db, NULL, "base", &q, &r, &b->err), &b->err, "exact search");
    const float last = pv_results_distance(r, pv_results_count(r) - 1);
    b->kth = last + fabsf(last) * 1e-5f;
    pv_results_free(r);
}

static void compare(cursor_bench *b, const float *queries, uint64_t count, uint32_t total,
                    uint32_t page) {
    double sums[2] = {0, 0}, rights[2] = {0, 0};
    for (uint64_t i = 0; i < count; i++) {
        double least[2] = {INFINITY, INFINITY};
        uint32_t right[2] = {0, 0};
        b->query = (float *)queries + i * b->dims;
        truth(b, total);
        for (unsigned turn = 0; turn < 2 * ROUNDS; turn++) {
            const unsigned way = (turn + turn / 2) % 2;
            const double s =
                way ? cursor_once(b, total, page, &right[1]) : search_once(b, total, &right[0]);
            least[way] = s < least[way] ? s : least[way];
        }
        for (unsigned way = 0; way < 2; way++) {
            sums[way] += least[way];
            rights[way] += right[way];
        }
    }
    const double n = (double)count, all = n * total;
    printf("| %u | %u | %.1f | %.4f | %.1f | %.4f | %.2f |\n", (unsigned)total, (unsigned)page,
           sums[0] / n * 1e6, rights[0] / all, sums[1] / n * 1e6, rights[1] / all,
           sums[1] / sums[0]);
}

static float *read_queries(cursor_bench *b, const char *path, uint64_t count) {
    FILE *f = fopen(path, "rb");
    int32_t dims = 0;
    float *out = NULL;
    for (uint64_t i = 0; f && i < count; i++) {
        if (fread(&dims, 4, 1, f) != 1 || dims <= 0 || (b->dims && (uint32_t)dims != b->dims)) {
            bench_die("%s: not so many vectors of one length", path);
        }
        b->dims = (uint32_t)dims;
        out = out ? out : bench_alloc(count * b->dims * sizeof *out);
        if (fread(out + i * b->dims, 4, b->dims, f) != b->dims) {
            bench_die("%s is too short", path);
        }
    }
    if (!f) {
        bench_die("%s cannot be read", path);
    }
    fclose(f);
    return out;
}

int main(int argc, char **argv) {
    static cursor_bench b;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    b.err = (pv_error)PV_ERROR_INIT;
    if (argc < 3) {
        bench_die("usage: bench_cursor DB query.fvecs [queries]");
    }
    const uint64_t count = argc > 3 ? bench_number(argv[3], "queries") : 200;
    float *queries = read_queries(&b, argv[2], count);
    o.threads = 1;
    o.cache_bytes = CACHE_BYTES;
    bench_check(pv_open(argv[1], &o, &b.db, &b.err), &b.err, "open");
    printf("| rows | a page | us, search | recall | us, cursor | recall | ratio |\n"
           "|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < KINDS; i++) {
        compare(&b, queries, count, kinds[i].total, kinds[i].page);
    }
    bench_check(pv_close(b.db, &b.err), &b.err, "close");
    free(queries);
    return 0;
}
