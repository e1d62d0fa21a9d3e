/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_import.c - import: rows from a file or standard input, batch by batch.
 *
 *      reader -> check the row -> batch -> one transaction -> acknowledgement
 *
 * What happens at a bad row: by default the import stops there (batches committed before it
 * stay); --skip-bad goes on and records it; --strict is one transaction for everything, so that a
 * bad row leaves nothing imported. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "cli/import.h"
#include "common/ex_element.h"

#define IMPORT_BATCH_ROWS 1000
#define IMPORT_CACHE_MIB 128 /* enough to write with, whatever the size of the file */

typedef struct import_args {
    reader_opts rd;
    const char *rest;
    const char *delimiter;
    const char *metric;
    const char *type;
    const char *key;
    const char *ack;
    const char *rejects;
    uint64_t ack_fd;
    int ack_fd_given;
} import_args;

static int import_rest(import_job *job, import_args *a) {
    static const char *const names[] = {"refuse", "metadata", "ignore"};
    if (a->rest == NULL) {
        /* Beside an array of vectors, the other members of a line are what is wanted. */
        a->rd.rest = a->rd.sidecar != NULL ? READ_REST_METADATA : READ_REST_REFUSE;
        return CLI_OK;
    }
    for (int i = 0; i < 3; i++) {
        if (strcmp(a->rest, names[i]) == 0) {
            a->rd.rest = i;
            return CLI_OK;
        }
    }
    return cli_fail(job->c, CLI_USAGE, "--rest wants refuse, metadata or ignore, not '%s'",
                    a->rest);
}

static int import_check_args(import_job *job, import_args *a) {
    int rc = cli_metric(job->c, a->metric, &job->metric);
    rc = rc == CLI_OK ? cli_type(job->c, a->type, &job->type) : rc;
    rc = rc == CLI_OK ? cli_key(job->c, a->key, &job->key) : rc;
    rc = rc == CLI_OK ? import_rest(job, a) : rc;
    if (rc != CLI_OK) {
        return rc;
    }
    if (job->strict && job->skip_bad) {
        return cli_fail(job->c, CLI_USAGE, "--strict and --skip-bad contradict each other");
    }
    if (a->rejects != NULL && !job->skip_bad) {
        return cli_fail(job->c, CLI_USAGE, "--rejects goes with --skip-bad");
    }
    if ((a->metric != NULL || a->type != NULL || a->key != NULL) && !job->create) {
        return cli_fail(job->c, CLI_USAGE, "--metric, --type and --key go with --create");
    }
    if (job->batch_rows == 0 || job->batch_rows > PV_LIMIT_BATCH_RECORDS) {
        return cli_fail(job->c, CLI_LIMIT, "--batch wants 1 to %d rows", PV_LIMIT_BATCH_RECORDS);
    }
    if (a->delimiter != NULL && strcmp(a->delimiter, "tab") == 0) {
        a->rd.delimiter = '\t';
    } else if (a->delimiter != NULL) {
        if (strlen(a->delimiter) != 1 || strchr("\"\r\n", a->delimiter[0]) != NULL) {
            return cli_fail(job->c, CLI_USAGE, "--delimiter wants one character, or tab");
        }
        a->rd.delimiter = a->delimiter[0];
    }
    if (a->ack != NULL && a->ack_fd_given) {
        return cli_fail(job->c, CLI_USAGE, "--ack and --ack-fd contradict each other");
    }
    return CLI_OK;
}

static int import_create_file(cli *c, const char *path, int *out_fd) {
    *out_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return *out_fd < 0 ? cli_fail(c, CLI_IO, "%s: %s", path, strerror(errno)) : CLI_OK;
}

static int import_open_outputs(import_job *job, const import_args *a) {
    int rc = CLI_OK;
    if (a->ack_fd_given) {
        job->ack_fd = a->ack_fd > 1048576 ? -1 : (int)a->ack_fd;
        if (job->ack_fd < 0 || fcntl(job->ack_fd, F_GETFD) < 0) {
            return cli_fail(job->c, CLI_USAGE, "--ack-fd %llu is not open",
                            (unsigned long long)a->ack_fd);
        }
    }
    if (a->ack != NULL) {
        rc = import_create_file(job->c, a->ack, &job->ack_fd);
    }
    if (rc == CLI_OK && a->rejects != NULL) {
        rc = import_create_file(job->c, a->rejects, &job->rejects_fd);
    }
    return rc;
}

/* The collection as it is; dims stays 0 where --create is to make it from the first row. */
static int import_find(import_job *job) {
    int failed = PV_ERR_NOTFOUND;
    if (job->db != NULL) {
        failed =
            pv_collection_info_get(job->db, job->txn, job->collection, &job->info, &job->c->err);
    }
    if (failed == PV_ERR_NOTFOUND && job->create) {
        job->info.dims = 0;
        job->info.key = job->key;
        job->info.type = job->type;
        return CLI_OK;
    }
    return failed ? cli_fail_pv(job->c) : CLI_OK;
}

static int import_make(import_job *job) {
    pv_collection_opts o = PV_COLLECTION_OPTS_INIT;
    o.dims = (uint32_t)job->rd.row.dims;
    o.metric = job->metric;
    o.type = job->type;
    o.key = job->key;
    job->info.dims = o.dims;
    if (job->dry_run) {
        return CLI_OK;
    }
    int failed = pv_collection_ensure(job->db, job->txn, job->collection, &o, &job->c->err);
    return failed ? cli_fail_pv(job->c) : CLI_OK;
}

/* Brings the id into the form the collection wants. READ_ROW or READ_BAD. */
static int import_fit_id(import_job *job) {
    read_row *row = &job->rd.row;
    int wants_number = job->info.key == PV_KEY_U64;
    if (row->id_kind == READ_ID_ROW && !wants_number) {
        ex_buf_u64(&row->id, row->id_u64);
    } else if (row->id_kind == READ_ID_TEXT && wants_number) {
        int is_csv = job->rd.csv != NULL; /* cells have no type of their own */
        if (!is_csv || cli_number(row->id.data != NULL ? row->id.data : "", &row->id_u64) != 0) {
            return read_say(&job->rd, READ_BAD, "the id is text, the collection's are numbers");
        }
        ex_buf_clear(&row->id);
    } else if (row->id_kind == READ_ID_NUMBER && !wants_number) {
        return read_say(&job->rd, READ_BAD, "the id is a number, the collection's are text");
    }
    if (wants_number && row->id_kind != READ_ID_NONE && row->id_u64 == PV_ID_NONE) {
        return read_say(&job->rd, READ_BAD, "the id is above 2^64 - 2");
    }
    if (row->id_kind == READ_ID_TEXT && !wants_number && row->id.len == 0) {
        return read_say(&job->rd, READ_BAD, "the id is empty");
    }
    if (row->id.len > PV_LIMIT_ID_BYTES) {
        return read_say(&job->rd, READ_BAD, "the id has %zu bytes, the limit is %d", row->id.len,
                        PV_LIMIT_ID_BYTES);
    }
    return READ_ROW;
}

/* Rows of bytes of 8 bits: how many of the last are elements, the collection knows. */
static int import_fit_packed(import_job *job) {
    read_row *row = &job->rd.row;
    size_t end = job->info.dims != 0 ? job->info.dims : row->dims;
    if (job->info.type != PV_TYPE_BIT) {
        return read_say(&job->rd, READ_BAD, "elements are bits, 8 a byte; the collection's are %s",
                        cli_type_name(job->info.type));
    }
    if (end > row->dims || row->dims - end > 7) {
        return READ_ROW; /* a wrong number of dimensions */
    }
    for (size_t i = end; i < row->dims; i++) {
        if (row->vector[i] != 0) {
            return read_say(&job->rd, READ_BAD, "bit %zu is set, behind the last", i);
        }
    }
    row->dims = end;
    return READ_ROW;
}

/* Can the collection's elements take these numbers? */
static int import_fit_vector(import_job *job) {
    const read_row *row = &job->rd.row;
    size_t bad = 0;
    for (size_t i = 0; i < row->dims; i++) {
        if (!isfinite(row->vector[i])) {
            return read_say(&job->rd, READ_BAD, "element %zu of the vector is not finite", i);
        }
    }
    if (ex_element_pack(job->info.type, row->vector, row->dims, job->element, &bad) != 0) {
        return read_say(&job->rd, READ_BAD, "element %zu of the vector is %g, wanted %s", bad,
                        (double)row->vector[bad], ex_element_wanted(job->info.type));
    }
    return READ_ROW;
}

/* What the library would refuse is found here, where the line is still known. */
static int import_check_row(import_job *job) {
    const read_row *row = &job->rd.row;
    if (row->packed) {
        int got = import_fit_packed(job);
        if (got != READ_ROW) {
            return got;
        }
    }
    if (job->info.dims != 0 && row->dims != job->info.dims) {
        return read_say(&job->rd, READ_BAD,
                        "vector has %zu dimensions, collection '%.100s' wants %u", row->dims,
                        job->collection, job->info.dims);
    }
    int got = import_fit_vector(job);
    if (got != READ_ROW) {
        return got;
    }
    if (row->metadata.len > PV_LIMIT_METADATA_BYTES) {
        return read_say(&job->rd, READ_BAD, "metadata has %zu bytes, the limit is %d",
                        row->metadata.len, PV_LIMIT_METADATA_BYTES);
    }
    return import_fit_id(job);
}

static int import_row(import_job *job, int got) {
    reader *rd = &job->rd;
    if (got == READ_ROW) {
        got = import_check_row(job);
    }
    if (got == READ_BAD) {
        return import_reject(job, reader_where(rd),
                             rd->row.line > 0 ? rd->row.line : rd->row.number, rd->message,
                             rd->row.raw.data, rd->row.raw.len);
    }
    if (job->info.dims == 0) {
        int rc = import_make(job);
        if (rc != CLI_OK) {
            return rc;
        }
    }
    int rc = import_batch_add(job);
    return rc == CLI_OK && import_batch_full(job) ? import_batch_write(job) : rc;
}

static int import_rows(import_job *job) {
    int rc = CLI_OK;
    uint64_t seen = 0;
    while (rc == CLI_OK && (job->limit == 0 || seen < job->limit)) {
        int got = reader_next(&job->rd);
        if (got == READ_END) {
            break;
        }
        if (got == READ_FATAL) {
            (void)cli_fail(job->c, job->rd.exit_code, "%s: %s", reader_where(&job->rd),
                           job->rd.message);
            return job->rd.exit_code;
        }
        if (job->rd.rows <= job->skip) {
            continue;
        }
        seen++;
        rc = import_row(job, got);
        import_progress_show(job, 0);
    }
    return rc == CLI_OK ? import_batch_write(job) : rc;
}

/* Ends the transaction of --strict. */
static int import_finish(import_job *job, int rc) {
    pv_txn *txn = job->txn;
    job->txn = NULL;
    if (txn == NULL) {
        return rc;
    }
    if (rc != CLI_OK) {
        pv_txn_rollback(txn);
        job->imported = 0;
        job->batches = 0;
        return rc;
    }
    if (pv_txn_commit(txn, NULL, &job->c->err) != PV_OK) {
        job->imported = 0;
        return cli_fail_pv(job->c);
    }
    return CLI_OK;
}

static void import_summary(import_job *job, int rc) {
    cli *c = job->c;
    double seconds = (double)(import_now_us() - job->progress.begin_us) / 1e6;
    import_progress_show(job, 1);
    if (c->json) {
        cli_put_format(&c->out,
                       "{\"imported\":%llu,\"rejected\":%llu,\"rows\":%llu,\"batches\":%llu,"
                       "\"complete\":%s,\"dry_run\":%s,\"seconds\":%.6f}\n",
                       (unsigned long long)job->imported, (unsigned long long)job->rejected,
                       (unsigned long long)job->rd.rows, (unsigned long long)job->batches,
                       rc == CLI_OK ? "true" : "false", job->dry_run ? "true" : "false", seconds);
    } else if (!c->quiet) {
        cli_put_format(&c->out, "%s %llu records in %llu batches, %llu rejected, %.2f s\n",
                       job->dry_run ? "checked" : "imported", (unsigned long long)job->imported,
                       (unsigned long long)job->batches, (unsigned long long)job->rejected,
                       seconds);
    }
}

/* A dry run creates nothing: with --create the database may be missing, db is then NULL. */
static int import_open(import_job *job, const char *path) {
    if (!job->dry_run) {
        return cli_open(job->c, path, job->create ? CLI_CREATE : CLI_WRITE, &job->db);
    }
    if (job->create && access(path, F_OK) != 0) {
        return CLI_OK;
    }
    return cli_open(job->c, path, CLI_READ, &job->db);
}

static int import_run(import_job *job, const import_args *a, const char *path) {
    int rc = reader_open(job->c, &job->rd, &a->rd);
    if (rc != CLI_OK) {
        return rc;
    }
    rc = import_open_outputs(job, a);
    rc = rc == CLI_OK ? import_open(job, path) : rc;
    if (rc == CLI_OK && job->strict && !job->dry_run &&
        pv_txn_begin(job->db, PV_TXN_WRITE, &job->txn, &job->c->err) != PV_OK) {
        rc = cli_fail_pv(job->c);
    }
    rc = rc == CLI_OK ? import_find(job) : rc;
    if (rc == CLI_OK) {
        import_progress_begin(job);
        rc = import_rows(job);
        rc = import_finish(job, rc);
        import_summary(job, rc);
    }
    pv_txn_rollback(job->txn);
    rc = job->db != NULL ? cli_close(job->c, job->db, rc) : rc;
    import_batch_done(&job->batch);
    reader_close(&job->rd);
    if (job->rejects_fd >= 0 && close(job->rejects_fd) != 0 && rc == CLI_OK) {
        rc = cli_fail(job->c, CLI_IO, "%s: %s", a->rejects, strerror(errno));
    }
    if (a->ack != NULL && job->ack_fd >= 0) {
        (void)close(job->ack_fd);
    }
    return rc;
}

int cmd_import(cli *c, int argc, char **argv) {
    import_job job = {.c = c,
                      .info = PV_COLLECTION_INFO_INIT,
                      .ack_fd = -1,
                      .rejects_fd = -1,
                      .batch_rows = IMPORT_BATCH_ROWS,
                      .rd.in.fd = -1};
    import_args a = {.rd = READER_OPTS_INIT};
    const cli_option options[] = {
        {"format", 0, CLI_TEXT, (void *)&a.rd.format, NULL},
        {"id-field", 0, CLI_TEXT, (void *)&a.rd.id, NULL},
        {"vector-field", 0, CLI_TEXT, (void *)&a.rd.vector, NULL},
        {"metadata-field", 0, CLI_TEXT, (void *)&a.rd.metadata, NULL},
        {"rest", 0, CLI_TEXT, (void *)&a.rest, NULL},
        {"metadata", 0, CLI_TEXT, (void *)&a.rd.sidecar, NULL},
        {"types", 0, CLI_TEXT, (void *)&a.rd.types, NULL},
        {"delimiter", 0, CLI_TEXT, (void *)&a.delimiter, NULL},
        {"batch", 'b', CLI_U64, &job.batch_rows, NULL},
        {"skip", 0, CLI_U64, &job.skip, NULL},
        {"limit", 0, CLI_U64, &job.limit, NULL},
        {"upsert", 0, CLI_FLAG, &job.upsert, NULL},
        {"strict", 0, CLI_FLAG, &job.strict, NULL},
        {"skip-bad", 0, CLI_FLAG, &job.skip_bad, NULL},
        {"rejects", 0, CLI_TEXT, (void *)&a.rejects, NULL},
        {"dry-run", 0, CLI_FLAG, &job.dry_run, NULL},
        {"create", 0, CLI_FLAG, &job.create, NULL},
        {"metric", 0, CLI_TEXT, (void *)&a.metric, NULL},
        {"type", 0, CLI_TEXT, (void *)&a.type, NULL},
        {"key", 0, CLI_TEXT, (void *)&a.key, NULL},
        {"ack", 0, CLI_TEXT, (void *)&a.ack, NULL},
        {"ack-fd", 0, CLI_U64, &a.ack_fd, &a.ack_fd_given},
    };
    cli_args args;
    int rc = cli_parse(c, argc, argv, options, sizeof(options) / sizeof(options[0]), 3, 3, &args);
    if (rc != CLI_OK || c->help) {
        return rc;
    }
    rc = import_check_args(&job, &a);
    if (rc != CLI_OK) {
        return rc;
    }
    job.collection = args.at[1];
    c->cache_mib = c->cache_mib == 0 ? IMPORT_CACHE_MIB : c->cache_mib;
    a.rd.path = args.at[2];
    a.rd.keep_raw = a.rejects != NULL;
    return import_run(&job, &a, args.at[0]);
}
