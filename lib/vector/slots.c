/* SPDX-License-Identifier: Apache-2.0 */
/* slots.c - which slots are live, and which dead one is handed out next.
 *
 *      meta (the caller's page)    high-water mark, live count, group being refilled
 *      bits     column of 8-byte rows in 4 KiB pages: 1 bit a slot, 32,256 slots a page
 *      free map column of bytes: how dead each group of slots is (freemap.h)
 *
 * A group is a run of group_size slots: the rows of one page of the widest column. A new slot is
 * taken where it costs least: dead slots first, one group after the other, the group with most
 * dead slots first, so that a burst of inserts changes few pages of vectors.
 *
 * F1  Slots below the high-water mark are live (bit 1) or dead (bit 0); above it all bits are 0.
 * F2  live_count is the number of bits that are 1.
 * F3  The byte of a group in the free map tells its dead slots below the high-water mark; that of
 *     the group being refilled is 0, so that refilling changes no page of the map.
 * F4  Meta is changed in memory only after every page call of an operation has succeeded.
 *
 * The high-water mark never falls: pages without live slots are given back one by one
 * (pv__slots_reclaim) and scans step over them at the cost of their bits.
 *
 * Not here: check (slotcheck.c). */
#include "vector/bits.h"
#include "vector/coldir.h"
#include "vector/freemap.h"

void pv__slots_meta_encode(const pv__slots_meta *m, uint8_t out[PV__SLOTS_META_BYTES]) {
    pv__put64(out, m->bits_root);
    pv__put64(out + 8, m->free_root);
    pv__put32(out + 16, m->group_size);
    pv__put32(out + 20, m->high_water);
    pv__put32(out + 24, m->live_count);
    pv__put32(out + 28, m->group);
}

void pv__slots_meta_decode(const uint8_t in[PV__SLOTS_META_BYTES], pv__slots_meta *out) {
    out->bits_root = pv__get64(in);
    out->free_root = pv__get64(in + 8);
    out->group_size = pv__get32(in + 16);
    out->high_water = pv__get32(in + 20);
    out->live_count = pv__get32(in + 24);
    out->group = pv__get32(in + 28);
}

int pv__slots_create(pv__txn *txn, uint32_t owner, uint32_t group_size, pv__slots_meta *out_meta,
                     pv_error *err) {
    pv__slots_meta m = {0, 0, group_size, 0, 0, 0};
    PV_ASSERT(group_size >= 1 && group_size <= PV__ROWS_PER_PAGE_MAX);
    PV_TRY(pv__column_create_part(txn, owner, sizeof(uint64_t), 1, 0, &m.bits_root, err));
    const int rc = pv__column_create_part(txn, owner, 1, 1, 1, &m.free_root, err);
    if (rc) {
        pv__txn_doom(txn, rc);
        return rc;
    }
    *out_meta = m;
    return 0;
}

int pv__slots_open(pv__txn *txn, uint32_t owner, const pv__slots_meta *meta, pv__slots *out_slots,
                   pv_error *err) {
    pv__slots s;
    s.meta = *meta;
    if (meta->group_size < 1 || meta->group_size > PV__ROWS_PER_PAGE_MAX ||
        meta->high_water > PV__SLOTS_PER_COLLECTION_MAX || meta->live_count > meta->high_water ||
        (meta->group && (uint64_t)(meta->group - 1) * meta->group_size >= meta->high_water)) {
        return pv__err(err, PV_ERR_CORRUPT, "impossible slot counters of object %u",
                       (unsigned)owner);
    }
    PV_TRY(pv__column_open(txn, owner, meta->bits_root, sizeof(uint64_t), &s.bits, err));
    PV_TRY(pv__column_open(txn, owner, meta->free_root, 1, &s.free_map, err));
    if (s.bits.part != 0 || s.bits.rows_per_page != PV__BITS_WORDS || s.free_map.part != 1 ||
        s.free_map.rows_per_page != PV__FREEMAP_FANOUT) {
        return pv__err(err, PV_ERR_CORRUPT, "slot columns of object %u have a wrong shape",
                       (unsigned)owner);
    }
    *out_slots = s;
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------- */

int pv__slots_is_live(const pv__slots *s, uint32_t slot, bool *out_live, pv_error *err) {
    const uint8_t *words;
    if (slot >= s->meta.high_water) {
        *out_live = false;
        return 0;
    }
    PV_TRY(pv__column_page_read(&s->bits, slot / PV__BITS_PER_PAGE, &words, err));
    *out_live = words && pv__bits_test(words, slot % PV__BITS_PER_PAGE);
    return 0;
}

int pv__slots_bits(const pv__slots *s, uint32_t first, uint32_t count, uint64_t *words,
                   uint32_t *out_live, pv_error *err) {
    const uint64_t end = PV_MIN((uint64_t)first + count, (uint64_t)s->meta.high_water);
    uint32_t live = 0;
    memset(words, 0, (size_t)((uint64_t)count + 63) / 64 * sizeof *words);
    for (uint64_t slot = first; slot < end;) {
        const uint32_t at = (uint32_t)(slot % PV__BITS_PER_PAGE);
        const uint32_t n = (uint32_t)PV_MIN(end - slot, (uint64_t)(PV__BITS_PER_PAGE - at));
        const uint8_t *page;
        PV_TRY(pv__column_page_read(&s->bits, (uint32_t)(slot / PV__BITS_PER_PAGE), &page, err));
        if (page) {
            live += pv__bits_copy(page, at, n, words, (uint32_t)(slot - first));
        }
        slot += n;
    }
    if (out_live) {
        *out_live = live;
    }
    return 0;
}

int pv__slots_next(const pv__slots *s, uint32_t from, uint32_t *out_slot, bool *out_found,
                   pv_error *err) {
    for (uint64_t slot = from; slot < s->meta.high_water;) {
        const uint8_t *page;
        const uint32_t ordinal = (uint32_t)(slot / PV__BITS_PER_PAGE);
        const uint64_t first = (uint64_t)ordinal * PV__BITS_PER_PAGE;
        PV_TRY(pv__column_page_read(&s->bits, ordinal, &page, err));
        if (page) {
            const uint32_t at =
                pv__bits_next(page, (uint32_t)(slot - first), PV__BITS_PER_PAGE, true);
            if (at < PV__BITS_PER_PAGE && first + at < s->meta.high_water) {
                *out_slot = (uint32_t)(first + at);
                *out_found = true;
                return 0;
            }
        }
        slot = first + PV__BITS_PER_PAGE;
    }
    *out_found = false;
    return 0;
}

/* ---- changing ------------------------------------------------------------------------------ */

static int vslots_set_bit(const pv__slots *s, uint32_t slot, bool live, pv_error *err) {
    uint8_t *words;
    PV_TRY(pv__column_page_write(&s->bits, slot / PV__BITS_PER_PAGE, &words, err));
    pv__bits_set(words, slot % PV__BITS_PER_PAGE, live);
    return 0;
}

/* Lowest dead slot of a group, or high_water when it has none. */
static int vslots_dead_in(const pv__slots *s, uint32_t group, uint32_t *out_slot, pv_error *err) {
    const uint64_t first = (uint64_t)group * s->meta.group_size;
    const uint64_t end = PV_MIN(first + s->meta.group_size, (uint64_t)s->meta.high_water);
    for (uint64_t slot = first; slot < end;) {
        const uint32_t at = (uint32_t)(slot % PV__BITS_PER_PAGE);
        const uint32_t n = (uint32_t)PV_MIN(end - slot, (uint64_t)(PV__BITS_PER_PAGE - at));
        const uint8_t *page;
        PV_TRY(pv__column_page_read(&s->bits, (uint32_t)(slot / PV__BITS_PER_PAGE), &page, err));
        const uint32_t dead = page ? pv__bits_next(page, at, at + n, false) : at;
        if (dead < at + n) {
            *out_slot = (uint32_t)(slot + (dead - at));
            return 0;
        }
        slot += n;
    }
    *out_slot = s->meta.high_water;
    return 0;
}

/* New slots whose bits are on one page. */
static int vslots_extend(pv__slots *s, uint32_t want, uint32_t *out_first, uint32_t *out_count,
                         pv_error *err) {
    const uint32_t slot = s->meta.high_water, at = slot % PV__BITS_PER_PAGE;
    if (slot >= PV__SLOTS_PER_COLLECTION_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "object %u has used all %u slots",
                       (unsigned)s->bits.owner, (unsigned)PV__SLOTS_PER_COLLECTION_MAX);
    }
    const uint32_t count =
        PV_MIN(want, PV_MIN(PV__BITS_PER_PAGE - at, PV__SLOTS_PER_COLLECTION_MAX - slot));
    uint8_t *words;
    PV_TRY(pv__column_page_write(&s->bits, slot / PV__BITS_PER_PAGE, &words, err));
    pv__bits_set_run(words, at, count);
    s->meta.high_water += count;
    s->meta.live_count += count;
    *out_first = slot;
    *out_count = count;
    return 0;
}

int pv__slots_alloc_at_end(pv__slots *s, uint32_t *out_slot, pv_error *err) {
    uint32_t count = 0;
    return vslots_extend(s, 1, out_slot, &count, err);
}

/* Some dead slot; there are some. *io_group is the group it is taken from, + 1. */
static int vslots_pick(const pv__slots *s, uint32_t *io_group, uint32_t *out_slot, pv_error *err) {
    uint32_t slot = s->meta.high_water, group;
    bool found;
    if (*io_group) {
        PV_TRY(vslots_dead_in(s, *io_group - 1, &slot, err));
    }
    if (slot >= s->meta.high_water) { /* this group is full: on to the next */
        PV_TRY(pv__freemap_best(&s->free_map, &group, &found, err));
        if (found) {
            PV_TRY(vslots_dead_in(s, group, &slot, err));
        }
        if (!found || slot >= s->meta.high_water) {
            return pv__err(err, PV_ERR_CORRUPT, "free map of object %u misses dead slots",
                           (unsigned)s->bits.owner);
        }
        PV_TRY(pv__freemap_set(&s->free_map, group, 0, err)); /* F3 */
        *io_group = group + 1;
    }
    *out_slot = slot;
    return vslots_set_bit(s, slot, true, err);
}

int pv__slots_alloc(pv__slots *s, uint32_t *out_slot, pv_error *err) {
    if (s->meta.live_count >= s->meta.high_water) {
        return pv__slots_alloc_at_end(s, out_slot, err);
    }
    uint32_t group = s->meta.group, slot = 0;
    const int rc = vslots_pick(s, &group, &slot, err);
    if (rc) {
        pv__txn_doom(s->bits.txn, rc);
        return rc;
    }
    s->meta.group = group; /* F4 */
    s->meta.live_count++;
    *out_slot = slot;
    return 0;
}

int pv__slots_alloc_run(pv__slots *s, uint32_t want, uint32_t *out_first, uint32_t *out_count,
                        pv_error *err) {
    if (s->meta.live_count >= s->meta.high_water) {
        return vslots_extend(s, want, out_first, out_count, err);
    }
    PV_TRY(pv__slots_alloc(s, out_first, err));
    *out_count = 1;
    return 0;
}

/* Dead slots of a group, by its bits. */
static int vslots_dead_count(const pv__slots *s, uint32_t group, uint32_t *out_dead,
                             pv_error *err) {
    const uint64_t first = (uint64_t)group * s->meta.group_size;
    const uint64_t end = PV_MIN(first + s->meta.group_size, (uint64_t)s->meta.high_water);
    uint32_t live = 0;
    for (uint64_t slot = first; slot < end;) {
        const uint32_t at = (uint32_t)(slot % PV__BITS_PER_PAGE);
        const uint32_t n = (uint32_t)PV_MIN(end - slot, (uint64_t)(PV__BITS_PER_PAGE - at));
        const uint8_t *page;
        PV_TRY(pv__column_page_read(&s->bits, (uint32_t)(slot / PV__BITS_PER_PAGE), &page, err));
        live += page ? pv__bits_count(page, at, n) : 0;
        slot += n;
    }
    *out_dead = (uint32_t)(end - first) - live;
    return 0;
}

static int vslots_free(const pv__slots *s, uint32_t slot, pv_error *err) {
    const uint32_t group = slot / s->meta.group_size;
    uint32_t dead;
    PV_TRY(vslots_set_bit(s, slot, false, err));
    if (s->meta.group == group + 1) {
        return 0; /* F3 */
    }
    PV_TRY(vslots_dead_count(s, group, &dead, err));
    return pv__freemap_set(&s->free_map, group, pv__freemap_value(dead, s->meta.group_size), err);
}

int pv__slots_free(pv__slots *s, uint32_t slot, pv_error *err) {
    bool live;
    PV_TRY(pv__slots_is_live(s, slot, &live, err));
    if (!live || s->meta.live_count == 0) {
        return pv__err(err, PV_ERR_CORRUPT, "slot %u of object %u is not live", (unsigned)slot,
                       (unsigned)s->bits.owner);
    }
    const int rc = vslots_free(s, slot, err);
    if (rc) {
        pv__txn_doom(s->bits.txn, rc);
        return rc;
    }
    s->meta.live_count--; /* F4 */
    return 0;
}

int pv__slots_reclaim(const pv__slots *s, const pv__column *c, uint32_t slot, bool *out_freed,
                      pv_error *err) {
    const uint32_t ordinal = slot / c->rows_per_page;
    const uint64_t first = (uint64_t)ordinal * c->rows_per_page;
    const uint64_t end = PV_MIN(first + c->rows_per_page, (uint64_t)s->meta.high_water);
    uint32_t live = 0;
    bool found = false;
    PV_TRY(pv__slots_next(s, (uint32_t)first, &live, &found, err));
    if (found && live < end) {
        *out_freed = false;
        return 0;
    }
    PV_TRY(pv__column_page_free(c, ordinal, err));
    *out_freed = true;
    return 0;
}

int pv__slots_drop(pv__slots *s, pv_error *err) {
    PV_TRY(pv__column_drop(&s->bits, err));
    return pv__column_drop(&s->free_map, err);
}
