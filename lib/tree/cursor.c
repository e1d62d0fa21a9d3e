/* SPDX-License-Identifier: Apache-2.0 */
/* cursor.c - walking a tree in key order, both ways, while it may change.
 *
 * The key is the position: the cursor keeps a copy of it, and whatever happened to the tree in
 * between, next is the first key above it and prev the last one below it. The path (page ids and
 * indices, no pointers) is only a hint that saves the descent. It is good as long as the root's
 * epoch is the one it was taken at: then every node of the path is still in its place and still
 * covers the same range of keys, and only the place within the leaf must be looked up again when
 * the key is not at its index any more. So a step costs one or two page reads, and a descent only
 * after the tree changed its shape.
 *
 * Keys must rise (or fall) strictly from step to step, so that a walk over damaged pages ends.
 *
 * States: BEFORE the first key (a new cursor, or prev from the first), AT a key, AFTER the last.
 * next from BEFORE is first, prev from AFTER is last. */
#include "tree/op.h"

typedef enum cursor_state { PV__CURSOR_BEFORE, PV__CURSOR_AT, PV__CURSOR_AFTER } cursor_state;

struct pv__cursor {
    pv__mem *mem;
    pv__tree tree;
    cursor_state state;
    unsigned depth; /* 0: no hint */
    uint32_t epoch; /* of the root when the hint was taken */
    size_t key_size;
    uint8_t key[PV__TREE_KEY_MAX];
    pv__tree_step path[PV__TREE_DEPTH_MAX];
};

int pv__cursor_new(const pv__tree *tree, pv__cursor **out_cursor, pv_error *err) {
    pv__mem *mem = pv__txn_mem(tree->txn);
    *out_cursor = NULL;
    pv__cursor *c = pv__alloc_zero(mem, sizeof(*c));
    if (!c) {
        return pv__err_nomem(err, sizeof(*c));
    }
    c->mem = mem;
    c->tree = *tree;
    c->state = PV__CURSOR_BEFORE;
    *out_cursor = c;
    return 0;
}

void pv__cursor_free(pv__cursor *c) {
    if (c) {
        pv__alloc_free(c->mem, c, sizeof(*c));
    }
}

pv__bytes pv__cursor_key(const pv__cursor *c) {
    return pv__bytes_of(c->key, c->state == PV__CURSOR_AT ? c->key_size : 0);
}

/* ---- places ---------------------------------------------------------------------------------- */

static int cursor_epoch(const pv__cursor *c, uint32_t *out_epoch, pv_error *err) {
    const uint8_t *root = NULL;
    PV_TRY(pv__tnode_load(&c->tree, c->tree.root, -1, &root, err));
    *out_epoch = pv__get32(root + PV__TNODE_EPOCH);
    return 0;
}

/* Fresh path to where `key` is or belongs. */
static int cursor_descend(pv__cursor *c, pv__bytes key, const uint8_t **out_leaf, bool *out_found,
                          pv_error *err) {
    c->depth = 0;
    PV_TRY(cursor_epoch(c, &c->epoch, err));
    return pv__tree_descend(&c->tree, key, c->path, &c->depth, out_leaf, out_found, err);
}

/* The leaf that covers the cursor's key; the path's last index is where the key is or belongs. */
static int cursor_locate(pv__cursor *c, const uint8_t **out_leaf, bool *out_found, pv_error *err) {
    pv__bytes key = pv__bytes_of(c->key, c->key_size);
    bool fresh = c->depth > 0;
    if (fresh && pv__txn_is_write(c->tree.txn)) {
        uint32_t epoch = 0;
        PV_TRY(cursor_epoch(c, &epoch, err));
        fresh = epoch == c->epoch;
    }
    if (!fresh) {
        return cursor_descend(c, key, out_leaf, out_found, err);
    }
    pv__tree_step *at = &c->path[c->depth - 1];
    const uint8_t *leaf = NULL;
    pv__tcell cell;
    PV_TRY(pv__tnode_load(&c->tree, at->page_id, 0, &leaf, err));
    *out_leaf = leaf;
    *out_found = true;
    if (at->index < pv__tnode_count(leaf) && pv__tnode_cell(leaf, at->index, &cell) &&
        pv__bytes_order(cell.key, key) == 0) {
        return 0;
    }
    if (!pv__tnode_find(leaf, key, &at->index, out_found)) {
        return pv__tnode_bad(&c->tree, at->page_id, "a cell is damaged", err);
    }
    return 0;
}

/* Complete the path from step d downwards along the first or last children, to a leaf. */
static int cursor_down(pv__cursor *c, unsigned d, uint64_t page_id, int level, bool to_last,
                       const uint8_t **out_leaf, pv_error *err) {
    for (; d < PV__TREE_DEPTH_MAX; d++) {
        const uint8_t *page = NULL;
        pv__tcell cell;
        PV_TRY(pv__tnode_load(&c->tree, page_id, level, &page, err));
        level = (int)pv__tnode_level(page) - 1;
        const unsigned count = pv__tnode_count(page);
        c->path[d].page_id = page_id;
        c->path[d].index = to_last && count > 0 ? count - 1 : 0;
        if (level < 0) {
            c->depth = d + 1;
            *out_leaf = page;
            return 0;
        }
        if (count == 0 || !pv__tnode_cell(page, c->path[d].index, &cell)) {
            break;
        }
        page_id = pv__tcell_child(&cell);
    }
    return pv__tnode_bad(&c->tree, page_id, "a child reference is damaged", err);
}

/* From the path's leaf to the next or previous one. *out_leaf NULL: there is none. */
static int cursor_sibling(pv__cursor *c, bool forward, const uint8_t **out_leaf, pv_error *err) {
    *out_leaf = NULL;
    for (unsigned d = c->depth - 1; d-- > 0;) {
        pv__tree_step *at = &c->path[d];
        const uint8_t *page = NULL;
        pv__tcell cell;
        PV_TRY(pv__tnode_load(&c->tree, at->page_id, -1, &page, err));
        if (forward ? at->index + 1 >= pv__tnode_count(page) : at->index == 0) {
            continue;
        }
        at->index = forward ? at->index + 1 : at->index - 1;
        if (pv__tnode_level(page) == 0 || at->index >= pv__tnode_count(page) ||
            !pv__tnode_cell(page, at->index, &cell)) {
            return pv__tnode_bad(&c->tree, at->page_id, "a child reference is damaged", err);
        }
        return cursor_down(c, d + 1, pv__tcell_child(&cell), (int)pv__tnode_level(page) - 1,
                           !forward, out_leaf, err);
    }
    return 0;
}

/* ---- moving ---------------------------------------------------------------------------------- */

static int cursor_end(pv__cursor *c, cursor_state state, bool *out_valid) {
    c->state = state;
    c->depth = 0;
    *out_valid = false;
    return 0;
}

/* Take the key at the path's last index. */
static int cursor_arrive(pv__cursor *c, const uint8_t *leaf, bool *out_valid, pv_error *err) {
    const pv__tree_step *at = &c->path[c->depth - 1];
    pv__tcell cell;
    if (at->index >= pv__tnode_count(leaf) || !pv__tnode_cell(leaf, at->index, &cell) ||
        cell.key.size == 0) {
        return pv__tnode_bad(&c->tree, at->page_id, "a cell is damaged", err);
    }
    memcpy(c->key, cell.key.data, cell.key.size);
    c->key_size = cell.key.size;
    c->state = PV__CURSOR_AT;
    *out_valid = true;
    return 0;
}

/* The path's index names the wanted cell of `leaf`, or is one beyond its end (forward), or the cell
 * before it is wanted (backward): go there, into the neighbouring leaf if need be. from_key: the
 * new key must lie beyond the old one. */
static int cursor_settle(pv__cursor *c, const uint8_t *leaf, bool forward, bool from_key,
                         bool *out_valid, pv_error *err) {
    pv__tree_step *at = &c->path[c->depth - 1];
    pv__tcell cell;
    if (forward ? at->index >= pv__tnode_count(leaf) : at->index == 0) {
        PV_TRY(cursor_sibling(c, forward, &leaf, err));
        if (!leaf) {
            return cursor_end(c, forward ? PV__CURSOR_AFTER : PV__CURSOR_BEFORE, out_valid);
        }
        at = &c->path[c->depth - 1];
    } else if (!forward) {
        at->index--;
    }
    if (from_key) {
        bool sound = at->index < pv__tnode_count(leaf) && pv__tnode_cell(leaf, at->index, &cell);
        int order = sound ? pv__bytes_order(cell.key, pv__bytes_of(c->key, c->key_size)) : 0;
        if (forward ? order <= 0 : order >= 0) {
            return pv__tnode_bad(&c->tree, at->page_id, "keys are out of order", err);
        }
    }
    return cursor_arrive(c, leaf, out_valid, err);
}

/* A failed move leaves the cursor at its key, without a hint. */
static int cursor_done(pv__cursor *c, int rc) {
    if (rc) {
        c->depth = 0;
    }
    return rc;
}

static int cursor_edge(pv__cursor *c, bool to_last, bool *out_valid, pv_error *err) {
    const uint8_t *leaf = NULL;
    PV_TRY(cursor_epoch(c, &c->epoch, err));
    PV_TRY(cursor_down(c, 0, c->tree.root, -1, to_last, &leaf, err));
    if (pv__tnode_count(leaf) == 0) { /* T2: only the root may be empty */
        if (c->depth > 1) {
            return pv__tnode_bad(&c->tree, c->path[c->depth - 1].page_id, "is empty", err);
        }
        return cursor_end(c, to_last ? PV__CURSOR_BEFORE : PV__CURSOR_AFTER, out_valid);
    }
    return cursor_arrive(c, leaf, out_valid, err);
}

int pv__cursor_first(pv__cursor *c, bool *out_valid, pv_error *err) {
    return cursor_done(c, cursor_edge(c, false, out_valid, err));
}

int pv__cursor_last(pv__cursor *c, bool *out_valid, pv_error *err) {
    return cursor_done(c, cursor_edge(c, true, out_valid, err));
}

static int cursor_seek(pv__cursor *c, pv__bytes key, bool *out_valid, pv_error *err) {
    const uint8_t *leaf = NULL;
    bool found = false;
    PV_TRY(cursor_descend(c, key, &leaf, &found, err));
    return cursor_settle(c, leaf, true, false, out_valid, err);
}

int pv__cursor_seek(pv__cursor *c, pv__bytes key, bool *out_valid, pv_error *err) {
    if (key.size == 0) {
        return pv__cursor_first(c, out_valid, err);
    }
    PV_TRY(pv__tree_check_key(key, err));
    return cursor_done(c, cursor_seek(c, key, out_valid, err));
}

static int cursor_step(pv__cursor *c, bool forward, bool *out_valid, pv_error *err) {
    const uint8_t *leaf = NULL;
    bool found = false;
    if (c->state != PV__CURSOR_AT) {
        if ((c->state == PV__CURSOR_BEFORE) == forward) {
            return cursor_edge(c, !forward, out_valid, err);
        }
        *out_valid = false;
        return 0;
    }
    PV_TRY(cursor_locate(c, &leaf, &found, err));
    if (forward && found) {
        c->path[c->depth - 1].index++;
    }
    return cursor_settle(c, leaf, forward, true, out_valid, err);
}

int pv__cursor_next(pv__cursor *c, bool *out_valid, pv_error *err) {
    return cursor_done(c, cursor_step(c, true, out_valid, err));
}

int pv__cursor_prev(pv__cursor *c, bool *out_valid, pv_error *err) {
    return cursor_done(c, cursor_step(c, false, out_valid, err));
}

int pv__cursor_value(pv__cursor *c, pv__buf *out, pv_error *err) {
    const uint8_t *leaf = NULL;
    bool found = false;
    if (c->state != PV__CURSOR_AT) {
        return pv__err(err, PV_ERR_MISUSE, "cursor is not at a key");
    }
    PV_TRY(cursor_done(c, cursor_locate(c, &leaf, &found, err)));
    if (!found) {
        return pv__err(err, PV_ERR_NOTFOUND, "the key at the cursor was deleted");
    }
    const pv__tree_step *at = &c->path[c->depth - 1];
    return pv__tree_value_at(&c->tree, at->page_id, leaf, at->index, out, err);
}
