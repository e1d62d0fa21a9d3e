/* SPDX-License-Identifier: Apache-2.0 */
/* code_scalar.c - the reference of the sums over codes: plain C that every machine can run and
 * that every other table must equal bit by bit. */
#include <float.h>

#include "kernel/code_kernel.h"

#define CODE_LANES 32u

static float code_scalar_load(const uint8_t *row, size_t i) {
    float v;
    memcpy(&v, row + i * sizeof v, sizeof v);
    return v;
}

static void code_scalar_range(const float *v, size_t n, float *out_low, float *out_high) {
    float low = v[0], high = v[0];
    for (size_t i = 1; i < n; i++) {
        low = v[i] < low ? v[i] : low;
        high = v[i] > high ? v[i] : high;
    }
    *out_low = low;
    *out_high = high;
}

static void code_scalar_times(const float *v, size_t n, float by, float *out) {
    for (size_t i = 0; i < n; i++) {
        out[i] = v[i] * by;
    }
}

static void code_scalar_less(float *v, size_t n, const float *mean) {
    for (size_t i = 0; i < n; i++) {
        const float d = v[i] - mean[i];
        v[i] = d > FLT_MAX ? FLT_MAX : d < -FLT_MAX ? -FLT_MAX : d;
    }
}

/* To the nearest integer, ties to even, for |v| < 2^22: the sum has no bits behind the point. */
static int32_t code_scalar_round(float v) {
    const float shift = 12582912.0f; /* 1.5 * 2^23 */
    return (int32_t)(pv__unfused(pv__unfused(v) + shift) - shift);
}

static void code_scalar_quantise(const float *v, size_t n, const pv__code_grid *grid, int8_t *out,
                                 int32_t *out_sum, int32_t *out_sum2) {
    int32_t sum = 0, sum2 = 0;
    for (size_t i = 0; i < n; i++) {
        const float at = (pv__unfused(v[i] * grid->scale) - grid->middle) * grid->inv_step;
        const int32_t c = code_scalar_round(at < -128.0f ? -128.0f : at > 127.0f ? 127.0f : at);
        out[i] = (int8_t)c;
        sum += c;
        sum2 += c * c;
    }
    *out_sum = sum;
    *out_sum2 = sum2;
}

static void code_scalar_i8(const uint8_t *query, size_t dims, const pv__code_rows *rows,
                           int32_t *out) {
    for (size_t r = 0; r < rows->n; r++) {
        const uint8_t *const row = rows->row[r];
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        int32_t sum = 0;
        for (size_t i = 0; i < dims; i++) {
            sum += (int32_t)query[i] * (int8_t)row[i];
        }
        out[r] = sum;
    }
}

static void code_scalar_nibble(const uint8_t *query, size_t dims, const pv__code_rows *rows,
                               int32_t *out) {
    static const int8_t level[16] = {PV__CODE_LEVELS};
    for (size_t r = 0; r < rows->n; r++) {
        const uint8_t *const row = rows->row[r];
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        int32_t sum = 0;
        for (size_t i = 0; i < dims;) {
            const size_t half = dims - i >= 128 ? 64 : 32;
            for (size_t k = 0; k < half; k++) {
                sum += (int32_t)query[i + k] * level[row[i / 2 + k] & 15];
                sum += (int32_t)query[i + half + k] * level[row[i / 2 + k] >> 4];
            }
            i += 2 * half;
        }
        out[r] = sum;
    }
}

static void code_scalar_unfold(const uint8_t *row, size_t dims, uint8_t *out) {
    static const int8_t level[16] = {PV__CODE_LEVELS};
    for (size_t i = 0; i < dims;) {
        const size_t half = dims - i >= 128 ? 64 : 32;
        for (size_t k = 0; k < half; k++) {
            out[i + k] = (uint8_t)(level[row[i / 2 + k] & 15] + 64);
            out[i + half + k] = (uint8_t)(level[row[i / 2 + k] >> 4] + 64);
        }
        i += 2 * half;
    }
}

static void code_scalar_bits(const uint8_t *query, size_t dims, const pv__code_rows *rows,
                             int32_t *out) {
    for (size_t r = 0; r < rows->n; r++) {
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        int32_t sum = 0;
        for (size_t i = 0; i < dims; i++) {
            const int32_t set = rows->row[r][i / 8] >> i % 8 & 1;
            sum += (2 * set - 1) * query[i];
        }
        out[r] = sum;
    }
}

static float code_scalar_fold(float lane[CODE_LANES]) {
    for (size_t width = CODE_LANES / 2; width >= 8; width /= 2) {
        for (size_t l = 0; l < width; l++) {
            lane[l] += lane[l + width];
        }
    }
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) +
           ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

static void code_scalar_l2sq(const float *query, size_t dims, const pv__code_rows *rows,
                             float *out) {
    for (size_t r = 0; r < rows->n; r++) {
        float lane[CODE_LANES] = {0};
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        for (size_t i = 0; i < dims; i++) {
            const float d = query[i] - code_scalar_load(rows->row[r], i);
            lane[i % CODE_LANES] += pv__unfused(d * d);
        }
        out[r] = code_scalar_fold(lane);
    }
}

static void code_scalar_dot(const float *query, size_t dims, const pv__code_rows *rows,
                            float *out) {
    for (size_t r = 0; r < rows->n; r++) {
        float lane[CODE_LANES] = {0};
        pv__code_fetch(rows, r + PV__CODE_AHEAD, 1);
        for (size_t i = 0; i < dims; i++) {
            lane[i % CODE_LANES] += pv__unfused(query[i] * code_scalar_load(rows->row[r], i));
        }
        out[r] = code_scalar_fold(lane);
    }
}

static void code_scalar_signs(float *v, size_t n, uint64_t seed, float scale) {
    for (size_t i = 0; i < n; i += 64) {
        uint64_t bits = pv__code_signs(seed, i / 64);
        for (size_t k = 0; k < 64; k++, bits >>= 1) {
            v[i + k] = pv__unfused(v[i + k] * (bits & 1 ? -scale : scale));
        }
    }
}

static void code_scalar_turn(float *a, float *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float x = a[i], y = b[i];
        a[i] = x + y;
        b[i] = x - y;
    }
}

static void code_scalar_fht(float *v, size_t n) {
    for (size_t h = 1; h < n; h *= 2) {
        for (size_t i = 0; i < n; i += 2 * h) {
            code_scalar_turn(v + i, v + i + h, h);
        }
    }
}

static void code_scalar_levels(const float *v, size_t n, float scale, uint8_t *out_index,
                               float *out_level) {
    static const float border[7] = {PV__CODE_BORDERS};
    static const int8_t level[16] = {PV__CODE_LEVELS};
    for (size_t i = 0; i < n; i++) {
        const float at = pv__unfused(v[i] * scale);
        unsigned above = 0;
        for (size_t k = 0; k < 7; k++) {
            above += (at < 0.0f ? -at : at) >= border[k];
        }
        out_index[i] = (uint8_t)(at < 0.0f ? 7 - above : 8 + above);
        out_level[i] = (float)level[out_index[i]];
    }
}

const pv__code_kernel *pv__code_kernel_scalar(void) {
    static const pv__code_kernel table = {
        .name = "scalar",
        .cpu = 0,
        .i8_bias = 128,
        .range = code_scalar_range,
        .times = code_scalar_times,
        .less = code_scalar_less,
        .quantise = code_scalar_quantise,
        .i8 = code_scalar_i8,
        .nibble = code_scalar_nibble,
        .unfold = code_scalar_unfold,
        .bits = code_scalar_bits,
        .l2sq = code_scalar_l2sq,
        .dot = code_scalar_dot,
        .signs = code_scalar_signs,
        .fht = code_scalar_fht,
        .turn = code_scalar_turn,
        .levels = code_scalar_levels,
    };
    return &table;
}

#undef CODE_LANES
