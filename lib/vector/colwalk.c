/* SPDX-License-Identifier: Apache-2.0 */
/* colwalk.c - what visits every page of a column: drop and check. Both hold no pointer while they
 * pause, so that memory stays bounded whatever the column's size; their depth is that of the
 * directory, at most 4.
 *
 * Not here: finding one page (coldir.c). */
#include "vector/coldir.h"

/* A page of the directory on the way down. Level 1 has pages of rows below it. */
typedef struct colwalk_node {
    uint64_t page_id;
    uint32_t index;
    unsigned level;
    bool root;
} colwalk_node;

static int colwalk_page(const pv__column *c, const colwalk_node *n, const uint8_t **out_page,
                        pv_error *err) {
    return n->root ? pv__coldir_root(c, out_page, err)
                   : pv__coldir_node(c, n->page_id, n->level, n->index, out_page, err);
}

/* First entry >= *io_at that is set; *out_id 0 at the end. */
static int colwalk_next(const pv__column *c, const colwalk_node *n, uint32_t *io_at,
                        uint64_t *out_id, pv_error *err) {
    const uint8_t *page;
    PV_TRY(colwalk_page(c, n, &page, err));
    const uint8_t *ids = page + (n->root ? PV__COLDIR_ROOT_IDS : PV__COLDIR_NODE_IDS);
    const uint32_t count = n->root ? PV__COLDIR_ROOT_FANOUT : PV__COLDIR_FANOUT;
    uint64_t id = 0;
    while (*io_at < count && (id = pv__get64(ids + (size_t)8 * *io_at)) == 0) {
        ++*io_at;
    }
    *out_id = id;
    return 0;
}

static colwalk_node colwalk_child(const colwalk_node *n, uint32_t at, uint64_t id) {
    const colwalk_node child = {id, n->index * PV__COLDIR_FANOUT + at, n->level - 1, false};
    return child;
}

static int colwalk_root(const pv__column *c, colwalk_node *out, pv_error *err) {
    const uint8_t *page;
    PV_TRY(pv__coldir_root(c, &page, err));
    out->page_id = c->root;
    out->index = 0;
    out->level = page[PV__COLDIR_LEVEL];
    out->root = true;
    return 0;
}

/* ---- drop ---------------------------------------------------------------------------------- */

static int colwalk_drop(const pv__column *c, const colwalk_node *n, pv_error *err) {
    uint64_t id;
    for (uint32_t at = 0;; at++) {
        PV_TRY(colwalk_next(c, n, &at, &id, err));
        if (id == 0) {
            break;
        }
        if (n->level == 1) {
            PV_TRY(pv__page_free(c->txn, id, err));
        } else {
            const colwalk_node child = colwalk_child(n, at, id);
            PV_TRY(colwalk_drop(c, &child, err));
        }
        PV_TRY(pv__txn_pause(c->txn, err));
    }
    return pv__page_free(c->txn, n->page_id, err);
}

int pv__column_drop(const pv__column *c, pv_error *err) {
    colwalk_node root;
    PV_TRY(colwalk_root(c, &root, err));
    const int rc = colwalk_drop(c, &root, err);
    if (rc) {
        pv__txn_doom(c->txn, rc);
    }
    return rc;
}

/* ---- check --------------------------------------------------------------------------------- */

typedef struct colwalk_check {
    const pv__column *c;
    pv__check_fn fn;
    void *ctx;
    uint64_t *io_bad;
    uint64_t pages; /* of rows, seen */
} colwalk_check;

static void colwalk_found(colwalk_check *k, uint64_t page_id, const char *what) {
    ++*k->io_bad;
    if (k->fn) {
        k->fn(k->ctx, page_id, k->c->owner, what);
    }
}

/* Damage is a finding; everything else ends the walk. */
static int colwalk_judge(colwalk_check *k, int rc, uint64_t page_id, pv_error *found,
                         pv_error *err) {
    if (rc == PV_ERR_CORRUPT || rc == PV_ERR_FORMAT) {
        colwalk_found(k, page_id, found->message);
        return 0;
    }
    if (rc && err) {
        *err = *found;
    }
    return rc;
}

static int colwalk_check_rows(colwalk_check *k, uint64_t id, uint32_t ordinal, pv_error *err) {
    pv_error found = PV_ERROR_INIT;
    const uint8_t *page;
    k->pages++;
    const int rc = pv__coldir_rows(k->c, id, ordinal, &page, &found);
    if (rc == 0) {
        const size_t end = k->c->front + (size_t)k->c->rows_per_page * k->c->row_size;
        for (size_t i = end; i < pv__page_size(page); i++) {
            if (page[i]) {
                colwalk_found(k, id, "bytes behind the last row of a page");
                break;
            }
        }
    }
    return colwalk_judge(k, rc, id, &found, err);
}

static int colwalk_check_node(colwalk_check *k, const colwalk_node *n, pv_error *err) {
    uint64_t id;
    for (uint32_t at = 0;; at++) {
        pv_error found = PV_ERROR_INIT;
        const int rc = colwalk_next(k->c, n, &at, &id, &found);
        if (rc) {
            return colwalk_judge(k, rc, n->page_id, &found, err);
        }
        if (id == 0) {
            return 0;
        }
        const colwalk_node child = colwalk_child(n, at, id);
        if (n->level == 1) {
            PV_TRY(colwalk_check_rows(k, id, child.index, err));
        } else {
            PV_TRY(colwalk_check_node(k, &child, err));
        }
        PV_TRY(pv__txn_pause(k->c->txn, err));
    }
}

int pv__column_check(const pv__column *c, pv__check_fn fn, void *ctx, uint64_t *io_bad,
                     pv_error *err) {
    colwalk_check k = {c, fn, ctx, io_bad, 0};
    colwalk_node root;
    pv_error found = PV_ERROR_INIT;
    uint32_t count = 0;
    int rc = colwalk_root(c, &root, &found);
    if (rc) {
        return colwalk_judge(&k, rc, c->root, &found, err);
    }
    const uint64_t bad = *io_bad;
    PV_TRY(colwalk_check_node(&k, &root, err));
    PV_TRY(pv__column_page_count(c, &count, err));
    if (*io_bad == bad && count != k.pages) { /* behind damage pages are missed */
        colwalk_found(&k, c->root, "page count in the root of a column is wrong");
    }
    return 0;
}
