/* SPDX-License-Identifier: Apache-2.0 */
/* code_int.c - sums over rows of signed bytes and of bits, for all instruction sets.
 *
 *      rows of bytes    differences and products as 16 bits, added in pairs to 32
 *                       |a - b| as a sum of absolute differences of bytes
 *      rows of bits     xor, and, or; bits that are set are counted
 *
 * All are integers: the same on every instruction set. Of 16,384 dimensions the largest sum is
 * below 2^31. Four rows share what is loaded of the query. The end of a row comes through a masked
 * load or a copy: nothing behind it is read. */
#include "kernel/code_kernel.h"

#include "os/sys.h"

#define INT_GROUP 4u

/* What is added up. DOT2 and BOTH give two sums a row: the product and the row's square, the bits
 * of both and those of either. */
enum { INT_L2, INT_DOT, INT_L1, INT_DOT2, INT_XOR, INT_BOTH };

/* int_<isa>_rows adds up `count` rows, 1 or INT_GROUP of them, a constant. */
#define INT_SUM(name, isa, attribute, rows_of, op)                                                 \
    attribute static void int_##isa##_##name(const uint8_t *query, size_t bytes,                   \
                                             const pv__code_rows *rows, int32_t *out,              \
                                             int32_t *out2) {                                      \
        size_t r = 0;                                                                              \
        for (; r + INT_GROUP <= rows->n; r += INT_GROUP) {                                         \
            pv__code_fetch(rows, r + PV__CODE_AHEAD, INT_GROUP);                                   \
            rows_of(op, INT_GROUP, query, bytes, rows->row + r, out + r, out2 ? out2 + r : out2);  \
        }                                                                                          \
        for (; r < rows->n; r++) {                                                                 \
            pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);                                           \
            rows_of(op, 1, query, bytes, rows->row + r, out + r, out2 ? out2 + r : out2);          \
        }                                                                                          \
    }
#define INT_BYTES(isa, attribute, rows_of)                                                         \
    INT_SUM(l2, isa, attribute, rows_of, INT_L2)                                                   \
    INT_SUM(dot, isa, attribute, rows_of, INT_DOT)                                                 \
    INT_SUM(dot2, isa, attribute, rows_of, INT_DOT2)
#define INT_BITS(isa, attribute, rows_of)                                                          \
    INT_SUM(xor, isa, attribute, rows_of, INT_XOR)                                                 \
    INT_SUM(both, isa, attribute, rows_of, INT_BOTH)
#define INT_TABLE(isa, l1_isa, bit_isa)                                                            \
    {                                                                                              \
        .i8_l2 = int_##isa##_l2, .i8_dot = int_##isa##_dot, .i8_dot2 = int_##isa##_dot2,           \
        .i8_l1 = int_##l1_isa##_l1, .bit_xor = int_##bit_isa##_xor,                                \
        .bit_both = int_##bit_isa##_both                                                           \
    }

/* ---- scalar ---------------------------------------------------------------------------------- */

PV__KERNEL_INLINE void int_scalar_bytes(unsigned op, size_t count, const uint8_t *query, size_t n,
                                        const uint8_t *const *row, int32_t *out, int32_t *out2) {
    for (size_t r = 0; r < count; r++) {
        int32_t sum = 0, sum2 = 0;
        for (size_t i = 0; i < n; i++) {
            const int32_t a = (int8_t)query[i], b = (int8_t)row[r][i], d = a - b;
            sum += op == INT_L2 ? d * d : op == INT_L1 ? (d < 0 ? -d : d) : a * b;
            sum2 += b * b;
        }
        out[r] = sum;
        if (op == INT_DOT2) {
            out2[r] = sum2;
        }
    }
}

PV__KERNEL_INLINE int32_t int_scalar_count(uint64_t v) { return (int32_t)pv__bit_count(v); }

PV__KERNEL_INLINE void int_scalar_bits(unsigned op, size_t count, const uint8_t *query, size_t n,
                                       const uint8_t *const *row, int32_t *out, int32_t *out2) {
    for (size_t r = 0; r < count; r++) {
        int32_t sum = 0, sum2 = 0;
        for (size_t i = 0; i < n; i += 8) {
            const size_t left = PV_MIN(n - i, (size_t)8);
            uint64_t a = 0, b = 0;
            memcpy(&a, query + i, left);
            memcpy(&b, row[r] + i, left);
            sum += int_scalar_count(op == INT_XOR ? a ^ b : a & b);
            sum2 += op == INT_BOTH ? int_scalar_count(a | b) : 0;
        }
        out[r] = sum;
        if (op == INT_BOTH) {
            out2[r] = sum2;
        }
    }
}

#define INT_PLAIN
INT_BYTES(scalar, INT_PLAIN, int_scalar_bytes)
INT_SUM(l1, scalar, INT_PLAIN, int_scalar_bytes, INT_L1)
INT_BITS(scalar, INT_PLAIN, int_scalar_bits)

static const pv__code_ints *int_scalar(void) {
    static const pv__code_ints table = INT_TABLE(scalar, scalar, scalar);
    return &table;
}

#if PV__KERNEL_X86
#include <immintrin.h>

/* ---- AVX2 ------------------------------------------------------------------------------------ */

#define INT_AVX2 __attribute__((target("avx2")))

/* n <= 32 bytes, zeros behind. */
INT_AVX2 PV__KERNEL_INLINE __m256i int_avx2_part(const uint8_t *p, size_t n) {
    uint8_t part[32] = {0};
    memcpy(part, p, n);
    return _mm256_loadu_si256((const void *)part);
}

INT_AVX2 PV__KERNEL_INLINE int32_t int_avx2_fold32(__m256i v) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1));
    return _mm_cvtsi128_si32(s);
}

INT_AVX2 PV__KERNEL_INLINE __m256i int_avx2_term(unsigned op, __m256i q, __m256i v) {
    const __m256i d = op == INT_L2 ? _mm256_sub_epi16(q, v) : q;
    return _mm256_madd_epi16(d, op == INT_L2 ? d : v);
}

/* 16 bytes of the query against those of each row. */
INT_AVX2 PV__KERNEL_INLINE void int_avx2_step(unsigned op, __m256i q, __m256i v, __m256i *acc,
                                              __m256i *acc2) {
    *acc = _mm256_add_epi32(*acc, int_avx2_term(op, q, v));
    if (op == INT_DOT2) {
        *acc2 = _mm256_add_epi32(*acc2, _mm256_madd_epi16(v, v));
    }
}

INT_AVX2 PV__KERNEL_INLINE __m256i int_avx2_wide(const uint8_t *p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)p));
}

INT_AVX2 PV__KERNEL_INLINE void int_avx2_bytes(unsigned op, size_t count, const uint8_t *query,
                                               size_t n, const uint8_t *const *row, int32_t *out,
                                               int32_t *out2) {
    __m256i acc[INT_GROUP], acc2[INT_GROUP];
    PV__KERNEL_UNROLL
    for (size_t r = 0; r < count; r++) {
        acc[r] = acc2[r] = _mm256_setzero_si256();
    }
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m256i q = int_avx2_wide(query + i);
        PV__KERNEL_UNROLL
        for (size_t r = 0; r < count; r++) {
            int_avx2_step(op, q, int_avx2_wide(row[r] + i), &acc[r], &acc2[r]);
        }
    }
    if (i < n) {
        const __m128i end = _mm256_castsi256_si128(int_avx2_part(query + i, n - i));
        const __m256i q = _mm256_cvtepi8_epi16(end);
        for (size_t r = 0; r < count; r++) {
            const __m128i v = _mm256_castsi256_si128(int_avx2_part(row[r] + i, n - i));
            int_avx2_step(op, q, _mm256_cvtepi8_epi16(v), &acc[r], &acc2[r]);
        }
    }
    PV__KERNEL_UNROLL
    for (size_t r = 0; r < count; r++) {
        out[r] = int_avx2_fold32(acc[r]);
        if (op == INT_DOT2) {
            out2[r] = int_avx2_fold32(acc2[r]);
        }
    }
}

/* Bits that are set in each byte, by two look-ups (Mula). */
INT_AVX2 PV__KERNEL_INLINE __m256i int_avx2_count(__m256i v) {
    const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1,
                                           2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i low = _mm256_set1_epi8(15);
    const __m256i a = _mm256_shuffle_epi8(table, _mm256_and_si256(v, low));
    const __m256i b = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(v, 4), low));
    return _mm256_add_epi8(a, b);
}

INT_AVX2 PV__KERNEL_INLINE void int_avx2_wide_step(unsigned op, __m256i q, __m256i v, __m256i *acc,
                                                   __m256i *acc2) {
    const __m256i zero = _mm256_setzero_si256(), flip = _mm256_set1_epi8(-128);
    if (op == INT_L1) { /* |a - b| of signed bytes is that of a + 128 and b + 128 */
        const __m256i a = _mm256_xor_si256(q, flip), b = _mm256_xor_si256(v, flip);
        *acc = _mm256_add_epi64(*acc, _mm256_sad_epu8(a, b));
        return;
    }
    const __m256i bits = op == INT_XOR ? _mm256_xor_si256(q, v) : _mm256_and_si256(q, v);
    *acc = _mm256_add_epi64(*acc, _mm256_sad_epu8(int_avx2_count(bits), zero));
    if (op == INT_BOTH) {
        const __m256i either = int_avx2_count(_mm256_or_si256(q, v));
        *acc2 = _mm256_add_epi64(*acc2, _mm256_sad_epu8(either, zero));
    }
}

/* 32 bytes at a time: sums of absolute differences, and bits. */
INT_AVX2 PV__KERNEL_INLINE void int_avx2_bits(unsigned op, size_t count, const uint8_t *query,
                                              size_t n, const uint8_t *const *row, int32_t *out,
                                              int32_t *out2) {
    __m256i acc[INT_GROUP], acc2[INT_GROUP];
    PV__KERNEL_UNROLL
    for (size_t r = 0; r < count; r++) {
        acc[r] = acc2[r] = _mm256_setzero_si256();
    }
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m256i q = _mm256_loadu_si256((const void *)(query + i));
        PV__KERNEL_UNROLL
        for (size_t r = 0; r < count; r++) {
            const __m256i v = _mm256_loadu_si256((const void *)(row[r] + i));
            int_avx2_wide_step(op, q, v, &acc[r], &acc2[r]);
        }
    }
    if (i < n) {
        const __m256i q = int_avx2_part(query + i, n - i);
        for (size_t r = 0; r < count; r++) {
            int_avx2_wide_step(op, q, int_avx2_part(row[r] + i, n - i), &acc[r], &acc2[r]);
        }
    }
    PV__KERNEL_UNROLL
    for (size_t r = 0; r < count; r++) { /* sums are in the low halves of 64 bits */
        out[r] = int_avx2_fold32(acc[r]);
        if (op == INT_BOTH) {
            out2[r] = int_avx2_fold32(acc2[r]);
        }
    }
}

INT_BYTES(avx2, INT_AVX2, int_avx2_bytes)
INT_SUM(l1, avx2, INT_AVX2, int_avx2_bits, INT_L1)
INT_BITS(avx2, INT_AVX2, int_avx2_bits)

static const pv__code_ints *int_avx2(void) {
    static const pv__code_ints table = INT_TABLE(avx2, avx2, avx2);
    return &table;
}

/* ---- AVX-512 --------------------------------------------------------------------------------- */

#define INT_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2")))
#define INT_POPCNT                                                                                 \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,avx512vpopcntdq")))

INT_AVX512 PV__KERNEL_INLINE __mmask64 int_avx512_mask(size_t left) {
    return left >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << left) - 1;
}

INT_AVX512 PV__KERNEL_INLINE __m512i int_avx512_term(unsigned op, __m512i q, __m512i v) {
    const __m512i d = op == INT_L2 ? _mm512_sub_epi16(q, v) : q;
    return _mm512_madd_epi16(d, op == INT_L2 ? d : v);
}

INT_AVX512 PV__KERNEL_INLINE void int_avx512_bytes(unsigned op, size_t count, const uint8_t *query,
                                                   size_t n, const uint8_t *const *row,
                                                   int32_t *out, int32_t *out2) {
    __m512i acc[INT_GROUP], acc2[INT_GROUP];
    PV__KERNEL_UNROLL
    for (size_t r = 0; r < count; r++) {
        acc[r] = acc2[r] = _mm512_setzero_si512();
    }
    for (size_t i = 0; i < n; i += 32) {
        const __mmask32 mask = (__mmask32)int_avx512_mask(PV_MIN(n - i, (size_t)32));
        const __m512i q = _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(mask, query + i));
        PV__KERNEL_UNROLL
        for (size_t r = 0; r < count; r++) {
            const __m512i v = _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(mask, row[r] + i));
            acc[r] = _mm512_add_epi32(acc[r], int_avx512_term(op, q, v));
            if (op == INT_DOT2) {
                acc2[r] = _mm512_add_epi32(acc2[r], _mm512_madd_epi16(v, v));
            }
        }
    }
    PV__KERNEL_UNROLL
    for (size_t r = 0; r < count; r++) {
        out[r] = _mm512_reduce_add_epi32(acc[r]);
        if (op == INT_DOT2) {
            out2[r] = _mm512_reduce_add_epi32(acc2[r]);
        }
    }
}

INT_AVX512 PV__KERNEL_INLINE void int_avx512_l1_rows(unsigned op, size_t count,
                                                     const uint8_t *query, size_t n,
                                                     const uint8_t *const *row, int32_t *out,
                                                     int32_t *out2) {
    const __m512i flip = _mm512_set1_epi8(-128);
    __m512i acc[INT_GROUP];
    (void)op;
    (void)out2;
    PV__KERNEL_UNROLL
    for (size_t r = 0; r < count; r++) {
        acc[r] = _mm512_setzero_si512();
    }
    for (size_t i = 0; i < n; i += 64) {
        const __mmask64 mask = int_avx512_mask(n - i);
        const __m512i q = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, query + i), flip);
        PV__KERNEL_UNROLL
        for (size_t r = 0; r < count; r++) {
            const __m512i v = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, row[r] + i), flip);
            acc[r] = _mm512_add_epi64(acc[r], _mm512_sad_epu8(q, v));
        }
    }
    PV__KERNEL_UNROLL
    for (size_t r = 0; r < count; r++) {
        out[r] = (int32_t)_mm512_reduce_add_epi64(acc[r]);
    }
}

INT_POPCNT PV__KERNEL_INLINE void int_popcnt_bits(unsigned op, size_t count, const uint8_t *query,
                                                  size_t n, const uint8_t *const *row, int32_t *out,
                                                  int32_t *out2) {
    __m512i acc[INT_GROUP], acc2[INT_GROUP];
    PV__KERNEL_UNROLL
    for (size_t r = 0; r < count; r++) {
        acc[r] = acc2[r] = _mm512_setzero_si512();
    }
    for (size_t i = 0; i < n; i += 64) {
        const size_t left = n - i;
        const __mmask64 mask = left >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << left) - 1;
        const __m512i q = _mm512_maskz_loadu_epi8(mask, query + i);
        PV__KERNEL_UNROLL
        for (size_t r = 0; r < count; r++) {
            const __m512i v = _mm512_maskz_loadu_epi8(mask, row[r] + i);
            const __m512i bits = op == INT_XOR ? _mm512_xor_si512(q, v) : _mm512_and_si512(q, v);
            acc[r] = _mm512_add_epi64(acc[r], _mm512_popcnt_epi64(bits));
            if (op == INT_BOTH) {
                acc2[r] = _mm512_add_epi64(acc2[r], _mm512_popcnt_epi64(_mm512_or_si512(q, v)));
            }
        }
    }
    PV__KERNEL_UNROLL
    for (size_t r = 0; r < count; r++) {
        out[r] = (int32_t)_mm512_reduce_add_epi64(acc[r]);
        if (op == INT_BOTH) {
            out2[r] = (int32_t)_mm512_reduce_add_epi64(acc2[r]);
        }
    }
}

INT_BYTES(avx512, INT_AVX512, int_avx512_bytes)
INT_SUM(l1, avx512, INT_AVX512, int_avx512_l1_rows, INT_L1)
INT_BITS(popcnt, INT_POPCNT, int_popcnt_bits)

/* Without VPOPCNT the look-ups of AVX2 count bits. */
static const pv__code_ints *int_avx512(bool popcnt) {
    static const pv__code_ints table = INT_TABLE(avx512, avx512, avx2);
    static const pv__code_ints counting = INT_TABLE(avx512, avx512, popcnt);
    return popcnt ? &counting : &table;
}
#endif

#if PV__KERNEL_ARM
#include <arm_neon.h>

/* ---- NEON ------------------------------------------------------------------------------------ */

PV__KERNEL_INLINE uint8x16_t int_neon_part(const uint8_t *p, size_t n) {
    uint8_t part[16] = {0};
    memcpy(part, p, n);
    return vld1q_u8(part);
}

PV__KERNEL_INLINE void int_neon_step(unsigned op, uint8x16_t q, uint8x16_t v, int32x4_t *acc,
                                     int32x4_t *acc2) {
    const int8x16_t a = vreinterpretq_s8_u8(q), b = vreinterpretq_s8_u8(v);
    if (op == INT_L2) {
        const int16x8_t low = vsubl_s8(vget_low_s8(a), vget_low_s8(b)), high = vsubl_high_s8(a, b);
        *acc = vmlal_s16(*acc, vget_low_s16(low), vget_low_s16(low));
        *acc = vmlal_high_s16(*acc, low, low);
        *acc = vmlal_s16(*acc, vget_low_s16(high), vget_low_s16(high));
        *acc = vmlal_high_s16(*acc, high, high);
    } else if (op == INT_L1) {
        const uint8x16_t d = vreinterpretq_u8_s8(vabdq_s8(a, b));
        *acc = vaddq_s32(*acc, vreinterpretq_s32_u32(vpaddlq_u16(vpaddlq_u8(d))));
    } else if (op == INT_DOT || op == INT_DOT2) {
        *acc = vpadalq_s16(*acc, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
        *acc = vpadalq_s16(*acc, vmull_high_s8(a, b));
        if (op == INT_DOT2) {
            *acc2 = vpadalq_s16(*acc2, vmull_s8(vget_low_s8(b), vget_low_s8(b)));
            *acc2 = vpadalq_s16(*acc2, vmull_high_s8(b, b));
        }
    } else {
        const uint8x16_t bits = vcntq_u8(op == INT_XOR ? veorq_u8(q, v) : vandq_u8(q, v));
        *acc = vaddq_s32(*acc, vreinterpretq_s32_u32(vpaddlq_u16(vpaddlq_u8(bits))));
        if (op == INT_BOTH) {
            const uint16x8_t either = vpaddlq_u8(vcntq_u8(vorrq_u8(q, v)));
            *acc2 = vaddq_s32(*acc2, vreinterpretq_s32_u32(vpaddlq_u16(either)));
        }
    }
}

#define INT_NEON_ROWS(isa, attribute)                                                              \
    attribute PV__KERNEL_INLINE void int_##isa##_rows(                                             \
        unsigned op, size_t count, const uint8_t *query, size_t n, const uint8_t *const *row,      \
        int32_t *out, int32_t *out2) {                                                             \
        int32x4_t acc[INT_GROUP], acc2[INT_GROUP];                                                 \
        for (size_t r = 0; r < count; r++) {                                                       \
            acc[r] = acc2[r] = vdupq_n_s32(0);                                                     \
        }                                                                                          \
        size_t i = 0;                                                                              \
        for (; i + 16 <= n; i += 16) {                                                             \
            const uint8x16_t q = vld1q_u8(query + i);                                              \
            PV__KERNEL_UNROLL                                                                      \
            for (size_t r = 0; r < count; r++) {                                                   \
                int_##isa##_step(op, q, vld1q_u8(row[r] + i), &acc[r], &acc2[r]);                  \
            }                                                                                      \
        }                                                                                          \
        if (i < n) {                                                                               \
            const uint8x16_t q = int_neon_part(query + i, n - i);                                  \
            for (size_t r = 0; r < count; r++) {                                                   \
                int_##isa##_step(op, q, int_neon_part(row[r] + i, n - i), &acc[r], &acc2[r]);      \
            }                                                                                      \
        }                                                                                          \
        for (size_t r = 0; r < count; r++) {                                                       \
            out[r] = vaddvq_s32(acc[r]);                                                           \
            if (op == INT_DOT2 || op == INT_BOTH) {                                                \
                out2[r] = vaddvq_s32(acc2[r]);                                                     \
            }                                                                                      \
        }                                                                                          \
    }

INT_NEON_ROWS(neon, INT_PLAIN)
INT_BYTES(neon, INT_PLAIN, int_neon_rows)
INT_SUM(l1, neon, INT_PLAIN, int_neon_rows, INT_L1)
INT_BITS(neon, INT_PLAIN, int_neon_rows)

static const pv__code_ints *int_neon(void) {
    static const pv__code_ints table = INT_TABLE(neon, neon, neon);
    return &table;
}

#if PV__KERNEL_DOTPROD
#if defined(__ARM_FEATURE_DOTPROD)
#define INT_DOTPROD
#else
#define INT_DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))
#endif

/* Bytes only. */
INT_DOTPROD PV__KERNEL_INLINE void int_dotprod_step(unsigned op, uint8x16_t q, uint8x16_t v,
                                                    int32x4_t *acc, int32x4_t *acc2) {
    const int8x16_t a = vreinterpretq_s8_u8(q), b = vreinterpretq_s8_u8(v);
    if (op == INT_DOT || op == INT_DOT2) {
        *acc = vdotq_s32(*acc, a, b);
        if (op == INT_DOT2) {
            *acc2 = vdotq_s32(*acc2, b, b);
        }
        return;
    }
    const uint8x16_t d = vreinterpretq_u8_s8(vabdq_s8(a, b));
    const uint8x16_t by = op == INT_L2 ? d : vdupq_n_u8(1);
    *acc = vreinterpretq_s32_u32(vdotq_u32(vreinterpretq_u32_s32(*acc), d, by));
}

INT_NEON_ROWS(dotprod, INT_DOTPROD)
INT_BYTES(dotprod, INT_DOTPROD, int_dotprod_rows)
INT_SUM(l1, dotprod, INT_DOTPROD, int_dotprod_rows, INT_L1)

static const pv__code_ints *int_dotprod(void) {
    static const pv__code_ints table = INT_TABLE(dotprod, dotprod, neon);
    return &table;
}

#undef INT_DOTPROD
#endif
#undef INT_NEON_ROWS
#endif

const pv__code_ints *pv__code_ints_table(uint32_t cpu) {
#if PV__KERNEL_X86
    if (cpu & PV__CPU_AVX2) {
        return cpu & PV__CPU_AVX512 ? int_avx512(cpu & PV__CPU_VPOPCNT) : int_avx2();
    }
#elif PV__KERNEL_ARM
    if (cpu & PV__CPU_NEON) {
#if PV__KERNEL_DOTPROD
        if (cpu & PV__CPU_DOTPROD) {
            return int_dotprod();
        }
#endif
        return int_neon();
    }
#endif
    (void)cpu;
    return int_scalar();
}

#undef INT_GROUP
#undef INT_SUM
#undef INT_BYTES
#undef INT_BITS
#undef INT_TABLE
#undef INT_PLAIN
#if PV__KERNEL_X86
#undef INT_AVX2
#undef INT_AVX512
#undef INT_POPCNT
#endif
