/* SPDX-License-Identifier: Apache-2.0 */
/* pq.c - product codes (Jegou et al., 2011): a vector is cut into parts, and of each part the row
 * holds the number of the nearest of 256 or 16 centres, which were learned from data.
 *
 *      row     a byte a part, or half a byte | u8 flags | zeros up to a multiple of 4
 *      book    header of 64 bytes | centres, part by part: dims of the part x count f32
 *              | turned: the rotation (axes.c), blocks of 16 rows of it, dims columns of 16 f32
 *      query   for each of two epochs: header of 64 bytes | bytes: parts x count, up to 64
 *              then work space
 *
 * Two books may be alive, while rows move from one to the other. Rows say which is theirs.
 *
 * Cosine: of normalised vectors. Distances are those of the query itself to decoded rows, plus what
 * rows lose on average. The table of a query is of bytes, with one step for all parts: its grid
 * adds a hundredth of the row's own error.
 *
 * There are no distances from row to row: no graph is built from these codes.
 *
 * Learned by k-means of each part by itself: seeded k-means++ (Arthur and Vassilvitskii, 2007),
 * then a fixed number of rounds; a centre without rows takes the row that is farthest from its own.
 * Sums are in one order, so that a sample gives the same bytes everywhere. */
#include <float.h>
#include <math.h>

#include "base/checksum.h"
#include "quant/kinds.h"

/* Of k-means; a round with few centres costs little. */
#define PQ_ROUNDS 8u
#define PQ_ROUNDS_FEW 20u
#define PQ_PAIRS 256u /* of rows, that tell how errors lie */
#define PQ_STOP 256u  /* rows between two questions whether to stop */
#define PQ_INIT 4u    /* one of so many rows takes part in the choice of the first centres */
/* Flags of a row. */
#define PQ_ZERO 1u  /* a vector of zeros under cosine */
#define PQ_CODED 2u /* it holds a code, */
#define PQ_EPOCH 4u /* of this epoch */

typedef struct pq_book {
    float lost2;  /* mean squared distance of vectors and decoded rows */
    float spread; /* the variance of that */
    float skew;   /* of errors along differences: times what even ones would have; 0: not known */
    uint8_t pad[52];
} pq_book;
PV_STATIC_ASSERT(sizeof(pq_book) == 64, pq_book_is_one_line);

typedef struct pq_query {
    float step, low; /* distance = low + step * sum */
    float norm2, lost2, spread, skew;
    uint32_t zero;
    uint8_t pad[36];
} pq_query;
PV_STATIC_ASSERT(sizeof(pq_query) == 64, pq_query_is_one_line);

static uint32_t pq_count(const pv__code *c) { return c->bits == 4 ? 16u : 256u; }
static uint32_t pq_bytes(const pv__code *c) { return c->bits == 4 ? (c->parts + 1) / 2 : c->parts; }
static uint32_t pq_from(const pv__code *c, uint32_t part) { return pv__code_part_from(c, part); }
/* Elements of a vector in work space: whole lines. */
static uint32_t pq_room(const pv__code *c) { return PV_ALIGN_UP(c->dims, 16u); }

static uint32_t pq_query_half(const pv__code *c) {
    return (uint32_t)sizeof(pq_query) + PV_ALIGN_UP(c->parts * pq_count(c), 64u);
}

static void pq_sizes(pv__code *c) {
    const uint32_t vector = PV_ALIGN_UP(c->dims * (uint32_t)sizeof(float), 64u);
    const uint32_t table = c->parts * pq_count(c);
    c->row_size = PV_ALIGN_UP(pq_bytes(c) + 1, 4u);
    c->query_bytes = 2 * pq_query_half(c) + 2 * vector + table * (uint32_t)sizeof(float);
    c->scratch_bytes = 2 * vector + 256 * (uint32_t)sizeof(float);
    c->book_bytes = PV_ALIGN_UP(
        (uint32_t)sizeof(pq_book) + c->dims * pq_count(c) * (uint32_t)sizeof(float), 64u);
    c->book_bytes += c->turned ? pq_room(c) * c->dims * (uint32_t)sizeof(float) : 0;
}

/* Behind the centres. */
static size_t pq_axes_at(const pv__code *c) {
    return c->book_bytes - (size_t)pq_room(c) * c->dims * sizeof(float);
}

/* v, turned as the book says, into out; both have room for whole lines. */
static void pq_turn(const pv__code *c, const void *book, const float *v, float *out) {
    const float *axes = (const void *)((const uint8_t *)book + (c->turned ? pq_axes_at(c) : 0));
    if (!c->turned) {
        memcpy(out, v, c->dims * sizeof *out);
        return;
    }
    for (uint32_t i = 0; i < c->dims; i += 16, axes += (size_t)16 * c->dims) {
        c->product->measure(v, c->dims, axes, 16, true, out + i);
    }
}

static const float *pq_centres(const pv__code *c, const void *book, uint32_t part) {
    const float *centres = (const void *)((const uint8_t *)book + sizeof(pq_book));
    return centres + (size_t)pq_from(c, part) * pq_count(c);
}

static uint32_t pq_least(const float *v, uint32_t n) {
    uint32_t best = 0;
    float least = v[0];
    for (uint32_t i = 1; i < n; i++) {
        best = v[i] < least ? i : best;
        least = v[i] < least ? v[i] : least;
    }
    return best;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void pq_encode(const pv__code *c, const void *vector, void *scratch, uint8_t *row) {
    float *const v = scratch, *const plain = v + pq_room(c), *const distances = plain + pq_room(c);
    const bool zero = pv__code_plain(c, vector, plain) == 1.0f && c->metric == PV_METRIC_COSINE;
    pq_turn(c, c->book, plain, v);
    memset(row, 0, c->row_size);
    for (uint32_t p = 0; p < c->parts; p++) {
        const uint32_t from = pq_from(c, p), dims = pq_from(c, p + 1) - from;
        c->product->measure(v + from, dims, pq_centres(c, c->book, p), pq_count(c), false,
                            distances);
        const uint32_t best = pq_least(distances, pq_count(c));
        if (c->bits == 4) {
            row[p / 2] = (uint8_t)(row[p / 2] | best << 4 * (p % 2));
        } else {
            row[p] = (uint8_t)best;
        }
    }
    row[pq_bytes(c)] = (uint8_t)(PQ_CODED | (zero ? PQ_ZERO : 0) | (c->epoch ? PQ_EPOCH : 0));
}

/* ---- queries --------------------------------------------------------------------------------- */

/* Tables of f32 to bytes: each part from its own least entry, all with one step. */
static void pq_table(const pv__code *c, const float *exact, pq_query *q, uint8_t *table) {
    const uint32_t count = pq_count(c);
    double low = 0;
    float span = 0;
    for (uint32_t p = 0; p < c->parts; p++) {
        float least, most;
        c->kernel->range(exact + (size_t)p * count, count, &least, &most);
        low += (double)least;
        span = PV_MAX(span, most - least);
    }
    q->step = span > 0 && span <= FLT_MAX ? span / 255.0f : 1.0f;
    q->low = pv__code_round(low);
    const float scale = 1.0f / q->step;
    for (uint32_t p = 0; p < c->parts; p++) {
        const float *const from = exact + (size_t)p * count;
        uint8_t *const to = table + (size_t)p * count;
        float least, most;
        c->kernel->range(from, count, &least, &most);
        for (uint32_t i = 0; i < count; i++) {
            const float at = pv__unfused((from[i] - least) * scale) + 0.5f;
            to[i] = (uint8_t)(at < 255.0f ? at : 255.0f);
        }
    }
}

/* The half of a query for one book. plain: the prepared vector; v, exact: work space. */
static void pq_query_half_of(const pv__code *c, const void *book, const float *plain, float *v,
                             float *exact, pq_query *q) {
    const uint32_t count = pq_count(c);
    pq_turn(c, book, plain, v);
    const bool dot = c->metric == PV_METRIC_DOT;
    for (uint32_t p = 0; p < c->parts; p++) {
        const uint32_t from = pq_from(c, p), dims = pq_from(c, p + 1) - from;
        float *const out = exact + (size_t)p * count;
        c->product->measure(v + from, dims, pq_centres(c, book, p), count, dot, out);
        for (uint32_t i = 0; dot && i < count; i++) {
            out[i] = 0.0f - out[i];
        }
    }
    pq_table(c, exact, q, (uint8_t *)q + sizeof *q);
    q->lost2 = pv__code_book_lost(book);
    memcpy(&q->spread, (const uint8_t *)book + offsetof(pq_book, spread), sizeof q->spread);
    memcpy(&q->skew, (const uint8_t *)book + offsetof(pq_book, skew), sizeof q->skew);
}

static void pq_query_of(const pv__code *c, const void *vector, void *query) {
    const uint32_t half = pq_query_half(c);
    pq_query *const q = query, *const other = (void *)((uint8_t *)query + half);
    float *const v = (void *)((uint8_t *)query + 2 * half);
    float *const turned = v + pq_room(c), *const exact = turned + pq_room(c);
    const uint8_t *row = (const void *)v;
    memset(q, 0, sizeof *q);
    memset(other, 0, sizeof *other);
    q->zero = pv__code_plain(c, vector, v) == 1.0f && c->metric == PV_METRIC_COSINE;
    other->zero = q->zero;
    c->kernel->dot(v, c->dims, &(pv__code_rows){&row, 1, 1, c->dims * 4u}, &q->norm2);
    other->norm2 = q->norm2;
    pq_query_half_of(c, c->book, v, turned, exact, c->epoch ? other : q);
    if (c->other_book) {
        pq_query_half_of(c, c->other_book, v, turned, exact, c->epoch ? q : other);
    }
}

static float pq_finish(const pv__code *c, const pq_query *q, uint8_t flags, uint32_t sum) {
    const float d = q->low + pv__unfused(q->step * (float)sum);
    if (!(flags & PQ_CODED)) {
        return FLT_MAX;
    }
    if (c->metric == PV_METRIC_DOT) {
        return pv__code_round((double)d);
    }
    if (c->metric == PV_METRIC_COSINE && (q->zero || (flags & PQ_ZERO))) {
        return 2.0f;
    }
    return pv__code_round(PV_MAX((double)d, 0.0) + (double)q->lost2);
}

static void pq_distances(const pv__code *c, const void *query, const pv__code_rows *rows,
                         float *out) {
    const uint32_t flags = pq_bytes(c);
    uint32_t sums[PV__CODE_BLOCK];
    unsigned epochs = 0;
    for (size_t r = 0; r < rows->n; r++) {
        epochs |= rows->row[r][flags] & PQ_EPOCH ? 2u : 1u;
    }
    for (unsigned epoch = 0; epoch < 2; epoch++) {
        if (!(epochs >> epoch & 1u)) {
            continue;
        }
        const pq_query *q = (const void *)((const uint8_t *)query + epoch * pq_query_half(c));
        const uint8_t *table = (const uint8_t *)q + sizeof *q;
        (c->bits == 4 ? c->product->sums4 : c->product->sums8)(table, c->parts, rows, sums);
        for (size_t r = 0; r < rows->n; r++) {
            const uint8_t f = rows->row[r][flags];
            if ((f & PQ_EPOCH ? 1u : 0u) == epoch) {
                out[r] = pq_finish(c, q, f, sums[r]);
            }
        }
    }
}

/* What a row has lost stands anyhow to the difference of query and row; some lose more. */
static float pq_sigma(const pv__code *c, const void *query, const uint8_t *row, float distance) {
    const bool second = row[pq_bytes(c)] & PQ_EPOCH;
    const pq_query *q = (const void *)((const uint8_t *)query + (second ? pq_query_half(c) : 0));
    const double lost2 = (double)q->lost2 / c->dims * PV_MAX((double)q->skew, 1.0);
    const double grid = (double)q->step * (double)q->step * c->parts / 12;
    const double along = c->metric == PV_METRIC_DOT
                             ? (double)q->norm2
                             : 4 * PV_MAX((double)distance - (double)q->lost2, 0.0);
    const double spread = c->metric == PV_METRIC_DOT ? 0 : (double)q->spread;
    return pv__code_round(sqrt(along * lost2 + spread + grid));
}

float pv__code_book_lost(const void *book) {
    float lost2;
    memcpy(&lost2, book, sizeof lost2);
    return lost2;
}

float pv__code_lost(const pv__code *c, const void *vector, void *scratch, const uint8_t *row) {
    float *const v = scratch, *const plain = v + pq_room(c);
    double lost2 = 0;
    uint8_t *const wide = (uint8_t *)scratch + c->scratch_bytes - c->wide_bytes;
    (void)pv__code_plain(c, pv__code_wide(c, vector, wide), plain);
    pq_turn(c, c->book, plain, v);
    for (uint32_t p = 0; p < c->parts; p++) {
        const uint32_t from = pq_from(c, p), to = pq_from(c, p + 1), count = pq_count(c);
        const uint32_t code = c->bits == 4 ? row[p / 2] >> 4 * (p % 2) & 15u : row[p];
        const float *const centre = pq_centres(c, c->book, p) + code;
        for (uint32_t i = from; i < to; i++) {
            const double d = (double)v[i] - (double)centre[(size_t)(i - from) * count];
            lost2 += pv__unfused_double(d * d);
        }
    }
    return pv__code_round(lost2);
}

uint32_t pv__code_epoch(const pv__code *c, const uint8_t *row) {
    const uint8_t flags = row[pq_bytes(c)];
    return !(flags & PQ_CODED) ? 2u : flags & PQ_EPOCH ? 1u : 0u;
}

/* ---- learning -------------------------------------------------------------------------------- */

typedef struct pq_means {
    const pv__code *c;
    size_t n;
    uint32_t from, dims, count; /* of the part */
    const float *sample;        /* prepared: n x c->dims */
    float *centres;             /* the part's, in the book */
    float *near;                /* n: squared distance to the nearest centre */
    uint32_t *of;               /* n: which that is */
    double *sum;                /* count x dims */
    uint32_t *members;          /* count */
    float *distances;           /* count */
    double *lost;               /* n: in all parts so far */
    double *along;              /* PQ_PAIRS: errors times differences, in all parts so far */
    uint64_t random;
    const pv__code_stop *stop;
} pq_means;

static int pq_stop(const pq_means *m, pv_error *err) {
    return m->stop && m->stop->fn ? m->stop->fn(m->stop->ctx, err) : 0;
}

static const float *pq_row(const pq_means *m, size_t i) {
    return m->sample + i * m->c->dims + m->from;
}

static void pq_set(pq_means *m, uint32_t centre, const float *v) {
    for (uint32_t i = 0; i < m->dims; i++) {
        m->centres[(size_t)i * m->count + centre] = v[i];
    }
}

static double pq_uniform(pq_means *m) {
    m->random = pv__mix64(m->random + UINT64_C(0x9E3779B97F4A7C15));
    return (double)(m->random >> 11) * 0x1p-53;
}

/* k-means++: each next centre is a row, by chance in proportion to its distance so far. */
static void pq_begin(pq_means *m) {
    pq_set(m, 0, pq_row(m, (size_t)(pq_uniform(m) * (double)m->n)));
    for (size_t i = 0; i < m->n; i++) {
        m->near[i] = FLT_MAX;
    }
    for (uint32_t k = 1; k < m->count; k++) {
        double all = 0;
        size_t chosen = 0;
        for (size_t i = 0; i < m->n; i += PQ_INIT) {
            const float *v = pq_row(m, i);
            float d = 0;
            for (uint32_t j = 0; j < m->dims; j++) {
                const float e = v[j] - m->centres[(size_t)j * m->count + k - 1];
                d += pv__unfused(e * e);
            }
            m->near[i] = PV_MIN(m->near[i], d);
            all += (double)m->near[i];
        }
        double left = pq_uniform(m) * all;
        for (size_t i = 0; i < m->n; i += PQ_INIT) {
            left -= (double)m->near[i];
            chosen = i;
            if (left < 0) {
                break;
            }
        }
        pq_set(m, k, pq_row(m, chosen));
    }
}

/* The mean of squared distances to the nearest centre. */
static int pq_assign(pq_means *m, double *out_mean, pv_error *err) {
    double all = 0;
    for (size_t i = 0; i < m->n; i++) {
        PV_TRY(i % PQ_STOP == 0 ? pq_stop(m, err) : 0);
        m->c->product->measure(pq_row(m, i), m->dims, m->centres, m->count, false, m->distances);
        m->of[i] = pq_least(m->distances, m->count);
        m->near[i] = m->distances[m->of[i]];
        all += (double)m->near[i];
    }
    *out_mean = all / (double)m->n;
    return 0;
}

static void pq_move(pq_means *m) {
    memset(m->sum, 0, (size_t)m->count * m->dims * sizeof *m->sum);
    memset(m->members, 0, m->count * sizeof *m->members);
    for (size_t i = 0; i < m->n; i++) {
        const float *v = pq_row(m, i);
        double *const sum = m->sum + (size_t)m->of[i] * m->dims;
        m->members[m->of[i]]++;
        for (uint32_t j = 0; j < m->dims; j++) {
            sum[j] += (double)v[j];
        }
    }
    for (uint32_t k = 0; k < m->count; k++) {
        if (m->members[k] == 0) {
            size_t far = 0;
            for (size_t i = 1; i < m->n; i++) {
                far = m->near[i] > m->near[far] ? i : far;
            }
            pq_set(m, k, pq_row(m, far));
            m->near[far] = 0;
            continue;
        }
        for (uint32_t j = 0; j < m->dims; j++) {
            const double mean = m->sum[(size_t)k * m->dims + j] / (double)m->members[k];
            m->centres[(size_t)j * m->count + k] = pv__code_round(mean);
        }
    }
}

/* How errors lie to differences: of a few pairs of rows, error of one times difference to the
 * other. Rows differ by most where codes lose most, more than if errors had no direction. */
static void pq_along(pq_means *m) {
    for (size_t i = 0; i < PQ_PAIRS; i++) {
        const size_t a = i * m->n / PQ_PAIRS, b = (a + m->n / 2) % m->n;
        const float *x = pq_row(m, a), *y = pq_row(m, b);
        const float *const centre = m->centres + m->of[a];
        for (uint32_t j = 0; j < m->dims; j++) {
            const double e = (double)x[j] - (double)centre[(size_t)j * m->count];
            m->along[i] += pv__unfused_double(e * ((double)y[j] - (double)x[j] + e));
        }
    }
}

/* Their variance, times what even errors would have. */
static float pq_skew(const pq_means *m, double lost2) {
    double sum = 0, even = 0;
    for (size_t i = 0; i < PQ_PAIRS; i++) {
        const size_t a = i * m->n / PQ_PAIRS, b = (a + m->n / 2) % m->n;
        const float *x = m->sample + a * m->c->dims, *y = m->sample + b * m->c->dims;
        for (uint32_t j = 0; j < m->c->dims; j++) {
            const double d = (double)x[j] - (double)y[j];
            even += pv__unfused_double(d * d);
        }
        sum += pv__unfused_double(m->along[i] * m->along[i]);
    }
    even *= lost2 / m->c->dims;
    return even > 0 ? pv__code_round(PV_MIN(sum / even, (double)m->c->dims)) : 1.0f;
}

static int pq_learn(pq_means *m, void *book, pv_error *err) {
    const pv__code *c = m->c;
    pq_book head = {.lost2 = 0};
    double lost2 = 0, mean = 0, spread = 0;
    for (uint32_t p = 0; p < c->parts; p++) {
        m->from = pq_from(c, p);
        m->dims = pq_from(c, p + 1) - m->from;
        m->centres = (float *)(void *)((uint8_t *)book + sizeof head) + (size_t)m->from * m->count;
        m->random = pv__mix64(c->seed + p);
        pq_begin(m);
        for (unsigned round = 0; round < (c->bits == 4 ? PQ_ROUNDS_FEW : PQ_ROUNDS); round++) {
            PV_TRY(pq_assign(m, &mean, err));
            pq_move(m);
        }
        PV_TRY(pq_assign(m, &mean, err));
        pq_along(m);
        lost2 += mean;
        for (size_t i = 0; i < m->n; i++) {
            m->lost[i] += (double)m->near[i];
        }
    }
    for (size_t i = 0; i < m->n; i++) {
        const double d = m->lost[i] - lost2;
        spread += pv__unfused_double(d * d);
    }
    head.spread = pv__code_round(spread / (double)m->n);
    head.lost2 = pv__code_round(lost2);
    head.skew = pq_skew(m, lost2);
    memcpy(book, &head, sizeof head);
    return 0;
}

/* The sample as it is cut: normalised for cosine, turned. */
static int pq_prepare(const pq_means *m, pv__mem *mem, const float *sample, float *plain,
                      float *work, void *book, pv_error *err) {
    const pv__code *c = m->c;
    for (size_t i = 0; i < m->n; i++) {
        (void)pv__code_plain(c, sample + i * c->dims, plain + i * c->dims);
    }
    if (!c->turned) {
        return 0;
    }
    PV_TRY(pv__code_axes(c, mem, plain, m->n, m->stop,
                         (float *)(void *)((uint8_t *)book + pq_axes_at(c)), err));
    for (size_t i = 0; i < m->n; i++) {
        PV_TRY(i % PQ_STOP == 0 ? pq_stop(m, err) : 0);
        pq_turn(c, book, plain + i * c->dims, work);
        memcpy(plain + i * c->dims, work, c->dims * sizeof *work);
    }
    return 0;
}

static int pq_train(const pv__code *c, pv__mem *mem, const float *sample, size_t n,
                    const pv__code_stop *stop, void *book, pv_error *err) {
    pq_means m = {.c = c, .n = n, .count = pq_count(c), .stop = stop};
    const size_t widest = c->dims / c->parts + 1;
    const size_t copy = n * c->dims * sizeof(float);
    const size_t sums = (m.count * widest + n + PQ_PAIRS) * sizeof(double);
    const size_t small = m.count * (sizeof(uint32_t) + sizeof(float)) + pq_room(c) * sizeof(float);
    const size_t bytes = sums + copy + n * (sizeof(float) + sizeof(uint32_t)) + small;
    uint8_t *memory = pv__alloc(mem, bytes);
    if (!memory) {
        return pv__err_nomem(err, bytes);
    }
    float *const plain = (void *)(memory + sums);
    m.lost = (void *)memory;
    m.along = m.lost + n;
    m.sum = m.along + PQ_PAIRS;
    memset(m.lost, 0, (n + PQ_PAIRS) * sizeof *m.lost);
    m.sample = plain;
    m.near = plain + n * c->dims;
    m.of = (void *)(m.near + n);
    m.members = m.of + n;
    m.distances = (void *)(m.members + m.count);
    memset(book, 0, c->book_bytes);
    int rc = pq_prepare(&m, mem, sample, plain, m.distances + m.count, book, err);
    rc = rc == 0 ? pq_learn(&m, book, err) : rc;
    pv__alloc_free(mem, memory, bytes);
    return rc;
}

const pv__code_ops *pv__code_pq(void) {
    static const pv__code_ops ops = {
        .types = PV__CODE_OF_NUMBERS,
        .metrics = PV__CODE_OF_FLOATS,
        .sizes = pq_sizes,
        .encode = pq_encode,
        .query = pq_query_of,
        .distances = pq_distances,
        .sigma = pq_sigma,
        .train = pq_train,
    };
    return &ops;
}

#undef PQ_ROUNDS
#undef PQ_ROUNDS_FEW
#undef PQ_INIT
#undef PQ_PAIRS
#undef PQ_STOP
#undef PQ_ZERO
#undef PQ_CODED
#undef PQ_EPOCH
