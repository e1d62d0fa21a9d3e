/* SPDX-License-Identifier: Apache-2.0 */
/* sim_vfs.c - the disk as the program sees it: the functions behind pv_vfs. The rules for names,
 * sizes and locks are those of os/vfs_mem.c; here every change is logged besides. A call that is
 * refused or made to fail changes nothing and is not logged, but for a failed sync and the half of
 * a short write. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sim/sim_internal.h"

#define SIM_FILE_MAX ((uint64_t)1 << 40)

/* The address we return to: the call site. Only directly inside a function of the vfs. */
#define SIM_CALLER() __builtin_extract_return_addr(__builtin_return_address(0))

static sim *sim_of(pv_vfs *vfs) { return (sim *)vfs->ctx; }

static sim_file *sim_file_of(pv_file *file) { return (sim_file *)(void *)file; }

/* Count the call and inject a fault. The mutex is held. */
static int sim_check(sim *s, sim_kind kind, sim_class cls, const char *path, const void *caller,
                     sim_site **site, pv_error *err) {
    const sim_fault_kind what = sim_enter(s, kind, cls, path, caller, site);
    return what ? sim_fault_error(what, kind, path, err) : 0;
}

static void sim_log_name(sim *s, sim_kind kind, sim_class cls, uint32_t node, char *path, char *to,
                         sim_site *site) {
    const sim_op op = {kind, cls, node, 0, 0, NULL, path, to, site};
    sim_log_add(s, &op, NULL);
}

static void sim_log_data(sim *s, sim_kind kind, sim_file *f, uint64_t offset, uint64_t size,
                         const void *data, sim_site *site) {
    const sim_op op = {kind, f->cls, f->node, offset, size, NULL, f->path, NULL, site};
    sim_log_add(s, &op, data);
}

static int sim_clean(const char *path, char clean[SIM_PATH_MAX], pv_error *err) {
    if (!sim_path_clean(path, clean)) {
        return pv__err(err, PV_ERR_CANTOPEN, "sim: path too long: '%.100s...'", path);
    }
    return 0;
}

static bool sim_parent_is_there(const sim *s, const char *clean) {
    char parent[SIM_PATH_MAX];
    sim_path_parent(clean, parent);
    const sim_entry *e = sim_names_find(&s->names, parent);
    return parent[0] == 0 || (e && e->is_dir);
}

static int sim_missing(const char *what, const char *path, pv_error *err) {
    return pv__err_sys(err, PV_ERR_NOTFOUND, ENOENT, "sim: %s '%s'", what, path);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static uint32_t sim_node_new(sim *s, const char *clean, bool is_dir) {
    s->nodes = sim_grow(s->nodes, &s->node_cap, s->node_count + 1, sizeof *s->nodes);
    memset(&s->nodes[s->node_count], 0, sizeof *s->nodes);
    s->nodes[s->node_count].named = true;
    sim_names_set(&s->names, clean, (uint32_t)s->node_count, is_dir);
    return (uint32_t)s->node_count++;
}

static void sim_node_forget(sim *s, uint32_t node) {
    sim_node *n = &s->nodes[node];
    if (!n->named && n->handles == 0) {
        sim_content_done(&n->content); /* the replay has its own copy */
    }
}

/* ---- open and close -------------------------------------------------------------------------- */

static int sim_open_locked(sim *s, char *clean, uint32_t flags, sim_class cls, sim_site *site,
                           uint32_t *node, bool *created, pv_error *err) {
    const sim_entry *e = sim_names_find(&s->names, clean);
    const bool create = (flags & PV_VFS_OPEN_CREATE) != 0;
    if (e && e->is_dir) {
        return pv__err(err, PV_ERR_CANTOPEN, "sim: '%s' is not a regular file", clean);
    }
    if (e && create && (flags & PV_VFS_OPEN_EXCLUSIVE)) {
        return pv__err_sys(err, PV_ERR_EXISTS, EEXIST, "sim: creating '%s'", clean);
    }
    if (e) {
        *node = e->node;
        return 0;
    }
    if (!create || clean[0] == 0 || !sim_parent_is_there(s, clean)) {
        return sim_missing("opening", clean, err);
    }
    *node = sim_node_new(s, clean, false);
    *created = true;
    sim_log_name(s, SIM_CREATE, cls, *node, clean, NULL, site);
    return 0;
}

static int sim_do_open(pv_vfs *vfs, const char *path, uint32_t flags, pv_file **out_file,
                       int *out_created, pv_error *err) {
    sim *s = sim_of(vfs);
    char clean[SIM_PATH_MAX];
    uint32_t node = 0;
    bool created = false;
    sim_site *site = NULL;
    *out_file = NULL;
    PV_TRY(sim_clean(path, clean, err));
    const sim_class cls = sim_class_of(clean);
    sim_lock(s);
    int rc = sim_check(s, SIM_OPEN, cls, clean, SIM_CALLER(), &site, err);
    if (rc == 0) {
        rc = sim_open_locked(s, clean, flags, cls, site, &node, &created, err);
    }
    if (rc == 0) {
        sim_file *f = sim_alloc(sizeof *f);
        f->node = node;
        f->readonly = (flags & PV_VFS_OPEN_READONLY) != 0;
        f->cls = cls;
        memcpy(f->path, clean, sizeof clean);
        f->next = s->files;
        if (f->next) {
            f->next->prev = f;
        }
        s->files = f;
        s->nodes[node].handles++;
        *out_file = (pv_file *)(void *)f;
        if (out_created) {
            *out_created = created;
        }
    }
    sim_unlock(s);
    return rc;
}

static void sim_lock_drop(sim *s, sim_file *f, uint32_t number) {
    sim_node *n = &s->nodes[f->node];
    if (f->lock[number] == PV_VFS_LOCK_SHARED) {
        n->shared[number]--;
    } else if (f->lock[number] == PV_VFS_LOCK_EXCLUSIVE) {
        n->exclusive[number] = false;
    }
    f->lock[number] = PV_VFS_UNLOCK;
}

static void sim_file_free(sim *s, sim_file *f) {
    for (uint32_t i = 0; i < SIM_LOCKS; i++) {
        sim_lock_drop(s, f, i);
    }
    if (f->prev) {
        f->prev->next = f->next;
    } else {
        s->files = f->next;
    }
    if (f->next) {
        f->next->prev = f->prev;
    }
    s->nodes[f->node].handles--;
    sim_node_forget(s, f->node);
    free(f);
}

static int sim_do_close(pv_vfs *vfs, pv_file *file, pv_error *err) {
    sim *s = sim_of(vfs);
    sim_file *f = sim_file_of(file);
    (void)err;
    if (!f) {
        return 0;
    }
    sim_lock(s);
    (void)sim_enter(s, SIM_CLOSE, f->cls, f->path, SIM_CALLER(), NULL);
    sim_file_free(s, f);
    sim_unlock(s);
    return 0;
}

/* ---- data ------------------------------------------------------------------------------------ */

static int sim_range_check(const sim_file *f, uint64_t offset, uint64_t size, pv_error *err) {
    if (size > SIM_FILE_MAX || offset > SIM_FILE_MAX - size) {
        return pv__err(err, PV_ERR_MISUSE, "sim: '%s': offset %llu is out of range", f->path,
                       (unsigned long long)offset);
    }
    return 0;
}

static int sim_do_read(pv_vfs *vfs, pv_file *file, pv_io *reqs, size_t n, pv_error *err) {
    sim *s = sim_of(vfs);
    sim_file *f = sim_file_of(file);
    sim_lock(s);
    const sim_fault_kind what = sim_enter(s, SIM_READ, f->cls, f->path, SIM_CALLER(), NULL);
    int rc = what && what != SIM_FAULT_SHORT ? sim_fault_error(what, SIM_READ, f->path, err) : 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = sim_range_check(f, reqs[i].offset, reqs[i].size, err);
        if (rc == 0) {
            reqs[i].done = sim_content_read(&s->nodes[f->node].content, reqs[i].offset,
                                            reqs[i].data, reqs[i].size);
        }
    }
    if (rc == 0 && what == SIM_FAULT_SHORT && n > 0) {
        pv_io *last = &reqs[n - 1];
        last->done /= 2;
        memset((uint8_t *)last->data + last->done, 0, last->size - last->done);
    }
    sim_unlock(s);
    return rc;
}

static int sim_writable(const sim_file *f, pv_error *err) {
    return f->readonly ? pv__err(err, PV_ERR_READONLY, "sim: '%s': opened for reading", f->path)
                       : 0;
}

static void sim_write_some(sim *s, sim_file *f, const pv_io *io, size_t size, sim_site *site) {
    if (size > 0) {
        sim_content_write(&s->nodes[f->node].content, io->offset, io->data, size);
        sim_log_data(s, SIM_WRITE, f, io->offset, size, io->data, site);
    }
}

static int sim_do_write(pv_vfs *vfs, pv_file *file, const pv_io *reqs, size_t n, pv_error *err) {
    sim *s = sim_of(vfs);
    sim_file *f = sim_file_of(file);
    sim_site *site = NULL;
    size_t total = 0;
    sim_lock(s);
    const sim_fault_kind what = sim_enter(s, SIM_WRITE, f->cls, f->path, SIM_CALLER(), &site);
    int rc = sim_writable(f, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = sim_range_check(f, reqs[i].offset, reqs[i].size, err);
        total += reqs[i].size;
    }
    if (rc == 0 && what) {
        rc = sim_fault_error(what, SIM_WRITE, f->path, err);
        size_t left = what == SIM_FAULT_SHORT ? total / 2 : 0;
        for (size_t i = 0; i < n && left > 0; i++) {
            const size_t part = PV_MIN(left, reqs[i].size);
            sim_write_some(s, f, &reqs[i], part, site);
            left -= part;
        }
    } else if (rc == 0) {
        for (size_t i = 0; i < n; i++) {
            sim_write_some(s, f, &reqs[i], reqs[i].size, site);
        }
    }
    sim_unlock(s);
    return rc;
}

static int sim_do_sync(pv_vfs *vfs, pv_file *file, pv_error *err) {
    sim *s = sim_of(vfs);
    sim_file *f = sim_file_of(file);
    sim_site *site = NULL;
    sim_lock(s);
    const int rc = sim_check(s, SIM_SYNC, f->cls, f->path, SIM_CALLER(), &site, err);
    sim_log_data(s, rc ? SIM_SYNC_FAILED : SIM_SYNC, f, 0, 0, NULL, site);
    sim_unlock(s);
    return rc;
}

static int sim_do_truncate(pv_vfs *vfs, pv_file *file, uint64_t size, pv_error *err) {
    sim *s = sim_of(vfs);
    sim_file *f = sim_file_of(file);
    sim_site *site = NULL;
    sim_lock(s);
    int rc = sim_check(s, SIM_TRUNCATE, f->cls, f->path, SIM_CALLER(), &site, err);
    rc = rc ? rc : sim_writable(f, err);
    rc = rc ? rc : sim_range_check(f, 0, size, err);
    if (rc == 0) {
        sim_content_resize(&s->nodes[f->node].content, size);
        sim_log_data(s, SIM_TRUNCATE, f, 0, size, NULL, site);
    }
    sim_unlock(s);
    return rc;
}

static int sim_do_allocate(pv_vfs *vfs, pv_file *file, uint64_t offset, uint64_t size,
                           pv_error *err) {
    sim *s = sim_of(vfs);
    sim_file *f = sim_file_of(file);
    sim_site *site = NULL;
    sim_lock(s);
    int rc = sim_check(s, SIM_ALLOCATE, f->cls, f->path, SIM_CALLER(), &site, err);
    rc = rc ? rc : sim_writable(f, err);
    rc = rc ? rc : sim_range_check(f, offset, size, err);
    if (rc == 0 && size > 0) {
        sim_content *c = &s->nodes[f->node].content;
        sim_content_resize(c, PV_MAX(c->size, offset + size));
        sim_log_data(s, SIM_ALLOCATE, f, offset, size, NULL, site);
    }
    sim_unlock(s);
    return rc;
}

static int sim_do_size(pv_vfs *vfs, pv_file *file, uint64_t *out_size, pv_error *err) {
    sim *s = sim_of(vfs);
    sim_file *f = sim_file_of(file);
    sim_lock(s);
    const int rc = sim_check(s, SIM_SIZE, f->cls, f->path, SIM_CALLER(), NULL, err);
    if (rc == 0) {
        *out_size = s->nodes[f->node].content.size;
    }
    sim_unlock(s);
    return rc;
}

/* ---- names ----------------------------------------------------------------------------------- */

static bool sim_has_entries(const sim *s, const char *dir) {
    const size_t len = strlen(dir);
    for (size_t i = 0; i < s->names.count; i++) {
        const char *path = s->names.at[i].path;
        if (strncmp(path, dir, len) == 0 && path[len] == '/') {
            return true;
        }
    }
    return false;
}

static int sim_remove_locked(sim *s, sim_kind kind, sim_class cls, char *clean, sim_site *site,
                             pv_error *err) {
    const bool want_dir = kind == SIM_RMDIR;
    const sim_entry *e = sim_names_find(&s->names, clean);
    if (!e) {
        return sim_missing("removing", clean, err);
    }
    if (e->is_dir != want_dir) {
        return pv__err(err, PV_ERR_IO, "sim: removing '%s': it is %s directory", clean,
                       want_dir ? "not a" : "a");
    }
    if (want_dir && sim_has_entries(s, clean)) {
        return pv__err_sys(err, PV_ERR_EXISTS, ENOTEMPTY, "sim: removing '%s'", clean);
    }
    const uint32_t node = e->node;
    sim_log_name(s, kind, cls, node, clean, NULL, site);
    sim_names_del(&s->names, clean);
    s->nodes[node].named = false;
    sim_node_forget(s, node);
    return 0;
}

static int sim_do_unlink(pv_vfs *vfs, const char *path, pv_error *err) {
    sim *s = sim_of(vfs);
    char clean[SIM_PATH_MAX];
    sim_site *site = NULL;
    PV_TRY(sim_clean(path, clean, err));
    const sim_class cls = sim_class_of(clean);
    sim_lock(s);
    int rc = sim_check(s, SIM_UNLINK, cls, clean, SIM_CALLER(), &site, err);
    rc = rc ? rc : sim_remove_locked(s, SIM_UNLINK, cls, clean, site, err);
    sim_unlock(s);
    return rc;
}

static int sim_do_rmdir(pv_vfs *vfs, const char *path, pv_error *err) {
    sim *s = sim_of(vfs);
    char clean[SIM_PATH_MAX];
    sim_site *site = NULL;
    PV_TRY(sim_clean(path, clean, err));
    sim_lock(s);
    int rc = sim_check(s, SIM_RMDIR, SIM_CLASS_DIR, clean, SIM_CALLER(), &site, err);
    rc = rc ? rc : sim_remove_locked(s, SIM_RMDIR, SIM_CLASS_DIR, clean, site, err);
    sim_unlock(s);
    return rc;
}

static int sim_rename_locked(sim *s, sim_class cls, char *from, char *to, sim_site *site,
                             pv_error *err) {
    const sim_entry *e = sim_names_find(&s->names, from);
    const sim_entry *old = sim_names_find(&s->names, to);
    if (!e || !sim_parent_is_there(s, to)) {
        return sim_missing("renaming", from, err);
    }
    if (e->is_dir || (old && old->is_dir) || to[0] == 0) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "sim: renaming '%s': directories stay", from);
    }
    if (e == old) {
        return 0;
    }
    const uint32_t node = e->node;
    const uint32_t old_node = old ? old->node : node;
    const sim_op op = {SIM_RENAME, cls, node, 0, 0, NULL, from, to, site};
    sim_log_add(s, &op, NULL);
    sim_names_apply(&s->names, &op);
    if (old_node != node) {
        s->nodes[old_node].named = false;
        sim_node_forget(s, old_node);
    }
    return 0;
}

static int sim_do_rename(pv_vfs *vfs, const char *from, const char *to, pv_error *err) {
    sim *s = sim_of(vfs);
    char clean_from[SIM_PATH_MAX];
    char clean_to[SIM_PATH_MAX];
    sim_site *site = NULL;
    PV_TRY(sim_clean(from, clean_from, err));
    PV_TRY(sim_clean(to, clean_to, err));
    const sim_class cls = sim_class_of(clean_to);
    sim_lock(s);
    int rc = sim_check(s, SIM_RENAME, cls, clean_from, SIM_CALLER(), &site, err);
    rc = rc ? rc : sim_rename_locked(s, cls, clean_from, clean_to, site, err);
    sim_unlock(s);
    return rc;
}

static int sim_do_mkdir(pv_vfs *vfs, const char *path, pv_error *err) {
    sim *s = sim_of(vfs);
    char clean[SIM_PATH_MAX];
    sim_site *site = NULL;
    PV_TRY(sim_clean(path, clean, err));
    sim_lock(s);
    int rc = sim_check(s, SIM_MKDIR, SIM_CLASS_DIR, clean, SIM_CALLER(), &site, err);
    if (rc == 0) {
        const sim_entry *e = sim_names_find(&s->names, clean);
        if (e && !e->is_dir) {
            rc = pv__err_sys(err, PV_ERR_EXISTS, EEXIST, "sim: making directory '%s'", clean);
        } else if (!e && clean[0] != 0 && !sim_parent_is_there(s, clean)) {
            rc = sim_missing("making directory", clean, err);
        } else if (!e && clean[0] != 0) {
            const uint32_t node = sim_node_new(s, clean, true);
            sim_log_name(s, SIM_MKDIR, SIM_CLASS_DIR, node, clean, NULL, site);
        }
    }
    sim_unlock(s);
    return rc;
}

static int sim_dir_check(const sim *s, const char *clean, pv_error *err) {
    const sim_entry *e = sim_names_find(&s->names, clean);
    if (clean[0] != 0 && !e) {
        return sim_missing("opening directory", clean, err);
    }
    if (e && !e->is_dir) {
        return pv__err_sys(err, PV_ERR_IO, ENOTDIR, "sim: opening directory '%s'", clean);
    }
    return 0;
}

static int sim_do_sync_dir(pv_vfs *vfs, const char *path, pv_error *err) {
    sim *s = sim_of(vfs);
    char clean[SIM_PATH_MAX];
    sim_site *site = NULL;
    PV_TRY(sim_clean(path, clean, err));
    sim_lock(s);
    int rc = sim_check(s, SIM_SYNC_DIR, SIM_CLASS_DIR, clean, SIM_CALLER(), &site, err);
    rc = rc ? rc : sim_dir_check(s, clean, err);
    if (rc == 0) {
        sim_log_name(s, SIM_SYNC_DIR, SIM_CLASS_DIR, 0, clean, NULL, site);
    }
    sim_unlock(s);
    return rc;
}

static int sim_do_list(pv_vfs *vfs, const char *path, int (*fn)(void *arg, const char *name),
                       void *arg, pv_error *err) {
    sim *s = sim_of(vfs);
    char clean[SIM_PATH_MAX];
    char parent[SIM_PATH_MAX];
    sim_names copy;
    memset(&copy, 0, sizeof copy);
    PV_TRY(sim_clean(path, clean, err));
    sim_lock(s);
    int rc = sim_check(s, SIM_LIST, SIM_CLASS_DIR, clean, SIM_CALLER(), NULL, err);
    rc = rc ? rc : sim_dir_check(s, clean, err);
    if (rc == 0) {
        sim_names_copy(&copy, &s->names); /* fn runs without the mutex */
    }
    sim_unlock(s);
    for (size_t i = 0; i < copy.count && rc == 0; i++) {
        const char *slash = strrchr(copy.at[i].path, '/');
        sim_path_parent(copy.at[i].path, parent);
        if (strcmp(parent, clean) == 0) {
            rc = fn(arg, slash ? slash + 1 : copy.at[i].path);
        }
    }
    sim_names_done(&copy);
    return rc;
}

/* ---- locks ----------------------------------------------------------------------------------- */

static int sim_lock_locked(sim *s, sim_file *f, uint32_t number, int mode, pv_error *err) {
    sim_node *n = &s->nodes[f->node];
    const uint8_t held = f->lock[number];
    const bool others_share = n->shared[number] > (held == PV_VFS_LOCK_SHARED ? 1u : 0u);
    const bool others_own = n->exclusive[number] && held != PV_VFS_LOCK_EXCLUSIVE;
    if (mode == PV_VFS_LOCK_EXCLUSIVE && f->readonly) {
        return sim_writable(f, err);
    }
    if ((mode != PV_VFS_UNLOCK && others_own) || (mode == PV_VFS_LOCK_EXCLUSIVE && others_share)) {
        return pv__err(err, PV_ERR_BUSY, "sim: '%s': lock %u is held by another handle", f->path,
                       (unsigned)number);
    }
    sim_lock_drop(s, f, number);
    f->lock[number] = (uint8_t)mode;
    if (mode == PV_VFS_LOCK_SHARED) {
        n->shared[number]++;
    } else if (mode == PV_VFS_LOCK_EXCLUSIVE) {
        n->exclusive[number] = true;
    }
    return 0;
}

static int sim_do_lock(pv_vfs *vfs, pv_file *file, uint32_t number, int mode, pv_error *err) {
    sim *s = sim_of(vfs);
    sim_file *f = sim_file_of(file);
    if (number >= SIM_LOCKS || mode < PV_VFS_UNLOCK || mode > PV_VFS_LOCK_EXCLUSIVE) {
        return pv__err(err, PV_ERR_MISUSE, "sim: no lock %u with mode %d", (unsigned)number, mode);
    }
    sim_lock(s);
    int rc = 0;
    if (mode != PV_VFS_UNLOCK) { /* giving back never fails, as in the kernel */
        rc = sim_check(s, SIM_LOCK, f->cls, f->path, SIM_CALLER(), NULL, err);
    }
    rc = rc ? rc : sim_lock_locked(s, f, number, mode, err);
    sim_unlock(s);
    return rc;
}

/* ---- the object ------------------------------------------------------------------------------ */

sim *sim_new(uint64_t seed) {
    sim *s = sim_alloc(sizeof *s);
    (void)pthread_mutex_init(&s->mutex, NULL);
    s->seed = seed;
    s->log_on = true;
    s->vfs = (pv_vfs){
        .struct_size = sizeof(pv_vfs),
        .ctx = s,
        .open = sim_do_open,
        .close = sim_do_close,
        .read = sim_do_read,
        .write = sim_do_write,
        .sync = sim_do_sync,
        .truncate = sim_do_truncate,
        .allocate = sim_do_allocate,
        .size = sim_do_size,
        .unlink = sim_do_unlink,
        .rename = sim_do_rename,
        .mkdir = sim_do_mkdir,
        .rmdir = sim_do_rmdir,
        .sync_dir = sim_do_sync_dir,
        .list = sim_do_list,
        .lock = sim_do_lock,
        .probe = NULL,
    };
    return s;
}

void sim_free(sim *s) {
    if (!s) {
        return;
    }
    while (s->files) {
        sim_file_free(s, s->files);
    }
    sim_replay_done(&s->replay);
    sim_log_done(s);
    for (size_t i = 0; i < s->node_count; i++) {
        sim_content_done(&s->nodes[i].content);
    }
    for (size_t i = 0; i < s->base_count; i++) {
        sim_content_done(&s->base[i]);
    }
    free(s->nodes);
    free(s->base);
    sim_names_done(&s->names);
    sim_names_done(&s->base_names);
    (void)pthread_mutex_destroy(&s->mutex);
    free(s);
}

pv_vfs *sim_vfs(sim *s) { return &s->vfs; }

static const sim_entry *sim_find_file(const sim *s, const char *path, char clean[SIM_PATH_MAX]) {
    const sim_entry *e = sim_path_clean(path, clean) ? sim_names_find(&s->names, clean) : NULL;
    return e && !e->is_dir ? e : NULL;
}

bool sim_file_size(sim *s, const char *path, uint64_t *out_size) {
    char clean[SIM_PATH_MAX];
    sim_lock(s);
    const sim_entry *e = sim_find_file(s, path, clean);
    if (e) {
        *out_size = s->nodes[e->node].content.size;
    }
    sim_unlock(s);
    return e != NULL;
}

bool sim_file_peek(sim *s, const char *path, uint64_t offset, void *out, size_t n) {
    char clean[SIM_PATH_MAX];
    sim_lock(s);
    const sim_entry *e = sim_find_file(s, path, clean);
    const bool ok = e && sim_content_read(&s->nodes[e->node].content, offset, out, n) == n;
    sim_unlock(s);
    return ok;
}

bool sim_file_poke(sim *s, const char *path, uint64_t offset, const void *data, size_t n) {
    char clean[SIM_PATH_MAX];
    sim_lock(s);
    const sim_entry *e = sim_find_file(s, path, clean);
    if (e && n > 0) {
        const sim_op op = {SIM_POKE, sim_class_of(clean), e->node, offset, n, NULL, clean, NULL,
                           NULL};
        sim_content_write(&s->nodes[e->node].content, offset, data, n);
        sim_log_add(s, &op, data);
    }
    sim_unlock(s);
    return e != NULL;
}

void sim_file_each(sim *s, void (*fn)(void *arg, const char *path, uint64_t size), void *arg) {
    sim_names copy;
    sim_lock(s);
    sim_names_copy(&copy, &s->names);
    sim_unlock(s);
    for (size_t i = 0; i < copy.count; i++) {
        uint64_t size = 0;
        if (!copy.at[i].is_dir && sim_file_size(s, copy.at[i].path, &size)) {
            fn(arg, copy.at[i].path, size);
        }
    }
    sim_names_done(&copy);
}

#undef SIM_FILE_MAX
#undef SIM_CALLER
