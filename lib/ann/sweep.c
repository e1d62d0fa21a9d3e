/* SPDX-License-Identifier: Apache-2.0 */
/* sweep.c - taking tombstones out of the graph, a few nodes at a time.
 *
 *      links    every node that links to a tombstone gets, in its place, the best of what that
 *               linked to (delete consolidation of FreshDiskANN, Singh et al. 2021); children of
 *               a tombstone in the tree of protected links get its parent (G1)
 *      upper    the same for the rows of each upper level, then its dead rows are freed
 *      free     the numbers of the dead nodes may be used again
 *
 * A sweep begins when a tenth of the nodes are dead, and every change of the collection pays for
 * some of it, so that nobody has to call anything and no call takes long. Where it stands is in
 * the graph's page: it survives commit, rollback and crash like all else. What dies while a sweep
 * is under way carries the other mark and waits for the next one. */
#include "ann/build.h"

#define SWEEP_SHARE 10u    /* begins when 1 of so many nodes is dead */
#define SWEEP_DEAD_MIN 32u /* and at least so many */
#define SWEEP_PER_ROW 32u  /* nodes that a change of one row pays for */
#define SWEEP_PAUSE 16u    /* nodes between two pauses */
#define SWEEP_CANDIDATES 256u

/* meta.sweep_phase. Levels take two each, the highest first: a row that stays never leads down to
 * one that was freed. */
enum { SWEEP_NONE, SWEEP_LINKS, SWEEP_UPPER, SWEEP_FREE = SWEEP_UPPER + 2 * PV__GRAPH_LEVELS };

/* State of the nodes that this sweep removes. */
static unsigned sweep_dead(const pv__graph *g) {
    return g->meta.sweep_mark ? PV__NODE_TOMB0 : PV__NODE_TOMB1;
}

static int sweep_state(pv__graph *g, pv__walker *w, uint32_t node, unsigned *out, pv_error *err) {
    const uint8_t *row;
    if (node >= g->meta.node_high) {
        return pv__graph_corrupt(g, node, "a link leads beyond the last node", err);
    }
    PV_TRY(pv__colview_row(&w->links, node, &row, err));
    *out = pv__links_state(row);
    return 0;
}

/* ---- links ----------------------------------------------------------------------------------- */

typedef struct sweep_list {
    pv__candidate c[SWEEP_CANDIDATES];
    size_t count;
} sweep_list;

static void sweep_add(sweep_list *l, uint32_t node, bool keep) {
    for (size_t i = 0; i < l->count; i++) {
        if (l->c[i].node == node) {
            l->c[i].keep = l->c[i].keep || keep;
            return;
        }
    }
    if (l->count < SWEEP_CANDIDATES) {
        l->c[l->count++] = (pv__candidate){.node = node, .keep = keep};
    }
}

/* Nodes without a parent: the children of `dead`, of its dead children, and so on. */
typedef struct sweep_orphans {
    pv__mem *mem;
    uint32_t *nodes;
    size_t count, cap;
} sweep_orphans;

static int sweep_orphan_add(sweep_orphans *o, uint32_t node, pv_error *err) {
    PV_TRY(
        pv__alloc_grow(o->mem, (void **)&o->nodes, &o->cap, o->count + 1, sizeof *o->nodes, err));
    o->nodes[o->count++] = node;
    return 0;
}

/* From `dead` on the list is expanded in place: dead ones are replaced by their children. */
static int sweep_orphans_of(pv__graph *g, pv__walker *w, uint32_t dead, sweep_orphans *o,
                            pv_error *err) {
    size_t at = o->count, left = g->meta.node_high;
    PV_TRY(sweep_orphan_add(o, dead, err));
    while (at < o->count) {
        const uint32_t node = o->nodes[at];
        const uint8_t *row;
        PV_TRY(pv__colview_row(&w->links, node, &row, err));
        if (pv__links_state(row) != sweep_dead(g)) {
            at++;
            continue;
        }
        if (left-- == 0) {
            return pv__graph_corrupt(g, node, "its protected links make no tree", err);
        }
        o->nodes[at] = o->nodes[--o->count];
        for (unsigned i = 0; i < pv__links_count(row); i++) {
            const uint32_t link = pv__links_at(row, i);
            if (link & PV__PROTECTED) {
                unsigned ignored = 0;
                PV_TRY(sweep_state(g, w, link & ~PV__PROTECTED, &ignored, err));
                PV_TRY(sweep_orphan_add(o, link & ~PV__PROTECTED, err));
            }
        }
    }
    return 0;
}

/* What `dead` linked to and is alive. */
static int sweep_inherit(pv__graph *g, pv__walker *w, uint32_t node, uint32_t dead, sweep_list *l,
                         pv_error *err) {
    const uint8_t *row;
    PV_TRY(pv__colview_row(&w->links, dead, &row, err));
    for (unsigned i = 0; i < pv__links_count(row); i++) {
        const uint32_t next = pv__links_at(row, i) & ~PV__PROTECTED;
        unsigned state = 0;
        PV_TRY(sweep_state(g, w, next, &state, err));
        if (state == PV__NODE_LIVE && next != node) {
            sweep_add(l, next, false);
        }
    }
    return 0;
}

static int sweep_adopt(pv__graph *g, pv__walker *w, uint32_t node, const sweep_orphans *o,
                       pv_error *err) {
    for (size_t i = 0; i < o->count; i++) {
        PV_TRY(pv__links_child(g, w, node, o->nodes[i], 0, err));
    }
    return 0;
}

static int sweep_node(pv__graph *g, pv__walker *w, uint32_t node, sweep_orphans *o, pv_error *err) {
    sweep_list l = {.count = 0};
    const uint8_t *row;
    bool found = false;
    PV_TRY(pv__colview_row(&w->links, node, &row, err));
    const unsigned state = pv__links_state(row), dead = sweep_dead(g);
    if (state == PV__NODE_FREE || state == dead) {
        return 0;
    }
    o->count = 0;
    for (unsigned i = 0; i < pv__links_count(row); i++) {
        const uint32_t link = pv__links_at(row, i), to = link & ~PV__PROTECTED;
        unsigned to_state = 0;
        PV_TRY(sweep_state(g, w, to, &to_state, err));
        if (to_state != dead) {
            sweep_add(&l, to, link & PV__PROTECTED);
            continue;
        }
        found = true;
        PV_TRY(sweep_inherit(g, w, node, to, &l, err));
        if (link & PV__PROTECTED) {
            PV_TRY(sweep_orphans_of(g, w, to, o, err));
        }
    }
    if (!found) {
        return 0;
    }
    PV_TRY(pv__links_prune(g, w, node, l.c, &l.count, err));
    PV_TRY(pv__links_write(g, node, state, l.c, l.count, err));
    return sweep_adopt(g, w, node, o, err);
}

/* The root is dead: one of the orphans takes its place. None: the tree is empty. */
static int sweep_root(pv__graph *g, pv__walker *w, pv_error *err) {
    sweep_orphans o = {.mem = pv__txn_mem(g->txn)};
    unsigned state = 0;
    const uint32_t root = g->meta.root - 1;
    int rc = sweep_state(g, w, root, &state, err);
    if (rc == 0 && state == sweep_dead(g)) {
        rc = sweep_orphans_of(g, w, root, &o, err);
        if (rc == 0) {
            g->meta.root = o.count > 0 ? o.nodes[0] + 1 : 0;
            g->changed = true;
        }
        for (size_t i = 1; i < o.count && rc == 0; i++) {
            rc = pv__links_child(g, w, o.nodes[0], o.nodes[i], 0, err);
        }
    }
    pv__alloc_free(o.mem, o.nodes, o.cap * sizeof *o.nodes);
    return rc;
}

/* ---- upper ----------------------------------------------------------------------------------- */

static int sweep_upper_dead(pv__graph *g, pv__walker *w, const uint8_t *row, bool *out,
                            pv_error *err) {
    unsigned state = 0;
    PV_TRY(sweep_state(g, w, pv__upper_node(row), &state, err));
    *out = state == sweep_dead(g);
    return 0;
}

static int sweep_upper_links(pv__graph *g, pv__walker *w, uint32_t level, const uint8_t *row,
                             uint32_t own, bool inherit, sweep_list *l, bool *out_found,
                             pv_error *err) {
    for (unsigned i = 0; i < PV_MIN(pv__upper_count(row), PV__UPPER_DEGREE); i++) {
        const uint32_t node = pv__upper_link(row, i), rank = pv__upper_rank(row, i);
        unsigned state = 0;
        PV_TRY(sweep_state(g, w, node, &state, err));
        if (state == sweep_dead(g)) {
            const uint8_t *next;
            *out_found = true;
            if (inherit && rank < g->meta.levels[level].high) {
                bool ignored = false;
                PV_TRY(pv__column_read(&g->upper[level], rank, &next, err));
                PV_TRY(sweep_upper_links(g, w, level, next, own, false, l, &ignored, err));
            }
        } else if (node != own) {
            const size_t before = l->count;
            sweep_add(l, node, false);
            if (l->count > before) {
                l->c[before].rank = rank;
            }
        }
    }
    return 0;
}

static int sweep_upper_row(pv__graph *g, pv__walker *w, uint32_t level, uint32_t rank,
                           pv_error *err) {
    sweep_list l = {.count = 0};
    const uint8_t *row, *code;
    uint8_t *out;
    bool found = false;
    PV_TRY(pv__column_read(&g->upper[level], rank, &row, err));
    if (!pv__upper_used(row)) {
        return 0;
    }
    const uint32_t own = pv__upper_node(row);
    PV_TRY(sweep_upper_dead(g, w, row, &found, err));
    if (found) {
        return 0; /* freed in the next phase */
    }
    PV_TRY(sweep_upper_links(g, w, level, row, own, true, &l, &found, err));
    if (!found) {
        return 0;
    }
    PV_TRY(pv__colview_row(&w->codes, own, &code, err));
    pv__code_query_link(&w->code, code, w->query);
    PV_TRY(pv__candidates_measure(g, w, l.c, l.count, err));
    l.count = pv__prune(&w->code, w->pair, l.c, l.count, PV__UPPER_KEEP, PV__GRAPH_SLACK);
    PV_TRY(pv__column_write(&g->upper[level], rank, &out, err));
    memset(out + 16, 0, PV__LINKS_BYTES - 16);
    pv__put32(out, (uint32_t)l.count | PV__UPPER_USED);
    for (unsigned i = 0; i < l.count; i++) {
        pv__upper_set(out, i, l.c[i].node, l.c[i].rank);
    }
    return 0;
}

/* Searches begin at a row that stays. None: the level and those above are empty. */
static int sweep_upper_entry(pv__graph *g, pv__walker *w, uint32_t level, pv_error *err) {
    pv__graph_level *l = &g->meta.levels[level];
    const uint8_t *row;
    bool dead = false;
    PV_TRY(pv__column_read(&g->upper[level], l->entry - 1, &row, err));
    PV_TRY(sweep_upper_dead(g, w, row, &dead, err));
    for (uint32_t rank = 0; dead && rank < l->high; rank++) {
        PV_TRY(pv__column_read(&g->upper[level], rank, &row, err));
        if (pv__upper_used(row)) {
            PV_TRY(sweep_upper_dead(g, w, row, &dead, err));
            l->entry = dead ? l->entry : rank + 1;
        }
    }
    if (dead) {
        for (uint32_t i = level; i < PV__GRAPH_LEVELS; i++) {
            g->meta.levels[i].entry = 0;
        }
        g->meta.level_count = PV_MIN(g->meta.level_count, level);
    }
    g->changed = true;
    return 0;
}

static int sweep_upper_free(pv__graph *g, pv__walker *w, uint32_t level, uint32_t rank,
                            pv_error *err) {
    pv__graph_level *l = &g->meta.levels[level];
    const uint8_t *row;
    uint8_t *out;
    bool dead = false;
    PV_TRY(pv__column_read(&g->upper[level], rank, &row, err));
    if (!pv__upper_used(row)) {
        return 0;
    }
    PV_TRY(sweep_upper_dead(g, w, row, &dead, err));
    if (!dead) {
        return 0;
    }
    PV_TRY(pv__column_write(&g->upper[level], rank, &out, err));
    memset(out, 0, PV__LINKS_BYTES);
    pv__put32(out + 12, l->free);
    l->free = rank + 1;
    l->count--;
    g->changed = true;
    return 0;
}

/* ---- all ------------------------------------------------------------------------------------- */

static int sweep_free_node(pv__graph *g, pv__walker *w, uint32_t node, pv_error *err) {
    unsigned state = 0;
    PV_TRY(sweep_state(g, w, node, &state, err));
    if (state == sweep_dead(g)) {
        PV_TRY(pv__node_free(g, node, err));
        g->meta.tomb_count--;
    }
    return 0;
}

static uint32_t sweep_level(const pv__graph *g) {
    return PV__GRAPH_LEVELS - 1 - (g->meta.sweep_phase - SWEEP_UPPER) / 2;
}

/* Units of the current phase. */
static uint32_t sweep_end(const pv__graph *g) {
    const pv__graph_meta *m = &g->meta;
    if (m->sweep_phase >= SWEEP_UPPER && m->sweep_phase < SWEEP_FREE) {
        return m->levels[sweep_level(g)].high;
    }
    return m->node_high;
}

static int sweep_unit(pv__graph *g, pv__walker *w, sweep_orphans *o, uint32_t at, pv_error *err) {
    const uint32_t phase = g->meta.sweep_phase;
    if (phase == SWEEP_LINKS) {
        return sweep_node(g, w, at, o, err);
    }
    if (phase == SWEEP_FREE) {
        return sweep_free_node(g, w, at, err);
    }
    const uint32_t level = sweep_level(g);
    if ((phase - SWEEP_UPPER) % 2 == 1) {
        return sweep_upper_free(g, w, level, at, err);
    }
    if (at == 0 && g->meta.levels[level].entry != 0) {
        PV_TRY(sweep_upper_entry(g, w, level, err));
    }
    return sweep_upper_row(g, w, level, at, err);
}

static int sweep_open_levels(pv__graph *g, pv_error *err) {
    for (uint32_t i = 0; i < PV__GRAPH_LEVELS && g->meta.levels[i].root != 0; i++) {
        PV_TRY(pv__graph_level_begin(g, i, err)); /* also those above level_count */
    }
    return 0;
}

static int sweep_run(pv__graph *g, pv__walker *w, uint32_t units, sweep_orphans *o, pv_error *err) {
    pv__graph_meta *m = &g->meta;
    PV_TRY(sweep_open_levels(g, err));
    PV_TRY(pv__walker_begin_build(w, g, 1, err));
    if (m->sweep_phase == SWEEP_NONE) {
        m->sweep_mark ^= 1u;
        m->sweep_phase = SWEEP_LINKS;
        m->sweep_at = 0;
        PV_TRY(sweep_root(g, w, err));
    }
    g->changed = true;
    while (units > 0 && m->sweep_phase != SWEEP_NONE) {
        if (m->sweep_at >= sweep_end(g)) {
            m->sweep_at = 0;
            m->sweep_phase =
                m->sweep_phase == SWEEP_FREE ? (uint32_t)SWEEP_NONE : m->sweep_phase + 1;
            continue;
        }
        PV_TRY(sweep_unit(g, w, o, m->sweep_at, err));
        m->sweep_at++;
        if (--units % SWEEP_PAUSE == 0) {
            PV_TRY(pv__walker_pause(w, g->txn, err));
        }
    }
    return 0;
}

uint32_t pv__links_upkeep_due(const pv__graph *g, size_t rows) {
    const pv__graph_meta *m = &g->meta;
    const bool due = m->sweep_phase != SWEEP_NONE || (m->tomb_count >= SWEEP_DEAD_MIN &&
                                                      (uint64_t)m->tomb_count * SWEEP_SHARE >=
                                                          (uint64_t)m->node_count + m->tomb_count);
    return due ? (uint32_t)PV_MIN((uint64_t)rows * SWEEP_PER_ROW, (uint64_t)UINT32_MAX / 2) : 0;
}

int pv__links_upkeep(pv__graph *g, pv__walker *w, uint32_t nodes, pv_error *err) {
    sweep_orphans o = {.mem = pv__txn_mem(g->txn)};
    const int rc = sweep_run(g, w, nodes, &o, err);
    pv__alloc_free(o.mem, o.nodes, o.cap * sizeof *o.nodes);
    return rc;
}

#undef SWEEP_SHARE
#undef SWEEP_DEAD_MIN
#undef SWEEP_PER_ROW
#undef SWEEP_PAUSE
#undef SWEEP_CANDIDATES
