/* SPDX-License-Identifier: Apache-2.0 */
/* coldir.h - the directory of a column: ordinal of a page of rows -> page id. Private to
 * lib/vector; docs/format/column.md has the same byte tables.
 *
 *   root    4 KiB  kind COLDIR, ordinal 0      head 64 | shape 64 | 496 page ids
 *   node    4 KiB  kind COLDIR, ordinal L<<28|i     head 64 | 504 page ids
 *   rows    n*4    kind COLUMN, ordinal o      head 64 | rows_per_page rows, no gaps
 *
 *   level of the root   1: its entries are pages of rows
 *                       2: they are nodes of level 1, which hold the pages of rows, and so on
 *
 * Node i of level L covers ordinals [i * 504^L, (i + 1) * 504^L). Id 0: nothing there. Ordinals in
 * page heads have bit 31 set when the column is part 1 of its owner.
 *
 * The root's page id never changes: when an ordinal does not fit, the root's entries move into a
 * new node 0 of its level and the root rises by one. Nodes are freed only with the column. */
#ifndef PV_VECTOR_COLDIR_H
#define PV_VECTOR_COLDIR_H

#include "vector/vector.h"

#define PV__COLDIR_LEVEL PV__PAGE_HEAD               /* u8, 1..4 */
#define PV__COLDIR_PAGE_SLOTS (PV__PAGE_HEAD + 1)    /* u8 */
#define PV__COLDIR_PART (PV__PAGE_HEAD + 2)          /* u16, 0 or 1 */
#define PV__COLDIR_ROW_SIZE (PV__PAGE_HEAD + 4)      /* u32 */
#define PV__COLDIR_ROWS_PER_PAGE (PV__PAGE_HEAD + 8) /* u32 */
#define PV__COLDIR_PAGE_COUNT (PV__PAGE_HEAD + 12)   /* u32, pages of rows that exist */
#define PV__COLDIR_FRONT (PV__PAGE_HEAD + 16)        /* u32, bytes before the first row; 0: 64 */
#define PV__COLDIR_ROOT_IDS (PV__PAGE_HEAD + 64)
#define PV__COLDIR_ROOT_FANOUT 496u
#define PV__COLDIR_NODE_IDS PV__PAGE_HEAD
#define PV__COLDIR_FANOUT 504u
#define PV__COLDIR_LEVEL_MAX 4u
#define PV__COLDIR_ORDINAL_MAX 0x7FFFFFFFu /* of a page of rows */

PV_STATIC_ASSERT(PV__COLDIR_ROOT_IDS + 8 * PV__COLDIR_ROOT_FANOUT == PV__SLOT_SIZE, coldir_root);
PV_STATIC_ASSERT(PV__COLDIR_NODE_IDS + 8 * PV__COLDIR_FANOUT == PV__SLOT_SIZE, coldir_node);

/* What the head of a page of this column says as its ordinal. */
static inline uint32_t pv__coldir_ordinal(const pv__column *c, uint32_t ordinal) {
    return ordinal | c->part << 31;
}
static inline uint32_t pv__coldir_node_ordinal(const pv__column *c, unsigned level,
                                               uint32_t index) {
    return pv__coldir_ordinal(c, (uint32_t)level << 28 | index);
}

/* Does the page that a piece is from state what the way to it implies? V1 */
static inline bool pv__coldir_is_rows(const pv__column *c, const pv__piece *p, uint32_t ordinal) {
    return p->owner == c->owner && p->slots == c->page_slots &&
           p->ordinal == pv__coldir_ordinal(c, ordinal);
}

/* Columns that were made before pages by slot have 0 there. */
static inline uint32_t pv__coldir_front(const uint8_t *root) {
    return PV_MAX(pv__get32(root + PV__COLDIR_FRONT), PV__PAGE_HEAD);
}

PV_PRIVATE int pv__coldir_create(pv__txn *txn, const pv__column *shape, uint64_t *out_root,
                                 pv_error *err);
/* The root page, with its identity and shape compared with the handle's. */
PV_PRIVATE int pv__coldir_root(const pv__column *c, const uint8_t **out_page, pv_error *err);
/* A node below the root: identity compared. */
PV_PRIVATE int pv__coldir_node(const pv__column *c, uint64_t page_id, unsigned level,
                               uint32_t index, const uint8_t **out_page, pv_error *err);
/* A page of rows: identity and size compared. */
PV_PRIVATE int pv__coldir_rows(const pv__column *c, uint64_t page_id, uint32_t ordinal,
                               const uint8_t **out_page, pv_error *err);

/* Page id of the rows of `ordinal`, 0 when there are none. */
PV_PRIVATE int pv__coldir_find(const pv__column *c, uint32_t ordinal, uint64_t *out_page_id,
                               pv_error *err);
/* The same for `count` ordinals, or as many as one node has; *out_count is at least 1. */
PV_PRIVATE int pv__coldir_run(const pv__column *c, uint32_t ordinal, uint32_t count,
                              uint64_t *out_ids, uint32_t *out_count, pv_error *err);
/* Make a page of rows for an ordinal that has none. */
PV_PRIVATE int pv__coldir_add(const pv__column *c, uint32_t ordinal, uint8_t **out_page,
                              pv_error *err);
/* Take the page of rows of `ordinal` out and free it; none: 0. */
PV_PRIVATE int pv__coldir_remove(const pv__column *c, uint32_t ordinal, pv_error *err);

/* As pv__column_create, for one of two columns of an owner. */
PV_PRIVATE int pv__column_create_part(pv__txn *txn, uint32_t owner, uint32_t row_size,
                                      uint32_t page_slots, uint32_t part, uint64_t *out_root,
                                      pv_error *err);

#endif
