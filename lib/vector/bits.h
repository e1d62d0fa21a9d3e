/* SPDX-License-Identifier: Apache-2.0 */
/* bits.h - bits in a page of the live bitmap: 504 little-endian words of 64, lowest bit first.
 * Header only, private to lib/vector. */
#ifndef PV_VECTOR_BITS_H
#define PV_VECTOR_BITS_H

#include "vector/vector.h"

#define PV__BITS_WORDS 504u
#define PV__BITS_PER_PAGE (PV__BITS_WORDS * 64u)

PV_STATIC_ASSERT(PV__BITS_WORDS * 8u == PV__SLOT_SIZE - PV__PAGE_HEAD, bits_page);

static inline bool pv__bits_test(const uint8_t *words, uint32_t bit) {
    return (words[bit / 8] >> bit % 8 & 1) != 0;
}

static inline void pv__bits_set(uint8_t *words, uint32_t bit, bool to) {
    const uint8_t mask = (uint8_t)(1u << bit % 8);
    words[bit / 8] = (uint8_t)(to ? words[bit / 8] | mask : words[bit / 8] & ~mask);
}

/* Set the bits [bit, bit + n). */
static inline void pv__bits_set_run(uint8_t *words, uint32_t bit, uint32_t n) {
    for (; n > 0 && (bit % 8 != 0 || n < 8); bit++, n--) {
        pv__bits_set(words, bit, true);
    }
    memset(words + bit / 8, 0xFF, n / 8);
    for (bit += n / 8 * 8, n %= 8; n > 0; bit++, n--) {
        pv__bits_set(words, bit, true);
    }
}

/* Up to 64 bits from `bit` on; bits behind the page are 0. */
static inline uint64_t pv__bits_get(const uint8_t *words, uint32_t bit, uint32_t n) {
    const uint32_t w = bit / 64, shift = bit % 64;
    uint64_t v = pv__get64(words + (size_t)8 * w) >> shift;
    if (shift && shift + n > 64 && w + 1 < PV__BITS_WORDS) {
        v |= pv__get64(words + (size_t)8 * (w + 1)) << (64 - shift);
    }
    return n < 64 ? v & (((uint64_t)1 << n) - 1) : v;
}

/* Set bits in [bit, bit + n). */
static inline uint32_t pv__bits_count(const uint8_t *words, uint32_t bit, uint32_t n) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i += 64) {
        const uint64_t v = pv__bits_get(words, bit + i, PV_MIN(n - i, 64u));
        count += pv__bit_count(v);
    }
    return count;
}

/* Copy [bit, bit + n) to bit `to` of `out`, whose bits there are 0; returns how many are set. */
static inline uint32_t pv__bits_copy(const uint8_t *words, uint32_t bit, uint32_t n, uint64_t *out,
                                     uint32_t to) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < n;) {
        const uint32_t room = 64 - (to + i) % 64;
        const uint32_t now = PV_MIN(n - i, room);
        const uint64_t v = pv__bits_get(words, bit + i, now);
        out[(to + i) / 64] |= v << (to + i) % 64;
        count += pv__bit_count(v);
        i += now;
    }
    return count;
}

/* First bit in [from, end) that is `set`, or end. */
static inline uint32_t pv__bits_next(const uint8_t *words, uint32_t from, uint32_t end, bool set) {
    for (uint32_t i = from; i < end; i += 64) {
        const uint32_t n = PV_MIN(end - i, 64u);
        uint64_t v = pv__bits_get(words, i, n);
        if (!set) {
            v = ~v & (n < 64 ? ((uint64_t)1 << n) - 1 : UINT64_MAX);
        }
        if (v) {
            return i + (uint32_t)__builtin_ctzll(v);
        }
    }
    return end;
}

#endif
