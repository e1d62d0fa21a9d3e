/* SPDX-License-Identifier: Apache-2.0 */
/* op.h - what the files of tree/ share beyond one node: the path of an operation, changes that
 * may spread to parents and neighbours, and long values.
 *
 * A pv__tree_op is one put, delete or load under way. It knows whether a page was already
 * changed: an error after that leaves the tree half done, so pv__tree_op_end dooms the
 * transaction; an error before leaves everything as it was. Between two of these calls no page
 * pointer is kept, only ids and indices. */
#ifndef PV_TREE_OP_H
#define PV_TREE_OP_H

#include "tree/node.h"

typedef struct pv__tree_op {
    const pv__tree *tree;
    bool changed;   /* some page was */
    bool reshaped;  /* the root's epoch was moved on */
    unsigned depth; /* steps in the path; the last one is the leaf */
    pv__tree_step path[PV__TREE_DEPTH_MAX];
} pv__tree_op;

/* ---- tree.c -------------------------------------------------------------------------------- */

PV_PRIVATE int pv__tree_check_key(pv__bytes key, pv_error *err);
/* From the root to the leaf that holds, or would hold, key. Fills `path` and *out_depth; the
 * index of the leaf's step is set too. */
PV_PRIVATE int pv__tree_descend(const pv__tree *tree, pv__bytes key, pv__tree_step *path,
                                unsigned *out_depth, const uint8_t **out_leaf, bool *out_found,
                                pv_error *err);
/* The same; a finger that remembers the leaf, or NULL, saves the way. */
PV_PRIVATE int pv__finger_descend(const pv__tree *tree, pv__finger *finger, pv__bytes key,
                                  pv__tree_step *path, unsigned *out_depth,
                                  const uint8_t **out_leaf, bool *out_found, pv_error *err);
/* Does a key belong to the leaf that the finger remembers, as long as the shape is the same? */
PV_PRIVATE bool pv__finger_covers(const pv__finger *f, pv__bytes key);
/* Append the value of cell i of a leaf. */
PV_PRIVATE int pv__tree_value_at(const pv__tree *tree, uint64_t page_id, const uint8_t *page,
                                 unsigned i, pv__buf *out, pv_error *err);
PV_PRIVATE int pv__tree_op_end(pv__tree_op *op, int rc); /* returns rc */

/* ---- balance.c ----------------------------------------------------------------------------- */

/* A node for writing. Its header was checked when it was read in this operation. */
PV_PRIVATE int pv__tree_edit(pv__tree_op *op, uint64_t page_id, uint8_t **out_page, pv_error *err);
PV_PRIVATE int pv__tree_node_new(pv__tree_op *op, unsigned level, uint64_t *out_page_id,
                                 uint8_t **out_page, pv_error *err);
/* Cells are about to move between nodes: cursors must not trust their path any more. */
PV_PRIVATE int pv__tree_reshape(pv__tree_op *op, pv_error *err);
/* Put a cell before cell i of the node at step d, splitting upwards as far as needed. */
PV_PRIVATE int pv__tree_insert_at(pv__tree_op *op, unsigned d, unsigned i, const pv__tcell *cell,
                                  pv_error *err);
/* The node at step d became smaller: merge, even out, and shorten the tree as far as needed. */
PV_PRIVATE int pv__tree_shrunk(pv__tree_op *op, unsigned d, pv_error *err);
/* Shortest bytes s with left < s <= right, a prefix of right: returns its length. */
PV_PRIVATE size_t pv__tree_separator(pv__bytes left, pv__bytes right);

/* ---- overflow.c ---------------------------------------------------------------------------- */

/* A value in overflow pages, as its cell tells it. */
typedef struct pv__tree_long {
    uint64_t first;
    uint32_t size;
    uint32_t tag; /* of the key; each page of the chain repeats it */
} pv__tree_long;

PV_PRIVATE int pv__long_of(const pv__tree *tree, uint64_t page_id, const pv__tcell *cell,
                           pv__tree_long *out, pv_error *err);
PV_PRIVATE void pv__long_tail(const pv__tree_long *v, uint8_t out[PV__CELL_LONG_TAIL]);
PV_PRIVATE int pv__long_new(pv__tree_op *op, pv__bytes key, pv__bytes value, pv__tree_long *out,
                            pv_error *err);
/* Would a value of `size` bytes fill the same pages? Then it can be written over the old one. */
PV_PRIVATE bool pv__long_fits(const pv__tree_long *v, size_t size);
PV_PRIVATE int pv__long_overwrite(pv__tree_op *op, pv__tree_long *v, pv__bytes value,
                                  pv_error *err);
/* Append the value to out; NULL only verifies the chain. */
PV_PRIVATE int pv__long_read(const pv__tree *tree, const pv__tree_long *v, pv__buf *out,
                             pv_error *err);
/* pause: call pv__txn_pause after each page. */
PV_PRIVATE int pv__long_free(pv__tree_op *op, const pv__tree_long *v, bool pause, pv_error *err);

#endif
