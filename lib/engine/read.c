/* SPDX-License-Identifier: Apache-2.0 */
/* read.c - records by id, and counts. */
#include "engine/scan.h"
#include "engine/search.h"

static int read_one(pv_results *r, size_t i, pv__parts *p, const pv__key_list *list,
                    bool must_exist, pv__buf *buf, pv_error *err) {
    uint8_t number[8];
    pv__bytes key;
    uint32_t slot = 0;
    bool found = false;
    PV_TRY(pv__key_list_find(list, p, i, must_exist, number, &key, &slot, &found, err));
    PV_TRY(pv__results_set_id(r, i, key, err));
    if (found) {
        PV_TRY(pv__results_fill(r, i, p, slot, NULL, buf, err));
    }
    return pv__txn_pause(p->txn, err);
}

int pv__read_many(pv__call *call, const char *collection, const pv__key_list *list,
                  uint32_t include, bool must_exist, pv_results **out_results, pv_error *err) {
    const uint32_t known = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    pv_results *r = NULL;
    pv__parts parts;
    pv__buf buf;
    if (include & ~known) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "unknown include flags 0x%x",
                       (unsigned)(include & ~known));
    }
    pv__buf_init(&buf, &call->db->env->mem);
    int rc = pv__parts_open(&parts, call->txn, collection, err);
    if (rc == 0) {
        rc = pv__results_new(call->db->env, &parts.c, list->count, pv__key_list_bytes(list),
                             include | PV__RESULTS_FOUND, &r, err);
    }
    for (size_t i = 0; i < list->count && rc == 0; i++) {
        rc = pv__db_interrupted_at(call->db, i, err);
        if (rc == 0) {
            rc = read_one(r, i, &parts, list, must_exist, &buf, err);
        }
    }
    pv__buf_done(&buf);
    pv__parts_done(&parts);
    if (rc != 0) {
        pv__results_free(r);
        return rc;
    }
    *out_results = r;
    return 0;
}

static int read_count_one(void *ctx, uint32_t slot, const pv__row *row, pv_error *err) {
    uint64_t *count = ctx;
    (void)slot;
    (void)row;
    (void)err;
    (*count)++;
    return 0;
}

int pv__read_count(pv__call *call, const char *collection, const char *filter_json,
                   uint64_t *out_count, pv_error *err) {
    pv__filter *filter = NULL;
    uint64_t count = 0;
    pv__parts parts;
    int rc = pv__parts_open(&parts, call->txn, collection, err);
    if (rc == 0 && !filter_json) {
        count = parts.slots.meta.live_count;
    } else if (rc == 0) {
        rc =
            pv__filter_compile(&call->db->env->mem, filter_json, strlen(filter_json), &filter, err);
        if (rc == 0) {
            rc = pv__scan_docs(call->db, &parts, filter, read_count_one, &count, err);
        }
    }
    pv__filter_free(filter);
    pv__parts_done(&parts);
    if (rc == 0) {
        *out_count = count;
    }
    return rc;
}
