/* SPDX-License-Identifier: Apache-2.0 */
/* bench_kernel_code.c - distances of short codes: nanoseconds and GB/s for each code, instruction
 * set and size, with rows in the cache and far beyond it.
 *
 * A call is what a graph walk does: one prepared query against 32 rows of a shuffled list. "in" is
 * always the same 32 rows, "out" up to 262144 rows, other ones in each round, of a set of 1.2 GiB
 * by default. GB/s count the bytes of rows. "panel": 32 rows, turned, against 12 prepared rows;
 * what a distance takes, 0 where there is no such kernel. Then what it takes to encode a vector and
 * to prepare a query. Smallest of several rounds, processor time, one thread.
 * Usage: bench_kernel_code [MiB of the large set [code]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernel/code_kernel.h"
#include "os/sys.h"
#include "quant/code.h"

#define CALL 32u
#define ROWS_MAX (1u << 21)

static const struct {
    unsigned kind;
    const char *name;
} kinds[] = {
    {PV__CODE_F32, "f32"}, {PV__CODE_F16, "f16"}, {PV__CODE_SQ8, "sq8"},
    {PV__CODE_Q4, "q4"},   {PV__CODE_B1, "b1"}};

static uint64_t random_state = 1;
static uint32_t random_bits(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

typedef struct bench_code {
    pv__code code;
    uint8_t *memory;
    size_t size; /* of memory, in bytes */
    float *vectors;
    void *query, *scratch;
} bench_code;

#define VECTORS 64u

/* Rows in shuffled order; the set is VECTORS rows again and again, which no kernel can tell. */
static const uint8_t **shuffled_rows(bench_code *b, size_t n, size_t stride) {
    const uint8_t **rows = malloc(n * sizeof *rows);
    if (!rows) {
        fprintf(stderr, "bench_kernel_code: out of memory\n");
        exit(1);
    }
    for (size_t i = 0; i < n; i++) {
        uint8_t *row = b->memory + i * stride;
        if (i < VECTORS) {
            pv__code_encode(&b->code, b->vectors + i * b->code.dims, b->scratch, row);
        } else {
            memcpy(row, b->memory + i % VECTORS * stride, b->code.row_size);
        }
        rows[i] = row;
    }
    for (size_t i = n - 1; i > 0; i--) {
        const size_t j = (size_t)random_bits() % (i + 1);
        const uint8_t *row = rows[i];
        rows[i] = rows[j];
        rows[j] = row;
    }
    return rows;
}

/* Smallest seconds a row: a round takes `part` rows, the next one those behind it. */
static double row_seconds(const bench_code *b, const uint8_t *const *rows, size_t n, size_t part,
                          int rounds) {
    double best = 1e9;
    float out[CALL];
    const size_t calls = part / CALL, repeat = calls < 20000 && n == part ? 20000 / calls : 1;
    size_t from = 0;
    for (int round = 0; round < rounds; round++, from += part) {
        from = from + part <= n ? from : 0;
        const double t0 = now_s();
        for (size_t k = 0; k < repeat; k++) {
            for (size_t i = 0; i < calls; i++) {
                pv__code_distances(&b->code, b->query, rows + from + i * CALL, CALL, out);
            }
        }
        const double t = (now_s() - t0) / (double)(repeat * calls * CALL);
        best = t < best ? t : best;
    }
    return best;
}

static double prepare_seconds(const bench_code *b, bool encode) {
    double best = 1e9;
    const size_t n = 4096;
    for (int round = 0; round < 7; round++) {
        const double t0 = now_s();
        for (size_t i = 0; i < n; i++) {
            const float *v = b->vectors + i % VECTORS * b->code.dims;
            if (encode) {
                pv__code_encode(&b->code, v, b->scratch, b->memory);
            } else {
                pv__code_query(&b->code, v, b->query);
            }
        }
        const double t = (now_s() - t0) / (double)n;
        best = t < best ? t : best;
    }
    return best;
}

/* Seconds of a distance where many prepared rows ask for the same 32; 0: no faster way. */
static double panel_seconds(const bench_code *b, const uint8_t *const *rows) {
    enum { queries = 12 };
    double best = 1e9;
    const size_t n = 4096, stride = pv__code_panel_query_bytes(&b->code);
    const size_t at = (pv__code_panel_bytes(&b->code) + 63) / 64 * 64;
    uint8_t *memory = aligned_alloc(64, at + queries * stride + b->code.query_bytes / 64 * 64 + 64);
    const uint8_t *query[queries];
    float out[queries * CALL];
    pv__code_panel p = {.n = CALL, .turned = memory};
    for (size_t q = 0; q < queries && memory; q++) {
        query[q] = memory + at + q * stride;
        pv__code_query_row(&b->code, rows[q], memory + at + q * stride);
    }
    memcpy(p.rows, rows, sizeof p.rows);
    for (int round = 0; round < 7 && at > 0 && memory; round++) {
        const double t0 = now_s();
        for (size_t i = 0; i < n; i++) {
            if (i % 32 == 0) {
                pv__code_panel_fill(&b->code, &p);
            }
            pv__code_panel_distances(&b->code, &p, query, queries, out);
        }
        const double t = (now_s() - t0) / (double)(n * queries * CALL);
        best = t < best ? t : best;
    }
    free(memory);
    return at > 0 ? best : 0;
}

/* One table, on rows that are the same bytes for all of them. */
static void bench_table(bench_code *b, const char *name, const uint8_t *const *rows, size_t n) {
    const double query = prepare_seconds(b, false), encode = prepare_seconds(b, true);
    const double in = row_seconds(b, rows, CALL, CALL, 15);
    const double out = row_seconds(b, rows, n, n < 262144 ? n / CALL * CALL : 262144, 5);
    const double gb = (double)b->code.row_size * 1e-9;
    printf("%-4s %5u d %5u B  %-7s in %6.1f ns %6.1f GB/s   out %6.1f ns %5.1f GB/s   "
           "panel %6.2f ns   query %6.0f ns  encode %6.0f ns\n",
           name, b->code.dims, b->code.row_size, b->code.kernel->name, in * 1e9, gb / in, out * 1e9,
           gb / out, panel_seconds(b, rows) * 1e9, query * 1e9, encode * 1e9);
    fflush(stdout);
}

static bool bench(bench_code *b, unsigned kind, uint32_t dims, const char *name) {
    const uint32_t cpu = pv__sys_cpu();
    const pv__code_spec spec = {.kind = kind, .metric = PV_METRIC_L2, .dims = dims, .seed = 1};
    if (!pv__code_init(&b->code, &spec, cpu) ||
        b->code.query_bytes > 65536 || b->code.scratch_bytes > 65536) {
        return false;
    }
    size_t stride = (b->code.row_size + 15) / 16 * 16, n = b->size / stride;
    if (n > ROWS_MAX) { /* short rows stand apart: as far from each other as long ones */
        n = ROWS_MAX;
        stride = b->size / n / 16 * 16;
    }
    const uint8_t **rows = shuffled_rows(b, n, stride);
    for (size_t i = 0; pv__code_kernel_at(i); i++) {
        const uint32_t wants = pv__code_kernel_at(i)->cpu;
        if ((wants & cpu) == wants && pv__code_init(&b->code, &spec, wants)) {
            bench_table(b, name, rows, n);
        }
    }
    free(rows);
    return true;
}

int main(int argc, char **argv) {
    static const uint32_t dims[] = {128, 256, 768, 1536};
    const uint32_t dims_max = 1536;
    bench_code b = {.size = (size_t)(argc > 1 ? strtoul(argv[1], NULL, 10) : 1229) << 20};
    b.memory = pv__sys_map(b.size);
    b.vectors = malloc((size_t)VECTORS * dims_max * sizeof(float));
    b.query = aligned_alloc(64, 65536);
    b.scratch = aligned_alloc(64, 65536);
    if (!b.memory || !b.vectors || !b.query || !b.scratch || b.size < (4u << 20)) {
        fprintf(stderr, "bench_kernel_code: out of memory\n");
        return 1;
    }
    for (size_t i = 0; i < (size_t)VECTORS * dims_max; i++) {
        b.vectors[i] = (float)(int32_t)random_bits() * 0x1p-31f;
    }
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        const bool wanted = argc <= 2 || strcmp(argv[2], kinds[k].name) == 0;
        for (size_t d = 0; wanted && d < sizeof dims / sizeof dims[0]; d++) {
            if (!bench(&b, kinds[k].kind, dims[d], kinds[k].name)) {
                return 1;
            }
        }
    }
    pv__sys_unmap(b.memory, b.size);
    free(b.vectors);
    free(b.query);
    free(b.scratch);
    return 0;
}
