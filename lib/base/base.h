/* SPDX-License-Identifier: Apache-2.0 */
/* base.h - the words every other file of lib/ is written in: linkage marks, small macros and
 * assertions. Knows nothing of databases. */
#ifndef PV_BASE_BASE_H
#define PV_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "pv.h"

/* Internal function shared between files: hidden in the library, static in the amalgamation. */
#ifndef PV_PRIVATE
#if defined(__GNUC__)
#define PV_PRIVATE __attribute__((visibility("hidden")))
#else
#define PV_PRIVATE
#endif
#endif

#if defined(__GNUC__)
#define PV_LIKELY(x) __builtin_expect(!!(x), 1)
#define PV_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PV_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define PV_UNUSED __attribute__((unused))
#define PV_MUST_CHECK __attribute__((warn_unused_result))
#define PV_COLD __attribute__((cold, noinline))
#define PV_PREFETCH(p) __builtin_prefetch((p), 0, 3)
#define PV_PREFETCH_ONCE(p) __builtin_prefetch((p), 0, 0) /* not into the larger caches */
#else
#define PV_LIKELY(x) (x)
#define PV_UNLIKELY(x) (x)
#define PV_PRINTF(fmt, args)
#define PV_UNUSED
#define PV_MUST_CHECK
#define PV_COLD
#define PV_PREFETCH(p) ((void)(p))
#define PV_PREFETCH_ONCE(p) ((void)(p))
#endif

/* Place of the lowest bit that is set; v is not 0. */
static inline unsigned pv__low_bit(uint32_t v) {
#if defined(__GNUC__)
    return (unsigned)__builtin_ctz(v);
#else
    unsigned at = 0;
    while (!(v >> at & 1u)) {
        at++;
    }
    return at;
#endif
}

/* How many bits are set. Without an instruction for it the compiler would call a function. */
static inline unsigned pv__bit_count(uint64_t v) {
#if defined(__POPCNT__) || defined(__aarch64__)
    return (unsigned)__builtin_popcountll(v);
#else
    v -= v >> 1 & UINT64_C(0x5555555555555555);
    v = (v & UINT64_C(0x3333333333333333)) + (v >> 2 & UINT64_C(0x3333333333333333));
    v = (v + (v >> 4)) & UINT64_C(0x0F0F0F0F0F0F0F0F);
    return (unsigned)(v * UINT64_C(0x0101010101010101) >> 56);
#endif
}

#define PV_MIN(a, b) ((a) < (b) ? (a) : (b))
#define PV_MAX(a, b) ((a) > (b) ? (a) : (b))
#define PV_COUNTOF(a) (sizeof(a) / sizeof((a)[0]))
#define PV_ALIGN_UP(x, a) (((x) + ((a)-1)) & ~((a)-1)) /* a: a power of two, type of x */

#define PV_STATIC_ASSERT(cond, name) _Static_assert(cond, #name)

/* Our own bugs. A library may not end its host, so a failed check makes the function return
 * PV_ERR_INTERNAL naming file and line; in builds with PV_DEBUG it also traps, so that tests and
 * fuzzers stop at the spot. Only for functions that return int and have `err` in scope. */
#ifdef PV_DEBUG
#define PV_TRAP() __builtin_trap()
#else
#define PV_TRAP() ((void)0)
#endif
#define PV_ASSERT(cond)                                                                            \
    do {                                                                                           \
        if (PV_UNLIKELY(!(cond))) {                                                                \
            PV_TRAP();                                                                             \
            return pv__err(err, PV_ERR_INTERNAL, "%s:%d: %s", __FILE__, __LINE__, #cond);          \
        }                                                                                          \
    } while (0)
/* The same in functions that cannot report: only checked in debug builds. */
#ifdef PV_DEBUG
#define PV_DEBUG_ASSERT(cond) ((cond) ? (void)0 : __builtin_trap())
#else
#define PV_DEBUG_ASSERT(cond) ((void)0)
#endif

/* Return upwards at once; only where nothing needs cleaning. */
#define PV_TRY(expr)                                                                               \
    do {                                                                                           \
        int pv_try_rc = (expr);                                                                    \
        if (PV_UNLIKELY(pv_try_rc)) {                                                              \
            return pv_try_rc;                                                                      \
        }                                                                                          \
    } while (0)

/* Fill `err` (may be NULL) with a one-line message and return `code`. Allocates nothing. The
 * first error wins: do not call it again on the way up. rc.c */
PV_PRIVATE int pv__err(pv_error *err, int code, const char *fmt, ...) PV_PRINTF(3, 4) PV_COLD;
/* The same, with the errno of a failed system call, whose text is appended. */
PV_PRIVATE int pv__err_sys(pv_error *err, int code, int sys_errno, const char *fmt, ...)
    PV_PRINTF(4, 5) PV_COLD;
/* Out of memory while asking for `size` bytes. */
PV_PRIVATE int pv__err_nomem(pv_error *err, size_t size) PV_COLD;
/* Short lower-case text of a code: "corrupt", "busy". Never NULL. */
PV_PRIVATE const char *pv__rc_text(int code);

#endif
