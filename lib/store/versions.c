/* SPDX-License-Identifier: Apache-2.0 */
/* versions.c - the life of page versions in memory: allocation against the cache budget, readers'
 * epochs and snapshots, the sweep that drops versions no snapshot sees, and eviction.
 *
 *   published --superseded--> old --(no snapshot in [lsn, newer.lsn))--> unlinked --> retired
 *        |                                                                              |
 *        '--stored, not used lately--> evicted (stub or page table) --> retired         |
 *                                       every epoch that could hold its pointer ended --> freed
 *
 * Invariants: S10 (a pointer found inside an epoch stays valid in it), S11 (a version lives while
 * a snapshot can see it). A version without slots is never evicted: it is the only copy.
 * Epochs: K. Fraser, "Practical lock-freedom", 2004, section 5.2.3. */
#include "store/internal.h"

#define VERSIONS_EVICT_MAX ((size_t)1024) /* in one round */

/* ---- memory -------------------------------------------------------------------------------- */

static pv__ver *versions_stub(pv__store *s, uint64_t page_id) {
    pv__ver *v = pv__alloc(s->mem, PV__VER_STUB);
    if (v) {
        memset(v, 0, PV__VER_STUB);
        v->page_id = page_id;
        atomic_fetch_add_explicit(&s->cache_bytes, PV__VER_STUB, memory_order_relaxed);
    }
    return v;
}

/* What others have left since the last look. */
static void versions_collect(pv__store *s) {
    pv__mutex_lock(&s->ver_mutex);
    pv__ver_reclaim(s);
    pv__mutex_unlock(&s->ver_mutex);
}

/* A frame: a free one, one within the budget, one that eviction made free; and one beyond the
 * budget when everything is pinned, which a database in memory refuses. */
static pv__ver *versions_frame(pv__store *s, uint64_t page_id, unsigned raw_slots, bool *out_full) {
    const uint64_t size = pv__ver_bytes(raw_slots);
    bool few = false;
    pv__ver *v = pv__frame_take(s, page_id, raw_slots, &few);
    if (v && few && !s->memory &&
        atomic_load_explicit(&s->cache_bytes, memory_order_relaxed) + size > s->cache_limit) {
        pv__ver_evict(s, raw_slots, size); /* ahead: what is evicted now is free a little later */
    }
    v = v ? v : pv__frame_grow(s, page_id, raw_slots, false);
    if (!v) {
        atomic_store_explicit(&s->frames.needed, raw_slots, memory_order_relaxed);
        versions_collect(s);
        v = pv__frame_take(s, page_id, raw_slots, &few);
        v = v ? v : pv__frame_grow(s, page_id, raw_slots, false);
    }
    if (v) {
        return v;
    }
    const uint64_t used = atomic_load_explicit(&s->cache_bytes, memory_order_relaxed);
    if (s->memory) { /* the last bytes, less than a slab */
        *out_full = used + size > s->cache_limit;
        return *out_full ? NULL : pv__frame_grow(s, page_id, raw_slots, true);
    }
    pv__ver_evict(s, raw_slots, size);
    v = pv__frame_take(s, page_id, raw_slots, &few);
    v = v ? v : pv__frame_grow(s, page_id, raw_slots, false);
    return v ? v : pv__frame_grow(s, page_id, raw_slots, true);
}

PV_PRIVATE int pv__ver_new(pv__store *s, uint64_t page_id, unsigned raw_slots, bool resident,
                           pv__ver **out, pv_error *err) {
    bool full = false;
    pv__ver *v =
        resident ? versions_frame(s, page_id, raw_slots, &full) : versions_stub(s, page_id);
    if (!v && full && s->memory) {
        return pv__err(err, PV_ERR_LIMIT,
                       "the in-memory database has reached its budget of %llu bytes",
                       (unsigned long long)s->cache_limit);
    }
    if (!v) {
        return pv__err_nomem(err, resident ? pv__ver_bytes(raw_slots) : PV__VER_STUB);
    }
    v->raw_slots = (uint8_t)raw_slots;
    pv__ver_set(v, resident ? PV__VER_RESIDENT : 0);
    atomic_fetch_add_explicit(&s->versions, 1, memory_order_relaxed);
    *out = v;
    return PV_OK;
}

PV_PRIVATE void pv__ver_free(pv__store *s, pv__ver *v) {
    atomic_fetch_sub_explicit(&s->versions, 1, memory_order_relaxed);
    if (pv__ver_flags(v) & PV__VER_RESIDENT) {
        pv__frame_free(s, v);
    } else {
        atomic_fetch_sub_explicit(&s->cache_bytes, PV__VER_STUB, memory_order_relaxed);
        pv__alloc_free(s->mem, v, PV__VER_STUB);
    }
}

PV_PRIVATE int pv__ver_reserve(pv__store *s, size_t more, pv_error *err) {
    PV_TRY(pv__alloc_grow(s->mem, (void **)&s->superseded, &s->superseded_cap,
                          s->superseded_count + more, sizeof(pv__superseded), err));
    return pv__alloc_grow(s->mem, (void **)&s->retired, &s->retired_cap,
                          s->retired_first + s->retired_count + s->superseded_count + 2 * more + 64,
                          sizeof(pv__retired), err);
}

PV_PRIVATE int pv__dirty_reserve(pv__store *s, size_t more, pv_error *err) {
    return pv__alloc_grow(s->mem, (void **)&s->dirty, &s->dirty_cap, s->dirty_count + more,
                          sizeof(uint64_t), err);
}

PV_PRIVATE int pv__cache_grow(pv__store *s, void **array, size_t *cap, size_t want,
                              size_t elem_size, pv_error *err) {
    const size_t before = *cap;
    const int rc = pv__alloc_grow(s->mem, array, cap, want, elem_size, err);
    atomic_fetch_add_explicit(&s->cache_bytes, (*cap - before) * elem_size, memory_order_relaxed);
    return rc;
}

PV_PRIVATE void pv__cache_drop(pv__store *s, void *array, size_t count, size_t elem_size) {
    if (array) {
        atomic_fetch_sub_explicit(&s->cache_bytes, count * elem_size, memory_order_relaxed);
    }
    pv__alloc_free(s->mem, array, count * elem_size);
}

/* ---- readers ------------------------------------------------------------------------------- */

static pv__rslot *versions_take_slot(pv__store *s, pv_error *err) {
    pv__rchunk *chunk = &s->readers;
    size_t hint = (size_t)(pv__mix64(pv__thread_id()) % PV__RSLOT_CHUNK);
    for (;;) {
        for (size_t i = 0; i < PV__RSLOT_CHUNK; i++) {
            pv__rslot *slot = &chunk->slots[(hint + i) % PV__RSLOT_CHUNK];
            uint32_t no = 0;
            if (atomic_load_explicit(&slot->taken, memory_order_relaxed) == 0 &&
                atomic_compare_exchange_strong_explicit(&slot->taken, &no, 1, memory_order_acquire,
                                                        memory_order_relaxed)) {
                return slot;
            }
        }
        pv__rchunk *next = atomic_load_explicit(&chunk->next, memory_order_acquire);
        if (!next) {
            pv__rchunk *fresh = pv__alloc_aligned(s->mem, sizeof(pv__rchunk), 64);
            if (!fresh) {
                pv__err_nomem(err, sizeof(pv__rchunk));
                return NULL;
            }
            memset(fresh, 0, sizeof *fresh);
            if (atomic_compare_exchange_strong_explicit(
                    &chunk->next, &next, fresh, memory_order_acq_rel, memory_order_acquire)) {
                next = fresh;
            } else {
                pv__alloc_free_aligned(s->mem, fresh, sizeof(pv__rchunk), 64);
            }
        }
        chunk = next;
    }
}

PV_PRIVATE int pv__reader_begin(pv__store *s, pv__rslot **out, uint64_t *out_snap, pv_error *err) {
    pv__rslot *slot = versions_take_slot(s, err);
    if (!slot) {
        return PV_ERR_NOMEM;
    }
    uint64_t snap = atomic_load_explicit(&s->log.visible, memory_order_seq_cst);
    for (;;) {
        /* Announce, then look again: a sweep that missed the announcement had read a visible LSN
         * no newer than ours before it, and keeps what that LSN sees (pv__snaps_collect). */
        atomic_exchange_explicit(&slot->snap, snap, memory_order_seq_cst);
        uint64_t now = atomic_load_explicit(&s->log.visible, memory_order_seq_cst);
        if (now == snap) {
            break;
        }
        snap = now;
    }
    *out = slot;
    *out_snap = snap;
    return PV_OK;
}

PV_PRIVATE int pv__reader_join(pv__store *s, uint64_t snap, pv__rslot **out, pv_error *err) {
    pv__rslot *slot = versions_take_slot(s, err);
    if (!slot) {
        return PV_ERR_NOMEM;
    }
    /* Nobody has to find this announcement: whoever collects snapshots meanwhile finds the other,
     * which was there before and stays. The epoch is this slot's own. */
    atomic_store_explicit(&slot->snap, snap, memory_order_seq_cst);
    *out = slot;
    return PV_OK;
}

PV_PRIVATE void pv__reader_end(pv__rslot *slot) {
    atomic_store_explicit(&slot->epoch, 0, memory_order_release);
    atomic_store_explicit(&slot->snap, 0, memory_order_release);
    atomic_store_explicit(&slot->taken, 0, memory_order_release);
}

PV_PRIVATE void pv__reader_enter(pv__store *s, pv__rslot *slot) {
    uint64_t e = atomic_load_explicit(&s->epoch, memory_order_seq_cst);
    atomic_exchange_explicit(&slot->epoch, e, memory_order_seq_cst);
#if !defined(__SANITIZE_THREAD__)
    /* The pointer loads that follow must not move above the announcement; pairs with the
     * fetch_add in versions_min_epoch. */
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

PV_PRIVATE void pv__reader_leave(pv__rslot *slot) {
    atomic_store_explicit(&slot->epoch, 0, memory_order_release);
}

static void versions_snaps_add(pv__snaps *out, uint64_t lsn) {
    if (out->count == PV__SNAPS_MAX) {
        out->overflow = true;
        out->lsn[0] = PV_MIN(out->lsn[0], lsn);
        return;
    }
    size_t i = out->count++;
    while (i > 0 && out->lsn[i - 1] > lsn) {
        out->lsn[i] = out->lsn[i - 1];
        i--;
    }
    out->lsn[i] = lsn;
}

PV_PRIVATE void pv__snaps_collect(pv__store *s, pv__snaps *out) {
    out->count = 0;
    out->overflow = false;
    /* Before the scan: whoever begins at this LSN or later need not be seen by the scan. */
    out->visible = atomic_load_explicit(&s->log.visible, memory_order_seq_cst);
    if (s->ckpt_snap) {
        versions_snaps_add(out, s->ckpt_snap);
    }
    for (pv__rchunk *c = &s->readers; c; c = atomic_load_explicit(&c->next, memory_order_acquire)) {
        for (size_t i = 0; i < PV__RSLOT_CHUNK; i++) {
            uint64_t snap = atomic_load_explicit(&c->slots[i].snap, memory_order_seq_cst);
            if (snap) {
                versions_snaps_add(out, snap);
            }
        }
    }
}

PV_PRIVATE bool pv__snaps_between(const pv__snaps *snaps, uint64_t from, uint64_t before) {
    /* Commits that are published and not durable yet become visible one by one, so that readers
     * may begin at any of them. */
    if (before > snaps->visible) {
        return true;
    }
    if (snaps->overflow) {
        return snaps->lsn[0] < before;
    }
    size_t lo = 0, hi = snaps->count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (snaps->lsn[mid] < from) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < snaps->count && snaps->lsn[lo] < before;
}

/* ---- retire, sweep ------------------------------------------------------------------------- */

/* Oldest epoch in which somebody may hold pointers, after opening a new one. */
static uint64_t versions_min_epoch(pv__store *s) {
    uint64_t min = atomic_fetch_add_explicit(&s->epoch, 1, memory_order_seq_cst) + 1;
    for (pv__rchunk *c = &s->readers; c; c = atomic_load_explicit(&c->next, memory_order_acquire)) {
        for (size_t i = 0; i < PV__RSLOT_CHUNK; i++) {
            uint64_t e = atomic_load_explicit(&c->slots[i].epoch, memory_order_seq_cst);
            if (e && e < min) {
                min = e;
            }
        }
    }
    return min;
}

PV_PRIVATE void pv__ver_retire(pv__store *s, pv__ver *v) {
    size_t at = s->retired_first + s->retired_count;
    if (at == s->retired_cap && s->retired_first > 0) {
        memmove(s->retired, s->retired + s->retired_first, s->retired_count * sizeof(pv__retired));
        s->retired_first = 0;
        at = s->retired_count;
    }
    PV_DEBUG_ASSERT(at < s->retired_cap); /* pv__ver_reserve came before */
    s->retired[at].ver = v;
    s->retired[at].epoch = atomic_load_explicit(&s->epoch, memory_order_relaxed);
    s->retired_count++;
    if (pv__ver_flags(v) & PV__VER_RESIDENT) {
        s->retired_bytes[v->raw_slots] += pv__ver_bytes(v->raw_slots);
    }
}

PV_PRIVATE void pv__ver_reclaim(pv__store *s) {
    if (s->retired_count == 0) {
        return;
    }
    uint64_t min = versions_min_epoch(s);
    while (s->retired_count > 0 && s->retired[s->retired_first].epoch < min) {
        pv__ver *v = s->retired[s->retired_first].ver;
        if (pv__ver_flags(v) & PV__VER_RESIDENT) {
            s->retired_bytes[v->raw_slots] -= pv__ver_bytes(v->raw_slots);
        }
        pv__ver_free(s, v);
        s->retired_first++;
        s->retired_count--;
    }
    if (s->retired_count == 0) {
        s->retired_first = 0;
    }
}

/* Take v, which has a newer version, out of its chain. */
static void versions_unlink(pv__store *s, pv__ver *v) {
    pv__ver *older = atomic_load_explicit(&v->prev, memory_order_relaxed);
    atomic_store_explicit(&v->newer->prev, older, memory_order_release);
    if (older) {
        older->newer = v->newer;
    }
    if ((pv__ver_flags(v) & (PV__VER_RESIDENT | PV__VER_STORED)) == PV__VER_RESIDENT) {
        atomic_fetch_sub_explicit(&s->dirty_bytes, pv__ver_bytes(v->raw_slots),
                                  memory_order_relaxed);
    }
    pv__ver_retire(s, v);
}

/* Slots of a version that the page table never referred to go when it goes. */
static bool versions_give_slots(pv__store *s, const pv__ver *v) {
    if ((pv__ver_flags(v) & (PV__VER_STORED | PV__VER_TABLED)) != PV__VER_STORED) {
        return true;
    }
    pv_error ignored = PV_ERROR_INIT;
    if (pv__space_reserve_dead(s, 1, &ignored)) {
        return false;
    }
    pv__space_free_later(s, v->pte.slot, v->pte.slots, v->lsn, v->newer->lsn);
    return true;
}

PV_PRIVATE void pv__ver_sweep(pv__store *s) {
    /* With a pinned snapshot most of the list stays: look again only when it has doubled. */
    if (s->superseded_count < 2 * s->superseded_after_sweep + 16) {
        pv__ver_reclaim(s);
        return;
    }
    pv__snaps snaps;
    pv__snaps_collect(s, &snaps);
    size_t kept = 0;
    for (size_t i = 0; i < s->superseded_count; i++) {
        pv__ver *v = s->superseded[i].ver;
        if (pv__snaps_between(&snaps, v->lsn, v->newer->lsn) || !versions_give_slots(s, v)) {
            s->superseded[kept++].ver = v;
            v->list_at = (uint32_t)kept;
        } else {
            versions_unlink(s, v);
        }
    }
    s->superseded_count = kept;
    s->superseded_after_sweep = kept;
    pv__ver_reclaim(s);
}

/* ---- eviction ------------------------------------------------------------------------------ */

/* Replace the resident version v by a descriptor without bytes. `x` when v is the head. */
static bool versions_to_stub(pv__store *s, pv__xent *x, pv__ver *v) {
    pv_error ignored = PV_ERROR_INIT;
    pv__ver *stub = NULL;
    if (pv__ver_new(s, v->page_id, v->raw_slots, false, &stub, &ignored)) {
        return false;
    }
    pv__ver *older = atomic_load_explicit(&v->prev, memory_order_relaxed);
    stub->lsn = v->lsn;
    pv__ver_set(stub, pv__ver_flags(v) & ~PV__VER_RESIDENT);
    stub->list_at = v->list_at;
    stub->pte = v->pte;
    stub->newer = v->newer;
    atomic_store_explicit(&stub->prev, older, memory_order_relaxed);
    if (older) {
        older->newer = stub;
    }
    if (x) {
        atomic_store_explicit(&x->frame, pv__ver_frame(stub), memory_order_release);
    } else {
        atomic_store_explicit(&v->newer->prev, stub, memory_order_release);
    }
    if (stub->list_at) {
        s->superseded[stub->list_at - 1].ver = stub;
    }
    pv__ver_retire(s, v);
    return true;
}

PV_PRIVATE pv__ver *pv__ver_evictable(const pv__xent *x) {
    uintptr_t f = atomic_load_explicit(&x->frame, memory_order_relaxed);
    const pv__ver *mine = atomic_load_explicit(&x->mine, memory_order_relaxed);
    if (f == 0 || (f & 1) || (mine && (pv__ver_flags(mine) & PV__VER_RESIDENT))) {
        return NULL; /* a commit will compare the writer's version with this one */
    }
    pv__ver *v = pv__frame_ver(f);
    return pv__ver_flags(v) & PV__VER_STORED ? v : NULL;
}

PV_PRIVATE bool pv__ver_used(pv__xent *x, unsigned raw_slots) {
    const uint32_t used = atomic_load_explicit(&x->used, memory_order_relaxed);
    if (used == 0) {
        return false;
    }
    atomic_store_explicit(&x->used, used > raw_slots ? used - raw_slots : 0, memory_order_relaxed);
    return true;
}

/* What is kept in few bits comes back without the disk, and goes like something large. */
static bool versions_used(pv__xent *x, const pv__ver *v) {
    return pv__ver_used(x, pv__ver_flags(v) & PV__VER_SQUEEZED ? PV__USED_NOW : v->raw_slots);
}

PV_PRIVATE size_t pv__ver_evict_head(pv__store *s, pv__xent *x, pv__ver *v) {
    const size_t size = pv__ver_bytes(v->raw_slots);
    if (!atomic_load_explicit(&x->mine, memory_order_relaxed) &&
        (pv__ver_flags(v) & PV__VER_TABLED) &&
        !atomic_load_explicit(&v->prev, memory_order_relaxed)) {
        atomic_store_explicit(&x->frame, 0, memory_order_release);
        pv__ver_retire(s, v);
        return size;
    }
    return versions_to_stub(s, x, v) ? size : 0;
}

static uint64_t versions_evict_old(pv__store *s, uint64_t want, size_t most) {
    uint64_t freed = 0;
    for (size_t i = 0; i < s->superseded_count && freed < want && most > 0; i++) {
        pv__ver *v = s->superseded[i].ver;
        if ((pv__ver_flags(v) & PV__VER_RESIDENT) && (pv__ver_flags(v) & PV__VER_STORED)) {
            pv__xent *x = pv__xlat_find(s, v->page_id);
            bool pinned = x && atomic_load_explicit(&x->mine, memory_order_relaxed);
            if (!pinned && versions_to_stub(s, NULL, v)) {
                freed += pv__ver_bytes(v->raw_slots);
                most--;
            }
        }
    }
    return freed;
}

/* The clock over single frames: twice round at most. *io_most: evictions left in this round. */
static uint64_t versions_evict_singles(pv__store *s, uint64_t want, size_t *io_most) {
    pv__ring_view b;
    uint64_t freed = 0, seen = 0;
    while (freed < want && *io_most != 0) {
        /* The hand passes by no more than may be needed. */
        const uint64_t most = (want - freed) / pv__ver_bytes(1) + 1;
        if (!pv__frames_next_singles(s, most, &b) || seen >= 2 * b.all) {
            break;
        }
        for (uint32_t i = 0; i < b.count && freed < want && *io_most != 0; i++) {
            pv__xent *x = pv__xlat_find(s, b.at[i].page_id);
            pv__ver *v = x ? pv__ver_evictable(x) : NULL;
            if ((uintptr_t)v == b.at[i].frame &&
                !versions_used(x, v)) { /* else a second chance */
                const size_t got = pv__ver_evict_head(s, x, v);
                freed += got;
                *io_most -= got != 0;
            }
        }
        seen += b.count;
    }
    return freed;
}

/* Evict from one slab. Of the wanted size: what was not used lately. Of another: everything, when
 * nothing is pinned and most of it was not used lately, because only a whole slab can change its
 * size. Returns bytes that will be free for the wanted size. */
static uint64_t versions_evict_slab(pv__store *s, const pv__slab_view *b, unsigned raw_slots,
                                    size_t *io_most) {
    const bool wanted = b->raw_slots == raw_slots;
    const size_t size = pv__ver_bytes(b->raw_slots);
    uint64_t cold[PV__SLAB_FRAMES_MAX / 64] = {0};
    uint32_t free = 0, unused = 0;
    uint64_t freed = 0;
    for (uint32_t i = 0; i < b->frames; i++) {
        pv__xent *x = b->ids[i] ? pv__xlat_find(s, b->ids[i]) : NULL;
        pv__ver *v = x ? pv__ver_evictable(x) : NULL;
        free += b->ids[i] == 0;
        if ((uintptr_t)v != b->base + i * size) { /* being read, old, retired, or newer than seen */
            continue;
        }
        if (!versions_used(x, v)) {
            cold[i / 64] |= UINT64_C(1) << (i % 64);
            unused++;
        } else if (!wanted) {
            cold[i / 64] |= UINT64_C(1) << (i % 64);
        }
    }
    uint32_t marked = 0;
    for (size_t w = 0; w < PV_COUNTOF(cold); w++) {
        marked += pv__bit_count(cold[w]);
    }
    if (!wanted && (free + marked != b->frames || 2 * unused < marked || marked > *io_most)) {
        return 0;
    }
    for (uint32_t i = 0; i < b->frames && *io_most != 0; i++) {
        if (cold[i / 64] >> (i % 64) & 1) {
            pv__xent *x = pv__xlat_find(s, b->ids[i]);
            const size_t got = pv__ver_evict_head(s, x, pv__ver_evictable(x));
            freed += got;
            *io_most -= got != 0;
        }
    }
    return wanted || freed == 0 ? freed : b->bytes;
}

/* Two rounds over slabs of the wanted size, in which one of all others has its turn, so that memory
 * goes from one size to another as slowly as it should; then over everything, but only for what is
 * needed: for a handful of pages of a rare size the others would go. raw_slots 0: any. */
static uint64_t versions_evict_slabs(pv__store *s, unsigned raw_slots, uint64_t need, uint64_t want,
                                     size_t *io_most) {
    pv__slab_view b;
    uint64_t freed = 0;
    const uint32_t turn = s->evict_turn++;
    for (uint64_t step = 0;
         freed < want && *io_most != 0 && pv__frames_next(s, &b) && step < 3 * (uint64_t)b.count;
         step++) {
        if (step >= 2 * (uint64_t)b.count && freed >= need) {
            break;
        }
        if (raw_slots == 0 || b.raw_slots == raw_slots || b.at == turn % b.count ||
            step >= 2 * (uint64_t)b.count) {
            freed += versions_evict_slab(s, &b, raw_slots, io_most);
        }
    }
    return freed;
}

PV_PRIVATE void pv__ver_evict_same(pv__store *s, unsigned raw_slots) {
    pv_error ignored = PV_ERROR_INIT;
    pv__slab_view b;
    size_t most = 1;
    pv__mutex_lock(&s->ver_mutex);
    pv__ver_reclaim(s);
    if (s->retired_bytes[raw_slots] == 0 && pv__ver_reserve(s, most, &ignored) == PV_OK) {
        for (uint64_t step = 0; most != 0 && pv__frames_next(s, &b) && step < 2 * b.count; step++) {
            if (b.raw_slots == raw_slots) {
                (void)versions_evict_slab(s, &b, raw_slots, &most);
            }
        }
    }
    pv__mutex_unlock(&s->ver_mutex);
}

/* What is on its way out will be free before long: asking again does not make it sooner. */
static uint64_t versions_leaving(const pv__store *s) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i <= PV__PAGE_SLOTS_MAX; i++) {
        bytes += s->retired_bytes[i];
    }
    return bytes;
}

PV_PRIVATE void pv__ver_evict(pv__store *s, unsigned raw_slots, uint64_t want_bytes) {
    pv_error ignored = PV_ERROR_INIT;
    atomic_store_explicit(&s->cramped, true, memory_order_relaxed);
    pv__keep_age(s, &s->squeezed);
    pv__mutex_lock(&s->ver_mutex);
    pv__ver_reclaim(s);
    uint64_t used = atomic_load_explicit(&s->cache_bytes, memory_order_relaxed);
    const uint64_t step = s->cache_limit / 64;
    size_t most = VERSIONS_EVICT_MAX;
    /* The last round found nothing: not again before more is there, or less since a pin went. */
    const bool futile = used < s->evict_again_at && used + step >= s->evict_again_at;
    const uint64_t leaving = versions_leaving(s);
    const bool soon = leaving >= want_bytes && used <= s->cache_limit + leaving &&
                      (s->frames.unit == 0 || s->retired_bytes[raw_slots] >= want_bytes);
    if (futile || soon || pv__ver_reserve(s, most, &ignored)) {
        pv__mutex_unlock(&s->ver_mutex);
        return;
    }
    /* Some more than asked, so that not every miss pays for a round. */
    const uint64_t want = want_bytes + step;
    uint64_t freed = 0;
    if (s->frames.unit == 0) {
        freed = versions_evict_singles(s, want, &most);
    } else {
        const uint64_t excess = pv__frames_excess(s);
        const uint64_t most_used = s->cache_limit + leaving;
        const uint64_t over = used > most_used ? used - most_used : 0;
        if (excess > 0) { /* back to what fits slabs */
            versions_evict_singles(s, excess, &most);
        }
        if (over > excess) { /* less of everything */
            versions_evict_slabs(s, 0, over - excess, over - excess, &most);
        }
        freed = versions_evict_slabs(s, raw_slots, want_bytes, want, &most);
        if (freed < want_bytes) {
            freed += versions_evict_singles(s, want - freed, &most);
        }
    }
    if (freed < want && most > 0) {
        freed += versions_evict_old(s, want - freed, most);
    }
    s->evict_again_at = freed < want_bytes ? used + step : 0;
    pv__ver_reclaim(s);
    pv__mutex_unlock(&s->ver_mutex);
}

PV_PRIVATE void *pv__cache_array(pv__store *s, size_t count, size_t elem_size) {
    const uint64_t used = atomic_load_explicit(&s->cache_bytes, memory_order_relaxed);
    const uint64_t bytes = (uint64_t)count * elem_size;
    if (used + bytes > s->cache_limit) {
        pv__ver_evict(s, 0, used + bytes - s->cache_limit);
    }
    void *array = pv__alloc_array(s->mem, count, elem_size);
    if (array) {
        atomic_fetch_add_explicit(&s->cache_bytes, bytes, memory_order_relaxed);
    }
    return array;
}

#undef VERSIONS_EVICT_MAX
