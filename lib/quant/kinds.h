/* SPDX-License-Identifier: Apache-2.0 */
/* kinds.h - what the kinds of codes give to code.c, and what they share. For lib/quant only. */
#ifndef PV_QUANT_KINDS_H
#define PV_QUANT_KINDS_H

#include "kernel/code_kernel.h"
#include "quant/code.h"

/* Rows whose sums are in flight: with the query they stay in the first-level cache. */
#define PV__CODE_BLOCK 32u

#define PV__CODE_QUERY_HEAD 64u

/* What a distance is made of; for lib/quant's finishing expressions. */
enum {
    PV__CODE_FORM_L2 = 0,  /* squared Euclidean */
    PV__CODE_FORM_DOT = 1, /* -dot */
    PV__CODE_FORM_AUG = 2, /* squared Euclidean, a coordinate appended */
    PV__CODE_FORM_L1 = 3   /* squared sum of absolute differences */
};

/* One kind. All functions as those of code.h that call them; NULL: the kind has none. */
typedef struct pv__code_ops {
    uint32_t types, metrics; /* that it goes with: bits by the numbers of pv.h */
    bool as_stored;          /* vectors come as they are stored; else as f32 */
    /* row_size, query_bytes, scratch_bytes of *c, from its metric and dims. */
    void (*sizes)(pv__code *c);
    void (*encode)(const pv__code *c, const void *vector, void *scratch, uint8_t *row);
    void (*decode)(const pv__code *c, const uint8_t *row, float *out);
    void (*query)(const pv__code *c, const void *vector, void *query);
    void (*query_row)(const pv__code *c, const uint8_t *row, void *query);
    void (*distances)(const pv__code *c, const void *query, const pv__code_rows *rows, float *out);
    /* Kinds whose distances are made of sums of u8 x s8 products: how many bytes a row has as s8, a
     * multiple of 4 (the query's bytes begin PV__CODE_QUERY_HEAD behind its begin), and whether
     * they are `unfold`ed nibbles. Other kinds: NULL, and so with those below. */
    uint32_t (*panel_bytes)(const pv__code *c);
    bool nibbles;
    /* The factors of the first n rows; of a query, false where its distances are other ones. */
    void (*panel_rows)(const pv__code *c, const uint8_t *const *rows, size_t n,
                       pv__code_panel_rows *out);
    bool (*panel_query)(const pv__code *c, const void *query, pv__code_panel_query *out);
    /* Distances from the sums, which have room for 4 more. */
    void (*finish)(const pv__code *c, const void *query, const pv__code_rows *rows, int32_t *sums,
                   float *out);
    float (*sigma)(const pv__code *c, const void *query, const uint8_t *row, float distance);
    /* NULL: nothing is learned from data. */
    int (*train)(const pv__code *c, pv__mem *mem, const float *sample, size_t n,
                 const pv__code_stop *stop, void *book, pv_error *err);
} pv__code_ops;

#define PV__CODE_OF_NUMBERS (1u << PV_TYPE_F32 | 1u << PV_TYPE_F16 | 1u << PV_TYPE_I8)
#define PV__CODE_OF_FLOATS (1u << PV_METRIC_L2 | 1u << PV_METRIC_COSINE | 1u << PV_METRIC_DOT)

PV_PRIVATE const pv__code_ops *pv__code_ops_of(uint32_t kind); /* NULL: no such kind */
PV_PRIVATE const pv__code_ops *pv__code_f32(void);
PV_PRIVATE const pv__code_ops *pv__code_f16(void);
PV_PRIVATE const pv__code_ops *pv__code_sq8(void);
PV_PRIVATE const pv__code_ops *pv__code_q4(void);
PV_PRIVATE const pv__code_ops *pv__code_pq(void);
PV_PRIVATE const pv__code_ops *pv__code_i8(void);
PV_PRIVATE const pv__code_ops *pv__code_bit(void);

/* A vector as f32: itself, or a copy in `wide`, c->wide_bytes. */
PV_PRIVATE const void *pv__code_wide(const pv__code *c, const void *vector, void *wide);

/* A power of two that brings the largest of the absolute values of low and high near 1, or 1 where
 * they are in [2^-40, 2^40]: squares of scaled elements neither overflow nor vanish. */
PV_PRIVATE float pv__code_scale(float low, float high);

/* The elements of a vector, for cosine divided by its length. Returns the extra value of f32.c:
 * for dot the appended coordinate, for cosine 1 where the vector is all zeros, else 0. */
PV_PRIVATE float pv__code_plain(const pv__code *c, const float *vector, float *out);

/* To f32, cut to +-FLT_MAX; NaN, which only damage can bring, to FLT_MAX. */
PV_PRIVATE float pv__code_round(double v);

/* The appended coordinate of the augmented form for a squared norm. */
PV_PRIVATE float pv__code_extra(const pv__code *c, double norm2);

/* pq: parts are as equal as can be; the first element of one. */
static inline uint32_t pv__code_part_from(const pv__code *c, uint32_t part) {
    return (uint32_t)((uint64_t)part * c->dims / c->parts);
}

/* axes.c: a rotation that gives every part its share of what `rows` vectors differ by. out: blocks
 * of 16 rows of the matrix, column by column: up to 16 x dims f32, zeros beyond dims. */
PV_PRIVATE int pv__code_axes(const pv__code *c, pv__mem *mem, const float *sample, size_t rows,
                             const pv__code_stop *stop, float *out, pv_error *err);

/* v, n elements (a multiple of 64), turned by the rotation of this seed. */
PV_PRIVATE void pv__code_rotate(const pv__code_kernel *kernel, float *v, size_t n, uint64_t seed);

#endif
