/* SPDX-License-Identifier: Apache-2.0 */
/* read.c - chapters "read", "search", "cursors" and "iterate". */
#include "api/args.h"
#include "engine/cursor.h"
#include "engine/iter.h"
#include "engine/search.h"

/* ---- by id ------------------------------------------------------------------------------- */

static int read_list(pv_db *db, pv_txn *txn, const char *collection, const pv__key_list *list,
                     uint32_t include, bool must_exist, pv_results **out_results, pv_error *err) {
    pv_results *results = NULL;
    pv__call call;
    PV_TRY(pv__call_begin(&call, db, txn, PV__CALL_READ, 0, err));
    int rc = pv__read_many(&call, collection, list, include, must_exist, &results, err);
    rc = pv__call_end(&call, rc, err);
    if (rc != 0) {
        pv__results_free(results);
        return rc;
    }
    *out_results = results;
    return 0;
}

int pv_get(pv_db *db, pv_txn *txn, const char *collection, const char *id, pv_results **out_results,
           pv_error *err) {
    const pv__key_list list = {.count = 1, .ids = &id};
    if (!out_results) {
        return pv__args_null("out_results", err);
    }
    *out_results = NULL;
    return id ? read_list(db, txn, collection, &list, PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR, true,
                          out_results, err)
              : pv__args_null("id", err);
}

int pv_get_u64(pv_db *db, pv_txn *txn, const char *collection, uint64_t id,
               pv_results **out_results, pv_error *err) {
    const pv__key_list list = {.count = 1, .ids_u64 = &id};
    if (!out_results) {
        return pv__args_null("out_results", err);
    }
    *out_results = NULL;
    return read_list(db, txn, collection, &list, PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR, true,
                     out_results, err);
}

int pv_get_many(pv_db *db, pv_txn *txn, const char *collection, const pv_ids *ids, uint32_t include,
                pv_results **out_results, pv_error *err) {
    pv__key_list list;
    if (!out_results) {
        return pv__args_null("out_results", err);
    }
    *out_results = NULL;
    PV_TRY(pv__args_ids(ids, &list, err));
    return read_list(db, txn, collection, &list, include, false, out_results, err);
}

int pv_count(pv_db *db, pv_txn *txn, const char *collection, const char *filter,
             uint64_t *out_count, pv_error *err) {
    uint64_t count = 0;
    pv__call call;
    if (!out_count) {
        return pv__args_null("out_count", err);
    }
    PV_TRY(pv__call_begin(&call, db, txn, PV__CALL_READ, 0, err));
    PV_TRY(pv__call_end(&call, pv__read_count(&call, collection, filter, &count, err), err));
    *out_count = count;
    return 0;
}

/* ---- search ------------------------------------------------------------------------------ */

static int read_query(pv_query *q, const pv_query *query, pv_error *err) {
    if (!query) {
        return pv__args_null("query", err);
    }
    return pv__args_import(q, sizeof(*q), query, "pv_query", err);
}

int pv_search(pv_db *db, pv_txn *txn, const char *collection, const pv_query *query,
              pv_results **out_results, pv_error *err) {
    pv_query q = PV_QUERY_INIT;
    pv__call call;
    if (!out_results) {
        return pv__args_null("out_results", err);
    }
    *out_results = NULL;
    PV_TRY(read_query(&q, query, err));
    PV_TRY(pv__call_begin(&call, db, txn, PV__CALL_READ, 0, err));
    return pv__call_end(&call, pv__search(&call, collection, &q, 1, 0, out_results, err), err);
}

int pv_search_into(pv_db *db, pv_txn *txn, const char *collection, const pv_query *query,
                   pv_rows *io_rows, pv_error *err) {
    pv_query q = PV_QUERY_INIT;
    pv_rows rows = PV_ROWS_INIT;
    pv__call call;
    if (!io_rows) {
        return pv__args_null("io_rows", err);
    }
    PV_TRY(pv__args_import(&rows, sizeof(rows), io_rows, "pv_rows", err));
    PV_TRY(pv__args_reserved(rows.reserved0, "pv_rows", err));
    PV_TRY(pv__args_reserved(rows.reserved1, "pv_rows", err));
    PV_TRY(read_query(&q, query, err));
    PV_TRY(pv__call_begin(&call, db, txn, PV__CALL_READ, 0, err));
    int rc = pv__search_into(&call, collection, &q, &rows, err);
    PV_TRY(pv__call_end(&call, rc, err));
    io_rows->count = rows.count;
    if (io_rows->struct_size >= offsetof(pv_rows, error) + sizeof(rows.error)) {
        io_rows->error = rows.error;
    }
    return 0;
}

int pv_search_many(pv_db *db, pv_txn *txn, const char *collection, const pv_query *query,
                   const pv_query_vectors *vectors, pv_results **out_results, pv_error *err) {
    pv_query_vectors v = PV_QUERY_VECTORS_INIT;
    pv_query q = PV_QUERY_INIT;
    pv__call call;
    if (!vectors) {
        return pv__args_null("vectors", err);
    }
    PV_TRY(pv__args_import(&v, sizeof(v), vectors, "pv_query_vectors", err));
    PV_TRY(pv__args_reserved(v.reserved0, "pv_query_vectors", err));
    if (v.count > PV_LIMIT_QUERIES) {
        return pv__err(err, PV_ERR_LIMIT, "%zu query vectors, at most %u are allowed", v.count,
                       (unsigned)PV_LIMIT_QUERIES);
    }
    if (!out_results) {
        return pv__args_null("out_results", err);
    }
    for (size_t i = 0; i < v.count; i++) {
        out_results[i] = NULL;
    }
    PV_TRY(read_query(&q, query, err));
    PV_TRY(pv__call_begin(&call, db, txn, PV__CALL_READ, 0, err));
    int rc = pv__search(&call, collection, &q, v.count, v.stride, out_results, err);
    return pv__call_end(&call, rc, err);
}

/* ---- cursors ----------------------------------------------------------------------------- */

int pv_cursor_open(pv_db *db, pv_txn *txn, const char *collection, const pv_query *query,
                   pv_cursor **out_cursor, pv_error *err) {
    pv_query q = PV_QUERY_INIT;
    if (!out_cursor) {
        return pv__args_null("out_cursor", err);
    }
    *out_cursor = NULL;
    PV_TRY(read_query(&q, query, err));
    return pv__search_cursor_new(db, txn, collection, &q, out_cursor, err);
}

int pv_cursor_next(pv_cursor *cursor, uint32_t k, pv_results **out_results, pv_error *err) {
    if (!out_results) {
        return pv__args_null("out_results", err);
    }
    *out_results = NULL;
    return cursor ? pv__search_cursor_page(cursor, k, out_results, err)
                  : pv__args_null("the cursor", err);
}

void pv_cursor_close(pv_cursor *cursor) { pv__search_cursor_free(cursor); }

/* ---- iterate ----------------------------------------------------------------------------- */

int pv_iter_open(pv_db *db, pv_txn *txn, const char *collection, const pv_iter_opts *opts,
                 pv_iter **out_iter, pv_error *err) {
    pv_iter_opts o = PV_ITER_OPTS_INIT;
    if (!out_iter) {
        return pv__args_null("out_iter", err);
    }
    *out_iter = NULL;
    PV_TRY(pv__args_import(&o, sizeof(o), opts, "pv_iter_opts", err));
    return pv__iter_new(db, txn, collection, &o, out_iter, err);
}

int pv_iter_next(pv_iter *iter, pv_error *err) {
    return iter ? pv__iter_step(iter, err) : pv__args_null("the iterator", err);
}

const char *pv_iter_id(const pv_iter *iter) { return pv__iter_current(iter).id; }

uint64_t pv_iter_id_u64(const pv_iter *iter) { return pv__iter_current(iter).id_u64; }

const char *pv_iter_metadata(const pv_iter *iter, size_t *out_len) {
    const pv__iter_record r = pv__iter_current(iter);
    if (out_len) {
        *out_len = r.metadata_len;
    }
    return r.metadata;
}

const void *pv_iter_vector(const pv_iter *iter, uint32_t *out_dims) {
    const pv__iter_record r = pv__iter_current(iter);
    if (out_dims) {
        *out_dims = r.dims;
    }
    return r.vector;
}

void pv_iter_close(pv_iter *iter) { pv__iter_free(iter); }
