/* SPDX-License-Identifier: Apache-2.0 */
/* walker.c - the memory of a walk: grown when a graph or a pool is larger than those before, else
 * used again as it is. */
#include "ann/shape.h"

#define WALKER_ALIGN 64u
#define WALKER_VIEWS (6u + PV__GRAPH_LEVELS)
#define WALKER_MARKS 16384u /* words of `visited` that are cleared one by one */

int pv__walker_new(pv__mem *mem, pv__walker **out, pv_error *err) {
    pv__walker *w = pv__alloc_zero(mem, sizeof *w);
    if (!w) {
        return pv__err_nomem(err, sizeof *w);
    }
    w->mem = mem;
    w->skip = PV__NODE_NONE;
    w->marks = pv__alloc_array(mem, WALKER_MARKS, sizeof *w->marks);
    if (!w->marks) {
        pv__walker_free(w);
        return pv__err_nomem(err, WALKER_MARKS * sizeof *w->marks);
    }
    w->mark_cap = WALKER_MARKS;
    *out = w;
    return 0;
}

static void walker_views(pv__walker *w, pv__colview *out[WALKER_VIEWS]) {
    pv__colview *const views[] = {&w->links,   &w->codes,   &w->second,
                                  &w->slot_of, &w->vectors, &w->node_of};
    memcpy(out, views, sizeof views);
    for (size_t i = 0; i < PV__GRAPH_LEVELS; i++) {
        out[PV_COUNTOF(views) + i] = &w->upper[i];
    }
}

void pv__walker_free(pv__walker *w) {
    if (!w) {
        return;
    }
    pv__mem *mem = w->mem;
    for (size_t i = 0; i < PV_COUNTOF(w->helpers); i++) {
        pv__walker_free(w->helpers[i]);
    }
    pv__alloc_free(mem, w->visited, w->visited_words * sizeof *w->visited);
    pv__alloc_free(mem, w->marks, w->mark_cap * sizeof *w->marks);
    pv__alloc_free(mem, w->pool, w->pool_cap * sizeof *w->pool);
    pv__queue_done(&w->front, mem);
    pv__alloc_free_aligned(mem, w->query, w->query_bytes, WALKER_ALIGN);
    pv__alloc_free_aligned(mem, w->pair, w->query_bytes, WALKER_ALIGN);
    pv__colview *views[WALKER_VIEWS];
    walker_views(w, views);
    for (size_t i = 0; i < PV_COUNTOF(views); i++) {
        pv__colview_done(views[i], mem);
    }
    for (size_t i = 0; i < PV_COUNTOF(w->books); i++) {
        pv__alloc_free_aligned(mem, w->books[i].data, w->books[i].size, WALKER_ALIGN);
    }
    pv__alloc_free(mem, w->lower, w->lower_cap * sizeof *w->lower);
    pv__alloc_free(mem, w->hits, w->hit_cap * sizeof *w->hits);
    w->vector_stash.mem = w->fine_stash.mem = w->link_stash.mem = mem;
    pv__stash_done(&w->vector_stash);
    pv__stash_done(&w->fine_stash);
    pv__stash_done(&w->link_stash);
    pv__alloc_free(mem, w->seen_ranks, w->seen_cap * sizeof *w->seen_ranks);
    pv__alloc_free(mem, w, sizeof *w);
}

int pv__walker_helper(pv__walker *w, unsigned index, pv__walker **out, pv_error *err) {
    if (!w->helpers[index]) {
        PV_TRY(pv__walker_new(w->mem, &w->helpers[index], err));
    }
    *out = w->helpers[index];
    return 0;
}

pv__hit *pv__walker_hits(pv__walker *w, size_t want, pv_error *err) {
    return pv__alloc_grow(w->mem, (void **)&w->hits, &w->hit_cap, want, sizeof *w->hits, err) == 0
               ? w->hits
               : NULL;
}

void pv__walker_clear(pv__walker *w) {
    if (w->marks_lost) {
        memset(w->visited, 0, w->visited_words * sizeof *w->visited);
    } else {
        for (size_t i = 0; i < w->mark_count; i++) {
            w->visited[w->marks[i]] = 0;
        }
    }
    w->mark_count = 0;
    w->marks_lost = false;
}

int pv__walker_pause(pv__walker *w, pv__txn *txn, pv_error *err) {
    PV_TRY(pv__txn_pause(txn, err));
    pv__sights_now(&w->sights, txn);
    pv__colview *views[WALKER_VIEWS];
    walker_views(w, views);
    for (size_t i = 0; i < PV_COUNTOF(views); i++) {
        pv__colview *v = views[i];
        if (v->c.txn == txn) { /* others are opened before they are used */
            PV_TRY(pv__colview_open(v, &v->c, v->slots, &w->sights, w->mem, err));
        }
    }
    return 0;
}

/* All bits are 0 before and after. */
static int walker_visited(pv__walker *w, uint32_t nodes, pv_error *err) {
    const size_t want = (size_t)nodes / 64 + 1;
    if (want <= w->visited_words) {
        return 0;
    }
    const size_t words = want + want / 8;
    uint64_t *fresh = pv__alloc_array(w->mem, words, sizeof *fresh);
    if (!fresh) {
        return pv__err_nomem(err, words * sizeof *fresh);
    }
    memset(fresh, 0, words * sizeof *fresh);
    pv__alloc_free(w->mem, w->visited, w->visited_words * sizeof *w->visited);
    w->visited = fresh;
    w->visited_words = words;
    return 0;
}

static int walker_query(pv__walker *w, size_t bytes, pv_error *err) {
    if (bytes <= w->query_bytes) {
        return 0;
    }
    uint8_t *query = pv__alloc_aligned(w->mem, bytes, WALKER_ALIGN);
    uint8_t *pair = pv__alloc_aligned(w->mem, bytes, WALKER_ALIGN);
    if (!query || !pair) {
        pv__alloc_free_aligned(w->mem, query, bytes, WALKER_ALIGN);
        pv__alloc_free_aligned(w->mem, pair, bytes, WALKER_ALIGN);
        return pv__err_nomem(err, bytes);
    }
    pv__alloc_free_aligned(w->mem, w->query, w->query_bytes, WALKER_ALIGN);
    pv__alloc_free_aligned(w->mem, w->pair, w->query_bytes, WALKER_ALIGN);
    w->query = query;
    w->pair = pair;
    w->query_bytes = bytes;
    return 0;
}

static int walker_view(pv__walker *w, pv__colview *v, const pv__column *c, uint32_t slots,
                       pv_error *err) {
    return pv__colview_open(v, c, slots, &w->sights, w->mem, err);
}

static int walker_begin(pv__walker *w, const pv__graph *g, const pv__column *codes, size_t ef,
                        bool still, pv_error *err) {
    const uint32_t nodes = PV_MAX(g->meta.node_high, 1u), links = PV_MAX(g->shape->rows(g), 1u);
    const uint32_t slots = PV_MAX(g->slots, 1u);
    pv__walker_clear(w);
    w->doubt = w->lift = 0;
    PV_TRY(walker_visited(w, nodes, err));
    const size_t query = PV_MAX(g->code.query_bytes, g->fine.query_bytes);
    PV_TRY(walker_query(w, PV_MAX(query, (size_t)g->centre.query_bytes), err));
    PV_TRY(pv__alloc_grow(w->mem, (void **)&w->pool, &w->pool_cap, ef + 1, sizeof *w->pool, err));
    PV_TRY(pv__alloc_grow(w->mem, (void **)&w->seen_ranks, &w->seen_cap, ef + 1,
                          sizeof *w->seen_ranks, err));
    pv__sights_now(&w->sights, g->txn);
    if (still) {
        pv__sights_still(&w->sights);
    }
    PV_TRY(walker_view(w, &w->links, &g->links, links, err));
    PV_TRY(walker_view(w, &w->codes, codes, nodes, err));
    PV_TRY(walker_view(w, &w->slot_of, &g->slot_of, nodes, err));
    PV_TRY(walker_view(w, &w->vectors, g->vectors, slots, err));
    w->vectors.stash = w->second.stash = w->links.stash = NULL;
    w->fines = &w->codes;
    if (codes != &g->fines) {
        w->fines = &w->second;
        PV_TRY(walker_view(w, w->fines, &g->fines, nodes, err));
    }
    return pv__book_load(w, g, err);
}

/* What a search looks at once need not stay. */
static void walker_stash(pv__colview *v, pv__stash *stash, pv__mem *mem) {
    stash->mem = mem;
    stash->count = 0;
    v->stash = stash;
}

int pv__walker_begin(pv__walker *w, const pv__graph *g, size_t ef, pv_error *err) {
    w->coarse = g->split && (g->code.kind != PV__CODE_PQ || g->meta.coded);
    PV_TRY(walker_begin(w, g, w->coarse ? &g->codes : &g->fines, ef, false, err));
    w->code = w->coarse ? w->code : w->fine;
    walker_stash(&w->vectors, &w->vector_stash, w->mem);
    if (w->coarse) {
        walker_stash(&w->second, &w->fine_stash, w->mem);
    }
    if (g->meta.shape == PV__SHAPE_LINKS) {
        walker_stash(&w->links, &w->link_stash, w->mem);
    }
    return 0;
}

static int walker_begin_fine(pv__walker *w, const pv__graph *g, size_t ef, bool still,
                             pv_error *err) {
    PV_TRY(walker_begin(w, g, &g->fines, ef, still, err));
    w->code = w->fine;
    w->coarse = false;
    return 0;
}

int pv__walker_begin_build(pv__walker *w, const pv__graph *g, size_t ef, pv_error *err) {
    return walker_begin_fine(w, g, ef, false, err);
}

int pv__walker_begin_plan(pv__walker *w, const pv__graph *g, size_t ef, pv_error *err) {
    return walker_begin_fine(w, g, ef, true, err);
}

int pv__walker_upper(pv__walker *w, const pv__graph *g, uint32_t level, pv_error *err) {
    return walker_view(w, &w->upper[level], &g->upper[level], g->meta.levels[level].high, err);
}

#undef WALKER_ALIGN
#undef WALKER_MARKS
#undef WALKER_VIEWS
