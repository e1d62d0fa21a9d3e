/* SPDX-License-Identifier: Apache-2.0 */
/* piece.c - a few bytes of pages that are not in memory, without the pages: who ranks by full
 * vectors wants one row of each of a dozen pages, and a page has 64 KiB.
 *
 *   table entry --checksum--> hashes of the page's slots --each--> 4 KiB --> the bytes
 *                             (front: head and hashes, slot 0)
 *
 * So nothing is believed that the table does not vouch for (S4), and an old slot in a new page is
 * found like any other damage. The fronts are kept (keep.c): they are 0.3 % of such pages, and with
 * one at hand a row costs the slots that it lies in.
 *
 * Pages come whole while the cache has room. When it has none, one in PIECE_WHOLE does, in place of
 * another page of its size: what is wanted again and again gets there, and what is wanted once does
 * not drive out what a walk needs all the time. So does one of which several pieces are asked for
 * in a row. Where a piece fails, the page is read, which says why. */
#include "store/internal.h"

#define PIECE_WHOLE 32u    /* so many pieces are read as such for one that brings its page */
#define PIECE_ANYWAY 1024u /* and so many for one that may drive out pages of other sizes */
#define PIECE_RUN 3u       /* more pieces of one page in a row: it comes */
#define PIECE_SHARE 16u    /* of the cache, for fronts */
#define PIECE_FRONT_ABOUT 224u /* bytes of one */

/* ---- fronts --------------------------------------------------------------------------------- */

PV_PRIVATE int pv__fronts_init(pv__store *s, pv_error *err) {
    return pv__keep_init(&s->fronts, s->cache_limit / PIECE_SHARE, PIECE_FRONT_ABOUT, err);
}

/* The front that the entry vouches for, if it is there. */
static bool piece_front_get(pv__store *s, uint64_t page_id, const pv__pte *pte, uint8_t *to) {
    const size_t size = pv__page_front(pte->slots);
    return pv__keep_get(&s->fronts, page_id, pte->checksum, to, size) == size;
}

static void piece_front_put(pv__store *s, uint64_t page_id, const pv__pte *pte,
                            const uint8_t *front) {
    (void)pv__keep_put(s, &s->fronts, page_id, pte->checksum, front, pv__page_front(pte->slots));
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

/* Is it of the version that the transaction sees? */
static bool piece_seen(const pv__txn *t, const piece_job *j, unsigned kind, const uint8_t *head) {
    const uint64_t lsn = pv__page_stamp(head) + 1;
    return lsn <= t->snap && (j->lsn == 0 || j->lsn == lsn) && pv__page_kind(head) == kind;
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
    if (!piece_seen(t, j, kind, front)) {
        return false;
    }
    piece_take(j->p, front, piece_data(j) + j->p->offset - (size_t)j->first * PV__SLOT_SIZE);
    return true;
}

/* The page of one slot, or what is wanted of it, out of few bits or into them. */
static bool piece_unsqueeze(pv__store *s, const piece_job *j, uint8_t *page) {
    uint8_t bytes[PV__SQUEEZED_MAX + PV__SQUEEZED_PAD];
    const pv__piece *p = j->p;
    const uint64_t checksum = j->pte.checksum;
    pv_error ignored = PV_ERROR_INIT;
    if (pv__keep_get(&s->squeezed, p->page_id, checksum, bytes, PV__SQUEEZED_MAX) > 0) {
        pv__unsqueeze(bytes, 0, PV__PAGE_HEAD, page);
        pv__unsqueeze(bytes, p->offset, p->size, page);
        return true;
    }
    if (pv__pageio_read(s, p->page_id, &j->pte, page, &ignored)) {
        return false;
    }
    atomic_fetch_add_explicit(&s->misses, 1, memory_order_relaxed);
    const size_t size = pv__squeeze(page, bytes);
    return size > 0 && pv__keep_put(s, &s->squeezed, p->page_id, checksum, bytes, size);
}

/* A piece of a page that is kept in few bits, or will be: while there is no room no frame is taken
 * for it. */
static bool piece_squeezed(pv__txn *t, unsigned kind, pv__piece *p) {
    pv__store *s = t->store;
    uint8_t page[PV__SLOT_SIZE];
    piece_job j = {.p = p};
    if (t->write || s->memory || kind != PV__PAGE_COLUMN ||
        !atomic_load_explicit(&s->cramped, memory_order_relaxed) || !piece_slots(t, &j) ||
        j.pte.raw_slots != 1 || j.pte.codec != 0 || (size_t)p->offset + p->size > sizeof page ||
        !piece_unsqueeze(s, &j, page) || !piece_seen(t, &j, kind, page)) {
        return false;
    }
    piece_take(p, page, page + p->offset);
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
        } else if (!piece_squeezed(t, kind, j->p)) {
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
#undef PIECE_FRONT_ABOUT
