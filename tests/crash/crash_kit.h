/* SPDX-License-Identifier: Apache-2.0 */
/* crash_kit.h - a database on a simulated disk, worked on at random, together with a history of
 * what it may and must contain at every moment; and the judge who opens a disk image and compares.
 *
 *   history   entry 0      entry 1           entry 2 (sync failed)   entry 2' ...
 *             begun acked  begun acked       begun           voided
 *   disk log  ----o-----o----o-----o-----------o---------------o-------------> operations
 *
 * An image cut after `upto` operations must show an entry whose commit had begun, that was not
 * replaced, and that is not older than the newest one acknowledged. Every step also works with
 * faults injected: it never fails the test for an error, only for a wrong answer. */
#ifndef PV_TEST_CRASH_KIT_H
#define PV_TEST_CRASH_KIT_H

#include "sim/sim_vfs.h"
#include "support/store_kit.h"

typedef struct crash_entry {
    kit_state state;
    size_t begun;  /* operations logged before the commit began */
    size_t acked;  /* ... when it was acknowledged as durable; SIZE_MAX: never */
    size_t voided; /* ... when a later open showed that it is lost; SIZE_MAX: not */
} crash_entry;

/* Chances of the steps of a random workload, in parts of their sum. */
typedef struct crash_plan {
    const char *name;
    uint64_t cache_bytes, checkpoint_bytes, segment_bytes;
    unsigned pages, slots_max, steps, changes, changes_big;
    unsigned commit, big, async, rollback, doom, checkpoint, inside, reopen, kill, full, badsync;
    unsigned savepoint, load;
    unsigned slots_min;
    bool trees;
} crash_plan;

extern const crash_plan crash_plans[];
extern const size_t crash_plan_count;

/* What a workload has done, so that a test can tell that it has done it. */
typedef enum crash_deed {
    CRASH_CHECKPOINTS,    /* superblocks that state a newer root */
    CRASH_SPILLED,        /* pages that went to slots while their transaction was open */
    CRASH_REFERENCES,     /* ... and at its commit: bulk loads */
    CRASH_EVICTED,        /* pages read again that the same handle had in memory, at least */
    CRASH_ROLLED_BACK,    /* transactions */
    CRASH_ROLLED_BACK_TO, /* savepoints */
    CRASH_DROPPED,        /* pages */
    CRASH_SLOTS_REUSED,   /* slots of the file that were written again */
    CRASH_RECOVERED,      /* opens of what a kill left */
    CRASH_DEEDS
} crash_deed;
const char *crash_deed_name(crash_deed deed);

typedef struct crash_run {
    const crash_plan *plan;
    uint64_t seed;
    sim *disk;
    pv__store_opts opts;
    kit_world w;
    crash_entry *entries;
    size_t count, cap;
    size_t head;           /* the entry that the open handle shows */
    bool tolerant;         /* faults are injected from outside: any call may fail */
    uint64_t calls_failed; /* calls of the store that returned an error */
    uint64_t refused;      /* transactions that S8 refused */
    uint64_t did[CRASH_DEEDS];
    uint64_t pages_at_open; /* of the open handle */
    bool killed;            /* the last end was one */
    char wrong[300];        /* the first wrong answer; empty: none */
} crash_run;

/* What the program is doing, for the table of sites. */
extern const char *crash_phase;

void crash_run_init(crash_run *r, const crash_plan *plan, uint64_t seed, sim *disk, pv__mem *mem);
void crash_run_done(crash_run *r); /* abandons an open store; frees the disk */
void crash_work(crash_run *r);     /* all steps of the plan */
/* Steps. They return the store's code. */
int crash_open(crash_run *r);
int crash_commit(crash_run *r, unsigned changes, uint32_t flags);
int crash_checkpoint(crash_run *r);
int crash_close(crash_run *r);
void crash_kill(crash_run *r);
/* Everything that is in the handle is right, and reads go on. False: see r->wrong. */
bool crash_look(crash_run *r, bool deep);

/* What can be told from the disk alone, added to r->did; once, when the work is done. */
void crash_tally(crash_run *r);

/* The history and the last operations before `upto`, to stderr. */
void crash_print(const crash_run *r, size_t upto);

/* Which entries may an image cut after `upto` operations show? -1: none of them matches. */
bool crash_allowed(const crash_run *r, size_t entry, size_t upto);
/* Open the image, find the entry, compare all; commit once more, close, open again. *out_entry:
 * the entry. `after` (may be NULL) becomes the history of what was done to the image: entry 0 is
 * what was found. False: r->wrong says why. */
bool crash_judge(crash_run *r, sim *image, size_t upto, uint64_t seed, size_t *out_entry,
                 crash_run *after);

/* ---- call sites ---- */

#define CRASH_SITES_MAX 256u
typedef struct crash_site {
    char name[96];
    uint64_t ops, cuts, images; /* in the logs; disks made after one; distinct ones of these */
} crash_site;
typedef struct crash_sites {
    crash_site at[CRASH_SITES_MAX];
    size_t count;
} crash_sites;

/* A name for an operation: kind, what was written to where, phase. False: not one that counts. */
bool crash_site_name(const sim_op_info *op, char out[96]);
crash_site *crash_site_of(crash_sites *t, const char *name);
void crash_site_watch(sim *disk); /* lets crash_phase be the tag of all calls */

/* ---- what was seen before ---- */

typedef struct crash_seen {
    uint64_t *hash;
    uint32_t *value;
    size_t count, cap;
} crash_seen;
/* The place of the value for this hash; *out_new when it was not there. */
uint32_t *crash_seen_put(crash_seen *s, uint64_t hash, bool *out_new);
void crash_seen_done(crash_seen *s);

uint64_t crash_env(const char *name, uint64_t normal, uint64_t with_sanitizer);

#endif
