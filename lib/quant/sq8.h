/* SPDX-License-Identifier: Apache-2.0 */
/* sq8.h - rows and queries of SQ8 in memory, for the two files that read them: sq8.c, which has
 * the drawing and the formulas, and bound.c. */
#ifndef PV_QUANT_SQ8_H
#define PV_QUANT_SQ8_H

#include "quant/four.h"
#include "quant/kinds.h"

typedef struct pv__sq8_factors {
    float mean, step;
    int16_t sum, shift;
    int32_t sum2;
} pv__sq8_factors;
PV_STATIC_ASSERT(sizeof(pv__sq8_factors) == 16, sq8_factors_are_four_words);

typedef struct pv__sq8_query {
    uint32_t form; /* PV__CODE_FORM_ */
    pv__sq8_factors f;
    float tilt;     /* step * sum */
    float spread;   /* step^2 * sum2 */
    float total;    /* sum of the decoded elements */
    float extra;    /* FORM_AUG */
    int32_t offset; /* shift + bias of the kernel: times the row's sum of c */
    uint8_t pad[24];
} pv__sq8_query;
PV_STATIC_ASSERT(sizeof(pv__sq8_query) == 64, sq8_query_is_one_line);

/* Of a row: where its factors begin. */
static inline uint32_t pv__sq8_bytes(const pv__code *c) { return PV_ALIGN_UP(c->dims, 4u); }

/* c + 128 of a query's elements. */
static inline uint8_t *pv__sq8_codes(const void *query) {
    return (uint8_t *)(uintptr_t)query + sizeof(pv__sq8_query);
}

static inline void pv__sq8_get(const uint8_t *p, pv__sq8_factors *f) {
    uint32_t word[4];
    memcpy(word, p, sizeof word);
    memcpy(&f->mean, &word[0], 4);
    memcpy(&f->step, &word[1], 4);
    f->sum = (int16_t)(uint16_t)word[2];
    f->shift = (int16_t)(uint16_t)(word[2] >> 16);
    f->sum2 = (int32_t)word[3];
}

/* From the sum of the kernel to cross: exact. */
static inline int32_t pv__sq8_cross(const pv__code *c, const pv__sq8_query *q, int32_t sum,
                                    const pv__sq8_factors *f) {
    const int32_t row_sum = f->sum + (int32_t)c->dims * f->shift;
    return sum - q->offset * row_sum - f->shift * q->f.sum;
}

/* The same of four rows, rounded; halves: sum and shift of each. */
PV__KERNEL_INLINE pv__four pv__sq8_cross4(const pv__code *c, const pv__sq8_query *q,
                                          pv__four_int halves, const int32_t *sums) {
    const int32_t by_shift = q->offset * (int32_t)c->dims + q->f.sum;
    return pv__four_from(pv__four_less(sums, pv__four_halves(halves, q->offset, by_shift)));
}

#endif
