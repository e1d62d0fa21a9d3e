/* SPDX-License-Identifier: Apache-2.0 */
/* bench_kernel.c - how near the distance kernels come to memory bandwidth.
 *
 * Prints, for 128, 384 and 768 dimensions and for sets inside and beyond the cache, GB/s of
 * scanning with each instruction set beside a plain read of the same bytes, and the ratio. Then
 * exact search of many queries in one call against the same queries one by one; at the end other
 * elements and metrics, nanoseconds a row. Best of several
 * rounds, one thread. Usage: bench_kernel [MiB of the large set] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernel/kernel.h"
#include "os/sys.h"

#if PV__KERNEL_X86
#include <immintrin.h>
#endif

#define QUERIES 32u

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* What a loop that only reads can do: four registers wide, nothing computed but a fold. */
#if PV__KERNEL_X86
__attribute__((target("avx512f"))) static uint64_t read_avx512(const uint8_t *p, size_t bytes) {
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (size_t i = 0; i + 256 <= bytes; i += 256) {
        _mm_prefetch((const char *)(p + i + 4096), _MM_HINT_T0);
        _mm_prefetch((const char *)(p + i + 4160), _MM_HINT_T0);
        _mm_prefetch((const char *)(p + i + 4224), _MM_HINT_T0);
        _mm_prefetch((const char *)(p + i + 4288), _MM_HINT_T0);
        a = _mm512_or_si512(a, _mm512_loadu_si512(p + i));
        b = _mm512_or_si512(b, _mm512_loadu_si512(p + i + 64));
        c = _mm512_or_si512(c, _mm512_loadu_si512(p + i + 128));
        d = _mm512_or_si512(d, _mm512_loadu_si512(p + i + 192));
    }
    a = _mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d));
    return (uint64_t)_mm512_reduce_or_epi64(a);
}
__attribute__((target("avx2"))) static uint64_t read_avx2(const uint8_t *p, size_t bytes) {
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    for (size_t i = 0; i + 128 <= bytes; i += 128) {
        const uint8_t *q = p + i;
        a = _mm256_or_si256(a, _mm256_loadu_si256((const void *)q));
        b = _mm256_or_si256(b, _mm256_loadu_si256((const void *)(q + 32)));
        c = _mm256_or_si256(c, _mm256_loadu_si256((const void *)(q + 64)));
        d = _mm256_or_si256(d, _mm256_loadu_si256((const void *)(q + 96)));
    }
    uint64_t lanes[4];
    a = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
    _mm256_storeu_si256((void *)lanes, a);
    return lanes[0] | lanes[1] | lanes[2] | lanes[3];
}
#endif
static uint64_t read_plain(const uint8_t *p, size_t bytes) {
    uint64_t a = 0, b = 0, c = 0, d = 0, w[4];
    for (size_t i = 0; i + 32 <= bytes; i += 32) {
        memcpy(w, p + i, 32);
        a |= w[0], b |= w[1], c |= w[2], d |= w[3];
    }
    return a | b | c | d;
}

static uint64_t read_bytes(uint32_t cpu, const uint8_t *p, size_t bytes) {
#if PV__KERNEL_X86
    if (cpu & PV__CPU_AVX512) {
        return read_avx512(p, bytes);
    }
    if (cpu & PV__CPU_AVX2) {
        return read_avx2(p, bytes);
    }
#endif
    (void)cpu;
    return read_plain(p, bytes);
}

typedef struct bench_set {
    uint32_t cpu;
    const float *rows, *queries;
    const uint8_t **list; /* of the rows */
    size_t n, dims;
    float *out; /* QUERIES * n */
    uint64_t sink;
} bench_set;

/* Best seconds of one pass over the set; `what`: NULL reads, else scans with that table. */
static double best_pass(bench_set *s, const pv__kernel *k, unsigned metric) {
    const size_t bytes = s->n * s->dims * sizeof(float);
    const size_t repeat = bytes >= (64u << 20) ? 1 : (64u << 20) / bytes;
    double best = 1e9;
    pv__kernel_query q;
    pv__kernel_query_init(&q, metric, s->queries, (uint32_t)s->dims);
    for (int round = 0; round < 7; round++) {
        const double t0 = now_s();
        for (size_t i = 0; i < repeat; i++) {
            if (k) {
                pv__kernel_scan(k, &q, s->rows, s->dims * sizeof(float), s->n, s->out);
            } else {
                s->sink |= read_bytes(s->cpu, (const uint8_t *)s->rows, bytes);
            }
        }
        const double t = (now_s() - t0) / (double)repeat;
        best = t < best ? t : best;
    }
    return best;
}

static void bench_scan(bench_set *s) {
    static const char *const metrics[] = {"", "l2", "cosine", "dot"};
    const double gb = (double)(s->n * s->dims * sizeof(float)) * 1e-9;
    const double read = best_pass(s, NULL, 0);
    printf("%5zu d %9.1f MiB  read   %7.1f GB/s\n", s->dims, gb * 1e9 / 1048576.0, gb / read);
    for (size_t i = 0; pv__kernel_at(i); i++) {
        const pv__kernel *k = pv__kernel_at(i);
        if ((s->cpu & k->cpu) != k->cpu) {
            continue;
        }
        printf("        %-8s", k->name);
        for (unsigned m = PV_METRIC_L2; m <= PV_METRIC_DOT; m++) {
            const double t = best_pass(s, k, m);
            printf("  %-6s %6.1f GB/s %5.1f ns/row, %4.2f of read", metrics[m], gb / t,
                   t * 1e9 / (double)s->n, read / t);
        }
        printf("\n");
    }
}

/* QUERIES queries in one call against one by one, best table. */
static void bench_many(bench_set *s) {
    const pv__kernel *k = pv__kernel_table(s->cpu);
    pv__kernel_query q[QUERIES];
    for (size_t i = 0; i < QUERIES; i++) {
        pv__kernel_query_init(&q[i], PV_METRIC_L2, s->queries + i * s->dims, (uint32_t)s->dims);
    }
    double one = 1e9, many = 1e9;
    for (int round = 0; round < 3; round++) {
        double t0 = now_s();
        for (size_t i = 0; i < QUERIES; i++) {
            pv__kernel_scan(k, &q[i], s->rows, s->dims * sizeof(float), s->n, s->out + i * s->n);
        }
        double t = now_s() - t0;
        one = t < one ? t : one;
        t0 = now_s();
        pv__kernel_many(k, q, QUERIES, s->list, s->n, s->out, s->n);
        t = now_s() - t0;
        many = t < many ? t : many;
    }
    const double terms = (double)(QUERIES * s->n) * (double)s->dims;
    printf("        %-8s  %u queries l2: one by one %.2f Gterm/s, in one call %.2f, ratio %.2f\n",
           k->name, QUERIES, terms / one * 1e-9, terms / many * 1e-9, one / many);
}

/* Elements and metrics beyond f32 by l2, cosine and dot: the same bytes, on each CPU level. */
static void bench_types(bench_set *s, size_t bytes) {
    static const struct {
        uint32_t type, metric, bits;
        const char *name;
    } pairs[] = {
        {PV_TYPE_F32, PV_METRIC_L1, 32, "f32 l1"},
        {PV_TYPE_F16, PV_METRIC_L2, 16, "f16 l2"},
        {PV_TYPE_F16, PV_METRIC_COSINE, 16, "f16 cosine"},
        {PV_TYPE_F16, PV_METRIC_L1, 16, "f16 l1"},
        {PV_TYPE_I8, PV_METRIC_L2, 8, "i8 l2"},
        {PV_TYPE_I8, PV_METRIC_DOT, 8, "i8 dot"},
        {PV_TYPE_I8, PV_METRIC_COSINE, 8, "i8 cosine"},
        {PV_TYPE_I8, PV_METRIC_L1, 8, "i8 l1"},
        {PV_TYPE_BIT, PV_METRIC_HAMMING, 1, "bit hamming"},
        {PV_TYPE_BIT, PV_METRIC_JACCARD, 1, "bit jaccard"},
    };
    static const uint32_t levels[] = {0, PV__CPU_AVX2, PV__CPU_AVX2 | PV__CPU_AVX512,
                                      PV__CPU_AVX2 | PV__CPU_AVX512 | PV__CPU_VPOPCNT,
                                      PV__CPU_NEON, PV__CPU_NEON | PV__CPU_DOTPROD};
    static const char *const names[] = {"scalar", "avx2", "avx512", "vpopcnt", "neon", "dotprod"};
    const uint32_t dims = (uint32_t)s->dims;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const size_t row = (dims * pairs[i].bits + 7) / 8, n = bytes / row;
        const size_t block = n < (1u << 20) ? n : 1u << 20; /* out has room for so many */
        printf("%5u d %9.2f MiB  %-12s", (unsigned)dims, (double)(block * row) / 1048576.0,
               pairs[i].name);
        for (size_t l = 0; l < sizeof levels / sizeof levels[0]; l++) {
            float room[1024];
            pv__kernel_query q;
            double best = 1e9;
            if ((s->cpu & levels[l]) != levels[l]) {
                continue;
            }
            pv__kernel_query_of(&q, levels[l], pairs[i].type, pairs[i].metric, s->rows + 64, dims,
                                room);
            for (int round = 0; round < 5; round++) {
                const double t0 = now_s();
                pv__kernel_scan(pv__kernel_table(levels[l]), &q, s->rows, row, block, s->out);
                const double t = now_s() - t0;
                best = t < best ? t : best;
            }
            printf("  %s %.1f ns %.1f GB/s", names[l], best * 1e9 / (double)block,
                   (double)(block * row) * 1e-9 / best);
        }
        printf("\n");
    }
}

int main(int argc, char **argv) {
    static const size_t dims[] = {128, 384, 768};
    const size_t large = (size_t)(argc > 1 ? strtoul(argv[1], NULL, 10) : 512) << 20;
    const size_t sizes[] = {16u << 10, 512u << 10, 8u << 20, large};
    float *rows = pv__sys_map(large + 8192); /* the reader prefetches behind the end */
    float *out = malloc(QUERIES * (large / 128 / sizeof(float)) * sizeof(float));
    float *queries = malloc(QUERIES * 768 * sizeof(float));
    if (!rows || !out || !queries || large < (16u << 10)) {
        fprintf(stderr, "bench_kernel: out of memory\n");
        return 1;
    }
    uint64_t x = 1;
    for (size_t i = 0; i < large / sizeof(float); i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        rows[i] = (float)(int32_t)(x >> 32) * 0x1p-31f;
    }
    for (size_t i = 0; i < QUERIES * 768;
         i++) { /* no query equals a row: that takes the slow way */
        queries[i] = rows[i % (large / sizeof(float))] * 0.7f + 0.1f;
    }
    const uint8_t **list = malloc(large / (128 * sizeof(float)) * sizeof *list);
    bench_set s = {pv__sys_cpu(), rows, queries, list, 0, 0, out, 0};
    if (!list) {
        fprintf(stderr, "bench_kernel: out of memory\n");
        return 1;
    }
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            s.dims = dims[d];
            s.n = sizes[i] / (dims[d] * sizeof(float));
            for (size_t r = 0; r < s.n; r++) {
                list[r] = (const uint8_t *)(rows + r * s.dims);
            }
            bench_scan(&s);
            if (i >= 2) {
                bench_many(&s);
            }
        }
    }
    for (size_t i = 0; i < large / sizeof(uint32_t); i++) { /* numbers, also as f16 */
        uint32_t bits;
        memcpy(&bits, rows + i, sizeof bits);
        bits &= 0x3B7F3B7Fu;
        memcpy(rows + i, &bits, sizeof bits);
    }
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        s.dims = dims[d];
        bench_types(&s, large < (512u << 10) ? large : 512u << 10);
        bench_types(&s, large);
    }
    printf("(%llx)\n", (unsigned long long)s.sink);
    pv__sys_unmap(rows, large + 8192);
    free(list);
    free(out);
    free(queries);
    return 0;
}
