/* SPDX-License-Identifier: Apache-2.0 */
/* pv.h - Piramid, a transactional vector engine in one file: the whole stable public API.
 *
 *      pv_db ---- pv_open .. pv_close -------------------------- one database file
 *        |-- pv_txn ---- pv_txn_begin .. commit or rollback ----- one view of it, or one change
 *        |-- pv_iter --- pv_iter_open .. pv_iter_close ---------- a walk over one collection
 *        |-- pv_cursor - pv_cursor_open .. pv_cursor_close ------ a search, page by page
 *        '-- pv_results  from search and get, until pv_results_free: copies, bound to nothing
 *
 * Chapters: version, limits, codes and errors, handles, options, open and close, collections,
 * transactions, write, read, search, results, cursors, iterate, administration.
 *
 * Rules for every function; the doc blocks only say what differs.
 *
 * Errors: a function that can fail returns an int, 0 (PV_OK) or a negative PV_ERR_ code, and takes
 * a caller-owned `pv_error *err`, always last, which may be NULL. On failure outputs stay as they
 * were, except that handle outputs become NULL. What a caller got wrong is found before anything
 * is changed: a refused call leaves the database byte for byte as it was and its transaction
 * usable. A failure in the middle of a change (memory, I/O, damage) dooms the transaction: it can
 * then only be rolled back. Any call may also return PV_ERR_NOMEM, PV_ERR_IO, PV_ERR_CORRUPT,
 * PV_ERR_CLOSED (after pv_close) and PV_ERR_MISUSE (NULL where an object is needed, a closed or
 * foreign transaction, a handle inherited through fork); these are not repeated below.
 *
 * Options: structures whose first member is struct_size begin with their PV_..._INIT macro, which
 * sets it. struct_size 0 is PV_ERR_MISUSE. A structure shorter than the library's (an older
 * header) gets defaults for the rest; a longer one is accepted while its unknown bytes are zero,
 * else PV_ERR_UNSUPPORTED; so are flags, kinds and reserved members that it does not know. In every
 * option zero or NULL means the default.
 *
 * Transactions: the argument `txn` may be NULL. A read then sees the newest committed state, a
 * write runs in a transaction of its own and is durable on return (see PV_SYNC_FULL).
 *
 * Text is UTF-8. A length of 0 beside a text pointer means that the text ends with a NUL. Inputs
 * are copied before a call returns; nothing the caller passes is kept, except the file system,
 * clock and callbacks of pv_open_opts, which must outlive the handle and its iterators, and what
 * the allocator refers to, which must outlive everything that was handed out.
 *
 * Threads: a pv_db is for any number of threads. A pv_txn and a pv_iter are for one thread at a
 * time, and so is a pv_cursor. pv_results never change and are for any thread. In a forked child
 * only pv_results_free, pv_iter_close, pv_cursor_close, pv_txn_rollback and pv_close may be used
 * on inherited handles; they drop memory and descriptors and touch no file. */
#ifndef PV_H
#define PV_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef PV_EXTERN
#if defined(__GNUC__)
#define PV_EXTERN extern __attribute__((visibility("default")))
#else
#define PV_EXTERN extern
#endif
#endif

/* ---- Version --------------------------------------------------------------------------------- */

#define PV_VERSION_MAJOR 0
#define PV_VERSION_MINOR 1
#define PV_VERSION_PATCH 0
#define PV_VERSION_STRING "0.1.0"
/* One number that orders: 0.1.0 is 1000, 1.2.3 is 1002003. */
#define PV_VERSION_NUMBER (PV_VERSION_MAJOR * 1000000 + PV_VERSION_MINOR * 1000 + PV_VERSION_PATCH)

/* pv_version_number - PV_VERSION_NUMBER of the library that runs, which may be newer than the
 * header a program was built with. Never fails. Threads: any. Since: 0.1 */
PV_EXTERN int pv_version_number(void);

/* pv_version_string - PV_VERSION_STRING of the library that runs.
 * Owner: the library, for ever. Threads: any. Since: 0.1 */
PV_EXTERN const char *pv_version_string(void);

/* pv_build_option - how the library was built.
 * name: "compiler" (its name and version), "debug" ("0" or "1": internal checks trap), "arch".
 * Returns a short text, or NULL for a name this version does not know.
 * Owner: the library, for ever. Threads: any. Since: 0.1 */
PV_EXTERN const char *pv_build_option(const char *name);

/* ---- Limits ---------------------------------------------------------------------------------- */

/* Beyond them a call is refused with PV_ERR_LIMIT. They may only grow. */
#define PV_LIMIT_DIMS 16384             /* dimensions of a vector */
#define PV_LIMIT_K 16384                /* results of one query */
#define PV_LIMIT_ID_BYTES 512           /* a string id; at least 1 */
#define PV_LIMIT_NAME_BYTES 128         /* a collection's name; at least 1 */
#define PV_LIMIT_METADATA_BYTES 1048576 /* JSON text of one record */
#define PV_LIMIT_METADATA_DEPTH 64      /* nesting of arrays and objects in it */
#define PV_LIMIT_FILTER_DEPTH 32        /* nesting of a filter */
#define PV_LIMIT_FILTER_NODES 4096      /* conditions and values in a filter */
#define PV_LIMIT_BATCH_RECORDS 1048576  /* records in one call */
#define PV_LIMIT_QUERIES 65536          /* vectors in one pv_search_many */
#define PV_LIMIT_QUERY_ROWS 16777216    /* vectors times k in one pv_search_many */
#define PV_LIMIT_RECORDS 2147483647     /* records in one collection */
#define PV_LIMIT_COLLECTIONS 65536      /* collections in one database */

/* ---- Codes and errors ------------------------------------------------------------------------ */

/* Codes: 0 is success, every failure is negative. */
#define PV_OK 0
#define PV_ERR_MISUSE (-1) /* the call is wrong whatever the data: a bug in the caller */
#define PV_ERR_NOMEM (-2)  /* memory, or the handle's memory limit, ran out */
#define PV_ERR_IO (-3)     /* a system call failed; sys_errno has its number */
#define PV_ERR_FULL (-4)   /* no space left on the device */
#define PV_ERR_CANTOPEN (-5)
#define PV_ERR_READONLY (-6)
#define PV_ERR_BUSY (-7) /* another process or transaction holds it */
#define PV_ERR_CONFLICT (-8)
#define PV_ERR_CORRUPT (-9) /* stored bytes are damaged; the message names page and owner */
#define PV_ERR_FORMAT (-10) /* not a database, a newer format, or input that does not parse */
#define PV_ERR_NOTFOUND (-11)
#define PV_ERR_EXISTS (-12)
#define PV_ERR_DIMS (-13)  /* wrong number of dimensions or wrong element type */
#define PV_ERR_LIMIT (-14) /* a stated limit is exceeded */
#define PV_ERR_CANCELLED (-15)
#define PV_ERR_TIMEOUT (-16)
#define PV_ERR_UNSUPPORTED (-17) /* known to be impossible in this version or build */
#define PV_ERR_PERM (-18)
#define PV_ERR_CLOSED (-19)   /* the handle was closed */
#define PV_ERR_INTERNAL (-20) /* a bug in the library */
#define PV_ERR_SNAPSHOT_TOO_OLD (-21)
#define PV_ERR_LOG_MISSING (-22) /* the file needs its log directory, which is not there */
#define PV_ERR_SCHEMA (-23)

/* What went wrong, filled by the call that failed and untouched by one that succeeds. Set it once
 * with PV_ERROR_INIT; it can be used for any number of calls. */
typedef struct pv_error {
    uint32_t struct_size; /* PV_ERROR_INIT sets it */
    int32_t code;         /* what the call returned */
    int32_t sys_errno;    /* 0 when no system call failed */
    uint32_t reserved0;
    uint64_t record_index; /* of a batch; UINT64_MAX when it is not about one record */
    uint64_t offset;       /* byte offset in the text or file that is meant, else 0 */
    char message[480];     /* one line of UTF-8, always terminated */
} pv_error;
#define PV_ERROR_INIT                                                                              \
    {                                                                                              \
        sizeof(pv_error), 0, 0, 0, UINT64_MAX, 0, { 0 }                                            \
    }

/* pv_error_text - a short lower-case text of a code: "busy", "not found"; 0 is "ok".
 * Never NULL, also for numbers that are no code.
 * Owner: the library, for ever. Threads: any. Since: 0.1 */
PV_EXTERN const char *pv_error_text(int code);

/* ---- Handles --------------------------------------------------------------------------------- */

typedef struct pv_db pv_db;           /* an open database: pv_open, pv_close */
typedef struct pv_txn pv_txn;         /* a transaction: pv_txn_begin, commit or rollback */
typedef struct pv_iter pv_iter;       /* a walk: pv_iter_open, pv_iter_close */
typedef struct pv_results pv_results; /* rows: pv_search and others, pv_results_free */
typedef struct pv_cursor pv_cursor;   /* a search that goes on: pv_cursor_open, pv_cursor_close */
typedef struct pv_names pv_names;     /* names: pv_collection_list, pv_names_free */

/* ---- Options --------------------------------------------------------------------------------- */

/* Where memory comes from. NULL or a zeroed structure in pv_open_opts: the C library. */
typedef struct pv_allocator {
    void *ctx;
    /* malloc (p NULL), free (new_size 0, returns NULL) and realloc in one; any thread. */
    void *(*realloc)(void *ctx, void *p, size_t old_size, size_t new_size);
} pv_allocator;

/* Levels of log messages; a message is passed on when its level is at most log_level. */
#define PV_LOG_ERROR 1
#define PV_LOG_WARN 2
#define PV_LOG_INFO 3
#define PV_LOG_DEBUG 4
/* Receives one line without a newline. category: "store", "write", "search", "config", "index".
 * Called on any thread that uses the handle; it must not call the library. */
typedef void (*pv_log_fn)(void *ctx, int level, const char *category, const char *message);

/* Asked now and then in long scans, writes, deletes and checks, and while a call waits for another
 * writer; a non-zero answer ends the call with PV_ERR_CANCELLED. A write with txn NULL is then
 * undone; one that had begun to change a given transaction dooms it. A commit can be cancelled
 * while it writes the pages of a large transaction; from its record on it runs to its end.
 * Called on the thread of the call; it must not call the library. */
typedef int (*pv_interrupt_fn)(void *ctx);

typedef struct pv_vfs pv_vfs;     /* files: pv_unstable.h */
typedef struct pv_clock pv_clock; /* time and random bytes: pv_unstable.h */

/* When a committed change is durable. */
#define PV_SYNC_DEFAULT 0 /* in pv_open_opts: PV_SYNC_FULL; elsewhere: the handle's */
#define PV_SYNC_FULL 1    /* before the commit returns, also against power loss */
#define PV_SYNC_ASYNC 2   /* soon after: a crash may lose the latest commits, never tear one */

#define PV_OPEN_CREATE 0x0u   /* the default: create the file when it is missing */
#define PV_OPEN_NOCREATE 0x1u /* PV_ERR_NOTFOUND when it is missing */
#define PV_OPEN_READONLY 0x2u /* refuse all writes with PV_ERR_READONLY; implies NOCREATE */
#define PV_OPEN_NOWAIT 0x4u   /* PV_ERR_BUSY at once where another writer is active */

/* Ids and metadata may be stored compressed; vectors, which hardly shrink, never are. A build
 * without the codec (pv_build_option) refuses the option, and files that use it by its name. */
#define PV_COMPRESSION_NONE 0
#define PV_COMPRESSION_ZSTD 1

/* Options of pv_open. */
typedef struct pv_open_opts {
    uint32_t struct_size;          /* PV_OPEN_OPTS_INIT sets it */
    uint32_t flags;                /* PV_OPEN_ */
    uint32_t sync;                 /* PV_SYNC_, for transactions that do not say; default FULL */
    uint32_t threads;              /* 0: the library chooses; 1: none but the caller's */
    uint32_t busy_timeout_ms;      /* wait for another writer; 0: 5000 (see PV_OPEN_NOWAIT) */
    int32_t log_level;             /* PV_LOG_; 0: PV_LOG_WARN */
    uint64_t cache_bytes;          /* page cache; 0: the library chooses, by the memory there is */
    uint64_t memory_limit_bytes;   /* all memory of the handle, cache included; 0: none */
    uint64_t checkpoint_bytes;     /* log size that starts a checkpoint; 0: the library chooses */
    const pv_allocator *allocator; /* copied; NULL: the C library */
    pv_vfs *vfs;                   /* NULL: the system's files */
    const pv_clock *clock;         /* NULL: the system's */
    pv_log_fn log;                 /* NULL: silent */
    void *log_ctx;
    pv_interrupt_fn interrupt; /* NULL: never */
    void *interrupt_ctx;
    uint32_t compression; /* PV_COMPRESSION_, of pages written from now on; 0: NONE */
    uint32_t reserved;    /* 0 */
} pv_open_opts;
#define PV_OPEN_OPTS_INIT                                                                          \
    { sizeof(pv_open_opts), 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 }

/* ---- Open and close -------------------------------------------------------------------------- */

/* pv_open - open the database at `path`, or create it.
 * path: a file; while it is open its log stands beside it in the directory "<path>-wal". The name
 * ":memory:" makes an empty database in memory that ends with its handle.
 * opts: NULL for the defaults.
 * After a crash the log is applied first; nothing acknowledged is lost.
 * Owner: the caller closes *out_db with pv_close.
 * Threads: any.
 * Errors: PV_ERR_NOTFOUND (missing, with NOCREATE or READONLY); PV_ERR_FORMAT (the file is
 * something else, or of a newer format: it is never overwritten); PV_ERR_CANTOPEN, PV_ERR_PERM,
 * PV_ERR_READONLY (the system refuses); PV_ERR_BUSY; PV_ERR_CORRUPT; PV_ERR_LOG_MISSING (the file
 * needs its log and the log is gone); PV_ERR_FULL; PV_ERR_UNSUPPORTED (an option, the file system
 * or the machine).
 * Since: 0.1 */
PV_EXTERN int pv_open(const char *path, const pv_open_opts *opts, pv_db **out_db, pv_error *err);

/* pv_close - end the use of a database. NULL is fine.
 * Open transactions are rolled back; their handles and iterators must still be freed, and every
 * other call on them gives PV_ERR_CLOSED. Iterators that were opened without a transaction may be
 * read to their end: the file is then closed when the last of them is. Otherwise all is written
 * back, and afterwards one file remains. The handle is gone in every case, also on error.
 * In a forked child nothing is written.
 * Threads: any, once; calls that other threads have begun are finished first.
 * Errors: PV_ERR_IO, PV_ERR_FULL: nothing committed is lost, the log stays and is applied by the
 * next pv_open. What fails in a deferred close is told to the log callback.
 * Since: 0.1 */
PV_EXTERN int pv_close(pv_db *db, pv_error *err);

/* pv_db_ref - keep the memory of a handle beyond pv_close, for callers that cannot know when the
 * last call on it has begun: bindings to languages in which one thread closes an object that
 * another is about to use. The file is closed by pv_close all the same. References count.
 * Errors: PV_ERR_CLOSED after pv_close, as every call on the handle, a second pv_close too.
 * Owner: the caller gives each reference back with pv_db_unref.
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_db_ref(pv_db *db, pv_error *err);

/* pv_db_unref - give back a reference of pv_db_ref; the last one frees the handle when it was
 * closed. It closes nothing. NULL is fine, and so is a forked child.
 * Threads: any, once for each reference. Since: 0.1 */
PV_EXTERN void pv_db_unref(pv_db *db);

/* ---- Collections ----------------------------------------------------------------------------- */

/* How distances are measured. Smaller is nearer, larger scores are nearer:
 *     L2      distance = Euclidean, not squared       score = -distance
 *     COSINE  distance = 1 - cos, from 0 to 2         score = cos
 *     DOT     distance = -dot                         score = dot
 *     L1      distance = sum of |a - b|               score = -distance
 *     HAMMING distance = number of bits that differ   score = -distance
 *     JACCARD distance = 1 - J, J = |a and b| / |a or b|, from 0 to 1    score = J
 * HAMMING and JACCARD are for vectors of bits, which have no other. With COSINE a vector of zeros
 * may be stored and searched for; it is at distance 1 to all. With JACCARD two vectors without a
 * bit are equal: at distance 0. */
#define PV_METRIC_DEFAULT 0 /* PV_METRIC_COSINE */
#define PV_METRIC_L2 1
#define PV_METRIC_COSINE 2
#define PV_METRIC_DOT 3
#define PV_METRIC_L1 4
#define PV_METRIC_HAMMING 5
#define PV_METRIC_JACCARD 6

/* Element types of vectors, in records, batches and queries as in the collection: nothing is
 * converted, and 0 always means F32. BF16 is PV_ERR_UNSUPPORTED in this version. */
#define PV_TYPE_DEFAULT 0 /* PV_TYPE_F32 */
#define PV_TYPE_F32 1     /* IEEE 754 binary32, in the machine's byte order */
#define PV_TYPE_F16 2     /* IEEE 754 binary16 */
#define PV_TYPE_BF16 3    /* upper half of a binary32 */
#define PV_TYPE_I8 4      /* signed bytes */
/* 8 dimensions a byte: dimension i is bit 7 - i % 8 of byte i / 8 (as numpy.packbits has them), and
 * bits behind the last are 0; (dims + 7) / 8 bytes a vector. */
#define PV_TYPE_BIT 5

/* What the ids of a collection are. */
#define PV_KEY_DEFAULT 0 /* PV_KEY_STRING */
#define PV_KEY_STRING 1  /* UTF-8 text of 1 to PV_LIMIT_ID_BYTES bytes without NUL */
#define PV_KEY_U64 2     /* numbers from 0 to 2^64 - 2 */

/* How a collection is searched. */
#define PV_INDEX_AUTO 0 /* by comparing with every record while there are few, then by a graph */
#define PV_INDEX_FLAT 1 /* always by comparing with every record; with PV_CODE_SQ8, codes first */
#define PV_INDEX_HNSW 2 /* by a graph from the first record on */
#define PV_INDEX_IVF 3  /* by lists about centres, from 64 records on: for data beyond memory */

/* What a graph is walked by; answers are always ranked by the full vectors. F32 and F16 go with l2,
 * cosine, dot and l1, the others of numbers with the first three. B1 and PQ are for data beyond
 * memory and for vectors of 128 dimensions or more: of short ones they tell too little, and
 * searches may stay below their target_recall. AUTO: I8 and BIT for such vectors, F16 with l1, else
 * by measuring the records (recall, work, bytes against the cache). */
#define PV_CODE_AUTO 0
#define PV_CODE_F32 1 /* the vectors themselves */
#define PV_CODE_SQ8 2 /* 8 bits a dimension */
#define PV_CODE_Q4 3  /* 4 bits a dimension, after a rotation, about the mean */
#define PV_CODE_B1 4  /* 1 bit a dimension, and Q4 for what comes near */
#define PV_CODE_F16 5 /* 16 bits a dimension */
#define PV_CODE_PQ 6  /* product codes, `compression` times as small as f32; and Q4 as with B1 */
#define PV_CODE_I8 7  /* vectors of i8 themselves, with all their metrics */
#define PV_CODE_BIT 8 /* vectors of bits themselves */

/* No number: an id_u64 that is left out, and the answer where there is none. */
#define PV_ID_NONE UINT64_MAX

/* PQ of up to 2,048 dimensions, turned before they are cut: tells more, learning takes longer. */
#define PV_COLLECTION_OPQ 0x1u

/* What a collection is; fixed when it is created. */
typedef struct pv_collection_opts {
    uint32_t struct_size; /* PV_COLLECTION_OPTS_INIT sets it */
    uint32_t dims;        /* 1 to PV_LIMIT_DIMS; there is no default */
    uint32_t metric;      /* PV_METRIC_; 0: cosine */
    uint32_t type;        /* PV_TYPE_; 0: f32 */
    uint32_t key;         /* PV_KEY_; 0: string */
    uint32_t flags;       /* PV_COLLECTION_OPQ, or 0 */
    uint32_t index;       /* PV_INDEX_; 0: auto */
    uint32_t code;        /* PV_CODE_; 0: auto, with PV_INDEX_FLAT none (else SQ8) */
    uint32_t ef_construction; /* candidates looked at when a graph is built: 16 to 4096; 0: 200 */
    uint32_t compression; /* with PV_CODE_PQ: 4 to 64; 0: 32 */
    uint32_t code_bits;   /* with PV_CODE_PQ: 4 or 8 for a part of the vector; 0: 8 */
    uint32_t code_parts;  /* with PV_CODE_PQ: parts, at most dims; 0: what compression gives */
} pv_collection_opts;
#define PV_COLLECTION_OPTS_INIT                                                                    \
    { sizeof(pv_collection_opts), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* States of a collection's index. DAMAGED: searches compare with every record, until it has been
 * built again, which begins by itself with the next write or in the background. REBUILDING: a new
 * graph is being built. */
#define PV_COLLECTION_INDEX_DAMAGED 0x1u
#define PV_COLLECTION_INDEX_REBUILDING 0x2u

/* What a collection is and holds; pv_collection_info_get fills as much as struct_size allows. */
typedef struct pv_collection_info {
    uint32_t struct_size; /* PV_COLLECTION_INFO_INIT sets it */
    uint32_t dims;
    uint32_t metric;     /* PV_METRIC_, never 0 */
    uint32_t type;       /* PV_TYPE_, never 0 */
    uint32_t key;        /* PV_KEY_, never 0 */
    uint32_t flags;      /* PV_COLLECTION_INDEX_ */
    uint64_t object_id;  /* number of the collection in this file; never used twice */
    uint64_t count;      /* records */
    uint64_t slots;      /* places for records, free ones among them */
    uint64_t generation; /* grows with every committed change of its records */
    uint32_t index;      /* PV_INDEX_, as it was asked for */
    uint32_t code;       /* PV_CODE_ of the index; 0 without one, and until one is chosen */
    uint32_t ef_construction;
    uint32_t lists;      /* of PV_INDEX_IVF; 0 until there are any */
    uint64_t indexed;    /* records that the graph holds; the others are compared one by one */
    uint64_t index_dead; /* nodes of records that are gone, until a sweep takes them out */
    uint32_t code_asked, reserved1; /* PV_CODE_, as it was asked for; 0 */
    char code_reason[256]; /* why it has this code, in words; for reading, not for deciding by */
} pv_collection_info;
#define PV_COLLECTION_INFO_INIT                                                                    \
    {                                                                                              \
        sizeof(pv_collection_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, { 0 }       \
    }

/* pv_collection_create - make an empty collection.
 * name: 1 to PV_LIMIT_NAME_BYTES bytes of UTF-8 without control characters, '/' and '\', not
 * beginning with '.' or '_' (names with '_' are kept for the library).
 * Errors: PV_ERR_EXISTS; PV_ERR_MISUSE (name, dims 0); PV_ERR_LIMIT; PV_ERR_UNSUPPORTED (element
 * type, metric, key); PV_ERR_READONLY; PV_ERR_BUSY.
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_collection_create(pv_db *db, pv_txn *txn, const char *name,
                                   const pv_collection_opts *opts, pv_error *err);

/* pv_collection_ensure - make it unless a collection of this name and the same options exists.
 * Errors: PV_ERR_EXISTS when it exists with other options, naming the first that differs; else as
 * pv_collection_create. A collection that exists is enough on a read-only handle too.
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_collection_ensure(pv_db *db, pv_txn *txn, const char *name,
                                   const pv_collection_opts *opts, pv_error *err);

/* pv_collection_drop - remove a collection with all its records; its space is used again.
 * Errors: PV_ERR_NOTFOUND; PV_ERR_READONLY; PV_ERR_BUSY.
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_collection_drop(pv_db *db, pv_txn *txn, const char *name, pv_error *err);

/* pv_collection_list - the names of all collections, in byte order.
 * Owner: the caller frees *out_names with pv_names_free.
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_collection_list(pv_db *db, pv_txn *txn, pv_names **out_names, pv_error *err);

/* pv_collection_info_get - what a collection is and how many records it holds, in O(1).
 * Errors: PV_ERR_NOTFOUND.
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_collection_info_get(pv_db *db, pv_txn *txn, const char *name,
                                     pv_collection_info *out_info, pv_error *err);

/* pv_names_count - number of names; 0 for NULL. Threads: any. Since: 0.1 */
PV_EXTERN size_t pv_names_count(const pv_names *names);
/* pv_names_get - name i (0-based), NULL beyond the end.
 * Owner: the list, until pv_names_free. Threads: any. Since: 0.1 */
PV_EXTERN const char *pv_names_get(const pv_names *names, size_t i);
/* pv_names_free - NULL is fine. Threads: any, once. Since: 0.1 */
PV_EXTERN void pv_names_free(pv_names *names);

/* ---- Transactions ---------------------------------------------------------------------------- */

#define PV_TXN_READ 0x0u      /* the default: see one state, however long; never waits */
#define PV_TXN_WRITE 0x1u     /* may change things; one at a time in the whole system */
#define PV_TXN_SYNC_FULL 0x2u /* durability of this commit, whatever the handle says */
#define PV_TXN_SYNC_ASYNC 0x4u
#define PV_TXN_NOWAIT 0x8u /* PV_ERR_BUSY at once instead of waiting for the writer */

/* pv_txn_begin - begin a transaction.
 * flags: PV_TXN_. A read transaction sees the state of now until it ends. A write transaction
 * waits up to busy_timeout_ms for the one before it, and sees its own changes.
 * While a write transaction is open, writes with txn NULL on the same thread are PV_ERR_MISUSE at
 * once, since they would wait for themselves.
 * Owner: the caller ends *out_txn with pv_txn_commit or pv_txn_rollback.
 * Threads: the transaction is for one thread at a time.
 * Errors: PV_ERR_BUSY; PV_ERR_READONLY (a write transaction on a read-only handle); PV_ERR_MISUSE
 * (both sync levels, a second write transaction on this thread).
 * Since: 0.1 */
PV_EXTERN int pv_txn_begin(pv_db *db, uint32_t flags, pv_txn **out_txn, pv_error *err);

/* pv_txn_commit - make all changes visible and durable together, and free the transaction.
 * A read transaction just ends. The handle is gone in every case; after an error nothing of the
 * transaction is visible. After PV_ERR_IO it may or may not be there after the next pv_open, and
 * the database refuses writes until then.
 * out_lsn: position of the commit in the log, or NULL; of a transaction that changed nothing, the
 * state it saw.
 * Threads: the transaction's.
 * Errors: PV_ERR_IO; PV_ERR_FULL; PV_ERR_CANCELLED; the code that doomed the transaction.
 * Since: 0.1 */
PV_EXTERN int pv_txn_commit(pv_txn *txn, uint64_t *out_lsn, pv_error *err);

/* pv_txn_rollback - undo all changes and free the transaction. NULL is fine.
 * Threads: the transaction's. Since: 0.1 */
PV_EXTERN void pv_txn_rollback(pv_txn *txn);

/* pv_txn_savepoint - mark this point of a write transaction. Savepoints nest and are numbered from
 * 1; at most 1,000 at once.
 * Threads: the transaction's. Errors: PV_ERR_MISUSE (a read transaction); PV_ERR_LIMIT; the code
 * that doomed the transaction. Since: 0.1 */
PV_EXTERN int pv_txn_savepoint(pv_txn *txn, uint32_t *out_number, pv_error *err);

/* pv_txn_rollback_to - undo all changes since savepoint `number`, which itself stays; those made
 * after it are forgotten. A transaction that an error has doomed since then can go on. Iterators
 * that were opened on the transaction have ended.
 * Threads: the transaction's. Errors: PV_ERR_NOTFOUND (no such savepoint); PV_ERR_MISUSE.
 * Since: 0.1 */
PV_EXTERN int pv_txn_rollback_to(pv_txn *txn, uint32_t number, pv_error *err);

/* pv_txn_release - forget savepoint `number` and those made after it; the changes stay.
 * Threads: the transaction's. Errors: as pv_txn_rollback_to. Since: 0.1 */
PV_EXTERN int pv_txn_release(pv_txn *txn, uint32_t number, pv_error *err);

/* pv_txn_lsn - the log position of the state the transaction began with; 0 for NULL or a
 * transaction that pv_close has ended. Threads: the transaction's. Since: 0.1 */
PV_EXTERN uint64_t pv_txn_lsn(const pv_txn *txn);

/* ---- Write ----------------------------------------------------------------------------------- */

/* One record to be written. */
typedef struct pv_record {
    uint32_t struct_size; /* PV_RECORD_INIT sets it */
    uint32_t type;        /* PV_TYPE_ of vector; 0: f32 */
    const char *id;       /* string key; NULL: left out */
    size_t id_len;        /* bytes; 0: up to the NUL */
    uint64_t id_u64;      /* number key; PV_ID_NONE: left out */
    const void *vector;   /* dims elements, finite; any alignment */
    uint32_t dims;        /* must be the collection's */
    uint32_t reserved0;   /* 0 */
    const char *metadata; /* a JSON object; NULL: {} */
    size_t metadata_len;  /* bytes; 0: up to the NUL */
} pv_record;
#define PV_RECORD_INIT                                                                             \
    { sizeof(pv_record), 0, NULL, 0, PV_ID_NONE, NULL, 0, 0, NULL, 0 }

/* Many records in columns: no structure per record, no copies of what already lies in arrays.
 * Strings come as pointers (`ids`, with `id_lens` or NULs), or as one buffer in which string i is
 * the bytes from offsets[i] to offsets[i + 1] (count + 1 offsets); give one form or none. */
typedef struct pv_batch {
    uint32_t struct_size;             /* PV_BATCH_INIT sets it */
    uint32_t type;                    /* PV_TYPE_ of the vectors; 0: f32 */
    size_t count;                     /* records */
    const void *vectors;              /* the first vector */
    size_t vector_stride;             /* bytes from one to the next; 0: dims * element size */
    uint32_t dims;                    /* must be the collection's */
    uint32_t reserved0;               /* 0 */
    const uint64_t *ids_u64;          /* number keys; NULL: left out, as is PV_ID_NONE */
    const char *const *ids;           /* string keys; NULL: left out, as is a NULL among them */
    const size_t *id_lens;            /* bytes of each; NULL or 0: up to the NUL */
    const char *id_data;              /* string keys in one buffer */
    const uint64_t *id_offsets;       /* count + 1; an empty one is left out */
    const char *const *metadata;      /* JSON objects; NULL: {} for all, as is a NULL among them */
    const size_t *metadata_lens;      /* bytes of each; NULL or 0: up to the NUL */
    const char *metadata_data;        /* JSON objects in one buffer */
    const uint64_t *metadata_offsets; /* count + 1; an empty one is {} */
} pv_batch;
#define PV_BATCH_INIT                                                                              \
    { sizeof(pv_batch), 0, 0, NULL, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL }

#define PV_WRITE_MERGE 0x1u /* pv_update: metadata is a JSON merge patch (RFC 7396) */

/* Options of the writing calls. */
typedef struct pv_write_opts {
    uint32_t struct_size;  /* PV_WRITE_OPTS_INIT sets it */
    uint32_t flags;        /* PV_WRITE_ */
    uint32_t sync;         /* PV_SYNC_, for a call with txn NULL; with a txn it must be 0 */
    uint32_t reserved0;    /* 0 */
    size_t record_stride;  /* bytes from one pv_record to the next; 0: the first's struct_size */
    uint64_t *out_ids_u64; /* number keys: the caller's array, one per record; NULL: not wanted */
    pv_results **out_ids;  /* the ids as rows, in the order given; NULL: not wanted */
} pv_write_opts;
#define PV_WRITE_OPTS_INIT                                                                         \
    { sizeof(pv_write_opts), 0, 0, 0, 0, NULL, NULL }

/* pv_insert - add new records, all or none.
 * records: `count` of them; each has a vector. An id that is left out is made: the next number
 * after the largest ever used, or a UUID of version 7 in its usual text.
 * opts: NULL for the defaults; out_ids gives back all ids.
 * Owner: the caller frees *opts->out_ids with pv_results_free.
 * Errors: err->record_index names the record. PV_ERR_EXISTS (the id is there already, or
 * twice in this call); PV_ERR_DIMS (dims or type are not the collection's); PV_ERR_MISUSE (no
 * vector, NaN or infinity, an id of the wrong kind or not UTF-8); PV_ERR_LIMIT (id, metadata or
 * count too long); PV_ERR_FORMAT (metadata is no JSON object; offset says where). Also
 * PV_ERR_NOTFOUND (the collection), PV_ERR_READONLY, PV_ERR_BUSY, PV_ERR_FULL.
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_insert(pv_db *db, pv_txn *txn, const char *collection, const pv_record *records,
                        size_t count, const pv_write_opts *opts, pv_error *err);

/* pv_upsert - add records, or replace those that exist (vector and metadata), all or none.
 * An id that stands twice in one call gets the later record. Else as pv_insert.
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_upsert(pv_db *db, pv_txn *txn, const char *collection, const pv_record *records,
                        size_t count, const pv_write_opts *opts, pv_error *err);

/* pv_update - change records that exist, all or none.
 * A vector of NULL keeps the stored one, metadata of NULL keeps the stored one; metadata replaces
 * it whole, or with PV_WRITE_MERGE changes single members: null removes one, an object is merged
 * into the stored object, all else replaces.
 * Errors: PV_ERR_NOTFOUND (the collection, or record_index names the record); else as pv_insert.
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_update(pv_db *db, pv_txn *txn, const char *collection, const pv_record *records,
                        size_t count, const pv_write_opts *opts, pv_error *err);

/* pv_insert_batch - pv_insert of records that lie in columns. Threads: any. Since: 0.1 */
PV_EXTERN int pv_insert_batch(pv_db *db, pv_txn *txn, const char *collection, const pv_batch *batch,
                              const pv_write_opts *opts, pv_error *err);

/* pv_upsert_batch - pv_upsert of records that lie in columns. Threads: any. Since: 0.1 */
PV_EXTERN int pv_upsert_batch(pv_db *db, pv_txn *txn, const char *collection, const pv_batch *batch,
                              const pv_write_opts *opts, pv_error *err);

/* pv_update_batch - pv_update of records that lie in columns: vectors of NULL keeps all vectors,
 * and a record whose metadata is left out (NULL, or empty in a buffer) keeps what it has.
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_update_batch(pv_db *db, pv_txn *txn, const char *collection, const pv_batch *batch,
                              const pv_write_opts *opts, pv_error *err);

/* A list of ids: strings or numbers, as the collection has them; strings as pointers or in one
 * buffer, as in pv_batch. */
typedef struct pv_ids {
    uint32_t struct_size;       /* PV_IDS_INIT sets it */
    uint32_t reserved0;         /* 0 */
    size_t count;               /* at most PV_LIMIT_BATCH_RECORDS */
    const uint64_t *ids_u64;    /* number keys */
    const char *const *ids;     /* string keys */
    const size_t *id_lens;      /* bytes of each; NULL or 0: up to the NUL */
    const char *id_data;        /* string keys in one buffer */
    const uint64_t *id_offsets; /* count + 1 */
} pv_ids;
#define PV_IDS_INIT                                                                                \
    { sizeof(pv_ids), 0, 0, NULL, NULL, NULL, NULL, NULL }

/* pv_delete - remove one record of a collection with string keys.
 * Errors: PV_ERR_NOTFOUND (the collection or the record); PV_ERR_MISUSE (number keys);
 * PV_ERR_READONLY; PV_ERR_BUSY.
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_delete(pv_db *db, pv_txn *txn, const char *collection, const char *id,
                        pv_error *err);

/* pv_delete_u64 - the same for number keys. Threads: any. Since: 0.1 */
PV_EXTERN int pv_delete_u64(pv_db *db, pv_txn *txn, const char *collection, uint64_t id,
                            pv_error *err);

/* pv_delete_many - remove the records among `ids` that exist, in one transaction.
 * out_deleted: how many there were; may be NULL. An id that stands twice counts once.
 * Errors: as pv_delete, but a record that is missing is none.
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_delete_many(pv_db *db, pv_txn *txn, const char *collection, const pv_ids *ids,
                             uint64_t *out_deleted, pv_error *err);

/* pv_delete_where - remove all records that match a filter, in one transaction.
 * filter: JSON as in pv_query, NUL-terminated; it must be given ("{}" matches all).
 * out_deleted: how many there were; may be NULL.
 * Errors: PV_ERR_FORMAT, PV_ERR_UNSUPPORTED, PV_ERR_LIMIT (the filter); else as pv_delete_many.
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_delete_where(pv_db *db, pv_txn *txn, const char *collection, const char *filter,
                              uint64_t *out_deleted, pv_error *err);

/* ---- Read ------------------------------------------------------------------------------------ */

/* What rows carry beside the id. */
#define PV_INCLUDE_METADATA 0x1u /* JSON text */
#define PV_INCLUDE_VECTOR 0x2u   /* the stored elements, bit for bit */

/* pv_get - one record of a collection with string keys, with metadata and vector.
 * Owner: the caller frees *out_results (one row) with pv_results_free.
 * Errors: PV_ERR_NOTFOUND (the collection or the record); PV_ERR_MISUSE (number keys).
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_get(pv_db *db, pv_txn *txn, const char *collection, const char *id,
                     pv_results **out_results, pv_error *err);

/* pv_get_u64 - the same for number keys.
 * Owner: the caller frees *out_results with pv_results_free. Threads: any. Since: 0.1 */
PV_EXTERN int pv_get_u64(pv_db *db, pv_txn *txn, const char *collection, uint64_t id,
                         pv_results **out_results, pv_error *err);

/* pv_get_many - records by id: one row for each id, in the order asked; of an id that is not
 * there the row carries the id alone and pv_results_found says 0.
 * include: PV_INCLUDE_, or 0 to learn only which exist.
 * Owner: the caller frees *out_results with pv_results_free.
 * Errors: PV_ERR_NOTFOUND (the collection); PV_ERR_MISUSE (ids of the wrong kind);
 * PV_ERR_LIMIT (too many ids).
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_get_many(pv_db *db, pv_txn *txn, const char *collection, const pv_ids *ids,
                          uint32_t include, pv_results **out_results, pv_error *err);

/* pv_count - the number of records, or of those that match a filter.
 * filter: JSON as in pv_query, NUL-terminated; NULL counts all, in O(1).
 * Errors: PV_ERR_NOTFOUND (the collection); PV_ERR_FORMAT, PV_ERR_UNSUPPORTED, PV_ERR_LIMIT (the
 * filter).
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_count(pv_db *db, pv_txn *txn, const char *collection, const char *filter,
                       uint64_t *out_count, pv_error *err);

/* ---- Search ---------------------------------------------------------------------------------- */

#define PV_QUERY_EXACT 0x1u  /* compare with every record, never through an index */
#define PV_QUERY_WITHIN 0x2u /* only records at a distance of at most max_distance */
#define PV_QUERY_CODES 0x4u  /* what the graph finds is not ranked again by the vectors */

/* Names for target_recall. The graph has measured on itself what each of them costs. */
#define PV_RECALL_FAST 0.90f
#define PV_RECALL_BALANCED 0.95f /* the default */
#define PV_RECALL_HIGH 0.99f

/* A search for the nearest records.
 *
 * filter: a JSON object over the metadata, for instance
 *     {"year": {"$gte": 2020}, "$or": [{"lang": "en"}, {"author.name": {"$in": ["Ada", "Alan"]}}]}
 * Members are joined by "and"; a plain value means $eq; a dot steps into an object or array.
 * Operators: $and $or $not $eq $ne $gt $gte $lt $lte $in $nin $exists; any other is
 * PV_ERR_UNSUPPORTED by name, never ignored. A missing field reads as null (but not in $exists),
 * and order is only between values of one kind. "{}" matches all. The answer holds
 * min(k, matching records) rows, however few match.
 *
 * WITHIN: the k nearest of the records that are near enough (k 0: as many as an answer may have).
 * Where the graph is walked (L2 and cosine, unless EXACT) a record that is there may be missed, as
 * target_recall says; none that is too far is ever in the answer.
 *
 * ef: as in other libraries, about the number of candidates that a plain walk would have to keep
 * for the same answer (this one keeps more, but stops where distances grow beyond a ratio of the
 * k-th that follows from ef / k); with PV_INDEX_IVF the number of lists that are scanned. Left at
 * 0, the effort comes from target_recall and what the collection has measured on itself.
 *
 * CODES: distances and order are by the graph's codes (B1, PQ: Q4), approximate (pv_results_error),
 * with less recall than target_recall; no vector is read. Not with EXACT, nor in a cursor.
 *
 * threads: so many share the vectors of one search that compares with every record, at most as many
 * as the handle may use (pv_open_opts). The answer is the same. Each needs k places a vector.
 * Inside a write transaction, and where there is little to compare, the caller's works alone. */
typedef struct pv_query {
    uint32_t struct_size; /* PV_QUERY_INIT sets it */
    uint32_t flags;       /* PV_QUERY_ */
    const void *vector;   /* dims elements, finite; in pv_search_many the first of several */
    uint32_t dims;        /* must be the collection's */
    uint32_t type;        /* PV_TYPE_ of vector; 0: f32 */
    uint32_t k;           /* rows wanted, at most PV_LIMIT_K; 0: 10, or with WITHIN PV_LIMIT_K */
    uint32_t include;     /* PV_INCLUDE_; 0: ids and distances alone */
    const char *filter;   /* NULL: all records */
    size_t filter_len;    /* bytes; 0: up to the NUL */
    float max_distance;   /* with PV_QUERY_WITHIN, in the metric's distance; never NaN */
    uint32_t ef;          /* how hard a walk of the graph tries (see below); 0: by target_recall */
    float target_recall;  /* share of the true k nearest wanted, above 0, at most 1; 0: 0.95 */
    uint32_t threads;     /* that an exact search may use (see below); 0: the caller's alone */
} pv_query;
#define PV_QUERY_INIT                                                                              \
    { sizeof(pv_query), 0, NULL, 0, 0, 0, 0, NULL, 0, 0.0f, 0, 0.0f, 0 }

/* pv_search - the k records nearest to a vector, nearest first; equal distances by id.
 * Owner: the caller frees *out_results with pv_results_free.
 * Errors: PV_ERR_NOTFOUND (the collection); PV_ERR_DIMS (dims or type are not the collection's);
 * PV_ERR_MISUSE (no vector, NaN or infinity); PV_ERR_LIMIT (k, filter);
 * PV_ERR_FORMAT, PV_ERR_UNSUPPORTED (the filter); PV_ERR_CANCELLED.
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_search(pv_db *db, pv_txn *txn, const char *collection, const pv_query *query,
                        pv_results **out_results, pv_error *err);

/* Arrays of the caller for the rows of pv_search_into; those left NULL are not filled. */
typedef struct pv_rows {
    uint32_t struct_size; /* PV_ROWS_INIT sets it */
    uint32_t reserved0;   /* 0 */
    size_t room;          /* rows that every array given has places for */
    uint64_t *ids_u64;    /* number keys */
    uint64_t *id_offsets; /* room + 1 places: string key i begins at id_text + id_offsets[i] */
    char *id_text;        /* string keys, each with a NUL; together with id_offsets */
    size_t id_room;       /* bytes of id_text */
    float *distances;
    float *scores;
    size_t count;       /* out: rows found */
    float error;        /* out: as pv_results_error */
    uint32_t reserved1; /* 0 */
} pv_rows;
#define PV_ROWS_INIT                                                                               \
    { sizeof(pv_rows), 0, 0, NULL, NULL, NULL, 0, NULL, NULL, 0, 0.0f, 0 }

/* pv_search_into - the same search with its rows in arrays of the caller: after some calls of a
 * kind it allocates nothing. query->include is 0. Keys cost time: leave out what is not wanted.
 * io_rows: what goes where; count is set.
 * Errors: as pv_search; PV_ERR_LIMIT when there are more rows than room or longer ids than id_room;
 * PV_ERR_MISUSE (include; arrays for keys of the other kind).
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_search_into(pv_db *db, pv_txn *txn, const char *collection, const pv_query *query,
                             pv_rows *io_rows, pv_error *err);

/* The vectors of pv_search_many: query->vector is the first of them. */
typedef struct pv_query_vectors {
    uint32_t struct_size; /* PV_QUERY_VECTORS_INIT sets it */
    uint32_t reserved0;   /* 0 */
    size_t count;         /* vectors, at most PV_LIMIT_QUERIES */
    size_t stride;        /* bytes from one to the next; 0: dims * element size */
} pv_query_vectors;
#define PV_QUERY_VECTORS_INIT                                                                      \
    { sizeof(pv_query_vectors), 0, 0, 0 }

/* pv_search_many - the same search for many vectors at once. Every stored vector is read once for
 * all of them, so that this is far cheaper than as many calls of pv_search; the answers are equal.
 * query: as for pv_search; k, filter, include and threshold are common to all.
 * The number of vectors times k is at most PV_LIMIT_QUERY_ROWS.
 * out_results: the caller's array of vectors->count pointers; all are set, or all NULL on failure.
 * Owner: the caller frees each with pv_results_free.
 * Errors: as pv_search, with err->record_index naming the vector.
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_search_many(pv_db *db, pv_txn *txn, const char *collection, const pv_query *query,
                             const pv_query_vectors *vectors, pv_results **out_results,
                             pv_error *err);

/* ---- Results --------------------------------------------------------------------------------- */

/* Rows are numbered from 0. Everything handed out belongs to the pv_results and stays as it is
 * until pv_results_free, also after later writes, the end of the transaction and pv_close. A row
 * that does not exist, or something the row does not carry, gives NULL, PV_ID_NONE or NaN. */

/* pv_results_count - number of rows; 0 for NULL. Threads: any. Since: 0.1 */
PV_EXTERN size_t pv_results_count(const pv_results *results);

/* pv_results_key - PV_KEY_STRING or PV_KEY_U64: which of the two id functions answers; 0 for NULL.
 * Threads: any. Since: 0.1 */
PV_EXTERN uint32_t pv_results_key(const pv_results *results);

/* pv_results_found - 1 when row i is a record, 0 when pv_get_many did not find it.
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_results_found(const pv_results *results, size_t i);

/* pv_results_id - string key of row i, with a NUL at its end; NULL when keys are numbers.
 * Owner: the results. Threads: any. Since: 0.1 */
PV_EXTERN const char *pv_results_id(const pv_results *results, size_t i);

/* pv_results_id_u64 - number key of row i; PV_ID_NONE when keys are strings.
 * Threads: any. Since: 0.1 */
PV_EXTERN uint64_t pv_results_id_u64(const pv_results *results, size_t i);

/* pv_results_distance - distance of row i by the metric; NaN when the rows come from no search.
 * Threads: any. Since: 0.1 */
PV_EXTERN float pv_results_distance(const pv_results *results, size_t i);

/* pv_results_score - score of row i: larger is nearer, see PV_METRIC_; NaN as above.
 * Threads: any. Since: 0.1 */
PV_EXTERN float pv_results_score(const pv_results *results, size_t i);

/* pv_results_metadata - metadata of row i as JSON text with a NUL at its end; NULL unless asked
 * for with PV_INCLUDE_METADATA. The text is compact and equal in value to what was written.
 * out_len: its bytes without the NUL; may be NULL.
 * Owner: the results. Threads: any. Since: 0.1 */
PV_EXTERN const char *pv_results_metadata(const pv_results *results, size_t i, size_t *out_len);

/* pv_results_vector - stored vector of row i: pv_results_dims elements of pv_results_type; NULL
 * unless asked for with PV_INCLUDE_VECTOR.
 * Owner: the results. Threads: any. Since: 0.1 */
PV_EXTERN const void *pv_results_vector(const pv_results *results, size_t i);

/* pv_results_dims - dimensions of the vectors; 0 when the rows carry none.
 * Threads: any. Since: 0.1 */
PV_EXTERN uint32_t pv_results_dims(const pv_results *results);

/* pv_results_type - PV_TYPE_ of the vectors; 0 when the rows carry none.
 * Threads: any. Since: 0.1 */
PV_EXTERN uint32_t pv_results_type(const pv_results *results);

/* pv_results_ids_u64 - all number keys as one array, one per row; NULL when keys are strings.
 * Owner: the results. Threads: any. Since: 0.1 */
PV_EXTERN const uint64_t *pv_results_ids_u64(const pv_results *results);

/* pv_results_ids_text - all string keys in one buffer, each with a NUL at its end; NULL when keys
 * are numbers.
 * out_offsets: key i begins at (*out_offsets)[i] and its NUL stands at (*out_offsets)[i + 1] - 1;
 * there is one more offset than rows. May be NULL.
 * Owner: the results. Threads: any. Since: 0.1 */
PV_EXTERN const char *pv_results_ids_text(const pv_results *results, const uint64_t **out_offsets);

/* pv_results_distances - all distances as one array, one per row; NULL when there are none.
 * Owner: the results. Threads: any. Since: 0.1 */
PV_EXTERN const float *pv_results_distances(const pv_results *results);

/* pv_results_scores - all scores as one array, one per row; NULL when there are none.
 * Owner: the results. Threads: any. Since: 0.1 */
PV_EXTERN const float *pv_results_scores(const pv_results *results);

/* pv_results_vectors - all vectors as one matrix, row by row without gaps, rows that were not
 * found all zero; NULL when the rows carry none.
 * Owner: the results. Threads: any. Since: 0.1 */
PV_EXTERN const void *pv_results_vectors(const pv_results *results);

/* pv_results_plan - how the search of these rows went: "scan" (compared with every record, or with
 * every one that matches), "scan of codes" (with every code, then with the vectors that may be
 * nearest: the same answer), "graph" (a walk of the graph), "lists" (of PV_INDEX_IVF), and with a
 * filter, as estimated to be cheapest: "graph, one hop" (the walk as always, keeping what matches),
 * "graph, two hops" (from match to match) or "codes" (compared with the codes of all that match).
 * NULL when the rows come from no search. For looking at, not for deciding by: texts may be added.
 * Owner: the library, for ever. Threads: any. Since: 0.1 */
PV_EXTERN const char *pv_results_plan(const pv_results *results);

/* pv_results_error - how far distances of these rows may be off, 19 in 20 of them; 0 without
 * PV_QUERY_CODES, NaN as above. Threads: any. Since: 0.1 */
PV_EXTERN float pv_results_error(const pv_results *results);

/* pv_results_free - NULL is fine. Threads: any, once. Since: 0.1 */
PV_EXTERN void pv_results_free(pv_results *results);

/* ---- Cursors --------------------------------------------------------------------------------- */

/* pv_cursor_open - begin a search whose rows are fetched page by page, nearest first, for as long
 * as there are any. It sees one state: that of txn (a read transaction), or with NULL that of now,
 * and then it outlives pv_close. All records that match come out, none twice.
 * query: as for pv_search; k is not looked at. Where the graph is walked, a page is as near to the
 * truth as a search of as many rows as have come out with it (ef, target_recall), and a row that
 * was missed comes with a later page; with PV_QUERY_EXACT no row is nearer than those of the page
 * before. With PV_QUERY_WITHIN the graph decides when there is nothing more, up to the same recall.
 * The walk goes on where the page before left it: many pages cost little more than one search for
 * all their rows. Memory: some bits for each record, and 8 bytes for each that was looked at;
 * without a graph 8 bytes for each record that matches.
 * Owner: the caller closes *out_cursor with pv_cursor_close.
 * Threads: the cursor is for one thread at a time, together with its transaction.
 * Errors: as pv_search; PV_ERR_MISUSE (a write transaction). Since: 0.1 */
PV_EXTERN int pv_cursor_open(pv_db *db, pv_txn *txn, const char *collection, const pv_query *query,
                             pv_cursor **out_cursor, pv_error *err);

/* pv_cursor_next - the next k rows: nearest first, equal distances by id within a page (which page
 * they come with is not said). Fewer only when no more are left; none at the end, and from then on.
 * k: at most PV_LIMIT_K; 0: 10. It may change from page to page.
 * Owner: the caller frees *out_results with pv_results_free.
 * Errors: PV_ERR_CLOSED (its transaction has ended); PV_ERR_LIMIT (k); PV_ERR_CANCELLED (may be
 * called again, as after PV_ERR_NOMEM: nothing is lost).
 * Threads: one at a time, together with the cursor's transaction. Since: 0.1 */
PV_EXTERN int pv_cursor_next(pv_cursor *cursor, uint32_t k, pv_results **out_results,
                             pv_error *err);

/* pv_cursor_close - NULL is fine. Threads: any, when no other call uses it. Since: 0.1 */
PV_EXTERN void pv_cursor_close(pv_cursor *cursor);

/* ---- Iterate --------------------------------------------------------------------------------- */

/* Options of pv_iter_open. */
typedef struct pv_iter_opts {
    uint32_t struct_size; /* PV_ITER_OPTS_INIT sets it */
    uint32_t include;     /* PV_INCLUDE_; 0: ids alone */
    const char *filter;   /* JSON as in pv_query; NULL: all records */
    size_t filter_len;    /* bytes; 0: up to the NUL */
    const char *after_id; /* string keys: begin behind this one, there or not; NULL: at the start */
    size_t after_id_len;  /* bytes; 0: up to the NUL */
    uint64_t after_id_u64; /* number keys: the same; PV_ID_NONE: at the start */
} pv_iter_opts;
#define PV_ITER_OPTS_INIT                                                                          \
    { sizeof(pv_iter_opts), 0, NULL, 0, NULL, 0, PV_ID_NONE }

/* pv_iter_open - walk over the records of a collection in the order of their ids (bytes of
 * strings, size of numbers).
 * opts: NULL for all records, ids alone.
 * With txn NULL the walk sees the state of now until it is closed, whatever is written meanwhile,
 * and outlives pv_close. Inside a write transaction it sees the transaction's own changes that
 * lie ahead of it. It ends with the transaction: afterwards it gives PV_ERR_CLOSED.
 * Owner: the caller closes *out_iter with pv_iter_close.
 * Threads: the iterator is for one thread at a time, together with its transaction.
 * Errors: PV_ERR_NOTFOUND (the collection); PV_ERR_FORMAT, PV_ERR_UNSUPPORTED, PV_ERR_LIMIT (the
 * filter); PV_ERR_MISUSE (a start of the wrong kind).
 * Since: 0.1 */
PV_EXTERN int pv_iter_open(pv_db *db, pv_txn *txn, const char *collection, const pv_iter_opts *opts,
                           pv_iter **out_iter, pv_error *err);

/* pv_iter_next - step to the next record. Returns 1 when there is one, 0 at the end (and from
 * then on), or a negative code.
 * Errors: PV_ERR_CLOSED (its transaction has ended); PV_ERR_NOTFOUND (the collection was dropped
 * by the transaction); PV_ERR_CANCELLED (may be called again).
 * Since: 0.1 */
PV_EXTERN int pv_iter_next(pv_iter *iter, pv_error *err);

/* pv_iter_id - string key of the record it stands on; NULL when keys are numbers or it stands on
 * none.
 * Owner: the iterator, until the next pv_iter_next or pv_iter_close; so for all four. Since: 0.1 */
PV_EXTERN const char *pv_iter_id(const pv_iter *iter);
/* pv_iter_id_u64 - number key; PV_ID_NONE when keys are strings or it stands on none. Since: 0.1 */
PV_EXTERN uint64_t pv_iter_id_u64(const pv_iter *iter);
/* pv_iter_metadata - JSON text with a NUL at its end; NULL unless PV_INCLUDE_METADATA was asked.
 * out_len: its bytes without the NUL; may be NULL. Since: 0.1 */
PV_EXTERN const char *pv_iter_metadata(const pv_iter *iter, size_t *out_len);
/* pv_iter_vector - the stored vector, with the collection's dims and type, aligned to 16 bytes;
 * NULL unless PV_INCLUDE_VECTOR was asked.
 * out_dims: number of its elements; may be NULL. Since: 0.1 */
PV_EXTERN const void *pv_iter_vector(const pv_iter *iter, uint32_t *out_dims);

/* pv_iter_close - NULL is fine. Since: 0.1 */
PV_EXTERN void pv_iter_close(pv_iter *iter);

/* ---- Administration -------------------------------------------------------------------------- */

/* Figures of an open database; pv_stats_get fills as much as struct_size allows. */
typedef struct pv_stats {
    uint32_t struct_size; /* PV_STATS_INIT sets it */
    uint32_t reserved0;
    uint8_t uuid[16];        /* of the database; a copy of the file has the same */
    uint64_t lsn;            /* newest commit */
    uint64_t durable_lsn;    /* everything up to here survives a crash */
    uint64_t checkpoint_lsn; /* everything up to here is in the file itself */
    uint64_t db_checksum;    /* of all pages at lsn; equal contents give equal numbers */
    uint64_t file_bytes;     /* size of the database file */
    uint64_t log_bytes;      /* size of its log */
    uint64_t pages;          /* numbered so far, free ones among them */
    uint64_t free_bytes;     /* inside the file, to be used again */
    uint64_t cache_bytes;    /* page cache in use */
    uint64_t cache_limit;    /* and its bound */
    uint64_t memory_bytes;   /* all memory of the handle */
    uint64_t memory_peak;    /* its highest value so far */
    uint64_t page_hits;      /* page reads answered by the cache */
    uint64_t page_misses;    /* and by the file */
    uint64_t log_syncs;      /* waits for the disk, by commits */
    uint64_t commits;        /* since the handle was opened */
    uint64_t checkpoints;    /* since the handle was opened */
} pv_stats;
#define PV_STATS_INIT                                                                              \
    { sizeof(pv_stats), 0, {0}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* pv_stats_get - figures of the database and of this handle; costs no I/O.
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_stats_get(pv_db *db, pv_stats *out_stats, pv_error *err);

/* pv_checkpoint - write everything committed into the database file, and let the log be used
 * again. It happens by itself; call it before copying files or to bound the time of a restart.
 * Readers and writers go on meanwhile.
 * Errors: PV_ERR_READONLY; PV_ERR_IO; PV_ERR_FULL; PV_ERR_BUSY.
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_checkpoint(pv_db *db, pv_error *err);

#define PV_CHECK_QUICK 0x0u /* the default: structure of the file, catalogue, counters */
#define PV_CHECK_DEEP 0x1u  /* and every page, key, document and vector against each other */

/* Receives one finding of pv_check: one line. collection: its name, or NULL when the finding is
 * not about one; page_id: 0 when it is not about one page. It must not call the library. */
typedef void (*pv_check_fn)(void *ctx, const char *collection, uint64_t page_id,
                            const char *message);

/* pv_check - look for damage. Works on the newest state while others read and write.
 * flags: PV_CHECK_. fn: told each finding, on the caller's thread; may be NULL.
 * out_problems: their number; 0 means that nothing is wrong. May be NULL.
 * Returns 0 when the walk was finished, whatever it found; an error only when it could not go on.
 * Errors: PV_ERR_CANCELLED.
 * Threads: any. Since: 0.1 */
PV_EXTERN int pv_check(pv_db *db, uint32_t flags, pv_check_fn fn, void *ctx, uint64_t *out_problems,
                       pv_error *err);

#ifdef __cplusplus
}
#endif
#endif
