/* SPDX-License-Identifier: Apache-2.0 */
/* xlat.c - from page id to translation entry: a radix of three levels whose arrays appear when
 * first needed and stay until close, so that a reader follows it without a lock.
 *
 *   id = [9 bits top][10 bits middle][10 bits entry]
 *
 * Arrays are published with a compare-and-swap: two threads that miss at once agree on one. */
#include "store/internal.h"

/* The array behind *place, made when it is missing. NULL: out of memory. */
static void *xlat_array(pv__store *s, _Atomic(void *) *place, size_t size) {
    void *have = atomic_load_explicit(place, memory_order_acquire);
    if (have) {
        return have;
    }
    void *fresh = pv__alloc_aligned(s->mem, size, 64);
    if (!fresh) {
        return NULL;
    }
    memset(fresh, 0, size);
    /* release: pairs with the acquire loads in find */
    if (atomic_compare_exchange_strong_explicit(place, &have, fresh, memory_order_acq_rel,
                                                memory_order_acquire)) {
        atomic_fetch_add_explicit(&s->cache_bytes, size, memory_order_relaxed);
        return fresh;
    }
    pv__alloc_free_aligned(s->mem, fresh, size, 64);
    return have;
}

PV_PRIVATE int pv__xlat_make(pv__store *s, uint64_t page_id, pv__xent **out, pv_error *err) {
    if (page_id == 0 || page_id >= PV__PAGE_ID_MAX) {
        return pv__err(err, PV_ERR_CORRUPT, "page id %llu is out of range",
                       (unsigned long long)page_id);
    }
    pv__xlat_middle *mid =
        xlat_array(s, &s->xlat.top[PV__XLAT_TOP_OF(page_id)], sizeof(pv__xlat_middle));
    if (!mid) {
        return pv__err_nomem(err, sizeof(pv__xlat_middle));
    }
    pv__xent *low =
        xlat_array(s, &mid->low[PV__XLAT_MID(page_id)], sizeof(pv__xent) * (size_t)PV__XLAT_FAN);
    if (!low) {
        return pv__err_nomem(err, sizeof(pv__xent) * (size_t)PV__XLAT_FAN);
    }
    uint64_t limit = atomic_load_explicit(&s->xlat.limit, memory_order_relaxed);
    while (limit <= page_id &&
           !atomic_compare_exchange_weak_explicit(&s->xlat.limit, &limit, page_id + 1,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
    *out = &low[PV__XLAT_LOW(page_id)];
    return PV_OK;
}

static void xlat_free_chain(pv__store *s, pv__xent *x) {
    pv__ver *v = atomic_load_explicit(&x->mine, memory_order_relaxed);
    if (v) {
        pv__ver_free(s, v);
    }
    v = pv__frame_ver(atomic_load_explicit(&x->frame, memory_order_relaxed));
    while (v) {
        pv__ver *older = atomic_load_explicit(&v->prev, memory_order_relaxed);
        pv__ver_free(s, v);
        v = older;
    }
}

PV_PRIVATE void pv__xlat_done(pv__store *s) {
    for (size_t t = 0; t < PV__XLAT_TOP; t++) {
        pv__xlat_middle *mid = atomic_load_explicit(&s->xlat.top[t], memory_order_relaxed);
        for (size_t m = 0; mid && m < PV__XLAT_FAN; m++) {
            pv__xent *low = atomic_load_explicit(&mid->low[m], memory_order_relaxed);
            for (size_t i = 0; low && i < PV__XLAT_FAN; i++) {
                xlat_free_chain(s, &low[i]);
            }
            if (low) {
                pv__alloc_free_aligned(s->mem, low, sizeof(pv__xent) * (size_t)PV__XLAT_FAN, 64);
            }
        }
        if (mid) {
            pv__alloc_free_aligned(s->mem, mid, sizeof(pv__xlat_middle), 64);
        }
        atomic_store_explicit(&s->xlat.top[t], NULL, memory_order_relaxed);
    }
}
