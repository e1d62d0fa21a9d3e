/* SPDX-License-Identifier: Apache-2.0 */
/* freemap.c - a byte for each group of slots and maxima above (freemap.h has the drawing). A change
 * writes only the pages whose bytes change: mostly one, the levels above only when the maximum of a
 * page moves.
 *
 * Not here: what the bytes mean for slots (slots.c). */
#include "vector/freemap.h"

#define FREEMAP_LEVELS 3u

/* Page and byte of an entry: level 0 for groups, 1 for pages of level 0, 2 for those of level 1. */
typedef struct freemap_place {
    uint32_t ordinal, at;
} freemap_place;

static freemap_place freemap_place_of(unsigned level, uint32_t entry) {
    static const uint32_t first[FREEMAP_LEVELS] = {PV__FREEMAP_LEVEL0, PV__FREEMAP_LEVEL1, 0};
    const freemap_place p = {first[level] + entry / PV__FREEMAP_FANOUT, entry % PV__FREEMAP_FANOUT};
    return p;
}

static uint8_t freemap_max(const uint8_t *bytes) {
    uint8_t max = 0;
    for (uint32_t i = 0; i < PV__FREEMAP_FANOUT; i++) {
        max = PV_MAX(max, bytes[i]);
    }
    return max;
}

uint8_t pv__freemap_value(uint32_t dead, uint32_t size) {
    if (dead == 0) {
        return 0;
    }
    return (uint8_t)(size <= 255 ? dead : 1 + (uint64_t)dead * 254 / size);
}

static int freemap_get(const pv__column *map, freemap_place p, uint8_t *out_value, pv_error *err) {
    const uint8_t *bytes;
    PV_TRY(pv__column_page_read(map, p.ordinal, &bytes, err));
    *out_value = bytes ? bytes[p.at] : 0;
    return 0;
}

int pv__freemap_get(const pv__column *map, uint32_t group, uint8_t *out_value, pv_error *err) {
    return freemap_get(map, freemap_place_of(0, group), out_value, err);
}

int pv__freemap_set(const pv__column *map, uint32_t group, uint8_t value, pv_error *err) {
    uint32_t entry = group;
    for (unsigned level = 0; level < FREEMAP_LEVELS; level++) {
        const freemap_place p = freemap_place_of(level, entry);
        uint8_t old, above = 0;
        uint8_t *bytes;
        PV_TRY(freemap_get(map, p, &old, err));
        if (old == value) {
            return 0;
        }
        PV_TRY(pv__column_page_write(map, p.ordinal, &bytes, err));
        bytes[p.at] = value;
        entry /= PV__FREEMAP_FANOUT;
        if (level + 1 == FREEMAP_LEVELS) {
            break;
        }
        PV_TRY(freemap_get(map, freemap_place_of(level + 1, entry), &above, err));
        if (value < above && old < above) {
            return 0; /* another byte is the largest of the page */
        }
        if (value < above) {
            value = freemap_max(bytes);
        }
    }
    return 0;
}

int pv__freemap_best(const pv__column *map, uint32_t *out_group, bool *out_found, pv_error *err) {
    uint32_t entry = 0;
    for (unsigned level = FREEMAP_LEVELS; level-- > 0;) {
        const uint8_t *bytes;
        const freemap_place p = freemap_place_of(level, entry * PV__FREEMAP_FANOUT);
        PV_TRY(pv__column_page_read(map, p.ordinal, &bytes, err));
        const uint8_t max = bytes ? freemap_max(bytes) : 0;
        if (max == 0) {
            if (level + 1 == FREEMAP_LEVELS) {
                *out_found = false;
                return 0;
            }
            return pv__err(err, PV_ERR_CORRUPT, "free map of object %u: page %u has no maximum",
                           (unsigned)map->owner, (unsigned)p.ordinal);
        }
        const uint8_t *at = memchr(bytes, max, PV__FREEMAP_FANOUT);
        entry = entry * PV__FREEMAP_FANOUT + (uint32_t)(at - bytes);
    }
    *out_group = entry;
    *out_found = true;
    return 0;
}

int pv__freemap_maxima(const pv__column *map, uint32_t page, bool *out_ok, pv_error *err) {
    uint32_t entry = page;
    bool ok = true;
    for (unsigned level = 1; level < FREEMAP_LEVELS; level++) {
        const freemap_place below = freemap_place_of(level - 1, entry * PV__FREEMAP_FANOUT);
        const uint8_t *bytes;
        uint8_t stored;
        PV_TRY(pv__column_page_read(map, below.ordinal, &bytes, err));
        const uint8_t max = bytes ? freemap_max(bytes) : 0;
        PV_TRY(freemap_get(map, freemap_place_of(level, entry), &stored, err));
        ok = ok && stored == max;
        entry /= PV__FREEMAP_FANOUT;
    }
    *out_ok = ok;
    return 0;
}

#undef FREEMAP_LEVELS
