/* SPDX-License-Identifier: Apache-2.0 */
/* sift.c - exact search by codes: which nodes can be among the nearest?
 *
 *      pages of codes --> rows --bound--> no, nearly always: farther than k others for certain
 *                                   '---> maybe: a node that lives and is allowed?
 *                                           low   -> maybe, a queue: what is to be measured
 *                                           high  -> high, a heap: the k-th is how far one may be
 *
 * No vector is read here. In the end the caller measures what is in the queue, nearest first, until
 * what is left is farther for certain than the k-th that it has found. Each query has its own heap
 * and queue; a block of codes that was read is compared with all queries. */
#include <math.h>

#include "ann/internal.h"

#define SIFT_ROWS 512u                 /* collected */
#define SIFT_BYTES ((size_t)128 << 10) /* of them, where many queries shall find them cached */
#define SIFT_ALIGN 64u
#define SIFT_KEEP 1024u /* of a queue, before it is looked through, and 8 k */
#define SIFT_PAGES 32u
/* As of the sieve of the engine: what passes costs as much as so many that do not. */
#define SIFT_PAIRS_MIN ((uint64_t)1 << 16)
#define SIFT_PASS_SHARE 32u
#define SIFT_WARM 64u /* times k: what passes while bounds settle */

bool pv__sift_can(const pv__graph *g) {
    return g->built && !g->split && pv__bound_can(&g->code) && g->meta.node_count > 0;
}

uint32_t pv__sift_pages_count(const pv__graph *g) {
    const uint32_t rows = g->codes.rows_per_page;
    return (g->meta.node_high + rows - 1) / rows;
}

/* ---- memory ---------------------------------------------------------------------------------- */

int pv__sift_begin(pv__sift *s, pv__graph *g, pv__walker *w, const void *const *vectors,
                   size_t count, size_t k, float max_distance, const pv__allowed *allowed,
                   bool *out_known, pv_error *err) {
    pv__mem *mem = w->mem;
    const size_t room = PV_ALIGN_UP((size_t)g->code.query_bytes, (size_t)SIFT_ALIGN);
    const size_t fits = PV_MAX(SIFT_BYTES / g->code.row_size, (size_t)PV__BOUND_ROWS);
    *s = (pv__sift){.g = g, .w = w, .allowed = allowed, .max_distance = max_distance, .k = k};
    s->query_count = count;
    s->prepared_bytes = room * count;
    s->held = count > 1 ? (uint32_t)PV_MIN(fits, (size_t)SIFT_ROWS) : SIFT_ROWS;
    s->queries = pv__alloc_zero(mem, count * sizeof *s->queries);
    s->highs = pv__alloc_array(mem, count * k, sizeof *s->highs);
    s->prepared = pv__alloc_aligned(mem, s->prepared_bytes, SIFT_ALIGN);
    s->rows = pv__alloc_array(mem, SIFT_ROWS, sizeof *s->rows);
    s->nodes = pv__alloc_array(mem, SIFT_ROWS, sizeof *s->nodes);
    if (!s->queries || !s->highs || !s->prepared || !s->rows || !s->nodes) {
        return pv__err_nomem(err, s->prepared_bytes);
    }
    *out_known = true;
    for (size_t i = 0; i < count && *out_known; i++) {
        pv__sift_query *q = &s->queries[i];
        q->high = (pv__topk){s->highs + i * k, 0, k};
        q->keep = SIFT_KEEP + 8 * k;
        *out_known = pv__bound_init(&q->bound, &g->code, vectors[i], s->prepared + i * room);
        if (*out_known) {
            pv__bound_within(&q->bound, max_distance);
        }
    }
    return pv__walker_begin(w, g, 1, err);
}

void pv__sift_done(pv__sift *s) {
    if (!s->w) {
        return;
    }
    pv__mem *mem = s->w->mem;
    for (size_t i = 0; s->queries && i < s->query_count; i++) {
        pv__queue_done(&s->queries[i].maybe, mem);
    }
    pv__alloc_free(mem, s->queries, s->query_count * sizeof *s->queries);
    pv__alloc_free(mem, s->highs, s->query_count * s->k * sizeof *s->highs);
    pv__alloc_free_aligned(mem, s->prepared, s->prepared_bytes, SIFT_ALIGN);
    pv__alloc_free(mem, s->rows, SIFT_ROWS * sizeof *s->rows);
    pv__alloc_free(mem, s->nodes, SIFT_ROWS * sizeof *s->nodes);
    *s = (pv__sift){.w = NULL};
}

/* ---- rows ------------------------------------------------------------------------------------ */

static float sift_bound(const pv__sift *s, const pv__sift_query *q) {
    return PV_MIN(pv__topk_bound(&q->high), s->max_distance);
}

/* What can be no more goes. */
static void sift_look_through(const pv__sift *s, pv__sift_query *q) {
    const float bound = sift_bound(s, q);
    size_t n = 0;
    for (size_t i = 0; i < q->maybe.count; i++) {
        if (q->maybe.hits[i].distance <= bound) {
            q->maybe.hits[n++] = q->maybe.hits[i];
        }
    }
    q->maybe.count = n;
    pv__queue_order(&q->maybe);
    q->keep = PV_MAX(q->keep, 2 * n);
}

static int sift_add(pv__sift *s, pv__sift_query *q, pv__hit low, float high, pv_error *err) {
    const float before = sift_bound(s, q);
    PV_TRY(pv__queue_push(&q->maybe, s->w->mem, low, err));
    pv__topk_add(&q->high, high, low.slot);
    if (sift_bound(s, q) < before) {
        pv__bound_within(&q->bound, sift_bound(s, q));
    }
    if (q->maybe.count > q->keep) {
        sift_look_through(s, q);
    }
    return 0;
}

/* A node with a slot that is allowed. */
static int sift_counts(pv__sift *s, uint32_t node, bool *out_lives, bool *out, pv_error *err) {
    uint32_t slots = 0;
    PV_TRY(pv__search_counts(s->g, s->w, s->allowed, node, 1, UINT32_MAX, out_lives, &slots, err));
    *out = slots > 0;
    return 0;
}

/* Rows [from, from + n) of those collected. */
static int sift_block(pv__sift *s, pv__sift_query *q, uint32_t from, uint32_t n, pv_error *err) {
    float low[PV__BOUND_ROWS], high[PV__BOUND_ROWS];
    const bool full = q->high.count == q->high.k;
    uint32_t bits = pv__bound_rows(&q->bound, s->rows + from, n, s->count - from, low, high);
    for (; bits != 0; bits &= bits - 1) {
        const uint32_t r = (uint32_t)__builtin_ctz(bits);
        bool lives = false, counts = false;
        if (low[r] > sift_bound(s, q)) {
            continue;
        }
        PV_TRY(sift_counts(s, s->nodes[from + r], &lives, &counts, err));
        s->passed += lives && full ? 1u : 0u;
        if (counts) {
            const pv__hit hit = {low[r], s->nodes[from + r]};
            PV_TRY(sift_add(s, q, hit, high[r], err));
        }
    }
    s->pairs += full ? n : 0;
    return 0;
}

static int sift_run(pv__sift *s, pv_error *err) {
    for (size_t i = 0; i < s->query_count; i++) {
        for (uint32_t r = 0; r < s->count; r += PV__BOUND_ROWS) {
            PV_TRY(sift_block(s, &s->queries[i], r, PV_MIN(s->count - r, PV__BOUND_ROWS), err));
        }
    }
    s->count = 0;
    return 0;
}

static int sift_page(pv__sift *s, const uint8_t *rows, uint32_t first, pv_error *err) {
    const uint32_t n = PV_MIN(s->g->codes.rows_per_page, s->g->meta.node_high - first);
    const size_t row_size = s->g->codes.row_size;
    for (uint32_t r = 0; r < n; r++) {
        s->rows[s->count] = rows + r * row_size;
        s->nodes[s->count] = first + r;
        if (++s->count == s->held) {
            PV_TRY(sift_run(s, err));
        }
    }
    return 0;
}

static bool sift_pays(const pv__sift *s) {
    const uint64_t warm = (uint64_t)SIFT_WARM * s->query_count * PV_MAX(s->k, (size_t)8);
    return s->pairs < SIFT_PAIRS_MIN || s->passed < warm + s->pairs / SIFT_PASS_SHARE;
}

/* A page of codes that is not there: not where nodes have links, which never go. */
static int sift_missing(const pv__graph *g, uint32_t ordinal, pv_error *err) {
    return g->meta.shape != PV__SHAPE_LINKS
               ? 0
               : pv__graph_corrupt(g, ordinal * g->codes.rows_per_page, "its code is gone", err);
}

int pv__sift_pages(pv__sift *s, uint32_t from, uint32_t end, bool *out_pays, pv_error *err) {
    const pv__column *codes = &s->g->codes;
    uint64_t ids[SIFT_PAGES];
    *out_pays = true;
    for (uint32_t at = from; at < end && *out_pays; at += SIFT_PAGES) {
        const uint32_t n = PV_MIN(end - at, SIFT_PAGES);
        PV_TRY(pv__column_page_ids(codes, at, n, ids, err));
        pv__pages_expect(s->g->txn, ids, n);
        for (uint32_t i = 0; i < n; i++) {
            const uint8_t *rows = NULL;
            PV_TRY(pv__column_page_at(codes, ids[i], at + i, &rows, err));
            PV_TRY(rows ? sift_page(s, rows, (at + i) * codes->rows_per_page, err)
                        : sift_missing(s->g, at + i, err));
        }
        *out_pays = sift_pays(s);
    }
    return *out_pays && s->count > 0 ? sift_run(s, err) : 0;
}

/* ---- what was found -------------------------------------------------------------------------- */

int pv__sift_merge(pv__sift *s, const pv__sift *other, pv_error *err) {
    for (size_t i = 0; i < s->query_count; i++) {
        pv__sift_query *q = &s->queries[i];
        const pv__sift_query *o = &other->queries[i];
        for (size_t h = 0; h < o->high.count; h++) {
            pv__topk_add(&q->high, o->high.hits[h].distance, o->high.hits[h].slot);
        }
        for (size_t h = 0; h < o->maybe.count; h++) {
            PV_TRY(pv__queue_push(&q->maybe, s->w->mem, o->maybe.hits[h], err));
        }
    }
    return 0;
}

int pv__sift_next(pv__sift *s, size_t query, float bound, pv__hit *out_node, uint32_t *out_slot,
                  bool *out_any, pv_error *err) {
    pv__sift_query *q = &s->queries[query];
    const uint8_t *row;
    *out_any = q->maybe.count > 0 && q->maybe.hits[0].distance <= PV_MIN(bound, sift_bound(s, q));
    if (!*out_any) {
        return 0;
    }
    *out_node = pv__queue_pop(&q->maybe);
    PV_TRY(pv__colview_row(&s->w->slot_of, out_node->slot, &row, err));
    *out_slot = pv__get32(row) & ~PV__SLOT_MORE;
    return 0;
}

typedef struct sift_taker {
    const pv__allowed *allowed;
    pv__graph_take_fn take;
    void *ctx;
} sift_taker;

static int sift_take(void *ctx, uint32_t slot, pv_error *err) {
    const sift_taker *t = ctx;
    bool counts = false;
    PV_TRY(pv__allowed_test(t->allowed, slot, &counts, err));
    return counts ? t->take(t->ctx, slot, err) : 0;
}

int pv__sift_slots(pv__sift *s, uint32_t node, pv__graph_take_fn take, void *ctx, pv_error *err) {
    sift_taker t = {s->allowed, take, ctx};
    const uint8_t *row;
    PV_TRY(pv__colview_row(&s->w->slot_of, node, &row, err));
    const uint32_t word = pv__get32(row);
    PV_TRY(sift_take(&t, word & ~PV__SLOT_MORE, err));
    return word & PV__SLOT_MORE ? pv__search_each_dup(s->g, node, sift_take, &t, err) : 0;
}

#undef SIFT_ROWS
#undef SIFT_BYTES
#undef SIFT_ALIGN
#undef SIFT_KEEP
#undef SIFT_PAGES
#undef SIFT_PAIRS_MIN
#undef SIFT_PASS_SHARE
#undef SIFT_WARM
