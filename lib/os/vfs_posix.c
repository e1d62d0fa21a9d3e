/* SPDX-License-Identifier: Apache-2.0 */
/* vfs_posix.c - real files: open, read, write, sync, size. Directories, locks and the probe for
 * network file systems stand in vfs_posix_dir.c, vfs_posix_lock.c and vfs_posix_probe.c.
 *
 * Every system call is repeated when a signal interrupts it and continued when it did only a part.
 * A failed sync is reported once and never repeated here: Linux drops the dirty pages after it,
 * and a second call would say yes (S8 is the caller's).
 *
 * The vfs is one constant without memory of its own; what an open file needs comes from the C
 * library through a pv__mem on the stack. Threads: any; nothing here is shared but the kernel. */
#include "os/vfs_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define POSIX_IOV_MAX 64

static pv__posix_file *posixfs_file(pv_file *file) { return (pv__posix_file *)(void *)file; }

int pv__posix_code(int sys_errno, int otherwise) {
    switch (sys_errno) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: /* the process's or the file system's largest file */
        return PV_ERR_FULL;
    case EACCES:
    case EPERM:
        return PV_ERR_PERM;
    case EROFS:
        return PV_ERR_READONLY;
    case ENOMEM:
        return PV_ERR_NOMEM;
    default:
        return otherwise;
    }
}

int pv__posix_open(const char *path, int flags, int mode) {
    int fd = -1;
    do {
        fd = open(path, flags | O_CLOEXEC | O_NOCTTY, mode);
    } while (fd < 0 && errno == EINTR);
    if (fd >= 0 && fd <= 2) {
        const int up = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        const int e = errno;
        (void)close(fd);
        errno = e;
        return up;
    }
    return fd;
}

/* Create the file or open the one that is there, and know which. The loop ends as soon as nobody
 * else creates and removes the file between our two attempts. */
static int posixfs_open_create(const char *path, int flags, bool exclusive, bool *created) {
    for (int tries = 0; tries < 100; tries++) {
        int fd = -1;
        if (!exclusive) {
            fd = pv__posix_open(path, flags, 0);
            if (fd >= 0 || errno != ENOENT) {
                return fd;
            }
        }
        fd = pv__posix_open(path, flags | O_CREAT | O_EXCL, 0644);
        *created = fd >= 0;
        if (fd >= 0 || errno != EEXIST || exclusive) {
            return fd;
        }
    }
    return -1;
}

static int posixfs_open_error(const char *path, int sys_errno, pv_error *err) {
    if (sys_errno == ENOENT) {
        return pv__err_sys(err, PV_ERR_NOTFOUND, sys_errno, "cannot open '%s'", path);
    }
    if (sys_errno == EEXIST) {
        return pv__err_sys(err, PV_ERR_EXISTS, sys_errno, "cannot create '%s'", path);
    }
    return pv__err_sys(err, pv__posix_code(sys_errno, PV_ERR_CANTOPEN), sys_errno,
                       "cannot open '%s'", path);
}

static int posixfs_wrap(int fd, const char *path, bool readonly, pv_file **out_file,
                        pv_error *err) {
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return pv__err_sys(err, PV_ERR_CANTOPEN, errno, "cannot examine '%s'", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return pv__err(err, PV_ERR_CANTOPEN, "'%s' is not a regular file", path);
    }
    pv__mem mem;
    pv__mem_init(&mem, NULL, 0);
    const size_t len = strlen(path);
    pv__posix_file *f = pv__alloc(&mem, sizeof *f + len + 1);
    if (!f) {
        return pv__err_nomem(err, sizeof *f + len + 1);
    }
    f->fd = fd;
    f->readonly = readonly;
    atomic_init(&f->around_fd, PV__VFS_UNTRIED);
    atomic_init(&f->around_off, 0);
    f->path_len = len;
    memcpy(f->path, path, len + 1);
    pv__posix_lock_init(f);
    *out_file = (pv_file *)(void *)f;
    return 0;
}

static int posixfs_open(pv_vfs *vfs, const char *path, uint32_t flags, pv_file **out_file,
                        int *out_created, pv_error *err) {
    (void)vfs;
    *out_file = NULL;
    const bool readonly = (flags & PV_VFS_OPEN_READONLY) != 0;
    /* O_NONBLOCK: a pipe of that name must be refused, not waited for. Regular files ignore it. */
    const int how = (readonly ? O_RDONLY : O_RDWR) | O_NONBLOCK;
    bool created = false;
    int fd = -1;
    if (flags & PV_VFS_OPEN_CREATE) {
        fd = posixfs_open_create(path, how, (flags & PV_VFS_OPEN_EXCLUSIVE) != 0, &created);
    } else {
        fd = pv__posix_open(path, how, 0);
    }
    if (fd < 0) {
        return posixfs_open_error(path, errno, err);
    }
    const int rc = posixfs_wrap(fd, path, readonly, out_file, err);
    if (rc) {
        (void)close(fd);
        return rc;
    }
    if (out_created) {
        *out_created = created;
    }
    return 0;
}

static int posixfs_close(pv_vfs *vfs, pv_file *file, pv_error *err) {
    (void)vfs;
    pv__posix_file *f = posixfs_file(file);
    if (!f) {
        return 0;
    }
    int rc = 0;
    pv__posix_lock_done(f);
    const int around = atomic_load(&f->around_fd);
    if (around >= 0) {
        (void)close(around); /* it has no locks of its own */
    }
    /* Not repeated on EINTR: the descriptor is gone, its number may be someone else's by now. */
    if (close(f->fd) != 0 && errno != EINTR) {
        rc = pv__err_sys(err, PV_ERR_IO, errno, "closing '%s'", f->path);
    }
    pv__mem mem;
    pv__mem_init(&mem, NULL, 0);
    pv__alloc_free(&mem, f, sizeof *f + f->path_len + 1);
    return rc;
}

static int posixfs_range_check(const pv__posix_file *f, uint64_t offset, uint64_t size,
                               pv_error *err) {
    if (size > INT64_MAX || offset > (uint64_t)INT64_MAX - size) {
        return pv__err(err, PV_ERR_MISUSE, "'%s': offset %llu is out of range", f->path,
                       (unsigned long long)offset);
    }
    return 0;
}

/* All of one request, from io->done on. */
static int posixfs_read_rest(pv__posix_file *f, pv_io *io, pv_error *err) {
    uint8_t *to = io->data;
    while (io->done < io->size) {
        const ssize_t n =
            pread(f->fd, to + io->done, io->size - io->done, (off_t)(io->offset + io->done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            const uint64_t at = io->offset + io->done;
            const int rc = pv__err_sys(err, PV_ERR_IO, errno, "reading '%s' at offset %llu",
                                       f->path, (unsigned long long)at);
            if (err) {
                err->offset = at;
            }
            return rc;
        }
        if (n == 0) {
            break;
        }
        io->done += (size_t)n;
    }
    memset(to + io->done, 0, io->size - io->done);
    return 0;
}

/* Take what is in memory and start all other reads at once, so that a batch of cold rows waits for
 * the device once and not row by row. Only a hint: whatever fails here is read again below. */
static void posixfs_read_ahead(pv__posix_file *f, pv_io *reqs, size_t n) {
#if defined(__linux__) && defined(RWF_NOWAIT)
    for (size_t i = 0; i < n; i++) {
        struct iovec v = {reqs[i].data, reqs[i].size};
        const ssize_t got = preadv2(f->fd, &v, 1, (off_t)reqs[i].offset, RWF_NOWAIT);
        reqs[i].done = got > 0 ? (size_t)got : 0;
        if (reqs[i].done < reqs[i].size) {
            (void)posix_fadvise(f->fd, (off_t)(reqs[i].offset + reqs[i].done),
                                (off_t)(reqs[i].size - reqs[i].done), POSIX_FADV_WILLNEED);
        }
    }
#else
    (void)f;
    (void)reqs;
    (void)n;
#endif
}

static void posixfs_ahead(pv_vfs *vfs, pv_file *file, uint64_t offset, uint64_t size) {
    (void)vfs;
#if defined(POSIX_FADV_WILLNEED)
    pv__posix_file *f = posixfs_file(file);
    if (offset <= INT64_MAX && size <= INT64_MAX - offset) {
        (void)posix_fadvise(f->fd, (off_t)offset, (off_t)size, POSIX_FADV_WILLNEED);
    }
#else
    (void)file;
    (void)offset;
    (void)size;
#endif
}

static int posixfs_read(pv_vfs *vfs, pv_file *file, pv_io *reqs, size_t n, pv_error *err) {
    (void)vfs;
    pv__posix_file *f = posixfs_file(file);
    for (size_t i = 0; i < n; i++) {
        reqs[i].done = 0;
        PV_TRY(posixfs_range_check(f, reqs[i].offset, reqs[i].size, err));
    }
    if (n > 1) {
        posixfs_read_ahead(f, reqs, n);
    }
    for (size_t i = 0; i < n; i++) {
        PV_TRY(posixfs_read_rest(f, &reqs[i], err));
    }
    return 0;
}

static int posixfs_write_error(const pv__posix_file *f, int sys_errno, uint64_t offset,
                               pv_error *err) {
    /* EBADF: opened for reading */
    const int code = sys_errno == EBADF ? PV_ERR_READONLY : pv__posix_code(sys_errno, PV_ERR_IO);
    const int rc = pv__err_sys(err, code, sys_errno, "writing '%s' at offset %llu", f->path,
                               (unsigned long long)offset);
    if (err) {
        err->offset = offset;
    }
    return rc;
}

/* Write the vectors one behind the other at offset. Changes iov. */
static int posixfs_write_run(const pv__posix_file *f, int fd, struct iovec *iov, int count,
                             uint64_t offset, pv_error *err) {
    while (count > 0) {
        if (iov->iov_len == 0) {
            iov++;
            count--;
            continue;
        }
        const ssize_t n = pwritev(fd, iov, count, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return posixfs_write_error(f, n < 0 ? errno : EIO, offset, err);
        }
        offset += (uint64_t)n;
        for (size_t left = (size_t)n; left > 0;) {
            const size_t part = PV_MIN(left, iov->iov_len);
            iov->iov_base = (uint8_t *)iov->iov_base + part;
            iov->iov_len -= part;
            left -= part;
            if (iov->iov_len == 0) {
                iov++;
                count--;
            }
        }
    }
    return 0;
}

static int posixfs_write_to(const pv__posix_file *f, int fd, const pv_io *reqs, size_t n,
                            pv_error *err) {
    for (size_t i = 0; i < n; i++) {
        PV_TRY(posixfs_range_check(f, reqs[i].offset, reqs[i].size, err));
    }
    for (size_t i = 0; i < n;) {
        struct iovec iov[POSIX_IOV_MAX];
        int count = 0;
        const uint64_t start = reqs[i].offset;
        uint64_t end = start;
        while (i < n && count < POSIX_IOV_MAX && reqs[i].offset == end) {
            iov[count].iov_base = reqs[i].data;
            iov[count].iov_len = reqs[i].size;
            end += reqs[i].size;
            count++;
            i++;
        }
        PV_TRY(posixfs_write_run(f, fd, iov, count, start, err));
    }
    return 0;
}

static int posixfs_write(pv_vfs *vfs, pv_file *file, const pv_io *reqs, size_t n, pv_error *err) {
    (void)vfs;
    const pv__posix_file *f = posixfs_file(file);
    return posixfs_write_to(f, f->fd, reqs, n, err);
}

/* ---- around the page cache ------------------------------------------------------------------- */

/* The descriptor for it, made when first asked for; -1: there is none. By /proc, because the path
 * may name another file by now. */
static int posixfs_around_fd(pv__posix_file *f) {
    int fd = atomic_load(&f->around_fd);
#if defined(__linux__) && defined(O_DIRECT)
    if (fd == PV__VFS_UNTRIED && !f->readonly) {
        char path[40];
        int other = PV__VFS_UNTRIED;
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", f->fd);
        fd = pv__posix_open(path, O_RDWR | O_DIRECT, 0);
        fd = fd < 0 ? -1 : fd;
        if (!atomic_compare_exchange_strong(&f->around_fd, &other, fd)) {
            if (fd >= 0) {
                (void)close(fd);
            }
            fd = other; /* another thread's */
        }
    }
#endif
    return fd >= 0 && !atomic_load(&f->around_off) ? fd : -1;
}

/* What the page cache has of these bytes the system itself writes and forgets, so that both ways
 * into the file agree. */
static int posixfs_write_around(pv_vfs *vfs, pv_file *file, const pv_io *reqs, size_t n,
                                pv_error *err) {
    pv__posix_file *f = posixfs_file(file);
    pv_error refused = PV_ERROR_INIT;
    const int fd = posixfs_around_fd(f);
    if (fd >= 0) {
        const int rc = posixfs_write_to(f, fd, reqs, n, &refused);
        if (rc == 0) {
            return 0;
        }
        if (refused.sys_errno != EINVAL) {
            return pv__err_sys(err, rc, refused.sys_errno, "%s", refused.message);
        }
        atomic_store(&f->around_off, 1); /* this file system wants something else */
    }
    return posixfs_write(vfs, file, reqs, n, err);
}

static int posixfs_sync(pv_vfs *vfs, pv_file *file, pv_error *err) {
    (void)vfs;
    pv__posix_file *f = posixfs_file(file);
    int e = 0;
    do {
#if defined(__APPLE__)
        /* Plain fsync leaves the data in the drive's cache. */
        e = fcntl(f->fd, F_FULLFSYNC) == 0 ? 0 : errno;
        if (e == ENOTSUP || e == EINVAL || e == ENOTTY) {
            e = fsync(f->fd) == 0 ? 0 : errno;
        }
#else
        e = fdatasync(f->fd) == 0 ? 0 : errno;
#endif
    } while (e == EINTR);
    return e == 0 ? 0 : pv__err_sys(err, pv__posix_code(e, PV_ERR_IO), e, "syncing '%s'", f->path);
}

static int posixfs_truncate(pv_vfs *vfs, pv_file *file, uint64_t size, pv_error *err) {
    (void)vfs;
    pv__posix_file *f = posixfs_file(file);
    PV_TRY(posixfs_range_check(f, 0, size, err));
    int e = 0;
    do {
        e = ftruncate(f->fd, (off_t)size) == 0 ? 0 : errno;
    } while (e == EINTR);
    if (e == 0) {
        return 0;
    }
    const bool readonly = f->readonly && (e == EINVAL || e == EBADF);
    return pv__err_sys(err, readonly ? PV_ERR_READONLY : pv__posix_code(e, PV_ERR_IO), e,
                       "truncating '%s' to %llu bytes", f->path, (unsigned long long)size);
}

static int posixfs_size(pv_vfs *vfs, pv_file *file, uint64_t *out_size, pv_error *err) {
    (void)vfs;
    pv__posix_file *f = posixfs_file(file);
    struct stat st;
    if (fstat(f->fd, &st) != 0) {
        return pv__err_sys(err, PV_ERR_IO, errno, "examining '%s'", f->path);
    }
    *out_size = (uint64_t)st.st_size;
    return 0;
}

/* Where the file system cannot promise space, take it by writing: what is there is written back as
 * it is, which also fills holes, the rest as zeros. The caller keeps other writers away. */
static int posixfs_allocate_by_hand(pv_vfs *vfs, pv_file *file, uint64_t offset, uint64_t size,
                                    pv_error *err) {
    uint8_t block[16384];
    while (size > 0) {
        const size_t part = size < sizeof block ? (size_t)size : sizeof block;
        pv_io io = {offset, block, part, 0};
        PV_TRY(posixfs_read(vfs, file, &io, 1, err)); /* zeros behind the end */
        PV_TRY(posixfs_write(vfs, file, &io, 1, err));
        offset += part;
        size -= part;
    }
    return 0;
}

static int posixfs_allocate(pv_vfs *vfs, pv_file *file, uint64_t offset, uint64_t size,
                            pv_error *err) {
    pv__posix_file *f = posixfs_file(file);
    PV_TRY(posixfs_range_check(f, offset, size, err));
    if (size == 0) {
        return 0;
    }
#if defined(__linux__)
    int e = 0;
    do {
        e = fallocate(f->fd, 0, (off_t)offset, (off_t)size) == 0 ? 0 : errno;
    } while (e == EINTR);
    if (e == 0) {
        return 0;
    }
    if (e != EOPNOTSUPP && e != ENOSYS && e != EINVAL) {
        return posixfs_write_error(f, e, offset, err);
    }
#endif
    return posixfs_allocate_by_hand(vfs, file, offset, size, err);
}

static const pv_vfs posix_vfs = {
    .struct_size = sizeof(pv_vfs),
    .flags = 0,
    .ctx = NULL,
    .open = posixfs_open,
    .close = posixfs_close,
    .read = posixfs_read,
    .write = posixfs_write,
    .sync = posixfs_sync,
    .truncate = posixfs_truncate,
    .allocate = posixfs_allocate,
    .size = posixfs_size,
    .unlink = pv__posix_unlink,
    .rename = pv__posix_rename,
    .mkdir = pv__posix_mkdir,
    .rmdir = pv__posix_rmdir,
    .sync_dir = pv__posix_sync_dir,
    .list = pv__posix_list,
    .lock = pv__posix_lock,
    .probe = pv__posix_probe,
    .ahead = posixfs_ahead,
    .write_around = posixfs_write_around,
};

pv_vfs *pv__vfs_posix(void) { return (pv_vfs *)(uintptr_t)&posix_vfs; /* nobody writes to it */ }

#undef POSIX_IOV_MAX
