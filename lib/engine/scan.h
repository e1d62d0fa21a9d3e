/* SPDX-License-Identifier: Apache-2.0 */
/* scan.h - going over all records of a collection, in slot order. */
#ifndef PV_ENGINE_SCAN_H
#define PV_ENGINE_SCAN_H

#include "engine/crew.h"
#include "engine/nearest.h"
#include "engine/parts.h"
#include "kernel/kernel.h"
#include "query/filter.h"

/* Documents that match (filter NULL: all), each told to fn, whose non-zero return ends the walk.
 * No page pointers are held while fn runs; fn may not change the collection. */
typedef int (*pv__scan_fn)(void *ctx, uint32_t slot, const pv__row *row, pv_error *err);
PV_PRIVATE int pv__scan_docs(pv_db *db, pv__parts *p, const pv__filter *filter, pv__scan_fn fn,
                             void *ctx, pv_error *err);

/* The nearest rows of several queries of one collection, by comparing with every record. */
typedef struct pv__scan {
    const pv__kernel *kernel;
    const pv__kernel_query *queries;
    pv__nearest *nearest; /* one per query */
    size_t query_count;
    const pv__filter *filter; /* NULL: all records */
    float max_distance;       /* +inf: no threshold */
    uint32_t slots_from;      /* only slots from here on */
    uint32_t slots_end;       /* and below this; 0: to the end */
    bool codes;               /* distances by the graph's codes are good enough (approx.c) */
    unsigned threads;         /* that may take part; 0: the caller's alone */
    pv__crew *crew;           /* scan.c: who takes part */
    bool hand;                /* scan.c: not the caller's thread */
} pv__scan;
/* Each page of vectors is read once for all queries. The answers are finished by the caller. With
 * threads they are the same; inside a write transaction the caller's works alone, since what it has
 * changed is not in any snapshot that another thread could read. */
PV_PRIVATE int pv__scan_vectors(pv_db *db, pv__parts *p, const pv__scan *s, pv_error *err);
PV_PRIVATE void pv__scan_free(pv_db *db, void *memory); /* one of db->scans */
/* Is it time to end? */
PV_PRIVATE int pv__scan_interrupted(pv_db *db, const pv__scan *s, pv_error *err);

#endif
