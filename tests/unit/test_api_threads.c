/* SPDX-License-Identifier: Apache-2.0 */
/* test_api_threads.c - one handle in several threads: readers never see half a transaction, two
 * writers take turns, and closing waits for those inside. Meant for the thread sanitiser too. */
#include <pthread.h>
#include <stdatomic.h>

#include "unit/test_api_kit.h"

enum { T_PAIRS = 16 };

typedef struct t_shared {
    t_api t;
    _Atomic int stop;
    _Atomic int failed;
    _Atomic uint64_t reads;
    int rounds;
} t_shared;

static void t_fail(t_shared *s, const pv_error *err, const char *what) {
    if (atomic_exchange(&s->failed, 1) == 0) {
        fprintf(stderr, "%s: %s\n", what, err ? err->message : "");
    }
    atomic_store(&s->stop, 1);
}

/* Both halves of each pair always carry the same number, in metadata and in the vector. */
static void *t_writer(void *arg) {
    t_shared *s = arg;
    pv_error err = PV_ERROR_INIT;
    char text[32], ids[2][16];
    for (int round = 1; round <= s->rounds && !atomic_load(&s->stop); round++) {
        pv_txn *txn = NULL;
        if (pv_txn_begin(s->t.db, PV_TXN_WRITE, &txn, &err) != 0) {
            t_fail(s, &err, "begin");
            break;
        }
        const float v[2] = {(float)round, 1};
        int rc = 0;
        snprintf(text, sizeof(text), "{\"n\":%d}", round);
        for (int half = 0; half < 2 && rc == 0; half++) {
            snprintf(ids[half], sizeof(ids[half]), "%c%02d", "ab"[half], round % T_PAIRS);
            const pv_record r = t_record(ids[half], v, 2, text);
            rc = pv_upsert(s->t.db, txn, "docs", &r, 1, NULL, &err);
        }
        if (rc != 0 || round % 7 == 0) {
            pv_txn_rollback(txn);
        } else {
            rc = pv_txn_commit(txn, NULL, &err);
        }
        if (rc != 0) {
            t_fail(s, &err, "write");
        }
    }
    return NULL;
}

static void *t_reader(void *arg) {
    t_shared *s = arg;
    pv_error err = PV_ERROR_INIT;
    const float q[2] = {5, 1};
    uint64_t at = 0;
    do {
        char id[2][16];
        pv_txn *txn = NULL;
        pv_results *r[2] = {NULL, NULL}, *near = NULL;
        snprintf(id[0], sizeof(id[0]), "a%02d", (int)(at % T_PAIRS));
        snprintf(id[1], sizeof(id[1]), "b%02d", (int)(at % T_PAIRS));
        at++;
        int rc = pv_txn_begin(s->t.db, PV_TXN_READ, &txn, &err);
        const int has_a = rc ? rc : pv_get(s->t.db, txn, "docs", id[0], &r[0], &err);
        const int has_b = rc ? rc : pv_get(s->t.db, txn, "docs", id[1], &r[1], &err);
        if (rc != 0 || has_a != has_b || (has_a != 0 && has_a != PV_ERR_NOTFOUND)) {
            t_fail(s, &err, "get");
        } else if (has_a == 0 &&
                   (strcmp(pv_results_metadata(r[0], 0, NULL),
                           pv_results_metadata(r[1], 0, NULL)) != 0 ||
                    memcmp(pv_results_vector(r[0], 0), pv_results_vector(r[1], 0), 8) != 0)) {
            t_fail(s, NULL, "half a transaction was seen");
        }
        const pv_query query = t_query(q, 2, 4);
        if (rc == 0 && pv_search(s->t.db, txn, "docs", &query, &near, &err) != 0) {
            t_fail(s, &err, "search");
        } else if (rc == 0 && pv_results_count(near) % 2 != 0) {
            t_fail(s, NULL, "an odd number of rows");
        }
        pv_results_free(near);
        pv_results_free(r[0]);
        pv_results_free(r[1]);
        pv_txn_rollback(txn);
        atomic_fetch_add(&s->reads, 1);
    } while (!atomic_load(&s->stop));
    return NULL;
}

static void test_api_threads__readers_see_whole_transactions(void **state) {
    (void)state;
    t_shared s;
    pthread_t readers[2], writer;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    memset(&s, 0, sizeof(s));
    s.rounds = 300;
    o.sync = PV_SYNC_ASYNC;
    t_api_open(&s.t, &o);
    t_api_create(&s.t, "docs", 2, PV_METRIC_L2, 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&readers[i], NULL, t_reader, &s), 0);
    }
    assert_int_equal(pthread_create(&writer, NULL, t_writer, &s), 0);
    assert_int_equal(pthread_join(writer, NULL), 0);
    atomic_store(&s.stop, 1);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(readers[i], NULL), 0);
    }
    assert_int_equal(s.failed, 0);
    assert_true(s.reads > 0);
    t_expect_sound(&s.t);
    t_api_done(&s.t);
}

static void *t_adder(void *arg) {
    t_shared *s = arg;
    pv_error err = PV_ERROR_INIT;
    const float v[2] = {1, 2};
    const pv_record r = t_record_u64(PV_ID_NONE, v, 2, NULL);
    for (int i = 0; i < s->rounds; i++) {
        if (pv_insert(s->t.db, NULL, "docs", &r, 1, NULL, &err) != 0) {
            t_fail(s, &err, "insert");
            break;
        }
    }
    return NULL;
}

static void test_api_threads__writers_take_turns(void **state) {
    (void)state;
    t_shared s;
    pthread_t threads[3];
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    memset(&s, 0, sizeof(s));
    s.rounds = 60;
    o.sync = PV_SYNC_ASYNC;
    t_api_open(&s.t, &o);
    t_api_create(&s.t, "docs", 2, PV_METRIC_L2, PV_KEY_U64);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, t_adder, &s), 0);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(s.failed, 0);
    assert_int_equal(t_count(&s.t, NULL, "docs", NULL), 3 * s.rounds); /* no id was made twice */
    t_expect_sound(&s.t);
    t_api_done(&s.t);
}

/* A transaction that another thread goes on with: the refusal of writes without it goes along. */
static void *t_carry_on(void *arg) {
    void **args = arg;
    t_shared *s = args[0];
    pv_txn *txn = args[1];
    pv_error err = PV_ERROR_INIT;
    const float v[2] = {1, 2};
    const pv_record r = t_record_u64(5, v, 2, NULL);
    if (pv_insert(s->t.db, txn, "docs", &r, 1, NULL, &err) != 0) {
        t_fail(s, &err, "insert");
    }
    if (pv_insert(s->t.db, NULL, "docs", &r, 1, NULL, &err) != PV_ERR_MISUSE) {
        t_fail(s, &err, "the new thread would wait for itself");
    }
    return NULL;
}

static void test_api_threads__a_transaction_may_move(void **state) {
    (void)state;
    t_shared s;
    pthread_t thread;
    pv_txn *txn = NULL;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    const float v[2] = {1, 2};
    const pv_record r = t_record_u64(6, v, 2, NULL);
    memset(&s, 0, sizeof(s));
    o.flags = PV_OPEN_NOWAIT;
    t_api_open(&s.t, &o);
    t_api_create(&s.t, "docs", 2, PV_METRIC_L2, PV_KEY_U64);
    test_assert_ok(pv_txn_begin(s.t.db, PV_TXN_WRITE, &txn, &s.t.err), &s.t.err);
    void *args[2] = {&s, txn};
    assert_int_equal(pthread_create(&thread, NULL, t_carry_on, args), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(s.failed, 0);
    /* It is now in the other thread's hands: this one is a stranger, and does not wait. */
    test_assert_rc(pv_insert(s.t.db, NULL, "docs", &r, 1, NULL, &s.t.err), PV_ERR_BUSY, &s.t.err);
    test_assert_ok(pv_txn_commit(txn, NULL, &s.t.err), &s.t.err);
    test_assert_ok(pv_insert(s.t.db, NULL, "docs", &r, 1, NULL, &s.t.err), &s.t.err);
    assert_int_equal(t_count(&s.t, NULL, "docs", NULL), 2);
    t_api_done(&s.t);
}

/* A thread that holds an iterator of its own while another closes the database under it. */
static void *t_walker(void *arg) {
    void **args = arg;
    t_shared *s = args[0];
    pv_iter *it = args[1];
    pv_error err = PV_ERROR_INIT;
    int n = 0, rc;
    atomic_fetch_add(&s->reads, 1);
    while ((rc = pv_iter_next(it, &err)) == 1) {
        n++;
    }
    if (rc != 0 || n != 200) {
        t_fail(s, &err, "walk");
    }
    pv_iter_close(it);
    return NULL;
}

static void test_api_threads__close_beside_a_walk(void **state) {
    (void)state;
    for (int round = 0; round < 5; round++) {
        t_shared s;
        pthread_t thread;
        pv_iter *it = NULL;
        const float v[2] = {1, 2};
        pv_open_opts o = PV_OPEN_OPTS_INIT;
        memset(&s, 0, sizeof(s));
        o.sync = PV_SYNC_ASYNC;
        t_api_open(&s.t, &o);
        t_api_create(&s.t, "docs", 2, PV_METRIC_L2, PV_KEY_U64);
        for (uint64_t i = 0; i < 200; i++) {
            t_put(&s.t, NULL, "docs", t_record_u64(i, v, 2, NULL));
        }
        test_assert_ok(pv_iter_open(s.t.db, NULL, "docs", NULL, &it, &s.t.err), &s.t.err);
        void *args[2] = {&s, it};
        assert_int_equal(pthread_create(&thread, NULL, t_walker, args), 0);
        t_api_shut(&s.t);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(s.failed, 0);
        t_api_reopen(&s.t, NULL);
        assert_int_equal(t_count(&s.t, NULL, "docs", NULL), 200);
        t_api_done(&s.t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_threads__readers_see_whole_transactions),
        cmocka_unit_test(test_api_threads__writers_take_turns),
        cmocka_unit_test(test_api_threads__a_transaction_may_move),
        cmocka_unit_test(test_api_threads__close_beside_a_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
