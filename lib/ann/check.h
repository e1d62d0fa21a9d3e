/* SPDX-License-Identifier: Apache-2.0 */
/* check.h - what a check of a graph has in hand: for check.c, and for what each shape adds. */
#ifndef PV_ANN_CHECK_H
#define PV_ANN_CHECK_H

#include "ann/build.h"

typedef struct pv__gcheck {
    pv__graph *g;
    const pv__slots *slots;
    pv__check_fn fn;
    void *ctx;
    uint64_t *bad;
    pv__walker *w;
    uint8_t *buf; /* deep: room for a code; else NULL */
    void *scratch;
    uint64_t *seen; /* a bit for each node, 0: reached from the root, or in a list */
    size_t words;
    uint32_t live, tombs, free, shared;
    uint32_t staying; /* nodes in use that no sweep is taking out */
} pv__gcheck;

PV_PRIVATE void pv__gcheck_report(pv__gcheck *k, uint32_t node, const char *what);
/* Every so often. */
PV_PRIVATE int pv__gcheck_pause(pv__gcheck *k, uint32_t at, pv_error *err);
/* slot_of and back; state: PV__NODE_. When live and deep, also its codes. */
PV_PRIVATE int pv__gcheck_node(pv__gcheck *k, uint32_t node, unsigned state, pv_error *err);

/* The shape of links: nodes, the list of free ones, the tree, upper levels. */
PV_PRIVATE int pv__gcheck_links(pv__gcheck *k, pv_error *err);
/* That of lists (lists_check.c). */
PV_PRIVATE int pv__gcheck_lists(pv__gcheck *k, pv_error *err);

#endif
