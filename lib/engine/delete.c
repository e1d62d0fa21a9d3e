/* SPDX-License-Identifier: Apache-2.0 */
/* delete.c - removing records, by id or by filter. As in write.h, what shall go is found first;
 * then the pages are changed. A page of the column on which nobody lives any more is given back. */
#include "engine/index.h"
#include "engine/scan.h"
#include "engine/write.h"

static int delete_record(pv_db *db, pv__parts *p, pv__index_work *work, pv__bytes key,
                         uint32_t slot, pv_error *err) {
    bool found = false;
    PV_TRY(pv__index_forget(db, p, work, slot, err));
    PV_TRY(pv__idmap_del(&p->ids, key, &found, err));
    if (!found) {
        char shown[PV__KEY_SHOWN];
        return pv__err(err, PV_ERR_CORRUPT, "collection '%s' has a record %s that its ids lack",
                       p->c.name, pv__key_show(p, key, shown));
    }
    PV_TRY(pv__row_del(p, slot, err));
    PV_TRY(pv__slots_free(&p->slots, slot, err));
    PV_TRY(pv__slots_reclaim(&p->slots, &p->column, slot, &found, err));
    return pv__txn_pause(p->txn, err);
}

static int delete_check_keys(pv_db *db, pv__parts *p, const pv__key_list *list, bool must_exist,
                             uint64_t *out_there, pv_error *err) {
    for (size_t i = 0; i < list->count; i++) {
        uint8_t number[8];
        pv__bytes key;
        uint32_t slot = 0;
        bool found = false;
        PV_TRY(pv__db_interrupted_at(db, i, err));
        PV_TRY(pv__key_list_find(list, p, i, must_exist, number, &key, &slot, &found, err));
        *out_there += found ? 1u : 0u;
        PV_TRY(pv__txn_pause(p->txn, err));
    }
    return 0;
}

/* What the graph owes, then the counters. Ends the work. */
static int delete_finish(pv_db *db, pv__parts *p, pv__index_work *work, int rc, pv_error *err) {
    rc = rc == 0 ? pv__index_apply(db, p, work, err) : rc;
    pv__index_done(db, work);
    return rc == 0 ? pv__parts_save(p, err) : rc;
}

static int delete_listed(pv_db *db, pv__parts *p, pv__index_work *work, const pv__key_list *list,
                         uint64_t *out_deleted, pv_error *err) {
    for (size_t i = 0; i < list->count; i++) {
        uint8_t number[8];
        pv__bytes key;
        uint32_t slot = 0;
        bool found = false;
        PV_TRY(pv__db_interrupted_at(db, i, err));
        PV_TRY(pv__key_list_find(list, p, i, false, number, &key, &slot, &found, err));
        if (found) {
            PV_TRY(delete_record(db, p, work, key, slot, err));
            (*out_deleted)++;
        }
    }
    return 0;
}

int pv__delete_keys(pv__call *call, const char *collection, const pv__key_list *list,
                    bool must_exist, uint64_t *out_deleted, pv_error *err) {
    uint64_t there = 0, deleted = 0;
    pv__index_work work = {0};
    pv__parts parts;
    int rc = pv__parts_open(&parts, call->txn, collection, err);
    if (rc == 0) {
        rc = delete_check_keys(call->db, &parts, list, must_exist, &there, err);
    }
    if (rc == 0 && there > 0) {
        call->changing = true;
        rc = delete_listed(call->db, &parts, &work, list, &deleted, err);
        rc = delete_finish(call->db, &parts, &work, rc, err);
    }
    pv__parts_done(&parts);
    if (rc == 0) {
        *out_deleted = deleted;
    }
    return rc;
}

/* ---- by filter --------------------------------------------------------------------------- */

typedef struct delete_slots {
    pv__mem *mem;
    uint32_t *slots;
    size_t count, cap;
} delete_slots;

static int delete_collect(void *ctx, uint32_t slot, const pv__row *row, pv_error *err) {
    delete_slots *d = ctx;
    (void)row;
    PV_TRY(
        pv__alloc_grow(d->mem, (void **)&d->slots, &d->cap, d->count + 1, sizeof(*d->slots), err));
    d->slots[d->count++] = slot;
    return 0;
}

static int delete_collected(pv_db *db, pv__parts *p, const delete_slots *d, pv_error *err) {
    pv__index_work work = {0};
    pv__buf buf;
    int rc = 0;
    pv__buf_init(&buf, d->mem);
    for (size_t i = 0; i < d->count && rc == 0; i++) {
        pv__row row;
        rc = pv__db_interrupted_at(db, i, err);
        if (rc == 0) {
            rc = pv__row_get(p, d->slots[i], &buf, &row, err);
        }
        if (rc == 0) {
            rc = delete_record(db, p, &work, (pv__bytes){row.key, row.key_len}, d->slots[i], err);
        }
    }
    pv__buf_done(&buf);
    return delete_finish(db, p, &work, rc, err);
}

int pv__delete_matching(pv__call *call, const char *collection, const char *filter_json,
                        uint64_t *out_deleted, pv_error *err) {
    pv__mem *mem = &call->db->env->mem;
    delete_slots d = {.mem = mem};
    pv__filter *filter = NULL;
    pv__parts parts;
    int rc = pv__parts_open(&parts, call->txn, collection, err);
    if (rc == 0) {
        rc = pv__filter_compile(mem, filter_json, strlen(filter_json), &filter, err);
    }
    if (rc == 0) {
        rc = pv__scan_docs(call->db, &parts, filter, delete_collect, &d, err);
    }
    if (rc == 0 && d.count > 0) {
        call->changing = true;
        rc = delete_collected(call->db, &parts, &d, err);
    }
    if (rc == 0) {
        *out_deleted = d.count;
    }
    pv__alloc_free(mem, d.slots, d.cap * sizeof(*d.slots));
    pv__filter_free(filter);
    pv__parts_done(&parts);
    return rc;
}
