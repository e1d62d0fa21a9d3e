/* SPDX-License-Identifier: Apache-2.0 */
/* bench.h - what the benches share: time, percentiles, repeatable data, the disk's own speed, and
 * what the kernel counted for this process.
 *
 * Benches see pv.h only, as any program does. They print lines `name value unit`; the drivers
 * run_*.py read them, run a peer in turn with them, and print ratios. A bench that cannot go on
 * says why on stderr and exits with 1. */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

#include "pv.h"

_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Ends the program when rc is negative. Returns rc. */
int bench_check(int rc, const pv_error *err, const char *what);

/* Where a driver lets several programs run in turn: says `ready` and waits for a line on stdin.
 * Otherwise returns at once. Ends the program at the end of stdin. */
void bench_turn(int stepping);

double bench_now(void); /* seconds, monotonic */
double bench_cpu(void); /* seconds that all threads of this process have used */
void *bench_alloc(size_t bytes);
void *bench_alloc_huge(size_t bytes); /* zeroed, aligned to 2 MiB, huge pages if there are any */
uint64_t bench_number(const char *text, const char *what);

/* p from 0 to 1; sorts the values. */
double bench_percentile(double *values, size_t n, double p);

/* `name p50 x us` and `name p99 x us` of seconds; sorts them. Returns the median in seconds. */
double bench_print_times(const char *name, double *seconds, size_t n);

/* ---- data ------------------------------------------------------------------------------------ */

typedef struct bench_random {
    uint64_t state;
} bench_random;

uint64_t bench_random_next(bench_random *r);
uint64_t bench_random_below(bench_random *r, uint64_t n);
void bench_random_skip(bench_random *r, uint64_t n); /* as n calls of _next */
/* Normal deviates, mean 0 and variance 1. */
void bench_random_normal(bench_random *r, float *out, size_t n);

/* A batch of records with string ids `doc-000000001` and metadata of exactly meta_bytes. */
typedef struct bench_batch {
    size_t rows, dims, meta_bytes;
    float *vectors;
    char *ids, *meta; /* the characters behind the offsets */
    uint64_t *id_offsets, *meta_offsets;
} bench_batch;

#define BENCH_ID_BYTES 13u

void bench_batch_init(bench_batch *b, size_t rows, size_t dims, size_t meta_bytes);
void bench_batch_fill(bench_batch *b, uint64_t first_row, bench_random *r); /* all of it */
void bench_batch_names(bench_batch *b, uint64_t first_row); /* ids and metadata alone */
size_t bench_batch_payload(const bench_batch *b);           /* bytes of the three */
void bench_batch_done(bench_batch *b);
/* Columns for pv_insert_batch, pointing into b. */
void bench_batch_columns(const bench_batch *b, pv_batch *out);

/* ---- the machine ----------------------------------------------------------------------------- */

/* `disk <file system type> ...`, and the name in a form that fits a line. */
void bench_print_disk(const char *dir);

/* One write of 8 KiB and one fdatasync in a file whose space was allocated and written before. */
typedef struct bench_sync {
    int fd;
    uint64_t at, size;
    uint8_t block[8192];
    char path[1024];
} bench_sync;

void bench_sync_open(bench_sync *s, const char *dir);
double bench_sync_once(bench_sync *s); /* seconds */
void bench_sync_close(bench_sync *s);  /* removes the file */

typedef struct bench_io {
    uint64_t wchar;       /* bytes handed to write calls */
    uint64_t write_bytes; /* bytes of pages this process made dirty */
    uint64_t read_calls;  /* of any file */
    uint64_t read_bytes;  /* from disks, also ahead of the calls */
    uint64_t waits;       /* times it gave up the processor to wait */
} bench_io;

bench_io bench_io_get(void);
uint64_t bench_peak_rss(void); /* bytes; 0 when unknown */
uint64_t bench_file_bytes(const char *path);
uint64_t bench_log_bytes(const char *db_path); /* all files of `<path>-wal` */
/* Pages that the entries of all log records from from_lsn on touch, each counted once. */
typedef struct bench_touched {
    uint64_t records, bytes; /* with their heads, without what batches are padded with */
    uint64_t entries, pages;
    uint64_t based;    /* pages whose first entry changes what the file holds: replay reads them */
    uint64_t referred; /* pages that some entry names by reference */
    uint8_t *kinds;    /* while counting: kinds of entries seen, by page */
    size_t cap;
} bench_touched;
void bench_touched_pages(const char *db_path, uint64_t from_lsn, bench_touched *out);
void bench_remove_db(const char *path);
/* Give the cached pages of a file and of its log back to the system. Returns 1 when done with
 * drop_caches, 2 when each file was only advised. */
int bench_drop_cache(const char *db_path);

/* Streaming read of bytes with the widest registers there are, in GB/s: best of `rounds`. */
double bench_read_speed(const void *p, size_t bytes, int rounds);

#endif
