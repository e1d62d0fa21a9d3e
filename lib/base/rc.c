/* SPDX-License-Identifier: Apache-2.0 */
/* rc.c - codes and messages. The message is made where the problem is known, is one line of valid
 * UTF-8 whatever bytes went into it (names come from users and from disk), and costs no
 * allocation. Texts of system errors are our own: strerror is neither thread safe nor free of
 * the locale. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/base.h"
#include "base/str.h"

/* Bytes that would break the line or the encoding become '?'; a sequence cut off at the end by
 * the size of the buffer is dropped. */
static void rc_clean(char *text, size_t len, bool cut) {
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F) {
            text[i] = text[i] == '\n' || text[i] == '\t' ? ' ' : '?';
        }
    }
    size_t bad = 0;
    size_t from = 0;
    while (!pv__utf8_valid(text + from, len - from, &bad)) {
        if (cut && len - (from + bad) < 4) {
            text[from + bad] = 0;
            return;
        }
        text[from + bad] = '?';
        from += bad + 1;
    }
}

static void rc_fill(pv_error *err, int code, int sys_errno) {
    err->struct_size = (uint32_t)sizeof *err;
    err->code = code;
    err->sys_errno = sys_errno;
    err->reserved0 = 0;
    err->record_index = UINT64_MAX;
    err->offset = 0;
}

int pv__err(pv_error *err, int code, const char *fmt, ...) {
    if (!err) {
        return code;
    }
    /* Through a local buffer: an argument may be text inside *err. */
    char text[sizeof err->message];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0) {
        text[0] = 0;
        n = 0;
    }
    const bool cut = (size_t)n >= sizeof text;
    rc_clean(text, cut ? sizeof text - 1 : (size_t)n, cut);
    rc_fill(err, code, 0);
    memcpy(err->message, text, sizeof text);
    return code;
}

static const char *rc_errno_text(int e) {
    switch (e) {
    case EPERM:
        return "operation not permitted";
    case ENOENT:
        return "no such file or directory";
    case EINTR:
        return "interrupted";
    case EIO:
        return "input/output error";
    case ENXIO:
        return "no such device or address";
    case EBADF:
        return "bad file descriptor";
    case EAGAIN:
        return "temporarily not available";
    case ENOMEM:
        return "out of memory";
    case EACCES:
        return "permission denied";
    case EBUSY:
        return "busy";
    case EEXIST:
        return "exists already";
    case EXDEV:
        return "on another file system";
    case ENODEV:
        return "no such device";
    case ENOTDIR:
        return "not a directory";
    case EISDIR:
        return "is a directory";
    case EINVAL:
        return "invalid argument";
    case ENFILE:
        return "too many open files in the system";
    case EMFILE:
        return "too many open files in this process";
    case EFBIG:
        return "file too large";
    case ENOSPC:
        return "no space left on device";
    case EROFS:
        return "read-only file system";
    case EDQUOT:
        return "disk quota exceeded";
    case ENAMETOOLONG:
        return "name too long";
    case ENOTEMPTY:
        return "directory not empty";
    case ELOOP:
        return "too many symbolic links";
    case ENOSYS:
        return "not implemented by the system";
    case ENOLCK:
        return "no locks available";
    case EOPNOTSUPP:
        return "not supported";
    case ESTALE:
        return "stale file handle";
    case ETXTBSY:
        return "text file busy";
    default:
        return NULL;
    }
}

int pv__err_sys(pv_error *err, int code, int sys_errno, const char *fmt, ...) {
    if (!err) {
        return code;
    }
    char text[sizeof err->message];
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0) {
        text[0] = 0;
    }
    const char *why = rc_errno_text(sys_errno);
    if (why) {
        pv__err(err, code, "%.400s: %s", text, why);
    } else {
        pv__err(err, code, "%.400s: system error %d", text, sys_errno);
    }
    err->sys_errno = sys_errno;
    return code;
}

int pv__err_nomem(pv_error *err, size_t size) {
    return pv__err(err, PV_ERR_NOMEM, "out of memory while asking for %zu bytes", size);
}

const char *pv__rc_text(int code) {
    static const char *const texts[] = {
        "ok",
        "misuse",
        "out of memory",
        "i/o error",
        "disk full",
        "can't open",
        "read-only",
        "busy",
        "conflict",
        "corrupt",
        "bad format",
        "not found",
        "exists",
        "wrong dimensions",
        "limit exceeded",
        "cancelled",
        "timeout",
        "unsupported",
        "permission denied",
        "closed",
        "internal error",
        "snapshot too old",
        "log missing",
        "schema error",
    };
    const long long i = -(long long)code;
    return i >= 0 && i < (long long)PV_COUNTOF(texts) ? texts[i] : "unknown code";
}
