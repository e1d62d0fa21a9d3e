/* SPDX-License-Identifier: Apache-2.0 */
/* drop.c - giving the pages of a graph back: all at once, or a few at a time.
 *
 *      at = column << 32 | ordinal of its next page      columns, each with its directory; then the
 *                                                        tree of shared nodes and the graph's page
 *
 * What was dropped is not looked at again: only the graph's page is read each time, and it is the
 * last to go. */
#include "ann/internal.h"

#define DROP_RUN 64u

/* Pages of rows from *io_ordinal on. */
static int drop_rows(const pv__column *c, uint32_t *io_ordinal, uint32_t *io_pages, pv_error *err) {
    uint64_t ids[DROP_RUN];
    if (*io_ordinal > PV__SLOTS_PER_COLLECTION_MAX / c->rows_per_page) {
        return pv__err(err, PV_ERR_CORRUPT, "wrong page count in a column of object %u",
                       (unsigned)c->owner);
    }
    PV_TRY(pv__column_page_ids(c, *io_ordinal, DROP_RUN, ids, err));
    for (uint32_t i = 0; i<DROP_RUN && * io_pages> 0; i++) {
        if (ids[i] != 0) {
            PV_TRY(pv__column_page_free(c, *io_ordinal, err));
            PV_TRY(pv__txn_pause(c->txn, err));
            --*io_pages;
        }
        ++*io_ordinal;
    }
    return 0;
}

static int drop_column(const pv__graph *g, uint32_t column, uint32_t *io_ordinal,
                       uint32_t *io_pages, bool *out_done, pv_error *err) {
    pv__column c;
    uint32_t left = 0;
    *out_done = pv__graph_column_root(g, column) == 0;
    if (*out_done) {
        return 0;
    }
    PV_TRY(pv__graph_column_open(g, column, &c, err));
    PV_TRY(pv__column_page_count(&c, &left, err));
    if (left > 0) {
        return drop_rows(&c, io_ordinal, io_pages, err);
    }
    *out_done = true;
    *io_pages -= 1;
    return pv__column_drop(&c, err);
}

static int drop_some(pv__graph *g, uint64_t *io_at, uint32_t pages, bool *out_done, pv_error *err) {
    *out_done = false;
    while (pages > 0 && *io_at >> 32 < PV__GRAPH_COLUMNS) {
        const uint32_t column = (uint32_t)(*io_at >> 32);
        uint32_t ordinal = (uint32_t)*io_at;
        bool done = false;
        PV_TRY(drop_column(g, column, &ordinal, &pages, &done, err));
        *io_at = done ? (uint64_t)(column + 1) << 32 : (uint64_t)column << 32 | ordinal;
    }
    if (pages == 0) {
        return 0;
    }
    if (g->meta.dups_root != 0) {
        pv__tree dups = {g->txn, g->meta.dups_root, g->owner};
        PV_TRY(pv__tree_drop(&dups, err));
    }
    *out_done = true;
    return pv__page_free(g->txn, g->page, err);
}

int pv__graph_drop_some(pv__txn *txn, uint64_t page, uint32_t owner, const pv__graph_space *space,
                        uint64_t *io_at, uint32_t pages, bool *out_done, pv_error *err) {
    pv__graph g;
    PV_TRY(pv__graph_open_meta(&g, txn, page, owner, space, 0, err));
    return drop_some(&g, io_at, pages, out_done, err);
}

int pv__graph_drop(pv__graph *g, pv_error *err) {
    uint64_t at = 0;
    bool done = false;
    return drop_some(g, &at, UINT32_MAX, &done, err);
}

#undef DROP_RUN
