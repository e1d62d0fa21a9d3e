/* SPDX-License-Identifier: Apache-2.0 */
/* choose.c - the code of a graph that was asked for `auto`.
 *
 *      rows of the collection --> some are queries; all are encoded by each code, compared with
 *      every query, and thrown away
 *           recall   of the 10 nearest by vectors, how many are among the 20 nearest by code
 *           ball     what a walk has to follow so that the code's error hides none of them
 *           ranked   full vectors that the bound makes it read
 *      cost of a search = ball x rows a node x time of a row + ranked x time of a vector
 *
 * No clock is asked: times are constants, measured once with bench_kernel_code and bench_filter, so
 * that the choice, which stands in the graph's page, follows from the data, their number and the
 * size of the cache alone. Distances to rows are codes of f32 (quant/code.h): the same everywhere.
 *
 * A sample is thinner than the collection: its neighbours are farther than the real ones, and the
 * same error of a code would look smaller than it is. Where neighbours lie m-dimensionally, those
 * among N rows instead of n are nearer by (n / N)^(1 / m); so errors are taken larger by that (l2
 * and cosine, on squared distances; dot has no such scale).
 *
 * It does not flap: where there is a graph, another code has to be a good deal cheaper, or the
 * present one useless; where there is none, this is asked of a longer one alone. It is looked at
 * again when there are four times as many nodes, and before a rebuild; what then becomes of it is a
 * new graph beside the old one. */
#include <math.h>
#include <stdio.h>

#include "ann/shape.h"
#include "base/sort.h"

#define CHOOSE_ROWS 4096u
#define CHOOSE_QUERIES 32u
#define CHOOSE_TRAIN 512u
#define CHOOSE_BLOCK 32u
#define CHOOSE_K 10u
#define CHOOSE_AGAIN 4u          /* times as many nodes */
#define CHOOSE_BYTES (64u << 20) /* of all work space */
#define CHOOSE_ALIGN 64u
#define CHOOSE_ONE 60000u    /* recall 1 in the page */
#define CHOOSE_RECALL 0.99f  /* less than that is no code to walk by */
#define CHOOSE_SHARE 0.95f   /* of the true ones that the ball has to hold */
#define CHOOSE_STOP 1.05f    /* that a walk needs without any error, for the default recall */
#define CHOOSE_BETTER 0.75f  /* of the cost of what is there: worth memory, or a new graph */
#define CHOOSE_SHORTER 0.9f  /* the same of a shorter code before there is a graph: prices err */
#define CHOOSE_NEAR_LID 100u /* neighbours that tell the dimension */
#define CHOOSE_NEARER 4.0f   /* no more than that is made of a thin sample */
#define CHOOSE_B1_TIMES 4u   /* 1 bit: when 4 bits and links are so many times the cache */
#define CHOOSE_B1_DIMS 128u
#define CHOOSE_Q4_DIMS 32u
#define CHOOSE_F32_DIMS 16u

/* Nanoseconds: searches of 100,000 rows of 128, 384 and 768 dimensions by both codes, time over
 * rows compared; docs/bench.md ("Codes") and allowed.c. */
#define CHOOSE_SEARCH_NS 8000.0f /* whatever the code: the query, upper levels, ids */
#define CHOOSE_ROW_NS 27.0f
#define CHOOSE_ROW_BYTE_NS 0.06f
#define CHOOSE_VECTOR_NS 40.0f
#define CHOOSE_VECTOR_BYTE_NS 0.08f
#define CHOOSE_PAGE_NS 80000.0f /* a page that is not in the cache */
#define CHOOSE_HOP_ROWS 17.0f   /* rows compared for each node that is followed */
#define CHOOSE_HOPS 15.0f       /* until a walk is near */
#define CHOOSE_CACHE 0.8f       /* of the cache: the rest is needed by others */

/* The order in which they are preferred when all is equal. */
static const uint32_t choose_kinds[PV__CHOICES] = {PV__CODE_SQ8, PV__CODE_Q4, PV__CODE_B1,
                                                   PV__CODE_F16, PV__CODE_F32};

typedef struct choose_code {
    pv__code code;
    bool measured;
    uint8_t *queries; /* CHOOSE_QUERIES of them */
    float *distances; /* queries x rows; of f32 the truth */
    float recall, ball, ranked, refined;
} choose_code;

typedef struct choose_job {
    pv__graph *g;
    const uint32_t *slots; /* one of `step` */
    size_t step, rows, queries, train;
    uint64_t all; /* rows of the collection */
    choose_code of[PV__CHOICES];
    choose_code *truth;
    uint8_t *memory;
    size_t bytes, used;
    uint8_t *vectors; /* a block of them, as stored */
    float *sample;    /* train x dims */
    uint8_t *book, *scratch, *codes;
    uint32_t own[CHOOSE_QUERIES]; /* rows that are queries */
    pv__graph_interrupt_fn interrupt;
    void *ctx;
} choose_job;

/* ---- work space ------------------------------------------------------------------------------ */

static void *choose_take(choose_job *j, size_t bytes) {
    uint8_t *at = j->memory ? j->memory + j->used : NULL;
    j->used += PV_ALIGN_UP(bytes, (size_t)CHOOSE_ALIGN);
    return at;
}

/* Called twice: to count, and to hand out. */
static void choose_places(choose_job *j) {
    const size_t vector = j->g->vectors->row_size;
    size_t scratch = 0, row = 0, book = 0;
    j->used = 0;
    j->vectors = choose_take(j, CHOOSE_BLOCK * vector);
    j->sample = choose_take(j, j->train * j->g->dims * sizeof(float));
    for (unsigned i = 0; i < PV__CHOICES; i++) {
        choose_code *c = &j->of[i];
        if (c->measured) {
            c->queries = choose_take(j, j->queries * PV_ALIGN_UP(c->code.query_bytes, 64u));
            c->distances = choose_take(j, j->queries * j->rows * sizeof(float));
            scratch = PV_MAX(scratch, (size_t)c->code.scratch_bytes);
            row = PV_MAX(row, (size_t)c->code.row_size);
            book = PV_MAX(book, (size_t)c->code.book_bytes);
        }
    }
    j->scratch = choose_take(j, scratch);
    j->codes = choose_take(j, CHOOSE_BLOCK * row);
    j->book = choose_take(j, book);
}

static uint64_t choose_hot(const choose_job *j, const choose_code *c) {
    return j->all * (c->code.row_size + (uint64_t)j->g->shape->node_bytes);
}

static float choose_cache(const choose_job *j) {
    return CHOOSE_CACHE * (float)pv__txn_cache_bytes(j->g->txn);
}

/* Is it worth looking at this code? */
static bool choose_is_candidate(const choose_job *j, const choose_code *c) {
    const uint32_t dims = j->g->dims;
    switch (c->code.kind) {
    case PV__CODE_Q4:
        return dims >= CHOOSE_Q4_DIMS;
    case PV__CODE_B1:
        return dims >= CHOOSE_B1_DIMS &&
               (float)choose_hot(j, &j->of[1]) > CHOOSE_B1_TIMES * choose_cache(j);
    default:
        return true;
    }
}

static int choose_begin(choose_job *j, pv_error *err) {
    const pv__graph *g = j->g;
    for (unsigned i = 0; i < PV__CHOICES; i++) {
        const pv__code_spec spec = {.kind = choose_kinds[i],
                                    .type = g->type,
                                    .metric = g->metric,
                                    .dims = g->dims,
                                    .centred = true,
                                    .norm2_max = 1,
                                    .seed = g->meta.seed};
        PV_ASSERT(pv__code_init(&j->of[i].code, &spec, g->cpu));
        j->of[i].measured = choose_is_candidate(j, &j->of[i]);
    }
    j->truth = &j->of[PV__CHOICES - 1];
    j->train = PV_MIN(j->rows, (size_t)CHOOSE_TRAIN);
    choose_places(j);
    while (j->used > CHOOSE_BYTES && j->rows > PV__CHOOSE_ROWS_MIN) { /* long vectors */
        j->rows = PV_MAX(j->rows / 2, (size_t)PV__CHOOSE_ROWS_MIN);
        choose_places(j);
    }
    j->bytes = j->used;
    j->memory = pv__alloc_aligned(pv__txn_mem(g->txn), j->bytes, CHOOSE_ALIGN);
    if (!j->memory) {
        return pv__err_nomem(err, j->bytes);
    }
    choose_places(j);
    return 0;
}

/* ---- measuring ------------------------------------------------------------------------------- */

static int choose_vector(choose_job *j, size_t at, const uint8_t **out, pv_error *err) {
    const int rc = pv__column_read(j->g->vectors, j->slots[at * j->step], out, err);
    if (rc != 0) {
        atomic_store_explicit(&j->g->data_bad, true, memory_order_relaxed);
    }
    return rc;
}

/* Between two blocks. */
static int choose_pause(choose_job *j, pv_error *err) {
    PV_TRY(pv__txn_pause(j->g->txn, err));
    return j->interrupt ? j->interrupt(j->ctx, err) : 0;
}

/* n vectors from row `at` on. */
static int choose_read(choose_job *j, size_t at, size_t n, pv_error *err) {
    const size_t size = j->g->vectors->row_size;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row;
        PV_TRY(choose_vector(j, at + i, &row, err));
        memcpy(j->vectors + i * size, row, size);
    }
    return choose_pause(j, err);
}

static int choose_sample(choose_job *j, pv_error *err) {
    for (size_t i = 0; i < j->train; i++) {
        const uint8_t *row;
        PV_TRY(choose_vector(j, i * j->rows / j->train, &row, err));
        pv__element_widen(pv__element_of(j->g->type), row, j->g->dims, j->sample + i * j->g->dims);
        PV_TRY(i % CHOOSE_BLOCK == 0 ? choose_pause(j, err) : 0);
    }
    return choose_pause(j, err);
}

static uint8_t *choose_query(const choose_code *c, size_t q) {
    return c->queries + q * PV_ALIGN_UP(c->code.query_bytes, 64u);
}

/* The mean that q4 and b1 are about, and the queries. */
static int choose_prepare(choose_job *j, pv_error *err) {
    PV_TRY(choose_sample(j, err));
    for (unsigned i = 0; i < PV__CHOICES; i++) {
        choose_code *c = &j->of[i];
        if (c->measured && c->code.book_bytes != 0) {
            c->code.book = j->book;
            PV_TRY(pv__code_train(&c->code, pv__txn_mem(j->g->txn), j->sample, j->train, NULL,
                                  j->book, err));
        }
    }
    for (size_t q = 0; q < j->queries; q++) {
        j->own[q] = (uint32_t)(q * j->rows / j->queries);
        PV_TRY(choose_read(j, j->own[q], 1, err));
        for (unsigned i = 0; i < PV__CHOICES; i++) {
            if (j->of[i].measured) {
                pv__code_query(&j->of[i].code, j->vectors, choose_query(&j->of[i], q));
            }
        }
    }
    return 0;
}

static int choose_distances(choose_job *j, pv_error *err) {
    const uint8_t *rows[CHOOSE_BLOCK];
    for (size_t at = 0; at < j->rows; at += CHOOSE_BLOCK) {
        const size_t n = PV_MIN(j->rows - at, (size_t)CHOOSE_BLOCK);
        PV_TRY(choose_read(j, at, n, err));
        for (unsigned i = 0; i < PV__CHOICES; i++) {
            const choose_code *c = &j->of[i];
            if (!c->measured) {
                continue;
            }
            for (size_t r = 0; r < n; r++) {
                uint8_t *code = j->codes + r * c->code.row_size;
                pv__code_encode(&c->code, j->vectors + r * j->g->vectors->row_size, j->scratch,
                                code);
                rows[r] = code;
            }
            for (size_t q = 0; q < j->queries; q++) {
                pv__code_distances(&c->code, choose_query(c, q), rows, n,
                                   c->distances + q * j->rows + at);
            }
        }
    }
    for (size_t q = 0; q < j->queries; q++) { /* nobody looks for himself */
        for (unsigned i = 0; i < PV__CHOICES; i++) {
            if (j->of[i].measured) {
                j->of[i].distances[q * j->rows + j->own[q]] = INFINITY;
            }
        }
    }
    return 0;
}

/* ---- what it says ---------------------------------------------------------------------------- */

static bool choose_less(const float *a, const float *b) { return *a < *b; }
PV__SORT_DEFINE(choose_sort, float, choose_less)

/* The `count` smallest of n, ascending. */
static void choose_smallest(const float *v, size_t n, float *out, size_t count) {
    pv__hit hits[CHOOSE_NEAR_LID];
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        if (found < count || v[i] < hits[found - 1].distance) {
            (void)pv__pool_insert(hits, &found, count, v[i], (uint32_t)i);
        }
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = i < found ? hits[i].distance : INFINITY;
    }
}

/* How much nearer, squared, neighbours are among all rows than in the sample. The dimension is the
 * maximum likelihood estimate of Levina and Bickel (2004). */
static float choose_nearer(const choose_job *j) {
    double sum = 0;
    size_t n = 0;
    if (j->g->metric == PV_METRIC_DOT || j->all <= j->rows) {
        return 1;
    }
    for (size_t q = 0; q < j->queries; q++) {
        float near[CHOOSE_NEAR_LID];
        choose_smallest(j->truth->distances + q * j->rows, j->rows, near, CHOOSE_NEAR_LID);
        const double last = (double)near[CHOOSE_NEAR_LID - 1];
        for (unsigned i = 0; i + 1 < CHOOSE_NEAR_LID; i++) {
            if (near[i] > 0 && last > (double)near[i]) {
                sum += log(last / (double)near[i]); /* of squares: m / 2 */
                n++;
            }
        }
    }
    if (n == 0) {
        return 1;
    }
    const double times = pow((double)j->all / (double)j->rows, sum / (double)n);
    return PV_MIN((float)times, CHOOSE_NEARER);
}

/* The code's distances of one query, its errors made larger; their deviation near the query. */
static float choose_stretch(const choose_job *j, choose_code *c, size_t q, float by, float kth20) {
    const float *truth = j->truth->distances + q * j->rows;
    float *d = c->distances + q * j->rows;
    double sum = 0, sum2 = 0;
    size_t n = 0;
    for (size_t i = 0; i < j->rows && c != j->truth; i++) {
        if (d[i] < INFINITY) {
            const float e = by * (d[i] - truth[i]);
            d[i] = truth[i] + e;
            if (truth[i] <= kth20) {
                sum += (double)e;
                sum2 += (double)e * (double)e;
                n++;
            }
        }
    }
    const double mean = n > 0 ? sum / (double)n : 0;
    return n > 0 ? (float)sqrt(PV_MAX(sum2 / (double)n - mean * mean, 0.0)) : 0;
}

static size_t choose_count(const float *v, size_t n, float bound) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += v[i] <= bound;
    }
    return count;
}

/* How far beyond the k-th a walk has to look for each of the true k nearest: as a ratio, for dot as
 * a rank. */
static void choose_needs(const choose_job *j, const choose_code *c, size_t q, float kth,
                         const float *near, float *out) {
    const float *truth = j->truth->distances + q * j->rows, *d = c->distances + q * j->rows;
    const float at = near[CHOOSE_K - 1];
    unsigned n = 0;
    for (size_t i = 0; i < j->rows && n < CHOOSE_K; i++) {
        if (truth[i] <= kth) {
            const bool dot = j->g->metric == PV_METRIC_DOT;
            out[n++] = dot      ? (float)choose_count(d, j->rows, d[i])
                       : at > 0 ? PV_MAX(d[i] / at, 1.0f)
                                : 1.0f;
        }
    }
    while (n < CHOOSE_K) {
        out[n++] = 1;
    }
}

static void choose_look(const choose_job *j, choose_code *c, float by) {
    const bool dot = j->g->metric == PV_METRIC_DOT;
    float needs[CHOOSE_QUERIES * CHOOSE_K], tenth[CHOOSE_QUERIES], sigmas[CHOOSE_QUERIES];
    const uint32_t want = pv__graph_want(CHOOSE_K);
    size_t hits = 0, ranked = 0, ball = 0, refined = 0;
    for (size_t q = 0; q < j->queries; q++) {
        float near[CHOOSE_NEAR_LID], truth[CHOOSE_NEAR_LID];
        const float *exact = j->truth->distances + q * j->rows;
        choose_smallest(exact, j->rows, truth, want);
        sigmas[q] = choose_stretch(j, c, q, by, truth[want - 1]);
        const float *d = c->distances + q * j->rows;
        choose_smallest(d, j->rows, near, want);
        const float kth = truth[CHOOSE_K - 1];
        size_t found = 0;
        for (size_t i = 0; i < j->rows; i++) {
            found += d[i] <= near[want - 1] && exact[i] <= kth;
        }
        hits += PV_MIN(found, (size_t)CHOOSE_K);
        for (unsigned i = 0; i < want; i++) {
            ranked += i < CHOOSE_K || near[i] - 2 * sigmas[q] <= kth;
        }
        tenth[q] = near[CHOOSE_K - 1];
        choose_needs(j, c, q, kth, near, needs + q * CHOOSE_K);
    }
    choose_sort(needs, j->queries * CHOOSE_K);
    const float need = needs[(size_t)((float)(j->queries * CHOOSE_K - 1) * CHOOSE_SHARE)];
    for (size_t q = 0; q < j->queries; q++) {
        const float *d = c->distances + q * j->rows;
        ball += dot ? 4 * (size_t)need
                    : choose_count(d, j->rows, CHOOSE_STOP * need * PV_MAX(tenth[q], 0.0f));
        refined += choose_count(d, j->rows, tenth[q] + 3 * sigmas[q]);
    }
    const float n = (float)j->queries;
    c->recall = (float)hits / (n * (float)CHOOSE_K);
    c->ball = (float)ball / n;
    c->ranked = (float)ranked / n;
    c->refined = c->code.kind == PV__CODE_B1 ? PV_MAX((float)refined / n, (float)want) : 0;
    if (c->refined > 0) { /* what it finds is measured again by 4 bits */
        c->recall = j->of[1].recall;
        c->ranked = j->of[1].ranked;
    }
}

/* A search, in nanoseconds. */
static float choose_cost(const choose_job *j, const choose_code *c) {
    const float cache = choose_cache(j), hot = (float)choose_hot(j, c);
    const float vector = (float)j->g->vectors->row_size, vectors = vector * (float)j->all;
    const float missing = PV_MAX(1 - cache / hot, 0.0f);
    const float left = PV_MAX(cache - hot, 0.0f);
    const float row = CHOOSE_ROW_NS + CHOOSE_ROW_BYTE_NS * (float)c->code.row_size;
    const float fine = CHOOSE_ROW_NS + CHOOSE_ROW_BYTE_NS * (float)j->of[1].code.row_size;
    const float cold = CHOOSE_PAGE_NS * PV_MAX(1 - left / vectors, 0.0f);
    const float hops = CHOOSE_HOPS + c->ball;
    return CHOOSE_SEARCH_NS + hops * (CHOOSE_HOP_ROWS * (row + CHOOSE_PAGE_NS * missing)) +
           c->refined *
               (fine + CHOOSE_PAGE_NS * PV_MAX(1 - left / (float)choose_hot(j, &j->of[1]), 0.0f)) +
           c->ranked * (CHOOSE_VECTOR_NS + CHOOSE_VECTOR_BYTE_NS * vector + cold);
}

/* Is `a` so much better than `b` that it should be taken in its place? What costs memory or a new
 * graph has to be a good deal cheaper, before there is a graph what is shorter a little. */
static bool choose_is_better(const choose_job *j, const pv__graph_choice *h, unsigned a,
                             unsigned b) {
    const bool saves = !j->g->built && j->of[a].code.row_size < j->of[b].code.row_size;
    const uint32_t enough = (uint32_t)(CHOOSE_RECALL * (float)CHOOSE_ONE);
    const bool good = h->recall[a] >= enough, other = h->recall[b] >= enough;
    if (good != other) {
        return good;
    }
    if (!good) {
        return h->recall[a] > h->recall[b];
    }
    return (float)h->ns[a] < (saves ? CHOOSE_SHORTER : CHOOSE_BETTER) * (float)h->ns[b];
}

static void choose_decide(choose_job *j, pv__graph_choice *h) {
    unsigned best = 0;
    memset(h->recall, 0, sizeof h->recall);
    for (unsigned i = 0; i < PV__CHOICES; i++) {
        const choose_code *c = &j->of[i];
        const float ns = choose_cost(j, c);
        best = h->wanted == choose_kinds[i] ? i : best;
        h->recall[i] = c->measured ? (uint16_t)(c->recall * (float)CHOOSE_ONE) : 0;
        h->ns[i] = !c->measured ? 0 : ns < 4e9f ? (uint32_t)ns : UINT32_MAX;
    }
    const unsigned before = best;
    for (unsigned i = 0; i < PV__CHOICES; i++) {
        const bool more = best == before || h->ns[i] < h->ns[best];
        if (j->of[i].measured && choose_is_better(j, h, i, before) && more) {
            best = i;
        }
    }
    h->wanted = choose_kinds[best];
    h->rows = (uint32_t)j->all;
}

/* ---- all ------------------------------------------------------------------------------------- */

static int choose_run(choose_job *j, pv_error *err) {
    PV_TRY(choose_begin(j, err));
    PV_TRY(choose_prepare(j, err));
    PV_TRY(choose_distances(j, err));
    const float by = choose_nearer(j);
    for (unsigned i = 0; i < PV__CHOICES; i++) {
        if (j->of[i].measured) {
            choose_look(j, &j->of[i], by);
        }
    }
    choose_decide(j, &j->g->meta.choice);
    j->g->changed = true;
    return 0;
}

int pv__choose(pv__graph *g, const uint32_t *slots, size_t count, uint64_t all,
               pv__graph_interrupt_fn interrupt, void *ctx, pv_error *err) {
    choose_job j = {.g = g,
                    .slots = slots,
                    .step = PV_MAX(count / CHOOSE_ROWS, (size_t)1),
                    .rows = PV_MIN(count, (size_t)CHOOSE_ROWS),
                    .queries = CHOOSE_QUERIES,
                    .all = PV_MAX(all, (uint64_t)count),
                    .interrupt = interrupt,
                    .ctx = ctx};
    if (count < PV__CHOOSE_ROWS_MIN) {
        return 0;
    }
    const int rc = choose_run(&j, err);
    pv__alloc_free_aligned(pv__txn_mem(g->txn), j.memory, j.bytes, CHOOSE_ALIGN);
    return rc;
}

bool pv__graph_choose_due(const pv__graph *g) {
    const pv__graph_meta *m = &g->meta;
    const uint64_t rows = PV_MAX(m->choice.rows, PV__CHOOSE_ROWS_MIN);
    return m->choice.automatic && g->built && m->node_count >= CHOOSE_AGAIN * rows;
}

/* Slots of nodes all over the graph. */
static int choose_slots(pv__graph *g, uint32_t *slots, size_t *out_n, pv_error *err) {
    const size_t most = PV_MIN(g->meta.node_high, CHOOSE_ROWS);
    size_t n = 0;
    for (size_t i = 0; i < most; i++) {
        uint32_t word = 0;
        const uint32_t node = (uint32_t)((uint64_t)i * g->meta.node_high / most);
        PV_TRY(pv__graph_word_get(&g->slot_of, node, &word, err));
        if (word != PV__SLOT_NONE) {
            slots[n++] = word & ~PV__SLOT_MORE;
        }
        PV_TRY(i % CHOOSE_BLOCK == 0 ? pv__txn_pause(g->txn, err) : 0);
    }
    *out_n = n;
    return 0;
}

int pv__graph_choose(pv__graph *g, pv_error *err) {
    pv__mem *mem = pv__txn_mem(g->txn);
    size_t n = 0;
    if (!g->meta.choice.automatic || !g->built) {
        return 0;
    }
    uint32_t *slots = pv__alloc_array(mem, CHOOSE_ROWS, sizeof *slots);
    int rc = slots ? 0 : pv__err_nomem(err, CHOOSE_ROWS * sizeof *slots);
    rc = rc == 0 ? choose_slots(g, slots, &n, err) : rc;
    if (rc == 0) {
        rc = pv__choose(g, slots, n, g->meta.node_count, NULL, NULL, err);
        g->meta.choice.rows = PV_MAX(g->meta.node_count, 1u); /* nearly all dead: not measured */
        g->changed = true;
    }
    pv__alloc_free(mem, slots, CHOOSE_ROWS * sizeof *slots);
    return rc;
}

/* ---- in words -------------------------------------------------------------------------------- */

void pv__graph_choice_text(const pv__graph *g, char *out, size_t size) {
    const pv__graph_choice *h = &g->meta.choice;
    const char *name = pv__code_name(PV__CODE_KIND(g->meta.code));
    if (!h->automatic) {
        (void)snprintf(out, size, "asked for when the collection was made");
        return;
    }
    if (h->rows == 0) {
        (void)snprintf(out, size, "%s until there are %u records to measure", name,
                       (unsigned)PV__CHOOSE_ROWS_MIN);
        return;
    }
    int at = snprintf(out, size, "%s, measured at %u records", pv__code_name(h->wanted),
                      (unsigned)h->rows);
    for (unsigned i = 0; i < PV__CHOICES && at > 0 && (size_t)at < size; i++) {
        if (h->ns[i] != 0) {
            const unsigned us = h->ns[i] / 1000u;
            at += snprintf(out + at, size - (size_t)at, "; %s recall %u.%04u, %u us",
                           pv__code_name(choose_kinds[i]), h->recall[i] / CHOOSE_ONE,
                           h->recall[i] % CHOOSE_ONE / 6u, us);
        }
    }
}

#undef CHOOSE_ROWS
#undef CHOOSE_QUERIES
#undef CHOOSE_TRAIN
#undef CHOOSE_BLOCK
#undef CHOOSE_K
#undef CHOOSE_AGAIN
#undef CHOOSE_BYTES
#undef CHOOSE_ALIGN
#undef CHOOSE_ONE
#undef CHOOSE_RECALL
#undef CHOOSE_SHARE
#undef CHOOSE_STOP
#undef CHOOSE_BETTER
#undef CHOOSE_SHORTER
#undef CHOOSE_NEAR_LID
#undef CHOOSE_NEARER
#undef CHOOSE_B1_TIMES
#undef CHOOSE_B1_DIMS
#undef CHOOSE_Q4_DIMS
#undef CHOOSE_F32_DIMS
#undef CHOOSE_SEARCH_NS
#undef CHOOSE_ROW_NS
#undef CHOOSE_ROW_BYTE_NS
#undef CHOOSE_VECTOR_NS
#undef CHOOSE_VECTOR_BYTE_NS
#undef CHOOSE_PAGE_NS
#undef CHOOSE_HOP_ROWS
#undef CHOOSE_HOPS
#undef CHOOSE_CACHE
