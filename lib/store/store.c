/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - opening, creating and closing; statistics. The parts and how they hang together are
 * drawn in internal.h.
 *
 * Until writers of several processes take turns, a database that is open for writing belongs to one
 * handle: lock 0 of the file is held exclusively by it, shared by read-only handles. `x.pv-shm`
 * states the writer's process for whoever meets the lock; it carries no truth. */
#include "base/compress.h"
#include "store/internal.h"

#define STORE_LOCK_PRESENCE 0u
#define STORE_CACHE_DEFAULT ((uint64_t)4 << 30)
#define STORE_CACHE_MIN ((uint64_t)64 << 20)
#define STORE_CHECKPOINT_DEFAULT ((uint64_t)1 << 30)
#define STORE_FIRST_LSN 4096u
#define STORE_SHM_MAGIC "PiramidShm\r\n\x1a\n\0" /* 16 bytes with the final NUL */

static char *store_path(pv__mem *mem, const char *path, const char *suffix, size_t size) {
    size_t n = strlen(path);
    char *p = pv__alloc(mem, size);
    if (p) {
        memcpy(p, path, n);
        memcpy(p + n, suffix, strlen(suffix) + 1);
    }
    return p;
}

/* "a/b.pv" -> "a", "b.pv" -> ".", "/b.pv" -> "/" */
static char *store_dir(pv__mem *mem, const char *path, size_t size) {
    char *p = store_path(mem, path, "", size);
    if (p) {
        char *slash = strrchr(p, '/');
        if (!slash) {
            memcpy(p, ".", 2);
        } else {
            slash[slash == p] = 0;
        }
    }
    return p;
}

static void store_free_readers(pv__store *s) {
    for (pv__rchunk *c = &s->readers, *next; c; c = next) {
        next = atomic_load(&c->next);
        for (size_t i = 0; i < PV__RSLOT_CHUNK; i++) {
            pv__alloc_free(s->mem, c->slots[i].spare, sizeof(pv__txn));
        }
        if (c != &s->readers) {
            pv__alloc_free_aligned(s->mem, c, sizeof *c, 64);
        }
    }
}

static void store_free(pv__store *s) {
    pv__frames_close(s);
    pv__xlat_done(s);
    for (size_t i = 0; i < s->retired_count; i++) {
        pv__ver_free(s, s->retired[s->retired_first + i].ver);
    }
    store_free_readers(s);
    pv__frames_done(s);
    pv__alloc_free(s->mem, s->retired, s->retired_cap * sizeof *s->retired);
    pv__alloc_free(s->mem, s->superseded, s->superseded_cap * sizeof *s->superseded);
    pv__alloc_free(s->mem, s->dirty, s->dirty_cap * sizeof *s->dirty);
    pv__space_done(s);
    pv__table_done(s);
    pv__log_done(s);
    pv__alloc_free(s->mem, s->path, s->path_size);
    pv__alloc_free(s->mem, s->dir, s->path_size);
    pv__alloc_free(s->mem, s->wal_dir, s->path_size);
    pv__alloc_free(s->mem, s->shm_path, s->path_size);
    pv__mutex_done(&s->ckpt_mutex);
    pv__mutex_done(&s->super_mutex);
    pv__mutex_done(&s->table_mutex);
    pv__mutex_done(&s->space_mutex);
    pv__mutex_done(&s->ver_mutex);
    pv__mutex_done(&s->writer_mutex);
    pv__mutex_done(&s->worker_mutex);
    pv__cond_done(&s->writer_cond);
    pv__cond_done(&s->worker_cond);
    pv__images_done(s);
    pv__keep_done(s, &s->fronts);
    pv__keep_done(s, &s->squeezed);
    for (unsigned i = 0; i < PV__STRIPES; i++) {
        pv__mutex_done(&s->stripe[i]);
    }
    pv__alloc_free_aligned(s->mem, s, sizeof *s, 64);
}

static int store_init_locks(pv__store *s, uint64_t slab_bytes, pv_error *err) {
    PV_TRY(pv__frames_init(s, slab_bytes, err));
    PV_TRY(pv__mutex_init(&s->ckpt_mutex, err));
    PV_TRY(pv__mutex_init(&s->super_mutex, err));
    PV_TRY(pv__mutex_init(&s->table_mutex, err));
    PV_TRY(pv__mutex_init(&s->space_mutex, err));
    PV_TRY(pv__mutex_init(&s->ver_mutex, err));
    PV_TRY(pv__mutex_init(&s->writer_mutex, err));
    PV_TRY(pv__mutex_init(&s->worker_mutex, err));
    PV_TRY(pv__cond_init(&s->writer_cond, err));
    PV_TRY(pv__cond_init(&s->worker_cond, err));
    for (unsigned i = 0; i < PV__STRIPES; i++) {
        PV_TRY(pv__mutex_init(&s->stripe[i], err));
    }
    PV_TRY(pv__images_init(s, err));
    PV_TRY(pv__fronts_init(s, err));
    PV_TRY(pv__squeezed_init(s, err));
    return pv__log_init(s, err);
}

static int store_new(const pv__store_opts *o, pv__store **out, pv_error *err) {
    pv__store *s = pv__alloc_aligned(o->mem, sizeof *s, 64);
    if (!s) {
        return pv__err_nomem(err, sizeof *s);
    }
    memset(s, 0, sizeof *s);
    s->mem = o->mem;
    s->vfs = o->vfs ? o->vfs : pv__vfs_posix();
    s->clock = o->clock;
    if (o->log) {
        s->log_to = *o->log;
    }
    s->memory = strcmp(o->path, ":memory:") == 0;
    s->readonly = o->readonly;
    s->no_threads = o->no_threads;
    s->codec = o->codec;
    s->chore = o->chore;
    s->chore_ctx = o->chore_ctx;
    s->busy_timeout_ms = o->busy_timeout_ms;
    s->interrupt = o->interrupt;
    s->interrupt_ctx = o->interrupt_ctx;
    s->cache_limit = o->cache_bytes;
    if (s->cache_limit == 0) {
        uint64_t share = pv__sys_ram_bytes() / 4;
        s->cache_limit = PV_MIN(PV_MAX(share, STORE_CACHE_MIN), STORE_CACHE_DEFAULT);
    }
    s->checkpoint_bytes = o->checkpoint_bytes ? o->checkpoint_bytes : STORE_CHECKPOINT_DEFAULT;
    s->first_lsn = STORE_FIRST_LSN;
    s->dirty_seq = 1;
    atomic_store(&s->epoch, 1);
    pv__map_init(&s->table.nodes, s->mem);
    s->path_size = strlen(o->path) + 8;
    s->path = store_path(s->mem, o->path, "", s->path_size);
    s->dir = store_dir(s->mem, o->path, s->path_size);
    s->wal_dir = store_path(s->mem, o->path, "-wal", s->path_size);
    s->shm_path = store_path(s->mem, o->path, "-shm", s->path_size);
    int rc = store_init_locks(s, o->slab_bytes, err);
    if (o->log_segment_bytes) {
        s->log.next_cap = o->log_segment_bytes;
    }
    if (!rc && (!s->path || !s->dir || !s->wal_dir || !s->shm_path)) {
        rc = pv__err_nomem(err, s->path_size);
    }
    if (rc) {
        store_free(s);
        return rc;
    }
    *out = s;
    return PV_OK;
}

/* ---- who has it open ----------------------------------------------------------------------- */

static uint64_t store_read_owner(pv__store *s) {
    uint8_t p[64];
    pv_file *f = NULL;
    pv_error ignored = PV_ERROR_INIT;
    pv_io io = {0, p, sizeof p, 0};
    uint64_t pid = 0;
    if (s->vfs->open(s->vfs, s->shm_path, PV_VFS_OPEN_READONLY, &f, NULL, &ignored) == PV_OK) {
        if (s->vfs->read(s->vfs, f, &io, 1, &ignored) == PV_OK &&
            memcmp(p, STORE_SHM_MAGIC, 16) == 0) {
            pid = pv__get64(p + 16);
        }
        s->vfs->close(s->vfs, f, &ignored);
    }
    return pid;
}

static int store_write_owner(pv__store *s, pv_error *err) {
    uint8_t p[64];
    memset(p, 0, sizeof p);
    memcpy(p, STORE_SHM_MAGIC, 16);
    pv__put64(p + 16, pv__sys_pid());
    PV_TRY(s->vfs->open(s->vfs, s->shm_path, PV_VFS_OPEN_CREATE, &s->shm, NULL, err));
    return pv__vfs_write(s->vfs, s->shm, 0, p, sizeof p, err);
}

/* The presence lock of s->file, waited for; PV_ERR_BUSY after the timeout. */
static int store_wait_lock(pv__store *s, pv_error *err) {
    int mode = s->readonly ? PV_VFS_LOCK_SHARED : PV_VFS_LOCK_EXCLUSIVE;
    uint64_t began = pv__sys_mono_us(s->clock);
    int rc;
    while ((rc = s->vfs->lock(s->vfs, s->file, STORE_LOCK_PRESENCE, mode, err)) == PV_ERR_BUSY &&
           pv__sys_mono_us(s->clock) - began < s->busy_timeout_ms * (uint64_t)1000) {
        PV_TRY(pv__store_interrupted(s, err));
        pv__sys_sleep_ms(5);
    }
    return rc;
}

static int store_lock(pv__store *s, pv_error *err) {
    pv_error busy = PV_ERROR_INIT;
    int rc = store_wait_lock(s, &busy);
    if (rc == PV_ERR_BUSY) {
        uint64_t pid = store_read_owner(s);
        return pid ? pv__err(err, PV_ERR_BUSY, "'%s' is open for writing in process %llu%s",
                             s->path, (unsigned long long)pid,
                             pv__sys_pid_alive(pid) ? "" : ", which is dead")
                   : pv__err(err, PV_ERR_BUSY, "'%s' is open in another process or handle",
                             s->path);
    }
    if (rc) {
        return pv__err(err, rc, "%s", busy.message);
    }
    return s->readonly ? PV_OK : store_write_owner(s, err);
}

/* ---- open ---------------------------------------------------------------------------------- */

/* Both superblocks of an empty database into s->file. */
static int store_format(pv__store *s, pv_error *err) {
    pv__super first;
    memset(&first, 0, sizeof first);
    PV_TRY(pv__sys_random(s->clock, first.uuid, 16, err));
    first.lsn = STORE_FIRST_LSN;
    first.fork_lsn = STORE_FIRST_LSN;
    first.timeline = 1;
    first.created_us = pv__sys_wall_us(s->clock);
    first.file_slots = PV__SUPER_SLOT_B + PV__SUPER_MIRROR + 1;
    for (uint64_t i = 1; i <= 2; i++) {
        first.sequence = i;
        PV_TRY(pv__super_write(s, &first, err));
    }
    return PV_OK;
}

static int store_create_locked(pv__store *s, const char *temp, pv_error *err) {
    pv_error missing = PV_ERROR_INIT;
    pv_file *there = NULL;
    int rc = s->vfs->open(s->vfs, s->path, PV_VFS_OPEN_READONLY, &there, NULL, &missing);
    if (rc == PV_OK) { /* another process was faster */
        s->vfs->close(s->vfs, there, &missing);
        rc = s->vfs->unlink(s->vfs, temp, &missing);
        return rc == PV_ERR_NOTFOUND ? PV_OK : rc;
    }
    if (rc != PV_ERR_NOTFOUND) {
        return pv__err(err, rc, "%s", missing.message);
    }
    PV_TRY(s->vfs->truncate(s->vfs, s->file, 0, err)); /* left by a creation that was cut off */
    PV_TRY(store_format(s, err));
    PV_TRY(s->vfs->rename(s->vfs, temp, s->path, err));
    return s->vfs->sync_dir(s->vfs, s->dir, err);
}

/* A new database appears under its name whole or not at all: it is made beside it and renamed, so
 * that a power cut leaves nothing that could be taken for a damaged one. */
static int store_create(pv__store *s, pv_error *err) {
    pv_error ignored = PV_ERROR_INIT;
    char *temp = store_path(s->mem, s->path, "-new", s->path_size);
    if (!temp) {
        return pv__err_nomem(err, s->path_size);
    }
    int rc = s->vfs->open(s->vfs, temp, PV_VFS_OPEN_CREATE, &s->file, NULL, err);
    if (!rc) {
        rc = store_wait_lock(s, err);
        rc = rc ? rc : store_create_locked(s, temp, err);
        s->vfs->close(s->vfs, s->file, &ignored);
        s->file = NULL;
    }
    pv__alloc_free(s->mem, temp, s->path_size);
    return rc;
}

static void store_memory(pv__store *s) {
    s->uuid_tag = 1;
    s->super.lsn = s->log.end = s->log.published = STORE_FIRST_LSN;
    atomic_store(&s->log.durable, STORE_FIRST_LSN);
    atomic_store(&s->log.visible, STORE_FIRST_LSN);
}

static int store_open_file(pv__store *s, bool create, pv_error *err) {
    uint64_t size = 0;
    uint32_t flags = s->readonly ? PV_VFS_OPEN_READONLY : 0;
    pv_error missing = PV_ERROR_INIT;
    if (s->vfs->probe) {
        PV_TRY(s->vfs->probe(s->vfs, s->path, err));
    }
    int rc = s->vfs->open(s->vfs, s->path, flags, &s->file, NULL, &missing);
    if (rc == PV_ERR_NOTFOUND && create && !s->readonly) {
        PV_TRY(store_create(s, err));
        rc = s->vfs->open(s->vfs, s->path, flags, &s->file, NULL, &missing);
    }
    if (rc) {
        if (err) {
            *err = missing;
        }
        return rc;
    }
    PV_TRY(store_lock(s, err));
    PV_TRY(s->vfs->size(s->vfs, s->file, &size, err));
    if (size == 0 && !s->readonly && create) { /* somebody's empty file */
        PV_TRY(store_format(s, err));
    }
    return pv__recover(s, err);
}

static void store_close_files(pv__store *s) {
    pv_error ignored = PV_ERROR_INIT;
    if (s->shm) {
        s->vfs->close(s->vfs, s->shm, &ignored);
        s->vfs->unlink(s->vfs, s->shm_path, &ignored);
    }
    if (s->file) {
        /* A forked child may still hold a copy of the descriptor: closing ours is not enough. */
        s->vfs->lock(s->vfs, s->file, STORE_LOCK_PRESENCE, PV_VFS_UNLOCK, &ignored);
        s->vfs->close(s->vfs, s->file, &ignored);
    }
    s->shm = s->file = NULL;
}

PV_PRIVATE int pv__store_open(const pv__store_opts *o, pv__store **out_store, pv_error *err) {
    static const uint16_t one = 1;
    pv__store *s = NULL;
    *out_store = NULL;
    if (*(const uint8_t *)&one != 1) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "big-endian machines are not supported");
    }
    if (!pv__codec_built_in(o->codec)) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "codec '%s' is not in this build",
                       pv__codec_name(o->codec));
    }
    PV_TRY(store_new(o, &s, err));
    int rc = PV_OK;
    if (s->memory) {
        store_memory(s);
    } else {
        rc = store_open_file(s, o->create, err);
    }
    if (rc) {
        store_close_files(s);
        store_free(s);
        return rc;
    }
    s->commits_at_open = s->commits;
    *out_store = s;
    return PV_OK;
}

/* ---- close --------------------------------------------------------------------------------- */

/* After the final root only what it reaches is needed: give the free end of the file back. */
static int store_shorten(pv__store *s, pv_error *err) {
    pv__space *a = &s->space;
    pv_error ignored = PV_ERROR_INIT;
    if (!a->ready) {
        return PV_OK;
    }
    s->older_valid = false;
    PV_TRY(pv__pack(s, err));
    s->vfs->truncate(s->vfs, s->file, a->count * PV__SLOT_SIZE, &ignored);
    return PV_OK;
}

PV_PRIVATE int pv__store_close(pv__store *s, pv_error *err) {
    int rc = PV_OK;
    if (!s) {
        return PV_OK;
    }
    pv__checkpoint_stop(s);
    pv__helper_stop(&s->helper);
    for (size_t i = 0; i < PV_COUNTOF(s->images.crew); i++) {
        pv__helper_stop(&s->images.crew[i]);
    }
    pv__helper_stop(&s->frames.stocker);
    if (!s->memory && !s->readonly) {
        rc = atomic_load(&s->failed) ? pv__store_refuse(s, err) : pv__checkpoint_final(s, err);
        if (!rc && s->log.marked) {
            rc = store_shorten(s, err);
            rc = rc ? rc : pv__log_remove_all(s, err);
        }
    }
    store_close_files(s);
    store_free(s);
    return rc;
}

PV_PRIVATE void pv__store_abandon(pv__store *s) {
    pv_error ignored = PV_ERROR_INIT;
    if (s && s->file) { /* the child's copies of the descriptors; the locks stay the parent's */
        s->vfs->close(s->vfs, s->file, &ignored);
        if (s->shm) {
            s->vfs->close(s->vfs, s->shm, &ignored);
        }
    }
    if (s) {
        s->shm = s->file = NULL;
        /* Destroying a condition waits for its waiters, and those are the parent's threads. */
        (void)pv__cond_init(&s->writer_cond, &ignored);
        (void)pv__cond_init(&s->worker_cond, &ignored);
        (void)pv__cond_init(&s->images.cond, &ignored);
        for (size_t i = 0; i < PV_COUNTOF(s->images.crew); i++) {
            (void)pv__cond_init(&s->images.crew[i].cond, &ignored);
        }
        (void)pv__cond_init(&s->helper.cond, &ignored);
        (void)pv__cond_init(&s->frames.stocker.cond, &ignored);
        (void)pv__cond_init(&s->log.cond, &ignored);
        store_free(s);
    }
}

PV_PRIVATE int pv__store_checkpoint(pv__store *s, pv_error *err) {
    if (s->readonly) {
        return pv__err(err, PV_ERR_READONLY, "'%s' is open read-only", s->path);
    }
    return pv__checkpoint_run(s, err);
}

/* Pages that exist, as of the newest commit. */
static uint64_t store_pages(pv__store *s) {
    const uint8_t *meta = NULL;
    pv__txn *t = NULL;
    pv_error ignored = PV_ERROR_INIT;
    uint64_t pages = 0;
    if (pv__txn_begin(s, 0, &t, &ignored)) {
        return 0;
    }
    if (t->snap != s->first_lsn &&
        pv__page_read(t, PV__META_PAGE, PV__PAGE_META, &meta, &ignored) == PV_OK) {
        uint64_t next = pv__get64(meta + PV__META_NEXT_ID);
        uint64_t unused = pv__get64(meta + PV__META_FREE_COUNT) + 1;
        pages = next > unused ? next - unused : 0;
    }
    pv__txn_rollback(t);
    return pages;
}

static uint64_t store_free_slots(pv__store *s) {
    pv_error ignored = PV_ERROR_INIT;
    uint64_t slots = 0;
    if (!s->memory) {
        pv__mutex_lock(&s->space_mutex); /* the first time this reads the page table */
        slots = pv__space_prepare(s, &ignored) ? 0 : s->space.free;
        pv__mutex_unlock(&s->space_mutex);
    }
    return slots;
}

PV_PRIVATE void pv__store_stats_get(pv__store *s, pv__store_stats *out) {
    memset(out, 0, sizeof *out);
    pv__mutex_lock(&s->ver_mutex);
    pv__mutex_lock(&s->log.mutex);
    out->lsn = s->log.published;
    out->durable_lsn = atomic_load(&s->log.durable);
    out->db_checksum = s->db_sum;
    out->commits = s->commits;
    out->commits_since_open = s->commits - s->commits_at_open;
    out->log_syncs = s->log.syncs;
    out->checkpoints = s->checkpoints;
    out->checkpoint_lsn = s->super.lsn;
    for (size_t i = 0; i < s->log.seg_count; i++) {
        out->log_bytes += PV__SEG_HEAD + s->log.segs[i].cap;
    }
    pv__mutex_unlock(&s->log.mutex);
    out->dirty_pages = s->dirty_count;
    pv__mutex_unlock(&s->ver_mutex);
    if (s->file) {
        pv_error ignored = PV_ERROR_INIT;
        s->vfs->size(s->vfs, s->file, &out->file_bytes, &ignored);
    }
    out->page_count = store_pages(s);
    out->free_slots = store_free_slots(s);
    out->cache_bytes = atomic_load(&s->cache_bytes);
    out->cache_limit = s->cache_limit;
    out->versions = atomic_load(&s->versions);
    out->page_hits = atomic_load(&s->hits);
    out->page_misses = atomic_load(&s->misses);
    memcpy(out->uuid, s->super.uuid, 16);
}

#undef STORE_LOCK_PRESENCE
#undef STORE_CACHE_DEFAULT
#undef STORE_CACHE_MIN
#undef STORE_CHECKPOINT_DEFAULT
#undef STORE_FIRST_LSN
#undef STORE_SHM_MAGIC
