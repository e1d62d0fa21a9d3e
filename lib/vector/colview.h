/* SPDX-License-Identifier: Apache-2.0 */
/* colview.h - rows of a column for whoever reads thousands of them in no order, as a graph walk
 * does. In one of two ways:
 *
 *      known   slot --(x magic)--> ordinal --> base[ordinal] --> row
 *      asked   slot --(x magic)--> ordinal --> groups[ordinal / 504] --> page id --> entry --> row
 *
 * Asked, the directory is followed once for 504 pages of rows, then a row costs an id from there
 * and a look at the page's translation entry. Known, the address of a page is remembered: 8 bytes a
 * page, filled as pages are met. A view is for many walks, of one transaction after the other: what
 * it remembers is good as long as their sight is the same (pv__sight, S14), and within one
 * transaction until that pauses or changes a page of the column. pv__colview_open sees to that.
 *
 * What comes from a stash is good until the next call.
 *
 * Identity of pages of rows is not compared again (V1): the page table vouches for them, and what
 * is read through a view is derived data that is verified before it counts.
 *
 * Threads: one view each; any number of views of one transaction at a time while nobody writes. */
#ifndef PV_VECTOR_COLVIEW_H
#define PV_VECTOR_COLVIEW_H

#include "store/peek.h"
#include "vector/coldir.h"

/* Rows that were read without their pages (store/piece.c), until the next that find no room. */
typedef struct pv__stash {
    pv__mem *mem;
    uint32_t *slots; /* `room` of them; NULL: nothing has been stashed */
    uint8_t *rows;
    uint8_t *scratch;
    size_t row_size, room, count;
} pv__stash;
PV_PRIVATE void pv__stash_done(pv__stash *stash);

/* What views that are used together remember. */
typedef struct pv__sights {
    pv__sight last;
    uint64_t number; /* of the sight; what was remembered under another one is void */
    unsigned times;  /* it was met in a row */
    bool moves;      /* of a write transaction: what it changes lies elsewhere then */
} pv__sights;

/* The transaction holds pointers now: is it the same sight as before? Once for each transaction,
 * and again after each pause. */
PV_PRIVATE void pv__sights_now(pv__sights *s, pv__txn *txn);
/* And the write transaction changes nothing before the next pv__sights_now. */
PV_PRIVATE void pv__sights_still(pv__sights *s);

typedef struct pv__colview {
    pv__column c;
    uint64_t magic; /* slot / rows_per_page = slot * magic >> shift, exact below 2^31 */
    uint32_t shift;
    uint32_t slots, ordinals; /* pages of rows that slots < `slots` have */
    uint32_t group_count;
    uint64_t sight; /* number; 0: none */
    pv__peek peek;
    const uint8_t **groups; /* ids of the pages of 504 ordinals each; NULL: not looked up yet */
    uintptr_t *base; /* where row 0 would be if the rows of all pages were as far apart as those of
                        one page; 0: not met yet. NULL: asked */
    size_t group_cap, base_cap;
    uintptr_t *base_room; /* behind `base`, whether in use or not */
    pv__stash *stash;     /* for rows of pages that are not in memory; NULL: their pages come */
} pv__colview;

PV_PRIVATE void pv__colview_done(pv__colview *v, pv__mem *mem);

/* Slots [0, slots) of c, as the transaction sees them now; s as pv__sights_now has left it. A view
 * that was zero or was open before, with the same `mem`. */
PV_PRIVATE int pv__colview_open(pv__colview *v, const pv__column *c, uint32_t slots,
                                const pv__sights *s, pv__mem *mem, pv_error *err);

/* pv__colview_row where an address is not known. */
PV_PRIVATE int pv__colview_find(pv__colview *v, uint32_t slot, const uint8_t **out_row,
                                pv_error *err);

/* The row of a slot < slots that has one; a page that is not there is PV_ERR_CORRUPT. */
static inline int pv__colview_row(pv__colview *v, uint32_t slot, const uint8_t **out_row,
                                  pv_error *err) {
    const uintptr_t *const base = v->base;
    if (PV_LIKELY(base != NULL)) {
        const uint32_t ordinal = (uint32_t)(slot * v->magic >> v->shift);
        PV_DEBUG_ASSERT(ordinal < v->ordinals);
        const uintptr_t at = base[ordinal];
        if (PV_LIKELY(at != 0)) {
            *out_row = (const uint8_t *)(at + (uintptr_t)slot * v->c.row_size);
            return 0;
        }
    }
    return pv__colview_find(v, slot, out_row, err);
}

/* Rows that will be asked for soon, of a view with a stash: memory is asked for all lines of those
 * that are known; those that are not in memory are read now, together, as far as the stash has
 * room. */
PV_PRIVATE int pv__colview_ahead(pv__colview *v, const uint32_t *slots, size_t n, pv_error *err);

/* n rows at once; memory is asked for all lines of each, so that all of them come at once. */
PV_PRIVATE int pv__colview_rows(pv__colview *v, const uint32_t *slots, size_t n,
                                const uint8_t **out_rows, pv_error *err);

#endif
