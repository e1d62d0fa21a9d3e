/* SPDX-License-Identifier: Apache-2.0 */
/* str.h - text without the locale: numbers in and out, UTF-8. */
#ifndef PV_BASE_STR_H
#define PV_BASE_STR_H

#include "base/base.h"

/* Valid UTF-8 (no overlong forms, no surrogates, at most U+10FFFF)? *bad_at: first bad byte. */
PV_PRIVATE bool pv__utf8_valid(const char *s, size_t len, size_t *bad_at);
/* Write the shortest decimal text that reads back to the same double (RFC 8259 number; finite
 * only); returns its length, at most 32. No NUL. Shaped as in JavaScript: "1", "-0", "0.1",
 * "1e21", "1.5e-7". */
PV_PRIVATE size_t pv__str_from_double(char out[32], double v);
/* The shortest that reads back to the same float when read as a float, and also when read as a
 * double and then rounded to float. */
PV_PRIVATE size_t pv__str_from_float(char out[32], float v);
PV_PRIVATE size_t pv__str_from_i64(char out[24], int64_t v);
/* Parse all of s as a decimal floating-point number, correctly rounded (ties to even), whatever
 * the locale: [+-] digits [. digits] [e [+-] digits], a digit before or after the point. False
 * for anything else, for inf and nan, and for what rounds to infinity; too small gives 0. */
PV_PRIVATE bool pv__str_to_double(const char *s, size_t len, double *out);
PV_PRIVATE bool pv__str_to_i64(const char *s, size_t len, int64_t *out); /* exact or false */

#endif
