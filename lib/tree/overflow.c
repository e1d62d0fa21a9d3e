/* SPDX-License-Identifier: Apache-2.0 */
/* overflow.c - long values: a chain of overflow pages.
 *
 *   64  u64  next page, 0 at the end
 *   72  u32  bytes of the value in this page
 *   76  u32  tag: low half of XXH3-64 of the key
 *   80  ..   bytes, then zeros
 *
 * All pages but the last have 64 slots and are full; the last has as many slots as it needs, so
 * that less than 4 KiB is lost per value. Hence the size in the cell tells number, length and
 * place of all pages, and each page repeats who it is: owner, place in the chain (ordinal), tag.
 * A chain that was mixed up with another one, cut or closed to a ring is found on reading. */
#include "base/checksum.h"
#include "tree/op.h"

#define PV__OVERFLOW_NEXT (PV__PAGE_HEAD + 0)
#define PV__OVERFLOW_SIZE (PV__PAGE_HEAD + 8)
#define PV__OVERFLOW_TAG (PV__PAGE_HEAD + 12)
#define PV__OVERFLOW_BODY (PV__PAGE_HEAD + 16)
#define PV__OVERFLOW_MAX (PV__PAGE_SLOTS_MAX * PV__SLOT_SIZE - PV__OVERFLOW_BODY)

static uint32_t overflow_tag(pv__bytes key) { return (uint32_t)pv__hash64(key.data, key.size, 0); }

static unsigned overflow_slots(size_t size) {
    return (unsigned)((size + PV__OVERFLOW_BODY + PV__SLOT_SIZE - 1) / PV__SLOT_SIZE);
}

int pv__long_of(const pv__tree *tree, uint64_t page_id, const pv__tcell *cell, pv__tree_long *out,
                pv_error *err) {
    if (cell->tail.size != PV__CELL_LONG_TAIL) {
        return pv__tnode_bad(tree, page_id, "a long value's reference is damaged", err);
    }
    out->first = pv__get64(cell->tail.data);
    out->size = pv__get32(cell->tail.data + 8);
    out->tag = overflow_tag(cell->key);
    if (out->first == 0 || out->size > PV__TREE_VALUE_MAX ||
        out->size + cell->key.size <= PV__CELL_INLINE_MAX) {
        return pv__tnode_bad(tree, page_id, "a long value's reference is damaged", err);
    }
    return 0;
}

void pv__long_tail(const pv__tree_long *v, uint8_t out[PV__CELL_LONG_TAIL]) {
    pv__put64(out, v->first);
    pv__put32(out + 8, v->size);
}

/* Page `ordinal` of the chain, with `left` bytes of the value still to come: is it the one? */
static int overflow_load(const pv__tree *tree, const pv__tree_long *v, uint64_t page_id,
                         uint32_t ordinal, size_t left, const uint8_t **out_page, pv_error *err) {
    const uint8_t *page = NULL;
    size_t size = PV_MIN(left, (size_t)PV__OVERFLOW_MAX);
    if (page_id == 0) {
        return pv__tnode_bad(tree, page_id, "a long value ends too early", err);
    }
    PV_TRY(pv__page_read(tree->txn, page_id, PV__PAGE_OVERFLOW, &page, err));
    if (pv__page_owner(page) != tree->owner || pv__page_ordinal(page) != ordinal ||
        pv__page_slots(page) != overflow_slots(size) ||
        pv__get32(page + PV__OVERFLOW_SIZE) != size ||
        pv__get32(page + PV__OVERFLOW_TAG) != v->tag ||
        (pv__get64(page + PV__OVERFLOW_NEXT) == 0) != (size == left)) {
        return pv__tnode_bad(tree, page_id, "is not the part of a long value it should be", err);
    }
    *out_page = page;
    return 0;
}

int pv__long_new(pv__tree_op *op, pv__bytes key, pv__bytes value, pv__tree_long *out,
                 pv_error *err) {
    pv__tree_long v = {0, (uint32_t)value.size, overflow_tag(key)};
    uint8_t *before = NULL;
    uint32_t ordinal = 0;
    for (size_t at = 0; at < value.size; ordinal++) {
        size_t size = PV_MIN(value.size - at, (size_t)PV__OVERFLOW_MAX);
        uint64_t id = 0;
        uint8_t *page = NULL;
        PV_TRY(pv__page_new(op->tree->txn, PV__PAGE_OVERFLOW, overflow_slots(size), op->tree->owner,
                            ordinal, &id, &page, err));
        op->changed = true;
        if (before) {
            pv__put64(before + PV__OVERFLOW_NEXT, id);
        } else {
            v.first = id;
        }
        pv__put32(page + PV__OVERFLOW_SIZE, (uint32_t)size);
        pv__put32(page + PV__OVERFLOW_TAG, v.tag);
        memcpy(page + PV__OVERFLOW_BODY, value.data + at, size);
        at += size;
        before = page;
    }
    *out = v;
    return 0;
}

bool pv__long_fits(const pv__tree_long *v, size_t size) {
    return size / PV__OVERFLOW_MAX == v->size / PV__OVERFLOW_MAX &&
           (size % PV__OVERFLOW_MAX == 0) == (v->size % PV__OVERFLOW_MAX == 0) &&
           overflow_slots(size % PV__OVERFLOW_MAX) == overflow_slots(v->size % PV__OVERFLOW_MAX);
}

int pv__long_overwrite(pv__tree_op *op, pv__tree_long *v, pv__bytes value, pv_error *err) {
    PV_ASSERT(pv__long_fits(v, value.size));
    uint64_t id = v->first;
    uint32_t ordinal = 0;
    for (size_t at = 0; at < value.size; ordinal++) {
        size_t size = PV_MIN(value.size - at, (size_t)PV__OVERFLOW_MAX);
        const uint8_t *seen = NULL;
        uint8_t *page = NULL;
        PV_TRY(overflow_load(op->tree, v, id, ordinal, v->size - at, &seen, err));
        size_t old_size = pv__get32(seen + PV__OVERFLOW_SIZE);
        PV_TRY(pv__page_write(op->tree->txn, id, PV__PAGE_OVERFLOW, &page, err));
        op->changed = true;
        memcpy(page + PV__OVERFLOW_BODY, value.data + at, size);
        if (size < old_size) {
            memset(page + PV__OVERFLOW_BODY + size, 0, old_size - size); /* T4 */
        }
        pv__put32(page + PV__OVERFLOW_SIZE, (uint32_t)size);
        id = pv__get64(page + PV__OVERFLOW_NEXT);
        at += size;
    }
    v->size = (uint32_t)value.size;
    return 0;
}

int pv__long_read(const pv__tree *tree, const pv__tree_long *v, pv__buf *out, pv_error *err) {
    uint64_t id = v->first;
    uint32_t ordinal = 0;
    size_t len = out ? out->len : 0;
    for (size_t left = v->size; left > 0; ordinal++) {
        const uint8_t *page = NULL;
        int rc = overflow_load(tree, v, id, ordinal, left, &page, err);
        if (rc) {
            if (out) {
                out->len = len; /* outputs stay untouched on failure */
            }
            return rc;
        }
        size_t size = pv__get32(page + PV__OVERFLOW_SIZE);
        if (out && ordinal == 0) {
            pv__buf_reserve(out, v->size); /* only now: the first page has confirmed the size */
        }
        if (out) {
            pv__buf_add(out, page + PV__OVERFLOW_BODY, size);
        }
        id = pv__get64(page + PV__OVERFLOW_NEXT);
        left -= size;
    }
    return 0;
}

int pv__long_free(pv__tree_op *op, const pv__tree_long *v, bool pause, pv_error *err) {
    uint64_t id = v->first;
    uint32_t ordinal = 0;
    for (size_t left = v->size; left > 0; ordinal++) {
        const uint8_t *page = NULL;
        PV_TRY(overflow_load(op->tree, v, id, ordinal, left, &page, err));
        uint64_t next = pv__get64(page + PV__OVERFLOW_NEXT);
        left -= pv__get32(page + PV__OVERFLOW_SIZE);
        PV_TRY(pv__page_free(op->tree->txn, id, err));
        op->changed = true;
        id = next;
        if (pause) {
            PV_TRY(pv__txn_pause(op->tree->txn, err));
        }
    }
    return 0;
}

#undef PV__OVERFLOW_NEXT
#undef PV__OVERFLOW_SIZE
#undef PV__OVERFLOW_TAG
#undef PV__OVERFLOW_BODY
#undef PV__OVERFLOW_MAX
