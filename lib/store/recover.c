/* SPDX-License-Identifier: Apache-2.0 */
/* recover.c - from the newest valid root and the log to the state of the last accepted commit (S9).
 *
 *   superblocks -> newest root that reads -> replay of the log from its LSN -> the unproven tail is
 *   copied into a segment of a new epoch (S6) -> serve
 *
 * Nothing that was acknowledged changes. A read-only open does the same in memory and writes
 * nothing. One thread, no readers yet: versions are changed in place. */
#include "base/compress.h"
#include "store/internal.h"

static void recover_adopt_super(pv__store *s, const pv__super *u) {
    s->super = *u;
    memcpy(&s->uuid_tag, u->uuid, 8);
    s->table.root = u->root;
    s->table.height = u->height;
    s->db_sum = u->db_sum;
    s->commits = u->commits;
    s->ckpt_log_end = u->lsn;
    s->log.end = s->log.published = u->lsn;
    s->log.chain = u->chain;
    atomic_store(&s->log.durable, u->lsn);
    atomic_store(&s->log.visible, u->lsn);
}

/* The root node tells whether a root is there at all; the rest is verified on first touch. */
static int recover_try_root(pv__store *s, pv_error *err) {
    pv__pte ignored;
    return pv__table_lookup(s, PV__META_PAGE, &ignored, err);
}

static int recover_roots(pv__store *s, pv_error *err) {
    pv__super newest, older;
    bool has_older = false;
    memset(&newest, 0, sizeof newest);
    memset(&older, 0, sizeof older);
    PV_TRY(pv__super_read(s, &newest, &older, &has_older, err));
    if ((newest.ro_compat & ~(uint64_t)PV__FEATURE_RO_KNOWN) && !s->readonly) {
        return pv__err(err, PV_ERR_FORMAT,
                       "'%s' uses features (0x%llx) with which this library may only read it",
                       s->path, (unsigned long long)newest.ro_compat);
    }
    if ((newest.incompat & PV__FEATURE_INCOMPAT_ZSTD) && !pv__codec_built_in(PV__CODEC_ZSTD)) {
        return pv__err(err, PV_ERR_UNSUPPORTED,
                       "'%s' uses the codec 'zstd', which this build lacks", s->path);
    }
    recover_adopt_super(s, &newest);
    pv_error damage = PV_ERROR_INIT;
    int rc = recover_try_root(s, &damage);
    if (rc == PV_ERR_CORRUPT && has_older && (older.flags & PV__SUPER_FLAG_LOG)) {
        pv__log(&s->log_to, PV_LOG_WARN, "store", "newest root: %s; using the one before",
                damage.message);
        older.sequence = newest.sequence; /* the next one written overwrites the damaged root */
        recover_adopt_super(s, &older);
        has_older = false;
        rc = recover_try_root(s, &damage);
    }
    if (rc) {
        return pv__err(err, rc, "%s", damage.message);
    }
    s->older_valid = has_older;
    s->older_lsn = has_older ? older.lsn : newest.lsn;
    s->older_root = older.root;
    s->older_height = older.height;
    s->older_chain = older.chain;
    return PV_OK;
}

/* ---- entries ------------------------------------------------------------------------------- */

/* Make v the only version of its page. */
static void recover_set(pv__store *s, pv__xent *x, pv__ver *v, uint64_t stamp) {
    pv__ver *old = pv__frame_ver(atomic_load_explicit(&x->frame, memory_order_relaxed));
    if (old && old != v) {
        if ((pv__ver_flags(old) & (PV__VER_RESIDENT | PV__VER_STORED)) == PV__VER_RESIDENT) {
            atomic_fetch_sub(&s->dirty_bytes, pv__ver_bytes(old->raw_slots));
        }
        pv__ver_free(s, old);
    }
    v->lsn = stamp + 1;
    atomic_store(&x->lsn, v->lsn);
    atomic_store(&x->frame, pv__ver_frame(v));
}

/* Slots that only log records refer to outlive the version that replaces them. */
static int recover_keep_slots(pv__store *s, pv__xent *x, uint64_t stamp, pv_error *err) {
    pv__ver *v = pv__frame_ver(atomic_load_explicit(&x->frame, memory_order_relaxed));
    if (v && (pv__ver_flags(v) & (PV__VER_STORED | PV__VER_TABLED)) == PV__VER_STORED) {
        PV_TRY(pv__space_reserve_dead(s, 1, err));
        pv__space_free_later(s, v->pte.slot, v->pte.slots, v->lsn, stamp + 1);
    }
    return PV_OK;
}

static int recover_delta(pv__store *s, pv__reader *r, uint64_t id, uint64_t stamp, pv_error *err) {
    pv__xent *x = NULL;
    pv__ver *v = NULL;
    PV_TRY(pv__page_fetch(s, id, UINT64_MAX, &v, err));
    PV_TRY(pv__xlat_make(s, id, &x, err));
    PV_TRY(recover_keep_slots(s, x, stamp, err));
    if (pv__ver_flags(v) & PV__VER_STORED) {
        atomic_fetch_add(&s->dirty_bytes, pv__ver_bytes(v->raw_slots));
        pv__ver_set(v, PV__VER_RESIDENT);
    }
    PV_TRY(pv__delta_apply(r, id, pv__ver_page(v), (size_t)v->raw_slots * PV__SLOT_SIZE, stamp,
                           &s->db_sum, err));
    recover_set(s, x, v, stamp);
    return PV_OK;
}

static int recover_full(pv__store *s, pv__reader *r, uint64_t id, uint64_t stamp, pv_error *err) {
    pv__xent *x = NULL;
    uint64_t old_sum = pv__reader_u64(r), used = pv__reader_varint(r);
    const uint8_t *bytes = pv__reader_take(
        r, used > PV__PAGE_SLOTS_MAX * (uint64_t)PV__SLOT_SIZE ? SIZE_MAX : (size_t)used);
    if (!bytes || used < PV__PAGE_HEAD) {
        return pv__err(err, PV_ERR_CORRUPT, "log: image of page %llu is cut off",
                       (unsigned long long)id);
    }
    unsigned slots = pv__page_slots(bytes);
    if (pv__page_id(bytes) != id || pv__page_stamp(bytes) != stamp || slots == 0 ||
        slots > PV__PAGE_SLOTS_MAX || used > (uint64_t)slots * PV__SLOT_SIZE) {
        return pv__err(err, PV_ERR_CORRUPT, "log: image of page %llu states another identity",
                       (unsigned long long)id);
    }
    PV_TRY(pv__xlat_make(s, id, &x, err));
    PV_TRY(recover_keep_slots(s, x, stamp, err));
    pv__ver *v = NULL;
    PV_TRY(pv__ver_new(s, id, slots, true, &v, err));
    size_t size = (size_t)slots * PV__SLOT_SIZE;
    memcpy(pv__ver_page(v), bytes, (size_t)used);
    memset(pv__ver_page(v) + used, 0, size - (size_t)used);
    s->db_sum ^= old_sum ^ pv__sum_page(id, pv__ver_page(v), size);
    atomic_fetch_add(&s->dirty_bytes, pv__ver_bytes(slots));
    recover_set(s, x, v, stamp);
    return PV_OK;
}

/* REF (with slots) and FREE (without): a descriptor without bytes. */
static int recover_stub(pv__store *s, uint64_t id, const pv__pte *pte, uint64_t stamp,
                        pv_error *err) {
    pv__xent *x = NULL;
    PV_TRY(pv__xlat_make(s, id, &x, err));
    PV_TRY(recover_keep_slots(s, x, stamp, err));
    pv__ver *v = NULL;
    PV_TRY(pv__ver_new(s, id, pte ? pte->raw_slots : 1, false, &v, err));
    if (pte) {
        v->pte = *pte;
        pv__ver_set(v, PV__VER_STORED);
    } else {
        pv__ver_set(v, PV__VER_FREED);
    }
    recover_set(s, x, v, stamp);
    return PV_OK;
}

static int recover_entry(pv__store *s, pv__reader *r, uint64_t stamp, pv_error *err) {
    unsigned kind = pv__reader_u8(r);
    uint64_t id = pv__reader_varint(r);
    pv__xent *x = NULL;
    if (r->bad) {
        return pv__err(err, PV_ERR_CORRUPT, "log: an entry is cut off");
    }
    PV_TRY(pv__xlat_make(s, id, &x, err));
    if (kind == PV__ENTRY_DELTA) {
        PV_TRY(recover_delta(s, r, id, stamp, err));
    } else if (kind == PV__ENTRY_FULL) {
        PV_TRY(recover_full(s, r, id, stamp, err));
    } else if (kind == PV__ENTRY_REF) {
        uint64_t sums = pv__reader_u64(r);
        sums ^= pv__reader_u64(r);
        const uint8_t *p = pv__reader_take(r, PV__PTE_SIZE);
        if (!p) {
            return pv__err(err, PV_ERR_CORRUPT, "log: reference to page %llu is cut off",
                           (unsigned long long)id);
        }
        pv__pte pte = pv__pte_get(p);
        PV_TRY(recover_stub(s, id, &pte, stamp, err));
        s->db_sum ^= sums;
    } else if (kind == PV__ENTRY_FREE) {
        uint64_t old_sum = pv__reader_u64(r);
        PV_TRY(recover_stub(s, id, NULL, stamp, err));
        s->db_sum ^= old_sum;
    } else {
        return pv__err(err, PV_ERR_FORMAT, "log: entry of unknown kind %u", kind);
    }
    if (x->dirty_seq != s->dirty_seq) {
        PV_TRY(pv__dirty_reserve(s, 1, err));
        x->dirty_seq = s->dirty_seq;
        s->dirty[s->dirty_count++] = id;
    }
    return PV_OK;
}

typedef int (*recover_ref_fn)(pv__store *s, uint64_t page_id, const pv__pte *pte, pv_error *err);

/* Call fn for every reference to slots in a record; its other entries are skipped. */
static int recover_each_ref(pv__store *s, const uint8_t *head, const uint8_t *body, size_t bytes,
                            recover_ref_fn fn, pv_error *err) {
    pv__reader r = pv__reader_of(body, bytes);
    for (uint32_t n = pv__get32(head + PV__REC_ENTRIES); n > 0 && !r.bad; n--) {
        pv__entry e;
        pv__entry_next(&r, &e);
        if (e.kind == PV__ENTRY_REF && !r.bad) {
            PV_TRY(fn(s, e.page_id, &e.pte, err));
        }
    }
    return PV_OK; /* what is wrong with a record is said when it is applied */
}

static int recover_mark_ref(pv__store *s, uint64_t page_id, const pv__pte *pte, pv_error *err) {
    (void)page_id;
    return pv__space_mark(s, pte->slot, pte->slots, NULL, err);
}

static int recover_mark_refs(pv__store *s, const uint8_t *head, const uint8_t *body, size_t bytes,
                             size_t behind, pv_error *err) {
    (void)behind;
    return recover_each_ref(s, head, body, bytes, recover_mark_ref, err);
}

/* Before the first slot is handed out in the middle of a replay: slots that the rest of the log
 * refers to are in use, too (S3). */
static int recover_mark_rest(pv__store *s, pv_error *err) {
    pv__log_state ignored;
    return s->space.ready
               ? PV_OK
               : pv__log_replay(s, s->log.end, s->log.chain, recover_mark_refs, &ignored, err);
}

/* A log larger than the cache: bring the root forward on the way. It holds only what was accepted,
 * and the segments stay until the next checkpoint. Only where a record begins on a 4 KiB boundary:
 * the unproven tail may have to be copied from the root on, and a segment begins at one. */
static int recover_relieve(pv__store *s, uint64_t next_lsn, pv_error *err) {
    if (s->readonly || next_lsn % PV__SLOT_SIZE || s->log.end <= s->super.lsn ||
        atomic_load(&s->dirty_bytes) <= s->cache_limit / 2) {
        return PV_OK;
    }
    pv__mutex_lock(&s->ver_mutex);
    pv__ver_reclaim(s);
    pv__mutex_unlock(&s->ver_mutex);
    PV_TRY(recover_mark_rest(s, err));
    return pv__checkpoint_run(s, err);
}

static int recover_apply(pv__store *s, const uint8_t *head, const uint8_t *body, size_t bytes,
                         size_t behind, pv_error *err) {
    pv__reader r = pv__reader_of(body, bytes);
    uint64_t lsn = pv__get64(head + PV__REC_LSN), stamp = pv__get64(head + PV__REC_STAMP);
    PV_TRY(recover_relieve(s, lsn, err));
    uint32_t entries = pv__get32(head + PV__REC_ENTRIES);
    if (pv__get32(head + PV__REC_CODEC) != 0) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "log: record at LSN %llu is compressed",
                       (unsigned long long)lsn);
    }
    pv__ahead_log(s->ahead, head, PV__REC_HEAD + bytes + behind, lsn);
    for (uint32_t i = 0; i < entries; i++) {
        pv__ahead_pass(s->ahead, lsn + (size_t)(r.p - head));
        PV_TRY(recover_entry(s, &r, stamp, err));
    }
    if (r.bad || pv__reader_left(&r) != 0 || s->db_sum != pv__get64(head + PV__REC_DB_SUM)) {
        return pv__err(err, PV_ERR_CORRUPT,
                       "log: after the commit at LSN %llu the database checksum differs",
                       (unsigned long long)lsn);
    }
    uint64_t end = PV_ALIGN_UP(lsn + PV__REC_HEAD + bytes, (uint64_t)8);
    s->commits = pv__get64(head + PV__REC_COMMIT);
    s->log.end = s->log.published = end;
    s->log.chain = pv__get64(head + PV__REC_HEAD_HASH);
    atomic_store(&s->log.durable, end);
    atomic_store(&s->log.visible, end);
    return PV_OK;
}

/* ---- the older root's log ------------------------------------------------------------------- */

/* A slot that a record between the two roots names: the newest root's, or dead since it. */
static int recover_keep_ref(pv__store *s, uint64_t page_id, const pv__pte *pte, pv_error *err) {
    pv__pte now;
    PV_TRY(pv__table_lookup(s, page_id, &now, err));
    if (now.slots && now.slot == pte->slot) {
        return PV_OK;
    }
    PV_TRY(pv__space_reserve_dead(s, 1, err));
    pv__space_free_later(s, pte->slot, pte->slots, s->super.lsn, s->super.lsn);
    return PV_OK;
}

static int recover_keep_refs(pv__store *s, const uint8_t *head, const uint8_t *body, size_t bytes,
                             size_t behind, pv_error *err) {
    const uint64_t lsn = pv__get64(head + PV__REC_LSN);
    if (lsn >= s->super.lsn) {
        return PV_ERR_CANCELLED; /* the rest is replayed, and keeps its slots itself */
    }
    pv__ahead_log(s->ahead, head, PV__REC_HEAD + bytes + behind, lsn);
    return recover_each_ref(s, head, body, bytes, recover_keep_ref, err);
}

/* Replay that asks the disk ahead for what fn will read: pages to apply changes to, else nodes. */
static int recover_scan(pv__store *s, uint64_t from, uint64_t chain, pv__log_apply fn,
                        pv__log_state *out, pv_error *err) {
    pv__ahead ahead;
    pv__ahead_init(&ahead, s, fn != recover_apply);
    s->ahead = &ahead;
    int rc = pv__log_replay(s, from, chain, fn, out, err);
    s->ahead = NULL;
    pv__ahead_done(&ahead);
    return rc;
}

/* S3: should the newest root be lost, recovery starts from the older one, and needs the slots that
 * the records from there on refer to. Neither root need refer to them. */
static int recover_keep_older(pv__store *s, pv_error *err) {
    pv__log_state ignored;
    pv_error why = PV_ERROR_INIT;
    if (s->readonly || !s->older_valid || s->older_lsn >= s->super.lsn) {
        return PV_OK;
    }
    int rc = recover_scan(s, s->older_lsn, s->older_chain, recover_keep_refs, &ignored, &why);
    if (rc == PV_ERR_CORRUPT) { /* then the older root leads nowhere */
        pv__log(&s->log_to, PV_LOG_WARN, "store", "older root: %s", why.message);
        return PV_OK;
    }
    return rc == PV_OK || rc == PV_ERR_CANCELLED ? PV_OK : pv__err(err, rc, "%s", why.message);
}

/* ---- log ----------------------------------------------------------------------------------- */

/* After a clean close the log goes on in a segment that begins at the next 4 KiB boundary. */
static bool recover_covers(const pv__store *s) {
    uint64_t from = PV_ALIGN_UP(s->super.lsn, (uint64_t)PV__SLOT_SIZE);
    for (size_t i = 0; i < s->log.seg_count; i++) {
        if (s->log.segs[i].valid && s->log.segs[i].start <= from) {
            return true;
        }
    }
    return false;
}

/* Segments without the word that they are required: left by a close or a first commit that was
 * cut off. Nothing in them was acknowledged that the root lacks. */
static int recover_stale_log(pv__store *s, pv_error *err) {
    for (size_t i = 0; i < s->log.seg_count; i++) {
        s->log.epoch = PV_MAX(s->log.epoch, s->log.segs[i].epoch + 1);
    }
    if (s->readonly) {
        return PV_OK;
    }
    PV_TRY(pv__log_remove_all(s, err));
    s->log.seg_count = 0;
    return PV_OK;
}

/* Segments that begin behind the end of the log were judged: no record there counts. They go,
 * because the one being written must be the last of all (log.c). */
static void recover_drop_beyond(pv__store *s, uint64_t end) {
    pv__wal *l = &s->log;
    pv_error ignored = PV_ERROR_INIT;
    while (l->seg_count > 0 &&
           l->segs[l->seg_count - 1].start > PV_ALIGN_UP(end, (uint64_t)PV__SLOT_SIZE)) {
        (void)pv__seg_unlink(s, &l->segs[l->seg_count - 1], &ignored);
        l->seg_count--;
    }
}

PV_PRIVATE int pv__recover(pv__store *s, pv_error *err) {
    bool exists = false;
    pv__log_state st;
    PV_TRY(recover_roots(s, err));
    PV_TRY(pv__log_list(s, &exists, err));
    s->log.epoch = s->super.epoch + 1;
    s->log.marked = s->super.flags & PV__SUPER_FLAG_LOG;
    if (!s->readonly && (exists || s->log.marked)) {
        PV_TRY(pv__super_refresh(s, err));
        if (!s->older_valid) { /* torn by the power cut: now both say the same */
            pv__super again = s->super;
            again.sequence++;
            PV_TRY(pv__super_write(s, &again, err));
            s->super = again;
        } else {
            PV_TRY(pv__super_mend(s, err));
        }
    }
    if (!s->log.marked) {
        return exists ? recover_stale_log(s, err) : PV_OK;
    }
    if (!recover_covers(s)) {
        return pv__err(err, PV_ERR_LOG_MISSING,
                       "'%s' was not closed and needs its log from LSN %llu, but '%s' %s", s->path,
                       (unsigned long long)s->super.lsn, s->wal_dir,
                       exists ? "does not hold it" : "is not there");
    }
    PV_TRY(recover_keep_older(s, err));
    s->replaying = true;
    int rc = recover_scan(s, s->super.lsn, s->super.chain, recover_apply, &st, err);
    s->replaying = false;
    PV_TRY(rc);
    s->log.epoch = st.epoch + 1;
    if (!s->readonly) {
        recover_drop_beyond(s, st.end);
    }
    if (s->readonly || st.tail_start >= st.end) {
        return PV_OK;
    }
    return pv__log_adopt_tail(s, &st, err);
}
