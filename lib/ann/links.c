/* SPDX-License-Identifier: Apache-2.0 */
/* links.c - adding links to a node's list, and keeping the tree of protected links (G1, G2).
 *
 * A list that would overflow is pruned to PV__LINKS_KEEP, so that the next few additions need no
 * pruning (the headroom of faiss). */
#include "ann/build.h"

#define LINKS_CANDIDATES (PV__GRAPH_DEGREE + PV__INCOMING_MAX)

typedef struct links_list {
    pv__candidate c[LINKS_CANDIDATES];
    size_t count, fresh; /* fresh: among them, not in the row yet */
    bool changed;
} links_list;

static size_t links_find(const links_list *l, uint32_t node) {
    size_t i = 0;
    while (i < l->count && l->c[i].node != node) {
        i++;
    }
    return i;
}

static void links_load(links_list *l, const uint8_t *row) {
    l->count = pv__links_count(row);
    l->fresh = 0;
    l->changed = false;
    for (unsigned i = 0; i < l->count; i++) {
        const uint32_t link = pv__links_at(row, i);
        l->c[i] = (pv__candidate){.node = link & ~PV__PROTECTED, .keep = link & PV__PROTECTED};
    }
}

/* incoming: sorted by distance; those beyond INCOMING_MAX are left out. A protected one comes
 * alone. */
static void links_merge(links_list *l, const pv__edge *incoming, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const size_t at = links_find(l, incoming[i].source);
        if (at < l->count) {
            l->changed = l->changed || (incoming[i].keep && !l->c[at].keep);
            l->c[at].keep = l->c[at].keep || incoming[i].keep;
        } else if (l->fresh < PV__INCOMING_MAX) {
            l->c[l->count++] = (pv__candidate){.distance = incoming[i].distance,
                                               .node = incoming[i].source,
                                               .keep = incoming[i].keep};
            l->fresh++;
            l->changed = true;
        }
    }
}

int pv__links_write(pv__graph *g, uint32_t node, unsigned state, const pv__candidate *c, size_t n,
                    pv_error *err) {
    uint8_t *row;
    unsigned kept = 0;
    PV_TRY(pv__column_write(&g->links, node, &row, err));
    memset(row + 4, 0, PV__LINKS_BYTES - 4);
    for (unsigned i = 0; i < n; i++) {
        pv__links_set(row, i, c[i].node | (c[i].keep ? PV__PROTECTED : 0));
        kept += c[i].keep ? 1u : 0u;
    }
    pv__links_head_set(row, (unsigned)n, state, kept);
    return 0;
}

int pv__links_prune(pv__graph *g, pv__walker *w, uint32_t node, pv__candidate *c, size_t *io_n,
                    pv_error *err) {
    const uint8_t *row;
    PV_TRY(pv__colview_row(&w->codes, node, &row, err));
    pv__code_query_link(&w->code, row, w->query);
    PV_TRY(pv__candidates_measure(g, w, c, *io_n, err));
    *io_n = pv__prune(&w->code, w->pair, c, *io_n, PV__LINKS_KEEP, PV__GRAPH_SLACK);
    return 0;
}

int pv__links_add(pv__graph *g, pv__walker *w, uint32_t node, const pv__edge *incoming, size_t n,
                  pv_error *err) {
    const uint8_t *row;
    links_list l;
    PV_TRY(pv__colview_row(&w->links, node, &row, err));
    const unsigned state = pv__links_state(row);
    links_load(&l, row);
    links_merge(&l, incoming, n);
    if (!l.changed) {
        return 0;
    }
    if (l.count > PV__GRAPH_DEGREE) {
        PV_TRY(pv__links_prune(g, w, node, l.c, &l.count, err));
    }
    return pv__links_write(g, node, state, l.c, l.count, err);
}

int pv__links_child(pv__graph *g, pv__walker *w, uint32_t from, uint32_t node, float distance,
                    pv_error *err) {
    const pv__edge edge = {.target = from, .source = node, .distance = distance, .keep = true};
    for (uint32_t steps = 0; steps <= g->meta.node_high; steps++) {
        const uint8_t *row;
        PV_TRY(pv__colview_row(&w->links, from, &row, err));
        if (pv__links_protected(row) < PV__PROTECTED_MAX) {
            return pv__links_add(g, w, from, &edge, 1, err);
        }
        for (unsigned i = 0; i < pv__links_count(row); i++) {
            const uint32_t link = pv__links_at(row, i);
            if (link & PV__PROTECTED) { /* the first of them: a tree, so this ends at a leaf */
                from = link & ~PV__PROTECTED;
                break;
            }
        }
        if (from >= g->meta.node_high) {
            break;
        }
    }
    return pv__graph_corrupt(g, from, "its protected links make no tree", err);
}

#undef LINKS_CANDIDATES
