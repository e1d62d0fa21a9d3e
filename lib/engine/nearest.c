/* SPDX-License-Identifier: Apache-2.0 */
/* nearest.c - see nearest.h. */
#include "engine/nearest.h"

#include "value/sort.h"

#define NEAREST_TIES_LONG 8192u

const char *pv__how_text(pv__how how) {
    static const char *const texts[] = {"scan",  "graph", "graph, one hop", "graph, two hops",
                                        "codes", "lists", "scan of codes"};
    return texts[how];
}

void pv__nearest_init(pv__nearest *n, pv__mem *mem, pv__hit *hits, size_t k, pv__ties *orders) {
    *n = (pv__nearest){.mem = mem, .top = {hits, 0, k}, .orders = orders};
}

void pv__nearest_done(pv__nearest *n) {
    if (n->mem) {
        pv__alloc_free(n->mem, n->ties, n->tie_cap * sizeof(*n->ties));
    }
    n->ties = NULL;
    n->tie_cap = n->tie_count = 0;
}

static int nearest_tie(pv__nearest *n, uint32_t slot, pv_error *err) {
    PV_TRY(pv__alloc_grow(n->mem, (void **)&n->ties, &n->tie_cap, n->tie_count + 1,
                          sizeof(*n->ties), err));
    n->ties[n->tie_count++] = slot;
    return 0;
}

int pv__nearest_offer(pv__nearest *n, float distance, uint32_t slot, pv_error *err) {
    pv__topk *top = &n->top;
    if (top->count < top->k) {
        pv__topk_add(top, distance, slot);
        return 0;
    }
    const pv__hit worst = top->hits[0];
    if (distance > worst.distance) {
        return 0;
    }
    if (distance == worst.distance) {
        return nearest_tie(n, slot, err);
    }
    pv__topk_add(top, distance, slot); /* in the place of `worst` */
    if (top->hits[0].distance < worst.distance) {
        n->tie_count = 0;
        return 0;
    }
    return nearest_tie(n, worst.slot, err);
}

int pv__nearest_merge(pv__nearest *n, const pv__nearest *other, pv_error *err) {
    const pv__topk *top = &other->top;
    for (size_t i = 0; i < top->count; i++) {
        PV_TRY(pv__nearest_offer(n, top->hits[i].distance, top->hits[i].slot, err));
    }
    for (size_t i = 0; i < other->tie_count; i++) { /* E6: they tie with the heap's largest */
        PV_TRY(pv__nearest_offer(n, top->hits[0].distance, other->ties[i], err));
    }
    return 0;
}

bool pv__nearest_is_long(const pv__nearest *n) {
    return n->tie_count >= NEAREST_TIES_LONG && n->tie_count >= n->top.k;
}

/* ---- ordering by key --------------------------------------------------------------------- */

typedef struct nearest_keyed {
    size_t at; /* of the key in the buffer */
    uint32_t len, slot;
} nearest_keyed;

typedef struct nearest_keys {
    pv__buf bytes, row;
    nearest_keyed *items;
    uint32_t *order; /* indexes of items, to be sorted */
    size_t count, cap, order_cap;
} nearest_keys;

static void nearest_keys_init(nearest_keys *k, pv__mem *mem) {
    *k = (nearest_keys){.items = NULL};
    pv__buf_init(&k->bytes, mem);
    pv__buf_init(&k->row, mem);
}

static void nearest_keys_done(nearest_keys *k) {
    pv__alloc_free(k->bytes.mem, k->items, k->cap * sizeof(*k->items));
    pv__alloc_free(k->bytes.mem, k->order, k->order_cap * sizeof(*k->order));
    pv__buf_done(&k->row);
    pv__buf_done(&k->bytes);
}

static void nearest_keys_clear(nearest_keys *k) {
    k->count = 0;
    pv__buf_clear(&k->bytes);
}

static int nearest_keys_add(nearest_keys *k, pv__parts *p, uint32_t slot, pv_error *err) {
    pv__row row;
    PV_TRY(pv__alloc_grow(k->bytes.mem, (void **)&k->items, &k->cap, k->count + 1,
                          sizeof(*k->items), err));
    PV_TRY(pv__alloc_grow(k->bytes.mem, (void **)&k->order, &k->order_cap, k->count + 1,
                          sizeof(*k->order), err));
    PV_TRY(pv__row_get(p, slot, &k->row, &row, err));
    k->order[k->count] = (uint32_t)k->count;
    k->items[k->count++] = (nearest_keyed){k->bytes.len, (uint32_t)row.key_len, slot};
    pv__buf_add(&k->bytes, row.key, row.key_len);
    PV_TRY(pv__buf_check(&k->bytes, err));
    return pv__txn_pause(p->txn, err);
}

/* Distances are all equal here: the key alone decides, bytes first, then length. */
static bool nearest_less(const void *ctx, uint32_t a, uint32_t b) {
    const nearest_keys *k = ctx;
    const nearest_keyed *x = &k->items[a], *y = &k->items[b];
    const int order = memcmp(k->bytes.data + x->at, k->bytes.data + y->at, PV_MIN(x->len, y->len));
    return order != 0 ? order < 0 : x->len < y->len;
}

static uint32_t nearest_slot(const nearest_keys *k, size_t rank) {
    return k->items[k->order[rank]].slot;
}

/* All ties by key, into n->ties. */
static int nearest_order_ties(pv__nearest *n, nearest_keys *keys, pv__parts *p, pv_error *err) {
    uint64_t sum = 0, mix = 0;
    for (size_t i = 0; i < n->tie_count; i++) {
        pv__ties_sum(n->ties[i], &sum, &mix);
    }
    const bool keep = n->tie_count >= PV__TIES_SLOTS_MIN;
    const uint32_t *order = keep ? pv__ties_find(n->orders, sum, mix, n->tie_count) : NULL;
    if (order) {
        memcpy(n->ties, order, n->tie_count * sizeof(*n->ties));
        return 0;
    }
    for (size_t i = 0; i < n->tie_count; i++) {
        PV_TRY(nearest_keys_add(keys, p, n->ties[i], err));
    }
    pv__sort_u32(keys->order, keys->count, nearest_less, keys);
    for (size_t i = 0; i < n->tie_count; i++) {
        n->ties[i] = nearest_slot(keys, i);
    }
    uint32_t *place = keep ? pv__ties_add(n->orders, sum, mix, n->tie_count) : NULL;
    if (place) {
        memcpy(place, n->ties, n->tie_count * sizeof(*place));
    }
    return 0;
}

/* Of the rows at the bound, in the heap and in ties, keep as many as the heap has of them: the
 * first by key. */
static int nearest_choose(pv__nearest *n, nearest_keys *keys, pv__parts *p, pv_error *err) {
    pv__topk *top = &n->top;
    const float bound = top->hits[0].distance;
    size_t nearer = 0;
    for (size_t i = 0; i < top->count; i++) {
        if (top->hits[i].distance < bound) {
            top->hits[nearer++] = top->hits[i];
        } else {
            PV_TRY(nearest_tie(n, top->hits[i].slot, err));
        }
    }
    PV_TRY(nearest_order_ties(n, keys, p, err));
    for (size_t i = nearer; i < top->count; i++) {
        top->hits[i] = (pv__hit){bound, n->ties[i - nearer]};
    }
    /* It is a heap no more; adding one by one makes it one again, in the same array, since place
     * i is read before it is written. */
    const size_t count = top->count;
    top->count = 0;
    for (size_t i = 0; i < count; i++) {
        const pv__hit hit = top->hits[i];
        pv__topk_add(top, hit.distance, hit.slot);
    }
    n->tie_count = 0;
    return 0;
}

int pv__nearest_settle(pv__nearest *n, pv__parts *p, pv_error *err) {
    nearest_keys keys;
    if (n->tie_count == 0) {
        return 0;
    }
    nearest_keys_init(&keys, n->mem);
    int rc = nearest_choose(n, &keys, p, err);
    nearest_keys_done(&keys);
    return rc;
}

static int nearest_order_run(pv__nearest *n, nearest_keys *keys, size_t from, size_t to,
                             pv__parts *p, pv_error *err) {
    nearest_keys_clear(keys);
    for (size_t i = from; i < to; i++) {
        PV_TRY(nearest_keys_add(keys, p, n->top.hits[i].slot, err));
    }
    pv__sort_u32(keys->order, keys->count, nearest_less, keys);
    for (size_t i = from; i < to; i++) {
        n->top.hits[i].slot = nearest_slot(keys, i - from);
    }
    return 0;
}

int pv__nearest_finish(pv__nearest *n, pv__parts *p, pv_error *err) {
    pv__hit *hits = n->top.hits;
    nearest_keys keys;
    PV_TRY(pv__nearest_settle(n, p, err));
    pv__topk_sort(&n->top);
    nearest_keys_init(&keys, n->mem);
    int rc = 0;
    for (size_t from = 0, to; from < n->top.count && rc == 0; from = to) {
        to = from + 1;
        while (to < n->top.count && hits[to].distance == hits[from].distance) {
            to++;
        }
        if (to - from > 1) {
            rc = nearest_order_run(n, &keys, from, to, p, err);
        }
    }
    nearest_keys_done(&keys);
    return rc;
}

#undef NEAREST_TIES_LONG
