/* SPDX-License-Identifier: Apache-2.0 */
/* test_api_memory.c - every public call with its 1st, 2nd, ... request for memory failing: it says
 * PV_ERR_NOMEM, loses nothing, leaks nothing, and works when asked again. */
#include "unit/test_api_kit.h"

/* A database that lives while calls fail, and what it must hold before and after each. */
typedef struct t_world {
    t_api t;
    t_heap heap;
    pv_txn *txn;
    uint64_t number; /* makes ids that are new */
} t_world;

static void t_world_open(t_world *w) {
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    char id[16], text[128];
    memset(w, 0, sizeof(*w));
    t_heap_init(&w->heap);
    o.allocator = &w->heap.allocator;
    o.sync = PV_SYNC_ASYNC;
    o.threads = 1;
    t_api_open(&w->t, &o);
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT; /* with a graph from the first record on */
    c.dims = 2;
    c.metric = PV_METRIC_L2;
    c.index = PV_INDEX_HNSW;
    test_assert_ok(pv_collection_create(w->t.db, NULL, "docs", &c, &w->t.err), &w->t.err);
    t_api_create(&w->t, "spare", 2, PV_METRIC_L2, PV_KEY_U64);
    for (int i = 0; i < 40; i++) {
        snprintf(id, sizeof(id), "k%02d", i);
        snprintf(text, sizeof(text), "{\"n\": %d, \"s\": \"%*d\"}", i, 5 + i % 64, i);
        t_put2(&w->t, NULL, "docs", id, (float)i, 1, text);
    }
}

static void t_world_done(t_world *w) {
    t_api_shut(&w->t);
    assert_int_equal(w->heap.bytes, 0);
    t_api_done(&w->t);
}

typedef int (*t_call)(t_world *w);

/* Each failure must be PV_ERR_NOMEM and change nothing that is stored. */
static void t_loop_calls(t_world *w, t_call call, const char *name) {
    for (unsigned forever = 0; forever < 2; forever++) {
        for (uint64_t n = 1;; n++) {
            const t_mark before = t_mark_of(&w->t);
            w->heap.calls = 0;
            w->heap.fail_on = forever;
            w->heap.fail_at = n;
            const int rc = call(w);
            const bool reached = w->heap.calls >= n;
            w->heap.fail_at = 0;
            if (rc == 0 && !reached) {
                break;
            }
            if (rc != 0) {
                if (rc != PV_ERR_NOMEM) {
                    fprintf(stderr, "%s, request %llu: %s\n", name, (unsigned long long)n,
                            w->t.err.message);
                }
                assert_int_equal(rc, PV_ERR_NOMEM);
                t_expect_unchanged(&w->t, before);
            }
            assert_true(n < 20000);
        }
    }
    t_expect_sound(&w->t);
}

static const float t_v[2] = {3, 4};

static int t_call_insert(t_world *w) {
    pv_results *ids = NULL;
    pv_write_opts o = PV_WRITE_OPTS_INIT;
    const pv_record r[3] = {t_record(NULL, t_v, 2, "{\"a\":[1,2,{\"b\":\"text\"}]}"),
                            t_record(NULL, t_v, 2, NULL), t_record(NULL, t_v, 2, "{}")};
    o.out_ids = &ids;
    const int rc = pv_insert(w->t.db, NULL, "docs", r, 3, &o, &w->t.err);
    assert_true((rc == 0) == (ids != NULL));
    pv_results_free(ids);
    return rc;
}

static int t_call_upsert(t_world *w) {
    const pv_record r[2] = {t_record("k03", t_v, 2, "{\"n\":3}"),
                            t_record("k04", t_v, 2, "{\"n\":4}")};
    return pv_upsert(w->t.db, NULL, "docs", r, 2, NULL, &w->t.err);
}

static int t_call_merge(t_world *w) {
    pv_write_opts o = PV_WRITE_OPTS_INIT;
    const pv_record r[2] = {t_record("k05", NULL, 0, "{\"x\":{\"y\":1}}"),
                            t_record("k05", t_v, 2, "{\"x\":{\"z\":2}}")};
    o.flags = PV_WRITE_MERGE;
    return pv_update(w->t.db, NULL, "docs", r, 2, &o, &w->t.err);
}

static int t_call_delete(t_world *w) {
    const int rc = pv_delete(w->t.db, NULL, "docs", "k07", &w->t.err);
    if (rc == 0) {
        const pv_record r = t_record("k07", t_v, 2, NULL);
        w->heap.fail_at = 0;
        test_assert_ok(pv_insert(w->t.db, NULL, "docs", &r, 1, NULL, &w->t.err), &w->t.err);
    }
    return rc;
}

static int t_call_delete_where(t_world *w) {
    uint64_t n = 0;
    const int rc =
        pv_delete_where(w->t.db, NULL, "docs", "{\"n\": {\"$in\": [8, 9]}}", &n, &w->t.err);
    return rc;
}

static int t_call_create(t_world *w) {
    char name[32];
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    snprintf(name, sizeof(name), "c%llu", (unsigned long long)w->number++);
    c.dims = 4;
    return pv_collection_ensure(w->t.db, NULL, name, &c, &w->t.err);
}

static int t_call_drop(t_world *w) {
    const int rc = pv_collection_drop(w->t.db, NULL, "spare", &w->t.err);
    if (rc == 0) {
        w->heap.fail_at = 0;
        t_api_create(&w->t, "spare", 2, PV_METRIC_L2, PV_KEY_U64);
    }
    return rc;
}

static int t_call_reads(t_world *w) {
    pv_results *r = NULL;
    pv_names *names = NULL;
    uint64_t n = 0;
    pv_collection_info info = PV_COLLECTION_INFO_INIT;
    int rc = pv_get(w->t.db, NULL, "docs", "k11", &r, &w->t.err);
    pv_results_free(r);
    if (rc == 0) {
        rc = pv_count(w->t.db, NULL, "docs", "{\"n\": {\"$gt\": 3}}", &n, &w->t.err);
    }
    if (rc == 0) {
        rc = pv_collection_list(w->t.db, NULL, &names, &w->t.err);
        pv_names_free(names);
    }
    if (rc == 0) {
        rc = pv_collection_info_get(w->t.db, NULL, "docs", &info, &w->t.err);
    }
    return rc;
}

static int t_call_search(t_world *w) {
    pv_query q = t_query(t_v, 2, 5);
    pv_results *r = (pv_results *)w;
    q.include = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    q.filter = "{\"$or\": [{\"n\": {\"$lt\": 30}}, {\"s\": \"x\"}]}";
    const int rc = pv_search(w->t.db, NULL, "docs", &q, &r, &w->t.err);
    assert_true((rc == 0) == (r != NULL));
    pv_results_free(r);
    return rc;
}

static int t_call_search_graph(t_world *w) {
    pv_results *r = NULL;
    pv_query q = t_query(t_v, 2, 5);
    q.ef = 16;
    const int rc = pv_search(w->t.db, NULL, "docs", &q, &r, &w->t.err);
    if (rc == 0) {
        assert_int_equal(pv_results_count(r), 5);
    }
    pv_results_free(r);
    return rc;
}

static int t_call_search_many(t_world *w) {
    const float q[4] = {1, 2, 3, 4};
    const pv_query query = t_query(q, 2, 5);
    pv_query_vectors v = PV_QUERY_VECTORS_INIT;
    pv_results *r[2];
    v.count = 2;
    const int rc = pv_search_many(w->t.db, NULL, "docs", &query, &v, r, &w->t.err);
    assert_true((rc == 0) == (r[0] != NULL) && (rc == 0) == (r[1] != NULL));
    pv_results_free(r[0]);
    pv_results_free(r[1]);
    return rc;
}

static int t_call_txn(t_world *w) {
    pv_txn *txn = NULL;
    int rc = pv_txn_begin(w->t.db, PV_TXN_WRITE, &txn, &w->t.err);
    if (rc == 0) {
        const pv_record r = t_record("k01", t_v, 2, "{\"n\":1}");
        rc = pv_upsert(w->t.db, txn, "docs", &r, 1, NULL, &w->t.err);
        if (rc == 0) {
            rc = pv_txn_commit(txn, NULL, &w->t.err);
        } else {
            pv_txn_rollback(txn);
        }
    }
    return rc;
}

/* A caller who does not look at the code of a write and commits: either the write was refused
 * before it began, or the transaction is doomed and the commit says so. Never half of it. */
static int t_call_careless(t_world *w) {
    const pv_record r[2] = {t_record("k01", t_v, 2, "{\"n\":1}"),
                            t_record("careless", t_v, 2, "{\"n\":1}")};
    pv_txn *txn = NULL;
    PV_TRY(pv_txn_begin(w->t.db, PV_TXN_WRITE, &txn, &w->t.err));
    const t_mark before = t_mark_of(&w->t);
    const int wrote = pv_upsert(w->t.db, txn, "docs", r, 2, NULL, &w->t.err);
    const int rc = pv_txn_commit(txn, NULL, &w->t.err);
    if (wrote != 0 && rc == 0) {
        assert_int_equal(t_mark_of(&w->t).checksum, before.checksum);
    }
    if (wrote == 0 && rc == 0) {
        w->heap.fail_at = 0;
        test_assert_ok(pv_delete(w->t.db, NULL, "docs", "careless", &w->t.err), &w->t.err);
    }
    return wrote ? wrote : rc;
}

static int t_call_check(t_world *w) {
    uint64_t problems = 0;
    const int rc = pv_check(w->t.db, PV_CHECK_DEEP, t_finding, NULL, &problems, &w->t.err);
    assert_int_equal(problems, 0);
    return rc;
}

/* A step that failed is taken again: no record is lost. */
static int t_call_walk(t_world *w) {
    pv_iter_opts o = PV_ITER_OPTS_INIT;
    pv_iter *it = NULL;
    size_t seen = 0;
    int failed = 0;
    o.include = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    o.filter = "{\"n\": {\"$gte\": 0}}";
    int rc = pv_iter_open(w->t.db, NULL, "docs", &o, &it, &w->t.err);
    if (rc != 0) {
        assert_null(it);
        return rc;
    }
    while ((rc = pv_iter_next(it, &w->t.err)) != 0) {
        if (rc < 0) {
            assert_int_equal(rc, PV_ERR_NOMEM);
            w->heap.fail_at = 0;
            failed = rc;
        } else {
            assert_non_null(pv_iter_metadata(it, NULL));
            seen++;
        }
    }
    pv_iter_close(it);
    w->heap.fail_at = 0;
    assert_int_equal(seen, t_count(&w->t, NULL, "docs", "{\"n\": {\"$gte\": 0}}"));
    return failed;
}

static int t_call_checkpoint(t_world *w) { return pv_checkpoint(w->t.db, &w->t.err); }

#define T_LOOP(call)                                                                               \
    static void test_api_memory__##call(void **state) {                                            \
        t_world w;                                                                                 \
        (void)state;                                                                               \
        t_world_open(&w);                                                                          \
        t_loop_calls(&w, t_call_##call, #call);                                                    \
        t_world_done(&w);                                                                          \
    }
T_LOOP(insert)
T_LOOP(upsert)
T_LOOP(merge)
T_LOOP(delete)
T_LOOP(delete_where)
T_LOOP(create)
T_LOOP(drop)
T_LOOP(reads)
T_LOOP(search)
T_LOOP(search_graph)
T_LOOP(search_many)
T_LOOP(txn)
T_LOOP(careless)
T_LOOP(check)
T_LOOP(walk)
T_LOOP(checkpoint)

/* Opening itself: nothing is left behind when it fails, and the file is what it was. */
static void test_api_memory__open(void **state) {
    t_world w;
    (void)state;
    t_world_open(&w);
    t_api_shut(&w.t);
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    o.allocator = &w.heap.allocator;
    o.threads = 1;
    for (uint64_t n = 1;; n++) {
        w.heap.calls = 0;
        w.heap.fail_at = n;
        const int rc = pv_open(w.t.path, &o, &w.t.db, &w.t.err);
        const bool reached = w.heap.calls >= n;
        w.heap.fail_at = 0;
        if (rc == 0) {
            assert_int_equal(t_count(&w.t, NULL, "docs", NULL), 40);
            t_api_shut(&w.t);
        } else {
            assert_int_equal(rc, PV_ERR_NOMEM);
            assert_null(w.t.db);
        }
        assert_int_equal(w.heap.bytes, 0);
        if (rc == 0 && !reached) {
            break;
        }
    }
    t_api_reopen(&w.t, &o);
    t_expect_sound(&w.t);
    t_world_done(&w);
}

static void test_api_memory__limit_is_a_code(void **state) {
    (void)state;
    t_api t;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    static float v[1000][2];
    pv_batch b = PV_BATCH_INIT;
    char *text = malloc(900 * 1024);
    assert_non_null(text);
    o.memory_limit_bytes = 4u << 20;
    o.cache_bytes = 8u << 20;
    pv_error err = PV_ERROR_INIT;
    pv_db *db = NULL;
    test_assert_rc(pv_open(":memory:", &o, &db, &err), PV_ERR_MISUSE, &err);
    o.memory_limit_bytes = 16u << 20;
    o.cache_bytes = 0;
    t_api_open(&t, &o);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    /* Many large texts in one call do not fit, and nothing of them is kept. */
    const char *texts[1000];
    memset(text, 'x', 900 * 1024);
    memcpy(text, "{\"a\":\"", 6);
    memcpy(text + 900 * 1024 - 3, "\"}", 3);
    for (size_t i = 0; i < 1000; i++) {
        texts[i] = text;
    }
    b.count = 1000;
    b.vectors = v;
    b.dims = 2;
    b.metadata = texts;
    const t_mark before = t_mark_of(&t);
    test_assert_rc(pv_insert_batch(t.db, NULL, "docs", &b, NULL, &t.err), PV_ERR_NOMEM, &t.err);
    t_expect_unchanged(&t, before);
    b.metadata = NULL;
    test_assert_ok(pv_insert_batch(t.db, NULL, "docs", &b, NULL, &t.err), &t.err);
    assert_int_equal(t_count(&t, NULL, "docs", NULL), 1000);
    free(text);
    t_api_done(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_memory__insert),
        cmocka_unit_test(test_api_memory__upsert),
        cmocka_unit_test(test_api_memory__merge),
        cmocka_unit_test(test_api_memory__delete),
        cmocka_unit_test(test_api_memory__delete_where),
        cmocka_unit_test(test_api_memory__create),
        cmocka_unit_test(test_api_memory__drop),
        cmocka_unit_test(test_api_memory__reads),
        cmocka_unit_test(test_api_memory__search),
        cmocka_unit_test(test_api_memory__search_graph),
        cmocka_unit_test(test_api_memory__search_many),
        cmocka_unit_test(test_api_memory__txn),
        cmocka_unit_test(test_api_memory__careless),
        cmocka_unit_test(test_api_memory__check),
        cmocka_unit_test(test_api_memory__walk),
        cmocka_unit_test(test_api_memory__checkpoint),
        cmocka_unit_test(test_api_memory__open),
        cmocka_unit_test(test_api_memory__limit_is_a_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
