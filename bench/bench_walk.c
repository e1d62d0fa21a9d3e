/* SPDX-License-Identifier: Apache-2.0 */
/* bench_walk.c - what each part of a search is worth, and what pages cost.
 *
 * Usage: bench_walk parts DB query.fvecs gt.ivecs [queries [rounds]]
 *        bench_walk pages DB query.fvecs gt.ivecs [queries [rounds [versions]]]
 *        bench_walk count DB query.fvecs pages|flat [queries]
 *
 * DB is what `bench/ann --save DB` leaves: row i of the base is slot i.
 *
 * parts    the search as it is, and with one part at a time replaced: microseconds a query at
 *          recall@10 0.95 and 0.99. Each way is tried with efforts in ascending order; those on
 *          both sides of a target are timed, and the time at the target is interpolated, linear in
 *          log(1 - recall).
 * pages    the same graph in pages and in one array for each column, both on huge pages and in the
 *          order of the nodes: the same source with another address function (walk/flat.c), in
 *          turn, medians of the ratios. With `versions` a writer then changes rows until as many
 *          more versions of pages live, all while the read transaction that is measured stays open.
 * count    walks for a counter of instructions: everything that counts is inside
 *          bench_walk_counted (valgrind --tool=callgrind --toggle-collect=bench_walk_counted).
 *
 * Processor time of one thread; a time is that of all queries one after the other, one a call,
 * with the pause between that the engine makes too; smallest of the rounds, which go through all
 * ways in turn. Both kinds of rows must give the same answers. Changes DB when versions are asked
 * for: give it a copy. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "engine/db.h"
#include "engine/parts.h"
#include "kernel/kernel.h"
#include "walk/walk.h"

#define K 10u
#define CACHE_BYTES (UINT64_C(6) << 30)
#define TARGETS 2u
#define TURN 500u /* queries until the other kind of rows has its turn */
static const double targets[TARGETS] = {0.95, 0.99};

static const walk_kind walk_pages = {"pages", pv__graph_search, pv__graph_lower, pv__graph_vectors};

enum { RANK_BOUNDS, RANK_WANTED, RANK_POOL, RANK_NONE };

/* One way to search. */
typedef struct way {
    const char *name;
    const walk_kind *walk;
    bool root_only; /* begin at the root of level 0 */
    bool pool;      /* end by a pool of ef, not by a ratio of distances */
    int rank;       /* RANK_ */
} way;

static const way ways[] = {
    {"as it is", &walk_pages, false, false, RANK_BOUNDS},
    {"entry: the root, no upper levels", &walk_pages, true, false, RANK_BOUNDS},
    {"stop: a pool of ef", &walk_pages, false, true, RANK_BOUNDS},
    {"re-rank: all 20, no bounds", &walk_pages, false, false, RANK_WANTED},
    {"re-rank: all of the pool of ef", &walk_pages, false, true, RANK_POOL},
    {"re-rank: none, the order of codes", &walk_pages, false, false, RANK_NONE},
    {"kernel: batched, no prefetch", &walk_plain, false, false, RANK_BOUNDS},
    {"kernel: row by row", &walk_single, false, false, RANK_BOUNDS},
    {"pages: a flat array", &walk_flat, false, false, RANK_BOUNDS},
};
#define WAYS (sizeof ways / sizeof ways[0])

static const float stops[] = {1.005f, 1.01f,  1.015f, 1.02f, 1.03f, 1.04f, 1.05f, 1.06f,
                              1.07f,  1.085f, 1.1f,   1.12f, 1.14f, 1.17f, 1.2f,  1.24f,
                              1.28f,  1.33f,  1.4f,   1.48f, 1.56f, 1.7f,  1.9f,  2.2f};
static const unsigned pools[] = {10,  14,  20,  28,  36,  48,  64,   80,   100,  125,  160,  200,
                                 250, 320, 400, 500, 640, 800, 1000, 1300, 1700, 2200, 3000, 4000};
#define EFFORTS 24u
PV_STATIC_ASSERT(sizeof stops / sizeof stops[0] == EFFORTS, as_many_stops);
PV_STATIC_ASSERT(sizeof pools / sizeof pools[0] == EFFORTS, as_many_pools);

typedef struct walk_bench {
    pv_db *db;
    pv__parts p;
    pv__walker *w, *flat_w; /* what one kind of rows remembers is not for the other */
    const pv__kernel *kernel;
    pv_error err;
    uint32_t rows, dims;
    uint64_t queries;
    float *query;               /* all of them */
    float *kth;                 /* distance of the k-th true neighbour */
    pv__kernel_query *prepared; /* for ranking */
    float doubt;                /* what a coarse code adds to a stop */
    pv__hit *hits, *best;
    uint64_t sum;  /* of slots: that the answers are the same, whatever the way to the rows */
    uint64_t read; /* vectors that were read */
} walk_bench;

static double cpu_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- one search ------------------------------------------------------------------------------ */

static pv__effort effort_of(const walk_bench *b, const way *y, unsigned e) {
    if (y->pool) {
        return (pv__effort){pools[e], K, INFINITY, 0, K};
    }
    return (pv__effort){pools[EFFORTS - 1], K, stops[e] + b->doubt, 0, K};
}

static pv__walker *walker_of(const walk_bench *b, const way *y) {
    return y->walk == &walk_flat ? b->flat_w : b->w;
}

/* The best K of the hits by their vectors, in b->best. */
static uint32_t rank(walk_bench *b, const way *y, size_t q, uint32_t n) {
    pv__topk top = {b->best, 0, K};
    pv__walker *w = walker_of(b, y);
    const float *lower = y->walk->lower(w);
    for (uint32_t i = 0; i < n; i += 8) {
        const uint8_t *rows[8];
        float distances[8];
        const uint32_t block = PV_MIN(n - i, 8u);
        if (y->rank == RANK_BOUNDS && top.count == top.k && lower[i] > top.hits[0].distance) {
            break;
        }
        bench_check(y->walk->vectors(&b->p.graph, w, &b->hits[i], block, rows, &b->err), &b->err,
                    "vectors");
        pv__kernel_gather(b->kernel, &b->prepared[q], rows, block, distances);
        for (uint32_t r = 0; r < block; r++) {
            pv__topk_add(&top, distances[r], b->hits[i + r].slot);
        }
        b->read += block;
    }
    return (uint32_t)top.count;
}

/* One query; the answers are in b->best. */
static uint32_t search(walk_bench *b, const way *y, const pv__effort *effort, size_t q) {
    bool complete = true;
    uint32_t n = 0;
    const uint32_t usual = pv__graph_want(K);
    const uint32_t want = y->rank == RANK_NONE   ? K
                          : y->rank == RANK_POOL ? effort->pool
                                                 : PV_MIN(usual, effort->pool);
    bench_check(y->walk->search(&b->p.graph, walker_of(b, y), b->query + q * b->dims, effort, want,
                                b->hits, &n, &complete, &b->err),
                &b->err, "search");
    if (!complete) {
        bench_die("a search is not complete");
    }
    if (y->rank == RANK_NONE) {
        memcpy(b->best, b->hits, n * sizeof *b->best);
    } else {
        n = rank(b, y, q, n);
    }
    bench_check(pv__txn_pause(b->p.txn, &b->err), &b->err, "pause");
    return n;
}

static double judge(walk_bench *b, const way *y, size_t q, uint32_t n) {
    const float most = b->kth[q] + fabsf(b->kth[q]) * 1e-5f;
    uint32_t right = 0;
    for (uint32_t i = 0; i < n; i++) {
        float distance = b->best[i].distance;
        if (y->rank == RANK_NONE) {
            const uint8_t *row;
            bench_check(pv__column_read(&b->p.column, b->best[i].slot, &row, &b->err), &b->err,
                        "vector");
            distance = pv__kernel_pair(b->kernel, &b->prepared[q], row);
        }
        right += distance <= most ? 1u : 0u;
    }
    return (double)PV_MIN(right, K) / K;
}

/* Queries [from, to): processor time, or, where out_recall is not NULL, mean recall. */
static double search_some(walk_bench *b, const way *y, unsigned e, uint64_t from, uint64_t to,
                          double *out_recall) {
    const uint32_t levels = b->p.graph.meta.level_count;
    const pv__effort effort = effort_of(b, y, e);
    double recall = 0;
    b->p.graph.meta.level_count = y->root_only ? 0 : levels;
    b->sum = 0;
    b->read = 0;
    const double start = cpu_s();
    for (size_t q = from; q < to; q++) {
        const uint32_t n = search(b, y, &effort, q);
        if (out_recall) {
            recall += judge(b, y, q, n);
            for (uint32_t i = 0; i < n; i++) {
                b->sum += (b->best[i].slot + UINT64_C(1)) * (q + 1);
            }
        }
    }
    const double seconds = cpu_s() - start;
    b->p.graph.meta.level_count = levels;
    if (out_recall) {
        *out_recall = recall / (double)(to - from);
    }
    return seconds;
}

static double search_all(walk_bench *b, const way *y, unsigned e, double *out_recall) {
    return search_some(b, y, e, 0, b->queries, out_recall);
}

/* ---- files and columns ----------------------------------------------------------------------- */

static FILE *vecs_open(const char *path, int32_t *out_dims) {
    FILE *f = fopen(path, "rb");
    if (!f || fread(out_dims, 4, 1, f) != 1) {
        bench_die("%s cannot be read", path);
    }
    rewind(f);
    return f;
}

static void vecs_row(FILE *f, void *out, int32_t dims) {
    int32_t head = 0;
    if (fread(&head, 4, 1, f) != 1 || head != dims ||
        fread(out, 4, (size_t)dims, f) != (size_t)dims) {
        bench_die("a file of vectors is too short");
    }
}

static void read_queries(walk_bench *b, const char *path) {
    int32_t dims = 0;
    FILE *f = vecs_open(path, &dims);
    if (dims != (int32_t)b->dims) {
        bench_die("%s: %d dimensions, the database has %u", path, (int)dims, (unsigned)b->dims);
    }
    b->query = bench_alloc(b->queries * b->dims * sizeof *b->query);
    b->prepared = bench_alloc(b->queries * sizeof *b->prepared);
    for (uint64_t q = 0; q < b->queries; q++) {
        vecs_row(f, b->query + q * b->dims, dims);
        if (!pv__kernel_query_init(&b->prepared[q], b->p.c.field.metric, b->query + q * b->dims,
                                   b->dims)) {
            bench_die("the metric is not known");
        }
    }
    fclose(f);
}

static void read_truth(walk_bench *b, const char *path) {
    int32_t count = 0;
    FILE *f = vecs_open(path, &count);
    int32_t *ids = bench_alloc((size_t)count * sizeof *ids);
    b->kth = bench_alloc(b->queries * sizeof *b->kth);
    for (uint64_t q = 0; q < b->queries; q++) {
        const uint8_t *row;
        vecs_row(f, ids, count);
        if (count < (int32_t)K || (uint32_t)ids[K - 1] >= b->rows) {
            bench_die("%s is not the truth of this database", path);
        }
        bench_check(pv__column_read(&b->p.column, (uint32_t)ids[K - 1], &row, &b->err), &b->err,
                    "vector");
        b->kth[q] = pv__kernel_pair(b->kernel, &b->prepared[q], row);
        bench_check(pv__txn_pause(b->p.txn, &b->err), &b->err, "pause");
    }
    free(ids);
    fclose(f);
}

static void open_all(walk_bench *b, const char *path) {
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv__txn *txn = NULL;
    pv_error *err = &b->err;
    o.threads = 1;
    o.cache_bytes = CACHE_BYTES;
    bench_check(pv_open(path, &o, &b->db, err), err, "open");
    bench_check(pv__txn_begin(b->db->store, 0, &txn, err), err, "begin");
    bench_check(pv__parts_open(&b->p, txn, "base", err), err, "collection");
    bench_check(pv__parts_graph(&b->p, b->db->cpu, 1, err), err, "graph");
    bench_check(pv__walker_new(pv__txn_mem(txn), &b->w, err), err, "walker");
    bench_check(pv__walker_new(pv__txn_mem(txn), &b->flat_w, err), err, "walker");
    b->kernel = pv__kernel_table(b->db->cpu);
    b->rows = b->p.slots.meta.high_water;
    b->dims = b->p.c.field.dims;
    if (b->p.graph.meta.built != b->rows || b->p.graph.meta.tomb_count != 0) {
        bench_die("%s: not all rows are in the graph, or some have died", path);
    }
    if (b->p.c.field.metric == PV_METRIC_DOT) {
        bench_die("%s: no ratio of distances with dot", path);
    }
    b->doubt = pv__graph_effort_ef(&b->p.graph, K, K).stop - 1.05f;
    b->hits = bench_alloc(pools[EFFORTS - 1] * sizeof *b->hits);
    b->best = bench_alloc(K * sizeof *b->best);
}

static void done_all(walk_bench *b) {
    pv__txn *txn = b->p.txn;
    pv__walker_free(b->w);
    pv__walker_free(b->flat_w);
    pv__parts_done(&b->p);
    pv__txn_rollback(txn);
    bench_check(pv_close(b->db, &b->err), &b->err, "close");
}

/* Copies of all columns; reading them in this order puts their pages into memory in this order. */
static void flatten(walk_bench *b) {
    pv__graph *g = &b->p.graph;
    walk_flat_add(&g->links, g->meta.node_high, &b->err);
    if (g->split) {
        walk_flat_add(&g->codes, g->meta.node_high, &b->err);
    }
    walk_flat_add(&g->fines, g->meta.node_high, &b->err);
    walk_flat_add(&g->slot_of, g->meta.node_high, &b->err);
    walk_flat_add(&b->p.column, b->rows, &b->err);
    for (uint32_t i = 0; i < g->meta.level_count; i++) {
        walk_flat_add(&g->upper[i], g->meta.levels[i].high, &b->err);
    }
}

static const char *code_name(const pv__graph *g) {
    static const char *const names[] = {"?", "f32", "sq8", "q4", "b1", "f16", "pq"};
    return g->code.kind < sizeof names / sizeof names[0] ? names[g->code.kind] : "?";
}

/* ---- parts ----------------------------------------------------------------------------------- */

typedef struct curve {
    double recall[EFFORTS], seconds[EFFORTS];
    double read[EFFORTS]; /* vectors a query */
    unsigned count;       /* efforts that were tried */
} curve;

/* Does it stand on a side of a target? Then its time matters. */
static bool curve_matters(const curve *c, unsigned e) {
    for (unsigned t = 0; t < TARGETS; t++) {
        const bool here = c->recall[e] >= targets[t];
        if ((e > 0 && here && c->recall[e - 1] < targets[t]) || (e == 0 && here) ||
            (e + 1 < c->count && !here && c->recall[e + 1] >= targets[t])) {
            return true;
        }
    }
    return false;
}

static void curve_try(walk_bench *b, const way *y, curve *c) {
    memset(c, 0, sizeof *c);
    for (unsigned e = 0; e < EFFORTS; e++) {
        (void)search_all(b, y, e, &c->recall[e]);
        c->read[e] = (double)b->read / (double)b->queries;
        c->count = e + 1;
        if (c->recall[e] >= targets[TARGETS - 1]) {
            break;
        }
    }
}

/* A value at a recall; -1: never reached. */
static double curve_at(const curve *c, const double *values, double recall) {
    for (unsigned e = 0; e < c->count; e++) {
        if (c->recall[e] >= recall) {
            if (e == 0) {
                return values[0];
            }
            const double high = log(1 - c->recall[e] + 1e-6),
                         low = log(1 - c->recall[e - 1] + 1e-6);
            const double share = (log(1 - recall + 1e-6) - low) / (high - low);
            return values[e - 1] + share * (values[e] - values[e - 1]);
        }
    }
    return -1;
}

static void print_cell(double seconds, double as_is, uint64_t queries) {
    if (seconds < 0) {
        printf(" - | |");
    } else if (as_is < 0) {
        printf(" %.1f | |", seconds / (double)queries * 1e6);
    } else {
        printf(" %.1f | %.2f |", seconds / (double)queries * 1e6, seconds / as_is);
    }
}

static void print_parts(const walk_bench *b, const curve *curves) {
    printf("%u rows of %u dimensions, %s, code %s, %llu queries\n\n", (unsigned)b->rows,
           (unsigned)b->dims, b->p.c.field.metric == PV_METRIC_L2 ? "l2" : "cosine",
           code_name(&b->p.graph), (unsigned long long)b->queries);
    printf("| | us at 0.95 | to as it is | us at 0.99 | to as it is | vectors read at 0.95 |\n"
           "|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < WAYS; i++) {
        const curve *c = &curves[i];
        printf("| %s |", ways[i].name);
        for (unsigned t = 0; t < TARGETS; t++) {
            print_cell(curve_at(c, c->seconds, targets[t]),
                       curve_at(&curves[0], curves[0].seconds, targets[t]), b->queries);
        }
        printf(" %.1f |\n", curve_at(c, c->read, targets[0]));
    }
}

static void run_parts(walk_bench *b, uint64_t rounds) {
    static curve curves[WAYS];
    flatten(b);
    for (size_t i = 0; i < WAYS; i++) {
        curve_try(b, &ways[i], &curves[i]);
    }
    for (uint64_t round = 0; round < rounds; round++) {
        for (size_t turn = 0; turn < WAYS; turn++) {
            const size_t i = round % 2 ? WAYS - 1 - turn : turn;
            curve *c = &curves[i];
            for (unsigned e = 0; e < c->count; e++) {
                if (curve_matters(c, e)) {
                    const double s = search_all(b, &ways[i], e, NULL);
                    c->seconds[e] = round == 0 ? s : PV_MIN(c->seconds[e], s);
                }
            }
        }
    }
    print_parts(b, curves);
}

/* ---- pages ----------------------------------------------------------------------------------- */

static const way way_pages = {"pages", &walk_pages, false, false, RANK_BOUNDS};
static const way way_flat = {"flat", &walk_flat, false, false, RANK_BOUNDS};

/* The first effort that reaches a recall. */
static unsigned effort_for(walk_bench *b, double recall) {
    for (unsigned e = 0; e < EFFORTS; e++) {
        double found = 0;
        (void)search_all(b, &way_pages, e, &found);
        if (found >= recall) {
            return e;
        }
    }
    return EFFORTS - 1;
}

static void compare_pages(walk_bench *b, const unsigned *efforts, uint64_t rounds,
                          const char *what) {
    double *ratios = bench_alloc(rounds * sizeof *ratios);
    for (unsigned t = 0; t < TARGETS; t++) {
        double recall = 0, other = 0, least = INFINITY, flat_least = INFINITY;
        (void)search_all(b, &way_pages, efforts[t], &recall);
        const uint64_t sum = b->sum;
        (void)search_all(b, &way_flat, efforts[t], &other);
        if (sum != b->sum) {
            bench_die("pages and the array do not give the same answers");
        }
        for (uint64_t r = 0; r < rounds; r++) {
            double seconds[2] = {0, 0};
            for (uint64_t q = 0; q < b->queries; q += TURN) {
                const uint64_t end = PV_MIN(b->queries, q + TURN);
                for (unsigned turn = 0; turn < 2; turn++) {
                    const unsigned i = (turn + (unsigned)(q / TURN) + (unsigned)r) % 2;
                    seconds[i] +=
                        search_some(b, i ? &way_flat : &way_pages, efforts[t], q, end, NULL);
                }
            }
            ratios[r] = seconds[0] / seconds[1];
            least = PV_MIN(least, seconds[0]);
            flat_least = PV_MIN(flat_least, seconds[1]);
        }
        const double n = (double)b->queries;
        printf("| %s | %.4f | %.1f | %.1f | %.3f | %.3f |\n", what, recall, least / n * 1e6,
               flat_least / n * 1e6, least / flat_least, bench_percentile(ratios, rounds, 0.5));
    }
    free(ratios);
}

static uint64_t live_versions(walk_bench *b) {
    pv__store_stats s;
    pv__store_stats_get(b->db->store, &s);
    return s.versions;
}

/* A row gets the vector of the next one and back again, so that its node is another. */
static uint64_t change(walk_bench *b, bench_random *r, uint64_t versions) {
    const uint64_t before = live_versions(b);
    uint64_t commits = 0;
    float *vector = bench_alloc(b->dims * sizeof *vector);
    while (live_versions(b) < before + versions) {
        char id[32];
        pv_record record = PV_RECORD_INIT;
        const uint32_t row = (uint32_t)bench_random_below(r, b->rows);
        const uint8_t *from;
        bench_check(pv__column_read(&b->p.column, row, &from, &b->err), &b->err, "vector");
        memcpy(vector, from, b->dims * sizeof *vector);
        bench_check(pv__txn_pause(b->p.txn, &b->err), &b->err, "pause");
        vector[0] *= 1.001f;
        snprintf(id, sizeof id, "doc-%09u", (unsigned)row);
        record.id = id;
        record.vector = vector;
        record.dims = b->dims;
        bench_check(pv_upsert(b->db, NULL, "base", &record, 1, NULL, &b->err), &b->err, "upsert");
        commits++;
    }
    free(vector);
    return commits;
}

static void run_pages(walk_bench *b, uint64_t rounds, uint64_t versions) {
    unsigned efforts[TARGETS];
    bench_random r = {1};
    flatten(b);
    for (unsigned t = 0; t < TARGETS; t++) {
        efforts[t] = effort_for(b, targets[t]);
    }
    printf("%u rows of %u dimensions, code %s, %llu queries\n\n", (unsigned)b->rows,
           (unsigned)b->dims, code_name(&b->p.graph), (unsigned long long)b->queries);
    printf("| versions beside | recall | us, pages | us, array | least to least | median of ratios "
           "|\n|---|---|---|---|---|---|\n");
    compare_pages(b, efforts, rounds, "none");
    if (versions > 0) {
        const uint64_t before = live_versions(b);
        const uint64_t commits = change(b, &r, versions);
        char what[64];
        snprintf(what, sizeof what, "%llu of %llu commits",
                 (unsigned long long)(live_versions(b) - before), (unsigned long long)commits);
        compare_pages(b, efforts, rounds, what);
    }
}

/* ---- count ----------------------------------------------------------------------------------- */

__attribute__((noinline)) void bench_walk_counted(walk_bench *b, const way *y);
void bench_walk_counted(walk_bench *b, const way *y) {
    const pv__effort effort = pv__graph_effort(&b->p.graph, K, 0.95f);
    for (size_t q = 0; q < b->queries; q++) {
        const uint32_t n = search(b, y, &effort, q);
        for (uint32_t i = 0; i < n; i++) {
            b->sum += (b->best[i].slot + UINT64_C(1)) * (q + 1);
        }
    }
}

static void run_count(walk_bench *b, const char *kind) {
    const way *y = strcmp(kind, "flat") == 0 ? &way_flat : &way_pages;
    flatten(b);
    bench_walk_counted(b, y);
    printf("count.answers %llu sum\n", (unsigned long long)b->sum);
}

int main(int argc, char **argv) {
    static walk_bench b;
    b.err = (pv_error)PV_ERROR_INIT;
    if (argc < 5) {
        bench_die("usage: bench_walk parts|pages DB query.fvecs gt.ivecs [queries [rounds "
                  "[versions]]], or bench_walk count DB query.fvecs pages|flat [queries]");
    }
    b.queries = argc > 5 ? bench_number(argv[5], "queries") : 1000;
    const uint64_t rounds = argc > 6 ? bench_number(argv[6], "rounds") : 7;
    open_all(&b, argv[2]);
    read_queries(&b, argv[3]);
    if (strcmp(argv[1], "count") == 0) {
        run_count(&b, argv[4]);
    } else {
        read_truth(&b, argv[4]);
        if (strcmp(argv[1], "parts") == 0) {
            run_parts(&b, rounds);
        } else {
            run_pages(&b, rounds, argc > 7 ? bench_number(argv[7], "versions") : 0);
        }
    }
    done_all(&b);
    return 0;
}
