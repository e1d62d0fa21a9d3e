/* SPDX-License-Identifier: Apache-2.0 */
/* test_ann_cramped.c - searches with less memory than the vectors take: rows and fine codes are
 * read without their pages, and the answers are those of a search that has everything. */
#include <pthread.h>

#include "engine/db.h"
#include "store/internal.h"
#include "test_api_kit.h"

enum { T_DIMS = 128, T_ROWS = 2000, T_QUERIES = 24, T_K = 10 };
static float t_vectors[T_ROWS][T_DIMS];

typedef struct t_answer {
    uint64_t ids[T_K];
    float distances[T_K];
    float vectors[T_K][T_DIMS];
} t_answer;

static void t_vectors_make(void) {
    test_rng rng;
    test_rng_init(&rng, 11);
    for (unsigned i = 0; i < T_ROWS; i++) {
        for (unsigned d = 0; d < T_DIMS; d++) {
            const float centre = (float)((i % 16 * 37 + d * 11) % 23) / 8.0f;
            t_vectors[i][d] = centre + (float)test_rng_below(&rng, 2001) / 1000.0f - 1.0f;
        }
    }
}

static void t_load(t_api *t, uint32_t code) {
    static uint64_t ids[T_ROWS];
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    pv_batch b = PV_BATCH_INIT;
    c.dims = T_DIMS;
    c.metric = PV_METRIC_L2;
    c.key = PV_KEY_U64;
    c.index = PV_INDEX_HNSW;
    c.code = code;
    c.compression = code == PV_CODE_PQ ? 16 : 0;
    c.ef_construction = 48;
    test_assert_ok(pv_collection_create(t->db, NULL, "c", &c, &t->err), &t->err);
    for (unsigned i = 0; i < T_ROWS; i++) {
        ids[i] = i;
    }
    b.count = T_ROWS;
    b.vectors = t_vectors;
    b.dims = T_DIMS;
    b.ids_u64 = ids;
    test_assert_ok(pv_insert_batch(t->db, NULL, "c", &b, NULL, &t->err), &t->err);
}

static void t_ask(t_api *t, unsigned i, t_answer *out) {
    pv_query q = PV_QUERY_INIT;
    pv_results *r = NULL;
    q.vector = t_vectors[i * 61 % T_ROWS];
    q.dims = T_DIMS;
    q.k = T_K;
    q.ef = 60;
    q.include = PV_INCLUDE_VECTOR;
    test_assert_ok(pv_search(t->db, NULL, "c", &q, &r, &t->err), &t->err);
    assert_int_equal(pv_results_count(r), T_K);
    assert_string_equal(pv_results_plan(r), "graph");
    for (unsigned k = 0; k < T_K; k++) {
        out->ids[k] = pv_results_id_u64(r, k);
        out->distances[k] = pv_results_distance(r, k);
        memcpy(out->vectors[k], pv_results_vector(r, k), sizeof out->vectors[k]);
        assert_memory_equal(out->vectors[k], t_vectors[out->ids[k]], sizeof out->vectors[k]);
    }
    pv_results_free(r);
}

static t_answer t_want[T_QUERIES];

/* All queries, twice; also on several threads at once. */
static void *t_ask_all(void *api) {
    t_api t = *(t_api *)api;
    t_answer got;
    for (unsigned i = 0; i < 2 * T_QUERIES; i++) {
        t_ask(&t, i % T_QUERIES, &got);
        assert_memory_equal(&got, &t_want[i % T_QUERIES], sizeof got);
    }
    return NULL;
}

static void test_cramped__answers_are_those_of_a_search_that_has_everything(void **state) {
    (void)state;
    static const uint32_t codes[] = {PV_CODE_SQ8, PV_CODE_Q4, PV_CODE_B1, PV_CODE_PQ};
    t_vectors_make();
    for (size_t c = 0; c < PV_COUNTOF(codes); c++) {
        t_api t;
        pv_open_opts o = PV_OPEN_OPTS_INIT;
        pthread_t threads[3];
        t_api_open(&t, NULL);
        t_load(&t, codes[c]);
        t_api_shut(&t);
        t_api_reopen(&t, NULL);
        for (unsigned i = 0; i < T_QUERIES; i++) {
            t_ask(&t, i, &t_want[i]);
        }
        t_api_shut(&t);
        o.cache_bytes = 500u << 10; /* the vectors alone take 1 MB */
        t_api_reopen(&t, &o);
        t_ask_all(&t);
        const pv__store *s = t.db->store;
        assert_true(atomic_load(&s->pieces) > (uint64_t)T_QUERIES * T_K / 2);
        for (size_t i = 0; i < PV_COUNTOF(threads); i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, t_ask_all, &t), 0);
        }
        for (size_t i = 0; i < PV_COUNTOF(threads); i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
        }
        t_api_done(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cramped__answers_are_those_of_a_search_that_has_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
