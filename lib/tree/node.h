/* SPDX-License-Identifier: Apache-2.0 */
/* node.h - one node of the B+tree: an 8 KiB page of slots and cells, leaf and inner alike.
 *
 *    0             64        80          80 + 2 * count     low                        8192
 *    | page head   | header  | slots ->  |   gap (zero)     | <- cells, holes (zero)   |
 *
 * Header (offsets from the start of the page; docs/format/tree.md says the same in words):
 *   64  u8   level    0: leaf, else 1 + level of the children
 *   65  u8   run      bits 0-1: length of the current run of neighbouring inserts, saturated at 3;
 *                     bit 7: the run descends
 *   66  u16  count    cells
 *   68  u16  low      no cell lies below
 *   70  u16  holes    bytes in [low, 8192) that belong to no cell
 *   72  u32  epoch    root only: changes with every change of the tree's shape
 *   76  u16  last     index of the last insert
 *   78  u16  zero
 *   80  u16  slots[count]: offsets of the cells, in key order
 *
 * Cell: u16 key size (bit 15: the value is long), u16 tail size, key, tail. The tail is
 *   leaf, short value   the value
 *   leaf, long value    u64 first overflow page, u32 value size
 *   inner               u64 child. The key of cell 0 is empty and stands for minus infinity; the
 *                       others are separators: keys left of it < separator <= keys right of it
 *
 * Invariants
 *   T1  4 cells of the largest size fit into a node (PV__CELL_MAX).
 *   T2  an inner node has at least 2 cells; a leaf that is not the root has at least 1.
 *   T3  the level falls by one from parent to child, so that no path is longer than
 *       PV__TREE_DEPTH_MAX and no path is a circle.
 *   T4  bytes that belong to nothing are zero; a page is a function of the operations alone.
 *   T5  no byte of a page is believed: pv__tnode_load checks the header, pv__tnode_cell each cell
 *       it is asked for. Functions that move many cells audit the node first.
 *
 * Not here: what spans nodes (op.h, balance.c). Threads: none of its own; see store.h. */
#ifndef PV_TREE_NODE_H
#define PV_TREE_NODE_H

#include "tree/tree.h"

#define PV__TNODE_SLOTS 2u
#define PV__TNODE_SIZE (PV__TNODE_SLOTS * PV__SLOT_SIZE)
#define PV__TNODE_LEVEL (PV__PAGE_HEAD + 0)
#define PV__TNODE_RUN (PV__PAGE_HEAD + 1)
#define PV__TNODE_COUNT (PV__PAGE_HEAD + 2)
#define PV__TNODE_LOW (PV__PAGE_HEAD + 4)
#define PV__TNODE_HOLES (PV__PAGE_HEAD + 6)
#define PV__TNODE_EPOCH (PV__PAGE_HEAD + 8)
#define PV__TNODE_LAST (PV__PAGE_HEAD + 12)
#define PV__TNODE_ZERO (PV__PAGE_HEAD + 14)
#define PV__TNODE_BODY (PV__PAGE_HEAD + 16)
#define PV__TNODE_ROOM (PV__TNODE_SIZE - PV__TNODE_BODY) /* for slots and cells */
/* Below this many bytes in use a node is merged with a neighbour or filled from it. Even shares
 * of two nodes are never less than (ROOM - CELL_MAX) / 2, 37 % of ROOM. */
#define PV__TNODE_LEAST (PV__TNODE_ROOM * 2 / 5)
#define PV__TNODE_RUN_LONG 3u
#define PV__TNODE_RUN_DOWN 0x80u

#define PV__CELL_HEAD 4u
#define PV__CELL_SLOT 2u
#define PV__CELL_MAX (PV__TNODE_ROOM / 4 - PV__CELL_SLOT) /* T1 */
#define PV__CELL_LONG 0x8000u                             /* in the key size */
#define PV__CELL_LONG_TAIL 12u
#define PV__CELL_CHILD_TAIL 8u
/* Key and value share this many bytes, or the value goes to overflow pages. */
#define PV__CELL_INLINE_MAX (PV__CELL_MAX - PV__CELL_HEAD)
/* The smallest cell is a key of one byte without a value. */
#define PV__TNODE_CELLS_MAX (PV__TNODE_ROOM / (PV__CELL_HEAD + PV__CELL_SLOT + 1))

PV_STATIC_ASSERT(PV__TNODE_BODY == 80, tree_node_body_is_at_80);
PV_STATIC_ASSERT(PV__CELL_HEAD + PV__TREE_KEY_MAX + PV__CELL_LONG_TAIL <= PV__CELL_MAX,
                 tree_longest_key_fits);

typedef struct pv__tcell {
    pv__bytes key;
    pv__bytes tail;
    bool is_long;
} pv__tcell;

static inline unsigned pv__tnode_level(const uint8_t *page) { return page[PV__TNODE_LEVEL]; }
static inline unsigned pv__tnode_count(const uint8_t *page) {
    return pv__get16(page + PV__TNODE_COUNT);
}
static inline unsigned pv__tnode_low(const uint8_t *page) {
    return pv__get16(page + PV__TNODE_LOW);
}
static inline unsigned pv__tnode_holes(const uint8_t *page) {
    return pv__get16(page + PV__TNODE_HOLES);
}
static inline unsigned pv__tnode_slot(const uint8_t *page, unsigned i) {
    return pv__get16(page + PV__TNODE_BODY + PV__CELL_SLOT * i);
}
/* Bytes for further slots and cells, once tidied up. */
static inline unsigned pv__tnode_free(const uint8_t *page) {
    return pv__tnode_low(page) - PV__TNODE_BODY - PV__CELL_SLOT * pv__tnode_count(page) +
           pv__tnode_holes(page);
}
static inline unsigned pv__tnode_used(const uint8_t *page) {
    return PV__TNODE_ROOM - pv__tnode_free(page);
}
/* What a cell takes, without its slot. */
static inline unsigned pv__tcell_size(const pv__tcell *cell) {
    return PV__CELL_HEAD + (unsigned)cell->key.size + (unsigned)cell->tail.size;
}
static inline uint64_t pv__tcell_child(const pv__tcell *cell) {
    return cell->tail.size == PV__CELL_CHILD_TAIL ? pv__get64(cell->tail.data) : 0;
}

static inline pv__bytes pv__bytes_of(const void *data, size_t size) {
    pv__bytes b = {(const uint8_t *)data, size};
    return b;
}
static inline int pv__bytes_order(pv__bytes a, pv__bytes b) {
    size_t n = PV_MIN(a.size, b.size);
    int order = n ? memcmp(a.data, b.data, n) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

/* Cell i < count of a page whose header is sound. False: the cell is damaged. */
static inline bool pv__tnode_cell(const uint8_t *page, unsigned i, pv__tcell *out) {
    unsigned at = pv__tnode_slot(page, i);
    if (PV_UNLIKELY(at < pv__tnode_low(page) || at > PV__TNODE_SIZE - PV__CELL_HEAD)) {
        return false;
    }
    unsigned key = pv__get16(page + at);
    unsigned tail = pv__get16(page + at + 2);
    out->is_long = (key & PV__CELL_LONG) != 0;
    key &= PV__CELL_LONG - 1;
    if (PV_UNLIKELY(key > PV__TREE_KEY_MAX || key + tail > PV__TNODE_SIZE - PV__CELL_HEAD - at)) {
        return false;
    }
    out->key = pv__bytes_of(page + at + PV__CELL_HEAD, key);
    out->tail = pv__bytes_of(page + at + PV__CELL_HEAD + key, tail);
    return true;
}

/* PV_ERR_CORRUPT: "tree page 17 of object 5: what". */
PV_PRIVATE int pv__tnode_bad(const pv__tree *tree, uint64_t page_id, const char *what,
                             pv_error *err) PV_COLD;
/* Read a node and check its header. level: the one it must have, -1 for any (the root). */
PV_PRIVATE int pv__tnode_load(const pv__tree *tree, uint64_t page_id, int level,
                              const uint8_t **out_page, pv_error *err);
/* First cell whose key is >= key. False: damaged. */
PV_PRIVATE bool pv__tnode_find(const uint8_t *page, pv__bytes key, unsigned *out_index,
                               bool *out_found);
/* The same, looking around cell `hint` first. */
PV_PRIVATE bool pv__tnode_find_near(const uint8_t *page, pv__bytes key, unsigned hint,
                                    unsigned *out_index, bool *out_found);
/* The child to follow for key. False: damaged. */
PV_PRIVATE bool pv__tnode_child(const uint8_t *page, pv__bytes key, unsigned *out_index,
                                uint64_t *out_child);
/* Every cell is sound, none overlaps another and the header's sums are right. NULL, or what is
 * wrong. Key order is not looked at. */
PV_PRIVATE const char *pv__tnode_audit(const uint8_t *page);

PV_PRIVATE void pv__tnode_init(uint8_t *page, unsigned level); /* payload only; keeps the epoch */
/* Put a cell before cell i. False: no room, or damaged. The cell must not lie in this page. */
PV_PRIVATE bool pv__tnode_insert(uint8_t *page, unsigned i, const pv__tcell *cell);
/* Remember that the insert at i was an operation's own, not part of moving cells about. */
PV_PRIVATE void pv__tnode_note(uint8_t *page, unsigned i);
PV_PRIVATE bool pv__tnode_remove(uint8_t *page, unsigned i); /* false: damaged */
/* Give cell i another tail and kind where it lies. *out_done false: it is too small for that. */
PV_PRIVATE bool pv__tnode_set_tail(uint8_t *page, unsigned i, pv__bytes tail, bool is_long,
                                   bool *out_done);

#endif
