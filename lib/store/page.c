/* SPDX-License-Identifier: Apache-2.0 */
/* page.c - pages as a transaction sees and changes them, and who has which page id.
 *
 * read: the writer's own version, else the entry's frame when its LSN is visible, else the slow way
 * (pageio.c). write: on first touch a private copy hangs in the entry's `mine`, which only the
 * writer looks at; rollback drops it and nothing else has to be undone.
 *
 * Page ids: page 1 holds the next new id and the head of the list of freed ids; both are ordinary
 * versioned pages, so that ids follow rollback and snapshots like all else. */
#include "store/internal.h"

static int page_may_change(pv__txn *t, pv_error *err) {
    if (!t->write) {
        return pv__err(err, PV_ERR_MISUSE, "a read transaction cannot change pages");
    }
    PV_TRY(pv__txn_doomed(t, err));
    pv__txn_enter(t);
    return PV_OK;
}

static int page_wrong_kind(uint64_t page_id, unsigned kind, const uint8_t *page, pv_error *err) {
    return pv__err(err, PV_ERR_CORRUPT, "page %llu (object %u) is of kind %u, wanted is %u",
                   (unsigned long long)page_id, pv__page_owner(page), pv__page_kind(page), kind);
}

/* The writer's version of a page was spilled to slots: bring it back. Several threads may read the
 * transaction: under the page's stripe one does so, and the stub they may have found stays until
 * their epoch ends. */
static int page_unspill(pv__txn *t, pv__xent *x, uint64_t page_id, pv__ver **out, pv_error *err) {
    pv__store *s = t->store;
    pv__mutex *stripe = pv__page_stripe(s, page_id);
    pv__ver *v = NULL;
    int rc = PV_OK;
    pv__mutex_lock(stripe);
    pv__ver *stub = atomic_load_explicit(&x->mine, memory_order_acquire);
    if (pv__ver_flags(stub) & PV__VER_RESIDENT) { /* another has done it */
        *out = stub;
        goto done;
    }
    rc = pv__ver_new(s, page_id, stub->raw_slots, true, &v, err);
    rc = rc ? rc : pv__pageio_read(s, page_id, &stub->pte, pv__ver_page(v), err);
    if (rc) {
        goto done;
    }
    v->lsn = stub->lsn;
    v->pte = stub->pte;
    v->level = stub->level;
    v->list_at = stub->list_at;
    pv__ver_set(v, pv__ver_flags(stub) | PV__VER_RESIDENT);
    pv__mutex_lock(&s->ver_mutex);
    rc = pv__ver_reserve(s, 1, err);
    if (!rc) {
        /* release: pairs with the acquire of another thread's read */
        atomic_store_explicit(&x->mine, v, memory_order_release);
        pv__ver_retire(s, stub);
        pv__mine_more(t, v->raw_slots);
        *out = v;
        v = NULL;
    }
    pv__mutex_unlock(&s->ver_mutex);
done:
    pv__mutex_unlock(stripe);
    if (v) {
        pv__ver_free(s, v);
    }
    return rc;
}

/* Newest committed version, resident, for the writer; NULL: the page does not exist. */
static int page_head(pv__txn *t, pv__xent *x, uint64_t page_id, pv__ver **out, pv_error *err) {
    uintptr_t f = atomic_load_explicit(&x->frame, memory_order_acquire);
    *out = NULL;
    if (f == 0) {
        pv__pte pte;
        if (t->store->memory) {
            return PV_OK;
        }
        PV_TRY(pv__table_lookup(t->store, page_id, &pte, err));
        if (pte.slots == 0) {
            return PV_OK;
        }
    } else if (pv__ver_flags(pv__frame_ver(f)) & PV__VER_FREED) {
        return PV_OK;
    } else if (!(f & 1)) {
        *out = pv__frame_ver(f);
        return PV_OK;
    }
    return pv__page_fetch(t->store, page_id, UINT64_MAX, out, err);
}

PV_PRIVATE const uint8_t *pv__page_peek_older(uintptr_t newest, uint64_t snap) {
    pv__ver *v = pv__frame_ver(newest);
    while (v && v->lsn > snap) {
        v = atomic_load_explicit(&v->prev, memory_order_acquire);
    }
    return v && (pv__ver_flags(v) & (PV__VER_RESIDENT | PV__VER_FREED)) == PV__VER_RESIDENT
               ? pv__ver_page(v)
               : NULL;
}

PV_PRIVATE int pv__page_read(pv__txn *t, uint64_t page_id, unsigned kind, const uint8_t **out,
                             pv_error *err) {
    pv__xent *x = pv__xlat_find(t->store, page_id);
    const uint8_t *page = NULL;
    pv__ver *v = NULL;
    pv__txn_enter(t);
    if (PV_LIKELY(x != NULL)) {
        if (t->write) {
            v = atomic_load_explicit(&x->mine, memory_order_acquire);
        }
        if (!v) {
            /* S10: frame first (acquire), then its LSN. */
            uintptr_t f = atomic_load_explicit(&x->frame, memory_order_acquire);
            uint64_t lsn = atomic_load_explicit(&x->lsn, memory_order_relaxed);
            if (PV_LIKELY(f != 0 && !(f & 1) && lsn <= t->snap)) {
                v = pv__frame_ver(f);
                /* No locked instruction: readers that share a transaction may lose a count. */
                atomic_store_explicit(&t->hits,
                                      atomic_load_explicit(&t->hits, memory_order_relaxed) + 1,
                                      memory_order_relaxed);
                pv__xent_touch(x);
            } else {
                page = pv__page_peek_older(f, t->snap);
            }
        } else {
            pv__xent_touch(x);
            if (PV_UNLIKELY(!(pv__ver_flags(v) & PV__VER_RESIDENT))) {
                if (pv__ver_flags(v) & PV__VER_FREED) {
                    return pv__err(err, PV_ERR_CORRUPT, "page %llu was freed by this transaction",
                                   (unsigned long long)page_id);
                }
                PV_TRY(page_unspill(t, x, page_id, &v, err));
            }
        }
    }
    if (PV_UNLIKELY(!v && !page)) {
        PV_TRY(pv__page_fetch(t->store, page_id, t->snap, &v, err));
    }
    page = page ? page : pv__ver_page(v);
    if (PV_UNLIKELY(kind != PV__PAGE_ANY && pv__page_kind(page) != kind)) {
        return page_wrong_kind(page_id, kind, page, err);
    }
    *out = page;
    return PV_OK;
}

PV_PRIVATE pv__peek pv__peek_of(const pv__txn *t) {
    return (pv__peek){&t->store->xlat, t->snap, t->write};
}

PV_PRIVATE pv__sight pv__sight_of(pv__txn *t) {
    pv__txn_enter(t);
    if (t->write) {
        return (pv__sight){0, 0};
    }
    /* S14: after the announcement. Whoever frees memory has begun a new epoch before it looks for
     * announcements: it finds ours, or we find that epoch. */
    return (pv__sight){t->snap, atomic_load_explicit(&t->store->epoch, memory_order_seq_cst)};
}

PV_PRIVATE const void *pv__page_whereabouts(pv__txn *t, uint64_t page_id) {
    const pv__xent *x = pv__xlat_find(t->store, page_id);
    const uintptr_t f = x ? atomic_load_explicit(&x->frame, memory_order_relaxed) : 0;
    return f != 0 && !(f & 1) ? (const void *)(f + PV__VER_HEAD) : NULL;
}

/* Make v, whose bytes are set, the private version of its page. With a `base`, false when that was
 * evicted meanwhile: commit compares with it, so it has to stay. Room in `touched` is reserved. */
static bool page_claim(pv__txn *t, pv__xent *x, pv__ver *base, pv__ver *v) {
    pv__store *s = t->store;
    v->lsn = t->stamp + 1;
    v->level = pv__undo_level(t);
    pv__mutex_lock(&s->ver_mutex);
    uintptr_t f = atomic_load_explicit(&x->frame, memory_order_relaxed);
    bool same = !base || f == (uintptr_t)base;
    if (same) {
        atomic_store_explicit(&x->mine, v, memory_order_relaxed);
    }
    pv__mutex_unlock(&s->ver_mutex);
    if (same) {
        pv__touched *w = &t->touched[t->touched_count++];
        memset(w, 0, sizeof *w);
        w->page_id = v->page_id;
        v->list_at = (uint32_t)t->touched_count; /* of a private version: its place in `touched` */
        pv__mine_more(t, v->raw_slots);
    }
    return same;
}

static int page_reserve(pv__txn *t, pv_error *err) {
    return pv__cache_grow(t->store, (void **)&t->touched, &t->touched_cap, t->touched_count + 1,
                          sizeof(pv__touched), err);
}

/* First touch: a copy of the newest committed version. */
static int page_copy(pv__txn *t, pv__xent *x, uint64_t page_id, pv__ver **out, pv_error *err) {
    pv__ver *base = NULL, *v = NULL;
    PV_TRY(page_reserve(t, err));
    for (;;) {
        int rc = page_head(t, x, page_id, &base, err);
        if (!rc && !base) {
            rc = pv__err(err, PV_ERR_CORRUPT, "page %llu does not exist",
                         (unsigned long long)page_id);
        }
        if (!rc && !v) { /* may evict the base: then it is read again, and v is there */
            rc = pv__ver_new(t->store, page_id, base->raw_slots, true, &v, err);
        }
        if (rc) {
            if (v) {
                pv__ver_free(t->store, v);
            }
            return rc;
        }
        memcpy(pv__ver_page(v), pv__ver_page(base), (size_t)v->raw_slots * PV__SLOT_SIZE);
        pv__put64(pv__ver_page(v) + PV__HEAD_STAMP, t->stamp);
        if (page_claim(t, x, base, v)) {
            *out = v;
            return PV_OK;
        }
    }
}

/* The writer's resident version, about to be changed: slots it was spilled to hold it no more. */
static void page_unstore(pv__txn *t, pv__ver *v) {
    uint32_t flags = pv__ver_flags(v);
    if (flags & PV__VER_STORED) {
        pv__space_free_now(t->store, v->pte.slot, v->pte.slots);
        pv__ver_set(v, flags & ~PV__VER_STORED);
    }
}

/* First change under a savepoint: `old` is kept, a copy takes its place. */
static int page_copy_mine(pv__txn *t, pv__xent *x, pv__ver *old, pv__ver **out, pv_error *err) {
    pv__store *s = t->store;
    pv__ver *v = NULL;
    size_t size = (size_t)old->raw_slots * PV__SLOT_SIZE;
    PV_TRY(pv__undo_reserve(t, err));
    PV_TRY(pv__ver_new(s, old->page_id, old->raw_slots, true, &v, err));
    if (pv__ver_flags(old) & PV__VER_RESIDENT) {
        memcpy(pv__ver_page(v), pv__ver_page(old), size);
    } else {
        int rc = pv__pageio_read(s, old->page_id, &old->pte, pv__ver_page(v), err);
        if (rc) {
            pv__ver_free(s, v);
            return rc;
        }
    }
    v->lsn = old->lsn;
    v->level = pv__undo_level(t);
    v->list_at = old->list_at;
    pv__undo_push(t, old);
    pv__mutex_lock(&s->ver_mutex);
    atomic_store_explicit(&x->mine, v, memory_order_relaxed);
    pv__mutex_unlock(&s->ver_mutex);
    pv__mine_more(t, v->raw_slots);
    *out = v;
    return PV_OK;
}

static int page_write(pv__txn *t, uint64_t page_id, pv__ver **out, pv_error *err) {
    pv__xent *x = NULL;
    PV_TRY(pv__xlat_make(t->store, page_id, &x, err));
    pv__ver *v = atomic_load_explicit(&x->mine, memory_order_relaxed);
    if (v && (pv__ver_flags(v) & PV__VER_FREED)) {
        return pv__err(err, PV_ERR_CORRUPT, "page %llu was freed by this transaction",
                       (unsigned long long)page_id);
    }
    if (v && t->touched[v->list_at - 1].queued) {
        PV_TRY(pv__images_settle(t, false, err));
    }
    if (v && pv__undo_needed(t, v)) {
        return page_copy_mine(t, x, v, out, err);
    }
    if (v && !(pv__ver_flags(v) & PV__VER_RESIDENT)) {
        PV_TRY(page_unspill(t, x, page_id, &v, err));
    }
    if (!v) {
        PV_TRY(page_copy(t, x, page_id, &v, err));
    }
    page_unstore(t, v);
    pv__xent_touch(x);
    *out = v;
    return PV_OK;
}

PV_PRIVATE int pv__page_write(pv__txn *t, uint64_t page_id, unsigned kind, uint8_t **out,
                              pv_error *err) {
    pv__ver *v = NULL;
    PV_TRY(page_may_change(t, err));
    int rc = page_write(t, page_id, &v, err);
    if (rc) {
        pv__txn_doom(t, rc);
        return rc;
    }
    if (kind != PV__PAGE_ANY && pv__page_kind(pv__ver_page(v)) != kind) {
        pv__txn_doom(t, PV_ERR_CORRUPT);
        return page_wrong_kind(page_id, kind, pv__ver_page(v), err);
    }
    *out = pv__ver_page(v);
    return PV_OK;
}

/* ---- ids ----------------------------------------------------------------------------------- */

/* Hang the stub that says freed in the entry. The committed version must be there, as itself or as
 * a stub: from now on the entry is not emptied, and readers of older states find it behind ours.
 * What was evicted since it was found is found again. */
static int page_hang_freed(pv__txn *t, pv__xent *x, pv__ver *mine, pv__ver *stub, pv_error *err) {
    pv__store *s = t->store;
    for (;;) {
        pv__ver *base = NULL;
        pv__mutex_lock(&s->ver_mutex);
        bool hung = mine || atomic_load_explicit(&x->frame, memory_order_relaxed) != 0;
        if (hung) {
            atomic_store_explicit(&x->mine, stub, memory_order_relaxed);
        }
        pv__mutex_unlock(&s->ver_mutex);
        if (hung) {
            return PV_OK;
        }
        PV_TRY(pv__page_fetch(s, stub->page_id, UINT64_MAX, &base, err));
    }
}

/* Take the page away: `mine` becomes a stub that says freed. */
static int page_drop(pv__txn *t, uint64_t page_id, pv_error *err) {
    pv__store *s = t->store;
    pv__xent *x = NULL;
    pv__ver *base = NULL, *stub = NULL;
    PV_TRY(pv__xlat_make(s, page_id, &x, err));
    pv__ver *mine = atomic_load_explicit(&x->mine, memory_order_relaxed);
    if (mine && t->touched[mine->list_at - 1].queued) {
        PV_TRY(pv__images_settle(t, false, err));
    }
    PV_TRY(page_head(t, x, page_id, &base, err));
    if ((!mine && !base) || (mine && (pv__ver_flags(mine) & PV__VER_FREED))) {
        return pv__err(err, PV_ERR_CORRUPT, "page %llu is freed twice",
                       (unsigned long long)page_id);
    }
    if (!mine) {
        PV_TRY(page_reserve(t, err));
    }
    PV_TRY(pv__undo_reserve(t, err));
    PV_TRY(pv__ver_new(s, page_id, mine ? mine->raw_slots : base->raw_slots, false, &stub, err));
    pv__ver_set(stub, PV__VER_FREED);
    stub->lsn = t->stamp + 1;
    stub->level = pv__undo_level(t);
    bool keep = mine && pv__undo_needed(t, mine);
    int rc = page_hang_freed(t, x, mine, stub, err);
    if (rc) {
        pv__ver_free(s, stub);
        return rc;
    }
    if (mine) {
        stub->list_at = mine->list_at;
    } else {
        memset(&t->touched[t->touched_count++], 0, sizeof(pv__touched));
        stub->list_at = (uint32_t)t->touched_count;
    }
    if (keep) {
        pv__undo_push(t, mine);
    }
    pv__touched *w = &t->touched[stub->list_at - 1];
    w->page_id = page_id;
    if (base && !w->has_old_sum) {
        w->old_sum =
            pv__sum_page(page_id, pv__ver_page(base), (size_t)base->raw_slots * PV__SLOT_SIZE);
        w->has_old_sum = true;
    }
    if (mine && !keep) {
        pv__ver_drop(t, mine);
    }
    return PV_OK;
}

/* Turn page_id into an empty page of this transaction. */
static int page_create(pv__txn *t, uint64_t page_id, unsigned kind, unsigned slots, uint32_t owner,
                       uint32_t ordinal, uint8_t **out, pv_error *err) {
    pv__store *s = t->store;
    pv__xent *x = NULL;
    pv__ver *v = NULL;
    PV_TRY(pv__xlat_make(s, page_id, &x, err));
    pv__ver *mine = atomic_load_explicit(&x->mine, memory_order_relaxed);
    PV_TRY(page_reserve(t, err));
    PV_TRY(pv__undo_reserve(t, err));
    PV_TRY(pv__ver_new(s, page_id, slots, true, &v, err));
    memset(pv__ver_page(v), 0, (size_t)slots * PV__SLOT_SIZE);
    if (mine) { /* dropped before in this transaction; its place in `touched` stays */
        v->lsn = t->stamp + 1;
        v->level = pv__undo_level(t);
        v->list_at = mine->list_at;
        bool keep = pv__undo_needed(t, mine);
        if (keep) {
            pv__undo_push(t, mine);
        }
        pv__mutex_lock(&s->ver_mutex);
        atomic_store_explicit(&x->mine, v, memory_order_relaxed);
        pv__mutex_unlock(&s->ver_mutex);
        if (!keep) {
            pv__ver_drop(t, mine);
        }
        pv__mine_more(t, slots);
    } else {
        page_claim(t, x, NULL, v);
    }
    uint8_t *p = pv__ver_page(v);
    pv__put64(p + PV__HEAD_UUID, s->uuid_tag);
    pv__put64(p + PV__HEAD_PAGE_ID, page_id);
    pv__put64(p + PV__HEAD_STAMP, t->stamp);
    pv__put32(p + PV__HEAD_OWNER, owner);
    pv__put32(p + PV__HEAD_ORDINAL, ordinal);
    p[PV__HEAD_KIND] = (uint8_t)kind;
    p[PV__HEAD_VERSION] = 1;
    p[PV__HEAD_SLOTS] = (uint8_t)slots;
    p[PV__HEAD_FLAGS] = (kind & PV__PAGE_BY_SLOT) && slots > 1 ? PV__HEAD_BY_SLOT : 0;
    *out = p;
    return PV_OK;
}

/* Page 1 for writing; made by the first write transaction of a database. */
static int page_meta(pv__txn *t, uint8_t **out, pv_error *err) {
    pv__xent *x = NULL;
    pv__ver *v = NULL;
    PV_TRY(pv__xlat_make(t->store, PV__META_PAGE, &x, err));
    v = atomic_load_explicit(&x->mine, memory_order_relaxed);
    if (!v) {
        PV_TRY(page_head(t, x, PV__META_PAGE, &v, err));
    }
    if (!v) {
        PV_TRY(page_create(t, PV__META_PAGE, PV__PAGE_META, 1, 0, 0, out, err));
        pv__put64(*out + PV__META_NEXT_ID, PV__META_PAGE + 1);
        return PV_OK;
    }
    return pv__page_write(t, PV__META_PAGE, PV__PAGE_META, out, err);
}

static int page_take_id(pv__txn *t, uint64_t *out_id, pv_error *err) {
    uint8_t *meta = NULL, *list = NULL;
    PV_TRY(page_meta(t, &meta, err));
    uint64_t head = pv__get64(meta + PV__META_FREELIST);
    if (head == 0) {
        uint64_t id = pv__get64(meta + PV__META_NEXT_ID);
        if (id <= PV__META_PAGE || id >= PV__PAGE_ID_MAX) {
            return pv__err(err, id <= PV__META_PAGE ? PV_ERR_CORRUPT : PV_ERR_LIMIT,
                           "next page id is %llu", (unsigned long long)id);
        }
        pv__put64(meta + PV__META_NEXT_ID, id + 1);
        *out_id = id;
        return PV_OK;
    }
    PV_TRY(pv__page_write(t, head, PV__PAGE_FREELIST, &list, err));
    uint64_t count = pv__get64(list + PV__FREELIST_COUNT);
    if (count > PV__FREELIST_CAP) {
        return pv__err(err, PV_ERR_CORRUPT, "free list page %llu: count %llu",
                       (unsigned long long)head, (unsigned long long)count);
    }
    pv__put64(meta + PV__META_FREE_COUNT, pv__get64(meta + PV__META_FREE_COUNT) - 1);
    if (count == 0) { /* the list page itself is the one */
        pv__put64(meta + PV__META_FREELIST, pv__get64(list + PV__FREELIST_NEXT));
        *out_id = head;
        return page_drop(t, head, err);
    }
    *out_id = pv__get64(list + PV__FREELIST_IDS + 8 * (count - 1));
    pv__put64(list + PV__FREELIST_IDS + 8 * (count - 1), 0);
    pv__put64(list + PV__FREELIST_COUNT, count - 1);
    return PV_OK;
}

static int page_give_id(pv__txn *t, uint64_t page_id, pv_error *err) {
    uint8_t *meta = NULL, *list = NULL;
    PV_TRY(page_meta(t, &meta, err));
    uint64_t head = pv__get64(meta + PV__META_FREELIST), count = PV__FREELIST_CAP;
    if (head) {
        const uint8_t *p = NULL;
        PV_TRY(pv__page_read(t, head, PV__PAGE_FREELIST, &p, err));
        count = pv__get64(p + PV__FREELIST_COUNT);
    }
    if (count < PV__FREELIST_CAP) {
        PV_TRY(pv__page_write(t, head, PV__PAGE_FREELIST, &list, err));
        pv__put64(list + PV__FREELIST_IDS + 8 * count, page_id);
        pv__put64(list + PV__FREELIST_COUNT, count + 1);
    } else { /* full: the freed page becomes the new head of the list */
        PV_TRY(page_create(t, page_id, PV__PAGE_FREELIST, 1, 0, 0, &list, err));
        pv__put64(list + PV__FREELIST_NEXT, head);
        pv__put64(meta + PV__META_FREELIST, page_id);
    }
    pv__put64(meta + PV__META_FREE_COUNT, pv__get64(meta + PV__META_FREE_COUNT) + 1);
    return PV_OK;
}

PV_PRIVATE int pv__page_new(pv__txn *t, unsigned kind, unsigned slots, uint32_t owner,
                            uint32_t ordinal, uint64_t *out_page_id, uint8_t **out_page,
                            pv_error *err) {
    uint64_t id = 0;
    PV_TRY(page_may_change(t, err));
    if (slots == 0 || slots > PV__PAGE_SLOTS_MAX) {
        return pv__err(err, PV_ERR_MISUSE, "a page of %u slots", slots);
    }
    int rc = page_take_id(t, &id, err);
    if (!rc) {
        rc = page_create(t, id, kind, slots, owner, ordinal, out_page, err);
    }
    if (rc) {
        pv__txn_doom(t, rc);
        return rc;
    }
    *out_page_id = id;
    return PV_OK;
}

PV_PRIVATE int pv__page_free(pv__txn *t, uint64_t page_id, pv_error *err) {
    PV_TRY(page_may_change(t, err));
    if (page_id == PV__META_PAGE) {
        return pv__err(err, PV_ERR_MISUSE, "page 1 cannot be freed");
    }
    int rc = page_drop(t, page_id, err);
    if (!rc) {
        rc = page_give_id(t, page_id, err);
    }
    if (rc) {
        pv__txn_doom(t, rc);
    }
    return rc;
}

PV_PRIVATE int pv__page_ids_end(pv__txn *t, uint64_t *out_end, pv_error *err) {
    const uint8_t *meta = NULL;
    PV_TRY(pv__page_read(t, PV__META_PAGE, PV__PAGE_META, &meta, err));
    *out_end = pv__get64(meta + PV__META_NEXT_ID);
    return PV_OK;
}

/* ---- numbers of the layer above ------------------------------------------------------------- */

PV_PRIVATE int pv__store_root_get(pv__txn *t, unsigned index, uint64_t *out_value, pv_error *err) {
    const uint8_t *meta = NULL;
    PV_ASSERT(index < PV__META_ROOT_COUNT);
    *out_value = 0;
    pv__txn_enter(t);
    pv__xent *x = pv__xlat_find(t->store, PV__META_PAGE);
    bool here = x && ((t->write && atomic_load_explicit(&x->mine, memory_order_relaxed)) ||
                      atomic_load_explicit(&x->frame, memory_order_acquire));
    if (!here && !t->store->memory) {
        pv__pte pte;
        PV_TRY(pv__table_lookup(t->store, PV__META_PAGE, &pte, err));
        here = pte.slots != 0;
    }
    if (!here || t->snap == t->store->first_lsn) {
        return PV_OK; /* a new database: nothing has been written yet */
    }
    PV_TRY(pv__page_read(t, PV__META_PAGE, PV__PAGE_META, &meta, err));
    *out_value = pv__get64(meta + PV__META_ROOTS + 8 * index);
    return PV_OK;
}

PV_PRIVATE int pv__store_root_set(pv__txn *t, unsigned index, uint64_t value, pv_error *err) {
    uint8_t *meta = NULL;
    PV_ASSERT(index < PV__META_ROOT_COUNT);
    PV_TRY(page_may_change(t, err));
    int rc = page_meta(t, &meta, err);
    if (rc) {
        pv__txn_doom(t, rc);
        return rc;
    }
    pv__put64(meta + PV__META_ROOTS + 8 * index, value);
    return PV_OK;
}
