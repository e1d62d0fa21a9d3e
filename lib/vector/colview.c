/* SPDX-License-Identifier: Apache-2.0 */
/* colview.c - the slow half of colview.h: finding the ids of 504 pages of rows.
 *
 * A root of level 1 is its own and only group. Below a higher root a group is a node of level 1;
 * one that is not there gives a group of zero ids, which no page has. */
#include "vector/colview.h"

static const uint8_t colview_none[8 * PV__COLDIR_FANOUT];

uint32_t pv__colview_groups(const pv__column *c, uint32_t slots) {
    return slots / c->rows_per_page / PV__COLDIR_FANOUT + 1;
}

void pv__colview_init(pv__colview *v, const pv__column *c, uint32_t slots, const uint8_t **groups) {
    /* Granlund and Montgomery (1994): 31-bit dividends need a multiplier of 32 bits. */
    uint32_t log2 = 0;
    while ((UINT64_C(1) << log2) < c->rows_per_page) {
        log2++;
    }
    v->c = *c;
    v->shift = 31 + log2;
    v->magic = ((UINT64_C(1) << v->shift) + c->rows_per_page - 1) / c->rows_per_page;
    v->peek = pv__peek_of(c->txn);
    v->groups = groups;
    v->ordinals = (uint32_t)(((uint64_t)slots + c->rows_per_page - 1) / c->rows_per_page);
    v->group_count = pv__colview_groups(c, slots);
    pv__colview_reset(v);
}

void pv__colview_reset(pv__colview *v) { memset(v->groups, 0, v->group_count * sizeof *v->groups); }

static int colview_group(pv__colview *v, uint32_t group, pv_error *err) {
    const uint8_t *page;
    PV_TRY(pv__coldir_root(&v->c, &page, err));
    unsigned level = page[PV__COLDIR_LEVEL];
    if (level == 1) {
        if (v->ordinals > PV__COLDIR_ROOT_FANOUT) { /* it has 496 ids: reading on is not allowed */
            return pv__err(err, PV_ERR_CORRUPT, "page %llu: directory of object %u is too small",
                           (unsigned long long)v->c.root, (unsigned)v->c.owner);
        }
        v->groups[group] = page + PV__COLDIR_ROOT_IDS;
        return 0;
    }
    uint32_t span = 1; /* groups below an entry */
    for (unsigned l = 2; l < level; l++) {
        span *= PV__COLDIR_FANOUT;
    }
    uint32_t at = group / span;
    uint64_t id = at < PV__COLDIR_ROOT_FANOUT ? pv__get64(page + PV__COLDIR_ROOT_IDS + 8 * at) : 0;
    while (id != 0 && --level > 1) {
        PV_TRY(pv__coldir_node(&v->c, id, level, group / span, &page, err));
        span /= PV__COLDIR_FANOUT;
        id = pv__get64(page + PV__COLDIR_NODE_IDS + 8 * (group / span % PV__COLDIR_FANOUT));
    }
    if (id == 0) {
        v->groups[group] = colview_none;
        return 0;
    }
    PV_TRY(pv__coldir_node(&v->c, id, 1, group, &page, err));
    v->groups[group] = page + PV__COLDIR_NODE_IDS;
    return 0;
}

/* Groups that are looked up with the first one: their pages come together. */
#define COLVIEW_AHEAD 64u
#define COLVIEW_ASK 32u /* pages that the disk is asked for at once */

/* The groups below a root of level 2 are its entries: memory is asked for all of them at once. */
static int colview_group_first(pv__colview *v, uint32_t group, pv_error *err) {
    const uint8_t *root;
    PV_TRY(pv__coldir_root(&v->c, &root, err));
    const uint32_t count = PV_MIN(v->group_count, COLVIEW_AHEAD);
    if (root[PV__COLDIR_LEVEL] == 2 && group < count) {
        for (uint32_t i = 0; i < count; i++) {
            const uint64_t id = pv__get64(root + PV__COLDIR_ROOT_IDS + 8 * i);
            const uint8_t *page = v->groups[i] ? NULL : pv__page_peek(&v->peek, id);
            if (page && pv__page_kind(page) == PV__PAGE_COLDIR &&
                pv__page_owner(page) == v->c.owner &&
                pv__page_ordinal(page) == pv__coldir_node_ordinal(&v->c, 1, i)) {
                v->groups[i] = page + PV__COLDIR_NODE_IDS;
            }
        }
    }
    return v->groups[group] ? 0 : colview_group(v, group, err);
}

int pv__colview_find(pv__colview *v, uint32_t slot, const uint8_t **out_row, pv_error *err) {
    const uint32_t ordinal = (uint32_t)(slot * v->magic >> v->shift);
    const uint32_t group = ordinal / PV__COLDIR_FANOUT;
    const uint8_t *page;
    if (!v->groups[group]) {
        PV_TRY(colview_group_first(v, group, err));
    }
    const uint64_t id = pv__get64(v->groups[group] + 8 * (ordinal % PV__COLDIR_FANOUT));
    page = pv__page_peek(&v->peek, id);
    if (!page) {
        PV_TRY(pv__page_read(v->c.txn, id, PV__PAGE_ANY, &page, err));
    }
    *out_row = page + PV__PAGE_HEAD + (size_t)(slot - ordinal * v->c.rows_per_page) * v->c.row_size;
    return 0;
}

static inline void colview_expect(const uint8_t *row, size_t size) {
    for (size_t i = 0; i < size; i += 64) {
        PV_PREFETCH(row + i);
    }
    PV_PREFETCH(row + size - 1);
}

/* One page is not in memory: those of the rows behind it are asked of the disk before it is read,
 * so that they come together. */
static void colview_ask(pv__colview *v, const uint32_t *slots, size_t n) {
    uint64_t ids[COLVIEW_ASK];
    size_t count = 0;
    for (size_t i = 0; i < n && count < COLVIEW_ASK; i++) {
        const uint32_t ordinal = (uint32_t)(slots[i] * v->magic >> v->shift);
        const uint8_t *group = v->groups[ordinal / PV__COLDIR_FANOUT];
        if (group) {
            ids[count++] = pv__get64(group + 8 * (ordinal % PV__COLDIR_FANOUT));
        }
    }
    pv__pages_expect(v->c.txn, ids, count);
}

int pv__colview_rows(pv__colview *v, const uint32_t *slots, size_t n, const uint8_t **out_rows,
                     pv_error *err) {
    /* Copies: the compiler cannot know that out_rows is not in the view. */
    const pv__peek peek = v->peek;
    const uint8_t *const *const groups = v->groups;
    const uint64_t magic = v->magic;
    const uint32_t shift = v->shift, rows_per_page = v->c.rows_per_page;
    const size_t size = v->c.row_size;
    bool asked = false;
    for (size_t i = 0; i < n; i++) { /* what leads to a row comes together too */
        const uint32_t ordinal = (uint32_t)(slots[i] * magic >> shift);
        const uint8_t *const ids = groups[ordinal / PV__COLDIR_FANOUT];
        if (PV_LIKELY(ids != NULL)) {
            const pv__xent *x = pv__xlat_entry(
                peek.xlat, pv__get64(ids + 8 * (size_t)(ordinal % PV__COLDIR_FANOUT)));
            PV_PREFETCH(x);
        }
    }
    for (size_t i = 0; i < n; i++) {
        const uint32_t slot = slots[i], ordinal = (uint32_t)(slot * magic >> shift);
        const uint32_t group = ordinal / PV__COLDIR_FANOUT;
        const uint8_t *const ids = groups[group], *row = NULL, *page = NULL;
        if (PV_LIKELY(ids != NULL)) {
            const size_t at = ordinal - (size_t)group * PV__COLDIR_FANOUT;
            page = pv__page_peek(&peek, pv__get64(ids + 8 * at));
        }
        if (PV_LIKELY(page != NULL)) {
            row = page + PV__PAGE_HEAD + (slot - (size_t)ordinal * rows_per_page) * size;
        } else {
            if (ids != NULL && !asked && n - i > 1) {
                colview_ask(v, slots + i, n - i);
                asked = true;
            }
            PV_TRY(pv__colview_find(v, slot, &row, err));
        }
        colview_expect(row, size);
        out_rows[i] = row;
    }
    return 0;
}

#undef COLVIEW_AHEAD
#undef COLVIEW_ASK
