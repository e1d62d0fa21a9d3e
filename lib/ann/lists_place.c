/* SPDX-License-Identifier: Apache-2.0 */
/* lists_place.c - places in blocks, and blocks in lists (L1, L2).
 *
 *      place    the first block of `open` has one; none is open: a free block, or a new one
 *      bury     the place is free; a full block comes to `open`, an empty one leaves the list
 *
 * Which places are free is what slot_of says, so that nothing is written twice. */
#include "ann/lists.h"

static int lplace_corrupt(const pv__graph *g, uint32_t block, const char *what, pv_error *err) {
    return pv__err(err, PV_ERR_CORRUPT, "lists of object %u, block %u: %s", (unsigned)g->owner,
                   (unsigned)block, what);
}

/* A block that is in a list. */
static int lplace_get(const pv__graph *g, uint32_t block, pv__block *out, pv_error *err) {
    const uint8_t *row;
    if (block >= pv__block_high(g)) {
        return lplace_corrupt(g, block, "it is beyond the last", err);
    }
    PV_TRY(pv__column_read(&g->links, block, &row, err));
    *out = pv__block_of(row);
    if (out->list == 0 || out->list > g->meta.lists.count || out->high > pv__block_rows(g) ||
        out->count > out->high) {
        return lplace_corrupt(g, block, "impossible numbers", err);
    }
    return 0;
}

static int lplace_put(const pv__graph *g, uint32_t block, const pv__block *b, pv_error *err) {
    uint8_t *row;
    PV_TRY(pv__column_write(&g->links, block, &row, err));
    pv__block_put(row, b);
    return 0;
}

/* ---- chains ---------------------------------------------------------------------------------- */

/* Where the head of a chain stands in the row of its list. */
static uint32_t lplace_head(bool full) { return full ? 4 : 0; }

static int lplace_head_get(const pv__graph *g, uint32_t list, bool full, uint32_t *out,
                           pv_error *err) {
    const uint8_t *row;
    PV_TRY(pv__column_read(&g->upper[0], g->meta.lists.groups + list, &row, err));
    *out = pv__get32(row + lplace_head(full));
    return 0;
}

static int lplace_head_set(const pv__graph *g, uint32_t list, bool full, uint32_t head,
                           pv_error *err) {
    uint8_t *row;
    PV_TRY(pv__column_write(&g->upper[0], g->meta.lists.groups + list, &row, err));
    pv__put32(row + lplace_head(full), head);
    return 0;
}

/* b, which is in no chain, becomes the first of one. */
static int lplace_link(const pv__graph *g, uint32_t block, pv__block *b, bool full, pv_error *err) {
    const uint32_t list = b->list - 1;
    pv__block next;
    b->prev = 0;
    PV_TRY(lplace_head_get(g, list, full, &b->next, err));
    if (b->next != 0) {
        PV_TRY(lplace_get(g, b->next - 1, &next, err));
        next.prev = block + 1;
        PV_TRY(lplace_put(g, b->next - 1, &next, err));
    }
    PV_TRY(lplace_head_set(g, list, full, block + 1, err));
    return lplace_put(g, block, b, err);
}

static int lplace_unlink(const pv__graph *g, uint32_t block, const pv__block *b, bool full,
                         pv_error *err) {
    pv__block other;
    if (b->next != 0) {
        PV_TRY(lplace_get(g, b->next - 1, &other, err));
        other.prev = b->prev;
        PV_TRY(lplace_put(g, b->next - 1, &other, err));
    }
    if (b->prev == 0) {
        uint32_t head = 0;
        PV_TRY(lplace_head_get(g, b->list - 1, full, &head, err));
        return head == block + 1 ? lplace_head_set(g, b->list - 1, full, b->next, err)
                                 : lplace_corrupt(g, block, "it is not where its list begins", err);
    }
    PV_TRY(lplace_get(g, b->prev - 1, &other, err));
    other.next = b->next;
    return lplace_put(g, b->prev - 1, &other, err);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

/* A free number: of the chain of free ones, or the next. */
static int lplace_number(pv__graph *g, uint32_t *out_block, pv_error *err) {
    pv__graph_meta *m = &g->meta;
    const uint8_t *row;
    const uint32_t rows = pv__block_rows(g);
    if (m->node_free == 0) {
        if (m->node_high > PV__SLOTS_PER_COLLECTION_MAX - rows) {
            return pv__err(err, PV_ERR_LIMIT, "the lists of object %u have used all %u nodes",
                           (unsigned)g->owner, (unsigned)m->node_high);
        }
        *out_block = m->node_high / rows;
        m->node_high += rows;
        return 0;
    }
    *out_block = m->node_free - 1;
    if (*out_block >= pv__block_high(g)) {
        return lplace_corrupt(g, *out_block, "a free one beyond the last", err);
    }
    PV_TRY(pv__column_read(&g->links, *out_block, &row, err));
    const pv__block b = pv__block_of(row);
    if (b.list != 0 || b.next > pv__block_high(g)) {
        return lplace_corrupt(g, *out_block, "it is in the chain of free ones", err);
    }
    m->node_free = b.next;
    return 0;
}

/* An empty block at the head of `open`. No place of it has a slot (L2). */
static int lplace_block(pv__graph *g, uint32_t list, uint32_t *out_block, pv__block *out,
                        pv_error *err) {
    const uint32_t rows = pv__block_rows(g);
    PV_TRY(lplace_number(g, out_block, err));
    for (uint32_t i = 0; i < rows; i++) {
        PV_TRY(pv__graph_word_set(&g->slot_of, *out_block * rows + i, PV__SLOT_NONE, err));
    }
    *out = (pv__block){.list = list + 1};
    g->changed = true;
    return lplace_link(g, *out_block, out, false, err);
}

/* The page of codes goes with the last node. */
static int lplace_release(pv__graph *g, uint32_t block, pv_error *err) {
    const pv__block b = {.next = g->meta.node_free};
    PV_TRY(lplace_put(g, block, &b, err));
    g->meta.node_free = block + 1;
    return pv__column_page_free(&g->codes, block, err);
}

/* ---- places ---------------------------------------------------------------------------------- */

/* The first place of an open block that has no slot. */
static int lplace_free_place(pv__graph *g, uint32_t block, const pv__block *b, uint32_t *out,
                             pv_error *err) {
    const uint32_t first = block * pv__block_rows(g);
    for (uint32_t i = 0; b->count < b->high && i < b->high; i++) {
        uint32_t word = 0;
        PV_TRY(pv__graph_word_get(&g->slot_of, first + i, &word, err));
        if (word == PV__SLOT_NONE) {
            *out = first + i;
            return 0;
        }
    }
    *out = first + b->high;
    return b->high < pv__block_rows(g) && b->count == b->high
               ? 0
               : lplace_corrupt(g, block, "it has fewer free places than it says", err);
}

int pv__lists_place(pv__graph *g, uint32_t list, uint32_t *out_node, pv_error *err) {
    const uint32_t rows = pv__block_rows(g);
    pv__block b;
    uint32_t block = 0;
    PV_TRY(lplace_head_get(g, list, false, &block, err));
    if (block == 0) {
        PV_TRY(lplace_block(g, list, &block, &b, err));
    } else {
        PV_TRY(lplace_get(g, --block, &b, err));
    }
    if (b.list != list + 1) {
        return lplace_corrupt(g, block, "it is in another list", err);
    }
    PV_TRY(lplace_free_place(g, block, &b, out_node, err));
    b.high = (uint16_t)PV_MAX(b.high, *out_node - block * rows + 1);
    b.count++;
    if (b.count < rows) {
        return lplace_put(g, block, &b, err);
    }
    PV_TRY(lplace_unlink(g, block, &b, false, err));
    return lplace_link(g, block, &b, true, err);
}

int pv__lists_bury(pv__graph *g, uint32_t node, pv_error *err) {
    const uint32_t rows = pv__block_rows(g), block = node / rows;
    pv__block b;
    PV_TRY(lplace_get(g, block, &b, err));
    if (b.count == 0 || node - block * rows >= b.high) {
        return lplace_corrupt(g, block, "a node dies that it does not have", err);
    }
    const bool full = b.count == rows;
    b.count--;
    if (b.count == 0) {
        PV_TRY(lplace_unlink(g, block, &b, full, err));
        return lplace_release(g, block, err);
    }
    if (!full) {
        return lplace_put(g, block, &b, err);
    }
    PV_TRY(lplace_unlink(g, block, &b, true, err));
    return lplace_link(g, block, &b, false, err);
}

/* ---- going through a list -------------------------------------------------------------------- */

int pv__chain_begin(pv__graph *g, pv__walker *w, uint32_t list, pv__chain *out, pv_error *err) {
    const uint8_t *row;
    PV_TRY(pv__colview_row(&w->upper[0], g->meta.lists.groups + list, &row, err));
    *out = (pv__chain){.list = list,
                       .at = pv__list_open(row),
                       .then = pv__list_full(row),
                       .left = pv__block_high(g)};
    return 0;
}

int pv__chain_next(pv__graph *g, pv__walker *w, pv__chain *c, uint32_t *out_block,
                   uint32_t *out_high, pv_error *err) {
    const uint8_t *row;
    if (c->at == 0) {
        c->at = c->then;
        c->then = 0;
    }
    *out_block = c->at == 0 ? PV__NODE_NONE : c->at - 1;
    *out_high = 0;
    if (c->at == 0) {
        return 0;
    }
    if (c->at > pv__block_high(g) || c->left-- == 0) {
        return lplace_corrupt(g, *out_block, "a list leads to it that cannot be right", err);
    }
    PV_TRY(pv__colview_row(&w->links, *out_block, &row, err));
    const pv__block b = pv__block_of(row);
    if (b.list != c->list + 1 || b.high > pv__block_rows(g)) {
        return lplace_corrupt(g, *out_block, "it is not in the list that leads to it", err);
    }
    *out_high = b.high;
    c->at = b.next;
    return 0;
}
