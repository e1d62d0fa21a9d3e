/* SPDX-License-Identifier: Apache-2.0 */
/* code_avx2.c - sums over codes with AVX2.
 *
 *      i8      16 elements of 4 rows at a time, widened to 16 bits: products of pairs are exact
 *              (the 8-bit multiply-add saturates)
 *      panel   4 elements of 8 rows at a time, widened, against 4 queries
 *      nibble  64 elements of 4 rows at a time; queries of 7 bits times levels of 7 bits do not
 *              saturate: two pairs of products, at most 4 * 127 * 63, fit 16 bits
 *      bits    32 elements of 4 rows at a time, bits spread to bytes
 *      f32     1 row, 4 chains
 *      fht     64 elements in eight registers, then 4 (2) registers at a distance
 *
 * Compiled without FMA on purpose: nothing can be fused. */
#include <float.h>

#include "kernel/code_kernel.h"

#if PV__KERNEL_X86
#include <immintrin.h>

#include "os/sys.h"

#define CODE_AVX2 __attribute__((target("avx2")))
#define CODE_LANES 8u
#define CODE_STEP 32u
#define CODE_PARTS 4u
#define CODE_WIDE 256u /* bytes of queries that are widened together */

CODE_AVX2 PV__KERNEL_INLINE __m256 code_avx2_load(const void *p, size_t i) {
    return _mm256_loadu_ps((const void *)((const uint8_t *)p + i * sizeof(float)));
}

CODE_AVX2 PV__KERNEL_INLINE __m256 code_avx2_load_part(__m256i mask, const void *p, size_t i) {
    return _mm256_maskload_ps((const void *)((const uint8_t *)p + i * sizeof(float)), mask);
}

/* All ones in the first `left` lanes, in all for 8 and more. */
CODE_AVX2 PV__KERNEL_INLINE __m256i code_avx2_mask(size_t left) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)left), lane);
}

CODE_AVX2 PV__KERNEL_INLINE int32_t code_avx2_sum(__m256i v) {
    __m128i h = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    h = _mm_add_epi32(h, _mm_shuffle_epi32(h, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(h, _mm_shuffle_epi32(h, 0xB1)));
}

CODE_AVX2 PV__KERNEL_INLINE void code_avx2_sum4(const __m256i v[4], int32_t *out) {
    const __m256i s =
        _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
    _mm_storeu_si128((void *)out,
                     _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1)));
}

CODE_AVX2 static void code_avx2_range(const float *v, size_t n, float *out_low, float *out_high) {
    __m256 low = _mm256_set1_ps(v[0]), high = low;
    size_t i = 0;
    for (; i + CODE_LANES <= n; i += CODE_LANES) {
        const __m256 x = _mm256_loadu_ps(v + i);
        low = _mm256_min_ps(low, x);
        high = _mm256_max_ps(high, x);
    }
    float l[CODE_LANES], h[CODE_LANES];
    _mm256_storeu_ps(l, low);
    _mm256_storeu_ps(h, high);
    for (size_t k = 1; k < CODE_LANES; k++) {
        l[0] = PV_MIN(l[0], l[k]);
        h[0] = PV_MAX(h[0], h[k]);
    }
    for (; i < n; i++) {
        l[0] = PV_MIN(l[0], v[i]);
        h[0] = PV_MAX(h[0], v[i]);
    }
    *out_low = l[0];
    *out_high = h[0];
}

/* The first `left` elements of x, all for 8 and more. Whole registers are written as such: masked
 * writes are slow on some machines. */
CODE_AVX2 PV__KERNEL_INLINE void code_avx2_store_part(float *p, size_t left, __m256 x) {
    if (left >= CODE_LANES) {
        _mm256_storeu_ps(p, x);
    } else {
        _mm256_maskstore_ps(p, code_avx2_mask(left), x);
    }
}

CODE_AVX2 static void code_avx2_times(const float *v, size_t n, float by, float *out) {
    for (size_t i = 0; i < n; i += CODE_LANES) {
        const __m256 x = code_avx2_load_part(code_avx2_mask(n - i), v, i);
        code_avx2_store_part(out + i, n - i, _mm256_mul_ps(x, _mm256_set1_ps(by)));
    }
}

CODE_AVX2 static void code_avx2_less(float *v, size_t n, const float *mean) {
    const __m256 most = _mm256_set1_ps(FLT_MAX), least = _mm256_set1_ps(-FLT_MAX);
    for (size_t i = 0; i < n; i += CODE_LANES) {
        const __m256i mask = code_avx2_mask(n - i);
        const __m256 d =
            _mm256_sub_ps(code_avx2_load_part(mask, v, i), code_avx2_load_part(mask, mean, i));
        code_avx2_store_part(v + i, n - i, _mm256_max_ps(_mm256_min_ps(d, most), least));
    }
}

CODE_AVX2 static void code_avx2_quantise(const float *v, size_t n, const pv__code_grid *grid,
                                         int8_t *out, int32_t *out_sum, int32_t *out_sum2) {
    const __m256 scale = _mm256_set1_ps(grid->scale), middle = _mm256_set1_ps(grid->middle);
    const __m256 inv_step = _mm256_set1_ps(grid->inv_step);
    __m256i sum = _mm256_setzero_si256(), sum2 = sum;
    for (size_t i = 0; i < n; i += CODE_LANES) {
        const __m256i mask = code_avx2_mask(n - i);
        __m256 x = _mm256_mul_ps(code_avx2_load_part(mask, v, i), scale);
        __asm__("" : "+x"(x));
        x = _mm256_mul_ps(_mm256_sub_ps(x, middle), inv_step);
        __m256i c = _mm256_cvtps_epi32(x);
        c = _mm256_max_epi32(c, _mm256_set1_epi32(-128));
        c = _mm256_and_si256(_mm256_min_epi32(c, _mm256_set1_epi32(127)), mask);
        sum = _mm256_add_epi32(sum, c);
        sum2 = _mm256_add_epi32(sum2, _mm256_madd_epi16(c, c)); /* high halves are -1 or 0 */
        sum2 = _mm256_sub_epi32(sum2, _mm256_srli_epi32(c, 31));
        const __m128i w =
            _mm_packs_epi32(_mm256_castsi256_si128(c), _mm256_extracti128_si256(c, 1));
        const __m128i b = _mm_packs_epi16(w, w);
        if (n - i >= CODE_LANES) {
            _mm_storel_epi64((void *)(out + i), b);
        } else {
            int8_t part[16];
            _mm_storeu_si128((void *)part, b);
            memcpy(out + i, part, n - i);
        }
    }
    *out_sum = code_avx2_sum(sum);
    *out_sum2 = code_avx2_sum(sum2);
}

/* `count` rows, 1 or 4. The last step reads into the bytes behind the elements, against zeros. */
CODE_AVX2 PV__KERNEL_INLINE void code_avx2_i8_rows(unsigned count, const uint8_t *query,
                                                   size_t dims, const uint8_t *const *row,
                                                   __m256i acc[4]) {
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < count; k++) {
        acc[k] = _mm256_setzero_si256();
    }
    for (size_t i = 0; i < dims; i += 16) {
        const __m256i q = _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)(query + i)));
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < count; k++) {
            const __m256i v = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(row[k] + i)));
            acc[k] = _mm256_add_epi32(acc[k], _mm256_madd_epi16(q, v));
        }
    }
}

CODE_AVX2 static void code_avx2_i8(const uint8_t *query, size_t dims, const pv__code_rows *rows,
                                   int32_t *out) {
    __m256i acc[4];
    size_t r = 0;
    for (; r + 4 <= rows->n; r += 4) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 4);
        code_avx2_i8_rows(4, query, dims, rows->row + r, acc);
        code_avx2_sum4(acc, out + r);
    }
    for (; r < rows->n; r++) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        code_avx2_i8_rows(1, query, dims, rows->row + r, acc);
        out[r] = code_avx2_sum(acc[0]);
    }
}

/* A lane is half a row here, in 16 bits: `count` queries (1 or 4), widened as well, against 8 rows.
 * `bytes` is a multiple of 4. */
CODE_AVX2 PV__KERNEL_INLINE void code_avx2_panel_rows(unsigned count, const int16_t *wide,
                                                      size_t bytes, const uint8_t *panel,
                                                      __m256i acc[8]) {
    for (size_t i = 0; i < bytes; i += 4) {
        const uint8_t *const at = panel + i * PV__CODE_PANEL;
        const __m256i a = _mm256_cvtepi8_epi16(_mm_load_si128((const void *)at));
        const __m256i b = _mm256_cvtepi8_epi16(_mm_load_si128((const void *)(at + 16)));
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < count; k++) {
            int64_t word;
            memcpy(&word, wide + k * CODE_WIDE + i, sizeof word);
            const __m256i q = _mm256_set1_epi64x(word);
            acc[2 * k] = _mm256_add_epi32(acc[2 * k], _mm256_madd_epi16(q, a));
            acc[2 * k + 1] = _mm256_add_epi32(acc[2 * k + 1], _mm256_madd_epi16(q, b));
        }
    }
}

/* So many bytes of the queries are widened at once, and their sums go on from `out`. */
CODE_AVX2 PV__KERNEL_INLINE void code_avx2_panel_some(unsigned count, const uint8_t *const *queries,
                                                      size_t bytes, const uint8_t *panel,
                                                      int32_t *out) {
    int16_t wide[4 * CODE_WIDE];
    for (size_t from = 0; from < bytes; from += CODE_WIDE) {
        const size_t n = PV_MIN(bytes - from, (size_t)CODE_WIDE);
        for (unsigned k = 0; k < count; k++) {
            for (size_t i = 0; i < n; i += 16) { /* queries have zeros behind */
                const __m128i q = _mm_loadu_si128((const void *)(queries[k] + from + i));
                _mm256_storeu_si256((void *)(wide + k * CODE_WIDE + i), _mm256_cvtepu8_epi16(q));
            }
        }
        for (size_t r = 0; r < PV__CODE_PANEL; r += CODE_LANES) {
            __m256i acc[8];
            PV__KERNEL_UNROLL
            for (unsigned k = 0; k < 2 * count; k++) {
                acc[k] = _mm256_setzero_si256();
            }
            code_avx2_panel_rows(count, wide, n, panel + from * PV__CODE_PANEL + r * 4, acc);
            PV__KERNEL_UNROLL
            for (unsigned k = 0; k < count; k++) {
                __m256i *const to = (void *)(out + k * PV__CODE_PANEL + r);
                __m256i sum = _mm256_hadd_epi32(acc[2 * k], acc[2 * k + 1]);
                sum = _mm256_permute4x64_epi64(sum, 0xD8);
                sum = from > 0 ? _mm256_add_epi32(sum, _mm256_loadu_si256(to)) : sum;
                _mm256_storeu_si256(to, sum);
            }
        }
    }
}

CODE_AVX2 static void code_avx2_panel(const uint8_t *const *queries, size_t count, size_t bytes,
                                      const uint8_t *panel, int32_t *out) {
    size_t q = 0;
    for (; q + 4 <= count; q += 4) {
        code_avx2_panel_some(4, queries + q, bytes, panel, out + q * PV__CODE_PANEL);
    }
    for (; q < count; q++) {
        code_avx2_panel_some(1, queries + q, bytes, panel, out + q * PV__CODE_PANEL);
    }
}

/* Words of four rows, each to the place of its row in a panel. */
CODE_AVX2 void pv__code_avx2_turn4(const uint8_t *const rows[4], size_t bytes, uint8_t less,
                                   uint8_t *out) {
    const __m128i by = _mm_set1_epi8((char)less);
    size_t i = 0;
    for (; i + 16 <= bytes; i += 16) {
        __m128i v[4];
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 4; k++) {
            v[k] = _mm_sub_epi8(_mm_loadu_si128((const void *)(rows[k] + i)), by);
        }
        const __m128i a = _mm_unpacklo_epi32(v[0], v[1]), b = _mm_unpackhi_epi32(v[0], v[1]);
        const __m128i c = _mm_unpacklo_epi32(v[2], v[3]), d = _mm_unpackhi_epi32(v[2], v[3]);
        uint8_t *const to = out + i * PV__CODE_PANEL;
        _mm_store_si128((void *)to, _mm_unpacklo_epi64(a, c));
        _mm_store_si128((void *)(to + 4 * PV__CODE_PANEL), _mm_unpackhi_epi64(a, c));
        _mm_store_si128((void *)(to + 8 * PV__CODE_PANEL), _mm_unpacklo_epi64(b, d));
        _mm_store_si128((void *)(to + 12 * PV__CODE_PANEL), _mm_unpackhi_epi64(b, d));
    }
    for (; i < bytes; i += 4) {
        for (unsigned k = 0; k < 4; k++) {
            for (unsigned j = 0; j < 4; j++) {
                out[i * PV__CODE_PANEL + 4 * k + j] = (uint8_t)(rows[k][i + j] - less);
            }
        }
    }
}

CODE_AVX2 static bool code_avx2_close(const int32_t *sums, const pv__code_panel_rows *rows,
                                      const pv__code_panel_query *query, float *out) {
    const __m256 most = _mm256_set1_ps(FLT_MAX), sign = _mm256_set1_ps(-0.0f);
    int good = 0xFF;
    for (size_t r = 0; r < PV__CODE_PANEL; r += CODE_LANES) {
        const __m256 mean = code_avx2_load(rows->mean, r), tilt = code_avx2_load(rows->tilt, r);
        const __m256 dm = _mm256_sub_ps(_mm256_set1_ps(query->mean), mean);
        const __m256 turn = _mm256_sub_ps(_mm256_set1_ps(query->tilt), tilt);
        const __m256i sum = _mm256_loadu_si256((const void *)(rows->sum + r));
        const __m256i shift = _mm256_loadu_si256((const void *)(rows->shift + r));
        const __m256i less =
            _mm256_add_epi32(_mm256_mullo_epi32(_mm256_set1_epi32(query->offset), sum),
                             _mm256_mullo_epi32(_mm256_set1_epi32(query->sum), shift));
        const __m256 cross = _mm256_cvtepi32_ps(
            _mm256_sub_epi32(_mm256_loadu_si256((const void *)(sums + r)), less));
        const __m256 step =
            _mm256_mul_ps(_mm256_set1_ps(query->step2), code_avx2_load(rows->step, r));
        __m256 d = _mm256_mul_ps(_mm256_set1_ps(query->dims), dm);
        d = _mm256_add_ps(d, _mm256_add_ps(turn, turn));
        d = _mm256_add_ps(_mm256_mul_ps(dm, d), _mm256_add_ps(code_avx2_load(rows->spread, r),
                                                              _mm256_set1_ps(query->spread)));
        d = _mm256_sub_ps(d, _mm256_mul_ps(step, cross));
        d = _mm256_andnot_ps(_mm256_cmp_ps(d, _mm256_setzero_ps(), _CMP_LE_OQ), d);
        good &= _mm256_movemask_ps(_mm256_cmp_ps(_mm256_andnot_ps(sign, d), most, _CMP_LE_OQ));
        _mm256_storeu_ps(out + r, d);
    }
    return good == 0xFF;
}

CODE_AVX2 static uint32_t code_avx2_within(const float *distances, float bound) {
    const __m256 b = _mm256_set1_ps(bound);
    uint32_t within = 0;
    PV__KERNEL_UNROLL
    for (unsigned i = 0; i < PV__CODE_PANEL; i += CODE_LANES) {
        const __m256 d = _mm256_loadu_ps(distances + i);
        within |= (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(d, b, _CMP_LE_OQ)) << i;
    }
    return within;
}

CODE_AVX2 static size_t code_avx2_count_within(const float *distances, size_t n, float bound) {
    const __m256 b = _mm256_set1_ps(bound);
    __m256i counts = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i += CODE_LANES) {
        const __m256i mask = code_avx2_mask(n - i);
        const __m256 d = code_avx2_load_part(mask, distances, i);
        const __m256i within = _mm256_castps_si256(_mm256_cmp_ps(d, b, _CMP_LE_OQ));
        counts = _mm256_sub_epi32(counts, _mm256_and_si256(within, mask));
    }
    return (size_t)code_avx2_sum(counts);
}

/* 64 elements of one row, from 32 bytes; their queries are `half` apart. */
CODE_AVX2 PV__KERNEL_INLINE __m256i code_avx2_nibbles(const uint8_t *row, __m256i q0, __m256i q1) {
    const __m256i level = _mm256_broadcastsi128_si256(_mm_setr_epi8(PV__CODE_LEVELS));
    const __m256i low = _mm256_set1_epi8(15);
    const __m256i v = _mm256_loadu_si256((const void *)row);
    const __m256i a = _mm256_and_si256(v, low);
    const __m256i b = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
    const __m256i s = _mm256_add_epi16(_mm256_maddubs_epi16(q0, _mm256_shuffle_epi8(level, a)),
                                       _mm256_maddubs_epi16(q1, _mm256_shuffle_epi8(level, b)));
    return _mm256_madd_epi16(s, _mm256_set1_epi16(1));
}

CODE_AVX2 PV__KERNEL_INLINE void code_avx2_nibble_rows(unsigned count, const uint8_t *query,
                                                       size_t dims, const uint8_t *const *row,
                                                       __m256i acc[4]) {
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < count; k++) {
        acc[k] = _mm256_setzero_si256();
    }
    for (size_t i = 0; i < dims; i += 64) { /* bytes i / 2 to i / 2 + 31 */
        const size_t block = i / 128 * 128, half = dims - block >= 128 ? 64 : 32;
        const uint8_t *const q = query + block + (i - block) / 2;
        const __m256i q0 = _mm256_loadu_si256((const void *)q);
        const __m256i q1 = _mm256_loadu_si256((const void *)(q + half));
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < count; k++) {
            acc[k] = _mm256_add_epi32(acc[k], code_avx2_nibbles(row[k] + i / 2, q0, q1));
        }
    }
}

CODE_AVX2 static void code_avx2_nibble(const uint8_t *query, size_t dims, const pv__code_rows *rows,
                                       int32_t *out) {
    __m256i acc[4];
    size_t r = 0;
    for (; r + 4 <= rows->n; r += 4) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 4);
        code_avx2_nibble_rows(4, query, dims, rows->row + r, acc);
        code_avx2_sum4(acc, out + r);
    }
    for (; r < rows->n; r++) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        code_avx2_nibble_rows(1, query, dims, rows->row + r, acc);
        out[r] = code_avx2_sum(acc[0]);
    }
}

/* 32 bytes at a time: the elements of their low halves, and those of their high ones. */
CODE_AVX2 void pv__code_avx2_unfold(const uint8_t *row, size_t dims, uint8_t *out) {
    const __m256i level = _mm256_broadcastsi128_si256(_mm_setr_epi8(PV__CODE_LEVELS));
    const __m256i above = _mm256_add_epi8(level, _mm256_set1_epi8(64));
    const __m256i low = _mm256_set1_epi8(15);
    for (size_t i = 0; i < dims; i += 64) {
        const size_t block = i / 128 * 128, half = dims - block >= 128 ? 64 : 32;
        uint8_t *const at = out + block + (i - block) / 2;
        const __m256i v = _mm256_loadu_si256((const void *)(row + i / 2));
        const __m256i a = _mm256_and_si256(v, low);
        const __m256i b = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
        _mm256_storeu_si256((void *)at, _mm256_shuffle_epi8(above, a));
        _mm256_storeu_si256((void *)(at + half), _mm256_shuffle_epi8(above, b));
    }
}

/* Sum of n bytes. */
CODE_AVX2 PV__KERNEL_INLINE int32_t code_avx2_total(const uint8_t *p, size_t n) {
    __m256i acc = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i += 32) {
        const __m256i v = _mm256_loadu_si256((const void *)(p + i));
        acc = _mm256_add_epi32(acc, _mm256_sad_epu8(v, _mm256_setzero_si256()));
    }
    return code_avx2_sum(acc);
}

/* As i8_rows: sums of the queries whose bit is set; each bit becomes a byte of ones. */
CODE_AVX2 PV__KERNEL_INLINE void code_avx2_bits_rows(unsigned count, const uint8_t *query,
                                                     size_t dims, const uint8_t *const *row,
                                                     __m256i acc[4]) {
    const __m256i bytes =
        _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((int64_t)0x8040201008040201u);
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < count; k++) {
        acc[k] = _mm256_setzero_si256();
    }
    for (size_t i = 0; i < dims; i += 32) {
        const __m256i q = _mm256_loadu_si256((const void *)(query + i));
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < count; k++) {
            int32_t set;
            memcpy(&set, row[k] + i / 8, sizeof set);
            __m256i v = _mm256_shuffle_epi8(_mm256_set1_epi32(set), bytes);
            v = _mm256_cmpeq_epi8(_mm256_and_si256(v, bit), bit);
            v = _mm256_sad_epu8(_mm256_and_si256(v, q), _mm256_setzero_si256());
            acc[k] = _mm256_add_epi32(acc[k], v);
        }
    }
}

CODE_AVX2 static void code_avx2_bits(const uint8_t *query, size_t dims, const pv__code_rows *rows,
                                     int32_t *out) {
    __m256i acc[4];
    const int32_t all = code_avx2_total(query, dims);
    size_t r = 0;
    for (; r + 4 <= rows->n; r += 4) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 4);
        code_avx2_bits_rows(4, query, dims, rows->row + r, acc);
        code_avx2_sum4(acc, out + r);
        for (size_t k = 0; k < 4; k++) {
            out[r + k] = 2 * out[r + k] - all;
        }
    }
    for (; r < rows->n; r++) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        code_avx2_bits_rows(1, query, dims, rows->row + r, acc);
        out[r] = 2 * code_avx2_sum(acc[0]) - all;
    }
}

CODE_AVX2 PV__KERNEL_INLINE __m256 code_avx2_add(bool l2, __m256 acc, __m256 q, __m256 r) {
    const __m256 d = l2 ? _mm256_sub_ps(q, r) : q;
    __m256 product = _mm256_mul_ps(d, l2 ? d : r);
    __asm__("" : "+x"(product));
    return _mm256_add_ps(acc, product);
}

CODE_AVX2 PV__KERNEL_INLINE float code_avx2_f32_row(bool l2, const float *query, size_t dims,
                                                    const uint8_t *row) {
    __m256 acc[CODE_PARTS];
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < CODE_PARTS; k++) {
        acc[k] = _mm256_setzero_ps();
    }
    size_t i = 0;
    for (; i + CODE_STEP <= dims; i += CODE_STEP) {
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < CODE_PARTS; k++) {
            const size_t at = i + k * CODE_LANES;
            acc[k] = code_avx2_add(l2, acc[k], code_avx2_load(query, at), code_avx2_load(row, at));
        }
    }
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < CODE_PARTS; k++) {
        if (i < dims) {
            const __m256i m = code_avx2_mask(dims - i);
            acc[k] = code_avx2_add(l2, acc[k], code_avx2_load_part(m, query, i),
                                   code_avx2_load_part(m, row, i));
            i += CODE_LANES;
        }
    }
    __m256 h = _mm256_add_ps(_mm256_add_ps(acc[0], acc[2]), _mm256_add_ps(acc[1], acc[3]));
    h = _mm256_hadd_ps(h, h);
    h = _mm256_hadd_ps(h, h);
    return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1)));
}

CODE_AVX2 static void code_avx2_l2sq(const float *query, size_t dims, const pv__code_rows *rows,
                                     float *out) {
    for (size_t r = 0; r < rows->n; r++) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        out[r] = code_avx2_f32_row(true, query, dims, rows->row[r]);
    }
}

CODE_AVX2 static void code_avx2_dot(const float *query, size_t dims, const pv__code_rows *rows,
                                    float *out) {
    for (size_t r = 0; r < rows->n; r++) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        out[r] = code_avx2_f32_row(false, query, dims, rows->row[r]);
    }
}

CODE_AVX2 static void code_avx2_signs(float *v, size_t n, uint64_t seed, float scale) {
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256 by = _mm256_set1_ps(scale);
    for (size_t i = 0; i < n; i += 64) {
        uint64_t bits = pv__code_signs(seed, i / 64);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 8; k++, bits >>= 8) {
            const __m256i set = _mm256_and_si256(_mm256_set1_epi32((int)(bits & 255)), bit);
            const __m256i sign = _mm256_slli_epi32(_mm256_cmpeq_epi32(set, bit), 31);
            __m256 x = _mm256_mul_ps(_mm256_loadu_ps(v + i + k * CODE_LANES), by);
            __asm__("" : "+x"(x));
            _mm256_storeu_ps(v + i + k * CODE_LANES, _mm256_xor_ps(x, _mm256_castsi256_ps(sign)));
        }
    }
}

CODE_AVX2 static void code_avx2_turn(float *a, float *b, size_t n) {
    for (size_t i = 0; i < n; i += CODE_LANES) {
        const __m256 x = _mm256_loadu_ps(a + i), y = _mm256_loadu_ps(b + i);
        _mm256_storeu_ps(a + i, _mm256_add_ps(x, y));
        _mm256_storeu_ps(b + i, _mm256_sub_ps(x, y));
    }
}

/* Stages of distance 1, 2, 4 within a register. */
CODE_AVX2 PV__KERNEL_INLINE __m256 code_avx2_fht8(__m256 v) {
    __m256 t = _mm256_permute_ps(v, 0xB1);
    v = _mm256_blend_ps(_mm256_add_ps(v, t), _mm256_sub_ps(t, v), 0xAA);
    t = _mm256_permute_ps(v, 0x4E);
    v = _mm256_blend_ps(_mm256_add_ps(v, t), _mm256_sub_ps(t, v), 0xCC);
    t = _mm256_permute2f128_ps(v, v, 0x01);
    return _mm256_blend_ps(_mm256_add_ps(v, t), _mm256_sub_ps(t, v), 0xF0);
}

/* Stages of distance 1 and 2 (and 4) between registers. */
CODE_AVX2 PV__KERNEL_INLINE void code_avx2_pair(__m256 *a, __m256 *b) {
    const __m256 x = *a, y = *b;
    *a = _mm256_add_ps(x, y);
    *b = _mm256_sub_ps(x, y);
}

CODE_AVX2 PV__KERNEL_INLINE void code_avx2_four(__m256 *v) {
    code_avx2_pair(v, v + 1);
    code_avx2_pair(v + 2, v + 3);
    code_avx2_pair(v, v + 2);
    code_avx2_pair(v + 1, v + 3);
}

CODE_AVX2 PV__KERNEL_INLINE void code_avx2_eight(__m256 *v) {
    code_avx2_four(v);
    code_avx2_four(v + 4);
    code_avx2_pair(v, v + 4);
    code_avx2_pair(v + 1, v + 5);
    code_avx2_pair(v + 2, v + 6);
    code_avx2_pair(v + 3, v + 7);
}

/* The stages of distance h and 2 h; h is a multiple of 64. */
CODE_AVX2 PV__KERNEL_INLINE void code_avx2_far4(float *v, size_t n, size_t h) {
    for (size_t i = 0; i < n; i += 4 * h) {
        for (size_t j = i; j < i + h; j += CODE_LANES) {
            __m256 r[4] = {_mm256_loadu_ps(v + j), _mm256_loadu_ps(v + j + h),
                           _mm256_loadu_ps(v + j + 2 * h), _mm256_loadu_ps(v + j + 3 * h)};
            code_avx2_four(r);
            _mm256_storeu_ps(v + j, r[0]);
            _mm256_storeu_ps(v + j + h, r[1]);
            _mm256_storeu_ps(v + j + 2 * h, r[2]);
            _mm256_storeu_ps(v + j + 3 * h, r[3]);
        }
    }
}

CODE_AVX2 static void code_avx2_fht(float *v, size_t n) {
    for (size_t i = 0; i < n; i += 64) {
        __m256 r[8];
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 8; k++) {
            r[k] = code_avx2_fht8(_mm256_loadu_ps(v + i + k * CODE_LANES));
        }
        code_avx2_eight(r);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 8; k++) {
            _mm256_storeu_ps(v + i + k * CODE_LANES, r[k]);
        }
    }
    size_t h = 64;
    for (; h * 4 <= n; h *= 4) {
        code_avx2_far4(v, n, h);
    }
    if (h * 2 == n) {
        code_avx2_turn(v, v + h, h);
    }
}

CODE_AVX2 static void code_avx2_levels(const float *v, size_t n, float scale, uint8_t *out_index,
                                       float *out_level) {
    static const float border[7] = {PV__CODE_BORDERS};
    const __m128i level = _mm_setr_epi8(PV__CODE_LEVELS);
    const __m256 by = _mm256_set1_ps(scale);
    for (size_t i = 0; i < n; i += CODE_LANES) {
        const __m256 at = _mm256_mul_ps(_mm256_loadu_ps(v + i), by);
        const __m256 abs = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), at);
        __m256i c = _mm256_set1_epi32(8);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 7; k++) {
            const __m256 above = _mm256_cmp_ps(abs, _mm256_set1_ps(border[k]), _CMP_GE_OQ);
            c = _mm256_sub_epi32(c, _mm256_castps_si256(above));
        }
        const __m256 negative = _mm256_cmp_ps(at, _mm256_setzero_ps(), _CMP_LT_OQ);
        const __m256i other = _mm256_sub_epi32(_mm256_set1_epi32(15), c);
        c = _mm256_blendv_epi8(c, other, _mm256_castps_si256(negative));
        const __m128i w =
            _mm_packs_epi32(_mm256_castsi256_si128(c), _mm256_extracti128_si256(c, 1));
        const __m128i b = _mm_packs_epi16(w, w);
        _mm_storel_epi64((void *)(out_index + i), b);
        _mm256_storeu_ps(out_level + i,
                         _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_shuffle_epi8(level, b))));
    }
}

const pv__code_kernel *pv__code_kernel_avx2(void) {
    static const pv__code_kernel table = {
        .name = "avx2",
        .cpu = PV__CPU_AVX2,
        .i8_bias = 128,
        .range = code_avx2_range,
        .times = code_avx2_times,
        .less = code_avx2_less,
        .quantise = code_avx2_quantise,
        .i8 = code_avx2_i8,
        .nibble = code_avx2_nibble,
        .unfold = pv__code_avx2_unfold,
        .bits = code_avx2_bits,
        .panel = code_avx2_panel,
        .turn4 = pv__code_avx2_turn4,
        .close = code_avx2_close,
        .within = code_avx2_within,
        .count = code_avx2_count_within,
        .l2sq = code_avx2_l2sq,
        .dot = code_avx2_dot,
        .signs = code_avx2_signs,
        .fht = code_avx2_fht,
        .turn = code_avx2_turn,
        .levels = code_avx2_levels,
    };
    return &table;
}

#undef CODE_AVX2
#undef CODE_LANES
#undef CODE_STEP
#undef CODE_PARTS
#undef CODE_WIDE
#endif
