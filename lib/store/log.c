/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - the log's writing end: records are accepted into a batch, one thread writes and syncs the
 * batch for all that wait (group commit: greedy, no timer), and the visible LSN follows.
 *
 *   append (writer) -> open batch --take--> heads sealed -> one write -> one fdatasync -> durable
 *
 * Invariants: S1, S6 (a batch begins on a fresh 4 KiB boundary; its heads state the durable LSN at
 * the moment of the write, so only the last batch is ever unproven), S7, S8. Room for a record is
 * allocated in the segment before the record is accepted: a full disk refuses the commit and harms
 * nothing. Lock: log.mutex, released during write and sync; `flushing` marks the one who does it.
 * Reading: logscan.c. Segments: segment.c. */
#include "store/internal.h"

#define LOG_SEGMENT_MIN ((uint64_t)1 << 20)
#define LOG_SEGMENT_MAX ((uint64_t)64 << 20)
#define LOG_ASYNC_BYTES ((uint64_t)1 << 20) /* at most this and ... */
#define LOG_ASYNC_US 50000u                 /* ... this long is lost by asynchronous commits */
#define LOG_IO_MAX 512u
#define LOG_AHEAD ((uint64_t)1 << 20)  /* of the segment that is written ahead of small batches */
#define LOG_SMALL ((uint64_t)64 << 10) /* bytes of a batch for which that pays */

PV_PRIVATE int pv__log_init(pv__store *s, pv_error *err) {
    PV_TRY(pv__mutex_init(&s->log.mutex, err));
    PV_TRY(pv__cond_init(&s->log.cond, err));
    s->log.next_cap = LOG_SEGMENT_MIN;
    return PV_OK;
}

static void log_batch_clear(pv__store *s, pv__batch *b) {
    for (size_t i = 0; i < b->count; i++) {
        pv__alloc_free(s->mem, b->records[i].body, b->records[i].body_cap);
    }
    b->count = 0;
}

PV_PRIVATE void pv__log_done(pv__store *s) {
    pv__wal *l = &s->log;
    if (l->file) {
        pv_error ignored = PV_ERROR_INIT;
        s->vfs->close(s->vfs, l->file, &ignored);
    }
    log_batch_clear(s, &l->open);
    log_batch_clear(s, &l->spare);
    pv__alloc_free(s->mem, l->open.records, l->open.cap * sizeof(pv__record));
    pv__alloc_free(s->mem, l->spare.records, l->spare.cap * sizeof(pv__record));
    pv__alloc_free(s->mem, l->segs, l->seg_cap * sizeof(pv__segment));
    pv__cond_done(&l->cond);
    pv__mutex_done(&l->mutex);
}

/* ---- what may be seen ---------------------------------------------------------------------- */

static void log_show(pv__wal *l) {
    uint64_t to = PV_MAX(atomic_load_explicit(&l->durable, memory_order_relaxed), l->async_end);
    to = PV_MIN(to, l->published);
    if (to > atomic_load_explicit(&l->visible, memory_order_relaxed)) {
        /* release: whoever begins at this LSN sees all entries stored before (S10) */
        atomic_store_explicit(&l->visible, to, memory_order_seq_cst);
    }
}

PV_PRIVATE void pv__log_published(pv__store *s, uint64_t end) {
    pv__mutex_lock(&s->log.mutex);
    s->log.published = end;
    if (s->memory) {
        atomic_store_explicit(&s->log.durable, end, memory_order_relaxed);
    }
    log_show(&s->log);
    pv__mutex_unlock(&s->log.mutex);
}

/* ---- records ------------------------------------------------------------------------------- */

PV_PRIVATE uint64_t pv__rec_body_hash(const pv__store *s, uint64_t stamp, const void *body,
                                      size_t bytes) {
    return pv__hash64(body, bytes, s->uuid_tag ^ pv__mix64(stamp));
}

PV_PRIVATE void pv__rec_seal(const pv__store *s, uint8_t *head, uint64_t chain, uint64_t durable,
                             uint32_t epoch) {
    pv__put64(head + PV__REC_CHAIN, chain);
    pv__put64(head + PV__REC_DURABLE, durable);
    pv__put32(head + PV__REC_EPOCH, epoch);
    pv__put64(head + PV__REC_HEAD_HASH, pv__hash64(head, PV__REC_HEAD_HASH, s->uuid_tag));
}

static void log_fill_head(pv__store *s, pv__record *r, const pv__commit_info *info) {
    uint8_t *h = r->head;
    memset(h, 0, PV__REC_HEAD);
    pv__put32(h + PV__REC_MAGIC, PV__REC_MAGIC_VALUE);
    pv__put64(h + PV__REC_LSN, r->lsn);
    pv__put64(h + PV__REC_STAMP, info->stamp);
    pv__put64(h + PV__REC_BODY, r->body_bytes);
    pv__put64(h + PV__REC_RAW, r->body_bytes);
    pv__put32(h + PV__REC_ENTRIES, info->entries);
    pv__put32(h + PV__REC_TIMELINE, s->super.timeline);
    pv__put64(h + PV__REC_TIME_US, (uint64_t)pv__sys_wall_us(s->clock));
    pv__put64(h + PV__REC_COMMIT, info->number);
    pv__put64(h + PV__REC_DB_SUM, info->db_sum);
    pv__put64(h + PV__REC_BODY_HASH, info->body_hash);
}

/* S9: the segment's name is durable, then the word that it is required. *out_unknown: whether the
 * disk says so is not known; *out_no_room: and the disk is full, so that it can be tried again. */
static int log_require(pv__store *s, bool *out_unknown, bool *out_no_room, pv_error *err) {
    pv__super mark = s->super;
    PV_TRY(s->vfs->sync_dir(s->vfs, s->dir, err));
    mark.sequence++;
    mark.epoch = s->log.epoch;
    mark.flags |= PV__SUPER_FLAG_LOG;
    *out_unknown = true;
    pv__mutex_lock(&s->super_mutex);
    const int rc = pv__super_try(s, &mark, out_no_room, err);
    if (!rc) {
        s->super.sequence = mark.sequence; /* others may be reading the rest */
        s->super.epoch = mark.epoch;
        s->super.flags = mark.flags;
        *out_unknown = false;
        s->log.marked = true;
    } else if (*out_no_room) {
        pv__super_skip(s);
    }
    pv__mutex_unlock(&s->super_mutex);
    return rc;
}

/* A new segment behind all that is durable. Writer only, nothing pending or being flushed. */
static int log_next_segment(pv__store *s, uint64_t start, uint64_t need, pv_error *err) {
    pv__wal *l = &s->log;
    char name[PV__SEG_NAME_MAX];
    pv_file *file = NULL;
    pv_error ignored = PV_ERROR_INIT;
    bool unknown = false, no_room = false;
    pv__segment seg = {start,    PV_MAX(l->next_cap, need),
                       l->chain, atomic_load_explicit(&l->durable, memory_order_relaxed),
                       l->epoch, true};
    seg.cap = PV_ALIGN_UP(seg.cap, (uint64_t)PV__SLOT_SIZE);
    if (!l->marked) { /* the first since a clean close: the directory may not exist */
        PV_TRY(s->vfs->mkdir(s->vfs, s->wal_dir, err));
    }
    pv__seg_name(name, seg.start, seg.epoch);
    PV_TRY(pv__seg_create(s, &seg, name, &file, err));
    int rc = pv__seg_push(s, &seg, err);
    if (!rc) {
        rc = s->vfs->sync(s->vfs, file, err);
        rc = rc ? rc : s->vfs->sync_dir(s->vfs, s->wal_dir, err);
        if (!rc && !l->marked) {
            rc = log_require(s, &unknown, &no_room, err);
        }
        if (rc && !no_room) {
            pv__store_fail(s, rc); /* S8 */
            pv__mutex_lock(&l->mutex);
            l->seg_count--; /* the newest stands last */
            pv__mutex_unlock(&l->mutex);
        }
    }
    if (rc && !no_room) {
        s->vfs->close(s->vfs, file, &ignored);
        if (!unknown) {
            pv__seg_unlink(s, &seg, &ignored);
        }
        return rc;
    }
    if (l->file) {
        s->vfs->close(s->vfs, l->file, &ignored);
    }
    l->file = file;
    l->ahead = 0;
    l->next_cap = PV_MIN(2 * seg.cap, LOG_SEGMENT_MAX);
    return rc; /* with no room for the word that it is required it stays, in case that is there */
}

/* The segment is there, but the disk was full when the word was written. */
static int log_require_again(pv__store *s, pv_error *err) {
    bool unknown = false, no_room = false;
    int rc = log_require(s, &unknown, &no_room, err);
    if (rc && !no_room) {
        pv__store_fail(s, rc); /* S8 */
    }
    return rc;
}

/* The newest segment has no record yet (its commit failed) and is too small for this one. Its name
 * is that of the next, and it may be required: it grows. */
static int log_grow_segment(pv__store *s, uint64_t need, pv_error *err) {
    pv__wal *l = &s->log;
    const uint64_t cap = PV_ALIGN_UP(need, (uint64_t)PV__SLOT_SIZE);
    PV_TRY(s->vfs->allocate(s->vfs, l->file, 0, PV__SEG_HEAD + cap, err));
    pv__mutex_lock(&l->mutex);
    l->segs[l->seg_count - 1].cap = cap;
    pv__mutex_unlock(&l->mutex);
    return PV_OK;
}

PV_PRIVATE int pv__log_reserve(pv__store *s, size_t body_bytes, pv_error *err) {
    pv__wal *l = &s->log;
    uint64_t need = PV__REC_HEAD + body_bytes + 2 * (uint64_t)PV__SLOT_SIZE; /* alignment */
    if (s->memory) {
        return PV_OK;
    }
    pv__mutex_lock(&l->mutex);
    const pv__segment *last = l->file && l->seg_count ? &l->segs[l->seg_count - 1] : NULL;
    const uint64_t end = l->end, start = PV_ALIGN_UP(end, (uint64_t)PV__SLOT_SIZE);
    const bool fits = last && end + need <= last->start + last->cap;
    const bool unused = last && last->start == start;
    pv__mutex_unlock(&l->mutex);
    if (!fits) {
        PV_TRY(pv__log_wait(s, end, err));
        PV_TRY(unused ? log_grow_segment(s, need, err) : log_next_segment(s, start, need, err));
    }
    return l->marked ? PV_OK : log_require_again(s, err);
}

static int log_accept(pv__store *s, pv__record *r, const pv__commit_info *info, pv_error *err) {
    pv__wal *l = &s->log;
    pv__batch *b = &l->open;
    PV_TRY(pv__alloc_grow(s->mem, (void **)&b->records, &b->cap, b->count + 1, sizeof(pv__record),
                          err));
    bool fresh = b->count == 0 || l->seal;
    r->lsn = fresh ? PV_ALIGN_UP(l->end, (uint64_t)PV__SLOT_SIZE) : l->end;
    r->end = PV_ALIGN_UP(r->lsn + PV__REC_HEAD + r->body_bytes, (uint64_t)8);
    log_fill_head(s, r, info);
    if (b->count == 0) {
        b->start = r->lsn;
        l->first_unsynced_us = pv__sys_mono_us(s->clock);
    }
    b->records[b->count++] = *r;
    b->end = r->end;
    if (info->async &&
        PV_MAX(l->async_end, atomic_load_explicit(&l->durable, memory_order_relaxed)) >= l->end) {
        l->async_end = r->end;
    }
    l->end = r->end;
    l->seal = false;
    return PV_OK;
}

PV_PRIVATE int pv__log_append(pv__store *s, pv__buf *body, const pv__commit_info *info,
                              uint64_t *out_end, pv_error *err) {
    pv__wal *l = &s->log;
    pv__record r;
    memset(&r, 0, sizeof r);
    if (s->memory) {
        l->end += PV_ALIGN_UP(PV__REC_HEAD + body->len, (size_t)8);
        *out_end = l->end;
        return PV_OK;
    }
    r.body = body->data;
    r.body_bytes = body->len;
    r.body_cap = body->cap;
    pv__mutex_lock(&l->mutex);
    int rc = log_accept(s, &r, info, err);
    pv__mutex_unlock(&l->mutex);
    if (!rc) {
        pv__buf_init(body, s->mem); /* its memory is the batch's now */
        *out_end = r.end;
    }
    return rc;
}

/* ---- flush --------------------------------------------------------------------------------- */

/* Space that is allocated but was never written costs every sync a change of the file's extents,
 * which a small commit feels. So zeros go where the next ones will be: what is read there stays the
 * same. A hint: should it fail, the sync tells. */
static void log_write_ahead(pv__store *s, const pv__batch *b, uint64_t start, uint64_t cap) {
    static const uint8_t zeros[16384] = {0};
    pv__wal *l = &s->log;
    const uint64_t end = PV__SEG_HEAD + PV_ALIGN_UP(b->end - start, (uint64_t)PV__SLOT_SIZE);
    if (b->end - b->start > LOG_SMALL || end < l->ahead) {
        return;
    }
    pv_io io[LOG_AHEAD / sizeof zeros];
    pv_error ignored = PV_ERROR_INIT;
    const uint64_t to = PV_MIN(end + LOG_AHEAD, PV__SEG_HEAD + cap);
    size_t n = 0;
    for (uint64_t at = end; at < to; at += sizeof zeros) {
        io[n].offset = at;
        io[n].data = (void *)(uintptr_t)zeros; /* only read */
        io[n].size = (size_t)PV_MIN(to - at, (uint64_t)sizeof zeros);
        io[n++].done = 0;
    }
    (void)s->vfs->write(s->vfs, l->file, io, n, &ignored);
    l->ahead = to;
}

/* `start`, `cap`: of the newest segment; the list itself changes under the mutex (trim). */
static int log_write_batch(pv__store *s, pv__batch *b, uint64_t start, uint64_t cap,
                           uint64_t durable, uint64_t *out_chain, pv_error *err) {
    pv__wal *l = &s->log;
    pv_io io[2 * LOG_IO_MAX];
    uint64_t chain = l->chain;
    for (size_t i = 0; i < b->count;) {
        size_t n = 0;
        for (; i < b->count && n + 2 <= PV_COUNTOF(io); i++) {
            pv__record *r = &b->records[i];
            uint64_t at = PV__SEG_HEAD + (r->lsn - start);
            pv__rec_seal(s, r->head, chain, durable, l->epoch);
            chain = pv__get64(r->head + PV__REC_HEAD_HASH);
            io[n].offset = at;
            io[n].data = r->head;
            io[n++].size = PV__REC_HEAD;
            if (r->body_bytes) {
                io[n].offset = at + PV__REC_HEAD;
                io[n].data = r->body;
                io[n++].size = r->body_bytes;
            }
        }
        PV_TRY(s->vfs->write(s->vfs, l->file, io, n, err));
    }
    log_write_ahead(s, b, start, cap);
    *out_chain = chain;
    return s->vfs->sync(s->vfs, l->file, err);
}

/* Write and sync the open batch. Called and left with the mutex held, which is released between. */
static int log_flush(pv__store *s, pv_error *err) {
    pv__wal *l = &s->log;
    pv__batch batch = l->open;
    uint64_t durable = atomic_load_explicit(&l->durable, memory_order_relaxed);
    l->open = l->spare;
    l->open.count = 0;
    memset(&l->spare, 0, sizeof l->spare);
    l->flushing = true;
    uint64_t start = l->segs[l->seg_count - 1].start, chain = 0;
    uint64_t cap = l->segs[l->seg_count - 1].cap;
    pv__mutex_unlock(&l->mutex);
    int rc = log_write_batch(s, &batch, start, cap, durable, &chain, err);
    pv__mutex_lock(&l->mutex);
    l->flushing = false;
    if (rc) {
        pv__store_fail(s, rc); /* S8: never tried again */
    } else {
        l->syncs++;
        l->chain = chain;
        for (size_t i = 0; i < batch.count; i++) {
            if (batch.records[i].end == l->cut_lsn) {
                l->cut_chain = pv__get64(batch.records[i].head + PV__REC_HEAD_HASH);
            }
        }
        atomic_store_explicit(&l->durable, batch.end, memory_order_release);
        log_show(l);
    }
    log_batch_clear(s, &batch);
    l->spare = batch;
    pv__cond_broadcast(&l->cond);
    return rc;
}

PV_PRIVATE int pv__log_wait(pv__store *s, uint64_t end, pv_error *err) {
    pv__wal *l = &s->log;
    int rc = PV_OK;
    pv__mutex_lock(&l->mutex);
    while (!rc && atomic_load_explicit(&l->durable, memory_order_relaxed) < end) {
        rc = pv__store_refuse(s, err);
        if (rc) {
            break;
        }
        if (l->flushing) {
            pv__cond_wait(&l->cond, &l->mutex);
        } else {
            rc = log_flush(s, err);
        }
    }
    pv__mutex_unlock(&l->mutex);
    return rc;
}

PV_PRIVATE int pv__log_flush_all(pv__store *s, pv_error *err) {
    pv__mutex_lock(&s->log.mutex);
    uint64_t end = s->log.end;
    pv__mutex_unlock(&s->log.mutex);
    return pv__log_wait(s, end, err);
}

/* Is it time to flush what asynchronous commits have left? Returns the LSN to wait for, or 0. */
PV_PRIVATE uint64_t pv__log_async_due(pv__store *s) {
    pv__wal *l = &s->log;
    uint64_t due = 0;
    pv__mutex_lock(&l->mutex);
    if (l->open.count > 0 && (l->open.end - l->open.start > LOG_ASYNC_BYTES ||
                              pv__sys_mono_us(s->clock) - l->first_unsynced_us > LOG_ASYNC_US)) {
        due = l->open.end;
    }
    pv__mutex_unlock(&l->mutex);
    return due;
}

#undef LOG_SEGMENT_MIN
#undef LOG_SEGMENT_MAX
#undef LOG_ASYNC_BYTES
#undef LOG_ASYNC_US
#undef LOG_IO_MAX
#undef LOG_AHEAD
#undef LOG_SMALL
