/* SPDX-License-Identifier: Apache-2.0 */
/* image.c - pages of the write transaction to slots of their own, which its record then names by
 * reference, so that loads are not written twice (S5); and those that leave memory before, see
 * spill.c.
 *
 *   finished page --> queue ---(more than IMAGE_BULK_BYTES in all)---> two threads ----.
 *                       |                                                             v
 *   commit: the rest ---'---> this thread too ---> sum, checksum, slots, a room with a run: a write
 *   settle: nobody works on the queue any more; the versions learn their slots
 *
 * While the device has the run of one thread, the other puts the next together: it never waits for
 * us, as long as there are finished pages. A run is what has gathered meanwhile: the device takes
 * 2 MiB at a time nearly twice as fast as 512 KiB.
 *
 * Only the owner of the transaction changes versions and `touched`. The threads read the bytes of
 * queued pages and write into the queue; whoever wants to change or free a queued page settles
 * first. A write that fails is tried again by the commit, which then reports it.
 *
 * Lock: images.mutex, a leaf; never held during work. Syncing is the commit's (txn.c). */
#include "store/internal.h"

#define IMAGE_BULK_BYTES ((uint64_t)1 << 20) /* images beyond this in one commit go by reference */
#define IMAGE_RUN_BYTES ((size_t)512 << 10)  /* worth a write */
#define IMAGE_RUN_LARGE ((size_t)1792 << 10) /* in one write at most: a room is a huge page, */
#define IMAGE_LARGE_CACHE ((uint64_t)128 << 20) /* where the cache is of this size */
#define IMAGE_LARGE 16u                 /* slots: what is spilled and large is hardly read again */
#define IMAGE_KEEP ((uint64_t)32 << 20) /* a cache of this size can spare three rooms */
#define IMAGE_PAGE ((size_t)PV__PAGE_SLOTS_MAX * PV__SLOT_SIZE)

/* ---- work ---------------------------------------------------------------------------------- */

/* Write n images that lie one behind the other in `room`. */
static int image_write_room(pv__store *s, const pv__image *images, size_t n, uint8_t *room,
                            pv_error *err) {
    pv_io io[PV__IMAGE_RUN];
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t offset = images[i].pte.slot * PV__SLOT_SIZE;
        const size_t size = (size_t)images[i].pte.slots * PV__SLOT_SIZE;
        if (count > 0 && io[count - 1].offset + io[count - 1].size == offset) {
            io[count - 1].size += size;
        } else {
            io[count].offset = offset;
            io[count].data = room;
            io[count].size = size;
            io[count++].done = 0;
        }
        room += size;
    }
    if (s->images.soon && images[0].pte.raw_slots < IMAGE_LARGE) {
        return s->vfs->write(s->vfs, s->file, io, count, err);
    }
    return pv__vfs_write_around(s->vfs, s->file, io, count, err);
}

/* Put n pages, n >= 1, into the room and give them slots. */
static int image_seal(pv__store *s, pv__image *images, size_t n, uint8_t *room, pv_error *err) {
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        pv__image *im = &images[i];
        const uint8_t *page = pv__ver_page(im->ver);
        memset(&im->pte, 0, sizeof im->pte);
        const uint8_t *bytes = pv__pageio_encode(s, im->ver->page_id, page, room + used, &im->pte);
        im->sum = pv__sum_page(im->ver->page_id, page, (size_t)im->ver->raw_slots * PV__SLOT_SIZE);
        if (bytes == page) {
            memcpy(room + used, page, (size_t)im->pte.slots * PV__SLOT_SIZE);
        }
        used += (size_t)im->pte.slots * PV__SLOT_SIZE;
    }
    return pv__space_alloc_all(s, images, n, err);
}

/* Write what was sealed. */
static int image_write(pv__store *s, pv__image *images, size_t n, uint8_t *room, pv_error *err) {
    const int rc = image_write_room(s, images, n, room, err);
    for (size_t i = 0; i < n; i++) {
        if (rc) {
            pv__space_free_now(s, images[i].pte.slot, images[i].pte.slots);
        }
        images[i].stored = rc == PV_OK;
    }
    return rc;
}

/* Take pages from the queue, as long as it is worth a write. Under the mutex. */
static size_t image_take(pv__images *q, pv__image *out, size_t *out_first) {
    size_t n = 0, bytes = 0;
    *out_first = q->next;
    if (q->left_bytes < IMAGE_RUN_BYTES && !q->finish) {
        return 0;
    }
    /* Half of what is there, so that others have something to do at the end. */
    const uint64_t half = PV_MAX(q->left_bytes / 2, (uint64_t)IMAGE_RUN_BYTES);
    const uint64_t most = PV_MIN(half, (uint64_t)q->run_max);
    while (q->next < q->count && n < PV__IMAGE_RUN && bytes < most) {
        out[n] = q->list[q->next++];
        bytes += (size_t)out[n++].ver->raw_slots * PV__SLOT_SIZE;
    }
    q->left_bytes -= bytes;
    q->busy += n != 0;
    return n;
}

/* The last page of a run may be the largest. */
static size_t image_room_bytes(const pv__store *s) { return s->images.run_max + IMAGE_PAGE; }

/* On huge pages like slabs where there are any: the device gets fewer and longer pieces. */
static uint8_t *image_room_new(pv__store *s) {
    const size_t bytes = image_room_bytes(s);
    uint8_t *room = NULL;
    if (s->frames.unit == 0) {
        room = pv__alloc_aligned(s->mem, bytes, PV__VFS_AROUND);
    } else if (pv__alloc_book(s->mem, bytes)) {
        room = pv__sys_map(bytes);
        if (!room) {
            pv__alloc_unbook(s->mem, bytes);
        }
    }
    if (room) {
        atomic_fetch_add_explicit(&s->cache_bytes, bytes, memory_order_relaxed);
    }
    return room;
}

static void image_room_free(pv__store *s, uint8_t *room) {
    const size_t bytes = image_room_bytes(s);
    if (!room) {
        return;
    }
    atomic_fetch_sub_explicit(&s->cache_bytes, bytes, memory_order_relaxed);
    if (s->frames.unit == 0) {
        pv__alloc_free_aligned(s->mem, room, bytes, PV__VFS_AROUND);
    } else {
        pv__sys_unmap(room, bytes);
        pv__alloc_unbook(s->mem, bytes);
    }
}

/* Those of a large cache are kept and are part of its budget. */
static uint8_t *image_room_take(pv__store *s) {
    uint8_t *room = NULL;
    pv__mutex_lock(&s->images.mutex);
    for (size_t i = 0; i < PV_COUNTOF(s->images.rooms) && !room; i++) {
        room = s->images.rooms[i];
        s->images.rooms[i] = NULL;
    }
    pv__mutex_unlock(&s->images.mutex);
    return room ? room : image_room_new(s);
}

static void image_room_give(pv__store *s, uint8_t *room) {
    if (!room) {
        return;
    }
    pv__mutex_lock(&s->images.mutex);
    for (size_t i = 0; i < PV_COUNTOF(s->images.rooms) && s->cache_limit >= IMAGE_KEEP; i++) {
        if (!s->images.rooms[i]) {
            s->images.rooms[i] = room;
            room = NULL;
            break;
        }
    }
    pv__mutex_unlock(&s->images.mutex);
    image_room_free(s, room);
}

/* A run that image_take gave is done with. Under the mutex. */
static void image_put_back(pv__images *q, const pv__image *run, size_t n, size_t first) {
    memcpy(q->list + first, run, n * sizeof *run); /* the list may have moved */
    q->busy--;
    pv__cond_signal(&q->cond);
}

/* Work on the queue until nothing is left to take, or a write fails. */
static int image_run(pv__store *s, pv_error *err) {
    pv__images *q = &s->images;
    pv__image run[PV__IMAGE_RUN];
    uint8_t *room = image_room_take(s);
    int rc = room ? PV_OK : pv__err_nomem(err, image_room_bytes(s));
    pv__mutex_lock(&q->mutex);
    while (!rc) {
        size_t first = 0;
        const size_t n = image_take(q, run, &first);
        if (n == 0) {
            break;
        }
        pv__mutex_unlock(&q->mutex);
        rc = image_seal(s, run, n, room, err);
        rc = rc ? rc : image_write(s, run, n, room, err);
        pv__mutex_lock(&q->mutex);
        image_put_back(q, run, n, first);
    }
    pv__mutex_unlock(&q->mutex);
    image_room_give(s, room);
    return rc;
}

static void image_help(void *ctx) {
    pv_error told_again = PV_ERROR_INIT; /* by the commit */
    (void)image_run(ctx, &told_again);
}

/* There are so many bytes that nobody has taken. */
static void image_call(pv__store *s, uint64_t left_bytes) {
    const size_t crew = s->cache_limit >= IMAGE_KEEP ? PV_COUNTOF(s->images.crew) : 1;
    for (size_t i = 0; i < crew && left_bytes >= IMAGE_RUN_BYTES; i++) {
        if (pv__helper_start(&s->images.crew[i], image_help, s)) {
            left_bytes -= IMAGE_RUN_BYTES;
        }
    }
}

/* ---- queue --------------------------------------------------------------------------------- */

/* The part of the committed version in the database checksum, before it may be evicted. */
static void image_old_sum(pv__xent *x, const pv__ver *v, pv__touched *w) {
    if (!w->has_old_sum) {
        uintptr_t f = atomic_load_explicit(&x->frame, memory_order_acquire);
        if (f && !(f & 1)) { /* resident: it is pinned while our version is */
            pv__ver *base = pv__frame_ver(f);
            w->old_sum = pv__sum_page(v->page_id, pv__ver_page(base),
                                      (size_t)base->raw_slots * PV__SLOT_SIZE);
        }
        w->has_old_sum = true;
    }
}

/* Resident, not in slots, and nothing to compare it with. */
static bool image_is_new(const pv__txn *t, pv__xent *x, const pv__ver *v) {
    uintptr_t f = atomic_load_explicit(&x->frame, memory_order_acquire);
    return (pv__ver_flags(v) & (PV__VER_RESIDENT | PV__VER_STORED)) == PV__VER_RESIDENT &&
           v->page_id != PV__META_PAGE &&
           (f == 0 || (pv__ver_flags(pv__frame_ver(f)) & PV__VER_FREED) ||
            t->touched[v->list_at - 1].has_old_sum);
}

static int image_push(pv__txn *t, pv__ver *v, uint64_t *out_left_bytes, pv_error *err) {
    pv__images *q = &t->store->images;
    pv__touched *w = &t->touched[v->list_at - 1];
    pv__mutex_lock(&q->mutex);
    int rc = pv__alloc_grow(t->store->mem, (void **)&q->list, &q->cap, q->count + 1,
                            sizeof(pv__image), err);
    if (!rc) {
        pv__image *im = &q->list[q->count++];
        memset(im, 0, sizeof *im);
        im->ver = v;
        w->queued = true;
        q->left_bytes += (uint64_t)v->raw_slots * PV__SLOT_SIZE;
        t->queued_bytes += (uint64_t)v->raw_slots * PV__SLOT_SIZE;
    }
    *out_left_bytes = q->left_bytes;
    pv__mutex_unlock(&q->mutex);
    return rc;
}

PV_PRIVATE int pv__image_queue(pv__txn *t, pv__xent *x, pv__ver *v, pv_error *err) {
    uint64_t left_bytes = 0;
    image_old_sum(x, v, &t->touched[v->list_at - 1]);
    return image_push(t, v, &left_bytes, err);
}

PV_PRIVATE void pv__page_finished(pv__txn *t, uint64_t page_id) {
    pv__store *s = t->store;
    uint64_t left_bytes = 0;
    pv_error ignored = PV_ERROR_INIT;
    pv__xent *x = pv__xlat_find(s, page_id);
    pv__ver *v = x ? atomic_load_explicit(&x->mine, memory_order_relaxed) : NULL;
    if (s->memory || s->no_threads || t->savepoint_count > 0 || t->doomed || !v ||
        t->touched[v->list_at - 1].queued || !image_is_new(t, x, v) ||
        image_push(t, v, &left_bytes, &ignored)) {
        return;
    }
    if (t->queued_bytes >= IMAGE_BULK_BYTES) {
        pv__frames_ahead(s);
        image_call(s, left_bytes);
    }
}

/* This thread and the others do all that is left. */
static int image_finish(pv__store *s, pv_error *err) {
    pv__images *q = &s->images;
    pv__mutex_lock(&q->mutex);
    q->finish = true;
    const uint64_t left_bytes = q->left_bytes;
    pv__mutex_unlock(&q->mutex);
    image_call(s, left_bytes - PV_MIN(left_bytes, (uint64_t)IMAGE_RUN_BYTES)); /* one is ours */
    return image_run(s, err);
}

PV_PRIVATE int pv__images_settle(pv__txn *t, bool finish, pv_error *err) {
    pv__store *s = t->store;
    pv__images *q = &s->images;
    if (t->queued_bytes == 0) {
        return PV_OK;
    }
    int rc = finish ? image_finish(s, err) : PV_OK;
    pv__mutex_lock(&q->mutex);
    size_t tried = q->next;
    q->next = q->count; /* the rest is nobody's any more */
    while (q->busy > 0) {
        pv__cond_wait(&q->cond, &q->mutex);
    }
    for (size_t i = 0; i < q->count; i++) {
        pv__image *im = &q->list[i];
        pv__touched *w = &t->touched[im->ver->list_at - 1];
        w->queued = false;
        if (i < tried && im->stored) {
            im->ver->pte = im->pte;
            w->new_sum = im->sum;
            w->has_old_sum = true; /* of new pages: 0 */
            pv__ver_set(im->ver, pv__ver_flags(im->ver) | PV__VER_STORED);
        }
    }
    q->count = q->next = 0;
    q->left_bytes = 0;
    q->finish = false;
    pv__mutex_unlock(&q->mutex);
    t->queued_bytes = 0;
    return rc;
}

/* ---- commit -------------------------------------------------------------------------------- */

static pv__ver *image_mine(pv__txn *t, size_t i, pv__xent **out_x) {
    pv__xent *x = pv__xlat_find(t->store, t->touched[i].page_id);
    *out_x = x;
    return atomic_load_explicit(&x->mine, memory_order_relaxed);
}

PV_PRIVATE int pv__images_store(pv__txn *t, bool *out_sync, pv_error *err) {
    uint64_t bytes = 0;
    pv__xent *x = NULL;
    for (size_t i = 0; i < t->touched_count; i++) {
        pv__ver *v = image_mine(t, i, &x);
        if (v && image_is_new(t, x, v)) {
            bytes += (uint64_t)v->raw_slots * PV__SLOT_SIZE;
        }
    }
    if (bytes < IMAGE_BULK_BYTES) {
        PV_TRY(pv__images_settle(t, false, err)); /* nothing of it was written */
    }
    for (unsigned pass = 0; pass < 2 && bytes >= IMAGE_BULK_BYTES; pass++) {
        for (size_t i = 0; i < t->touched_count; i++) {
            pv__ver *v = image_mine(t, i, &x);
            if (v && !t->touched[i].queued && image_is_new(t, x, v)) {
                PV_TRY(pv__image_queue(t, x, v, err));
                PV_TRY(pv__store_interrupted(t->store, err));
            }
        }
        PV_TRY(pv__images_settle(t, true, err)); /* what fails in the helper comes again */
    }
    for (size_t i = 0; i < t->touched_count; i++) {
        pv__ver *v = image_mine(t, i, &x);
        const uint32_t flags = v ? pv__ver_flags(v) : 0;
        *out_sync |= (flags & PV__VER_STORED) != 0; /* or spilled earlier */
    }
    return PV_OK;
}

/* ---- life ----------------------------------------------------------------------------------- */

PV_PRIVATE int pv__images_init(pv__store *s, pv_error *err) {
    PV_TRY(pv__mutex_init(&s->images.mutex, err));
    PV_TRY(pv__cond_init(&s->images.cond, err));
    s->images.run_max = s->cache_limit < IMAGE_LARGE_CACHE ? IMAGE_RUN_BYTES : IMAGE_RUN_LARGE;
    for (size_t i = 0; i < PV_COUNTOF(s->images.crew); i++) {
        PV_TRY(pv__helper_init(&s->images.crew[i], !s->no_threads, err));
    }
    return pv__helper_init(&s->helper, !s->no_threads, err);
}

PV_PRIVATE void pv__images_done(pv__store *s) {
    for (size_t i = 0; i < PV_COUNTOF(s->images.rooms); i++) {
        image_room_free(s, s->images.rooms[i]);
    }
    for (size_t i = 0; i < PV_COUNTOF(s->images.crew); i++) {
        pv__helper_done(&s->images.crew[i]);
    }
    pv__alloc_free(s->mem, s->images.list, s->images.cap * sizeof(pv__image));
    pv__cond_done(&s->images.cond);
    pv__mutex_done(&s->images.mutex);
    pv__helper_done(&s->helper);
}

#undef IMAGE_BULK_BYTES
#undef IMAGE_RUN_BYTES
#undef IMAGE_PAGE
#undef IMAGE_RUN_LARGE
#undef IMAGE_LARGE_CACHE
#undef IMAGE_KEEP
#undef IMAGE_LARGE
