/* SPDX-License-Identifier: Apache-2.0 */
/* peek.h - reading a page that is in memory, inline: for whoever reads thousands of them in no
 * order, as a graph walk does. Everybody else calls pv__page_read.
 *
 *   page id --> pv__xent {frame, lsn, mine} --> [64 B descriptor .. 128][page bytes]
 *
 * What is not in memory, or was spilled by the writer, gives NULL, and pv__page_read finds it. Kind
 * and owner are not compared. */
#ifndef PV_STORE_PEEK_H
#define PV_STORE_PEEK_H

#include <stdatomic.h>

#include "store/store.h"

#define PV__VER_RESIDENT 0x1u /* flag of a version: page bytes follow the descriptor */
#define PV__VER_HEAD 128u /* bytes from the descriptor to the page: keeps pages 64-byte aligned */

/* Translation entry. `frame` is the newest committed version: its address when resident, address
 * + 1 for a stub (not resident, or freed), 0 when only the page table knows. See S10 for the order
 * in which frame and lsn are stored and loaded. */
typedef struct pv__xent {
    _Atomic uintptr_t frame;
    _Atomic uint64_t lsn;
    _Atomic(struct pv__ver *) mine; /* the write transaction's version, NULL when untouched */
    uint32_t dirty_seq;             /* checkpoint whose dirty list holds this page; ver_mutex */
    _Atomic uint32_t used;          /* USED_NOW when read, less at each visit of the clock */
} pv__xent;
PV_STATIC_ASSERT(sizeof(pv__xent) == 32, translation_entry_is_32_bytes);

#define PV__XLAT_BITS 10u
#define PV__XLAT_FAN (1u << PV__XLAT_BITS)
#define PV__XLAT_TOP 512u
#define PV__XLAT_TOP_OF(id) ((id) >> (2 * PV__XLAT_BITS))
#define PV__XLAT_MID(id) (((id) >> PV__XLAT_BITS) & (PV__XLAT_FAN - 1))
#define PV__XLAT_LOW(id) ((id) & (PV__XLAT_FAN - 1))
typedef struct pv__xlat_middle {
    _Atomic(void *) low[PV__XLAT_FAN];
} pv__xlat_middle;
typedef struct pv__xlat {
    _Atomic(void *) top[PV__XLAT_TOP]; /* -> arrays of FAN pointers -> arrays of FAN entries */
    _Atomic uint64_t limit;            /* ids >= limit have no entry */
} pv__xlat;

/* The hand of the clock takes as much of it as the page has slots: a miss of a small page costs
 * about what one of a large page costs, and a small page holds less memory, so that it stays for
 * more rounds. Links and codes of a graph outlive the vectors that it ranks by. */
#define PV__USED_NOW 16u
static inline void pv__xent_touch(pv__xent *x) {
    if (PV_UNLIKELY(atomic_load_explicit(&x->used, memory_order_relaxed) != PV__USED_NOW)) {
        atomic_store_explicit(&x->used, PV__USED_NOW, memory_order_relaxed);
    }
}

/* NULL: nothing there. */
static inline pv__xent *pv__xlat_entry(const pv__xlat *xlat, uint64_t page_id) {
    if (PV_UNLIKELY(page_id >= PV__PAGE_ID_MAX)) {
        return NULL;
    }
    pv__xlat_middle *mid =
        atomic_load_explicit(&xlat->top[PV__XLAT_TOP_OF(page_id)], memory_order_acquire);
    if (PV_UNLIKELY(!mid)) {
        return NULL;
    }
    pv__xent *low = atomic_load_explicit(&mid->low[PV__XLAT_MID(page_id)], memory_order_acquire);
    return PV_LIKELY(low != NULL) ? &low[PV__XLAT_LOW(page_id)] : NULL;
}

/* What peeking needs to know of a transaction; good for its life. Pages may be peeked at only while
 * the transaction holds pointers: after a pv__page_read, until the next pause. */
typedef struct pv__peek {
    const pv__xlat *xlat;
    uint64_t snap;
    bool write; /* has versions of its own */
} pv__peek;
PV_PRIVATE pv__peek pv__peek_of(const pv__txn *txn);

/* Which addresses of pages hold (S14): what one transaction has found in memory is there, the same
 * bytes, for the next one with the same sight, which may go by the address while it holds pointers.
 * Nothing is kept in memory by that: when memory is freed, and so after each round of the clock
 * that found something, the sight is another one. */
typedef struct pv__sight {
    uint64_t snap, epoch; /* 0: of a write transaction, whose pages move; like no other */
} pv__sight;
PV_PRIVATE pv__sight pv__sight_of(pv__txn *txn); /* it holds pointers from now on */
static inline bool pv__sight_same(pv__sight a, pv__sight b) {
    return a.epoch != 0 && a.epoch == b.epoch && a.snap == b.snap;
}

/* The bytes that a snapshot sees, at or behind the newest version; NULL: they are not in memory. No
 * lock (S10): what hangs behind a version that was found inside an epoch stays as long as that. */
PV_PRIVATE const uint8_t *pv__page_peek_older(uintptr_t newest, uint64_t snap);

/* The page, or NULL. Not counted among the hits. */
static inline const uint8_t *pv__page_peek(const pv__peek *p, uint64_t page_id) {
    pv__xent *x = pv__xlat_entry(p->xlat, page_id);
    if (PV_UNLIKELY(!x)) {
        return NULL;
    }
    if (p->write) {
        /* Acquire: a thread that shares the transaction may have brought it back from slots. */
        const struct pv__ver *mine = atomic_load_explicit(&x->mine, memory_order_acquire);
        if (mine) {
            const _Atomic uint32_t *flags = (const void *)mine; /* its first member */
            if (PV_UNLIKELY(
                    !(atomic_load_explicit(flags, memory_order_relaxed) & PV__VER_RESIDENT))) {
                return NULL;
            }
            pv__xent_touch(x);
            return (const uint8_t *)mine + PV__VER_HEAD;
        }
    }
    /* S10: frame first (acquire), then its LSN. */
    const uintptr_t f = atomic_load_explicit(&x->frame, memory_order_acquire);
    if (PV_UNLIKELY(f == 0 || (f & 1) ||
                    atomic_load_explicit(&x->lsn, memory_order_relaxed) > p->snap)) {
        return pv__page_peek_older(f, p->snap);
    }
    pv__xent_touch(x);
    return (const uint8_t *)f + PV__VER_HEAD;
}

#endif
