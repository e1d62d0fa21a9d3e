/* SPDX-License-Identifier: Apache-2.0 */
/* test_engine_crew.c - an exact search shared by several threads gives, bit for bit, what one
 * gives: with ties, filters, ranges, caches smaller than the collection, in old snapshots while
 * others write; interrupts come on the thread of the call, and what goes wrong for one ends all. */
#include "engine/db.h"
#include "test_api_kit.h"

enum { T_DIMS = 100, T_ROWS = 12000, T_QUERIES = 33, T_THREADS = 5 };

#if defined(__SANITIZE_THREAD__)
enum { T_STRIDE = 6 }; /* of what is tried, so much less */
#else
enum { T_STRIDE = 1 };
#endif

static float t_vectors[T_ROWS][T_DIMS], t_queries[T_QUERIES][T_DIMS];

enum { T_NORMAL, T_TIES, T_KINDS };

static void t_make(test_rng *rng, int kind, float *v) {
    for (size_t d = 0; d < T_DIMS; d++) {
        const float g = test_rng_gauss(rng);
        v[d] = kind == T_TIES ? (float)((int)test_rng_below(rng, 2)) * (d < 5) : g;
    }
}

static void t_fill(t_api *t, int kind, uint32_t metric, uint64_t seed) {
    static uint64_t ids[T_ROWS], offsets[T_ROWS + 1];
    static char meta[T_ROWS * 16];
    pv_batch b = PV_BATCH_INIT;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    pv_ids gone = PV_IDS_INIT;
    test_rng rng;
    size_t at = 0;
    uint64_t n = 0;
    test_rng_init(&rng, seed);
    c.dims = T_DIMS;
    c.metric = metric;
    c.key = PV_KEY_U64;
    c.index = PV_INDEX_FLAT;
    test_assert_ok(pv_collection_create(t->db, NULL, "docs", &c, &t->err), &t->err);
    for (size_t i = 0; i < T_ROWS; i++) {
        t_make(&rng, kind, t_vectors[i]);
        ids[i] = (i * 7919) % T_ROWS; /* not in the order of slots */
        at += (size_t)snprintf(meta + at, 16, "{\"n\":%d}", (int)(i % 200));
        offsets[i + 1] = at;
    }
    for (size_t i = 0; i < T_QUERIES; i++) {
        t_make(&rng, kind, t_queries[i]);
    }
    b.count = T_ROWS;
    b.dims = T_DIMS;
    b.ids_u64 = ids;
    b.vectors = t_vectors;
    b.metadata_data = meta;
    b.metadata_offsets = offsets;
    test_assert_ok(pv_insert_batch(t->db, NULL, "docs", &b, NULL, &t->err), &t->err);
    gone.count = T_ROWS / 9;
    gone.ids_u64 = ids + 3000;
    test_assert_ok(pv_delete_many(t->db, NULL, "docs", &gone, &n, &t->err), &t->err);
}

static void t_open(t_api *t, uint64_t cache_bytes, pv_interrupt_fn interrupt, void *ctx) {
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    o.sync = PV_SYNC_ASYNC;
    o.threads = T_THREADS;
    o.cache_bytes = cache_bytes;
    o.interrupt = interrupt;
    o.interrupt_ctx = ctx;
    t_api_open(t, &o);
}

typedef struct t_answers {
    pv_results *of[T_QUERIES];
    size_t count;
} t_answers;

static int t_ask(t_api *t, pv_txn *txn, pv_query q, size_t count, uint32_t threads,
                 t_answers *out) {
    pv_query_vectors v = PV_QUERY_VECTORS_INIT;
    v.count = out->count = count;
    q.vector = t_queries;
    q.dims = T_DIMS;
    q.threads = threads;
    return count == 1 ? pv_search(t->db, txn, "docs", &q, out->of, &t->err)
                      : pv_search_many(t->db, txn, "docs", &q, &v, out->of, &t->err);
}

static void t_drop(t_answers *a) {
    for (size_t i = 0; i < a->count; i++) {
        pv_results_free(a->of[i]);
    }
}

static void t_same(const t_answers *a, const t_answers *b) {
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        const size_t n = pv_results_count(a->of[i]);
        assert_int_equal(pv_results_count(b->of[i]), n);
        if (n > 0) {
            assert_memory_equal(pv_results_ids_u64(a->of[i]), pv_results_ids_u64(b->of[i]), n * 8);
            assert_memory_equal(pv_results_distances(a->of[i]), pv_results_distances(b->of[i]),
                                n * 4);
        }
    }
}

/* The same with one thread and with more. */
static void t_agree(t_api *t, pv_txn *txn, pv_query q, size_t count) {
    t_answers alone, more;
    test_assert_ok(t_ask(t, txn, q, count, 0, &alone), &t->err);
    for (uint32_t threads = 1; threads <= T_THREADS; threads++) {
        test_assert_ok(t_ask(t, txn, q, count, threads, &more), &t->err);
        t_same(&alone, &more);
        t_drop(&more);
    }
    t_drop(&alone);
}

static void test_crew__answers_do_not_depend_on_threads(void **state) {
    (void)state;
    static const uint32_t metrics[] = {PV_METRIC_L2, PV_METRIC_COSINE, PV_METRIC_DOT};
    for (uint32_t c = 0; c < PV_COUNTOF(metrics) * T_KINDS; c += PV_MIN((uint32_t)T_STRIDE, 3u)) {
        t_api t;
        pv_query q = PV_QUERY_INIT;
        t_open(&t, c % 3 == 1 ? 700u << 10 : 0, NULL, NULL);
        t_fill(&t, (int)(c % T_KINDS), metrics[c / T_KINDS], test_seed() + c);
        q.k = 10;
        t_agree(&t, NULL, q, 1);
        t_agree(&t, NULL, q, T_QUERIES);
        q.k = 1500;
        t_agree(&t, NULL, q, 3);
        q.filter = "{\"n\": {\"$in\": [3, 77, 150]}}";
        t_agree(&t, NULL, q, 1);
        q.flags = PV_QUERY_WITHIN;
        q.max_distance = metrics[c / T_KINDS] == PV_METRIC_L2 ? 13.0f : 0.8f;
        q.filter = NULL;
        q.k = 0;
        t_agree(&t, NULL, q, 2);
        t_api_done(&t);
    }
}

/* What the writer has changed is in no snapshot, so that it works alone. */
static void test_crew__a_write_transaction_sees_its_changes(void **state) {
    (void)state;
    t_api t;
    pv_txn *txn = NULL;
    pv_query q = PV_QUERY_INIT;
    t_answers a;
    t_open(&t, 700u << 10, NULL, NULL);
    t_fill(&t, T_NORMAL, PV_METRIC_L2, test_seed());
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &txn, &t.err), &t.err);
    for (uint64_t i = 0; i < 900; i++) {
        t_put(&t, txn, "docs",
              t_record_u64(i * 31 % T_ROWS, t_queries[i % T_QUERIES], T_DIMS, "{}"));
    }
    q.k = 20;
    t_agree(&t, txn, q, T_QUERIES);
    test_assert_ok(t_ask(&t, txn, q, 1, T_THREADS, &a), &t.err);
    assert_true(pv_results_distance(a.of[0], 19) == 0);
    t_drop(&a);
    test_assert_ok(pv_txn_commit(txn, NULL, &t.err), &t.err);
    t_agree(&t, NULL, q, 1);
    t_api_done(&t);
}

/* ---- while others write -------------------------------------------------------------------- */

typedef struct t_writing {
    t_api *t;
    pv_error err;
    _Atomic uint32_t stop;
    uint64_t done;
    int rc;
} t_writing;

static void *t_write_on(void *arg) {
    t_writing *w = arg;
    for (uint64_t i = 0; !atomic_load(&w->stop) && w->rc == 0; i++) {
        const pv_record r =
            t_record_u64(i * 613 % T_ROWS, t_vectors[i * 17 % T_ROWS], T_DIMS, "{\"n\": 1}");
        w->rc = pv_upsert(w->t->db, NULL, "docs", &r, 1, NULL, &w->err);
        if (w->rc == 0 && i % 50 == 49) {
            w->rc = pv_checkpoint(w->t->db, &w->err);
        }
        w->done++;
    }
    return NULL;
}

/* A snapshot answers the same while its pages are replaced, evicted and read again. */
static void test_crew__a_snapshot_stays_while_others_write(void **state) {
    (void)state;
    t_api t;
    pv_txn *txn = NULL;
    pv_query q = PV_QUERY_INIT;
    t_answers before, now;
    t_open(&t, 700u << 10, NULL, NULL);
    t_fill(&t, T_NORMAL, PV_METRIC_COSINE, test_seed());
    q.k = 30;
    test_assert_ok(pv_txn_begin(t.db, 0, &txn, &t.err), &t.err);
    test_assert_ok(t_ask(&t, txn, q, 4, 1, &before), &t.err);
    t_writing w = {.t = &t, .err = PV_ERROR_INIT};
    pv__thread thread;
    test_assert_ok(pv__thread_start(&thread, t_write_on, &w, &t.err), &t.err);
    for (uint32_t i = 0; i < 12; i += T_STRIDE) {
        test_assert_ok(t_ask(&t, txn, q, 4, 2 + i % 4, &now), &t.err);
        t_same(&before, &now);
        t_drop(&now);
        test_assert_ok(t_ask(&t, NULL, q, 1, 2 + i % 4, &now), &t.err); /* and the newest */
        t_drop(&now);
    }
    atomic_store(&w.stop, 1);
    pv__thread_join(thread);
    test_assert_ok(w.rc, &w.err);
    assert_true(w.done > 0);
    pv_txn_rollback(txn);
    t_drop(&before);
    t_agree(&t, NULL, q, 4);
    t_expect_sound(&t);
    t_api_done(&t);
}

/* ---- what goes wrong ----------------------------------------------------------------------- */

typedef struct t_stop {
    uint64_t calls, at, elsewhere, caller;
} t_stop;

static int t_interrupt(void *ctx) {
    t_stop *s = ctx;
    s->elsewhere += pv__thread_id() != s->caller;
    return ++s->calls == s->at;
}

static void test_crew__the_interrupt_ends_all_and_is_asked_by_the_caller(void **state) {
    (void)state;
    t_api t;
    t_stop stop = {.caller = pv__thread_id()};
    t_answers want, got;
    pv_query q = PV_QUERY_INIT;
    bool reached = true;
    uint64_t cancelled = 0;
    t_open(&t, 0, t_interrupt, &stop);
    t_fill(&t, T_NORMAL, PV_METRIC_L2, test_seed());
    q.filter = "{\"n\": {\"$lt\": 150}}";
    test_assert_ok(t_ask(&t, NULL, q, T_QUERIES, 1, &want), &t.err);
    for (uint64_t at = 1; reached; at += (at < 20 ? 1 : 9) * T_STRIDE) {
        stop.calls = 0;
        stop.at = at;
        const int rc = t_ask(&t, NULL, q, T_QUERIES, 4, &got);
        reached = stop.calls >= at;
        if (reached) {
            test_assert_rc(rc, PV_ERR_CANCELLED, &t.err);
            cancelled++;
        } else {
            test_assert_ok(rc, &t.err);
            t_same(&want, &got);
            t_drop(&got);
        }
    }
    assert_true(cancelled > 0);
    assert_int_equal(stop.elsewhere, 0);
    t_drop(&want);
    t_api_done(&t);
}

/* One bit of one vector on the disk: whoever meets it, the call names it, and goes on otherwise. */
static void test_crew__damage_that_one_thread_meets_is_told(void **state) {
    (void)state;
    t_api t;
    t_answers a;
    pv_query q = PV_QUERY_INIT;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    t_open(&t, 0, NULL, NULL);
    t_fill(&t, T_NORMAL, PV_METRIC_L2, test_seed());
    t_api_shut(&t);
    FILE *f = fopen(t.path, "r+b");
    assert_non_null(f);
    static uint8_t bytes[16u << 20];
    const size_t size = fread(bytes, 1, sizeof bytes, f);
    const uint8_t *row = memmem(bytes, size, t_vectors[T_ROWS - 2000], sizeof t_vectors[0]);
    assert_non_null(row);
    const uint8_t flipped = *row ^ 0x10;
    assert_int_equal(fseek(f, row - bytes, SEEK_SET), 0);
    assert_int_equal(fwrite(&flipped, 1, 1, f), 1);
    fclose(f);
    o.threads = T_THREADS;
    t_api_reopen(&t, &o);
    for (uint32_t threads = 1; threads <= T_THREADS; threads++) {
        test_assert_rc(t_ask(&t, NULL, q, 3, threads, &a), PV_ERR_CORRUPT, &t.err);
        assert_non_null(strstr(t.err.message, "is damaged"));
        assert_null(a.of[0]);
    }
    assert_int_equal(t_count(&t, NULL, "docs", NULL), T_ROWS - T_ROWS / 9);
    t_api_done(&t);
}

/* Whichever allocation fails, in whatever thread: the code, or the same answers with fewer. */
static void test_crew__failed_allocations(void **state) {
    (void)state;
    t_api t;
    t_answers want, got;
    pv_query q = PV_QUERY_INIT;
    uint64_t refused = 0, answered = 0;
    t_open(&t, 0, NULL, NULL);
    t_fill(&t, T_TIES, PV_METRIC_COSINE, test_seed());
    q.k = 10;
    test_assert_ok(t_ask(&t, NULL, q, 9, 1, &want), &t.err);
    pv__mem *mem = &t.db->env->mem;
    for (uint64_t n = 1; n < 90; n += n < 20 ? 1 : T_STRIDE) { /* few are asked for when warm */
        const size_t used = atomic_load(&mem->bytes_used);
        atomic_store(&mem->fail_at, atomic_load(&mem->calls) + n);
        const int rc = t_ask(&t, NULL, q, 9, 3, &got);
        atomic_store(&mem->fail_at, 0);
        if (rc) {
            test_assert_rc(rc, PV_ERR_NOMEM, &t.err);
            assert_int_equal(atomic_load(&mem->bytes_used), used);
            refused++;
            continue;
        }
        answered++;
        t_same(&want, &got);
        t_drop(&got);
    }
    assert_true(refused > 1);
    assert_true(answered > 1);
    t_drop(&want);
    t_api_done(&t);
}

static void test_crew__threads_are_judged(void **state) {
    (void)state;
    t_api t;
    t_answers a;
    pv_query q = PV_QUERY_INIT;
    t_open(&t, 0, NULL, NULL);
    t_api_create(&t, "docs", T_DIMS, PV_METRIC_L2, PV_KEY_U64);
    test_assert_ok(t_ask(&t, NULL, q, 1, 1024, &a), &t.err); /* of nothing */
    assert_int_equal(pv_results_count(a.of[0]), 0);
    t_drop(&a);
    test_assert_rc(t_ask(&t, NULL, q, 1, 1025, &a), PV_ERR_LIMIT, &t.err);
    t_api_done(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crew__answers_do_not_depend_on_threads),
        cmocka_unit_test(test_crew__a_write_transaction_sees_its_changes),
        cmocka_unit_test(test_crew__a_snapshot_stays_while_others_write),
        cmocka_unit_test(test_crew__the_interrupt_ends_all_and_is_asked_by_the_caller),
        cmocka_unit_test(test_crew__damage_that_one_thread_meets_is_told),
        cmocka_unit_test(test_crew__failed_allocations),
        cmocka_unit_test(test_crew__threads_are_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
