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

pv_results *pvpy_search_with(const pvpy_place *place, pv_txn *txn, int64_t k,
                             const pv_query *query) {
    pv_query q = *query;
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
    q.type = place->type;
    q.k = k > PV_LIMIT_K ? PV_LIMIT_K + 1 : (uint32_t)k; /* for the library to refuse */
    if (pv_search(place->db, txn, place->collection, &q, &results, pvpy_err()) != 0) {
        return NULL;
    }
    return results;
}

static pv_results *glue_search(const pvpy_place *place, const void *vector, int64_t k,
                               uint32_t include) {
    pv_query q = PV_QUERY_INIT;
    q.vector = vector;
    q.dims = place->dims;
    q.include = include;
    return pvpy_search_with(place, NULL, k, &q);
}

const pvpy_table *pvpy_functions(void) {
    static const pvpy_table functions = {
        .search = glue_search,
        .results_free = pv_results_free,
        .results_count = pv_results_count,
        .results_ids_u64 = pv_results_ids_u64,
        .results_ids_text = pv_results_ids_text,
        .results_scores = pv_results_scores,
        .results_distances = pv_results_distances,
    };
    return &functions;
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
