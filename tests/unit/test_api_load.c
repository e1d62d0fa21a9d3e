/* SPDX-License-Identifier: Apache-2.0 */
/* test_api_load.c - large calls, whose vectors are put into pages before everything is checked: a
 * refusal says the same as in a transaction, where all is checked first, and leaves nothing; nor
 * does a call that lacks memory or disk. */
#include "sim/sim_vfs.h"
#include "unit/test_api_kit.h"

enum { T_ROWS = 3000, T_DIMS = 48, T_FEW = 400 };

static char t_names[T_ROWS][16], t_texts[T_ROWS][32];
static float t_vectors[T_ROWS][T_DIMS];
static pv_record t_rows[T_ROWS];

static void t_fill(char letter) {
    for (unsigned i = 0; i < T_ROWS; i++) {
        (void)snprintf(t_names[i], sizeof t_names[i], "%c-%05u", letter, i);
        (void)snprintf(t_texts[i], sizeof t_texts[i], "{\"n\":%u}", i);
        for (unsigned d = 0; d < T_DIMS; d++) {
            t_vectors[i][d] = (float)(i * 31 + d * 7 % 17);
        }
        t_rows[i] = t_record(t_names[i], t_vectors[i], T_DIMS, t_texts[i]);
    }
}

static void t_collection(t_api *t) {
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.dims = T_DIMS;
    c.metric = PV_METRIC_L2;
    c.index = PV_INDEX_FLAT; /* a graph would take all the time */
    test_assert_ok(pv_collection_create(t->db, NULL, "docs", &c, &t->err), &t->err);
}

/* ---- refusals ------------------------------------------------------------------------------ */

typedef enum t_wrong { T_NAN, T_JSON, T_MISSING, T_BAD_ID, T_TWIN, T_THERE, T_WRONGS } t_wrong;

static void t_spoil(t_wrong wrong, unsigned at) {
    static const float nan[T_DIMS] = {[7] = NAN};
    pv_record *r = &t_rows[at];
    switch (wrong) {
    case T_NAN:
        r->vector = nan;
        break;
    case T_JSON:
        r->metadata = "{\"n\":1,}";
        break;
    case T_MISSING:
        r->vector = NULL;
        break;
    case T_BAD_ID:
        r->id = "b\xff";
        break;
    case T_TWIN:
        r->id = t_names[at ? at - 1 : 1];
        break;
    default:
        r->id = "there";
        break;
    }
}

/* What is in use, and what was ever numbered. */
typedef struct t_use {
    uint64_t pages, commits, syncs, records;
} t_use;

static t_use t_use_of(t_api *t) {
    pv_stats s = PV_STATS_INIT;
    test_assert_ok(pv_stats_get(t->db, &s, &t->err), &t->err);
    return (t_use){s.pages, s.commits, s.log_syncs, t_count(t, NULL, "docs", NULL)};
}

/* One mistake, or two of which the earlier one counts. */
static void t_refuse(t_api *t, t_wrong wrong, unsigned at, bool second) {
    pv_txn *txn = NULL;
    pv_error alone = PV_ERROR_INIT, inside = PV_ERROR_INIT;
    const t_mark before = t_mark_of(t);
    const t_use use = t_use_of(t);
    t_spoil(wrong, at);
    if (second) {
        t_spoil((wrong + 1) % T_THERE, at + 700);
    }
    const int rc = pv_insert(t->db, NULL, "docs", t_rows, T_ROWS, NULL, &alone);
    t_expect_unchanged(t, before);
    const t_use now = t_use_of(t);
    assert_memory_equal(&now, &use, sizeof now);
    test_assert_ok(pv_txn_begin(t->db, PV_TXN_WRITE, &txn, &t->err), &t->err);
    test_assert_rc(pv_insert(t->db, txn, "docs", t_rows, T_ROWS, NULL, &inside), rc, &inside);
    pv_txn_rollback(txn);
    assert_int_not_equal(rc, 0);
    assert_string_equal(alone.message, inside.message);
    assert_int_equal(alone.code, inside.code);
    assert_int_equal(alone.record_index, inside.record_index);
    assert_int_equal(alone.offset, inside.offset);
    t_rows[at] = t_record(t_names[at], t_vectors[at], T_DIMS, t_texts[at]);
    if (second) {
        t_rows[at + 700] =
            t_record(t_names[at + 700], t_vectors[at + 700], T_DIMS, t_texts[at + 700]);
    }
}

static void test_api_load__a_refusal_tells_the_same_and_leaves_nothing(void **state) {
    (void)state;
    for (unsigned threads = 0; threads < 2; threads++) {
        pv_open_opts o = PV_OPEN_OPTS_INIT;
        t_api t;
        o.threads = threads;
        t_api_open(&t, &o);
        t_collection(&t);
        t_fill('a');
        const pv_record there = t_record("there", t_vectors[0], T_DIMS, NULL);
        t_put(&t, NULL, "docs", there);
        for (unsigned wrong = 0; wrong < T_WRONGS; wrong++) {
            const unsigned places[] = {0, 1300, T_ROWS - 1};
            for (unsigned k = 0; k < 3; k++) {
                t_refuse(&t, (t_wrong)wrong, places[k], false);
            }
            t_refuse(&t, (t_wrong)wrong, 1300, true);
        }
        test_assert_ok(pv_insert(t.db, NULL, "docs", t_rows, T_ROWS, NULL, &t.err), &t.err);
        assert_int_equal(t_count(&t, NULL, "docs", NULL), T_ROWS + 1);
        t_expect_sound(&t);
        t_api_done(&t);
    }
}

/* The space of calls that were refused is used again by others. */
static void test_api_load__refused_calls_do_not_grow_the_file(void **state) {
    (void)state;
    uint64_t bytes[2] = {0, 0};
    for (unsigned refused = 0; refused < 2; refused++) {
        pv_open_opts o = PV_OPEN_OPTS_INIT;
        pv_stats s = PV_STATS_INIT;
        t_api t;
        o.cache_bytes = 1; /* the least: pages are written while the call goes on */
        t_api_open(&t, &o);
        t_collection(&t);
        t_fill('a');
        for (unsigned i = 0; i < 20 * refused; i++) {
            t_rows[T_ROWS - 1].metadata = "{";
            test_assert_rc(pv_insert(t.db, NULL, "docs", t_rows, T_ROWS, NULL, &t.err),
                           PV_ERR_FORMAT, &t.err);
        }
        t_rows[T_ROWS - 1].metadata = NULL;
        test_assert_ok(pv_insert(t.db, NULL, "docs", t_rows, T_ROWS, NULL, &t.err), &t.err);
        test_assert_ok(pv_stats_get(t.db, &s, &t.err), &t.err);
        bytes[refused] = s.file_bytes;
        t_expect_sound(&t);
        t_api_done(&t);
    }
    assert_in_range(bytes[1], bytes[0], bytes[0] + bytes[0] / 2);
}

/* Not all are new: what is there is replaced, twins of one call count once. */
static void test_api_load__upserts_of_known_and_new(void **state) {
    (void)state;
    char id[24];
    t_api t;
    t_api_open(&t, NULL);
    t_collection(&t);
    t_fill('a');
    test_assert_ok(pv_upsert(t.db, NULL, "docs", t_rows, 1000, NULL, &t.err), &t.err);
    t_rows[50].metadata = "{\"n\":-1}";
    t_rows[2999].id = t_names[2000];
    t_rows[2999].metadata = "{\"n\":-2}";
    pv_error untouched = PV_ERROR_INIT;
    test_assert_ok(pv_upsert(t.db, NULL, "docs", t_rows, T_ROWS, NULL, &untouched), &untouched);
    assert_int_equal(untouched.code, 0);
    assert_int_equal(untouched.message[0], 0);
    assert_int_equal(t_count(&t, NULL, "docs", NULL), T_ROWS - 1);
    t_expect_metadata(&t, NULL, "docs", t_names[50], "{\"n\":-1}");
    t_expect_metadata(&t, NULL, "docs", t_names[2000], "{\"n\":-2}");
    (void)snprintf(id, sizeof id, "%s", t_names[2998]);
    t_expect_metadata(&t, NULL, "docs", id, "{\"n\":2998}");
    t_expect_sound(&t);
    t_api_done(&t);
}

/* ---- no memory, no disk -------------------------------------------------------------------- */

static void test_api_load__each_request_for_memory_may_fail(void **state) {
    (void)state;
    for (unsigned forever = 0; forever < 2; forever++) {
        pv_open_opts o = PV_OPEN_OPTS_INIT;
        t_heap heap;
        t_api t;
        t_heap_init(&heap);
        o.allocator = &heap.allocator;
        o.threads = 1;
        t_api_open(&t, &o);
        t_collection(&t);
        t_fill('a');
        for (uint64_t n = 1;; n++) {
            const t_mark before = t_mark_of(&t);
            pv_results *ids = NULL;
            pv_write_opts w = PV_WRITE_OPTS_INIT;
            w.out_ids = &ids;
            heap.calls = 0;
            heap.fail_on = forever;
            heap.fail_at = n;
            const int rc = pv_insert(t.db, NULL, "docs", t_rows, T_FEW, &w, &t.err);
            const bool reached = heap.calls >= n;
            heap.fail_at = 0;
            pv_results_free(ids);
            if (rc != 0) {
                test_assert_rc(rc, PV_ERR_NOMEM, &t.err);
                t_expect_unchanged(&t, before);
            } else if (reached) { /* what it was wanted for is only faster with it */
                test_assert_ok(pv_delete_where(t.db, NULL, "docs", "{}", NULL, &t.err), &t.err);
            } else {
                break;
            }
        }
        assert_int_equal(t_count(&t, NULL, "docs", NULL), T_FEW);
        t_expect_sound(&t);
        t_api_shut(&t);
        assert_int_equal(heap.bytes, 0);
        t_api_done(&t);
    }
}

static int t_sim_open(sim *disk, pv_db **out, pv_error *err) {
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    o.vfs = sim_vfs(disk);
    o.cache_bytes = 1;
    o.threads = 1;
    o.log_level = PV_LOG_ERROR;
    return pv_open("load.pv", &o, out, err);
}

/* Each write of a call that is going to be refused, and of one that is not, fails once. */
static void test_api_load__each_write_may_fail(void **state) {
    (void)state;
    t_fill('a');
    for (unsigned refused = 0; refused < 2; refused++) {
        for (uint64_t n = 1;; n++) {
            t_api t = {.err = PV_ERROR_INIT};
            const sim_fault fault = {n % 2 ? SIM_FAULT_FULL : SIM_FAULT_IO, SIM_WRITE,
                                     SIM_CLASS_ANY, n, false};
            uint64_t left = 0;
            sim *disk = sim_new(n);
            test_assert_ok(t_sim_open(disk, &t.db, &t.err), &t.err);
            t_collection(&t);
            const t_mark before = t_mark_of(&t);
            t_rows[T_ROWS - 1].metadata = refused ? "{" : "{}";
            sim_fault_set(disk, &fault);
            const int rc = pv_insert(t.db, NULL, "docs", t_rows, T_ROWS, NULL, &t.err);
            const bool hit = sim_fault_hits(disk) > 0;
            sim_fault_set(disk, NULL);
            assert_true(hit ? rc != PV_ERR_NOMEM : rc == (refused ? PV_ERR_FORMAT : 0));
            if (refused) { /* else the record may be on the disk, and is known at the next open */
                t_expect_unchanged(&t, before);
            }
            (void)pv_close(t.db, &t.err);
            test_assert_ok(t_sim_open(disk, &t.db, &t.err), &t.err);
            left = t_count(&t, NULL, "docs", NULL);
            assert_true(left == (rc == 0 ? T_ROWS : 0) || (left == T_ROWS && !refused));
            t_expect_sound(&t);
            test_assert_ok(pv_close(t.db, &t.err), &t.err);
            sim_free(disk);
            if (!hit) {
                break;
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_load__a_refusal_tells_the_same_and_leaves_nothing),
        cmocka_unit_test(test_api_load__refused_calls_do_not_grow_the_file),
        cmocka_unit_test(test_api_load__upserts_of_known_and_new),
        cmocka_unit_test(test_api_load__each_request_for_memory_may_fail),
        cmocka_unit_test(test_api_load__each_write_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
