/* SPDX-License-Identifier: Apache-2.0 */
/* lists_check.c - are lists what they say (L1 to L4)?
 *
 *   rows      groups have all lists, each once
 *   chains    blocks of each list, both ways; the nodes in them
 *   free      the chain of free blocks; no block is in none of them
 *   deep      the list of each node is the nearest to its vector */
#include "ann/check.h"
#include "ann/lists.h"

typedef struct lcheck {
    pv__gcheck *k;
    uint8_t *centre, *scratch; /* deep */
} lcheck;

static bool lcheck_seen(pv__gcheck *k, uint32_t block) {
    const uint64_t bit = UINT64_C(1) << (block % 64);
    const bool seen = k->seen[block / 64] & bit;
    k->seen[block / 64] |= bit;
    return seen;
}

static int lcheck_groups(pv__gcheck *k, pv_error *err) {
    const pv__graph_lists *l = &k->g->meta.lists;
    uint32_t next = 0;
    for (uint32_t i = 0; i < l->groups; i++) {
        const uint8_t *row;
        PV_TRY(pv__colview_row(&k->w->upper[0], i, &row, err));
        if (pv__group_from(row) != next || pv__group_count(row) > l->count - next) {
            pv__gcheck_report(k, i, "a group of lists does not follow the one before it");
            return 0;
        }
        next += pv__group_count(row);
    }
    if (next != l->count) {
        pv__gcheck_report(k, next, "a list is in no group");
    }
    return 0;
}

/* Views again after a pause. */
static int lcheck_pause(pv__gcheck *k, pv_error *err) {
    PV_TRY(pv__walker_pause(k->w, k->g->txn, err));
    return pv__lists_view(k->g, k->w, err);
}

/* L3 */
static int lcheck_nearest(lcheck *c, uint32_t list, uint32_t node, pv_error *err) {
    pv__graph *g = c->k->g;
    const uint8_t *vector;
    uint32_t word = 0, nearest = 0;
    PV_TRY(pv__graph_word_get(&g->slot_of, node, &word, err));
    const uint32_t slot = word & ~PV__SLOT_MORE;
    if (!c->centre || slot >= c->k->slots->meta.high_water) {
        return 0;
    }
    PV_TRY(pv__column_read(g->vectors, slot, &vector, err));
    pv__code_encode(&g->centre, vector, c->scratch, c->centre);
    PV_TRY(pv__lists_nearest(g, c->k->w, c->centre, &nearest, err));
    if (nearest != list) {
        pv__gcheck_report(c->k, node, "it is not in the list that is nearest to its vector");
    }
    return 0;
}

static int lcheck_places(lcheck *c, uint32_t block, const pv__block *b, pv_error *err) {
    pv__gcheck *k = c->k;
    const uint32_t rows = pv__block_rows(k->g);
    uint32_t live = 0;
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t word = 0;
        PV_TRY(pv__graph_word_get(&k->g->slot_of, block * rows + i, &word, err));
        if (word == PV__SLOT_NONE) {
            continue;
        }
        live++;
        if (i >= b->high) {
            pv__gcheck_report(k, block * rows + i, "it lies behind the last place of its block");
        }
        PV_TRY(pv__gcheck_node(k, block * rows + i, PV__NODE_LIVE, err));
        PV_TRY(lcheck_nearest(c, b->list - 1, block * rows + i, err));
    }
    k->live += live;
    if (live != b->count || live == 0) {
        pv__gcheck_report(k, block * rows, "its block counts its nodes wrongly");
    }
    return lcheck_pause(k, err);
}

/* *io_more: blocks that may still come. */
static int lcheck_chain(lcheck *c, uint32_t list, bool full, uint32_t head, uint32_t *io_more,
                        pv_error *err) {
    pv__gcheck *k = c->k;
    const uint32_t rows = pv__block_rows(k->g), blocks = pv__block_high(k->g);
    uint32_t prev = 0;
    for (uint32_t at = head; at != 0;) {
        const uint8_t *row;
        if (at > blocks || *io_more == 0 || lcheck_seen(k, at - 1)) {
            pv__gcheck_report(k, list, "a list leads to a block that cannot be in it");
            return 0;
        }
        *io_more -= 1;
        PV_TRY(pv__colview_row(&k->w->links, at - 1, &row, err));
        const pv__block b = pv__block_of(row);
        if (b.list != list + 1 || b.prev != prev || b.high > rows || b.count > b.high ||
            (b.count == rows) != full) {
            pv__gcheck_report(k, (at - 1) * rows, "its block is wrongly in its list");
            return 0;
        }
        PV_TRY(lcheck_places(c, at - 1, &b, err));
        prev = at;
        at = b.next;
    }
    return 0;
}

static int lcheck_lists(lcheck *c, pv_error *err) {
    pv__graph *g = c->k->g;
    uint32_t more = pv__block_high(g);
    for (uint32_t i = 0; i < g->meta.lists.count; i++) {
        const uint8_t *row;
        PV_TRY(pv__colview_row(&c->k->w->upper[0], g->meta.lists.groups + i, &row, err));
        const uint32_t open = pv__list_open(row), full = pv__list_full(row);
        PV_TRY(lcheck_chain(c, i, false, open, &more, err));
        PV_TRY(lcheck_chain(c, i, true, full, &more, err));
        PV_TRY(lcheck_pause(c->k, err));
    }
    return 0;
}

static int lcheck_free(pv__gcheck *k, pv_error *err) {
    const uint32_t blocks = pv__block_high(k->g);
    for (uint32_t at = k->g->meta.node_free; at != 0;) {
        const uint8_t *row;
        if (at > blocks || lcheck_seen(k, at - 1)) {
            pv__gcheck_report(k, at - 1, "the chain of free blocks leads to it");
            return 0;
        }
        PV_TRY(pv__colview_row(&k->w->links, at - 1, &row, err));
        const pv__block b = pv__block_of(row);
        if (b.list != 0 || b.count != 0) {
            pv__gcheck_report(k, at - 1, "a block in the chain of free ones is in use");
            return 0;
        }
        at = b.next;
        PV_TRY(lcheck_pause(k, err));
    }
    for (uint32_t i = 0; i < blocks; i++) {
        if (!lcheck_seen(k, i)) {
            pv__gcheck_report(k, i * pv__block_rows(k->g), "its block is in no list");
        }
    }
    return 0;
}

int pv__gcheck_lists(pv__gcheck *k, pv_error *err) {
    pv__mem *mem = pv__txn_mem(k->g->txn);
    const size_t scratch = k->g->centre.scratch_bytes + 64u, code = k->g->centre.row_size;
    lcheck c = {.k = k};
    int rc = 0;
    if (k->buf) {
        c.centre = pv__alloc(mem, code);
        c.scratch = pv__alloc_aligned(mem, scratch, 64);
        rc = c.centre && c.scratch ? 0 : pv__err_nomem(err, code + scratch);
    }
    rc = rc == 0 ? pv__column_check(&k->g->upper[0], k->fn, k->ctx, k->bad, err) : rc;
    rc = rc == 0 ? lcheck_pause(k, err) : rc;
    rc = rc == 0 ? lcheck_groups(k, err) : rc;
    rc = rc == 0 ? lcheck_lists(&c, err) : rc;
    rc = rc == 0 ? lcheck_free(k, err) : rc;
    pv__alloc_free_aligned(mem, c.scratch, scratch, 64);
    pv__alloc_free(mem, c.centre, code);
    return rc;
}
