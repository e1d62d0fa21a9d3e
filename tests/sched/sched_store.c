/* SPDX-License-Identifier: Apache-2.0 */
/* sched_store.c - threads/history.h under sched.h: commits, readers, checkpoints, eviction and
 * reclaiming in an order that follows from a seed, every read judged by the model at its LSN.
 *
 * PV_SCHED_SEEDS: how many schedules (10,000; with PV_SOAK 200,000). PV_SEED: begin there (a new
 * one each run, printed). PV_SCHED_ONLY: this schedule alone, as a failure has printed it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/checksum.h"
#include "crash/crash_kit.h"
#include "sched/sched.h"
#include "threads/history.h"

static sched_stats t_stats;

static void t_after(void) { t_stats = sched_end(); }

static void t_one(uint64_t seed, history_result *out) {
    const history_plan p = history_plan_random(seed, true);
    history_run(&p, seed, sched_begin, t_after, out);
    if (out->wrong[0]) {
        fail_msg("PV_SCHED_ONLY=%llu: %s", (unsigned long long)seed, out->wrong);
    }
}

static void test_sched__a_seed_gives_the_same_schedule_again(void **state) {
    (void)state;
    history_result r;
    const uint64_t seed = test_seed_new();
    for (uint64_t i = 0; i < 20; i++) {
        t_one(pv__mix64(pv__mix64(seed) + i), &r);
        const sched_stats first = t_stats;
        t_one(pv__mix64(pv__mix64(seed) + i), &r);
        assert_int_equal(first.points, t_stats.points);
        assert_int_equal(first.trace, t_stats.trace);
    }
}

static void test_sched__every_read_is_the_model_at_its_lsn(void **state) {
    (void)state;
    const char *only = getenv("PV_SCHED_ONLY");
    const uint64_t seeds = crash_env("PV_SCHED_SEEDS", getenv("PV_SOAK") ? 200000 : 10000, 10000);
    const uint64_t seed = test_seed_new();
    history_result sum = {0}, r;
    crash_seen traces = {0};
    uint64_t points = 0, turns = 0;
    for (uint64_t i = 0; i < (only ? 1 : seeds); i++) {
        bool fresh = false;
        t_one(only ? strtoull(only, NULL, 0) : pv__mix64(pv__mix64(seed) + i), &r);
        (void)crash_seen_put(&traces, t_stats.trace, &fresh);
        points += t_stats.points;
        turns += t_stats.turns;
        sum.commits += r.commits;
        sum.reads += r.reads;
        sum.pages_judged += r.pages_judged;
        sum.believed += r.believed;
        sum.checkpoints += r.checkpoints;
        sum.checks += r.checks;
        sum.misses += r.misses;
    }
    printf("%zu different schedules, %llu points, %llu turns: %llu commits, %llu checkpoints, %llu "
           "checks, %llu misses; %llu snapshots, %llu pages judged, %llu addresses believed\n",
           traces.count, (unsigned long long)points, (unsigned long long)turns,
           (unsigned long long)sum.commits, (unsigned long long)sum.checkpoints,
           (unsigned long long)sum.checks, (unsigned long long)sum.misses,
           (unsigned long long)sum.reads, (unsigned long long)sum.pages_judged,
           (unsigned long long)sum.believed);
    assert_true(only || sum.believed > seeds);
    assert_true(only || traces.count > seeds * 9 / 10);
    crash_seen_done(&traces);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sched__a_seed_gives_the_same_schedule_again),
        cmocka_unit_test(test_sched__every_read_is_the_model_at_its_lsn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
