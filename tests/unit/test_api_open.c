/* SPDX-License-Identifier: Apache-2.0 */
/* test_api_open.c - opening and closing, options, and what a handle is worth afterwards. */
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit/test_api_kit.h"

/* ---- options ---- */

static void test_api_open__versions_agree(void **state) {
    (void)state;
    assert_int_equal(pv_version_number(), PV_VERSION_NUMBER);
    assert_string_equal(pv_version_string(), PV_VERSION_STRING);
    assert_non_null(pv_build_option("compiler"));
    assert_non_null(pv_build_option("arch"));
    assert_non_null(pv_build_option("debug"));
    assert_null(pv_build_option("no such option"));
    assert_null(pv_build_option(NULL));
    assert_string_equal(pv_error_text(0), "ok");
    assert_string_equal(pv_error_text(PV_ERR_BUSY), "busy");
    assert_non_null(pv_error_text(-9999));
    assert_non_null(pv_error_text(17));
}

static void test_api_open__struct_size_is_judged(void **state) {
    (void)state;
    struct {
        pv_open_opts o;
        uint8_t more[16];
    } newer = {PV_OPEN_OPTS_INIT, {0}};
    pv_error err = PV_ERROR_INIT;
    pv_db *db = (pv_db *)&err; /* must become NULL */
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    o.struct_size = 0;
    t_expect_error(pv_open(":memory:", &o, &db, &err), PV_ERR_MISUSE, &err, "struct_size");
    assert_null(db);
    o.struct_size = 4;
    t_expect_error(pv_open(":memory:", &o, &db, &err), PV_ERR_MISUSE, &err, "pv_open_opts");
    newer.o.struct_size = sizeof(newer);
    test_assert_ok(pv_open(":memory:", &newer.o, &db, &err), &err);
    test_assert_ok(pv_close(db, &err), &err);
    newer.more[3] = 1;
    t_expect_error(pv_open(":memory:", &newer.o, &db, &err), PV_ERR_UNSUPPORTED, &err, "member");
    newer.o.struct_size = 1u << 20;
    test_assert_rc(pv_open(":memory:", &newer.o, &db, &err), PV_ERR_UNSUPPORTED, &err);
    /* An older header knew fewer members: the rest are defaults, whatever lies behind. */
    memset(&o, 0xFF, sizeof(o));
    o.struct_size = offsetof(pv_open_opts, busy_timeout_ms);
    o.flags = 0;
    o.sync = 0;
    o.threads = 1;
    test_assert_ok(pv_open(":memory:", &o, &db, &err), &err);
    test_assert_ok(pv_close(db, &err), &err);
}

static void test_api_open__unknown_options_are_unsupported(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    pv_db *db = NULL;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    o.flags = 0x80000000u;
    test_assert_rc(pv_open(":memory:", &o, &db, &err), PV_ERR_UNSUPPORTED, &err);
    o = (pv_open_opts)PV_OPEN_OPTS_INIT;
    o.sync = 77;
    test_assert_rc(pv_open(":memory:", &o, &db, &err), PV_ERR_UNSUPPORTED, &err);
    o = (pv_open_opts)PV_OPEN_OPTS_INIT;
    o.log_level = 9;
    test_assert_rc(pv_open(":memory:", &o, &db, &err), PV_ERR_UNSUPPORTED, &err);
    o = (pv_open_opts)PV_OPEN_OPTS_INIT;
    o.threads = 1u << 20;
    test_assert_rc(pv_open(":memory:", &o, &db, &err), PV_ERR_LIMIT, &err);
    o = (pv_open_opts)PV_OPEN_OPTS_INIT;
    o.flags = PV_OPEN_READONLY;
    test_assert_rc(pv_open(":memory:", &o, &db, &err), PV_ERR_MISUSE, &err);
    test_assert_rc(pv_open("", NULL, &db, &err), PV_ERR_MISUSE, &err);
    test_assert_rc(pv_open(NULL, NULL, &db, &err), PV_ERR_MISUSE, &err);
    test_assert_rc(pv_open(":memory:", NULL, NULL, &err), PV_ERR_MISUSE, &err);
    assert_null(db);
}

/* ---- files ---- */

static void test_api_open__missing_file_is_made_or_not(void **state) {
    (void)state;
    t_api t;
    struct stat st;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    t_api_open(&t, NULL);
    t_api_shut(&t);
    assert_int_equal(unlink(t.path), 0);
    o.flags = PV_OPEN_NOCREATE;
    test_assert_rc(pv_open(t.path, &o, &t.db, &t.err), PV_ERR_NOTFOUND, &t.err);
    assert_null(t.db);
    o.flags = PV_OPEN_READONLY;
    test_assert_rc(pv_open(t.path, &o, &t.db, &t.err), PV_ERR_NOTFOUND, &t.err);
    assert_int_not_equal(stat(t.path, &st), 0);
    t_api_reopen(&t, NULL);
    t_api_done(&t);
}

static void test_api_open__foreign_file_is_left_alone(void **state) {
    (void)state;
    t_api t;
    char text[9000], back[9000];
    t_api_open(&t, NULL);
    t_api_shut(&t);
    memset(text, 'x', sizeof(text));
    FILE *f = fopen(t.path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, sizeof(text), f), sizeof(text));
    assert_int_equal(fclose(f), 0);
    test_assert_rc(pv_open(t.path, NULL, &t.db, &t.err), PV_ERR_FORMAT, &t.err);
    assert_null(t.db);
    f = fopen(t.path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(back, 1, sizeof(back), f), sizeof(back));
    assert_int_equal(fgetc(f), EOF);
    assert_int_equal(fclose(f), 0);
    assert_memory_equal(text, back, sizeof(text));
    t_api_done(&t);
}

static void test_api_open__what_was_written_is_there_again(void **state) {
    (void)state;
    t_api t;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_put2(&t, NULL, "docs", "a", 1.0f, 2.0f, "{\"n\": 1}");
    const t_mark before = t_mark_of(&t);
    t_api_shut(&t);
    t_api_reopen(&t, NULL);
    assert_int_equal(t_mark_of(&t).checksum, before.checksum);
    t_expect_metadata(&t, NULL, "docs", "a", "{\"n\":1}");
    t_expect_sound(&t);
    t_api_done(&t);
}

static void test_api_open__readonly_refuses_every_write(void **state) {
    (void)state;
    t_api t;
    const float v[2] = {1.0f, 2.0f};
    const pv_record r = t_record("b", v, 2, NULL);
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv_txn *txn = NULL;
    uint64_t n = 0;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_put2(&t, NULL, "docs", "a", 1.0f, 2.0f, NULL);
    t_api_shut(&t);
    o.flags = PV_OPEN_READONLY;
    t_api_reopen(&t, &o);
    c.dims = 2;
    c.metric = PV_METRIC_L2;
    test_assert_rc(pv_insert(t.db, NULL, "docs", &r, 1, NULL, &t.err), PV_ERR_READONLY, &t.err);
    test_assert_rc(pv_upsert(t.db, NULL, "docs", &r, 1, NULL, &t.err), PV_ERR_READONLY, &t.err);
    test_assert_rc(pv_update(t.db, NULL, "docs", &r, 1, NULL, &t.err), PV_ERR_READONLY, &t.err);
    test_assert_rc(pv_delete(t.db, NULL, "docs", "a", &t.err), PV_ERR_READONLY, &t.err);
    test_assert_rc(pv_delete_where(t.db, NULL, "docs", "{}", &n, &t.err), PV_ERR_READONLY, &t.err);
    test_assert_rc(pv_collection_drop(t.db, NULL, "docs", &t.err), PV_ERR_READONLY, &t.err);
    test_assert_rc(pv_collection_create(t.db, NULL, "x", &c, &t.err), PV_ERR_READONLY, &t.err);
    test_assert_ok(pv_collection_ensure(t.db, NULL, "docs", &c, &t.err), &t.err);
    test_assert_rc(pv_txn_begin(t.db, PV_TXN_WRITE, &txn, &t.err), PV_ERR_READONLY, &t.err);
    assert_null(txn);
    test_assert_rc(pv_checkpoint(t.db, &t.err), PV_ERR_READONLY, &t.err);
    assert_int_equal(t_count(&t, NULL, "docs", NULL), 1);
    t_api_done(&t);
}

static void test_api_open__memory_database_ends_with_its_handle(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    pv_names *names = NULL;
    pv_db *a = NULL, *b = NULL;
    c.dims = 3;
    test_assert_ok(pv_open(":memory:", NULL, &a, &err), &err);
    test_assert_ok(pv_open(":memory:", NULL, &b, &err), &err);
    test_assert_ok(pv_collection_create(a, NULL, "docs", &c, &err), &err);
    test_assert_ok(pv_collection_list(b, NULL, &names, &err), &err);
    assert_int_equal(pv_names_count(names), 0);
    pv_names_free(names);
    test_assert_ok(pv_close(a, &err), &err);
    test_assert_ok(pv_close(b, &err), &err);
    test_assert_ok(pv_close(NULL, &err), &err);
}

/* ---- ends ---- */

static void test_api_open__results_outlive_everything(void **state) {
    (void)state;
    t_api t;
    t_heap heap;
    const float v[2] = {1.5f, -2.0f};
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv_results *found = NULL, *got = NULL;
    pv_names *names = NULL;
    pv_query q = t_query(v, 2, 0);
    t_heap_init(&heap);
    o.allocator = &heap.allocator;
    t_api_open(&t, &o);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_put2(&t, NULL, "docs", "a", 1.5f, -2.0f, "{\"n\": [1, 2]}");
    q.include = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    test_assert_ok(pv_search(t.db, NULL, "docs", &q, &found, &t.err), &t.err);
    test_assert_ok(pv_get(t.db, NULL, "docs", "a", &got, &t.err), &t.err);
    test_assert_ok(pv_collection_list(t.db, NULL, &names, &t.err), &t.err);
    t_put2(&t, NULL, "docs", "a", 9.0f, 9.0f, "{}");
    test_assert_ok(pv_collection_drop(t.db, NULL, "docs", &t.err), &t.err);
    t_api_shut(&t);
    assert_string_equal(pv_results_id(found, 0), "a");
    assert_true(pv_results_distance(found, 0) == 0.0f);
    assert_string_equal(pv_results_metadata(found, 0, NULL), "{\"n\":[1,2]}");
    assert_memory_equal(pv_results_vector(found, 0), v, sizeof(v));
    assert_string_equal(pv_results_metadata(got, 0, NULL), "{\"n\":[1,2]}");
    assert_string_equal(pv_names_get(names, 0), "docs");
    pv_results_free(found);
    pv_results_free(got);
    pv_names_free(names);
    assert_int_equal(heap.bytes, 0); /* the allocator too is used to the last byte given back */
    t_api_done(&t);
}

static void test_api_open__close_rolls_back_and_outlives_handles(void **state) {
    (void)state;
    t_api t;
    t_heap heap;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv_txn *write = NULL, *read = NULL;
    pv_iter *inside = NULL;
    pv_results *r = NULL;
    uint64_t n = 0;
    t_heap_init(&heap);
    o.allocator = &heap.allocator;
    t_api_open(&t, &o);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_put2(&t, NULL, "docs", "a", 1.0f, 2.0f, NULL);
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &write, &t.err), &t.err);
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_READ, &read, &t.err), &t.err);
    t_put2(&t, write, "docs", "b", 1.0f, 2.0f, NULL);
    test_assert_ok(pv_iter_open(t.db, write, "docs", NULL, &inside, &t.err), &t.err);
    assert_int_equal(pv_iter_next(inside, &t.err), 1);
    pv_db *db = t.db;
    t_api_shut(&t);
    /* The handles are still the caller's; all they say is closed. */
    test_assert_rc(pv_count(db, read, "docs", NULL, &n, &t.err), PV_ERR_CLOSED, &t.err);
    test_assert_rc(pv_get(db, write, "docs", "a", &r, &t.err), PV_ERR_CLOSED, &t.err);
    test_assert_rc(pv_iter_next(inside, &t.err), PV_ERR_CLOSED, &t.err);
    assert_null(pv_iter_id(inside));
    assert_int_equal(pv_txn_lsn(read), 0);
    test_assert_rc(pv_txn_commit(write, &n, &t.err), PV_ERR_CLOSED, &t.err);
    pv_iter_close(inside);
    pv_txn_rollback(read);
    assert_int_equal(heap.bytes, 0);
    t_api_reopen(&t, NULL);
    assert_true(t_has(&t, NULL, "docs", "a"));
    assert_false(t_has(&t, NULL, "docs", "b"));
    t_api_done(&t);
}

static void test_api_open__close_waits_for_the_last_iterator(void **state) {
    (void)state;
    t_api t;
    t_heap heap;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv_iter *first = NULL, *second = NULL;
    pv_iter_opts io = PV_ITER_OPTS_INIT;
    uint64_t n = 0;
    t_heap_init(&heap);
    o.allocator = &heap.allocator;
    t_api_open(&t, &o);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_put2(&t, NULL, "docs", "a", 1.0f, 2.0f, "{\"n\": 1}");
    t_put2(&t, NULL, "docs", "b", 3.0f, 4.0f, "{\"n\": 2}");
    io.include = PV_INCLUDE_METADATA;
    test_assert_ok(pv_iter_open(t.db, NULL, "docs", &io, &first, &t.err), &t.err);
    test_assert_ok(pv_iter_open(t.db, NULL, "docs", &io, &second, &t.err), &t.err);
    assert_int_equal(pv_iter_next(first, &t.err), 1);
    pv_db *db = t.db;
    t_api_shut(&t);
    test_assert_rc(pv_count(db, NULL, "docs", NULL, &n, &t.err), PV_ERR_CLOSED, &t.err);
    test_assert_rc(pv_close(db, &t.err), PV_ERR_CLOSED, &t.err);
    pv_iter_close(second);
    assert_string_equal(pv_iter_id(first), "a");
    assert_int_equal(pv_iter_next(first, &t.err), 1);
    assert_string_equal(pv_iter_metadata(first, NULL), "{\"n\":2}");
    assert_int_equal(pv_iter_next(first, &t.err), 0);
    assert_int_equal(pv_iter_next(first, &t.err), 0);
    pv_iter_close(first);
    assert_int_equal(heap.bytes, 0);
    t_api_reopen(&t, NULL);
    t_expect_sound(&t);
    t_api_done(&t);
}

static void test_api_open__stats_and_checkpoint(void **state) {
    (void)state;
    t_api t;
    pv_stats s = PV_STATS_INIT;
    struct {
        pv_stats s;
        uint64_t more;
    } newer = {PV_STATS_INIT, 7};
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    test_assert_ok(pv_checkpoint(t.db, &t.err), &t.err);
    test_assert_ok(pv_stats_get(t.db, &s, &t.err), &t.err);
    assert_true(s.lsn > 0 && s.durable_lsn == s.lsn && s.checkpoint_lsn == s.lsn);
    assert_true(s.file_bytes > 0 && s.pages > 0 && s.memory_bytes > 0);
    assert_true(s.memory_peak >= s.memory_bytes && s.commits >= 1);
    /* A larger structure of a newer header: what we do not know is zeroed. */
    newer.s.struct_size = sizeof(newer);
    test_assert_ok(pv_stats_get(t.db, &newer.s, &t.err), &t.err);
    assert_int_equal(newer.more, 0);
    assert_int_equal(newer.s.struct_size, sizeof(newer));
    /* A smaller one of an older header: nothing behind it is touched. */
    memset(&s, 0x55, sizeof(s));
    s.struct_size = offsetof(pv_stats, durable_lsn);
    test_assert_ok(pv_stats_get(t.db, &s, &t.err), &t.err);
    assert_true(s.lsn > 0);
    assert_int_equal(s.durable_lsn, UINT64_C(0x5555555555555555));
    s.struct_size = 0;
    test_assert_rc(pv_stats_get(t.db, &s, &t.err), PV_ERR_MISUSE, &t.err);
    test_assert_rc(pv_stats_get(t.db, NULL, &t.err), PV_ERR_MISUSE, &t.err);
    t_api_done(&t);
}

static void test_api_open__null_handles_are_misuse(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    uint64_t n = 0;
    pv_txn *txn = NULL;
    test_assert_rc(pv_count(NULL, NULL, "docs", NULL, &n, &err), PV_ERR_MISUSE, &err);
    test_assert_rc(pv_txn_begin(NULL, 0, &txn, &err), PV_ERR_MISUSE, &err);
    test_assert_rc(pv_txn_commit(NULL, NULL, &err), PV_ERR_MISUSE, &err);
    test_assert_rc(pv_checkpoint(NULL, NULL), PV_ERR_MISUSE, NULL);
    test_assert_rc(pv_check(NULL, 0, NULL, NULL, NULL, &err), PV_ERR_MISUSE, &err);
    test_assert_rc(pv_iter_next(NULL, &err), PV_ERR_MISUSE, &err);
    pv_txn_rollback(NULL);
    pv_iter_close(NULL);
    pv_results_free(NULL);
    pv_names_free(NULL);
    assert_int_equal(pv_results_count(NULL), 0);
    assert_null(pv_results_id(NULL, 0));
    assert_int_equal(pv_results_id_u64(NULL, 0), PV_ID_NONE);
    assert_true(isnan(pv_results_distance(NULL, 0)) && isnan(pv_results_score(NULL, 0)));
    assert_null(pv_results_metadata(NULL, 0, NULL));
    assert_null(pv_results_vector(NULL, 0));
    assert_null(pv_names_get(NULL, 0));
    assert_null(pv_iter_id(NULL));
    assert_int_equal(pv_txn_lsn(NULL), 0);
}

static void test_api_open__forked_child_may_only_let_go(void **state) {
    (void)state;
    t_api t;
    pv_txn *txn = NULL;
    pv_iter *iter = NULL;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_put2(&t, NULL, "docs", "a", 1.0f, 2.0f, NULL);
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &txn, &t.err), &t.err);
    test_assert_ok(pv_iter_open(t.db, NULL, "docs", NULL, &iter, &t.err), &t.err);
    t_put2(&t, txn, "docs", "b", 1.0f, 2.0f, NULL);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        uint64_t n = 0;
        int bad = 0;
        bad |= pv_count(t.db, NULL, "docs", NULL, &n, NULL) != PV_ERR_MISUSE;
        bad |= pv_iter_next(iter, NULL) != PV_ERR_MISUSE;
        bad |= pv_checkpoint(t.db, NULL) != PV_ERR_MISUSE;
        pv_iter_close(iter);
        pv_txn_rollback(txn);
        bad |= pv_close(t.db, NULL) != 0;
        _exit(bad);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    /* The parent goes on as if nothing had been. */
    test_assert_ok(pv_txn_commit(txn, NULL, &t.err), &t.err);
    assert_int_equal(pv_iter_next(iter, &t.err), 1);
    pv_iter_close(iter);
    assert_true(t_has(&t, NULL, "docs", "b"));
    t_expect_sound(&t);
    t_api_done(&t);
}

/* The same while the library's own threads wait and work: they do not exist in the child. */
static void test_api_open__forked_child_of_a_database_with_threads(void **state) {
    (void)state;
    enum { T_ROWS = 4000, T_DIMS = 256 };
    t_api t;
    pv_txn *txn = NULL;
    pv_write_opts async = PV_WRITE_OPTS_INIT;
    pv_batch b = PV_BATCH_INIT;
    float *vectors = calloc((size_t)T_ROWS * T_DIMS, sizeof(float));
    const float v2[2] = {1.0f, 2.0f};
    assert_non_null(vectors);
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_api_create(&t, "big", T_DIMS, PV_METRIC_L2, PV_KEY_U64);
    const pv_record a = t_record("a", v2, 2, NULL);
    async.sync = PV_SYNC_ASYNC;
    test_assert_ok(pv_insert(t.db, NULL, "docs", &a, 1, &async, &t.err), &t.err);
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &txn, &t.err), &t.err);
    b.count = T_ROWS;
    b.vectors = vectors;
    b.dims = T_DIMS;
    test_assert_ok(pv_insert_batch(t.db, txn, "big", &b, NULL, &t.err), &t.err);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(60); /* instead of waiting for ever */
        pv_txn_rollback(txn);
        _exit(pv_close(t.db, NULL) != 0);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    test_assert_ok(pv_txn_commit(txn, NULL, &t.err), &t.err);
    assert_int_equal(t_count(&t, NULL, "big", NULL), T_ROWS);
    t_expect_sound(&t);
    t_api_done(&t);
    free(vectors);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_open__versions_agree),
        cmocka_unit_test(test_api_open__struct_size_is_judged),
        cmocka_unit_test(test_api_open__unknown_options_are_unsupported),
        cmocka_unit_test(test_api_open__missing_file_is_made_or_not),
        cmocka_unit_test(test_api_open__foreign_file_is_left_alone),
        cmocka_unit_test(test_api_open__what_was_written_is_there_again),
        cmocka_unit_test(test_api_open__readonly_refuses_every_write),
        cmocka_unit_test(test_api_open__memory_database_ends_with_its_handle),
        cmocka_unit_test(test_api_open__results_outlive_everything),
        cmocka_unit_test(test_api_open__close_rolls_back_and_outlives_handles),
        cmocka_unit_test(test_api_open__close_waits_for_the_last_iterator),
        cmocka_unit_test(test_api_open__stats_and_checkpoint),
        cmocka_unit_test(test_api_open__null_handles_are_misuse),
        cmocka_unit_test(test_api_open__forked_child_may_only_let_go),
        cmocka_unit_test(test_api_open__forked_child_of_a_database_with_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
