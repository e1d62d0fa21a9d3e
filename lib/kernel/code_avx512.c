/* SPDX-License-Identifier: Apache-2.0 */
/* code_avx512.c - sums over codes with AVX-512 (F, BW, DQ, VL) and VNNI.
 *
 *      i8      64 elements of 4 rows at a time against one register of the query: 4 or 8 chains
 *      nibble  128 elements of 4 rows at a time: levels come from a table in a register
 *      bits    64 elements of 4 rows at a time, bits as masks
 *      f32     1 row, 2 chains
 *      fht     64 elements in four registers, then 8 (4, 2) registers at a distance
 *
 * The last dims % 64 (% 16) elements come through a masked load, which touches no byte behind. */
#include <float.h>

#include "kernel/code_kernel.h"

#if PV__KERNEL_X86
#include <immintrin.h>

#include "os/sys.h"

#define CODE_AVX512                                                                                \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,popcnt")))
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

CODE_AVX512 static void code_avx512_times(const float *v, size_t n, float by, float *out) {
    for (size_t i = 0; i < n; i += CODE_LANES) {
        const __mmask16 mask = code_avx512_mask(n - i);
        const __m512 x = code_avx512_load_part(mask, v, i);
        _mm512_mask_storeu_ps(out + i, mask, _mm512_mul_ps(x, _mm512_set1_ps(by)));
    }
}

CODE_AVX512 static void code_avx512_less(float *v, size_t n, const float *mean) {
    const __m512 most = _mm512_set1_ps(FLT_MAX), least = _mm512_set1_ps(-FLT_MAX);
    for (size_t i = 0; i < n; i += CODE_LANES) {
        const __mmask16 mask = code_avx512_mask(n - i);
        const __m512 d =
            _mm512_sub_ps(code_avx512_load_part(mask, v, i), code_avx512_load_part(mask, mean, i));
        _mm512_mask_storeu_ps(v + i, mask, _mm512_max_ps(_mm512_min_ps(d, most), least));
    }
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

/* A lane is a row here, so that nothing has to be summed across a register: `count` queries (1, 4
 * or 12), of each four bytes at a time, against 32 rows. */
CODE_AVX512 PV__KERNEL_INLINE void code_avx512_panel_some(unsigned count,
                                                          const uint8_t *const *queries,
                                                          size_t bytes, const uint8_t *panel,
                                                          int32_t *out) {
    __m512i low[12], high[12];
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < count; k++) {
        low[k] = high[k] = _mm512_setzero_si512();
    }
    for (size_t i = 0; i < bytes; i += 4) {
        const __m512i a = _mm512_loadu_si512(panel + i * PV__CODE_PANEL);
        const __m512i b = _mm512_loadu_si512(panel + i * PV__CODE_PANEL + 64);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < count; k++) {
            int32_t word;
            memcpy(&word, queries[k] + i, sizeof word);
            const __m512i q = _mm512_set1_epi32(word);
            low[k] = _mm512_dpbusd_epi32(low[k], q, a);
            high[k] = _mm512_dpbusd_epi32(high[k], q, b);
        }
    }
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < count; k++) {
        _mm512_storeu_si512(out + k * PV__CODE_PANEL, low[k]);
        _mm512_storeu_si512(out + k * PV__CODE_PANEL + 16, high[k]);
    }
}

CODE_AVX512 static void code_avx512_panel(const uint8_t *const *queries, size_t count, size_t bytes,
                                          const uint8_t *panel, int32_t *out) {
    size_t q = 0;
    for (; q + 12 <= count; q += 12) {
        code_avx512_panel_some(12, queries + q, bytes, panel, out + q * PV__CODE_PANEL);
    }
    for (; q + 4 <= count; q += 4) {
        code_avx512_panel_some(4, queries + q, bytes, panel, out + q * PV__CODE_PANEL);
    }
    for (; q < count; q++) {
        code_avx512_panel_some(1, queries + q, bytes, panel, out + q * PV__CODE_PANEL);
    }
}

CODE_AVX512 PV__KERNEL_INLINE __m512 code_avx512_mul(__m512 a, __m512 b) {
    __m512 product = _mm512_mul_ps(a, b);
    __asm__("" : "+v"(product));
    return product;
}

CODE_AVX512 static bool code_avx512_close(const int32_t *sums, const pv__code_panel_rows *rows,
                                          const pv__code_panel_query *query, float *out) {
    const __m512 most = _mm512_set1_ps(0x1.fffffep127f);
    unsigned good = 0xFFFF;
    for (size_t r = 0; r < PV__CODE_PANEL; r += CODE_LANES) {
        const __m512 mean = _mm512_loadu_ps(rows->mean + r), tilt = _mm512_loadu_ps(rows->tilt + r);
        const __m512 dm = _mm512_sub_ps(_mm512_set1_ps(query->mean), mean);
        const __m512 turn = _mm512_sub_ps(_mm512_set1_ps(query->tilt), tilt);
        const __m512 spread = _mm512_loadu_ps(rows->spread + r);
        const __m512i less = _mm512_add_epi32(
            _mm512_mullo_epi32(_mm512_set1_epi32(query->offset), _mm512_loadu_si512(rows->sum + r)),
            _mm512_mullo_epi32(_mm512_set1_epi32(query->sum), _mm512_loadu_si512(rows->shift + r)));
        const __m512 cross =
            _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_loadu_si512(sums + r), less));
        const __m512 step =
            code_avx512_mul(_mm512_set1_ps(query->step2), _mm512_loadu_ps(rows->step + r));
        __m512 d = code_avx512_mul(_mm512_set1_ps(query->dims), dm);
        d = _mm512_add_ps(d, _mm512_add_ps(turn, turn));
        d = _mm512_add_ps(code_avx512_mul(dm, d),
                          _mm512_add_ps(spread, _mm512_set1_ps(query->spread)));
        d = _mm512_sub_ps(d, code_avx512_mul(step, cross));
        d = _mm512_mask_mov_ps(d, _mm512_cmp_ps_mask(d, _mm512_setzero_ps(), _CMP_LE_OQ),
                               _mm512_setzero_ps());
        good &= _mm512_cmp_ps_mask(_mm512_abs_ps(d), most, _CMP_LE_OQ);
        _mm512_storeu_ps(out + r, d);
    }
    return good == 0xFFFF;
}

CODE_AVX512 static size_t code_avx512_count_within(const float *distances, size_t n, float bound) {
    const __m512 b = _mm512_set1_ps(bound);
    size_t count = 0;
    for (size_t i = 0; i < n; i += CODE_LANES) {
        const __mmask16 mask = code_avx512_mask(n - i);
        const __m512 d = code_avx512_load_part(mask, distances, i);
        count += (unsigned)_mm_popcnt_u32(_mm512_mask_cmp_ps_mask(mask, d, b, _CMP_LE_OQ));
    }
    return count;
}

/* Whole registers are written: compressing into memory is slow on some machines. */
CODE_AVX512 static size_t code_avx512_keep_within(const float *distances, const uint32_t *ids,
                                                  size_t n, float bound, float *out,
                                                  uint32_t *out_ids) {
    const __m512 b = _mm512_set1_ps(bound);
    size_t kept = 0;
    for (size_t i = 0; i < n; i += CODE_LANES) {
        const __mmask16 mask = code_avx512_mask(n - i);
        const __m512 d = code_avx512_load_part(mask, distances, i);
        const __mmask16 within = _mm512_mask_cmp_ps_mask(mask, d, b, _CMP_LE_OQ);
        if (within != 0) {
            const __m512i id = _mm512_maskz_loadu_epi32(mask, ids + i);
            _mm512_storeu_ps(out + kept, _mm512_maskz_compress_ps(within, d));
            _mm512_storeu_si512(out_ids + kept, _mm512_maskz_compress_epi32(within, id));
            kept += (unsigned)_mm_popcnt_u32(within);
        }
    }
    return kept;
}

/* As i8_rows: 64 bytes are 128 elements; half a block at the end is done in half a register. */
CODE_AVX512 PV__KERNEL_INLINE void code_avx512_nibble_rows(unsigned count, const uint8_t *query,
                                                           size_t dims, const uint8_t *const *row,
                                                           __m512i acc[4]) {
    const __m512i level = _mm512_broadcast_i32x4(_mm_setr_epi8(PV__CODE_LEVELS));
    const __m512i low = _mm512_set1_epi8(15);
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
            const __m512i v = _mm512_loadu_si512(row[k] + i / 2);
            const __m512i a = _mm512_and_si512(v, low);
            const __m512i b = _mm512_and_si512(_mm512_srli_epi16(v, 4), low);
            acc[k] = _mm512_dpbusd_epi32(acc[k], q0, _mm512_shuffle_epi8(level, a));
            more[k] = _mm512_dpbusd_epi32(more[k], q1, _mm512_shuffle_epi8(level, b));
        }
    }
    if (i < dims) {
        const __m256i q0 = _mm256_loadu_si256((const void *)(query + i));
        const __m256i q1 = _mm256_loadu_si256((const void *)(query + i + 32));
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < count; k++) {
            const __m256i v = _mm256_loadu_si256((const void *)(row[k] + i / 2));
            const __m256i half = _mm512_castsi512_si256(low);
            const __m256i table = _mm512_castsi512_si256(level);
            const __m256i a = _mm256_shuffle_epi8(table, _mm256_and_si256(v, half));
            const __m256i b =
                _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(v, 4), half));
            __m256i s = _mm256_dpbusd_epi32(_mm256_setzero_si256(), q0, a);
            s = _mm256_dpbusd_epi32(s, q1, b);
            acc[k] = _mm512_add_epi32(acc[k], _mm512_zextsi256_si512(s));
        }
    }
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < count; k++) {
        acc[k] = _mm512_add_epi32(acc[k], more[k]);
    }
}

CODE_AVX512 static void code_avx512_nibble(const uint8_t *query, size_t dims,
                                           const pv__code_rows *rows, int32_t *out) {
    __m512i acc[4];
    size_t r = 0;
    for (; r + 4 <= rows->n; r += 4) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 4);
        code_avx512_nibble_rows(4, query, dims, rows->row + r, acc);
        code_avx512_sum4(acc, out + r);
    }
    for (; r < rows->n; r++) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        code_avx512_nibble_rows(1, query, dims, rows->row + r, acc);
        out[r] = code_avx512_sum(acc[0]);
    }
}

/* Sum of n bytes. */
CODE_AVX512 PV__KERNEL_INLINE int32_t code_avx512_total(const uint8_t *p, size_t n) {
    __m512i acc = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i += 64) {
        acc = _mm512_dpbusd_epi32(acc, _mm512_loadu_si512(p + i), _mm512_set1_epi8(1));
    }
    return code_avx512_sum(acc);
}

/* As i8_rows: sums of the queries whose bit is set; the bits are the mask of a move. */
CODE_AVX512 PV__KERNEL_INLINE void code_avx512_bits_rows(unsigned count, const uint8_t *query,
                                                         size_t dims, const uint8_t *const *row,
                                                         __m512i acc[4]) {
    const __m512i one = _mm512_set1_epi8(1);
    PV__KERNEL_UNROLL
    for (unsigned k = 0; k < count; k++) {
        acc[k] = _mm512_setzero_si512();
    }
    for (size_t i = 0; i < dims; i += 64) {
        const __m512i q = _mm512_loadu_si512(query + i);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < count; k++) {
            uint64_t set;
            memcpy(&set, row[k] + i / 8, sizeof set);
            acc[k] = _mm512_dpbusd_epi32(acc[k], _mm512_maskz_mov_epi8(set, q), one);
        }
    }
}

CODE_AVX512 static void code_avx512_bits(const uint8_t *query, size_t dims,
                                         const pv__code_rows *rows, int32_t *out) {
    __m512i acc[4];
    const int32_t all = code_avx512_total(query, dims);
    size_t r = 0;
    for (; r + 4 <= rows->n; r += 4) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 4);
        code_avx512_bits_rows(4, query, dims, rows->row + r, acc);
        code_avx512_sum4(acc, out + r);
        for (size_t k = 0; k < 4; k++) {
            out[r + k] = 2 * out[r + k] - all;
        }
    }
    for (; r < rows->n; r++) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        code_avx512_bits_rows(1, query, dims, rows->row + r, acc);
        out[r] = 2 * code_avx512_sum(acc[0]) - all;
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

CODE_AVX512 static void code_avx512_signs(float *v, size_t n, uint64_t seed, float scale) {
    const __m512 by = _mm512_set1_ps(scale), minus = _mm512_set1_ps(-scale);
    for (size_t i = 0; i < n; i += 64) {
        uint64_t bits = pv__code_signs(seed, i / 64);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 4; k++, bits >>= 16) {
            const __m512 sign = _mm512_mask_mov_ps(by, (__mmask16)bits, minus);
            __m512 x = _mm512_mul_ps(_mm512_loadu_ps(v + i + k * CODE_LANES), sign);
            __asm__("" : "+v"(x));
            _mm512_storeu_ps(v + i + k * CODE_LANES, x);
        }
    }
}

CODE_AVX512 static void code_avx512_turn(float *a, float *b, size_t n) {
    for (size_t i = 0; i < n; i += CODE_LANES) {
        const __m512 x = _mm512_loadu_ps(a + i), y = _mm512_loadu_ps(b + i);
        _mm512_storeu_ps(a + i, _mm512_add_ps(x, y));
        _mm512_storeu_ps(b + i, _mm512_sub_ps(x, y));
    }
}

/* Stages of distance 1, 2, 4, 8 within a register. */
CODE_AVX512 PV__KERNEL_INLINE __m512 code_avx512_fht16(__m512 v) {
    __m512 t = _mm512_permute_ps(v, 0xB1);
    v = _mm512_mask_sub_ps(_mm512_add_ps(v, t), 0xAAAA, t, v);
    t = _mm512_permute_ps(v, 0x4E);
    v = _mm512_mask_sub_ps(_mm512_add_ps(v, t), 0xCCCC, t, v);
    t = _mm512_shuffle_f32x4(v, v, 0xB1);
    v = _mm512_mask_sub_ps(_mm512_add_ps(v, t), 0xF0F0, t, v);
    t = _mm512_shuffle_f32x4(v, v, 0x4E);
    return _mm512_mask_sub_ps(_mm512_add_ps(v, t), 0xFF00, t, v);
}

/* Stages of distance 1 and 2 (and 4) between registers. */
CODE_AVX512 PV__KERNEL_INLINE void code_avx512_pair(__m512 *a, __m512 *b) {
    const __m512 x = *a, y = *b;
    *a = _mm512_add_ps(x, y);
    *b = _mm512_sub_ps(x, y);
}

CODE_AVX512 PV__KERNEL_INLINE void code_avx512_four(__m512 *v) {
    code_avx512_pair(v, v + 1);
    code_avx512_pair(v + 2, v + 3);
    code_avx512_pair(v, v + 2);
    code_avx512_pair(v + 1, v + 3);
}

CODE_AVX512 PV__KERNEL_INLINE void code_avx512_eight(__m512 *v) {
    code_avx512_four(v);
    code_avx512_four(v + 4);
    code_avx512_pair(v, v + 4);
    code_avx512_pair(v + 1, v + 5);
    code_avx512_pair(v + 2, v + 6);
    code_avx512_pair(v + 3, v + 7);
}

/* The stages of distance h and 2 h; h is a multiple of 64. */
CODE_AVX512 PV__KERNEL_INLINE void code_avx512_far4(float *v, size_t n, size_t h) {
    for (size_t i = 0; i < n; i += 4 * h) {
        for (size_t j = i; j < i + h; j += CODE_LANES) {
            __m512 r[4] = {_mm512_loadu_ps(v + j), _mm512_loadu_ps(v + j + h),
                           _mm512_loadu_ps(v + j + 2 * h), _mm512_loadu_ps(v + j + 3 * h)};
            code_avx512_four(r);
            _mm512_storeu_ps(v + j, r[0]);
            _mm512_storeu_ps(v + j + h, r[1]);
            _mm512_storeu_ps(v + j + 2 * h, r[2]);
            _mm512_storeu_ps(v + j + 3 * h, r[3]);
        }
    }
}

/* And of 4 h. */
CODE_AVX512 PV__KERNEL_INLINE void code_avx512_far8(float *v, size_t n, size_t h) {
    for (size_t i = 0; i < n; i += 8 * h) {
        for (size_t j = i; j < i + h; j += CODE_LANES) {
            __m512 r[8];
            PV__KERNEL_UNROLL
            for (unsigned k = 0; k < 8; k++) {
                r[k] = _mm512_loadu_ps(v + j + k * h);
            }
            code_avx512_eight(r);
            PV__KERNEL_UNROLL
            for (unsigned k = 0; k < 8; k++) {
                _mm512_storeu_ps(v + j + k * h, r[k]);
            }
        }
    }
}

CODE_AVX512 static void code_avx512_fht(float *v, size_t n) {
    for (size_t i = 0; i < n; i += 64) {
        __m512 r[4];
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 4; k++) {
            r[k] = code_avx512_fht16(_mm512_loadu_ps(v + i + k * CODE_LANES));
        }
        code_avx512_four(r);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 4; k++) {
            _mm512_storeu_ps(v + i + k * CODE_LANES, r[k]);
        }
    }
    size_t h = 64;
    for (; h * 8 <= n; h *= 8) {
        code_avx512_far8(v, n, h);
    }
    if (h * 4 == n) {
        code_avx512_far4(v, n, h);
    } else if (h * 2 == n) {
        code_avx512_turn(v, v + h, h);
    }
}

CODE_AVX512 static void code_avx512_levels(const float *v, size_t n, float scale,
                                           uint8_t *out_index, float *out_level) {
    static const float border[7] = {PV__CODE_BORDERS};
    const __m512i level = _mm512_cvtepi8_epi32(_mm_setr_epi8(PV__CODE_LEVELS));
    const __m512 by = _mm512_set1_ps(scale);
    for (size_t i = 0; i < n; i += CODE_LANES) {
        const __m512 at = _mm512_mul_ps(_mm512_loadu_ps(v + i), by);
        const __m512 abs = _mm512_abs_ps(at);
        const __mmask16 negative = _mm512_cmp_ps_mask(at, _mm512_setzero_ps(), _CMP_LT_OQ);
        const __m512i one = _mm512_set1_epi32(1);
        __m512i c = _mm512_set1_epi32(8);
        PV__KERNEL_UNROLL
        for (unsigned k = 0; k < 7; k++) {
            const __mmask16 above = _mm512_cmp_ps_mask(abs, _mm512_set1_ps(border[k]), _CMP_GE_OQ);
            c = _mm512_mask_add_epi32(c, above, c, one);
        }
        c = _mm512_mask_sub_epi32(c, negative, _mm512_set1_epi32(15), c);
        _mm_storeu_si128((void *)(out_index + i), _mm512_cvtepi32_epi8(c));
        _mm512_storeu_ps(out_level + i, _mm512_cvtepi32_ps(_mm512_permutexvar_epi32(c, level)));
    }
}

const pv__code_kernel *pv__code_kernel_avx512(void) {
    static const pv__code_kernel table = {
        .name = "avx512",
        .cpu = PV__CPU_AVX512 | PV__CPU_AVX2 | PV__CPU_VNNI,
        .i8_bias = 128,
        .range = code_avx512_range,
        .times = code_avx512_times,
        .less = code_avx512_less,
        .quantise = code_avx512_quantise,
        .i8 = code_avx512_i8,
        .nibble = code_avx512_nibble,
        .unfold = pv__code_avx2_unfold,
        .bits = code_avx512_bits,
        .panel = code_avx512_panel,
        .turn4 = pv__code_avx2_turn4,
        .close = code_avx512_close,
        .count = code_avx512_count_within,
        .keep = code_avx512_keep_within,
        .l2sq = code_avx512_l2sq,
        .dot = code_avx512_dot,
        .signs = code_avx512_signs,
        .fht = code_avx512_fht,
        .turn = code_avx512_turn,
        .levels = code_avx512_levels,
    };
    return &table;
}

#undef CODE_AVX512
#undef CODE_LANES
#undef CODE_STEP
#endif
