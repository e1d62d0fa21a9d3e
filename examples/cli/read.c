/* SPDX-License-Identifier: Apache-2.0 */
/* read.c - opens a reader for a format and holds what all of them share. */
#include "cli/read.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int read_say(reader *rd, int result, const char *format, ...) {
    va_list list;
    va_start(list, format);
    (void)vsnprintf(rd->message, sizeof(rd->message), format, list);
    va_end(list);
    return result;
}

int read_failed(reader *rd, int got) {
    if (got == EX_INPUT_LONG) {
        return read_say(rd, READ_BAD, "longer than %u bytes", READ_LINE_MAX);
    }
    rd->exit_code = rd->in.sys_errno == ENOMEM ? CLI_LIMIT : CLI_IO;
    return read_say(rd, READ_FATAL, "%s", strerror(rd->in.sys_errno));
}

static const char *read_path(const reader *rd) {
    return strcmp(rd->o.path, "-") == 0 ? "stdin" : rd->o.path;
}

const char *reader_where(reader *rd) {
    if (rd->row.line > 0) {
        (void)snprintf(rd->place, sizeof(rd->place), "%.400s:%llu", read_path(rd),
                       (unsigned long long)rd->row.line);
    } else {
        (void)snprintf(rd->place, sizeof(rd->place), "%.400s: row %llu", read_path(rd),
                       (unsigned long long)rd->row.number);
    }
    return rd->place;
}

static const char *read_guess(const char *path) {
    static const char *const known[][2] = {{".jsonl", "jsonl"}, {".ndjson", "jsonl"},
                                           {".json", "jsonl"},  {".csv", "csv"},
                                           {".npy", "npy"},     {".fvecs", "fvecs"}};
    size_t len = strlen(path);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        size_t n = strlen(known[i][0]);
        if (len > n && strcmp(path + len - n, known[i][0]) == 0) {
            return known[i][1];
        }
    }
    return strcmp(path, "-") == 0 ? "jsonl" : NULL;
}

static int read_jsonl_open(reader *rd) {
    rd->next = read_jsonl_next;
    return READ_ROW;
}

int reader_open(cli *c, reader *rd, const reader_opts *opts) {
    static const struct {
        const char *name;
        int (*open)(reader *rd);
        int sidecar; /* takes one */
    } formats[] = {{"jsonl", read_jsonl_open, 0},
                   {"csv", read_csv_open, 0},
                   {"npy", read_npy_open, 1},
                   {"fvecs", read_fvecs_open, 1}};
    const char *format = opts->format != NULL ? opts->format : read_guess(opts->path);
    size_t i = 0;
    while (format != NULL && i < 4 && strcmp(format, formats[i].name) != 0) {
        i++;
    }
    if (format == NULL || i == 4) {
        return cli_fail(c, CLI_USAGE, "%s: --format wants jsonl, csv, npy or fvecs", opts->path);
    }
    if (opts->sidecar != NULL && !formats[i].sidecar) {
        return cli_fail(c, CLI_USAGE, "--metadata goes with npy and fvecs, not with %s", format);
    }
    memset(rd, 0, sizeof(*rd));
    rd->o = *opts;
    rd->exit_code = CLI_USAGE;
    int failed = ex_input_open(&rd->in, opts->path, READ_LINE_MAX);
    if (failed != 0) {
        return cli_fail(c, CLI_IO, "%s: %s", read_path(rd), strerror(failed));
    }
    rd->row.vector = malloc((size_t)PV_LIMIT_DIMS * sizeof(float));
    int got =
        rd->row.vector == NULL ? read_say(rd, READ_FATAL, "out of memory") : formats[i].open(rd);
    if (got != READ_ROW) {
        int code = rd->row.vector == NULL ? CLI_LIMIT : rd->exit_code;
        (void)cli_fail(c, code, "%s: %s", read_path(rd), rd->message);
        reader_close(rd);
        return code;
    }
    return CLI_OK;
}

void reader_close(reader *rd) {
    read_csv_close(rd->csv);
    read_array_close(rd->array);
    free(rd->row.vector);
    ex_buf_done(&rd->row.id);
    ex_buf_done(&rd->row.metadata);
    ex_buf_done(&rd->row.raw);
    ex_input_close(&rd->in);
    memset(rd, 0, sizeof(*rd));
    rd->in.fd = -1;
}

static void read_clear(reader *rd) {
    read_row *row = &rd->row;
    row->number = rd->rows;
    row->id_kind = READ_ID_NONE;
    row->id_u64 = 0;
    row->dims = 0;
    row->packed = 0;
    ex_buf_clear(&row->id);
    ex_buf_clear(&row->metadata);
    ex_buf_clear(&row->raw);
}

int reader_next(reader *rd) {
    read_clear(rd);
    int got = rd->next(rd);
    if (got == READ_ROW && (rd->row.id.failed || rd->row.metadata.failed || rd->row.raw.failed)) {
        rd->exit_code = CLI_LIMIT;
        got = read_say(rd, READ_FATAL, "out of memory");
    }
    rd->rows += got == READ_ROW || got == READ_BAD;
    return got;
}
