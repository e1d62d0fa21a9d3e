/* SPDX-License-Identifier: Apache-2.0 */
/* element.h - what vectors are made of and how they are compared: three small tables, looked up
 * once by the numbers of pv.h.
 *
 *      element    f32, f16, i8, bit                             bytes, values, what is refused
 *      metric     l2, cosine, dot, l1, hamming, jaccard         names, scores, scales
 *      measure    those pairs of the two that go together       distances of rows
 *
 * Rows of bits: dimension i is bit 7 - i % 8 of byte i / 8; the bits behind the last are 0. */
#ifndef PV_KERNEL_ELEMENT_H
#define PV_KERNEL_ELEMENT_H

#include "base/base.h"

typedef struct pv__element {
    const char *name;
    uint32_t bits; /* of one dimension */
    /* Elements [from, from + n) as f32, exact; a bit is 0 or 1. from is a multiple of 8. */
    void (*widen)(const uint8_t *row, size_t from, size_t n, float *out);
    /* Which element may not be there; what: "NaN or infinity". NULL: there is no such one. */
    bool (*find_bad)(const uint8_t *row, size_t dims, size_t *out_at);
    const char *bad;
} pv__element;

/* NULL: none of PV_TYPE_, or one that this version does not take. */
PV_PRIVATE const pv__element *pv__element_of(uint32_t type);
static inline size_t pv__element_bytes(const pv__element *e, size_t dims) {
    return (dims * e->bits + 7) / 8;
}
/* A whole row as f32. */
static inline void pv__element_widen(const pv__element *e, const uint8_t *row, size_t dims,
                                     float *out) {
    e->widen(row, 0, dims, out);
}
/* Are all elements 0, of either sign? */
PV_PRIVATE bool pv__element_is_zero(const pv__element *e, const uint8_t *row, size_t dims);
/* The sum of their squares. */
PV_PRIVATE double pv__element_norm2(const pv__element *e, const uint8_t *row, size_t dims);

/* How distances of codes (quant/code.h), which are for comparing only, follow from those of pv.h.
 * All but NONE are like squared lengths: a ratio between them means about the same. */
typedef enum pv__scale {
    PV__SCALE_NONE,   /* the same numbers, but of any sign: a ratio means nothing */
    PV__SCALE_SAME,   /* the same */
    PV__SCALE_SQUARE, /* the square */
    PV__SCALE_DOUBLE  /* twice */
} pv__scale;

typedef struct pv__metric {
    const char *name;
    pv__scale scale;
    bool from_one; /* the score is 1 - distance; else -distance */
} pv__metric;

/* NULL: none of PV_METRIC_. */
PV_PRIVATE const pv__metric *pv__metric_of(uint32_t metric);
/* A distance of pv.h in the scale of codes, and back; below 0 only with SCALE_NONE. */
PV_PRIVATE float pv__metric_to_code(const pv__metric *m, float distance);
PV_PRIVATE float pv__metric_of_code(const pv__metric *m, float distance);

/* Do vectors of this type go with this metric? */
PV_PRIVATE bool pv__measure_exists(uint32_t type, uint32_t metric);

#endif
