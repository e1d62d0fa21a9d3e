/* SPDX-License-Identifier: Apache-2.0 */
/* lists.c - the table of lists (shape.h): sizes, efforts, and when there should be new ones.
 *
 * An effort is a number of lists. Points of the curve (calibrate.c) are shares of all lists,
 * ascending; an ef that a caller gives is the number itself. */
#include "ann/lists.h"

#include "ann/check.h"

#include <math.h>

#define LISTS_BLOCK_ROWS 32u /* a block has so many places, or as many as fit into a page */
#define LISTS_GROWN 4u       /* times as many nodes as centres were learned for */
#define LISTS_SPARE_TENTHS 3u
#define LISTS_COARSE 40u /* candidates for each one wanted, where a finer code decides */

static const float lists_share[PV__CURVE_POINTS] = {0.001f, 0.002f, 0.003f, 0.004f, 0.006f, 0.008f,
                                                    0.012f, 0.016f, 0.022f, 0.03f,  0.045f, 0.06f,
                                                    0.085f, 0.12f,  0.2f,   0.35f};

static uint32_t lists_rows(const pv__graph *g) { return g->built ? pv__block_high(g) : 0; }

static uint32_t lists_upper_bytes(const pv__graph *g) { return pv__list_bytes(g); }

static uint32_t lists_code_slots(uint32_t row_size) {
    return pv__graph_code_slots(row_size, 1, LISTS_BLOCK_ROWS);
}

/* Half of a block for each list is what there is to spare anyway. */
static bool lists_outgrown(const pv__graph *g) {
    const pv__graph_meta *m = &g->meta;
    if (!g->built) {
        return false;
    }
    const uint64_t partly = (uint64_t)m->lists.count * pv__block_rows(g);
    const uint64_t spare = m->node_high - m->node_count;
    return (uint64_t)m->node_count >= LISTS_GROWN * (uint64_t)m->lists.rows ||
           (spare > partly && (spare - partly) * 10 > LISTS_SPARE_TENTHS * (uint64_t)m->node_high);
}

/* ---- efforts --------------------------------------------------------------------------------- */

static pv__effort lists_effort_of(const pv__graph *g, uint32_t k, float lists) {
    const uint32_t want = pv__graph_want(k), pool = g->split ? want * LISTS_COARSE : want;
    const float all = PV_MAX((float)g->meta.lists.count, 1.0f);
    return (pv__effort){.pool =
                            PV_MAX(PV_MIN(pool, PV__GRAPH_EF_MAX), PV_MIN(want, PV__GRAPH_EF_MAX)),
                        .k = k,
                        .stop = 1,
                        .lists = (uint32_t)PV_MAX(PV_MIN(ceilf(lists), all), 1.0f)};
}

/* Points of few lists differ by one at least. */
static pv__effort lists_effort(const pv__graph *g, uint32_t k, float pool, float at) {
    const unsigned low = (unsigned)PV_MIN(at, (float)(PV__CURVE_POINTS - 2));
    const float all = (float)g->meta.lists.count;
    const float below = PV_MAX(lists_share[low] * all, (float)low + 1);
    const float above = PV_MAX(lists_share[low + 1] * all, (float)low + 2);
    (void)pool;
    return lists_effort_of(g, k, below + (at - (float)low) * (above - below));
}

static pv__effort lists_effort_ef(const pv__graph *g, uint32_t k, uint32_t ef) {
    return lists_effort_of(g, k, (float)ef);
}

const pv__shape *pv__shape_lists(void) {
    static const pv__shape shape = {
        .name = "lists",
        .link_bytes = PV__BLOCK_BYTES,
        .node_bytes = 0,
        .rows = lists_rows,
        .upper_bytes = lists_upper_bytes,
        .code_slots = lists_code_slots,
        .learn_rows = pv__lists_learn_rows,
        .learn = pv__lists_learn,
        .insert = pv__lists_insert,
        .bury = pv__lists_bury,
        .search = pv__lists_search,
        .trace = pv__lists_trace,
        .search_allowed = pv__lists_search_allowed,
        .within = pv__lists_within,
        .cursor_begin = pv__lists_cursor_begin,
        .cursor_fill = pv__lists_cursor_fill,
        .outgrown = lists_outgrown,
        .effort = lists_effort,
        .effort_ef = lists_effort_ef,
        .check = pv__gcheck_lists,
    };
    return &shape;
}

#undef LISTS_BLOCK_ROWS
#undef LISTS_GROWN
#undef LISTS_SPARE_TENTHS
#undef LISTS_COARSE
