/* SPDX-License-Identifier: Apache-2.0 */
/* row.c - rows of the docs tree: what a slot's record is besides its vector. They come from disk:
 * everything is checked before anybody sees it. */
#include "base/bytes.h"
#include "base/str.h"
#include "engine/parts.h"
#include "value/doc.h"

#define ROW_LAYOUT 1u

size_t pv__row_head(pv__buf *out, pv__bytes key) {
    const size_t from = out->len;
    pv__buf_add_u8(out, ROW_LAYOUT);
    pv__buf_add_varint(out, key.size);
    pv__buf_add(out, key.data, key.size);
    return out->len - from;
}

int pv__row_put(pv__parts *p, pv__finger *near, pv__row_run *run, pv_error *err) {
    uint8_t slot_keys[PV__ROW_RUN][4];
    pv__bytes keys[PV__ROW_RUN];
    const size_t count = run->count;
    size_t replaced = 0;
    for (size_t i = 0; i < count; i++) {
        keys[i] = pv__row_slot_key(slot_keys[i], run->slots[i]);
    }
    run->count = run->bytes = 0;
    return pv__tree_put_run(&p->docs, near, keys, run->rows, count, &replaced, err);
}

static int row_damaged(const pv__parts *p, uint32_t slot, const char *what, pv_error *err) {
    return pv__err(err, PV_ERR_CORRUPT, "collection '%s', record in slot %u: %s", p->c.name,
                   (unsigned)slot, what);
}

static int row_decode_key(const pv__parts *p, uint32_t slot, pv__bytes value, pv__row *out,
                          pv_error *err) {
    pv__reader r = pv__reader_of(value.data, value.size);
    uint8_t layout = pv__reader_u8(&r);
    uint64_t key_len = pv__reader_varint(&r);
    if (r.bad || layout != ROW_LAYOUT || key_len == 0 || key_len > PV__KEY_BYTES_MAX ||
        (p->c.key == PV_KEY_U64 && key_len != 8)) {
        return row_damaged(p, slot, "its key is damaged", err);
    }
    out->key = pv__reader_take(&r, (size_t)key_len);
    out->key_len = (size_t)key_len;
    out->doc_len = pv__reader_left(&r);
    out->doc = pv__reader_take(&r, out->doc_len);
    return r.bad ? row_damaged(p, slot, "its key is cut short", err) : 0;
}

static int row_decode(const pv__parts *p, uint32_t slot, pv__bytes value, pv__row *out,
                      pv_error *err) {
    pv_error doc_err = PV_ERROR_INIT;
    PV_TRY(row_decode_key(p, slot, value, out, err));
    int rc = pv__doc_check(out->doc, out->doc_len, &doc_err);
    if (rc == 0 && pv__value_type(pv__doc_root(out->doc, out->doc_len)) != PV__VALUE_OBJECT) {
        return row_damaged(p, slot, "its metadata is no object", err);
    }
    return rc == 0 ? 0 : row_damaged(p, slot, doc_err.message, err);
}

int pv__row_get(pv__parts *p, uint32_t slot, pv__buf *buf, pv__row *out, pv_error *err) {
    uint8_t slot_key[4];
    bool found = false;
    pv__buf_clear(buf);
    PV_TRY(pv__tree_get(&p->docs, pv__row_slot_key(slot_key, slot), buf, &found, err));
    if (!found) {
        return row_damaged(p, slot, "it has no document", err);
    }
    return row_decode(p, slot, (pv__bytes){buf->data, buf->len}, out, err);
}

/* Values of long rows, one behind the other in `buf`. */
static int rows_long(pv__parts *p, const pv__bytes *keys, size_t n, pv__tree_seen *seen,
                     pv__buf *buf, pv_error *err) {
    bool found = false;
    pv__buf_clear(buf);
    for (size_t i = 0; i < n; i++) {
        const size_t at = buf->len;
        if (seen[i].found && seen[i].is_long) {
            PV_TRY(pv__tree_get(&p->docs, keys[i], buf, &found, err));
            seen[i].value.size = buf->len - at;
        }
    }
    size_t at = 0;
    for (size_t i = 0; i < n; i++) { /* now that the buffer does not move any more */
        if (seen[i].found && seen[i].is_long) {
            seen[i].value.data = buf->data + at;
            at += seen[i].value.size;
        }
    }
    return 0;
}

int pv__rows_get(pv__parts *p, const uint32_t *slots, size_t n, bool with_docs, pv__buf *buf,
                 pv__row *out, pv_error *err) {
    uint8_t slot_keys[PV__TREE_MANY][4];
    pv__bytes keys[PV__TREE_MANY] = {{NULL, 0}};
    pv__tree_seen seen[PV__TREE_MANY];
    for (size_t i = 0; i < n; i++) {
        keys[i] = pv__row_slot_key(slot_keys[i], slots[i]);
    }
    PV_TRY(pv__tree_get_many(&p->docs, keys, n, seen, err));
    PV_TRY(rows_long(p, keys, n, seen, buf, err));
    for (size_t i = 0; i < n; i++) {
        if (!seen[i].found) {
            return row_damaged(p, slots[i], "it has no document", err);
        }
        PV_TRY(with_docs ? row_decode(p, slots[i], seen[i].value, &out[i], err)
                         : row_decode_key(p, slots[i], seen[i].value, &out[i], err));
    }
    return 0;
}

int pv__row_at(pv__parts *p, pv__cursor *cursor, pv__buf *buf, uint32_t *out_slot, pv__row *out,
               pv_error *err) {
    pv__bytes key = pv__cursor_key(cursor);
    if (key.size != 4) {
        return pv__err(err, PV_ERR_CORRUPT,
                       "collection '%s': a key of %zu bytes among its documents", p->c.name,
                       key.size);
    }
    *out_slot = pv__get32be(key.data);
    pv__buf_clear(buf);
    PV_TRY(pv__cursor_value(cursor, buf, err));
    return row_decode(p, *out_slot, (pv__bytes){buf->data, buf->len}, out, err);
}

int pv__row_del(pv__parts *p, uint32_t slot, pv_error *err) {
    uint8_t slot_key[4];
    bool found = false;
    PV_TRY(pv__tree_del(&p->docs, pv__row_slot_key(slot_key, slot), &found, err));
    return found ? 0 : row_damaged(p, slot, "it has no document", err);
}

const char *pv__key_show(const pv__parts *p, pv__bytes key, char out[PV__KEY_SHOWN]) {
    size_t at = 0;
    if (p->c.key == PV_KEY_U64 && key.size == 8) {
        uint64_t n = pv__get64be(key.data);
        char digits[24];
        size_t count = 0;
        do {
            digits[count++] = (char)('0' + (int)(n % 10));
            n /= 10;
        } while (n != 0);
        while (count > 0) {
            out[at++] = digits[--count];
        }
        out[at] = 0;
        return out;
    }
    const size_t room = PV__KEY_SHOWN - 6; /* two quotes, dots and the NUL */
    size_t len = PV_MIN(key.size, room);
    out[at++] = '\'';
    memcpy(out + at, key.data, len); /* a sequence that is cut shows as '?' */
    at += len;
    if (len < key.size) {
        memcpy(out + at, "...", 3);
        at += 3;
    }
    out[at++] = '\'';
    out[at] = 0;
    return out;
}

#undef ROW_LAYOUT
