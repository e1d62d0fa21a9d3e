/* SPDX-License-Identifier: Apache-2.0 */
/* coarse.c - product codes in a graph: when their centres are learned, and how nodes come by codes.
 *
 *      few nodes        searches walk by the fine codes, as the graph is built
 *      enough           a book is learned from vectors of nodes all over the graph; each change of
 *                       the collection then pays for the codes of some nodes
 *      all have one     searches walk by product codes
 *      4 times as many  or new vectors lose a quarter more than the sample did: another book is
 *                       learned. Until all nodes have moved to it both are alive, and rows say
 *                       which is its own
 *
 * All of it is in the graph's pages: it survives commit, rollback and crash like all else. The dead
 * have no vector to code any more; a walk does not get through those that a new book has passed. */
#include "ann/internal.h"

#define COARSE_PER_CENTRE 32u /* nodes for each centre, before the first book */
#define COARSE_NODES_MIN 1024u
#define COARSE_GROWTH 4u   /* times as many nodes: learn again */
#define COARSE_DRIFT 1.25f /* times the loss: the same */
#define COARSE_SAMPLE 16384u
#define COARSE_SAMPLE_BYTES (24u << 20)
#define COARSE_PER_ROW 4u /* nodes that a change of one row pays for, */
#define COARSE_PER_CALL 256u
#define COARSE_PAUSE 64u
#define COARSE_ALIGN 64u

static bool coarse_due(const pv__graph *g) {
    const pv__graph_meta *m = &g->meta;
    const uint32_t centres = g->code.bits == 4 ? 16u : 256u;
    if (m->learned_nodes == 0) {
        return m->node_count >= PV_MAX(centres * COARSE_PER_CENTRE, COARSE_NODES_MIN);
    }
    return m->node_count / COARSE_GROWTH >= m->learned_nodes ||
           m->lost > COARSE_DRIFT * m->learned_lost;
}

/* Vectors of at most n nodes, from all over the graph. */
static int coarse_sample(pv__graph *g, float *sample, size_t n, size_t *out_n, pv_error *err) {
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row;
        uint32_t word = 0;
        const uint32_t node = (uint32_t)((uint64_t)i * g->meta.node_high / n);
        PV_TRY(pv__graph_word_get(&g->slot_of, node, &word, err));
        if (word != PV__SLOT_NONE) {
            PV_TRY(pv__column_read(g->vectors, word & ~PV__SLOT_MORE, &row, err));
            pv__element_widen(pv__element_of(g->type), row, g->dims, sample + found * g->dims);
            found++;
        }
        if (i % COARSE_PAUSE == COARSE_PAUSE - 1) {
            PV_TRY(pv__txn_pause(g->txn, err));
        }
    }
    *out_n = found;
    return 0;
}

/* The book of an epoch has its rows behind the mean and those of epoch 0. */
static uint32_t coarse_book_row(const pv__graph *g, uint32_t epoch) {
    const uint32_t mean = g->fine.book_bytes / PV__BOOK_ROW_BYTES + 1;
    return mean + epoch * (g->code.book_bytes / PV__BOOK_ROW_BYTES + 1);
}

static int coarse_learned(pv__graph *g, const uint8_t *bytes, pv_error *err) {
    pv__graph_meta *m = &g->meta;
    const uint32_t epoch = m->learned_nodes == 0 ? 0 : 1 - m->epoch;
    m->books[1 + epoch] =
        (pv__graph_book){.row = coarse_book_row(g, epoch), .bytes = g->code.book_bytes};
    PV_TRY(pv__book_write(g, &m->books[1 + epoch], bytes, err));
    m->epoch = epoch;
    m->recoding = true;
    m->recode_at = 0;
    m->learned_nodes = m->node_count;
    m->learned_lost = m->lost = pv__code_book_lost(bytes);
    return 0;
}

static int coarse_learn(pv__graph *g, const pv__code_stop *stop, pv_error *err) {
    pv__mem *mem = pv__txn_mem(g->txn);
    const size_t vector = g->dims * sizeof(float);
    size_t n = PV_MIN(PV_MIN(g->meta.node_high, COARSE_SAMPLE), COARSE_SAMPLE_BYTES / vector + 1);
    const size_t size = n * vector;
    float *sample = pv__alloc(mem, size);
    uint8_t *bytes = pv__alloc_aligned(mem, g->code.book_bytes, COARSE_ALIGN);
    int rc = sample && bytes ? 0 : pv__err_nomem(err, size);
    rc = rc == 0 ? coarse_sample(g, sample, n, &n, err) : rc;
    if (rc == 0 && n > 0) {
        rc = pv__code_train(&g->code, mem, sample, n, stop, bytes, err);
        rc = rc == 0 ? coarse_learned(g, bytes, err) : rc;
    }
    pv__alloc_free_aligned(mem, bytes, g->code.book_bytes, COARSE_ALIGN);
    pv__alloc_free(mem, sample, size);
    return rc;
}

static int coarse_node(pv__graph *g, pv__walker *w, uint32_t node, void *scratch, pv_error *err) {
    const uint8_t *row;
    uint8_t *out;
    uint32_t word = 0;
    PV_TRY(pv__graph_word_get(&g->slot_of, node, &word, err));
    if (word == PV__SLOT_NONE && g->meta.tomb_count == 0) {
        return 0; /* nothing leads to it */
    }
    PV_TRY(pv__column_write(&g->codes, node, &out, err));
    if (word == PV__SLOT_NONE) {
        memset(out, 0, g->code.row_size);
        return 0;
    }
    PV_TRY(pv__column_read(g->vectors, word & ~PV__SLOT_MORE, &row, err));
    pv__code_encode(&w->code, row, scratch, out);
    return 0;
}

static int coarse_recode(pv__graph *g, pv__walker *w, size_t nodes, void *scratch, pv_error *err) {
    pv__graph_meta *m = &g->meta;
    for (; nodes > 0 && m->recode_at < m->node_high; nodes--, m->recode_at++) {
        PV_TRY(coarse_node(g, w, m->recode_at, scratch, err));
        if (nodes % COARSE_PAUSE == 0) {
            PV_TRY(pv__walker_pause(w, g->txn, err));
        }
    }
    if (m->recode_at >= m->node_high) {
        m->recoding = false;
        m->coded = true;
        m->books[2 - m->epoch].hash = 0;
        memset(&m->curve, 0, sizeof m->curve); /* what was measured was another walk */
    }
    g->changed = true;
    return 0;
}

int pv__coarse_upkeep(pv__graph *g, pv__walker *w, size_t rows, const pv__code_stop *stop,
                      pv_error *err) {
    pv__mem *mem = pv__txn_mem(g->txn);
    if (g->code.kind != PV__CODE_PQ) {
        return 0;
    }
    if (!g->meta.recoding && coarse_due(g)) {
        PV_TRY(coarse_learn(g, stop, err));
    }
    if (!g->meta.recoding) {
        return 0;
    }
    void *scratch = pv__alloc_aligned(mem, g->code.scratch_bytes, COARSE_ALIGN);
    int rc = scratch ? pv__book_load(w, g, err) : pv__err_nomem(err, g->code.scratch_bytes);
    if (rc == 0) {
        rc = coarse_recode(g, w, rows * COARSE_PER_ROW + COARSE_PER_CALL, scratch, err);
    }
    pv__alloc_free_aligned(mem, scratch, g->code.scratch_bytes, COARSE_ALIGN);
    return rc;
}

#undef COARSE_PER_CENTRE
#undef COARSE_NODES_MIN
#undef COARSE_GROWTH
#undef COARSE_DRIFT
#undef COARSE_SAMPLE
#undef COARSE_SAMPLE_BYTES
#undef COARSE_PER_ROW
#undef COARSE_PER_CALL
#undef COARSE_PAUSE
#undef COARSE_ALIGN
