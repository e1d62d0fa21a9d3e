/* SPDX-License-Identifier: Apache-2.0 */
/* overhead.c - the C side of overhead.py: the same searches in a loop, each row's id and score
 * looked at. Built by overhead.py together with the pv.c of the module. */
#include <string.h>
#include <time.h>

#include "pv.h"

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Seconds for `rounds` searches; sum takes what was read, so that reading is not left out. */
double overhead_search(pv_db *db, const char *collection, const float *vectors, size_t vector_count,
                       uint32_t dims, uint32_t k, uint32_t include, const char *filter,
                       size_t rounds, double *sum) {
    pv_query q = PV_QUERY_INIT;
    q.dims = dims;
    q.k = k;
    q.include = include;
    q.filter = filter;
    const double begin = seconds();
    for (size_t i = 0; i < rounds; i++) {
        pv_results *r = NULL;
        q.vector = vectors + (i % vector_count) * dims;
        if (pv_search(db, NULL, collection, &q, &r, NULL) != 0) {
            return -1;
        }
        for (size_t row = 0; row < pv_results_count(r); row++) {
            const char *id = pv_results_id(r, row);
            *sum += pv_results_score(r, row) +
                    (id ? (double)strlen(id) : (double)pv_results_id_u64(r, row));
        }
        pv_results_free(r);
    }
    return seconds() - begin;
}

double overhead_many(pv_db *db, const char *collection, const float *vectors, size_t count,
                     uint32_t dims, uint32_t k, pv_results **out, double *sum) {
    pv_query q = PV_QUERY_INIT;
    pv_query_vectors many = PV_QUERY_VECTORS_INIT;
    q.vector = vectors;
    q.dims = dims;
    q.k = k;
    many.count = count;
    const double begin = seconds();
    if (pv_search_many(db, NULL, collection, &q, &many, out, NULL) != 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t row = 0; row < pv_results_count(out[i]); row++) {
            const char *id = pv_results_id(out[i], row);
            *sum += pv_results_score(out[i], row) +
                    (id ? (double)strlen(id) : (double)pv_results_id_u64(out[i], row));
        }
        pv_results_free(out[i]);
    }
    return seconds() - begin;
}
