/* SPDX-License-Identifier: Apache-2.0 */
/* bench_kernel_pq.c - product codes by themselves: what a scan of them finds, and what it costs.
 *
 * Learns from part of the base, encodes all of it, and scans the codes for every query. Prints the
 * share of the true 10 nearest (by distance) among the first 10, and after the first 100 and 1000
 * were ranked again by their vectors, beside the times of learning, encoding and scanning (one
 * thread, processor time). metric: l2, cos or ip.
 * Usage: bench_kernel_pq BASE.fvecs QUERY.fvecs METRIC RATIO BITS [QUERIES [SAMPLE [opq]]] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernel/kernel.h"
#include "os/sys.h"
#include "quant/code.h"

#define K 10u
#define AGAIN_MAX 1000u

typedef struct vectors {
    float *v;
    size_t n;
    uint32_t dims;
} vectors;

static void die(const char *what) {
    fprintf(stderr, "bench_kernel_pq: %s\n", what);
    exit(1);
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static vectors read_fvecs(const char *path, size_t most) {
    vectors out = {NULL, 0, 0};
    int32_t dims = 0;
    FILE *f = fopen(path, "rb");
    if (!f || fread(&dims, 4, 1, f) != 1 || dims < 1 || dims > PV_LIMIT_DIMS) {
        die("no fvecs");
    }
    out.dims = (uint32_t)dims;
    for (size_t cap = 0;; out.n++) {
        if (out.n == cap) {
            cap = cap ? 2 * cap : 1024;
            out.v = realloc(out.v, cap * out.dims * sizeof(float));
        }
        if (!out.v || out.n == most ||
            fread(out.v + out.n * out.dims, sizeof(float), out.dims, f) != out.dims ||
            fread(&dims, 4, 1, f) != 1) {
            out.n += out.n < most;
            break;
        }
    }
    fclose(f);
    return out;
}

typedef struct hit {
    float distance;
    uint32_t row;
} hit;

static int by_distance(const void *a, const void *b) {
    const float x = ((const hit *)a)->distance, y = ((const hit *)b)->distance;
    return x < y ? -1 : x > y;
}

/* The nearest `most` of n, in order. */
static void nearest(const float *distances, size_t n, hit *out, size_t most, hit *all) {
    for (size_t i = 0; i < n; i++) {
        all[i] = (hit){distances[i], (uint32_t)i};
    }
    qsort(all, n, sizeof *all, by_distance);
    memcpy(out, all, most * sizeof *all);
}

int main(int argc, char **argv) {
    if (argc < 6) {
        die("usage: bench_kernel_pq BASE QUERY METRIC RATIO BITS [QUERIES [SAMPLE [opq]]]");
    }
    const vectors base = read_fvecs(argv[1], SIZE_MAX);
    const vectors query = read_fvecs(argv[2], argc > 6 ? strtoul(argv[6], NULL, 10) : 200);
    const uint32_t ratio = (uint32_t)strtoul(argv[4], NULL, 10);
    pv__code_spec spec = {.kind = PV__CODE_PQ, .dims = base.dims, .seed = 1};
    spec.metric = strcmp(argv[3], "l2") == 0    ? PV_METRIC_L2
                  : strcmp(argv[3], "cos") == 0 ? PV_METRIC_COSINE
                                                : PV_METRIC_DOT;
    spec.bits = (uint32_t)strtoul(argv[5], NULL, 10);
    spec.parts = base.dims * 32 / (ratio * spec.bits);
    spec.turned = argc > 8 && strcmp(argv[8], "opq") == 0;
    pv__code c;
    pv__mem mem;
    pv__mem_init(&mem, NULL, 0);
    if (query.dims != base.dims || !pv__code_init(&c, &spec, pv__sys_cpu())) {
        die("no such code");
    }
    size_t sample = argc > 7 ? strtoul(argv[7], NULL, 10) : 16384;
    sample = sample < base.n ? sample : base.n;
    float *some = malloc(sample * base.dims * sizeof(float));
    void *book = aligned_alloc(64, c.book_bytes), *scratch = aligned_alloc(64, c.scratch_bytes);
    uint8_t *codes = malloc(base.n * c.row_size + 64), *prepared = aligned_alloc(64, c.query_bytes);
    const uint8_t **rows = malloc(base.n * sizeof *rows);
    float *distances = malloc(base.n * sizeof(float)), *exact = malloc(base.n * sizeof(float));
    hit *all = malloc(base.n * sizeof *all);
    if (!some || !book || !scratch || !codes || !prepared || !rows || !distances || !exact ||
        !all) {
        die("out of memory");
    }
    for (size_t i = 0; i < sample; i++) {
        memcpy(some + i * base.dims, base.v + i * base.n / sample * base.dims,
               base.dims * sizeof(float));
    }
    double t0 = now_s();
    if (pv__code_train(&c, &mem, some, sample, NULL, book, NULL) != 0) {
        die("out of memory");
    }
    c.book = book;
    const double train_s = now_s() - t0;
    t0 = now_s();
    for (size_t i = 0; i < base.n; i++) {
        rows[i] = codes + i * c.row_size;
        pv__code_encode(&c, base.v + i * base.dims, scratch, codes + i * c.row_size);
    }
    const double encode_s = now_s() - t0;
    double scan_s = 0, query_s = 0;
    size_t found[3] = {0};
    static const size_t again[3] = {K, 100, AGAIN_MAX};
    for (size_t q = 0; q < query.n; q++) {
        const float *v = query.v + q * query.dims;
        hit first[AGAIN_MAX], truth[K];
        pv__kernel_query kq;
        pv__kernel_query_init(&kq, spec.metric, v, base.dims);
        pv__kernel_scan(pv__kernel_table(pv__sys_cpu()), &kq, base.v, base.dims * sizeof(float),
                        base.n, exact);
        nearest(exact, base.n, truth, K, all);
        t0 = now_s();
        pv__code_query(&c, v, prepared);
        query_s += now_s() - t0;
        t0 = now_s();
        pv__code_distances(&c, prepared, rows, base.n, distances);
        scan_s += now_s() - t0;
        nearest(distances, base.n, first, AGAIN_MAX, all);
        const float kth = truth[K - 1].distance, bound = kth + fabsf(kth) * 1e-5f;
        for (size_t a = 0; a < 3;
             a++) { /* ranked again, all that are among the k nearest come first */
            size_t n = 0;
            for (size_t i = 0; i < again[a]; i++) {
                n += exact[first[i].row] <= bound;
            }
            found[a] += n < K ? n : K;
        }
    }
    const double k_all = (double)query.n * K;
    printf(
        "%s %ux %u bits%s: %u parts, %u B a row; learned in %.2f s from %zu, encode %.1f us, query "
        "%.1f us, scan %.2f ns a row; recall %.4f, of 100 %.4f, of 1000 %.4f\n",
        argv[3], ratio, spec.bits, spec.turned ? " turned" : "", spec.parts, c.row_size, train_s,
        sample, encode_s / (double)base.n * 1e6, query_s / (double)query.n * 1e6,
        scan_s / (double)query.n / (double)base.n * 1e9, (double)found[0] / k_all,
        (double)found[1] / k_all, (double)found[2] / k_all);
    free(base.v);
    free(query.v);
    free(some);
    free(book);
    free(scratch);
    free(codes);
    free(prepared);
    free((void *)rows);
    free(distances);
    free(exact);
    free(all);
    return 0;
}
