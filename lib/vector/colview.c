/* SPDX-License-Identifier: Apache-2.0 */
/* colview.c - the slow half of colview.h: finding the ids of 504 pages of rows, and what is to be
 * remembered of them.
 *
 * A root of level 1 is its own and only group. Below a higher root a group is a node of level 1;
 * one that is not there gives a group of zero ids, which no page has. */
#include "vector/colview.h"

static const uint8_t colview_none[8 * PV__COLDIR_FANOUT];

#define COLVIEW_STEADY 3u /* met more often, a sight is worth filling tables for */

void pv__sights_now(pv__sights *s, pv__txn *txn) {
    const pv__sight now = pv__sight_of(txn);
    const bool same = pv__sight_same(s->last, now);
    s->times = same ? PV_MIN(s->times, COLVIEW_STEADY) + 1 : 1;
    s->number += same ? 0 : 1;
    s->last = now;
    s->moves = now.epoch == 0;
}

void pv__sights_still(pv__sights *s) {
    s->moves = false;
    s->times = COLVIEW_STEADY + 1;
}

void pv__colview_done(pv__colview *v, pv__mem *mem) {
    pv__alloc_free(mem, v->groups, v->group_cap * sizeof *v->groups);
    pv__alloc_free(mem, v->base_room, v->base_cap * sizeof *v->base_room);
    v->groups = NULL;
    v->base = v->base_room = NULL;
    v->group_cap = v->base_cap = 0;
    v->sight = 0;
}

/* Nothing is known of it. */
static int colview_begin(pv__colview *v, const pv__column *c, uint32_t slots, pv__mem *mem,
                         pv_error *err) {
    /* Granlund and Montgomery (1994): 31-bit dividends need a multiplier of 32 bits. */
    uint32_t log2 = 0;
    while ((UINT64_C(1) << log2) < c->rows_per_page) {
        log2++;
    }
    v->sight = 0;
    v->c = *c;
    v->shift = 31 + log2;
    v->magic = ((UINT64_C(1) << v->shift) + c->rows_per_page - 1) / c->rows_per_page;
    v->slots = slots;
    v->ordinals = (uint32_t)(((uint64_t)slots + c->rows_per_page - 1) / c->rows_per_page);
    v->group_count = v->ordinals / PV__COLDIR_FANOUT + 1;
    v->base = NULL;
    PV_TRY(pv__alloc_grow(mem, (void **)&v->groups, &v->group_cap, v->group_count,
                          sizeof *v->groups, err));
    memset(v->groups, 0, v->group_count * sizeof *v->groups);
    return 0;
}

/* From now on addresses are remembered: but not of more pages than the cache has room for, since
 * then they come and go. So what is remembered takes at most 1/512 of the cache. */
static int colview_know(pv__colview *v, pv__mem *mem, pv_error *err) {
    if (v->ordinals > pv__txn_cache_bytes(v->c.txn) / PV__SLOT_SIZE) {
        return 0;
    }
    PV_TRY(pv__alloc_grow(mem, (void **)&v->base_room, &v->base_cap, v->ordinals,
                          sizeof *v->base_room, err));
    memset(v->base_room, 0, v->ordinals * sizeof *v->base_room);
    v->base = v->base_room;
    return 0;
}

int pv__colview_open(pv__colview *v, const pv__column *c, uint32_t slots, const pv__sights *s,
                     pv__mem *mem, pv_error *err) {
    if (s->moves || v->sight != s->number || v->c.root != c->root || v->slots != slots) {
        PV_TRY(colview_begin(v, c, slots, mem, err));
    }
    v->c.txn = c->txn;
    v->peek = pv__peek_of(c->txn);
    v->sight = s->number;
    return s->times > COLVIEW_STEADY && !v->base ? colview_know(v, mem, err) : 0;
}

static int colview_group(pv__colview *v, uint32_t group, pv_error *err) {
    const uint8_t *page;
    PV_TRY(pv__coldir_root(&v->c, &page, err));
    unsigned level = page[PV__COLDIR_LEVEL];
    if (level == 1) {
        if (v->ordinals > PV__COLDIR_ROOT_FANOUT) { /* it has 496 ids: reading on is not allowed */
            return pv__err(err, PV_ERR_CORRUPT, "page %llu: directory of object %u is too small",
                           (unsigned long long)v->c.root, (unsigned)v->c.owner);
        }
        v->groups[group] = page + PV__COLDIR_ROOT_IDS;
        return 0;
    }
    uint32_t span = 1; /* groups below an entry */
    for (unsigned l = 2; l < level; l++) {
        span *= PV__COLDIR_FANOUT;
    }
    uint32_t at = group / span;
    uint64_t id = at < PV__COLDIR_ROOT_FANOUT ? pv__get64(page + PV__COLDIR_ROOT_IDS + 8 * at) : 0;
    while (id != 0 && --level > 1) {
        PV_TRY(pv__coldir_node(&v->c, id, level, group / span, &page, err));
        span /= PV__COLDIR_FANOUT;
        id = pv__get64(page + PV__COLDIR_NODE_IDS + 8 * (group / span % PV__COLDIR_FANOUT));
    }
    if (id == 0) {
        v->groups[group] = colview_none;
        return 0;
    }
    PV_TRY(pv__coldir_node(&v->c, id, 1, group, &page, err));
    v->groups[group] = page + PV__COLDIR_NODE_IDS;
    return 0;
}

/* Groups that are looked up with the first one: their pages come together. */
#define COLVIEW_AHEAD 64u
#define COLVIEW_ASK 32u /* pages that the disk is asked for at once */

/* The groups below a root of level 2 are its entries: memory is asked for all of them at once. */
static int colview_group_first(pv__colview *v, uint32_t group, pv_error *err) {
    const uint8_t *root;
    PV_TRY(pv__coldir_root(&v->c, &root, err));
    const uint32_t count = PV_MIN(v->group_count, COLVIEW_AHEAD);
    if (root[PV__COLDIR_LEVEL] == 2 && group < count) {
        for (uint32_t i = 0; i < count; i++) {
            const uint64_t id = pv__get64(root + PV__COLDIR_ROOT_IDS + 8 * i);
            const uint8_t *page = v->groups[i] ? NULL : pv__page_peek(&v->peek, id);
            if (page && pv__page_kind(page) == PV__PAGE_COLDIR &&
                pv__page_owner(page) == v->c.owner &&
                pv__page_ordinal(page) == pv__coldir_node_ordinal(&v->c, 1, i)) {
                v->groups[i] = page + PV__COLDIR_NODE_IDS;
            }
        }
    }
    return v->groups[group] ? 0 : colview_group(v, group, err);
}

/* The page of an ordinal is here. */
static inline void colview_note(pv__colview *v, uint32_t ordinal, const uint8_t *page) {
    if (v->base) {
        v->base[ordinal] = (uintptr_t)page + v->c.front -
                           (uintptr_t)ordinal * v->c.rows_per_page * (uintptr_t)v->c.row_size;
    }
}

static int colview_id(pv__colview *v, uint32_t ordinal, uint64_t *out_id, pv_error *err) {
    const uint32_t group = ordinal / PV__COLDIR_FANOUT;
    PV_DEBUG_ASSERT(ordinal < v->ordinals);
    if (PV_UNLIKELY(!v->groups[group])) {
        PV_TRY(colview_group_first(v, group, err));
    }
    *out_id = pv__get64(v->groups[group] + 8 * (size_t)(ordinal % PV__COLDIR_FANOUT));
    return 0;
}

#define STASH_ROWS ((size_t)256) /* what one search may look at */
#define STASH_BYTES ((size_t)256 << 10)

/* ---- rows without their pages ---------------------------------------------------------------- */

void pv__stash_done(pv__stash *s) {
    pv__alloc_free(s->mem, s->slots, s->room * sizeof *s->slots);
    pv__alloc_free(s->mem, s->rows, s->room * s->row_size);
    pv__alloc_free(s->mem, s->scratch, PV__PIECES_MAX * pv__piece_scratch((uint32_t)s->row_size));
    s->slots = NULL;
    s->rows = s->scratch = NULL;
    s->count = 0;
}

static int stash_ready(pv__stash *s, size_t row_size, pv_error *err) {
    if (s->slots && s->row_size == row_size) {
        return 0;
    }
    pv__stash_done(s);
    s->row_size = row_size;
    s->room = PV_MIN(PV_MAX(STASH_BYTES / row_size, PV__PIECES_MAX), STASH_ROWS);
    s->slots = pv__alloc_array(s->mem, s->room, sizeof *s->slots);
    s->rows = pv__alloc_array(s->mem, s->room, row_size);
    s->scratch = pv__alloc_array(s->mem, PV__PIECES_MAX, pv__piece_scratch((uint32_t)row_size));
    if (!s->slots || !s->rows || !s->scratch) {
        pv__stash_done(s);
        return pv__err_nomem(err, s->room * row_size);
    }
    return 0;
}

static const uint8_t *stash_find(const pv__stash *s, uint32_t slot) {
    for (size_t i = 0; i < s->count; i++) {
        if (s->slots[i] == slot) {
            return s->rows + i * s->row_size;
        }
    }
    return NULL;
}

/* Some rows that are not there, at most PV__PIECES_MAX. */
static int stash_read(pv__colview *v, pv__piece *pieces, size_t n, pv_error *err) {
    pv__stash *s = v->stash;
    PV_TRY(pv__page_pieces(v->c.txn, PV__PAGE_COLUMN, pieces, n, s->scratch, err));
    for (size_t i = 0; i < n; i++) {
        const uint32_t ordinal = s->slots[s->count + i] / v->c.rows_per_page;
        if (!pv__coldir_is_rows(&v->c, &pieces[i], ordinal)) {
            return pv__err(err, PV_ERR_CORRUPT, "page %llu: not the expected page of rows",
                           (unsigned long long)pieces[i].page_id);
        }
    }
    s->count += n;
    return 0;
}

/* Those of n rows that are neither in memory nor in the stash. */
static int stash_add(pv__colview *v, const uint32_t *slots, size_t n, pv_error *err) {
    pv__stash *s = v->stash;
    pv__piece pieces[PV__PIECES_MAX];
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t ordinal = (uint32_t)(slots[i] * v->magic >> v->shift);
        pv__piece *p = &pieces[m];
        PV_TRY(colview_id(v, ordinal, &p->page_id, err));
        if (pv__page_peek(&v->peek, p->page_id) || stash_find(s, slots[i])) {
            continue;
        }
        p->offset = v->c.front + (slots[i] - ordinal * v->c.rows_per_page) * v->c.row_size;
        p->size = v->c.row_size;
        p->to = s->rows + (s->count + m) * s->row_size;
        s->slots[s->count + m] = slots[i];
        if (++m == PV__PIECES_MAX) {
            PV_TRY(stash_read(v, pieces, m, err));
            m = 0;
        }
    }
    return m > 0 ? stash_read(v, pieces, m, err) : 0;
}

/* The first of n rows, which is not in memory; the others come with it. `fresh`: what lies there
 * may go for it. NULL: there is no room, or it has come into memory. */
static int stash_row(pv__colview *v, const uint32_t *slots, size_t n, bool fresh,
                     const uint8_t **out_row, pv_error *err) {
    pv__stash *s = v->stash;
    PV_TRY(stash_ready(s, v->c.row_size, err));
    *out_row = stash_find(s, slots[0]);
    if (!*out_row && fresh && s->count + n > s->room) {
        s->count = 0;
    }
    if (!*out_row) {
        PV_TRY(stash_add(v, slots, PV_MIN(n, s->room - s->count), err));
        *out_row = stash_find(s, slots[0]);
    }
    return 0;
}

/* ---- rows ------------------------------------------------------------------------------------ */

int pv__colview_find(pv__colview *v, uint32_t slot, const uint8_t **out_row, pv_error *err) {
    const uint32_t ordinal = (uint32_t)(slot * v->magic >> v->shift);
    const uint8_t *page;
    uint64_t id;
    PV_TRY(colview_id(v, ordinal, &id, err));
    page = pv__page_peek(&v->peek, id);
    if (!page && v->stash) {
        PV_TRY(stash_row(v, &slot, 1, true, out_row, err));
        if (*out_row) {
            return 0;
        }
    }
    if (!page) {
        PV_TRY(pv__page_read(v->c.txn, id, PV__PAGE_ANY, &page, err));
    }
    colview_note(v, ordinal, page);
    *out_row = page + v->c.front + (size_t)(slot - ordinal * v->c.rows_per_page) * v->c.row_size;
    return 0;
}

static inline void colview_expect(const uint8_t *row, size_t size) {
    for (size_t i = 0; i < size; i += 64) {
        PV_PREFETCH(row + i);
    }
    PV_PREFETCH(row + size - 1);
}

/* One page is not in memory: those of the rows behind it are asked of the disk before it is read,
 * so that they come together. */
static void colview_pages_expect(pv__colview *v, const uint32_t *slots, size_t n) {
    uint64_t ids[COLVIEW_ASK];
    size_t count = 0;
    for (size_t i = 0; i < n && count < COLVIEW_ASK; i++) {
        const uint32_t ordinal = (uint32_t)(slots[i] * v->magic >> v->shift);
        const uint8_t *group = v->groups[ordinal / PV__COLDIR_FANOUT];
        if (group) {
            ids[count++] = pv__get64(group + 8 * (ordinal % PV__COLDIR_FANOUT));
        }
    }
    pv__pages_expect(v->c.txn, ids, count);
}

int pv__colview_ahead(pv__colview *v, const uint32_t *slots, size_t n, pv_error *err) {
    const uint8_t *row;
    for (size_t i = 0; i < n && v->stash; i++) {
        const uint32_t ordinal = (uint32_t)(slots[i] * v->magic >> v->shift);
        const uintptr_t at = v->base ? v->base[ordinal] : 0;
        uint64_t id;
        if (PV_LIKELY(at != 0)) {
            const size_t size = v->c.row_size;
            colview_expect((const uint8_t *)(at + (uintptr_t)slots[i] * size), size);
            continue;
        }
        PV_TRY(colview_id(v, ordinal, &id, err));
        if (!pv__page_peek(&v->peek, id)) {
            return stash_row(v, slots + i, n - i, true, &row, err);
        }
    }
    return 0;
}

/* Rows whose pages are not all known. */
static int colview_rows_ask(pv__colview *v, const uint32_t *slots, size_t n,
                            const uint8_t **out_rows, pv_error *err) {
    /* Copies: the compiler cannot know that out_rows is not in the view. */
    const pv__peek peek = v->peek;
    const uint8_t *const *const groups = v->groups;
    const uint64_t magic = v->magic;
    const uint32_t shift = v->shift, rows_per_page = v->c.rows_per_page;
    const size_t size = v->c.row_size, front = v->c.front;
    bool asked = false;
    for (size_t i = 0; i < n; i++) { /* what leads to a row comes together too */
        const uint32_t ordinal = (uint32_t)(slots[i] * magic >> shift);
        const uint8_t *const ids = groups[ordinal / PV__COLDIR_FANOUT];
        if (PV_LIKELY(ids != NULL)) {
            const pv__xent *x = pv__xlat_entry(
                peek.xlat, pv__get64(ids + 8 * (size_t)(ordinal % PV__COLDIR_FANOUT)));
            PV_PREFETCH(x);
        }
    }
    for (size_t i = 0; i < n; i++) {
        const uint32_t slot = slots[i], ordinal = (uint32_t)(slot * magic >> shift);
        const uint32_t group = ordinal / PV__COLDIR_FANOUT;
        const uint8_t *const ids = groups[group], *row = NULL, *page = NULL;
        if (PV_LIKELY(ids != NULL)) {
            const size_t at = ordinal - (size_t)group * PV__COLDIR_FANOUT;
            page = pv__page_peek(&peek, pv__get64(ids + 8 * at));
        }
        if (PV_LIKELY(page != NULL)) {
            row = page + front + (slot - (size_t)ordinal * rows_per_page) * size;
            colview_note(v, ordinal, page);
        } else {
            if (v->stash) {
                PV_TRY(stash_row(v, slots + i, n - i, !asked, &row, err));
                asked = true;
            } else if (ids != NULL && !asked && n - i > 1) {
                colview_pages_expect(v, slots + i, n - i);
                asked = true;
            }
            if (!row) {
                PV_TRY(pv__colview_find(v, slot, &row, err));
            }
        }
        colview_expect(row, size);
        out_rows[i] = row;
    }
    return 0;
}

int pv__colview_rows(pv__colview *v, const uint32_t *slots, size_t n, const uint8_t **out_rows,
                     pv_error *err) {
    const uintptr_t *const base = v->base;
    const uint64_t magic = v->magic;
    const uint32_t shift = v->shift;
    const size_t size = v->c.row_size;
    size_t i = 0;
    for (; base && i < n; i++) {
        const uint32_t slot = slots[i];
        const uintptr_t at = base[slot * magic >> shift];
        if (PV_UNLIKELY(at == 0)) {
            break;
        }
        const uint8_t *row = (const uint8_t *)(at + (uintptr_t)slot * size);
        colview_expect(row, size);
        out_rows[i] = row;
    }
    return i == n ? 0 : colview_rows_ask(v, slots + i, n - i, out_rows + i, err);
}

#undef COLVIEW_STEADY
#undef COLVIEW_AHEAD
#undef COLVIEW_ASK
#undef STASH_ROWS
#undef STASH_BYTES
