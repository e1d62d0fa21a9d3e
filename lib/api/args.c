/* SPDX-License-Identifier: Apache-2.0 */
/* args.c - see args.h. */
#include "api/args.h"

#include "engine/write.h"

/* Smaller ones cannot hold anything, larger ones are no structure of any version. */
#define ARGS_SIZE_MIN 8u
#define ARGS_SIZE_MAX 4096u

static int args_size(const void *p, const char *what, uint32_t *out_size, pv_error *err) {
    memcpy(out_size, p, sizeof(*out_size)); /* strides may leave it unaligned */
    if (*out_size == 0) {
        return pv__err(err, PV_ERR_MISUSE, "struct_size of %s is 0; begin with its INIT macro",
                       what);
    }
    if (*out_size < ARGS_SIZE_MIN) {
        return pv__err(err, PV_ERR_MISUSE, "struct_size of %s is %u, too small to be one", what,
                       (unsigned)*out_size);
    }
    if (*out_size > ARGS_SIZE_MAX) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "struct_size of %s is %u, larger than any version",
                       what, (unsigned)*out_size);
    }
    return 0;
}

int pv__args_import(void *dst, size_t size, const void *src, const char *what, pv_error *err) {
    uint32_t theirs = 0;
    const uint32_t ours = (uint32_t)size;
    if (!src) {
        return 0;
    }
    PV_TRY(args_size(src, what, &theirs, err));
    for (size_t i = size; i < theirs; i++) {
        if (((const uint8_t *)src)[i] != 0) {
            return pv__err(err, PV_ERR_UNSUPPORTED,
                           "%s has a member at byte %zu that this version does not know", what, i);
        }
    }
    memcpy(dst, src, PV_MIN((size_t)theirs, size));
    memcpy(dst, &ours, sizeof(ours));
    return 0;
}

int pv__args_check_out(const void *dst, const char *what, pv_error *err) {
    uint32_t theirs = 0;
    return dst ? args_size(dst, what, &theirs, err) : pv__args_null(what, err);
}

void pv__args_export(void *dst, const void *src, size_t size) {
    uint32_t theirs = 0;
    memcpy(&theirs, dst, sizeof(theirs));
    memcpy(dst, src, PV_MIN((size_t)theirs, size));
    if (theirs > size) {
        memset((uint8_t *)dst + size, 0, theirs - size);
    }
    memcpy(dst, &theirs, sizeof(theirs));
}

int pv__args_null(const char *what, pv_error *err) {
    return pv__err(err, PV_ERR_MISUSE, "%s is NULL", what);
}

int pv__args_reserved(uint32_t value, const char *what, pv_error *err) {
    return value == 0 ? 0
                      : pv__err(err, PV_ERR_UNSUPPORTED, "a reserved member of %s is not 0", what);
}

int pv__args_offsets(const uint64_t *offsets, size_t i, const char *what, pv_error *err) {
    if (offsets[i] > offsets[i + 1] || offsets[i + 1] - offsets[i] > SIZE_MAX / 2) {
        return pv__err(err, PV_ERR_MISUSE, "the offsets of %s go back at %zu", what, i);
    }
    return 0;
}

int pv__args_ids(const pv_ids *ids, pv__key_list *out_list, pv_error *err) {
    pv_ids i = PV_IDS_INIT;
    if (!ids) {
        return pv__args_null("ids", err);
    }
    PV_TRY(pv__args_import(&i, sizeof(i), ids, "pv_ids", err));
    PV_TRY(pv__args_reserved(i.reserved0, "pv_ids", err));
    if (i.count > PV__BATCH_RECORDS_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "%zu ids in one call, at most %u are allowed", i.count,
                       (unsigned)PV__BATCH_RECORDS_MAX);
    }
    if (i.ids && i.id_data) {
        return pv__err(err, PV_ERR_MISUSE, "id is given as pointers and as a buffer");
    }
    if (i.id_data && !i.id_offsets) {
        return pv__args_null("id_offsets", err);
    }
    for (size_t n = 0; i.id_data && n < i.count; n++) {
        PV_TRY(pv__args_offsets(i.id_offsets, n, "id_data", err));
    }
    *out_list = (pv__key_list){i.count, i.ids_u64, i.ids, i.id_lens, i.id_data, i.id_offsets};
    return 0;
}

#undef ARGS_SIZE_MIN
#undef ARGS_SIZE_MAX
