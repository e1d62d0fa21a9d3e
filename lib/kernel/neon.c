/* SPDX-License-Identifier: Apache-2.0 */
/* neon.c - kernels of 4 lanes (Advanced SIMD, which every arm64 has): the 32 partial sums of a pair
 * are eight registers.
 *
 *      row     1 query x 1 row: 8 chains of multiply-adds
 *      cos     the same with dot and squared norm: 16 chains
 *      tile    3 queries x 1 row x 8 = 24 registers of sums
 *      screen  12 queries x 8 rows = 24 registers of sums, 5 loads for 24 multiply-adds
 *
 * There is no masked load: the last dims % 4 elements are copied into zeros first. The same bits as
 * avx512.c.
 *
 * Not here: special values and final distances (kernel.c). */
#include "kernel/kernel.h"

#if PV__KERNEL_ARM
#include <arm_neon.h>

#include "os/sys.h"

#define NEON_LANES 4u
#define NEON_STEP 32u
#define NEON_PARTS (NEON_STEP / NEON_LANES)
#define NEON_TILE_QUERIES 3u
#define NEON_TILE_ROWS 1u
#define NEON_SCREEN_QUERIES 12u
#define NEON_SCREEN_ROWS 8u

/* Through bytes, since rows begin anywhere. */
PV__KERNEL_INLINE float32x4_t neon_load(const void *p, size_t i) {
    return vreinterpretq_f32_u8(vld1q_u8((const uint8_t *)p + i * sizeof(float)));
}

/* Elements [i, dims), at most 4, the rest zero. */
PV__KERNEL_INLINE float32x4_t neon_load_part(const void *p, size_t i, size_t dims) {
    float part[NEON_LANES] = {0};
    memcpy(part, (const uint8_t *)p + i * sizeof(float),
           PV_MIN(dims - i, (size_t)NEON_LANES) * sizeof(float));
    return vld1q_f32(part);
}

PV__KERNEL_INLINE void neon_prefetch(bool once, const uint8_t *p, size_t i) {
    pv__kernel_fetch(once, p + i * sizeof(float));
    pv__kernel_fetch(once, p + (i + 16) * sizeof(float));
}

PV__KERNEL_INLINE float32x4_t neon_add(bool l2, float32x4_t acc, float32x4_t q, float32x4_t r) {
    if (l2) {
        const float32x4_t d = vsubq_f32(q, r);
        return vfmaq_f32(acc, d, d);
    }
    return vfmaq_f32(acc, q, r);
}

/* 8 sums. */
typedef struct neon_eight {
    float32x4_t low, high;
} neon_eight;

/* 32 sums to 8, in the order of kernel.h. */
PV__KERNEL_INLINE neon_eight neon_fold(const float32x4_t s[NEON_PARTS]) {
    neon_eight e;
    e.low = vaddq_f32(vaddq_f32(s[0], s[4]), vaddq_f32(s[2], s[6]));
    e.high = vaddq_f32(vaddq_f32(s[1], s[5]), vaddq_f32(s[3], s[7]));
    return e;
}

/* 8 sums to 1; vaddvq adds (0 + 1) + (2 + 3). */
PV__KERNEL_INLINE float neon_sum(neon_eight e) { return vaddvq_f32(e.low) + vaddvq_f32(e.high); }

PV__KERNEL_INLINE void neon_clear(float32x4_t acc[NEON_PARTS]) {
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < NEON_PARTS; k++) {
        acc[k] = vdupq_n_f32(0.0f);
    }
}

PV__KERNEL_INLINE float neon_row(bool l2, bool once, const float *query, size_t dims,
                                 const uint8_t *row, const uint8_t *next) {
    float32x4_t acc[NEON_PARTS];
    neon_clear(acc);
    size_t i = 0;
    for (; i + NEON_STEP <= dims; i += NEON_STEP) {
        neon_prefetch(once, next, i);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < NEON_PARTS; k++) {
            const size_t at = i + k * NEON_LANES;
            acc[k] = neon_add(l2, acc[k], neon_load(query, at), neon_load(row, at));
        }
    }
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < NEON_PARTS; k++) {
        if (i < dims) {
            const float32x4_t q = neon_load_part(query, i, dims);
            acc[k] = neon_add(l2, acc[k], q, neon_load_part(row, i, dims));
            i += NEON_LANES;
        }
    }
    return neon_sum(neon_fold(acc));
}

PV__KERNEL_INLINE void neon_rows(bool l2, bool once, const float *query, size_t dims,
                                 const uint8_t *const *rows, size_t n, size_t ahead, float *out) {
    for (size_t r = 0; r < n; r++) {
        out[r] = neon_row(l2, once, query, dims, rows[r], rows[r + ahead]);
    }
}

static void neon_l2sq(const float *query, size_t dims, const uint8_t *const *rows, size_t n,
                      pv__kernel_ahead ahead, float *out) {
    if (ahead.once) {
        neon_rows(true, true, query, dims, rows, n, ahead.rows, out);
    } else {
        neon_rows(true, false, query, dims, rows, n, ahead.rows, out);
    }
}

static void neon_dot(const float *query, size_t dims, const uint8_t *const *rows, size_t n,
                     pv__kernel_ahead ahead, float *out) {
    if (ahead.once) {
        neon_rows(false, true, query, dims, rows, n, ahead.rows, out);
    } else {
        neon_rows(false, false, query, dims, rows, n, ahead.rows, out);
    }
}

PV__KERNEL_INLINE void neon_cos_row(bool once, const float *query, size_t dims, const uint8_t *row,
                                    const uint8_t *next, float *out_dot, float *out_norm2) {
    float32x4_t dot[NEON_PARTS], norm2[NEON_PARTS];
    neon_clear(dot);
    neon_clear(norm2);
    size_t i = 0;
    for (; i + NEON_STEP <= dims; i += NEON_STEP) {
        neon_prefetch(once, next, i);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < NEON_PARTS; k++) {
            const float32x4_t v = neon_load(row, i + k * NEON_LANES);
            dot[k] = vfmaq_f32(dot[k], neon_load(query, i + k * NEON_LANES), v);
            norm2[k] = vfmaq_f32(norm2[k], v, v);
        }
    }
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < NEON_PARTS; k++) {
        if (i < dims) {
            const float32x4_t v = neon_load_part(row, i, dims);
            dot[k] = vfmaq_f32(dot[k], neon_load_part(query, i, dims), v);
            norm2[k] = vfmaq_f32(norm2[k], v, v);
            i += NEON_LANES;
        }
    }
    *out_dot = neon_sum(neon_fold(dot));
    *out_norm2 = neon_sum(neon_fold(norm2));
}

static void neon_cos(const float *query, size_t dims, const uint8_t *const *rows, size_t n,
                     pv__kernel_ahead ahead, float *out_dot, float *out_norm2) {
    const uint8_t *const *next = rows + ahead.rows;
    for (size_t r = 0; r < n; r++) {
        if (ahead.once) {
            neon_cos_row(true, query, dims, rows[r], next[r], out_dot + r, out_norm2 + r);
        } else {
            neon_cos_row(false, query, dims, rows[r], next[r], out_dot + r, out_norm2 + r);
        }
    }
}

PV__KERNEL_INLINE void neon_tile(bool l2, const float *const *queries, size_t dims,
                                 const uint8_t *row, float *out) {
    float32x4_t a[NEON_PARTS], b[NEON_PARTS], c[NEON_PARTS];
    neon_clear(a);
    neon_clear(b);
    neon_clear(c);
    size_t i = 0;
    for (; i + NEON_STEP <= dims; i += NEON_STEP) {
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < NEON_PARTS; k++) {
            const size_t at = i + k * NEON_LANES;
            const float32x4_t v = neon_load(row, at);
            a[k] = neon_add(l2, a[k], neon_load(queries[0], at), v);
            b[k] = neon_add(l2, b[k], neon_load(queries[1], at), v);
            c[k] = neon_add(l2, c[k], neon_load(queries[2], at), v);
        }
    }
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < NEON_PARTS; k++) {
        if (i < dims) {
            const float32x4_t v = neon_load_part(row, i, dims);
            a[k] = neon_add(l2, a[k], neon_load_part(queries[0], i, dims), v);
            b[k] = neon_add(l2, b[k], neon_load_part(queries[1], i, dims), v);
            c[k] = neon_add(l2, c[k], neon_load_part(queries[2], i, dims), v);
            i += NEON_LANES;
        }
    }
    out[0] = neon_sum(neon_fold(a));
    out[1] = neon_sum(neon_fold(b));
    out[2] = neon_sum(neon_fold(c));
}

static void neon_l2sq_tile(const float *const *queries, size_t dims, const uint8_t *const *rows,
                           float *out) {
    neon_tile(true, queries, dims, rows[0], out);
}

static void neon_dot_tile(const float *const *queries, size_t dims, const uint8_t *const *rows,
                          float *out) {
    neon_tile(false, queries, dims, rows[0], out);
}

/* Lane `lane` of every third of the queries against 8 rows. */
#define NEON_SCREEN_LANE(lane)                                                                     \
    PV__KERNEL_UNROLL                                                                              \
    for (unsigned q = 0; q < 3; q++) {                                                             \
        low[4 * q + (lane)] = vfmaq_laneq_f32(low[4 * q + (lane)], a, v[q], lane);                 \
        high[4 * q + (lane)] = vfmaq_laneq_f32(high[4 * q + (lane)], b, v[q], lane);               \
    }

/* Bits of the four rows that are not below least. */
PV__KERNEL_INLINE uint32_t neon_maybe(float32x4_t dot, const float *scale, const float *shift,
                                      float least) {
    static const uint32_t lanes[NEON_LANES] = {1, 2, 4, 8};
    const float32x4_t x = vfmaq_f32(vnegq_f32(vld1q_f32(shift)), dot, vld1q_f32(scale));
    return vaddvq_u32(vbicq_u32(vld1q_u32(lanes), vcltq_f32(x, vdupq_n_f32(least))));
}

static bool neon_screen(const float *group, size_t dims, const float *panel, const float *scale,
                        const float *shift, const float *least, uint32_t *out) {
    float32x4_t low[NEON_SCREEN_QUERIES], high[NEON_SCREEN_QUERIES], v[3];
    PV__KERNEL_UNROLL
    for (unsigned q = 0; q < NEON_SCREEN_QUERIES; q++) {
        low[q] = high[q] = vdupq_n_f32(0.0f);
    }
    for (size_t i = 0; i < dims; i++) {
        const float32x4_t a = vld1q_f32(panel), b = vld1q_f32(panel + NEON_LANES);
        PV__KERNEL_UNROLL
        for (unsigned q = 0; q < 3; q++) {
            v[q] = vld1q_f32(group + NEON_LANES * q);
        }
        NEON_SCREEN_LANE(0)
        NEON_SCREEN_LANE(1)
        NEON_SCREEN_LANE(2)
        NEON_SCREEN_LANE(3)
        panel += NEON_SCREEN_ROWS;
        group += NEON_SCREEN_QUERIES;
    }
    uint32_t any = 0;
    PV__KERNEL_UNROLL
    for (unsigned q = 0; q < NEON_SCREEN_QUERIES; q++) {
        out[q] = neon_maybe(low[q], scale, shift, least[q]) |
                 neon_maybe(high[q], scale + NEON_LANES, shift + NEON_LANES, least[q])
                     << NEON_LANES;
        any |= out[q];
    }
    return any != 0;
}

const pv__kernel *pv__kernel_neon(void) {
    static const pv__kernel table = {
        .name = "neon",
        .cpu = PV__CPU_NEON,
        .tile_queries = NEON_TILE_QUERIES,
        .tile_rows = NEON_TILE_ROWS,
        .l2sq = neon_l2sq,
        .dot = neon_dot,
        .cos = neon_cos,
        .l2sq_tile = neon_l2sq_tile,
        .dot_tile = neon_dot_tile,
        .screen_queries = NEON_SCREEN_QUERIES,
        .screen_rows = NEON_SCREEN_ROWS,
        .screen = neon_screen,
    };
    return &table;
}

#undef NEON_LANES
#undef NEON_STEP
#undef NEON_PARTS
#undef NEON_TILE_QUERIES
#undef NEON_TILE_ROWS
#undef NEON_SCREEN_QUERIES
#undef NEON_SCREEN_ROWS
#undef NEON_SCREEN_LANE
#endif
