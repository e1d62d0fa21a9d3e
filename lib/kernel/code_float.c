/* SPDX-License-Identifier: Apache-2.0 */
/* code_float.c - sums over rows of f32 and f16, for all instruction sets.
 *
 *      row of f16     dims elements
 *      with a unit    dims elements | up to a multiple of 4 | a power of two: the unit
 *
 * Element i is f16, or unit * f16: exact in f32 but where it falls below 2^-126. Order of addition
 * and rounding are those of the sums over f32 (code_kernel.h): the same bits everywhere. */
#include "kernel/code_kernel.h"
#include "kernel/half.h"

#define FLOAT_LANES 32u

/* What is added up, and what rows are made of. */
enum { FLOAT_L2, FLOAT_DOT, FLOAT_L1, FLOAT_NORM2 };
enum { FLOAT_F32, FLOAT_HALF, FLOAT_UNIT };

static float float_unit(const uint8_t *row, size_t dims) {
    float unit;
    memcpy(&unit, row + PV__CODE_HALF_BYTES(dims), sizeof unit);
    return unit;
}

/* ---- scalar ---------------------------------------------------------------------------------- */

PV__KERNEL_INLINE float float_scalar_at(unsigned of, const uint8_t *row, size_t i, float unit) {
    float v;
    if (of != FLOAT_F32) {
        uint16_t h;
        memcpy(&h, row + i * sizeof h, sizeof h);
        const float x = pv__half_to_float(h);
        return of == FLOAT_UNIT ? pv__unfused(x * unit) : x;
    }
    memcpy(&v, row + i * sizeof v, sizeof v);
    return v;
}

PV__KERNEL_INLINE float float_scalar_term(unsigned op, float q, float r) {
    const float d = q - r;
    return op == FLOAT_L1      ? (d < 0.0f ? -d : d)
           : op == FLOAT_NORM2 ? pv__unfused(r * r)
           : op == FLOAT_DOT   ? pv__unfused(q * r)
                               : pv__unfused(d * d);
}

PV__KERNEL_INLINE float float_scalar_row(unsigned op, unsigned of, const float *query, size_t dims,
                                         const uint8_t *row) {
    float lane[FLOAT_LANES] = {0};
    const float unit = of == FLOAT_UNIT ? float_unit(row, dims) : 1.0f;
    for (size_t i = 0; i < dims; i++) {
        lane[i % FLOAT_LANES] += float_scalar_term(op, query[i], float_scalar_at(of, row, i, unit));
    }
    for (size_t width = FLOAT_LANES / 2; width >= 8; width /= 2) {
        for (size_t l = 0; l < width; l++) {
            lane[l] += lane[l + width];
        }
    }
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) +
           ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

static void float_scalar_halves(const float *v, size_t n, float scale, uint8_t *out) {
    for (size_t i = 0; i < n; i++) {
        const float x = v[i] * scale;
        const uint16_t h = pv__half_of(x > PV__HALF_MAX    ? PV__HALF_MAX
                                       : x < -PV__HALF_MAX ? -PV__HALF_MAX
                                                           : x);
        memcpy(out + i * sizeof h, &h, sizeof h);
    }
}

static void float_scalar_widen(const uint8_t *halves, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, halves + i * sizeof h, sizeof h);
        out[i] = pv__half_to_float(h);
    }
}

/* One function for each sum, the same in every instruction set. */
#define FLOAT_SUM(name, isa, attribute, op, of)                                                    \
    attribute static void float_##isa##_##name(const float *query, size_t dims,                    \
                                               const pv__code_rows *rows, float *out) {            \
        for (size_t r = 0; r < rows->n; r++) {                                                     \
            pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);                                           \
            out[r] = float_##isa##_row(op, of, query, dims, rows->row[r]);                         \
        }                                                                                          \
    }
#define FLOAT_SUM2(name, isa, attribute, of)                                                       \
    attribute static void float_##isa##_##name(                                                    \
        const float *query, size_t dims, const pv__code_rows *rows, float *out, float *out2) {     \
        for (size_t r = 0; r < rows->n; r++) {                                                     \
            pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);                                           \
            out[r] = float_##isa##_row(FLOAT_DOT, of, query, dims, rows->row[r]);                  \
            out2[r] = float_##isa##_row(FLOAT_NORM2, of, query, dims, rows->row[r]);               \
        }                                                                                          \
    }
#define FLOAT_SUMS(isa, attribute)                                                                 \
    FLOAT_SUM(l1, isa, attribute, FLOAT_L1, FLOAT_F32)                                             \
    FLOAT_SUM(half_l2sq, isa, attribute, FLOAT_L2, FLOAT_HALF)                                     \
    FLOAT_SUM(half_dot, isa, attribute, FLOAT_DOT, FLOAT_HALF)                                     \
    FLOAT_SUM2(half_dot2, isa, attribute, FLOAT_HALF)                                              \
    FLOAT_SUM(half_l1, isa, attribute, FLOAT_L1, FLOAT_HALF)                                       \
    FLOAT_SUM(unit_l2sq, isa, attribute, FLOAT_L2, FLOAT_UNIT)                                     \
    FLOAT_SUM(unit_dot, isa, attribute, FLOAT_DOT, FLOAT_UNIT)                                     \
    FLOAT_SUM(unit_l1, isa, attribute, FLOAT_L1, FLOAT_UNIT)                                       \
    const pv__code_floats *pv__code_floats_##isa(void) {                                           \
        static const pv__code_floats table = {                                                     \
            .halves = float_##isa##_halves,                                                        \
            .widen = float_##isa##_widen,                                                          \
            .l1 = float_##isa##_l1,                                                                \
            .half_l2sq = float_##isa##_half_l2sq,                                                  \
            .half_dot = float_##isa##_half_dot,                                                    \
            .half_dot2 = float_##isa##_half_dot2,                                                  \
            .half_l1 = float_##isa##_half_l1,                                                      \
            .unit_l2sq = float_##isa##_unit_l2sq,                                                  \
            .unit_dot = float_##isa##_unit_dot,                                                    \
            .unit_l1 = float_##isa##_unit_l1,                                                      \
        };                                                                                         \
        return &table;                                                                             \
    }

#define FLOAT_PLAIN
FLOAT_SUMS(scalar, FLOAT_PLAIN)

#if PV__KERNEL_X86
#include <immintrin.h>

/* ---- AVX2 ------------------------------------------------------------------------------------ */

#define FLOAT_AVX2 __attribute__((target("avx2,f16c")))

/* Elements [i, i + 8) of a row; beyond dims: zeros, and nothing is read. */
FLOAT_AVX2 PV__KERNEL_INLINE __m256 float_avx2_at(unsigned of, const uint8_t *row, size_t i,
                                                  size_t dims, __m256 unit) {
    const size_t left = dims - i;
    if (of != FLOAT_F32) {
        __m128i h;
        if (left >= 8) {
            h = _mm_loadu_si128((const void *)(row + 2 * i));
        } else {
            uint16_t part[8] = {0};
            memcpy(part, row + 2 * i, 2 * left);
            h = _mm_loadu_si128((const void *)part);
        }
        __m256 v = _mm256_cvtph_ps(h);
        if (of == FLOAT_UNIT) {
            v = _mm256_mul_ps(v, unit);
            __asm__("" : "+x"(v));
        }
        return v;
    }
    if (left >= 8) {
        return _mm256_loadu_ps((const void *)(row + 4 * i));
    }
    const __m256i mask =
        _mm256_cmpgt_epi32(_mm256_set1_epi32((int)left), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    return _mm256_maskload_ps((const void *)(row + 4 * i), mask);
}

FLOAT_AVX2 PV__KERNEL_INLINE __m256 float_avx2_add(unsigned op, __m256 acc, __m256 q, __m256 r) {
    const __m256 d = _mm256_sub_ps(q, r);
    if (op == FLOAT_L1) {
        return _mm256_add_ps(acc, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), d));
    }
    __m256 product = op == FLOAT_L2      ? _mm256_mul_ps(d, d)
                     : op == FLOAT_NORM2 ? _mm256_mul_ps(r, r)
                                         : _mm256_mul_ps(q, r);
    __asm__("" : "+x"(product));
    return _mm256_add_ps(acc, product);
}

FLOAT_AVX2 PV__KERNEL_INLINE float float_avx2_row(unsigned op, unsigned of, const float *query,
                                                  size_t dims, const uint8_t *row) {
    const __m256 unit = _mm256_set1_ps(of == FLOAT_UNIT ? float_unit(row, dims) : 1.0f);
    const uint8_t *const q = (const void *)query;
    __m256 acc[4];
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < 4; k++) {
        acc[k] = _mm256_setzero_ps();
    }
    size_t i = 0;
    for (; i + FLOAT_LANES <= dims; i += FLOAT_LANES) {
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 4; k++) {
            const size_t at = i + 8 * k;
            acc[k] = float_avx2_add(op, acc[k], _mm256_loadu_ps(query + at),
                                    float_avx2_at(of, row, at, at + 8, unit));
        }
    }
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < 4; k++) {
        if (i < dims) {
            acc[k] = float_avx2_add(op, acc[k], float_avx2_at(FLOAT_F32, q, i, dims, unit),
                                    float_avx2_at(of, row, i, dims, unit));
            i += 8;
        }
    }
    __m256 h = _mm256_add_ps(_mm256_add_ps(acc[0], acc[2]), _mm256_add_ps(acc[1], acc[3]));
    h = _mm256_hadd_ps(h, h);
    h = _mm256_hadd_ps(h, h);
    return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1)));
}

FLOAT_AVX2 static void float_avx2_halves(const float *v, size_t n, float scale, uint8_t *out) {
    const __m256 by = _mm256_set1_ps(scale), most = _mm256_set1_ps(PV__HALF_MAX);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 x = _mm256_mul_ps(_mm256_loadu_ps(v + i), by);
        x = _mm256_max_ps(_mm256_min_ps(x, most), _mm256_sub_ps(_mm256_setzero_ps(), most));
        _mm_storeu_si128((void *)(out + 2 * i), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
    }
    float_scalar_halves(v + i, n - i, scale, out + 2 * i);
}

FLOAT_AVX2 static void float_avx2_widen(const uint8_t *halves, size_t n, float *out) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m128i h = _mm_loadu_si128((const void *)(halves + 2 * i));
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(h));
    }
    float_scalar_widen(halves + 2 * i, n - i, out + i);
}

FLOAT_SUMS(avx2, FLOAT_AVX2)

/* ---- AVX-512 --------------------------------------------------------------------------------- */

#define FLOAT_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c")))

FLOAT_AVX512 PV__KERNEL_INLINE __m512 float_avx512_at(unsigned of, const uint8_t *row, size_t i,
                                                      size_t dims, __m512 unit) {
    const size_t left = dims - i;
    const __mmask16 mask = (__mmask16)(left >= 16 ? 0xFFFFu : (1u << left) - 1u);
    if (of != FLOAT_F32) {
        const __m256i h = _mm256_maskz_loadu_epi16(mask, row + 2 * i);
        __m512 v = _mm512_cvtph_ps(h);
        if (of == FLOAT_UNIT) {
            v = _mm512_mul_ps(v, unit);
            __asm__("" : "+v"(v));
        }
        return v;
    }
    return _mm512_maskz_loadu_ps(mask, row + 4 * i);
}

FLOAT_AVX512 PV__KERNEL_INLINE __m512 float_avx512_add(unsigned op, __m512 acc, __m512 q,
                                                       __m512 r) {
    const __m512 d = _mm512_sub_ps(q, r);
    if (op == FLOAT_L1) {
        return _mm512_add_ps(acc, _mm512_abs_ps(d));
    }
    __m512 product = op == FLOAT_L2      ? _mm512_mul_ps(d, d)
                     : op == FLOAT_NORM2 ? _mm512_mul_ps(r, r)
                                         : _mm512_mul_ps(q, r);
    __asm__("" : "+v"(product));
    return _mm512_add_ps(acc, product);
}

FLOAT_AVX512 PV__KERNEL_INLINE float float_avx512_row(unsigned op, unsigned of, const float *query,
                                                      size_t dims, const uint8_t *row) {
    const __m512 unit = _mm512_set1_ps(of == FLOAT_UNIT ? float_unit(row, dims) : 1.0f);
    const uint8_t *const q = (const void *)query;
    __m512 s0 = _mm512_setzero_ps(), s1 = s0;
    size_t i = 0;
    for (; i + FLOAT_LANES <= dims; i += FLOAT_LANES) {
        s0 = float_avx512_add(op, s0, _mm512_loadu_ps(query + i),
                              float_avx512_at(of, row, i, i + 16, unit));
        s1 = float_avx512_add(op, s1, _mm512_loadu_ps(query + i + 16),
                              float_avx512_at(of, row, i + 16, i + 32, unit));
    }
    if (i < dims) {
        s0 = float_avx512_add(op, s0, float_avx512_at(FLOAT_F32, q, i, dims, unit),
                              float_avx512_at(of, row, i, dims, unit));
        i += 16;
    }
    if (i < dims) {
        s1 = float_avx512_add(op, s1, float_avx512_at(FLOAT_F32, q, i, dims, unit),
                              float_avx512_at(of, row, i, dims, unit));
    }
    const __m512 v = _mm512_add_ps(s0, s1);
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), high);
    h = _mm256_hadd_ps(h, h);
    h = _mm256_hadd_ps(h, h);
    return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1)));
}

FLOAT_AVX512 static void float_avx512_halves(const float *v, size_t n, float scale, uint8_t *out) {
    const __m512 by = _mm512_set1_ps(scale), most = _mm512_set1_ps(PV__HALF_MAX);
    for (size_t i = 0; i < n; i += 16) {
        const size_t left = n - i;
        const __mmask16 mask = (__mmask16)(left >= 16 ? 0xFFFFu : (1u << left) - 1u);
        __m512 x = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, v + i), by);
        x = _mm512_max_ps(_mm512_min_ps(x, most), _mm512_sub_ps(_mm512_setzero_ps(), most));
        _mm256_mask_storeu_epi16(out + 2 * i, mask, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
    }
}

FLOAT_AVX512 static void float_avx512_widen(const uint8_t *halves, size_t n, float *out) {
    for (size_t i = 0; i < n; i += 16) {
        const size_t left = n - i;
        const __mmask16 mask = (__mmask16)(left >= 16 ? 0xFFFFu : (1u << left) - 1u);
        const __m256i h = _mm256_maskz_loadu_epi16(mask, halves + 2 * i);
        _mm512_mask_storeu_ps(out + i, mask, _mm512_cvtph_ps(h));
    }
}

FLOAT_SUMS(avx512, FLOAT_AVX512)

#undef FLOAT_AVX2
#undef FLOAT_AVX512
#endif

#if PV__KERNEL_ARM
#include <arm_neon.h>

/* ---- NEON ------------------------------------------------------------------------------------ */

PV__KERNEL_INLINE float32x4_t float_neon_at(unsigned of, const uint8_t *row, size_t i, size_t dims,
                                            float unit) {
    const size_t left = PV_MIN(dims - i, (size_t)4);
    uint8_t part[16] = {0};
    if (of != FLOAT_F32) {
        const uint8_t *p = row + 2 * i;
        if (left < 4) {
            p = memcpy(part, p, 2 * left);
        }
        const float32x4_t v = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
        return of == FLOAT_UNIT ? vmulq_n_f32(v, unit) : v;
    }
    const uint8_t *p = row + 4 * i;
    if (left < 4) {
        p = memcpy(part, p, 4 * left);
    }
    return vreinterpretq_f32_u8(vld1q_u8(p));
}

PV__KERNEL_INLINE float32x4_t float_neon_add(unsigned op, float32x4_t acc, float32x4_t q,
                                             float32x4_t r) {
    __asm__("" : "+w"(r)); /* a product that is not fused */
    const float32x4_t d = vsubq_f32(q, r);
    if (op == FLOAT_L1) {
        return vaddq_f32(acc, vabsq_f32(d));
    }
    float32x4_t product = op == FLOAT_L2      ? vmulq_f32(d, d)
                          : op == FLOAT_NORM2 ? vmulq_f32(r, r)
                                              : vmulq_f32(q, r);
    __asm__("" : "+w"(product));
    return vaddq_f32(acc, product);
}

PV__KERNEL_INLINE float float_neon_row(unsigned op, unsigned of, const float *query, size_t dims,
                                       const uint8_t *row) {
    const float unit = of == FLOAT_UNIT ? float_unit(row, dims) : 1.0f;
    const uint8_t *const q = (const void *)query;
    float32x4_t acc[8];
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < 8; k++) {
        acc[k] = vdupq_n_f32(0);
    }
    for (size_t i = 0; i < dims; i += FLOAT_LANES) {
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 8; k++) {
            const size_t at = i + 4 * (size_t)k;
            if (at < dims) {
                acc[k] = float_neon_add(op, acc[k], float_neon_at(FLOAT_F32, q, at, dims, 1.0f),
                                        float_neon_at(of, row, at, dims, unit));
            }
        }
    }
    const float32x4_t low = vaddq_f32(vaddq_f32(acc[0], acc[4]), vaddq_f32(acc[2], acc[6]));
    const float32x4_t high = vaddq_f32(vaddq_f32(acc[1], acc[5]), vaddq_f32(acc[3], acc[7]));
    return vaddvq_f32(low) + vaddvq_f32(high);
}

static void float_neon_halves(const float *v, size_t n, float scale, uint8_t *out) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t x = vmulq_n_f32(vld1q_f32(v + i), scale);
        x = vmaxq_f32(vminq_f32(x, vdupq_n_f32(PV__HALF_MAX)), vdupq_n_f32(-PV__HALF_MAX));
        vst1_u8(out + 2 * i, vreinterpret_u8_f16(vcvt_f16_f32(x)));
    }
    float_scalar_halves(v + i, n - i, scale, out + 2 * i);
}

static void float_neon_widen(const uint8_t *halves, size_t n, float *out) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const uint16x4_t h = vreinterpret_u16_u8(vld1_u8(halves + 2 * i));
        vst1q_f32(out + i, vcvt_f32_f16(vreinterpret_f16_u16(h)));
    }
    float_scalar_widen(halves + 2 * i, n - i, out + i);
}

FLOAT_SUMS(neon, FLOAT_PLAIN)
#endif

#undef FLOAT_LANES
#undef FLOAT_SUM
#undef FLOAT_SUM2
#undef FLOAT_SUMS
#undef FLOAT_PLAIN
