/* SPDX-License-Identifier: Apache-2.0 */
/* hold.c - see hold.h. */
#include "engine/hold.h"

static void hold_unlink(pv__hold *h) {
    pv_txn *t = h->user;
    if (h->prev) {
        h->prev->next = h->next;
    } else {
        t->holds = h->next;
    }
    if (h->next) {
        h->next->prev = h->prev;
    }
    h->prev = h->next = NULL;
}

static void hold_link(pv__hold *h, pv_txn *t) {
    h->next = t->holds;
    if (h->next) {
        h->next->prev = h;
    }
    t->holds = h;
}

static void hold_drop(pv__hold *h) {
    h->drop(h);
    h->txn = NULL;
}

void pv__hold_detach_all(pv_txn *t) {
    while (t->holds) {
        pv__hold *h = t->holds;
        hold_unlink(h);
        hold_drop(h);
    }
}

/* The pin is taken while the call is inside, so that pv_close sees it. */
static int hold_open_own(pv__hold *h, pv__hold_prepare_fn prepare, void *ctx, pv_error *err) {
    PV_TRY(pv__txn_begin(h->db->store, 0, &h->txn, err));
    pv__txn *txn = h->txn;
    const int rc = prepare(h, ctx, err);
    if (rc == 0) {
        pv__db_ref(h->db, true);
    } else {
        hold_drop(h);
        pv__txn_rollback(txn);
    }
    return rc;
}

static int hold_open_in(pv__hold *h, pv_txn *t, pv__hold_prepare_fn prepare, void *ctx,
                        pv_error *err) {
    pv__call call;
    PV_TRY(pv__call_begin(&call, h->db, t, PV__CALL_READ, 0, err));
    h->txn = call.txn;
    h->user = t;
    const int rc = prepare(h, ctx, err);
    if (rc == 0) {
        pv__db_ref(h->db, false);
        hold_link(h, t);
    } else {
        hold_drop(h);
    }
    return pv__call_end(&call, rc, err);
}

int pv__hold_open(pv__hold *h, pv_db *db, pv_txn *txn, pv__hold_prepare_fn prepare, void *ctx,
                  pv_error *err) {
    h->db = db;
    const int rc =
        txn ? hold_open_in(h, txn, prepare, ctx, err) : hold_open_own(h, prepare, ctx, err);
    if (rc != 0) {
        h->free(h);
    }
    return rc;
}

int pv__hold_enter(pv__hold *h, const char *what, pv_error *err) {
    if (pv__db_forked(h->db)) {
        return pv__err(err, PV_ERR_MISUSE, "the %s was opened before fork", what);
    }
    if (!h->user) { /* its pin keeps the store open */
        return 0;
    }
    PV_TRY(pv__db_enter(h->db, err));
    int rc = 0;
    if (!h->txn) {
        rc = pv__err(err, PV_ERR_CLOSED, "the transaction of the %s has ended", what);
    } else if (atomic_exchange_explicit(&h->user->busy, 1, memory_order_acquire) != 0) {
        rc = pv__err(err, PV_ERR_MISUSE, "the transaction is used by two threads at once");
    }
    if (rc != 0) {
        pv__db_leave(h->db);
    }
    return rc;
}

void pv__hold_leave(pv__hold *h) {
    if (h->user) {
        atomic_store_explicit(&h->user->busy, 0, memory_order_release);
        pv__db_leave(h->db);
    }
}

static void hold_let_go(pv__hold *h) {
    if (h->txn) {
        hold_unlink(h);
        hold_drop(h);
    }
}

void pv__hold_close(pv__hold *h) {
    pv_db *db = h->db;
    const bool own = h->user == NULL;
    if (own) {
        pv__txn *txn = h->txn;
        hold_drop(h);
        if (!pv__db_forked(db)) {
            pv__txn_rollback(txn);
        }
    } else if (pv__db_forked(db)) {
        hold_let_go(h);
    } else if (pv__db_enter(db, NULL) == 0) {
        hold_let_go(h);
        pv__db_leave(db);
    } else {
        pv__db_wait_ended(db); /* pv_close detaches it */
    }
    h->free(h);
    pv_error err = PV_ERROR_INIT;
    const pv__logger log = db->log; /* db may be gone afterwards */
    if (pv__db_unref(db, own, &err) != 0) {
        pv__log(&log, PV_LOG_ERROR, "store", "deferred close: %s", err.message);
    }
}
