/* SPDX-License-Identifier: Apache-2.0 */
/* roam.c - walks in which not every node counts, or that go on later.
 *
 *      front   heap of nodes that have been seen and not followed, the nearest on top
 *      kept    those nodes of the last step that count; what becomes of them is the caller's
 *
 * One hop: every neighbour is compared, all that are near enough join the front, those that count
 * are kept. So the walk crosses regions in which nothing counts, at the price of comparing there.
 *
 * Two hops (Patel et al. 2024, "ACORN"): only nodes that count are compared and followed; where a
 * neighbour does not count, its own neighbours are looked at in its place. What is asked of a node
 * is a bit instead of a distance. How far this goes is decided node by node, by the share that
 * counts there: a list of which half counts is as good as a whole one.
 *
 * A node of several slots counts when one of them does. When as many do as are wanted, no walk has
 * to find as many nodes. */
#include <math.h>

#include "ann/internal.h"

#define ROAM_COUNTS 0x80000000u /* in the front: the node counts */
#define ROAM_LOOK 64u           /* slots of a node that are looked at before it is the nearest */
#define ROAM_FEW 16u            /* neighbours that count: then nobody looks behind the others */

/* There is room. */
static void roam_put(pv__walker *w, float distance, uint32_t node, bool counts) {
    pv__queue_put(&w->front, (pv__hit){distance, node | (counts ? ROAM_COUNTS : 0)});
}

/* ---- what counts ----------------------------------------------------------------------------- */

int pv__allowed_test(const pv__allowed *a, uint32_t slot, bool *out, pv_error *err) {
    if (a && a->ask) {
        return a->ask(a->ctx, &slot, 1, out, err);
    }
    *out = !a || pv__allowed_bit(a, slot);
    return 0;
}

/* Nodes without a slot are tombstones. */
static bool roam_all_count(const pv__graph *g, const pv__roam *r) {
    return !r->allowed && g->meta.tomb_count == 0;
}

/* How many of a node's slots count, up to as many as are wanted? distance: where it is known. */
static int roam_slots(pv__graph *g, pv__walker *w, pv__roam *r, uint32_t node, float distance,
                      uint32_t look, uint32_t *out, pv_error *err) {
    bool lives = false;
    PV_TRY(
        pv__search_counts(g, w, r->allowed, node, PV_MAX(r->enough, 1u), look, &lives, out, err));
    if (*out == r->enough && *out > 1) {
        r->enough_within = r->has_enough ? PV_MIN(r->enough_within, distance) : distance;
        r->has_enough = true;
    }
    return 0;
}

static int roam_counts(pv__graph *g, pv__walker *w, pv__roam *r, uint32_t node, float distance,
                       uint32_t look, bool *out, pv_error *err) {
    uint32_t slots = 0;
    PV_TRY(roam_slots(g, w, r, node, distance, look, &slots, err));
    *out = slots > 0;
    r->looked++;
    r->passed += *out ? 1u : 0u;
    return 0;
}

static void roam_keep(pv__walker *w, float distance, uint32_t node) {
    PV_DEBUG_ASSERT(w->kept_count < PV__ROAM_KEPT);
    w->kept[w->kept_count++] = (pv__hit){distance, node};
}

/* ---- steps ----------------------------------------------------------------------------------- */

static int roam_one_hop(pv__graph *g, pv__walker *w, pv__roam *r, uint32_t from, float bound,
                        pv_error *err) {
    size_t n = 0;
    bool counts = false;
    PV_TRY(pv__walk_expand(g, w, from, &n, err));
    PV_TRY(pv__queue_room(&w->front, w->mem, n, err));
    const bool all = roam_all_count(g, r);
    for (size_t i = 0; i < n; i++) {
        if (w->distances[i] >= bound) {
            continue;
        }
        counts = all;
        PV_TRY(all ? 0 : roam_counts(g, w, r, w->ids[i], w->distances[i], ROAM_LOOK, &counts, err));
        roam_put(w, w->distances[i], w->ids[i], counts);
        if (counts) {
            roam_keep(w, w->distances[i], w->ids[i]);
        }
    }
    return 0;
}

/* Neighbours of `from` that count and were not visited yet, into w->ids from *io_n on. The others
 * stay unvisited: they may be met again, nearer. */
static int roam_behind(pv__graph *g, pv__walker *w, pv__roam *r, uint32_t from, size_t *io_n,
                       pv_error *err) {
    const uint8_t *row;
    PV_TRY(pv__colview_row(&w->links, from, &row, err));
    const unsigned links = pv__links_count(row);
    pv__walker_room(w);
    for (unsigned i = 0; i < links && *io_n < PV__WALK_ROWS; i++) {
        const uint32_t node = pv__links_at(row, i) & ~PV__PROTECTED;
        bool counts = false;
        if (PV_UNLIKELY(node >= g->meta.node_high)) {
            return pv__graph_corrupt(g, from, "it links beyond the last node", err);
        }
        if (!pv__walker_seen(w, node)) {
            PV_TRY(roam_counts(g, w, r, node, INFINITY, UINT32_MAX, &counts, err));
            if (counts) {
                (void)pv__walker_visit(w, node);
                w->ids[(*io_n)++] = node;
            }
        }
    }
    return 0;
}

/* There is room. */
static void roam_take(pv__walker *w, size_t i, float bound) {
    if (w->distances[i] < bound) {
        roam_put(w, w->distances[i], w->ids[i], true);
        roam_keep(w, w->distances[i], w->ids[i]);
    }
}

static int roam_two_hops(pv__graph *g, pv__walker *w, pv__roam *r, uint32_t from, float bound,
                         pv_error *err) {
    pv__hit others[PV__WALK_ROWS];
    size_t n = 0, other_count = 0;
    bool counts = false;
    PV_TRY(pv__walk_expand(g, w, from, &n, err));
    PV_TRY(pv__queue_room(&w->front, w->mem, n + PV__WALK_ROWS, err));
    for (size_t i = 0; i < n; i++) {
        PV_TRY(roam_counts(g, w, r, w->ids[i], w->distances[i], UINT32_MAX, &counts, err));
        if (counts) {
            roam_take(w, i, bound);
        } else {
            (void)pv__pool_insert(others, &other_count, PV__WALK_ROWS, w->distances[i], w->ids[i]);
        }
    }
    const size_t few = PV_MIN(w->kept_count, (size_t)ROAM_FEW);
    n = 0;
    for (size_t i = 0; i < other_count && few + n < ROAM_FEW; i++) {
        if (i + 1 < other_count) {
            pv__walk_prefetch_links(w, others[i + 1].slot);
        }
        PV_TRY(roam_behind(g, w, r, others[i].slot, &n, err));
    }
    for (size_t i = 0; i < n; i++) {
        PV_TRY(pv__colview_row(&w->codes, w->ids[i], &w->rows[i], err));
    }
    pv__code_distances(&w->code, w->query, w->rows, n, w->distances);
    for (size_t i = 0; i < n; i++) {
        roam_take(w, i, bound);
    }
    return 0;
}

int pv__roam_begin(pv__graph *g, pv__walker *w, pv__roam *r, size_t count, pv_error *err) {
    bool counts = false;
    w->front.count = 0;
    w->kept_count = 0;
    PV_TRY(pv__queue_room(&w->front, w->mem, count, err));
    for (size_t i = 0; i < count; i++) {
        const pv__hit seed = w->pool[i];
        PV_TRY(roam_counts(g, w, r, seed.slot, seed.distance, ROAM_LOOK, &counts, err));
        roam_put(w, seed.distance, seed.slot, counts);
        if (counts && w->kept_count < PV__ROAM_KEPT) {
            roam_keep(w, seed.distance, seed.slot);
        }
    }
    return 0;
}

/* A node of many slots that is followed: all of them. `counts`: some of the first do. */
static int roam_group(pv__graph *g, pv__walker *w, pv__roam *r, pv__hit from, bool *io_counts,
                      pv_error *err) {
    const uint8_t *row;
    uint32_t slots = 0;
    PV_TRY(pv__colview_row(&w->slot_of, from.slot, &row, err));
    const uint32_t word = pv__get32(row);
    if (word == PV__SLOT_NONE || !(word & PV__SLOT_MORE)) {
        return 0;
    }
    PV_TRY(roam_slots(g, w, r, from.slot, from.distance, UINT32_MAX, &slots, err));
    if (slots > 0 && !*io_counts) {
        roam_keep(w, from.distance, from.slot);
        *io_counts = true;
    }
    return 0;
}

int pv__roam_step(pv__graph *g, pv__walker *w, pv__roam *r, float bound, pv_error *err) {
    const pv__hit from = pv__queue_pop(&w->front);
    const uint32_t node = from.slot & ~ROAM_COUNTS;
    w->kept_count = 0;
    r->followed++;
    r->last = (pv__hit){from.distance, node};
    r->last_counts = node != from.slot;
    if (r->allowed && g->meta.dup_count > 0) {
        PV_TRY(roam_group(g, w, r, r->last, &r->last_counts, err));
    }
    r->followed_passed += r->last_counts ? 1u : 0u;
    PV_TRY(r->two_hops ? roam_two_hops(g, w, r, node, bound, err)
                       : roam_one_hop(g, w, r, node, bound, err));
    if (w->front.count > 0) {
        pv__walk_prefetch_links(w, w->front.hits[0].slot & ~ROAM_COUNTS);
    }
    return 0;
}

static bool roam_is_calm(const pv__roam *r, const pv__effort *effort, size_t count) {
    return r->calm > 0 && count >= effort->k &&
           (float)(r->followed_passed - r->nearer) > pv__roam_calm(r);
}

int pv__roam_nearest(pv__graph *g, pv__walker *w, pv__roam *r, const pv__effort *effort,
                     uint32_t followed_max, size_t *io_count, bool *out_cut, pv_error *err) {
    size_t count = *io_count;
    *out_cut = false;
    for (;;) {
        for (size_t i = 0; i < w->kept_count; i++) {
            const size_t place = pv__pool_insert(w->pool, &count, effort->pool,
                                                 w->kept[i].distance, w->kept[i].slot);
            r->nearer = place < effort->k ? r->followed_passed : r->nearer;
        }
        w->kept_count = 0;
        float bound = pv__walk_bound(w, effort, w->pool, count);
        if (r->has_enough && effort->stop < INFINITY) {
            bound = PV_MIN(bound, pv__walk_stop(w, effort->stop, r->enough_within));
        }
        if (w->front.count == 0 || w->front.hits[0].distance > bound ||
            roam_is_calm(r, effort, count)) {
            break;
        }
        if (r->followed >= followed_max) {
            *out_cut = true;
            break;
        }
        PV_TRY(pv__roam_step(g, w, r, bound, err));
    }
    *io_count = count;
    return 0;
}

#undef ROAM_COUNTS
#undef ROAM_LOOK
#undef ROAM_FEW
