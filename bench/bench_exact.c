/* SPDX-License-Identifier: Apache-2.0 */
/* bench_exact.c - exact search as a program sees it: pv_search on a file that was closed and opened
 * again, after a tenth of the records was deleted at random.
 *
 *      bench_exact DIR ROWS DIMS QUERIES ROUNDS [serve [INDEX]]
 *
 * Prints GB/s of the live vectors for single queries, the fastest plain read of as many bytes in
 * the same process, measured in turn with them, queries per second one by one and in one call, and
 * how much faster one query is with two threads.
 * With `serve` the live rows are left in DIR/rows.f32 with their numbers in DIR/rows.u64 and the
 * queries in DIR/queries.f32, and searches are made on command from stdin, so that a driver can
 * time a peer in between:
 * INDEX: flat; codes: flat with codes, which are read before vectors; lists: those of lists.
 *
 *      one I         query I alone                         -> time S
 *      many N        queries 0 .. N-1 in one call          -> time S
 *      ids           writes the answers of the last many to DIR/answers.u64 (10 each) and their
 *                    distances to DIR/answers.f32          -> done */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define EXACT_K 10u
#define EXACT_BATCH 10000u

typedef struct exact_bench {
    const char *dir;
    char path[1024];
    size_t rows, dims, queries, live;
    uint32_t index, code;
    float *vectors; /* of the queries */
    uint8_t *dead;  /* one byte a row */
    pv_db *db;
    pv_results **results;
} exact_bench;

static FILE *exact_file(const exact_bench *x, const char *name) {
    char path[1100];
    snprintf(path, sizeof path, "%s/%s", x->dir, name);
    FILE *f = fopen(path, "wb");
    if (!f) {
        bench_die("%s cannot be written", path);
    }
    return f;
}

static void exact_write(FILE *f, const void *p, size_t bytes) {
    if (fwrite(p, 1, bytes, f) != bytes) {
        bench_die("a file of the bench cannot be written");
    }
}

/* Read-only when searches are timed: no upkeep of an index meanwhile. */
static void exact_open(exact_bench *x, uint32_t flags) {
    pv_error err = PV_ERROR_INIT;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    o.flags = flags;
    o.cache_bytes = (uint64_t)x->rows * x->dims * 5 + ((uint64_t)512 << 20);
    bench_check(pv_open(x->path, &o, &x->db, &err), &err, "open");
}

static void exact_close(exact_bench *x) {
    pv_error err = PV_ERROR_INIT;
    bench_check(pv_close(x->db, &err), &err, "close");
}

/* Insert all, delete what is marked dead; live rows go to the files if there are any. */
static void exact_fill(exact_bench *x, FILE *rows, FILE *numbers) {
    pv_error err = PV_ERROR_INIT;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.index = x->index; /* the store and the scan are measured here, not a graph */
    c.code = x->code;
    bench_random r = {1};
    bench_batch b;
    pv_batch columns;
    uint64_t *keys = bench_alloc(x->rows * sizeof(uint64_t));
    uint64_t dead = 0;
    c.dims = (uint32_t)x->dims;
    c.metric = PV_METRIC_L2;
    c.key = PV_KEY_U64;
    bench_batch_init(&b, EXACT_BATCH, x->dims, 0);
    bench_check(pv_collection_create(x->db, NULL, "docs", &c, &err), &err, "create");
    for (size_t at = 0; at < x->rows; at += b.rows) {
        b.rows = x->rows - at < EXACT_BATCH ? x->rows - at : EXACT_BATCH;
        bench_random_normal(&r, b.vectors, b.rows * x->dims);
        bench_batch_columns(&b, &columns);
        for (size_t i = 0; i < b.rows; i++) {
            keys[i] = at + i;
            if (rows && !x->dead[at + i]) {
                exact_write(rows, b.vectors + i * x->dims, x->dims * sizeof(float));
                exact_write(numbers, &keys[i], sizeof keys[i]);
            }
        }
        columns.id_data = NULL;
        columns.id_offsets = NULL;
        columns.ids_u64 = keys;
        bench_check(pv_insert_batch(x->db, NULL, "docs", &columns, NULL, &err), &err, "insert");
    }
    for (size_t i = 0; i < x->rows; i++) {
        if (x->dead[i]) {
            keys[dead++] = i;
        }
    }
    pv_ids ids = PV_IDS_INIT;
    ids.count = (size_t)dead;
    ids.ids_u64 = keys;
    bench_check(pv_delete_many(x->db, NULL, "docs", &ids, &dead, &err), &err, "delete");
    x->live = x->rows - (size_t)dead;
    bench_batch_done(&b);
    free(keys);
}

/* Single queries go the way of one call each; returns seconds. */
static double exact_one_by(exact_bench *x, size_t i, uint32_t threads) {
    pv_error err = PV_ERROR_INIT;
    pv_query q = PV_QUERY_INIT;
    pv_results *res = NULL;
    q.flags = PV_QUERY_EXACT;
    q.vector = x->vectors + i * x->dims;
    q.dims = (uint32_t)x->dims;
    q.k = EXACT_K;
    q.threads = threads;
    const double t0 = bench_now();
    bench_check(pv_search(x->db, NULL, "docs", &q, &res, &err), &err, "search");
    const double t = bench_now() - t0;
    pv_results_free(x->results[i]);
    x->results[i] = res;
    return t;
}

static double exact_one(exact_bench *x, size_t i) { return exact_one_by(x, i, 1); }

static double exact_many(exact_bench *x, size_t n) {
    pv_error err = PV_ERROR_INIT;
    pv_query q = PV_QUERY_INIT;
    pv_query_vectors v = PV_QUERY_VECTORS_INIT;
    for (size_t i = 0; i < n; i++) {
        pv_results_free(x->results[i]);
        x->results[i] = NULL;
    }
    q.flags = PV_QUERY_EXACT;
    q.vector = x->vectors;
    q.dims = (uint32_t)x->dims;
    q.k = EXACT_K;
    v.count = n;
    const double t0 = bench_now();
    bench_check(pv_search_many(x->db, NULL, "docs", &q, &v, x->results, &err), &err, "search");
    return bench_now() - t0;
}

static void exact_answers(const exact_bench *x, size_t n) {
    FILE *ids = exact_file(x, "answers.u64"), *distances = exact_file(x, "answers.f32");
    for (size_t i = 0; i < n; i++) {
        if (pv_results_count(x->results[i]) != EXACT_K) {
            bench_die("query %zu has %zu rows", i, pv_results_count(x->results[i]));
        }
        exact_write(ids, pv_results_ids_u64(x->results[i]), EXACT_K * sizeof(uint64_t));
        exact_write(distances, pv_results_distances(x->results[i]), EXACT_K * sizeof(float));
    }
    fclose(ids);
    fclose(distances);
}

/* The answers of one call must be those of single ones, bit for bit. */
static void exact_compare(exact_bench *x, size_t n) {
    pv_results *one[16];
    exact_many(x, n);
    for (size_t i = 0; i < n && i < 16; i++) {
        one[i] = x->results[i];
        x->results[i] = NULL;
        exact_one(x, i);
        if (memcmp(pv_results_ids_u64(one[i]), pv_results_ids_u64(x->results[i]),
                   EXACT_K * sizeof(uint64_t)) != 0 ||
            memcmp(pv_results_distances(one[i]), pv_results_distances(x->results[i]),
                   EXACT_K * sizeof(float)) != 0) {
            bench_die("query %zu: one call for many and a single one differ", i);
        }
        pv_results_free(one[i]);
    }
    printf("exact.many_equals_one 1\n");
}

static void exact_speed(exact_bench *x, int rounds) {
    const size_t bytes = x->rows * x->dims * sizeof(float);
    const double live = (double)x->live * (double)x->dims * sizeof(float) * 1e-9;
    uint8_t *plain = bench_alloc_huge(bytes);
    double *seconds = bench_alloc((size_t)rounds * sizeof(double));
    double *ratio = bench_alloc((size_t)rounds * sizeof(double));
    double best_read = 0, best_one = 1e9;
    for (int i = 0; i < rounds; i++) {
        const double read = bench_read_speed(plain, bytes, 1);
        seconds[i] = exact_one(x, (size_t)i % x->queries);
        ratio[i] = (double)bytes * 1e-9 / seconds[i] / read;
        best_read = read > best_read ? read : best_read;
        best_one = seconds[i] < best_one ? seconds[i] : best_one;
    }
    const double p50 = bench_percentile(seconds, (size_t)rounds, 0.5);
    printf("exact.one %.2f ms\n", p50 * 1e3);
    printf("exact.read %.2f GB/s\n", best_read);
    printf("exact.scan %.2f GB/s\n", (double)bytes * 1e-9 / p50);
    printf("exact.scan_live %.2f GB/s\n", live / p50);
    printf("exact.scan_to_read %.3f ratio\n", bench_percentile(ratio, (size_t)rounds, 0.5));
    printf("exact.scan_to_read_best %.3f ratio\n", (double)bytes * 1e-9 / best_one / best_read);
    free(plain);
    free(seconds);
    free(ratio);
}

/* How much faster one query is with several threads. */
static void exact_threads(exact_bench *x, uint32_t threads, int rounds) {
    double *ratio = bench_alloc((size_t)rounds * sizeof(double));
    for (int i = 0; i < rounds; i++) {
        const double alone = exact_one_by(x, (size_t)i % x->queries, 1);
        ratio[i] = alone / exact_one_by(x, (size_t)i % x->queries, threads);
    }
    printf("exact.threads_%u %.3f ratio\n", (unsigned)threads,
           bench_percentile(ratio, (size_t)rounds, 0.5));
    free(ratio);
}

static void exact_serve(exact_bench *x) {
    char line[128];
    unsigned long long n = 0;
    size_t last = 0;
    printf("ready\n");
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "one %llu", &n) == 1 && n < x->queries) {
            printf("time %.9f\n", exact_one(x, (size_t)n));
        } else if (sscanf(line, "many %llu", &n) == 1 && n <= x->queries) {
            last = (size_t)n;
            printf("time %.9f\n", exact_many(x, last));
        } else if (strcmp(line, "ids\n") == 0) {
            exact_answers(x, last);
            printf("done\n");
        } else {
            bench_die("no command: %s", line);
        }
        fflush(stdout);
    }
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 6) {
        fprintf(stderr, "usage: bench_exact DIR ROWS DIMS QUERIES ROUNDS [serve [INDEX]]\n");
        return 1;
    }
    const int serve = argc > 6 && strcmp(argv[6], "serve") == 0;
    exact_bench x = {.dir = argv[1],
                     .rows = (size_t)bench_number(argv[2], "rows"),
                     .dims = (size_t)bench_number(argv[3], "dims"),
                     .queries = (size_t)bench_number(argv[4], "queries")};
    const char *const index = argc > 7 ? argv[7] : "flat";
    x.index = strcmp(index, "lists") == 0 ? PV_INDEX_IVF : PV_INDEX_FLAT;
    x.code = strcmp(index, "flat") == 0 ? 0 : PV_CODE_SQ8;
    const int rounds = (int)bench_number(argv[5], "rounds");
    bench_random r = {99};
    if (x.queries < 1 || x.rows < 100 || rounds < 1) {
        bench_die("at least 100 rows, 1 query and 1 round");
    }
    snprintf(x.path, sizeof x.path, "%s/bench-exact.pv", x.dir);
    bench_remove_db(x.path);
    x.vectors = bench_alloc(x.queries * x.dims * sizeof(float));
    x.results = bench_alloc(x.queries * sizeof(pv_results *));
    x.dead = bench_alloc(x.rows);
    memset(x.results, 0, x.queries * sizeof(pv_results *));
    bench_random_normal(&r, x.vectors, x.queries * x.dims);
    for (size_t i = 0; i < x.rows; i++) {
        x.dead[i] = bench_random_below(&r, 10) == 0;
    }
    FILE *rows = serve ? exact_file(&x, "rows.f32") : NULL;
    FILE *numbers = serve ? exact_file(&x, "rows.u64") : NULL;
    exact_open(&x, 0);
    exact_fill(&x, rows, numbers);
    exact_close(&x);
    if (serve) {
        FILE *queries = exact_file(&x, "queries.f32");
        exact_write(queries, x.vectors, x.queries * x.dims * sizeof(float));
        fclose(queries);
        fclose(rows);
        fclose(numbers);
    }
    exact_open(&x, PV_OPEN_READONLY);
    printf("exact.live %zu rows\n", x.live);
    exact_one(&x, 0); /* fills the cache */
    exact_speed(&x, rounds);
    exact_threads(&x, 2, rounds);
    exact_compare(&x, x.queries < 16 ? x.queries : 16);
    if (serve) {
        exact_serve(&x);
    } else {
        const double many = exact_many(&x, x.queries);
        printf("exact.many %.1f queries/s\n", (double)x.queries / many);
    }
    for (size_t i = 0; i < x.queries; i++) {
        pv_results_free(x.results[i]);
    }
    exact_close(&x);
    bench_remove_db(x.path);
    return 0;
}
