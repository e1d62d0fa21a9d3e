/* SPDX-License-Identifier: Apache-2.0 */
/* write.c - chapter "write": the two shapes in which records come, as one stream for the engine,
 * and the deletes. */
#include "engine/write.h"

#include "api/args.h"

/* ---- options ----------------------------------------------------------------------------- */

static int write_opts(pv_write_opts *o, const pv_write_opts *opts, unsigned mode, pv_error *err) {
    PV_TRY(pv__args_import(o, sizeof(*o), opts, "pv_write_opts", err));
    if (o->out_ids) {
        *o->out_ids = NULL;
    }
    if (o->flags & ~PV_WRITE_MERGE) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "unknown write flags 0x%x",
                       (unsigned)(o->flags & ~PV_WRITE_MERGE));
    }
    if ((o->flags & PV_WRITE_MERGE) && mode != PV__WRITE_UPDATE) {
        return pv__err(err, PV_ERR_MISUSE, "PV_WRITE_MERGE is for pv_update");
    }
    return pv__args_reserved(o->reserved0, "pv_write_opts", err);
}

static int write_count(size_t count, const char *what, pv_error *err) {
    return count <= PV__BATCH_RECORDS_MAX
               ? 0
               : pv__err(err, PV_ERR_LIMIT, "%zu %s in one call, at most %u are allowed", count,
                         what, (unsigned)PV__BATCH_RECORDS_MAX);
}

static int write_run(pv_db *db, pv_txn *txn, const char *collection, const pv__input *in,
                     unsigned mode, const pv_write_opts *o, pv_error *err) {
    pv_results *ids = NULL;
    pv__call call;
    const bool want_numbers = o->out_ids_u64 != NULL;
    const bool want = o->out_ids || want_numbers;
    PV_TRY(pv__call_begin(&call, db, txn, PV__CALL_WRITE, o->sync, err));
    int rc = pv__write_records(&call, collection, in, mode, o->flags, want_numbers,
                               want ? &ids : NULL, err);
    rc = pv__call_end(&call, rc, err);
    if (rc == 0 && want_numbers && ids->count > 0) {
        memcpy(o->out_ids_u64, ids->ids_u64, ids->count * sizeof(*ids->ids_u64));
    }
    if (rc == 0 && o->out_ids) {
        *o->out_ids = ids;
    } else {
        pv__results_free(ids);
    }
    return rc;
}

/* ---- an array of structures ----------------------------------------------------------------- */

static int write_record_get(const pv__input *in, size_t i, pv__input_row *out, pv_error *err) {
    pv_record r = PV_RECORD_INIT;
    PV_TRY(pv__args_import(&r, sizeof(r), (const uint8_t *)in->ctx + i * in->stride, "pv_record",
                           err));
    PV_TRY(pv__args_reserved(r.reserved0, "pv_record", err));
    *out = (pv__input_row){
        .id = r.id,
        .id_len = pv__args_len(r.id, r.id_len),
        .id_u64 = r.id_u64,
        .vector = r.vector,
        .dims = r.dims,
        .type = r.type ? r.type : PV_TYPE_F32,
        .metadata = r.metadata,
        .metadata_len = pv__args_len(r.metadata, r.metadata_len),
    };
    return 0;
}

static int write_records(pv_db *db, pv_txn *txn, const char *collection, const pv_record *records,
                         size_t count, const pv_write_opts *opts, unsigned mode, pv_error *err) {
    pv_write_opts o = PV_WRITE_OPTS_INIT;
    uint32_t size = 0;
    PV_TRY(write_opts(&o, opts, mode, err));
    if (!records && count > 0) {
        return pv__args_null("records", err);
    }
    PV_TRY(write_count(count, "records", err));
    if (count > 0) {
        memcpy(&size, records, sizeof(size));
    }
    const pv__input in = {count, records, o.record_stride ? o.record_stride : size,
                          write_record_get};
    if (count > 1 && in.stride < size) {
        return pv__err(err, PV_ERR_MISUSE, "record_stride is %zu, a record has %u bytes", in.stride,
                       (unsigned)size);
    }
    return write_run(db, txn, collection, &in, mode, &o, err);
}

int pv_insert(pv_db *db, pv_txn *txn, const char *collection, const pv_record *records,
              size_t count, const pv_write_opts *opts, pv_error *err) {
    return write_records(db, txn, collection, records, count, opts, PV__WRITE_INSERT, err);
}

int pv_upsert(pv_db *db, pv_txn *txn, const char *collection, const pv_record *records,
              size_t count, const pv_write_opts *opts, pv_error *err) {
    return write_records(db, txn, collection, records, count, opts, PV__WRITE_UPSERT, err);
}

int pv_update(pv_db *db, pv_txn *txn, const char *collection, const pv_record *records,
              size_t count, const pv_write_opts *opts, pv_error *err) {
    return write_records(db, txn, collection, records, count, opts, PV__WRITE_UPDATE, err);
}

/* ---- columns ----------------------------------------------------------------------------- */

/* String i of a column given as pointers or as one buffer; NULL when it is left out. */
static int write_column_text(const char *const *texts, const size_t *lens, const char *data,
                             const uint64_t *offsets, size_t i, const char *what, const char **out,
                             size_t *out_len, pv_error *err) {
    *out = NULL;
    *out_len = 0;
    if (texts && texts[i]) {
        *out = texts[i];
        *out_len = pv__args_len(texts[i], lens ? lens[i] : 0);
    } else if (data) {
        PV_TRY(pv__args_offsets(offsets, i, what, err));
        *out_len = (size_t)(offsets[i + 1] - offsets[i]);
        *out = *out_len ? data + offsets[i] : NULL;
    }
    return 0;
}

static int write_batch_get(const pv__input *in, size_t i, pv__input_row *out, pv_error *err) {
    const pv_batch *b = in->ctx;
    *out = (pv__input_row){
        .id_u64 = b->ids_u64 ? b->ids_u64[i] : PV_ID_NONE,
        .vector = b->vectors ? (const uint8_t *)b->vectors + i * in->stride : NULL,
        .dims = b->dims,
        .type = b->type ? b->type : PV_TYPE_F32,
    };
    PV_TRY(write_column_text(b->ids, b->id_lens, b->id_data, b->id_offsets, i, "id_data", &out->id,
                             &out->id_len, err));
    return write_column_text(b->metadata, b->metadata_lens, b->metadata_data, b->metadata_offsets,
                             i, "metadata_data", &out->metadata, &out->metadata_len, err);
}

static int write_batch_check(const pv_batch *b, pv_error *err) {
    PV_TRY(pv__args_reserved(b->reserved0, "pv_batch", err));
    PV_TRY(write_count(b->count, "records", err));
    if ((b->ids && b->id_data) || (b->metadata && b->metadata_data)) {
        return pv__err(err, PV_ERR_MISUSE, "%s is given as pointers and as a buffer",
                       b->ids && b->id_data ? "id" : "metadata");
    }
    if ((b->id_data && !b->id_offsets) || (b->metadata_data && !b->metadata_offsets)) {
        return pv__args_null(b->id_data && !b->id_offsets ? "id_offsets" : "metadata_offsets", err);
    }
    if (b->dims > PV__DIMS_MAX) {
        return pv__err(err, PV_ERR_DIMS, "vectors have %u dimensions, at most %u are allowed",
                       (unsigned)b->dims, (unsigned)PV__DIMS_MAX);
    }
    return 0;
}

static int write_batch(pv_db *db, pv_txn *txn, const char *collection, const pv_batch *batch,
                       const pv_write_opts *opts, unsigned mode, pv_error *err) {
    pv_write_opts o = PV_WRITE_OPTS_INIT;
    pv_batch b = PV_BATCH_INIT;
    PV_TRY(write_opts(&o, opts, mode, err));
    if (!batch) {
        return pv__args_null("batch", err);
    }
    PV_TRY(pv__args_import(&b, sizeof(b), batch, "pv_batch", err));
    PV_TRY(write_batch_check(&b, err));
    const size_t packed = pv__vector_bytes(b.type ? b.type : PV_TYPE_F32, b.dims);
    const pv__input in = {b.count, &b, b.vector_stride ? b.vector_stride : packed, write_batch_get};
    if (b.count > 1 && in.stride < packed) {
        return pv__err(err, PV_ERR_MISUSE, "vector_stride is %zu, a vector has %zu bytes",
                       in.stride, packed);
    }
    return write_run(db, txn, collection, &in, mode, &o, err);
}

int pv_insert_batch(pv_db *db, pv_txn *txn, const char *collection, const pv_batch *batch,
                    const pv_write_opts *opts, pv_error *err) {
    return write_batch(db, txn, collection, batch, opts, PV__WRITE_INSERT, err);
}

int pv_upsert_batch(pv_db *db, pv_txn *txn, const char *collection, const pv_batch *batch,
                    const pv_write_opts *opts, pv_error *err) {
    return write_batch(db, txn, collection, batch, opts, PV__WRITE_UPSERT, err);
}

int pv_update_batch(pv_db *db, pv_txn *txn, const char *collection, const pv_batch *batch,
                    const pv_write_opts *opts, pv_error *err) {
    return write_batch(db, txn, collection, batch, opts, PV__WRITE_UPDATE, err);
}

/* ---- delete ------------------------------------------------------------------------------ */

static int write_delete(pv_db *db, pv_txn *txn, const char *collection, const pv__key_list *list,
                        bool must_exist, uint64_t *out_deleted, pv_error *err) {
    uint64_t deleted = 0;
    pv__call call;
    PV_TRY(pv__call_begin(&call, db, txn, PV__CALL_WRITE, 0, err));
    int rc = pv__delete_keys(&call, collection, list, must_exist, &deleted, err);
    PV_TRY(pv__call_end(&call, rc, err));
    if (out_deleted) {
        *out_deleted = deleted;
    }
    return 0;
}

int pv_delete(pv_db *db, pv_txn *txn, const char *collection, const char *id, pv_error *err) {
    const pv__key_list list = {.count = 1, .ids = &id};
    return id ? write_delete(db, txn, collection, &list, true, NULL, err)
              : pv__args_null("id", err);
}

int pv_delete_u64(pv_db *db, pv_txn *txn, const char *collection, uint64_t id, pv_error *err) {
    const pv__key_list list = {.count = 1, .ids_u64 = &id};
    return write_delete(db, txn, collection, &list, true, NULL, err);
}

int pv_delete_many(pv_db *db, pv_txn *txn, const char *collection, const pv_ids *ids,
                   uint64_t *out_deleted, pv_error *err) {
    pv__key_list list;
    PV_TRY(pv__args_ids(ids, &list, err));
    return write_delete(db, txn, collection, &list, false, out_deleted, err);
}

int pv_delete_where(pv_db *db, pv_txn *txn, const char *collection, const char *filter,
                    uint64_t *out_deleted, pv_error *err) {
    uint64_t deleted = 0;
    pv__call call;
    if (!filter) {
        return pv__args_null("filter", err);
    }
    PV_TRY(pv__call_begin(&call, db, txn, PV__CALL_WRITE, 0, err));
    int rc = pv__delete_matching(&call, collection, filter, &deleted, err);
    PV_TRY(pv__call_end(&call, rc, err));
    if (out_deleted) {
        *out_deleted = deleted;
    }
    return 0;
}
