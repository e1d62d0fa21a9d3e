/* SPDX-License-Identifier: Apache-2.0 */
/* node.c - reading and changing one node. The layout and the invariants T1-T5 are in node.h.
 *
 * Changes touch few bytes, because the store logs what differs: a cell goes into the gap, then
 * into the best fitting hole, and only when neither has room are the cells pushed together
 * (each towards the end, in the order they lie in, so that those behind the first hole stay). */
#include "tree/node.h"

/* ---- reading ------------------------------------------------------------------------------- */

int pv__tnode_bad(const pv__tree *tree, uint64_t page_id, const char *what, pv_error *err) {
    return pv__err(err, PV_ERR_CORRUPT, "tree page %llu of object %u: %s",
                   (unsigned long long)page_id, (unsigned)tree->owner, what);
}

/* Everything the inline readers rely on: slots end before the cells begin, and no count or sum
 * can leave the page. */
static bool tnode_head_is_sound(const uint8_t *page) {
    unsigned count = pv__tnode_count(page), low = pv__tnode_low(page);
    return low <= PV__TNODE_SIZE && PV__TNODE_BODY + PV__CELL_SLOT * count <= low &&
           pv__tnode_holes(page) + (PV__CELL_HEAD + 1) * count <= PV__TNODE_SIZE - low;
}

int pv__tnode_load(const pv__tree *tree, uint64_t page_id, int level, const uint8_t **out_page,
                   pv_error *err) {
    const uint8_t *page = NULL;
    if (PV_UNLIKELY(page_id == 0)) {
        return pv__tnode_bad(tree, page_id, "is referred to but cannot exist", err);
    }
    PV_TRY(pv__page_read(tree->txn, page_id, PV__PAGE_TREE, &page, err));
    if (PV_UNLIKELY(pv__page_slots(page) != PV__TNODE_SLOTS)) {
        return pv__tnode_bad(tree, page_id, "is not of a node's size", err);
    }
    if (PV_UNLIKELY(pv__page_owner(page) != tree->owner)) {
        return pv__tnode_bad(tree, page_id, "belongs to another object", err);
    }
    unsigned found = pv__tnode_level(page);
    if (PV_UNLIKELY(level >= 0 ? found != (unsigned)level : found >= PV__TREE_DEPTH_MAX)) {
        return pv__tnode_bad(tree, page_id, "has the wrong level", err); /* T3 */
    }
    if (PV_UNLIKELY(!tnode_head_is_sound(page))) {
        return pv__tnode_bad(tree, page_id, "header is damaged", err);
    }
    *out_page = page;
    return 0;
}

bool pv__tnode_find(const uint8_t *page, pv__bytes key, unsigned *out_index, bool *out_found) {
    unsigned lo = 0, hi = pv__tnode_count(page);
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        pv__tcell cell;
        if (PV_UNLIKELY(!pv__tnode_cell(page, mid, &cell))) {
            return false;
        }
        int order = pv__bytes_order(cell.key, key);
        if (order == 0) {
            *out_index = mid;
            *out_found = true;
            return true;
        }
        if (order < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    *out_index = lo;
    *out_found = false;
    return true;
}

/* Is cell i < key, = key or > key? False: damaged. */
static bool tnode_compare(const uint8_t *page, unsigned i, pv__bytes key, int *out_order) {
    pv__tcell cell;
    if (PV_UNLIKELY(!pv__tnode_cell(page, i, &cell))) {
        return false;
    }
    *out_order = pv__bytes_order(cell.key, key);
    return true;
}

bool pv__tnode_find_near(const uint8_t *page, pv__bytes key, unsigned hint, unsigned *out_index,
                         bool *out_found) {
    const unsigned count = pv__tnode_count(page);
    unsigned at = PV_MIN(hint, count);
    int left = -1, right = 1; /* of the cells before and at `at` */
    if (at < count && !tnode_compare(page, at, key, &right)) {
        return false;
    }
    if (right < 0) { /* the usual next place: one further */
        at++;
        right = 1;
        if (at < count && !tnode_compare(page, at, key, &right)) {
            return false;
        }
    } else if (right > 0 && at > 0 && !tnode_compare(page, at - 1, key, &left)) {
        return false;
    }
    if (left < 0 && right >= 0) {
        *out_index = at;
        *out_found = right == 0;
        return true;
    }
    return pv__tnode_find(page, key, out_index, out_found);
}

bool pv__tnode_child(const uint8_t *page, pv__bytes key, unsigned *out_index, uint64_t *out_child) {
    unsigned i = 0;
    bool found = false;
    pv__tcell cell;
    if (!pv__tnode_find(page, key, &i, &found)) {
        return false;
    }
    if (!found) {
        if (i == 0) { /* the empty key of cell 0 is below every other: there is none here */
            return false;
        }
        i--;
    }
    if (!pv__tnode_cell(page, i, &cell)) {
        return false;
    }
    *out_index = i;
    *out_child = pv__tcell_child(&cell);
    return *out_child != 0;
}

/* ---- the cells in the order they lie in ------------------------------------------------------ */

/* order[r] = index of the cell that lies r-th from the front. False when two overlap, one is
 * damaged, or the sizes do not add up. A bitmap of starts sorts them in linear time. */
static bool tnode_order(const uint8_t *page, uint16_t *order) {
    uint64_t starts[PV__TNODE_SIZE / 64] = {0};
    uint16_t before[PV__TNODE_SIZE / 64];
    unsigned count = pv__tnode_count(page), sum = 0, end = 0;
    pv__tcell cell;
    for (unsigned i = 0; i < count; i++) {
        unsigned at = pv__tnode_slot(page, i);
        if (!pv__tnode_cell(page, i, &cell) || (starts[at / 64] >> (at % 64) & 1)) {
            return false;
        }
        starts[at / 64] |= (uint64_t)1 << (at % 64);
        sum += pv__tcell_size(&cell);
    }
    if (sum + pv__tnode_holes(page) != PV__TNODE_SIZE - pv__tnode_low(page)) {
        return false;
    }
    unsigned total = 0;
    for (unsigned w = 0; w < PV_COUNTOF(starts); w++) {
        before[w] = (uint16_t)total;
        total += pv__bit_count(starts[w]);
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned at = pv__tnode_slot(page, i);
        uint64_t mask = ((uint64_t)1 << (at % 64)) - 1;
        order[before[at / 64] + pv__bit_count(starts[at / 64] & mask)] = (uint16_t)i;
    }
    for (unsigned r = 0; r < count; r++) {
        unsigned at = pv__tnode_slot(page, order[r]);
        if (at < end || !pv__tnode_cell(page, order[r], &cell)) {
            return false;
        }
        end = at + pv__tcell_size(&cell);
    }
    return true;
}

/* The smallest hole of at least `size` bytes, 0 when there is none. */
static unsigned tnode_hole(const uint8_t *page, const uint16_t *order, unsigned size) {
    unsigned count = pv__tnode_count(page), end = pv__tnode_low(page);
    unsigned best = 0, best_size = PV__TNODE_SIZE;
    for (unsigned r = 0; r <= count; r++) {
        unsigned at = r < count ? pv__tnode_slot(page, order[r]) : PV__TNODE_SIZE;
        if (at - end >= size && at - end < best_size) {
            best = end;
            best_size = at - end;
        }
        if (r < count) {
            end = at + PV__CELL_HEAD + (pv__get16(page + at) & (PV__CELL_LONG - 1)) +
                  pv__get16(page + at + 2);
        }
    }
    return best;
}

/* Push all cells to the end. */
static void tnode_tidy(uint8_t *page, const uint16_t *order) {
    unsigned low = pv__tnode_low(page), to = PV__TNODE_SIZE;
    for (unsigned r = pv__tnode_count(page); r-- > 0;) {
        unsigned at = pv__tnode_slot(page, order[r]);
        unsigned size =
            PV__CELL_HEAD + (pv__get16(page + at) & (PV__CELL_LONG - 1)) + pv__get16(page + at + 2);
        to -= size;
        if (to != at) {
            memmove(page + to, page + at, size);
            pv__put16(page + PV__TNODE_BODY + PV__CELL_SLOT * order[r], (uint16_t)to);
        }
    }
    memset(page + low, 0, to - low); /* T4 */
    pv__put16(page + PV__TNODE_LOW, (uint16_t)to);
    pv__put16(page + PV__TNODE_HOLES, 0);
}

static const char *tnode_audit_cell(const uint8_t *page, unsigned i) {
    pv__tcell cell;
    if (!pv__tnode_cell(page, i, &cell)) {
        return "a cell is damaged";
    }
    if (pv__tnode_level(page) > 0) {
        if (cell.is_long || pv__tcell_child(&cell) == 0) {
            return "a child reference is damaged";
        }
        return (cell.key.size == 0) == (i == 0) ? NULL : "a separator is damaged";
    }
    if (cell.key.size == 0) {
        return "a key is empty";
    }
    if (cell.is_long ? cell.tail.size != PV__CELL_LONG_TAIL
                     : pv__tcell_size(&cell) > PV__CELL_MAX) {
        return "a value has an impossible size";
    }
    return NULL;
}

const char *pv__tnode_audit(const uint8_t *page) {
    uint16_t order[PV__TNODE_CELLS_MAX];
    unsigned count = pv__tnode_count(page);
    for (unsigned i = 0; i < count; i++) {
        const char *what = tnode_audit_cell(page, i);
        if (what) {
            return what;
        }
    }
    if (pv__tnode_level(page) > 0 && count < 2) {
        return "an inner node has fewer than two children"; /* T2 */
    }
    return tnode_order(page, order) ? NULL : "cells overlap or do not add up";
}

/* ---- changing ------------------------------------------------------------------------------ */

void pv__tnode_init(uint8_t *page, unsigned level) {
    uint32_t epoch = pv__get32(page + PV__TNODE_EPOCH);
    memset(page + PV__PAGE_HEAD, 0, PV__TNODE_SIZE - PV__PAGE_HEAD);
    page[PV__TNODE_LEVEL] = (uint8_t)level;
    pv__put16(page + PV__TNODE_LOW, PV__TNODE_SIZE);
    pv__put32(page + PV__TNODE_EPOCH, epoch);
}

static void tnode_place(uint8_t *page, unsigned at, const pv__tcell *cell) {
    pv__put16(page + at, (uint16_t)(cell->key.size | (cell->is_long ? PV__CELL_LONG : 0)));
    pv__put16(page + at + 2, (uint16_t)cell->tail.size);
    at += PV__CELL_HEAD;
    if (cell->key.size) {
        memcpy(page + at, cell->key.data, cell->key.size);
    }
    if (cell->tail.size) {
        memcpy(page + at + cell->key.size, cell->tail.data, cell->tail.size);
    }
}

/* Where a cell of `size` bytes goes, the sums already adjusted. 0: no room, or damaged. */
static unsigned tnode_take(uint8_t *page, unsigned size) {
    unsigned count = pv__tnode_count(page), low = pv__tnode_low(page);
    unsigned gap = low - PV__TNODE_BODY - PV__CELL_SLOT * count;
    unsigned holes = pv__tnode_holes(page);
    if (size + PV__CELL_SLOT > gap + holes) {
        return 0;
    }
    if (size + PV__CELL_SLOT > gap) {
        uint16_t order[PV__TNODE_CELLS_MAX];
        if (!tnode_order(page, order)) {
            return 0;
        }
        unsigned at = gap >= PV__CELL_SLOT ? tnode_hole(page, order, size) : 0;
        if (at) {
            pv__put16(page + PV__TNODE_HOLES, (uint16_t)(holes - size));
            return at;
        }
        tnode_tidy(page, order);
        low = pv__tnode_low(page);
    }
    pv__put16(page + PV__TNODE_LOW, (uint16_t)(low - size));
    return low - size;
}

bool pv__tnode_insert(uint8_t *page, unsigned i, const pv__tcell *cell) {
    unsigned count = pv__tnode_count(page), at = 0;
    if (i > count || (at = tnode_take(page, pv__tcell_size(cell))) == 0) {
        return false;
    }
    tnode_place(page, at, cell);
    uint8_t *slot = page + PV__TNODE_BODY + PV__CELL_SLOT * i;
    memmove(slot + PV__CELL_SLOT, slot, PV__CELL_SLOT * (count - i));
    pv__put16(slot, (uint16_t)at);
    pv__put16(page + PV__TNODE_COUNT, (uint16_t)(count + 1));
    return true;
}

void pv__tnode_note(uint8_t *page, unsigned i) {
    unsigned last = pv__get16(page + PV__TNODE_LAST), run = page[PV__TNODE_RUN];
    unsigned length = run & PV__TNODE_RUN_LONG, down = run & PV__TNODE_RUN_DOWN;
    if (i == last + 1) {
        length = down ? 1 : PV_MIN(length + 1, PV__TNODE_RUN_LONG);
        down = 0;
    } else if (i == last && pv__tnode_count(page) > 0) {
        length = down ? PV_MIN(length + 1, PV__TNODE_RUN_LONG) : 1;
        down = PV__TNODE_RUN_DOWN;
    } else {
        length = down = 0;
    }
    page[PV__TNODE_RUN] = (uint8_t)(length | down);
    pv__put16(page + PV__TNODE_LAST, (uint16_t)i);
}

/* Bytes [at, at + size) belong to no cell any more. */
static bool tnode_release(uint8_t *page, unsigned at, unsigned size) {
    unsigned low = pv__tnode_low(page), holes = pv__tnode_holes(page);
    memset(page + at, 0, size); /* T4 */
    if (at == low) {
        low += size;
    } else {
        holes += size;
    }
    if (low + holes > PV__TNODE_SIZE) {
        return false;
    }
    pv__put16(page + PV__TNODE_LOW, (uint16_t)low);
    pv__put16(page + PV__TNODE_HOLES, (uint16_t)holes);
    return true;
}

bool pv__tnode_remove(uint8_t *page, unsigned i) {
    unsigned count = pv__tnode_count(page);
    pv__tcell cell;
    if (i >= count || !pv__tnode_cell(page, i, &cell) ||
        !tnode_release(page, pv__tnode_slot(page, i), pv__tcell_size(&cell))) {
        return false;
    }
    uint8_t *slot = page + PV__TNODE_BODY + PV__CELL_SLOT * i;
    memmove(slot, slot + PV__CELL_SLOT, PV__CELL_SLOT * (count - 1 - i));
    pv__put16(page + PV__TNODE_BODY + PV__CELL_SLOT * (count - 1), 0);
    pv__put16(page + PV__TNODE_COUNT, (uint16_t)(count - 1));
    page[PV__TNODE_RUN] = 0;
    if (count == 1) {
        pv__put16(page + PV__TNODE_LOW, PV__TNODE_SIZE);
        pv__put16(page + PV__TNODE_HOLES, 0);
    }
    return true;
}

bool pv__tnode_set_tail(uint8_t *page, unsigned i, pv__bytes tail, bool is_long, bool *out_done) {
    pv__tcell cell;
    if (i >= pv__tnode_count(page) || !pv__tnode_cell(page, i, &cell)) {
        return false;
    }
    *out_done = tail.size <= cell.tail.size;
    if (!*out_done) {
        return true;
    }
    unsigned at = pv__tnode_slot(page, i), end = at + pv__tcell_size(&cell);
    unsigned spare = (unsigned)(cell.tail.size - tail.size);
    pv__put16(page + at, (uint16_t)(cell.key.size | (is_long ? PV__CELL_LONG : 0)));
    pv__put16(page + at + 2, (uint16_t)tail.size);
    if (tail.size) {
        memcpy(page + at + PV__CELL_HEAD + cell.key.size, tail.data, tail.size);
    }
    return spare == 0 || tnode_release(page, end - spare, spare);
}
