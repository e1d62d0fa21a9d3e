/* SPDX-License-Identifier: Apache-2.0 */
/* colview.h - rows of a column for whoever reads thousands of them in no order, as a graph walk
 * does: the directory is followed once for 504 pages of rows, then a row costs a multiplication,
 * an id from the directory and a look at the page's translation entry.
 *
 *      slot --(x magic)--> ordinal --groups[ordinal / 504]--> page id --> page --> row
 *
 * The view holds pointers into directory pages: it is good until the transaction pauses, changes a
 * page of the column's directory or ends; then pv__colview_reset. Pages of rows are not held.
 * Identity of pages of rows is not compared again (V1): the page table vouches for them, and what
 * is read through a view is derived data that is verified before it counts.
 *
 * Threads: one view each; any number of views of one transaction at a time while nobody writes. */
#ifndef PV_VECTOR_COLVIEW_H
#define PV_VECTOR_COLVIEW_H

#include "store/peek.h"
#include "vector/coldir.h"

typedef struct pv__colview {
    pv__column c;
    uint64_t magic; /* slot / rows_per_page = slot * magic >> shift, exact below 2^31 */
    uint32_t shift;
    uint32_t ordinals; /* pages of rows that slots < `slots` have */
    uint32_t group_count;
    pv__peek peek;
    const uint8_t **groups; /* ids of the pages of 504 ordinals each; NULL: not looked up yet */
} pv__colview;

/* How many groups a view of slots [0, slots) needs. */
PV_PRIVATE uint32_t pv__colview_groups(const pv__column *c, uint32_t slots);
/* groups: the caller's array of that many, which outlives the view. */
PV_PRIVATE void pv__colview_init(pv__colview *v, const pv__column *c, uint32_t slots,
                                 const uint8_t **groups);
PV_PRIVATE void pv__colview_reset(pv__colview *v);

/* pv__colview_row where a look is not enough. */
PV_PRIVATE int pv__colview_find(pv__colview *v, uint32_t slot, const uint8_t **out_row,
                                pv_error *err);

/* The row of a slot < slots that has one; a page that is not there is PV_ERR_CORRUPT. */
static inline int pv__colview_row(pv__colview *v, uint32_t slot, const uint8_t **out_row,
                                  pv_error *err) {
    const uint32_t ordinal = (uint32_t)(slot * v->magic >> v->shift);
    const uint32_t group = ordinal / PV__COLDIR_FANOUT;
    PV_DEBUG_ASSERT(ordinal < v->ordinals);
    const uint8_t *const ids = v->groups[group];
    if (PV_LIKELY(ids != NULL)) {
        const size_t at = (size_t)ordinal - (size_t)group * PV__COLDIR_FANOUT;
        const uint8_t *page = pv__page_peek(&v->peek, pv__get64(ids + 8 * at));
        if (PV_LIKELY(page != NULL)) {
            *out_row = page + PV__PAGE_HEAD +
                       (size_t)(slot - ordinal * v->c.rows_per_page) * v->c.row_size;
            return 0;
        }
    }
    return pv__colview_find(v, slot, out_row, err);
}

/* n rows at once; memory is asked for all lines of each, so that all of them come at once. */
PV_PRIVATE int pv__colview_rows(pv__colview *v, const uint32_t *slots, size_t n,
                                const uint8_t **out_rows, pv_error *err);

#endif
