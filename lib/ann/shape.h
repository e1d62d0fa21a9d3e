/* SPDX-License-Identifier: Apache-2.0 */
/* shape.h - what the two shapes of an index do each in its own way.
 *
 *      links    a graph: nodes lead to nodes       walk.c, links.c, upper.c, insert.c, sweep.c ...
 *      lists    nodes lie with their centres       lists.h, lists_*.c
 *      plain    nodes have codes and nothing else  plain.c
 *
 * All else is common: numbers of nodes apart from slots, both maps, equal vectors, codes and books,
 * ranking, calibration, the graph's page. A graph is opened with its table (meta.c), and the calls
 * of graph.h that are not common go through it (shape.c). */
#ifndef PV_ANN_SHAPE_H
#define PV_ANN_SHAPE_H

#include "ann/internal.h"

struct pv__gcheck;

typedef struct pv__shape {
    const char *name;
    uint32_t link_bytes; /* a row of the column `links` */
    uint32_t node_bytes; /* what a search reads of a node besides its code */
    /* Rows of the column `links`; size of a row of level `level`. */
    uint32_t (*rows)(const pv__graph *g);
    uint32_t (*upper_bytes)(const pv__graph *g);
    /* Pages of codes, in 4 KiB; 0: as pv__column_layout says. */
    uint32_t (*code_slots)(uint32_t row_size);
    /* Samples for `learn`, of `all` records; NULL: there is nothing to learn. */
    uint32_t (*learn_rows)(const pv__graph *g, uint64_t all);
    int (*learn)(pv__graph *g, const uint32_t *slots, size_t count, uint64_t all,
                 const pv__code_stop *stop, pv_error *err);
    int (*insert)(pv__graph *g, pv__walker *w, const uint32_t *slots, size_t count,
                  pv__graph_interrupt_fn interrupt, void *ctx, pv_error *err);
    /* The node has lost its last slot; slot_of says so already. */
    int (*bury)(pv__graph *g, uint32_t node, pv_error *err);
    /* As in graph.h. NULL, as all about efforts: nothing is found by way of nodes, and nobody
     * asks. */
    int (*search)(pv__graph *g, pv__walker *w, const void *vector, const pv__effort *effort,
                  uint32_t want, pv__hit *hits, uint32_t *out_count, bool *out_complete,
                  pv_error *err);
    /* What each of many efforts would find (trace.c). */
    int (*trace)(pv__graph *g, pv__walker *w, const void *vector, pv__trace *t, pv_error *err);
    int (*search_allowed)(pv__graph *g, pv__walker *w, const void *vector, const pv__effort *effort,
                          uint32_t want, const pv__allowed *allowed, pv__plan *io_plan,
                          pv__hit *hits, uint32_t *out_count, bool *out_complete, pv_error *err);
    int (*within)(pv__graph *g, pv__walker *w, const void *vector, float radius,
                  const pv__effort *effort, uint32_t want, const pv__allowed *allowed,
                  pv__hit *hits, uint32_t *out_count, bool *out_complete, pv_error *err);
    int (*cursor_begin)(pv__graph *g, pv__walker *w, const void *vector, pv__graph_cursor *c,
                        pv_error *err);
    /* Find more, until the nearest of c->found and c->early is settled, or nothing is left. */
    int (*cursor_fill)(pv__graph *g, pv__walker *w, pv__graph_cursor *c, const pv__effort *effort,
                       pv_error *err);
    uint32_t (*upkeep_due)(const pv__graph *g, size_t rows);
    int (*upkeep)(pv__graph *g, pv__walker *w, uint32_t nodes, pv_error *err);
    /* Is it much larger than need be, or of another size than it was made for? */
    bool (*outgrown)(const pv__graph *g);
    /* Of a place on the curve (calibrate.c), and of a given ef. */
    pv__effort (*effort)(const pv__graph *g, uint32_t k, float pool, float at);
    pv__effort (*effort_ef)(const pv__graph *g, uint32_t k, uint32_t ef);
    /* How nodes are found: one finding by one (check.h). */
    int (*check)(struct pv__gcheck *k, pv_error *err);
} pv__shape;

PV_PRIVATE const pv__shape *pv__shape_links(void);
PV_PRIVATE const pv__shape *pv__shape_lists(void);
PV_PRIVATE const pv__shape *pv__shape_plain(void);

#endif
