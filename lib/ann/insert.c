/* SPDX-License-Identifier: Apache-2.0 */
/* insert.c - giving nodes to slots, in batches whose cuts depend on nothing but the size of the
 * graph (G5):
 *
 *      encode   codes of the batch, into memory; equal vectors found by hash
 *      plan     for each row by itself: search the graph as it is, add the nearest of the batch,
 *               prune -> forward links                          [threads; pages are only read]
 *      nodes    numbers, codes, maps; or a share of an equal node
 *      links    rows in order: forward links, and a protected link from an earlier neighbour
 *      back     links back, grouped by target, one pruning for each
 *      upper    the few that are in higher levels, one by one
 *
 * After ParlayANN's batch insertion (Manohar et al., 2024), with the nearest inside the batch
 * added: without them input sorted by cluster loses up to five points of recall. */
#include <float.h>
#include <math.h>

#include "ann/near.h"
#include "ann/shape.h"
#include "base/checksum.h"
#include "base/map.h"
#include "base/sort.h"
#include "os/thread.h"

#define INSERT_BATCH_MAX 1024u
#define INSERT_BATCH_SHARE 50u /* of the graph: a batch is at most a 50th of it */
#define INSERT_NEAR 32u        /* nearest inside the batch */
#define INSERT_STOP 1.15f      /* a walk ends so far beyond its n-th nearest ... */
#define INSERT_STOP_AT 32u     /* ... on squared distances: what lies there is no neighbour */
#define INSERT_TWINS 8u        /* nearest nodes that are looked at for an equal vector */
#define INSERT_NORMS 4096u     /* vectors whose length is looked at when a graph begins */
#define INSERT_PAUSE 64u       /* rows between two pauses */
#define INSERT_PLAN_ASK 32u    /* rows of a plan between two questions, for each thread */
#define INSERT_PLAN_PAUSE 128u /* between two pauses, behind which pages are looked up anew */
#define INSERT_THREAD_ROWS 64u /* fewer than so many rows are no work for a second thread */
#define INSERT_NEAR_ROWS 512u  /* rows that look for what is near together */
#define INSERT_NEAR_MIN 64u    /* a batch of fewer walks */
/* A reference to a row of the batch instead of a node. */
#define INSERT_IN_BATCH PV__NEAR_IN_BATCH

typedef struct insert_row {
    uint32_t slot;
    uint32_t node;                  /* given, or shared with */
    uint32_t twin;                  /* index + 1 of an equal row before it in the batch */
    bool shares;                    /* node is that of an equal vector */
    bool zero;                      /* cosine and dot, all elements 0 */
    uint32_t count;                 /* forward links */
    pv__edge links[PV__LINKS_KEEP]; /* source: node, or index in the batch | IN_BATCH */
} insert_row;

typedef struct insert_batch {
    pv__graph *g;
    insert_row *rows;
    size_t count;
    uint8_t *codes;  /* of the batch, one after the other */
    uint8_t *coarse; /* those that searches walk by, where they are others */
    void *scratch;
    pv__edge *edges;
    size_t edge_count;
    size_t cap, row_size, coarse_size, scratch_size;
    pv__near *near;        /* of a large call; else NULL */
    const uint16_t *cells; /* then: of the rows of the batch */
} insert_batch;

/* One thread's share of a plan. */
typedef struct insert_part {
    insert_batch *b;
    pv__walker *w;
    pv__candidate *candidates;
    _Atomic size_t *next; /* the first row that no thread has taken */
    size_t end, step;     /* so many are taken at once */
    pv__near_scan scan;   /* where there are cells; of rows that are not planned yet, or none */
    int rc;
    pv_error err;
    pv__thread thread;
    bool started;
} insert_part;

/* Behind row i: every so often, and when memory is short. */
static bool insert_pause_due(const pv__graph *g, size_t i) {
    return i % INSERT_PAUSE == INSERT_PAUSE - 1 || pv__txn_tight(g->txn);
}

static const uint8_t *insert_code(const insert_batch *b, size_t i) {
    return b->codes + i * b->row_size;
}

static int insert_asked(const pv__code_stop *stop, pv_error *err) {
    return stop->fn ? stop->fn(stop->ctx, err) : 0;
}

/* ---- encode ---------------------------------------------------------------------------------- */

int pv__graph_vector(pv__graph *g, uint32_t slot, const uint8_t **out_row, pv_error *err) {
    const int rc = pv__column_read(g->vectors, slot, out_row, err);
    if (rc != 0) {
        atomic_store_explicit(&g->data_bad, true, memory_order_relaxed); /* plans run in threads */
    }
    return rc;
}

/* dot: codes are made for norms up to a bound that is set once, when the graph begins: twice the
 * longest of the first vectors. Longer ones that come later are only placed less well. */
static int insert_norms(pv__graph *g, const uint32_t *slots, size_t count, pv_error *err) {
    const pv__element *e = pv__element_of(g->type);
    float most = FLT_MIN;
    if (g->metric != PV_METRIC_DOT || g->meta.norm2_max > 0) {
        return 0;
    }
    for (size_t i = 0; i < PV_MIN(count, (size_t)INSERT_NORMS); i++) {
        const uint8_t *v;
        PV_TRY(pv__graph_vector(g, slots[i], &v, err));
        const double norm2 = pv__element_norm2(e, v, g->dims);
        most = PV_MAX(most, (float)PV_MIN(norm2, FLT_MAX / 4.0));
    }
    g->meta.norm2_max = PV_MIN(4.0f * most, FLT_MAX);
    g->changed = true;
    return pv__graph_code_init(g, err);
}

/* The first row before i with the same elements, by hash and then by comparing. */
static int insert_find_twin(insert_batch *b, pv__map *seen, size_t i, const uint8_t *v,
                            pv_error *err) {
    const size_t bytes = b->g->vectors->row_size;
    uint64_t hash = pv__hash64(v, bytes, 0) >> 1, other = 0;
    while (pv__map_get(seen, hash, &other)) {
        const uint8_t *u;
        PV_TRY(pv__graph_vector(b->g, b->rows[other].slot, &u, err));
        if (memcmp(u, v, bytes) == 0) {
            b->rows[i].twin = (uint32_t)other + 1;
            return 0;
        }
        hash = pv__mix64(hash + 1) >> 1;
    }
    return pv__map_put(seen, hash, i, err);
}

#define INSERT_LOST 1024 /* the last so many vectors tell what codes lose */

/* Product codes: nothing before there is a book; then also how well it fits. */
static void insert_encode_coarse(const insert_batch *b, const pv__walker *w, const uint8_t *v,
                                 uint8_t *row) {
    pv__graph_meta *m = &b->g->meta;
    if (w->code.kind != PV__CODE_PQ) {
        pv__code_encode(&w->code, v, b->scratch, row);
        return;
    }
    memset(row, 0, b->coarse_size);
    if (w->code.book) {
        pv__code_encode(&w->code, v, b->scratch, row);
        m->lost += (pv__code_lost(&w->code, v, b->scratch, row) - m->lost) / INSERT_LOST;
    }
}

static int insert_encode(insert_batch *b, pv__walker *w, pv_error *err) {
    pv__graph *g = b->g;
    pv__map seen;
    int rc = pv__book_load(w, g, err);
    pv__map_init(&seen, pv__txn_mem(g->txn));
    for (size_t i = 0; i < b->count && rc == 0; i++) {
        const uint8_t *v = NULL;
        rc = pv__graph_vector(g, b->rows[i].slot, &v, err);
        if (rc == 0) {
            pv__code_encode(&w->fine, v, b->scratch, b->codes + i * b->row_size);
            if (g->split) {
                insert_encode_coarse(b, w, v, b->coarse + i * b->coarse_size);
            }
            b->rows[i].zero = pv__graph_joins_zeros(g) &&
                              pv__element_is_zero(pv__element_of(g->type), v, g->dims);
            rc = b->count > 1 ? insert_find_twin(b, &seen, i, v, err) : 0;
        }
    }
    pv__map_done(&seen);
    return rc;
}

/* ---- plan ------------------------------------------------------------------------------------ */

/* Put the nearest rows of the batch among the candidates, where they belong. */
static size_t insert_plan_near(insert_part *p, size_t i, size_t count) {
    const insert_batch *b = p->b;
    pv__hit near[INSERT_NEAR];
    size_t found = 0;
    for (size_t j = 0; j < b->count;) {
        const uint8_t *rows[PV__WALK_ROWS];
        uint32_t ids[PV__WALK_ROWS];
        float distances[PV__WALK_ROWS];
        size_t n = 0;
        for (; j < b->count && n < PV__WALK_ROWS; j++) {
            if (j != i && b->rows[j].twin == 0) {
                rows[n] = insert_code(b, j);
                ids[n++] = (uint32_t)j;
            }
        }
        pv__code_distances(&p->w->code, p->w->query, rows, n, distances);
        for (size_t r = 0; r < n; r++) {
            if (found < INSERT_NEAR || distances[r] < near[found - 1].distance) {
                (void)pv__pool_insert(near, &found, INSERT_NEAR, distances[r], ids[r]);
            }
        }
    }
    const size_t all = count + found;
    for (size_t at = all; found > 0;) { /* both ascend, the pool's first where they are equal */
        const pv__hit h = near[found - 1];
        if (count > 0 && p->candidates[count - 1].distance > h.distance) {
            p->candidates[--at] = p->candidates[--count];
        } else {
            p->candidates[--at] = (pv__candidate){.distance = h.distance,
                                                  .node = h.slot | INSERT_IN_BATCH,
                                                  .row = insert_code(b, h.slot)};
            found--;
        }
    }
    return all;
}

/* Is there a node with an equal vector among the nearest? */
static int insert_plan_twin(insert_part *p, insert_row *row, const uint8_t *code, size_t count,
                            pv_error *err) {
    pv__graph *g = p->b->g;
    const size_t most = g->metric == PV_METRIC_DOT ? count : INSERT_TWINS; /* anywhere among them */
    for (size_t i = 0, looked = 0; i < count && looked < most; i++) {
        const pv__candidate *c = &p->candidates[i];
        if (c->node & INSERT_IN_BATCH) {
            continue;
        }
        looked++;
        if (memcmp(c->row, code, g->fine.row_size) == 0) {
            const uint8_t *own, *other;
            uint32_t slot = 0;
            PV_TRY(pv__graph_word_get(&g->slot_of, c->node, &slot, err));
            if (slot == PV__SLOT_NONE) {
                continue;
            }
            PV_TRY(pv__graph_vector(g, row->slot, &own, err));
            PV_TRY(pv__graph_vector(g, slot & ~PV__SLOT_MORE, &other, err));
            if (memcmp(own, other, g->vectors->row_size) == 0) {
                row->shares = true;
                row->node = c->node;
                return 0;
            }
        }
    }
    return 0;
}

/* The pool of a search in the graph as it is, in p->candidates. */
static int insert_plan_search(insert_part *p, size_t *out_count, pv_error *err) {
    pv__graph *g = p->b->g;
    pv__walker *w = p->w;
    const pv__effort effort = {g->meta.ef_construction,
                               PV_MIN(g->meta.ef_construction, INSERT_STOP_AT), INSERT_STOP, 0, 0};
    size_t count = 0;
    *out_count = 0;
    if (g->meta.root == 0) {
        return 0;
    }
    pv__walker_clear(w);
    w->lift = pv__graph_reach2(g);
    PV_TRY(pv__walk_enter(g, w, &count, err));
    if (g->meta.tomb_count == 0) {
        PV_TRY(pv__walk_level0(g, w, &effort, &count, err));
    } else {
        PV_TRY(pv__walk_level0_live(g, w, &effort, &count, err));
    }
    for (size_t from = 0; from < count; from += PV__WALK_ROWS) {
        const size_t n = PV_MIN(count - from, (size_t)PV__WALK_ROWS);
        for (size_t i = 0; i < n; i++) {
            w->ids[i] = w->pool[from + i].slot;
        }
        PV_TRY(pv__colview_rows(&w->codes, w->ids, n, w->rows, err));
        for (size_t i = 0; i < n; i++) {
            p->candidates[from + i] = (pv__candidate){
                .distance = w->pool[from + i].distance, .node = w->ids[i], .row = w->rows[i]};
        }
    }
    *out_count = count;
    return 0;
}

/* What a scan has found, in p->candidates. */
static int insert_plan_scanned(insert_part *p, size_t i, size_t *out_count, pv_error *err) {
    const pv__hit *hits;
    const size_t n = pv__near_scan_take(&p->scan, i, &hits);
    for (size_t c = 0; c < n; c++) {
        pv__candidate *to = &p->candidates[c];
        *to = (pv__candidate){.distance = hits[c].distance, .node = hits[c].slot};
        if (to->node & INSERT_IN_BATCH) {
            to->row = insert_code(p->b, to->node & ~INSERT_IN_BATCH);
        } else {
            PV_TRY(pv__colview_row(&p->w->codes, to->node, &to->row, err));
        }
    }
    if (pv__near_code(p->b->near, p->w) != &p->w->code) {
        pv__code_query_link(&p->w->code, insert_code(p->b, i), p->w->query);
        pv__candidates_rank(&p->w->code, p->w->query, p->candidates, n);
    }
    *out_count = n;
    return 0;
}

/* The nearest nodes and rows of the batch. */
static int insert_plan_candidates(insert_part *p, size_t i, size_t *out_count, pv_error *err) {
    const insert_batch *b = p->b;
    if (p->scan.rows > 0 && !p->scan.large[i - p->scan.from]) {
        return insert_plan_scanned(p, i, out_count, err);
    }
    pv__code_query_link(&p->w->code, insert_code(b, i), p->w->query);
    PV_TRY(insert_plan_search(p, out_count, err));
    *out_count = b->count > 1 ? insert_plan_near(p, i, *out_count) : *out_count;
    return 0;
}

static int insert_plan(insert_part *p, size_t i, pv_error *err) {
    insert_batch *b = p->b;
    pv__graph *g = b->g;
    insert_row *row = &b->rows[i];
    size_t count = 0;
    if (row->twin != 0) {
        return 0;
    }
    if (row->zero && g->meta.zero != 0) {
        row->shares = true;
        row->node = g->meta.zero - 1;
        return 0;
    }
    PV_TRY(insert_plan_candidates(p, i, &count, err));
    PV_TRY(insert_plan_twin(p, row, insert_code(b, i), count, err));
    if (row->shares) {
        return 0;
    }
    count =
        pv__prune(&p->w->code, p->w->pair, p->candidates, count, PV__LINKS_KEEP, PV__GRAPH_SLACK);
    for (size_t c = 0; c < count; c++) {
        row->links[c] =
            (pv__edge){.source = p->candidates[c].node, .distance = p->candidates[c].distance};
    }
    row->count = (uint32_t)count;
    return 0;
}

/* Go on with the rows of the scan; when all of them have been compared, plan them. */
static int insert_plan_scan(insert_part *p, pv_error *err) {
    bool done = false;
    PV_TRY(pv__near_scan_run(&p->scan, p->w, &done, err));
    for (size_t i = 0; done && i < p->scan.rows; i++) {
        PV_TRY(insert_plan(p, p->scan.from + i, err));
    }
    p->scan.rows = done ? 0 : p->scan.rows;
    return 0;
}

static void *insert_part_run(void *arg) {
    insert_part *p = arg;
    do { /* something at least, so that it goes on */
        if (p->scan.rows == 0) {
            const size_t i = atomic_fetch_add_explicit(p->next, p->step, memory_order_relaxed);
            if (i >= p->end) {
                break;
            }
            if (p->step > 1) {
                pv__near_scan_begin(&p->scan, p->w, p->b->codes, i, PV_MIN(p->step, p->end - i));
            } else {
                p->rc = insert_plan(p, i, &p->err);
            }
        }
        if (p->scan.rows > 0) {
            p->rc = insert_plan_scan(p, &p->err);
        }
    } while (p->rc == 0 && p->scan.rows == 0 && !pv__txn_tight(p->b->g->txn));
    return NULL;
}

/* Behind a pause: what all threads look at. */
static int insert_plan_begin(insert_batch *b, insert_part *parts, unsigned threads, pv_error *err) {
    const uint8_t *page;
    /* The epoch that all of them share begins before they do. */
    PV_TRY(pv__page_read(b->g->txn, b->g->page, PV__PAGE_GRAPH, &page, err));
    for (unsigned t = 0; t < threads; t++) {
        PV_TRY(pv__walker_begin_plan(parts[t].w, b->g, b->g->meta.ef_construction, err));
    }
    return 0;
}

/* Rows [*io_next, end) in up to g->threads threads, fewer when memory gets short. */
static int insert_plan_rows(insert_part *parts, unsigned threads, size_t *io_next, size_t end,
                            pv_error *err) {
    _Atomic size_t next;
    atomic_init(&next, *io_next);
    for (unsigned t = 0; t < threads; t++) {
        parts[t].next = &next;
        parts[t].end = end;
    }
    for (unsigned t = 1; t < threads; t++) { /* one that cannot start is run here instead */
        parts[t].started =
            pv__thread_start(&parts[t].thread, insert_part_run, &parts[t], NULL) == 0;
    }
    (void)insert_part_run(&parts[0]);
    int rc = 0;
    for (unsigned t = 0; t < threads; t++) {
        if (parts[t].started) {
            pv__thread_join(parts[t].thread);
        } else if (t > 0) {
            (void)insert_part_run(&parts[t]);
        }
        parts[t].started = false;
        if (rc == 0 && parts[t].rc != 0) {
            rc = pv__err(err, parts[t].rc, "%s", parts[t].err.message);
        }
    }
    *io_next = PV_MIN(atomic_load_explicit(&next, memory_order_relaxed), end);
    return rc;
}

/* Are there rows that have been taken and not planned? */
static bool insert_plan_waits(const insert_part *parts, unsigned threads) {
    bool waits = false;
    for (unsigned t = 0; t < threads; t++) {
        waits = waits || parts[t].scan.rows > 0;
    }
    return waits;
}

static int insert_parts_init(insert_batch *b, pv__walker *w, insert_part *parts, unsigned threads,
                             size_t candidates, pv_error *err) {
    pv__mem *mem = pv__txn_mem(b->g->txn);
    const uint32_t keep = b->g->meta.ef_construction;
    const pv__near_stop stop = {keep, PV_MIN(keep, INSERT_STOP_AT), INSERT_STOP};
    const bool scans = b->near && pv__near_serves(b->near) && b->count >= INSERT_NEAR_MIN;
    for (unsigned t = 0; t < threads; t++) {
        insert_part *p = &parts[t];
        p->b = b;
        p->err = (pv_error)PV_ERROR_INIT;
        p->w = w;
        p->step = 1;
        PV_TRY(t == 0 ? 0 : pv__walker_helper(w, t - 1, &p->w, err));
        p->candidates = pv__alloc_array(mem, candidates, sizeof *p->candidates);
        if (!p->candidates) {
            return pv__err_nomem(err, candidates * sizeof *p->candidates);
        }
        if (scans) {
            p->step = PV_MIN((size_t)INSERT_NEAR_ROWS, (b->count + threads - 1) / threads);
            PV_TRY(pv__near_scan_init(&p->scan, b->near, &stop, p->step, err));
        }
    }
    return 0;
}

static int insert_plan_all(insert_batch *b, pv__walker *w, const pv__code_stop *stop,
                           pv_error *err) {
    insert_part parts[PV__GRAPH_THREADS] = {{0}};
    const size_t candidates = (size_t)b->g->meta.ef_construction + INSERT_NEAR + 1;
    unsigned threads = b->count >= INSERT_THREAD_ROWS ? PV_MAX(b->g->threads, 1u) : 1;
    pv__mem *mem = pv__txn_mem(b->g->txn);
    threads = PV_MIN(threads, PV__GRAPH_THREADS);
    int rc = insert_parts_init(b, w, parts, threads, candidates, err);
    bool pause = true;
    for (size_t i = 0, paused = 0;
         rc == 0 && (i < b->count || insert_plan_waits(parts, threads));) {
        const size_t ask = PV_MAX(parts[0].step, (size_t)INSERT_PLAN_ASK);
        const size_t end = PV_MIN(b->count, i + ask * threads);
        rc = pause ? insert_plan_begin(b, parts, threads, err) : 0;
        rc = rc == 0 ? insert_plan_rows(parts, threads, &i, end, err) : rc;
        rc = rc == 0 ? insert_asked(stop, err) : rc;
        pause = i == b->count || i - paused >= (size_t)INSERT_PLAN_PAUSE * threads ||
                pv__txn_tight(b->g->txn);
        if (rc == 0 && pause) {
            rc = pv__txn_pause(b->g->txn, err);
            paused = i;
        }
    }
    for (unsigned t = 0; t < threads; t++) {
        pv__near_scan_done(&parts[t].scan);
        pv__alloc_free(mem, parts[t].candidates, candidates * sizeof *parts[t].candidates);
    }
    return rc;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static int insert_nodes(insert_batch *b, pv_error *err) {
    pv__graph *g = b->g;
    for (size_t i = 0; i < b->count; i++) {
        insert_row *row = &b->rows[i];
        if (row->zero && !row->shares && row->twin == 0 && g->meta.zero != 0) {
            row->shares = true; /* -0 and 0 differ in bytes, not in meaning */
            row->node = g->meta.zero - 1;
        }
        if (row->twin != 0) {
            row->shares = true;
            row->node = b->rows[row->twin - 1].node;
        }
        if (row->shares) {
            PV_TRY(pv__node_share(g, row->node, row->slot, err));
        } else {
            PV_TRY(pv__node_new(g, row->slot, insert_code(b, i), b->coarse + i * b->coarse_size,
                                &row->node, err));
            if (row->zero) {
                g->meta.zero = row->node + 1;
            }
        }
        if (insert_pause_due(g, i)) {
            PV_TRY(pv__txn_pause(g->txn, err));
        }
    }
    return 0;
}

/* ---- links ----------------------------------------------------------------------------------- */

/* References into the batch become nodes; a row that shares a node stands for that node. */
static void insert_resolve(const insert_batch *b, insert_row *row) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < row->count; i++) {
        pv__edge link = row->links[i];
        bool twice = false;
        if (link.source & INSERT_IN_BATCH) {
            link.source = b->rows[link.source & ~INSERT_IN_BATCH].node;
        }
        for (uint32_t j = 0; j < count; j++) {
            twice = twice || row->links[j].source == link.source;
        }
        if (!twice && link.source != row->node) {
            row->links[count++] = link;
        }
    }
    row->count = count;
}

static int insert_write_links(pv__graph *g, const insert_row *row, pv_error *err) {
    uint8_t *out;
    PV_TRY(pv__column_write(&g->links, row->node, &out, err));
    for (uint32_t i = 0; i < row->count; i++) {
        pv__links_set(out, i, row->links[i].source);
    }
    pv__links_head_set(out, row->count, PV__NODE_LIVE, 0);
    return 0;
}

/* Is it in the tree already? What was there before the batch is; of the batch, earlier rows. */
static bool insert_is_placed(const bool *placed, uint32_t node, const pv__map *of_batch) {
    uint64_t i = 0;
    return !pv__map_get(of_batch, node, &i) || placed[i];
}

static int insert_parent(insert_batch *b, pv__walker *w, const insert_row *row, const bool *placed,
                         const pv__map *of_batch, pv_error *err) {
    pv__graph *g = b->g;
    uint32_t first = PV__NODE_NONE;
    float first_distance = 0;
    for (uint32_t i = 0; i < row->count; i++) {
        const pv__edge *link = &row->links[i];
        const uint8_t *links;
        if (!insert_is_placed(placed, link->source, of_batch)) {
            continue;
        }
        PV_TRY(pv__colview_row(&w->links, link->source, &links, err));
        if (pv__links_protected(links) < PV__PROTECTED_MAX) {
            const pv__edge edge = {.source = row->node, .distance = link->distance, .keep = true};
            return pv__links_add(g, w, link->source, &edge, 1, err);
        }
        if (first == PV__NODE_NONE) {
            first = link->source;
            first_distance = link->distance;
        }
    }
    return pv__links_child(g, w, first == PV__NODE_NONE ? g->meta.root - 1 : first, row->node,
                           first_distance, err);
}

static int insert_links_in_order(insert_batch *b, pv__walker *w, bool *placed, pv__map *of_batch,
                                 pv_error *err) {
    pv__graph *g = b->g;
    for (size_t i = 0; i < b->count; i++) {
        if (!b->rows[i].shares) {
            PV_TRY(pv__map_put(of_batch, b->rows[i].node, i, err));
        }
    }
    PV_TRY(pv__walker_begin_build(w, g, g->meta.ef_construction, err));
    for (size_t i = 0; i < b->count; i++) {
        insert_row *row = &b->rows[i];
        if (row->shares) {
            continue;
        }
        insert_resolve(b, row);
        PV_TRY(insert_write_links(g, row, err));
        if (g->meta.root == 0) {
            g->meta.root = row->node + 1;
        } else {
            PV_TRY(insert_parent(b, w, row, placed, of_batch, err));
        }
        placed[i] = true;
        if (insert_pause_due(g, i)) {
            PV_TRY(pv__walker_pause(w, g->txn, err));
        }
    }
    return 0;
}

static int insert_links(insert_batch *b, pv__walker *w, pv_error *err) {
    pv__mem *mem = pv__txn_mem(b->g->txn);
    bool *placed = pv__alloc_zero(mem, b->count);
    pv__map of_batch;
    if (!placed) {
        return pv__err_nomem(err, b->count);
    }
    pv__map_init(&of_batch, mem);
    const int rc = insert_links_in_order(b, w, placed, &of_batch, err);
    pv__map_done(&of_batch);
    pv__alloc_free(mem, placed, b->count);
    return rc;
}

/* ---- back ------------------------------------------------------------------------------------ */

static bool insert_edge_before(const pv__edge *x, const pv__edge *y) {
    if (x->target != y->target) {
        return x->target < y->target;
    }
    return x->distance < y->distance || (x->distance == y->distance && x->source < y->source);
}

PV__SORT_DEFINE(insert_sort_edges, pv__edge, insert_edge_before)

static int insert_back(insert_batch *b, pv__walker *w, pv_error *err) {
    pv__graph *g = b->g;
    size_t targets = 0;
    b->edge_count = 0;
    for (size_t i = 0; i < b->count; i++) {
        const insert_row *row = &b->rows[i];
        for (uint32_t l = 0; l < (row->shares ? 0 : row->count); l++) {
            b->edges[b->edge_count++] = (pv__edge){.target = row->links[l].source,
                                                   .source = row->node,
                                                   .distance = row->links[l].distance};
        }
    }
    insert_sort_edges(b->edges, b->edge_count);
    for (size_t i = 0; i < b->edge_count;) {
        size_t n = 1;
        while (i + n < b->edge_count && b->edges[i + n].target == b->edges[i].target) {
            n++;
        }
        PV_TRY(pv__links_add(g, w, b->edges[i].target, &b->edges[i], n, err));
        i += n;
        if (insert_pause_due(g, targets++)) {
            PV_TRY(pv__walker_pause(w, g->txn, err));
        }
    }
    return 0;
}

static int insert_upper(insert_batch *b, pv__walker *w, pv_error *err) {
    for (size_t i = 0; i < b->count; i++) {
        const insert_row *row = &b->rows[i];
        if (!row->shares && pv__graph_level_of(b->g, row->node) > 0) {
            PV_TRY(pv__upper_insert(b->g, w, row->node, err));
            PV_TRY(pv__walker_pause(w, b->g->txn, err));
        }
    }
    return 0;
}

/* ---- all ------------------------------------------------------------------------------------- */

/* The rows of the batch into their cells, to be found by each other (N1); then their nodes. */
static void insert_near_rows(const insert_batch *b) {
    for (size_t i = 0; b->near && i < b->count; i++) {
        if (b->rows[i].twin == 0) {
            pv__near_add(b->near, b->cells[i], (uint32_t)i | INSERT_IN_BATCH);
        }
    }
}

static void insert_near_nodes(const insert_batch *b) {
    for (size_t i = 0; b->near && i < b->count; i++) {
        if (b->rows[i].twin == 0) {
            pv__near_drop(b->near, b->cells[i]);
        }
    }
    for (size_t i = 0; b->near && i < b->count; i++) {
        if (!b->rows[i].shares) {
            pv__near_add(b->near, b->cells[i], b->rows[i].node);
        }
    }
}

static int insert_batch_run(insert_batch *b, pv__walker *w, const uint32_t *slots, size_t count,
                            const pv__code_stop *stop, pv_error *err) {
    pv__graph *g = b->g;
    memset(b->rows, 0, count * sizeof *b->rows);
    b->count = count;
    for (size_t i = 0; i < count; i++) {
        b->rows[i].slot = slots[i];
    }
    PV_TRY(insert_encode(b, w, err));
    insert_near_rows(b);
    PV_TRY(insert_plan_all(b, w, stop, err));
    PV_TRY(insert_nodes(b, err));
    insert_near_nodes(b);
    PV_TRY(insert_links(b, w, err));
    PV_TRY(insert_asked(stop, err));
    PV_TRY(insert_back(b, w, err));
    PV_TRY(insert_asked(stop, err));
    PV_TRY(insert_upper(b, w, err));
    PV_TRY(pv__coarse_upkeep(g, w, count, stop, err));
    return pv__txn_pause(g->txn, err);
}

static int insert_alloc(insert_batch *b, size_t cap, pv_error *err) {
    pv__mem *mem = pv__txn_mem(b->g->txn);
    b->cap = cap;
    b->row_size = b->g->fine.row_size;
    b->coarse_size = b->g->split ? b->g->code.row_size : 0;
    b->scratch_size = PV_MAX(b->g->code.scratch_bytes, b->g->fine.scratch_bytes) + 64u;
    b->rows = pv__alloc_array(mem, cap, sizeof *b->rows);
    b->codes = pv__alloc_array(mem, cap, b->row_size);
    b->edges = pv__alloc_array(mem, cap * PV__LINKS_KEEP, sizeof *b->edges);
    b->coarse = pv__alloc_array(mem, cap, b->coarse_size + 1);
    b->scratch = pv__alloc_aligned(mem, b->scratch_size, 64);
    return b->rows && b->codes && b->coarse && b->edges && b->scratch
               ? 0
               : pv__err_nomem(err, cap * (sizeof *b->rows + b->row_size));
}

static void insert_free(insert_batch *b) {
    pv__mem *mem = pv__txn_mem(b->g->txn);
    pv__alloc_free(mem, b->rows, b->cap * sizeof *b->rows);
    pv__alloc_free(mem, b->codes, b->cap * b->row_size);
    pv__alloc_free(mem, b->edges, b->cap * PV__LINKS_KEEP * sizeof *b->edges);
    pv__alloc_free(mem, b->coarse, b->cap * (b->coarse_size + 1));
    pv__alloc_free_aligned(mem, b->scratch, b->scratch_size, 64);
}

/* The columns, and what follows from some of `all` vectors. */
static int insert_begin(pv__graph *g, const uint32_t *slots, size_t count, uint64_t all,
                        const pv__code_stop *stop, pv_error *err) {
    PV_TRY(pv__graph_begin(g, err));
    PV_TRY(insert_norms(g, slots, count, err));
    PV_TRY(pv__book_learn(g, slots, count, err));
    return g->shape->learn ? g->shape->learn(g, slots, count, all, stop, err) : 0;
}

uint32_t pv__graph_learn_rows(const pv__graph *g, uint64_t all) {
    return g->shape->learn_rows ? PV_MAX(g->shape->learn_rows(g, all), PV__GRAPH_LEARN)
                                : PV__GRAPH_LEARN;
}

int pv__graph_learn(pv__graph *g, const uint32_t *slots, size_t count, uint64_t all,
                    pv__graph_interrupt_fn interrupt, void *ctx, pv_error *err) {
    const pv__code_stop stop = {interrupt, ctx};
    int rc = 0;
    if (!g->built && count > 0) {
        if (g->meta.code == PV__CODE_AUTO) {
            rc = pv__choose(g, slots, count, all, interrupt, ctx, err);
        }
        rc = rc == 0 ? insert_begin(g, slots, count, all, &stop, err) : rc;
    }
    if (rc) {
        pv__txn_doom(g->txn, rc);
    }
    return rc;
}

/* As pv__graph_insert, in the order of `slots`; near: cells of these rows, or NULL. */
static int insert_in_order(pv__graph *g, pv__walker *w, const uint32_t *slots, size_t count,
                           pv__near *near, pv__graph_interrupt_fn interrupt, void *ctx,
                           pv_error *err) {
    const pv__code_stop stop = {interrupt, ctx};
    insert_batch b = {.g = g, .near = near};
    int rc = insert_alloc(&b, PV_MIN(count, (size_t)INSERT_BATCH_MAX), err);
    for (size_t i = 0; i < count && rc == 0;) {
        const size_t share = g->meta.node_count / INSERT_BATCH_SHARE;
        const size_t most = PV_MIN(PV_MAX(share, (size_t)1), (size_t)INSERT_BATCH_MAX);
        const size_t n = PV_MIN(most, count - i);
        b.cells = near ? near->cells + i : NULL;
        rc = insert_batch_run(&b, w, slots + i, n, &stop, err);
        i += n;
        if (rc == 0 && interrupt) {
            rc = interrupt(ctx, err);
        }
    }
    insert_free(&b);
    return rc;
}

static int insert_sorted(pv__graph *g, pv__walker *w, const uint32_t *slots, size_t count,
                         uint32_t cells, uint32_t centres, pv__graph_interrupt_fn interrupt,
                         void *ctx, pv_error *err) {
    pv__mem *mem = pv__txn_mem(g->txn);
    pv__near *near = NULL;
    uint32_t *order = pv__alloc_array(mem, count, sizeof *order);
    int rc = order ? 0 : pv__err_nomem(err, count * sizeof *order);
    if (rc == 0 && cells > 0) {
        rc = pv__near_new(g, w, slots, count, cells, interrupt, ctx, &near, err);
        rc = rc == 0 ? pv__graph_order_near(near, w, slots, order, err) : rc;
    } else if (rc == 0) {
        rc = pv__graph_order(g, w, slots, count, centres, interrupt, ctx, order, err);
    }
    rc = rc == 0 ? insert_in_order(g, w, order, count, near, interrupt, ctx, err) : rc;
    pv__near_free(near);
    pv__alloc_free(mem, order, count * sizeof *order);
    return rc;
}

int pv__links_insert(pv__graph *g, pv__walker *w, const uint32_t *slots, size_t count,
                     pv__graph_interrupt_fn interrupt, void *ctx, pv_error *err) {
    const uint32_t cells = pv__near_cells(g, count), centres = pv__graph_order_centres(g, count);
    return cells > 0 || centres > 0
               ? insert_sorted(g, w, slots, count, cells, centres, interrupt, ctx, err)
               : insert_in_order(g, w, slots, count, NULL, interrupt, ctx, err);
}

int pv__graph_insert(pv__graph *g, pv__walker *w, const uint32_t *slots, size_t count,
                     pv__graph_interrupt_fn interrupt, void *ctx, pv_error *err) {
    const pv__code_stop stop = {interrupt, ctx};
    if (count == 0) {
        return 0;
    }
    int rc = insert_begin(g, slots, count, count, &stop, err);
    rc = rc == 0 ? g->shape->insert(g, w, slots, count, interrupt, ctx, err) : rc;
    if (rc) {
        pv__txn_doom(g->txn, rc);
    }
    return rc;
}

#undef INSERT_BATCH_MAX
#undef INSERT_BATCH_SHARE
#undef INSERT_NEAR
#undef INSERT_STOP
#undef INSERT_STOP_AT
#undef INSERT_TWINS
#undef INSERT_NORMS
#undef INSERT_PAUSE
#undef INSERT_PLAN_ASK
#undef INSERT_PLAN_PAUSE
#undef INSERT_THREAD_ROWS
#undef INSERT_LOST
#undef INSERT_NEAR_ROWS
#undef INSERT_NEAR_MIN
#undef INSERT_IN_BATCH
