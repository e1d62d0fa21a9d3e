/* SPDX-License-Identifier: Apache-2.0 */
/* test_api_into.c - rows in arrays of the caller: the same as pv_search gives; and how often a
 * search asks for memory, counted by the injected allocator and at malloc itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include "test_api_kit.h"

#define T_DIMS 32u
#define T_ROWS 1200u
#define T_K 10u
#define T_WARM 100u
#define T_CALLS 300u

/* ---- malloc ---- */

static atomic_ulong t_mallocs; /* relaxed: one thread allocates */
T_MAYBE static void t_malloc_seen(void) {
    atomic_fetch_add_explicit(&t_mallocs, 1, memory_order_relaxed);
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define T_SANITIZED_BY_CLANG 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define T_COUNTS_MALLOC 1
/* As in sanitizer/allocator_interface.h, which gcc does not bring. */
extern int __sanitizer_install_malloc_and_free_hooks(void (*malloc_hook)(const volatile void *,
                                                                         size_t),
                                                     void (*free_hook)(const volatile void *));
static void t_malloc_hook(const volatile void *p, size_t size) {
    (void)p;
    (void)size;
    t_malloc_seen();
}
static void t_free_hook(const volatile void *p) { (void)p; }
static void t_malloc_watch(void) {
    (void)__sanitizer_install_malloc_and_free_hooks(t_malloc_hook, t_free_hook);
}
#elif defined(__GLIBC__) && !defined(__SANITIZE_THREAD__) && !defined(T_SANITIZED_BY_CLANG)
#define T_COUNTS_MALLOC 1
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t align, size_t size);
void *malloc(size_t size) {
    t_malloc_seen();
    return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    t_malloc_seen();
    return __libc_calloc(count, size);
}
void *realloc(void *p, size_t size) {
    t_malloc_seen();
    return __libc_realloc(p, size);
}
void *aligned_alloc(size_t align, size_t size) {
    t_malloc_seen();
    return __libc_memalign(align, size);
}
static void t_malloc_watch(void) {}
#else
#define T_COUNTS_MALLOC 0
static void t_malloc_watch(void) {}
#endif

/* ---- the injected allocator ---- */

static size_t t_asked;
static void *t_realloc(void *ctx, void *p, size_t old_size, size_t new_size) {
    (void)ctx;
    (void)old_size;
    if (new_size == 0) {
        free(p);
        return NULL;
    }
    t_asked++;
    return realloc(p, new_size);
}

/* ---- rows ---- */

static void t_vector(uint64_t seed, float v[T_DIMS]) {
    uint64_t x = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    for (unsigned i = 0; i < T_DIMS; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        v[i] = (float)(x >> 40) / 16777216.0f - 0.5f;
    }
}

static void t_fill(t_api *t, const char *name, uint32_t key, uint32_t index, uint64_t rows) {
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.dims = T_DIMS;
    c.metric = PV_METRIC_COSINE;
    c.key = key;
    c.index = index;
    test_assert_ok(pv_collection_create(t->db, NULL, name, &c, &t->err), &t->err);
    pv_txn *txn = NULL;
    test_assert_ok(pv_txn_begin(t->db, PV_TXN_WRITE, &txn, &t->err), &t->err);
    for (uint64_t i = 0; i < rows; i++) {
        float v[T_DIMS];
        char id[32];
        t_vector(i, v);
        snprintf(id, sizeof id, "row-%llu%s", (unsigned long long)i, i % 3 ? "" : "-longer");
        t_put(t, txn, name,
              key == PV_KEY_U64 ? t_record_u64(i * 7, v, T_DIMS, NULL)
                                : t_record(id, v, T_DIMS, NULL));
    }
    test_assert_ok(pv_txn_commit(txn, NULL, &t->err), &t->err);
}

typedef struct t_arrays {
    pv_rows rows;
    uint64_t ids[T_K], offsets[T_K + 1];
    char text[T_K * 24];
    float distances[T_K], scores[T_K];
} t_arrays;

static void t_arrays_init(t_arrays *a, uint32_t key) {
    memset(a, 0xEE, sizeof *a);
    a->rows = (pv_rows)PV_ROWS_INIT;
    a->rows.room = T_K;
    a->rows.distances = a->distances;
    a->rows.scores = a->scores;
    if (key == PV_KEY_U64) {
        a->rows.ids_u64 = a->ids;
    } else {
        a->rows.id_offsets = a->offsets;
        a->rows.id_text = a->text;
        a->rows.id_room = sizeof a->text;
    }
}

static void t_compare(t_api *t, const char *name, uint32_t key, uint32_t flags, uint64_t seed) {
    float v[T_DIMS];
    t_arrays a;
    pv_results *r = NULL;
    t_vector(seed, v);
    pv_query q = t_query(v, T_DIMS, T_K);
    q.flags = flags;
    t_arrays_init(&a, key);
    test_assert_ok(pv_search(t->db, NULL, name, &q, &r, &t->err), &t->err);
    test_assert_ok(pv_search_into(t->db, NULL, name, &q, &a.rows, &t->err), &t->err);
    assert_int_equal(a.rows.count, pv_results_count(r));
    for (size_t i = 0; i < a.rows.count; i++) {
        assert_true(a.distances[i] == pv_results_distance(r, i));
        assert_true(a.scores[i] == pv_results_score(r, i));
        if (key == PV_KEY_U64) {
            assert_true(a.ids[i] == pv_results_id_u64(r, i));
        } else {
            assert_string_equal(a.text + a.offsets[i], pv_results_id(r, i));
            assert_int_equal(a.offsets[i + 1] - a.offsets[i], strlen(pv_results_id(r, i)) + 1);
        }
    }
    pv_results_free(r);
}

static void test_into__rows_are_those_of_a_search(void **state) {
    (void)state;
    static const uint64_t sizes[] = {0, 4, T_ROWS};
    for (size_t s = 0; s < 3; s++) {
        t_api t;
        t_api_open(&t, NULL);
        t_fill(&t, "texts", PV_KEY_STRING, PV_INDEX_HNSW, sizes[s]);
        t_fill(&t, "numbers", PV_KEY_U64, PV_INDEX_FLAT, sizes[s]);
        for (uint64_t seed = 0; seed < 50; seed++) {
            t_compare(&t, "texts", PV_KEY_STRING, seed % 2 ? PV_QUERY_EXACT : 0, seed * 1001);
            t_compare(&t, "numbers", PV_KEY_U64, 0, seed * 1001);
        }
        t_api_done(&t);
    }
}

static void test_into__what_does_not_fit_is_refused(void **state) {
    (void)state;
    t_api t;
    t_arrays a;
    float v[T_DIMS];
    t_vector(5, v);
    pv_query q = t_query(v, T_DIMS, T_K);
    t_api_open(&t, NULL);
    t_fill(&t, "texts", PV_KEY_STRING, PV_INDEX_AUTO, 40);
    t_fill(&t, "numbers", PV_KEY_U64, PV_INDEX_AUTO, 40);

    t_arrays_init(&a, PV_KEY_STRING);
    a.rows.room = T_K - 1;
    assert_int_equal(pv_search_into(t.db, NULL, "texts", &q, &a.rows, &t.err), PV_ERR_LIMIT);
    assert_int_equal(a.rows.count, 0);
    t_arrays_init(&a, PV_KEY_STRING);
    a.rows.id_room = 40;
    assert_int_equal(pv_search_into(t.db, NULL, "texts", &q, &a.rows, &t.err), PV_ERR_LIMIT);
    assert_int_equal((unsigned char)a.text[0], 0xEE);

    t_arrays_init(&a, PV_KEY_STRING);
    assert_int_equal(pv_search_into(t.db, NULL, "numbers", &q, &a.rows, &t.err), PV_ERR_MISUSE);
    t_arrays_init(&a, PV_KEY_U64);
    assert_int_equal(pv_search_into(t.db, NULL, "texts", &q, &a.rows, &t.err), PV_ERR_MISUSE);
    t_arrays_init(&a, PV_KEY_STRING);
    a.rows.id_offsets = NULL;
    assert_int_equal(pv_search_into(t.db, NULL, "texts", &q, &a.rows, &t.err), PV_ERR_MISUSE);
    t_arrays_init(&a, PV_KEY_STRING);
    q.include = PV_INCLUDE_METADATA;
    assert_int_equal(pv_search_into(t.db, NULL, "texts", &q, &a.rows, &t.err), PV_ERR_MISUSE);
    assert_int_equal(pv_search_into(t.db, NULL, "texts", &q, NULL, &t.err), PV_ERR_MISUSE);
    q.include = 0;
    a.rows.struct_size = 0;
    assert_int_equal(pv_search_into(t.db, NULL, "texts", &q, &a.rows, &t.err), PV_ERR_MISUSE);

    memset(&a, 0, sizeof a); /* nothing but the number of rows */
    a.rows = (pv_rows)PV_ROWS_INIT;
    a.rows.room = T_K;
    test_assert_ok(pv_search_into(t.db, NULL, "texts", &q, &a.rows, &t.err), &t.err);
    assert_int_equal(a.rows.count, T_K);
    t_api_done(&t);
}

/* ---- what was decoded before ---- */

static size_t t_found(t_api *t, pv_txn *txn, const float *v, uint32_t dims, const char *first) {
    pv_results *r = NULL;
    pv_query q = t_query(v, dims, T_K);
    test_assert_ok(pv_search(t->db, txn, "c", &q, &r, &t->err), &t->err);
    const size_t count = pv_results_count(r);
    if (first) {
        assert_string_equal(pv_results_id(r, 0), first);
    }
    pv_results_free(r);
    return count;
}

/* E7: a search never sees a collection as another transaction, or an older call, saw it. */
static void test_into__a_collection_is_seen_as_it_is(void **state) {
    (void)state;
    t_api t;
    const float x[2] = {1, 0}, y[2] = {0, 1}, z[3] = {0, 0, 1};
    pv_txn *old = NULL, *txn = NULL;
    t_api_open(&t, NULL);
    t_api_create(&t, "c", 2, PV_METRIC_L2, PV_KEY_STRING);
    assert_int_equal(t_found(&t, NULL, x, 2, NULL), 0);
    t_put2(&t, NULL, "c", "x", 1, 0, NULL);
    assert_int_equal(t_found(&t, NULL, x, 2, "x"), 1);
    test_assert_ok(pv_txn_begin(t.db, 0, &old, &t.err), &t.err);
    assert_int_equal(t_found(&t, old, y, 2, "x"), 1);
    t_put2(&t, NULL, "c", "y", 0, 1, NULL);
    for (int i = 0; i < 3; i++) { /* in turn */
        assert_int_equal(t_found(&t, NULL, y, 2, "y"), 2);
        assert_int_equal(t_found(&t, old, y, 2, "x"), 1);
    }
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &txn, &t.err), &t.err);
    for (int i = 0; i < 3; i++) { /* its own changes, all under one stamp */
        const char id[2] = {(char)('a' + i), 0};
        t_put2(&t, txn, "c", id, 0, 2, NULL);
        assert_int_equal(t_found(&t, txn, y, 2, "y"), (size_t)i + 3);
        assert_int_equal(t_found(&t, NULL, y, 2, "y"), 2);
    }
    pv_txn_rollback(txn);
    assert_int_equal(t_found(&t, NULL, y, 2, "y"), 2);
    t_put2(&t, NULL, "c", "w", 0, 2, NULL); /* the stamp that was rolled back, again */
    assert_int_equal(t_found(&t, NULL, y, 2, "y"), 3);
    test_assert_ok(pv_collection_drop(t.db, NULL, "c", &t.err), &t.err);
    pv_results *r = NULL;
    pv_query q = t_query(y, 2, T_K);
    assert_int_equal(pv_search(t.db, NULL, "c", &q, &r, &t.err), PV_ERR_NOTFOUND);
    t_api_create(&t, "c", 3, PV_METRIC_L2, PV_KEY_STRING);
    assert_int_equal(t_found(&t, NULL, z, 3, NULL), 0);
    t_put(&t, NULL, "c", t_record("z", z, 3, NULL));
    assert_int_equal(t_found(&t, NULL, z, 3, "z"), 1);
    assert_int_equal(t_found(&t, old, x, 2, "x"), 1); /* still */
    pv_txn_rollback(old);
    t_api_done(&t);
}

/* ---- memory ---- */

static void t_search_into(t_api *t, uint64_t seed) {
    t_arrays a;
    float v[T_DIMS];
    t_vector(seed, v);
    const pv_query q = t_query(v, T_DIMS, T_K);
    t_arrays_init(&a, PV_KEY_STRING);
    assert_int_equal(pv_search_into(t->db, NULL, "texts", &q, &a.rows, &t->err), 0);
    assert_int_equal(a.rows.count, T_K);
}

static void t_search(t_api *t, uint64_t seed) {
    pv_results *r = NULL;
    float v[T_DIMS];
    t_vector(seed, v);
    const pv_query q = t_query(v, T_DIMS, T_K);
    assert_int_equal(pv_search(t->db, NULL, "texts", &q, &r, &t->err), 0);
    assert_int_equal(pv_results_count(r), T_K);
    pv_results_free(r);
}

typedef void (*t_call)(t_api *t, uint64_t seed);

static size_t t_asked_now(int injected) {
    return injected ? t_asked : (size_t)atomic_load_explicit(&t_mallocs, memory_order_relaxed);
}

/* Requests in T_CALLS calls after T_WARM of them; other vectors than those. */
static size_t t_requests(t_api *t, t_call call, int injected) {
    for (uint64_t i = 0; i < T_WARM; i++) {
        call(t, 100000 + i);
    }
    const size_t before = t_asked_now(injected);
    for (uint64_t i = 0; i < T_CALLS; i++) {
        call(t, 200000 + i);
    }
    return t_asked_now(injected) - before;
}

static void test_into__a_search_asks_for_no_memory(void **state) {
    (void)state;
    t_malloc_watch();
    for (int injected = 0; injected < 2; injected++) {
        static const uint32_t indexes[] = {PV_INDEX_HNSW, PV_INDEX_FLAT};
        for (size_t i = 0; i < 2 && (injected || T_COUNTS_MALLOC); i++) {
            t_api t;
            pv_open_opts o = PV_OPEN_OPTS_INIT;
            const pv_allocator own = {NULL, t_realloc};
            o.allocator = injected ? &own : NULL;
            o.threads = 1;
            t_api_open(&t, &o);
            t_fill(&t, "texts", PV_KEY_STRING, indexes[i], T_ROWS);
            const size_t before = t_asked_now(injected);
            t_search(&t, 1);
            assert_true(t_asked_now(injected) > before); /* it does count */
            assert_int_equal(t_requests(&t, t_search_into, injected), 0);
            assert_int_equal(t_requests(&t, t_search, injected), T_CALLS);
            t_api_done(&t);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_into__rows_are_those_of_a_search),
        cmocka_unit_test(test_into__what_does_not_fit_is_refused),
        cmocka_unit_test(test_into__a_collection_is_seen_as_it_is),
        cmocka_unit_test(test_into__a_search_asks_for_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
