/* SPDX-License-Identifier: Apache-2.0 */
/* vfs.h - the built-in file systems behind the pv_vfs vtable of pv_unstable.h. All file, lock
 * and directory calls of the library go through a pv_vfs; nothing else in lib/ may name them. */
#ifndef PV_OS_VFS_H
#define PV_OS_VFS_H

#include "base/alloc.h"
#include "pv_unstable.h"

/* Real files: pread/pwrite, fdatasync, OFD locks. A static constant; needs no free. */
PV_PRIVATE pv_vfs *pv__vfs_posix(void);
/* Files in memory, private to the returned object: for tests and tools. Locks work between
 * handles of the same object. Free with pv__vfs_mem_free when all files are closed. */
PV_PRIVATE int pv__vfs_mem_new(pv__mem *mem, pv_vfs **out_vfs, pv_error *err);
PV_PRIVATE void pv__vfs_mem_free(pv_vfs *vfs);

/* One request in one call. read: bytes past the end of the file are an error (PV_ERR_CORRUPT,
 * "short read"), since whoever asks for them followed a wrong pointer or lost a file's tail. */
PV_PRIVATE int pv__vfs_read(pv_vfs *vfs, pv_file *file, uint64_t offset, void *data, size_t size,
                            pv_error *err);
/* pv_vfs.ahead, where there is one. */
PV_PRIVATE bool pv__vfs_has_ahead(const pv_vfs *vfs);
PV_PRIVATE void pv__vfs_ahead(pv_vfs *vfs, pv_file *file, uint64_t offset, uint64_t size);
PV_PRIVATE int pv__vfs_write(pv_vfs *vfs, pv_file *file, uint64_t offset, const void *data,
                             size_t size, pv_error *err);
/* The vfs's write_around where it has one, else write. */
PV_PRIVATE int pv__vfs_write_around(pv_vfs *vfs, pv_file *file, const pv_io *reqs, size_t n,
                                    pv_error *err);
#define PV__VFS_AROUND 4096u /* offsets, sizes and addresses are multiples of it */

#endif
