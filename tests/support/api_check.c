/* SPDX-License-Identifier: Apache-2.0 */
/* api_check.c - see api_check.h. */
#include "support/api_check.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define T_CHECK_EPS 2e-5

/* ---- reasons ---- */

static bool t_why(char why[API_WHY], const char *name, const char *what, const pv_error *err) {
    snprintf(why, API_WHY, "collection '%s': %s%s%s", name, what, err ? ": " : "",
             err ? err->message : "");
    return false;
}

static bool t_why_key(char why[API_WHY], const api_collection *c, const api_record *rec,
                      const char *what) {
    if (rec->id) {
        snprintf(why, API_WHY, "collection '%s', id '%.60s': %s", c->name, rec->id, what);
    } else {
        snprintf(why, API_WHY, "collection '%s', id %" PRIu64 ": %s", c->name, rec->id_u64, what);
    }
    return false;
}

/* ---- records ---- */

/* id: NULL for numbers. metadata, vector: NULL when they were not asked for. */
static bool t_record_is(const api_collection *c, const api_record *want, const char *id,
                        uint64_t id_u64, const char *metadata, size_t len, const void *vector,
                        char why[API_WHY]) {
    static _Thread_local char text[API_TEXT_MAX];
    uint8_t packed[API_DIMS_MAX * sizeof(float)];
    const bool same_id = want->id ? id && strcmp(id, want->id) == 0 && id_u64 == PV_ID_NONE
                                  : !id && id_u64 == want->id_u64;
    if (!same_id) {
        return t_why_key(why, c, want, "another key stands in its place");
    }
    const size_t want_len = api_meta_text(&want->meta, text);
    if (!metadata || len != want_len || memcmp(metadata, text, len + 1) != 0) {
        fprintf(stderr, "metadata '%.200s', wanted '%.200s'\n", metadata ? metadata : "(none)",
                text);
        return t_why_key(why, c, want, "other metadata");
    }
    const size_t bytes = api_vector_pack(c, want->vector, packed);
    if (!vector || memcmp(vector, packed, bytes) != 0) {
        return t_why_key(why, c, want, "other vector");
    }
    return true;
}

static bool t_row_is(const api_collection *c, const api_record *want, const pv_results *res,
                     size_t row, char why[API_WHY]) {
    size_t len = 0;
    const char *metadata = pv_results_metadata(res, row, &len);
    if (!pv_results_found(res, row)) {
        return t_why_key(why, c, want, "is not found");
    }
    if (pv_results_dims(res) != c->dims || pv_results_type(res) != c->type) {
        return t_why_key(why, c, want, "has other dims or type");
    }
    return t_record_is(c, want, pv_results_id(res, row), pv_results_id_u64(res, row), metadata, len,
                       pv_results_vector(res, row), why);
}

static bool t_walk_matches(const api_collection *c, pv_db *db, pv_txn *txn, char why[API_WHY]) {
    pv_error err = PV_ERROR_INIT;
    pv_iter_opts o = PV_ITER_OPTS_INIT;
    pv_iter *it = NULL;
    bool good = true;
    int rc = 0;
    size_t at = 0;
    o.include = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    if (pv_iter_open(db, txn, c->name, &o, &it, &err) != 0) {
        return t_why(why, c->name, "pv_iter_open", &err);
    }
    while (good && (rc = pv_iter_next(it, &err)) == 1) {
        size_t len = 0;
        uint32_t dims = 0;
        const char *metadata = pv_iter_metadata(it, &len);
        const void *vector = pv_iter_vector(it, &dims);
        if (at >= c->count) {
            good = t_why(why, c->name, "more records than wanted in a walk", NULL);
        } else if (dims != c->dims) {
            good = t_why(why, c->name, "other dims in a walk", NULL);
        } else {
            good = t_record_is(c, c->records[at++], pv_iter_id(it), pv_iter_id_u64(it), metadata,
                               len, vector, why);
        }
    }
    if (good && rc != 0) {
        good = t_why(why, c->name, "pv_iter_next", &err);
    } else if (good && at != c->count) {
        good = t_why_key(why, c, c->records[at], "is missing in a walk");
    }
    pv_iter_close(it);
    return good;
}

/* All ids in one call, with absent ones between them. */
static bool t_get_many_matches(const api_collection *c, pv_db *db, pv_txn *txn, char why[API_WHY]) {
    const size_t n = c->count * 2 + 1; /* record i at 2i + 1, absent ids at even places */
    pv_error err = PV_ERROR_INIT;
    pv_ids ids = PV_IDS_INIT;
    pv_results *res = NULL;
    const char **texts = malloc(n * sizeof(*texts));
    uint64_t *numbers = malloc(n * sizeof(*numbers));
    bool good = texts && numbers;
    for (size_t i = 0; good && i < n; i++) {
        texts[i] = i % 2 ? c->records[i / 2]->id : "absent";
        numbers[i] = i % 2 ? c->records[i / 2]->id_u64 : UINT64_C(1) << 60;
    }
    ids.count = n;
    ids.ids = c->key == PV_KEY_STRING ? texts : NULL;
    ids.ids_u64 = c->key == PV_KEY_U64 ? numbers : NULL;
    if (good && pv_get_many(db, txn, c->name, &ids, PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR, &res,
                            &err) != 0) {
        good = t_why(why, c->name, "pv_get_many", &err);
    }
    if (good && pv_results_count(res) != n) {
        good = t_why(why, c->name, "pv_get_many has another number of rows", NULL);
    }
    for (size_t i = 0; good && i < n; i++) {
        if (i % 2) {
            good = t_row_is(c, c->records[i / 2], res, i, why);
        } else if (pv_results_found(res, i)) {
            good = t_why(why, c->name, "an absent id is found", NULL);
        }
    }
    pv_results_free(res);
    free(texts);
    free(numbers);
    return good;
}

static bool t_get_matches(const api_collection *c, const api_record *rec, pv_db *db, pv_txn *txn,
                          char why[API_WHY]) {
    pv_error err = PV_ERROR_INIT;
    pv_results *res = NULL;
    const int rc = rec->id ? pv_get(db, txn, c->name, rec->id, &res, &err)
                           : pv_get_u64(db, txn, c->name, rec->id_u64, &res, &err);
    bool good = rc == 0;
    if (!good) {
        t_why_key(why, c, rec, err.message);
    } else {
        good = pv_results_count(res) == 1 && t_row_is(c, rec, res, 0, why);
    }
    pv_results_free(res);
    return good;
}

/* ---- search ---- */

double api_distance(uint32_t metric, const float *a, const float *b, uint32_t dims) {
    double dot = 0, l2 = 0, l1 = 0, aa = 0, bb = 0;
    for (uint32_t i = 0; i < dims; i++) {
        const double x = a[i], y = b[i];
        dot += x * y;
        l2 += (x - y) * (x - y);
        l1 += fabs(x - y);
        aa += x * x;
        bb += y * y;
    }
    if (metric == PV_METRIC_L2) {
        return sqrt(l2);
    }
    if (metric == PV_METRIC_DOT) {
        return -dot;
    }
    if (metric == PV_METRIC_L1 || metric == PV_METRIC_HAMMING) {
        return l1;
    }
    if (metric == PV_METRIC_JACCARD) {
        return aa + bb > 0 ? 1.0 - dot / (aa + bb - dot) : 0.0;
    }
    return aa > 0 && bb > 0 ? 1.0 - dot / sqrt(aa) / sqrt(bb) : 1.0;
}

/* What a search is and what brute force says: the distance of each record, or infinity where it
 * may not be in the answer. */
typedef struct t_find {
    const api_collection *c;
    float query[API_DIMS_MAX];
    uint8_t packed[API_DIMS_MAX * sizeof(float)]; /* the same as elements */
    uint32_t k;
    bool within, exact;
    float max_distance;
    double *distance;
    uint8_t *seen;
    size_t may;  /* records that are in the answer if k is large enough */
    size_t edge; /* of them, how many lie so near to the threshold that either is right */
} t_find;

static double t_find_eps(double distance) { return T_CHECK_EPS * (1.0 + fabs(distance)); }

static bool t_find_init(t_find *f, const api_collection *c, const api_filter *filter, test_rng *r) {
    memset(f, 0, sizeof(*f));
    f->c = c;
    f->k = 1 + (uint32_t)test_rng_below(r, c->count + 3);
    f->within = test_rng_below(r, 5) == 0;
    f->exact = test_rng_below(r, 2) == 0;
    f->distance = malloc((c->count + 1) * sizeof(*f->distance));
    f->seen = calloc(c->count + 1, 1);
    if (!f->distance || !f->seen) {
        return false;
    }
    api_vector_random(r, c, f->query);
    (void)api_vector_pack(c, f->query, f->packed);
    for (size_t i = 0; i < c->count; i++) {
        f->distance[i] = api_distance(c->metric, f->query, c->records[i]->vector, c->dims);
    }
    if (f->within) {
        const double pivot = c->count ? f->distance[test_rng_below(r, c->count)] : 1.0;
        f->max_distance = (float)(pivot + (test_rng_below(r, 2) ? 0.0 : 0.25));
    }
    for (size_t i = 0; i < c->count; i++) {
        const double beyond = f->within ? f->distance[i] - (double)f->max_distance : -INFINITY;
        const double eps = t_find_eps(f->distance[i]);
        if (!api_filter_matches(filter, &c->records[i]->meta) || beyond > eps) {
            f->distance[i] = INFINITY;
        } else if (beyond >= -eps) {
            f->edge++;
        } else {
            f->may++;
        }
    }
    return true;
}

static void t_find_done(t_find *f) {
    free(f->distance);
    free(f->seen);
}

static bool t_find_row(t_find *f, const pv_results *res, size_t i, size_t *last,
                       char why[API_WHY]) {
    const api_collection *c = f->c;
    const float got = pv_results_distance(res, i);
    const float before = i > 0 ? pv_results_distance(res, i - 1) : got;
    size_t at = 0;
    if (!api_collection_find(c, pv_results_id(res, i), pv_results_id_u64(res, i), &at)) {
        return t_why(why, c->name, "a search finds an id that is not there", NULL);
    }
    const api_record *rec = c->records[at];
    if (f->seen[at]++) {
        return t_why_key(why, c, rec, "stands twice in a search");
    }
    if (isinf(f->distance[at])) {
        return t_why_key(why, c, rec, "must not be in this answer");
    }
    if (!(fabs((double)got - f->distance[at]) <= t_find_eps(f->distance[at]))) {
        fprintf(stderr, "distance %.9g, wanted %.9g\n", (double)got, f->distance[at]);
        return t_why_key(why, c, rec, "other distance");
    }
    if (api_collection_is_exact(c) && got != (float)f->distance[at]) {
        return t_why_key(why, c, rec, "whole numbers, but the distance is not exact");
    }
    const bool from_one = c->metric == PV_METRIC_COSINE || c->metric == PV_METRIC_JACCARD;
    const float score = from_one ? 1.0f - got : -got;
    if (!(fabsf(pv_results_score(res, i) - score) <= 1e-6f)) {
        return t_why_key(why, c, rec, "other score");
    }
    if (got < before || (i > 0 && got == before && at <= *last)) {
        return t_why_key(why, c, rec, "is out of order in a search");
    }
    if (f->within && got > f->max_distance) {
        return t_why_key(why, c, rec, "is beyond the threshold");
    }
    *last = at;
    return t_row_is(c, rec, res, i, why);
}

/* Of an approximate search which of the nearest were found is not judged here: they are few, and
 * the tests of recall have many. How many, who and in which order is. */

/* Nobody outside the answer is nearer than its last row; of those as near only later keys. When
 * it has fewer than k rows, nobody is outside. */
static bool t_find_rest(const t_find *f, bool full, double worst, size_t worst_at,
                        char why[API_WHY]) {
    const api_collection *c = f->c;
    const bool exact = api_collection_is_exact(c);
    for (size_t i = 0; i < c->count; i++) {
        const double d = f->distance[i];
        if (f->seen[i] || isinf(d) || (f->within && d >= (double)f->max_distance - t_find_eps(d))) {
            continue;
        }
        if (!full || d < worst - t_find_eps(worst) ||
            (exact && ((double)(float)d < worst || ((double)(float)d == worst && i < worst_at)))) {
            return t_why_key(why, c, c->records[i], "is missing in a search");
        }
    }
    return true;
}

static bool t_find_compare(t_find *f, const pv_results *res, char why[API_WHY]) {
    const size_t n = pv_results_count(res);
    const bool may_miss = f->within && !f->exact;
    const size_t least = may_miss ? 0 : f->may < f->k ? f->may : f->k;
    const size_t most = f->may + f->edge < f->k ? f->may + f->edge : f->k;
    size_t last = 0;
    if (n < least || n > most) {
        snprintf(why, API_WHY, "collection '%s': a search has %zu rows, wanted %zu to %zu",
                 f->c->name, n, least, most);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!t_find_row(f, res, i, &last, why)) {
            return false;
        }
    }
    const double worst = n > 0 ? (double)pv_results_distance(res, n - 1) : 0.0;
    return !f->exact || t_find_rest(f, n == f->k, worst, last, why);
}

bool api_search_matches(const api_collection *c, pv_db *db, pv_txn *txn, test_rng *r,
                        char why[API_WHY]) {
    pv_error err = PV_ERROR_INIT;
    pv_query q = PV_QUERY_INIT;
    pv_results *res = NULL;
    api_filter filter = {API_FILTER_ALL, 0};
    char text[128];
    t_find f;
    if (test_rng_below(r, 2)) {
        filter = api_filter_random(r);
    }
    api_filter_text(&filter, text);
    if (!t_find_init(&f, c, &filter, r)) {
        t_find_done(&f);
        return t_why(why, c->name, "no memory", NULL);
    }
    q.flags = (f.exact ? PV_QUERY_EXACT : 0u) | (f.within ? PV_QUERY_WITHIN : 0u);
    q.ef = f.exact || test_rng_below(r, 4) == 0 ? 0 : 1 + (uint32_t)test_rng_below(r, 60);
    q.vector = f.packed;
    q.type = c->type;
    q.dims = c->dims;
    q.k = f.k;
    q.include = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    q.filter = filter.kind == API_FILTER_ALL ? NULL : text;
    q.max_distance = f.max_distance;
    bool good = pv_search(db, txn, c->name, &q, &res, &err) == 0;
    if (!good) {
        t_why(why, c->name, "pv_search", &err);
    } else {
        good = t_find_compare(&f, res, why);
    }
    if (!good) {
        fprintf(
            stderr,
            "search: type %u metric %u dims %u k %u within %d %g filter %s exact %d ef %u: %s\n",
            (unsigned)c->type, (unsigned)c->metric, (unsigned)c->dims, (unsigned)f.k, f.within,
            (double)f.max_distance, text, f.exact, (unsigned)q.ef, res ? pv_results_plan(res) : "");
    }
    pv_results_free(res);
    t_find_done(&f);
    return good;
}

/* All pages of a cursor: every record that matches, once, each page in order. */
static bool t_cursor_page(t_find *f, pv_cursor *cursor, test_rng *r, size_t *io_rows,
                          bool *out_more, char why[API_WHY]) {
    pv_error err = PV_ERROR_INIT;
    pv_results *page = NULL;
    const uint32_t k = 1 + (uint32_t)test_rng_below(r, f->c->count + 3);
    size_t last = 0;
    if (pv_cursor_next(cursor, k, &page, &err) != 0) {
        return t_why(why, f->c->name, "pv_cursor_next", &err);
    }
    const size_t n = pv_results_count(page);
    bool good = true;
    for (size_t i = 0; good && i < n; i++) {
        good = t_find_row(f, page, i, &last, why);
    }
    *io_rows += n;
    *out_more = n > 0;
    if (good && n != k && *io_rows < f->may && !(f->within && !f->exact)) {
        good = t_why(why, f->c->name, "a page of a cursor is short", NULL);
    }
    pv_results_free(page);
    return good;
}

static bool t_cursor_matches(const api_collection *c, pv_db *db, test_rng *r, char why[API_WHY]) {
    pv_error err = PV_ERROR_INIT;
    pv_query q = PV_QUERY_INIT;
    pv_cursor *cursor = NULL;
    const api_filter filter = api_filter_random(r);
    char text[128];
    t_find f;
    api_filter_text(&filter, text);
    if (!t_find_init(&f, c, &filter, r)) {
        t_find_done(&f);
        return t_why(why, c->name, "no memory", NULL);
    }
    q.flags = (f.exact ? PV_QUERY_EXACT : 0u) | (f.within ? PV_QUERY_WITHIN : 0u);
    q.vector = f.packed;
    q.type = c->type;
    q.dims = c->dims;
    q.include = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    q.filter = text;
    q.max_distance = f.max_distance;
    size_t rows = 0;
    bool more = true;
    bool good = pv_cursor_open(db, NULL, c->name, &q, &cursor, &err) == 0 ||
                t_why(why, c->name, "pv_cursor_open", &err);
    while (good && more) {
        good = t_cursor_page(&f, cursor, r, &rows, &more, why);
    }
    if (good && (rows > f.may + f.edge || (rows < f.may && !(f.within && !f.exact)))) {
        snprintf(why, API_WHY, "collection '%s': a cursor gave %zu rows, wanted %zu", c->name, rows,
                 f.may);
        good = false;
    }
    pv_cursor_close(cursor);
    t_find_done(&f);
    return good;
}

/* ---- all ---- */

static bool t_names_match(const api_model *m, pv_db *db, pv_txn *txn, char why[API_WHY]) {
    pv_error err = PV_ERROR_INIT;
    pv_names *names = NULL;
    if (pv_collection_list(db, txn, &names, &err) != 0) {
        return t_why(why, "", "pv_collection_list", &err);
    }
    bool good = pv_names_count(names) == m->count;
    for (size_t i = 0; good && i < m->count; i++) {
        good = strcmp(pv_names_get(names, i), m->items[i].name) == 0;
    }
    if (!good) {
        snprintf(why, API_WHY,
                 "%zu collections (the first is '%s'), wanted %zu (the first is '%s')",
                 pv_names_count(names), pv_names_count(names) ? pv_names_get(names, 0) : "",
                 m->count, m->count ? m->items[0].name : "");
    }
    pv_names_free(names);
    return good;
}

static bool t_figures_match(const api_collection *c, pv_db *db, pv_txn *txn, test_rng *r,
                            char why[API_WHY]) {
    pv_error err = PV_ERROR_INIT;
    pv_collection_info info = PV_COLLECTION_INFO_INIT;
    const api_filter filter = api_filter_random(r);
    uint64_t all = 0, some = 0, want = 0;
    char text[128];
    api_filter_text(&filter, text);
    for (size_t i = 0; i < c->count; i++) {
        want += api_filter_matches(&filter, &c->records[i]->meta) ? 1 : 0;
    }
    if (pv_collection_info_get(db, txn, c->name, &info, &err) != 0 ||
        pv_count(db, txn, c->name, NULL, &all, &err) != 0 ||
        pv_count(db, txn, c->name, text, &some, &err) != 0) {
        return t_why(why, c->name, "figures", &err);
    }
    if (info.dims != c->dims || info.metric != c->metric || info.key != c->key ||
        info.type != c->type || info.count != c->count || info.slots < c->count) {
        return t_why(why, c->name, "other figures", NULL);
    }
    if (all != c->count || some != want) {
        snprintf(why, API_WHY,
                 "collection '%s': counts %" PRIu64 " and %" PRIu64
                 " of %s, wanted %zu and %" PRIu64,
                 c->name, all, some, text, c->count, want);
        return false;
    }
    return true;
}

bool api_matches(const api_model *m, pv_db *db, pv_txn *txn, test_rng *r, unsigned searches,
                 char why[API_WHY]) {
    if (!t_names_match(m, db, txn, why)) {
        return false;
    }
    for (size_t i = 0; i < m->count; i++) {
        const api_collection *c = &m->items[i];
        if (!t_figures_match(c, db, txn, r, why) || !t_walk_matches(c, db, txn, why) ||
            !t_get_many_matches(c, db, txn, why)) {
            return false;
        }
        for (size_t n = 0; n < 2 && c->count > 0; n++) {
            if (!t_get_matches(c, c->records[test_rng_below(r, c->count)], db, txn, why)) {
                return false;
            }
        }
        for (unsigned n = 0; n < searches; n++) {
            if (!api_search_matches(c, db, txn, r, why)) {
                return false;
            }
        }
        if (!txn && test_rng_below(r, 3) == 0 && !t_cursor_matches(c, db, r, why)) {
            return false;
        }
    }
    return true;
}

/* ---- damaged files ---- */

static bool t_is_named(int rc, const pv_error *err) {
    return (rc == PV_ERR_CORRUPT || rc == PV_ERR_FORMAT) && err->code == rc &&
           (strstr(err->message, "page ") || strstr(err->message, "node "));
}

/* 0: right or refused, counted; what the call answered when it was neither. */
static bool t_honest(const api_collection *c, int rc, const pv_error *err, const char *what,
                     uint64_t *io_refused, char why[API_WHY]) {
    if (!t_is_named(rc, err)) {
        return t_why(why, c->name, what, err);
    }
    ++*io_refused;
    return true;
}

static bool t_honest_walk(const api_collection *c, pv_db *db, uint64_t *io_refused,
                          char why[API_WHY]) {
    pv_error err = PV_ERROR_INIT;
    pv_iter_opts o = PV_ITER_OPTS_INIT;
    pv_iter *it = NULL;
    size_t at = 0;
    bool good = true;
    o.include = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    int rc = pv_iter_open(db, NULL, c->name, &o, &it, &err);
    while (rc == 0 && good) {
        size_t len = 0;
        uint32_t dims = 0;
        rc = pv_iter_next(it, &err);
        if (rc != 1) {
            break;
        }
        rc = 0;
        const char *metadata = pv_iter_metadata(it, &len);
        const void *vector = pv_iter_vector(it, &dims);
        good = at < c->count ? t_record_is(c, c->records[at++], pv_iter_id(it), pv_iter_id_u64(it),
                                           metadata, len, dims == c->dims ? vector : NULL, why)
                             : t_why(why, c->name, "more records than wanted in a walk", NULL);
    }
    if (good && rc < 0) {
        good = t_honest(c, rc, &err, "a walk", io_refused, why);
    } else if (good && at != c->count) {
        good = t_why_key(why, c, c->records[at], "is missing in a walk");
    }
    pv_iter_close(it);
    return good;
}

static bool t_honest_search(const api_collection *c, pv_db *db, test_rng *r, uint64_t *io_refused,
                            char why[API_WHY]) {
    pv_error err = PV_ERROR_INIT;
    pv_query q = PV_QUERY_INIT;
    pv_results *res = NULL;
    const api_filter all = {API_FILTER_ALL, 0};
    t_find f;
    bool good = t_find_init(&f, c, &all, r);
    f.exact = true;
    q.flags = PV_QUERY_EXACT | (f.within ? PV_QUERY_WITHIN : 0u);
    q.vector = f.packed;
    q.type = c->type;
    q.dims = c->dims;
    q.k = f.k;
    q.include = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    q.max_distance = f.max_distance;
    const int rc = good ? pv_search(db, NULL, c->name, &q, &res, &err) : 0;
    good = good &&
           (rc ? t_honest(c, rc, &err, "a search", io_refused, why) : t_find_compare(&f, res, why));
    pv_results_free(res);
    t_find_done(&f);
    return good;
}

bool api_reads_honestly(const api_model *m, pv_db *db, uint64_t *out_refused, char why[API_WHY]) {
    test_rng r;
    *out_refused = 0;
    test_rng_init(&r, 1);
    for (size_t i = 0; i < m->count; i++) {
        const api_collection *c = &m->items[i];
        if (!t_honest_walk(c, db, out_refused, why) ||
            !t_honest_search(c, db, &r, out_refused, why)) {
            return false;
        }
        for (size_t n = 0; n < c->count; n++) {
            const api_record *rec = c->records[n];
            pv_error err = PV_ERROR_INIT;
            pv_results *res = NULL;
            const int rc = rec->id ? pv_get(db, NULL, c->name, rec->id, &res, &err)
                                   : pv_get_u64(db, NULL, c->name, rec->id_u64, &res, &err);
            const bool good = rc ? t_honest(c, rc, &err, "pv_get", out_refused, why)
                                 : t_row_is(c, rec, res, 0, why);
            pv_results_free(res);
            if (!good) {
                return false;
            }
        }
    }
    return true;
}

/* ---- pv_check ---- */

static void t_finding_note(void *ctx, const char *collection, uint64_t page_id,
                           const char *message) {
    char *why = ctx;
    if (!why[0]) {
        snprintf(why, API_WHY, "pv_check, collection '%s', page %" PRIu64 ": %s",
                 collection ? collection : "-", page_id, message);
    }
}

bool api_is_sound(pv_db *db, uint32_t flags, char why[API_WHY]) {
    pv_error err = PV_ERROR_INIT;
    uint64_t problems = UINT64_MAX;
    why[0] = 0;
    if (pv_check(db, flags, t_finding_note, why, &problems, &err) != 0) {
        return t_why(why, "", "pv_check", &err);
    }
    if (problems != 0 && !why[0]) {
        snprintf(why, API_WHY, "pv_check counts %" PRIu64 " problems and names none", problems);
    }
    return problems == 0 && !why[0];
}

#undef T_CHECK_EPS
