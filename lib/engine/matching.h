/* SPDX-License-Identifier: Apache-2.0 */
/* matching.h - which slots match a filter, for walks of the graph.
 *
 *      known   1 1 0 1 0 ...     somebody has looked at this record
 *      words   1 0 . 1 . ...     it matches
 *
 * There are no indexes over metadata yet: whether a record matches is seen by reading it. A walk
 * meets few records, so it asks for those alone, and what was seen is kept for the next search of
 * the call. Where a walk would have to ask too often (few match, or there are many searches that
 * share the answer), all records are read once in their order, which takes a fifth of the time
 * each; then the words are complete and every plan of ann/allowed.c is open. */
#ifndef PV_ENGINE_MATCHING_H
#define PV_ENGINE_MATCHING_H

#include "engine/scan.h"

typedef struct pv__matching {
    pv_db *db;
    pv__parts *p;
    const pv__filter *filter;
    uint64_t *words, *known; /* bits of slots [0, slots) */
    uint32_t slots;
    uint32_t looked, matched;
    pv__buf buf;
    pv__allowed allowed; /* what the graph is told */
} pv__matching;

/* Looks at a sample. p->graph is open. Done with pv__matching_done also when it fails. */
PV_PRIVATE int pv__matching_begin(pv__matching *m, pv_db *db, pv__parts *p,
                                  const pv__filter *filter, pv_error *err);
PV_PRIVATE void pv__matching_done(pv__matching *m);
/* Before a search: it is one of `searches` that have still to come. */
PV_PRIVATE void pv__matching_expect(pv__matching *m, size_t searches);
/* Does the record of a live slot match? */
PV_PRIVATE int pv__matching_test(pv__matching *m, uint32_t slot, bool *out, pv_error *err);
/* The same when all have been read. */
static inline bool pv__matching_has(const pv__matching *m, uint32_t slot) {
    return m->words[slot / 64] >> (slot % 64) & 1u;
}
/* Read all records: m->allowed has words afterwards. Pauses. */
PV_PRIVATE int pv__matching_all(pv__matching *m, pv_error *err);

#endif
