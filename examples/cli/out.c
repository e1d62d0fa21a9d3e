/* SPDX-License-Identifier: Apache-2.0 */
/* out.c - standard output, messages, exit codes, and how ids and vectors are printed. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "common/ex_element.h"

int cli_exit_code(int pv_code) {
    switch (pv_code) {
    case PV_OK:
        return CLI_OK;
    case PV_ERR_NOTFOUND:
        return CLI_NO;
    case PV_ERR_MISUSE:
    case PV_ERR_FORMAT:
    case PV_ERR_DIMS:
    case PV_ERR_UNSUPPORTED:
    case PV_ERR_SCHEMA:
        return CLI_USAGE;
    case PV_ERR_BUSY:
    case PV_ERR_CONFLICT:
    case PV_ERR_EXISTS:
        return CLI_BUSY;
    case PV_ERR_LIMIT:
    case PV_ERR_NOMEM:
    case PV_ERR_TIMEOUT:
    case PV_ERR_CANCELLED:
        return CLI_LIMIT;
    default:
        return CLI_IO;
    }
}

int cli_fail(cli *c, int exit_code, const char *format, ...) {
    char text[1200] = "piramid: ";
    size_t at = strlen(text);
    va_list list;
    (void)c;
    va_start(list, format);
    int n = vsnprintf(text + at, sizeof(text) - at - 1, format, list);
    va_end(list);
    size_t len = n < 0 ? at : at + (size_t)n;
    if (len > sizeof(text) - 2) {
        len = sizeof(text) - 2;
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F) {
            text[i] = ' '; /* one line, whatever the name of a file holds */
        }
    }
    text[len] = '\n';
    (void)cli_write(STDERR_FILENO, text, len + 1);
    return exit_code;
}

int cli_fail_pv(cli *c) {
    const char *text = c->err.message[0] != '\0' ? c->err.message : pv_error_text(c->err.code);
    if (c->err.sys_errno != 0 && strstr(text, strerror(c->err.sys_errno)) == NULL) {
        return cli_fail(c, cli_exit_code(c->err.code), "%s: %s", text, strerror(c->err.sys_errno));
    }
    return cli_fail(c, cli_exit_code(c->err.code), "%s", text);
}

int cli_write(int fd, const char *data, size_t len) {
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

int cli_flush(cli *c, size_t least) {
    if (c->out.failed) {
        return c->out_closed ? CLI_LIMIT : cli_fail(c, CLI_LIMIT, "out of memory");
    }
    if (c->out.len == 0 || c->out.len < least) {
        return CLI_OK;
    }
    int failed = c->out_closed ? EPIPE : cli_write(STDOUT_FILENO, c->out.data, c->out.len);
    ex_buf_clear(&c->out);
    if (failed == 0) {
        return CLI_OK;
    }
    /* A reader that has seen enough (| head) is no news. */
    if (failed != EPIPE) {
        (void)cli_fail(c, CLI_IO, "cannot write to standard output: %s", strerror(failed));
    }
    c->out_closed = 1;
    return CLI_IO;
}

void cli_put_vector(ex_buf *out, const void *vector, uint32_t type, size_t dims) {
    float part[64];
    ex_buf_putc(out, '[');
    for (size_t i = 0; i < dims; i += 64) {
        const unsigned char *from = (const unsigned char *)vector + ex_element_bytes(type, i);
        size_t n = dims - i < 64 ? dims - i : 64;
        ex_element_unpack(type, from, n, part);
        for (size_t k = 0; k < n; k++) {
            if (i + k > 0) {
                ex_buf_putc(out, ',');
            }
            ex_buf_f32(out, part[k]);
        }
    }
    ex_buf_putc(out, ']');
}

void cli_put_id(ex_buf *out, const char *id, uint64_t id_u64) {
    if (id == NULL) {
        ex_buf_u64(out, id_u64);
    } else {
        ex_buf_json(out, id, strlen(id));
    }
}

void cli_put_id_plain(ex_buf *out, const char *id, uint64_t id_u64) {
    int plain = id != NULL;
    for (const char *s = id; plain && *s != '\0'; s++) {
        plain = (unsigned char)*s >= 0x20 && *s != 0x7F;
    }
    if (plain) {
        ex_buf_puts(out, id);
    } else {
        cli_put_id(out, id, id_u64);
    }
}

void cli_put_format(ex_buf *out, const char *format, ...) {
    va_list list;
    va_list again;
    va_start(list, format);
    va_copy(again, list);
    int n = vsnprintf(NULL, 0, format, list);
    va_end(list);
    if (n > 0 && ex_buf_reserve(out, (size_t)n) == 0) {
        (void)vsnprintf(out->data + out->len, (size_t)n + 1, format, again);
        out->len += (size_t)n;
    }
    va_end(again);
}
