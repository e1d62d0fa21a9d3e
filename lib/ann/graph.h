/* SPDX-License-Identifier: Apache-2.0 */
/* graph.h - a navigable graph over the vectors of one collection: approximate nearest neighbours
 * in pages, so that commit, rollback, snapshots and recovery need no line of code here.
 *
 *      slot --node_of--> node ----+--- links   31 neighbours at most, 128 bytes
 *        ^                  |     |--- code    what the walk compares (quant/code.h)
 *        |                  |     '--- fine    what the graph is built by, where that is too coarse
 *        '------slot_of-----'
 *                  '-- dups: the other slots with an equal vector (tree)
 *
 *      level 2    o-----------o             a sample of a 32nd of the level below, by node number
 *      level 1    o--o--o--o--o--o          128 bytes a row too, addressed by rank
 *      level 0    all nodes
 *
 * Nodes have numbers of their own. A record that goes away gives its slot back at once; its node
 * stays as a tombstone that is walked through but never returned, until a sweep has taken it out
 * of all lists. A record whose vector changes keeps its slot and gets another node. Equal vectors
 * share one node.
 *
 * Distances in here are estimates from codes (quant/code.h); whoever searches ranks the candidates
 * again by the vectors themselves. Slots that have no node yet (above `built`) are for the caller
 * to scan.
 *
 * Threads: as the transaction; a pv__graph may be searched by several threads at once, each with a
 * walker of its own, while nobody writes or pauses. A change that fails half-way dooms its
 * transaction. */
#ifndef PV_ANN_GRAPH_H
#define PV_ANN_GRAPH_H

#include "base/heap.h"
#include "quant/bound.h"
#include "vector/vector.h"

#define PV__GRAPH_DEGREE 31u /* links of a node at level 0 */
#define PV__GRAPH_LEVELS 6u  /* above level 0 */
#define PV__GRAPH_EF_MAX 16384u
#define PV__GRAPH_THREADS 16u /* at most, in one build */

typedef struct pv__graph_level {
    uint64_t root;  /* column of its rows; 0: none yet */
    uint32_t high;  /* ranks ever used */
    uint32_t free;  /* head of the list of free ranks + 1, 0: empty */
    uint32_t count; /* rows in use */
    uint32_t entry; /* rank where searches begin + 1 */
} pv__graph_level;

/* How hard a walk tries. */
typedef struct pv__effort {
    uint32_t pool; /* candidates kept */
    uint32_t k;    /* wanted of them in the end */
    /* What is farther than this times the k-th nearest so far is neither kept nor followed (on
     * squared distances): a distance-adaptive stop, Al-Jazzazi et al. 2025. +inf: no such stop. */
    float stop;
    uint32_t lists; /* of lists: so many are scanned; 0: all */
    uint32_t taken; /* so many of what is found are taken whatever their bounds are */
} pv__effort;

/* Which effort gives which recall (calibrate.c). */
#define PV__CURVES 3u        /* k = 1, 10, 100 */
#define PV__CURVE_POINTS 16u /* efforts */
#define PV__CURVE_SAMPLES 160u
typedef struct pv__graph_curve {
    uint32_t nodes;                                /* when it was measured; 0: never */
    uint32_t samples;                              /* of the next one, in sums */
    uint32_t removed;                              /* of the graph, when it was measured */
    uint32_t first_nodes;                          /* nodes when `first` was measured; 0: never */
    uint16_t first;                                /* recall that later ones are compared with */
    uint16_t recall[PV__CURVES][PV__CURVE_POINTS]; /* in units of 1/60000 */
    uint32_t sums[PV__CURVES][PV__CURVE_POINTS];
} pv__graph_curve;

/* What a code has learned from data (quant/code.h): bytes in rows of the column of books. */
#define PV__GRAPH_BOOKS 3u /* the mean; two of product codes, by epoch */
typedef struct pv__graph_book {
    uint64_t hash; /* of the bytes; 0: there is none */
    uint32_t row;  /* the first that it takes */
    uint32_t bytes;
} pv__graph_book;

/* Why this code and no other (choose.c). Codes that are measured: sq8, q4, b1, f16, f32. */
#define PV__CHOICES 5u
#define PV__CHOOSE_ROWS_MIN 1024u /* fewer say nothing */
typedef struct pv__graph_choice {
    bool automatic;  /* nobody asked for a code */
    uint32_t wanted; /* PV__CODE_; another than the graph has: it should be built again */
    uint32_t rows;   /* records when it was measured; 0: never */
    uint16_t recall[PV__CHOICES]; /* in units of 1/60000 */
    uint32_t ns[PV__CHOICES];     /* estimate of one search; 0: not looked at */
} pv__graph_choice;

/* How nodes are found. */
enum {
    PV__SHAPE_LINKS = 0, /* a graph: from node to node */
    PV__SHAPE_LISTS = 1, /* lists of the nodes that are nearest to a centre (lists.h) */
    PV__SHAPE_PLAIN = 2  /* not at all: there are only codes (plain.c) */
};

/* Of lists. */
typedef struct pv__graph_lists {
    uint32_t groups; /* of lists; 0: nothing has been learned */
    uint32_t count;
    uint32_t rows; /* records when they were learned */
} pv__graph_lists;

/* What the graph's page holds. */
typedef struct pv__graph_meta {
    uint32_t code; /* PV__CODE_PACK */
    uint32_t ef_construction;
    uint32_t node_high;  /* nodes ever used: all are below it */
    uint32_t node_free;  /* head of the list of free nodes + 1, 0: empty */
    uint32_t node_count; /* with at least one slot */
    uint32_t tomb_count; /* without, still linked */
    uint32_t dup_count;  /* slots that share a node with another slot */
    uint32_t root;       /* node of the tree of protected links + 1, 0: the graph is empty */
    uint32_t zero;       /* cosine, dot: the node of all zero vectors + 1 */
    uint32_t built;      /* slots below it have a node when they are live */
    uint32_t level_count;
    uint32_t sweep_phase; /* 0: no sweep is under way (sweep.c) */
    uint32_t sweep_at;    /* next unit of the phase */
    uint32_t sweep_mark;  /* 0 or 1: tombstones made now get this mark */
    uint32_t removed;     /* nodes that died since the graph began */
    float norm2_max; /* dot: four times the squared length of the longest of the first vectors */
    bool by_product; /* links are to what has the largest product */
    uint64_t seed;
    uint64_t links_root, codes_root, slot_of_root, node_of_root, dups_root;
    pv__graph_level levels[PV__GRAPH_LEVELS];
    pv__graph_curve curve;
    bool centred; /* codes are about a mean, the first book */
    uint64_t fines_root, books_root;
    pv__graph_book books[PV__GRAPH_BOOKS];
    /* Product codes (coarse.c). */
    bool coded;             /* every live node has a code */
    bool recoding;          /* those from recode_at on may have one of the older book */
    uint32_t epoch;         /* of the newest book */
    uint32_t recode_at;     /* next node */
    uint32_t learned_nodes; /* live nodes when the newest book was learned; 0: there is none */
    float learned_lost;     /* what it lost of its sample, squared */
    float lost;             /* what it loses of new vectors, the last thousand or so */
    pv__graph_choice choice;
    uint32_t shape; /* PV__SHAPE_ */
    pv__graph_lists lists;
} pv__graph_meta;

struct pv__shape;

typedef struct pv__graph {
    pv__txn *txn;
    const struct pv__shape *shape; /* what it does in its own way (shape.h) */
    uint64_t page;
    uint32_t owner;
    uint32_t type, metric, dims, cpu;
    bool built;            /* the columns below are open: something has been inserted */
    bool changed;          /* meta is to be saved */
    _Atomic bool data_bad; /* a vector could not be read: not the graph is what is damaged */
    unsigned threads;      /* for building; 0: one. Set after open */
    const pv__column *vectors;
    uint32_t slots; /* slots of `vectors` are below; set after open */
    pv__graph_meta meta;
    /* What searches walk by, and what the graph is built and candidates are ranked by: the same,
     * unless the first is too coarse for that (split). */
    pv__code code, fine;
    bool split;
    pv__code centre; /* of lists: of what centres are compared with */
    /* Of lists, `links` has the blocks and upper[0] the centres. */
    pv__column links, codes, fines, slot_of, node_of, books, upper[PV__GRAPH_LEVELS];
    pv__tree dups;
} pv__graph;

/* What the vectors are that it is of. */
typedef struct pv__graph_space {
    uint32_t type;   /* PV_TYPE_ */
    uint32_t metric; /* PV_METRIC_ */
    uint32_t dims;
} pv__graph_space;

/* Object ids that a graph takes from `owner` on. */
#define PV__GRAPH_OWNERS (5u + PV__GRAPH_LEVELS)

/* meta.c */
/* What it shall be. */
typedef struct pv__graph_spec {
    uint32_t shape; /* PV__SHAPE_ */
    uint32_t code;  /* PV__CODE_PACK, or PV__CODE_AUTO */
    uint32_t ef_construction;
} pv__graph_spec;
/* An empty one: one page. before: with PV__CODE_AUTO, the one whose place it will take, which
 * has chosen; NULL: none. */
PV_PRIVATE int pv__graph_create(pv__txn *txn, uint32_t owner, const pv__graph_spec *spec,
                                const pv__graph *before, uint64_t *out_page, pv_error *err);
/* vectors: the column it indexes, which outlives the handle. */
PV_PRIVATE int pv__graph_open(pv__graph *g, pv__txn *txn, uint64_t page, uint32_t owner,
                              const pv__column *vectors, const pv__graph_space *space, uint32_t cpu,
                              pv_error *err);
/* Hand g, which has changed nothing, to another transaction that sees the same graph. */
PV_PRIVATE void pv__graph_move(pv__graph *g, pv__txn *txn);
PV_PRIVATE int pv__graph_save(pv__graph *g, pv_error *err); /* after changes, before others read */
/* drop.c: all pages; pauses. */
PV_PRIVATE int pv__graph_drop(pv__graph *g, pv_error *err);
/* The same, at most about so many pages a call. `page` is the graph's; *io_at, 0 at first, is kept
 * by the caller from call to call. */
PV_PRIVATE int pv__graph_drop_some(pv__txn *txn, uint64_t page, uint32_t owner,
                                   const pv__graph_space *space, uint64_t *io_at, uint32_t pages,
                                   bool *out_done, pv_error *err);

/* walker.c: memory of one search or build at a time. Kept by the caller between calls, so that a
 * search allocates nothing. */
typedef struct pv__walker pv__walker;
PV_PRIVATE int pv__walker_new(pv__mem *mem, pv__walker **out, pv_error *err);
PV_PRIVATE void pv__walker_free(pv__walker *w); /* NULL is fine */

/* The walker's own array of `want` hits, until it is asked again. NULL: no memory. */
PV_PRIVATE pv__hit *pv__walker_hits(pv__walker *w, size_t want, pv_error *err);
/* Pause. After every other pause too, before a walk goes on: a walker holds pointers into pages. */
PV_PRIVATE int pv__walker_pause(pv__walker *w, pv__txn *txn, pv_error *err);

/* Candidates whose vectors decide which k are the nearest: so many are worth reading. */
static inline uint32_t pv__graph_want(uint32_t k) { return k + PV_MAX(k / 2, 10u); }

/* search.c: at most `want` candidates nearest to `vector`, which has the elements of the space, by
 * code, ascending; effort->pool is at
 * least want. hits: the caller's array of want; their slots are slots, all of them live. Fewer than
 * want may come although there are more: *out_complete says whether the walk ended by itself
 * (false: it was cut, and a scan should answer). Does not pause. */
PV_PRIVATE int pv__graph_search(pv__graph *g, pv__walker *w, const void *vector,
                                const pv__effort *effort, uint32_t want, pv__hit *hits,
                                uint32_t *out_count, bool *out_complete, pv_error *err);

/* Which slots may be answers. Either bit s of the words, for slots below `slots`; or nobody has
 * looked at all of them, and `ask` says it of n slots, at most PV__ASK_MANY, which costs far less
 * than asking n times. It may be asked about a slot again. */
#define PV__ASK_MANY 16u
typedef struct pv__allowed {
    const uint64_t *words;
    uint32_t slots;
    uint32_t count; /* bits that are set; without words: about so many */
    int (*ask)(void *ctx, const uint32_t *slots, size_t n, bool *out, pv_error *err); /* or NULL */
    void *ctx;
    float words_ns;       /* without words: what it would take to make them, about; else 0 */
#define PV__ASK_NS 800.0f /* what it takes to ask */
} pv__allowed;

/* Ways to the nearest of the slots that are allowed. */
typedef enum pv__plan {
    PV__PLAN_AUTO,    /* the cheapest, by what they are estimated to cost */
    PV__PLAN_CODES,   /* compare the codes of all that are allowed */
    PV__PLAN_LISTS,   /* scan lists, and keep what is allowed: the only other way of lists */
    PV__PLAN_ONE_HOP, /* walk as always, and keep what is allowed */
    PV__PLAN_TWO_HOP, /* walk from allowed to allowed, looking behind what is not (roam.c) */
    PV__PLANS
} pv__plan;

/* allowed.c: the same among allowed slots. *io_plan: how, and for PV__PLAN_AUTO how it was done.
 * With words the answer has at least min(k, allowed slots that have a node) hits, whatever the
 * plan, and is complete; without them a walk that finds fewer than k, or takes too long, is not,
 * and words should be made. Does not pause. */
PV_PRIVATE int pv__graph_search_allowed(pv__graph *g, pv__walker *w, const void *vector,
                                        const pv__effort *effort, uint32_t want,
                                        const pv__allowed *allowed, pv__plan *io_plan,
                                        pv__hit *hits, uint32_t *out_count, bool *out_complete,
                                        pv_error *err);

/* range.c: slots within `radius`, in the scale of codes (quant/code.h), at most `want` and then the
 * nearest; and some of those that only the error of the codes makes look as if they were outside.
 * effort: its stop says how much farther the walk looks, so that there must be one: not with dot.
 * allowed: as above, or NULL. Not complete: comparing with all is cheaper (allowed->ask: or having
 * words). Does not pause. */
PV_PRIVATE int pv__graph_within(pv__graph *g, pv__walker *w, const void *vector, float radius,
                                const pv__effort *effort, uint32_t want, const pv__allowed *allowed,
                                pv__hit *hits, uint32_t *out_count, bool *out_complete,
                                pv_error *err);

/* Lists in the order of their centres' distances from a query. They come in groups, and groups are
 * looked into as long as their lists may be among the next (lists_rank.c). */
#define PV__GROUPS_MAX 256u
typedef struct pv__lists_rank {
    pv__hit groups[PV__GROUPS_MAX]; /* ascending */
    uint32_t opened;                /* of them: their lists stand in the front of the walker */
    uint32_t known, taken;          /* lists that stood there, that were taken out */
} pv__lists_rank;

/* cursor.c: a search without an end. The walker is its own from begin to done, the graph the one of
 * a transaction that changes nothing. */
typedef struct pv__graph_cursor {
    pv__queue found, early; /* nodes not handed out yet; handed out before they were settled */
    uint32_t followed;
    uint64_t taken;      /* rows; counted by the caller, in `take` */
    uint64_t settled;    /* of them, those whose nodes are */
    pv__lists_rank rank; /* of lists: which come next */
} pv__graph_cursor;
typedef int (*pv__graph_take_fn)(void *ctx, uint32_t slot, pv_error *err);
PV_PRIVATE int pv__graph_cursor_begin(pv__graph *g, pv__walker *w, const void *vector,
                                      pv__graph_cursor *c, pv_error *err);
/* Settle the nearest node of those left: go on until the walk will hardly meet a nearer one. Unless
 * that was done before, its slots are told to `take`. effort: of a search for as many rows as are
 * settled. *out_distance: by code; +inf when there are no more. Pauses. */
PV_PRIVATE int pv__graph_cursor_settle(pv__graph *g, pv__walker *w, pv__graph_cursor *c,
                                       const pv__effort *effort, pv__graph_take_fn take, void *ctx,
                                       float *out_distance, pv_error *err);
/* Hand out the nearest node that was found, without going on. *out_any: there was one. */
PV_PRIVATE int pv__graph_cursor_early(pv__graph *g, pv__walker *w, pv__graph_cursor *c,
                                      pv__graph_take_fn take, void *ctx, bool *out_any,
                                      pv_error *err);
/* w: NULL, or the walker, which may then be used for other things. */
PV_PRIVATE void pv__graph_cursor_done(pv__graph_cursor *c, pv__walker *w, pv__mem *mem);

/* sift.c: nodes that can be among the nearest, found by bounds of codes that always hold
 * (quant/bound.h), so that whoever measures their vectors has the nearest of all. Of several
 * queries at once; every page of codes is read once for all of them. */
#define PV__SIFT_QUERIES 64u
typedef struct pv__sift_query {
    pv__bound bound;
    pv__topk high;   /* what the k nearest are at most away, as far as is known */
    pv__queue maybe; /* nodes that may be nearer than that; distance: they are at least */
    size_t keep;     /* when there are more, those that cannot be any more go */
} pv__sift_query;
typedef struct pv__sift {
    pv__graph *g;
    pv__walker *w; /* its own */
    const pv__allowed *allowed;
    float max_distance;
    size_t k, query_count;
    pv__sift_query *queries;
    pv__hit *highs;
    uint8_t *prepared; /* queries, 64-byte aligned */
    size_t prepared_bytes;
    uint64_t pairs, passed;
    uint32_t held, count; /* rows collected, of `held` at once */
    const uint8_t **rows;
    uint32_t *nodes;
} pv__sift;
/* Has it codes of which bounds are known? */
PV_PRIVATE bool pv__sift_can(const pv__graph *g);
/* allowed: which slots may be answers, NULL: all. *out_known false: of one of these queries nothing
 * is known. Done with pv__sift_done also when it fails. */
PV_PRIVATE int pv__sift_begin(pv__sift *s, pv__graph *g, pv__walker *w, const void *const *vectors,
                              size_t count, size_t k, float max_distance,
                              const pv__allowed *allowed, bool *out_known, pv_error *err);
PV_PRIVATE void pv__sift_done(pv__sift *s);
PV_PRIVATE uint32_t pv__sift_pages_count(const pv__graph *g); /* pages of codes */
/* Pages [from, end). Does not pause, and can be gone on with after pv__walker_pause. *out_pays
 * false: so much passes that measuring all is cheaper. */
PV_PRIVATE int pv__sift_pages(pv__sift *s, uint32_t from, uint32_t end, bool *out_pays,
                              pv_error *err);
/* Take over what another one of the same queries has found in other pages. */
PV_PRIVATE int pv__sift_merge(pv__sift *s, const pv__sift *other, pv_error *err);
/* The nearest maybe of a query, which is taken out: its first slot; false: there are none whose
 * distance can be up to `bound`. */
PV_PRIVATE int pv__sift_next(pv__sift *s, size_t query, float bound, pv__hit *out_node,
                             uint32_t *out_slot, bool *out_any, pv_error *err);
/* Tell `take` its slots that are allowed. */
PV_PRIVATE int pv__sift_slots(pv__sift *s, uint32_t node, pv__graph_take_fn take, void *ctx,
                              pv_error *err);

/* The distance of a hit, in the scale of pv.h. */
PV_PRIVATE float pv__graph_distance(const pv__graph *g, float code_distance);
/* For each hit of the last search with w: a distance, in the scale of pv.h, that the exact one is
 * hardly below (two deviations of the code's error). Ascending. -inf where effort.taken says that
 * nobody asks. */
PV_PRIVATE const float *pv__graph_lower(const pv__walker *w);

/* The vectors of up to 32 slots that pv__graph_search has just found with w; memory is asked for
 * all of them. */
PV_PRIVATE int pv__graph_vectors(pv__graph *g, pv__walker *w, const pv__hit *hits, size_t n,
                                 const uint8_t **out_rows, pv_error *err);

/* The first n of them will probably be wanted: what is not in memory is read together. */
PV_PRIVATE int pv__graph_vectors_ahead(pv__graph *g, pv__walker *w, const pv__hit *hits, size_t n,
                                       pv_error *err);

/* insert.c: give nodes to `count` slots whose vectors are in the column. Slots have none yet and
 * are different. Pauses. interrupt (may be NULL): asked between batches; non-zero ends the call
 * with that code, and the transaction is doomed. */
typedef int (*pv__graph_interrupt_fn)(void *ctx, pv_error *err);
PV_PRIVATE int pv__graph_insert(pv__graph *g, pv__walker *w, const uint32_t *slots, size_t count,
                                pv__graph_interrupt_fn interrupt, void *ctx, pv_error *err);

/* Before the first insert, where that will be of few slots: the code, where it is chosen by itself,
 * and what codes learn from data and where lists lie, from these of `all` records. Nothing when the
 * graph has begun. */
#define PV__GRAPH_LEARN 4096u /* codes do not look at more */
/* So many are worth reading of `all`. */
PV_PRIVATE uint32_t pv__graph_learn_rows(const pv__graph *g, uint64_t all);
PV_PRIVATE int pv__graph_learn(pv__graph *g, const uint32_t *slots, size_t count, uint64_t all,
                               pv__graph_interrupt_fn interrupt, void *ctx, pv_error *err);

/* choose.c: has the graph grown so much that its code should be looked at again? */
PV_PRIVATE bool pv__graph_choose_due(const pv__graph *g);
/* Measure; what it says is in the graph's page. Pauses. */
PV_PRIVATE int pv__graph_choose(pv__graph *g, pv_error *err);
/* Why the graph has its code, in words. */
PV_PRIVATE void pv__graph_choice_text(const pv__graph *g, char *out, size_t size);

/* nodes.c: the record of `slot` goes or gets another vector; nothing when it has no node. O(1). */
PV_PRIVATE int pv__graph_remove(pv__graph *g, uint32_t slot, pv_error *err);
/* sweep.c: go on with what keeps the graph in shape, by about `nodes` nodes. Pauses. */
PV_PRIVATE int pv__graph_upkeep(pv__graph *g, pv__walker *w, uint32_t nodes, pv_error *err);
/* How much upkeep a change of `rows` rows should pay for; 0: none is due. */
PV_PRIVATE uint32_t pv__graph_upkeep_due(const pv__graph *g, size_t rows);

/* Is it so much worse, or so much larger, than a new graph of the same vectors would be, that it
 * should be built again? */
PV_PRIVATE bool pv__graph_rebuild_due(const pv__graph *g);

/* calibrate.c */
PV_PRIVATE bool pv__graph_calibrate_due(const pv__graph *g);
/* Take up to so many samples while it is due. Pauses. */
PV_PRIVATE int pv__graph_calibrate(pv__graph *g, pv__walker *w, uint32_t samples, pv_error *err);
/* Can nodes be found by a walk? */
PV_PRIVATE bool pv__graph_walks(const pv__graph *g);
/* The effort that finds the share `target` of the k nearest, in 0 to 1. */
PV_PRIVATE pv__effort pv__graph_effort(const pv__graph *g, uint32_t k, float target);
/* The effort of a given ef: about what a pool of that size finds without a stop, with less work;
 * growing with ef without end. */
PV_PRIVATE pv__effort pv__graph_effort_ef(const pv__graph *g, uint32_t k, uint32_t ef);
/* How far beyond the k nearest a walk has to look when they are those of a share of all: as far as
 * for k / share of all, of which less lies there the more they are (calibrate.c). */
typedef struct pv__fewer {
    float power;
    float least; /* share below which nothing was measured */
    float miss;  /* part of the nearest that such a walk misses; 0: nothing was measured */
} pv__fewer;
PV_PRIVATE void pv__graph_fewer_init(const pv__graph *g, const pv__effort *effort, pv__fewer *out);
/* The effort where the share is about this; want: as in searches. */
PV_PRIVATE pv__effort pv__graph_fewer(const pv__fewer *f, const pv__effort *effort, float share,
                                      uint32_t want);

/* check.c: structure, identities, reachability; codes against vectors when deep. */
PV_PRIVATE int pv__graph_check(pv__graph *g, const pv__slots *slots, bool deep, pv__check_fn fn,
                               void *ctx, uint64_t *io_bad, pv_error *err);

#endif
