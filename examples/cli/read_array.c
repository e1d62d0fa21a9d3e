/* SPDX-License-Identifier: Apache-2.0 */
/* read_array.c - matrices: npy (versions 1 to 3; f8, f4, f2, i1, b1, u1; little endian; C order)
 * and fvecs.
 *
 *      npy:    "\x93NUMPY" major minor | length of the header, 2 or 4 bytes | header | rows
 *      fvecs:  for each row: dims, 4 bytes | dims floats
 *
 * Ids and metadata come from JSON lines in a second file, row for row, or else the id is the
 * number of the row. f2, f4, i1 and b1 (0 or 1) become f32 exactly; f8 is rounded to the
 * nearest f32; u1 are bits, 8 a byte, the first in the highest. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/read.h"
#include "common/ex_element.h"

#define ARRAY_HEADER_MAX 65536u

typedef struct read_array {
    char kind;     /* 'f', 'i', 'b', or 'u': packed bits */
    unsigned size; /* bytes of an element */
    uint64_t rows; /* npy: from the header */
    uint32_t dims; /* fvecs: of the first row, 0 before it */
    int is_fvecs;
    unsigned char *buf; /* one row as it lies in the file */
    ex_input sidecar;
    int has_sidecar;
} read_array;

static uint32_t array_u32(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static float array_element(const read_array *a, const unsigned char *p) {
    if (a->size == 1) {
        return a->kind == 'i' ? (float)(signed char)p[0] : (float)(p[0] != 0);
    }
    if (a->size == 2) {
        return ex_element_half(p);
    }
    if (a->size == 4) {
        uint32_t bits = array_u32(p);
        float out;
        memcpy(&out, &bits, sizeof(out));
        return out;
    }
    uint64_t bits = (uint64_t)array_u32(p) | (uint64_t)array_u32(p + 4) << 32;
    double wide;
    memcpy(&wide, &bits, sizeof(wide));
    return (float)wide;
}

/* Reads the header's text into a new NUL-terminated buffer. */
static int array_header(reader *rd, char **out) {
    unsigned char head[12];
    size_t done = 0;
    int got = ex_input_read(&rd->in, head, 8, &done);
    if (got != EX_INPUT_OK) {
        return read_failed(rd, got);
    }
    if (done < 8 || memcmp(head, "\x93NUMPY", 6) != 0) {
        return read_say(rd, READ_FATAL, "not an npy file");
    }
    if (head[6] < 1 || head[6] > 3) {
        return read_say(rd, READ_FATAL, "npy version %u.%u is unknown", head[6], head[7]);
    }
    size_t width = head[6] == 1 ? 2 : 4;
    got = ex_input_read(&rd->in, head + 8, width, &done);
    uint32_t len = width == 2 ? (uint32_t)head[8] | (uint32_t)head[9] << 8 : array_u32(head + 8);
    if (got != EX_INPUT_OK || done < width || len > ARRAY_HEADER_MAX) {
        return read_say(rd, READ_FATAL, "the npy header is cut off or too long");
    }
    *out = calloc(1, (size_t)len + 1);
    if (*out == NULL) {
        rd->exit_code = CLI_LIMIT;
        return read_say(rd, READ_FATAL, "out of memory");
    }
    got = ex_input_read(&rd->in, *out, len, &done);
    if (got != EX_INPUT_OK || done < len) {
        return read_say(rd, READ_FATAL, "the npy header is cut off or too long");
    }
    return READ_ROW;
}

/* The text behind 'name': in the header, blanks skipped; NULL when it is not there. */
static const char *array_entry(const char *header, const char *name) {
    const char *at = strstr(header, name);
    if (at == NULL) {
        return NULL;
    }
    at += strlen(name);
    at += strspn(at, " ");
    if (*at++ != ':') {
        return NULL;
    }
    return at + strspn(at, " ");
}

static int array_parse_shape(const char *at, uint64_t *rows, uint64_t *dims) {
    char *end = NULL;
    if (at == NULL || *at != '(' || at[1] < '0' || at[1] > '9') {
        return -1;
    }
    *rows = strtoull(at + 1, &end, 10);
    end += strspn(end, " ");
    if (*end != ',') {
        return -1;
    }
    end++;
    end += strspn(end, " ");
    if (*end < '0' || *end > '9') {
        return -1;
    }
    *dims = strtoull(end, &end, 10);
    end += strspn(end, " ,");
    return *end == ')' ? 0 : -1;
}

static int array_parse_header(reader *rd, const char *header) {
    static const char *const known[] = {"'<f8'", "'<f4'", "'<f2'", "'|i1'", "'|b1'", "'|u1'"};
    read_array *a = rd->array;
    const char *descr = array_entry(header, "'descr'");
    const char *order = array_entry(header, "'fortran_order'");
    uint64_t dims = 0;
    size_t i = 0;
    while (descr != NULL && i < 6 && strncmp(descr, known[i], 5) != 0) {
        i++;
    }
    if (descr == NULL || i == 6) {
        return read_say(rd, READ_FATAL,
                        "elements are %.8s; '<f8', '<f4', '<f2', '|i1', '|b1' and '|u1' are known",
                        descr != NULL ? descr : "not described");
    }
    if (order == NULL || strncmp(order, "False", 5) != 0) {
        return read_say(rd, READ_FATAL, "the array is in Fortran order, C order is wanted");
    }
    if (array_parse_shape(array_entry(header, "'shape'"), &a->rows, &dims) != 0) {
        return read_say(rd, READ_FATAL, "the array's shape is not (rows, dimensions)");
    }
    a->kind = known[i][2];
    a->size = (unsigned)(known[i][3] - '0');
    dims = dims > PV_LIMIT_DIMS ? dims : a->kind == 'u' ? 8 * dims : dims;
    if (dims == 0 || dims > PV_LIMIT_DIMS) {
        return read_say(rd, READ_FATAL, "%llu dimensions; 1 to %d are possible",
                        (unsigned long long)dims, PV_LIMIT_DIMS);
    }
    a->dims = (uint32_t)dims;
    return READ_ROW;
}

static int array_init(reader *rd) {
    rd->next = read_array_next;
    rd->array = calloc(1, sizeof(*rd->array));
    if (rd->array != NULL) {
        rd->array->sidecar.fd = -1;
        rd->array->buf = malloc((size_t)PV_LIMIT_DIMS * 8);
    }
    if (rd->array == NULL || rd->array->buf == NULL) {
        rd->exit_code = CLI_LIMIT;
        return read_say(rd, READ_FATAL, "out of memory");
    }
    if (rd->o.sidecar != NULL) {
        int failed = ex_input_open(&rd->array->sidecar, rd->o.sidecar, READ_LINE_MAX);
        if (failed != 0) {
            rd->exit_code = CLI_IO;
            return read_say(rd, READ_FATAL, "--metadata %.150s: %s", rd->o.sidecar,
                            strerror(failed));
        }
        rd->array->has_sidecar = 1;
    }
    return READ_ROW;
}

int read_npy_open(reader *rd) {
    char *header = NULL;
    int got = array_init(rd);
    got = got == READ_ROW ? array_header(rd, &header) : got;
    got = got == READ_ROW ? array_parse_header(rd, header) : got;
    free(header);
    return got;
}

int read_fvecs_open(reader *rd) {
    int got = array_init(rd);
    if (got == READ_ROW) {
        rd->array->is_fvecs = 1;
        rd->array->kind = 'f';
        rd->array->size = 4;
        rd->array->rows = UINT64_MAX;
    }
    return got;
}

void read_array_close(struct read_array *a) {
    if (a == NULL) {
        return;
    }
    if (a->has_sidecar) {
        ex_input_close(&a->sidecar);
    }
    free(a->buf);
    free(a);
}

/* fvecs: the number before each row. READ_END at the end of the file. */
static int array_row_head(reader *rd) {
    read_array *a = rd->array;
    unsigned char head[4];
    size_t done = 0;
    int got = ex_input_read(&rd->in, head, 4, &done);
    if (got != EX_INPUT_OK) {
        return read_failed(rd, got);
    }
    if (done == 0) {
        return READ_END;
    }
    uint32_t dims = done == 4 ? array_u32(head) : 0;
    if (dims == 0 || dims > PV_LIMIT_DIMS || (a->dims != 0 && dims != a->dims)) {
        return read_say(rd, READ_FATAL, "not an fvecs row of %u dimensions", a->dims);
    }
    a->dims = dims;
    return READ_ROW;
}

/* The line that belongs to the row: id and metadata. */
static int array_sidecar(reader *rd) {
    read_array *a = rd->array;
    char *line = NULL;
    size_t len = 0;
    int got = ex_input_line(&a->sidecar, &line, &len);
    if (got == EX_INPUT_EOF) {
        return read_say(rd, READ_FATAL, "--metadata has only %llu lines",
                        (unsigned long long)rd->row.number);
    }
    if (got == EX_INPUT_IO) {
        rd->exit_code = CLI_IO;
        return read_say(rd, READ_FATAL, "--metadata: %s", strerror(a->sidecar.sys_errno));
    }
    if (got == EX_INPUT_LONG) {
        return read_failed(rd, got);
    }
    if (rd->o.keep_raw) {
        ex_buf_add(&rd->row.raw, line, len);
    }
    size_t dims = rd->row.dims;
    rd->row.dims = 0;
    got = read_json_row(rd, line, len);
    if (got == READ_ROW && rd->row.dims > 0) {
        got = read_say(rd, READ_BAD, "--metadata has a vector too");
    }
    rd->row.dims = dims;
    return got;
}

int read_array_next(reader *rd) {
    read_array *a = rd->array;
    size_t done = 0;
    int got = a->is_fvecs ? array_row_head(rd) : rd->rows < a->rows ? READ_ROW : READ_END;
    if (got == READ_END && a->has_sidecar) {
        char *line = NULL;
        size_t len = 0;
        if (ex_input_line(&a->sidecar, &line, &len) == EX_INPUT_OK && len > 0) {
            return read_say(rd, READ_FATAL, "--metadata has more lines than there are rows");
        }
    }
    if (got != READ_ROW) {
        return got;
    }
    size_t bytes = a->kind == 'u' ? a->dims / 8 : (size_t)a->dims * a->size;
    int failed = ex_input_read(&rd->in, a->buf, bytes, &done);
    if (failed != EX_INPUT_OK) {
        return read_failed(rd, failed);
    }
    if (done < bytes) {
        return read_say(rd, READ_FATAL, "the file ends too early");
    }
    if (a->kind == 'u') {
        ex_element_unpack(PV_TYPE_BIT, a->buf, a->dims, rd->row.vector);
    }
    for (size_t i = 0; i < a->dims && a->kind != 'u'; i++) {
        rd->row.vector[i] = array_element(a, a->buf + i * a->size);
    }
    rd->row.packed = a->kind == 'u';
    rd->row.dims = a->dims;
    if (a->has_sidecar) {
        return array_sidecar(rd);
    }
    rd->row.id_kind = READ_ID_ROW;
    rd->row.id_u64 = rd->row.number;
    return READ_ROW;
}
