/* SPDX-License-Identifier: Apache-2.0 */
/* plain.c - the walk over pages, all rows of a node compared in one call; memory is asked for none
 * of them before. */
#include "bench.h"
#include "vector/colview.h"

static int plain_rows(pv__colview *v, const uint32_t *slots, size_t n, const uint8_t **out_rows,
                      pv_error *err) {
    for (size_t i = 0; i < n; i++) {
        PV_TRY(pv__colview_row(v, slots[i], &out_rows[i], err));
    }
    return 0;
}

#define pv__colview_rows plain_rows
#define WALK_PREFIX plain__
#include "walk/rename.h"

#include "walk/walk.h"

#include "ann/walker.c"

#include "ann/walk.c"

#include "ann/search.c"

const walk_kind walk_plain = {"no prefetch", pv__links_search, pv__graph_lower, pv__graph_vectors};
