/* SPDX-License-Identifier: Apache-2.0 */
/* api_check.h - is a database what a model says? Answers with a reason instead of failing, so that
 * the caller can add how it got there. */
#ifndef PV_TEST_API_CHECK_H
#define PV_TEST_API_CHECK_H

#include "support/api_model.h"

enum { API_WHY = 700 }; /* bytes of a reason */

/* By the metric, in double precision. */
double api_distance(uint32_t metric, const float *a, const float *b, uint32_t dims);

/* Everything that can be read must be what the model holds: names, figures, every record by
 * iterating and by id, some by single gets, absent ids, counts, and `searches` exact searches per
 * collection. Returns false with a reason. */
bool api_matches(const api_model *m, pv_db *db, pv_txn *txn, test_rng *r, unsigned searches,
                 char why[API_WHY]);
/* For files that were damaged: each record by id, a walk and a search of each collection gives what
 * the model holds, or an error that the bytes can cause and whose message names a page; these are
 * counted. False with a reason for anything else. */
bool api_reads_honestly(const api_model *m, pv_db *db, uint64_t *out_refused, char why[API_WHY]);
/* One search with drawn k, filter and threshold against brute force, ties by key; half of them not
 * exact: then who and how many is compared. */
bool api_search_matches(const api_collection *c, pv_db *db, pv_txn *txn, test_rng *r,
                        char why[API_WHY]);
/* pv_check finds nothing. flags: PV_CHECK_. */
bool api_is_sound(pv_db *db, uint32_t flags, char why[API_WHY]);

#endif
