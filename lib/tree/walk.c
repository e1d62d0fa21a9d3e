/* SPDX-License-Identifier: Apache-2.0 */
/* walk.c - visiting every page of a tree: drop and check.
 *
 * Both walk with a path of page ids, re-reading a node whenever they come back to it, so that
 * they can pause between pages and need no memory that grows with the tree. A path ends after
 * PV__TREE_DEPTH_MAX levels (T3). Pages that damage made reachable twice cannot make the walk
 * explode: drop frees a page at its first visit and fails at the second; check descends only into
 * nodes whose keys lie in the range their parents allow, and no node lies in two ranges. */
#include "tree/op.h"

/* Drop. Nodes are freed after all below them. */

/* Free the overflow pages of a leaf's cells from *io_index on, up to one long value. *out_more:
 * there was one; the leaf must be read again. */
static int twalk_free_long(pv__tree_op *op, uint64_t page_id, const uint8_t *page,
                           unsigned *io_index, bool *out_more, pv_error *err) {
    *out_more = false;
    while (*io_index < pv__tnode_count(page)) {
        pv__tcell cell;
        pv__tree_long v;
        if (!pv__tnode_cell(page, (*io_index)++, &cell)) {
            return pv__tnode_bad(op->tree, page_id, "a cell is damaged", err);
        }
        if (cell.is_long) {
            PV_TRY(pv__long_of(op->tree, page_id, &cell, &v, err));
            *out_more = true;
            return pv__long_free(op, &v, true, err);
        }
    }
    return 0;
}

static int twalk_drop(pv__tree_op *op, pv_error *err) {
    int root_level = -1;
    op->path[0].page_id = op->tree->root;
    op->path[0].index = 0;
    for (op->depth = 1; op->depth > 0;) {
        pv__tree_step *at = &op->path[op->depth - 1];
        const uint8_t *page = NULL;
        const int level = root_level < 0 ? -1 : root_level - (int)op->depth + 1;
        bool more = false;
        PV_TRY(pv__txn_pause(op->tree->txn, err));
        PV_TRY(pv__tnode_load(op->tree, at->page_id, level, &page, err));
        if (root_level < 0) {
            root_level = (int)pv__tnode_level(page);
        }
        if (pv__tnode_level(page) == 0) {
            PV_TRY(twalk_free_long(op, at->page_id, page, &at->index, &more, err));
        } else if (at->index < pv__tnode_count(page)) {
            pv__tcell cell;
            if (!pv__tnode_cell(page, at->index++, &cell)) {
                return pv__tnode_bad(op->tree, at->page_id, "a cell is damaged", err);
            }
            op->path[op->depth].page_id = pv__tcell_child(&cell);
            op->path[op->depth].index = 0;
            op->depth++;
            more = true;
        }
        if (!more) {
            PV_TRY(pv__page_free(op->tree->txn, at->page_id, err));
            op->changed = true;
            op->depth--;
        }
    }
    return 0;
}

int pv__tree_drop(pv__tree *tree, pv_error *err) {
    pv__tree_op op = {.tree = tree};
    return pv__tree_op_end(&op, twalk_drop(&op, err));
}

/* ---- check ----------------------------------------------------------------------------------- */

typedef struct twalk_check {
    const pv__tree *tree;
    pv__check_fn fn;
    void *ctx;
    uint64_t bad, entries;
    unsigned depth;
    pv__tree_step path[PV__TREE_DEPTH_MAX];
} twalk_check;

static void twalk_report(twalk_check *w, uint64_t page_id, const char *what) {
    w->bad++;
    if (w->fn) {
        w->fn(w->ctx, page_id, w->tree->owner, what);
    }
}

/* A failed read is a finding when it says that bytes are damaged, else it ends the check. */
static int twalk_judge(twalk_check *w, uint64_t page_id, int rc, pv_error *local, pv_error *err) {
    if (rc == PV_ERR_CORRUPT || rc == PV_ERR_FORMAT || rc == PV_ERR_NOTFOUND) {
        twalk_report(w, page_id, local->message);
        return 0;
    }
    return rc ? pv__err(err, rc, "%s", local->message) : 0;
}

/* The bounds that the parents set for the node at the end of the path; data NULL: none. The
 * pointers are good until the next pause. */
static int twalk_bounds(const twalk_check *w, pv__bytes *out_low, pv__bytes *out_high,
                        pv_error *err) {
    pv__bytes low = {NULL, 0}, high = {NULL, 0};
    for (unsigned d = w->depth - 1; d-- > 0 && !(low.data && high.data);) {
        const pv__tree_step *at = &w->path[d];
        const uint8_t *page = NULL;
        pv__tcell cell;
        PV_TRY(pv__tnode_load(w->tree, at->page_id, -1, &page, err));
        if (!low.data && at->index > 0 && pv__tnode_cell(page, at->index, &cell)) {
            low = cell.key;
        }
        if (!high.data && at->index + 1 < pv__tnode_count(page) &&
            pv__tnode_cell(page, at->index + 1, &cell)) {
            high = cell.key;
        }
    }
    *out_low = low;
    *out_high = high;
    return 0;
}

/* Keys rise and lie within the bounds: NULL or what is wrong. The node was audited. A separator
 * equal to the lower bound would leave a child no range. */
static const char *twalk_order(const uint8_t *page, pv__bytes low, pv__bytes high) {
    const unsigned count = pv__tnode_count(page), inner = pv__tnode_level(page) > 0 ? 1 : 0;
    pv__tcell cell;
    pv__bytes before = {NULL, 0};
    for (unsigned i = inner; i < count; i++) {
        if (!pv__tnode_cell(page, i, &cell)) {
            return "a cell is damaged";
        }
        if (i > inner && pv__bytes_order(before, cell.key) >= 0) {
            return "keys are out of order";
        }
        if (i == inner && low.data) {
            int order = pv__bytes_order(cell.key, low);
            if (order < 0 || (order == 0 && inner)) {
                return "a key is below the range of the node";
            }
        }
        if (i == count - 1 && high.data && pv__bytes_order(cell.key, high) >= 0) {
            return "a key is above the range of the node";
        }
        before = cell.key;
    }
    return NULL;
}

/* The node at the end of the path, seen for the first time. *out_descend: its cells are sound. */
static int twalk_check_node(twalk_check *w, const uint8_t *page, bool *out_descend, pv_error *err) {
    const pv__tree_step *at = &w->path[w->depth - 1];
    pv__bytes low, high;
    const char *what = pv__tnode_audit(page);
    if (!what) {
        PV_TRY(twalk_bounds(w, &low, &high, err));
        what = twalk_order(page, low, high);
    }
    *out_descend = what == NULL;
    if (what) {
        twalk_report(w, at->page_id, what);
        return 0;
    }
    if (pv__tnode_count(page) == 0 && w->depth > 1) {
        twalk_report(w, at->page_id, "a leaf is empty");
    }
    if (pv__get16(page + PV__TNODE_ZERO) != 0) {
        twalk_report(w, at->page_id, "reserved bytes are not zero");
    }
    if (pv__tnode_level(page) == 0) {
        w->entries += pv__tnode_count(page);
    }
    return 0;
}

/* Verify the chains of the leaf's long values, one a call; *out_more as in twalk_free_long. */
static int twalk_check_long(twalk_check *w, const uint8_t *page, bool *out_more, pv_error *err) {
    pv__tree_step *at = &w->path[w->depth - 1];
    *out_more = false;
    while (at->index < pv__tnode_count(page)) {
        pv_error local = PV_ERROR_INIT;
        pv__tcell cell;
        pv__tree_long v;
        if (!pv__tnode_cell(page, at->index++, &cell) || !cell.is_long) {
            continue;
        }
        int rc = pv__long_of(w->tree, at->page_id, &cell, &v, &local);
        if (!rc) {
            rc = pv__long_read(w->tree, &v, NULL, &local);
        }
        *out_more = true;
        return twalk_judge(w, at->page_id, rc, &local, err);
    }
    return 0;
}

/* One step of the check: visit the node at the end of the path, go to its next child, or leave
 * it. *io_fresh: the node was not looked at yet. */
static int twalk_check_step(twalk_check *w, int *io_level, bool *io_fresh, pv_error *err) {
    pv__tree_step *at = &w->path[w->depth - 1];
    pv_error local = PV_ERROR_INIT;
    const uint8_t *page = NULL;
    bool more = true;
    int rc = pv__tnode_load(w->tree, at->page_id, *io_level, &page, &local);
    if (rc) {
        PV_TRY(twalk_judge(w, at->page_id, rc, &local, err));
        more = false;
    } else {
        *io_level = (int)pv__tnode_level(page);
    }
    if (more && *io_fresh) {
        PV_TRY(twalk_check_node(w, page, &more, err));
        *io_fresh = false;
        at->index = 0;
    } else if (more && *io_level > 0) { /* back from child at->index */
        at->index++;
    }
    if (more && *io_level == 0) {
        PV_TRY(twalk_check_long(w, page, &more, err));
    } else if (more && at->index < pv__tnode_count(page)) {
        pv__tcell cell = {{NULL, 0}, {NULL, 0}, false};
        (void)pv__tnode_cell(page, at->index, &cell); /* audited: sound */
        w->path[w->depth].page_id = pv__tcell_child(&cell);
        w->depth++;
        (*io_level)--;
        *io_fresh = true;
        return 0;
    } else {
        more = false;
    }
    if (!more) {
        w->depth--;
        (*io_level)++;
        *io_fresh = false;
    }
    return 0;
}

int pv__tree_check(pv__tree *tree, pv__check_fn fn, void *ctx, uint64_t *io_bad,
                   uint64_t *out_entries, pv_error *err) {
    twalk_check w = {.tree = tree, .fn = fn, .ctx = ctx, .depth = 1};
    int level = -1;
    bool fresh = true;
    w.path[0].page_id = tree->root;
    while (w.depth > 0) {
        PV_TRY(pv__txn_pause(tree->txn, err));
        PV_TRY(twalk_check_step(&w, &level, &fresh, err));
    }
    *io_bad += w.bad;
    *out_entries = w.entries;
    return 0;
}
