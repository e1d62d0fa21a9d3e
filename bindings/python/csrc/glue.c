/* SPDX-License-Identifier: Apache-2.0 */
/* glue.c - see glue.h. The only state are marks of threads and the list of what was put off, which
 * has no lock, because a child may be forked at any time. */
#include "glue.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
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

pv_results *pvpy_search(pv_db *db, pv_txn *txn, const char *collection, const void *vector,
                        uint32_t dims, uint32_t k, uint32_t include, uint32_t flags,
                        float max_distance, const char *filter, size_t filter_len) {
    pv_results *results = NULL;
    pv_query q = PV_QUERY_INIT;
    if (glue_depth > 0) {
        glue_error.code = PV_ERR_MISUSE;
        return NULL;
    }
    q.flags = flags;
    q.vector = vector;
    q.dims = dims;
    q.k = k;
    q.include = include;
    q.filter = filter;
    q.filter_len = filter_len;
    q.max_distance = max_distance;
    (void)pv_search(db, txn, collection, &q, &results, pvpy_err());
    return results;
}

/* ---- destructors ---------------------------------------------------------------------------- */

static void glue_drop_db(void *db) {
    (void)pv_close(db, NULL); /* PV_ERR_CLOSED where Python has closed it */
    pv_db_unref(db);
}
static void glue_drop_txn(void *txn) { pv_txn_rollback(txn); }
static void glue_drop_iter(void *iter) { pv_iter_close(iter); }
static void glue_drop_results(void *results) { pv_results_free(results); }

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
/* Results are bound to nothing but memory: they may go at any time. */
void pvpy_drop_results(void *results) { glue_drop_results(results); }

/* ---- callbacks ------------------------------------------------------------------------------ */

int pvpy_inside(void) { return glue_depth > 0; }

void pvpy_set_main(unsigned long thread) { atomic_store(&glue_main, thread); }

int pvpy_interrupt(void *ctx) {
    struct timespec now;
    (void)ctx;
    if ((unsigned long)pthread_self() != atomic_load_explicit(&glue_main, memory_order_relaxed)) {
        return 0;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
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
