/* SPDX-License-Identifier: Apache-2.0 */
/* balance.c - changes that span nodes: split, merge, even out, grow and shorten the tree.
 *
 * Split: a full node P and the cell X that did not fit become P (front) and a new R (back); the
 * separator goes up as one more cell, which may split the parent, and so on. A root that is full
 * first copies itself down into a new child, so its page id never changes (and a tree grows and
 * shrinks only there).
 *
 *        [ .. P .. ]               [ .. P | sep R .. ]
 *            |            =>            |       |
 *    P: a b c d (+ X)              P: a b   R: X c d
 *
 * Where: half and half by bytes, unless X continues a run of neighbouring inserts (node.h, run).
 * Then P keeps all that lies before the run's end, so that ascending keys fill nodes to the brim,
 * also when several ascending sequences share the tree; descending ones mirrored.
 *
 * Less than PV__TNODE_LEAST: merge with a neighbour when both fit into one node, else share
 * evenly with it. A new separator may be longer than the old one, so evening out can split the
 * parent; that is why it goes through pv__tree_insert_at too.
 *
 * Every error after the first changed byte dooms the transaction (pv__tree_op_end). */
#include "tree/op.h"

#define PV__BALANCE_DAMAGED "cells do not fit where they must"

int pv__tree_edit(pv__tree_op *op, uint64_t page_id, uint8_t **out_page, pv_error *err) {
    PV_TRY(pv__page_write(op->tree->txn, page_id, PV__PAGE_TREE, out_page, err));
    op->changed = true;
    return 0;
}

int pv__tree_node_new(pv__tree_op *op, unsigned level, uint64_t *out_page_id, uint8_t **out_page,
                      pv_error *err) {
    PV_TRY(pv__page_new(op->tree->txn, PV__PAGE_TREE, PV__TNODE_SLOTS, op->tree->owner, 0,
                        out_page_id, out_page, err));
    op->changed = true;
    pv__tnode_init(*out_page, level);
    return 0;
}

int pv__tree_reshape(pv__tree_op *op, pv_error *err) {
    uint8_t *root = NULL;
    if (op->reshaped) {
        return 0;
    }
    PV_TRY(pv__tree_edit(op, op->tree->root, &root, err));
    pv__put32(root + PV__TNODE_EPOCH, pv__get32(root + PV__TNODE_EPOCH) + 1);
    op->reshaped = true;
    return 0;
}

size_t pv__tree_separator(pv__bytes left, pv__bytes right) {
    size_t n = PV_MIN(left.size, right.size), i = 0;
    while (i < n && left.data[i] == right.data[i]) {
        i++;
    }
    return PV_MIN(i + 1, right.size);
}

/* ---- a list of cells to be shared out over two nodes ----------------------------------------- */

/* Cells of `front`, then `middle` when there is one, then those of `back` from back_from. */
typedef struct balance_list {
    const uint8_t *front, *back;
    unsigned front_count, back_from, back_count; /* back_count: in the list */
    const pv__tcell *middle;
    unsigned level;
} balance_list;

static unsigned balance_list_count(const balance_list *list) {
    return list->front_count + (list->middle ? 1 : 0) + list->back_count;
}

static bool balance_list_cell(const balance_list *list, unsigned j, pv__tcell *out) {
    if (j < list->front_count) {
        return pv__tnode_cell(list->front, j, out);
    }
    j -= list->front_count;
    if (list->middle && j-- == 0) {
        *out = *list->middle;
        return true;
    }
    return pv__tnode_cell(list->back, list->back_from + j, out);
}

/* How many cells go to the left node. `wish`: used when it is possible, 0 for even shares.
 * 0: no way to share them, which sound nodes always allow. */
static unsigned balance_choose(const balance_list *list, unsigned wish) {
    const unsigned n = balance_list_count(list), least = list->level > 0 ? 2 : 1; /* T2 */
    unsigned total = 0, left = 0, best = 0, best_gap = 0;
    pv__tcell cell;
    for (unsigned j = 0; j < n; j++) {
        if (!balance_list_cell(list, j, &cell)) {
            return 0;
        }
        total += pv__tcell_size(&cell) + PV__CELL_SLOT;
    }
    for (unsigned j = 0; j < n; j++) {
        if (!balance_list_cell(list, j, &cell)) {
            return 0;
        }
        /* The right node would begin with cell j, without its key in an inner node. */
        unsigned right = total - left - (list->level > 0 ? (unsigned)cell.key.size : 0);
        if (j >= least && n - j >= least && left <= PV__TNODE_ROOM && right <= PV__TNODE_ROOM) {
            unsigned gap = left > right ? left - right : right - left;
            if (j == wish) {
                return j;
            }
            if (best == 0 || gap < best_gap) {
                best = j;
                best_gap = gap;
            }
        }
        left += pv__tcell_size(&cell) + PV__CELL_SLOT;
    }
    return best;
}

/* Append the list's cells [from, to) to a node; in an inner node the first key is left out. */
static bool balance_fill(uint8_t *page, const balance_list *list, unsigned from, unsigned to) {
    for (unsigned j = from; j < to; j++) {
        pv__tcell cell;
        if (!balance_list_cell(list, j, &cell)) {
            return false;
        }
        if (j == from && list->level > 0) {
            cell.key.size = 0;
        }
        if (!pv__tnode_insert(page, j - from, &cell)) {
            return false;
        }
    }
    return true;
}

/* The key that divides the list before cell m, copied to `out`: the cell's own in an inner node,
 * as short as possible in a leaf. 0: damaged. */
static size_t balance_separator(const balance_list *list, unsigned m, uint8_t *out) {
    pv__tcell left, right;
    if (!balance_list_cell(list, m - 1, &left) || !balance_list_cell(list, m, &right)) {
        return 0;
    }
    size_t size = list->level > 0 ? right.key.size : pv__tree_separator(left.key, right.key);
    if (size) {
        memcpy(out, right.key.data, size);
    }
    return size;
}

/* ---- split ----------------------------------------------------------------------------------- */

/* The root is full: move its content into a new child, which takes its place on the path. */
static int balance_grow(pv__tree_op *op, pv_error *err) {
    uint64_t id = 0, root_id = op->tree->root;
    uint8_t *child = NULL, *root = NULL, tail[PV__CELL_CHILD_TAIL];
    PV_TRY(pv__tree_reshape(op, err));
    PV_TRY(pv__tree_edit(op, root_id, &root, err));
    unsigned level = pv__tnode_level(root);
    if (level + 1 >= PV__TREE_DEPTH_MAX || op->depth >= PV__TREE_DEPTH_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "tree of object %u is deeper than %u levels",
                       (unsigned)op->tree->owner, PV__TREE_DEPTH_MAX);
    }
    PV_TRY(pv__tree_node_new(op, level, &id, &child, err));
    memcpy(child + PV__PAGE_HEAD, root + PV__PAGE_HEAD, PV__TNODE_SIZE - PV__PAGE_HEAD);
    pv__put32(child + PV__TNODE_EPOCH, 0);
    pv__tnode_init(root, level + 1);
    pv__put64(tail, id);
    pv__tcell cell = {pv__bytes_of(NULL, 0), pv__bytes_of(tail, sizeof(tail)), false};
    if (!pv__tnode_insert(root, 0, &cell)) {
        return pv__tnode_bad(op->tree, root_id, PV__BALANCE_DAMAGED, err);
    }
    memmove(op->path + 1, op->path, op->depth * sizeof(op->path[0]));
    op->path[0].page_id = root_id;
    op->path[0].index = 0;
    op->path[1].page_id = id;
    op->depth++;
    return 0;
}

/* Where the split should be when the insert at i continues a run, else 0. At the end of the node
 * the new cell begins the next one; within, it ends the left one, so that the run goes on in a
 * node without the cells behind it. */
static unsigned balance_wish(const uint8_t *page, unsigned i) {
    unsigned last = pv__get16(page + PV__TNODE_LAST), run = page[PV__TNODE_RUN];
    unsigned count = pv__tnode_count(page), least = pv__tnode_level(page) > 0 ? 2 : 1; /* T2 */
    if ((run & PV__TNODE_RUN_LONG) < PV__TNODE_RUN_LONG) {
        return 0;
    }
    if (run & PV__TNODE_RUN_DOWN) {
        return i != last ? 0 : PV_MAX(i, least);
    }
    if (i != last + 1) {
        return 0;
    }
    return i == count ? count + 1 - least : i + 1;
}

/* A leaf that ascending keys have filled stays as it is, and the new cell is the first of the next
 * one: what balance_split would do as well, without looking at all cells. Such a leaf is hardly
 * changed again: the store may write it while the run goes on. */
static int balance_append(pv__tree_op *op, unsigned d, uint8_t *page, const pv__tcell *cell,
                          uint8_t *key, size_t *out_key_size, uint64_t *out_right, pv_error *err) {
    const unsigned count = pv__tnode_count(page);
    uint8_t *right = NULL;
    pv__tcell last;
    if (!pv__tnode_cell(page, count - 1, &last) || pv__bytes_order(last.key, cell->key) >= 0) {
        return pv__tnode_bad(op->tree, op->path[d].page_id, PV__BALANCE_DAMAGED, err);
    }
    const size_t size = pv__tree_separator(last.key, cell->key);
    memcpy(key, cell->key.data, size);
    PV_TRY(pv__tree_node_new(op, 0, out_right, &right, err));
    page[PV__TNODE_RUN] = 0;
    pv__put16(page + PV__TNODE_LAST, 0);
    right[PV__TNODE_RUN] = PV__TNODE_RUN_LONG; /* it goes on there */
    if (!pv__tnode_insert(right, 0, cell)) {
        return pv__tnode_bad(op->tree, *out_right, PV__BALANCE_DAMAGED, err);
    }
    pv__page_finished(op->tree->txn, op->path[d].page_id);
    *out_key_size = size;
    return 0;
}

/* Split the node at step d, which has no room for `cell` at i. The separator is copied to `key`
 * (PV__TREE_KEY_MAX bytes). */
static int balance_split(pv__tree_op *op, unsigned d, unsigned i, const pv__tcell *cell,
                         uint8_t *key, size_t *out_key_size, uint64_t *out_right, pv_error *err) {
    uint8_t copy[PV__TNODE_SIZE], *page = NULL, *right = NULL;
    const uint64_t id = op->path[d].page_id;
    PV_TRY(pv__tree_reshape(op, err));
    PV_TRY(pv__tree_edit(op, id, &page, err));
    if (i > 0 && pv__tnode_level(page) == 0 && i == pv__tnode_count(page) &&
        balance_wish(page, i) == i) {
        return balance_append(op, d, page, cell, key, out_key_size, out_right, err);
    }
    const char *what = pv__tnode_audit(page);
    if (what) {
        return pv__tnode_bad(op->tree, id, what, err);
    }
    memcpy(copy, page, PV__TNODE_SIZE);
    const unsigned level = pv__tnode_level(copy), count = pv__tnode_count(copy);
    if (i > count) {
        return pv__tnode_bad(op->tree, id, PV__BALANCE_DAMAGED, err);
    }
    const balance_list list = {copy, copy, i, i, count - i, cell, level};
    const unsigned m = balance_choose(&list, balance_wish(copy, i));
    const size_t size = m ? balance_separator(&list, m, key) : 0;
    if (size == 0) {
        return pv__tnode_bad(op->tree, id, PV__BALANCE_DAMAGED, err);
    }
    PV_TRY(pv__tree_node_new(op, level, out_right, &right, err));
    bool ok = balance_fill(right, &list, m, count + 1);
    for (unsigned j = count; ok && j > (i < m ? m - 1 : m); j--) {
        ok = pv__tnode_remove(page, j - 1);
    }
    if (!ok || (i < m && !pv__tnode_insert(page, i, cell))) {
        return pv__tnode_bad(op->tree, id, PV__BALANCE_DAMAGED, err);
    }
    /* The run goes on where the new cell is. */
    uint8_t *home = i < m ? page : right;
    page[PV__TNODE_RUN] = 0;
    pv__put16(page + PV__TNODE_LAST, 0);
    home[PV__TNODE_RUN] = copy[PV__TNODE_RUN];
    pv__put16(home + PV__TNODE_LAST, pv__get16(copy + PV__TNODE_LAST));
    pv__tnode_note(home, i);
    pv__put16(home + PV__TNODE_LAST, (uint16_t)(i < m ? i : i - m));
    *out_key_size = size;
    return 0;
}

int pv__tree_insert_at(pv__tree_op *op, unsigned d, unsigned i, const pv__tcell *cell,
                       pv_error *err) {
    uint8_t keys[2][PV__TREE_KEY_MAX], tail[PV__CELL_CHILD_TAIL];
    pv__tcell up = *cell;
    for (unsigned turn = 0;; turn ^= 1) {
        const uint64_t id = op->path[d].page_id;
        uint8_t *page = NULL;
        uint64_t right = 0;
        size_t key_size = 0;
        PV_TRY(pv__tree_edit(op, id, &page, err));
        if (pv__tcell_size(&up) + PV__CELL_SLOT <= pv__tnode_free(page)) {
            pv__tnode_note(page, i);
            return pv__tnode_insert(page, i, &up)
                       ? 0
                       : pv__tnode_bad(op->tree, id, PV__BALANCE_DAMAGED, err);
        }
        if (d == 0) {
            PV_TRY(balance_grow(op, err));
            d = 1;
        }
        /* up.key may lie in the other buffer, that of the level below. */
        PV_TRY(balance_split(op, d, i, &up, keys[turn], &key_size, &right, err));
        up.key = pv__bytes_of(keys[turn], key_size);
        pv__put64(tail, right);
        up.tail = pv__bytes_of(tail, sizeof(tail));
        up.is_long = false;
        d--;
        i = op->path[d].index + 1;
    }
}

/* ---- merge and even out ---------------------------------------------------------------------- */

/* Two neighbours: cells at - 1 and at of the parent at step `up`. */
typedef struct balance_pair {
    uint64_t parent, left, right;
    unsigned at, up, level;
    unsigned key_size; /* of the separator between them */
    uint8_t key[PV__TREE_KEY_MAX];
    unsigned left_used, right_used;
} balance_pair;

/* Look at the neighbours around cell `at` of the parent. */
static int balance_pair_load(pv__tree_op *op, unsigned up, unsigned at, balance_pair *pair,
                             pv_error *err) {
    const uint8_t *parent = NULL, *page = NULL;
    pv__tcell left, right;
    pair->parent = op->path[up].page_id;
    PV_TRY(pv__tnode_load(op->tree, pair->parent, -1, &parent, err));
    if (pv__tnode_level(parent) == 0 || at == 0 || at >= pv__tnode_count(parent) ||
        !pv__tnode_cell(parent, at - 1, &left) || !pv__tnode_cell(parent, at, &right)) {
        return pv__tnode_bad(op->tree, pair->parent, "a separator is damaged", err);
    }
    pair->up = up;
    pair->at = at;
    pair->level = pv__tnode_level(parent) - 1;
    pair->left = pv__tcell_child(&left);
    pair->right = pv__tcell_child(&right);
    pair->key_size = (unsigned)right.key.size;
    memcpy(pair->key, right.key.data, right.key.size);
    if (pair->left == pair->right) {
        return pv__tnode_bad(op->tree, pair->parent, "has the same child twice", err);
    }
    PV_TRY(pv__tnode_load(op->tree, pair->left, (int)pair->level, &page, err));
    pair->left_used = pv__tnode_used(page);
    PV_TRY(pv__tnode_load(op->tree, pair->right, (int)pair->level, &page, err));
    pair->right_used = pv__tnode_used(page);
    return 0;
}

static bool balance_pair_fits(const balance_pair *pair) {
    return pair->left_used + pair->right_used + (pair->level > 0 ? pair->key_size : 0) <=
           PV__TNODE_ROOM;
}

/* Append the right node to the left one, free it, and take its cell out of the parent. */
static int balance_merge(pv__tree_op *op, const balance_pair *pair, pv_error *err) {
    const uint8_t *right = NULL;
    uint8_t *left = NULL, *parent = NULL;
    PV_TRY(pv__tree_reshape(op, err));
    PV_TRY(pv__tree_edit(op, pair->left, &left, err));
    PV_TRY(pv__tnode_load(op->tree, pair->right, (int)pair->level, &right, err));
    const unsigned count = pv__tnode_count(left);
    for (unsigned j = 0; j < pv__tnode_count(right); j++) {
        pv__tcell cell;
        bool ok = pv__tnode_cell(right, j, &cell);
        if (ok && j == 0 && pair->level > 0) { /* what was minus infinity is the separator here */
            cell.key = pv__bytes_of(pair->key, pair->key_size);
        }
        if (!ok || !pv__tnode_insert(left, count + j, &cell)) {
            return pv__tnode_bad(op->tree, pair->right, PV__BALANCE_DAMAGED, err);
        }
    }
    left[PV__TNODE_RUN] = 0;
    PV_TRY(pv__page_free(op->tree->txn, pair->right, err));
    PV_TRY(pv__tree_edit(op, pair->parent, &parent, err));
    if (!pv__tnode_remove(parent, pair->at)) {
        return pv__tnode_bad(op->tree, pair->parent, "a separator is damaged", err);
    }
    return 0;
}

/* Both keep an equal share; the parent gets a new separator. */
static int balance_even(pv__tree_op *op, const balance_pair *pair, pv_error *err) {
    uint8_t copies[2][PV__TNODE_SIZE], key[PV__TREE_KEY_MAX], tail[PV__CELL_CHILD_TAIL];
    uint8_t *left = NULL, *right = NULL, *parent = NULL;
    pv__tcell middle;
    PV_TRY(pv__tree_reshape(op, err));
    PV_TRY(pv__tree_edit(op, pair->left, &left, err));
    PV_TRY(pv__tree_edit(op, pair->right, &right, err));
    memcpy(copies[0], left, PV__TNODE_SIZE);
    memcpy(copies[1], right, PV__TNODE_SIZE);
    balance_list list = {copies[0], copies[1],  pv__tnode_count(left), 0, pv__tnode_count(right),
                         NULL,      pair->level};
    if (pair->level > 0) {
        if (list.back_count == 0 || !pv__tnode_cell(copies[1], 0, &middle)) {
            return pv__tnode_bad(op->tree, pair->right, PV__BALANCE_DAMAGED, err);
        }
        middle.key = pv__bytes_of(pair->key, pair->key_size);
        list.middle = &middle;
        list.back_from = 1;
        list.back_count--;
    }
    const unsigned m = balance_choose(&list, 0);
    const size_t size = m ? balance_separator(&list, m, key) : 0;
    pv__tnode_init(left, pair->level);
    pv__tnode_init(right, pair->level);
    if (size == 0 || !balance_fill(left, &list, 0, m) ||
        !balance_fill(right, &list, m, balance_list_count(&list))) {
        return pv__tnode_bad(op->tree, pair->left, PV__BALANCE_DAMAGED, err);
    }
    PV_TRY(pv__tree_edit(op, pair->parent, &parent, err));
    if (!pv__tnode_remove(parent, pair->at)) {
        return pv__tnode_bad(op->tree, pair->parent, "a separator is damaged", err);
    }
    pv__put64(tail, pair->right);
    pv__tcell cell = {pv__bytes_of(key, size), pv__bytes_of(tail, sizeof(tail)), false};
    return pv__tree_insert_at(op, pair->up, pair->at, &cell, err);
}

/* The node at step d is too empty. *out_merged: its parent lost a cell. */
static int balance_fix(pv__tree_op *op, unsigned d, bool *out_merged, pv_error *err) {
    balance_pair pair;
    const uint8_t *parent = NULL;
    const unsigned at = op->path[d - 1].index;
    PV_TRY(pv__tnode_load(op->tree, op->path[d - 1].page_id, -1, &parent, err));
    const bool has_right = at + 1 < pv__tnode_count(parent);
    *out_merged = true;
    if (at > 0) {
        PV_TRY(balance_pair_load(op, d - 1, at, &pair, err));
        if (balance_pair_fits(&pair)) {
            return balance_merge(op, &pair, err);
        }
    }
    if (has_right || at == 0) { /* with neither neighbour the parent is damaged: said there */
        PV_TRY(balance_pair_load(op, d - 1, at + 1, &pair, err));
        if (balance_pair_fits(&pair)) {
            return balance_merge(op, &pair, err);
        }
    }
    *out_merged = false;
    return balance_even(op, &pair, err);
}

/* A root with one child takes over the child's content. */
static int balance_shorten(pv__tree_op *op, pv_error *err) {
    const uint64_t root_id = op->tree->root;
    const uint8_t *page = NULL;
    PV_TRY(pv__tnode_load(op->tree, root_id, -1, &page, err));
    while (pv__tnode_level(page) > 0 && pv__tnode_count(page) == 1) {
        uint8_t *root = NULL;
        pv__tcell cell;
        if (!pv__tnode_cell(page, 0, &cell)) {
            return pv__tnode_bad(op->tree, root_id, "a cell is damaged", err);
        }
        const uint64_t id = pv__tcell_child(&cell);
        const int level = (int)pv__tnode_level(page) - 1;
        PV_TRY(pv__tree_reshape(op, err));
        PV_TRY(pv__tree_edit(op, root_id, &root, err));
        PV_TRY(pv__tnode_load(op->tree, id, level, &page, err));
        uint32_t epoch = pv__get32(root + PV__TNODE_EPOCH);
        memcpy(root + PV__PAGE_HEAD, page + PV__PAGE_HEAD, PV__TNODE_SIZE - PV__PAGE_HEAD);
        pv__put32(root + PV__TNODE_EPOCH, epoch);
        PV_TRY(pv__page_free(op->tree->txn, id, err));
        page = root;
    }
    return 0;
}

int pv__tree_shrunk(pv__tree_op *op, unsigned d, pv_error *err) {
    for (; d > 0; d--) {
        const uint8_t *page = NULL;
        bool merged = false;
        PV_TRY(pv__tnode_load(op->tree, op->path[d].page_id, -1, &page, err));
        if (pv__tnode_used(page) >= PV__TNODE_LEAST) {
            return 0;
        }
        PV_TRY(balance_fix(op, d, &merged, err));
        if (!merged) {
            return 0;
        }
    }
    return balance_shorten(op, err);
}

#undef PV__BALANCE_DAMAGED
