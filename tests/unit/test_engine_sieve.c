/* SPDX-License-Identifier: Apache-2.0 */
/* test_engine_sieve.c - many queries at once over many pages give, bit for bit, what each alone
 * gives: with caches smaller than the collection, filters that match little, ties, vectors for
 * which the sieve closes on the way, and memory that fails. */
#include "engine/db.h"
#include "engine/sieve.h"
#include "test_api_kit.h"

enum { T_DIMS = 40, T_ROWS = 4000, T_QUERIES = 45, T_K_MAX = 2000 };

static float t_vectors[T_ROWS][T_DIMS], t_queries[T_QUERIES][T_DIMS];

enum { T_NORMAL, T_TIES, T_FAR, T_KINDS };

static void t_make(test_rng *rng, int kind, float *v) {
    for (size_t d = 0; d < T_DIMS; d++) {
        const float g = test_rng_gauss(rng);
        v[d] = kind == T_TIES  ? (float)((int)test_rng_below(rng, 2)) * (d < 3)
               : kind == T_FAR ? 3000.0f + g * 0.001f
                               : g;
    }
}

static void t_fill(t_api *t, test_rng *rng, int kind, uint32_t metric) {
    pv_batch b = PV_BATCH_INIT;
    static uint64_t ids[T_ROWS], offsets[T_ROWS + 1];
    static char meta[T_ROWS * 16];
    size_t at = 0;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.dims = T_DIMS;
    c.metric = metric;
    c.key = PV_KEY_U64;
    c.index = PV_INDEX_FLAT;
    test_assert_ok(pv_collection_create(t->db, NULL, "docs", &c, &t->err), &t->err);
    for (size_t i = 0; i < T_ROWS; i++) {
        t_make(rng, kind, t_vectors[i]);
        ids[i] = (i * 7919) % T_ROWS; /* not in the order of slots */
        at += (size_t)snprintf(meta + at, 16, "{\"n\":%d}", (int)(i % 200));
        offsets[i + 1] = at;
    }
    for (size_t i = 0; i < T_QUERIES; i++) {
        t_make(rng, kind, t_queries[i]);
    }
    b.count = T_ROWS;
    b.dims = T_DIMS;
    b.ids_u64 = ids;
    b.vectors = t_vectors;
    b.metadata_data = meta;
    b.metadata_offsets = offsets;
    test_assert_ok(pv_insert_batch(t->db, NULL, "docs", &b, NULL, &t->err), &t->err);
    pv_ids gone = PV_IDS_INIT;
    uint64_t n = 0;
    gone.count = T_ROWS / 7;
    gone.ids_u64 = ids + 1000;
    test_assert_ok(pv_delete_many(t->db, NULL, "docs", &gone, &n, &t->err), &t->err);
}

static void t_same(const pv_results *one, const pv_results *many) {
    const size_t n = pv_results_count(one);
    assert_int_equal(pv_results_count(many), n);
    if (n > 0) {
        assert_memory_equal(pv_results_ids_u64(one), pv_results_ids_u64(many), n * 8);
        assert_memory_equal(pv_results_distances(one), pv_results_distances(many), n * 4);
    }
}

static void t_agree(t_api *t, pv_txn *txn, pv_query query, size_t count) {
    pv_results *many[T_QUERIES];
    pv_query_vectors v = PV_QUERY_VECTORS_INIT;
    v.count = count;
    query.vector = t_queries;
    query.dims = T_DIMS;
    test_assert_ok(pv_search_many(t->db, txn, "docs", &query, &v, many, &t->err), &t->err);
    for (size_t i = 0; i < count; i++) {
        pv_results *one = NULL;
        query.vector = t_queries[i];
        test_assert_ok(pv_search(t->db, txn, "docs", &query, &one, &t->err), &t->err);
        t_same(one, many[i]);
        pv_results_free(one);
        pv_results_free(many[i]);
    }
}

static void test_sieve__many_queries_give_what_each_alone_gives(void **state) {
    (void)state;
    static const uint32_t metrics[] = {PV_METRIC_L2, PV_METRIC_COSINE, PV_METRIC_DOT};
    static const uint32_t ks[] = {1, 10, 700, T_K_MAX};
    for (size_t c = 0; c < PV_COUNTOF(metrics) * T_KINDS; c++) {
        const int kind = (int)(c % T_KINDS);
        test_rng rng;
        t_api t;
        pv_open_opts o = PV_OPEN_OPTS_INIT;
        o.sync = PV_SYNC_ASYNC;
        o.cache_bytes = c % 2 ? 300u << 10 : 0;
        test_rng_init(&rng, test_seed() + c);
        t_api_open(&t, &o);
        t_fill(&t, &rng, kind, metrics[c / T_KINDS]);
        for (size_t i = 0; i < PV_COUNTOF(ks); i++) {
            pv_query q = PV_QUERY_INIT;
            q.k = ks[i];
            t_agree(&t, NULL, q, i == 2 ? 9 : T_QUERIES - i);
        }
        pv_query q = PV_QUERY_INIT;
        q.k = 5;
        q.filter = "{\"n\": {\"$in\": [3, 77, 150]}}";
        t_agree(&t, NULL, q, T_QUERIES);
        q.filter = NULL;
        q.flags = PV_QUERY_WITHIN;
        q.max_distance = metrics[c / T_KINDS] == PV_METRIC_L2 ? 7.5f : 0.4f;
        t_agree(&t, NULL, q, T_QUERIES);
        t_api_done(&t);
    }
}

/* A transaction sees its own changes; what it changed may be spilled meanwhile. */
static void test_sieve__within_a_write_transaction(void **state) {
    (void)state;
    test_rng rng;
    t_api t;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv_txn *txn = NULL;
    o.sync = PV_SYNC_ASYNC;
    o.cache_bytes = 300u << 10;
    test_rng_init(&rng, test_seed());
    t_api_open(&t, &o);
    t_fill(&t, &rng, T_NORMAL, PV_METRIC_L2);
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &txn, &t.err), &t.err);
    for (uint64_t i = 0; i < 300; i++) {
        t_put(&t, txn, "docs",
              t_record_u64(i * 31 % T_ROWS, t_queries[i % T_QUERIES], T_DIMS, "{\"n\": 3}"));
    }
    pv_query q = PV_QUERY_INIT;
    q.k = 20;
    t_agree(&t, txn, q, T_QUERIES);
    q.filter = "{\"n\": 3}";
    t_agree(&t, txn, q, T_QUERIES);
    test_assert_ok(pv_txn_commit(txn, NULL, &t.err), &t.err);
    t_api_done(&t);
}

/* Wherever the interrupt callback ends it, and whichever allocation fails: the code, or the same
 * answers, and nothing left behind. */
static void test_sieve__interrupts_and_failed_allocations(void **state) {
    (void)state;
    test_rng rng;
    t_api t;
    test_stop stop = {0, 0};
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    o.threads = 1; /* nobody else asks for memory meanwhile */
    pv_results *want[T_QUERIES], *many[T_QUERIES];
    pv_query q = PV_QUERY_INIT;
    pv_query_vectors v = PV_QUERY_VECTORS_INIT;
    uint64_t answered = 0, refused = 0;
    o.sync = PV_SYNC_ASYNC;
    o.interrupt = test_interrupt;
    o.interrupt_ctx = &stop;
    test_rng_init(&rng, test_seed());
    t_api_open(&t, &o);
    t_fill(&t, &rng, T_NORMAL, PV_METRIC_COSINE);
    q.vector = t_queries;
    q.dims = T_DIMS;
    q.k = 10;
    v.count = T_QUERIES;
    test_assert_ok(pv_search_many(t.db, NULL, "docs", &q, &v, want, &t.err), &t.err);
    for (bool reached = true; reached;) {
        stop.calls = 0;
        stop.at++;
        const int rc = pv_search_many(t.db, NULL, "docs", &q, &v, many, &t.err);
        reached = stop.calls >= stop.at;
        if (reached) {
            test_assert_rc(rc, PV_ERR_CANCELLED, &t.err);
            continue;
        }
        test_assert_ok(rc, &t.err);
        for (size_t i = 0; i < T_QUERIES; i++) {
            t_same(want[i], many[i]);
            pv_results_free(many[i]);
        }
    }
    assert_true(stop.at > 5);
    stop.at = 0;
    pv__mem *mem = &t.db->env->mem;
    for (uint64_t n = 1, reached = 1; reached; n += n < 40 ? 1 : 17) {
        const uint64_t from = atomic_load(&mem->calls);
        const size_t used = atomic_load(&mem->bytes_used);
        atomic_store(&mem->fail_at, from + n);
        const int rc = pv_search_many(t.db, NULL, "docs", &q, &v, many, &t.err);
        atomic_store(&mem->fail_at, 0);
        reached = atomic_load(&mem->calls) >= from + n;
        if (rc) {
            test_assert_rc(rc, PV_ERR_NOMEM, &t.err);
            assert_int_equal(atomic_load(&mem->bytes_used), used);
            refused++;
            continue;
        }
        answered += reached;
        for (size_t i = 0; i < T_QUERIES; i++) {
            t_same(want[i], many[i]);
            pv_results_free(many[i]);
        }
    }
    assert_true(refused > 10);
    assert_true(answered >= 1); /* without a sieve it goes too */
    for (size_t i = 0; i < T_QUERIES; i++) {
        pv_results_free(want[i]);
    }
    t_api_done(&t);
}

/* Of long vectors few are screened at once, so that at first many pass: that is no reason to close.
 * When everything passes for good, it closes. */
static void test_sieve__closes_only_when_it_lets_too_much_pass(void **state) {
    enum { DIMS = 768, ROWS = 1000, QUERIES = 600, K = 10 };
    static float rows[ROWS][DIMS], queries[QUERIES][DIMS];
    static pv__kernel_query prepared[QUERIES];
    static pv__nearest nearest[QUERIES];
    pv__ties ties = {.mem = NULL};
    static pv__hit hits[QUERIES][K];
    static pv__sieve v;
    (void)state;
    pv_error err = PV_ERROR_INIT;
    pv_db db;
    pv__env env;
    memset(&db, 0, sizeof db);
    memset(&env, 0, sizeof env);
    test_mem_init(&env.mem);
    db.env = &env;
    ties.mem = &env.mem;
    for (int kind = T_NORMAL; kind <= T_FAR; kind += T_FAR - T_NORMAL) {
        test_rng rng;
        test_rng_init(&rng, test_seed());
        for (size_t i = 0; i < ROWS + QUERIES; i++) {
            float *to = i < ROWS ? rows[i] : queries[i - ROWS];
            for (size_t d = 0; d < DIMS; d++) {
                const float g = test_rng_gauss(&rng);
                to[d] = kind == T_FAR ? 3000.0f + g * 0.001f : g;
            }
        }
        for (size_t q = 0; q < QUERIES; q++) {
            assert_true(pv__kernel_query_init(&prepared[q], PV_METRIC_L2, queries[q], DIMS));
            pv__nearest_init(&nearest[q], &env.mem, hits[q], K, &ties);
        }
        const pv__scan scan = {.kernel = pv__kernel_table(pv__sys_cpu()),
                               .queries = prepared,
                               .nearest = nearest,
                               .query_count = QUERIES,
                               .max_distance = INFINITY};
        pv__sieve_init(&v, &db, &scan, NULL);
        if (pv__screen_can(scan.kernel)) {
            assert_true(v.open);
            const uint8_t *row[PV__SCREEN_ROWS_MAX];
            uint32_t slots[PV__SCREEN_ROWS_MAX], count = 0;
            for (uint32_t r = 0; r < ROWS && v.open; r++) { /* closed, it is not asked again */
                row[count] = (const uint8_t *)rows[r];
                slots[count++] = r;
                if (count == v.cap) {
                    test_assert_ok(pv__sieve_run(&v, row, slots, count, &err), &err);
                    count = 0;
                }
            }
            assert_int_equal(v.open, kind == T_NORMAL);
        }
        pv__sieve_done(&v);
        for (size_t q = 0; q < QUERIES; q++) {
            pv__nearest_done(&nearest[q]);
        }
        pv__ties_done(&ties);
        ties = (pv__ties){.mem = &env.mem};
    }
    test_mem_done(&env.mem);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sieve__many_queries_give_what_each_alone_gives),
        cmocka_unit_test(test_sieve__closes_only_when_it_lets_too_much_pass),
        cmocka_unit_test(test_sieve__within_a_write_transaction),
        cmocka_unit_test(test_sieve__interrupts_and_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
