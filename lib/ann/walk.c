/* SPDX-License-Identifier: Apache-2.0 */
/* walk.c - following links towards a query.
 *
 *      level L..1   few rows, a pool of a handful      (pv__walk_upper)
 *      level 0      pool of the nearest so far, ascending:
 *
 *          | . | x | x | . | . | ...        x: links followed
 *            '-- nearest not followed: read its links, drop those seen before, fetch the codes of
 *                the others, compare them all in one call, put the near ones into the pool
 *
 * It ends when every node of the pool has been followed, or the nearest that has not is too far
 * beyond the k-th (pv__effort). One sorted array instead of two heaps as in pyglass; visited nodes
 * are a bitmap that is cleared by a list of its words. */
#include <math.h>

#include "ann/internal.h"

/* Nodes that are linked and were not visited yet, into w->ids; now they are. */
static size_t walk_unseen(pv__walker *w, const uint8_t *row, unsigned count) {
    uint64_t *const visited = w->visited;
    uint32_t *const ids = w->ids;
    pv__walker_room(w);
    uint32_t *mark = w->marks + w->mark_count;
    size_t n = 0;
    for (unsigned i = 0; i < count; i++) { /* without a branch: nobody can guess it */
        const uint32_t node = pv__links_at(row, i) & ~PV__PROTECTED;
        const uint64_t word = visited[node / 64], bit = UINT64_C(1) << (node % 64);
        ids[n] = node;
        n += (word & bit) == 0;
        *mark = node / 64;
        mark += word == 0;
        visited[node / 64] = word | bit;
    }
    w->mark_count = (size_t)(mark - w->marks);
    return n;
}

/* Check and gather the unseen neighbours among `count` links; their rows of codes follow. */
static int walk_gather(pv__graph *g, pv__walker *w, uint32_t from, const uint8_t *row,
                       unsigned count, size_t *out_n, pv_error *err) {
    uint32_t last = 0;
    for (unsigned i = 0; i < count; i++) {
        last = PV_MAX(last, pv__links_at(row, i) & ~PV__PROTECTED);
    }
    if (PV_UNLIKELY(last >= g->meta.node_high)) {
        return pv__graph_corrupt(g, from, "it links beyond the last node", err);
    }
    *out_n = walk_unseen(w, row, count);
    return pv__colview_rows(&w->codes, w->ids, *out_n, w->rows, err);
}

int pv__walk_expand(pv__graph *g, pv__walker *w, uint32_t node, size_t *out_n, pv_error *err) {
    const uint8_t *row;
    PV_TRY(pv__colview_row(&w->links, node, &row, err));
    PV_TRY(walk_gather(g, w, node, row, pv__links_count(row), out_n, err));
    pv__code_distances_expected(&w->code, w->query, w->rows, *out_n, w->distances);
    return 0;
}

/* Bit i: distance i is below the bound. */
static uint32_t walk_near(const pv__walker *w, size_t n, float bound) {
    uint32_t near = 0;
    for (size_t i = 0; i < n; i++) {
        near |= (uint32_t)(w->distances[i] < bound) << i;
    }
    return near;
}

void pv__walk_prefetch_links(pv__walker *w, uint32_t node) {
    const uint8_t *row;
    if (pv__colview_row(&w->links, node, &row, NULL) == 0) {
        PV_PREFETCH(row);
        PV_PREFETCH(row + 64);
    }
}

static void walk_prefetch_next(pv__walker *w, const pv__hit *pool, size_t at, size_t count) {
    if (at < count) {
        pv__walk_prefetch_links(w, pool[at].slot & ~PV__EXPANDED);
    }
}

float pv__walk_bound(const pv__walker *w, const pv__effort *e, const pv__hit *pool, size_t count) {
    float bound = count < e->pool ? INFINITY : pool[count - 1].distance;
    if (count >= e->k && e->stop < INFINITY) { /* not with dot, whose distances are negative */
        bound = PV_MIN(bound, e->stop * pool[e->k - 1].distance + w->doubt);
    }
    return bound;
}

int pv__walk_level0(pv__graph *g, pv__walker *w, const pv__effort *effort, size_t *io_count,
                    pv_error *err) {
    pv__hit *pool = w->pool;
    size_t count = *io_count, at = 0;
    while (at < count) {
        if (pool[at].slot & PV__EXPANDED) {
            at++;
            continue;
        }
        const float stop = pv__walk_bound(w, effort, pool, count);
        if (pool[at].distance > stop) {
            break;
        }
        if (PV_UNLIKELY(pv__txn_crowded(g->txn))) {
            PV_TRY(pv__walker_pause(w, g->txn, err));
        }
        size_t n = 0;
        const uint32_t node = pool[at].slot;
        pool[at].slot |= PV__EXPANDED;
        walk_prefetch_next(w, pool, at + 1, count); /* often the next one */
        PV_TRY(pv__walk_expand(g, w, node, &n, err));
        size_t next = at + 1;
        for (uint32_t near = walk_near(w, n, stop); near != 0; near &= near - 1) {
            const unsigned i = pv__low_bit(near);
            const size_t place =
                pv__pool_insert(pool, &count, effort->pool, w->distances[i], w->ids[i]);
            next = PV_MIN(next, place);
        }
        at = next;
        walk_prefetch_next(w, pool, at, count);
    }
    for (size_t i = 0; i < count; i++) {
        pool[i].slot &= ~PV__EXPANDED;
    }
    *io_count = count;
    return 0;
}

/* ---- above ----------------------------------------------------------------------------------- */

/* There is room for a visit. */
static void walk_skip(pv__walker *w) {
    if (w->skip != PV__NODE_NONE) {
        (void)pv__walker_visit(w, w->skip);
    }
}

/* Distance from the query to a node's code. */
static int walk_distance(pv__graph *g, pv__walker *w, uint32_t node, float *out, pv_error *err) {
    const uint8_t *row;
    if (node >= g->meta.node_high) {
        return pv__graph_corrupt(g, node, "it is beyond the last node", err);
    }
    PV_TRY(pv__colview_row(&w->codes, node, &row, err));
    pv__code_distances(&w->code, w->query, &row, 1, out);
    return 0;
}

/* A row of upper level `level` (0 is the first above level 0), in use. */
static int walk_upper_row(pv__graph *g, pv__walker *w, uint32_t level, uint32_t rank,
                          const uint8_t **out, pv_error *err) {
    if (rank >= g->meta.levels[level].high) {
        return pv__graph_corrupt(g, rank, "an upper level leads beyond its last row", err);
    }
    PV_TRY(pv__colview_row(&w->upper[level], rank, out, err));
    return pv__upper_used(*out) ? 0 : pv__graph_corrupt(g, rank, "an upper row is not in use", err);
}

/* The same as level 0 over rows of one upper level; ranks move along with the pool. */
static int walk_upper_level(pv__graph *g, pv__walker *w, uint32_t level, size_t beam,
                            size_t *io_count, pv_error *err) {
    pv__hit *pool = w->pool;
    uint32_t *ranks = w->seen_ranks;
    size_t count = *io_count, at = 0;
    while (at < count) {
        if (pool[at].slot & PV__EXPANDED) {
            at++;
            continue;
        }
        const uint8_t *row;
        uint32_t neighbour_ranks[PV__UPPER_DEGREE];
        size_t n = 0;
        pool[at].slot |= PV__EXPANDED;
        PV_TRY(walk_upper_row(g, w, level, ranks[at], &row, err));
        const unsigned links = PV_MIN(pv__upper_count(row), PV__UPPER_DEGREE);
        pv__walker_room(w);
        for (unsigned i = 0; i < links; i++) {
            const uint32_t node = pv__upper_link(row, i), rank = pv__upper_rank(row, i);
            if (PV_UNLIKELY(node >= g->meta.node_high || rank >= g->meta.levels[level].high)) {
                return pv__graph_corrupt(g, node, "an upper level leads beyond the last node", err);
            }
            neighbour_ranks[n] = rank;
            w->ids[n] = node;
            n += pv__walker_visit(w, node);
        }
        /* Of one of them the links will be read next. */
        PV_TRY(pv__colview_rows(&w->upper[level], neighbour_ranks, n, w->rows, err));
        PV_TRY(pv__colview_rows(&w->codes, w->ids, n, w->rows, err));
        pv__code_distances_expected(&w->code, w->query, w->rows, n, w->distances);
        size_t next = at + 1;
        for (size_t i = 0; i < n; i++) {
            if (count < beam || w->distances[i] < pool[count - 1].distance) {
                const size_t place =
                    pv__pool_insert(pool, &count, beam, w->distances[i], w->ids[i]);
                if (place < beam) {
                    memmove(&ranks[place + 1], &ranks[place], (count - 1 - place) * sizeof *ranks);
                    ranks[place] = neighbour_ranks[i];
                }
                next = PV_MIN(next, place);
            }
        }
        at = next;
    }
    for (size_t i = 0; i < count; i++) {
        pool[i].slot &= ~PV__EXPANDED;
    }
    *io_count = count;
    return 0;
}

int pv__walk_upper(pv__graph *g, pv__walker *w, uint32_t level, size_t beam, size_t *out_count,
                   pv_error *err) {
    size_t count = 0;
    *out_count = 0;
    if (g->meta.level_count < level) {
        return 0;
    }
    for (uint32_t l = g->meta.level_count; l >= level; l--) {
        const uint8_t *row;
        if (count == 0) {
            w->seen_ranks[0] = g->meta.levels[l - 1].entry - 1;
        } else {
            PV_TRY(walk_upper_row(g, w, l, w->seen_ranks[0], &row, err));
            w->seen_ranks[0] = pv__upper_down(row);
        }
        PV_TRY(pv__walker_upper(w, g, l - 1, err));
        PV_TRY(walk_upper_row(g, w, l - 1, w->seen_ranks[0], &row, err));
        w->pool[0].slot = pv__upper_node(row);
        PV_TRY(walk_distance(g, w, w->pool[0].slot, &w->pool[0].distance, err));
        pv__walker_room(w);
        walk_skip(w);
        (void)pv__walker_visit(w, w->pool[0].slot);
        count = 1;
        const int rc = walk_upper_level(g, w, l - 1, l == level ? beam : 1, &count, err);
        pv__walker_clear(w);
        PV_TRY(rc);
    }
    *out_count = count;
    return 0;
}

#define WALK_BEAM 2u

int pv__walk_enter(pv__graph *g, pv__walker *w, size_t *out_count, pv_error *err) {
    size_t count = 0;
    float distance;
    const uint32_t root = g->meta.root - 1;
    PV_TRY(pv__walk_upper(g, w, 1, WALK_BEAM, &count, err));
    pv__walker_room(w);
    walk_skip(w);
    for (size_t i = 0; i < count; i++) {
        (void)pv__walker_visit(w, w->pool[i].slot);
    }
    if (pv__walker_visit(w, root)) {
        PV_TRY(walk_distance(g, w, root, &distance, err));
        (void)pv__pool_insert(w->pool, &count, count + 1, distance, root);
    }
    *out_count = count;
    return 0;
}

#undef WALK_BEAM
