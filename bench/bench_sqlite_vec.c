/* SPDX-License-Identifier: Apache-2.0 */
/* bench_sqlite_vec.c - the load of bench_store through SQLite with the extension sqlite-vec, as a
 * peer on the same disk: usage bench_sqlite_vec EXTENSION DIR ROWS DIMS BATCH META CACHE_MIB [step]
 *
 * One table `vec0(id text primary key, vector float[n], +metadata text)`, WAL, synchronous=FULL, a
 * transaction for each batch, one prepared statement, the same records. SQLite is loaded at run
 * time, so that building needs neither. The checkpoint of WAL happens as SQLite does by default.
 * EXTENSION is the path that sqlite_vec.loadable_path() gives. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define PEER_SLICES 10u
#define PEER_OPEN_FLAGS 6 /* SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE */
#define PEER_DONE 101     /* SQLITE_DONE */

/* What is used of sqlite3.h, under its own names. */
typedef struct sqlite3 sqlite3;
typedef struct sqlite3_stmt sqlite3_stmt;
typedef struct peer_api {
    int (*open_v2)(const char *, sqlite3 **, int, const char *);
    int (*close_v2)(sqlite3 *);
    int (*exec)(sqlite3 *, const char *, int (*)(void *, int, char **, char **), void *, char **);
    int (*prepare_v2)(sqlite3 *, const char *, int, sqlite3_stmt **, const char **);
    int (*step)(sqlite3_stmt *);
    int (*reset)(sqlite3_stmt *);
    int (*finalize)(sqlite3_stmt *);
    int (*bind_text)(sqlite3_stmt *, int, const char *, int, void (*)(void *));
    int (*bind_blob)(sqlite3_stmt *, int, const void *, int, void (*)(void *));
    int (*enable_load_extension)(sqlite3 *, int);
    int (*load_extension)(sqlite3 *, const char *, const char *, char **);
    const char *(*errmsg)(sqlite3 *);
    const char *(*libversion)(void);
} peer_api;

static void peer_symbol(void *lib, const char *name, void *out_function) {
    void *p = dlsym(lib, name);
    if (!p) {
        bench_die("SQLite has no %s", name);
    }
    memcpy(out_function, &p, sizeof p); /* POSIX promises that the two are alike */
}

static void peer_load(peer_api *a) {
    void *lib = dlopen("libsqlite3.so.0", RTLD_NOW);
    if (!lib) {
        bench_die("SQLite is not installed: %s", dlerror());
    }
    peer_symbol(lib, "sqlite3_open_v2", &a->open_v2);
    peer_symbol(lib, "sqlite3_close_v2", &a->close_v2);
    peer_symbol(lib, "sqlite3_exec", &a->exec);
    peer_symbol(lib, "sqlite3_prepare_v2", &a->prepare_v2);
    peer_symbol(lib, "sqlite3_step", &a->step);
    peer_symbol(lib, "sqlite3_reset", &a->reset);
    peer_symbol(lib, "sqlite3_finalize", &a->finalize);
    peer_symbol(lib, "sqlite3_bind_text", &a->bind_text);
    peer_symbol(lib, "sqlite3_bind_blob", &a->bind_blob);
    peer_symbol(lib, "sqlite3_enable_load_extension", &a->enable_load_extension);
    peer_symbol(lib, "sqlite3_load_extension", &a->load_extension);
    peer_symbol(lib, "sqlite3_errmsg", &a->errmsg);
    peer_symbol(lib, "sqlite3_libversion", &a->libversion);
}

static void peer_exec(const peer_api *a, sqlite3 *db, const char *sql) {
    if (a->exec(db, sql, NULL, NULL, NULL) != 0) {
        bench_die("%s: %s", sql, a->errmsg(db));
    }
}

static sqlite3 *peer_open(const peer_api *a, const char *path, const char *extension,
                          uint64_t cache_mib, uint64_t dims) {
    char sql[256];
    char *message = NULL;
    sqlite3 *db = NULL;
    if (a->open_v2(path, &db, PEER_OPEN_FLAGS, NULL) != 0) {
        bench_die("%s cannot be opened", path);
    }
    a->enable_load_extension(db, 1);
    if (a->load_extension(db, extension, NULL, &message) != 0) {
        bench_die("%s: %s", extension, message ? message : "cannot be loaded");
    }
    peer_exec(a, db, "pragma journal_mode = wal");
    peer_exec(a, db, "pragma synchronous = full");
    snprintf(sql, sizeof sql, "pragma cache_size = -%llu", (unsigned long long)cache_mib * 1024);
    peer_exec(a, db, sql);
    snprintf(sql, sizeof sql,
             "create virtual table docs using vec0(id text primary key, vector float[%llu], "
             "+metadata text)",
             (unsigned long long)dims);
    peer_exec(a, db, sql);
    return db;
}

static double peer_insert(const peer_api *a, sqlite3 *db, sqlite3_stmt *s, const bench_batch *b) {
    const int bytes = (int)(b->dims * sizeof(float));
    const double t0 = bench_now();
    peer_exec(a, db, "begin immediate");
    for (size_t i = 0; i < b->rows; i++) {
        a->bind_text(s, 1, b->ids + i * BENCH_ID_BYTES, BENCH_ID_BYTES, NULL);
        a->bind_blob(s, 2, b->vectors + i * b->dims, bytes, NULL);
        a->bind_text(s, 3, b->meta + i * b->meta_bytes, (int)b->meta_bytes, NULL);
        if (a->step(s) != PEER_DONE) {
            bench_die("insert: %s", a->errmsg(db));
        }
        a->reset(s);
    }
    peer_exec(a, db, "commit");
    return bench_now() - t0;
}

static void peer_path(char *out, size_t size, const char *dir) {
    static const char *const tails[] = {"-wal", "-shm", ""};
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        snprintf(out, size, "%s/bench-peer.db%s", dir, tails[i]);
        unlink(out);
    }
}

int main(int argc, char **argv) {
    peer_api a;
    bench_batch b;
    bench_random r = {42};
    char path[1024];
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 8) {
        fprintf(stderr, "usage: bench_sqlite_vec EXTENSION DIR ROWS DIMS BATCH META CACHE_MIB "
                        "[step]\n");
        return 1;
    }
    const int stepping = argc > 8 && strcmp(argv[8], "step") == 0;
    const uint64_t rows = bench_number(argv[3], "rows"), dims = bench_number(argv[4], "dims");
    const uint64_t batch = bench_number(argv[5], "batch");
    double seconds = 0;
    uint64_t done = 0, wchar = 0;
    peer_load(&a);
    peer_path(path, sizeof path, argv[2]);
    bench_batch_init(&b, (size_t)batch, (size_t)dims, (size_t)bench_number(argv[6], "meta"));
    sqlite3 *db = peer_open(&a, path, argv[1], bench_number(argv[7], "cache"), dims);
    sqlite3_stmt *s = NULL;
    if (a.prepare_v2(db, "insert into docs values (?, ?, ?)", -1, &s, NULL) != 0) {
        bench_die("insert: %s", a.errmsg(db));
    }
    for (uint64_t slice = 0; slice < PEER_SLICES; slice++) {
        const uint64_t to = (slice + 1) * rows / PEER_SLICES / batch * batch;
        const double before = seconds;
        bench_turn(stepping);
        const bench_io io = bench_io_get();
        for (; done < to; done += batch) {
            bench_batch_fill(&b, done, &r);
            seconds += peer_insert(&a, db, s, &b);
        }
        wchar += bench_io_get().wchar - io.wchar;
        printf("slice %llu %.6f\n", (unsigned long long)done, seconds - before);
    }
    bench_turn(stepping);
    const bench_io io = bench_io_get();
    const double t0 = bench_now();
    a.finalize(s);
    a.close_v2(db);
    const double close_seconds = bench_now() - t0;
    wchar += bench_io_get().wchar - io.wchar;
    const double payload = (double)done * (double)bench_batch_payload(&b) / (double)batch;
    printf("sqlite %s\n", a.libversion());
    printf("peer.rate %.0f rows/s\n", (double)done / seconds);
    printf("peer.rate_closed %.0f rows/s\n", (double)done / (seconds + close_seconds));
    printf("peer.written_to_payload %.3f ratio\n", (double)wchar / payload);
    printf("peer.file_to_payload %.3f ratio\n", (double)bench_file_bytes(path) / payload);
    peer_path(path, sizeof path, argv[2]);
    bench_batch_done(&b);
    return 0;
}
