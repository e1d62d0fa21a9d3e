/* SPDX-License-Identifier: Apache-2.0 */
/* heap.c - the k smallest (distance, slot): a max-heap, its root the worst hit kept. Sorting takes
 * the root off to the end again and again (heapsort), in place and without recursion. */
#include "base/heap.h"

#include <math.h>

float pv__topk_bound(const pv__topk *t) {
    if (t->count < t->k) {
        return INFINITY;
    }
    return t->k > 0 ? t->hits[0].distance : -INFINITY;
}

static void topk_up(pv__hit *h, size_t i, pv__hit hit) {
    while (i > 0) {
        const size_t parent = (i - 1) / 2;
        if (!pv__hit_less(h[parent], hit)) {
            break;
        }
        h[i] = h[parent];
        i = parent;
    }
    h[i] = hit;
}

static void topk_down(pv__hit *h, size_t n, pv__hit hit) {
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) {
            break;
        }
        if (child + 1 < n && pv__hit_less(h[child], h[child + 1])) {
            child++;
        }
        if (!pv__hit_less(hit, h[child])) {
            break;
        }
        h[i] = h[child];
        i = child;
    }
    h[i] = hit;
}

void pv__topk_add(pv__topk *t, float distance, uint32_t slot) {
    const pv__hit hit = {distance, slot};
    if (t->count < t->k) {
        topk_up(t->hits, t->count++, hit);
    } else if (t->k > 0 && pv__hit_less(hit, t->hits[0])) {
        topk_down(t->hits, t->k, hit);
    }
}

void pv__topk_sort(pv__topk *t) {
    for (size_t n = t->count; n > 1; n--) {
        const pv__hit last = t->hits[n - 1];
        t->hits[n - 1] = t->hits[0];
        topk_down(t->hits, n - 1, last);
    }
}

/* ---- queue ----------------------------------------------------------------------------------- */

int pv__queue_push(pv__queue *q, pv__mem *mem, pv__hit hit, pv_error *err) {
    PV_TRY(pv__queue_room(q, mem, 1, err));
    pv__queue_put(q, hit);
    return 0;
}

/* A hit sinks from place i. */
static void queue_down(pv__queue *q, size_t i, pv__hit hit) {
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= q->count) {
            break;
        }
        if (child + 1 < q->count && pv__hit_less(q->hits[child + 1], q->hits[child])) {
            child++;
        }
        if (!pv__hit_less(q->hits[child], hit)) {
            break;
        }
        q->hits[i] = q->hits[child];
        i = child;
    }
    q->hits[i] = hit;
}

pv__hit pv__queue_pop(pv__queue *q) {
    const pv__hit top = q->hits[0];
    const pv__hit last = q->hits[--q->count];
    queue_down(q, 0, last);
    return top;
}

void pv__queue_order(pv__queue *q) {
    for (size_t i = q->count / 2; i-- > 0;) {
        queue_down(q, i, q->hits[i]);
    }
}

void pv__queue_done(pv__queue *q, pv__mem *mem) {
    pv__alloc_free(mem, q->hits, q->cap * sizeof(*q->hits));
    q->hits = NULL;
    q->count = q->cap = 0;
}
