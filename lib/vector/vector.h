/* SPDX-License-Identifier: Apache-2.0 */
/* vector.h - rows by slot number. Three things over the pages of one transaction, none of which
 * keeps state of its own, so that rollback, savepoints and snapshots work by themselves:
 *
 *   pv__column  fixed-size rows addressed by a dense slot number
 *   pv__slots   which slots are live; hands out slots and takes them back
 *   pv__idmap   record key -> slot
 *
 *      slot --- / rows_per_page ---> ordinal --- directory (radix of page ids) ---> page
 *           '-- % rows_per_page ---> row inside the page
 *
 * Handles are small structs on the caller's stack. They hold no pointers into pages, so they stay
 * good across pv__txn_pause and savepoints, and die with their transaction. Row pointers follow
 * the rules of store.h. What `const` handles do may run on several threads at once while no thread
 * writes or pauses. A change that fails half-way dooms its transaction. */
#ifndef PV_VECTOR_VECTOR_H
#define PV_VECTOR_VECTOR_H

#include "store/store.h"
#include "tree/tree.h"

/* ---- columns ------------------------------------------------------------------------------- */

#define PV__ROW_SIZE_MAX (PV__PAGE_SLOTS_MAX * PV__SLOT_SIZE - PV__PAGE_FRONT_MAX)
#define PV__ROWS_PER_PAGE_MAX 65344u /* rows of one byte; so the size of a bit array of a page */
#define PV__ROW_WORDS_MAX ((PV__ROWS_PER_PAGE_MAX + 63u) / 64u)

typedef struct pv__column {
    pv__txn *txn;
    uint64_t root;  /* page id of the root of the directory; never changes */
    uint32_t owner; /* object id in the heads of all its pages */
    uint32_t row_size;
    uint32_t page_slots;    /* length of a page of rows in 4 KiB */
    uint32_t rows_per_page; /* slot s is row s % rows_per_page of page s / rows_per_page */
    uint32_t front;         /* bytes of a page of rows before the first */
    uint32_t part;          /* tells apart two columns of one owner (pv__slots has two), else 0 */
} pv__column;

/* The shape of a column's pages: the smallest of 16..64 slots that wastes at most 3 %, else the
 * one that wastes least. At most 3 % for every row of up to 65,536 bytes. False when row_size is
 * 0 or more than PV__ROW_SIZE_MAX. */
PV_PRIVATE bool pv__column_layout(uint32_t row_size, uint32_t *out_page_slots,
                                  uint32_t *out_rows_per_page);

/* An empty column. page_slots 0: as pv__column_layout says; else 1..64, for small rows that are
 * written here and there. */
PV_PRIVATE int pv__column_create(pv__txn *txn, uint32_t owner, uint32_t row_size,
                                 uint32_t page_slots, uint64_t *out_root, pv_error *err);
/* PV_ERR_CORRUPT when the root is not that of a column of this owner and row size. */
PV_PRIVATE int pv__column_open(pv__txn *txn, uint32_t owner, uint64_t root, uint32_t row_size,
                               pv__column *out_column, pv_error *err);

/* A row that was written before; one on a page that is not there is PV_ERR_CORRUPT, since whoever
 * asks followed a wrong slot. Slots beyond PV__SLOTS_PER_COLLECTION_MAX are PV_ERR_LIMIT. */
PV_PRIVATE int pv__column_read(const pv__column *c, uint32_t slot, const uint8_t **out_row,
                               pv_error *err);
/* The same into `to`, row_size bytes; its page need not come into memory for it. */
PV_PRIVATE int pv__column_copy(const pv__column *c, uint32_t slot, uint8_t *to, pv_error *err);
/* The row, to be changed; its page is allocated, zeroed, when there is none. */
PV_PRIVATE int pv__column_write(const pv__column *c, uint32_t slot, uint8_t **out_row,
                                pv_error *err);

/* All rows_per_page rows of page `ordinal` as one array; NULL when there is no such page (all its
 * slots are dead or were never used). Rows of dead slots hold zeros or what was there last. */
PV_PRIVATE int pv__column_page_read(const pv__column *c, uint32_t ordinal, const uint8_t **out_rows,
                                    pv_error *err);
/* Page ids of ordinals [ordinal, ordinal + count), 0 where there is no page; they stay as they are
 * while the transaction changes nothing. With one, the page as above. */
PV_PRIVATE int pv__column_page_ids(const pv__column *c, uint32_t ordinal, uint32_t count,
                                   uint64_t *out_ids, pv_error *err);
PV_PRIVATE int pv__column_page_at(const pv__column *c, uint64_t page_id, uint32_t ordinal,
                                  const uint8_t **out_rows, pv_error *err);
PV_PRIVATE int pv__column_page_write(const pv__column *c, uint32_t ordinal, uint8_t **out_rows,
                                     pv_error *err);
/* `rows`, given by page_write, will hardly be written again: pv__page_finished. */
static inline void pv__column_page_finished(const pv__column *c, const uint8_t *rows) {
    pv__page_finished(c->txn, pv__page_id(rows - c->front));
}
/* Give a page back; its rows read as absent. No page: 0. */
PV_PRIVATE int pv__column_page_free(const pv__column *c, uint32_t ordinal, pv_error *err);
/* Pages of rows that exist, for statistics; each is page_slots * 4 KiB. */
PV_PRIVATE int pv__column_page_count(const pv__column *c, uint32_t *out_count, pv_error *err);

/* Free every page, the root too, in bounded memory: pauses, so no pointers may be held. */
PV_PRIVATE int pv__column_drop(const pv__column *c, pv_error *err);
/* Every page of the directory and of the rows: identity, place, counters. Reports through fn (may
 * be NULL), counts in *io_bad, goes on behind damage. Pauses. */
PV_PRIVATE int pv__column_check(const pv__column *c, pv__check_fn fn, void *ctx, uint64_t *io_bad,
                                pv_error *err);

/* ---- slots --------------------------------------------------------------------------------- */

/* What the caller keeps in its own page (PV__SLOTS_META_BYTES through encode and decode) and
 * writes back after alloc, alloc_at_end and free. */
typedef struct pv__slots_meta {
    uint64_t bits_root;  /* column of the live bitmap */
    uint64_t free_root;  /* column of the free map */
    uint32_t group_size; /* slots handed out together: rows_per_page of the widest column */
    uint32_t high_water; /* slots ever used: all are below it */
    uint32_t live_count;
    uint32_t group; /* group being refilled + 1, or 0 */
} pv__slots_meta;
#define PV__SLOTS_META_BYTES 32u
PV_PRIVATE void pv__slots_meta_encode(const pv__slots_meta *m, uint8_t out[PV__SLOTS_META_BYTES]);
PV_PRIVATE void pv__slots_meta_decode(const uint8_t in[PV__SLOTS_META_BYTES], pv__slots_meta *out);

typedef struct pv__slots {
    pv__slots_meta meta; /* changed by alloc and free */
    pv__column bits, free_map;
} pv__slots;

/* group_size: 1..PV__ROWS_PER_PAGE_MAX. */
PV_PRIVATE int pv__slots_create(pv__txn *txn, uint32_t owner, uint32_t group_size,
                                pv__slots_meta *out_meta, pv_error *err);
PV_PRIVATE int pv__slots_open(pv__txn *txn, uint32_t owner, const pv__slots_meta *meta,
                              pv__slots *out_slots, pv_error *err);

/* A slot, live from now on: a dead one while there are any (one group is refilled before the next
 * is begun, the one with most dead slots first), else the next new one. O(1) pages. PV_ERR_LIMIT
 * when PV__SLOTS_PER_COLLECTION_MAX are in use. */
PV_PRIVATE int pv__slots_alloc(pv__slots *s, uint32_t *out_slot, pv_error *err);
/* The same slots as that many calls of alloc, those in a row at once: *out_count of `want` (both at
 * least 1), the first of them *out_first. */
PV_PRIVATE int pv__slots_alloc_run(pv__slots *s, uint32_t want, uint32_t *out_first,
                                   uint32_t *out_count, pv_error *err);
/* The next new slot whatever is dead, for loads that want their rows in one run. */
PV_PRIVATE int pv__slots_alloc_at_end(pv__slots *s, uint32_t *out_slot, pv_error *err);
/* A slot that is not live is PV_ERR_CORRUPT: whoever frees it followed a damaged reference. */
PV_PRIVATE int pv__slots_free(pv__slots *s, uint32_t slot, pv_error *err);

PV_PRIVATE int pv__slots_is_live(const pv__slots *s, uint32_t slot, bool *out_live, pv_error *err);
/* Bits of slots [first, first + count), first at bit 0 of words[0], rest of the last word zero;
 * also beyond the high-water mark (zeros). words: (count + 63) / 64 of them. *out_live (may be
 * NULL): how many are set. So the bitmap of page p of column c is (p * rpp, rpp). */
PV_PRIVATE int pv__slots_bits(const pv__slots *s, uint32_t first, uint32_t count, uint64_t *words,
                              uint32_t *out_live, pv_error *err);
/* First live slot >= from. */
PV_PRIVATE int pv__slots_next(const pv__slots *s, uint32_t from, uint32_t *out_slot,
                              bool *out_found, pv_error *err);

/* After freeing `slot`: give column c's page of it back if no slot of that page is live. */
PV_PRIVATE int pv__slots_reclaim(const pv__slots *s, const pv__column *c, uint32_t slot,
                                 bool *out_freed, pv_error *err);

PV_PRIVATE int pv__slots_drop(pv__slots *s, pv_error *err); /* as pv__column_drop */
/* Bitmap against counters, free map against bitmap, and both columns. Pauses. */
PV_PRIVATE int pv__slots_check(const pv__slots *s, pv__check_fn fn, void *ctx, uint64_t *io_bad,
                               pv_error *err);

/* ---- id map -------------------------------------------------------------------------------- */

/* Keys are 1..PV__KEY_BYTES_MAX bytes in memcmp order; numbers go in big-endian
 * (pv__idmap_key_u64), so that their order is numeric. Exclusive: one thread at a time, reads too
 * (a scratch buffer). */
typedef struct pv__idmap {
    pv__tree tree;    /* for pv__cursor_new(&map.tree, ..) too: walk keys in order */
    pv__buf value;    /* scratch */
    pv__finger *near; /* the caller's, for many keys that may come in order; or NULL */
} pv__idmap;

PV_PRIVATE int pv__idmap_create(pv__txn *txn, uint32_t owner, uint64_t *out_root, pv_error *err);
PV_PRIVATE void pv__idmap_init(pv__idmap *m, pv__txn *txn, uint32_t owner, uint64_t root);
PV_PRIVATE void pv__idmap_done(pv__idmap *m); /* memory only; before the transaction ends */

static inline pv__bytes pv__idmap_key_u64(uint8_t buf[8], uint64_t id) {
    pv__bytes key = {buf, 8};
    pv__put64be(buf, id);
    return key;
}
PV_PRIVATE int pv__idmap_get(pv__idmap *m, pv__bytes key, uint32_t *out_slot, bool *out_found,
                             pv_error *err);
/* Insert or replace; *out_replaced may be NULL. */
PV_PRIVATE int pv__idmap_put(pv__idmap *m, pv__bytes key, uint32_t slot, bool *out_replaced,
                             pv_error *err);
/* Several at once, at most PV__IDMAP_RUN. *out_replaced: the first that was there, or n. */
#define PV__IDMAP_RUN 64u
PV_PRIVATE int pv__idmap_put_run(pv__idmap *m, const pv__bytes *keys, const uint32_t *slots,
                                 size_t n, size_t *out_replaced, pv_error *err);
PV_PRIVATE int pv__idmap_del(pv__idmap *m, pv__bytes key, bool *out_found, pv_error *err);
/* The slot of the entry that a cursor over m->tree stands on. */
PV_PRIVATE int pv__idmap_cursor_slot(pv__idmap *m, pv__cursor *cursor, uint32_t *out_slot,
                                     pv_error *err);
PV_PRIVATE int pv__idmap_drop(pv__idmap *m, pv_error *err);

#endif
