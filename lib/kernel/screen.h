/* SPDX-License-Identifier: Apache-2.0 */
/* screen.h - many queries against many rows: which pairs can be near enough to be looked at?
 *
 *      rows ----> panels  [dim][32 rows]  }
 *      queries -> groups  [dim][12]       }  dot of 12 x 32 pairs at once, 24 registers of sums
 *                                            dot * scale[row] - shift[row] >= least[query] ?
 *                                            '-- no, nearly always: the pair is done
 *                                            '-- maybe: one bit; pv__kernel_pair decides
 *
 * A product of matrices costs half of summing squared differences, and needs no order of addition
 * that others share, because no distance comes out of it. It would be a bad way to compute |q - r|
 * (it cancels), so that all its errors are bounded and the bound is put into scale, shift and
 * least: a pair whose distance as pv__kernel_pair gives it is within the query's bound is never
 * dropped. With K = (dims + 16) * 2^-23, twice what a sum of dims fused products can be off:
 *
 *      l2      |q - r|^2 = |q|^2 + |r|^2 - 2 qr     scale 1      shift |r|^2 / 2 * (1 - 4 K)
 *              least = (|q|^2 * (1 - 2 K) - bound^2 * (1 + 4 K)) / 2
 *      dot     -qr                                  scale 1      shift -K |r|^2
 *              least = -bound - K |q|^2 - K |bound|
 *      cosine  1 - qr / |q||r|                      scale 1/|r|  shift 0
 *              least = |q| * (1 - bound - 4 K)
 *
 * (|q||r| <= (|q|^2 + |r|^2) / 2 parts what depends on both.) Rows whose squared norm is outside
 * [2^-80, 2^80] are always a maybe, and so is everything for such a query.
 *
 * Threads: what a pv__screen holds is for one thread; groups may be shared for reading. */
#ifndef PV_KERNEL_SCREEN_H
#define PV_KERNEL_SCREEN_H

#include "kernel/kernel.h"

#define PV__SCREEN_ROWS_MAX 512u /* in panels at once */

/* Does this table screen? All but the scalar one. */
PV_PRIVATE bool pv__screen_can(const pv__kernel *k);

/* ---- queries ---- */

/* Bytes of `count` queries in groups; 0 when that is too much. */
PV_PRIVATE size_t pv__screen_group_bytes(const pv__kernel *k, size_t dims, size_t count);
/* Fill groups (64-byte aligned) and norms (count squared norms). */
PV_PRIVATE void pv__screen_groups(const pv__kernel *k, const pv__kernel_query *queries,
                                  size_t count, float *groups, double *norm2);

/* ---- rows ---- */

/* How many rows of these dims to take at once, so that their panels stay in the cache: a multiple
 * of the panel's rows, at most PV__SCREEN_ROWS_MAX. */
PV_PRIVATE size_t pv__screen_rows(const pv__kernel *k, size_t dims);

typedef struct pv__screen {
    const pv__kernel *kernel;
    uint32_t metric, dims;
    size_t count;  /* rows in the panels */
    float *panels; /* the caller's: pv__screen_rows() * dims, 64-byte aligned */
    float scale[PV__SCREEN_ROWS_MAX], shift[PV__SCREEN_ROWS_MAX];
} pv__screen;
/* Copy rows into the panels, 1 .. pv__screen_rows() of them. Some query of the same dims. */
PV_PRIVATE void pv__screen_fill(pv__screen *s, const pv__kernel_query *some,
                                const uint8_t *const *rows, size_t count);

/* ---- pairs ---- */

/* Queries first .. first + n of one group (first is a multiple of kernel->screen_queries, n at
 * most that) against all rows of the panels. Bit r % 64 of out[i * PV__SCREEN_ROWS_MAX / 64 +
 * r / 64]: row r may be within bounds[i] of query first + i. Returns the number of bits. */
PV_PRIVATE size_t pv__screen_run(const pv__screen *s, const float *groups, const double *norm2,
                                 size_t first, size_t n, const float *bounds, uint64_t *out);

#endif
