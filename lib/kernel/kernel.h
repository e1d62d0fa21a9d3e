/* SPDX-License-Identifier: Apache-2.0 */
/* kernel.h - distances between vectors: one query against many rows, or many against many.
 *
 *   pv__kernel_gather / _near / _many     blocks of rows, metric, special values   (kernel.c)
 *        |-- struct pv__kernel            f32 by l2, cosine, dot: raw sums for one instruction
 *        |                                set             (scalar.c, avx2.c, avx512.c, neon.c)
 *        '-- pv__measure_fn               all others      (measure.c, code_float.c, code_int.c)
 *
 * Distances are those of pv.h: l2 = Euclidean, cosine = 1 - cos (0..2; a vector of zeros is at
 * distance 1 to everything), dot = -dot. They are never NaN and never infinite: where squares or
 * products leave the range of f32, the row is computed again in double and the result is cut to
 * +-FLT_MAX; rows that hold NaN or infinity (never stored, so damage) are at FLT_MAX.
 *
 * Same bits: element i of a pair is added to partial sum i % 32 with one rounding (fused), and the
 * 32 are folded in the order drawn below, on every instruction set and in every function.
 * So a distance does not depend on the machine, on the row's place or on how many rows and queries
 * were asked for at once. (The scalar table rounds products too: it differs in the last bits.)
 * With T = the sum of |terms| of the raw sum, its error is at most (dims / 16 + 8) * 2^-24 * T.
 *
 *      32 partial sums -> s[l] + s[l + 16] -> s[l] + s[l + 8]
 *                      -> ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7))
 *
 * Rows are bytes at any alignment. All functions are pure; threads: any. */
#ifndef PV_KERNEL_KERNEL_H
#define PV_KERNEL_KERNEL_H

#include "base/base.h"

/* While row i is summed, rows[i + ahead.rows] is fetched into the cache. `once`: only into the
 * nearest one, since these rows will not be asked for again soon. */
typedef struct pv__kernel_ahead {
    size_t rows;
    bool once;
} pv__kernel_ahead;

/* Raw sums of n rows: sum (q - r)^2 or sum q * r. rows holds n + ahead.rows pointers; nothing but
 * fetching is done with the last ones. */
typedef void (*pv__kernel_rows_fn)(const float *query, size_t dims, const uint8_t *const *rows,
                                   size_t n, pv__kernel_ahead ahead, float *out);
/* Sum q * r and sum r * r. */
typedef void (*pv__kernel_cos_fn)(const float *query, size_t dims, const uint8_t *const *rows,
                                  size_t n, pv__kernel_ahead ahead, float *out_dot,
                                  float *out_norm2);
/* A full tile: out[q * tile_rows + r]. Pointers may repeat. */
typedef void (*pv__kernel_tile_fn)(const float *const *queries, size_t dims,
                                   const uint8_t *const *rows, float *out);

/* See screen.h. group: [dim][screen_queries], panel: [dim][screen_rows], 64-byte aligned. Bit r of
 * out[q]: dot * scale[r] - shift[r] is not less than least[q], or is NaN. False: no bit at all. */
typedef bool (*pv__kernel_screen_fn)(const float *group, size_t dims, const float *panel,
                                     const float *scale, const float *shift, const float *least,
                                     uint32_t *out);

#define PV__KERNEL_TILE_MAX 4u /* of tile_queries and of tile_rows */

typedef struct pv__kernel {
    const char *name; /* "scalar", "avx2", "avx512", "neon" */
    uint32_t cpu;     /* PV__CPU_ bits that it needs */
    uint32_t tile_queries, tile_rows;
    pv__kernel_rows_fn l2sq, dot;
    pv__kernel_cos_fn cos;
    pv__kernel_tile_fn l2sq_tile, dot_tile;
    uint32_t screen_queries, screen_rows; /* at most 12 and 32 */
    pv__kernel_screen_fn screen;          /* NULL: none */
} pv__kernel;

/* The best one for a CPU with these PV__CPU_ bits (pv__sys_cpu, or fewer of them); 0 gives the
 * scalar one. A static constant, never NULL. */
PV_PRIVATE const pv__kernel *pv__kernel_table(uint32_t cpu);
/* All that were compiled in, scalar first; NULL behind the last. */
PV_PRIVATE const pv__kernel *pv__kernel_at(size_t index);

struct pv__kernel_query;
struct pv__code_rows;
/* Distances of at most 64 rows. */
typedef void (*pv__measure_fn)(const struct pv__kernel_query *q, const struct pv__code_rows *rows,
                               float *out);

/* A query made ready. Keeps pointers to the vector and the room, no copies. */
typedef struct pv__kernel_query {
    const void *vector; /* its elements, as those of rows */
    const float *wide;  /* f32, f16: the same as f32 */
    uint32_t dims;
    uint32_t type;            /* PV_TYPE_, not 0 */
    uint32_t metric;          /* PV_METRIC_, not 0 */
    float inv_norm;           /* cosine: 1 / |query| */
    bool exact;               /* cosine: |query| is out of range, all rows take the slow way */
    double norm2;             /* i8, f16 and cosine */
    pv__measure_fn distances; /* NULL: f32 by l2, cosine or dot */
    const struct pv__code_floats *floats;
    const struct pv__code_ints *ints;
} pv__kernel_query;
/* Of f32. False when the metric is none of PV_METRIC_L2, _COSINE, _DOT. */
PV_PRIVATE bool pv__kernel_query_init(pv__kernel_query *q, unsigned metric, const float *vector,
                                      uint32_t dims);
/* Of any elements. room: pv__kernel_query_room bytes, aligned as a float. cpu: PV__CPU_ bits. False
 * when the two do not go together (pv__measure_exists). */
PV_PRIVATE size_t pv__kernel_query_room(uint32_t type, uint32_t dims);
PV_PRIVATE bool pv__kernel_query_of(pv__kernel_query *q, uint32_t cpu, uint32_t type,
                                    unsigned metric, const void *vector, uint32_t dims, void *room);

/* One query against n rows, `stride` bytes apart. */
PV_PRIVATE void pv__kernel_scan(const pv__kernel *k, const pv__kernel_query *q, const void *rows,
                                size_t stride, size_t n, float *out);
/* The same for rows anywhere. */
PV_PRIVATE void pv__kernel_gather(const pv__kernel *k, const pv__kernel_query *q,
                                  const uint8_t *const *rows, size_t n, float *out);
/* The same for who wants near rows only: bit r % 64 of bits[r / 64] says that row r is within
 * `bound`; out[r] is set for these, and need not be for others. rows holds n + PV__KERNEL_AHEAD
 * pointers: the last are of rows that are probably asked for next, or any addresses, which are
 * fetched but never read. once: so much is gone over that no row will be in a cache when it is
 * wanted again. */
#define PV__KERNEL_AHEAD 16u
PV_PRIVATE void pv__kernel_near(const pv__kernel *k, const pv__kernel_query *q,
                                const uint8_t *const *rows, size_t n, bool once, float bound,
                                float *out, uint64_t *bits);
PV_PRIVATE float pv__kernel_pair(const pv__kernel *k, const pv__kernel_query *q, const void *row);
/* Queries of the same metric and dims against n rows; each row comes from memory once.
 * out[i * out_stride + r] is the distance of query i and row r. */
PV_PRIVATE void pv__kernel_many(const pv__kernel *k, const pv__kernel_query *queries,
                                size_t query_count, const uint8_t *const *rows, size_t n,
                                float *out, size_t out_stride);

/* Distance in double precision, rounded once: the slow way, and what tests compare with. */
PV_PRIVATE float pv__kernel_exact(unsigned metric, const float *query, const void *row,
                                  size_t dims);
PV_PRIVATE float pv__measure_exact(uint32_t type, unsigned metric, const void *query,
                                   const void *row, size_t dims);

/* ---- for the files of this folder ---------------------------------------------------------- */

/* Distances of at most 64 rows; `rows` holds n + ahead pointers, as above. */
PV_PRIVATE void pv__measure_block(const pv__kernel_query *q, const uint8_t *const *rows, size_t n,
                                  size_t ahead, float *out);

PV_PRIVATE const pv__kernel *pv__kernel_scalar(void);
#if defined(__x86_64__) && defined(__GNUC__)
#define PV__KERNEL_X86 1
PV_PRIVATE const pv__kernel *pv__kernel_avx2(void);
PV_PRIVATE const pv__kernel *pv__kernel_avx512(void);
#else
#define PV__KERNEL_X86 0
#endif
#if defined(__aarch64__)
#define PV__KERNEL_ARM 1
PV_PRIVATE const pv__kernel *pv__kernel_neon(void);
#else
#define PV__KERNEL_ARM 0
#endif
/* Can the compiler do dot products of bytes, in one function if not in all? */
#if defined(__ARM_FEATURE_DOTPROD)
#define PV__KERNEL_DOTPROD 1
#elif PV__KERNEL_ARM && defined(__clang__)
#define PV__KERNEL_DOTPROD (__clang_major__ >= 16)
#elif PV__KERNEL_ARM && defined(__GNUC__)
#define PV__KERNEL_DOTPROD 1
#else
#define PV__KERNEL_DOTPROD 0
#endif

#if defined(__GNUC__)
#define PV__KERNEL_INLINE static inline __attribute__((always_inline))
#else
#define PV__KERNEL_INLINE static inline
#endif
PV__KERNEL_INLINE void pv__kernel_fetch(bool once, const uint8_t *p) {
    if (once) {
        PV_PREFETCH_ONCE(p);
    } else {
        PV_PREFETCH(p);
    }
}
/* Loops over a handful of registers must disappear also at -O2, where gcc keeps them. */
#if defined(__clang__)
#define PV__KERNEL_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define PV__KERNEL_UNROLL _Pragma("GCC unroll 16")
#else
#define PV__KERNEL_UNROLL
#endif

#endif
