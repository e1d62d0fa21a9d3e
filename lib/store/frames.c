/* SPDX-License-Identifier: Apache-2.0 */
/* frames.c - memory for resident versions: a frame is a descriptor and the bytes of one page.
 *
 *      slab (2 MiB, huge page)   | frame | frame | free | frame | ... | rest |    one size of page
 *                                    '-- ids[]: which page is in it, 0: free
 *      single frame              one request to the allocator
 *
 * Why: frames of 8 KiB to 256 KiB that come and go one by one leave gaps in the C library's heap
 * that no budget sees, and scans want huge pages. A slab is counted in cache_bytes as a whole from
 * the moment it is mapped, so the budget holds for what the process really has; what that wastes
 * is bounded: the rest of a slab (at most 3.1 %), and per size of page in use one slab that is not
 * full. Eviction (versions.c) empties whole slabs of sizes that are asked for less, so that memory
 * wanders between sizes.
 *
 * Memory that a load will take next is made ready by a helper: its first touch costs as much as
 * what is put in (the system zeroes it; a virtual machine has to have it from its host before:
 * 0.1 and 1.3 ms for 2 MiB). It waits in the stock, as does that of emptied slabs, and is counted.
 *
 * Single are: the first MiB of each size (a small database stays small), frames beyond the budget
 * while nothing can be evicted, all frames where the cache is smaller than 8 MiB, and all frames
 * over a caller's allocator: that one owns every byte, in requests it can count and refuse. So
 * are all frames in debug builds and under the address sanitizer, unless a test asks for slabs:
 * one request a frame lets the sanitizer see each use of a freed one. Free frames of slabs are
 * poisoned for it. They are linked in a ring, which eviction goes round: who is evicted is looked
 * for among what is in memory, not among the pages of the database.
 *
 * Lock: frames.mutex, a leaf; memory is mapped under it, nothing else waits. The helper maps and
 * touches without it. */
#include "store/internal.h"

#if defined(__SANITIZE_ADDRESS__)
#define FRAMES_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FRAMES_ASAN 1
#endif
#endif
#if defined(FRAMES_ASAN)
#include <sanitizer/asan_interface.h>
#define FRAMES_HIDE(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define FRAMES_SHOW(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define FRAMES_HIDE(p, n) ((void)0)
#define FRAMES_SHOW(p, n) ((void)0)
#endif

#define FRAMES_UNIT ((size_t)2 << 20)         /* a huge page */
#define FRAMES_UNIT_SMALL ((size_t)256 << 10) /* where 2 MiB are too much of the whole: */
#define FRAMES_SMALL ((uint64_t)32 << 20)     /* caches below this, and */
#define FRAMES_CACHE_MIN ((uint64_t)8 << 20)  /* not below that */
#define FRAMES_SINGLE_SHARE 32u /* bytes of a size before its first slab: of the cache, and ... */
#define FRAMES_SINGLE_MAX ((uint64_t)1 << 20) /* ... at most */
#define FRAMES_WASTE 32u                      /* at most 1/32 of a slab, if some length can */
#define FRAMES_SHARE 16u      /* a slab is at most this part of the cache, and the stock too */
#define FRAMES_STOCK_SHARE 4u /* the stock is at most this part of the slabs, but see give_back */

PV_PRIVATE int pv__frames_init(pv__store *s, uint64_t slab_bytes, pv_error *err) {
    pv__frames *f = &s->frames;
    PV_TRY(pv__mutex_init(&f->mutex, err));
    PV_TRY(pv__helper_init(&f->stocker, !s->no_threads, err));
    f->unit = (size_t)slab_bytes;
    f->single_max = 0;
    if (slab_bytes == 0) {
#if !defined(FRAMES_ASAN) && !defined(PV_DEBUG)
        const bool own = s->mem->allocator.realloc == NULL;
        f->unit = !own || s->cache_limit < FRAMES_CACHE_MIN ? 0
                  : s->cache_limit < FRAMES_SMALL           ? FRAMES_UNIT_SMALL
                                                            : FRAMES_UNIT;
#endif
        f->single_max = PV_MIN(s->cache_limit / FRAMES_SINGLE_SHARE, FRAMES_SINGLE_MAX);
    }
    return PV_OK;
}

/* ---- stock: memory for slabs to come --------------------------------------------------------- */

static bool frames_fits(const pv__store *s, size_t bytes) {
    return atomic_load_explicit(&s->cache_bytes, memory_order_relaxed) + bytes <= s->cache_limit;
}

/* Count a slab before its memory is there. False: over the budget or the limit. */
static bool frames_book(pv__store *s, size_t bytes) {
    if (!frames_fits(s, bytes) || !pv__alloc_book(s->mem, bytes)) {
        return false;
    }
    atomic_fetch_add_explicit(&s->cache_bytes, bytes, memory_order_relaxed);
    return true;
}

static void frames_unbook(pv__store *s, size_t bytes) {
    atomic_fetch_sub_explicit(&s->cache_bytes, bytes, memory_order_relaxed);
    pv__alloc_unbook(s->mem, bytes);
}

static void frames_unmap(pv__store *s, void *base, size_t bytes) {
    FRAMES_SHOW(base, bytes);
    pv__sys_unmap(base, bytes);
    frames_unbook(s, bytes);
}

static void *frames_stock_remove(pv__frames *f, uint32_t i) {
    void *base = f->stock[i].base;
    atomic_fetch_sub_explicit(&f->stock_bytes, f->stock[i].bytes, memory_order_relaxed);
    f->stock_count--;
    memmove(&f->stock[i], &f->stock[i + 1], (f->stock_count - i) * sizeof f->stock[0]);
    return base;
}

static void frames_stock_drop(pv__store *s) {
    const size_t bytes = s->frames.stock[0].bytes;
    frames_unmap(s, frames_stock_remove(&s->frames, 0), bytes);
}

static void frames_stock_add(pv__store *s, void *base, size_t bytes) {
    pv__frames *f = &s->frames;
    if (f->stock_count == PV__STOCK_MAX) {
        frames_stock_drop(s);
    }
    f->stock[f->stock_count].base = base;
    f->stock[f->stock_count++].bytes = bytes;
    atomic_fetch_add_explicit(&f->stock_bytes, bytes, memory_order_relaxed);
}

/* The stock is short of what a load takes next: a part of what there is, so that a small database
 * stays small. */
static bool frames_stock_short(const pv__store *s) {
    const pv__frames *f = &s->frames;
    const uint64_t have = atomic_load_explicit(&f->stock_bytes, memory_order_relaxed);
    return f->wanted != 0 && f->stock_count < PV__STOCK_MAX &&
           f->stock_count < f->count / FRAMES_STOCK_SHARE &&
           have + f->wanted <= s->cache_limit / FRAMES_SHARE && frames_fits(s, f->wanted);
}

/* The helper's job. A job is not longer than the stock. */
static void frames_stock_fill(void *ctx) {
    pv__store *s = ctx;
    pv__frames *f = &s->frames;
    pv__mutex_lock(&f->mutex);
    while (frames_stock_short(s) && frames_book(s, f->wanted)) {
        const size_t bytes = f->wanted;
        pv__mutex_unlock(&f->mutex);
        void *base = pv__sys_map(bytes);
        if (base) {
            pv__sys_touch(base, bytes);
        }
        pv__mutex_lock(&f->mutex);
        if (!base) {
            frames_unbook(s, bytes);
            break;
        }
        FRAMES_HIDE(base, bytes);
        frames_stock_add(s, base, bytes);
    }
    f->filling = false;
    pv__mutex_unlock(&f->mutex);
}

PV_PRIVATE void pv__frames_ahead(pv__store *s) {
    pv__frames *f = &s->frames;
    pv__mutex_lock(&f->mutex);
    const bool start = f->stocker.allowed && !f->filling && frames_stock_short(s);
    f->filling |= start;
    pv__mutex_unlock(&f->mutex);
    if (start && !pv__helper_start(&f->stocker, frames_stock_fill, s)) {
        pv__mutex_lock(&f->mutex);
        f->filling = false; /* the last job is about to end, or there is no thread */
        pv__mutex_unlock(&f->mutex);
    }
}

/* Memory for a slab, counted: from the stock, else from the system, where the rest of the stock may
 * have to make room. NULL: over the budget, the limit, or there is none. */
static void *frames_get(pv__store *s, size_t bytes) {
    pv__frames *f = &s->frames;
    f->wanted = bytes;
    for (uint32_t i = f->stock_count; i-- > 0;) {
        if (f->stock[i].bytes == bytes) {
            return frames_stock_remove(f, i);
        }
    }
    while (f->stock_count > 0 && !frames_fits(s, bytes)) {
        frames_stock_drop(s);
    }
    if (!frames_book(s, bytes)) {
        return NULL;
    }
    void *base = pv__sys_map(bytes);
    if (!base) {
        frames_unbook(s, bytes);
    }
    return base;
}

static void frames_give_back(pv__store *s, void *base, size_t bytes) {
    pv__frames *f = &s->frames;
    FRAMES_HIDE(base, bytes);
    frames_stock_add(s, base, bytes);
    while (f->stock_count > 0 &&
           (!frames_fits(s, 0) ||
            (f->stock_count > 1 && atomic_load_explicit(&f->stock_bytes, memory_order_relaxed) >
                                       s->cache_limit / FRAMES_SHARE))) {
        frames_stock_drop(s);
    }
}

/* ---- slabs --------------------------------------------------------------------------------- */

/* Bytes of a slab for frames of `size`: 1, 2 or 4 units, the fewest that waste little. 0: none. */
static size_t frames_slab_bytes(const pv__store *s, size_t size) {
    size_t best = 0, best_waste = 0;
    for (size_t bytes = s->frames.unit; bytes <= 4 * s->frames.unit; bytes *= 2) {
        const size_t waste = bytes % size;
        if (bytes == 0 || bytes < 2 * size) {
            continue;
        }
        if (best != 0 && bytes > s->cache_limit / FRAMES_SHARE) {
            break;
        }
        if (best == 0 || waste * best < best_waste * bytes) {
            best = bytes;
            best_waste = waste;
        }
        if (waste * FRAMES_WASTE <= bytes) {
            break;
        }
    }
    return best;
}

static size_t frames_slab_cost(const pv__slab *b) {
    return b->bytes + sizeof *b + b->frames * sizeof(uint32_t);
}

/* Put b in front of the slabs of its size that have free frames, or take it out. */
static void frames_link(pv__frames *f, pv__slab *b) {
    b->prev = NULL;
    b->next = f->open[b->raw_slots];
    if (b->next) {
        b->next->prev = b;
    }
    f->open[b->raw_slots] = b;
}

static void frames_unlink(pv__frames *f, pv__slab *b) {
    if (b->prev) {
        b->prev->next = b->next;
    } else {
        f->open[b->raw_slots] = b->next;
    }
    if (b->next) {
        b->next->prev = b->prev;
    }
}

static pv__slab *frames_add_slab(pv__store *s, unsigned raw_slots, size_t bytes) {
    pv__frames *f = &s->frames;
    pv_error ignored = PV_ERROR_INIT;
    const size_t frames = PV_MIN(bytes / pv__ver_bytes(raw_slots), (size_t)PV__SLAB_FRAMES_MAX);
    const size_t head = sizeof(pv__slab) + frames * sizeof(uint32_t);
    if (pv__alloc_grow(s->mem, (void **)&f->slabs, &f->cap, f->count + 1, sizeof(pv__slab *),
                       &ignored)) {
        return NULL;
    }
    pv__slab *b = pv__alloc_zero(s->mem, head);
    if (!b) {
        return NULL;
    }
    b->base = frames_get(s, bytes);
    if (!b->base) {
        pv__alloc_free(s->mem, b, head);
        return NULL;
    }
    FRAMES_HIDE(b->base, bytes);
    b->bytes = bytes;
    b->frames = (uint32_t)frames;
    b->raw_slots = (uint8_t)raw_slots;
    b->at = f->count;
    f->slabs[f->count++] = b;
    atomic_fetch_add_explicit(&f->free[raw_slots], frames, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->cache_bytes, head, memory_order_relaxed);
    frames_link(f, b);
    return b;
}

static void frames_remove_slab(pv__store *s, pv__slab *b) {
    pv__frames *f = &s->frames;
    const size_t head = frames_slab_cost(b) - b->bytes;
    frames_unlink(f, b);
    atomic_fetch_sub_explicit(&f->free[b->raw_slots], b->frames, memory_order_relaxed);
    f->slabs[b->at] = f->slabs[--f->count];
    f->slabs[b->at]->at = b->at;
    frames_give_back(s, b->base, b->bytes);
    atomic_fetch_sub_explicit(&s->cache_bytes, head, memory_order_relaxed);
    pv__alloc_free(s->mem, b, head);
}

/* ---- frames -------------------------------------------------------------------------------- */

static pv__ver *frames_from(pv__frames *f, pv__slab *b, uint64_t page_id) {
    const size_t size = pv__ver_bytes(b->raw_slots);
    uint32_t i = b->first_free;
    while (b->ids[i] != 0) {
        i++;
    }
    PV_DEBUG_ASSERT(i < b->frames);
    b->ids[i] = (uint32_t)page_id;
    b->first_free = i + 1;
    atomic_fetch_sub_explicit(&f->free[b->raw_slots], 1, memory_order_relaxed);
    if (++b->used == b->frames) {
        frames_unlink(f, b);
    }
    pv__ver *v = (pv__ver *)(void *)(b->base + i * size);
    FRAMES_SHOW(v, size);
    memset(v, 0, PV__VER_HEAD);
    v->page_id = page_id;
    v->slab = b;
    return v;
}

PV_PRIVATE pv__ver *pv__frame_take(pv__store *s, uint64_t page_id, unsigned raw_slots,
                                   bool *out_last) {
    pv__frames *f = &s->frames;
    pv__ver *v = NULL;
    *out_last = false;
    if (f->unit == 0) {
        return NULL;
    }
    pv__mutex_lock(&f->mutex);
    pv__slab *b = f->open[raw_slots];
    if (b) {
        const uint32_t few = b->frames / 16 + 1;
        v = frames_from(f, b, page_id);
        *out_last = atomic_load_explicit(&f->free[raw_slots], memory_order_relaxed) == few;
    }
    pv__mutex_unlock(&f->mutex);
    return v;
}

/* Into the ring, where the hand comes by last. */
static void frames_ring_add(pv__frames *f, pv__ver *v) {
    pv__mutex_lock(&f->mutex);
    if (f->ring) {
        v->after = f->ring;
        v->before = f->ring->before;
        v->before->after = v;
        v->after->before = v;
    } else {
        f->ring = v->after = v->before = v;
    }
    f->ring_count++;
    pv__mutex_unlock(&f->mutex);
}

static void frames_ring_remove(pv__frames *f, pv__ver *v) {
    pv__mutex_lock(&f->mutex);
    v->after->before = v->before;
    v->before->after = v->after;
    if (f->ring == v) {
        f->ring = v->after != v ? v->after : NULL;
    }
    f->ring_count--;
    pv__mutex_unlock(&f->mutex);
}

static pv__ver *frames_single(pv__store *s, uint64_t page_id, unsigned raw_slots) {
    const size_t size = pv__ver_bytes(raw_slots);
    pv__ver *v = pv__alloc_aligned(s->mem, size, 64);
    if (v) {
        memset(v, 0, PV__VER_HEAD);
        v->page_id = page_id;
        frames_ring_add(&s->frames, v);
        atomic_fetch_add_explicit(&s->frames.single[raw_slots], size, memory_order_relaxed);
        atomic_fetch_add_explicit(&s->cache_bytes, size, memory_order_relaxed);
    }
    return v;
}

PV_PRIVATE pv__ver *pv__frame_grow(pv__store *s, uint64_t page_id, unsigned raw_slots,
                                   bool beyond) {
    pv__frames *f = &s->frames;
    const size_t size = pv__ver_bytes(raw_slots);
    const uint64_t single = atomic_load_explicit(&f->single[raw_slots], memory_order_relaxed);
    const size_t bytes = f->unit ? frames_slab_bytes(s, size) : 0;
    const bool slabs = bytes != 0 && single + size > f->single_max;
    pv__ver *v = NULL;
    if (slabs) {
        pv__mutex_lock(&f->mutex);
        /* Another thread may have been here first. */
        pv__slab *b = f->open[raw_slots];
        b = b ? b : frames_add_slab(s, raw_slots, bytes);
        v = b ? frames_from(f, b, page_id) : NULL;
        pv__mutex_unlock(&f->mutex);
    }
    const uint64_t used = atomic_load_explicit(&s->cache_bytes, memory_order_relaxed);
    if (!v && (beyond || (!slabs && used + size <= s->cache_limit))) {
        v = frames_single(s, page_id, raw_slots);
    }
    return v;
}

PV_PRIVATE void pv__frame_free(pv__store *s, pv__ver *v) {
    pv__frames *f = &s->frames;
    const size_t size = pv__ver_bytes(v->raw_slots);
    pv__slab *b = v->slab;
    if (!b) {
        if (!f->closing) { /* else all of the ring goes */
            frames_ring_remove(f, v);
        }
        atomic_fetch_sub_explicit(&f->single[v->raw_slots], size, memory_order_relaxed);
        atomic_fetch_sub_explicit(&s->cache_bytes, size, memory_order_relaxed);
        pv__alloc_free_aligned(s->mem, v, size, 64);
        return;
    }
    if (f->closing) {
        return; /* pv__frames_done unmaps all of it */
    }
    pv__mutex_lock(&f->mutex);
    const uint32_t i = (uint32_t)((size_t)((uint8_t *)v - b->base) / size);
    PV_DEBUG_ASSERT(b->ids[i] == v->page_id);
    FRAMES_HIDE(v, size);
    b->ids[i] = 0;
    b->first_free = PV_MIN(b->first_free, i);
    atomic_fetch_add_explicit(&f->free[b->raw_slots], 1, memory_order_relaxed);
    if (b->used-- == b->frames) {
        frames_link(f, b);
    }
    if (b->used == 0) {
        frames_remove_slab(s, b);
    }
    pv__mutex_unlock(&f->mutex);
}

PV_PRIVATE bool pv__frames_next(pv__store *s, pv__slab_view *out) {
    pv__frames *f = &s->frames;
    pv__mutex_lock(&f->mutex);
    out->count = f->count;
    out->frames = 0;
    if (f->count > 0) {
        f->hand = f->hand + 1 < f->count ? f->hand + 1 : 0;
        const pv__slab *b = f->slabs[f->hand];
        out->at = f->hand;
        out->base = (uintptr_t)b->base;
        out->bytes = b->bytes;
        out->raw_slots = b->raw_slots;
        out->used = b->used;
        out->frames = b->frames;
        memcpy(out->ids, b->ids, out->frames * sizeof(uint32_t));
    }
    pv__mutex_unlock(&f->mutex);
    return out->frames > 0;
}

PV_PRIVATE bool pv__frames_next_singles(pv__store *s, uint64_t most, pv__ring_view *out) {
    pv__frames *f = &s->frames;
    pv__mutex_lock(&f->mutex);
    out->all = f->ring_count;
    out->count = (uint32_t)PV_MIN(PV_MIN(f->ring_count, most), (uint64_t)PV__RING_STEPS);
    for (uint32_t i = 0; i < out->count; i++) {
        out->at[i].page_id = f->ring->page_id;
        out->at[i].frame = (uintptr_t)f->ring;
        f->ring = f->ring->after;
    }
    pv__mutex_unlock(&f->mutex);
    return out->count > 0;
}

PV_PRIVATE uint64_t pv__frames_excess(const pv__store *s) {
    uint64_t bytes = 0;
    for (unsigned i = 1; i <= PV__PAGE_SLOTS_MAX; i++) {
        const uint64_t n = atomic_load_explicit(&s->frames.single[i], memory_order_relaxed);
        bytes += n > s->frames.single_max ? n - s->frames.single_max : 0;
    }
    return bytes;
}

PV_PRIVATE void pv__frames_close(pv__store *s) { s->frames.closing = true; }

PV_PRIVATE void pv__frames_done(pv__store *s) {
    pv__frames *f = &s->frames;
    for (uint32_t i = 0; i < f->count; i++) {
        pv__slab *b = f->slabs[i];
        frames_unmap(s, b->base, b->bytes);
        pv__alloc_free(s->mem, b, frames_slab_cost(b) - b->bytes);
    }
    while (f->stock_count > 0) {
        frames_stock_drop(s);
    }
    pv__helper_done(&f->stocker);
    pv__alloc_free(s->mem, f->slabs, f->cap * sizeof *f->slabs);
    pv__mutex_done(&f->mutex);
}

#undef FRAMES_HIDE
#undef FRAMES_SHOW
#undef FRAMES_UNIT
#undef FRAMES_CACHE_MIN
#undef FRAMES_UNIT_SMALL
#undef FRAMES_SMALL
#undef FRAMES_SINGLE_SHARE
#undef FRAMES_SINGLE_MAX
#undef FRAMES_WASTE
#undef FRAMES_SHARE
#undef FRAMES_STOCK_SHARE
