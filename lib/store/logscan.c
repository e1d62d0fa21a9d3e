/* SPDX-License-Identifier: Apache-2.0 */
/* logscan.c - the log's reading end: every valid record from an LSN on, in order, across segments
 * and epochs, and the rule that tells a torn tail from damage (S6).
 *
 *   record at E? --yes--> apply, E = its end
 *      | no: at E rounded up to 4 KiB? in a newer segment that begins there?
 *      '--no--> does any later record or segment head claim that the log was durable beyond E?
 *                 yes: damage, reported        no: torn tail, E is the end
 *
 * A segment counts up to where one of the same or a later epoch begins; bytes of older epochs
 * beyond that are void. */
#include "store/internal.h"

#define SCAN_WINDOW ((size_t)4 << 20) /* so far replay asks the disk ahead (ahead.c) */

typedef struct log_scan {
    pv__store *s;
    size_t seg;      /* index of the segment being read */
    pv_file *file;   /* that segment */
    uint64_t limit;  /* LSN where it stops counting */
    uint8_t *window; /* bytes [win_start, win_start + win_len) */
    size_t window_cap, win_len;
    uint64_t win_start;
} log_scan;

static void scan_close(log_scan *c) {
    if (c->file) {
        pv_error ignored = PV_ERROR_INIT;
        c->s->vfs->close(c->s->vfs, c->file, &ignored);
        c->file = NULL;
    }
}

static void scan_done(log_scan *c) {
    scan_close(c);
    pv__alloc_free(c->s->mem, c->window, c->window_cap);
}

/* Where segment i stops counting: a later one of no older epoch begins, or its file ends. */
static uint64_t scan_limit(const pv__wal *l, size_t i) {
    const pv__segment *seg = &l->segs[i];
    uint64_t limit = seg->start + seg->cap;
    for (size_t j = 0; j < l->seg_count; j++) {
        const pv__segment *o = &l->segs[j];
        if (!o->valid || j == i) {
            continue;
        }
        if (o->epoch > seg->epoch && o->start <= seg->start) {
            return seg->start;
        }
        if (o->epoch >= seg->epoch && o->start > seg->start && o->start < limit) {
            limit = o->start;
        }
    }
    return limit;
}

/* The segment whose counting part holds `lsn`. */
static bool scan_find(const pv__wal *l, uint64_t lsn, size_t *out) {
    for (size_t i = l->seg_count; i-- > 0;) {
        if (l->segs[i].valid && l->segs[i].start <= lsn && lsn < scan_limit(l, i)) {
            *out = i;
            return true;
        }
    }
    return false;
}

static int scan_open(log_scan *c, size_t seg, pv_error *err) {
    pv__store *s = c->s;
    char name[PV__SEG_NAME_MAX];
    size_t size = 0;
    scan_close(c);
    c->seg = seg;
    c->limit = scan_limit(&s->log, seg);
    c->win_len = 0;
    pv__seg_name(name, s->log.segs[seg].start, s->log.segs[seg].epoch);
    char *path = pv__path_join(s->mem, s->wal_dir, name, &size);
    if (!path) {
        return pv__err_nomem(err, PV__SEG_NAME_MAX);
    }
    int rc = s->vfs->open(s->vfs, path, PV_VFS_OPEN_READONLY, &c->file, NULL, err);
    pv__alloc_free(s->mem, path, size);
    return rc;
}

/* n bytes at lsn of the open segment; *out NULL when it does not hold that many. */
static int scan_bytes(log_scan *c, uint64_t lsn, size_t n, const uint8_t **out, pv_error *err) {
    pv__store *s = c->s;
    *out = NULL;
    if (lsn > c->limit || n > c->limit - lsn) {
        return PV_OK;
    }
    if (c->win_len == 0 || lsn < c->win_start || lsn + n > c->win_start + c->win_len) {
        size_t want = PV_MAX(n, (size_t)PV_MIN((uint64_t)SCAN_WINDOW, c->limit - lsn));
        if (want > c->window_cap) {
            uint8_t *bigger = pv__alloc_realloc(s->mem, c->window, c->window_cap, want);
            if (!bigger) {
                return pv__err_nomem(err, want);
            }
            c->window = bigger;
            c->window_cap = want;
        }
        pv_io io = {PV__SEG_HEAD + (lsn - s->log.segs[c->seg].start), c->window,
                    (size_t)PV_MIN((uint64_t)c->window_cap, c->limit - lsn), 0};
        PV_TRY(s->vfs->read(s->vfs, c->file, &io, 1, err));
        c->win_start = lsn;
        c->win_len = io.size;
    }
    *out = c->window + (lsn - c->win_start);
    return PV_OK;
}

static bool scan_head_ok(const pv__store *s, const uint8_t *h, uint64_t lsn) {
    return pv__get32(h + PV__REC_MAGIC) == PV__REC_MAGIC_VALUE &&
           pv__get64(h + PV__REC_LSN) == lsn &&
           pv__get64(h + PV__REC_HEAD_HASH) == pv__hash64(h, PV__REC_HEAD_HASH, s->uuid_tag) &&
           pv__get32(h + PV__REC_TIMELINE) == s->super.timeline;
}

/* The whole record at lsn when it is the valid successor of the state; *out NULL when not. */
static int scan_record(log_scan *c, const pv__log_state *st, uint64_t lsn, const uint8_t **out,
                       pv_error *err) {
    const uint8_t *h = NULL;
    *out = NULL;
    PV_TRY(scan_bytes(c, lsn, PV__REC_HEAD, &h, err));
    if (!h || !scan_head_ok(c->s, h, lsn) || pv__get64(h + PV__REC_STAMP) != st->end ||
        pv__get64(h + PV__REC_CHAIN) != st->chain) {
        return PV_OK;
    }
    uint64_t body = pv__get64(h + PV__REC_BODY);
    if (body > c->limit - lsn) {
        return PV_OK;
    }
    PV_TRY(scan_bytes(c, lsn, PV__REC_HEAD + (size_t)body, &h, err));
    if (h && pv__get64(h + PV__REC_BODY_HASH) ==
                 pv__rec_body_hash(c->s, st->end, h + PV__REC_HEAD, (size_t)body)) {
        *out = h;
    }
    return PV_OK;
}

/* Find the successor of the state: in this segment or in one that begins right behind it. */
static int scan_next(log_scan *c, const pv__log_state *st, const uint8_t **out, uint64_t *out_lsn,
                     pv_error *err) {
    uint64_t aligned = PV_ALIGN_UP(st->end, (uint64_t)PV__SLOT_SIZE);
    size_t seg = 0;
    *out = NULL;
    for (unsigned turn = 0; turn < 2 && !*out; turn++) {
        *out_lsn = turn ? aligned : st->end;
        if (turn && aligned == st->end) {
            break;
        }
        if (!scan_find(&c->s->log, *out_lsn, &seg)) {
            continue;
        }
        if (!c->file || seg != c->seg) {
            PV_TRY(scan_open(c, seg, err));
        }
        PV_TRY(scan_record(c, st, *out_lsn, out, err));
    }
    return PV_OK;
}

/* S6: no valid record follows st->end. Look for proof that there once was one. */
static int scan_judge_tail(log_scan *c, const pv__log_state *st, pv_error *err) {
    pv__wal *l = &c->s->log;
    uint64_t proof = 0;
    for (size_t i = 0; i < l->seg_count && proof <= st->end; i++) {
        if (scan_limit(l, i) <= PV_MAX(st->end, l->segs[i].start)) {
            continue;
        }
        proof = l->segs[i].valid ? l->segs[i].durable : 0;
        PV_TRY(scan_open(c, i, err));
        uint64_t at = PV_ALIGN_UP(PV_MAX(st->end, l->segs[i].start), (uint64_t)PV__SLOT_SIZE);
        for (; at < c->limit && proof <= st->end; at += PV__SLOT_SIZE) {
            const uint8_t *h = NULL;
            PV_TRY(scan_bytes(c, at, PV__REC_HEAD, &h, err));
            if (h && scan_head_ok(c->s, h, at) &&
                pv__get32(h + PV__REC_EPOCH) == l->segs[i].epoch) {
                /* A segment's head is durable before its first record: if there is a record, then
                 * a head that is not valid is damage. */
                proof = l->segs[i].valid ? pv__get64(h + PV__REC_DURABLE) : at + 1;
            }
        }
    }
    if (proof > st->end) {
        if (err) {
            err->offset = st->end;
        }
        int rc = pv__err(err, PV_ERR_CORRUPT,
                         "log: the record after LSN %llu is damaged or missing, yet the log was "
                         "durable up to LSN %llu",
                         (unsigned long long)st->end, (unsigned long long)proof);
        return rc;
    }
    return PV_OK;
}

PV_PRIVATE int pv__log_replay(pv__store *s, uint64_t from, uint64_t chain, pv__log_apply fn,
                              pv__log_state *out, pv_error *err) {
    log_scan c;
    memset(&c, 0, sizeof c);
    c.s = s;
    pv__log_state st = {from, chain, from, from, chain, s->super.epoch, 0};
    int rc = PV_OK;
    for (size_t i = 0; i < s->log.seg_count; i++) {
        st.epoch = PV_MAX(st.epoch, s->log.segs[i].epoch);
    }
    while (!rc) {
        const uint8_t *rec = NULL;
        uint64_t lsn = 0;
        rc = scan_next(&c, &st, &rec, &lsn, err);
        if (rc || !rec) {
            break;
        }
        uint64_t body = pv__get64(rec + PV__REC_BODY);
        uint64_t proven = PV_MAX(pv__get64(rec + PV__REC_DURABLE), s->log.segs[c.seg].durable);
        if (proven > st.durable) {
            st.durable = PV_MIN(proven, st.end); /* more is not there: the records say less */
        }
        if (st.durable == st.end) { /* all before this record is proven, so far */
            st.tail_start = lsn;
            st.tail_chain = st.chain;
        }
        if (fn) {
            const uint64_t used = lsn + PV__REC_HEAD + body - c.win_start;
            rc = fn(s, rec, rec + PV__REC_HEAD, (size_t)body, c.win_len - (size_t)used, err);
        }
        st.chain = pv__get64(rec + PV__REC_HEAD_HASH);
        st.end = PV_ALIGN_UP(lsn + PV__REC_HEAD + body, (uint64_t)8);
        st.records++;
    }
    if (!rc) {
        rc = scan_judge_tail(&c, &st, err);
    }
    if (st.records == 0 || st.tail_start < st.durable) {
        st.tail_start = st.end;
    }
    scan_done(&c);
    *out = st;
    return rc;
}

/* ---- the tail into a new epoch ------------------------------------------------------------- */

/* Copy the records from st->tail_start on, sealed anew, into `file`. */
static int scan_copy_tail(log_scan *c, const pv__log_state *st, const pv__segment *to,
                          pv_file *file, uint64_t *out_chain, pv_error *err) {
    pv__store *s = c->s;
    pv__log_state at = *st;
    uint64_t chain = st->tail_chain;
    bool first = true;
    at.end = 0; /* taken from the first record */
    for (uint64_t lsn = st->tail_start; at.end < st->end;) {
        const uint8_t *rec = NULL;
        if (first) {
            size_t seg = 0;
            const uint8_t *h = NULL;
            PV_ASSERT(scan_find(&s->log, lsn, &seg));
            PV_TRY(scan_open(c, seg, err));
            PV_TRY(scan_bytes(c, lsn, PV__REC_HEAD, &h, err));
            PV_ASSERT(h != NULL);
            at.end = pv__get64(h + PV__REC_STAMP);
            at.chain = st->tail_chain;
            PV_TRY(scan_record(c, &at, lsn, &rec, err));
            first = false;
        } else {
            PV_TRY(scan_next(c, &at, &rec, &lsn, err));
        }
        if (!rec) {
            return pv__err(err, PV_ERR_CORRUPT, "log: the tail changed while it was copied");
        }
        uint8_t head[PV__REC_HEAD];
        uint64_t body = pv__get64(rec + PV__REC_BODY), off = PV__SEG_HEAD + (lsn - to->start);
        memcpy(head, rec, sizeof head);
        at.end = PV_ALIGN_UP(lsn + PV__REC_HEAD + body, (uint64_t)8);
        if (at.end > s->super.lsn) { /* a root made in this replay states the chain up to its LSN */
            pv__rec_seal(s, head, chain, to->durable, to->epoch);
        }
        chain = pv__get64(head + PV__REC_HEAD_HASH);
        PV_TRY(pv__vfs_write(s->vfs, file, off, head, sizeof head, err));
        PV_TRY(
            pv__vfs_write(s->vfs, file, off + PV__REC_HEAD, rec + PV__REC_HEAD, (size_t)body, err));
        at.chain = pv__get64(rec + PV__REC_HEAD_HASH);
    }
    *out_chain = chain;
    return s->vfs->sync(s->vfs, file, err);
}

/* Give a finished temporary segment its name; from then on it counts. */
static int scan_rename(pv__store *s, const char *temp, const pv__segment *seg, pv_error *err) {
    char name[PV__SEG_NAME_MAX];
    size_t from_size = 0, to_size = 0;
    pv__seg_name(name, seg->start, seg->epoch);
    char *from = pv__path_join(s->mem, s->wal_dir, temp, &from_size);
    char *to = pv__path_join(s->mem, s->wal_dir, name, &to_size);
    int rc = from && to ? s->vfs->rename(s->vfs, from, to, err) : pv__err_nomem(err, from_size);
    if (!rc) {
        rc = s->vfs->sync_dir(s->vfs, s->wal_dir, err);
    }
    pv__alloc_free(s->mem, from, from_size);
    pv__alloc_free(s->mem, to, to_size);
    return rc;
}

PV_PRIVATE int pv__log_adopt_tail(pv__store *s, const pv__log_state *st, pv_error *err) {
    static const char temp[] = PV__SEG_TEMP;
    pv__wal *l = &s->log;
    pv_error ignored = PV_ERROR_INIT;
    pv_file *file = NULL;
    log_scan c;
    memset(&c, 0, sizeof c);
    c.s = s;
    if (st->tail_start % PV__SLOT_SIZE) {
        return pv__err(err, PV_ERR_CORRUPT, "log: LSN %llu does not begin a batch",
                       (unsigned long long)st->tail_start);
    }
    pv__segment seg = {st->tail_start, 0, st->tail_chain, st->durable, l->epoch, true};
    seg.cap = PV_ALIGN_UP(PV_MAX(st->end - seg.start, (uint64_t)1 << 20), (uint64_t)PV__SLOT_SIZE);
    int rc = pv__seg_create(s, &seg, temp, &file, err);
    if (!rc) {
        rc = scan_copy_tail(&c, st, &seg, file, &l->chain, err);
    }
    scan_done(&c);
    if (!rc) {
        rc = scan_rename(s, temp, &seg, err);
    }
    for (size_t i = l->seg_count; !rc && i-- > 0;) { /* void from now on */
        if (l->segs[i].start >= seg.start) {
            pv__seg_unlink(s, &l->segs[i], &ignored);
            l->seg_count--;
            memmove(l->segs + i, l->segs + i + 1, (l->seg_count - i) * sizeof *l->segs);
        }
    }
    if (!rc) {
        rc = pv__seg_push(s, &seg, err);
    }
    if (rc && file) {
        s->vfs->close(s->vfs, file, &ignored);
        return rc;
    }
    l->file = file;
    return rc;
}

#undef SCAN_WINDOW
