/* SPDX-License-Identifier: Apache-2.0 */
/* code_kernel.h - sums over the elements of short codes (lib/quant), one prepared query against
 * rows anywhere in memory.
 *
 *      code_scalar.c   code_avx2.c   code_avx512.c (VNNI)   code_neon.c    integers, f32, rotation
 *      code_float.c                                                        f16, absolute values
 *      code_int.c                                                          signed bytes, bits
 *      code_parts.c                                                        product codes
 *
 * Same bits on every instruction set, the scalar one included: sums are integers, and where they
 * cannot be (f32 rows) element i is added to partial sum i % 32, the product rounded first, and the
 * 32 are folded as kernel.h draws it. No compiler option may fuse a product into a sum here:
 * pv__unfused stands between them.
 *
 * Rows begin at any byte and are read to the end of their row_size at most. All functions are pure;
 * threads: any. */
#ifndef PV_KERNEL_CODE_KERNEL_H
#define PV_KERNEL_CODE_KERNEL_H

#include "kernel/kernel.h"

/* Sums of the first n rows; all lines of the rows that follow are fetched into the cache on the
 * way, as far as `all`. */
typedef struct pv__code_rows {
    const uint8_t *const *row;
    size_t n, all;   /* 1 <= n <= all */
    size_t row_size; /* in bytes */
} pv__code_rows;

/* Element v becomes round((v * scale - middle) * inv_step), cut to -128..127; ties to even. */
typedef struct pv__code_grid {
    float scale, middle, inv_step;
} pv__code_grid;

#define PV__CODE_PANEL 32u /* rows that many queries are compared with */

/* Factors of the rows of a panel and of a query, from which squared distances are made of sums:
 *
 *      cross = sums - (offset * sum + shift * q.sum)
 *      dm    = q.mean - mean
 *      d     = dm * (dims * dm + 2 (q.tilt - tilt)) + (spread + q.spread) - q.step2 * step * cross
 *
 * each operation rounded by itself, in the order of lib/quant/sq8.c; 0 where d <= 0. */
typedef struct pv__code_panel_rows {
    float mean[PV__CODE_PANEL], step[PV__CODE_PANEL], tilt[PV__CODE_PANEL], spread[PV__CODE_PANEL];
    int32_t sum[PV__CODE_PANEL], shift[PV__CODE_PANEL];
} pv__code_panel_rows;
typedef struct pv__code_panel_query {
    float dims, mean, step2, tilt, spread;
    int32_t offset, sum;
} pv__code_panel_query;

typedef struct pv__code_kernel {
    const char *name; /* "scalar", "avx2", "avx512", "neon", "dotprod" */
    uint32_t cpu;     /* PV__CPU_ bits that it needs */
    int32_t i8_bias;  /* see i8 */

    /* Smallest and largest of n >= 1 finite elements. */
    void (*range)(const float *v, size_t n, float *out_low, float *out_high);
    /* v * by of n elements; out may be v. */
    void (*times)(const float *v, size_t n, float by, float *out);
    /* n elements less those of a mean, cut to +-FLT_MAX. None is NaN. */
    void (*less)(float *v, size_t n, const float *mean);
    /* n elements to bytes, with their sum and the sum of their squares. */
    void (*quantise)(const float *v, size_t n, const pv__code_grid *grid, int8_t *out,
                     int32_t *out_sum, int32_t *out_sum2);
    /* Sum (query - 128 + i8_bias) * row: query u8, row s8. The query is followed by zeros up to a
     * multiple of 64, the row by at least 16 bytes that belong to it. */
    void (*i8)(const uint8_t *query, size_t dims, const pv__code_rows *rows, int32_t *out);
    /* Sum query * level: query u8 below 128, row nibbles that stand for PV__CODE_LEVELS. dims is a
     * multiple of 64. 64 bytes hold 128 elements: i in the low half of byte i, 64 + i in the high
     * one; where 64 elements are left at the end, 32 bytes hold them in the same way. */
    void (*nibble)(const uint8_t *query, size_t dims, const pv__code_rows *rows, int32_t *out);
    /* The levels of a row of nibbles in order, each + 64: a query made of a row. */
    void (*unfold)(const uint8_t *row, size_t dims, uint8_t *out);
    /* Sum +-query: query u8 below 128, + where bit i % 8 of the row's byte i / 8 is set. dims is a
     * multiple of 64. */
    void (*bits)(const uint8_t *query, size_t dims, const pv__code_rows *rows, int32_t *out);
    /* As i8, of `count` queries and PV__CODE_PANEL rows that are turned: bytes 4i .. 4i + 3 of row
     * r stand at panel[(i * PV__CODE_PANEL + r) * 4], and out[q * PV__CODE_PANEL + r] is theirs.
     * bytes is a multiple of 4. turn4: four rows to their places in a panel, `less` taken off each
     * byte. close: sums to distances; false: not all are finite. NULL, all three: there is
     * nothing faster than i8. */
    void (*panel)(const uint8_t *const *queries, size_t count, size_t bytes, const uint8_t *panel,
                  int32_t *out);
    void (*turn4)(const uint8_t *const rows[4], size_t bytes, uint8_t less, uint8_t *out);
    bool (*close)(const int32_t *sums, const pv__code_panel_rows *rows,
                  const pv__code_panel_query *query, float *out);
    /* Bit i: distance i of PV__CODE_PANEL is not above the bound. Of n: how many are not; and
     * those, as pv__code_keep_within has it. NULL, each: plain C does, or `within` for keep. */
    uint32_t (*within)(const float *distances, float bound);
    size_t (*count)(const float *distances, size_t n, float bound);
    size_t (*keep)(const float *distances, const uint32_t *ids, size_t n, float bound, float *out,
                   uint32_t *out_ids);
    /* Sum (query - row)^2 and sum query * row. */
    void (*l2sq)(const float *query, size_t dims, const pv__code_rows *rows, float *out);
    void (*dot)(const float *query, size_t dims, const pv__code_rows *rows, float *out);

    /* Parts of a rotation; n is a multiple of 64, the vectors are whole.
     * signs: multiplied by +-scale, element i by the sign in bit i % 64 of
     * pv__code_signs(seed, i / 64). */
    void (*signs)(float *v, size_t n, uint64_t seed, float scale);
    /* Hadamard transform, not scaled: n is a power of two. Stages of distance 1, 2, 4 ... n / 2. */
    void (*fht)(float *v, size_t n);
    /* a, b become a + b, a - b; n is a multiple of 32. */
    void (*turn)(float *a, float *b, size_t n);
    /* The nearest level of v * scale for each element: its index as a byte, its value as f32. */
    void (*levels)(const float *v, size_t n, float scale, uint8_t *out_index, float *out_level);
} pv__code_kernel;

/* Sums over rows of f32 and f16 (code_float.c). */
#define PV__CODE_HALF_BYTES(dims) PV_ALIGN_UP((dims)*2u, 4u)
typedef void (*pv__code_float_fn)(const float *query, size_t dims, const pv__code_rows *rows,
                                  float *out);
typedef struct pv__code_floats {
    /* n elements times `scale`, a power of two, to the nearest f16; cut to +-65504. */
    void (*halves)(const float *v, size_t n, float scale, uint8_t *out);
    /* n of f16 as f32, exact. */
    void (*widen)(const uint8_t *halves, size_t n, float *out);
    /* f32: sum |query - row|. */
    pv__code_float_fn l1;
    /* Rows of f16: (query - row)^2, query * row, |query - row|. */
    pv__code_float_fn half_l2sq, half_dot, half_l1;
    /* Sum query * row; out2: row * row. */
    void (*half_dot2)(const float *query, size_t dims, const pv__code_rows *rows, float *out,
                      float *out2);
    /* Rows of f16 with their unit behind them. */
    pv__code_float_fn unit_l2sq, unit_dot, unit_l1;
} pv__code_floats;

/* Sums over rows of signed bytes and of bits (code_int.c). Rows and query have `bytes` bytes at any
 * alignment; nothing behind them is read. */
typedef void (*pv__code_int_fn)(const uint8_t *query, size_t bytes, const pv__code_rows *rows,
                                int32_t *out, int32_t *out2);
typedef struct pv__code_ints {
    /* Sum (query - row)^2, query * row, |query - row|. out2 is not used. */
    pv__code_int_fn i8_l2, i8_dot, i8_l1;
    /* Sum query * row; out2: row * row. */
    pv__code_int_fn i8_dot2;
    /* Bits that differ. out2 is not used. */
    pv__code_int_fn bit_xor;
    /* Bits that both have; out2: that either has. */
    pv__code_int_fn bit_both;
} pv__code_ints;

/* Sums over product codes (code_parts.c). */
typedef struct pv__code_parts {
    /* Squared distances of `dims` elements to `count` centres (a multiple of 16), or dots. */
    void (*measure)(const float *v, size_t dims, const float *centres, size_t count, bool dot,
                    float *out);
    /* Sum of entries: a byte a part, or half a byte. */
    void (*sums8)(const uint8_t *table, size_t parts, const pv__code_rows *rows, uint32_t *out);
    void (*sums4)(const uint8_t *table, size_t parts, const pv__code_rows *rows, uint32_t *out);
} pv__code_parts;

/* Sixteen levels for normal values of deviation PV__CODE_LEVEL_UNIT, by Lloyd and Max, rounded so
 * that a level fits 7 bits; and the borders between the positive ones. */
#define PV__CODE_LEVELS -63, -48, -37, -29, -22, -15, -9, -3, 3, 9, 15, 22, 29, 37, 48, 63
#define PV__CODE_BORDERS 6.0f, 12.0f, 18.5f, 25.5f, 33.0f, 42.5f, 55.5f
#define PV__CODE_LEVEL_MAX 63
#define PV__CODE_LEVEL_UNIT 23.05f

/* 64 random bits, the same everywhere (SplitMix64). */
PV__KERNEL_INLINE uint64_t pv__code_signs(uint64_t seed, uint64_t block) {
    uint64_t z = seed + (block + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* As pv__kernel_table and pv__kernel_at. */
PV_PRIVATE const pv__code_kernel *pv__code_kernel_table(uint32_t cpu);
PV_PRIVATE const pv__code_floats *pv__code_floats_table(uint32_t cpu);
PV_PRIVATE const pv__code_ints *pv__code_ints_table(uint32_t cpu);
PV_PRIVATE const pv__code_parts *pv__code_parts_table(uint32_t cpu);
PV_PRIVATE const pv__code_kernel *pv__code_kernel_at(size_t index);

/* ---- for the code_ files of this folder, and for lib/quant ----------------------------------- */

PV_PRIVATE const pv__code_kernel *pv__code_kernel_scalar(void);
PV_PRIVATE const pv__code_floats *pv__code_floats_scalar(void);
#if PV__KERNEL_X86
PV_PRIVATE const pv__code_kernel *pv__code_kernel_avx2(void);
PV_PRIVATE const pv__code_kernel *pv__code_kernel_avx512(void);
PV_PRIVATE void pv__code_avx2_unfold(const uint8_t *row, size_t dims, uint8_t *out); /* of both */
PV_PRIVATE void pv__code_avx2_turn4(const uint8_t *const rows[4], size_t bytes, uint8_t less,
                                    uint8_t *out);
PV_PRIVATE const pv__code_floats *pv__code_floats_avx2(void);
PV_PRIVATE const pv__code_floats *pv__code_floats_avx512(void);
#endif
#if PV__KERNEL_ARM
PV_PRIVATE const pv__code_kernel *pv__code_kernel_neon(void);
#if PV__KERNEL_DOTPROD
PV_PRIVATE const pv__code_kernel *pv__code_kernel_dotprod(void);
#endif
PV_PRIVATE const pv__code_floats *pv__code_floats_neon(void);
#endif

/* The value, rounded to its type: a product that passes through here is never fused with the sum
 * it goes into, whatever -ffp-contract and -march say. */
#if PV__KERNEL_X86
PV__KERNEL_INLINE float pv__unfused(float v) {
    __asm__("" : "+x"(v));
    return v;
}
PV__KERNEL_INLINE double pv__unfused_double(double v) {
    __asm__("" : "+x"(v));
    return v;
}
#elif PV__KERNEL_ARM && defined(__GNUC__)
PV__KERNEL_INLINE float pv__unfused(float v) {
    __asm__("" : "+w"(v));
    return v;
}
PV__KERNEL_INLINE double pv__unfused_double(double v) {
    __asm__("" : "+w"(v));
    return v;
}
#else
PV__KERNEL_INLINE float pv__unfused(float v) {
    volatile float rounded = v;
    return rounded;
}
PV__KERNEL_INLINE double pv__unfused_double(double v) {
    volatile double rounded = v;
    return rounded;
}
#endif

/* How many rows ahead of the sums rows are fetched; a multiple of 4. */
#define PV__CODE_AHEAD 4u

/* All lines of rows [from, from + count) that exist. */
PV__KERNEL_INLINE void pv__code_fetch(const pv__code_rows *rows, size_t from, size_t count) {
    const size_t end = PV_MIN(from + count, rows->all);
    for (size_t r = from; r < end; r++) {
        const uint8_t *const p = rows->row[r];
        for (size_t i = 0; i < rows->row_size; i += 64) {
            PV_PREFETCH(p + i);
        }
        PV_PREFETCH(p + rows->row_size - 1);
    }
}

#endif
