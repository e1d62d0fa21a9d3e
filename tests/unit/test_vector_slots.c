/* SPDX-License-Identifier: Apache-2.0 */
/* test_vector_slots.c - handing out slots and taking them back, against a plain array of flags. */
#include "support/test_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vector/bits.h"
#include "vector/freemap.h"

#define T_OWNER 9u
#define T_MODEL_SLOTS 70000u

typedef struct t_world {
    pv__mem mem;
    pv__store *store;
    pv__txn *txn;
    pv__slots_meta meta; /* as the caller's page would keep it: of the last commit */
    pv__slots slots;
    pv_error err;
} t_world;

static void t_begin(t_world *w) {
    test_assert_ok(pv__txn_begin(w->store, PV__TXN_WRITE, &w->txn, &w->err), &w->err);
}

static void t_open(t_world *w) {
    test_assert_ok(pv__slots_open(w->txn, T_OWNER, &w->meta, &w->slots, &w->err), &w->err);
}

static void t_commit(t_world *w) {
    test_assert_ok(pv__txn_commit(w->txn, NULL, &w->err), &w->err);
    w->meta = w->slots.meta;
    t_begin(w);
    t_open(w);
}

static void t_rollback(t_world *w) {
    pv__txn_rollback(w->txn);
    t_begin(w);
    t_open(w);
}

static void t_create(t_world *w, uint32_t group_size) {
    test_assert_ok(pv__slots_create(w->txn, T_OWNER, group_size, &w->meta, &w->err), &w->err);
    t_open(w);
}

static int t_setup(void **state) {
    static t_world world;
    memset(&world, 0, sizeof world);
    const pv_error none = PV_ERROR_INIT;
    world.err = none;
    test_mem_init(&world.mem);
    const pv__store_opts opts = {
        .path = ":memory:", .mem = &world.mem, .create = true, .no_threads = true};
    test_assert_ok(pv__store_open(&opts, &world.store, &world.err), &world.err);
    t_begin(&world);
    *state = &world;
    return 0;
}

static int t_teardown(void **state) {
    t_world *w = *state;
    pv__txn_rollback(w->txn);
    test_assert_ok(pv__store_close(w->store, &w->err), &w->err);
    test_mem_done(&w->mem);
    return 0;
}

static uint32_t t_alloc(t_world *w) {
    uint32_t slot = UINT32_MAX;
    test_assert_ok(pv__slots_alloc(&w->slots, &slot, &w->err), &w->err);
    return slot;
}

static void t_free(t_world *w, uint32_t slot) {
    test_assert_ok(pv__slots_free(&w->slots, slot, &w->err), &w->err);
}

static bool t_live(t_world *w, uint32_t slot) {
    bool live = false;
    test_assert_ok(pv__slots_is_live(&w->slots, slot, &live, &w->err), &w->err);
    return live;
}

static uint64_t t_findings(t_world *w) {
    uint64_t bad = 0;
    test_assert_ok(pv__slots_check(&w->slots, NULL, NULL, &bad, &w->err), &w->err);
    return bad;
}

/* ---- order --------------------------------------------------------------------------------- */

static void test_slots__new_ones_come_in_order(void **state) {
    t_world *w = *state;
    t_create(w, 21);
    for (uint32_t i = 0; i < PV__BITS_PER_PAGE + 100; i++) {
        assert_int_equal(t_alloc(w), i);
    }
    assert_int_equal(w->slots.meta.live_count, PV__BITS_PER_PAGE + 100);
    assert_false(t_live(w, PV__BITS_PER_PAGE + 100));
    assert_true(t_live(w, PV__BITS_PER_PAGE + 99));
    assert_int_equal(t_findings(w), 0);
}

/* Runs hand out what single calls would have, across pages of bits, dead slots first. */
static void test_slots__runs_are_single_ones_at_once(void **state) {
    t_world *w = *state;
    uint32_t first = 0, count = 0, next = 0;
    t_create(w, 21);
    for (uint32_t want = 1; next < 2 * PV__BITS_PER_PAGE; want = want * 3 % 20011) {
        test_assert_ok(pv__slots_alloc_run(&w->slots, want, &first, &count, &w->err), &w->err);
        assert_int_equal(first, next);
        assert_true(count >= 1 && count <= want);
        next += count;
    }
    assert_int_equal(w->slots.meta.high_water, next);
    assert_int_equal(w->slots.meta.live_count, next);
    for (uint32_t i = 0; i < next; i += 7) {
        assert_true(t_live(w, i));
    }
    assert_false(t_live(w, next));
    t_free(w, 5);
    t_free(w, 9);
    test_assert_ok(pv__slots_alloc_run(&w->slots, 100, &first, &count, &w->err), &w->err);
    assert_int_equal(first, 5);
    assert_int_equal(count, 1);
    test_assert_ok(pv__slots_alloc_run(&w->slots, 99, &first, &count, &w->err), &w->err);
    assert_int_equal(first, 9);
    test_assert_ok(pv__slots_alloc_run(&w->slots, 98, &first, &count, &w->err), &w->err);
    assert_int_equal(first, next);
    assert_int_equal(t_findings(w), 0);
}

static void test_slots__deadest_group_is_refilled_first_and_wholly(void **state) {
    t_world *w = *state;
    t_create(w, 100);
    for (uint32_t i = 0; i < 1000; i++) {
        t_alloc(w);
    }
    t_free(w, 333);
    for (uint32_t i = 700; i < 705; i++) {
        t_free(w, i);
    }
    t_free(w, 150);
    t_free(w, 160);
    assert_int_equal(t_findings(w), 0);
    for (uint32_t i = 700; i < 703; i++) {
        assert_int_equal(t_alloc(w), i);
    }
    t_free(w, 799); /* into the group being refilled */
    t_free(w, 161); /* now 1xx has as many, but 7xx is finished first */
    assert_int_equal(t_findings(w), 0);
    assert_int_equal(t_alloc(w), 703);
    assert_int_equal(t_alloc(w), 704);
    assert_int_equal(t_alloc(w), 799);
    assert_int_equal(t_alloc(w), 150);
    assert_int_equal(t_alloc(w), 160);
    assert_int_equal(t_alloc(w), 161);
    assert_int_equal(t_alloc(w), 333);
    assert_int_equal(t_alloc(w), 1000);
    assert_int_equal(t_findings(w), 0);
}

static void test_slots__at_end_leaves_dead_ones_alone(void **state) {
    t_world *w = *state;
    t_create(w, 21);
    for (uint32_t i = 0; i < 50; i++) {
        t_alloc(w);
    }
    t_free(w, 7);
    t_free(w, 45); /* in the last, partly used group */
    uint32_t slot = 0;
    for (uint32_t i = 50; i < 80; i++) {
        test_assert_ok(pv__slots_alloc_at_end(&w->slots, &slot, &w->err), &w->err);
        assert_int_equal(slot, i);
    }
    assert_int_equal(t_findings(w), 0);
    assert_int_equal(t_alloc(w), 7);
    assert_int_equal(t_alloc(w), 45);
    assert_int_equal(t_alloc(w), 80);
    assert_int_equal(t_findings(w), 0);
}

static void test_slots__freeing_what_is_not_live_is_refused(void **state) {
    t_world *w = *state;
    t_create(w, 21);
    t_alloc(w);
    t_alloc(w);
    t_free(w, 0);
    test_assert_rc(pv__slots_free(&w->slots, 0, &w->err), PV_ERR_CORRUPT, NULL);
    assert_non_null(strstr(w->err.message, "slot 0"));
    test_assert_rc(pv__slots_free(&w->slots, 2, &w->err), PV_ERR_CORRUPT, NULL);
    test_assert_rc(pv__slots_free(&w->slots, UINT32_MAX, &w->err), PV_ERR_CORRUPT, NULL);
    assert_int_equal(w->slots.meta.live_count, 1);
    t_commit(w); /* a refused call does not doom */
    assert_true(t_live(w, 1));
    assert_int_equal(t_findings(w), 0);
}

static void test_slots__limit_is_kept(void **state) {
    t_world *w = *state;
    t_create(w, 21);
    w->slots.meta.high_water = w->slots.meta.live_count = PV__SLOTS_PER_COLLECTION_MAX - 1;
    assert_int_equal(t_alloc(w), PV__SLOTS_PER_COLLECTION_MAX - 1);
    uint32_t slot = 5;
    test_assert_rc(pv__slots_alloc(&w->slots, &slot, &w->err), PV_ERR_LIMIT, NULL);
    assert_int_equal(slot, 5);
    t_free(w, PV__SLOTS_PER_COLLECTION_MAX - 1); /* the far end of the free map */
    assert_int_equal(t_alloc(w), PV__SLOTS_PER_COLLECTION_MAX - 1);
    uint64_t words[2] = {0, 0};
    uint32_t live = 0;
    test_assert_ok(
        pv__slots_bits(&w->slots, PV__SLOTS_PER_COLLECTION_MAX - 10, 100, words, &live, &w->err),
        &w->err);
    assert_int_equal(live, 1);
    assert_true(words[0] == (uint64_t)1 << 9 && words[1] == 0);
    bool found = false;
    test_assert_ok(
        pv__slots_next(&w->slots, PV__SLOTS_PER_COLLECTION_MAX - 500, &slot, &found, &w->err),
        &w->err);
    assert_true(found && slot == PV__SLOTS_PER_COLLECTION_MAX - 1);
}

/* ---- model --------------------------------------------------------------------------------- */

typedef struct t_model {
    bool live[T_MODEL_SLOTS];
    uint32_t high, count;
} t_model;

static void t_compare(t_world *w, const t_model *m, test_rng *rng) {
    assert_int_equal(w->slots.meta.high_water, m->high);
    assert_int_equal(w->slots.meta.live_count, m->count);
    static uint64_t words[T_MODEL_SLOTS / 64 + 2];
    const uint32_t first = (uint32_t)test_rng_below(rng, m->high + 70);
    const uint32_t n = (uint32_t)test_rng_below(rng, T_MODEL_SLOTS - first) + 1;
    uint32_t live = 0, want = 0;
    test_assert_ok(pv__slots_bits(&w->slots, first, n, words, &live, &w->err), &w->err);
    for (uint32_t i = 0; i < n; i++) {
        const bool bit = (words[i / 64] >> i % 64 & 1) != 0;
        assert_true(bit == m->live[first + i]);
        want += bit;
    }
    assert_int_equal(live, want);
    assert_true(n % 64 == 0 || words[n / 64] >> n % 64 == 0);
    uint32_t slot = first, at = first;
    bool found = true;
    for (int i = 0; found && i < 200; i++) { /* some steps of an iteration */
        test_assert_ok(pv__slots_next(&w->slots, slot, &slot, &found, &w->err), &w->err);
        while (at < m->high && !m->live[at]) {
            at++;
        }
        assert_true(found == (at < m->high));
        if (found) {
            assert_int_equal(slot, at);
            assert_true(t_live(w, slot));
            slot++;
            at++;
        }
    }
}

static void t_model_step(t_world *w, t_model *m, test_rng *rng, unsigned grow_percent) {
    if (m->count == 0 || (m->high < T_MODEL_SLOTS - 1 && test_rng_below(rng, 100) < grow_percent)) {
        const uint32_t slot = t_alloc(w);
        assert_true(slot < T_MODEL_SLOTS && !m->live[slot]);
        assert_true(slot == m->high ? m->count == m->high : slot < m->high);
        m->high += slot == m->high;
        m->live[slot] = true;
        m->count++;
    } else {
        uint32_t slot = (uint32_t)test_rng_below(rng, m->high);
        while (!m->live[slot]) {
            slot = (slot + 1) % m->high;
        }
        t_free(w, slot);
        m->live[slot] = false;
        m->count--;
    }
}

static void t_run_model(t_world *w, uint32_t group_size, test_rng *rng) {
    t_model *now = calloc(2, sizeof *now), *saved = now + 1;
    t_create(w, group_size);
    t_commit(w);
    for (int round = 0; round < 12; round++) {
        const unsigned grow = round % 3 == 0 ? 95 : round % 3 == 1 ? 20 : 55;
        for (int i = 0; i < 4000; i++) {
            t_model_step(w, now, rng, grow);
        }
        t_compare(w, now, rng);
        if (test_rng_below(rng, 3) == 0) {
            t_rollback(w);
            *now = *saved;
        } else {
            t_commit(w);
            *saved = *now;
        }
        t_compare(w, now, rng);
        assert_int_equal(t_findings(w), 0);
    }
    free(now);
}

static void test_slots__agree_with_a_plain_array(void **state) {
    t_world *w = *state;
    static const uint32_t groups[] = {1, 21, 127, 255, 256, 5000, PV__ROWS_PER_PAGE_MAX};
    test_rng rng;
    test_rng_init(&rng, test_seed());
    for (size_t i = 0; i < PV_COUNTOF(groups); i++) {
        t_run_model(w, groups[i], &rng);
    }
}

/* ---- free map ------------------------------------------------------------------------------ */

static void test_slots__free_map_finds_the_largest_byte_anywhere(void **state) {
    t_world *w = *state;
    t_create(w, 1);
    const pv__column *map = &w->slots.free_map;
    static const uint32_t groups[] = {0, 4031, 4032, 500000, 16257023, 16257024, 2147483646};
    uint32_t group = 0;
    bool found = true;
    test_assert_ok(pv__freemap_best(map, &group, &found, &w->err), &w->err);
    assert_false(found);
    for (uint32_t i = 0; i < PV_COUNTOF(groups); i++) { /* rising, so each is the best in turn */
        test_assert_ok(pv__freemap_set(map, groups[i], (uint8_t)(i + 1), &w->err), &w->err);
        test_assert_ok(pv__freemap_best(map, &group, &found, &w->err), &w->err);
        assert_true(found && group == groups[i]);
    }
    for (uint32_t i = PV_COUNTOF(groups); i-- > 0;) { /* and falling */
        test_assert_ok(pv__freemap_best(map, &group, &found, &w->err), &w->err);
        assert_true(found && group == groups[i]);
        test_assert_ok(pv__freemap_set(map, groups[i], 0, &w->err), &w->err);
        bool ok = false;
        test_assert_ok(pv__freemap_maxima(map, groups[i] / PV__FREEMAP_FANOUT, &ok, &w->err),
                       &w->err);
        assert_true(ok);
    }
    test_assert_ok(pv__freemap_best(map, &group, &found, &w->err), &w->err);
    assert_false(found);
}

static void test_slots__free_map_bytes_grow_with_the_dead(void **state) {
    (void)state;
    static const uint32_t sizes[] = {1, 21, 255, 256, 1000, PV__ROWS_PER_PAGE_MAX};
    for (size_t i = 0; i < PV_COUNTOF(sizes); i++) {
        assert_int_equal(pv__freemap_value(0, sizes[i]), 0);
        uint8_t last = 0;
        for (uint32_t dead = 1; dead <= sizes[i]; dead++) {
            const uint8_t v = pv__freemap_value(dead, sizes[i]);
            assert_true(v >= 1 && v >= last);
            last = v;
        }
        assert_int_equal(last, sizes[i] <= 255 ? sizes[i] : 255);
    }
}

/* ---- with a column ------------------------------------------------------------------------- */

static void test_slots__pages_without_live_rows_are_given_back(void **state) {
    t_world *w = *state;
    uint64_t root = 0;
    pv__column c;
    test_assert_ok(pv__column_create(w->txn, 3, 3000, 0, &root, &w->err), &w->err);
    test_assert_ok(pv__column_open(w->txn, 3, root, 3000, &c, &w->err), &w->err);
    t_create(w, c.rows_per_page);
    uint8_t *row;
    for (uint32_t i = 0; i < 3 * c.rows_per_page; i++) {
        test_assert_ok(pv__column_write(&c, t_alloc(w), &row, &w->err), &w->err);
    }
    uint32_t pages = 0;
    for (uint32_t i = c.rows_per_page; i < 2 * c.rows_per_page; i++) {
        bool freed = true;
        t_free(w, i);
        test_assert_ok(pv__slots_reclaim(&w->slots, &c, i, &freed, &w->err), &w->err);
        assert_true(freed == (i + 1 == 2 * c.rows_per_page));
    }
    test_assert_ok(pv__column_page_count(&c, &pages, &w->err), &w->err);
    assert_int_equal(pages, 2);
    assert_int_equal(t_alloc(w), c.rows_per_page);
    test_assert_ok(pv__column_write(&c, c.rows_per_page, &row, &w->err), &w->err);
    test_assert_ok(pv__column_page_count(&c, &pages, &w->err), &w->err);
    assert_int_equal(pages, 3);
}

/* ---- damage and ends ----------------------------------------------------------------------- */

/* A page of either column, writable until the next pause (check pauses). */
static uint8_t *t_bytes(t_world *w, const pv__column *c, uint32_t ordinal) {
    uint8_t *bytes;
    test_assert_ok(pv__column_page_write(c, ordinal, &bytes, &w->err), &w->err);
    return bytes;
}

static void test_slots__check_finds_what_disagrees(void **state) {
    t_world *w = *state;
    t_create(w, 21);
    for (uint32_t i = 0; i < 500; i++) {
        t_alloc(w);
    }
    t_free(w, 100);
    t_free(w, 300);
    pv__bits_set(t_bytes(w, &w->slots.bits, 0), 200, false);
    assert_int_equal(t_findings(w), 2); /* count and free map */
    pv__bits_set(t_bytes(w, &w->slots.bits, 0), 200, true);
    pv__bits_set(t_bytes(w, &w->slots.bits, 0), 700, true);
    assert_int_equal(t_findings(w), 1);
    pv__bits_set(t_bytes(w, &w->slots.bits, 0), 700, false);
    assert_int_equal(t_findings(w), 0);
    t_bytes(w, &w->slots.free_map, PV__FREEMAP_LEVEL1)[0]++;
    assert_int_equal(t_findings(w), 1);
    t_bytes(w, &w->slots.free_map, PV__FREEMAP_LEVEL1)[0]--;
    w->slots.meta.live_count++;
    assert_int_equal(t_findings(w), 1);
}

static void test_slots__lost_dead_slots_are_an_error_not_a_loop(void **state) {
    t_world *w = *state;
    t_create(w, 21);
    for (uint32_t i = 0; i < 100; i++) {
        t_alloc(w);
    }
    t_free(w, 50);
    test_assert_ok(pv__freemap_set(&w->slots.free_map, 50 / 21, 0, &w->err), &w->err);
    uint32_t slot = 0;
    test_assert_rc(pv__slots_alloc(&w->slots, &slot, &w->err), PV_ERR_CORRUPT, NULL);
}

static void test_slots__impossible_meta_is_refused(void **state) {
    t_world *w = *state;
    t_create(w, 21);
    t_alloc(w);
    const pv__slots_meta good = w->slots.meta;
    pv__slots_meta bad[7];
    for (size_t i = 0; i < PV_COUNTOF(bad); i++) {
        bad[i] = good;
    }
    bad[0].group_size = 0;
    bad[1].group_size = PV__ROWS_PER_PAGE_MAX + 1;
    bad[2].high_water = PV__SLOTS_PER_COLLECTION_MAX + 1;
    bad[3].live_count = 2;
    bad[4].group = 2;
    bad[5].bits_root = good.free_root;
    bad[6].free_root = good.bits_root;
    pv__slots s;
    for (size_t i = 0; i < PV_COUNTOF(bad); i++) {
        test_assert_rc(pv__slots_open(w->txn, T_OWNER, &bad[i], &s, &w->err), PV_ERR_CORRUPT, NULL);
    }
    uint8_t bytes[PV__SLOTS_META_BYTES];
    pv__slots_meta back;
    pv__slots_meta_encode(&good, bytes);
    pv__slots_meta_decode(bytes, &back);
    assert_memory_equal(&good, &back, sizeof good);
}

static void test_slots__drop_frees_both_columns(void **state) {
    t_world *w = *state;
    t_create(w, 21);
    for (uint32_t i = 0; i < 1000; i++) {
        t_alloc(w);
    }
    t_free(w, 10);
    t_commit(w);
    test_assert_ok(pv__slots_drop(&w->slots, &w->err), &w->err);
    test_assert_ok(pv__txn_commit(w->txn, NULL, &w->err), &w->err);
    t_begin(w);
    pv__slots s;
    assert_int_not_equal(pv__slots_open(w->txn, T_OWNER, &w->meta, &s, &w->err), 0);
}

/* ---- memory -------------------------------------------------------------------------------- */

static int t_nomem_step(void *arg) {
    t_world *w = arg;
    pv__txn *txn;
    pv__slots s;
    uint32_t slot = 0;
    int rc = pv__txn_begin(w->store, PV__TXN_WRITE, &txn, &w->err);
    if (rc) {
        return rc;
    }
    rc = pv__slots_open(txn, T_OWNER, &w->meta, &s, &w->err);
    for (uint32_t i = 0; rc == 0 && i < 5; i++) {
        rc = pv__slots_alloc(&s, &slot, &w->err);
    }
    for (uint32_t i = 20; rc == 0 && i < 90; i += 7) {
        const pv__slots_meta before = s.meta;
        rc = pv__slots_free(&s, i, &w->err);
        if (rc) { /* F4 */
            assert_memory_equal(&before, &s.meta, sizeof before);
        }
    }
    pv__txn_rollback(txn);
    return rc;
}

static void test_slots__no_memory_at_any_point_leaves_them_whole(void **state) {
    t_world *w = *state;
    t_create(w, 21);
    for (uint32_t i = 0; i < 200; i++) {
        t_alloc(w);
    }
    t_free(w, 3);
    t_commit(w);
    pv__txn_rollback(w->txn);
    assert_true(test_nomem_loop(&w->mem, t_nomem_step, w) > 0);
    t_begin(w);
    t_open(w);
    assert_int_equal(t_findings(w), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_slots__new_ones_come_in_order, t_setup, t_teardown),
        cmocka_unit_test_setup_teardown(test_slots__runs_are_single_ones_at_once, t_setup,
                                        t_teardown),
        cmocka_unit_test_setup_teardown(test_slots__deadest_group_is_refilled_first_and_wholly,
                                        t_setup, t_teardown),
        cmocka_unit_test_setup_teardown(test_slots__at_end_leaves_dead_ones_alone, t_setup,
                                        t_teardown),
        cmocka_unit_test_setup_teardown(test_slots__freeing_what_is_not_live_is_refused, t_setup,
                                        t_teardown),
        cmocka_unit_test_setup_teardown(test_slots__limit_is_kept, t_setup, t_teardown),
        cmocka_unit_test_setup_teardown(test_slots__agree_with_a_plain_array, t_setup, t_teardown),
        cmocka_unit_test_setup_teardown(test_slots__free_map_finds_the_largest_byte_anywhere,
                                        t_setup, t_teardown),
        cmocka_unit_test(test_slots__free_map_bytes_grow_with_the_dead),
        cmocka_unit_test_setup_teardown(test_slots__pages_without_live_rows_are_given_back, t_setup,
                                        t_teardown),
        cmocka_unit_test_setup_teardown(test_slots__check_finds_what_disagrees, t_setup,
                                        t_teardown),
        cmocka_unit_test_setup_teardown(test_slots__lost_dead_slots_are_an_error_not_a_loop,
                                        t_setup, t_teardown),
        cmocka_unit_test_setup_teardown(test_slots__impossible_meta_is_refused, t_setup,
                                        t_teardown),
        cmocka_unit_test_setup_teardown(test_slots__drop_frees_both_columns, t_setup, t_teardown),
        cmocka_unit_test_setup_teardown(test_slots__no_memory_at_any_point_leaves_them_whole,
                                        t_setup, t_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
