/* SPDX-License-Identifier: Apache-2.0 */
/* glue.c - see glue.h. The only state are marks of threads and the list of what was put off, which
 * has no lock, because a child may be forked at any time. */
#include "glue.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GLUE_ASK_NS 50000000

/* Python functions, made by cffi; defined in the generated module. */
extern int pvpy_on_signals(void);
extern void pvpy_on_log(void *ctx, int level, const char *category, const char *message);
extern void pvpy_on_finding(void *ctx, const char *collection, uint64_t page_id,
                            const char *message);

static __thread pv_error glue_error;
static __thread int glue_depth;      /* of callbacks on this thread */
static __thread int64_t glue_ask_at; /* when signals are asked for next */
static _Atomic unsigned long glue_main;

typedef struct glue_late {
    struct glue_late *next;
    void (*drop)(void *);
    void *what;
} glue_late;
static glue_late *_Atomic glue_late_list;

pv_error *pvpy_err(void) {
    glue_error.struct_size = sizeof(glue_error);
    return &glue_error;
}

static void glue_fail(int code) {
    glue_error = (pv_error)PV_ERROR_INIT;
    glue_error.code = code;
}

static pvpy_rows *glue_rows(pv_results *results) {
    pvpy_rows *rows = malloc(sizeof(*rows));
    const uint64_t *offsets = NULL;
    if (!rows) {
        glue_fail(PV_ERR_NOMEM);
        return NULL;
    }
    rows->results = results;
    rows->count = pv_results_count(results);
    rows->ids_u64 = pv_results_ids_u64(results);
    rows->ids_text = pv_results_ids_text(results, &offsets);
    rows->ids_size = offsets && rows->count > 0 ? (size_t)offsets[rows->count] - 1 : 0;
    rows->scores = pv_results_scores(results);
    rows->distances = pv_results_distances(results);
    rows->id_bytes_size = rows->ids_u64 ? rows->count * sizeof(*rows->ids_u64) : 0;
    rows->float_bytes_size = rows->scores && rows->distances ? rows->count * sizeof(float) : 0;
    rows->id_bytes = rows->id_bytes_size ? (const char *)rows->ids_u64 : "";
    rows->score_bytes = rows->float_bytes_size ? (const char *)rows->scores : "";
    rows->distance_bytes = rows->float_bytes_size ? (const char *)rows->distances : "";
    return rows;
}

pvpy_rows *pvpy_rows_new(pv_results *results) {
    pvpy_rows *rows = glue_rows(results);
    if (!rows) {
        pv_results_free(results);
    }
    return rows;
}

pvpy_rows *pvpy_search(const pvpy_place *place, pv_txn *txn, const void *vector, uint32_t dims,
                       int64_t k, uint32_t include, const pv_query *more) {
    static const pv_query nothing = PV_QUERY_INIT;
    pv_query q = more ? *more : nothing;
    pv_results *results = NULL;
    if (glue_depth > 0) {
        glue_fail(PV_ERR_MISUSE);
        return NULL;
    }
    if (k < 1) {
        glue_fail(PV_ERR_MISUSE);
        snprintf(glue_error.message, sizeof(glue_error.message), "k is %lld, wanted at least 1",
                 (long long)k);
        return NULL;
    }
    q.vector = vector;
    q.dims = dims;
    q.type = place->type;
    q.k = k > PV_LIMIT_K ? PV_LIMIT_K + 1 : (uint32_t)k; /* for the library to refuse */
    q.include = include;
    if (pv_search(place->db, txn, place->collection, &q, &results, pvpy_err()) != 0) {
        return NULL;
    }
    return pvpy_rows_new(results);
}

/* ---- many searches -------------------------------------------------------------------------- */

pvpy_batch *pvpy_search_many(pv_db *db, pv_txn *txn, const char *collection, const pv_query *query,
                             const pv_query_vectors *vectors) {
    /* One place at least, so that more vectors than are allowed need no memory to be refused. */
    const size_t count = vectors->count <= PV_LIMIT_QUERIES ? vectors->count : 0;
    pvpy_batch *batch = calloc(1, sizeof(*batch) + (count + 1) * sizeof(batch->results[0]));
    if (!batch) {
        glue_fail(PV_ERR_NOMEM);
        return NULL;
    }
    if (pv_search_many(db, txn, collection, query, vectors, batch->results, pvpy_err()) != 0) {
        free(batch);
        return NULL;
    }
    batch->count = count;
    for (size_t i = 0; i < count; i++) {
        const uint64_t *offsets = NULL;
        const size_t rows = pv_results_count(batch->results[i]);
        batch->width = rows > batch->width ? rows : batch->width;
        if (pv_results_ids_text(batch->results[i], &offsets)) {
            batch->ids_size += (size_t)offsets[rows];
        }
    }
    return batch;
}

pvpy_rows *pvpy_batch_rows(const pvpy_batch *batch, size_t i) {
    return glue_rows(batch->results[i]);
}

static void glue_floats(const pvpy_batch *batch, const float *(*column)(const pv_results *),
                        float *out) {
    for (size_t i = 0; i < batch->count; i++, out += batch->width) {
        const size_t rows = pv_results_count(batch->results[i]);
        if (rows > 0) {
            memcpy(out, column(batch->results[i]), rows * sizeof(*out));
        }
    }
}

void pvpy_batch_scores(const pvpy_batch *batch, float *out) {
    glue_floats(batch, pv_results_scores, out);
}

void pvpy_batch_distances(const pvpy_batch *batch, float *out) {
    glue_floats(batch, pv_results_distances, out);
}

void pvpy_batch_numbers(const pvpy_batch *batch, uint64_t *out) {
    for (size_t i = 0; i < batch->count; i++, out += batch->width) {
        const size_t rows = pv_results_count(batch->results[i]);
        if (rows > 0) {
            memcpy(out, pv_results_ids_u64(batch->results[i]), rows * sizeof(*out));
        }
    }
}

void pvpy_batch_texts(const pvpy_batch *batch, char *out) {
    for (size_t i = 0; i < batch->count; i++) {
        const uint64_t *offsets = NULL;
        const char *text = pv_results_ids_text(batch->results[i], &offsets);
        const size_t size = (size_t)offsets[pv_results_count(batch->results[i])];
        memcpy(out, text, size);
        out += size;
    }
}

/* ---- destructors ---------------------------------------------------------------------------- */

static void glue_drop_db(void *db) {
    (void)pv_close(db, NULL); /* PV_ERR_CLOSED where Python has closed it */
    pv_db_unref(db);
}
static void glue_drop_txn(void *txn) { pv_txn_rollback(txn); }
static void glue_drop_iter(void *iter) { pv_iter_close(iter); }
static void glue_drop_cursor(void *cursor) { pv_cursor_close(cursor); }

void pvpy_sweep(void) {
    if (glue_depth > 0 || !atomic_load(&glue_late_list)) {
        return;
    }
    glue_late *list = atomic_exchange(&glue_late_list, NULL);
    while (list) {
        glue_late *next = list->next;
        list->drop(list->what);
        free(list);
        list = next;
    }
}

static void glue_drop(void (*drop)(void *), void *what) {
    if (glue_depth == 0) {
        pvpy_sweep();
        drop(what);
        return;
    }
    glue_late *late = malloc(sizeof(*late));
    if (late) { /* else it is lost, which is better than a deadlock */
        late->drop = drop;
        late->what = what;
        late->next = atomic_load(&glue_late_list);
        while (!atomic_compare_exchange_weak(&glue_late_list, &late->next, late)) {
        }
    }
}

void pvpy_drop_db(void *db) { glue_drop(glue_drop_db, db); }
void pvpy_drop_txn(void *txn) { glue_drop(glue_drop_txn, txn); }
void pvpy_drop_iter(void *iter) { glue_drop(glue_drop_iter, iter); }
void pvpy_drop_cursor(void *cursor) { glue_drop(glue_drop_cursor, cursor); }
/* Results are bound to nothing but memory: they may go at any time. */
void pvpy_drop_rows(void *rows) {
    pv_results_free(((pvpy_rows *)rows)->results);
    free(rows);
}
void pvpy_drop_view(void *rows) { free(rows); }
void pvpy_drop_batch(void *batch) {
    pvpy_batch *b = batch;
    for (size_t i = 0; i < b->count; i++) {
        pv_results_free(b->results[i]);
    }
    free(b);
}

/* ---- callbacks ------------------------------------------------------------------------------ */

int pvpy_inside(void) { return glue_depth > 0; }

void pvpy_set_main(unsigned long thread) { atomic_store(&glue_main, thread); }

int pvpy_interrupt(void *ctx) {
    struct timespec now;
    (void)ctx;
    if ((unsigned long)pthread_self() != atomic_load_explicit(&glue_main, memory_order_relaxed)) {
        return 0;
    }
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now); /* a few ns, where the exact clock takes 30 */
    const int64_t ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    if (ns < glue_ask_at) {
        return 0;
    }
    glue_depth++;
    const int stop = pvpy_on_signals();
    glue_depth--;
    glue_ask_at = ns + GLUE_ASK_NS;
    return stop;
}

void pvpy_log(void *ctx, int level, const char *category, const char *message) {
    glue_depth++;
    pvpy_on_log(ctx, level, category, message);
    glue_depth--;
}

void pvpy_finding(void *ctx, const char *collection, uint64_t page_id, const char *message) {
    glue_depth++;
    pvpy_on_finding(ctx, collection, page_id, message);
    glue_depth--;
}
