/* SPDX-License-Identifier: Apache-2.0 */
/* squeeze.c - pages of small numbers in few bits, kept in memory when their frames have to go: a
 * walk with little memory reads links from there and not from the disk.
 *
 *      page    64 groups of 16 words of u32
 *      group   u16 which words are not 0 | u8 width | the first word, if not 0 | of the others that
 *              are not 0 `width` bits each, turned left by one, up to a whole byte
 *
 * Links are numbers of nodes, whose highest bits are 0 but for the very highest, which is a flag:
 * turned by one it is the lowest. The first word of every other group of a page of links is the
 * head of its row, which is wider. Such a page takes little more than a half.
 *
 * Only in memory: bytes that the page table vouches for were verified before they were squeezed
 * (S4). Nothing here knows what a page holds; one that does not become smaller is not kept. */
#include "store/internal.h"

#define SQUEEZE_GROUP 16u
#define SQUEEZE_BYTES (4 * SQUEEZE_GROUP)
#define SQUEEZE_GROUPS (PV__SLOT_SIZE / SQUEEZE_BYTES)

#define SQUEEZE_SHARE 5u    /* of the cache */
#define SQUEEZE_ABOUT 2400u /* bytes of a page of links, squeezed */

PV_PRIVATE int pv__squeezed_init(pv__store *s, pv_error *err) {
    return pv__keep_init(&s->squeezed, s->cache_limit / SQUEEZE_SHARE, SQUEEZE_ABOUT, err);
}

static uint32_t squeeze_turn(uint32_t word) { return word << 1 | word >> 31; }

static unsigned squeeze_width(const uint32_t *words, unsigned mask) {
    uint32_t all = 0;
    for (mask &= ~1u; mask != 0; mask &= mask - 1) {
        all |= words[pv__low_bit(mask)];
    }
    return all ? 32u - (unsigned)__builtin_clz(all) : 0;
}

/* Bytes of a group at `to`, which has room for all of its words. */
static size_t squeeze_group(const uint8_t *from, uint8_t *to) {
    uint32_t words[SQUEEZE_GROUP];
    unsigned mask = 0;
    for (unsigned i = 0; i < SQUEEZE_GROUP; i++) {
        const uint32_t word = pv__get32(from + 4 * (size_t)i);
        words[i] = squeeze_turn(word);
        mask |= (unsigned)(word != 0) << i;
    }
    const unsigned width = squeeze_width(words, mask);
    size_t n = 3;
    pv__put16(to, (uint16_t)mask);
    to[2] = (uint8_t)width;
    if (mask & 1) {
        pv__put32(to + n, pv__get32(from));
        n += 4;
    }
    uint64_t bits = 0;
    unsigned held = 0;
    for (unsigned m = mask & ~1u; m != 0; m &= m - 1) {
        bits |= (uint64_t)words[pv__low_bit(m)] << held;
        for (held += width; held >= 8; held -= 8, bits >>= 8) {
            to[n++] = (uint8_t)bits;
        }
    }
    if (held > 0) {
        to[n++] = (uint8_t)bits;
    }
    return n;
}

PV_PRIVATE size_t pv__squeeze(const uint8_t *page, uint8_t *to) {
    uint8_t group[3 + 4 * SQUEEZE_GROUP];
    size_t n = 0;
    for (unsigned g = 0; g < SQUEEZE_GROUPS; g++) {
        const size_t size = squeeze_group(page + 4 * (size_t)g * SQUEEZE_GROUP, group);
        if (n + size > PV__SQUEEZED_MAX) {
            return 0;
        }
        memcpy(to + n, group, size);
        n += size;
    }
    return n;
}

PV_PRIVATE void pv__unsqueeze(const uint8_t *from, uint32_t offset, uint32_t size, uint8_t *to) {
    const uint32_t first = offset / SQUEEZE_BYTES, end = (offset + size - 1) / SQUEEZE_BYTES + 1;
    for (uint32_t g = 0; g < end; g++) {
        const unsigned mask = pv__get16(from), width = from[2];
        const uint64_t low = (UINT64_C(1) << width) - 1;
        const uint8_t *const bits = from + 3 + (mask & 1 ? 4 : 0);
        size_t at = 0;
        if (g < first) {
            at = (size_t)width * pv__bit_count(mask & ~1u);
        } else {
            uint8_t *const group = to + (size_t)g * SQUEEZE_BYTES;
            memset(group, 0, SQUEEZE_BYTES);
            pv__put32(group, mask & 1 ? pv__get32(from + 3) : 0);
            for (unsigned m = mask & ~1u; m != 0; m &= m - 1) {
                const uint32_t word = (uint32_t)(pv__get64(bits + at / 8) >> (at % 8) & low);
                pv__put32(group + 4 * (size_t)pv__low_bit(m), word >> 1 | word << 31);
                at += width;
            }
        }
        from = bits + (at + 7) / 8;
    }
}

#undef SQUEEZE_GROUP
#undef SQUEEZE_BYTES
#undef SQUEEZE_GROUPS
#undef SQUEEZE_SHARE
#undef SQUEEZE_ABOUT
