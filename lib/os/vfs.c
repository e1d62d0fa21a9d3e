/* SPDX-License-Identifier: Apache-2.0 */
/* vfs.c - the convenience calls: one request at a time through any pv_vfs. */
#include "os/vfs.h"

#include <stddef.h>

int pv__vfs_read(pv_vfs *vfs, pv_file *file, uint64_t offset, void *data, size_t size,
                 pv_error *err) {
    pv_io io = {offset, data, size, 0};
    PV_TRY(vfs->read(vfs, file, &io, 1, err));
    if (io.done != size) {
        int rc = pv__err(err, PV_ERR_CORRUPT,
                         "short read: the file ends %zu bytes into the %zu at offset %llu", io.done,
                         size, (unsigned long long)offset);
        if (err) {
            err->offset = offset;
        }
        return rc;
    }
    return 0;
}

int pv__vfs_write(pv_vfs *vfs, pv_file *file, uint64_t offset, const void *data, size_t size,
                  pv_error *err) {
    pv_io io = {offset, (void *)(uintptr_t)data, size, 0}; /* write only reads through data */
    return vfs->write(vfs, file, &io, 1, err);
}

bool pv__vfs_has_ahead(const pv_vfs *vfs) {
    return vfs->struct_size >= offsetof(pv_vfs, ahead) + sizeof vfs->ahead && vfs->ahead;
}

void pv__vfs_ahead(pv_vfs *vfs, pv_file *file, uint64_t offset, uint64_t size) {
    if (pv__vfs_has_ahead(vfs)) {
        vfs->ahead(vfs, file, offset, size);
    }
}

int pv__vfs_write_around(pv_vfs *vfs, pv_file *file, const pv_io *reqs, size_t n, pv_error *err) {
    const bool has =
        vfs->struct_size >= offsetof(pv_vfs, write_around) + sizeof vfs->write_around &&
        vfs->write_around;
    return has ? vfs->write_around(vfs, file, reqs, n, err) : vfs->write(vfs, file, reqs, n, err);
}
