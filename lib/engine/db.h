/* SPDX-License-Identifier: Apache-2.0 */
/* db.h - the life of a database handle and of its transactions, and the frame around every call.
 *
 *      pv_db --refs--> 1 for pv_close, 1 for every pv_txn, pv_iter and pv_db_ref
 *        |---pins----> 1 for pv_close, 1 for every pv_iter that has a snapshot of its own
 *        '-- calls --> calls that are inside right now, and the closing bit
 *
 *      memory of pv_db:  freed when refs is 0
 *      the store:        closed when pins is 0
 *      pv__env:          the allocator; freed with its last user, which may be a pv_results
 *
 * Invariants
 *   E1  A call that was refused leaves nothing: no log, no page that anybody sees.
 *   E2  pv_close waits for the calls inside; nothing enters after the closing bit, except
 *       iterators that hold a pin.
 *   E3  A transaction's iterators and cursors let go of it before it ends.
 *
 * Locks: db->mutex (refs, pins, list of transactions); no I/O and no callback under it. It is
 * never taken in a forked child, where only memory is dropped. */
#ifndef PV_ENGINE_DB_H
#define PV_ENGINE_DB_H

#include "base/alloc.h"
#include "base/log.h"
#include "os/sys.h"
#include "os/thread.h"
#include "store/store.h"

#define PV__THREADS_MAX 1024u /* that a handle or a call may ask for */

/* Memory with as many owners as there are things allocated from it. */
typedef struct pv__env {
    pv__mem mem;
    _Atomic uint32_t refs;
} pv__env;
PV_PRIVATE int pv__env_new(const pv_allocator *allocator, uint64_t bytes_limit, pv__env **out_env,
                           pv_error *err);
PV_PRIVATE void pv__env_ref(pv__env *env);
PV_PRIVATE void pv__env_unref(pv__env *env); /* NULL is fine */

/* Where upkeep.c has to look; db->mutex, but what says otherwise. */
typedef struct pv__upkeep {
    char names[8][PV__NAME_BYTES_MAX + 1]; /* collections */
    unsigned count, doubt_count;
    uint64_t doubts[8]; /* pages of graphs that readers found damaged */
    bool all;           /* look at every collection once */
    _Atomic bool graves;
    uint32_t busy_ms; /* of the thread */
} pv__upkeep;

/* Memory that one call at a time works with, put aside between calls. No lock: taking and giving
 * are exchanges of a pointer. Which threads use the database at once changes little, so that each
 * soon finds its own again. */
#define PV__POOL_PLACES 16u
typedef struct pv__pool {
    _Atomic(void *) places[PV__POOL_PLACES];
} pv__pool;

struct pv__walker;

struct pv_db {
    pv__env *env;
    pv__store *store; /* NULL once closed */
    pv__logger log;
    const pv_clock *clock;
    pv_interrupt_fn interrupt;
    void *interrupt_ctx;
    uint32_t flags;                      /* PV_OPEN_ */
    uint32_t sync;                       /* PV_SYNC_, never DEFAULT */
    uint32_t cpu;                        /* PV__CPU_, for the kernels */
    unsigned threads;                    /* that one call may use */
    pv__pool walkers, workspaces, scans; /* not in use */
    pv__upkeep upkeep;
    pv__forkmark fork;
    pv__mutex mutex;
    pv__cond idle;           /* a call left while closing; txns_ended was set */
    _Atomic uint32_t calls;  /* number | closing bit */
    _Atomic uint64_t writer; /* thread in whose hands the write transaction is, or 0 */
    uint32_t refs, pins;
    bool txns_ended; /* pv_close has let go of all transactions */
    pv_txn *txns;
};

struct pv_txn {
    pv_db *db;
    pv__txn *txn; /* NULL: ended by pv_close */
    uint64_t lsn;
    bool write;
    _Atomic uint32_t busy;  /* a call is using it */
    struct pv__hold *holds; /* E3 */
    pv_txn *prev, *next;
};

/* opts: complete, checked for its size only. */
PV_PRIVATE int pv__db_open(const char *path, const pv_open_opts *opts, pv_db **out_db,
                           pv_error *err);
PV_PRIVATE int pv__db_close(pv_db *db, pv_error *err);
/* A reference, and with `pin` a hold on the store. unref in any state, also in a forked child; its
 * code is that of the store's close, when the last pin went. */
PV_PRIVATE void pv__db_ref(pv_db *db, bool pin);
PV_PRIVATE int pv__db_unref(pv_db *db, bool pin, pv_error *err);
PV_PRIVATE bool pv__db_forked(const pv_db *db);
/* After PV_ERR_CLOSED: until pv_close has let go of all transactions. */
PV_PRIVATE void pv__db_wait_ended(pv_db *db);
/* Count this call in. PV_ERR_MISUSE (NULL, forked) or PV_ERR_CLOSED. */
PV_PRIVATE int pv__db_enter(pv_db *db, pv_error *err);
PV_PRIVATE void pv__db_leave(pv_db *db);
/* One that was put aside, or NULL. */
PV_PRIVATE void *pv__pool_take(pv__pool *pool);
/* False: there is no place; the caller frees it. */
PV_PRIVATE bool pv__pool_give(pv__pool *pool, void *p);
/* Memory for walking graphs, kept between calls. */
PV_PRIVATE int pv__db_walker_take(pv_db *db, struct pv__walker **out, pv_error *err);
PV_PRIVATE void pv__db_walker_give(pv_db *db, struct pv__walker *w); /* NULL is fine */
/* 0 or PV_ERR_CANCELLED, from the caller's interrupt callback. */
PV_PRIVATE int pv__db_interrupted(pv_db *db, pv_error *err);
/* The same for loops over rows: asks at every 256th row i. */
PV_PRIVATE int pv__db_interrupted_at(pv_db *db, size_t i, pv_error *err);

PV_PRIVATE int pv__txn_open(pv_db *db, uint32_t flags, pv_txn **out_txn, pv_error *err);
PV_PRIVATE int pv__txn_close(pv_txn *txn, bool commit, uint64_t *out_lsn, pv_error *err);

/* Savepoints: set one, go back to it, forget it. */
typedef enum pv__mark { PV__MARK_SET, PV__MARK_BACK, PV__MARK_FORGET } pv__mark;
PV_PRIVATE int pv__txn_mark(pv_txn *txn, pv__mark what, uint32_t *io_number, pv_error *err);

/* One public call: the database is entered and there is a transaction, the caller's or its own. */
typedef struct pv__call {
    pv_db *db;
    pv_txn *user; /* NULL: own */
    pv__txn *txn;
    bool write;
    bool changing; /* set before the first change: from then on a failure dooms */
} pv__call;

#define PV__CALL_READ false
#define PV__CALL_WRITE true
/* sync: PV_SYNC_ for an own write transaction; must be 0 with a given one. */
PV_PRIVATE int pv__call_begin(pv__call *call, pv_db *db, pv_txn *txn, bool write, uint32_t sync,
                              pv_error *err);
/* An own transaction is committed when rc is 0, else rolled back. Returns rc, or the error of the
 * commit. */
PV_PRIVATE int pv__call_end(pv__call *call, int rc, pv_error *err);

/* The name of a collection for messages: at most so many bytes of it. */
#define PV__NAME_SHOWN 128

#endif
