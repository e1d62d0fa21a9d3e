/* SPDX-License-Identifier: Apache-2.0 */
/* code_avx512.c - sums over codes with AVX-512 (F, BW, DQ, VL) and VNNI.
 *
 *      i8      64 elements of 4 rows at a time against one register of the query: 4 or 8 chains
 *      f32     1 row, 2 chains
 *
 * The last dims % 64 (% 16) elements come through a masked load, which touches no byte behind. */
#include "kernel/code_kernel.h"

#if PV__KERNEL_X86
#include <immintrin.h>

#include "os/sys.h"

#define CODE_AVX512                                                                                \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")))
#define CODE_LANES 16u
#define CODE_STEP 32u

CODE_AVX512 PV__KERNEL_INLINE __m512 code_avx512_load(const void *p, size_t i) {
    return _mm512_loadu_ps((const void *)((const uint8_t *)p + i * sizeof(float)));
}

CODE_AVX512 PV__KERNEL_INLINE __m512 code_avx512_load_part(__mmask16 mask, const void *p,
                                                           size_t i) {
    return _mm512_maskz_loadu_ps(mask, (const void *)((const uint8_t *)p + i * sizeof(float)));
}

/* The first `left` lanes, all for 16 and more. */
CODE_AVX512 PV__KERNEL_INLINE __mmask16 code_avx512_mask(size_t left) {
    return (__mmask16)(left >= CODE_LANES ? 0xFFFFu : (1u << left) - 1u);
}

CODE_AVX512 PV__KERNEL_INLINE __m128i code_avx512_quarter(__m512i v) {
    const __m256i h = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
}

CODE_AVX512 PV__KERNEL_INLINE int32_t code_avx512_sum(__m512i v) {
    __m128i h = code_avx512_quarter(v);
    h = _mm_add_epi32(h, _mm_shuffle_epi32(h, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(h, _mm_shuffle_epi32(h, 0xB1)));
}

/* Four registers of 16 sums to four sums. */
CODE_AVX512 PV__KERNEL_INLINE void code_avx512_sum4(const __m512i v[4], int32_t *out) {
    const __m512i a =
        _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    const __m512i b =
        _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    const __m512i s = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    _mm_storeu_si128((void *)out, code_avx512_quarter(s));
}

CODE_AVX512 static void code_avx512_range(const float *v, size_t n, float *out_low,
                                          float *out_high) {
    __m512 low[2], high[2];
    low[0] = low[1] = high[0] = high[1] = _mm512_set1_ps(v[0]);
    size_t i = 0;
    for (; i + CODE_STEP <= n; i += CODE_STEP) {
        const __m512 a = _mm512_loadu_ps(v + i), b = _mm512_loadu_ps(v + i + CODE_LANES);
        low[0] = _mm512_min_ps(low[0], a);
        high[0] = _mm512_max_ps(high[0], a);
        low[1] = _mm512_min_ps(low[1], b);
        high[1] = _mm512_max_ps(high[1], b);
    }
    for (; i < n; i += CODE_LANES) {
        const __mmask16 mask = code_avx512_mask(n - i);
        const __m512 a = code_avx512_load_part(mask, v, i);
        low[0] = _mm512_mask_min_ps(low[0], mask, low[0], a);
        high[0] = _mm512_mask_max_ps(high[0], mask, high[0], a);
    }
    *out_low = _mm512_reduce_min_ps(_mm512_min_ps(low[0], low[1]));
    *out_high = _mm512_reduce_max_ps(_mm512_max_ps(high[0], high[1]));
}

/* 16 elements as bytes; saturates. */
CODE_AVX512 PV__KERNEL_INLINE __m128i code_avx512_bytes(__m512 v, __m512 scale, __m512 middle,
                                                        __m512 inv_step) {
    __m512 x = _mm512_mul_ps(v, scale);
    __asm__("" : "+v"(x));
    x = _mm512_mul_ps(_mm512_sub_ps(x, middle), inv_step);
    return _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x));
}

/* Sum of bytes c into sum, sum of c * (c + 128) into sum2. */
CODE_AVX512 PV__KERNEL_INLINE void code_avx512_count(__m128i c, __m128i *sum, __m128i *sum2) {
    *sum = _mm_dpbusd_epi32(*sum, _mm_set1_epi8(1), c);
    *sum2 = _mm_dpbusd_epi32(*sum2, _mm_xor_si128(c, _mm_set1_epi8((char)0x80)), c);
}

CODE_AVX512 static void code_avx512_quantise(const float *v, size_t n, const pv__code_grid *grid,
                                             int8_t *out, int32_t *out_sum, int32_t *out_sum2) {
    const __m512 scale = _mm512_set1_ps(grid->scale), middle = _mm512_set1_ps(grid->middle);
    const __m512 inv_step = _mm512_set1_ps(grid->inv_step);
    __m128i sum[2], sum2[2];
    sum[0] = sum[1] = sum2[0] = sum2[1] = _mm_setzero_si128();
    size_t i = 0;
    for (; i + CODE_STEP <= n; i += CODE_STEP) {
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 2; k++) {
            const size_t at = i + k * CODE_LANES;
            const __m128i c = code_avx512_bytes(_mm512_loadu_ps(v + at), scale, middle, inv_step);
            _mm_storeu_si128((void *)(out + at), c);
            code_avx512_count(c, &sum[k], &sum2[k]);
        }
    }
    for (; i < n; i += CODE_LANES) {
        const __mmask16 mask = code_avx512_mask(n - i);
        __m128i c = code_avx512_bytes(code_avx512_load_part(mask, v, i), scale, middle, inv_step);
        c = _mm_maskz_mov_epi8(mask, c);
        _mm_mask_storeu_epi8(out + i, mask, c);
        code_avx512_count(c, &sum[0], &sum2[0]);
    }
    int32_t s[4], t[4];
    _mm_storeu_si128((void *)s, _mm_add_epi32(sum[0], sum[1]));
    _mm_storeu_si128((void *)t, _mm_add_epi32(sum2[0], sum2[1]));
    *out_sum = s[0] + s[1] + s[2] + s[3];
    *out_sum2 = t[0] + t[1] + t[2] + t[3] - 128 * *out_sum;
}

/* `count` rows, 1 or 4, at `parts` chains each. */
CODE_AVX512 PV__KERNEL_INLINE void code_avx512_i8_rows(unsigned count, const uint8_t *query,
                                                       size_t dims, const uint8_t *const *row,
                                                       __m512i acc[4]) {
    __m512i more[4];
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < count; k++) {
        acc[k] = more[k] = _mm512_setzero_si512();
    }
    size_t i = 0;
    for (; i + 128 <= dims; i += 128) {
        const __m512i q0 = _mm512_loadu_si512(query + i);
        const __m512i q1 = _mm512_loadu_si512(query + i + 64);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < count; k++) {
            acc[k] = _mm512_dpbusd_epi32(acc[k], q0, _mm512_loadu_si512(row[k] + i));
            more[k] = _mm512_dpbusd_epi32(more[k], q1, _mm512_loadu_si512(row[k] + i + 64));
        }
    }
    for (; i < dims; i += 64) {
        const __mmask64 mask = dims - i >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << (dims - i)) - 1;
        const __m512i q = _mm512_loadu_si512(query + i);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < count; k++) {
            const __m512i v = _mm512_maskz_loadu_epi8(mask, row[k] + i);
            acc[k] = _mm512_dpbusd_epi32(acc[k], q, v);
        }
    }
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < count; k++) {
        acc[k] = _mm512_add_epi32(acc[k], more[k]);
    }
}

CODE_AVX512 static void code_avx512_i8(const uint8_t *query, size_t dims, const pv__code_rows *rows,
                                       int32_t *out) {
    __m512i acc[4];
    size_t r = 0;
    for (; r + 4 <= rows->n; r += 4) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 4);
        code_avx512_i8_rows(4, query, dims, rows->row + r, acc);
        code_avx512_sum4(acc, out + r);
    }
    for (; r < rows->n; r++) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        code_avx512_i8_rows(1, query, dims, rows->row + r, acc);
        out[r] = code_avx512_sum(acc[0]);
    }
}

CODE_AVX512 PV__KERNEL_INLINE __m512 code_avx512_add(bool l2, __m512 acc, __m512 q, __m512 r) {
    const __m512 d = l2 ? _mm512_sub_ps(q, r) : q;
    __m512 product = _mm512_mul_ps(d, l2 ? d : r);
    __asm__("" : "+v"(product));
    return _mm512_add_ps(acc, product);
}

CODE_AVX512 PV__KERNEL_INLINE float code_avx512_f32_row(bool l2, const float *query, size_t dims,
                                                        const uint8_t *row) {
    __m512 s0 = _mm512_setzero_ps(), s1 = s0;
    size_t i = 0;
    for (; i + CODE_STEP <= dims; i += CODE_STEP) {
        const size_t k = i + CODE_LANES;
        s0 = code_avx512_add(l2, s0, code_avx512_load(query, i), code_avx512_load(row, i));
        s1 = code_avx512_add(l2, s1, code_avx512_load(query, k), code_avx512_load(row, k));
    }
    if (i < dims) {
        const __mmask16 m = code_avx512_mask(dims - i);
        s0 = code_avx512_add(l2, s0, code_avx512_load_part(m, query, i),
                             code_avx512_load_part(m, row, i));
        i += CODE_LANES;
    }
    if (i < dims) {
        const __mmask16 m = code_avx512_mask(dims - i);
        s1 = code_avx512_add(l2, s1, code_avx512_load_part(m, query, i),
                             code_avx512_load_part(m, row, i));
    }
    const __m512 v = _mm512_add_ps(s0, s1);
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), high);
    h = _mm256_hadd_ps(h, h);
    h = _mm256_hadd_ps(h, h);
    return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1)));
}

CODE_AVX512 static void code_avx512_l2sq(const float *query, size_t dims, const pv__code_rows *rows,
                                         float *out) {
    for (size_t r = 0; r < rows->n; r++) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        out[r] = code_avx512_f32_row(true, query, dims, rows->row[r]);
    }
}

CODE_AVX512 static void code_avx512_dot(const float *query, size_t dims, const pv__code_rows *rows,
                                        float *out) {
    for (size_t r = 0; r < rows->n; r++) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        out[r] = code_avx512_f32_row(false, query, dims, rows->row[r]);
    }
}

const pv__code_kernel *pv__code_kernel_avx512(void) {
    static const pv__code_kernel table = {
        .name = "avx512",
        .cpu = PV__CPU_AVX512 | PV__CPU_AVX2 | PV__CPU_VNNI,
        .i8_bias = 128,
        .range = code_avx512_range,
        .quantise = code_avx512_quantise,
        .i8 = code_avx512_i8,
        .l2sq = code_avx512_l2sq,
        .dot = code_avx512_dot,
    };
    return &table;
}

#undef CODE_AVX512
#undef CODE_LANES
#undef CODE_STEP
#endif
