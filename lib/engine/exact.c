/* SPDX-License-Identifier: Apache-2.0 */
/* exact.c - exact search by the codes of an index (ann/sift.c), a quarter of the bytes of vectors.
 *
 *      pages of codes, shared by threads --sift--> nodes that may be among the nearest
 *      nearest of those first            --------> their vectors, as the scan measures them
 *      tail without nodes                --scan--> all its vectors
 *
 * Nothing that is nearer is passed over, and what is measured goes through the same kernels into
 * the same heaps, so that the answer is that of the scan, bit for bit. Whatever is not worth it is
 * scanned: few or short vectors, codes nearly as long, and queries for which too much passes.
 *
 * The answer depends on the index here. So an index that does not have as many records as there are
 * is damaged, and so is one whose code says that a vector is farther than it is. */
#include "engine/exact.h"

#include <math.h>

#include "engine/index.h"
#include "engine/matching.h"
#include "kernel/screen.h"

#define EXACT_BYTES_MIN ((uint64_t)1 << 20) /* of vectors: less is scanned as fast */
#define EXACT_K_SHARE 64u                   /* of records: more than a k-th of them is wanted of */
#define EXACT_MANY_BYTES 128u               /* of a vector, for a query: see exact_many_pays */
#define EXACT_FILTER_PASS 512u              /* times k: records that will be asked by a filter */
#define EXACT_PAGES 16u    /* between two pauses, and that a thread takes at once */
#define EXACT_TAKES_MIN 4u /* so often at least, or it is not worth its start */
#define EXACT_BLOCK 16u    /* vectors that are read at once */

typedef struct exact_job {
    pv_db *db;
    pv__parts *p;
    const pv__scan *s;
    size_t from, count; /* of the queries */
    pv__walker *w;
    pv__matching *matching; /* NULL: no filter */
    _Atomic bool pays;      /* relaxed: it only ends work */
} exact_job;

/* ---- is it worth it? ------------------------------------------------------------------------- */

/* Vectors of f32 are read once for many queries, and screened by a product of matrices (sieve.h) in
 * less time than a pair of codes takes: 13 ns to 16 at 768 dimensions. So reading less is worth it
 * for few queries only, the more the longer vectors are. */
static bool exact_many_pays(const pv__parts *p, const pv__scan *s) {
    return s->query_count * EXACT_MANY_BYTES <= p->column.row_size || s->query_count == 1 ||
           s->queries[0].distances || !pv__screen_can(s->kernel);
}

static bool exact_pays(const pv__parts *p, const pv__scan *s) {
    const pv__graph *g = &p->graph;
    const size_t k = s->nearest[0].top.k;
    const uint64_t records = (uint64_t)g->meta.node_count + g->meta.dup_count;
    const uint64_t vectors = records * p->column.row_size;
    const uint64_t codes = (uint64_t)g->meta.node_high * g->code.row_size;
    return vectors >= EXACT_BYTES_MIN && codes + codes / 2 < vectors &&
           k * EXACT_K_SHARE < records && exact_many_pays(p, s);
}

/* Does every live slot below `built` have a node? */
static int exact_is_whole(pv__parts *p, pv_error *err) {
    const pv__graph_meta *m = &p->graph.meta;
    const uint32_t high = p->slots.meta.high_water;
    uint32_t tail = 0;
    for (uint32_t at = m->built; at < high; at += PV__ROWS_PER_PAGE_MAX) {
        uint64_t words[PV__ROW_WORDS_MAX];
        uint32_t live = 0;
        PV_TRY(pv__slots_bits(&p->slots, at, PV_MIN(high - at, PV__ROWS_PER_PAGE_MAX), words, &live,
                              err));
        tail += live;
    }
    const uint32_t below = p->slots.meta.live_count - tail;
    return (uint64_t)m->node_count + m->dup_count == below
               ? 0
               : pv__err(err, PV_ERR_CORRUPT, "graph of object %u: it has %u records where %u are",
                         (unsigned)p->graph.owner, (unsigned)(m->node_count + m->dup_count),
                         (unsigned)below);
}

static int exact_matching(exact_job *j, bool *out_pays, pv_error *err) {
    pv__matching *m = j->matching;
    PV_TRY(pv__matching_begin(m, j->db, j->p, j->s->filter, err));
    pv__matching_expect(m, 1);
    *out_pays = j->s->nearest[0].top.k * EXACT_FILTER_PASS < m->allowed.count;
    return 0;
}

/* ---- codes ----------------------------------------------------------------------------------- */

static int exact_sift_begin(exact_job *j, pv__sift *sift, pv__parts *p, pv__walker *w,
                            pv_error *err) {
    const void *vectors[PV__SIFT_QUERIES];
    const pv__allowed *allowed = j->matching ? &j->matching->allowed : NULL;
    bool known = false;
    for (size_t i = 0; i < j->count; i++) {
        vectors[i] = j->s->queries[j->from + i].vector;
    }
    PV_TRY(pv__sift_begin(sift, &p->graph, w, vectors, j->count, j->s->nearest[0].top.k,
                          j->s->max_distance, allowed, &known, err));
    if (!known) {
        atomic_store_explicit(&j->pays, false, memory_order_relaxed);
    }
    return 0;
}

/* What one thread has of its own. */
typedef struct exact_member {
    exact_job *j;
    pv__sift sift;
    pv__parts parts; /* the caller's thread has the call's */
    pv__txn *txn;
    pv__walker *w;
    pv__scan s; /* crew and hand */
} exact_member;

static int exact_take(void *ctx, uint32_t from, uint32_t end, pv_error *err) {
    exact_member *m = ctx;
    exact_job *j = m->j;
    bool pays = atomic_load_explicit(&j->pays, memory_order_relaxed);
    if (from == end || !pays) {
        return 0;
    }
    PV_TRY(pv__sift_pages(&m->sift, from, end, &pays, err));
    if (!pays) {
        atomic_store_explicit(&j->pays, false, memory_order_relaxed);
    }
    PV_TRY(pv__walker_pause(m->sift.w, m->sift.g->txn, err));
    return pv__scan_interrupted(j->db, &m->s, err);
}

static void exact_member_free(exact_member *m) {
    if (m) {
        pv_db *db = m->j->db;
        pv__sift_done(&m->sift);
        pv__db_walker_give(db, m->w);
        pv__parts_done(&m->parts);
        pv__txn_rollback(m->txn);
        pv__alloc_free(&db->env->mem, m, sizeof *m);
    }
}

/* NULL: the others do without it. */
static exact_member *exact_member_new(exact_job *j, pv__crew *crew) {
    pv_error ignored = PV_ERROR_INIT;
    exact_member *m = pv__alloc_zero(&j->db->env->mem, sizeof *m);
    if (!m) {
        return NULL;
    }
    m->j = j;
    m->s = *j->s;
    m->s.crew = crew;
    m->s.hand = true;
    if (pv__txn_share(j->p->txn, &m->txn, &ignored) ||
        pv__parts_open_entry(&m->parts, m->txn, &j->p->c, &ignored) ||
        pv__parts_graph(&m->parts, j->db->cpu, 1, &ignored) ||
        pv__db_walker_take(j->db, &m->w, &ignored) || pv__txn_pause(m->txn, &ignored) ||
        exact_sift_begin(j, &m->sift, &m->parts, m->w, &ignored)) {
        exact_member_free(m);
        return NULL;
    }
    return m;
}

static int exact_together(exact_member *first, unsigned threads, uint32_t pages, pv_error *err) {
    exact_job *j = first->j;
    pv__mem *mem = &j->db->env->mem;
    pv__crew crew;
    exact_member **members = pv__alloc_zero(mem, threads * sizeof *members);
    pv__crew_hand *hands = pv__alloc_zero(mem, threads * sizeof *hands);
    unsigned count = 1;
    int rc = members && hands ? 0 : pv__err_nomem(err, threads * sizeof *hands);
    if (rc != 0) {
        goto done;
    }
    first->s.crew = &crew;
    hands[0].fn = exact_take;
    hands[0].ctx = first;
    while (count < threads && (members[count] = exact_member_new(j, &crew)) != NULL) {
        hands[count].fn = exact_take;
        hands[count].ctx = members[count];
        count++;
    }
    rc = pv__crew_run(j->db, &crew, hands, count, 0, pages, EXACT_PAGES, err);
    for (unsigned i = 1; i < count && rc == 0; i++) {
        rc = pv__sift_merge(&first->sift, &members[i]->sift, err);
    }
done:
    for (unsigned i = 1; members && i < count; i++) {
        exact_member_free(members[i]);
    }
    pv__alloc_free(mem, hands, threads * sizeof *hands);
    pv__alloc_free(mem, members, threads * sizeof *members);
    return rc;
}

static int exact_sift(exact_member *m, pv_error *err) {
    exact_job *j = m->j;
    const uint32_t pages = pv__sift_pages_count(&j->p->graph);
    const uint32_t takes = (pages + EXACT_PAGES - 1) / EXACT_PAGES / EXACT_TAKES_MIN;
    const unsigned threads = PV_MIN(PV_MIN(j->s->threads, j->db->threads), takes);
    if (threads > 1 && !j->matching && !pv__txn_is_write(j->p->txn)) {
        return exact_together(m, threads, pages, err);
    }
    for (uint32_t at = 0; at < pages; at += EXACT_PAGES) {
        PV_TRY(exact_take(m, at, PV_MIN(at + EXACT_PAGES, pages), err));
    }
    return 0;
}

/* ---- vectors --------------------------------------------------------------------------------- */

typedef struct exact_offer {
    pv__nearest *nearest;
    float distance;
} exact_offer;

static int exact_offer_slot(void *ctx, uint32_t slot, pv_error *err) {
    const exact_offer *o = ctx;
    return pv__nearest_offer(o->nearest, o->distance, slot, err);
}

/* Measure these nodes; slots of a node have the same vector. */
static int exact_measure(exact_job *j, pv__sift *sift, size_t query, const pv__hit *nodes,
                         const pv__hit *slots, uint32_t n, pv_error *err) {
    const pv__scan *s = j->s;
    const uint8_t *rows[EXACT_BLOCK];
    float distances[EXACT_BLOCK];
    PV_TRY(pv__graph_vectors(sift->g, sift->w, slots, n, rows, err));
    pv__kernel_gather(s->kernel, &s->queries[query], rows, n, distances);
    for (uint32_t i = 0; i < n; i++) {
        exact_offer o = {&s->nearest[query], distances[i]};
        if (distances[i] < nodes[i].distance) {
            return pv__err(
                err, PV_ERR_CORRUPT, "graph of object %u, node %u: not the code of slot %u",
                (unsigned)sift->g->owner, (unsigned)nodes[i].slot, (unsigned)slots[i].slot);
        }
        if (distances[i] <= s->max_distance) {
            PV_TRY(pv__sift_slots(sift, nodes[i].slot, exact_offer_slot, &o, err));
        }
    }
    return 0;
}

/* The nearest of what the codes have left of one query. */
static int exact_query(exact_job *j, pv__sift *sift, size_t i, pv_error *err) {
    pv__nearest *nearest = &j->s->nearest[j->from + i];
    bool any = true;
    while (any) {
        pv__hit nodes[EXACT_BLOCK], slots[EXACT_BLOCK];
        uint32_t n = 0;
        while (any && n < EXACT_BLOCK) {
            PV_TRY(pv__sift_next(sift, i, pv__nearest_bound(nearest), &nodes[n], &slots[n].slot,
                                 &any, err));
            n += any ? 1u : 0u;
        }
        if (n > 0) {
            PV_TRY(exact_measure(j, sift, j->from + i, nodes, slots, n, err));
        }
        if (pv__nearest_is_long(nearest)) {
            PV_TRY(pv__nearest_settle(nearest, j->p, err));
        }
        PV_TRY(pv__walker_pause(j->w, j->p->txn, err));
        PV_TRY(pv__db_interrupted(j->db, err));
    }
    nearest->how = PV__HOW_EXACT_CODES;
    return 0;
}

/* Some queries. j->pays false: their heaps are empty as before. */
static int exact_queries(exact_job *j, pv_error *err) {
    exact_member m = {.j = j, .s = *j->s};
    int rc = exact_sift_begin(j, &m.sift, j->p, j->w, err);
    if (rc == 0 && atomic_load_explicit(&j->pays, memory_order_relaxed)) {
        rc = exact_sift(&m, err);
    }
    const bool pays = atomic_load_explicit(&j->pays, memory_order_relaxed);
    for (size_t i = 0; rc == 0 && pays && i < j->count; i++) {
        rc = exact_query(j, &m.sift, i, err);
    }
    pv__sift_done(&m.sift);
    return rc;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* Queries [from, from + count), in slots from `slots` on. */
static int exact_scan(exact_job *j, size_t from, size_t count, uint32_t slots, pv_error *err) {
    pv__scan some = *j->s;
    some.queries += from;
    some.nearest += from;
    some.query_count = count;
    some.slots_from = slots;
    return count > 0 && slots < j->p->slots.meta.high_water
               ? pv__scan_vectors(j->db, j->p, &some, err)
               : 0;
}

/* As many of them as go by codes; the others, and the tail, are scanned. */
static int exact_all(exact_job *j, bool pays, pv_error *err) {
    size_t done = 0;
    atomic_init(&j->pays, pays);
    while (pays && done < j->s->query_count) {
        j->from = done;
        j->count = PV_MIN(j->s->query_count - done, (size_t)PV__SIFT_QUERIES);
        PV_TRY(exact_queries(j, err));
        pays = atomic_load_explicit(&j->pays, memory_order_relaxed);
        done += pays ? j->count : 0;
    }
    PV_TRY(exact_scan(j, 0, done, j->p->graph.meta.built, err));
    return exact_scan(j, done, j->s->query_count - done, 0, err);
}

int pv__exact_vectors(pv_db *db, pv__parts *p, const pv__scan *s, pv_error *err) {
    pv__matching matching;
    exact_job j = {.db = db, .p = p, .s = s};
    bool pays = false;
    PV_TRY(pv__index_codes(db, p, &pays, err));
    if (!pays || !exact_pays(p, s)) {
        return pv__scan_vectors(db, p, s, err);
    }
    PV_TRY(exact_is_whole(p, err));
    PV_TRY(pv__db_walker_take(db, &j.w, err));
    int rc = 0;
    if (s->filter) {
        j.matching = &matching;
        rc = exact_matching(&j, &pays, err);
    }
    rc = rc == 0 ? exact_all(&j, pays, err) : rc;
    if (j.matching) {
        pv__matching_done(&matching);
    }
    pv__db_walker_give(db, j.w);
    return rc;
}

#undef EXACT_BYTES_MIN
#undef EXACT_K_SHARE
#undef EXACT_MANY_BYTES
#undef EXACT_FILTER_PASS
#undef EXACT_PAGES
#undef EXACT_TAKES_MIN
#undef EXACT_BLOCK
