/* SPDX-License-Identifier: Apache-2.0 */
/* test_engine_exact.c - exact search by the codes of an index gives, bit for bit, what the scan of
 * the vectors gives: the same records lie in two collections, with an index and without one. With
 * ties and equal vectors, values that no code tells apart, deletes, changes and a tail, filters,
 * ranges, threads, many queries at once, inside of transactions, on damaged pages, and when memory
 * fails or the caller has enough. */
#include "engine/db.h"
#include "engine/parts.h"
#include "store/format.h"
#include "store/internal.h"
#include "test_api_kit.h"

enum { T_DIMS_MAX = 300, T_ROWS = 5000, T_QUERIES = 9 };

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { T_STRIDE = 3 }; /* of what is tried, so much less */
#else
enum { T_STRIDE = 1 };
#endif

enum { T_NORMAL, T_TIES, T_FAR, T_SCALES, T_HEAVY, T_KINDS };

typedef struct t_set {
    t_api t;
    test_rng rng;
    uint32_t dims, type, metric;
    int kind;
    pv_open_opts opts;
    uint64_t by_codes; /* answers */
} t_set;

static uint8_t t_queries[T_QUERIES][T_DIMS_MAX * 4];

static double t_value(t_set *s, size_t row, size_t i) {
    static const double scale[] = {1e-42, 1e-30, 1e-3, 1, 1, 1e10, 1e25};
    const double g = (double)test_rng_gauss(&s->rng);
    switch (s->kind) {
    case T_TIES:
        return i < 6 ? (double)test_rng_below(&s->rng, 2) : 0;
    case T_FAR:
        return 300 + g * 0.01;
    case T_SCALES:
        return g * scale[row % PV_COUNTOF(scale)];
    case T_HEAVY:
        return i % 50 == row % 3 ? g * g * g * 20 : g;
    default:
        return g;
    }
}

static size_t t_bytes(const t_set *s) { return s->dims * (s->type == PV_TYPE_F16 ? 2u : 4u); }

static void t_make(t_set *s, size_t row, uint8_t *out) {
    for (uint32_t i = 0; i < s->dims; i++) {
        const float f = (float)t_value(s, row, i);
        if (s->type == PV_TYPE_F16) { /* cut: it need not be the nearest */
            int exponent = 0;
            const double m = frexp(fabs((double)f), &exponent);
            uint16_t h = f < 0 ? 0x8000 : 0;
            if (exponent > -13 && exponent < 16) {
                h |= (uint16_t)((exponent + 14) << 10 | ((int)(m * 2048) & 1023));
            }
            memcpy(out + 2 * (size_t)i, &h, 2);
        } else {
            memcpy(out + 4 * (size_t)i, &f, 4);
        }
    }
}

/* ---- two collections ---- */

static void t_put_both(t_set *s, pv_txn *txn, uint64_t from, size_t count) {
    static uint8_t vectors[T_ROWS * T_DIMS_MAX * 4];
    static uint64_t ids[T_ROWS], offsets[T_ROWS + 1];
    static char meta[T_ROWS * 16];
    static const char *const names[] = {"flat", "coded"};
    pv_batch b = PV_BATCH_INIT;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        t_make(s, i, vectors + i * t_bytes(s));
        if (i % 9 == 8) { /* equal vectors */
            memcpy(vectors + i * t_bytes(s), vectors + i / 90 * t_bytes(s), t_bytes(s));
        }
        ids[i] = from + i * 7919 % count; /* not in the order of slots */
        at += (size_t)snprintf(meta + at, 16, "{\"n\":%d}", (int)(i % 50));
        offsets[i + 1] = at;
    }
    b.count = count;
    b.dims = s->dims;
    b.type = s->type;
    b.ids_u64 = ids;
    b.vectors = vectors;
    b.metadata_data = meta;
    b.metadata_offsets = offsets;
    for (size_t c = 0; c < 2; c++) {
        test_assert_ok(pv_upsert_batch(s->t.db, txn, names[c], &b, NULL, &s->t.err), &s->t.err);
    }
}

static void t_delete_both(t_set *s, pv_txn *txn, uint64_t from, size_t count, size_t step) {
    static uint64_t gone[T_ROWS];
    pv_ids ids = PV_IDS_INIT;
    uint64_t n = 0;
    for (size_t i = 0; i < count; i++) {
        gone[i] = from + i * step;
    }
    ids.count = count;
    ids.ids_u64 = gone;
    test_assert_ok(pv_delete_many(s->t.db, txn, "flat", &ids, &n, &s->t.err), &s->t.err);
    test_assert_ok(pv_delete_many(s->t.db, txn, "coded", &ids, &n, &s->t.err), &s->t.err);
}

static void t_create(t_set *s, const char *name, uint32_t index) {
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.dims = s->dims;
    c.metric = s->metric;
    c.type = s->type;
    c.key = PV_KEY_U64;
    c.index = index;
    c.code = strcmp(name, "flat") == 0 ? 0 : PV_CODE_SQ8;
    test_assert_ok(pv_collection_create(s->t.db, NULL, name, &c, &s->t.err), &s->t.err);
}

static void t_open(t_set *s, uint32_t dims, uint32_t type, uint32_t metric, int kind,
                   uint32_t index) {
    s->dims = dims;
    s->type = type;
    s->metric = metric;
    s->kind = kind;
    s->by_codes = 0;
    t_api_open(&s->t, &s->opts);
    t_create(s, "flat", PV_INDEX_FLAT);
    t_create(s, "coded", index);
    t_put_both(s, NULL, 0, T_ROWS);
    t_delete_both(s, NULL, 1, T_ROWS / 8, 3);
    t_put_both(s, NULL, 1000, 300); /* changed, and new ones in old slots */
    for (size_t i = 0; i < T_QUERIES; i++) {
        t_make(s, i, t_queries[i]);
    }
}

static void t_close(t_set *s) {
    t_expect_sound(&s->t);
    t_api_done(&s->t);
}

/* ---- the same answers ---- */

static void t_same(t_set *s, const pv_results *flat, const pv_results *coded) {
    const size_t n = pv_results_count(flat);
    assert_int_equal(pv_results_count(coded), n);
    if (n > 0) {
        assert_memory_equal(pv_results_ids_u64(flat), pv_results_ids_u64(coded), n * 8);
        assert_memory_equal(pv_results_distances(flat), pv_results_distances(coded), n * 4);
    }
    assert_string_equal(pv_results_plan(flat), "scan");
    s->by_codes += strcmp(pv_results_plan(coded), "scan of codes") == 0;
}

static void t_agree(t_set *s, pv_txn *txn, pv_query q) {
    q.flags |= PV_QUERY_EXACT;
    q.dims = s->dims;
    q.type = s->type;
    for (size_t i = 0; i < T_QUERIES; i++) {
        pv_results *flat = NULL, *coded = NULL;
        q.vector = t_queries[i];
        test_assert_ok(pv_search(s->t.db, txn, "flat", &q, &flat, &s->t.err), &s->t.err);
        test_assert_ok(pv_search(s->t.db, txn, "coded", &q, &coded, &s->t.err), &s->t.err);
        t_same(s, flat, coded);
        pv_results_free(flat);
        pv_results_free(coded);
    }
}

static void t_agree_many(t_set *s, pv_txn *txn, pv_query q, size_t count) {
    pv_results *flat[T_QUERIES], *coded[T_QUERIES];
    pv_query_vectors v = PV_QUERY_VECTORS_INIT;
    v.count = count;
    v.stride = sizeof t_queries[0];
    q.flags |= PV_QUERY_EXACT;
    q.vector = t_queries;
    q.dims = s->dims;
    q.type = s->type;
    test_assert_ok(pv_search_many(s->t.db, txn, "flat", &q, &v, flat, &s->t.err), &s->t.err);
    test_assert_ok(pv_search_many(s->t.db, txn, "coded", &q, &v, coded, &s->t.err), &s->t.err);
    for (size_t i = 0; i < count; i++) {
        t_same(s, flat[i], coded[i]);
        pv_results_free(flat[i]);
        pv_results_free(coded[i]);
    }
}

/* A distance that some rows of the first query are within. */
static float t_radius(t_set *s) {
    pv_results *r = NULL;
    pv_query q = t_query((const float *)(const void *)t_queries[0], s->dims, 30);
    q.type = s->type;
    q.flags = PV_QUERY_EXACT;
    test_assert_ok(pv_search(s->t.db, NULL, "flat", &q, &r, &s->t.err), &s->t.err);
    const float d = pv_results_distances(r)[20];
    pv_results_free(r);
    return d;
}

static void t_agree_all(t_set *s, pv_txn *txn) {
    static const uint32_t ks[] = {1, 10, 50, 1000};
    pv_query q = PV_QUERY_INIT;
    for (size_t i = 0; i < PV_COUNTOF(ks); i++) {
        q.k = ks[i];
        t_agree(s, txn, q);
    }
    q.k = 10;
    t_agree_many(s, txn, q, 5);
    q.threads = 3;
    t_agree(s, txn, q);
    t_agree_many(s, txn, q, T_QUERIES);
    q.threads = 0;
    q.k = 3;
    q.filter = "{\"n\": {\"$lt\": 30}}";
    t_agree(s, txn, q);
    t_agree_many(s, txn, q, 4);
    q.filter = "{\"n\": 7}";
    t_agree(s, txn, q);
    q.filter = NULL;
    q.k = 60;
    q.flags = PV_QUERY_WITHIN;
    q.max_distance = t_radius(s);
    t_agree(s, txn, q);
    q.max_distance = -1;
    t_agree(s, txn, q);
}

/* ---- tests ---- */

static t_set t_this;

static void t_opts(t_set *s) {
    memset(s, 0, sizeof *s);
    s->opts = (pv_open_opts)PV_OPEN_OPTS_INIT;
    s->opts.sync = PV_SYNC_ASYNC;
    test_rng_init(&s->rng, test_seed());
}

static void test_exact__by_codes_is_by_vectors(void **state) {
    (void)state;
    static const uint32_t metrics[] = {PV_METRIC_L2, PV_METRIC_COSINE, PV_METRIC_DOT};
    t_set *s = &t_this;
    t_opts(s);
    for (size_t c = 0; c < PV_COUNTOF(metrics) * T_KINDS; c += T_STRIDE) {
        const int kind = (int)(c / 3);
        s->opts.cache_bytes = c % 2 ? 700u << 10 : 0;
        t_open(s, c % 5 == 4 ? T_DIMS_MAX : 70, PV_TYPE_F32, metrics[c % 3], kind,
               c % 2 ? PV_INDEX_FLAT : PV_INDEX_IVF);
        t_agree_all(s, NULL);
        /* What is ordinary goes by codes, but for what is too much or matches too seldom. */
        assert_true(kind != T_NORMAL || s->by_codes >= 7 * T_QUERIES);
        t_close(s);
    }
}

static void test_exact__of_graphs_and_other_elements(void **state) {
    (void)state;
    t_set *s = &t_this;
    t_opts(s);
    t_open(s, 70, PV_TYPE_F32, PV_METRIC_L2, T_NORMAL, PV_INDEX_HNSW);
    t_agree_all(s, NULL);
    assert_true(s->by_codes >= 7 * T_QUERIES);
    t_close(s);
    t_open(s, T_DIMS_MAX, PV_TYPE_F16, PV_METRIC_COSINE, T_NORMAL, PV_INDEX_IVF);
    t_agree_all(s, NULL);
    assert_true(s->by_codes >= 7 * T_QUERIES);
    t_close(s);
}

static const pv_results *t_page(t_set *s, const char *name, const pv_query *q, pv_results **out) {
    pv_cursor *cursor = NULL;
    test_assert_ok(pv_cursor_open(s->t.db, NULL, name, q, &cursor, &s->t.err), &s->t.err);
    test_assert_ok(pv_cursor_next(cursor, 10, out, &s->t.err), &s->t.err);
    pv_cursor_close(cursor);
    return *out;
}

/* Codes without a graph: every search goes by them, and there is no way through them. */
static void test_exact__flat_with_codes(void **state) {
    (void)state;
    t_set *s = &t_this;
    pv_collection_info info = PV_COLLECTION_INFO_INIT;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    pv_results *flat = NULL, *coded = NULL;
    t_opts(s);
    t_open(s, 70, PV_TYPE_F32, PV_METRIC_L2, T_NORMAL, PV_INDEX_FLAT);
    t_api_shut(&s->t);
    t_api_reopen(&s->t, &s->opts);
    test_assert_ok(pv_collection_info_get(s->t.db, NULL, "coded", &info, &s->t.err), &s->t.err);
    assert_int_equal(info.index, PV_INDEX_FLAT);
    assert_int_equal(info.code, PV_CODE_SQ8);
    assert_int_equal(info.code_asked, PV_CODE_SQ8);
    assert_int_equal(info.indexed, info.count);
    assert_int_equal(info.flags, 0);
    pv_query q = t_query((const float *)(const void *)t_queries[0], s->dims, 10);
    q.ef = 100;
    test_assert_ok(pv_search(s->t.db, NULL, "flat", &q, &flat, &s->t.err), &s->t.err);
    test_assert_ok(pv_search(s->t.db, NULL, "coded", &q, &coded, &s->t.err), &s->t.err);
    t_same(s, flat, coded);
    assert_int_equal(s->by_codes, 1);
    pv_results_free(coded);
    q.ef = 0;
    (void)t_page(s, "flat", &q, &coded);
    pv_results_free(flat);
    flat = coded;
    t_same(s, flat, t_page(s, "coded", &q, &coded));
    pv_results_free(flat);
    pv_results_free(coded);
    c.dims = s->dims;
    c.metric = s->metric;
    c.key = PV_KEY_U64;
    c.code = PV_CODE_SQ8;
    c.index = PV_INDEX_FLAT;
    test_assert_ok(pv_collection_ensure(s->t.db, NULL, "coded", &c, &s->t.err), &s->t.err);
    const int rc = pv_collection_ensure(s->t.db, NULL, "flat", &c, &s->t.err);
    test_assert_rc(rc, PV_ERR_EXISTS, &s->t.err);
    assert_non_null(strstr(s->t.err.message, "code none, not sq8"));
    test_assert_ok(pv_collection_drop(s->t.db, NULL, "coded", &s->t.err), &s->t.err);
    t_close(s);
}

/* A transaction sees its own changes; another snapshot does not. */
static void test_exact__within_transactions(void **state) {
    (void)state;
    t_set *s = &t_this;
    pv_txn *before = NULL, *txn = NULL;
    pv_query q = PV_QUERY_INIT;
    t_opts(s);
    q.k = 20;
    q.threads = 2;
    t_open(s, 70, PV_TYPE_F32, PV_METRIC_L2, T_NORMAL, PV_INDEX_IVF);
    test_assert_ok(pv_txn_begin(s->t.db, 0, &before, &s->t.err), &s->t.err);
    test_assert_ok(pv_txn_begin(s->t.db, PV_TXN_WRITE, &txn, &s->t.err), &s->t.err);
    t_delete_both(s, txn, 0, 500, 2);
    t_put_both(s, txn, 20000, 50);
    t_put_both(s, txn, 100, 40);
    t_agree(s, txn, q);
    t_agree(s, before, q);
    test_assert_ok(pv_txn_commit(txn, NULL, &s->t.err), &s->t.err);
    t_agree(s, before, q);
    test_assert_ok(pv_txn_commit(before, NULL, &s->t.err), &s->t.err);
    t_agree(s, NULL, q);
    assert_true(s->by_codes == 4 * T_QUERIES);
    t_close(s);
}

/* An index that is not finished: what has no node yet is compared by its vectors. */
static void test_exact__tail_without_nodes(void **state) {
    (void)state;
    t_set *s = &t_this;
    pv_collection_info info = PV_COLLECTION_INFO_INIT;
    pv_query q = PV_QUERY_INIT;
    t_opts(s);
    s->opts.threads = 1; /* nobody goes on with it */
    s->dims = T_DIMS_MAX;
    s->type = PV_TYPE_F32;
    s->metric = PV_METRIC_L2;
    t_api_open(&s->t, &s->opts);
    t_create(s, "flat", PV_INDEX_FLAT);
    t_create(s, "coded", PV_INDEX_AUTO);
    t_put_both(s, NULL, 0, 3300); /* too few for a graph, and then enough */
    t_put_both(s, NULL, 10000, 600);
    test_assert_ok(pv_collection_info_get(s->t.db, NULL, "coded", &info, &s->t.err), &s->t.err);
    assert_in_range(info.indexed, 1000, 3500);
    for (size_t i = 0; i < T_QUERIES; i++) {
        t_make(s, i, t_queries[i]);
    }
    q.k = 10;
    t_agree(s, NULL, q);
    q.threads = 2;
    t_agree_many(s, NULL, q, T_QUERIES);
    assert_int_equal(s->by_codes, 2 * T_QUERIES);
    t_close(s);
}

/* Records that go before they have had a node leave gaps between those that get one. */
static void test_exact__gaps_between_nodes(void **state) {
    (void)state;
    t_set *s = &t_this;
    pv_query q = PV_QUERY_INIT;
    t_opts(s);
    s->opts.threads = 1;
    s->dims = 70;
    s->type = PV_TYPE_F32;
    s->metric = PV_METRIC_DOT;
    t_api_open(&s->t, &s->opts);
    t_create(s, "flat", PV_INDEX_FLAT);
    t_create(s, "coded", PV_INDEX_FLAT);
    t_put_both(s, NULL, 0, 3740); /* just too few, */
    t_put_both(s, NULL, 10000, 20);
    t_delete_both(s, NULL, 500, 900, 3); /* most of which had none */
    t_put_both(s, NULL, 10000, 20);      /* and now some more, bit by bit */
    t_expect_sound(&s->t);
    for (size_t i = 0; i < 60; i++) {
        t_put_both(s, NULL, 10000, 20);
    }
    for (size_t i = 0; i < T_QUERIES; i++) {
        t_make(s, i, t_queries[i]);
    }
    q.k = 10;
    t_agree(s, NULL, q);
    t_close(s);
}

/* Pages of codes, of maps, of the graph itself: a bit is flipped in each of a kind. */
static size_t t_flip(const char *path, uint64_t uuid_tag, uint32_t owner, unsigned kind) {
    uint8_t page[PV__SLOT_SIZE];
    size_t count = 0;
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    for (long at = 0; fread(page, 1, sizeof page, f) == sizeof page; at += PV__SLOT_SIZE) {
        if (pv__get64(page + PV__HEAD_UUID) == uuid_tag && pv__page_kind(page) == kind &&
            pv__page_owner(page) == owner) {
            page[PV__PAGE_HEAD + 9] ^= 0x10;
            assert_int_equal(fseek(f, at, SEEK_SET), 0);
            assert_int_equal(fwrite(page, 1, sizeof page, f), sizeof page);
            assert_int_equal(fseek(f, at + PV__SLOT_SIZE, SEEK_SET), 0);
            count++;
        }
    }
    assert_int_equal(fclose(f), 0);
    return count;
}

static uint32_t t_owner(t_set *s) {
    pv__txn *txn = NULL;
    pv__parts p;
    test_assert_ok(pv__txn_begin(s->t.db->store, 0, &txn, &s->t.err), &s->t.err);
    test_assert_ok(pv__parts_open(&p, txn, "coded", &s->t.err), &s->t.err);
    const uint32_t owner = p.c.graph.owner;
    pv__parts_done(&p);
    pv__txn_rollback(txn);
    return owner;
}

static void test_exact__on_damaged_pages_by_vectors(void **state) {
    (void)state;
    t_set *s = &t_this;
    static const uint32_t objects[] = {0, 1, 2};
    for (size_t i = 0; i < 2 * PV_COUNTOF(objects); i++) {
        const uint32_t object = objects[i / 2];
        pv_query q = PV_QUERY_INIT;
        q.k = 10;
        t_opts(s);
        s->opts.threads = 1; /* no upkeep that would mend it meanwhile */
        t_open(s, 70, PV_TYPE_F32, PV_METRIC_L2, T_NORMAL, i % 2 ? PV_INDEX_FLAT : PV_INDEX_IVF);
        const uint32_t owner = t_owner(s);
        const uint64_t uuid_tag = s->t.db->store->uuid_tag;
        t_api_shut(&s->t);
        const unsigned kind = object == 0 ? PV__PAGE_GRAPH : PV__PAGE_COLUMN;
        assert_true(t_flip(s->t.path, uuid_tag, owner + object, kind) > 0);
        t_api_reopen(&s->t, &s->opts);
        t_agree(s, NULL, q);
        t_agree_many(s, NULL, q, 5);
        assert_int_equal(s->by_codes, 0);
        t_put_both(s, NULL, 30000, 200); /* which makes it again, bit by bit */
        t_put_both(s, NULL, 40000, 2000);
        t_agree(s, NULL, q);
        t_api_done(&s->t);
    }
}

/* Wherever the interrupt callback ends it, and whichever allocation fails: the code, or the same
 * answers, and nothing left behind. */
static void test_exact__interrupts_and_failed_allocations(void **state) {
    (void)state;
    t_set *s = &t_this;
    test_stop stop = {0, 0};
    pv_results *want = NULL, *got = NULL;
    t_opts(s);
    s->opts.threads = 1; /* nobody else asks for memory meanwhile */
    s->opts.interrupt = test_interrupt;
    s->opts.interrupt_ctx = &stop;
    t_open(s, T_DIMS_MAX, PV_TYPE_F32, PV_METRIC_L2, T_NORMAL, PV_INDEX_IVF);
    pv_query q = t_query((const float *)(const void *)t_queries[0], s->dims, 10);
    q.flags = PV_QUERY_EXACT;
    test_assert_ok(pv_search(s->t.db, NULL, "coded", &q, &want, &s->t.err), &s->t.err);
    assert_string_equal(pv_results_plan(want), "scan of codes");
    for (bool reached = true; reached;) {
        stop.calls = 0;
        stop.at++;
        const int rc = pv_search(s->t.db, NULL, "coded", &q, &got, &s->t.err);
        reached = stop.calls >= stop.at;
        if (reached) {
            test_assert_rc(rc, PV_ERR_CANCELLED, &s->t.err);
            continue;
        }
        test_assert_ok(rc, &s->t.err);
        assert_memory_equal(pv_results_ids_u64(want), pv_results_ids_u64(got), 80);
        pv_results_free(got);
    }
    assert_true(stop.at > 5);
    stop.at = 0;
    pv__mem *mem = &s->t.db->env->mem;
    for (uint64_t n = 1, reached = 1; reached; n++) {
        const uint64_t from = atomic_load(&mem->calls);
        const size_t used = atomic_load(&mem->bytes_used);
        atomic_store(&mem->fail_at, from + n);
        const int rc = pv_search(s->t.db, NULL, "coded", &q, &got, &s->t.err);
        atomic_store(&mem->fail_at, 0);
        reached = atomic_load(&mem->calls) >= from + n;
        if (rc) {
            test_assert_rc(rc, PV_ERR_NOMEM, &s->t.err);
            assert_true(atomic_load(&mem->bytes_used) <= used);
            continue;
        }
        assert_memory_equal(pv_results_ids_u64(want), pv_results_ids_u64(got), 80);
        pv_results_free(got);
    }
    pv_results_free(want);
    t_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact__by_codes_is_by_vectors),
        cmocka_unit_test(test_exact__of_graphs_and_other_elements),
        cmocka_unit_test(test_exact__flat_with_codes),
        cmocka_unit_test(test_exact__within_transactions),
        cmocka_unit_test(test_exact__tail_without_nodes),
        cmocka_unit_test(test_exact__gaps_between_nodes),
        cmocka_unit_test(test_exact__on_damaged_pages_by_vectors),
        cmocka_unit_test(test_exact__interrupts_and_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
