/* SPDX-License-Identifier: Apache-2.0 */
/* test_vector_column.c - rows by slot: shape of pages, directory of any depth, transactions, and
 * what is said about damage. */
#include "support/test_support.h"

#include <stdio.h>
#include <string.h>

#include "base/checksum.h"
#include "vector/coldir.h"

#define T_OWNER 7u

typedef struct t_world {
    pv__mem mem;
    pv__store *store;
    pv__txn *txn;
    pv_error err;
} t_world;

static void t_begin(t_world *w) {
    test_assert_ok(pv__txn_begin(w->store, PV__TXN_WRITE, &w->txn, &w->err), &w->err);
}

static void t_commit(t_world *w) {
    test_assert_ok(pv__txn_commit(w->txn, NULL, &w->err), &w->err);
    t_begin(w);
}

static void t_rollback(t_world *w) {
    pv__txn_rollback(w->txn);
    t_begin(w);
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

/* Page ids in use, as page 1 counts them. */
static uint64_t t_pages(t_world *w) {
    const uint8_t *meta;
    test_assert_ok(pv__page_read(w->txn, PV__META_PAGE, PV__PAGE_META, &meta, &w->err), &w->err);
    return pv__get64(meta + PV__META_NEXT_ID) - pv__get64(meta + PV__META_FREE_COUNT);
}

/* Create in the open transaction and give the handle. */
static pv__column t_column(t_world *w, uint32_t row_size, uint32_t page_slots) {
    pv__column c;
    uint64_t root = 0;
    test_assert_ok(pv__column_create(w->txn, T_OWNER, row_size, page_slots, &root, &w->err),
                   &w->err);
    test_assert_ok(pv__column_open(w->txn, T_OWNER, root, row_size, &c, &w->err), &w->err);
    return c;
}

static pv__column t_reopen(t_world *w, const pv__column *c) {
    pv__column again;
    test_assert_ok(pv__column_open(w->txn, T_OWNER, c->root, c->row_size, &again, &w->err),
                   &w->err);
    return again;
}

/* Every byte of a row follows from slot and salt. */
static void t_fill(uint8_t *row, uint32_t size, uint32_t slot, uint32_t salt) {
    for (uint32_t i = 0; i < size; i++) {
        row[i] = (uint8_t)(pv__mix64(((uint64_t)slot << 32 | salt) + i / 8) >> i % 8 * 8);
    }
}

static void t_write(t_world *w, const pv__column *c, uint32_t slot, uint32_t salt) {
    uint8_t *row;
    test_assert_ok(pv__column_write(c, slot, &row, &w->err), &w->err);
    t_fill(row, c->row_size, slot, salt);
}

static void t_expect_row(t_world *w, const pv__column *c, uint32_t slot, uint32_t salt) {
    static uint8_t want[PV__ROW_SIZE_MAX];
    const uint8_t *row;
    test_assert_ok(pv__column_read(c, slot, &row, &w->err), &w->err);
    t_fill(want, c->row_size, slot, salt);
    test_assert_same_bytes(row, want, c->row_size);
}

static void t_expect_clean(t_world *w, const pv__column *c) {
    uint64_t bad = 0;
    test_assert_ok(pv__column_check(c, NULL, NULL, &bad, &w->err), &w->err);
    assert_int_equal(bad, 0);
}

static void test_column__waste_is_at_most_three_percent(void **state) {
    (void)state;
    for (uint32_t size = 1; size <= 65536; size++) { /* f32 of 1..16384 dims are among them */
        uint32_t slots = 0, rows = 0;
        assert_true(pv__column_layout(size, &slots, &rows));
        assert_true(slots >= 16 && slots <= PV__PAGE_SLOTS_MAX);
        assert_true(rows >= 1 && rows <= PV__ROWS_PER_PAGE_MAX);
        const uint64_t bytes = (uint64_t)slots * PV__SLOT_SIZE, used = (uint64_t)rows * size;
        assert_true(used + PV__PAGE_HEAD <= bytes);
        assert_true((bytes - used) * 100 <= bytes * 3);
    }
    uint32_t slots = 0, rows = 0;
    assert_true(pv__column_layout(4 * 768, &slots, &rows)); /* the file format depends on these */
    assert_int_equal(slots, 16);
    assert_int_equal(rows, 21);
    assert_true(pv__column_layout(4 * 1024, &slots, &rows));
    assert_int_equal(slots, 34);
    assert_int_equal(rows, 33);
    assert_true(pv__column_layout(4 * 16384, &slots, &rows));
    assert_int_equal(slots, 49);
    assert_int_equal(rows, 3);
}

static void test_column__row_sizes_that_fit_no_page_are_refused(void **state) {
    t_world *w = *state;
    uint32_t slots = 0, rows = 0;
    uint64_t root = 1;
    assert_false(pv__column_layout(0, &slots, &rows));
    assert_false(pv__column_layout(PV__ROW_SIZE_MAX + 1, &slots, &rows));
    assert_true(pv__column_layout(PV__ROW_SIZE_MAX, &slots, &rows));
    assert_int_equal(rows, 1);
    test_assert_rc(pv__column_create(w->txn, T_OWNER, 0, 0, &root, &w->err), PV_ERR_LIMIT, NULL);
    test_assert_rc(pv__column_create(w->txn, T_OWNER, 4033, 1, &root, &w->err), PV_ERR_LIMIT, NULL);
    test_assert_rc(pv__column_create(w->txn, T_OWNER, 8, 65, &root, &w->err), PV_ERR_LIMIT, NULL);
    assert_int_equal(root, 1);
}

static void test_column__rows_come_back_from_pages_of_any_shape(void **state) {
    t_world *w = *state;
    static const uint32_t sizes[] = {1, 7, 128, 1000, 3072, 4096, 12288, 65536, 100000};
    for (size_t s = 0; s < PV_COUNTOF(sizes); s++) {
        pv__column c = t_column(w, sizes[s], 0);
        const uint32_t n = sizes[s] > 10000 ? 40 : 1000;
        for (uint32_t slot = 0; slot < n; slot++) {
            t_write(w, &c, slot, 1);
        }
        t_commit(w);
        c = t_reopen(w, &c);
        for (uint32_t slot = 0; slot < n; slot++) {
            t_expect_row(w, &c, slot, 1);
        }
        uint32_t pages = 0;
        test_assert_ok(pv__column_page_count(&c, &pages, &w->err), &w->err);
        assert_int_equal(pages, (n + c.rows_per_page - 1) / c.rows_per_page);
        t_expect_clean(w, &c);
    }
}

static void test_column__page_is_one_array_of_rows(void **state) {
    t_world *w = *state;
    pv__column c = t_column(w, 1200, 0);
    for (uint32_t slot = 0; slot < 3 * c.rows_per_page; slot++) {
        t_write(w, &c, slot, 3);
    }
    for (uint32_t p = 0; p < 3; p++) {
        const uint8_t *rows, *row;
        test_assert_ok(pv__column_page_read(&c, p, &rows, &w->err), &w->err);
        for (uint32_t r = 0; r < c.rows_per_page; r++) {
            test_assert_ok(pv__column_read(&c, p * c.rows_per_page + r, &row, &w->err), &w->err);
            assert_ptr_equal(row, rows + (size_t)r * c.row_size);
        }
    }
    uint8_t *rows;
    test_assert_ok(pv__column_page_write(&c, 3, &rows, &w->err), &w->err);
    t_fill(rows + 5 * c.row_size, c.row_size, 3 * c.rows_per_page + 5, 4);
    t_expect_row(w, &c, 3 * c.rows_per_page + 5, 4);
}

static void test_column__directory_grows_without_moving_its_root(void **state) {
    t_world *w = *state;
    pv__column c = t_column(w, 4032, 1); /* one row a page: 496 fit below a root of level 1 */
    assert_int_equal(c.rows_per_page, 1);
    for (uint32_t slot = 0; slot < 1600; slot++) {
        t_write(w, &c, slot, 9);
        if (slot == 495 || slot == 496 || slot == 503 || slot == 504 || slot == 1008) {
            t_commit(w);
            c = t_reopen(w, &c);
            t_expect_clean(w, &c);
        }
    }
    for (uint32_t slot = 0; slot < 1600; slot++) {
        t_expect_row(w, &c, slot, 9);
    }
    const uint8_t *root;
    test_assert_ok(pv__coldir_root(&c, &root, &w->err), &w->err);
    assert_int_equal(root[PV__COLDIR_LEVEL], 2);
}

static void test_column__slots_up_to_the_limit_may_be_sparse(void **state) {
    t_world *w = *state;
    static const uint32_t slots[] = {495,       496,       249983,    249984,     250000, 125991936,
                                     126000000, 128024063, 128024064, 2147483646, 0};
    pv__column c = t_column(w, 4032, 1);
    for (size_t i = 0; i < PV_COUNTOF(slots); i++) {
        t_write(w, &c, slots[i], 2);
        t_commit(w);
        c = t_reopen(w, &c);
        for (size_t k = 0; k <= i; k++) {
            t_expect_row(w, &c, slots[k], 2);
        }
        t_expect_clean(w, &c);
    }
    const uint8_t *root, *row;
    test_assert_ok(pv__coldir_root(&c, &root, &w->err), &w->err);
    assert_int_equal(root[PV__COLDIR_LEVEL], 4);
    uint8_t *out;
    test_assert_rc(pv__column_read(&c, 2147483647, &row, &w->err), PV_ERR_LIMIT, NULL);
    test_assert_rc(pv__column_write(&c, 4294967295u, &out, &w->err), PV_ERR_LIMIT, NULL);
    test_assert_rc(pv__column_page_write(&c, 2147483648u, &out, &w->err), PV_ERR_LIMIT, NULL);
    /* First slot far away: an empty root rises without copying itself down. */
    pv__column far = t_column(w, 4032, 1);
    t_write(w, &far, 2147483646, 5);
    t_expect_row(w, &far, 2147483646, 5);
    t_expect_clean(w, &far);
}

static void test_column__missing_pages_are_none_and_missing_rows_an_error(void **state) {
    t_world *w = *state;
    pv__column c = t_column(w, 512, 0);
    const uint8_t *p = (const uint8_t *)"";
    test_assert_ok(pv__column_page_read(&c, 0, &p, &w->err), &w->err);
    assert_null(p);
    test_assert_ok(pv__column_page_read(&c, 4000000000u, &p, &w->err), &w->err);
    assert_null(p);
    test_assert_rc(pv__column_read(&c, 12, &p, &w->err), PV_ERR_CORRUPT, NULL);
    assert_non_null(strstr(w->err.message, "slot 12"));
    test_assert_ok(pv__column_page_free(&c, 77, &w->err), &w->err); /* none: fine */
}

/* Every run of ordinals says what single look-ups say: with holes, over the ends of nodes. */
static void test_column__ids_of_a_run_of_pages(void **state) {
    t_world *w = *state;
    static const uint32_t at[] = {0,   1,   5,   494,  495,  496,  497,
                                  503, 504, 505, 1007, 1008, 1500, 300000};
    pv__column c = t_column(w, 4032, 1); /* a row a page */
    uint64_t ids[40], one = 0;
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < (round == 0 ? 3u : round == 1 ? 6u : PV_COUNTOF(at)); i++) {
            t_write(w, &c, at[i], 1);
        }
        for (uint32_t i = 0; i < PV_COUNTOF(at); i++) {
            const uint32_t first = at[i] - PV_MIN(at[i], i % 20);
            test_assert_ok(pv__column_page_ids(&c, first, PV_COUNTOF(ids), ids, &w->err), &w->err);
            for (uint32_t k = 0; k < PV_COUNTOF(ids); k++) {
                const uint8_t *row = NULL, *rows = NULL;
                test_assert_ok(pv__coldir_find(&c, first + k, &one, &w->err), &w->err);
                assert_int_equal(ids[k], one);
                test_assert_ok(pv__column_page_read(&c, first + k, &row, &w->err), &w->err);
                test_assert_ok(pv__column_page_at(&c, one, first + k, &rows, &w->err), &w->err);
                assert_ptr_equal(row, rows);
            }
        }
    }
    const uint8_t *rows = NULL;
    test_assert_ok(pv__coldir_find(&c, 1, &one, &w->err), &w->err);
    test_assert_rc(pv__column_page_at(&c, one, 2, &rows, &w->err), PV_ERR_CORRUPT, NULL); /* V1 */
}

static void test_column__freed_pages_read_as_absent_and_come_back_zeroed(void **state) {
    t_world *w = *state;
    pv__column c = t_column(w, 1024, 0);
    const uint32_t rpp = c.rows_per_page;
    for (uint32_t slot = 0; slot < 4 * rpp; slot++) {
        t_write(w, &c, slot, 1);
    }
    t_commit(w);
    c = t_reopen(w, &c);
    const uint8_t *rows;
    uint64_t id = 0;
    test_assert_ok(pv__coldir_find(&c, 2, &id, &w->err), &w->err);
    test_assert_ok(pv__column_page_free(&c, 2, &w->err), &w->err);
    t_commit(w);
    c = t_reopen(w, &c);
    assert_int_not_equal(pv__page_read(w->txn, id, PV__PAGE_COLUMN, &rows, &w->err), 0);
    uint32_t pages = 0;
    test_assert_ok(pv__column_page_read(&c, 2, &rows, &w->err), &w->err);
    assert_null(rows);
    test_assert_ok(pv__column_page_count(&c, &pages, &w->err), &w->err);
    assert_int_equal(pages, 3);
    t_expect_clean(w, &c);
    uint8_t *row;
    test_assert_ok(pv__column_write(&c, 2 * rpp, &row, &w->err), &w->err);
    for (uint32_t i = 0; i < 1024; i++) {
        assert_int_equal(row[i], 0);
    }
    t_expect_row(w, &c, 2 * rpp - 1, 1);
    t_expect_row(w, &c, 3 * rpp, 1);
    t_expect_clean(w, &c);
}

static void test_column__rollback_and_snapshots_need_nothing_from_the_handle(void **state) {
    t_world *w = *state;
    pv__column c = t_column(w, 2000, 0);
    for (uint32_t slot = 0; slot < 100; slot++) {
        t_write(w, &c, slot, 1);
    }
    t_commit(w);
    pv__txn *reader;
    pv__column old;
    test_assert_ok(pv__txn_begin(w->store, 0, &reader, &w->err), &w->err);
    test_assert_ok(pv__column_open(reader, T_OWNER, c.root, 2000, &old, &w->err), &w->err);
    c = t_reopen(w, &c);
    for (uint32_t slot = 50; slot < 2000; slot++) {
        t_write(w, &c, slot, 2);
    }
    t_rollback(w);
    c = t_reopen(w, &c);
    t_expect_row(w, &c, 50, 1);
    t_expect_row(w, &c, 99, 1);
    for (uint32_t slot = 50; slot < 20000; slot++) { /* the directory grows too */
        t_write(w, &c, slot, 2);
    }
    t_commit(w);
    c = t_reopen(w, &c);
    t_expect_row(w, &c, 19999, 2);
    t_expect_row(w, &old, 99, 1);
    const uint8_t *row;
    test_assert_rc(pv__column_read(&old, 10000, &row, &w->err), PV_ERR_CORRUPT, NULL);
    t_expect_clean(w, &old);
    pv__txn_rollback(reader);
}

static void test_column__drop_gives_every_page_back(void **state) {
    t_world *w = *state;
    pv__column keep = t_column(w, 4032, 1);
    t_write(w, &keep, 0, 1);
    t_commit(w);
    const uint64_t before = t_pages(w);
    pv__column c = t_column(w, 4032, 1);
    for (uint32_t slot = 0; slot < 1200; slot++) {
        t_write(w, &c, slot, 1);
    }
    t_write(w, &c, 2147483646, 1);
    t_commit(w);
    assert_true(t_pages(w) >= before + 1202);
    c = t_reopen(w, &c);
    test_assert_ok(pv__column_drop(&c, &w->err), &w->err);
    t_commit(w);
    assert_true(t_pages(w) <= before + 8); /* pages of the list of free ids */
    pv__column gone;
    assert_int_not_equal(pv__column_open(w->txn, T_OWNER, c.root, 4032, &gone, &w->err), 0);
}

static void test_column__open_refuses_what_is_no_such_column(void **state) {
    t_world *w = *state;
    pv__column c = t_column(w, 600, 0), out;
    t_write(w, &c, 0, 1);
    uint64_t rows = 0;
    test_assert_ok(pv__coldir_find(&c, 0, &rows, &w->err), &w->err);
    t_commit(w);
    test_assert_rc(pv__column_open(w->txn, T_OWNER, c.root, 601, &out, &w->err), PV_ERR_CORRUPT,
                   NULL);
    test_assert_rc(pv__column_open(w->txn, T_OWNER, c.root, 0, &out, &w->err), PV_ERR_CORRUPT,
                   NULL);
    test_assert_rc(pv__column_open(w->txn, T_OWNER + 1, c.root, 600, &out, &w->err), PV_ERR_CORRUPT,
                   NULL);
    assert_int_not_equal(pv__column_open(w->txn, T_OWNER, rows, 600, &out, &w->err), 0);
    assert_int_not_equal(pv__column_open(w->txn, T_OWNER, 99999, 600, &out, &w->err), 0);
}

/* ---- damage -------------------------------------------------------------------------------- */

typedef struct t_findings {
    uint64_t count;
    char last[256];
} t_findings;

static void t_tell(void *ctx, uint64_t page_id, uint32_t owner, const char *what) {
    t_findings *f = ctx;
    (void)page_id;
    assert_int_equal(owner, T_OWNER);
    f->count++;
    snprintf(f->last, sizeof f->last, "%s", what);
}

static void t_expect_findings(t_world *w, const pv__column *c, uint64_t count) {
    t_findings f = {0, {0}};
    uint64_t bad = 0;
    test_assert_ok(pv__column_check(c, t_tell, &f, &bad, &w->err), &w->err);
    assert_int_equal(bad, count);
    assert_int_equal(f.count, count);
}

/* A page of the directory, writable until the next pause (check pauses). */
static uint8_t *t_dir(t_world *w, uint64_t page_id) {
    uint8_t *page;
    test_assert_ok(pv__page_write(w->txn, page_id, PV__PAGE_COLDIR, &page, &w->err), &w->err);
    return page;
}

static void t_swap(uint8_t *ids) {
    const uint64_t a = pv__get64(ids), b = pv__get64(ids + 8);
    pv__put64(ids, b);
    pv__put64(ids + 8, a);
}

static void test_column__swapped_entries_are_found(void **state) {
    t_world *w = *state;
    pv__column c = t_column(w, 4032, 1);
    for (uint32_t slot = 0; slot < 600; slot++) { /* two levels */
        t_write(w, &c, slot, 1);
    }
    t_commit(w);
    c = t_reopen(w, &c);
    const uint8_t *p;
    const uint64_t first = pv__get64(t_dir(w, c.root) + PV__COLDIR_ROOT_IDS);
    t_swap(t_dir(w, c.root) + PV__COLDIR_ROOT_IDS);
    test_assert_rc(pv__column_read(&c, 3, &p, &w->err), PV_ERR_CORRUPT, NULL);
    test_assert_rc(pv__column_page_read(&c, 520, &p, &w->err), PV_ERR_CORRUPT, NULL);
    t_expect_findings(w, &c, 2);
    t_swap(t_dir(w, c.root) + PV__COLDIR_ROOT_IDS);
    t_expect_findings(w, &c, 0);
    t_swap(t_dir(w, first) + PV__COLDIR_NODE_IDS); /* now two pages of rows */
    test_assert_rc(pv__column_read(&c, 0, &p, &w->err), PV_ERR_CORRUPT, NULL);
    t_expect_row(w, &c, 2, 1);
    t_expect_findings(w, &c, 2);
}

static void test_column__wrong_shape_and_counters_are_found(void **state) {
    t_world *w = *state;
    pv__column c = t_column(w, 1000, 0);
    for (uint32_t slot = 0; slot < 300; slot++) {
        t_write(w, &c, slot, 1);
    }
    uint8_t *rows;
    const uint8_t *p;
    t_dir(w, c.root)[PV__COLDIR_PAGE_COUNT]++;
    t_expect_findings(w, &c, 1);
    t_dir(w, c.root)[PV__COLDIR_PAGE_COUNT]--;
    for (unsigned damaged = 2; damaged-- > 0;) { /* behind the last row of page 1 */
        test_assert_ok(pv__column_page_write(&c, 1, &rows, &w->err), &w->err);
        rows[(size_t)c.rows_per_page * c.row_size] = (uint8_t)damaged;
        t_expect_findings(w, &c, damaged);
    }
    static const size_t places[] = {PV__COLDIR_LEVEL, PV__COLDIR_PAGE_SLOTS, PV__COLDIR_PART,
                                    PV__COLDIR_ROW_SIZE, PV__COLDIR_ROWS_PER_PAGE};
    for (size_t i = 0; i < PV_COUNTOF(places); i++) {
        t_dir(w, c.root)[places[i]] ^= 0x55;
        test_assert_rc(pv__column_read(&c, 1, &p, &w->err), PV_ERR_CORRUPT, NULL);
        t_expect_findings(w, &c, 1);
        t_dir(w, c.root)[places[i]] ^= 0x55;
    }
    t_expect_findings(w, &c, 0);
}

static void test_column__random_damage_of_the_directory_never_crashes(void **state) {
    t_world *w = *state;
    test_rng rng;
    test_rng_init(&rng, test_seed());
    pv__column c = t_column(w, 4032, 1);
    for (uint32_t slot = 0; slot < 700; slot++) {
        t_write(w, &c, slot, 1);
    }
    const uint64_t first = pv__get64(t_dir(w, c.root) + PV__COLDIR_ROOT_IDS);
    for (int round = 0; round < 200; round++) {
        const uint64_t victim = test_rng_below(&rng, 2) ? c.root : first;
        uint8_t saved[PV__SLOT_SIZE];
        memcpy(saved, t_dir(w, victim), sizeof saved);
        for (uint64_t n = test_rng_below(&rng, 3) + 1; n > 0; n--) {
            const size_t at = PV__PAGE_HEAD + 8 * test_rng_below(&rng, PV__COLDIR_FANOUT);
            const uint64_t id = test_rng_below(&rng, 800);
            pv__put64(t_dir(w, victim) + at, test_rng_below(&rng, 4) ? id : test_rng_u64(&rng));
        }
        uint64_t bad = 0;
        const uint8_t *p;
        for (uint32_t slot = 0; slot < 1100; slot += 7) {
            const int rc = pv__column_read(&c, slot, &p, &w->err);
            assert_true(rc == 0 || rc == PV_ERR_CORRUPT);
        }
        test_assert_ok(pv__column_check(&c, NULL, NULL, &bad, &w->err), &w->err);
        memcpy(t_dir(w, victim) + PV__PAGE_HEAD, saved + PV__PAGE_HEAD,
               sizeof saved - PV__PAGE_HEAD);
    }
    t_expect_clean(w, &c);
}

/* ---- memory -------------------------------------------------------------------------------- */

typedef struct t_nomem {
    t_world *w;
    uint64_t root;
} t_nomem;

static int t_nomem_write(void *arg) {
    t_nomem *n = arg;
    t_world *w = n->w;
    pv__txn *txn;
    pv__column c;
    uint8_t *row;
    int rc = pv__txn_begin(w->store, PV__TXN_WRITE, &txn, &w->err);
    if (rc) {
        return rc;
    }
    rc = pv__column_open(txn, T_OWNER, n->root, 4032, &c, &w->err);
    for (uint32_t slot = 400; rc == 0 && slot < 510; slot++) { /* grows the directory */
        rc = pv__column_write(&c, slot, &row, &w->err);
    }
    pv__txn_rollback(txn);
    return rc;
}

static void test_column__no_memory_at_any_point_leaves_it_whole(void **state) {
    t_world *w = *state;
    pv__column c = t_column(w, 4032, 1);
    for (uint32_t slot = 0; slot < 400; slot++) {
        t_write(w, &c, slot, 1);
    }
    test_assert_ok(pv__txn_commit(w->txn, NULL, &w->err), &w->err);
    t_nomem n = {w, c.root};
    assert_true(test_nomem_loop(&w->mem, t_nomem_write, &n) > 0);
    t_begin(w);
    c = t_reopen(w, &c);
    t_expect_row(w, &c, 399, 1);
    t_expect_clean(w, &c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_column__waste_is_at_most_three_percent),
        cmocka_unit_test_setup_teardown(test_column__row_sizes_that_fit_no_page_are_refused,
                                        t_setup, t_teardown),
        cmocka_unit_test_setup_teardown(test_column__rows_come_back_from_pages_of_any_shape,
                                        t_setup, t_teardown),
        cmocka_unit_test_setup_teardown(test_column__ids_of_a_run_of_pages, t_setup, t_teardown),
        cmocka_unit_test_setup_teardown(test_column__page_is_one_array_of_rows, t_setup,
                                        t_teardown),
        cmocka_unit_test_setup_teardown(test_column__directory_grows_without_moving_its_root,
                                        t_setup, t_teardown),
        cmocka_unit_test_setup_teardown(test_column__slots_up_to_the_limit_may_be_sparse, t_setup,
                                        t_teardown),
        cmocka_unit_test_setup_teardown(
            test_column__missing_pages_are_none_and_missing_rows_an_error, t_setup, t_teardown),
        cmocka_unit_test_setup_teardown(
            test_column__freed_pages_read_as_absent_and_come_back_zeroed, t_setup, t_teardown),
        cmocka_unit_test_setup_teardown(
            test_column__rollback_and_snapshots_need_nothing_from_the_handle, t_setup, t_teardown),
        cmocka_unit_test_setup_teardown(test_column__drop_gives_every_page_back, t_setup,
                                        t_teardown),
        cmocka_unit_test_setup_teardown(test_column__open_refuses_what_is_no_such_column, t_setup,
                                        t_teardown),
        cmocka_unit_test_setup_teardown(test_column__swapped_entries_are_found, t_setup,
                                        t_teardown),
        cmocka_unit_test_setup_teardown(test_column__wrong_shape_and_counters_are_found, t_setup,
                                        t_teardown),
        cmocka_unit_test_setup_teardown(test_column__random_damage_of_the_directory_never_crashes,
                                        t_setup, t_teardown),
        cmocka_unit_test_setup_teardown(test_column__no_memory_at_any_point_leaves_it_whole,
                                        t_setup, t_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
