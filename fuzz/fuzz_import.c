/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_import.c - any bytes as a file that the program's import reads: JSON lines, CSV, npy, fvecs.
 *
 *      [options u8][more options u8][bytes of the second file u16][second file][file]
 *
 * Reading must end after at most as many rows as there are bytes; a row has a vector that fits, an
 * id without a NUL inside, and metadata that is a JSON object for the library too. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/read.h"
#include "fuzz.h"
#include "value/json.h"

/* In place of the program's, which prints. */
int cli_fail(cli *c, int exit_code, const char *format, ...) {
    char text[600];
    va_list list;
    (void)c;
    va_start(list, format);
    FUZZ_CHECK(vsnprintf(text, sizeof text, format, list) > 0 && exit_code > 0);
    va_end(list);
    return exit_code;
}

/* The bytes under a path; `slot` 0 or 1, one file each for the life of the process. */
static void import_file(unsigned slot, const uint8_t *data, size_t size, char path[64]) {
    static int fds[2] = {-1, -1};
    if (fds[slot] < 0) {
        fds[slot] = memfd_create("fuzz", MFD_CLOEXEC);
        FUZZ_CHECK(fds[slot] >= 0);
    }
    FUZZ_CHECK(ftruncate(fds[slot], 0) == 0 &&
               (size == 0 || pwrite(fds[slot], data, size, 0) == (ssize_t)size));
    snprintf(path, 64, "/proc/self/fd/%d", fds[slot]);
}

static void import_check_row(const read_row *row) {
    const pv__json_opts opts = {"metadata", PV__METADATA_BYTES_MAX, true};
    FUZZ_CHECK(row->dims > 0 && row->dims <= PV_LIMIT_DIMS);
    FUZZ_CHECK(row->id_kind != READ_ID_TEXT || row->id.len == 0 ||
               strlen(row->id.data) == row->id.len);
    if (row->metadata.len > 0) {
        pv__mem mem;
        pv__buf doc;
        pv_error err = PV_ERROR_INIT;
        pv__mem_init(&mem, NULL, 0);
        pv__buf_init(&doc, &mem);
        int rc = pv__json_read(&opts, row->metadata.data, row->metadata.len, &doc, &err);
        /* Numbers beyond a double and keys that come twice are the library's to refuse. */
        FUZZ_CHECK(rc == 0 || rc == PV_ERR_LIMIT || strstr(err.message, "number out of range") ||
                   strstr(err.message, "duplicate key"));
        pv__buf_done(&doc);
    }
}

static void import_options(reader_opts *o, uint8_t a, uint8_t b) {
    static const char *const formats[4] = {"jsonl", "csv", "npy", "fvecs"};
    static const int rests[4] = {READ_REST_REFUSE, READ_REST_METADATA, READ_REST_IGNORE,
                                 READ_REST_METADATA};
    *o = (reader_opts)READER_OPTS_INIT;
    o->format = formats[a & 3];
    o->rest = rests[a >> 2 & 3];
    o->keep_raw = a >> 4 & 1;
    o->delimiter = a & 0x20 ? ';' : a & 0x40 ? '\t' : ',';
    o->types = b & 1 ? "year=int,price=float,ok=bool,more=json" : b & 2 ? "year" : NULL;
    if (b & 4) {
        o->id = "key";
        o->vector = "v";
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64], second[64];
    reader_opts opts;
    reader rd;
    cli c;
    if (size < 4) {
        return 0;
    }
    size_t split = (size_t)data[2] | (size_t)data[3] << 8, rest = size - 4;
    split = split < rest ? split : rest;
    memset(&c, 0, sizeof c);
    import_options(&opts, data[0], data[1]);
    import_file(0, data + 4 + split, rest - split, path);
    opts.path = path;
    if (data[1] & 8) {
        import_file(1, data + 4, split, second);
        opts.sidecar = second;
    }
    int rc = reader_open(&c, &rd, &opts);
    if (rc != CLI_OK) {
        FUZZ_CHECK(rc == CLI_USAGE || rc == CLI_IO || rc == CLI_LIMIT);
        return 0;
    }
    int got = READ_ROW;
    for (size_t rows = 0; got == READ_ROW || got == READ_BAD; rows++) {
        FUZZ_CHECK(rows <= size);
        got = reader_next(&rd);
        FUZZ_CHECK(strlen(reader_where(&rd)) > 0);
        if (got == READ_ROW) {
            import_check_row(&rd.row);
        } else if (got != READ_END) {
            FUZZ_CHECK(rd.message[0] != 0);
        }
    }
    reader_close(&rd);
    return 0;
}
