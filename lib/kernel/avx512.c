/* SPDX-License-Identifier: Apache-2.0 */
/* avx512.c - kernels of 16 lanes (AVX-512 F): the 32 partial sums of a pair are two registers.
 *
 *      row     1 query x 1 row: 2 chains of multiply-adds. The next row's begin while this one's
 *              end, so that several rows side by side gain nothing in the cache, and beyond it the
 *              single stream is faster (README). Sums of four rows are folded together
 *      cos     the same with dot and squared norm: 4 chains
 *      tile    3 queries x 4 rows x 2 = 24 registers of sums
 *      screen  12 queries x 32 rows / 16 = 24 registers of sums (screen.h)
 *
 * The last dims % 16 elements come through a masked load, which gives zeros and touches no byte
 * behind the row.
 *
 * Not here: special values and final distances (kernel.c). */
#include "kernel/kernel.h"

#if PV__KERNEL_X86
#include <immintrin.h>

#include "os/sys.h"

#define AVX512_TARGET __attribute__((target("avx512f,avx2,fma")))
#define AVX512_LANES 16u
#define AVX512_STEP 32u
#define AVX512_TILE_QUERIES 3u
#define AVX512_TILE_ROWS 4u
#define AVX512_SCREEN_QUERIES 12u

/* One register of sums for each half of a step. */
typedef struct avx512_sums {
    __m512 half[2];
} avx512_sums;

AVX512_TARGET PV__KERNEL_INLINE __m512 avx512_load(const void *p, size_t i) {
    return _mm512_loadu_ps((const void *)((const uint8_t *)p + i * sizeof(float)));
}

AVX512_TARGET PV__KERNEL_INLINE __m512 avx512_load_part(__mmask16 mask, const void *p, size_t i) {
    return _mm512_maskz_loadu_ps(mask, (const void *)((const uint8_t *)p + i * sizeof(float)));
}

AVX512_TARGET PV__KERNEL_INLINE void avx512_prefetch(bool once, const void *p, size_t i) {
    pv__kernel_fetch(once, (const uint8_t *)p + i * sizeof(float));
}

/* The first `left` lanes, all for 16 and more. */
AVX512_TARGET PV__KERNEL_INLINE __mmask16 avx512_mask(size_t left) {
    return (__mmask16)(left >= AVX512_LANES ? 0xFFFFu : (1u << left) - 1u);
}

AVX512_TARGET PV__KERNEL_INLINE __m512 avx512_add(bool l2, __m512 acc, __m512 q, __m512 r) {
    if (l2) {
        const __m512 d = _mm512_sub_ps(q, r);
        return _mm512_fmadd_ps(d, d, acc);
    }
    return _mm512_fmadd_ps(q, r, acc);
}

/* 32 sums to 8, in the order of kernel.h. */
AVX512_TARGET PV__KERNEL_INLINE __m256 avx512_fold(avx512_sums s) {
    const __m512 v = _mm512_add_ps(s.half[0], s.half[1]);
    const __m256d high = _mm512_extractf64x4_pd(_mm512_castps_pd(v), 1);
    return _mm256_add_ps(_mm512_castps512_ps256(v), _mm256_castpd_ps(high));
}

/* 8 sums to 1. */
AVX512_TARGET PV__KERNEL_INLINE float avx512_sum(__m256 h) {
    h = _mm256_hadd_ps(h, h);
    h = _mm256_hadd_ps(h, h);
    return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1)));
}

/* The same for four. */
AVX512_TARGET PV__KERNEL_INLINE void avx512_sum4(const __m256 *h, float *out) {
    const __m256 s = _mm256_hadd_ps(_mm256_hadd_ps(h[0], h[1]), _mm256_hadd_ps(h[2], h[3]));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1)));
}

AVX512_TARGET PV__KERNEL_INLINE __m256 avx512_row(bool l2, bool once, const float *query,
                                                  size_t dims, const uint8_t *row,
                                                  const uint8_t *next) {
    __m512 s0 = _mm512_setzero_ps(), s1 = s0;
    size_t i = 0;
    for (; i + AVX512_STEP <= dims; i += AVX512_STEP) {
        avx512_prefetch(once, next, i);
        avx512_prefetch(once, next, i + AVX512_LANES);
        const size_t k = i + AVX512_LANES;
        s0 = avx512_add(l2, s0, avx512_load(query, i), avx512_load(row, i));
        s1 = avx512_add(l2, s1, avx512_load(query, k), avx512_load(row, k));
    }
    if (i < dims) {
        const __mmask16 mask = avx512_mask(dims - i);
        s0 = avx512_add(l2, s0, avx512_load_part(mask, query, i), avx512_load_part(mask, row, i));
        i += AVX512_LANES;
    }
    if (i < dims) {
        const __mmask16 mask = avx512_mask(dims - i);
        s1 = avx512_add(l2, s1, avx512_load_part(mask, query, i), avx512_load_part(mask, row, i));
    }
    return avx512_fold((avx512_sums){{s0, s1}});
}

AVX512_TARGET PV__KERNEL_INLINE void avx512_rows(bool l2, bool once, const float *query,
                                                 size_t dims, const uint8_t *const *rows, size_t n,
                                                 size_t ahead, float *out) {
    __m256 h[4];
    size_t r = 0;
    for (; r + 4 <= n; r += 4) {
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 4; k++) {
            h[k] = avx512_row(l2, once, query, dims, rows[r + k], rows[r + k + ahead]);
        }
        avx512_sum4(h, out + r);
    }
    for (; r < n; r++) {
        out[r] = avx512_sum(avx512_row(l2, once, query, dims, rows[r], rows[r + ahead]));
    }
}

AVX512_TARGET static void avx512_l2sq(const float *query, size_t dims, const uint8_t *const *rows,
                                      size_t n, pv__kernel_ahead ahead, float *out) {
    if (ahead.once) {
        avx512_rows(true, true, query, dims, rows, n, ahead.rows, out);
    } else {
        avx512_rows(true, false, query, dims, rows, n, ahead.rows, out);
    }
}

AVX512_TARGET static void avx512_dot(const float *query, size_t dims, const uint8_t *const *rows,
                                     size_t n, pv__kernel_ahead ahead, float *out) {
    if (ahead.once) {
        avx512_rows(false, true, query, dims, rows, n, ahead.rows, out);
    } else {
        avx512_rows(false, false, query, dims, rows, n, ahead.rows, out);
    }
}

AVX512_TARGET PV__KERNEL_INLINE void avx512_cos_add(__m512 q, __m512 v, __m512 *dot,
                                                    __m512 *norm2) {
    *dot = _mm512_fmadd_ps(q, v, *dot);
    *norm2 = _mm512_fmadd_ps(v, v, *norm2);
}

AVX512_TARGET PV__KERNEL_INLINE void avx512_cos_row(bool once, const float *query, size_t dims,
                                                    const uint8_t *row, const uint8_t *next,
                                                    __m256 *out_dot, __m256 *out_norm2) {
    __m512 d0 = _mm512_setzero_ps(), d1 = d0, n0 = d0, n1 = d0;
    size_t i = 0;
    for (; i + AVX512_STEP <= dims; i += AVX512_STEP) {
        avx512_prefetch(once, next, i);
        avx512_prefetch(once, next, i + AVX512_LANES);
        const size_t k = i + AVX512_LANES;
        avx512_cos_add(avx512_load(query, i), avx512_load(row, i), &d0, &n0);
        avx512_cos_add(avx512_load(query, k), avx512_load(row, k), &d1, &n1);
    }
    if (i < dims) {
        const __mmask16 m = avx512_mask(dims - i);
        avx512_cos_add(avx512_load_part(m, query, i), avx512_load_part(m, row, i), &d0, &n0);
        i += AVX512_LANES;
    }
    if (i < dims) {
        const __mmask16 m = avx512_mask(dims - i);
        avx512_cos_add(avx512_load_part(m, query, i), avx512_load_part(m, row, i), &d1, &n1);
    }
    *out_dot = avx512_fold((avx512_sums){{d0, d1}});
    *out_norm2 = avx512_fold((avx512_sums){{n0, n1}});
}

AVX512_TARGET PV__KERNEL_INLINE void avx512_cos_rows(bool once, const float *query, size_t dims,
                                                     const uint8_t *const *rows, size_t n,
                                                     size_t ahead, float *out_dot,
                                                     float *out_norm2) {
    __m256 d[4], v[4];
    size_t r = 0;
    for (; r + 4 <= n; r += 4) {
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 4; k++) {
            avx512_cos_row(once, query, dims, rows[r + k], rows[r + k + ahead], &d[k], &v[k]);
        }
        avx512_sum4(d, out_dot + r);
        avx512_sum4(v, out_norm2 + r);
    }
    for (; r < n; r++) {
        avx512_cos_row(once, query, dims, rows[r], rows[r + ahead], d, v);
        out_dot[r] = avx512_sum(d[0]);
        out_norm2[r] = avx512_sum(v[0]);
    }
}

AVX512_TARGET static void avx512_cos(const float *query, size_t dims, const uint8_t *const *rows,
                                     size_t n, pv__kernel_ahead ahead, float *out_dot,
                                     float *out_norm2) {
    if (ahead.once) {
        avx512_cos_rows(true, query, dims, rows, n, ahead.rows, out_dot, out_norm2);
    } else {
        avx512_cos_rows(false, query, dims, rows, n, ahead.rows, out_dot, out_norm2);
    }
}

/* 16 elements of every pair of the tile, into half `h` of the sums. */
AVX512_TARGET PV__KERNEL_INLINE void avx512_tile_step(bool l2, unsigned h, __mmask16 mask,
                                                      const float *const *queries,
                                                      const uint8_t *const *rows, size_t i,
                                                      avx512_sums *acc) {
    __m512 v[AVX512_TILE_ROWS];
    PV__KERNEL_UNROLL
    for (unsigned r = 0; r < AVX512_TILE_ROWS; r++) {
        v[r] = avx512_load_part(mask, rows[r], i);
    }
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < AVX512_TILE_QUERIES; k++) {
        const __m512 q = avx512_load_part(mask, queries[k], i);
        PV__KERNEL_UNROLL
        for (unsigned r = 0; r < AVX512_TILE_ROWS; r++) {
            __m512 *a = &acc[k * AVX512_TILE_ROWS + r].half[h];
            *a = avx512_add(l2, *a, q, v[r]);
        }
    }
}

AVX512_TARGET PV__KERNEL_INLINE void avx512_tile(bool l2, const float *const *queries, size_t dims,
                                                 const uint8_t *const *rows, float *out) {
    avx512_sums acc[AVX512_TILE_QUERIES * AVX512_TILE_ROWS];
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < AVX512_TILE_QUERIES * AVX512_TILE_ROWS; k++) {
        acc[k].half[0] = acc[k].half[1] = _mm512_setzero_ps();
    }
    size_t i = 0;
    for (; i + AVX512_STEP <= dims; i += AVX512_STEP) {
        avx512_tile_step(l2, 0, 0xFFFF, queries, rows, i, acc);
        avx512_tile_step(l2, 1, 0xFFFF, queries, rows, i + AVX512_LANES, acc);
    }
    if (i < dims) {
        avx512_tile_step(l2, 0, avx512_mask(dims - i), queries, rows, i, acc);
        i += AVX512_LANES;
    }
    if (i < dims) {
        avx512_tile_step(l2, 1, avx512_mask(dims - i), queries, rows, i, acc);
    }
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < AVX512_TILE_QUERIES * AVX512_TILE_ROWS; k += 4) {
        const __m256 fold[4] = {avx512_fold(acc[k]), avx512_fold(acc[k + 1]),
                                avx512_fold(acc[k + 2]), avx512_fold(acc[k + 3])};
        avx512_sum4(fold, out + k);
    }
}

AVX512_TARGET static void avx512_l2sq_tile(const float *const *queries, size_t dims,
                                           const uint8_t *const *rows, float *out) {
    avx512_tile(true, queries, dims, rows, out);
}

AVX512_TARGET static void avx512_dot_tile(const float *const *queries, size_t dims,
                                          const uint8_t *const *rows, float *out) {
    avx512_tile(false, queries, dims, rows, out);
}

/* Each element of 12 queries meets 32 rows: 14 loads for 24 multiply-adds. */
AVX512_TARGET static bool avx512_screen(const float *group, size_t dims, const float *panel,
                                        const float *scale, const float *shift, const float *least,
                                        uint32_t *out) {
    __m512 low[AVX512_SCREEN_QUERIES], high[AVX512_SCREEN_QUERIES];
    PV__KERNEL_UNROLL
    for (unsigned q = 0; q < AVX512_SCREEN_QUERIES; q++) {
        low[q] = high[q] = _mm512_setzero_ps();
    }
    for (size_t i = 0; i < dims; i++) {
        const __m512 a = _mm512_load_ps(panel), b = _mm512_load_ps(panel + AVX512_LANES);
        PV__KERNEL_UNROLL
        for (unsigned q = 0; q < AVX512_SCREEN_QUERIES; q++) {
            const __m512 v = _mm512_set1_ps(group[q]);
            low[q] = _mm512_fmadd_ps(v, a, low[q]);
            high[q] = _mm512_fmadd_ps(v, b, high[q]);
        }
        panel += 2 * AVX512_LANES;
        group += AVX512_SCREEN_QUERIES;
    }
    const __m512 scale_a = _mm512_loadu_ps(scale), scale_b = _mm512_loadu_ps(scale + AVX512_LANES);
    const __m512 shift_a = _mm512_loadu_ps(shift), shift_b = _mm512_loadu_ps(shift + AVX512_LANES);
    uint32_t any = 0;
    PV__KERNEL_UNROLL
    for (unsigned q = 0; q < AVX512_SCREEN_QUERIES; q++) {
        const __m512 t = _mm512_set1_ps(least[q]);
        const __m512 x = _mm512_fmsub_ps(low[q], scale_a, shift_a);
        const __m512 y = _mm512_fmsub_ps(high[q], scale_b, shift_b);
        out[q] = (uint32_t)_mm512_cmp_ps_mask(x, t, _CMP_NLT_UQ) |
                 (uint32_t)_mm512_cmp_ps_mask(y, t, _CMP_NLT_UQ) << AVX512_LANES;
        any |= out[q];
    }
    return any != 0;
}

const pv__kernel *pv__kernel_avx512(void) {
    static const pv__kernel table = {
        .name = "avx512",
        .cpu = PV__CPU_AVX512 | PV__CPU_AVX2,
        .tile_queries = AVX512_TILE_QUERIES,
        .tile_rows = AVX512_TILE_ROWS,
        .l2sq = avx512_l2sq,
        .dot = avx512_dot,
        .cos = avx512_cos,
        .l2sq_tile = avx512_l2sq_tile,
        .dot_tile = avx512_dot_tile,
        .screen_queries = AVX512_SCREEN_QUERIES,
        .screen_rows = 2 * AVX512_LANES,
        .screen = avx512_screen,
    };
    return &table;
}

#undef AVX512_TARGET
#undef AVX512_LANES
#undef AVX512_STEP
#undef AVX512_TILE_QUERIES
#undef AVX512_TILE_ROWS
#undef AVX512_SCREEN_QUERIES
#endif
