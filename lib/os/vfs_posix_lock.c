/* SPDX-License-Identifier: Apache-2.0 */
/* vfs_posix_lock.c - locks by number.
 *
 * Linux: open-file-description locks on single bytes far behind any data. They belong to the
 * open file, so that two handles in one process exclude each other, closing some other descriptor
 * of the file drops nothing (the trap of plain fcntl locks), and kill -9 frees them.
 *
 * Elsewhere: lock n of x.pv is flock(2) on the small file x.pv-lockn, which is there only while
 * somebody holds or wants the lock. Whoever has just locked it checks that the name still leads to
 * the same file, for its last holder may have removed it meanwhile; and only a holder of the
 * exclusive lock removes it. Differences: a read-only folder cannot be locked, and turning shared
 * into exclusive is not atomic, so that in a race the shared lock can get lost (reported as
 * PV_ERR_IO, which fails the caller's operation). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/vfs_posix.h"

static int posixfs_lock_busy(const pv__posix_file *f, uint32_t number, int mode, pv_error *err) {
    return pv__err(err, PV_ERR_BUSY, "'%s': lock %u is held by another handle (%s wanted)", f->path,
                   (unsigned)number, mode == PV_VFS_LOCK_SHARED ? "shared" : "exclusive");
}

static int posixfs_lock_check(const pv__posix_file *f, uint32_t number, int mode, pv_error *err) {
    if (number >= PV__VFS_LOCKS || mode < PV_VFS_UNLOCK || mode > PV_VFS_LOCK_EXCLUSIVE) {
        return pv__err(err, PV_ERR_MISUSE, "'%s': no lock %u with mode %d", f->path,
                       (unsigned)number, mode);
    }
    return 0;
}

#if !PV_VFS_FLOCK

#define POSIX_LOCK_BASE ((off_t)1 << 62)

void pv__posix_lock_init(pv__posix_file *f) { (void)f; }

/* Closing the descriptor drops the locks. They are not dropped one by one: a forked child that
 * closes its copy of the handle would take them from its parent. For the same reason a parent
 * whose children may hold copies unlocks before it closes. */
void pv__posix_lock_done(pv__posix_file *f) { (void)f; }

int pv__posix_lock(pv_vfs *vfs, pv_file *file, uint32_t number, int mode, pv_error *err) {
    (void)vfs;
    const pv__posix_file *f = (const pv__posix_file *)(void *)file;
    PV_TRY(posixfs_lock_check(f, number, mode, err));
    struct flock how;
    memset(&how, 0, sizeof how);
    how.l_type = (short)(mode == PV_VFS_UNLOCK        ? F_UNLCK
                         : mode == PV_VFS_LOCK_SHARED ? F_RDLCK
                                                      : F_WRLCK);
    how.l_whence = SEEK_SET;
    how.l_start = POSIX_LOCK_BASE + (off_t)number;
    how.l_len = 1;
    int e = 0;
    do {
        e = fcntl(f->fd, F_OFD_SETLK, &how) == 0 ? 0 : errno;
    } while (e == EINTR);
    if (e == 0) {
        return 0;
    }
    if (e == EAGAIN || e == EACCES) {
        return posixfs_lock_busy(f, number, mode, err);
    }
    const int code = e == EBADF && f->readonly ? PV_ERR_READONLY : PV_ERR_IO;
    return pv__err_sys(err, code, e, "'%s': locking number %u", f->path, (unsigned)number);
}

#undef POSIX_LOCK_BASE

#else

#define POSIX_LOCK_NAME_MAX 4096

static bool posixfs_lock_name(const pv__posix_file *f, uint32_t number, char *out) {
    const int n = snprintf(out, POSIX_LOCK_NAME_MAX, "%s-lock%u", f->path, (unsigned)number);
    return n > 0 && n < POSIX_LOCK_NAME_MAX;
}

static int posixfs_flock(int fd, int how) {
    int e = 0;
    do {
        e = flock(fd, how) == 0 ? 0 : errno;
    } while (e == EINTR);
    return e;
}

static void posixfs_lock_drop(pv__posix_file *f, uint32_t number) {
    char name[POSIX_LOCK_NAME_MAX];
    const int fd = f->lock_fds[number];
    if (fd < 0) {
        return;
    }
    struct stat mine;
    struct stat named;
    if (posixfs_flock(fd, LOCK_EX | LOCK_NB) == 0 && posixfs_lock_name(f, number, name) &&
        fstat(fd, &mine) == 0 && stat(name, &named) == 0 && mine.st_ino == named.st_ino &&
        mine.st_dev == named.st_dev) {
        (void)unlink(name);
    }
    (void)close(fd);
    f->lock_fds[number] = -1;
}

void pv__posix_lock_init(pv__posix_file *f) {
    for (uint32_t i = 0; i < PV__VFS_LOCKS; i++) {
        f->lock_fds[i] = -1;
    }
}

void pv__posix_lock_done(pv__posix_file *f) {
    /* Only closed: the file is removed by unlocking, never by a forked child's close. */
    for (uint32_t i = 0; i < PV__VFS_LOCKS; i++) {
        if (f->lock_fds[i] >= 0) {
            (void)close(f->lock_fds[i]);
            f->lock_fds[i] = -1;
        }
    }
}

/* Open the lock's file and lock it; *out_fd stays -1 when it must be tried again. */
static int posixfs_lock_take(const pv__posix_file *f, uint32_t number, int mode, int *out_fd,
                             pv_error *err) {
    char name[POSIX_LOCK_NAME_MAX];
    struct stat mine;
    struct stat named;
    if (!posixfs_lock_name(f, number, name)) {
        return pv__err(err, PV_ERR_CANTOPEN, "'%s': name too long for a lock file", f->path);
    }
    const int fd = pv__posix_open(name, O_RDWR | O_CREAT, 0644);
    if (fd < 0) {
        return pv__err_sys(err, pv__posix_code(errno, PV_ERR_CANTOPEN), errno,
                           "cannot open lock file '%s'", name);
    }
    const int e = posixfs_flock(fd, (mode == PV_VFS_LOCK_SHARED ? LOCK_SH : LOCK_EX) | LOCK_NB);
    if (e != 0) {
        (void)close(fd);
        return e == EWOULDBLOCK ? posixfs_lock_busy(f, number, mode, err)
                                : pv__err_sys(err, PV_ERR_IO, e, "locking '%s'", name);
    }
    if (fstat(fd, &mine) == 0 && stat(name, &named) == 0 && mine.st_ino == named.st_ino &&
        mine.st_dev == named.st_dev) {
        *out_fd = fd;
    } else {
        (void)close(fd);
    }
    return 0;
}

int pv__posix_lock(pv_vfs *vfs, pv_file *file, uint32_t number, int mode, pv_error *err) {
    (void)vfs;
    pv__posix_file *f = (pv__posix_file *)(void *)file;
    PV_TRY(posixfs_lock_check(f, number, mode, err));
    int *fd = &f->lock_fds[number];
    if (mode == PV_VFS_UNLOCK) {
        posixfs_lock_drop(f, number);
        return 0;
    }
    if (mode == PV_VFS_LOCK_EXCLUSIVE && f->readonly) {
        return pv__err(err, PV_ERR_READONLY, "'%s': opened for reading", f->path);
    }
    if (*fd >= 0) {
        const int e =
            posixfs_flock(*fd, (mode == PV_VFS_LOCK_SHARED ? LOCK_SH : LOCK_EX) | LOCK_NB);
        if (e == 0) {
            return 0;
        }
        if (posixfs_flock(*fd, LOCK_SH | LOCK_NB) == 0) { /* it may be gone */
            return posixfs_lock_busy(f, number, mode, err);
        }
        (void)close(*fd);
        *fd = -1;
        return pv__err(err, PV_ERR_IO, "'%s': lock %u was lost", f->path, (unsigned)number);
    }
    for (int tries = 0; tries < 100 && *fd < 0; tries++) {
        PV_TRY(posixfs_lock_take(f, number, mode, fd, err));
    }
    return *fd >= 0 ? 0 : posixfs_lock_busy(f, number, mode, err);
}

#undef POSIX_LOCK_NAME_MAX

#endif
