/* SPDX-License-Identifier: Apache-2.0 */
/* table.c - the page table: a radix of 4 KiB nodes from page id to the slots that hold the page.
 *
 *   superblock -> root node (level h-1) -> ... -> level 0 nodes -> pages
 *
 * Nodes are copy-on-write like pages: a checkpoint clones the nodes on the paths it changes, stores
 * them bottom-up in new slots, and installs the clones only after the superblock refers to them.
 * Loaded nodes stay in memory (24 bytes a page). Lock: table_mutex. */
#include "store/internal.h"

#define TABLE_KEY(level, index) ((uint64_t)(level) << 56 | (index))
#define TABLE_LEVELS_MAX 5u /* 168^5 > PV__PAGE_ID_MAX */

static uint8_t *table_entry(pv__node *n, uint64_t index) {
    return n->bytes + PV__PAGE_HEAD + (size_t)(index % PV__PT_FANOUT) * PV__PTE_SIZE;
}

static pv__node *table_get(const pv__map *m, uint32_t level, uint64_t index) {
    uint64_t v = 0;
    return pv__map_get(m, TABLE_KEY(level, index), &v) ? (pv__node *)(uintptr_t)v : NULL;
}

static uint64_t table_reach(uint32_t height) {
    uint64_t reach = 1;
    for (uint32_t i = 0; i < height; i++) {
        reach *= PV__PT_FANOUT;
    }
    return height ? reach : 0;
}

static int table_read_node(pv__store *s, uint32_t level, uint64_t index, const pv__pte *pte,
                           uint8_t *bytes, pv_error *err) {
    pv_error why = PV_ERROR_INIT;
    int rc = pv__pageio_read(s, TABLE_KEY(level, index), pte, bytes, &why);
    if (rc) { /* its id could be taken for a page's */
        return pv__err(err, rc, "page table, node %llu of level %u: %s", (unsigned long long)index,
                       level, why.message);
    }
    if (pv__page_kind(bytes) != PV__PAGE_TABLE || pte->raw_slots != 1) {
        return pv__err(err, PV_ERR_CORRUPT, "page table: slot %llu holds no table node",
                       (unsigned long long)pte->slot);
    }
    return PV_OK;
}

/* Node of the current table, loaded if necessary. *out NULL: no such node. */
static int table_load(pv__store *s, uint32_t level, uint64_t index, pv__node **out, pv_error *err) {
    pv__node *n = table_get(&s->table.nodes, level, index);
    *out = n;
    if (n || level >= s->table.height) {
        return PV_OK;
    }
    pv__pte pte = s->table.root;
    if (level + 1 < s->table.height) {
        pv__node *parent = NULL;
        PV_TRY(table_load(s, level + 1, index / PV__PT_FANOUT, &parent, err));
        if (!parent) {
            return PV_OK;
        }
        pte = pv__pte_get(table_entry(parent, index));
    } else if (index > 0) {
        return PV_OK;
    }
    if (pte.slots == 0) {
        return PV_OK;
    }
    if (pte.slots != 1 || pte.raw_slots != 1) {
        return pv__err(err, PV_ERR_CORRUPT, "page table: an entry of a node makes no sense");
    }
    n = pv__alloc(s->mem, sizeof *n);
    if (!n) {
        return pv__err_nomem(err, sizeof *n);
    }
    n->pte = pte;
    int rc = table_read_node(s, level, index, &pte, n->bytes, err);
    if (!rc) {
        rc = pv__map_put(&s->table.nodes, TABLE_KEY(level, index), (uint64_t)(uintptr_t)n, err);
    }
    if (rc) {
        pv__alloc_free(s->mem, n, sizeof *n);
        return rc;
    }
    atomic_fetch_add_explicit(&s->cache_bytes, sizeof *n, memory_order_relaxed);
    *out = n;
    return PV_OK;
}

PV_PRIVATE int pv__table_lookup(pv__store *s, uint64_t page_id, pv__pte *out, pv_error *err) {
    pv__node *leaf = NULL;
    memset(out, 0, sizeof *out);
    pv__mutex_lock(&s->table_mutex);
    int rc = s->table.height > TABLE_LEVELS_MAX
                 ? pv__err(err, PV_ERR_CORRUPT, "page table: height %u", s->table.height)
                 : table_load(s, 0, page_id / PV__PT_FANOUT, &leaf, err);
    if (!rc && leaf) {
        *out = pv__pte_get(table_entry(leaf, page_id));
    }
    pv__mutex_unlock(&s->table_mutex);
    return rc;
}

PV_PRIVATE void pv__table_leaf(pv__store *s, uint64_t page_id, pv__pte *out) {
    const uint64_t index = page_id / PV__PT_FANOUT;
    pv__node *parent = NULL;
    pv_error ignored = PV_ERROR_INIT;
    memset(out, 0, sizeof *out);
    pv__mutex_lock(&s->table_mutex);
    if (s->table.height > 1 && s->table.height <= TABLE_LEVELS_MAX &&
        !table_get(&s->table.nodes, 0, index) &&
        table_load(s, 1, index / PV__PT_FANOUT, &parent, &ignored) == PV_OK && parent) {
        *out = pv__pte_get(table_entry(parent, index));
    }
    pv__mutex_unlock(&s->table_mutex);
}

/* ---- changes ------------------------------------------------------------------------------- */

PV_PRIVATE void pv__table_change_begin(pv__store *s, pv__table_change *c) {
    pv__map_init(&c->nodes, s->mem);
    c->root = s->table.root;
    c->height = s->table.height;
}

static int table_clone(pv__store *s, pv__table_change *c, uint32_t level, uint64_t index,
                       pv__node **out, pv_error *err) {
    pv__node *n = table_get(&c->nodes, level, index), *old = NULL;
    if (n) {
        *out = n;
        return PV_OK;
    }
    pv__mutex_lock(&s->table_mutex);
    int rc = table_load(s, level, index, &old, err);
    pv__mutex_unlock(&s->table_mutex);
    if (rc) {
        return rc;
    }
    n = pv__alloc_zero(s->mem, sizeof *n);
    if (!n) {
        return pv__err_nomem(err, sizeof *n);
    }
    if (old) { /* only this checkpoint changes nodes: no lock needed to copy one */
        memcpy(n->bytes, old->bytes, sizeof n->bytes);
    } else {
        pv__put64(n->bytes + PV__HEAD_UUID, s->uuid_tag);
        pv__put64(n->bytes + PV__HEAD_PAGE_ID, TABLE_KEY(level, index));
        pv__put32(n->bytes + PV__HEAD_ORDINAL, level);
        n->bytes[PV__HEAD_KIND] = PV__PAGE_TABLE;
        n->bytes[PV__HEAD_VERSION] = 1;
        n->bytes[PV__HEAD_SLOTS] = 1;
    }
    rc = pv__map_put(&c->nodes, TABLE_KEY(level, index), (uint64_t)(uintptr_t)n, err);
    if (rc) {
        pv__alloc_free(s->mem, n, sizeof *n);
        return rc;
    }
    *out = n;
    return PV_OK;
}

/* A table that has become too small gets a new root above the old one. */
static int table_raise(pv__store *s, pv__table_change *c, uint64_t page_id, pv_error *err) {
    while (page_id >= table_reach(c->height)) {
        pv__node *top = NULL, *old = NULL;
        if (c->height > 0) { /* so that storing finds it below the new root */
            PV_TRY(table_clone(s, c, c->height - 1, 0, &old, err));
        }
        c->height++;
        PV_TRY(table_clone(s, c, c->height - 1, 0, &top, err));
    }
    return PV_OK;
}

PV_PRIVATE int pv__table_change_set(pv__store *s, pv__table_change *c, uint64_t page_id,
                                    const pv__pte *pte, pv__pte *out_old, pv_error *err) {
    pv__node *n = NULL;
    PV_TRY(table_raise(s, c, page_id, err));
    uint64_t index = page_id;
    for (uint32_t level = 0; level < c->height; level++) { /* the whole path changes */
        index /= PV__PT_FANOUT;
        PV_TRY(table_clone(s, c, level, index, &n, err));
    }
    n = table_get(&c->nodes, 0, page_id / PV__PT_FANOUT);
    *out_old = pv__pte_get(table_entry(n, page_id));
    pv__pte_put(table_entry(n, page_id), pte);
    return PV_OK;
}

static int table_store_node(pv__store *s, pv__table_change *c, uint32_t level, uint64_t index,
                            pv__node *n, uint64_t lsn, pv_error *err) {
    uint64_t slot = 0;
    pv__put64(n->bytes + PV__HEAD_STAMP, lsn);
    PV_TRY(pv__space_alloc(s, 1, &slot, err));
    (void)pv__pageio_encode(s, TABLE_KEY(level, index), n->bytes, NULL, &n->pte);
    n->pte.slot = slot;
    n->pte.birth = lsn;
    PV_TRY(pv__vfs_write(s->vfs, s->file, slot * PV__SLOT_SIZE, n->bytes, PV__SLOT_SIZE, err));
    if (level + 1 == c->height) {
        c->root = n->pte;
        return PV_OK;
    }
    pv__node *parent = table_get(&c->nodes, level + 1, index / PV__PT_FANOUT);
    PV_ASSERT(parent != NULL);
    pv__pte_put(table_entry(parent, index), &n->pte);
    return PV_OK;
}

PV_PRIVATE int pv__table_change_store(pv__store *s, pv__table_change *c, uint64_t lsn,
                                      pv_error *err) {
    for (uint32_t level = 0; level < c->height; level++) {
        uint64_t key = 0, value = 0;
        size_t pos = 0;
        while (pv__map_next(&c->nodes, &pos, &key, &value)) {
            if (key >> 56 == level) {
                PV_TRY(table_store_node(s, c, level, key & (((uint64_t)1 << 56) - 1),
                                        (pv__node *)(uintptr_t)value, lsn, err));
            }
        }
    }
    return PV_OK;
}

/* After the superblock: the clones are the table now. The slots of the nodes they replace die at
 * `lsn`; the caller has reserved the list. */
PV_PRIVATE void pv__table_change_install(pv__store *s, pv__table_change *c, uint64_t lsn) {
    uint64_t key = 0, value = 0;
    size_t pos = 0;
    pv__mutex_lock(&s->table_mutex);
    while (pv__map_next(&c->nodes, &pos, &key, &value)) {
        pv__node *clone = (pv__node *)(uintptr_t)value;
        pv_error ignored = PV_ERROR_INIT;
        uint64_t before = 0;
        if (pv__map_get(&s->table.nodes, key, &before)) {
            pv__node *old = (pv__node *)(uintptr_t)before;
            pv__pte was = old->pte;
            *old = *clone;
            pv__alloc_free(s->mem, clone, sizeof *clone);
            pv__mutex_lock(&s->ver_mutex);
            pv__space_free_later(s, was.slot, was.slots, lsn, lsn);
            pv__mutex_unlock(&s->ver_mutex);
        } else if (pv__map_put(&s->table.nodes, key, value, &ignored) == PV_OK) {
            atomic_fetch_add_explicit(&s->cache_bytes, sizeof *clone, memory_order_relaxed);
        } else { /* no memory for it: read again when it is needed */
            pv__alloc_free(s->mem, clone, sizeof *clone);
        }
    }
    s->table.root = c->root;
    s->table.height = c->height;
    pv__mutex_unlock(&s->table_mutex);
    pv__map_done(&c->nodes);
}

PV_PRIVATE void pv__table_change_drop(pv__store *s, pv__table_change *c, pv__slots_go go,
                                      uint64_t lsn) {
    uint64_t key = 0, value = 0;
    size_t pos = 0;
    while (pv__map_next(&c->nodes, &pos, &key, &value)) {
        pv__node *n = (pv__node *)(uintptr_t)value;
        if (n->pte.slots) {
            pv__space_go(s, n->pte.slot, n->pte.slots, go, lsn);
        }
        pv__alloc_free(s->mem, n, sizeof *n);
    }
    pv__map_done(&c->nodes);
}

/* ---- walk ---------------------------------------------------------------------------------- */

typedef struct table_walker {
    pv__store *s;
    pv__table_visit fn;
    pv__table_bad bad;
    void *ctx;
} table_walker;

static int table_walk_node(const table_walker *w, uint32_t level, uint64_t index,
                           const pv__pte *pte, const pv__pte *known, pv_error *err) {
    size_t size = 2 * (size_t)PV__SLOT_SIZE;
    if (pte->slots == 0 ||
        (known && known->slot == pte->slot && known->checksum == pte->checksum)) {
        return PV_OK;
    }
    if (pte->slots != 1 || pte->raw_slots != 1) {
        return pv__err(err, PV_ERR_CORRUPT, "page table: an entry of a node makes no sense");
    }
    PV_TRY(w->fn(w->ctx, (int)level, index, pte, err));
    uint8_t *bytes = pv__alloc_zero(w->s->mem, size);
    if (!bytes) {
        return pv__err_nomem(err, size);
    }
    uint8_t *other = bytes + PV__SLOT_SIZE;
    pv_error ignored = PV_ERROR_INIT;
    pv_error why = PV_ERROR_INIT;
    int rc = table_read_node(w->s, level, index, pte, bytes, &why);
    if (rc) {
        rc = w->bad ? w->bad(w->ctx, rc, &why, err) : pv__err(err, rc, "%s", why.message);
        pv__alloc_free(w->s->mem, bytes, size);
        return rc;
    }
    bool has_other = known && known->slots == 1 &&
                     table_read_node(w->s, level, index, known, other, &ignored) == PV_OK;
    for (unsigned i = 0; i < PV__PT_FANOUT && !rc; i++) {
        size_t at = PV__PAGE_HEAD + (size_t)i * PV__PTE_SIZE;
        pv__pte e = pv__pte_get(bytes + at), k = pv__pte_get(other + at);
        uint64_t child = index * PV__PT_FANOUT + i;
        if (e.slots == 0 || (has_other && memcmp(bytes + at, other + at, PV__PTE_SIZE) == 0)) {
            continue;
        }
        rc = level ? table_walk_node(w, level - 1, child, &e, has_other ? &k : NULL, err)
                   : w->fn(w->ctx, -1, child, &e, err);
    }
    pv__alloc_free(w->s->mem, bytes, size);
    return rc;
}

PV_PRIVATE int pv__table_walk(pv__store *s, const pv__pte *root, uint32_t height,
                              const pv__pte *known, uint32_t known_height, pv__table_visit fn,
                              void *ctx, pv_error *err) {
    return pv__table_walk_past(s, root, height, known, known_height, fn, NULL, ctx, err);
}

PV_PRIVATE int pv__table_walk_past(pv__store *s, const pv__pte *root, uint32_t height,
                                   const pv__pte *known, uint32_t known_height, pv__table_visit fn,
                                   pv__table_bad bad, void *ctx, pv_error *err) {
    table_walker w = {s, fn, bad, ctx};
    if (height == 0) {
        return PV_OK;
    }
    if (height > TABLE_LEVELS_MAX) {
        return pv__err(err, PV_ERR_CORRUPT, "page table: height %u", height);
    }
    /* Of different height the two share subtrees too, but then every entry is visited: rare. */
    return table_walk_node(&w, height - 1, 0, root, known_height == height ? known : NULL, err);
}

PV_PRIVATE void pv__table_done(pv__store *s) {
    uint64_t key = 0, value = 0;
    size_t pos = 0;
    while (pv__map_next(&s->table.nodes, &pos, &key, &value)) {
        pv__alloc_free(s->mem, (void *)(uintptr_t)value, sizeof(pv__node));
    }
    pv__map_done(&s->table.nodes);
}

#undef TABLE_KEY
#undef TABLE_LEVELS_MAX
