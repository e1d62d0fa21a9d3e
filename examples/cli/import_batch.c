/* SPDX-License-Identifier: Apache-2.0 */
/* import_batch.c - the columns of a batch, its transaction, and its acknowledgement.
 *
 * Order that the promise rests on: the writing call returns (the batch is durable), and only then
 * its line goes to the acknowledgement. Whoever reads that line may rely on the rows. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/import.h"
#include "common/ex_element.h"

void import_batch_done(import_batch *b) {
    ex_buf_done(&b->vectors);
    ex_buf_done(&b->ids);
    ex_buf_done(&b->metadata);
    ex_buf_done(&b->raw);
    free(b->ids_u64);
    free(b->id_at);
    free(b->metadata_at);
    free(b->raw_at);
    free(b->places);
    memset(b, 0, sizeof(*b));
}

static int batch_grow_column(uint64_t **column, size_t cap) {
    uint64_t *grown = realloc(*column, (cap + 1) * sizeof(uint64_t));
    if (grown == NULL) {
        return -1;
    }
    *column = grown;
    return 0;
}

static int batch_grow(import_batch *b) {
    if (b->count < b->cap) {
        return 0;
    }
    size_t cap = b->cap * 2 + 64;
    if (batch_grow_column(&b->ids_u64, cap) || batch_grow_column(&b->id_at, cap) ||
        batch_grow_column(&b->metadata_at, cap) || batch_grow_column(&b->raw_at, cap) ||
        batch_grow_column(&b->places, cap)) {
        return -1;
    }
    b->cap = cap;
    return 0;
}

int import_batch_add(import_job *job) {
    import_batch *b = &job->batch;
    const read_row *row = &job->rd.row;
    size_t i = b->count;
    if (batch_grow(b) != 0) {
        return cli_fail(job->c, CLI_LIMIT, "out of memory");
    }
    b->ids_u64[i] = row->id_kind == READ_ID_NONE ? PV_ID_NONE : row->id_u64;
    b->id_at[i] = b->ids.len;
    b->metadata_at[i] = b->metadata.len;
    b->raw_at[i] = b->raw.len;
    b->places[i] = row->line > 0 ? row->line : row->number;
    ex_buf_add(&b->vectors, job->element, ex_element_bytes(job->info.type, row->dims));
    ex_buf_add(&b->ids, row->id.data, row->id.len);
    ex_buf_add(&b->metadata, row->metadata.data, row->metadata.len);
    ex_buf_add(&b->raw, row->raw.data, row->raw.len);
    if (b->vectors.failed || b->ids.failed || b->metadata.failed || b->raw.failed) {
        return cli_fail(job->c, CLI_LIMIT, "out of memory");
    }
    b->count++;
    b->id_at[b->count] = b->ids.len;
    b->metadata_at[b->count] = b->metadata.len;
    b->raw_at[b->count] = b->raw.len;
    return CLI_OK;
}

int import_batch_full(const import_job *job) {
    const import_batch *b = &job->batch;
    return b->count >= job->batch_rows ||
           b->vectors.len + b->ids.len + b->metadata.len + b->raw.len >= IMPORT_BATCH_BYTES_MAX;
}

static void batch_clear(import_batch *b) {
    b->count = 0;
    ex_buf_clear(&b->vectors);
    ex_buf_clear(&b->ids);
    ex_buf_clear(&b->metadata);
    ex_buf_clear(&b->raw);
}

/* Takes string `i` out of a buffer with offsets. */
static void batch_cut(ex_buf *buf, uint64_t *at, size_t count, size_t i) {
    uint64_t len = at[i + 1] - at[i];
    if (buf->data != NULL) {
        memmove(buf->data + at[i], buf->data + at[i + 1], buf->len - (size_t)at[i + 1]);
    }
    buf->len -= (size_t)len;
    for (size_t k = i; k < count; k++) {
        at[k] = at[k + 1] - len;
    }
}

static void batch_remove(import_batch *b, size_t i, size_t vector_bytes) {
    char *v = b->vectors.data + i * vector_bytes;
    size_t behind = b->count - i - 1;
    memmove(v, v + vector_bytes, behind * vector_bytes);
    b->vectors.len -= vector_bytes;
    memmove(b->ids_u64 + i, b->ids_u64 + i + 1, behind * sizeof(uint64_t));
    memmove(b->places + i, b->places + i + 1, behind * sizeof(uint64_t));
    batch_cut(&b->ids, b->id_at, b->count, i);
    batch_cut(&b->metadata, b->metadata_at, b->count, i);
    batch_cut(&b->raw, b->raw_at, b->count, i);
    b->count--;
}

static int batch_acknowledge(import_job *job, const pv_results *ids) {
    ex_buf line = {0};
    if (job->ack_fd < 0) {
        return CLI_OK;
    }
    cli_put_format(&line, "{\"batch\":%llu,\"ids\":[", (unsigned long long)job->batches);
    for (size_t i = 0; i < pv_results_count(ids); i++) {
        ex_buf_puts(&line, i > 0 ? "," : "");
        cli_put_id(&line, pv_results_id(ids, i), pv_results_id_u64(ids, i));
    }
    ex_buf_puts(&line, "]}\n");
    int failed = line.failed ? ENOMEM : cli_write(job->ack_fd, line.data, line.len);
    ex_buf_done(&line);
    return failed ? cli_fail(job->c, CLI_IO, "cannot acknowledge: %s", strerror(failed)) : CLI_OK;
}

static int batch_send(import_job *job, pv_results **out_ids) {
    import_batch *b = &job->batch;
    pv_batch p = PV_BATCH_INIT;
    pv_write_opts w = PV_WRITE_OPTS_INIT;
    p.count = b->count;
    p.vectors = b->vectors.data;
    p.dims = job->info.dims;
    p.type = job->info.type;
    if (job->info.key == PV_KEY_U64) {
        p.ids_u64 = b->ids_u64;
    } else {
        p.id_data = b->ids.data != NULL ? b->ids.data : "";
        p.id_offsets = b->id_at;
    }
    p.metadata_data = b->metadata.data != NULL ? b->metadata.data : "";
    p.metadata_offsets = b->metadata_at;
    w.out_ids = job->ack_fd >= 0 ? out_ids : NULL;
    job->c->err.record_index = UINT64_MAX;
    return job->upsert ? pv_upsert_batch(job->db, job->txn, job->collection, &p, &w, &job->c->err)
                       : pv_insert_batch(job->db, job->txn, job->collection, &p, &w, &job->c->err);
}

/* The library refused row i of the batch: reject it, and go on with the others. */
static int batch_drop_refused(import_job *job, size_t i) {
    import_batch *b = &job->batch;
    char where[512];
    uint64_t place = b->places[i];
    const char *path = strcmp(job->rd.o.path, "-") == 0 ? "stdin" : job->rd.o.path;
    (void)snprintf(where, sizeof(where), job->rd.row.line > 0 ? "%.400s:%llu" : "%.400s: row %llu",
                   path, (unsigned long long)place);
    int code = cli_exit_code(job->c->err.code);
    int rc = import_reject(job, where, place, job->c->err.message,
                           b->raw.data != NULL ? b->raw.data + b->raw_at[i] : NULL,
                           (size_t)(b->raw_at[i + 1] - b->raw_at[i]));
    if (rc != CLI_OK) {
        return rc == CLI_USAGE ? code : rc;
    }
    batch_remove(b, i, ex_element_bytes(job->info.type, job->info.dims));
    return CLI_OK;
}

int import_batch_write(import_job *job) {
    import_batch *b = &job->batch;
    pv_results *ids = NULL;
    while (b->count > 0 && !job->dry_run) {
        if (batch_send(job, &ids) == PV_OK) {
            break;
        }
        if (job->c->err.record_index >= b->count) {
            return cli_fail_pv(job->c);
        }
        int rc = batch_drop_refused(job, (size_t)job->c->err.record_index);
        if (rc != CLI_OK) {
            return rc;
        }
    }
    int rc = CLI_OK;
    if (b->count > 0) {
        job->imported += b->count;
        job->batches++;
        rc = job->strict || job->dry_run ? CLI_OK : batch_acknowledge(job, ids);
    }
    pv_results_free(ids);
    batch_clear(b);
    return rc;
}
