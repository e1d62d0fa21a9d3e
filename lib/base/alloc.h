/* SPDX-License-Identifier: Apache-2.0 */
/* alloc.h - the only way to memory in lib/. One pv__mem per database counts what is used, keeps a
 * limit and can make the n-th request fail (tests). Threads: any; counters are atomics. */
#ifndef PV_BASE_ALLOC_H
#define PV_BASE_ALLOC_H

#include <stdatomic.h>

#include "base/base.h"

typedef struct pv__mem {
    pv_allocator allocator;    /* realloc NULL: the C library */
    _Atomic size_t bytes_used; /* sum of the sizes asked for and not yet freed */
    _Atomic size_t bytes_peak;
    size_t bytes_limit;            /* 0: none; a request beyond it fails */
    _Atomic uint64_t calls;        /* requests so far, for the n-th-failure tests */
    _Atomic uint64_t fail_at;      /* this call (counted from 1) fails; 0: never */
    _Atomic uint32_t fail_forever; /* and all after it */
} pv__mem;

PV_PRIVATE void pv__mem_init(pv__mem *mem, const pv_allocator *allocator, size_t bytes_limit);

/* NULL when out of memory or over the limit. size 0 is allowed and gives a unique pointer.
 * Every free and realloc states the size that was asked for. */
PV_PRIVATE void *pv__alloc(pv__mem *mem, size_t size);
PV_PRIVATE void *pv__alloc_zero(pv__mem *mem, size_t size);
PV_PRIVATE void *pv__alloc_array(pv__mem *mem, size_t count, size_t size); /* checked product */
PV_PRIVATE void *pv__alloc_realloc(pv__mem *mem, void *p, size_t old_size, size_t new_size);
PV_PRIVATE void pv__alloc_free(pv__mem *mem, void *p, size_t size); /* NULL is fine */
/* Aligned to `align` (a power of two, at most 4096). */
PV_PRIVATE void *pv__alloc_aligned(pv__mem *mem, size_t size, size_t align);
PV_PRIVATE void pv__alloc_free_aligned(pv__mem *mem, void *p, size_t size, size_t align);

/* Count bytes that come from elsewhere (mapped memory) as if they had been asked for here: the same
 * limit, the same injected failures. False: refused. */
PV_PRIVATE bool pv__alloc_book(pv__mem *mem, size_t size);
PV_PRIVATE void pv__alloc_unbook(pv__mem *mem, size_t size);

/* Grow an array to hold at least `want` elements (doubling). 0 or PV_ERR_NOMEM; on failure the
 * array is unchanged. `*cap` is the allocated count. */
PV_PRIVATE int pv__alloc_grow(pv__mem *mem, void **array, size_t *cap, size_t want,
                              size_t elem_size, pv_error *err);

#endif
