/* SPDX-License-Identifier: Apache-2.0 */
/* search.h - reading: nearest records, records by id, counts. Contracts in pv.h. */
#ifndef PV_ENGINE_SEARCH_H
#define PV_ENGINE_SEARCH_H

#include "engine/db.h"
#include "engine/results.h"
#include "engine/write.h"

/* query: complete (a pv_query of this version), not yet checked. out_results: `count` places, all
 * set or none. stride: bytes between the vectors, 0: packed. */
PV_PRIVATE int pv__search(pv__call *call, const char *collection, const pv_query *query,
                          size_t count, size_t stride, pv_results **out_results, pv_error *err);
/* One query, its rows in arrays of the caller (complete, not yet checked). */
PV_PRIVATE int pv__search_into(pv__call *call, const char *collection, const pv_query *query,
                               pv_rows *io_rows, pv_error *err);
/* What can be said of a query without its collection. */
PV_PRIVATE int pv__search_check(const pv_query *query, size_t count, pv_error *err);
PV_PRIVATE int pv__read_many(pv__call *call, const char *collection, const pv__key_list *list,
                             uint32_t include, bool must_exist, pv_results **out_results,
                             pv_error *err);
PV_PRIVATE int pv__read_count(pv__call *call, const char *collection, const char *filter,
                              uint64_t *out_count, pv_error *err);

#endif
