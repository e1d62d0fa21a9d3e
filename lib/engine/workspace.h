/* SPDX-License-Identifier: Apache-2.0 */
/* workspace.h - what one search at a time works with, kept by the database between calls, so that a
 * search that is like the one before allocates nothing and decodes nothing:
 *
 *      block   vectors, prepared queries, heaps, hits
 *      keys    ids of an answer        rows    rows too long for a page
 *      parts   the collection that was searched last, decoded
 *
 * Invariant E7: `parts` says what is decoded from the versions of the pages `seen`: the leaf of the
 * catalogue with its record, its own page, the page of its graph. A version is known by page and
 * stamp, so a transaction that finds the same stamps there takes `parts` over. What else opening
 * reads, shapes of columns, does not change while those stay. Write transactions change pages under
 * one stamp and read everything anew. */
#ifndef PV_ENGINE_WORKSPACE_H
#define PV_ENGINE_WORKSPACE_H

#include "engine/db.h"
#include "engine/parts.h"

#define PV__WORKSPACE_ALIGN 64u

typedef struct pv__workspace {
    pv__mem *mem;
    uint8_t *block;
    size_t block_bytes;
    pv__buf keys, rows;
    pv__parts parts;
    bool known; /* E7 */
    struct {
        uint64_t page, stamp;
    } seen[3];
} pv__workspace;

PV_PRIVATE int pv__workspace_take(pv_db *db, pv__workspace **out, pv_error *err);
PV_PRIVATE void pv__workspace_give(pv_db *db, pv__workspace *ws); /* NULL is fine */
PV_PRIVATE void pv__workspace_free(pv__workspace *ws);            /* NULL is fine */
/* ws->parts for this transaction; as pv__parts_open. No pv__parts_done. */
PV_PRIVATE int pv__workspace_open(pv__workspace *ws, pv__txn *txn, const char *name, pv_error *err);
/* At least so many bytes of memory at ws->block; what was there is gone. */
PV_PRIVATE int pv__workspace_room(pv__workspace *ws, size_t bytes, pv_error *err);

#endif
