/* SPDX-License-Identifier: Apache-2.0 */
/* kernel.c - from raw sums to distances: choice of the table, blocks of rows, the three metrics
 * and the values that f32 cannot hold.
 *
 *      rows in memory ---> 64 pointers ---> raw sums (pv__kernel) ---> kernel_finish ---> out
 *                                                                          '-- rare: double
 *
 * Range. A raw sum of squares below 2^-100 may have lost terms to underflow, and one that is not
 * finite has overflowed: both are computed again in double, where neither can happen (dims *
 * FLT_MAX^2 < 2^271). For cosine the squared norms decide, in [2^-80, 2^80]; products then stay in
 * range too. A dot product is only computed again when it is not finite: what underflow loses
 * there is below dims * 2^-149, whatever the metric does with it. */
#include "kernel/kernel.h"

#include <float.h>
#include <math.h>

#if PV__KERNEL_X86
#include <emmintrin.h>
#endif

#define KERNEL_BLOCK 64u                 /* rows whose sums are in flight */
#define KERNEL_GROUP 16u                 /* rows that are looked at together */
#define KERNEL_AHEAD_BYTES 4096u         /* how far ahead of the sums rows are prefetched */
#define KERNEL_MANY_BYTES (256u * 1024u) /* rows kept in the second-level cache for all queries */
#define KERNEL_QUERY_BYTES (24u * 1024u) /* of queries kept in the first-level cache */
#define KERNEL_QUERIES 24u               /* and their number: all tile widths divide it */
#define KERNEL_L2_TINY 0x1p-100f
#define KERNEL_NORM2_MIN 0x1p-80f
#define KERNEL_NORM2_MAX 0x1p+80f

const pv__kernel *pv__kernel_at(size_t index) {
#if PV__KERNEL_X86
    switch (index) {
    case 0:
        return pv__kernel_scalar();
    case 1:
        return pv__kernel_avx2();
    case 2:
        return pv__kernel_avx512();
    default:
        return NULL;
    }
#elif PV__KERNEL_ARM
    return index == 0 ? pv__kernel_scalar() : index == 1 ? pv__kernel_neon() : NULL;
#else
    return index == 0 ? pv__kernel_scalar() : NULL;
#endif
}

const pv__kernel *pv__kernel_table(uint32_t cpu) {
    const pv__kernel *best = pv__kernel_scalar();
    for (size_t i = 1; pv__kernel_at(i); i++) {
        const pv__kernel *k = pv__kernel_at(i);
        if ((cpu & k->cpu) == k->cpu) {
            best = k;
        }
    }
    return best;
}

/* ---- the slow way -------------------------------------------------------------------------- */

typedef struct kernel_sums {
    double l2sq, dot, query2, row2;
} kernel_sums;

static kernel_sums kernel_sums_of(const float *query, const uint8_t *row, size_t dims) {
    kernel_sums s = {0, 0, 0, 0};
    for (size_t i = 0; i < dims; i++) {
        float v;
        memcpy(&v, row + i * sizeof v, sizeof v);
        const double a = query[i], b = v, d = a - b;
        s.l2sq += d * d;
        s.dot += a * b;
        s.query2 += a * a;
        s.row2 += b * b;
    }
    return s;
}

/* To f32 without infinities. */
static float kernel_round(double distance) {
    if (distance >= -(double)FLT_MAX && distance <= (double)FLT_MAX) {
        return (float)distance;
    }
    return distance < 0 ? -FLT_MAX : FLT_MAX;
}

float pv__kernel_exact(unsigned metric, const float *query, const void *row, size_t dims) {
    const kernel_sums s = kernel_sums_of(query, row, dims);
    if (!(s.row2 <= DBL_MAX)) {
        return FLT_MAX; /* the row holds NaN or infinity */
    }
    if (metric == PV_METRIC_L2) {
        return kernel_round(sqrt(s.l2sq));
    }
    if (metric == PV_METRIC_DOT) {
        return kernel_round(0.0 - s.dot); /* not -0 */
    }
    if (s.query2 == 0 || s.row2 == 0) {
        return 1.0f;
    }
    const double d = 1.0 - s.dot / (sqrt(s.query2) * sqrt(s.row2));
    return d < 0 ? 0.0f : d > 2 ? 2.0f : (float)d;
}

static bool kernel_all_zero(const uint8_t *p, size_t bytes) {
    static const uint8_t zero[256] = {0};
    for (; bytes > sizeof zero; p += sizeof zero, bytes -= sizeof zero) {
        if (memcmp(p, zero, sizeof zero) != 0) {
            return false;
        }
    }
    return memcmp(p, zero, bytes) == 0;
}

/* What kernel_in_range refused. The two common reasons first: a set may hold the query, or zeros,
 * a hundred thousand times. */
static PV_COLD float kernel_slow(const pv__kernel_query *q, const uint8_t *row) {
    const size_t bytes = q->dims * sizeof(float);
    if (q->metric == PV_METRIC_L2 && memcmp(q->vector, row, bytes) == 0) {
        return 0.0f;
    }
    if (q->metric == PV_METRIC_COSINE && kernel_all_zero(row, bytes)) {
        return 1.0f;
    }
    return pv__kernel_exact(q->metric, q->wide, row, q->dims);
}

/* ---- queries ------------------------------------------------------------------------------- */

/* Eight sums side by side: an addition does not wait for the one before. */
static double kernel_norm2(const float *v, uint32_t dims) {
    double sums[8] = {0};
    uint32_t i = 0;
    for (; i + 8 <= dims; i += 8) {
        for (unsigned k = 0; k < 8; k++) {
            sums[k] += (double)v[i + k] * (double)v[i + k];
        }
    }
    for (; i < dims; i++) {
        sums[i % 8] += (double)v[i] * (double)v[i];
    }
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) +
           ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

bool pv__kernel_query_init(pv__kernel_query *q, unsigned metric, const float *vector,
                           uint32_t dims) {
    if (metric != PV_METRIC_L2 && metric != PV_METRIC_COSINE && metric != PV_METRIC_DOT) {
        return false;
    }
    memset(q, 0, sizeof *q);
    q->vector = q->wide = vector;
    q->type = PV_TYPE_F32;
    q->dims = dims;
    q->metric = metric;
    q->inv_norm = 1.0f;
    q->exact = false;
    if (metric == PV_METRIC_COSINE) {
        const double norm2 = kernel_norm2(vector, dims);
        q->exact = !(norm2 >= (double)KERNEL_NORM2_MIN && norm2 <= (double)KERNEL_NORM2_MAX);
        if (!q->exact) {
            q->inv_norm = (float)(1.0 / sqrt(norm2));
        }
    }
    return true;
}

/* ---- raw sums to distances ----------------------------------------------------------------- */

static inline bool kernel_in_range(const pv__kernel_query *q, float raw, float norm2) {
    if (q->metric == PV_METRIC_L2) {
        return raw >= KERNEL_L2_TINY && raw <= FLT_MAX;
    }
    if (q->metric == PV_METRIC_DOT) {
        return raw >= -FLT_MAX && raw <= FLT_MAX;
    }
    return !q->exact && norm2 >= KERNEL_NORM2_MIN && norm2 <= KERNEL_NORM2_MAX;
}

static inline float kernel_distance(const pv__kernel_query *q, float raw, float norm2) {
    if (q->metric == PV_METRIC_L2) {
        return sqrtf(raw);
    }
    if (q->metric == PV_METRIC_DOT) {
        return 0.0f - raw; /* not -0 */
    }
    const float d = 1.0f - raw * q->inv_norm / sqrtf(norm2);
    return d < 0.0f ? 0.0f : d > 2.0f ? 2.0f : d;
}

#if PV__KERNEL_X86
/* Four rows at once, or false when one of them is out of range. The same bits as above: roots and
 * quotients are rounded correctly everywhere. Part of every x86-64, so not in a table. */
static inline bool kernel_finish4(const pv__kernel_query *q, const float *norm2, float *io) {
    const __m128 raw = _mm_loadu_ps(io);
    const bool cosine = q->metric == PV_METRIC_COSINE;
    const __m128 low = _mm_set1_ps(cosine                      ? KERNEL_NORM2_MIN
                                   : q->metric == PV_METRIC_L2 ? KERNEL_L2_TINY
                                                               : -FLT_MAX);
    const __m128 high = _mm_set1_ps(cosine ? KERNEL_NORM2_MAX : FLT_MAX);
    const __m128 v = cosine ? _mm_loadu_ps(norm2) : raw;
    const __m128 good = _mm_and_ps(_mm_cmpge_ps(v, low), _mm_cmple_ps(v, high));
    if (PV_UNLIKELY(_mm_movemask_ps(good) != 15 || q->exact)) {
        return false;
    }
    __m128 d;
    if (q->metric == PV_METRIC_L2) {
        d = _mm_sqrt_ps(raw);
    } else if (q->metric == PV_METRIC_DOT) {
        d = _mm_sub_ps(_mm_setzero_ps(), raw);
    } else {
        d = _mm_div_ps(_mm_mul_ps(raw, _mm_set1_ps(q->inv_norm)), _mm_sqrt_ps(v));
        d = _mm_sub_ps(_mm_set1_ps(1.0f), d);
        d = _mm_min_ps(_mm_max_ps(d, _mm_setzero_ps()), _mm_set1_ps(2.0f));
    }
    _mm_storeu_ps(io, d);
    return true;
}
#else
static inline bool kernel_finish4(const pv__kernel_query *q, const float *norm2, float *io) {
    (void)q;
    (void)norm2;
    (void)io;
    return false;
}
#endif

/* io: raw sums in, distances out. norm2: of the rows, for cosine only (else anything). */
static void kernel_finish(const pv__kernel_query *q, const uint8_t *const *rows, size_t n,
                          const float *norm2, float *io) {
    for (size_t r = 0; r < n;) {
        if (r + 4 <= n && kernel_finish4(q, norm2 + r, io + r)) {
            r += 4;
            continue;
        }
        for (const size_t end = PV_MIN(r + 4, n); r < end; r++) {
            const float v = q->metric == PV_METRIC_COSINE ? norm2[r] : 0.0f;
            io[r] = kernel_in_range(q, io[r], v) ? kernel_distance(q, io[r], v)
                                                 : kernel_slow(q, rows[r]);
        }
    }
}

/* Raw sums of at most KERNEL_BLOCK rows; `rows` holds n + ahead.rows pointers. */
static void kernel_raw(const pv__kernel *k, const pv__kernel_query *q, const uint8_t *const *rows,
                       size_t n, pv__kernel_ahead ahead, float *norm2, float *out) {
    if (q->metric == PV_METRIC_L2) {
        k->l2sq(q->wide, q->dims, rows, n, ahead, out);
    } else if (q->metric == PV_METRIC_DOT) {
        k->dot(q->wide, q->dims, rows, n, ahead, out);
    } else {
        k->cos(q->wide, q->dims, rows, n, ahead, out, norm2);
    }
}

static void kernel_block(const pv__kernel *k, const pv__kernel_query *q, const uint8_t *const *rows,
                         size_t n, pv__kernel_ahead ahead, float *out) {
    float norm2[KERNEL_BLOCK];
    if (q->distances) {
        pv__measure_block(q, rows, n, ahead.rows, out);
        return;
    }
    kernel_raw(k, q, rows, n, ahead, norm2, out);
    kernel_finish(q, rows, n, norm2, out);
}

/* Raw sums beyond this, and finite, are of rows that are farther than `bound`: no root is drawn of
 * them. Compared with raw sums for l2 and negated ones for dot; roots round monotonically. */
static float kernel_far(const pv__kernel_query *q, float bound) {
    if (q->metric == PV_METRIC_DOT) {
        return bound;
    }
    const double far = (double)bound * (double)bound * (1 + 0x1p-20);
    return far > (double)FLT_MAX ? INFINITY : PV_MAX((float)far, KERNEL_L2_TINY);
}

/* Is one of 16 perhaps not farther? Nearly always none is; without a branch for each. */
static bool kernel_any_near(const float *raw, float sign, float far) {
    unsigned any = 0;
    for (unsigned i = 0; i < KERNEL_GROUP; i++) {
        const float v = raw[i] * sign;
        any |= (unsigned)!(v > far) | (unsigned)!(v <= FLT_MAX); /* NaN and infinity: look */
    }
    return any != 0;
}

/* Distances of the rows that may be within `bound`, and a bit for those that are. */
static uint64_t kernel_finish_near(const pv__kernel_query *q, const uint8_t *const *rows, size_t n,
                                   const float *norm2, float bound, float *io) {
    const float sign = q->metric == PV_METRIC_DOT ? -1.0f : 1.0f;
    const float far = q->metric == PV_METRIC_COSINE ? INFINITY : kernel_far(q, bound);
    uint64_t bits = 0;
    for (size_t r = 0; r < n; r += KERNEL_GROUP) {
        const size_t now = PV_MIN(n - r, (size_t)KERNEL_GROUP);
        if (now == KERNEL_GROUP && far <= FLT_MAX && !kernel_any_near(io + r, sign, far)) {
            continue;
        }
        kernel_finish(q, rows + r, now, norm2 + r, io + r);
        for (size_t i = r; i < r + now; i++) {
            bits |= (uint64_t)(io[i] <= bound) << i;
        }
    }
    return bits;
}

static uint64_t kernel_within(const float *distances, size_t n, float bound) {
    uint64_t bits = 0;
    for (size_t r = 0; r < n; r++) {
        bits |= (uint64_t)(distances[r] <= bound) << r;
    }
    return bits;
}

static pv__kernel_ahead kernel_ahead(const pv__kernel_query *q, bool once) {
    const size_t rows = KERNEL_AHEAD_BYTES / (q->dims * sizeof(float));
    return (pv__kernel_ahead){PV_MIN(PV_MAX(rows, (size_t)1), (size_t)PV__KERNEL_AHEAD), once};
}

void pv__kernel_gather(const pv__kernel *k, const pv__kernel_query *q, const uint8_t *const *rows,
                       size_t n, float *out) {
    const uint8_t *row[KERNEL_BLOCK + PV__KERNEL_AHEAD];
    const pv__kernel_ahead ahead = kernel_ahead(q, false);
    for (size_t r = 0; r < n; r += KERNEL_BLOCK) {
        const size_t now = PV_MIN(n - r, (size_t)KERNEL_BLOCK);
        for (size_t i = 0; i < now + ahead.rows; i++) { /* at the end the last again: in cache */
            row[i] = rows[PV_MIN(r + i, n - 1)];
        }
        kernel_block(k, q, row, now, ahead, out + r);
    }
}

void pv__kernel_scan(const pv__kernel *k, const pv__kernel_query *q, const void *rows,
                     size_t stride, size_t n, float *out) {
    const uint8_t *row[KERNEL_BLOCK + PV__KERNEL_AHEAD];
    const pv__kernel_ahead ahead = kernel_ahead(q, false);
    for (size_t r = 0; r < n; r += KERNEL_BLOCK) {
        const size_t now = PV_MIN(n - r, (size_t)KERNEL_BLOCK);
        for (size_t i = 0; i < now + ahead.rows; i++) {
            row[i] = (const uint8_t *)rows + PV_MIN(r + i, n - 1) * stride;
        }
        kernel_block(k, q, row, now, ahead, out + r);
    }
}

void pv__kernel_near(const pv__kernel *k, const pv__kernel_query *q, const uint8_t *const *rows,
                     size_t n, bool once, float bound, float *out, uint64_t *bits) {
    float norm2[KERNEL_BLOCK];
    const pv__kernel_ahead ahead = kernel_ahead(q, once);
    for (size_t r = 0; r < n; r += KERNEL_BLOCK) {
        const size_t now = PV_MIN(n - r, (size_t)KERNEL_BLOCK);
        if (q->distances) {
            pv__measure_block(q, rows + r, now, ahead.rows, out + r);
            bits[r / 64] = kernel_within(out + r, now, bound);
            continue;
        }
        kernel_raw(k, q, rows + r, now, ahead, norm2, out + r);
        bits[r / 64] = kernel_finish_near(q, rows + r, now, norm2, bound, out + r);
    }
}

float pv__kernel_pair(const pv__kernel *k, const pv__kernel_query *q, const void *row) {
    const uint8_t *rows[1] = {row};
    float out = 0;
    kernel_block(k, q, rows, 1, (pv__kernel_ahead){0, false}, &out);
    return out;
}

/* ---- many queries -------------------------------------------------------------------------- */

/* One tile of raw sums of tile_queries queries. What sticks out of the block repeats the last row,
 * and is not handed out; nor are queries behind query_count. */
static void kernel_tile(const pv__kernel *k, bool l2, const float *const *q, size_t query_count,
                        size_t dims, const uint8_t *const *rows, size_t n, float *out,
                        size_t out_stride) {
    const uint8_t *last[PV__KERNEL_TILE_MAX];
    float sums[PV__KERNEL_TILE_MAX * PV__KERNEL_TILE_MAX];
    const uint8_t *const *r = rows;
    if (n < k->tile_rows) {
        for (size_t i = 0; i < k->tile_rows; i++) {
            last[i] = rows[PV_MIN(i, n - 1)];
        }
        r = last;
    }
    if (l2) {
        k->l2sq_tile(q, dims, r, sums);
    } else {
        k->dot_tile(q, dims, r, sums);
    }
    for (size_t i = 0; i < query_count; i++) {
        if (n >= PV__KERNEL_TILE_MAX && k->tile_rows == PV__KERNEL_TILE_MAX) { /* a known size */
            memcpy(out + i * out_stride, sums + i * PV__KERNEL_TILE_MAX,
                   PV__KERNEL_TILE_MAX * sizeof(float));
            continue;
        }
        for (size_t j = 0; j < PV_MIN(n, (size_t)k->tile_rows); j++) {
            out[i * out_stride + j] = sums[i * k->tile_rows + j];
        }
    }
}

/* At most KERNEL_QUERIES queries, which stay in the first-level cache while the rows pass by. */
static void kernel_many_tiles(const pv__kernel *k, const pv__kernel_query *queries,
                              size_t query_count, const uint8_t *const *rows, size_t n, float *out,
                              size_t out_stride) {
    const float *vectors[KERNEL_QUERIES + PV__KERNEL_TILE_MAX];
    const bool l2 = queries[0].metric == PV_METRIC_L2;
    for (size_t i = 0; i < query_count + k->tile_queries; i++) { /* the last fills the last tile */
        vectors[i] = queries[PV_MIN(i, query_count - 1)].wide;
    }
    for (size_t r = 0; r < n; r += k->tile_rows) {
        for (size_t q = 0; q < query_count; q += k->tile_queries) {
            kernel_tile(k, l2, vectors + q, PV_MIN(query_count - q, (size_t)k->tile_queries),
                        queries[0].dims, rows + r, n - r, out + q * out_stride + r, out_stride);
        }
    }
}

/* At most KERNEL_BLOCK rows, which stay in the second-level cache while all queries pass over
 * them. */
static void kernel_many_block(const pv__kernel *k, const pv__kernel_query *queries,
                              size_t query_count, const uint8_t *const *rows, size_t n, float *out,
                              size_t out_stride) {
    float norm2[KERNEL_BLOCK], dot[KERNEL_BLOCK];
    if (queries[0].distances) {
        for (size_t q = 0; q < query_count; q++) {
            pv__measure_block(&queries[q], rows, n, 0, out + q * out_stride);
        }
        return;
    }
    if (queries[0].metric == PV_METRIC_COSINE) {
        const pv__kernel_ahead none = {0, false};
        k->cos(queries[0].wide, queries[0].dims, rows, n, none, dot, norm2);
    }
    const size_t vector_bytes = queries[0].dims * sizeof(float);
    const size_t most = PV_MIN(KERNEL_QUERY_BYTES / vector_bytes, (size_t)KERNEL_QUERIES);
    const size_t chunk = PV_MAX(most / k->tile_queries, (size_t)1) * k->tile_queries;
    for (size_t q = 0; q < query_count; q += chunk) {
        const size_t now = PV_MIN(query_count - q, chunk);
        kernel_many_tiles(k, queries + q, now, rows, n, out + q * out_stride, out_stride);
    }
    for (size_t q = 0; q < query_count; q++) {
        kernel_finish(&queries[q], rows, n, norm2, out + q * out_stride);
    }
}

void pv__kernel_many(const pv__kernel *k, const pv__kernel_query *queries, size_t query_count,
                     const uint8_t *const *rows, size_t n, float *out, size_t out_stride) {
    if (query_count == 0) {
        return;
    }
    if (query_count == 1) { /* no tile to fill */
        pv__kernel_gather(k, queries, rows, n, out);
        return;
    }
    const size_t fits = KERNEL_MANY_BYTES / (queries[0].dims * sizeof(float));
    const size_t block = PV_MIN(PV_MAX(fits, (size_t)PV__KERNEL_TILE_MAX), (size_t)KERNEL_BLOCK);
    for (size_t r = 0; r < n; r += block) {
        const size_t now = PV_MIN(n - r, block);
        kernel_many_block(k, queries, query_count, rows + r, now, out + r, out_stride);
    }
}

#undef KERNEL_BLOCK
#undef KERNEL_GROUP
#undef KERNEL_AHEAD_BYTES
#undef KERNEL_MANY_BYTES
#undef KERNEL_QUERY_BYTES
#undef KERNEL_QUERIES
#undef KERNEL_L2_TINY
#undef KERNEL_NORM2_MIN
#undef KERNEL_NORM2_MAX
