/* SPDX-License-Identifier: Apache-2.0 */
/* pv_unstable.h - what may still change: the vtables for replacing files, clock and random source.
 * No promise about these is made before 1.0. */
#ifndef PV_UNSTABLE_H
#define PV_UNSTABLE_H

#include <stddef.h>
#include <stdint.h>

#include "pv.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Files. The library opens the database file, log segments in a directory beside it, and a small
 * shared file. Every function returns 0 or a PV_ERR_ code and fills err. A vfs is used from many
 * threads; one file may be read and written by several at once (never the same bytes). */

typedef struct pv_file pv_file; /* the implementation's own */

typedef struct pv_io {
    uint64_t offset; /* bytes from the start of the file */
    void *data;      /* read into, or written from */
    size_t size;
    size_t done; /* read: bytes that exist in the file, the rest of data is zero-filled */
} pv_io;

#define PV_VFS_OPEN_CREATE 0x1u    /* create when missing */
#define PV_VFS_OPEN_EXCLUSIVE 0x2u /* with CREATE: PV_ERR_EXISTS when it is there */
#define PV_VFS_OPEN_READONLY 0x4u

#define PV_VFS_UNLOCK 0
#define PV_VFS_LOCK_SHARED 1
#define PV_VFS_LOCK_EXCLUSIVE 2

struct pv_vfs { /* its typedef is in pv.h */
    uint32_t struct_size; /* sizeof(pv_vfs) */
    uint32_t flags;       /* 0 */
    void *ctx;
    /* PV_ERR_NOTFOUND when missing without CREATE; PV_ERR_PERM or PV_ERR_READONLY when not
     * allowed; PV_ERR_CANTOPEN else. *out_created (may be NULL): this call made the file. */
    int (*open)(pv_vfs *vfs, const char *path, uint32_t flags, pv_file **out_file,
                int *out_created, pv_error *err);
    int (*close)(pv_vfs *vfs, pv_file *file, pv_error *err); /* drops its locks */
    /* All n requests or an error; short reads only at the end of the file (see pv_io.done). */
    int (*read)(pv_vfs *vfs, pv_file *file, pv_io *reqs, size_t n, pv_error *err);
    int (*write)(pv_vfs *vfs, pv_file *file, const pv_io *reqs, size_t n, pv_error *err);
    /* Data and what is needed to find it, the file's size too (fdatasync). */
    int (*sync)(pv_vfs *vfs, pv_file *file, pv_error *err);
    int (*truncate)(pv_vfs *vfs, pv_file *file, uint64_t size, pv_error *err);
    /* Make [offset, offset + size) take no further space errors and read as zero where new. */
    int (*allocate)(pv_vfs *vfs, pv_file *file, uint64_t offset, uint64_t size, pv_error *err);
    int (*size)(pv_vfs *vfs, pv_file *file, uint64_t *out_size, pv_error *err);
    int (*unlink)(pv_vfs *vfs, const char *path, pv_error *err); /* missing: PV_ERR_NOTFOUND */
    int (*rename)(pv_vfs *vfs, const char *from, const char *to, pv_error *err);
    int (*mkdir)(pv_vfs *vfs, const char *path, pv_error *err); /* there already: 0 */
    int (*rmdir)(pv_vfs *vfs, const char *path, pv_error *err); /* missing: PV_ERR_NOTFOUND */
    /* Make creations, renames and removals of entries in this directory durable. `path` names
     * the directory. */
    int (*sync_dir)(pv_vfs *vfs, const char *path, pv_error *err);
    /* Call fn for each entry (not . and ..), in no order; a non-zero return stops and is
     * returned. Missing directory: PV_ERR_NOTFOUND. */
    int (*list)(pv_vfs *vfs, const char *path, int (*fn)(void *arg, const char *name), void *arg,
                pv_error *err);
    /* Locks by number (0..15) on an open file, between processes and between handles of one
     * process. Never waits: PV_ERR_BUSY. Held until unlocked or the file is closed. */
    int (*lock)(pv_vfs *vfs, pv_file *file, uint32_t number, int mode, pv_error *err);
    /* Local storage on which the promises above hold? 0, or PV_ERR_UNSUPPORTED naming what is
     * wrong (network file systems). May be NULL. */
    int (*probe)(pv_vfs *vfs, const char *path, pv_error *err);
    /* These bytes will be read soon: begin to fetch them, without waiting. A hint. May be NULL, or
     * behind struct_size. */
    void (*ahead)(pv_vfs *vfs, pv_file *file, uint64_t offset, uint64_t size);
    /* As write, for much that will hardly be read soon, so that the system need not keep it in
     * memory. Offsets, sizes and addresses are multiples of 4096. May be NULL or lie beyond
     * struct_size: then write is used. */
    int (*write_around)(pv_vfs *vfs, pv_file *file, const pv_io *reqs, size_t n, pv_error *err);
};

/* Time and randomness. NULL members: the system's. */
struct pv_clock {
    void *ctx;
    int64_t (*wall_us)(void *ctx);  /* microseconds since 1970-01-01 UTC */
    uint64_t (*mono_us)(void *ctx); /* never goes back */
    int (*random)(void *ctx, void *out, size_t n); /* 0, or non-zero when it has none */
};

#ifdef __cplusplus
}
#endif
#endif
