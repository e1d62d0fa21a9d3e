/* SPDX-License-Identifier: Apache-2.0 */
/* lists.h - nodes that lie with the nearest of some centres: what is scanned is contiguous.
 *
 *      upper[0]   group | group | .. | list | list | list | ..     rows with their centre's code
 *                   '--------------------^ from, count
 *      links      block | block | ..        16 bytes a row: list, count, previous, next
 *      codes      [ page = block: nodes b * rows .. (b + 1) * rows ]
 *
 *      list --open--> block <--> block      blocks with free places: the next node goes to the
 *           '--full-> block <--> block      first of them; and those without
 *
 * A block is a page of codes; the number of a node says in which block it lies and where. So a list
 * is read page by page, each from begin to end, and a node that dies gives its place back at once:
 * nothing leads to it. A block without nodes gives its page back.
 *
 * Centres are learned once, from a sample, when the lists begin (lists_learn.c), and never move: a
 * node is in the list that is nearest to its vector among those of the nearest groups, for ever
 * (lists_rank.c). When the nodes have become four times as many, new lists are made beside these
 * like any other graph that has become bad.
 *
 * Invariants
 *   L1  A block is in the chain of exactly one list, or in that of free blocks. `open` has those
 *       with free places, `full` the others; none is empty.
 *   L2  A place below `high` of a block holds a node when slot_of has a slot for it; the others
 *       have none. There are `count` of them.
 *   L3  The list of a node is the one that pv__lists_nearest says.
 *   L4  Rows of groups and lists do not change but for the heads of chains. */
#ifndef PV_ANN_LISTS_H
#define PV_ANN_LISTS_H

#include "ann/build.h"
#include "ann/shape.h"

#define PV__BLOCK_BYTES 16u
#define PV__LIST_HEAD 16u /* before the centre's code */

/* A row of `links`. A free block: list 0, next is that of the free ones. */
typedef struct pv__block {
    uint32_t list;        /* + 1 */
    uint16_t count, high; /* nodes; places ever used since it was taken */
    uint32_t prev, next;  /* + 1 */
} pv__block;

static inline pv__block pv__block_of(const uint8_t *row) {
    return (pv__block){pv__get32(row), pv__get16(row + 4), pv__get16(row + 6), pv__get32(row + 8),
                       pv__get32(row + 12)};
}
static inline void pv__block_put(uint8_t *row, const pv__block *b) {
    pv__put32(row, b->list);
    pv__put16(row + 4, b->count);
    pv__put16(row + 6, b->high);
    pv__put32(row + 8, b->prev);
    pv__put32(row + 12, b->next);
}

/* Head of a row of upper[0]. Of a group: its first list and how many; of a list: chains, + 1. */
static inline uint32_t pv__group_from(const uint8_t *row) { return pv__get32(row); }
static inline uint32_t pv__group_count(const uint8_t *row) { return pv__get32(row + 4); }
static inline uint32_t pv__list_open(const uint8_t *row) { return pv__get32(row); }
static inline uint32_t pv__list_full(const uint8_t *row) { return pv__get32(row + 4); }

/* Places of a block, and blocks ever used. */
static inline uint32_t pv__block_rows(const pv__graph *g) { return g->codes.rows_per_page; }
static inline uint32_t pv__block_high(const pv__graph *g) {
    return g->meta.node_high / pv__block_rows(g);
}
static inline uint32_t pv__list_rows(const pv__graph *g) {
    return g->meta.lists.groups + g->meta.lists.count;
}
static inline uint32_t pv__list_bytes(const pv__graph *g) {
    return PV__LIST_HEAD + g->centre.row_size;
}

/* lists_learn.c */
PV_PRIVATE uint32_t pv__lists_learn_rows(const pv__graph *g, uint64_t all);
PV_PRIVATE int pv__lists_learn(pv__graph *g, const uint32_t *slots, size_t count, uint64_t all,
                               const pv__code_stop *stop, pv_error *err);

/* lists_rank.c. The walker's view of the rows, until the next change of them or pause. */
PV_PRIVATE int pv__lists_view(pv__graph *g, pv__walker *w, pv_error *err);
/* The list of what has this code of a centre: the nearest of those in the nearest groups, the first
 * of equals. Uses w->pair. */
PV_PRIVATE int pv__lists_nearest(pv__graph *g, pv__walker *w, const uint8_t *code,
                                 uint32_t *out_list, pv_error *err);
/* Lists by distance from a vector. The query is kept in w->pair, what was looked into in w->front.
 * The view is fresh. */
PV_PRIVATE int pv__lists_rank_begin(pv__graph *g, pv__walker *w, const void *vector,
                                    pv__lists_rank *r, pv_error *err);
/* The next one; PV__NODE_NONE: there are no more. */
PV_PRIVATE int pv__lists_next(pv__graph *g, pv__walker *w, pv__lists_rank *r, uint32_t *out_list,
                              pv_error *err);

/* lists_place.c: a place in a list, which is the node's number; and back. */
PV_PRIVATE int pv__lists_place(pv__graph *g, uint32_t list, uint32_t *out_node, pv_error *err);
PV_PRIVATE int pv__lists_bury(pv__graph *g, uint32_t node, pv_error *err);
/* Blocks of a list, one by one: *io_at 0 at first, PV__NODE_NONE behind the last. Through w. */
typedef struct pv__chain {
    uint32_t list;
    uint32_t at;   /* next block + 1 */
    uint32_t then; /* the other chain */
    uint32_t left; /* there cannot be more */
} pv__chain;
PV_PRIVATE int pv__chain_begin(pv__graph *g, pv__walker *w, uint32_t list, pv__chain *out,
                               pv_error *err);
/* *out_block PV__NODE_NONE: there are no more. */
PV_PRIVATE int pv__chain_next(pv__graph *g, pv__walker *w, pv__chain *c, uint32_t *out_block,
                              uint32_t *out_high, pv_error *err);

/* lists_insert.c, lists_search.c: the table (shape.h). */
PV_PRIVATE int pv__lists_insert(pv__graph *g, pv__walker *w, const uint32_t *slots, size_t count,
                                pv__graph_interrupt_fn interrupt, void *ctx, pv_error *err);
PV_PRIVATE int pv__lists_trace(pv__graph *g, pv__walker *w, const void *vector, pv__trace *t,
                               pv_error *err);
PV_PRIVATE int pv__lists_search(pv__graph *g, pv__walker *w, const void *vector,
                                const pv__effort *effort, uint32_t want, pv__hit *hits,
                                uint32_t *out_count, bool *out_complete, pv_error *err);
PV_PRIVATE int pv__lists_search_allowed(pv__graph *g, pv__walker *w, const void *vector,
                                        const pv__effort *effort, uint32_t want,
                                        const pv__allowed *a, pv__plan *io_plan, pv__hit *hits,
                                        uint32_t *out_count, bool *out_complete, pv_error *err);
PV_PRIVATE int pv__lists_within(pv__graph *g, pv__walker *w, const void *vector, float radius,
                                const pv__effort *effort, uint32_t want, const pv__allowed *a,
                                pv__hit *hits, uint32_t *out_count, bool *out_complete,
                                pv_error *err);
PV_PRIVATE int pv__lists_cursor_begin(pv__graph *g, pv__walker *w, const void *vector,
                                      pv__graph_cursor *c, pv_error *err);
PV_PRIVATE int pv__lists_cursor_fill(pv__graph *g, pv__walker *w, pv__graph_cursor *c,
                                     const pv__effort *effort, pv_error *err);

#endif
