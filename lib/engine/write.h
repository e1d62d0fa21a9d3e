/* SPDX-License-Identifier: Apache-2.0 */
/* write.h - changing records: check everything, then change.
 *
 *      pv__input --prepare--> pv__change[n] --apply--> pages
 *                 ids, vectors, documents,    nothing here can fail for a reason
 *                 twins, what exists          that the caller could have known
 *
 * Prepare reads pages and changes none, so that a call which is refused leaves no trace and the
 * caller's transaction goes on (E1). Apply dooms the transaction when it fails.
 *
 * A large call that is a transaction of its own puts its new vectors into pages before all is
 * checked, so that they are on their way to the disk meanwhile. When something is wrong after all
 * its transaction is emptied, and the same call comes again as above, to tell what. */
#ifndef PV_ENGINE_WRITE_H
#define PV_ENGINE_WRITE_H

#include "base/arena.h"
#include "engine/db.h"
#include "engine/parts.h"
#include "engine/results.h"

/* One record as the caller gave it, whatever the shape of the call. */
typedef struct pv__input_row {
    const char *id;       /* NULL: left out */
    size_t id_len;        /* resolved: never "up to the NUL" */
    uint64_t id_u64;      /* PV_ID_NONE: left out */
    const void *vector;   /* NULL: left out */
    uint32_t dims, type;  /* type resolved */
    const char *metadata; /* NULL: left out */
    size_t metadata_len;
} pv__input_row;

typedef struct pv__input {
    size_t count;
    const void *ctx;
    size_t stride;
    int (*get)(const struct pv__input *in, size_t i, pv__input_row *out, pv_error *err);
} pv__input;

enum { PV__WRITE_INSERT, PV__WRITE_UPSERT, PV__WRITE_UPDATE };

#define PV__NO_DOC SIZE_MAX

/* One record, ready to be written. What is about its document may be written by the helper while
 * another thread reads the rest: no word holds some of both. */
typedef struct pv__change {
    const uint8_t *key; /* the caller's bytes, or the arena's */
    const void *vector; /* the caller's; NULL: keep */
    size_t doc_at;      /* in pv__changes.docs[doc_part], behind its head; PV__NO_DOC: keep */
    uint32_t doc_len;
    uint16_t doc_head; /* bytes of the head before it; 0: there is none yet */
    uint8_t doc_part;
    uint32_t key_len;
    uint32_t slot; /* when it exists */
    uint32_t twin; /* index + 1 of the one before with the same key, or 0 */
    bool exists;
    bool superseded; /* a later record of the call has the same key */
} pv__change;

typedef struct pv__changes {
    pv__parts *parts;
    pv_db *db;
    unsigned mode;  /* PV__WRITE_ */
    uint32_t flags; /* PV_WRITE_ */
    size_t count;
    pv__change *rows;
    uint64_t next_id; /* the collection's, after this call */
    size_t fresh;     /* records that will be new */
    bool ascending;   /* their keys, strictly */
    bool unchecked;   /* the elements of the vectors are looked at when they are copied */
    /* From here on not zeroed. */
    pv__finger near; /* of the id map, while several records are looked up and put in */
    pv__buf docs[2]; /* each written by the thread that checks a part of the records */
    pv__arena arena;
} pv__changes;

static inline pv__bytes pv__change_doc(const pv__changes *ch, const pv__change *row) {
    const uint8_t *data = ch->docs[row->doc_part].data;
    const pv__bytes doc = {data ? data + row->doc_at : NULL, row->doc_len};
    return doc;
}

/* The row of the docs tree: the document with its head. */
static inline pv__bytes pv__change_row(const pv__changes *ch, const pv__change *row) {
    const pv__bytes whole = {ch->docs[row->doc_part].data + row->doc_at - row->doc_head,
                             row->doc_head + row->doc_len};
    return whole;
}

/* prepare.c. done in every case. */
PV_PRIVATE int pv__changes_prepare(pv__changes *ch, pv__parts *parts, pv_db *db, unsigned mode,
                                   uint32_t flags, const pv__input *in, pv_error *err);
/* The same for many records, each with its vector, in a transaction that has changed nothing yet.
 * When all of them turn out to be new, meanwhile(ctx) is called: their keys are known, of their
 * vectors the shape was checked and the elements were not; documents are there only afterwards.
 * *out_all_new false, or an error: come again with the other one, without what meanwhile did. */
PV_PRIVATE int pv__changes_prepare_new(pv__changes *ch, pv__parts *parts, pv_db *db, unsigned mode,
                                       const pv__input *in,
                                       int (*meanwhile)(void *ctx, pv_error *err), void *ctx,
                                       bool *out_all_new, pv_error *err);
PV_PRIVATE void pv__changes_done(pv__changes *ch);
/* An error that was found elsewhere, with its record and place; 0 tells nothing. Returns rc. */
PV_PRIVATE int pv__write_tell(const pv_error *found, int rc, pv_error *err);

/* A vector that was given: dims and type are the collection's, all elements finite. */
PV_PRIVATE int pv__vector_check(const pv__parts *p, const void *vector, uint32_t dims,
                                uint32_t type, pv_error *err);
/* The elements alone. */
PV_PRIVATE int pv__vector_values(const pv__parts *p, const void *vector, pv_error *err);

/* key.c: one key as the caller gave it to bytes of the id map; `buf` takes a number. A missing one
 * gives size 0. */
PV_PRIVATE int pv__key_check(const pv__parts *p, const char *id, size_t id_len, uint64_t id_u64,
                             uint8_t buf[8], pv__bytes *out, pv_error *err);
/* UUIDs of version 7 (RFC 9562), 36 characters each without NUL, `count` of them. */
#define PV__UUID_TEXT 36u
PV_PRIVATE int pv__key_uuids(const pv_clock *clock, char *out, size_t count, pv_error *err);

/* merge.c: append to `out` what RFC 7396 makes of a document and a patch, both checked. */
PV_PRIVATE int pv__merge_patch(pv__bytes target, pv__bytes patch, pv__buf *out, pv_error *err);

/* write.c. *out_ids (may be NULL): the ids as rows, given also when the commit then fails.
 * want_numbers: the caller wants them as numbers, which is a mistake where keys are texts. */
PV_PRIVATE int pv__write_records(pv__call *call, const char *collection, const pv__input *in,
                                 unsigned mode, uint32_t flags, bool want_numbers,
                                 pv_results **out_ids, pv_error *err);

/* delete.c */
typedef struct pv__key_list {
    size_t count;
    const uint64_t *ids_u64;
    const char *const *ids;
    const size_t *id_lens;
    const char *id_data; /* instead of ids; offsets checked */
    const uint64_t *id_offsets;
} pv__key_list;
/* At least the bytes of all texts, a NUL each. */
PV_PRIVATE size_t pv__key_list_bytes(const pv__key_list *list);
/* Key i, checked, and where its record is. With must_exist a missing one is PV_ERR_NOTFOUND. On
 * failure record_index is set. *out_key points into the list or into buf. */
PV_PRIVATE int pv__key_list_find(const pv__key_list *list, pv__parts *p, size_t i, bool must_exist,
                                 uint8_t buf[8], pv__bytes *out_key, uint32_t *out_slot,
                                 bool *out_found, pv_error *err);
/* must_exist: PV_ERR_NOTFOUND for the first that is not there, before anything is changed. */
PV_PRIVATE int pv__delete_keys(pv__call *call, const char *collection, const pv__key_list *list,
                               bool must_exist, uint64_t *out_deleted, pv_error *err);
PV_PRIVATE int pv__delete_matching(pv__call *call, const char *collection, const char *filter,
                                   uint64_t *out_deleted, pv_error *err);

static inline int pv__err_at(pv_error *err, int code, size_t record_index) {
    if (err) {
        err->record_index = record_index;
    }
    return code;
}

#endif
