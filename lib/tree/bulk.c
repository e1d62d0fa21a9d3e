/* SPDX-License-Identifier: Apache-2.0 */
/* bulk.c - build a tree from ascending keys, bottom up: every node is written once.
 *
 *   level 2   [ root, grows at its right end .. ]
 *   level 1   finished finished [ open .. ]
 *   level 0   finished finished finished finished [ open leaf .. ] <- next key
 *
 * One node of each level is open, in memory. A full one gets its page, and its separator and page
 * id go into the open node above. At the end the open nodes are written too, the topmost one to
 * the root's page. A full inner node leaves its last child to the node that follows, which
 * therefore never has less than two (T2).
 *
 * Memory: one node and one separator a level. An error dooms the transaction. */
#include "tree/op.h"

/* The open node of one level. */
typedef struct tbulk_level {
    size_t key_size; /* the separator before this node; none before the first of its level */
    uint8_t key[PV__TREE_KEY_MAX];
    uint8_t page[PV__TNODE_SIZE];
} tbulk_level;

typedef struct tbulk {
    pv__tree_op op;
    pv__mem *mem;
    unsigned bytes_max; /* fill of a node */
    unsigned height;    /* levels so far */
    tbulk_level *levels[PV__TREE_DEPTH_MAX];
} tbulk;

static int tbulk_level_new(tbulk *b, pv_error *err) {
    if (b->height >= PV__TREE_DEPTH_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "tree of object %u is deeper than %u levels",
                       (unsigned)b->op.tree->owner, PV__TREE_DEPTH_MAX);
    }
    tbulk_level *l = pv__alloc_zero(b->mem, sizeof(*l));
    if (!l) {
        return pv__err_nomem(err, sizeof(*l));
    }
    pv__tnode_init(l->page, b->height);
    b->levels[b->height++] = l;
    return 0;
}

/* Give the open node of level n a page of its own. */
static int tbulk_write(tbulk *b, unsigned n, uint64_t *out_page_id, pv_error *err) {
    uint8_t *page = NULL;
    PV_TRY(pv__tree_node_new(&b->op, n, out_page_id, &page, err));
    memcpy(page + PV__PAGE_HEAD, b->levels[n]->page + PV__PAGE_HEAD,
           PV__TNODE_SIZE - PV__PAGE_HEAD);
    return 0;
}

/* Begin the next node of level n, after the separator `key`. */
static void tbulk_begin(tbulk *b, unsigned n, pv__bytes key) {
    tbulk_level *l = b->levels[n];
    l->key_size = key.size;
    memcpy(l->key, key.data, key.size);
    pv__tnode_init(l->page, n);
}

static int tbulk_append(tbulk *b, unsigned n, pv__bytes key, pv__bytes tail, bool is_long,
                        pv_error *err) {
    uint8_t *page = b->levels[n]->page;
    pv__tcell cell = {key, tail, is_long};
    PV_ASSERT(pv__tnode_insert(page, pv__tnode_count(page), &cell));
    return 0;
}

static bool tbulk_is_full(const tbulk *b, unsigned n, size_t cell_size) {
    const uint8_t *page = b->levels[n]->page;
    const unsigned least = n > 0 ? 3 : 1;
    return pv__tnode_count(page) >= least &&
           pv__tnode_used(page) + cell_size + PV__CELL_SLOT > b->bytes_max;
}

/* The open node of level n - 1 is complete: write it and refer to it from level n, upwards as
 * far as nodes are full. */
static int tbulk_finish(tbulk *b, unsigned n, pv_error *err) {
    uint64_t id = 0, above = 0;
    uint8_t tail[PV__CELL_CHILD_TAIL], moved_key[PV__TREE_KEY_MAX];
    pv__tcell last;
    PV_TRY(tbulk_write(b, n - 1, &id, err));
    if (n == b->height) {
        PV_TRY(tbulk_level_new(b, err));
    }
    const tbulk_level *below = b->levels[n - 1];
    pv__bytes key = pv__bytes_of(below->key, below->key_size);
    pv__put64(tail, id);
    uint8_t *page = b->levels[n]->page;
    if (tbulk_is_full(b, n, PV__CELL_HEAD + key.size + sizeof(tail))) {
        const unsigned count = pv__tnode_count(page);
        PV_ASSERT(pv__tnode_cell(page, count - 1, &last));
        const size_t moved_size = last.key.size;
        memcpy(moved_key, last.key.data, moved_size);
        above = pv__tcell_child(&last);
        PV_ASSERT(pv__tnode_remove(page, count - 1));
        PV_TRY(tbulk_finish(b, n + 1, err));
        tbulk_begin(b, n, pv__bytes_of(moved_key, moved_size));
        uint8_t moved_tail[PV__CELL_CHILD_TAIL];
        pv__put64(moved_tail, above);
        PV_TRY(tbulk_append(b, n, pv__bytes_of(NULL, 0),
                            pv__bytes_of(moved_tail, sizeof(moved_tail)), false, err));
    }
    if (pv__tnode_count(page) == 0) { /* the first child's separator is the node's own */
        key.size = 0;
    }
    return tbulk_append(b, n, key, pv__bytes_of(tail, sizeof(tail)), false, err);
}

static int tbulk_add(tbulk *b, pv__bytes key, pv__bytes value, pv_error *err) {
    uint8_t ref[PV__CELL_LONG_TAIL], *page = b->levels[0]->page;
    const unsigned count = pv__tnode_count(page);
    pv__tcell last = {{NULL, 0}, {NULL, 0}, false};
    PV_TRY(pv__tree_check_key(key, err));
    if (value.size > PV__TREE_VALUE_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "tree value has %zu bytes, at most %u are allowed",
                       value.size, PV__TREE_VALUE_MAX);
    }
    PV_ASSERT(count == 0 || pv__tnode_cell(page, count - 1, &last));
    if (count > 0 && pv__bytes_order(last.key, key) >= 0) {
        return pv__err(err, PV_ERR_MISUSE, "keys for a bulk load are not in ascending order");
    }
    const bool is_long = key.size + value.size > PV__CELL_INLINE_MAX;
    if (is_long) {
        pv__tree_long v;
        PV_TRY(pv__long_new(&b->op, key, value, &v, err));
        pv__long_tail(&v, ref);
        value = pv__bytes_of(ref, sizeof(ref));
    }
    if (tbulk_is_full(b, 0, PV__CELL_HEAD + key.size + value.size)) {
        const size_t size = pv__tree_separator(last.key, key);
        PV_TRY(tbulk_finish(b, 1, err));
        tbulk_begin(b, 0, pv__bytes_of(key.data, size));
    }
    return tbulk_append(b, 0, key, value, is_long, err);
}

/* Write what is still open. */
static int tbulk_end(tbulk *b, pv_error *err) {
    uint8_t *root = NULL;
    unsigned n = 1;
    for (; n < b->height; n++) {
        PV_TRY(tbulk_finish(b, n, err));
    }
    PV_TRY(pv__tree_reshape(&b->op, err));
    PV_TRY(pv__tree_edit(&b->op, b->op.tree->root, &root, err));
    uint32_t epoch = pv__get32(root + PV__TNODE_EPOCH);
    memcpy(root + PV__PAGE_HEAD, b->levels[n - 1]->page + PV__PAGE_HEAD,
           PV__TNODE_SIZE - PV__PAGE_HEAD);
    pv__put32(root + PV__TNODE_EPOCH, epoch);
    return 0;
}

static int tbulk_run(tbulk *b, pv__tree_source next, void *ctx, pv_error *err) {
    const uint8_t *root = NULL;
    PV_TRY(pv__tnode_load(b->op.tree, b->op.tree->root, -1, &root, err));
    if (pv__tnode_level(root) > 0 || pv__tnode_count(root) > 0) {
        return pv__err(err, PV_ERR_MISUSE, "bulk load into a tree that is not empty");
    }
    PV_TRY(tbulk_level_new(b, err));
    for (;;) {
        pv__bytes key = {NULL, 0}, value = {NULL, 0};
        bool end = false;
        PV_TRY(pv__txn_pause(b->op.tree->txn, err));
        PV_TRY(next(ctx, &key, &value, &end, err));
        if (end) {
            return tbulk_end(b, err);
        }
        PV_TRY(tbulk_add(b, key, value, err));
    }
}

int pv__tree_bulk_load(pv__tree *tree, pv__tree_source next, void *ctx, unsigned fill_percent,
                       pv_error *err) {
    tbulk b = {.op = {.tree = tree}, .mem = pv__txn_mem(tree->txn)};
    if (fill_percent < 40 || fill_percent > 100) {
        return pv__err(err, PV_ERR_MISUSE, "fill of %u percent is not within 40 and 100",
                       fill_percent);
    }
    b.bytes_max = PV__TNODE_ROOM * fill_percent / 100;
    int rc = tbulk_run(&b, next, ctx, err);
    while (b.height > 0) {
        b.height--;
        pv__alloc_free(b.mem, b.levels[b.height], sizeof(tbulk_level));
    }
    return pv__tree_op_end(&b.op, rc);
}
