/* SPDX-License-Identifier: Apache-2.0 */
/* history_store.c - history.h at scale: many threads that really run at once, many seeds, each with
 * another number of threads, size of the cache and kind of commits. Meant for SAN=thread too.
 *
 * PV_HISTORY_SEEDS: how many (60, with sanitizers 8, with PV_SOAK 2,000). A new seed each run,
 * printed; which thread comes first is the machine's to decide all the same. */
#include <stdio.h>
#include <stdlib.h>

#include "base/checksum.h"
#include "crash/crash_kit.h"
#include "threads/history.h"

static void test_history__every_read_is_the_model_at_its_lsn(void **state) {
    (void)state;
    const uint64_t seeds = crash_env("PV_HISTORY_SEEDS", getenv("PV_SOAK") ? 2000 : 60, 8);
    const uint64_t seed = test_seed_new();
    history_result sum = {0}, r;
    unsigned most = 0;
    for (uint64_t i = 0; i < seeds; i++) {
        const history_plan p = history_plan_random(pv__mix64(pv__mix64(seed) + i), false);
        history_run(&p, pv__mix64(pv__mix64(seed) + i), NULL, NULL, &r);
        if (r.wrong[0]) {
            fail_msg("seed %llu, number %llu: %s", (unsigned long long)seed, (unsigned long long)i,
                     r.wrong);
        }
        sum.commits += r.commits;
        sum.reads += r.reads;
        sum.pages_judged += r.pages_judged;
        sum.believed += r.believed;
        sum.checkpoints += r.checkpoints;
        sum.checks += r.checks;
        sum.misses += r.misses;
        sum.syncs += r.syncs;
        most = PV_MAX(most, p.writers + p.readers + p.keepers);
    }
    printf(
        "%llu seeds, up to %u threads: %llu commits in %llu syncs, %llu checkpoints, %llu checks, "
        "%llu misses; %llu snapshots, %llu pages judged, %llu addresses believed\n",
        (unsigned long long)seeds, most, (unsigned long long)sum.commits,
        (unsigned long long)sum.syncs, (unsigned long long)sum.checkpoints,
        (unsigned long long)sum.checks, (unsigned long long)sum.misses,
        (unsigned long long)sum.reads, (unsigned long long)sum.pages_judged,
        (unsigned long long)sum.believed);
    assert_true(sum.reads > seeds && sum.checkpoints > 0 && sum.believed > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_history__every_read_is_the_model_at_its_lsn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
