/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup.c - limits of the control groups this process is in.
 *
 *   /proc/self/cgroup   "0::/a/b"          -> v2: /sys/fs/cgroup/a/b/memory.max, then /a, then /
 *                       "7:memory:/a/b"    -> v1: /sys/fs/cgroup/memory/a/b/memory.limit_in_bytes
 *
 * A limit anywhere on the way to the root counts, so all levels are read. In a container the path
 * is often that of the host while only the group's own folder is mounted: missing files on the way
 * are skipped and the mount's root is read last, which is then the group itself. */
#include "os/cgroup.h"

#include <limits.h>

#if defined(__linux__)
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/str.h"

#define CGROUP_TEXT_MAX 4096

/* The whole of a small file, terminated; false when it is not there. */
static bool cgroup_read(const char *path, char *text, size_t cap) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    size_t len = 0;
    for (;;) {
        const ssize_t n = read(fd, text + len, cap - 1 - len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            break;
        }
        len += (size_t)n;
    }
    (void)close(fd);
    text[len] = 0;
    return true;
}

/* The number at *text, moved on behind it; "max" and other text give UINT64_MAX. */
static uint64_t cgroup_number(const char **text) {
    const char *s = *text;
    while (*s == ' ') {
        s++;
    }
    const size_t len = strspn(s, "-0123456789");
    const size_t word = strcspn(s, " \n");
    int64_t v = 0;
    *text = s + word;
    /* v1 says "no limit" as a number near 2^63 or as -1. */
    if (len == 0 || len != word || !pv__str_to_i64(s, len, &v) || v < 0 || v > INT64_MAX / 2) {
        return UINT64_MAX;
    }
    return (uint64_t)v;
}

/* The path of this process in the hierarchy whose line has `controller` ("" is v2). */
static bool cgroup_path(const char *list, const char *controller, char *out, size_t cap) {
    const size_t want = strlen(controller);
    for (const char *line = list; *line;) {
        const size_t len = strcspn(line, "\n");
        const char *names = memchr(line, ':', len);
        const char *path = names ? memchr(names + 1, ':', len - (size_t)(names + 1 - line)) : NULL;
        if (path) {
            bool hit = want == 0 && path == names + 1;
            for (const char *s = names + 1; want > 0 && s < path;) {
                const char *comma = memchr(s, ',', (size_t)(path - s));
                const size_t n = (size_t)((comma ? comma : path) - s);
                hit = hit || (n == want && memcmp(s, controller, n) == 0);
                s += n + 1;
            }
            const size_t n = len - (size_t)(path + 1 - line);
            if (hit && n < cap) {
                memcpy(out, path + 1, n);
                out[n] = 0;
                return true;
            }
        }
        line += len + (line[len] == '\n');
    }
    return false;
}

typedef uint64_t (*cgroup_take_fn)(const char *text, const char *folder);

/* The smallest of what `take` makes of `file` in the group and all above it. */
static uint64_t cgroup_walk(const char *root, char *path, const char *file, cgroup_take_fn take) {
    char name[2 * CGROUP_TEXT_MAX];
    char text[256];
    uint64_t best = UINT64_MAX;
    for (;;) {
        const int n = snprintf(name, sizeof name, "%s%s/%s", root, path, file);
        if (n > 0 && (size_t)n < sizeof name && cgroup_read(name, text, sizeof text)) {
            name[(size_t)n - strlen(file)] = 0;
            best = PV_MIN(best, take(text, name));
        }
        char *slash = strrchr(path, '/');
        if (!slash) {
            return best;
        }
        *slash = 0;
    }
}

static uint64_t cgroup_find(const char *controller, const char *file_v2, cgroup_take_fn take_v2,
                            const char *file_v1, cgroup_take_fn take_v1) {
    char list[CGROUP_TEXT_MAX];
    char path[CGROUP_TEXT_MAX];
    char root[64];
    uint64_t best = UINT64_MAX;
    if (!cgroup_read("/proc/self/cgroup", list, sizeof list)) {
        return best;
    }
    if (cgroup_path(list, "", path, sizeof path)) {
        best = cgroup_walk("/sys/fs/cgroup", path, file_v2, take_v2);
    }
    if (cgroup_path(list, controller, path, sizeof path)) {
        (void)snprintf(root, sizeof root, "/sys/fs/cgroup/%s", controller);
        best = PV_MIN(best, cgroup_walk(root, path, file_v1, take_v1));
    }
    return best;
}

static uint64_t cgroup_take_number(const char *text, const char *folder) {
    (void)folder;
    return cgroup_number(&text);
}

static uint64_t cgroup_cores_of(uint64_t quota_us, uint64_t period_us) {
    if (quota_us == UINT64_MAX || period_us == UINT64_MAX || quota_us == 0 || period_us == 0) {
        return UINT64_MAX;
    }
    return (quota_us - 1) / period_us + 1;
}

/* "QUOTA PERIOD" or "max PERIOD" */
static uint64_t cgroup_take_cpu_v2(const char *text, const char *folder) {
    (void)folder;
    const uint64_t quota_us = cgroup_number(&text);
    return cgroup_cores_of(quota_us, cgroup_number(&text));
}

/* The quota; its period is in a file beside it. */
static uint64_t cgroup_take_cpu_v1(const char *text, const char *folder) {
    char name[2 * CGROUP_TEXT_MAX + 32];
    char period[64];
    const int n = snprintf(name, sizeof name, "%scpu.cfs_period_us", folder);
    if (n <= 0 || (size_t)n >= sizeof name || !cgroup_read(name, period, sizeof period)) {
        return UINT64_MAX;
    }
    const char *p = period;
    return cgroup_cores_of(cgroup_number(&text), cgroup_number(&p));
}

uint64_t pv__cgroup_memory_bytes(void) {
    return cgroup_find("memory", "memory.max", cgroup_take_number, "memory.limit_in_bytes",
                       cgroup_take_number);
}

unsigned pv__cgroup_cores(void) {
    const uint64_t n =
        cgroup_find("cpu", "cpu.max", cgroup_take_cpu_v2, "cpu.cfs_quota_us", cgroup_take_cpu_v1);
    return n > UINT_MAX ? UINT_MAX : (unsigned)n;
}

#undef CGROUP_TEXT_MAX

#else

uint64_t pv__cgroup_memory_bytes(void) { return UINT64_MAX; }

unsigned pv__cgroup_cores(void) { return UINT_MAX; }

#endif
