/* SPDX-License-Identifier: Apache-2.0 */
/* spill.c - when a write transaction needs more memory than there is: which of its own versions go
 * to slots, and when.
 *
 *      pause --memory is short?--> the hand goes on, over slabs and single frames alike
 *                                    committed, in slots, not used lately   evicted
 *                                    private, in slots, not used lately     a stub stays
 *                                    private, changed, not used lately      queued (image.c),
 *                                                                           written, a stub stays
 *
 * One budget and one clock for what all have committed and what this transaction has made: whatever
 * was not used for the longest time goes, until there is some room ahead. A page that is brought
 * back and not changed keeps its slots, so that it goes again without being written. A share of the
 * cache is the writer's in any case; else readers alone could make it write each page at each use.
 *
 * Runs in a pause: nobody holds pointers of this transaction, and no thread reads it. */
#include "store/internal.h"

#define SPILL_SHARE 8u /* the writer's at least: one part of so many */
#define SPILL_ROOM 32u /* of the cache: one part of so many is kept free ahead */
#define SPILL_RUN 512u /* pages written at once */
#define SPILL_ROUNDS (PV__USED_NOW + 2u)

typedef struct spill_run {
    pv__txn *t;
    unsigned raw_slots; /* frames of this size are wanted */
    uint64_t want, freed;
    size_t most; /* retired versions that there is room for */
    uint64_t steps;
    uint64_t dirty[SPILL_RUN]; /* pages that have to be written first */
    size_t dirty_count;
    uint64_t dirty_bytes;
} spill_run;

typedef enum spill_kind { SPILL_STAYS, SPILL_COMMITTED, SPILL_STORED, SPILL_CHANGED } spill_kind;

/* What is in this frame? Under ver_mutex. */
static spill_kind spill_look(const pv__txn *t, const pv__xent *x, uintptr_t frame, pv__ver **out) {
    pv__ver *mine = x ? atomic_load_explicit(&x->mine, memory_order_relaxed) : NULL;
    if (mine && (uintptr_t)mine == frame) {
        *out = mine;
        if (mine->page_id == PV__META_PAGE || t->touched[mine->list_at - 1].queued) {
            return SPILL_STAYS; /* queued: seen in the round before */
        }
        return pv__ver_flags(mine) & PV__VER_STORED ? SPILL_STORED : SPILL_CHANGED;
    }
    *out = x ? pv__ver_evictable(x) : NULL; /* else being read, old, retired, newer than seen */
    return *out && (uintptr_t)*out == frame ? SPILL_COMMITTED : SPILL_STAYS;
}

/* A stub in the place of the private version v, which is in slots. Under ver_mutex. */
static size_t spill_to_stub(pv__txn *t, pv__xent *x, pv__ver *v) {
    pv__store *s = t->store;
    pv_error ignored = PV_ERROR_INIT;
    pv__ver *stub = NULL;
    if (pv__ver_new(s, v->page_id, v->raw_slots, false, &stub, &ignored)) {
        return 0;
    }
    stub->lsn = v->lsn;
    stub->pte = v->pte;
    stub->list_at = v->list_at;
    stub->level = v->level;
    pv__ver_set(stub, PV__VER_STORED);
    atomic_store_explicit(&x->mine, stub, memory_order_relaxed);
    pv__mine_less(t, v->raw_slots);
    const size_t size = pv__ver_bytes(v->raw_slots);
    pv__ver_free(s, v); /* nobody holds pointers of this transaction */
    return size;
}

/* Let go of one that is cold, or note that it has to be written. Returns the bytes that are, or
 * will be, free. */
static size_t spill_one(spill_run *r, pv__xent *x, spill_kind kind, pv__ver *v) {
    size_t size = 0;
    if (kind == SPILL_COMMITTED && r->most > 0) {
        size = pv__ver_evict_head(r->t->store, x, v);
        r->most -= size != 0;
        r->freed += size;
    } else if (kind == SPILL_STORED) {
        size = spill_to_stub(r->t, x, v);
        r->freed += size;
    } else if (kind == SPILL_CHANGED && r->dirty_count < SPILL_RUN) {
        size = pv__ver_bytes(v->raw_slots);
        r->dirty[r->dirty_count++] = v->page_id;
        r->t->touched[v->list_at - 1].queued = true;
        r->dirty_bytes += size;
    }
    return size;
}

static bool spill_has_enough(const spill_run *r) {
    return r->freed + r->dirty_bytes >= r->want || r->dirty_count == SPILL_RUN || r->most == 0;
}

/* ---- the hand ------------------------------------------------------------------------------ */

/* As eviction does (versions.c): of the wanted size, what is cold; of another, all of a slab of
 * which nothing has to stay and most is cold. */
static void spill_slab(spill_run *r, const pv__slab_view *b) {
    pv__store *s = r->t->store;
    const bool wanted = r->raw_slots == 0 || b->raw_slots == r->raw_slots;
    const size_t size = pv__ver_bytes(b->raw_slots);
    uint64_t cold[PV__SLAB_FRAMES_MAX / 64] = {0};
    uint32_t free = 0, unused = 0, marked = 0;
    pv__ver *v = NULL;
    for (uint32_t i = 0; i < b->frames; i++) {
        pv__xent *x = b->ids[i] ? pv__xlat_find(s, b->ids[i]) : NULL;
        free += b->ids[i] == 0;
        if (b->ids[i] == 0 || spill_look(r->t, x, b->base + i * size, &v) == SPILL_STAYS) {
            continue;
        }
        const bool used = pv__ver_used(x, b->raw_slots);
        unused += !used;
        if (!used || !wanted) {
            cold[i / 64] |= UINT64_C(1) << (i % 64);
            marked++;
        }
    }
    if (!wanted && (free + marked != b->frames || 2 * unused < marked || marked > r->most ||
                    marked > SPILL_RUN - r->dirty_count)) {
        return;
    }
    for (uint32_t i = 0; i < b->frames && !(wanted && spill_has_enough(r)); i++) {
        if (cold[i / 64] >> (i % 64) & 1) {
            pv__xent *x = pv__xlat_find(s, b->ids[i]);
            const spill_kind kind = spill_look(r->t, x, b->base + i * size, &v);
            (void)spill_one(r, x, kind, v);
        }
    }
}

/* False: round often enough. */
static bool spill_next_slab(spill_run *r, uint32_t turn) {
    pv__slab_view b;
    if (!pv__frames_next(r->t->store, &b) || r->steps >= SPILL_ROUNDS * (uint64_t)b.count) {
        return false;
    }
    if (r->raw_slots == 0 || b.raw_slots == r->raw_slots || b.at == turn % b.count ||
        r->steps >= 2 * (uint64_t)b.count) {
        spill_slab(r, &b);
    }
    r->steps++;
    return true;
}

static bool spill_next_singles(spill_run *r) {
    pv__store *s = r->t->store;
    pv__ring_view b;
    const uint64_t most = (r->want - PV_MIN(r->want, r->freed + r->dirty_bytes)) / pv__ver_bytes(1);
    if (!pv__frames_next_singles(s, most + 1, &b) || r->steps >= SPILL_ROUNDS * b.all) {
        return false;
    }
    for (uint32_t i = 0; i < b.count && !spill_has_enough(r); i++) {
        pv__xent *x = pv__xlat_find(s, b.at[i].page_id);
        pv__ver *v = NULL;
        const spill_kind kind = spill_look(r->t, x, b.at[i].frame, &v);
        if (kind != SPILL_STAYS && !pv__ver_used(x, v->raw_slots)) {
            (void)spill_one(r, x, kind, v);
        }
    }
    r->steps += b.count;
    return true;
}

/* ---- writing ------------------------------------------------------------------------------- */

static pv__ver *spill_mine(pv__txn *t, uint64_t page_id, pv__xent **out_x) {
    *out_x = pv__xlat_find(t->store, page_id);
    return atomic_load_explicit(&(*out_x)->mine, memory_order_relaxed);
}

static int spill_store(spill_run *r, pv_error *err) {
    pv__xent *x = NULL;
    for (unsigned pass = 0; pass < 2; pass++) { /* the second for what failed in the helper */
        for (size_t i = 0; i < r->dirty_count; i++) {
            pv__ver *v = spill_mine(r->t, r->dirty[i], &x);
            if (!(pv__ver_flags(v) & PV__VER_STORED)) {
                PV_TRY(pv__image_queue(r->t, x, v, err));
            }
        }
        PV_TRY(pv__images_settle(r->t, true, err));
    }
    return PV_OK;
}

static int spill_write(spill_run *r, pv_error *err) {
    pv__store *s = r->t->store;
    pv__xent *x = NULL;
    if (r->dirty_count == 0) {
        return PV_OK;
    }
    s->images.soon = true;
    const int rc = spill_store(r, err);
    s->images.soon = false;
    pv__mutex_lock(&s->ver_mutex);
    for (size_t i = 0; i < r->dirty_count; i++) {
        pv__ver *v = spill_mine(r->t, r->dirty[i], &x);
        r->t->touched[v->list_at - 1].queued = false; /* also where it could not be queued */
        if (pv__ver_flags(v) & PV__VER_STORED) {
            r->freed += spill_to_stub(r->t, x, v);
        }
    }
    pv__mutex_unlock(&s->ver_mutex);
    r->dirty_count = 0;
    r->dirty_bytes = 0;
    return rc;
}

/* ---- all ----------------------------------------------------------------------------------- */

/* The hand goes on until enough is free or has to be written. False: it has been round. */
static int spill_look_for(spill_run *r, bool singles, uint32_t turn, bool *out_more,
                          pv_error *err) {
    pv__store *s = r->t->store;
    *out_more = true;
    pv__mutex_lock(&s->ver_mutex);
    pv__ver_reclaim(s);
    int rc = pv__ver_reserve(s, SPILL_RUN, err);
    r->most = SPILL_RUN;
    while (rc == 0 && *out_more && !spill_has_enough(r)) {
        *out_more = singles ? spill_next_singles(r) : spill_next_slab(r, turn);
    }
    pv__ver_reclaim(s);
    pv__mutex_unlock(&s->ver_mutex);
    return rc;
}

static int spill_from(spill_run *r, bool singles, uint32_t turn, pv_error *err) {
    bool more = true;
    r->steps = 0;
    while (more && r->freed < r->want) {
        PV_TRY(spill_look_for(r, singles, turn, &more, err));
        PV_TRY(spill_write(r, err));
    }
    return PV_OK;
}

/* Bytes that a page of the size that is needed could be put in at once. */
static uint64_t spill_room(const pv__store *s, uint64_t used, unsigned raw_slots) {
    const uint64_t room = s->cache_limit > used ? s->cache_limit - used : 0;
    const uint64_t stock = atomic_load_explicit(&s->frames.stock_bytes, memory_order_relaxed);
    return room + stock + (raw_slots ? pv__frames_free(s, raw_slots) : 0);
}

PV_PRIVATE bool pv__txn_tight(const pv__txn *t) {
    const pv__store *s = t->store;
    if (!t->write || s->memory || pv__mine_bytes(t) <= s->cache_limit / SPILL_SHARE) {
        return false;
    }
    const uint64_t used = atomic_load_explicit(&s->cache_bytes, memory_order_relaxed);
    const unsigned needed = atomic_load_explicit(&s->frames.needed, memory_order_relaxed);
    const uint64_t step = s->cache_limit / 64;
    /* The last time not enough was found: not again before more is there, or less. */
    const bool futile = used < t->spill_again_at && used + step >= t->spill_again_at;
    return !futile &&
           (used > s->cache_limit || spill_room(s, used, needed) < s->cache_limit / SPILL_ROOM);
}

PV_PRIVATE int pv__spill(pv__txn *t, pv_error *err) {
    pv__store *s = t->store;
    const uint64_t used = atomic_load_explicit(&s->cache_bytes, memory_order_relaxed);
    const unsigned needed = atomic_load_explicit(&s->frames.needed, memory_order_relaxed);
    const uint64_t over = used > s->cache_limit ? used - s->cache_limit : 0;
    spill_run r = {.t = t, .raw_slots = needed};
    PV_TRY(pv__images_settle(t, true, err)); /* these need not be written again */
    r.want = over + 2 * s->cache_limit / SPILL_ROOM;
    if (s->frames.unit == 0) {
        PV_TRY(spill_from(&r, true, 0, err));
    } else {
        const uint64_t want = r.want;
        r.want = pv__frames_excess(s);
        PV_TRY(spill_from(&r, true, 0, err)); /* back to what fits slabs */
        r.want = want;
        PV_TRY(spill_from(&r, false, s->evict_turn++, err));
    }
    t->spill_again_at = r.freed < r.want ? used + s->cache_limit / 64 : 0;
    return PV_OK;
}

#undef SPILL_SHARE
#undef SPILL_ROOM
#undef SPILL_RUN
#undef SPILL_ROUNDS
