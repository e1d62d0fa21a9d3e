/* SPDX-License-Identifier: Apache-2.0 */
/* avx2.c - kernels of 8 lanes (AVX2 and FMA): the 32 partial sums of a pair are four registers.
 *
 *      row     1 query x 1 row: 4 chains of multiply-adds
 *      cos     the same with dot and squared norm: 8 chains
 *      tile    3 queries x 1 row x 4 = 12 registers of sums
 *      screen  6 queries x 16 rows / 8 = 12 registers of sums (screen.h)
 *
 * The last dims % 8 elements come through a masked load, which gives zeros and touches no byte
 * behind the row. The same bits as avx512.c.
 *
 * Not here: special values and final distances (kernel.c). */
#include "kernel/kernel.h"

#if PV__KERNEL_X86
#include <immintrin.h>

#include "os/sys.h"

#define AVX2_TARGET __attribute__((target("avx2,fma")))
#define AVX2_LANES 8u
#define AVX2_STEP 32u
#define AVX2_PARTS (AVX2_STEP / AVX2_LANES)
#define AVX2_TILE_QUERIES 3u
#define AVX2_TILE_ROWS 1u
#define AVX2_SCREEN_QUERIES 6u

AVX2_TARGET PV__KERNEL_INLINE __m256 avx2_load(const void *p, size_t i) {
    return _mm256_loadu_ps((const void *)((const uint8_t *)p + i * sizeof(float)));
}

AVX2_TARGET PV__KERNEL_INLINE __m256 avx2_load_part(__m256i mask, const void *p, size_t i) {
    return _mm256_maskload_ps((const void *)((const uint8_t *)p + i * sizeof(float)), mask);
}

AVX2_TARGET PV__KERNEL_INLINE void avx2_prefetch(bool once, const void *p, size_t i) {
    pv__kernel_fetch(once, (const uint8_t *)p + i * sizeof(float));
    pv__kernel_fetch(once, (const uint8_t *)p + (i + 16) * sizeof(float));
}

/* All ones in the first `left` lanes, in all for 8 and more. */
AVX2_TARGET PV__KERNEL_INLINE __m256i avx2_mask(size_t left) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)left), lane);
}

AVX2_TARGET PV__KERNEL_INLINE __m256 avx2_add(bool l2, __m256 acc, __m256 q, __m256 r) {
    if (l2) {
        const __m256 d = _mm256_sub_ps(q, r);
        return _mm256_fmadd_ps(d, d, acc);
    }
    return _mm256_fmadd_ps(q, r, acc);
}

/* 32 sums to 8, in the order of kernel.h. */
AVX2_TARGET PV__KERNEL_INLINE __m256 avx2_fold(const __m256 acc[AVX2_PARTS]) {
    return _mm256_add_ps(_mm256_add_ps(acc[0], acc[2]), _mm256_add_ps(acc[1], acc[3]));
}

/* 8 sums to 1. */
AVX2_TARGET PV__KERNEL_INLINE float avx2_sum(__m256 h) {
    h = _mm256_hadd_ps(h, h);
    h = _mm256_hadd_ps(h, h);
    return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1)));
}

/* The same for four. */
AVX2_TARGET PV__KERNEL_INLINE void avx2_sum4(const __m256 *h, float *out) {
    const __m256 s = _mm256_hadd_ps(_mm256_hadd_ps(h[0], h[1]), _mm256_hadd_ps(h[2], h[3]));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1)));
}

AVX2_TARGET PV__KERNEL_INLINE void avx2_clear(__m256 acc[AVX2_PARTS]) {
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < AVX2_PARTS; k++) {
        acc[k] = _mm256_setzero_ps();
    }
}

AVX2_TARGET PV__KERNEL_INLINE __m256 avx2_row(bool l2, bool once, const float *query, size_t dims,
                                              const uint8_t *row, const uint8_t *next) {
    __m256 acc[AVX2_PARTS];
    avx2_clear(acc);
    size_t i = 0;
    for (; i + AVX2_STEP <= dims; i += AVX2_STEP) {
        avx2_prefetch(once, next, i);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < AVX2_PARTS; k++) {
            const size_t at = i + k * AVX2_LANES;
            acc[k] = avx2_add(l2, acc[k], avx2_load(query, at), avx2_load(row, at));
        }
    }
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < AVX2_PARTS; k++) {
        if (i < dims) {
            const __m256i m = avx2_mask(dims - i);
            acc[k] = avx2_add(l2, acc[k], avx2_load_part(m, query, i), avx2_load_part(m, row, i));
            i += AVX2_LANES;
        }
    }
    return avx2_fold(acc);
}

AVX2_TARGET PV__KERNEL_INLINE void avx2_rows(bool l2, bool once, const float *query, size_t dims,
                                             const uint8_t *const *rows, size_t n, size_t ahead,
                                             float *out) {
    __m256 h[4];
    size_t r = 0;
    for (; r + 4 <= n; r += 4) {
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 4; k++) {
            h[k] = avx2_row(l2, once, query, dims, rows[r + k], rows[r + k + ahead]);
        }
        avx2_sum4(h, out + r);
    }
    for (; r < n; r++) {
        out[r] = avx2_sum(avx2_row(l2, once, query, dims, rows[r], rows[r + ahead]));
    }
}

AVX2_TARGET static void avx2_l2sq(const float *query, size_t dims, const uint8_t *const *rows,
                                  size_t n, pv__kernel_ahead ahead, float *out) {
    if (ahead.once) {
        avx2_rows(true, true, query, dims, rows, n, ahead.rows, out);
    } else {
        avx2_rows(true, false, query, dims, rows, n, ahead.rows, out);
    }
}

AVX2_TARGET static void avx2_dot(const float *query, size_t dims, const uint8_t *const *rows,
                                 size_t n, pv__kernel_ahead ahead, float *out) {
    if (ahead.once) {
        avx2_rows(false, true, query, dims, rows, n, ahead.rows, out);
    } else {
        avx2_rows(false, false, query, dims, rows, n, ahead.rows, out);
    }
}

AVX2_TARGET PV__KERNEL_INLINE void avx2_cos_row(bool once, const float *query, size_t dims,
                                                const uint8_t *row, const uint8_t *next,
                                                __m256 *out_dot, __m256 *out_norm2) {
    __m256 dot[AVX2_PARTS], norm2[AVX2_PARTS];
    avx2_clear(dot);
    avx2_clear(norm2);
    size_t i = 0;
    for (; i + AVX2_STEP <= dims; i += AVX2_STEP) {
        avx2_prefetch(once, next, i);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < AVX2_PARTS; k++) {
            const __m256 v = avx2_load(row, i + k * AVX2_LANES);
            dot[k] = _mm256_fmadd_ps(avx2_load(query, i + k * AVX2_LANES), v, dot[k]);
            norm2[k] = _mm256_fmadd_ps(v, v, norm2[k]);
        }
    }
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < AVX2_PARTS; k++) {
        if (i < dims) {
            const __m256i m = avx2_mask(dims - i);
            const __m256 v = avx2_load_part(m, row, i);
            dot[k] = _mm256_fmadd_ps(avx2_load_part(m, query, i), v, dot[k]);
            norm2[k] = _mm256_fmadd_ps(v, v, norm2[k]);
            i += AVX2_LANES;
        }
    }
    *out_dot = avx2_fold(dot);
    *out_norm2 = avx2_fold(norm2);
}

AVX2_TARGET PV__KERNEL_INLINE void avx2_cos_rows(bool once, const float *query, size_t dims,
                                                 const uint8_t *const *rows, size_t n, size_t ahead,
                                                 float *out_dot, float *out_norm2) {
    __m256 d[4], v[4];
    size_t r = 0;
    for (; r + 4 <= n; r += 4) {
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 4; k++) {
            avx2_cos_row(once, query, dims, rows[r + k], rows[r + k + ahead], &d[k], &v[k]);
        }
        avx2_sum4(d, out_dot + r);
        avx2_sum4(v, out_norm2 + r);
    }
    for (; r < n; r++) {
        avx2_cos_row(once, query, dims, rows[r], rows[r + ahead], d, v);
        out_dot[r] = avx2_sum(d[0]);
        out_norm2[r] = avx2_sum(v[0]);
    }
}

AVX2_TARGET static void avx2_cos(const float *query, size_t dims, const uint8_t *const *rows,
                                 size_t n, pv__kernel_ahead ahead, float *out_dot,
                                 float *out_norm2) {
    if (ahead.once) {
        avx2_cos_rows(true, query, dims, rows, n, ahead.rows, out_dot, out_norm2);
    } else {
        avx2_cos_rows(false, query, dims, rows, n, ahead.rows, out_dot, out_norm2);
    }
}

AVX2_TARGET PV__KERNEL_INLINE void avx2_tile(bool l2, const float *const *queries, size_t dims,
                                             const uint8_t *row, float *out) {
    __m256 a[AVX2_PARTS], b[AVX2_PARTS], c[AVX2_PARTS];
    avx2_clear(a);
    avx2_clear(b);
    avx2_clear(c);
    size_t i = 0;
    for (; i + AVX2_STEP <= dims; i += AVX2_STEP) {
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < AVX2_PARTS; k++) {
            const size_t at = i + k * AVX2_LANES;
            const __m256 v = avx2_load(row, at);
            a[k] = avx2_add(l2, a[k], avx2_load(queries[0], at), v);
            b[k] = avx2_add(l2, b[k], avx2_load(queries[1], at), v);
            c[k] = avx2_add(l2, c[k], avx2_load(queries[2], at), v);
        }
    }
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < AVX2_PARTS; k++) {
        if (i < dims) {
            const __m256i m = avx2_mask(dims - i);
            const __m256 v = avx2_load_part(m, row, i);
            a[k] = avx2_add(l2, a[k], avx2_load_part(m, queries[0], i), v);
            b[k] = avx2_add(l2, b[k], avx2_load_part(m, queries[1], i), v);
            c[k] = avx2_add(l2, c[k], avx2_load_part(m, queries[2], i), v);
            i += AVX2_LANES;
        }
    }
    out[0] = avx2_sum(avx2_fold(a));
    out[1] = avx2_sum(avx2_fold(b));
    out[2] = avx2_sum(avx2_fold(c));
}

AVX2_TARGET static void avx2_l2sq_tile(const float *const *queries, size_t dims,
                                       const uint8_t *const *rows, float *out) {
    avx2_tile(true, queries, dims, rows[0], out);
}

AVX2_TARGET static void avx2_dot_tile(const float *const *queries, size_t dims,
                                      const uint8_t *const *rows, float *out) {
    avx2_tile(false, queries, dims, rows[0], out);
}

/* Each element of 6 queries meets 16 rows: 8 loads for 12 multiply-adds. */
AVX2_TARGET static bool avx2_screen(const float *group, size_t dims, const float *panel,
                                    const float *scale, const float *shift, const float *least,
                                    uint32_t *out) {
    __m256 low[AVX2_SCREEN_QUERIES], high[AVX2_SCREEN_QUERIES];
    PV__KERNEL_UNROLL
    for (unsigned q = 0; q < AVX2_SCREEN_QUERIES; q++) {
        low[q] = high[q] = _mm256_setzero_ps();
    }
    for (size_t i = 0; i < dims; i++) {
        const __m256 a = _mm256_load_ps(panel), b = _mm256_load_ps(panel + AVX2_LANES);
        PV__KERNEL_UNROLL
        for (unsigned q = 0; q < AVX2_SCREEN_QUERIES; q++) {
            const __m256 v = _mm256_broadcast_ss(group + q);
            low[q] = _mm256_fmadd_ps(v, a, low[q]);
            high[q] = _mm256_fmadd_ps(v, b, high[q]);
        }
        panel += 2 * AVX2_LANES;
        group += AVX2_SCREEN_QUERIES;
    }
    const __m256 scale_a = _mm256_loadu_ps(scale), scale_b = _mm256_loadu_ps(scale + AVX2_LANES);
    const __m256 shift_a = _mm256_loadu_ps(shift), shift_b = _mm256_loadu_ps(shift + AVX2_LANES);
    uint32_t any = 0;
    PV__KERNEL_UNROLL
    for (unsigned q = 0; q < AVX2_SCREEN_QUERIES; q++) {
        const __m256 t = _mm256_broadcast_ss(least + q);
        const __m256 x = _mm256_fmsub_ps(low[q], scale_a, shift_a);
        const __m256 y = _mm256_fmsub_ps(high[q], scale_b, shift_b);
        out[q] = (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(x, t, _CMP_NLT_UQ)) |
                 (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(y, t, _CMP_NLT_UQ)) << AVX2_LANES;
        any |= out[q];
    }
    return any != 0;
}

const pv__kernel *pv__kernel_avx2(void) {
    static const pv__kernel table = {
        .name = "avx2",
        .cpu = PV__CPU_AVX2,
        .tile_queries = AVX2_TILE_QUERIES,
        .tile_rows = AVX2_TILE_ROWS,
        .l2sq = avx2_l2sq,
        .dot = avx2_dot,
        .cos = avx2_cos,
        .l2sq_tile = avx2_l2sq_tile,
        .dot_tile = avx2_dot_tile,
        .screen_queries = AVX2_SCREEN_QUERIES,
        .screen_rows = 2 * AVX2_LANES,
        .screen = avx2_screen,
    };
    return &table;
}

#undef AVX2_TARGET
#undef AVX2_LANES
#undef AVX2_STEP
#undef AVX2_PARTS
#undef AVX2_TILE_QUERIES
#undef AVX2_TILE_ROWS
#undef AVX2_SCREEN_QUERIES
#endif
