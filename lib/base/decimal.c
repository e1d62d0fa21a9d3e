/* SPDX-License-Identifier: Apache-2.0 */
/* decimal.c - exact binary <-> decimal conversion on a small fixed-size big integer.
 *
 * Writing is Burger and Dybvig's free-format algorithm ("Printing Floating-Point Numbers Quickly
 * and Accurately", 1996), whose every step is integer arithmetic. Reading makes the fraction
 * N / M of two big integers, takes its first 64 bits by long division and rounds with the
 * knowledge whether a remainder is left. Both are slow (microseconds) and exact; str.c has
 * quick ways for what is common, each of which decides only what it can decide exactly. */
#include "base/decimal.h"

/* The largest number is 10^(800 + 324), 3735 bits, times 2 to the 64 in the long division. */
#define DECIMAL_LIMBS 128

typedef struct decimal_big {
    uint32_t n; /* limbs in use, the highest is not 0; 0 is the number 0 */
    uint32_t limb[DECIMAL_LIMBS];
} decimal_big;

__extension__ typedef unsigned __int128 decimal_u128;

static void decimal_set(decimal_big *a, uint64_t v) {
    a->limb[0] = (uint32_t)v;
    a->limb[1] = (uint32_t)(v >> 32);
    a->n = a->limb[1] ? 2 : a->limb[0] ? 1 : 0;
}

static void decimal_mul_add(decimal_big *a, uint32_t mul, uint32_t add) {
    uint64_t carry = add;
    for (uint32_t i = 0; i < a->n; i++) {
        carry += (uint64_t)a->limb[i] * mul;
        a->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry != 0) {
        PV_DEBUG_ASSERT(a->n < DECIMAL_LIMBS);
        a->limb[a->n++] = (uint32_t)carry;
    }
}

static void decimal_mul_pow10(decimal_big *a, unsigned e) {
    for (; e >= 9; e -= 9) {
        decimal_mul_add(a, 1000000000u, 0);
    }
    uint32_t small = 1;
    for (; e > 0; e--) {
        small *= 10;
    }
    decimal_mul_add(a, small, 0);
}

static void decimal_shl(decimal_big *a, unsigned bits) {
    const unsigned limbs = bits / 32;
    const unsigned rest = bits % 32;
    if (a->n == 0) {
        return;
    }
    PV_DEBUG_ASSERT(a->n + limbs < DECIMAL_LIMBS);
    a->limb[a->n] = 0;
    for (uint32_t i = a->n + 1; i-- > 0;) { /* downwards: source and target overlap */
        const uint32_t low = i > 0 && rest != 0 ? a->limb[i - 1] >> (32 - rest) : 0;
        a->limb[i + limbs] = (a->limb[i] << rest) | low;
    }
    memset(a->limb, 0, limbs * sizeof a->limb[0]);
    a->n += limbs + 1;
    a->n -= a->limb[a->n - 1] == 0;
}

static int decimal_cmp(const decimal_big *a, const decimal_big *b) {
    if (a->n != b->n) {
        return a->n < b->n ? -1 : 1;
    }
    for (uint32_t i = a->n; i-- > 0;) {
        if (a->limb[i] != b->limb[i]) {
            return a->limb[i] < b->limb[i] ? -1 : 1;
        }
    }
    return 0;
}

/* a -= b, where a >= b */
static void decimal_sub(decimal_big *a, const decimal_big *b) {
    int64_t carry = 0;
    for (uint32_t i = 0; i < a->n; i++) {
        carry += (int64_t)a->limb[i] - (i < b->n ? (int64_t)b->limb[i] : 0);
        a->limb[i] = (uint32_t)(carry & 0xFFFFFFFF);
        carry = carry < 0 ? -1 : 0;
    }
    while (a->n > 0 && a->limb[a->n - 1] == 0) {
        a->n--;
    }
}

/* compare a + b with c */
static int decimal_cmp_sum(const decimal_big *a, const decimal_big *b, const decimal_big *c) {
    decimal_big sum = *a;
    uint64_t carry = 0;
    for (uint32_t i = 0; i < b->n || carry != 0; i++) {
        PV_DEBUG_ASSERT(i < DECIMAL_LIMBS);
        carry += (i < sum.n ? sum.limb[i] : 0) + (uint64_t)(i < b->n ? b->limb[i] : 0);
        sum.limb[i] = (uint32_t)carry;
        carry >>= 32;
        sum.n = PV_MAX(sum.n, i + 1);
    }
    return decimal_cmp(&sum, c);
}

static unsigned decimal_bits(const decimal_big *a) {
    return a->n == 0 ? 0 : 32 * a->n - (unsigned)__builtin_clz(a->limb[a->n - 1]);
}

/* The state of the writer: the value is r / s, half the gaps to its neighbours are up / s and
 * down / s. */
typedef struct decimal_writer {
    decimal_big r, s, up, down;
} decimal_writer;

static void decimal_writer_init(decimal_writer *w, uint64_t m, int e2, bool narrow_below) {
    const unsigned extra = narrow_below ? 2 : 1; /* so that half of the smaller gap is whole */
    decimal_set(&w->r, m);
    decimal_set(&w->s, 1);
    decimal_set(&w->up, 1);
    decimal_set(&w->down, 1);
    decimal_shl(&w->r, extra + (e2 > 0 ? (unsigned)e2 : 0));
    decimal_shl(&w->s, extra + (e2 < 0 ? (unsigned)-e2 : 0));
    decimal_shl(&w->up, extra - 1 + (e2 > 0 ? (unsigned)e2 : 0));
    decimal_shl(&w->down, e2 > 0 ? (unsigned)e2 : 0);
}

/* Scale by a power of ten so that the first digit comes right behind the point. */
static int decimal_writer_scale(decimal_writer *w, uint64_t m, int e2, bool even) {
    const int bits = e2 + 63 - __builtin_clzll(m); /* floor(log2(value)) */
    /* floor(bits * log10(2)) by 1233 / 4096, right for |bits| < 2000 or one too small; never
     * above the true place, which the test below relies on. */
    int point = (bits * 1233) >> 12;
    if (bits < 0) {
        point--;
    }
    if (point >= 0) {
        decimal_mul_pow10(&w->s, (unsigned)point);
    } else {
        decimal_mul_pow10(&w->r, (unsigned)-point);
        decimal_mul_pow10(&w->up, (unsigned)-point);
        decimal_mul_pow10(&w->down, (unsigned)-point);
    }
    while (decimal_cmp_sum(&w->r, &w->up, &w->s) >= (even ? 0 : 1)) {
        decimal_mul_add(&w->s, 10, 0);
        point++;
    }
    return point;
}

int pv__decimal_shortest(uint64_t m, int e2, bool narrow_below, char out_digits[20],
                         int *out_point) {
    const bool even = (m & 1) == 0;
    decimal_writer w;
    decimal_writer_init(&w, m, e2, narrow_below);
    *out_point = decimal_writer_scale(&w, m, e2, even);
    for (int n = 0; n < 20;) {
        decimal_mul_add(&w.r, 10, 0);
        decimal_mul_add(&w.up, 10, 0);
        decimal_mul_add(&w.down, 10, 0);
        char digit = '0';
        while (decimal_cmp(&w.r, &w.s) >= 0) {
            decimal_sub(&w.r, &w.s);
            digit++;
        }
        const bool low = decimal_cmp(&w.r, &w.down) < (even ? 1 : 0);
        const bool high = decimal_cmp_sum(&w.r, &w.up, &w.s) >= (even ? 0 : 1);
        if (high && (!low || decimal_cmp_sum(&w.r, &w.r, &w.s) >= 0)) {
            digit++;
        }
        out_digits[n++] = digit;
        if (low || high) {
            return n;
        }
    }
    return 20; /* not reached: 17 digits tell all doubles apart */
}

/* q * 2^e2, q > 0, and a little more when sticky: rounded to nearest, ties to even. */
static bool decimal_pack(uint64_t q, int e2, bool sticky, double *out) {
    const int lead = __builtin_clzll(q);
    q <<= lead;
    const int top = e2 - lead + 63; /* the value is in [2^top, 2^(top + 1)) */
    const int shift = top >= -1022 ? 11 : 11 - 1022 - top;
    uint64_t m = 0;
    if (top > 1023) {
        return false;
    }
    if (shift <= 64) {
        const uint64_t half = 1ull << (shift - 1);
        const uint64_t rest = shift == 64 ? q : q & (2 * half - 1);
        m = shift == 64 ? 0 : q >> shift;
        if (rest > half || (rest == half && (sticky || (m & 1) != 0))) {
            m++; /* may carry into the exponent below, which is then right, too */
        }
    }
    /* The hidden bit of m adds the missing 1 to the exponent of a normal number. */
    const uint64_t bits = m + (top >= -1022 ? (uint64_t)(top + 1022) << 52 : 0);
    if (bits >= 0x7FF0000000000000u) {
        return false;
    }
    memcpy(out, &bits, sizeof *out);
    return true;
}

bool pv__decimal_round_small(uint64_t w, int64_t exp10, double *out) {
    uint64_t pow5 = 1;
    if (exp10 < -27 || exp10 > 27) {
        return false;
    }
    if (w == 0) {
        *out = 0.0;
        return true;
    }
    for (int64_t i = exp10 < 0 ? -exp10 : exp10; i > 0; i--) {
        pow5 *= 5; /* 5^27 has 63 bits */
    }
    const int k = (int)exp10;
    if (k >= 0) { /* w * 5^k * 2^k */
        const decimal_u128 product = (decimal_u128)w * pow5;
        const uint64_t high = (uint64_t)(product >> 64);
        if (high == 0) {
            return decimal_pack((uint64_t)product, k, false, out);
        }
        const int lead = __builtin_clzll(high);
        const decimal_u128 up = product << lead;
        return decimal_pack((uint64_t)(up >> 64), k + 64 - lead, (uint64_t)up != 0, out);
    }
    /* w / 5^-k * 2^k: both to 64 bits, then one division whose quotient has 64 bits */
    const int lead_w = __builtin_clzll(w);
    const int lead_d = __builtin_clzll(pow5);
    const uint64_t a = w << lead_w;
    const uint64_t d = pow5 << lead_d;
    const int up = a < d ? 64 : 63;
    const decimal_u128 dividend = (decimal_u128)a << up;
    const uint64_t q = (uint64_t)(dividend / d);
    const bool rest = dividend != (decimal_u128)q * d;
    return decimal_pack(q, k + lead_d - lead_w - up, rest, out);
}

bool pv__decimal_round(const char *digits, size_t n, int64_t exp10, double *out) {
    const int64_t point = (int64_t)n + exp10; /* the value is below 10^point */
    if (point > 310) {
        return false;
    }
    if (point < -323 || n > PV__DECIMAL_DIGITS_MAX) { /* below half of the smallest */
        *out = 0.0;
        return true;
    }
    decimal_big num;
    decimal_big den;
    decimal_set(&num, 0);
    decimal_set(&den, 1);
    for (size_t i = 0; i < n; i++) {
        decimal_mul_add(&num, 10, (uint32_t)(digits[i] - '0'));
    }
    decimal_mul_pow10(exp10 >= 0 ? &num : &den, (unsigned)(exp10 >= 0 ? exp10 : -exp10));
    const int shift = (int)decimal_bits(&num) - (int)decimal_bits(&den);
    decimal_shl(shift >= 0 ? &den : &num, (unsigned)(shift >= 0 ? shift : -shift));
    uint64_t q = 0; /* num / den is in (1/2, 2) */
    for (int i = 0; i < 64; i++) {
        q <<= 1;
        if (decimal_cmp(&num, &den) >= 0) {
            decimal_sub(&num, &den);
            q |= 1;
        }
        decimal_shl(&num, 1);
    }
    return decimal_pack(q, shift - 63, num.n != 0, out);
}

#undef DECIMAL_LIMBS
