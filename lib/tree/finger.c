/* SPDX-License-Identifier: Apache-2.0 */
/* finger.c - the leaf of the last key, remembered (tree.h).
 *
 *      parent    [ .. | low | high | .. ]        keys in [low, high) belong to this leaf as long as
 *                         |                      the tree has the shape it had: the root's epoch
 *      leaf             [ k k k k . ]            says so
 *                               ^ next key?
 *
 * What the way down would find is found without it, so that a change through a finger leaves the
 * same bytes as one without.
 *
 * Not here: get and put (tree.c). */
#include "tree/op.h"

bool pv__finger_covers(const pv__finger *f, pv__bytes key) {
    return (!f->bounded_below || pv__bytes_order(pv__bytes_of(f->low, f->low_size), key) <= 0) &&
           (!f->bounded_above || pv__bytes_order(key, pv__bytes_of(f->high, f->high_size)) < 0);
}

/* The separators around the leaf at the end of the finger's path: the nearest ones above it. */
static int finger_bounds(const pv__tree *tree, pv__finger *f, pv_error *err) {
    f->bounded_below = f->bounded_above = false;
    for (unsigned d = f->depth - 1; d-- > 0 && !(f->bounded_below && f->bounded_above);) {
        const pv__tree_step *at = &f->path[d];
        const uint8_t *page = NULL;
        pv__tcell cell;
        PV_TRY(pv__tnode_load(tree, at->page_id, -1, &page, err));
        if (!f->bounded_below && at->index > 0 && pv__tnode_cell(page, at->index, &cell)) {
            f->bounded_below = true;
            f->low_size = (uint16_t)cell.key.size;
            memcpy(f->low, cell.key.data, cell.key.size);
        }
        if (!f->bounded_above && at->index + 1 < pv__tnode_count(page)) {
            if (!pv__tnode_cell(page, at->index + 1, &cell)) {
                return pv__tnode_bad(tree, at->page_id, "a separator is damaged", err);
            }
            f->bounded_above = true;
            f->high_size = (uint16_t)cell.key.size;
            memcpy(f->high, cell.key.data, cell.key.size);
        }
    }
    return 0;
}

static int finger_take(const pv__tree *tree, pv__finger *f, uint32_t epoch,
                       const pv__tree_step *path, unsigned depth, pv_error *err) {
    f->depth = 0;
    memcpy(f->path, path, depth * sizeof *path);
    f->depth = depth;
    f->epoch = epoch;
    int rc = finger_bounds(tree, f, err);
    if (rc) {
        f->depth = 0;
    }
    return rc;
}

int pv__finger_descend(const pv__tree *tree, pv__finger *finger, pv__bytes key, pv__tree_step *path,
                       unsigned *out_depth, const uint8_t **out_leaf, bool *out_found,
                       pv_error *err) {
    if (!finger) {
        return pv__tree_descend(tree, key, path, out_depth, out_leaf, out_found, err);
    }
    const uint8_t *root = NULL, *leaf = NULL;
    PV_TRY(pv__tnode_load(tree, tree->root, -1, &root, err));
    const uint32_t epoch = pv__get32(root + PV__TNODE_EPOCH);
    if (finger->depth == 0 || finger->epoch != epoch || !pv__finger_covers(finger, key)) {
        PV_TRY(pv__tree_descend(tree, key, path, out_depth, out_leaf, out_found, err));
        return finger_take(tree, finger, epoch, path, *out_depth, err);
    }
    pv__tree_step *at = &finger->path[finger->depth - 1];
    unsigned index = 0;
    bool found = false;
    PV_TRY(pv__tnode_load(tree, at->page_id, 0, &leaf, err));
    if (PV_UNLIKELY(!pv__tnode_find_near(leaf, key, at->index, &index, &found))) {
        return pv__tnode_bad(tree, at->page_id, "a cell is damaged", err);
    }
    at->index = index;
    memcpy(path, finger->path, finger->depth * sizeof *path);
    *out_depth = finger->depth;
    *out_leaf = leaf;
    *out_found = found;
    return 0;
}
