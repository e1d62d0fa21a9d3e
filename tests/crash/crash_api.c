/* SPDX-License-Identifier: Apache-2.0 */
/* crash_api.c - the workloads of crash_api_kit.h over collections of records: batches, deletes,
 * drops, transactions undone in part or as a whole, large ones, asynchronous ones. */
#include "crash/crash_api_kit.h"

/* ---- workloads: each a list of steps, any of which may fail ---- */

#define T_DO(x)                                                                                    \
    do {                                                                                           \
        if ((x) != 0) {                                                                            \
            return -1;                                                                             \
        }                                                                                          \
    } while (0)

/* Batches over a collection of texts and one of numbers; some keys come again. */
static int t_work_batches(capi_work *t) {
    T_DO(api_op_create(&t->w, "a", 24, PV_METRIC_L2, PV_KEY_STRING));
    T_DO(api_op_create(&t->w, "b", 3, PV_METRIC_DOT, PV_KEY_U64));
    for (uint32_t i = 0; i < 8; i++) {
        T_DO(api_op_upsert(&t->w, "a", i * 6, 9));
        T_DO(api_op_upsert(&t->w, "b", i * 9, 12));
    }
    return 0;
}

/* Slots become free and are used again by others. */
static int t_work_deletes(capi_work *t) {
    T_DO(api_op_create(&t->w, "a", 64, PV_METRIC_COSINE, PV_KEY_U64));
    T_DO(api_op_upsert(&t->w, "a", 0, 60));
    for (uint32_t i = 0; i < 7; i++) {
        T_DO(api_op_delete(&t->w, "a", i * 8, 8));
        T_DO(api_op_upsert(&t->w, "a", 100 + i * 6, 6));
    }
    T_DO(api_op_delete(&t->w, "a", 0, 64));
    T_DO(api_op_delete(&t->w, "a", 64, 64));
    T_DO(api_op_delete(&t->w, "a", 128, 64));
    return api_op_upsert(&t->w, "a", 5, 3);
}

/* Collections come and go, under the same name with another shape. */
static int t_work_drops(capi_work *t) {
    T_DO(api_op_create(&t->w, "keep", 3, PV_METRIC_L2, PV_KEY_STRING));
    T_DO(api_op_upsert(&t->w, "keep", 0, 10));
    for (uint32_t i = 0; i < 4; i++) {
        T_DO(api_op_create(&t->w, "a", 30 + i * 40, 1 + i % 3, 1 + i % 2));
        T_DO(api_op_upsert(&t->w, "a", 0, 40));
        T_DO(api_op_upsert(&t->w, "keep", i, 3));
        T_DO(api_op_drop(&t->w, "a"));
    }
    T_DO(api_begin(&t->w, 0)); /* made, filled and dropped inside one transaction */
    T_DO(api_op_create(&t->w, "x", 12, PV_METRIC_L2, PV_KEY_U64));
    T_DO(api_op_upsert(&t->w, "x", 0, 20));
    T_DO(api_op_drop(&t->w, "x"));
    T_DO(api_op_drop(&t->w, "keep"));
    T_DO(api_op_create(&t->w, "keep", 6, PV_METRIC_DOT, PV_KEY_U64));
    T_DO(api_op_upsert(&t->w, "keep", 0, 20));
    return api_commit(&t->w);
}

/* Transactions over two collections, every second one undone. */
static int t_work_rollbacks(capi_work *t) {
    T_DO(api_op_create(&t->w, "a", 8, PV_METRIC_L2, PV_KEY_STRING));
    T_DO(api_op_create(&t->w, "b", 33, PV_METRIC_COSINE, PV_KEY_U64));
    for (uint32_t i = 0; i < 10; i++) {
        T_DO(api_begin(&t->w, 0));
        T_DO(api_op_upsert(&t->w, "a", i * 3, 8));
        T_DO(api_op_delete(&t->w, "b", i * 2, 5));
        T_DO(api_op_upsert(&t->w, "b", i * 4, 8));
        for (int k = 0; k < 3; k++) {
            T_DO(api_op(&t->w));
        }
        if (i % 2) {
            api_rollback(&t->w);
        } else {
            T_DO(api_commit(&t->w));
        }
    }
    return 0;
}

/* Savepoints, of which some are undone; slots that only the undone part used are free again. */
static int t_work_savepoints(capi_work *t) {
    T_DO(api_op_create(&t->w, "a", 40, PV_METRIC_L2, PV_KEY_U64));
    T_DO(api_op_upsert(&t->w, "a", 0, 30));
    for (uint32_t i = 0; i < 8; i++) {
        uint32_t outer = 0, inner = 0;
        T_DO(api_begin(&t->w, 0));
        T_DO(api_op_upsert(&t->w, "a", i * 3, 6));
        T_DO(api_savepoint(&t->w, &outer));
        T_DO(api_op_delete(&t->w, "a", i * 2, 8));
        T_DO(api_op_create(&t->w, "b", 5 + i, PV_METRIC_DOT, PV_KEY_STRING));
        T_DO(api_op_upsert(&t->w, "b", 0, 12));
        T_DO(api_savepoint(&t->w, &inner));
        T_DO(api_op_upsert(&t->w, "a", 60 + i * 20, 40));
        T_DO(i % 3 ? api_rollback_to(&t->w, inner) : api_release(&t->w, inner));
        T_DO(api_op_upsert(&t->w, "b", 6, 9));
        T_DO(i % 2 ? api_rollback_to(&t->w, outer) : api_op_drop(&t->w, "b"));
        T_DO(api_op(&t->w));
        if (i % 4 == 3) {
            api_rollback(&t->w);
        } else {
            T_DO(api_commit(&t->w));
        }
        if (api_model_find(&t->w.now, "b")) {
            T_DO(api_op_drop(&t->w, "b"));
        }
    }
    return 0;
}

/* Loads of more than the log takes in full, whose pages it names by slot; dropped and loaded again
 * into the slots that became free. */
static int t_work_loads(capi_work *t) {
    for (uint32_t i = 0; i < 3; i++) {
        T_DO(api_op_create(&t->w, "a", 300, PV_METRIC_L2, PV_KEY_U64));
        T_DO(api_begin(&t->w, 0));
        for (uint32_t k = 0; k < 12; k++) {
            T_DO(api_op_upsert(&t->w, "a", k * 100, 100));
        }
        T_DO(api_commit(&t->w));
        T_DO(api_op_upsert(&t->w, "a", 7, 2));
        T_DO(i % 2 ? 0 : capi_checkpoint(t));
        T_DO(api_op_drop(&t->w, "a"));
        T_DO(capi_checkpoint(t));
    }
    return 0;
}

/* Anything, with checkpoints and clean closes between. */
static int t_work_mixed(capi_work *t) {
    for (uint32_t i = 0; i < 60; i++) {
        const uint64_t which = test_rng_below(&t->w.rng, 24);
        if (which == 0 && !t->w.txn) {
            T_DO(capi_checkpoint(t));
        } else if (which == 1 && !t->w.txn) {
            T_DO(capi_reopen(t));
        } else if (which < 5 && !t->w.txn) {
            T_DO(api_begin(&t->w, 0));
        } else if (which < 5) {
            T_DO(api_commit(&t->w));
        } else {
            T_DO(api_op(&t->w));
        }
    }
    api_rollback(&t->w);
    return 0;
}

/* Transactions too large for the cache, whose pages the log names by slot; small ones that change
 * the same pages by some bytes; and checkpoints, which must leave those slots alone until the new
 * root is there. */
static int t_work_spills(capi_work *t) {
    T_DO(api_op_create(&t->w, "a", 300, PV_METRIC_L2, PV_KEY_U64));
    for (uint32_t i = 0; i < 3; i++) {
        T_DO(api_begin(&t->w, 0));
        T_DO(api_op_upsert(&t->w, "a", i * 20, 110));
        T_DO(api_commit(&t->w));
        T_DO(api_op_upsert(&t->w, "a", i * 20 + 3, 1));
        T_DO(api_op_upsert(&t->w, "a", i * 20 + 70, 1));
        T_DO(api_op_delete(&t->w, "a", i * 20 + 4, 2));
        T_DO(capi_checkpoint(t));
        T_DO(api_op_upsert(&t->w, "a", i * 20 + 3, 1));
    }
    return 0;
}

/* Commits that do not wait for the disk: the last ones may be lost, in order. */
static int t_work_async(capi_work *t) {
    T_DO(api_op_create(&t->w, "a", 10, PV_METRIC_L2, PV_KEY_U64));
    for (uint32_t i = 0; i < 24; i++) {
        T_DO(api_op_upsert(&t->w, "a", i * 3, 4));
        if (i % 9 == 8) {
            T_DO(i == 8 ? capi_checkpoint(t) : capi_reopen(t));
        }
    }
    return 0;
}

/* Calls whose vectors are in pages before all is checked: some are refused then. */
static int t_work_large_calls(capi_work *t) {
    T_DO(api_op_create(&t->w, "a", 300, PV_METRIC_L2, PV_KEY_U64));
    for (uint32_t i = 0; i < 5; i++) {
        T_DO(api_op_upsert_refused(&t->w, "a", i * 64, 64));
        T_DO(api_op_upsert(&t->w, "a", i * 64, 64));
        T_DO(api_op_delete(&t->w, "a", i * 64, 40));
        T_DO(api_op_upsert_refused(&t->w, "a", 1000, 64));
        T_DO(i == 2 ? capi_checkpoint(t) : i == 3 ? capi_reopen(t) : 0);
    }
    return api_op_upsert(&t->w, "a", 500, 64);
}

/* The same with so little cache that pages are in slots by then, which others use afterwards. */
static int t_work_large_calls_spilled(capi_work *t) {
    T_DO(api_op_create(&t->w, "a", 300, PV_METRIC_L2, PV_KEY_U64));
    T_DO(api_op_upsert_refused(&t->w, "a", 0, 64));
    T_DO(api_op_upsert(&t->w, "a", 0, 64));
    return api_op_upsert_refused(&t->w, "a", 100, 64);
}

static const capi_kind t_kinds[] = {
    {"batches", t_work_batches, 0, 0, PV_SYNC_FULL, NULL},
    {"deletes", t_work_deletes, 0, 0, PV_SYNC_FULL, NULL},
    {"drops", t_work_drops, 0, 0, PV_SYNC_FULL, NULL},
    {"rollbacks", t_work_rollbacks, 0, 0, PV_SYNC_FULL, NULL},
    {"mixed", t_work_mixed, 0, 0, PV_SYNC_FULL, NULL},
    {"mixed with checkpoints", t_work_mixed, 48u << 10, 0, PV_SYNC_FULL, NULL},
    {"mixed with the least cache", t_work_mixed, 0, 1, PV_SYNC_FULL, NULL},
    {"rollbacks with little cache", t_work_rollbacks, 0, 300u << 10, PV_SYNC_FULL, NULL},
    {"spills", t_work_spills, 0, 512u << 10, PV_SYNC_FULL, NULL},
    {"drops with checkpoints", t_work_drops, 32u << 10, 0, PV_SYNC_FULL, NULL},
    {"savepoints", t_work_savepoints, 0, 0, PV_SYNC_FULL, NULL},
    {"savepoints with little cache", t_work_savepoints, 64u << 10, 300u << 10, PV_SYNC_FULL, NULL},
    {"loads", t_work_loads, 0, 0, PV_SYNC_FULL, NULL},
    {"async", t_work_async, 0, 0, PV_SYNC_ASYNC, NULL},
    {"large calls", t_work_large_calls, 0, 0, PV_SYNC_FULL, NULL},
    {"large calls with the least cache", t_work_large_calls_spilled, 0, 1, PV_SYNC_FULL, NULL},
};

#undef T_DO

static void test_crash_api__every_cut_shows_a_commit(void **state) {
    (void)state;
    assert_int_equal(capi_hunt(t_kinds, sizeof(t_kinds) / sizeof(t_kinds[0]), 40000), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash_api__every_cut_shows_a_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
