/* SPDX-License-Identifier: Apache-2.0 */
/* bench_store.c - how fast records go in, and what one durable commit costs.
 *
 *      bench_store load DIR ROWS DIMS BATCH META CACHE_MIB THREADS [step]
 *      bench_store commit DIR DIMS COMMITS [noprobe]
 *      bench_store writers DIR DIMS THREADS COMMITS
 *      bench_store disk DIR COUNT
 *
 * load inserts batches, each its own durable transaction, and counts the bytes written until the
 * file is closed; making the data is not timed. With `step` it waits for its turn before each
 * tenth, so that a driver can let a peer work in between. A plain write of the payload with one
 * fdatasync follows each tenth; at the end one of all of it, and one that syncs as often as we.
 * commit makes commits of one record, each followed by a plain write and fdatasync, so that both
 * see the same disk; then the same number asynchronously, whose log has no padding to speak of.
 * writers: the same from many threads at once. disk: the plain write and fdatasync alone. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define STORE_SLICES 10u
#define STORE_META 100u

static void store_path(char *out, size_t size, const char *dir) {
    snprintf(out, size, "%s/bench-store.pv", dir);
    bench_remove_db(out);
}

static pv_db *store_open(const char *path, uint64_t cache_bytes, uint32_t threads, uint32_t dims) {
    pv_error err = PV_ERROR_INIT;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.index = PV_INDEX_FLAT; /* the store and the scan are measured here, not a graph */
    pv_db *db = NULL;
    o.cache_bytes = cache_bytes;
    o.threads = threads;
    c.dims = dims;
    c.metric = PV_METRIC_L2;
    c.index = PV_INDEX_FLAT; /* the store alone, as the peer has no graph either */
    bench_check(pv_open(path, &o, &db, &err), &err, "open");
    bench_check(pv_collection_create(db, NULL, "docs", &c, &err), &err, "create");
    return db;
}

static pv_stats store_stats(pv_db *db) {
    pv_error err = PV_ERROR_INIT;
    pv_stats s = PV_STATS_INIT;
    bench_check(pv_stats_get(db, &s, &err), &err, "stats");
    return s;
}

/* ---- load ------------------------------------------------------------------------------------ */

/* Seconds to write bytes to a new file, in blocks of 1 MiB, with one fdatasync: what
 * dd bs=1M conv=fdatasync does. `every` not 0: another one after each so many bytes. */
static double store_plain_write(const char *dir, const bench_batch *b, uint64_t bytes,
                                uint64_t every) {
    char path[1024];
    snprintf(path, sizeof path, "%s/bench-plain.tmp", dir);
    const size_t have = b->rows * b->dims * sizeof(float);
    const size_t block = have < ((size_t)1 << 20) ? have : (size_t)1 << 20;
    const double t0 = bench_now();
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (uint64_t at = 0; at < bytes; at += block) {
        const char *from = (const char *)b->vectors + at / block * 4096 % (have - block + 1);
        const size_t n = bytes - at < block ? (size_t)(bytes - at) : block;
        if (write(fd, from, n) != (ssize_t)n) {
            bench_die("%s: %s", path, strerror(errno));
        }
        if (every && (at + n) / every != at / every && fdatasync(fd) != 0) {
            bench_die("%s: %s", path, strerror(errno));
        }
    }
    if (fdatasync(fd) != 0) {
        bench_die("%s: %s", path, strerror(errno));
    }
    const double t = bench_now() - t0;
    close(fd);
    unlink(path);
    return t;
}

typedef struct store_load {
    uint64_t rows, batches, payload;
    double seconds, close_seconds, plain_seconds;
    double cpu_seconds; /* of all threads, in the calls alone */
    double batch_seconds[4096];
    uint64_t wchar, write_bytes;
} store_load;

static void store_count(store_load *l, bench_io before) {
    const bench_io after = bench_io_get();
    l->wchar += after.wchar - before.wchar;
    l->write_bytes += after.write_bytes - before.write_bytes;
}

static void store_insert(pv_db *db, bench_batch *b, store_load *l, bench_random *r) {
    pv_error err = PV_ERROR_INIT;
    pv_batch columns;
    bench_batch_fill(b, l->rows, r);
    bench_batch_columns(b, &columns);
    const double t0 = bench_now(), cpu0 = bench_cpu();
    bench_check(pv_insert_batch(db, NULL, "docs", &columns, NULL, &err), &err, "insert");
    const double t = bench_now() - t0;
    l->seconds += t;
    l->cpu_seconds += bench_cpu() - cpu0;
    l->batch_seconds[l->batches++ % 4096] = t;
    l->rows += b->rows;
    l->payload += bench_batch_payload(b);
}

static void store_load_print(store_load *l, const char *path) {
    const double file = (double)bench_file_bytes(path), payload = (double)l->payload;
    printf("load.rows %llu rows\n", (unsigned long long)l->rows);
    printf("load.rate %.0f rows/s\n", (double)l->rows / l->seconds);
    printf("load.cpu_per_row %.4f us\n", l->cpu_seconds * 1e6 / (double)l->rows);
    printf("load.rate_closed %.0f rows/s\n", (double)l->rows / (l->seconds + l->close_seconds));
    printf("load.payload %.1f MB\n", payload * 1e-6);
    printf("load.speed %.1f MB/s\n", payload * 1e-6 / l->seconds);
    printf("load.speed_closed %.1f MB/s\n", payload * 1e-6 / (l->seconds + l->close_seconds));
    printf("load.plain_write %.1f MB/s\n", payload * 1e-6 / l->plain_seconds);
    printf("load.to_plain_write %.3f ratio\n", l->plain_seconds / l->seconds);
    printf("load.to_plain_write_closed %.3f ratio\n",
           l->plain_seconds / (l->seconds + l->close_seconds));
    printf("load.written_to_payload %.3f ratio\n", (double)l->wchar / payload);
    printf("load.dirtied_to_payload %.3f ratio\n", (double)l->write_bytes / payload);
    printf("load.file_to_payload %.3f ratio\n", file / payload);
    bench_print_times("load.batch", l->batch_seconds,
                      (size_t)(l->batches < 4096 ? l->batches : 4096));
}

static int store_run_load(int argc, char **argv) {
    if (argc < 9) {
        bench_die("load DIR ROWS DIMS BATCH META CACHE_MIB THREADS [step]");
    }
    const uint64_t rows = bench_number(argv[3], "rows"), batch = bench_number(argv[5], "batch");
    const uint64_t dims = bench_number(argv[4], "dims");
    const int stepping = argc > 9 && strcmp(argv[9], "step") == 0;
    char path[1024];
    store_path(path, sizeof path, argv[2]);
    bench_random r = {42};
    bench_batch b;
    store_load l = {0};
    bench_batch_init(&b, (size_t)batch, (size_t)dims, (size_t)bench_number(argv[6], "meta"));
    pv_db *db = store_open(path, bench_number(argv[7], "cache") << 20,
                           (uint32_t)bench_number(argv[8], "threads"), (uint32_t)dims);
    for (uint64_t slice = 0, done = 0; slice < STORE_SLICES; slice++) {
        const uint64_t to = (slice + 1) * rows / STORE_SLICES / batch;
        double before = l.seconds;
        const uint64_t payload = l.payload;
        bench_turn(stepping);
        const bench_io io = bench_io_get();
        for (; done < to; done++) {
            store_insert(db, &b, &l, &r);
        }
        store_count(&l, io);
        printf("slice %llu %.6f\n", (unsigned long long)(done * batch), l.seconds - before);
        bench_turn(stepping);
        l.plain_seconds += store_plain_write(argv[2], &b, l.payload - payload, 0);
    }
    pv_stats s = store_stats(db);
    printf("load.checkpoints %llu checkpoints\n", (unsigned long long)s.checkpoints);
    pv_error err = PV_ERROR_INIT;
    bench_turn(stepping);
    const bench_io io = bench_io_get();
    const double t0 = bench_now();
    bench_check(pv_close(db, &err), &err, "close");
    l.close_seconds = bench_now() - t0;
    store_count(&l, io);
    printf("load.close %.3f s\n", l.close_seconds);
    store_load_print(&l, path);
    bench_turn(stepping);
    const double whole = store_plain_write(argv[2], &b, l.payload, 0);
    const double synced = store_plain_write(argv[2], &b, l.payload, bench_batch_payload(&b));
    printf("load.plain_write_whole %.1f MB/s\n", (double)l.payload * 1e-6 / whole);
    printf("load.to_plain_write_whole %.3f ratio\n", whole / l.seconds);
    printf("load.plain_write_synced %.1f MB/s\n", (double)l.payload * 1e-6 / synced);
    printf("load.to_plain_write_synced %.3f ratio\n", synced / l.seconds);
    bench_remove_db(path);
    bench_batch_done(&b);
    return 0;
}

/* ---- commits --------------------------------------------------------------------------------- */

/* Insert row `row` of b as a commit of its own; seconds. */
static double store_commit(pv_db *db, const bench_batch *b, size_t row, uint32_t sync) {
    pv_error err = PV_ERROR_INIT;
    pv_record r = PV_RECORD_INIT;
    pv_write_opts o = PV_WRITE_OPTS_INIT;
    r.id = b->ids + row * BENCH_ID_BYTES;
    r.id_len = BENCH_ID_BYTES;
    r.vector = b->vectors + row * b->dims;
    r.dims = (uint32_t)b->dims;
    r.metadata = b->meta + row * b->meta_bytes;
    r.metadata_len = b->meta_bytes;
    o.sync = sync;
    const double t0 = bench_now();
    bench_check(pv_insert(db, NULL, "docs", &r, 1, &o, &err), &err, "insert");
    return bench_now() - t0;
}

static int store_run_commit(int argc, char **argv) {
    if (argc < 5) {
        bench_die("commit DIR DIMS COMMITS [noprobe]");
    }
    const size_t dims = (size_t)bench_number(argv[3], "dims");
    const size_t n = (size_t)bench_number(argv[4], "commits");
    const int probe = !(argc > 5 && strcmp(argv[5], "noprobe") == 0);
    char path[1024];
    store_path(path, sizeof path, argv[2]);
    bench_batch b;
    bench_random r = {7};
    bench_sync raw;
    bench_batch_init(&b, 2 * n, dims, STORE_META);
    bench_batch_fill(&b, 0, &r);
    double *commit = bench_alloc((n + 1) * sizeof(double));
    double *sync = bench_alloc((n + 1) * sizeof(double));
    if (probe) {
        bench_sync_open(&raw, argv[2]);
    }
    pv_db *db = store_open(path, (uint64_t)256 << 20, 0, (uint32_t)dims);
    const pv_stats before = store_stats(db);
    for (size_t i = 0; i < n; i++) {
        commit[i] = store_commit(db, &b, i, PV_SYNC_FULL);
        if (probe) {
            sync[i] = bench_sync_once(&raw);
        }
    }
    const pv_stats after = store_stats(db);
    if (probe) {
        for (size_t i = 0; i < n; i++) {
            store_commit(db, &b, n + i, PV_SYNC_ASYNC);
        }
        const pv_stats async = store_stats(db);
        const double c50 = bench_print_times("commit", commit, n);
        const double s50 = bench_print_times("sync", sync, n);
        printf("commit.to_sync %.3f ratio\n", c50 / s50);
        printf("commit.within_bound %d (1: p50 <= 1.3 x fdatasync p50 + 100 us)\n",
               c50 <= 1.3 * s50 + 100e-6);
        printf("commit.log_per_row %.0f bytes\n", (double)(after.lsn - before.lsn) / (double)n);
        printf("commit.log_per_row_unpadded %.0f bytes\n",
               (double)(async.lsn - after.lsn) / (double)n);
        printf("commit.payload_per_row %zu bytes\n",
               dims * sizeof(float) + BENCH_ID_BYTES + STORE_META);
        bench_sync_close(&raw);
    }
    printf("commit.syncs_per_commit %.4f\n",
           (double)(after.log_syncs - before.log_syncs) / (double)(n ? n : 1));
    pv_error err = PV_ERROR_INIT;
    bench_check(pv_close(db, &err), &err, "close");
    bench_remove_db(path);
    bench_batch_done(&b);
    return 0;
}

typedef struct store_writer {
    pv_db *db;
    const bench_batch *b;
    size_t first, n;
    double *seconds;
} store_writer;

static void *store_write(void *arg) {
    const store_writer *w = arg;
    for (size_t i = w->first; i < w->first + w->n; i++) {
        w->seconds[i] = store_commit(w->db, w->b, i, PV_SYNC_FULL);
    }
    return NULL;
}

static int store_run_writers(int argc, char **argv) {
    pthread_t threads[64];
    store_writer writers[64];
    if (argc < 6) {
        bench_die("writers DIR DIMS THREADS COMMITS");
    }
    const size_t dims = (size_t)bench_number(argv[3], "dims");
    const size_t count = (size_t)bench_number(argv[4], "threads");
    const size_t n = (size_t)bench_number(argv[5], "commits") / (count ? count : 1);
    if (count < 1 || count > 64) {
        bench_die("1 to 64 threads");
    }
    char path[1024];
    store_path(path, sizeof path, argv[2]);
    bench_batch b;
    bench_random r = {9};
    bench_batch_init(&b, n * count, dims, STORE_META);
    bench_batch_fill(&b, 0, &r);
    double *seconds = bench_alloc((n * count + 1) * sizeof(double));
    pv_db *db = store_open(path, (uint64_t)256 << 20, 0, (uint32_t)dims);
    const pv_stats before = store_stats(db);
    const double t0 = bench_now();
    for (size_t i = 0; i < count; i++) {
        writers[i] = (store_writer){db, &b, i * n, n, seconds};
        if (pthread_create(&threads[i], NULL, store_write, &writers[i]) != 0) {
            bench_die("a thread cannot be started");
        }
    }
    for (size_t i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
    const double t = bench_now() - t0;
    const pv_stats after = store_stats(db);
    printf("writers.rate %.0f commits/s\n", (double)(n * count) / t);
    bench_print_times("writers.commit", seconds, n * count);
    printf("writers.syncs_per_commit %.4f\n",
           (double)(after.log_syncs - before.log_syncs) / (double)(n * count > 0 ? n * count : 1));
    pv_error err = PV_ERROR_INIT;
    bench_check(pv_close(db, &err), &err, "close");
    bench_remove_db(path);
    bench_batch_done(&b);
    return 0;
}

static int store_run_disk(int argc, char **argv) {
    if (argc < 4) {
        bench_die("disk DIR COUNT");
    }
    const size_t n = (size_t)bench_number(argv[3], "count");
    double *seconds = bench_alloc((n + 1) * sizeof(double));
    bench_sync s;
    bench_print_disk(argv[2]);
    bench_sync_open(&s, argv[2]);
    for (size_t i = 0; i < n; i++) {
        seconds[i] = bench_sync_once(&s);
    }
    bench_sync_close(&s);
    bench_print_times("disk.sync", seconds, n);
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 2 ? argv[1] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(what, "load") == 0) {
        return store_run_load(argc, argv);
    }
    if (strcmp(what, "commit") == 0) {
        return store_run_commit(argc, argv);
    }
    if (strcmp(what, "writers") == 0) {
        return store_run_writers(argc, argv);
    }
    if (strcmp(what, "disk") == 0) {
        return store_run_disk(argc, argv);
    }
    fprintf(stderr, "usage: bench_store load|commit|writers|disk DIR ...; bench/run_store.py runs "
                    "them\n");
    return 1;
}
