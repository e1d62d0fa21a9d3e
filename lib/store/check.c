/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - is the file what it should be? Quick: superblocks, page table, and that every slot is
 * referred to once. Deep: every page's checksum and identity too, and the database checksum at the
 * newest LSN from scratch. Findings are reported one by one; the walk goes on past damage. */
#include "store/internal.h"

typedef struct check_run {
    pv__store *s;
    pv__check_fn fn;
    void *ctx;
    uint64_t bad, pages;
    uint64_t *seen; /* one bit a slot */
    uint64_t slots;
    uint8_t *page; /* room for the largest */
    bool deep;
} check_run;

#define CHECK_PAGE_BYTES ((size_t)PV__PAGE_SLOTS_MAX * PV__SLOT_SIZE)

static void check_report(check_run *c, uint64_t page_id, uint32_t owner, const char *what) {
    c->bad++;
    if (c->fn) {
        c->fn(c->ctx, page_id, owner, what);
    }
}

/* Damage is a finding; anything else (memory, I/O) ends the walk. */
static int check_judge(check_run *c, uint64_t page_id, uint32_t owner, int rc, const pv_error *why,
                       pv_error *err) {
    if (rc == PV_ERR_CORRUPT || rc == PV_ERR_FORMAT) {
        check_report(c, page_id, owner, why->message);
        return PV_OK;
    }
    return rc ? pv__err(err, rc, "%s", why->message) : PV_OK;
}

static int check_node(void *ctx, int rc, const pv_error *why, pv_error *err) {
    return check_judge(ctx, 0, 0, rc, why, err);
}

/* The object a damaged page belongs to: as the page itself can still say, or its version of now,
 * which the log may have brought. Else 0. */
static uint32_t check_owner(check_run *c, uint64_t page_id, const pv__pte *pte) {
    pv_error ignored = PV_ERROR_INIT;
    const uint8_t *now = NULL;
    pv__txn *t = NULL;
    uint32_t owner = 0;
    const int rc = pv__vfs_read(c->s->vfs, c->s->file, pte->slot * PV__SLOT_SIZE, c->page,
                                PV__SLOT_SIZE, &ignored);
    if (rc == PV_OK && pv__get64(c->page + PV__HEAD_UUID) == c->s->uuid_tag &&
        pv__page_id(c->page) == page_id) {
        owner = pv__page_owner(c->page);
    } else if (pv__txn_begin(c->s, 0, &t, &ignored) == PV_OK) {
        if (pv__page_read(t, page_id, PV__PAGE_ANY, &now, &ignored) == PV_OK) {
            owner = pv__page_owner(now);
        }
        pv__txn_rollback(t);
    }
    return owner;
}

static int check_entry(void *ctx, int level, uint64_t id, const pv__pte *pte, pv_error *err) {
    check_run *c = ctx;
    c->pages += level < 0;
    for (uint64_t i = pte->slot; i < pte->slot + pte->slots; i++) {
        if (i >= c->slots) {
            check_report(c, id, 0, "lies beyond the end of the file");
            return PV_OK;
        }
        if (c->seen[i / 64] >> (i % 64) & 1) {
            check_report(c, id, 0, "shares a slot with another page");
        }
        c->seen[i / 64] |= (uint64_t)1 << (i % 64);
    }
    if (c->deep && level < 0) {
        pv_error damage = PV_ERROR_INIT;
        const int rc = pv__pageio_read(c->s, id, pte, c->page, &damage);
        return rc ? check_judge(c, id, check_owner(c, id, pte), rc, &damage, err) : PV_OK;
    }
    return PV_OK;
}

/* No id lies beyond this: one that was handed out has a page in the file or in memory, or stands in
 * the list of free ones, which is pages too. Generous, for commits since the file was measured. */
static uint64_t check_ids_max(const check_run *c) {
    uint64_t pages = c->slots + atomic_load(&c->s->dirty_bytes) / PV__SLOT_SIZE;
    return c->s->memory ? PV__PAGE_ID_MAX
                        : PV_MIN((pages + 256) * (PV__FREELIST_CAP + 1), PV__PAGE_ID_MAX);
}

static int check_sum_pages(check_run *c, pv__txn *t, uint64_t *out_sum, pv_error *err) {
    const uint8_t *meta = NULL;
    *out_sum = 0;
    if (t->snap == c->s->first_lsn) {
        return PV_OK; /* nothing was ever written */
    }
    pv_error why = PV_ERROR_INIT;
    int rc = pv__page_read(t, PV__META_PAGE, PV__PAGE_META, &meta, &why);
    if (rc) {
        return check_judge(c, PV__META_PAGE, 0, rc, &why, err);
    }
    uint64_t limit = pv__get64(meta + PV__META_NEXT_ID);
    if (limit > check_ids_max(c)) {
        check_report(c, PV__META_PAGE, 0, "counts more pages than there can be");
        return PV_OK;
    }
    for (uint64_t id = 1; id < limit; id++) {
        const uint8_t *page = NULL;
        rc = pv__page_read(t, id, PV__PAGE_ANY, &page, &why);
        if (rc == PV_OK) {
            *out_sum ^= pv__sum_page(id, page, pv__page_size(page));
        } else if (rc != PV_ERR_CORRUPT) { /* freed ids are not there; damage was reported */
            return pv__err(err, rc, "%s", why.message);
        }
        PV_TRY(pv__txn_pause(t, err));
    }
    return PV_OK;
}

/* Sum over all pages as of the newest commit, through the ordinary read path. */
static int check_sum(check_run *c, pv_error *err) {
    pv__store *s = c->s;
    pv__txn *t = NULL;
    uint64_t sum = 0;
    PV_TRY(pv__txn_begin(s, 0, &t, err));
    pv__mutex_lock(&s->ver_mutex);
    uint64_t want = s->db_sum;
    bool newest = s->log.published == t->snap; /* else a commit came between: nothing to compare */
    pv__mutex_unlock(&s->ver_mutex);
    newest = newest && c->bad == 0; /* after damage the sum says nothing new */
    int rc = newest ? check_sum_pages(c, t, &sum, err) : PV_OK;
    pv__txn_rollback(t);
    if (!rc && newest && c->bad == 0 && sum != want) {
        check_report(c, 0, 0, "the database checksum differs from the pages");
    }
    return rc;
}

/* Under super_mutex, so that no commit is marking one meanwhile. */
static int check_super_copies(check_run *c, pv_error *err) {
    pv__super a, b;
    bool has_old = false;
    uint64_t bad[PV__SUPER_COPIES];
    unsigned count = 0;
    pv_error damage = PV_ERROR_INIT;
    memset(&a, 0, sizeof a);
    int rc = pv__super_read(c->s, &a, &b, &has_old, &damage);
    if (rc) {
        return check_judge(c, 0, 0, rc, &damage, err);
    }
    const uint64_t now = c->s->super.sequence, unsure = atomic_load(&c->s->super_unsure);
    if (unsure && a.sequence < now && a.sequence + 2 * unsure >= now) {
        return PV_OK; /* the last that was written, or one that may be there (super.c) */
    }
    if (a.sequence != now) {
        check_report(c, 0, 0, "the newest superblock is not the one in use");
    }
    PV_TRY(pv__super_check(c->s, bad, &count, err));
    for (unsigned i = 0; i < count; i++) {
        pv__err(&damage, PV_ERR_CORRUPT, "the superblock in slot %llu is damaged",
                (unsigned long long)bad[i]);
        check_report(c, 0, 0, damage.message);
    }
    return PV_OK;
}

static int check_super(check_run *c, pv_error *err) {
    pv__mutex_lock(&c->s->super_mutex);
    int rc = check_super_copies(c, err);
    pv__mutex_unlock(&c->s->super_mutex);
    return rc;
}

PV_PRIVATE int pv__store_check(pv__store *s, bool deep, pv__check_fn fn, void *ctx,
                               uint64_t *out_bad, pv_error *err) {
    check_run c = {s, fn, ctx, 0, 0, NULL, 0, NULL, deep};
    uint64_t size = 0;
    int rc = PV_OK;
    *out_bad = 0;
    if (!s->memory) {
        pv__mutex_lock(&s->ckpt_mutex); /* the root stays as it is */
        rc = s->vfs->size(s->vfs, s->file, &size, err);
        c.slots = size / PV__SLOT_SIZE;
        size_t bits = (size_t)(c.slots / 64 + 1) * 8;
        c.seen = rc ? NULL : pv__alloc_zero(s->mem, bits);
        c.page = rc ? NULL : pv__alloc(s->mem, CHECK_PAGE_BYTES);
        if (!rc && (!c.seen || !c.page)) {
            rc = pv__err_nomem(err, bits + CHECK_PAGE_BYTES);
        }
        if (!rc) {
            rc = check_super(&c, err);
        }
        if (!rc) {
            pv_error damage = PV_ERROR_INIT;
            rc = pv__table_walk_past(s, &s->super.root, s->super.height, NULL, 0, check_entry,
                                     check_node, &c, &damage);
            rc = check_judge(&c, 0, 0, rc, &damage, err);
        }
        pv__mutex_unlock(&s->ckpt_mutex);
        pv__alloc_free(s->mem, c.seen, bits);
        pv__alloc_free(s->mem, c.page, CHECK_PAGE_BYTES);
    }
    if (!rc && deep) {
        rc = check_sum(&c, err);
    }
    *out_bad = c.bad;
    return rc;
}

#undef CHECK_PAGE_BYTES
