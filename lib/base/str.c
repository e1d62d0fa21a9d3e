/* SPDX-License-Identifier: Apache-2.0 */
/* str.c - numbers as text and UTF-8, the same under every locale.
 *
 * Reading a double:  up to 15 digits, small exponent  -> one exact multiplication or division
 *                    19 digits, |exponent| <= 27      -> 128-bit integers (decimal.c)
 *                    more digits, same exponent       -> the same for the 19 first digits and for
 *                                                        one more; equal results settle it
 *                    everything else                  -> big integers (decimal.c)
 * Writing: numbers with at most 15 (float: 9) digits are found by a rounded multiplication and
 * checked exactly; the rest goes to decimal.c. */
#include "base/str.h"

#include <math.h>

#include "base/bytes.h"
#include "base/decimal.h"

static const double str_pow10[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                     1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                     1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}; /* all exact */

/* Length of the valid sequence at s, 0 when there is none. */
static size_t utf8_step(const unsigned char *s, size_t left) {
    const unsigned c = s[0];
    size_t n = 0;
    unsigned low = 0x80;
    unsigned high = 0xBF;
    if (c < 0x80) {
        return 1;
    }
    if (c >= 0xC2 && c <= 0xDF) {
        n = 2;
    } else if (c >= 0xE0 && c <= 0xEF) {
        n = 3;
        low = c == 0xE0 ? 0xA0 : low;   /* overlong */
        high = c == 0xED ? 0x9F : high; /* surrogates */
    } else if (c >= 0xF0 && c <= 0xF4) {
        n = 4;
        low = c == 0xF0 ? 0x90 : low;
        high = c == 0xF4 ? 0x8F : high; /* above U+10FFFF */
    }
    if (n == 0 || left < n || s[1] < low || s[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return n;
}

bool pv__utf8_valid(const char *s, size_t len, size_t *bad_at) {
    const unsigned char *p = (const unsigned char *)s;
    size_t i = 0;
    while (i < len) {
        while (len - i >= 8 && (pv__get64(p + i) & 0x8080808080808080u) == 0) {
            i += 8;
        }
        if (i == len) {
            break;
        }
        const size_t n = utf8_step(p + i, len - i);
        if (n == 0) {
            if (bad_at) {
                *bad_at = i;
            }
            return false;
        }
        i += n;
    }
    return true;
}

static size_t str_from_u64(char *out, uint64_t v) {
    char rev[20];
    size_t n = 0;
    do {
        rev[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    for (size_t i = 0; i < n; i++) {
        out[i] = rev[n - 1 - i];
    }
    return n;
}

size_t pv__str_from_i64(char out[24], int64_t v) {
    size_t n = 0;
    if (v < 0) {
        out[n++] = '-';
    }
    return n + str_from_u64(out + n, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

bool pv__str_to_i64(const char *s, size_t len, int64_t *out) {
    size_t i = 0;
    uint64_t v = 0;
    const bool minus = len > 0 && s[0] == '-';
    if (len > 0 && (s[0] == '-' || s[0] == '+')) {
        i = 1;
    }
    if (i == len) {
        return false;
    }
    const uint64_t max = (uint64_t)INT64_MAX + (minus ? 1 : 0);
    for (; i < len; i++) {
        const unsigned d = (unsigned)(unsigned char)s[i] - '0';
        if (d > 9 || v > (max - d) / 10) {
            return false;
        }
        v = v * 10 + d;
    }
    if (minus) {
        *out = v == max ? INT64_MIN : -(int64_t)v;
    } else {
        *out = (int64_t)v;
    }
    return true;
}

/* 0.d1...dn * 10^point as text. */
static size_t str_layout(char *out, const char *digits, int n, int point) {
    size_t len = 0;
    if (point > 21 || point < -5) {
        out[len++] = digits[0];
        if (n > 1) {
            out[len++] = '.';
            memcpy(out + len, digits + 1, (size_t)n - 1);
            len += (size_t)n - 1;
        }
        out[len++] = 'e';
        return len + pv__str_from_i64(out + len, point - 1);
    }
    if (point <= 0) {
        out[len++] = '0';
        out[len++] = '.';
        memset(out + len, '0', (size_t)-point);
        len += (size_t)-point;
        memcpy(out + len, digits, (size_t)n);
        return len + (size_t)n;
    }
    for (int i = 0; i < PV_MAX(n, point); i++) {
        if (i == point) {
            out[len++] = '.';
        }
        out[len++] = i < n ? digits[i] : '0';
    }
    return len;
}

/* d * 10^-scale as text, d without its trailing zeros. */
static size_t str_layout_scaled(char *out, uint64_t d, int scale) {
    char digits[20];
    int n = (int)str_from_u64(digits, d);
    const int point = n - scale;
    while (n > 1 && digits[n - 1] == '0') {
        n--;
    }
    return str_layout(out, digits, n, point);
}

/* 10^scale * v when |scale| <= 22: one rounding. */
static double str_scale(double v, int scale) {
    return scale >= 0 ? v * str_pow10[scale] : v / str_pow10[-scale];
}

/* v > 0 with at most 15 significant digits? All decimals of 15 digits are further apart than
 * doubles, so the one found is the only one that reads back to v and holds the shortest. */
static size_t str_double_quick(char *out, double v) {
    if (v < 1e-7 || v >= 1e21) {
        return 0;
    }
    int scale = 14; /* puts 15 digits before the point when v is in [1, 10) */
    for (double x = 10.0; scale > -7 && v >= x; x *= 10.0) { /* exact up to 1e22 */
        scale--;
    }
    for (double x = 1.0; scale < 22 && v < x; x /= 10.0) { /* a bad guess only misses */
        scale++;
    }
    const double scaled = str_scale(v, scale);
    if (!(scaled < 1e15)) {
        return 0;
    }
    const uint64_t d = (uint64_t)(scaled + 0.5);
    if (d == 0 || d > 999999999999999u || str_scale((double)d, -scale) != v) {
        return 0;
    }
    return str_layout_scaled(out, d, scale);
}

size_t pv__str_from_double(char out[32], double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    size_t len = 0;
    if (bits >> 63) {
        out[len++] = '-';
        v = -v;
    }
    if (v == 0.0) {
        out[len++] = '0';
        return len;
    }
    const size_t quick = str_double_quick(out + len, v);
    if (quick > 0) {
        return len + quick;
    }
    const uint64_t fraction = bits & 0xFFFFFFFFFFFFFu;
    const int exponent = (int)(bits >> 52 & 0x7FF);
    const uint64_t m = exponent > 0 ? fraction | 1ull << 52 : fraction;
    char digits[20];
    int point = 0;
    const int n = pv__decimal_shortest(m, PV_MAX(exponent, 1) - 1075, fraction == 0 && exponent > 1,
                                       digits, &point);
    return len + str_layout(out + len, digits, n, point);
}

/* The shortest decimal strictly between the midpoints low and high around the float v (both are
 * doubles), tried with 1, 2, ... 9 digits; 0 when a rounding here could have decided. */
static size_t str_float_quick(char *out, double v, double low, double high) {
    int scale = 0;
    for (double x = 1e-6; x <= v; x *= 10.0) {
        scale--;
    }
    scale += 6; /* one digit before the point, give or take one */
    for (int n = 0; n < 10; n++, scale++) {
        if (scale < -22 || scale > 22) {
            return 0;
        }
        const double scaled = str_scale(v, scale);
        const double whole = floor(scaled);
        const double rest = scaled - whole;
        if (fabs(rest - 0.5) < 1e-5 || scaled >= 1e10) {
            return 0; /* up or down? */
        }
        const double d = rest < 0.5 ? whole : whole + 1.0;
        const double t = str_scale(d, -scale);
        if (t == low || t == high) {
            return 0;
        }
        if (t > low && t < high) { /* rounding is monotone: so is the exact d * 10^-scale */
            return str_layout_scaled(out, (uint64_t)d, scale);
        }
    }
    return 0;
}

size_t pv__str_from_float(char out[32], float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    size_t len = 0;
    if (bits >> 31) {
        out[len++] = '-';
        v = -v;
    }
    if (v == 0.0f) {
        out[len++] = '0';
        return len;
    }
    const uint32_t fraction = bits & 0x7FFFFFu;
    const int exponent = (int)(bits >> 23 & 0xFF);
    const uint32_t m = exponent > 0 ? fraction | 1u << 23 : fraction;
    const int e2 = PV_MAX(exponent, 1) - 150;
    if (fraction != 0 && v >= 1e-6f && v < 1e9f) {
        const double half_gap = ldexp(1.0, e2 - 1);
        const size_t quick =
            str_float_quick(out + len, (double)v, (double)v - half_gap, (double)v + half_gap);
        if (quick > 0) {
            return len + quick;
        }
    }
    char digits[20];
    int point = 0;
    const int n = pv__decimal_shortest(m, e2, fraction == 0 && exponent > 1, digits, &point);
    const size_t total = len + str_layout(out + len, digits, n, point);
    double back = 0.0;
    if (!pv__str_to_double(out + len, total - len, &back) || (float)back != v) {
        /* So near a midpoint of floats that rounding twice goes wrong. */
        return len + pv__str_from_double(out + len, (double)v);
    }
    return total;
}

/* What a number's text says, before rounding. */
typedef struct str_number {
    const char *s;
    size_t first, end; /* where its digits (with a point perhaps) stand, leading zeros left out */
    size_t digits;     /* from first on */
    int64_t exp10;     /* of the last digit */
    uint64_t head;     /* the first 19 digits */
    bool minus;
} str_number;

static bool str_scan_exponent(const char *s, size_t len, size_t i, int64_t *exp10) {
    bool minus = false;
    int64_t e = 0;
    if (i < len && (s[i] == '-' || s[i] == '+')) {
        minus = s[i] == '-';
        i++;
    }
    if (i == len) {
        return false;
    }
    for (; i < len; i++) {
        const unsigned d = (unsigned)(unsigned char)s[i] - '0';
        if (d > 9) {
            return false;
        }
        e = e < INT64_MAX / 100 ? e * 10 + (int64_t)d : e; /* huge stays huge */
    }
    *exp10 += minus ? -e : e;
    return true;
}

static bool str_scan(const char *s, size_t len, str_number *x) {
    size_t i = 0;
    bool any = false;
    bool point = false;
    memset(x, 0, sizeof *x);
    x->s = s;
    if (len > 0 && (s[0] == '-' || s[0] == '+')) {
        x->minus = s[0] == '-';
        i = 1;
    }
    for (; i < len; i++) {
        const unsigned d = (unsigned)(unsigned char)s[i] - '0';
        if (s[i] == '.' && !point) {
            point = true;
            continue;
        }
        if (d > 9) {
            break;
        }
        any = true;
        x->exp10 -= point;
        if (x->digits == 0 && d == 0) {
            continue;
        }
        if (x->digits == 0) {
            x->first = i;
        }
        x->head = x->digits < 19 ? x->head * 10 + d : x->head;
        x->digits++;
    }
    x->end = i;
    if (!any) {
        return false;
    }
    if (i < len) {
        return (s[i] == 'e' || s[i] == 'E') && str_scan_exponent(s, len, i + 1, &x->exp10);
    }
    return true;
}

/* All digits, for big integers. */
static bool str_round_exact(const str_number *x, double *out) {
    char digits[PV__DECIMAL_DIGITS_MAX];
    const size_t keep = PV__DECIMAL_DIGITS_MAX - 1;
    size_t n = 0;
    bool more = false;
    for (size_t i = x->first; i < x->end; i++) {
        if (x->s[i] == '.') {
            continue;
        }
        if (n < keep) {
            digits[n++] = x->s[i];
        } else {
            more = more || x->s[i] != '0';
        }
    }
    int64_t exp10 = x->exp10 + (int64_t)(x->digits - n);
    if (more) {
        digits[n++] = '1';
        exp10--;
    }
    return pv__decimal_round(digits, n, exp10, out);
}

/* Without big integers, or false. */
static bool str_round_quick(const str_number *x, double *out) {
    if (x->digits <= 15 && x->exp10 >= -22 && x->exp10 <= 22) {
        *out = str_scale((double)x->head, (int)x->exp10); /* both exact: one rounding */
        return true;
    }
    if (x->digits <= 19) {
        return pv__decimal_round_small(x->head, x->exp10, out);
    }
    /* The true value lies between head and head + 1; rounding is monotone. */
    const int64_t exp10 = x->exp10 + (int64_t)(x->digits - 19);
    double next = 0.0;
    return pv__decimal_round_small(x->head, exp10, out) &&
           pv__decimal_round_small(x->head + 1, exp10, &next) && *out == next;
}

bool pv__str_to_double(const char *s, size_t len, double *out) {
    str_number x;
    double v = 0.0;
    if (!str_scan(s, len, &x)) {
        return false;
    }
    if (x.digits > 0 && !str_round_quick(&x, &v) && !str_round_exact(&x, &v)) {
        return false;
    }
    *out = x.minus ? -v : v;
    return true;
}
