/* SPDX-License-Identifier: Apache-2.0 */
/* import.h - between the files of `import`: the batch that is being filled, what is done with bad
 * rows, acknowledgements and progress. */
#ifndef CLI_IMPORT_H
#define CLI_IMPORT_H

#include <stdint.h>

#include "cli/cli.h"
#include "cli/read.h"

/* A batch in columns, as pv_upsert_batch takes it. Rows are appended and, when the library names
 * a bad one, taken out again. */
typedef struct import_batch {
    size_t count;
    size_t cap;        /* of the arrays below */
    ex_buf vectors;    /* count vectors, as they are stored */
    uint64_t *ids_u64; /* number keys */
    ex_buf ids;        /* text keys, one behind the other */
    uint64_t *id_at;   /* count + 1 offsets into ids */
    ex_buf metadata;
    uint64_t *metadata_at;
    ex_buf raw; /* text of the rows, kept for the rejects file */
    uint64_t *raw_at;
    uint64_t *places; /* line or row number of each, for messages */
} import_batch;

typedef struct import_progress {
    int on; /* standard error is a terminal, and not --quiet */
    uint64_t begin_us;
    uint64_t shown_us;
    int shown;
} import_progress;

typedef struct import_job {
    cli *c;
    pv_db *db;
    pv_txn *txn; /* --strict: all in one */
    const char *collection;
    pv_collection_info info; /* dims 0: not there yet, the first row makes it */
    reader rd;
    import_batch batch;
    import_progress progress;
    uint64_t batch_rows; /* --batch */
    uint64_t skip;       /* --skip: rows passed over */
    uint64_t limit;      /* --limit: rows read after those; 0: all */
    int upsert;
    int strict;
    int skip_bad;
    int dry_run;
    int create;
    uint32_t metric;
    uint32_t type;
    uint32_t key;
    unsigned char element[PV_LIMIT_DIMS * 4]; /* the row's vector, as it is stored */
    int ack_fd;                               /* -1: none */
    int rejects_fd;                           /* -1: none */
    uint64_t imported;
    uint64_t rejected;
    uint64_t batches;
} import_job;

#define IMPORT_BATCH_BYTES_MAX (64u << 20) /* a batch is cut when it has grown to this */

/* Appends the reader's row. CLI_OK, or an exit code after a message. */
int import_batch_add(import_job *job);
int import_batch_full(const import_job *job);
/* Writes what is there in one transaction (or in the one of --strict), then acknowledges. */
int import_batch_write(import_job *job);
void import_batch_done(import_batch *b);

/* A bad row: ends the import, or counts and records it under --skip-bad. `id` may be NULL. */
int import_reject(import_job *job, const char *where, uint64_t place, const char *message,
                  const char *raw, size_t raw_len);

uint64_t import_now_us(void);
void import_progress_begin(import_job *job);
void import_progress_show(import_job *job, int last);

#endif
