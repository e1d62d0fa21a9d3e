/* SPDX-License-Identifier: Apache-2.0 */
/* index.c - keeping the graph of a collection up with its records (index.h). */
#include "engine/index.h"

/* With PV_INDEX_AUTO: a scan of so many bytes costs about as much as a walk and its overhead. */
#define INDEX_SCAN_BYTES (4u << 20)
#define INDEX_ROWS_MIN 1024u
/* What a call pays for the tail, besides its own records. */
#define INDEX_TAIL_SHARE 3u
#define INDEX_TAIL_MIN 64u
#define INDEX_ROWS_PER_SAMPLE 64u /* records that pay for one sample of the calibration */

static bool index_has_graph(const pv__parts *p) { return p->c.field.graph != 0; }

static uint32_t index_threshold(const pv__parts *p) {
    if (p->c.field.index == PV_INDEX_HNSW) {
        return 1;
    }
    return PV_MAX(INDEX_SCAN_BYTES / p->column.row_size, INDEX_ROWS_MIN);
}

static int index_interrupt(void *ctx, pv_error *err) { return pv__db_interrupted(ctx, err); }

int pv__index_forget(pv_db *db, pv__parts *p, pv__index_work *work, uint32_t slot, pv_error *err) {
    if (!index_has_graph(p)) {
        return 0;
    }
    PV_TRY(pv__parts_graph(p, db->cpu, db->threads, err));
    work->removed++;
    return pv__graph_remove(&p->graph, slot, err);
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

/* Records below `built` need their nodes at once; the others are found with the tail. */
static size_t index_below(pv__index_work *work, uint32_t built) {
    size_t count = 0;
    for (size_t i = 0; i < work->count; i++) {
        if (work->slots[i] < built) {
            work->slots[count++] = work->slots[i];
        }
    }
    return count;
}

/* The next live slots of the tail, at most `budget`; *out_built is the slot behind them. */
static int index_tail(pv_db *db, pv__parts *p, pv__index_work *work, size_t budget,
                      uint32_t *out_built, pv_error *err) {
    uint32_t from = p->graph.meta.built;
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

static int index_insert(pv_db *db, pv__parts *p, pv__index_work *work, pv__walker *w,
                        pv_error *err) {
    pv__graph *g = &p->graph;
    const size_t noted = work->count, below = index_below(work, g->meta.built);
    uint32_t built = 0;
    PV_TRY(pv__graph_insert(g, w, work->slots, below, index_interrupt, db, err));
    PV_TRY(index_tail(db, p, work, (noted - below) + INDEX_TAIL_SHARE * noted + INDEX_TAIL_MIN,
                      &built, err));
    PV_TRY(pv__graph_insert(g, w, work->slots, work->count, index_interrupt, db, err));
    if (g->meta.built != built) {
        g->meta.built = built;
        g->changed = true;
    }
    return 0;
}

int pv__index_apply(pv_db *db, pv__parts *p, pv__index_work *work, pv_error *err) {
    pv__walker *w = NULL;
    if (!index_has_graph(p) || (work->count == 0 && work->removed == 0)) {
        return 0;
    }
    PV_TRY(pv__parts_graph(p, db->cpu, db->threads, err));
    const bool begun = p->graph.built || p->slots.meta.live_count >= index_threshold(p);
    const uint32_t noted = (uint32_t)work->count;
    const uint32_t upkeep = pv__graph_upkeep_due(&p->graph, work->count + work->removed);
    if (!begun) {
        return 0;
    }
    int rc = pv__db_walker_take(db, &w, err);
    if (rc == 0 && work->count > 0) {
        rc = index_insert(db, p, work, w, err);
    }
    if (rc == 0 && upkeep > 0) {
        rc = pv__graph_upkeep(&p->graph, w, upkeep, err);
    }
    if (rc == 0 && noted > 0 && pv__graph_calibrate_due(&p->graph)) {
        rc = pv__graph_calibrate(&p->graph, w, 1 + noted / INDEX_ROWS_PER_SAMPLE, err);
    }
    pv__db_walker_give(db, w);
    return rc;
}

int pv__index_ready(pv_db *db, pv__parts *p, bool *out, pv_error *err) {
    *out = false;
    if (index_has_graph(p)) {
        PV_TRY(pv__parts_graph(p, db->cpu, db->threads, err));
        *out = p->graph.built && p->graph.meta.node_count > 0;
    }
    return 0;
}

#undef INDEX_SCAN_BYTES
#undef INDEX_ROWS_MIN
#undef INDEX_TAIL_SHARE
#undef INDEX_TAIL_MIN
#undef INDEX_ROWS_PER_SAMPLE
