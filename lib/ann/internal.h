/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - rows of the graph's columns and the memory of a walk; for the files of this folder.
 *
 *   links, 32 words of 4 bytes                 upper rows, the same size
 *     0        count | state | protected         0      count | used
 *     1..31    node, bit 31: protected           1      node
 *                                                2      rank of the same node one level below
 *                                                3      next free rank + 1, when not in use
 *                                                4..31  14 pairs of node and rank
 *
 * Invariants
 *   G1  Every node but the root has exactly one protected link to it, and these links make a tree:
 *       so every node can be reached from the root. A node has at most PROTECTED_MAX of them.
 *   G2  A protected link is never pruned away.
 *   G3  A node is in one of the states below; slot_of[node] is its first slot when it is a NODE,
 *       and node_of[slot] is the node + 1 of every slot that has one.
 *   G4  Links lead to nodes in use (NODE or TOMB); no new link leads to a tombstone.
 *   G5  What a batch writes depends on the rows and their order, not on threads or on time. */
#ifndef PV_ANN_INTERNAL_H
#define PV_ANN_INTERNAL_H

#include "ann/graph.h"
#include "base/checksum.h"
#include "kernel/element.h"
#include "vector/colview.h"

/* ---- rows ------------------------------------------------------------------------------------ */

#define PV__LINKS_BYTES 128u
#define PV__LINKS_KEEP 26u /* a full list is pruned to so many */
#define PV__PROTECTED 0x80000000u
#define PV__PROTECTED_MAX 8u
#define PV__NODE_NONE UINT32_MAX
#define PV__GRAPH_SLACK 1.1f /* of robust pruning, on squared distances */

enum { PV__NODE_FREE = 0, PV__NODE_LIVE = 1, PV__NODE_TOMB0 = 2, PV__NODE_TOMB1 = 3 };

static inline unsigned pv__links_count(const uint8_t *row) { return pv__get32(row) & 31u; }
static inline unsigned pv__links_state(const uint8_t *row) { return pv__get32(row) >> 8 & 3u; }
static inline unsigned pv__links_protected(const uint8_t *row) {
    return pv__get32(row) >> 16 & 31u;
}
static inline uint32_t pv__links_at(const uint8_t *row, unsigned i) {
    return pv__get32(row + 4 + 4 * (size_t)i);
}
static inline void pv__links_set(uint8_t *row, unsigned i, uint32_t link) {
    pv__put32(row + 4 + 4 * (size_t)i, link);
}
static inline void pv__links_head_set(uint8_t *row, unsigned count, unsigned state,
                                      unsigned protected_count) {
    pv__put32(row, count | state << 8 | protected_count << 16);
}
static inline bool pv__state_is_tomb(unsigned state) { return state >= PV__NODE_TOMB0; }

#define PV__UPPER_DEGREE 14u
#define PV__UPPER_KEEP 12u
#define PV__UPPER_USED 0x100u
#define PV__UPPER_SHIFT 5u /* a level has a 32nd of the nodes of the one below */

static inline unsigned pv__upper_count(const uint8_t *row) { return pv__get32(row) & 15u; }
static inline bool pv__upper_used(const uint8_t *row) { return pv__get32(row) & PV__UPPER_USED; }
static inline uint32_t pv__upper_node(const uint8_t *row) { return pv__get32(row + 4); }
static inline uint32_t pv__upper_down(const uint8_t *row) { return pv__get32(row + 8); }
static inline uint32_t pv__upper_next(const uint8_t *row) { return pv__get32(row + 12); }
static inline uint32_t pv__upper_link(const uint8_t *row, unsigned i) {
    return pv__get32(row + 16 + 8 * (size_t)i);
}
static inline uint32_t pv__upper_rank(const uint8_t *row, unsigned i) {
    return pv__get32(row + 20 + 8 * (size_t)i);
}
static inline void pv__upper_set(uint8_t *row, unsigned i, uint32_t node, uint32_t rank) {
    pv__put32(row + 16 + 8 * (size_t)i, node);
    pv__put32(row + 20 + 8 * (size_t)i, rank);
}

/* Word of slot_of: the first slot, and whether the dups tree has more. Tombstones have NONE. */
#define PV__SLOT_MORE 0x80000000u
#define PV__SLOT_NONE UINT32_MAX

/* Levels above 0 that a node is in. */
static inline uint32_t pv__graph_level_of(const pv__graph *g, uint32_t node) {
    uint64_t bits = pv__mix64(g->meta.seed ^ ((uint64_t)node + 1) * UINT64_C(0x9E3779B97F4A7C15));
    uint32_t level = 0;
    while (level < PV__GRAPH_LEVELS && (bits & ((1u << PV__UPPER_SHIFT) - 1u)) == 0) {
        bits >>= PV__UPPER_SHIFT;
        level++;
    }
    return level;
}

/* Do distances have a ratio, so that a walk can stop by one? Those of dot in a graph: lifted. */
static inline bool pv__graph_has_ratio(const pv__graph *g) {
    return pv__metric_of(g->metric)->scale != PV__SCALE_NONE || g->meta.by_product;
}

/* Is there one node for all vectors of zeros? No distance brings them near each other. */
static inline bool pv__graph_joins_zeros(const pv__graph *g) {
    return g->metric == PV_METRIC_COSINE || g->metric == PV_METRIC_DOT;
}

/* Of an earlier version, which chose links of dot by the distance after augmentation (code.h):
 * queries that are no rows, or lengths that differ, found a third of their neighbours. */
static inline bool pv__graph_is_outdated(const pv__graph *g) {
    return g->metric == PV_METRIC_DOT && g->built && g->meta.shape == PV__SHAPE_LINKS &&
           !g->meta.by_product;
}

/* dot: the square of the longest of the first vectors; codes are made for twice the length. */
static inline float pv__graph_reach2(const pv__graph *g) { return g->meta.norm2_max / 4; }

PV_PRIVATE int pv__graph_corrupt(const pv__graph *g, uint32_t node, const char *what,
                                 pv_error *err);

/* meta.c */
/* Open, but for the columns. */
PV_PRIVATE int pv__graph_open_meta(pv__graph *g, pv__txn *txn, uint64_t page, uint32_t owner,
                                   const pv__graph_space *space, uint32_t cpu, pv_error *err);
/* Columns by number. Root 0: there is none. */
#define PV__GRAPH_COLUMNS (6u + PV__GRAPH_LEVELS)
PV_PRIVATE uint64_t pv__graph_column_root(const pv__graph *g, uint32_t i);
PV_PRIVATE int pv__graph_column_open(const pv__graph *g, uint32_t i, pv__column *out,
                                     pv_error *err);
PV_PRIVATE int pv__graph_begin(pv__graph *g, pv_error *err); /* make the columns of level 0 */
/* The fewest slots of a page, at least slots_min, that hold rows_min rows and waste little; 0: as
 * pv__column_layout says. */
PV_PRIVATE uint32_t pv__graph_code_slots(uint32_t row_size, uint32_t slots_min, uint32_t rows_min);
/* The codes again, when what they depend on has changed. */
PV_PRIVATE int pv__graph_code_init(pv__graph *g, pv_error *err);
PV_PRIVATE int pv__graph_level_begin(pv__graph *g, uint32_t level, pv_error *err);
PV_PRIVATE int pv__graph_word_get(const pv__column *c, uint32_t at, uint32_t *out, pv_error *err);
PV_PRIVATE int pv__graph_word_set(const pv__column *c, uint32_t at, uint32_t v, pv_error *err);

/* ---- memory of a walk ------------------------------------------------------------------------ */

#define PV__WALK_ROWS 32u        /* at least PV__GRAPH_DEGREE */
#define PV__EXPANDED 0x80000000u /* in a pool: its links have been followed */
#define PV__ROAM_KEPT 96u        /* at least WALK_ROWS */

struct pv__walker {
    pv__mem *mem;
    uint64_t *visited; /* a bit for each node; all 0 between walks */
    size_t visited_words;
    uint32_t skip;   /* a node that walks pass by as if it were not there, or NODE_NONE */
    uint32_t *marks; /* words of `visited` that are not 0 */
    size_t mark_count, mark_cap;
    bool marks_lost; /* there were too many: clear all */
    pv__hit *pool;   /* ascending; slot: node, and the bit above */
    size_t pool_cap;
    /* roaming (roam.c) */
    pv__queue front;             /* what may still be followed */
    pv__hit kept[PV__ROAM_KEPT]; /* of the last step */
    size_t kept_count;
    pv__hit *hits; /* pv__walker_hits */
    size_t hit_cap;
    uint8_t *query; /* prepared; 64-byte aligned */
    size_t query_bytes;
    uint8_t *pair;       /* a second one, for pruning */
    bool coarse;         /* what is found is to be measured again by the fine code */
    float doubt;         /* then: how far the code may be wrong, beyond every stop; else 0 */
    float lift;          /* dot: that of pv__walk_stop; else 0 */
    pv__code code, fine; /* of this walk, with their books; fine: in searches of a split graph */
    /* What is remembered of where rows lie goes from search to search. */
    pv__sights sights;
    pv__colview links, codes, slot_of, vectors;
    pv__colview second, *fines; /* fines: of a coarse walk, second, else codes */
    pv__colview upper[PV__GRAPH_LEVELS];
    pv__stash fine_stash, vector_stash, link_stash;
    struct {
        uint64_t hash; /* as in the graph's page; 0: empty */
        uint8_t *data; /* 64-byte aligned */
        size_t size;
    } books[PV__GRAPH_BOOKS]; /* the last ones that were wanted */
    float *lower;             /* of the pool, `bounds` of them, and behind those of the hits */
    size_t lower_cap, bounds;
    pv__colview node_of; /* where slots are gone through (allowed.c) */
    const uint8_t *rows[PV__WALK_ROWS];
    uint32_t ids[PV__WALK_ROWS];
    float distances[PV__WALK_ROWS];
    /* upper levels: what has been seen, in the order seen */
    uint32_t *seen_ranks;
    size_t seen_cap;
    struct pv__walker *helpers[PV__GRAPH_THREADS - 1]; /* of the threads that build with it */
};

/* walker.c: ready for walks with pools of up to `ef` in the graph as it is now. The views are
 * fresh. */
PV_PRIVATE int pv__walker_begin(pv__walker *w, const pv__graph *g, size_t ef, pv_error *err);
/* The same for walks by the code that the graph is built by. */
PV_PRIVATE int pv__walker_begin_build(pv__walker *w, const pv__graph *g, size_t ef, pv_error *err);
/* The same for walks between which no page is changed. */
PV_PRIVATE int pv__walker_begin_plan(pv__walker *w, const pv__graph *g, size_t ef, pv_error *err);
PV_PRIVATE void pv__walker_clear(pv__walker *w); /* visited */
/* w->upper[level] for a walk there: until the next change of its column, or the next pause. */
PV_PRIVATE int pv__walker_upper(pv__walker *w, const pv__graph *g, uint32_t level, pv_error *err);
/* Another one for a thread that helps; freed with w. */
PV_PRIVATE int pv__walker_helper(pv__walker *w, unsigned index, pv__walker **out, pv_error *err);

/* Before up to WALK_ROWS visits. */
static inline void pv__walker_room(pv__walker *w) {
    if (PV_UNLIKELY(w->mark_count + PV__WALK_ROWS > w->mark_cap)) {
        w->mark_count = 0;
        w->marks_lost = true;
    }
}
/* 1 when it was not there yet, else 0. There is room. */
static inline uint32_t pv__walker_visit(pv__walker *w, uint32_t node) {
    const uint64_t word = w->visited[node / 64], bit = word >> (node % 64) & 1u;
    w->marks[w->mark_count] = node / 64;
    w->mark_count += word == 0;
    w->visited[node / 64] = word | UINT64_C(1) << (node % 64);
    return (uint32_t)(bit ^ 1u);
}

static inline bool pv__walker_seen(const pv__walker *w, uint32_t node) {
    return w->visited[node / 64] >> (node % 64) & 1u;
}

/* Put a hit into a sorted pool of at most `cap`; the last one falls out. Returns its place. */
static inline size_t pv__pool_insert(pv__hit *pool, size_t *io_count, size_t cap, float distance,
                                     uint32_t node) {
    size_t low = 0;
    for (size_t n = *io_count; n > 0;) { /* binary search without branches */
        const size_t half = (n + 1) / 2;
        const pv__hit *h = &pool[low + half - 1];
        const unsigned before = (h->distance < distance) |
                                ((h->distance == distance) & ((h->slot & ~PV__EXPANDED) < node));
        low += before ? half : 0;
        n -= half;
    }
    if (low >= cap) {
        return cap;
    }
    const size_t count = PV_MIN(*io_count, cap - 1);
    memmove(&pool[low + 1], &pool[low], (count - low) * sizeof *pool);
    pool[low] = (pv__hit){distance, node};
    *io_count = count + 1;
    return low;
}

/* walk.c. The query is prepared in w->query. Seeds are the nodes of w->pool[0 .. *io_count), all
 * visited; on return it holds the pool of level 0. */
PV_PRIVATE int pv__walk_level0(pv__graph *g, pv__walker *w, const pv__effort *effort,
                               size_t *io_count, pv_error *err);
/* The same among tombstones: the pool has only nodes that live. */
PV_PRIVATE int pv__walk_level0_live(pv__graph *g, pv__walker *w, const pv__effort *effort,
                                    size_t *io_count, pv_error *err);
/* `stop` times a distance. dot: distances are lifted by the length of the query times that of the
 * longest vectors, so that hardly one is below 0 and a ratio means what it does for cosine. */
PV_PRIVATE float pv__walk_stop(const pv__walker *w, float stop, float distance);

/* After the query has been prepared from `vector`. */
PV_PRIVATE void pv__walk_lift(const pv__graph *g, pv__walker *w, const void *vector);
/* Beyond this a candidate is not worth following. */
PV_PRIVATE float pv__walk_bound(const pv__walker *w, const pv__effort *e, const pv__hit *pool,
                                size_t count);
/* Distances of the neighbours of `node` that were not visited yet, in w->ids and w->distances. */
PV_PRIVATE int pv__walk_expand(pv__graph *g, pv__walker *w, uint32_t node, size_t *out_n,
                               pv_error *err);
PV_PRIVATE void pv__walk_prefetch_links(pv__walker *w, uint32_t node);
/* From the top down to `level` (at least 1): the nearest `beam` rows of it, as nodes in w->pool
 * and ranks in w->seen_ranks[pool index]. *out_count 0 when there is no such level. Leaves
 * `visited` clear. */
PV_PRIVATE int pv__walk_upper(pv__graph *g, pv__walker *w, uint32_t level, size_t beam,
                              size_t *out_count, pv_error *err);
/* Begin a walk of level 0: the best of level 1 and the root, visited and with distances. */
PV_PRIVATE int pv__walk_enter(pv__graph *g, pv__walker *w, size_t *out_count, pv_error *err);

/* roam.c: walks in which not every node counts, or that end by something else than a pool, or go on
 * later. What may still be followed is a heap, w->front; what counts is told step by step. */
typedef struct pv__roam {
    const pv__allowed *allowed;         /* NULL: every node that has a slot counts */
    bool two_hops;                      /* follow only what counts, and look behind what does not */
    uint32_t followed, followed_passed; /* nodes; of them, how many count */
    pv__hit last;                       /* the one that was followed last */
    bool last_counts;
    uint32_t looked, passed; /* nodes that were asked whether they count; that do */
    uint32_t enough;         /* slots; 0: nodes are what is wanted */
    bool has_enough;         /* one node had so many that are allowed: */
    float enough_within;     /* the nearest of those */
    /* Calm: of the nodes that count, so many were followed since one came among the k nearest that
     * what is left will hardly bring one. Then it ends, whatever the stop. calm 0: never. */
    float calm;          /* part of all that were followed, */
    uint32_t calm_least; /* and so many more */
    uint32_t nearer;     /* followed_passed when one came */
} pv__roam;
/* Seeds are w->pool[0 .. count), visited. Those that count stand in w->kept. */
PV_PRIVATE int pv__roam_begin(pv__graph *g, pv__walker *w, pv__roam *r, size_t count,
                              pv_error *err);
/* Follow the nearest of the front, which is not empty. What is farther than `bound` is forgotten;
 * of the rest, what counts stands in w->kept. */
PV_PRIVATE int pv__roam_step(pv__graph *g, pv__walker *w, pv__roam *r, float bound, pv_error *err);
/* Go on, after begin, until the pool of `effort` is settled; *out_cut when followed_max nodes were
 * followed before: call again to go on. w->pool holds *io_count nodes that count, at first 0. */
PV_PRIVATE int pv__roam_nearest(pv__graph *g, pv__walker *w, pv__roam *r, const pv__effort *effort,
                                uint32_t followed_max, size_t *io_count, bool *out_cut,
                                pv_error *err);
/* How many that count have to be followed after the last that came among the k nearest. */
static inline float pv__roam_calm(const pv__roam *r) {
    return r->calm * (float)r->followed_passed + (float)r->calm_least;
}
static inline bool pv__allowed_bit(const pv__allowed *a, uint32_t slot) {
    return slot < a->slots && (a->words[slot / 64] >> (slot % 64) & 1u);
}
/* The first slot from `from` on that is allowed; `end`: none below it is. */
static inline uint32_t pv__allowed_next(const pv__allowed *a, uint32_t from, uint32_t end) {
    for (uint32_t word = from / 64; word * 64 < end; word++, from = word * 64) {
        const uint64_t bits = a->words[word] >> (from % 64) << (from % 64);
        if (bits != 0) {
            return PV_MIN(word * 64 + (uint32_t)__builtin_ctzll(bits), end);
        }
    }
    return end;
}
PV_PRIVATE int pv__allowed_test(const pv__allowed *a, uint32_t slot, bool *out, pv_error *err);

/* allowed.c: compare all that are allowed; the nearest `most` nodes come to stand in w->pool, which
 * has room for them. The query is prepared, `visited` is clear. */
PV_PRIVATE int pv__allowed_codes(pv__graph *g, pv__walker *w, const pv__allowed *a, size_t most,
                                 size_t *out_count, pv_error *err);

/* What comparing them takes, in ns, and what share of all they are. */
PV_PRIVATE float pv__allowed_codes_ns(const pv__graph *g, const pv__allowed *a, float *out_share);
/* That of one row where all are compared. */
PV_PRIVATE float pv__allowed_dense_ns(const pv__graph *g);
/* Is that so little that nothing else need be tried? other_ns: what others take at least. */
PV_PRIVATE bool pv__allowed_codes_first(const pv__allowed *a, float codes_ns, float other_ns,
                                        uint32_t want);
/* A search by it from begin to end. */
PV_PRIVATE int pv__allowed_by_codes(pv__graph *g, pv__walker *w, const void *vector,
                                    const pv__effort *effort, uint32_t want, const pv__allowed *a,
                                    pv__hit *hits, uint32_t *out_count, pv_error *err);

/* Searches of graphs, behind the table (shape.h). */
PV_PRIVATE int pv__links_search(pv__graph *g, pv__walker *w, const void *vector,
                                const pv__effort *effort, uint32_t want, pv__hit *hits,
                                uint32_t *out_count, bool *out_complete, pv_error *err);
PV_PRIVATE int pv__links_search_allowed(pv__graph *g, pv__walker *w, const void *vector,
                                        const pv__effort *effort, uint32_t want,
                                        const pv__allowed *a, pv__plan *io_plan, pv__hit *hits,
                                        uint32_t *out_count, bool *out_complete, pv_error *err);
PV_PRIVATE int pv__links_within(pv__graph *g, pv__walker *w, const void *vector, float radius,
                                const pv__effort *effort, uint32_t want, const pv__allowed *a,
                                pv__hit *hits, uint32_t *out_count, bool *out_complete,
                                pv_error *err);
PV_PRIVATE int pv__links_cursor_begin(pv__graph *g, pv__walker *w, const void *vector,
                                      pv__graph_cursor *c, pv_error *err);
PV_PRIVATE int pv__links_cursor_fill(pv__graph *g, pv__walker *w, pv__graph_cursor *c,
                                     const pv__effort *effort, pv_error *err);

/* search.c. Ready for a walk of level 0 from w->pool[0 .. *out_count): views, query, entry. */
PV_PRIVATE int pv__search_begin(pv__graph *g, pv__walker *w, const void *vector, size_t pool,
                                size_t *out_count, pv_error *err);
/* The nodes of w->pool, ascending, as allowed slots: measured again where the code is coarse, with
 * their bounds (pv__graph_lower), at most `want`. Leaves w->front empty. */
PV_PRIVATE int pv__search_end(pv__graph *g, pv__walker *w, const void *vector,
                              const pv__effort *effort, uint32_t want, const pv__allowed *allowed,
                              size_t count, pv__hit *hits, uint32_t *out_count, pv_error *err);
/* trace.c. What efforts would find of a query, found by one walk. The caller's; all 0 at first. */
#define PV__TRACE_HITS 160u
typedef struct pv__trace {
    pv__effort efforts[PV__CURVES][PV__CURVE_POINTS]; /* each at least the one before */
    pv__hit hits[PV__TRACE_HITS];                     /* by code, ascending */
    uint32_t count;
    uint8_t first[PV__CURVES][PV__TRACE_HITS]; /* the least effort that finds it; POINTS: none */
    /* While it walks: nodes as they are met; how many each effort meets, and what it believes that
     * it has found of them. */
    uint32_t *found, found_count;
    uint32_t ends[PV__CURVES][PV__CURVE_POINTS];
    float bounds[PV__CURVES][PV__CURVE_POINTS];
    pv__hit *met;
    size_t found_cap, met_cap;
} pv__trace;
/* Another node is met; *out: its place. */
PV_PRIVATE int pv__trace_found(pv__trace *t, pv__walker *w, uint32_t node, uint32_t *out,
                               pv_error *err);
/* What comes among so many is worth going on for. */
PV_PRIVATE uint32_t pv__trace_nearest(const pv__walker *w);
/* Slots of w->pool[0 .. count), ascending, are places: of whom, and who finds them. */
PV_PRIVATE int pv__trace_end(pv__graph *g, pv__walker *w, const void *vector, size_t count,
                             pv__trace *t, pv_error *err);
PV_PRIVATE int pv__links_trace(pv__graph *g, pv__walker *w, const void *vector, pv__trace *t,
                               pv_error *err);
PV_PRIVATE void pv__trace_done(pv__trace *t, pv__mem *mem);

/* Tell `take` each slot of a node that has several, but for its first one; until it says 1. */
PV_PRIVATE int pv__search_each_dup(pv__graph *g, uint32_t node, pv__graph_take_fn take, void *ctx,
                                   pv_error *err);
/* Does a node live, and how many of its slots, up to `most`, are allowed? Of many that are equal
 * only about the first `look` are looked at. allowed NULL: all are, and one is enough. */
PV_PRIVATE int pv__search_counts(pv__graph *g, pv__walker *w, const pv__allowed *allowed,
                                 uint32_t node, uint32_t most, uint32_t look, bool *out_lives,
                                 uint32_t *out, pv_error *err);

/* prune.c: of `n` candidates, sorted by distance from one place, keep at most `max` of which none
 * hides another. keep[] marks those to be kept whatever hides them (may be NULL). Kept ones come
 * to the front of `candidates`, in order (with keep[] moved along). Rows are their codes. */
typedef struct pv__candidate {
    float distance;
    uint32_t node, rank;
    bool keep, hidden;
    const uint8_t *row;
} pv__candidate;
/* Distances from w->query, rows, sorted. No two candidates are the same node. */
PV_PRIVATE int pv__candidates_measure(pv__graph *g, pv__walker *w, pv__candidate *c, size_t n,
                                      pv_error *err);
/* The same of rows that are known, by any code. */
PV_PRIVATE void pv__candidates_rank(const pv__code *code, const void *query, pv__candidate *c,
                                    size_t n);
/* The same from another query, by a code whose rows are in `codes`. */
PV_PRIVATE int pv__candidates_measure_by(pv__graph *g, pv__colview *codes, const pv__code *code,
                                         const void *query, pv__candidate *c, size_t n,
                                         pv_error *err);
PV_PRIVATE size_t pv__prune(const pv__code *code, void *pair, pv__candidate *candidates, size_t n,
                            size_t max, float slack);

/* book.c: what codes have learned, in pages and in memory. */
#define PV__BOOK_ROW_BYTES (PV__SLOT_SIZE - PV__PAGE_HEAD) /* a page each */
/* Learn from the vectors of the first of these slots, unless there is nothing to learn or it has
 * been done. The columns are there. */
PV_PRIVATE int pv__book_learn(pv__graph *g, const uint32_t *slots, size_t count, pv_error *err);
/* Write a book; its row and bytes are set. */
PV_PRIVATE int pv__book_write(pv__graph *g, pv__graph_book *book, const uint8_t *bytes,
                              pv_error *err);
/* choose.c: with code `auto`, set g->meta.choice by these of `all` slots; nothing when they are too
 * few. */
PV_PRIVATE int pv__choose(pv__graph *g, const uint32_t *slots, size_t count, uint64_t all,
                          pv__graph_interrupt_fn interrupt, void *ctx, pv_error *err);
/* coarse.c: learn a book of product codes when it is time, and go on coding nodes; paid for by
 * a change of `rows` rows. Pauses. */
PV_PRIVATE int pv__coarse_upkeep(pv__graph *g, pv__walker *w, size_t rows,
                                 const pv__code_stop *stop, pv_error *err);

/* The books of g in w, and in the codes of w. */
PV_PRIVATE int pv__book_load(pv__walker *w, const pv__graph *g, pv_error *err);

/* upper.c */
PV_PRIVATE int pv__upper_insert(pv__graph *g, pv__walker *w, uint32_t node, pv_error *err);

#endif
