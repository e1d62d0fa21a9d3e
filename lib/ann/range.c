/* SPDX-License-Identifier: Apache-2.0 */
/* range.c - all slots within a radius.
 *
 *            outer     radius times the effort's stop: followed
 *          .-------.
 *         / radius  \  collected, with what the error of the codes may have put outside
 *        |   (q)     |
 *         \         /
 *          '-------'
 *
 * Two radii, as in Lucene's similarity queries: what lies a little outside is followed, since
 * the way to what is inside may lead over it. Until the walk has come near, it goes towards the
 * RANGE_NEAR nearest like any other, so that a small radius far from where it begins is found. */
#include <math.h>

#include "ann/internal.h"

#define RANGE_NEAR 10u
#define RANGE_FOLLOWED_PART 16u /* of all nodes; beyond it comparing with all is cheaper */
#define RANGE_FOLLOWED_MIN 1024u
#define RANGE_CODES_PART                                                                           \
    64u /* fewer allowed than this part of the nodes: their codes are compared */

typedef struct range_walk {
    pv__topk top; /* in w->pool */
    pv__hit near[RANGE_NEAR];
    size_t near_count;
    float outer, stop, doubt;
} range_walk;

static void range_take(range_walk *r, const pv__hit *kept, size_t count) {
    for (size_t i = 0; i < count; i++) {
        (void)pv__pool_insert(r->near, &r->near_count, RANGE_NEAR, kept[i].distance, kept[i].slot);
        if (kept[i].distance <= r->outer) {
            pv__topk_add(&r->top, kept[i].distance, kept[i].slot);
        }
    }
}

static float range_bound(const range_walk *r) {
    if (r->near_count < RANGE_NEAR) {
        return INFINITY;
    }
    const float near = r->stop * r->near[RANGE_NEAR - 1].distance + r->doubt;
    return PV_MAX(near, PV_MIN(r->outer, pv__topk_bound(&r->top)));
}

static int range_walk_on(pv__graph *g, pv__walker *w, range_walk *r, pv__roam *roam, size_t seeds,
                         float ask_most, bool *out_complete, pv_error *err) {
    const uint32_t most = PV_MAX(g->meta.node_count / RANGE_FOLLOWED_PART, RANGE_FOLLOWED_MIN);
    PV_TRY(pv__roam_begin(g, w, roam, seeds, err));
    for (;;) {
        range_take(r, w->kept, w->kept_count);
        const float bound = range_bound(r);
        if (w->front.count == 0 || w->front.hits[0].distance > bound) {
            break;
        }
        if (roam->followed >= most || (float)roam->looked > ask_most) {
            *out_complete = false;
            break;
        }
        PV_TRY(pv__roam_step(g, w, roam, nextafterf(bound, INFINITY), err));
    }
    return 0;
}

int pv__links_within(pv__graph *g, pv__walker *w, const void *vector, float radius,
                     const pv__effort *effort, uint32_t want, const pv__allowed *a, pv__hit *hits,
                     uint32_t *out_count, bool *out_complete, pv_error *err) {
    size_t count = 0;
    PV_ASSERT(effort->stop < INFINITY); /* not with dot */
    if (a && !a->ask && a->count < g->meta.node_count / RANGE_CODES_PART) {
        PV_TRY(pv__walker_begin(w, g, want, err));
        pv__code_query(&w->code, vector, w->query);
        PV_TRY(pv__allowed_codes(g, w, a, want, &count, err));
    } else {
        pv__roam roam = {.allowed = a};
        PV_TRY(pv__search_begin(g, w, vector, want, &count, err));
        range_walk r = {
            .outer = radius * effort->stop + w->doubt, .stop = effort->stop, .doubt = w->doubt};
        /* The heap takes the place of the seeds, which roam_begin has read before. */
        r.top = (pv__topk){w->pool, 0, want};
        PV_TRY(range_walk_on(g, w, &r, &roam, count,
                             a && a->ask ? a->words_ns / PV__ASK_NS : INFINITY, out_complete, err));
        pv__topk_sort(&r.top);
        count = r.top.count;
    }
    return *out_complete
               ? pv__search_end(g, w, vector, effort, want, a, count, hits, out_count, err)
               : 0;
}

#undef RANGE_NEAR
#undef RANGE_FOLLOWED_PART
#undef RANGE_FOLLOWED_MIN
#undef RANGE_CODES_PART
