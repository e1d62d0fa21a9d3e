/* SPDX-License-Identifier: Apache-2.0 */
/* pack.c - a clean close moves pages from the end of the file into free slots before it, so that
 * the end can be given back.
 *
 *      | used | free | used | free | used |            after the final root
 *          '-------------^------------'                copies first, then nodes, sync, both roots
 *
 * A checkpoint never writes over what a root reaches (S3), so a database all of whose pages have
 * changed is twice as long as it need be, with its first half free. Nobody reads any more: pages
 * are copied as they lie, without being looked at, since the entry that vouches for them does not
 * say where they are. Nodes of the table are written anew when an entry under them is set, be it to
 * what it was. At most PACK_SLOTS_MAX move in one close; what is left moves in the next. */
#include "base/sort.h"
#include "store/internal.h"

#define PACK_SHARE 5u              /* worth it when one slot of so many is free */
#define PACK_SLOTS_MIN 64u         /* and so many are */
#define PACK_SLOTS_MAX (64u << 10) /* 256 MiB in a pass */
#define PACK_PASSES 3u /* what is found no place before it may find one that became free */

typedef struct pack_page {
    uint64_t page_id;
    pv__pte pte, old;
} pack_page;

typedef struct pack_run {
    pv__store *s;
    uint64_t limit; /* what lies beyond it is to move */
    pack_page *pages;
    size_t count, cap, moved;
    uint8_t *buf;
    bool node_beyond; /* the table node just met; a page behind it takes it along */
} pack_run;

/* The largest first, while runs of free slots are whole; of one size the last of the file. */
static bool pack_before(const pack_page *a, const pack_page *b) {
    return a->pte.slots != b->pte.slots ? a->pte.slots > b->pte.slots : a->pte.slot > b->pte.slot;
}

PV__SORT_DEFINE(pack_sort, pack_page, pack_before)

static int pack_visit(void *ctx, int level, uint64_t id, const pv__pte *pte, pv_error *err) {
    pack_run *p = ctx;
    const bool beyond = pte->slot + pte->slots > p->limit;
    if (level >= 0) {
        p->node_beyond = p->node_beyond || beyond;
        return PV_OK;
    }
    if (pte->slots == 0 || !(beyond || p->node_beyond)) {
        return PV_OK;
    }
    p->node_beyond = false;
    PV_TRY(pv__pageio_check_pte(id, pte, err));
    PV_TRY(pv__alloc_grow(p->s->mem, (void **)&p->pages, &p->cap, p->count + 1, sizeof *p->pages,
                          err));
    p->pages[p->count++] = (pack_page){.page_id = id, .pte = *pte, .old = *pte};
    return PV_OK;
}

/* Copy pages into free slots before them, as long as there are such. */
static int pack_copy(pack_run *p, pv_error *err) {
    pv__store *s = p->s;
    uint64_t slots = 0;
    bool full[PV__PAGE_SLOTS_MAX + 1] = {false}; /* by size: no run before it was found */
    for (size_t i = 0; i < p->count && slots < PACK_SLOTS_MAX; i++) {
        pack_page *page = &p->pages[i];
        const unsigned n = page->old.slots;
        const size_t bytes = (size_t)n * PV__SLOT_SIZE;
        uint64_t slot = 0;
        if (page->old.slot + n <= p->limit) { /* it stays; the nodes that lead to it move */
            p->pages[p->moved++] = *page;     /* moved <= i */
            continue;
        }
        if (full[n]) {
            continue;
        }
        PV_TRY(pv__space_alloc(s, n, &slot, err));
        if (slot > page->old.slot) {
            pv__space_free_now(s, slot, n);
            full[n] = true;
            continue;
        }
        pv_io io = {page->old.slot * PV__SLOT_SIZE, p->buf, bytes, 0};
        page->pte.slot = slot;
        p->pages[p->moved++] = *page;
        PV_TRY(s->vfs->read(s->vfs, s->file, &io, 1, err));
        PV_TRY(pv__vfs_write(s->vfs, s->file, slot * PV__SLOT_SIZE, p->buf, bytes, err));
        slots += n;
    }
    return PV_OK;
}

/* The root that knows the new places, into both superblocks. */
static int pack_flip(pv__store *s, const pv__table_change *t, pv_error *err) {
    PV_TRY(s->vfs->sync(s->vfs, s->file, err));
    for (unsigned i = 0; i < 2; i++) {
        pv__super next = s->super;
        next.sequence++;
        next.root = t->root;
        next.height = t->height;
        next.file_slots = s->space.count;
        PV_TRY(pv__super_write(s, &next, err));
        s->super = next;
    }
    return PV_OK;
}

static int pack_table(pack_run *p, pv__table_change *t, pv_error *err) {
    pv__store *s = p->s;
    for (size_t i = 0; i < p->moved; i++) {
        pv__pte was;
        PV_TRY(pv__table_change_set(s, t, p->pages[i].page_id, &p->pages[i].pte, &was, err));
    }
    PV_TRY(pv__table_change_store(s, t, s->super.lsn, err));
    pv__mutex_lock(&s->ver_mutex);
    const int rc = pv__space_reserve_dead(s, t->nodes.count, err);
    pv__mutex_unlock(&s->ver_mutex);
    return rc;
}

/* *out_flipped: what failed may be on disk. */
static int pack_move(pack_run *p, bool *out_flipped, pv_error *err) {
    pv__store *s = p->s;
    pv__table_change t;
    int rc = pack_copy(p, err);
    if (rc || p->moved == 0) {
        return rc;
    }
    pv__table_change_begin(s, &t);
    rc = pack_table(p, &t, err);
    if (!rc) {
        *out_flipped = true;
        rc = pack_flip(s, &t, err);
    }
    if (rc) {
        pv__table_change_drop(s, &t, PV__SLOTS_STAY, s->super.lsn);
        return rc;
    }
    pv__table_change_install(s, &t, s->super.lsn);
    for (size_t i = 0; i < p->moved; i++) {
        if (p->pages[i].pte.slot != p->pages[i].old.slot) {
            pv__space_free_now(s, p->pages[i].old.slot, p->pages[i].old.slots);
        }
    }
    return PV_OK;
}

/* What the root does not reach is free, and the file ends with what is not. */
static void pack_trim(pv__store *s) {
    pv__space *a = &s->space;
    pv__space_reap(s);
    while (a->count > 1 && !(a->used[(a->count - 1) / 64] >> ((a->count - 1) % 64) & 1)) {
        a->count--;
        a->free--;
    }
}

static int pack_pass(pv__store *s, uint8_t *buf, size_t *out_moved, bool *out_flipped,
                     pv_error *err) {
    pv__space *a = &s->space;
    pack_run p = {.s = s, .buf = buf, .limit = a->count - a->free};
    a->cursor = 2;
    int rc = pv__table_walk(s, &s->super.root, s->super.height, NULL, 0, pack_visit, &p, err);
    if (!rc) {
        pack_sort(p.pages, p.count);
        rc = pack_move(&p, out_flipped, err);
    }
    pv__alloc_free(s->mem, p.pages, p.cap * sizeof *p.pages);
    *out_moved = p.moved;
    return rc;
}

PV_PRIVATE int pv__pack(pv__store *s, pv_error *err) {
    const pv__space *a = &s->space;
    pv_error found = PV_ERROR_INIT;
    bool flipped = false;
    const size_t bytes = (size_t)PV__PAGE_SLOTS_MAX * PV__SLOT_SIZE;
    uint8_t *buf = NULL;
    size_t moved = 1;
    int rc = PV_OK;
    pack_trim(s);
    for (unsigned pass = 0; pass < PACK_PASSES && moved > 0 && !rc; pass++) {
        if (a->free < PACK_SLOTS_MIN || a->free * PACK_SHARE < a->count) {
            break;
        }
        buf = buf ? buf : pv__alloc(s->mem, bytes);
        flipped = false;
        rc = buf ? pack_pass(s, buf, &moved, &flipped, &found) : pv__err_nomem(&found, bytes);
        pack_trim(s);
    }
    pv__alloc_free(s->mem, buf, bytes);
    if (rc && !flipped) { /* the file is as good as before, only longer */
        pv__log(&s->log_to, PV_LOG_WARN, "store", "close: %s", found.message);
        return PV_OK;
    }
    return rc ? pv__err(err, rc, "%s", found.message) : PV_OK;
}

#undef PACK_PASSES
#undef PACK_SHARE
#undef PACK_SLOTS_MIN
#undef PACK_SLOTS_MAX
