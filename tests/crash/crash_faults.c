/* SPDX-License-Identifier: Apache-2.0 */
/* crash_faults.c - the N-th call of the disk fails, or the N-th allocation, once or from then on,
 * for every N of a random workload. Every call gives a sane code, what the handle says stays right,
 * nothing leaks; afterwards the disk, as it is and as a power cut then could leave it, opens as a
 * commit that was promised and goes on.
 *
 * PV_FAULTS: how many runs at most (all there are of four workloads, with sanitizers 2,500; with
 * PV_SOAK all there are of all workloads). */
#include <stdio.h>
#include <stdlib.h>

#include "base/checksum.h"
#include "crash/crash_kit.h"

typedef struct fault_way {
    const char *name;
    sim_fault_kind what; /* NONE: memory */
    sim_kind kind;
    bool for_good;
} fault_way;

static const fault_way t_ways[] = {
    {"EIO once", SIM_FAULT_IO, SIM_ANY, false},
    {"EIO for good", SIM_FAULT_IO, SIM_ANY, true},
    {"ENOSPC once", SIM_FAULT_FULL, SIM_ANY, false},
    {"ENOSPC for good, writes", SIM_FAULT_FULL, SIM_WRITE, true},
    {"ENOSPC for good, allocate", SIM_FAULT_FULL, SIM_ALLOCATE, true},
    {"short write once", SIM_FAULT_SHORT, SIM_WRITE, false},
    {"sync fails once", SIM_FAULT_IO, SIM_SYNC, false},
    {"sync fails for good", SIM_FAULT_IO, SIM_SYNC, true},
    {"folder sync fails once", SIM_FAULT_IO, SIM_SYNC_DIR, false},
    {"no memory once", SIM_FAULT_NONE, SIM_ANY, false},
    {"no memory for good", SIM_FAULT_NONE, SIM_ANY, true},
};

/* Those that differ most first. */
static const size_t t_plans[] = {0, 1, 2, 6, 3, 4, 5, 7, 8, 9, 10};

typedef struct fault_tally {
    uint64_t runs, hits, calls_failed, refused, images;
} fault_tally;

static pv__mem t_mem;

static void fault_arm(sim *disk, const fault_way *way, uint64_t nth) {
    if (way->what == SIM_FAULT_NONE) {
        atomic_store(&t_mem.fail_forever, way->for_good);
        atomic_store(&t_mem.fail_at, nth ? atomic_load(&t_mem.calls) + nth : 0);
        return;
    }
    const sim_fault f = {way->what, way->kind, SIM_CLASS_ANY, nth, way->for_good};
    sim_fault_set(disk, nth ? &f : NULL);
}

static void fault_fail(const crash_run *r, const fault_way *way, uint64_t nth) {
    crash_print(r, sim_op_count(r->disk));
    fail_msg("workload '%s' seed %llu, %s at %llu: %s", r->plan->name, (unsigned long long)r->seed,
             way->name, (unsigned long long)nth, r->wrong);
}

/* One workload with one fault. Returns whether the fault was reached. */
static bool fault_run(const crash_plan *plan, uint64_t seed, const fault_way *way, uint64_t nth,
                      fault_tally *tally) {
    static const sim_cut cuts[] = {SIM_CUT_KEEP_ALL, SIM_CUT_DROP_ALL, SIM_CUT_SUBSET};
    static crash_run r;
    const uint64_t calls = atomic_load(&t_mem.calls);
    crash_run_init(&r, plan, seed, sim_new(seed), &t_mem);
    r.tolerant = true;
    fault_arm(r.disk, way, nth);
    crash_work(&r);
    const uint64_t hits = way->what == SIM_FAULT_NONE ? atomic_load(&t_mem.calls) - calls >= nth
                                                      : sim_fault_hits(r.disk);
    fault_arm(r.disk, way, 0);
    crash_kill(&r);
    if (r.wrong[0]) {
        fault_fail(&r, way, nth);
    }
    assert_int_equal(atomic_load(&t_mem.bytes_used), 0);
    r.tolerant = false;
    for (size_t i = 0; i < PV_COUNTOF(cuts) && hits; i++) {
        size_t entry = 0;
        sim *image = sim_image(r.disk, sim_op_count(r.disk), cuts[i], nth);
        if (!crash_judge(&r, image, sim_op_count(r.disk), nth, &entry, NULL)) {
            fprintf(stderr, "after a cut of kind %s:\n", sim_cut_name(cuts[i]));
            fault_fail(&r, way, nth);
        }
        sim_free(image);
        tally->images++;
    }
    tally->runs++;
    tally->hits += hits != 0;
    tally->calls_failed += r.calls_failed;
    tally->refused += r.refused;
    crash_run_done(&r);
    assert_int_equal(atomic_load(&t_mem.bytes_used), 0);
    return hits != 0;
}

static void test_faults__every_failing_call_is_survived(void **state) {
    (void)state;
    static fault_tally sum[PV_COUNTOF(t_ways)];
    const size_t chosen = getenv("PV_SOAK") ? crash_plan_count : 4;
    const uint64_t limit =
        crash_env("PV_FAULTS", UINT64_MAX, getenv("PV_SOAK") ? UINT64_MAX : 2500);
    const uint64_t share = limit / (chosen * PV_COUNTOF(t_ways));
    const uint64_t seed = test_seed();
    uint64_t runs = 0;
    assert_int_equal(PV_COUNTOF(t_plans), crash_plan_count);
    test_mem_init(&t_mem);
    for (size_t p = 0; p < chosen; p++) {
        crash_plan plan = crash_plans[t_plans[p]];
        plan.steps = 14;
        plan.full = plan.badsync = 0; /* a disk has one fault: the one from outside */
        for (size_t w = 0; w < PV_COUNTOF(t_ways); w++) {
            /* Steps that grow until the share is used up near the end: about half of the runs are
             * with each single N of the beginning, where a database is made and opened. */
            uint64_t step = 1, count = 0;
            const uint64_t this_seed = pv__mix64(seed + p * 64 + w);
            for (uint64_t nth = 1; fault_run(&plan, this_seed, &t_ways[w], nth, &sum[w]);
                 nth += step) {
                runs++;
                count++;
                step = share && count > share / 2 ? 1 + (count - share / 2) / 8 : 1;
            }
        }
    }
    printf("%8s %8s %8s %8s  fault\n", "runs", "failing", "refused", "images");
    for (size_t w = 0; w < PV_COUNTOF(t_ways); w++) {
        printf("%8llu %8llu %8llu %8llu  %s\n", (unsigned long long)sum[w].runs,
               (unsigned long long)sum[w].calls_failed, (unsigned long long)sum[w].refused,
               (unsigned long long)sum[w].images, t_ways[w].name);
        assert_true(sum[w].hits > 0);
    }
    printf("%llu faults injected\n", (unsigned long long)runs);
    test_mem_done(&t_mem);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults__every_failing_call_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
