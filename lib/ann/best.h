/* SPDX-License-Identifier: Apache-2.0 */
/* best.h - the nearest of many, for many rows at once: hits are collected as long as there is room,
 * and thinned out when there is none.
 *
 *      32 distances --those within the bound--> | distances ... | ids ... |
 *      no room:   a bound that at least `keep` are within is found by counting; the rest goes
 *      in the end: sorted, cut exactly
 *
 * Nothing is sorted before the end, and no single hit is looked at: distances are counted and kept
 * a register at a time. What comes out is the nearest of all by distance, then by id, whatever the
 * order that they came in. Distances are 0 or more.
 *
 * Threads: a rule and its lists are one thread's. */
#ifndef PV_ANN_BEST_H
#define PV_ANN_BEST_H

#include "base/heap.h"
#include "quant/code.h"

typedef struct pv__best_rule {
    const pv__code *code;
    uint32_t keep;  /* at most so many come out, besides the one that is left out; 1 or more */
    uint32_t at;    /* none beyond `stop` times the at-th of those; 0: no such stop */
    float stop;     /* 1 or more */
    pv__hit *hits;  /* pv__best_room(keep) */
    uint8_t *bytes; /* as many */
} pv__best_rule;

typedef struct pv__best {
    float *distances; /* pv__best_room(keep) */
    uint32_t *ids;    /* as many */
    uint32_t count;
    float bound; /* what is beyond is none of them */
} pv__best;

PV_PRIVATE size_t pv__best_room(uint32_t keep);
PV_PRIVATE void pv__best_clear(pv__best *b);
/* n: at most PV__CODE_PANEL_ROWS. */
PV_PRIVATE void pv__best_add(const pv__best_rule *rule, pv__best *b, const float *distances,
                             const uint32_t *ids, size_t n);
/* Draw the bound as near as it gets. */
PV_PRIVATE void pv__best_tighten(const pv__best_rule *rule, pv__best *b);
/* The nearest without `but`, ascending, in rule->hits; how many. Once: b has to be cleared then. */
PV_PRIVATE size_t pv__best_take(const pv__best_rule *rule, pv__best *b, uint32_t but);

#endif
