/* SPDX-License-Identifier: Apache-2.0 */
/* index.c - keeping the graph of a collection up with its records (index.h).
 *
 *      call that writes    its own records, some of the tail, some of a sweep
 *      upkeep              the rest, in this order: what was found damaged, tail, sweep,
 *                          calibration, the next graph
 *
 * Where the store has a thread, small calls leave nearly all but their own records to it. */
#include "engine/index.h"

#include "engine/upkeep.h"

/* With PV_INDEX_AUTO: a scan of so many bytes costs about as much as a walk and its overhead. */
#define INDEX_SCAN_BYTES (4u << 20)
#define INDEX_CODES_BYTES (1u << 20) /* with PV_INDEX_FLAT: less is not read by codes */
#define INDEX_ROWS_MIN 1024u
#define INDEX_LISTS_MIN 64u /* with PV_INDEX_IVF: centres are learned from them */
/* What a call pays for the tail, besides its own records. */
#define INDEX_TAIL_SHARE 3u
#define INDEX_TAIL_MIN 16u
#define INDEX_TAIL_SMALL 4u       /* of a small call, where a thread does the rest */
#define INDEX_SMALL 64u           /* records of a small call */
#define INDEX_LATE 5u             /* one node of so many is dead: small calls pay, too */
#define INDEX_ROWS_PER_SAMPLE 64u /* records that pay for one sample of the calibration */
#define INDEX_STEP_ROWS 4u        /* a unit of upkeep: records that get nodes, */
#define INDEX_STEP_NODES 64u      /* nodes that are swept, */
#define INDEX_STEP_PAGES 64u      /* pages that are given back or looked at */
#define INDEX_PAID_UNITS 1u       /* that a call pays for what the thread does elsewhere, */
#define INDEX_ROWS_PER_UNIT 16u   /* and one more for so many rows */

static bool index_has_graph(const pv__parts *p) { return p->c.graph.page != 0; }

static uint32_t index_threshold(const pv__parts *p) {
    if (p->c.field.index == PV_INDEX_HNSW) {
        return 1;
    }
    if (p->c.field.index == PV_INDEX_IVF) {
        return INDEX_LISTS_MIN;
    }
    if (p->c.field.index == PV_INDEX_FLAT) {
        return INDEX_CODES_BYTES / p->column.row_size + 1;
    }
    return PV_MAX(INDEX_SCAN_BYTES / p->column.row_size, INDEX_ROWS_MIN);
}

static int index_interrupt(void *ctx, pv_error *err) { return pv__db_interrupted(ctx, err); }

static int index_open(pv_db *db, pv__parts *p, pv_error *err) {
    return pv__parts_graph(p, db->cpu, db->threads, err);
}

/* ---- giving up, taking over -------------------------------------------------------------- */

/* Nobody uses this graph any more. */
static int index_bury(pv_db *db, pv__parts *p, pv__graph_ref graph, bool trusted, pv_error *err) {
    const pv__field *f = &p->c.field;
    const pv__grave grave = {
        .owner = graph.owner,
        .owners = PV__GRAPH_OWNERS,
        .metric = f->metric,
        .type = f->type,
        .dims = f->dims,
        .page = trusted ? graph.page : 0,
    };
    PV_TRY(pv__grave_put(p->txn, &grave, err));
    pv__upkeep_settled(db, graph.page);
    pv__upkeep_want_graves(db);
    return 0;
}

static int index_make(pv__parts *p, pv__graph_ref *out, pv_error *err) {
    const pv__field *f = &p->c.field;
    PV_TRY(pv__catalog_ids_take(p->txn, PV__GRAPH_OWNERS, &out->owner, err));
    const pv__graph_spec spec = pv__graph_spec_of(f);
    return pv__graph_create(p->txn, out->owner, &spec, p->graph_open ? &p->graph : NULL, &out->page,
                            err);
}

/* The next graph, whole or not, becomes the one that is searched. */
static void index_take_next(pv__parts *p) {
    p->c.graph = p->c.next;
    p->c.next = (pv__graph_ref){0, 0};
    p->graph = p->next;
    p->graph_open = p->next_open;
    p->next_open = false;
    p->graphs_changed = true;
}

/* The graph is damaged: an empty one, or the next one, takes its place in this transaction. */
static int index_lose(pv_db *db, pv__parts *p, const char *why, pv_error *err) {
    const pv__graph_ref old = p->c.graph;
    pv__log(&db->log, PV_LOG_ERROR, "index",
            "collection '%s': its graph is damaged and will be built again: %s", p->c.name, why);
    pv__txn_forgive(p->txn);
    PV_TRY(index_bury(db, p, old, false, err));
    if (p->c.next.page == 0) {
        p->next_open = false;
        PV_TRY(index_make(p, &p->c.next, err));
    }
    index_take_next(p);
    p->c.graph_lost = true;
    (void)pv__upkeep_want(db, &p->c);
    return 0;
}

/* What became of work on the graphs: damage of a graph is no failure. */
static int index_settle(pv_db *db, pv__parts *p, bool next, int rc, const pv_error *found,
                        pv_error *err) {
    const pv__graph *g = next ? &p->next : &p->graph;
    const bool open = next ? p->next_open : p->graph_open;
    if (rc != PV_ERR_CORRUPT ||
        (open && atomic_load_explicit(&g->data_bad, memory_order_relaxed))) {
        return rc == 0 ? 0 : pv__err(err, rc, "%s", found->message);
    }
    if (!next) {
        return index_lose(db, p, found->message, err);
    }
    pv__log(&db->log, PV_LOG_ERROR, "index",
            "collection '%s': the graph that was being built is damaged: %s", p->c.name,
            found->message);
    pv__txn_forgive(p->txn);
    PV_TRY(index_bury(db, p, p->c.next, false, err));
    p->c.next = (pv__graph_ref){0, 0};
    p->next_open = false;
    p->graphs_changed = true;
    return 0;
}

/* ---- what a call does -------------------------------------------------------------------- */

/* A graph that was given up has one in its place, which may be damaged as well; then comes a new
 * one. */
#define INDEX_TRIES 3u

static int index_forget(pv_db *db, pv__parts *p, uint32_t slot, pv_error *err) {
    PV_TRY(index_open(db, p, err));
    return pv__graph_remove(&p->graph, slot, err);
}

static int index_forget_next(pv_db *db, pv__parts *p, uint32_t slot, pv_error *err) {
    PV_TRY(pv__parts_next(p, db->cpu, db->threads, err));
    return pv__graph_remove(&p->next, slot, err);
}

int pv__index_forget(pv_db *db, pv__parts *p, pv__index_work *work, uint32_t slot, pv_error *err) {
    pv_error found = PV_ERROR_INIT;
    if (!index_has_graph(p)) {
        return 0;
    }
    work->removed++;
    if (p->c.next.page != 0) {
        const int rc = index_forget_next(db, p, slot, &found);
        PV_TRY(rc == 0 ? 0 : index_settle(db, p, true, rc, &found, err));
    }
    for (unsigned i = 0; i < INDEX_TRIES; i++) {
        const int rc = index_forget(db, p, slot, &found);
        if (rc == 0) {
            break;
        }
        PV_TRY(index_settle(db, p, false, rc, &found, err));
    }
    return 0;
}

int pv__index_note(pv_db *db, pv__parts *p, pv__index_work *work, uint32_t slot, pv_error *err) {
    if (!index_has_graph(p)) {
        return 0;
    }
    PV_TRY(pv__alloc_grow(&db->env->mem, (void **)&work->slots, &work->cap, work->count + 1,
                          sizeof *work->slots, err));
    work->slots[work->count++] = slot;
    return 0;
}

void pv__index_done(pv_db *db, pv__index_work *work) {
    pv__alloc_free(&db->env->mem, work->slots, work->cap * sizeof *work->slots);
    memset(work, 0, sizeof *work);
}

/* Records below `built` need their nodes at once; the others are found with the tail. They come to
 * the front; returns how many. */
static size_t index_below(pv__index_work *work, uint32_t built) {
    size_t count = 0;
    for (size_t i = 0; i < work->count; i++) {
        if (work->slots[i] < built) {
            const uint32_t slot = work->slots[i];
            work->slots[i] = work->slots[count];
            work->slots[count++] = slot;
        }
    }
    return count;
}

/* The next live slots of the tail of g, at most `budget`; *out_built is the slot behind them. */
static int index_tail(pv_db *db, pv__parts *p, const pv__graph *g, pv__index_work *work,
                      size_t budget, uint32_t *out_built, pv_error *err) {
    uint32_t from = g->meta.built;
    work->count = 0;
    while (work->count < budget) {
        uint32_t slot = 0;
        bool found = false;
        PV_TRY(pv__slots_next(&p->slots, from, &slot, &found, err));
        if (!found) {
            from = p->slots.meta.high_water;
            break;
        }
        PV_TRY(pv__index_note(db, p, work, slot, err));
        from = slot + 1;
        PV_TRY(work->count % 1024 == 0 ? pv__txn_pause(p->txn, err) : 0);
    }
    *out_built = from;
    return 0;
}

/* What begins with few records of many learns from some of all of them. */
static int index_learn(pv_db *db, pv__parts *p, pv__graph *g, pv__index_work *work,
                       pv__graph_interrupt_fn interrupt, pv_error *err) {
    const uint32_t high = p->slots.meta.high_water;
    const uint32_t step = high / pv__graph_learn_rows(g, p->slots.meta.live_count) + 1;
    for (uint32_t from = 0; from < high;) {
        uint32_t slot = 0;
        bool found = false;
        PV_TRY(pv__slots_next(&p->slots, from, &slot, &found, err));
        if (!found) {
            break;
        }
        PV_TRY(pv__index_note(db, p, work, slot, err));
        from = slot + step;
        PV_TRY(work->count % 1024 == 0 ? pv__txn_pause(p->txn, err) : 0);
    }
    return pv__graph_learn(g, work->slots, work->count, p->slots.meta.live_count, interrupt, db,
                           err);
}

/* Nodes for the next `rows` records of the tail. Damage of the bitmap is damage of the data. */
static int index_fill(pv_db *db, pv__parts *p, pv__graph *g, pv__walker *w, size_t rows,
                      pv__graph_interrupt_fn interrupt, pv_error *err) {
    pv__index_work work = {0};
    uint32_t built = 0;
    int rc = g->built ? 0 : index_learn(db, p, g, &work, interrupt, err);
    if (rc == 0) {
        rc = index_tail(db, p, g, &work, rows, &built, err);
        if (rc != 0) {
            atomic_store_explicit(&g->data_bad, true, memory_order_relaxed);
        }
    }
    rc = rc == 0 ? pv__graph_insert(g, w, work.slots, work.count, interrupt, db, err) : rc;
    if (rc == 0 && g->meta.built != built) {
        g->meta.built = built;
        g->changed = true;
    }
    pv__index_done(db, &work);
    return rc;
}

static bool index_has_thread(const pv_db *db) {
    return db->threads != 1 && !(db->flags & PV_OPEN_READONLY);
}

static size_t index_tail_share(const pv_db *db, size_t noted) {
    if (noted == 0) {
        return 0;
    }
    return index_has_thread(db) && noted < INDEX_SMALL ? INDEX_TAIL_SMALL
                                                       : INDEX_TAIL_SHARE * noted + INDEX_TAIL_MIN;
}

static uint32_t index_sweep_share(const pv_db *db, const pv__graph *g, size_t rows) {
    const pv__graph_meta *m = &g->meta;
    const bool late =
        (uint64_t)m->tomb_count * INDEX_LATE >= (uint64_t)m->node_count + m->tomb_count;
    return index_has_thread(db) && rows < INDEX_SMALL && !late ? 0 : pv__graph_upkeep_due(g, rows);
}

static uint32_t index_samples(const pv_db *db, const pv__graph *g, size_t noted) {
    const bool leave = index_has_thread(db) && noted < INDEX_SMALL;
    return noted == 0 || leave || !pv__graph_calibrate_due(g)
               ? 0
               : 1 + (uint32_t)(noted / INDEX_ROWS_PER_SAMPLE);
}

/* What the call owes one graph: nodes for its records, and some of what is left from others. */
static int index_pay(pv_db *db, pv__parts *p, pv__graph *g, pv__index_work *work, pv__walker *w,
                     bool extra, pv_error *err) {
    const size_t noted = work->count, below = index_below(work, g->meta.built);
    const uint32_t sweep = index_sweep_share(db, g, noted + work->removed);
    PV_TRY(pv__graph_insert(g, w, work->slots, below, index_interrupt, db, err));
    const size_t rows = extra ? noted - below + index_tail_share(db, noted) : 0;
    if (rows > 0) {
        PV_TRY(index_fill(db, p, g, w, rows, index_interrupt, err));
    }
    if (sweep > 0) {
        PV_TRY(pv__graph_upkeep(g, w, sweep, err));
    }
    const uint32_t samples = extra ? index_samples(db, g, noted) : 0;
    return samples > 0 ? pv__graph_calibrate(g, w, samples, err) : 0;
}

static int index_pay_main(pv_db *db, pv__parts *p, pv__index_work *work, pv__walker *w, bool extra,
                          pv_error *err) {
    PV_TRY(index_open(db, p, err));
    if (!p->graph.built && p->slots.meta.live_count < index_threshold(p)) {
        return 0;
    }
    return index_pay(db, p, &p->graph, work, w, extra, err);
}

/* For the next graph, then for the one that is searched: where that one is damaged, the next one
 * has got its nodes and can take its place. */
static int index_pay_both(pv_db *db, pv__parts *p, pv__index_work *work, pv__walker *w,
                          pv_error *err) {
    pv_error found = PV_ERROR_INIT;
    if (p->c.next.page != 0) {
        int rc = pv__parts_next(p, db->cpu, db->threads, &found);
        rc = rc == 0 ? index_pay(db, p, &p->next, work, w, false, &found) : rc;
        PV_TRY(rc == 0 ? 0 : index_settle(db, p, true, rc, &found, err));
    }
    const int rc = index_pay_main(db, p, work, w, true, &found);
    return rc == 0 ? 0 : index_settle(db, p, false, rc, &found, err);
}

/* A large call, and every one where there is no thread, goes on with what the thread would do; for
 * large ones it makes no difference whether there is one (G5). */
static int index_pay_upkeep(pv_db *db, pv__parts *p, size_t rows, pv_error *err) {
    const pv__index_budget units = {0, INDEX_PAID_UNITS + (uint32_t)(rows / INDEX_ROWS_PER_UNIT)};
    bool more = false;
    if (pv__index_due(db, p) && (!index_has_thread(db) || rows >= INDEX_SMALL)) {
        PV_TRY(pv__index_upkeep(db, p, units, err));
    }
    if (index_has_thread(db) && pv__index_due(db, p)) {
        (void)pv__upkeep_want(db, &p->c);
    }
    if (!index_has_thread(db) && atomic_load_explicit(&db->upkeep.graves, memory_order_relaxed)) {
        PV_TRY(pv__index_graves(db, p->txn, units, &more, err));
        atomic_store_explicit(&db->upkeep.graves, more, memory_order_relaxed);
    }
    return 0;
}

int pv__index_apply(pv_db *db, pv__parts *p, pv__index_work *work, pv_error *err) {
    pv__walker *w = NULL;
    if (!index_has_graph(p) || (work->count == 0 && work->removed == 0)) {
        return 0;
    }
    const size_t rows = work->count + work->removed;
    int rc = pv__db_walker_take(db, &w, err);
    rc = rc == 0 ? index_pay_both(db, p, work, w, err) : rc;
    pv__db_walker_give(db, w);
    return rc == 0 ? index_pay_upkeep(db, p, rows, err) : rc;
}

int pv__index_ready(pv_db *db, pv__parts *p, bool *out, pv_error *err) {
    *out = false;
    if (index_has_graph(p)) {
        PV_TRY(index_open(db, p, err));
        *out = p->graph.built && p->graph.meta.node_count > 0 && pv__graph_walks(&p->graph);
    }
    return 0;
}

int pv__index_codes(pv_db *db, pv__parts *p, bool *out, pv_error *err) {
    *out = false;
    if (index_has_graph(p)) {
        PV_TRY(index_open(db, p, err));
        *out = pv__sift_can(&p->graph);
    }
    return 0;
}

/* ---- upkeep ------------------------------------------------------------------------------ */

static bool index_spend(pv__index_budget *b, bool *io_first) {
    const bool go =
        *io_first || (b->units > 0 && (b->until_us == 0 || pv__sys_mono_us(NULL) < b->until_us));
    *io_first = false;
    b->units -= b->units > 0 ? 1u : 0u;
    return go;
}

static bool index_tail_due(const pv__parts *p, const pv__graph *g) {
    return g->meta.built < p->slots.meta.high_water &&
           (g->built || p->slots.meta.live_count >= index_threshold(p));
}

/* All records have nodes (unless they are too few for a graph), and what it gives is known. */
static bool index_is_whole(const pv__parts *p, const pv__graph *g) {
    return !index_tail_due(p, g) && !pv__graph_calibrate_due(g);
}

static bool index_graph_due(const pv__parts *p, const pv__graph *g) {
    return index_tail_due(p, g) || pv__graph_upkeep_due(g, 1) > 0 || pv__graph_calibrate_due(g) ||
           pv__graph_choose_due(g);
}

bool pv__index_due(pv_db *db, pv__parts *p) {
    if (!index_has_graph(p)) {
        return false;
    }
    if (p->c.next.page != 0 || pv__upkeep_doubted(db, &p->c)) {
        return true;
    }
    return index_open(db, p, NULL) != 0 || index_graph_due(p, &p->graph) || p->c.graph_lost ||
           pv__graph_rebuild_due(&p->graph);
}

/* One unit for one graph; *out_done: nothing was due. */
static int index_unit(pv_db *db, pv__parts *p, pv__graph *g, pv__walker *w, bool *out_done,
                      pv_error *err) {
    *out_done = false;
    if (index_tail_due(p, g)) {
        return index_fill(db, p, g, w, INDEX_STEP_ROWS, NULL, err);
    }
    if (pv__graph_upkeep_due(g, 1) > 0) {
        return pv__graph_upkeep(g, w, INDEX_STEP_NODES, err);
    }
    if (pv__graph_calibrate_due(g)) {
        return pv__graph_calibrate(g, w, 1, err);
    }
    if (pv__graph_choose_due(g)) {
        return pv__graph_choose(g, err);
    }
    *out_done = true;
    return 0;
}

static int index_units(pv_db *db, pv__parts *p, pv__graph *g, pv__walker *w, pv__index_budget *b,
                       bool *io_first, pv_error *err) {
    while (index_spend(b, io_first)) {
        bool done = false;
        PV_TRY(index_unit(db, p, g, w, &done, err));
        PV_TRY(pv__txn_pause(p->txn, err));
        if (done) { /* nothing was done: what was spent is given back */
            b->units++;
            *io_first = true;
            break;
        }
    }
    return 0;
}

static int index_upkeep_main(pv_db *db, pv__parts *p, pv__walker *w, pv__index_budget *b,
                             bool *io_first, pv_error *err) {
    PV_TRY(index_open(db, p, err));
    PV_TRY(index_units(db, p, &p->graph, w, b, io_first, err));
    if (p->c.graph_lost && !index_tail_due(p, &p->graph)) {
        p->c.graph_lost = false;
        p->graphs_changed = true;
    }
    return 0;
}

/* The next graph grows; when it is whole it takes the place of the other. */
static int index_upkeep_next(pv_db *db, pv__parts *p, pv__walker *w, pv__index_budget *b,
                             bool *io_first, pv_error *err) {
    PV_TRY(pv__parts_next(p, db->cpu, db->threads, err));
    PV_TRY(index_units(db, p, &p->next, w, b, io_first, err));
    return 0;
}

static int index_begin_next(pv_db *db, pv__parts *p, pv_error *err) {
    pv__log(&db->log, PV_LOG_INFO, "index", "collection '%s': its graph is built anew", p->c.name);
    p->next_open = false;
    p->graphs_changed = true;
    return index_make(p, &p->c.next, err);
}

static int index_swap(pv_db *db, pv__parts *p, pv_error *err) {
    const pv__graph_ref old = p->c.graph;
    pv__log(&db->log, PV_LOG_INFO, "index", "collection '%s': the new graph is in use", p->c.name);
    PV_TRY(index_bury(db, p, old, true, err));
    index_take_next(p);
    p->c.graph_lost = false;
    return 0;
}

static int index_upkeep_all(pv_db *db, pv__parts *p, pv__walker *w, pv__index_budget b,
                            pv_error *err) {
    pv_error found = PV_ERROR_INIT;
    bool first = true;
    if (pv__upkeep_doubted(db, &p->c)) {
        PV_TRY(index_lose(db, p, "found by a search", err));
    }
    int rc = index_upkeep_main(db, p, w, &b, &first, &found);
    PV_TRY(rc == 0 ? 0 : index_settle(db, p, false, rc, &found, err));
    if (p->graph_open && p->c.next.page == 0 && pv__graph_rebuild_due(&p->graph)) {
        rc = pv__graph_choose(&p->graph, &found); /* another code may be better by now */
        PV_TRY(rc == 0 ? index_begin_next(db, p, err)
                       : index_settle(db, p, false, rc, &found, err));
    }
    if (p->c.next.page != 0) {
        rc = index_upkeep_next(db, p, w, &b, &first, &found);
        PV_TRY(rc == 0 ? 0 : index_settle(db, p, true, rc, &found, err));
    }
    return p->c.next.page != 0 && index_is_whole(p, &p->next) ? index_swap(db, p, err) : 0;
}

int pv__index_upkeep(pv_db *db, pv__parts *p, pv__index_budget budget, pv_error *err) {
    pv__walker *w = NULL;
    if (!index_has_graph(p)) {
        return 0;
    }
    int rc = pv__db_walker_take(db, &w, err);
    rc = rc == 0 ? index_upkeep_all(db, p, w, budget, err) : rc;
    pv__db_walker_give(db, w);
    return rc == 0 ? pv__parts_save_graphs(p, err) : rc;
}

/* ---- graves ------------------------------------------------------------------------------ */

/* Look at pages from g->at on, and give back those that say they were the graph's. What cannot be
 * read stays: nobody knows whose it is. */
static int index_grave_scan(pv__txn *txn, pv__grave *g, pv__index_budget *b, bool *out_done,
                            pv_error *err) {
    uint64_t end = 0;
    bool first = true;
    PV_TRY(pv__page_ids_end(txn, &end, err));
    g->at = PV_MAX(g->at, (uint64_t)1);
    while (g->at < end && index_spend(b, &first)) {
        for (uint32_t i = 0; i < INDEX_STEP_PAGES && g->at < end; i++, g->at++) {
            const uint8_t *page = NULL;
            const int rc = pv__page_read(txn, g->at, PV__PAGE_ANY, &page, NULL);
            if (rc == 0 && pv__page_owner(page) - g->owner < g->owners) {
                PV_TRY(pv__page_free(txn, g->at, err));
            } else if (rc != 0 && rc != PV_ERR_CORRUPT) {
                return pv__err(err, rc, "page %llu cannot be read", (unsigned long long)g->at);
            }
            PV_TRY(pv__txn_pause(txn, err));
        }
    }
    *out_done = g->at >= end;
    return 0;
}

static int index_grave_drop(pv_db *db, pv__txn *txn, pv__grave *g, pv__index_budget *b,
                            bool *out_done, pv_error *err) {
    pv_error found = PV_ERROR_INIT;
    bool first = true;
    int rc = 0;
    *out_done = false;
    while (rc == 0 && !*out_done && index_spend(b, &first)) {
        const pv__graph_space space = {g->type, g->metric, g->dims};
        rc = pv__graph_drop_some(txn, g->page, g->owner, &space, &g->at, INDEX_STEP_PAGES, out_done,
                                 &found);
    }
    if (rc != PV_ERR_CORRUPT) {
        return rc == 0 ? 0 : pv__err(err, rc, "%s", found.message);
    }
    pv__log(&db->log, PV_LOG_WARN, "index", "an old graph is damaged: %s", found.message);
    pv__txn_forgive(txn);
    g->page = g->at = 0;
    return 0;
}

int pv__index_graves(pv_db *db, pv__txn *txn, pv__index_budget budget, bool *out_more,
                     pv_error *err) {
    pv__grave g;
    bool done = false;
    PV_TRY(pv__grave_first(txn, &g, out_more, err));
    if (!*out_more) {
        return 0;
    }
    PV_TRY(g.page != 0 ? index_grave_drop(db, txn, &g, &budget, &done, err)
                       : index_grave_scan(txn, &g, &budget, &done, err));
    return done ? pv__grave_remove(txn, &g, err) : pv__grave_put(txn, &g, err);
}

#undef INDEX_SCAN_BYTES
#undef INDEX_CODES_BYTES
#undef INDEX_ROWS_MIN
#undef INDEX_LISTS_MIN
#undef INDEX_TAIL_SHARE
#undef INDEX_TAIL_MIN
#undef INDEX_TAIL_SMALL
#undef INDEX_SMALL
#undef INDEX_TRIES
#undef INDEX_LATE
#undef INDEX_ROWS_PER_SAMPLE
#undef INDEX_STEP_ROWS
#undef INDEX_STEP_NODES
#undef INDEX_STEP_PAGES
#undef INDEX_PAID_UNITS
#undef INDEX_ROWS_PER_UNIT
