/* SPDX-License-Identifier: Apache-2.0 */
/* savepoint.c - going back inside a write transaction.
 *
 *   savepoint 1        savepoint 2
 *   |  page 5 changes  |  page 5 changes   undo: (5: as at savepoint 1) (5: as at savepoint 2)
 *
 * The first change of a page under a savepoint keeps the private version it had (undo) and goes on
 * with a copy. Rolling back puts the kept versions back, newest first, and forgets pages that were
 * first touched after the savepoint. Levels grow and are never used twice, so that after a release
 * a version's level still tells whether the innermost savepoint left can need it. */
#include "store/internal.h"

PV_PRIVATE void pv__ver_drop(pv__txn *t, pv__ver *v) {
    uint32_t flags = pv__ver_flags(v);
    if (flags & PV__VER_STORED) {
        pv__space_free_now(t->store, v->pte.slot, v->pte.slots);
    }
    if (flags & PV__VER_RESIDENT) {
        pv__mine_less(t, v->raw_slots);
    }
    pv__ver_free(t->store, v);
}

PV_PRIVATE int pv__undo_reserve(pv__txn *t, pv_error *err) {
    return pv__cache_grow(t->store, (void **)&t->undo, &t->undo_cap, t->undo_count + 1,
                          sizeof(pv__undo), err);
}

PV_PRIVATE void pv__undo_push(pv__txn *t, pv__ver *old) {
    pv__undo *u = &t->undo[t->undo_count++];
    u->touched = t->touched[old->list_at - 1];
    u->old = old;
    if (pv__ver_flags(old) & PV__VER_RESIDENT) { /* what is kept cannot be spilled */
        pv__mine_less(t, old->raw_slots);
    }
}

static pv__ver *savepoint_pop(pv__txn *t) {
    pv__ver *old = t->undo[--t->undo_count].old;
    if (pv__ver_flags(old) & PV__VER_RESIDENT) {
        pv__mine_more(t, old->raw_slots);
    }
    return old;
}

PV_PRIVATE void pv__undo_forget(pv__txn *t) {
    while (t->undo_count > 0) {
        pv__ver_drop(t, savepoint_pop(t));
    }
}

/* Hang `v` (NULL: none) in the entry of page_id instead of what hangs there. */
static void savepoint_put(pv__txn *t, uint64_t page_id, pv__ver *v) {
    pv__store *s = t->store;
    pv__xent *x = pv__xlat_find(s, page_id);
    pv__ver *now = atomic_load_explicit(&x->mine, memory_order_relaxed);
    pv__mutex_lock(&s->ver_mutex);
    atomic_store_explicit(&x->mine, v, memory_order_relaxed);
    pv__mutex_unlock(&s->ver_mutex);
    if (now) {
        pv__ver_drop(t, now);
    }
}

static int savepoint_find(pv__txn *t, uint32_t number, pv_error *err) {
    if (!t->write) {
        return pv__err(err, PV_ERR_MISUSE, "a read transaction has no savepoints");
    }
    if (number == 0 || number > t->savepoint_count) {
        return pv__err(err, PV_ERR_NOTFOUND, "there is no savepoint %u in this transaction",
                       number);
    }
    return PV_OK;
}

PV_PRIVATE int pv__txn_savepoint(pv__txn *t, uint32_t *out_number, pv_error *err) {
    if (!t->write) {
        return pv__err(err, PV_ERR_MISUSE, "a read transaction has no savepoints");
    }
    PV_TRY(pv__txn_doomed(t, err));
    PV_TRY(pv__images_settle(t, false, err)); /* queued pages may be kept as they are now */
    if (t->savepoint_count == PV__SAVEPOINTS_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "a transaction can have %u savepoints",
                       PV__SAVEPOINTS_MAX);
    }
    PV_TRY(pv__alloc_grow(t->store->mem, (void **)&t->savepoints, &t->savepoint_cap,
                          t->savepoint_count + 1, sizeof(pv__savepoint), err));
    pv__savepoint *sp = &t->savepoints[t->savepoint_count++];
    sp->undo_count = t->undo_count;
    sp->touched_count = t->touched_count;
    sp->level = ++t->level_last;
    *out_number = (uint32_t)t->savepoint_count;
    return PV_OK;
}

PV_PRIVATE int pv__txn_rollback_to(pv__txn *t, uint32_t number, pv_error *err) {
    PV_TRY(savepoint_find(t, number, err));
    const pv__savepoint *sp = &t->savepoints[number - 1];
    while (t->undo_count > sp->undo_count) {
        pv__ver *old = savepoint_pop(t);
        const pv__touched *was = &t->undo[t->undo_count].touched;
        pv__touched *now = &t->touched[old->list_at - 1];
        now->new_sum = was->new_sum; /* the sum of the committed version stays known */
        savepoint_put(t, was->page_id, old);
    }
    while (t->touched_count > sp->touched_count) {
        savepoint_put(t, t->touched[--t->touched_count].page_id, NULL);
    }
    t->savepoint_count = number;
    t->doomed = 0; /* savepoints are not made in a doomed transaction: it came later */
    return pv__txn_rest(t, err);
}

PV_PRIVATE int pv__txn_release(pv__txn *t, uint32_t number, pv_error *err) {
    PV_TRY(savepoint_find(t, number, err));
    t->savepoint_count = number - 1;
    if (t->savepoint_count == 0) {
        pv__undo_forget(t);
    }
    return PV_OK;
}
