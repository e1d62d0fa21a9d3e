/* SPDX-License-Identifier: Apache-2.0 */
/* ahead.c - replay asks the disk ahead: the log that is in memory already says which pages it will
 * change, so their reads begin before it gets there, many at once and in the order of the file.
 *
 *   log in memory:  | applied | ---- asked for ---- | ---- asked for ---- |   not looked at   |
 *                             ^ replay              ^ here the next are asked for
 *   entries -> pages whose bytes replay reads -> their nodes asked for, then looked up in them
 *           -> slots, sorted, neighbours joined -> pv_vfs.ahead
 *
 * Only hints. The log is not verified here and what fails is met again in replay; a file system
 * without `ahead` is asked nothing, and nothing is looked up for it. One thread, that of replay. */
#include "base/sort.h"
#include "store/internal.h"

#define AHEAD_NODES 256u                    /* pages looked up at once */
#define AHEAD_SEEN 65536u                   /* pages of one portion */
#define AHEAD_BYTES_MIN ((uint64_t)1 << 20) /* of pages, in one portion */
#define AHEAD_BYTES_MAX ((uint64_t)128 << 20)
#define AHEAD_GAP 8u /* slots: reading over so few costs less than a read of their own */

/* Slots as one number that sorts by place; 0: none. */
static uint64_t ahead_key(const pv__pte *pte) {
    const bool sane =
        pte->slots > 0 && pte->slots <= PV__PAGE_SLOTS_MAX && pte->slot < (uint64_t)1 << 40;
    return sane ? pte->slot << 8 | pte->slots : 0;
}

static bool ahead_before(const uint64_t *a, const uint64_t *b) { return *a < *b; }

PV__SORT_DEFINE(ahead_sort, uint64_t, ahead_before)

PV_PRIVATE void pv__ahead_slots(pv__store *s, uint64_t *keys, size_t count) {
    uint64_t from = 0, to = 0; /* slots of a run */
    ahead_sort(keys, count);
    for (size_t i = 0; i <= count; i++) {
        const uint64_t key = i < count ? keys[i] : 0, slot = key >> 8, end = slot + (key & 0xFF);
        if (i < count && to > 0 && slot <= to + AHEAD_GAP) {
            to = PV_MAX(to, end);
            continue;
        }
        if (to > 0) {
            pv__vfs_ahead(s->vfs, s->file, from * PV__SLOT_SIZE, (to - from) * PV__SLOT_SIZE);
        }
        from = slot;
        to = end;
    }
}

PV_PRIVATE void pv__ahead_init(pv__ahead *a, pv__store *s, bool nodes_only) {
    memset(a, 0, sizeof *a);
    a->store = s;
    a->nodes_only = nodes_only;
    a->bytes_max = PV_MIN(PV_MAX(s->cache_limit / 8, AHEAD_BYTES_MIN), AHEAD_BYTES_MAX);
    pv__map_init(&a->seen, s->mem);
    a->off = !pv__vfs_has_ahead(s->vfs);
}

PV_PRIVATE void pv__ahead_done(pv__ahead *a) {
    pv__map_done(&a->seen);
    pv__alloc_free(a->store->mem, a->keys, a->keys_cap * sizeof *a->keys);
}

static bool ahead_push(pv__ahead *a, uint64_t key) {
    pv_error ignored = PV_ERROR_INIT;
    if (key == 0) {
        return true;
    }
    if (pv__alloc_grow(a->store->mem, (void **)&a->keys, &a->keys_cap, a->keys_count + 1,
                       sizeof *a->keys, &ignored)) {
        return false;
    }
    a->keys[a->keys_count++] = key;
    a->bytes += (key & 0xFF) * PV__SLOT_SIZE;
    return true;
}

/* Pages that only the page table knows: its nodes are asked for first. */
static bool ahead_look_up(pv__ahead *a, const uint64_t *ids, size_t count) {
    uint64_t nodes[AHEAD_NODES];
    size_t n = 0;
    pv__pte pte;
    pv_error ignored = PV_ERROR_INIT;
    for (size_t i = 0; i < count; i++) {
        pv__table_leaf(a->store, ids[i], &pte);
        nodes[n] = ahead_key(&pte);
        n += nodes[n] != 0;
    }
    pv__ahead_slots(a->store, nodes, n);
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++) {
        ok = pv__table_lookup(a->store, ids[i], &pte, &ignored) != PV_OK ||
             ahead_push(a, ahead_key(&pte));
    }
    return ok;
}

/* ---- what an entry will read ----------------------------------------------------------------- */

typedef struct ahead_portion {
    uint64_t ids[AHEAD_NODES]; /* to be looked up */
    size_t count;
} ahead_portion;

/* A change of a page whose bytes are not in memory needs the slots that hold them. */
static bool ahead_delta(pv__ahead *a, ahead_portion *p, uint64_t id) {
    pv__store *s = a->store;
    const pv__xent *x = pv__xlat_find(s, id);
    const uintptr_t f = x ? atomic_load_explicit(&x->frame, memory_order_relaxed) : 0;
    if (f == 0) {
        p->ids[p->count++] = id;
        const size_t n = p->count;
        p->count %= AHEAD_NODES;
        return n < AHEAD_NODES || ahead_look_up(a, p->ids, n);
    }
    const pv__ver *v = pv__frame_ver(f);
    const uint32_t flags = pv__ver_flags(v);
    const bool stub = (flags & PV__VER_STORED) && !(flags & (PV__VER_RESIDENT | PV__VER_FREED));
    return !stub || ahead_push(a, ahead_key(&v->pte));
}

/* For a reference the node of its page, once. */
static bool ahead_node(pv__ahead *a, const pv__entry *e) {
    const uint64_t node = e->page_id / PV__PT_FANOUT;
    uint64_t ignored_value = 0;
    pv__pte pte;
    pv_error ignored = PV_ERROR_INIT;
    if (e->kind != PV__ENTRY_REF || pv__map_get(&a->seen, node, &ignored_value)) {
        return true;
    }
    pv__table_leaf(a->store, e->page_id, &pte);
    return pv__map_put(&a->seen, node, 0, &ignored) == PV_OK && ahead_push(a, ahead_key(&pte));
}

/* Per page, what the entries before leave: nothing to be read, or the slots that a reference gave
 * it and nobody has asked for. */
static bool ahead_entry(pv__ahead *a, ahead_portion *p, const pv__entry *e) {
    pv_error ignored = PV_ERROR_INIT;
    uint64_t slots = 0;
    const bool seen = pv__map_get(&a->seen, e->page_id, &slots);
    if (e->page_id >= PV__PAGE_ID_MAX ||
        pv__map_put(&a->seen, e->page_id, e->pte.slots ? ahead_key(&e->pte) : 0, &ignored)) {
        return false;
    }
    if (e->kind != PV__ENTRY_DELTA) {
        return true;
    }
    return seen ? ahead_push(a, slots) : ahead_delta(a, p, e->page_id);
}

/* ---- the walk through the log ---------------------------------------------------------------- */

/* The head of a record at a->at, or at the 4 KiB boundary behind it, or NULL. */
static const uint8_t *ahead_head(pv__ahead *a) {
    for (unsigned turn = 0; turn < 2; turn++) {
        const uint64_t at = turn ? PV_ALIGN_UP(a->at, (uint64_t)PV__SLOT_SIZE) : a->at;
        const uint64_t off = at - a->lsn;
        if (off > a->size || a->size - off < PV__REC_HEAD) {
            return NULL;
        }
        const uint8_t *h = a->log + off;
        if (pv__get32(h + PV__REC_MAGIC) == PV__REC_MAGIC_VALUE &&
            pv__get64(h + PV__REC_LSN) == at) {
            a->at = at;
            return h;
        }
    }
    return NULL;
}

/* To the next entry; false at the end of what is in memory. */
static bool ahead_next(pv__ahead *a, pv__entry *out) {
    while (a->left == 0) {
        const uint8_t *h = ahead_head(a);
        if (!h || pv__get64(h + PV__REC_BODY) > UINT64_MAX / 2 - a->at) {
            return false;
        }
        a->left = pv__get32(h + PV__REC_ENTRIES);
        a->record_end = a->at + PV__REC_HEAD + pv__get64(h + PV__REC_BODY);
        a->at = a->left ? a->at + PV__REC_HEAD : PV_ALIGN_UP(a->record_end, (uint64_t)8);
    }
    const uint64_t end = PV_MIN(a->lsn + a->size, a->record_end);
    if (a->at >= end) {
        return false;
    }
    pv__reader r = pv__reader_of(a->log + (a->at - a->lsn), (size_t)(end - a->at));
    pv__entry_next(&r, out);
    if (r.bad) {
        return false;
    }
    a->left--;
    a->at = a->left ? end - pv__reader_left(&r) : PV_ALIGN_UP(a->record_end, (uint64_t)8);
    return true;
}

/* Ask for the next portion. */
static void ahead_look(pv__ahead *a) {
    ahead_portion p = {.count = 0};
    pv__entry e;
    const uint64_t from = a->at;
    pv__map_clear(&a->seen);
    a->keys_count = 0;
    a->bytes = 0;
    bool more = true, ok = true;
    while (ok && a->bytes < a->bytes_max && a->seen.count < AHEAD_SEEN &&
           (more = ahead_next(a, &e))) {
        ok = a->nodes_only ? ahead_node(a, &e) : ahead_entry(a, &p, &e);
    }
    if (ok) {
        (void)ahead_look_up(a, p.ids, p.count);
    }
    pv__ahead_slots(a->store, a->keys, a->keys_count);
    a->ended = !more || !ok; /* no memory, or not a log: replay will say */
    a->next = from;
}

PV_PRIVATE void pv__ahead_pass(pv__ahead *a, uint64_t lsn) {
    while (!a->off && !a->ended && lsn >= a->next) {
        ahead_look(a);
    }
}

PV_PRIVATE void pv__ahead_log(pv__ahead *a, const uint8_t *log, size_t size, uint64_t lsn) {
    if (lsn + size != a->lsn + a->size) {
        a->ended = false; /* more has been read */
    }
    a->log = log;
    a->size = size;
    a->lsn = lsn;
    if (a->at < lsn) {
        a->at = lsn;
        a->left = 0;
    }
    pv__ahead_pass(a, lsn);
}

#undef AHEAD_NODES
#undef AHEAD_SEEN
#undef AHEAD_BYTES_MIN
#undef AHEAD_BYTES_MAX
#undef AHEAD_GAP
