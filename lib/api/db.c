/* SPDX-License-Identifier: Apache-2.0 */
/* db.c - chapters "open and close", "transactions" and "administration". */
#include "engine/db.h"

#include "api/args.h"
#include "engine/admin.h"

int pv_open(const char *path, const pv_open_opts *opts, pv_db **out_db, pv_error *err) {
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    if (!out_db) {
        return pv__args_null("out_db", err);
    }
    *out_db = NULL;
    PV_TRY(pv__args_import(&o, sizeof(o), opts, "pv_open_opts", err));
    return pv__db_open(path, &o, out_db, err);
}

int pv_close(pv_db *db, pv_error *err) { return pv__db_close(db, err); }

int pv_db_ref(pv_db *db, pv_error *err) {
    PV_TRY(pv__db_enter(db, err));
    pv__db_ref(db, false);
    pv__db_leave(db);
    return 0;
}

void pv_db_unref(pv_db *db) {
    if (db) {
        (void)pv__db_unref(db, false, NULL);
    }
}

int pv_txn_begin(pv_db *db, uint32_t flags, pv_txn **out_txn, pv_error *err) {
    if (!out_txn) {
        return pv__args_null("out_txn", err);
    }
    *out_txn = NULL;
    return pv__txn_open(db, flags, out_txn, err);
}

int pv_txn_commit(pv_txn *txn, uint64_t *out_lsn, pv_error *err) {
    return pv__txn_close(txn, true, out_lsn, err);
}

void pv_txn_rollback(pv_txn *txn) { (void)pv__txn_close(txn, false, NULL, NULL); }

int pv_txn_savepoint(pv_txn *txn, uint32_t *out_number, pv_error *err) {
    return out_number ? pv__txn_mark(txn, PV__MARK_SET, out_number, err)
                      : pv__args_null("out_number", err);
}

int pv_txn_rollback_to(pv_txn *txn, uint32_t number, pv_error *err) {
    return pv__txn_mark(txn, PV__MARK_BACK, &number, err);
}

int pv_txn_release(pv_txn *txn, uint32_t number, pv_error *err) {
    return pv__txn_mark(txn, PV__MARK_FORGET, &number, err);
}

uint64_t pv_txn_lsn(const pv_txn *txn) { return txn && txn->txn ? txn->lsn : 0; }

int pv_stats_get(pv_db *db, pv_stats *out_stats, pv_error *err) {
    pv_stats stats;
    PV_TRY(pv__args_check_out(out_stats, "pv_stats", err));
    PV_TRY(pv__admin_stats(db, &stats, err));
    pv__args_export(out_stats, &stats, sizeof(stats));
    return 0;
}

int pv_checkpoint(pv_db *db, pv_error *err) {
    PV_TRY(pv__db_enter(db, err));
    int rc = db->flags & PV_OPEN_READONLY
                 ? pv__err(err, PV_ERR_READONLY, "the database was opened read-only")
                 : pv__store_checkpoint(db->store, err);
    pv__db_leave(db);
    return rc;
}

int pv_check(pv_db *db, uint32_t flags, pv_check_fn fn, void *ctx, uint64_t *out_problems,
             pv_error *err) {
    if (flags & ~PV_CHECK_DEEP) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "unknown check flags 0x%x",
                       (unsigned)(flags & ~PV_CHECK_DEEP));
    }
    return pv__check_all(db, (flags & PV_CHECK_DEEP) != 0, fn, ctx, out_problems, err);
}
