/* SPDX-License-Identifier: Apache-2.0 */
/* json.h - JSON text (RFC 8259, strict) to binary documents and back.
 *
 *     text --pv__json_next--> events --pv__json_read--> document --pv__json_write--> text
 *
 * Strict: UTF-8 without a byte order mark, no comments, no trailing commas, no bytes after the
 * value, no lone surrogates, no duplicate keys. U+0000 is allowed in strings and keys (as \u0000),
 * they carry their length. An integer literal that fits int64 is an INT ("-0" is the INT 0), every
 * other number the nearest DOUBLE; one beyond the range of a double is refused, one too small for
 * it is 0. Depth is at most PV__JSON_DEPTH_MAX; nothing here recurses.
 *
 * Errors: PV_ERR_FORMAT, or PV_ERR_LIMIT for depth and size; the message begins with `what` and
 * err->offset is the byte in the text: `metadata: expected ':' at byte 17`.
 * Threads: a reader belongs to one thread; the functions may be called from any. */
#ifndef PV_VALUE_JSON_H
#define PV_VALUE_JSON_H

#include "value/doc.h"

typedef struct pv__json_opts {
    const char *what; /* first word of messages: "metadata", "filter" */
    size_t bytes_max; /* longer texts are PV_ERR_LIMIT; at most PV__DOC_BYTES_MAX counts */
    bool want_object; /* the outermost value must be an object */
} pv__json_opts;

/* Append the document of one JSON text to `out`, which is unchanged on failure. */
PV_PRIVATE int pv__json_read(const pv__json_opts *opts, const char *text, size_t len, pv__buf *out,
                             pv_error *err);

/* Append the JSON text of a checked value to `out`: no spaces, keys sorted, shortest numbers that
 * read back to the same value and type (a DOUBLE always has a '.' or an exponent), only the
 * escapes that must be. Equal documents give equal texts. No value writes null. Running out of
 * memory shows in pv__buf_check. */
PV_PRIVATE void pv__json_write(pv__buf *out, pv__value v);

/* ---- the reader below pv__json_read, for texts that need not become a document --------------- */

enum {
    PV__JSON_END, /* the text is complete; nothing follows */
    PV__JSON_NULL,
    PV__JSON_FALSE,
    PV__JSON_TRUE,
    PV__JSON_INT,
    PV__JSON_DOUBLE,
    PV__JSON_STRING,
    PV__JSON_KEY, /* its value is the next event */
    PV__JSON_ARRAY,
    PV__JSON_ARRAY_END,
    PV__JSON_OBJECT,
    PV__JSON_OBJECT_END
};

typedef struct pv__json {
    unsigned event;  /* PV__JSON_* */
    size_t at;       /* byte at which the event's text begins */
    const char *str; /* STRING and KEY, unescaped, valid until the next call; no NUL */
    size_t str_len;
    int64_t number_int;   /* INT */
    double number_double; /* INT too, rounded, and DOUBLE */
    /* private */
    const char *what, *text;
    size_t len, pos;
    unsigned state, depth;
    uint64_t objects; /* bit d: the container at depth d is an object */
    pv__buf scratch;  /* a string that had escapes */
} pv__json;

PV_STATIC_ASSERT(PV__JSON_DEPTH_MAX <= 64, pv_json_depth_fits_the_bits);

PV_PRIVATE void pv__json_init(pv__json *j, pv__mem *mem, const char *what, const char *text,
                              size_t len);
/* The next event. Keys are not compared with each other here. After an error: only done. */
PV_PRIVATE int pv__json_next(pv__json *j, pv_error *err);
PV_PRIVATE void pv__json_done(pv__json *j);

/* ---- many texts, one after the other: memory is kept between them ---------------------------- */

typedef struct pv__json_reader {
    pv__json json;
    pv__docb docb;
} pv__json_reader;

PV_PRIVATE void pv__json_reader_init(pv__json_reader *r, pv__mem *mem);
/* As pv__json_read; `out` is of the same pv__mem. */
PV_PRIVATE int pv__json_reader_read(pv__json_reader *r, const pv__json_opts *opts, const char *text,
                                    size_t len, pv__buf *out, pv_error *err);
PV_PRIVATE void pv__json_reader_done(pv__json_reader *r);

/* json_flat.c: the same at once for a text that is an object of plain members. False: it is not,
 * and nothing was appended. */
PV_PRIVATE bool pv__json_flat(const char *text, size_t len, pv__buf *out);

#endif
