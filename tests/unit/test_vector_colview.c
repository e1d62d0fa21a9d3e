/* SPDX-License-Identifier: Apache-2.0 */
/* test_vector_colview.c - a view of a column that goes from transaction to transaction: what it
 * remembers, and that it never shows what its transaction would not see. */
#include "support/test_support.h"

#include <stdio.h>
#include <string.h>

#include "sim/sim_vfs.h"
#include "vector/colview.h"

#define T_OWNER 7u
#define T_ROW 128u
#define T_PER_PAGE 31u /* in 4 KiB */
#define T_ROWS (T_PER_PAGE * 600u)

typedef struct t_world {
    pv__mem mem;
    sim *disk;
    pv__store *store;
    uint64_t root;
    pv_error err;
} t_world;

/* What a walker keeps of one column. */
typedef struct t_view {
    pv__sights sights;
    pv__colview v;
} t_view;

static void t_open(t_world *w, uint64_t cache_bytes) {
    memset(w, 0, sizeof *w);
    w->err = (pv_error)PV_ERROR_INIT;
    test_mem_init(&w->mem);
    w->disk = sim_new(1);
    const pv__store_opts opts = {.path = "a.pv",
                                 .vfs = sim_vfs(w->disk),
                                 .mem = &w->mem,
                                 .create = true,
                                 .no_threads = true,
                                 .cache_bytes = cache_bytes};
    test_assert_ok(pv__store_open(&opts, &w->store, &w->err), &w->err);
}

static void t_close(t_world *w) {
    test_assert_ok(pv__store_close(w->store, &w->err), &w->err);
    sim_free(w->disk);
    test_mem_done(&w->mem);
}

static pv__txn *t_begin(t_world *w, uint32_t flags) {
    pv__txn *txn = NULL;
    test_assert_ok(pv__txn_begin(w->store, flags, &txn, &w->err), &w->err);
    return txn;
}

static pv__column t_column(t_world *w, pv__txn *txn) {
    pv__column c;
    test_assert_ok(pv__column_open(txn, T_OWNER, w->root, T_ROW, &c, &w->err), &w->err);
    return c;
}

static void t_fill(uint8_t *row, uint32_t slot, uint32_t salt) {
    for (uint32_t i = 0; i < T_ROW; i += 4) {
        pv__put32(row + i, slot * 2654435761u + salt + i);
    }
}

/* Rows [from, to) by `txn`, a row every `step`. */
static void t_write(t_world *w, pv__txn *txn, uint32_t from, uint32_t to, uint32_t step,
                    uint32_t salt) {
    const pv__column c = t_column(w, txn);
    for (uint32_t slot = from; slot < to; slot += step) {
        uint8_t *row;
        test_assert_ok(pv__column_write(&c, slot, &row, &w->err), &w->err);
        t_fill(row, slot, salt);
        test_assert_ok(slot % 64 == 0 ? pv__txn_pause(txn, &w->err) : 0, &w->err);
    }
}

static void t_load(t_world *w) {
    pv__txn *txn = t_begin(w, PV__TXN_WRITE);
    test_assert_ok(pv__column_create(txn, T_OWNER, T_ROW, 1, &w->root, &w->err), &w->err);
    t_write(w, txn, 0, T_ROWS, 1, 1);
    test_assert_ok(pv__txn_commit(txn, NULL, &w->err), &w->err);
    test_assert_ok(pv__store_checkpoint(w->store, &w->err), &w->err);
}

static void t_commit(t_world *w, uint32_t from, uint32_t to, uint32_t step, uint32_t salt) {
    pv__txn *txn = t_begin(w, PV__TXN_WRITE);
    t_write(w, txn, from, to, step, salt);
    test_assert_ok(pv__txn_commit(txn, NULL, &w->err), &w->err);
}

static void t_look(t_world *w, t_view *t, pv__txn *txn) {
    const pv__column c = t_column(w, txn);
    pv__sights_now(&t->sights, txn);
    test_assert_ok(pv__colview_open(&t->v, &c, T_ROWS, &t->sights, &w->mem, &w->err), &w->err);
}

/* Rows [from, to) through the view, one by one and many at once. */
static void t_expect(t_world *w, t_view *t, uint32_t from, uint32_t to, uint32_t salt) {
    uint8_t want[T_ROW];
    uint32_t slots[20];
    const uint8_t *rows[20];
    for (uint32_t slot = from; slot < to; slot += PV_COUNTOF(slots)) {
        for (uint32_t i = 0; i < PV_COUNTOF(slots); i++) { /* in no order */
            slots[i] = from + (slot - from + i * 7919u) % (to - from);
        }
        test_assert_ok(pv__colview_rows(&t->v, slots, PV_COUNTOF(slots), rows, &w->err), &w->err);
        for (uint32_t i = 0; i < PV_COUNTOF(slots); i++) {
            const uint8_t *row;
            t_fill(want, slots[i], salt);
            test_assert_same_bytes(rows[i], want, T_ROW);
            test_assert_ok(pv__colview_row(&t->v, slots[i], &row, &w->err), &w->err);
            test_assert_same_bytes(row, want, T_ROW);
        }
    }
}

/* A transaction of its own: begin, look, expect, end. What it has looked at stays till then. */
static void t_walk(t_world *w, t_view *t, uint32_t from, uint32_t to, uint32_t salt) {
    pv__txn *txn = t_begin(w, 0);
    t_look(w, t, txn);
    t_expect(w, t, from, to, salt);
    pv__txn_rollback(txn);
}

static uint32_t t_known(const t_view *t) {
    uint32_t n = 0;
    for (uint32_t i = 0; t->v.base && i < t->v.ordinals; i++) {
        n += t->v.base[i] != 0;
    }
    return n;
}

static void test_colview__remembers_what_does_not_change(void **state) {
    (void)state;
    t_world w;
    t_view t = {.sights = {.number = 0}};
    t_open(&w, 64u << 20);
    t_load(&w);
    for (unsigned i = 0; i < 3; i++) { /* is it steady? */
        t_walk(&w, &t, 0, T_ROWS, 1);
        assert_int_equal(t_known(&t), 0);
    }
    t_walk(&w, &t, 0, T_PER_PAGE, 1);
    assert_int_equal(t_known(&t), 1);
    for (unsigned i = 0; i < 3; i++) {
        t_walk(&w, &t, 0, T_ROWS, 1);
        assert_int_equal(t_known(&t), T_ROWS / T_PER_PAGE);
    }
    pv__colview_done(&t.v, &w.mem);
    t_close(&w);
}

static void test_colview__shows_each_transaction_its_own_state(void **state) {
    (void)state;
    t_world w;
    t_view old = {.sights = {.number = 0}}, fresh = {.sights = {.number = 0}};
    t_open(&w, 64u << 20);
    t_load(&w);
    for (unsigned i = 0; i < 5; i++) {
        t_walk(&w, &fresh, 0, T_ROWS, 1);
    }
    assert_int_not_equal(t_known(&fresh), 0);
    pv__txn *reader = t_begin(&w, 0);
    t_look(&w, &old, reader);
    for (uint32_t salt = 2; salt < 6; salt++) {
        t_commit(&w, 0, T_ROWS, 1, salt);
        for (unsigned i = 0; i < 5; i++) {
            t_walk(&w, &fresh, 0, T_ROWS, salt);
            test_assert_ok(pv__txn_pause(reader, &w.err), &w.err);
            t_look(&w, &old, reader);
            t_expect(&w, &old, 0, T_ROWS, 1);
        }
        assert_int_not_equal(t_known(&fresh), 0);
        assert_int_not_equal(t_known(&old), 0);
    }
    pv__txn_rollback(reader);
    t_walk(&w, &old, 0, T_ROWS, 5); /* the same view, a later state */
    pv__colview_done(&old.v, &w.mem);
    pv__colview_done(&fresh.v, &w.mem);
    t_close(&w);
}

static void test_colview__writers_look_anew(void **state) {
    (void)state;
    t_world w;
    t_view t = {.sights = {.number = 0}};
    t_open(&w, 64u << 20);
    t_load(&w);
    for (unsigned i = 0; i < 5; i++) {
        t_walk(&w, &t, 0, T_ROWS, 1);
    }
    pv__txn *txn = t_begin(&w, PV__TXN_WRITE);
    for (uint32_t salt = 2; salt < 9; salt++) {
        t_write(&w, txn, 0, T_PER_PAGE * 40, 1, salt);
        t_look(&w, &t, txn);
        t_expect(&w, &t, 0, T_PER_PAGE * 40, salt);
        t_expect(&w, &t, T_PER_PAGE * 40, T_ROWS, 1);
        assert_int_equal(t_known(&t), 0);
    }
    pv__txn_rollback(txn);
    for (unsigned i = 0; i < 5; i++) {
        t_walk(&w, &t, 0, T_ROWS, 1);
    }
    assert_int_not_equal(t_known(&t), 0);
    pv__colview_done(&t.v, &w.mem);
    t_close(&w);
}

/* 600 pages, room for less than half of them: what is remembered keeps nothing in memory, and is
 * not believed when it has gone. */
static void test_colview__pins_nothing_in_a_small_cache(void **state) {
    (void)state;
    const uint64_t cache = 1u << 20;
    t_world w;
    t_view t = {.sights = {.number = 0}}, other = {.sights = {.number = 0}};
    pv__store_stats st;
    t_open(&w, cache);
    t_load(&w);
    for (unsigned round = 0; round < 12; round++) {
        const uint32_t from = round % 6 * 100 * T_PER_PAGE;
        for (unsigned i = 0; i < 6; i++) {
            t_walk(&w, &t, from, from + 20 * T_PER_PAGE, 1);
        }
        for (uint32_t at = 0; at < T_ROWS; at += 20 * T_PER_PAGE) { /* takes the place of all */
            t_walk(&w, &other, at, at + 20 * T_PER_PAGE, 1);
        }
        t_walk(&w, &t, from, from + 20 * T_PER_PAGE, 1);
        pv__store_stats_get(w.store, &st);
        assert_true(st.cache_bytes <= cache + cache / 8);
    }
    pv__colview_done(&t.v, &w.mem);
    pv__colview_done(&other.v, &w.mem);
    t_close(&w);
}

/* Pages that are used by their address alone are not taken for pages that nobody uses. */
static void test_colview__what_is_walked_over_outlives_what_is_not(void **state) {
    (void)state;
    t_world w;
    t_view t = {.sights = {.number = 0}}, cold = {.sights = {.number = 0}};
    pv__store_stats before, after;
    t_open(&w, 1200u << 10);
    t_load(&w);
    const uint32_t hot = 60 * T_PER_PAGE;
    uint64_t read = 0;
    for (unsigned i = 0; i < 8; i++) {
        t_walk(&w, &t, 0, hot, 1);
    }
    for (uint32_t at = hot; at + 4 * T_PER_PAGE <= T_ROWS; at += 4 * T_PER_PAGE) {
        t_walk(&w, &cold, at, at + 4 * T_PER_PAGE, 1); /* some of all others, once */
        pv__store_stats_get(w.store, &before);
        for (unsigned i = 0; i < 6; i++) {
            t_walk(&w, &t, 0, hot, 1);
        }
        pv__store_stats_get(w.store, &after);
        read += after.page_misses - before.page_misses;
    }
    assert_in_range(read, 0, 6); /* the directory, at most; the cold ones are 540 */
    pv__colview_done(&t.v, &w.mem);
    pv__colview_done(&cold.v, &w.mem);
    t_close(&w);
}

/* A column that the cache could not hold even if its pages had 4 KiB. */
static void test_colview__remembers_no_more_than_the_cache_holds(void **state) {
    (void)state;
    t_world w;
    t_view t = {.sights = {.number = 0}};
    t_open(&w, 512u << 10);
    t_load(&w);
    for (unsigned i = 0; i < 8; i++) {
        t_walk(&w, &t, 0, 10 * T_PER_PAGE, 1);
        assert_int_equal(t_known(&t), 0);
        assert_int_equal(t.v.base_cap, 0);
    }
    pv__colview_done(&t.v, &w.mem);
    t_close(&w);
}

static int t_nomem_walk(void *ctx) {
    t_world *w = ctx;
    pv_error *err = &w->err;
    t_view t = {.sights = {.number = 0}};
    int rc = 0;
    for (unsigned i = 0; i < 6 && rc == 0; i++) {
        pv__txn *txn = NULL;
        pv__column c;
        rc = pv__txn_begin(w->store, 0, &txn, err);
        rc = rc ? rc : pv__column_open(txn, T_OWNER, w->root, T_ROW, &c, err);
        if (rc == 0) {
            pv__sights_now(&t.sights, txn);
            rc = pv__colview_open(&t.v, &c, T_ROWS, &t.sights, &w->mem, err);
        }
        if (rc == 0) {
            t_expect(w, &t, 0, 100, 1);
        }
        pv__txn_rollback(txn);
    }
    pv__colview_done(&t.v, &w->mem);
    return rc;
}

static void test_colview__no_memory_at_any_point(void **state) {
    (void)state;
    t_world w;
    t_open(&w, 64u << 20);
    t_load(&w);
    assert_true(test_nomem_loop(&w.mem, t_nomem_walk, &w) > 0);
    t_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_colview__remembers_what_does_not_change),
        cmocka_unit_test(test_colview__shows_each_transaction_its_own_state),
        cmocka_unit_test(test_colview__writers_look_anew),
        cmocka_unit_test(test_colview__pins_nothing_in_a_small_cache),
        cmocka_unit_test(test_colview__what_is_walked_over_outlives_what_is_not),
        cmocka_unit_test(test_colview__remembers_no_more_than_the_cache_holds),
        cmocka_unit_test(test_colview__no_memory_at_any_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
