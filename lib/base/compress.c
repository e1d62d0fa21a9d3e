/* SPDX-License-Identifier: Apache-2.0 */
/* compress.c - see compress.h. zstd works in one static context inside a block of memory that
 * pv__alloc gives, so that its allocations are counted, limited and can be made to fail like all
 * others. Not here: dictionaries and streams; who compresses cuts its data into blocks. */
#include "base/compress.h"

#if PV_WITH_ZSTD
#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_initStatic*: the caller's memory */
#include <zstd.h>
#include <zstd_errors.h>
#endif

bool pv__codec_built_in(uint32_t codec) {
    return codec == PV__CODEC_NONE || (codec == PV__CODEC_ZSTD && PV_WITH_ZSTD != 0);
}

const char *pv__codec_name(uint32_t codec) {
    return codec == PV__CODEC_NONE ? "none" : codec == PV__CODEC_ZSTD ? "zstd" : "unknown";
}

static int compress_refuse(uint32_t codec, pv_error *err) {
    if (codec == PV__CODEC_ZSTD) {
        return pv__err(err, PV_ERR_UNSUPPORTED,
                       "codec 'zstd' is not in this build of the library (PV_WITH_ZSTD)");
    }
    return pv__err(err, PV_ERR_UNSUPPORTED, "codec %u is not known to this version",
                   (unsigned)codec);
}

size_t pv__compress_bound(uint32_t codec, size_t n) {
#if PV_WITH_ZSTD
    if (codec == PV__CODEC_ZSTD) {
        return ZSTD_compressBound(n);
    }
#endif
    (void)codec;
    return n;
}

#if PV_WITH_ZSTD
static int compress_zstd(pv__mem *mem, int level, const void *src, size_t n, void *dst, size_t cap,
                         size_t *out_size, pv_error *err) {
    if (level < ZSTD_minCLevel() || level > ZSTD_maxCLevel()) {
        return pv__err(err, PV_ERR_MISUSE, "zstd: level %d is not possible", level);
    }
    const int used_level = level == 0 ? ZSTD_CLEVEL_DEFAULT : level;
    /* Sized for n, not for the level's largest window: a page needs some 100 KB, not 1.3 MB. */
    const size_t work_size = ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(used_level, n, 0));
    if (ZSTD_isError(work_size)) {
        return pv__err(err, PV_ERR_INTERNAL, "zstd: %s", ZSTD_getErrorName(work_size));
    }
    void *work = pv__alloc_aligned(mem, work_size, 64);
    if (!work) {
        return pv__err_nomem(err, work_size);
    }
    int rc = 0;
    ZSTD_CCtx *ctx = ZSTD_initStaticCCtx(work, work_size);
    size_t done = 0;
    if (ctx) {
        done = ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, used_level);
        done = ZSTD_isError(done) ? done : ZSTD_compress2(ctx, dst, cap, src, n);
    }
    if (!ctx) {
        rc = pv__err(err, PV_ERR_INTERNAL, "zstd: no context in %zu bytes", work_size);
    } else if (!ZSTD_isError(done)) {
        *out_size = done;
    } else if (ZSTD_getErrorCode(done) == ZSTD_error_dstSize_tooSmall) {
        *out_size = 0;
    } else {
        rc = pv__err(err, PV_ERR_INTERNAL, "zstd: compressing %zu bytes: %s", n,
                     ZSTD_getErrorName(done));
    }
    pv__alloc_free_aligned(mem, work, work_size, 64);
    return rc;
}

static int compress_unzstd(pv__mem *mem, const void *src, size_t n, void *dst, size_t cap,
                           size_t *out_size, pv_error *err) {
    const size_t work_size = ZSTD_estimateDCtxSize();
    void *work = pv__alloc_aligned(mem, work_size, 64);
    if (!work) {
        return pv__err_nomem(err, work_size);
    }
    int rc = 0;
    ZSTD_DCtx *ctx = ZSTD_initStaticDCtx(work, work_size);
    size_t done = ctx ? ZSTD_decompressDCtx(ctx, dst, cap, src, n) : 0;
    if (!ctx) {
        rc = pv__err(err, PV_ERR_INTERNAL, "zstd: no context in %zu bytes", work_size);
    } else if (ZSTD_isError(done)) {
        rc = pv__err(err, PV_ERR_CORRUPT, "zstd block of %zu bytes does not unpack: %s", n,
                     ZSTD_getErrorName(done));
    } else {
        *out_size = done;
    }
    pv__alloc_free_aligned(mem, work, work_size, 64);
    return rc;
}
#endif

int pv__compress(pv__mem *mem, uint32_t codec, int level, const void *src, size_t n, void *dst,
                 size_t cap, size_t *out_size, pv_error *err) {
    if (codec == PV__CODEC_NONE) {
        if (n <= cap && n > 0) {
            memcpy(dst, src, n);
        }
        *out_size = n <= cap ? n : 0;
        return 0;
    }
#if PV_WITH_ZSTD
    if (codec == PV__CODEC_ZSTD) {
        return compress_zstd(mem, level, src, n, dst, cap, out_size, err);
    }
#endif
    (void)mem;
    (void)level;
    return compress_refuse(codec, err);
}

int pv__decompress(pv__mem *mem, uint32_t codec, const void *src, size_t n, void *dst, size_t cap,
                   size_t *out_size, pv_error *err) {
    if (codec == PV__CODEC_NONE) {
        if (n > cap) {
            return pv__err(err, PV_ERR_CORRUPT, "block of %zu bytes where at most %zu belong", n,
                           cap);
        }
        if (n > 0) {
            memcpy(dst, src, n);
        }
        *out_size = n;
        return 0;
    }
#if PV_WITH_ZSTD
    if (codec == PV__CODEC_ZSTD) {
        return compress_unzstd(mem, src, n, dst, cap, out_size, err);
    }
#endif
    (void)mem;
    return compress_refuse(codec, err);
}
