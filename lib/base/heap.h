/* SPDX-License-Identifier: Apache-2.0 */
/* heap.h - the k smallest of a stream of (distance, slot): a bounded max-heap in the caller's
 * array; and a queue from which the smallest is taken, which grows. Order: distance, then slot, so
 * that ties are decided the same way everywhere. */
#ifndef PV_BASE_HEAP_H
#define PV_BASE_HEAP_H

#include "base/alloc.h"

typedef struct pv__hit {
    float distance; /* never NaN */
    uint32_t slot;
} pv__hit;

typedef struct pv__topk {
    pv__hit *hits; /* caller's array of k */
    size_t count, k;
} pv__topk;

static inline bool pv__hit_less(pv__hit a, pv__hit b) {
    return a.distance < b.distance || (a.distance == b.distance && a.slot < b.slot);
}
/* Largest distance that can still enter: +inf until k are there. */
PV_PRIVATE float pv__topk_bound(const pv__topk *t);
PV_PRIVATE void pv__topk_add(pv__topk *t, float distance, uint32_t slot);
PV_PRIVATE void pv__topk_sort(pv__topk *t); /* ascending; ends the heap */

typedef struct pv__queue {
    pv__hit *hits; /* min-heap: hits[0] is the smallest */
    size_t count, cap;
} pv__queue;
/* Room for `more` calls of pv__queue_put. */
static inline int pv__queue_room(pv__queue *q, pv__mem *mem, size_t more, pv_error *err) {
    return PV_LIKELY(q->count + more <= q->cap)
               ? 0
               : pv__alloc_grow(mem, (void **)&q->hits, &q->cap, q->count + more, sizeof(*q->hits),
                                err);
}
static inline void pv__queue_put(pv__queue *q, pv__hit hit) {
    size_t i = q->count++;
    while (i > 0 && pv__hit_less(hit, q->hits[(i - 1) / 2])) {
        q->hits[i] = q->hits[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    q->hits[i] = hit;
}
PV_PRIVATE int pv__queue_push(pv__queue *q, pv__mem *mem, pv__hit hit, pv_error *err);
PV_PRIVATE pv__hit pv__queue_pop(pv__queue *q); /* it is not empty */
PV_PRIVATE void pv__queue_order(pv__queue *q);  /* hits were put in anyhow: O(n) */
PV_PRIVATE void pv__queue_done(pv__queue *q, pv__mem *mem);

#endif
