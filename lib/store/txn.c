/* SPDX-License-Identifier: Apache-2.0 */
/* txn.c - begin, commit, rollback.
 *
 *   commit: every private version -> DELTA, FULL, REF or FREE entry in one body
 *           -> room in the log (I/O) -> [ver_mutex: record accepted, versions published, counters]
 *           -> next writer may begin -> wait until durable -> visible
 *
 * Large images (bulk loads, and what was spilled because a transaction outgrew its share of the
 * cache) are written to their final slots and synced before the record, which then names them by
 * reference: nothing is written twice (S5). Invariants: S1, S5, S7, S10, S13. */
#include "store/internal.h"

#define TXN_SNAP_WRITER (UINT64_MAX / 2) /* the writer reads the newest of everything */
#define TXN_WAIT_SLICE_MS 50u /* between two looks at the interrupt while waiting for a writer */

PV_PRIVATE void pv__store_fail(pv__store *s, int code) {
    int none = 0;
    atomic_compare_exchange_strong(&s->failed, &none, code);
}

PV_PRIVATE int pv__store_refuse(pv__store *s, pv_error *err) {
    int code = atomic_load(&s->failed);
    if (code) {
        return pv__err(err, code, "writes are refused since a write or sync failed; reopen '%s'",
                       s->path);
    }
    return PV_OK;
}

/* ---- begin, end ---------------------------------------------------------------------------- */

PV_PRIVATE int pv__store_interrupted(pv__store *s, pv_error *err) {
    if (s->interrupt && s->interrupt(s->interrupt_ctx) != 0) {
        return pv__err(err, PV_ERR_CANCELLED, "cancelled by the interrupt callback");
    }
    return PV_OK;
}

static int txn_lock_writer(pv__store *s, uint32_t flags, pv_error *err) {
    uint64_t began = pv__sys_mono_us(s->clock);
    int rc = PV_OK;
    pv__mutex_lock(&s->writer_mutex);
    if ((flags & PV__TXN_CHORE) && (s->writer_busy || s->writer_waiting > 0)) {
        rc = pv__err(err, PV_ERR_BUSY, "another write transaction is open");
    }
    s->writer_waiting++;
    while (s->writer_busy && !rc) {
        uint64_t spent_ms = (pv__sys_mono_us(s->clock) - began) / 1000;
        const bool soon = s->writer_is_chore; /* a few ms: not worth an error */
        if (!soon && ((flags & PV__TXN_NOWAIT) || spent_ms >= s->busy_timeout_ms)) {
            rc = pv__err(err, PV_ERR_BUSY, "another write transaction is open (waited %llu ms)",
                         (unsigned long long)spent_ms);
        } else {
            const uint32_t left_ms =
                soon ? TXN_WAIT_SLICE_MS : (uint32_t)(s->busy_timeout_ms - spent_ms);
            pv__cond_wait_for(&s->writer_cond, &s->writer_mutex,
                              s->interrupt ? PV_MIN(left_ms, TXN_WAIT_SLICE_MS) : left_ms);
            pv__mutex_unlock(&s->writer_mutex); /* no callback under a lock */
            rc = pv__store_interrupted(s, err);
            pv__mutex_lock(&s->writer_mutex);
        }
    }
    s->writer_waiting--;
    if (!rc) {
        s->writer_busy = true;
        s->writer_is_chore = (flags & PV__TXN_CHORE) != 0;
    }
    pv__mutex_unlock(&s->writer_mutex);
    return rc;
}

static void txn_unlock_writer(pv__store *s) {
    pv__mutex_lock(&s->writer_mutex);
    s->writer_busy = false;
    pv__cond_signal(&s->writer_cond);
    pv__mutex_unlock(&s->writer_mutex);
}

/* Memory of a transaction that has the slot: what the one before it left there, so that readers
 * that come and go allocate nothing. */
static int txn_new(pv__store *s, pv__rslot *slot, pv__txn **out, pv_error *err) {
    pv__txn *t = slot->spare;
    slot->spare = NULL;
    t = t ? t : pv__alloc_zero(s->mem, sizeof *t);
    if (!t) {
        pv__reader_end(slot);
        return pv__err_nomem(err, sizeof *t);
    }
    t->store = s;
    t->slot = slot;
    *out = t;
    return PV_OK;
}

PV_PRIVATE int pv__txn_begin(pv__store *s, uint32_t flags, pv__txn **out_txn, pv_error *err) {
    *out_txn = NULL;
    bool write = flags & PV__TXN_WRITE;
    if (write) {
        if (s->readonly) {
            return pv__err(err, PV_ERR_READONLY, "'%s' is open read-only", s->path);
        }
        PV_TRY(pv__store_refuse(s, err));
        PV_TRY(txn_lock_writer(s, flags, err));
    }
    pv__txn *t = NULL;
    pv__rslot *slot = NULL;
    uint64_t snap = 0;
    int rc = pv__reader_begin(s, &slot, &snap, err);
    rc = rc ? rc : txn_new(s, slot, &t, err);
    if (rc) {
        if (write) {
            txn_unlock_writer(s);
        }
        return rc;
    }
    t->snap = snap;
    t->write = write;
    t->async = flags & PV__TXN_ASYNC;
    t->asks = flags & PV__TXN_ASKS;
    if (write) {
        t->snap = TXN_SNAP_WRITER;
        pv__mutex_lock(&s->log.mutex);
        t->stamp = s->log.end; /* S1 */
        pv__mutex_unlock(&s->log.mutex);
    }
    *out_txn = t;
    return PV_OK;
}

PV_PRIVATE int pv__txn_share(const pv__txn *with, pv__txn **out_txn, pv_error *err) {
    pv__store *s = with->store;
    *out_txn = NULL;
    PV_ASSERT(!with->write); /* what a writer has changed is not in any snapshot */
    pv__txn *t = NULL;
    pv__rslot *slot = NULL;
    PV_TRY(pv__reader_join(s, with->snap, &slot, err));
    PV_TRY(txn_new(s, slot, &t, err));
    t->snap = with->snap;
    *out_txn = t;
    return PV_OK;
}

static void txn_free(pv__txn *t) {
    pv__store *s = t->store;
    pv__rslot *slot = t->slot;
    atomic_fetch_add_explicit(&s->hits, t->hits, memory_order_relaxed);
    pv__undo_forget(t);
    pv__cache_drop(s, t->undo, t->undo_cap, sizeof(pv__undo));
    pv__alloc_free(s->mem, t->savepoints, t->savepoint_cap * sizeof(pv__savepoint));
    pv__cache_drop(s, t->touched, t->touched_cap, sizeof(pv__touched));
    memset(t, 0, sizeof *t);
    slot->spare = t;
    pv__reader_end(slot);
}

/* Forget the private versions; slots they were given are free again. */
static void txn_discard(pv__txn *t) {
    pv__store *s = t->store;
    pv_error ignored = PV_ERROR_INIT;
    (void)pv__images_settle(t, false, &ignored);
    for (size_t i = 0; i < t->touched_count; i++) {
        pv__xent *x = pv__xlat_find(s, t->touched[i].page_id);
        pv__ver *v = atomic_load_explicit(&x->mine, memory_order_relaxed);
        if (v) {
            pv__mutex_lock(&s->ver_mutex);
            atomic_store_explicit(&x->mine, NULL, memory_order_relaxed);
            pv__mutex_unlock(&s->ver_mutex);
            pv__ver_drop(t, v);
        }
    }
    t->touched_count = 0;
}

PV_PRIVATE void pv__txn_undo(pv__txn *t) {
    PV_DEBUG_ASSERT(t->write && t->savepoint_count == 0);
    txn_discard(t);
    if (t->in_epoch) {
        pv__reader_leave(t->slot);
        t->in_epoch = false;
    }
    t->doomed = 0;
}

PV_PRIVATE void pv__txn_rollback(pv__txn *t) {
    if (!t) {
        return;
    }
    pv__store *s = t->store;
    bool write = t->write;
    txn_discard(t);
    txn_free(t);
    if (write) {
        txn_unlock_writer(s);
    }
}

PV_PRIVATE uint64_t pv__txn_lsn(const pv__txn *t) { return t->write ? t->stamp : t->snap; }
PV_PRIVATE bool pv__txn_is_write(const pv__txn *t) { return t->write; }
PV_PRIVATE bool pv__txn_is_dirty(const pv__txn *t) { return t->touched_count > 0; }
PV_PRIVATE pv__mem *pv__txn_mem(pv__txn *t) { return t->store->mem; }

uint64_t pv__txn_cache_bytes(const pv__txn *t) { return t->store->cache_limit; }
PV_PRIVATE pv__helper *pv__txn_helper(pv__txn *t) { return &t->store->helper; }
PV_PRIVATE void pv__txn_doom(pv__txn *t, int code) {
    if (t->write && !t->doomed) {
        t->doomed = code;
    }
}

PV_PRIVATE void pv__txn_forgive(pv__txn *t) {
    if (t->doomed == PV_ERR_CORRUPT) {
        t->doomed = 0;
    }
}

PV_PRIVATE int pv__txn_doomed(const pv__txn *t, pv_error *err) {
    return t->doomed
               ? pv__err(err, t->doomed, "the transaction has failed and can only be rolled back")
               : PV_OK;
}

static pv__ver *txn_mine(pv__txn *t, size_t i, pv__xent **out_x) {
    pv__xent *x = pv__xlat_find(t->store, t->touched[i].page_id);
    *out_x = x;
    return atomic_load_explicit(&x->mine, memory_order_relaxed);
}

PV_PRIVATE int pv__txn_rest(pv__txn *t, pv_error *err) {
    if (t->in_epoch) {
        pv__reader_leave(t->slot);
        t->in_epoch = false;
    }
    if (!t->doomed && pv__txn_tight(t)) {
        const int rc = pv__spill(t, err);
        if (rc) {
            pv__txn_doom(t, rc);
            return rc;
        }
    }
    return PV_OK;
}

PV_PRIVATE int pv__txn_pause(pv__txn *t, pv_error *err) {
    PV_TRY(pv__txn_rest(t, err));
    return t->asks ? pv__store_interrupted(t->store, err) : PV_OK;
}

PV_PRIVATE bool pv__txn_crowded(const pv__txn *t) {
    const pv__store *s = t->store;
    return !t->write && !s->memory &&
           atomic_load_explicit(&s->cache_bytes, memory_order_relaxed) > s->cache_limit;
}

/* ---- commit -------------------------------------------------------------------------------- */

static void txn_encode_one(pv__txn *t, size_t i, pv__buf *body, uint32_t *entries,
                           uint64_t *io_sum) {
    pv__xent *x = NULL;
    pv__ver *v = txn_mine(t, i, &x);
    const pv__touched *w = &t->touched[i];
    if (!v) {
        return;
    }
    uintptr_t f = atomic_load_explicit(&x->frame, memory_order_acquire);
    pv__ver *base = f && !(f & 1) ? pv__frame_ver(f) : NULL;
    uint32_t flags = pv__ver_flags(v);
    if (flags & PV__VER_FREED) {
        if (w->has_old_sum) {
            pv__buf_add_u8(body, PV__ENTRY_FREE);
            pv__buf_add_varint(body, v->page_id);
            pv__buf_add_u64(body, w->old_sum);
            *io_sum ^= w->old_sum;
            ++*entries;
        }
        return;
    }
    ++*entries;
    if (flags & PV__VER_STORED) {
        uint8_t pte[PV__PTE_SIZE];
        pv__buf_add_u8(body, PV__ENTRY_REF);
        pv__buf_add_varint(body, v->page_id);
        pv__buf_add_u64(body, w->old_sum);
        pv__buf_add_u64(body, w->new_sum);
        pv__pte_put(pte, &v->pte);
        pv__buf_add(body, pte, sizeof pte);
        *io_sum ^= w->old_sum ^ w->new_sum;
        return;
    }
    size_t size = (size_t)v->raw_slots * PV__SLOT_SIZE;
    if (base && !w->has_old_sum) {
        size_t old_size = (size_t)base->raw_slots * PV__SLOT_SIZE;
        pv__delta_encode(body, v->page_id, pv__ver_page(base), old_size, pv__ver_page(v), size, 0,
                         io_sum);
    } else {
        pv__delta_encode(body, v->page_id, NULL, 0, pv__ver_page(v), size,
                         w->has_old_sum ? w->old_sum : 0, io_sum);
    }
}

PV_PRIVATE void pv__publish(pv__store *s, pv__xent *x, pv__ver *v) {
    pv__ver *head = pv__frame_ver(atomic_load_explicit(&x->frame, memory_order_relaxed));
    v->level = 0;
    v->list_at = 0;
    atomic_store_explicit(&v->prev, head, memory_order_relaxed);
    if (head) {
        head->newer = v;
        head->list_at = (uint32_t)(s->superseded_count + 1);
        s->superseded[s->superseded_count++].ver = head;
    }
    if (x->dirty_seq != s->dirty_seq) {
        x->dirty_seq = s->dirty_seq;
        s->dirty[s->dirty_count++] = v->page_id;
    }
    if ((pv__ver_flags(v) & (PV__VER_RESIDENT | PV__VER_STORED)) == PV__VER_RESIDENT) {
        atomic_fetch_add_explicit(&s->dirty_bytes, pv__ver_bytes(v->raw_slots),
                                  memory_order_relaxed);
    }
    /* S10: the LSN first, the frame last, with release. */
    atomic_store_explicit(&x->lsn, v->lsn, memory_order_relaxed);
    atomic_store_explicit(&x->frame, pv__ver_frame(v), memory_order_release);
}

/* Pages that have a version already, which ours will replace. */
static size_t txn_replaced(pv__txn *t) {
    size_t count = 0;
    for (size_t i = 0; i < t->touched_count; i++) {
        pv__xent *x = NULL;
        (void)txn_mine(t, i, &x);
        count += atomic_load_explicit(&x->frame, memory_order_relaxed) != 0;
    }
    return count;
}

/* Under ver_mutex: everything is reserved, nothing here can fail after the record is accepted. */
static int txn_accept(pv__txn *t, pv__buf *body, const pv__commit_info *info, uint64_t *out_end,
                      pv_error *err) {
    pv__store *s = t->store;
    PV_TRY(pv__ver_reserve(s, txn_replaced(t), err));
    PV_TRY(pv__dirty_reserve(s, t->touched_count, err));
    PV_TRY(pv__log_append(s, body, info, out_end, err));
    for (size_t i = 0; i < t->touched_count; i++) {
        pv__xent *x = NULL;
        pv__ver *v = txn_mine(t, i, &x);
        if (!v) {
            continue;
        }
        atomic_store_explicit(&x->mine, NULL, memory_order_relaxed);
        uintptr_t f = atomic_load_explicit(&x->frame, memory_order_relaxed);
        if ((pv__ver_flags(v) & PV__VER_FREED) && !t->touched[i].has_old_sum && f == 0) {
            pv__ver_free(s, v); /* made and freed in here: never was */
            continue;
        }
        pv__publish(s, x, v);
    }
    s->db_sum = info->db_sum;
    s->commits = info->number;
    pv__log_published(s, *out_end);
    pv__ver_sweep(s);
    return PV_OK;
}

static int txn_commit_write(pv__txn *t, uint64_t *out_end, pv_error *err) {
    pv__store *s = t->store;
    pv__buf body;
    bool sync = false;
    pv__commit_info info = {t->stamp, s->db_sum, s->commits + 1, 0, 0, t->async};
    pv__buf_init(&body, s->mem);
    int rc = pv__store_refuse(s, err);
    if (!rc && !s->memory) {
        rc = pv__images_store(t, &sync, err);
    }
    if (!rc && sync) { /* S5: before the record that refers to them */
        rc = s->vfs->sync(s->vfs, s->file, err);
        if (rc) {
            pv__store_fail(s, rc);
        }
        rc = rc ? rc : pv__store_interrupted(s, err); /* the last moment: nobody has seen it */
    }
    for (size_t i = 0; i < t->touched_count && !rc; i++) {
        txn_encode_one(t, i, &body, &info.entries, &info.db_sum);
    }
    rc = rc ? rc : pv__buf_check(&body, err);
    if (!rc && !s->memory) {
        info.body_hash = pv__rec_body_hash(s, t->stamp, body.data, body.len);
        rc = pv__log_reserve(s, body.len, err);
    }
    if (!rc) {
        pv__mutex_lock(&s->ver_mutex);
        rc = txn_accept(t, &body, &info, out_end, err);
        pv__mutex_unlock(&s->ver_mutex);
    }
    pv__buf_done(&body);
    return rc;
}

PV_PRIVATE int pv__txn_commit(pv__txn *t, uint64_t *out_lsn, pv_error *err) {
    pv__store *s = t->store;
    uint64_t end = t->write ? t->stamp : t->snap;
    int rc = PV_OK;
    bool wrote = t->write && t->touched_count > 0, write = t->write, async = t->async;
    if (t->doomed) {
        rc = pv__err(err, t->doomed, "the transaction had failed and was rolled back");
    } else if (wrote) {
        if (!t->in_epoch) {
            pv__reader_enter(s, t->slot); /* bases are read below */
        }
        rc = txn_commit_write(t, &end, err);
    }
    if (rc) {
        pv__txn_rollback(t);
        return rc;
    }
    txn_free(t);
    if (write) {
        txn_unlock_writer(s);
    }
    if (wrote && !s->memory) {
        uint64_t wait = async ? pv__log_async_due(s) : end;
        if (wait) {
            rc = pv__log_wait(s, wait, err);
        } else {
            pv__flush_want(s);
        }
        pv__checkpoint_want(s);
    }
    if (!rc && out_lsn) {
        *out_lsn = end;
    }
    return rc;
}

#undef TXN_SNAP_WRITER
#undef TXN_WAIT_SLICE_MS
