/* SPDX-License-Identifier: Apache-2.0 */
/* code_neon.c - sums over codes with Advanced SIMD, which every arm64 has.
 *
 *      i8      16 elements of 4 rows at a time; products of 16 bits are added up in pairs, which
 *              is exact. The query is made signed on the way (i8_bias 0)
 *      nibble  32 elements of 4 rows at a time; four products, at most 4 * 127 * 63, fit 16 bits
 *      bits    16 elements of 4 rows at a time, bits spread to bytes
 *      f32     1 row, 8 chains
 *      fht     64 elements in 16 registers, then 4 (2) registers at a distance
 */
#include <float.h>

#include "kernel/code_kernel.h"

#if PV__KERNEL_ARM
#include <arm_neon.h>

#include "os/sys.h"

#define CODE_LANES 4u
#define CODE_STEP 32u
#define CODE_PARTS 8u

/* Through bytes, since rows begin anywhere. */
PV__KERNEL_INLINE float32x4_t code_neon_load(const void *p, size_t i) {
    return vreinterpretq_f32_u8(vld1q_u8((const uint8_t *)p + i * sizeof(float)));
}

/* Elements [i, dims), at most 4, the rest zero. */
PV__KERNEL_INLINE float32x4_t code_neon_load_part(const void *p, size_t i, size_t dims) {
    float part[CODE_LANES] = {0};
    memcpy(part, (const uint8_t *)p + i * sizeof(float),
           PV_MIN(dims - i, (size_t)CODE_LANES) * sizeof(float));
    return vld1q_f32(part);
}

static void code_neon_range(const float *v, size_t n, float *out_low, float *out_high) {
    float32x4_t low = vdupq_n_f32(v[0]), high = low;
    size_t i = 0;
    for (; i + CODE_LANES <= n; i += CODE_LANES) {
        const float32x4_t x = vld1q_f32(v + i);
        low = vminq_f32(low, x);
        high = vmaxq_f32(high, x);
    }
    float l = vminvq_f32(low), h = vmaxvq_f32(high);
    for (; i < n; i++) {
        l = PV_MIN(l, v[i]);
        h = PV_MAX(h, v[i]);
    }
    *out_low = l;
    *out_high = h;
}

static void code_neon_times(const float *v, size_t n, float by, float *out) {
    size_t i = 0;
    for (; i + CODE_LANES <= n; i += CODE_LANES) {
        vst1q_f32(out + i, vmulq_n_f32(vld1q_f32(v + i), by));
    }
    for (; i < n; i++) {
        out[i] = v[i] * by;
    }
}

static void code_neon_less(float *v, size_t n, const float *mean) {
    size_t i = 0;
    for (; i + CODE_LANES <= n; i += CODE_LANES) {
        const float32x4_t d = vsubq_f32(vld1q_f32(v + i), vld1q_f32(mean + i));
        vst1q_f32(v + i, vmaxq_f32(vminq_f32(d, vdupq_n_f32(FLT_MAX)), vdupq_n_f32(-FLT_MAX)));
    }
    for (; i < n; i++) {
        const float d = v[i] - mean[i];
        v[i] = PV_MAX(PV_MIN(d, FLT_MAX), -FLT_MAX);
    }
}

static void code_neon_quantise(const float *v, size_t n, const pv__code_grid *grid, int8_t *out,
                               int32_t *out_sum, int32_t *out_sum2) {
    const float32x4_t middle = vdupq_n_f32(grid->middle);
    int32x4_t sum = vdupq_n_s32(0), sum2 = sum;
    const uint32_t lanes[CODE_LANES] = {0, 1, 2, 3};
    for (size_t i = 0; i < n; i += CODE_LANES) {
        const bool full = n - i >= CODE_LANES;
        float32x4_t x = full ? vld1q_f32(v + i) : code_neon_load_part(v, i, n);
        x = vmulq_n_f32(x, grid->scale);
        __asm__("" : "+w"(x));
        x = vmulq_n_f32(vsubq_f32(x, middle), grid->inv_step);
        int32x4_t c = vminq_s32(vmaxq_s32(vcvtnq_s32_f32(x), vdupq_n_s32(-128)), vdupq_n_s32(127));
        const uint32x4_t in = vcltq_u32(vld1q_u32(lanes), vdupq_n_u32((uint32_t)(n - i)));
        c = vandq_s32(c, vreinterpretq_s32_u32(in));
        sum = vaddq_s32(sum, c);
        sum2 = vmlaq_s32(sum2, c, c);
        int32_t part[CODE_LANES];
        vst1q_s32(part, c);
        for (size_t k = 0; k < PV_MIN(n - i, (size_t)CODE_LANES); k++) {
            out[i + k] = (int8_t)part[k];
        }
    }
    *out_sum = vaddvq_s32(sum);
    *out_sum2 = vaddvq_s32(sum2);
}

/* `count` rows, 1 or 4. The last step reads into the bytes behind the elements; there the query is
 * made zero. */
PV__KERNEL_INLINE void code_neon_i8_rows(unsigned count, const uint8_t *query, size_t dims,
                                         const uint8_t *const *row, int32x4_t acc[4]) {
    static const uint8_t ends[32] = {255, 255, 255, 255, 255, 255, 255, 255,
                                     255, 255, 255, 255, 255, 255, 255, 255};
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < count; k++) {
        acc[k] = vdupq_n_s32(0);
    }
    for (size_t i = 0; i < dims; i += 16) {
        uint8x16_t u = veorq_u8(vld1q_u8(query + i), vdupq_n_u8(0x80));
        if (dims - i < 16) {
            u = vandq_u8(u, vld1q_u8(ends + 16 - (dims - i)));
        }
        const int8x16_t q = vreinterpretq_s8_u8(u);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < count; k++) {
            const int8x16_t v = vreinterpretq_s8_u8(vld1q_u8(row[k] + i));
            acc[k] = vpadalq_s16(acc[k], vmull_s8(vget_low_s8(q), vget_low_s8(v)));
            acc[k] = vpadalq_s16(acc[k], vmull_high_s8(q, v));
        }
    }
}

static void code_neon_i8(const uint8_t *query, size_t dims, const pv__code_rows *rows,
                         int32_t *out) {
    int32x4_t acc[4];
    size_t r = 0;
    for (; r + 4 <= rows->n; r += 4) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 4);
        code_neon_i8_rows(4, query, dims, rows->row + r, acc);
        vst1q_s32(out + r, vpaddq_s32(vpaddq_s32(acc[0], acc[1]), vpaddq_s32(acc[2], acc[3])));
    }
    for (; r < rows->n; r++) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        code_neon_i8_rows(1, query, dims, rows->row + r, acc);
        out[r] = vaddvq_s32(acc[0]);
    }
}

/* 32 elements of one row, from 16 bytes. */
PV__KERNEL_INLINE int32x4_t code_neon_nibbles(int32x4_t acc, const uint8_t *row, int8x16_t level,
                                              int8x16_t q0, int8x16_t q1) {
    const uint8x16_t v = vld1q_u8(row);
    const int8x16_t a = vqtbl1q_s8(level, vandq_u8(v, vdupq_n_u8(15)));
    const int8x16_t b = vqtbl1q_s8(level, vshrq_n_u8(v, 4));
    int16x8_t s = vmull_s8(vget_low_s8(q0), vget_low_s8(a));
    s = vmlal_high_s8(s, q0, a);
    s = vmlal_s8(s, vget_low_s8(q1), vget_low_s8(b));
    s = vmlal_high_s8(s, q1, b);
    return vpadalq_s16(acc, s);
}

PV__KERNEL_INLINE void code_neon_nibble_rows(unsigned count, const uint8_t *query, size_t dims,
                                             const uint8_t *const *row, int32x4_t acc[4]) {
    static const int8_t levels[16] = {PV__CODE_LEVELS};
    const int8x16_t level = vld1q_s8(levels);
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < count; k++) {
        acc[k] = vdupq_n_s32(0);
    }
    for (size_t i = 0; i < dims; i += 32) { /* bytes i / 2 to i / 2 + 15 */
        const size_t block = i / 128 * 128, half = dims - block >= 128 ? 64 : 32;
        const uint8_t *const q = query + block + (i - block) / 2;
        const int8x16_t q0 = vreinterpretq_s8_u8(vld1q_u8(q));
        const int8x16_t q1 = vreinterpretq_s8_u8(vld1q_u8(q + half));
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < count; k++) {
            acc[k] = code_neon_nibbles(acc[k], row[k] + i / 2, level, q0, q1);
        }
    }
}

static void code_neon_nibble(const uint8_t *query, size_t dims, const pv__code_rows *rows,
                             int32_t *out) {
    int32x4_t acc[4];
    size_t r = 0;
    for (; r + 4 <= rows->n; r += 4) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 4);
        code_neon_nibble_rows(4, query, dims, rows->row + r, acc);
        vst1q_s32(out + r, vpaddq_s32(vpaddq_s32(acc[0], acc[1]), vpaddq_s32(acc[2], acc[3])));
    }
    for (; r < rows->n; r++) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        code_neon_nibble_rows(1, query, dims, rows->row + r, acc);
        out[r] = vaddvq_s32(acc[0]);
    }
}

/* 16 bytes at a time: the elements of their low halves, and those of their high ones. */
static void code_neon_unfold(const uint8_t *row, size_t dims, uint8_t *out) {
    static const int8_t levels[16] = {PV__CODE_LEVELS};
    const uint8x16_t above = vaddq_u8(vreinterpretq_u8_s8(vld1q_s8(levels)), vdupq_n_u8(64));
    for (size_t i = 0; i < dims; i += 32) {
        const size_t block = i / 128 * 128, half = dims - block >= 128 ? 64 : 32;
        uint8_t *const at = out + block + (i - block) / 2;
        const uint8x16_t v = vld1q_u8(row + i / 2);
        vst1q_u8(at, vqtbl1q_u8(above, vandq_u8(v, vdupq_n_u8(15))));
        vst1q_u8(at + half, vqtbl1q_u8(above, vshrq_n_u8(v, 4)));
    }
}

/* Sum of n bytes. */
PV__KERNEL_INLINE int32_t code_neon_total(const uint8_t *p, size_t n) {
    uint32x4_t acc = vdupq_n_u32(0);
    for (size_t i = 0; i < n; i += 16) {
        acc = vpadalq_u16(acc, vpaddlq_u8(vld1q_u8(p + i)));
    }
    return (int32_t)vaddvq_u32(acc);
}

/* As i8_rows: sums of the queries whose bit is set; each bit becomes a byte of ones. */
PV__KERNEL_INLINE void code_neon_bits_rows(unsigned count, const uint8_t *query, size_t dims,
                                           const uint8_t *const *row, int32x4_t acc[4]) {
    static const uint8_t one_of_8[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t bit = vld1q_u8(one_of_8);
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < count; k++) {
        acc[k] = vdupq_n_s32(0);
    }
    for (size_t i = 0; i < dims; i += 16) {
        const uint8x16_t q = vld1q_u8(query + i);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < count; k++) {
            const uint8_t *const p = row[k] + i / 8;
            const uint8x16_t set = vcombine_u8(vdup_n_u8(p[0]), vdup_n_u8(p[1]));
            const uint16x8_t sum = vpaddlq_u8(vandq_u8(vtstq_u8(set, bit), q));
            acc[k] = vpadalq_s16(acc[k], vreinterpretq_s16_u16(sum));
        }
    }
}

static void code_neon_bits(const uint8_t *query, size_t dims, const pv__code_rows *rows,
                           int32_t *out) {
    int32x4_t acc[4];
    const int32_t all = code_neon_total(query, dims);
    size_t r = 0;
    for (; r + 4 <= rows->n; r += 4) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 4);
        code_neon_bits_rows(4, query, dims, rows->row + r, acc);
        vst1q_s32(out + r, vpaddq_s32(vpaddq_s32(acc[0], acc[1]), vpaddq_s32(acc[2], acc[3])));
        for (size_t k = 0; k < 4; k++) {
            out[r + k] = 2 * out[r + k] - all;
        }
    }
    for (; r < rows->n; r++) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        code_neon_bits_rows(1, query, dims, rows->row + r, acc);
        out[r] = 2 * vaddvq_s32(acc[0]) - all;
    }
}

PV__KERNEL_INLINE float32x4_t code_neon_add(bool l2, float32x4_t acc, float32x4_t q,
                                            float32x4_t r) {
    const float32x4_t d = l2 ? vsubq_f32(q, r) : q;
    float32x4_t product = vmulq_f32(d, l2 ? d : r);
    __asm__("" : "+w"(product));
    return vaddq_f32(acc, product);
}

PV__KERNEL_INLINE float code_neon_f32_row(bool l2, const float *query, size_t dims,
                                          const uint8_t *row) {
    float32x4_t acc[CODE_PARTS];
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < CODE_PARTS; k++) {
        acc[k] = vdupq_n_f32(0.0f);
    }
    size_t i = 0;
    for (; i + CODE_STEP <= dims; i += CODE_STEP) {
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < CODE_PARTS; k++) {
            const size_t at = i + k * CODE_LANES;
            acc[k] = code_neon_add(l2, acc[k], code_neon_load(query, at), code_neon_load(row, at));
        }
    }
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < CODE_PARTS; k++) {
        if (i < dims) {
            acc[k] = code_neon_add(l2, acc[k], code_neon_load_part(query, i, dims),
                                   code_neon_load_part(row, i, dims));
            i += CODE_LANES;
        }
    }
    const float32x4_t low = vaddq_f32(vaddq_f32(acc[0], acc[4]), vaddq_f32(acc[2], acc[6]));
    const float32x4_t high = vaddq_f32(vaddq_f32(acc[1], acc[5]), vaddq_f32(acc[3], acc[7]));
    return vaddvq_f32(low) + vaddvq_f32(high);
}

static void code_neon_l2sq(const float *query, size_t dims, const pv__code_rows *rows, float *out) {
    for (size_t r = 0; r < rows->n; r++) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        out[r] = code_neon_f32_row(true, query, dims, rows->row[r]);
    }
}

static void code_neon_dot(const float *query, size_t dims, const pv__code_rows *rows, float *out) {
    for (size_t r = 0; r < rows->n; r++) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        out[r] = code_neon_f32_row(false, query, dims, rows->row[r]);
    }
}

static void code_neon_signs(float *v, size_t n, uint64_t seed, float scale) {
    static const uint32_t lanes[CODE_LANES] = {1, 2, 4, 8};
    const uint32x4_t bit = vld1q_u32(lanes);
    for (size_t i = 0; i < n; i += 64) {
        uint64_t bits = pv__code_signs(seed, i / 64);
        for (unsigned k = 0; k < 16; k++, bits >>= 4) {
            const uint32x4_t set = vtstq_u32(vdupq_n_u32((uint32_t)(bits & 15)), bit);
            float32x4_t x = vmulq_n_f32(vld1q_f32(v + i + k * CODE_LANES), scale);
            __asm__("" : "+w"(x));
            const uint32x4_t y = veorq_u32(vreinterpretq_u32_f32(x), vshlq_n_u32(set, 31));
            vst1q_f32(v + i + k * CODE_LANES, vreinterpretq_f32_u32(y));
        }
    }
}

static void code_neon_turn(float *a, float *b, size_t n) {
    for (size_t i = 0; i < n; i += CODE_LANES) {
        const float32x4_t x = vld1q_f32(a + i), y = vld1q_f32(b + i);
        vst1q_f32(a + i, vaddq_f32(x, y));
        vst1q_f32(b + i, vsubq_f32(x, y));
    }
}

/* Stages of distance 1 and 2 within a register. */
PV__KERNEL_INLINE float32x4_t code_neon_fht4(float32x4_t v) {
    static const uint32_t masks[2 * CODE_LANES] = {0, ~0u, 0, ~0u, 0, 0, ~0u, ~0u};
    float32x4_t t = vrev64q_f32(v);
    v = vbslq_f32(vld1q_u32(masks), vsubq_f32(t, v), vaddq_f32(v, t));
    t = vextq_f32(v, v, 2);
    return vbslq_f32(vld1q_u32(masks + CODE_LANES), vsubq_f32(t, v), vaddq_f32(v, t));
}

/* Stages of distance 1 and 2 (and 4) between registers. */
PV__KERNEL_INLINE void code_neon_pair(float32x4_t *a, float32x4_t *b) {
    const float32x4_t x = *a, y = *b;
    *a = vaddq_f32(x, y);
    *b = vsubq_f32(x, y);
}

PV__KERNEL_INLINE void code_neon_four(float32x4_t *v) {
    code_neon_pair(v, v + 1);
    code_neon_pair(v + 2, v + 3);
    code_neon_pair(v, v + 2);
    code_neon_pair(v + 1, v + 3);
}

PV__KERNEL_INLINE void code_neon_eight(float32x4_t *v) {
    code_neon_four(v);
    code_neon_four(v + 4);
    code_neon_pair(v, v + 4);
    code_neon_pair(v + 1, v + 5);
    code_neon_pair(v + 2, v + 6);
    code_neon_pair(v + 3, v + 7);
}

/* The stages of distance h and 2 h; h is a multiple of 64. */
PV__KERNEL_INLINE void code_neon_far4(float *v, size_t n, size_t h) {
    for (size_t i = 0; i < n; i += 4 * h) {
        for (size_t j = i; j < i + h; j += CODE_LANES) {
            float32x4_t r[4] = {vld1q_f32(v + j), vld1q_f32(v + j + h), vld1q_f32(v + j + 2 * h),
                                vld1q_f32(v + j + 3 * h)};
            code_neon_four(r);
            vst1q_f32(v + j, r[0]);
            vst1q_f32(v + j + h, r[1]);
            vst1q_f32(v + j + 2 * h, r[2]);
            vst1q_f32(v + j + 3 * h, r[3]);
        }
    }
}

static void code_neon_fht(float *v, size_t n) {
    for (size_t i = 0; i < n; i += 64) {
        float32x4_t r[16];
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 16; k++) {
            r[k] = code_neon_fht4(vld1q_f32(v + i + k * CODE_LANES));
        }
        code_neon_eight(r);
        code_neon_eight(r + 8);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 8; k++) {
            code_neon_pair(r + k, r + 8 + k);
        }
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 16; k++) {
            vst1q_f32(v + i + k * CODE_LANES, r[k]);
        }
    }
    size_t h = 64;
    for (; h * 4 <= n; h *= 4) {
        code_neon_far4(v, n, h);
    }
    if (h * 2 == n) {
        code_neon_turn(v, v + h, h);
    }
}

static void code_neon_levels(const float *v, size_t n, float scale, uint8_t *out_index,
                             float *out_level) {
    static const float border[7] = {PV__CODE_BORDERS};
    static const int8_t level[16] = {PV__CODE_LEVELS};
    for (size_t i = 0; i < n; i += CODE_LANES) {
        const float32x4_t at = vmulq_n_f32(vld1q_f32(v + i), scale);
        const float32x4_t abs = vabsq_f32(at);
        uint32x4_t c = vdupq_n_u32(8);
        for (unsigned k = 0; k < 7; k++) {
            c = vsubq_u32(c, vcgeq_f32(abs, vdupq_n_f32(border[k])));
        }
        c = vbslq_u32(vcltzq_f32(at), vsubq_u32(vdupq_n_u32(15), c), c);
        uint32_t part[CODE_LANES];
        vst1q_u32(part, c);
        for (unsigned k = 0; k < CODE_LANES; k++) {
            out_index[i + k] = (uint8_t)part[k];
            out_level[i + k] = (float)level[part[k]];
        }
    }
}

const pv__code_kernel *pv__code_kernel_neon(void) {
    static const pv__code_kernel table = {
        .name = "neon",
        .cpu = PV__CPU_NEON,
        .i8_bias = 0,
        .range = code_neon_range,
        .times = code_neon_times,
        .less = code_neon_less,
        .quantise = code_neon_quantise,
        .i8 = code_neon_i8,
        .nibble = code_neon_nibble,
        .unfold = code_neon_unfold,
        .bits = code_neon_bits,
        .l2sq = code_neon_l2sq,
        .dot = code_neon_dot,
        .signs = code_neon_signs,
        .fht = code_neon_fht,
        .turn = code_neon_turn,
        .levels = code_neon_levels,
    };
    return &table;
}

#undef CODE_LANES
#undef CODE_STEP
#undef CODE_PARTS
#endif
