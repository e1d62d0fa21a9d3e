/* SPDX-License-Identifier: Apache-2.0 */
/* make_seeds.c - the seeds of `file` and `log`: small databases made through pv.h, closed or left
 * as a kill would leave them, packed (image.h).
 *
 *     make_seeds fuzz/corpus          writes file/made-NAME and log/made-NAME
 *
 * Run it again when the format changes; seeds that once failed stay as they are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "image.h"
#include "os/vfs.h"

#define SEED_BYTES_MAX ((size_t)1 << 20)

typedef struct seed_shape {
    const char *name;
    uint32_t records, dims, metric, key;
    uint32_t text;        /* bytes of a longer text in the metadata of each seventh record */
    uint32_t commits;     /* the records are spread over so many */
    uint32_t compression; /* PV_COMPRESSION_ */
    bool remove;          /* delete every third record, make and drop a collection */
    bool checkpoint;      /* in the middle */
    uint32_t type;        /* PV_TYPE_ */
    uint32_t index;       /* PV_INDEX_ */
} seed_shape;

static const seed_shape seed_shapes[] = {
    {"empty", 0, 2, PV_METRIC_L2, PV_KEY_U64, 0, 0, 0, false, false, 0, PV_INDEX_AUTO},
    {"one", 1, 2, PV_METRIC_L2, PV_KEY_U64, 0, 1, 0, false, false, 0, PV_INDEX_AUTO},
    {"numbers", 12, 3, PV_METRIC_DOT, PV_KEY_U64, 40, 3, 0, true, false, 0, PV_INDEX_AUTO},
    {"texts", 20, 4, PV_METRIC_COSINE, PV_KEY_STRING, 90, 4, 0, true, true, 0, PV_INDEX_AUTO},
    {"long", 8, 2, PV_METRIC_L2, PV_KEY_STRING, 9000, 2, 0, false, false, 0, PV_INDEX_AUTO},
    {"many", 400, 2, PV_METRIC_L2, PV_KEY_U64, 0, 3, 0, true, true, 0, PV_INDEX_AUTO},
    {"packed", 60, 2, PV_METRIC_L2, PV_KEY_STRING, 3000, 2, PV_COMPRESSION_ZSTD, false, true, 0,
     PV_INDEX_AUTO},
    {"halves", 24, 5, PV_METRIC_L1, PV_KEY_U64, 0, 2, 0, true, true, PV_TYPE_F16, PV_INDEX_HNSW},
    {"bytes", 24, 6, PV_METRIC_COSINE, PV_KEY_U64, 0, 2, 0, true, true, PV_TYPE_I8, PV_INDEX_HNSW},
    {"bits", 24, 21, PV_METRIC_JACCARD, PV_KEY_STRING, 0, 2, 0, true, true, PV_TYPE_BIT,
     PV_INDEX_HNSW},
    {"lists", 120, 6, PV_METRIC_L2, PV_KEY_U64, 0, 3, 0, true, true, 0, PV_INDEX_IVF},
};

static void seed_fail(const char *what, const pv_error *err) {
    fprintf(stderr, "make_seeds: %s: %s\n", what, err->message);
    exit(1);
}

#define SEED_TRY(call)                                                                             \
    do {                                                                                           \
        if ((call) != 0) {                                                                         \
            seed_fail(#call, &err);                                                                \
        }                                                                                          \
    } while (0)

static void seed_record(pv_db *db, const seed_shape *s, uint32_t i, pv_txn *txn) {
    static char text[SEED_BYTES_MAX / 8];
    char id[64];
    uint8_t vector[32] = {0};
    pv_error err = PV_ERROR_INIT;
    pv_record r = PV_RECORD_INIT;
    int at = snprintf(text, sizeof text, "{\"year\":%u,\"tags\":[\"%c\"]", (unsigned)(i % 9),
                      (int)('a' + i % 3));
    if (s->text > 0 && i % 7 == 1) {
        at += snprintf(text + at, sizeof text - (size_t)at, ",\"text\":\"");
        memset(text + at, 'x', s->text);
        at += (int)s->text;
        text[at++] = '"';
    }
    text[at++] = '}';
    text[at] = 0;
    for (uint32_t d = 0; d < s->dims; d++) {
        const float v = (float)(i * 7 % 11) - (float)d;
        if (s->type == PV_TYPE_F16) {
            vector[2 * d] = (uint8_t)(i * 13 + d);
            vector[2 * d + 1] = (uint8_t)(0x38 + (i + d) % 8);
        } else if (s->type == PV_TYPE_I8) {
            vector[d] = (uint8_t)(i * 37 + d * 5);
        } else if (s->type == PV_TYPE_BIT) {
            vector[d / 8] |= (uint8_t)((i >> d % 5) & 1 ? 0x80 >> d % 8 : 0);
        } else {
            memcpy(vector + 4 * (size_t)d, &v, 4);
        }
    }
    snprintf(id, sizeof id, i % 5 ? "k%u" : "a-rather-long-key-%u", (unsigned)i);
    r.id = s->key == PV_KEY_STRING ? id : NULL;
    r.id_u64 = s->key == PV_KEY_U64 ? i : PV_ID_NONE;
    r.vector = vector;
    r.dims = s->dims;
    r.type = s->type;
    r.metadata = i % 4 == 3 ? NULL : text;
    SEED_TRY(pv_insert(db, txn, "things", &r, 1, NULL, &err));
}

static void seed_fill(pv_db *db, const seed_shape *s) {
    pv_error err = PV_ERROR_INIT;
    pv_collection_opts opts = PV_COLLECTION_OPTS_INIT;
    opts.dims = s->dims;
    opts.metric = s->metric;
    opts.key = s->key;
    opts.type = s->type;
    opts.index = s->index;
    if (s->commits == 0) {
        return;
    }
    SEED_TRY(pv_collection_create(db, NULL, "things", &opts, &err));
    for (uint32_t c = 0; c < s->commits; c++) {
        pv_txn *txn = NULL;
        SEED_TRY(pv_txn_begin(db, PV_TXN_WRITE, &txn, &err));
        for (uint32_t i = c; i < s->records; i += s->commits) {
            seed_record(db, s, i, txn);
        }
        SEED_TRY(pv_txn_commit(txn, NULL, &err));
        if (s->checkpoint && c == s->commits / 2) {
            SEED_TRY(pv_checkpoint(db, &err));
        }
    }
    if (s->remove) {
        uint64_t deleted = 0;
        SEED_TRY(pv_collection_create(db, NULL, "other", &opts, &err));
        SEED_TRY(pv_delete_where(db, NULL, "things", "{\"tags.0\":\"b\"}", &deleted, &err));
        SEED_TRY(pv_collection_drop(db, NULL, "other", &err));
        SEED_TRY(pv_collection_create(db, NULL, "second", &opts, &err));
    }
}

static void seed_write(const char *folder, const char *sub, const char *name, pv_vfs *vfs,
                       int first) {
    char path[1024];
    pv_error err = PV_ERROR_INIT;
    image img;
    uint8_t *out = malloc(SEED_BYTES_MAX);
    if (!out || !image_load(&img, vfs, &err)) {
        seed_fail("image", &err);
    }
    snprintf(path, sizeof path, "%s/%s/made-%s", folder, sub, name);
    size_t n = image_pack(&img, out, SEED_BYTES_MAX);
    FILE *f = fopen(path, "wb");
    if (!f || n > SEED_BYTES_MAX || (first >= 0 && fputc(first, f) == EOF) ||
        fwrite(out, 1, n, f) != n || fclose(f) != 0) {
        seed_fail(path, &err);
    }
    printf("%s: %zu bytes\n", path, n);
    free(out);
    image_done(&img);
}

int main(int argc, char **argv) {
    pv_error err = PV_ERROR_INIT;
    if (argc != 2) {
        fprintf(stderr, "usage: make_seeds FOLDER\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof seed_shapes / sizeof seed_shapes[0]; i++) {
        const seed_shape *s = &seed_shapes[i];
        pv__mem mem;
        pv_vfs *vfs = NULL;
        pv_db *db = NULL;
        fuzz_clock clock;
        pv_open_opts opts = PV_OPEN_OPTS_INIT;
        pv__mem_init(&mem, NULL, 0);
        fuzz_clock_init(&clock, i + 1);
        SEED_TRY(pv__vfs_mem_new(&mem, &vfs, &err));
        opts.vfs = vfs;
        opts.clock = &clock.clock;
        opts.threads = 1;
        opts.compression = s->compression;
        SEED_TRY(pv_open(IMAGE_PATH, &opts, &db, &err));
        seed_fill(db, s);
        seed_write(argv[1], "log", s->name, vfs, 1);
        SEED_TRY(pv_close(db, &err));
        seed_write(argv[1], "file", s->name, vfs, -1);
        pv__vfs_mem_free(vfs);
    }
    return 0;
}
