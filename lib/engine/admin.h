/* SPDX-License-Identifier: Apache-2.0 */
/* admin.h - collections as a whole, figures, checkpoint and check. Contracts in pv.h. */
#ifndef PV_ENGINE_ADMIN_H
#define PV_ENGINE_ADMIN_H

#include "engine/db.h"
#include "engine/parts.h"
#include "engine/results.h"

/* opts: complete, not yet checked. ensure: one that exists with the same options is fine. */
PV_PRIVATE int pv__admin_create(pv_db *db, pv_txn *txn, const char *name,
                                const pv_collection_opts *opts, bool ensure, pv_error *err);
PV_PRIVATE int pv__admin_drop(pv__call *call, const char *name, pv_error *err);
PV_PRIVATE int pv__admin_list(pv__call *call, pv_names **out_names, pv_error *err);
PV_PRIVATE void pv__admin_names_free(pv_names *names);
PV_PRIVATE int pv__admin_info(pv__call *call, const char *name, pv_collection_info *out,
                              pv_error *err);
PV_PRIVATE int pv__admin_stats(pv_db *db, pv_stats *out, pv_error *err);
/* check.c */
PV_PRIVATE int pv__check_all(pv_db *db, bool deep, pv_check_fn fn, void *ctx,
                             uint64_t *out_problems, pv_error *err);

#endif
