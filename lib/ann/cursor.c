/* SPDX-License-Identifier: Apache-2.0 */
/* cursor.c - a walk that hands out nodes one by one, nearest first as far as its effort goes, and
 * can go on for ever.
 *
 *      front --follow--> found --settled, or wanted to be ranked with those that are--> caller
 *                                 '-- not settled when it was handed out: early --settled--'
 *
 *      (what is in the front comes to `found` when it is followed: never later than that)
 *
 * Nothing that was seen is forgotten, since a later page may want it: so no bound, but for the
 * front's memory. A node is settled when the nearest of the front is farther than the effort's stop
 * times its distance, which is when a search for as many would have ended; with dot, when as many
 * nodes were followed as such a search would have kept. What a search ranks beside the k nearest by
 * code need not be settled there, nor is it here. */
#include <math.h>

#include "ann/shape.h"

#define GCURSOR_PAUSE 64u /* nodes followed between two pauses */

int pv__links_cursor_begin(pv__graph *g, pv__walker *w, const void *vector, pv__graph_cursor *c,
                           pv_error *err) {
    size_t count = 0;
    (void)c;
    if (g->meta.root == 0) {
        return 0;
    }
    PV_TRY(pv__search_begin(g, w, vector, 0, &count, err));
    pv__roam roam = {.allowed = NULL};
    return pv__roam_begin(g, w, &roam, count, err);
}

int pv__graph_cursor_begin(pv__graph *g, pv__walker *w, const void *vector, pv__graph_cursor *c,
                           pv_error *err) {
    c->followed = 0;
    c->taken = c->settled = 0;
    c->found.count = c->early.count = 0;
    w->front.count = 0;
    return g->built ? g->shape->cursor_begin(g, w, vector, c, err) : 0;
}

void pv__graph_cursor_done(pv__graph_cursor *c, pv__walker *w, pv__mem *mem) {
    pv__queue_done(&c->found, mem);
    pv__queue_done(&c->early, mem);
    if (w) {
        pv__queue_done(&w->front, mem);
    }
}

/* The nearest that is not settled. NULL: the walk knows none. */
static pv__queue *gcursor_next(pv__graph_cursor *c) {
    if (c->early.count > 0 &&
        (c->found.count == 0 || c->early.hits[0].distance <= c->found.hits[0].distance)) {
        return &c->early;
    }
    return c->found.count > 0 ? &c->found : NULL;
}

/* Has the walk gone far enough to settle it? */
static bool gcursor_settled(const pv__walker *w, pv__graph_cursor *c, const pv__effort *effort) {
    if (w->front.count == 0) {
        return true;
    }
    const pv__queue *q = gcursor_next(c);
    if (!q) {
        return false;
    }
    const float next = q->hits[0].distance, front = w->front.hits[0].distance;
    return effort->stop < INFINITY ? front > pv__walk_stop(w, effort->stop, next)
                                   : front > next && c->followed >= effort->pool;
}

/* The nearest that was found, to the caller. *out_rows: as many as it took. */
static int gcursor_take(pv__graph *g, pv__walker *w, pv__graph_cursor *c, pv__graph_take_fn take,
                        void *ctx, uint32_t *out_rows, pv_error *err) {
    const uint64_t before = c->taken;
    const uint32_t node = pv__queue_pop(&c->found).slot;
    const uint8_t *row;
    PV_TRY(pv__colview_row(&w->slot_of, node, &row, err));
    const uint32_t word = pv__get32(row);
    if (word != PV__SLOT_NONE) {
        PV_TRY(take(ctx, word & ~PV__SLOT_MORE, err));
        PV_TRY(word & PV__SLOT_MORE ? pv__search_each_dup(g, node, take, ctx, err) : 0);
    }
    *out_rows = (uint32_t)(c->taken - before);
    return 0;
}

int pv__links_cursor_fill(pv__graph *g, pv__walker *w, pv__graph_cursor *c,
                          const pv__effort *effort, pv_error *err) {
    pv__roam roam = {.allowed = NULL};
    while (!gcursor_settled(w, c, effort)) {
        PV_TRY(pv__roam_step(g, w, &roam, INFINITY, err));
        if (roam.last_counts) {
            PV_TRY(pv__queue_push(&c->found, w->mem, roam.last, err));
        }
        if (++c->followed % GCURSOR_PAUSE == 0) {
            PV_TRY(pv__walker_pause(w, g->txn, err));
        }
    }
    return 0;
}

int pv__graph_cursor_settle(pv__graph *g, pv__walker *w, pv__graph_cursor *c,
                            const pv__effort *effort, pv__graph_take_fn take, void *ctx,
                            float *out_distance, pv_error *err) {
    uint32_t rows = 0;
    PV_TRY(g->shape->cursor_fill(g, w, c, effort, err));
    pv__queue *q = gcursor_next(c);
    *out_distance = q ? q->hits[0].distance : INFINITY;
    if (q == &c->early) {
        rows = pv__queue_pop(q).slot;
    } else if (q) {
        PV_TRY(gcursor_take(g, w, c, take, ctx, &rows, err));
    }
    c->settled += rows;
    return 0;
}

int pv__graph_cursor_early(pv__graph *g, pv__walker *w, pv__graph_cursor *c, pv__graph_take_fn take,
                           void *ctx, bool *out_any, pv_error *err) {
    *out_any = c->found.count > 0;
    if (!*out_any) {
        return 0;
    }
    pv__hit hit = {c->found.hits[0].distance, 0}; /* in `early` a hit has its rows for a slot */
    PV_TRY(gcursor_take(g, w, c, take, ctx, &hit.slot, err));
    return pv__queue_push(&c->early, w->mem, hit, err);
}

#undef GCURSOR_PAUSE
