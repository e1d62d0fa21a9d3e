/* SPDX-License-Identifier: Apache-2.0 */
/* search.c - one query: prepare, walk, turn nodes into slots. */
#include "ann/internal.h"

#define SEARCH_POOL_MIN 8u   /* room for where a walk begins */
#define SEARCH_EXPANSIONS 8u /* of the pool, beyond which a walk among the dead is given up */

static bool gsearch_allowed(const pv__allowed *a, uint32_t slot) {
    return !a || !a->words || (slot < a->slots && (a->words[slot / 64] >> (slot % 64) & 1u));
}

/* The slots behind the first one of a node that has several. */
static int gsearch_dups(pv__graph *g, pv__hit node, const pv__allowed *allowed, uint32_t want,
                        pv__hit *hits, uint32_t *io_count, pv_error *err) {
    uint8_t key[8] = {0};
    pv__cursor *cursor = NULL;
    bool valid = false;
    pv__put32be(key, node.slot);
    int rc = pv__cursor_new(&g->dups, &cursor, err);
    if (rc == 0) {
        rc = pv__cursor_seek(cursor, (pv__bytes){key, 8}, &valid, err);
    }
    while (rc == 0 && valid && *io_count < want) {
        const pv__bytes at = pv__cursor_key(cursor);
        if (at.size != 8 || pv__get32be(at.data) != node.slot) {
            break;
        }
        const uint32_t slot = pv__get32be(at.data + 4);
        if (gsearch_allowed(allowed, slot)) {
            hits[(*io_count)++] = (pv__hit){node.distance, slot};
        }
        rc = pv__cursor_next(cursor, &valid, err);
    }
    pv__cursor_free(cursor);
    return rc;
}

static int gsearch_slots(pv__graph *g, pv__walker *w, size_t count, const pv__allowed *allowed,
                         uint32_t want, pv__hit *hits, uint32_t *out_count, pv_error *err) {
    uint32_t n = 0;
    for (size_t i = 0; i < count && n < want; i++) {
        const uint8_t *row;
        PV_TRY(pv__colview_row(&w->slot_of, w->pool[i].slot, &row, err));
        const uint32_t word = pv__get32(row);
        if (word == PV__SLOT_NONE) {
            continue;
        }
        const uint32_t slot = word & ~PV__SLOT_MORE;
        if (gsearch_allowed(allowed, slot)) {
            hits[n++] = (pv__hit){w->pool[i].distance, slot};
        }
        if (word & PV__SLOT_MORE) {
            PV_TRY(gsearch_dups(g, w->pool[i], allowed, want, hits, &n, err));
        }
    }
    *out_count = n;
    return 0;
}

int pv__walk_level0_live(pv__graph *g, pv__walker *w, const pv__effort *effort, size_t *io_count,
                         pv_error *err) {
    pv__walk_keep keep = {.expansions_max = (size_t)SEARCH_EXPANSIONS * effort->pool + 1024};
    return pv__walk_level0_keep(g, w, effort, &keep, io_count, err);
}

int pv__graph_search(pv__graph *g, pv__walker *w, const float *vector, const pv__effort *effort,
                     uint32_t want, const pv__allowed *allowed, pv__hit *hits, uint32_t *out_count,
                     bool *out_complete, pv_error *err) {
    size_t count = 0;
    *out_count = 0;
    *out_complete = true;
    if (!g->built || g->meta.root == 0) {
        return 0;
    }
    PV_ASSERT(effort->k > 0 && effort->pool >= want && effort->pool <= PV__GRAPH_EF_MAX);
    PV_TRY(pv__walker_begin(w, g, PV_MAX(effort->pool, SEARCH_POOL_MIN), err));
    pv__code_query(&g->code, vector, w->query);
    PV_TRY(pv__walk_enter(g, w, &count, err));
    if (g->meta.tomb_count == 0 && (!allowed || !allowed->words)) {
        PV_TRY(pv__walk_level0(g, w, effort, &count, err));
    } else {
        pv__walk_keep keep = {
            .allowed = allowed,
            .expansions_max = (size_t)SEARCH_EXPANSIONS * effort->pool + 1024,
        };
        PV_TRY(pv__walk_level0_keep(g, w, effort, &keep, &count, err));
        *out_complete = !keep.cut;
    }
    return gsearch_slots(g, w, count, allowed, want, hits, out_count, err);
}

int pv__graph_vector(pv__graph *g, pv__walker *w, uint32_t slot, const uint8_t **out,
                     pv_error *err) {
    if (slot >= g->slots) {
        return pv__graph_corrupt(g, slot, "a node leads to a slot beyond the last", err);
    }
    return pv__colview_row(&w->vectors, slot, out, err);
}

#undef SEARCH_POOL_MIN
#undef SEARCH_EXPANSIONS
