/* SPDX-License-Identifier: Apache-2.0 */
/* args.h - structures that cross the border: the caller's may be older or newer than ours.
 *
 *      caller's   | struct_size = n | members ... |           n bytes are readable
 *      ours       | complete structure of this version |      starts as the INIT macro says
 *
 * n smaller: what is missing keeps its default. n larger: accepted while the bytes beyond ours are
 * all zero, that is, while the caller uses nothing that we do not know. */
#ifndef PV_API_ARGS_H
#define PV_API_ARGS_H

#include "base/base.h"

/* dst holds the defaults (the INIT macro); size is ours. src NULL: defaults. `what` names the
 * structure in messages. */
PV_PRIVATE int pv__args_import(void *dst, size_t size, const void *src, const char *what,
                               pv_error *err);
/* The same size of a caller's structure that is to be filled; checks only. */
PV_PRIVATE int pv__args_check_out(const void *dst, const char *what, pv_error *err);
/* Copy what the caller's structure has room for; its struct_size stays, what we do not know is
 * zeroed. */
PV_PRIVATE void pv__args_export(void *dst, const void *src, size_t size);
PV_PRIVATE int pv__args_null(const char *what, pv_error *err); /* PV_ERR_MISUSE */
PV_PRIVATE int pv__args_reserved(uint32_t value, const char *what, pv_error *err); /* must be 0 */

/* The offsets of a column of texts never go back and stay within memory. */
PV_PRIVATE int pv__args_offsets(const uint64_t *offsets, size_t i, const char *what, pv_error *err);
/* Ids of a list: complete, not too many, one form; *out_list points into them. */
struct pv__key_list;
PV_PRIVATE int pv__args_ids(const pv_ids *ids, struct pv__key_list *out_list, pv_error *err);

/* 0 means: up to the NUL. */
static inline size_t pv__args_len(const char *text, size_t len) {
    return text && len == 0 ? strlen(text) : len;
}

#endif
