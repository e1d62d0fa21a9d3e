/* SPDX-License-Identifier: Apache-2.0 */
/* ex_input.h - reading a file or standard input once, forwards, in bounded memory: by lines, by
 * single bytes or by blocks. "-" is standard input. */
#ifndef EX_INPUT_H
#define EX_INPUT_H

#include <stddef.h>
#include <stdint.h>

#define EX_INPUT_BLOCK (1u << 18) /* bytes read at once */

typedef struct ex_input {
    int fd;
    int owned; /* fd is closed by ex_input_close */
    int eof;
    int sys_errno; /* of a failed read, else 0 */
    char *data;
    size_t cap;
    size_t begin; /* bytes [begin, end) of data wait to be read */
    size_t end;
    uint64_t total;  /* bytes read from the file so far */
    uint64_t size;   /* of a regular file, else 0 (unknown) */
    uint64_t number; /* of the line last returned, from 1 */
    size_t line_max;
} ex_input;

#define EX_INPUT_OK 1
#define EX_INPUT_EOF 0
#define EX_INPUT_IO (-1)   /* sys_errno is set; ENOMEM when memory ran out */
#define EX_INPUT_LONG (-2) /* the line is longer than line_max; it was skipped */

/* 0, or an errno. */
int ex_input_open(ex_input *in, const char *path, size_t line_max);
void ex_input_close(ex_input *in); /* accepts a zeroed one */

/* The next line without its end (\n or \r\n), NUL-terminated, valid until the next call. A last
 * line without an end counts. */
int ex_input_line(ex_input *in, char **out_line, size_t *out_len);

/* Up to `size` bytes; *out_done < size only at the end of the file. EX_INPUT_OK or _IO. */
int ex_input_read(ex_input *in, void *out, size_t size, size_t *out_done);

/* The next byte (0..255), -1 at the end, -2 when reading failed. */
int ex_input_byte(ex_input *in);
int ex_input_peek(ex_input *in);

#endif
