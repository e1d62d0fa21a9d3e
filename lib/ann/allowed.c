/* SPDX-License-Identifier: Apache-2.0 */
/* allowed.c - the nearest of some slots: which way is the cheapest, and that way.
 *
 *      codes      compare the codes of all that are allowed; finds all there are
 *      one hop    the usual walk; where a share s is allowed it has to see k / s nodes for k
 *      two hops   a walk over the allowed ones alone (roam.c); needs that they hang together
 *
 * A walk that ends with fewer than k, or that has followed so much that comparing codes would have
 * been cheaper, is given up for codes. */
#include <math.h>

#include "ann/internal.h"

/* ---- codes ----------------------------------------------------------------------------------- */

#define ALLOWED_BLOCK 16u /* rows whose codes are asked for at once */

/* Nodes whose codes were asked for. */
typedef struct allowed_block {
    uint32_t ids[PV__WALK_ROWS];
    const uint8_t *rows[PV__WALK_ROWS];
    size_t n;
} allowed_block;

static void allowed_compare(pv__walker *w, const allowed_block *b, pv__topk *top) {
    pv__code_distances_expected(&w->code, w->query, b->rows, b->n, w->distances);
    float bound = pv__topk_bound(top);
    for (size_t i = 0; i < b->n; i++) {
        if (w->distances[i] <= bound) {
            pv__topk_add(top, w->distances[i], b->ids[i]);
            bound = pv__topk_bound(top);
        }
    }
}

/* Bits of a bitmap, a word at a time. */
typedef struct allowed_scan {
    const uint64_t *words;
    uint32_t end; /* of slots */
    uint32_t word;
    uint64_t bits; /* of it, that were not taken yet */
} allowed_scan;

static uint64_t allowed_word(const allowed_scan *s, uint32_t word) {
    const uint32_t left = s->end - word * 64;
    return s->words[word] & (left < 64 ? (UINT64_C(1) << left) - 1 : UINT64_MAX);
}

static bool allowed_next(allowed_scan *s, uint32_t *out_slot) {
    const uint32_t count = s->end / 64 + (s->end % 64 != 0);
    const uint64_t *const w = s->words;
    while (s->bits == 0) {
        uint32_t word = PV_MIN(s->word + 1, count);
        while (word + 4 < count && (w[word] | w[word + 1] | w[word + 2] | w[word + 3]) == 0) {
            word += 4;
        }
        s->word = word;
        if (word == count) {
            return false;
        }
        s->bits = allowed_word(s, word);
    }
    *out_slot = s->word * 64 + (uint32_t)__builtin_ctzll(s->bits);
    s->bits &= s->bits - 1;
    return true;
}

/* The next nodes that are allowed and were not visited, into a block until it is full. */
static int allowed_gather(pv__graph *g, pv__walker *w, allowed_scan *s, allowed_block *b,
                          pv_error *err) {
    const bool shared = g->meta.dup_count > 0; /* several slots may lead to one node */
    uint32_t slot;
    b->n = 0;
    pv__walker_room(w);
    while (b->n < ALLOWED_BLOCK && allowed_next(s, &slot)) {
        const uint8_t *row;
        PV_TRY(pv__colview_row(&w->node_of, slot, &row, err));
        const uint32_t node = pv__get32(row) - 1;
        if (PV_UNLIKELY(node == PV__NODE_NONE)) { /* a dead slot */
            continue;
        }
        if (PV_UNLIKELY(node >= g->meta.node_high)) {
            return pv__graph_corrupt(g, node, "a slot leads beyond the last node", err);
        }
        if (!shared || pv__walker_visit(w, node)) {
            b->ids[b->n++] = node;
        }
    }
    return pv__colview_rows(&w->codes, b->ids, b->n, b->rows, err);
}

/* While the codes of one block come from memory, those of the one before are compared. */
int pv__allowed_codes(pv__graph *g, pv__walker *w, const pv__allowed *a, size_t most,
                      size_t *out_count, pv_error *err) {
    const uint32_t slots = PV_MIN(g->slots, g->meta.built);
    allowed_scan scan = {.words = a->words, .end = PV_MIN(a->slots, slots)};
    pv__topk top = {w->pool, 0, most};
    allowed_block blocks[2];
    unsigned turn = 0;
    PV_TRY(pv__colview_open(&w->node_of, &g->node_of, PV_MAX(slots, 1u), &w->sights, w->mem, err));
    scan.bits = scan.end > 0 ? allowed_word(&scan, 0) : 0;
    blocks[1].n = 0;
    do {
        PV_TRY(allowed_gather(g, w, &scan, &blocks[turn], err));
        turn ^= 1u;
        allowed_compare(w, &blocks[turn], &top);
    } while (blocks[turn ^ 1u].n > 0);
    pv__topk_sort(&top);
    *out_count = top.count;
    return 0;
}

/* ---- what it costs --------------------------------------------------------------------------- */

/* Nanoseconds, measured with bench_filter on sets of 100,000 rows; what matters is how they stand
 * to each other. Rows that lie apart cost more than rows that lie side by side. */
#define ALLOWED_DENSE_NS 6.0f
#define ALLOWED_DENSE_BYTE_NS 0.035f
#define ALLOWED_APART_NS 9.0f
#define ALLOWED_APART_BYTE_NS 0.035f
#define ALLOWED_DENSE 0.1f       /* share from which rows lie side by side */
#define ALLOWED_ENTER_NS 2000.0f /* from the top to where level 0 begins */
#define ALLOWED_HOP_NS 100.0f    /* a node is followed: its links, */
#define ALLOWED_HOP_BYTE_NS 0.8f /* and rows that were not seen before, for each byte of a row */
#define ALLOWED_STOP 0.08f       /* stop - 1 of the walks that hops were counted with, and the */
#define ALLOWED_STOP_POWER 1.5f  /* power that they go with */
#define ALLOWED_LOOK_NS 30.0f    /* a look behind a neighbour that does not count */
#define ALLOWED_LOOKS 32.0f      /* that many find what a step of two hops wants, by share, */
#define ALLOWED_LOOKS_MAX 961.0f /* but there are no more */
#define ALLOWED_TWO_SHARE 0.03f  /* below it the allowed ones hang together no more */
#define ALLOWED_FIRST 2u         /* nodes followed before the first decision, */
#define ALLOWED_PROBE 4u         /* and between two; before so many one, */
#define ALLOWED_PROBE_PART 8u    /* later a part of those that were followed */
#define ALLOWED_RISES 4.0f       /* times the share of all where the walk is: they go together, */
#define ALLOWED_ARRIVES 8u       /* as long as no more nodes were followed */
#define ALLOWED_NEAR 8.0f        /* weight of a node that was followed */
#define ALLOWED_PATIENCE 8.0f    /* part of what codes cost that a walk may always take */
#define ALLOWED_SETTLED 14.0f    /* part of it after which what it meets says what it will meet */
#define ALLOWED_LATE 0.25f       /* of it that may be left when a walk has taken all of it */
#define ALLOWED_CALM 0.15f       /* of what may be missed, pv__roam.calm; by measuring */
#define ALLOWED_CALM_LEAST 3u    /* times k */

static float allowed_row_ns(const pv__graph *g, float share) {
    const float bytes = (float)g->code.row_size;
    const float dense = ALLOWED_DENSE_NS + ALLOWED_DENSE_BYTE_NS * bytes;
    const float apart = ALLOWED_APART_NS + ALLOWED_APART_BYTE_NS * bytes;
    return dense + (apart - dense) * PV_MAX(1 - share / ALLOWED_DENSE, 0.0f);
}

static float allowed_hop_ns(const pv__graph *g) {
    return ALLOWED_HOP_NS + ALLOWED_HOP_BYTE_NS * (float)g->code.row_size;
}

/* How many nodes a walk of one hop has to follow where `share` of them is allowed. */
static float allowed_hops(const pv__effort *e, float share) {
    const float stop = PV_MIN(e->stop - 1, 1.0f) / ALLOWED_STOP;
    const float beyond = e->stop < INFINITY ? powf(PV_MAX(stop, 0.0f), ALLOWED_STOP_POWER) : 1;
    return 15 + (float)e->k / share * (1.3f + 2 * beyond * sqrtf(share));
}

static float allowed_two_hops_ns(const pv__graph *g, const pv__effort *e, float share) {
    if (share < ALLOWED_TWO_SHARE) {
        return INFINITY;
    }
    const float looks = PV_MIN(ALLOWED_LOOKS / share, ALLOWED_LOOKS_MAX);
    return (10 + 4 * (float)e->k) * (allowed_hop_ns(g) + looks * ALLOWED_LOOK_NS);
}

/* ---- choice ---------------------------------------------------------------------------------- */

/* When a walk had followed so many nodes, it had met so many within its stop, followed or not. */
typedef struct allowed_mark {
    float followed, met;
} allowed_mark;

typedef struct allowed_search {
    const pv__allowed *a;
    pv__effort whole; /* where all are allowed */
    float share;      /* of all nodes */
    pv__fewer fewer;  /* what becomes of that among a share */
    float codes_ns;   /* what the sure way costs */
    bool chooses;
    pv__roam roam;
    allowed_mark marks[2]; /* the last but one and the last; each at twice the nodes of the other */
} allowed_search;

/* The share that is allowed where the walk is: of what it has met, above all of what it followed,
 * which is the nearest. The whole stands in where nothing has been met yet. */
static float allowed_local_share(const allowed_search *s) {
    const pv__roam *r = &s->roam;
    const float passed = (float)r->passed + ALLOWED_NEAR * (float)r->followed_passed;
    const float met = (float)r->looked + ALLOWED_NEAR * (float)r->followed;
    return (passed + 2 * s->share) / (met + 2);
}

static float allowed_one_ns(const pv__graph *g, const allowed_search *s) {
    const pv__roam *r = &s->roam;
    const float asked = s->a->ask ? PV__ASK_NS * (float)r->looked : 0;
    return allowed_hop_ns(g) + asked / PV_MAX((float)r->followed, 1.0f);
}

static float allowed_spent_ns(const pv__graph *g, const allowed_search *s) {
    return ALLOWED_ENTER_NS + (float)s->roam.followed * allowed_one_ns(g, s);
}

/* Has a walk taken less than a part of what codes cost? */
static bool allowed_is_early(const pv__graph *g, const allowed_search *s, float part) {
    return allowed_spent_ns(g, s) * part < s->codes_ns;
}

/* Early, two deviations more than what was met: what speaks against it may be chance. */
static float allowed_likely_share(const pv__graph *g, const allowed_search *s) {
    const pv__roam *r = &s->roam;
    const float share = allowed_local_share(s), passed = (float)r->passed;
    const float likely = (passed + 2 * sqrtf(passed + 1)) / ((float)r->looked + 1);
    return allowed_is_early(g, s, ALLOWED_PATIENCE) ? PV_MIN(PV_MAX(share, likely), 1.0f) : share;
}

/* Of those that it met on the way here more are allowed than of all: nearer, still more will be. */
static bool allowed_rises(const allowed_search *s) {
    return s->roam.followed < ALLOWED_ARRIVES &&
           allowed_local_share(s) > ALLOWED_RISES * s->share;
}

/* What a walk has met within its stop grows by about as much each time that it has followed twice
 * as many, and it ends when it has followed all of that: so many more. `seen`: of them it sees. */
static float allowed_ahead(allowed_search *s, float seen) {
    const float followed = (float)s->roam.followed, met = followed + seen;
    const bool twice = followed >= 2 * s->marks[1].followed;
    const allowed_mark then = s->marks[twice ? 1 : 0];
    if (twice) {
        s->marks[0] = s->marks[1];
        s->marks[1] = (allowed_mark){followed, met};
    }
    if (then.followed == 0) {
        return seen;
    }
    const float growth = PV_MAX(met - then.met, 0.0f) / log2f(followed / then.followed);
    return seen + growth * log2f(met / followed);
}

/* How many nodes a walk of one hop has still to follow. Before there are k only the share says
 * something. Then it is what the walk sees, and when it has settled, what it will see; no more than
 * by the share as long as that says something. Of dot it does not: queries are often no rows' like,
 * and walks to them longer than by any share. */
static float allowed_left(const pv__graph *g, const pv__walker *w, allowed_search *s,
                          const pv__effort *effort, size_t count, float by_share) {
    const pv__roam *r = &s->roam;
    if (count < effort->k || effort->stop == INFINITY) {
        return PV_MAX(by_share, 1.0f);
    }
    const float bound = pv__walk_bound(w, effort, w->pool, count);
    const bool early = allowed_is_early(g, s, ALLOWED_SETTLED);
    uint32_t seen = 0;
    for (size_t i = 0; i < w->front.count; i++) {
        seen += w->front.hits[i].distance <= bound ? 1u : 0u;
    }
    const float ahead = allowed_ahead(s, (float)seen);
    float left = early ? (float)seen : ahead;
    if (by_share > 0 && (early || g->metric != PV_METRIC_DOT)) {
        left = PV_MIN(left, by_share);
    }
    if (r->calm > 0 && r->followed_passed > 0) { /* one more may come */
        const float calm = 2 * pv__roam_calm(r) - (float)(r->followed_passed - r->nearer);
        left = PV_MIN(left, calm * (float)r->followed / (float)r->followed_passed);
    }
    return left;
}

/* Go on as before, with two hops, or not at all? */
static bool allowed_goes_on(const pv__graph *g, const pv__walker *w, allowed_search *s,
                            const pv__effort *effort, size_t count) {
    const float share = allowed_likely_share(g, s), followed = (float)s->roam.followed;
    const float by_share = allowed_hops(&s->whole, share) - followed;
    const float hop_ns = allowed_one_ns(g, s);
    if (allowed_rises(s)) {
        return true;
    }
    if (s->a->ask && allowed_is_early(g, s, ALLOWED_PATIENCE)) {
        return true; /* reading all is so slow that it should see the nearest first */
    }
    const float two_ns = allowed_two_hops_ns(g, &s->whole, share);
    if (!s->a->ask && two_ns < PV_MAX(by_share, 1.0f) * hop_ns) {
        s->roam.two_hops = true; /* what the front holds is as good for it */
    }
    const float one_ns = allowed_left(g, w, s, effort, count, by_share) * hop_ns;
    const bool late = allowed_spent_ns(g, s) > s->codes_ns;
    return (s->roam.two_hops ? two_ns : one_ns) < s->codes_ns * (late ? ALLOWED_LATE : 1);
}

static int allowed_walk(pv__graph *g, pv__walker *w, allowed_search *s, uint32_t want,
                        size_t *io_count, bool *out_given_up, pv_error *err) {
    const size_t seeds = *io_count;
    bool cut = true;
    *io_count = 0;
    *out_given_up = false;
    PV_TRY(pv__roam_begin(g, w, &s->roam, seeds, err));
    while (cut && !*out_given_up) {
        const pv__effort effort =
            pv__graph_fewer(&s->fewer, &s->whole, allowed_local_share(s), want);
        const uint32_t before = s->roam.followed, part = before / ALLOWED_PROBE_PART;
        const uint32_t probe = before == 0              ? ALLOWED_FIRST
                               : before < ALLOWED_PROBE ? 1
                                                        : PV_MAX(part, ALLOWED_PROBE);
        PV_TRY(pv__roam_nearest(g, w, &s->roam, &effort, before + probe, io_count, &cut,
                                err));
        *out_given_up = cut && s->chooses && !allowed_goes_on(g, w, s, &effort, *io_count);
    }
    return 0;
}

float pv__allowed_dense_ns(const pv__graph *g) { return allowed_row_ns(g, 1); }

float pv__allowed_codes_ns(const pv__graph *g, const pv__allowed *a, float *out_share) {
    const uint32_t nodes = PV_MAX(g->meta.node_count + g->meta.dup_count, 1u);
    *out_share = PV_MIN((float)PV_MAX(a->count, 1u) / (float)nodes, 1.0f);
    return a->words_ns + (float)a->count * allowed_row_ns(g, *out_share);
}

bool pv__allowed_codes_first(const pv__allowed *a, float codes_ns, float other_ns, uint32_t want) {
    return codes_ns < other_ns || (!a->ask && a->count <= want);
}

/* The query is prepared. */
static int allowed_codes_end(pv__graph *g, pv__walker *w, const void *vector,
                             const pv__effort *effort, uint32_t want, const pv__allowed *a,
                             pv__hit *hits, uint32_t *out_count, pv_error *err) {
    size_t count = 0;
    PV_TRY(pv__allowed_codes(g, w, a, w->coarse ? effort->pool : want, &count, err));
    return pv__search_end(g, w, vector, effort, want, a, count, hits, out_count, err);
}

int pv__allowed_by_codes(pv__graph *g, pv__walker *w, const void *vector, const pv__effort *effort,
                         uint32_t want, const pv__allowed *a, pv__hit *hits, uint32_t *out_count,
                         pv_error *err) {
    PV_TRY(pv__walker_begin(w, g, effort->pool, err));
    pv__code_query(&w->code, vector, w->query);
    pv__walk_lift(g, w, vector);
    return allowed_codes_end(g, w, vector, effort, want, a, hits, out_count, err);
}

int pv__links_search_allowed(pv__graph *g, pv__walker *w, const void *vector,
                             const pv__effort *effort, uint32_t want, const pv__allowed *a,
                             pv__plan *io_plan, pv__hit *hits, uint32_t *out_count,
                             bool *out_complete, pv_error *err) {
    const uint32_t nodes = g->meta.node_count + g->meta.dup_count;
    allowed_search s = {.a = a, .whole = *effort, .chooses = *io_plan == PV__PLAN_AUTO};
    size_t count = 0;
    bool given_up = false;
    s.codes_ns = pv__allowed_codes_ns(g, a, &s.share);
    /* No walk takes less than one in which all are allowed. */
    const float walk_ns = ALLOWED_ENTER_NS + allowed_hops(effort, 1) * allowed_hop_ns(g);
    if (*io_plan == PV__PLAN_CODES ||
        (s.chooses && pv__allowed_codes_first(a, s.codes_ns, walk_ns, want))) {
        *out_complete = !a->ask;
        *io_plan = PV__PLAN_CODES;
        return a->ask ? 0
                      : pv__allowed_by_codes(g, w, vector, effort, want, a, hits, out_count, err);
    }
    pv__graph_fewer_init(g, effort, &s.fewer);
    s.roam =
        (pv__roam){.allowed = a, .two_hops = *io_plan == PV__PLAN_TWO_HOP, .enough = effort->k};
    /* Queries of dot are often no rows' like: there long gaps end, and recall fell by 0.07. */
    if (s.fewer.miss > 0 && !g->split && g->metric != PV_METRIC_DOT) {
        s.roam.calm = ALLOWED_CALM / (s.fewer.miss * (float)effort->k);
        s.roam.calm_least = ALLOWED_CALM_LEAST * effort->k;
    }
    PV_TRY(pv__search_begin(g, w, vector, effort->pool, &count, err));
    PV_TRY(allowed_walk(g, w, &s, want, &count, &given_up, err));
    if (!given_up) {
        *io_plan = s.roam.two_hops ? PV__PLAN_TWO_HOP : PV__PLAN_ONE_HOP;
        PV_TRY(pv__search_end(g, w, vector, effort, want, a, count, hits, out_count, err));
        given_up = *out_count < PV_MIN(effort->k, a->ask ? nodes : a->count);
    }
    if (given_up && a->ask) {
        *out_complete = false;
    } else if (given_up) {
        *io_plan = PV__PLAN_CODES;
        pv__walker_clear(w); /* what the walk has seen */
        return allowed_codes_end(g, w, vector, effort, want, a, hits, out_count, err);
    }
    return 0;
}

#undef ALLOWED_BLOCK
#undef ALLOWED_DENSE_NS
#undef ALLOWED_DENSE_BYTE_NS
#undef ALLOWED_APART_NS
#undef ALLOWED_APART_BYTE_NS
#undef ALLOWED_DENSE
#undef ALLOWED_ENTER_NS
#undef ALLOWED_HOP_NS
#undef ALLOWED_HOP_BYTE_NS
#undef ALLOWED_STOP
#undef ALLOWED_STOP_POWER
#undef ALLOWED_LOOK_NS
#undef ALLOWED_LOOKS
#undef ALLOWED_LOOKS_MAX
#undef ALLOWED_TWO_SHARE
#undef ALLOWED_PROBE
#undef ALLOWED_FIRST
#undef ALLOWED_RISES
#undef ALLOWED_ARRIVES
#undef ALLOWED_NEAR
#undef ALLOWED_PATIENCE
#undef ALLOWED_SETTLED
#undef ALLOWED_LATE
#undef ALLOWED_PROBE_PART
#undef ALLOWED_CALM
#undef ALLOWED_CALM_LEAST
