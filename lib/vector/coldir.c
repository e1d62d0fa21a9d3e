/* SPDX-License-Identifier: Apache-2.0 */
/* coldir.c - finding, adding and removing entries of a column's directory (coldir.h has the
 * drawing).
 *
 * V1  A page reached through the directory states the owner, the place and the size that the way
 *     to it implies; else it is PV_ERR_CORRUPT. So a wrong id can never be read as rows.
 * V2  Reading never changes a page, and changing a row of an existing page changes no page of the
 *     directory.
 * V3  Once a change has touched its first page, failure dooms the transaction.
 *
 * Not here: rows (column.c), walking everything (colwalk.c). */
#include "vector/coldir.h"

/* Ordinals below an entry of level i + 1. */
static const uint32_t coldir_span[PV__COLDIR_LEVEL_MAX] = {1, 504, 504 * 504, 504 * 504 * 504};

static int coldir_corrupt(const pv__column *c, uint64_t page_id, const char *what, pv_error *err) {
    return pv__err(err, PV_ERR_CORRUPT, "page %llu: %s of column %llu of object %u",
                   (unsigned long long)page_id, what, (unsigned long long)c->root,
                   (unsigned)c->owner);
}

int pv__coldir_create(pv__txn *txn, const pv__column *shape, uint64_t *out_root, pv_error *err) {
    uint64_t root;
    uint8_t *page;
    PV_TRY(pv__page_new(txn, PV__PAGE_COLDIR, 1, shape->owner, pv__coldir_ordinal(shape, 0), &root,
                        &page, err));
    page[PV__COLDIR_LEVEL] = 1;
    page[PV__COLDIR_PAGE_SLOTS] = (uint8_t)shape->page_slots;
    pv__put16(page + PV__COLDIR_PART, (uint16_t)shape->part);
    pv__put32(page + PV__COLDIR_ROW_SIZE, shape->row_size);
    pv__put32(page + PV__COLDIR_ROWS_PER_PAGE, shape->rows_per_page);
    pv__put32(page + PV__COLDIR_FRONT, shape->front);
    *out_root = root;
    return 0;
}

int pv__coldir_root(const pv__column *c, const uint8_t **out_page, pv_error *err) {
    const uint8_t *page;
    PV_TRY(pv__page_read(c->txn, c->root, PV__PAGE_COLDIR, &page, err));
    if (pv__page_owner(page) != c->owner || pv__page_slots(page) != 1 ||
        pv__page_ordinal(page) != pv__coldir_ordinal(c, 0)) {
        return coldir_corrupt(c, c->root, "not the root", err);
    }
    if (page[PV__COLDIR_LEVEL] < 1 || page[PV__COLDIR_LEVEL] > PV__COLDIR_LEVEL_MAX ||
        page[PV__COLDIR_PAGE_SLOTS] != c->page_slots ||
        pv__get16(page + PV__COLDIR_PART) != c->part ||
        pv__get32(page + PV__COLDIR_ROW_SIZE) != c->row_size ||
        pv__coldir_front(page) != c->front ||
        pv__get32(page + PV__COLDIR_ROWS_PER_PAGE) != c->rows_per_page) {
        return coldir_corrupt(c, c->root, "wrong shape in the root", err);
    }
    *out_page = page;
    return 0;
}

int pv__coldir_node(const pv__column *c, uint64_t page_id, unsigned level, uint32_t index,
                    const uint8_t **out_page, pv_error *err) {
    const uint8_t *page;
    PV_TRY(pv__page_read(c->txn, page_id, PV__PAGE_COLDIR, &page, err));
    if (pv__page_owner(page) != c->owner || pv__page_slots(page) != 1 ||
        pv__page_ordinal(page) != pv__coldir_node_ordinal(c, level, index)) { /* V1 */
        return coldir_corrupt(c, page_id, "not the expected directory node", err);
    }
    *out_page = page;
    return 0;
}

int pv__coldir_rows(const pv__column *c, uint64_t page_id, uint32_t ordinal,
                    const uint8_t **out_page, pv_error *err) {
    const uint8_t *page;
    PV_TRY(pv__page_read(c->txn, page_id, PV__PAGE_COLUMN, &page, err));
    if (pv__page_owner(page) != c->owner || pv__page_slots(page) != c->page_slots ||
        pv__page_ordinal(page) != pv__coldir_ordinal(c, ordinal)) { /* V1 */
        return coldir_corrupt(c, page_id, "not the expected page of rows", err);
    }
    *out_page = page;
    return 0;
}

/* Where the entry of an ordinal is, as far as the directory goes. */
typedef struct coldir_place {
    uint64_t node_id; /* page that holds the entry; the root for level 1 directories */
    uint32_t offset;  /* of the entry in that page */
    unsigned level;   /* 1: the entry is a page of rows; else of a node of level - 1 */
    uint64_t entry;   /* 0: the way ends here */
} coldir_place;

/* Follow the way to the entry of `ordinal` until it ends. *out_fits false: the root must rise. */
static int coldir_walk(const pv__column *c, uint32_t ordinal, coldir_place *p, bool *out_fits,
                       pv_error *err) {
    const uint8_t *page;
    PV_TRY(pv__coldir_root(c, &page, err));
    p->level = page[PV__COLDIR_LEVEL];
    const uint32_t first = ordinal / coldir_span[p->level - 1];
    *out_fits = first < PV__COLDIR_ROOT_FANOUT;
    if (!*out_fits) {
        return 0;
    }
    p->node_id = c->root;
    p->offset = PV__COLDIR_ROOT_IDS + 8 * first;
    p->entry = pv__get64(page + p->offset);
    while (p->entry != 0 && p->level > 1) {
        p->level--;
        p->node_id = p->entry;
        const uint32_t index = ordinal / coldir_span[p->level];
        PV_TRY(pv__coldir_node(c, p->node_id, p->level, index, &page, err));
        const uint32_t at = ordinal / coldir_span[p->level - 1] % PV__COLDIR_FANOUT;
        p->offset = PV__COLDIR_NODE_IDS + 8 * at;
        p->entry = pv__get64(page + p->offset);
    }
    return 0;
}

int pv__coldir_find(const pv__column *c, uint32_t ordinal, uint64_t *out_page_id, pv_error *err) {
    coldir_place p;
    bool fits;
    PV_TRY(coldir_walk(c, ordinal, &p, &fits, err));
    *out_page_id = fits ? p.entry : 0; /* a missing node is an entry of 0 too */
    return 0;
}

int pv__coldir_run(const pv__column *c, uint32_t ordinal, uint32_t count, uint64_t *out_ids,
                   uint32_t *out_count, pv_error *err) {
    coldir_place p;
    bool fits;
    const uint8_t *page;
    PV_TRY(coldir_walk(c, ordinal, &p, &fits, err));
    *out_count = 1;
    out_ids[0] = fits ? p.entry : 0;
    if (!fits || p.entry == 0) {
        return 0;
    }
    PV_TRY(pv__page_read(c->txn, p.node_id, PV__PAGE_COLDIR, &page, err));
    const uint32_t n = PV_MIN(count, (PV__SLOT_SIZE - p.offset) / 8);
    for (uint32_t i = 1; i < n; i++) {
        out_ids[i] = pv__get64(page + p.offset + 8 * i);
    }
    *out_count = n;
    return 0;
}

/* One level up: the root's entries go into node 0 of its level. An empty root just rises. */
static int coldir_grow(const pv__column *c, pv_error *err) {
    static const uint8_t none[8 * PV__COLDIR_ROOT_FANOUT] = {0};
    uint8_t *root, *node;
    uint64_t node_id;
    PV_TRY(pv__page_write(c->txn, c->root, PV__PAGE_COLDIR, &root, err));
    const unsigned level = root[PV__COLDIR_LEVEL];
    if (level >= PV__COLDIR_LEVEL_MAX) {
        return coldir_corrupt(c, c->root, "ordinal out of range", err);
    }
    if (memcmp(root + PV__COLDIR_ROOT_IDS, none, sizeof none) != 0) {
        PV_TRY(pv__page_new(c->txn, PV__PAGE_COLDIR, 1, c->owner,
                            pv__coldir_node_ordinal(c, level, 0), &node_id, &node, err));
        memcpy(node + PV__COLDIR_NODE_IDS, root + PV__COLDIR_ROOT_IDS, sizeof none);
        memset(root + PV__COLDIR_ROOT_IDS, 0, sizeof none);
        pv__put64(root + PV__COLDIR_ROOT_IDS, node_id);
    }
    root[PV__COLDIR_LEVEL] = (uint8_t)(level + 1);
    return 0;
}

/* Add page `id` as the entry that `p` found empty. */
static int coldir_link(const pv__column *c, const coldir_place *p, uint64_t id, pv_error *err) {
    uint8_t *page;
    PV_TRY(pv__page_write(c->txn, p->node_id, PV__PAGE_COLDIR, &page, err));
    pv__put64(page + p->offset, id);
    return 0;
}

static int coldir_count(const pv__column *c, int by, pv_error *err) {
    uint8_t *root;
    PV_TRY(pv__page_write(c->txn, c->root, PV__PAGE_COLDIR, &root, err));
    const uint32_t count = pv__get32(root + PV__COLDIR_PAGE_COUNT);
    if (by < 0 && count == 0) {
        return coldir_corrupt(c, c->root, "wrong page count in the root", err);
    }
    pv__put32(root + PV__COLDIR_PAGE_COUNT, by < 0 ? count - 1 : count + 1);
    return 0;
}

static int coldir_add(const pv__column *c, uint32_t ordinal, uint8_t **out_page, pv_error *err) {
    coldir_place p;
    bool fits;
    uint64_t id;
    for (;;) {
        PV_TRY(coldir_walk(c, ordinal, &p, &fits, err));
        if (fits) {
            break;
        }
        PV_TRY(coldir_grow(c, err));
    }
    PV_ASSERT(p.entry == 0);
    for (; p.level > 1; p.level--) { /* missing nodes, from the top */
        const uint32_t index = ordinal / coldir_span[p.level - 1];
        uint8_t *node;
        PV_TRY(pv__page_new(c->txn, PV__PAGE_COLDIR, 1, c->owner,
                            pv__coldir_node_ordinal(c, p.level - 1, index), &id, &node, err));
        PV_TRY(coldir_link(c, &p, id, err));
        p.node_id = id;
        p.offset =
            PV__COLDIR_NODE_IDS + 8 * (ordinal / coldir_span[p.level - 2] % PV__COLDIR_FANOUT);
    }
    const unsigned by_slot = c->front > PV__PAGE_HEAD ? PV__PAGE_BY_SLOT : 0;
    PV_TRY(pv__page_new(c->txn, PV__PAGE_COLUMN | by_slot, c->page_slots, c->owner,
                        pv__coldir_ordinal(c, ordinal), &id, out_page, err));
    PV_TRY(coldir_link(c, &p, id, err));
    return coldir_count(c, 1, err);
}

int pv__coldir_add(const pv__column *c, uint32_t ordinal, uint8_t **out_page, pv_error *err) {
    const int rc = coldir_add(c, ordinal, out_page, err);
    if (rc) {
        pv__txn_doom(c->txn, rc); /* V3 */
    }
    return rc;
}

static int coldir_unlink(const pv__column *c, const coldir_place *p, pv_error *err) {
    PV_TRY(coldir_link(c, p, 0, err));
    PV_TRY(coldir_count(c, -1, err));
    return pv__page_free(c->txn, p->entry, err);
}

int pv__coldir_remove(const pv__column *c, uint32_t ordinal, pv_error *err) {
    coldir_place p;
    bool fits;
    PV_TRY(coldir_walk(c, ordinal, &p, &fits, err));
    if (!fits || p.entry == 0) {
        return 0;
    }
    const int rc = coldir_unlink(c, &p, err);
    if (rc) {
        pv__txn_doom(c->txn, rc); /* V3 */
    }
    return rc;
}
