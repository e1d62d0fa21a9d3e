/* SPDX-License-Identifier: Apache-2.0 */
/* ann_pv.c - Piramid under the protocol of ann.h, through pv.h alone: a file with the default sync
 * level, string ids, closed after building and opened again for the searches.
 *
 * Parameters beside those of ann.h: index=auto|flat|hnsw, code=auto|f32|sq8|q4|b1|f16|pq, ratio and
 * bits (of pq), efc, batch (rows in
 * one call, each call a transaction; default all that a call takes), cache (MB; default the
 * library's choice), tr (per cent of recall asked for where ef is 0; default the library's),
 * writer=N (all the while another thread deletes rows of a copy of the file and inserts them again,
 * N of either a second, each a transaction of its own with the default sync level; one row at a
 * time is missing).
 *
 * A library without an index gets index=flat and no ef. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ann.h"
#include "pv.h"

#define OWN_ID "doc-%09u"
#define OWN_ID_BYTES 13u
#define OWN_NAME "base"

typedef struct own_index {
    pv_db *db;
    pv_query query;
    pthread_t writer;
    atomic_int stop;              /* relaxed: only a wish */
    atomic_uint_fast64_t written; /* commits; relaxed: counted by one thread */
    uint64_t seen;                /* of them, when they were last told, */
    double since;                 /* and when that was */
    unsigned long pace;           /* commits a second that are wished for */
    const ann_job *job;
    char copy[4096]; /* the writer's file; empty without one */
} own_index;

static void own_check(int rc, const pv_error *err, const char *what) {
    if (rc < 0) {
        ann_die("%s: %s (%s)", what, err->message, pv_error_text(rc));
    }
}

static const char *own_version(void) { return pv_version_string(); }

/* The value of a parameter that is one of a few words, as its place in them. */
static uint32_t own_word(const ann_job *job, const char *key, const char *const *words) {
    char buffer[ANN_PARAM_BYTES];
    const char *text = ann_param(job, key, words[0], buffer);
    for (uint32_t i = 0; words[i]; i++) {
        if (strcmp(text, words[i]) == 0) {
            return i;
        }
    }
    ann_die("%s=%s is not known", key, text);
}

static void own_collection(const ann_job *job, pv_collection_opts *c) {
    static const char *const indexes[] = {"auto", "flat", "hnsw", "ivf", NULL};
    static const char *const codes[] = {"auto", "f32", "sq8", "q4", "b1", "f16", "pq", NULL};
    const uint32_t index = own_word(job, "index", indexes), code = own_word(job, "code", codes);
    c->dims = (uint32_t)job->dims;
    c->metric = job->metric == ANN_L2   ? PV_METRIC_L2
                : job->metric == ANN_IP ? PV_METRIC_DOT
                                        : PV_METRIC_COSINE;
#ifdef PV_INDEX_HNSW
    c->index = index == 1   ? PV_INDEX_FLAT
               : index == 2 ? PV_INDEX_HNSW
               : index == 3 ? PV_INDEX_IVF
                            : PV_INDEX_AUTO;
    c->code = code == 1   ? PV_CODE_F32
              : code == 2 ? PV_CODE_SQ8
              : code == 3 ? PV_CODE_Q4
              : code == 4 ? PV_CODE_B1
              : code == 5 ? PV_CODE_F16
              : code == 6 ? PV_CODE_PQ
                          : PV_CODE_AUTO;
    c->ef_construction = (uint32_t)ann_number(job, "efc", 0);
    c->compression = (uint32_t)ann_number(job, "ratio", 0);
    c->code_bits = (uint32_t)ann_number(job, "bits", 0);
#else
    (void)code;
    if (index >= 2) {
        ann_die("this library has no index");
    }
#endif
}

static pv_db *own_open(const ann_job *job, const char *path, unsigned threads) {
    pv_error err = PV_ERROR_INIT;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv_db *db = NULL;
    o.threads = threads;
    o.cache_bytes = (uint64_t)ann_number(job, "cache", 0) * 1000000u;
    own_check(pv_open(path, &o, &db, &err), &err, "open");
    return db;
}

/* ---- building -------------------------------------------------------------------------------- */

static double own_build(const ann_job *job, const float *base) {
    const size_t all = job->rows < PV_LIMIT_BATCH_RECORDS ? job->rows : PV_LIMIT_BATCH_RECORDS;
    const size_t most = ann_number(job, "batch", all);
    pv_error err = PV_ERROR_INIT;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    char *ids = malloc(most * OWN_ID_BYTES + 1);
    uint64_t *offsets = malloc((most + 1) * sizeof *offsets);
    if (!ids || !offsets || most < 1) {
        ann_die("batch=%zu is not possible", most);
    }
    own_collection(job, &c);
    const double start = ann_seconds(job);
    pv_db *db = own_open(job, job->path, job->threads);
    own_check(pv_collection_create(db, NULL, OWN_NAME, &c, &err), &err, "create");
    for (size_t at = 0; at < job->rows; at += most) {
        pv_batch b = PV_BATCH_INIT;
        b.count = job->rows - at < most ? job->rows - at : most;
        for (size_t i = 0; i <= b.count; i++) {
            offsets[i] = i * OWN_ID_BYTES;
            if (i < b.count) {
                snprintf(ids + offsets[i], OWN_ID_BYTES + 1, OWN_ID,
                         (unsigned)(at + i) % 1000000000u);
            }
        }
        b.vectors = base + at * job->dims;
        b.dims = (uint32_t)job->dims;
        b.id_data = ids;
        b.id_offsets = offsets;
        own_check(pv_insert_batch(db, NULL, OWN_NAME, &b, NULL, &err), &err, "insert");
    }
    own_check(pv_close(db, &err), &err, "close");
    const double seconds = ann_seconds(job) - start;
    free(ids);
    free(offsets);
    return seconds;
}

/* ---- a writer beside ------------------------------------------------------------------------- */

static void own_copy(const char *from, const char *to) {
    char block[65536];
    size_t n;
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    while (in && out && (n = fread(block, 1, sizeof block, in)) > 0) {
        if (fwrite(block, 1, n, out) != n) {
            ann_die("%s cannot be written", to);
        }
    }
    if (!in || !out || fclose(out) != 0) {
        ann_die("%s cannot be copied to %s", from, to);
    }
    fclose(in);
}

static void own_put(own_index *x, const ann_vecs *base, size_t row, int there) {
    char id[32];
    pv_error err = PV_ERROR_INIT;
    pv_record r = PV_RECORD_INIT;
    snprintf(id, sizeof id, OWN_ID, (unsigned)row);
    if (!there) {
        own_check(pv_delete(x->db, NULL, OWN_NAME, id, &err), &err, "delete");
    } else {
        r.id = id;
        r.vector = ann_vecs_row(base, row);
        r.dims = (uint32_t)base->dims;
        own_check(pv_insert(x->db, NULL, OWN_NAME, &r, 1, NULL, &err), &err, "insert");
    }
    atomic_fetch_add_explicit(&x->written, 1, memory_order_relaxed);
}

/* At its pace, or as fast as it goes: what was missed is not made up for. */
static void own_wait(const own_index *x, double *io_next) {
    const double now = ann_wall(), left = *io_next - now;
    if (left > 0) {
        const struct timespec t = {(time_t)left, (long)((left - (double)(time_t)left) * 1e9)};
        nanosleep(&t, NULL);
    }
    *io_next = (left > 0 ? *io_next : now) + 1.0 / (double)x->pace;
}

static void *own_write(void *ctx) {
    own_index *x = ctx;
    ann_vecs base = ann_vecs_open(x->job->base);
    uint64_t next = 1;
    double due = ann_wall();
    while (!atomic_load_explicit(&x->stop, memory_order_relaxed)) {
        next = next * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const size_t row = (size_t)((next >> 33) % base.rows);
        own_wait(x, &due);
        own_put(x, &base, row, 0);
        own_wait(x, &due);
        own_put(x, &base, row, 1);
    }
    ann_vecs_close(&base);
    return NULL;
}

/* ---- searching ------------------------------------------------------------------------------- */

static void *own_load(const ann_job *job) {
    own_index *x = calloc(1, sizeof *x);
    if (!x) {
        ann_die("out of memory");
    }
    x->job = job;
    x->query = (pv_query)PV_QUERY_INIT;
    x->query.dims = (uint32_t)job->dims;
    x->query.k = ANN_K;
#ifdef PV_INDEX_HNSW
    x->query.target_recall = (float)ann_number(job, "tr", 0) / 100.0f;
#endif
    const int writer = ann_number(job, "writer", 0) != 0;
    x->pace = 2 * ann_number(job, "writer", 0);
    if (writer) {
        snprintf(x->copy, sizeof x->copy, "%s.writer", job->path);
        own_copy(job->path, x->copy);
    }
    /* One thread: what the library does for a search it does on the caller's. */
    x->db = own_open(job, writer ? x->copy : job->path, 1);
    if (writer && pthread_create(&x->writer, NULL, own_write, x) != 0) {
        ann_die("no thread");
    }
    return x;
}

static void own_set_ef(void *index, unsigned ef) {
#ifdef PV_INDEX_HNSW
    ((own_index *)index)->query.ef = ef;
#else
    (void)index;
    (void)ef;
#endif
}

static void own_search(void *index, const float *query, uint32_t *out) {
    own_index *x = index;
    pv_error err = PV_ERROR_INIT;
    pv_results *found = NULL;
    pv_query q = x->query;
    q.vector = query;
    own_check(pv_search(x->db, NULL, OWN_NAME, &q, &found, &err), &err, "search");
    const size_t n = pv_results_count(found);
    for (size_t i = 0; i < n && i < ANN_K; i++) {
        const char *id = pv_results_id(found, i);
        if (!id || id[0] != 'd') {
            ann_die("an answer has no id");
        }
        if (out) {
            out[i] = (uint32_t)strtoul(id + 4, NULL, 10);
        }
    }
    pv_results_free(found);
}

static double own_commits(void *index) {
    own_index *x = index;
    const uint64_t written = atomic_load_explicit(&x->written, memory_order_relaxed);
    const double now = ann_wall(), rate = (double)(written - x->seen) / (now - x->since);
    x->seen = written;
    x->since = now;
    return rate;
}

static void own_close(void *index) {
    own_index *x = index;
    pv_error err = PV_ERROR_INIT;
    if (x->copy[0]) {
        atomic_store_explicit(&x->stop, 1, memory_order_relaxed);
        pthread_join(x->writer, NULL);
    }
    own_check(pv_close(x->db, &err), &err, "close");
    if (x->copy[0]) {
        ann_file_remove(x->copy);
    }
    free(x);
}

int main(int argc, char **argv) {
    const ann_adapter adapter = {"piramid",  own_version, own_build, own_load,
                                 own_set_ef, own_search,  own_close, own_commits};
    return ann_main(argc, argv, &adapter);
}
