/* SPDX-License-Identifier: Apache-2.0 */
/* prune.c - which of many candidates become neighbours: RobustPrune of Vamana (Subramanya et al.,
 * DiskANN, 2019), the rule of HNSW with a slack.
 *
 *      nearest first; c is hidden when slack * d(s, c) <= d(place, c) for a kept s
 *
 * A kept one is compared with all that are left in one call of the kernel, instead of each with
 * all that are kept. */
#include "ann/internal.h"

#define PRUNE_BLOCK 64u

static bool prune_before(const pv__candidate *a, const pv__candidate *b) {
    return a->distance < b->distance || (a->distance == b->distance && a->node < b->node);
}

/* Heap sort: no memory, no bad cases. No two candidates are the same node. */
void pv__candidates_sort(pv__candidate *c, size_t n) {
    for (size_t begin = n / 2, end = n; end > 1;) {
        pv__candidate moved;
        if (begin > 0) {
            moved = c[--begin];
        } else {
            moved = c[--end];
            c[end] = c[0];
        }
        size_t at = begin;
        for (size_t child; (child = 2 * at + 1) < end; at = child) {
            child += child + 1 < end && prune_before(&c[child], &c[child + 1]) ? 1u : 0u;
            if (!prune_before(&moved, &c[child])) {
                break;
            }
            c[at] = c[child];
        }
        c[at] = moved;
    }
}

/* Hide what `kept` hides among candidates [from, n). */
static void prune_hide(const pv__code *code, void *pair, const pv__candidate *kept,
                       pv__candidate *candidates, size_t from, size_t n, float slack) {
    const uint8_t *rows[PRUNE_BLOCK];
    uint32_t at[PRUNE_BLOCK];
    float distances[PRUNE_BLOCK];
    pv__code_query_row(code, kept->row, pair);
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
