/* SPDX-License-Identifier: Apache-2.0 */
/* read.h - rows of records from files, one after the other, in bounded memory.
 *
 *      reader_open -> reader_next ... -> reader_close        format: jsonl, csv, npy, fvecs
 *
 * A row that is wrong is reported (READ_BAD) and the next one can be asked for; what makes the
 * rest unreadable is READ_FATAL. Both leave one line in `message`; reader_where names the place:
 * "data.jsonl:17" for lines, "data.npy: row 17" for binary files. */
#ifndef CLI_READ_H
#define CLI_READ_H

#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"
#include "common/ex_buf.h"
#include "common/ex_input.h"

#define READ_LINE_MAX (64u << 20) /* bytes of a JSON line or a CSV record */

#define READ_END 0
#define READ_ROW 1
#define READ_BAD 2
#define READ_FATAL 3

#define READ_ID_NONE 0
#define READ_ID_TEXT 1
#define READ_ID_NUMBER 2
#define READ_ID_ROW 3 /* the file has none: id_u64 is the number of the row, text or number */

/* What becomes of members and columns that have no role. */
#define READ_REST_REFUSE 0
#define READ_REST_METADATA 1
#define READ_REST_IGNORE 2

typedef struct read_row {
    uint64_t number; /* of the row, from 0 */
    uint64_t line;   /* where it begins, from 1; 0 for binary files */
    int id_kind;
    uint64_t id_u64;
    ex_buf id;
    float *vector;   /* room for PV_LIMIT_DIMS */
    size_t dims;     /* 0: the row has no vector */
    int packed;      /* it came as bytes of 8 bits: the last may be no elements */
    ex_buf metadata; /* a JSON object; empty: none */
    ex_buf raw;      /* the text of the row, where keep_raw was asked */
} read_row;

typedef struct reader_opts {
    const char *path;
    const char *format; /* jsonl, csv, npy, fvecs; NULL: by the end of the path */
    const char *id;     /* names of the members or columns with a role */
    const char *vector;
    const char *metadata;
    const char *types;   /* csv: "year=int,price=float" */
    const char *sidecar; /* npy, fvecs: JSON lines with the ids and metadata of the rows */
    int rest;            /* READ_REST_ */
    int keep_raw;
    char delimiter; /* csv */
} reader_opts;
#define READER_OPTS_INIT                                                                           \
    { NULL, NULL, "id", "vector", "metadata", NULL, NULL, READ_REST_REFUSE, 0, ',' }

struct read_csv;
struct read_array;

typedef struct reader {
    reader_opts o;
    int (*next)(struct reader *rd); /* fills row; READ_ROW, _BAD, _FATAL or _END */
    ex_input in;
    read_row row;
    uint64_t rows; /* read so far, bad ones too */
    char message[256];
    int exit_code; /* for a message that ends the program */
    char place[512];
    struct read_csv *csv;     /* csv alone */
    struct read_array *array; /* npy and fvecs alone */
} reader;

/* Opens the file and reads its head. CLI_OK, or an exit code after a message was printed; then
 * there is nothing to close. */
int reader_open(cli *c, reader *rd, const reader_opts *opts);
void reader_close(reader *rd);
int reader_next(reader *rd);
const char *reader_where(reader *rd);

/* ---- between the readers ---- */

int read_say(reader *rd, int result, const char *format, ...) __attribute__((format(printf, 3, 4)));
int read_failed(reader *rd, int got); /* an EX_INPUT_ code as READ_FATAL or READ_BAD */

/* The role of a line of JSON: fills id, vector and metadata of rd->row. */
int read_json_row(reader *rd, const char *line, size_t len);
int read_json_vector(reader *rd, ex_json *j);

int read_jsonl_next(reader *rd);
int read_csv_open(reader *rd);
int read_csv_next(reader *rd);
void read_csv_close(struct read_csv *csv);
int read_npy_open(reader *rd);
int read_fvecs_open(reader *rd);
int read_array_next(reader *rd);
void read_array_close(struct read_array *array);

#endif
