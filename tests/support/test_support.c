/* SPDX-License-Identifier: Apache-2.0 */
/* test_support.c - see test_support.h. */
#include "support/test_support.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- random ---- */

static uint64_t test_seed_or(const char *otherwise) {
    const char *text = getenv("PV_SEED");
    uint64_t seed = 0;
    text = text && text[0] ? text : otherwise;
    if (strcmp(text, "time") == 0) {
        struct timespec t;
        (void)clock_gettime(CLOCK_REALTIME, &t);
        seed = (uint64_t)t.tv_sec * 1000000007u ^ (uint64_t)t.tv_nsec ^ (uint64_t)getpid() << 40;
    } else {
        seed = strtoull(text, NULL, 0);
    }
    fprintf(stderr, "PV_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

uint64_t test_seed(void) { return test_seed_or("20260101"); }

uint64_t test_seed_new(void) { return test_seed_or("time"); }

static uint64_t test_splitmix(uint64_t *x) {
    uint64_t z = *x += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static uint64_t test_rotl(uint64_t x, unsigned k) { return x << k | x >> (64 - k); }

void test_rng_init(test_rng *r, uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        r->s[i] = test_splitmix(&seed);
    }
}

uint64_t test_rng_u64(test_rng *r) {
    uint64_t *s = r->s;
    const uint64_t out = test_rotl(s[1] * 5, 7) * 9;
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = test_rotl(s[3], 45);
    return out;
}

uint64_t test_rng_below(test_rng *r, uint64_t n) {
    const uint64_t unfair = (0 - n) % n; /* 2^64 mod n numbers too many */
    uint64_t x = test_rng_u64(r);
    while (x < unfair) {
        x = test_rng_u64(r);
    }
    return x % n;
}

double test_rng_unit(test_rng *r) { return (double)(test_rng_u64(r) >> 11) * 0x1p-53; }

float test_rng_gauss(test_rng *r) {
    const double u = 1.0 - test_rng_unit(r);
    const double v = test_rng_unit(r);
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}

void test_rng_bytes(test_rng *r, void *out, size_t n) {
    uint8_t *p = out;
    for (size_t i = 0; i < n; i += 8) {
        const uint64_t x = test_rng_u64(r);
        memcpy(p + i, &x, PV_MIN(n - i, (size_t)8));
    }
}

/* ---- folders ---- */

void test_dir_init(test_dir *d) {
    const char *base = getenv("TMPDIR");
    const int n =
        snprintf(d->path, sizeof d->path, "%s/pvtest-XXXXXX", base && base[0] ? base : "/tmp");
    if (n < 0 || (size_t)n >= sizeof d->path || !mkdtemp(d->path)) {
        fail_msg("cannot make a folder '%s': errno %d", d->path, errno);
    }
}

bool test_remove_tree(const char *path) {
    struct stat st;
    if (lstat(path, &st) != 0) {
        return errno == ENOENT;
    }
    if (!S_ISDIR(st.st_mode)) {
        return unlink(path) == 0;
    }
    (void)chmod(path, 0700);
    DIR *dir = opendir(path);
    if (!dir) {
        return false;
    }
    bool ok = true;
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        char name[2048];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        const int n = snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        ok = n > 0 && (size_t)n < sizeof name && test_remove_tree(name) && ok;
    }
    (void)closedir(dir);
    return rmdir(path) == 0 && ok;
}

void test_dir_done(test_dir *d) {
    if (d->path[0] && !test_remove_tree(d->path)) {
        fail_msg("cannot remove '%s'", d->path);
    }
    d->path[0] = 0;
}

char *test_dir_file(const test_dir *d, const char *name, char *out, size_t cap) {
    const int n = snprintf(out, cap, "%s/%s", d->path, name);
    if (n < 0 || (size_t)n >= cap) {
        fail_msg("name too long: %s", name);
    }
    return out;
}

/* ---- memory ---- */

void test_mem_init(pv__mem *mem) { pv__mem_init(mem, NULL, 0); }

void test_mem_done(pv__mem *mem) {
    const size_t used = atomic_load(&mem->bytes_used);
    if (used != 0) {
        fail_msg("%zu bytes were not freed", used);
    }
}

uint64_t test_nomem_loop(pv__mem *mem, int (*fn)(void *arg), void *arg) {
    uint64_t used = 0;
    for (uint32_t forever = 0; forever < 2; forever++) {
        int rc = PV_ERR_NOMEM;
        for (uint64_t i = 1; rc != 0; i++) {
            const size_t before = atomic_load(&mem->bytes_used);
            const uint64_t start = atomic_load(&mem->calls);
            atomic_store(&mem->fail_forever, forever);
            atomic_store(&mem->fail_at, start + i);
            rc = fn(arg);
            used = atomic_load(&mem->calls) - start;
            atomic_store(&mem->fail_at, 0);
            if (rc != 0 && rc != PV_ERR_NOMEM) {
                fail_msg("failing request %llu gave code %d", (unsigned long long)i, rc);
            }
            if (rc != 0 && used < i) {
                fail_msg("code %d without a failing request", rc);
            }
            if (atomic_load(&mem->bytes_used) != before) {
                fail_msg("after failing request %llu %lld bytes more are in use",
                         (unsigned long long)i,
                         (long long)(atomic_load(&mem->bytes_used) - before));
            }
            if (rc == 0 && used >= i) {
                rc = PV_ERR_NOMEM; /* survived the failure: go on to the next request */
            }
        }
    }
    atomic_store(&mem->fail_forever, 0);
    return used;
}

/* ---- comparing ---- */

static void test_dump_line(char mark, const uint8_t *p, size_t at, size_t n) {
    fprintf(stderr, "%c %08zx ", mark, at);
    for (size_t i = 0; i < 16; i++) {
        if (i < n) {
            fprintf(stderr, " %02x", p[at + i]);
        } else {
            fprintf(stderr, "   ");
        }
    }
    fprintf(stderr, "  ");
    for (size_t i = 0; i < n; i++) {
        const uint8_t c = p[at + i];
        fputc(c >= 0x20 && c < 0x7F ? c : '.', stderr);
    }
    fputc('\n', stderr);
}

void test_assert_same_bytes_at(const void *got, const void *want, size_t n, const char *file,
                               int line) {
    const uint8_t *a = got;
    const uint8_t *b = want;
    size_t shown = 0;
    if (n == 0 || memcmp(a, b, n) == 0) {
        return;
    }
    for (size_t at = 0; at < n && shown < 16; at += 16) {
        const size_t part = PV_MIN(n - at, (size_t)16);
        if (memcmp(a + at, b + at, part) != 0) {
            test_dump_line('-', b, at, part);
            test_dump_line('+', a, at, part);
            shown++;
        }
    }
    fprintf(stderr, "(- wanted, + got, of %zu bytes, at most 16 lines)\n", n);
    _fail(file, line);
}

void test_assert_rc_at(int rc, int want, const pv_error *err, const char *file, int line) {
    if (rc != want) {
        fprintf(stderr, "%s:%d: code %d (%s), wanted %d (%s): %s\n", file, line, rc,
                pv__rc_text(rc), want, pv__rc_text(want), err ? err->message : "");
        _fail(file, line);
    }
}

/* ---- interrupts ---- */

int test_interrupt(void *ctx) {
    test_stop *s = ctx;
    return ++s->calls == s->at;
}
