/* SPDX-License-Identifier: Apache-2.0 */
/* doc_build.c - the builder of binary documents. Values are appended to the output as they come;
 * when an array or object ends, its head is slipped in front of its children:
 *
 *     out    ... | child 0 | child 1 | child 2 |          items: where each child begins, its key
 *     end    ... | type count table keys | child 0 | child 1 | child 2 |
 *
 * Offsets are relative to their container, so children never change when they move. Every byte
 * moves once per level it lies in: at most PV__JSON_DEPTH_MAX times, in practice two or three. */
#include <math.h>

#include "base/str.h"
#include "value/doc.h"
#include "value/sort.h"

void pv__docb_again(pv__docb *b, pv__buf *out, const char *what, pv_error *err) {
    b->out = out;
    b->err = err;
    b->what = what;
    b->rc = pv__buf_check(out, err);
    b->out_failed = out->failed;
    b->root_given = false;
    b->from_text = false;
    b->keep = true;
    b->source = 0;
    b->base = out->len;
    pv__buf_clear(&b->keys);
    pv__buf_clear(&b->scratch);
    b->item_count = 0;
    b->depth = 0;
}

void pv__docb_init(pv__docb *b, pv__buf *out, const char *what, pv_error *err) {
    pv__buf_init(&b->keys, out->mem);
    pv__buf_init(&b->scratch, out->mem);
    b->items = NULL;
    b->order = NULL;
    b->item_cap = b->order_cap = 0;
    pv__docb_again(b, out, what, err);
    b->keep = false;
}

void pv__docb_release(pv__docb *b) {
    pv__mem *mem = b->keys.mem;
    pv__buf_done(&b->keys);
    pv__buf_done(&b->scratch);
    pv__alloc_free(mem, b->items, b->item_cap * sizeof *b->items);
    pv__alloc_free(mem, b->order, b->order_cap * sizeof *b->order);
    b->items = NULL;
    b->order = NULL;
    b->item_cap = b->order_cap = 0;
}

/* The first mistake is the one that is told. */
static void docb_fail(pv__docb *b, int code, const char *what) {
    if (!b->rc) {
        b->rc = pv__err(b->err, code, "%s: %s", b->what, what);
    }
}

static void docb_nomem(pv__docb *b) {
    if (!b->rc) {
        b->rc = pv__err_nomem(b->err, b->out->len - b->base);
    }
}

static bool docb_fits(pv__docb *b, size_t more) {
    if (more > PV__DOC_BYTES_MAX || b->out->len - b->base + more > PV__DOC_BYTES_MAX) {
        if (!b->rc) {
            b->rc = pv__err(b->err, PV_ERR_LIMIT, "%s: the binary document is larger than %u bytes",
                            b->what, PV__DOC_BYTES_MAX);
        }
        return false;
    }
    return true;
}

/* A new item on the stack, for an element or a key; NULL after a failure. */
static pv__docb_item *docb_push(pv__docb *b) {
    if (b->item_count == b->item_cap) {
        void *array = b->items;
        int rc = pv__alloc_grow(b->out->mem, &array, &b->item_cap, b->item_count + 1,
                                sizeof *b->items, b->err);
        if (rc) {
            b->rc = rc;
            return NULL;
        }
        b->items = (pv__docb_item *)array;
    }
    pv__docb_item *item = &b->items[b->item_count++];
    memset(item, 0, sizeof *item);
    item->source = b->source;
    return item;
}

/* A value begins here. false: something is wrong, write nothing. */
static bool docb_begin(pv__docb *b) {
    if (b->rc) {
        return false;
    }
    uint32_t value_at = (uint32_t)(b->out->len - b->base);
    if (b->depth == 0) {
        if (b->root_given) {
            docb_fail(b, PV_ERR_MISUSE, "a second value beside the first");
            return false;
        }
        b->root_given = true;
        return true;
    }
    pv__docb_level *level = &b->levels[b->depth - 1];
    if (level->is_object) {
        if (!level->key_given) {
            docb_fail(b, PV_ERR_MISUSE, "a value without a key");
            return false;
        }
        level->key_given = false;
        b->items[b->item_count - 1].value_at = value_at;
        return true;
    }
    pv__docb_item *item = docb_push(b);
    if (!item) {
        return false;
    }
    item->value_at = value_at;
    return true;
}

/* A scalar: its type byte and `n` bytes of payload. */
static void docb_scalar(pv__docb *b, unsigned type, const void *payload, size_t n) {
    if (!docb_begin(b) || !docb_fits(b, n + 1)) {
        return;
    }
    uint8_t *to = pv__buf_extend(b->out, n + 1);
    if (!to) {
        docb_nomem(b);
        return;
    }
    to[0] = (uint8_t)type;
    if (n > 0) {
        memcpy(to + 1, payload, n);
    }
}

void pv__docb_null(pv__docb *b) { docb_scalar(b, PV__VALUE_NULL, NULL, 0); }

void pv__docb_bool(pv__docb *b, bool v) {
    docb_scalar(b, v ? PV__VALUE_TRUE : PV__VALUE_FALSE, NULL, 0);
}

void pv__docb_int(pv__docb *b, int64_t v) {
    uint8_t bytes[8];
    pv__put64(bytes, (uint64_t)v);
    size_t n = 8;
    /* A top byte that only repeats the sign of the byte below is left out. */
    while (n > 1 && bytes[n - 1] == ((bytes[n - 2] & 0x80) ? 0xFF : 0)) {
        n--;
    }
    docb_scalar(b, PV__VALUE_INT, bytes, v == 0 ? 0 : n);
}

void pv__docb_double(pv__docb *b, double v) {
    if (!isfinite(v)) {
        docb_fail(b, PV_ERR_FORMAT, "a number that is not finite");
        return;
    }
    if (pv__doc_fits_float(v)) {
        float f = (float)v;
        docb_scalar(b, PV__VALUE_DOUBLE, &f, 4);
    } else {
        docb_scalar(b, PV__VALUE_DOUBLE, &v, 8);
    }
}

void pv__docb_string(pv__docb *b, const char *s, size_t len) {
    size_t bad_at;
    if (!b->from_text && !pv__utf8_valid(s, len, &bad_at)) {
        docb_fail(b, PV_ERR_FORMAT, "a string that is not UTF-8");
        return;
    }
    docb_scalar(b, PV__VALUE_STRING, s, len);
}

static void docb_open(pv__docb *b, bool is_object) {
    if (!docb_begin(b)) {
        return;
    }
    if (b->depth == PV__JSON_DEPTH_MAX) {
        b->rc = pv__err(b->err, PV_ERR_LIMIT, "%s: nested deeper than %u levels", b->what,
                        PV__JSON_DEPTH_MAX);
        return;
    }
    pv__docb_level *level = &b->levels[b->depth++];
    level->item_first = (uint32_t)b->item_count;
    level->value_at = (uint32_t)(b->out->len - b->base);
    level->key_at = (uint32_t)b->keys.len;
    level->is_object = is_object;
    level->key_given = false;
    level->sorted = true;
}

void pv__docb_array(pv__docb *b) { docb_open(b, false); }
void pv__docb_object(pv__docb *b) { docb_open(b, true); }

/* -1, 0, 1 by memcmp, then by length. */
static int docb_key_order(const pv__docb *b, const pv__docb_item *x, const pv__docb_item *y) {
    int order = 0;
    if (x->key_len > 0 && y->key_len > 0) {
        order = memcmp(b->keys.data + x->key_at, b->keys.data + y->key_at,
                       PV_MIN(x->key_len, y->key_len));
    }
    if (order == 0) {
        return (x->key_len > y->key_len) - (x->key_len < y->key_len);
    }
    return order < 0 ? -1 : 1;
}

void pv__docb_key(pv__docb *b, const char *key, size_t len) {
    size_t bad_at;
    if (b->rc) {
        return;
    }
    pv__docb_level *level = b->depth > 0 ? &b->levels[b->depth - 1] : NULL;
    if (!level || !level->is_object || level->key_given) {
        docb_fail(b, PV_ERR_MISUSE, "a key where a value is wanted");
        return;
    }
    if (!b->from_text && !pv__utf8_valid(key, len, &bad_at)) {
        docb_fail(b, PV_ERR_FORMAT, "a key that is not UTF-8");
        return;
    }
    if (len > PV__DOC_BYTES_MAX || !docb_fits(b, b->keys.len + len)) {
        return;
    }
    pv__docb_item *item = docb_push(b);
    if (!item) {
        return;
    }
    item->key_at = (uint32_t)b->keys.len;
    item->key_len = (uint32_t)len;
    pv__buf_add(&b->keys, key, len);
    if (b->keys.failed) {
        docb_nomem(b);
        return;
    }
    level->key_given = true;
    if (level->sorted && b->item_count - 1 > level->item_first) {
        level->sorted = docb_key_order(b, item - 1, item) < 0;
    }
}

/* ---- the end of a container ----------------------------------------------------------------- */

typedef struct docb_sorting {
    const pv__docb *b;
    const pv__docb_item *items; /* of this object */
} docb_sorting;

static bool docb_less(const void *ctx, uint32_t x, uint32_t y) {
    const docb_sorting *s = (const docb_sorting *)ctx;
    int order = docb_key_order(s->b, &s->items[x], &s->items[y]);
    return order < 0 || (order == 0 && x < y);
}

static void docb_duplicate(pv__docb *b, const pv__docb_item *item) {
    const char *key = item->key_len > 0 ? (const char *)b->keys.data + item->key_at : "";
    int shown = (int)PV_MIN(item->key_len, 64u);
    if (!b->from_text) {
        b->rc =
            pv__err(b->err, PV_ERR_FORMAT, "%s: key '%.*s' is given twice", b->what, shown, key);
        return;
    }
    b->rc = pv__err(b->err, PV_ERR_FORMAT, "%s: duplicate key '%.*s' at byte %u", b->what, shown,
                    key, item->source);
    if (b->err) {
        b->err->offset = item->source;
    }
}

/* b->order: the items of this object by key. false: out of memory, or a key is there twice. */
static bool docb_sort(pv__docb *b, const pv__docb_item *items, size_t count) {
    void *array = b->order;
    int rc = pv__alloc_grow(b->out->mem, &array, &b->order_cap, count, sizeof *b->order, b->err);
    if (rc) {
        b->rc = rc;
        return false;
    }
    b->order = (uint32_t *)array;
    for (size_t i = 0; i < count; i++) {
        b->order[i] = (uint32_t)i;
    }
    docb_sorting sorting = {b, items};
    pv__sort_u32(b->order, count, docb_less, &sorting);
    const pv__docb_item *twice = NULL;
    for (size_t i = 1; i < count; i++) {
        const pv__docb_item *item = &items[b->order[i]];
        if (docb_key_order(b, &items[b->order[i - 1]], item) == 0 && (!twice || item < twice)) {
            twice = item; /* the first repetition in the text is the one to name */
        }
    }
    if (twice) {
        docb_duplicate(b, twice);
        return false;
    }
    return true;
}

/* The items of this level; NULL when there has never been any. */
static const pv__docb_item *docb_items(const pv__docb *b, const pv__docb_level *level) {
    return b->items ? b->items + level->item_first : NULL;
}

/* Make room for `head` bytes in front of the children of this level; NULL after a failure. */
static uint8_t *docb_make_room(pv__docb *b, const pv__docb_level *level, size_t head) {
    if (!docb_fits(b, head)) {
        return NULL;
    }
    size_t values = b->out->len - b->base - level->value_at;
    if (!pv__buf_extend(b->out, head)) {
        docb_nomem(b);
        return NULL;
    }
    uint8_t *start = b->out->data + b->base + level->value_at;
    memmove(start + head, start, values);
    return start;
}

static void docb_end_array(pv__docb *b, const pv__docb_level *level) {
    const pv__docb_item *items = docb_items(b, level);
    size_t count = b->item_count - level->item_first;
    size_t values = b->out->len - b->base - level->value_at;
    unsigned w = pv__doc_cell_width(1 + count, values);
    size_t head = 1 + w * (1 + count);
    uint8_t *p = docb_make_room(b, level, head);
    if (!p) {
        return;
    }
    p[0] = PV__VALUE_ARRAY;
    pv__doc_put_cell(p + 1, w, count);
    p += 1 + w;
    for (size_t i = 0; i < count; i++, p += w) {
        pv__doc_put_cell(p, w, head + (items[i].value_at - level->value_at));
    }
}

/* Table, keys and, when they did not come in order, values from the scratch copy. */
static void docb_fill_object(pv__docb *b, const pv__docb_level *level, uint8_t *start, unsigned w,
                             size_t table, size_t head) {
    const pv__docb_item *items = docb_items(b, level);
    size_t count = b->item_count - level->item_first;
    size_t values = b->out->len - b->base - level->value_at - head;
    size_t key_to = table, value_to = head;
    uint8_t *p = start;
    p[0] = PV__VALUE_OBJECT;
    pv__doc_put_cell(p + 1, w, count);
    p += 1 + w;
    for (size_t i = 0; i < count; i++, p += 2 * w) {
        size_t at = level->sorted ? i : b->order[i];
        const pv__docb_item *item = &items[at];
        size_t from = item->value_at - level->value_at;
        size_t to = at + 1 < count ? item[1].value_at - level->value_at : values;
        pv__doc_put_cell(p, w, key_to);
        pv__doc_put_cell(p + w, w, value_to);
        if (item->key_len > 0) {
            memcpy(start + key_to, b->keys.data + item->key_at, item->key_len);
        }
        if (!level->sorted) {
            memcpy(start + value_to, b->scratch.data + from, to - from);
        }
        key_to += item->key_len;
        value_to += to - from;
    }
}

static void docb_end_object(pv__docb *b, const pv__docb_level *level) {
    size_t count = b->item_count - level->item_first;
    size_t values = b->out->len - b->base - level->value_at;
    size_t keys = b->keys.len - level->key_at;
    if (!level->sorted) {
        if (!docb_sort(b, docb_items(b, level), count)) {
            return;
        }
        pv__buf_clear(&b->scratch);
        pv__buf_add(&b->scratch, b->out->data + b->base + level->value_at, values);
        if (b->scratch.failed) {
            docb_nomem(b);
            return;
        }
    }
    unsigned w = pv__doc_cell_width(1 + 2 * count, keys + values);
    size_t table = 1 + w * (1 + 2 * count);
    uint8_t *start = docb_make_room(b, level, table + keys);
    if (start) {
        docb_fill_object(b, level, start, w, table, table + keys);
    }
}

void pv__docb_end(pv__docb *b) {
    if (b->rc) {
        return;
    }
    if (b->depth == 0 || b->levels[b->depth - 1].key_given) {
        docb_fail(b, PV_ERR_MISUSE, "an end without a beginning, or after a key");
        return;
    }
    const pv__docb_level *level = &b->levels[b->depth - 1];
    if (level->is_object) {
        docb_end_object(b, level);
    } else {
        docb_end_array(b, level);
    }
    b->item_count = level->item_first;
    b->keys.len = level->key_at;
    b->depth--;
}

int pv__docb_finish(pv__docb *b) {
    if (!b->rc && (b->depth > 0 || !b->root_given)) {
        docb_fail(b, PV_ERR_MISUSE, "the document is not complete");
    }
    if (!b->keep) {
        pv__docb_release(b);
    }
    if (b->rc) {
        b->out->len = b->base;
        b->out->failed = b->out_failed; /* what was there before is as it was */
    }
    return b->rc;
}
