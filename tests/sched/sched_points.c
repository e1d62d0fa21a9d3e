/* SPDX-License-Identifier: Apache-2.0 */
/* sched_points.c - what code compiled with -fsanitize=thread calls, without the sanitizer: an
 * atomic operation is a point of the scheduler and then done, anything else is nothing. Names and
 * signatures are those of compiler-rt's tsan_interface.h and tsan_interface_atomic.h. */
#include <stddef.h>
#include <stdint.h>

#include "sched/sched.h"

void __tsan_init(void);
void __tsan_func_entry(void *pc);
void __tsan_func_exit(void);
void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_signal_fence(int order);
void __tsan_init(void) {}
void __tsan_func_entry(void *pc) { (void)pc; }
void __tsan_func_exit(void) {}
void __tsan_atomic_thread_fence(int order) { (void)order; }
void __tsan_atomic_signal_fence(int order) { (void)order; }

#define POINTS_PLAIN(name)                                                                         \
    void __tsan_##name(void *p);                                                                   \
    void __tsan_##name(void *p) { (void)p; }
POINTS_PLAIN(read1)
POINTS_PLAIN(read2)
POINTS_PLAIN(read4)
POINTS_PLAIN(read8)
POINTS_PLAIN(read16)
POINTS_PLAIN(write1)
POINTS_PLAIN(write2)
POINTS_PLAIN(write4)
POINTS_PLAIN(write8)
POINTS_PLAIN(write16)
POINTS_PLAIN(unaligned_read2)
POINTS_PLAIN(unaligned_read4)
POINTS_PLAIN(unaligned_read8)
POINTS_PLAIN(unaligned_read16)
POINTS_PLAIN(unaligned_write2)
POINTS_PLAIN(unaligned_write4)
POINTS_PLAIN(unaligned_write8)
POINTS_PLAIN(unaligned_write16)

#define POINTS_RANGE(name)                                                                         \
    void __tsan_##name(void *p, size_t n);                                                         \
    void __tsan_##name(void *p, size_t n) {                                                        \
        (void)p;                                                                                   \
        (void)n;                                                                                   \
    }
POINTS_RANGE(read_range)
POINTS_RANGE(write_range)

#define POINTS_FETCH(bits, type, name)                                                             \
    type __tsan_atomic##bits##_fetch_##name(volatile type *p, type v, int order);                  \
    type __tsan_atomic##bits##_fetch_##name(volatile type *p, type v, int order) {                 \
        (void)order;                                                                               \
        sched_point();                                                                             \
        return __atomic_fetch_##name(p, v, __ATOMIC_SEQ_CST);                                      \
    }
#define POINTS_CHANGE(bits, type, strength, weak)                                                  \
    int __tsan_atomic##bits##_compare_exchange_##strength(volatile type *p, type *want, type to,   \
                                                          int order, int fail);                    \
    int __tsan_atomic##bits##_compare_exchange_##strength(volatile type *p, type *want, type to,   \
                                                          int order, int fail) {                   \
        (void)order;                                                                               \
        (void)fail;                                                                                \
        sched_point();                                                                             \
        return __atomic_compare_exchange_n(p, want, to, weak, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
    }
#define POINTS_ATOMIC(bits, type)                                                                  \
    type __tsan_atomic##bits##_load(const volatile type *p, int order);                            \
    void __tsan_atomic##bits##_store(volatile type *p, type v, int order);                         \
    type __tsan_atomic##bits##_exchange(volatile type *p, type v, int order);                      \
    type __tsan_atomic##bits##_load(const volatile type *p, int order) {                           \
        (void)order;                                                                               \
        sched_point();                                                                             \
        return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                               \
    }                                                                                              \
    void __tsan_atomic##bits##_store(volatile type *p, type v, int order) {                        \
        (void)order;                                                                               \
        sched_point();                                                                             \
        __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                  \
    }                                                                                              \
    type __tsan_atomic##bits##_exchange(volatile type *p, type v, int order) {                     \
        (void)order;                                                                               \
        sched_point();                                                                             \
        return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                        \
    }                                                                                              \
    POINTS_FETCH(bits, type, add)                                                                  \
    POINTS_FETCH(bits, type, sub)                                                                  \
    POINTS_FETCH(bits, type, and)                                                                  \
    POINTS_FETCH(bits, type, or)                                                                   \
    POINTS_FETCH(bits, type, xor)                                                                  \
    POINTS_CHANGE(bits, type, strong, 0)                                                           \
    POINTS_CHANGE(bits, type, weak, 1)
POINTS_ATOMIC(8, uint8_t)
POINTS_ATOMIC(16, uint16_t)
POINTS_ATOMIC(32, uint32_t)
POINTS_ATOMIC(64, uint64_t)

#undef POINTS_PLAIN
#undef POINTS_RANGE
#undef POINTS_FETCH
#undef POINTS_CHANGE
#undef POINTS_ATOMIC
