/* SPDX-License-Identifier: Apache-2.0 */
/* bound.c - see bound.h. All rows are looked at four at a time in f32; those that may be near once
 * more in double, for both ends of what their distance may be. */
#include "quant/bound.h"

#include <float.h>
#include <math.h>

#include "quant/sq8.h"

#define BOUND_HALF (0.5 + 0x1p-13)
#define BOUND_MEAN 0x1p-22
#define BOUND_SUMS 0x1p-18   /* of dims dm^2 and spreads, in f32; of |q'||x'| a quarter */
#define BOUND_DOUBLE 0x1p-40 /* the same in double, and of the query's own error */
#define BOUND_ABOVE 0x1p-18  /* what else is rounded in f32 */
#define BOUND_TINY 0x1p-110  /* more than what falls below the range of f32 */
#define BOUND_TINY_SIZE 0x1p-59f
#define BOUND_SIZE_MIN 0x1p-80f
#define BOUND_SIZE_MAX 0x1p+100f
#define BOUND_BEND 0.415f
#define BOUND_UNIT 0x1p-20 /* how far from 1 the length of a normalised code may be */

bool pv__bound_can(const pv__code *c) { return c->kind == PV__CODE_SQ8; }

/* The smallest f32 that is not below v, and the largest that is not above. */
static float bound_up(double v) {
    const float f = pv__code_round(v);
    return v > (double)FLT_MAX ? INFINITY : (double)f < v ? nextafterf(f, INFINITY) : f;
}
static float bound_down(double v) { return -bound_up(-v); }

static double bound_length(double norm2) { return sqrt(norm2) * (1 + BOUND_DOUBLE); }

bool pv__bound_init(pv__bound *b, const pv__code *c, const void *vector, void *query) {
    pv__code_query(c, vector, query);
    const float *v = pv__code_wide(c, vector, (uint8_t *)query + (c->query_bytes - c->wide_bytes));
    const pv__sq8_query *q = query;
    const uint8_t *codes = pv__sq8_codes(query);
    const double mean = (double)q->f.mean, step = (double)q->f.step, root = sqrt((double)c->dims);
    double norm2 = 0, sum = 0, off2 = 0;
    for (uint32_t i = 0; i < c->dims; i++) {
        norm2 += (double)v[i] * (double)v[i];
        sum += fabs((double)v[i]);
    }
    const double scale = c->metric == PV_METRIC_COSINE ? 1 / sqrt(norm2) : 1;
    if (c->metric == PV_METRIC_COSINE && norm2 == 0) {
        return false;
    }
    for (uint32_t i = 0; i < c->dims; i++) {
        const double d = (double)v[i] * scale - (mean + step * (codes[i] - 128 - q->f.shift));
        off2 += d * d;
    }
    *b = (pv__bound){.code = c,
                     .query = query,
                     .kernel = ((double)c->dims + 16) * 0x1p-23,
                     .off = bound_length(off2),
                     .length = bound_length(norm2)};
    const double spread = step * step * q->f.sum2, above = 1 + BOUND_ABOVE;
    double by_step = root * BOUND_HALF, by_mean = root * BOUND_MEAN;
    b->most = c->metric == PV_METRIC_COSINE ? 1.0f : BOUND_SIZE_MAX;
    b->bend = c->metric == PV_METRIC_COSINE ? BOUND_BEND : 0.0f;
    if (c->metric == PV_METRIC_DOT) {
        b->sum = sum * (1 + BOUND_DOUBLE);
        b->size = root * fabs(mean) + sqrt(spread);
        const double kernel = b->kernel * b->length;
        b->by_size = bound_up((b->size * BOUND_SUMS / 4 + b->off + kernel) * above);
        by_step = b->sum * BOUND_HALF + kernel * by_step;
        by_mean = b->sum * BOUND_MEAN + kernel * by_mean;
        b->most = bound_down(PV_MIN(0x1p+120 / PV_MAX(b->size, 0x1p-100), (double)BOUND_SIZE_MAX));
    }
    b->by_step = bound_up(by_step * above);
    b->by_mean = bound_up(by_mean * above);
    pv__bound_within(b, INFINITY);
    return true;
}

void pv__bound_within(pv__bound *b, float distance) {
    const double d = (double)distance, k = b->kernel;
    b->none = false;
    if (b->code->metric == PV_METRIC_DOT) {
        b->reach = bound_up(d + BOUND_TINY * (1 + b->sum));
        return;
    }
    b->none = d < 0;
    const double far = b->code->metric == PV_METRIC_L2
                           ? d * (1 + 2 * k)
                           : sqrt(2 * (PV_MAX(d, 0.0) + 4 * k)) + BOUND_UNIT;
    b->reach = bound_up((far + b->off) * (1 + BOUND_ABOVE) + BOUND_TINY);
}

/* ---- four rows ------------------------------------------------------------------------------- */

typedef struct bound_four {
    pv__four mean, step, tilt, spread, cross;
} bound_four;

PV__KERNEL_INLINE bound_four bound_turn(const pv__bound *b, const pv__sq8_query *q,
                                        const uint8_t *const p[4], const int32_t *sums) {
    pv__four word[4];
    pv__four_turn(p, word);
    const pv__four_int halves = pv__four_bits(word[2]);
    bound_four f = {.mean = word[0], .step = word[1]};
    f.tilt = pv__four_mul(f.step, pv__four_from(pv__four_low_half(halves)));
    f.spread = pv__four_mul(pv__four_mul(f.step, f.step), pv__four_from(pv__four_bits(word[3])));
    f.cross = pv__sq8_cross4(b->code, q, halves, sums);
    return f;
}

/* step * by_step + |mean| * by_mean */
PV__KERNEL_INLINE pv__four bound_row(const pv__bound *b, const bound_four *f) {
    return pv__four_add(pv__four_mul(f->step, pv__four_set(b->by_step)),
                        pv__four_mul(pv__four_size(f->mean), pv__four_set(b->by_mean)));
}

/* Bits of rows that are too far. l2, cosine. */
PV__KERNEL_INLINE unsigned bound_far(const pv__bound *b, const pv__sq8_query *q,
                                     const bound_four *f) {
    const pv__four dm = pv__four_sub(pv__four_set(q->f.mean), f->mean);
    const pv__four flat = pv__four_mul(pv__four_set((float)b->code->dims), dm);
    const pv__four turn = pv__four_sub(pv__four_set(q->tilt), f->tilt);
    const pv__four spread = pv__four_add(f->spread, pv__four_set(q->spread));
    const pv__four size = pv__four_add(pv__four_mul(dm, flat), spread);
    pv__four d = pv__four_add(size, pv__four_mul(dm, pv__four_add(turn, turn)));
    d = pv__four_sub(d, pv__four_mul(pv__four_mul(pv__four_set(2 * q->f.step), f->step), f->cross));
    d = pv__four_sub(d, pv__four_mul(size, pv__four_set((float)BOUND_SUMS)));
    const pv__four r = bound_row(b, f);
    const pv__four bent = pv__four_mul(pv__four_mul(r, r), pv__four_set(b->bend));
    const pv__four chord = pv__four_add(r, pv__four_mul(r, bent));
    const pv__four reach = pv__four_add(chord, pv__four_set(b->reach));
    return pv__four_before(pv__four_mul(reach, reach), d) &
           pv__four_before(r, pv__four_set(b->most)) &
           pv__four_before(pv__four_set(BOUND_SIZE_MIN), size) &
           pv__four_before(size, pv__four_set(BOUND_SIZE_MAX));
}

/* dot */
PV__KERNEL_INLINE unsigned bound_far_dot(const pv__bound *b, const pv__sq8_query *q,
                                         const bound_four *f) {
    const float root = sqrtf((float)b->code->dims) * (1 + 0x1p-20f);
    pv__four dot = pv__four_mul(f->mean, pv__four_set(q->total));
    dot = pv__four_add(dot, pv__four_mul(pv__four_set(q->f.mean), f->tilt));
    dot = pv__four_add(dot, pv__four_mul(pv__four_mul(pv__four_set(q->f.step), f->step), f->cross));
    pv__four size = pv__four_mul(pv__four_size(f->mean), pv__four_set(root));
    size =
        pv__four_add(pv__four_add(size, pv__four_root(f->spread)), pv__four_set(BOUND_TINY_SIZE));
    const pv__four error =
        pv__four_add(pv__four_mul(size, pv__four_set(b->by_size)), bound_row(b, f));
    return pv__four_before(pv__four_add(dot, error), pv__four_set(-b->reach)) &
           pv__four_before(size, pv__four_set(b->most));
}

/* ---- one row --------------------------------------------------------------------------------- */

/* Between what its distance lies. */
static void bound_ends(const pv__bound *b, const uint8_t *row, int32_t sum, float *out_low,
                       float *out_high) {
    const pv__code *c = b->code;
    const pv__sq8_query *q = b->query;
    pv__sq8_factors f;
    pv__sq8_get(row + pv__sq8_bytes(c), &f);
    const double mean = (double)f.mean, step = (double)f.step, dims = (double)c->dims;
    const double q_mean = (double)q->f.mean, q_step = (double)q->f.step;
    const double tilt = step * f.sum, q_tilt = q_step * q->f.sum;
    const double spread = step * step * f.sum2, q_spread = q_step * q_step * q->f.sum2;
    const double product = q_step * step * pv__sq8_cross(c, q, sum, &f);
    const double r = step * (double)b->by_step + fabs(mean) * (double)b->by_mean;
    *out_high = INFINITY;
    if (c->metric == PV_METRIC_DOT) {
        const double dot = mean * (dims * q_mean + q_tilt) + q_mean * tilt + product;
        const double size = sqrt(dims) * fabs(mean) + sqrt(spread) + (double)BOUND_TINY_SIZE;
        const double error = size * (double)b->by_size + r + BOUND_TINY * (1 + b->sum);
        *out_low = -INFINITY;
        if (size < (double)b->most) {
            *out_low = bound_down(-dot - error);
            *out_high = bound_up(error - dot);
        }
        return;
    }
    const double dm = q_mean - mean, size = dims * dm * dm + spread + q_spread;
    const double d2 = size + 2 * dm * (q_tilt - tilt) - 2 * product, e = size * BOUND_DOUBLE;
    *out_low = 0;
    if (!(size > (double)BOUND_SIZE_MIN && size < (double)BOUND_SIZE_MAX && r < (double)b->most)) {
        return;
    }
    const double off = r + (double)b->bend * r * r * r + b->off + BOUND_TINY;
    double low = PV_MAX(sqrt(PV_MAX(d2 - e, 0.0)) - off, 0.0);
    double high = sqrt(PV_MAX(d2 + e, 0.0)) + off;
    if (c->metric == PV_METRIC_COSINE) {
        low = PV_MAX(low - BOUND_UNIT, 0.0);
        high += BOUND_UNIT;
        low = low * low / 2 - 4 * b->kernel;
        high = high * high / 2 + 4 * b->kernel;
    } else {
        low *= 1 - b->kernel;
        high *= 1 + b->kernel;
    }
    *out_low = bound_down(PV_MAX(low, 0.0));
    *out_high = bound_up(high);
}

/* ---- rows ------------------------------------------------------------------------------------ */

PV__KERNEL_INLINE uint32_t bound_look(const pv__bound *b, bool dot, const uint8_t *const *rows,
                                      size_t n, int32_t *sums) {
    const pv__sq8_query *q = b->query;
    const uint32_t at = pv__sq8_bytes(b->code);
    uint32_t far = 0;
    for (size_t r = 0; r < n; r += 4) { /* what sticks out repeats the last row */
        const uint8_t *p[4];
        for (size_t i = 0; i < 4; i++) {
            p[i] = rows[PV_MIN(r + i, n - 1)] + at;
        }
        const bound_four f = bound_turn(b, q, p, sums + r);
        far |= (dot ? bound_far_dot(b, q, &f) : bound_far(b, q, &f)) << r;
    }
    return far;
}

uint32_t pv__bound_rows(const pv__bound *b, const uint8_t *const *rows, size_t n, size_t all,
                        float *out_low, float *out_high) {
    const pv__code *c = b->code;
    const pv__code_rows some = {.row = rows, .n = n, .all = all, .row_size = c->row_size};
    int32_t sums[PV__BOUND_ROWS + 4];
    if (b->none) {
        return 0;
    }
    PV_DEBUG_ASSERT(n > 0 && n <= PV__BOUND_ROWS);
    c->kernel->i8(pv__sq8_codes(b->query), c->dims, &some, sums);
    for (size_t i = n; i < n + 4; i++) {
        sums[i] = sums[n - 1];
    }
    const uint32_t all_bits = n < 32 ? (UINT32_C(1) << n) - 1 : UINT32_MAX;
    const uint32_t near =
        all_bits & ~(c->metric == PV_METRIC_DOT ? bound_look(b, true, rows, n, sums)
                                                : bound_look(b, false, rows, n, sums));
    for (uint32_t left = near; left != 0; left &= left - 1) {
        const uint32_t r = (uint32_t)__builtin_ctz(left);
        bound_ends(b, rows[r], sums[r], &out_low[r], &out_high[r]);
    }
    return near;
}

#undef BOUND_HALF
#undef BOUND_MEAN
#undef BOUND_SUMS
#undef BOUND_DOUBLE
#undef BOUND_ABOVE
#undef BOUND_TINY
#undef BOUND_TINY_SIZE
#undef BOUND_SIZE_MIN
#undef BOUND_SIZE_MAX
#undef BOUND_BEND
#undef BOUND_UNIT
