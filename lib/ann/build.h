/* SPDX-License-Identifier: Apache-2.0 */
/* build.h - what the files that change the graph share. */
#ifndef PV_ANN_BUILD_H
#define PV_ANN_BUILD_H

#include "ann/internal.h"

#define PV__INCOMING_MAX 96u /* new links to one node that enter one pruning */

/* A link that a target shall get to its source. */
typedef struct pv__edge {
    uint32_t target, source;
    float distance;
    bool keep; /* protected */
} pv__edge;

/* insert.c: the vector of a slot. One that cannot be read is damage of the data, which no other
 * graph would mend. */
PV_PRIVATE int pv__graph_vector(pv__graph *g, uint32_t slot, const uint8_t **out_row,
                                pv_error *err);

/* insert.c, calibrate.c, sweep.c: the table of graphs (shape.h). */
PV_PRIVATE int pv__links_insert(pv__graph *g, pv__walker *w, const uint32_t *slots, size_t count,
                                pv__graph_interrupt_fn interrupt, void *ctx, pv_error *err);
PV_PRIVATE pv__effort pv__links_effort(const pv__graph *g, uint32_t k, float pool, float at);
PV_PRIVATE pv__effort pv__links_effort_ef(const pv__graph *g, uint32_t k, uint32_t ef);
PV_PRIVATE bool pv__links_outgrown(const pv__graph *g);
PV_PRIVATE uint32_t pv__links_upkeep_due(const pv__graph *g, size_t rows);
PV_PRIVATE int pv__links_upkeep(pv__graph *g, pv__walker *w, uint32_t nodes, pv_error *err);

/* order.c. By how many centres the rows of a call are put in order; 0: they keep theirs. */
#define PV__ORDER_CENTRES_MAX 256u
PV_PRIVATE uint32_t pv__graph_order_centres(const pv__graph *g, size_t count);
/* The same slots in the order in which they shall get nodes; centres at least 1. Pauses. */
PV_PRIVATE int pv__graph_order(pv__graph *g, pv__walker *w, const uint32_t *slots, size_t count,
                               uint32_t centres, pv__graph_interrupt_fn interrupt, void *ctx,
                               uint32_t *out, pv_error *err);

/* links.c. The views of w are fresh; w->query and w->pair are used. No page of `codes` may change
 * meanwhile. */
/* Links from `node` to the sources of edges that are sorted by distance. */
PV_PRIVATE int pv__links_add(pv__graph *g, pv__walker *w, uint32_t node, const pv__edge *incoming,
                             size_t n, pv_error *err);
/* A protected link to `node`, which has none, from `from` or, where that has enough of them, from
 * a node below it in the tree. */
PV_PRIVATE int pv__links_child(pv__graph *g, pv__walker *w, uint32_t from, uint32_t node,
                               float distance, pv_error *err);

/* Keep the best of candidates for the list of `node`; they come out measured and sorted. */
PV_PRIVATE int pv__links_prune(pv__graph *g, pv__walker *w, uint32_t node, pv__candidate *c,
                               size_t *io_n, pv_error *err);
/* The list of `node`, whole. */
PV_PRIVATE int pv__links_write(pv__graph *g, uint32_t node, unsigned state, const pv__candidate *c,
                               size_t n, pv_error *err);

/* nodes.c: numbers of nodes and which slots they have. */
/* A node for `slot`, with its codes (coarse: of a split graph); its row of links is LIVE and
 * empty. */
PV_PRIVATE int pv__node_new(pv__graph *g, uint32_t slot, const uint8_t *fine, const uint8_t *coarse,
                            uint32_t *out, pv_error *err);
/* Codes and maps of a node whose number is taken. */
PV_PRIVATE int pv__node_set(pv__graph *g, uint32_t node, uint32_t slot, const uint8_t *fine,
                            const uint8_t *coarse, pv_error *err);
/* The node becomes a tombstone. */
PV_PRIVATE int pv__links_bury(pv__graph *g, uint32_t node, pv_error *err);
/* Another slot with an equal vector. */
PV_PRIVATE int pv__node_share(pv__graph *g, uint32_t node, uint32_t slot, pv_error *err);
/* Back to the list of free ones: nothing links to it any more. */
PV_PRIVATE int pv__node_free(pv__graph *g, uint32_t node, pv_error *err);

#endif
