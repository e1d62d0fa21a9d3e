/* SPDX-License-Identifier: Apache-2.0 */
/* index.h - what a writing call owes the graph of its collection.
 *
 *      slots   0 ........ built ............ high water
 *              in the graph | tail: not yet; searches compare it row by row
 *
 * A graph begins when comparing with every record becomes slower than walking (at once where the
 * collection was made with PV_INDEX_HNSW). From then on every call gives nodes to its own records
 * and to a few of the tail, so that the tail melts away without a call that takes long. */
#ifndef PV_ENGINE_INDEX_H
#define PV_ENGINE_INDEX_H

#include "engine/db.h"
#include "engine/parts.h"

/* Records whose vector was written by one call. */
typedef struct pv__index_work {
    uint32_t *slots;
    size_t count, cap;
    size_t removed; /* records that went, or whose vector changed */
} pv__index_work;

/* The vector of `slot` is about to go or to change; the slot is live. */
PV_PRIVATE int pv__index_forget(pv_db *db, pv__parts *p, pv__index_work *work, uint32_t slot,
                                pv_error *err);
/* The vector of `slot` was written. */
PV_PRIVATE int pv__index_note(pv_db *db, pv__parts *p, pv__index_work *work, uint32_t slot,
                              pv_error *err);
/* At the end of the call, before pv__parts_save. */
PV_PRIVATE int pv__index_apply(pv_db *db, pv__parts *p, pv__index_work *work, pv_error *err);
PV_PRIVATE void pv__index_done(pv_db *db, pv__index_work *work);

/* Should a search walk the graph? Opens it. */
PV_PRIVATE int pv__index_ready(pv_db *db, pv__parts *p, bool *out, pv_error *err);

#endif
