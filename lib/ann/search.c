/* SPDX-License-Identifier: Apache-2.0 */
/* search.c - one query: prepare, walk, refine, turn nodes into slots. */
#include <math.h>

#include "ann/internal.h"

#define SEARCH_POOL_MIN 8u        /* room for where a walk begins */
#define SEARCH_EXPANSIONS 8u      /* of the pool, beyond which a walk among the dead is given up */
#define SEARCH_COARSE_SIGMAS 3.0f /* the same where the next code is to decide */
#define SEARCH_DOUBT_SIGMAS 2.0f  /* what a walk by a coarse code looks at beyond its stop */
#define SEARCH_AHEAD 256u         /* codes that the disk is asked for at once */
#define SEARCH_DEAD_SHARE 4u      /* a quarter of the walks made twice is as much as asking pays */
#define SEARCH_SIGMAS 2.0f        /* deviations that an estimate is trusted to stay within */

int pv__search_each_dup(pv__graph *g, uint32_t node, pv__graph_take_fn take, void *ctx,
                        pv_error *err) {
    uint8_t key[8] = {0};
    pv__cursor *cursor = NULL;
    bool valid = false;
    pv__put32be(key, node);
    int rc = pv__cursor_new(&g->dups, &cursor, err);
    if (rc == 0) {
        rc = pv__cursor_seek(cursor, (pv__bytes){key, 8}, &valid, err);
    }
    while (rc == 0 && valid) {
        const pv__bytes at = pv__cursor_key(cursor);
        if (at.size != 8 || pv__get32be(at.data) != node) {
            break;
        }
        rc = take(ctx, pv__get32be(at.data + 4), err);
        rc = rc == 0 ? pv__cursor_next(cursor, &valid, err) : rc;
    }
    pv__cursor_free(cursor);
    return PV_MIN(rc, 0);
}

/* Slots of one node. */
typedef struct gsearch_dups {
    const pv__allowed *allowed;
    pv__hit node;
    uint32_t want;
    pv__hit *hits; /* NULL: they are counted */
    uint32_t *count;
    uint32_t slots[PV__ASK_MANY]; /* to be looked at, */
    uint32_t n;
    uint32_t seen, next; /* slots that were; all below `next` */
    uint32_t look;       /* at no more than so many */
} gsearch_dups;

static void gsearch_dup_add(gsearch_dups *d, uint32_t slot) {
    if (d->hits) {
        d->hits[*d->count] = (pv__hit){d->node.distance, slot};
    }
    *d->count += 1;
}

static int gsearch_dups_look(gsearch_dups *d, pv_error *err) {
    const pv__allowed *a = d->allowed;
    bool counts[PV__ASK_MANY];
    PV_TRY(a && a->ask && d->n > 0 ? a->ask(a->ctx, d->slots, d->n, counts, err) : 0);
    for (uint32_t i = 0; i < d->n && *d->count < d->want; i++) {
        if (!a || (a->ask ? counts[i] : pv__allowed_bit(a, d->slots[i]))) {
            gsearch_dup_add(d, d->slots[i]);
        }
        d->next = d->slots[i] + 1;
    }
    d->n = 0;
    return 0;
}

/* Is going through all that are allowed shorter than going on? */
static bool gsearch_dups_shorter(const gsearch_dups *d) {
    return d->allowed && !d->allowed->ask && d->seen > d->allowed->count;
}

static int gsearch_dup(void *ctx, uint32_t slot, pv_error *err) {
    gsearch_dups *d = ctx;
    d->slots[d->n++] = slot;
    d->seen++;
    PV_TRY(d->n == PV__ASK_MANY ? gsearch_dups_look(d, err) : 0);
    return *d->count >= d->want || d->seen >= d->look || gsearch_dups_shorter(d);
}

/* The rest of them, as slots that are allowed and lead to the node. */
static int gsearch_dups_allowed(pv__graph *g, pv__walker *w, gsearch_dups *d, pv_error *err) {
    const uint32_t slots = PV_MIN(g->slots, g->meta.built), end = PV_MIN(d->allowed->slots, slots);
    const uint8_t *row;
    PV_TRY(pv__colview_row(&w->slot_of, d->node.slot, &row, err));
    const uint32_t first = pv__get32(row) & ~PV__SLOT_MORE;
    PV_TRY(pv__colview_open(&w->node_of, &g->node_of, PV_MAX(slots, 1u), &w->sights, w->mem, err));
    for (uint32_t slot = pv__allowed_next(d->allowed, d->next, end);
         slot < end && *d->count < d->want; slot = pv__allowed_next(d->allowed, slot + 1, end)) {
        PV_TRY(pv__colview_row(&w->node_of, slot, &row, err));
        if (pv__get32(row) - 1 == d->node.slot && slot != first) {
            gsearch_dup_add(d, slot);
        }
    }
    return 0;
}

static int gsearch_dups_all(pv__graph *g, pv__walker *w, gsearch_dups *d, pv_error *err) {
    if (*d->count >= d->want) {
        return 0;
    }
    PV_TRY(pv__search_each_dup(g, d->node.slot, gsearch_dup, d, err));
    PV_TRY(gsearch_dups_look(d, err));
    return gsearch_dups_shorter(d) ? gsearch_dups_allowed(g, w, d, err) : 0;
}

int pv__search_counts(pv__graph *g, pv__walker *w, const pv__allowed *allowed, uint32_t node,
                      uint32_t most, uint32_t look, bool *out_lives, uint32_t *out, pv_error *err) {
    const uint8_t *row;
    PV_TRY(pv__colview_row(&w->slot_of, node, &row, err));
    const uint32_t word = pv__get32(row);
    bool counts = *out_lives = word != PV__SLOT_NONE;
    PV_TRY(counts && allowed ? pv__allowed_test(allowed, word & ~PV__SLOT_MORE, &counts, err) : 0);
    *out = counts ? 1 : 0;
    if (*out_lives && allowed && (word & PV__SLOT_MORE)) {
        gsearch_dups d = {
            .allowed = allowed, .node = {0, node}, .want = most, .count = out, .look = look};
        PV_TRY(gsearch_dups_all(g, w, &d, err));
    }
    return 0;
}

/* ---- what the error of codes may have put in the wrong place -------------------------------- */

/* Is what begins at place `at` of the pool too far to be among the nearest? A bit tells by how much
 * it may be wrong. What product codes lose of a row, the query has a part of, the more the nearer
 * it is: near rows look farther than they are, by no known amount. There the stop, which was
 * calibrated, says what is worth a second look. */
static int gsearch_is_far(pv__walker *w, size_t at, float kth, float stop, bool *out,
                          pv_error *err) {
    const uint8_t *row;
    float sigma = 0;
    if (w->code.kind == PV__CODE_PQ) {
        *out = w->pool[at].distance > stop;
        return 0;
    }
    PV_TRY(pv__colview_row(&w->codes, w->pool[at].slot, &row, err));
    pv__code_sigmas(&w->code, w->query, &row, 1, &w->pool[at].distance, &sigma);
    *out = w->pool[at].distance - SEARCH_COARSE_SIGMAS * sigma > kth;
    return 0;
}

/* Fine codes of `count` of the pool. */
static int gsearch_fines(pv__walker *w, size_t at, size_t count, const uint8_t **rows,
                         pv_error *err) {
    for (size_t i = 0; i < count; i++) {
        w->ids[i] = w->pool[at + i].slot;
    }
    return pv__colview_rows(w->fines, w->ids, count, rows, err);
}

/* The fine codes of what will be measured again, by all that is known before. */
static int gsearch_ahead(pv__walker *w, uint32_t k, float stop, size_t count, pv_error *err) {
    const float sigmas = SEARCH_COARSE_SIGMAS / SEARCH_DOUBT_SIGMAS * w->doubt;
    const float bound = w->code.kind == PV__CODE_PQ
                            ? stop
                            : w->pool[PV_MIN((size_t)k, count) - 1].distance + sigmas;
    uint32_t nodes[SEARCH_AHEAD];
    size_t n = 0;
    while (n < PV_MIN(count, (size_t)SEARCH_AHEAD) && w->pool[n].distance <= bound) {
        nodes[n] = w->pool[n].slot;
        n++;
    }
    return pv__colview_ahead(w->fines, nodes, n, err);
}

/* Candidates of a coarse walk are measured again by the finer code, nearest first, until the k-th
 * of those is nearer than the others can be. They come out in the pool, at most `cap`. */
static int gsearch_refine(pv__walker *w, const void *query, const pv__effort *effort, uint32_t cap,
                          size_t *io_count, pv_error *err) {
    const uint32_t k = PV_MIN(effort->k, cap);
    const float stop = pv__walk_bound(w, effort, w->pool, *io_count);
    const uint8_t *rows[PV__WALK_ROWS];
    float distances[PV__WALK_ROWS];
    size_t n = 0;
    bool far = false;
    PV_TRY(pv__alloc_grow(w->mem, (void **)&w->front.hits, &w->front.cap, (size_t)cap + 1,
                          sizeof *w->front.hits, err));
    pv__hit *const best = w->front.hits;
    if (*io_count > 0) {
        PV_TRY(gsearch_ahead(w, k, stop, *io_count, err));
    }
    for (size_t at = 0; at < *io_count; at += PV__WALK_ROWS) {
        const size_t count = PV_MIN(*io_count - at, (size_t)PV__WALK_ROWS);
        if (n >= cap) {
            PV_TRY(gsearch_is_far(w, at, best[k - 1].distance, stop, &far, err));
            if (far) {
                break;
            }
        }
        PV_TRY(gsearch_fines(w, at, count, rows, err));
        pv__code_distances(&w->fine, query, rows, count, distances);
        for (size_t i = 0; i < count; i++) {
            (void)pv__pool_insert(best, &n, cap, distances[i], w->pool[at + i].slot);
        }
    }
    memcpy(w->pool, best, n * sizeof *best);
    *io_count = n;
    return 0;
}

float pv__graph_distance(const pv__graph *g, float distance) {
    return pv__metric_of_code(pv__metric_of(g->metric), distance);
}

/* Lower bounds of the first `count` of the pool, ascending, of those from `from` on; and room for
 * those of `want` hits. */
static int gsearch_lower(pv__graph *g, pv__walker *w, const void *query, size_t from, size_t count,
                         uint32_t want, pv_error *err) {
    PV_TRY(pv__alloc_grow(w->mem, (void **)&w->lower, &w->lower_cap, count + want, sizeof *w->lower,
                          err));
    w->bounds = count;
    for (size_t i = 0; i < PV_MIN(from, count); i++) {
        w->lower[i] = -INFINITY;
    }
    for (size_t at = from; at < count; at += PV__WALK_ROWS) {
        const uint8_t *rows[PV__WALK_ROWS];
        float distances[PV__WALK_ROWS], sigmas[PV__WALK_ROWS];
        const size_t n = PV_MIN(count - at, (size_t)PV__WALK_ROWS);
        for (size_t i = 0; i < n; i++) {
            distances[i] = w->pool[at + i].distance;
        }
        PV_TRY(gsearch_fines(w, at, n, rows, err));
        pv__code_sigmas(&w->fine, query, rows, n, distances, sigmas);
        for (size_t i = 0; i < n; i++) {
            w->lower[at + i] = pv__graph_distance(g, distances[i] - SEARCH_SIGMAS * sigmas[i]);
        }
    }
    for (size_t i = count; i-- > from + 1;) {
        w->lower[i - 1] = PV_MIN(w->lower[i - 1], w->lower[i]);
    }
    return 0;
}

const float *pv__graph_lower(const pv__walker *w) { return w->lower + w->bounds; }

/* The nodes of the pool as slots. Their bounds go with them. */
static int gsearch_slots(pv__graph *g, pv__walker *w, size_t count, const pv__allowed *allowed,
                         uint32_t want, pv__hit *hits, uint32_t *out_count, pv_error *err) {
    float *const lower = w->lower + w->bounds;
    const uint8_t *rows[PV__WALK_ROWS];
    size_t from = 0, end = 0;
    uint32_t n = 0;
    for (size_t i = 0; i < count && n < want; i++) {
        const uint32_t before = n;
        if (i == end) { /* the next ones at once */
            end = PV_MIN(count, i + PV_MIN(want - n, PV__WALK_ROWS));
            for (size_t k = i; k < end; k++) {
                w->ids[k - i] = w->pool[k].slot;
            }
            PV_TRY(pv__colview_rows(&w->slot_of, w->ids, end - i, rows, err));
            from = i;
        }
        const uint32_t word = pv__get32(rows[i - from]);
        if (word == PV__SLOT_NONE) {
            continue;
        }
        const uint32_t slot = word & ~PV__SLOT_MORE;
        bool counts = false;
        PV_TRY(pv__allowed_test(allowed, slot, &counts, err));
        if (counts) {
            hits[n++] = (pv__hit){w->pool[i].distance, slot};
        }
        if (word & PV__SLOT_MORE) {
            gsearch_dups d = {.allowed = allowed,
                              .node = w->pool[i],
                              .want = want,
                              .hits = hits,
                              .count = &n,
                              .look = UINT32_MAX};
            PV_TRY(gsearch_dups_all(g, w, &d, err));
        }
        for (uint32_t h = before; h < n; h++) {
            lower[h] = w->lower[PV_MIN(i, w->bounds - 1)];
        }
    }
    *out_count = n;
    return 0;
}

int pv__search_end(pv__graph *g, pv__walker *w, const void *vector, const pv__effort *effort,
                   uint32_t want, const pv__allowed *allowed, size_t count, pv__hit *hits,
                   uint32_t *out_count, pv_error *err) {
    const void *query = w->query;
    w->front.count = 0;
    if (w->coarse && !pv__code_same_query(&w->code, &w->fine)) {
        query = w->pair;
        pv__code_query(&w->fine, vector, w->pair);
    }
    if (w->coarse) {
        PV_TRY(gsearch_refine(w, query, effort, want, &count, err));
    }
    PV_TRY(gsearch_lower(g, w, query, effort->taken, PV_MIN(count, (size_t)want), want, err));
    return gsearch_slots(g, w, count, allowed, want, hits, out_count, err);
}

/* ---- walks ----------------------------------------------------------------------------------- */

static int gsearch_live(pv__graph *g, pv__walker *w, const pv__effort *effort, size_t *io_count,
                        bool *out_cut, pv_error *err) {
    pv__roam roam = {.allowed = NULL};
    const size_t seeds = *io_count;
    *io_count = 0;
    PV_TRY(pv__roam_begin(g, w, &roam, seeds, err));
    return pv__roam_nearest(g, w, &roam, effort, SEARCH_EXPANSIONS * effort->pool + 1024, io_count,
                            out_cut, err);
}

/* How many of the nearest k are dead? */
static int gsearch_dead(pv__walker *w, size_t k, size_t *out, pv_error *err) {
    const uint8_t *rows[PV__WALK_ROWS];
    *out = 0;
    for (size_t at = 0; at < k; at += PV__WALK_ROWS) {
        const size_t n = PV_MIN(k - at, (size_t)PV__WALK_ROWS);
        for (size_t i = 0; i < n; i++) {
            w->ids[i] = w->pool[at + i].slot;
        }
        PV_TRY(pv__colview_rows(&w->slot_of, w->ids, n, rows, err));
        for (size_t i = 0; i < n; i++) {
            *out += pv__get32(rows[i]) == PV__SLOT_NONE;
        }
    }
    return 0;
}

/* The nearest that live, from w->pool[0 .. *io_count). Where few are dead, first as if none were:
 * when the nearest k live, the walk has ended where it should. Otherwise once more, asking each.
 * (By coarse codes it is not known yet which are the nearest.) */
static int gsearch_nearest(pv__graph *g, pv__walker *w, const pv__effort *effort, size_t *io_count,
                           bool *out_cut, pv_error *err) {
    pv__hit seeds[SEARCH_POOL_MIN];
    const size_t seed_count = *io_count;
    const uint64_t dead = (uint64_t)g->meta.tomb_count * effort->k;
    PV_ASSERT(seed_count <= SEARCH_POOL_MIN);
    if (dead * SEARCH_DEAD_SHARE > g->meta.node_high || (dead > 0 && w->coarse)) {
        return gsearch_live(g, w, effort, io_count, out_cut, err);
    }
    memcpy(seeds, w->pool, seed_count * sizeof *seeds);
    PV_TRY(pv__walk_level0(g, w, effort, io_count, err));
    size_t found = 0;
    if (dead > 0) {
        PV_TRY(gsearch_dead(w, PV_MIN(*io_count, (size_t)effort->k), &found, err));
    }
    if (found == 0) {
        return 0;
    }
    pv__walker_clear(w);
    if (w->skip != PV__NODE_NONE) {
        (void)pv__walker_visit(w, w->skip);
    }
    for (size_t i = 0; i < seed_count; i++) {
        w->pool[i] = seeds[i];
        (void)pv__walker_visit(w, seeds[i].slot);
    }
    *io_count = seed_count;
    return gsearch_live(g, w, effort, io_count, out_cut, err);
}

int pv__walk_level0_live(pv__graph *g, pv__walker *w, const pv__effort *effort, size_t *io_count,
                         pv_error *err) {
    bool cut = false;
    return gsearch_live(g, w, effort, io_count, &cut, err);
}

/* The k-th nearest by a coarse code is too near, and one of the k nearest may look too far. Both by
 * about a deviation of the code, which depends on the lengths of vectors, not on distances; it is
 * much the same for all rows that are near the query, as is the one where a walk begins. */
static int gsearch_doubt(pv__graph *g, pv__walker *w, size_t count, pv_error *err) {
    const uint8_t *row;
    if (w->coarse && count > 0 && pv__graph_has_ratio(g)) {
        PV_TRY(pv__colview_row(&w->codes, w->pool[0].slot, &row, err));
        pv__code_sigmas(&w->code, w->query, &row, 1, &w->pool[0].distance, &w->doubt);
        w->doubt *= SEARCH_DOUBT_SIGMAS;
    }
    return 0;
}

int pv__search_begin(pv__graph *g, pv__walker *w, const void *vector, size_t pool,
                     size_t *out_count, pv_error *err) {
    PV_TRY(pv__walker_begin(w, g, PV_MAX(pool, SEARCH_POOL_MIN), err));
    pv__code_query(&w->code, vector, w->query);
    pv__walk_lift(g, w, vector);
    PV_TRY(pv__walk_enter(g, w, out_count, err));
    return gsearch_doubt(g, w, *out_count, err);
}

int pv__links_search(pv__graph *g, pv__walker *w, const void *vector, const pv__effort *effort,
                     uint32_t want, pv__hit *hits, uint32_t *out_count, bool *out_complete,
                     pv_error *err) {
    size_t count = 0;
    bool cut = false;
    PV_TRY(pv__search_begin(g, w, vector, effort->pool, &count, err));
    PV_TRY(gsearch_nearest(g, w, effort, &count, &cut, err));
    *out_complete = !cut;
    return pv__search_end(g, w, vector, effort, want, NULL, count, hits, out_count, err);
}

/* A vector cannot be read: no other graph would mend that. */
static int gsearch_data(pv__graph *g, int rc) {
    if (PV_UNLIKELY(rc != 0)) {
        atomic_store_explicit(&g->data_bad, true, memory_order_relaxed);
    }
    return rc;
}

int pv__graph_vectors_ahead(pv__graph *g, pv__walker *w, const pv__hit *hits, size_t n,
                            pv_error *err) {
    uint32_t slots[SEARCH_AHEAD];
    n = PV_MIN(n, (size_t)SEARCH_AHEAD);
    for (size_t i = 0; i < n; i++) {
        if (hits[i].slot >= g->slots) {
            return 0; /* it will be said when it is read */
        }
        slots[i] = hits[i].slot;
    }
    return gsearch_data(g, pv__colview_ahead(&w->vectors, slots, n, err));
}

int pv__graph_vectors(pv__graph *g, pv__walker *w, const pv__hit *hits, size_t n,
                      const uint8_t **out_rows, pv_error *err) {
    PV_ASSERT(n <= PV__WALK_ROWS);
    for (size_t i = 0; i < n; i++) {
        if (hits[i].slot >= g->slots) {
            return pv__graph_corrupt(g, hits[i].slot, "a node leads to a slot beyond the last",
                                     err);
        }
        w->ids[i] = hits[i].slot;
    }
    return gsearch_data(g, pv__colview_rows(&w->vectors, w->ids, n, out_rows, err));
}

#undef SEARCH_POOL_MIN
#undef SEARCH_EXPANSIONS
#undef SEARCH_COARSE_SIGMAS
#undef SEARCH_DOUBT_SIGMAS
#undef SEARCH_AHEAD
#undef SEARCH_DEAD_SHARE
#undef SEARCH_SIGMAS
