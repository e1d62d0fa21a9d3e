/* SPDX-License-Identifier: Apache-2.0 */
/* helper.h - a second thread for one caller: it runs a job at a time while its owner goes on.
 *
 *      owner   start(job) ---- other work ----- wait --->
 *      thread        '---- job ----'
 *
 * The thread is started with the first job and sleeps between jobs. A job that is not accepted
 * (the thread is busy, cannot be started, or there shall be none) is the owner's to do.
 *
 * Threads: start and wait by one thread at a time, the owner. Where several have jobs for it, a
 * flag of theirs says whose turn it is (store/image.c). */
#ifndef PV_OS_HELPER_H
#define PV_OS_HELPER_H

#include "os/thread.h"

typedef void (*pv__helper_fn)(void *ctx);

typedef struct pv__helper {
    pv__mutex mutex;
    pv__cond cond;
    pv__thread thread;
    pv__helper_fn fn; /* the job under way, or NULL */
    void *ctx;
    bool allowed, started, stop;
} pv__helper;

PV_PRIVATE int pv__helper_init(pv__helper *h, bool allowed, pv_error *err);
/* Has fn(ctx) been accepted? Then ctx lives until wait has returned. */
PV_PRIVATE bool pv__helper_start(pv__helper *h, pv__helper_fn fn, void *ctx);
PV_PRIVATE void pv__helper_wait(pv__helper *h); /* until no job is under way */
PV_PRIVATE void pv__helper_stop(pv__helper *h); /* ends the thread; no job is accepted any more */
PV_PRIVATE void pv__helper_done(pv__helper *h); /* stopped before, or in a forked child */

#endif
