/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint.c - bring the root up to an LSN, copy-on-write (S3):
 *
 *   cut at L: log durable to L; versions as of L -> new slots; table nodes -> new slots; sync;
 *   superblock (the other one of the two) + mirror; sync; then old slots die at L, and log segments
 *   older than the previous root go.
 *
 * It is a snapshot reader like any other: writers go on meanwhile. An error before the superblock
 * undoes all of it in memory, and the pages are dirty as before; after a failed sync (S8), or an
 * error of the superblock's own write, which leaves unknown which root is on disk, the store
 * refuses writes until reopened. Only a full disk there is survived: whichever root is found later,
 * all that it reaches is synced and stays until both roots are newer. */
#include "base/sort.h"
#include "store/internal.h"

typedef struct ckpt_page {
    uint64_t page_id;
    pv__ver *ver; /* as of L, kept alive by ckpt_snap; valid unless stored: that may be evicted */
    uint64_t ver_lsn;
    pv__pte pte, old;
    bool freed;
    bool written; /* slots were allocated by this checkpoint */
} ckpt_page;

typedef struct checkpoint {
    pv__store *s;
    uint64_t lsn, db_sum, commits, chain;
    uint64_t *ids;
    size_t id_count, id_cap;
    ckpt_page *pages;
    size_t page_count;
    uint8_t *scratch;
    pv__slots_go go; /* what it has written, when it fails */
} checkpoint;

#define CKPT_ASYNC_MS 50u /* asynchronous commits wait this long for company */
#define CKPT_SCRATCH ((size_t)PV__PAGE_SLOTS_MAX * PV__SLOT_SIZE)

static bool ckpt_before(const uint64_t *a, const uint64_t *b) { return *a < *b; }

PV__SORT_DEFINE(ckpt_sort, uint64_t, ckpt_before)

/* Take the dirty list and fix L. */
static int ckpt_cut(checkpoint *c, pv_error *err) {
    pv__store *s = c->s;
    pv__mutex_lock(&s->ver_mutex); /* a commit is accepted and published under it: no half ones */
    pv__mutex_lock(&s->log.mutex);
    c->lsn = s->log.published;
    s->log.seal = true;
    s->log.cut_lsn = c->lsn;
    s->log.cut_chain = s->log.chain; /* unless a flush still has to come to it */
    pv__mutex_unlock(&s->log.mutex);
    c->db_sum = s->db_sum;
    c->commits = s->commits;
    c->ids = s->dirty;
    c->id_count = s->dirty_count;
    c->id_cap = s->dirty_cap;
    s->dirty = NULL;
    s->dirty_count = s->dirty_cap = 0;
    s->dirty_seq++;
    s->ckpt_snap = c->lsn;
    pv__mutex_unlock(&s->ver_mutex);
    PV_TRY(pv__log_wait(s, c->lsn, err));
    pv__mutex_lock(&s->log.mutex);
    c->chain = s->log.cut_chain;
    pv__mutex_unlock(&s->log.mutex);
    return PV_OK;
}

/* The version of each page as of L. */
static int ckpt_gather(checkpoint *c, pv_error *err) {
    pv__store *s = c->s;
    ckpt_sort(c->ids, c->id_count);
    c->pages = pv__cache_array(s, c->id_count, sizeof *c->pages);
    if (!c->pages) {
        return pv__err_nomem(err, c->id_count * sizeof *c->pages);
    }
    pv__mutex_lock(&s->ver_mutex);
    for (size_t i = 0; i < c->id_count; i++) {
        pv__xent *x = pv__xlat_find(s, c->ids[i]);
        pv__ver *v =
            x ? pv__frame_ver(atomic_load_explicit(&x->frame, memory_order_relaxed)) : NULL;
        while (v && v->lsn > c->lsn) {
            v = atomic_load_explicit(&v->prev, memory_order_relaxed);
        }
        if (v) {
            ckpt_page *p = &c->pages[c->page_count++];
            memset(p, 0, sizeof *p);
            p->page_id = c->ids[i];
            p->ver = v;
            p->ver_lsn = v->lsn;
            p->freed = pv__ver_flags(v) & PV__VER_FREED;
            if (pv__ver_flags(v) & PV__VER_STORED) {
                p->pte = v->pte;
            }
        }
    }
    pv__mutex_unlock(&s->ver_mutex);
    return PV_OK;
}

static int ckpt_write_pages(checkpoint *c, pv_error *err) {
    pv__store *s = c->s;
    for (size_t i = 0; i < c->page_count; i++) {
        ckpt_page *p = &c->pages[i];
        if (p->pte.slots == 0 && !p->freed) {
            const uint8_t *bytes =
                pv__pageio_encode(s, p->page_id, pv__ver_page(p->ver), c->scratch, &p->pte);
            unsigned slots = p->pte.slots;
            p->pte.slots = 0; /* until there is something to free */
            PV_TRY(pv__space_alloc(s, slots, &p->pte.slot, err));
            p->pte.slots = (uint8_t)slots;
            p->written = true;
            PV_TRY(pv__vfs_write(s->vfs, s->file, p->pte.slot * PV__SLOT_SIZE, bytes,
                                 (size_t)slots * PV__SLOT_SIZE, err));
        }
        if (p->pte.slots) {
            p->pte.birth = c->lsn;
        }
    }
    return PV_OK;
}

static int ckpt_table(checkpoint *c, pv__table_change *t, pv_error *err) {
    for (size_t i = 0; i < c->page_count; i++) {
        PV_TRY(pv__table_change_set(c->s, t, c->pages[i].page_id, &c->pages[i].pte,
                                    &c->pages[i].old, err));
    }
    return pv__table_change_store(c->s, t, c->lsn, err);
}

/* What a checkpoint changes in the superblock. The rest stays untouched, because commits read uuid
 * and timeline without a lock. */
static void ckpt_use_root(pv__store *s, const pv__super *next) {
    s->super.sequence = next->sequence;
    s->super.lsn = next->lsn;
    s->super.db_sum = next->db_sum;
    s->super.commits = next->commits;
    s->super.chain = next->chain;
    s->super.root = next->root;
    s->super.height = next->height;
    s->super.epoch = next->epoch;
    s->super.file_slots = next->file_slots;
    s->super.incompat = next->incompat;
}

static int ckpt_flip(checkpoint *c, const pv__table_change *t, pv_error *err) {
    pv__store *s = c->s;
    int rc = s->vfs->sync(s->vfs, s->file, err);
    if (rc) { /* S8: images of the open transaction may be lost, and no later sync would tell */
        pv__store_fail(s, rc);
        return rc;
    }
    pv__super next = s->super;
    next.sequence++;
    next.lsn = c->lsn;
    next.db_sum = c->db_sum;
    next.commits = c->commits;
    next.chain = c->chain;
    next.root = t->root;
    next.height = t->height;
    next.epoch = s->log.epoch;
    pv__mutex_lock(&s->space_mutex);
    next.file_slots = s->space.count;
    pv__mutex_unlock(&s->space_mutex);
    if (s->codec) {
        next.incompat |= PV__FEATURE_INCOMPAT_ZSTD;
    }
    bool no_room = false;
    rc = pv__super_try(s, &next, &no_room, err);
    if (rc && no_room) { /* S8: nothing was synced, the next try tells */
        c->go = PV__SLOTS_LATER;
        pv__super_skip(s);
        return rc;
    }
    if (rc) {
        pv__store_fail(s, rc);
        return rc;
    }
    pv__mutex_lock(&s->ver_mutex); /* statistics, and the heads of records, read parts of it */
    s->older_lsn = s->super.lsn;
    s->older_root = s->super.root;
    s->older_height = s->super.height;
    s->older_valid = true;
    ckpt_use_root(s, &next);
    pv__mutex_unlock(&s->ver_mutex);
    return PV_OK;
}

/* The root is on disk: versions know their slots, and what the root replaced dies at L. */
static void ckpt_settle(checkpoint *c) {
    pv__store *s = c->s;
    pv__mutex_lock(&s->ver_mutex);
    for (size_t i = 0; i < c->page_count; i++) {
        ckpt_page *p = &c->pages[i];
        pv__xent *x = pv__xlat_find(s, p->page_id);
        pv__ver *v = pv__frame_ver(atomic_load_explicit(&x->frame, memory_order_relaxed));
        uint64_t seen_from = c->lsn;
        while (v && v->lsn != p->ver_lsn) {
            v = atomic_load_explicit(&v->prev, memory_order_relaxed);
        }
        for (pv__ver *o = v; o; o = atomic_load_explicit(&o->prev, memory_order_relaxed)) {
            if (o != v && (pv__ver_flags(o) & PV__VER_TABLED) && o->pte.slot == p->old.slot) {
                seen_from = o->lsn; /* some snapshot may still read it from its slot */
            }
        }
        if (p->old.slots && p->old.slot != p->pte.slot) {
            pv__space_free_later(s, p->old.slot, p->old.slots, seen_from, c->lsn);
        }
        if (v && !p->freed) {
            if (p->written) {
                v->pte = p->pte;
                atomic_fetch_sub_explicit(&s->dirty_bytes, pv__ver_bytes(v->raw_slots),
                                          memory_order_relaxed);
            }
            pv__ver_set(v, pv__ver_flags(v) | PV__VER_STORED | PV__VER_TABLED);
        }
    }
    s->space.dead_promised = 0;
    s->ckpt_snap = 0;
    s->evict_again_at = 0;
    s->superseded_after_sweep = 0;
    pv__ver_sweep(s);
    pv__mutex_unlock(&s->ver_mutex);
}

/* Nothing happened: give the slots back and put the pages on the current dirty list again. */
static void ckpt_undo(checkpoint *c, pv__slots_go go) {
    pv__store *s = c->s;
    for (size_t i = 0; i < c->page_count; i++) {
        if (c->pages[i].written) {
            pv__space_go(s, c->pages[i].pte.slot, c->pages[i].pte.slots, go, c->lsn);
        }
    }
    pv_error ignored = PV_ERROR_INIT;
    pv__mutex_lock(&s->ver_mutex);
    s->space.dead_promised = 0;
    s->ckpt_snap = 0;
    if (s->dirty_count == 0) { /* the list that was taken is as good as new */
        pv__alloc_free(s->mem, s->dirty, s->dirty_cap * sizeof(uint64_t));
        s->dirty = c->ids;
        s->dirty_count = c->id_count;
        s->dirty_cap = c->id_cap;
        for (size_t i = 0; i < s->dirty_count; i++) {
            pv__xlat_find(s, s->dirty[i])->dirty_seq = s->dirty_seq;
        }
        c->ids = NULL;
        c->id_cap = 0;
    } else if (pv__dirty_reserve(s, c->id_count, &ignored)) {
        pv__store_fail(s, PV_ERR_NOMEM); /* the list is lost: only replay knows these pages */
    } else {
        for (size_t i = 0; i < c->id_count; i++) {
            pv__xent *x = pv__xlat_find(s, c->ids[i]);
            if (x->dirty_seq != s->dirty_seq) {
                x->dirty_seq = s->dirty_seq;
                s->dirty[s->dirty_count++] = c->ids[i];
            }
        }
    }
    pv__mutex_unlock(&s->ver_mutex);
}

static int ckpt_work(checkpoint *c, pv_error *err) {
    pv__store *s = c->s;
    pv__table_change t;
    pv__space_reap(s);
    PV_TRY(ckpt_gather(c, err));
    PV_TRY(ckpt_write_pages(c, err));
    pv__table_change_begin(s, &t);
    int rc = ckpt_table(c, &t, err);
    if (!rc) {
        pv__mutex_lock(&s->ver_mutex);
        rc = pv__space_reserve_dead(s, c->page_count + t.nodes.count, err);
        /* Commits sweep while the superblock is written: they may not take this room. */
        s->space.dead_promised = rc ? 0 : c->page_count + t.nodes.count;
        pv__mutex_unlock(&s->ver_mutex);
    }
    if (!rc) {
        rc = ckpt_flip(c, &t, err);
    }
    if (rc) {
        if (atomic_load(&s->failed)) {
            c->go = PV__SLOTS_STAY;
        }
        pv__table_change_drop(s, &t, c->go, c->lsn);
        return rc;
    }
    pv__table_change_install(s, &t, c->lsn);
    ckpt_settle(c);
    return PV_OK;
}

static int ckpt_run(pv__store *s, pv_error *err) {
    checkpoint c;
    memset(&c, 0, sizeof c);
    c.s = s;
    c.go = PV__SLOTS_FREE;
    PV_TRY(pv__store_refuse(s, err));
    c.scratch = pv__alloc(s->mem, CKPT_SCRATCH);
    if (!c.scratch) {
        return pv__err_nomem(err, CKPT_SCRATCH);
    }
    int rc = ckpt_cut(&c, err);
    if (!rc && c.lsn == s->super.lsn) {
        ckpt_undo(&c, PV__SLOTS_STAY);
    } else if (!rc) {
        rc = ckpt_work(&c, err);
        if (rc) {
            ckpt_undo(&c, c.go);
        } else {
            pv__mutex_lock(&s->log.mutex);
            s->checkpoints++;
            s->ckpt_log_end = c.lsn;
            pv__mutex_unlock(&s->log.mutex);
            if (!s->replaying) {
                pv__log_trim(s, s->older_lsn);
            }
        }
    } else {
        ckpt_undo(&c, PV__SLOTS_STAY);
    }
    pv__alloc_free(s->mem, c.scratch, CKPT_SCRATCH);
    pv__cache_drop(s, c.pages, c.id_count, sizeof *c.pages);
    pv__alloc_free(s->mem, c.ids, c.id_cap * sizeof *c.ids);
    return rc;
}

PV_PRIVATE int pv__checkpoint_run(pv__store *s, pv_error *err) {
    if (s->memory || s->readonly) {
        return PV_OK;
    }
    pv__mutex_lock(&s->ckpt_mutex);
    int rc = ckpt_run(s, err);
    pv__mutex_unlock(&s->ckpt_mutex);
    return rc;
}

/* S9: the final root goes into both superblocks, synced, without the word that a log is needed. */
PV_PRIVATE int pv__checkpoint_final(pv__store *s, pv_error *err) {
    PV_TRY(pv__checkpoint_run(s, err));
    if (!s->log.marked) {
        return PV_OK;
    }
    for (unsigned i = 0; i < 2; i++) {
        pv__super next = s->super;
        next.sequence++;
        next.flags &= ~PV__SUPER_FLAG_LOG;
        next.epoch = s->log.epoch;
        next.file_slots = s->space.ready ? s->space.count : next.file_slots;
        PV_TRY(pv__super_write(s, &next, err));
        s->super = next;
    }
    return PV_OK;
}

/* ---- when ---------------------------------------------------------------------------------- */

static bool ckpt_due(pv__store *s) {
    pv__mutex_lock(&s->log.mutex);
    uint64_t logged = s->log.end - s->ckpt_log_end;
    pv__mutex_unlock(&s->log.mutex);
    return logged > s->checkpoint_bytes ||
           atomic_load_explicit(&s->dirty_bytes, memory_order_relaxed) > s->cache_limit / 2;
}

static void ckpt_say(pv__store *s, const char *what, int rc, const pv_error *err) {
    if (rc) {
        pv__log(&s->log_to, PV_LOG_ERROR, "store", "%s: %s", what, err->message);
    }
}

/* ms until `at`, at least 1, or 0 when it has come. */
static uint32_t ckpt_until(uint64_t at, uint64_t now) {
    return at <= now ? 0 : (uint32_t)PV_MIN((at - now) / 1000 + 1, (uint64_t)UINT32_MAX);
}

/* A little of what the layer above wants done. Under worker_mutex, which is let go of. */
static void ckpt_chore(pv__store *s) {
    s->chore_wanted = false; /* who wants it from here on will be heard */
    pv__mutex_unlock(&s->worker_mutex);
    const uint32_t again = s->chore(s->chore_ctx);
    pv__mutex_lock(&s->worker_mutex);
    s->chore_at_us = pv__sys_mono_us(NULL);
    if (again != PV__CHORE_DONE) {
        s->chore_wanted = true;
        s->chore_at_us += again * (uint64_t)1000;
    }
}

/* Wait until something is due; false: something is. Under worker_mutex. */
static bool ckpt_wait(pv__store *s, uint64_t now) {
    const uint32_t flush = s->flush_wanted ? ckpt_until(s->flush_at_us, now) : UINT32_MAX;
    const uint32_t chore = s->chore_wanted ? ckpt_until(s->chore_at_us, now) : UINT32_MAX;
    const uint32_t first = PV_MIN(flush, chore);
    if (first == 0) {
        return false;
    }
    if (first == UINT32_MAX) {
        pv__cond_wait(&s->worker_cond, &s->worker_mutex);
    } else if (!pv__cond_wait_for(&s->worker_cond, &s->worker_mutex, first)) {
        *(flush <= chore ? &s->flush_at_us : &s->chore_at_us) =
            0; /* due, whatever the clock says */
    }
    return true;
}

/* The one thread of a store: checkpoints, the flush that asynchronous commits left to it, and
 * chores. */
static void *ckpt_thread(void *arg) {
    pv__store *s = arg;
    pv__mutex_lock(&s->worker_mutex);
    while (!s->worker_stop) {
        pv_error failed = PV_ERROR_INIT;
        const uint64_t now = pv__sys_mono_us(NULL);
        if (s->worker_wanted) {
            s->worker_wanted = false;
            pv__mutex_unlock(&s->worker_mutex);
            ckpt_say(s, "checkpoint", pv__checkpoint_run(s, &failed), &failed);
            pv__mutex_lock(&s->worker_mutex);
        } else if (ckpt_wait(s, now)) {
            continue;
        } else if (s->flush_wanted && s->flush_at_us <= now) {
            s->flush_wanted = false;
            pv__mutex_unlock(&s->worker_mutex);
            ckpt_say(s, "flush", pv__log_flush_all(s, &failed), &failed);
            pv__mutex_lock(&s->worker_mutex);
        } else {
            ckpt_chore(s);
        }
    }
    pv__mutex_unlock(&s->worker_mutex);
    return NULL;
}

/* Under worker_mutex. False: there is none, the caller does the work itself. */
static bool ckpt_have_thread(pv__store *s) {
    pv_error failed = PV_ERROR_INIT;
    if (!s->no_threads && !s->worker_started && !s->worker_stop) {
        s->worker_started = pv__thread_start(&s->worker, ckpt_thread, s, &failed) == PV_OK;
    }
    return s->worker_started;
}

PV_PRIVATE void pv__flush_want(pv__store *s) {
    pv__mutex_lock(&s->worker_mutex);
    if (ckpt_have_thread(s) && !s->flush_wanted) {
        s->flush_wanted = true;
        s->flush_at_us = pv__sys_mono_us(NULL) + CKPT_ASYNC_MS * (uint64_t)1000;
        pv__cond_signal(&s->worker_cond);
    }
    pv__mutex_unlock(&s->worker_mutex);
}

PV_PRIVATE bool pv__chore_want(pv__store *s) {
    if (!s->chore || s->no_threads || s->readonly || atomic_load(&s->failed)) {
        return false;
    }
    pv__mutex_lock(&s->worker_mutex);
    const bool have = ckpt_have_thread(s);
    if (have && !s->chore_wanted) {
        s->chore_wanted = true;
        s->chore_at_us = 0;
        pv__cond_signal(&s->worker_cond);
    }
    pv__mutex_unlock(&s->worker_mutex);
    return have;
}

PV_PRIVATE void pv__checkpoint_want(pv__store *s) {
    pv_error failed = PV_ERROR_INIT;
    if (s->memory || s->readonly || atomic_load(&s->failed) || !ckpt_due(s)) {
        return;
    }
    pv__mutex_lock(&s->worker_mutex);
    bool behind = atomic_load_explicit(&s->dirty_bytes, memory_order_relaxed) > s->cache_limit;
    bool mine = !ckpt_have_thread(s) || behind;
    if (s->worker_started) {
        s->worker_wanted = true;
        pv__cond_signal(&s->worker_cond);
    }
    pv__mutex_unlock(&s->worker_mutex);
    /* Without a thread, or when it cannot keep up, the writer does the work itself. */
    if (mine) {
        ckpt_say(s, "checkpoint", pv__checkpoint_run(s, &failed), &failed);
    }
}

PV_PRIVATE void pv__checkpoint_stop(pv__store *s) {
    pv__mutex_lock(&s->worker_mutex);
    bool started = s->worker_started;
    s->worker_stop = true;
    pv__cond_broadcast(&s->worker_cond);
    pv__mutex_unlock(&s->worker_mutex);
    if (started) {
        pv__thread_join(s->worker);
        s->worker_started = false;
    }
}

#undef CKPT_ASYNC_MS
#undef CKPT_SCRATCH
