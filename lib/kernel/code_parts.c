/* SPDX-License-Identifier: Apache-2.0 */
/* code_parts.c - sums over product codes, for all instruction sets.
 *
 *      centres    dims of a part after each other, `count` values each: a column is a centre
 *      table      a byte for each centre of each part: parts x 256, or parts x 16
 *      row        a byte a part; or two parts a byte, the even one in the low half
 *
 *      parts4     up to 32 rows at once: 16 bytes of each are turned, so that a register holds the
 *                 same byte of all rows, which is what a look-up in a register of 16 bytes wants.
 *                 FastScan (Andre et al., 2015; faiss) stores rows turned; a walk finds them
 *                 anywhere, and turning them costs less than looking up one by one
 *      parts8     256 entries fit no register: one look-up after the other, four rows side by side
 *
 * Bytes are summed in integers, and distances to centres product by product, never fused: the same
 * bits everywhere. */
#include "kernel/code_kernel.h"

#include "os/sys.h"

#define PARTS_ROWS 32u

/* ---- for all --------------------------------------------------------------------------------- */

static void parts_8(const uint8_t *table, size_t parts, const pv__code_rows *rows, uint32_t *out) {
    size_t r = 0;
    for (; r + 4 <= rows->n; r += 4) {
        const uint8_t *const a = rows->row[r], *const b = rows->row[r + 1];
        const uint8_t *const c = rows->row[r + 2], *const d = rows->row[r + 3];
        uint32_t s[4] = {0};
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 4);
        for (size_t p = 0; p < parts; p++) {
            const uint8_t *const t = table + 256 * p;
            s[0] += t[a[p]];
            s[1] += t[b[p]];
            s[2] += t[c[p]];
            s[3] += t[d[p]];
        }
        memcpy(out + r, s, sizeof s);
    }
    for (; r < rows->n; r++) {
        uint32_t s = 0;
        for (size_t p = 0; p < parts; p++) {
            s += table[256 * p + rows->row[r][p]];
        }
        out[r] = s;
    }
}

static void parts_4_scalar(const uint8_t *table, size_t parts, const pv__code_rows *rows,
                           uint32_t *out) {
    for (size_t r = 0; r < rows->n; r++) {
        uint32_t s = 0;
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        for (size_t p = 0; p < parts; p++) {
            s += table[16 * p + (rows->row[r][p / 2] >> 4 * (p % 2) & 15)];
        }
        out[r] = s;
    }
}

static void parts_measure_scalar(const float *v, size_t dims, const float *centres, size_t count,
                                 bool dot, float *out) {
    memset(out, 0, count * sizeof *out);
    for (size_t i = 0; i < dims; i++, centres += count) {
        for (size_t c = 0; c < count; c++) {
            const float d = dot ? v[i] : v[i] - centres[c];
            out[c] += pv__unfused(d * (dot ? centres[c] : d));
        }
    }
}

#if PV__KERNEL_X86
#include <immintrin.h>

#define PARTS_AVX2 __attribute__((target("avx2")))

/* ---- AVX2 ------------------------------------------------------------------------------------ */

PARTS_AVX2 static void parts_measure_avx2(const float *v, size_t dims, const float *centres,
                                          size_t count, bool dot, float *out) {
    for (size_t c = 0; c < count; c += 16) { /* count is a multiple of 16 */
        __m256 s0 = _mm256_setzero_ps(), s1 = s0;
        for (size_t i = 0; i < dims; i++) {
            const float *const at = centres + i * count + c;
            const __m256 q = _mm256_set1_ps(v[i]);
            const __m256 a = _mm256_loadu_ps(at), b = _mm256_loadu_ps(at + 8);
            const __m256 da = dot ? q : _mm256_sub_ps(q, a), db = dot ? q : _mm256_sub_ps(q, b);
            s0 = _mm256_add_ps(s0, _mm256_mul_ps(da, dot ? a : da));
            s1 = _mm256_add_ps(s1, _mm256_mul_ps(db, dot ? b : db));
        }
        _mm256_storeu_ps(out + c, s0);
        _mm256_storeu_ps(out + c + 8, s1);
    }
}

/* 16 x 16 bytes turned, in each half of the registers by itself. */
PARTS_AVX2 PV__KERNEL_INLINE void parts_turn_avx2(__m256i v[16]) {
    __m256i t[16];
    for (unsigned stage = 0; stage < 4; stage++) { /* a perfect shuffle four times */
        PV__KERNEL_UNROLL
        for (unsigned i = 0; i < 8; i++) {
            t[2 * i] = _mm256_unpacklo_epi8(v[i], v[i + 8]);
            t[2 * i + 1] = _mm256_unpackhi_epi8(v[i], v[i + 8]);
        }
        PV__KERNEL_UNROLL
        for (unsigned i = 0; i < 16; i++) {
            v[i] = t[i];
        }
    }
}

/* Look up `part` for 32 rows; even rows are summed in one register, odd ones, and what spills from
 * the even ones, in another. */
PARTS_AVX2 PV__KERNEL_INLINE void parts_look_avx2(const uint8_t *table, __m256i index,
                                                  __m256i acc[2]) {
    const __m256i entries = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)table));
    const __m256i found = _mm256_shuffle_epi8(entries, index);
    acc[0] = _mm256_add_epi16(acc[0], found);
    acc[1] = _mm256_add_epi16(acc[1], _mm256_srli_epi16(found, 8));
}

/* 16-bit sums of 32 rows to 32 bits; then they begin anew. */
PARTS_AVX2 PV__KERNEL_INLINE void parts_flush_avx2(__m256i acc[2], uint32_t *sums) {
    uint16_t even[16], odd[16];
    const __m256i e = _mm256_sub_epi16(acc[0], _mm256_slli_epi16(acc[1], 8));
    _mm256_storeu_si256((void *)even, e);
    _mm256_storeu_si256((void *)odd, acc[1]);
    for (unsigned i = 0; i < 16; i++) {
        sums[2 * i] += even[i];
        sums[2 * i + 1] += odd[i];
    }
    acc[0] = acc[1] = _mm256_setzero_si256();
}

/* Bytes [at, at + n) of row r and r + 16 side by side. */
PARTS_AVX2 PV__KERNEL_INLINE __m256i parts_load_avx2(const uint8_t *const *row, unsigned r,
                                                     size_t at, size_t n) {
    if (n >= 16) {
        const __m128i low = _mm_loadu_si128((const void *)(row[r] + at));
        const __m128i high = _mm_loadu_si128((const void *)(row[r + 16] + at));
        return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
    }
    uint8_t part[32] = {0};
    memcpy(part, row[r] + at, n);
    memcpy(part + 16, row[r + 16] + at, n);
    return _mm256_loadu_si256((const void *)part);
}

PARTS_AVX2 static void parts_4_block_avx2(const uint8_t *table, size_t parts,
                                          const uint8_t *const *row, uint32_t *sums) {
    const __m256i low = _mm256_set1_epi8(15);
    const size_t bytes = (parts + 1) / 2;
    __m256i acc[2], v[16];
    acc[0] = acc[1] = _mm256_setzero_si256();
    memset(sums, 0, PARTS_ROWS * sizeof *sums);
    for (size_t at = 0; at < bytes; at += 16) {
        const size_t n = PV_MIN(bytes - at, (size_t)16);
        PV__KERNEL_UNROLL
        for (unsigned r = 0; r < 16; r++) {
            v[r] = parts_load_avx2(row, r, at, n);
        }
        parts_turn_avx2(v);
        for (size_t b = 0; b < n; b++) {
            const size_t part = 2 * (at + b);
            parts_look_avx2(table + 16 * part, _mm256_and_si256(v[b], low), acc);
            if (part + 1 < parts) {
                parts_look_avx2(table + 16 * part + 16,
                                _mm256_and_si256(_mm256_srli_epi16(v[b], 4), low), acc);
            }
        }
        if (at % 128 == 112) { /* 256 parts: 16 bits are full */
            parts_flush_avx2(acc, sums);
        }
    }
    parts_flush_avx2(acc, sums);
}

PARTS_AVX2 static void parts_4_avx2(const uint8_t *table, size_t parts, const pv__code_rows *rows,
                                    uint32_t *out) {
    for (size_t r = 0; r < rows->n; r += PARTS_ROWS) {
        const uint8_t *row[PARTS_ROWS];
        uint32_t sums[PARTS_ROWS];
        const size_t n = PV_MIN(rows->n - r, (size_t)PARTS_ROWS);
        for (size_t i = 0; i < PARTS_ROWS; i++) {
            row[i] = rows->row[r + PV_MIN(i, n - 1)];
        }
        pv__code_fetch(rows, r, n);
        parts_4_block_avx2(table, parts, row, sums);
        memcpy(out + r, sums, n * sizeof *sums);
    }
}

#undef PARTS_AVX2
#endif

#if PV__KERNEL_ARM
#include <arm_neon.h>

/* ---- NEON ------------------------------------------------------------------------------------ */

static void parts_measure_neon(const float *v, size_t dims, const float *centres, size_t count,
                               bool dot, float *out) {
    for (size_t c = 0; c < count; c += 8) {
        float32x4_t s[2] = {vdupq_n_f32(0), vdupq_n_f32(0)};
        for (size_t i = 0; i < dims; i++) {
            const float32x4_t q = vdupq_n_f32(v[i]);
            for (unsigned k = 0; k < 2; k++) {
                const float32x4_t a = vld1q_f32(centres + i * count + c + 4 * (size_t)k);
                const float32x4_t d = dot ? q : vsubq_f32(q, a);
                float32x4_t product = vmulq_f32(d, dot ? a : d);
                __asm__("" : "+w"(product));
                s[k] = vaddq_f32(s[k], product);
            }
        }
        vst1q_f32(out + c, s[0]);
        vst1q_f32(out + c + 4, s[1]);
    }
}

/* 16 rows at once; as parts_4_block_avx2. */
static void parts_4_block_neon(const uint8_t *table, size_t parts, const uint8_t *const *row,
                               uint32_t *sums) {
    const size_t bytes = (parts + 1) / 2;
    uint16x8_t acc[2] = {vdupq_n_u16(0), vdupq_n_u16(0)};
    uint16_t part16[16];
    memset(sums, 0, 16 * sizeof *sums);
    for (size_t at = 0; at < bytes; at += 16) {
        const size_t n = PV_MIN(bytes - at, (size_t)16);
        uint8x16_t v[16], t[16];
        for (unsigned r = 0; r < 16; r++) {
            uint8_t part[16] = {0};
            memcpy(part, row[r] + at, n);
            v[r] = vld1q_u8(part);
        }
        for (unsigned stage = 0; stage < 4; stage++) {
            for (unsigned i = 0; i < 8; i++) {
                t[2 * i] = vzip1q_u8(v[i], v[i + 8]);
                t[2 * i + 1] = vzip2q_u8(v[i], v[i + 8]);
            }
            memcpy(v, t, sizeof v);
        }
        for (size_t b = 0; b < n; b++) {
            const size_t part = 2 * (at + b);
            for (unsigned half = 0; half < 2 && part + half < parts; half++) {
                const uint8x16_t index =
                    half ? vshrq_n_u8(v[b], 4) : vandq_u8(v[b], vdupq_n_u8(15));
                const uint8x16_t found = vqtbl1q_u8(vld1q_u8(table + 16 * (part + half)), index);
                acc[0] = vaddw_u8(acc[0], vget_low_u8(found));
                acc[1] = vaddw_u8(acc[1], vget_high_u8(found));
            }
        }
        if (at % 128 == 112 || at + 16 >= bytes) {
            vst1q_u16(part16, acc[0]);
            vst1q_u16(part16 + 8, acc[1]);
            for (unsigned i = 0; i < 16; i++) {
                sums[i] += part16[i];
            }
            acc[0] = acc[1] = vdupq_n_u16(0);
        }
    }
}

static void parts_4_neon(const uint8_t *table, size_t parts, const pv__code_rows *rows,
                         uint32_t *out) {
    for (size_t r = 0; r < rows->n; r += 16) {
        const uint8_t *row[16];
        uint32_t sums[16];
        const size_t n = PV_MIN(rows->n - r, (size_t)16);
        for (size_t i = 0; i < 16; i++) {
            row[i] = rows->row[r + PV_MIN(i, n - 1)];
        }
        pv__code_fetch(rows, r, n);
        parts_4_block_neon(table, parts, row, sums);
        memcpy(out + r, sums, n * sizeof *sums);
    }
}
#endif

const pv__code_parts *pv__code_parts_table(uint32_t cpu) {
    static const pv__code_parts scalar = {parts_measure_scalar, parts_8, parts_4_scalar};
#if PV__KERNEL_X86
    static const pv__code_parts avx2 = {parts_measure_avx2, parts_8, parts_4_avx2};
    return cpu & PV__CPU_AVX2 ? &avx2 : &scalar;
#elif PV__KERNEL_ARM
    static const pv__code_parts neon = {parts_measure_neon, parts_8, parts_4_neon};
    return cpu & PV__CPU_NEON ? &neon : &scalar;
#else
    (void)cpu;
    return &scalar;
#endif
}

#undef PARTS_ROWS
