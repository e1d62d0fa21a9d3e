/* SPDX-License-Identifier: Apache-2.0 */
/* api_ops.h - random changes through pv.h and on a model at once. What the library must answer is
 * known before it is asked; every other answer is a failure with a reason.
 *
 *      api_world w; api_world_init(&w, db, seed);
 *      while (..) if (api_op(&w) != 0) fail with w.why
 *
 * Outside a transaction every op is a commit (or changes nothing); api_begin, api_commit and
 * api_rollback open and end one over several. */
#ifndef PV_TEST_API_OPS_H
#define PV_TEST_API_OPS_H

#include "support/api_check.h"

typedef enum api_phase {
    API_BEFORE, /* the call is about to be made, `want` is what it must answer */
    API_AFTER
} api_phase;
typedef struct api_world api_world;
enum { API_SAVEPOINTS = 4 }; /* nested in one transaction, at most */

struct api_world {
    pv_db *db;
    pv_txn *txn;                     /* write transaction, or NULL */
    api_model now;                   /* what it sees */
    api_model before;                /* what there was before txn */
    api_model marks[API_SAVEPOINTS]; /* at its savepoints */
    test_rng rng;
    uint32_t keys;     /* ids are drawn from so many per collection */
    uint32_t batch;    /* records in one call, at most */
    uint32_t names;    /* collections are drawn from so many names, at most API_COLLECTIONS */
    uint32_t dims_max; /* of new collections */
    /* Asked around every writing call; non-zero ends the op with -1, why set by the callee. */
    int (*around)(void *ctx, api_world *w, api_phase phase, int want);
    void *around_ctx;
    pv_error err;
    char what[256]; /* the last op in words */
    char why[API_WHY];
    uint64_t ops, refused;
};

void api_world_init(api_world *w, pv_db *db, uint64_t seed);
void api_world_done(api_world *w); /* rolls back, does not close */

/* Each: 0, or -1 with `why`. */
int api_op(api_world *w);         /* anything, at times refused */
int api_op_refused(api_world *w); /* something that must be refused */
int api_op_create(api_world *w, const char *name, uint32_t dims, uint32_t metric, uint32_t key);
int api_op_drop(api_world *w, const char *name);
/* count records with keys first, first + 1, ...; PV_ERR_ codes are predicted from the model. */
int api_op_upsert(api_world *w, const char *name, uint32_t first, uint32_t count);
/* The same, refused for what is wrong with the last of them. */
int api_op_upsert_refused(api_world *w, const char *name, uint32_t first, uint32_t count);
int api_op_delete(api_world *w, const char *name, uint32_t first, uint32_t count);
int api_begin(api_world *w, uint32_t flags);
int api_commit(api_world *w);
void api_rollback(api_world *w);
int api_savepoint(api_world *w, uint32_t *out_number); /* inside a transaction */
int api_rollback_to(api_world *w, uint32_t number);
int api_release(api_world *w, uint32_t number);

/* Key number n of a string collection: short ones and long ones. */
void api_key_text(uint32_t n, char out[PV_LIMIT_ID_BYTES + 1]);

#endif
