/* SPDX-License-Identifier: Apache-2.0 */
/* call.c - transactions as the caller sees them, and the frame around every call.
 *
 * db->writer holds the thread in whose hands the write transaction is, so that a write without a
 * transaction on that thread is refused at once instead of waiting for itself. A transaction may
 * be handed to another thread: each call with it moves the mark. The mark is cleared while the
 * store's writer lock is still held, so nobody else's mark can be lost. */
#include "engine/db.h"
#include "engine/hold.h"

static void call_set_writer(pv_db *db) {
    /* Relaxed: only the thread whose number it is draws a conclusion from it. */
    atomic_store_explicit(&db->writer, pv__thread_id(), memory_order_relaxed);
}

static void call_clear_writer(pv_db *db) {
    atomic_store_explicit(&db->writer, 0, memory_order_relaxed);
}

static bool call_is_writer(const pv_db *db) {
    return atomic_load_explicit(&db->writer, memory_order_relaxed) == pv__thread_id();
}

/* Begin a write transaction of the store for this thread. */
static int call_begin_write(pv_db *db, uint32_t flags, pv__txn **out_txn, pv_error *err) {
    if (db->flags & PV_OPEN_READONLY) {
        return pv__err(err, PV_ERR_READONLY, "the database was opened read-only");
    }
    if (call_is_writer(db)) {
        return pv__err(err, PV_ERR_MISUSE,
                       "this thread has a write transaction open; pass it to the call");
    }
    if (db->flags & PV_OPEN_NOWAIT) {
        flags |= PV__TXN_NOWAIT;
    }
    PV_TRY(pv__txn_begin(db->store, PV__TXN_WRITE | PV__TXN_ASKS | flags, out_txn, err));
    call_set_writer(db);
    return 0;
}

/* ---- transactions ------------------------------------------------------------------------ */

static void call_txn_link(pv_txn *t) {
    pv_db *db = t->db;
    pv__mutex_lock(&db->mutex);
    db->refs++;
    t->next = db->txns;
    if (t->next) {
        t->next->prev = t;
    }
    db->txns = t;
    pv__mutex_unlock(&db->mutex);
}

static void call_txn_unlink(pv_txn *t) {
    pv_db *db = t->db;
    const bool forked = pv__db_forked(db);
    if (!forked) {
        pv__mutex_lock(&db->mutex);
    }
    if (t->prev) {
        t->prev->next = t->next;
    } else {
        db->txns = t->next;
    }
    if (t->next) {
        t->next->prev = t->prev;
    }
    if (!forked) {
        pv__mutex_unlock(&db->mutex);
    }
}

int pv__txn_open(pv_db *db, uint32_t flags, pv_txn **out_txn, pv_error *err) {
    const uint32_t known = PV_TXN_WRITE | PV_TXN_SYNC_FULL | PV_TXN_SYNC_ASYNC | PV_TXN_NOWAIT;
    const uint32_t both = PV_TXN_SYNC_FULL | PV_TXN_SYNC_ASYNC;
    if (flags & ~known) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "unknown transaction flags 0x%x",
                       (unsigned)(flags & ~known));
    }
    if ((flags & both) == both) {
        return pv__err(err, PV_ERR_MISUSE, "a transaction cannot have both sync levels");
    }
    PV_TRY(pv__db_enter(db, err));
    int rc = 0;
    pv_txn *t = pv__alloc_zero(&db->env->mem, sizeof(*t));
    if (!t) {
        rc = pv__err_nomem(err, sizeof(*t));
        goto done;
    }
    t->db = db;
    t->write = (flags & PV_TXN_WRITE) != 0;
    atomic_init(&t->busy, 0);
    if (t->write) {
        const bool async =
            flags & both ? (flags & PV_TXN_SYNC_ASYNC) != 0 : db->sync == PV_SYNC_ASYNC;
        rc = call_begin_write(
            db, (async ? PV__TXN_ASYNC : 0u) | (flags & PV_TXN_NOWAIT ? PV__TXN_NOWAIT : 0u),
            &t->txn, err);
    } else {
        rc = pv__txn_begin(db->store, 0, &t->txn, err);
    }
    if (rc != 0) {
        pv__alloc_free(&db->env->mem, t, sizeof(*t));
        goto done;
    }
    t->lsn = pv__txn_lsn(t->txn);
    call_txn_link(t);
    *out_txn = t;
done:
    pv__db_leave(db);
    return rc;
}

static void call_txn_free(pv_txn *t) {
    pv_db *db = t->db;
    call_txn_unlink(t);
    pv__alloc_free(&db->env->mem, t, sizeof(*t));
    (void)pv__db_unref(db, false, NULL);
}

int pv__txn_close(pv_txn *t, bool commit, uint64_t *out_lsn, pv_error *err) {
    if (!t) {
        return commit ? pv__err(err, PV_ERR_MISUSE, "the transaction is NULL") : 0;
    }
    pv_db *db = t->db;
    uint64_t lsn = t->lsn;
    int rc = pv__db_enter(db, err);
    const bool inside = rc == 0;
    if (!inside) {
        if (pv__db_forked(db)) { /* the parent's transaction is only forgotten, see db_end_txns */
            pv__hold_detach_all(t);
        } else { /* pv_close has ended it, or is about to */
            pv__db_wait_ended(db);
        }
        call_txn_free(t);
        return rc;
    }
    pv__hold_detach_all(t); /* E3 */
    if (t->write) {
        call_clear_writer(db);
    }
    if (commit && t->write) {
        rc = pv__txn_commit(t->txn, &lsn, err);
    } else {
        pv__txn_rollback(t->txn);
    }
    t->txn = NULL;
    call_txn_free(t);
    pv__db_leave(db); /* db is alive: pv_close waits for this call */
    if (rc == 0 && out_lsn) {
        *out_lsn = lsn;
    }
    return rc;
}

/* ---- calls ------------------------------------------------------------------------------- */

static int call_adopt(pv__call *call, pv_txn *t, bool write, uint32_t sync, bool doomed_too,
                      pv_error *err) {
    if (t->db != call->db) {
        return pv__err(err, PV_ERR_MISUSE, "the transaction belongs to another database");
    }
    /* acquire: pairs with the release in pv__call_end, wherever the transaction was used last. */
    if (atomic_exchange_explicit(&t->busy, 1, memory_order_acquire) != 0) {
        return pv__err(err, PV_ERR_MISUSE, "the transaction is used by two threads at once");
    }
    int rc = 0;
    if (!t->txn) {
        rc = pv__err(err, PV_ERR_CLOSED, "the database of the transaction was closed");
    } else if (write && !t->write) {
        rc = pv__err(err, PV_ERR_MISUSE, "the transaction was begun for reading");
    } else if (sync != PV_SYNC_DEFAULT) {
        rc = pv__err(err, PV_ERR_MISUSE,
                     "a sync level is given together with a transaction, which has its own");
    } else if (!doomed_too) {
        rc = pv__txn_doomed(t->txn, err); /* nobody shall see a state that is half done */
    }
    if (rc != 0) {
        atomic_store_explicit(&t->busy, 0, memory_order_release);
        return rc;
    }
    if (t->write) {
        call_set_writer(call->db);
    }
    call->user = t;
    call->txn = t->txn;
    return 0;
}

static int call_begin(pv__call *call, pv_db *db, pv_txn *txn, bool write, uint32_t sync,
                      bool doomed_too, pv_error *err) {
    *call = (pv__call){.db = db, .write = write};
    if (sync > PV_SYNC_ASYNC) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "unknown sync level %u", (unsigned)sync);
    }
    PV_TRY(pv__db_enter(db, err));
    int rc = 0;
    if (txn) {
        rc = call_adopt(call, txn, write, sync, doomed_too, err);
    } else if (write) {
        const uint32_t level = sync != PV_SYNC_DEFAULT ? sync : db->sync;
        rc = call_begin_write(db, level == PV_SYNC_ASYNC ? PV__TXN_ASYNC : 0u, &call->txn, err);
    } else {
        rc = pv__txn_begin(db->store, 0, &call->txn, err);
    }
    if (rc != 0) {
        pv__db_leave(db);
    }
    return rc;
}

int pv__call_begin(pv__call *call, pv_db *db, pv_txn *txn, bool write, uint32_t sync,
                   pv_error *err) {
    return call_begin(call, db, txn, write, sync, false, err);
}

int pv__call_end(pv__call *call, int rc, pv_error *err) {
    pv_db *db = call->db;
    if (call->user) {
        if (rc != 0 && call->changing) {
            pv__txn_doom(call->txn, rc);
        }
        /* Between calls a transaction holds no pointers, so that it holds up no memory. */
        int paused = pv__txn_rest(call->txn, rc == 0 ? err : NULL);
        rc = rc == 0 ? paused : rc;
        atomic_store_explicit(&call->user->busy, 0, memory_order_release);
    } else if (call->write) {
        call_clear_writer(db);
        if (rc == 0) {
            rc = pv__txn_commit(call->txn, NULL, err);
        } else {
            pv__txn_rollback(call->txn);
        }
    } else {
        pv__txn_rollback(call->txn);
    }
    call->txn = NULL;
    pv__db_leave(db);
    return rc;
}

int pv__txn_mark(pv_txn *t, pv__mark what, uint32_t *io_number, pv_error *err) {
    pv__call call;
    uint32_t number = *io_number;
    if (!t) {
        return pv__err(err, PV_ERR_MISUSE, "the transaction is NULL");
    }
    /* Going back is what helps a doomed transaction. */
    const bool back = what == PV__MARK_BACK;
    PV_TRY(call_begin(&call, t->db, t, true, PV_SYNC_DEFAULT, back, err));
    int rc;
    if (what == PV__MARK_SET) {
        rc = pv__txn_savepoint(call.txn, &number, err);
    } else if (what == PV__MARK_BACK) {
        rc = pv__txn_rollback_to(call.txn, number, err);
        if (rc == 0) { /* their cursors may stand in what is no more */
            pv__hold_detach_all(t);
        }
    } else {
        rc = pv__txn_release(call.txn, number, err);
    }
    rc = pv__call_end(&call, rc, err);
    if (rc == 0 && what == PV__MARK_SET) {
        *io_number = number;
    }
    return rc;
}
