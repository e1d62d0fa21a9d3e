/* SPDX-License-Identifier: Apache-2.0 */
/* vfs_posix_probe.c - is this storage local? Over a network file system locks may not exclude,
 * syncs may not reach a disk and a mapping may be stale; databases get damaged there, so it is
 * refused by name. Linux knows the kind as a number (statfs), for FUSE only as a word in the
 * table of mounts. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#else
#include <sys/mount.h>
#include <sys/param.h>
#endif

#include "os/vfs_posix.h"

#define PROBE_PATH_MAX 4096

static int probe_refuse(const char *path, const char *kind, pv_error *err) {
    return pv__err(err, PV_ERR_UNSUPPORTED,
                   "'%s' is on a network file system (%s), where locks and syncs are not reliable",
                   path, kind);
}

/* The folder that `path` is in. */
static void probe_parent(const char *path, char out[PROBE_PATH_MAX]) {
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) : 0;
    if (!slash || n >= PROBE_PATH_MAX) {
        memcpy(out, ".", 2);
    } else {
        memcpy(out, path, n);
        out[n] = 0;
        if (n == 0) {
            memcpy(out, "/", 2);
        }
    }
}

#if defined(__linux__)

static const struct probe_kind {
    uint32_t magic; /* linux/magic.h; not all of them are in every system's copy */
    const char *name;
} probe_kinds[] = {
    {0x00006969u, "nfs"},  {0xFF534D42u, "cifs"},   {0xFE534D42u, "smb2"},   {0x0000517Bu, "smb"},
    {0x01021997u, "9p"},   {0x00C36400u, "ceph"},   {0x5346414Fu, "afs"},    {0x6B414653u, "afs"},
    {0x73757245u, "coda"}, {0x0000564Cu, "ncp"},    {0x0BD00BD0u, "lustre"}, {0x19830326u, "fhgfs"},
    {0x47504653u, "gpfs"}, {0xAAD7AAEAu, "panfs"},  {0x013111A8u, "ibrix"},  {0x7461636Fu, "ocfs2"},
    {0x01161970u, "gfs2"}, {0x786F4256u, "vboxsf"}, {0xBACBACBCu, "vmhgfs"},
};
#define PROBE_FUSE 0x65735546u

static bool probe_fuse_is_remote(const char *kind) {
    static const char *const remote[] = {
        "sshfs",  "s3fs",   "glusterfs", "rclone",   "gcsfuse", "goofys",  "ceph",    "davfs",
        "httpfs", "curlft", "smbnetfs",  "moosefs",  "mfs",     "juicefs", "lizard",  "blobfuse",
        "nfs",    "cvmfs",  "geesefs",   "mount-s3", "s3ql",    "gvfs",    "seaweed",
    };
    for (size_t i = 0; i < PV_COUNTOF(remote); i++) {
        if (strstr(kind, remote[i])) {
            return true;
        }
    }
    return false;
}

/* "ID PARENT MAJOR:MINOR ROOT POINT OPTIONS ... - KIND SOURCE OPTIONS": copy KIND when the line is
 * about device `want`. */
static bool probe_line(const char *line, const char *want, char *out, size_t cap) {
    const char *device = strchr(line, ' ');
    device = device ? strchr(device + 1, ' ') : NULL;
    const char *kind = strstr(line, " - ");
    const size_t len = strlen(want);
    if (!device || !kind || strncmp(device + 1, want, len) != 0 || device[1 + len] != ' ') {
        return false;
    }
    kind += 3;
    const size_t n = PV_MIN(strcspn(kind, " \n"), cap - 1);
    memcpy(out, kind, n);
    out[n] = 0;
    return true;
}

static bool probe_mount_kind(const char *path, char *out, size_t cap) {
    struct stat st;
    char want[64];
    char line[PROBE_PATH_MAX];
    bool found = false;
    FILE *table = stat(path, &st) == 0 ? fopen("/proc/self/mountinfo", "re") : NULL;
    if (!table) {
        return false;
    }
    (void)snprintf(want, sizeof want, "%u:%u", major(st.st_dev), minor(st.st_dev));
    while (!found && fgets(line, sizeof line, table)) {
        found = probe_line(line, want, out, cap);
    }
    (void)fclose(table);
    return found;
}

static int probe_named(const char *shown, const char *path, const struct statfs *fs,
                       pv_error *err) {
    const uint32_t magic = (uint32_t)fs->f_type;
    for (size_t i = 0; i < PV_COUNTOF(probe_kinds); i++) {
        if (probe_kinds[i].magic == magic) {
            return probe_refuse(shown, probe_kinds[i].name, err);
        }
    }
    if (magic == PROBE_FUSE) {
        char kind[64];
        if (!probe_mount_kind(path, kind, sizeof kind)) {
            return probe_refuse(shown, "fuse of unknown kind", err);
        }
        if (probe_fuse_is_remote(kind)) {
            return probe_refuse(shown, kind, err);
        }
    }
    return 0;
}

#undef PROBE_FUSE

#else

static int probe_named(const char *shown, const char *path, const struct statfs *fs,
                       pv_error *err) {
    (void)path;
#if defined(MNT_LOCAL)
    if ((fs->f_flags & MNT_LOCAL) == 0) {
        return probe_refuse(shown, fs->f_fstypename, err);
    }
#else
    (void)shown;
    (void)fs;
    (void)err;
#endif
    return 0;
}

#endif

int pv__posix_probe(pv_vfs *vfs, const char *path, pv_error *err) {
    (void)vfs;
    char parent[PROBE_PATH_MAX];
    struct statfs fs;
    const char *where = path;
    int e = statfs(where, &fs) == 0 ? 0 : errno;
    if (e == ENOENT) { /* not created yet */
        probe_parent(path, parent);
        where = parent;
        e = statfs(where, &fs) == 0 ? 0 : errno;
    }
    if (e != 0) {
        const int code = e == ENOENT ? PV_ERR_NOTFOUND : pv__posix_code(e, PV_ERR_IO);
        return pv__err_sys(err, code, e, "examining the file system of '%s'", path);
    }
    return probe_named(path, where, &fs, err);
}

#undef PROBE_PATH_MAX
