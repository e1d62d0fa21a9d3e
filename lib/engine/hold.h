/* SPDX-License-Identifier: Apache-2.0 */
/* hold.h - what outlives one call and reads one state: iterators and cursors.
 *
 *   txn NULL     it begins a read transaction and pins the store: it sees one state and outlives
 *                pv_close.
 *   txn given    it reads through the caller's transaction and hangs in its list; when the
 *                transaction ends, it lets go (E3) and only says PV_ERR_CLOSED. */
#ifndef PV_ENGINE_HOLD_H
#define PV_ENGINE_HOLD_H

#include "engine/db.h"

typedef struct pv__hold {
    pv_db *db;
    pv_txn *user;                     /* NULL: own */
    pv__txn *txn;                     /* own or the caller's; NULL: let go */
    void (*drop)(struct pv__hold *h); /* let go of all that needs the transaction */
    void (*free)(struct pv__hold *h); /* of the rest, and of the memory around the hold */
    struct pv__hold *prev, *next;     /* of the transaction */
} pv__hold;

/* h: all zero but drop and free, in zeroed memory from db. prepare: makes what reads, with h->txn
 * in place; when it fails, drop follows, and then free. */
typedef int (*pv__hold_prepare_fn)(pv__hold *h, void *ctx, pv_error *err);
PV_PRIVATE int pv__hold_open(pv__hold *h, pv_db *db, pv_txn *txn, pv__hold_prepare_fn prepare,
                             void *ctx, pv_error *err);
/* Around each use: refused after the end of the transaction, after fork, by a second thread. */
PV_PRIVATE int pv__hold_enter(pv__hold *h, const char *what, pv_error *err);
PV_PRIVATE void pv__hold_leave(pv__hold *h);
PV_PRIVATE void pv__hold_close(pv__hold *h);

/* Let all of a transaction go. */
PV_PRIVATE void pv__hold_detach_all(pv_txn *txn);

#endif
