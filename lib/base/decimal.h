/* SPDX-License-Identifier: Apache-2.0 */
/* decimal.h - exact conversion between binary floating point and decimal digits, for str.c. */
#ifndef PV_BASE_DECIMAL_H
#define PV_BASE_DECIMAL_H

#include "base/base.h"

/* Decimal digits beyond this many can only say "a little more": the midpoint of two neighbouring
 * doubles has at most 767 significant digits. */
#define PV__DECIMAL_DIGITS_MAX 800

/* The shortest digits that identify m * 2^e2 (m > 0) between its neighbours, and of those the
 * nearest to it: 0.d1d2...dn * 10^(*out_point). narrow_below: the gap to the next smaller number
 * is half of the gap above. m even counts the exact midpoints in. Returns n, at most 17. */
PV_PRIVATE int pv__decimal_shortest(uint64_t m, int e2, bool narrow_below, char out_digits[20],
                                    int *out_point);
/* w * 10^exp10 correctly rounded, when 128-bit integers suffice (|exp10| <= 27); else false. */
PV_PRIVATE bool pv__decimal_round_small(uint64_t w, int64_t exp10, double *out);
/* digits (n <= PV__DECIMAL_DIGITS_MAX, the first not '0') times 10^exp10, correctly rounded.
 * False: rounds to infinity. */
PV_PRIVATE bool pv__decimal_round(const char *digits, size_t n, int64_t exp10, double *out);

#endif
