/* SPDX-License-Identifier: Apache-2.0 */
/* vfs_posix_dir.c - names and directories of the posix vfs. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/vfs_posix.h"

static int posixfs_name_error(int e, const char *what, const char *path, pv_error *err) {
    const int code = e == ENOENT                     ? PV_ERR_NOTFOUND
                     : e == EEXIST || e == ENOTEMPTY ? PV_ERR_EXISTS
                                                     : pv__posix_code(e, PV_ERR_IO);
    return pv__err_sys(err, code, e, "%s '%s'", what, path);
}

int pv__posix_unlink(pv_vfs *vfs, const char *path, pv_error *err) {
    (void)vfs;
    return unlink(path) == 0 ? 0 : posixfs_name_error(errno, "removing", path, err);
}

int pv__posix_rename(pv_vfs *vfs, const char *from, const char *to, pv_error *err) {
    (void)vfs;
    return rename(from, to) == 0 ? 0 : posixfs_name_error(errno, "renaming", from, err);
}

int pv__posix_mkdir(pv_vfs *vfs, const char *path, pv_error *err) {
    (void)vfs;
    if (mkdir(path, 0755) == 0) {
        return 0;
    }
    const int e = errno;
    struct stat st;
    if (e == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        return 0;
    }
    return posixfs_name_error(e, "making directory", path, err);
}

int pv__posix_rmdir(pv_vfs *vfs, const char *path, pv_error *err) {
    (void)vfs;
    return rmdir(path) == 0 ? 0 : posixfs_name_error(errno, "removing directory", path, err);
}

int pv__posix_sync_dir(pv_vfs *vfs, const char *path, pv_error *err) {
    (void)vfs;
    const int fd = pv__posix_open(path[0] ? path : ".", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        return posixfs_name_error(errno, "opening directory", path, err);
    }
    int e = 0;
    do {
        e = fsync(fd) == 0 ? 0 : errno;
    } while (e == EINTR);
    (void)close(fd);
    if (e == 0 || e == EINVAL) { /* EINVAL: there directories are not synced but written through */
        return 0;
    }
    return posixfs_name_error(e, "syncing directory", path, err);
}

int pv__posix_list(pv_vfs *vfs, const char *path, int (*fn)(void *arg, const char *name), void *arg,
                   pv_error *err) {
    (void)vfs;
    DIR *dir = opendir(path[0] ? path : "."); /* close-on-exec by POSIX 2008 */
    if (!dir) {
        return posixfs_name_error(errno, "opening directory", path, err);
    }
    int rc = 0;
    while (rc == 0) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            if (errno != 0) {
                rc = posixfs_name_error(errno, "listing directory", path, err);
            }
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            rc = fn(arg, entry->d_name);
        }
    }
    (void)closedir(dir);
    return rc;
}
