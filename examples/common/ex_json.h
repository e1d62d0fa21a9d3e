/* SPDX-License-Identifier: Apache-2.0 */
/* ex_json.h - a strict JSON reader (RFC 8259) that hands out one token after the other.
 *
 * It allocates nothing, keeps no tree and has a depth limit; text that is not JSON, including
 * strings that are not UTF-8 and anything behind the value, is an error with its byte offset.
 * The text must stay, and must be followed by a NUL byte (which is not counted in len). */
#ifndef EX_JSON_H
#define EX_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "ex_buf.h"

#define EX_JSON_DEPTH_MAX 64

typedef enum ex_json_type {
    EX_JSON_ERROR,
    EX_JSON_END, /* the value is complete and nothing follows */
    EX_JSON_NULL,
    EX_JSON_TRUE,
    EX_JSON_FALSE,
    EX_JSON_NUMBER,
    EX_JSON_STRING,
    EX_JSON_KEY, /* of an object; its value is the next token */
    EX_JSON_OBJECT,
    EX_JSON_OBJECT_END,
    EX_JSON_ARRAY,
    EX_JSON_ARRAY_END
} ex_json_type;

typedef struct ex_json {
    const char *text;
    size_t len;
    size_t at; /* next byte to read */
    unsigned depth;
    int want; /* what may come next, see ex_json.c */
    unsigned char is_object[EX_JSON_DEPTH_MAX];
    const char *error; /* set with EX_JSON_ERROR */
    size_t error_at;
} ex_json;

typedef struct ex_json_token {
    ex_json_type type;
    size_t begin; /* offsets into the text; strings and keys with their quotes */
    size_t end;
} ex_json_token;

void ex_json_init(ex_json *j, const char *text, size_t len);
ex_json_type ex_json_next(ex_json *j, ex_json_token *out);

/* Reads to the end of the value that `token` begins; token->end becomes the end of all of it.
 * 0, or -1 when the text is wrong. */
int ex_json_skip(ex_json *j, ex_json_token *token);

/* Is this key or string equal to `name`? Escapes are understood. */
int ex_json_equals(const ex_json *j, const ex_json_token *token, const char *name);

/* Appends the decoded text of a key or string. Fails (-1) only when memory runs out. */
int ex_json_text(const ex_json *j, const ex_json_token *token, ex_buf *out);

/* The number, correctly rounded. 0, or -1 when the magnitude is too large for the type. */
int ex_json_f32(const ex_json *j, const ex_json_token *token, float *out);
int ex_json_u64(const ex_json *j, const ex_json_token *token, uint64_t *out); /* integers only */

/* Is the whole text one JSON value? */
int ex_json_valid(const char *text, size_t len);

#endif
