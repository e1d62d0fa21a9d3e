/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - the store's own structures, shared by the files of this folder only.
 *
 *   page id --> pv__xent {frame, lsn, mine}        translation entry, 32 bytes (xlat.c)
 *                  |              '--> version private to the write transaction
 *                  '--> pv__ver [64 B descriptor][page bytes]  newest committed version
 *                          '-- prev --> older version ... while a snapshot needs it (versions.c)
 *
 *   commit: body of ranges (delta.c) -> record -> batch -> one write, one sync (log.c)
 *           -> versions published in their entries -> visible LSN grows (txn.c)
 *   checkpoint: versions at one LSN -> new slots -> table nodes -> sync -> superblock -> sync
 *
 * Locks, by rank; a thread takes them in this order only:
 *   10 ckpt_mutex     one checkpoint at a time; owns slot frees and segment removal
 *   20 writer         (flag + mutex + condition) the one write transaction
 *   25 super_mutex    the first commit's mark in the superblock, and who compares the two
 *   30 stripe[]       one miss per page: held during that page's read from disk
 *   40 table_mutex    page table nodes; held while a node is read
 *   50 space_mutex    slot bitmap
 *   60 ver_mutex      chains, publish, sweep, eviction, dirty list, dead slots; never across I/O
 *   65 frames.mutex   slabs; a leaf
 *   66 pv__keep.mutex what is kept of pages that are not in memory; a leaf
 *   70 log.mutex      batch, durable and visible LSN; released during write and sync
 * Readers that hit take none of them. */
#ifndef PV_STORE_INTERNAL_H
#define PV_STORE_INTERNAL_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/checksum.h"
#include "base/map.h"
#include "os/helper.h"
#include "os/sys.h"
#include "os/thread.h"
#include "os/vfs.h"
#include "store/peek.h"

/* ---- versions ------------------------------------------------------------------------------ */

#define PV__VER_FREED 0x2u  /* the page does not exist in this version */
#define PV__VER_STORED 0x4u /* `pte` names slots that hold exactly this version */
#define PV__VER_TABLED 0x8u /* the newest page table refers to those slots */
#define PV__VER_SQUEEZED 0x10u /* it was in `squeezed` when it came */

typedef struct pv__ver {
    _Atomic uint32_t flags;         /* ver_mutex; RESIDENT and FREED never change; first: peek.h */
    uint32_t list_at;               /* place in the superseded list + 1, 0: not there; ver_mutex */
    uint64_t lsn;                   /* readers with a snapshot >= lsn see it: stamp + 1 */
    _Atomic(struct pv__ver *) prev; /* older version or NULL */
    struct pv__ver *newer;          /* ver_mutex */
    uint64_t page_id;
    pv__pte pte;       /* STORED; ver_mutex */
    uint32_t level;    /* of a private version: the savepoint it was made under */
    uint8_t raw_slots; /* size of the page */
    /* From here on of a resident one alone. */
    struct pv__slab *slab;          /* where it lies; NULL: a single request */
    struct pv__ver *before, *after; /* in the ring of single frames; frames.mutex */
} pv__ver;
#define PV__VER_STUB offsetof(pv__ver, slab) /* bytes of one without its page */
PV_STATIC_ASSERT(sizeof(pv__ver) <= PV__VER_HEAD, version_descriptor_fits);
PV_STATIC_ASSERT(offsetof(pv__ver, flags) == 0, flags_are_the_first_member);

static inline uint8_t *pv__ver_page(pv__ver *v) { return (uint8_t *)v + PV__VER_HEAD; }
static inline uint32_t pv__ver_flags(const pv__ver *v) {
    return atomic_load_explicit(&v->flags, memory_order_relaxed);
}
static inline void pv__ver_set(pv__ver *v, uint32_t flags) {
    atomic_store_explicit(&v->flags, flags, memory_order_relaxed);
}
static inline size_t pv__ver_bytes(unsigned raw_slots) {
    return PV__VER_HEAD + (size_t)raw_slots * PV__SLOT_SIZE;
}

/* ---- frames: memory of resident versions (frames.c) ---------------------------------------- */

#define PV__SLAB_FRAMES_MAX 512u
typedef struct pv__slab {
    struct pv__slab *next, *prev; /* of its size, with free frames */
    uint8_t *base;
    size_t bytes; /* mapped */
    uint32_t frames, used;
    uint32_t first_free; /* all before it are in use */
    uint32_t at;         /* its place in pv__frames.slabs */
    uint8_t raw_slots;
    uint32_t ids[]; /* page in each frame, 0: free */
} pv__slab;

typedef struct pv__frames {
    pv__mutex mutex; /* guards all but `single`, and what slabs hold */
    pv__slab **slabs;
    uint32_t count, hand; /* hand: the slab that eviction looked at last */
    size_t cap;
    size_t unit;                            /* least bytes of a slab; 0: all frames are single */
    uint64_t single_max;                    /* bytes of a size before its first slab */
    pv__slab *open[PV__PAGE_SLOTS_MAX + 1]; /* by size: slabs with free frames */
    _Atomic size_t free[PV__PAGE_SLOTS_MAX + 1]; /* by size: free frames in slabs */
    _Atomic unsigned needed; /* the size that had none free the last time, 0: none yet */
    _Atomic uint64_t single[PV__PAGE_SLOTS_MAX + 1]; /* by size: bytes in single frames */
    pv__ver *ring; /* single frames; this one is what eviction looks at next */
    uint64_t ring_count;
#define PV__STOCK_MAX 8u
    struct {
        void *base;
        size_t bytes;
    } stock[PV__STOCK_MAX]; /* memory for slabs to come; the newest last */
    uint32_t stock_count;
    _Atomic uint64_t stock_bytes;
    size_t wanted;      /* bytes of the last slab */
    pv__helper stocker; /* fills the stock while a load goes on */
    bool filling;       /* it has its job */
    bool closing;
} pv__frames;

/* What eviction sees of a slab. */
typedef struct pv__slab_view {
    uintptr_t base;
    size_t bytes;
    uint32_t count, at; /* slabs there are; which this is */
    uint32_t frames, used;
    uint8_t raw_slots;
    uint32_t ids[PV__SLAB_FRAMES_MAX];
} pv__slab_view;

/* What eviction sees of the ring. */
#define PV__RING_STEPS 64u
typedef struct pv__ring_view {
    uint64_t all; /* frames in the ring */
    uint32_t count;
    struct {
        uint64_t page_id;
        uintptr_t frame;
    } at[PV__RING_STEPS];
} pv__ring_view;

/* ---- readers ------------------------------------------------------------------------------- */

typedef struct pv__rslot {
    _Alignas(64) _Atomic uint32_t taken;
    _Atomic uint64_t epoch; /* 0: holds no pointers */
    _Atomic uint64_t snap;  /* LSN it reads, 0: none */
    struct pv__txn *spare;  /* memory of the last one that read here; of whoever has it taken */
} pv__rslot;
#define PV__RSLOT_CHUNK 32u
typedef struct pv__rchunk {
    pv__rslot slots[PV__RSLOT_CHUNK];
    _Atomic(struct pv__rchunk *) next;
} pv__rchunk;

typedef struct pv__retired {
    pv__ver *ver;
    uint64_t epoch;
} pv__retired;

/* ---- log ----------------------------------------------------------------------------------- */

typedef struct pv__segment {
    uint64_t start, cap;     /* first LSN; LSNs it has room for */
    uint64_t chain, durable; /* as its head states */
    uint32_t epoch;
    bool valid; /* the head is intact */
} pv__segment;

typedef struct pv__record {
    uint8_t head[PV__REC_HEAD];
    uint8_t *body;
    size_t body_bytes, body_cap;
    uint64_t lsn, end;
} pv__record;

typedef struct pv__batch {
    pv__record *records;
    size_t count, cap;
    uint64_t start, end;
} pv__batch;

typedef struct pv__wal {
    pv__mutex mutex;
    pv__cond cond;
    pv_file *file;     /* newest segment, NULL before the first batch */
    pv__segment *segs; /* all that exist, by start */
    size_t seg_count, seg_cap;
    pv__batch open; /* records accepted, not yet given to a flush */
    pv__batch spare;
    uint64_t end;                /* end of the last accepted record */
    uint64_t chain;              /* head hash of the last flushed record */
    uint64_t cut_lsn, cut_chain; /* where the running checkpoint cuts, and the chain there */
    uint64_t async_end;          /* prefix of asynchronous commits that may be visible early */
    _Atomic uint64_t durable;
    _Atomic uint64_t visible;
    uint64_t published; /* entries hold all commits up to here; set by the writer */
    uint64_t next_cap;  /* size of the next segment */
    uint64_t ahead;     /* zeros were written up to this offset of the file; the flusher's */
    uint64_t first_unsynced_us;
    uint64_t syncs;
    uint32_t epoch; /* of the records written now */
    bool flushing;
    bool marked; /* the superblock on disk says that the log is required (S9) */
    bool seal;   /* the next record begins on a fresh 4 KiB boundary */
} pv__wal;

/* ---- slots, table -------------------------------------------------------------------------- */

typedef struct pv__dead_space {
    uint64_t slot, seen_from, death; /* snapshots in [seen_from, death) may still read them */
    uint32_t count;
} pv__dead_space;

typedef struct pv__space {
    uint64_t *used; /* one bit a slot; NULL until first needed */
    uint64_t count; /* bits in use: the file's length in slots */
    size_t words;   /* allocated */
    uint64_t free, cursor;
    uint64_t ahead; /* slots the file has been given; UINT64_MAX: it gets no more ahead */
    uint64_t fail_at[PV__PAGE_SLOTS_MAX + 1]; /* value of `frees` when this size last failed */
    uint64_t frees;
    pv__dead_space *dead;
    size_t dead_count, dead_cap;
    size_t dead_promised; /* of the room, what a checkpoint under way will fill */
    bool ready;
} pv__space;

typedef struct pv__table {
    pv__map nodes; /* level << 56 | index -> address of a node */
    pv__pte root;
    uint32_t height;
} pv__table;

typedef struct pv__node {
    uint8_t bytes[PV__SLOT_SIZE];
    pv__pte pte; /* where it is stored */
} pv__node;

typedef struct pv__super {
    uint8_t uuid[16];
    uint64_t sequence, lsn, db_sum, file_slots, fork_lsn, commits, chain;
    uint64_t compat, ro_compat, incompat;
    int64_t created_us;
    pv__pte root;
    uint32_t height, flags, timeline, epoch;
} pv__super;

/* ---- images -------------------------------------------------------------------------------- */

typedef struct pv__image { /* a page of the write transaction on its way to slots (image.c) */
    pv__ver *ver;
    pv__pte pte;
    uint64_t sum;
    bool stored;
} pv__image;

#define PV__IMAGE_RUN 128u /* pages in one write at most */

typedef struct pv__images {
    pv__mutex mutex;
    pv__cond cond;
    pv__image *list;
    size_t count, cap;
    size_t next;         /* the first that nobody has taken */
    size_t busy;         /* runs under way */
    uint64_t left_bytes; /* of those that nobody has taken */
    size_t run_max;      /* bytes in one write at most, but for the last page */
    bool finish;         /* no more will come: short runs are taken too */
    bool soon;           /* small ones may be read again soon: through the system's cache */
    uint8_t *rooms[3];   /* where runs are put together, kept while not in use */
    pv__helper crew[2];  /* while one writes a run, the other puts the next together */
} pv__images;

/* ---- keeps --------------------------------------------------------------------------------- */

typedef struct pv__kept { /* something that belongs to a page on disk */
    uint64_t page_id, checksum;
    uint32_t size;
    uint8_t used; /* visits of the hand that it survives */
    uint8_t bytes[];
} pv__kept;

typedef struct pv__keep { /* keep.c */
    pv__mutex mutex;
    pv__kept **ways;
    size_t sets, hand; /* 0 sets: nothing was kept yet */
    uint64_t bytes, bytes_max;
    uint32_t about; /* bytes of one thing */
} pv__keep;

/* ---- the store ----------------------------------------------------------------------------- */

typedef struct pv__superseded {
    pv__ver *ver; /* has a newer version */
} pv__superseded;

struct pv__store {
    pv__mem *mem;
    pv_vfs *vfs;
    const pv_clock *clock;
    pv__logger log_to;
    pv_file *file, *shm;
    char *path, *dir, *wal_dir, *shm_path; /* dir: the folder that holds path */
    size_t path_size;
    uint64_t uuid_tag;
    uint64_t first_lsn; /* where the log of every database begins */
    bool memory, readonly, no_threads, replaying;
    struct pv__ahead *ahead; /* of the replay under way */
    uint32_t busy_timeout_ms, codec;
    pv_interrupt_fn interrupt;
    void *interrupt_ctx;
    uint64_t cache_limit, checkpoint_bytes;

    pv__super super;               /* what the newest superblock says */
    _Atomic uint32_t super_unsure; /* so many that the disk had no room for may lie there */
    uint64_t older_lsn; /* root of the other superblock: log and slots are kept for it (S3) */
    pv__pte older_root;
    uint64_t older_chain; /* as its superblock stated at open */
    uint32_t older_height;
    bool older_valid;

    _Atomic int failed; /* code of a failed sync: writes are refused (S8) */
    pv__mutex ckpt_mutex, super_mutex, table_mutex, space_mutex, ver_mutex;
#define PV__STRIPES 64u
    pv__mutex stripe[PV__STRIPES];
    pv__mutex writer_mutex;
    pv__cond writer_cond;
    bool writer_busy;
    bool writer_is_chore;    /* whoever is the writer gives way soon */
    unsigned writer_waiting; /* that want to be it */

    pv__xlat xlat;
    pv__frames frames;
    pv__keep fronts;   /* head and hashes of pages by slot (piece.c) */
    pv__keep squeezed; /* pages of small numbers (squeeze.c) */
    _Atomic uint64_t pieces;     /* that were wanted while there was no room */
    _Atomic uint64_t piece_page; /* of the last one, and how many were of it in a row */
    _Atomic uint32_t piece_run;
    _Atomic bool cramped; /* eviction was needed, and not much has gone since */
    pv__rchunk readers;
    _Atomic uint64_t epoch;
    pv__retired *retired; /* ver_mutex, oldest first from retired_first */
    size_t retired_first, retired_count, retired_cap;
    uint64_t retired_bytes[PV__PAGE_SLOTS_MAX + 1]; /* of resident ones, by size; ver_mutex */
    pv__superseded *superseded;
    size_t superseded_count, superseded_cap, superseded_after_sweep;
    uint64_t *dirty; /* page ids changed since the last checkpoint's cut; ver_mutex */
    size_t dirty_count, dirty_cap;
    uint32_t dirty_seq;
    uint64_t ckpt_snap;      /* LSN a running checkpoint reads, 0: none; ver_mutex */
    uint64_t evict_again_at; /* a round that found nothing: cache_bytes then + 1/64 of the limit */
    uint32_t evict_turn;     /* whose turn it is among slabs of other sizes */
    _Atomic uint64_t cache_bytes, dirty_bytes, versions;
    _Atomic uint64_t hits, misses;

    pv__wal log;
    pv__images images;
    pv__helper helper; /* of the write transaction's owner */
    pv__space space;
    pv__table table;
    uint64_t db_sum;  /* after the last published commit; ver_mutex */
    uint64_t commits; /* number of the last published commit; ver_mutex */
    uint64_t commits_at_open;
    uint64_t ckpt_log_end; /* log end at the last checkpoint */
    uint64_t checkpoints;

    pv__thread worker;
    pv__mutex worker_mutex;
    pv__cond worker_cond;
    bool worker_started, worker_stop, worker_wanted, flush_wanted, chore_wanted;
    uint64_t flush_at_us, chore_at_us; /* when they are due, on the clock of the machine */
    pv__chore_fn chore;
    void *chore_ctx;
};

typedef struct pv__touched {
    uint64_t page_id;
    uint64_t old_sum; /* part of the committed version in the database checksum, if has_old_sum */
    uint64_t new_sum; /* of this transaction's version, if that is STORED */
    bool has_old_sum;
    bool queued; /* on its way to slots: settle before it is changed (image.c) */
} pv__touched;

/* What a page was before its first change under a savepoint (savepoint.c). */
typedef struct pv__undo {
    pv__touched touched;
    pv__ver *old;
} pv__undo;
typedef struct pv__savepoint {
    size_t undo_count, touched_count;
    uint32_t level;
} pv__savepoint;

struct pv__txn {
    pv__store *store;
    pv__rslot *slot;
    uint64_t snap;  /* reads versions with lsn <= snap */
    uint64_t stamp; /* write: stamp of the pages it changes */
    bool write, async, in_epoch, asks;
    int doomed;
    pv__touched *touched;
    size_t touched_count, touched_cap;
    _Atomic uint64_t mine_bytes; /* private versions in memory */
    uint64_t spill_again_at;     /* as evict_again_at, of spilling */
    uint64_t queued_bytes;       /* of them on their way to slots */
    _Atomic uint64_t hits;       /* pages found in memory; added up at the end */
    pv__savepoint *savepoints;
    size_t savepoint_count, savepoint_cap;
    pv__undo *undo;
    size_t undo_count, undo_cap;
    uint32_t level_last; /* levels are never used twice */
};

/* ---- savepoint.c --------------------------------------------------------------------------- */
/* Must the private version v be kept as it is, because a savepoint could ask for it back? */
static inline bool pv__undo_needed(const pv__txn *t, const pv__ver *v) {
    return t->savepoint_count > 0 && v->level < t->savepoints[t->savepoint_count - 1].level;
}
static inline uint32_t pv__undo_level(const pv__txn *t) {
    return t->savepoint_count ? t->savepoints[t->savepoint_count - 1].level : 0;
}
PV_PRIVATE int pv__undo_reserve(pv__txn *t, pv_error *err);
PV_PRIVATE void pv__undo_push(pv__txn *t, pv__ver *old); /* takes it over; reserved before */
PV_PRIVATE void pv__undo_forget(pv__txn *t);             /* all of it */
/* Free a private version that is in no entry any more, its slots too. */
PV_PRIVATE void pv__ver_drop(pv__txn *t, pv__ver *v);

/* ---- image.c ------------------------------------------------------------------------------- */
PV_PRIVATE int pv__images_init(pv__store *s, pv_error *err);
PV_PRIVATE void pv__images_done(pv__store *s);
/* Nobody works on queued pages any more. finish: all of them are tried; only then errors. */
PV_PRIVATE int pv__images_settle(pv__txn *t, bool finish, pv_error *err);
/* For the commit: new pages that are many go to slots. *out_sync is set when some are there. */
PV_PRIVATE int pv__images_store(pv__txn *t, bool *out_sync, pv_error *err);
/* A resident private version that is not in slots yet; pv__images_settle follows. */
PV_PRIVATE int pv__image_queue(pv__txn *t, pv__xent *x, pv__ver *v, pv_error *err);

/* ---- spill.c ------------------------------------------------------------------------------- */
static inline uint64_t pv__mine_bytes(const pv__txn *t) {
    return atomic_load_explicit(&t->mine_bytes, memory_order_relaxed);
}
static inline void pv__mine_more(pv__txn *t, unsigned raw_slots) {
    atomic_fetch_add_explicit(&t->mine_bytes, pv__ver_bytes(raw_slots), memory_order_relaxed);
}
static inline void pv__mine_less(pv__txn *t, unsigned raw_slots) {
    atomic_fetch_sub_explicit(&t->mine_bytes, pv__ver_bytes(raw_slots), memory_order_relaxed);
}
/* Memory is short: private versions that were not used lately go to slots, stubs stay. Nobody holds
 * pointers. */
PV_PRIVATE int pv__spill(pv__txn *t, pv_error *err);

/* ---- xlat.c -------------------------------------------------------------------------------- */
/* NULL: nothing there. */
static inline pv__xent *pv__xlat_find(pv__store *s, uint64_t page_id) {
    return pv__xlat_entry(&s->xlat, page_id);
}
PV_PRIVATE int pv__xlat_make(pv__store *s, uint64_t page_id, pv__xent **out, pv_error *err);
PV_PRIVATE void pv__xlat_done(pv__store *s); /* frees arrays and every version */

/* ---- frames.c ------------------------------------------------------------------------------ */
/* slab_bytes 0: what fits the cache; else slabs from the first frame on (tests). */
PV_PRIVATE int pv__frames_init(pv__store *s, uint64_t slab_bytes, pv_error *err);
/* From here on frames of slabs are freed all together by _done, without the lock: in a forked
 * child it may be held by a thread that does not exist. */
PV_PRIVATE void pv__frames_close(pv__store *s);
PV_PRIVATE void pv__frames_done(pv__store *s);
/* A frame whose descriptor is zero but for its place and page. From a slab that has a free one, or
 * NULL; *out_few: only a few of this size are left, once each time. */
PV_PRIVATE pv__ver *pv__frame_take(pv__store *s, uint64_t page_id, unsigned raw_slots,
                                   bool *out_few);
/* From a new slab, or a single one of a size that has no slabs yet, within the budget. NULL when
 * that is used up; with `beyond` a single one whatever the budget. */
PV_PRIVATE pv__ver *pv__frame_grow(pv__store *s, uint64_t page_id, unsigned raw_slots, bool beyond);
PV_PRIVATE void pv__frame_free(pv__store *s, pv__ver *v);
/* Many new pages are being made: have memory ready for the next slabs. */
PV_PRIVATE void pv__frames_ahead(pv__store *s);
/* The next slab, round and round. False: there is none. */
PV_PRIVATE bool pv__frames_next(pv__store *s, pv__slab_view *out);
/* The next single frames, round and round, at most `most`. False: there is none. */
PV_PRIVATE bool pv__frames_next_singles(pv__store *s, uint64_t most, pv__ring_view *out);
/* Bytes of single frames that should be in slabs: they were had while all else was pinned. */
PV_PRIVATE uint64_t pv__frames_excess(const pv__store *s);

/* ---- versions.c: memory of versions, epochs, sweep, eviction -------------------------------- */
/* May evict others. A resident one's bytes are not set. */
PV_PRIVATE int pv__ver_new(pv__store *s, uint64_t page_id, unsigned raw_slots, bool resident,
                           pv__ver **out, pv_error *err);
PV_PRIVATE void pv__ver_free(pv__store *s, pv__ver *v);
PV_PRIVATE void pv__ver_retire(pv__store *s, pv__ver *v); /* under ver_mutex */
/* Room in the lists for so many more versions that others replace, or that go; and for so many more
 * pages that have changed. Under ver_mutex. */
PV_PRIVATE int pv__ver_reserve(pv__store *s, size_t more, pv_error *err);
PV_PRIVATE int pv__dirty_reserve(pv__store *s, size_t more, pv_error *err);
/* Arrays that are as long as a transaction or a checkpoint has pages are part of the budget: one
 * that grows (pv__alloc_grow), one for which pages go first, and the end of either. */
PV_PRIVATE int pv__cache_grow(pv__store *s, void **array, size_t *cap, size_t want,
                              size_t elem_size, pv_error *err);
PV_PRIVATE void *pv__cache_array(pv__store *s, size_t count, size_t elem_size);
PV_PRIVATE void pv__cache_drop(pv__store *s, void *array, size_t count, size_t elem_size);
PV_PRIVATE void pv__ver_sweep(pv__store *s);   /* under ver_mutex */
PV_PRIVATE void pv__ver_reclaim(pv__store *s); /* under ver_mutex */
/* For whoever goes round with the hand; under ver_mutex. May the newest committed version of x go?
 * NULL: no. */
PV_PRIVATE pv__ver *pv__ver_evictable(const pv__xent *x);
/* Was it used in the last rounds of the hand? Each visit makes it older by its slots. */
PV_PRIVATE bool pv__ver_used(pv__xent *x, unsigned raw_slots);
/* Evict v, which pv__ver_evictable gave. Returns its bytes, 0 when there was no memory. */
PV_PRIVATE size_t pv__ver_evict_head(pv__store *s, pv__xent *x, pv__ver *v);
/* A page of raw_slots in the place of another of that size that was not used lately: soon. Takes
 * ver_mutex. */
PV_PRIVATE void pv__ver_evict_same(pv__store *s, unsigned raw_slots);
/* Make room for pages of raw_slots. Takes ver_mutex. */
PV_PRIVATE void pv__ver_evict(pv__store *s, unsigned raw_slots, uint64_t want_bytes);
PV_PRIVATE int pv__reader_begin(pv__store *s, pv__rslot **out, uint64_t *out_snap, pv_error *err);
/* One more reader of `snap`, which somebody's slot announces until this one has ended. */
PV_PRIVATE int pv__reader_join(pv__store *s, uint64_t snap, pv__rslot **out, pv_error *err);
PV_PRIVATE void pv__reader_end(pv__rslot *slot);
PV_PRIVATE void pv__reader_enter(pv__store *s, pv__rslot *slot);
PV_PRIVATE void pv__reader_leave(pv__rslot *slot);
/* Pointers may be held from here on. */
static inline void pv__txn_enter(pv__txn *t) {
    if (PV_UNLIKELY(!t->in_epoch)) {
        pv__reader_enter(t->store, t->slot);
        t->in_epoch = true;
    }
}
/* All snapshots somebody reads or may begin to read now. Under ver_mutex. */
#define PV__SNAPS_MAX 256u
typedef struct pv__snaps {
    uint64_t lsn[PV__SNAPS_MAX]; /* ascending */
    size_t count;
    bool overflow;    /* more exist: only lsn[0], the oldest, can be trusted */
    uint64_t visible; /* every later LSN may become a snapshot too */
} pv__snaps;
PV_PRIVATE void pv__snaps_collect(pv__store *s, pv__snaps *out);
PV_PRIVATE bool pv__snaps_between(const pv__snaps *snaps, uint64_t from, uint64_t before);
static inline pv__ver *pv__frame_ver(uintptr_t f) { return (pv__ver *)(f & ~(uintptr_t)1); }
static inline uint64_t pv__frames_free(const pv__store *s, unsigned raw_slots) {
    return atomic_load_explicit(&s->frames.free[raw_slots], memory_order_relaxed) *
           pv__ver_bytes(raw_slots);
}
static inline uintptr_t pv__ver_frame(pv__ver *v) {
    return (uintptr_t)v | ((pv__ver_flags(v) & PV__VER_RESIDENT) ? 0u : 1u);
}

/* ---- pageio.c: one page between slots and memory -------------------------------------------- */
PV_PRIVATE uint64_t pv__page_seed(const pv__store *s, uint64_t page_id);
PV_PRIVATE uint64_t pv__slot_hash(const uint8_t *slot);
PV_PRIVATE uint64_t pv__slots_checksum(const pv__store *s, uint64_t page_id, const uint8_t *hashes,
                                       unsigned slots);
/* Does a head whose bytes are verified state that it is of this page? */
PV_PRIVATE bool pv__head_is_of(const pv__store *s, uint64_t page_id, const pv__pte *pte,
                               const uint8_t *head);
/* Is every number of the entry one that can be followed? */
PV_PRIVATE int pv__pageio_check_pte(uint64_t page_id, const pv__pte *pte, pv_error *err);
/* Read and verify the page that `pte` vouches for into `page` (raw_slots * 4 KiB). */
PV_PRIVATE int pv__pageio_read(pv__store *s, uint64_t page_id, const pv__pte *pte, uint8_t *page,
                               pv_error *err);
/* Bytes to store for `page`: itself, or another form of it in `scratch` (as large as the page; NULL
 * for nodes). Fills everything of *pte but slot and birth. */
PV_PRIVATE const uint8_t *pv__pageio_encode(pv__store *s, uint64_t page_id, const uint8_t *page,
                                            uint8_t *scratch, pv__pte *pte);
static inline pv__mutex *pv__page_stripe(pv__store *s, uint64_t page_id) {
    return &s->stripe[pv__mix64(page_id) % PV__STRIPES];
}
PV_PRIVATE int pv__page_fetch(pv__store *s, uint64_t page_id, uint64_t snap, pv__ver **out,
                              pv_error *err); /* any version visible at snap, resident */

/* ---- piece.c ------------------------------------------------------------------------------- */
PV_PRIVATE int pv__fronts_init(pv__store *s, pv_error *err);

/* ---- keep.c -------------------------------------------------------------------------------- */
/* At most bytes_max of things of about so many bytes. */
PV_PRIVATE int pv__keep_init(pv__keep *k, uint64_t bytes_max, uint32_t about, pv_error *err);
PV_PRIVATE void pv__keep_done(pv__store *s, pv__keep *k);
/* All of it goes; nobody else is there. */
PV_PRIVATE void pv__keep_clear(pv__store *s, pv__keep *k);
/* The bytes kept for the page with this checksum; 0: none, or more than there is room for. */
PV_PRIVATE size_t pv__keep_get(pv__keep *k, uint64_t page_id, uint64_t checksum, uint8_t *to,
                               size_t room);
PV_PRIVATE bool pv__keep_put(pv__store *s, pv__keep *k, uint64_t page_id, uint64_t checksum,
                             const uint8_t *bytes, size_t size);
/* Memory is short: what has not been wanted for some rounds goes, a part of it at each call. */
PV_PRIVATE void pv__keep_age(pv__store *s, pv__keep *k);

/* ---- squeeze.c ----------------------------------------------------------------------------- */
#define PV__SQUEEZED_MAX ((size_t)PV__SLOT_SIZE / 4 * 3)
#define PV__SQUEEZED_PAD 8u /* bytes behind a squeezed page that may be read */
PV_PRIVATE int pv__squeezed_init(pv__store *s, pv_error *err);
/* A page of one slot in fewer bytes; 0: it does not become smaller. `to` has PV__SQUEEZED_MAX. */
PV_PRIVATE size_t pv__squeeze(const uint8_t *page, uint8_t *to);
/* The groups of 64 bytes that [offset, offset + size) of it lies in, to their places in `page`. */
PV_PRIVATE void pv__unsqueeze(const uint8_t *from, uint32_t offset, uint32_t size, uint8_t *page);

/* ---- delta.c: ranges and the database checksum ---------------------------------------------- */
PV_PRIVATE uint64_t pv__sum_page(uint64_t page_id, const uint8_t *page, size_t size);
/* Append a DELTA or FULL entry for the change old -> page (old NULL: new page) and return in
 * *io_sum the database checksum with the change applied. */
PV_PRIVATE void pv__delta_encode(pv__buf *body, uint64_t page_id, const uint8_t *old,
                                 size_t old_size, const uint8_t *page, size_t size,
                                 uint64_t old_sum, uint64_t *io_sum);
/* Apply the rest of a DELTA entry (after kind and page id) to `page`. */
PV_PRIVATE int pv__delta_apply(pv__reader *r, uint64_t page_id, uint8_t *page, size_t size,
                               uint64_t stamp, uint64_t *io_sum, pv_error *err);

/* An entry of a record, and what its kind says beside the page; the rest of it is passed over. */
typedef struct pv__entry {
    unsigned kind;
    uint64_t page_id;
    pv__pte pte; /* REF */
} pv__entry;
PV_PRIVATE void pv__entry_next(pv__reader *r, pv__entry *out);

/* ---- space.c ------------------------------------------------------------------------------- */
PV_PRIVATE int pv__space_alloc(pv__store *s, unsigned count, uint64_t *out_slot, pv_error *err);
/* Slots for n images, whose pte.slots say how many each wants; all or none. */
PV_PRIVATE int pv__space_alloc_all(pv__store *s, pv__image *images, size_t n, pv_error *err);
PV_PRIVATE void pv__space_free_now(pv__store *s, uint64_t slot, unsigned count); /* never used */
/* The dead list is guarded by ver_mutex. */
PV_PRIVATE int pv__space_reserve_dead(pv__store *s, size_t more, pv_error *err);
PV_PRIVATE void pv__space_free_later(pv__store *s, uint64_t slot, unsigned count,
                                     uint64_t seen_from, uint64_t death); /* reserved before */
/* What becomes of slots that a checkpoint at `lsn` has written and does not use. */
typedef enum pv__slots_go {
    PV__SLOTS_STAY, /* until the next open */
    PV__SLOTS_FREE, /* nobody has heard of them */
    PV__SLOTS_LATER /* a superblock that may be on disk reaches them: when both roots are newer */
} pv__slots_go;
PV_PRIVATE void pv__space_go(pv__store *s, uint64_t slot, unsigned count, pv__slots_go go,
                             uint64_t lsn);   /* later: reserved before */
PV_PRIVATE void pv__space_reap(pv__store *s); /* dead slots that nobody can need: free again */
PV_PRIVATE int pv__space_mark(pv__store *s, uint64_t slot, unsigned count, bool *out_twice,
                              pv_error *err);
PV_PRIVATE int pv__space_prepare(pv__store *s, pv_error *err);
PV_PRIVATE void pv__space_done(pv__store *s);

/* ---- table.c ------------------------------------------------------------------------------- */
PV_PRIVATE int pv__table_lookup(pv__store *s, uint64_t page_id, pv__pte *out, pv_error *err);
/* Where the node lies that knows the page; no slots when it is in memory or cannot be found. */
PV_PRIVATE void pv__table_leaf(pv__store *s, uint64_t page_id, pv__pte *out);
/* A set of changes on its way to a new root: nodes are cloned, stored, then installed. */
typedef struct pv__table_change {
    pv__map nodes; /* level << 56 | index -> clone */
    pv__pte root;
    uint32_t height;
} pv__table_change;
PV_PRIVATE void pv__table_change_begin(pv__store *s, pv__table_change *c);
PV_PRIVATE int pv__table_change_set(pv__store *s, pv__table_change *c, uint64_t page_id,
                                    const pv__pte *pte, pv__pte *out_old, pv_error *err);
PV_PRIVATE int pv__table_change_store(pv__store *s, pv__table_change *c, uint64_t lsn,
                                      pv_error *err);
PV_PRIVATE void pv__table_change_install(pv__store *s, pv__table_change *c, uint64_t lsn);
PV_PRIVATE void pv__table_change_drop(pv__store *s, pv__table_change *c, pv__slots_go go,
                                      uint64_t lsn);
/* Visit every entry of a table: nodes first (level >= 0), then pages (level -1). Subtrees whose
 * entry equals that of `known` (may be NULL) are skipped. */
typedef int (*pv__table_visit)(void *ctx, int level, uint64_t id, const pv__pte *pte,
                               pv_error *err);
PV_PRIVATE int pv__table_walk(pv__store *s, const pv__pte *root, uint32_t height,
                              const pv__pte *known, uint32_t known_height, pv__table_visit fn,
                              void *ctx, pv_error *err);
/* The same, but a node that cannot be read is told to `bad`, and the walk goes on behind it when
 * that returns 0. */
typedef int (*pv__table_bad)(void *ctx, int rc, const pv_error *why, pv_error *err);
PV_PRIVATE int pv__table_walk_past(pv__store *s, const pv__pte *root, uint32_t height,
                                   const pv__pte *known, uint32_t known_height, pv__table_visit fn,
                                   pv__table_bad bad, void *ctx, pv_error *err);
PV_PRIVATE void pv__table_done(pv__store *s);

/* ---- super.c ------------------------------------------------------------------------------- */
PV_PRIVATE int pv__super_read(pv__store *s, pv__super *out_new, pv__super *out_old, bool *has_old,
                              pv_error *err);
PV_PRIVATE int pv__super_write(pv__store *s, const pv__super *super, pv_error *err); /* + sync */
/* The same; *out_no_room: it failed with PV_ERR_FULL and before the sync. The store can go on then,
 * after super_skip, but whether it is on disk is not known: what it refers to has to stay. */
PV_PRIVATE int pv__super_try(pv__store *s, const pv__super *super, bool *out_no_room,
                             pv_error *err);
PV_PRIVATE void pv__super_skip(pv__store *s);
/* Slots of the copies that are damaged, or older than their twins. */
#define PV__SUPER_COPIES 4u
PV_PRIVATE int pv__super_check(pv__store *s, uint64_t out_bad[PV__SUPER_COPIES],
                               unsigned *out_count, pv_error *err);
PV_PRIVATE int pv__super_mend(pv__store *s, pv_error *err);    /* these, from their twins */
PV_PRIVATE int pv__super_refresh(pv__store *s, pv_error *err); /* the newest one is durable */

/* pack.c: at a clean close, after the final root. */
PV_PRIVATE int pv__pack(pv__store *s, pv_error *err);

/* ---- log.c, logscan.c ---------------------------------------------------------------------- */
PV_PRIVATE int pv__log_init(pv__store *s, pv_error *err);
PV_PRIVATE void pv__log_done(pv__store *s);
/* Take a body (moved, also on failure) as the next record. Writer only. */
typedef struct pv__commit_info {
    uint64_t stamp, db_sum, number, body_hash;
    uint32_t entries;
    bool async;
} pv__commit_info;
/* Room in the newest segment for a record with such a body; may wait, write and sync. */
PV_PRIVATE int pv__log_reserve(pv__store *s, size_t body_bytes, pv_error *err);
/* Without I/O, under ver_mutex: a record is accepted and its pages published in one step. */
PV_PRIVATE int pv__log_append(pv__store *s, pv__buf *body, const pv__commit_info *info,
                              uint64_t *out_end, pv_error *err);
PV_PRIVATE void pv__log_published(pv__store *s, uint64_t end);
PV_PRIVATE int pv__log_wait(pv__store *s, uint64_t end, pv_error *err); /* durable to end */
PV_PRIVATE uint64_t pv__log_async_due(pv__store *s);
PV_PRIVATE int pv__log_flush_all(pv__store *s, pv_error *err);  /* what was accepted until now */
PV_PRIVATE void pv__log_trim(pv__store *s, uint64_t keep_from); /* remove older segments */
PV_PRIVATE int pv__log_remove_all(pv__store *s, pv_error *err);
/* Make the segment that `seg` describes under `name`: allocated, head written, not synced. */
PV_PRIVATE int pv__seg_create(pv__store *s, const pv__segment *seg, const char *name, pv_file **out,
                              pv_error *err);
PV_PRIVATE int pv__seg_push(pv__store *s, const pv__segment *seg, pv_error *err);
PV_PRIVATE int pv__seg_unlink(pv__store *s, const pv__segment *seg, pv_error *err);
#define PV__SEG_NAME_MAX 40u
#define PV__SEG_TEMP "adopting.tmp" /* a segment that is being made by recovery */
PV_PRIVATE void pv__seg_name(char out[PV__SEG_NAME_MAX], uint64_t start, uint32_t epoch);
PV_PRIVATE char *pv__path_join(pv__mem *mem, const char *dir, const char *name, size_t *out_size);
PV_PRIVATE uint64_t pv__rec_body_hash(const pv__store *s, uint64_t stamp, const void *body,
                                      size_t bytes);
PV_PRIVATE void pv__rec_seal(const pv__store *s, uint8_t *head, uint64_t chain, uint64_t durable,
                             uint32_t epoch);
/* Replay: list segments and call fn for each valid record from `from`, in order; applies the tail
 * rule (S6). *out_end: end of the last; *out_durable: last LSN proven durable. */
/* `behind`: so many bytes of log that follow the body are in memory, too, but not verified. */
typedef int (*pv__log_apply)(pv__store *s, const uint8_t *head, const uint8_t *body, size_t bytes,
                             size_t behind, pv_error *err);
typedef struct pv__log_state {
    uint64_t end, chain, durable;
    uint64_t tail_start; /* first record after the proven part; == end when none */
    uint64_t tail_chain; /* chain value before it */
    uint32_t epoch;      /* highest seen */
    uint64_t records;
} pv__log_state;
PV_PRIVATE int pv__log_list(pv__store *s, bool *out_exists, pv_error *err);
PV_PRIVATE int pv__log_replay(pv__store *s, uint64_t from, uint64_t chain, pv__log_apply fn,
                              pv__log_state *out, pv_error *err);
PV_PRIVATE int pv__log_adopt_tail(pv__store *s, const pv__log_state *st, pv_error *err);

/* ---- ahead.c: what replay will read ---------------------------------------------------------- */
typedef struct pv__ahead {
    pv__store *store;
    const uint8_t *log; /* what is in memory: bytes [lsn, lsn + size) */
    size_t size;
    uint64_t lsn;
    uint64_t at;         /* up to here entries were looked at */
    uint64_t record_end; /* of the record that lies there */
    uint32_t left;       /* entries to come in it; 0: a record begins there */
    uint64_t next;       /* when replay gets here, the next portion is asked for */
    bool ended;          /* all that is in memory was looked at */
    bool off, nodes_only;
    pv__map seen;   /* pages of this portion */
    uint64_t *keys; /* slot << 8 | slots */
    size_t keys_count, keys_cap;
    uint64_t bytes, bytes_max; /* of pages, in a portion */
} pv__ahead;
/* nodes_only: nothing is replayed; the pages that are referred to will be looked up. */
PV_PRIVATE void pv__ahead_init(pv__ahead *a, pv__store *s, bool nodes_only);
PV_PRIVATE void pv__ahead_done(pv__ahead *a);
/* Replay is at the record at `lsn`, and the log is in memory from there on. */
PV_PRIVATE void pv__ahead_log(pv__ahead *a, const uint8_t *log, size_t size, uint64_t lsn);
PV_PRIVATE void pv__ahead_pass(pv__ahead *a, uint64_t lsn); /* replay is here now */
/* Ask for slots (slot << 8 | slots), which are sorted for it. */
PV_PRIVATE void pv__ahead_slots(pv__store *s, uint64_t *keys, size_t count);

/* ---- recover.c, checkpoint.c, txn.c --------------------------------------------------------- */
PV_PRIVATE int pv__recover(pv__store *s, pv_error *err);
PV_PRIVATE int pv__checkpoint_run(pv__store *s, pv_error *err);   /* takes ckpt_mutex */
PV_PRIVATE int pv__checkpoint_final(pv__store *s, pv_error *err); /* clean close: both roots */
PV_PRIVATE void pv__checkpoint_want(pv__store *s);                /* start one if it is time */
/* An asynchronous commit was accepted: let the thread flush it soon, where there is one. */
PV_PRIVATE void pv__flush_want(pv__store *s);
PV_PRIVATE void pv__checkpoint_stop(pv__store *s); /* ends the background thread */
/* Make `v` the newest committed version of its page. Under ver_mutex; lists reserved before. */
PV_PRIVATE void pv__publish(pv__store *s, pv__xent *x, pv__ver *v);
PV_PRIVATE int pv__store_refuse(pv__store *s, pv_error *err); /* error when writes are refused */
/* 0 or PV_ERR_CANCELLED, from the caller's interrupt callback; no lock may be held. */
PV_PRIVATE int pv__store_interrupted(pv__store *s, pv_error *err);
PV_PRIVATE void pv__store_fail(pv__store *s, int code);

#endif
