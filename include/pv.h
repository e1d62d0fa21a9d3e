/* SPDX-License-Identifier: Apache-2.0 */
/* pv.h - Piramid, a transactional vector engine in one file: the whole stable public API. */
#ifndef PV_H
#define PV_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PV_VERSION_MAJOR 0
#define PV_VERSION_MINOR 1
#define PV_VERSION_PATCH 0
#define PV_VERSION_STRING "0.1.0"

#ifndef PV_EXTERN
#if defined(__GNUC__)
#define PV_EXTERN extern __attribute__((visibility("default")))
#else
#define PV_EXTERN extern
#endif
#endif

/* Codes: 0 is success, every failure is negative. */
#define PV_OK 0
#define PV_ERR_MISUSE (-1)       /* the call is wrong whatever the data: a bug in the caller */
#define PV_ERR_NOMEM (-2)        /* memory, or the handle's memory limit, ran out */
#define PV_ERR_IO (-3)           /* a system call failed; sys_errno has its number */
#define PV_ERR_FULL (-4)         /* no space left on the device */
#define PV_ERR_CANTOPEN (-5)
#define PV_ERR_READONLY (-6)
#define PV_ERR_BUSY (-7)         /* another process or transaction holds it */
#define PV_ERR_CONFLICT (-8)
#define PV_ERR_CORRUPT (-9)      /* stored bytes are damaged; the message names page and owner */
#define PV_ERR_FORMAT (-10)      /* not a database, a newer format, or input that does not parse */
#define PV_ERR_NOTFOUND (-11)
#define PV_ERR_EXISTS (-12)
#define PV_ERR_DIMS (-13)        /* wrong number of dimensions or wrong element type */
#define PV_ERR_LIMIT (-14)       /* a stated limit is exceeded */
#define PV_ERR_CANCELLED (-15)
#define PV_ERR_TIMEOUT (-16)
#define PV_ERR_UNSUPPORTED (-17) /* known to be impossible in this version or build */
#define PV_ERR_PERM (-18)
#define PV_ERR_CLOSED (-19)      /* the handle was closed */
#define PV_ERR_INTERNAL (-20)    /* a bug in the library */
#define PV_ERR_SNAPSHOT_TOO_OLD (-21)
#define PV_ERR_LOG_MISSING (-22) /* the file needs its log directory, which is not there */
#define PV_ERR_SCHEMA (-23)

typedef struct pv_error {
    uint32_t struct_size;  /* PV_ERROR_INIT sets it */
    int32_t code;          /* what the call returned */
    int32_t sys_errno;     /* 0 when no system call failed */
    uint32_t reserved0;
    uint64_t record_index; /* of a batch; UINT64_MAX when it is not about one record */
    uint64_t offset;       /* byte offset in the text or file that is meant, else 0 */
    char message[480];     /* one line of UTF-8, always terminated */
} pv_error;
#define PV_ERROR_INIT {sizeof(pv_error), 0, 0, 0, UINT64_MAX, 0, {0}}

typedef struct pv_allocator {
    void *ctx;
    /* malloc (p NULL), free (new_size 0, returns NULL) and realloc in one; any thread. */
    void *(*realloc)(void *ctx, void *p, size_t old_size, size_t new_size);
} pv_allocator;

#define PV_LOG_ERROR 1
#define PV_LOG_WARN 2
#define PV_LOG_INFO 3
#define PV_LOG_DEBUG 4
typedef void (*pv_log_fn)(void *ctx, int level, const char *category, const char *message);

typedef struct pv_clock pv_clock; /* pv_unstable.h */

#ifdef __cplusplus
}
#endif
#endif
