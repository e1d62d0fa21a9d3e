/* SPDX-License-Identifier: Apache-2.0 */
/* image.h - a database file and its log as one short run of bytes, for the targets that feed
 * damaged files to the library.
 *
 *      input:  [file u8][offset u32][length u16][bytes] ...     file 0: the database, 1..: segments
 *                |  image_read: later pieces overwrite earlier ones, all else is zero
 *              image  --image_mend-->  checksums that fit again  --image_store-->  files of a vfs
 *
 * Without mending, nearly every mutation would end at a checksum. The mender is written from the
 * format alone (store/format.h, docs/format) and shares only the hash function with the library. */
#ifndef FUZZ_IMAGE_H
#define FUZZ_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pv_unstable.h"

enum {
    IMAGE_FILES = 4,           /* the database and up to three segments */
    IMAGE_BYTES_MAX = 1 << 21, /* of one file; pieces beyond it are left out */
    IMAGE_PIECE_HEAD = 7
};

typedef struct image_file {
    uint8_t *bytes; /* IMAGE_BYTES_MAX of them, zero behind size */
    size_t size;
} image_file;

typedef struct image {
    image_file files[IMAGE_FILES];
} image;

/* False when memory ran out. A piece that is cut off ends the input. */
bool image_read(image *img, const uint8_t *data, size_t size);
void image_done(image *img);

/* Make the checksums of superblocks, table nodes and pages fit their bytes, and those of segment
 * heads and log records with their chain. */
void image_mend(image *img);

/* Write the database to "fuzz.pv" and the segments, under the names that their heads ask for, to
 * "fuzz.pv-wal". 0 or the code of the vfs. */
#define IMAGE_PATH "fuzz.pv"
#define IMAGE_LOG_DIR "fuzz.pv-wal"
int image_store(const image *img, pv_vfs *vfs, pv_error *err);

/* The other way, for making seeds. */
bool image_load(image *img, pv_vfs *vfs, pv_error *err);
/* Pieces for all that is not zero; returns their bytes, at most cap are written. */
size_t image_pack(const image *img, uint8_t *out, size_t cap);

#endif
