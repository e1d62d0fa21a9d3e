/* SPDX-License-Identifier: Apache-2.0 */
/* test_types_kit.h - vectors of every element type, and plain distances by every metric: written
 * down once more, in double, with nothing of the library's. */
#ifndef PV_TEST_TYPES_KIT_H
#define PV_TEST_TYPES_KIT_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "pv.h"
#include "support/test_support.h"

typedef struct t_space {
    uint32_t type, metric;
    const char *name;
} t_space;

static const t_space t_spaces[] = {
    {PV_TYPE_F32, PV_METRIC_L2, "f32 l2"},
    {PV_TYPE_F32, PV_METRIC_COSINE, "f32 cosine"},
    {PV_TYPE_F32, PV_METRIC_DOT, "f32 dot"},
    {PV_TYPE_F32, PV_METRIC_L1, "f32 l1"},
    {PV_TYPE_F16, PV_METRIC_L2, "f16 l2"},
    {PV_TYPE_F16, PV_METRIC_COSINE, "f16 cosine"},
    {PV_TYPE_F16, PV_METRIC_DOT, "f16 dot"},
    {PV_TYPE_F16, PV_METRIC_L1, "f16 l1"},
    {PV_TYPE_I8, PV_METRIC_L2, "i8 l2"},
    {PV_TYPE_I8, PV_METRIC_COSINE, "i8 cosine"},
    {PV_TYPE_I8, PV_METRIC_DOT, "i8 dot"},
    {PV_TYPE_I8, PV_METRIC_L1, "i8 l1"},
    {PV_TYPE_BIT, PV_METRIC_HAMMING, "bit hamming"},
    {PV_TYPE_BIT, PV_METRIC_JACCARD, "bit jaccard"},
};
enum { T_SPACES = sizeof t_spaces / sizeof t_spaces[0] };

static inline size_t t_row_bytes(uint32_t type, uint32_t dims) {
    return type == PV_TYPE_F32   ? dims * 4u
           : type == PV_TYPE_F16 ? dims * 2u
           : type == PV_TYPE_I8  ? dims
                                 : (dims + 7u) / 8u;
}

/* An f16 by its definition. */
static inline double t_half(uint16_t h) {
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    const double v = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
    return h & 0x8000 ? -v : v;
}

static inline double t_element(uint32_t type, const uint8_t *row, uint32_t i) {
    float f;
    uint16_t h;
    switch (type) {
    case PV_TYPE_F32:
        memcpy(&f, row + 4 * (size_t)i, 4);
        return (double)f;
    case PV_TYPE_F16:
        memcpy(&h, row + 2 * (size_t)i, 2);
        return t_half(h);
    case PV_TYPE_I8:
        return (double)(int8_t)row[i];
    default:
        return row[i / 8] & (0x80 >> i % 8) ? 1 : 0;
    }
}

static inline double t_plain(const t_space *s, const uint8_t *a, const uint8_t *b, uint32_t dims) {
    double l2 = 0, l1 = 0, dot = 0, a2 = 0, b2 = 0, either = 0;
    for (uint32_t i = 0; i < dims; i++) {
        const double x = t_element(s->type, a, i), y = t_element(s->type, b, i);
        l2 += (x - y) * (x - y);
        l1 += fabs(x - y);
        dot += x * y;
        a2 += x * x;
        b2 += y * y;
        either += x != 0 || y != 0;
    }
    switch (s->metric) {
    case PV_METRIC_L2:
        return sqrt(l2);
    case PV_METRIC_COSINE:
        return a2 == 0 || b2 == 0 ? 1 : fmax(0, fmin(2, 1 - dot / sqrt(a2) / sqrt(b2)));
    case PV_METRIC_DOT:
        return -dot;
    case PV_METRIC_JACCARD:
        return either == 0 ? 0 : 1 - dot / either;
    default:
        return l1; /* of bits: those that differ */
    }
}

/* An element near `centre` in -1..1, spread around it. f16 here are normal numbers. */
static inline void t_put_element(uint32_t type, uint8_t *row, uint32_t i, double v) {
    if (type == PV_TYPE_F32) {
        const float f = (float)v;
        memcpy(row + 4 * (size_t)i, &f, 4);
    } else if (type == PV_TYPE_F16) {
        int exponent = 0;
        const double m = frexp(fabs(v), &exponent); /* 0.5 .. 1 */
        uint16_t h = v < 0 ? 0x8000 : 0;
        if (fabs(v) >= 0x1p-14) {
            h |= (uint16_t)((exponent + 14) << 10 | ((int)(m * 2048) & 1023));
        }
        memcpy(row + 2 * (size_t)i, &h, 2);
    } else if (type == PV_TYPE_I8) {
        const double x = v * 100;
        row[i] = (uint8_t)(int8_t)(x < -128 ? -128 : x > 127 ? 127 : x);
    } else if (v > 0) {
        row[i / 8] |= (uint8_t)(0x80 >> i % 8);
    }
}

/* Random: around one of `clusters` centres, which follow from their number. */
static inline void t_random_row(test_rng *rng, uint32_t type, uint32_t dims, uint32_t clusters,
                                uint8_t *row) {
    const uint64_t centre = test_rng_below(rng, clusters);
    memset(row, 0, t_row_bytes(type, dims));
    for (uint32_t i = 0; i < dims; i++) {
        uint64_t z = (centre * 977 + i + 1) * UINT64_C(0x9E3779B97F4A7C15);
        z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        const double at = (double)((z ^ z >> 27) >> 44) / (1 << 19) - 1;
        const double off = (double)test_rng_below(rng, 2001) / 1000 - 1;
        t_put_element(type, row, i, 0.6 * at + 0.4 * off);
    }
}

#endif
