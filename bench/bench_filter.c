/* SPDX-License-Identifier: Apache-2.0 */
/* bench_filter.c - the nearest of some rows: every way to them, timed at equal recall, and what the
 * library chooses.
 *
 * Usage: bench_filter DB query.fvecs [queries [k]]
 *
 * DB is what `bench/ann --save DB` leaves. For each query and each share of rows that are allowed
 * there are three bitmaps:
 *
 *      none       rows drawn at random
 *      positive   the rows nearest to one near the query: its own surroundings
 *      negative   the rows nearest to the one farthest from the query: clusters of which none is in
 *                 the region where the query lies
 *
 * Truth is by comparing with all. Each search is walk and ranking by the vectors. A forced plan
 * is tried with several efforts, and the cheapest mean over the queries that reaches recall 0.95
 * counts; a plan that takes fifty times as long as comparing codes is not tried further. `auto` is
 * what a caller gets that says nothing. Processor time, smallest of eight rounds of each query in
 * a shuffled order, one thread, with 4 MiB of other memory touched between two searches. Answers
 * are counted: min(k, allowed), or the program ends with 1. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "engine/db.h"
#include "engine/parts.h"
#include "kernel/kernel.h"

#define ROUNDS 9 /* the first one is not timed */
#define RECALL 0.95
#define OTHER_BYTES (4u << 20) /* read between two searches, as a program would that does more */

enum { NONE, POSITIVE, NEGATIVE, CORRELATIONS };
static const char *const correlation_names[] = {"none", "positive", "negative"};
/* What is timed, and what it may say that it did. */
enum { AUTO, CODES, ONE_HOP, TWO_HOPS, PLANS };
static const pv__plan plans[PLANS] = {PV__PLAN_AUTO, PV__PLAN_CODES, PV__PLAN_ONE_HOP,
                                      PV__PLAN_TWO_HOP};
static const char *const plan_names[PV__PLANS] = {
    [PV__PLAN_CODES] = "codes",
    [PV__PLAN_LISTS] = "lists",
    [PV__PLAN_ONE_HOP] = "one hop",
    [PV__PLAN_TWO_HOP] = "two hops",
};
static const double shares[] = {0.5, 0.1, 0.01, 0.001, 0.0001};
#define SHARES (sizeof shares / sizeof shares[0])
static const float efforts[] = {0.95f, 0.6f,  0.7f,  0.8f,  0.85f, 0.9f,
                                0.93f, 0.97f, 0.98f, 0.99f, 0.995f}; /* auto: the first alone */
#define EFFORTS (sizeof efforts / sizeof efforts[0])

typedef struct run_sum {
    double seconds, recall;
} run_sum;

typedef struct cell {
    run_sum sums[PLANS][EFFORTS];
    unsigned chosen[PV__PLANS], hopeless[PLANS];
    size_t allowed;
} cell;

typedef struct filter_bench {
    pv_db *db;
    pv__parts p;
    pv__walker *w;
    const pv__kernel *kernel;
    pv_error err;
    uint32_t rows, dims, k, want;
    float *query, *around; /* a query, and the row that a correlation is about */
    float *distances, *order, *scratch;
    uint64_t *words;
    pv__hit *hits;
    pv__hit *ranked;
    uint64_t *other, other_sum;
    cell cells[CORRELATIONS][SHARES];
} filter_bench;

static double cpu_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void distances_to(filter_bench *b, const float *vector, float *out) {
    pv__kernel_query q;
    if (!pv__kernel_query_init(&q, b->p.c.field.metric, vector, b->dims)) {
        bench_die("the metric is not known");
    }
    for (uint32_t i = 0; i < b->rows; i++) {
        const uint8_t *row;
        bench_check(pv__column_read(&b->p.column, i, &row, &b->err), &b->err, "vector");
        out[i] = pv__kernel_pair(b->kernel, &q, row);
        if (i % 4096 == 0) {
            bench_check(pv__txn_pause(b->p.txn, &b->err), &b->err, "pause");
        }
    }
}

/* The value of rank n (0-based): quickselect, Hoare. */
static float ranked(float *v, size_t count, size_t n) {
    size_t low = 0, high = count - 1;
    while (low < high) {
        const float pivot = v[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;;) {
            while (v[i] < pivot) {
                i++;
            }
            while (v[j] > pivot) {
                j--;
            }
            if (i >= j) {
                break;
            }
            const float t = v[i];
            v[i++] = v[j];
            v[j--] = t;
        }
        if (n <= j) {
            high = j;
        } else {
            low = j + 1;
        }
    }
    return v[n];
}

static uint32_t row_at_rank(filter_bench *b, size_t rank) {
    memcpy(b->scratch, b->distances, b->rows * sizeof *b->scratch);
    const float at = ranked(b->scratch, b->rows, rank);
    for (uint32_t i = 0; i < b->rows; i++) {
        if (b->distances[i] == at) {
            return i;
        }
    }
    return 0;
}

/* What decides who is allowed: the smallest values are. */
static void order_rows(filter_bench *b, unsigned correlation, bench_random *r) {
    if (correlation == NONE) {
        for (uint32_t i = 0; i < b->rows; i++) {
            b->order[i] = (float)bench_random_below(r, 1u << 24);
        }
        return;
    }
    const uint32_t row = row_at_rank(b, correlation == POSITIVE ? 20 : b->rows - 1);
    const uint8_t *vector;
    bench_check(pv__column_read(&b->p.column, row, &vector, &b->err), &b->err, "vector");
    memcpy(b->around, vector, b->dims * sizeof *b->around);
    distances_to(b, b->around, b->order);
}

static pv__allowed allow(filter_bench *b, double share) {
    const size_t n = (size_t)(share * b->rows + 0.5);
    memcpy(b->scratch, b->order, b->rows * sizeof *b->scratch);
    const float most = ranked(b->scratch, b->rows, n > 0 ? n - 1 : 0);
    pv__allowed a = {.words = b->words, .slots = b->rows};
    memset(b->words, 0, ((size_t)b->rows + 63) / 64 * 8);
    for (uint32_t i = 0; i < b->rows && a.count < n; i++) {
        if (b->order[i] <= most) {
            b->words[i / 64] |= UINT64_C(1) << (i % 64);
            a.count++;
        }
    }
    return a;
}

/* Distance of the k-th allowed row. */
static float kth_allowed(filter_bench *b, const pv__allowed *a, uint32_t *out_k) {
    pv__topk top = {b->hits, 0, b->k};
    for (uint32_t i = 0; i < b->rows; i++) {
        if (a->words[i / 64] >> (i % 64) & 1u) {
            pv__topk_add(&top, b->distances[i], i);
        }
    }
    *out_k = (uint32_t)top.count;
    return top.count > 0 ? top.hits[0].distance : 0;
}

static double search(filter_bench *b, const pv__kernel_query *q, const pv__effort *effort,
                     const pv__allowed *a, pv__plan *io_plan, uint32_t *out_found) {
    bool complete = true;
    uint32_t n = 0;
    pv_error *err = &b->err;
    for (size_t i = 0; i < OTHER_BYTES / sizeof *b->other; i += 8) {
        b->other_sum += b->other[i]++;
    }
    const double start = cpu_s();
    bench_check(pv__graph_search_allowed(&b->p.graph, b->w, b->query, effort, b->want, a, io_plan,
                                         b->hits, &n, &complete, err),
                err, "search");
    pv__topk top = {b->ranked, 0, b->k};
    const float *lower = pv__graph_lower(b->w);
    for (uint32_t i = 0; i < n && !(top.count == top.k && lower[i] > top.hits[0].distance);
         i += 8) {
        const uint8_t *rows[8];
        float found[8];
        const uint32_t block = PV_MIN(n - i, 8u);
        bench_check(pv__graph_vectors(&b->p.graph, b->w, &b->hits[i], block, rows, err), err,
                    "vectors");
        pv__kernel_gather(b->kernel, q, rows, block, found);
        for (uint32_t r = 0; r < block; r++) {
            pv__topk_add(&top, found[r], b->hits[i + r].slot);
        }
    }
    const double seconds = cpu_s() - start;
    bench_check(pv__txn_pause(b->p.txn, err), err, "pause");
    if (!complete) {
        bench_die("a search with a bitmap is not complete");
    }
    *out_found = (uint32_t)top.count;
    return seconds;
}

static double judge(filter_bench *b, uint32_t n, uint32_t k, float kth) {
    const float most = kth + (kth < 0 ? -kth : kth) * 1e-5f;
    uint32_t right = 0;
    for (uint32_t i = 0; i < n; i++) {
        right += b->ranked[i].distance <= most ? 1u : 0u;
    }
    return k == 0 ? 1.0 : (double)PV_MIN(right, k) / k;
}

/* One plan with one effort. */
typedef struct run_item {
    unsigned plan, effort;
} run_item;
#define ITEMS (CODES + 1 + (PLANS - CODES - 1) * EFFORTS)

/* The first time in order, and that is not counted; later any order is as good: a search finds in
 * the caches what the one before has left there, and nobody shall come behind one like it more
 * often than others. (Counted, codes came behind an `auto` that compares them, and looked a fifth
 * faster.) */
static void order_items(run_item *items, int round, bench_random *r) {
    size_t n = 0;
    if (round == 0) {
        for (unsigned plan = AUTO; plan < PLANS; plan++) {
            for (unsigned e = 0; e < (plan <= CODES ? 1 : EFFORTS); e++) {
                items[n++] = (run_item){plan, e};
            }
        }
        return;
    }
    for (size_t i = ITEMS - 1; i > 0; i--) {
        const size_t other = (size_t)bench_random_below(r, i + 1);
        const run_item item = items[i];
        items[i] = items[other];
        items[other] = item;
    }
}

static void run_cell(filter_bench *b, const pv__kernel_query *q, const pv__allowed *a, cell *c,
                     bench_random *r) {
    uint32_t k = 0;
    const float kth = kth_allowed(b, a, &k);
    double best[PLANS][EFFORTS] = {{0}};
    bool hopeless[PLANS] = {false};
    run_item items[ITEMS];
    c->allowed = a->count;
    for (int round = 0; round < ROUNDS; round++) {
        order_items(items, round, r);
        for (size_t i = 0; i < ITEMS; i++) {
            const unsigned plan = items[i].plan, e = items[i].effort;
            if (hopeless[plan]) {
                continue;
            }
            pv__effort effort = pv__graph_effort(&b->p.graph, b->k, efforts[e]);
            pv__plan used = plans[plan];
            uint32_t n = 0;
            effort.pool = PV_MAX(effort.pool, b->want);
            const double s = search(b, q, &effort, a, &used, &n);
            best[plan][e] = round <= 1 ? s : PV_MIN(best[plan][e], s);
            if (plan == AUTO && n < k) {
                bench_die("%u answers, %u rows are allowed", (unsigned)n, (unsigned)a->count);
            }
            if (round == 0 && plan > CODES && s > 50 * best[CODES][0]) {
                hopeless[plan] = true; /* to be the cheapest */
            }
            if (round == 0) {
                c->sums[plan][e].recall += judge(b, n, k, kth);
                c->chosen[used] += plan == AUTO ? 1u : 0u;
            }
        }
    }
    for (unsigned plan = 0; plan < PLANS; plan++) {
        for (unsigned e = 0; e < (plan <= CODES ? 1 : EFFORTS); e++) {
            c->sums[plan][e].seconds += best[plan][e];
            c->hopeless[plan] += hopeless[plan] && e == 0 ? 1u : 0u;
        }
    }
}

static void run_query(filter_bench *b, bench_random *r) {
    pv__kernel_query q;
    if (!pv__kernel_query_init(&q, b->p.c.field.metric, b->query, b->dims)) {
        bench_die("the metric is not known");
    }
    distances_to(b, b->query, b->distances);
    for (unsigned c = 0; c < CORRELATIONS; c++) {
        order_rows(b, c, r);
        for (size_t s = 0; s < SHARES; s++) {
            const pv__allowed a = allow(b, shares[s]);
            run_cell(b, &q, &a, &b->cells[c][s], r);
        }
    }
}

/* The cheapest effort of a plan that reaches a recall; -1: none does. */
static double cheapest(const cell *c, unsigned plan, unsigned queries, double recall) {
    double best = -1;
    for (unsigned e = 0; e < (plan <= CODES ? 1 : EFFORTS); e++) {
        const run_sum *s = &c->sums[plan][e];
        if (c->hopeless[plan] == 0 && s->recall / queries >= recall - 1e-9 &&
            (best < 0 || s->seconds < best)) {
            best = s->seconds;
        }
    }
    return best < 0 ? best : best / queries;
}

static double least_forced(const cell *c, unsigned queries, double recall) {
    double least = INFINITY;
    for (unsigned p = CODES; p < PLANS; p++) {
        const double t = cheapest(c, p, queries, recall);
        least = t >= 0 && t < least ? t : least;
    }
    return least;
}

static void print_cells(const filter_bench *b, unsigned queries) {
    printf("| correlation | allowed | rows | auto us | recall | chosen | codes us | one hop us | "
           "two hops us | auto / cheapest | at its recall "
           "|\n|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (unsigned c = 0; c < CORRELATIONS; c++) {
        for (size_t s = 0; s < SHARES; s++) {
            const cell *x = &b->cells[c][s];
            const double own = x->sums[AUTO][0].seconds / queries;
            const double recall = x->sums[AUTO][0].recall / queries;
            printf("| %s | %g %% | %zu | %.1f | %.4f | ", correlation_names[c], shares[s] * 100,
                   x->allowed, own * 1e6, recall);
            for (unsigned p = 0, more = 0; p < PV__PLANS; p++) {
                if (x->chosen[p] > 0) {
                    printf("%s%s %u", more++ ? ", " : "", plan_names[p], x->chosen[p]);
                }
            }
            for (unsigned p = CODES; p < PLANS; p++) {
                const double t = cheapest(x, p, queries, RECALL);
                if (t < 0) {
                    printf(" | -");
                } else {
                    printf(" | %.1f", t * 1e6);
                }
            }
            printf(" | %.2f | %.2f |\n", own / least_forced(x, queries, RECALL),
                   own / least_forced(x, queries, recall));
        }
    }
}

static void open_all(filter_bench *b, const char *path) {
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv__txn *txn = NULL;
    pv_error *err = &b->err;
    *err = (pv_error)PV_ERROR_INIT;
    o.threads = 1;
    bench_check(pv_open(path, &o, &b->db, err), err, "open");
    bench_check(pv__txn_begin(b->db->store, 0, &txn, err), err, "begin");
    bench_check(pv__parts_open(&b->p, txn, "base", err), err, "collection");
    bench_check(pv__parts_graph(&b->p, b->db->cpu, 1, err), err, "graph");
    bench_check(pv__db_walker_take(b->db, &b->w, err), err, "walker");
    b->kernel = pv__kernel_table(b->db->cpu);
    b->rows = b->p.slots.meta.high_water;
    b->dims = b->p.c.field.dims;
    if (b->p.slots.meta.live_count != b->rows || b->p.graph.meta.built != b->rows) {
        bench_die("%s: not all rows are in the graph", path);
    }
}

int main(int argc, char **argv) {
    filter_bench *b = bench_alloc(sizeof *b);
    bench_random r = {1};
    memset(b, 0, sizeof *b);
    if (argc < 3) {
        bench_die("usage: bench_filter DB query.fvecs [queries [k]]");
    }
    const uint64_t queries = argc > 3 ? bench_number(argv[3], "queries") : 50;
    b->k = argc > 4 ? (uint32_t)bench_number(argv[4], "k") : 10;
    open_all(b, argv[1]);
    b->want = pv__graph_want(b->k);
    b->query = bench_alloc(b->dims * sizeof *b->query);
    b->around = bench_alloc(b->dims * sizeof *b->around);
    b->distances = bench_alloc(b->rows * sizeof *b->distances);
    b->order = bench_alloc(b->rows * sizeof *b->order);
    b->scratch = bench_alloc(b->rows * sizeof *b->scratch);
    b->words = bench_alloc(((size_t)b->rows + 63) / 64 * 8);
    b->hits = bench_alloc(b->want * sizeof *b->hits);
    b->ranked = bench_alloc(b->k * sizeof *b->ranked);
    b->other = bench_alloc(OTHER_BYTES);
    memset(b->other, 1, OTHER_BYTES);
    FILE *f = fopen(argv[2], "rb");
    for (uint64_t i = 0; i < queries; i++) {
        int32_t dims = 0;
        if (!f || fread(&dims, 4, 1, f) != 1 || dims != (int32_t)b->dims ||
            fread(b->query, sizeof *b->query, b->dims, f) != b->dims) {
            bench_die("%s: not %u queries of %u dimensions", argv[2], (unsigned)queries,
                      (unsigned)b->dims);
        }
        run_query(b, &r);
        fprintf(stderr, "\rquery %u ", (unsigned)i + 1);
    }
    fprintf(stderr, "\n");
    fclose(f);
    printf("%u rows of %u dimensions, k %u, %u queries\n\n", (unsigned)b->rows, (unsigned)b->dims,
           (unsigned)b->k, (unsigned)queries);
    print_cells(b, (unsigned)queries);
    pv__db_walker_give(b->db, b->w);
    pv__txn *txn = b->p.txn;
    pv__parts_done(&b->p);
    pv__txn_rollback(txn);
    bench_check(pv_close(b->db, &b->err), &b->err, "close");
    return 0;
}
