/* SPDX-License-Identifier: Apache-2.0 */
/* db.c - open, close, and who is inside. See db.h for the counters.
 *
 * A call enters with one compare-and-swap and leaves with another; only when the closing bit is
 * set does leaving take the mutex, so that pv_close, which frees the mutex, can only see the last
 * call gone after that call has let go of it. */
#include "engine/db.h"

#include "ann/graph.h"
#include "base/checksum.h"
#include "engine/hold.h"
#include "engine/scan.h"
#include "engine/upkeep.h"
#include "engine/workspace.h"

#define DB_CLOSING 0x80000000u
#define DB_BUSY_TIMEOUT_MS 5000u
#define DB_INTERRUPT_ROWS 256u /* rows between two looks at the interrupt callback */

/* ---- env --------------------------------------------------------------------------------- */

int pv__env_new(const pv_allocator *allocator, uint64_t bytes_limit, pv__env **out_env,
                pv_error *err) {
    pv__mem boot;
    pv__mem_init(&boot, allocator, 0);
    pv__env *env = pv__alloc_zero(&boot, sizeof(*env));
    if (!env) {
        return pv__err_nomem(err, sizeof(*env));
    }
    pv__mem_init(&env->mem, allocator, (size_t)PV_MIN(bytes_limit, (uint64_t)SIZE_MAX));
    atomic_init(&env->refs, 1);
    *out_env = env;
    return 0;
}

void pv__env_ref(pv__env *env) {
    /* Relaxed: who refs holds a reference already. */
    atomic_fetch_add_explicit(&env->refs, 1, memory_order_relaxed);
}

void pv__env_unref(pv__env *env) {
    /* acq_rel: the last one must see what the others did to the counters of mem. */
    if (env && atomic_fetch_sub_explicit(&env->refs, 1, memory_order_acq_rel) == 1) {
        pv_allocator allocator = env->mem.allocator;
        pv__mem boot;
        pv__mem_init(&boot, &allocator, 0);
        atomic_store_explicit(&boot.bytes_used, sizeof(*env), memory_order_relaxed);
        pv__alloc_free(&boot, env, sizeof(*env));
    }
}

/* ---- entering ---------------------------------------------------------------------------- */

bool pv__db_forked(const pv_db *db) { return !pv__forkmark_same(&db->fork); }

int pv__db_enter(pv_db *db, pv_error *err) {
    if (!db) {
        return pv__err(err, PV_ERR_MISUSE, "the database handle is NULL");
    }
    if (pv__db_forked(db)) {
        return pv__err(err, PV_ERR_MISUSE,
                       "the database was opened before fork; open it again in the child");
    }
    uint32_t calls = atomic_load_explicit(&db->calls, memory_order_relaxed);
    do {
        if (calls & DB_CLOSING) {
            return pv__err(err, PV_ERR_CLOSED, "the database was closed");
        }
        /* acquire: pairs with the release of the thread that opened the handle or left it. */
    } while (!atomic_compare_exchange_weak_explicit(&db->calls, &calls, calls + 1,
                                                    memory_order_acquire, memory_order_relaxed));
    return 0;
}

void pv__db_leave(pv_db *db) {
    uint32_t calls = atomic_load_explicit(&db->calls, memory_order_relaxed);
    while (!(calls & DB_CLOSING)) {
        /* release: what this call did is before what pv_close does when it sees the number. */
        if (atomic_compare_exchange_weak_explicit(&db->calls, &calls, calls - 1,
                                                  memory_order_release, memory_order_relaxed)) {
            return;
        }
    }
    pv__mutex_lock(&db->mutex);
    atomic_fetch_sub_explicit(&db->calls, 1, memory_order_acq_rel);
    pv__cond_broadcast(&db->idle);
    pv__mutex_unlock(&db->mutex);
}

int pv__db_interrupted(pv_db *db, pv_error *err) {
    if (db->interrupt && db->interrupt(db->interrupt_ctx) != 0) {
        return pv__err(err, PV_ERR_CANCELLED, "cancelled by the interrupt callback");
    }
    return 0;
}

int pv__db_interrupted_at(pv_db *db, size_t i, pv_error *err) {
    return i % DB_INTERRUPT_ROWS == DB_INTERRUPT_ROWS - 1 ? pv__db_interrupted(db, err) : 0;
}

/* ---- what is put aside between calls ------------------------------------------------------- */

void *pv__pool_take(pv__pool *pool) {
    const size_t first = (size_t)(pv__mix64(pv__thread_id()) % PV__POOL_PLACES);
    for (size_t i = 0; i < PV__POOL_PLACES; i++) {
        _Atomic(void *) *place = &pool->places[(first + i) % PV__POOL_PLACES];
        if (atomic_load_explicit(place, memory_order_relaxed)) {
            /* acquire: pairs with the release of who gave it. */
            void *p = atomic_exchange_explicit(place, NULL, memory_order_acquire);
            if (p) {
                return p;
            }
        }
    }
    return NULL;
}

bool pv__pool_give(pv__pool *pool, void *p) {
    const size_t first = (size_t)(pv__mix64(pv__thread_id()) % PV__POOL_PLACES);
    for (size_t i = 0; i < PV__POOL_PLACES; i++) {
        void *none = NULL;
        if (atomic_compare_exchange_strong_explicit(&pool->places[(first + i) % PV__POOL_PLACES],
                                                    &none, p, memory_order_release,
                                                    memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

int pv__db_walker_take(pv_db *db, pv__walker **out, pv_error *err) {
    *out = pv__pool_take(&db->walkers);
    return *out ? 0 : pv__walker_new(&db->env->mem, out, err);
}

void pv__db_walker_give(pv_db *db, pv__walker *w) {
    if (w && !pv__pool_give(&db->walkers, w)) {
        pv__walker_free(w);
    }
}

/* ---- open -------------------------------------------------------------------------------- */

static int db_check_opts(const char *path, const pv_open_opts *o, pv_error *err) {
    const uint32_t known = PV_OPEN_NOCREATE | PV_OPEN_READONLY | PV_OPEN_NOWAIT;
    if (!path || !path[0]) {
        return pv__err(err, PV_ERR_MISUSE, "the path is empty");
    }
    if (o->flags & ~known) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "unknown open flags 0x%x",
                       (unsigned)(o->flags & ~known));
    }
    if (o->sync > PV_SYNC_ASYNC) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "unknown sync level %u", (unsigned)o->sync);
    }
    if (o->compression > PV_COMPRESSION_ZSTD || o->reserved) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "unknown compression %u or a reserved member set",
                       (unsigned)o->compression);
    }
    if (o->threads > PV__THREADS_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "%u threads are asked for, at most %u are allowed",
                       (unsigned)o->threads, PV__THREADS_MAX);
    }
    if (o->memory_limit_bytes && o->cache_bytes > o->memory_limit_bytes) {
        return pv__err(err, PV_ERR_MISUSE, "cache_bytes is more than memory_limit_bytes");
    }
    if (o->log_level < 0 || o->log_level > PV_LOG_DEBUG) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "unknown log level %d", (int)o->log_level);
    }
    if (strcmp(path, ":memory:") == 0 && (o->flags & (PV_OPEN_READONLY | PV_OPEN_NOCREATE))) {
        return pv__err(err, PV_ERR_MISUSE, ":memory: is always made new and writable");
    }
    return 0;
}

static int db_open_store(pv_db *db, const char *path, const pv_open_opts *o, pv_error *err) {
    const pv__store_opts so = {
        .path = path,
        .vfs = o->vfs,
        .clock = o->clock,
        .mem = &db->env->mem,
        .log = &db->log,
        .readonly = (o->flags & PV_OPEN_READONLY) != 0,
        .create = !(o->flags & (PV_OPEN_READONLY | PV_OPEN_NOCREATE)),
        /* A limit for everything must leave room beside the cache. */
        .cache_bytes = o->cache_bytes ? o->cache_bytes : o->memory_limit_bytes / 2,
        .checkpoint_bytes = o->checkpoint_bytes,
        .busy_timeout_ms = o->flags & PV_OPEN_NOWAIT ? 0
                           : o->busy_timeout_ms      ? o->busy_timeout_ms
                                                     : DB_BUSY_TIMEOUT_MS,
        .no_threads = o->threads == 1,
        .interrupt = o->interrupt,
        .interrupt_ctx = o->interrupt_ctx,
        .codec = o->compression,
        .chore = pv__upkeep_run,
        .chore_ctx = db,
    };
    return pv__store_open(&so, &db->store, err);
}

/* Everything but the store, which is closed or never was. */
static void db_free(pv_db *db) {
    pv__env *env = db->env;
    for (void *p; (p = pv__pool_take(&db->walkers)) != NULL;) {
        pv__walker_free(p);
    }
    for (void *p; (p = pv__pool_take(&db->workspaces)) != NULL;) {
        pv__workspace_free(p);
    }
    for (void *p; (p = pv__pool_take(&db->scans)) != NULL;) {
        pv__scan_free(db, p);
    }
    pv__forkmark_done(&db->fork);
    pv__cond_done(&db->idle);
    pv__mutex_done(&db->mutex);
    pv__alloc_free(&env->mem, db, sizeof(*db));
    pv__env_unref(env);
}

int pv__db_open(const char *path, const pv_open_opts *o, pv_db **out_db, pv_error *err) {
    pv__env *env = NULL;
    PV_TRY(db_check_opts(path, o, err));
    PV_TRY(pv__env_new(o->allocator, o->memory_limit_bytes, &env, err));
    pv_db *db = pv__alloc_zero(&env->mem, sizeof(*db));
    if (!db) {
        pv__env_unref(env);
        return pv__err_nomem(err, sizeof(*db));
    }
    db->env = env;
    db->log = (pv__logger){o->log, o->log_ctx, o->log_level ? o->log_level : PV_LOG_WARN};
    db->clock = o->clock;
    db->interrupt = o->interrupt;
    db->interrupt_ctx = o->interrupt_ctx;
    db->flags = o->flags;
    db->cpu = pv__sys_cpu();
    db->threads = o->threads ? o->threads : pv__sys_cores();
    db->sync = o->sync ? o->sync : PV_SYNC_FULL;
    db->upkeep.all = true; /* nobody knows what was left to do */
    atomic_init(&db->upkeep.graves, true);
    db->refs = 1;
    db->pins = 1;
    atomic_init(&db->calls, 0);
    atomic_init(&db->writer, 0);
    int rc = pv__mutex_init(&db->mutex, err);
    if (rc != 0) {
        goto no_mutex;
    }
    rc = pv__cond_init(&db->idle, err);
    if (rc != 0) {
        goto no_cond;
    }
    pv__forkmark_init(&db->fork);
    rc = db_open_store(db, path, o, err);
    if (rc != 0) {
        db_free(db);
        return rc;
    }
    *out_db = db;
    return 0;

no_cond:
    pv__mutex_done(&db->mutex);
no_mutex:
    pv__alloc_free(&env->mem, db, sizeof(*db));
    pv__env_unref(env);
    return rc;
}

/* ---- references and close ---------------------------------------------------------------- */

void pv__db_ref(pv_db *db, bool pin) {
    pv__mutex_lock(&db->mutex);
    db->refs++;
    db->pins += pin ? 1u : 0u;
    pv__mutex_unlock(&db->mutex);
}

/* The reference goes last, so that nobody frees db while the store is being closed. */
int pv__db_unref(pv_db *db, bool pin, pv_error *err) {
    const bool forked = pv__db_forked(db);
    pv__store *store = NULL;
    int rc = 0;
    if (pin) {
        if (!forked) {
            pv__mutex_lock(&db->mutex);
        }
        if (--db->pins == 0) {
            store = db->store;
            db->store = NULL;
        }
        if (!forked) {
            pv__mutex_unlock(&db->mutex);
        }
        if (forked) {
            pv__store_abandon(store);
        } else if (store) {
            rc = pv__store_close(store, err);
        }
    }
    if (!forked) {
        pv__mutex_lock(&db->mutex);
    }
    const bool last = --db->refs == 0;
    if (!forked) {
        pv__mutex_unlock(&db->mutex);
    }
    if (last) {
        db_free(db);
    }
    return rc;
}

/* Transactions are ended here, not by pv_txn_rollback, whose handle stays with its owner. E2: no
 * call is inside, so nobody uses them. In a forked child the store's half of a transaction is left
 * alone: it hangs in lists whose locks another thread of the parent may have held. */
static void db_end_txns(pv_db *db) {
    for (pv_txn *t = db->txns; t; t = t->next) {
        pv__hold_detach_all(t);
        if (!pv__db_forked(db)) {
            pv__txn_rollback(t->txn);
        }
        t->txn = NULL;
    }
    atomic_store_explicit(&db->writer, 0, memory_order_relaxed);
}

void pv__db_wait_ended(pv_db *db) {
    pv__mutex_lock(&db->mutex);
    while (!db->txns_ended) {
        pv__cond_wait(&db->idle, &db->mutex);
    }
    pv__mutex_unlock(&db->mutex);
}

int pv__db_close(pv_db *db, pv_error *err) {
    if (!db) {
        return 0;
    }
    if (pv__db_forked(db)) {
        /* Other threads do not exist and no lock can be trusted; the store only drops memory. */
        if (atomic_fetch_or_explicit(&db->calls, DB_CLOSING, memory_order_relaxed) & DB_CLOSING) {
            return pv__err(err, PV_ERR_CLOSED, "the database was closed");
        }
        db_end_txns(db);
        return pv__db_unref(db, true, err);
    }
    pv__mutex_lock(&db->mutex);
    if (atomic_load_explicit(&db->calls, memory_order_relaxed) & DB_CLOSING) {
        pv__mutex_unlock(&db->mutex);
        return pv__err(err, PV_ERR_CLOSED, "the database was closed");
    }
    /* acq_rel: pairs with the compare-and-swaps of pv__db_enter and pv__db_leave. */
    atomic_fetch_or_explicit(&db->calls, DB_CLOSING, memory_order_acq_rel);
    while (atomic_load_explicit(&db->calls, memory_order_acquire) != DB_CLOSING) {
        pv__cond_wait(&db->idle, &db->mutex);
    }
    pv__mutex_unlock(&db->mutex);
    db_end_txns(db);
    pv__mutex_lock(&db->mutex);
    db->txns_ended = true;
    pv__cond_broadcast(&db->idle);
    pv__mutex_unlock(&db->mutex);
    return pv__db_unref(db, true, err);
}

#undef DB_CLOSING
#undef DB_BUSY_TIMEOUT_MS
#undef DB_INTERRUPT_ROWS
