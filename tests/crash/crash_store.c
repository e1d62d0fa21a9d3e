/* SPDX-License-Identifier: Apache-2.0 */
/* crash_store.c - power cuts at the operations of random workloads, and again while the image
 * recovers, and once more while that recovers. Each image must open as one commit of the history,
 * complete, no older than the last acknowledged one, and go on from there.
 *
 * PV_CRASH_IMAGES: how many distinct images (100,000; with sanitizers 4,000; with PV_SOAK
 * 1,000,000). PV_SEED replays. */
#include <stdio.h>
#include <stdlib.h>

#include "base/checksum.h"
#include "crash/crash_kit.h"
#include "sim/sim_content.h"

#define CRASH_DEPTH 3u
#define CRASH_SITE_CUTS 20u
#define CRASH_PLANS_MAX 16u

typedef struct crash_hunt {
    pv__mem mem;
    crash_seen seen;     /* hash of an image in one history -> entry + 1 that it showed */
    crash_seen distinct; /* hashes alone */
    crash_sites sites;
    uint64_t target, images, again, by_depth[CRASH_DEPTH], by_mode[SIM_CUT_COUNT];
    uint64_t workloads, ops, commits, did[CRASH_DEEDS];
    uint64_t by_plan[CRASH_PLANS_MAX];
    /* of the log that is being cut */
    crash_run *run;
    unsigned depth;
    uint64_t salt; /* of this history */
} crash_hunt;

static void crash_each(crash_hunt *h, crash_run *r, unsigned depth, uint64_t budget);

static void crash_fail(crash_hunt *h, sim *image, size_t upto, sim_cut mode, uint64_t seed) {
    crash_run *r = h->run;
    fprintf(stderr,
            "workload '%s' seed %llu, depth %u, cut %s after %zu of %zu operations, seed %llu\n",
            r->plan->name, (unsigned long long)r->seed, h->depth, sim_cut_name(mode), upto,
            sim_op_count(r->disk), (unsigned long long)seed);
    crash_print(r, upto);
    (void)image;
    fail_msg("%s", r->wrong);
}

static int crash_one(void *arg, sim *image, size_t upto, sim_cut mode, uint64_t seed) {
    crash_hunt *h = arg;
    crash_run *r = h->run;
    const unsigned depth = h->depth;
    bool fresh = false;
    char name[96];
    const uint64_t hash = sim_image_hash(image);
    uint32_t *value = crash_seen_put(&h->seen, hash ^ pv__mix64(h->salt), &fresh);
    size_t entry = *value - 1;
    if (upto > 0) {
        const sim_op_info op = sim_op_get(r->disk, upto - 1);
        if (crash_site_name(&op, name)) {
            crash_site_of(&h->sites, name)->cuts++;
            crash_site_of(&h->sites, name)->images += fresh;
        }
    }
    if (!fresh) { /* the same disk, but more may be promised by now */
        h->again++;
        if (!crash_allowed(r, entry, upto)) {
            (void)snprintf(r->wrong, sizeof r->wrong, "commit %llu is not allowed any more",
                           (unsigned long long)r->entries[entry].state.commits);
            crash_fail(h, image, upto, mode, seed);
        }
        return 0;
    }
    crash_run after;
    const bool nest = depth + 1 < CRASH_DEPTH && pv__mix64(hash) % 40 == 0;
    sim *copy = nest ? sim_image(image, 0, SIM_CUT_KEEP_ALL, seed) : image;
    if (!crash_judge(r, copy, upto, hash, &entry, nest ? &after : NULL)) {
        crash_fail(h, image, upto, mode, seed);
    }
    *crash_seen_put(&h->seen, hash ^ pv__mix64(h->salt), &fresh) = (uint32_t)entry + 1;
    (void)crash_seen_put(&h->distinct, hash, &fresh);
    h->images += fresh;
    h->by_depth[depth]++;
    h->by_plan[r->plan - crash_plans] += fresh;
    h->by_mode[mode]++;
    if (nest) {
        crash_each(h, &after, depth + 1, 20);
        h->run = r;
        h->depth = depth;
        crash_run_done(&after); /* frees copy */
    }
    assert_int_equal(atomic_load(&h->mem.bytes_used), 0);
    return 0;
}

/* Cut the log of r at about as many operations as give `budget` images: first at sites that had few
 * cuts so far, then at random; ascending, because going back replays the log. */
static void crash_each(crash_hunt *h, crash_run *r, unsigned depth, uint64_t budget) {
    const size_t ops = sim_op_count(r->disk);
    uint8_t *chosen = sim_alloc(ops + 1);
    crash_sites here;
    char name[96];
    test_rng rng;
    const uint64_t salt = h->salt;
    test_rng_init(&rng, r->seed ^ ops);
    here.count = 0;
    for (size_t i = 0; i < ops; i++) {
        const sim_op_info op = sim_op_get(r->disk, i);
        if (crash_site_name(&op, name)) {
            crash_site *site = crash_site_of(&h->sites, name);
            site->ops++;
            chosen[i + 1] = crash_site_of(&here, name)->ops++ == 0 && site->cuts < CRASH_SITE_CUTS;
        }
    }
    /* about five distinct images an operation */
    for (uint64_t have = 0; have < budget / 5 + 1; have++) {
        chosen[test_rng_below(&rng, ops + 1)] = 1;
    }
    h->run = r;
    h->depth = depth;
    h->salt = pv__mix64(r->seed + depth) ^ pv__mix64((uint64_t)(r->plan - crash_plans) + h->images);
    for (size_t upto = 0; upto <= ops; upto++) {
        if (chosen[upto]) {
            (void)sim_each_cut(r->disk, upto, upto, depth ? 1 : 2, test_rng_u64(&rng), crash_one, h,
                               NULL);
        }
    }
    h->salt = salt;
    free(chosen);
}

static void crash_workload(crash_hunt *h, const crash_plan *plan, uint64_t seed, uint64_t budget) {
    static crash_run r;
    crash_run_init(&r, plan, seed, sim_new(seed), &h->mem);
    crash_work(&r);
    if (r.wrong[0]) {
        crash_print(&r, sim_op_count(r.disk));
        fail_msg("workload '%s' seed %llu itself: %s", plan->name, (unsigned long long)seed,
                 r.wrong);
    }
    assert_int_equal(atomic_load(&h->mem.bytes_used), 0);
    crash_tally(&r);
    for (int i = 0; i < CRASH_DEEDS; i++) {
        h->did[i] += r.did[i];
    }
    h->workloads++;
    h->ops += sim_op_count(r.disk);
    h->commits += r.count - 1;
    crash_each(h, &r, 0, budget);
    crash_run_done(&r);
}

static int crash_by_name(const void *a, const void *b) {
    return strcmp(((const crash_site *)a)->name, ((const crash_site *)b)->name);
}

static void crash_report(crash_hunt *h) {
    unsigned never = 0;
    qsort(h->sites.at, h->sites.count, sizeof h->sites.at[0], crash_by_name);
    printf("%8s %8s %8s  last operation before the cut\n", "ops", "cuts", "images");
    for (size_t i = 0; i < h->sites.count; i++) {
        const crash_site *s = &h->sites.at[i];
        printf("%8llu %8llu %8llu  %s\n", (unsigned long long)s->ops, (unsigned long long)s->cuts,
               (unsigned long long)s->images, s->name);
        never += s->cuts == 0;
    }
    for (int i = 0; i < CRASH_DEEDS; i++) {
        printf("%8llu  %s\n", (unsigned long long)h->did[i], crash_deed_name((crash_deed)i));
    }
    for (size_t i = 0; i < crash_plan_count; i++) {
        printf("%s %llu%s", crash_plans[i].name, (unsigned long long)h->by_plan[i],
               i + 1 < crash_plan_count ? ", " : "\n");
    }
    for (int m = 0; m < SIM_CUT_COUNT; m++) {
        printf("%s %llu%s", sim_cut_name((sim_cut)m), (unsigned long long)h->by_mode[m],
               m + 1 < SIM_CUT_COUNT ? ", " : "\n");
    }
    printf(
        "%llu distinct images (%llu in workloads, %llu in recovery, %llu in recovery from that), "
        "%llu seen before\n%llu workloads, %llu operations, %llu commits, %zu sites\n",
        (unsigned long long)h->images, (unsigned long long)h->by_depth[0],
        (unsigned long long)h->by_depth[1], (unsigned long long)h->by_depth[2],
        (unsigned long long)h->again, (unsigned long long)h->workloads, (unsigned long long)h->ops,
        (unsigned long long)h->commits, h->sites.count);
    assert_int_equal(never, 0);
}

/* Operations that the workloads must have reached, or this test proves little. */
static const char *const crash_wanted[] = {
    "superblock        open",       "superblock        commit",
    "superblock        checkpoint", "superblock        close",
    "table node        open",       "table node        checkpoint",
    "table node        commit",     "page              open",
    "page              work",       "page              commit",
    "page              checkpoint", "record head       commit",
    "record head       open",       "segment head      commit",
    "segment head      open",       "record head       async commit",
};

static void test_crash__every_power_cut_leaves_a_commit_that_was_promised(void **state) {
    (void)state;
    static crash_hunt h;
    memset(&h, 0, sizeof h);
    assert_true(crash_plan_count <= CRASH_PLANS_MAX);
    test_mem_init(&h.mem);
    h.target = crash_env("PV_CRASH_IMAGES", getenv("PV_SOAK") ? 1000000 : 100000, 4000);
    const uint64_t seed = test_seed();
    const uint64_t rounds = h.target / 5000 + 1; /* a round is one workload of each plan */
    const uint64_t share = h.target / (rounds * crash_plan_count) / 4;
    for (uint64_t round = 0; h.images < h.target; round++) {
        for (size_t i = 0; i < crash_plan_count; i++) {
            crash_workload(&h, &crash_plans[i], pv__mix64(seed + round * 64 + i), share);
        }
    }
    crash_report(&h);
    /* A short run, as with sanitizers, has too few workloads to meet all of them. */
    const size_t wanted = h.target >= 20000 ? PV_COUNTOF(crash_wanted) : 0;
    for (int i = 0; i < CRASH_DEEDS && wanted; i++) {
        if (h.did[i] < h.target / 1000) {
            fail_msg("the workloads had too few of these: %s", crash_deed_name((crash_deed)i));
        }
    }
    for (size_t i = 0; i < wanted; i++) {
        bool found = false;
        for (size_t j = 0; j < h.sites.count; j++) {
            found |= strstr(h.sites.at[j].name, crash_wanted[i]) != NULL;
        }
        if (!found) {
            fail_msg("no workload did this: %s", crash_wanted[i]);
        }
    }
    crash_seen_done(&h.seen);
    crash_seen_done(&h.distinct);
    test_mem_done(&h.mem);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash__every_power_cut_leaves_a_commit_that_was_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
