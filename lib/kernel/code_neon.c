/* SPDX-License-Identifier: Apache-2.0 */
/* code_neon.c - sums over codes with Advanced SIMD, which every arm64 has.
 *
 *      i8      16 elements of 4 rows at a time; products of 16 bits are added up in pairs, which
 *              is exact. The query is made signed on the way (i8_bias 0)
 *      nibble  32 elements of 4 rows at a time; four products, at most 4 * 127 * 63, fit 16 bits
 *      bits    16 elements of 4 rows at a time, bits spread to bytes
 *      f32     1 row, 8 chains
 *      fht     64 elements in 16 registers, then 4 (2) registers at a distance
 *
 * And a table for processors with dot products of bytes (ARMv8.2; nearly all since 2018), where one
 * instruction takes the place of four, and panels are worth turning:
 *
 *      panel   16 of the 32 rows x 4 queries = 16 registers of sums; 16 bytes of each query are
 *              loaded at a time, and met by four at a time */
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

/* Four registers of sums to four sums. */
PV__KERNEL_INLINE int32x4_t code_neon_sum4(const int32x4_t v[4]) {
    return vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]));
}

/* Sums of registers to sums of rows: four rows at a time, then one by one. name_rows adds up 1 or 4
 * rows. */
#define CODE_SUMS(name, attribute)                                                                 \
    attribute static void name(const uint8_t *query, size_t dims, const pv__code_rows *rows,       \
                               int32_t *out) {                                                     \
        int32x4_t acc[4];                                                                          \
        size_t r = 0;                                                                              \
        for (; r + 4 <= rows->n; r += 4) {                                                         \
            pv__code_fetch(rows, r + PV__CODE_AHEAD, 4);                                           \
            name##_rows(4, query, dims, rows->row + r, acc);                                       \
            vst1q_s32(out + r, code_neon_sum4(acc));                                               \
        }                                                                                          \
        for (; r < rows->n; r++) {                                                                 \
            pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);                                           \
            name##_rows(1, query, dims, rows->row + r, acc);                                       \
            out[r] = vaddvq_s32(acc[0]);                                                           \
        }                                                                                          \
    }
#define CODE_PLAIN

PV__KERNEL_INLINE int8x16_t code_neon_signed(const uint8_t *query) {
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(query), vdupq_n_u8(0x80)));
}

/* 16 elements of the query, signed. The last step reads into the bytes behind the elements of a
 * row; there the query is made zero. */
PV__KERNEL_INLINE int8x16_t code_neon_query(const uint8_t *query, size_t i, size_t dims) {
    static const int8_t ends[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    const int8x16_t q = code_neon_signed(query + i);
    return dims - i < 16 ? vandq_s8(q, vld1q_s8(ends + 16 - (dims - i))) : q;
}

PV__KERNEL_INLINE void code_neon_clear(unsigned count, int32x4_t *acc) {
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < count; k++) {
        acc[k] = vdupq_n_s32(0);
    }
}

PV__KERNEL_INLINE void code_neon_i8_rows(unsigned count, const uint8_t *query, size_t dims,
                                         const uint8_t *const *row, int32x4_t acc[4]) {
    code_neon_clear(count, acc);
    for (size_t i = 0; i < dims; i += 16) {
        const int8x16_t q = code_neon_query(query, i, dims);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < count; k++) {
            const int8x16_t v = vreinterpretq_s8_u8(vld1q_u8(row[k] + i));
            acc[k] = vpadalq_s16(acc[k], vmull_s8(vget_low_s8(q), vget_low_s8(v)));
            acc[k] = vpadalq_s16(acc[k], vmull_high_s8(q, v));
        }
    }
}

CODE_SUMS(code_neon_i8, CODE_PLAIN)

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

/* Of the elements in the 16 bytes from i / 2 on: the query's for the low halves; those for the high
 * ones are `half` behind. */
PV__KERNEL_INLINE const int8_t *code_neon_half(const uint8_t *query, size_t i, size_t dims,
                                               size_t *out_half) {
    const size_t block = i / 128 * 128;
    *out_half = dims - block >= 128 ? 64 : 32;
    return (const int8_t *)query + block + (i - block) / 2;
}

PV__KERNEL_INLINE void code_neon_nibble_rows(unsigned count, const uint8_t *query, size_t dims,
                                             const uint8_t *const *row, int32x4_t acc[4]) {
    static const int8_t levels[16] = {PV__CODE_LEVELS};
    const int8x16_t level = vld1q_s8(levels);
    code_neon_clear(count, acc);
    for (size_t i = 0; i < dims; i += 32) {
        size_t half;
        const int8_t *const q = code_neon_half(query, i, dims, &half);
        const int8x16_t q0 = vld1q_s8(q), q1 = vld1q_s8(q + half);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < count; k++) {
            acc[k] = code_neon_nibbles(acc[k], row[k] + i / 2, level, q0, q1);
        }
    }
}

CODE_SUMS(code_neon_nibble, CODE_PLAIN)

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

/* Bytes of ones where a bit of p[0] and p[1] is set. */
PV__KERNEL_INLINE uint8x16_t code_neon_spread(const uint8_t *p) {
    static const uint8_t one_of_8[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    return vtstq_u8(vcombine_u8(vdup_n_u8(p[0]), vdup_n_u8(p[1])), vld1q_u8(one_of_8));
}

/* Sums of the queries whose bit is set. */
PV__KERNEL_INLINE void code_neon_set_rows(unsigned count, const uint8_t *query, size_t dims,
                                          const uint8_t *const *row, int32x4_t acc[4]) {
    code_neon_clear(count, acc);
    for (size_t i = 0; i < dims; i += 16) {
        const uint8x16_t q = vld1q_u8(query + i);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < count; k++) {
            const uint16x8_t sum = vpaddlq_u8(vandq_u8(code_neon_spread(row[k] + i / 8), q));
            acc[k] = vpadalq_s16(acc[k], vreinterpretq_s16_u16(sum));
        }
    }
}

CODE_SUMS(code_neon_set, CODE_PLAIN)

static void code_neon_bits(const uint8_t *query, size_t dims, const pv__code_rows *rows,
                           int32_t *out) {
    const int32_t all = code_neon_total(query, dims);
    code_neon_set(query, dims, rows, out);
    for (size_t r = 0; r < rows->n; r++) {
        out[r] = 2 * out[r] - all;
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

/* Members that both tables have. */
#define CODE_COMMON                                                                                \
    .i8_bias = 0, .range = code_neon_range, .times = code_neon_times, .less = code_neon_less,      \
    .quantise = code_neon_quantise, .unfold = code_neon_unfold, .l2sq = code_neon_l2sq,            \
    .dot = code_neon_dot, .signs = code_neon_signs, .fht = code_neon_fht, .turn = code_neon_turn,  \
    .levels = code_neon_levels

const pv__code_kernel *pv__code_kernel_neon(void) {
    static const pv__code_kernel table = {
        .name = "neon",
        .cpu = PV__CPU_NEON,
        CODE_COMMON,
        .i8 = code_neon_i8,
        .nibble = code_neon_nibble,
        .bits = code_neon_bits,
    };
    return &table;
}

/* ---- dot products of bytes ------------------------------------------------------------------- */

#if PV__KERNEL_DOTPROD
#if defined(__ARM_FEATURE_DOTPROD)
#define CODE_DOTPROD
#else
#define CODE_DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))
#endif

CODE_DOTPROD PV__KERNEL_INLINE void code_dotprod_i8_rows(unsigned count, const uint8_t *query,
                                                         size_t dims, const uint8_t *const *row,
                                                         int32x4_t acc[4]) {
    code_neon_clear(count, acc);
    for (size_t i = 0; i < dims; i += 16) {
        const int8x16_t q = code_neon_query(query, i, dims);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < count; k++) {
            acc[k] = vdotq_s32(acc[k], q, vreinterpretq_s8_u8(vld1q_u8(row[k] + i)));
        }
    }
}

CODE_SUMS(code_dotprod_i8, CODE_DOTPROD)

CODE_DOTPROD PV__KERNEL_INLINE void code_dotprod_nibble_rows(unsigned count, const uint8_t *query,
                                                             size_t dims, const uint8_t *const *row,
                                                             int32x4_t acc[4]) {
    static const int8_t levels[16] = {PV__CODE_LEVELS};
    const int8x16_t level = vld1q_s8(levels);
    code_neon_clear(count, acc);
    for (size_t i = 0; i < dims; i += 32) {
        size_t half;
        const int8_t *const q = code_neon_half(query, i, dims, &half);
        const int8x16_t q0 = vld1q_s8(q), q1 = vld1q_s8(q + half);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < count; k++) {
            const uint8x16_t v = vld1q_u8(row[k] + i / 2);
            const int8x16_t a = vqtbl1q_s8(level, vandq_u8(v, vdupq_n_u8(15)));
            const int8x16_t b = vqtbl1q_s8(level, vshrq_n_u8(v, 4));
            acc[k] = vdotq_s32(vdotq_s32(acc[k], q0, a), q1, b);
        }
    }
}

CODE_SUMS(code_dotprod_nibble, CODE_DOTPROD)

/* The same less than zero: a byte of ones is -1. */
CODE_DOTPROD PV__KERNEL_INLINE void code_dotprod_unset_rows(unsigned count, const uint8_t *query,
                                                            size_t dims, const uint8_t *const *row,
                                                            int32x4_t acc[4]) {
    code_neon_clear(count, acc);
    for (size_t i = 0; i < dims; i += 16) {
        const int8x16_t q = vreinterpretq_s8_u8(vld1q_u8(query + i));
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < count; k++) {
            const int8x16_t set = vreinterpretq_s8_u8(code_neon_spread(row[k] + i / 8));
            acc[k] = vdotq_s32(acc[k], q, set);
        }
    }
}

CODE_SUMS(code_dotprod_unset, CODE_DOTPROD)

static void code_dotprod_bits(const uint8_t *query, size_t dims, const pv__code_rows *rows,
                              int32_t *out) {
    const int32_t all = code_neon_total(query, dims);
    code_dotprod_unset(query, dims, rows, out);
    for (size_t r = 0; r < rows->n; r++) {
        out[r] = -2 * out[r] - all;
    }
}

/* Four bytes of 16 rows by lane `lane` of the queries. */
#define CODE_PANEL_LANE(lane)                                                                      \
    {                                                                                              \
        const uint8_t *const at = panel + (i + 4 * (size_t)(lane)) * PV__CODE_PANEL;               \
        PV__KERNEL_UNROLL                                                                          \
        for (unsigned j = 0; j < 4; j++) {                                                         \
            const int8x16_t v = vreinterpretq_s8_u8(vld1q_u8(at + 16 * (size_t)j));                \
            PV__KERNEL_UNROLL                                                                      \
            for (unsigned k = 0; k < count; k++) {                                                 \
                acc[4 * k + j] = vdotq_laneq_s32(acc[4 * k + j], v, q[k], lane);                   \
            }                                                                                      \
        }                                                                                          \
    }

/* `count` queries, 1 or 4, against 16 rows. */
CODE_DOTPROD PV__KERNEL_INLINE void code_dotprod_panel_some(unsigned count,
                                                            const uint8_t *const *queries,
                                                            size_t bytes, const uint8_t *panel,
                                                            int32_t *out) {
    int32x4_t acc[16];
    int8x16_t q[4];
    code_neon_clear(4 * count, acc);
    size_t i = 0;
    for (; i + 16 <= bytes; i += 16) {
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < count; k++) {
            q[k] = code_neon_signed(queries[k] + i);
        }
        CODE_PANEL_LANE(0)
        CODE_PANEL_LANE(1)
        CODE_PANEL_LANE(2)
        CODE_PANEL_LANE(3)
    }
    for (; i < bytes; i += 4) {
        for (unsigned k = 0; k < count; k++) {
            uint32_t word;
            memcpy(&word, queries[k] + i, sizeof word);
            q[k] = vreinterpretq_s8_u32(vdupq_n_u32(word ^ 0x80808080u));
        }
        CODE_PANEL_LANE(0)
    }
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < 4 * count; k++) {
        vst1q_s32(out + k / 4 * PV__CODE_PANEL + k % 4 * 4, acc[k]);
    }
}

CODE_DOTPROD static void code_dotprod_panel(const uint8_t *const *queries, size_t count,
                                            size_t bytes, const uint8_t *panel, int32_t *out) {
    for (size_t r = 0; r < PV__CODE_PANEL; r += 16) {
        int32_t *const to = out + r;
        size_t q = 0;
        for (; q + 4 <= count; q += 4) {
            code_dotprod_panel_some(4, queries + q, bytes, panel + 4 * r, to + q * PV__CODE_PANEL);
        }
        for (; q < count; q++) {
            code_dotprod_panel_some(1, queries + q, bytes, panel + 4 * r, to + q * PV__CODE_PANEL);
        }
    }
}

/* Words of four rows, each to the place of its row in a panel. */
static void code_dotprod_turn4(const uint8_t *const rows[4], size_t bytes, uint8_t less,
                               uint8_t *out) {
    const uint8x16_t by = vdupq_n_u8(less);
    size_t i = 0;
    for (; i + 16 <= bytes; i += 16) {
        uint32x4_t v[4];
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 4; k++) {
            v[k] = vreinterpretq_u32_u8(vsubq_u8(vld1q_u8(rows[k] + i), by));
        }
        const uint32x4x2_t a = vzipq_u32(v[0], v[2]), b = vzipq_u32(v[1], v[3]);
        const uint32x4x2_t low = vzipq_u32(a.val[0], b.val[0]);
        const uint32x4x2_t high = vzipq_u32(a.val[1], b.val[1]);
        const uint32x4_t word[4] = {low.val[0], low.val[1], high.val[0], high.val[1]};
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 4; k++) {
            vst1q_u8(out + (i + 4 * (size_t)k) * PV__CODE_PANEL, vreinterpretq_u8_u32(word[k]));
        }
    }
    for (; i < bytes; i += 4) {
        for (unsigned k = 0; k < 16; k++) {
            out[i * PV__CODE_PANEL + k] = (uint8_t)(rows[k / 4][i + k % 4] - less);
        }
    }
}

PV__KERNEL_INLINE float32x4_t code_neon_mul(float32x4_t a, float32x4_t b) {
    float32x4_t product = vmulq_f32(a, b);
    __asm__("" : "+w"(product));
    return product;
}

static bool code_dotprod_close(const int32_t *sums, const pv__code_panel_rows *rows,
                               const pv__code_panel_query *query, float *out) {
    uint32x4_t good = vdupq_n_u32(UINT32_MAX);
    for (size_t r = 0; r < PV__CODE_PANEL; r += CODE_LANES) {
        const float32x4_t dm = vsubq_f32(vdupq_n_f32(query->mean), vld1q_f32(rows->mean + r));
        const float32x4_t turn = vsubq_f32(vdupq_n_f32(query->tilt), vld1q_f32(rows->tilt + r));
        const float32x4_t spread =
            vaddq_f32(vld1q_f32(rows->spread + r), vdupq_n_f32(query->spread));
        const int32x4_t less = vmlaq_n_s32(vmulq_n_s32(vld1q_s32(rows->sum + r), query->offset),
                                           vld1q_s32(rows->shift + r), query->sum);
        const float32x4_t cross = vcvtq_f32_s32(vsubq_s32(vld1q_s32(sums + r), less));
        const float32x4_t step =
            code_neon_mul(vdupq_n_f32(query->step2), vld1q_f32(rows->step + r));
        float32x4_t d = code_neon_mul(vdupq_n_f32(query->dims), dm);
        d = vaddq_f32(d, vaddq_f32(turn, turn));
        d = vaddq_f32(code_neon_mul(dm, d), spread);
        d = vsubq_f32(d, code_neon_mul(step, cross));
        d = vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(d), vclezq_f32(d)));
        good = vandq_u32(good, vcleq_f32(vabsq_f32(d), vdupq_n_f32(FLT_MAX)));
        vst1q_f32(out + r, d);
    }
    return vminvq_u32(good) != 0;
}

static uint32_t code_dotprod_within(const float *distances, float bound) {
    static const uint32_t lanes[CODE_LANES] = {1, 2, 4, 8};
    const uint32x4_t bit = vld1q_u32(lanes);
    uint32_t within = 0;
    for (unsigned r = 0; r < PV__CODE_PANEL; r += CODE_LANES) {
        const uint32x4_t in = vcleq_f32(vld1q_f32(distances + r), vdupq_n_f32(bound));
        within |= vaddvq_u32(vandq_u32(in, bit)) << r;
    }
    return within;
}

const pv__code_kernel *pv__code_kernel_dotprod(void) {
    static const pv__code_kernel table = {
        .name = "dotprod",
        .cpu = PV__CPU_NEON | PV__CPU_DOTPROD,
        CODE_COMMON,
        .i8 = code_dotprod_i8,
        .nibble = code_dotprod_nibble,
        .bits = code_dotprod_bits,
        .panel = code_dotprod_panel,
        .turn4 = code_dotprod_turn4,
        .close = code_dotprod_close,
        .within = code_dotprod_within,
    };
    return &table;
}

#undef CODE_DOTPROD
#undef CODE_PANEL_LANE
#endif

#undef CODE_LANES
#undef CODE_STEP
#undef CODE_PARTS
#undef CODE_SUMS
#undef CODE_PLAIN
#undef CODE_COMMON
#endif
