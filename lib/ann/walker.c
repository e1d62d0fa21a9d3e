/* SPDX-License-Identifier: Apache-2.0 */
/* walker.c - the memory of a walk: grown when a graph or a pool is larger than those before, else
 * used again as it is. */
#include "ann/internal.h"

#define WALKER_ALIGN 64u
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
    pv__alloc_free(mem, w->front, w->front_cap * sizeof *w->front);
    pv__alloc_free_aligned(mem, w->query, w->query_bytes, WALKER_ALIGN);
    pv__alloc_free_aligned(mem, w->pair, w->query_bytes, WALKER_ALIGN);
    pv__alloc_free(mem, w->groups, w->group_cap * sizeof *w->groups);
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
    pv__colview_reset(&w->links);
    pv__colview_reset(&w->codes);
    pv__colview_reset(&w->slot_of);
    pv__colview_reset(&w->vectors);
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

int pv__walker_begin(pv__walker *w, const pv__graph *g, size_t ef, pv_error *err) {
    const uint32_t nodes = PV_MAX(g->meta.node_high, 1u);
    const uint32_t slots = PV_MAX(g->slots, 1u);
    const uint32_t link_groups = pv__colview_groups(&g->links, nodes);
    const uint32_t code_groups = pv__colview_groups(&g->codes, nodes);
    const uint32_t slot_groups = pv__colview_groups(&g->slot_of, nodes);
    const uint32_t vector_groups = pv__colview_groups(g->vectors, slots);
    pv__walker_clear(w);
    PV_TRY(walker_visited(w, nodes, err));
    PV_TRY(walker_query(w, g->code.query_bytes, err));
    PV_TRY(pv__alloc_grow(w->mem, (void **)&w->pool, &w->pool_cap, ef + 1, sizeof *w->pool, err));
    PV_TRY(pv__alloc_grow(w->mem, (void **)&w->seen_ranks, &w->seen_cap, ef + 1,
                          sizeof *w->seen_ranks, err));
    PV_TRY(pv__alloc_grow(w->mem, (void **)&w->groups, &w->group_cap,
                          (size_t)link_groups + code_groups + slot_groups + vector_groups,
                          sizeof *w->groups, err));
    pv__colview_init(&w->links, &g->links, nodes, w->groups);
    pv__colview_init(&w->codes, &g->codes, nodes, w->groups + link_groups);
    pv__colview_init(&w->slot_of, &g->slot_of, nodes, w->groups + link_groups + code_groups);
    pv__colview_init(&w->vectors, g->vectors, slots,
                     w->groups + link_groups + code_groups + slot_groups);
    return 0;
}

#undef WALKER_ALIGN
#undef WALKER_MARKS
