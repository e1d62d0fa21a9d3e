/* SPDX-License-Identifier: Apache-2.0 */
/* test_ann_kit.h - what the tests of the graph's life share: one collection, what it should hold,
 * and what must be right about it and its graphs at every moment. */
#ifndef PV_TEST_ANN_KIT_H
#define PV_TEST_ANN_KIT_H

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

T_MAYBE static void t_log(void *ctx, int level, const char *category, const char *message) {
    t_up *u = ctx;
    (void)message;
    u->complaints += level == PV_LOG_ERROR && strcmp(category, "index") == 0;
}

T_MAYBE static void t_vector(t_up *u, float v[T_DIMS]) {
    const float centre = (float)test_rng_below(&u->rng, T_CLUSTERS);
    for (size_t d = 0; d < T_DIMS; d++) {
        v[d] = (d % 2 ? centre : -centre) + (float)test_rng_below(&u->rng, 2000) / 500.0f;
    }
}

T_MAYBE static void t_put_ids(t_up *u, const uint64_t *ids, size_t count) {
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
T_MAYBE static void t_insert(t_up *u, size_t count) {
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

T_MAYBE static uint64_t t_any(t_up *u) {
    uint64_t id;
    do {
        id = test_rng_below(&u->rng, u->next);
    } while (!u->there[id]);
    return id;
}

T_MAYBE static void t_delete(t_up *u, size_t count) {
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
T_MAYBE static void t_change(t_up *u, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const uint64_t id = t_any(u);
        t_vector(u, u->v[id]);
        t_put_ids(u, &id, 1);
    }
}

T_MAYBE static void t_open_opts(t_up *u, size_t count, uint32_t threads, pv_collection_opts *c) {
    memset(u, 0, sizeof *u);
    test_rng_init(&u->rng, test_seed());
    u->opts = (pv_open_opts)PV_OPEN_OPTS_INIT;
    u->opts.log = t_log;
    u->opts.log_ctx = u;
    u->opts.threads = threads;
    u->opts.sync = PV_SYNC_ASYNC;
    t_api_open(&u->t, &u->opts);
    c->dims = T_DIMS;
    c->key = PV_KEY_U64;
    test_assert_ok(pv_collection_create(u->t.db, NULL, "c", c, &u->t.err), &u->t.err);
    t_insert(u, count);
}

T_MAYBE static void t_open_as(t_up *u, size_t count, uint32_t threads, uint32_t index,
                              uint32_t code) {
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.metric = PV_METRIC_L2;
    c.index = index;
    c.code = code;
    t_open_opts(u, count, threads, &c);
}

T_MAYBE static void t_open_metric(t_up *u, size_t count, uint32_t metric) {
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.metric = metric;
    c.index = PV_INDEX_HNSW;
    t_open_opts(u, count, 1, &c);
}

T_MAYBE static void t_open(t_up *u, size_t count, uint32_t threads) {
    t_open_as(u, count, threads, PV_INDEX_HNSW, 0);
}

T_MAYBE static t_up *t_new_lists(size_t count, uint32_t threads, uint32_t code) {
    t_up *u = malloc(sizeof *u);
    assert_non_null(u);
    t_open_as(u, count, threads, PV_INDEX_IVF, code);
    return u;
}

T_MAYBE static t_up *t_new(size_t count, uint32_t threads) {
    t_up *u = malloc(sizeof *u);
    assert_non_null(u);
    t_open(u, count, threads);
    return u;
}

T_MAYBE static void t_free(t_up *u) {
    t_api_done(&u->t);
    free(u);
}

T_MAYBE static pv_collection_info t_info(t_up *u) {
    pv_collection_info info = PV_COLLECTION_INFO_INIT;
    test_assert_ok(pv_collection_info_get(u->t.db, NULL, "c", &info, &u->t.err), &u->t.err);
    return info;
}

/* ---- what must be right at every moment ---- */

T_MAYBE static double t_distance(const float *a, const float *b) {
    double sum = 0;
    for (size_t i = 0; i < T_DIMS; i++) {
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    }
    return sqrt(sum);
}

/* The distance of the k-th nearest record. */
T_MAYBE static double t_kth(const t_up *u, const float *q, size_t k) {
    double best[T_K] = {0};
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
T_MAYBE static void t_expect_answers(t_up *u, unsigned queries) {
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

T_MAYBE static void t_parts(t_up *u, uint32_t flags, pv__txn **out_txn, pv__parts *p) {
    pv_error *err = &u->t.err;
    test_assert_ok(pv__txn_begin(u->t.db->store, flags, out_txn, err), err);
    test_assert_ok(pv__parts_open(p, *out_txn, "c", err), err);
}

/* Pages that say they belong to object ids [owner, owner + owners). */
T_MAYBE static size_t t_pages_of(t_up *u, uint32_t owner, uint32_t owners) {
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
T_MAYBE static unsigned t_upkeep(t_up *u, unsigned steps_max) {
    unsigned steps = 0;
    while (steps < steps_max && pv__upkeep_run(u->t.db) != PV__CHORE_DONE) {
        steps++;
    }
    return steps;
}

T_MAYBE static void t_told(void *ctx, uint64_t page, uint32_t owner, const char *what) {
    (void)ctx;
    fprintf(stderr, "page %llu, object %u: %s\n", (unsigned long long)page, owner, what);
}

/* Live nodes that no way along links of level 0 leads to from the root, breadth first. */
T_MAYBE static size_t t_unreachable(pv__graph *g, pv_error *err) {
    const uint32_t nodes = g->meta.node_high;
    if (g->meta.shape != PV__SHAPE_LINKS) {
        return 0;
    }
    uint8_t *seen = calloc(nodes + 1, 1);
    uint32_t *queue = malloc((nodes + 1) * sizeof *queue);
    size_t head = 0, tail = 0, live = 0;
    assert_true(seen && queue);
    if (g->built && g->meta.root != 0) {
        queue[tail++] = g->meta.root - 1;
        seen[g->meta.root - 1] = 1;
    }
    while (head < tail) {
        const uint8_t *row = NULL;
        test_assert_ok(pv__column_read(&g->links, queue[head++], &row, err), err);
        live += pv__links_state(row) == PV__NODE_LIVE;
        for (unsigned i = 0; i < pv__links_count(row); i++) {
            const uint32_t to = pv__links_at(row, i) & ~PV__PROTECTED;
            assert_true(to < nodes);
            if (!seen[to]) {
                seen[to] = 1;
                queue[tail++] = to;
            }
        }
        if (head % 256 == 0) {
            test_assert_ok(pv__txn_pause(g->txn, err), err);
        }
    }
    free(queue);
    free(seen);
    return g->meta.node_count - live;
}

/* The graph and the next one, if there is one, are what they say, and all of it can be reached. */
T_MAYBE static void t_expect_graphs(t_up *u) {
    pv__txn *txn = NULL;
    pv__parts p;
    uint64_t bad = 0;
    pv_error *err = &u->t.err;
    t_parts(u, 0, &txn, &p);
    test_assert_ok(pv__parts_graph(&p, u->t.db->cpu, 1, err), err);
    test_assert_ok(pv__graph_check(&p.graph, &p.slots, true, t_told, NULL, &bad, err), err);
    assert_int_equal(t_unreachable(&p.graph, err), 0);
    if (p.c.next.page != 0) {
        test_assert_ok(pv__parts_next(&p, u->t.db->cpu, 1, err), err);
        test_assert_ok(pv__graph_check(&p.next, &p.slots, true, t_told, NULL, &bad, err), err);
        assert_int_equal(t_unreachable(&p.next, err), 0);
    }
    assert_int_equal(bad, 0);
    pv__parts_done(&p);
    pv__txn_rollback(txn);
}

/* Inserts, deletes, changes, upkeep; at last nearly none, none, some again: each is looked at. */
T_MAYBE static void t_come_and_go(t_up *u, unsigned rounds) {
    t_expect_graphs(u);
    for (unsigned round = 0; round < rounds; round++) {
        t_insert(u, round % 3 == 0 ? 60 : 1 + round % 5);
        t_expect_graphs(u);
        t_delete(u, round % 4 == 1 ? 90 : 7);
        t_expect_graphs(u);
        t_change(u, 4);
        t_expect_graphs(u);
        if (round % 6 == 5) {
            (void)t_upkeep(u, 3);
            t_expect_answers(u, 4);
        }
    }
    t_delete(u, u->count - 3);
    t_expect_graphs(u);
    t_insert(u, 5);
    t_expect_graphs(u);
    t_delete(u, u->count);
    t_expect_graphs(u);
    t_insert(u, 300);
    t_expect_graphs(u);
    t_expect_answers(u, 10);
}

#endif
