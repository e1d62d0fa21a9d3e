/* SPDX-License-Identifier: Apache-2.0 */
/* rotate.c - a random rotation in n log n: what spreads every vector evenly over its elements, so
 * that one set of levels fits all data.
 *
 *      n a power of two   3 rounds of   signs / sqrt(n), Hadamard transform
 *      else               3 rounds of   n is cut into powers of two, the largest first (in the
 *                                       second round last); signs and transform of each piece;
 *                                       a, b -> (a + b) / sqrt(2), (a - b) / sqrt(2) of the halves
 *
 * Tried first: rounds that transform only the first or last power of two and turn the halves, as
 * the "FhtKac" rotator of the RaBitQ library. An element that two rounds leave out keeps a
 * sixteenth of its energy in one place, which is 7 deviations at 768 elements: vectors of a single
 * element lost twice as much as others. */
#include <math.h>

#include "quant/kinds.h"

/* One piece of p elements. */
static void rotate_piece(const pv__code_kernel *kernel, float *v, size_t p, uint64_t seed,
                         double scale) {
    kernel->signs(v, p, seed, (float)(scale / sqrt((double)p)));
    kernel->fht(v, p);
}

void pv__code_rotate(const pv__code_kernel *kernel, float *v, size_t n, uint64_t seed) {
    const bool whole = (n & (n - 1)) == 0;
    const double scale = whole ? 1.0 : sqrt(0.5);
    for (uint64_t round = 0; round < 3; round++) {
        const uint64_t round_seed = pv__code_signs(seed, round);
        for (size_t p = 64; p <= n; p *= 2) {
            if ((n & p) != 0) {
                /* smaller pieces stand before it in the second round, else larger ones */
                const size_t at = round == 1 ? n & (p - 1) : n & ~(2 * p - 1);
                rotate_piece(kernel, v + at, p, pv__code_signs(round_seed, p), scale);
            }
        }
        if (!whole) {
            kernel->turn(v, v + n / 2, n / 2);
        }
    }
}
