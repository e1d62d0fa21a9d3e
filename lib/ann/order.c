/* SPDX-License-Identifier: Apache-2.0 */
/* order.c - in which order the rows of a large call get nodes: near ones one after the other, so
 * that the pages of links and codes that a batch reads and changes are few, and stay in memory
 * where the graph does not; and so that neighbours lie in the same pages for ever.
 *
 *      sample --> tree of cuts --> cell of each row --> order
 *                 [ nearer to row a or to row b? at the median, so that halves are equal ]
 *
 *      1 of 16 rows, as they came | cell 0, as they came | cell 1 | ...
 *
 * The first ones make a graph of the whole space, which the others are then hung into; without them
 * the graph would be grown from one corner. Cells are coarse: the graph of one is some MiB. Inside
 * a cell rows keep their order, so a batch is still a mixture.
 *
 * Nothing here depends on threads, memory or time (G5). Distances are those of the codes. */
#include "ann/build.h"
#include "base/sort.h"

#define ORDER_CELL ((uint64_t)16 << 20) /* bytes of graph in a cell */
#define ORDER_SAMPLE 64u                /* rows that a cell is made from */
#define ORDER_FIRST 16u                 /* one row of so many comes first */
#define ORDER_PAUSE 256u

typedef struct order_cut {
    uint32_t a, b; /* of the sample */
    float at;      /* beyond: nearer to b */
} order_cut;

typedef struct order_tree {
    pv__graph *g;
    pv__walker *w;
    uint32_t depth, n;
    size_t row_size;
    uint8_t *codes;  /* of the sample; behind them that of the row looked at */
    uint32_t *where; /* of the sample: the cut or cell it is at */
    float *sides;    /* of those at one cut */
    order_cut *cuts; /* as a heap: below i are 2 i + 1 and 2 i + 2 */
    void *scratch;
} order_tree;

static const uint8_t *order_code(const order_tree *o, uint32_t i) {
    return o->codes + i * o->row_size;
}

static bool order_before(const float *x, const float *y) { return *x < *y; }

PV__SORT_DEFINE(order_sort, float, order_before)

/* How much nearer it is to a than to b; the query is prepared. */
static float order_side(const order_tree *o, const order_cut *c) {
    const uint8_t *const rows[2] = {order_code(o, c->a), order_code(o, c->b)};
    float d[2];
    pv__code_distances(&o->w->code, o->w->query, rows, 2, d);
    return d[0] - d[1];
}

static uint32_t order_step(const order_tree *o, uint32_t at) {
    return 2 * at + (order_side(o, &o->cuts[at]) > o->cuts[at].at ? 2u : 1u);
}

/* ---- cuts ------------------------------------------------------------------------------------ */

/* Of those at `at` the one that is farthest from row `from`. */
static uint32_t order_farthest(const order_tree *o, uint32_t at, uint32_t from) {
    uint32_t best = from;
    float most = 0;
    pv__code_query_row(&o->w->code, order_code(o, from), o->w->query);
    for (uint32_t i = 0; i < o->n; i++) {
        const uint8_t *const row = order_code(o, i);
        float d = 0;
        if (o->where[i] == at) {
            pv__code_distances(&o->w->code, o->w->query, &row, 1, &d);
            if (best == from || d > most) {
                best = i;
                most = d;
            }
        }
    }
    return best;
}

static void order_cut_at(order_tree *o, uint32_t at) {
    uint32_t first = 0, count = 0;
    order_cut *c = &o->cuts[at];
    while (first < o->n && o->where[first] != at) {
        first++;
    }
    if (first == o->n) { /* nothing of the sample came here */
        *c = (order_cut){0, 0, 0};
        return;
    }
    c->a = order_farthest(o, at, first);
    c->b = order_farthest(o, at, c->a);
    for (uint32_t i = first; i < o->n; i++) {
        if (o->where[i] == at) {
            pv__code_query_row(&o->w->code, order_code(o, i), o->w->query);
            o->sides[count++] = order_side(o, c);
        }
    }
    order_sort(o->sides, count);
    c->at = o->sides[(count - 1) / 2];
    for (uint32_t i = first; i < o->n; i++) {
        if (o->where[i] == at) {
            pv__code_query_row(&o->w->code, order_code(o, i), o->w->query);
            o->where[i] = order_step(o, at);
        }
    }
}

/* ---- rows ------------------------------------------------------------------------------------ */

static int order_encode(const order_tree *o, uint32_t slot, uint32_t to, pv_error *err) {
    const uint8_t *row;
    PV_TRY(pv__graph_vector(o->g, slot, &row, err));
    pv__code_encode(&o->w->code, row, o->scratch, o->codes + to * o->row_size);
    return 0;
}

static int order_make(order_tree *o, const uint32_t *slots, size_t count, pv_error *err) {
    for (uint32_t i = 0; i < o->n; i++) {
        PV_TRY(order_encode(o, slots[(uint64_t)i * count / o->n], i, err));
        o->where[i] = 0;
        PV_TRY(pv__txn_pause(o->g->txn, err));
    }
    for (uint32_t at = 0; at < (1u << o->depth) - 1; at++) {
        order_cut_at(o, at);
    }
    return 0;
}

/* The cell of each row, and how many are in each. */
static int order_cells(order_tree *o, const uint32_t *slots, size_t count, uint8_t *cells,
                       size_t *ends, pv__graph_interrupt_fn interrupt, void *ctx, pv_error *err) {
    for (size_t i = 0; i < count; i++) {
        uint32_t at = 0;
        PV_TRY(order_encode(o, slots[i], o->n, err));
        pv__code_query_row(&o->w->code, order_code(o, o->n), o->w->query);
        for (uint32_t level = 0; level < o->depth; level++) {
            at = order_step(o, at);
        }
        cells[i] = (uint8_t)(at - ((1u << o->depth) - 1));
        ends[cells[i]] += i % ORDER_FIRST != 0;
        if (i % ORDER_PAUSE == ORDER_PAUSE - 1) {
            PV_TRY(pv__txn_pause(o->g->txn, err));
            PV_TRY(interrupt ? interrupt(ctx, err) : 0);
        }
    }
    return 0;
}

static void order_put(const uint32_t *slots, size_t count, const uint8_t *cells, size_t *ends,
                      uint32_t *out) {
    size_t at = (count + ORDER_FIRST - 1) / ORDER_FIRST, first = 0;
    for (size_t c = 0; c < (size_t)1 << PV__ORDER_DEPTH_MAX; c++) { /* now: where each begins */
        const size_t n = ends[c];
        ends[c] = at;
        at += n;
    }
    for (size_t i = 0; i < count; i++) {
        out[i % ORDER_FIRST == 0 ? first++ : ends[cells[i]]++] = slots[i];
    }
}

static int order_all(order_tree *o, const uint32_t *slots, size_t count, uint32_t *out,
                     pv__graph_interrupt_fn interrupt, void *ctx, pv_error *err) {
    pv__mem *mem = pv__txn_mem(o->g->txn);
    size_t ends[(size_t)1 << PV__ORDER_DEPTH_MAX] = {0};
    uint8_t *cells = pv__alloc(mem, count);
    int rc = cells ? order_make(o, slots, count, err) : pv__err_nomem(err, count);
    rc = rc == 0 ? order_cells(o, slots, count, cells, ends, interrupt, ctx, err) : rc;
    if (rc == 0) {
        order_put(slots, count, cells, ends, out);
    }
    pv__alloc_free(mem, cells, count);
    return rc;
}

int pv__graph_order(pv__graph *g, pv__walker *w, const uint32_t *slots, size_t count,
                    uint32_t depth, pv__graph_interrupt_fn interrupt, void *ctx, uint32_t *out,
                    pv_error *err) {
    pv__mem *mem = pv__txn_mem(g->txn);
    order_tree o = {.g = g, .w = w, .depth = depth, .row_size = g->fine.row_size};
    const size_t scratch = g->fine.scratch_bytes + 64u;
    PV_TRY(pv__walker_begin_build(w, g, 1, err));
    o.n = ORDER_SAMPLE << o.depth;
    o.codes = pv__alloc_array(mem, (size_t)o.n + 1, o.row_size);
    o.where = pv__alloc_array(mem, o.n, sizeof *o.where);
    o.sides = pv__alloc_array(mem, o.n, sizeof *o.sides);
    o.cuts = pv__alloc_array(mem, (size_t)1 << o.depth, sizeof *o.cuts);
    o.scratch = pv__alloc_aligned(mem, scratch, 64);
    const int rc = o.codes && o.where && o.sides && o.cuts && o.scratch
                       ? order_all(&o, slots, count, out, interrupt, ctx, err)
                       : pv__err_nomem(err, ((size_t)o.n + 1) * o.row_size);
    pv__alloc_free_aligned(mem, o.scratch, scratch, 64);
    pv__alloc_free(mem, o.cuts, ((size_t)1 << o.depth) * sizeof *o.cuts);
    pv__alloc_free(mem, o.sides, o.n * sizeof *o.sides);
    pv__alloc_free(mem, o.where, o.n * sizeof *o.where);
    pv__alloc_free(mem, o.codes, ((size_t)o.n + 1) * o.row_size);
    return rc;
}

uint32_t pv__graph_order_depth(const pv__graph *g, size_t count) {
    const uint64_t bytes = count * (uint64_t)(PV__LINKS_BYTES + g->fine.row_size);
    uint32_t depth = 0;
    while (depth < PV__ORDER_DEPTH_MAX && bytes >> depth > ORDER_CELL) {
        depth++;
    }
    return depth;
}

#undef ORDER_CELL
#undef ORDER_SAMPLE
#undef ORDER_FIRST
#undef ORDER_PAUSE
