/* SPDX-License-Identifier: Apache-2.0 */
/* panel.c - a few rows against many prepared queries.
 *
 *      32 rows --fill--> turned: [4 bytes of the element][row]      once
 *      12 queries at a time  x  turned  -> sums -> finish -> distances
 *
 * Where a lane is a row nothing is summed across registers, and what was loaded serves several
 * queries: a pair at 128 dimensions takes a fifth (AVX2: half) of what pv__code_distances takes.
 * The distances are the same bits: the sums are exact, and what follows is the same expression.
 * Kinds that are made of other sums, and instruction sets without the kernel, go row by row. */
#include <math.h>

#include "quant/kinds.h"

PV_STATIC_ASSERT(PV__CODE_PANEL_ROWS == PV__CODE_PANEL, panels_are_the_kernels);
PV_STATIC_ASSERT(PV__CODE_PANEL_ROWS <= PV__CODE_BLOCK, a_panel_is_one_block);

#define PANEL_TURN 4u     /* rows that are turned together */
#define PANEL_QUERIES 12u /* whose sums are in memory at once */

static uint32_t panel_width(const pv__code *c) {
    const pv__code_ops *ops = pv__code_ops_of(c->kind);
    return c->kernel->panel && ops->panel_bytes ? ops->panel_bytes(c) : 0;
}

static size_t panel_factors_at(uint32_t width) {
    return PV_ALIGN_UP((size_t)width * (PV__CODE_PANEL_ROWS + PANEL_TURN), (size_t)64);
}

size_t pv__code_panel_bytes(const pv__code *c) {
    const uint32_t width = panel_width(c);
    return width > 0 ? panel_factors_at(width) + sizeof(pv__code_panel_rows) : 0;
}

size_t pv__code_panel_query_bytes(const pv__code *c) {
    const pv__code_ops *ops = pv__code_ops_of(c->kind);
    const uint32_t width = ops->panel_bytes ? ops->panel_bytes(c) : 0;
    return PV_ALIGN_UP((size_t)(width > 0 ? PV__CODE_QUERY_HEAD + width : c->query_bytes),
                       (size_t)64);
}

void pv__code_panel_fill(const pv__code *c, pv__code_panel *p) {
    const pv__code_ops *ops = pv__code_ops_of(c->kind);
    const uint32_t width = panel_width(c);
    uint8_t *const spare = p->turned + (size_t)width * PV__CODE_PANEL_ROWS;
    if (width == 0) {
        return;
    }
    for (size_t r = p->n; r < PV__CODE_PANEL_ROWS; r++) { /* the last one fills the panel up */
        p->rows[r] = p->rows[p->n - 1];
    }
    for (size_t r = 0; r < PV__CODE_PANEL_ROWS; r += PANEL_TURN) {
        const uint8_t *rows[PANEL_TURN];
        for (size_t k = 0; k < PANEL_TURN; k++) {
            rows[k] = p->rows[r + k];
            if (ops->nibbles) {
                c->kernel->unfold(rows[k], width, spare + k * width);
                rows[k] = spare + k * width;
            }
        }
        c->kernel->turn4(rows, width, ops->nibbles ? 64 : 0, p->turned + r * 4);
    }
    ops->panel_rows(c, p->rows, PV__CODE_PANEL_ROWS, (void *)(p->turned + panel_factors_at(width)));
}

/* Distances of one query from its sums. */
static void panel_finish(const pv__code *c, const pv__code_panel *p, const uint8_t *query,
                         const int32_t *sums, float *out) {
    const pv__code_ops *ops = pv__code_ops_of(c->kind);
    const uint32_t width = panel_width(c);
    const pv__code_panel_rows *factors = (const void *)(p->turned + panel_factors_at(width));
    pv__code_panel_query q;
    if (!ops->panel_query(c, query, &q) || PV_UNLIKELY(!c->kernel->close(sums, factors, &q, out))) {
        const pv__code_rows rows = {p->rows, PV__CODE_PANEL_ROWS, PV__CODE_PANEL_ROWS, c->row_size};
        int32_t own[PV__CODE_PANEL_ROWS + 4];
        memcpy(own, sums, PV__CODE_PANEL_ROWS * sizeof *own);
        for (size_t r = 0; ops->nibbles && r < PV__CODE_PANEL_ROWS; r++) {
            own[r] += (128 - c->kernel->i8_bias) * factors->sum[r]; /* `nibble` has no bias */
        }
        ops->finish(c, query, &rows, own, out);
    }
}

static void panel_some(const pv__code *c, const pv__code_panel *p, const uint8_t *const *queries,
                       size_t n, float *out) {
    int32_t sums[PANEL_QUERIES * PV__CODE_PANEL_ROWS];
    const uint8_t *bytes[PANEL_QUERIES];
    for (size_t q = 0; q < n; q++) {
        bytes[q] = queries[q] + PV__CODE_QUERY_HEAD;
    }
    c->kernel->panel(bytes, n, panel_width(c), p->turned, sums);
    for (size_t q = 0; q < n; q++) {
        panel_finish(c, p, queries[q], sums + q * PV__CODE_PANEL_ROWS,
                     out + q * PV__CODE_PANEL_ROWS);
    }
}

void pv__code_panel_distances(const pv__code *c, const pv__code_panel *p,
                              const uint8_t *const *queries, size_t count, float *out) {
    const pv__code_rows rows = {p->rows, p->n, p->n, c->row_size};
    const bool wide = panel_width(c) > 0;
    for (size_t q = 0; q < count;) {
        const size_t n = wide ? PV_MIN(count - q, (size_t)PANEL_QUERIES) : 1;
        float *const to = out + q * PV__CODE_PANEL_ROWS;
        if (wide) {
            panel_some(c, p, queries + q, n, to);
        } else {
            pv__code_ops_of(c->kind)->distances(c, queries[q], &rows, to);
        }
        for (size_t i = 0; p->n < PV__CODE_PANEL_ROWS && i < n; i++) {
            for (size_t r = p->n; r < PV__CODE_PANEL_ROWS; r++) {
                to[i * PV__CODE_PANEL_ROWS + r] = INFINITY;
            }
        }
        q += n;
    }
}

#undef PANEL_TURN
#undef PANEL_QUERIES
