/* SPDX-License-Identifier: Apache-2.0 */
/* test_api_types.c - collections of every element type by every metric, through pv.h: what is
 * stored, what is found (against plain distances), and what is refused. */
#include "test_api_kit.h"
#include "test_types_kit.h"

#if defined(__SANITIZE_THREAD__)
enum { T_MANY = 450 }; /* nothing here has threads of its own */
#else
enum { T_MANY = 900 };
#endif
enum { T_DIMS = 52, T_QUERIES = 12, T_CLUSTERS = 6, T_ROW = T_DIMS * 4 };

/* One collection "c" with keys 0 .. T_MANY - 1, and what it should hold. */
typedef struct t_types {
    t_api t;
    test_rng rng;
    const t_space *space;
    size_t bytes;
    uint8_t rows[T_MANY][T_ROW], queries[T_QUERIES][T_ROW];
    double truth[T_MANY]; /* of one query */
} t_types;

static void t_types_create(t_types *x, uint32_t index, uint32_t code) {
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.dims = T_DIMS;
    c.type = x->space->type;
    c.metric = x->space->metric;
    c.key = PV_KEY_U64;
    c.index = index;
    c.code = code;
    c.ef_construction = index == PV_INDEX_HNSW ? 64 : 0;
    test_assert_ok(pv_collection_create(x->t.db, NULL, "c", &c, &x->t.err), &x->t.err);
}

static void t_types_put(t_types *x, size_t from, size_t count) {
    uint64_t ids[T_MANY];
    const char *metadata[T_MANY];
    pv_batch b = PV_BATCH_INIT;
    for (size_t i = 0; i < count; i++) {
        ids[i] = from + i;
        metadata[i] = (from + i) % 3 ? "{\"third\": false}" : "{\"third\": true}";
    }
    b.type = x->space->type;
    b.count = count;
    b.dims = T_DIMS;
    b.vectors = x->rows[from];
    b.vector_stride = sizeof x->rows[0];
    b.ids_u64 = ids;
    b.metadata = metadata;
    test_assert_ok(pv_upsert_batch(x->t.db, NULL, "c", &b, NULL, &x->t.err), &x->t.err);
}

static t_types *t_types_new(const t_space *space, uint32_t index, uint32_t code) {
    t_types *x = calloc(1, sizeof *x);
    assert_non_null(x);
    test_rng_init(&x->rng, test_seed());
    x->space = space;
    x->bytes = t_row_bytes(space->type, T_DIMS);
    for (size_t i = 0; i < T_MANY; i++) {
        t_random_row(&x->rng, space->type, T_DIMS, T_CLUSTERS, x->rows[i]);
        if (i % 50 == 49) { /* equal vectors, and zeros */
            memcpy(x->rows[i], x->rows[i - 7], T_ROW);
        } else if (i % 50 == 48) {
            memset(x->rows[i], 0, T_ROW);
        }
    }
    for (size_t q = 0; q < T_QUERIES; q++) {
        t_random_row(&x->rng, space->type, T_DIMS, T_CLUSTERS, x->queries[q]);
    }
    t_api_open(&x->t, NULL);
    t_types_create(x, index, code);
    t_types_put(x, 0, 1);
    t_types_put(x, 1, T_MANY / 2);
    t_types_put(x, 1 + T_MANY / 2, T_MANY - 1 - T_MANY / 2);
    return x;
}

static void t_types_free(t_types *x) {
    t_api_done(&x->t);
    free(x);
}

static pv_query t_types_query(const t_types *x, size_t q, uint32_t k) {
    pv_query query = t_query(NULL, T_DIMS, k);
    query.vector = x->queries[q];
    query.type = x->space->type;
    return query;
}

static int t_double_order(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Plain distances of a query to all records that count, ascending; their number. */
static size_t t_types_truth(t_types *x, size_t q, bool thirds) {
    size_t n = 0;
    for (size_t i = 0; i < T_MANY; i++) {
        if (!thirds || i % 3 == 0) {
            x->truth[n++] = t_plain(x->space, x->queries[q], x->rows[i], T_DIMS);
        }
    }
    qsort(x->truth, n, sizeof x->truth[0], t_double_order);
    return n;
}

static double t_allowed(const t_types *x, double d) {
    const bool exact = x->space->type == PV_TYPE_I8 || x->space->type == PV_TYPE_BIT;
    return exact ? fabs(d) * 0x1p-23 + 0x1p-24 : (fabs(d) + T_DIMS) * 0x1p-19;
}

/* Row i is at the i-th distance, ties stand in the order of keys, and distances and scores are
 * those of its record. Returns the share of rows that are at most as far as the k-th in truth. */
static double t_types_rows(t_types *x, size_t q, const pv_results *r, bool exact) {
    const size_t n = pv_results_count(r);
    size_t hits = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t id = pv_results_id_u64(r, i);
        const float d = pv_results_distance(r, i);
        const double plain = t_plain(x->space, x->queries[q], x->rows[id], T_DIMS);
        assert_true(id < T_MANY);
        assert_true(fabs((double)d - plain) <= t_allowed(x, plain));
        if (exact) {
            assert_true(fabs(x->truth[i] - (double)d) <= t_allowed(x, plain));
        }
        hits += plain <= x->truth[n - 1] + t_allowed(x, plain);
        if (i > 0) {
            const float before = pv_results_distance(r, i - 1);
            assert_true(before < d || (before == d && pv_results_id_u64(r, i - 1) < id));
        }
        const bool from_one =
            x->space->metric == PV_METRIC_COSINE || x->space->metric == PV_METRIC_JACCARD;
        assert_true(pv_results_score(r, i) == (from_one ? 1.0f - d : 0.0f - d));
    }
    return n > 0 ? (double)hits / (double)n : 1;
}

static void t_expect_same_rows(const pv_results *a, const pv_results *b) {
    assert_int_equal(pv_results_count(a), pv_results_count(b));
    for (size_t i = 0; i < pv_results_count(a); i++) {
        assert_int_equal(pv_results_id_u64(a, i), pv_results_id_u64(b, i));
        assert_true(pv_results_distance(a, i) == pv_results_distance(b, i));
    }
}

/* ---- exact ----------------------------------------------------------------------------------- */

static void t_check_get(t_types *x) {
    pv_collection_info info = PV_COLLECTION_INFO_INIT;
    pv_iter *iter = NULL;
    pv_iter_opts opts = PV_ITER_OPTS_INIT;
    pv_results *r = NULL;
    uint32_t dims = 0;
    test_assert_ok(pv_collection_info_get(x->t.db, NULL, "c", &info, &x->t.err), &x->t.err);
    assert_int_equal(info.type, x->space->type);
    assert_int_equal(info.metric, x->space->metric);
    test_assert_ok(pv_get_u64(x->t.db, NULL, "c", 77, &r, &x->t.err), &x->t.err);
    assert_int_equal(pv_results_type(r), x->space->type);
    assert_int_equal(pv_results_dims(r), T_DIMS);
    assert_memory_equal(pv_results_vector(r, 0), x->rows[77], x->bytes);
    pv_results_free(r);
    opts.include = PV_INCLUDE_VECTOR;
    test_assert_ok(pv_iter_open(x->t.db, NULL, "c", &opts, &iter, &x->t.err), &x->t.err);
    for (size_t i = 0; i < T_MANY; i++) {
        assert_int_equal(pv_iter_next(iter, &x->t.err), 1);
        assert_memory_equal(pv_iter_vector(iter, &dims), x->rows[i], x->bytes);
        assert_int_equal(dims, T_DIMS);
    }
    assert_int_equal(pv_iter_next(iter, &x->t.err), 0);
    pv_iter_close(iter);
}

/* The same answer from many vectors at once, from threads, and page by page. */
static void t_check_other_ways(t_types *x, const pv_query *query, const pv_results *want) {
    pv_results *many[T_QUERIES] = {NULL}, *r = NULL;
    pv_query_vectors vectors = PV_QUERY_VECTORS_INIT;
    pv_cursor *cursor = NULL;
    pv_query q = *query;
    q.threads = 2;
    test_assert_ok(pv_search(x->t.db, NULL, "c", &q, &r, &x->t.err), &x->t.err);
    t_expect_same_rows(r, want);
    pv_results_free(r);
    q.vector = x->queries[0];
    vectors.count = T_QUERIES;
    vectors.stride = sizeof x->queries[0];
    test_assert_ok(pv_search_many(x->t.db, NULL, "c", &q, &vectors, many, &x->t.err), &x->t.err);
    const size_t own = (size_t)((const uint8_t *)query->vector - x->queries[0]) / T_ROW;
    t_expect_same_rows(many[own], want);
    for (size_t i = 0; i < T_QUERIES; i++) {
        pv_results_free(many[i]);
    }
    test_assert_ok(pv_cursor_open(x->t.db, NULL, "c", query, &cursor, &x->t.err), &x->t.err);
    for (size_t at = 0; at < pv_results_count(want);) {
        test_assert_ok(pv_cursor_next(cursor, 7, &r, &x->t.err), &x->t.err);
        assert_true(pv_results_count(r) > 0);
        for (size_t i = 0; i < pv_results_count(r) && at < pv_results_count(want); i++, at++) {
            assert_int_equal(pv_results_id_u64(r, i), pv_results_id_u64(want, at));
        }
        pv_results_free(r);
    }
    pv_cursor_close(cursor);
}

static void t_check_exact(t_types *x) {
    for (size_t q = 0; q < T_QUERIES; q++) {
        pv_results *r = NULL;
        pv_query query = t_types_query(x, q, 25);
        query.flags = PV_QUERY_EXACT;
        (void)t_types_truth(x, q, false);
        test_assert_ok(pv_search(x->t.db, NULL, "c", &query, &r, &x->t.err), &x->t.err);
        assert_int_equal(pv_results_count(r), 25);
        (void)t_types_rows(x, q, r, true);
        t_check_other_ways(x, &query, r);
        const float radius = pv_results_distance(r, 19);
        pv_results_free(r);
        query.filter = "{\"third\": true}";
        (void)t_types_truth(x, q, true);
        test_assert_ok(pv_search(x->t.db, NULL, "c", &query, &r, &x->t.err), &x->t.err);
        assert_int_equal(pv_results_count(r), 25);
        (void)t_types_rows(x, q, r, true);
        pv_results_free(r);
        query.filter = NULL;
        query.flags |= PV_QUERY_WITHIN;
        query.max_distance = radius;
        query.k = 0;
        (void)t_types_truth(x, q, false);
        test_assert_ok(pv_search(x->t.db, NULL, "c", &query, &r, &x->t.err), &x->t.err);
        assert_true(pv_results_count(r) >= 20);
        (void)t_types_rows(x, q, r, true);
        assert_true(pv_results_distance(r, pv_results_count(r) - 1) <= radius);
        assert_true(x->truth[pv_results_count(r)] >= (double)radius - t_allowed(x, (double)radius));
        pv_results_free(r);
    }
}

static void test_types__exact_search_is_that_of_plain_distances(void **state) {
    (void)state;
    for (size_t i = 0; i < T_SPACES; i++) {
        t_types *x = t_types_new(&t_spaces[i], PV_INDEX_FLAT, 0);
        t_check_get(x);
        t_check_exact(x);
        t_api_shut(&x->t);
        t_api_reopen(&x->t, NULL);
        t_check_get(x);
        t_check_exact(x);
        t_expect_sound(&x->t);
        t_types_free(x);
    }
}

/* ---- graph ----------------------------------------------------------------------------------- */

/* Searches of all kinds; the share that was found of what should be. */
static double t_check_graph(t_types *x) {
    double found = 0;
    size_t count = 0;
    for (size_t q = 0; q < T_QUERIES; q++) {
        pv_results *r = NULL;
        pv_query query = t_types_query(x, q, 10);
        query.ef = 100;
        (void)t_types_truth(x, q, false);
        test_assert_ok(pv_search(x->t.db, NULL, "c", &query, &r, &x->t.err), &x->t.err);
        assert_string_equal(pv_results_plan(r), "graph");
        assert_int_equal(pv_results_count(r), 10);
        found += t_types_rows(x, q, r, false);
        count++;
        const float radius = pv_results_distance(r, 9);
        pv_results_free(r);
        query.flags = PV_QUERY_WITHIN;
        query.max_distance = radius;
        query.k = 0;
        test_assert_ok(pv_search(x->t.db, NULL, "c", &query, &r, &x->t.err), &x->t.err);
        found += t_types_rows(x, q, r, false) * fmin((double)pv_results_count(r) / 10, 1);
        count++;
        pv_results_free(r);
        query = t_types_query(x, q, 10);
        query.filter = "{\"third\": true}";
        (void)t_types_truth(x, q, true);
        test_assert_ok(pv_search(x->t.db, NULL, "c", &query, &r, &x->t.err), &x->t.err);
        assert_int_equal(pv_results_count(r), 10);
        found += t_types_rows(x, q, r, false);
        count++;
        pv_results_free(r);
    }
    return found / (double)count;
}

/* All records come out of a cursor, none twice. */
static void t_check_cursor(t_types *x) {
    static const uint32_t page = 100;
    pv_query query = t_types_query(x, 1, 0);
    bool seen[T_MANY] = {false};
    pv_cursor *cursor = NULL;
    size_t total = 0;
    test_assert_ok(pv_cursor_open(x->t.db, NULL, "c", &query, &cursor, &x->t.err), &x->t.err);
    for (size_t n = page; n == page; total += n) {
        pv_results *r = NULL;
        test_assert_ok(pv_cursor_next(cursor, page, &r, &x->t.err), &x->t.err);
        n = pv_results_count(r);
        for (size_t i = 0; i < n; i++) {
            assert_false(seen[pv_results_id_u64(r, i)]);
            seen[pv_results_id_u64(r, i)] = true;
        }
        pv_results_free(r);
    }
    pv_cursor_close(cursor);
    assert_int_equal(total, T_MANY);
}

static void t_check_code(const t_space *space, uint32_t code) {
    pv_collection_info info = PV_COLLECTION_INFO_INIT;
    t_types *x = t_types_new(space, PV_INDEX_HNSW, code);
    test_assert_ok(pv_collection_info_get(x->t.db, NULL, "c", &info, &x->t.err), &x->t.err);
    assert_true(code == 0 || info.code == code);
    assert_true(info.code != 0 && info.indexed > T_MANY / 2);
    double recall = t_check_graph(x);
    if (recall < 0.95) {
        fail_msg("%s, code %u: recall %.3f", space->name, (unsigned)info.code, recall);
    }
    t_check_cursor(x);
    t_expect_sound(&x->t);
    /* Others in the place of a third of them. */
    for (size_t i = 0; i < T_MANY / 3; i++) {
        t_random_row(&x->rng, space->type, T_DIMS, T_CLUSTERS, x->rows[i]);
    }
    t_types_put(x, 0, T_MANY / 3);
    t_api_shut(&x->t);
    t_api_reopen(&x->t, NULL);
    t_expect_sound(&x->t);
    recall = t_check_graph(x);
    if (recall < 0.93) {
        fail_msg("%s, code %u: recall %.3f after changes", space->name, (unsigned)info.code,
                 recall);
    }
    t_types_free(x);
}

static void test_types__graphs_of_all_elements_and_metrics(void **state) {
    (void)state;
    for (size_t i = 0; i < T_SPACES; i++) {
        t_check_code(&t_spaces[i], PV_CODE_AUTO);
    }
}

static void test_types__graphs_by_other_codes(void **state) {
    (void)state;
    for (size_t i = 0; i < T_SPACES; i++) {
        const t_space *s = &t_spaces[i];
        if (s->type == PV_TYPE_BIT || (s->type == PV_TYPE_F32 && s->metric != PV_METRIC_L1)) {
            continue; /* one code; those of test_ann_modes.c */
        }
        t_check_code(s, PV_CODE_F32);
        if (s->metric == PV_METRIC_COSINE) {
            t_check_code(s, PV_CODE_Q4);
        } else if (s->metric == PV_METRIC_L2) {
            t_check_code(s, PV_CODE_F16);
        }
    }
}

/* A quarter of a thousand at each of four distances: the first by key of those that tie. */
static void test_types__ties_are_ordered_by_key(void **state) {
    static const uint8_t patterns[4] = {0x00, 0x01, 0x03, 0x0F};
    enum { many = 4000 };
    t_api t;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    pv_batch b = PV_BATCH_INIT;
    uint64_t *ids = malloc(many * sizeof *ids);
    uint8_t *rows = malloc(many);
    (void)state;
    t_api_open(&t, NULL);
    c.dims = 8;
    c.type = PV_TYPE_BIT;
    c.metric = PV_METRIC_HAMMING;
    c.key = PV_KEY_U64;
    c.index = PV_INDEX_HNSW;
    test_assert_ok(pv_collection_create(t.db, NULL, "c", &c, &t.err), &t.err);
    for (size_t i = 0; i < many; i++) {
        ids[i] = many - i;
        rows[i] = patterns[i % 4];
    }
    b.type = PV_TYPE_BIT;
    b.count = many;
    b.dims = 8;
    b.vectors = rows;
    b.ids_u64 = ids;
    test_assert_ok(pv_upsert_batch(t.db, NULL, "c", &b, NULL, &t.err), &t.err);
    pv_query q = t_query(NULL, 8, many / 4 + 30);
    q.type = PV_TYPE_BIT;
    q.vector = patterns;
    q.flags = PV_QUERY_EXACT;
    pv_results *r = NULL;
    test_assert_ok(pv_search(t.db, NULL, "c", &q, &r, &t.err), &t.err);
    assert_int_equal(pv_results_count(r), many / 4 + 30);
    for (size_t i = 0; i < many / 4 + 30; i++) {
        const bool zero = i < many / 4;
        const size_t rank = zero ? i : i - many / 4;
        assert_true(pv_results_distance(r, i) == (zero ? 0.0f : 1.0f));
        assert_int_equal(pv_results_id_u64(r, i), 4 * (rank + 1) - (zero ? 0 : 1));
    }
    pv_results_free(r);
    t_expect_sound(&t);
    t_api_done(&t);
    free(ids);
    free(rows);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static int t_try_create(t_api *t, uint32_t type, uint32_t metric, uint32_t index, uint32_t code) {
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.dims = 16;
    c.type = type;
    c.metric = metric;
    c.index = index;
    c.code = code;
    return pv_collection_ensure(t->db, NULL, "r", &c, &t->err);
}

static void test_types__what_does_not_go_together_is_refused(void **state) {
    t_api t;
    (void)state;
    t_api_open(&t, NULL);
    t_expect_error(t_try_create(&t, PV_TYPE_BIT, 0, 0, 0), PV_ERR_UNSUPPORTED, &t.err,
                   "metric cosine does not go with element type bit");
    t_expect_error(t_try_create(&t, PV_TYPE_F32, PV_METRIC_JACCARD, 0, 0), PV_ERR_UNSUPPORTED,
                   &t.err, "metric jaccard does not go with element type f32");
    t_expect_error(t_try_create(&t, PV_TYPE_BF16, 0, 0, 0), PV_ERR_UNSUPPORTED, &t.err,
                   "element type bf16");
    t_expect_error(t_try_create(&t, PV_TYPE_BIT + 1, 0, 0, 0), PV_ERR_UNSUPPORTED, &t.err,
                   "unknown element type 6");
    t_expect_error(t_try_create(&t, 0, PV_METRIC_JACCARD + 1, 0, 0), PV_ERR_UNSUPPORTED, &t.err,
                   "unknown metric 7");
    t_expect_error(t_try_create(&t, PV_TYPE_I8, PV_METRIC_L1, 0, PV_CODE_SQ8), PV_ERR_UNSUPPORTED,
                   &t.err, "code sq8 does not go with element type i8 and metric l1");
    t_expect_error(t_try_create(&t, PV_TYPE_BIT, PV_METRIC_HAMMING, 0, PV_CODE_F32),
                   PV_ERR_UNSUPPORTED, &t.err, "code f32 does not go with");
    t_expect_error(t_try_create(&t, 0, 0, 0, PV_CODE_I8), PV_ERR_UNSUPPORTED, &t.err,
                   "code i8 does not go with element type f32");
    t_expect_error(t_try_create(&t, 0, 0, 0, PV_CODE_BIT + 1), PV_ERR_UNSUPPORTED, &t.err,
                   "unknown code 9");
    assert_int_equal(t_try_create(&t, PV_TYPE_I8, PV_METRIC_L1, 0, 0), 0);
    assert_int_equal(t_try_create(&t, PV_TYPE_I8, PV_METRIC_L1, 0, 0), 0);
    t_expect_error(t_try_create(&t, PV_TYPE_F16, PV_METRIC_L1, 0, 0), PV_ERR_EXISTS, &t.err,
                   "element type i8, not f16");
    t_expect_error(t_try_create(&t, PV_TYPE_I8, PV_METRIC_L2, 0, 0), PV_ERR_EXISTS, &t.err,
                   "metric l1, not l2");
    t_api_done(&t);
}

static void test_types__a_vector_of_another_type_is_refused(void **state) {
    t_api t;
    const float floats[16] = {1};
    (void)state;
    t_api_open(&t, NULL);
    assert_int_equal(t_try_create(&t, PV_TYPE_I8, PV_METRIC_L2, 0, 0), 0);
    pv_record r = t_record("a", floats, 16, NULL);
    t_expect_error(pv_upsert(t.db, NULL, "r", &r, 1, NULL, &t.err), PV_ERR_DIMS, &t.err,
                   "vector has element type f32, collection 'r' wants i8");
    pv_query q = t_query(floats, 16, 1);
    pv_results *rows = NULL;
    pv_cursor *cursor = NULL;
    t_expect_error(pv_search(t.db, NULL, "r", &q, &rows, &t.err), PV_ERR_DIMS, &t.err, "wants i8");
    t_expect_error(pv_cursor_open(t.db, NULL, "r", &q, &cursor, &t.err), PV_ERR_DIMS, &t.err,
                   "wants i8");
    r.type = PV_TYPE_I8;
    test_assert_ok(pv_upsert(t.db, NULL, "r", &r, 1, NULL, &t.err), &t.err);
    r.type = PV_TYPE_BIT + 1;
    t_expect_error(pv_upsert(t.db, NULL, "r", &r, 1, NULL, &t.err), PV_ERR_UNSUPPORTED, &t.err,
                   "unknown element type");
    t_api_done(&t);
}

static void test_types__bad_elements_are_named_by_place(void **state) {
    static const uint32_t types[2] = {PV_TYPE_F16, PV_TYPE_BIT};
    static const char *const names[2] = {"f16", "bit"};
    t_api t;
    uint16_t halves[12] = {0};
    uint8_t bits[2] = {0xFF, 0xF0};
    (void)state;
    t_api_open(&t, NULL);
    for (size_t i = 0; i < 2; i++) {
        pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
        c.dims = 12;
        c.type = types[i];
        c.metric = i == 0 ? PV_METRIC_L2 : PV_METRIC_HAMMING;
        test_assert_ok(pv_collection_create(t.db, NULL, names[i], &c, &t.err), &t.err);
    }
    pv_record r = t_record("a", NULL, 12, NULL);
    r.type = PV_TYPE_F16;
    r.vector = halves;
    test_assert_ok(pv_upsert(t.db, NULL, "f16", &r, 1, NULL, &t.err), &t.err);
    halves[9] = 0x7C00;
    t_expect_error(pv_upsert(t.db, NULL, "f16", &r, 1, NULL, &t.err), PV_ERR_MISUSE, &t.err,
                   "NaN or infinity at position 9");
    r.type = PV_TYPE_BIT;
    r.vector = bits;
    test_assert_ok(pv_upsert(t.db, NULL, "bit", &r, 1, NULL, &t.err), &t.err);
    bits[1] = 0xF4;
    t_expect_error(pv_upsert(t.db, NULL, "bit", &r, 1, NULL, &t.err), PV_ERR_MISUSE, &t.err,
                   "a bit behind the last at position 13");
    t_api_done(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types__exact_search_is_that_of_plain_distances),
        cmocka_unit_test(test_types__graphs_of_all_elements_and_metrics),
        cmocka_unit_test(test_types__graphs_by_other_codes),
        cmocka_unit_test(test_types__ties_are_ordered_by_key),
        cmocka_unit_test(test_types__what_does_not_go_together_is_refused),
        cmocka_unit_test(test_types__a_vector_of_another_type_is_refused),
        cmocka_unit_test(test_types__bad_elements_are_named_by_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
