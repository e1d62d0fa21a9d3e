/* SPDX-License-Identifier: Apache-2.0 */
/* order.c - in which order the rows of a large call get nodes: near ones one after the other, so
 * that the pages of links and codes that a batch reads and changes are few, and stay in memory
 * where the graph does not; and so that neighbours lie in the same pages for ever.
 *
 *      some rows of the call are centres; they are put in a chain, each behind the one it is near
 *      row --> its nearest centre --> order
 *
 *      1 of 16 rows, as they came | rows of the first centre, as they came | of the second | ...
 *
 * The first ones make a graph of the whole space, which the others are then hung into; without them
 * the graph would be grown from one corner.
 *
 * Nothing here depends on threads, memory or time (G5). Distances are those of the codes. */
#include <math.h>

#include "ann/near.h"

#define ORDER_CELL ((uint64_t)256 << 10) /* bytes of graph for a centre */
#define ORDER_MIN 4u                     /* fewer centres: hardly an order */
#define ORDER_FIRST 16u                  /* one row of so many comes first */
#define ORDER_PAUSE 256u

typedef struct order_job {
    pv__graph *g;
    pv__walker *w;
    uint32_t n;     /* centres */
    uint8_t *codes; /* theirs, in the chain; behind them that of the row looked at */
    uint8_t *cells; /* of each row: its centre */
    const uint8_t **rows;
    float *distances;
    void *scratch;
    pv__graph_interrupt_fn interrupt;
    void *ctx;
} order_job;

static uint8_t *order_code(const order_job *o, uint32_t i) {
    return o->codes + i * o->g->fine.row_size;
}

static int order_encode(const order_job *o, uint32_t slot, uint32_t to, pv_error *err) {
    const uint8_t *row;
    PV_TRY(pv__graph_vector(o->g, slot, &row, err));
    pv__code_encode(&o->w->code, row, o->scratch, order_code(o, to));
    return 0;
}

/* Of centres [from, n) the one that is nearest to what has code `code`; from < n. */
static uint32_t order_nearest(const order_job *o, const uint8_t *code, uint32_t from) {
    uint32_t best = from;
    pv__code_query_row(&o->w->code, code, o->w->query);
    pv__code_distances(&o->w->code, o->w->query, o->rows + from, o->n - from, o->distances);
    for (uint32_t i = from; i < o->n; i++) {
        best = o->distances[i - from] < o->distances[best - from] ? i : best;
    }
    return best;
}

/* Behind each centre the nearest of those that are left. */
static void order_chain(const order_job *o) {
    const size_t size = o->g->fine.row_size;
    uint8_t *spare = order_code(o, o->n);
    for (uint32_t i = 1; i + 1 < o->n; i++) {
        const uint32_t next = order_nearest(o, order_code(o, i - 1), i);
        memcpy(spare, order_code(o, i), size);
        memmove(order_code(o, i), order_code(o, next), size);
        memcpy(order_code(o, next), spare, size);
    }
}

static int order_centres(const order_job *o, const uint32_t *slots, size_t count, pv_error *err) {
    for (uint32_t i = 0; i < o->n; i++) {
        PV_TRY(order_encode(o, slots[(uint64_t)i * count / o->n], i, err));
        o->rows[i] = order_code(o, i);
        PV_TRY(pv__txn_pause(o->g->txn, err));
    }
    order_chain(o);
    return 0;
}

static int order_cells(const order_job *o, const uint32_t *slots, size_t count, pv_error *err) {
    for (size_t i = 0; i < count; i++) {
        PV_TRY(order_encode(o, slots[i], o->n, err));
        o->cells[i] = (uint8_t)order_nearest(o, order_code(o, o->n), 0);
        if (i % ORDER_PAUSE == ORDER_PAUSE - 1) {
            PV_TRY(pv__txn_pause(o->g->txn, err));
            PV_TRY(o->interrupt ? o->interrupt(o->ctx, err) : 0);
        }
    }
    return 0;
}

static void order_put(const order_job *o, const uint32_t *slots, size_t count, uint32_t *out) {
    size_t next[PV__ORDER_CENTRES_MAX] = {0}, first = 0;
    size_t at = (count + ORDER_FIRST - 1) / ORDER_FIRST;
    for (size_t i = 0; i < count; i++) {
        next[o->cells[i]] += i % ORDER_FIRST != 0;
    }
    for (uint32_t c = 0; c < o->n; c++) { /* from now on: where its next row goes */
        const size_t n = next[c];
        next[c] = at;
        at += n;
    }
    for (size_t i = 0; i < count; i++) {
        out[i % ORDER_FIRST == 0 ? first++ : next[o->cells[i]]++] = slots[i];
    }
}

int pv__graph_order(pv__graph *g, pv__walker *w, const uint32_t *slots, size_t count,
                    uint32_t centres, pv__graph_interrupt_fn interrupt, void *ctx, uint32_t *out,
                    pv_error *err) {
    pv__mem *mem = pv__txn_mem(g->txn);
    order_job o = {.g = g, .w = w, .n = centres, .interrupt = interrupt, .ctx = ctx};
    const size_t scratch = g->fine.scratch_bytes + 64u;
    PV_TRY(pv__walker_begin_build(w, g, 1, err));
    o.codes = pv__alloc_array(mem, (size_t)o.n + 1, g->fine.row_size);
    o.cells = pv__alloc(mem, count);
    o.rows = pv__alloc_array(mem, o.n, sizeof *o.rows);
    o.distances = pv__alloc_array(mem, o.n, sizeof *o.distances);
    o.scratch = pv__alloc_aligned(mem, scratch, 64);
    int rc = o.codes && o.cells && o.rows && o.distances && o.scratch
                 ? order_centres(&o, slots, count, err)
                 : pv__err_nomem(err, count);
    rc = rc == 0 ? order_cells(&o, slots, count, err) : rc;
    if (rc == 0) {
        order_put(&o, slots, count, out);
    }
    pv__alloc_free_aligned(mem, o.scratch, scratch, 64);
    pv__alloc_free(mem, o.distances, o.n * sizeof *o.distances);
    pv__alloc_free(mem, o.rows, o.n * sizeof *o.rows);
    pv__alloc_free(mem, o.cells, count);
    pv__alloc_free(mem, o.codes, ((size_t)o.n + 1) * g->fine.row_size);
    return rc;
}

/* ---- by cells -------------------------------------------------------------------------------- */

/* Behind each cell the one with the nearest centre of those that are left. */
static void order_chain_cells(const pv__near *x, pv__walker *w, uint32_t *chain) {
    const pv__code *const code = pv__near_code(x, w);
    for (uint32_t i = 0; i < x->n; i++) {
        chain[i] = i;
    }
    for (uint32_t i = 1; i + 1 < x->n; i++) {
        float least = INFINITY;
        uint32_t next = i;
        for (uint32_t c = i; c < x->n; c += PV__WALK_ROWS) {
            const uint32_t n = PV_MIN(x->n - c, PV__WALK_ROWS);
            for (uint32_t k = 0; k < n; k++) {
                w->rows[k] = x->centres + (size_t)chain[c + k] * code->row_size;
            }
            pv__code_distances_expected(code, x->query[chain[i - 1]], w->rows, n, w->distances);
            for (uint32_t k = 0; k < n; k++) {
                next = w->distances[k] < least ? c + k : next;
                least = PV_MIN(w->distances[k], least);
            }
        }
        const uint32_t swap = chain[i];
        chain[i] = chain[next];
        chain[next] = swap;
    }
}

int pv__graph_order_near(pv__near *x, pv__walker *w, const uint32_t *slots, uint32_t *out,
                         pv_error *err) {
    size_t at = (x->rows + ORDER_FIRST - 1) / ORDER_FIRST, first = 0;
    size_t *next = pv__alloc_zero(x->mem, x->n * sizeof *next);
    uint32_t *chain = pv__alloc_array(x->mem, x->n, sizeof *chain);
    uint16_t *cells = pv__alloc_array(x->mem, x->rows, sizeof *cells);
    const bool good = next && chain && cells;
    if (good) {
        order_chain_cells(x, w, chain);
        for (size_t i = 0; i < x->rows; i++) {
            next[x->cells[i]] += i % ORDER_FIRST != 0;
        }
        for (uint32_t c = 0; c < x->n; c++) { /* from now on: where its next row goes */
            const size_t n = next[chain[c]];
            next[chain[c]] = at;
            at += n;
        }
        for (size_t i = 0; i < x->rows; i++) {
            const size_t to = i % ORDER_FIRST == 0 ? first++ : next[x->cells[i]]++;
            out[to] = slots[i];
            cells[to] = x->cells[i];
        }
        memcpy(x->cells, cells, x->rows * sizeof *cells);
    }
    pv__alloc_free(x->mem, cells, x->rows * sizeof *cells);
    pv__alloc_free(x->mem, chain, x->n * sizeof *chain);
    pv__alloc_free(x->mem, next, x->n * sizeof *next);
    return good ? 0 : pv__err_nomem(err, x->rows * sizeof *cells);
}

uint32_t pv__graph_order_centres(const pv__graph *g, size_t count) {
    const uint64_t bytes = count * (uint64_t)(PV__LINKS_BYTES + g->fine.row_size);
    const uint64_t n = PV_MIN(bytes / ORDER_CELL, (uint64_t)PV__ORDER_CENTRES_MAX);
    return n < ORDER_MIN ? 0 : (uint32_t)n;
}

#undef ORDER_CELL
#undef ORDER_MIN
#undef ORDER_FIRST
#undef ORDER_PAUSE
