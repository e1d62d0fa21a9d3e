/* SPDX-License-Identifier: Apache-2.0 */
/* read_csv.c - CSV as RFC 4180 has it, with a header: quotes, doubled quotes, line ends inside
 * quotes, \n or \r\n.
 *
 *      id,year:int,title,vector              id,year:int,title,vector0,vector1,vector2
 *      a,2026,"one, two","[0.1, 0.2]"        a,2026,"one, two",0.1,0.2,0.3
 *
 * The vector is one column with a JSON array, or columns of its name with the numbers 0, 1, 2 ...
 * behind it. All other columns are metadata; a type (string, int, float, bool, json) is given
 * behind a colon or with --types, without one the cell is text. A cell that is empty and not in
 * quotes leaves the member out. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/read.h"

typedef enum csv_role {
    CSV_STRING,
    CSV_INT,
    CSV_FLOAT,
    CSV_BOOL,
    CSV_JSON,
    CSV_ID,
    CSV_VECTOR,
    CSV_ELEMENT,
    CSV_IGNORE
} csv_role;

typedef struct csv_column {
    csv_role role;
    size_t element; /* of CSV_ELEMENT */
    char *key;      /* the metadata key as JSON with its quotes */
} csv_column;

typedef struct read_csv {
    csv_column *columns;
    size_t column_count;
    size_t elements; /* vector columns */
    ex_buf text;     /* the cells of the record, each with a NUL behind it */
    size_t *starts;  /* offset of each cell in text; one more at the end */
    unsigned char *quoted;
    size_t cells;
    size_t cap;
    size_t bytes;  /* of the record so far */
    uint64_t line; /* the reader stands in, from 1 */
    const char *error;
} read_csv;

static int csv_begin_cell(read_csv *csv) {
    if (csv->cells + 2 > csv->cap) {
        size_t cap = csv->cap * 2 + 16;
        size_t *starts = realloc(csv->starts, cap * sizeof(size_t));
        if (starts == NULL) {
            return -1;
        }
        csv->starts = starts;
        unsigned char *quoted = realloc(csv->quoted, cap);
        if (quoted == NULL) {
            return -1;
        }
        csv->quoted = quoted;
        csv->cap = cap;
    }
    csv->starts[csv->cells] = csv->text.len;
    csv->quoted[csv->cells] = 0;
    csv->cells++;
    return 0;
}

/* The next byte of the record; counts lines and bytes, and keeps the raw text where asked. */
static int csv_byte(reader *rd) {
    int c = ex_input_byte(&rd->in);
    if (c >= 0) {
        rd->csv->bytes++;
        rd->csv->line += c == '\n';
        if (rd->o.keep_raw) {
            ex_buf_putc(&rd->row.raw, (char)c);
        }
    }
    return c;
}

/* Reads the rest of a cell in quotes; the opening one is behind us. Returns the byte after the
 * closing one. */
static int csv_quoted(reader *rd) {
    read_csv *csv = rd->csv;
    for (;;) {
        int c = csv_byte(rd);
        if (c == '"') {
            c = csv_byte(rd);
            if (c != '"') {
                return c;
            }
        } else if (c < 0) {
            csv->error = c == -1 ? "a quote does not end" : csv->error;
            return c;
        }
        if (csv->bytes > READ_LINE_MAX) {
            csv->error = "the record is too long";
            return '\n';
        }
        ex_buf_putc(&csv->text, (char)c);
    }
}

/* Reads one cell. Returns what ended it: the delimiter, '\n', -1 (end) or -2 (failed). */
static int csv_cell(reader *rd) {
    read_csv *csv = rd->csv;
    int first = 1;
    if (csv_begin_cell(csv) != 0) {
        rd->in.sys_errno = ENOMEM;
        return -2;
    }
    for (;; first = 0) {
        int c = csv_byte(rd);
        if (c == '"' && first) {
            csv->quoted[csv->cells - 1] = 1;
            c = csv_quoted(rd);
            if (c >= 0 && c != rd->o.delimiter && c != '\n' && c != '\r' && csv->error == NULL) {
                csv->error = "text behind a closing quote";
            }
        } else if (c == '"' && csv->error == NULL) {
            csv->error = "a quote inside a cell that has none around it";
        }
        if (c == '\r' && ex_input_peek(&rd->in) == '\n') {
            c = csv_byte(rd);
        }
        if (c < 0 || c == '\n' || c == rd->o.delimiter) {
            ex_buf_putc(&csv->text, '\0');
            return c;
        }
        if (csv->bytes > READ_LINE_MAX) {
            csv->error = "the record is too long";
        }
        if (csv->error == NULL) {
            ex_buf_putc(&csv->text, (char)c);
        }
    }
}

/* Reads a record into cells. READ_ROW, READ_END, READ_BAD (it was skipped) or READ_FATAL. */
static int csv_record(reader *rd) {
    read_csv *csv = rd->csv;
    int end;
    do {
        csv->cells = 0;
        csv->bytes = 0;
        csv->error = NULL;
        ex_buf_clear(&csv->text);
        ex_buf_clear(&rd->row.raw);
        rd->row.line = csv->line;
        do {
            end = csv_cell(rd);
        } while (end >= 0 && end != '\n');
        if (end == -2) {
            return read_failed(rd, EX_INPUT_IO);
        }
        if (end == -1 && csv->bytes == 0) {
            return READ_END;
        }
    } while (csv->cells == 1 && csv->text.len == 1 && !csv->quoted[0] && csv->error == NULL);
    while (rd->row.raw.len > 0 && strchr("\r\n", rd->row.raw.data[rd->row.raw.len - 1]) != NULL) {
        rd->row.raw.data[--rd->row.raw.len] = '\0';
    }
    if (csv->text.failed) {
        rd->exit_code = CLI_LIMIT;
        return read_say(rd, READ_FATAL, "out of memory");
    }
    csv->starts[csv->cells] = csv->text.len;
    return csv->error != NULL ? read_say(rd, READ_BAD, "%s", csv->error) : READ_ROW;
}

static int csv_type(const char *name, size_t len, csv_role *out) {
    static const char *const names[] = {"string", "int", "float", "bool", "json"};
    for (size_t i = 0; i < 5; i++) {
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0) {
            *out = (csv_role)i;
            return 0;
        }
    }
    return -1;
}

/* The type that --types gives to a column; READ_END when it names none. */
static int csv_listed_type(reader *rd, const char *name, size_t len, csv_role *out) {
    const char *at = rd->o.types != NULL ? rd->o.types : "";
    while (*at != '\0') {
        size_t n = strcspn(at, ",");
        size_t name_len = strcspn(at, "=");
        if (name_len >= n) {
            return read_say(rd, READ_FATAL, "--types wants name=type, not '%.*s'", (int)n, at);
        }
        if (name_len == len && memcmp(at, name, len) == 0) {
            if (csv_type(at + name_len + 1, n - name_len - 1, out) != 0) {
                return read_say(rd, READ_FATAL,
                                "--types knows string, int, float, bool and json, not '%.*s'",
                                (int)(n - name_len - 1), at + name_len + 1);
            }
            return READ_ROW;
        }
        at += n + (at[n] == ',');
    }
    return READ_END;
}

/* Is the name the vector's with a number behind it? */
static int csv_is_element(const reader *rd, const char *name, size_t *out_number) {
    size_t len = strlen(rd->o.vector);
    uint64_t number = 0;
    if (strncmp(name, rd->o.vector, len) != 0) {
        return 0;
    }
    name += len + (name[len] == '_');
    if (cli_number(name, &number) != 0 || number >= PV_LIMIT_DIMS) {
        return 0;
    }
    *out_number = (size_t)number;
    return 1;
}

static int csv_column_init(reader *rd, csv_column *col, const char *name) {
    const char *colon = strrchr(name, ':');
    size_t len = strlen(name);
    ex_buf key = {0};
    if (strcmp(name, rd->o.id) == 0) {
        col->role = CSV_ID;
        return READ_ROW;
    }
    if (strcmp(name, rd->o.vector) == 0) {
        col->role = CSV_VECTOR;
        return READ_ROW;
    }
    if (csv_is_element(rd, name, &col->element)) {
        col->role = CSV_ELEMENT;
        rd->csv->elements++;
        return READ_ROW;
    }
    col->role = CSV_STRING;
    if (colon != NULL && csv_type(colon + 1, strlen(colon + 1), &col->role) == 0) {
        len = (size_t)(colon - name);
    }
    int got = csv_listed_type(rd, name, len, &col->role);
    if (got == READ_FATAL) {
        return got;
    }
    if (rd->o.rest == READ_REST_IGNORE) {
        col->role = CSV_IGNORE;
        return READ_ROW;
    }
    if (len == 0) {
        return read_say(rd, READ_FATAL, "a column of the header has no name");
    }
    ex_buf_json(&key, name, len);
    col->key = key.data;
    return key.failed ? read_say(rd, READ_FATAL, "out of memory") : READ_ROW;
}

/* Each role once, and the vector's columns without a gap. */
static int csv_check_columns(reader *rd) {
    read_csv *csv = rd->csv;
    size_t vectors = 0;
    size_t ids = 0;
    unsigned char *seen = calloc(csv->elements + 1, 1);
    int got = seen != NULL ? READ_ROW : read_say(rd, READ_FATAL, "out of memory");
    for (size_t i = 0; got == READ_ROW && i < csv->column_count; i++) {
        const csv_column *col = &csv->columns[i];
        vectors += col->role == CSV_VECTOR;
        ids += col->role == CSV_ID;
        for (size_t k = 0; col->key != NULL && k < i; k++) {
            if (csv->columns[k].key != NULL && strcmp(csv->columns[k].key, col->key) == 0) {
                got = read_say(rd, READ_FATAL, "column %.100s stands twice", col->key);
            }
        }
        if (col->role == CSV_ELEMENT && (col->element >= csv->elements || seen[col->element]++)) {
            got = read_say(rd, READ_FATAL, "the vector's columns are not numbered 0 to %zu",
                           csv->elements - 1);
        }
    }
    free(seen);
    if (got == READ_ROW && (ids > 1 || vectors > 1 || (vectors > 0) == (csv->elements > 0))) {
        return read_say(rd, READ_FATAL,
                        "the header wants one column '%.60s', or '%.60s0', '%.60s1' ..., and "
                        "at most one '%.60s'",
                        rd->o.vector, rd->o.vector, rd->o.vector, rd->o.id);
    }
    return got;
}

int read_csv_open(reader *rd) {
    rd->next = read_csv_next;
    rd->csv = calloc(1, sizeof(*rd->csv));
    if (rd->csv == NULL) {
        rd->exit_code = CLI_LIMIT;
        return read_say(rd, READ_FATAL, "out of memory");
    }
    read_csv *csv = rd->csv;
    csv->line = 1;
    int got = csv_record(rd);
    if (got != READ_ROW) {
        return got == READ_END ? read_say(rd, READ_FATAL, "the header is missing") : READ_FATAL;
    }
    csv->columns = calloc(csv->cells, sizeof(csv_column));
    if (csv->columns == NULL) {
        rd->exit_code = CLI_LIMIT;
        return read_say(rd, READ_FATAL, "out of memory");
    }
    csv->column_count = csv->cells;
    for (size_t i = 0; got == READ_ROW && i < csv->cells; i++) {
        const char *name = csv->text.data + csv->starts[i];
        if (i == 0 && strncmp(name, "\xEF\xBB\xBF", 3) == 0) {
            name += 3; /* a byte order mark */
        }
        got = csv_column_init(rd, &csv->columns[i], name);
    }
    return got == READ_ROW ? csv_check_columns(rd) : got;
}

void read_csv_close(struct read_csv *csv) {
    if (csv == NULL) {
        return;
    }
    for (size_t i = 0; i < csv->column_count; i++) {
        free(csv->columns[i].key);
    }
    free(csv->columns);
    free(csv->starts);
    free(csv->quoted);
    ex_buf_done(&csv->text);
    free(csv);
}

static int csv_take_element(reader *rd, const csv_column *col, const char *cell) {
    ex_json j;
    ex_json_token t;
    ex_json_init(&j, cell, strlen(cell));
    if (ex_json_next(&j, &t) != EX_JSON_NUMBER ||
        ex_json_f32(&j, &t, &rd->row.vector[col->element]) != 0 ||
        ex_json_next(&j, &t) != EX_JSON_END) {
        return read_say(rd, READ_BAD, "element %zu of the vector is no number: '%.60s'",
                        col->element, cell);
    }
    return READ_ROW;
}

static int csv_take_vector(reader *rd, const char *cell) {
    ex_json j;
    ex_json_token t;
    ex_json_init(&j, cell, strlen(cell));
    int got = READ_BAD;
    if (ex_json_next(&j, &t) == EX_JSON_ARRAY) {
        got = read_json_vector(rd, &j);
    } else if (j.error == NULL) {
        return read_say(rd, READ_BAD, "the vector is no JSON array: '%.60s'", cell);
    }
    if (got == READ_ROW && ex_json_next(&j, &t) != EX_JSON_END) {
        got = READ_BAD;
    }
    return j.error != NULL ? read_say(rd, READ_BAD, "the vector: %s", j.error) : got;
}

/* Is the cell what its column's type says? Then it is JSON as it stands. */
static int csv_fits(csv_role role, const char *cell, size_t len) {
    if (strlen(cell) != len) {
        return 0;
    }
    if (role == CSV_BOOL) {
        return strcmp(cell, "true") == 0 || strcmp(cell, "false") == 0;
    }
    if (!ex_json_valid(cell, len)) {
        return 0;
    }
    if (role == CSV_JSON) {
        return 1;
    }
    int number = strchr("-0123456789", cell[0]) != NULL;
    return number && (role == CSV_FLOAT || strpbrk(cell, ".eE") == NULL);
}

static int csv_take_member(reader *rd, const csv_column *col, const char *cell, size_t len) {
    static const char *const wanted[] = {"text", "a whole number", "a number", "true or false",
                                         "JSON"};
    ex_buf *out = &rd->row.metadata;
    if (col->role != CSV_STRING && !csv_fits(col->role, cell, len)) {
        return read_say(rd, READ_BAD, "column %.80s wants %s, not '%.60s'", col->key,
                        wanted[col->role], cell);
    }
    ex_buf_putc(out, out->len == 0 ? '{' : ',');
    ex_buf_puts(out, col->key);
    ex_buf_putc(out, ':');
    if (col->role == CSV_STRING) {
        for (size_t i = 0; i < len;) {
            size_t n = ex_utf8_length(cell + i, len - i);
            if (n == 0) {
                return read_say(rd, READ_BAD, "column %.80s is not UTF-8", col->key);
            }
            i += n;
        }
        ex_buf_json(out, cell, len);
    } else {
        ex_buf_add(out, cell, len);
    }
    return READ_ROW;
}

static int csv_take_cell(reader *rd, size_t i) {
    read_csv *csv = rd->csv;
    const csv_column *col = &csv->columns[i];
    const char *cell = csv->text.data + csv->starts[i];
    size_t len = csv->starts[i + 1] - csv->starts[i] - 1;
    if (col->role == CSV_IGNORE) {
        return READ_ROW;
    }
    if (col->role == CSV_VECTOR) {
        return csv_take_vector(rd, cell);
    }
    if (col->role == CSV_ELEMENT) {
        return csv_take_element(rd, col, cell);
    }
    if (len == 0 && !csv->quoted[i]) {
        return READ_ROW; /* left out */
    }
    if (col->role != CSV_ID) {
        return csv_take_member(rd, col, cell, len);
    }
    if (strlen(cell) != len) {
        return read_say(rd, READ_BAD, "the id holds a NUL character");
    }
    rd->row.id_kind = READ_ID_TEXT; /* made a number where the collection wants one */
    ex_buf_add(&rd->row.id, cell, len);
    return READ_ROW;
}

int read_csv_next(reader *rd) {
    read_csv *csv = rd->csv;
    int got = csv_record(rd);
    if (got != READ_ROW) {
        return got;
    }
    if (csv->cells != csv->column_count) {
        return read_say(rd, READ_BAD, "%zu cells, the header has %zu", csv->cells,
                        csv->column_count);
    }
    for (size_t i = 0; got == READ_ROW && i < csv->cells; i++) {
        got = csv_take_cell(rd, i);
    }
    if (csv->elements > 0) {
        rd->row.dims = csv->elements;
    }
    if (rd->row.metadata.len > 0) {
        ex_buf_putc(&rd->row.metadata, '}');
    }
    return got;
}
