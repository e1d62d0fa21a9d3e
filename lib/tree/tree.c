/* SPDX-License-Identifier: Apache-2.0 */
/* tree.c - create, get, put and delete: find the leaf, change it, leave the rest to balance.c.
 *
 * A put of the value that is there changes nothing at all; one of the same length changes the
 * value's bytes only; one of another length keeps the cell where it lies when it fits.
 * Not here: node layout (node.h), splitting and merging (balance.c), long values (overflow.c). */
#include "tree/op.h"

int pv__tree_check_key(pv__bytes key, pv_error *err) {
    if (key.size == 0) {
        return pv__err(err, PV_ERR_MISUSE, "tree key is empty");
    }
    if (key.size > PV__TREE_KEY_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "tree key has %zu bytes, at most %u are allowed",
                       key.size, PV__TREE_KEY_MAX);
    }
    return 0;
}

int pv__tree_op_end(pv__tree_op *op, int rc) {
    if (rc && op->changed) {
        pv__txn_doom(op->tree->txn, rc);
    }
    return rc;
}

int pv__tree_descend(const pv__tree *tree, pv__bytes key, pv__tree_step *path, unsigned *out_depth,
                     const uint8_t **out_leaf, bool *out_found, pv_error *err) {
    uint64_t id = tree->root;
    int level = -1;
    for (unsigned depth = 0; depth < PV__TREE_DEPTH_MAX; depth++) {
        const uint8_t *page = NULL;
        unsigned index = 0;
        uint64_t child = 0;
        bool found = false;
        PV_TRY(pv__tnode_load(tree, id, level, &page, err));
        level = (int)pv__tnode_level(page) - 1;
        path[depth].page_id = id;
        if (level < 0) {
            if (PV_UNLIKELY(!pv__tnode_find(page, key, &index, &found))) {
                return pv__tnode_bad(tree, id, "a cell is damaged", err);
            }
            path[depth].index = index;
            *out_depth = depth + 1;
            *out_leaf = page;
            *out_found = found;
            return 0;
        }
        if (PV_UNLIKELY(!pv__tnode_child(page, key, &index, &child))) {
            return pv__tnode_bad(tree, id, "a separator or child reference is damaged", err);
        }
        path[depth].index = index;
        id = child;
    }
    return pv__tnode_bad(tree, id, "lies too deep", err); /* not reached: T3 */
}

int pv__tree_create(pv__txn *txn, uint32_t owner, uint64_t *out_root, pv_error *err) {
    uint64_t id = 0;
    uint8_t *page = NULL;
    PV_TRY(pv__page_new(txn, PV__PAGE_TREE, PV__TNODE_SLOTS, owner, 0, &id, &page, err));
    pv__tnode_init(page, 0);
    *out_root = id;
    return 0;
}

/* ---- get ------------------------------------------------------------------------------------- */

/* Append the value of a leaf's cell. */
static int tree_value(const pv__tree *tree, uint64_t page_id, const pv__tcell *cell, pv__buf *out,
                      pv_error *err) {
    size_t len = out->len;
    if (cell->is_long) {
        pv__tree_long v;
        PV_TRY(pv__long_of(tree, page_id, cell, &v, err));
        PV_TRY(pv__long_read(tree, &v, out, err));
    } else {
        pv__buf_add(out, cell->tail.data, cell->tail.size);
    }
    int rc = pv__buf_check(out, err);
    if (rc) {
        out->len = len;
    }
    return rc;
}

int pv__tree_value_at(const pv__tree *tree, uint64_t page_id, const uint8_t *page, unsigned i,
                      pv__buf *out, pv_error *err) {
    pv__tcell cell;
    if (PV_UNLIKELY(!pv__tnode_cell(page, i, &cell))) {
        return pv__tnode_bad(tree, page_id, "a cell is damaged", err);
    }
    return tree_value(tree, page_id, &cell, out, err);
}

int pv__tree_get_near(pv__tree *tree, pv__finger *finger, pv__bytes key, pv__buf *out,
                      bool *out_found, pv_error *err) {
    pv__tree_step path[PV__TREE_DEPTH_MAX];
    unsigned depth = 0;
    const uint8_t *leaf = NULL;
    bool found = false;
    PV_TRY(pv__tree_check_key(key, err));
    PV_TRY(pv__finger_descend(tree, finger, key, path, &depth, &leaf, &found, err));
    if (found && out) {
        const pv__tree_step *at = &path[depth - 1];
        PV_TRY(pv__tree_value_at(tree, at->page_id, leaf, at->index, out, err));
    }
    *out_found = found;
    return 0;
}

int pv__tree_get(pv__tree *tree, pv__bytes key, pv__buf *out, bool *out_found, pv_error *err) {
    return pv__tree_get_near(tree, NULL, key, out, out_found, err);
}

/* ---- put ------------------------------------------------------------------------------------- */

/* The tail for a value: itself, or a reference to overflow pages written now. `ref` holds the
 * bytes of the reference. */
static int tree_tail(pv__tree_op *op, pv__bytes key, pv__bytes value, uint8_t *ref, pv__tcell *out,
                     pv_error *err) {
    out->key = key;
    out->tail = value;
    out->is_long = key.size + value.size > PV__CELL_INLINE_MAX;
    if (out->is_long) {
        pv__tree_long v;
        PV_TRY(pv__long_new(op, key, value, &v, err));
        pv__long_tail(&v, ref);
        out->tail = pv__bytes_of(ref, PV__CELL_LONG_TAIL);
    }
    return 0;
}

/* Write a long value over a long one that fills the same pages. */
static int tree_overwrite(pv__tree_op *op, pv__tree_long *v, pv__bytes value, pv_error *err) {
    const pv__tree_step *at = &op->path[op->depth - 1];
    uint8_t ref[PV__CELL_LONG_TAIL], *page = NULL;
    uint32_t old_size = v->size;
    bool done = false;
    PV_TRY(pv__long_overwrite(op, v, value, err));
    if (v->size == old_size) {
        return 0;
    }
    pv__long_tail(v, ref);
    PV_TRY(pv__tree_edit(op, at->page_id, &page, err));
    if (!pv__tnode_set_tail(page, at->index, pv__bytes_of(ref, sizeof(ref)), true, &done)) {
        return pv__tnode_bad(op->tree, at->page_id, "a cell is damaged", err);
    }
    return 0;
}

/* The key is there, at the end of the path, in `leaf`. */
static int tree_replace(pv__tree_op *op, const uint8_t *leaf, pv__bytes key, pv__bytes value,
                        pv_error *err) {
    const unsigned d = op->depth - 1;
    const pv__tree_step at = op->path[d];
    pv__tcell cell;
    pv__tree_long old = {0, 0, 0};
    uint8_t ref[PV__CELL_LONG_TAIL], *page = NULL;
    bool done = false;
    if (!pv__tnode_cell(leaf, at.index, &cell)) {
        return pv__tnode_bad(op->tree, at.page_id, "a cell is damaged", err);
    }
    const bool was_long = cell.is_long;
    const unsigned old_size = pv__tcell_size(&cell);
    if (was_long) {
        PV_TRY(pv__long_of(op->tree, at.page_id, &cell, &old, err));
        if (key.size + value.size > PV__CELL_INLINE_MAX && pv__long_fits(&old, value.size)) {
            return tree_overwrite(op, &old, value, err);
        }
        PV_TRY(pv__long_free(op, &old, false, err));
    } else if (cell.tail.size == value.size &&
               (value.size == 0 || memcmp(cell.tail.data, value.data, value.size) == 0)) {
        return 0;
    }
    PV_TRY(tree_tail(op, key, value, ref, &cell, err));
    PV_TRY(pv__tree_edit(op, at.page_id, &page, err)); /* ends `leaf` */
    if (!pv__tnode_set_tail(page, at.index, cell.tail, cell.is_long, &done)) {
        return pv__tnode_bad(op->tree, at.page_id, "a cell is damaged", err);
    }
    if (!done) {
        if (!pv__tnode_remove(page, at.index)) {
            return pv__tnode_bad(op->tree, at.page_id, "a cell is damaged", err);
        }
        return pv__tree_insert_at(op, d, at.index, &cell, err);
    }
    return pv__tcell_size(&cell) < old_size ? pv__tree_shrunk(op, d, err) : 0;
}

static int tree_store(pv__tree_op *op, pv__finger *finger, pv__bytes key, pv__bytes value,
                      bool *out_replaced, pv_error *err) {
    const uint8_t *leaf = NULL;
    pv__tcell cell;
    uint8_t ref[PV__CELL_LONG_TAIL];
    PV_TRY(
        pv__finger_descend(op->tree, finger, key, op->path, &op->depth, &leaf, out_replaced, err));
    if (*out_replaced) {
        return tree_replace(op, leaf, key, value, err);
    }
    PV_TRY(tree_tail(op, key, value, ref, &cell, err));
    return pv__tree_insert_at(op, op->depth - 1, op->path[op->depth - 1].index, &cell, err);
}

int pv__tree_put_near(pv__tree *tree, pv__finger *finger, pv__bytes key, pv__bytes value,
                      bool *out_replaced, pv_error *err) {
    pv__tree_op op;
    op.tree = tree; /* the path is written before it is read */
    op.changed = op.reshaped = false;
    op.depth = 0;
    bool replaced = false;
    PV_TRY(pv__tree_check_key(key, err));
    if (value.size > PV__TREE_VALUE_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "tree value has %zu bytes, at most %u are allowed",
                       value.size, PV__TREE_VALUE_MAX);
    }
    PV_TRY(pv__tree_op_end(&op, tree_store(&op, finger, key, value, &replaced, err)));
    if (out_replaced) {
        *out_replaced = replaced;
    }
    return 0;
}

int pv__tree_put(pv__tree *tree, pv__bytes key, pv__bytes value, bool *out_replaced,
                 pv_error *err) {
    return pv__tree_put_near(tree, NULL, key, value, out_replaced, err);
}

/* ---- many ------------------------------------------------------------------------------------ */

/* Put a new key into the leaf `page`, which this transaction has for writing and the finger
 * remembers. *out_done false: something is not as simple as that, nothing was changed. */
static int tree_put_here(pv__tree *tree, pv__finger *finger, uint8_t *page, pv__bytes key,
                         pv__bytes value, bool *out_done, pv_error *err) {
    pv__tree_step *at = &finger->path[finger->depth - 1];
    const pv__tcell cell = {key, value, false};
    unsigned index = 0;
    bool found = false;
    *out_done = false;
    if (key.size == 0 || key.size + value.size > PV__CELL_INLINE_MAX ||
        pv__tcell_size(&cell) + PV__CELL_SLOT > pv__tnode_free(page) ||
        !pv__finger_covers(finger, key)) {
        return 0;
    }
    if (!pv__tnode_find_near(page, key, at->index, &index, &found) || found) {
        return 0;
    }
    pv__tnode_note(page, index);
    if (!pv__tnode_insert(page, index, &cell)) {
        const int rc = pv__tnode_bad(tree, at->page_id, "a cell is damaged", err);
        pv__txn_doom(tree->txn, rc);
        return rc;
    }
    at->index = index;
    *out_done = true;
    return 0;
}

/* The leaf that was just put into, if the tree has kept its shape; else NULL. */
static int tree_put_leaf(pv__tree *tree, const pv__finger *finger, uint8_t **out_page,
                         pv_error *err) {
    const uint8_t *root = NULL;
    *out_page = NULL;
    PV_TRY(pv__tnode_load(tree, tree->root, -1, &root, err));
    if (pv__get32(root + PV__TNODE_EPOCH) != finger->epoch) {
        return 0;
    }
    return pv__page_write(tree->txn, finger->path[finger->depth - 1].page_id, PV__PAGE_TREE,
                          out_page, err);
}

int pv__tree_put_run(pv__tree *tree, pv__finger *finger, const pv__bytes *keys,
                     const pv__bytes *values, size_t n, size_t *out_replaced, pv_error *err) {
    uint8_t *page = NULL;
    size_t first = n;
    for (size_t i = 0; i < n; i++) {
        bool done = false, replaced = false;
        if (page) {
            PV_TRY(tree_put_here(tree, finger, page, keys[i], values[i], &done, err));
        }
        if (!done) {
            page = NULL;
            PV_TRY(pv__tree_put_near(tree, finger, keys[i], values[i], &replaced, err));
            first = replaced ? PV_MIN(first, i) : first;
        }
        if (!done && !replaced && i + 1 < n) {
            PV_TRY(tree_put_leaf(tree, finger, &page, err));
        }
    }
    *out_replaced = first;
    return 0;
}

/* ---- delete ---------------------------------------------------------------------------------- */

static int tree_remove(pv__tree_op *op, pv__bytes key, bool *out_found, pv_error *err) {
    const uint8_t *leaf = NULL;
    uint8_t *page = NULL;
    pv__tcell cell;
    PV_TRY(pv__tree_descend(op->tree, key, op->path, &op->depth, &leaf, out_found, err));
    if (!*out_found) {
        return 0;
    }
    const pv__tree_step at = op->path[op->depth - 1];
    if (!pv__tnode_cell(leaf, at.index, &cell)) {
        return pv__tnode_bad(op->tree, at.page_id, "a cell is damaged", err);
    }
    if (cell.is_long) {
        pv__tree_long v;
        PV_TRY(pv__long_of(op->tree, at.page_id, &cell, &v, err));
        PV_TRY(pv__long_free(op, &v, false, err));
    }
    PV_TRY(pv__tree_edit(op, at.page_id, &page, err)); /* ends `leaf` */
    if (!pv__tnode_remove(page, at.index)) {
        return pv__tnode_bad(op->tree, at.page_id, "a cell is damaged", err);
    }
    return pv__tree_shrunk(op, op->depth - 1, err);
}

int pv__tree_del(pv__tree *tree, pv__bytes key, bool *out_found, pv_error *err) {
    pv__tree_op op = {.tree = tree};
    bool found = false;
    PV_TRY(pv__tree_check_key(key, err));
    PV_TRY(pv__tree_op_end(&op, tree_remove(&op, key, &found, err)));
    if (out_found) {
        *out_found = found;
    }
    return 0;
}
