/* SPDX-License-Identifier: Apache-2.0 */
/* write.c - insert, upsert and update: apply what prepare.c has made ready (write.h).
 *
 * A record that exists keeps its slot: vector and document are replaced in place (in the pages of
 * this transaction; older readers keep theirs). A new one takes a slot from the free ones first. */
#include "engine/write.h"

#include "engine/index.h"

/* Documents of so many bytes are put in before more are gathered. */
#define WRITE_DOC_BYTES ((size_t)64 << 10)

/* Slots for the records that are new, in the order of the call. */
static int write_apply_slots(pv__changes *ch, pv_error *err) {
    pv__slots *slots = &ch->parts->slots;
    uint32_t first = 0, left = 0;
    size_t want = ch->fresh;
    for (size_t i = 0; i < ch->count; i++) {
        pv__change *row = &ch->rows[i];
        if (row->superseded || row->exists) {
            continue;
        }
        if (left == 0) {
            PV_TRY(pv__txn_pause(ch->parts->txn, err));
            PV_TRY(pv__slots_alloc_run(slots, (uint32_t)want, &first, &left, err));
            want -= left;
        }
        row->slot = first++;
        left--;
    }
    return 0;
}

/* The vector of a record that exists. One that is there already changes nothing: its node stays. */
static int write_vector(pv__changes *ch, const pv__change *row, pv__index_work *work,
                        pv_error *err) {
    pv__parts *p = ch->parts;
    const uint8_t *old = NULL;
    uint8_t *vector = NULL;
    PV_TRY(pv__txn_pause(p->txn, err));
    PV_TRY(pv__column_read(&p->column, row->slot, &old, err));
    if (memcmp(old, row->vector, p->column.row_size) == 0) {
        return 0;
    }
    PV_TRY(pv__index_forget(ch->db, p, work, row->slot, err));
    PV_TRY(pv__column_write(&p->column, row->slot, &vector, err));
    memcpy(vector, row->vector, p->column.row_size);
    return pv__index_note(ch->db, p, work, row->slot, err);
}

/* How many records from i on are new and follow each other in the page of slots and in the
 * caller's memory, so that they are copied as one. */
static size_t write_vector_run(const pv__changes *ch, size_t i) {
    const pv__column *c = &ch->parts->column;
    const pv__change *first = &ch->rows[i];
    const size_t most = c->rows_per_page - first->slot % c->rows_per_page;
    const uint8_t *vector = first->vector;
    size_t n = 1;
    for (; n < most && i + n < ch->count; n++) {
        const pv__change *row = first + n;
        if (row->superseded || row->exists || row->slot != first->slot + n ||
            (const uint8_t *)row->vector != vector + n * c->row_size) {
            break;
        }
    }
    return n;
}

static int write_apply_vectors(pv__changes *ch, pv__index_work *work, pv_error *err) {
    pv__parts *p = ch->parts;
    const pv__column *c = &p->column;
    const uint32_t per_page = c->rows_per_page;
    uint8_t *rows = NULL;           /* of page `ordinal`, for writing */
    uint32_t ordinal = 0, last = 0; /* row of that page */
    for (size_t i = 0, n = 1; i < ch->count; i += n) {
        const pv__change *row = &ch->rows[i];
        n = 1;
        PV_TRY(pv__db_interrupted_at(ch->db, i, err));
        if (row->superseded || !row->vector) {
            continue;
        }
        if (row->exists) {
            rows = NULL;
            PV_TRY(write_vector(ch, row, work, err));
            continue;
        }
        if (!rows || row->slot / per_page != ordinal) {
            if (rows && last + 1 == per_page) {
                pv__column_page_finished(c, rows);
            }
            PV_TRY(pv__txn_pause(p->txn, err));
            ordinal = row->slot / per_page;
            PV_TRY(pv__column_page_write(c, ordinal, &rows, err));
        }
        n = write_vector_run(ch, i);
        memcpy(rows + (size_t)(row->slot % per_page) * c->row_size, row->vector, n * c->row_size);
        last = row->slot % per_page + (uint32_t)n - 1;
        for (size_t k = 0; k < n; k++) {
            PV_TRY(k > 0 ? pv__db_interrupted_at(ch->db, i + k, err) : 0);
            PV_TRY(pv__index_note(ch->db, p, work, row->slot + (uint32_t)k, err));
        }
    }
    if (rows && last + 1 == per_page) {
        pv__column_page_finished(c, rows);
    }
    return 0;
}

static int write_put_ids(pv__parts *p, const pv__bytes *keys, const uint32_t *slots, size_t n,
                         pv_error *err) {
    size_t replaced = 0;
    PV_TRY(pv__idmap_put_run(&p->ids, keys, slots, n, &replaced, err));
    if (replaced < n) { /* prepare has looked and found none (E4): a tree out of order */
        char shown[PV__KEY_SHOWN];
        return pv__err(err, PV_ERR_CORRUPT, "the ids of collection '%s' are damaged at %s",
                       p->c.name, pv__key_show(p, keys[replaced], shown));
    }
    return pv__txn_pause(p->txn, err);
}

static int write_apply_ids(pv__changes *ch, pv_error *err) {
    pv__bytes keys[PV__IDMAP_RUN];
    uint32_t slots[PV__IDMAP_RUN];
    size_t n = 0;
    for (size_t i = 0; i < ch->count; i++) {
        const pv__change *row = &ch->rows[i];
        if (row->superseded || row->exists) {
            continue;
        }
        keys[n] = (pv__bytes){row->key, row->key_len};
        slots[n++] = row->slot;
        if (n == PV__IDMAP_RUN) {
            PV_TRY(write_put_ids(ch->parts, keys, slots, n, err));
            n = 0;
        }
    }
    return write_put_ids(ch->parts, keys, slots, n, err);
}

static int write_apply_docs(pv__changes *ch, pv_error *err) {
    pv__parts *p = ch->parts;
    pv__finger near;
    pv__row_run run;
    near.depth = 0;
    run.count = run.bytes = 0;
    for (size_t i = 0; i < ch->count; i++) {
        const pv__change *row = &ch->rows[i];
        PV_TRY(pv__db_interrupted_at(ch->db, i, err));
        if (row->superseded || row->doc_at == PV__NO_DOC) {
            continue;
        }
        pv__row_run_add(&run, row->slot, pv__change_row(ch, row));
        if (run.count == PV__ROW_RUN || run.bytes > WRITE_DOC_BYTES) {
            PV_TRY(pv__row_put(p, &near, &run, err));
            PV_TRY(pv__txn_pause(p->txn, err));
        }
    }
    return pv__row_put(p, &near, &run, err);
}

/* One part of the collection after the other: what is touched by neighbouring records is touched
 * together. Everything is in this transaction's pages. */
static int write_apply_all(pv__changes *ch, pv_error *err) {
    pv__index_work work = {0};
    int rc = write_apply_slots(ch, err);
    rc = rc == 0 ? write_apply_vectors(ch, &work, err) : rc;
    rc = rc == 0 ? write_apply_ids(ch, err) : rc;
    rc = rc == 0 ? write_apply_docs(ch, err) : rc;
    rc = rc == 0 ? pv__index_apply(ch->db, ch->parts, &work, err) : rc;
    pv__index_done(ch->db, &work);
    if (rc == 0) {
        ch->parts->c.next_id = ch->next_id;
        PV_TRY(pv__parts_save(ch->parts, err));
    }
    return rc == 0 ? pv__txn_pause(ch->parts->txn, err) : rc;
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
    size_t bytes = 0;
    for (size_t i = 0; i < ch->count; i++) {
        bytes += ch->rows[i].key_len + 1;
    }
    pv_results *ids = NULL;
    PV_TRY(pv__results_new(ch->db->env, &ch->parts->c, ch->count, bytes, 0, &ids, err));
    for (size_t i = 0; i < ch->count; i++) {
        const pv__bytes key = {ch->rows[i].key, ch->rows[i].key_len};
        const int rc = pv__results_set_id(ids, i, key, err);
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

#undef WRITE_DOC_BYTES
