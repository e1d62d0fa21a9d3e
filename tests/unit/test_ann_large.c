/* SPDX-License-Identifier: Apache-2.0 */
/* test_ann_large.c - graphs of thousands of rows, made by few calls: the bytes of their pages, what
 * they find, and what building asks on the way. */
#include <math.h>

#include "ann/build.h"
#include "base/bytes.h"
#include "engine/db.h"
#include "engine/parts.h"
#include "test_api_kit.h"

/* ---- the same bytes -------------------------------------------------------------------------- */

enum { T_MANY = 8000, T_FIRST = 5000, T_WIDTH = 24 };

/* Of the contents of all pages, without their heads, which name the database and the commit. */
static uint64_t t_hash_pages(pv__txn *txn, pv_error *err) {
    uint64_t end = 0, hash = 0;
    size_t pages = 0;
    test_assert_ok(pv__page_ids_end(txn, &end, err), err);
    for (uint64_t id = 1; id < end; id++) {
        const uint8_t *page = NULL;
        if (pv__page_read(txn, id, PV__PAGE_ANY, &page, NULL) == 0) {
            const size_t size = pv__page_size(page) - PV__PAGE_HEAD;
            hash = pv__mix64(hash ^ pv__hash64(page + PV__PAGE_HEAD, size, id));
            hash = pv__mix64(hash ^ pv__page_owner(page) ^ (uint64_t)pv__page_kind(page) << 32);
            pages++;
        }
        test_assert_ok(pv__txn_pause(txn, err), err);
    }
    assert_true(pages > 60);
    return hash;
}

static void t_insert_many(t_api *t, pv_txn *txn, const float *v, size_t from, size_t count) {
    uint64_t *ids = malloc(count * sizeof *ids);
    pv_batch b = PV_BATCH_INIT;
    assert_non_null(ids);
    for (size_t i = 0; i < count; i++) {
        ids[i] = from + i;
    }
    b.count = count;
    b.dims = T_WIDTH;
    b.vectors = v + from * T_WIDTH;
    b.ids_u64 = ids;
    test_assert_ok(pv_insert_batch(t->db, txn, "c", &b, NULL, &t->err), &t->err);
    free(ids);
}

/* G5: whatever the number of threads, and whether there is memory for the graph, the same calls
 * write the same bytes: rows in random order, then rows sorted by cluster, in three calls of one
 * transaction. */
static void t_expect_same_bytes(uint32_t index) {
    static const uint32_t threads[] = {1, 4, 2};
    static const uint64_t caches[] = {0, 0, 2048u << 10};
    float *v = malloc(sizeof(float) * T_MANY * T_WIDTH);
    uint64_t hash[3] = {0};
    test_rng rng;
    assert_non_null(v);
    test_rng_init(&rng, test_seed());
    for (size_t i = 0; i < T_MANY; i++) {
        const size_t cluster = i < T_FIRST ? test_rng_below(&rng, 30) : i / 100;
        for (size_t d = 0; d < T_WIDTH; d++) {
            v[i * T_WIDTH + d] =
                (float)(cluster * 7 % (d + 3)) + (float)test_rng_below(&rng, 1000) / 400.0f;
        }
    }
    for (size_t i = 0; i < PV_COUNTOF(threads); i++) {
        t_api t;
        pv_open_opts o = PV_OPEN_OPTS_INIT;
        pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
        pv_txn *txn = NULL;
        o.threads = threads[i];
        o.cache_bytes = caches[i];
        t_api_open(&t, &o);
        c.dims = T_WIDTH;
        c.metric = PV_METRIC_L2;
        c.key = PV_KEY_U64;
        c.index = index;
        test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &txn, &t.err), &t.err);
        test_assert_ok(pv_collection_create(t.db, txn, "c", &c, &t.err), &t.err);
        t_insert_many(&t, txn, v, 0, T_FIRST);
        t_insert_many(&t, txn, v, T_FIRST, T_MANY - T_FIRST - 500);
        t_insert_many(&t, txn, v, T_MANY - 500, 500);
        hash[i] = t_hash_pages(txn->txn, &t.err); /* afterwards the background writes, too */
        test_assert_ok(pv_txn_commit(txn, NULL, &t.err), &t.err);
        t_expect_sound(&t);
        t_api_done(&t);
    }
    free(v);
    assert_int_equal(hash[0], hash[1]);
    assert_int_equal(hash[0], hash[2]);
}

/* ---- what was asked for ---------------------------------------------------------------------- */

static double t_found(t_api *t, const float *v, uint32_t k, float target) {
    enum { EVERY = 20, T_MOST = 30 };
    uint32_t right = 0, all = 0;
    for (size_t at = T_MANY; at < T_MANY + T_FIRST / EVERY; at++) {
        uint64_t ids[2][T_MOST];
        for (unsigned exact = 0; exact < 2; exact++) {
            pv_query q = PV_QUERY_INIT;
            pv_results *r = NULL;
            q.vector = v + at * T_WIDTH;
            q.dims = T_WIDTH;
            q.k = k;
            q.flags = exact ? PV_QUERY_EXACT : 0;
            q.target_recall = exact ? 0 : target;
            test_assert_ok(pv_search(t->db, NULL, "c", &q, &r, &t->err), &t->err);
            assert_int_equal(pv_results_count(r), k);
            for (uint32_t i = 0; i < k; i++) {
                ids[exact][i] = pv_results_id_u64(r, i);
            }
            pv_results_free(r);
        }
        for (uint32_t i = 0; i < k * k; i++) {
            right += ids[0][i / k] == ids[1][i % k] ? 1u : 0u;
        }
        all += k;
    }
    return (double)right / all;
}

/* Rows in groups; their length is 1, or what comes out of it times `spread` to 1. */
static void t_lengths(float *v, test_rng *rng, bool unit, float spread) {
    for (size_t i = 0; i < T_MANY + T_FIRST; i++) {
        double norm2 = 0;
        for (size_t d = 0; d < T_WIDTH; d++) {
            norm2 += (double)v[i * T_WIDTH + d] * (double)v[i * T_WIDTH + d];
        }
        const float by = spread + (1 - spread) * (float)test_rng_below(rng, 1000) / 1000.0f;
        for (size_t d = 0; d < T_WIDTH; d++) {
            v[i * T_WIDTH + d] *= unit ? (float)(1 / sqrt(norm2)) : by;
        }
    }
}

/* Queries are no rows and lie between groups of them: whatever k, about the recall that was asked
 * for, and where that is little no more work than it takes. */
static void t_recall_is_as_asked(uint32_t metric, bool unit, float spread) {
    float *v = malloc(sizeof(float) * (T_MANY + T_FIRST) * T_WIDTH);
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    test_rng rng;
    t_api t;
    assert_non_null(v);
    test_rng_init(&rng, test_seed());
    for (size_t i = 0; i < (size_t)(T_MANY + T_FIRST) * T_WIDTH; i++) {
        const float group = (float)(i / T_WIDTH * 7 % 11 * (i % T_WIDTH + 3) % 5) / 4.0f;
        v[i] = group + (float)test_rng_below(&rng, 1000) / 400.0f - (metric == PV_METRIC_DOT);
    }
    t_lengths(v, &rng, unit, spread);
    t_api_open(&t, NULL);
    c.dims = T_WIDTH;
    c.metric = metric;
    c.key = PV_KEY_U64;
    c.index = PV_INDEX_HNSW;
    test_assert_ok(pv_collection_create(t.db, NULL, "c", &c, &t.err), &t.err);
    t_insert_many(&t, NULL, v, 0, T_MANY);
    const uint32_t ks[] = {1, 3, 10, 30};
    for (unsigned i = 0; i < sizeof ks / sizeof ks[0]; i++) {
        const double most = t_found(&t, v, ks[i], 0.98f), some = t_found(&t, v, ks[i], 0.8f);
        assert_true(most > 0.93);
        assert_true(some > 0.68 && some < 0.97);
    }
    t_api_done(&t);
    free(v);
}

static void test_ann_large__recall_is_what_was_asked_for(void **state) {
    (void)state;
    t_recall_is_as_asked(PV_METRIC_L2, false, 1);
    t_recall_is_as_asked(PV_METRIC_DOT, true, 1);
    t_recall_is_as_asked(PV_METRIC_DOT, false, 0.3f);
}

/* ---- large calls, whatever the code ---------------------------------------------------------- */

typedef struct t_kind {
    uint32_t type, code, metric;
} t_kind;

/* T_FIRST rows in one call; *out_hash is of its pages. Returns the recall@10 of few steps. */
static double t_large_call(const t_kind *kind, const void *v, size_t row_bytes, uint32_t threads,
                           uint64_t *out_hash) {
    enum { K = 10, EF = 12, QUERIES = 200 };
    static uint64_t ids[T_FIRST];
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    pv_batch b = PV_BATCH_INIT;
    pv_txn *txn = NULL;
    uint32_t right = 0;
    t_api t;
    o.threads = threads;
    t_api_open(&t, &o);
    c.dims = b.dims = T_WIDTH;
    c.type = b.type = kind->type;
    c.metric = kind->metric;
    c.code = kind->code;
    c.key = PV_KEY_U64;
    c.index = PV_INDEX_HNSW;
    for (size_t i = 0; i < T_FIRST; i++) {
        ids[i] = i;
    }
    b.count = T_FIRST;
    b.ids_u64 = ids;
    b.vectors = v;
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &txn, &t.err), &t.err);
    test_assert_ok(pv_collection_create(t.db, txn, "c", &c, &t.err), &t.err);
    test_assert_ok(pv_insert_batch(t.db, txn, "c", &b, NULL, &t.err), &t.err);
    *out_hash = t_hash_pages(txn->txn, &t.err);
    for (size_t at = 0; at < QUERIES; at++) {
        uint64_t found[2][K];
        for (unsigned exact = 0; exact < 2; exact++) {
            pv_query q = PV_QUERY_INIT;
            pv_results *r = NULL;
            q.vector = (const uint8_t *)v + (T_FIRST + at) * row_bytes;
            q.type = kind->type;
            q.dims = T_WIDTH;
            q.k = K;
            q.ef = exact ? 0 : EF;
            q.flags = exact ? PV_QUERY_EXACT : 0;
            test_assert_ok(pv_search(t.db, txn, "c", &q, &r, &t.err), &t.err);
            assert_int_equal(pv_results_count(r), K);
            for (uint32_t i = 0; i < K; i++) {
                found[exact][i] = pv_results_id_u64(r, i);
            }
            pv_results_free(r);
        }
        for (uint32_t i = 0; i < K * K; i++) {
            right += found[0][i / K] == found[1][i % K] ? 1u : 0u;
        }
    }
    test_assert_ok(pv_txn_commit(txn, NULL, &t.err), &t.err);
    t_expect_sound(&t);
    t_api_done(&t);
    return (double)right / (QUERIES * K);
}

/* Codes that cannot be turned are compared by others on the way: nothing of that is lost, and the
 * bytes are the same for any number of threads. Lengths of rows differ by a hundred times. */
static void test_ann_large__large_calls_find_alike_by_every_code(void **state) {
    (void)state;
    static const t_kind kinds[] = {{PV_TYPE_F32, PV_CODE_SQ8, PV_METRIC_L2},
                                   {PV_TYPE_F32, PV_CODE_F32, PV_METRIC_L2},
                                   {PV_TYPE_F32, PV_CODE_F16, PV_METRIC_L2},
                                   {PV_TYPE_F32, PV_CODE_F16, PV_METRIC_COSINE},
                                   {PV_TYPE_F32, PV_CODE_F32, PV_METRIC_L1},
                                   {PV_TYPE_I8, 0, PV_METRIC_L2}};
    float *v = malloc(sizeof(float) * (T_MANY + T_FIRST) * T_WIDTH);
    int8_t *bytes = malloc((size_t)(T_MANY + T_FIRST) * T_WIDTH);
    double first = 0;
    test_rng rng;
    assert_true(v && bytes);
    test_rng_init(&rng, test_seed());
    for (size_t i = 0; i < (size_t)(T_MANY + T_FIRST) * T_WIDTH; i++) {
        const float group = (float)(i / T_WIDTH * 7 % 11 * (i % T_WIDTH + 3) % 5);
        v[i] = group + (float)test_rng_below(&rng, 1000) / 200.0f;
    }
    t_lengths(v, &rng, false, 0.01f);
    for (size_t i = 0; i < (size_t)(T_MANY + T_FIRST) * T_WIDTH; i++) {
        bytes[i] = (int8_t)(v[i] * 12.0f);
    }
    for (size_t i = 0; i < PV_COUNTOF(kinds); i++) {
        const bool small = kinds[i].type == PV_TYPE_I8;
        const void *rows = small ? (const void *)bytes : v;
        uint64_t hash[2] = {0};
        double recall[2];
        for (unsigned j = 0; j < 2; j++) {
            recall[j] = t_large_call(&kinds[i], rows, T_WIDTH * (small ? 1 : sizeof(float)),
                                     j == 0 ? 1 : 4, &hash[j]);
        }
        first = i == 0 ? recall[0] : first;
        assert_true(recall[0] > (kinds[i].type == PV_TYPE_F32 && kinds[i].metric == PV_METRIC_L2
                                     ? first - 0.02
                                     : 0.9));
        assert_int_equal(hash[0], hash[1]);
    }
    free(bytes);
    free(v);
}

/* ---- interrupts ------------------------------------------------------------------------------ */

typedef struct t_asked {
    unsigned count, stop_at; /* 0: never */
} t_asked;

static int t_interrupt(void *ctx) {
    t_asked *a = ctx;
    a->count++;
    return a->stop_at != 0 && a->count >= a->stop_at;
}

/* The interrupt is asked behind so little work that a person does not notice: every few rows of an
 * insert, every walk of a calibration and what is ranked behind it. */
static void test_ann_large__work_is_cut_by_questions(void **state) {
    (void)state;
    enum { FIRST = 3600, MORE = 400, SAMPLES = 40 };
    float *v = malloc(sizeof(float) * (FIRST + MORE) * T_WIDTH);
    t_asked asked = {0, 0};
    pv__walker *w = NULL;
    pv__txn *txn = NULL;
    pv__parts p;
    t_api t;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    test_rng rng;
    assert_non_null(v);
    test_rng_init(&rng, test_seed());
    for (size_t i = 0; i < (size_t)(FIRST + MORE) * T_WIDTH; i++) {
        v[i] = (float)test_rng_below(&rng, 1000) / 400.0f;
    }
    o.threads = 1;
    o.interrupt = t_interrupt;
    o.interrupt_ctx = &asked;
    t_api_open(&t, &o);
    c.dims = T_WIDTH;
    c.metric = PV_METRIC_L2;
    c.key = PV_KEY_U64;
    c.index = PV_INDEX_HNSW;
    test_assert_ok(pv_collection_create(t.db, NULL, "c", &c, &t.err), &t.err);
    t_insert_many(&t, NULL, v, 0, FIRST);
    asked.count = 0;
    t_insert_many(&t, NULL, v, FIRST, MORE); /* in batches of more than 64 */
    assert_true(asked.count >= MORE / 10);

    const uint32_t flags = PV__TXN_WRITE | PV__TXN_ASKS;
    test_assert_ok(pv__txn_begin(t.db->store, flags, &txn, &t.err), &t.err);
    test_assert_ok(pv__parts_open(&p, txn, "c", &t.err), &t.err);
    test_assert_ok(pv__parts_graph(&p, t.db->cpu, 1, &t.err), &t.err);
    test_assert_ok(pv__db_walker_take(t.db, &w, &t.err), &t.err);
    memset(&p.graph.meta.curve, 0, sizeof p.graph.meta.curve);
    asked = (t_asked){0, 0};
    test_assert_ok(pv__graph_calibrate(&p.graph, w, SAMPLES, &t.err), &t.err);
    assert_true(asked.count >= 2 * SAMPLES);
    asked = (t_asked){0, 3};
    test_assert_rc(pv__graph_calibrate(&p.graph, w, SAMPLES, &t.err), PV_ERR_CANCELLED, &t.err);
    assert_int_equal(asked.count, 3);
    asked = (t_asked){0, 0};
    pv__db_walker_give(t.db, w);
    pv__parts_done(&p);
    pv__txn_rollback(txn);
    t_expect_sound(&t);
    t_api_done(&t);
    free(v);
}

/* A calibration ranks by vectors that lie in many large pages, each sample by others: where the
 * graph is this transaction's and larger than the cache, what was read goes before the next is. */
static void test_ann_large__a_calibration_keeps_the_budget(void **state) {
    (void)state;
    enum { ROWS = 600, WIDTH = 1024, SAMPLES = 5 };
    const uint64_t cache = 1024u << 10;
    float *v = malloc(sizeof(float) * ROWS * WIDTH);
    uint64_t *ids = malloc(sizeof(uint64_t) * ROWS);
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    pv_batch b = PV_BATCH_INIT;
    pv_txn *txn = NULL;
    pv__walker *w = NULL;
    pv__parts p;
    test_rng rng;
    t_api t;
    assert_true(v && ids);
    test_rng_init(&rng, test_seed());
    for (size_t i = 0; i < (size_t)ROWS * WIDTH; i++) {
        v[i] = (float)test_rng_below(&rng, 1000) / 400.0f;
    }
    for (size_t i = 0; i < ROWS; i++) {
        ids[i] = i;
    }
    o.threads = 1;
    o.cache_bytes = cache;
    t_api_open(&t, &o);
    c.dims = WIDTH;
    c.metric = PV_METRIC_L2;
    c.key = PV_KEY_U64;
    c.index = PV_INDEX_HNSW;
    c.ef_construction = 16;
    b.count = ROWS;
    b.dims = WIDTH;
    b.vectors = v;
    b.ids_u64 = ids;
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &txn, &t.err), &t.err);
    test_assert_ok(pv_collection_create(t.db, txn, "c", &c, &t.err), &t.err);
    test_assert_ok(pv_insert_batch(t.db, txn, "c", &b, NULL, &t.err), &t.err);
    test_assert_ok(pv__parts_open(&p, txn->txn, "c", &t.err), &t.err);
    test_assert_ok(pv__parts_graph(&p, t.db->cpu, 1, &t.err), &t.err);
    test_assert_ok(pv__db_walker_take(t.db, &w, &t.err), &t.err);
    memset(&p.graph.meta.curve, 0, sizeof p.graph.meta.curve);
    pv__mem *mem = &t.db->env->mem;
    atomic_store(&mem->bytes_peak, atomic_load(&mem->bytes_used));
    test_assert_ok(pv__graph_calibrate(&p.graph, w, SAMPLES, &t.err), &t.err);
    /* Beside it: 1.25 MiB where pages are put together on their way out, and the walker. */
    assert_true(atomic_load(&mem->bytes_peak) < 3 * cache);
    pv__db_walker_give(t.db, w);
    pv__parts_done(&p);
    pv_txn_rollback(txn);
    t_api_done(&t);
    free(ids);
    free(v);
}

static void test_ann_large__threads_change_no_byte(void **state) {
    (void)state;
    t_expect_same_bytes(PV_INDEX_HNSW);
    t_expect_same_bytes(PV_INDEX_IVF);
}
int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ann_large__work_is_cut_by_questions),
        cmocka_unit_test(test_ann_large__recall_is_what_was_asked_for),
        cmocka_unit_test(test_ann_large__large_calls_find_alike_by_every_code),
        cmocka_unit_test(test_ann_large__a_calibration_keeps_the_budget),
        cmocka_unit_test(test_ann_large__threads_change_no_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
