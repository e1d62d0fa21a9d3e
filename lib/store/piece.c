/* SPDX-License-Identifier: Apache-2.0 */
/* piece.c - a few bytes of pages that are not in memory, without the pages: who ranks by full
 * vectors wants one row of each of a dozen pages, and a page has 64 KiB.
 *
 *   table entry --checksum--> hashes of the page's slots --each--> 4 KiB --> the bytes
 *                             (front: head and hashes, slot 0)
 *
 * So nothing is believed that the table does not vouch for (S4), and an old slot in a new page is
 * found like any other damage. The fronts are kept in a small cache of their own: they are 0.3 % of
 * such pages, and with one at hand a row costs the slots that it lies in.
 *
 * Pages come whole while the cache has room. When it has none, one in PIECE_WHOLE does, in place of
 * another page of its size: what is wanted again and again gets there, and what is wanted once does
 * not drive out what a walk needs all the time. So does one of which several pieces are asked for
 * in a row. Where a piece fails, the page is read, which says why.
 *
 * Lock: fronts.mutex, a leaf; never held during I/O. */
#include "store/internal.h"

#define PIECE_WHOLE 32u    /* so many pieces are read as such for one that brings its page */
#define PIECE_ANYWAY 1024u /* and so many for one that may drive out pages of other sizes */
#define PIECE_RUN 3u       /* more pieces of one page in a row: it comes */
#define PIECE_SHARE 32u    /* of the cache, for fronts */
#define PIECE_WAYS 4u      /* places where a front may be */
#define PIECE_SETS_MAX ((size_t)1 << 14)
#define PIECE_FRONT_ABOUT 256u /* bytes of one, with its place */

/* ---- fronts --------------------------------------------------------------------------------- */

static uint64_t piece_fronts_max(const pv__store *s) { return s->cache_limit / PIECE_SHARE; }

static pv__front *piece_set(const pv__store *s, uint64_t page_id) {
    const pv__fronts *f = &s->fronts;
    return f->ways + (size_t)(pv__mix64(page_id) % f->sets) * PIECE_WAYS;
}

static void piece_book(pv__store *s, size_t more, size_t less) {
    s->fronts.bytes += more;
    s->fronts.bytes -= less;
    atomic_fetch_add_explicit(&s->cache_bytes, more, memory_order_relaxed);
    atomic_fetch_sub_explicit(&s->cache_bytes, less, memory_order_relaxed);
}

/* The front that the entry vouches for, if it is there. */
static bool piece_front_get(pv__store *s, uint64_t page_id, const pv__pte *pte, uint8_t *to) {
    bool found = false;
    pv__mutex_lock(&s->fronts.mutex);
    for (size_t i = 0; i < PIECE_WAYS && s->fronts.sets > 0 && !found; i++) {
        pv__front *w = piece_set(s, page_id) + i;
        if (w->bytes && w->page_id == page_id && w->checksum == pte->checksum &&
            w->slots == pte->slots) {
            memcpy(to, w->bytes, pv__page_front(w->slots));
            w->used = found = true;
        }
    }
    pv__mutex_unlock(&s->fronts.mutex);
    return found;
}

static bool piece_fronts_ready(pv__store *s) {
    pv__fronts *f = &s->fronts;
    if (f->sets == 0) {
        const size_t sets = (size_t)piece_fronts_max(s) / PIECE_FRONT_ABOUT / PIECE_WAYS + 1;
        const size_t count = PV_MIN(sets, PIECE_SETS_MAX) * PIECE_WAYS;
        f->ways = pv__alloc_zero(s->mem, count * sizeof *f->ways);
        f->sets = f->ways ? count / PIECE_WAYS : 0;
        piece_book(s, f->sets * PIECE_WAYS * sizeof *f->ways, 0);
    }
    return f->sets > 0;
}

/* Where a new front goes: that of the same page, a free place, one not used since the last look. */
static pv__front *piece_front_place(pv__store *s, uint64_t page_id) {
    pv__front *const set = piece_set(s, page_id), *place = NULL;
    for (size_t i = 0; i < PIECE_WAYS; i++) {
        if (set[i].bytes && set[i].page_id == page_id) {
            return &set[i];
        }
        place = place && (!place->bytes || !place->used) ? place : &set[i];
    }
    for (size_t i = 0; i < PIECE_WAYS && place->used; i++) {
        set[i].used = false;
    }
    return place;
}

static void piece_front_put(pv__store *s, uint64_t page_id, const pv__pte *pte,
                            const uint8_t *front) {
    const size_t size = pv__page_front(pte->slots);
    pv__mutex_lock(&s->fronts.mutex);
    if (piece_fronts_ready(s)) {
        pv__front *w = piece_front_place(s, page_id);
        if (w->bytes && w->slots != pte->slots) {
            const size_t old = pv__page_front(w->slots);
            pv__alloc_free(s->mem, w->bytes, old);
            piece_book(s, 0, old);
            w->bytes = NULL;
        }
        if (!w->bytes && s->fronts.bytes + size <= piece_fronts_max(s)) {
            w->bytes = pv__alloc(s->mem, size);
            piece_book(s, w->bytes ? size : 0, 0);
        }
        if (w->bytes) {
            w->page_id = page_id;
            w->checksum = pte->checksum;
            w->slots = pte->slots;
            w->used = false;
            memcpy(w->bytes, front, size);
        }
    }
    pv__mutex_unlock(&s->fronts.mutex);
}

PV_PRIVATE int pv__fronts_init(pv__store *s, pv_error *err) {
    return pv__mutex_init(&s->fronts.mutex, err);
}

PV_PRIVATE void pv__fronts_done(pv__store *s) {
    pv__fronts *f = &s->fronts;
    for (size_t i = 0; i < f->sets * PIECE_WAYS; i++) {
        pv__alloc_free(s->mem, f->ways[i].bytes, pv__page_front(f->ways[i].slots));
    }
    pv__alloc_free(s->mem, f->ways, f->sets * PIECE_WAYS * sizeof *f->ways);
    pv__mutex_done(&f->mutex);
}

/* ---- one piece ------------------------------------------------------------------------------ */

typedef struct piece_job {
    pv__piece *p;
    pv__pte pte;
    uint64_t lsn;         /* of the version, where that is known; else 0 */
    uint32_t first, last; /* slots that the piece lies in */
    bool has_front;
    uint8_t *room; /* the front's slot, and behind it those of the piece; one and the same for 0 */
} piece_job;

static void piece_take(pv__piece *p, const uint8_t *head, const uint8_t *bytes) {
    p->owner = pv__page_owner(head);
    p->ordinal = pv__page_ordinal(head);
    p->slots = pv__page_slots(head);
    memcpy(p->to, bytes, p->size);
}

static int piece_whole(pv__txn *t, unsigned kind, pv__piece *p, pv_error *err) {
    const uint8_t *page = NULL;
    PV_TRY(pv__page_read(t, p->page_id, kind, &page, err));
    PV_ASSERT((size_t)p->offset + p->size <= pv__page_size(page));
    piece_take(p, page, page + p->offset);
    return PV_OK;
}

/* Slots that hold what the transaction sees of the page. False: it is in memory, or its story is a
 * longer one. */
static bool piece_slots(pv__txn *t, piece_job *j) {
    pv__store *s = t->store;
    pv_error ignored = PV_ERROR_INIT;
    const pv__xent *x = pv__xlat_find(s, j->p->page_id);
    const uintptr_t f = x ? atomic_load_explicit(&x->frame, memory_order_acquire) : 0;
    j->lsn = 0;
    if (f == 0) {
        if (pv__table_lookup(s, j->p->page_id, &j->pte, &ignored)) {
            return false;
        }
        /* The table is of a version that this snapshot sees if none was published meanwhile: then
         * this one would hang behind it, because the snapshot is announced (S11). */
        x = x ? x : pv__xlat_find(s, j->p->page_id);
        return !x || atomic_load_explicit(&x->frame, memory_order_acquire) == 0;
    }
    pv__ver *v = pv__frame_ver(f);
    while (v && v->lsn > t->snap) {
        v = atomic_load_explicit(&v->prev, memory_order_acquire);
    }
    if (!v || (pv__ver_flags(v) & (PV__VER_FREED | PV__VER_RESIDENT))) {
        return false;
    }
    pv__mutex_lock(&s->ver_mutex);
    j->pte = v->pte;
    pv__mutex_unlock(&s->ver_mutex);
    j->lsn = v->lsn;
    return true;
}

/* The last pieces were of this page too: rows are asked for one after the other. Only a guess, and
 * threads that ask at the same time may spoil it. */
static bool piece_again(pv__store *s, uint64_t page_id) {
    if (atomic_exchange_explicit(&s->piece_page, page_id, memory_order_relaxed) != page_id) {
        atomic_store_explicit(&s->piece_run, 1, memory_order_relaxed);
        return false;
    }
    return atomic_fetch_add_explicit(&s->piece_run, 1, memory_order_relaxed) + 1 > PIECE_RUN;
}

/* Is there so little room that the page should not come for this piece? */
static bool piece_pays(pv__store *s, uint64_t page_id, unsigned slots) {
    if (!atomic_load_explicit(&s->cramped, memory_order_relaxed)) {
        return false;
    }
    const uint64_t used = atomic_load_explicit(&s->cache_bytes, memory_order_relaxed);
    if (used < s->cache_limit / 4 * 3) { /* much has gone */
        atomic_store_explicit(&s->cramped, false, memory_order_relaxed);
        return false;
    }
    if (piece_again(s, page_id)) {
        return false;
    }
    const uint64_t turn = atomic_fetch_add_explicit(&s->pieces, 1, memory_order_relaxed);
    if (turn % PIECE_WHOLE != 0) {
        return true;
    }
    if (turn % PIECE_ANYWAY == 0 || pv__frames_free(s, slots) > 0) {
        return false;
    }
    pv__ver_evict_same(s, slots); /* for the next one */
    return true;
}

static bool piece_plan(pv__txn *t, piece_job *j) {
    pv__store *s = t->store;
    pv_error ignored = PV_ERROR_INIT;
    const pv__piece *p = j->p;
    if (t->write || s->memory || !piece_slots(t, j) || j->pte.codec != PV__PTE_BY_SLOT ||
        pv__pageio_check_pte(p->page_id, &j->pte, &ignored) ||
        (size_t)p->offset + p->size > (size_t)j->pte.slots * PV__SLOT_SIZE ||
        !piece_pays(s, p->page_id, j->pte.slots)) {
        return false;
    }
    j->first = p->offset / PV__SLOT_SIZE;
    j->last = (p->offset + p->size - 1) / PV__SLOT_SIZE;
    j->has_front = j->first > 0 && piece_front_get(s, p->page_id, &j->pte, j->room);
    return true;
}

static uint8_t *piece_data(const piece_job *j) {
    return j->room + (j->first > 0 ? PV__SLOT_SIZE : 0);
}

static size_t piece_ask(const piece_job *j, pv_io *io) {
    size_t n = 0;
    if (j->first > 0 && !j->has_front) {
        io[n++] = (pv_io){j->pte.slot * PV__SLOT_SIZE, j->room, PV__SLOT_SIZE, 0};
    }
    io[n++] = (pv_io){(j->pte.slot + j->first) * PV__SLOT_SIZE, piece_data(j),
                      (size_t)(j->last - j->first + 1) * PV__SLOT_SIZE, 0};
    return n;
}

/* Slot 0 as it was read becomes what it is in memory, and the front. */
static bool piece_verify_front(pv__store *s, const piece_job *j, uint8_t *front) {
    const size_t size = pv__page_front(j->pte.slots);
    memcpy(front, j->room, size);
    memset(j->room + PV__PAGE_HEAD, 0, size - PV__PAGE_HEAD);
    return pv__slots_checksum(s, j->p->page_id, front + PV__PAGE_HEAD, j->pte.slots) ==
               j->pte.checksum &&
           pv__slot_hash(j->room) == pv__get64(front + PV__PAGE_HEAD) &&
           pv__head_is_of(s, j->p->page_id, &j->pte, front);
}

static bool piece_verify(pv__txn *t, unsigned kind, const piece_job *j) {
    pv__store *s = t->store;
    uint8_t front[PV__PAGE_FRONT_MAX];
    if (j->has_front) {
        memcpy(front, j->room, pv__page_front(j->pte.slots));
    } else if (piece_verify_front(s, j, front)) {
        piece_front_put(s, j->p->page_id, &j->pte, front);
    } else {
        return false;
    }
    for (uint32_t i = PV_MAX(j->first, 1u); i <= j->last; i++) {
        const uint8_t *slot = piece_data(j) + (size_t)(i - j->first) * PV__SLOT_SIZE;
        if (pv__slot_hash(slot) != pv__get64(front + PV__PAGE_HEAD + 8 * (size_t)i)) {
            return false;
        }
    }
    const uint64_t lsn = pv__page_stamp(front) + 1;
    if (lsn > t->snap || (j->lsn != 0 && j->lsn != lsn) || pv__page_kind(front) != kind) {
        return false;
    }
    piece_take(j->p, front, piece_data(j) + j->p->offset - (size_t)j->first * PV__SLOT_SIZE);
    return true;
}

/* ---- many ----------------------------------------------------------------------------------- */

PV_PRIVATE int pv__page_pieces(pv__txn *t, unsigned kind, pv__piece *pieces, size_t n,
                               uint8_t *scratch, pv_error *err) {
    pv__store *s = t->store;
    piece_job jobs[PV__PIECES_MAX];
    pv_io io[2 * PV__PIECES_MAX];
    pv_error ignored = PV_ERROR_INIT;
    size_t count = 0, asked = 0;
    PV_ASSERT(n <= PV__PIECES_MAX);
    pv__txn_enter(t);
    for (size_t i = 0; i < n; i++) {
        piece_job *j = &jobs[count];
        j->p = &pieces[i];
        j->room = scratch;
        if (piece_plan(t, j)) {
            asked += piece_ask(j, io + asked);
            scratch += pv__piece_scratch(j->p->size);
            count++;
        } else {
            PV_TRY(piece_whole(t, kind, j->p, err));
        }
    }
    if (count == 0) {
        return PV_OK;
    }
    atomic_fetch_add_explicit(&s->misses, count, memory_order_relaxed);
    const int rc = s->vfs->read(s->vfs, s->file, io, asked, &ignored);
    for (size_t i = 0; i < count; i++) {
        if (rc || !piece_verify(t, kind, &jobs[i])) {
            PV_TRY(piece_whole(t, kind, jobs[i].p, err));
        }
    }
    return PV_OK;
}

#undef PIECE_WHOLE
#undef PIECE_ANYWAY
#undef PIECE_RUN
#undef PIECE_SHARE
#undef PIECE_WAYS
#undef PIECE_SETS_MAX
#undef PIECE_FRONT_ABOUT
