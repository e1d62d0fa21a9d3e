/* SPDX-License-Identifier: Apache-2.0 */
/* slotcheck.c - the invariants F1 to F3 of slots.c, checked page by page.
 *
 * Not here: the pages themselves (pv__column_check). */
#include "vector/bits.h"
#include "vector/freemap.h"

typedef struct slotcheck {
    const pv__slots *s;
    pv__check_fn fn;
    void *ctx;
    uint64_t *io_bad;
} slotcheck;

static void slotcheck_found(slotcheck *k, uint64_t page_id, const char *what) {
    ++*k->io_bad;
    if (k->fn) {
        k->fn(k->ctx, page_id, k->s->bits.owner, what);
    }
}

/* F1 and F2. */
static int slotcheck_bits(slotcheck *k, pv_error *err) {
    const pv__slots *s = k->s;
    const uint32_t high = s->meta.high_water;
    uint64_t live = 0, first = 0;
    bool beyond = false;
    for (uint32_t p = 0; first < high; p++, first += PV__BITS_PER_PAGE) {
        const uint8_t *page;
        PV_TRY(pv__column_page_read(&s->bits, p, &page, err));
        if (page) {
            const uint32_t n = (uint32_t)PV_MIN(high - first, (uint64_t)PV__BITS_PER_PAGE);
            const uint32_t below = pv__bits_count(page, 0, n);
            live += below;
            beyond = beyond || pv__bits_count(page, 0, PV__BITS_PER_PAGE) != below;
        }
        PV_TRY(pv__txn_pause(s->bits.txn, err));
    }
    uint32_t pages;
    PV_TRY(pv__column_page_count(&s->bits, &pages, err));
    if (beyond || (uint64_t)pages * PV__BITS_PER_PAGE >= (uint64_t)high + PV__BITS_PER_PAGE) {
        slotcheck_found(k, s->meta.bits_root, "live slots beyond the high-water mark");
    }
    if (live != s->meta.live_count) {
        slotcheck_found(k, s->meta.bits_root, "live slots and their count differ");
    }
    return 0;
}

/* F3 for one group. */
static int slotcheck_group(const pv__slots *s, uint32_t group, bool *out_ok, pv_error *err) {
    const uint64_t first = (uint64_t)group * s->meta.group_size;
    const uint64_t end = PV_MIN(first + s->meta.group_size, (uint64_t)s->meta.high_water);
    uint64_t words[PV__ROW_WORDS_MAX];
    uint32_t live;
    uint8_t value;
    PV_TRY(pv__slots_bits(s, (uint32_t)first, (uint32_t)(end - first), words, &live, err));
    PV_TRY(pv__freemap_get(&s->free_map, group, &value, err));
    const uint32_t dead = (uint32_t)(end - first) - live;
    const bool refilled = s->meta.group == group + 1;
    *out_ok = value == (refilled ? 0 : pv__freemap_value(dead, s->meta.group_size));
    return 0;
}

static int slotcheck_map(slotcheck *k, pv_error *err) {
    const pv__slots *s = k->s;
    const uint32_t groups =
        (uint32_t)(((uint64_t)s->meta.high_water + s->meta.group_size - 1) / s->meta.group_size);
    bool bytes_ok = true, maxima_ok = true, ok;
    for (uint32_t g = 0; g < groups; g++) {
        if (g % PV__FREEMAP_FANOUT == 0) {
            PV_TRY(pv__freemap_maxima(&s->free_map, g / PV__FREEMAP_FANOUT, &ok, err));
            maxima_ok = maxima_ok && ok;
        }
        PV_TRY(slotcheck_group(s, g, &ok, err));
        bytes_ok = bytes_ok && ok;
        PV_TRY(pv__txn_pause(s->bits.txn, err));
    }
    if (!bytes_ok) {
        slotcheck_found(k, s->meta.free_root, "free map differs from the live slots");
    }
    if (!maxima_ok) {
        slotcheck_found(k, s->meta.free_root, "maxima of the free map are wrong");
    }
    return 0;
}

int pv__slots_check(const pv__slots *s, pv__check_fn fn, void *ctx, uint64_t *io_bad,
                    pv_error *err) {
    slotcheck k = {s, fn, ctx, io_bad};
    const uint64_t bad = *io_bad;
    PV_TRY(pv__column_check(&s->bits, fn, ctx, io_bad, err));
    PV_TRY(pv__column_check(&s->free_map, fn, ctx, io_bad, err));
    if (*io_bad != bad) {
        return 0; /* what cannot be read cannot be compared */
    }
    PV_TRY(slotcheck_bits(&k, err));
    return slotcheck_map(&k, err);
}
