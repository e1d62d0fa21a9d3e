/* SPDX-License-Identifier: Apache-2.0 */
/* tree.h - B+tree over the pages of one transaction: byte-string keys in memcmp order, values of
 * any length up to PV__TREE_VALUE_MAX (long ones in overflow pages).
 *
 * A tree is known by its root page id, which never changes (a root that splits copies itself
 * down), so that nobody has to be told. `owner` is the object id written into its pages. Nodes are
 * 8 KiB. All O(log n). Every byte read from a page is validated: damage gives PV_ERR_CORRUPT with
 * the page id, never a crash or an endless loop.
 *
 * A pv__tree is a value: make it where it is needed, copy it freely; it holds nothing.
 *
 * Errors: keys of 0 bytes are PV_ERR_MISUSE, longer than PV__TREE_KEY_MAX PV_ERR_LIMIT, in every
 * call that takes one. A change that fails before its first page was touched leaves everything as
 * it was; after that the transaction is doomed. Outputs are set on success only.
 *
 * Pages: key and value bytes handed in must not lie in pages of the same tree. create, get, put,
 * del and the cursor never pause, so pointers of the caller to other pages stay valid; drop,
 * bulk_load and check call pv__txn_pause all the time.
 *
 * Threads: exclusive, as the transaction; get and cursors (one thread each) of a transaction in
 * which nobody writes may run in several threads at once. */
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

#define PV__TREE_DEPTH_MAX 24u

typedef struct pv__tree_step { /* of the way from the root to a leaf */
    uint64_t page_id;
    unsigned index; /* the child that was followed; in the leaf where the key is or belongs */
} pv__tree_step;

PV_PRIVATE int pv__tree_create(pv__txn *txn, uint32_t owner, uint64_t *out_root, pv_error *err);
/* Free every page, overflow pages too, in bounded memory. The tree and its cursors are void. */
PV_PRIVATE int pv__tree_drop(pv__tree *tree, pv_error *err);

/* *out_found; when found the value is appended to `out` (NULL: existence only). */
PV_PRIVATE int pv__tree_get(pv__tree *tree, pv__bytes key, pv__buf *out, bool *out_found,
                            pv_error *err);
/* Insert or replace; putting the value that is there already changes no page. *out_replaced may
 * be NULL. Values longer than PV__TREE_VALUE_MAX are PV_ERR_LIMIT. */
PV_PRIVATE int pv__tree_put(pv__tree *tree, pv__bytes key, pv__bytes value, bool *out_replaced,
                            pv_error *err);
/* *out_found may be NULL; a key that is not there is no error. */
PV_PRIVATE int pv__tree_del(pv__tree *tree, pv__bytes key, bool *out_found, pv_error *err);

/* A finger remembers the leaf of the last key, so that keys that come near each other, ascending
 * ones above all, need no way down from the root. It holds no pointers: pauses and any write to the
 * tree by the same transaction only make it forget. It does not survive the end of the transaction
 * or a rollback to a savepoint. Zeroed, it remembers nothing. */
typedef struct pv__finger {
    unsigned depth; /* 0: remembers nothing */
    uint32_t epoch; /* of the root when the path was taken */
    bool bounded_below, bounded_above;
    uint16_t low_size, high_size; /* keys in [low, high) belong to the leaf */
    pv__tree_step path[PV__TREE_DEPTH_MAX];
    uint8_t low[PV__TREE_KEY_MAX], high[PV__TREE_KEY_MAX];
} pv__finger;
/* As get and put. */
PV_PRIVATE int pv__tree_get_near(pv__tree *tree, pv__finger *finger, pv__bytes key, pv__buf *out,
                                 bool *out_found, pv_error *err);
PV_PRIVATE int pv__tree_put_near(pv__tree *tree, pv__finger *finger, pv__bytes key, pv__bytes value,
                                 bool *out_replaced, pv_error *err);
/* n times put, at once: a leaf is found once for all that go into it. *out_replaced: the first that
 * was there, or n. */
PV_PRIVATE int pv__tree_put_run(pv__tree *tree, pv__finger *finger, const pv__bytes *keys,
                                const pv__bytes *values, size_t n, size_t *out_replaced,
                                pv_error *err);

/* Up to PV__TREE_MANY keys at once, whose ways through memory overlap: far faster than as many
 * gets. Values are where they lie in pages, good as long as those. */
#define PV__TREE_MANY 16u
typedef struct pv__tree_seen {
    pv__bytes value;
    bool found;
    bool is_long; /* in overflow pages: only pv__tree_get has the value */
} pv__tree_seen;
PV_PRIVATE int pv__tree_get_many(const pv__tree *tree, const pv__bytes *keys, size_t n,
                                 pv__tree_seen *out, pv_error *err);

/* A cursor holds a copy of its key, no pointers: it survives any write to the tree by the same
 * transaction, and pv__txn_pause; next and prev then go on from the key, present or not. It does
 * not survive the end of the transaction, or a rollback to a savepoint that is older than its last
 * move (free is always allowed).
 *
 * A new cursor stands before the first key. Moving off an end leaves it there: *out_valid false,
 * and prev from behind the last key is last, next from before the first is first. A seek that
 * finds nothing stands behind the last key. A move that fails stays where it was. */
typedef struct pv__cursor pv__cursor;
PV_PRIVATE int pv__cursor_new(const pv__tree *tree, pv__cursor **out_cursor, pv_error *err);
PV_PRIVATE void pv__cursor_free(pv__cursor *c); /* NULL is fine */
PV_PRIVATE int pv__cursor_first(pv__cursor *c, bool *out_valid, pv_error *err);
PV_PRIVATE int pv__cursor_last(pv__cursor *c, bool *out_valid, pv_error *err);
/* First key >= key; the empty key is allowed and means the first. */
PV_PRIVATE int pv__cursor_seek(pv__cursor *c, pv__bytes key, bool *out_valid, pv_error *err);
PV_PRIVATE int pv__cursor_next(pv__cursor *c, bool *out_valid, pv_error *err);
PV_PRIVATE int pv__cursor_prev(pv__cursor *c, bool *out_valid, pv_error *err);
/* Until the cursor moves; size 0 when it is at no key. */
PV_PRIVATE pv__bytes pv__cursor_key(const pv__cursor *c);
/* Appended to out. PV_ERR_NOTFOUND when the key was deleted since, PV_ERR_MISUSE at no key. */
PV_PRIVATE int pv__cursor_value(pv__cursor *c, pv__buf *out, pv_error *err);

/* Load an empty tree from ascending keys: nodes are filled to `fill_percent` (40..100) and written
 * once. `next` sets key and value, good until it is called again and not in pages, or *end. Keys
 * out of order are PV_ERR_MISUSE; an error of `next` is passed on. */
typedef int (*pv__tree_source)(void *ctx, pv__bytes *key, pv__bytes *value, bool *end,
                               pv_error *err);
PV_PRIVATE int pv__tree_bulk_load(pv__tree *tree, pv__tree_source next, void *ctx,
                                  unsigned fill_percent, pv_error *err);

/* Order, ranges, depth, space, long values; reports through fn and counts in *io_bad. fn may be
 * NULL. *out_entries: keys found. What lies below a damaged node is not looked at. An error is
 * returned only when the walk itself could not go on. */
PV_PRIVATE int pv__tree_check(pv__tree *tree, pv__check_fn fn, void *ctx, uint64_t *io_bad,
                              uint64_t *out_entries, pv_error *err);

#endif
