/* SPDX-License-Identifier: Apache-2.0 */
/* history.h - threads that write, read, checkpoint and check one store on a simulated disk, and a
 * history that says what each commit holds, written before the commit can be seen.
 *
 *   writer    begin -> commit number n -> states[n + 1] = states[n] + changes -> commit
 *   reader    begin -> commit number n, LSN  ==  states[n], as often as it looks; n >= the last
 *                                                acknowledged at its begin, one LSN for each n
 *
 * So every read of every thread is judged by the model at its LSN. Afterwards the disk, as a power
 * cut would leave it, and the closed database must show what was acknowledged. */
#ifndef PV_TEST_HISTORY_H
#define PV_TEST_HISTORY_H

#include "support/store_kit.h"

typedef struct history_plan {
    unsigned writers, readers, keepers; /* keepers: checkpoints, checks, statistics */
    unsigned commits;                   /* in all */
    unsigned looks;                     /* at all pages, by each reader; 0: while writers work */
    unsigned pages, slots_max, changes;
    unsigned async_of_8, rollback_of_8, savepoint_of_8;
    uint64_t cache_bytes, checkpoint_bytes, segment_bytes;
    bool trees, worker; /* pages that are compressed; a thread of the store's own */
} history_plan;

history_plan history_plan_random(uint64_t seed, bool small);

typedef struct history_result {
    uint64_t commits, reads, pages_judged, believed, checkpoints, checks, misses, syncs;
    char wrong[300]; /* empty: all was right */
} history_result;

/* before and after: around the part with threads; may be NULL. */
void history_run(const history_plan *plan, uint64_t seed, void (*before)(uint64_t seed),
                 void (*after)(void), history_result *out);

#endif
