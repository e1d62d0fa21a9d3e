/* SPDX-License-Identifier: Apache-2.0 */
/* lists_insert.c - slots get nodes, a chunk of them at a time:
 *
 *      rows     codes, hash, list of each by itself          [threads; pages are only read]
 *      order    by list, so that blocks of a list are taken one after the other
 *      equals   rows of the chunk with the same vector, by hash; nodes of the list, by code
 *      nodes    places, codes, maps; or a share of an equal node
 *
 * What is written depends on the rows and their order, not on threads (G5). */
#include "ann/lists.h"
#include "base/checksum.h"
#include "base/map.h"
#include "base/sort.h"
#include "os/thread.h"

#define LINSERT_BYTES (16u << 20) /* of codes in memory */
#define LINSERT_ROWS_MAX 65536u
#define LINSERT_PAUSE 64u
#define LINSERT_PORTION 256u /* rows of a thread between two pauses */
#define LINSERT_THREAD_ROWS 64u
#define LINSERT_ALIGN 64u

typedef struct linsert_row {
    uint32_t slot, list;
    uint32_t node; /* given, or shared with */
    uint32_t twin; /* index + 1 of an equal row before it in the chunk */
    uint32_t same; /* index + 1 of the next row of its list whose code begins alike */
    float lost;    /* by product codes */
    uint64_t hash; /* of the vector */
    bool shares;   /* node is that of an equal vector */
    bool zero;     /* cosine, all elements 0 */
} linsert_row;

typedef struct linsert_chunk {
    pv__graph *g;
    linsert_row *rows;
    uint32_t *order; /* rows by list */
    uint8_t *codes, *coarse;
    size_t count, cap, row_size, coarse_size, scratch_size;
} linsert_chunk;

typedef struct linsert_part {
    linsert_chunk *c;
    pv__walker *w;
    uint8_t *scratch; /* and behind it the row's code of centres' kind */
    _Atomic size_t *next;
    size_t end;
    int rc;
    pv_error err;
    pv__thread thread;
    bool started;
} linsert_part;

static const uint8_t *linsert_code(const linsert_chunk *c, size_t i) {
    return c->codes + i * c->row_size;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* Product codes: nothing before there is a book. */
static void linsert_coarse(linsert_part *p, const uint8_t *v, size_t i) {
    const linsert_chunk *c = p->c;
    const pv__code *code = &p->w->code;
    uint8_t *row = c->coarse + i * c->coarse_size;
    if (code->kind == PV__CODE_PQ && !code->book) {
        memset(row, 0, c->coarse_size);
        return;
    }
    pv__code_encode(code, v, p->scratch, row);
    if (code->kind == PV__CODE_PQ) {
        c->rows[i].lost = pv__code_lost(code, v, p->scratch, row);
    }
}

static int linsert_row_of(linsert_part *p, size_t i, pv_error *err) {
    linsert_chunk *c = p->c;
    pv__graph *g = c->g;
    linsert_row *row = &c->rows[i];
    const uint8_t *v;
    uint8_t *const centre = p->scratch + c->scratch_size;
    PV_TRY(pv__graph_vector(g, row->slot, &v, err));
    pv__code_encode(&p->w->fine, v, p->scratch, c->codes + i * c->row_size);
    if (g->split) {
        linsert_coarse(p, v, i);
    }
    row->zero =
        pv__graph_joins_zeros(g) && pv__element_is_zero(pv__element_of(g->type), v, g->dims);
    row->hash = pv__hash64(v, g->vectors->row_size, 0) >> 1;
    pv__code_encode(&g->centre, v, p->scratch, centre);
    return pv__lists_nearest(g, p->w, centre, &row->list, err);
}

static void *linsert_part_run(void *arg) {
    linsert_part *p = arg;
    do { /* one row at least, so that it goes on */
        const size_t i = atomic_fetch_add_explicit(p->next, 1, memory_order_relaxed);
        if (i >= p->end) {
            break;
        }
        p->rc = linsert_row_of(p, i, &p->err);
    } while (p->rc == 0 && !pv__txn_tight(p->c->g->txn));
    return NULL;
}

/* Views and books; the codes are those that rows get, not those that searches walk by. */
static int linsert_walker(linsert_chunk *c, pv__walker *w, pv_error *err) {
    PV_TRY(pv__walker_begin(w, c->g, 1, err));
    PV_TRY(pv__book_load(w, c->g, err));
    return pv__lists_view(c->g, w, err);
}

/* Rows [*io_next, end) in up to `threads` threads, fewer when memory gets short. */
static int linsert_portion(linsert_chunk *c, linsert_part *parts, unsigned threads, size_t *io_next,
                           size_t end, pv_error *err) {
    const uint8_t *page;
    _Atomic size_t next;
    int rc = 0;
    atomic_init(&next, *io_next);
    /* The epoch that all of them share begins before they do. */
    PV_TRY(pv__page_read(c->g->txn, c->g->page, PV__PAGE_GRAPH, &page, err));
    for (unsigned t = 0; t < threads; t++) {
        parts[t].next = &next;
        parts[t].end = end;
        PV_TRY(linsert_walker(c, parts[t].w, err));
    }
    for (unsigned t = 1; t < threads; t++) { /* one that cannot start is run here instead */
        parts[t].started =
            pv__thread_start(&parts[t].thread, linsert_part_run, &parts[t], NULL) == 0;
    }
    (void)linsert_part_run(&parts[0]);
    for (unsigned t = 0; t < threads; t++) {
        if (parts[t].started) {
            pv__thread_join(parts[t].thread);
        } else if (t > 0) {
            (void)linsert_part_run(&parts[t]);
        }
        parts[t].started = false;
        if (rc == 0 && parts[t].rc != 0) {
            rc = pv__err(err, parts[t].rc, "%s", parts[t].err.message);
        }
    }
    *io_next = PV_MIN(atomic_load_explicit(&next, memory_order_relaxed), end);
    return rc;
}

static int linsert_rows(linsert_chunk *c, pv__walker *w, const pv__code_stop *stop, pv_error *err) {
    linsert_part parts[PV__GRAPH_THREADS] = {{0}};
    unsigned threads = c->count >= LINSERT_THREAD_ROWS ? PV_MAX(c->g->threads, 1u) : 1;
    pv__mem *mem = pv__txn_mem(c->g->txn);
    const size_t bytes = c->scratch_size + c->g->centre.row_size;
    int rc = 0;
    threads = PV_MIN(threads, PV__GRAPH_THREADS);
    for (unsigned t = 0; t < threads && rc == 0; t++) {
        parts[t].c = c;
        parts[t].err = (pv_error)PV_ERROR_INIT;
        parts[t].w = w;
        rc = t == 0 ? 0 : pv__walker_helper(w, t - 1, &parts[t].w, err);
        parts[t].scratch = pv__alloc_aligned(mem, bytes, LINSERT_ALIGN);
        if (rc == 0 && !parts[t].scratch) {
            rc = pv__err_nomem(err, bytes);
        }
    }
    for (size_t i = 0; i < c->count && rc == 0;) {
        const size_t end = PV_MIN(c->count, i + (size_t)LINSERT_PORTION * threads);
        rc = linsert_portion(c, parts, threads, &i, end, err);
        rc = rc == 0 ? pv__txn_pause(c->g->txn, err) : rc;
        rc = rc == 0 && stop->fn ? stop->fn(stop->ctx, err) : rc;
    }
    for (unsigned t = 0; t < threads; t++) {
        pv__alloc_free_aligned(mem, parts[t].scratch, bytes, LINSERT_ALIGN);
    }
    return rc;
}

/* ---- equals ---------------------------------------------------------------------------------- */

#define LINSERT_LOST 1024 /* the last so many vectors tell what codes lose */

/* Do two slots have the same vector? */
static int linsert_equal(pv__graph *g, uint32_t a, uint32_t b, bool *out, pv_error *err) {
    const uint8_t *u, *v;
    PV_TRY(pv__graph_vector(g, a, &u, err));
    PV_TRY(pv__graph_vector(g, b, &v, err));
    *out = memcmp(u, v, g->vectors->row_size) == 0;
    return 0;
}

static int linsert_twin(linsert_chunk *c, pv__map *seen, size_t i, pv_error *err) {
    uint64_t hash = c->rows[i].hash, other = 0;
    while (pv__map_get(seen, hash, &other)) {
        bool equal = false;
        PV_TRY(linsert_equal(c->g, c->rows[i].slot, c->rows[other].slot, &equal, err));
        if (equal) {
            c->rows[i].twin = (uint32_t)other + 1;
            return 0;
        }
        hash = pv__mix64(hash + 1) >> 1;
    }
    return pv__map_put(seen, hash, i, err);
}

/* Rows of the chunk among each other; and what codes lost, in order. */
static int linsert_twins(linsert_chunk *c, bool coded, pv_error *err) {
    pv__graph_meta *m = &c->g->meta;
    pv__map seen;
    int rc = 0;
    pv__map_init(&seen, pv__txn_mem(c->g->txn));
    for (size_t i = 0; i < c->count && rc == 0; i++) {
        if (coded) {
            m->lost += (c->rows[i].lost - m->lost) / LINSERT_LOST;
        }
        rc = c->count > 1 ? linsert_twin(c, &seen, i, err) : 0;
        if (rc == 0 && i % LINSERT_PAUSE == LINSERT_PAUSE - 1) {
            rc = pv__txn_pause(c->g->txn, err);
        }
    }
    pv__map_done(&seen);
    return rc;
}

/* The beginning of a code: nearly always enough to tell two apart. */
static uint64_t linsert_prefix(const linsert_chunk *c, const uint8_t *code) {
    uint64_t word = 0;
    memcpy(&word, code, PV_MIN(c->row_size, sizeof word));
    return pv__mix64(word) >> 1;
}

/* Is one of the rows that begin like this node's code, from `at` on, equal to it? */
static int linsert_match(linsert_chunk *c, uint32_t at, uint32_t node, const uint8_t *code,
                         uint32_t word, pv_error *err) {
    for (; at != 0; at = c->rows[at - 1].same) {
        linsert_row *row = &c->rows[at - 1];
        bool equal = false;
        if (!row->shares && memcmp(linsert_code(c, at - 1), code, c->row_size) == 0) {
            PV_TRY(linsert_equal(c->g, row->slot, word & ~PV__SLOT_MORE, &equal, err));
        }
        if (equal) {
            row->shares = true;
            row->node = node;
        }
    }
    return 0;
}

/* All nodes of a block against the rows of its list. */
static int linsert_match_block(linsert_chunk *c, pv__walker *w, const pv__map *rows, uint32_t block,
                               uint32_t high, pv_error *err) {
    const uint32_t first = block * pv__block_rows(c->g);
    for (uint32_t i = 0; i < high; i++) {
        const uint8_t *slot, *code;
        uint64_t at = 0;
        PV_TRY(pv__colview_row(w->fines, first + i, &code, err));
        if (!pv__map_get(rows, linsert_prefix(c, code), &at)) {
            continue;
        }
        PV_TRY(pv__colview_row(&w->slot_of, first + i, &slot, err));
        const uint32_t word = pv__get32(slot);
        if (word != PV__SLOT_NONE) {
            PV_TRY(linsert_match(c, (uint32_t)at, first + i, code, word, err));
        }
    }
    return 0;
}

/* Rows order[from, to), all of one list, against its nodes. */
static int linsert_match_list(linsert_chunk *c, pv__walker *w, pv__map *rows, size_t from,
                              size_t to, pv_error *err) {
    pv__chain chain;
    uint32_t block = 0, high = 0;
    pv__map_clear(rows);
    for (size_t i = from; i < to; i++) {
        linsert_row *row = &c->rows[c->order[i]];
        if (row->twin == 0) {
            const uint64_t key = linsert_prefix(c, linsert_code(c, c->order[i]));
            uint64_t other = 0;
            row->same = pv__map_get(rows, key, &other) ? (uint32_t)other : 0;
            PV_TRY(pv__map_put(rows, key, (uint64_t)c->order[i] + 1, err));
        }
    }
    PV_TRY(pv__chain_begin(c->g, w, c->rows[c->order[from]].list, &chain, err));
    for (;;) {
        PV_TRY(pv__chain_next(c->g, w, &chain, &block, &high, err));
        if (block == PV__NODE_NONE) {
            return 0;
        }
        PV_TRY(linsert_match_block(c, w, rows, block, high, err));
    }
}

static int linsert_match_all(linsert_chunk *c, pv__walker *w, pv_error *err) {
    pv__map rows;
    int rc = linsert_walker(c, w, err);
    pv__map_init(&rows, pv__txn_mem(c->g->txn));
    for (size_t from = 0, to; from < c->count && rc == 0 && c->g->meta.node_count > 0; from = to) {
        const uint32_t list = c->rows[c->order[from]].list;
        for (to = from; to < c->count && c->rows[c->order[to]].list == list;) {
            to++;
        }
        rc = linsert_match_list(c, w, &rows, from, to, err);
        rc = rc == 0 ? pv__walker_pause(w, c->g->txn, err) : rc;
        rc = rc == 0 ? pv__lists_view(c->g, w, err) : rc;
    }
    pv__map_done(&rows);
    return rc;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static int linsert_node(linsert_chunk *c, uint32_t i, pv_error *err) {
    pv__graph *g = c->g;
    linsert_row *row = &c->rows[i];
    if (row->twin != 0) { /* it came before: rows of a list keep their order */
        row->shares = true;
        row->node = c->rows[row->twin - 1].node;
    } else if (row->zero && g->meta.zero != 0) {
        row->shares = true; /* -0 and 0 differ in bytes, not in meaning */
        row->node = g->meta.zero - 1;
    }
    if (row->shares) {
        return pv__node_share(g, row->node, row->slot, err);
    }
    PV_TRY(pv__lists_place(g, row->list, &row->node, err));
    g->meta.zero = row->zero ? row->node + 1 : g->meta.zero;
    return pv__node_set(g, row->node, row->slot, linsert_code(c, i), c->coarse + i * c->coarse_size,
                        err);
}

static int linsert_nodes(linsert_chunk *c, pv_error *err) {
    for (size_t i = 0; i < c->count; i++) {
        PV_TRY(linsert_node(c, c->order[i], err));
        if (i % LINSERT_PAUSE == LINSERT_PAUSE - 1 || pv__txn_tight(c->g->txn)) {
            PV_TRY(pv__txn_pause(c->g->txn, err));
        }
    }
    return 0;
}

/* ---- all ------------------------------------------------------------------------------------- */

typedef struct linsert_key {
    uint32_t list, row;
} linsert_key;

static bool linsert_before(const linsert_key *a, const linsert_key *b) {
    return a->list != b->list ? a->list < b->list : a->row < b->row;
}
PV__SORT_DEFINE(linsert_sort, linsert_key, linsert_before)

static int linsert_order(linsert_chunk *c, pv_error *err) {
    pv__mem *mem = pv__txn_mem(c->g->txn);
    linsert_key *keys = pv__alloc_array(mem, c->count, sizeof *keys);
    if (!keys) {
        return pv__err_nomem(err, c->count * sizeof *keys);
    }
    for (size_t i = 0; i < c->count; i++) {
        keys[i] = (linsert_key){c->rows[i].list, (uint32_t)i};
    }
    linsert_sort(keys, c->count);
    for (size_t i = 0; i < c->count; i++) {
        c->order[i] = keys[i].row;
    }
    pv__alloc_free(mem, keys, c->count * sizeof *keys);
    return 0;
}

static int linsert_run(linsert_chunk *c, pv__walker *w, const uint32_t *slots, size_t count,
                       const pv__code_stop *stop, pv_error *err) {
    memset(c->rows, 0, count * sizeof *c->rows);
    c->count = count;
    for (size_t i = 0; i < count; i++) {
        c->rows[i].slot = slots[i];
    }
    PV_TRY(linsert_rows(c, w, stop, err));
    PV_TRY(linsert_order(c, err));
    PV_TRY(linsert_twins(c, c->g->code.kind == PV__CODE_PQ && c->g->meta.learned_nodes != 0, err));
    PV_TRY(linsert_match_all(c, w, err));
    PV_TRY(linsert_nodes(c, err));
    PV_TRY(pv__coarse_upkeep(c->g, w, count, stop, err));
    return pv__txn_pause(c->g->txn, err);
}

static int linsert_alloc(linsert_chunk *c, size_t count, pv_error *err) {
    const pv__graph *g = c->g;
    pv__mem *mem = pv__txn_mem(g->txn);
    const size_t scratch = PV_MAX(g->code.scratch_bytes, g->fine.scratch_bytes);
    c->row_size = g->fine.row_size;
    c->coarse_size = g->split ? g->code.row_size : 0;
    const size_t most = LINSERT_BYTES / (c->row_size + c->coarse_size) + 1;
    c->cap = PV_MIN(PV_MIN(count, most), (size_t)LINSERT_ROWS_MAX);
    c->scratch_size =
        PV_ALIGN_UP(PV_MAX(scratch, (size_t)g->centre.scratch_bytes), (size_t)LINSERT_ALIGN) + 64;
    c->rows = pv__alloc_array(mem, c->cap, sizeof *c->rows);
    c->order = pv__alloc_array(mem, c->cap, sizeof *c->order);
    c->codes = pv__alloc_array(mem, c->cap, c->row_size);
    c->coarse = pv__alloc_array(mem, c->cap, c->coarse_size + 1);
    return c->rows && c->order && c->codes && c->coarse
               ? 0
               : pv__err_nomem(err, c->cap * (c->row_size + sizeof *c->rows));
}

static void linsert_free(linsert_chunk *c) {
    pv__mem *mem = pv__txn_mem(c->g->txn);
    pv__alloc_free(mem, c->rows, c->cap * sizeof *c->rows);
    pv__alloc_free(mem, c->order, c->cap * sizeof *c->order);
    pv__alloc_free(mem, c->codes, c->cap * c->row_size);
    pv__alloc_free(mem, c->coarse, c->cap * (c->coarse_size + 1));
}

int pv__lists_insert(pv__graph *g, pv__walker *w, const uint32_t *slots, size_t count,
                     pv__graph_interrupt_fn interrupt, void *ctx, pv_error *err) {
    const pv__code_stop stop = {interrupt, ctx};
    linsert_chunk c = {.g = g};
    int rc = linsert_alloc(&c, count, err);
    for (size_t i = 0; i < count && rc == 0;) {
        const size_t n = PV_MIN(c.cap, count - i);
        rc = linsert_run(&c, w, slots + i, n, &stop, err);
        i += n;
    }
    linsert_free(&c);
    return rc;
}

#undef LINSERT_BYTES
#undef LINSERT_ROWS_MAX
#undef LINSERT_PAUSE
#undef LINSERT_PORTION
#undef LINSERT_THREAD_ROWS
#undef LINSERT_ALIGN
#undef LINSERT_LOST
