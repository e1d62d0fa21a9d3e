/* SPDX-License-Identifier: Apache-2.0 */
/* iter.h - walks over a collection in the order of its keys. Contracts in pv.h. */
#ifndef PV_ENGINE_ITER_H
#define PV_ENGINE_ITER_H

#include "engine/db.h"

PV_PRIVATE int pv__iter_new(pv_db *db, pv_txn *txn, const char *collection,
                            const pv_iter_opts *opts, pv_iter **out_iter, pv_error *err);
PV_PRIVATE int pv__iter_step(pv_iter *iter, pv_error *err); /* 1, 0 or a code */
PV_PRIVATE void pv__iter_free(pv_iter *iter);

typedef struct pv__iter_record {
    const char *id; /* NULL: number keys, or none */
    uint64_t id_u64;
    const char *metadata; /* NULL: not asked, or none */
    size_t metadata_len;
    const void *vector;
    uint32_t dims;
} pv__iter_record;
/* What it stands on; zeroes and PV_ID_NONE when on nothing. */
PV_PRIVATE pv__iter_record pv__iter_current(const pv_iter *iter);

#endif
