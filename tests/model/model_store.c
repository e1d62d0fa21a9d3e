/* SPDX-License-Identifier: Apache-2.0 */
/* model_store.c - random operations on a store against a model that remembers every page: commits
 * of all sizes, savepoints, rollbacks, readers that hold their snapshot long, checkpoints,
 * clean and unclean ends. After every commit the database checksum is computed anew from all pages.
 *
 * PV_MODEL_SEEDS: how many seeds (1,000, with sanitizers 60; 20,000 with PV_SOAK). */
#include <stdio.h>
#include <stdlib.h>

#include "base/checksum.h"
#include "crash/crash_kit.h"

#define T_READERS 4u

typedef struct model_reader {
    pv__txn *txn;
    kit_state state;
} model_reader;

typedef struct model {
    sim *disk;
    pv__store_opts opts;
    kit_world w;
    model_reader readers[T_READERS];
    uint64_t commits, reads, reopened, killed;
} model;

static pv__mem t_mem;

static void model_must(int rc, const pv_error *err) { test_assert_ok(rc, err); }

static void model_open(model *m) {
    pv_error err = PV_ERROR_INIT;
    char why[200];
    m->opts.vfs = sim_vfs(m->disk);
    model_must(pv__store_open(&m->opts, &m->w.store, &err), &err);
    if (!kit_matches(m->w.store, &m->w.now, why)) {
        fail_msg("after opening: %s", why);
    }
}

static void model_check_sum(model *m) {
    pv_error err = PV_ERROR_INIT;
    pv__store_stats st;
    pv__txn *t = NULL;
    uint64_t sum = 0;
    model_must(pv__txn_begin(m->w.store, 0, &t, &err), &err);
    model_must(kit_sum(t, &sum, &err), &err);
    pv__txn_rollback(t);
    pv__store_stats_get(m->w.store, &st);
    if (sum != st.db_checksum) {
        fail_msg("commit %llu: the database checksum is not the sum over the pages",
                 (unsigned long long)st.commits);
    }
}

/* A write transaction with savepoints; the end is drawn. */
static void model_write(model *m, unsigned changes, uint32_t flags) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    test_rng *r = &m->w.rng;
    model_must(pv__txn_begin(m->w.store, PV__TXN_WRITE | flags, &t, &err), &err);
    m->w.saved = m->w.now;
    model_must(kit_mutate(&m->w, t, changes, &err), &err);
    for (uint64_t n = test_rng_below(r, 3); n > 0; n--) {
        static kit_state at;
        unsigned savepoint = 0;
        at = m->w.now;
        model_must(pv__txn_savepoint(t, &savepoint, &err), &err);
        model_must(kit_mutate(&m->w, t, changes, &err), &err);
        m->w.now.commits--; /* counted by the first call */
        model_must(pv__store_root_set(t, 0, m->w.now.commits, &err), &err);
        if (test_rng_below(r, 2)) {
            model_must(pv__txn_rollback_to(t, savepoint, &err), &err);
            m->w.now = at;
        } else if (test_rng_below(r, 2)) {
            model_must(pv__txn_release(t, savepoint, &err), &err);
        }
    }
    char why[200];
    if (test_rng_below(r, 4) == 0 && !kit_sees(t, &m->w.now, why)) {
        fail_msg("inside the transaction: %s", why);
    }
    if (test_rng_below(r, 5) == 0) {
        pv__txn_rollback(t);
        m->w.now = m->w.saved;
        return;
    }
    model_must(pv__txn_commit(t, &m->w.now.lsn, &err), &err);
    m->commits++;
    if (!(flags & PV__TXN_ASYNC) && !kit_matches(m->w.store, &m->w.now, why)) {
        fail_msg("after the commit: %s", why);
    }
    model_check_sum(m);
}

static void model_read(model *m, bool end) {
    char why[200];
    pv_error err = PV_ERROR_INIT;
    model_reader *r = &m->readers[test_rng_below(&m->w.rng, T_READERS)];
    if (!r->txn) {
        model_must(pv__txn_begin(m->w.store, 0, &r->txn, &err), &err);
        r->state = m->w.now;
    }
    if (!kit_sees(r->txn, &r->state, why)) {
        fail_msg("a snapshot: %s", why);
    }
    m->reads++;
    if (end) {
        pv__txn_rollback(r->txn);
        r->txn = NULL;
    }
}

static void model_end_readers(model *m) {
    for (size_t i = 0; i < T_READERS; i++) {
        pv__txn_rollback(m->readers[i].txn);
        m->readers[i].txn = NULL;
    }
}

static void model_close(model *m) {
    pv_error err = PV_ERROR_INIT;
    uint64_t bad = 0;
    model_end_readers(m);
    model_must(pv__store_check(m->w.store, true, NULL, NULL, &bad, &err), &err);
    assert_int_equal(bad, 0);
    model_must(pv__store_close(m->w.store, &err), &err);
    m->w.store = NULL;
    m->reopened++;
}

/* Power cut right after an acknowledged commit: nothing more may be needed than what is durable. */
static void model_crash(model *m) {
    model_end_readers(m);
    model_write(m, 3, 0); /* makes what asynchronous commits left durable */
    pv_error err = PV_ERROR_INIT;
    model_must(pv__store_checkpoint(m->w.store, &err), &err);
    sim *image = sim_image(m->disk, sim_op_count(m->disk),
                           (sim_cut)test_rng_below(&m->w.rng, SIM_CUT_COUNT), 1);
    pv__store_abandon(m->w.store);
    sim_free(m->disk);
    m->disk = image;
    m->killed++;
}

static void model_one(uint64_t seed, model *m) {
    test_rng *r = &m->w.rng;
    memset(m, 0, sizeof *m);
    test_rng_init(r, seed);
    m->disk = sim_new(seed);
    m->opts.path = "m.pv";
    m->opts.mem = &t_mem;
    m->opts.create = true;
    m->opts.no_threads = true;
    m->opts.cache_bytes = (uint64_t)128 << (10 + test_rng_below(r, 8));
    m->opts.log_segment_bytes = (uint64_t)16 << (10 + test_rng_below(r, 4));
    m->opts.slab_bytes = test_rng_below(r, 2) ? (uint64_t)32 << (10 + test_rng_below(r, 4)) : 0;
    m->w.pages = 8 + (unsigned)test_rng_below(r, 60);
    m->w.slots_max = 1u << test_rng_below(r, 5);
    model_open(m);
    for (int i = 0; i < 30; i++) {
        const uint64_t what = test_rng_below(r, 20);
        pv_error err = PV_ERROR_INIT;
        if (what < 8) {
            model_write(m, 1 + (unsigned)test_rng_below(r, 6), 0);
        } else if (what < 10) {
            model_write(m, 30, 0);
        } else if (what < 11) {
            model_write(m, 2, PV__TXN_ASYNC);
        } else if (what < 16) {
            model_read(m, test_rng_below(r, 3) == 0);
        } else if (what < 18) {
            model_must(pv__store_checkpoint(m->w.store, &err), &err);
        } else {
            if (what == 18) {
                model_close(m);
            } else {
                model_crash(m);
            }
            model_open(m);
        }
    }
    model_close(m);
    sim_free(m->disk);
}

static void test_model__random_operations_agree_with_the_model(void **state) {
    (void)state;
    static model m;
    const uint64_t seeds = crash_env("PV_MODEL_SEEDS", getenv("PV_SOAK") ? 20000 : 1000, 60);
    const uint64_t seed = test_seed();
    uint64_t commits = 0, reads = 0, reopened = 0, killed = 0;
    for (uint64_t i = 0; i < seeds; i++) {
        test_mem_init(&t_mem);
        model_one(pv__mix64(seed + i), &m);
        test_mem_done(&t_mem);
        commits += m.commits;
        reads += m.reads;
        reopened += m.reopened;
        killed += m.killed;
    }
    printf("%llu seeds, %llu commits with their checksum computed again, %llu snapshot reads, %llu "
           "closed, %llu cut off\n",
           (unsigned long long)seeds, (unsigned long long)commits, (unsigned long long)reads,
           (unsigned long long)reopened, (unsigned long long)killed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model__random_operations_agree_with_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
