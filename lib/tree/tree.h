/* SPDX-License-Identifier: Apache-2.0 */
/* tree.h - B+tree over the pages of one transaction: byte-string keys in memcmp order, values of
 * any length up to PV__TREE_VALUE_MAX (long ones in overflow pages).
 *
 * A tree is known by its root page id, which never changes (a root that splits copies itself
 * down), so that nobody has to be told. `owner` is the object id written into its pages. Nodes are
 * 8 KiB. All O(log n). Every byte read from a page is validated: damage gives PV_ERR_CORRUPT with
 * the page id, never a crash or an endless loop. */
#ifndef PV_TREE_TREE_H
#define PV_TREE_TREE_H

#include "base/buf.h"
#include "store/store.h"

typedef struct pv__tree {
    pv__txn *txn;
    uint64_t root;
    uint32_t owner;
} pv__tree;

typedef struct pv__bytes {
    const uint8_t *data;
    size_t size;
} pv__bytes;

PV_PRIVATE int pv__tree_create(pv__txn *txn, uint32_t owner, uint64_t *out_root, pv_error *err);
/* Free every page, overflow pages too, in bounded memory. */
PV_PRIVATE int pv__tree_drop(pv__tree *tree, pv_error *err);

/* *out_found; when found the value is appended to `out` (NULL: existence only). */
PV_PRIVATE int pv__tree_get(pv__tree *tree, pv__bytes key, pv__buf *out, bool *out_found,
                            pv_error *err);
/* Insert or replace. *out_replaced may be NULL. Keys of 1..PV__TREE_KEY_MAX bytes. */
PV_PRIVATE int pv__tree_put(pv__tree *tree, pv__bytes key, pv__bytes value, bool *out_replaced,
                            pv_error *err);
PV_PRIVATE int pv__tree_del(pv__tree *tree, pv__bytes key, bool *out_found, pv_error *err);

/* A cursor holds a copy of its key, no pointers: it survives any write to the tree by the same
 * transaction, and pv__txn_pause; next and prev then go on from the key, present or not. */
typedef struct pv__cursor pv__cursor;
PV_PRIVATE int pv__cursor_new(const pv__tree *tree, pv__cursor **out_cursor, pv_error *err);
PV_PRIVATE void pv__cursor_free(pv__cursor *c);
PV_PRIVATE int pv__cursor_first(pv__cursor *c, bool *out_valid, pv_error *err);
PV_PRIVATE int pv__cursor_last(pv__cursor *c, bool *out_valid, pv_error *err);
PV_PRIVATE int pv__cursor_seek(pv__cursor *c, pv__bytes key, bool *out_valid, pv_error *err); /* >= */
PV_PRIVATE int pv__cursor_next(pv__cursor *c, bool *out_valid, pv_error *err);
PV_PRIVATE int pv__cursor_prev(pv__cursor *c, bool *out_valid, pv_error *err);
PV_PRIVATE pv__bytes pv__cursor_key(const pv__cursor *c); /* until the cursor moves */
PV_PRIVATE int pv__cursor_value(pv__cursor *c, pv__buf *out, pv_error *err); /* appended */

/* Load a new, empty tree from ascending keys: nodes are filled to `fill_percent` and written once.
 * Keys out of order are PV_ERR_MISUSE. */
typedef int (*pv__tree_source)(void *ctx, pv__bytes *key, pv__bytes *value, bool *end,
                               pv_error *err);
PV_PRIVATE int pv__tree_bulk_load(pv__tree *tree, pv__tree_source next, void *ctx,
                                  unsigned fill_percent, pv_error *err);

/* Order, ranges, depth, fill, reachability; reports through fn and counts in *io_bad. fn may be
 * NULL. *out_entries: number of keys. */
PV_PRIVATE int pv__tree_check(pv__tree *tree, pv__check_fn fn, void *ctx, uint64_t *io_bad,
                              uint64_t *out_entries, pv_error *err);

#endif
