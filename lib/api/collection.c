/* SPDX-License-Identifier: Apache-2.0 */
/* collection.c - chapter "collections". */
#include "api/args.h"
#include "engine/admin.h"

static int collection_create(pv_db *db, pv_txn *txn, const char *name,
                             const pv_collection_opts *opts, bool ensure, pv_error *err) {
    pv_collection_opts o = PV_COLLECTION_OPTS_INIT;
    if (!opts) {
        return pv__args_null("opts", err);
    }
    PV_TRY(pv__args_import(&o, sizeof(o), opts, "pv_collection_opts", err));
    return pv__admin_create(db, txn, name, &o, ensure, err);
}

int pv_collection_create(pv_db *db, pv_txn *txn, const char *name, const pv_collection_opts *opts,
                         pv_error *err) {
    return collection_create(db, txn, name, opts, false, err);
}

int pv_collection_ensure(pv_db *db, pv_txn *txn, const char *name, const pv_collection_opts *opts,
                         pv_error *err) {
    return collection_create(db, txn, name, opts, true, err);
}

int pv_collection_drop(pv_db *db, pv_txn *txn, const char *name, pv_error *err) {
    pv__call call;
    PV_TRY(pv__call_begin(&call, db, txn, PV__CALL_WRITE, 0, err));
    return pv__call_end(&call, pv__admin_drop(&call, name, err), err);
}

int pv_collection_list(pv_db *db, pv_txn *txn, pv_names **out_names, pv_error *err) {
    pv__call call;
    if (!out_names) {
        return pv__args_null("out_names", err);
    }
    *out_names = NULL;
    PV_TRY(pv__call_begin(&call, db, txn, PV__CALL_READ, 0, err));
    return pv__call_end(&call, pv__admin_list(&call, out_names, err), err);
}

int pv_collection_info_get(pv_db *db, pv_txn *txn, const char *name, pv_collection_info *out_info,
                           pv_error *err) {
    pv_collection_info info;
    pv__call call;
    PV_TRY(pv__args_check_out(out_info, "pv_collection_info", err));
    PV_TRY(pv__call_begin(&call, db, txn, PV__CALL_READ, 0, err));
    PV_TRY(pv__call_end(&call, pv__admin_info(&call, name, &info, err), err));
    pv__args_export(out_info, &info, sizeof(info));
    return 0;
}

size_t pv_names_count(const pv_names *names) { return names ? names->count : 0; }

const char *pv_names_get(const pv_names *names, size_t i) {
    return names && i < names->count ? (const char *)names->text.data + names->at[i] : NULL;
}

void pv_names_free(pv_names *names) { pv__admin_names_free(names); }
