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

int pv__colview_group(pv__colview *v, uint32_t group, pv_error *err) {
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
