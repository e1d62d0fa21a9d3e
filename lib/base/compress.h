/* SPDX-License-Identifier: Apache-2.0 */
/* compress.h - optional compression of blocks. Which codecs exist is decided when the library is
 * built: PV_WITH_ZSTD 0 or 1. Data written with a codec that this build lacks gives
 * PV_ERR_UNSUPPORTED naming it, never PV_ERR_CORRUPT. */
#ifndef PV_BASE_COMPRESS_H
#define PV_BASE_COMPRESS_H

#include "base/alloc.h"

#ifndef PV_WITH_ZSTD
#define PV_WITH_ZSTD 0
#endif

#define PV__CODEC_NONE 0u
#define PV__CODEC_ZSTD 1u

PV_PRIVATE bool pv__codec_built_in(uint32_t codec);
PV_PRIVATE const char *pv__codec_name(uint32_t codec); /* "none", "zstd" or "unknown" */
/* A capacity that always suffices for n bytes. */
PV_PRIVATE size_t pv__compress_bound(uint32_t codec, size_t n);
/* level 0: the codec's default. *out_size 0 with result 0 (n > 0): does not fit into cap, which
 * is no error, because callers ask "does this shrink below cap?". mem carries the work space. */
PV_PRIVATE int pv__compress(pv__mem *mem, uint32_t codec, int level, const void *src, size_t n,
                            void *dst, size_t cap, size_t *out_size, pv_error *err);
/* PV_ERR_CORRUPT when src is not one whole valid block or holds more than cap bytes. */
PV_PRIVATE int pv__decompress(pv__mem *mem, uint32_t codec, const void *src, size_t n, void *dst,
                              size_t cap, size_t *out_size, pv_error *err);

#endif
