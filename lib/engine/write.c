/* SPDX-License-Identifier: Apache-2.0 */
/* write.c - insert, upsert and update: apply what prepare.c has made ready (write.h).
 *
 * A record that exists keeps its slot: vector and document are replaced in place (in the pages of
 * this transaction; older readers keep theirs). A new one takes a slot from the free ones first. */
#include "engine/write.h"

#include "engine/index.h"

/* Documents of so many bytes are put in before more are gathered. */
#define WRITE_DOC_BYTES ((size_t)64 << 10)
/* Vectors of so many bytes, a page full, are worth being put into pages before all is checked. */
#define WRITE_FIRST_BYTES ((size_t)64 << 10)

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

/* They are about to be copied, and in the processor's cache by then. */
static int write_check_run(const pv__parts *p, const pv__change *row, size_t n, pv_error *err) {
    for (size_t k = 0; k < n; k++) {
        PV_TRY(pv__vector_values(p, row[k].vector, err));
    }
    return 0;
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
        PV_TRY(ch->unchecked ? write_check_run(p, row, n, err) : 0);
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

/* What is being written by one call. */
typedef struct write_job {
    pv__changes ch;
    pv__parts parts;
    pv__index_work work;
} write_job;

/* One part of the collection after the other: what is touched by neighbouring records is touched
 * together. Everything is in this transaction's pages. Needs no documents. */
static int write_apply_first(void *ctx, pv_error *err) {
    write_job *j = ctx;
    PV_TRY(write_apply_slots(&j->ch, err));
    PV_TRY(write_apply_vectors(&j->ch, &j->work, err));
    return write_apply_ids(&j->ch, err);
}

static int write_apply_rest(write_job *j, pv_error *err) {
    PV_TRY(write_apply_docs(&j->ch, err));
    PV_TRY(pv__index_apply(j->ch.db, &j->parts, &j->work, err));
    j->parts.c.next_id = j->ch.next_id;
    PV_TRY(pv__parts_save(&j->parts, err));
    return pv__txn_pause(j->parts.txn, err);
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

/* Everything is checked before the first page changes. */
static int write_in_order(write_job *j, pv__call *call, const pv__input *in, unsigned mode,
                          uint32_t flags, pv_results **out_ids, pv_error *err) {
    PV_TRY(pv__changes_prepare(&j->ch, &j->parts, call->db, mode, flags, in, err));
    if (out_ids) {
        PV_TRY(write_ids(&j->ch, out_ids, err)); /* before the first change: it may lack memory */
    }
    if (write_is_empty(&j->ch)) {
        return 0;
    }
    call->changing = true;
    PV_TRY(write_apply_first(j, err));
    return write_apply_rest(j, err);
}

/* Is it about what the caller gave? Then it is told by the check in order. */
static bool write_is_refusal(int rc) {
    return rc != 0 && rc != PV_ERR_NOMEM && rc != PV_ERR_IO && rc != PV_ERR_FULL &&
           rc != PV_ERR_CORRUPT && rc != PV_ERR_CANCELLED && rc != PV_ERR_INTERNAL;
}

/* *out_again: it has to be done in order, and this transaction may have changed. */
static int write_vectors_first(write_job *j, const pv__call *call, const pv__input *in,
                               unsigned mode, pv_results **out_ids, bool *out_again,
                               pv_error *err) {
    bool all_new = false;
    const int rc = pv__changes_prepare_new(&j->ch, &j->parts, call->db, mode, in, write_apply_first,
                                           j, &all_new, err);
    *out_again = rc == 0 ? !all_new : write_is_refusal(rc);
    if (rc != 0 || !all_new) {
        return rc;
    }
    PV_TRY(out_ids ? write_ids(&j->ch, out_ids, err) : 0);
    return write_apply_rest(j, err);
}

/* One attempt. */
static int write_attempt(pv__call *call, const char *collection, const pv__input *in, unsigned mode,
                         uint32_t flags, bool want_numbers, bool in_order, pv_results **out_ids,
                         bool *out_again, pv_error *err) {
    write_job j;
    j.ch.db = NULL;
    j.work = (pv__index_work){0};
    int rc = pv__parts_open(&j.parts, call->txn, collection, err);
    if (rc == 0 && want_numbers && j.parts.c.key != PV_KEY_U64) {
        rc = pv__err(err, PV_ERR_MISUSE, "out_ids_u64 is given, collection '%s' has texts",
                     j.parts.c.name);
    }
    if (rc == 0 && (in_order || in->count < WRITE_FIRST_BYTES / j.parts.column.row_size)) {
        rc = write_in_order(&j, call, in, mode, flags, out_ids, err);
    } else if (rc == 0) {
        rc = write_vectors_first(&j, call, in, mode, out_ids, out_again, err);
    }
    pv__index_done(call->db, &j.work);
    pv__changes_done(&j.ch);
    pv__parts_done(&j.parts);
    return rc;
}

int pv__write_records(pv__call *call, const char *collection, const pv__input *in, unsigned mode,
                      uint32_t flags, bool want_numbers, pv_results **out_ids, pv_error *err) {
    const bool in_order = call->user || mode == PV__WRITE_UPDATE;
    pv_error found = PV_ERROR_INIT;
    pv_results *ids = NULL;
    bool again = false;
    int rc = write_attempt(call, collection, in, mode, flags, want_numbers, in_order,
                           out_ids ? &ids : NULL, &again, in_order ? err : &found);
    if (again) {
        pv__txn_undo(call->txn);
        rc = write_attempt(call, collection, in, mode, flags, want_numbers, true,
                           out_ids ? &ids : NULL, &again, err);
    } else if (!in_order) {
        pv__write_tell(&found, rc, err);
    }
    if (rc == 0 && out_ids) {
        *out_ids = ids;
    } else {
        pv__results_free(ids);
    }
    return rc;
}

#undef WRITE_DOC_BYTES
#undef WRITE_FIRST_BYTES
