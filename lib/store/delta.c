/* SPDX-License-Identifier: Apache-2.0 */
/* delta.c - what changed in a page, as byte ranges (S5), and the database checksum (S13).
 *
 * Both work in blocks of 256 bytes: equal blocks are skipped with one memcmp, the others are
 * compared byte by byte, and their hashes are exchanged in the sum. The sum of a page is the XOR
 * over its blocks of H(page id, block, bytes); a block of zeros counts nothing, so that a page's
 * empty tail costs nothing. The stamp in the head is not logged: it follows from the record. */
#include "store/internal.h"

/* Ranges closer than this are one: a range costs two or three bytes of its own. */
#define DELTA_JOIN 6u

static bool delta_is_zero(const uint8_t *p, size_t n) {
    uint64_t any = 0;
    for (size_t i = 0; i < n && any == 0; i += 64) {
        for (size_t j = i; j < i + 64; j += 8) {
            any |= pv__get64(p + j);
        }
    }
    return any == 0;
}

static uint64_t delta_block_sum(uint64_t page_id, size_t offset, const uint8_t *block) {
    if (delta_is_zero(block, PV__BLOCK)) {
        return 0;
    }
    return pv__hash64(block, PV__BLOCK, pv__mix64(page_id * 1024 + offset / PV__BLOCK + 1));
}

PV_PRIVATE uint64_t pv__sum_page(uint64_t page_id, const uint8_t *page, size_t size) {
    uint64_t sum = 0;
    for (size_t at = 0; at < size; at += PV__BLOCK) {
        sum ^= delta_block_sum(page_id, at, page + at);
    }
    return sum;
}

typedef struct delta_ranges {
    pv__buf *body;
    const uint8_t *page;
    size_t start, end; /* range being grown; start == end: none */
    size_t written;    /* end of the last range in the body */
    uint32_t count;
} delta_ranges;

static void delta_flush(delta_ranges *d) {
    if (d->start == d->end) {
        return;
    }
    pv__buf_add_varint(d->body, d->start - d->written);
    pv__buf_add_varint(d->body, d->end - d->start);
    pv__buf_add(d->body, d->page + d->start, d->end - d->start);
    d->written = d->end;
    d->start = d->end;
    d->count++;
}

static void delta_grow(delta_ranges *d, size_t from, size_t to) {
    if (d->start != d->end && from - d->end < DELTA_JOIN) {
        d->end = to;
        return;
    }
    delta_flush(d);
    d->start = from;
    d->end = to;
}

/* Differing bytes of one block, as ranges. */
static void delta_block(delta_ranges *d, const uint8_t *old, size_t at, size_t size) {
    for (size_t i = 0; i < size; i++) {
        bool stamp = at + i >= PV__HEAD_STAMP && at + i < PV__HEAD_STAMP + 8;
        if (old[at + i] != d->page[at + i] && !stamp) {
            size_t from = i;
            while (i < size && old[at + i] != d->page[at + i]) {
                i++;
            }
            delta_grow(d, at + from, at + i);
        }
    }
}

static void delta_full(pv__buf *body, uint64_t page_id, const uint8_t *page, size_t size,
                       uint64_t old_sum, uint64_t *io_sum) {
    size_t used = size;
    while (used > PV__BLOCK && delta_is_zero(page + used - PV__BLOCK, PV__BLOCK)) {
        used -= PV__BLOCK;
    }
    while (used > PV__PAGE_HEAD && page[used - 1] == 0) {
        used--;
    }
    pv__buf_add_u8(body, PV__ENTRY_FULL);
    pv__buf_add_varint(body, page_id);
    pv__buf_add_u64(body, old_sum);
    pv__buf_add_varint(body, used);
    pv__buf_add(body, page, used);
    *io_sum ^= old_sum ^ pv__sum_page(page_id, page, size);
}

PV_PRIVATE void pv__delta_encode(pv__buf *body, uint64_t page_id, const uint8_t *old,
                                 size_t old_size, const uint8_t *page, size_t size,
                                 uint64_t old_sum, uint64_t *io_sum) {
    if (!old || old_size != size) {
        delta_full(body, page_id, page, size, old_sum, io_sum);
        return;
    }
    size_t begin = body->len;
    uint64_t sum = 0;
    pv__buf_add_u8(body, PV__ENTRY_DELTA);
    pv__buf_add_varint(body, page_id);
    pv__buf_add_varint(body, pv__page_stamp(page) - pv__page_stamp(old));
    size_t count_at = body->len;
    pv__buf_add_u32(body, 0); /* the count, as a varint of exactly four bytes */
    delta_ranges d = {body, page, 0, 0, 0, 0};
    for (size_t at = 0; at < size; at += PV__BLOCK) {
        if (memcmp(old + at, page + at, PV__BLOCK) != 0) {
            delta_block(&d, old, at, PV__BLOCK);
            sum ^= delta_block_sum(page_id, at, old + at) ^ delta_block_sum(page_id, at, page + at);
        }
        if (body->len - begin > size / 2) { /* the image is no longer than this would be */
            body->len = begin;
            delta_full(body, page_id, page, size, pv__sum_page(page_id, old, size), io_sum);
            return;
        }
    }
    delta_flush(&d);
    if (!body->failed) {
        for (unsigned i = 0; i < 4; i++) {
            body->data[count_at + i] = (uint8_t)((d.count >> (7 * i) & 0x7F) | (i < 3 ? 0x80 : 0));
        }
    }
    *io_sum ^= sum;
}

static int delta_damaged(uint64_t page_id, pv_error *err) {
    return pv__err(err, PV_ERR_CORRUPT, "log: changes of page %llu do not fit the page",
                   (unsigned long long)page_id);
}

PV_PRIVATE int pv__delta_apply(pv__reader *r, uint64_t page_id, uint8_t *page, size_t size,
                               uint64_t stamp, uint64_t *io_sum, pv_error *err) {
    uint64_t back = pv__reader_varint(r), count = pv__reader_varint(r);
    if (r->bad || stamp - back != pv__page_stamp(page)) {
        return pv__err(err, PV_ERR_CORRUPT,
                       "log: page %llu has stamp %llu, its changes are against %llu",
                       (unsigned long long)page_id, (unsigned long long)pv__page_stamp(page),
                       (unsigned long long)(stamp - back));
    }
    size_t at = 0;
    size_t open = 0, summed = PV__BLOCK; /* `open`: block whose old hash is in `sum`, not its new */
    uint64_t sum = delta_block_sum(page_id, 0, page);
    pv__put64(page + PV__HEAD_STAMP, stamp);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t gap = pv__reader_varint(r), len = pv__reader_varint(r);
        const uint8_t *bytes = pv__reader_take(r, len > size ? SIZE_MAX : (size_t)len);
        if (!bytes || gap > size - at || len > size - at - gap) {
            return delta_damaged(page_id, err);
        }
        at += (size_t)gap;
        size_t last = len ? (at + (size_t)len - 1) / PV__BLOCK * PV__BLOCK : at;
        for (size_t b = at / PV__BLOCK * PV__BLOCK; b <= last && len; b += PV__BLOCK) {
            if (b >= summed) { /* first change in this block */
                sum ^= delta_block_sum(page_id, open, page + open);
                sum ^= delta_block_sum(page_id, b, page + b);
                open = b;
                summed = b + PV__BLOCK;
            }
            size_t from = PV_MAX(b, at), to = PV_MIN(b + PV__BLOCK, at + (size_t)len);
            memcpy(page + from, bytes + (from - at), to - from);
        }
        at += (size_t)len;
    }
    if (pv__page_id(page) != page_id || pv__page_stamp(page) != stamp ||
        (size_t)pv__page_slots(page) * PV__SLOT_SIZE != size) {
        return delta_damaged(page_id, err);
    }
    *io_sum ^= sum ^ delta_block_sum(page_id, open, page + open);
    return PV_OK;
}

PV_PRIVATE void pv__entry_next(pv__reader *r, pv__entry *out) {
    memset(out, 0, sizeof *out);
    out->kind = pv__reader_u8(r);
    out->page_id = pv__reader_varint(r);
    if (out->kind == PV__ENTRY_DELTA) {
        (void)pv__reader_varint(r);
        for (uint64_t ranges = pv__reader_varint(r); ranges > 0 && !r->bad; ranges--) {
            (void)pv__reader_varint(r);
            const uint64_t len = pv__reader_varint(r);
            (void)pv__reader_take(r, len > SIZE_MAX / 2 ? SIZE_MAX : (size_t)len);
        }
    } else if (out->kind == PV__ENTRY_FULL) {
        (void)pv__reader_u64(r);
        const uint64_t len = pv__reader_varint(r);
        (void)pv__reader_take(r, len > SIZE_MAX / 2 ? SIZE_MAX : (size_t)len);
    } else if (out->kind == PV__ENTRY_REF) {
        (void)pv__reader_take(r, 16);
        const uint8_t *p = pv__reader_take(r, PV__PTE_SIZE);
        if (p) {
            out->pte = pv__pte_get(p);
        }
    } else {
        (void)pv__reader_u64(r);
    }
}

#undef DELTA_JOIN
