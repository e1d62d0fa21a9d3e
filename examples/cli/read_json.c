/* SPDX-License-Identifier: Apache-2.0 */
/* read_json.c - JSON lines: one object a line, empty lines are skipped.
 *
 *      {"id": "a", "vector": [0.1, 0.2], "metadata": {"year": 2026}}
 *
 * The names of the three members can be chosen. Other members are refused, ignored or put into
 * the metadata (rest). The same code reads the lines that stand beside an npy file. */
#include <math.h>
#include <string.h>

#include "cli/read.h"

int read_json_vector(reader *rd, ex_json *j) {
    read_row *row = &rd->row;
    ex_json_token t;
    row->dims = 0;
    for (;;) {
        ex_json_type type = ex_json_next(j, &t);
        if (type == EX_JSON_ARRAY_END && row->dims > 0) {
            return READ_ROW;
        }
        if (type == EX_JSON_ERROR) {
            return READ_BAD; /* the caller reports the text's error */
        }
        if (type != EX_JSON_NUMBER) {
            return read_say(rd, READ_BAD,
                            type == EX_JSON_ARRAY_END ? "the vector is empty"
                                                      : "element %zu of the vector is no number",
                            row->dims);
        }
        if (row->dims == PV_LIMIT_DIMS) {
            return read_say(rd, READ_BAD, "the vector has more than %d dimensions", PV_LIMIT_DIMS);
        }
        if (ex_json_f32(j, &t, &row->vector[row->dims]) != 0) {
            return read_say(rd, READ_BAD, "element %zu of the vector is too large for a float",
                            row->dims);
        }
        row->dims++;
    }
}

static int json_take_id(reader *rd, const ex_json *j, const ex_json_token *t) {
    read_row *row = &rd->row;
    if (row->id_kind != READ_ID_NONE) {
        return read_say(rd, READ_BAD, "member '%s' stands twice", rd->o.id);
    }
    if (t->type == EX_JSON_STRING) {
        row->id_kind = READ_ID_TEXT;
        (void)ex_json_text(j, t, &row->id);
        if (row->id.len != 0 && memchr(row->id.data, '\0', row->id.len) != NULL) {
            return read_say(rd, READ_BAD, "the id holds a NUL character");
        }
        return READ_ROW;
    }
    if (ex_json_u64(j, t, &row->id_u64) == 0) {
        row->id_kind = READ_ID_NUMBER;
        return READ_ROW;
    }
    return read_say(rd, READ_BAD, "the id is neither text nor a number from 0 to 2^64 - 2");
}

/* Appends one member, key and value as they stand in the text, to the metadata. */
static void json_add_member(ex_buf *out, const char *key, size_t key_len, const char *value,
                            size_t value_len) {
    ex_buf_putc(out, out->len == 0 ? '{' : ',');
    ex_buf_add(out, key, key_len);
    ex_buf_putc(out, ':');
    ex_buf_add(out, value, value_len);
}

static int json_take_metadata(reader *rd, const char *line, const ex_json_token *t) {
    ex_buf *out = &rd->row.metadata;
    if (t->type == EX_JSON_NULL) {
        return READ_ROW;
    }
    if (t->type != EX_JSON_OBJECT) {
        return read_say(rd, READ_BAD, "member '%s' is no object", rd->o.metadata);
    }
    if (out->len > 0) {
        return read_say(rd, READ_BAD, "member '%s' stands twice, or beside other metadata",
                        rd->o.metadata);
    }
    ex_buf_add(out, line + t->begin, t->end - t->begin);
    return READ_ROW;
}

/* One member of the line: `key` was read, its value comes next. *state counts: 1 once a metadata
 * member was taken whole, 2 once single members were added. */
static int json_member(reader *rd, ex_json *j, const char *line, const ex_json_token *key,
                       int *state) {
    ex_json_token t;
    int is_vector = ex_json_equals(j, key, rd->o.vector);
    (void)ex_json_next(j, &t);
    if (is_vector && t.type == EX_JSON_ARRAY) {
        return rd->row.dims > 0 ? read_say(rd, READ_BAD, "member '%s' stands twice", rd->o.vector)
                                : read_json_vector(rd, j);
    }
    if (t.type == EX_JSON_ERROR || ex_json_skip(j, &t) != 0) {
        return READ_BAD;
    }
    if (is_vector) {
        return read_say(rd, READ_BAD, "member '%s' is no array", rd->o.vector);
    }
    if (ex_json_equals(j, key, rd->o.id)) {
        return json_take_id(rd, j, &t);
    }
    if (ex_json_equals(j, key, rd->o.metadata)) {
        *state = t.type == EX_JSON_NULL ? *state : 1;
        return json_take_metadata(rd, line, &t);
    }
    if (rd->o.rest == READ_REST_IGNORE) {
        return READ_ROW;
    }
    if (rd->o.rest == READ_REST_REFUSE || *state == 1) {
        return read_say(rd, READ_BAD, "unknown member %.*s (see --rest)",
                        (int)(key->end - key->begin > 80 ? 80 : key->end - key->begin),
                        line + key->begin);
    }
    *state = 2;
    json_add_member(&rd->row.metadata, line + key->begin, key->end - key->begin, line + t.begin,
                    t.end - t.begin);
    return READ_ROW;
}

int read_json_row(reader *rd, const char *line, size_t len) {
    ex_json j;
    ex_json_token t;
    int state = 0;
    int got = READ_ROW;
    ex_json_init(&j, line, len);
    if (ex_json_next(&j, &t) != EX_JSON_OBJECT) {
        return j.error != NULL ? read_say(rd, READ_BAD, "%s at byte %zu", j.error, j.error_at)
                               : read_say(rd, READ_BAD, "the line is no JSON object");
    }
    while (got == READ_ROW && ex_json_next(&j, &t) == EX_JSON_KEY) {
        got = json_member(rd, &j, line, &t, &state);
    }
    if (got == READ_ROW) {
        (void)ex_json_next(&j, &t);
    }
    if (j.error != NULL) {
        return read_say(rd, READ_BAD, "%s at byte %zu", j.error, j.error_at);
    }
    if (got == READ_ROW && state == 2) {
        ex_buf_putc(&rd->row.metadata, '}');
    }
    return got;
}

int read_jsonl_next(reader *rd) {
    char *line = NULL;
    size_t len = 0;
    for (;;) {
        int got = ex_input_line(&rd->in, &line, &len);
        rd->row.line = rd->in.number + (got == EX_INPUT_IO);
        if (got == EX_INPUT_EOF) {
            return READ_END;
        }
        if (got != EX_INPUT_OK) {
            return read_failed(rd, got);
        }
        if (len >= 3 && rd->in.number == 1 && memcmp(line, "\xEF\xBB\xBF", 3) == 0) {
            line += 3; /* a byte order mark */
            len -= 3;
        }
        if (strspn(line, " \t\r") < len) {
            break;
        }
    }
    if (rd->o.keep_raw) {
        ex_buf_add(&rd->row.raw, line, len);
    }
    int got = read_json_row(rd, line, len);
    if (got == READ_ROW && rd->row.dims == 0) {
        return read_say(rd, READ_BAD, "member '%s' is missing", rd->o.vector);
    }
    return got;
}
