/* SPDX-License-Identifier: Apache-2.0 */
/* doc.c - reading binary documents where they lie. Everything here relies on pv__doc_check having
 * accepted the bytes (V2) and therefore checks nothing but the caller's index. */
#include "value/doc.h"

/* Offsets within an array or object of `size` bytes with w-byte cells:
 *     array    0 type   1 count   1+w  at[0] ..       1+w+w*n    values
 *     object   0 type   1 count   1+w  key at[0], value at[0] .. 1+w+2*w*n  keys, then values */

static const uint8_t DOC_EMPTY_OBJECT[2] = {PV__VALUE_OBJECT, 0};

pv__value pv__doc_root(const uint8_t *doc, size_t len) {
    if (len == 0) { /* V3 */
        return (pv__value){DOC_EMPTY_OBJECT, sizeof DOC_EMPTY_OBJECT};
    }
    return (pv__value){doc, len};
}

int64_t pv__value_int(pv__value v) {
    uint64_t bits = 0;
    size_t n = v.size - 1;
    PV_DEBUG_ASSERT(pv__value_type(v) == PV__VALUE_INT && n <= 8);
    for (size_t i = 0; i < n; i++) {
        bits |= (uint64_t)v.data[1 + i] << (8 * i);
    }
    if (n > 0 && n < 8 && (v.data[n] & 0x80)) {
        bits |= UINT64_MAX << (8 * n); /* the sign */
    }
    return (int64_t)bits;
}

double pv__value_double(pv__value v) {
    PV_DEBUG_ASSERT(pv__value_type(v) == PV__VALUE_DOUBLE);
    if (v.size == 5) {
        float f;
        memcpy(&f, v.data + 1, 4);
        return (double)f;
    }
    double d;
    memcpy(&d, v.data + 1, 8);
    return d;
}

size_t pv__value_count(pv__value v) {
    unsigned type = pv__value_type(v);
    if (type != PV__VALUE_ARRAY && type != PV__VALUE_OBJECT) {
        return 0;
    }
    return pv__doc_cell(v.data + 1, pv__doc_width(v.size));
}

/* The value between two offsets; the last one ends with its container. */
static pv__value doc_slice(pv__value v, const uint8_t *cell, size_t stride, unsigned w, bool last) {
    size_t from = pv__doc_cell(cell, w);
    size_t to = last ? v.size : pv__doc_cell(cell + stride, w);
    return (pv__value){v.data + from, to - from};
}

pv__value pv__value_at(pv__value v, size_t i) {
    size_t count = pv__value_count(v);
    if (i >= count) {
        return (pv__value){NULL, 0};
    }
    unsigned w = pv__doc_width(v.size);
    if (v.data[0] == PV__VALUE_ARRAY) {
        return doc_slice(v, v.data + 1 + w + w * i, w, w, i + 1 == count);
    }
    return doc_slice(v, v.data + 1 + 2u * w + 2u * w * i, 2u * w, w, i + 1 == count);
}

const char *pv__value_key(pv__value v, size_t i, size_t *out_len) {
    size_t count = pv__value_count(v);
    PV_DEBUG_ASSERT(pv__value_type(v) == PV__VALUE_OBJECT && i < count);
    unsigned w = pv__doc_width(v.size);
    const uint8_t *entry = v.data + 1 + w + 2u * w * i;
    size_t from = pv__doc_cell(entry, w);
    /* The keys lie together and the first value begins where the last key ends. */
    size_t to =
        i + 1 < count ? pv__doc_cell(entry + 2u * w, w) : pv__doc_cell(v.data + 1 + 2u * w, w);
    *out_len = to - from;
    return (const char *)v.data + from;
}

pv__value pv__value_get(pv__value v, const char *key, size_t key_len) {
    if (pv__value_type(v) != PV__VALUE_OBJECT) {
        return (pv__value){NULL, 0};
    }
    size_t low = 0, high = pv__value_count(v);
    while (low < high) {
        size_t mid = low + (high - low) / 2, len;
        const char *at = pv__value_key(v, mid, &len);
        int order = memcmp(key, at, PV_MIN(key_len, len));
        if (order == 0 && key_len == len) {
            return pv__value_at(v, mid);
        }
        if (order < 0 || (order == 0 && key_len < len)) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return (pv__value){NULL, 0};
}
