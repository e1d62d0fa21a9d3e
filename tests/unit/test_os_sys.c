/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of os/sys.h, os/cgroup.h and os/thread.h. */
#include "support/test_support.h"

#include <signal.h>
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif
#include <sys/wait.h>
#include <unistd.h>

#include "os/cgroup.h"
#include "os/helper.h"
#include "os/sys.h"
#include "os/thread.h"
#include "pv_unstable.h"

static int64_t t_wall(void *ctx) { return *(int64_t *)ctx; }

static uint64_t t_mono(void *ctx) { return (uint64_t) * (int64_t *)ctx + 1; }

static int t_random(void *ctx, void *out, size_t n) {
    memset(out, 0x5A, n);
    return *(int64_t *)ctx < 0;
}

static void test_sys__clock_and_random_can_be_replaced(void **state) {
    (void)state;
    int64_t now = 123;
    uint8_t bytes[4] = {0};
    pv_error err = PV_ERROR_INIT;
    const pv_clock clock = {&now, t_wall, t_mono, t_random};
    const pv_clock none = {NULL, NULL, NULL, NULL};
    assert_int_equal(pv__sys_wall_us(&clock), 123);
    assert_int_equal(pv__sys_mono_us(&clock), 124);
    test_assert_ok(pv__sys_random(&clock, bytes, 4, &err), &err);
    assert_int_equal(bytes[3], 0x5A);
    now = -1;
    test_assert_rc(pv__sys_random(&clock, bytes, 4, &err), PV_ERR_IO, &err);
    assert_true(pv__sys_wall_us(&none) > 1700000000000000);
    const uint64_t before = pv__sys_mono_us(&none);
    assert_true(pv__sys_mono_us(NULL) >= before);
}

static void test_sys__random_bytes_differ(void **state) {
    (void)state;
    uint8_t a[1000];
    uint8_t b[1000];
    memset(a, 0, sizeof a);
    memset(b, 0, sizeof b);
    assert_int_equal(pv__sys_random(NULL, a, sizeof a, NULL), 0);
    assert_int_equal(pv__sys_random(NULL, b, sizeof b, NULL), 0);
    assert_memory_not_equal(a, b, sizeof a);
    int zeros = 0;
    for (size_t i = sizeof a - 200; i < sizeof a; i++) { /* filled to the end */
        zeros += a[i] == 0;
    }
    assert_true(zeros < 20);
}

static void test_sys__machine_is_described(void **state) {
    (void)state;
    const uint32_t cpu = pv__sys_cpu();
#if defined(__x86_64__)
    assert_int_equal((cpu & PV__CPU_AVX2) != 0,
                     __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
    assert_int_equal((cpu & PV__CPU_AVX512) != 0,
                     __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"));
    assert_int_equal((cpu & PV__CPU_VNNI) != 0,
                     (cpu & PV__CPU_AVX512) && __builtin_cpu_supports("avx512vnni"));
#elif defined(__aarch64__) && defined(__linux__)
    assert_true(cpu & PV__CPU_NEON);
    assert_int_equal((cpu & PV__CPU_DOTPROD) != 0, (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0);
#else
    (void)cpu;
#endif
    assert_in_range(pv__sys_cores(), 1, 100000);
    assert_true(pv__sys_ram_bytes() >= (uint64_t)16 << 20);
    assert_true(pv__sys_ram_bytes() <= pv__cgroup_memory_bytes());
    assert_true(pv__cgroup_cores() >= 1);
}

static void test_sys__processes_are_alive_until_they_are_gone(void **state) {
    (void)state;
    assert_true(pv__sys_pid_alive(pv__sys_pid()));
    assert_false(pv__sys_pid_alive(0));
    assert_false(pv__sys_pid_alive(UINT64_MAX));
    const pid_t child = fork();
    if (child == 0) {
        _exit(0);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_false(pv__sys_pid_alive((uint64_t)child));
}

static void test_sys__mapped_memory_is_zero_and_large_pages_aligned(void **state) {
    (void)state;
    const size_t sizes[] = {1, 4096, 5000, (size_t)2 << 20, ((size_t)5 << 20) + 4096};
    for (size_t i = 0; i < PV_COUNTOF(sizes); i++) {
        uint8_t *p = pv__sys_map(sizes[i]);
        assert_non_null(p);
        if (sizes[i] >= (size_t)2 << 20) {
            assert_int_equal((uintptr_t)p % ((size_t)2 << 20), 0);
        }
        assert_int_equal(p[0] | p[sizes[i] - 1] | p[sizes[i] / 2], 0);
        memset(p, 1, sizes[i]);
        pv__sys_unmap(p, sizes[i]);
    }
    uint8_t *p = pv__sys_map(3 * 4096);
    memset(p, 1, 3 * 4096);
    pv__sys_discard(p + 4096, 4096);
    assert_int_equal(p[0], 1);
    assert_int_equal(p[4096] | p[8191], 0);
    assert_int_equal(p[8192], 1);
    pv__sys_unmap(p, 3 * 4096);
    pv__sys_unmap(NULL, 1);
    assert_null(pv__sys_map(SIZE_MAX - 5));
}

static void test_forkmark__child_is_another(void **state) {
    (void)state;
    pv__forkmark m;
    pv__forkmark_init(&m);
    assert_true(pv__forkmark_same(&m));
    pv__forkmark by_pid = {NULL, pv__sys_pid()}; /* where the system can't wipe */
    assert_true(pv__forkmark_same(&by_pid));
    const pid_t child = fork();
    if (child == 0) {
        _exit(pv__forkmark_same(&m) || pv__forkmark_same(&by_pid));
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(pv__forkmark_same(&m));
    pv__forkmark_done(&m);
    pv__forkmark_done(&m);
}

typedef struct t_box {
    pv__mutex mutex;
    pv__cond cond;
    int turn, sum;
    uint64_t id;
    sigset_t blocked;
} t_box;

static void *t_box_run(void *arg) {
    t_box *b = arg;
    (void)pthread_sigmask(SIG_SETMASK, NULL, &b->blocked);
    pv__mutex_lock(&b->mutex);
    b->id = pv__thread_id();
    for (int i = 0; i < 100; i++) {
        while (b->turn % 2 == 0) {
            pv__cond_wait(&b->cond, &b->mutex);
        }
        b->turn++;
        b->sum += b->turn;
        pv__cond_signal(&b->cond);
    }
    pv__mutex_unlock(&b->mutex);
    return NULL;
}

static void test_thread__two_take_turns(void **state) {
    (void)state;
    t_box b;
    pv__thread t;
    memset(&b, 0, sizeof b);
    assert_int_equal(pv__mutex_init(&b.mutex, NULL), 0);
    assert_int_equal(pv__cond_init(&b.cond, NULL), 0);
    assert_int_equal(pv__thread_start(&t, t_box_run, &b, NULL), 0);
    pv__mutex_lock(&b.mutex);
    for (int i = 0; i < 100; i++) {
        while (b.turn % 2 == 1) {
            (void)pv__cond_wait_for(&b.cond, &b.mutex, 10000);
        }
        b.turn++;
        pv__cond_broadcast(&b.cond);
    }
    while (b.turn < 200) {
        pv__cond_wait(&b.cond, &b.mutex);
    }
    pv__mutex_unlock(&b.mutex);
    pv__thread_join(t);
    assert_int_equal(b.sum, 10100);
    assert_true(b.id != pv__thread_id());
    assert_true(pv__thread_id() == pv__thread_id());
    assert_int_equal(sigismember(&b.blocked, SIGINT),
                     1); /* the host's handlers stay on its threads */
    sigset_t mine;
    (void)pthread_sigmask(SIG_SETMASK, NULL, &mine);
    assert_int_equal(sigismember(&mine, SIGINT), 0);
    pv__thread_yield();
    pv__cond_done(&b.cond);
    pv__mutex_done(&b.mutex);
}

static void test_thread__wait_ends_after_its_time(void **state) {
    (void)state;
    pv__mutex m;
    pv__cond c;
    assert_int_equal(pv__mutex_init(&m, NULL), 0);
    assert_int_equal(pv__cond_init(&c, NULL), 0);
    pv__mutex_lock(&m);
    assert_false(pv__mutex_try(&m));
    const uint64_t start = pv__sys_mono_us(NULL);
    while (pv__cond_wait_for(&c, &m, 5)) { /* a wake-up without a signal is allowed */
    }
    assert_true(pv__sys_mono_us(NULL) - start >= 4000);
    assert_false(pv__cond_wait_for(&c, &m, 0));
    pv__mutex_unlock(&m);
    assert_true(pv__mutex_try(&m));
    pv__mutex_unlock(&m);
    pv__cond_done(&c);
    pv__mutex_done(&m);
}

static void t_add(void *ctx) { ++*(int *)ctx; }

/* Jobs are done once each, by the helper or, where it takes none, by nobody. */
static void test_helper__runs_what_it_accepts(void **state) {
    (void)state;
    pv__helper h;
    pv_error err = PV_ERROR_INIT;
    int done = 0, accepted = 0;
    test_assert_ok(pv__helper_init(&h, true, &err), &err);
    pv__helper_wait(&h); /* nothing under way */
    for (int i = 0; i < 1000; i++) {
        accepted += pv__helper_start(&h, t_add, &done);
        if (i % 3 == 0) {
            pv__helper_wait(&h);
            assert_int_equal(done, accepted);
        }
    }
    assert_true(accepted >= 334);
    pv__helper_stop(&h);
    assert_int_equal(done, accepted);
    assert_false(pv__helper_start(&h, t_add, &done));
    pv__helper_done(&h);
    test_assert_ok(pv__helper_init(&h, false, &err), &err);
    assert_false(pv__helper_start(&h, t_add, &done));
    pv__helper_stop(&h);
    pv__helper_done(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sys__clock_and_random_can_be_replaced),
        cmocka_unit_test(test_sys__random_bytes_differ),
        cmocka_unit_test(test_sys__machine_is_described),
        cmocka_unit_test(test_sys__processes_are_alive_until_they_are_gone),
        cmocka_unit_test(test_sys__mapped_memory_is_zero_and_large_pages_aligned),
        cmocka_unit_test(test_forkmark__child_is_another),
        cmocka_unit_test(test_thread__two_take_turns),
        cmocka_unit_test(test_thread__wait_ends_after_its_time),
        cmocka_unit_test(test_helper__runs_what_it_accepts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
