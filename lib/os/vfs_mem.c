/* SPDX-License-Identifier: Apache-2.0 */
/* vfs_mem.c - files in memory, for tests and tools.
 *
 *      memfs -> node (name, folder or file) -> blocks of 64 KiB, NULL where never written
 *                 ^
 *      handle ----'  any number; a node lives until it has neither a name nor a handle
 *
 * Behaves as a POSIX file system does: a parent folder must exist (the root and the folder of a
 * path without '/' always do), removed files live on in their handles, renaming replaces, reads
 * beyond the end give zeros. Syncs do nothing: there is no durable state. One mutex guards all.
 * Not here: power cuts and injected errors, which the simulator of the tests adds. */
#include "os/thread.h"
#include "os/vfs.h"

#define MEMFS_BLOCK ((size_t)65536)
#define MEMFS_LOCKS 16u

typedef struct memfs_node {
    struct memfs_node *next; /* list of all nodes that have a name */
    char *name;              /* clean path; NULL once removed */
    size_t name_size;
    uint8_t **blocks;
    size_t block_cap;
    uint64_t size;
    uint32_t handles;
    bool is_dir;
    uint32_t shared[MEMFS_LOCKS]; /* number of handles with a shared lock */
    bool exclusive[MEMFS_LOCKS];
} memfs_node;

typedef struct memfs_file {
    memfs_node *node;
    bool readonly;
    uint8_t lock[MEMFS_LOCKS]; /* what this handle holds: PV_VFS_UNLOCK, _SHARED, _EXCLUSIVE */
} memfs_file;

typedef struct memfs {
    pv_vfs vfs; /* first: its address is the object's */
    pv__mem *mem;
    pv__mutex mutex;
    memfs_node *nodes;
    uint32_t handles;
} memfs;

static memfs *memfs_of(pv_vfs *vfs) { return (memfs *)vfs->ctx; }

static memfs_file *memfs_file_of(pv_file *file) { return (memfs_file *)(void *)file; }

/* ---- names ----------------------------------------------------------------------------------- */

/* Without "." parts, double and final slashes; "" is the root or the current folder. */
static char *memfs_clean(memfs *fs, const char *path, size_t *out_size, pv_error *err) {
    const size_t size = strlen(path) + 1;
    char *out = pv__alloc(fs->mem, size);
    if (!out) {
        (void)pv__err_nomem(err, size);
        return NULL;
    }
    size_t n = 0;
    for (const char *s = path; *s;) {
        const size_t part = strcspn(s, "/");
        if (part > 0 && !(part == 1 && s[0] == '.')) {
            if (n > 0 || (path[0] == '/' && n == 0)) {
                out[n++] = '/';
            }
            memcpy(out + n, s, part);
            n += part;
        }
        s += part + (s[part] == '/');
    }
    out[n] = 0;
    *out_size = size;
    return out;
}

static memfs_node *memfs_find_n(const memfs *fs, const char *name, size_t len) {
    for (memfs_node *node = fs->nodes; node; node = node->next) {
        if (strncmp(node->name, name, len) == 0 && node->name[len] == 0) {
            return node;
        }
    }
    return NULL;
}

static memfs_node *memfs_find(const memfs *fs, const char *name) {
    return memfs_find_n(fs, name, strlen(name));
}

static bool memfs_parent_is_there(const memfs *fs, const char *name) {
    const char *slash = strrchr(name, '/');
    if (!slash || slash == name) {
        return true;
    }
    const memfs_node *parent = memfs_find_n(fs, name, (size_t)(slash - name));
    return parent && parent->is_dir;
}

/* Is `name` directly or deeper inside the folder `dir`? */
static bool memfs_is_inside(const char *name, const char *dir) {
    const size_t len = strlen(dir);
    return strncmp(name, dir, len) == 0 && name[len] == '/';
}

/* The file's name inside folder `dir` ("" is the root), or NULL. */
static const char *memfs_entry(const char *name, const char *dir) {
    const char *rest = name;
    if (dir[0] == 0) {
        rest += name[0] == '/';
    } else if (memfs_is_inside(name, dir)) {
        rest += strlen(dir) + 1;
    } else {
        return NULL;
    }
    return strchr(rest, '/') ? NULL : rest;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static void memfs_cut(memfs *fs, memfs_node *node, uint64_t size) {
    const size_t keep = (size_t)((size + MEMFS_BLOCK - 1) / MEMFS_BLOCK);
    for (size_t i = keep; i < node->block_cap; i++) {
        pv__alloc_free(fs->mem, node->blocks[i], MEMFS_BLOCK);
        node->blocks[i] = NULL;
    }
    if (size % MEMFS_BLOCK != 0 && keep <= node->block_cap && node->blocks[keep - 1]) {
        memset(node->blocks[keep - 1] + size % MEMFS_BLOCK, 0, /* growing again shows zeros */
               MEMFS_BLOCK - (size_t)(size % MEMFS_BLOCK));
    }
    node->size = PV_MIN(node->size, size);
}

static void memfs_node_free(memfs *fs, memfs_node *node) {
    memfs_cut(fs, node, 0);
    pv__alloc_free(fs->mem, node->blocks, node->block_cap * sizeof *node->blocks);
    pv__alloc_free(fs->mem, node->name, node->name_size);
    pv__alloc_free(fs->mem, node, sizeof *node);
}

/* Takes `name` over, also when it fails. */
static memfs_node *memfs_node_new(memfs *fs, char *name, size_t name_size, bool is_dir,
                                  pv_error *err) {
    memfs_node *node = pv__alloc_zero(fs->mem, sizeof *node);
    if (!node) {
        pv__alloc_free(fs->mem, name, name_size);
        (void)pv__err_nomem(err, sizeof *node);
        return NULL;
    }
    node->name = name;
    node->name_size = name_size;
    node->is_dir = is_dir;
    node->next = fs->nodes;
    fs->nodes = node;
    return node;
}

static void memfs_node_remove(memfs *fs, memfs_node *node) {
    memfs_node **link = &fs->nodes;
    while (*link != node) {
        link = &(*link)->next;
    }
    *link = node->next;
    if (node->handles == 0) {
        memfs_node_free(fs, node);
        return;
    }
    pv__alloc_free(fs->mem, node->name, node->name_size);
    node->name = NULL;
    node->name_size = 0;
}

/* The block that holds `offset`, made when missing. */
static uint8_t *memfs_block(memfs *fs, memfs_node *node, uint64_t offset, pv_error *err) {
    const size_t i = (size_t)(offset / MEMFS_BLOCK);
    if (i >= node->block_cap) {
        void *array = node->blocks;
        const size_t old = node->block_cap;
        if (pv__alloc_grow(fs->mem, &array, &node->block_cap, i + 1, sizeof *node->blocks, err)) {
            return NULL;
        }
        node->blocks = array;
        memset(node->blocks + old, 0, (node->block_cap - old) * sizeof *node->blocks);
    }
    if (!node->blocks[i]) {
        node->blocks[i] = pv__alloc_zero(fs->mem, MEMFS_BLOCK);
        if (!node->blocks[i]) {
            (void)pv__err_nomem(err, MEMFS_BLOCK);
        }
    }
    return node->blocks[i];
}

/* ---- open and close -------------------------------------------------------------------------- */

static int memfs_open_node(memfs *fs, char *name, size_t name_size, uint32_t flags,
                           memfs_node **out_node, bool *created, pv_error *err) {
    memfs_node *node = memfs_find(fs, name);
    int rc = 0;
    if (node && node->is_dir) {
        rc = pv__err(err, PV_ERR_CANTOPEN, "'%s' is not a regular file", name);
    } else if (node && (flags & PV_VFS_OPEN_CREATE) && (flags & PV_VFS_OPEN_EXCLUSIVE)) {
        rc = pv__err(err, PV_ERR_EXISTS, "cannot create '%s': exists already", name);
    } else if (!node && (!(flags & PV_VFS_OPEN_CREATE) || !memfs_parent_is_there(fs, name))) {
        rc = pv__err(err, PV_ERR_NOTFOUND, "cannot open '%s': no such file or directory", name);
    } else if (!node && name[0] == 0) {
        rc = pv__err(err, PV_ERR_CANTOPEN, "cannot open a file without a name");
    } else if (!node) {
        node = memfs_node_new(fs, name, name_size, false, err);
        *out_node = node;
        *created = node != NULL;
        return node ? 0 : PV_ERR_NOMEM;
    }
    pv__alloc_free(fs->mem, name, name_size);
    *out_node = node;
    return rc;
}

static int memfs_open(pv_vfs *vfs, const char *path, uint32_t flags, pv_file **out_file,
                      int *out_created, pv_error *err) {
    memfs *fs = memfs_of(vfs);
    memfs_node *node = NULL;
    bool created = false;
    size_t name_size = 0;
    int rc = PV_ERR_NOMEM;
    *out_file = NULL;
    memfs_file *f = pv__alloc_zero(fs->mem, sizeof *f);
    if (!f) {
        return pv__err_nomem(err, sizeof *f);
    }
    pv__mutex_lock(&fs->mutex);
    char *name = memfs_clean(fs, path, &name_size, err);
    if (name) {
        rc = memfs_open_node(fs, name, name_size, flags, &node, &created, err);
    }
    if (rc == 0) {
        node->handles++;
        fs->handles++;
    }
    pv__mutex_unlock(&fs->mutex);
    if (rc) {
        pv__alloc_free(fs->mem, f, sizeof *f);
        return rc;
    }
    f->node = node;
    f->readonly = (flags & PV_VFS_OPEN_READONLY) != 0;
    if (out_created) {
        *out_created = created;
    }
    *out_file = (pv_file *)(void *)f;
    return 0;
}

static void memfs_lock_drop(memfs_file *f, uint32_t number) {
    memfs_node *node = f->node;
    if (f->lock[number] == PV_VFS_LOCK_SHARED) {
        node->shared[number]--;
    } else if (f->lock[number] == PV_VFS_LOCK_EXCLUSIVE) {
        node->exclusive[number] = false;
    }
    f->lock[number] = PV_VFS_UNLOCK;
}

static int memfs_close(pv_vfs *vfs, pv_file *file, pv_error *err) {
    (void)err;
    memfs *fs = memfs_of(vfs);
    memfs_file *f = memfs_file_of(file);
    if (!f) {
        return 0;
    }
    pv__mutex_lock(&fs->mutex);
    for (uint32_t i = 0; i < MEMFS_LOCKS; i++) {
        memfs_lock_drop(f, i);
    }
    memfs_node *node = f->node;
    fs->handles--;
    if (--node->handles == 0 && !node->name) {
        memfs_node_free(fs, node);
    }
    pv__mutex_unlock(&fs->mutex);
    pv__alloc_free(fs->mem, f, sizeof *f);
    return 0;
}

/* ---- data ------------------------------------------------------------------------------------ */

static const char *memfs_shown(const memfs_node *node) {
    return node->name ? node->name : "(removed)";
}

static int memfs_range_check(const memfs_node *node, uint64_t offset, uint64_t size,
                             pv_error *err) {
    if (size > INT64_MAX || offset > (uint64_t)INT64_MAX - size) {
        return pv__err(err, PV_ERR_MISUSE, "'%s': offset %llu is out of range", memfs_shown(node),
                       (unsigned long long)offset);
    }
    return 0;
}

static void memfs_read_one(const memfs_node *node, pv_io *io) {
    uint8_t *to = io->data;
    const uint64_t there = node->size > io->offset ? node->size - io->offset : 0;
    io->done = there < io->size ? (size_t)there : io->size;
    for (size_t at = 0; at < io->done;) {
        const uint64_t offset = io->offset + at;
        const size_t in = (size_t)(offset % MEMFS_BLOCK);
        const size_t part = PV_MIN(io->done - at, MEMFS_BLOCK - in);
        const size_t i = (size_t)(offset / MEMFS_BLOCK);
        if (i < node->block_cap && node->blocks[i]) {
            memcpy(to + at, node->blocks[i] + in, part);
        } else {
            memset(to + at, 0, part);
        }
        at += part;
    }
    if (io->size > io->done) {
        memset(to + io->done, 0, io->size - io->done);
    }
}

static int memfs_read(pv_vfs *vfs, pv_file *file, pv_io *reqs, size_t n, pv_error *err) {
    memfs *fs = memfs_of(vfs);
    const memfs_node *node = memfs_file_of(file)->node;
    int rc = 0;
    pv__mutex_lock(&fs->mutex);
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = memfs_range_check(node, reqs[i].offset, reqs[i].size, err);
        if (rc == 0) {
            memfs_read_one(node, &reqs[i]);
        }
    }
    pv__mutex_unlock(&fs->mutex);
    return rc;
}

static int memfs_write_one(memfs *fs, memfs_node *node, const pv_io *io, pv_error *err) {
    const uint8_t *from = io->data;
    PV_TRY(memfs_range_check(node, io->offset, io->size, err));
    for (size_t at = 0; at < io->size;) {
        const uint64_t offset = io->offset + at;
        const size_t in = (size_t)(offset % MEMFS_BLOCK);
        const size_t part = PV_MIN(io->size - at, MEMFS_BLOCK - in);
        uint8_t *block = memfs_block(fs, node, offset, err);
        if (!block) {
            return PV_ERR_NOMEM;
        }
        memcpy(block + in, from + at, part);
        at += part;
        node->size = PV_MAX(node->size, offset + part);
    }
    return 0;
}

static int memfs_writable(const memfs_file *f, pv_error *err) {
    return f->readonly
               ? pv__err(err, PV_ERR_READONLY, "'%s': opened for reading", memfs_shown(f->node))
               : 0;
}

static int memfs_write(pv_vfs *vfs, pv_file *file, const pv_io *reqs, size_t n, pv_error *err) {
    memfs *fs = memfs_of(vfs);
    memfs_file *f = memfs_file_of(file);
    pv__mutex_lock(&fs->mutex);
    int rc = memfs_writable(f, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = memfs_write_one(fs, f->node, &reqs[i], err);
    }
    pv__mutex_unlock(&fs->mutex);
    return rc;
}

static int memfs_sync(pv_vfs *vfs, pv_file *file, pv_error *err) {
    (void)vfs;
    (void)file;
    (void)err;
    return 0;
}

static int memfs_truncate(pv_vfs *vfs, pv_file *file, uint64_t size, pv_error *err) {
    memfs *fs = memfs_of(vfs);
    memfs_file *f = memfs_file_of(file);
    pv__mutex_lock(&fs->mutex);
    int rc = memfs_writable(f, err);
    if (rc == 0) {
        rc = memfs_range_check(f->node, 0, size, err);
    }
    if (rc == 0) {
        memfs_cut(fs, f->node, PV_MIN(size, f->node->size));
        f->node->size = size;
    }
    pv__mutex_unlock(&fs->mutex);
    return rc;
}

static int memfs_allocate(pv_vfs *vfs, pv_file *file, uint64_t offset, uint64_t size,
                          pv_error *err) {
    memfs *fs = memfs_of(vfs);
    memfs_file *f = memfs_file_of(file);
    pv__mutex_lock(&fs->mutex);
    int rc = memfs_writable(f, err);
    if (rc == 0) {
        rc = memfs_range_check(f->node, offset, size, err);
    }
    if (rc == 0 && size > 0) {
        for (uint64_t at = offset - offset % MEMFS_BLOCK; at < offset + size; at += MEMFS_BLOCK) {
            if (!memfs_block(fs, f->node, at, err)) {
                rc = PV_ERR_NOMEM;
                break;
            }
        }
        if (rc == 0) {
            f->node->size = PV_MAX(f->node->size, offset + size);
        }
    }
    pv__mutex_unlock(&fs->mutex);
    return rc;
}

static int memfs_size(pv_vfs *vfs, pv_file *file, uint64_t *out_size, pv_error *err) {
    (void)err;
    memfs *fs = memfs_of(vfs);
    pv__mutex_lock(&fs->mutex);
    *out_size = memfs_file_of(file)->node->size;
    pv__mutex_unlock(&fs->mutex);
    return 0;
}

/* ---- names and folders ----------------------------------------------------------------------- */

/* Is a folder that has entries? */
static bool memfs_has_entries(const memfs *fs, const char *dir) {
    for (const memfs_node *node = fs->nodes; node; node = node->next) {
        if (memfs_is_inside(node->name, dir)) {
            return true;
        }
    }
    return false;
}

static int memfs_remove_named(memfs *fs, const char *name, bool want_dir, pv_error *err) {
    memfs_node *node = memfs_find(fs, name);
    if (!node) {
        return pv__err(err, PV_ERR_NOTFOUND, "removing '%s': no such file or directory", name);
    }
    if (node->is_dir != want_dir) {
        return pv__err(err, PV_ERR_IO, "removing '%s': it is %s directory", name,
                       want_dir ? "not a" : "a");
    }
    if (want_dir && memfs_has_entries(fs, name)) {
        return pv__err(err, PV_ERR_EXISTS, "removing '%s': directory not empty", name);
    }
    memfs_node_remove(fs, node);
    return 0;
}

static int memfs_remove(pv_vfs *vfs, const char *path, bool want_dir, pv_error *err) {
    memfs *fs = memfs_of(vfs);
    size_t size = 0;
    int rc = PV_ERR_NOMEM;
    pv__mutex_lock(&fs->mutex);
    char *name = memfs_clean(fs, path, &size, err);
    if (name) {
        rc = memfs_remove_named(fs, name, want_dir, err);
        pv__alloc_free(fs->mem, name, size);
    }
    pv__mutex_unlock(&fs->mutex);
    return rc;
}

static int memfs_unlink(pv_vfs *vfs, const char *path, pv_error *err) {
    return memfs_remove(vfs, path, false, err);
}

static int memfs_rmdir(pv_vfs *vfs, const char *path, pv_error *err) {
    return memfs_remove(vfs, path, true, err);
}

/* Takes `to` over when it succeeds. Folders are not renamed: nothing in the library does. */
static int memfs_rename_named(memfs *fs, const char *from, char *to, size_t to_size,
                              pv_error *err) {
    memfs_node *node = memfs_find(fs, from);
    memfs_node *old = memfs_find(fs, to);
    if (!node || !memfs_parent_is_there(fs, to)) {
        return pv__err(err, PV_ERR_NOTFOUND, "renaming '%s': no such file or directory", from);
    }
    if (node->is_dir || (old && old->is_dir) || to[0] == 0) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "renaming '%s': directories cannot be renamed",
                       from);
    }
    if (old == node) {
        pv__alloc_free(fs->mem, to, to_size);
        return 0;
    }
    if (old) {
        memfs_node_remove(fs, old);
    }
    pv__alloc_free(fs->mem, node->name, node->name_size);
    node->name = to;
    node->name_size = to_size;
    return 0;
}

static int memfs_rename(pv_vfs *vfs, const char *from, const char *to, pv_error *err) {
    memfs *fs = memfs_of(vfs);
    size_t from_size = 0;
    size_t to_size = 0;
    int rc = PV_ERR_NOMEM;
    pv__mutex_lock(&fs->mutex);
    char *old_name = memfs_clean(fs, from, &from_size, err);
    char *new_name = old_name ? memfs_clean(fs, to, &to_size, err) : NULL;
    if (new_name) {
        rc = memfs_rename_named(fs, old_name, new_name, to_size, err);
        if (rc) {
            pv__alloc_free(fs->mem, new_name, to_size);
        }
    }
    pv__alloc_free(fs->mem, old_name, from_size);
    pv__mutex_unlock(&fs->mutex);
    return rc;
}

static int memfs_mkdir_named(memfs *fs, char *name, size_t size, pv_error *err) {
    const memfs_node *node = memfs_find(fs, name);
    int rc = 0;
    if (node && !node->is_dir) {
        rc = pv__err(err, PV_ERR_EXISTS, "making directory '%s': exists already", name);
    } else if (!node && name[0] != 0) {
        if (memfs_parent_is_there(fs, name)) {
            return memfs_node_new(fs, name, size, true, err) ? 0 : PV_ERR_NOMEM;
        }
        rc =
            pv__err(err, PV_ERR_NOTFOUND, "making directory '%s': no such file or directory", name);
    }
    pv__alloc_free(fs->mem, name, size);
    return rc;
}

static int memfs_mkdir(pv_vfs *vfs, const char *path, pv_error *err) {
    memfs *fs = memfs_of(vfs);
    size_t size = 0;
    int rc = PV_ERR_NOMEM;
    pv__mutex_lock(&fs->mutex);
    char *name = memfs_clean(fs, path, &size, err);
    if (name) {
        rc = memfs_mkdir_named(fs, name, size, err);
    }
    pv__mutex_unlock(&fs->mutex);
    return rc;
}

static int memfs_dir_check(const memfs *fs, const char *name, pv_error *err) {
    const memfs_node *node = memfs_find(fs, name);
    if (name[0] != 0 && !node) {
        return pv__err(err, PV_ERR_NOTFOUND, "opening directory '%s': no such file or directory",
                       name);
    }
    if (node && !node->is_dir) {
        return pv__err(err, PV_ERR_IO, "opening directory '%s': not a directory", name);
    }
    return 0;
}

static int memfs_sync_dir(pv_vfs *vfs, const char *path, pv_error *err) {
    memfs *fs = memfs_of(vfs);
    size_t size = 0;
    int rc = PV_ERR_NOMEM;
    pv__mutex_lock(&fs->mutex);
    char *name = memfs_clean(fs, path, &size, err);
    if (name) {
        rc = memfs_dir_check(fs, name, err);
        pv__alloc_free(fs->mem, name, size);
    }
    pv__mutex_unlock(&fs->mutex);
    return rc;
}

/* The names inside `dir`, each with its NUL, so that fn runs without the mutex. */
static int memfs_names(const memfs *fs, const char *dir, char **out, size_t *out_size,
                       pv_error *err) {
    size_t size = 0;
    PV_TRY(memfs_dir_check(fs, dir, err));
    for (const memfs_node *node = fs->nodes; node; node = node->next) {
        const char *entry = memfs_entry(node->name, dir);
        size += entry ? strlen(entry) + 1 : 0;
    }
    char *names = pv__alloc(fs->mem, size);
    if (!names) {
        return pv__err_nomem(err, size);
    }
    *out = names;
    *out_size = size;
    for (const memfs_node *node = fs->nodes; node; node = node->next) {
        const char *entry = memfs_entry(node->name, dir);
        if (entry) {
            memcpy(names, entry, strlen(entry) + 1);
            names += strlen(entry) + 1;
        }
    }
    return 0;
}

static int memfs_list(pv_vfs *vfs, const char *path, int (*fn)(void *arg, const char *name),
                      void *arg, pv_error *err) {
    memfs *fs = memfs_of(vfs);
    char *names = NULL;
    size_t size = 0;
    size_t dir_size = 0;
    int rc = PV_ERR_NOMEM;
    pv__mutex_lock(&fs->mutex);
    char *dir = memfs_clean(fs, path, &dir_size, err);
    if (dir) {
        rc = memfs_names(fs, dir, &names, &size, err);
        pv__alloc_free(fs->mem, dir, dir_size);
    }
    pv__mutex_unlock(&fs->mutex);
    for (size_t at = 0; rc == 0 && at < size; at += strlen(names + at) + 1) {
        rc = fn(arg, names + at);
    }
    pv__alloc_free(fs->mem, names, size);
    return rc;
}

/* ---- locks ----------------------------------------------------------------------------------- */

static int memfs_lock_locked(memfs_file *f, uint32_t number, int mode, pv_error *err) {
    memfs_node *node = f->node;
    const uint8_t held = f->lock[number];
    const bool others_share = node->shared[number] > (held == PV_VFS_LOCK_SHARED ? 1u : 0u);
    const bool others_own = node->exclusive[number] && held != PV_VFS_LOCK_EXCLUSIVE;
    if (mode == PV_VFS_LOCK_EXCLUSIVE && f->readonly) {
        return memfs_writable(f, err);
    }
    if ((mode != PV_VFS_UNLOCK && others_own) || (mode == PV_VFS_LOCK_EXCLUSIVE && others_share)) {
        return pv__err(err, PV_ERR_BUSY, "'%s': lock %u is held by another handle (%s wanted)",
                       memfs_shown(node), (unsigned)number,
                       mode == PV_VFS_LOCK_SHARED ? "shared" : "exclusive");
    }
    memfs_lock_drop(f, number);
    f->lock[number] = (uint8_t)mode;
    if (mode == PV_VFS_LOCK_SHARED) {
        node->shared[number]++;
    } else if (mode == PV_VFS_LOCK_EXCLUSIVE) {
        node->exclusive[number] = true;
    }
    return 0;
}

static int memfs_lock(pv_vfs *vfs, pv_file *file, uint32_t number, int mode, pv_error *err) {
    memfs *fs = memfs_of(vfs);
    memfs_file *f = memfs_file_of(file);
    if (number >= MEMFS_LOCKS || mode < PV_VFS_UNLOCK || mode > PV_VFS_LOCK_EXCLUSIVE) {
        return pv__err(err, PV_ERR_MISUSE, "no lock %u with mode %d", (unsigned)number, mode);
    }
    pv__mutex_lock(&fs->mutex);
    const int rc = memfs_lock_locked(f, number, mode, err);
    pv__mutex_unlock(&fs->mutex);
    return rc;
}

/* ---- the object ------------------------------------------------------------------------------ */

int pv__vfs_mem_new(pv__mem *mem, pv_vfs **out_vfs, pv_error *err) {
    *out_vfs = NULL;
    memfs *fs = pv__alloc_zero(mem, sizeof *fs);
    if (!fs) {
        return pv__err_nomem(err, sizeof *fs);
    }
    const int rc = pv__mutex_init(&fs->mutex, err);
    if (rc) {
        pv__alloc_free(mem, fs, sizeof *fs);
        return rc;
    }
    fs->mem = mem;
    fs->vfs = (pv_vfs){
        .struct_size = sizeof(pv_vfs),
        .ctx = fs,
        .open = memfs_open,
        .close = memfs_close,
        .read = memfs_read,
        .write = memfs_write,
        .sync = memfs_sync,
        .truncate = memfs_truncate,
        .allocate = memfs_allocate,
        .size = memfs_size,
        .unlink = memfs_unlink,
        .rename = memfs_rename,
        .mkdir = memfs_mkdir,
        .rmdir = memfs_rmdir,
        .sync_dir = memfs_sync_dir,
        .list = memfs_list,
        .lock = memfs_lock,
        .probe = NULL,
    };
    *out_vfs = &fs->vfs;
    return 0;
}

void pv__vfs_mem_free(pv_vfs *vfs) {
    if (!vfs) {
        return;
    }
    memfs *fs = memfs_of(vfs);
    PV_DEBUG_ASSERT(fs->handles == 0);
    while (fs->nodes) {
        memfs_node_remove(fs, fs->nodes);
    }
    pv__mutex_done(&fs->mutex);
    pv__alloc_free(fs->mem, fs, sizeof *fs);
}

#undef MEMFS_BLOCK
#undef MEMFS_LOCKS
