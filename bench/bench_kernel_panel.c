/* SPDX-License-Identifier: Apache-2.0 */
/* bench_kernel_panel.c - kernels that compare several rows with several queries, or that look
 * products up: nanoseconds a distance and GB/s for each instruction set, in and far beyond the
 * cache.
 *
 *      panel   32 rows are turned and compared with 24 queries (building a graph)
 *      bound   32 rows and one query: which may be near? (exact search by codes)
 *      screen  as many rows as fit and 24 queries: which pairs may be near? (exact search of many)
 *      tile    32 rows and 24 queries of f32
 *      parts   one query and 32 rows of product codes, 8 or 4 bits a part of 4 dimensions
 *      centres one part of 8 dimensions and 256 centres
 *
 * "in" are always the same rows, "out" other ones in each call, in shuffled order. GB/s count the
 * bytes of rows, once for all queries. Smallest of several rounds, processor time, one thread.
 * Usage: bench_kernel_panel [MiB of the large set [name]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernel/code_kernel.h"
#include "kernel/screen.h"
#include "os/sys.h"
#include "quant/bound.h"

#define DIMS_MAX 1536u
#define QUERIES 24u
#define VECTORS 64u
#define ROWS_MAX (1u << 20)
#define ROUNDS 7
#define ROUND_S 0.02
#define PART_DIMS 8u

typedef struct bench {
    uint32_t dims, call; /* rows of a call */
    uint32_t queries;    /* of a call */
    size_t row;          /* bytes */
    float *vectors;      /* VECTORS, then QUERIES */
    uint8_t *set;        /* rows, and their size */
    size_t set_bytes;
    const uint8_t **rows; /* shuffled */
    size_t n;
    pv__code code;
    pv__code_panel panel;
    pv__bound bound;
    uint8_t *room;                   /* of the queries, 64-byte aligned */
    const uint8_t *prepared[QUERIES]; /* in it */
    const pv__kernel *kernel;
    pv__kernel_query query[QUERIES];
    pv__screen screen;
    float *groups, *panels;
    double norm2[QUERIES];
    const pv__code_parts *product;
    uint8_t *table;
    float *out;
} bench;

typedef void (*bench_fn)(bench *b, const uint8_t *const *rows);

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void die(const char *why) {
    fprintf(stderr, "bench_kernel_panel: %s\n", why);
    exit(1);
}

static void *memory(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) {
        die("out of memory");
    }
    return p;
}

static uint32_t random_bits(void) {
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

/* ---- what is measured ------------------------------------------------------------------------ */

static void call_panel(bench *b, const uint8_t *const *rows) {
    memcpy(b->panel.rows, rows, sizeof b->panel.rows);
    b->panel.n = PV__CODE_PANEL_ROWS;
    pv__code_panel_fill(&b->code, &b->panel);
    pv__code_panel_distances(&b->code, &b->panel, b->prepared, QUERIES, b->out);
}

static void call_bound(bench *b, const uint8_t *const *rows) {
    (void)pv__bound_rows(&b->bound, rows, b->call, b->call, b->out, b->out + PV__BOUND_ROWS);
}

static void call_screen(bench *b, const uint8_t *const *rows) {
    static const float bounds[QUERIES];
    uint64_t bits[QUERIES * PV__SCREEN_ROWS_MAX / 64];
    pv__screen_fill(&b->screen, b->query, rows, b->call);
    for (uint32_t q = 0; q < QUERIES; q += b->kernel->screen_queries) {
        (void)pv__screen_run(&b->screen, b->groups, b->norm2, q, b->kernel->screen_queries, bounds,
                             bits);
    }
}

static void call_tile(bench *b, const uint8_t *const *rows) {
    pv__kernel_many(b->kernel, b->query, QUERIES, rows, b->call, b->out, b->call);
}

static void call_parts8(bench *b, const uint8_t *const *rows) {
    const pv__code_rows some = {rows, b->call, b->call, b->row};
    b->product->sums8(b->table, b->row, &some, (uint32_t *)(void *)b->out);
}

static void call_parts4(bench *b, const uint8_t *const *rows) {
    const pv__code_rows some = {rows, b->call, b->call, b->row};
    b->product->sums4(b->table, 2 * b->row, &some, (uint32_t *)(void *)b->out);
}

static void call_centres(bench *b, const uint8_t *const *rows) {
    b->product->measure(b->vectors, PART_DIMS, (const float *)(const void *)rows[0], 256, false,
                        b->out);
}

/* ---- timing ---------------------------------------------------------------------------------- */

static double calls_s(bench *b, bench_fn fn, size_t calls, bool out, size_t *io_at) {
    const double t0 = now_s();
    for (size_t i = 0; i < calls; i++) {
        *io_at = !out || *io_at + 2 * b->call > b->n ? 0 : *io_at + b->call;
        fn(b, b->rows + *io_at);
    }
    return now_s() - t0;
}

/* Smallest seconds of a call. */
static double best_s(bench *b, bench_fn fn, bool out) {
    size_t calls = 1, at = 0;
    double best = 1e9;
    for (double t = 0; (t = calls_s(b, fn, calls, out, &at)) < ROUND_S;) {
        calls = t > ROUND_S / 8 ? (size_t)((double)calls * ROUND_S / t) + 1 : 8 * calls;
    }
    for (int round = 0; round < ROUNDS; round++) {
        const double t = calls_s(b, fn, calls, out, &at) / (double)calls;
        best = t < best ? t : best;
    }
    return best;
}

static void print(bench *b, bench_fn fn, const char *name, const char *isa) {
    const double pairs = (double)b->call * b->queries;
    const double gb = (double)b->row * b->call * 1e-9;
    const double in = best_s(b, fn, false), out = best_s(b, fn, true);
    printf("%-10s %5u d %5zu B  %-8s in %8.2f ns %6.1f GB/s   out %8.2f ns %5.1f GB/s\n", name,
           (unsigned)b->dims, b->row, isa, in / pairs * 1e9, gb / in, out / pairs * 1e9, gb / out);
    fflush(stdout);
}

/* ---- sets ------------------------------------------------------------------------------------ */

/* VECTORS rows again and again, each as far from the next as the set allows, shuffled. */
static void set_fill(bench *b, const uint8_t *first, size_t row) {
    size_t stride = (row + 15) / 16 * 16;
    b->row = row;
    b->n = b->set_bytes / stride;
    if (b->n > ROWS_MAX) {
        b->n = ROWS_MAX;
        stride = b->set_bytes / ROWS_MAX / 16 * 16;
    }
    for (size_t i = 0; i < b->n; i++) {
        memcpy(b->set + i * stride, first + i % VECTORS * row, row);
        b->rows[i] = b->set + i * stride;
    }
    for (size_t i = b->n - 1; i > 0; i--) {
        const size_t j = (size_t)random_bits() % (i + 1);
        const uint8_t *p = b->rows[i];
        b->rows[i] = b->rows[j];
        b->rows[j] = p;
    }
}

static bool code_of(bench *b, unsigned kind, uint32_t cpu) {
    const pv__code_spec spec = {.kind = kind, .metric = PV_METRIC_L2, .dims = b->dims, .seed = 1};
    return pv__code_init(&b->code, &spec, cpu);
}

/* Codes of the vectors: panels, and of sq8 the bounds. */
static void bench_codes(bench *b, unsigned kind, const char *name) {
    const uint32_t cpu = pv__sys_cpu();
    if (!code_of(b, kind, cpu)) {
        die("no such code");
    }
    uint8_t *first = memory(VECTORS * b->code.row_size), *scratch = memory(65536);
    for (size_t i = 0; i < VECTORS; i++) {
        pv__code_encode(&b->code, b->vectors + i * b->dims, scratch, first + i * b->code.row_size);
    }
    set_fill(b, first, b->code.row_size);
    for (size_t i = 0; pv__code_kernel_at(i); i++) {
        const uint32_t wants = pv__code_kernel_at(i)->cpu;
        if ((wants & cpu) != wants || !code_of(b, kind, wants)) {
            continue;
        }
        const size_t stride = pv__code_panel_query_bytes(&b->code);
        b->panel.turned = memory(pv__code_panel_bytes(&b->code) + 64);
        for (size_t q = 0; q < QUERIES; q++) { /* what a panel does not need ends in the next */
            pv__code_query_row(&b->code, first + q * b->row, b->room + q * stride);
            b->prepared[q] = b->room + q * stride;
        }
        b->call = PV__CODE_PANEL_ROWS;
        b->queries = QUERIES;
        print(b, call_panel, name, b->code.kernel->name);
        free(b->panel.turned);
        if (pv__bound_can(&b->code)) {
            b->queries = 1;
            if (!pv__bound_init(&b->bound, &b->code, b->vectors + VECTORS * b->dims, b->room)) {
                die("a vector of zeros");
            }
            pv__bound_within(&b->bound, 0);
            print(b, call_bound, "bound sq8", b->code.kernel->name);
        }
    }
    free(first);
    free(scratch);
}

static void bench_floats(bench *b) {
    const uint32_t cpu = pv__sys_cpu();
    set_fill(b, (const uint8_t *)b->vectors, b->dims * sizeof(float));
    b->queries = QUERIES;
    for (size_t q = 0; q < QUERIES; q++) {
        pv__kernel_query_init(&b->query[q], PV_METRIC_L2, b->vectors + (VECTORS + q) * b->dims,
                              b->dims);
    }
    for (size_t i = 0; pv__kernel_at(i); i++) {
        const pv__kernel *k = b->kernel = pv__kernel_at(i);
        if ((k->cpu & cpu) != k->cpu) {
            continue;
        }
        b->call = 32;
        print(b, call_tile, "tile f32", k->name);
        if (!pv__screen_can(k)) {
            continue;
        }
        b->call = (uint32_t)pv__screen_rows(k, b->dims);
        b->screen = (pv__screen){
            .kernel = k, .metric = PV_METRIC_L2, .dims = b->dims, .panels = b->panels};
        b->groups = memory(pv__screen_group_bytes(k, b->dims, QUERIES));
        pv__screen_groups(k, b->query, QUERIES, b->groups, b->norm2);
        print(b, call_screen, "screen f32", k->name);
        free(b->groups);
    }
}

static void bench_parts(bench *b) {
    static const struct {
        uint32_t cpu;
        const char *name;
    } levels[] = {{0, "scalar"}, {PV__CPU_AVX2, "avx2"}, {PV__CPU_NEON, "neon"}};
    const uint32_t cpu = pv__sys_cpu();
    uint8_t *first = memory(VECTORS * 256 * PART_DIMS * sizeof(float));
    for (size_t i = 0; i < VECTORS * 256 * PART_DIMS * sizeof(float); i++) {
        first[i] = (uint8_t)(random_bits() & 0x3F); /* numbers too */
    }
    for (size_t i = 0; i < sizeof b->table[0] * 256 * DIMS_MAX; i++) {
        b->table[i] = (uint8_t)random_bits();
    }
    for (unsigned what = 0; what < 3; what++) {
        static const bench_fn fn[] = {call_parts8, call_parts4, call_centres};
        static const char *const name[] = {"parts8", "parts4", "centres"};
        if (what == 2 && b->dims != 128) { /* the same for all */
            break;
        }
        set_fill(b, first, what < 2 ? b->dims / 4 >> what : 256 * PART_DIMS * sizeof(float));
        b->dims = what < 2 ? b->dims : PART_DIMS;
        b->call = what < 2 ? 32 : 1;
        b->queries = what < 2 ? 1 : 256; /* centres: as if each were a query of a row */
        for (size_t l = 0; l < sizeof levels / sizeof levels[0]; l++) {
            b->product = pv__code_parts_table(levels[l].cpu);
            if ((levels[l].cpu & cpu) == levels[l].cpu) {
                print(b, fn[what], name[what], levels[l].name);
            }
        }
    }
    free(first);
}

int main(int argc, char **argv) {
    static const uint32_t dims[] = {128, 384, 768};
    const char *only = argc > 2 ? argv[2] : "";
    bench b = {.set_bytes = (size_t)(argc > 1 ? strtoul(argv[1], NULL, 10) : 512) << 20};
    b.set = pv__sys_map(b.set_bytes);
    b.rows = malloc(ROWS_MAX * sizeof *b.rows);
    if (!b.set || !b.rows || b.set_bytes < (16u << 20)) {
        die("out of memory, or a set that is none");
    }
    b.vectors = memory((VECTORS + QUERIES) * DIMS_MAX * sizeof(float));
    b.room = memory((QUERIES + 1) * 65536);
    b.panels = memory(PV__SCREEN_ROWS_MAX * DIMS_MAX * sizeof(float));
    b.table = memory(256 * DIMS_MAX);
    b.out = memory(QUERIES * PV__SCREEN_ROWS_MAX * sizeof(float));
    for (size_t i = 0; i < (VECTORS + QUERIES) * DIMS_MAX; i++) {
        b.vectors[i] = (float)(int32_t)random_bits() * 0x1p-31f;
    }
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        b.dims = dims[d];
        if (!*only || strcmp(only, "sq8") == 0) {
            bench_codes(&b, PV__CODE_SQ8, "panel sq8");
        }
        if (!*only || strcmp(only, "q4") == 0) {
            bench_codes(&b, PV__CODE_Q4, "panel q4");
        }
        if (!*only || strcmp(only, "f32") == 0) {
            bench_floats(&b);
        }
        if (!*only || strcmp(only, "pq") == 0) {
            bench_parts(&b);
        }
    }
    pv__sys_unmap(b.set, b.set_bytes);
    free(b.rows);
    free(b.vectors);
    free(b.room);
    free(b.panels);
    free(b.table);
    free(b.out);
    return 0;
}
