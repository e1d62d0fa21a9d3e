/* SPDX-License-Identifier: Apache-2.0 */
/* test_api_write.c - insert and upsert, one by one and in batches: what they do, and that a call
 * which is refused leaves the database as it was, to the byte. */
#include "unit/test_api_kit.h"

static const float t_v2[2] = {1.0f, 2.0f};

/* ---- one record ---- */

static void test_api_write__insert_adds_and_never_replaces(void **state) {
    (void)state;
    t_api t;
    const pv_record r = t_record("a", t_v2, 2, "{\"n\": 1}");
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    test_assert_ok(pv_insert(t.db, NULL, "docs", &r, 1, NULL, &t.err), &t.err);
    const t_mark before = t_mark_of(&t);
    const pv_record again = t_record("a", t_v2, 2, "{\"n\": 2}");
    t_expect_error(pv_insert(t.db, NULL, "docs", &again, 1, NULL, &t.err), PV_ERR_EXISTS, &t.err,
                   "'a'");
    assert_int_equal(t.err.record_index, 0);
    t_expect_unchanged(&t, before);
    t_expect_metadata(&t, NULL, "docs", "a", "{\"n\":1}");
    t_expect_sound(&t);
    t_api_done(&t);
}

static void test_api_write__upsert_replaces_in_place(void **state) {
    (void)state;
    t_api t;
    pv_collection_info i = PV_COLLECTION_INFO_INIT;
    pv_results *r = NULL;
    const float other[2] = {-0.0f,
                            3.25e-41f}; /* a negative zero and a subnormal stay as they are */
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_COSINE, 0);
    t_put2(&t, NULL, "docs", "a", 1.0f, 2.0f, "{\"n\": 1}");
    t_put(&t, NULL, "docs", t_record("a", other, 2, NULL));
    test_assert_ok(pv_collection_info_get(t.db, NULL, "docs", &i, &t.err), &t.err);
    assert_int_equal(i.count, 1);
    assert_int_equal(i.slots, 1);
    test_assert_ok(pv_get(t.db, NULL, "docs", "a", &r, &t.err), &t.err);
    assert_memory_equal(pv_results_vector(r, 0), other, sizeof(other));
    assert_string_equal(pv_results_metadata(r, 0, NULL), "{}");
    assert_int_equal(pv_results_dims(r), 2);
    assert_int_equal(pv_results_type(r), PV_TYPE_F32);
    pv_results_free(r);
    t_expect_sound(&t);
    t_api_done(&t);
}

static void test_api_write__metadata_comes_back_equal(void **state) {
    (void)state;
    t_api t;
    char *big = malloc(PV_LIMIT_METADATA_BYTES + 64);
    assert_non_null(big);
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_put2(&t, NULL, "docs", "a", 1, 2,
           " { \"z\" : [1, 2.5, -9223372036854775808, true, null, \"\\u00fc\\n\"], \"a\":{} } ");
    t_expect_metadata(&t, NULL, "docs", "a",
                      "{\"a\":{},\"z\":[1,2.5,-9223372036854775808,true,null,\"\xc3\xbc\\n\"]}");
    /* The longest that is allowed, and one byte more. */
    const int head = snprintf(big, 32, "{\"text\":\"");
    memset(big + head, 'y', PV_LIMIT_METADATA_BYTES);
    memcpy(big + PV_LIMIT_METADATA_BYTES - 2, "\"}", 3);
    pv_record r = t_record("big", t_v2, 2, big);
    test_assert_ok(pv_upsert(t.db, NULL, "docs", &r, 1, NULL, &t.err), &t.err);
    t_expect_metadata(&t, NULL, "docs", "big", big);
    memcpy(big + PV_LIMIT_METADATA_BYTES - 2, "y\"}", 4);
    const t_mark before = t_mark_of(&t);
    test_assert_rc(pv_upsert(t.db, NULL, "docs", &r, 1, NULL, &t.err), PV_ERR_LIMIT, &t.err);
    t_expect_unchanged(&t, before);
    t_expect_sound(&t);
    free(big);
    t_api_done(&t);
}

/* ---- refusals ---- */

typedef struct t_refusal {
    int code;
    pv_record record;
    const char *words;
} t_refusal;

static void test_api_write__refused_records_leave_no_trace(void **state) {
    (void)state;
    t_api t;
    const float nan2[2] = {1.0f, NAN}, inf2[2] = {-INFINITY, 0.0f};
    const float many[3] = {1, 2, 3};
    char long_id[PV_LIMIT_ID_BYTES + 2];
    memset(long_id, 'i', sizeof(long_id));
    long_id[sizeof(long_id) - 1] = 0;
    t_refusal cases[] = {
        {PV_ERR_DIMS, t_record("b", many, 3, NULL), "3 dimensions"},
        {PV_ERR_DIMS, t_record("b", many, 1, NULL), "wants 2"},
        {PV_ERR_DIMS, t_record("b", many, 0, NULL), "0 dimensions"},
        {PV_ERR_DIMS, t_record("b", t_v2, 2, NULL), "f16"},
        {PV_ERR_UNSUPPORTED, t_record("b", t_v2, 2, NULL), "type"},
        {PV_ERR_MISUSE, t_record("b", NULL, 2, NULL), "missing"},
        {PV_ERR_MISUSE, t_record("b", nan2, 2, NULL), "position 1"},
        {PV_ERR_MISUSE, t_record("b", inf2, 2, NULL), "position 0"},
        {PV_ERR_MISUSE, t_record("", t_v2, 2, NULL), "empty"},
        {PV_ERR_MISUSE, t_record("b\xff", t_v2, 2, NULL), "UTF-8"},
        {PV_ERR_MISUSE, t_record("a\0b", t_v2, 2, NULL), "NUL"},
        {PV_ERR_LIMIT, t_record(long_id, t_v2, 2, NULL), "513"},
        {PV_ERR_MISUSE, t_record_u64(5, t_v2, 2, NULL), "number"},
        {PV_ERR_FORMAT, t_record("b", t_v2, 2, "{\"a\": }"), "metadata"},
        {PV_ERR_FORMAT, t_record("b", t_v2, 2, "[1]"), "metadata"},
        {PV_ERR_FORMAT, t_record("b", t_v2, 2, ""), "metadata"},
        {PV_ERR_FORMAT, t_record("b", t_v2, 2, "{\"a\":1,\"a\":2}"), "metadata"},
        {PV_ERR_UNSUPPORTED, t_record("b", t_v2, 2, NULL), "reserved"},
        {PV_ERR_MISUSE, t_record("b", t_v2, 2, NULL), "struct_size"},
    };
    cases[3].record.type = PV_TYPE_F16;
    cases[4].record.type = 42;
    cases[10].record.id_len = 3;
    cases[17].record.reserved0 = 1;
    cases[18].record.struct_size = 0;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_put2(&t, NULL, "docs", "a", 1, 2, NULL);
    const t_mark before = t_mark_of(&t);
    for (size_t i = 0; i < PV_COUNTOF(cases); i++) {
        const t_refusal *c = &cases[i];
        for (int call = 0; call < 3; call++) {
            int rc = call == 0          ? pv_insert(t.db, NULL, "docs", &c->record, 1, NULL, &t.err)
                     : call == 1        ? pv_upsert(t.db, NULL, "docs", &c->record, 1, NULL, &t.err)
                     : c->record.vector ? pv_update(t.db, NULL, "docs", &c->record, 1, NULL, &t.err)
                                        : c->code;
            t_expect_error(rc, c->code, &t.err, c->words);
        }
    }
    t_expect_unchanged(&t, before);
    /* Nor does the next open find anything: the log says nothing of it either. */
    t_api_shut(&t);
    t_api_reopen(&t, NULL);
    assert_int_equal(t_count(&t, NULL, "docs", NULL), 1);
    assert_int_equal(t_mark_of(&t).checksum, before.checksum);
    t_expect_sound(&t);
    t_api_done(&t);
}

static void test_api_write__bad_json_is_named_by_byte(void **state) {
    (void)state;
    t_api t;
    const pv_record r[2] = {t_record("a", t_v2, 2, "{}"), t_record("b", t_v2, 2, "{\"a\": x}")};
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_expect_error(pv_insert(t.db, NULL, "docs", r, 2, NULL, &t.err), PV_ERR_FORMAT, &t.err,
                   "record 1");
    assert_int_equal(t.err.record_index, 1);
    assert_int_equal(t.err.offset, 6);
    t_api_done(&t);
}

/* ---- many records ---- */

static void test_api_write__batch_is_all_or_nothing(void **state) {
    (void)state;
    enum { N = 2000 };
    t_api t;
    static float vectors[N][2];
    static char ids[N][16];
    static const char *id_list[N];
    pv_batch b = PV_BATCH_INIT;
    pv_txn *txn = NULL;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    t_put2(&t, NULL, "docs", "id5", 1, 2, "{\"old\":true}");
    for (size_t i = 0; i < N; i++) {
        vectors[i][0] = (float)i;
        vectors[i][1] = 1.0f;
        snprintf(ids[i], sizeof(ids[i]), "id%zu", i);
        id_list[i] = ids[i];
    }
    b.count = N;
    b.vectors = vectors;
    b.dims = 2;
    b.ids = id_list;
    const t_mark before = t_mark_of(&t);
    vectors[N - 2][1] = INFINITY;
    test_assert_rc(pv_upsert_batch(t.db, NULL, "docs", &b, NULL, &t.err), PV_ERR_MISUSE, &t.err);
    assert_int_equal(t.err.record_index, N - 2);
    t_expect_unchanged(&t, before);
    /* Inside a transaction too; and the transaction goes on. */
    test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE, &txn, &t.err), &t.err);
    t_put2(&t, txn, "docs", "before", 1, 2, NULL);
    test_assert_rc(pv_upsert_batch(t.db, txn, "docs", &b, NULL, &t.err), PV_ERR_MISUSE, &t.err);
    vectors[N - 2][1] = 1.0f;
    test_assert_rc(pv_insert_batch(t.db, txn, "docs", &b, NULL, &t.err), PV_ERR_EXISTS, &t.err);
    assert_int_equal(t.err.record_index, 5);
    assert_int_equal(t_count(&t, txn, "docs", NULL), 2);
    t_put2(&t, txn, "docs", "after", 1, 2, NULL);
    test_assert_ok(pv_txn_commit(txn, NULL, &t.err), &t.err);
    assert_int_equal(t_count(&t, NULL, "docs", NULL), 3);
    test_assert_ok(pv_upsert_batch(t.db, NULL, "docs", &b, NULL, &t.err), &t.err);
    assert_int_equal(t_count(&t, NULL, "docs", NULL), N + 2);
    t_expect_metadata(&t, NULL, "docs", "id5", "{}");
    t_expect_sound(&t);
    t_api_done(&t);
}

/* Ids in ascending order among some that are there: each of those is met, wherever it is. */
static void test_api_write__ascending_ids_meet_those_that_exist(void **state) {
    (void)state;
    enum { N = 90 };
    for (unsigned step = 1; step < 40; step += 3) {
        t_api t;
        float vectors[N][2] = {{0, 0}};
        char ids[N][16];
        const char *id_list[N];
        pv_batch b = PV_BATCH_INIT;
        const unsigned from = step % 7;
        unsigned there = 0;
        t_api_open(&t, NULL);
        t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
        for (unsigned i = 0; i < N; i++) {
            snprintf(ids[i], sizeof(ids[i]), "id%03u", i);
            id_list[i] = ids[i];
            vectors[i][0] = (float)i;
            if (i >= from && (i - from) % step == 0) {
                t_put2(&t, NULL, "docs", ids[i], 1, 2, "{\"old\":true}");
                there++;
            }
        }
        b.vectors = vectors;
        b.dims = 2;
        b.ids = id_list;
        for (unsigned first = 0; first < N; first += 29) { /* insert: the first is named */
            const pv_batch was = b;
            const unsigned next =
                first <= from ? from : from + (first - from + step - 1) / step * step;
            b.count = N - first;
            b.ids = id_list + first;
            if (next < N) {
                test_assert_rc(pv_insert_batch(t.db, NULL, "docs", &b, NULL, &t.err), PV_ERR_EXISTS,
                               &t.err);
                assert_int_equal(t.err.record_index, next - first);
            }
            b = was;
        }
        b.count = N;
        assert_int_equal(t_count(&t, NULL, "docs", NULL), there);
        test_assert_ok(pv_upsert_batch(t.db, NULL, "docs", &b, NULL, &t.err), &t.err);
        assert_int_equal(t_count(&t, NULL, "docs", NULL), N);
        assert_int_equal(t_count(&t, NULL, "docs", "{\"old\":true}"), 0);
        t_expect_sound(&t);
        t_api_done(&t);
    }
}

static void test_api_write__columns_come_in_every_shape(void **state) {
    (void)state;
    t_api t;
    const struct {
        float v[2];
        int32_t other;
    } rows[3] = {{{1, 2}, 0}, {{3, 4}, 0}, {{5, 6}, 0}};
    const char *const metadata[3] = {"{\"n\":0}", NULL, "{\"n\":2}XX"};
    const size_t metadata_lens[3] = {0, 0, 7};
    const uint64_t id_offsets[4] = {0, 1, 3, 6}, metadata_offsets[4] = {0, 7, 7, 14};
    pv_batch b = PV_BATCH_INIT;
    pv_results *r = NULL;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    b.count = 3;
    b.vectors = rows;
    b.vector_stride = sizeof(rows[0]);
    b.dims = 2;
    b.id_data = "abbccc";
    b.id_offsets = id_offsets;
    b.metadata = metadata;
    b.metadata_lens = metadata_lens;
    test_assert_ok(pv_insert_batch(t.db, NULL, "docs", &b, NULL, &t.err), &t.err);
    t_expect_metadata(&t, NULL, "docs", "a", "{\"n\":0}");
    t_expect_metadata(&t, NULL, "docs", "bb", "{}");
    t_expect_metadata(&t, NULL, "docs", "ccc", "{\"n\":2}");
    test_assert_ok(pv_get(t.db, NULL, "docs", "ccc", &r, &t.err), &t.err);
    assert_memory_equal(pv_results_vector(r, 0), rows[2].v, sizeof(rows[2].v));
    pv_results_free(r);
    b.metadata = NULL;
    b.metadata_lens = NULL;
    b.metadata_data = "{\"n\":5}{\"n\":6}";
    b.metadata_offsets = metadata_offsets;
    test_assert_ok(pv_upsert_batch(t.db, NULL, "docs", &b, NULL, &t.err), &t.err);
    t_expect_metadata(&t, NULL, "docs", "a", "{\"n\":5}");
    t_expect_metadata(&t, NULL, "docs", "bb", "{}");
    t_expect_metadata(&t, NULL, "docs", "ccc", "{\"n\":6}");
    /* Mistakes of shape. */
    const uint64_t back[4] = {0, 3, 2, 6};
    const t_mark before = t_mark_of(&t);
    b.id_offsets = back;
    t_expect_error(pv_upsert_batch(t.db, NULL, "docs", &b, NULL, &t.err), PV_ERR_MISUSE, &t.err,
                   "offsets");
    b.id_offsets = NULL;
    test_assert_rc(pv_upsert_batch(t.db, NULL, "docs", &b, NULL, &t.err), PV_ERR_MISUSE, &t.err);
    b.id_offsets = id_offsets;
    b.ids = metadata;
    test_assert_rc(pv_upsert_batch(t.db, NULL, "docs", &b, NULL, &t.err), PV_ERR_MISUSE, &t.err);
    b.ids = NULL;
    b.vector_stride = 4;
    test_assert_rc(pv_upsert_batch(t.db, NULL, "docs", &b, NULL, &t.err), PV_ERR_MISUSE, &t.err);
    b.vector_stride = 0;
    b.count = (size_t)PV_LIMIT_BATCH_RECORDS + 1;
    test_assert_rc(pv_upsert_batch(t.db, NULL, "docs", &b, NULL, &t.err), PV_ERR_LIMIT, &t.err);
    test_assert_rc(pv_upsert_batch(t.db, NULL, "docs", NULL, NULL, &t.err), PV_ERR_MISUSE, &t.err);
    b.count = 0;
    test_assert_ok(pv_upsert_batch(t.db, NULL, "docs", &b, NULL, &t.err), &t.err);
    t_expect_unchanged(&t, before);
    t_api_done(&t);
}

static void test_api_write__records_have_a_stride(void **state) {
    (void)state;
    t_api t;
    struct {
        pv_record r;
        uint64_t mine;
    } wide[2] = {{t_record("a", t_v2, 2, NULL), 7}, {t_record("b", t_v2, 2, NULL), 8}};
    const pv_record tight[2] = {t_record("c", t_v2, 2, NULL), t_record("d", t_v2, 2, NULL)};
    pv_write_opts w = PV_WRITE_OPTS_INIT;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    w.record_stride = sizeof(wide[0]);
    test_assert_ok(pv_insert(t.db, NULL, "docs", &wide[0].r, 2, &w, &t.err), &t.err);
    test_assert_ok(pv_insert(t.db, NULL, "docs", tight, 2, NULL, &t.err), &t.err);
    assert_int_equal(t_count(&t, NULL, "docs", NULL), 4);
    w.record_stride = 8;
    test_assert_rc(pv_insert(t.db, NULL, "docs", tight, 2, &w, &t.err), PV_ERR_MISUSE, &t.err);
    test_assert_rc(pv_insert(t.db, NULL, "docs", NULL, 1, NULL, &t.err), PV_ERR_MISUSE, &t.err);
    test_assert_ok(pv_insert(t.db, NULL, "docs", NULL, 0, NULL, &t.err), &t.err);
    t_api_done(&t);
}

static void test_api_write__twins_of_one_call(void **state) {
    (void)state;
    t_api t;
    const pv_record r[4] = {
        t_record("a", t_v2, 2, "{\"n\":1}"), t_record("b", t_v2, 2, "{\"n\":2}"),
        t_record("a", t_v2, 2, "{\"n\":3}"), t_record("a", t_v2, 2, "{\"n\":4}")};
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    const t_mark before = t_mark_of(&t);
    t_expect_error(pv_insert(t.db, NULL, "docs", r, 4, NULL, &t.err), PV_ERR_EXISTS, &t.err,
                   "twice");
    assert_int_equal(t.err.record_index, 2);
    t_expect_unchanged(&t, before);
    test_assert_ok(pv_upsert(t.db, NULL, "docs", r, 4, NULL, &t.err), &t.err);
    t_expect_metadata(&t, NULL, "docs", "a", "{\"n\":4}");
    t_expect_metadata(&t, NULL, "docs", "b", "{\"n\":2}");
    assert_int_equal(t_count(&t, NULL, "docs", NULL), 2);
    t_expect_sound(&t);
    t_api_done(&t);
}

/* Large calls are checked by two threads and written by two: the first mistake is told, whoever
 * finds one, and everything is where it belongs, however the ids come and whatever lay there. */
static void test_api_write__large_batches(void **state) {
    (void)state;
    enum { T_ROWS = 9000, T_DIMS = 64 };
    static char ids[T_ROWS][16], meta[T_ROWS][48];
    static float vectors[T_ROWS][T_DIMS];
    static pv_record r[T_ROWS];
    for (unsigned threads = 0; threads < 2; threads++) {
        pv_open_opts o = PV_OPEN_OPTS_INIT;
        pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
        t_api t;
        o.threads = threads;
        t_api_open(&t, &o);
        c.dims = T_DIMS;
        c.metric = PV_METRIC_L2;
        c.index = PV_INDEX_FLAT; /* a graph would take all the time */
        test_assert_ok(pv_collection_create(t.db, NULL, "docs", &c, &t.err), &t.err);
        for (unsigned order = 0; order < 3; order++) {
            for (unsigned i = 0; i < T_ROWS; i++) {
                const unsigned n = order == 0 ? i : i * 7919u % T_ROWS;
                (void)snprintf(ids[i], sizeof ids[i], "%c-%05u", order == 2 ? 'b' : 'a', n);
                (void)snprintf(meta[i], sizeof meta[i], "{\"n\":%u,\"of\":%u}", n, order);
                vectors[i][0] = (float)n;
                vectors[i][T_DIMS - 1] = (float)order;
                r[i] = t_record(ids[i], vectors[i], T_DIMS, meta[i]);
            }
            /* One mistake in each half: the earlier one counts. */
            r[8000].metadata = "{\"x\":}";
            t.err.record_index = 0;
            test_assert_rc(pv_upsert(t.db, NULL, "docs", r, T_ROWS, NULL, &t.err), PV_ERR_FORMAT,
                           &t.err);
            assert_int_equal(t.err.record_index, 8000);
            assert_int_equal(t.err.offset, 5);
            assert_non_null(strstr(t.err.message, "record 8000: metadata"));
            r[20].dims = 3;
            test_assert_rc(pv_upsert(t.db, NULL, "docs", r, T_ROWS, NULL, &t.err), PV_ERR_DIMS,
                           &t.err);
            assert_int_equal(t.err.record_index, 20);
            r[20].dims = T_DIMS;
            r[8000].metadata = meta[8000];
            test_assert_ok(pv_upsert(t.db, NULL, "docs", r, T_ROWS, NULL, &t.err), &t.err);
            assert_int_equal(t_count(&t, NULL, "docs", NULL), order == 2 ? 2 * T_ROWS : T_ROWS);
            for (unsigned i = 0; i < T_ROWS; i += 37) {
                t_expect_metadata(&t, NULL, "docs", ids[i], meta[i]);
            }
        }
        for (unsigned i = 0; i < T_ROWS; i += 2) { /* slots here and there */
            test_assert_ok(pv_delete(t.db, NULL, "docs", ids[i], &t.err), &t.err);
            if (i == 400) {
                break;
            }
        }
        test_assert_ok(pv_upsert(t.db, NULL, "docs", r, T_ROWS, NULL, &t.err), &t.err);
        t_expect_sound(&t);
        t_api_shut(&t);
        t_api_reopen(&t, &o);
        assert_int_equal(t_count(&t, NULL, "docs", "{\"of\":2}"), T_ROWS);
        t_expect_sound(&t);
        t_api_done(&t);
    }
}

/* ---- ids ---- */

static void test_api_write__left_out_ids_are_made(void **state) {
    (void)state;
    t_api t;
    pv_record r[3] = {t_record(NULL, t_v2, 2, NULL), t_record("mine", t_v2, 2, NULL),
                      t_record(NULL, t_v2, 2, NULL)};
    pv_write_opts w = PV_WRITE_OPTS_INIT;
    pv_results *ids = NULL;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, 0);
    w.out_ids = &ids;
    test_assert_ok(pv_insert(t.db, NULL, "docs", r, 3, &w, &t.err), &t.err);
    assert_int_equal(pv_results_count(ids), 3);
    assert_string_equal(pv_results_id(ids, 1), "mine");
    for (size_t i = 0; i < 3; i += 2) {
        const char *id = pv_results_id(ids, i);
        assert_int_equal(strlen(id), 36);
        assert_int_equal(id[14], '7'); /* version */
        assert_non_null(strchr("89ab", id[19]));
        assert_true(t_has(&t, NULL, "docs", id));
    }
    assert_true(strcmp(pv_results_id(ids, 0), pv_results_id(ids, 2)) < 0); /* in order */
    pv_results_free(ids);
    /* A failed call hands out nothing. */
    r[1] = t_record("mine", t_v2, 2, NULL);
    test_assert_rc(pv_insert(t.db, NULL, "docs", r, 3, &w, &t.err), PV_ERR_EXISTS, &t.err);
    assert_null(ids);
    uint64_t numbers[3] = {1, 2, 3};
    w.out_ids = NULL;
    w.out_ids_u64 = numbers;
    test_assert_rc(pv_upsert(t.db, NULL, "docs", r, 3, &w, &t.err), PV_ERR_MISUSE, &t.err);
    assert_int_equal(numbers[0], 1);
    t_api_done(&t);
}

static void test_api_write__numbers_count_on(void **state) {
    (void)state;
    t_api t;
    pv_record r[4] = {t_record_u64(PV_ID_NONE, t_v2, 2, NULL), t_record_u64(0, t_v2, 2, NULL),
                      t_record_u64(40, t_v2, 2, NULL), t_record_u64(PV_ID_NONE, t_v2, 2, NULL)};
    uint64_t ids[4] = {0};
    pv_write_opts w = PV_WRITE_OPTS_INIT;
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 2, PV_METRIC_L2, PV_KEY_U64);
    w.out_ids_u64 = ids;
    test_assert_ok(pv_insert(t.db, NULL, "docs", r, 4, &w, &t.err), &t.err);
    assert_int_equal(ids[0], 41); /* above all that the call names */
    assert_int_equal(ids[1], 0);
    assert_int_equal(ids[2], 40);
    assert_int_equal(ids[3], 42);
    test_assert_ok(pv_delete_u64(t.db, NULL, "docs", 42, &t.err), &t.err);
    test_assert_ok(pv_insert(t.db, NULL, "docs", r, 1, &w, &t.err), &t.err);
    assert_int_equal(ids[0], 43); /* a number is not given twice */
    t_api_shut(&t);
    t_api_reopen(&t, NULL);
    test_assert_ok(pv_insert(t.db, NULL, "docs", r, 1, &w, &t.err), &t.err);
    assert_int_equal(ids[0], 44);
    /* The end of the numbers. */
    const t_mark before = t_mark_of(&t);
    r[0].id = "text";
    test_assert_rc(pv_insert(t.db, NULL, "docs", r, 1, &w, &t.err), PV_ERR_MISUSE, &t.err);
    t_expect_unchanged(&t, before);
    r[0].id = NULL;
    t_put(&t, NULL, "docs", t_record_u64(UINT64_MAX - 1, t_v2, 2, NULL));
    test_assert_rc(pv_insert(t.db, NULL, "docs", r, 1, &w, &t.err), PV_ERR_LIMIT, &t.err);
    pv_results *res = NULL;
    test_assert_ok(pv_get_u64(t.db, NULL, "docs", UINT64_MAX - 1, &res, &t.err), &t.err);
    assert_int_equal(pv_results_id_u64(res, 0), UINT64_MAX - 1);
    assert_null(pv_results_id(res, 0));
    pv_results_free(res);
    test_assert_rc(pv_get(t.db, NULL, "docs", "a", &res, &t.err), PV_ERR_MISUSE, &t.err);
    test_assert_rc(pv_delete(t.db, NULL, "docs", "a", &t.err), PV_ERR_MISUSE, &t.err);
    t_expect_sound(&t);
    t_api_done(&t);
}

/* ---- a long random history against a table ---- */

enum { T_ROWS = 120 };

typedef struct t_row {
    bool there;
    float v[3];
    int n;
} t_row;

static void t_expect_rows(t_api *t, pv_txn *txn, const t_row *rows) {
    pv_results *r = NULL;
    const char *list[T_ROWS];
    static char ids[T_ROWS][16];
    char text[32];
    uint64_t count = 0;
    for (int i = 0; i < T_ROWS; i++) {
        snprintf(ids[i], sizeof(ids[i]), "k%d", i);
        list[i] = ids[i];
        count += rows[i].there ? 1 : 0;
    }
    pv_ids q = PV_IDS_INIT;
    q.count = T_ROWS;
    q.ids = list;
    test_assert_ok(
        pv_get_many(t->db, txn, "docs", &q, PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR, &r, &t->err),
        &t->err);
    for (size_t i = 0; i < T_ROWS; i++) {
        assert_int_equal(pv_results_found(r, i), rows[i].there);
        if (rows[i].there) {
            snprintf(text, sizeof(text), "{\"n\":%d}", rows[i].n);
            assert_string_equal(pv_results_metadata(r, i, NULL), text);
            assert_memory_equal(pv_results_vector(r, i), rows[i].v, sizeof(rows[i].v));
        }
    }
    pv_results_free(r);
    assert_int_equal(t_count(t, txn, "docs", NULL), count);
}

static void test_api_write__random_history_agrees_with_a_table(void **state) {
    (void)state;
    t_api t;
    test_rng rng;
    t_row rows[T_ROWS] = {{0}}, kept[T_ROWS];
    char id[16], text[32];
    test_rng_init(&rng, test_seed());
    t_api_open(&t, NULL);
    t_api_create(&t, "docs", 3, PV_METRIC_L2, 0);
    for (int step = 0; step < 400; step++) {
        pv_txn *txn = NULL;
        memcpy(kept, rows, sizeof(rows));
        test_assert_ok(pv_txn_begin(t.db, PV_TXN_WRITE | PV_TXN_SYNC_ASYNC, &txn, &t.err), &t.err);
        const uint64_t writes = 1 + test_rng_below(&rng, 8);
        for (uint64_t w = 0; w < writes; w++) {
            t_row *row = &rows[test_rng_below(&rng, T_ROWS)];
            snprintf(id, sizeof(id), "k%u", (unsigned)(row - rows) % T_ROWS);
            if (test_rng_below(&rng, 3) == 0) {
                const int rc = pv_delete(t.db, txn, "docs", id, &t.err);
                test_assert_rc(rc, row->there ? 0 : PV_ERR_NOTFOUND, &t.err);
                row->there = false;
            } else {
                row->there = true;
                row->n = step * 100 + (int)w;
                for (int d = 0; d < 3; d++) {
                    row->v[d] = test_rng_gauss(&rng);
                }
                snprintf(text, sizeof(text), "{\"n\":%d}", row->n);
                t_put(&t, txn, "docs", t_record(id, row->v, 3, text));
            }
        }
        if (test_rng_below(&rng, 5) == 0) {
            pv_txn_rollback(txn);
            memcpy(rows, kept, sizeof(rows));
        } else {
            test_assert_ok(pv_txn_commit(txn, NULL, &t.err), &t.err);
        }
        if (step % 40 == 0) {
            t_expect_rows(&t, NULL, rows);
            t_expect_sound(&t);
        }
        if (step % 100 == 99) {
            t_api_shut(&t);
            t_api_reopen(&t, NULL);
        }
    }
    t_expect_rows(&t, NULL, rows);
    t_expect_sound(&t);
    t_api_done(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_write__insert_adds_and_never_replaces),
        cmocka_unit_test(test_api_write__upsert_replaces_in_place),
        cmocka_unit_test(test_api_write__metadata_comes_back_equal),
        cmocka_unit_test(test_api_write__refused_records_leave_no_trace),
        cmocka_unit_test(test_api_write__bad_json_is_named_by_byte),
        cmocka_unit_test(test_api_write__batch_is_all_or_nothing),
        cmocka_unit_test(test_api_write__ascending_ids_meet_those_that_exist),
        cmocka_unit_test(test_api_write__columns_come_in_every_shape),
        cmocka_unit_test(test_api_write__records_have_a_stride),
        cmocka_unit_test(test_api_write__twins_of_one_call),
        cmocka_unit_test(test_api_write__large_batches),
        cmocka_unit_test(test_api_write__left_out_ids_are_made),
        cmocka_unit_test(test_api_write__numbers_count_on),
        cmocka_unit_test(test_api_write__random_history_agrees_with_a_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
