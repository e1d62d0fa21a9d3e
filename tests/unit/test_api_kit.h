/* SPDX-License-Identifier: Apache-2.0 */
/* test_api_kit.h - what the tests of pv.h share: a database in a folder of its own, records in one
 * line, an allocator that counts and fails, and a fingerprint of everything that is stored. Only
 * the public header is used. */
#ifndef PV_TEST_API_KIT_H
#define PV_TEST_API_KIT_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pv.h"
#include "support/test_support.h"

#if defined(__GNUC__)
#define T_MAYBE __attribute__((unused))
#else
#define T_MAYBE
#endif

/* ---- a database ---- */

typedef struct t_api {
    test_dir dir;
    char path[600];
    pv_db *db;
    pv_error err;
} t_api;

T_MAYBE static void t_api_reopen(t_api *t, const pv_open_opts *opts) {
    test_assert_ok(pv_open(t->path, opts, &t->db, &t->err), &t->err);
}

T_MAYBE static void t_api_open(t_api *t, const pv_open_opts *opts) {
    memset(t, 0, sizeof(*t));
    t->err = (pv_error)PV_ERROR_INIT;
    test_dir_init(&t->dir);
    test_dir_file(&t->dir, "t.pv", t->path, sizeof(t->path));
    t_api_reopen(t, opts);
}

T_MAYBE static void t_api_shut(t_api *t) {
    test_assert_ok(pv_close(t->db, &t->err), &t->err);
    t->db = NULL;
}

T_MAYBE static void t_api_done(t_api *t) {
    if (t->db) {
        t_api_shut(t);
    }
    test_dir_done(&t->dir);
}

T_MAYBE static void t_api_create(t_api *t, const char *name, uint32_t dims, uint32_t metric,
                                 uint32_t key) {
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    c.dims = dims;
    c.metric = metric;
    c.key = key;
    test_assert_ok(pv_collection_create(t->db, NULL, name, &c, &t->err), &t->err);
}

/* ---- records ---- */

T_MAYBE static pv_record t_record(const char *id, const float *vector, uint32_t dims,
                                  const char *metadata) {
    pv_record r = PV_RECORD_INIT;
    r.id = id;
    r.vector = vector;
    r.dims = dims;
    r.metadata = metadata;
    return r;
}

T_MAYBE static pv_record t_record_u64(uint64_t id, const float *vector, uint32_t dims,
                                      const char *metadata) {
    pv_record r = t_record(NULL, vector, dims, metadata);
    r.id_u64 = id;
    return r;
}

T_MAYBE static void t_put(t_api *t, pv_txn *txn, const char *name, pv_record r) {
    test_assert_ok(pv_upsert(t->db, txn, name, &r, 1, NULL, &t->err), &t->err);
}

/* A record of two dimensions. */
T_MAYBE static void t_put2(t_api *t, pv_txn *txn, const char *name, const char *id, float x,
                           float y, const char *metadata) {
    const float v[2] = {x, y};
    t_put(t, txn, name, t_record(id, v, 2, metadata));
}

T_MAYBE static uint64_t t_count(t_api *t, pv_txn *txn, const char *name, const char *filter) {
    uint64_t n = UINT64_MAX;
    test_assert_ok(pv_count(t->db, txn, name, filter, &n, &t->err), &t->err);
    return n;
}

T_MAYBE static bool t_has(t_api *t, pv_txn *txn, const char *name, const char *id) {
    pv_results *r = NULL;
    const int rc = pv_get(t->db, txn, name, id, &r, &t->err);
    pv_results_free(r);
    if (rc != PV_ERR_NOTFOUND) {
        test_assert_ok(rc, &t->err);
    }
    return rc == 0;
}

/* Metadata of one record, in a buffer that the caller frees. */
T_MAYBE static char *t_metadata(t_api *t, pv_txn *txn, const char *name, const char *id) {
    pv_results *r = NULL;
    size_t len = 0;
    test_assert_ok(pv_get(t->db, txn, name, id, &r, &t->err), &t->err);
    const char *text = pv_results_metadata(r, 0, &len);
    assert_non_null(text);
    assert_int_equal(strlen(text), len);
    char *copy = malloc(len + 1);
    assert_non_null(copy);
    memcpy(copy, text, len + 1);
    pv_results_free(r);
    return copy;
}

T_MAYBE static void t_expect_metadata(t_api *t, pv_txn *txn, const char *name, const char *id,
                                      const char *want) {
    char *got = t_metadata(t, txn, name, id);
    assert_string_equal(got, want);
    free(got);
}

/* Ids of a search or get, joined by blanks. */
T_MAYBE static const char *t_ids(const pv_results *r, char *out, size_t cap) {
    size_t at = 0;
    out[0] = 0;
    for (size_t i = 0; i < pv_results_count(r) && at < cap; i++) {
        const char *blank = i ? " " : "";
        if (pv_results_key(r) == PV_KEY_U64) {
            at += (size_t)snprintf(out + at, cap - at, "%s%llu", blank,
                                   (unsigned long long)pv_results_id_u64(r, i));
        } else {
            at += (size_t)snprintf(out + at, cap - at, "%s%s", blank, pv_results_id(r, i));
        }
    }
    return out;
}

T_MAYBE static void t_expect_search(t_api *t, pv_txn *txn, const char *name, pv_query q,
                                    const char *want) {
    char got[1024];
    pv_results *r = NULL;
    test_assert_ok(pv_search(t->db, txn, name, &q, &r, &t->err), &t->err);
    assert_string_equal(t_ids(r, got, sizeof(got)), want);
    pv_results_free(r);
}

T_MAYBE static pv_query t_query(const float *vector, uint32_t dims, uint32_t k) {
    pv_query q = PV_QUERY_INIT;
    q.vector = vector;
    q.dims = dims;
    q.k = k;
    return q;
}

/* ---- what must not have changed ---- */

typedef struct t_mark {
    uint64_t lsn, checksum, log_bytes;
} t_mark;

T_MAYBE static t_mark t_mark_of(t_api *t) {
    pv_stats s = PV_STATS_INIT;
    test_assert_ok(pv_stats_get(t->db, &s, &t->err), &t->err);
    return (t_mark){s.lsn, s.db_checksum, s.log_bytes};
}

T_MAYBE static void t_expect_unchanged(t_api *t, t_mark before) {
    const t_mark now = t_mark_of(t);
    assert_int_equal(now.lsn, before.lsn);
    assert_int_equal(now.checksum, before.checksum);
    assert_int_equal(now.log_bytes, before.log_bytes);
}

T_MAYBE static void t_finding(void *ctx, const char *collection, uint64_t page_id,
                              const char *message) {
    (void)ctx;
    fprintf(stderr, "finding: %s page %llu: %s\n", collection ? collection : "-",
            (unsigned long long)page_id, message);
}

T_MAYBE static void t_expect_sound(t_api *t) {
    uint64_t problems = UINT64_MAX;
    test_assert_ok(pv_check(t->db, PV_CHECK_QUICK, t_finding, NULL, &problems, &t->err), &t->err);
    assert_int_equal(problems, 0);
    test_assert_ok(pv_check(t->db, PV_CHECK_DEEP, t_finding, NULL, &problems, &t->err), &t->err);
    assert_int_equal(problems, 0);
}

/* rc and the words that the message must hold. */
T_MAYBE static void t_expect_error_at(int rc, int want, const pv_error *err, const char *words,
                                      const char *file, int line) {
    test_assert_rc_at(rc, want, err, file, line);
    if (err && words && !strstr(err->message, words)) {
        fprintf(stderr, "%s:%d: \"%s\" lacks \"%s\"\n", file, line, err->message, words);
        fail();
    }
}
#define t_expect_error(rc, want, err, words)                                                       \
    t_expect_error_at((rc), (want), (err), (words), __FILE__, __LINE__)

/* ---- an allocator that counts and fails ---- */

typedef struct t_heap {
    pv_allocator allocator;
    _Atomic size_t bytes;
    _Atomic uint64_t calls;
    _Atomic uint64_t fail_at; /* 0: never */
    _Atomic uint32_t fail_on; /* and all after it */
} t_heap;

T_MAYBE static void *t_heap_realloc(void *ctx, void *p, size_t old_size, size_t new_size) {
    t_heap *h = ctx;
    if (new_size == 0) {
        h->bytes -= p ? old_size : 0;
        free(p);
        return NULL;
    }
    const uint64_t call = ++h->calls;
    if (h->fail_at && (call == h->fail_at || (h->fail_on && call > h->fail_at))) {
        return NULL;
    }
    void *q = realloc(p, new_size);
    if (q) {
        h->bytes += new_size - (p ? old_size : 0);
    }
    return q;
}

T_MAYBE static void t_heap_init(t_heap *h) {
    memset(h, 0, sizeof(*h));
    h->allocator = (pv_allocator){h, t_heap_realloc};
}

#endif
