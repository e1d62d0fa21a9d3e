/* SPDX-License-Identifier: Apache-2.0 */
/* four.h - four f32 at once, for the expressions that turn sums over elements into distances. Each
 * operation rounds by itself and products are never fused, so that the results are the same bits
 * everywhere. SSE2 and Advanced SIMD are part of their architectures: nothing to choose. */
#ifndef PV_QUANT_FOUR_H
#define PV_QUANT_FOUR_H

#include "kernel/code_kernel.h"

#include <math.h>

#if PV__KERNEL_X86
#include <emmintrin.h>

typedef __m128 pv__four;
typedef __m128i pv__four_int;

PV__KERNEL_INLINE pv__four pv__four_set(float v) { return _mm_set1_ps(v); }
PV__KERNEL_INLINE pv__four pv__four_load(const float *p) { return _mm_loadu_ps(p); }
PV__KERNEL_INLINE void pv__four_store(float *p, pv__four v) { _mm_storeu_ps(p, v); }
PV__KERNEL_INLINE pv__four pv__four_from(pv__four_int v) { return _mm_cvtepi32_ps(v); }
PV__KERNEL_INLINE pv__four pv__four_add(pv__four a, pv__four b) { return _mm_add_ps(a, b); }
PV__KERNEL_INLINE pv__four pv__four_sub(pv__four a, pv__four b) { return _mm_sub_ps(a, b); }
PV__KERNEL_INLINE pv__four pv__four_mul(pv__four a, pv__four b) {
    pv__four product = _mm_mul_ps(a, b);
    __asm__("" : "+x"(product));
    return product;
}
/* The larger; a where one is NaN. */
PV__KERNEL_INLINE pv__four pv__four_max(pv__four a, pv__four b) { return _mm_max_ps(b, a); }
/* +0 where v <= 0, else v; NaN stays. */
PV__KERNEL_INLINE pv__four pv__four_positive(pv__four v) {
    return _mm_andnot_ps(_mm_cmple_ps(v, _mm_setzero_ps()), v);
}
PV__KERNEL_INLINE pv__four pv__four_root(pv__four v) { return _mm_sqrt_ps(v); }
PV__KERNEL_INLINE pv__four pv__four_size(pv__four v) {
    return _mm_andnot_ps(_mm_set1_ps(-0.0f), v);
}
/* Bit i: a[i] < b[i], and not when one is NaN. */
PV__KERNEL_INLINE unsigned pv__four_before(pv__four a, pv__four b) {
    return (unsigned)_mm_movemask_ps(_mm_cmplt_ps(a, b));
}
/* All of them. */
PV__KERNEL_INLINE bool pv__four_finite(pv__four v) {
    const pv__four size = _mm_andnot_ps(_mm_set1_ps(-0.0f), v);
    return _mm_movemask_ps(_mm_cmple_ps(size, _mm_set1_ps(0x1.fffffep127f))) == 15;
}
/* Four rows of four words, turned: out[i] holds word i of each row. */
PV__KERNEL_INLINE void pv__four_turn(const uint8_t *const p[4], pv__four out[4]) {
    for (unsigned i = 0; i < 4; i++) {
        out[i] = _mm_castsi128_ps(_mm_loadu_si128((const void *)p[i]));
    }
    _MM_TRANSPOSE4_PS(out[0], out[1], out[2], out[3]);
}
/* The bits of v as integers. */
PV__KERNEL_INLINE pv__four_int pv__four_bits(pv__four v) { return _mm_castps_si128(v); }
/* Signed halves of each word: low * a + high * b; a in 16 bits, the sum in 32. */
PV__KERNEL_INLINE pv__four_int pv__four_halves(pv__four_int v, int32_t a, int32_t b) {
    const int32_t b_low = b & 0xFFF, b_high = b >> 12;
    const __m128i ab = _mm_set1_epi32((int32_t)((uint32_t)b_low << 16 | (uint32_t)(uint16_t)a));
    const __m128i more = _mm_set1_epi32((int32_t)((uint32_t)b_high << 16));
    return _mm_add_epi32(_mm_madd_epi16(v, ab), _mm_slli_epi32(_mm_madd_epi16(v, more), 12));
}
PV__KERNEL_INLINE pv__four_int pv__four_low_half(pv__four_int v) {
    return _mm_srai_epi32(_mm_slli_epi32(v, 16), 16);
}
PV__KERNEL_INLINE pv__four_int pv__four_times64(pv__four_int v) { return _mm_slli_epi32(v, 6); }
/* *p - v */
PV__KERNEL_INLINE pv__four_int pv__four_less(const int32_t *p, pv__four_int v) {
    return _mm_sub_epi32(_mm_loadu_si128((const void *)p), v);
}

#elif PV__KERNEL_ARM
#include <arm_neon.h>

typedef float32x4_t pv__four;
typedef int32x4_t pv__four_int;

PV__KERNEL_INLINE pv__four pv__four_set(float v) { return vdupq_n_f32(v); }
PV__KERNEL_INLINE pv__four pv__four_load(const float *p) { return vld1q_f32(p); }
PV__KERNEL_INLINE void pv__four_store(float *p, pv__four v) { vst1q_f32(p, v); }
PV__KERNEL_INLINE pv__four pv__four_from(pv__four_int v) { return vcvtq_f32_s32(v); }
PV__KERNEL_INLINE pv__four pv__four_add(pv__four a, pv__four b) { return vaddq_f32(a, b); }
PV__KERNEL_INLINE pv__four pv__four_sub(pv__four a, pv__four b) { return vsubq_f32(a, b); }
PV__KERNEL_INLINE pv__four pv__four_mul(pv__four a, pv__four b) {
    pv__four product = vmulq_f32(a, b);
    __asm__("" : "+w"(product));
    return product;
}
PV__KERNEL_INLINE pv__four pv__four_max(pv__four a, pv__four b) {
    return vbslq_f32(vcgtq_f32(b, a), b, a);
}
PV__KERNEL_INLINE pv__four pv__four_positive(pv__four v) {
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(v), vclezq_f32(v)));
}
PV__KERNEL_INLINE pv__four pv__four_root(pv__four v) { return vsqrtq_f32(v); }
PV__KERNEL_INLINE pv__four pv__four_size(pv__four v) { return vabsq_f32(v); }
PV__KERNEL_INLINE unsigned pv__four_before(pv__four a, pv__four b) {
    static const uint32_t bits[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vcltq_f32(a, b), vld1q_u32(bits)));
}
PV__KERNEL_INLINE bool pv__four_finite(pv__four v) {
    return vminvq_u32(vcleq_f32(vabsq_f32(v), vdupq_n_f32(0x1.fffffep127f))) != 0;
}
PV__KERNEL_INLINE void pv__four_turn(const uint8_t *const p[4], pv__four out[4]) {
    float32x4_t v[4];
    for (unsigned i = 0; i < 4; i++) {
        v[i] = vreinterpretq_f32_u8(vld1q_u8(p[i]));
    }
    const float32x4x2_t a = vzipq_f32(v[0], v[2]), b = vzipq_f32(v[1], v[3]);
    const float32x4x2_t low = vzipq_f32(a.val[0], b.val[0]), high = vzipq_f32(a.val[1], b.val[1]);
    out[0] = low.val[0];
    out[1] = low.val[1];
    out[2] = high.val[0];
    out[3] = high.val[1];
}
PV__KERNEL_INLINE pv__four_int pv__four_bits(pv__four v) { return vreinterpretq_s32_f32(v); }
PV__KERNEL_INLINE pv__four_int pv__four_low_half(pv__four_int v) {
    return vshrq_n_s32(vshlq_n_s32(v, 16), 16);
}
PV__KERNEL_INLINE pv__four_int pv__four_halves(pv__four_int v, int32_t a, int32_t b) {
    return vmlaq_n_s32(vmulq_n_s32(pv__four_low_half(v), a), vshrq_n_s32(v, 16), b);
}
PV__KERNEL_INLINE pv__four_int pv__four_times64(pv__four_int v) { return vshlq_n_s32(v, 6); }
PV__KERNEL_INLINE pv__four_int pv__four_less(const int32_t *p, pv__four_int v) {
    return vsubq_s32(vld1q_s32(p), v);
}

#else

typedef struct pv__four {
    float v[4];
} pv__four;
typedef struct pv__four_int {
    int32_t v[4];
} pv__four_int;

PV__KERNEL_INLINE pv__four pv__four_set(float v) { return (pv__four){{v, v, v, v}}; }
PV__KERNEL_INLINE pv__four pv__four_load(const float *p) {
    return (pv__four){{p[0], p[1], p[2], p[3]}};
}
PV__KERNEL_INLINE void pv__four_store(float *p, pv__four v) { memcpy(p, v.v, sizeof v.v); }
PV__KERNEL_INLINE pv__four pv__four_from(pv__four_int v) {
    return (pv__four){{(float)v.v[0], (float)v.v[1], (float)v.v[2], (float)v.v[3]}};
}
PV__KERNEL_INLINE pv__four pv__four_add(pv__four a, pv__four b) {
    for (unsigned i = 0; i < 4; i++) {
        a.v[i] += b.v[i];
    }
    return a;
}
PV__KERNEL_INLINE pv__four pv__four_sub(pv__four a, pv__four b) {
    for (unsigned i = 0; i < 4; i++) {
        a.v[i] -= b.v[i];
    }
    return a;
}
PV__KERNEL_INLINE pv__four pv__four_mul(pv__four a, pv__four b) {
    for (unsigned i = 0; i < 4; i++) {
        a.v[i] = pv__unfused(a.v[i] * b.v[i]);
    }
    return a;
}
PV__KERNEL_INLINE pv__four pv__four_max(pv__four a, pv__four b) {
    for (unsigned i = 0; i < 4; i++) {
        a.v[i] = b.v[i] > a.v[i] ? b.v[i] : a.v[i];
    }
    return a;
}
PV__KERNEL_INLINE pv__four pv__four_positive(pv__four v) {
    for (unsigned i = 0; i < 4; i++) {
        v.v[i] = v.v[i] <= 0.0f ? 0.0f : v.v[i];
    }
    return v;
}
PV__KERNEL_INLINE pv__four pv__four_root(pv__four v) {
    for (unsigned i = 0; i < 4; i++) {
        v.v[i] = sqrtf(v.v[i]);
    }
    return v;
}
PV__KERNEL_INLINE pv__four pv__four_size(pv__four v) {
    for (unsigned i = 0; i < 4; i++) {
        v.v[i] = fabsf(v.v[i]);
    }
    return v;
}
PV__KERNEL_INLINE unsigned pv__four_before(pv__four a, pv__four b) {
    unsigned bits = 0;
    for (unsigned i = 0; i < 4; i++) {
        bits |= (unsigned)(a.v[i] < b.v[i]) << i;
    }
    return bits;
}
PV__KERNEL_INLINE bool pv__four_finite(pv__four v) {
    bool all = true;
    for (unsigned i = 0; i < 4; i++) {
        all = all && v.v[i] >= -0x1.fffffep127f && v.v[i] <= 0x1.fffffep127f;
    }
    return all;
}
PV__KERNEL_INLINE void pv__four_turn(const uint8_t *const p[4], pv__four out[4]) {
    for (unsigned r = 0; r < 4; r++) {
        float word[4];
        memcpy(word, p[r], sizeof word);
        for (unsigned i = 0; i < 4; i++) {
            out[i].v[r] = word[i];
        }
    }
}
PV__KERNEL_INLINE pv__four_int pv__four_bits(pv__four v) {
    pv__four_int out;
    memcpy(out.v, v.v, sizeof out.v);
    return out;
}
PV__KERNEL_INLINE pv__four_int pv__four_low_half(pv__four_int v) {
    for (unsigned i = 0; i < 4; i++) {
        v.v[i] = (int16_t)(uint16_t)v.v[i];
    }
    return v;
}
PV__KERNEL_INLINE pv__four_int pv__four_halves(pv__four_int v, int32_t a, int32_t b) {
    for (unsigned i = 0; i < 4; i++) {
        const int32_t high = (int16_t)(uint16_t)((uint32_t)v.v[i] >> 16);
        v.v[i] = (int16_t)(uint16_t)v.v[i] * a + high * b;
    }
    return v;
}
PV__KERNEL_INLINE pv__four_int pv__four_times64(pv__four_int v) {
    for (unsigned i = 0; i < 4; i++) {
        v.v[i] *= 64;
    }
    return v;
}
PV__KERNEL_INLINE pv__four_int pv__four_less(const int32_t *p, pv__four_int v) {
    for (unsigned i = 0; i < 4; i++) {
        v.v[i] = p[i] - v.v[i];
    }
    return v;
}
#endif

#endif
