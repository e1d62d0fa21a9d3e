/* SPDX-License-Identifier: Apache-2.0 */
/* test_ann_graph.c - the graph, through pv.h: what it finds, what it survives, what it costs. */
#include "test_api_kit.h"

enum { T_DIMS = 16, T_K = 10, T_CLUSTERS = 12 };

/* Points around a few centres: seeded, the same on every machine. */
typedef struct t_points {
    uint64_t seed;
    float centre[T_CLUSTERS][T_DIMS];
} t_points;

static float t_random(t_points *p) { /* -1 to 1 */
    p->seed ^= p->seed << 13;
    p->seed ^= p->seed >> 7;
    p->seed ^= p->seed << 17;
    return (float)((double)(p->seed >> 11) / 4503599627370496.0 - 1.0);
}

static void t_points_init(t_points *p, uint64_t seed) {
    p->seed = seed * 0x9E3779B97F4A7C15u + 1;
    for (unsigned c = 0; c < T_CLUSTERS; c++) {
        for (unsigned i = 0; i < T_DIMS; i++) {
            p->centre[c][i] = 3 * t_random(p);
        }
    }
}

static void t_point(t_points *p, unsigned cluster, float out[T_DIMS]) {
    for (unsigned i = 0; i < T_DIMS; i++) {
        out[i] = p->centre[cluster % T_CLUSTERS][i] + t_random(p) + t_random(p);
    }
}

static void t_make(t_api *t, uint32_t metric, uint32_t index, uint32_t code) {
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.dims = T_DIMS;
    c.metric = metric;
    c.key = PV_KEY_U64;
    c.index = index;
    c.code = code;
    test_assert_ok(pv_collection_create(t->db, NULL, "c", &c, &t->err), &t->err);
}

/* Records first .. first + count of a cluster each (sorted: by cluster) in one call. */
static void t_insert(t_api *t, pv_txn *txn, t_points *p, uint64_t first, size_t count,
                     bool sorted) {
    float *v = malloc(count * T_DIMS * sizeof *v);
    uint64_t *ids = malloc(count * sizeof *ids);
    pv_batch b = PV_BATCH_INIT;
    assert_true(v && ids);
    for (size_t i = 0; i < count; i++) {
        const size_t cluster = sorted ? i * T_CLUSTERS / count : (size_t)(first + i);
        t_point(p, (unsigned)cluster, v + i * T_DIMS);
        ids[i] = first + i;
    }
    b.count = count;
    b.dims = T_DIMS;
    b.vectors = v;
    b.ids_u64 = ids;
    test_assert_ok(pv_upsert_batch(t->db, txn, "c", &b, NULL, &t->err), &t->err);
    free(ids);
    free(v);
}

static pv_collection_info t_info(t_api *t) {
    pv_collection_info info = PV_COLLECTION_INFO_INIT;
    test_assert_ok(pv_collection_info_get(t->db, NULL, "c", &info, &t->err), &t->err);
    return info;
}

static pv_results *t_search(t_api *t, pv_txn *txn, const float *v, uint32_t k, uint32_t ef,
                            uint32_t flags) {
    pv_results *r = NULL;
    pv_query q = t_query(v, T_DIMS, k);
    q.ef = ef;
    q.flags = flags;
    test_assert_ok(pv_search(t->db, txn, "c", &q, &r, &t->err), &t->err);
    return r;
}

/* Share of true neighbours found, by distance. */
static double t_recall(t_api *t, t_points *p, uint32_t ef, unsigned queries) {
    size_t hits = 0, wanted = 0;
    for (unsigned i = 0; i < queries; i++) {
        float v[T_DIMS];
        t_point(p, i, v);
        pv_results *want = t_search(t, NULL, v, T_K, 0, PV_QUERY_EXACT);
        pv_results *got = t_search(t, NULL, v, T_K, ef, 0);
        const size_t n = pv_results_count(want);
        assert_int_equal(pv_results_count(got), n);
        const float kth = pv_results_distance(want, n - 1);
        for (size_t h = 0; h < n; h++) {
            hits += pv_results_distance(got, h) <= kth + fabsf(kth) * 1e-5f;
        }
        wanted += n;
        pv_results_free(got);
        pv_results_free(want);
    }
    return (double)hits / (double)wanted;
}

static void t_expect_recall(t_api *t, t_points *p, uint32_t ef, double want) {
    const double got = t_recall(t, p, ef, 60);
    if (got < want) {
        fprintf(stderr, "recall %.4f at ef %u, wanted is %.4f, code %u, metric %u\n", got,
                (unsigned)ef, want, (unsigned)t_info(t).code, (unsigned)t_info(t).metric);
    }
    assert_true(got >= want);
}

/* ---- finding ---- */

static void test_ann_graph__finds_what_a_scan_finds(void **state) {
    (void)state;
    for (uint32_t metric = PV_METRIC_L2; metric <= PV_METRIC_DOT; metric++) {
        for (uint32_t code = PV_CODE_F32; code <= PV_CODE_F16; code++) {
            t_api t;
            t_points p;
            t_api_open(&t, NULL);
            t_points_init(&p, metric * 10 + code);
            t_make(&t, metric, PV_INDEX_HNSW, code);
            t_insert(&t, NULL, &p, 0, 3000, false);
            assert_int_equal(t_info(&t).indexed, 3000);
            t_expect_recall(&t, &p, 64, metric == PV_METRIC_DOT ? 0.95 : 0.97);
            t_expect_recall(&t, &p, 0, 0.95); /* promised when nothing is said */
            t_expect_sound(&t);
            t_api_done(&t);
        }
    }
}

static void test_ann_graph__input_sorted_by_cluster_is_no_trap(void **state) {
    (void)state;
    t_api t;
    t_points p;
    t_api_open(&t, NULL);
    t_points_init(&p, 3);
    t_make(&t, PV_METRIC_L2, PV_INDEX_HNSW, 0);
    t_insert(&t, NULL, &p, 0, 4000, true);
    t_expect_recall(&t, &p, 64, 0.97);
    t_expect_sound(&t);
    t_api_done(&t);
}

static void test_ann_graph__single_inserts_are_as_good(void **state) {
    (void)state;
    t_api t;
    t_points p;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    o.sync = PV_SYNC_ASYNC;
    t_api_open(&t, &o);
    t_points_init(&p, 4);
    t_make(&t, PV_METRIC_COSINE, PV_INDEX_HNSW, 0);
    for (uint64_t id = 0; id < 600; id++) {
        t_insert(&t, NULL, &p, id, 1, false);
    }
    assert_int_equal(t_info(&t).indexed, 600);
    t_expect_recall(&t, &p, 64, 0.97);
    t_expect_sound(&t);
    t_api_done(&t);
}

/* ---- auto ---- */

enum { T_WIDE = 1024 }; /* dimensions: 4 MiB of them are 1,024 records */

static void t_wide(t_points *p, float v[T_WIDE]) {
    for (unsigned i = 0; i < T_WIDE; i++) {
        v[i] = i % 64 < T_DIMS ? t_random(p) : 0.5f;
    }
}

static void t_insert_wide(t_api *t, t_points *p, uint64_t first, size_t count) {
    float *v = malloc(count * T_WIDE * sizeof *v);
    uint64_t *ids = malloc(count * sizeof *ids);
    pv_batch b = PV_BATCH_INIT;
    assert_true(v && ids);
    for (size_t i = 0; i < count; i++) {
        t_wide(p, v + i * T_WIDE);
        ids[i] = first + i;
    }
    b.count = count;
    b.dims = T_WIDE;
    b.vectors = v;
    b.ids_u64 = ids;
    test_assert_ok(pv_insert_batch(t->db, NULL, "c", &b, NULL, &t->err), &t->err);
    free(ids);
    free(v);
}

/* The record itself is its nearest, wherever it is: graph or tail. */
static void t_expect_found(t_api *t, uint64_t id) {
    pv_results *row = NULL, *r = NULL;
    test_assert_ok(pv_get_u64(t->db, NULL, "c", id, &row, &t->err), &t->err);
    pv_query q = t_query(pv_results_vector(row, 0), T_WIDE, 1);
    q.ef = 32;
    test_assert_ok(pv_search(t->db, NULL, "c", &q, &r, &t->err), &t->err);
    assert_int_equal(pv_results_id_u64(r, 0), id);
    pv_results_free(r);
    pv_results_free(row);
}

static void test_ann_graph__appears_by_itself(void **state) {
    (void)state;
    t_api t;
    t_points p;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    o.threads = 1; /* what a thread would do, the calls pay for */
    t_api_open(&t, &o);
    t_points_init(&p, 6);
    c.dims = T_WIDE;
    c.metric = PV_METRIC_L2;
    c.key = PV_KEY_U64;
    test_assert_ok(pv_collection_create(t.db, NULL, "c", &c, &t.err), &t.err);
    t_insert_wide(&t, &p, 0, 1023);
    assert_int_equal(t_info(&t).indexed, 0);
    uint64_t id = 1023;
    for (; t_info(&t).indexed < t_info(&t).count && id < 1400; id++) { /* no call pays for all */
        const uint64_t before = t_info(&t).indexed;
        t_insert_wide(&t, &p, id, 1);
        assert_true(t_info(&t).indexed > before);
        assert_true(t_info(&t).indexed <= before + 100);
        t_expect_found(&t, id);
        t_expect_found(&t, id / 2);
    }
    assert_int_equal(t_info(&t).indexed, id);
    assert_true(id > 1030);
    t_expect_sound(&t);
    t_api_done(&t);
}

static void test_ann_graph__flat_never_has_one(void **state) {
    (void)state;
    t_api t;
    t_points p;
    t_api_open(&t, NULL);
    t_points_init(&p, 7);
    t_make(&t, PV_METRIC_L2, PV_INDEX_FLAT, 0);
    t_insert(&t, NULL, &p, 0, 2000, false);
    const pv_collection_info info = t_info(&t);
    assert_int_equal(info.index, PV_INDEX_FLAT);
    assert_int_equal(info.code, 0);
    assert_int_equal(info.indexed, 0);
    assert_true(t_recall(&t, &p, 16, 20) == 1.0);
    t_api_done(&t);
}

/* ---- change ---- */

static void t_delete(t_api *t, const uint64_t *ids, size_t count) {
    pv_ids list = PV_IDS_INIT;
    uint64_t deleted = 0;
    list.count = count;
    list.ids_u64 = ids;
    test_assert_ok(pv_delete_many(t->db, NULL, "c", &list, &deleted, &t->err), &t->err);
    assert_int_equal(deleted, count);
}

static void test_ann_graph__turnover_keeps_recall(void **state) {
    (void)state;
    t_api t;
    t_points p;
    uint64_t ids[400], next = 2000, oldest = 0, most_dead = 0;
    t_api_open(&t, NULL);
    t_points_init(&p, 8);
    t_make(&t, PV_METRIC_L2, PV_INDEX_HNSW, 0);
    t_insert(&t, NULL, &p, 0, 2000, false);
    const double before = t_recall(&t, &p, 32, 100);
    for (unsigned round = 0; round < 10; round++) { /* twice all of them */
        for (size_t i = 0; i < 400; i++) {
            ids[i] = oldest++;
        }
        t_delete(&t, ids, 400);
        t_insert(&t, NULL, &p, next, 400, false);
        next += 400;
        const pv_collection_info info = t_info(&t);
        assert_int_equal(info.count, 2000);
        assert_int_equal(info.indexed, 2000);
        most_dead = info.index_dead > most_dead ? info.index_dead : most_dead;
        t_expect_sound(&t);
    }
    const double after = t_recall(&t, &p, 32, 100);
    assert_true(most_dead < 1200); /* swept by the writes themselves */
    if (after < before - 0.01) {
        fprintf(stderr, "recall %.4f, after turnover %.4f\n", before, after);
    }
    assert_true(after >= before - 0.01);
    t_api_done(&t);
}

static void test_ann_graph__a_cluster_dies(void **state) {
    (void)state;
    t_api t;
    t_points p;
    uint64_t ids[200];
    size_t n = 0;
    t_api_open(&t, NULL);
    t_points_init(&p, 9);
    t_make(&t, PV_METRIC_L2, PV_INDEX_HNSW, 0);
    t_insert(&t, NULL, &p, 0, 2400, false);
    for (uint64_t id = 5; id < 2400; id += T_CLUSTERS) { /* all of cluster 5 */
        ids[n++] = id;
    }
    t_delete(&t, ids, n);
    pv_results *r = t_search(&t, NULL, p.centre[5], T_K, 64, 0); /* in the middle of the dead */
    pv_results *want = t_search(&t, NULL, p.centre[5], T_K, 0, PV_QUERY_EXACT);
    assert_int_equal(pv_results_count(r), T_K);
    assert_true(pv_results_distance(r, 0) <= pv_results_distance(want, T_K - 1));
    for (size_t i = 0; i < T_K; i++) {
        assert_int_not_equal(pv_results_id_u64(r, i) % T_CLUSTERS, 5);
    }
    pv_results_free(want);
    pv_results_free(r);
    t_expect_sound(&t);
    t_api_done(&t);
}

/* So few of all that walks go on as if nobody had died, but all of those nearest to one query. */
static void test_ann_graph__few_die_and_all_nearby(void **state) {
    (void)state;
    enum { dead = 25 };
    t_api t;
    t_points p;
    uint64_t ids[dead];
    t_api_open(&t, NULL);
    t_points_init(&p, 10);
    t_make(&t, PV_METRIC_L2, PV_INDEX_HNSW, 0);
    t_insert(&t, NULL, &p, 0, 2400, false);
    const double before = t_recall(&t, &p, 32, 100);
    pv_results *r = t_search(&t, NULL, p.centre[5], dead, 0, PV_QUERY_EXACT);
    for (size_t i = 0; i < dead; i++) {
        ids[i] = pv_results_id_u64(r, i);
    }
    pv_results_free(r);
    t_delete(&t, ids, dead);
    assert_int_equal(t_info(&t).index_dead, dead);
    r = t_search(&t, NULL, p.centre[5], T_K, 64, 0);
    pv_results *want = t_search(&t, NULL, p.centre[5], T_K, 0, PV_QUERY_EXACT);
    assert_int_equal(pv_results_count(r), T_K);
    assert_true(pv_results_distance(r, T_K - 1) <= pv_results_distance(want, T_K - 1) * 1.01f);
    pv_results_free(want);
    pv_results_free(r);
    assert_true(t_recall(&t, &p, 32, 100) >= before - 0.005);
    t_api_done(&t);
}

static void test_ann_graph__delete_all_then_insert(void **state) {
    (void)state;
    t_api t;
    t_points p;
    uint64_t ids[1500], deleted = 0;
    t_api_open(&t, NULL);
    t_points_init(&p, 10);
    t_make(&t, PV_METRIC_COSINE, PV_INDEX_HNSW, 0);
    for (unsigned round = 0; round < 3; round++) {
        t_insert(&t, NULL, &p, round * 10000u, 1500, false);
        t_expect_recall(&t, &p, 64, 0.95);
        t_expect_sound(&t);
        if (round == 1) {
            test_assert_ok(pv_delete_where(t.db, NULL, "c", "{}", &deleted, &t.err), &t.err);
            assert_int_equal(deleted, 1500);
        } else {
            for (size_t i = 0; i < 1500; i++) {
                ids[i] = round * 10000u + i;
            }
            t_delete(&t, ids, 1500);
        }
        pv_results *r = t_search(&t, NULL, p.centre[0], T_K, 64, 0);
        assert_int_equal(pv_results_count(r), 0);
        pv_results_free(r);
        t_expect_sound(&t);
    }
    t_api_done(&t);
}

static void test_ann_graph__a_changed_vector_is_found_where_it_is_now(void **state) {
    (void)state;
    t_api t;
    t_points p;
    float far[T_DIMS];
    t_api_open(&t, NULL);
    t_points_init(&p, 11);
    t_make(&t, PV_METRIC_L2, PV_INDEX_HNSW, 0);
    t_insert(&t, NULL, &p, 0, 1000, false);
    for (unsigned i = 0; i < T_DIMS; i++) {
        far[i] = 40.0f + (float)i;
    }
    for (uint64_t id = 0; id < 1000; id += 100) {
        far[0] += 1;
        t_put(&t, NULL, "c", t_record_u64(id, far, T_DIMS, NULL));
        pv_results *r = t_search(&t, NULL, far, 1, 32, 0);
        assert_int_equal(pv_results_id_u64(r, 0), id);
        pv_results_free(r);
    }
    const pv_collection_info before = t_info(&t);
    t_put(&t, NULL, "c", t_record_u64(900, far, T_DIMS, "{\"again\":true}")); /* the same vector */
    assert_int_equal(t_info(&t).index_dead, before.index_dead);
    assert_int_equal(t_info(&t).indexed, 1000);
    t_expect_sound(&t);
    t_api_done(&t);
}

/* ---- equal vectors ---- */

static void test_ann_graph__equal_vectors_share_a_node(void **state) {
    (void)state;
    static const float zero[T_DIMS];
    t_api t;
    t_points p;
    float same[T_DIMS];
    uint64_t ids[300];
    t_api_open(&t, NULL);
    t_points_init(&p, 12);
    t_make(&t, PV_METRIC_COSINE, PV_INDEX_HNSW, 0);
    t_insert(&t, NULL, &p, 0, 1000, false);
    t_point(&p, 3, same);
    float *v = malloc(300 * sizeof same);
    pv_batch b = PV_BATCH_INIT;
    assert_non_null(v);
    for (size_t i = 0; i < 300; i++) { /* every third of a batch, and zeros */
        memcpy(v + i * T_DIMS, i % 3 == 0 ? same : zero, sizeof same);
        ids[i] = 5000 + i;
        if (i % 3 == 2) {
            t_point(&p, (unsigned)i, v + i * T_DIMS);
        }
    }
    b.count = 300;
    b.dims = T_DIMS;
    b.vectors = v;
    b.ids_u64 = ids;
    test_assert_ok(pv_insert_batch(t.db, NULL, "c", &b, NULL, &t.err), &t.err);
    t_expect_sound(&t);
    pv_results *r = t_search(&t, NULL, same, 150, 200, 0);
    assert_int_equal(pv_results_count(r), 150);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(pv_results_id_u64(r, i), 5000 + 3 * i);
    }
    pv_results_free(r);
    for (size_t i = 0; i < 300; i += 3) { /* the first slot of the node goes again and again */
        t_delete(&t, &ids[i], 1);
        if (i % 60 == 0) {
            t_expect_sound(&t);
        }
    }
    r = t_search(&t, NULL, same, 10, 64, 0);
    for (size_t i = 0; i < 10; i++) {
        assert_true(pv_results_id_u64(r, i) < 5000 || pv_results_id_u64(r, i) % 3 == 1);
    }
    pv_results_free(r);
    t_expect_sound(&t);
    free(v);
    t_api_done(&t);
}

/* ---- transactions ---- */

static void test_ann_graph__rollback_and_snapshot(void **state) {
    (void)state;
    t_api t;
    t_points p;
    pv_txn *old = NULL, *txn = NULL;
    uint32_t savepoint = 0;
    uint64_t first[20];
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    o.threads = 1; /* nobody else writes */
    t_api_open(&t, &o);
    t_points_init(&p, 13);
    t_make(&t, PV_METRIC_L2, PV_INDEX_HNSW, 0);
    t_insert(&t, NULL, &p, 0, 1500, false);
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_READ, &old, &t.err), &t.err);
    pv_results *r = t_search(&t, old, p.centre[1], 20, 40, 0);
    for (size_t i = 0; i < 20; i++) {
        first[i] = pv_results_id_u64(r, i);
    }
    pv_results_free(r);
    const t_mark before = t_mark_of(&t);
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &txn, &t.err), &t.err);
    t_insert(&t, txn, &p, 2000, 700, false);
    r = t_search(&t, txn, p.centre[1], 20, 60, 0); /* reads its own writes */
    assert_int_equal(pv_results_count(r), 20);
    pv_results_free(r);
    pv_txn_rollback(txn);
    t_expect_unchanged(&t, before);
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &txn, &t.err), &t.err);
    t_insert(&t, txn, &p, 2000, 300, false);
    test_assert_ok(pv_txn_savepoint(txn, &savepoint, &t.err), &t.err);
    t_insert(&t, txn, &p, 3000, 300, false);
    test_assert_ok(pv_txn_rollback_to(txn, savepoint, &t.err), &t.err);
    t_insert(&t, txn, &p, 4000, 300, false);
    test_assert_ok(pv_txn_commit(txn, NULL, &t.err), &t.err);
    assert_int_equal(t_info(&t).indexed, 2100);
    t_expect_sound(&t);
    r = t_search(&t, old, p.centre[1], 20, 40, 0); /* the old state, to the last row */
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(pv_results_id_u64(r, i), first[i]);
    }
    pv_results_free(r);
    pv_txn_rollback(old);
    t_api_shut(&t);
    t_api_reopen(&t, NULL);
    t_expect_recall(&t, &p, 64, 0.97);
    t_expect_sound(&t);
    t_api_done(&t);
}

static int t_stop_after(void *ctx) {
    unsigned *left = ctx;
    return *left > 0 && --*left == 0;
}

static void test_ann_graph__a_build_can_be_interrupted(void **state) {
    (void)state;
    t_api t;
    t_points p;
    unsigned left = 0;
    float v[64 * T_DIMS];
    pv_batch b = PV_BATCH_INIT;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    o.threads = 1; /* nobody else writes */
    o.interrupt = t_stop_after;
    o.interrupt_ctx = &left;
    t_api_open(&t, &o);
    t_points_init(&p, 14);
    t_make(&t, PV_METRIC_L2, PV_INDEX_HNSW, 0);
    t_insert(&t, NULL, &p, 0, 500, false);
    const t_mark before = t_mark_of(&t);
    for (unsigned i = 0; i < 64; i++) {
        t_point(&p, i, v + i * T_DIMS);
    }
    b.count = 64;
    b.dims = T_DIMS;
    b.vectors = v;
    left = 4;
    test_assert_rc(pv_insert_batch(t.db, NULL, "c", &b, NULL, &t.err), PV_ERR_CANCELLED, &t.err);
    assert_int_equal(left, 0);
    t_expect_unchanged(&t, before);
    t_expect_sound(&t);
    t_api_done(&t);
}

/* ---- what is refused ---- */

static void test_ann_graph__bad_options_are_refused(void **state) {
    (void)state;
    static const struct {
        uint32_t index, code, ef;
        int rc;
    } cases[] = {{4, 0, 0, PV_ERR_UNSUPPORTED},
                 {PV_INDEX_IVF, 99, 0, PV_ERR_UNSUPPORTED},
                 {PV_INDEX_HNSW, 99, 0, PV_ERR_UNSUPPORTED},
                 {PV_INDEX_HNSW, 0, 15, PV_ERR_LIMIT},
                 {PV_INDEX_HNSW, 0, 4097, PV_ERR_LIMIT},
                 {PV_INDEX_FLAT, PV_CODE_Q4, 0, PV_ERR_MISUSE},
                 {PV_INDEX_FLAT, PV_CODE_SQ8, 64, PV_ERR_MISUSE},
                 {PV_INDEX_FLAT, 0, 200, PV_ERR_MISUSE}};
    t_api t;
    pv_results *r = NULL;
    float v[T_DIMS] = {1};
    t_api_open(&t, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
        c.dims = T_DIMS;
        c.index = cases[i].index;
        c.code = cases[i].code;
        c.ef_construction = cases[i].ef;
        test_assert_rc(pv_collection_create(t.db, NULL, "bad", &c, &t.err), cases[i].rc, &t.err);
    }
    t_make(&t, PV_METRIC_L2, PV_INDEX_HNSW, PV_CODE_F32);
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT; /* what is not said is as it is */
    c.dims = T_DIMS;
    c.metric = PV_METRIC_L2;
    c.key = PV_KEY_U64;
    test_assert_ok(pv_collection_ensure(t.db, NULL, "c", &c, &t.err), &t.err);
    c.code = PV_CODE_SQ8;
    test_assert_rc(pv_collection_ensure(t.db, NULL, "c", &c, &t.err), PV_ERR_EXISTS, &t.err);
    pv_query q = t_query(v, T_DIMS, 1);
    q.ef = 16385;
    test_assert_rc(pv_search(t.db, NULL, "c", &q, &r, &t.err), PV_ERR_LIMIT, &t.err);
    q.ef = 0;
    q.target_recall = 1.5f;
    test_assert_rc(pv_search(t.db, NULL, "c", &q, &r, &t.err), PV_ERR_MISUSE, &t.err);
    q.target_recall = NAN;
    test_assert_rc(pv_search(t.db, NULL, "c", &q, &r, &t.err), PV_ERR_MISUSE, &t.err);
    t_api_done(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ann_graph__finds_what_a_scan_finds),
        cmocka_unit_test(test_ann_graph__input_sorted_by_cluster_is_no_trap),
        cmocka_unit_test(test_ann_graph__single_inserts_are_as_good),
        cmocka_unit_test(test_ann_graph__appears_by_itself),
        cmocka_unit_test(test_ann_graph__flat_never_has_one),
        cmocka_unit_test(test_ann_graph__turnover_keeps_recall),
        cmocka_unit_test(test_ann_graph__a_cluster_dies),
        cmocka_unit_test(test_ann_graph__few_die_and_all_nearby),
        cmocka_unit_test(test_ann_graph__delete_all_then_insert),
        cmocka_unit_test(test_ann_graph__a_changed_vector_is_found_where_it_is_now),
        cmocka_unit_test(test_ann_graph__equal_vectors_share_a_node),
        cmocka_unit_test(test_ann_graph__rollback_and_snapshot),
        cmocka_unit_test(test_ann_graph__a_build_can_be_interrupted),
        cmocka_unit_test(test_ann_graph__bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
