/* SPDX-License-Identifier: Apache-2.0 */
/* use.c - see use.h. */
#include "use.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "fuzz.h"
#include "os/vfs.h"

#define USE_ROWS_MAX 512u /* of one walk: more is only more of the same */
#define USE_NAMES_MAX 8u
#define USE_DIMS_MAX 64u /* of vectors that are written; wider ones are only read */
#define USE_MEMORY ((uint64_t)96 << 20)

/* ---- a code and its words ------------------------------------------------------------------ */

/* What is left out of the answers: a bug of the library, and one of this file. */
static int use_rc(int rc, const pv_error *err) {
    if (rc < 0) {
        if (rc < PV_ERR_SCHEMA || rc == PV_ERR_INTERNAL || rc == PV_ERR_MISUSE) {
            fprintf(stderr, "code %d: %s\n", rc, err->message);
            FUZZ_CHECK(!"a code that no file may cause");
        }
        FUZZ_CHECK(err->code == rc && err->message[0] && !strchr(err->message, '\n') &&
                   memchr(err->message, 0, sizeof err->message));
    }
    return rc;
}

/* Memory that is counted by nobody but us: all must come back. */
static void *use_realloc(void *ctx, void *p, size_t old_size, size_t new_size) {
    _Atomic int64_t *used = ctx;
    if (new_size == 0) {
        *used -= p ? (int64_t)old_size : 0;
        free(p);
        return NULL;
    }
    void *out = realloc(p, new_size);
    if (out) {
        *used += (int64_t)new_size - (p ? (int64_t)old_size : 0);
    }
    return out;
}

/* ---- reading ------------------------------------------------------------------------------- */

static volatile uint64_t use_sink;

static void use_bytes(const void *p, size_t n) {
    uint64_t sum = 0;
    for (size_t i = 0; p && i < n; i++) {
        sum += ((const uint8_t *)p)[i];
    }
    use_sink += sum;
}

static size_t use_vector_bytes(uint32_t type, size_t dims) {
    return type == PV_TYPE_BIT   ? (dims + 7) / 8
           : type == PV_TYPE_I8  ? dims
           : type == PV_TYPE_F16 ? dims * 2
                                 : dims * 4;
}

/* A vector that a collection takes, whatever its elements are. */
static void use_vector(const pv_collection_info *info, uint8_t seed, uint8_t *out) {
    memset(out, 0, use_vector_bytes(info->type, info->dims));
    for (uint32_t i = 0; i < info->dims; i++) {
        const float v = (float)((i + seed) % 7) - 3.0f;
        if (info->type == PV_TYPE_BIT) {
            out[i / 8] |= (uint8_t)((i + seed) % 3 ? 0x80 >> i % 8 : 0);
        } else if (info->type == PV_TYPE_I8) {
            out[i] = (uint8_t)(i * 5 + seed);
        } else if (info->type == PV_TYPE_F16) {
            out[2 * i + 1] = (uint8_t)(0x38 + (i + seed) % 8); /* 0.5 and more */
        } else {
            memcpy(out + 4 * (size_t)i, &v, 4);
        }
    }
}

static void use_results(const pv_results *rows) {
    const size_t bytes = use_vector_bytes(pv_results_type(rows), pv_results_dims(rows));
    for (size_t i = 0; i < pv_results_count(rows); i++) {
        size_t len = 0;
        const char *id = pv_results_id(rows, i), *text = pv_results_metadata(rows, i, &len);
        use_bytes(id, id ? strlen(id) : 0);
        use_bytes(text, text ? len + 1 : 0);
        use_bytes(pv_results_vector(rows, i), bytes);
        use_sink += pv_results_id_u64(rows, i) + (uint64_t)pv_results_found(rows, i);
    }
}

/* Records by the key the walk stands on, in the three ways there are. */
static void use_get(pv_db *db, pv_txn *txn, const char *name, const char *id, uint64_t id_u64) {
    pv_error err = PV_ERROR_INIT;
    pv_results *rows = NULL;
    pv_ids ids = PV_IDS_INIT;
    int rc = id ? pv_get(db, txn, name, id, &rows, &err)
                : pv_get_u64(db, txn, name, id_u64, &rows, &err);
    if (use_rc(rc, &err) == 0) {
        use_results(rows);
    }
    pv_results_free(rows);
    rows = NULL;
    ids.count = 1;
    ids.ids = id ? &id : NULL;
    ids.ids_u64 = id ? NULL : &id_u64;
    if (use_rc(
            pv_get_many(db, txn, name, &ids, PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR, &rows, &err),
            &err) == 0) {
        use_results(rows);
    }
    pv_results_free(rows);
}

static void use_walk(pv_db *db, pv_txn *txn, const char *name, const pv_collection_info *info,
                     const char *filter) {
    pv_error err = PV_ERROR_INIT;
    pv_iter_opts opts = PV_ITER_OPTS_INIT;
    pv_iter *it = NULL;
    opts.include = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    opts.filter = filter;
    if (use_rc(pv_iter_open(db, txn, name, &opts, &it, &err), &err) != 0) {
        FUZZ_CHECK(!it);
        return;
    }
    int rc = 0;
    for (unsigned i = 0; i < USE_ROWS_MAX; i++) {
        size_t len = 0;
        rc = use_rc(pv_iter_next(it, &err), &err);
        if (rc != 1) {
            break;
        }
        const char *text = pv_iter_metadata(it, &len), *id = pv_iter_id(it);
        use_bytes(text, len + 1);
        use_bytes(pv_iter_vector(it, NULL), use_vector_bytes(info->type, info->dims));
        if (i < 4) {
            use_get(db, txn, name, id, pv_iter_id_u64(it));
        }
    }
    pv_iter_close(it);
}

static void use_search(pv_db *db, pv_txn *txn, const char *name, const pv_collection_info *info) {
    static const char *const filters[] = {NULL, "{\"year\":{\"$gte\":2}}",
                                          "{\"$not\":{\"tags.0\":\"a\"}}"};
    pv_error err = PV_ERROR_INIT;
    uint64_t count = 0;
    if (info->dims > USE_DIMS_MAX) {
        return;
    }
    uint8_t vectors[2 * USE_DIMS_MAX * sizeof(float)];
    use_vector(info, 0, vectors);
    use_vector(info, 3, vectors + use_vector_bytes(info->type, info->dims));
    pv_query q = PV_QUERY_INIT;
    pv_query_vectors many = PV_QUERY_VECTORS_INIT;
    q.vector = vectors;
    q.dims = info->dims;
    q.type = info->type;
    q.k = 5;
    q.include = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    many.count = 2;
    for (unsigned i = 0; i < 3; i++) {
        pv_results *rows = NULL, *two[2] = {NULL, NULL};
        q.filter = filters[i];
        q.flags = i == 2 ? PV_QUERY_WITHIN : 0;
        q.max_distance = 1e6f;
        if (use_rc(pv_search(db, txn, name, &q, &rows, &err), &err) == 0) {
            use_results(rows);
        }
        if (use_rc(pv_search_many(db, txn, name, &q, &many, two, &err), &err) == 0) {
            use_results(two[0]);
            use_results(two[1]);
        }
        pv_results_free(rows);
        pv_results_free(two[0]);
        pv_results_free(two[1]);
        (void)use_rc(pv_count(db, txn, name, filters[i], &count, &err), &err);
    }
}

/* ---- writing ------------------------------------------------------------------------------- */

static void use_record(pv_record *r, const pv_collection_info *info, const void *vector,
                       const char *id, uint64_t id_u64) {
    *r = (pv_record)PV_RECORD_INIT;
    r->id = info->key == PV_KEY_STRING ? id : NULL;
    r->id_u64 = info->key == PV_KEY_U64 ? id_u64 : PV_ID_NONE;
    r->vector = vector;
    r->dims = info->dims;
    r->type = info->type;
    r->metadata = "{\"year\":7,\"tags\":[\"a\",\"b\"]}";
}

static void use_change(pv_db *db, pv_txn *txn, const char *name, const pv_collection_info *info) {
    static const char *const ids[3] = {"b", "m", "z"};
    static const uint64_t numbers[3] = {2, 40, 90};
    pv_error err = PV_ERROR_INIT;
    pv_record r[3];
    uint8_t vector[USE_DIMS_MAX * sizeof(float)];
    uint64_t deleted = 0;
    pv_write_opts merge = PV_WRITE_OPTS_INIT;
    pv_ids list = PV_IDS_INIT;
    if (info->dims > USE_DIMS_MAX) {
        return;
    }
    use_vector(info, 1, vector);
    for (unsigned i = 0; i < 3; i++) {
        use_record(&r[i], info, vector, ids[i], numbers[i]);
    }
    (void)use_rc(pv_upsert(db, txn, name, r, 3, NULL, &err), &err);
    (void)use_rc(pv_insert(db, txn, name, r, 1, NULL, &err), &err);
    merge.flags = PV_WRITE_MERGE;
    r[1].vector = NULL;
    (void)use_rc(pv_update(db, txn, name, r + 1, 1, &merge, &err), &err);
    use_record(&r[1], info, vector, NULL, PV_ID_NONE); /* the library makes the key */
    (void)use_rc(pv_insert(db, txn, name, r + 1, 1, NULL, &err), &err);
    list.count = 3;
    list.ids = info->key == PV_KEY_STRING ? ids : NULL;
    list.ids_u64 = info->key == PV_KEY_U64 ? numbers : NULL;
    (void)use_rc(pv_delete_where(db, txn, name, "{\"year\":{\"$lt\":3}}", &deleted, &err), &err);
    (void)use_rc(pv_delete_many(db, txn, name, &list, &deleted, &err), &err);
}

static void use_transaction(pv_db *db, const char *name, const pv_collection_info *info) {
    pv_error err = PV_ERROR_INIT;
    pv_txn *txn = NULL;
    uint32_t mark = 0;
    if (use_rc(pv_txn_begin(db, PV_TXN_WRITE | PV_TXN_NOWAIT, &txn, &err), &err) != 0) {
        return;
    }
    use_change(db, txn, name, info);
    if (use_rc(pv_txn_savepoint(txn, &mark, &err), &err) == 0) {
        (void)use_rc(pv_collection_drop(db, txn, name, &err), &err);
        (void)use_rc(pv_txn_rollback_to(txn, mark, &err), &err);
        use_walk(db, txn, name, info, NULL);
    }
    (void)use_rc(pv_txn_commit(txn, NULL, &err), &err);
}

/* ---- all of it ----------------------------------------------------------------------------- */

static void use_found(void *ctx, const char *collection, uint64_t page_id, const char *message) {
    (void)ctx;
    use_bytes(collection, collection ? strlen(collection) : 0);
    use_bytes(message, strlen(message));
    use_sink += page_id;
}

static void use_collection(pv_db *db, const char *name, bool write, bool drop) {
    pv_error err = PV_ERROR_INIT;
    pv_collection_info info = PV_COLLECTION_INFO_INIT;
    if (use_rc(pv_collection_info_get(db, NULL, name, &info, &err), &err) != 0) {
        if (write) {
            (void)use_rc(pv_collection_drop(db, NULL, name, &err), &err);
        }
        return;
    }
    use_walk(db, NULL, name, &info, NULL);
    use_walk(db, NULL, name, &info, "{\"year\":{\"$lt\":4}}");
    use_search(db, NULL, name, &info);
    if (write) {
        use_change(db, NULL, name, &info);
        use_transaction(db, name, &info);
        if (drop) {
            (void)use_rc(pv_collection_drop(db, NULL, name, &err), &err);
        }
    }
}

static void use_database(pv_db *db, bool write) {
    pv_error err = PV_ERROR_INIT;
    pv_stats stats = PV_STATS_INIT;
    pv_names *names = NULL;
    uint64_t problems = 0;
    (void)use_rc(pv_stats_get(db, &stats, &err), &err);
    (void)use_rc(pv_check(db, PV_CHECK_DEEP, use_found, NULL, &problems, &err), &err);
    (void)use_rc(pv_check(db, PV_CHECK_QUICK, use_found, NULL, &problems, &err), &err);
    if (use_rc(pv_collection_list(db, NULL, &names, &err), &err) == 0) {
        for (size_t i = 0; i < pv_names_count(names) && i < USE_NAMES_MAX; i++) {
            use_collection(db, pv_names_get(names, i), write, i % 2 == 1);
        }
    }
    pv_names_free(names);
    if (write) {
        pv_collection_opts opts = PV_COLLECTION_OPTS_INIT;
        opts.dims = 3;
        (void)use_rc(pv_collection_ensure(db, NULL, "made", &opts, &err), &err);
        use_collection(db, "made", true, false);
        (void)use_rc(pv_checkpoint(db, &err), &err);
        (void)use_rc(pv_check(db, PV_CHECK_DEEP, use_found, NULL, &problems, &err), &err);
    }
}

static void use_open(pv_vfs *vfs, uint32_t flags, _Atomic int64_t *used) {
    pv_error err = PV_ERROR_INIT;
    pv_open_opts opts = PV_OPEN_OPTS_INIT;
    const pv_allocator memory = {(void *)used, use_realloc};
    fuzz_clock clock;
    pv_db *db = NULL;
    fuzz_clock_init(&clock, 7);
    opts.flags = flags | PV_OPEN_NOWAIT;
    opts.threads = 1;
    opts.allocator = &memory;
    opts.memory_limit_bytes = USE_MEMORY;
    opts.vfs = vfs;
    opts.clock = &clock.clock;
    if (use_rc(pv_open(IMAGE_PATH, &opts, &db, &err), &err) == 0) {
        use_database(db, (flags & PV_OPEN_READONLY) == 0);
        (void)use_rc(pv_close(db, &err), &err);
    }
    FUZZ_CHECK(*used == 0);
}

void use_image(const image *img) {
    pv_error err = PV_ERROR_INIT;
    pv__mem mem;
    pv_vfs *vfs = NULL;
    _Atomic int64_t used = 0;
    pv__mem_init(&mem, NULL, 0);
    FUZZ_CHECK(pv__vfs_mem_new(&mem, &vfs, &err) == 0);
    if (image_store(img, vfs, &err) == 0) {
        use_open(vfs, PV_OPEN_READONLY, &used);
        use_open(vfs, PV_OPEN_NOCREATE, &used);
        use_open(vfs, PV_OPEN_READONLY, &used);
    }
    pv__vfs_mem_free(vfs);
    FUZZ_CHECK(mem.bytes_used == 0); /* no file was left open */
}
