/* SPDX-License-Identifier: Apache-2.0 */
/* walk.c - following links towards a query.
 *
 *      level L..1   few rows, a pool of a handful      (pv__walk_upper)
 *      level 0      pool of the nearest so far, ascending:
 *
 *          | . | x | x | . | . | ...        x: links followed
 *            '-- nearest not followed: read its links, drop those seen before, ask memory for the
 *                codes of the others; compare them all in one call, put the near ones into the pool
 *
 * Memory is slower than comparing. So while the codes of one hop come, the one before is compared:
 * the next node is picked without knowing what the hop between will bring. That is guessed to be
 * nothing better when the last hop brought nothing better. Nothing is lost by a wrong guess but the
 * order: what is picked is near enough to be followed, now or later.
 *
 * It ends when every node of the pool has been followed, or the nearest that has not is too far
 * beyond the k-th (pv__effort). One sorted array instead of two heaps as in pyglass; visited nodes
 * are a bitmap that is cleared by a list of its words. */
#include <float.h>
#include <math.h>

#include "ann/internal.h"
#include "kernel/code_kernel.h"

/* Of the links of a row those that were not visited yet; now they are. *out_bad: one leads beyond
 * the last node. */
static size_t walk_unseen(pv__walker *w, const uint8_t *row, uint32_t high, uint32_t *ids,
                          bool *out_bad) {
    const unsigned count = pv__links_count(row);
    uint64_t *const visited = w->visited;
    pv__walker_room(w);
    uint32_t *mark = w->marks + w->mark_count;
    size_t n = 0;
    bool bad = false;
    for (unsigned i = 0; i < count; i++) { /* without a branch: nobody can guess it */
        const uint32_t link = pv__links_at(row, i) & ~PV__PROTECTED;
        const uint32_t node = link < high ? link : 0;
        const uint64_t word = visited[node / 64], bit = UINT64_C(1) << (node % 64);
        bad |= node != link;
        ids[n] = node;
        n += (word & bit) == 0;
        *mark = node / 64;
        mark += word == 0;
        visited[node / 64] = word | bit;
    }
    w->mark_count = (size_t)(mark - w->marks);
    *out_bad = bad;
    return n;
}

/* Check the links of a node and gather those neighbours that were not visited yet; their rows of
 * codes are on the way. */
static int walk_gather(pv__graph *g, pv__walker *w, uint32_t node, uint32_t *ids,
                       const uint8_t **rows, size_t *out_n, pv_error *err) {
    const uint8_t *row;
    bool bad;
    PV_TRY(pv__colview_row(&w->links, node, &row, err));
    *out_n = walk_unseen(w, row, g->meta.node_high, ids, &bad);
    if (PV_UNLIKELY(bad)) {
        return pv__graph_corrupt(g, node, "it links beyond the last node", err);
    }
    return pv__colview_rows(&w->codes, ids, *out_n, rows, err);
}

int pv__walk_expand(pv__graph *g, pv__walker *w, uint32_t node, size_t *out_n, pv_error *err) {
    PV_TRY(walk_gather(g, w, node, w->ids, w->rows, out_n, err));
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

void pv__walk_lift(const pv__graph *g, pv__walker *w, const void *vector) {
    if (g->metric == PV_METRIC_DOT) {
        const double norm2 = pv__element_norm2(pv__element_of(g->type), vector, g->dims);
        w->lift = (float)PV_MIN(sqrt(norm2 * (double)pv__graph_reach2(g)), (double)FLT_MAX / 4);
    }
}

float pv__walk_stop(const pv__walker *w, float stop, float distance) {
    return pv__unfused(stop * distance) + pv__unfused((stop - 1) * w->lift) + w->doubt;
}

float pv__walk_bound(const pv__walker *w, const pv__effort *e, const pv__hit *pool, size_t count) {
    float bound = count < e->pool ? INFINITY : pool[count - 1].distance;
    if (count >= e->k && e->stop < INFINITY) {
        bound = PV_MIN(bound, pv__walk_stop(w, e->stop, pool[e->k - 1].distance));
    }
    return bound;
}

/* Neighbours of one node whose codes were asked for. */
typedef struct walk_hop {
    uint32_t ids[PV__WALK_ROWS];
    const uint8_t *rows[PV__WALK_ROWS];
    size_t n;
} walk_hop;

/* Compare them; those within the bound into the pool. The first place where one came to stand, or
 * `at`. */
static size_t walk_compare(pv__walker *w, const walk_hop *h, float bound, size_t cap,
                           size_t *io_count, size_t at) {
    pv__code_distances_expected(&w->code, w->query, h->rows, h->n, w->distances);
    for (uint32_t near = walk_near(w, h->n, bound); near != 0; near &= near - 1) {
        const unsigned i = pv__low_bit(near);
        const size_t place = pv__pool_insert(w->pool, io_count, cap, w->distances[i], h->ids[i]);
        at = PV_MIN(at, place);
    }
    return at;
}

int pv__walk_level0(pv__graph *g, pv__walker *w, const pv__effort *effort, size_t *io_count,
                    pv_error *err) {
    pv__hit *pool = w->pool;
    walk_hop hops[2];
    size_t count = *io_count, at = 0, waiting = 0; /* hops that are not compared yet */
    unsigned first = 0;                            /* of them */
    bool steady = false;                           /* the last hop brought nothing better */
    for (;;) {
        while (at < count && (pool[at].slot & PV__EXPANDED)) {
            at++;
        }
        const float stop = pv__walk_bound(w, effort, pool, count);
        const bool near = at < count && pool[at].distance <= stop;
        const bool crowded = pv__txn_crowded(g->txn); /* then nothing is held while it pauses */
        if (near && (waiting == 0 || (waiting == 1 && steady && !crowded))) {
            if (PV_UNLIKELY(crowded)) {
                PV_TRY(pv__walker_pause(w, g->txn, err));
            }
            walk_hop *h = &hops[(first + waiting) % 2];
            const uint32_t node = pool[at].slot;
            pool[at].slot |= PV__EXPANDED;
            walk_prefetch_next(w, pool, ++at, count); /* often the next one */
            PV_TRY(walk_gather(g, w, node, h->ids, h->rows, &h->n, err));
            waiting++;
            continue;
        }
        if (waiting == 0) {
            break;
        }
        const size_t place = walk_compare(w, &hops[first], stop, effort->pool, &count, at);
        first ^= 1u;
        waiting--;
        steady = place == at;
        at = place;
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
