/* SPDX-License-Identifier: Apache-2.0 */
/* workspace.c - see workspace.h. */
#include "engine/workspace.h"

#define WORKSPACE_KEPT ((size_t)1 << 20) /* a larger block goes back after the call */

int pv__workspace_take(pv_db *db, pv__workspace **out, pv_error *err) {
    pv__mem *mem = &db->env->mem;
    pv__workspace *ws = pv__pool_take(&db->workspaces);
    if (!ws) {
        ws = pv__alloc_zero(mem, sizeof *ws);
        if (!ws) {
            return pv__err_nomem(err, sizeof *ws);
        }
        ws->mem = mem;
        pv__buf_init(&ws->keys, mem);
        pv__buf_init(&ws->rows, mem);
    }
    *out = ws;
    return 0;
}

static void workspace_drop_block(pv__workspace *ws) {
    pv__alloc_free_aligned(ws->mem, ws->block, ws->block_bytes, PV__WORKSPACE_ALIGN);
    ws->block = NULL;
    ws->block_bytes = 0;
}

void pv__workspace_give(pv_db *db, pv__workspace *ws) {
    if (!ws) {
        return;
    }
    if (ws->block_bytes > WORKSPACE_KEPT) {
        workspace_drop_block(ws);
    }
    if (ws->keys.cap > WORKSPACE_KEPT) {
        pv__buf_done(&ws->keys);
    }
    if (ws->rows.cap > WORKSPACE_KEPT) {
        pv__buf_done(&ws->rows);
    }
    if (!pv__pool_give(&db->workspaces, ws)) {
        pv__workspace_free(ws);
    }
}

void pv__workspace_free(pv__workspace *ws) {
    if (ws) {
        workspace_drop_block(ws);
        pv__buf_done(&ws->keys);
        pv__buf_done(&ws->rows);
        pv__parts_done(&ws->parts);
        pv__alloc_free(ws->mem, ws, sizeof *ws);
    }
}

int pv__workspace_room(pv__workspace *ws, size_t bytes, pv_error *err) {
    if (bytes <= ws->block_bytes) {
        return 0;
    }
    workspace_drop_block(ws);
    ws->block = pv__alloc_aligned(ws->mem, bytes, PV__WORKSPACE_ALIGN);
    if (!ws->block) {
        return pv__err_nomem(err, bytes);
    }
    ws->block_bytes = bytes;
    return 0;
}

/* Stamp of the version of a page that the transaction sees. */
static int workspace_stamp(pv__txn *txn, uint64_t page_id, uint64_t *out, pv_error *err) {
    const uint8_t *page;
    PV_TRY(pv__page_read(txn, page_id, PV__PAGE_ANY, &page, err));
    *out = pv__get64(page + PV__HEAD_STAMP);
    return 0;
}

static bool workspace_same(const pv__workspace *ws, pv__txn *txn, const char *name) {
    const pv__collection *c = &ws->parts.c;
    if (!ws->known || !name || strncmp(name, c->name, c->name_len) != 0 ||
        name[c->name_len] != '\0') {
        return false;
    }
    for (size_t i = 0; i < PV_COUNTOF(ws->seen) && ws->seen[i].page != 0; i++) {
        uint64_t stamp = 0;
        if (workspace_stamp(txn, ws->seen[i].page, &stamp, NULL) != 0 ||
            stamp != ws->seen[i].stamp) {
            return false;
        }
    }
    return true;
}

/* Remember which versions ws->parts was decoded from. Pages that cannot be read now are found by
 * who needs them: a collection with a damaged graph is searched without it. */
static void workspace_note(pv__workspace *ws, pv__txn *txn) {
    const pv__collection *c = &ws->parts.c;
    bool ok = pv__catalog_leaf(txn, c, &ws->seen[0].page, NULL) == 0;
    ws->seen[1].page = c->page;
    ws->seen[2].page = c->graph.page; /* 0 without */
    for (size_t i = 0; i < PV_COUNTOF(ws->seen) && ws->seen[i].page != 0 && ok; i++) {
        ok = workspace_stamp(txn, ws->seen[i].page, &ws->seen[i].stamp, NULL) == 0;
    }
    ws->known = ok;
}

int pv__workspace_open(pv__workspace *ws, pv__txn *txn, const char *name, pv_error *err) {
    const bool writes = pv__txn_is_write(txn);
    if (!writes && workspace_same(ws, txn, name)) {
        pv__parts_move(&ws->parts, txn);
        return 0;
    }
    ws->known = false;
    pv__parts_done(&ws->parts);
    PV_TRY(pv__parts_open(&ws->parts, txn, name, err));
    if (!writes) {
        workspace_note(ws, txn);
    }
    return 0;
}

#undef WORKSPACE_KEPT
