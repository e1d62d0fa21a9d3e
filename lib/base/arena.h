/* SPDX-License-Identifier: Apache-2.0 */
/* arena.h - bump memory for one call: many small pieces, freed at once. Not thread safe. */
#ifndef PV_BASE_ARENA_H
#define PV_BASE_ARENA_H

#include "base/alloc.h"

typedef struct pv__arena_chunk pv__arena_chunk;
typedef struct pv__arena {
    pv__mem *mem;
    pv__arena_chunk *head; /* newest chunk first */
    size_t used;           /* bytes used in head */
    size_t chunk_size;
} pv__arena;

PV_PRIVATE void pv__arena_init(pv__arena *a, pv__mem *mem, size_t chunk_size);
PV_PRIVATE void *pv__arena_alloc(pv__arena *a, size_t size); /* 16-byte aligned, NULL on OOM */
PV_PRIVATE void *pv__arena_zero(pv__arena *a, size_t size);
PV_PRIVATE char *pv__arena_strdup(pv__arena *a, const char *s, size_t len); /* adds a NUL */
PV_PRIVATE void pv__arena_reset(pv__arena *a);                              /* keeps one chunk */
PV_PRIVATE void pv__arena_done(pv__arena *a);

#endif
