/* SPDX-License-Identifier: Apache-2.0 */
/* nearest.h - the k nearest of a stream of rows, in the order that pv.h promises: distance, then
 * key.
 *
 *      heap   the k best seen, by (distance, slot)
 *      ties   slots at exactly the heap's largest distance that are not in the heap
 *
 * Keys are not known while rows stream by, and fetching one costs more than a distance. So slots
 * decide for the time being, and what lost by its slot alone waits in `ties`. Invariant E6: every
 * row that can be in the answer is in the heap or in ties. When ties grow long (thousands of equal
 * vectors), keys are fetched once and only the first by key stay; at the end the same is done for
 * rows that share a distance. */
#ifndef PV_ENGINE_NEAREST_H
#define PV_ENGINE_NEAREST_H

#include "base/heap.h"
#include "engine/parts.h"
#include "engine/ties.h"

/* Where an answer comes from (pv_results_plan). */
typedef enum pv__how {
    PV__HOW_EXACT, /* a scan */
    PV__HOW_GRAPH,
    PV__HOW_GRAPH_ONE_HOP, /* with a filter: ann/allowed.c */
    PV__HOW_GRAPH_TWO_HOPS,
    PV__HOW_CODES,
    PV__HOW_LISTS,
    PV__HOW_EXACT_CODES /* exact.c */
} pv__how;
PV_PRIVATE const char *pv__how_text(pv__how how);

typedef struct pv__nearest {
    pv__mem *mem;
    pv__topk top; /* hits: the caller's array */
    uint32_t *ties;
    size_t tie_count, tie_cap;
    pv__ties *orders; /* found for other queries */
    pv__how how;
    float error; /* of its distances; 0: they are those of the vectors */
} pv__nearest;

/* hits: k places, which outlive it, as does `orders`. k is at least 1. */
PV_PRIVATE void pv__nearest_init(pv__nearest *n, pv__mem *mem, pv__hit *hits, size_t k,
                                 pv__ties *orders);
PV_PRIVATE void pv__nearest_done(pv__nearest *n);
/* Rows farther than this need not be offered. */
static inline float pv__nearest_bound(const pv__nearest *n) { return pv__topk_bound(&n->top); }
PV_PRIVATE int pv__nearest_offer(pv__nearest *n, float distance, uint32_t slot, pv_error *err);
/* Offer all that `other`, which has seen other rows, could answer. */
PV_PRIVATE int pv__nearest_merge(pv__nearest *n, const pv__nearest *other, pv_error *err);
/* Are there so many ties that pv__nearest_settle should be called before going on? */
PV_PRIVATE bool pv__nearest_is_long(const pv__nearest *n);
/* Fetch keys and drop what cannot win; pauses the transaction. */
PV_PRIVATE int pv__nearest_settle(pv__nearest *n, pv__parts *p, pv_error *err);
/* Settle and sort: n->top.hits[0 .. count) is the answer. Nothing may be offered afterwards. */
PV_PRIVATE int pv__nearest_finish(pv__nearest *n, pv__parts *p, pv_error *err);

#endif
