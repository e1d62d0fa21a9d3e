/* SPDX-License-Identifier: Apache-2.0 */
/* test_ann_modes.c - ways of searching through the graph, through pv.h: filters, distances,
 * cursors. Who may be in an answer and how many is exact; which of them is compared with an exact
 * search. */
#include "test_api_kit.h"

enum { T_DIMS = 12, T_ROWS = 1600, T_CLUSTERS = 8, T_K = 10 };

typedef struct t_modes {
    t_api t;
    t_heap heap;
    test_rng rng;
    uint32_t metric;
    float centres[T_CLUSTERS][T_DIMS];
    float vectors[T_ROWS][T_DIMS];
    bool live[T_ROWS];
} t_modes;

static float t_noise(test_rng *r) { return (float)test_rng_below(r, 2001) / 1000.0f - 1.0f; }

static void t_point(t_modes *m, unsigned cluster, float out[T_DIMS]) {
    for (unsigned d = 0; d < T_DIMS; d++) {
        out[d] = 3 * m->centres[cluster][d] + t_noise(&m->rng) + t_noise(&m->rng);
    }
}

/* Record i: cluster i % 8 (member "c"), "t": i / 8 % 100, "odd": only on every second. */
static void t_modes_insert(t_modes *m, pv_txn *txn, uint64_t from, uint64_t to) {
    for (uint64_t i = from; i < to; i++) {
        char text[64];
        pv_record r = PV_RECORD_INIT;
        snprintf(text, sizeof text, "{\"c\":%u,\"t\":%u%s}", (unsigned)(i % T_CLUSTERS),
                 (unsigned)(i / T_CLUSTERS % 100), i % 2 ? ",\"odd\":1" : "");
        r.id_u64 = i;
        r.vector = m->vectors[i];
        r.dims = T_DIMS;
        r.metadata = text;
        test_assert_ok(pv_upsert(m->t.db, txn, "c", &r, 1, NULL, &m->t.err), &m->t.err);
        m->live[i] = true;
    }
}

/* All of it for a graph, and for lists. */
static uint32_t t_kind = PV_INDEX_HNSW;
static int t_use_graph(void **state) {
    (void)state;
    t_kind = PV_INDEX_HNSW;
    return 0;
}
static int t_use_lists(void **state) {
    (void)state;
    t_kind = PV_INDEX_IVF;
    return 0;
}

static t_modes *t_modes_new(uint32_t metric, uint32_t index, bool counted) {
    t_modes *m = calloc(1, sizeof *m);
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    pv_txn *txn = NULL;
    assert_non_null(m);
    t_heap_init(&m->heap);
    o.allocator = counted ? &m->heap.allocator : NULL;
    t_api_open(&m->t, &o);
    m->metric = metric;
    c.dims = T_DIMS;
    c.metric = metric;
    c.key = PV_KEY_U64;
    c.index = index;
    c.ef_construction = index == PV_INDEX_FLAT ? 0 : 64;
    test_assert_ok(pv_collection_create(m->t.db, NULL, "c", &c, &m->t.err), &m->t.err);
    test_rng_init(&m->rng, test_seed());
    for (unsigned i = 0; i < T_CLUSTERS * T_DIMS; i++) {
        m->centres[i / T_DIMS][i % T_DIMS] = t_noise(&m->rng);
    }
    for (unsigned i = 0; i < T_ROWS; i++) {
        t_point(m, i % T_CLUSTERS, m->vectors[i]);
    }
    test_assert_ok(pv_txn_begin(m->t.db, PV_TXN_WRITE, &txn, &m->t.err), &m->t.err);
    t_modes_insert(m, txn, 0, T_ROWS);
    test_assert_ok(pv_txn_commit(txn, NULL, &m->t.err), &m->t.err);
    return m;
}

static void t_modes_free(t_modes *m) {
    t_api_done(&m->t);
    free(m);
}

typedef struct t_filter {
    const char *text;
    bool (*matches)(uint64_t id);
} t_filter;

static bool t_all(uint64_t id) { return id < T_ROWS; }
static bool t_odd(uint64_t id) { return id % 2 == 1; }
static bool t_cluster(uint64_t id) { return id % T_CLUSTERS == 3; }
static bool t_few(uint64_t id) { return id / T_CLUSTERS % 100 == 7; }
static bool t_one(uint64_t id) { return id / T_CLUSTERS % 100 == 7 && id % T_CLUSTERS == 2; }
static bool t_none(uint64_t id) { return id >= T_ROWS; }

static const t_filter t_filters[] = {
    {"{}", t_all},        {"{\"odd\":1}", t_odd},       {"{\"c\":3}", t_cluster},
    {"{\"t\":7}", t_few}, {"{\"t\":7,\"c\":2}", t_one}, {"{\"t\":1000}", t_none},
};
enum { T_FILTERS = sizeof t_filters / sizeof t_filters[0] };

static uint32_t t_matching(const t_modes *m, const t_filter *f) {
    uint32_t n = 0;
    for (uint64_t i = 0; i < T_ROWS; i++) {
        n += m->live[i] && f->matches(i);
    }
    return n;
}

static pv_results *t_run(t_modes *m, pv_txn *txn, const pv_query *q) {
    pv_results *r = NULL;
    test_assert_ok(pv_search(m->t.db, txn, "c", q, &r, &m->t.err), &m->t.err);
    return r;
}

/* All rows may be there, once, in order. */
static void t_expect_valid(const t_modes *m, const pv_results *r, const t_filter *f) {
    for (size_t i = 0; i < pv_results_count(r); i++) {
        const uint64_t id = pv_results_id_u64(r, i);
        assert_true(id < T_ROWS && m->live[id] && f->matches(id));
        assert_true(i == 0 || pv_results_distance(r, i) >= pv_results_distance(r, i - 1));
        for (size_t o = 0; o < i; o++) {
            assert_int_not_equal(pv_results_id_u64(r, o), id);
        }
    }
}

static size_t t_hits(const pv_results *got, const pv_results *want) {
    const size_t n = pv_results_count(want);
    const float kth = n > 0 ? pv_results_distance(want, n - 1) : 0;
    size_t hits = 0;
    for (size_t i = 0; i < pv_results_count(got) && i < n; i++) {
        hits += pv_results_distance(got, i) <= kth + fabsf(kth) * 1e-5f;
    }
    return hits;
}

static void t_expect_share(size_t hits, size_t wanted, double share, const char *what) {
    if ((double)hits < share * (double)wanted) {
        fprintf(stderr, "%s: %zu of %zu found\n", what, hits, wanted);
        fail();
    }
}

/* ---- filters --------------------------------------------------------------------------------- */

static void t_expect_filters(t_modes *m, pv_txn *txn) {
    static const uint32_t ks[] = {1, T_K, 40};
    size_t by_graph = 0;
    for (unsigned f = 0; f < T_FILTERS; f++) {
        const uint32_t there = t_matching(m, &t_filters[f]);
        size_t hits = 0, wanted = 0;
        for (unsigned i = 0; i < 30; i++) {
            float v[T_DIMS];
            t_point(m, i % T_CLUSTERS, v);
            pv_query q = t_query(v, T_DIMS, ks[i % 3]);
            q.filter = t_filters[f].text;
            q.ef = 100; /* else so small a collection is scanned */
            pv_results *got = t_run(m, txn, &q);
            q.flags = PV_QUERY_EXACT;
            pv_results *want = t_run(m, txn, &q);
            assert_int_equal(pv_results_count(got), q.k < there ? q.k : there);
            t_expect_valid(m, got, &t_filters[f]);
            hits += t_hits(got, want);
            wanted += pv_results_count(want);
            assert_string_equal(pv_results_plan(want), "scan");
            by_graph += strcmp(pv_results_plan(got), "scan") != 0;
            pv_results_free(want);
            pv_results_free(got);
        }
        t_expect_share(hits, wanted, 0.95, t_filters[f].text);
    }
    assert_int_equal(by_graph, 30 * T_FILTERS);
}

static void test_ann_modes__filters_go_through_the_graph(void **state) {
    (void)state;
    for (uint32_t metric = PV_METRIC_L2; metric <= PV_METRIC_DOT; metric++) {
        t_modes *m = t_modes_new(metric, t_kind, false);
        t_expect_filters(m, NULL);
        /* A whole cluster and half of the rest goes: tombstones, and slots used again. */
        pv_txn *txn = NULL;
        test_assert_ok(pv_txn_begin(m->t.db, PV_TXN_WRITE, &txn, &m->t.err), &m->t.err);
        for (uint64_t id = 0; id < T_ROWS; id++) {
            if (id % T_CLUSTERS == 3 || id % 4 == 0) {
                test_assert_ok(pv_delete_u64(m->t.db, txn, "c", id, &m->t.err), &m->t.err);
                m->live[id] = false;
            }
        }
        t_modes_insert(m, txn, 0, 100);
        t_expect_filters(m, txn);
        test_assert_ok(pv_txn_commit(txn, NULL, &m->t.err), &m->t.err);
        t_expect_filters(m, NULL);
        t_modes_free(m);
    }
}

static void test_ann_modes__many_searches_share_what_was_read(void **state) {
    (void)state;
    enum { T_MANY = 50 };
    t_modes *m = t_modes_new(PV_METRIC_COSINE, t_kind, false);
    float v[T_MANY][T_DIMS];
    pv_results *many[T_MANY];
    pv_query_vectors vectors = PV_QUERY_VECTORS_INIT;
    for (unsigned i = 0; i < T_MANY; i++) {
        t_point(m, i % T_CLUSTERS, v[i]);
    }
    vectors.count = T_MANY;
    for (unsigned f = 0; f < T_FILTERS; f++) {
        const uint32_t there = t_matching(m, &t_filters[f]);
        size_t hits = 0, wanted = 0;
        pv_query q = t_query(v[0], T_DIMS, T_K);
        q.filter = t_filters[f].text;
        q.ef = 100;
        test_assert_ok(pv_search_many(m->t.db, NULL, "c", &q, &vectors, many, &m->t.err),
                       &m->t.err);
        for (unsigned i = 0; i < T_MANY; i++) {
            q.vector = v[i];
            q.flags = PV_QUERY_EXACT;
            pv_results *want = t_run(m, NULL, &q);
            assert_int_equal(pv_results_count(many[i]), T_K < there ? T_K : there);
            t_expect_valid(m, many[i], &t_filters[f]);
            hits += t_hits(many[i], want);
            wanted += pv_results_count(want);
            pv_results_free(want);
            pv_results_free(many[i]);
        }
        t_expect_share(hits, wanted, 0.95, t_filters[f].text);
    }
    t_modes_free(m);
}

/* ---- distances ------------------------------------------------------------------------------- */

static void t_expect_within(t_modes *m, uint32_t rank, const t_filter *f, uint32_t k, size_t *hits,
                            size_t *wanted, size_t *by_graph) {
    float v[T_DIMS];
    t_point(m, rank % T_CLUSTERS, v);
    pv_query q = t_query(v, T_DIMS, rank + 1);
    q.flags = PV_QUERY_EXACT;
    pv_results *all = t_run(m, NULL, &q);
    q.flags = PV_QUERY_EXACT | PV_QUERY_WITHIN;
    q.max_distance = pv_results_distance(all, rank);
    q.k = k;
    q.filter = f->text;
    pv_results *want = t_run(m, NULL, &q);
    q.flags = PV_QUERY_WITHIN;
    pv_results *got = t_run(m, NULL, &q);
    t_expect_valid(m, got, f);
    for (size_t i = 0; i < pv_results_count(got); i++) {
        assert_true(pv_results_distance(got, i) <= q.max_distance);
    }
    assert_true(pv_results_count(got) <= pv_results_count(want));
    *hits += t_hits(got, want);
    *wanted += pv_results_count(want);
    *by_graph += strcmp(pv_results_plan(got), t_kind == PV_INDEX_IVF ? "lists" : "graph") == 0;
    pv_results_free(got);
    pv_results_free(want);
    pv_results_free(all);
}

static void test_ann_modes__all_within_a_distance(void **state) {
    (void)state;
    for (uint32_t metric = PV_METRIC_L2; metric <= PV_METRIC_DOT; metric++) {
        t_modes *m = t_modes_new(metric, t_kind, false);
        static const uint32_t ranks[] = {0, 3, 20, 90, 250, 600};
        size_t by_graph = 0, hits = 0, wanted = 0;
        for (unsigned f = 0; f < 4; f++) {
            for (unsigned i = 0; i < 24; i++) {
                t_expect_within(m, ranks[i % 6], &t_filters[f], i % 4 == 3 ? 150 : 0, &hits,
                                &wanted, &by_graph);
            }
        }
        t_expect_share(hits, wanted, 0.95, "within");
        assert_true(metric == PV_METRIC_DOT ? by_graph == 0 : by_graph > 48);
        t_modes_free(m);
    }
}

/* ---- cursors --------------------------------------------------------------------------------- */

static pv_cursor *t_open(t_modes *m, pv_txn *txn, const pv_query *q) {
    pv_cursor *c = NULL;
    test_assert_ok(pv_cursor_open(m->t.db, txn, "c", q, &c, &m->t.err), &m->t.err);
    return c;
}

/* Read it to its end in pages of drawn sizes: all that match come, once; the first `share` of them
 * are about the nearest. exact: pages follow each other in order. */
static void t_expect_pages(t_modes *m, pv_cursor *c, const pv_query *query, const t_filter *f,
                           bool exact) {
    uint8_t seen[T_ROWS] = {0};
    const uint32_t there = t_matching(m, f);
    size_t rows = 0, hits = 0, wanted = 0;
    float last = -INFINITY;
    bool more = true;
    while (more) {
        const uint32_t k = 1 + (uint32_t)test_rng_below(&m->rng, rows < 200 ? 30 : 500);
        pv_results *page = NULL;
        test_assert_ok(pv_cursor_next(c, k, &page, &m->t.err), &m->t.err);
        const size_t n = pv_results_count(page);
        assert_int_equal(n, k < there - rows ? k : there - rows);
        t_expect_valid(m, page, f);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(seen[pv_results_id_u64(page, i)]++, 0);
            assert_true(!exact || pv_results_distance(page, i) >= last);
            last = exact ? pv_results_distance(page, i) : last;
        }
        rows += n;
        more = n > 0;
        if (rows <= 300 && n > 0) { /* of the nearest `rows`, how many are out */
            pv_query q = *query;
            q.flags = PV_QUERY_EXACT;
            q.k = (uint32_t)rows;
            pv_results *want = t_run(m, NULL, &q);
            for (size_t i = 0; i < rows; i++) {
                hits += seen[pv_results_id_u64(want, i)];
            }
            wanted += rows;
            pv_results_free(want);
        }
        pv_results_free(page);
    }
    assert_int_equal(rows, there);
    t_expect_share(hits, wanted, exact ? 1.0 : 0.93, f->text);
}

static void t_expect_cursors(t_modes *m, uint32_t flags, bool exact) {
    for (unsigned f = 0; f < T_FILTERS; f++) {
        float v[T_DIMS];
        t_point(m, f % T_CLUSTERS, v);
        pv_query q = t_query(v, T_DIMS, 0);
        q.filter = t_filters[f].text;
        q.flags = flags;
        pv_cursor *c = t_open(m, NULL, &q);
        t_expect_pages(m, c, &q, &t_filters[f], exact);
        pv_cursor_close(c);
    }
}

static void test_ann_modes__pages_of_a_cursor_are_one_search(void **state) {
    (void)state;
    for (uint32_t metric = PV_METRIC_L2; metric <= PV_METRIC_DOT; metric++) {
        t_modes *m = t_modes_new(metric, t_kind, false);
        t_expect_cursors(m, 0, false);
        t_expect_cursors(m, PV_QUERY_EXACT, true);
        t_modes_free(m);
        m = t_modes_new(metric, PV_INDEX_FLAT, false);
        t_expect_cursors(m, 0, true);
        t_modes_free(m);
    }
}

static void test_ann_modes__a_cursor_sees_one_state(void **state) {
    (void)state;
    t_modes *m = t_modes_new(PV_METRIC_L2, t_kind, false);
    pv_results *page = NULL;
    pv_txn *txn = NULL;
    pv_query q = t_query(m->vectors[5], T_DIMS, 0);
    pv_cursor *c = t_open(m, NULL, &q), *in = NULL;
    test_assert_ok(pv_cursor_next(c, 3, &page, &m->t.err), &m->t.err);
    assert_int_equal(pv_results_id_u64(page, 0), 5);
    pv_results_free(page);
    for (uint64_t id = 0; id < 300; id++) {
        test_assert_ok(pv_delete_u64(m->t.db, NULL, "c", id, &m->t.err), &m->t.err);
    }
    uint64_t rows = 3;
    for (size_t n = 1; n > 0; rows += n) {
        test_assert_ok(pv_cursor_next(c, 100, &page, &m->t.err), &m->t.err);
        n = pv_results_count(page);
        pv_results_free(page);
    }
    assert_int_equal(rows, T_ROWS);
    pv_cursor_close(c);
    /* Inside a read transaction, and after its end. */
    test_assert_ok(pv_txn_begin(m->t.db, PV_TXN_READ, &txn, &m->t.err), &m->t.err);
    in = t_open(m, txn, &q);
    test_assert_ok(pv_cursor_next(in, 2, &page, &m->t.err), &m->t.err);
    assert_int_equal(pv_results_count(page), 2);
    pv_results_free(page);
    pv_txn_rollback(txn);
    test_assert_rc(pv_cursor_next(in, 2, &page, &m->t.err), PV_ERR_CLOSED, &m->t.err);
    assert_null(page);
    pv_cursor_close(in);
    /* Refusals. */
    test_assert_ok(pv_txn_begin(m->t.db, PV_TXN_WRITE, &txn, &m->t.err), &m->t.err);
    t_expect_error(pv_cursor_open(m->t.db, txn, "c", &q, &in, &m->t.err), PV_ERR_MISUSE, &m->t.err,
                   "read transaction");
    assert_null(in);
    pv_txn_rollback(txn);
    q.filter = "{\"a\":{\"$near\":1}}";
    test_assert_rc(pv_cursor_open(m->t.db, NULL, "c", &q, &in, &m->t.err), PV_ERR_UNSUPPORTED,
                   &m->t.err);
    q.filter = NULL;
    q.dims = 3;
    test_assert_rc(pv_cursor_open(m->t.db, NULL, "c", &q, &in, &m->t.err), PV_ERR_DIMS, &m->t.err);
    q.dims = T_DIMS;
    test_assert_rc(pv_cursor_open(m->t.db, NULL, "d", &q, &in, &m->t.err), PV_ERR_NOTFOUND,
                   &m->t.err);
    c = t_open(m, NULL, &q);
    test_assert_rc(pv_cursor_next(c, PV_LIMIT_K + 1, &page, &m->t.err), PV_ERR_LIMIT, &m->t.err);
    /* It outlives pv_close. */
    t_api_shut(&m->t);
    test_assert_ok(pv_cursor_next(c, 0, &page, &m->t.err), &m->t.err);
    assert_int_equal(pv_results_count(page), 10);
    pv_results_free(page);
    pv_cursor_close(c);
    pv_cursor_close(NULL);
    t_modes_free(m);
}

/* Whichever request for memory fails, asking again gives what is left: no row is lost or
 * doubled. */
static void test_ann_modes__a_cursor_loses_nothing_without_memory(void **state) {
    (void)state;
    t_modes *m = t_modes_new(PV_METRIC_COSINE, t_kind, true);
    size_t refused = 0;
    for (uint64_t step = 1; step < 9; step++) {
        uint8_t seen[T_ROWS] = {0};
        size_t rows = 0;
        pv_query q = t_query(m->vectors[step], T_DIMS, 0);
        q.filter = step % 2 ? t_filters[1].text : NULL;
        pv_cursor *c = t_open(m, NULL, &q);
        for (bool more = true; more;) {
            pv_results *page = NULL;
            m->heap.calls = 0;
            m->heap.fail_at = step;
            int rc = pv_cursor_next(c, 150, &page, &m->t.err);
            m->heap.fail_at = 0;
            if (rc != 0) {
                assert_int_equal(rc, PV_ERR_NOMEM);
                refused++;
                test_assert_ok(pv_cursor_next(c, 150, &page, &m->t.err), &m->t.err);
            }
            more = pv_results_count(page) > 0;
            rows += pv_results_count(page);
            for (size_t i = 0; i < pv_results_count(page); i++) {
                assert_int_equal(seen[pv_results_id_u64(page, i)]++, 0);
            }
            pv_results_free(page);
        }
        pv_cursor_close(c);
        assert_int_equal(rows, step % 2 ? T_ROWS / 2 : T_ROWS);
    }
    assert_true(refused > 10);
    t_api_shut(&m->t);
    assert_int_equal(m->heap.bytes, 0);
    t_modes_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_ann_modes__filters_go_through_the_graph, t_use_graph),
        cmocka_unit_test_setup(test_ann_modes__many_searches_share_what_was_read, t_use_graph),
        cmocka_unit_test_setup(test_ann_modes__all_within_a_distance, t_use_graph),
        cmocka_unit_test_setup(test_ann_modes__pages_of_a_cursor_are_one_search, t_use_graph),
        cmocka_unit_test_setup(test_ann_modes__a_cursor_sees_one_state, t_use_graph),
        cmocka_unit_test_setup(test_ann_modes__a_cursor_loses_nothing_without_memory, t_use_graph),
        cmocka_unit_test_setup(test_ann_modes__filters_go_through_the_graph, t_use_lists),
        cmocka_unit_test_setup(test_ann_modes__many_searches_share_what_was_read, t_use_lists),
        cmocka_unit_test_setup(test_ann_modes__all_within_a_distance, t_use_lists),
        cmocka_unit_test_setup(test_ann_modes__pages_of_a_cursor_are_one_search, t_use_lists),
        cmocka_unit_test_setup(test_ann_modes__a_cursor_sees_one_state, t_use_lists),
        cmocka_unit_test_setup(test_ann_modes__a_cursor_loses_nothing_without_memory, t_use_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
