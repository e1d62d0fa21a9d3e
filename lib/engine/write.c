/* SPDX-License-Identifier: Apache-2.0 */
/* write.c - insert, upsert and update: apply what prepare.c has made ready (write.h).
 *
 * A record that exists keeps its slot: vector and document are replaced in place (in the pages of
 * this transaction; older readers keep theirs). A new one takes a slot from the free ones first. */
#include "engine/write.h"

/* One record; everything it touches is in this transaction's pages. */
static int write_apply(pv__changes *ch, const pv__change *row, pv__buf *scratch, pv_error *err) {
    pv__parts *p = ch->parts;
    const pv__bytes key = {row->key, row->key_len};
    uint32_t slot = row->slot;
    if (!row->exists) {
        bool replaced = false;
        PV_TRY(pv__slots_alloc(&p->slots, &slot, err));
        PV_TRY(pv__idmap_put(&p->ids, key, slot, &replaced, err));
        if (replaced) { /* prepare has looked and found none (E4): a tree out of order */
            char shown[PV__KEY_SHOWN];
            return pv__err(err, PV_ERR_CORRUPT, "the ids of collection '%s' are damaged at %s",
                           p->c.name, pv__key_show(p, key, shown));
        }
    }
    if (row->vector) {
        uint8_t *vector = NULL;
        PV_TRY(pv__column_write(&p->column, slot, &vector, err));
        memcpy(vector, row->vector, p->column.row_size);
    }
    if (row->doc_at != PV__NO_DOC) {
        const pv__bytes doc = {ch->docs.data ? ch->docs.data + row->doc_at : NULL, row->doc_len};
        PV_TRY(pv__row_put(p, slot, key, doc, scratch, err));
    }
    return pv__txn_pause(p->txn, err);
}

static int write_apply_all(pv__changes *ch, pv_error *err) {
    pv__buf scratch;
    int rc = 0;
    pv__buf_init(&scratch, &ch->db->env->mem);
    for (size_t i = 0; i < ch->count && rc == 0; i++) {
        const pv__change *row = &ch->rows[i];
        rc = pv__db_interrupted_at(ch->db, i, err);
        if (rc == 0 && !row->superseded) {
            rc = write_apply(ch, row, &scratch, err);
        }
    }
    pv__buf_done(&scratch);
    if (rc == 0) {
        ch->parts->c.next_id = ch->next_id;
        rc = pv__parts_save(ch->parts, err);
    }
    return rc;
}

/* Nothing that would change a page: no records, or an update that gives neither part. */
static bool write_is_empty(const pv__changes *ch) {
    for (size_t i = 0; i < ch->count; i++) {
        if (ch->rows[i].vector || ch->rows[i].doc_at != PV__NO_DOC) {
            return false;
        }
    }
    return true;
}

static int write_ids(const pv__changes *ch, pv_results **out, pv_error *err) {
    pv_results *ids = NULL;
    PV_TRY(pv__results_new(ch->db->env, &ch->parts->c, ch->count, 0, &ids, err));
    for (size_t i = 0; i < ch->count; i++) {
        const pv__bytes key = {ch->rows[i].key, ch->rows[i].key_len};
        int rc = pv__results_set_id(ids, i, key, err);
        if (rc != 0) {
            pv__results_free(ids);
            return rc;
        }
    }
    *out = ids;
    return 0;
}

int pv__write_records(pv__call *call, const char *collection, const pv__input *in, unsigned mode,
                      uint32_t flags, bool want_numbers, pv_results **out_ids, pv_error *err) {
    pv_results *ids = NULL;
    pv__changes ch = {0};
    pv__parts parts;
    int rc = pv__parts_open(&parts, call->txn, collection, err);
    if (rc == 0 && want_numbers && parts.c.key != PV_KEY_U64) {
        rc = pv__err(err, PV_ERR_MISUSE, "out_ids_u64 is given, collection '%s' has texts",
                     parts.c.name);
    }
    if (rc == 0) {
        rc = pv__changes_prepare(&ch, &parts, call->db, mode, flags, in, err);
    }
    if (rc == 0 && out_ids) {
        rc = write_ids(&ch, &ids, err); /* before the first change, since it may lack memory */
    }
    if (rc == 0 && !write_is_empty(&ch)) {
        call->changing = true;
        rc = write_apply_all(&ch, err);
    }
    pv__changes_done(&ch);
    pv__parts_done(&parts);
    if (rc == 0 && out_ids) {
        *out_ids = ids;
    } else {
        pv__results_free(ids);
    }
    return rc;
}
