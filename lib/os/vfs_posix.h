/* SPDX-License-Identifier: Apache-2.0 */
/* vfs_posix.h - shared between the files of the posix vfs: the open file and its parts. */
#ifndef PV_OS_VFS_POSIX_H
#define PV_OS_VFS_POSIX_H

#include <stdatomic.h>

#include "os/vfs.h"

/* Locks by number: bytes of an open-file-description lock where the system has them, else small
 * files under flock. -DPV_VFS_FLOCK=1 forces the second, so that it can be tested anywhere. */
#ifndef PV_VFS_FLOCK
#if defined(__linux__)
#define PV_VFS_FLOCK 0
#else
#define PV_VFS_FLOCK 1
#endif
#endif

#define PV__VFS_LOCKS 16u
#define PV__VFS_UNTRIED (-2)

typedef struct pv__posix_file {
    int fd;
    bool readonly;
    /* A second descriptor of the same file that goes around the page cache, or POSIX_AROUND_. */
    _Atomic int around_fd;
    _Atomic uint32_t around_off; /* a write with it was refused */
#if PV_VFS_FLOCK
    int lock_fds[PV__VFS_LOCKS]; /* -1: not locked */
#endif
    size_t path_len;
    char path[]; /* as it was opened, for messages */
} pv__posix_file;

/* The code for a failed system call. */
PV_PRIVATE int pv__posix_code(int sys_errno, int otherwise);
/* open(2) with close-on-exec, repeated when interrupted, and never one of the descriptors 0 to 2,
 * into which a host that closed them may still print. -1 with errno. */
PV_PRIVATE int pv__posix_open(const char *path, int flags, int mode);

PV_PRIVATE int pv__posix_lock(pv_vfs *vfs, pv_file *file, uint32_t number, int mode, pv_error *err);
PV_PRIVATE void pv__posix_lock_init(pv__posix_file *f);
PV_PRIVATE void pv__posix_lock_done(pv__posix_file *f);

PV_PRIVATE int pv__posix_unlink(pv_vfs *vfs, const char *path, pv_error *err);
PV_PRIVATE int pv__posix_rename(pv_vfs *vfs, const char *from, const char *to, pv_error *err);
PV_PRIVATE int pv__posix_mkdir(pv_vfs *vfs, const char *path, pv_error *err);
PV_PRIVATE int pv__posix_rmdir(pv_vfs *vfs, const char *path, pv_error *err);
PV_PRIVATE int pv__posix_sync_dir(pv_vfs *vfs, const char *path, pv_error *err);
PV_PRIVATE int pv__posix_list(pv_vfs *vfs, const char *path, int (*fn)(void *arg, const char *name),
                              void *arg, pv_error *err);
PV_PRIVATE int pv__posix_probe(pv_vfs *vfs, const char *path, pv_error *err);

#endif
