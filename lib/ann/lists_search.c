/* SPDX-License-Identifier: Apache-2.0 */
/* lists_search.c - scanning lists, nearest centre first.
 *
 *      rank --> lists --> blocks, a few at a time so that their pages come together --> codes
 *           --> what is near enough, alive and allowed --> pool --> pv__search_end
 *
 * How many lists is what the effort says, and as many more as it takes to find k. Nothing stops
 * earlier: ratios of distances that were tried (to the k-th nearest, to the first centre) scanned
 * more rows than a fixed number of lists did at the same recall (docs/decisions/032).
 *
 * With a filter, k nearest of a share s lie about as far as k / s of all: more lists, by the root
 * of that. Where comparing the codes of all that are allowed would have been cheaper, that is
 * done. Within a radius: as many lists as for the nearest, and on as long as the last ones had
 * something. */
#include <math.h>

#include "ann/lists.h"

#define LSEARCH_BLOCKS 8u    /* of a step, at least, */
#define LSEARCH_STEP_MAX 32u /* and at most: pages that are asked for at once */
#define LSEARCH_PART 8u      /* of those scanned so far */
#define LSEARCH_SIGMAS 2.0f  /* deviations of the code, beyond a radius */
#define LSEARCH_OUTER 1.1f   /* and a bit */
#define LSEARCH_IDLE 2u      /* within: half as many lists as were to be scanned had nothing */
#define LSEARCH_CURSOR_PAUSE 16u
#define LSEARCH_TRACE_LISTS 16u
#define LSEARCH_LEAST_NS 15000.0f /* no scan of lists takes less */

typedef struct lsearch_scan lsearch_scan;
typedef int (*lsearch_take_fn)(lsearch_scan *s, pv__walker *w, float distance, uint32_t node,
                               pv_error *err);
struct lsearch_scan {
    pv__lists_rank *rank;
    pv__chain chain; /* of the list that is being scanned; at 0 and then 0: of none */
    const pv__allowed *allowed;
    lsearch_take_fn take;
    float bound; /* what is farther is not looked at */
    pv__topk pool;
    pv__trace *trace;
    pv__queue *found;                  /* of a cursor */
    uint32_t scanned, blocks, kept_at; /* lists, blocks; lists when something was kept last */
    uint64_t rows, asked, passed;
    bool done; /* there are no more lists */
};

/* ---- blocks ---------------------------------------------------------------------------------- */

/* Is the node alive, and one of its slots allowed? */
static int lsearch_counts(pv__graph *g, pv__walker *w, lsearch_scan *s, uint32_t node, bool *out,
                          pv_error *err) {
    uint32_t slots = 0;
    bool lives = false;
    *out = false;
    if (node == w->skip) {
        return 0;
    }
    PV_TRY(pv__search_counts(g, w, s->allowed, node, 1, UINT32_MAX, &lives, &slots, err));
    *out = slots > 0;
    if (lives && s->allowed) {
        s->asked++;
        s->passed += *out ? 1u : 0u;
    }
    return 0;
}

static int lsearch_block(pv__graph *g, pv__walker *w, lsearch_scan *s, uint32_t block,
                         uint32_t high, const uint8_t *codes, pv_error *err) {
    const uint32_t first = block * pv__block_rows(g), size = w->code.row_size;
    /* Before nodes have product codes, the finer ones, whose pages are no blocks. */
    const bool whole = w->codes.c.rows_per_page == pv__block_rows(g);
    for (uint32_t at = 0; at < high; at += PV__WALK_ROWS) {
        const uint32_t n = PV_MIN(high - at, PV__WALK_ROWS);
        for (uint32_t i = 0; i < n; i++) {
            w->ids[i] = first + at + i;
            w->rows[i] = codes + (size_t)(at + i) * size;
        }
        if (!whole) {
            PV_TRY(pv__colview_rows(&w->codes, w->ids, n, w->rows, err));
        }
        pv__code_distances(&w->code, w->query, w->rows, n, w->distances);
        for (uint32_t i = 0; i < n; i++) {
            bool counts = false;
            if (w->distances[i] > s->bound) {
                continue;
            }
            PV_TRY(lsearch_counts(g, w, s, first + at + i, &counts, err));
            if (counts) {
                PV_TRY(s->take(s, w, w->distances[i], first + at + i, err));
            }
        }
    }
    s->rows += high;
    return 0;
}

/* The next blocks, of as many lists as that takes; lists_max: not of more. */
static int lsearch_gather(pv__graph *g, pv__walker *w, lsearch_scan *s, uint32_t lists_max,
                          uint32_t *blocks, uint32_t *highs, uint32_t *out_n, pv_error *err) {
    const uint32_t part = PV_MAX(s->blocks / LSEARCH_PART, LSEARCH_BLOCKS);
    const uint32_t most = PV_MIN(part, LSEARCH_STEP_MAX);
    *out_n = 0;
    while (*out_n < most) {
        PV_TRY(pv__chain_next(g, w, &s->chain, &blocks[*out_n], &highs[*out_n], err));
        if (blocks[*out_n] != PV__NODE_NONE) {
            *out_n += 1;
            continue;
        }
        uint32_t list = PV__NODE_NONE;
        if (s->scanned >= lists_max) {
            return 0;
        }
        PV_TRY(pv__lists_next(g, w, s->rank, &list, err));
        s->done = list == PV__NODE_NONE;
        if (s->done) {
            return 0;
        }
        if (list >= g->meta.lists.count) {
            return pv__graph_corrupt(g, list, "a list beyond the last", err);
        }
        s->scanned++;
        PV_TRY(pv__chain_begin(g, w, list, &s->chain, err));
    }
    return 0;
}

/* Scan a few blocks. Something was left to scan, unless s->done or lists_max was reached. */
static int lsearch_step(pv__graph *g, pv__walker *w, lsearch_scan *s, uint32_t lists_max,
                        pv_error *err) {
    uint32_t blocks[LSEARCH_STEP_MAX], highs[LSEARCH_STEP_MAX], firsts[LSEARCH_STEP_MAX], n = 0;
    const uint8_t *codes[LSEARCH_STEP_MAX];
    if (PV_UNLIKELY(pv__txn_crowded(g->txn))) { /* only numbers are kept from step to step */
        PV_TRY(pv__walker_pause(w, g->txn, err));
    }
    PV_TRY(lsearch_gather(g, w, s, lists_max, blocks, highs, &n, err));
    for (uint32_t i = 0; i < n; i++) {
        firsts[i] = blocks[i] * pv__block_rows(g);
    }
    PV_TRY(pv__colview_rows(&w->codes, firsts, n, codes, err));
    for (uint32_t i = 0; i < n; i++) {
        PV_TRY(lsearch_block(g, w, s, blocks[i], highs[i], codes[i], err));
    }
    s->blocks += n;
    return 0;
}

/* Ready to scan by the code that searches go by. */
static int lsearch_begin(pv__graph *g, pv__walker *w, const void *vector, size_t pool,
                         lsearch_scan *s, pv_error *err) {
    PV_TRY(pv__walker_begin(w, g, pool, err));
    PV_TRY(pv__lists_view(g, w, err));
    pv__code_query(&w->code, vector, w->query);
    s->bound = INFINITY;
    return pv__lists_rank_begin(g, w, vector, s->rank, err);
}

/* ---- the nearest ----------------------------------------------------------------------------- */

static int lsearch_take_near(lsearch_scan *s, pv__walker *w, float distance, uint32_t node,
                             pv_error *err) {
    (void)w;
    (void)err;
    pv__topk_add(&s->pool, distance, node);
    s->bound = pv__topk_bound(&s->pool);
    return 0;
}

/* How many lists: of k nearest among a share of all, as of k / share. */
static uint32_t lsearch_lists(const pv__graph *g, const lsearch_scan *s, const pv__effort *effort,
                              float share) {
    const float all = (float)g->meta.lists.count;
    const float lists = effort->lists == 0 ? all : (float)effort->lists;
    const float near = s->asked > 0 ? ((float)s->passed + share) / ((float)s->asked + 1) : 1;
    return (uint32_t)PV_MIN(ceilf(lists / sqrtf(PV_MAX(near, 1e-9f))), all);
}

/* *out_given_up: it has taken longer than codes_ns. */
static int lsearch_nearest(pv__graph *g, pv__walker *w, lsearch_scan *s, const pv__effort *effort,
                           float share, float codes_ns, bool *out_given_up, pv_error *err) {
    const float row_ns = pv__allowed_dense_ns(g);
    *out_given_up = false;
    while (!s->done) {
        const uint32_t lists = lsearch_lists(g, s, effort, share);
        const bool enough = s->pool.count >= PV_MIN((size_t)effort->k, s->pool.k);
        const bool whole = s->chain.at == 0 && s->chain.then == 0;
        if (enough && whole && s->scanned >= lists) {
            break;
        }
        const float asks = s->allowed && s->allowed->ask ? PV__ASK_NS * (float)s->asked : 0;
        if (row_ns * (float)s->rows + asks > codes_ns) {
            *out_given_up = true;
            break;
        }
        PV_TRY(lsearch_step(g, w, s, PV_MAX(lists, s->scanned + 1), err));
    }
    return 0;
}

/* Product codes are believed as far as about this beyond the k-th (gsearch_refine). */
static pv__effort lsearch_believed(const pv__effort *effort) {
    pv__effort e = *effort;
    e.stop = 1.2f;
    return e;
}

int pv__lists_search(pv__graph *g, pv__walker *w, const void *vector, const pv__effort *effort,
                     uint32_t want, pv__hit *hits, uint32_t *out_count, bool *out_complete,
                     pv_error *err) {
    pv__lists_rank rank;
    lsearch_scan s = {.rank = &rank, .take = lsearch_take_near};
    const pv__effort believed = lsearch_believed(effort);
    bool given_up = false;
    PV_TRY(lsearch_begin(g, w, vector, effort->pool, &s, err));
    s.pool = (pv__topk){w->pool, 0, w->coarse ? effort->pool : want};
    PV_TRY(lsearch_nearest(g, w, &s, effort, 1, INFINITY, &given_up, err));
    *out_complete = true;
    pv__topk_sort(&s.pool);
    return pv__search_end(g, w, vector, &believed, want, NULL, s.pool.count, hits, out_count, err);
}

int pv__lists_search_allowed(pv__graph *g, pv__walker *w, const void *vector,
                             const pv__effort *effort, uint32_t want, const pv__allowed *a,
                             pv__plan *io_plan, pv__hit *hits, uint32_t *out_count,
                             bool *out_complete, pv_error *err) {
    pv__lists_rank rank;
    lsearch_scan s = {.rank = &rank, .take = lsearch_take_near, .allowed = a};
    const pv__effort believed = lsearch_believed(effort);
    const bool chooses = *io_plan == PV__PLAN_AUTO;
    float share = 1;
    const float codes_ns = pv__allowed_codes_ns(g, a, &share);
    bool given_up = *io_plan == PV__PLAN_CODES ||
                    (chooses && pv__allowed_codes_first(a, codes_ns, LSEARCH_LEAST_NS, want));
    *out_complete = true;
    if (!given_up) {
        *io_plan = PV__PLAN_LISTS;
        PV_TRY(lsearch_begin(g, w, vector, effort->pool, &s, err));
        s.pool = (pv__topk){w->pool, 0, w->coarse ? effort->pool : want};
        PV_TRY(lsearch_nearest(g, w, &s, effort, share, chooses ? codes_ns : INFINITY, &given_up,
                               err));
    }
    if (!given_up) {
        pv__topk_sort(&s.pool);
        return pv__search_end(g, w, vector, &believed, want, a, s.pool.count, hits, out_count, err);
    }
    if (a->ask) {
        *out_complete = false;
        return 0;
    }
    *io_plan = PV__PLAN_CODES;
    return pv__allowed_by_codes(g, w, vector, &believed, want, a, hits, out_count, err);
}

/* ---- tracing --------------------------------------------------------------------------------- */

static int lsearch_take_trace(lsearch_scan *s, pv__walker *w, float distance, uint32_t node,
                              pv_error *err) {
    uint32_t at = 0;
    PV_TRY(pv__trace_found(s->trace, w, node, &at, err));
    const size_t place = pv__pool_insert(w->pool, &s->pool.count, s->pool.k, distance, at);
    if (place < pv__trace_nearest(w)) {
        s->kept_at = s->scanned;
    }
    if (s->pool.count == s->pool.k) {
        s->bound = w->pool[s->pool.k - 1].distance;
    }
    return 0;
}

/* All curves have the same numbers of lists. What is as near as what was found last comes no more
 * when twice as many lists have been scanned. */
int pv__lists_trace(pv__graph *g, pv__walker *w, const void *vector, pv__trace *t, pv_error *err) {
    pv__lists_rank rank;
    lsearch_scan s = {.rank = &rank, .take = lsearch_take_trace, .trace = t};
    const pv__effort *last = &t->efforts[PV__CURVES - 1][PV__CURVE_POINTS - 1];
    const size_t pool = PV_MAX((size_t)last->pool, (size_t)PV__TRACE_HITS);
    t->found_count = 0;
    PV_TRY(lsearch_begin(g, w, vector, pool, &s, err));
    s.pool = (pv__topk){w->pool, 0, pool};
    for (unsigned i = 0; i < PV__CURVE_POINTS; i++) {
        const uint32_t lists = t->efforts[0][i].lists;
        while (!s.done && (s.scanned < lists || s.chain.at != 0 || s.chain.then != 0) &&
               (s.scanned < LSEARCH_TRACE_LISTS || s.scanned < 2 * s.kept_at)) {
            PV_TRY(lsearch_step(g, w, &s, lists, err));
        }
        for (unsigned c = 0; c < PV__CURVES; c++) {
            t->ends[c][i] = t->found_count;
            t->bounds[c][i] = INFINITY;
        }
    }
    return pv__trace_end(g, w, vector, s.pool.count, t, err);
}

/* ---- within ---------------------------------------------------------------------------------- */

typedef struct lsearch_within {
    lsearch_scan scan; /* the first member */
    float radius, outer;
} lsearch_within;

static int lsearch_take_within(lsearch_scan *s, pv__walker *w, float distance, uint32_t node,
                               pv_error *err) {
    lsearch_within *r = (lsearch_within *)s;
    (void)err;
    if (r->outer == INFINITY) { /* much the same for all rows that are near */
        const uint8_t *row;
        float sigma = 0;
        PV_TRY(pv__colview_row(&w->codes, node, &row, err));
        pv__code_sigmas(&w->code, w->query, &row, 1, &distance, &sigma);
        r->outer = LSEARCH_OUTER * r->radius + LSEARCH_SIGMAS * sigma;
        s->bound = r->outer;
    }
    if (distance <= r->outer) {
        pv__topk_add(&s->pool, distance, node);
        s->bound = PV_MIN(r->outer, pv__topk_bound(&s->pool));
        s->kept_at = s->scanned;
    }
    return 0;
}

int pv__lists_within(pv__graph *g, pv__walker *w, const void *vector, float radius,
                     const pv__effort *effort, uint32_t want, const pv__allowed *a, pv__hit *hits,
                     uint32_t *out_count, bool *out_complete, pv_error *err) {
    pv__lists_rank rank;
    lsearch_within r = {.scan = {.rank = &rank, .take = lsearch_take_within, .allowed = a},
                        .radius = radius,
                        .outer = INFINITY};
    lsearch_scan *const s = &r.scan;
    const pv__effort believed = lsearch_believed(effort);
    const uint32_t lists = effort->lists == 0 ? g->meta.lists.count : effort->lists;
    const float asks_most = a && a->ask ? a->words_ns / PV__ASK_NS : INFINITY;
    PV_TRY(lsearch_begin(g, w, vector, want, s, err));
    s->pool = (pv__topk){w->pool, 0, want};
    *out_complete = true;
    while (!s->done && (s->scanned < lists || s->chain.at != 0 || s->chain.then != 0 ||
                        s->scanned - s->kept_at < lists / LSEARCH_IDLE + 1)) {
        if ((float)s->asked > asks_most) {
            *out_complete = false;
            return 0;
        }
        PV_TRY(lsearch_step(g, w, s, UINT32_MAX, err));
    }
    pv__topk_sort(&s->pool);
    return pv__search_end(g, w, vector, &believed, want, a, s->pool.count, hits, out_count, err);
}

/* ---- cursor ---------------------------------------------------------------------------------- */

static int lsearch_take_found(lsearch_scan *s, pv__walker *w, float distance, uint32_t node,
                              pv_error *err) {
    return pv__queue_push(s->found, w->mem, (pv__hit){distance, node}, err);
}

int pv__lists_cursor_begin(pv__graph *g, pv__walker *w, const void *vector, pv__graph_cursor *c,
                           pv_error *err) {
    lsearch_scan s = {.rank = &c->rank};
    return lsearch_begin(g, w, vector, 1, &s, err);
}

/* A page is handed out from as many lists as a search for all rows so far would scan. */
int pv__lists_cursor_fill(pv__graph *g, pv__walker *w, pv__graph_cursor *c,
                          const pv__effort *effort, pv_error *err) {
    const uint32_t lists = effort->lists == 0 ? g->meta.lists.count : effort->lists;
    lsearch_scan s = {.rank = &c->rank,
                      .take = lsearch_take_found,
                      .found = &c->found,
                      .bound = INFINITY,
                      .scanned = c->followed};
    while (!s.done && (c->found.count + c->early.count == 0 || s.scanned < lists)) {
        const uint32_t before = s.scanned;
        if (s.rows == 0 || s.scanned % LSEARCH_CURSOR_PAUSE == 0) {
            PV_TRY(pv__walker_pause(w, g->txn, err));
            PV_TRY(pv__lists_view(g, w, err));
        }
        do { /* whole lists: what is under way is not kept from page to page */
            PV_TRY(lsearch_step(g, w, &s, before + 1, err));
        } while (s.chain.at != 0 || s.chain.then != 0);
    }
    c->followed = s.scanned;
    return 0;
}

#undef LSEARCH_BLOCKS
#undef LSEARCH_STEP_MAX
#undef LSEARCH_PART
#undef LSEARCH_SIGMAS
#undef LSEARCH_OUTER
#undef LSEARCH_IDLE
#undef LSEARCH_CURSOR_PAUSE
#undef LSEARCH_TRACE_LISTS
#undef LSEARCH_LEAST_NS
