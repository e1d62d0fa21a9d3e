/* SPDX-License-Identifier: Apache-2.0 */
/* test_support.h - what many tests need: random numbers that can be replayed, folders that vanish,
 * counted memory, and comparisons that show what differs. */
#ifndef PV_TEST_SUPPORT_H
#define PV_TEST_SUPPORT_H

/* cmocka wants these before itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"

/* ---- random (xoshiro256**, seeded by splitmix64) ---- */

typedef struct test_rng {
    uint64_t s[4];
} test_rng;

/* PV_SEED from the environment (a number, or "time" for a new one each run), else a fixed one.
 * Printed, so that a failing run can be repeated. */
uint64_t test_seed(void);
uint64_t test_seed_new(void); /* without PV_SEED a new one each run; printed, too */
void test_rng_init(test_rng *r, uint64_t seed);
uint64_t test_rng_u64(test_rng *r);
uint64_t test_rng_below(test_rng *r, uint64_t n); /* 0 <= x < n, n > 0 */
double test_rng_unit(test_rng *r);                /* 0 <= x < 1 */
float test_rng_gauss(test_rng *r);                /* mean 0, variance 1 */
void test_rng_bytes(test_rng *r, void *out, size_t n);

/* ---- folders ---- */

typedef struct test_dir {
    char path[512];
} test_dir;

void test_dir_init(
    test_dir *d); /* a new empty one in $TMPDIR or /tmp; fails the test if it can't */
void test_dir_done(test_dir *d); /* removes it with all that is in it */
/* d/name in a buffer of the caller. */
char *test_dir_file(const test_dir *d, const char *name, char *out, size_t cap);
/* rm -r. False when something is left. */
bool test_remove_tree(const char *path);

/* ---- memory ---- */

void test_mem_init(pv__mem *mem);
void test_mem_done(pv__mem *mem); /* fails the test when bytes are still in use */
/* Call fn with the 1st, 2nd, ... request failing (once, then from it on) until it succeeds. Each
 * failure must be PV_ERR_NOMEM and leave the bytes in use as they were before; fn undoes its own
 * success. Returns the number of requests of a successful call. */
uint64_t test_nomem_loop(pv__mem *mem, int (*fn)(void *arg), void *arg);

/* ---- interrupts ---- */

typedef struct test_stop {
    uint64_t calls, at;
} test_stop;
/* For `interrupt` of the open options, with a test_stop: call number `at` ends what asks. */
int test_interrupt(void *ctx);

/* ---- comparing ---- */

/* Fail with a hex dump of the lines that differ. */
void test_assert_same_bytes_at(const void *got, const void *want, size_t n, const char *file,
                               int line);
#define test_assert_same_bytes(got, want, n)                                                       \
    test_assert_same_bytes_at((got), (want), (n), __FILE__, __LINE__)
/* rc must be `want`; shows the message of err (may be NULL) when it is not. */
void test_assert_rc_at(int rc, int want, const pv_error *err, const char *file, int line);
#define test_assert_rc(rc, want, err) test_assert_rc_at((rc), (want), (err), __FILE__, __LINE__)
#define test_assert_ok(rc, err) test_assert_rc_at((rc), 0, (err), __FILE__, __LINE__)

#endif
