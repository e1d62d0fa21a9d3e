/* SPDX-License-Identifier: Apache-2.0 */
/* bench.c - see bench.h. */
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define BENCH_SYNC_FILE (UINT64_C(64) << 20)

_Noreturn void bench_die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "bench: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

int bench_check(int rc, const pv_error *err, const char *what) {
    if (rc < 0) {
        bench_die("%s: %s (%s)", what, err->message, pv_error_text(rc));
    }
    return rc;
}

void bench_turn(int stepping) {
    char line[64];
    if (!stepping) {
        return;
    }
    printf("ready\n");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) {
        exit(1);
    }
}

double bench_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double bench_cpu(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void *bench_alloc(size_t bytes) {
    void *p = malloc(bytes ? bytes : 1);
    if (!p) {
        bench_die("out of memory for %zu bytes", bytes);
    }
    return p;
}

void *bench_alloc_huge(size_t bytes) {
    const size_t huge = (size_t)2 << 20;
    const size_t size = (bytes + huge - 1) / huge * huge;
    void *p = aligned_alloc(huge, size);
    if (!p) {
        bench_die("out of memory for %zu bytes", size);
    }
#ifdef MADV_HUGEPAGE
    (void)madvise(p, size, MADV_HUGEPAGE); /* a wish */
#endif
    memset(p, 0, size);
    return p;
}

uint64_t bench_number(const char *text, const char *what) {
    char *end = NULL;
    errno = 0;
    const unsigned long long n = text ? strtoull(text, &end, 10) : 0;
    if (!text || errno || end == text || *end) {
        bench_die("%s: '%s' is not a number", what, text ? text : "");
    }
    return n;
}

static int bench_compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double bench_percentile(double *values, size_t n, double p) {
    qsort(values, n, sizeof(*values), bench_compare);
    return n ? values[(size_t)(p * (double)(n - 1) + 0.5)] : 0.0;
}

double bench_print_times(const char *name, double *seconds, size_t n) {
    const double p50 = bench_percentile(seconds, n, 0.5);
    printf("%s.p50 %.1f us\n", name, p50 * 1e6);
    printf("%s.p99 %.1f us\n", name, bench_percentile(seconds, n, 0.99) * 1e6);
    return p50;
}

/* ---- data ------------------------------------------------------------------------------------ */

uint64_t bench_random_next(bench_random *r) { /* splitmix64, Steele and others 2014 */
    uint64_t z = r->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

void bench_random_skip(bench_random *r, uint64_t n) {
    r->state += n * UINT64_C(0x9E3779B97F4A7C15);
}

uint64_t bench_random_below(bench_random *r, uint64_t n) { return bench_random_next(r) % n; }

void bench_random_normal(bench_random *r, float *out, size_t n) { /* Box and Muller 1958 */
    for (size_t i = 0; i < n; i += 2) {
        const uint64_t x = bench_random_next(r);
        const float u = ((float)(x >> 40) + 1.0f) * 0x1p-24f;
        const float v = (float)(x & 0xFFFFFF) * 0x1p-24f * 6.28318531f;
        const float radius = sqrtf(-2.0f * logf(u));
        out[i] = radius * cosf(v);
        if (i + 1 < n) {
            out[i + 1] = radius * sinf(v);
        }
    }
}

void bench_batch_init(bench_batch *b, size_t rows, size_t dims, size_t meta_bytes) {
    *b = (bench_batch){.rows = rows, .dims = dims, .meta_bytes = meta_bytes};
    b->vectors = bench_alloc(rows * dims * sizeof(float));
    b->ids = bench_alloc(rows * BENCH_ID_BYTES + 1);
    b->meta = bench_alloc(rows * meta_bytes + 1);
    b->id_offsets = bench_alloc((rows + 1) * sizeof(uint64_t));
    b->meta_offsets = bench_alloc((rows + 1) * sizeof(uint64_t));
    for (size_t i = 0; i <= rows; i++) {
        b->id_offsets[i] = i * BENCH_ID_BYTES;
        b->meta_offsets[i] = i * meta_bytes;
    }
}

void bench_batch_names(bench_batch *b, uint64_t first_row) {
    static const char words[] = "the quick brown fox jumps over the lazy dog and runs away again ";
    for (size_t i = 0; i < b->rows; i++) {
        const unsigned long long row = (unsigned long long)(first_row + i);
        char text[64];
        snprintf(text, sizeof text, "doc-%09llu", row % 1000000000u);
        memcpy(b->ids + i * BENCH_ID_BYTES, text, BENCH_ID_BYTES);
        if (b->meta_bytes == 0) {
            continue;
        }
        char *m = b->meta + i * b->meta_bytes;
        const int n = snprintf(text, sizeof text, "{\"n\":%llu,\"g\":%llu,\"t\":\"", row, row % 97);
        const size_t tail = b->meta_bytes - (size_t)n - 2;
        if ((size_t)n + 2 > b->meta_bytes) {
            bench_die("%zu bytes of metadata are too few", b->meta_bytes);
        }
        memcpy(m, text, (size_t)n);
        for (size_t k = 0; k < tail; k++) {
            m[(size_t)n + k] = words[(k + row) % (sizeof words - 1)];
        }
        memcpy(m + b->meta_bytes - 2, "\"}", 2);
    }
}

void bench_batch_fill(bench_batch *b, uint64_t first_row, bench_random *r) {
    bench_batch_names(b, first_row);
    bench_random_normal(r, b->vectors, b->rows * b->dims);
}

size_t bench_batch_payload(const bench_batch *b) {
    return b->rows * (b->dims * sizeof(float) + BENCH_ID_BYTES + b->meta_bytes);
}

void bench_batch_done(bench_batch *b) {
    free(b->vectors);
    free(b->ids);
    free(b->meta);
    free(b->id_offsets);
    free(b->meta_offsets);
}

void bench_batch_columns(const bench_batch *b, pv_batch *out) {
    pv_batch c = PV_BATCH_INIT;
    c.count = b->rows;
    c.vectors = b->vectors;
    c.dims = (uint32_t)b->dims;
    c.id_data = b->ids;
    c.id_offsets = b->id_offsets;
    c.metadata_data = b->meta_bytes ? b->meta : NULL;
    c.metadata_offsets = b->meta_bytes ? b->meta_offsets : NULL;
    *out = c;
}

/* ---- the machine ----------------------------------------------------------------------------- */

/* The line of /proc/mounts with the longest mount point that `dir` lies under. */
void bench_print_disk(const char *dir) {
    char full[4096], line[4096], device[512], point[1024], type[64];
    char best_device[512] = "unknown", best_type[64] = "unknown";
    size_t best = 0;
    FILE *f = fopen("/proc/mounts", "r");
    if (realpath(dir, full) && f) {
        while (fgets(line, sizeof line, f)) {
            if (sscanf(line, "%511s %1023s %63s", device, point, type) != 3) {
                continue;
            }
            const size_t n = strlen(point);
            const int inside = strncmp(full, point, n) == 0 &&
                               (point[n - 1] == '/' || full[n] == '/' || full[n] == '\0');
            if (inside && n >= best) {
                best = n;
                memcpy(best_device, device, sizeof device);
                memcpy(best_type, type, sizeof type);
            }
        }
    }
    if (f) {
        fclose(f);
    }
    printf("disk %s on %s\n", best_type, best_device);
}

void bench_sync_open(bench_sync *s, const char *dir) {
    snprintf(s->path, sizeof s->path, "%s/bench-sync.tmp", dir);
    s->fd = open(s->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (s->fd < 0) {
        bench_die("%s: %s", s->path, strerror(errno));
    }
    s->size = BENCH_SYNC_FILE;
    s->at = 0;
    memset(s->block, 0x5A, sizeof s->block);
    for (uint64_t at = 0; at < s->size; at += sizeof s->block) {
        if (pwrite(s->fd, s->block, sizeof s->block, (off_t)at) != (ssize_t)sizeof s->block) {
            bench_die("%s: %s", s->path, strerror(errno));
        }
    }
    if (fsync(s->fd) != 0) {
        bench_die("%s: %s", s->path, strerror(errno));
    }
}

double bench_sync_once(bench_sync *s) {
    s->block[0]++;
    const double t0 = bench_now();
    if (pwrite(s->fd, s->block, sizeof s->block, (off_t)s->at) != (ssize_t)sizeof s->block ||
        fdatasync(s->fd) != 0) {
        bench_die("%s: %s", s->path, strerror(errno));
    }
    s->at = (s->at + sizeof s->block) % s->size;
    return bench_now() - t0;
}

void bench_sync_close(bench_sync *s) {
    close(s->fd);
    unlink(s->path);
}

/* The number behind `key` in a file of /proc, 0 when there is none. */
static uint64_t bench_proc(const char *path, const char *key) {
    char line[256];
    unsigned long long n = 0;
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, strlen(key)) == 0) {
            n = strtoull(line + strlen(key), NULL, 10);
        }
    }
    if (f) {
        fclose(f);
    }
    return n;
}

bench_io bench_io_get(void) {
    return (bench_io){
        bench_proc("/proc/self/io", "wchar:"), bench_proc("/proc/self/io", "write_bytes:"),
        bench_proc("/proc/self/io", "syscr:"), bench_proc("/proc/self/io", "read_bytes:"),
        bench_proc("/proc/self/status", "voluntary_ctxt_switches:")};
}

uint64_t bench_peak_rss(void) { return bench_proc("/proc/self/status", "VmHWM:") * 1024; }

uint64_t bench_file_bytes(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

typedef void (*bench_each_fn)(const char *path, void *ctx);

static void bench_each_log(const char *db_path, bench_each_fn fn, void *ctx) {
    char dir[1024], path[2048];
    const struct dirent *e;
    snprintf(dir, sizeof dir, "%s-wal", db_path);
    DIR *d = opendir(dir);
    while (d && (e = readdir(d))) {
        if (e->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
            fn(path, ctx);
        }
    }
    if (d) {
        closedir(d);
    }
}

static void bench_add_size(const char *path, void *ctx) {
    *(uint64_t *)ctx += bench_file_bytes(path);
}

uint64_t bench_log_bytes(const char *db_path) {
    uint64_t sum = 0;
    bench_each_log(db_path, bench_add_size, &sum);
    return sum;
}

static void bench_unlink(const char *path, void *ctx) {
    (void)ctx;
    unlink(path);
}

void bench_remove_db(const char *path) {
    char other[1024];
    bench_each_log(path, bench_unlink, NULL);
    snprintf(other, sizeof other, "%s-wal", path);
    rmdir(other);
    snprintf(other, sizeof other, "%s-shm", path);
    unlink(other);
    unlink(path);
}

static void bench_advise(const char *path, void *ctx) {
    (void)ctx;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        fdatasync(fd);
#ifdef POSIX_FADV_DONTNEED
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
#endif
        close(fd);
    }
}

int bench_drop_cache(const char *db_path) {
    bench_advise(db_path, NULL);
    bench_each_log(db_path, bench_advise, NULL);
    const int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return 2;
    }
    const ssize_t n = write(fd, "3", 1);
    close(fd);
    return n == 1 ? 1 : 2;
}

/* ---- memory speed ---------------------------------------------------------------------------- */

#if defined(__x86_64__)
/* `ahead` 0 leaves prefetching to the machine. */
__attribute__((target("avx512f"))) static uint64_t bench_read_512(const uint8_t *p, size_t bytes,
                                                                  size_t ahead) {
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (size_t i = 0; i + 256 <= bytes; i += 256) {
        if (ahead && i + ahead + 256 <= bytes) {
            _mm_prefetch((const char *)(p + i + ahead), _MM_HINT_T0);
            _mm_prefetch((const char *)(p + i + ahead + 64), _MM_HINT_T0);
            _mm_prefetch((const char *)(p + i + ahead + 128), _MM_HINT_T0);
            _mm_prefetch((const char *)(p + i + ahead + 192), _MM_HINT_T0);
        }
        a = _mm512_or_si512(a, _mm512_loadu_si512(p + i));
        b = _mm512_or_si512(b, _mm512_loadu_si512(p + i + 64));
        c = _mm512_or_si512(c, _mm512_loadu_si512(p + i + 128));
        d = _mm512_or_si512(d, _mm512_loadu_si512(p + i + 192));
    }
    a = _mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d));
    return (uint64_t)_mm512_reduce_or_epi64(a);
}
#endif

static uint64_t bench_read_words(const uint8_t *p, size_t bytes) {
    uint64_t a = 0, b = 0, c = 0, d = 0, w[4];
    for (size_t i = 0; i + 32 <= bytes; i += 32) {
        memcpy(w, p + i, 32);
        a |= w[0], b |= w[1], c |= w[2], d |= w[3];
    }
    return a | b | c | d;
}

double bench_read_speed(const void *p, size_t bytes, int rounds) {
    static const size_t ahead[] = {0, 2048, 4096};
    static volatile uint64_t sink;
    double best = 1e9;
    for (int i = 0; i < rounds * 3; i++) {
        const double t0 = bench_now();
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx512f")) {
            sink = bench_read_512(p, bytes, ahead[i % 3]);
        } else {
            sink = bench_read_words(p, bytes);
        }
#else
        (void)ahead;
        sink = bench_read_words(p, bytes);
#endif
        const double t = bench_now() - t0;
        best = t < best ? t : best;
    }
    (void)sink;
    return (double)bytes * 1e-9 / best;
}
