/* SPDX-License-Identifier: Apache-2.0 */
/* upper.c - the levels above 0: a node that is in level n is in all below it. Each has rows of its
 * own, addressed by rank, whose links name the node (for its code) and the rank (to go on). */
#include "ann/build.h"

#define UPPER_BEAM 32u

static int upper_rank_take(pv__graph *g, uint32_t level, uint32_t *out, pv_error *err) {
    pv__graph_level *l = &g->meta.levels[level];
    if (l->free == 0) {
        *out = l->high++;
        return 0;
    }
    const uint8_t *row;
    const uint32_t rank = l->free - 1;
    PV_TRY(pv__column_read(&g->upper[level], rank, &row, err));
    if (pv__upper_used(row) || pv__upper_next(row) > l->high) {
        return pv__graph_corrupt(g, rank, "an upper row is in the list of free ones", err);
    }
    l->free = pv__upper_next(row);
    *out = rank;
    return 0;
}

static int upper_write(pv__graph *g, uint32_t level, uint32_t rank, uint32_t node, uint32_t down,
                       const pv__candidate *links, size_t count, pv_error *err) {
    uint8_t *row;
    PV_TRY(pv__column_write(&g->upper[level], rank, &row, err));
    memset(row, 0, PV__LINKS_BYTES);
    pv__put32(row, (uint32_t)count | PV__UPPER_USED);
    pv__put32(row + 4, node);
    pv__put32(row + 8, down);
    for (unsigned i = 0; i < count; i++) {
        pv__upper_set(row, i, links[i].node, links[i].rank);
    }
    return 0;
}

/* Links of a row as candidates, behind those that are there; measured from the row's node. */
static int upper_load(pv__graph *g, pv__walker *w, const uint8_t *row, pv__candidate *c, size_t *io,
                      pv_error *err) {
    const uint8_t *own;
    PV_TRY(pv__colview_row(&w->codes, pv__upper_node(row), &own, err));
    pv__code_query_link(&w->code, own, w->query);
    for (unsigned i = 0; i < PV_MIN(pv__upper_count(row), PV__UPPER_DEGREE); i++) {
        c[(*io)++] =
            (pv__candidate){.node = pv__upper_link(row, i), .rank = pv__upper_rank(row, i)};
    }
    return pv__candidates_measure(g, w, c, *io, err);
}

/* A link back from row `rank` to the new one. */
static int upper_link_back(pv__graph *g, pv__walker *w, uint32_t level, uint32_t rank,
                           uint32_t node, uint32_t node_rank, pv_error *err) {
    const uint8_t *row;
    pv__candidate c[PV__UPPER_DEGREE + 1] = {{.node = node, .rank = node_rank}};
    PV_TRY(pv__column_read(&g->upper[level], rank, &row, err));
    const unsigned count = pv__upper_count(row);
    if (count < PV__UPPER_DEGREE) {
        uint8_t *out;
        PV_TRY(pv__column_write(&g->upper[level], rank, &out, err));
        pv__upper_set(out, count, node, node_rank);
        pv__put32(out, (count + 1) | PV__UPPER_USED);
        return 0;
    }
    size_t n = 1;
    const uint32_t own = pv__upper_node(row), down = pv__upper_down(row);
    PV_TRY(upper_load(g, w, row, c, &n, err));
    n = pv__prune(&w->code, w->pair, c, n, PV__UPPER_KEEP, PV__GRAPH_SLACK);
    return upper_write(g, level, rank, own, down, c, n, err);
}

/* Into one level; `down` is its rank below. */
static int upper_insert_at(pv__graph *g, pv__walker *w, uint32_t level, uint32_t node,
                           uint32_t down, uint32_t *out_rank, pv_error *err) {
    pv__candidate c[UPPER_BEAM];
    size_t count = 0;
    const uint8_t *own;
    PV_TRY(pv__colview_row(&w->codes, node, &own, err));
    pv__code_query_link(&w->code, own, w->query);
    PV_TRY(pv__walk_upper(g, w, level + 1, UPPER_BEAM, &count, err));
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *links;
        PV_TRY(pv__colview_row(&w->links, w->pool[i].slot, &links, err));
        if (pv__links_state(links) == PV__NODE_LIVE) { /* G4 */
            c[n] = (pv__candidate){
                .distance = w->pool[i].distance, .node = w->pool[i].slot, .rank = w->seen_ranks[i]};
            PV_TRY(pv__colview_row(&w->codes, c[n].node, &c[n].row, err));
            n++;
        }
    }
    count = n;
    count = pv__prune(&w->code, w->pair, c, count, PV__UPPER_KEEP, PV__GRAPH_SLACK);
    PV_TRY(pv__graph_level_begin(g, level, err));
    PV_TRY(upper_rank_take(g, level, out_rank, err));
    PV_TRY(upper_write(g, level, *out_rank, node, down, c, count, err));
    for (size_t i = 0; i < count; i++) {
        PV_TRY(upper_link_back(g, w, level, c[i].rank, node, *out_rank, err));
    }
    pv__graph_level *l = &g->meta.levels[level];
    l->count++;
    if (l->entry == 0) {
        l->entry = *out_rank + 1;
        g->meta.level_count = level + 1;
    }
    g->changed = true;
    return 0;
}

int pv__upper_insert(pv__graph *g, pv__walker *w, uint32_t node, pv_error *err) {
    const uint32_t levels = PV_MIN(pv__graph_level_of(g, node), g->meta.level_count + 1);
    uint32_t down = node;
    for (uint32_t level = 0; level < levels && level < PV__GRAPH_LEVELS; level++) {
        uint32_t rank = 0;
        PV_TRY(upper_insert_at(g, w, level, node, down, &rank, err));
        down = rank;
    }
    return 0;
}

#undef UPPER_BEAM
