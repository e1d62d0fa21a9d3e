/* SPDX-License-Identifier: Apache-2.0 */
/* path.h - dotted paths: "author.name", "tags.0". Compiled once, then walked through any number of
 * documents without allocation.
 *
 * A segment names a field of an object; on an array a decimal number without leading zeros is the
 * index of an element, from 0. Anything else is missing. There is no escape: a key that contains a
 * dot, and the empty key, cannot be reached by a path.
 *
 * Threads: a compiled path never changes and is for any thread. */
#ifndef PV_VALUE_PATH_H
#define PV_VALUE_PATH_H

#include "base/arena.h"
#include "value/doc.h"

#define PV__PATH_NO_INDEX UINT32_MAX

typedef struct pv__path_segment {
    const char *key;
    uint32_t len;
    uint32_t index; /* or PV__PATH_NO_INDEX */
} pv__path_segment;

typedef struct pv__path {
    const pv__path_segment *segments; /* in the arena, with their text */
    uint32_t count;                   /* at least 1 */
} pv__path;

/* PV_ERR_FORMAT for an empty segment or bytes that are not UTF-8, PV_ERR_LIMIT for more segments
 * than a document can be deep; messages begin with `what`, err->offset is the byte in `text`. The
 * path lives as long as the arena. */
PV_PRIVATE int pv__path_compile(pv__arena *arena, const char *what, const char *text, size_t len,
                                pv__path *out, pv_error *err);

/* The value at the path, or no value. */
PV_PRIVATE pv__value pv__path_walk(const pv__path *path, pv__value root);

#endif
