/* SPDX-License-Identifier: Apache-2.0 */
/* keep.c - small things that belong to pages on disk, kept while the pages themselves are not: the
 * fronts of piece.c, the squeezed pages of squeeze.c.
 *
 *      page id --hash--> set of KEEP_WAYS places, each --> {page id, checksum, bytes} or nothing
 *
 * What is kept is of the page whose table entry has the same checksum, so nothing has to be told
 * when a page changes: the old bytes are not found any more, and go before long.
 *
 * Each keep has a limit of its own, and all of it counts in cache_bytes. When it is full, a hand
 * goes round and takes what was not wanted since it last came by; pv__keep_age moves the hand too,
 * so that a keep that nobody asks gives its memory back to the pages.
 *
 * Lock: pv__keep.mutex, a leaf; never held during I/O. */
#include "store/internal.h"

#define KEEP_WAYS 4u
#define KEEP_SETS_MAX ((size_t)1 << 18)
#define KEEP_USED 3u     /* visits of the hand that something wanted survives */
#define KEEP_AGE 4096u   /* a call of pv__keep_age looks at one place of so many */
#define KEEP_LOOKS 4096u /* at places, for one thing to be put */

PV_PRIVATE int pv__keep_init(pv__keep *k, uint64_t bytes_max, uint32_t about, pv_error *err) {
    k->bytes_max = bytes_max;
    k->about = about;
    return pv__mutex_init(&k->mutex, err);
}

static void keep_book(pv__store *s, size_t more, size_t less) {
    atomic_fetch_add_explicit(&s->cache_bytes, more, memory_order_relaxed);
    atomic_fetch_sub_explicit(&s->cache_bytes, less, memory_order_relaxed);
}

static size_t keep_size(size_t bytes) { return offsetof(pv__kept, bytes) + bytes; }

static void keep_drop(pv__store *s, pv__keep *k, pv__kept **place) {
    const size_t size = keep_size((*place)->size);
    pv__alloc_free(s->mem, *place, size);
    *place = NULL;
    k->bytes -= size;
    keep_book(s, 0, size);
}

PV_PRIVATE void pv__keep_clear(pv__store *s, pv__keep *k) {
    for (size_t i = 0; i < k->sets * KEEP_WAYS; i++) {
        if (k->ways[i]) {
            keep_drop(s, k, &k->ways[i]);
        }
    }
    pv__alloc_free(s->mem, k->ways, k->sets * KEEP_WAYS * sizeof *k->ways);
    keep_book(s, 0, k->sets * KEEP_WAYS * sizeof *k->ways);
    k->ways = NULL;
    k->sets = k->hand = 0;
}

PV_PRIVATE void pv__keep_done(pv__store *s, pv__keep *k) {
    pv__keep_clear(s, k);
    pv__mutex_done(&k->mutex);
}

static pv__kept **keep_set(const pv__keep *k, uint64_t page_id) {
    return k->ways + (size_t)(pv__mix64(page_id) % k->sets) * KEEP_WAYS;
}

PV_PRIVATE size_t pv__keep_get(pv__keep *k, uint64_t page_id, uint64_t checksum, uint8_t *to,
                               size_t room) {
    size_t size = 0;
    pv__mutex_lock(&k->mutex);
    for (size_t i = 0; i < KEEP_WAYS && k->sets > 0 && size == 0; i++) {
        pv__kept *p = keep_set(k, page_id)[i];
        if (p && p->page_id == page_id && p->checksum == checksum && p->size <= room) {
            size = p->size;
            p->used = KEEP_USED;
            memcpy(to, p->bytes, size);
        }
    }
    pv__mutex_unlock(&k->mutex);
    return size;
}

/* Twice as many places as things, so that few sets overflow. */
static bool keep_ready(pv__store *s, pv__keep *k) {
    if (k->sets == 0) {
        const size_t sets = (size_t)(k->bytes_max / k->about) * 2 / KEEP_WAYS + 1;
        const size_t count = PV_MIN(sets, KEEP_SETS_MAX) * KEEP_WAYS;
        k->ways = pv__alloc_zero(s->mem, count * sizeof *k->ways);
        k->sets = k->ways ? count / KEEP_WAYS : 0;
        keep_book(s, k->sets * KEEP_WAYS * sizeof *k->ways, 0);
    }
    return k->sets > 0;
}

/* The hand passes by one place. */
static void keep_visit(pv__store *s, pv__keep *k) {
    pv__kept **place = &k->ways[k->hand];
    k->hand = k->hand + 1 < k->sets * KEEP_WAYS ? k->hand + 1 : 0;
    if (*place && (*place)->used == 0) {
        keep_drop(s, k, place);
    } else if (*place) {
        (*place)->used--;
    }
}

/* Where something new goes: the place of the same page, a free one, that used least. Empty. */
static pv__kept **keep_place(pv__store *s, pv__keep *k, uint64_t page_id) {
    pv__kept **const set = keep_set(k, page_id), **place = &set[0];
    for (size_t i = 0; i < KEEP_WAYS; i++) {
        if (set[i] && set[i]->page_id == page_id) {
            place = &set[i];
            break;
        }
        if (*place && (!set[i] || set[i]->used < (*place)->used)) {
            place = &set[i];
        }
    }
    if (*place) {
        keep_drop(s, k, place);
    }
    return place;
}

PV_PRIVATE bool pv__keep_put(pv__store *s, pv__keep *k, uint64_t page_id, uint64_t checksum,
                             const uint8_t *bytes, size_t size) {
    bool kept = false;
    pv__mutex_lock(&k->mutex);
    if (keep_ready(s, k)) {
        pv__kept **place = keep_place(s, k, page_id);
        for (unsigned i = 0; i < KEEP_LOOKS && k->bytes + keep_size(size) > k->bytes_max; i++) {
            keep_visit(s, k);
        }
        if (k->bytes + keep_size(size) <= k->bytes_max) {
            *place = pv__alloc(s->mem, keep_size(size));
        }
        kept = *place != NULL;
        if (kept) {
            **place = (pv__kept){page_id, checksum, (uint32_t)size, KEEP_USED};
            memcpy((*place)->bytes, bytes, size);
            k->bytes += keep_size(size);
            keep_book(s, keep_size(size), 0);
        }
    }
    pv__mutex_unlock(&k->mutex);
    return kept;
}

PV_PRIVATE void pv__keep_age(pv__store *s, pv__keep *k) {
    pv__mutex_lock(&k->mutex);
    for (size_t i = 0; k->sets > 0 && i <= k->sets * KEEP_WAYS / KEEP_AGE; i++) {
        keep_visit(s, k);
    }
    pv__mutex_unlock(&k->mutex);
}

#undef KEEP_WAYS
#undef KEEP_SETS_MAX
#undef KEEP_USED
#undef KEEP_AGE
#undef KEEP_LOOKS
