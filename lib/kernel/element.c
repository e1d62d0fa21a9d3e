/* SPDX-License-Identifier: Apache-2.0 */
/* element.c - elements and metrics by number (element.h). */
#include "kernel/element.h"

#include <math.h>

#include "kernel/half.h"

#define ELEMENT_BLOCK 64u

/* ---- f32 ------------------------------------------------------------------------------------- */

static void element_f32_widen(const uint8_t *row, size_t from, size_t n, float *out) {
    memcpy(out, row + from * sizeof *out, n * sizeof *out);
}

#define ELEMENT_LOOK 16u

static bool element_f32_bad(const uint8_t *row, size_t dims, size_t *out_at) {
    size_t i = 0;
    uint32_t bits[ELEMENT_LOOK];
    for (; i + ELEMENT_LOOK <= dims; i += ELEMENT_LOOK) { /* a block without branches */
        uint32_t bad = 0;
        memcpy(bits, row + i * 4, sizeof bits);
        for (unsigned k = 0; k < ELEMENT_LOOK; k++) {
            bad |= (bits[k] & 0x7F800000u) + 0x00800000u; /* carries into bit 31 */
        }
        if (bad & 0x80000000u) {
            break;
        }
    }
    for (; i < dims; i++) {
        memcpy(bits, row + i * 4, 4);
        if ((bits[0] & 0x7F800000u) == 0x7F800000u) {
            *out_at = i;
            return true;
        }
    }
    return false;
}

/* ---- f16 ------------------------------------------------------------------------------------- */

static uint16_t element_half(const uint8_t *row, size_t i) {
    uint16_t h;
    memcpy(&h, row + i * sizeof h, sizeof h);
    return h;
}

static void element_f16_widen(const uint8_t *row, size_t from, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) {
        out[i] = pv__half_to_float(element_half(row, from + i));
    }
}

static bool element_f16_bad(const uint8_t *row, size_t dims, size_t *out_at) {
    for (size_t i = 0; i < dims; i++) {
        if ((element_half(row, i) & PV__HALF_INFINITE) == PV__HALF_INFINITE) {
            *out_at = i;
            return true;
        }
    }
    return false;
}

/* ---- i8, bit --------------------------------------------------------------------------------- */

static void element_i8_widen(const uint8_t *row, size_t from, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)(int8_t)row[from + i];
    }
}

static void element_bit_widen(const uint8_t *row, size_t from, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)(row[(from + i) / 8] >> (7 - i % 8) & 1);
    }
}

static bool element_bit_bad(const uint8_t *row, size_t dims, size_t *out_at) {
    const unsigned behind = dims % 8 ? row[dims / 8] & (0xFFu >> dims % 8) : 0;
    *out_at = dims;
    while (behind >> (7 - *out_at % 8) == 0 && behind != 0) {
        ++*out_at;
    }
    return behind != 0;
}

/* ---- the tables ------------------------------------------------------------------------------ */

const pv__element *pv__element_of(uint32_t type) {
    static const char not_finite[] = "NaN or infinity";
    static const pv__element elements[] = {
        [PV_TYPE_F32] = {"f32", 32, element_f32_widen, element_f32_bad, not_finite},
        [PV_TYPE_F16] = {"f16", 16, element_f16_widen, element_f16_bad, not_finite},
        [PV_TYPE_I8] = {"i8", 8, element_i8_widen, NULL, NULL},
        [PV_TYPE_BIT] = {"bit", 1, element_bit_widen, element_bit_bad, "a bit behind the last"},
    };
    return type < PV_COUNTOF(elements) && elements[type].name ? &elements[type] : NULL;
}

const pv__metric *pv__metric_of(uint32_t metric) {
    static const pv__metric metrics[] = {
        [PV_METRIC_L2] = {"l2", PV__SCALE_SQUARE, false},
        [PV_METRIC_COSINE] = {"cosine", PV__SCALE_DOUBLE, true},
        [PV_METRIC_DOT] = {"dot", PV__SCALE_NONE, false},
        [PV_METRIC_L1] = {"l1", PV__SCALE_SQUARE, false},
        [PV_METRIC_HAMMING] = {"hamming", PV__SCALE_SAME, false},
        [PV_METRIC_JACCARD] = {"jaccard", PV__SCALE_SAME, true},
    };
    return metric < PV_COUNTOF(metrics) && metrics[metric].name ? &metrics[metric] : NULL;
}

bool pv__element_is_zero(const pv__element *e, const uint8_t *row, size_t dims) {
    float v[ELEMENT_BLOCK];
    for (size_t i = 0; i < dims; i += ELEMENT_BLOCK) {
        const size_t n = PV_MIN(dims - i, (size_t)ELEMENT_BLOCK);
        e->widen(row, i, n, v);
        for (size_t k = 0; k < n; k++) {
            if (v[k] != 0.0f) {
                return false;
            }
        }
    }
    return true;
}

double pv__element_norm2(const pv__element *e, const uint8_t *row, size_t dims) {
    float v[ELEMENT_BLOCK];
    double sum = 0;
    for (size_t i = 0; i < dims; i += ELEMENT_BLOCK) {
        const size_t n = PV_MIN(dims - i, (size_t)ELEMENT_BLOCK);
        e->widen(row, i, n, v);
        for (size_t k = 0; k < n; k++) {
            sum += (double)v[k] * (double)v[k];
        }
    }
    return sum;
}

float pv__metric_to_code(const pv__metric *m, float distance) {
    switch (m->scale) {
    case PV__SCALE_SQUARE:
        return distance * distance;
    case PV__SCALE_DOUBLE:
        return 2 * distance;
    default:
        return distance;
    }
}

float pv__metric_of_code(const pv__metric *m, float distance) {
    switch (m->scale) {
    case PV__SCALE_SQUARE:
        return sqrtf(PV_MAX(distance, 0.0f));
    case PV__SCALE_DOUBLE:
        return PV_MAX(distance, 0.0f) / 2;
    case PV__SCALE_SAME:
        return PV_MAX(distance, 0.0f);
    default:
        return distance;
    }
}

#undef ELEMENT_BLOCK
#undef ELEMENT_LOOK
