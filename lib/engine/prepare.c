/* SPDX-License-Identifier: Apache-2.0 */
/* prepare.c - everything that can be wrong with the records of a writing call, found before the
 * first page is changed:
 *
 *   1. each record by itself: vector, id, metadata (parsed once, here)
 *   2. ids that were left out are made
 *   3. records of one call with the same id (twins): refused, or the last one wins
 *   4. what exists already, what would be too many
 *   5. update: documents that depend on stored ones
 *   6. rows of the docs tree whose key was made here or whose document was merged
 *
 * Pages are read and not one is written.
 *
 * Of many new records the order is another, because the vectors are most of what the disk gets:
 *
 *      caller's thread   keys, 2, 3, 4 | meanwhile: vectors checked and put into pages | documents
 *      helper                          | documents ......................................... |
 *
 * There the first mistake that is found need not be the first of the call, and pages have changed:
 * the caller undoes them and comes again in the order above, which tells it (E1). */
#include <stdatomic.h>

#include "base/checksum.h"
#include "base/map.h"
#include "engine/write.h"
#include "os/helper.h"
#include "value/json.h"

#define PREPARE_ARENA_CHUNK 4096u
#define PREPARE_PAUSE_ROWS 16u
#define PREPARE_MISSES 4u        /* keys not there in a row, before it is asked which one is next */
#define PREPARE_SHARED_ROWS 512u /* waking a thread costs as much as some dozen records */
#define PREPARE_DOC_ROWS 128u    /* documents that a thread takes at once */
/* A document of fewer bytes cannot have a text beyond PV__METADATA_BYTES_MAX. */
#define PREPARE_DOC_SURELY_SMALL (PV__METADATA_BYTES_MAX / 16u)

/* The error of record i: numbered in the message when there are several. */
static int prepare_fail(const pv__changes *ch, size_t i, int rc, pv_error *err) {
    if (err && ch->count > 1) {
        const uint64_t offset = err->offset;
        pv__err(err, rc, "record %zu: %s", i, err->message);
        err->offset = offset;
    }
    return pv__err_at(err, rc, i);
}

static pv__bytes prepare_key(const pv__change *row) { return (pv__bytes){row->key, row->key_len}; }

/* ---- 1. one record ----------------------------------------------------------------------- */

static int prepare_shape(const pv__parts *p, const void *vector, uint32_t dims, uint32_t type,
                         pv_error *err) {
    const pv__field *f = &p->c.field;
    if (type < PV_TYPE_F32 || type > PV_TYPE_BIT) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "unknown element type %u", (unsigned)type);
    }
    if (dims != f->dims) {
        return pv__err(err, PV_ERR_DIMS, "vector has %u dimensions, collection '%s' wants %u",
                       (unsigned)dims, p->c.name, (unsigned)f->dims);
    }
    if (type != f->type) {
        return pv__err(err, PV_ERR_DIMS, "vector has element type %s, collection '%s' wants %s",
                       pv__type_name(type), p->c.name, pv__type_name(f->type));
    }
    return vector ? 0 : pv__err(err, PV_ERR_MISUSE, "the vector is missing");
}

int pv__vector_values(const pv__parts *p, const void *vector, pv_error *err) {
    const pv__element *e = pv__element_of(p->c.field.type);
    size_t at = 0;
    if (e->find_bad && e->find_bad(vector, p->c.field.dims, &at)) {
        return pv__err(err, PV_ERR_MISUSE, "the vector has %s at position %zu", e->bad, at);
    }
    return 0;
}

int pv__vector_check(const pv__parts *p, const void *vector, uint32_t dims, uint32_t type,
                     pv_error *err) {
    PV_TRY(prepare_shape(p, vector, dims, type, err));
    return pv__vector_values(p, vector, err);
}

/* What is looked at of each record. */
enum { PREPARE_KEYS = 1, PREPARE_VALUES = 2, PREPARE_DOCS = 4, PREPARE_ALL = 7 };

/* Records [from, to) of a call, checked by one thread. */
typedef struct prepare_part {
    pv__changes *ch;
    const pv__input *in;
    size_t from, to;
    uint8_t *numbers; /* room for number keys, 8 bytes a record of the call; or NULL */
    uint64_t next_id;
    pv__json_reader json;
    pv__buf docs; /* goes to the call's docs[part]; here, so that threads share no cache line */
    uint8_t part, what;    /* what: PREPARE_ */
    atomic_size_t *shared; /* the first record that nobody has taken yet; NULL: all are ours */
    int rc;
    pv_error err;
} prepare_part;

static void prepare_part_init(prepare_part *p, pv__changes *ch, const pv__input *in, uint8_t what,
                              uint8_t part, size_t from, size_t to, uint8_t *numbers) {
    const pv_error none = PV_ERROR_INIT;
    p->ch = ch;
    p->what = what;
    p->shared = NULL;
    p->part = part;
    p->in = in;
    p->from = from;
    p->to = to;
    p->numbers = numbers;
    p->next_id = ch->next_id;
    p->rc = 0;
    p->err = none;
    pv__json_reader_init(&p->json, &ch->db->env->mem);
    pv__buf_init(&p->docs, &ch->db->env->mem);
}

/* The document, behind its head where that is known already. */
static int prepare_metadata(prepare_part *p, const pv__input_row *in, pv__change *row,
                            pv_error *err) {
    const pv__json_opts opts = {"metadata", PV__METADATA_BYTES_MAX, true};
    if (!in->metadata && p->ch->mode == PV__WRITE_UPDATE) {
        row->doc_at = PV__NO_DOC;
        return 0;
    }
    if (row->key_len > 0 && !(p->ch->flags & PV_WRITE_MERGE)) {
        row->doc_head = (uint16_t)pv__row_head(&p->docs, prepare_key(row));
    }
    row->doc_part = p->part;
    row->doc_at = p->docs.len;
    if (!in->metadata) {
        return pv__buf_check(&p->docs, err);
    }
    PV_TRY(pv__json_reader_read(&p->json, &opts, in->metadata, in->metadata_len, &p->docs, err));
    row->doc_len = (uint32_t)(p->docs.len - row->doc_at);
    return 0;
}

static int prepare_key_of(prepare_part *p, size_t i, const pv__input_row *r, pv_error *err) {
    const pv__changes *ch = p->ch;
    uint8_t *number_key = p->numbers ? p->numbers + 8 * i : NULL;
    pv__change *row = &ch->rows[i];
    pv__bytes key;
    if (r->vector || ch->mode != PV__WRITE_UPDATE) {
        PV_TRY(prepare_shape(ch->parts, r->vector, r->dims, r->type, err));
        PV_TRY(p->what & PREPARE_VALUES ? pv__vector_values(ch->parts, r->vector, err) : 0);
    }
    PV_TRY(pv__key_check(ch->parts, r->id, r->id_len, r->id_u64, number_key, &key, err));
    if (key.size == 0 && ch->mode == PV__WRITE_UPDATE) {
        return pv__err(err, PV_ERR_MISUSE, "the id is missing");
    }
    if (number_key && key.size != 0 && p->next_id <= r->id_u64) {
        p->next_id = r->id_u64 + 1; /* PV_ID_NONE at most: no number is left then */
    }
    row->key = key.data;
    row->key_len = (uint32_t)key.size;
    row->vector = r->vector;
    return 0;
}

static int prepare_row(prepare_part *p, size_t i, pv_error *err) {
    pv__input_row r;
    PV_TRY(p->in->get(p->in, i, &r, err));
    PV_TRY(p->what & PREPARE_KEYS ? prepare_key_of(p, i, &r, err) : 0);
    return p->what & PREPARE_DOCS ? prepare_metadata(p, &r, &p->ch->rows[i], err) : 0;
}

static void prepare_part_rows(prepare_part *p) {
    for (size_t i = p->from; i < p->to && p->rc == 0; i++) {
        if (p->part == 0) { /* the caller's thread, which the callback belongs to */
            p->rc = pv__db_interrupted_at(p->ch->db, i, &p->err);
            if (p->rc != 0) {
                break;
            }
        }
        p->rc = prepare_row(p, i, &p->err);
        if (p->rc != 0) {
            prepare_fail(p->ch, i, p->rc, &p->err);
        }
    }
}

static void prepare_part_run(void *ctx) {
    prepare_part *p = ctx;
    if (!p->shared) {
        prepare_part_rows(p);
        return;
    }
    while (p->rc == 0) {
        /* relaxed: what was known of the records before is handed over by starting the helper */
        p->from = atomic_fetch_add_explicit(p->shared, PREPARE_DOC_ROWS, memory_order_relaxed);
        if (p->from >= p->ch->count) {
            break;
        }
        p->to = PV_MIN(p->from + PREPARE_DOC_ROWS, p->ch->count);
        prepare_part_rows(p);
        pv__thread_yield(); /* to whoever has pages to write: the disk should not wait for us */
    }
}

int pv__write_tell(const pv_error *found, int rc, pv_error *err) {
    if (rc != 0) {
        pv__err(err, rc, "%s", found->message);
        if (err) {
            err->sys_errno = found->sys_errno;
            err->record_index = found->record_index;
            err->offset = found->offset;
        }
    }
    return rc;
}

/* What a part has found goes to the call. */
static int prepare_part_take(prepare_part *p, pv_error *err) {
    p->ch->next_id = PV_MAX(p->ch->next_id, p->next_id);
    p->ch->docs[p->part] = p->docs;
    pv__json_reader_done(&p->json);
    return pv__write_tell(&p->err, p->rc, err);
}

/* All records; of many the second half by the helper, where there is one. */
static int prepare_rows(pv__changes *ch, const pv__input *in, uint8_t *numbers, pv_error *err) {
    prepare_part parts[2];
    pv__helper *helper = pv__txn_helper(ch->parts->txn);
    const size_t half = ch->count >= PREPARE_SHARED_ROWS ? ch->count / 2 : ch->count;
    prepare_part_init(&parts[0], ch, in, PREPARE_ALL, 0, 0, half, numbers);
    prepare_part_init(&parts[1], ch, in, PREPARE_ALL, 1, half, ch->count, numbers);
    const bool helped = half < ch->count && pv__helper_start(helper, prepare_part_run, &parts[1]);
    prepare_part_run(&parts[0]);
    if (helped) {
        pv__helper_wait(helper);
    } else if (parts[0].rc == 0) {
        prepare_part_run(&parts[1]);
    }
    const int rc = prepare_part_take(&parts[0], err); /* the first record that is wrong is told */
    const int later = prepare_part_take(&parts[1], rc == 0 ? err : NULL);
    return rc != 0 ? rc : later;
}

/* ---- 2. ids that were left out ----------------------------------------------------------- */

static int prepare_made_numbers(pv__changes *ch, size_t made, uint8_t *numbers, pv_error *err) {
    if (made > PV_ID_NONE - ch->next_id) {
        return pv__err(err, PV_ERR_LIMIT, "collection '%s' has no numbers left for %zu new ids",
                       ch->parts->c.name, made);
    }
    for (size_t i = 0; i < ch->count; i++) {
        pv__change *row = &ch->rows[i];
        if (row->key_len == 0) {
            pv__bytes key = pv__idmap_key_u64(numbers + 8 * i, ch->next_id++);
            row->key = key.data;
            row->key_len = (uint32_t)key.size;
        }
    }
    return 0;
}

static int prepare_made_texts(pv__changes *ch, size_t made, pv_error *err) {
    char *text = pv__arena_alloc(&ch->arena, made * PV__UUID_TEXT);
    if (!text) {
        return pv__err_nomem(err, made * PV__UUID_TEXT);
    }
    PV_TRY(pv__key_uuids(ch->db->clock, text, made, err));
    for (size_t i = 0; i < ch->count; i++) {
        pv__change *row = &ch->rows[i];
        if (row->key_len == 0) {
            row->key = (const uint8_t *)text;
            row->key_len = PV__UUID_TEXT;
            text += PV__UUID_TEXT;
        }
    }
    return 0;
}

static int prepare_made_keys(pv__changes *ch, uint8_t *numbers, pv_error *err) {
    size_t made = 0;
    for (size_t i = 0; i < ch->count; i++) {
        made += ch->rows[i].key_len == 0 ? 1u : 0u;
    }
    if (made == 0) {
        return 0;
    }
    return ch->parts->c.key == PV_KEY_U64 ? prepare_made_numbers(ch, made, numbers, err)
                                          : prepare_made_texts(ch, made, err);
}

/* ---- 3. twins ---------------------------------------------------------------------------- */

static int prepare_key_order(pv__bytes a, pv__bytes b) {
    const int order = memcmp(a.data, b.data, PV_MIN(a.size, b.size));
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static bool prepare_same_key(const pv__change *a, const pv__change *b) {
    return a->key_len == b->key_len && memcmp(a->key, b->key, a->key_len) == 0;
}

/* Find the newest record with the key of record i among those before it, and put i in its place.
 * Different keys with one hash sit at the hash's successors. */
static int prepare_twin(pv__changes *ch, pv__map *seen, size_t i, pv_error *err) {
    pv__change *row = &ch->rows[i];
    uint64_t hash = pv__hash64(row->key, row->key_len, 0) >> 1; /* never UINT64_MAX */
    uint64_t other = 0;
    while (pv__map_get(seen, hash, &other)) {
        pv__change *twin = &ch->rows[other];
        if (prepare_same_key(twin, row)) {
            if (ch->mode == PV__WRITE_INSERT) {
                char shown[PV__KEY_SHOWN];
                return pv__err(err, PV_ERR_EXISTS, "id %s stands twice in this call",
                               pv__key_show(ch->parts, (pv__bytes){row->key, row->key_len}, shown));
            }
            twin->superseded = true;
            row->twin = (uint32_t)other + 1;
            break;
        }
        hash = pv__mix64(hash + 1) >> 1;
    }
    return pv__map_put(seen, hash, i, err);
}

/* Keys in rising order, as loads often bring them: none can stand twice. */
static bool prepare_ascending(const pv__changes *ch) {
    for (size_t i = 1; i < ch->count; i++) {
        if (prepare_key_order(prepare_key(&ch->rows[i - 1]), prepare_key(&ch->rows[i])) >= 0) {
            return false;
        }
    }
    return true;
}

static int prepare_twins(pv__changes *ch, pv_error *err) {
    pv__map seen;
    int rc = 0;
    ch->ascending = ch->count > 1 && prepare_ascending(ch);
    if (ch->count < 2 || ch->ascending) {
        return 0;
    }
    pv__map_init(&seen, &ch->db->env->mem);
    for (size_t i = 0; i < ch->count && rc == 0; i++) {
        rc = prepare_twin(ch, &seen, i, err);
        if (rc != 0) {
            rc = prepare_fail(ch, i, rc, err);
        }
    }
    pv__map_done(&seen);
    return rc;
}

/* ---- 4. what exists ---------------------------------------------------------------------- */

/* What is known of the next key in the id map, while keys come in ascending order: those below it
 * are not there, and need no lookup. */
typedef struct prepare_next {
    pv__cursor *cursor; /* at the first key that is not below the last one asked for; or NULL */
    bool known, none;   /* none: all keys are below */
    unsigned misses;    /* keys in a row that were looked up and not there */
} prepare_next;

static int prepare_find(pv__changes *ch, prepare_next *next, pv__change *row, pv_error *err) {
    const pv__bytes key = prepare_key(row);
    bool found = false;
    if (next->known) {
        if (next->none || prepare_key_order(key, pv__cursor_key(next->cursor)) < 0) {
            return 0;
        }
        next->known = false;
        next->misses = 0;
    }
    PV_TRY(pv__idmap_get(&ch->parts->ids, key, &row->slot, &row->exists, err));
    next->misses = row->exists ? 0 : next->misses + 1;
    if (next->cursor && next->misses == PREPARE_MISSES) {
        PV_TRY(pv__cursor_seek(next->cursor, key, &found, err));
        next->none = !found;
        next->known = true;
    }
    return 0;
}

static int prepare_lookup(pv__changes *ch, prepare_next *next, size_t i, pv_error *err) {
    pv__parts *p = ch->parts;
    pv__change *row = &ch->rows[i];
    const pv__bytes key = prepare_key(row);
    char shown[PV__KEY_SHOWN];
    PV_TRY(prepare_find(ch, next, row, err));
    if (row->exists && row->slot >= p->slots.meta.high_water) {
        return pv__err(err, PV_ERR_CORRUPT, "collection '%s': id %s leads to slot %u of %u",
                       p->c.name, pv__key_show(p, key, shown), (unsigned)row->slot,
                       (unsigned)p->slots.meta.high_water);
    }
    if (row->exists && ch->mode == PV__WRITE_INSERT) {
        return pv__err(err, PV_ERR_EXISTS, "id %s exists in collection '%s'",
                       pv__key_show(p, key, shown), p->c.name);
    }
    if (!row->exists && ch->mode == PV__WRITE_UPDATE) {
        return pv__err(err, PV_ERR_NOTFOUND, "there is no id %s in collection '%s'",
                       pv__key_show(p, key, shown), p->c.name);
    }
    return 0;
}

static int prepare_look(pv__changes *ch, prepare_next *next, pv_error *err) {
    for (size_t i = 0; i < ch->count; i++) {
        PV_TRY(pv__db_interrupted_at(ch->db, i, err));
        if (!ch->rows[i].superseded || ch->mode == PV__WRITE_UPDATE) {
            int rc = prepare_lookup(ch, next, i, err);
            if (rc != 0) {
                return prepare_fail(ch, i, rc, err);
            }
            ch->fresh += ch->rows[i].exists ? 0u : 1u;
            if (i % PREPARE_PAUSE_ROWS == 0) {
                PV_TRY(pv__txn_pause(ch->parts->txn, err));
            }
        }
    }
    return 0;
}

static int prepare_lookups(pv__changes *ch, pv_error *err) {
    prepare_next next = {0};
    ch->near.depth = 0;
    ch->parts->ids.near = ch->count > 1 ? &ch->near : NULL;
    const bool worth = ch->ascending && ch->count > 4 * PREPARE_MISSES;
    int rc = worth ? pv__cursor_new(&ch->parts->ids.tree, &next.cursor, err) : 0;
    rc = rc == 0 ? prepare_look(ch, &next, err) : rc;
    pv__cursor_free(next.cursor);
    PV_TRY(rc);
    const uint32_t live = ch->parts->slots.meta.live_count;
    if (ch->fresh > PV__SLOTS_PER_COLLECTION_MAX - PV_MIN(live, PV__SLOTS_PER_COLLECTION_MAX)) {
        return pv__err(
            err, PV_ERR_LIMIT, "collection '%s' has %u records, %zu more are too many (at most %u)",
            ch->parts->c.name, (unsigned)live, ch->fresh, (unsigned)PV__SLOTS_PER_COLLECTION_MAX);
    }
    return 0;
}

/* ---- 5. update --------------------------------------------------------------------------- */

static int prepare_doc_limit(pv__bytes doc, pv__buf *scratch, pv_error *err) {
    if (doc.size <= PREPARE_DOC_SURELY_SMALL) {
        return 0;
    }
    pv__buf_clear(scratch);
    pv__json_write(scratch, pv__doc_root(doc.data, doc.size));
    PV_TRY(pv__buf_check(scratch, err));
    if (scratch->len > PV__METADATA_BYTES_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "merged metadata has %zu bytes, at most %u are allowed",
                       scratch->len, (unsigned)PV__METADATA_BYTES_MAX);
    }
    return 0;
}

/* Metadata of record i = merge of what is there (a twin's, or stored) and the given patch. */
static int prepare_merge(pv__changes *ch, size_t i, pv__buf *stored, pv__buf *merged,
                         pv_error *err) {
    pv__change *row = &ch->rows[i];
    const pv__change *twin = row->twin ? &ch->rows[row->twin - 1] : NULL;
    pv__bytes target;
    if (twin && twin->doc_at != PV__NO_DOC) {
        target = pv__change_doc(ch, twin);
    } else {
        pv__row old;
        PV_TRY(pv__row_get(ch->parts, row->slot, stored, &old, err));
        target = (pv__bytes){old.doc, old.doc_len};
    }
    pv__buf_clear(merged);
    PV_TRY(pv__merge_patch(target, pv__change_doc(ch, row), merged, err));
    PV_TRY(prepare_doc_limit((pv__bytes){merged->data, merged->len}, stored, err));
    row->doc_part = 0;
    row->doc_at = ch->docs[0].len;
    row->doc_len = (uint32_t)merged->len;
    pv__buf_add(&ch->docs[0], merged->data, merged->len);
    return pv__buf_check(&ch->docs[0], err);
}

static int prepare_update(pv__changes *ch, pv_error *err) {
    pv__buf stored, merged;
    int rc = 0;
    pv__buf_init(&stored, &ch->db->env->mem);
    pv__buf_init(&merged, &ch->db->env->mem);
    for (size_t i = 0; i < ch->count && rc == 0; i++) {
        pv__change *row = &ch->rows[i];
        const pv__change *twin = row->twin ? &ch->rows[row->twin - 1] : NULL;
        rc = pv__db_interrupted_at(ch->db, i, err);
        if (rc == 0 && row->doc_at != PV__NO_DOC && (ch->flags & PV_WRITE_MERGE)) {
            rc = prepare_merge(ch, i, &stored, &merged, err);
            rc = rc == 0 ? pv__txn_pause(ch->parts->txn, err) : prepare_fail(ch, i, rc, err);
        }
        if (twin && row->doc_at == PV__NO_DOC) {
            row->doc_part = twin->doc_part;
            row->doc_at = twin->doc_at;
            row->doc_head = twin->doc_head;
            row->doc_len = twin->doc_len;
        }
        if (twin && !row->vector) {
            row->vector = twin->vector;
        }
    }
    pv__buf_done(&merged);
    pv__buf_done(&stored);
    return rc;
}

/* ---- 6. heads of documents that came before their keys -------------------------------------- */

static int prepare_heads(pv__changes *ch, pv_error *err) {
    for (size_t i = 0; i < ch->count; i++) {
        pv__change *row = &ch->rows[i];
        if (row->doc_head > 0 || row->doc_at == PV__NO_DOC || row->superseded) {
            continue;
        }
        pv__buf *docs = &ch->docs[0];
        const size_t head = pv__row_head(docs, prepare_key(row)), at = docs->len;
        uint8_t *to = pv__buf_extend(docs, row->doc_len);
        PV_TRY(pv__buf_check(docs, err));
        if (row->doc_len > 0) { /* {} has no bytes, and may have no place */
            memcpy(to, pv__change_doc(ch, row).data, row->doc_len);
        }
        row->doc_part = 0;
        row->doc_at = at;
        row->doc_head = (uint16_t)head;
    }
    return 0;
}

/* ---- all --------------------------------------------------------------------------------- */

/* Room for the records of the call. *out_numbers: for number keys, or NULL. */
static int prepare_begin(pv__changes *ch, pv__parts *parts, pv_db *db, unsigned mode,
                         uint32_t flags, size_t count, uint8_t **out_numbers, pv_error *err) {
    pv__mem *mem = &db->env->mem;
    memset(ch, 0, offsetof(pv__changes, near));
    ch->parts = parts;
    ch->db = db;
    ch->mode = mode;
    ch->flags = flags;
    ch->next_id = parts->c.next_id;
    *out_numbers = NULL;
    pv__buf_init(&ch->docs[0], mem);
    pv__buf_init(&ch->docs[1], mem);
    pv__arena_init(&ch->arena, mem, PREPARE_ARENA_CHUNK);
    if (count == 0) {
        return 0;
    }
    ch->rows = pv__alloc_array(mem, count, sizeof(*ch->rows));
    const bool number_keys = parts->c.key == PV_KEY_U64;
    uint8_t *numbers = number_keys ? pv__arena_alloc(&ch->arena, count * 8) : NULL;
    if (!ch->rows || (number_keys && !numbers)) {
        pv__alloc_free(mem, ch->rows, count * sizeof(*ch->rows));
        ch->rows = NULL;
        return pv__err_nomem(err, count * sizeof(*ch->rows));
    }
    memset(ch->rows, 0, count * sizeof(*ch->rows));
    ch->count = count;
    *out_numbers = numbers;
    return 0;
}

int pv__changes_prepare(pv__changes *ch, pv__parts *parts, pv_db *db, unsigned mode, uint32_t flags,
                        const pv__input *in, pv_error *err) {
    uint8_t *numbers = NULL;
    PV_TRY(prepare_begin(ch, parts, db, mode, flags, in->count, &numbers, err));
    if (in->count == 0) {
        return 0;
    }
    PV_TRY(prepare_rows(ch, in, numbers, err));
    PV_TRY(prepare_made_keys(ch, numbers, err));
    PV_TRY(prepare_twins(ch, err));
    PV_TRY(prepare_lookups(ch, err));
    PV_TRY(mode == PV__WRITE_UPDATE ? prepare_update(ch, err) : 0);
    return prepare_heads(ch, err);
}

/* ---- many new records ------------------------------------------------------------------------ */

static int prepare_keys(pv__changes *ch, const pv__input *in, uint8_t *numbers, pv_error *err) {
    prepare_part keys;
    prepare_part_init(&keys, ch, in, PREPARE_KEYS, 0, 0, ch->count, numbers);
    prepare_part_run(&keys);
    PV_TRY(prepare_part_take(&keys, err));
    PV_TRY(prepare_made_keys(ch, numbers, err));
    PV_TRY(prepare_twins(ch, err));
    return prepare_lookups(ch, err);
}

/* All documents, by the helper and, after `meanwhile`, by this thread. */
static int prepare_docs_while(pv__changes *ch, const pv__input *in,
                              int (*meanwhile)(void *ctx, pv_error *err), void *ctx,
                              pv_error *err) {
    prepare_part parts[2];
    atomic_size_t shared;
    pv__helper *helper = pv__txn_helper(ch->parts->txn);
    atomic_init(&shared, 0);
    for (uint8_t i = 0; i < 2; i++) {
        prepare_part_init(&parts[i], ch, in, PREPARE_DOCS, i, 0, 0, NULL);
        parts[i].shared = &shared;
    }
    const bool helped =
        ch->count >= PREPARE_SHARED_ROWS && pv__helper_start(helper, prepare_part_run, &parts[1]);
    const int rc = meanwhile(ctx, err);
    if (rc == 0) {
        prepare_part_run(&parts[0]);
    }
    if (rc != 0 || parts[0].rc != 0) { /* nobody needs the others */
        atomic_store_explicit(&shared, ch->count, memory_order_relaxed);
    }
    if (helped) {
        pv__helper_wait(helper);
    }
    const int mine = prepare_part_take(&parts[0], rc == 0 ? err : NULL);
    const int other = prepare_part_take(&parts[1], rc == 0 && mine == 0 ? err : NULL);
    return rc != 0 ? rc : mine != 0 ? mine : other;
}

int pv__changes_prepare_new(pv__changes *ch, pv__parts *parts, pv_db *db, unsigned mode,
                            const pv__input *in, int (*meanwhile)(void *ctx, pv_error *err),
                            void *ctx, bool *out_all_new, pv_error *err) {
    uint8_t *numbers = NULL;
    PV_TRY(prepare_begin(ch, parts, db, mode, 0, in->count, &numbers, err));
    ch->unchecked = true;
    PV_TRY(prepare_keys(ch, in, numbers, err));
    *out_all_new = ch->fresh == ch->count;
    return *out_all_new ? prepare_docs_while(ch, in, meanwhile, ctx, err) : 0;
}

void pv__changes_done(pv__changes *ch) {
    if (ch->db) {
        pv__alloc_free(&ch->db->env->mem, ch->rows, ch->count * sizeof(*ch->rows));
        ch->parts->ids.near = NULL;
        pv__arena_done(&ch->arena);
        pv__buf_done(&ch->docs[0]);
        pv__buf_done(&ch->docs[1]);
    }
}

#undef PREPARE_ARENA_CHUNK
#undef PREPARE_PAUSE_ROWS
#undef PREPARE_MISSES
#undef PREPARE_SHARED_ROWS
#undef PREPARE_DOC_ROWS
#undef PREPARE_DOC_SURELY_SMALL
