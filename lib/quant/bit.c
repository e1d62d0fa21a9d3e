/* SPDX-License-Identifier: Apache-2.0 */
/* bit.c - rows of bits as they are stored: nothing is lost, and distances are those of pv.h.
 *
 *      row, query     bytes of the vector | zeros up to a multiple of 4 */
#include "quant/kinds.h"

static uint32_t bit_bytes(const pv__code *c) { return (c->dims + 7) / 8; }

static void bit_sizes(pv__code *c) {
    c->row_size = PV_ALIGN_UP(bit_bytes(c), 4u);
    c->query_bytes = PV_ALIGN_UP(c->row_size, 64u);
}

static void bit_encode(const pv__code *c, const void *vector, void *scratch, uint8_t *row) {
    (void)scratch;
    memcpy(row, vector, bit_bytes(c));
    memset(row + bit_bytes(c), 0, c->row_size - bit_bytes(c));
}

static void bit_decode(const pv__code *c, const uint8_t *row, float *out) {
    for (uint32_t i = 0; i < c->dims; i++) {
        out[i] = (float)(row[i / 8] >> (7 - i % 8) & 1u);
    }
}

static void bit_query_of(const pv__code *c, const void *vector, void *query) {
    bit_encode(c, vector, NULL, query);
}

static void bit_query_row(const pv__code *c, const uint8_t *row, void *query) {
    memcpy(query, row, c->row_size);
}

static void bit_distances(const pv__code *c, const void *query, const pv__code_rows *rows,
                          float *out) {
    int32_t sums[PV__CODE_BLOCK], either[PV__CODE_BLOCK];
    if (c->metric == PV_METRIC_HAMMING) {
        c->ints->bit_xor(query, c->row_size, rows, sums, NULL);
        for (size_t r = 0; r < rows->n; r++) {
            out[r] = (float)sums[r];
        }
        return;
    }
    c->ints->bit_both(query, c->row_size, rows, sums, either);
    for (size_t r = 0; r < rows->n; r++) { /* as measure.c has it */
        out[r] = (float)(either[r] - sums[r]) / (float)PV_MAX(either[r], 1);
    }
}

static float bit_sigma(const pv__code *c, const void *query, const uint8_t *row, float distance) {
    (void)c;
    (void)query;
    (void)row;
    (void)distance;
    return 0.0f;
}

const pv__code_ops *pv__code_bit(void) {
    static const pv__code_ops ops = {
        .types = 1u << PV_TYPE_BIT,
        .metrics = 1u << PV_METRIC_HAMMING | 1u << PV_METRIC_JACCARD,
        .as_stored = true,
        .sizes = bit_sizes,
        .encode = bit_encode,
        .decode = bit_decode,
        .query = bit_query_of,
        .query_row = bit_query_row,
        .distances = bit_distances,
        .sigma = bit_sigma,
    };
    return &ops;
}
