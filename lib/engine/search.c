/* SPDX-License-Identifier: Apache-2.0 */
/* search.c - the nearest records of one or many vectors: check the query, scan, hand out rows.
 *
 * The answer comes from a walk of the collection's graph (approx.c), or from comparing with every
 * record (scan.c): where there is no graph, or where the caller wants it exact. */
#include "engine/search.h"

#include <math.h>

#include "engine/approx.h"
#include "engine/exact.h"
#include "engine/upkeep.h"
#include "engine/workspace.h"

#define SEARCH_K_DEFAULT 10u

typedef struct search_job {
    pv_db *db;
    pv__workspace *ws;
    pv__parts *parts; /* of ws */
    const pv_query *query;
    size_t count, k;
    uint8_t *vectors; /* copies, packed; this and what follows in ws->block */
    uint8_t *rooms;   /* of queries, packed */
    pv__kernel_query *queries;
    pv__nearest *nearest;
    pv__ties ties;
    pv__hit *hits;
    pv__filter *filter;
} search_job;

int pv__search_check(const pv_query *q, size_t count, pv_error *err) {
    const uint32_t flags = PV_QUERY_EXACT | PV_QUERY_WITHIN | PV_QUERY_CODES;
    const uint32_t include = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    if (q->flags & ~flags) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "unknown query flags 0x%x",
                       (unsigned)(q->flags & ~flags));
    }
    if ((q->flags & PV_QUERY_EXACT) && (q->flags & PV_QUERY_CODES)) {
        return pv__err(err, PV_ERR_MISUSE, "a search is exact or by codes, not both");
    }
    if (q->include & ~include) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "unknown include flags 0x%x",
                       (unsigned)(q->include & ~include));
    }
    if (q->k > PV__K_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "k is %u, at most %u are allowed", (unsigned)q->k,
                       (unsigned)PV__K_MAX);
    }
    if ((q->flags & PV_QUERY_WITHIN) && isnan(q->max_distance)) {
        return pv__err(err, PV_ERR_MISUSE, "max_distance is NaN");
    }
    if (!(q->target_recall >= 0 && q->target_recall <= 1)) { /* NaN too */
        return pv__err(err, PV_ERR_MISUSE, "target_recall is not in 0 to 1");
    }
    if (q->ef > PV__GRAPH_EF_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "ef is %u, at most %u is allowed", (unsigned)q->ef,
                       (unsigned)PV__GRAPH_EF_MAX);
    }
    if (q->threads > PV__THREADS_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "%u threads are asked for, at most %u are allowed",
                       (unsigned)q->threads, PV__THREADS_MAX);
    }
    if (count > PV_LIMIT_QUERIES) {
        return pv__err(err, PV_ERR_LIMIT, "%zu query vectors, at most %u are allowed", count,
                       (unsigned)PV_LIMIT_QUERIES);
    }
    return 0;
}

/* Rows wanted per query: no more than there are, so that a large k costs nothing. */
static int search_k(search_job *j, pv_error *err) {
    const pv_query *q = j->query;
    size_t k = q->k ? q->k : (q->flags & PV_QUERY_WITHIN) ? PV__K_MAX : SEARCH_K_DEFAULT;
    k = PV_MIN(k, (size_t)j->parts->slots.meta.live_count);
    if (k > 0 && j->count > PV_LIMIT_QUERY_ROWS / k) {
        return pv__err(err, PV_ERR_LIMIT,
                       "%zu query vectors of %zu rows each, at most %u rows are "
                       "allowed",
                       j->count, k, (unsigned)PV_LIMIT_QUERY_ROWS);
    }
    j->k = k;
    return 0;
}

static int search_vectors(search_job *j, size_t stride, pv_error *err) {
    const pv_query *q = j->query;
    const uint32_t type = q->type ? q->type : PV_TYPE_F32;
    const uint8_t *from = q->vector;
    for (size_t i = 0; i < j->count; i++) {
        int rc = pv__vector_check(j->parts, from, q->dims, type, err);
        if (rc != 0) {
            return j->count > 1 ? pv__err_at(err, rc, i) : rc;
        }
        if (i == 0) {
            const size_t row = j->parts->column.row_size;
            stride = stride ? stride : row;
            if (stride < row && j->count > 1) {
                return pv__err(err, PV_ERR_MISUSE, "a stride of %zu is less than a vector's %zu",
                               stride, row);
            }
        }
        memcpy(j->vectors + i * j->parts->column.row_size, from, j->parts->column.row_size);
        from += stride;
    }
    return 0;
}

/* A place for an array in the block behind *io_at bytes. */
static size_t search_place(size_t *io_at, size_t count, size_t size) {
    const size_t at = PV_ALIGN_UP(*io_at, (size_t)PV__WORKSPACE_ALIGN);
    *io_at = at + count * size;
    return at;
}

/* At most 4 GiB of vectors and of hits: no sum overflows. */
static int search_room(search_job *j, pv_error *err) {
    size_t bytes = 0;
    const pv__field *f = &j->parts->c.field;
    const size_t vectors = search_place(&bytes, j->count, j->parts->column.row_size);
    const size_t rooms = search_place(&bytes, j->count, pv__kernel_query_room(f->type, f->dims));
    const size_t queries = search_place(&bytes, j->count, sizeof(*j->queries));
    const size_t nearest = search_place(&bytes, j->count, sizeof(*j->nearest));
    const size_t hits = search_place(&bytes, j->count * PV_MAX(j->k, (size_t)1), sizeof(*j->hits));
    PV_TRY(pv__workspace_room(j->ws, bytes, err));
    j->vectors = j->ws->block + vectors;
    j->rooms = j->ws->block + rooms;
    j->queries = (void *)(j->ws->block + queries);
    j->nearest = (void *)(j->ws->block + nearest);
    j->hits = (void *)(j->ws->block + hits);
    memset(j->nearest, 0, j->count * sizeof(*j->nearest));
    return 0;
}

static void search_done(search_job *j) {
    for (size_t i = 0; j->nearest && i < j->count; i++) {
        pv__nearest_done(&j->nearest[i]);
    }
    pv__ties_done(&j->ties);
    pv__filter_free(j->filter);
    pv__workspace_give(j->db, j->ws);
}

/* The graph is derived from the vectors: where it is damaged, they answer. */
static int search_doubt(search_job *j, int rc, const pv_error *found, pv_error *err) {
    if (rc != PV_ERR_CORRUPT) {
        return rc == 0 ? 0 : pv__err(err, rc, "%s", found->message);
    }
    if (!pv__upkeep_doubted(j->db, &j->parts->c)) { /* the first one says it */
        pv__log(&j->db->log, PV_LOG_ERROR, "index",
                "collection '%s' is searched without its graph: %s", j->parts->c.name,
                found->message);
    }
    if (!j->parts->graph_open || !j->parts->graph.data_bad) {
        pv__upkeep_doubt(j->db, &j->parts->c);
    }
    j->ws->known = false; /* it says what was found bad */
    for (size_t i = 0; i < j->count; i++) {
        pv__nearest_done(&j->nearest[i]);
        pv__nearest_init(&j->nearest[i], &j->db->env->mem, j->hits + i * j->k, j->k, &j->ties);
    }
    return 0;
}

static int search_approx(search_job *j, const pv__scan *scan, bool *out_done, pv_error *err) {
    const pv_query *q = j->query;
    pv_error found = PV_ERROR_INIT;
    const int rc =
        pv__approx_vectors(j->db, j->parts, scan, j->k, q->ef, q->target_recall, out_done, &found);
    *out_done = *out_done && rc == 0;
    return search_doubt(j, rc, &found, err);
}

/* Damage of the vectors is found again by the scan. */
static int search_exact(search_job *j, const pv__scan *scan, pv_error *err) {
    pv_error found = PV_ERROR_INIT;
    const int rc = pv__exact_vectors(j->db, j->parts, scan, &found);
    PV_TRY(search_doubt(j, rc, &found, err));
    return rc == 0 ? 0 : pv__scan_vectors(j->db, j->parts, scan, err);
}

static int search_run(search_job *j, pv_error *err) {
    const pv_query *q = j->query;
    const pv__field *f = &j->parts->c.field;
    const size_t room = pv__kernel_query_room(f->type, f->dims);
    const pv__scan scan = {
        .kernel = pv__kernel_table(j->db->cpu),
        .queries = j->queries,
        .nearest = j->nearest,
        .query_count = j->count,
        .filter = j->filter,
        .max_distance = q->flags & PV_QUERY_WITHIN ? q->max_distance : INFINITY,
        .threads = q->threads,
        .codes = q->flags & PV_QUERY_CODES,
    };
    for (size_t i = 0; i < j->count; i++) {
        PV_TRY(pv__parts_query(j->parts, j->db->cpu, j->vectors + i * j->parts->column.row_size,
                               j->rooms + i * room, &j->queries[i], err));
        pv__nearest_init(&j->nearest[i], &j->db->env->mem, j->hits + i * j->k, j->k, &j->ties);
    }
    bool done = false;
    if (!(q->flags & PV_QUERY_EXACT)) {
        PV_TRY(search_approx(j, &scan, &done, err));
    }
    if (!done) {
        PV_TRY(search_exact(j, &scan, err));
    }
    for (size_t i = 0; i < j->count; i++) {
        PV_TRY(pv__nearest_finish(&j->nearest[i], j->parts, err));
    }
    return 0;
}

/* Keys of the rows, one behind the other in j->buf as u32 length and bytes. */
static int search_keys(search_job *j, const pv__hit *hits, size_t rows, size_t *out_bytes,
                       pv_error *err) {
    pv__buf_clear(&j->ws->keys);
    *out_bytes = 0;
    for (size_t at = 0; at < rows; at += PV__TREE_MANY) {
        const size_t n = PV_MIN(rows - at, (size_t)PV__TREE_MANY);
        uint32_t slots[PV__TREE_MANY];
        pv__row found[PV__TREE_MANY];
        for (size_t i = 0; i < n; i++) {
            slots[i] = hits[at + i].slot;
        }
        PV_TRY(pv__rows_get(j->parts, slots, n, false, &j->ws->rows, found, err));
        for (size_t i = 0; i < n; i++) {
            pv__buf_add_u32(&j->ws->keys, (uint32_t)found[i].key_len);
            pv__buf_add(&j->ws->keys, found[i].key, found[i].key_len);
            *out_bytes += found[i].key_len + 1;
        }
        PV_TRY(pv__buf_check(&j->ws->keys, err));
        PV_TRY(pv__txn_pause(j->parts->txn, err));
    }
    return 0;
}

static int search_fill(search_job *j, pv_results *r, const pv__hit *hits, pv_error *err) {
    const uint8_t *key = j->ws->keys.data;
    const bool ids = r->ids || r->ids_u64;
    for (size_t h = 0; h < r->count; h++) {
        pv__results_set_distance(r, h, hits[h].distance);
        if (ids) {
            const pv__bytes bytes = {key + 4, pv__get32(key)};
            key += 4 + bytes.size;
            PV_TRY(pv__results_set_id(r, h, bytes, err));
        }
        if (r->metadata || r->vectors) {
            PV_TRY(pv__results_fill(r, h, j->parts, hits[h].slot, NULL, &j->ws->rows, err));
            PV_TRY(pv__txn_pause(j->parts->txn, err));
        }
    }
    return 0;
}

static int search_rows(search_job *j, size_t i, pv_results **out, pv_error *err) {
    const pv__topk *top = &j->nearest[i].top;
    const size_t rows = j->k > 0 ? top->count : 0;
    size_t bytes = 0;
    pv_results *r = NULL;
    PV_TRY(search_keys(j, top->hits, rows, &bytes, err));
    PV_TRY(pv__results_new(j->db->env, &j->parts->c, rows, bytes,
                           j->query->include | PV__RESULTS_DISTANCES, &r, err));
    r->plan = pv__how_text(j->nearest[i].how);
    r->error = j->nearest[i].error;
    const int rc = search_fill(j, r, top->hits, err);
    if (rc != 0) {
        pv__results_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

/* The answers, in j->nearest. */
static int search_answer(search_job *j, pv__call *call, const char *collection, size_t stride,
                         pv_error *err) {
    const pv_query *q = j->query;
    PV_TRY(pv__search_check(q, j->count, err));
    PV_TRY(pv__workspace_take(j->db, &j->ws, err));
    j->parts = &j->ws->parts;
    PV_TRY(pv__workspace_open(j->ws, call->txn, collection, err));
    PV_TRY(search_k(j, err));
    if (j->count > 0) {
        /* The first vector before the memory, which depends on dims being right. */
        const uint32_t type = q->type ? q->type : PV_TYPE_F32;
        const int rc = pv__vector_check(j->parts, q->vector, q->dims, type, err);
        if (rc != 0) {
            return j->count > 1 ? pv__err_at(err, rc, 0) : rc;
        }
        PV_TRY(search_room(j, err));
    }
    PV_TRY(search_vectors(j, stride, err));
    if (q->filter) {
        const size_t len = q->filter_len ? q->filter_len : strlen(q->filter);
        PV_TRY(pv__filter_compile(&j->db->env->mem, q->filter, len, &j->filter, err));
    }
    return j->k > 0 && j->count > 0 ? search_run(j, err) : 0;
}

int pv__search(pv__call *call, const char *collection, const pv_query *query, size_t count,
               size_t stride, pv_results **out_results, pv_error *err) {
    search_job j = {
        .db = call->db, .ties = {.mem = &call->db->env->mem}, .query = query, .count = count};
    size_t made = 0;
    int rc = search_answer(&j, call, collection, stride, err);
    while (rc == 0 && made < count) {
        rc = search_rows(&j, made, &out_results[made], err);
        made += rc == 0 ? 1u : 0u;
    }
    if (rc != 0) {
        while (made > 0) {
            pv__results_free(out_results[--made]);
            out_results[made] = NULL;
        }
    }
    search_done(&j);
    return rc;
}

/* ---- into arrays of the caller ----------------------------------------------------------- */

static int search_into_check(const search_job *j, const pv_rows *r, size_t rows, pv_error *err) {
    const bool texts = j->parts->c.key != PV_KEY_U64;
    if (j->query->include != 0) {
        return pv__err(err, PV_ERR_MISUSE, "rows in arrays carry no metadata and no vectors");
    }
    if ((r->id_text != NULL) != (r->id_offsets != NULL)) {
        return pv__err(err, PV_ERR_MISUSE,
                       "id_text and id_offsets are given one without the other");
    }
    if (texts ? r->ids_u64 != NULL : r->id_text != NULL) {
        return pv__err(err, PV_ERR_MISUSE, "arrays for ids that are %s, collection '%s' has %s",
                       texts ? "numbers" : "texts", j->parts->c.name, texts ? "texts" : "numbers");
    }
    return rows <= r->room ? 0
                           : pv__err(err, PV_ERR_LIMIT,
                                     "%zu rows were found, there is room for %zu", rows, r->room);
}

static int search_into(search_job *j, pv_rows *io_rows, pv_error *err) {
    const pv__topk *top = &j->nearest[0].top;
    const size_t rows = j->k > 0 ? top->count : 0;
    size_t bytes = 0;
    pv_results view = {
        .count = rows,
        .key = j->parts->c.key,
        .from_one = pv__metric_of(j->parts->c.field.metric)->from_one,
        .ids_u64 = io_rows->ids_u64,
        .ids = io_rows->id_offsets,
        .id_text = io_rows->id_text,
        .id_room = io_rows->id_room,
        .distances = io_rows->distances,
        .scores = io_rows->scores,
    };
    PV_TRY(search_into_check(j, io_rows, rows, err));
    if (view.ids || view.ids_u64) {
        PV_TRY(search_keys(j, top->hits, rows, &bytes, err));
    }
    if (view.ids && bytes > view.id_room) {
        return pv__err(err, PV_ERR_LIMIT, "the ids have %zu bytes, there is room for %zu", bytes,
                       view.id_room);
    }
    if (view.ids) {
        view.ids[0] = 0; /* also when there are no rows */
    }
    PV_TRY(search_fill(j, &view, top->hits, err));
    io_rows->count = rows;
    io_rows->error = j->k > 0 ? j->nearest[0].error : 0;
    return 0;
}

int pv__search_into(pv__call *call, const char *collection, const pv_query *query, pv_rows *io_rows,
                    pv_error *err) {
    search_job j = {.db = call->db, .query = query, .count = 1};
    int rc = search_answer(&j, call, collection, 0, err);
    rc = rc == 0 ? search_into(&j, io_rows, err) : rc;
    search_done(&j);
    return rc;
}

#undef SEARCH_K_DEFAULT
