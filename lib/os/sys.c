/* SPDX-License-Identifier: Apache-2.0 */
/* sys.c - clock, random bytes, processor, memory and the mark of a forked child. Nothing is kept
 * between calls: the library has no mutable globals, callers store what they asked for. */
#include "os/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/random.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif
#elif defined(__APPLE__)
#include <sys/random.h>
#include <sys/sysctl.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "os/cgroup.h"
#include "pv_unstable.h"

#define SYS_HUGE ((size_t)2 << 20)
#define SYS_PAGE_MIN ((size_t)4096) /* no page is smaller */
#define SYS_ASIMDDP (1ul << 20)     /* of AT_HWCAP on arm64 */

int64_t pv__sys_wall_us(const pv_clock *clock) {
    struct timespec t = {0, 0};
    if (clock && clock->wall_us) {
        return clock->wall_us(clock->ctx);
    }
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + (int64_t)t.tv_nsec / 1000;
}

uint64_t pv__sys_mono_us(const pv_clock *clock) {
    struct timespec t = {0, 0};
    if (clock && clock->mono_us) {
        return clock->mono_us(clock->ctx);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static int sys_random_file(uint8_t *out, size_t n, pv_error *err) {
    const int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return pv__err_sys(err, PV_ERR_IO, errno, "no random bytes: /dev/urandom");
    }
    while (n > 0) {
        const ssize_t got = read(fd, out, n);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            const int e = got < 0 ? errno : EIO;
            (void)close(fd);
            return pv__err_sys(err, PV_ERR_IO, e, "no random bytes: /dev/urandom");
        }
        out += got;
        n -= (size_t)got;
    }
    (void)close(fd);
    return 0;
}

int pv__sys_random(const pv_clock *clock, void *out, size_t n, pv_error *err) {
    if (clock && clock->random) {
        return clock->random(clock->ctx, out, n) == 0
                   ? 0
                   : pv__err(err, PV_ERR_IO, "the caller's random source has no bytes");
    }
    uint8_t *p = out;
    while (n > 0) {
        const size_t part = PV_MIN(n, (size_t)256); /* never interrupted nor short */
#if defined(__linux__)
        const bool ok = getrandom(p, part, 0) == (ssize_t)part;
#elif defined(__APPLE__)
        const bool ok = getentropy(p, part) == 0;
#else
        const bool ok = false;
#endif
        if (!ok) {
            return sys_random_file(p, n, err);
        }
        p += part;
        n -= part;
    }
    return 0;
}

#if defined(__x86_64__)
/* Which register files the system saves at a task switch (XCR0). Only with OSXSAVE. */
static uint64_t sys_xcr0(void) {
    uint32_t low = 0;
    uint32_t high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}
#endif

uint32_t pv__sys_cpu(void) {
    uint32_t found = 0;
#if defined(__x86_64__)
    unsigned a = 0, b = 0, c = 0, d = 0;
    const unsigned leaf1 = bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & leaf1) != leaf1) {
        return 0;
    }
    const uint64_t saved = sys_xcr0();
    if ((saved & 0x06) != 0x06 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        return 0; /* XMM and YMM */
    }
    if (b & bit_AVX2) {
        found |= PV__CPU_AVX2;
    }
    const unsigned wide = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if ((found & PV__CPU_AVX2) && (b & wide) == wide && (saved & 0xE6) == 0xE6) {
        found |= PV__CPU_AVX512; /* and opmask, ZMM0-15, ZMM16-31 */
        found |= (c & (1u << 11)) != 0 ? PV__CPU_VNNI : 0;
        found |= (c & (1u << 14)) != 0 ? PV__CPU_VPOPCNT : 0;
        const unsigned subleaf_max = a;
        if (subleaf_max >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
            found |= (a & (1u << 5)) != 0 ? PV__CPU_BF16 : 0;
        }
    }
#elif defined(__aarch64__)
    found = PV__CPU_NEON; /* part of the base architecture */
#if defined(__ARM_FEATURE_DOTPROD)
    found |= PV__CPU_DOTPROD; /* the compiler takes it for granted, as on every Mac */
#elif defined(__linux__)
    found |= (getauxval(AT_HWCAP) & SYS_ASIMDDP) != 0 ? PV__CPU_DOTPROD : 0;
#endif
#endif
    return found;
}

unsigned pv__sys_cores(void) {
    long n = 0;
#if defined(__linux__)
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        n = CPU_COUNT(&set);
    }
#endif
    if (n <= 0) {
        n = sysconf(_SC_NPROCESSORS_ONLN);
    }
    const unsigned all = n > 0 ? (unsigned)n : 1;
    return PV_MAX(PV_MIN(all, pv__cgroup_cores()), 1u);
}

uint64_t pv__sys_ram_bytes(void) {
    uint64_t bytes = 0;
#if defined(__APPLE__)
    size_t len = sizeof bytes;
    if (sysctlbyname("hw.memsize", &bytes, &len, NULL, 0) != 0) {
        bytes = 0;
    }
#else
    const long pages = sysconf(_SC_PHYS_PAGES);
    const long page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0) {
        bytes = (uint64_t)pages * (uint64_t)page;
    }
#endif
    if (bytes == 0) {
        bytes = (uint64_t)1 << 30; /* unknown: be modest */
    }
    return PV_MIN(bytes, pv__cgroup_memory_bytes());
}

void pv__sys_sleep_ms(uint32_t ms) {
    struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000L};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

uint64_t pv__sys_pid(void) { return (uint64_t)getpid(); }

bool pv__sys_pid_alive(uint64_t pid) {
    if (pid == 0 || pid > INT_MAX) {
        return false;
    }
    return kill((pid_t)pid, 0) == 0 || errno == EPERM;
}

static size_t sys_page_round(size_t size) {
    const long page = sysconf(_SC_PAGESIZE);
    const size_t unit = page > 0 ? (size_t)page : 4096;
    return size > SIZE_MAX - 2 * SYS_HUGE ? 0 : PV_ALIGN_UP(PV_MAX(size, (size_t)1), unit);
}

void *pv__sys_map(size_t size) {
    const size_t need = sys_page_round(size);
    if (need == 0) {
        return NULL;
    }
    /* Huge pages want their own alignment: take more and give back both ends. */
    const size_t extra = need >= SYS_HUGE ? SYS_HUGE : 0;
    uint8_t *p =
        mmap(NULL, need + extra, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    if (extra > 0) {
        const uintptr_t at = (uintptr_t)p;
        const size_t before = (size_t)(PV_ALIGN_UP(at, (uintptr_t)SYS_HUGE) - at);
        if (before > 0) {
            (void)munmap(p, before);
        }
        if (extra > before) {
            (void)munmap(p + before + need, extra - before);
        }
        p += before;
#if defined(MADV_HUGEPAGE)
        (void)madvise(p, need, MADV_HUGEPAGE); /* a wish */
#endif
    }
    return p;
}

void pv__sys_unmap(void *p, size_t size) {
    if (p) {
        (void)munmap(p, sys_page_round(size));
    }
}

void pv__sys_touch(void *p, size_t size) {
    volatile uint8_t *at = p;
    for (size_t i = 0; i < size; i += SYS_PAGE_MIN) {
        at[i] = 0;
    }
}

void pv__sys_discard(void *p, size_t size) {
#if defined(__linux__)
    (void)madvise(p, size, MADV_DONTNEED); /* reads as zero from now on */
#else
    /* Elsewhere MADV_DONTNEED may keep the bytes: map fresh pages over them. */
    (void)mmap(p, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
#endif
}

void pv__forkmark_init(pv__forkmark *m) {
    m->page = NULL;
    m->pid = pv__sys_pid();
#if defined(MADV_WIPEONFORK)
    const size_t size = sys_page_round(1);
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        return;
    }
    if (madvise(p, size, MADV_WIPEONFORK) != 0) { /* before Linux 4.14 */
        (void)munmap(p, size);
        return;
    }
    m->page = p;
    *m->page = 1;
#endif
}

bool pv__forkmark_same(const pv__forkmark *m) {
    return m->page ? *m->page == 1 : m->pid == pv__sys_pid();
}

void pv__forkmark_done(pv__forkmark *m) {
    if (m->page) {
        (void)munmap((void *)(uintptr_t)m->page, sys_page_round(1));
        m->page = NULL;
    }
}

#undef SYS_HUGE
#undef SYS_PAGE_MIN
#undef SYS_ASIMDDP
