/* SPDX-License-Identifier: Apache-2.0 */
/* index.h - what a writing call owes the graph of its collection, and what is done when nobody
 * writes.
 *
 *      slots   0 ........ built ............ high water
 *              in the graph | tail: not yet; searches compare it row by row
 *
 * A graph begins when comparing with every record becomes slower than walking (at once where the
 * collection was made with PV_INDEX_HNSW). From then on every call gives nodes to its own records
 * and to a few of the tail, so that the tail melts away without a call that takes long.
 *
 *      c.graph   what searches walk, or the beginning of it
 *      c.next    when the graph has become bad (pv__graph_rebuild_due): one that is being built
 *                beside it; every change goes to both, and when it holds all records it takes the
 *                place of the first, whose pages go to a grave
 *
 * Damage: the vectors are the data, the graph can be made again. Whoever finds a page of it damaged
 * while writing gives the whole graph up in the same transaction: an empty one takes its place, the
 * pages of the old one go to a grave without being trusted. A reader cannot do that; it leaves word
 * (pv__upkeep_doubt), and the next writer does. */
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
/* Has it codes that an exact search may go by? Opens it. */
PV_PRIVATE int pv__index_codes(pv_db *db, pv__parts *p, bool *out, pv_error *err);

/* How much of it one step does: until the clock of the machine says so, and at most so many
 * units, each of a fraction of a ms; at least one. */
typedef struct pv__index_budget {
    uint64_t until_us; /* 0: no clock */
    uint32_t units;
} pv__index_budget;
/* Is there anything to do? Reads only. A graph that cannot be opened has something to do. */
PV_PRIVATE bool pv__index_due(pv_db *db, pv__parts *p);
/* Some of it, and pv__parts_save_graphs. */
PV_PRIVATE int pv__index_upkeep(pv_db *db, pv__parts *p, pv__index_budget budget, pv_error *err);
/* Some of the pages in graves; *out_more: there are others. */
PV_PRIVATE int pv__index_graves(pv_db *db, pv__txn *txn, pv__index_budget budget, bool *out_more,
                                pv_error *err);

#endif
