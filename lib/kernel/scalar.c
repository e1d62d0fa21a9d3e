/* SPDX-License-Identifier: Apache-2.0 */
/* scalar.c - the reference: plain C that every machine can run and every other table is checked
 * against. Element i goes to partial sum i % 32, and the sums are folded as kernel.h draws it;
 * only the fused rounding is missing.
 *
 * Not here: special values and final distances (kernel.c). */
#include "kernel/kernel.h"

#define SCALAR_LANES 32u
#define SCALAR_TILE 2u

/* Rows may begin anywhere, so that an element is loaded as bytes. */
static inline float scalar_load(const uint8_t *row, size_t i) {
    float v;
    memcpy(&v, row + i * sizeof v, sizeof v);
    return v;
}

static float scalar_fold(float lane[SCALAR_LANES]) {
    for (size_t width = SCALAR_LANES / 2; width >= 8; width /= 2) {
        for (size_t l = 0; l < width; l++) {
            lane[l] += lane[l + width];
        }
    }
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) +
           ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

static float scalar_l2sq_one(const float *query, size_t dims, const uint8_t *row) {
    float lane[SCALAR_LANES] = {0};
    size_t i = 0;
    for (; i + SCALAR_LANES <= dims; i += SCALAR_LANES) {
        for (size_t l = 0; l < SCALAR_LANES; l++) {
            const float d = query[i + l] - scalar_load(row, i + l);
            lane[l] += d * d;
        }
    }
    for (size_t l = 0; i < dims; i++, l++) {
        const float d = query[i] - scalar_load(row, i);
        lane[l] += d * d;
    }
    return scalar_fold(lane);
}

static float scalar_dot_one(const float *query, size_t dims, const uint8_t *row) {
    float lane[SCALAR_LANES] = {0};
    size_t i = 0;
    for (; i + SCALAR_LANES <= dims; i += SCALAR_LANES) {
        for (size_t l = 0; l < SCALAR_LANES; l++) {
            lane[l] += query[i + l] * scalar_load(row, i + l);
        }
    }
    for (size_t l = 0; i < dims; i++, l++) {
        lane[l] += query[i] * scalar_load(row, i);
    }
    return scalar_fold(lane);
}

static float scalar_norm2_one(size_t dims, const uint8_t *row) {
    float lane[SCALAR_LANES] = {0};
    size_t i = 0;
    for (; i + SCALAR_LANES <= dims; i += SCALAR_LANES) {
        for (size_t l = 0; l < SCALAR_LANES; l++) {
            const float v = scalar_load(row, i + l);
            lane[l] += v * v;
        }
    }
    for (size_t l = 0; i < dims; i++, l++) {
        const float v = scalar_load(row, i);
        lane[l] += v * v;
    }
    return scalar_fold(lane);
}

static void scalar_l2sq(const float *query, size_t dims, const uint8_t *const *rows, size_t n,
                        pv__kernel_ahead ahead, float *out) {
    (void)ahead;
    for (size_t r = 0; r < n; r++) {
        out[r] = scalar_l2sq_one(query, dims, rows[r]);
    }
}

static void scalar_dot(const float *query, size_t dims, const uint8_t *const *rows, size_t n,
                       pv__kernel_ahead ahead, float *out) {
    (void)ahead;
    for (size_t r = 0; r < n; r++) {
        out[r] = scalar_dot_one(query, dims, rows[r]);
    }
}

static void scalar_cos(const float *query, size_t dims, const uint8_t *const *rows, size_t n,
                       pv__kernel_ahead ahead, float *out_dot, float *out_norm2) {
    (void)ahead;
    for (size_t r = 0; r < n; r++) {
        out_dot[r] = scalar_dot_one(query, dims, rows[r]);
        out_norm2[r] = scalar_norm2_one(dims, rows[r]);
    }
}

static void scalar_l2sq_tile(const float *const *queries, size_t dims, const uint8_t *const *rows,
                             float *out) {
    const pv__kernel_ahead none = {0, false};
    for (size_t q = 0; q < SCALAR_TILE; q++) {
        scalar_l2sq(queries[q], dims, rows, SCALAR_TILE, none, out + q * SCALAR_TILE);
    }
}

static void scalar_dot_tile(const float *const *queries, size_t dims, const uint8_t *const *rows,
                            float *out) {
    const pv__kernel_ahead none = {0, false};
    for (size_t q = 0; q < SCALAR_TILE; q++) {
        scalar_dot(queries[q], dims, rows, SCALAR_TILE, none, out + q * SCALAR_TILE);
    }
}

const pv__kernel *pv__kernel_scalar(void) {
    static const pv__kernel table = {
        .name = "scalar",
        .cpu = 0,
        .tile_queries = SCALAR_TILE,
        .tile_rows = SCALAR_TILE,
        .l2sq = scalar_l2sq,
        .dot = scalar_dot,
        .cos = scalar_cos,
        .l2sq_tile = scalar_l2sq_tile,
        .dot_tile = scalar_dot_tile,
    };
    return &table;
}

#undef SCALAR_LANES
#undef SCALAR_TILE
