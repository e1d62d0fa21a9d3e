/* SPDX-License-Identifier: Apache-2.0 */
/* kill.c - kill -9 of a real process on real files: a child commits and says so over a pipe only
 * after the commit returned; it is killed at a random moment, and the database must hold every
 * commit that was announced, complete, and go on. The same folder lives through all rounds.
 *
 * PV_KILLS: how many rounds (100; with sanitizers 10; 1,000 with PV_SOAK). */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checksum.h"
#include "crash/crash_kit.h"

#define T_PAGES 60u

static pv__mem t_mem;

static pv__store_opts t_opts(const char *path, uint64_t round) {
    pv__store_opts o = {
        .path = path, .mem = &t_mem, .create = true, .log_segment_bytes = 64u << 10};
    o.cache_bytes = round % 3 == 0 ? 192u << 10 : 64u << 20; /* spills and checkpoints, or not */
    o.checkpoint_bytes = round % 3 == 1 ? 256u << 10 : 0;
    o.no_threads = round % 2;
    return o;
}

/* Commit n changes some pages; root 1 + i % 8 and the pages say which commit wrote them last. */
static int t_change(pv__txn *t, uint64_t n, pv_error *err) {
    test_rng r;
    uint8_t *page = NULL;
    test_rng_init(&r, n);
    for (uint64_t left = 1 + test_rng_below(&r, n % 16 == 0 ? 50 : 6); left > 0; left--) {
        const uint64_t index = test_rng_below(&r, T_PAGES);
        PV_TRY(pv__page_write(t, 2 + index, PV__PAGE_COLUMN, &page, err));
        kit_fill(page, pv__page_size(page), pv__mix64(n * 1000 + index));
        PV_TRY(pv__txn_pause(t, err));
    }
    return pv__store_root_set(t, 0, n, err);
}

static int t_make_pages(pv__txn *t, pv_error *err) {
    uint64_t id = 0;
    uint8_t *page = NULL;
    for (unsigned i = 0; i < T_PAGES; i++) {
        PV_TRY(pv__page_new(t, PV__PAGE_COLUMN, i % 7 == 0 ? 8 : 1, 1, i, &id, &page, err));
        kit_fill(page, pv__page_size(page), pv__mix64(1000 + i));
    }
    return pv__store_root_set(t, 0, 1, err);
}

static int t_commit(pv__store *s, uint64_t *out_number, pv_error *err) {
    pv__txn *t = NULL;
    uint64_t n = 0;
    PV_TRY(pv__txn_begin(s, PV__TXN_WRITE, &t, err));
    int rc = pv__store_root_get(t, 0, &n, err);
    n++;
    if (!rc) {
        rc = n == 1 ? t_make_pages(t, err) : t_change(t, n, err);
    }
    if (rc) {
        pv__txn_rollback(t);
        return rc;
    }
    *out_number = n;
    return pv__txn_commit(t, NULL, err);
}

/* The child: never returns. Exit code 0 after a clean close, which happens now and then. */
static void t_child(const char *path, uint64_t round, int to) {
    pv_error err = PV_ERROR_INIT;
    pv__store *s = NULL;
    pv__store_opts o = t_opts(path, round);
    for (unsigned turn = 0;; turn++) {
        uint64_t n = 0;
        int rc = s ? PV_OK : pv__store_open(&o, &s, &err);
        rc = rc ? rc : t_commit(s, &n, &err);
        if (!rc && turn % 50 == 49) {
            rc = pv__store_close(s, &err);
            s = NULL;
        }
        if (rc) {
            fprintf(stderr, "child: %s\n", err.message);
            _exit(1);
        }
        if (write(to, &n, sizeof n) != sizeof n) {
            _exit(2);
        }
    }
}

/* What page `index` must hold after commit n: the last commit whose draw touched it. */
static uint64_t t_last_writer(uint64_t n, uint64_t index) {
    for (; n > 1; n--) {
        test_rng r;
        test_rng_init(&r, n);
        for (uint64_t left = 1 + test_rng_below(&r, n % 16 == 0 ? 50 : 6); left > 0; left--) {
            if (test_rng_below(&r, T_PAGES) == index) {
                return n;
            }
        }
    }
    return 1;
}

static uint64_t t_verify(const char *path, uint64_t round, uint64_t announced) {
    pv_error err = PV_ERROR_INIT;
    pv__store *s = NULL;
    pv__txn *t = NULL;
    uint64_t n = 0, bad = 0;
    pv__store_opts o = t_opts(path, round);
    test_assert_ok(pv__store_open(&o, &s, &err), &err);
    test_assert_ok(pv__txn_begin(s, 0, &t, &err), &err);
    test_assert_ok(pv__store_root_get(t, 0, &n, &err), &err);
    if (n < announced) {
        fail_msg("round %llu: commit %llu was announced, the database is at %llu",
                 (unsigned long long)round, (unsigned long long)announced, (unsigned long long)n);
    }
    for (uint64_t i = 0; i < T_PAGES && n > 0; i++) {
        const uint8_t *page = NULL;
        test_assert_ok(pv__page_read(t, 2 + i, PV__PAGE_COLUMN, &page, &err), &err);
        if (!kit_is(page, pv__page_size(page), pv__mix64(t_last_writer(n, i) * 1000 + i))) {
            fail_msg("round %llu: page %llu is not as of commit %llu", (unsigned long long)round,
                     (unsigned long long)i, (unsigned long long)n);
        }
        test_assert_ok(pv__txn_pause(t, &err), &err);
    }
    pv__txn_rollback(t);
    test_assert_ok(pv__store_check(s, true, NULL, NULL, &bad, &err), &err);
    assert_int_equal(bad, 0);
    if (round % 4 == 0) {
        test_assert_ok(pv__store_close(s, &err), &err);
    } else {
        pv__store_abandon(s); /* the next child recovers as well */
    }
    return n;
}

static void test_kill__every_announced_commit_survives(void **state) {
    (void)state;
    test_dir d;
    char path[600];
    test_rng r;
    uint64_t last = 0, in_flight = 0;
    const uint64_t kills = crash_env("PV_KILLS", getenv("PV_SOAK") ? 1000 : 100, 10);
    test_rng_init(&r, test_seed());
    test_mem_init(&t_mem);
    test_dir_init(&d);
    test_dir_file(&d, "k.pv", path, sizeof path);
    for (uint64_t round = 0; round < kills; round++) {
        int pipes[2];
        int status = 0;
        uint64_t n = 0, announced = last;
        assert_int_equal(pipe(pipes), 0);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            (void)close(pipes[0]);
            t_child(path, round, pipes[1]);
        }
        (void)close(pipes[1]);
        /* After a number of commits, and then a little into the next one. */
        for (uint64_t want = test_rng_below(&r, 60); want > 0; want--) {
            if (read(pipes[0], &n, sizeof n) != sizeof n) {
                break;
            }
            announced = n;
        }
        for (uint64_t spin = test_rng_below(&r, 2000); spin > 0; spin--) {
            struct pollfd p = {pipes[0], POLLIN, 0};
            (void)poll(&p, 1, 0);
        }
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status)) {
            fail_msg("round %llu: the child ended by itself with %d", (unsigned long long)round,
                     WEXITSTATUS(status));
        }
        while (read(pipes[0], &n, sizeof n) == (ssize_t)sizeof n) {
            announced = n; /* in the pipe when it was killed */
        }
        (void)close(pipes[0]);
        last = t_verify(path, round, announced);
        in_flight += last > announced;
    }
    printf("%llu kills, %llu commits, %llu times one more than announced was there\n",
           (unsigned long long)kills, (unsigned long long)last, (unsigned long long)in_flight);
    test_dir_done(&d);
    test_mem_done(&t_mem);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill__every_announced_commit_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
