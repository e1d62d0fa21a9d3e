/* SPDX-License-Identifier: Apache-2.0 */
/* approx.c - search through the graph: candidates by their codes, then ranked by their vectors.
 *
 *      graph --> want candidates, by code --> full vectors --> pv__nearest
 *      tail  --> all rows --------------------------------------^
 *
 * With a filter the graph is told which slots may be in the answer (matching.h). */
#include "engine/approx.h"

#include <math.h>

#include "engine/index.h"
#include "engine/matching.h"

#define APPROX_BLOCK 8u

/* A walk looks at about so many rows for each candidate that is ranked. */
#define APPROX_ROWS_PER_WANT 40u

#define APPROX_TARGET_RECALL 0.95f

/* Within a distance: a walk to the k nearest is the shorter one up to so many. */
#define APPROX_WITHIN_K 100u
#define APPROX_ROUNDING 1e-5f /* of distances of codes against those of vectors */

/* So many of n candidates have to be read, if codes say right what the k-th distance will be. */
static uint32_t approx_needed(pv__parts *p, const float *lower, const pv__hit *hits, uint32_t n,
                              size_t k) {
    uint32_t needed = (uint32_t)PV_MIN((size_t)n, k);
    if (needed == k && k > 0) {
        const float kth = pv__graph_distance(&p->graph, hits[k - 1].distance);
        while (needed < n && lower[needed] <= kth) {
            needed++;
        }
    }
    return needed;
}

/* Rank candidates by their vectors, a block at a time so that the rows come together; those
 * whose codes say that they are farther than the k-th are not read. */
static int approx_rank(pv__parts *p, pv__walker *w, const pv__scan *s, size_t q,
                       const pv__hit *hits, uint32_t n, pv_error *err) {
    const float *lower = pv__graph_lower(w);
    const pv__topk *top = &s->nearest[q].top;
    PV_TRY(
        pv__graph_vectors_ahead(&p->graph, w, hits, approx_needed(p, lower, hits, n, top->k), err));
    for (uint32_t i = 0; i < n; i += APPROX_BLOCK) {
        if ((top->count == top->k && lower[i] > top->hits[0].distance) ||
            lower[i] - fabsf(lower[i]) * APPROX_ROUNDING > s->max_distance) {
            break;
        }
        const uint8_t *rows[APPROX_BLOCK];
        float distances[APPROX_BLOCK];
        const uint32_t count = PV_MIN(n - i, APPROX_BLOCK);
        PV_TRY(pv__graph_vectors(&p->graph, w, &hits[i], count, rows, err));
        pv__kernel_gather(s->kernel, &s->queries[q], rows, count, distances);
        for (uint32_t r = 0; r < count; r++) {
            if (distances[r] <= s->max_distance) {
                PV_TRY(pv__nearest_offer(&s->nearest[q], distances[r], hits[i + r].slot, err));
            }
        }
    }
    return 0;
}

/* The codes have the last word. Candidates come in their order, so that the first k are the answer;
 * bounds are two deviations of the error. */
static int approx_believe(pv__parts *p, pv__walker *w, const pv__scan *s, size_t q,
                          const pv__hit *hits, uint32_t n, pv_error *err) {
    const float *lower = pv__graph_lower(w);
    pv__nearest *nearest = &s->nearest[q];
    for (uint32_t i = 0; i < n; i++) {
        const float distance = pv__graph_distance(&p->graph, hits[i].distance);
        if (distance <= s->max_distance) {
            if (nearest->top.count < nearest->top.k) {
                nearest->error = PV_MAX(nearest->error, distance - lower[i]);
            }
            PV_TRY(pv__nearest_offer(nearest, distance, hits[i].slot, err));
        }
    }
    return 0;
}

typedef struct approx_job {
    pv_db *db;
    pv__parts *p;
    const pv__scan *s;
    pv__walker *w;
    pv__effort effort;
    uint32_t want;
    pv__hit *hits;
    float radius; /* of a walk to all within it, in the scale of codes; 0: to the k nearest */
    pv__matching *matching; /* NULL: no filter */
} approx_job;

pv__how pv__approx_how(const pv__parts *p) {
    return p->graph.meta.shape == PV__SHAPE_LISTS ? PV__HOW_LISTS : PV__HOW_GRAPH;
}

static pv__how approx_plan(pv__plan plan) {
    return plan == PV__PLAN_CODES     ? PV__HOW_CODES
           : plan == PV__PLAN_LISTS   ? PV__HOW_LISTS
           : plan == PV__PLAN_ONE_HOP ? PV__HOW_GRAPH_ONE_HOP
                                      : PV__HOW_GRAPH_TWO_HOPS;
}

static int approx_walk(approx_job *j, size_t q, uint32_t *out_n, bool *out_complete,
                       pv_error *err) {
    const void *vector = j->s->queries[q].vector;
    const pv__allowed *allowed = j->matching ? &j->matching->allowed : NULL;
    pv__graph *g = &j->p->graph;
    pv__plan plan = PV__PLAN_AUTO;
    j->s->nearest[q].how = pv__approx_how(j->p);
    if (j->radius > 0) {
        return pv__graph_within(g, j->w, vector, j->radius, &j->effort, j->want, allowed, j->hits,
                                out_n, out_complete, err);
    }
    if (!allowed) {
        return pv__graph_search(g, j->w, vector, &j->effort, j->want, j->hits, out_n, out_complete,
                                err);
    }
    PV_TRY(pv__graph_search_allowed(g, j->w, vector, &j->effort, j->want, allowed, &plan, j->hits,
                                    out_n, out_complete, err));
    j->s->nearest[q].how = approx_plan(plan);
    return 0;
}

/* With a filter records are asked one by one whether they match, until that takes too long. */
static int approx_query(approx_job *j, size_t q, bool *out_complete, pv_error *err) {
    uint32_t n = 0;
    if (j->matching) {
        pv__matching_expect(j->matching, j->s->query_count - q);
    }
    PV_TRY(approx_walk(j, q, &n, out_complete, err));
    if (!*out_complete && j->matching && j->matching->allowed.ask) {
        PV_TRY(pv__matching_all(j->matching, err));
        PV_TRY(approx_walk(j, q, &n, out_complete, err));
    }
    if (!*out_complete) {
        return 0;
    }
    return j->s->codes ? approx_believe(j->p, j->w, j->s, q, j->hits, n, err)
                       : approx_rank(j->p, j->w, j->s, q, j->hits, n, err);
}

static int approx_queries(approx_job *j, bool *out_done, pv_error *err) {
    const pv__scan *s = j->s;
    pv__parts *p = j->p;
    for (size_t q = 0; q < s->query_count; q++) {
        bool complete = true;
        PV_TRY(approx_query(j, q, &complete, err));
        PV_TRY(pv__txn_pause(p->txn, err));
        PV_TRY(pv__db_interrupted(j->db, err));
        if (!complete) { /* too many dead on the way: this query is answered by a scan */
            pv__scan one = *s;
            one.queries = &s->queries[q];
            one.nearest = &s->nearest[q];
            one.query_count = 1;
            one.slots_end = p->graph.meta.built;
            PV_TRY(pv__scan_vectors(j->db, p, &one, err));
            one.nearest->how = PV__HOW_EXACT;
        }
    }
    *out_done = true;
    if (p->graph.meta.built < p->slots.meta.high_water) {
        pv__scan tail = *s;
        tail.slots_from = p->graph.meta.built;
        PV_TRY(pv__scan_vectors(j->db, p, &tail, err));
    }
    return 0;
}

/* Is there a way through the graph that is shorter than comparing with all? */
static bool approx_pays(approx_job *j, size_t k, uint32_t ef, float target) {
    const float r = j->s->max_distance;
    const pv__metric *m = pv__metric_of(j->p->c.field.metric);
    const bool few = j->want <= PV__GRAPH_EF_MAX &&
                     (ef != 0 || j->want * APPROX_ROWS_PER_WANT <= j->p->slots.meta.live_count);
    if (r < INFINITY && r > 0 && m->scale != PV__SCALE_NONE && !(few && k <= APPROX_WITHIN_K)) {
        j->radius = pv__metric_to_code(m, r);
        k = APPROX_WITHIN_K;
    } else if (!few) {
        return false;
    }
    j->effort = ef != 0 ? pv__graph_effort_ef(&j->p->graph, (uint32_t)k, ef)
                        : pv__graph_effort(&j->p->graph, (uint32_t)k, target);
    j->effort.pool = PV_MAX(j->effort.pool, j->want); /* dot with a small ef */
    /* k of them are ranked anyway, unless there are distances beyond which nothing counts. */
    j->effort.taken = j->s->codes || r < INFINITY ? 0 : (uint32_t)k;
    return ef != 0 || target < 1;
}

int pv__approx_vectors(pv_db *db, pv__parts *p, const pv__scan *s, size_t k, uint32_t ef,
                       float target_recall, bool *out_done, pv_error *err) {
    bool ready = false;
    approx_job j = {.db = db, .p = p, .s = s, .want = pv__graph_want((uint32_t)k)};
    *out_done = false;
    PV_TRY(pv__index_ready(db, p, &ready, err));
    if (!ready ||
        !approx_pays(&j, k, ef, target_recall > 0 ? target_recall : APPROX_TARGET_RECALL)) {
        return 0;
    }
    pv__matching matching;
    PV_TRY(pv__db_walker_take(db, &j.w, err));
    j.hits = pv__walker_hits(j.w, j.want, err);
    int rc = j.hits ? 0 : PV_ERR_NOMEM;
    if (rc == 0 && s->filter) {
        j.matching = &matching;
        rc = pv__matching_begin(&matching, db, p, s->filter, err);
    }
    if (rc == 0) {
        rc = approx_queries(&j, out_done, err);
    }
    if (j.matching) {
        pv__matching_done(&matching);
    }
    pv__db_walker_give(db, j.w);
    return rc;
}

#undef APPROX_BLOCK
#undef APPROX_TARGET_RECALL
#undef APPROX_WITHIN_K
#undef APPROX_ROUNDING
#undef APPROX_ROWS_PER_WANT
