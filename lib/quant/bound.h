/* SPDX-License-Identifier: Apache-2.0 */
/* bound.h - what codes say for certain: no vector whose code is passed over can be as near as is
 * asked for. Distances that come out of code.h are estimates, and sigma is what they are off by as
 * a rule; here every error is bounded, that of the kernels too, so that an exact search may read
 * codes first and the vectors of what is left.
 *
 *      element of a row    off by at most  h = step (1/2 + 2^-13) + |mean| 2^-22
 *
 * Half a step is what rounding to the grid moves it by. The rest, twice what it can be: the grid is
 * placed in f32, so that its middle is off by 2^-24 of itself and at its ends what is cut as well;
 * mean and step are rounded to f32, the latter 255 times over. With r = sqrt(dims) h, o the error
 * of the query's own code (which is known), K what a kernel may be off by (kernel.h, screen.h), x'
 * and q' what the codes stand for:
 *
 *      l2      | |q - x| - |q' - x'| | <= r + o
 *      cosine  the same of unit vectors; there r is that of an x' of length 1, and x seen from the
 *              origin is within an angle of asin r from it: a chord of at most r + 0.415 r^3
 *      dot     | q x - q' x' | <= |q|_1 h + o |x'|
 *
 * |q' - x'| and q'x' are computed in f32 from integers; of the sum of what is added and subtracted
 * they are off by 2^-21, bounded with twice that, and that sum is at most 3 (dims dm^2 + spreads)
 * or |q'| |x'|. Rows whose numbers leave the range in which all this holds are always a maybe. */
#ifndef PV_QUANT_BOUND_H
#define PV_QUANT_BOUND_H

#include "quant/code.h"

#define PV__BOUND_ROWS 32u

typedef struct pv__bound {
    const pv__code *code;
    const void *query;
    double off;             /* of the query: o */
    double kernel;          /* K */
    double size, sum;       /* dot: at least |q'|; |q|_1 */
    double length;          /* dot: |q| */
    bool none;              /* nothing can be near enough */
    float reach;            /* how far codes may seem, but for what depends on the row */
    float by_step, by_mean; /* r, in step and mean; dot: |q|_1 h and what is like it */
    float by_size;          /* dot: in |x'| */
    float bend;             /* cosine: 0.415 */
    float most;             /* r is below it; dot: |x'| */
} pv__bound;

/* Can rows of this code be bounded? */
PV_PRIVATE bool pv__bound_can(const pv__code *c);
/* vector: of c->type; query: c->query_bytes, 64-byte aligned: prepared here, and kept by the caller
 * as long as b. False: nothing is known of this vector. */
PV_PRIVATE bool pv__bound_init(pv__bound *b, const pv__code *c, const void *vector, void *query);
/* From now on rows are asked for that a kernel may find within `distance`. */
PV_PRIVATE void pv__bound_within(pv__bound *b, float distance);
/* Bit i: row i may be; for these *low and *high say between what their distance lies, as a kernel
 * gives it. n is at most PV__BOUND_ROWS; of rows behind, as far as `all`, the first few are fetched
 * into the cache. */
PV_PRIVATE uint32_t pv__bound_rows(const pv__bound *b, const uint8_t *const *rows, size_t n,
                                   size_t all, float *out_low, float *out_high);

#endif
