/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_export.c - export: all records, or those that match a filter, in the order of their ids.
 *
 * One read transaction sees one state, however long it takes. What is written to a file stands
 * under its name only when it is complete and synced (FILE.part until then). JSON lines read back
 * by `import` give the same records bit for bit: floats are printed in the shortest form that
 * reads back as the same float. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "common/ex_element.h"

#define EXPORT_FLUSH_BYTES (1u << 20)

typedef enum export_format { EXPORT_JSONL, EXPORT_NPY, EXPORT_FVECS } export_format;

typedef struct export_file {
    const char *path; /* NULL: standard output */
    char *part;       /* path with ".part" */
    int fd;
    ex_buf buf;
} export_file;

typedef struct export_job {
    cli *c;
    pv_db *db;
    pv_txn *txn;
    const char *collection;
    const char *filter;
    export_format format;
    int no_vectors;
    pv_collection_info info;
    uint64_t count; /* records that match */
    uint64_t done;
    export_file data;
    export_file sidecar; /* --metadata: beside npy and fvecs */
    int has_sidecar;
} export_job;

static int export_file_open(cli *c, export_file *f, const char *path) {
    f->path = path;
    f->fd = STDOUT_FILENO;
    if (path == NULL) {
        return CLI_OK;
    }
    size_t len = strlen(path) + sizeof(".part");
    f->part = malloc(len);
    if (f->part == NULL) {
        return cli_fail(c, CLI_LIMIT, "out of memory");
    }
    (void)snprintf(f->part, len, "%s.part", path);
    f->fd = open(f->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return f->fd < 0 ? cli_fail(c, CLI_IO, "%s: %s", f->part, strerror(errno)) : CLI_OK;
}

static int export_file_flush(cli *c, export_file *f, size_t least) {
    if (f->buf.failed) {
        return cli_fail(c, CLI_LIMIT, "out of memory");
    }
    if (f->buf.len == 0 || f->buf.len < least) {
        return CLI_OK;
    }
    int failed = cli_write(f->fd, f->buf.data, f->buf.len);
    ex_buf_clear(&f->buf);
    if (failed == 0) {
        return CLI_OK;
    }
    if (failed == EPIPE && f->path == NULL) {
        return CLI_IO; /* the reader has seen enough */
    }
    return cli_fail(c, CLI_IO, "%s: %s", f->path != NULL ? f->path : "standard output",
                    strerror(failed));
}

/* Ends the file: with exit code 0 so far it gets its name, otherwise it goes away. */
static int export_file_close(cli *c, export_file *f, int rc) {
    rc = rc == CLI_OK ? export_file_flush(c, f, 0) : rc;
    if (f->part != NULL && f->fd >= 0) {
        int failed = rc == CLI_OK && fsync(f->fd) != 0 && errno != EINVAL ? errno : 0;
        failed = close(f->fd) != 0 && failed == 0 ? errno : failed;
        if (rc == CLI_OK && failed == 0 && rename(f->part, f->path) != 0) {
            failed = errno;
        }
        if (rc != CLI_OK || failed != 0) {
            (void)unlink(f->part);
        }
        if (rc == CLI_OK && failed != 0) {
            rc = cli_fail(c, CLI_IO, "%s: %s", f->path, strerror(failed));
        }
    }
    free(f->part);
    ex_buf_done(&f->buf);
    memset(f, 0, sizeof(*f));
    return rc;
}

static void export_put_u32(ex_buf *out, uint32_t value) {
    const unsigned char bytes[4] = {(unsigned char)(value & 255), (unsigned char)(value >> 8 & 255),
                                    (unsigned char)(value >> 16 & 255),
                                    (unsigned char)(value >> 24)};
    ex_buf_add(out, bytes, 4);
}

/* npy version 1.0; the header is padded with blanks to a multiple of 64 bytes. */
static void export_put_npy_header(export_job *job) {
    static const char *const descr[] = {"", "<f4", "<f2", "", "|i1", "|u1"};
    char text[192];
    ex_buf *out = &job->data.buf;
    int n = snprintf(text, sizeof(text),
                     "{'descr': '%s', 'fortran_order': False, 'shape': (%llu, %u), }",
                     descr[job->info.type], (unsigned long long)job->count,
                     job->info.type == PV_TYPE_BIT ? (job->info.dims + 7) / 8 : job->info.dims);
    size_t len = ((size_t)n + 1 + 10 + 63) / 64 * 64 - 10;
    ex_buf_add(out, "\x93NUMPY\x01\x00", 8);
    ex_buf_putc(out, (char)(len & 255));
    ex_buf_putc(out, (char)(len >> 8));
    ex_buf_add(out, text, (size_t)n);
    for (size_t i = (size_t)n; i + 1 < len; i++) {
        ex_buf_putc(out, ' ');
    }
    ex_buf_putc(out, '\n');
}

static void export_put_json(export_job *job, const pv_iter *it, ex_buf *out, int vectors) {
    size_t len = 0;
    uint32_t dims = 0;
    const void *vector = vectors ? pv_iter_vector(it, &dims) : NULL;
    const char *metadata = pv_iter_metadata(it, &len);
    ex_buf_puts(out, "{\"id\":");
    cli_put_id(out, pv_iter_id(it), pv_iter_id_u64(it));
    if (vector != NULL) {
        ex_buf_puts(out, ",\"vector\":");
        cli_put_vector(out, vector, job->info.type, dims);
    }
    ex_buf_puts(out, ",\"metadata\":");
    ex_buf_add(out, metadata != NULL ? metadata : "{}", metadata != NULL ? len : 2);
    ex_buf_puts(out, "}\n");
}

/* fvecs are f32 always, which has room for all other elements. */
static void export_put_fvecs(ex_buf *out, const void *vector, uint32_t type, uint32_t dims) {
    export_put_u32(out, dims);
    if (ex_buf_reserve(out, dims * sizeof(float)) == 0) {
        float numbers[64];
        for (uint32_t i = 0; i < dims; i += 64) {
            const unsigned char *from = (const unsigned char *)vector + ex_element_bytes(type, i);
            uint32_t n = dims - i < 64 ? dims - i : 64;
            ex_element_unpack(type, from, n, numbers);
            ex_buf_add(out, numbers, n * sizeof(float));
        }
    }
}

static void export_put_record(export_job *job, const pv_iter *it) {
    ex_buf *out = &job->data.buf;
    uint32_t dims = 0;
    if (job->format == EXPORT_JSONL) {
        export_put_json(job, it, out, !job->no_vectors);
        return;
    }
    const void *vector = pv_iter_vector(it, &dims);
    if (job->format == EXPORT_FVECS) {
        export_put_fvecs(out, vector, job->info.type, dims);
    } else { /* the machine is little endian, as pv.h asks */
        ex_buf_add(out, vector, ex_element_bytes(job->info.type, dims));
    }
    if (job->has_sidecar) {
        export_put_json(job, it, &job->sidecar.buf, 0);
    }
}

static int export_walk(export_job *job) {
    pv_iter_opts o = PV_ITER_OPTS_INIT;
    pv_iter *it = NULL;
    int rc = CLI_OK;
    int got;
    int vectors = job->format != EXPORT_JSONL || !job->no_vectors;
    o.include = PV_INCLUDE_METADATA | (vectors ? PV_INCLUDE_VECTOR : 0);
    o.filter = job->filter;
    if (pv_iter_open(job->db, job->txn, job->collection, &o, &it, &job->c->err) != PV_OK) {
        return cli_fail_pv(job->c);
    }
    while (rc == CLI_OK && (got = pv_iter_next(it, &job->c->err)) != 0) {
        if (got < 0) {
            rc = cli_fail_pv(job->c);
            break;
        }
        export_put_record(job, it);
        job->done++;
        rc = export_file_flush(job->c, &job->data, EXPORT_FLUSH_BYTES);
        rc = rc == CLI_OK ? export_file_flush(job->c, &job->sidecar, EXPORT_FLUSH_BYTES) : rc;
    }
    pv_iter_close(it);
    return rc;
}

static int export_run(export_job *job) {
    cli *c = job->c;
    if (pv_txn_begin(job->db, PV_TXN_READ, &job->txn, &c->err) != PV_OK ||
        pv_collection_info_get(job->db, job->txn, job->collection, &job->info, &c->err) != PV_OK ||
        pv_count(job->db, job->txn, job->collection, job->filter, &job->count, &c->err) != PV_OK) {
        return cli_fail_pv(c);
    }
    if (job->format == EXPORT_NPY) {
        export_put_npy_header(job);
    }
    int rc = export_walk(job);
    if (rc == CLI_OK && job->done != job->count) {
        rc = cli_fail(c, CLI_IO, "collection '%s' counts %llu records, the walk found %llu",
                      job->collection, (unsigned long long)job->count,
                      (unsigned long long)job->done);
    }
    return rc;
}

static int export_pick_format(export_job *job, const char *format, const char *path) {
    static const char *const names[] = {"jsonl", "npy", "fvecs"};
    if (format == NULL && path != NULL) {
        const char *dot = strrchr(path, '.');
        format = dot != NULL ? dot + 1 : NULL;
        format = format != NULL && strcmp(format, "ndjson") == 0 ? "jsonl" : format;
    } else if (format == NULL) {
        format = "jsonl";
    }
    for (int i = 0; format != NULL && i < 3; i++) {
        if (strcmp(format, names[i]) == 0) {
            job->format = (export_format)i;
            return CLI_OK;
        }
    }
    return cli_fail(job->c, CLI_USAGE, "--format wants jsonl, npy or fvecs");
}

static int export_check_args(export_job *job, const char *format, const char *path,
                             const char *sidecar) {
    int rc = export_pick_format(job, format, path);
    if (rc != CLI_OK) {
        return rc;
    }
    if (sidecar != NULL && job->format == EXPORT_JSONL) {
        return cli_fail(job->c, CLI_USAGE, "--metadata goes with npy and fvecs");
    }
    if (job->no_vectors && job->format != EXPORT_JSONL) {
        return cli_fail(job->c, CLI_USAGE, "--no-vectors goes with jsonl");
    }
    return CLI_OK;
}

static void export_summary(export_job *job, const char *path) {
    if (path == NULL || job->c->quiet) {
        return; /* standard output is the data */
    }
    cli_put_format(&job->c->out, job->c->json ? "{\"exported\":%llu}\n" : "exported %llu records\n",
                   (unsigned long long)job->done);
}

int cmd_export(cli *c, int argc, char **argv) {
    export_job job = {.c = c, .info = PV_COLLECTION_INFO_INIT, .data.fd = -1, .sidecar.fd = -1};
    const char *format = NULL;
    const char *sidecar = NULL;
    const cli_option options[] = {
        {"format", 0, CLI_TEXT, (void *)&format, NULL},
        {"filter", 'f', CLI_TEXT, (void *)&job.filter, NULL},
        {"metadata", 0, CLI_TEXT, (void *)&sidecar, NULL},
        {"no-vectors", 0, CLI_FLAG, &job.no_vectors, NULL},
    };
    cli_args args;
    int rc = cli_parse(c, argc, argv, options, 4, 2, 3, &args);
    if (rc != CLI_OK || c->help) {
        return rc;
    }
    const char *path = args.count == 3 && strcmp(args.at[2], "-") != 0 ? args.at[2] : NULL;
    job.collection = args.at[1];
    job.has_sidecar = sidecar != NULL;
    rc = export_check_args(&job, format, path, sidecar);
    rc = rc == CLI_OK ? cli_open(c, args.at[0], CLI_READ, &job.db) : rc;
    if (rc != CLI_OK) {
        return rc;
    }
    rc = export_file_open(c, &job.data, path);
    if (rc == CLI_OK && sidecar != NULL) {
        rc = export_file_open(c, &job.sidecar, sidecar);
    }
    rc = rc == CLI_OK ? export_run(&job) : rc;
    rc = export_file_close(c, &job.sidecar, rc);
    rc = export_file_close(c, &job.data, rc);
    if (rc == CLI_OK) {
        export_summary(&job, path);
    }
    pv_txn_rollback(job.txn);
    return cli_close(c, job.db, rc);
}
