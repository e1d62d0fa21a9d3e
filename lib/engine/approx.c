/* SPDX-License-Identifier: Apache-2.0 */
/* approx.c - search through the graph: candidates by their codes, then ranked by their vectors.
 *
 *      graph --> want candidates, by code --> full vectors --> pv__nearest
 *      tail  --> all rows --------------------------------------^
 */
#include "engine/approx.h"

#include "engine/index.h"

#define APPROX_BLOCK 8u

/* A walk looks at about so many rows for each candidate that is ranked. */
#define APPROX_ROWS_PER_WANT 40u

#define APPROX_TARGET_RECALL 0.95f

/* Rank candidates by their vectors, a block at a time so that the rows are fetched together; those
 * whose codes say that they are farther than the k-th are not read. */
static int approx_rank(pv__parts *p, pv__walker *w, const pv__scan *s, size_t q,
                       const pv__hit *hits, uint32_t n, pv_error *err) {
    const float *lower = pv__graph_lower(w);
    const pv__topk *top = &s->nearest[q].top;
    for (uint32_t i = 0; i < n; i += APPROX_BLOCK) {
        if (top->count == top->k && lower[i] > top->hits[0].distance) {
            break;
        }
        const uint8_t *rows[APPROX_BLOCK];
        float distances[APPROX_BLOCK];
        const uint32_t count = PV_MIN(n - i, APPROX_BLOCK);
        for (uint32_t r = 0; r < count; r++) {
            PV_TRY(pv__graph_vector(&p->graph, w, hits[i + r].slot, &rows[r], err));
        }
        pv__kernel_gather(s->kernel, &s->queries[q], rows, count, distances);
        for (uint32_t r = 0; r < count; r++) {
            if (distances[r] <= s->max_distance) {
                PV_TRY(pv__nearest_offer(&s->nearest[q], distances[r], hits[i + r].slot, err));
            }
        }
    }
    return 0;
}

static int approx_query(pv__parts *p, pv__walker *w, const pv__scan *s, size_t q,
                        const pv__effort *effort, uint32_t want, pv__hit *hits, bool *out_complete,
                        pv_error *err) {
    uint32_t n = 0;
    PV_TRY(pv__graph_search(&p->graph, w, s->queries[q].vector, effort, want, NULL, hits, &n,
                            out_complete, err));
    return *out_complete ? approx_rank(p, w, s, q, hits, n, err) : 0;
}

static int approx_queries(pv_db *db, pv__parts *p, pv__walker *w, const pv__scan *s,
                          const pv__effort *effort, uint32_t want, pv__hit *hits, bool *out_done,
                          pv_error *err) {
    for (size_t q = 0; q < s->query_count; q++) {
        bool complete = true;
        PV_TRY(approx_query(p, w, s, q, effort, want, hits, &complete, err));
        PV_TRY(pv__txn_pause(p->txn, err));
        PV_TRY(pv__db_interrupted(db, err));
        if (!complete) { /* too many dead on the way: this query is answered by a scan */
            pv__scan one = *s;
            one.queries = &s->queries[q];
            one.nearest = &s->nearest[q];
            one.query_count = 1;
            one.slots_end = p->graph.meta.built;
            PV_TRY(pv__scan_vectors(db, p, &one, err));
        }
    }
    *out_done = true;
    if (p->graph.meta.built < p->slots.meta.high_water) {
        pv__scan tail = *s;
        tail.slots_from = p->graph.meta.built;
        PV_TRY(pv__scan_vectors(db, p, &tail, err));
    }
    return 0;
}

int pv__approx_vectors(pv_db *db, pv__parts *p, const pv__scan *s, size_t k, uint32_t ef,
                       float target_recall, bool *out_done, pv_error *err) {
    bool ready = false;
    pv__walker *w = NULL;
    *out_done = false;
    PV_TRY(pv__index_ready(db, p, &ready, err));
    const uint32_t want = pv__graph_want((uint32_t)k);
    if (!ready || want > PV__GRAPH_EF_MAX) {
        return 0;
    }
    const float target = target_recall > 0 ? target_recall : APPROX_TARGET_RECALL;
    if (ef == 0 && (target >= 1 || want * APPROX_ROWS_PER_WANT > p->slots.meta.live_count)) {
        return 0; /* comparing with all is as fast, and exact */
    }
    pv__effort effort = ef != 0 ? pv__graph_effort_ef(&p->graph, (uint32_t)k, ef)
                                : pv__graph_effort(&p->graph, (uint32_t)k, target);
    effort.pool = PV_MAX(effort.pool, want); /* dot with a small ef */
    PV_TRY(pv__db_walker_take(db, &w, err));
    pv__hit *hits = pv__walker_hits(w, want, err);
    const int rc =
        hits ? approx_queries(db, p, w, s, &effort, want, hits, out_done, err) : PV_ERR_NOMEM;
    pv__db_walker_give(db, w);
    return rc;
}

#undef APPROX_BLOCK
#undef APPROX_TARGET_RECALL
#undef APPROX_ROWS_PER_WANT
