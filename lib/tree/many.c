/* SPDX-License-Identifier: Apache-2.0 */
/* many.c - a handful of keys looked up side by side: what one of them waits for in memory, the
 * others wait for at the same time.
 *
 *      for each level      nodes of all keys asked for -> where in them, by guess -> slots asked
 *                          for -> cells asked for -> compare
 *
 * The guess: between two separators (or the first and last key of the root, and of the nodes at
 * the right edge) keys are taken to be spread evenly, the first 8 bytes of them read as a number.
 * Numbers in a row, as slots are, are met at once; others are searched for from there.
 *
 * Not here: anything that changes the tree; long values (overflow.c). */
#include "tree/op.h"

typedef struct many_key {
    uint64_t word; /* the key's first 8 bytes */
    uint64_t low, high;
    bool above; /* keys of its node are below `high`; else nothing is known */
    unsigned at;
    uint64_t id;
    const uint8_t *page;
} many_key;

static uint64_t many_word(pv__bytes key) {
    uint8_t first[8] = {0};
    memcpy(first, key.data, PV_MIN(key.size, sizeof first));
    return pv__get64be(first);
}

/* Keys of a node are spread from `low` to `high`, over `cells` from `first` on. */
typedef struct many_span {
    uint64_t low, high;
    unsigned first, cells, last, inner;
} many_span;

static many_span many_span_of(const many_key *k) {
    const unsigned count = pv__tnode_count(k->page), inner = pv__tnode_level(k->page) > 0;
    many_span s = {k->low, k->high, 0, count, count - 1, inner};
    pv__tcell a, b;
    if (count < 2 + inner) {
        return (many_span){.last = 0};
    }
    if (!k->above) {
        s.first = inner; /* the first cell of an inner node has no key */
        s.cells = count - 1 - inner;
        if (!pv__tnode_cell(k->page, inner, &a) || !pv__tnode_cell(k->page, count - 1, &b)) {
            return (many_span){.last = 0}; /* found damaged by the search */
        }
        s.low = many_word(a.key);
        s.high = many_word(b.key);
    }
    return s;
}

/* Cell of the page that a key is probably at: the first that is not smaller. */
static unsigned many_guess(uint64_t word, const many_span *s) {
    if (word <= s->low || s->high <= s->low) {
        return s->first;
    }
    const double share = (double)(word - s->low) * s->cells / (double)(s->high - s->low);
    const unsigned at = share < s->cells ? (unsigned)share : s->cells;
    return PV_MIN(s->first + at + s->inner, s->last);
}

static void many_fetch_slots(const many_key *k) {
    PV_PREFETCH(k->page + PV__TNODE_BODY + PV__CELL_SLOT * k->at);
}

static void many_fetch_cells(const many_key *k) {
    const unsigned at = pv__tnode_slot(k->page, k->at);
    if (pv__tnode_count(k->page) > 0 && at < PV__TNODE_SIZE) {
        PV_PREFETCH(k->page + at); /* the cell before usually lies behind */
        PV_PREFETCH(k->page + PV_MIN(at + 64u, PV__TNODE_SIZE - 1));
    }
}

/* The nodes of one level, their headers checked, guesses made and on their way. */
static int many_load(const pv__tree *tree, many_key *keys, size_t n, int level, pv_error *err) {
    uint64_t absent[PV__TREE_MANY];
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *page = pv__page_whereabouts(tree->txn, keys[i].id);
        if (PV_LIKELY(page != NULL)) {
            PV_PREFETCH(page);
            PV_PREFETCH(page + PV__PAGE_HEAD);
        } else if (count == 0 || absent[count - 1] != keys[i].id) {
            absent[count++] = keys[i].id;
        }
    }
    if (PV_UNLIKELY(count > 1)) { /* the disk is asked for all of them before one is read */
        pv__pages_expect(tree->txn, absent, count);
    }
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && keys[i].id == keys[i - 1].id) {
            keys[i].page = keys[i - 1].page;
        } else {
            PV_TRY(pv__tnode_load(tree, keys[i].id, level, &keys[i].page, err));
        }
    }
    many_span span = {.last = 0};
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || keys[i].page != keys[i - 1].page) {
            span = many_span_of(&keys[i]);
        }
        keys[i].at = many_guess(keys[i].word, &span);
        many_fetch_slots(&keys[i]);
    }
    for (size_t i = 0; i < n; i++) {
        many_fetch_cells(&keys[i]);
    }
    return 0;
}

/* From an inner node to the child. */
static bool many_down(many_key *k, pv__bytes key) {
    pv__tcell cell;
    bool found = false;
    unsigned i = 0;
    if (!pv__tnode_find_near(k->page, key, k->at, &i, &found) || (i == 0 && !found)) {
        return false; /* as in pv__tnode_child */
    }
    i -= found ? 0 : 1;
    if (!pv__tnode_cell(k->page, i, &cell)) {
        return false;
    }
    k->id = pv__tcell_child(&cell);
    if (i > 0) {
        k->low = many_word(cell.key);
    }
    if (i + 1 < pv__tnode_count(k->page)) {
        if (!pv__tnode_cell(k->page, i + 1, &cell)) {
            return false;
        }
        k->high = many_word(cell.key);
        k->above = true;
    }
    return k->id != 0;
}

static bool many_found(const many_key *k, pv__bytes key, pv__tree_seen *out) {
    pv__tcell cell;
    unsigned i = 0;
    *out = (pv__tree_seen){.found = false};
    if (!pv__tnode_find_near(k->page, key, k->at, &i, &out->found)) {
        return false;
    }
    if (out->found) {
        if (!pv__tnode_cell(k->page, i, &cell)) {
            return false;
        }
        out->is_long = cell.is_long;
        out->value = cell.is_long ? (pv__bytes){NULL, 0} : cell.tail;
    }
    return true;
}

int pv__tree_get_many(const pv__tree *tree, const pv__bytes *keys, size_t n, pv__tree_seen *out,
                      pv_error *err) {
    many_key at[PV__TREE_MANY];
    int level = -1;
    PV_ASSERT(n <= PV__TREE_MANY);
    for (size_t i = 0; i < n; i++) {
        PV_TRY(pv__tree_check_key(keys[i], err));
        at[i] = (many_key){.word = many_word(keys[i]), .id = tree->root};
    }
    if (n == 0) {
        return 0;
    }
    do {
        PV_TRY(many_load(tree, at, n, level, err));
        level = (int)pv__tnode_level(at[0].page) - 1; /* T3: all leaves are equally deep */
        for (size_t i = 0; i < n && level >= 0; i++) {
            if (PV_UNLIKELY(!many_down(&at[i], keys[i]))) {
                return pv__tnode_bad(tree, at[i].id, "a separator or child reference is damaged",
                                     err);
            }
        }
    } while (level >= 0);
    for (size_t i = 0; i < n; i++) {
        if (PV_UNLIKELY(!many_found(&at[i], keys[i], &out[i]))) {
            return pv__tnode_bad(tree, at[i].id, "a cell is damaged", err);
        }
    }
    return 0;
}
