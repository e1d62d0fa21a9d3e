/* SPDX-License-Identifier: Apache-2.0 */
/* calibrate.c - which effort gives which recall, measured on the graph itself.
 *
 *      sample   a row as a query, in the graph as it would about be without that row (trace.c)
 *      curve    mean recall for each of PV__CURVE_POINTS efforts, for k = 1, 10 and 100: one walk a
 *               sample tells it of all efforts, and what counts as truth
 *      effort   from the curve, between two points: the least whose recall reaches the target with
 *               a small margin, because samples are few
 *      again    when the graph has grown or changed; a recall that has fallen asks for a new graph
 *
 * Samples are taken a few at a time by the calls that insert, when the graph has grown by a third
 * since the last curve; sums in the making lie in the graph's page beside the finished curve. */
#include <math.h>

#include "ann/build.h"
#include "ann/shape.h"
#include "kernel/kernel.h"

#define CALIBRATE_NODES_MIN 256u
#define CALIBRATE_CHANGED 5u       /* again, when 1 of so many nodes has gone */
#define CALIBRATE_MISS 0.75f       /* share of the misses that the target allows ... */
#define CALIBRATE_MISS_FEW 0.44f   /* ... and where it allows hardly any: samples show too few */
#define CALIBRATE_MISS_MORE 6.25f  /* between them, for each miss allowed */
#define CALIBRATE_ONE 60000u       /* recall 1 in the page */
#define CALIBRATE_POOL_POINT 11.0f /* from here on pools double from point to point */
#define CALIBRATE_POINT 8u         /* of the last curve: its recall is what is watched */
#define REBUILD_TENTHS 3u          /* of the nodes: not used, or gone since the graph began */
#define REBUILD_NODES_MIN 1024u
#define REBUILD_LOST 1200u /* 2 points of recall */
/* Where candidates come by a coarse code and are measured again, so many times as many. */
#define CALIBRATE_COARSE 4u
#define CALIBRATE_ALIGN 64u
#define CALIBRATE_FEWER 0.5f /* before anything was measured */

static const uint32_t calibrate_k[PV__CURVES] = {1, 10, 100};
static const uint16_t calibrate_pool[PV__CURVES] = {640, 640, 3200};
/* Points of a curve: stops with a large pool; for dot in a graph of an earlier version, whose
 * distances have no ratio, pools in units of k. */
static const float calibrate_stop[PV__CURVE_POINTS] = {1.0f,  1.01f, 1.02f, 1.03f, 1.045f, 1.06f,
                                                       1.08f, 1.1f,  1.12f, 1.15f, 1.18f,  1.22f,
                                                       1.28f, 1.38f, 1.55f, 1.8f};
static const float calibrate_share[PV__CURVE_POINTS] = {1.0f, 1.2f, 1.4f,  1.7f, 2.0f, 2.4f,
                                                        2.8f, 3.4f, 4.0f,  4.8f, 5.6f, 6.8f,
                                                        8.0f, 11.f, 16.0f, 24.0f};

static const float *calibrate_points(const pv__graph *g) {
    return pv__graph_has_ratio(g) ? calibrate_stop : calibrate_share;
}

/* What stands at a place between points 0 and CURVE_POINTS - 1; beyond the last it goes on. */
static float calibrate_at(const float *points, float at) {
    const unsigned low = (unsigned)PV_MIN(at, (float)(PV__CURVE_POINTS - 2));
    return points[low] + (at - (float)low) * (points[low + 1] - points[low]);
}

pv__effort pv__links_effort(const pv__graph *g, uint32_t k, float pool, float at) {
    const bool dot = !pv__graph_has_ratio(g);
    const float value = calibrate_at(calibrate_points(g), at);
    const float coarse = g->split ? (float)CALIBRATE_COARSE : 1;
    const float far = PV_MIN(at, (float)(PV__CURVE_POINTS - 1)) - CALIBRATE_POOL_POINT;
    pool *= exp2f(PV_MAX(far, 0.0f)); /* what looks so far meets more */
    const float want = PV_MAX(coarse * (dot ? value * (float)k : pool), (float)pv__graph_want(k));
    return (pv__effort){(uint32_t)PV_MIN(want, (float)PV__GRAPH_EF_MAX), k, dot ? INFINITY : value,
                        0, 0};
}

bool pv__graph_calibrate_due(const pv__graph *g) {
    const pv__graph_curve *c = &g->meta.curve;
    const uint64_t nodes = g->meta.node_count, removed = g->meta.removed - c->removed;
    return pv__graph_walks(g) && nodes >= CALIBRATE_NODES_MIN &&
           (c->samples > 0 || nodes >= (uint64_t)c->nodes + c->nodes / 3 + 1 ||
            removed * CALIBRATE_CHANGED >= nodes);
}

/* ---- one sample ------------------------------------------------------------------------------ */

typedef struct calibrate_rows {
    pv__trace trace;
    float exact[PV__TRACE_HITS], sorted[PV__TRACE_HITS]; /* of the hits; ascending */
} calibrate_rows;

static void calibrate_sort(float *v, uint32_t n) {
    for (uint32_t i = 1; i < n; i++) {
        const float x = v[i];
        uint32_t at = i;
        for (; at > 0 && v[at - 1] > x; at--) {
            v[at] = v[at - 1];
        }
        v[at] = x;
    }
}

/* Distances of the hits by their vectors. Each lies in a large page of its own, and a graph that
 * does not fit into memory is read from slots: what was used goes before the next. */
static int calibrate_exact(pv__graph *g, pv__walker *w, const pv__kernel_query *q,
                           calibrate_rows *r, pv_error *err) {
    const pv__kernel *kernel = pv__kernel_table(g->cpu);
    PV_TRY(pv__walker_pause(w, g->txn, err));
    for (uint32_t i = 0; i < r->trace.count; i++) {
        const uint8_t *row;
        PV_TRY(pv__graph_vectors(g, w, &r->trace.hits[i], 1, &row, err));
        r->exact[i] = pv__kernel_pair(kernel, q, row);
        PV_TRY(pv__txn_tight(g->txn) ? pv__walker_pause(w, g->txn, err) : 0);
    }
    memcpy(r->sorted, r->exact, r->trace.count * sizeof *r->exact);
    calibrate_sort(r->sorted, r->trace.count);
    return 0;
}

/* How many of the k nearest an effort finds: they have to be among those candidates that it would
 * read the vectors of. */
static uint32_t calibrate_hits(const calibrate_rows *r, unsigned curve, unsigned point) {
    const pv__trace *t = &r->trace;
    const uint32_t k = calibrate_k[curve], want = pv__graph_want(k);
    const float kth = t->count > 0 ? r->sorted[PV_MIN(k, t->count) - 1] : 0;
    const float bound = kth + fabsf(kth) * 1e-5f;
    uint32_t hits = 0, read = 0;
    for (uint32_t i = 0; i < t->count && read < want; i++) {
        const bool found = t->first[curve][i] <= point;
        read += found ? 1u : 0u;
        hits += found && r->exact[i] <= bound ? 1u : 0u;
    }
    return PV_MIN(hits, k);
}

/* A live node, the same for the same state of the graph. */
static int calibrate_pick(pv__graph *g, uint32_t *out_node, uint32_t *out_slot, pv_error *err) {
    uint64_t at =
        pv__mix64(g->meta.seed + g->meta.curve.nodes * UINT64_C(977) + g->meta.curve.samples) %
        g->meta.node_high;
    for (uint32_t i = 0; i < g->meta.node_high; i++) {
        uint32_t word = 0;
        PV_TRY(pv__graph_word_get(&g->slot_of, (uint32_t)at, &word, err));
        if (word != PV__SLOT_NONE) {
            *out_node = (uint32_t)at;
            *out_slot = word & ~PV__SLOT_MORE;
            return 0;
        }
        at = at + 1 < g->meta.node_high ? at + 1 : 0;
    }
    return pv__graph_corrupt(g, 0, "no node is live", err);
}

static int calibrate_sample(pv__graph *g, pv__walker *w, uint8_t *vector, calibrate_rows *r,
                            pv_error *err) {
    pv__kernel_query q;
    const uint8_t *row;
    uint32_t own = 0;
    PV_TRY(calibrate_pick(g, &w->skip, &own, err));
    const int rc = pv__column_read(g->vectors, own, &row, err);
    if (rc != 0) {
        atomic_store_explicit(&g->data_bad, true, memory_order_relaxed);
        return rc;
    }
    const uint32_t row_size = g->vectors->row_size;
    memcpy(vector, row, row_size);
    PV_ASSERT(pv__kernel_query_of(&q, g->cpu, g->type, g->metric, vector, g->dims,
                                  vector + PV_ALIGN_UP(row_size, CALIBRATE_ALIGN)));
    PV_TRY(g->shape->trace(g, w, vector, &r->trace, err));
    PV_TRY(calibrate_exact(g, w, &q, r, err));
    for (unsigned c = 0; c < PV__CURVES; c++) {
        for (unsigned i = 0; i < PV__CURVE_POINTS; i++) {
            g->meta.curve.sums[c][i] += calibrate_hits(r, c, i);
        }
    }
    return 0;
}

static void calibrate_efforts(const pv__graph *g, pv__trace *t) {
    for (unsigned c = 0; c < PV__CURVES; c++) {
        for (unsigned i = 0; i < PV__CURVE_POINTS; i++) {
            t->efforts[c][i] =
                g->shape->effort(g, calibrate_k[c], (float)calibrate_pool[c], (float)i);
        }
    }
}

/* ---- all ------------------------------------------------------------------------------------- */

/* What a later recall of about as many nodes is compared with. */
static void calibrate_first(pv__graph_curve *c, uint32_t nodes) {
    const uint32_t near = c->first_nodes / 3;
    if (c->first_nodes == 0 || nodes > c->first_nodes + near || nodes < c->first_nodes - near) {
        c->first_nodes = nodes;
        c->first = c->recall[PV__CURVES - 1][CALIBRATE_POINT];
    }
}

bool pv__links_outgrown(const pv__graph *g) {
    const uint64_t high = g->meta.node_high, spare = high - g->meta.node_count;
    return high >= REBUILD_NODES_MIN && spare * 10 >= REBUILD_TENTHS * high;
}

bool pv__graph_rebuild_due(const pv__graph *g) {
    const pv__graph_meta *m = &g->meta;
    const pv__graph_curve *c = &m->curve;
    const uint64_t nodes = m->node_count;
    if (m->sweep_phase != 0 || (uint64_t)m->tomb_count * 10 >= nodes + m->tomb_count) {
        return false; /* what is dead goes first */
    }
    if (m->choice.automatic && g->built && m->choice.wanted != PV__CODE_KIND(m->code)) {
        return true;
    }
    if (g->shape->outgrown(g) || pv__graph_is_outdated(g)) {
        return true;
    }
    return (uint64_t)m->removed * 10 >= REBUILD_TENTHS * nodes && c->first_nodes != 0 &&
           c->samples == 0 && c->removed != 0 &&
           c->recall[PV__CURVES - 1][CALIBRATE_POINT] + REBUILD_LOST < c->first;
}

static void calibrate_finish(pv__graph_curve *c, uint32_t nodes, uint32_t removed) {
    for (unsigned k = 0; k < PV__CURVES; k++) {
        uint32_t best = 0;
        for (unsigned i = 0; i < PV__CURVE_POINTS; i++) {
            const uint32_t all = calibrate_k[k] * PV__CURVE_SAMPLES;
            best = PV_MAX(best, PV_MIN(c->sums[k][i], all) * CALIBRATE_ONE / all);
            c->recall[k][i] = (uint16_t)best; /* never falling, whatever the sample */
            c->sums[k][i] = 0;
        }
    }
    c->samples = 0;
    c->nodes = nodes;
    c->removed = removed;
    calibrate_first(c, nodes);
}

int pv__graph_calibrate(pv__graph *g, pv__walker *w, uint32_t samples, pv_error *err) {
    pv__mem *mem = pv__txn_mem(g->txn);
    const size_t bytes = PV_ALIGN_UP((size_t)g->vectors->row_size, CALIBRATE_ALIGN) +
                         pv__kernel_query_room(g->type, g->dims);
    uint8_t *vector = pv__alloc_aligned(mem, bytes, CALIBRATE_ALIGN);
    calibrate_rows *rows = pv__alloc_zero(mem, sizeof *rows);
    int rc = vector && rows ? 0 : pv__err_nomem(err, bytes + sizeof *rows);
    if (rc == 0) {
        calibrate_efforts(g, &rows->trace);
    }
    for (uint32_t i = 0; i < samples && rc == 0 && pv__graph_calibrate_due(g); i++) {
        rc = calibrate_sample(g, w, vector, rows, err);
        w->skip = PV__NODE_NONE;
        if (rc == 0 && ++g->meta.curve.samples >= PV__CURVE_SAMPLES) {
            calibrate_finish(&g->meta.curve, g->meta.node_count, g->meta.removed);
        }
        g->changed = true;
        rc = rc == 0 ? pv__txn_pause(g->txn, err) : rc;
    }
    if (rows) {
        pv__trace_done(&rows->trace, w->mem);
    }
    pv__alloc_free(mem, rows, sizeof *rows);
    pv__alloc_free_aligned(mem, vector, bytes, CALIBRATE_ALIGN);
    return rc;
}

static float calibrate_recall(const pv__graph_curve *c, unsigned k, unsigned point) {
    return (float)c->recall[k][point] / (float)CALIBRATE_ONE;
}

/* The place on one curve where a recall is reached. */
static float calibrate_place(const pv__graph_curve *c, unsigned k, float want) {
    float before = 0;
    for (unsigned i = 0; i < PV__CURVE_POINTS; i++) {
        const float recall = calibrate_recall(c, k, i);
        if (recall >= want) {
            return i == 0 || recall <= before
                       ? (float)i
                       : (float)(i - 1) + (want - before) / (recall - before);
        }
        before = recall;
    }
    return (float)PV__CURVE_POINTS + 1; /* more than was tried */
}

/* The same for a target that is reached with a margin. */
static float calibrate_read(const pv__graph_curve *c, unsigned k, float target) {
    const float miss = 1 - target;
    const float share = PV_MIN(CALIBRATE_MISS, CALIBRATE_MISS_FEW + CALIBRATE_MISS_MORE * miss);
    return calibrate_place(c, k, 1 - miss * share);
}

/* The power of the share that efforts beyond the k nearest go with: so that the recall is that of
 * 10 and of 100 nearest of all. And what of them is missed. */
static void calibrate_fewer(const pv__graph *g, const pv__effort *effort, pv__fewer *out) {
    const pv__graph_curve *c = &g->meta.curve;
    const float *points = calibrate_points(g);
    const float coarse = g->split ? (float)CALIBRATE_COARSE : 1;
    const float value =
        pv__graph_has_ratio(g) ? effort->stop : (float)effort->pool / (coarse * (float)effort->k);
    const unsigned own = effort->k < 4 ? 0 : effort->k < 32 ? 1 : 2; /* the nearest curve */
    unsigned i = 0;
    while (i < PV__CURVE_POINTS - 1 && points[i] < value) {
        i++;
    }
    if (c->nodes == 0) {
        out->power = CALIBRATE_FEWER;
        out->miss = 0;
        return;
    }
    float recall = calibrate_recall(c, own, i);
    if (i > 0 && points[i] > value) { /* between two points */
        const float part = (value - points[i - 1]) / (points[i] - points[i - 1]);
        const float before = calibrate_recall(c, own, i - 1);
        recall = before + part * (recall - before);
    }
    const float last = (float)(PV__CURVE_POINTS - 1);
    const float ten = calibrate_at(points, PV_MIN(calibrate_place(c, 1, recall), last));
    const float hundred = calibrate_at(points, PV_MIN(calibrate_place(c, 2, recall), last));
    const float power = log10f(PV_MAX(ten - 1, 1e-6f) / PV_MAX(hundred - 1, 1e-6f));
    out->power = PV_MIN(PV_MAX(power, 0.0f), 1.0f);
    out->miss = 1 - recall;
}

void pv__graph_fewer_init(const pv__graph *g, const pv__effort *effort, pv__fewer *out) {
    calibrate_fewer(g, effort, out);
    out->least = PV_MIN((float)effort->k / (float)calibrate_k[PV__CURVES - 1], 1.0f);
}

pv__effort pv__graph_fewer(const pv__fewer *f, const pv__effort *effort, float share,
                           uint32_t want) {
    const float less = powf(PV_MAX(share, f->least), f->power);
    pv__effort e = *effort;
    if (e.stop < INFINITY) {
        e.stop = 1 + (e.stop - 1) * less;
    } else {
        e.pool = PV_MAX(want, e.k + (uint32_t)((float)(e.pool - PV_MIN(e.pool, e.k)) * less));
    }
    return e;
}

pv__effort pv__graph_effort(const pv__graph *g, uint32_t k, float target) {
    const pv__graph_curve *c = &g->meta.curve;
    const float place = PV_MIN(log10f((float)PV_MAX(k, 1u)), (float)(PV__CURVES - 1));
    const unsigned low = (unsigned)PV_MIN(place, (float)(PV__CURVES - 2));
    const float share = place - (float)low;   /* of the next curve */
    float at = (float)(PV__CURVE_POINTS - 2); /* nothing measured yet */
    if (c->nodes != 0) {
        const float small = calibrate_read(c, low, target);
        at = small + share * (calibrate_read(c, low + 1, target) - small);
    }
    const float pool =
        (float)calibrate_pool[low] + share * (float)(calibrate_pool[low + 1] - calibrate_pool[low]);
    return g->shape->effort(g, k, PV_MAX(pool, 16.0f * (float)PV_MIN(k, 1000u)), at);
}

pv__effort pv__graph_effort_ef(const pv__graph *g, uint32_t k, uint32_t ef) {
    return g->shape->effort_ef(g, k, ef);
}

pv__effort pv__links_effort_ef(const pv__graph *g, uint32_t k, uint32_t ef) {
    const uint32_t coarse = g->split ? CALIBRATE_COARSE : 1;
    const uint32_t least = PV_MAX(ef, pv__graph_want(k)) * coarse;
    if (!pv__graph_has_ratio(g)) {
        return (pv__effort){PV_MIN(PV_MAX(ef, k) * coarse, PV__GRAPH_EF_MAX), k, INFINITY, 0, 0};
    }
    const float doublings = log2f(PV_MAX((float)ef / (float)k, 1.0f));
    const float stop = 1.05f + 0.05f * doublings + 0.05f * PV_MAX(doublings - 3.0f, 0.0f);
    return (pv__effort){(uint32_t)PV_MIN(8 * (uint64_t)least, (uint64_t)PV__GRAPH_EF_MAX), k, stop,
                        0, 0};
}

#undef CALIBRATE_NODES_MIN
#undef CALIBRATE_MISS
#undef CALIBRATE_MISS_FEW
#undef CALIBRATE_MISS_MORE
#undef CALIBRATE_ONE
#undef CALIBRATE_POINT
#undef CALIBRATE_POOL_POINT
#undef CALIBRATE_CHANGED
#undef REBUILD_TENTHS
#undef REBUILD_NODES_MIN
#undef REBUILD_LOST
#undef CALIBRATE_COARSE
#undef CALIBRATE_ALIGN
#undef CALIBRATE_FEWER
