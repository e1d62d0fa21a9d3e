/* SPDX-License-Identifier: Apache-2.0 */
/* lists_rank.c - which lists are near: distances to centres, two levels deep.
 *
 *      groups (about the root of the lists' number), all of them, nearest first
 *        '-- lists of a group that was looked into --> front, nearest on top
 *
 * A row's list is the nearest among the lists of the nearest LRANK_NEAR groups, or of a quarter of
 * them. A search looks into more groups as it goes on, so that what it takes from the front are
 * always the nearest LRANK_SHARE-th of the lists that it knows.
 *
 * Centres are codes (pv__graph.centre): integers and one fixed expression, so that a row has the
 * same list on every machine. */
#include <math.h>

#include "ann/lists.h"

#define LRANK_NEAR 6u   /* groups, at least */
#define LRANK_PART 4u   /* of all groups, one in so many */
#define LRANK_SHARE 24u /* of the lists that are known, one in so many is taken */

static int lrank_corrupt(const pv__graph *g, const char *what, pv_error *err) {
    return pv__err(err, PV_ERR_CORRUPT, "lists of object %u: %s", (unsigned)g->owner, what);
}

int pv__lists_view(pv__graph *g, pv__walker *w, pv_error *err) {
    return pv__walker_upper(w, g, 0, err);
}

/* Distances of rows [from, from + n) from w->pair, in w->distances; n at most WALK_ROWS. */
static int lrank_measure(pv__graph *g, pv__walker *w, uint32_t from, uint32_t n, pv_error *err) {
    for (uint32_t i = 0; i < n; i++) {
        w->ids[i] = from + i;
    }
    PV_TRY(pv__colview_rows(&w->upper[0], w->ids, n, w->rows, err));
    for (uint32_t i = 0; i < n; i++) {
        w->rows[i] += PV__LIST_HEAD;
    }
    pv__code_distances_expected(&g->centre, w->pair, w->rows, n, w->distances);
    return 0;
}

static int lrank_groups(pv__graph *g, pv__walker *w, pv__hit *groups, size_t most, size_t *out_n,
                        pv_error *err) {
    *out_n = 0;
    for (uint32_t at = 0; at < g->meta.lists.groups; at += PV__WALK_ROWS) {
        const uint32_t n = PV_MIN(g->meta.lists.groups - at, PV__WALK_ROWS);
        PV_TRY(lrank_measure(g, w, at, n, err));
        for (uint32_t i = 0; i < n; i++) {
            (void)pv__pool_insert(groups, out_n, most, w->distances[i], at + i);
        }
    }
    return 0;
}

/* The lists of a group. */
static int lrank_group(pv__graph *g, pv__walker *w, uint32_t group, uint32_t *out_from,
                       uint32_t *out_count, pv_error *err) {
    const uint8_t *row;
    PV_TRY(pv__colview_row(&w->upper[0], group, &row, err));
    *out_from = pv__group_from(row);
    *out_count = pv__group_count(row);
    if (*out_from > g->meta.lists.count || *out_count > g->meta.lists.count - *out_from) {
        return lrank_corrupt(g, "a group has lists beyond the last", err);
    }
    return 0;
}

int pv__lists_nearest(pv__graph *g, pv__walker *w, const uint8_t *code, uint32_t *out_list,
                      pv_error *err) {
    pv__hit groups[PV__GROUPS_MAX / LRANK_PART + LRANK_NEAR];
    const pv__graph_lists *l = &g->meta.lists;
    const size_t most = PV_MIN(PV_MAX(l->groups / LRANK_PART, LRANK_NEAR), l->groups);
    pv__hit best = {INFINITY, PV__NODE_NONE};
    size_t n = 0;
    pv__code_query_row(&g->centre, code, w->pair);
    PV_TRY(lrank_groups(g, w, groups, PV_MAX(most, (size_t)1), &n, err));
    for (size_t at = 0; at < n; at++) {
        uint32_t from = 0, count = 0;
        PV_TRY(lrank_group(g, w, groups[at].slot, &from, &count, err));
        for (uint32_t i = 0; i < count; i += PV__WALK_ROWS) {
            const uint32_t rows = PV_MIN(count - i, PV__WALK_ROWS);
            PV_TRY(lrank_measure(g, w, l->groups + from + i, rows, err));
            for (uint32_t r = 0; r < rows; r++) {
                const pv__hit hit = {w->distances[r], from + i + r};
                best = pv__hit_less(hit, best) ? hit : best;
            }
        }
    }
    *out_list = best.slot;
    return best.slot < l->count ? 0 : lrank_corrupt(g, "there are none", err);
}

/* ---- for a search ---------------------------------------------------------------------------- */

static int lrank_open(pv__graph *g, pv__walker *w, uint32_t group, pv__lists_rank *r,
                      pv_error *err) {
    uint32_t from = 0, count = 0;
    PV_TRY(lrank_group(g, w, group, &from, &count, err));
    for (uint32_t i = 0; i < count; i += PV__WALK_ROWS) {
        const uint32_t rows = PV_MIN(count - i, PV__WALK_ROWS);
        PV_TRY(lrank_measure(g, w, g->meta.lists.groups + from + i, rows, err));
        for (uint32_t k = 0; k < rows; k++) {
            const pv__hit hit = {w->distances[k], from + i + k};
            PV_TRY(pv__queue_push(&w->front, w->mem, hit, err));
        }
    }
    r->known += count;
    return 0;
}

int pv__lists_rank_begin(pv__graph *g, pv__walker *w, const void *vector, pv__lists_rank *r,
                         pv_error *err) {
    size_t n = 0;
    r->opened = r->known = r->taken = 0;
    w->front.count = 0;
    pv__code_query(&g->centre, vector, w->pair);
    PV_TRY(lrank_groups(g, w, r->groups, PV__GROUPS_MAX, &n, err));
    return n == g->meta.lists.groups ? 0 : lrank_corrupt(g, "too many groups", err);
}

int pv__lists_next(pv__graph *g, pv__walker *w, pv__lists_rank *r, uint32_t *out_list,
                   pv_error *err) {
    while (r->opened < g->meta.lists.groups &&
           (r->opened < LRANK_NEAR || r->known <= LRANK_SHARE * r->taken || w->front.count == 0)) {
        PV_TRY(lrank_open(g, w, r->groups[r->opened].slot, r, err));
        r->opened++;
    }
    r->taken++;
    *out_list = w->front.count > 0 ? pv__queue_pop(&w->front).slot : PV__NODE_NONE;
    return 0;
}

#undef LRANK_NEAR
#undef LRANK_PART
#undef LRANK_SHARE
