/* SPDX-License-Identifier: Apache-2.0 */
/* walk.h - the library's own search of a graph, compiled again with other ways to come by a row.
 *
 *      lib/ann/walker.c, walk.c, search.c  -.
 *      rename.h: their functions get a prefix  > flat.c, plain.c, single.c: the same source with
 *      other pv__colview_row and _rows      -'   another address function
 *
 * A walker that one kind has begun with is begun again by the next: they share the structure and
 * nothing that a walk leaves in it. */
#ifndef BENCH_WALK_H
#define BENCH_WALK_H

#include "ann/graph.h"

typedef struct walk_kind {
    const char *name;
    int (*search)(pv__graph *g, pv__walker *w, const void *vector, const pv__effort *effort,
                  uint32_t want, pv__hit *hits, uint32_t *out_count, bool *out_complete,
                  pv_error *err);
    const float *(*lower)(const pv__walker *w);
    int (*vectors)(pv__graph *g, pv__walker *w, const pv__hit *hits, size_t n,
                   const uint8_t **out_rows, pv_error *err);
} walk_kind;

extern const walk_kind walk_flat;   /* rows in one array for each column */
extern const walk_kind walk_plain;  /* pages; memory is not asked for rows ahead */
extern const walk_kind walk_single; /* pages; row by row, each compared by itself */

/* Copy a column of so many rows, for walk_flat; the transaction pauses. */
void walk_flat_add(const pv__column *c, uint32_t rows, pv_error *err);

#endif
