/* SPDX-License-Identifier: Apache-2.0 */
/* prune.c - which of many candidates become neighbours: RobustPrune of Vamana (Subramanya et al.,
 * DiskANN, 2019), the rule of HNSW with a slack.
 *
 *      nearest first; c is hidden when slack * d(s, c) <= d(place, c) for a kept s
 *
 * dot: without the slack. Distances are -dot, of which a tenth means nothing; lifted by the largest
 * product, it would hide next to nothing where lengths differ (recall 0.957 instead of 0.988).
 *
 * A kept one is compared with all that are left in one call of the kernel, instead of each with
 * all that are kept. */
#include "ann/internal.h"
#include "base/sort.h"

#define PRUNE_BLOCK 64u

static bool prune_before(const pv__candidate *a, const pv__candidate *b) {
    return a->distance < b->distance || (a->distance == b->distance && a->node < b->node);
}

PV__SORT_DEFINE(prune_sort, pv__candidate, prune_before)

void pv__candidates_rank(const pv__code *code, const void *query, pv__candidate *c, size_t n) {
    for (size_t from = 0; from < n; from += PRUNE_BLOCK) {
        const uint8_t *rows[PRUNE_BLOCK];
        float distances[PRUNE_BLOCK];
        const size_t count = PV_MIN(n - from, (size_t)PRUNE_BLOCK);
        for (size_t i = 0; i < count; i++) {
            rows[i] = c[from + i].row;
        }
        pv__code_distances(code, query, rows, count, distances);
        for (size_t i = 0; i < count; i++) {
            c[from + i].distance = distances[i];
        }
    }
    prune_sort(c, n);
}

int pv__candidates_measure_by(pv__graph *g, pv__colview *codes, const pv__code *code,
                              const void *query, pv__candidate *c, size_t n, pv_error *err) {
    for (size_t i = 0; i < n; i++) {
        if (c[i].node >= g->meta.node_high) {
            return pv__graph_corrupt(g, c[i].node, "a link leads beyond the last node", err);
        }
        PV_TRY(pv__colview_row(codes, c[i].node, &c[i].row, err));
    }
    pv__candidates_rank(code, query, c, n);
    return 0;
}

int pv__candidates_measure(pv__graph *g, pv__walker *w, pv__candidate *c, size_t n, pv_error *err) {
    return pv__candidates_measure_by(g, &w->codes, &w->code, w->query, c, n, err);
}

/* Hide what `kept` hides among candidates [from, n). */
static void prune_hide(const pv__code *code, void *pair, const pv__candidate *kept,
                       pv__candidate *candidates, size_t from, size_t n, float slack) {
    const uint8_t *rows[PRUNE_BLOCK];
    uint32_t at[PRUNE_BLOCK];
    float distances[PRUNE_BLOCK];
    pv__code_query_link(code, kept->row, pair);
    while (from < n) {
        size_t count = 0;
        for (; from < n && count < PRUNE_BLOCK; from++) {
            if (!candidates[from].hidden && !candidates[from].keep) {
                at[count] = (uint32_t)from;
                rows[count++] = candidates[from].row;
            }
        }
        pv__code_distances(code, pair, rows, count, distances);
        for (size_t i = 0; i < count; i++) {
            pv__candidate *c = &candidates[at[i]];
            c->hidden = slack * distances[i] <= c->distance;
        }
    }
}

size_t pv__prune(const pv__code *code, void *pair, pv__candidate *candidates, size_t n, size_t max,
                 float slack) {
    size_t kept = 0, must = 0;
    slack = code->metric == PV_METRIC_DOT ? 1.0f : slack;
    for (size_t i = 0; i < n; i++) {
        candidates[i].hidden = false;
        must += candidates[i].keep ? 1u : 0u;
    }
    for (size_t i = 0; i < n && (kept < max || must > 0); i++) {
        const pv__candidate c = candidates[i];
        must -= c.keep ? 1u : 0u;
        if (!c.keep && (c.hidden || kept + must >= max)) {
            continue;
        }
        candidates[kept++] = c; /* kept <= i + 1: only places already passed are overwritten */
        if (kept + must < max) {
            prune_hide(code, pair, &c, candidates, i + 1, n, slack);
        }
    }
    return kept;
}

#undef PRUNE_BLOCK
