/* SPDX-License-Identifier: Apache-2.0 */
/* crew.h - several threads share the pages of one scan: each takes the next few that nobody has.
 *
 *      pages    | taken | taken | taken | next ...                  | end
 *                  |        |       '-- the caller's thread: asks the interrupt, too
 *                  '--------'-- others, started for this scan
 *
 * The first error, and the interrupt, end all of them: who goes on asks now and then. A thread that
 * cannot be started is done without.
 *
 * Lock: crew.mutex, a leaf; nothing waits under it. */
#ifndef PV_ENGINE_CREW_H
#define PV_ENGINE_CREW_H

#include "engine/db.h"

typedef struct pv__crew {
    pv_db *db;
    pv__mutex mutex;
    pv__cond cond;
    uint32_t end, step;
    _Atomic uint32_t next;  /* nobody has what is from here on */
    _Atomic uint32_t ended; /* somebody has failed */
    unsigned working;       /* threads that have been started and go on; mutex */
    int rc;                 /* the first error; mutex */
    pv_error err;
} pv__crew;

/* Pages [from, end); none of them: what was left undone until there are no more. */
typedef int (*pv__crew_fn)(void *ctx, uint32_t from, uint32_t end, pv_error *err);

typedef struct pv__crew_hand {
    pv__crew *crew;
    pv__crew_fn fn;
    void *ctx; /* its own */
    pv__thread thread;
    bool started;
} pv__crew_hand;

/* Is it time to end? For the thread of the call, and for the others. */
PV_PRIVATE int pv__crew_interrupted(pv__crew *c, bool caller, pv_error *err);
/* [from, end) in parts of `step` pages; hands[0] is the caller's. Their fn and ctx are set. */
PV_PRIVATE int pv__crew_run(pv_db *db, pv__crew *c, pv__crew_hand *hands, unsigned count,
                            uint32_t from, uint32_t end, uint32_t step, pv_error *err);

#endif
