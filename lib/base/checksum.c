/* SPDX-License-Identifier: Apache-2.0 */
/* checksum.c - the one place where xxHash is compiled in. XXH3 gives the same 64 bits on every
 * machine and instruction set; a golden test holds it there, because files depend on it.
 *
 * xxhash.h chooses its instruction set when it is compiled: SSE2 in a build that runs on every
 * x86-64. So inputs of more than 240 bytes are hashed here, with AVX2 where the machine has it, as
 * the specification of XXH3 has it (xxHash, doc/xxhash_spec.md). 256 bytes, the blocks of the
 * database checksum, by themselves: making the secret in memory would cost more than they do. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/checksum.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define CHECKSUM_AVX2 1
#include <immintrin.h>
#else
#define CHECKSUM_AVX2 0
#endif

#if CHECKSUM_AVX2

#define CHECKSUM_TARGET __attribute__((target("avx2")))
#define CHECKSUM_INLINE CHECKSUM_TARGET static inline __attribute__((always_inline))
#define CHECKSUM_LONG 240u                   /* inputs up to this are XXH3's short ones */
#define CHECKSUM_SMALL 256u                  /* the short one of the long */
#define CHECKSUM_STRIPE 64u                  /* bytes: eight sums, one from each 8 of them */
#define CHECKSUM_SECRET 192u                 /* bytes */
#define CHECKSUM_BLOCK_STRIPES 16u           /* as the secret moves on by 8 with each stripe */
#define CHECKSUM_LAST (CHECKSUM_SECRET - 71) /* where the secret of the last stripe begins */
#define CHECKSUM_MERGE 11u                   /* and that of the end */
#define CHECKSUM_AHEAD 512u                  /* bytes fetched ahead */

typedef struct checksum_sums {
    __m256i low, high;
} checksum_sums;

CHECKSUM_INLINE __m256i checksum_load(const uint8_t *p) {
    return _mm256_loadu_si256((const void *)p);
}

CHECKSUM_INLINE __m256i checksum_add(__m256i sums, __m256i data, __m256i secret) {
    const __m256i key = _mm256_xor_si256(data, secret);
    const __m256i product = _mm256_mul_epu32(key, _mm256_srli_epi64(key, 32));
    const __m256i swapped = _mm256_shuffle_epi32(data, _MM_SHUFFLE(1, 0, 3, 2));
    return _mm256_add_epi64(product, _mm256_add_epi64(sums, swapped));
}

CHECKSUM_INLINE checksum_sums checksum_stripe(checksum_sums s, const uint8_t *p,
                                              const uint8_t *secret) {
    s.low = checksum_add(s.low, checksum_load(p), checksum_load(secret));
    s.high = checksum_add(s.high, checksum_load(p + 32), checksum_load(secret + 32));
    return s;
}

CHECKSUM_INLINE __m256i checksum_scramble(__m256i sums, __m256i secret) {
    const __m256i prime = _mm256_set1_epi32((int)XXH_PRIME32_1);
    const __m256i mixed = _mm256_xor_si256(sums, _mm256_srli_epi64(sums, 47));
    const __m256i key = _mm256_xor_si256(mixed, secret);
    const __m256i high = _mm256_mul_epu32(_mm256_srli_epi64(key, 32), prime);
    return _mm256_add_epi64(_mm256_mul_epu32(key, prime), _mm256_slli_epi64(high, 32));
}

/* XXH3's own, with the seed added to its even words and taken from the odd ones. */
CHECKSUM_INLINE void checksum_secret(uint64_t seed, uint8_t secret[CHECKSUM_SECRET]) {
    const __m256i add = _mm256_set_epi64x((long long)(0 - seed), (long long)seed,
                                          (long long)(0 - seed), (long long)seed);
    for (size_t i = 0; i < CHECKSUM_SECRET; i += 32) {
        const __m256i v = _mm256_add_epi64(checksum_load(XXH3_kSecret + i), add);
        _mm256_storeu_si256((void *)(secret + i), v);
    }
}

/* What is in the sums at the beginning. */
CHECKSUM_INLINE checksum_sums checksum_start(void) {
    const checksum_sums s = {_mm256_set_epi64x((long long)XXH_PRIME64_3, (long long)XXH_PRIME64_2,
                                               (long long)XXH_PRIME64_1, (long long)XXH_PRIME32_3),
                             _mm256_set_epi64x((long long)XXH_PRIME32_1, (long long)XXH_PRIME64_5,
                                               (long long)XXH_PRIME32_2, (long long)XXH_PRIME64_4)};
    return s;
}

/* `keys`: the secret at its place for the end. */
CHECKSUM_INLINE uint64_t checksum_end(checksum_sums s, checksum_sums keys, uint64_t n) {
    uint64_t mixed[8];
    _mm256_storeu_si256((void *)mixed, _mm256_xor_si256(s.low, keys.low));
    _mm256_storeu_si256((void *)(mixed + 4), _mm256_xor_si256(s.high, keys.high));
    uint64_t h = n * XXH_PRIME64_1;
    for (size_t i = 0; i < 8; i += 2) {
        h += XXH3_mul128_fold64(mixed[i], mixed[i + 1]);
    }
    h ^= h >> 37;
    h *= 0x165667919E3779F9u;
    return h ^ (h >> 32);
}

/* Eight words of the secret from word `first` on; `add`: what the seed adds to word `first`, and
 * takes from the next. */
CHECKSUM_INLINE checksum_sums checksum_words(size_t first, __m256i add) {
    const checksum_sums s = {_mm256_add_epi64(checksum_load(XXH3_kSecret + 8 * first), add),
                             _mm256_add_epi64(checksum_load(XXH3_kSecret + 8 * first + 32), add)};
    return s;
}

/* The secret `bytes` behind a, of which b is the next word. */
CHECKSUM_INLINE checksum_sums checksum_between(checksum_sums a, checksum_sums b, int bytes) {
    const __m128i down = _mm_cvtsi32_si128(8 * bytes), up = _mm_cvtsi32_si128(64 - 8 * bytes);
    const checksum_sums s = {
        _mm256_or_si256(_mm256_srl_epi64(a.low, down), _mm256_sll_epi64(b.low, up)),
        _mm256_or_si256(_mm256_srl_epi64(a.high, down), _mm256_sll_epi64(b.high, up))};
    return s;
}

CHECKSUM_INLINE checksum_sums checksum_stripe_by(checksum_sums s, const uint8_t *p,
                                                 checksum_sums secret) {
    s.low = checksum_add(s.low, checksum_load(p), secret.low);
    s.high = checksum_add(s.high, checksum_load(p + 32), secret.high);
    return s;
}

/* Of CHECKSUM_SMALL bytes: three stripes with the secret from its words 0, 1 and 2 on, and the last
 * with that from its byte CHECKSUM_LAST on, which is byte 1 of word 15. */
CHECKSUM_TARGET static uint64_t checksum_small(const uint8_t *p, uint64_t seed) {
    const long long plus = (long long)seed, minus = (long long)(0 - seed);
    const __m256i even = _mm256_set_epi64x(minus, plus, minus, plus);
    const __m256i odd = _mm256_set_epi64x(plus, minus, plus, minus);
    const checksum_sums second = checksum_words(1, odd), third = checksum_words(2, even);
    checksum_sums s = checksum_start();
    s = checksum_stripe_by(s, p, checksum_words(0, even));
    s = checksum_stripe_by(s, p + CHECKSUM_STRIPE, second);
    s = checksum_stripe_by(s, p + 2 * CHECKSUM_STRIPE, third);
    s = checksum_stripe_by(
        s, p + 3 * CHECKSUM_STRIPE,
        checksum_between(checksum_words(15, odd), checksum_words(16, even), CHECKSUM_LAST % 8));
    return checksum_end(s, checksum_between(second, third, CHECKSUM_MERGE % 8), CHECKSUM_SMALL);
}

CHECKSUM_TARGET static uint64_t checksum_avx2(const uint8_t *p, size_t n, uint64_t seed) {
    uint8_t secret[CHECKSUM_SECRET];
    checksum_sums s = checksum_start();
    const uint8_t *at = p, *const last = p + n - CHECKSUM_STRIPE;
    checksum_secret(seed, secret);
    for (size_t stripe = 0; at <= last - 1; at += CHECKSUM_STRIPE) {
        PV_PREFETCH((const uint8_t *)((uintptr_t)at + CHECKSUM_AHEAD));
        s = checksum_stripe(s, at, secret + stripe * 8);
        if (++stripe == CHECKSUM_BLOCK_STRIPES) {
            const uint8_t *const end = secret + CHECKSUM_SECRET - CHECKSUM_STRIPE;
            s.low = checksum_scramble(s.low, checksum_load(end));
            s.high = checksum_scramble(s.high, checksum_load(end + 32));
            stripe = 0;
        }
    }
    s = checksum_stripe(s, last, secret + CHECKSUM_LAST);
    const checksum_sums keys = {checksum_load(secret + CHECKSUM_MERGE),
                                checksum_load(secret + CHECKSUM_MERGE + 32)};
    return checksum_end(s, keys, (uint64_t)n);
}

#endif

uint64_t pv__hash64(const void *p, size_t n, uint64_t seed) {
#if CHECKSUM_AVX2
    if (n > CHECKSUM_LONG && __builtin_cpu_supports("avx2")) {
        return n == CHECKSUM_SMALL ? checksum_small(p, seed) : checksum_avx2(p, n, seed);
    }
#endif
    return (uint64_t)XXH3_64bits_withSeed(p, n, (XXH64_hash_t)seed);
}

#if CHECKSUM_AVX2
#undef CHECKSUM_TARGET
#undef CHECKSUM_INLINE
#undef CHECKSUM_LONG
#undef CHECKSUM_SMALL
#undef CHECKSUM_STRIPE
#undef CHECKSUM_SECRET
#undef CHECKSUM_BLOCK_STRIPES
#undef CHECKSUM_LAST
#undef CHECKSUM_MERGE
#undef CHECKSUM_AHEAD
#endif
#undef CHECKSUM_AVX2
