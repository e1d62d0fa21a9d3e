/* SPDX-License-Identifier: Apache-2.0 */
/* crash_api_kit.h - power cuts at every operation of the disk while a program works through pv.h.
 *
 *      workload ----> commit 0, 1, 2, ...   model, checksum, operations before and after
 *          '--------> log of the disk --sim_each_cut--> image --pv_open--> which commit is it?
 *
 * A cut after operation `upto` may show any commit from the last that was known to be durable by
 * then to the last that had begun; nothing else, and nothing in between. Each image is opened,
 * compared with the model of the commit it shows, checked deeply, written to, closed and opened
 * again. Of a sample the recovery itself is cut at every operation, once more with all modes.
 *
 * A suite is a list of workloads made of api_op_... (support/api_ops.h) and the steps below:
 * crash_api.c is one. What a feature keeps beyond the records is judged by `look`.
 *
 * PV_CRASH_IMAGES: go on with new workloads until so many distinct images were opened.
 * PV_CRASH_SEED: begin with this workload. PV_CRASH_SAMPLE: open only one image of so many (what
 * sanitisers do, to see all kinds of workloads). PV_SOAK=1: ten times as many images. */
#ifndef PV_TEST_CRASH_API_KIT_H
#define PV_TEST_CRASH_API_KIT_H

#include "sim/sim_vfs.h"
#include "support/api_ops.h"

enum { CAPI_COMMITS_MAX = 400 };

typedef struct capi_commit {
    api_model model;
    uint64_t lsn, checksum;
    size_t begun;   /* operations of the disk before the call */
    size_t durable; /* operations after which it is known to be durable; SIZE_MAX: not yet */
} capi_commit;

typedef struct capi_kind capi_kind;

typedef struct capi_work {
    uint64_t seed;
    const capi_kind *kind;
    sim *disk;
    api_clock clock;
    api_world w;
    pv_open_opts opts;
    bool opened; /* once */
    uint8_t uuid[16];
    capi_commit commits[CAPI_COMMITS_MAX];
    size_t count;
} capi_work;

struct capi_kind {
    const char *name;
    int (*run)(capi_work *t); /* 0, or -1 with t->w.why */
    uint64_t checkpoint_bytes;
    uint64_t cache_bytes; /* 1: the least, transactions go to slots before they commit */
    uint32_t sync;
    /* Asked about every image that shows `shown`, before it is written to; NULL: nothing. */
    bool (*look)(pv_db *db, const capi_commit *shown, test_rng *r, char why[API_WHY]);
};

/* Steps of a workload beside api_op_...: 0, or -1 with t->w.why. */
int capi_checkpoint(capi_work *t);
int capi_reopen(capi_work *t);

/* Workloads 0, 1, 2, ... of all kinds in turn, until `images` distinct images were opened (with
 * sanitizers 1,500, one of ten; with PV_SOAK ten times as many). Prints what was done. Returns how
 * many workloads failed. */
uint64_t capi_hunt(const capi_kind *kinds, size_t count, uint64_t images);

#endif
