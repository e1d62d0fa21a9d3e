/* SPDX-License-Identifier: Apache-2.0 */
/* shape.c - the table of graphs, and the calls that go to one table or the other. */
#include "ann/shape.h"

#include "ann/build.h"
#include "ann/check.h"

/* Pages of codes of a graph: large enough to be few, small enough that one row costs little to
 * change. */
#define SHAPE_CODE_SLOTS_MIN 4u

static uint32_t shape_links_rows(const pv__graph *g) { return g->meta.node_high; }

static uint32_t shape_links_upper_bytes(const pv__graph *g) {
    (void)g;
    return PV__LINKS_BYTES;
}

static uint32_t shape_links_code_slots(uint32_t row_size) {
    return pv__graph_code_slots(row_size, SHAPE_CODE_SLOTS_MIN, 1);
}

const pv__shape *pv__shape_links(void) {
    static const pv__shape shape = {
        .name = "graph",
        .link_bytes = PV__LINKS_BYTES,
        .node_bytes = PV__LINKS_BYTES,
        .rows = shape_links_rows,
        .upper_bytes = shape_links_upper_bytes,
        .code_slots = shape_links_code_slots,
        .insert = pv__links_insert,
        .bury = pv__links_bury,
        .search = pv__links_search,
        .trace = pv__links_trace,
        .search_allowed = pv__links_search_allowed,
        .within = pv__links_within,
        .cursor_begin = pv__links_cursor_begin,
        .cursor_fill = pv__links_cursor_fill,
        .upkeep_due = pv__links_upkeep_due,
        .upkeep = pv__links_upkeep,
        .outgrown = pv__links_outgrown,
        .effort = pv__links_effort,
        .effort_ef = pv__links_effort_ef,
        .check = pv__gcheck_links,
    };
    return &shape;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Is there anything to be found? */
static bool shape_has_nodes(const pv__graph *g, uint32_t *out_count, bool *out_complete) {
    *out_count = 0;
    *out_complete = true;
    return g->built && g->meta.node_count + g->meta.dup_count > 0;
}

int pv__graph_search(pv__graph *g, pv__walker *w, const void *vector, const pv__effort *effort,
                     uint32_t want, pv__hit *hits, uint32_t *out_count, bool *out_complete,
                     pv_error *err) {
    PV_ASSERT(effort->k > 0 && effort->pool >= want && effort->pool <= PV__GRAPH_EF_MAX);
    return shape_has_nodes(g, out_count, out_complete)
               ? g->shape->search(g, w, vector, effort, want, hits, out_count, out_complete, err)
               : 0;
}

int pv__graph_search_allowed(pv__graph *g, pv__walker *w, const void *vector,
                             const pv__effort *effort, uint32_t want, const pv__allowed *allowed,
                             pv__plan *io_plan, pv__hit *hits, uint32_t *out_count,
                             bool *out_complete, pv_error *err) {
    PV_ASSERT(effort->k > 0 && effort->pool >= want && effort->pool <= PV__GRAPH_EF_MAX);
    return shape_has_nodes(g, out_count, out_complete)
               ? g->shape->search_allowed(g, w, vector, effort, want, allowed, io_plan, hits,
                                          out_count, out_complete, err)
               : 0;
}

int pv__graph_within(pv__graph *g, pv__walker *w, const void *vector, float radius,
                     const pv__effort *effort, uint32_t want, const pv__allowed *allowed,
                     pv__hit *hits, uint32_t *out_count, bool *out_complete, pv_error *err) {
    return shape_has_nodes(g, out_count, out_complete)
               ? g->shape->within(g, w, vector, radius, effort, want, allowed, hits, out_count,
                                  out_complete, err)
               : 0;
}

bool pv__graph_walks(const pv__graph *g) { return g->shape->search != NULL; }

uint32_t pv__graph_upkeep_due(const pv__graph *g, size_t rows) {
    return g->shape->upkeep_due ? g->shape->upkeep_due(g, rows) : 0;
}

int pv__graph_upkeep(pv__graph *g, pv__walker *w, uint32_t nodes, pv_error *err) {
    if (!g->built || nodes == 0 || !g->shape->upkeep) {
        return 0;
    }
    const int rc = g->shape->upkeep(g, w, nodes, err);
    if (rc) {
        pv__txn_doom(g->txn, rc);
    }
    return rc;
}

#undef SHAPE_CODE_SLOTS_MIN
