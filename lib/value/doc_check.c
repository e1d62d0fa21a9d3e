/* SPDX-License-Identifier: Apache-2.0 */
/* doc_check.c - the proof that bytes are a document, made once after they were read from the disk,
 * so that no reader needs to look twice (V2).
 *
 * A container is checked as a whole when it is met: count, offset table and keys. That proves the
 * extent of every child, and the children then follow one by one. A stack of the open containers
 * replaces recursion; every byte belongs to one value, so the work is linear in the length. */
#include "base/str.h"
#include "value/doc.h"

typedef struct doc_frame {
    pv__value value;
    size_t next, count;
} doc_frame;

static int doc_bad(const uint8_t *doc, const uint8_t *at, const char *what, pv_error *err) {
    size_t offset = (size_t)(at - doc);
    pv__err(err, PV_ERR_CORRUPT, "document: %s at byte %zu", what, offset);
    if (err) {
        err->offset = offset;
    }
    return PV_ERR_CORRUPT;
}

static bool doc_int_is_minimal(pv__value v) {
    size_t n = v.size - 1;
    if (n == 0) {
        return true;
    }
    if (n > 8) {
        return false;
    }
    uint8_t top = v.data[n];
    if (n == 1) {
        return top != 0; /* zero has no bytes */
    }
    uint8_t sign = (uint8_t)((v.data[n - 1] & 0x80) ? 0xFF : 0);
    return top != sign;
}

static bool doc_double_is_canonical(pv__value v) {
    if (v.size == 5) {
        uint32_t bits = pv__get32(v.data + 1);
        return (bits & 0x7F800000u) != 0x7F800000u;
    }
    if (v.size != 9) {
        return false;
    }
    uint64_t bits = pv__get64(v.data + 1);
    if ((bits & 0x7FF0000000000000u) == 0x7FF0000000000000u) {
        return false;
    }
    return !pv__doc_fits_float(pv__value_double(v));
}

static int doc_check_scalar(const uint8_t *doc, pv__value v, pv_error *err) {
    switch (v.data[0]) {
    case PV__VALUE_NULL:
    case PV__VALUE_FALSE:
    case PV__VALUE_TRUE:
        return v.size == 1 ? 0 : doc_bad(doc, v.data, "constant with a payload", err);
    case PV__VALUE_INT:
        return doc_int_is_minimal(v) ? 0 : doc_bad(doc, v.data, "malformed integer", err);
    case PV__VALUE_DOUBLE:
        return doc_double_is_canonical(v) ? 0 : doc_bad(doc, v.data, "malformed double", err);
    case PV__VALUE_STRING: {
        size_t bad_at = 0;
        if (!pv__utf8_valid((const char *)v.data + 1, v.size - 1, &bad_at)) {
            return doc_bad(doc, v.data + 1 + bad_at, "string is not UTF-8", err);
        }
        return 0;
    }
    default:
        break;
    }
    size_t offset = (size_t)(v.data - doc);
    pv__err(err, PV_ERR_FORMAT, "document: value type %u at byte %zu is not known to this version",
            (unsigned)v.data[0], offset);
    if (err) {
        err->offset = offset;
    }
    return PV_ERR_FORMAT;
}

/* The keys of an object: the offsets of doc_check_table hold, now their bytes. */
static int doc_check_keys(const uint8_t *doc, pv__value v, size_t count, pv_error *err) {
    const char *last = NULL;
    size_t last_len = 0, bad_at = 0;
    for (size_t i = 0; i < count; i++) {
        size_t len;
        const char *key = pv__value_key(v, i, &len);
        if (!pv__utf8_valid(key, len, &bad_at)) {
            return doc_bad(doc, (const uint8_t *)key + bad_at, "key is not UTF-8", err);
        }
        if (last) {
            int order = memcmp(last, key, PV_MIN(last_len, len));
            if (order > 0 || (order == 0 && last_len >= len)) {
                return doc_bad(doc, (const uint8_t *)key, "keys out of order", err);
            }
        }
        last = key;
        last_len = len;
    }
    return 0;
}

/* The count: the table fits, and takes the narrowest cells. *out_head: bytes up to its end. */
static int doc_check_count(const uint8_t *doc, pv__value v, size_t *out_count, size_t *out_head,
                           pv_error *err) {
    uint64_t w = pv__doc_width(v.size);
    if (v.size < 1 + w) {
        return doc_bad(doc, v.data, "container without a count", err);
    }
    uint64_t count = pv__doc_cell(v.data + 1, (unsigned)w);
    uint64_t cells = 1 + count * (v.data[0] == PV__VALUE_OBJECT ? 2 : 1);
    uint64_t head = 1 + w * cells;
    if (head > v.size || (count == 0 && head != v.size)) {
        return doc_bad(doc, v.data + 1, "wrong count", err);
    }
    /* Around a border two widths agree with the size each leads to: V1 takes the smaller. */
    if (w > 1 && pv__doc_width(v.size - (size_t)(cells * w / 2)) < w) {
        return doc_bad(doc, v.data + 1, "offsets wider than needed", err);
    }
    *out_count = (size_t)count;
    *out_head = (size_t)head;
    return 0;
}

/* The offset table: cells in order, nothing left out, every value at least its type byte. */
static int doc_check_table(const uint8_t *doc, pv__value v, size_t *out_count, pv_error *err) {
    bool is_object = v.data[0] == PV__VALUE_OBJECT;
    unsigned w = pv__doc_width(v.size);
    size_t count = 0, head = 0;
    PV_TRY(doc_check_count(doc, v, &count, &head, err));
    const uint8_t *cell = v.data + 1 + w;
    size_t key_at = head, value_at = head; /* where the next ones must not lie before */
    size_t values = head;
    if (is_object && count > 0) {
        values = pv__doc_cell(cell + w, w); /* keys end where values begin */
    }
    for (size_t i = 0; i < count; i++) {
        if (is_object) {
            size_t at = pv__doc_cell(cell, w);
            if ((i == 0 && at != head) || at < key_at || at > values) {
                return doc_bad(doc, cell, "wrong offset", err);
            }
            key_at = at;
            cell += w;
        }
        size_t at = pv__doc_cell(cell, w);
        if (at >= v.size || (i == 0 ? at != values : at <= value_at)) {
            return doc_bad(doc, cell, "wrong offset", err);
        }
        value_at = at;
        cell += w;
    }
    *out_count = count;
    return is_object ? doc_check_keys(doc, v, count, err) : 0;
}

int pv__doc_check(const uint8_t *doc, size_t len, pv_error *err) {
    doc_frame stack[PV__JSON_DEPTH_MAX];
    unsigned depth = 0;
    if (len == 0) {
        return 0; /* V3 */
    }
    if (len > PV__DOC_BYTES_MAX) {
        return pv__err(err, PV_ERR_CORRUPT, "document: %zu bytes, the limit is %u", len,
                       PV__DOC_BYTES_MAX);
    }
    pv__value v = {doc, len};
    for (;;) {
        if (v.data[0] == PV__VALUE_ARRAY || v.data[0] == PV__VALUE_OBJECT) {
            if (depth == PV__JSON_DEPTH_MAX) {
                return doc_bad(doc, v.data, "nested too deep", err);
            }
            stack[depth] = (doc_frame){v, 0, 0};
            PV_TRY(doc_check_table(doc, v, &stack[depth].count, err));
            depth++;
        } else {
            PV_TRY(doc_check_scalar(doc, v, err));
        }
        while (depth > 0 && stack[depth - 1].next == stack[depth - 1].count) {
            depth--;
        }
        if (depth == 0) {
            return 0;
        }
        v = pv__value_at(stack[depth - 1].value, stack[depth - 1].next++);
    }
}
