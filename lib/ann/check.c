/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - is the graph what it says? Reads everything, changes nothing, pauses.
 *
 *   meta      counters against what is there
 *   nodes     states, the list of free ones, maps in both directions (G3)
 *   links     in range, not to itself, not twice, to nodes in use (G4)
 *   tree      the root reaches every node on exactly one way of protected links (G1)
 *   upper     rows and what they lead to
 *   codes     deep: those of the vectors */
#include "ann/check.h"
#include "ann/shape.h"

#define GCHECK_PAUSE 256u

void pv__gcheck_report(pv__gcheck *k, uint32_t node, const char *what) {
    pv_error text = PV_ERROR_INIT;
    ++*k->bad;
    if (k->fn) {
        pv__err(&text, PV_ERR_CORRUPT, "graph, node %u: %s", (unsigned)node, what);
        k->fn(k->ctx, k->g->page, k->g->owner, text.message);
    }
}

static bool gcheck_bit(const uint64_t *words, uint32_t i) { return words[i / 64] >> (i % 64) & 1u; }
static void gcheck_set(uint64_t *words, uint32_t i) { words[i / 64] |= UINT64_C(1) << (i % 64); }

int pv__gcheck_pause(pv__gcheck *k, uint32_t at, pv_error *err) {
    if (at % GCHECK_PAUSE == GCHECK_PAUSE - 1) {
        PV_TRY(pv__walker_pause(k->w, k->g->txn, err));
    }
    return 0;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

/* Is a sweep taking out nodes of this state? They may have left the tree already. */
static bool gcheck_going(const pv__gcheck *k, unsigned state) {
    const pv__graph_meta *m = &k->g->meta;
    return m->sweep_phase != 0 && state == (m->sweep_mark ? PV__NODE_TOMB0 : PV__NODE_TOMB1);
}

static void gcheck_links(pv__gcheck *k, uint32_t node, const uint8_t *row) {
    const unsigned count = pv__links_count(row);
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++) {
        const uint32_t link = pv__links_at(row, i), to = link & ~PV__PROTECTED;
        if (to >= k->g->meta.node_high) {
            pv__gcheck_report(k, node, "a link beyond the last node");
            continue;
        }
        if (to == node) {
            pv__gcheck_report(k, node, "a link to itself");
        }
        for (unsigned j = 0; j < i; j++) {
            if ((pv__links_at(row, j) & ~PV__PROTECTED) == to) {
                pv__gcheck_report(k, node, "the same link twice");
            }
        }
        kept += link & PV__PROTECTED ? 1u : 0u;
    }
    if (kept != pv__links_protected(row) || kept > PV__PROTECTED_MAX) {
        pv__gcheck_report(k, node, "wrong number of protected links");
    }
}

static int gcheck_targets(pv__gcheck *k, uint32_t node, const uint8_t *row, pv_error *err) {
    for (unsigned i = 0; i < pv__links_count(row); i++) {
        const uint8_t *other;
        const uint32_t to = pv__links_at(row, i) & ~PV__PROTECTED;
        if (to < k->g->meta.node_high) {
            PV_TRY(pv__colview_row(&k->w->links, to, &other, err));
            if (pv__links_state(other) == PV__NODE_FREE) {
                pv__gcheck_report(k, node, "a link to a free node");
            }
        }
    }
    return 0;
}

/* slot_of and back. */
static int gcheck_maps(pv__gcheck *k, uint32_t node, unsigned state, pv_error *err) {
    uint32_t word = 0, back = 0;
    bool live = false;
    PV_TRY(pv__graph_word_get(&k->g->slot_of, node, &word, err));
    if (state != PV__NODE_LIVE) {
        if (word != PV__SLOT_NONE && state != PV__NODE_FREE) {
            pv__gcheck_report(k, node, "it is dead and has a slot");
        }
        return 0;
    }
    const uint32_t slot = word & ~PV__SLOT_MORE;
    if (word == PV__SLOT_NONE || slot >= k->slots->meta.high_water) {
        pv__gcheck_report(k, node, "it is live and has no slot");
        return 0;
    }
    PV_TRY(pv__slots_is_live(k->slots, slot, &live, err));
    PV_TRY(pv__graph_word_get(&k->g->node_of, slot, &back, err));
    if (!live || back != node + 1) {
        pv__gcheck_report(k, node, live ? "its slot has another node" : "its slot is not live");
    }
    k->shared += word & PV__SLOT_MORE ? 1u : 0u;
    return 0;
}

/* The code that searches walk by: of its vector, and of a book that is alive. */
static bool gcheck_coarse(const pv__gcheck *k, const uint8_t *v, const uint8_t *row, void *scratch,
                          uint8_t *buf) {
    const pv__graph_meta *m = &k->g->meta;
    pv__code code = k->g->code;
    code.book = k->w->fine.book;
    if (code.kind == PV__CODE_PQ) {
        code.epoch = pv__code_epoch(&code, row);
        if (code.epoch > 1) {
            return !m->coded;
        }
        if (m->books[1 + code.epoch].hash == 0 || m->learned_nodes == 0) {
            return false;
        }
        code.book = k->w->books[1 + code.epoch].data;
    }
    pv__code_encode(&code, v, scratch, buf);
    return memcmp(row, buf, code.row_size) == 0;
}

static int gcheck_code(pv__gcheck *k, uint32_t node, pv_error *err) {
    uint8_t *const buf = k->buf;
    void *const scratch = k->scratch;
    const uint8_t *row, *vector;
    uint32_t word = 0;
    PV_TRY(pv__graph_word_get(&k->g->slot_of, node, &word, err));
    if (word == PV__SLOT_NONE) {
        return 0;
    }
    PV_TRY(pv__column_read(k->g->vectors, word & ~PV__SLOT_MORE, &vector, err));
    if (pv__graph_joins_zeros(k->g) && k->g->meta.zero == node + 1) {
        return 0; /* zero vectors share it whatever the signs of their zeros */
    }
    pv__code_encode(&k->w->fine, vector, scratch, buf);
    PV_TRY(pv__column_read(&k->g->fines, node, &row, err));
    bool same = memcmp(row, buf, k->g->fine.row_size) == 0;
    if (k->g->split) {
        PV_TRY(pv__column_read(&k->g->codes, node, &row, err));
        same = same && gcheck_coarse(k, vector, row, scratch, buf);
    }
    if (!same) {
        pv__gcheck_report(k, node, "its code is not that of its vector");
    }
    return 0;
}

int pv__gcheck_node(pv__gcheck *k, uint32_t node, unsigned state, pv_error *err) {
    PV_TRY(gcheck_maps(k, node, state, err));
    return k->buf && state == PV__NODE_LIVE ? gcheck_code(k, node, err) : 0;
}

static int gcheck_nodes(pv__gcheck *k, pv_error *err) {
    for (uint32_t node = 0; node < k->g->meta.node_high; node++) {
        const uint8_t *row;
        PV_TRY(pv__colview_row(&k->w->links, node, &row, err));
        const unsigned state = pv__links_state(row);
        if (state == PV__NODE_FREE) {
            k->free++;
        } else {
            k->live += state == PV__NODE_LIVE ? 1u : 0u;
            k->tombs += state == PV__NODE_LIVE ? 0u : 1u;
            gcheck_links(k, node, row);
            if (!gcheck_going(k, state)) {
                k->staying++;
                PV_TRY(gcheck_targets(k, node, row, err));
            }
        }
        PV_TRY(pv__gcheck_node(k, node, state, err));
        PV_TRY(pv__gcheck_pause(k, node, err));
    }
    return 0;
}

static int gcheck_free_list(pv__gcheck *k, pv_error *err) {
    uint32_t at = k->g->meta.node_free, length = 0;
    while (at != 0 && length <= k->g->meta.node_high) {
        const uint8_t *row;
        if (at > k->g->meta.node_high) {
            pv__gcheck_report(k, at - 1, "the list of free nodes leads beyond the last one");
            return 0;
        }
        PV_TRY(pv__colview_row(&k->w->links, at - 1, &row, err));
        if (pv__links_state(row) != PV__NODE_FREE) {
            pv__gcheck_report(k, at - 1, "it is in the list of free nodes");
            return 0;
        }
        length++;
        at = pv__links_at(row, 0);
        PV_TRY(pv__gcheck_pause(k, length, err));
    }
    if (length != k->free) {
        pv__gcheck_report(k, 0, "the list of free nodes has the wrong length");
    }
    return 0;
}

/* ---- tree ------------------------------------------------------------------------------------ */

/* From the root along protected links, each of which leads to a node for the first time; the stack
 * holds what is to be followed. *out_reached: nodes that no sweep is taking out. */
static int gcheck_reach(pv__gcheck *k, uint32_t *stack, uint32_t *out_reached, pv_error *err) {
    size_t depth = 0;
    uint32_t steps = 0;
    *out_reached = 0;
    if (k->g->meta.root != 0) {
        stack[depth++] = k->g->meta.root - 1;
        gcheck_set(k->seen, k->g->meta.root - 1);
    }
    while (depth > 0) {
        const uint8_t *row;
        const uint32_t node = stack[--depth];
        PV_TRY(pv__colview_row(&k->w->links, node, &row, err));
        *out_reached += gcheck_going(k, pv__links_state(row)) ? 0u : 1u;
        for (unsigned i = 0; i < pv__links_count(row); i++) {
            const uint32_t link = pv__links_at(row, i), to = link & ~PV__PROTECTED;
            if (!(link & PV__PROTECTED) || to >= k->g->meta.node_high) {
                continue;
            }
            if (gcheck_bit(k->seen, to)) {
                pv__gcheck_report(k, to, "two protected links lead to it");
            } else {
                gcheck_set(k->seen, to);
                stack[depth++] = to;
            }
        }
        PV_TRY(pv__gcheck_pause(k, ++steps, err));
    }
    return 0;
}

static int gcheck_tree(pv__gcheck *k, pv_error *err) {
    pv__mem *mem = pv__txn_mem(k->g->txn);
    const size_t nodes = (size_t)k->g->meta.node_high + 1;
    uint32_t reached = 0;
    uint32_t *stack = pv__alloc_array(mem, nodes, sizeof *stack);
    if (!stack) {
        return pv__err_nomem(err, nodes * sizeof *stack);
    }
    const int rc = gcheck_reach(k, stack, &reached, err);
    pv__alloc_free(mem, stack, nodes * sizeof *stack);
    if (rc == 0 && reached != k->staying) {
        pv__gcheck_report(k, k->g->meta.root - 1, "the root does not reach all nodes");
    }
    return rc;
}

/* ---- slots ----------------------------------------------------------------------------------- */

/* Every live slot below `built` has a node, and no dead one; their number is that of the nodes
 * and of the others that share one. */
static int gcheck_slots(pv__gcheck *k, pv_error *err) {
    const pv__graph *g = k->g;
    uint64_t with = 0;
    for (uint32_t slot = 0; slot < k->slots->meta.high_water; slot++) {
        const uint8_t *words;
        bool live = false;
        const uint32_t per_page = g->node_of.rows_per_page;
        PV_TRY(pv__column_page_read(&g->node_of, slot / per_page, &words, err));
        const uint32_t node = words ? pv__get32(words + 4 * (size_t)(slot % per_page)) : 0;
        PV_TRY(pv__slots_is_live(k->slots, slot, &live, err));
        if (node > g->meta.node_high || (node != 0 && !live)) {
            pv__gcheck_report(k, node - 1, live ? "a slot leads to it" : "a dead slot leads to it");
        }
        if (node == 0 && live && slot < g->meta.built) {
            pv__gcheck_report(k, 0, "a slot has no node");
        }
        with += node != 0 ? 1u : 0u;
        PV_TRY(pv__gcheck_pause(k, slot, err));
    }
    if (with != (uint64_t)g->meta.node_count + g->meta.dup_count) {
        pv__gcheck_report(k, 0, "wrong number of slots with nodes");
    }
    return 0;
}

/* Keys in order, each of a live node that says it has more. */
static int gcheck_dups(pv__gcheck *k, pv_error *err) {
    pv__graph *g = k->g;
    pv__cursor *cursor = NULL;
    bool valid = false;
    uint64_t count = 0;
    uint32_t nodes = 0, last = PV__NODE_NONE;
    int rc = pv__cursor_new(&g->dups, &cursor, err);
    rc = rc == 0 ? pv__cursor_first(cursor, &valid, err) : rc;
    while (rc == 0 && valid) {
        const pv__bytes key = pv__cursor_key(cursor);
        const uint32_t node = key.size == 8 ? pv__get32be(key.data) : PV__NODE_NONE;
        const uint32_t slot = key.size == 8 ? pv__get32be(key.data + 4) : 0;
        uint32_t word = PV__SLOT_NONE, back = 0;
        if (node < g->meta.node_high && slot < k->slots->meta.high_water) {
            rc = pv__graph_word_get(&g->slot_of, node, &word, err);
            rc = rc == 0 ? pv__graph_word_get(&g->node_of, slot, &back, err) : rc;
        }
        if (word == PV__SLOT_NONE || !(word & PV__SLOT_MORE) || back != node + 1) {
            pv__gcheck_report(k, node, "its list of slots is wrong");
        }
        nodes += node != last ? 1u : 0u;
        last = node;
        count++;
        rc = rc == 0 ? pv__walker_pause(k->w, g->txn, err) : rc;
        rc = rc == 0 ? pv__cursor_next(cursor, &valid, err) : rc;
    }
    pv__cursor_free(cursor);
    if (rc == 0 && (count != g->meta.dup_count || nodes != k->shared)) {
        pv__gcheck_report(k, 0, "wrong number of shared nodes");
    }
    return rc;
}

/* ---- upper ----------------------------------------------------------------------------------- */

static int gcheck_rank(pv__gcheck *k, uint32_t level, uint32_t rank, uint32_t node, bool *out_ok,
                       pv_error *err) {
    const uint8_t *row;
    *out_ok = false;
    if (rank < k->g->meta.levels[level].high) {
        PV_TRY(pv__column_read(&k->g->upper[level], rank, &row, err));
        *out_ok = pv__upper_used(row) && pv__upper_node(row) == node;
    }
    return 0;
}

static int gcheck_upper_row(pv__gcheck *k, uint32_t level, const uint8_t *row, pv_error *err) {
    const uint32_t node = pv__upper_node(row);
    const uint8_t *links;
    bool ok = false;
    if (node >= k->g->meta.node_high || pv__upper_count(row) > PV__UPPER_DEGREE) {
        pv__gcheck_report(k, node, "an upper row out of range");
        return 0;
    }
    PV_TRY(pv__colview_row(&k->w->links, node, &links, err));
    if (pv__links_state(links) == PV__NODE_FREE || pv__graph_level_of(k->g, node) <= level) {
        pv__gcheck_report(k, node, "it should not be in an upper level");
    }
    for (unsigned i = 0; i < pv__upper_count(row); i++) {
        PV_TRY(gcheck_rank(k, level, pv__upper_rank(row, i), pv__upper_link(row, i), &ok, err));
        if (!ok || pv__upper_link(row, i) == node) {
            pv__gcheck_report(k, node, "a wrong link in an upper level");
        }
    }
    if (level > 0) {
        PV_TRY(gcheck_rank(k, level - 1, pv__upper_down(row), node, &ok, err));
    } else {
        ok = pv__upper_down(row) == node;
    }
    if (!ok) {
        pv__gcheck_report(k, node, "an upper row leads down to another node");
    }
    return 0;
}

static int gcheck_upper(pv__gcheck *k, uint32_t level, pv_error *err) {
    const pv__graph_level *l = &k->g->meta.levels[level];
    uint32_t used = 0;
    bool entry = l->entry == 0;
    for (uint32_t rank = 0; rank < l->high; rank++) {
        uint8_t copy[PV__LINKS_BYTES];
        const uint8_t *row;
        PV_TRY(pv__column_read(&k->g->upper[level], rank, &row, err));
        memcpy(copy, row, sizeof copy);
        if (pv__upper_used(copy)) {
            used++;
            entry = entry || rank + 1 == l->entry;
            PV_TRY(gcheck_upper_row(k, level, copy, err));
        }
        PV_TRY(pv__gcheck_pause(k, rank, err));
    }
    if (used != l->count || !entry) {
        pv__gcheck_report(k, 0,
                          entry ? "wrong number of upper rows" : "an upper level has no entry");
    }
    return 0;
}

/* ---- all ------------------------------------------------------------------------------------- */

int pv__gcheck_links(pv__gcheck *k, pv_error *err) {
    pv__graph *g = k->g;
    PV_TRY(gcheck_nodes(k, err));
    PV_TRY(gcheck_free_list(k, err));
    PV_TRY(gcheck_tree(k, err));
    for (uint32_t i = 0; i < PV__GRAPH_LEVELS && g->meta.levels[i].root != 0; i++) {
        PV_TRY(pv__graph_level_begin(g, i, err));
        PV_TRY(gcheck_upper(k, i, err));
    }
    return 0;
}

static int gcheck_run(pv__gcheck *k, pv_error *err) {
    pv__graph *g = k->g;
    PV_TRY(pv__walker_begin_build(k->w, g, 1, err));
    PV_TRY(g->shape->check(k, err));
    if (k->live != g->meta.node_count || k->tombs != g->meta.tomb_count) {
        pv__gcheck_report(k, 0, "wrong number of nodes");
    }
    PV_TRY(gcheck_slots(k, err));
    return gcheck_dups(k, err);
}

static int gcheck_columns(pv__gcheck *k, pv_error *err) {
    const pv__graph *g = k->g;
    PV_TRY(pv__column_check(&g->links, k->fn, k->ctx, k->bad, err));
    PV_TRY(pv__column_check(&g->codes, k->fn, k->ctx, k->bad, err));
    if (g->split) {
        PV_TRY(pv__column_check(&g->fines, k->fn, k->ctx, k->bad, err));
    }
    if (g->meta.books_root != 0) {
        PV_TRY(pv__column_check(&g->books, k->fn, k->ctx, k->bad, err));
    }
    PV_TRY(pv__column_check(&g->slot_of, k->fn, k->ctx, k->bad, err));
    return pv__column_check(&g->node_of, k->fn, k->ctx, k->bad, err);
}

int pv__graph_check(pv__graph *g, const pv__slots *slots, bool deep, pv__check_fn fn, void *ctx,
                    uint64_t *io_bad, pv_error *err) {
    pv__mem *mem = pv__txn_mem(g->txn);
    pv__gcheck k = {.g = g, .slots = slots, .fn = fn, .ctx = ctx, .bad = io_bad};
    if (!g->built) {
        return 0;
    }
    k.words = (size_t)g->meta.node_high / 64 + 1;
    k.seen = pv__alloc_array(mem, k.words, sizeof *k.seen);
    const size_t code_bytes = PV_MAX(g->code.row_size, g->fine.row_size);
    const size_t scratch_bytes = PV_MAX(g->code.scratch_bytes, g->fine.scratch_bytes) + 64u;
    int rc = pv__walker_new(mem, &k.w, err);
    if (deep) {
        k.buf = pv__alloc(mem, code_bytes);
        k.scratch = pv__alloc_aligned(mem, scratch_bytes, 64);
    }
    if (rc == 0 && (!k.seen || (deep && (!k.buf || !k.scratch)))) {
        rc = pv__err_nomem(err, k.words * sizeof *k.seen);
    }
    if (rc == 0) {
        memset(k.seen, 0, k.words * sizeof *k.seen);
        rc = gcheck_columns(&k, err);
    }
    rc = rc == 0 ? gcheck_run(&k, err) : rc;
    pv__alloc_free(mem, k.buf, code_bytes);
    pv__alloc_free_aligned(mem, k.scratch, scratch_bytes, 64);
    pv__walker_free(k.w);
    pv__alloc_free(mem, k.seen, k.words * sizeof *k.seen);
    return rc;
}

#undef GCHECK_PAUSE
