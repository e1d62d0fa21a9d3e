/* SPDX-License-Identifier: Apache-2.0 */
/* near.c - what lies near the rows of a large call (near.h): centres, lists, scans.
 *
 *      scan of some rows:   row --> its nearest centres, until their cells have SCAN_ROWS rows
 *      cell by cell:        32 of its rows --> panel x rows that want it --> distances
 *                           those within the row's bound --> its hits (best.h)
 *
 * First the nearest cell of each row, so that bounds are low when the others come. */
#include <float.h>
#include <math.h>

#include "ann/near.h"
#include "base/sort.h"
#include "kernel/code_kernel.h"

#define NEAR_ROUNDS 4u      /* of k-means */
#define NEAR_SAMPLE 32u     /* rows of it for each centre */
#define NEAR_CELL_ROWS 768u /* rows of a cell, about */
#define NEAR_CELLS_MIN 4u
#define NEAR_SHARE 16u        /* a call of less than such a part of the graph finds by walks */
#define NEAR_SCAN_ROWS 16384u /* a row is compared with so many, or so ... */
#define NEAR_PART 12u         /* ... large a part of all where that is more ... */
#define NEAR_SCAN_MAX 32768u  /* ... up to so many; where that is less, walks find more */
#define NEAR_LARGE 65536u     /* a cell of so many costs more than a walk */
#define NEAR_WANTS 64u        /* cells of a row at most */
#define NEAR_PAUSE 256u
#define NEAR_WORK (UINT64_C(1) << 30) /* products of elements between two questions */
#define NEAR_ALIGN 64u
#define NEAR_LINE 64u

/* ---- cells ----------------------------------------------------------------------------------- */

static const uint64_t near_nodes_max = (uint64_t)NEAR_PART * NEAR_SCAN_MAX;

/* Can the graph's codes be turned? */
static bool near_turns(const pv__graph *g) {
    return g->fine.kind == PV__CODE_SQ8 || g->fine.kind == PV__CODE_Q4;
}

/* Else: the type of the elements that they are or stand for; 0: of none. */
static uint32_t near_type(const pv__graph *g) {
    const uint32_t kind = g->fine.kind;
    const uint32_t type = kind == PV__CODE_F32 || kind == PV__CODE_F16 ? PV_TYPE_F32
                          : kind == PV__CODE_I8                        ? PV_TYPE_I8
                                                                       : 0;
    return pv__code_goes(PV__CODE_SQ8, type, g->metric) ? type : 0;
}

uint32_t pv__near_cells(const pv__graph *g, size_t count) {
    const uint64_t nodes = g->meta.node_count, all = PV_MIN(nodes + count, near_nodes_max);
    const uint64_t n = PV_MIN(all / NEAR_CELL_ROWS, (uint64_t)PV__NEAR_CELLS_MAX);
    const bool good = g->metric != PV_METRIC_DOT && /* what has a large product lies anywhere */
                      (near_turns(g) || near_type(g) != 0);
    const bool large = count >= (nodes + count) / NEAR_SHARE && nodes <= near_nodes_max;
    return good && large && n >= NEAR_CELLS_MIN ? (uint32_t)n : 0;
}

bool pv__near_serves(const pv__near *x) { return x->node_count <= near_nodes_max; }

void pv__near_add(pv__near *x, uint32_t cell, uint32_t id) {
    PV_DEBUG_ASSERT(x->first[cell] + x->count[cell] < x->first[cell + 1]);
    x->nodes[x->first[cell] + x->count[cell]++] = id;
    x->node_count++;
}

void pv__near_drop(pv__near *x, uint32_t cell) {
    x->count[cell]--;
    x->node_count--;
}

static bool near_own(const pv__near *x) { return x->own.kind != 0; }

/* Sizes, kernels: without a book. */
static const pv__code *near_plain(const pv__near *x) { return near_own(x) ? &x->own : &x->g->fine; }

static size_t near_row_size(const pv__near *x) { return near_plain(x)->row_size; }

const pv__code *pv__near_code(const pv__near *x, const pv__walker *w) {
    return near_own(x) ? &x->own : &w->code;
}

/* Scratch of near_row: of encoding | what a row stands for. */
static size_t near_wide_at(const pv__near *x) {
    return PV_ALIGN_UP((size_t)PV_MAX(x->own.scratch_bytes, x->g->fine.scratch_bytes),
                       (size_t)NEAR_ALIGN);
}

static size_t near_scratch(const pv__near *x) {
    return near_wide_at(x) + PV_ALIGN_UP(x->g->dims * sizeof(float), (size_t)NEAR_ALIGN);
}

/* A row of the graph as it is compared: itself, or its code in `to`. */
static const uint8_t *near_row(const pv__near *x, const uint8_t *row, void *scratch, uint8_t *to) {
    if (!near_own(x)) {
        return row;
    }
    if (x->g->fine.kind == PV__CODE_F16) {
        uint8_t *const wide = (uint8_t *)scratch + near_wide_at(x);
        pv__code_decode(&x->g->fine, row, (void *)wide);
        row = wide;
    }
    pv__code_encode(&x->own, row, scratch, to);
    return to;
}

static uint8_t *near_centre(const pv__near *x, uint32_t c) {
    return x->centres + (size_t)c * near_row_size(x);
}

/* A vector of the column as it is compared. */
static int near_vector(pv__near *x, const pv__walker *w, uint32_t slot, uint8_t *to,
                       pv_error *err) {
    uint8_t *const whole = near_own(x) ? x->scratch + near_scratch(x) : to;
    const uint8_t *vector;
    PV_TRY(pv__graph_vector(x->g, slot, &vector, err));
    pv__code_encode(&w->code, vector, x->scratch, whole);
    (void)near_row(x, whole, x->scratch, to);
    return 0;
}

static void near_prepare(pv__near *x, const pv__code *code) {
    for (uint32_t c = 0; c < x->n; c++) {
        pv__code_query_row(code, near_centre(x, c), x->queries + (size_t)c * x->query_bytes);
    }
}

/* The nearest centre of each row of the panel. */
static void near_place(pv__near *x, const pv__code *code, uint16_t *out) {
    float best[PV__CODE_PANEL_ROWS];
    pv__code_panel_fill(code, &x->panel);
    pv__code_panel_distances(code, &x->panel, x->query, x->n, x->distances);
    for (size_t r = 0; r < x->panel.n; r++) {
        best[r] = INFINITY;
        out[r] = 0;
    }
    for (uint32_t c = 0; c < x->n; c++) {
        const float *d = x->distances + (size_t)c * PV__CODE_PANEL_ROWS;
        for (size_t r = 0; r < x->panel.n; r++) {
            if (d[r] < best[r]) {
                best[r] = d[r];
                out[r] = (uint16_t)c;
            }
        }
    }
}

/* Up to 32 slots: their codes into the panel, and where they belong. */
static int near_place_slots(pv__near *x, pv__walker *w, const uint32_t *slots, size_t step,
                            size_t n, uint16_t *out, pv_error *err) {
    const size_t size = near_row_size(x);
    for (size_t i = 0; i < n; i++) {
        PV_TRY(near_vector(x, w, slots[i * step], x->codes + i * size, err));
        x->panel.rows[i] = x->codes + i * size;
    }
    x->panel.n = n;
    near_place(x, pv__near_code(x, w), out);
    return 0;
}

typedef struct near_learn {
    pv__near *x;
    pv__walker *w;
    pv__code made; /* of centres: the same code, from f32 */
    pv__graph_interrupt_fn interrupt;
    void *ctx;
    size_t sample, step;
    float *sums, *wide;
    uint32_t *members;
} near_learn;

static int near_pause(const near_learn *l, pv_error *err) {
    PV_TRY(pv__txn_pause(l->x->g->txn, err));
    return l->interrupt ? l->interrupt(l->ctx, err) : 0;
}

/* A vector, cosine: of length 1, to the sum of its centre. */
static int near_sum(near_learn *l, uint32_t slot, uint32_t centre, pv_error *err) {
    const pv__graph *g = l->x->g;
    const pv__element *e = pv__element_of(g->type);
    float *const sum = l->sums + (size_t)centre * g->dims;
    const uint8_t *row;
    float scale = 1;
    PV_TRY(pv__graph_vector(l->x->g, slot, &row, err));
    pv__element_widen(e, row, g->dims, l->wide);
    if (g->metric == PV_METRIC_COSINE) {
        double norm2 = 0;
        for (uint32_t d = 0; d < g->dims; d++) {
            norm2 += pv__unfused_double((double)l->wide[d] * (double)l->wide[d]);
        }
        scale = norm2 > 0 ? (float)(1 / sqrt(norm2)) : 0;
    }
    for (uint32_t d = 0; d < g->dims; d++) {
        sum[d] += pv__unfused(scale * l->wide[d]);
    }
    l->members[centre]++;
    return 0;
}

/* Each centre to the mean of its rows of the sample; one without rows stays. */
static int near_round(near_learn *l, const uint32_t *slots, pv_error *err) {
    pv__near *x = l->x;
    const uint32_t dims = x->g->dims;
    uint16_t cells[PV__CODE_PANEL_ROWS];
    memset(l->sums, 0, (size_t)x->n * dims * sizeof *l->sums);
    memset(l->members, 0, x->n * sizeof *l->members);
    near_prepare(x, pv__near_code(x, l->w));
    for (size_t at = 0; at < l->sample; at += PV__CODE_PANEL_ROWS) {
        const size_t n = PV_MIN(l->sample - at, (size_t)PV__CODE_PANEL_ROWS);
        const uint32_t *some = slots + at * l->step;
        PV_TRY(near_place_slots(x, l->w, some, l->step, n, cells, err));
        for (size_t i = 0; i < n; i++) {
            PV_TRY(near_sum(l, some[i * l->step], cells[i], err));
        }
        PV_TRY(at / PV__CODE_PANEL_ROWS % 8 == 0 ? near_pause(l, err) : 0);
    }
    for (uint32_t c = 0; c < x->n; c++) {
        float *const sum = l->sums + (size_t)c * dims;
        for (uint32_t d = 0; d < dims; d++) {
            sum[d] /= (float)PV_MAX(l->members[c], 1u);
        }
        if (l->members[c] > 0) {
            pv__code_encode(&l->made, sum, x->scratch, near_centre(x, c));
        }
    }
    return 0;
}

static int near_means(near_learn *l, const uint32_t *slots, size_t count, pv_error *err) {
    pv__near *x = l->x;
    for (uint32_t c = 0; c < x->n; c++) {
        const uint32_t slot = slots[(uint64_t)c * count / x->n];
        PV_TRY(near_vector(x, l->w, slot, near_centre(x, c), err));
        PV_TRY(c % NEAR_PAUSE == NEAR_PAUSE - 1 ? near_pause(l, err) : 0);
    }
    for (unsigned round = 0; round < NEAR_ROUNDS; round++) {
        PV_TRY(near_round(l, slots, err));
    }
    near_prepare(x, pv__near_code(x, l->w));
    return 0;
}

/* Cells of the rows of the call; of a node that lives, too, in of_node. */
static int near_cells(near_learn *l, const uint32_t *slots, uint16_t *of_node, pv_error *err) {
    pv__near *x = l->x;
    pv__graph *g = x->g;
    for (size_t at = 0; at < x->rows; at += PV__CODE_PANEL_ROWS) {
        const size_t n = PV_MIN(x->rows - at, (size_t)PV__CODE_PANEL_ROWS);
        PV_TRY(near_place_slots(x, l->w, slots + at, 1, n, x->cells + at, err));
        PV_TRY(at / PV__CODE_PANEL_ROWS % 8 == 0 ? near_pause(l, err) : 0);
    }
    PV_TRY(pv__walker_begin_build(l->w, g, 1, err));
    for (uint32_t at = 0; at < g->meta.node_high; at += PV__CODE_PANEL_ROWS) {
        x->panel.n = PV_MIN(g->meta.node_high - at, PV__CODE_PANEL_ROWS);
        for (uint32_t i = 0; i < x->panel.n; i++) {
            const uint8_t *row;
            PV_TRY(pv__colview_row(&l->w->codes, at + i, &row, err));
            x->panel.rows[i] = near_row(x, row, x->scratch, x->codes + i * near_row_size(x));
        }
        near_place(x, pv__near_code(x, l->w), of_node + at);
        if (at / PV__CODE_PANEL_ROWS % 8 == 0) {
            PV_TRY(pv__walker_pause(l->w, g->txn, err));
            PV_TRY(l->interrupt ? l->interrupt(l->ctx, err) : 0);
        }
    }
    return 0;
}

/* Room for the rows of each cell; nodes that are there already into their lists. */
static int near_lists(near_learn *l, const uint16_t *of_node, pv_error *err) {
    pv__near *x = l->x;
    pv__graph *g = x->g;
    for (size_t i = 0; i < x->rows; i++) {
        x->first[x->cells[i] + 1]++;
    }
    for (uint32_t i = 0; i < g->meta.node_high; i++) {
        x->first[of_node[i] + 1]++;
    }
    for (uint32_t c = 0; c < x->n; c++) {
        x->first[c + 1] += x->first[c];
    }
    for (uint32_t i = 0; i < g->meta.node_high; i++) {
        const uint8_t *row;
        PV_TRY(pv__colview_row(&l->w->links, i, &row, err));
        if (pv__links_state(row) == PV__NODE_LIVE) {
            pv__near_add(x, of_node[i], i);
        }
        if (i % NEAR_PAUSE == NEAR_PAUSE - 1) {
            PV_TRY(pv__walker_pause(l->w, g->txn, err));
        }
    }
    return 0;
}

static int near_build(near_learn *l, const uint32_t *slots, pv_error *err) {
    pv__near *x = l->x;
    pv__mem *mem = x->mem;
    pv__graph *g = x->g;
    const size_t high = g->meta.node_high;
    uint16_t *of_node = pv__alloc_array(mem, high + 1, sizeof *of_node);
    l->sums = pv__alloc_array(mem, (size_t)x->n * g->dims, sizeof *l->sums);
    l->wide = pv__alloc_array(mem, g->dims, sizeof *l->wide);
    l->members = pv__alloc_array(mem, x->n, sizeof *l->members);
    int rc = of_node && l->sums && l->wide && l->members ? near_means(l, slots, x->rows, err)
                                                         : pv__err_nomem(err, high);
    rc = rc == 0 ? near_cells(l, slots, of_node, err) : rc;
    rc = rc == 0 ? near_lists(l, of_node, err) : rc;
    pv__alloc_free(mem, l->members, x->n * sizeof *l->members);
    pv__alloc_free(mem, l->wide, g->dims * sizeof *l->wide);
    pv__alloc_free(mem, l->sums, (size_t)x->n * g->dims * sizeof *l->sums);
    pv__alloc_free(mem, of_node, (high + 1) * sizeof *of_node);
    return rc;
}

static bool near_alloc(pv__near *x) {
    const pv__code *const code = near_plain(x);
    const size_t n = x->n, size = code->row_size;
    x->scratch_bytes = near_scratch(x) + x->g->fine.row_size;
    x->query_bytes = pv__code_panel_query_bytes(code);
    x->panel_bytes = pv__code_panel_bytes(code) + NEAR_ALIGN;
    x->centres = pv__alloc_array(x->mem, n, size);
    x->queries = pv__alloc_aligned(x->mem, n * x->query_bytes, NEAR_ALIGN);
    x->query = pv__alloc_array(x->mem, n, sizeof *x->query);
    x->first = pv__alloc_zero(x->mem, (n + 1) * sizeof *x->first);
    x->count = pv__alloc_zero(x->mem, n * sizeof *x->count);
    x->nodes = pv__alloc_array(x->mem, x->node_cap, sizeof *x->nodes);
    x->cells = pv__alloc_array(x->mem, x->rows, sizeof *x->cells);
    x->panel.turned = pv__alloc_aligned(x->mem, x->panel_bytes, NEAR_ALIGN);
    x->codes = pv__alloc_array(x->mem, PV__CODE_PANEL_ROWS, size);
    x->scratch = pv__alloc_aligned(x->mem, x->scratch_bytes, NEAR_ALIGN);
    x->distances = pv__alloc_array(x->mem, n * PV__CODE_PANEL_ROWS, sizeof *x->distances);
    if (!x->centres || !x->queries || !x->query || !x->first || !x->count || !x->nodes ||
        !x->cells || !x->panel.turned || !x->codes || !x->scratch || !x->distances) {
        return false;
    }
    for (size_t c = 0; c < n; c++) {
        x->query[c] = x->queries + c * x->query_bytes;
    }
    return true;
}

void pv__near_free(pv__near *x) {
    if (!x) {
        return;
    }
    const size_t n = x->n, size = near_row_size(x);
    pv__alloc_free(x->mem, x->distances, n * PV__CODE_PANEL_ROWS * sizeof *x->distances);
    pv__alloc_free_aligned(x->mem, x->scratch, x->scratch_bytes, NEAR_ALIGN);
    pv__alloc_free(x->mem, x->codes, PV__CODE_PANEL_ROWS * size);
    pv__alloc_free_aligned(x->mem, x->panel.turned, x->panel_bytes, NEAR_ALIGN);
    pv__alloc_free(x->mem, x->cells, x->rows * sizeof *x->cells);
    pv__alloc_free(x->mem, x->nodes, x->node_cap * sizeof *x->nodes);
    pv__alloc_free(x->mem, x->count, n * sizeof *x->count);
    pv__alloc_free(x->mem, x->first, (n + 1) * sizeof *x->first);
    pv__alloc_free(x->mem, x->query, n * sizeof *x->query);
    pv__alloc_free_aligned(x->mem, x->queries, n * x->query_bytes, NEAR_ALIGN);
    pv__alloc_free(x->mem, x->centres, n * size);
    pv__alloc_free(x->mem, x, sizeof *x);
}

/* The code that rows of a graph are compared by whose own cannot be turned. */
static int near_make_own(pv__near *x, pv_error *err) {
    const pv__graph *g = x->g;
    const pv__code_spec spec = {
        .kind = PV__CODE_SQ8, .metric = g->metric, .dims = g->dims, .type = near_type(g)};
    if (!near_turns(g)) {
        PV_ASSERT(pv__code_init(&x->own, &spec, g->cpu));
    }
    return 0;
}

int pv__near_new(pv__graph *g, pv__walker *w, const uint32_t *slots, size_t count, uint32_t n,
                 pv__graph_interrupt_fn interrupt, void *ctx, pv__near **out, pv_error *err) {
    pv__mem *mem = pv__txn_mem(g->txn);
    pv__near *x = pv__alloc_zero(mem, sizeof *x);
    *out = NULL;
    if (!x) {
        return pv__err_nomem(err, sizeof *x);
    }
    *x = (pv__near){.g = g, .mem = mem, .n = n, .rows = count};
    x->node_cap = count + g->meta.node_high;
    int rc = near_make_own(x, err);
    if (rc == 0 && !near_alloc(x)) {
        rc = pv__err_nomem(err, x->node_cap);
    }
    rc = rc == 0 ? pv__walker_begin_build(w, g, 1, err) : rc;
    if (rc == 0) {
        near_learn l = {.x = x, .w = w, .interrupt = interrupt, .ctx = ctx};
        l.sample = PV_MIN((size_t)n * NEAR_SAMPLE, count);
        l.step = count / l.sample;
        l.made = *pv__near_code(x, w);
        l.made.type = PV_TYPE_F32;
        l.made.wide_bytes = 0;
        rc = near_build(&l, slots, err);
    }
    if (rc) {
        pv__near_free(x);
        return rc;
    }
    *out = x;
    return 0;
}

/* ---- scans: memory --------------------------------------------------------------------------- */

static void *near_take(uint8_t *memory, size_t *io_at, size_t bytes) {
    const size_t at = *io_at;
    *io_at = PV_ALIGN_UP(at + bytes, (size_t)NEAR_ALIGN);
    return memory ? memory + at : NULL;
}

/* Hits of a row; before them its cells are there. */
static size_t near_room(const pv__near_scan *s) {
    return pv__best_room(PV_MAX(s->rule.keep, NEAR_WANTS));
}

/* Called twice: to count, and to hand out. */
static void near_scan_places(pv__near_scan *s) {
    const size_t n = s->cap, room = near_room(s);
    const pv__code *const code = near_plain(s->x);
    size_t at = 0;
    s->queries = near_take(s->memory, &at, n * s->x->query_bytes);
    s->query = near_take(s->memory, &at, n * sizeof *s->query);
    s->asked = near_take(s->memory, &at, n * sizeof *s->asked);
    s->hits = near_take(s->memory, &at, n * sizeof *s->hits);
    s->hit_floats = near_take(s->memory, &at, n * room * sizeof *s->hit_floats);
    s->hit_ids = near_take(s->memory, &at, n * room * sizeof *s->hit_ids);
    s->rule.hits = near_take(s->memory, &at, room * sizeof *s->rule.hits);
    s->rule.bytes = near_take(s->memory, &at, room);
    s->large = near_take(s->memory, &at, n * sizeof *s->large);
    s->wants = near_take(s->memory, &at, n * NEAR_WANTS * sizeof *s->wants);
    s->panel.turned = near_take(s->memory, &at, pv__code_panel_bytes(code));
    if (near_own(s->x)) {
        s->turned = near_take(s->memory, &at, (size_t)PV__CODE_PANEL_ROWS * code->row_size);
        s->scratch = near_take(s->memory, &at, near_scratch(s->x));
    }
    s->distances = near_take(s->memory, &at, n * PV__CODE_PANEL_ROWS * sizeof *s->distances);
    s->bytes = at;
}

int pv__near_scan_init(pv__near_scan *s, pv__near *x, const pv__near_stop *stop, size_t rows,
                       pv_error *err) {
    *s = (pv__near_scan){.x = x, .cap = rows};
    s->rule = (pv__best_rule){
        .code = near_plain(x), .keep = stop->keep, .at = stop->at, .stop = stop->stop};
    near_scan_places(s);
    s->memory = pv__alloc_aligned(x->mem, s->bytes, NEAR_ALIGN);
    if (!s->memory) {
        return pv__err_nomem(err, s->bytes);
    }
    near_scan_places(s);
    for (size_t i = 0; i < rows; i++) {
        s->query[i] = s->queries + i * x->query_bytes;
        s->hits[i].distances = s->hit_floats + i * near_room(s);
        s->hits[i].ids = s->hit_ids + i * near_room(s);
    }
    s->rank = (pv__best_rule){.code = s->rule.code, .hits = s->rule.hits, .bytes = s->rule.bytes};
    return 0;
}

void pv__near_scan_done(pv__near_scan *s) {
    if (s->memory) {
        pv__alloc_free_aligned(s->x->mem, s->memory, s->bytes, NEAR_ALIGN);
    }
    s->memory = NULL;
}

/* ---- scans: who wants which cell ------------------------------------------------------------- */

/* The nearest first, in four waves, and in each by their number, so that rows meet at a cell. */
static bool near_want_before(const pv__near_want *a, const pv__near_want *b) {
    return a->cell < b->cell || (a->cell == b->cell && a->row < b->row);
}

PV__SORT_DEFINE(near_sort_wants, pv__near_want, near_want_before)

#define NEAR_WAVE 0x10000u /* times 0 to 3, added to a cell: which of the rows' nearest it is */

static uint32_t near_wave(size_t rank) { return rank == 0 ? 0 : rank < 3 ? 1 : rank < 7 ? 2 : 3; }

static uint32_t near_scan_rows(const pv__near *x) {
    return PV_MIN(PV_MAX(x->node_count / NEAR_PART, NEAR_SCAN_ROWS), NEAR_SCAN_MAX);
}

static void near_want(pv__near_scan *s, uint32_t row, const pv__hit *cells, size_t n) {
    size_t seen = 0;
    for (size_t i = 0; i < n && seen < near_scan_rows(s->x); i++) {
        const uint32_t cell = cells[i].slot, count = s->x->count[cell];
        s->large[row] = s->large[row] || count > NEAR_LARGE;
        if (s->large[row]) {
            break;
        }
        if (count > 0) {
            s->wants[s->want_count++] = (pv__near_want){cell + NEAR_WAVE * near_wave(i), row};
            seen += count;
        }
    }
}

/* The cells that rows want: of all nodes about near_scan_rows. */
static void near_rank(pv__near_scan *s, const pv__code *code) {
    const pv__near *x = s->x;
    const uint64_t cells = (uint64_t)x->n * near_scan_rows(x) / PV_MAX(x->node_count, 1u);
    s->rank.keep = (uint32_t)PV_MIN(cells + cells / 2 + NEAR_CELLS_MIN, (uint64_t)NEAR_WANTS);
    for (uint32_t c = 0; c < x->n; c += PV__CODE_PANEL_ROWS) {
        uint32_t ids[PV__CODE_PANEL_ROWS];
        s->panel.n = PV_MIN(x->n - c, PV__CODE_PANEL_ROWS);
        for (uint32_t k = 0; k < s->panel.n; k++) {
            s->panel.rows[k] = near_centre(x, c + k);
            ids[k] = c + k;
        }
        pv__code_panel_fill(code, &s->panel);
        pv__code_panel_distances(code, &s->panel, s->query, s->rows, s->distances);
        for (size_t i = 0; i < s->rows; i++) {
            pv__best_add(&s->rank, &s->hits[i], s->distances + i * PV__CODE_PANEL_ROWS, ids,
                         s->panel.n);
        }
    }
    for (size_t i = 0; i < s->rows; i++) {
        const size_t n = pv__best_take(&s->rank, &s->hits[i], UINT32_MAX);
        near_want(s, (uint32_t)i, s->rank.hits, n);
        pv__best_clear(&s->hits[i]);
    }
}

void pv__near_scan_begin(pv__near_scan *s, pv__walker *w, const uint8_t *codes, size_t from,
                         size_t rows) {
    pv__near *x = s->x;
    const pv__code *const code = pv__near_code(x, w);
    const size_t size = x->g->fine.row_size;
    s->codes = codes;
    s->from = from;
    s->rows = rows;
    s->want_count = s->at = s->at_row = s->wave = 0;
    for (size_t i = 0; i < rows; i++) {
        const uint8_t *row = near_row(x, codes + (from + i) * size, s->scratch, s->turned);
        pv__code_query_row(code, row, s->queries + i * x->query_bytes);
        pv__best_clear(&s->hits[i]);
        s->large[i] = false;
    }
    near_rank(s, code);
    near_sort_wants(s->wants, s->want_count);
}

/* ---- scans: the rows of a cell --------------------------------------------------------------- */

/* Rows [s->at_row, +32) of a cell to s->next, asked for. */
static int near_ask(pv__near_scan *s, pv__walker *w, uint32_t cell, pv_error *err) {
    const pv__near *x = s->x;
    const size_t size = x->g->fine.row_size;
    const uint32_t n = PV_MIN(x->count[cell] - s->at_row, PV__CODE_PANEL_ROWS);
    const uint32_t *ids = x->nodes + x->first[cell] + s->at_row;
    for (uint32_t i = 0; i < n; i++) {
        if (ids[i] & PV__NEAR_IN_BATCH) {
            s->next[i] = s->codes + (ids[i] & ~PV__NEAR_IN_BATCH) * size;
        } else {
            PV_TRY(pv__colview_row(&w->codes, ids[i], &s->next[i], err));
        }
        for (size_t at = 0; at < size; at += NEAR_LINE) {
            PV_PREFETCH(s->next[i] + at);
        }
    }
    return 0;
}

/* The rows that were asked for, n of them, and all that want their cell: wants [at, end). */
static int near_panel(pv__near_scan *s, pv__walker *w, uint32_t cell, size_t end, pv_error *err) {
    const pv__near *x = s->x;
    const pv__code *const code = pv__near_code(x, w);
    const uint32_t *ids = x->nodes + x->first[cell] + s->at_row;
    const size_t count = end - s->at;
    s->panel.n = PV_MIN(x->count[cell] - s->at_row, PV__CODE_PANEL_ROWS);
    for (size_t i = 0; i < s->panel.n; i++) {
        s->panel.rows[i] =
            near_row(x, s->next[i], s->scratch, s->turned + (near_own(x) ? i * code->row_size : 0));
    }
    pv__code_panel_fill(code, &s->panel);
    s->at_row += (uint32_t)s->panel.n;
    PV_TRY(near_ask(s, w, cell, err));
    pv__code_panel_distances(code, &s->panel, s->asked, count, s->distances);
    for (size_t i = 0; i < count; i++) {
        pv__best_add(&s->rule, &s->hits[s->wants[s->at + i].row],
                     s->distances + i * PV__CODE_PANEL_ROWS, ids, s->panel.n);
    }
    return 0;
}

/* Who wants the cell of wants[s->at]; *out_end is behind them. */
static uint32_t near_open(pv__near_scan *s, size_t *out_end) {
    const uint32_t want = s->wants[s->at].cell;
    size_t end = s->at;
    for (size_t i = 0; want / NEAR_WAVE > s->wave && i < s->rows; i++) {
        pv__best_tighten(&s->rule, &s->hits[i]);
    }
    s->wave = want / NEAR_WAVE;
    for (; end < s->want_count && s->wants[end].cell == want; end++) {
        s->asked[end - s->at] = s->query[s->wants[end].row];
    }
    *out_end = end;
    return want & (NEAR_WAVE - 1);
}

int pv__near_scan_run(pv__near_scan *s, pv__walker *w, bool *out_done, pv_error *err) {
    const pv__near *x = s->x;
    uint64_t work = 0;
    *out_done = false;
    while (s->at < s->want_count) {
        size_t end;
        const uint32_t cell = near_open(s, &end), count = x->count[cell];
        PV_TRY(near_ask(s, w, cell, err)); /* again behind a pause */
        while (s->at_row < count) {
            if (work > NEAR_WORK) {
                return 0;
            }
            PV_TRY(near_panel(s, w, cell, end, err));
            work += (uint64_t)s->panel.n * (end - s->at) * x->g->dims;
        }
        s->at = end;
        s->at_row = 0;
        if (pv__txn_tight(x->g->txn)) {
            break;
        }
    }
    *out_done = s->at == s->want_count;
    return 0;
}

size_t pv__near_scan_take(pv__near_scan *s, size_t row, const pv__hit **out) {
    *out = s->rule.hits;
    return pv__best_take(&s->rule, &s->hits[row - s->from], (uint32_t)row | PV__NEAR_IN_BATCH);
}

#undef NEAR_ROUNDS
#undef NEAR_SAMPLE
#undef NEAR_CELL_ROWS
#undef NEAR_CELLS_MIN
#undef NEAR_SHARE
#undef NEAR_SCAN_ROWS
#undef NEAR_PART
#undef NEAR_SCAN_MAX
#undef NEAR_LARGE
#undef NEAR_WANTS
#undef NEAR_PAUSE
#undef NEAR_WORK
#undef NEAR_ALIGN
#undef NEAR_LINE
#undef NEAR_WAVE
