/* SPDX-License-Identifier: Apache-2.0 */
/* code.c - choice of the kind, blocks of rows, and what the kinds share. */
#include "quant/code.h"

#include <float.h>
#include <math.h>

#include "kernel/element.h"
#include "quant/kinds.h"

const pv__code_ops *pv__code_ops_of(uint32_t kind) {
    switch (kind) {
    case PV__CODE_F32:
        return pv__code_f32();
    case PV__CODE_F16:
        return pv__code_f16();
    case PV__CODE_SQ8:
        return pv__code_sq8();
    case PV__CODE_Q4:
    case PV__CODE_B1:
        return pv__code_q4();
    case PV__CODE_PQ:
        return pv__code_pq();
    case PV__CODE_I8:
        return pv__code_i8();
    case PV__CODE_BIT:
        return pv__code_bit();
    default:
        return NULL;
    }
}

const char *pv__code_name(uint32_t kind) {
    static const char *const names[] = {NULL, "f32", "sq8", "q4", "b1", "f16", "pq", "i8", "bit"};
    return kind == PV__CODE_AUTO ? "auto" : kind < PV_COUNTOF(names) ? names[kind] : NULL;
}

bool pv__code_goes(uint32_t kind, uint32_t type, uint32_t metric) {
    const pv__code_ops *ops = pv__code_ops_of(kind);
    return ops && type < 32 && metric < 32 && (ops->types >> type & 1u) &&
           (ops->metrics >> metric & 1u);
}

uint32_t pv__code_default(uint32_t type, uint32_t metric) {
    static const uint32_t kinds[] = {PV__CODE_BIT, PV__CODE_I8, PV__CODE_SQ8, PV__CODE_F16};
    for (size_t i = 0; i < PV_COUNTOF(kinds); i++) {
        if (pv__code_goes(kinds[i], type, metric)) {
            return kinds[i];
        }
    }
    return PV__CODE_F32;
}

bool pv__code_init(pv__code *c, const pv__code_spec *spec, uint32_t cpu) {
    const pv__code_ops *ops = pv__code_ops_of(spec->kind);
    const uint32_t type = spec->type ? spec->type : PV_TYPE_F32;
    if (spec->dims == 0 || spec->dims > PV_LIMIT_DIMS ||
        !pv__code_goes(spec->kind, type, spec->metric)) {
        return false;
    }
    if (spec->kind == PV__CODE_PQ &&
        (spec->parts == 0 || spec->parts > spec->dims || (spec->bits != 4 && spec->bits != 8))) {
        return false;
    }
    *c = (pv__code){.kind = spec->kind,
                    .metric = spec->metric,
                    .dims = spec->dims,
                    .type = type,
                    .centred = spec->centred && spec->kind != PV__CODE_PQ && ops->train,
                    .norm2_max = spec->metric == PV_METRIC_DOT ? spec->norm2_max : 0,
                    .seed = spec->seed,
                    .parts = spec->parts,
                    .bits = spec->bits,
                    .turned = spec->turned && spec->kind == PV__CODE_PQ,
                    .kernel = pv__code_kernel_table(cpu),
                    .floats = pv__code_floats_table(cpu),
                    .product = pv__code_parts_table(cpu),
                    .ints = pv__code_ints_table(cpu)};
    ops->sizes(c);
    if (type != PV_TYPE_F32 && !ops->as_stored) {
        c->wide_bytes = PV_ALIGN_UP(c->dims * (uint32_t)sizeof(float), 64u);
        c->scratch_bytes = PV_ALIGN_UP(c->scratch_bytes, 64u) + c->wide_bytes;
        c->query_bytes = PV_ALIGN_UP(c->query_bytes, 64u) + c->wide_bytes;
    }
    return true;
}

int pv__code_train(const pv__code *c, pv__mem *mem, const float *sample, size_t n,
                   const pv__code_stop *stop, void *book, pv_error *err) {
    return c->book_bytes ? pv__code_ops_of(c->kind)->train(c, mem, sample, n, stop, book, err) : 0;
}

const void *pv__code_wide(const pv__code *c, const void *vector, void *wide) {
    if (c->wide_bytes == 0) {
        return vector;
    }
    if (c->type == PV_TYPE_F16) {
        c->floats->widen(vector, c->dims, wide);
    } else {
        pv__element_widen(pv__element_of(c->type), vector, c->dims, wide);
    }
    return wide;
}

void pv__code_encode(const pv__code *c, const void *vector, void *scratch, uint8_t *row) {
    uint8_t *const wide = (uint8_t *)scratch + (c->scratch_bytes - c->wide_bytes);
    pv__code_ops_of(c->kind)->encode(c, pv__code_wide(c, vector, wide), scratch, row);
}

void pv__code_decode(const pv__code *c, const uint8_t *row, float *out) {
    pv__code_ops_of(c->kind)->decode(c, row, out);
}

void pv__code_query(const pv__code *c, const void *vector, void *query) {
    uint8_t *const wide = (uint8_t *)query + (c->query_bytes - c->wide_bytes);
    pv__code_ops_of(c->kind)->query(c, pv__code_wide(c, vector, wide), query);
}

void pv__code_query_row(const pv__code *c, const uint8_t *row, void *query) {
    pv__code_ops_of(c->kind)->query_row(c, row, query);
}

void pv__code_query_link(const pv__code *c, const uint8_t *row, void *query) {
    const uint32_t form = PV__CODE_FORM_DOT; /* what the header of every kind begins with */
    pv__code_query_row(c, row, query);
    if (c->metric == PV_METRIC_DOT) {
        memcpy(query, &form, sizeof form);
    }
}

void pv__code_distances(const pv__code *c, const void *query, const uint8_t *const *rows, size_t n,
                        float *out) {
    const pv__code_ops *ops = pv__code_ops_of(c->kind);
    pv__code_rows part = {.row = rows, .all = n, .row_size = c->row_size};
    pv__code_fetch(&part, 0, PV__CODE_AHEAD);
    while (part.all > 0) {
        part.n = PV_MIN(part.all, (size_t)PV__CODE_BLOCK);
        ops->distances(c, query, &part, out);
        out += part.n;
        part.row += part.n;
        part.all -= part.n;
    }
}

void pv__code_distances_expected(const pv__code *c, const void *query, const uint8_t *const *rows,
                                 size_t n, float *out) {
    const pv__code_ops *ops = pv__code_ops_of(c->kind);
    for (size_t at = 0; at < n; at += PV__CODE_BLOCK) {
        const size_t count = PV_MIN(n - at, (size_t)PV__CODE_BLOCK);
        const pv__code_rows part = {rows + at, count, count, c->row_size}; /* none to fetch */
        ops->distances(c, query, &part, out + at);
    }
}

float pv__code_sigma(const pv__code *c, const void *query, const uint8_t *row) {
    float distance = 0;
    pv__code_distances(c, query, &row, 1, &distance);
    return pv__code_ops_of(c->kind)->sigma(c, query, row, distance);
}

void pv__code_sigmas(const pv__code *c, const void *query, const uint8_t *const *rows, size_t n,
                     const float *distances, float *out) {
    const pv__code_ops *ops = pv__code_ops_of(c->kind);
    for (size_t i = 0; i < n; i++) {
        out[i] = ops->sigma(c, query, rows[i], distances[i]);
    }
}

bool pv__code_same_query(const pv__code *a, const pv__code *b) {
    return pv__code_ops_of(a->kind) == pv__code_ops_of(b->kind) && a->metric == b->metric &&
           a->dims == b->dims && a->type == b->type && a->centred == b->centred &&
           a->seed == b->seed && a->query_bytes == b->query_bytes && a->book == b->book;
}

float pv__code_scale(float low, float high) {
    const float most = PV_MAX(fabsf(low), fabsf(high));
    if (most == 0.0f || (most >= 0x1p-40f && most <= 0x1p+40f)) {
        return 1.0f;
    }
    int exponent = 0;
    (void)frexpf(most, &exponent);
    return ldexpf(1.0f, -PV_MAX(PV_MIN(exponent, 126), -126));
}

float pv__code_round(double v) {
    if (v <= (double)FLT_MAX) {
        return v < -(double)FLT_MAX ? -FLT_MAX : (float)v;
    }
    return FLT_MAX;
}

float pv__code_extra(const pv__code *c, double norm2) {
    const double left = (double)c->norm2_max - norm2;
    return left > 0 ? (float)sqrt(left) : 0.0f;
}
