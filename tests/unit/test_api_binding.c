/* SPDX-License-Identifier: Apache-2.0 */
/* test_api_binding.c - what bindings to other languages lean on: handles that outlive pv_close,
 * results and ids as whole arrays, updates in columns, and an interrupt in every call that may take
 * time. */
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit/test_api_kit.h"

enum { T_ROWS = 600 };

/* ---- handles ------------------------------------------------------------------------------ */

static void test_api_binding__a_kept_handle_answers_closed(void **state) {
    (void)state;
    t_api t;
    pv_stats stats = PV_STATS_INIT;
    uint64_t n = 0;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    test_assert_ok(pv_db_ref(t.db, &t.err), &t.err);
    test_assert_ok(pv_db_ref(t.db, &t.err), &t.err);
    pv_db *kept = t.db;
    t_api_shut(&t);
    test_assert_rc(pv_count(kept, NULL, "docs", NULL, &n, &t.err), PV_ERR_CLOSED, &t.err);
    pv_db_unref(kept);
    test_assert_rc(pv_stats_get(kept, &stats, &t.err), PV_ERR_CLOSED, &t.err);
    test_assert_rc(pv_close(kept, &t.err), PV_ERR_CLOSED, &t.err);
    test_assert_rc(pv_db_ref(kept, &t.err), PV_ERR_CLOSED, &t.err);
    t_api_reopen(&t, NULL); /* the file is closed, whoever keeps the handle */
    assert_int_equal(t_count(&t, NULL, "docs", NULL), 0);
    pv_db_unref(kept);
    pv_db_unref(NULL);
    test_assert_rc(pv_db_ref(NULL, &t.err), PV_ERR_MISUSE, &t.err);
    t_api_done(&t);
}

static void test_api_binding__a_reference_given_back_early_closes_nothing(void **state) {
    (void)state;
    t_api t;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    test_assert_ok(pv_db_ref(t.db, &t.err), &t.err);
    pv_db_unref(t.db);
    t_put2(&t, NULL, "docs", "a", 1, 2, NULL);
    t_api_done(&t);
}

static void test_api_binding__a_child_closes_a_kept_handle_once(void **state) {
    (void)state;
    t_api t;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    test_assert_ok(pv_db_ref(t.db, &t.err), &t.err);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int bad = pv_db_ref(t.db, NULL) != PV_ERR_MISUSE;
        bad |= pv_close(t.db, NULL) != 0;
        bad |= pv_close(t.db, NULL) != PV_ERR_CLOSED;
        pv_db_unref(t.db);
        _exit(bad);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    t_put2(&t, NULL, "docs", "a", 1, 2, NULL);
    pv_db_unref(t.db);
    t_api_done(&t);
}

typedef struct t_racer {
    pv_db *db;
    int rc;
} t_racer;

static void *t_count_until_closed(void *arg) {
    t_racer *r = arg;
    uint64_t n = 0;
    do {
        r->rc = pv_count(r->db, NULL, "docs", NULL, &n, NULL);
    } while (r->rc == 0);
    return NULL;
}

static void test_api_binding__closing_races_with_calls(void **state) {
    (void)state;
    for (int round = 0; round < 20; round++) {
        t_api t;
        t_racer r[2];
        pthread_t threads[2];
        t_api_open(&t, NULL);
        t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
        for (int i = 0; i < 2; i++) {
            r[i] = (t_racer){t.db, 0};
            test_assert_ok(pv_db_ref(t.db, &t.err), &t.err);
            assert_int_equal(pthread_create(&threads[i], NULL, t_count_until_closed, &r[i]), 0);
        }
        pv_db *kept = t.db;
        t_api_shut(&t);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_int_equal(r[i].rc, PV_ERR_CLOSED);
            pv_db_unref(kept);
        }
        t_api_done(&t);
    }
}

/* ---- arrays ------------------------------------------------------------------------------- */

static void test_api_binding__results_as_arrays(void **state) {
    (void)state;
    t_api t;
    pv_results *r = NULL;
    const uint64_t *at = NULL;
    const float q[2] = {0, 0};
    pv_query query = t_query(q, 2, 3);
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_api_create(&t, "numbers", 2, PV_METRIC_DOT, PV_KEY_U64);
    t_put2(&t, NULL, "docs", "far", 3, 4, "{\"a\":1}");
    t_put2(&t, NULL, "docs", "n", 1, 0, "{\"b\":\"x\"}");
    query.include = PV_INCLUDE_METADATA;
    test_assert_ok(pv_search(t.db, NULL, "docs", &query, &r, &t.err), &t.err);
    const char *text = pv_results_ids_text(r, &at);
    assert_non_null(text);
    assert_memory_equal(text, "n\0far\0", 6);
    assert_int_equal(at[0], 0);
    assert_int_equal(at[1], 2);
    assert_int_equal(at[2], 6);
    assert_ptr_equal(pv_results_ids_text(r, NULL), text);
    assert_string_equal(pv_results_metadata(r, 1, NULL), "{\"a\":1}");
    for (size_t i = 0; i < 2; i++) {
        assert_true(pv_results_scores(r)[i] == pv_results_score(r, i));
        assert_true(pv_results_scores(r)[i] == -pv_results_distances(r)[i]);
        assert_string_equal(pv_results_id(r, i), text + at[i]);
    }
    pv_results_free(r);

    test_assert_ok(pv_search(t.db, NULL, "numbers", &query, &r, &t.err), &t.err);
    assert_null(pv_results_ids_text(r, &at));
    assert_null(at);
    pv_results_free(r);
    query.filter = "{\"none\": 1}";
    test_assert_ok(pv_search(t.db, NULL, "docs", &query, &r, &t.err), &t.err);
    assert_int_equal(pv_results_count(r), 0);
    assert_non_null(pv_results_ids_text(r, &at));
    assert_int_equal(at[0], 0);
    pv_results_free(r);
    test_assert_ok(pv_get(t.db, NULL, "docs", "far", &r, &t.err), &t.err);
    assert_null(pv_results_scores(r));
    assert_true(isnan(pv_results_score(r, 0)));
    assert_memory_equal(pv_results_ids_text(r, &at), "far", 4);
    pv_results_free(r);
    assert_null(pv_results_ids_text(NULL, &at));
    assert_null(pv_results_scores(NULL));
    t_api_done(&t);
}

static void test_api_binding__ids_in_one_buffer(void **state) {
    (void)state;
    t_api t;
    pv_results *r = NULL;
    char got[64];
    uint64_t n = 0;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_put2(&t, NULL, "docs", "a", 1, 0, NULL);
    t_put2(&t, NULL, "docs", "bb", 2, 0, NULL);
    const uint64_t at[] = {0, 2, 5, 6};
    pv_ids ids = PV_IDS_INIT;
    ids.count = 3;
    ids.id_data = "bbccca";
    ids.id_offsets = at;
    test_assert_ok(pv_get_many(t.db, NULL, "docs", &ids, 0, &r, &t.err), &t.err);
    assert_string_equal(t_ids(r, got, sizeof(got)), "bb ccc a");
    assert_true(pv_results_found(r, 0) && !pv_results_found(r, 1) && pv_results_found(r, 2));
    pv_results_free(r);
    test_assert_ok(pv_delete_many(t.db, NULL, "docs", &ids, &n, &t.err), &t.err);
    assert_int_equal(n, 2);
    assert_int_equal(t_count(&t, NULL, "docs", NULL), 0);

    const uint64_t empty[] = {0, 2, 2, 3}, back[] = {0, 2, 1, 3};
    const char *const pointers[] = {"a", "b", "c"};
    ids.id_offsets = empty;
    t_expect_error(pv_get_many(t.db, NULL, "docs", &ids, 0, &r, &t.err), PV_ERR_MISUSE, &t.err,
                   "missing");
    assert_int_equal(t.err.record_index, 1);
    ids.id_offsets = back;
    t_expect_error(pv_get_many(t.db, NULL, "docs", &ids, 0, &r, &t.err), PV_ERR_MISUSE, &t.err,
                   "go back");
    ids.id_offsets = NULL;
    t_expect_error(pv_delete_many(t.db, NULL, "docs", &ids, &n, &t.err), PV_ERR_MISUSE, &t.err,
                   "id_offsets");
    ids.id_offsets = at;
    ids.ids = pointers;
    t_expect_error(pv_delete_many(t.db, NULL, "docs", &ids, &n, &t.err), PV_ERR_MISUSE, &t.err,
                   "buffer");
    ids.ids = NULL;
    ids.struct_size = offsetof(pv_ids, id_data); /* an older program: it gives none */
    t_expect_error(pv_delete_many(t.db, NULL, "docs", &ids, &n, &t.err), PV_ERR_MISUSE, &t.err,
                   "missing");
    t_api_done(&t);
}

static void test_api_binding__updates_in_columns(void **state) {
    (void)state;
    t_api t;
    const float v[4] = {7, 0, 8, 0};
    const char *const ids[] = {"a", "b"};
    const char *const texts[] = {NULL, "{\"x\":2}"};
    pv_write_opts o = PV_WRITE_OPTS_INIT;
    pv_batch b = PV_BATCH_INIT;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_put2(&t, NULL, "docs", "a", 1, 0, "{\"y\":1}");
    t_put2(&t, NULL, "docs", "b", 2, 0, "{\"y\":2}");
    b.count = 2;
    b.dims = 2;
    b.ids = ids;
    b.metadata = texts;
    o.flags = PV_WRITE_MERGE;
    test_assert_ok(pv_update_batch(t.db, NULL, "docs", &b, &o, &t.err), &t.err);
    t_expect_metadata(&t, NULL, "docs", "a", "{\"y\":1}");
    t_expect_metadata(&t, NULL, "docs", "b", "{\"x\":2,\"y\":2}");
    const float q[2] = {2, 0};
    t_expect_search(&t, NULL, "docs", t_query(q, 2, 1), "b"); /* vectors were kept */

    const uint64_t at[] = {0, 7, 7};
    b.metadata = NULL;
    b.metadata_data = "{\"z\":3}";
    b.metadata_offsets = at;
    b.vectors = v;
    test_assert_ok(pv_update_batch(t.db, NULL, "docs", &b, NULL, &t.err), &t.err);
    t_expect_metadata(&t, NULL, "docs", "a", "{\"z\":3}");
    t_expect_metadata(&t, NULL, "docs", "b", "{\"x\":2,\"y\":2}");
    t_expect_search(&t, NULL, "docs", t_query(v, 2, 2), "a b");

    const char *const gone[] = {"a", "c"};
    const t_mark before = t_mark_of(&t);
    b.ids = gone;
    test_assert_rc(pv_update_batch(t.db, NULL, "docs", &b, NULL, &t.err), PV_ERR_NOTFOUND, &t.err);
    assert_int_equal(t.err.record_index, 1);
    t_expect_unchanged(&t, before);
    t_api_done(&t);
}

/* ---- interrupts --------------------------------------------------------------------------- */

static int t_interrupt(void *ctx) {
    int *left = ctx;
    return --*left < 0;
}

typedef struct t_load {
    t_api t;
    int left;
    float vectors[T_ROWS * 2];
    uint64_t ids[T_ROWS];
    pv_batch batch;
    pv_ids list;
} t_load;

static void t_load_init(t_load *l) {
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    l->left = 1 << 30;
    o.interrupt = t_interrupt;
    o.interrupt_ctx = &l->left;
    t_api_open(&l->t, &o);
    t_api_create(&l->t, "docs", 2, PV_METRIC_L2, PV_KEY_U64);
    for (int i = 0; i < T_ROWS; i++) {
        l->ids[i] = (uint64_t)i;
        l->vectors[2 * i] = (float)i;
        l->vectors[2 * i + 1] = 1;
    }
    l->batch = (pv_batch)PV_BATCH_INIT;
    l->batch.count = T_ROWS;
    l->batch.dims = 2;
    l->batch.ids_u64 = l->ids;
    l->batch.vectors = l->vectors;
    l->list = (pv_ids)PV_IDS_INIT;
    l->list.count = T_ROWS;
    l->list.ids_u64 = l->ids;
}

enum { T_INSERT, T_UPSERT, T_UPDATE, T_DELETE, T_DELETE_WHERE, T_GET, T_CALLS };

static int t_call(t_load *l, int which, pv_txn *txn) {
    pv_results *r = NULL;
    pv_db *db = l->t.db;
    int rc;
    if (which == T_INSERT) {
        return pv_insert_batch(db, txn, "docs", &l->batch, NULL, &l->t.err);
    }
    if (which == T_UPSERT) {
        return pv_upsert_batch(db, txn, "docs", &l->batch, NULL, &l->t.err);
    }
    if (which == T_UPDATE) {
        return pv_update_batch(db, txn, "docs", &l->batch, NULL, &l->t.err);
    }
    if (which == T_DELETE) {
        return pv_delete_many(db, txn, "docs", &l->list, NULL, &l->t.err);
    }
    if (which == T_DELETE_WHERE) {
        return pv_delete_where(db, txn, "docs", "{}", NULL, &l->t.err);
    }
    rc = pv_get_many(db, txn, "docs", &l->list, PV_INCLUDE_VECTOR, &r, &l->t.err);
    pv_results_free(r);
    return rc;
}

/* Every question that a call asks ends it, and nothing of it is left. */
static void test_api_binding__every_long_call_can_be_cancelled(void **state) {
    (void)state;
    for (int which = 0; which < T_CALLS; which++) {
        t_load l;
        int asked = 0, rc = PV_ERR_CANCELLED;
        t_load_init(&l);
        if (which != T_INSERT) {
            test_assert_ok(t_call(&l, T_INSERT, NULL), &l.t.err);
        }
        const t_mark before = t_mark_of(&l.t);
        while (rc == PV_ERR_CANCELLED) {
            l.left = asked;
            rc = t_call(&l, which, NULL);
            l.left = 1 << 30;
            if (rc == PV_ERR_CANCELLED) {
                t_expect_unchanged(&l.t, before);
                asked++;
            }
        }
        test_assert_ok(rc, &l.t.err);
        /* 600 rows ask twice in a pass; writing goes over them at least twice. */
        assert_true(asked >= (which == T_GET ? 2 : 4));
        t_expect_sound(&l.t);
        t_api_done(&l.t);
    }
}

static void test_api_binding__cancelled_before_a_change_keeps_the_transaction(void **state) {
    (void)state;
    t_load l;
    pv_txn *txn = NULL;
    t_load_init(&l);
    test_assert_ok(pv_txn_begin(l.t.db, PV_TXN_WRITE, &txn, &l.t.err), &l.t.err);
    l.left = 0;
    test_assert_rc(t_call(&l, T_INSERT, txn), PV_ERR_CANCELLED, &l.t.err);
    l.left = 1 << 30;
    test_assert_ok(t_call(&l, T_INSERT, txn), &l.t.err);
    int asked = 0, rc = 0;
    while (rc == 0) { /* the n-th question ends a call; doomed: the next one is refused */
        l.left = asked++;
        test_assert_rc(t_call(&l, T_UPSERT, txn), PV_ERR_CANCELLED, &l.t.err);
        l.left = 1 << 30;
        rc = t_call(&l, T_UPSERT, txn);
    }
    assert_int_equal(rc, PV_ERR_CANCELLED);
    assert_true(asked > 4); /* two in preparing and two in looking up at least change nothing */
    pv_txn_rollback(txn);
    assert_int_equal(t_count(&l.t, NULL, "docs", NULL), 0);
    t_api_done(&l.t);
}

/* More than 1 MiB, so that its pages are written before its record. */
static void test_api_binding__a_large_commit_can_be_cancelled(void **state) {
    (void)state;
    enum { DIMS = 1024 };
    t_load l;
    int asked = 0, rc = PV_ERR_CANCELLED;
    float *vectors = calloc((size_t)T_ROWS * DIMS, sizeof(*vectors));
    assert_non_null(vectors);
    t_load_init(&l);
    t_api_create(&l.t, "wide", DIMS, PV_METRIC_L2, PV_KEY_U64);
    l.batch.vectors = vectors;
    l.batch.dims = DIMS;
    const t_mark before = t_mark_of(&l.t);
    for (; rc == PV_ERR_CANCELLED; asked++) {
        pv_txn *txn = NULL;
        test_assert_ok(pv_txn_begin(l.t.db, PV_TXN_WRITE, &txn, &l.t.err), &l.t.err);
        test_assert_ok(pv_insert_batch(l.t.db, txn, "wide", &l.batch, NULL, &l.t.err), &l.t.err);
        l.left = asked;
        rc = pv_txn_commit(txn, NULL, &l.t.err);
        l.left = 1 << 30;
        if (rc == PV_ERR_CANCELLED) {
            t_expect_unchanged(&l.t, before);
        }
    }
    test_assert_ok(rc, &l.t.err);
    assert_true(asked > 1); /* one was cancelled at least */
    assert_int_equal(t_count(&l.t, NULL, "wide", NULL), T_ROWS);
    t_expect_sound(&l.t);
    free(vectors);
    t_api_done(&l.t);
}

static void *t_begin_and_wait(void *arg) {
    t_load *l = arg;
    pv_txn *txn = NULL;
    pv_error err = PV_ERROR_INIT;
    const int rc = pv_txn_begin(l->t.db, PV_TXN_WRITE, &txn, &err);
    pv_txn_rollback(txn);
    return rc == PV_ERR_CANCELLED ? arg : NULL;
}

static void test_api_binding__waiting_for_a_writer_can_be_cancelled(void **state) {
    (void)state;
    t_load l;
    pv_txn *txn = NULL;
    pthread_t other;
    void *cancelled = NULL;
    t_load_init(&l);
    test_assert_ok(pv_txn_begin(l.t.db, PV_TXN_WRITE, &txn, &l.t.err), &l.t.err);
    l.left = 1;
    assert_int_equal(pthread_create(&other, NULL, t_begin_and_wait, &l), 0);
    assert_int_equal(pthread_join(other, &cancelled), 0);
    assert_ptr_equal(cancelled, &l);
    assert_int_equal(l.left, -1);
    l.left = 1 << 30;
    pv_txn_rollback(txn);
    test_assert_ok(t_call(&l, T_INSERT, NULL), &l.t.err);
    t_api_done(&l.t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_binding__a_kept_handle_answers_closed),
        cmocka_unit_test(test_api_binding__a_reference_given_back_early_closes_nothing),
        cmocka_unit_test(test_api_binding__a_child_closes_a_kept_handle_once),
        cmocka_unit_test(test_api_binding__closing_races_with_calls),
        cmocka_unit_test(test_api_binding__results_as_arrays),
        cmocka_unit_test(test_api_binding__ids_in_one_buffer),
        cmocka_unit_test(test_api_binding__updates_in_columns),
        cmocka_unit_test(test_api_binding__every_long_call_can_be_cancelled),
        cmocka_unit_test(test_api_binding__cancelled_before_a_change_keeps_the_transaction),
        cmocka_unit_test(test_api_binding__a_large_commit_can_be_cancelled),
        cmocka_unit_test(test_api_binding__waiting_for_a_writer_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
