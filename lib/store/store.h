/* SPDX-License-Identifier: Apache-2.0 */
/* store.h - what the rest of lib/ sees of the store: transactions over numbered, versioned pages.
 *
 *      pv__store ---- begin ----> pv__txn (read: one LSN, never waits; write: one at a time)
 *                                   |  pv__page_read / _write / _new / _free, by page id
 *                                   '- commit: one log record, one sync; or rollback
 *
 * A page is an array of 4 KiB * n bytes (1 <= n <= 64, fixed for its life). Its first
 * PV__PAGE_HEAD (64) bytes belong to the store; the rest is the owner's, 64-byte aligned, zero when
 * new. A page id never changes and never is 0. Nobody above this header knows of files, logs,
 * recovery, caches or locks.
 *
 * Pointers: a pointer from pv__page_read or _write is valid until pv__txn_pause, savepoint,
 * rollback or the end of the transaction, whichever is first - and a _read pointer of page P also
 * only until this transaction's first _write of P (then ask again). Long loops call pv__txn_pause
 * where they hold no pointer, so that memory can be reclaimed. A page given by _write stays
 * writable under the same pointer until then.
 *
 * Threads: a pv__store is for any thread, a pv__txn for one at a time (several threads may *read*
 * pages of one transaction at the same time while none writes or pauses). */
#ifndef PV_STORE_STORE_H
#define PV_STORE_STORE_H

#include "base/alloc.h"
#include "base/limits.h"
#include "base/log.h"
#include "pv_unstable.h"

typedef struct pv__store pv__store;
typedef struct pv__txn pv__txn;
struct pv__helper;

/* What a page is, stored in its head; reading with another kind is PV_ERR_CORRUPT. */
enum {
    PV__PAGE_ANY = 0,        /* for pv__page_read: do not compare */
    PV__PAGE_META = 1,       /* store: page 1 */
    PV__PAGE_FREELIST = 2,   /* store: free page ids */
    PV__PAGE_TABLE = 3,      /* store: page-table node */
    PV__PAGE_TREE = 4,       /* tree: node */
    PV__PAGE_OVERFLOW = 5,   /* tree: part of a long value */
    PV__PAGE_COLLECTION = 6, /* catalog: roots and counters of one collection */
    PV__PAGE_COLDIR = 7,     /* vector: directory of a column's pages */
    PV__PAGE_COLUMN = 8,     /* vector: rows of a column */
    PV__PAGE_GRAPH = 9       /* ann: counters and roots of a graph */
};
/* Beside a kind, of pages of several slots that are also read in pieces: what is the owner's begins
 * behind pv__page_front. */
#define PV__PAGE_BY_SLOT 0x100u

/* Work of the layer above that nobody waits for, done a little at a time by the thread of the
 * store (checkpoint.c): returns after how many ms it wants to be called again, or CHORE_DONE. It
 * holds nothing between calls. */
#define PV__CHORE_DONE UINT32_MAX
typedef uint32_t (*pv__chore_fn)(void *ctx);

typedef struct pv__store_opts {
    const char *path; /* ":memory:" keeps everything in memory, without log */
    pv_vfs *vfs;      /* NULL: posix */
    const pv_clock *clock;
    pv__mem *mem;          /* outlives the store */
    const pv__logger *log; /* may be NULL */
    bool readonly;
    bool create;               /* when missing */
    uint64_t cache_bytes;      /* 0: default */
    uint64_t checkpoint_bytes; /* log bytes that start a checkpoint; 0: default */
    uint32_t busy_timeout_ms;
    bool no_threads;    /* checkpoints run inside commits */
    pv__chore_fn chore; /* may be NULL */
    void *chore_ctx;
    uint32_t codec;            /* for pages that shrink: 0 none, 1 zstd (when built in) */
    pv_interrupt_fn interrupt; /* asked by waits for another writer, pauses, commits */
    void *interrupt_ctx;
    uint64_t log_segment_bytes; /* first log segment, the next ones double; 0: default (tests) */
    uint64_t slab_bytes;        /* memory for pages; 0: as frames.c says (tests) */
} pv__store_opts;

PV_PRIVATE int pv__store_open(const pv__store_opts *opts, pv__store **out_store, pv_error *err);
/* All transactions must have ended. Writes the final root and removes the log unless the store is
 * read-only or failed. Always frees, also on error. In a forked child only drops memory. */
PV_PRIVATE int pv__store_close(pv__store *store, pv_error *err);
/* In a forked child: drop memory and descriptors, touch neither file nor log. */
PV_PRIVATE void pv__store_abandon(pv__store *store);
PV_PRIVATE int pv__store_checkpoint(pv__store *store, pv_error *err); /* now, up to the newest */

/* The chore has something to do. False: there is no thread for it. */
PV_PRIVATE bool pv__chore_want(pv__store *store);

typedef struct pv__store_stats {
    uint64_t lsn, durable_lsn, checkpoint_lsn;
    uint64_t db_checksum; /* S13, at lsn */
    uint64_t file_bytes, log_bytes, page_count, free_slots;
    uint64_t cache_bytes, cache_limit, dirty_pages, versions;
    uint64_t page_hits, page_misses, log_syncs, checkpoints;
    uint64_t commits; /* number of the newest, counted from the making of the database */
    uint64_t commits_since_open;
    uint8_t uuid[16];
} pv__store_stats;
PV_PRIVATE void pv__store_stats_get(pv__store *store, pv__store_stats *out);

/* Walk everything: superblocks, table, every page's checksum and identity, every slot used once,
 * and the database checksum. fn (may be NULL) is told each finding; *out_bad counts them. An
 * error is returned only when the walk itself could not go on. */
typedef void (*pv__check_fn)(void *ctx, uint64_t page_id, uint32_t owner, const char *what);
PV_PRIVATE int pv__store_check(pv__store *store, bool deep, pv__check_fn fn, void *ctx,
                               uint64_t *out_bad, pv_error *err);

/* ---- transactions -------------------------------------------------------------------------- */

#define PV__TXN_WRITE 0x1u
#define PV__TXN_ASYNC 0x2u  /* commit returns before the record is durable */
#define PV__TXN_NOWAIT 0x4u /* PV_ERR_BUSY at once instead of waiting for the writer */
#define PV__TXN_CHORE                                                                              \
    0x8u                   /* write: gives way to everybody: PV_ERR_BUSY at once while anybody is
                             * or wants to be the writer; nobody else is ever told BUSY for it */
#define PV__TXN_ASKS 0x10u /* its pauses ask the caller's interrupt: of a call's own thread */

PV_PRIVATE int pv__txn_begin(pv__store *store, uint32_t flags, pv__txn **out_txn, pv_error *err);
/* A second reader of the state that a read transaction sees, for another thread: it pauses, and
 * holds pointers, by itself. It ends, by _rollback, before `txn` does. */
PV_PRIVATE int pv__txn_share(const pv__txn *txn, pv__txn **out_txn, pv_error *err);
/* Ends and frees the transaction in every case. After an error nothing of it is visible; after
 * PV_ERR_IO from the sync it may or may not be there after the next open. *out_lsn may be NULL. */
PV_PRIVATE int pv__txn_commit(pv__txn *txn, uint64_t *out_lsn, pv_error *err);
PV_PRIVATE void pv__txn_rollback(pv__txn *txn);      /* write: undo; read: just end. NULL is fine */
PV_PRIVATE uint64_t pv__txn_lsn(const pv__txn *txn); /* what it reads */
PV_PRIVATE bool pv__txn_is_write(const pv__txn *txn);
PV_PRIVATE bool pv__txn_is_dirty(const pv__txn *txn);
PV_PRIVATE pv__mem *pv__txn_mem(pv__txn *txn);
PV_PRIVATE uint64_t pv__txn_cache_bytes(const pv__txn *txn); /* the bound of the page cache */
/* A second thread for whoever has the write transaction (os/helper.h): wait for its job before the
 * call returns. It may do work of the store and then accepts nothing. */
PV_PRIVATE struct pv__helper *pv__txn_helper(pv__txn *txn);
/* Everything that the write transaction, which has no savepoints, has changed is as it was; it goes
 * on as if it had just begun. What was read in it is to be read again. */
PV_PRIVATE void pv__txn_undo(pv__txn *txn);
/* A mistake in the middle of a change: from now on only rollback is possible, and commit fails
 * with this code. Store and tree call it themselves when a page call fails. */
PV_PRIVATE void pv__txn_doom(pv__txn *txn, int code);
PV_PRIVATE int pv__txn_doomed(const pv__txn *txn, pv_error *err); /* 0 when it is not */
/* What doomed the transaction was damage in pages that it gives up: whoever calls this knows that
 * nothing else was under way, and leaves those pages to pv__page_free or to nobody. */
PV_PRIVATE void pv__txn_forgive(pv__txn *txn);
/* No pointers are held: let memory be reclaimed, evicted or spilled, and ask the interrupt
 * (PV__TXN_ASKS): PV_ERR_CANCELLED dooms nothing, that is up to whoever was changing something.
 * Cheap; call it once per row or node in long loops, and at least every few milliseconds of work:
 * how late an interrupt may be hangs on it. */
PV_PRIVATE int pv__txn_pause(pv__txn *txn, pv_error *err);
/* The same where all is done, or undone: nothing is asked. */
PV_PRIVATE int pv__txn_rest(pv__txn *txn, pv_error *err);
/* Memory is short: a pause would give some back. For loops that pause now and then only. */
PV_PRIVATE bool pv__txn_tight(const pv__txn *txn);
/* The same for a read transaction: what pointers hold is beyond the cache. */
PV_PRIVATE bool pv__txn_crowded(const pv__txn *txn);

/* Savepoints of a write transaction, nested; numbers count from 1. rollback_to undoes all changes
 * since it and forgets the inner ones, it itself stays; release forgets it and the inner ones, the
 * changes stay. All page pointers become invalid. A doomed transaction can be saved by rollback_to
 * when what doomed it came after the savepoint. */
#define PV__SAVEPOINTS_MAX 1000u
PV_PRIVATE int pv__txn_savepoint(pv__txn *txn, uint32_t *out_number, pv_error *err);
PV_PRIVATE int pv__txn_rollback_to(pv__txn *txn, uint32_t number, pv_error *err);
PV_PRIVATE int pv__txn_release(pv__txn *txn, uint32_t number, pv_error *err);

/* ---- pages --------------------------------------------------------------------------------- */

/* *out_page points to the whole page, head included: payload begins at + PV__PAGE_HEAD. */
PV_PRIVATE int pv__page_read(pv__txn *txn, uint64_t page_id, unsigned kind,
                             const uint8_t **out_page, pv_error *err);
PV_PRIVATE int pv__page_write(pv__txn *txn, uint64_t page_id, unsigned kind, uint8_t **out_page,
                              pv_error *err);
/* Pages that will be read soon (0: none): those not in memory are asked of the disk meanwhile. */
PV_PRIVATE void pv__pages_expect(pv__txn *txn, const uint64_t *page_ids, size_t count);
/* Some bytes of pages of one kind: what lies in memory is copied from there, else they may be read
 * without the page (piece.c). At most PIECES_MAX at once. `scratch`: pv__piece_scratch of each, one
 * behind the other. */
#define PV__PIECES_MAX 32u
typedef struct pv__piece {
    uint64_t page_id;
    uint32_t offset, size; /* in the page; size > 0 */
    uint8_t *to;
    uint32_t owner, ordinal, slots; /* what the page's head states */
} pv__piece;
PV_PRIVATE int pv__page_pieces(pv__txn *txn, unsigned kind, pv__piece *pieces, size_t n,
                               uint8_t *scratch, pv_error *err);
static inline size_t pv__piece_scratch(uint32_t size) {
    return ((size + 2 * PV__SLOT_SIZE - 2) / PV__SLOT_SIZE + 1) * (size_t)PV__SLOT_SIZE;
}
/* Where a page probably lies, to be fetched into the processor's cache: an address that must not be
 * read. NULL: not in memory. */
PV_PRIVATE const void *pv__page_whereabouts(pv__txn *txn, uint64_t page_id);
/* A zeroed page of slot_count * 4 KiB. owner: the object id (tree, column) it belongs to;
 * ordinal: its place within the owner, both for naming damage and for salvage. */
PV_PRIVATE int pv__page_new(pv__txn *txn, unsigned kind, unsigned slot_count, uint32_t owner,
                            uint32_t ordinal, uint64_t *out_page_id, uint8_t **out_page,
                            pv_error *err);
PV_PRIVATE int pv__page_free(pv__txn *txn, uint64_t page_id, pv_error *err);
/* All page ids ever handed out are below *out_end. */
PV_PRIVATE int pv__page_ids_end(pv__txn *txn, uint64_t *out_end, pv_error *err);
/* This page, written by this transaction, will hardly be changed again in it: it may be stored
 * while the caller goes on, who may not change it without asking _write for it again. */
PV_PRIVATE void pv__page_finished(pv__txn *txn, uint64_t page_id);
static inline size_t pv__page_size(const uint8_t *page); /* bytes, head included; see format.h */

/* Sixteen numbers for the layer above, kept in page 1 and versioned like all else. All 0 in a new
 * database. The catalogue uses 0 (its tree's root) and 1 (the next object id). */
PV_PRIVATE int pv__store_root_get(pv__txn *txn, unsigned index, uint64_t *out_value, pv_error *err);
PV_PRIVATE int pv__store_root_set(pv__txn *txn, unsigned index, uint64_t value, pv_error *err);

#include "store/format.h"
static inline size_t pv__page_size(const uint8_t *page) {
    return (size_t)pv__page_slots(page) * PV__SLOT_SIZE;
}

#endif
