/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of the file systems behind pv_vfs: the same contract for real files, files in memory
 * and the simulator of power cuts, and what only one of them has. */
#include "support/test_support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/thread.h"
#include "os/vfs.h"
#include "sim/sim_vfs.h"

typedef enum t_kind { T_MEM, T_REAL, T_SIM, T_KINDS } t_kind;

typedef struct t_env {
    pv__mem mem;
    pv_vfs *vfs;
    test_dir dir; /* T_REAL only */
    sim *disk;    /* T_SIM only */
    t_kind kind;
    char name[8][600];
} t_env;

static int t_open_env(t_env *e, t_kind kind) {
    memset(e, 0, sizeof *e);
    test_mem_init(&e->mem);
    e->kind = kind;
    if (kind == T_REAL) {
        e->vfs = pv__vfs_posix();
        test_dir_init(&e->dir);
        return 0;
    }
    (void)snprintf(e->dir.path, sizeof e->dir.path, "/t");
    if (kind == T_SIM) {
        e->disk = sim_new(1);
        e->vfs = sim_vfs(e->disk);
    } else {
        assert_int_equal(pv__vfs_mem_new(&e->mem, &e->vfs, NULL), 0);
    }
    return e->vfs->mkdir(e->vfs, "/t", NULL);
}

static void t_close_env(t_env *e) {
    if (e->kind == T_REAL) {
        test_dir_done(&e->dir);
    } else if (e->kind == T_SIM) {
        sim_free(e->disk);
    } else {
        pv__vfs_mem_free(e->vfs);
    }
    test_mem_done(&e->mem);
}

static const char *t_path(t_env *e, int slot, const char *name) {
    return test_dir_file(&e->dir, name, e->name[slot], sizeof e->name[slot]);
}

static pv_file *t_open(t_env *e, const char *path, uint32_t flags) {
    pv_file *f = NULL;
    pv_error err = PV_ERROR_INIT;
    test_assert_ok(e->vfs->open(e->vfs, path, flags, &f, NULL, &err), &err);
    assert_non_null(f);
    return f;
}

static uint64_t t_size(t_env *e, pv_file *f) {
    uint64_t size = 0;
    assert_int_equal(e->vfs->size(e->vfs, f, &size, NULL), 0);
    return size;
}

/* Run a body for each file system. */
#define T_EACH_KIND(body)                                                                          \
    for (int kind = 0; kind < T_KINDS; kind++) {                                                   \
        t_env env;                                                                                 \
        assert_int_equal(t_open_env(&env, (t_kind)kind), 0);                                       \
        body(&env);                                                                                \
        t_close_env(&env);                                                                         \
    }

static void t_check_open(t_env *e) {
    pv_vfs *v = e->vfs;
    pv_file *f = NULL;
    pv_file *g = NULL;
    int created = 7;
    pv_error err = PV_ERROR_INIT;
    const char *a = t_path(e, 0, "a");
    test_assert_rc(v->open(v, a, 0, &f, &created, &err), PV_ERR_NOTFOUND, &err);
    assert_null(f);
    assert_int_equal(created, 7);
    assert_non_null(strstr(err.message, "/a'"));
    test_assert_ok(v->open(v, a, PV_VFS_OPEN_CREATE, &f, &created, &err), &err);
    assert_int_equal(created, 1);
    test_assert_ok(v->open(v, a, PV_VFS_OPEN_CREATE, &g, &created, &err), &err);
    assert_int_equal(created, 0);
    test_assert_ok(v->close(v, g, &err), &err);
    g = (pv_file *)(void *)e; /* must become NULL */
    test_assert_rc(v->open(v, a, PV_VFS_OPEN_CREATE | PV_VFS_OPEN_EXCLUSIVE, &g, NULL, &err),
                   PV_ERR_EXISTS, &err);
    assert_null(g);
    test_assert_rc(v->open(v, t_path(e, 1, "no/such"), PV_VFS_OPEN_CREATE, &g, NULL, &err),
                   PV_ERR_NOTFOUND, &err);
    test_assert_rc(v->open(v, e->dir.path, 0, &g, NULL, &err), PV_ERR_CANTOPEN, &err);
    assert_null(g);
    test_assert_ok(v->close(v, f, &err), &err);
    test_assert_ok(v->close(v, NULL, &err), &err);
}

static void test_vfs__open_says_what_it_found(void **state) {
    (void)state;
    T_EACH_KIND(t_check_open)
}

static void t_check_data(t_env *e) {
    pv_vfs *v = e->vfs;
    uint8_t buf[64];
    uint8_t want[64] = {0};
    pv_error err = PV_ERROR_INIT;
    pv_file *f = t_open(e, t_path(e, 0, "a"), PV_VFS_OPEN_CREATE);
    pv_file *g = t_open(e, t_path(e, 0, "a"), PV_VFS_OPEN_READONLY);
    assert_int_equal(t_size(e, f), 0);
    test_assert_ok(pv__vfs_write(v, f, 100000, "hello", 5, &err), &err);
    assert_int_equal(t_size(e, g), 100005);   /* handles share the contents */
    pv_io io[4] = {{99998, buf, 4, 99},       /* a hole reads as zero */
                   {100003, buf + 8, 10, 99}, /* over the end */
                   {200000, buf + 24, 8, 99}, /* behind the end */
                   {100000, buf + 32, 5, 99}};
    memset(buf, 0xEE, sizeof buf);
    test_assert_ok(v->read(v, g, io, 4, &err), &err);
    assert_int_equal(io[0].done, 4);
    assert_int_equal(io[1].done, 2);
    assert_int_equal(io[2].done, 0);
    assert_int_equal(io[3].done, 5);
    memset(want, 0xEE, sizeof want);
    memcpy(want, "\0\0he", 4);
    memset(want + 8, 0, 10);
    memcpy(want + 8, "lo", 2);
    memset(want + 24, 0, 8);
    memcpy(want + 32, "hello", 5);
    test_assert_same_bytes(buf, want, sizeof buf);
    test_assert_ok(pv__vfs_read(v, f, 100000, buf, 5, &err), &err);
    test_assert_rc(pv__vfs_read(v, f, 100001, buf, 5, &err), PV_ERR_CORRUPT, &err);
    assert_int_equal(err.offset, 100001);
    test_assert_rc(pv__vfs_write(v, g, 0, "x", 1, &err), PV_ERR_READONLY, &err);
    test_assert_rc(v->truncate(v, g, 0, &err), PV_ERR_READONLY, &err);
    test_assert_rc(v->allocate(v, g, 0, 10, &err), PV_ERR_READONLY, &err);
    test_assert_rc(pv__vfs_write(v, f, INT64_MAX, "xy", 2, &err), PV_ERR_MISUSE, &err);
    test_assert_rc(pv__vfs_read(v, f, UINT64_MAX, buf, 2, &err), PV_ERR_MISUSE, &err);
    test_assert_ok(v->sync(v, f, &err), &err);
    assert_int_equal(v->close(v, f, NULL), 0);
    assert_int_equal(v->close(v, g, NULL), 0);
}

static void test_vfs__data_holes_and_ends(void **state) {
    (void)state;
    T_EACH_KIND(t_check_data)
}

static void t_check_sizes(t_env *e) {
    pv_vfs *v = e->vfs;
    uint8_t *buf = pv__alloc(&e->mem, 200000);
    pv_file *f = t_open(e, t_path(e, 0, "a"), PV_VFS_OPEN_CREATE);
    memset(buf, 'x', 200000);
    assert_int_equal(pv__vfs_write(v, f, 0, buf, 200000, NULL), 0);
    assert_int_equal(v->truncate(v, f, 70001, NULL), 0);
    assert_int_equal(t_size(e, f), 70001);
    assert_int_equal(v->truncate(v, f, 150000, NULL), 0); /* what was cut off does not come back */
    assert_int_equal(pv__vfs_read(v, f, 0, buf, 150000, NULL), 0);
    for (size_t i = 0; i < 150000; i++) {
        assert_int_equal(buf[i], i < 70001 ? 'x' : 0);
    }
    assert_int_equal(v->allocate(v, f, 100, 0, NULL), 0);
    assert_int_equal(v->allocate(v, f, 100000, 200000, NULL), 0);
    assert_int_equal(t_size(e, f), 300000);
    assert_int_equal(v->allocate(v, f, 0, 1000, NULL), 0); /* keeps data and size */
    assert_int_equal(t_size(e, f), 300000);
    assert_int_equal(pv__vfs_read(v, f, 50000, buf, 200000, NULL), 0);
    for (size_t i = 0; i < 200000; i++) {
        assert_int_equal(buf[i], i + 50000 < 70001 ? 'x' : 0);
    }
    assert_int_equal(v->truncate(v, f, 0, NULL), 0);
    assert_int_equal(t_size(e, f), 0);
    assert_int_equal(v->close(v, f, NULL), 0);
    pv__alloc_free(&e->mem, buf, 200000);
}

static void test_vfs__truncate_and_allocate(void **state) {
    (void)state;
    T_EACH_KIND(t_check_sizes)
}

static void t_check_batch(t_env *e) {
    enum { T_REQS = 200, T_EACH = 3000 };
    pv_vfs *v = e->vfs;
    test_rng r;
    test_rng_init(&r, 7);
    uint8_t *data = pv__alloc(&e->mem, T_REQS * T_EACH);
    uint8_t *back = pv__alloc(&e->mem, T_REQS * T_EACH);
    pv_io io[T_REQS];
    test_rng_bytes(&r, data, T_REQS * T_EACH);
    uint64_t at = 0;
    for (size_t i = 0; i < T_REQS; i++) { /* runs that touch, gaps, empty requests, and backwards */
        at += i % 7 == 0 ? 5000 : 0;
        io[i].offset = i >= 150 ? 2000000 - i * T_EACH : at;
        io[i].data = data + i * T_EACH;
        io[i].size = i % 11 == 5 ? 0 : T_EACH - i;
        io[i].done = 0;
        at += io[i].size;
    }
    pv_file *f = t_open(e, t_path(e, 0, "a"), PV_VFS_OPEN_CREATE);
    assert_int_equal(v->write(v, f, io, T_REQS, NULL), 0);
    assert_int_equal(v->write(v, f, io, 0, NULL), 0);
    for (size_t i = 0; i < T_REQS; i++) {
        io[i].data = back + i * T_EACH;
    }
    assert_int_equal(v->read(v, f, io, T_REQS, NULL), 0);
    for (size_t i = 0; i < T_REQS; i++) {
        assert_int_equal(io[i].done, io[i].size);
        test_assert_same_bytes(back + i * T_EACH, data + i * T_EACH, io[i].size);
    }
    assert_int_equal(v->close(v, f, NULL), 0);
    pv__alloc_free(&e->mem, data, T_REQS * T_EACH);
    pv__alloc_free(&e->mem, back, T_REQS * T_EACH);
}

/* What goes around the system's cache is there for those who do not, and the other way round; a
 * request that the system does not take so goes the usual way. */
static void t_check_around(t_env *e) {
    enum { T_BYTES = 1 << 20 };
    pv_vfs *v = e->vfs;
    test_rng r;
    test_rng_init(&r, 9);
    uint8_t *data = pv__alloc_aligned(&e->mem, T_BYTES, PV__VFS_AROUND);
    uint8_t *back = pv__alloc_aligned(&e->mem, T_BYTES, PV__VFS_AROUND);
    pv_file *f = t_open(e, t_path(e, 0, "around"), PV_VFS_OPEN_CREATE);
    for (int round = 0; round < 6; round++) {
        test_rng_bytes(&r, data, T_BYTES);
        pv_io io[2] = {{0, data, T_BYTES / 2, 0},
                       {T_BYTES / 2, data + T_BYTES / 2, T_BYTES / 2, 0}};
        if (round % 3 == 2) { /* one descriptor, crooked */
            io[0].size -= 100;
            io[1].offset -= 100;
            io[1].data = data + T_BYTES / 2 - 100;
            io[1].size += 100;
        }
        if (round % 3 == 0) {
            assert_int_equal(pv__vfs_write(v, f, 0, data, T_BYTES, NULL), 0);
        } else {
            assert_int_equal(pv__vfs_write_around(v, f, io, 2, NULL), 0);
        }
        assert_int_equal(pv__vfs_read(v, f, 0, back, T_BYTES, NULL), 0);
        test_assert_same_bytes(back, data, T_BYTES);
        assert_int_equal(v->sync(v, f, NULL), 0);
    }
    assert_int_equal(t_size(e, f), T_BYTES);
    assert_int_equal(v->close(v, f, NULL), 0);
    f = t_open(e, t_path(e, 0, "around"), PV_VFS_OPEN_READONLY);
    pv_io io = {0, data, T_BYTES, 0};
    assert_int_equal(pv__vfs_write_around(v, f, &io, 1, NULL), PV_ERR_READONLY);
    assert_int_equal(v->close(v, f, NULL), 0);
    pv__alloc_free_aligned(&e->mem, data, T_BYTES, PV__VFS_AROUND);
    pv__alloc_free_aligned(&e->mem, back, T_BYTES, PV__VFS_AROUND);
}

static void test_vfs__writes_around_the_cache(void **state) {
    (void)state;
    T_EACH_KIND(t_check_around)
}

static void test_vfs__batches_land_where_they_belong(void **state) {
    (void)state;
    T_EACH_KIND(t_check_batch)
}

typedef struct t_names {
    int count, stop_at;
    char all[256];
} t_names;

static int t_take_name(void *arg, const char *name) {
    t_names *n = arg;
    (void)snprintf(n->all + strlen(n->all), sizeof n->all - strlen(n->all), "[%s]", name);
    return ++n->count == n->stop_at ? 42 : 0;
}

static void t_check_names(t_env *e) {
    pv_vfs *v = e->vfs;
    pv_error err = PV_ERROR_INIT;
    char buf[8];
    const char *d = t_path(e, 0, "d");
    const char *a = t_path(e, 1, "d/a");
    const char *b = t_path(e, 2, "d/b");
    const char *no = t_path(e, 3, "no/a");
    t_names n = {0, 0, {0}};
    test_assert_rc(v->list(v, d, t_take_name, &n, &err), PV_ERR_NOTFOUND, &err);
    test_assert_rc(v->sync_dir(v, d, &err), PV_ERR_NOTFOUND, &err);
    test_assert_rc(v->rmdir(v, d, &err), PV_ERR_NOTFOUND, &err);
    test_assert_rc(v->unlink(v, a, &err), PV_ERR_NOTFOUND, &err);
    test_assert_rc(v->mkdir(v, no, &err), PV_ERR_NOTFOUND, &err);
    test_assert_ok(v->mkdir(v, d, &err), &err);
    test_assert_ok(v->mkdir(v, d, &err), &err); /* there already */
    pv_file *f = t_open(e, a, PV_VFS_OPEN_CREATE);
    pv_file *g = t_open(e, b, PV_VFS_OPEN_CREATE);
    assert_int_equal(pv__vfs_write(v, f, 0, "A", 1, NULL), 0);
    assert_int_equal(pv__vfs_write(v, g, 0, "B", 1, NULL), 0);
    test_assert_rc(v->mkdir(v, a, &err), PV_ERR_EXISTS, &err);
    test_assert_rc(v->rmdir(v, d, &err), PV_ERR_EXISTS, &err);
    test_assert_ok(v->list(v, d, t_take_name, &n, &err), &err);
    assert_int_equal(n.count, 2);
    assert_non_null(strstr(n.all, "[a]"));
    assert_non_null(strstr(n.all, "[b]"));
    n.count = 0;
    n.stop_at = 1;
    assert_int_equal(v->list(v, d, t_take_name, &n, &err), 42);
    test_assert_rc(v->rename(v, no, a, &err), PV_ERR_NOTFOUND, &err);
    test_assert_rc(v->rename(v, a, no, &err), PV_ERR_NOTFOUND, &err);
    test_assert_ok(v->rename(v, a, a, &err), &err);
    test_assert_ok(v->rename(v, a, b, &err), &err); /* replaces b, which its handle still sees */
    assert_int_equal(pv__vfs_read(v, g, 0, buf, 1, NULL), 0);
    assert_int_equal(buf[0], 'B');
    assert_int_equal(v->close(v, g, NULL), 0);
    g = t_open(e, b, 0);
    assert_int_equal(pv__vfs_read(v, g, 0, buf, 1, NULL), 0);
    assert_int_equal(buf[0], 'A');
    test_assert_ok(v->unlink(v, b, &err), &err);
    assert_int_equal(pv__vfs_write(v, f, 1, "C", 1, NULL), 0); /* removed, yet open */
    assert_int_equal(pv__vfs_read(v, g, 0, buf, 2, NULL), 0);
    assert_memory_equal(buf, "AC", 2);
    pv_file *h = t_open(e, b, PV_VFS_OPEN_CREATE | PV_VFS_OPEN_EXCLUSIVE); /* another file */
    assert_int_equal(t_size(e, h), 0);
    assert_int_equal(v->close(v, h, NULL), 0);
    assert_int_equal(v->close(v, f, NULL), 0);
    assert_int_equal(v->close(v, g, NULL), 0);
    test_assert_ok(v->unlink(v, b, &err), &err);
    test_assert_ok(v->sync_dir(v, d, &err), &err);
    test_assert_ok(v->rmdir(v, d, &err), &err);
}

static void test_vfs__names_and_folders(void **state) {
    (void)state;
    T_EACH_KIND(t_check_names)
}

static void t_check_locks(t_env *e) {
    pv_vfs *v = e->vfs;
    pv_error err = PV_ERROR_INIT;
    const char *a = t_path(e, 0, "a");
    pv_file *f = t_open(e, a, PV_VFS_OPEN_CREATE);
    pv_file *g = t_open(e, a, 0);
    pv_file *r = t_open(e, a, PV_VFS_OPEN_READONLY);
    test_assert_ok(v->lock(v, f, 3, PV_VFS_LOCK_SHARED, &err), &err);
    test_assert_ok(v->lock(v, f, 3, PV_VFS_LOCK_SHARED, &err), &err); /* again */
    test_assert_ok(v->lock(v, g, 3, PV_VFS_LOCK_SHARED, &err), &err);
    test_assert_ok(v->lock(v, r, 3, PV_VFS_LOCK_SHARED, &err), &err);
    test_assert_rc(v->lock(v, f, 3, PV_VFS_LOCK_EXCLUSIVE, &err), PV_ERR_BUSY, &err);
    assert_non_null(strstr(err.message, "3"));
    test_assert_ok(v->lock(v, g, 3, PV_VFS_UNLOCK, &err), &err);
    test_assert_ok(v->lock(v, g, 3, PV_VFS_UNLOCK, &err), &err);
    /* f kept its shared lock when it could not get more */
    test_assert_rc(v->lock(v, g, 3, PV_VFS_LOCK_EXCLUSIVE, &err), PV_ERR_BUSY, &err);
    test_assert_ok(v->lock(v, r, 3, PV_VFS_UNLOCK, &err), &err);
    test_assert_ok(v->lock(v, f, 3, PV_VFS_LOCK_EXCLUSIVE, &err), &err); /* upgrade */
    test_assert_rc(v->lock(v, g, 3, PV_VFS_LOCK_SHARED, &err), PV_ERR_BUSY, &err);
    test_assert_ok(v->lock(v, g, 4, PV_VFS_LOCK_EXCLUSIVE, &err), &err); /* another number */
    test_assert_ok(v->lock(v, f, 3, PV_VFS_LOCK_SHARED, &err), &err);    /* downgrade */
    test_assert_ok(v->lock(v, g, 3, PV_VFS_LOCK_SHARED, &err), &err);
    test_assert_rc(v->lock(v, r, 5, PV_VFS_LOCK_EXCLUSIVE, &err), PV_ERR_READONLY, &err);
    test_assert_rc(v->lock(v, f, 16, PV_VFS_LOCK_SHARED, &err), PV_ERR_MISUSE, &err);
    test_assert_rc(v->lock(v, f, 0, 3, &err), PV_ERR_MISUSE, &err);
    assert_int_equal(pv__vfs_write(v, f, 0, "x", 1, NULL), 0); /* locks hinder no data */
    assert_int_equal(v->close(v, f, NULL), 0); /* closing drops this handle's locks only */
    test_assert_ok(v->lock(v, g, 3, PV_VFS_LOCK_EXCLUSIVE, &err), &err);
    test_assert_rc(v->lock(v, r, 4, PV_VFS_LOCK_SHARED, &err), PV_ERR_BUSY, &err);
    assert_int_equal(v->close(v, g, NULL), 0);
    test_assert_ok(v->lock(v, r, 4, PV_VFS_LOCK_SHARED, &err), &err);
    assert_int_equal(v->close(v, r, NULL), 0);
}

static void test_vfs__locks_exclude_handles(void **state) {
    (void)state;
    T_EACH_KIND(t_check_locks)
}

static void test_vfs_posix__locks_exclude_processes_and_die_with_them(void **state) {
    (void)state;
    t_env e;
    int ready[2];
    char byte = 0;
    pv_error err = PV_ERROR_INIT;
    assert_int_equal(t_open_env(&e, T_REAL), 0);
    pv_vfs *v = e.vfs;
    const char *a = t_path(&e, 0, "a");
    pv_file *f = t_open(&e, a, PV_VFS_OPEN_CREATE);
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        pv_file *mine = NULL;
        int rc = v->open(v, a, 0, &mine, NULL, NULL);
        rc = rc ? rc : v->lock(v, mine, 2, PV_VFS_LOCK_EXCLUSIVE, NULL);
        byte = rc == 0 ? 'y' : 'n';
        if (write(ready[1], &byte, 1) == 1) {
            for (;;) {
                pause();
            }
        }
        _exit(1);
    }
    assert_true(child > 0);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    test_assert_rc(v->lock(v, f, 2, PV_VFS_LOCK_SHARED, &err), PV_ERR_BUSY, &err);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    test_assert_ok(v->lock(v, f, 2, PV_VFS_LOCK_EXCLUSIVE, &err), &err);
    assert_int_equal(v->close(v, f, NULL), 0);
    (void)close(ready[0]);
    (void)close(ready[1]);
    t_close_env(&e);
}

static void test_vfs_posix__child_that_closes_keeps_the_parents_locks(void **state) {
    (void)state;
    t_env e;
    pv_error err = PV_ERROR_INIT;
    assert_int_equal(t_open_env(&e, T_REAL), 0);
    pv_vfs *v = e.vfs;
    const char *a = t_path(&e, 0, "a");
    pv_file *f = t_open(&e, a, PV_VFS_OPEN_CREATE);
    pv_file *g = t_open(&e, a, 0);
    test_assert_ok(v->lock(v, f, 1, PV_VFS_LOCK_EXCLUSIVE, &err), &err);
    const pid_t child = fork();
    if (child == 0) {
        _exit(v->close(v, f, NULL) == 0 ? 0 : 1);
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    test_assert_rc(v->lock(v, g, 1, PV_VFS_LOCK_SHARED, &err), PV_ERR_BUSY, &err);
    assert_int_equal(v->close(v, f, NULL), 0);
    assert_int_equal(v->close(v, g, NULL), 0);
    t_close_env(&e);
}

static void test_vfs_posix__descriptors_are_above_two_and_close_on_exec(void **state) {
    (void)state;
    t_env e;
    assert_int_equal(t_open_env(&e, T_REAL), 0);
    const char *a = t_path(&e, 0, "a");
    const int saved = dup(0);
    assert_true(saved > 2);
    assert_int_equal(close(0), 0); /* the next descriptor would be 0 */
    pv_file *f = t_open(&e, a, PV_VFS_OPEN_CREATE);
    assert_true(fcntl(0, F_GETFD) < 0); /* 0 is still free */
    bool found = false;
    struct stat want;
    struct stat st;
    assert_int_equal(stat(a, &want), 0);
    for (int fd = 0; fd < 256; fd++) {
        if (fstat(fd, &st) == 0 && st.st_ino == want.st_ino && st.st_dev == want.st_dev) {
            assert_true(fd > 2);
            assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
            found = true;
        }
    }
    assert_true(found);
    assert_int_equal(dup2(saved, 0), 0);
    (void)close(saved);
    assert_int_equal(e.vfs->close(e.vfs, f, NULL), 0);
    t_close_env(&e);
}

static void test_vfs_posix__failures_have_their_codes(void **state) {
    (void)state;
    t_env e;
    pv_error err = PV_ERROR_INIT;
    pv_file *f = NULL;
    assert_int_equal(t_open_env(&e, T_REAL), 0);
    pv_vfs *v = e.vfs;
    const char *a = t_path(&e, 0, "a");
    const char *p = t_path(&e, 1, "pipe");
    assert_int_equal(mkfifo(p, 0600), 0);
    test_assert_rc(v->open(v, p, PV_VFS_OPEN_READONLY, &f, NULL, &err), PV_ERR_CANTOPEN, &err);
    test_assert_rc(v->open(v, "", PV_VFS_OPEN_CREATE, &f, NULL, &err), PV_ERR_NOTFOUND, &err);
    f = t_open(&e, a, PV_VFS_OPEN_CREATE);
    assert_int_equal(v->close(v, f, NULL), 0);
    f = NULL;
    test_assert_rc(v->open(v, t_path(&e, 2, "a/b"), PV_VFS_OPEN_CREATE, &f, NULL, &err),
                   PV_ERR_CANTOPEN, &err);
    assert_int_equal(err.sys_errno, ENOTDIR);
    if (geteuid() != 0) {
        assert_int_equal(chmod(a, 0400), 0);
        test_assert_rc(v->open(v, a, 0, &f, NULL, &err), PV_ERR_PERM, &err);
        assert_int_equal(chmod(a, 0600), 0);
    }
    /* a full disk, played by the largest file allowed */
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
    const struct rlimit small = {10000, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    f = t_open(&e, a, 0);
    const int write_rc = pv__vfs_write(v, f, 9998, "12345", 5, &err); /* begins short */
    const int allocate_rc = v->allocate(v, f, 0, 20000, &err);
    const int truncate_rc = v->truncate(v, f, 20000, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, old);
    assert_int_equal(write_rc, PV_ERR_FULL);
    assert_int_equal(allocate_rc, PV_ERR_FULL);
    assert_int_equal(truncate_rc, PV_ERR_FULL);
    assert_int_equal(v->close(v, f, NULL), 0);
    t_close_env(&e);
}

static void test_vfs_posix__full_device_is_reported(void **state) {
    (void)state;
    struct stat st;
    pv_error err = PV_ERROR_INIT;
    pv_file *f = NULL;
    pv_vfs *v = pv__vfs_posix();
    if (stat("/dev/full", &st) != 0) {
        skip();
    }
    test_assert_rc(v->open(v, "/dev/full", 0, &f, NULL, &err), PV_ERR_CANTOPEN, &err);
    assert_non_null(strstr(err.message, "not a regular file"));
}

static void test_vfs_posix__probe_accepts_local_storage(void **state) {
    (void)state;
    t_env e;
    pv_error err = PV_ERROR_INIT;
    assert_int_equal(t_open_env(&e, T_REAL), 0);
    pv_vfs *v = e.vfs;
    test_assert_ok(v->probe(v, e.dir.path, &err), &err);
    test_assert_ok(v->probe(v, t_path(&e, 0, "not yet there"), &err), &err);
    test_assert_ok(v->probe(v, "plain-name-in-the-current-folder", &err), &err);
    test_assert_rc(v->probe(v, t_path(&e, 1, "no/such/folder"), &err), PV_ERR_NOTFOUND, &err);
    t_close_env(&e);
}

static int t_mem_call(void *arg) {
    pv__mem *mem = arg;
    pv_vfs *v = NULL;
    pv_file *f = NULL;
    t_names n = {0, 0, {0}};
    int rc = pv__vfs_mem_new(mem, &v, NULL);
    if (rc) {
        return rc;
    }
    rc = v->mkdir(v, "d", NULL);
    rc = rc ? rc : v->open(v, "d/x", PV_VFS_OPEN_CREATE, &f, NULL, NULL);
    rc = rc ? rc : pv__vfs_write(v, f, 65000, "12345678901234567890", 20, NULL);
    rc = rc ? rc : pv__vfs_write(v, f, 65536 * 20, "1", 1, NULL);
    rc = rc ? rc : v->allocate(v, f, 0, 65536 * 30, NULL);
    rc = rc ? rc : v->rename(v, "d/x", "d/y", NULL);
    rc = rc ? rc : v->list(v, "d", t_take_name, &n, NULL);
    rc = rc ? rc : v->sync_dir(v, "d", NULL);
    rc = rc ? rc : v->unlink(v, "d/y", NULL);
    rc = rc ? rc : v->rmdir(v, "d", NULL);
    (void)v->close(v, f, NULL);
    pv__vfs_mem_free(v);
    return rc;
}

static void test_vfs_mem__survives_every_failure(void **state) {
    (void)state;
    pv__mem mem;
    test_mem_init(&mem);
    assert_true(test_nomem_loop(&mem, t_mem_call, &mem) > 20);
    test_mem_done(&mem);
}

static void test_vfs_mem__paths_are_compared_clean(void **state) {
    (void)state;
    t_env e;
    pv_error err = PV_ERROR_INIT;
    assert_int_equal(t_open_env(&e, T_MEM), 0);
    pv_vfs *v = e.vfs;
    test_assert_ok(v->mkdir(v, "/t/d/", &err), &err);
    pv_file *f = t_open(&e, "/t//d/./x", PV_VFS_OPEN_CREATE);
    pv_file *g = t_open(&e, "/t/d/x", 0);
    assert_int_equal(v->close(v, f, NULL), 0);
    assert_int_equal(v->close(v, g, NULL), 0);
    f = t_open(&e, "./rel", PV_VFS_OPEN_CREATE);
    assert_int_equal(v->close(v, f, NULL), 0);
    t_names n = {0, 0, {0}};
    test_assert_ok(v->list(v, ".", t_take_name, &n, &err), &err);
    assert_non_null(strstr(n.all, "[rel]"));
    test_assert_rc(v->rename(v, "/t/d", "/t/e", &err), PV_ERR_UNSUPPORTED, &err);
    test_assert_rc(v->unlink(v, "/t/d", &err), PV_ERR_IO, &err);
    test_assert_rc(v->rmdir(v, "rel", &err), PV_ERR_IO, &err);
    t_close_env(&e);
}

static void *t_hammer(void *arg) {
    pv_vfs *v = arg;
    for (uint32_t i = 0; i < 2000; i++) {
        pv_file *f = NULL;
        uint32_t back = 0;
        if (v->open(v, "shared", PV_VFS_OPEN_CREATE, &f, NULL, NULL) != 0) {
            return arg;
        }
        if (v->lock(v, f, 0, PV_VFS_LOCK_EXCLUSIVE, NULL) == 0) {
            if (pv__vfs_write(v, f, 0, &i, 4, NULL) || pv__vfs_read(v, f, 0, &back, 4, NULL) ||
                back != i) {
                return arg;
            }
        }
        (void)v->close(v, f, NULL);
    }
    return NULL;
}

static void test_vfs_mem__threads_exclude_each_other_by_locks(void **state) {
    (void)state;
    t_env e;
    pv__thread t[3];
    assert_int_equal(t_open_env(&e, T_MEM), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pv__thread_start(&t[i], t_hammer, e.vfs, NULL), 0);
    }
    for (int i = 0; i < 3; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(t[i], &failed), 0);
        assert_null(failed);
    }
    t_close_env(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vfs__open_says_what_it_found),
        cmocka_unit_test(test_vfs__data_holes_and_ends),
        cmocka_unit_test(test_vfs__truncate_and_allocate),
        cmocka_unit_test(test_vfs__batches_land_where_they_belong),
        cmocka_unit_test(test_vfs__writes_around_the_cache),
        cmocka_unit_test(test_vfs__names_and_folders),
        cmocka_unit_test(test_vfs__locks_exclude_handles),
        cmocka_unit_test(test_vfs_posix__locks_exclude_processes_and_die_with_them),
        cmocka_unit_test(test_vfs_posix__child_that_closes_keeps_the_parents_locks),
        cmocka_unit_test(test_vfs_posix__descriptors_are_above_two_and_close_on_exec),
        cmocka_unit_test(test_vfs_posix__failures_have_their_codes),
        cmocka_unit_test(test_vfs_posix__full_device_is_reported),
        cmocka_unit_test(test_vfs_posix__probe_accepts_local_storage),
        cmocka_unit_test(test_vfs_mem__survives_every_failure),
        cmocka_unit_test(test_vfs_mem__paths_are_compared_clean),
        cmocka_unit_test(test_vfs_mem__threads_exclude_each_other_by_locks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#undef T_EACH_KIND
