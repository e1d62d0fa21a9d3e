/* SPDX-License-Identifier: Apache-2.0 */
/* iter.c - a walk in key order: a cursor over the id map, and the row of each key as far as it is
 * asked for. Whose state it sees, and how long: hold.h.
 *
 * The cursor keeps its key, so writes of the same transaction between two steps do no harm: the
 * walk goes on behind the key it stood on. */
#include "engine/iter.h"

#include "engine/hold.h"
#include "engine/parts.h"
#include "query/filter.h"
#include "value/json.h"

#define ITER_ALIGN 64u
#define ITER_INTERRUPT_ROWS 256u

struct pv_iter {
    pv__hold hold; /* first */
    pv__parts parts;
    pv__cursor *cursor;
    pv__filter *filter;
    uint32_t include, row_bytes;
    uint32_t seen;
    bool begun, at_end;
    bool on_row;
    uint8_t from[PV__KEY_BYTES_MAX]; /* when not begun: begin behind this key */
    uint32_t from_len;
    uint64_t id_u64;
    size_t json_at; /* in text, behind the id */
    pv__buf row, text;
    uint8_t *vector;
};

/* ---- life -------------------------------------------------------------------------------- */

/* The cursor frees memory only, but names the transaction's allocator, so it goes first. */
static void iter_drop(pv__hold *h) {
    pv_iter *it = (pv_iter *)h;
    pv__cursor_free(it->cursor);
    it->cursor = NULL;
    pv__parts_done(&it->parts);
    it->parts.txn = NULL;
    it->on_row = false;
}

static void iter_release(pv__hold *h) {
    pv_iter *it = (pv_iter *)h;
    pv__mem *mem = &h->db->env->mem;
    pv__filter_free(it->filter);
    pv__alloc_free_aligned(mem, it->vector, it->row_bytes, ITER_ALIGN);
    pv__buf_done(&it->row);
    pv__buf_done(&it->text);
    pv__alloc_free(mem, it, sizeof(*it));
}

static int iter_start(pv_iter *it, const pv_iter_opts *o, pv_error *err) {
    const pv__parts *p = &it->parts;
    uint8_t number[8];
    if (o->after_id && p->c.key != PV_KEY_STRING) {
        return pv__err(err, PV_ERR_MISUSE, "after_id is a text, collection '%s' has numbers",
                       p->c.name);
    }
    if (o->after_id_u64 != PV_ID_NONE && p->c.key == PV_KEY_U64) {
        pv__bytes key = pv__idmap_key_u64(number, o->after_id_u64);
        memcpy(it->from, key.data, key.size);
        it->from_len = (uint32_t)key.size;
    } else if (o->after_id_u64 != PV_ID_NONE && o->after_id_u64 != 0) {
        return pv__err(err, PV_ERR_MISUSE, "after_id_u64 is given, collection '%s' has texts",
                       p->c.name);
    }
    if (o->after_id) {
        const size_t len = o->after_id_len ? o->after_id_len : strlen(o->after_id);
        if (len > PV__KEY_BYTES_MAX) {
            return pv__err(err, PV_ERR_LIMIT, "after_id has %zu bytes, at most %u are allowed", len,
                           (unsigned)PV__KEY_BYTES_MAX);
        }
        memcpy(it->from, o->after_id, len);
        it->from_len = (uint32_t)len;
    }
    return 0;
}

typedef struct iter_request {
    const char *collection;
    const pv_iter_opts *opts;
} iter_request;

static int iter_prepare(pv__hold *h, void *ctx, pv_error *err) {
    pv_iter *it = (pv_iter *)h;
    const iter_request *request = ctx;
    const pv_iter_opts *o = request->opts;
    pv__mem *mem = &h->db->env->mem;
    const uint32_t known = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    if (o->include & ~known) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "unknown include flags 0x%x",
                       (unsigned)(o->include & ~known));
    }
    PV_TRY(pv__parts_open(&it->parts, h->txn, request->collection, err));
    PV_TRY(iter_start(it, o, err));
    if (o->filter) {
        const size_t len = o->filter_len ? o->filter_len : strlen(o->filter);
        PV_TRY(pv__filter_compile(mem, o->filter, len, &it->filter, err));
    }
    if (o->include & PV_INCLUDE_VECTOR) {
        it->vector = pv__alloc_aligned(mem, it->parts.column.row_size, ITER_ALIGN);
        if (!it->vector) {
            return pv__err_nomem(err, it->parts.column.row_size);
        }
        it->row_bytes = it->parts.column.row_size;
    }
    it->include = o->include;
    return pv__cursor_new(&it->parts.ids.tree, &it->cursor, err);
}

int pv__iter_new(pv_db *db, pv_txn *txn, const char *collection, const pv_iter_opts *opts,
                 pv_iter **out_iter, pv_error *err) {
    iter_request request = {collection, opts};
    PV_TRY(pv__db_enter(db, err)); /* for its memory; a call on a transaction enters once more */
    pv__mem *mem = &db->env->mem;
    pv_iter *it = pv__alloc_zero(mem, sizeof(*it));
    int rc = it ? 0 : pv__err_nomem(err, sizeof(*it));
    if (rc == 0) {
        it->hold.drop = iter_drop;
        it->hold.free = iter_release;
        pv__buf_init(&it->row, mem);
        pv__buf_init(&it->text, mem);
        rc = pv__hold_open(&it->hold, db, txn, iter_prepare, &request, err);
    }
    pv__db_leave(db);
    if (rc == 0) {
        *out_iter = it;
    }
    return rc;
}

void pv__iter_free(pv_iter *it) {
    if (it) {
        pv__hold_close(&it->hold);
    }
}

/* ---- steps ------------------------------------------------------------------------------- */

static int iter_move(pv_iter *it, bool *out_valid, pv_error *err) {
    if (it->begun) {
        return pv__cursor_next(it->cursor, out_valid, err);
    }
    if (it->from_len == 0) {
        PV_TRY(pv__cursor_first(it->cursor, out_valid, err));
    } else {
        PV_TRY(pv__cursor_seek(it->cursor, (pv__bytes){it->from, it->from_len}, out_valid, err));
        if (*out_valid) {
            pv__bytes key = pv__cursor_key(it->cursor);
            if (key.size == it->from_len && memcmp(key.data, it->from, key.size) == 0) {
                PV_TRY(pv__cursor_next(it->cursor, out_valid, err));
            }
        }
    }
    it->begun = true;
    return 0;
}

/* The key it stands on, in text (with a NUL) or as a number. */
static int iter_take_key(pv_iter *it, pv_error *err) {
    const pv__bytes key = pv__cursor_key(it->cursor);
    pv__buf_clear(&it->text);
    it->id_u64 = PV_ID_NONE;
    if (it->parts.c.key == PV_KEY_U64) {
        if (key.size != 8) {
            return pv__err(err, PV_ERR_CORRUPT, "collection '%s': a key of %zu bytes is no number",
                           it->parts.c.name, key.size);
        }
        it->id_u64 = pv__get64be(key.data);
    } else {
        pv__buf_add(&it->text, key.data, key.size);
    }
    pv__buf_add_u8(&it->text, 0);
    it->json_at = it->text.len;
    return pv__buf_check(&it->text, err);
}

/* Does the record of this slot match, and if so, take what is asked for. */
static int iter_take_record(pv_iter *it, uint32_t slot, bool *out_match, pv_error *err) {
    pv__row row = {NULL, 0, NULL, 0};
    *out_match = true;
    if (it->filter || (it->include & PV_INCLUDE_METADATA)) {
        PV_TRY(pv__row_get(&it->parts, slot, &it->row, &row, err));
    }
    if (it->filter && !pv__filter_match(it->filter, row.doc, row.doc_len)) {
        *out_match = false;
        return 0;
    }
    if (it->include & PV_INCLUDE_METADATA) {
        pv__json_write(&it->text, pv__doc_root(row.doc, row.doc_len));
        pv__buf_add_u8(&it->text, 0);
        PV_TRY(pv__buf_check(&it->text, err));
    }
    if (it->vector) {
        const uint8_t *vector = NULL;
        PV_TRY(pv__column_read(&it->parts.column, slot, &vector, err));
        memcpy(it->vector, vector, it->row_bytes);
    }
    return 0;
}

/* In a write transaction the collection may have been dropped, and even made anew, since. */
static int iter_check_collection(pv_iter *it, pv_error *err) {
    pv__collection c;
    bool found = false;
    if (!it->hold.user || !it->hold.user->write) {
        return 0;
    }
    PV_TRY(pv__catalog_find(it->hold.txn, it->parts.c.name, it->parts.c.name_len, &c, &found, err));
    if (!found || c.object_id != it->parts.c.object_id) {
        return pv__err(err, PV_ERR_NOTFOUND, "collection '%s' was dropped", it->parts.c.name);
    }
    return 0;
}

/* The next record, matching or not. */
static int iter_row(pv_iter *it, bool *out_valid, bool *out_match, pv_error *err) {
    uint32_t slot = 0;
    PV_TRY(iter_move(it, out_valid, err));
    if (!*out_valid) {
        return 0;
    }
    PV_TRY(iter_take_key(it, err));
    PV_TRY(pv__idmap_cursor_slot(&it->parts.ids, it->cursor, &slot, err));
    PV_TRY(iter_take_record(it, slot, out_match, err));
    PV_TRY(pv__txn_pause(it->hold.txn, err));
    const pv__bytes key = pv__cursor_key(it->cursor);
    PV_ASSERT(key.size <= sizeof(it->from));
    memcpy(it->from, key.data, key.size);
    it->from_len = (uint32_t)key.size;
    return 0;
}

static int iter_step(pv_iter *it, pv_error *err) {
    PV_TRY(iter_check_collection(it, err));
    for (;;) {
        bool valid = false, match = false;
        const int rc = iter_row(it, &valid, &match, err);
        if (rc != 0) {
            it->begun = false; /* whoever calls again gets the record that failed */
            return rc;
        }
        if (!valid) {
            it->at_end = true;
            return 0;
        }
        if (match) {
            it->on_row = true;
            return 1;
        }
        if (++it->seen % ITER_INTERRUPT_ROWS == 0) {
            PV_TRY(pv__db_interrupted(it->hold.db, err));
        }
    }
}

int pv__iter_step(pv_iter *it, pv_error *err) {
    it->on_row = false;
    PV_TRY(pv__hold_enter(&it->hold, "iterator", err));
    const int rc = it->at_end ? 0 : iter_step(it, err);
    pv__hold_leave(&it->hold);
    return rc;
}

pv__iter_record pv__iter_current(const pv_iter *it) {
    pv__iter_record r = {NULL, PV_ID_NONE, NULL, 0, NULL, 0};
    if (!it || !it->on_row) {
        return r;
    }
    r.id_u64 = it->id_u64;
    r.id = it->parts.c.key == PV_KEY_U64 ? NULL : (const char *)it->text.data;
    if (it->include & PV_INCLUDE_METADATA) {
        r.metadata = (const char *)it->text.data + it->json_at;
        r.metadata_len = it->text.len - it->json_at - 1;
    }
    r.vector = it->vector;
    r.dims = it->vector ? it->parts.c.field.dims : 0;
    return r;
}

#undef ITER_ALIGN
#undef ITER_INTERRUPT_ROWS
