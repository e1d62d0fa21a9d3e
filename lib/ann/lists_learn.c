/* SPDX-License-Identifier: Apache-2.0 */
/* lists_learn.c - where lists lie: k-means in two levels, of a sample, once.
 *
 *      sample --> codes of centres' kind, in memory
 *      k-means of all -> groups -> k-means of the rows of each -> lists, as many as it has a share
 *      of the sample -> rounds over all: a row's list is what pv__lists_nearest says
 *
 * Means are of what the codes decode to, so that a row of the sample is a byte an element. Nothing
 * is left to chance: the first centres are rows of the sample at even distances, and a centre
 * without rows takes the one that is farthest from its own. Sums are in one order, so that the same
 * sample gives the same centres everywhere (G5).
 *
 * Of bits, a mean is made of bits again: hamming, those that most rows have; jaccard, the most
 * frequent ones, as many as rows have in the mean. */
#include <math.h>

#include "ann/lists.h"
#include "base/sort.h"

#define LLEARN_ROOT 4u        /* so many times the root of the rows are lists, */
#define LLEARN_BLOCKS 2u      /* but each shall have so many blocks, */
#define LLEARN_ROWS_MIN 16u   /* and of a sample that is small, so many rows */
#define LLEARN_ROWS 32u       /* of the sample, for each list */
#define LLEARN_GROUP_ROWS 64u /* for each group */
#define LLEARN_BYTES_MIN (4u << 20)
#define LLEARN_BYTES_MAX (128u << 20)
#define LLEARN_CACHE_PART 4u /* of the cache */
#define LLEARN_ROUNDS 6u
#define LLEARN_ROUNDS_ALL 2u /* over all lists */
#define LLEARN_PAUSE 64u
#define LLEARN_ALIGN 64u

typedef struct llearn_job {
    pv__graph *g;
    pv__mem *mem;
    const pv__code_stop *stop;
    pv__code made; /* of centres: the same code, from f32 */
    size_t n;      /* rows of the sample */
    uint32_t groups, lists;
    uint8_t *rows;     /* codes, n */
    uint8_t *centres;  /* codes: groups, then lists */
    uint32_t *of;      /* n: centre */
    float *near;       /* n: distance from it */
    uint32_t *order;   /* n: rows of the first group, of the second, ... */
    uint32_t *first;   /* groups + 1: where they begin; then of their lists */
    float *sums;       /* lists x dims */
    uint32_t *members; /* lists */
    float *wide;       /* 2 x dims */
    uint8_t *query, *scratch, *bits;
    size_t bytes;
} llearn_job;

/* Some centres and the rows that they are the means of. */
typedef struct llearn_set {
    uint32_t centre, count; /* from centre on */
    const uint32_t *rows;   /* NULL: every step-th of the sample */
    size_t n, step;
} llearn_set;

static size_t llearn_row(const llearn_set *s, size_t i) {
    return s->rows ? s->rows[i] : i * s->step;
}

static const uint8_t *llearn_code(const llearn_job *j, size_t row) {
    return j->rows + row * j->g->centre.row_size;
}
static uint8_t *llearn_centre(const llearn_job *j, uint32_t centre) {
    return j->centres + (size_t)centre * j->g->centre.row_size;
}

static int llearn_ask(const llearn_job *j, pv_error *err) {
    return j->stop && j->stop->fn ? j->stop->fn(j->stop->ctx, err) : 0;
}

/* ---- how many -------------------------------------------------------------------------------- */

static uint32_t llearn_lists(const pv__graph *g, uint64_t all) {
    const uint32_t slots = g->shape->code_slots(g->code.row_size);
    uint32_t page_slots = slots, rows = slots * PV__SLOT_SIZE / g->code.row_size; /* or one less */
    if (slots == 0) {
        (void)pv__column_layout(g->code.row_size, &page_slots, &rows);
    }
    const uint64_t root = LLEARN_ROOT * (uint64_t)sqrt((double)all);
    const uint64_t blocks = all / ((uint64_t)LLEARN_BLOCKS * PV_MAX(rows, 1u));
    return (uint32_t)PV_MAX(PV_MIN(root, blocks), (uint64_t)1);
}

uint32_t pv__lists_learn_rows(const pv__graph *g, uint64_t all) {
    const uint64_t cache = pv__txn_cache_bytes(g->txn) / LLEARN_CACHE_PART;
    const uint64_t bytes = PV_MIN(PV_MAX(cache, LLEARN_BYTES_MIN), LLEARN_BYTES_MAX);
    const uint64_t rows = (uint64_t)llearn_lists(g, all) * LLEARN_ROWS;
    return (uint32_t)PV_MIN(PV_MIN(rows, bytes / g->centre.row_size + 1), all);
}

/* ---- k-means --------------------------------------------------------------------------------- */

/* The nearest of centres [from, from + count). */
static void llearn_nearest(llearn_job *j, uint32_t from, uint32_t count, pv__hit *io_best) {
    for (uint32_t at = 0; at < count; at += PV__WALK_ROWS) {
        const uint8_t *rows[PV__WALK_ROWS];
        float distances[PV__WALK_ROWS];
        const uint32_t n = PV_MIN(count - at, PV__WALK_ROWS);
        for (uint32_t i = 0; i < n; i++) {
            rows[i] = llearn_centre(j, from + at + i);
        }
        pv__code_distances_expected(&j->g->centre, j->query, rows, n, distances);
        for (uint32_t i = 0; i < n; i++) {
            const pv__hit hit = {distances[i], from + at + i};
            *io_best = pv__hit_less(hit, *io_best) ? hit : *io_best;
        }
    }
}

static bool llearn_more(const float *a, const float *b) { return *a > *b; }
PV__SORT_DEFINE(llearn_sort, float, llearn_more)

/* A mean of bits, as bits. v: how often each is set. */
static const void *llearn_bits(llearn_job *j, const float *v, uint32_t members) {
    const uint32_t dims = j->g->dims;
    float *const sorted = j->wide + dims;
    float least = (float)members / 2, sum = 0;
    if (j->g->metric == PV_METRIC_JACCARD) {
        for (uint32_t i = 0; i < dims; i++) {
            sorted[i] = v[i];
            sum += v[i] / (float)members;
        }
        llearn_sort(sorted, dims);
        least = sorted[PV_MIN((uint32_t)sum, dims - 1)];
    }
    memset(j->bits, 0, (dims + 7) / 8);
    for (uint32_t i = 0; i < dims; i++) {
        if (v[i] > least || (v[i] == least && least > 0 && j->g->metric == PV_METRIC_JACCARD)) {
            j->bits[i / 8] |= (uint8_t)(0x80u >> (i % 8));
        }
    }
    return j->bits;
}

static void llearn_mean(llearn_job *j, uint32_t centre, float *sum, uint32_t members) {
    const void *vector = sum;
    if (j->g->type == PV_TYPE_BIT) {
        vector = llearn_bits(j, sum, members);
    } else {
        for (uint32_t i = 0; i < j->g->dims; i++) {
            sum[i] /= (float)members;
        }
    }
    pv__code_encode(&j->made, vector, j->scratch, llearn_centre(j, centre));
}

/* Centres without rows take those that are farthest from their own. */
static void llearn_empty(llearn_job *j, const llearn_set *s, uint32_t centre) {
    size_t far = 0;
    for (size_t i = 1; i < s->n; i++) {
        far = j->near[llearn_row(s, i)] > j->near[llearn_row(s, far)] ? i : far;
    }
    memcpy(llearn_centre(j, centre), llearn_code(j, llearn_row(s, far)), j->g->centre.row_size);
    j->near[llearn_row(s, far)] = 0;
}

/* From j->of and j->near to new centres. */
static int llearn_move(llearn_job *j, const llearn_set *s, pv_error *err) {
    const uint32_t dims = j->g->dims;
    memset(j->sums, 0, (size_t)s->count * dims * sizeof *j->sums);
    memset(j->members, 0, s->count * sizeof *j->members);
    for (size_t i = 0; i < s->n; i++) {
        const size_t row = llearn_row(s, i);
        const uint32_t centre = j->of[row] - s->centre;
        float *const sum = j->sums + (size_t)centre * dims;
        PV_TRY(i % LLEARN_PAUSE == 0 ? llearn_ask(j, err) : 0);
        pv__code_decode(&j->g->centre, llearn_code(j, row), j->wide);
        for (uint32_t d = 0; d < dims; d++) {
            sum[d] += j->wide[d];
        }
        j->members[centre]++;
    }
    for (uint32_t c = 0; c < s->count; c++) {
        if (j->members[c] == 0) {
            llearn_empty(j, s, s->centre + c);
        } else {
            llearn_mean(j, s->centre + c, j->sums + (size_t)c * dims, j->members[c]);
        }
    }
    return 0;
}

/* Where a row of the sample belongs. */
typedef void (*llearn_place_fn)(llearn_job *j, const llearn_set *s, pv__hit *out);

static void llearn_place_set(llearn_job *j, const llearn_set *s, pv__hit *out) {
    llearn_nearest(j, s->centre, s->count, out);
}

static int llearn_assign(llearn_job *j, const llearn_set *s, llearn_place_fn place, pv_error *err) {
    for (size_t i = 0; i < s->n; i++) {
        const size_t row = llearn_row(s, i);
        pv__hit best = {INFINITY, UINT32_MAX};
        PV_TRY(i % LLEARN_PAUSE == 0 ? llearn_ask(j, err) : 0);
        pv__code_query_row(&j->g->centre, llearn_code(j, row), j->query);
        place(j, s, &best);
        j->of[row] = best.slot;
        j->near[row] = best.distance;
    }
    return 0;
}

static int llearn_means(llearn_job *j, const llearn_set *s, pv_error *err) {
    for (uint32_t c = 0; c < s->count; c++) {
        memcpy(llearn_centre(j, s->centre + c), llearn_code(j, llearn_row(s, c * s->n / s->count)),
               j->g->centre.row_size);
    }
    for (unsigned round = 0; round < LLEARN_ROUNDS; round++) {
        PV_TRY(llearn_assign(j, s, llearn_place_set, err));
        PV_TRY(llearn_move(j, s, err));
    }
    return 0;
}

/* ---- two levels ------------------------------------------------------------------------------ */

/* Rows by their group, in j->order from j->first on. */
static void llearn_bucket(llearn_job *j) {
    memset(j->first, 0, (j->groups + 1) * sizeof *j->first);
    for (size_t i = 0; i < j->n; i++) {
        j->first[j->of[i] + 1]++;
    }
    for (uint32_t c = 0; c < j->groups; c++) {
        j->first[c + 1] += j->first[c];
    }
    for (size_t i = 0; i < j->n; i++) {
        j->order[j->first[j->of[i]]++] = (uint32_t)i;
    }
    memmove(j->first + 1, j->first, j->groups * sizeof *j->first);
    j->first[0] = 0;
}

/* Lists of each group; afterwards j->first says which. */
static int llearn_split(llearn_job *j, pv_error *err) {
    uint32_t at = 0, end = 0;
    for (uint32_t c = 0; c < j->groups; c++) {
        const uint32_t begin = end;
        end = j->first[c + 1];
        const uint64_t share = ((uint64_t)j->lists * (end - begin) + j->n / 2) / j->n;
        const uint32_t left = j->lists - at;
        const uint32_t count =
            end == begin ? 0
                         : PV_MIN(PV_MIN((uint32_t)PV_MAX(share, (uint64_t)1), end - begin), left);
        const llearn_set set = {j->groups + at, count, j->order + begin, end - begin, 1};
        PV_TRY(count > 0 ? llearn_means(j, &set, err) : 0);
        j->first[c] = at;
        at += count;
    }
    j->first[j->groups] = j->lists = at;
    return 0;
}

/* The nearest list among those of the nearest groups, as pv__lists_nearest has it, but that the
 * groups are fewer. */
static void llearn_place_all(llearn_job *j, const llearn_set *s, pv__hit *out) {
    pv__hit near[4];
    size_t n = 0;
    (void)s;
    for (uint32_t c = 0; c < j->groups; c++) {
        pv__hit group = {INFINITY, UINT32_MAX};
        llearn_nearest(j, c, 1, &group);
        (void)pv__pool_insert(near, &n, PV_COUNTOF(near), group.distance, c);
    }
    for (size_t i = 0; i < n; i++) {
        const uint32_t from = j->first[near[i].slot], to = j->first[near[i].slot + 1];
        llearn_nearest(j, j->groups + from, to - from, out);
    }
}

static int llearn_centres(llearn_job *j, pv_error *err) {
    const size_t some = PV_MIN((size_t)j->groups * LLEARN_GROUP_ROWS, j->n);
    llearn_set set = {0, j->groups, NULL, some, j->n / some};
    PV_TRY(llearn_means(j, &set, err));
    set.n = j->n;
    set.step = 1;
    PV_TRY(llearn_assign(j, &set, llearn_place_set, err));
    llearn_bucket(j);
    PV_TRY(llearn_split(j, err));
    set.centre = j->groups;
    set.count = j->lists;
    for (unsigned round = 0; round < LLEARN_ROUNDS_ALL; round++) {
        PV_TRY(llearn_assign(j, &set, llearn_place_all, err));
        PV_TRY(llearn_move(j, &set, err));
    }
    return 0;
}

/* ---- pages ----------------------------------------------------------------------------------- */

static int llearn_sample(llearn_job *j, const uint32_t *slots, size_t count, pv_error *err) {
    for (size_t i = 0; i < j->n; i++) { /* from all of them, evenly */
        const uint8_t *row;
        PV_TRY(pv__graph_vector(j->g, slots[i * count / j->n], &row, err));
        pv__code_encode(&j->g->centre, row, j->scratch, j->rows + i * j->g->centre.row_size);
        if (i % LLEARN_PAUSE == LLEARN_PAUSE - 1) {
            PV_TRY(pv__txn_pause(j->g->txn, err));
            PV_TRY(llearn_ask(j, err));
        }
    }
    return pv__txn_pause(j->g->txn, err);
}

static int llearn_write(llearn_job *j, uint64_t all, pv_error *err) {
    pv__graph *g = j->g;
    PV_TRY(pv__graph_level_begin(g, 0, err));
    for (uint32_t i = 0; i < j->groups + j->lists; i++) {
        uint8_t *row;
        PV_TRY(pv__column_write(&g->upper[0], i, &row, err));
        memset(row, 0, PV__LIST_HEAD);
        if (i < j->groups) {
            pv__put32(row, j->first[i]);
            pv__put32(row + 4, j->first[i + 1] - j->first[i]);
        }
        memcpy(row + PV__LIST_HEAD, llearn_centre(j, i), g->centre.row_size);
        PV_TRY(i % LLEARN_PAUSE == 0 ? pv__txn_pause(g->txn, err) : 0);
    }
    g->meta.levels[0].high = j->groups + j->lists;
    g->meta.lists = (pv__graph_lists){.groups = j->groups,
                                      .count = j->lists,
                                      .rows = (uint32_t)PV_MIN(all, (uint64_t)UINT32_MAX)};
    g->changed = true;
    return 0;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void *llearn_take(uint8_t *memory, size_t *io_at, size_t bytes) {
    const size_t at = *io_at;
    *io_at = PV_ALIGN_UP(at + bytes, (size_t)LLEARN_ALIGN);
    return memory ? memory + at : NULL;
}

/* Called twice: to count, and to hand out. */
static void llearn_places(llearn_job *j, uint8_t *memory) {
    const pv__graph *g = j->g;
    const size_t code = g->centre.row_size, all = (size_t)j->groups + j->lists;
    const size_t scratch = PV_MAX(g->centre.scratch_bytes, j->made.scratch_bytes);
    size_t at = 0;
    j->rows = llearn_take(memory, &at, j->n * code);
    j->centres = llearn_take(memory, &at, all * code);
    j->of = llearn_take(memory, &at, j->n * sizeof *j->of);
    j->near = llearn_take(memory, &at, j->n * sizeof *j->near);
    j->order = llearn_take(memory, &at, j->n * sizeof *j->order);
    j->first = llearn_take(memory, &at, ((size_t)j->groups + 1) * sizeof *j->first);
    j->sums = llearn_take(memory, &at, all * g->dims * sizeof *j->sums);
    j->members = llearn_take(memory, &at, all * sizeof *j->members);
    j->wide = llearn_take(memory, &at, 2 * (size_t)g->dims * sizeof *j->wide);
    j->query = llearn_take(memory, &at, g->centre.query_bytes);
    j->scratch = llearn_take(memory, &at, scratch + 64);
    j->bits = llearn_take(memory, &at, (g->dims + 7) / 8 + 8);
    j->bytes = at;
}

static int llearn_begin(llearn_job *j, size_t count, uint64_t all, pv_error *err) {
    const pv__code *c = &j->g->centre;
    const pv__code_spec spec = {.kind = c->kind,
                                .metric = c->metric,
                                .dims = c->dims,
                                .type = c->type == PV_TYPE_BIT ? PV_TYPE_BIT : PV_TYPE_F32,
                                .norm2_max = c->norm2_max,
                                .seed = c->seed};
    PV_ASSERT(pv__code_init(&j->made, &spec, j->g->cpu));
    j->n = PV_MIN(count, (size_t)pv__lists_learn_rows(j->g, all));
    j->n = PV_MAX(j->n, (size_t)1);
    j->lists = PV_MIN(llearn_lists(j->g, all), (uint32_t)(j->n / LLEARN_ROWS_MIN) + 1);
    j->groups = (uint32_t)PV_MIN(PV_MAX(sqrt((double)j->lists), 1.0), (double)PV__GROUPS_MAX);
    llearn_places(j, NULL);
    return 0;
}

int pv__lists_learn(pv__graph *g, const uint32_t *slots, size_t count, uint64_t all,
                    const pv__code_stop *stop, pv_error *err) {
    llearn_job j = {.g = g, .mem = pv__txn_mem(g->txn), .stop = stop};
    if (g->meta.lists.groups != 0) {
        return 0;
    }
    PV_TRY(llearn_begin(&j, count, PV_MAX(all, (uint64_t)count), err));
    const size_t bytes = j.bytes;
    uint8_t *memory = pv__alloc_aligned(j.mem, bytes, LLEARN_ALIGN);
    if (!memory) {
        return pv__err_nomem(err, bytes);
    }
    llearn_places(&j, memory);
    int rc = llearn_sample(&j, slots, count, err);
    rc = rc == 0 ? llearn_centres(&j, err) : rc;
    rc = rc == 0 ? llearn_write(&j, all, err) : rc;
    pv__alloc_free_aligned(j.mem, memory, bytes, LLEARN_ALIGN);
    return rc;
}

#undef LLEARN_ROOT
#undef LLEARN_BLOCKS
#undef LLEARN_ROWS_MIN
#undef LLEARN_ROWS
#undef LLEARN_GROUP_ROWS
#undef LLEARN_BYTES_MIN
#undef LLEARN_BYTES_MAX
#undef LLEARN_CACHE_PART
#undef LLEARN_ROUNDS
#undef LLEARN_ROUNDS_ALL
#undef LLEARN_PAUSE
#undef LLEARN_ALIGN
