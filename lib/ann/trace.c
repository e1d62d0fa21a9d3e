/* SPDX-License-Identifier: Apache-2.0 */
/* trace.c - one walk that tells of many efforts what each of them would have found.
 *
 *      found    |0 1 2 3 4 5 6 7 ...            nodes in the order in which the walk meets them
 *                    ^       ^     ^
 *                    effort 0, 1, 2 ... would end here
 *
 * A walk follows the nearest first, and a greater effort follows all that a smaller one does before
 * it goes on: where the walk first passes the bound of an effort, that one would end, and what has
 * been met until then is what it finds. The walk itself ends when it has followed three times as
 * many nodes as when something last came among the nearest: a hard query is walked longer.
 *
 * The query is a row of the graph that the walk passes by. Nodes near it chose their neighbours
 * while it was there: what it hid from them, they would link to without it. So a node that links to
 * it gets back, for this walk, those of its neighbours that were there before (nodes are numbered
 * as they come, and choose among what is there) and that no other neighbour hides. Without that,
 * rows look harder to find than queries that are no rows; with all of its neighbours, easier. */
#include <math.h>

#include "ann/build.h"

#define TRACE_NEAREST 100u /* what comes among so many is worth waiting for */
#define TRACE_FOLLOWED_MIN 300u
#define TRACE_LONGER 3u /* times as many followed as when something came */
#define TRACE_FOLLOWED_MAX 12800u
#define TRACE_POOL 2560u
#define TRACE_COARSE 4u     /* candidates of a coarse code, for each one of a finer */
#define TRACE_REFINED 2560u /* of them are measured again */
#define TRACE_ALIGN 64u

typedef struct trace_walk {
    pv__trace *t;
    pv__roam roam;
    uint32_t ended[PV__CURVES]; /* efforts that would have ended */
    size_t count;               /* of w->pool, whose slots are places in found */
    uint32_t nearer;            /* nodes followed when one came that is near */
    uint8_t *place;             /* a prepared query: a node's code */
} trace_walk;

int pv__trace_found(pv__trace *t, pv__walker *w, uint32_t node, uint32_t *out, pv_error *err) {
    PV_TRY(pv__alloc_grow(w->mem, (void **)&t->found, &t->found_cap, (size_t)t->found_count + 1,
                          sizeof *t->found, err));
    *out = t->found_count;
    t->found[t->found_count++] = node;
    return 0;
}

uint32_t pv__trace_nearest(const pv__walker *w) {
    return TRACE_NEAREST * (w->coarse ? TRACE_COARSE : 1);
}

static int trace_found(pv__walker *w, trace_walk *x, float distance, uint32_t node, pv_error *err) {
    uint32_t at = 0;
    PV_TRY(pv__trace_found(x->t, w, node, &at, err));
    if (pv__pool_insert(w->pool, &x->count, TRACE_POOL, distance, at) < pv__trace_nearest(w)) {
        x->nearer = x->roam.followed;
    }
    return 0;
}

/* The next node to be followed is `distance` away: which efforts would not follow it? */
static void trace_ends(const pv__walker *w, trace_walk *x, float distance) {
    for (unsigned c = 0; c < PV__CURVES; c++) {
        while (x->ended[c] < PV__CURVE_POINTS &&
               distance > pv__walk_bound(w, &x->t->efforts[c][x->ended[c]], w->pool, x->count)) {
            x->t->ends[c][x->ended[c]++] = x->t->found_count;
        }
    }
}

/* ---- links that the row took away ------------------------------------------------------------ */

static size_t trace_links(pv__candidate *c, size_t n, const uint8_t *row, uint32_t below,
                          uint32_t but, bool keep) {
    const size_t before = n;
    for (unsigned i = 0; i < pv__links_count(row); i++) {
        const uint32_t node = pv__links_at(row, i) & ~PV__PROTECTED;
        bool known = node == but || node >= below;
        for (size_t k = 0; k < before && !known; k++) {
            known = c[k].node == node;
        }
        if (!known) {
            c[n++] = (pv__candidate){.node = node, .keep = keep};
        }
    }
    return n;
}

static bool trace_has_link(const uint8_t *row, uint32_t node) {
    bool has = false;
    for (unsigned i = 0; i < pv__links_count(row); i++) {
        has = has || (pv__links_at(row, i) & ~PV__PROTECTED) == node;
    }
    return has;
}

/* Nodes, not seen before, that `node` would link to if the row were not there: into w->ids. */
static int trace_hidden(pv__graph *g, pv__walker *w, trace_walk *x, uint32_t node, size_t *out_n,
                        pv_error *err) {
    pv__candidate c[2 * PV__GRAPH_DEGREE];
    const uint8_t *row, *code;
    *out_n = 0;
    PV_TRY(pv__colview_row(&w->links, node, &row, err));
    if (!trace_has_link(row, w->skip)) {
        return 0;
    }
    size_t n = trace_links(c, 0, row, UINT32_MAX, w->skip, true);
    PV_TRY(pv__colview_row(&w->links, w->skip, &row, err));
    n = trace_links(c, n, row, node, node, false);
    PV_TRY(pv__colview_row(w->fines, node, &code, err));
    pv__code_query_link(&w->fine, code, x->place);
    PV_TRY(pv__candidates_measure_by(g, w->fines, &w->fine, x->place, c, n, err));
    n = pv__prune(&w->fine, w->pair, c, n, PV_COUNTOF(c), PV__GRAPH_SLACK);
    pv__walker_room(w);
    for (size_t i = 0; i < n; i++) {
        if (!c[i].keep && pv__walker_visit(w, c[i].node)) {
            w->ids[(*out_n)++] = c[i].node;
        }
    }
    return 0;
}

static int trace_heal(pv__graph *g, pv__walker *w, trace_walk *x, uint32_t node, pv_error *err) {
    const uint8_t *row;
    size_t n = 0;
    PV_TRY(trace_hidden(g, w, x, node, &n, err));
    PV_TRY(pv__queue_room(&w->front, w->mem, n, err));
    PV_TRY(pv__colview_rows(&w->codes, w->ids, n, w->rows, err));
    pv__code_distances(&w->code, w->query, w->rows, n, w->distances);
    for (size_t i = 0; i < n; i++) {
        pv__queue_put(&w->front, (pv__hit){w->distances[i], w->ids[i]});
        PV_TRY(pv__colview_row(&w->links, w->ids[i], &row, err));
        if (pv__links_state(row) == PV__NODE_LIVE) {
            PV_TRY(trace_found(w, x, w->distances[i], w->ids[i], err));
        }
    }
    return 0;
}

/* ---- the walk -------------------------------------------------------------------------------- */

static bool trace_is_over(const trace_walk *x) {
    const uint32_t followed = x->roam.followed;
    return followed >= TRACE_FOLLOWED_MAX ||
           (followed >= TRACE_FOLLOWED_MIN && followed >= TRACE_LONGER * x->nearer);
}

static int trace_walk_on(pv__graph *g, pv__walker *w, trace_walk *x, pv_error *err) {
    for (;;) {
        for (size_t i = 0; i < w->kept_count; i++) {
            PV_TRY(trace_found(w, x, w->kept[i].distance, w->kept[i].slot, err));
        }
        w->kept_count = 0;
        if (w->front.count == 0 || trace_is_over(x)) {
            return 0;
        }
        trace_ends(w, x, w->front.hits[0].distance);
        if (PV_UNLIKELY(pv__txn_crowded(g->txn))) {
            PV_TRY(pv__walker_pause(w, g->txn, err));
        }
        PV_TRY(pv__roam_step(g, w, &x->roam, INFINITY, err));
        if (w->skip != PV__NODE_NONE) {
            PV_TRY(trace_heal(g, w, x, x->roam.last.slot, err));
        }
    }
}

/* ---- who finds what -------------------------------------------------------------------------- */

/* Of a curve the first effort that has met it, and looks at it again where only the finer code
 * decides. */
static unsigned trace_first(const pv__trace *t, unsigned curve, pv__hit at) {
    unsigned i = 0;
    while (i < PV__CURVE_POINTS &&
           (at.slot >= t->ends[curve][i] || at.distance > t->bounds[curve][i])) {
        i++;
    }
    return i;
}

static int trace_firsts(pv__graph *g, pv__trace *t, size_t count, pv_error *err) {
    for (uint32_t h = 0; h < t->count; h++) {
        uint32_t node = 0;
        size_t at = 0;
        PV_TRY(pv__graph_word_get(&g->node_of, t->hits[h].slot, &node, err));
        while (at < count && t->found[t->met[at].slot] != node - 1) {
            at++;
        }
        if (at == count) {
            return pv__graph_corrupt(g, node - 1, "a slot leads to another node than it has", err);
        }
        for (unsigned c = 0; c < PV__CURVES; c++) {
            t->first[c][h] = (uint8_t)trace_first(t, c, t->met[at]);
        }
    }
    return 0;
}

int pv__trace_end(pv__graph *g, pv__walker *w, const void *vector, size_t count, pv__trace *t,
                  pv_error *err) {
    const pv__effort effort = {
        .pool = TRACE_POOL, .k = PV__TRACE_HITS, .stop = INFINITY, .taken = PV__TRACE_HITS};
    count = PV_MIN(count, w->coarse ? TRACE_REFINED : PV__TRACE_HITS);
    PV_TRY(pv__alloc_grow(w->mem, (void **)&t->met, &t->met_cap, count, sizeof *t->met, err));
    memcpy(t->met, w->pool, count * sizeof *t->met);
    for (size_t i = 0; i < count; i++) {
        w->pool[i].slot = t->found[t->met[i].slot];
    }
    PV_TRY(pv__search_end(g, w, vector, &effort, PV__TRACE_HITS, NULL, count, t->hits, &t->count,
                          err));
    return trace_firsts(g, t, count, err);
}

/* Those that have not ended find all; and how far each believes product codes. */
static void trace_last(const pv__walker *w, trace_walk *x) {
    pv__trace *t = x->t;
    const bool believed = w->code.kind != PV__CODE_PQ;
    for (unsigned c = 0; c < PV__CURVES; c++) {
        for (unsigned i = 0; i < PV__CURVE_POINTS; i++) {
            t->bounds[c][i] =
                believed ? INFINITY : pv__walk_bound(w, &t->efforts[c][i], w->pool, x->count);
        }
        while (x->ended[c] < PV__CURVE_POINTS) {
            t->ends[c][x->ended[c]++] = t->found_count;
        }
    }
}

int pv__links_trace(pv__graph *g, pv__walker *w, const void *vector, pv__trace *t, pv_error *err) {
    trace_walk x = {.t = t};
    size_t seeds = 0;
    t->found_count = 0;
    PV_TRY(pv__search_begin(g, w, vector, TRACE_POOL, &seeds, err));
    const size_t bytes = PV_MAX(g->code.query_bytes, g->fine.query_bytes);
    x.place = pv__alloc_aligned(w->mem, bytes, TRACE_ALIGN);
    if (!x.place) {
        return pv__err_nomem(err, bytes);
    }
    int rc = pv__roam_begin(g, w, &x.roam, seeds, err);
    rc = rc == 0 ? trace_walk_on(g, w, &x, err) : rc;
    if (rc == 0) {
        trace_last(w, &x);
        rc = pv__trace_end(g, w, vector, x.count, t, err);
    }
    pv__alloc_free_aligned(w->mem, x.place, bytes, TRACE_ALIGN);
    return rc;
}

void pv__trace_done(pv__trace *t, pv__mem *mem) {
    pv__alloc_free(mem, t->found, t->found_cap * sizeof *t->found);
    pv__alloc_free(mem, t->met, t->met_cap * sizeof *t->met);
}

#undef TRACE_NEAREST
#undef TRACE_FOLLOWED_MIN
#undef TRACE_LONGER
#undef TRACE_FOLLOWED_MAX
#undef TRACE_POOL
#undef TRACE_COARSE
#undef TRACE_REFINED
#undef TRACE_ALIGN
