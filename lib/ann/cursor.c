/* SPDX-License-Identifier: Apache-2.0 */
/* cursor.c - a walk that hands out nodes one by one, nearest first as far as its effort goes, and
 * can go on for ever.
 *
 *      front --follow--> found --the nearest, when the front is far enough beyond it--> caller
 *                (what is in the front comes to `found` when it is followed: never later than that)
 *
 * Nothing that was seen is forgotten, since a later page may want it: so no bound, but for the
 * front's memory. A node is handed out when the nearest of the front is farther than the effort's
 * stop times its distance, which is when a search for as many would have ended; with dot, when as
 * many nodes were followed as such a search would have kept. */
#include <math.h>

#include "ann/internal.h"

#define GCURSOR_PAUSE 64u /* nodes followed between two pauses */

int pv__graph_cursor_begin(pv__graph *g, pv__walker *w, const void *vector, pv__graph_cursor *c,
                           pv_error *err) {
    size_t count = 0;
    c->followed = 0;
    c->found.count = 0;
    w->front.count = 0;
    if (!g->built || g->meta.root == 0) {
        return 0;
    }
    PV_TRY(pv__search_begin(g, w, vector, 0, &count, err));
    pv__roam roam = {.allowed = NULL};
    return pv__roam_begin(g, w, &roam, count, err);
}

void pv__graph_cursor_done(pv__graph_cursor *c, pv__mem *mem) { pv__queue_done(&c->found, mem); }

/* Has the walk gone far enough to hand out the nearest of what it found? */
static bool gcursor_settled(const pv__walker *w, const pv__graph_cursor *c,
                            const pv__effort *effort) {
    if (w->front.count == 0) {
        return true;
    }
    if (c->found.count == 0) {
        return false;
    }
    const float next = c->found.hits[0].distance, front = w->front.hits[0].distance;
    return effort->stop < INFINITY ? front > effort->stop * next + w->doubt
                                   : front > next && c->followed >= effort->pool;
}

static int gcursor_slots(pv__graph *g, pv__walker *w, uint32_t node, pv__graph_take_fn take,
                         void *ctx, pv_error *err) {
    const uint8_t *row;
    PV_TRY(pv__colview_row(&w->slot_of, node, &row, err));
    const uint32_t word = pv__get32(row);
    if (word == PV__SLOT_NONE) {
        return 0;
    }
    PV_TRY(take(ctx, word & ~PV__SLOT_MORE, err));
    return word & PV__SLOT_MORE ? pv__search_each_dup(g, node, take, ctx, err) : 0;
}

int pv__graph_cursor_next(pv__graph *g, pv__walker *w, pv__graph_cursor *c,
                          const pv__effort *effort, pv__graph_take_fn take, void *ctx,
                          float *out_distance, pv_error *err) {
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
    *out_distance = INFINITY;
    if (c->found.count == 0) {
        return 0;
    }
    const pv__hit next = pv__queue_pop(&c->found);
    *out_distance = next.distance;
    return gcursor_slots(g, w, next.slot, take, ctx, err);
}

#undef GCURSOR_PAUSE
