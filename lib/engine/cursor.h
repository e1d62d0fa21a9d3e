/* SPDX-License-Identifier: Apache-2.0 */
/* cursor.h - a search whose rows are fetched a page at a time. Contracts in pv.h. */
#ifndef PV_ENGINE_CURSOR_H
#define PV_ENGINE_CURSOR_H

#include "engine/db.h"

/* query: complete, not yet checked. */
PV_PRIVATE int pv__search_cursor_new(pv_db *db, pv_txn *txn, const char *collection,
                                     const pv_query *query, pv_cursor **out_cursor, pv_error *err);
PV_PRIVATE int pv__search_cursor_page(pv_cursor *cursor, uint32_t k, pv_results **out_results,
                                      pv_error *err);
PV_PRIVATE void pv__search_cursor_free(pv_cursor *cursor); /* NULL is fine */

#endif
