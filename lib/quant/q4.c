/* SPDX-License-Identifier: Apache-2.0 */
/* q4.c - 4 bits an element of the rotated vector (Q4), or 1 (B1).
 *
 *      row     n / 2 bytes of nibbles (order: code_kernel.h), B1: n / 8 of bits | factors, 16 bytes
 *      query   header of 64 bytes | n bytes u = c + 64, c in -63..63 | n f32, work space
 *
 * n is dims up to a multiple of 64. Elements of a rotated vector y are nearly normal with variance
 * |y|^2 / n, so that one set of 16 levels, the best one for that distribution, suits every vector.
 * With L the levels of a row:
 *
 *      row      y  ~  unit * L     unit = |y|^2 / (y . L): what is lost, e = unit * L - y, is
 *                                  orthogonal to y, and dots with it have no bias (RaBitQ)
 *      query    q  ~  unit * c     7 bits: a fortieth of the row's error
 *
 * From a vector:  |q - y|^2  ~  |q|^2 + |y|^2 - 2 unit_q unit (c . L). As e has a random direction
 * after a random rotation, the error of q . y has deviation |e| |q'| / sqrt(n - 1), where q' is the
 * part of q that is orthogonal to y.
 *
 * From a row: the exact distance of the two decoded vectors. On average that is |e_a|^2 + |e_b|^2
 * (Q4: about 1 in 50 of the squared norms) too large, but never negative, 0 for equal codes, and a
 * metric, which pruning relies on.
 *
 * Cosine: norms are 1. A vector of zeros has unit 0 and norm 1, and so is at 2 to all queries.
 *
 * Everything is integers or in one fixed order but nothing else: see code.h. */
#include <float.h>
#include <math.h>

#include "quant/four.h"
#include "quant/kinds.h"

typedef struct q4_factors {
    float unit, norm2;
    int32_t sum, sum2; /* of levels and their squares */
} q4_factors;
PV_STATIC_ASSERT(sizeof(q4_factors) == 16, q4_factors_are_four_words);

typedef struct q4_query {
    uint32_t form; /* PV__CODE_FORM_ */
    float unit;
    float norm2; /* |q|^2, from a row that of the decoded vector */
    float extra; /* FORM_AUG */
    bool row;
    uint8_t pad[47];
} q4_query;
PV_STATIC_ASSERT(sizeof(q4_query) == 64, q4_query_is_one_line);

static uint32_t q4_padded(const pv__code *c) { return PV_ALIGN_UP(c->dims, 64u); }

/* Of one row without its factors. */
static uint32_t q4_code_bytes(const pv__code *c) {
    return c->kind == PV__CODE_B1 ? q4_padded(c) / 8 : q4_padded(c) / 2;
}

static void q4_sizes(pv__code *c) {
    const uint32_t n = q4_padded(c);
    c->row_size = q4_code_bytes(c) + (uint32_t)sizeof(q4_factors);
    c->query_bytes = (uint32_t)sizeof(q4_query) + n + n * (uint32_t)sizeof(float);
    c->scratch_bytes = n * (2 * (uint32_t)sizeof(float) + 1);
}

/* The rotated vector, scaled to be near 1; its squared norm and the scale. */
static float q4_rotate(const pv__code *c, const float *vector, float *y, float *out_scale) {
    const uint32_t n = q4_padded(c);
    float low, high;
    c->kernel->range(vector, c->dims, &low, &high);
    *out_scale = pv__code_scale(low, high);
    memcpy(y, vector, c->dims * sizeof *y);
    memset(y + c->dims, 0, (n - c->dims) * sizeof *y);
    if (*out_scale != 1.0f) {
        for (uint32_t i = 0; i < c->dims; i++) {
            y[i] *= *out_scale;
        }
    }
    pv__code_rotate(c->kernel, y, n, c->seed);
    const uint8_t *row = (const void *)y;
    float norm2 = 0;
    c->kernel->dot(y, n, &(pv__code_rows){&row, 1, 1, n}, &norm2);
    return norm2;
}

/* Of n indices of levels to n / 2 bytes. */
static void q4_pack(const uint8_t *index, size_t n, uint8_t *out) {
    for (size_t i = 0; i < n;) {
        const size_t half = n - i >= 128 ? 64 : 32;
        for (size_t k = 0; k < half; k++) {
            out[i / 2 + k] = (uint8_t)(index[i + k] | index[i + half + k] << 4);
        }
        i += 2 * half;
    }
}

/* B1: a bit for each element, set where it is not negative; levels are 1 and -1. */
static void q4_pack_signs(const float *y, size_t n, uint8_t *out, float *level, q4_factors *f) {
    memset(out, 0, n / 8);
    for (size_t i = 0; i < n; i++) {
        const bool set = y[i] >= 0.0f;
        out[i / 8] = (uint8_t)(out[i / 8] | (unsigned)set << i % 8);
        level[i] = set ? 1.0f : -1.0f;
        f->sum += set ? 1 : -1;
    }
    f->sum2 = (int32_t)n;
}

static void q4_encode(const pv__code *c, const float *vector, void *scratch, uint8_t *row) {
    static const int8_t levels[16] = {PV__CODE_LEVELS};
    const uint32_t n = q4_padded(c);
    float *const y = scratch, *const level = y + n;
    uint8_t *const index = (uint8_t *)(level + n);
    float scale, dot = 0;
    const float norm2 = q4_rotate(c, vector, y, &scale);
    const double deviation = sqrt((double)norm2 / n);
    const float fit = deviation > 0 ? (float)((double)PV__CODE_LEVEL_UNIT / deviation) : 0.0f;
    q4_factors f = {0, 0, 0, 0};
    if (c->kind == PV__CODE_B1) {
        q4_pack_signs(y, n, row, level, &f);
    } else {
        c->kernel->levels(y, n, fit, index, level);
        q4_pack(index, n, row);
        for (uint32_t i = 0; i < n; i++) {
            const int32_t l = levels[index[i]];
            f.sum += l;
            f.sum2 += l * l;
        }
    }
    const uint8_t *const at = (const void *)level;
    c->kernel->dot(y, n, &(pv__code_rows){&at, 1, 1, n}, &dot);
    double unit = norm2 > 0 ? (double)norm2 / (double)dot : 0.0;
    double length2 = (double)norm2;
    if (c->metric == PV_METRIC_COSINE) {
        unit /= norm2 > 0 ? sqrt(length2) : 1.0;
        length2 = 1;
    } else {
        unit /= (double)scale;
        length2 = length2 / (double)scale / (double)scale;
    }
    f.unit = pv__code_round(unit);
    f.norm2 = pv__code_round(length2);
    memcpy(row + q4_code_bytes(c), &f, sizeof f);
}

static uint8_t *q4_codes(void *query) { return (uint8_t *)query + sizeof(q4_query); }

static void q4_query_of(const pv__code *c, const float *vector, void *query) {
    const uint32_t n = q4_padded(c);
    uint8_t *const codes = q4_codes(query);
    float *const y = (void *)(codes + n);
    q4_query *q = query;
    memset(q, 0, sizeof *q);
    float scale, low, high;
    int32_t sum, sum2;
    const float norm2 = q4_rotate(c, vector, y, &scale);
    c->kernel->range(y, n, &low, &high);
    const float most = PV_MAX(high, -low);
    const pv__code_grid grid = {1.0f, 0.0f, most > 0 ? PV__CODE_LEVEL_MAX / most : 0.0f};
    c->kernel->quantise(y, n, &grid, (void *)codes, &sum, &sum2);
    for (uint32_t i = 0; i < n; i += 8) { /* c + 64, byte by byte: none of them borrows */
        uint64_t word;
        memcpy(&word, codes + i, sizeof word);
        word = (word ^ 0x8080808080808080u) - 0x4040404040404040u;
        memcpy(codes + i, &word, sizeof word);
    }
    double unit = (double)most / PV__CODE_LEVEL_MAX, length2 = (double)norm2;
    if (c->metric == PV_METRIC_COSINE) {
        unit /= norm2 > 0 ? sqrt(length2) : 1.0;
        length2 = 1;
    } else {
        unit /= (double)scale;
        length2 = length2 / (double)scale / (double)scale;
    }
    q->form = c->metric == PV_METRIC_DOT ? PV__CODE_FORM_DOT : PV__CODE_FORM_L2;
    q->unit = pv__code_round(unit);
    q->norm2 = pv__code_round(length2);
}

static void q4_query_row(const pv__code *c, const uint8_t *row, void *query) {
    static const int8_t levels[16] = {PV__CODE_LEVELS};
    const uint32_t n = q4_padded(c);
    uint8_t *const codes = q4_codes(query);
    q4_query *q = query;
    q4_factors f;
    memcpy(&f, row + q4_code_bytes(c), sizeof f);
    for (uint32_t i = 0; c->kind == PV__CODE_B1 && i < n; i++) {
        codes[i] = row[i / 8] >> i % 8 & 1 ? 65 : 63;
    }
    for (uint32_t i = 0; c->kind != PV__CODE_B1 && i < n;) {
        const uint32_t half = n - i >= 128 ? 64 : 32;
        for (uint32_t k = 0; k < half; k++) {
            codes[i + k] = (uint8_t)(levels[row[i / 2 + k] & 15] + 64);
            codes[i + half + k] = (uint8_t)(levels[row[i / 2 + k] >> 4] + 64);
        }
        i += 2 * half;
    }
    memset(q, 0, sizeof *q);
    q->form = c->metric == PV_METRIC_DOT ? PV__CODE_FORM_AUG : PV__CODE_FORM_L2;
    q->row = true;
    q->unit = f.unit;
    const float decoded2 = pv__unfused(f.unit * f.unit) * (float)f.sum2;
    q->norm2 = pv__unfused(decoded2) > f.norm2 ? decoded2 : f.norm2;
    q->extra = pv__code_extra(c, (double)f.norm2);
}

/* The expressions of q4_finish in double. */
static float q4_slow(const pv__code *c, const q4_query *q, int32_t sum, const uint8_t *row) {
    q4_factors f;
    memcpy(&f, row + q4_code_bytes(c), sizeof f);
    const int32_t cross = sum - 64 * f.sum;
    const double unit = (double)f.unit, q_unit = (double)q->unit;
    const double product = pv__unfused_double(pv__unfused_double(unit * q_unit) * cross);
    if (q->form == PV__CODE_FORM_DOT) {
        return pv__code_round(0.0 - product);
    }
    double norm2 = (double)f.norm2, q_norm2 = (double)q->norm2;
    if (q->row) {
        const double decoded2 = pv__unfused_double(unit * unit) * f.sum2;
        norm2 = PV_MAX(norm2, decoded2);
    }
    double d = PV_MAX((q_norm2 + norm2) - 2 * product, 0.0);
    if (q->form == PV__CODE_FORM_AUG) {
        const float e = q->extra - pv__code_extra(c, (double)f.norm2);
        d += pv__unfused_double((double)e * (double)e);
    }
    return pv__code_round(d);
}

/* io: distances; those that are not finite are computed again. */
static PV_COLD void q4_redo(const pv__code *c, const q4_query *q, const uint8_t *const *rows,
                            size_t n, const int32_t *sums, float *io) {
    for (size_t i = 0; i < n; i++) {
        if (!(io[i] >= -FLT_MAX && io[i] <= FLT_MAX)) {
            io[i] = q4_slow(c, q, sums[i], rows[i]);
        }
    }
}

/* Four rows: p are their factors, sums those of the kernel. False: not all are finite. */
PV__KERNEL_INLINE bool q4_finish(const pv__code *c, const q4_query *q, unsigned form, bool row,
                                 const uint8_t *const p[4], const int32_t *sums, float *out) {
    pv__four word[4];
    pv__four_turn(p, word);
    const pv__four unit = word[0], norm2 = word[1];
    const pv__four cross =
        pv__four_from(pv__four_less(sums, pv__four_times64(pv__four_bits(word[2]))));
    pv__four d;
    if (form == PV__CODE_FORM_DOT) {
        d = pv__four_mul(pv__four_mul(pv__four_set(q->unit), unit), cross);
        d = pv__four_sub(pv__four_set(0.0f), d);
    } else {
        pv__four length2 = norm2;
        if (row) {
            const pv__four decoded2 =
                pv__four_mul(pv__four_mul(unit, unit), pv__four_from(pv__four_bits(word[3])));
            length2 = pv__four_max(norm2, decoded2);
        }
        d = pv__four_mul(pv__four_mul(pv__four_set(2 * q->unit), unit), cross);
        d = pv__four_sub(pv__four_add(pv__four_set(q->norm2), length2), d);
        d = pv__four_positive(d);
        if (form == PV__CODE_FORM_AUG) {
            pv__four e = pv__four_sub(pv__four_set(c->norm2_max), norm2);
            e = pv__four_sub(pv__four_set(q->extra), pv__four_root(pv__four_positive(e)));
            d = pv__four_add(d, pv__four_mul(e, e));
        }
    }
    pv__four_store(out, d);
    return pv__four_finite(d);
}

PV__KERNEL_INLINE void q4_finish_rows(const pv__code *c, const q4_query *q, unsigned form, bool row,
                                      const pv__code_rows *rows, int32_t *sums, float *out) {
    const uint32_t at = q4_code_bytes(c);
    size_t r = 0;
    for (; r + 4 <= rows->n; r += 4) {
        const uint8_t *const *row_at = rows->row + r;
        const uint8_t *const p[4] = {row_at[0] + at, row_at[1] + at, row_at[2] + at,
                                     row_at[3] + at};
        if (PV_UNLIKELY(!q4_finish(c, q, form, row, p, sums + r, out + r))) {
            q4_redo(c, q, row_at, 4, sums + r, out + r);
        }
    }
    if (r < rows->n) { /* what sticks out repeats the last row */
        const uint8_t *p[4];
        float d[4];
        for (size_t i = 0; i < 4; i++) {
            const size_t k = PV_MIN(r + i, rows->n - 1);
            p[i] = rows->row[k] + at;
            sums[r + i] = sums[k];
        }
        if (PV_UNLIKELY(!q4_finish(c, q, form, row, p, sums + r, d))) {
            q4_redo(c, q, rows->row + r, rows->n - r, sums + r, d);
        }
        memcpy(out + r, d, (rows->n - r) * sizeof *d);
    }
}

static void q4_distances(const pv__code *c, const void *query, const pv__code_rows *rows,
                         float *out) {
    const q4_query *q = query;
    int32_t sums[PV__CODE_BLOCK + 4];
    (c->kind == PV__CODE_B1 ? c->kernel->bits : c->kernel->nibble)(
        (const uint8_t *)query + sizeof *q, q4_padded(c), rows, sums);
    if (q->form == PV__CODE_FORM_DOT) {
        q4_finish_rows(c, q, PV__CODE_FORM_DOT, false, rows, sums, out);
    } else if (q->form == PV__CODE_FORM_AUG) {
        q4_finish_rows(c, q, PV__CODE_FORM_AUG, true, rows, sums, out);
    } else if (q->row) {
        q4_finish_rows(c, q, PV__CODE_FORM_L2, true, rows, sums, out);
    } else {
        q4_finish_rows(c, q, PV__CODE_FORM_L2, false, rows, sums, out);
    }
}

static float q4_sigma(const pv__code *c, const void *query, const uint8_t *row, float distance) {
    const q4_query *q = query;
    const double n = (double)q4_padded(c);
    q4_factors f;
    memcpy(&f, row + q4_code_bytes(c), sizeof f);
    const double q_norm2 = (double)q->norm2, norm2 = (double)f.norm2;
    const double decoded2 = (double)f.unit * (double)f.unit * f.sum2;
    const double lost2 = PV_MAX(decoded2 - norm2, 0.0);
    /* what is orthogonal to the row in the query, by the estimate itself and its own error */
    double dot = (double)-distance;
    if (q->form != PV__CODE_FORM_DOT) {
        dot = (q_norm2 + norm2 - (double)distance) / 2;
    }
    const double along2 = norm2 > 0 ? PV_MIN(dot * dot / norm2, q_norm2) : 0.0;
    const double doubt = sqrt(lost2 * q_norm2 / (n - 1));
    const double across2 =
        PV_MIN(q_norm2 - along2 + (norm2 > 0 ? 2 * sqrt(along2 / norm2) * doubt : 0.0), q_norm2);
    const double grid = (double)q->unit * (double)q->unit / 12;
    const double sigma = sqrt(lost2 * across2 / (n - 1) + decoded2 * grid);
    const double rounding = (q_norm2 + norm2) * 0x1p-21;
    return pv__code_round((q->form == PV__CODE_FORM_DOT ? 1 : 2) * sigma + rounding);
}

const pv__code_ops *pv__code_q4(void) {
    static const pv__code_ops ops = {
        .sizes = q4_sizes,
        .encode = q4_encode,
        .query = q4_query_of,
        .query_row = q4_query_row,
        .distances = q4_distances,
        .sigma = q4_sigma,
    };
    return &ops;
}
