/* SPDX-License-Identifier: Apache-2.0 */
/* sys.h - what a process asks its system besides files: clock, random bytes, CPU features, memory
 * size, large anonymous memory, and whether it is a forked child. */
#ifndef PV_OS_SYS_H
#define PV_OS_SYS_H

#include "base/base.h"

/* Clock and random as one injectable table (pv_unstable.h has the public shape). NULL members of
 * the caller's table fall back to the system's. */
PV_PRIVATE int64_t pv__sys_wall_us(const pv_clock *clock); /* since 1970-01-01 UTC */
PV_PRIVATE uint64_t pv__sys_mono_us(const pv_clock *clock);
PV_PRIVATE int pv__sys_random(const pv_clock *clock, void *out, size_t n, pv_error *err);

#define PV__CPU_AVX2 0x1u   /* AVX2, FMA and F16C, enabled by the system */
#define PV__CPU_AVX512 0x2u /* F, BW, DQ, VL */
#define PV__CPU_VNNI 0x4u
#define PV__CPU_BF16 0x8u
#define PV__CPU_NEON 0x10u
#define PV__CPU_VPOPCNT 0x20u /* AVX-512 VPOPCNTDQ */
#define PV__CPU_DOTPROD 0x40u /* arm64: dot products of bytes */
PV_PRIVATE uint32_t pv__sys_cpu(void);       /* detected at each call: callers keep it */
PV_PRIVATE unsigned pv__sys_cores(void);     /* that this process may use: affinity, cgroup; >= 1 */
PV_PRIVATE uint64_t pv__sys_ram_bytes(void); /* physical or the cgroup's limit, the smaller */
PV_PRIVATE void pv__sys_sleep_ms(uint32_t ms); /* only between tries for another's lock */
PV_PRIVATE uint64_t pv__sys_pid(void);
PV_PRIVATE bool pv__sys_pid_alive(uint64_t pid);

/* Address space filled with zero pages, huge ones (and 2 MiB alignment) from 2 MiB up where the
 * system has them. NULL on failure. Unmap with the same size. */
PV_PRIVATE void *pv__sys_map(size_t size);
PV_PRIVATE void pv__sys_unmap(void *p, size_t size);
/* Have the system give memory for it now; it still reads as zero. */
PV_PRIVATE void pv__sys_touch(void *p, size_t size);
/* Give the memory of whole pages back, keep the range: reads as zero from then on. */
PV_PRIVATE void pv__sys_discard(void *p, size_t size);

/* A mark that a fork wipes in the child: true in the process that made it. */
typedef struct pv__forkmark {
    volatile uint32_t *page; /* NULL: not supported, compare pid instead */
    uint64_t pid;
} pv__forkmark;
PV_PRIVATE void pv__forkmark_init(pv__forkmark *m);
PV_PRIVATE bool pv__forkmark_same(const pv__forkmark *m);
PV_PRIVATE void pv__forkmark_done(pv__forkmark *m);

#endif
