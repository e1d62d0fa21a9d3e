/* SPDX-License-Identifier: Apache-2.0 */
/* ex_buf.h - growing bytes for the example programs, and the printing of JSON into them.
 *
 * An ex_buf starts zeroed ({0}), is always NUL-terminated once it holds something, and remembers
 * that memory ran out: `failed` stays set and further calls do nothing, so that a long series of
 * appends needs one check at its end. */
#ifndef EX_BUF_H
#define EX_BUF_H

#include <stddef.h>
#include <stdint.h>

typedef struct ex_buf {
    char *data;
    size_t len;
    size_t cap;
    int failed; /* memory ran out; sticky until ex_buf_done */
} ex_buf;

void ex_buf_done(ex_buf *b);  /* frees; the buffer may be used again */
void ex_buf_clear(ex_buf *b); /* keeps the memory */

/* Room for `more` bytes behind len (and a NUL). 0, or -1 when memory ran out. */
int ex_buf_reserve(ex_buf *b, size_t more);

void ex_buf_add(ex_buf *b, const void *bytes, size_t len);
void ex_buf_puts(ex_buf *b, const char *text);
void ex_buf_putc(ex_buf *b, char c);
void ex_buf_u64(ex_buf *b, uint64_t value);

/* The text as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
void ex_buf_json(ex_buf *b, const char *text, size_t len);

/* The shortest decimal that strtof() reads back as the same float; null for NaN and infinities. */
void ex_buf_f32(ex_buf *b, float value);
void ex_buf_f64(ex_buf *b, double value); /* as above, for doubles */

/* Length of the UTF-8 sequence at text, or 0 when it is not a valid one. len > 0. */
size_t ex_utf8_length(const char *text, size_t len);

#endif
