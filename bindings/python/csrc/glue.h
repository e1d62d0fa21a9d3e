/* SPDX-License-Identifier: Apache-2.0 */
/* glue.h - what the Python module has in C beside pv.h. build_ffi.py reads this file and pv.h to
 * declare everything to cffi, so that prototypes stand here only.
 *
 * cffi lets go of the interpreter's lock around every function below and takes it again inside the
 * three pvpy_on_ functions, which are Python. */
#ifndef PVPY_GLUE_H
#define PVPY_GLUE_H

#include "pv.h"

/* The error of the calling thread, for the last argument of every call: it is filled by a call that
 * fails and is read before the thread makes the next one. */
pv_error *pvpy_err(void);

/* The answers of pv_search_many, freed together by pvpy_drop_batch. */
typedef struct pvpy_batch {
    size_t count;
    size_t width;    /* rows of the longest answer */
    size_t ids_size; /* bytes of all string keys, each with its NUL; 0: keys are numbers, or none */
    pv_results *results[];
} pvpy_batch;
/* NULL: pvpy_err() has the error. */
pvpy_batch *pvpy_search_many(pv_db *db, pv_txn *txn, const char *collection, const pv_query *query,
                             const pv_query_vectors *vectors);
/* Columns of all answers into arrays of count * width; places beyond an answer stay as they are. */
void pvpy_batch_scores(const pvpy_batch *batch, float *out);
void pvpy_batch_distances(const pvpy_batch *batch, float *out);
void pvpy_batch_numbers(const pvpy_batch *batch, uint64_t *out);
void pvpy_batch_texts(const pvpy_batch *batch, char *out); /* ids_size bytes */

/* What is the same in all searches of a collection. */
typedef struct pvpy_place {
    pv_db *db;
    const char *collection;
    uint32_t type, dims; /* of its vectors */
} pvpy_place;

/* A search with all that pv_query has, but for the places' type and k. k: refused below 1.
 * NULL: pvpy_err() has the error. */
pv_results *pvpy_search_with(const pvpy_place *place, pv_txn *txn, int64_t k,
                             const pv_query *query);

/* What rows.c, a module of its own, needs of the library. */
typedef struct pvpy_table {
    /* The usual search, outside of a transaction, with nothing but a vector of place->dims. */
    pv_results *(*search)(const pvpy_place *place, const void *vector, int64_t k, uint32_t include);
    void (*results_free)(pv_results *results);
    size_t (*results_count)(const pv_results *results);
    const uint64_t *(*results_ids_u64)(const pv_results *results);
    const char *(*results_ids_text)(const pv_results *results, const uint64_t **out_offsets);
    const float *(*results_scores)(const pv_results *results);
    const float *(*results_distances)(const pv_results *results);
} pvpy_table;
const pvpy_table *pvpy_functions(void);

/* Destructors of Python objects; the collector of garbage calls them on any thread and at any time,
 * even while a callback runs inside a call of the library. What may not be done there is put off
 * until pvpy_sweep, which every writing call and every destructor begins with. */
void pvpy_drop_db(void *db); /* closes it when nobody has, and lets go of it */
void pvpy_drop_txn(void *txn);
void pvpy_drop_iter(void *iter);
void pvpy_drop_cursor(void *cursor);
void pvpy_drop_batch(void *batch);
void pvpy_sweep(void);

/* Is this thread inside a callback of the library, where no call may be made? */
int pvpy_inside(void);

/* For pv_open_opts and pv_check. The interrupt asks Python for signals at most every 50 ms, and
 * only on the thread that handles them, whose number is told here (0: nobody's). */
void pvpy_set_main(unsigned long thread);
int pvpy_interrupt(void *ctx);
void pvpy_log(void *ctx, int level, const char *category, const char *message);
void pvpy_finding(void *ctx, const char *collection, uint64_t page_id, const char *message);

#endif
