/* SPDX-License-Identifier: Apache-2.0 */
/* ex_input.c - see ex_input.h. One buffer, filled by read(2); a line is handed out in place. */
#include "ex_input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int ex_input_open(ex_input *in, const char *path, size_t line_max) {
    struct stat st;
    memset(in, 0, sizeof(*in));
    in->fd = STDIN_FILENO;
    in->line_max = line_max;
    if (strcmp(path, "-") != 0) {
        in->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (in->fd < 0) {
            return errno;
        }
        in->owned = 1;
    }
    int failed = fstat(in->fd, &st) != 0 ? errno : 0;
    if (failed == 0 && S_ISDIR(st.st_mode)) {
        failed = EISDIR;
    }
    if (failed == 0 && S_ISREG(st.st_mode)) {
        in->size = (uint64_t)st.st_size;
    }
    in->cap = EX_INPUT_BLOCK;
    in->data = failed == 0 ? malloc(in->cap + 1) : NULL;
    if (in->data == NULL) {
        ex_input_close(in);
        return failed != 0 ? failed : ENOMEM;
    }
    return 0;
}

void ex_input_close(ex_input *in) {
    if (in->owned && in->fd >= 0) {
        (void)close(in->fd);
    }
    free(in->data);
    memset(in, 0, sizeof(*in));
    in->fd = -1;
}

/* Reads more bytes behind `end`; room must be there. */
static int input_fill(ex_input *in) {
    while (!in->eof) {
        ssize_t n = read(in->fd, in->data + in->end, in->cap - in->end);
        if (n > 0) {
            in->end += (size_t)n;
            in->total += (uint64_t)n;
            return EX_INPUT_OK;
        }
        if (n == 0) {
            in->eof = 1;
        } else if (errno != EINTR) {
            in->sys_errno = errno;
            return EX_INPUT_IO;
        }
    }
    return EX_INPUT_EOF;
}

/* Makes room behind `end`: moves what waits to the front, or grows up to line_max + 2. */
static int input_room(ex_input *in) {
    if (in->begin > 0) {
        memmove(in->data, in->data + in->begin, in->end - in->begin);
        in->end -= in->begin;
        in->begin = 0;
    }
    if (in->end < in->cap) {
        return EX_INPUT_OK;
    }
    if (in->cap >= in->line_max + 2) {
        return EX_INPUT_LONG;
    }
    size_t cap = in->cap * 2 < in->line_max + 2 ? in->cap * 2 : in->line_max + 2;
    char *data = realloc(in->data, cap + 1);
    if (data == NULL) {
        in->sys_errno = ENOMEM;
        return EX_INPUT_IO;
    }
    in->data = data;
    in->cap = cap;
    return EX_INPUT_OK;
}

/* Throws away the rest of a line that is too long. */
static int input_drop_line(ex_input *in) {
    for (;;) {
        char *nl = memchr(in->data + in->begin, '\n', in->end - in->begin);
        if (nl != NULL) {
            in->begin = (size_t)(nl - in->data) + 1;
            return EX_INPUT_LONG;
        }
        in->begin = 0;
        in->end = 0;
        int got = input_fill(in);
        if (got != EX_INPUT_OK) {
            return got == EX_INPUT_EOF ? EX_INPUT_LONG : got;
        }
    }
}

static void input_hand_out(ex_input *in, size_t len, size_t used, char **out_line,
                           size_t *out_len) {
    char *line = in->data + in->begin;
    if (len > 0 && line[len - 1] == '\r') {
        len--;
    }
    line[len] = '\0';
    in->begin += used;
    *out_line = line;
    *out_len = len;
}

int ex_input_line(ex_input *in, char **out_line, size_t *out_len) {
    size_t seen = 0; /* bytes behind begin known to hold no line end */
    for (;;) {
        char *from = in->data + in->begin + seen;
        char *nl = memchr(from, '\n', in->end - in->begin - seen);
        if (nl != NULL) {
            size_t len = (size_t)(nl - in->data) - in->begin;
            in->number++;
            if (len > in->line_max + 1) {
                in->begin += len + 1;
                return EX_INPUT_LONG;
            }
            input_hand_out(in, len, len + 1, out_line, out_len);
            return EX_INPUT_OK;
        }
        seen = in->end - in->begin;
        int got = input_room(in);
        if (got == EX_INPUT_LONG) {
            in->number++;
            return input_drop_line(in);
        }
        got = got == EX_INPUT_OK ? input_fill(in) : got;
        if (got == EX_INPUT_EOF && seen > 0) {
            in->number++;
            input_hand_out(in, seen, seen, out_line, out_len);
            return EX_INPUT_OK;
        }
        if (got != EX_INPUT_OK) {
            return got;
        }
    }
}

int ex_input_read(ex_input *in, void *out, size_t size, size_t *out_done) {
    size_t done = 0;
    while (done < size) {
        if (in->begin == in->end) {
            in->begin = 0;
            in->end = 0;
            int got = input_fill(in);
            if (got == EX_INPUT_IO) {
                return got;
            }
            if (got == EX_INPUT_EOF) {
                break;
            }
        }
        size_t n = in->end - in->begin;
        n = n < size - done ? n : size - done;
        memcpy((char *)out + done, in->data + in->begin, n);
        in->begin += n;
        done += n;
    }
    *out_done = done;
    return EX_INPUT_OK;
}

int ex_input_peek(ex_input *in) {
    if (in->begin == in->end) {
        in->begin = 0;
        in->end = 0;
        int got = input_fill(in);
        if (got != EX_INPUT_OK) {
            return got == EX_INPUT_EOF ? -1 : -2;
        }
    }
    return (unsigned char)in->data[in->begin];
}

int ex_input_byte(ex_input *in) {
    int c = ex_input_peek(in);
    if (c >= 0) {
        in->begin++;
    }
    return c;
}
