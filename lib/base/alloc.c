/* SPDX-License-Identifier: Apache-2.0 */
/* alloc.c - counted memory over the C library or the caller's allocator.
 *
 * Every request passes mem_enter, which decides about injected failures and the limit and books
 * the bytes; a request that then fails in the allocator below gives them back. So bytes_used is
 * exact at every moment in which no call is running, and returns to 0 when all is freed.
 *
 * Aligned memory: the C library aligns by itself; over a caller's allocator, which knows only
 * malloc alignment, the block is larger and the word before the result points to its start:
 *
 *      raw ... [raw pointer] | result (aligned) ... size bytes
 */
#include "base/alloc.h"

#include <stdlib.h>

#define ALLOC_ALIGN_MAX 4096u
#define ALLOC_ALIGN_FREE 16u /* what malloc gives anyway */

void pv__mem_init(pv__mem *mem, const pv_allocator *allocator, size_t bytes_limit) {
    mem->allocator.ctx = allocator ? allocator->ctx : NULL;
    mem->allocator.realloc = allocator ? allocator->realloc : NULL;
    mem->bytes_limit = bytes_limit;
    atomic_init(&mem->bytes_used, 0);
    atomic_init(&mem->bytes_peak, 0);
    atomic_init(&mem->calls, 0);
    atomic_init(&mem->fail_at, 0);
    atomic_init(&mem->fail_forever, 0);
}

/* All orders relaxed: the counters publish nothing. */
static void mem_leave(pv__mem *mem, size_t size) {
    atomic_fetch_sub_explicit(&mem->bytes_used, size, memory_order_relaxed);
}

/* May `more` bytes be had? Books them. Counts as a request also when more is 0. */
static bool mem_enter(pv__mem *mem, size_t more) {
    const uint64_t call = atomic_fetch_add_explicit(&mem->calls, 1, memory_order_relaxed) + 1;
    const uint64_t fail_at = atomic_load_explicit(&mem->fail_at, memory_order_relaxed);
    if (PV_UNLIKELY(fail_at != 0 && call >= fail_at)) {
        if (call == fail_at ||
            atomic_load_explicit(&mem->fail_forever, memory_order_relaxed) != 0) {
            return false;
        }
    }
    const size_t before = atomic_fetch_add_explicit(&mem->bytes_used, more, memory_order_relaxed);
    if (PV_UNLIKELY(before > SIZE_MAX - more ||
                    (mem->bytes_limit != 0 && more != 0 && before + more > mem->bytes_limit))) {
        mem_leave(mem, more);
        return false;
    }
    size_t peak = atomic_load_explicit(&mem->bytes_peak, memory_order_relaxed);
    while (before + more > peak &&
           !atomic_compare_exchange_weak_explicit(&mem->bytes_peak, &peak, before + more,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
    return true;
}

/* The allocators below never see size 0, for which they would mean "free" or "NULL". */
static size_t mem_real(size_t size) { return size ? size : 1; }

static void *mem_get(pv__mem *mem, size_t size) {
    if (mem->allocator.realloc) {
        return mem->allocator.realloc(mem->allocator.ctx, NULL, 0, mem_real(size));
    }
    return malloc(mem_real(size));
}

void *pv__alloc(pv__mem *mem, size_t size) {
    if (!mem_enter(mem, size)) {
        return NULL;
    }
    void *p = mem_get(mem, size);
    if (PV_UNLIKELY(!p)) {
        mem_leave(mem, size);
    }
    return p;
}

void *pv__alloc_zero(pv__mem *mem, size_t size) {
    if (mem->allocator.realloc) {
        void *p = pv__alloc(mem, size);
        if (p) {
            memset(p, 0, size);
        }
        return p;
    }
    if (!mem_enter(mem, size)) {
        return NULL;
    }
    void *p = calloc(1, mem_real(size)); /* fresh pages from the system are zero already */
    if (PV_UNLIKELY(!p)) {
        mem_leave(mem, size);
    }
    return p;
}

void *pv__alloc_array(pv__mem *mem, size_t count, size_t size) {
    if (size != 0 && count > SIZE_MAX / size) {
        return NULL;
    }
    return pv__alloc(mem, count * size);
}

void *pv__alloc_realloc(pv__mem *mem, void *p, size_t old_size, size_t new_size) {
    if (!p) {
        return pv__alloc(mem, new_size);
    }
    const size_t more = new_size > old_size ? new_size - old_size : 0;
    if (!mem_enter(mem, more)) {
        return NULL;
    }
    void *q =
        mem->allocator.realloc
            ? mem->allocator.realloc(mem->allocator.ctx, p, mem_real(old_size), mem_real(new_size))
            : realloc(p, mem_real(new_size));
    if (PV_UNLIKELY(!q)) {
        mem_leave(mem, more);
    } else if (new_size < old_size) {
        mem_leave(mem, old_size - new_size);
    }
    return q;
}

void pv__alloc_free(pv__mem *mem, void *p, size_t size) {
    if (!p) {
        return;
    }
    if (mem->allocator.realloc) {
        (void)mem->allocator.realloc(mem->allocator.ctx, p, mem_real(size), 0);
    } else {
        free(p);
    }
    mem_leave(mem, size);
}

static size_t mem_padded(size_t size, size_t align) { return size + align + sizeof(void *); }

void *pv__alloc_aligned(pv__mem *mem, size_t size, size_t align) {
    PV_DEBUG_ASSERT(align != 0 && (align & (align - 1)) == 0 && align <= ALLOC_ALIGN_MAX);
    if (align <= ALLOC_ALIGN_FREE) {
        return pv__alloc(mem, size);
    }
    if (size > SIZE_MAX - 2 * ALLOC_ALIGN_MAX || !mem_enter(mem, size)) {
        return NULL;
    }
    void *p = NULL;
    if (mem->allocator.realloc) {
        uint8_t *raw = mem_get(mem, mem_padded(size, align));
        if (raw) {
            const uintptr_t at = (uintptr_t)raw + sizeof(void *);
            p = raw + sizeof(void *) + (PV_ALIGN_UP(at, (uintptr_t)align) - at);
            memcpy((uint8_t *)p - sizeof(void *), &raw, sizeof raw);
        }
    } else {
        p = aligned_alloc(align, PV_ALIGN_UP(mem_real(size), align)); /* C11 wants a multiple */
    }
    if (PV_UNLIKELY(!p)) {
        mem_leave(mem, size);
    }
    return p;
}

void pv__alloc_free_aligned(pv__mem *mem, void *p, size_t size, size_t align) {
    if (!p || align <= ALLOC_ALIGN_FREE) {
        pv__alloc_free(mem, p, size);
        return;
    }
    if (mem->allocator.realloc) {
        void *raw = NULL;
        memcpy(&raw, (uint8_t *)p - sizeof(void *), sizeof raw);
        (void)mem->allocator.realloc(mem->allocator.ctx, raw, mem_padded(size, align), 0);
    } else {
        free(p);
    }
    mem_leave(mem, size);
}

bool pv__alloc_book(pv__mem *mem, size_t size) { return mem_enter(mem, size); }

void pv__alloc_unbook(pv__mem *mem, size_t size) { mem_leave(mem, size); }

int pv__alloc_grow(pv__mem *mem, void **array, size_t *cap, size_t want, size_t elem_size,
                   pv_error *err) {
    if (want <= *cap) {
        return 0;
    }
    const size_t max = SIZE_MAX / (elem_size ? elem_size : 1);
    if (want > max) {
        return pv__err(err, PV_ERR_NOMEM, "out of memory: %zu elements of %zu bytes", want,
                       elem_size);
    }
    size_t n = *cap ? *cap : 8;
    while (n < want) {
        n = n > max / 2 ? max : n * 2;
    }
    if (n > max) {
        n = max;
    }
    void *p = pv__alloc_realloc(mem, *array, *cap * elem_size, n * elem_size);
    if (!p && n > want) { /* near a limit the exact size may still fit */
        n = want;
        p = pv__alloc_realloc(mem, *array, *cap * elem_size, n * elem_size);
    }
    if (!p) {
        return pv__err_nomem(err, n * elem_size);
    }
    *array = p;
    *cap = n;
    return 0;
}

#undef ALLOC_ALIGN_MAX
#undef ALLOC_ALIGN_FREE
