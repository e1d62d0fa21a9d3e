/* SPDX-License-Identifier: Apache-2.0 */
/* nodes.c - numbers of nodes, and which slots a node stands for (G3).
 *
 *      slot_of[node]   first slot, bit 31: the dups tree has more    NONE: a tombstone
 *      node_of[slot]   node + 1
 *      dups            key: node, slot (4 bytes each, big-endian), no value
 *
 * Free nodes of a graph make a list through the first link of their rows. */
#include "ann/build.h"
#include "ann/shape.h"

static pv__bytes nodes_dup_key(uint8_t buf[8], uint32_t node, uint32_t slot) {
    pv__put32be(buf, node);
    pv__put32be(buf + 4, slot);
    return (pv__bytes){buf, 8};
}

static int nodes_take(pv__graph *g, uint32_t *out, pv_error *err) {
    pv__graph_meta *m = &g->meta;
    const uint8_t *row;
    if (m->node_free == 0) {
        if (m->node_high >= PV__SLOTS_PER_COLLECTION_MAX) {
            return pv__err(err, PV_ERR_LIMIT, "the graph of object %u has used all %u nodes",
                           (unsigned)g->owner, (unsigned)m->node_high);
        }
        *out = m->node_high++;
        return 0;
    }
    const uint32_t node = m->node_free - 1;
    PV_TRY(pv__column_read(&g->links, node, &row, err));
    if (pv__links_state(row) != PV__NODE_FREE || pv__links_at(row, 0) > m->node_high) {
        return pv__graph_corrupt(g, node, "it is in the list of free nodes", err);
    }
    m->node_free = pv__links_at(row, 0);
    *out = node;
    return 0;
}

int pv__node_set(pv__graph *g, uint32_t node, uint32_t slot, const uint8_t *fine,
                 const uint8_t *coarse, pv_error *err) {
    uint8_t *row;
    PV_TRY(pv__column_write(&g->fines, node, &row, err));
    memcpy(row, fine, g->fine.row_size);
    if (g->split) {
        PV_TRY(pv__column_write(&g->codes, node, &row, err));
        memcpy(row, coarse, g->code.row_size);
    }
    PV_TRY(pv__graph_word_set(&g->slot_of, node, slot, err));
    PV_TRY(pv__graph_word_set(&g->node_of, slot, node + 1, err));
    g->meta.node_count++;
    g->changed = true;
    return 0;
}

int pv__node_new(pv__graph *g, uint32_t slot, const uint8_t *fine, const uint8_t *coarse,
                 uint32_t *out, pv_error *err) {
    uint8_t *row;
    PV_TRY(nodes_take(g, out, err));
    PV_TRY(pv__column_write(&g->links, *out, &row, err));
    memset(row, 0, PV__LINKS_BYTES);
    pv__links_head_set(row, 0, PV__NODE_LIVE, 0);
    return pv__node_set(g, *out, slot, fine, coarse, err);
}

int pv__node_share(pv__graph *g, uint32_t node, uint32_t slot, pv_error *err) {
    uint8_t key[8];
    uint32_t word = 0;
    PV_TRY(pv__graph_word_get(&g->slot_of, node, &word, err));
    PV_TRY(pv__tree_put(&g->dups, nodes_dup_key(key, node, slot), (pv__bytes){NULL, 0}, NULL, err));
    if (!(word & PV__SLOT_MORE)) {
        PV_TRY(pv__graph_word_set(&g->slot_of, node, word | PV__SLOT_MORE, err));
    }
    PV_TRY(pv__graph_word_set(&g->node_of, slot, node + 1, err));
    g->meta.dup_count++;
    g->changed = true;
    return 0;
}

int pv__node_free(pv__graph *g, uint32_t node, pv_error *err) {
    uint8_t *row;
    PV_TRY(pv__column_write(&g->links, node, &row, err));
    memset(row, 0, PV__LINKS_BYTES);
    pv__links_set(row, 0, g->meta.node_free);
    g->meta.node_free = node + 1;
    g->changed = true;
    return 0;
}

/* ---- a slot goes ----------------------------------------------------------------------------- */

/* The first slot of a node in the dups tree. */
static int nodes_first_dup(pv__graph *g, uint32_t node, uint32_t *out_slot, bool *out_found,
                           pv_error *err) {
    uint8_t key[8];
    pv__cursor *cursor = NULL;
    bool valid = false;
    *out_found = false;
    int rc = pv__cursor_new(&g->dups, &cursor, err);
    if (rc == 0) {
        rc = pv__cursor_seek(cursor, nodes_dup_key(key, node, 0), &valid, err);
    }
    if (rc == 0 && valid) {
        const pv__bytes at = pv__cursor_key(cursor);
        *out_found = at.size == 8 && pv__get32be(at.data) == node;
        *out_slot = *out_found ? pv__get32be(at.data + 4) : 0;
    }
    pv__cursor_free(cursor);
    return rc;
}

/* The first slot of a shared node goes: the next one takes its place. */
static int nodes_promote(pv__graph *g, uint32_t node, pv_error *err) {
    uint8_t key[8];
    uint32_t slot = 0, ignored = 0;
    bool found = false, more = false;
    PV_TRY(nodes_first_dup(g, node, &slot, &found, err));
    if (!found || slot >= PV__SLOTS_PER_COLLECTION_MAX) {
        return pv__graph_corrupt(g, node, "its other slots are missing", err);
    }
    PV_TRY(pv__tree_del(&g->dups, nodes_dup_key(key, node, slot), NULL, err));
    PV_TRY(nodes_first_dup(g, node, &ignored, &more, err));
    g->meta.dup_count--;
    return pv__graph_word_set(&g->slot_of, node, slot | (more ? PV__SLOT_MORE : 0), err);
}

static int nodes_unshare(pv__graph *g, uint32_t node, uint32_t first, uint32_t slot,
                         pv_error *err) {
    uint8_t key[8];
    uint32_t ignored = 0;
    bool found = false, more = false;
    PV_TRY(pv__tree_del(&g->dups, nodes_dup_key(key, node, slot), &found, err));
    if (!found) {
        return pv__graph_corrupt(g, node, "a slot leads to it that it does not have", err);
    }
    PV_TRY(nodes_first_dup(g, node, &ignored, &more, err));
    g->meta.dup_count--;
    return more ? 0 : pv__graph_word_set(&g->slot_of, node, first, err);
}

int pv__links_bury(pv__graph *g, uint32_t node, pv_error *err) {
    uint8_t *row;
    PV_TRY(pv__column_write(&g->links, node, &row, err));
    if (pv__links_state(row) != PV__NODE_LIVE) {
        return pv__graph_corrupt(g, node, "it has a slot but is not live", err);
    }
    const unsigned state = g->meta.sweep_mark ? PV__NODE_TOMB1 : PV__NODE_TOMB0;
    pv__links_head_set(row, pv__links_count(row), state, pv__links_protected(row));
    g->meta.tomb_count++;
    return 0;
}

static int nodes_bury(pv__graph *g, uint32_t node, pv_error *err) {
    PV_TRY(pv__graph_word_set(&g->slot_of, node, PV__SLOT_NONE, err));
    if (g->meta.zero == node + 1) {
        g->meta.zero = 0;
    }
    g->meta.node_count--;
    g->meta.removed += g->meta.removed < UINT32_MAX ? 1u : 0u;
    return g->shape->bury(g, node, err);
}

static int nodes_remove(pv__graph *g, uint32_t node, uint32_t slot, pv_error *err) {
    uint32_t word = 0;
    PV_TRY(pv__graph_word_set(&g->node_of, slot, 0, err));
    PV_TRY(pv__graph_word_get(&g->slot_of, node, &word, err));
    const uint32_t first = word & ~PV__SLOT_MORE;
    if (word == PV__SLOT_NONE) {
        return pv__graph_corrupt(g, node, "a slot leads to it, but it is dead", err);
    }
    if (!(word & PV__SLOT_MORE)) {
        return first == slot ? nodes_bury(g, node, err)
                             : pv__graph_corrupt(g, node, "it belongs to another slot", err);
    }
    return first == slot ? nodes_promote(g, node, err) : nodes_unshare(g, node, first, slot, err);
}

int pv__graph_remove(pv__graph *g, uint32_t slot, pv_error *err) {
    const uint8_t *words;
    if (!g->built) {
        return 0;
    }
    PV_TRY(pv__column_page_read(&g->node_of, slot / g->node_of.rows_per_page, &words, err));
    const uint32_t node =
        words ? pv__get32(words + 4 * (size_t)(slot % g->node_of.rows_per_page)) : 0;
    if (node == 0) {
        return 0;
    }
    if (node > g->meta.node_high) {
        return pv__graph_corrupt(g, node - 1, "a slot leads beyond the last node", err);
    }
    const int rc = nodes_remove(g, node - 1, slot, err);
    if (rc) {
        pv__txn_doom(g->txn, rc);
        return rc;
    }
    g->changed = true;
    return 0;
}
