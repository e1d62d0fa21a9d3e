/* SPDX-License-Identifier: Apache-2.0 */
/* single.c - the walk over pages row by row: memory is asked for none of them, each is compared in
 * a call of its own. */
#include "bench.h"
#include "quant/code.h"
#include "vector/colview.h"

static int single_rows(pv__colview *v, const uint32_t *slots, size_t n, const uint8_t **out_rows,
                       pv_error *err) {
    for (size_t i = 0; i < n; i++) {
        PV_TRY(pv__colview_row(v, slots[i], &out_rows[i], err));
    }
    return 0;
}

static void single_distances(const pv__code *c, const void *query, const uint8_t *const *rows,
                             size_t n, float *out) {
    for (size_t i = 0; i < n; i++) {
        pv__code_distances(c, query, &rows[i], 1, &out[i]);
    }
}

#define pv__colview_rows single_rows
#define pv__code_distances_expected single_distances
#define WALK_PREFIX single__
#include "walk/rename.h"

#include "walk/walk.h"

#include "ann/walker.c"

#include "ann/walk.c"

#include "ann/search.c"

const walk_kind walk_single = {"row by row", pv__links_search, pv__graph_lower, pv__graph_vectors};
