/* SPDX-License-Identifier: Apache-2.0 */
/* test_ann_upkeep.c - what the graph does by itself: damage of each of its pages is survived and
 * mended, a graph that has become bad is built again beside the one in use. The steps of the
 * background are run by hand (pv__upkeep_run), one by one, on a database without threads. */
#include "ann/internal.h"
#include "base/bytes.h"
#include "engine/db.h"
#include "engine/parts.h"
#include "engine/upkeep.h"
#include "store/internal.h"
#include "test_api_kit.h"

enum { T_DIMS = 8, T_MOST = 12000, T_K = 10, T_CLUSTERS = 10 };

typedef struct t_up {
    t_api t;
    pv_open_opts opts;
    test_rng rng;
    unsigned complaints; /* log messages of category "index" */
    size_t count, next;  /* records there; ids used */
    bool there[T_MOST];
    float v[T_MOST][T_DIMS];
} t_up;

static void t_log(void *ctx, int level, const char *category, const char *message) {
    t_up *u = ctx;
    (void)message;
    u->complaints += level == PV_LOG_ERROR && strcmp(category, "index") == 0;
}

static void t_vector(t_up *u, float v[T_DIMS]) {
    const float centre = (float)test_rng_below(&u->rng, T_CLUSTERS);
    for (size_t d = 0; d < T_DIMS; d++) {
        v[d] = (d % 2 ? centre : -centre) + (float)test_rng_below(&u->rng, 2000) / 500.0f;
    }
}

static void t_put_ids(t_up *u, const uint64_t *ids, size_t count) {
    float *v = malloc(count * sizeof u->v[0]);
    pv_batch b = PV_BATCH_INIT;
    assert_non_null(v);
    for (size_t i = 0; i < count; i++) {
        memcpy(v + i * T_DIMS, u->v[ids[i]], sizeof u->v[0]);
        u->count += !u->there[ids[i]];
        u->there[ids[i]] = true;
    }
    b.count = count;
    b.dims = T_DIMS;
    b.vectors = v;
    b.ids_u64 = ids;
    test_assert_ok(pv_upsert_batch(u->t.db, NULL, "c", &b, NULL, &u->t.err), &u->t.err);
    free(v);
}

/* New records; every tenth has the vector of the one before it. */
static void t_insert(t_up *u, size_t count) {
    uint64_t *ids = malloc(count * sizeof *ids);
    assert_non_null(ids);
    for (size_t i = 0; i < count; i++) {
        ids[i] = u->next++;
        if (ids[i] % 10 == 9) {
            memcpy(u->v[ids[i]], u->v[ids[i] - 1], sizeof u->v[0]);
        } else {
            t_vector(u, u->v[ids[i]]);
        }
    }
    t_put_ids(u, ids, count);
    free(ids);
}

static uint64_t t_any(t_up *u) {
    uint64_t id;
    do {
        id = test_rng_below(&u->rng, u->next);
    } while (!u->there[id]);
    return id;
}

static void t_delete(t_up *u, size_t count) {
    uint64_t *ids = malloc(count * sizeof *ids), deleted = 0;
    pv_ids list = PV_IDS_INIT;
    assert_non_null(ids);
    for (size_t i = 0; i < count; i++) {
        ids[i] = t_any(u);
        u->there[ids[i]] = false;
    }
    list.count = count;
    list.ids_u64 = ids;
    test_assert_ok(pv_delete_many(u->t.db, NULL, "c", &list, &deleted, &u->t.err), &u->t.err);
    assert_int_equal(deleted, count);
    u->count -= count;
    free(ids);
}

/* Records get other vectors. */
static void t_change(t_up *u, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const uint64_t id = t_any(u);
        t_vector(u, u->v[id]);
        t_put_ids(u, &id, 1);
    }
}

static void t_open(t_up *u, size_t count, uint32_t threads) {
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    memset(u, 0, sizeof *u);
    test_rng_init(&u->rng, test_seed());
    u->opts = (pv_open_opts)PV_OPEN_OPTS_INIT;
    u->opts.log = t_log;
    u->opts.log_ctx = u;
    u->opts.threads = threads;
    u->opts.sync = PV_SYNC_ASYNC;
    t_api_open(&u->t, &u->opts);
    c.dims = T_DIMS;
    c.metric = PV_METRIC_L2;
    c.key = PV_KEY_U64;
    c.index = PV_INDEX_HNSW;
    test_assert_ok(pv_collection_create(u->t.db, NULL, "c", &c, &u->t.err), &u->t.err);
    t_insert(u, count);
}

static t_up *t_new(size_t count, uint32_t threads) {
    t_up *u = malloc(sizeof *u);
    assert_non_null(u);
    t_open(u, count, threads);
    return u;
}

static void t_free(t_up *u) {
    t_api_done(&u->t);
    free(u);
}

static pv_collection_info t_info(t_up *u) {
    pv_collection_info info = PV_COLLECTION_INFO_INIT;
    test_assert_ok(pv_collection_info_get(u->t.db, NULL, "c", &info, &u->t.err), &u->t.err);
    return info;
}

/* ---- what must be right at every moment ---- */

static double t_distance(const float *a, const float *b) {
    double sum = 0;
    for (size_t i = 0; i < T_DIMS; i++) {
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    }
    return sqrt(sum);
}

/* The distance of the k-th nearest record. */
static double t_kth(const t_up *u, const float *q, size_t k) {
    double best[T_K];
    size_t n = 0;
    for (size_t id = 0; id < u->next; id++) {
        const double d = u->there[id] ? t_distance(q, u->v[id]) : INFINITY;
        size_t at = n < k ? n++ : k;
        for (; at > 0 && best[at - 1] > d; at--) {
            if (at < k) {
                best[at] = best[at - 1];
            }
        }
        if (at < k) {
            best[at] = d;
        }
    }
    return best[k - 1];
}

/* Rows that are there, each once, with their own distances; and nearly all of the nearest. */
static void t_expect_answers(t_up *u, unsigned queries) {
    size_t hits = 0, wanted = 0;
    assert_int_equal(t_count(&u->t, NULL, "c", NULL), u->count);
    for (unsigned i = 0; i < queries; i++) {
        float v[T_DIMS];
        pv_results *r = NULL;
        t_vector(u, v);
        pv_query q = t_query(v, T_DIMS, T_K);
        q.ef = 100;
        test_assert_ok(pv_search(u->t.db, NULL, "c", &q, &r, &u->t.err), &u->t.err);
        const size_t k = u->count < T_K ? u->count : T_K;
        assert_int_equal(pv_results_count(r), k);
        const double kth = k > 0 ? t_kth(u, v, k) : 0;
        for (size_t h = 0; h < k; h++) {
            const uint64_t id = pv_results_id_u64(r, h);
            assert_true(id < u->next && u->there[id]);
            assert_true(fabs(t_distance(v, u->v[id]) - pv_results_distance(r, h)) < 1e-3);
            for (size_t j = 0; j < h; j++) {
                assert_int_not_equal(pv_results_id_u64(r, j), id);
            }
            hits += pv_results_distance(r, h) <= kth * 1.00001 + 1e-6;
        }
        wanted += k;
        pv_results_free(r);
    }
    if ((double)hits < 0.95 * (double)wanted) {
        fprintf(stderr, "%zu of %zu found\n", hits, wanted);
    }
    assert_true((double)hits >= 0.95 * (double)wanted);
}

static void t_parts(t_up *u, uint32_t flags, pv__txn **out_txn, pv__parts *p) {
    pv_error *err = &u->t.err;
    test_assert_ok(pv__txn_begin(u->t.db->store, flags, out_txn, err), err);
    test_assert_ok(pv__parts_open(p, *out_txn, "c", err), err);
}

/* Pages that say they belong to object ids [owner, owner + owners). */
static size_t t_pages_of(t_up *u, uint32_t owner, uint32_t owners) {
    pv__txn *txn = NULL;
    uint64_t end = 0;
    size_t count = 0;
    test_assert_ok(pv__txn_begin(u->t.db->store, 0, &txn, &u->t.err), &u->t.err);
    test_assert_ok(pv__page_ids_end(txn, &end, &u->t.err), &u->t.err);
    for (uint64_t id = 1; id < end; id++) {
        const uint8_t *page = NULL;
        count += pv__page_read(txn, id, PV__PAGE_ANY, &page, NULL) == 0 &&
                 pv__page_owner(page) - owner < owners;
        test_assert_ok(pv__txn_pause(txn, &u->t.err), &u->t.err);
    }
    pv__txn_rollback(txn);
    return count;
}

/* Every step of the background, until nothing is left to do. */
static unsigned t_upkeep(t_up *u, unsigned steps_max) {
    unsigned steps = 0;
    while (steps < steps_max && pv__upkeep_run(u->t.db) != PV__CHORE_DONE) {
        steps++;
    }
    return steps;
}

static void t_told(void *ctx, uint64_t page, uint32_t owner, const char *what) {
    (void)ctx;
    fprintf(stderr, "page %llu, object %u: %s\n", (unsigned long long)page, owner, what);
}

/* The graph and the next one, if there is one, are what they say. */
static void t_expect_graphs(t_up *u) {
    pv__txn *txn = NULL;
    pv__parts p;
    uint64_t bad = 0;
    pv_error *err = &u->t.err;
    t_parts(u, 0, &txn, &p);
    test_assert_ok(pv__parts_graph(&p, u->t.db->cpu, 1, err), err);
    test_assert_ok(pv__graph_check(&p.graph, &p.slots, true, t_told, NULL, &bad, err), err);
    if (p.c.next.page != 0) {
        test_assert_ok(pv__parts_next(&p, u->t.db->cpu, 1, err), err);
        test_assert_ok(pv__graph_check(&p.next, &p.slots, true, t_told, NULL, &bad, err), err);
    }
    assert_int_equal(bad, 0);
    pv__parts_done(&p);
    pv__txn_rollback(txn);
}

/* ---- damage on the disk ---- */

/* Pages of one kind of a graph whose object ids begin at `owner`: which of its objects, which kind
 * of page, which part of an object with two columns (-1: any). */
typedef struct t_place {
    const char *name;
    uint32_t object;
    unsigned kind;
    int part;
    bool by_search; /* a search meets it */
} t_place;
static const t_place t_places[] = {
    {"meta", 0, PV__PAGE_GRAPH, -1, true},
    {"directory of links", 0, PV__PAGE_COLDIR, -1, true},
    {"links", 0, PV__PAGE_COLUMN, -1, true},
    {"shared nodes", 0, PV__PAGE_TREE, -1, false},
    {"directory of codes", 1, PV__PAGE_COLDIR, -1, true},
    {"codes", 1, PV__PAGE_COLUMN, -1, true},
    {"directories of the maps", 2, PV__PAGE_COLDIR, -1, true},
    {"node to slot", 2, PV__PAGE_COLUMN, 0, true},
    {"slot to node", 2, PV__PAGE_COLUMN, 1, false},
    {"directory of level 1", 3, PV__PAGE_COLDIR, -1, true},
    {"level 1", 3, PV__PAGE_COLUMN, -1, true},
};

static uint8_t *t_read_file(const char *path, size_t *out_size) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *out_size = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = malloc(*out_size);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *out_size, f), *out_size);
    fclose(f);
    return bytes;
}

static void t_write_file(const char *path, const uint8_t *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* Flip a bit in every page of the place; how many there were. */
static size_t t_flip(uint8_t *file, size_t size, uint64_t uuid_tag, uint32_t owner,
                     const t_place *place) {
    size_t count = 0;
    for (size_t at = 0; at + PV__SLOT_SIZE <= size; at += PV__SLOT_SIZE) {
        uint8_t *page = file + at;
        const bool there = pv__get64(page + PV__HEAD_UUID) == uuid_tag &&
                           pv__page_kind(page) == place->kind &&
                           pv__page_owner(page) == owner + place->object;
        const int part = (int)(pv__get32(page + PV__HEAD_ORDINAL) >> 31);
        if (there && (place->part < 0 || place->part == part)) {
            page[PV__PAGE_HEAD + 5] ^= 0x10;
            count++;
        }
    }
    return count;
}

/* A life with the damage: searches, writes of all kinds, then it is mended, then reopened. */
static void t_live_on(t_up *u, const t_place *place, bool search_first) {
    const pv__graph_ref none = {0, 0};
    pv__graph_ref old = none;
    pv__txn *txn = NULL;
    pv__parts p;
    t_parts(u, 0, &txn, &p);
    old = p.c.graph;
    pv__parts_done(&p);
    pv__txn_rollback(txn);
    if (search_first) {
        t_expect_answers(u, 20);
        if (place->by_search) {
            assert_true(t_info(u).flags & PV_COLLECTION_INDEX_DAMAGED);
            assert_int_equal(u->complaints, 1); /* not once for each search */
        }
    }
    t_insert(u, 30);
    t_delete(u, 300);
    t_change(u, 20);
    t_expect_answers(u, 10);
    assert_true(t_upkeep(u, 100000) < 100000);
    assert_true(u->complaints >= 1);
    const pv_collection_info info = t_info(u);
    assert_int_equal(info.flags, 0);
    assert_int_equal(info.indexed, u->count);
    t_expect_answers(u, 20);
    t_expect_graphs(u);
    assert_int_equal(t_pages_of(u, old.owner, PV__GRAPH_OWNERS), 0);
    t_api_shut(&u->t);
    t_api_reopen(&u->t, &u->opts);
    t_expect_answers(u, 5);
    t_expect_graphs(u);
}

static void test_ann_upkeep__damage_of_any_page_is_mended(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof t_places / sizeof t_places[0]; i++) {
        for (int search_first = 0; search_first < 2; search_first++) {
            t_up *u = t_new(1500, 1);
            const uint64_t uuid_tag = u->t.db->store->uuid_tag;
            uint32_t owner = 0;
            size_t size = 0;
            pv__txn *txn = NULL;
            pv__parts p;
            t_parts(u, 0, &txn, &p);
            owner = p.c.graph.owner;
            pv__parts_done(&p);
            pv__txn_rollback(txn);
            t_api_shut(&u->t);
            uint8_t *file = t_read_file(u->t.path, &size);
            const size_t flipped = t_flip(file, size, uuid_tag, owner, &t_places[i]);
            if (flipped == 0) {
                fprintf(stderr, "no page of '%s'\n", t_places[i].name);
            }
            assert_true(flipped > 0);
            t_write_file(u->t.path, file, size);
            free(file);
            t_api_reopen(&u->t, &u->opts);
            t_live_on(u, &t_places[i], search_first);
            t_free(u);
        }
    }
}

/* ---- damage that the checksums cannot see: what a writer with a bug might have left ---- */

typedef void (*t_damage)(pv__graph *g, uint8_t *meta_page, pv_error *err);

static void t_no_version(pv__graph *g, uint8_t *meta, pv_error *err) {
    (void)g;
    (void)err;
    pv__put32(meta + PV__PAGE_HEAD, 0);
}
static void t_counters(pv__graph *g, uint8_t *meta, pv_error *err) {
    (void)g;
    (void)err;
    pv__put32(meta + PV__PAGE_HEAD + 20, UINT32_MAX);
}
static void t_links_beyond(pv__graph *g, uint8_t *meta, pv_error *err) {
    (void)meta;
    for (uint32_t node = 0; node < g->meta.node_high; node++) {
        uint8_t *row = NULL;
        test_assert_ok(pv__column_write(&g->links, node, &row, err), err);
        if (pv__links_count(row) > 0) {
            pv__links_set(row, 0, g->meta.node_high + 5);
        }
    }
}
static void t_maps_lead_nowhere(pv__graph *g, uint8_t *meta, pv_error *err) {
    (void)meta;
    for (uint32_t slot = 0; slot < 1500; slot++) {
        uint8_t *row = NULL;
        test_assert_ok(pv__column_write(&g->node_of, slot, &row, err), err);
        pv__put32(row, g->meta.node_high + 9);
    }
}

static void test_ann_upkeep__a_wrong_graph_is_given_up(void **state) {
    (void)state;
    static const t_damage damages[] = {t_no_version, t_counters, t_links_beyond,
                                       t_maps_lead_nowhere};
    static const t_place seen = {"planted", 0, 0, -1, true}, unseen = {"planted", 0, 0, -1, false};
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        t_up *u = t_new(1500, 1);
        pv__txn *txn = NULL;
        pv__parts p;
        uint8_t *meta = NULL;
        t_parts(u, PV__TXN_WRITE, &txn, &p);
        test_assert_ok(pv__parts_graph(&p, 0, 1, &u->t.err), &u->t.err);
        test_assert_ok(pv__page_write(txn, p.c.graph.page, PV__PAGE_GRAPH, &meta, &u->t.err),
                       &u->t.err);
        damages[i](&p.graph, meta, &u->t.err);
        pv__parts_done(&p);
        test_assert_ok(pv__txn_commit(txn, NULL, &u->t.err), &u->t.err);
        t_live_on(u, damages[i] == t_maps_lead_nowhere ? &unseen : &seen, i % 2 == 0);
        uint64_t problems = 0;
        test_assert_ok(pv_check(u->t.db, PV_CHECK_DEEP, NULL, NULL, &problems, &u->t.err),
                       &u->t.err);
        assert_int_equal(problems, 0); /* all pages could be read, so all were given back */
        t_free(u);
    }
}

/* A collection can be dropped whatever its graph looks like, and leaves nothing. */
static void test_ann_upkeep__a_collection_with_a_wrong_graph_can_be_dropped(void **state) {
    (void)state;
    t_up *u = t_new(1500, 1);
    pv__txn *txn = NULL;
    pv__parts p;
    uint8_t *meta = NULL;
    t_parts(u, PV__TXN_WRITE, &txn, &p);
    const uint32_t owner = p.c.graph.owner;
    test_assert_ok(pv__page_write(txn, p.c.graph.page, PV__PAGE_GRAPH, &meta, &u->t.err),
                   &u->t.err);
    t_no_version(NULL, meta, NULL);
    pv__parts_done(&p);
    test_assert_ok(pv__txn_commit(txn, NULL, &u->t.err), &u->t.err);
    test_assert_ok(pv_collection_drop(u->t.db, NULL, "c", &u->t.err), &u->t.err);
    assert_true(t_upkeep(u, 100000) < 100000);
    assert_int_equal(t_pages_of(u, owner, PV__GRAPH_OWNERS), 0);
    t_expect_sound(&u->t);
    t_free(u);
}

/* ---- built again ---- */

static bool t_is_rebuilding(t_up *u) {
    return (t_info(u).flags & PV_COLLECTION_INDEX_REBUILDING) != 0;
}

/* Two thirds of the records go; nobody writes any more. The numbers that stood for them go too. */
static void test_ann_upkeep__a_graph_with_many_gone_is_built_again(void **state) {
    (void)state;
    t_up *u = t_new(6000, 1);
    pv__txn *txn = NULL;
    pv__parts p;
    t_parts(u, 0, &txn, &p);
    const uint32_t owner = p.c.graph.owner;
    pv__parts_done(&p);
    pv__txn_rollback(txn);
    t_delete(u, 4000);
    unsigned steps = 0;
    bool seen = false;
    while (t_upkeep(u, 20) == 20) { /* whoever looks meanwhile sees nothing of it */
        steps++;
        if (steps % 16 == 0) {
            t_expect_answers(u, 3);
            t_expect_sound(&u->t);
        }
        seen = seen || t_is_rebuilding(u);
    }
    assert_true(seen && !t_is_rebuilding(u));
    t_parts(u, 0, &txn, &p);
    test_assert_ok(pv__parts_graph(&p, 0, 1, &u->t.err), &u->t.err);
    assert_int_not_equal(p.c.graph.owner, owner);
    assert_int_equal(p.graph.meta.node_high, p.graph.meta.node_count);
    assert_int_equal(p.graph.meta.node_count + p.graph.meta.dup_count, 2000);
    pv__parts_done(&p);
    pv__txn_rollback(txn);
    assert_int_equal(t_pages_of(u, owner, PV__GRAPH_OWNERS), 0);
    t_expect_answers(u, 20);
    t_expect_sound(&u->t);
    t_free(u);
}

/* Records come, go and change while the next graph is being built: it gets all of that too. */
static void test_ann_upkeep__writes_go_on_while_it_is_built_again(void **state) {
    (void)state;
    t_up *u = t_new(6000, 1);
    t_delete(u, 2600);
    unsigned rounds = 0;
    while (!t_is_rebuilding(u)) {
        assert_true(t_upkeep(u, 1) == 1);
    }
    for (; t_is_rebuilding(u); rounds++) {
        t_insert(u, 3);
        t_delete(u, 2);
        t_change(u, 2);
        (void)t_upkeep(u, 3);
        if (rounds % 8 == 7) {
            t_expect_answers(u, 2);
            t_expect_graphs(u);
        }
        if (rounds == 20) { /* where it stood is in the pages */
            t_api_shut(&u->t);
            t_api_reopen(&u->t, &u->opts);
        }
    }
    assert_true(rounds > 21);
    assert_true(t_upkeep(u, 100000) < 100000);
    assert_int_equal(t_info(u).indexed, u->count);
    t_expect_answers(u, 20);
    t_expect_sound(&u->t);
    t_free(u);
}

/* The calls that write pay for all of it where there is no thread. */
static void test_ann_upkeep__writes_alone_build_it_again(void **state) {
    (void)state;
    t_up *u = t_new(6000, 1);
    bool seen = false;
    t_delete(u, 2600);
    for (unsigned i = 0; i < 4000 && !(seen && !t_is_rebuilding(u)); i++) {
        t_change(u, 1);
        seen = seen || t_is_rebuilding(u);
    }
    assert_true(seen && !t_is_rebuilding(u));
    t_expect_answers(u, 20);
    t_expect_sound(&u->t);
    t_free(u);
}

/* Recall, as the graph measures it itself, has fallen by more than two points. */
static void test_ann_upkeep__fallen_recall_asks_for_a_new_graph(void **state) {
    (void)state;
    t_up *u = t_new(2000, 1);
    pv__txn *txn = NULL;
    pv__parts p;
    (void)t_upkeep(u, 100000);
    t_change(u, 900);
    (void)t_upkeep(u, 100000);
    assert_false(t_is_rebuilding(u));
    t_parts(u, PV__TXN_WRITE, &txn, &p);
    test_assert_ok(pv__parts_graph(&p, 0, 1, &u->t.err), &u->t.err);
    assert_true(p.graph.meta.removed >= 600 && p.graph.meta.curve.first > 0);
    assert_false(pv__graph_rebuild_due(&p.graph));
    p.graph.meta.curve.recall[1][4] = (uint16_t)(p.graph.meta.curve.first - 1300);
    assert_true(pv__graph_rebuild_due(&p.graph));
    p.graph.changed = true;
    const uint32_t owner = p.c.graph.owner;
    test_assert_ok(pv__parts_save(&p, &u->t.err), &u->t.err);
    (void)pv__upkeep_want(u->t.db, &p.c);
    pv__parts_done(&p);
    test_assert_ok(pv__txn_commit(txn, NULL, &u->t.err), &u->t.err);
    assert_true(t_upkeep(u, 100000) < 100000);
    t_parts(u, 0, &txn, &p);
    assert_int_not_equal(p.c.graph.owner, owner);
    pv__parts_done(&p);
    pv__txn_rollback(txn);
    t_expect_answers(u, 20);
    t_expect_sound(&u->t);
    t_free(u);
}

/* Damage of the graph in use while the next one is being built: the next one takes its place. */
static void test_ann_upkeep__the_next_graph_takes_the_place_of_a_damaged_one(void **state) {
    (void)state;
    for (int next = 0; next < 2; next++) { /* which of the two is damaged */
        t_up *u = t_new(6000, 1);
        pv__txn *txn = NULL;
        pv__parts p;
        uint8_t *meta = NULL;
        t_delete(u, 2600);
        while (!t_is_rebuilding(u)) {
            assert_true(t_upkeep(u, 1) == 1);
        }
        (void)t_upkeep(u, 20);
        assert_true(t_is_rebuilding(u));
        t_parts(u, PV__TXN_WRITE, &txn, &p);
        const uint64_t page = next ? p.c.next.page : p.c.graph.page;
        test_assert_ok(pv__page_write(txn, page, PV__PAGE_GRAPH, &meta, &u->t.err), &u->t.err);
        t_no_version(NULL, meta, NULL);
        pv__parts_done(&p);
        test_assert_ok(pv__txn_commit(txn, NULL, &u->t.err), &u->t.err);
        t_expect_answers(u, 3);
        t_delete(u, 5);
        t_change(u, 5);
        t_insert(u, 5);
        t_expect_answers(u, 3);
        t_expect_graphs(u);
        assert_true(t_upkeep(u, 100000) < 100000);
        assert_int_equal(t_info(u).indexed, u->count);
        assert_int_equal(t_info(u).flags, 0);
        t_expect_answers(u, 20);
        t_expect_sound(&u->t);
        t_free(u);
    }
}

/* With threads nobody has to do anything: the graph becomes whole while readers and a writer go
 * on. */
static void test_ann_upkeep__a_thread_does_it(void **state) {
    (void)state;
    t_up *u = t_new(6000, 0);
    bool seen = false;
    t_delete(u, 2600);
    for (unsigned i = 0; i < 100000 && !(seen && !t_is_rebuilding(u)); i++) {
        if (i % 64 == 0) {
            t_expect_answers(u, 10);
            t_change(u, 1);
        }
        seen = seen || t_is_rebuilding(u);
    }
    assert_true(seen && !t_is_rebuilding(u));
    t_expect_answers(u, 20);
    t_expect_graphs(u);
    t_free(u);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ann_upkeep__damage_of_any_page_is_mended),
        cmocka_unit_test(test_ann_upkeep__a_wrong_graph_is_given_up),
        cmocka_unit_test(test_ann_upkeep__a_collection_with_a_wrong_graph_can_be_dropped),
        cmocka_unit_test(test_ann_upkeep__a_graph_with_many_gone_is_built_again),
        cmocka_unit_test(test_ann_upkeep__writes_go_on_while_it_is_built_again),
        cmocka_unit_test(test_ann_upkeep__writes_alone_build_it_again),
        cmocka_unit_test(test_ann_upkeep__fallen_recall_asks_for_a_new_graph),
        cmocka_unit_test(test_ann_upkeep__the_next_graph_takes_the_place_of_a_damaged_one),
        cmocka_unit_test(test_ann_upkeep__a_thread_does_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
