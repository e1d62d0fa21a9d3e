/* SPDX-License-Identifier: Apache-2.0 */
/* cursor.c - a search that goes on, over one state of the collection.
 *
 *      graph --nodes, nearest first by code--> vectors --.
 *      tail and rest --vectors---------------------------+--> ranked --k nearest--> page
 *
 *      given    a bit for each slot that is in `ranked` or was handed out: none comes twice
 *      ranked   a queue by exact distance; a page leaves in it what it has not used
 *
 * For a page of k the walk hands out as many nodes as a search for k would rank, less what is there
 * already. Where it has come to its end, or there is no graph, or a filter lets so little through
 * that reading all records once is cheaper, all the rest is ranked at once, so that every record
 * comes out in the end. */
#include "engine/cursor.h"

#include <math.h>

#include "engine/approx.h"
#include "engine/hold.h"
#include "engine/index.h"
#include "engine/matching.h"
#include "engine/results.h"
#include "engine/search.h"
#include "engine/write.h"

#define CURSOR_ALIGN 64u
#define CURSOR_BLOCK 32u
#define CURSOR_TARGET_RECALL 0.95f
/* One row by its slot costs as much as so many in order. */
#define CURSOR_ASK_PART 4u

struct pv_cursor {
    pv__hold hold; /* first */
    pv__parts parts;
    pv_query query;  /* without its pointers */
    uint8_t *vector; /* and behind it room for the query */
    size_t vector_bytes;
    const pv__kernel *kernel;
    pv__kernel_query distance;
    float most; /* max_distance, or +inf */
    pv__filter *filter;
    pv__matching matching; /* with a filter */
    pv__walker *walker;
    pv__graph_cursor walk;
    bool walking, on_walk, tail_ranked; /* on_walk: its views hold pointers */
    bool whole;                         /* all that is left is ranked */
    uint64_t *given;
    uint32_t slots; /* bits of given */
    pv__queue ranked;
    uint64_t rows;     /* handed out */
    size_t page_count; /* slots gathered, not ranked yet */
    uint32_t page[CURSOR_BLOCK];
    pv__buf keys, row;
};

static pv__mem *scursor_mem(const pv_cursor *c) { return &c->hold.db->env->mem; }
static size_t scursor_words(uint32_t slots) { return ((size_t)slots + 63) / 64; }

/* ---- life ------------------------------------------------------------------------------------ */

static void scursor_drop(pv__hold *h) {
    pv_cursor *c = (pv_cursor *)h;
    if (c->filter) {
        pv__matching_done(&c->matching);
        pv__filter_free(c->filter);
        c->filter = NULL;
    }
    pv__graph_cursor_done(&c->walk, c->walker, scursor_mem(c));
    pv__db_walker_give(h->db, c->walker);
    c->walker = NULL;
    pv__parts_done(&c->parts);
    c->parts.txn = NULL;
}

static void scursor_free(pv__hold *h) {
    pv_cursor *c = (pv_cursor *)h;
    pv__mem *mem = scursor_mem(c);
    pv__queue_done(&c->ranked, mem);
    pv__alloc_free(mem, c->given, scursor_words(c->slots) * sizeof *c->given);
    if (c->vector) {
        pv__alloc_free_aligned(mem, c->vector, c->vector_bytes, CURSOR_ALIGN);
    }
    pv__buf_done(&c->keys);
    pv__buf_done(&c->row);
    pv__alloc_free(mem, c, sizeof *c);
}

static int scursor_vector(pv_cursor *c, const pv_query *q, pv_error *err) {
    const uint32_t type = q->type ? q->type : PV_TYPE_F32;
    PV_TRY(pv__vector_check(&c->parts, q->vector, q->dims, type, err));
    const uint32_t row_size = c->parts.column.row_size;
    const size_t room = PV_ALIGN_UP(row_size, CURSOR_ALIGN);
    c->vector_bytes = room + pv__kernel_query_room(type, q->dims);
    c->vector = pv__alloc_aligned(scursor_mem(c), c->vector_bytes, CURSOR_ALIGN);
    if (!c->vector) {
        return pv__err_nomem(err, c->vector_bytes);
    }
    memcpy(c->vector, q->vector, row_size);
    c->kernel = pv__kernel_table(c->hold.db->cpu);
    return pv__parts_query(&c->parts, c->hold.db->cpu, c->vector, c->vector + room, &c->distance,
                           err);
}

static int scursor_filter(pv_cursor *c, const pv_query *q, pv_error *err) {
    const size_t len = q->filter_len ? q->filter_len : strlen(q->filter);
    pv__filter *filter = NULL;
    PV_TRY(pv__filter_compile(scursor_mem(c), q->filter, len, &filter, err));
    c->filter = filter;
    return pv__matching_begin(&c->matching, c->hold.db, &c->parts, filter, err);
}

static int scursor_walk(pv_cursor *c, pv_error *err) {
    bool ready = false;
    PV_TRY(pv__index_ready(c->hold.db, &c->parts, &ready, err));
    if (!ready || (c->query.flags & PV_QUERY_EXACT) || c->query.target_recall >= 1) {
        return 0;
    }
    if (!c->walker) {
        PV_TRY(pv__db_walker_take(c->hold.db, &c->walker, err));
    }
    PV_TRY(pv__graph_cursor_begin(&c->parts.graph, c->walker, c->vector, &c->walk, err));
    c->walking = true;
    return 0;
}

/* The graph is derived from the vectors: where it is damaged, they answer. */
static int scursor_graph_failed(pv_cursor *c, int rc, const pv_error *found, pv_error *err) {
    if (rc != PV_ERR_CORRUPT) {
        return rc == 0 ? 0 : pv__err(err, rc, "%s", found->message);
    }
    pv__log(&c->hold.db->log, PV_LOG_ERROR, "index",
            "collection '%s' is searched without its graph: %s", c->parts.c.name, found->message);
    c->walking = false;
    c->page_count = 0; /* what was gathered is found again with the rest */
    return 0;
}

typedef struct scursor_request {
    const char *collection;
    const pv_query *query;
} scursor_request;

static int scursor_prepare(pv__hold *h, void *ctx, pv_error *err) {
    pv_cursor *c = (pv_cursor *)h;
    const scursor_request *request = ctx;
    const pv_query *q = request->query;
    pv_error found = PV_ERROR_INIT;
    if (h->user && h->user->write) {
        return pv__err(err, PV_ERR_MISUSE,
                       "a cursor reads one state: give it a read transaction, or none");
    }
    PV_TRY(pv__search_check(q, 1, err));
    if (q->flags & PV_QUERY_CODES) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "a cursor ranks by the vectors, not by codes");
    }
    PV_TRY(pv__parts_open(&c->parts, h->txn, request->collection, err));
    c->query = *q;
    c->query.vector = c->query.filter = NULL;
    c->most = q->flags & PV_QUERY_WITHIN ? q->max_distance : INFINITY;
    PV_TRY(scursor_vector(c, q, err));
    c->slots = c->parts.slots.meta.high_water;
    c->given = pv__alloc_array(scursor_mem(c), scursor_words(c->slots), sizeof *c->given);
    if (!c->given) {
        return pv__err_nomem(err, scursor_words(c->slots) * sizeof *c->given);
    }
    memset(c->given, 0, scursor_words(c->slots) * sizeof *c->given);
    if (q->filter) {
        PV_TRY(scursor_filter(c, q, err));
    }
    const int rc = scursor_walk(c, &found);
    PV_TRY(scursor_graph_failed(c, rc, &found, err));
    return pv__txn_pause(h->txn, err);
}

int pv__search_cursor_new(pv_db *db, pv_txn *txn, const char *collection, const pv_query *query,
                          pv_cursor **out_cursor, pv_error *err) {
    scursor_request request = {collection, query};
    PV_TRY(pv__db_enter(db, err)); /* for its memory; a call on a transaction enters once more */
    pv__mem *mem = &db->env->mem;
    pv_cursor *c = pv__alloc_zero(mem, sizeof *c);
    int rc = c ? 0 : pv__err_nomem(err, sizeof *c);
    if (rc == 0) {
        c->hold.drop = scursor_drop;
        c->hold.free = scursor_free;
        pv__buf_init(&c->keys, mem);
        pv__buf_init(&c->row, mem);
        rc = pv__hold_open(&c->hold, db, txn, scursor_prepare, &request, err);
    }
    pv__db_leave(db);
    if (rc == 0) {
        *out_cursor = c;
    }
    return rc;
}

void pv__search_cursor_free(pv_cursor *c) {
    if (c) {
        pv__hold_close(&c->hold);
    }
}

/* ---- ranking --------------------------------------------------------------------------------- */

static bool scursor_is_given(const pv_cursor *c, uint32_t slot) {
    return c->given[slot / 64] >> (slot % 64) & 1u;
}

/* Vectors of the gathered slots: those that the graph has led to come through its view. */
static int scursor_rows(pv_cursor *c, size_t n, const uint8_t **out, pv_error *err) {
    if (c->on_walk) {
        pv__hit hits[CURSOR_BLOCK];
        for (size_t i = 0; i < n; i++) {
            hits[i] = (pv__hit){0, c->page[i]};
        }
        return pv__graph_vectors(&c->parts.graph, c->walker, hits, n, out, err);
    }
    for (size_t i = 0; i < n; i++) {
        PV_TRY(pv__column_read(&c->parts.column, c->page[i], &out[i], err));
    }
    return 0;
}

/* The gathered slots into the queue, whole or not at all. */
static int scursor_rank(pv_cursor *c, pv_error *err) {
    const uint8_t *rows[CURSOR_BLOCK];
    float distances[CURSOR_BLOCK];
    const size_t n = c->page_count;
    if (n == 0) {
        return 0;
    }
    c->page_count = 0;
    PV_TRY(scursor_rows(c, n, rows, err));
    pv__kernel_gather(c->kernel, &c->distance, rows, n, distances);
    for (size_t i = 0; i < n; i++) {
        if (distances[i] <= c->most) {
            const pv__hit hit = {distances[i], c->page[i]};
            PV_TRY(pv__queue_push(&c->ranked, scursor_mem(c), hit, err));
        }
        c->given[c->page[i] / 64] |= UINT64_C(1) << (c->page[i] % 64);
    }
    return 0;
}

static int scursor_gather(pv_cursor *c, uint32_t slot, pv_error *err) {
    c->page[c->page_count++] = slot;
    return c->page_count == CURSOR_BLOCK ? scursor_rank(c, err) : 0;
}

/* From the walk: the slot is live. */
static int scursor_take(void *ctx, uint32_t slot, pv_error *err) {
    pv_cursor *c = ctx;
    bool matches = true;
    if (slot >= c->slots || scursor_is_given(c, slot)) {
        return pv__err(err, PV_ERR_CORRUPT, "the graph leads to slot %u twice or beyond the last",
                       (unsigned)slot);
    }
    if (c->filter) {
        PV_TRY(pv__matching_test(&c->matching, slot, &matches, err));
    }
    c->walk.taken += matches ? 1 : 0;
    return matches ? scursor_gather(c, slot, err) : 0;
}

/* All live slots from `from` on that were not given yet and match. */
static int scursor_rest(pv_cursor *c, uint32_t from, pv_error *err) {
    const uint32_t rpp = c->parts.column.rows_per_page;
    uint64_t words[PV__ROW_WORDS_MAX];
    for (uint32_t first = from - from % rpp; first < c->slots; first += rpp) {
        const uint32_t n = PV_MIN(rpp, c->slots - first);
        PV_TRY(pv__slots_bits(&c->parts.slots, first, n, words, NULL, err));
        for (uint32_t i = first < from ? from - first : 0; i < n; i++) {
            const uint32_t slot = first + i;
            if ((words[i / 64] >> (i % 64) & 1u) == 0 || scursor_is_given(c, slot) ||
                (c->filter && !pv__matching_has(&c->matching, slot))) {
                continue;
            }
            PV_TRY(scursor_gather(c, slot, err));
        }
        PV_TRY(scursor_rank(c, err));
        PV_TRY(pv__txn_pause(c->parts.txn, err));
        PV_TRY(pv__db_interrupted(c->hold.db, err));
    }
    return 0;
}

static int scursor_rank_rest(pv_cursor *c, uint32_t from, pv_error *err) {
    if (c->filter && c->matching.allowed.ask) {
        PV_TRY(pv__matching_all(&c->matching, err));
    }
    return scursor_rest(c, from, err);
}

/* ---- pages ----------------------------------------------------------------------------------- */

static pv__effort scursor_effort(const pv_cursor *c, uint32_t k) {
    const uint64_t all = PV_MIN(c->rows + k, (uint64_t)PV__K_MAX);
    const float target = c->query.target_recall > 0 ? c->query.target_recall : CURSOR_TARGET_RECALL;
    return c->query.ef != 0 ? pv__graph_effort_ef(&c->parts.graph, (uint32_t)all, c->query.ef)
                            : pv__graph_effort(&c->parts.graph, (uint32_t)all, target);
}

/* Beyond this the walk meets nothing within max_distance any more. */
static float scursor_outer(const pv_cursor *c, const pv__effort *e) {
    const pv__metric *m = pv__metric_of(c->parts.c.field.metric);
    if (c->most == INFINITY || e->stop == INFINITY || m->scale == PV__SCALE_NONE) {
        return INFINITY;
    }
    return e->stop * pv__metric_to_code(m, PV_MAX(c->most, 0.0f));
}

/* Rows that match are rare: reading all documents once is cheaper than asking on. */
static bool scursor_asks_too_much(const pv_cursor *c) {
    return c->filter && c->matching.allowed.ask &&
           c->matching.looked > c->parts.slots.meta.live_count / CURSOR_ASK_PART;
}

/* Settle k more rows than were handed out, and take others to be ranked with them, up to `want`. */
static int scursor_follow(pv_cursor *c, uint32_t k, uint32_t want, pv_error *err) {
    const pv__effort effort = scursor_effort(c, k);
    const float outer = scursor_outer(c, &effort);
    pv__graph *g = &c->parts.graph;
    uint32_t steps = 0;
    bool any = true;
    while (c->walking && c->walk.settled < c->rows + k) {
        float distance = 0;
        PV_TRY(pv__graph_cursor_settle(g, c->walker, &c->walk, &effort, scursor_take, c, &distance,
                                       err));
        if (distance > outer && distance < INFINITY) {
            c->whole = true; /* as far as the walk can tell */
        }
        c->walking = distance < INFINITY && !c->whole && !scursor_asks_too_much(c);
        if (++steps % 256 == 0) {
            PV_TRY(pv__db_interrupted(c->hold.db, err));
        }
    }
    while (c->walking && any && c->ranked.count + c->page_count < want) {
        PV_TRY(pv__graph_cursor_early(g, c->walker, &c->walk, scursor_take, c, &any, err));
        c->walking = !scursor_asks_too_much(c);
    }
    return scursor_rank(c, err);
}

static int scursor_walk_on(pv_cursor *c, uint32_t k, uint32_t want, pv_error *err) {
    if (!c->tail_ranked && c->parts.graph.meta.built < c->slots) {
        PV_TRY(scursor_rank_rest(c, c->parts.graph.meta.built, err));
    }
    c->tail_ranked = true;
    PV_TRY(pv__walker_pause(c->walker, c->parts.txn, err)); /* there were others */
    c->on_walk = true;
    const int rc = scursor_follow(c, k, want, err);
    c->on_walk = false;
    return rc;
}

/* Have the k nearest of those left in the queue. */
static int scursor_fill(pv_cursor *c, uint32_t k, pv_error *err) {
    const uint32_t spare = pv__graph_want(k) - k;
    const uint32_t want = k + (c->walking && c->parts.graph.split ? 4 * k + 64 : spare);
    if (c->walking) {
        pv_error found = PV_ERROR_INIT;
        const int rc = scursor_walk_on(c, k, want, &found);
        PV_TRY(scursor_graph_failed(c, rc, &found, err));
    }
    if (!c->walking && !c->whole) {
        PV_TRY(scursor_rank_rest(c, 0, err));
        c->whole = true;
    }
    return 0;
}

static int scursor_results(pv_cursor *c, const pv__hit *hits, size_t n, pv__how how,
                           pv_results **out, pv_error *err) {
    size_t bytes = 0;
    pv_results *r = NULL;
    pv__buf_clear(&c->keys);
    for (size_t at = 0; at < n; at += PV__TREE_MANY) {
        const size_t count = PV_MIN(n - at, (size_t)PV__TREE_MANY);
        uint32_t slots[PV__TREE_MANY];
        pv__row found[PV__TREE_MANY];
        for (size_t i = 0; i < count; i++) {
            slots[i] = hits[at + i].slot;
        }
        PV_TRY(pv__rows_get(&c->parts, slots, count, false, &c->row, found, err));
        for (size_t i = 0; i < count; i++) {
            pv__buf_add_u32(&c->keys, (uint32_t)found[i].key_len);
            pv__buf_add(&c->keys, found[i].key, found[i].key_len);
            bytes += found[i].key_len + 1;
        }
        PV_TRY(pv__buf_check(&c->keys, err));
        PV_TRY(pv__txn_pause(c->parts.txn, err));
    }
    PV_TRY(pv__results_new(c->hold.db->env, &c->parts.c, n, bytes,
                           c->query.include | PV__RESULTS_DISTANCES, &r, err));
    r->plan = pv__how_text(how);
    const uint8_t *key = c->keys.data;
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        const pv__bytes id = {key + 4, pv__get32(key)};
        key += 4 + id.size;
        pv__results_set_distance(r, i, hits[i].distance);
        rc = pv__results_set_id(r, i, id, err);
        if (rc == 0) {
            rc = pv__results_fill(r, i, &c->parts, hits[i].slot, NULL, &c->row, err);
        }
        rc = rc == 0 ? pv__txn_pause(c->parts.txn, err) : rc;
    }
    if (rc != 0) {
        pv__results_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

/* n nearest of the queue, in the order of pv.h. They leave the queue when the page is made. */
static int scursor_page(pv_cursor *c, pv__hit *hits, size_t n, pv__how how, pv_results **out,
                        pv_error *err) {
    pv__nearest nearest;
    pv__nearest_init(&nearest, scursor_mem(c), hits, n, NULL); /* none are offered: no ties */
    int rc = 0;
    for (size_t i = 0; i < n; i++) {
        const pv__hit hit = pv__queue_pop(&c->ranked);
        pv__topk_add(&nearest.top, hit.distance, hit.slot);
    }
    rc = pv__nearest_finish(&nearest, &c->parts, err);
    pv__nearest_done(&nearest);
    rc = rc == 0 ? scursor_results(c, hits, n, how, out, err) : rc;
    for (size_t i = 0; i < n && rc != 0; i++) { /* there is room: they were there */
        (void)pv__queue_push(&c->ranked, scursor_mem(c), hits[i], NULL);
    }
    c->rows += rc == 0 ? n : 0;
    return rc;
}

static int scursor_next(pv_cursor *c, uint32_t k, pv_results **out, pv_error *err) {
    const pv__how how = c->walking ? pv__approx_how(&c->parts) : PV__HOW_EXACT;
    k = k ? k : 10;
    if (k > PV__K_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "k is %u, at most %u are allowed", (unsigned)k,
                       (unsigned)PV__K_MAX);
    }
    PV_TRY(scursor_fill(c, k, err));
    const size_t n = PV_MIN((size_t)k, c->ranked.count);
    pv__hit *hits = pv__alloc_array(scursor_mem(c), PV_MAX(n, (size_t)1), sizeof *hits);
    if (!hits) {
        return pv__err_nomem(err, n * sizeof *hits);
    }
    const int rc = scursor_page(c, hits, n, how, out, err);
    pv__alloc_free(scursor_mem(c), hits, PV_MAX(n, (size_t)1) * sizeof *hits);
    return rc;
}

int pv__search_cursor_page(pv_cursor *c, uint32_t k, pv_results **out_results, pv_error *err) {
    PV_TRY(pv__hold_enter(&c->hold, "cursor", err));
    const int rc = scursor_next(c, k, out_results, err);
    pv__hold_leave(&c->hold);
    return rc;
}

#undef CURSOR_ALIGN
#undef CURSOR_BLOCK
#undef CURSOR_TARGET_RECALL
#undef CURSOR_ASK_PART
