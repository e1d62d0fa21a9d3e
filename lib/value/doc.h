/* SPDX-License-Identifier: Apache-2.0 */
/* doc.h - the binary document: what a JSON value looks like in the database. Bytes are read where
 * they lie: a lookup is a binary search in an offset table, nothing is decoded and nothing is
 * allocated. The byte tables are in docs/format/document.md.
 *
 *     scalar   | type | payload |                          its length is known from outside
 *     array    | 9  | count | at[count]              | value 0 | value 1 | ...
 *     object   | 10 | count | {key at, value at} * n | key 0 key 1 ... | value 0 value 1 ...
 *
 * `count` and the offsets take w bytes each, w = 1, 2 or 4 by the length of the whole value;
 * offsets count from its type byte. Keys are sorted by memcmp, then by length, and unique.
 *
 * Invariants
 *   V1  Every value has exactly one encoding, so equal documents are equal bytes (an int64 and a
 *       double of the same value compare equal and are different documents).
 *   V2  pv__doc_check accepts exactly the encodings of V1, and what it accepts can be walked by
 *       every function here without a further check.
 *   V3  No bytes at all stand for the empty object.
 *
 * Threads: documents are plain bytes, any number of readers. A builder belongs to one thread.
 * Not here: JSON text (json.h), order (compare.h), dotted paths (path.h). */
#ifndef PV_VALUE_DOC_H
#define PV_VALUE_DOC_H

#include <float.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/limits.h"

/* The type byte. Disk format: never renumber. Their order is the order of the classes, where INT
 * and DOUBLE are one class (and FALSE and TRUE). */
enum {
    PV__VALUE_NONE = 0, /* no value: what a lookup gives for a missing field; never stored */
    PV__VALUE_NULL = 1,
    PV__VALUE_FALSE = 2,
    PV__VALUE_TRUE = 3,
    PV__VALUE_INT = 4,       /* int64 */
    PV__VALUE_DOUBLE = 5,    /* finite */
    PV__VALUE_TIMESTAMP = 6, /* reserved: refused by this version */
    PV__VALUE_STRING = 7,
    PV__VALUE_BYTES = 8, /* reserved: refused by this version */
    PV__VALUE_ARRAY = 9,
    PV__VALUE_OBJECT = 10
};

/* A view of exactly one value. data NULL: no value. */
typedef struct pv__value {
    const uint8_t *data;
    size_t size;
} pv__value;

/* ---- reading; every view must come from a checked document (V2) ----------------------------- */

/* Prove that the bytes are a document. PV_ERR_CORRUPT, or PV_ERR_FORMAT for a type that a later
 * version may know; err->offset is the byte that is wrong. */
PV_PRIVATE int pv__doc_check(const uint8_t *doc, size_t len, pv_error *err);

PV_PRIVATE pv__value pv__doc_root(const uint8_t *doc, size_t len); /* V3 */

static inline unsigned pv__value_type(pv__value v) { return v.data ? v.data[0] : PV__VALUE_NONE; }
PV_PRIVATE int64_t pv__value_int(pv__value v);                             /* of an INT */
PV_PRIVATE double pv__value_double(pv__value v);                           /* of a DOUBLE */
static inline const char *pv__value_string(pv__value v, size_t *out_len) { /* of a STRING */
    *out_len = v.size - 1;
    return (const char *)v.data + 1;
}
/* Elements of an ARRAY or fields of an OBJECT; 0 for all else. */
PV_PRIVATE size_t pv__value_count(pv__value v);
/* Element or field number i, fields in the order of their keys; beyond the end: no value. */
PV_PRIVATE pv__value pv__value_at(pv__value v, size_t i);
PV_PRIVATE const char *pv__value_key(pv__value v, size_t i, size_t *out_len); /* i < count */
/* The field with this key; no value when there is none or v is not an OBJECT. */
PV_PRIVATE pv__value pv__value_get(pv__value v, const char *key, size_t key_len);

/* ---- building ------------------------------------------------------------------------------- */

typedef struct pv__docb_item {
    uint32_t key_at, key_len; /* in `keys` */
    uint32_t value_at;        /* in `out`, from `base` */
    uint32_t source;          /* byte of the key in the JSON text, for messages */
} pv__docb_item;

typedef struct pv__docb_level {
    uint32_t item_first; /* its items are those from here to the top */
    uint32_t value_at, key_at;
    bool is_object;
    bool key_given; /* a key waits for its value */
    bool sorted;    /* keys have come in strictly ascending order so far */
} pv__docb_level;

/* Appends one document to `out`. The first mistake is kept, later calls do nothing, and finish
 * returns it:
 *     pv__docb_init(&b, &buf, "stats", err);
 *     pv__docb_object(&b);  pv__docb_key(&b, "n", 1);  pv__docb_int(&b, 5);  pv__docb_end(&b);
 *     rc = pv__docb_finish(&b);
 * Keys may come in any order. A number that is not finite, a text that is not UTF-8 and a key
 * given twice are PV_ERR_FORMAT; depth and size beyond the limits are PV_ERR_LIMIT. */
typedef struct pv__docb {
    pv__buf *out;
    pv_error *err;    /* may be NULL; must live until finish */
    const char *what; /* first word of messages */
    int rc;
    bool root_given;
    bool out_failed; /* `out` had failed before init */
    bool from_text;  /* set by json_read.c: strings are checked already, sources are set */
    bool keep;       /* finish leaves the memory to the next document */
    uint32_t source; /* position of the next key when from_text */
    size_t base;     /* out->len at the beginning */
    pv__buf keys;    /* of the open objects */
    pv__buf scratch; /* values of the object that is being sorted */
    pv__docb_item *items;
    uint32_t *order;
    size_t item_count, item_cap, order_cap;
    unsigned depth;
    pv__docb_level levels[PV__JSON_DEPTH_MAX];
} pv__docb;

PV_PRIVATE void pv__docb_init(pv__docb *b, pv__buf *out, const char *what, pv_error *err);
PV_PRIVATE void pv__docb_null(pv__docb *b);
PV_PRIVATE void pv__docb_bool(pv__docb *b, bool v);
PV_PRIVATE void pv__docb_int(pv__docb *b, int64_t v);
PV_PRIVATE void pv__docb_double(pv__docb *b, double v);
PV_PRIVATE void pv__docb_string(pv__docb *b, const char *s, size_t len);
PV_PRIVATE void pv__docb_array(pv__docb *b);
PV_PRIVATE void pv__docb_object(pv__docb *b);
PV_PRIVATE void pv__docb_key(pv__docb *b, const char *key, size_t len);
PV_PRIVATE void pv__docb_end(pv__docb *b); /* of the innermost array or object */
/* Releases the builder in every case (see again). On failure `out` is as it was before init. */
PV_PRIVATE int pv__docb_finish(pv__docb *b);
/* Instead of init, for many documents: after init and finish or another again. Memory stays with
 * the builder until release. */
PV_PRIVATE void pv__docb_again(pv__docb *b, pv__buf *out, const char *what, pv_error *err);
PV_PRIVATE void pv__docb_release(pv__docb *b);

/* Used by doc*.c and json_flat.c: bytes of one count or offset in an array or object of `size`
 * bytes. */
static inline unsigned pv__doc_width(size_t size) {
    return size <= 0xFFu ? 1u : size <= 0xFFFFu ? 2u : 4u;
}
static inline uint32_t pv__doc_cell(const uint8_t *p, unsigned width) {
    return width == 1 ? *p : width == 2 ? pv__get16(p) : pv__get32(p);
}
static inline void pv__doc_put_cell(uint8_t *p, unsigned width, size_t v) {
    if (width == 1) {
        *p = (uint8_t)v;
    } else if (width == 2) {
        pv__put16(p, (uint16_t)v);
    } else {
        pv__put32(p, (uint32_t)v);
    }
}
/* The smallest width whose cells can count the bytes of the container that uses it. */
static inline unsigned pv__doc_cell_width(size_t cells, size_t rest) {
    for (unsigned w = 1; w < 4; w *= 2) {
        if (pv__doc_width(1 + w * cells + rest) <= w) {
            return w;
        }
    }
    return 4;
}
/* Finite doubles that a float holds exactly are stored as one. */
static inline bool pv__doc_fits_float(double v) {
    return v >= -(double)FLT_MAX && v <= (double)FLT_MAX && (double)(float)v == v;
}

#endif
