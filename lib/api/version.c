/* SPDX-License-Identifier: Apache-2.0 */
/* version.c - chapters "version" and "codes", and the shapes of all public structures, pinned:
 * once released, no member moves. */
#include "base/base.h"
#include "base/limits.h"

#define VERSION_TEXT_OF(x) #x
#define VERSION_TEXT(x) VERSION_TEXT_OF(x)

int pv_version_number(void) { return PV_VERSION_NUMBER; }

const char *pv_version_string(void) { return PV_VERSION_STRING; }

const char *pv_error_text(int code) { return pv__rc_text(code); }

static const char *version_arch(void) {
#if defined(__x86_64__)
    return "x86-64";
#elif defined(__aarch64__)
    return "arm64";
#else
    return "other";
#endif
}

static const char *version_compiler(void) {
#if defined(__clang__)
    return "clang " VERSION_TEXT(__clang_major__) "." VERSION_TEXT(__clang_minor__);
#elif defined(__GNUC__)
    return "gcc " VERSION_TEXT(__GNUC__) "." VERSION_TEXT(__GNUC_MINOR__);
#else
    return "other";
#endif
}

const char *pv_build_option(const char *name) {
    if (!name) {
        return NULL;
    }
    if (strcmp(name, "compiler") == 0) {
        return version_compiler();
    }
    if (strcmp(name, "arch") == 0) {
        return version_arch();
    }
    if (strcmp(name, "debug") == 0) {
#ifdef PV_DEBUG
        return "1";
#else
        return "0";
#endif
    }
    return NULL;
}

/* ---- limits that stand in two headers ------------------------------------------------------ */

PV_STATIC_ASSERT(PV_LIMIT_DIMS == PV__DIMS_MAX, limit_dims);
PV_STATIC_ASSERT(PV_LIMIT_K == PV__K_MAX, limit_k);
PV_STATIC_ASSERT(PV_LIMIT_ID_BYTES == PV__KEY_BYTES_MAX, limit_id_bytes);
PV_STATIC_ASSERT(PV_LIMIT_NAME_BYTES == PV__NAME_BYTES_MAX, limit_name_bytes);
PV_STATIC_ASSERT(PV_LIMIT_METADATA_BYTES == PV__METADATA_BYTES_MAX, limit_metadata_bytes);
PV_STATIC_ASSERT(PV_LIMIT_METADATA_DEPTH == PV__JSON_DEPTH_MAX, limit_metadata_depth);
PV_STATIC_ASSERT(PV_LIMIT_FILTER_DEPTH == PV__FILTER_DEPTH_MAX, limit_filter_depth);
PV_STATIC_ASSERT(PV_LIMIT_FILTER_NODES == PV__FILTER_NODES_MAX, limit_filter_nodes);
PV_STATIC_ASSERT(PV_LIMIT_BATCH_RECORDS == PV__BATCH_RECORDS_MAX, limit_batch_records);
PV_STATIC_ASSERT(PV_LIMIT_RECORDS == PV__SLOTS_PER_COLLECTION_MAX, limit_records);
PV_STATIC_ASSERT(PV_LIMIT_COLLECTIONS == PV__COLLECTIONS_MAX, limit_collections);

/* ---- shapes ------------------------------------------------------------------------------ */

#if UINTPTR_MAX == UINT64_MAX
#define VERSION_AT(type, member, offset)                                                           \
    PV_STATIC_ASSERT(offsetof(type, member) == (offset), type##_##member)
#define VERSION_SIZE(type, size) PV_STATIC_ASSERT(sizeof(type) == (size), type##_size)

VERSION_SIZE(pv_error, 512);
VERSION_AT(pv_error, code, 4);
VERSION_AT(pv_error, sys_errno, 8);
VERSION_AT(pv_error, record_index, 16);
VERSION_AT(pv_error, offset, 24);
VERSION_AT(pv_error, message, 32);

VERSION_SIZE(pv_open_opts, 112);
VERSION_AT(pv_open_opts, flags, 4);
VERSION_AT(pv_open_opts, busy_timeout_ms, 16);
VERSION_AT(pv_open_opts, cache_bytes, 24);
VERSION_AT(pv_open_opts, allocator, 48);
VERSION_AT(pv_open_opts, log, 72);
VERSION_AT(pv_open_opts, interrupt_ctx, 96);
VERSION_AT(pv_open_opts, compression, 104);

VERSION_SIZE(pv_collection_opts, 48);
VERSION_AT(pv_collection_opts, dims, 4);
VERSION_AT(pv_collection_opts, key, 16);
VERSION_AT(pv_collection_opts, ef_construction, 32);

VERSION_SIZE(pv_collection_info, 352);
VERSION_AT(pv_collection_info, object_id, 24);
VERSION_AT(pv_collection_info, generation, 48);
VERSION_AT(pv_collection_info, indexed, 72);
VERSION_AT(pv_collection_info, code_reason, 96);

VERSION_SIZE(pv_record, 64);
VERSION_AT(pv_record, id, 8);
VERSION_AT(pv_record, id_u64, 24);
VERSION_AT(pv_record, vector, 32);
VERSION_AT(pv_record, dims, 40);
VERSION_AT(pv_record, metadata_len, 56);

VERSION_SIZE(pv_batch, 112);
VERSION_AT(pv_batch, count, 8);
VERSION_AT(pv_batch, dims, 32);
VERSION_AT(pv_batch, ids_u64, 40);
VERSION_AT(pv_batch, metadata_offsets, 104);

VERSION_SIZE(pv_write_opts, 40);
VERSION_AT(pv_write_opts, record_stride, 16);
VERSION_AT(pv_write_opts, out_ids, 32);

VERSION_SIZE(pv_ids, 56);
VERSION_AT(pv_ids, id_lens, 32);
VERSION_AT(pv_ids, id_offsets, 48);

VERSION_SIZE(pv_query, 64);
VERSION_AT(pv_query, vector, 8);
VERSION_AT(pv_query, k, 24);
VERSION_AT(pv_query, filter_len, 40);
VERSION_AT(pv_query, max_distance, 48);
VERSION_AT(pv_query, target_recall, 56);

VERSION_SIZE(pv_query_vectors, 24);
VERSION_AT(pv_query_vectors, stride, 16);

VERSION_SIZE(pv_iter_opts, 48);
VERSION_AT(pv_iter_opts, after_id_u64, 40);

VERSION_SIZE(pv_stats, 160);
VERSION_AT(pv_stats, uuid, 8);
VERSION_AT(pv_stats, checkpoints, 152);

#undef VERSION_AT
#undef VERSION_SIZE
#endif

#undef VERSION_TEXT_OF
#undef VERSION_TEXT
