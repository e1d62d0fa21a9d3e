/* SPDX-License-Identifier: Apache-2.0 */
/* plain.c - codes and nothing else, for collections that are always searched by comparing with
 * every record: exact search reads them in place of vectors (sift.c).
 *
 *      node = slot     codes, slot_of and node_of are addressed by the same number
 *
 * Nothing leads from node to node, no two slots share one, and there are no tombstones and no free
 * numbers: a node is there when slot_of says so. What no slot has had yet, below node_high, has
 * PV__SLOT_NONE there, as what is dead. The rows of `links` are not used. */
#include "ann/build.h"
#include "ann/check.h"
#include "ann/shape.h"

#define PLAIN_LINK_BYTES 4u
#define PLAIN_PAUSE 64u
#define PLAIN_ALIGN 64u
#define PLAIN_CODE_SLOTS 16u /* read one after the other */

static uint32_t plain_rows(const pv__graph *g) {
    (void)g;
    return 0;
}

static uint32_t plain_upper_bytes(const pv__graph *g) {
    (void)g;
    return PLAIN_LINK_BYTES;
}

static uint32_t plain_code_slots(uint32_t row_size) {
    return pv__graph_code_slots(row_size, PLAIN_CODE_SLOTS, 1);
}

/* All nodes up to this one are there, dead at first. */
static int plain_raise(pv__graph *g, uint32_t node, pv_error *err) {
    while (g->meta.node_high <= node) {
        PV_TRY(pv__graph_word_set(&g->slot_of, g->meta.node_high, PV__SLOT_NONE, err));
        g->meta.node_high++;
    }
    return 0;
}

static int plain_rows_insert(pv__graph *g, const uint32_t *slots, size_t count, uint8_t *row,
                             void *scratch, const pv__code_stop *stop, pv_error *err) {
    for (size_t i = 0; i < count; i++) {
        const uint8_t *vector;
        if (i % PLAIN_PAUSE == PLAIN_PAUSE - 1) {
            PV_TRY(pv__txn_pause(g->txn, err));
            PV_TRY(stop->fn ? stop->fn(stop->ctx, err) : 0);
        }
        PV_TRY(pv__graph_vector(g, slots[i], &vector, err));
        pv__code_encode(&g->code, vector, scratch, row);
        PV_TRY(plain_raise(g, slots[i], err));
        PV_TRY(pv__node_set(g, slots[i], slots[i], row, row, err));
    }
    return 0;
}

static int plain_insert(pv__graph *g, pv__walker *w, const uint32_t *slots, size_t count,
                        pv__graph_interrupt_fn interrupt, void *ctx, pv_error *err) {
    pv__mem *mem = pv__txn_mem(g->txn);
    const pv__code_stop stop = {interrupt, ctx};
    const size_t room = PV_ALIGN_UP((size_t)g->code.scratch_bytes, (size_t)PLAIN_ALIGN);
    uint8_t *scratch = pv__alloc_aligned(mem, room + g->code.row_size, PLAIN_ALIGN);
    (void)w;
    if (!scratch) {
        return pv__err_nomem(err, room + g->code.row_size);
    }
    const int rc = plain_rows_insert(g, slots, count, scratch + room, scratch, &stop, err);
    pv__alloc_free_aligned(mem, scratch, room + g->code.row_size, PLAIN_ALIGN);
    return rc;
}

static int plain_bury(pv__graph *g, uint32_t node, pv_error *err) {
    return node < g->meta.node_high ? 0 : pv__graph_corrupt(g, node, "it is beyond the last", err);
}

static bool plain_outgrown(const pv__graph *g) {
    (void)g;
    return false;
}

static int plain_check(pv__gcheck *k, pv_error *err) {
    for (uint32_t node = 0; node < k->g->meta.node_high; node++) {
        uint32_t word = 0;
        PV_TRY(pv__graph_word_get(&k->g->slot_of, node, &word, err));
        if (word != PV__SLOT_NONE && word != node) {
            pv__gcheck_report(k, node, "it is not that of its slot");
        }
        const unsigned state = word == PV__SLOT_NONE ? PV__NODE_FREE : PV__NODE_LIVE;
        k->live += state == PV__NODE_LIVE ? 1u : 0u;
        PV_TRY(pv__gcheck_node(k, node, state, err));
        PV_TRY(pv__gcheck_pause(k, node, err));
    }
    return 0;
}

const pv__shape *pv__shape_plain(void) {
    static const pv__shape shape = {
        .name = "codes",
        .link_bytes = PLAIN_LINK_BYTES,
        .rows = plain_rows,
        .upper_bytes = plain_upper_bytes,
        .code_slots = plain_code_slots,
        .insert = plain_insert,
        .bury = plain_bury,
        .outgrown = plain_outgrown,
        .check = plain_check,
    };
    return &shape;
}

#undef PLAIN_LINK_BYTES
#undef PLAIN_PAUSE
#undef PLAIN_ALIGN
#undef PLAIN_CODE_SLOTS
