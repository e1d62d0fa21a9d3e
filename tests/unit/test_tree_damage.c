/* SPDX-License-Identifier: Apache-2.0 */
/* test_tree_damage.c - what the tree does when memory fails at any request, and when its pages
 * hold anything at all: no crash, no endless loop, and the check finds what is planted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/checksum.h"
#include "support/tree_kit.h"

/* A tree of three levels and a few long values, on few pages. */
#define T_KEYS 250u
#define T_KEY_SIZE 700u

static pv__bytes t_key(uint64_t i, uint8_t *buf) {
    memset(buf, 'k', T_KEY_SIZE); /* a shared prefix, so that separators are long as well */
    pv__put64be(buf + T_KEY_SIZE - 8, i * 2);
    return pv__bytes_of(buf, T_KEY_SIZE);
}

static size_t t_size(uint64_t i) { return i % 40 == 7 ? 270000 : i % 20 == 0 ? 3000 : i % 13 * 10; }

static void t_build(t_tree *t) {
    uint8_t buf[T_KEY_SIZE];
    t_tree_open(t);
    for (uint64_t i = 0; i < T_KEYS; i++) {
        pv__bytes key = t_key(i * 77 % T_KEYS, buf);
        t_put(t, key.data, key.size, i, t_size(i));
    }
    t_tree_commit(t);
}

static void t_expect_built(t_tree *t) {
    uint8_t buf[T_KEY_SIZE];
    assert_int_equal(t_check(t), T_KEYS);
    for (uint64_t i = 0; i < T_KEYS; i++) {
        pv__bytes key = t_key(i * 77 % T_KEYS, buf);
        t_expect(t, key.data, key.size, i, t_size(i));
    }
}

/* ---- failing requests ------------------------------------------------------------------------ */

typedef int (*t_action)(t_tree *t, pv_error *err);

static uint8_t t_bytes[600000];

static int t_put_at(t_tree *t, uint64_t n, size_t size, pv_error *err) {
    uint8_t buf[T_KEY_SIZE];
    pv__bytes key = t_key(0, buf);
    pv__put64be(buf + T_KEY_SIZE - 8, n);
    return pv__tree_put(&t->tree, key, pv__bytes_of(t_bytes, size), NULL, err);
}

static int t_del_at(t_tree *t, uint64_t i, pv_error *err) {
    uint8_t buf[T_KEY_SIZE];
    return pv__tree_del(&t->tree, t_key(i, buf), NULL, err);
}

static int t_act_insert_many(t_tree *t, pv_error *err) {
    for (uint64_t n = 0; n < 40; n++) { /* enough to split upwards */
        PV_TRY(t_put_at(t, 201 + n * 2, 200, err));
    }
    return 0;
}

static int t_act_insert_long(t_tree *t, pv_error *err) { return t_put_at(t, 33, 530000, err); }

static int t_act_replace(t_tree *t, pv_error *err) {
    PV_TRY(t_put_at(t, 2 * (7 * 77 % T_KEYS), 270001, err)); /* long over long, same pages */
    PV_TRY(t_put_at(t, 2 * (7 * 77 % T_KEYS), 20000, err));
    PV_TRY(t_put_at(t, 2 * (7 * 77 % T_KEYS), 4, err));
    return t_put_at(t, 2 * (7 * 77 % T_KEYS), 1300, err);
}

static int t_act_delete_all(t_tree *t, pv_error *err) {
    for (uint64_t i = 0; i < T_KEYS; i++) {
        PV_TRY(t_del_at(t, i * 31 % T_KEYS, err));
    }
    return 0;
}

static int t_act_drop(t_tree *t, pv_error *err) { return pv__tree_drop(&t->tree, err); }

static int t_bulk_next(void *ctx, pv__bytes *key, pv__bytes *value, bool *end, pv_error *err) {
    static uint8_t buf[T_KEY_SIZE];
    uint64_t *i = ctx;
    (void)err;
    *end = *i == 100;
    *key = t_key(*i, buf);
    *value = pv__bytes_of(t_bytes, t_size(*i));
    ++*i;
    return 0;
}

static int t_act_bulk(t_tree *t, pv_error *err) {
    uint64_t i = 0;
    pv__tree other = t->tree;
    PV_TRY(pv__tree_create(t->txn, 9, &other.root, err));
    other.owner = 9;
    return pv__tree_bulk_load(&other, t_bulk_next, &i, 90, err);
}

static int t_act_walk(t_tree *t, pv_error *err) {
    pv__cursor *c = NULL;
    bool valid = true;
    uint64_t bad = 0, entries = 0;
    PV_TRY(pv__cursor_new(&t->tree, &c, err));
    int rc = 0;
    pv__buf_clear(&t->value);
    for (unsigned i = 0; !rc && i < 30 && valid; i++) {
        rc = pv__cursor_next(c, &valid, err);
        if (!rc && valid) {
            rc = pv__cursor_value(c, &t->value, err);
        }
    }
    pv__cursor_free(c);
    pv__buf_done(&t->value);
    return rc ? rc : pv__tree_check(&t->tree, NULL, NULL, &bad, &entries, err);
}

/* Fail the n-th request for every n until the action passes. After each failure either nothing
 * of the failed call is there, or the transaction is doomed; rolled back, all is as before. */
static void t_fail_everywhere(t_action action, uint64_t stride) {
    t_tree t;
    t_build(&t);
    bool reached = true; /* the n-th request was made; some failures have a way round */
    uint64_t n = 1;
    for (; reached; n += n < 60 ? 1 : stride) {
        pv_error err = PV_ERROR_INIT;
        t.mem.fail_at = t.mem.calls + n;
        int rc = action(&t, &err);
        reached = t.mem.calls >= t.mem.fail_at;
        t.mem.fail_at = 0;
        assert_true(rc == 0 || rc == PV_ERR_NOMEM);
        if (rc) {
            assert_true(err.message[0] != 0);
        }
        t_tree_rollback(&t);
        if (n % 16 == 1 || !reached) {
            t_expect_built(&t);
        }
    }
    assert_true(n > 3);
    t_tree_close(&t);
}

static void test_tree__survives_failing_memory_when_inserting(void **state) {
    (void)state;
    t_fail_everywhere(t_act_insert_many, 7);
    t_fail_everywhere(t_act_insert_long, 1);
}

static void test_tree__survives_failing_memory_when_replacing(void **state) {
    (void)state;
    t_fail_everywhere(t_act_replace, 1);
}

static void test_tree__survives_failing_memory_when_deleting(void **state) {
    (void)state;
    t_fail_everywhere(t_act_delete_all, 61);
    t_fail_everywhere(t_act_drop, 13);
}

static void test_tree__survives_failing_memory_when_loading_and_walking(void **state) {
    (void)state;
    t_fail_everywhere(t_act_bulk, 5);
    t_fail_everywhere(t_act_walk, 41);
}

static void test_tree__half_done_change_can_only_be_rolled_back(void **state) {
    (void)state;
    t_tree t;
    unsigned doomed = 0;
    t_build(&t);
    for (uint64_t n = 1; n < 60; n++) {
        pv_error err = PV_ERROR_INIT;
        t.mem.fail_at = t.mem.calls + n;
        t.mem.fail_forever = 1; /* one failure alone has a way round: something is evicted */
        int rc = t_act_insert_long(&t, &err);
        bool reached = t.mem.calls >= t.mem.fail_at;
        t.mem.fail_at = 0;
        t.mem.fail_forever = 0;
        if (rc == 0) {
            t_tree_rollback(&t);
            if (!reached) {
                break;
            }
            continue;
        }
        rc = pv__txn_commit(t.txn, NULL, &err);
        assert_true(rc == 0 || rc == PV_ERR_NOMEM);
        doomed += rc != 0;
        assert_int_equal(pv__txn_begin(t.store, PV__TXN_WRITE, &t.txn, &t.err), 0);
        t.tree.txn = t.txn;
        t_expect_built(&t); /* a commit after a clean failure changes nothing */
    }
    assert_true(doomed > 0);
    t_tree_close(&t);
}

/* ---- damaged pages --------------------------------------------------------------------------- */

#define T_PAGES_MAX 1000u

static size_t t_list_pages(t_tree *t, uint64_t *ids) {
    size_t n = 0;
    for (uint64_t id = 1; id < T_PAGES_MAX; id++) {
        const uint8_t *page = NULL;
        if (pv__page_read(t->txn, id, PV__PAGE_ANY, &page, NULL) == 0 &&
            pv__page_owner(page) == T_TREE_OWNER) {
            ids[n++] = id;
        }
    }
    return n;
}

static uint8_t *t_write(t_tree *t, uint64_t id) {
    const uint8_t *page = NULL;
    uint8_t *out = NULL;
    assert_int_equal(pv__page_read(t->txn, id, PV__PAGE_ANY, &page, &t->err), 0);
    assert_int_equal(pv__page_write(t->txn, id, pv__page_kind(page), &out, &t->err), 0);
    return out;
}

/* Damage that looks like life: fields get values that fields have. */
static void t_damage(t_tree *t, const uint64_t *ids, size_t n, uint64_t *rng) {
    uint8_t *page = t_write(t, ids[t_rand_below(rng, n)]);
    const size_t size = pv__page_size(page);
    const uint8_t *other = NULL;
    size_t at = 0;
    switch (t_rand_below(rng, 6)) {
    case 0: /* any byte */
        page[PV__PAGE_HEAD + t_rand_below(rng, size - PV__PAGE_HEAD)] ^=
            (uint8_t)(1 + t_rand_below(rng, 255));
        break;
    case 1: /* a field of the header */
        at = PV__PAGE_HEAD + t_rand_below(rng, 8) * 2;
        pv__put16(page + at, (uint16_t)(pv__get16(page + at) + t_rand_below(rng, 65) - 32));
        break;
    case 2: /* a slot */
        at = PV__TNODE_BODY + t_rand_below(rng, 20) * 2;
        pv__put16(page + at, (uint16_t)t_rand_below(rng, PV__TNODE_SIZE + 2));
        break;
    case 3: /* a size in a cell, or the end of a key */
        if (pv__tnode_count(page) > 0 && pv__page_kind(page) == PV__PAGE_TREE) {
            const unsigned count =
                PV_MIN(pv__tnode_count(page), 1000u); /* may be damaged already */
            at = pv__tnode_slot(page, (unsigned)t_rand_below(rng, count));
            at = PV_MIN(at, size - 4) + t_rand_below(rng, 2) * 2;
            pv__put16(page + at, (uint16_t)(pv__get16(page + at) ^ 1u << t_rand_below(rng, 16)));
        }
        break;
    case 4: /* a child or overflow reference to another page of the tree */
        for (at = PV__TNODE_BODY; at + 8 <= size; at++) {
            uint64_t v = pv__get64(page + at);
            if (v > 0 && v < T_PAGES_MAX && t_rand_below(rng, 4) == 0) {
                pv__put64(page + at, ids[t_rand_below(rng, n)]);
                break;
            }
        }
        break;
    default: /* another page's content */
        if (pv__page_read(t->txn, ids[t_rand_below(rng, n)], PV__PAGE_ANY, &other, NULL) == 0) {
            memmove(page + PV__PAGE_HEAD, other + PV__PAGE_HEAD,
                    PV_MIN(size, pv__page_size(other)) - PV__PAGE_HEAD);
        }
        break;
    }
}

static void t_code(int rc, const pv_error *err) {
    if (rc && rc != PV_ERR_CORRUPT) {
        fail_msg("code %d: %s", rc, err->message);
    }
}

/* A failed write dooms; then only reading is tried. */
static void t_use_everything(t_tree *t, uint64_t *rng) {
    pv_error err = PV_ERROR_INIT;
    uint8_t buf[T_KEY_SIZE];
    bool flag = true;
    pv__cursor *c = NULL;
    uint64_t bad = 0, entries = 0;
    t_code(pv__tree_check(&t->tree, NULL, NULL, &bad, &entries, &err), &err);
    for (unsigned i = 0; i < 20; i++) {
        pv__buf_clear(&t->value);
        t_code(
            pv__tree_get(&t->tree, t_key(t_rand_below(rng, T_KEYS), buf), &t->value, &flag, &err),
            &err);
    }
    assert_int_equal(pv__cursor_new(&t->tree, &c, &err), 0);
    for (unsigned dir = 0; dir < 2; dir++) {
        int rc = dir ? pv__cursor_last(c, &flag, &err) : pv__cursor_first(c, &flag, &err);
        unsigned steps = 0;
        for (; !rc && flag; steps++) {
            rc = dir ? pv__cursor_prev(c, &flag, &err) : pv__cursor_next(c, &flag, &err);
            assert_true(steps < 10 * T_KEYS);
        }
        t_code(rc, &err);
    }
    int rc = 0;
    for (unsigned i = 0; i < 60 && !rc; i++) {
        const uint64_t n = t_rand_below(rng, 2 * T_KEYS);
        rc = t_rand_below(rng, 2) ? t_put_at(t, n, t_rand_below(rng, 2500), &err)
                                  : t_del_at(t, n / 2, &err);
        t_code(rc, &err);
        if (!rc && i % 8 == 0) {
            t_code(pv__cursor_seek(c, t_key(n / 2, buf), &flag, &err), &err);
        } else if (!rc) {
            t_code(pv__cursor_next(c, &flag, &err), &err);
        }
    }
    pv__cursor_free(c);
    if (!rc) {
        t_code(pv__tree_drop(&t->tree, &err), &err);
    }
}

static void test_tree__any_bytes_in_its_pages_do_no_harm(void **state) {
    (void)state;
    t_tree t;
    static uint64_t ids[T_PAGES_MAX];
    t_build(&t);
    const size_t n = t_list_pages(&t, ids);
    assert_true(n > 50);
    uint64_t from = 1, to = 601;
    t_seeds(&from, &to);
    for (uint64_t seed = from; seed < to; seed++) {
        uint64_t rng = seed;
        print_message("seed %llu\r", (unsigned long long)seed);
        for (uint64_t k = 1 + t_rand_below(&rng, 6); k > 0; k--) {
            t_damage(&t, ids, n, &rng);
        }
        t_use_everything(&t, &rng);
        t_tree_rollback(&t);
    }
    t_expect_built(&t);
    t_tree_close(&t);
}

/* ---- what the check must find ---------------------------------------------------------------- */

/* First node of the level, counted from the leaves, on the second path from the left. */
static uint64_t t_node_at(t_tree *t, unsigned level) {
    uint64_t id = t->tree.root;
    for (;;) {
        const uint8_t *page = NULL;
        pv__tcell cell = {{NULL, 0}, {NULL, 0}, false};
        assert_int_equal(pv__page_read(t->txn, id, PV__PAGE_TREE, &page, &t->err), 0);
        if (pv__tnode_level(page) == level) {
            return id;
        }
        assert_true(pv__tnode_cell(page, 1, &cell));
        id = pv__tcell_child(&cell);
    }
}

/* The first overflow page of the n-th long value, and the cell that refers to it. */
static uint64_t t_long_at(t_tree *t, unsigned n) {
    static uint64_t ids[T_PAGES_MAX];
    const size_t count = t_list_pages(t, ids);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *page = NULL;
        assert_int_equal(pv__page_read(t->txn, ids[i], PV__PAGE_ANY, &page, &t->err), 0);
        if (pv__page_kind(page) == PV__PAGE_OVERFLOW && pv__page_ordinal(page) == 0 &&
            pv__page_slots(page) == PV__PAGE_SLOTS_MAX && n-- == 0) {
            return ids[i];
        }
    }
    fail();
    return 0;
}

static uint8_t *t_cell_of(uint8_t *page, unsigned i) { return page + pv__tnode_slot(page, i); }

static void t_plant_swapped_slots(t_tree *t) {
    uint8_t *page = t_write(t, t_node_at(t, 0)), *slots = page + PV__TNODE_BODY;
    uint16_t first = pv__get16(slots);
    pv__put16(slots, pv__get16(slots + 2));
    pv__put16(slots + 2, first);
}

static void t_plant_low_key(t_tree *t) {
    uint8_t *page = t_write(t, t_node_at(t, 0));
    t_cell_of(page, 0)[PV__CELL_HEAD] = 'a';
}

static void t_plant_high_key(t_tree *t) {
    uint8_t *page = t_write(t, t_node_at(t, 0));
    t_cell_of(page, pv__tnode_count(page) - 1)[PV__CELL_HEAD] = 'z';
}

static void t_plant_high_separator(t_tree *t) {
    uint8_t *page = t_write(t, t_node_at(t, 1));
    t_cell_of(page, pv__tnode_count(page) - 1)[PV__CELL_HEAD] = 'z';
}

static void t_plant_same_child_twice(t_tree *t) {
    uint8_t *page = t_write(t, t_node_at(t, 1));
    pv__tcell one = {{NULL, 0}, {NULL, 0}, false}, two = one;
    assert_true(pv__tnode_cell(page, 1, &one) && pv__tnode_cell(page, 2, &two));
    pv__put64(page + (one.tail.data - page), pv__tcell_child(&two));
}

static void t_plant_child_is_the_root(t_tree *t) {
    uint8_t *page = t_write(t, t_node_at(t, 1));
    pv__tcell one = {{NULL, 0}, {NULL, 0}, false};
    assert_true(pv__tnode_cell(page, 1, &one));
    pv__put64(page + (one.tail.data - page), t->tree.root);
}

static void t_plant_child_is_missing(t_tree *t) {
    uint8_t *page = t_write(t, t_node_at(t, 1));
    pv__tcell one = {{NULL, 0}, {NULL, 0}, false};
    assert_true(pv__tnode_cell(page, 1, &one));
    pv__put64(page + (one.tail.data - page), 1u << 28);
}

static void t_plant_wrong_count(t_tree *t) {
    uint8_t *page = t_write(t, t_node_at(t, 0));
    pv__put16(page + PV__TNODE_COUNT, (uint16_t)(pv__tnode_count(page) - 1));
}

static void t_plant_wrong_holes(t_tree *t) {
    uint8_t *page = t_write(t, t_node_at(t, 0));
    pv__put16(page + PV__TNODE_HOLES, (uint16_t)(pv__tnode_holes(page) + 1));
}

static void t_plant_wrong_low(t_tree *t) {
    uint8_t *page = t_write(t, t_node_at(t, 0));
    pv__put16(page + PV__TNODE_LOW, (uint16_t)(pv__tnode_low(page) - 3));
}

static void t_plant_wrong_level(t_tree *t) { t_write(t, t_node_at(t, 0))[PV__TNODE_LEVEL] = 1; }

static void t_plant_reserved(t_tree *t) { t_write(t, t_node_at(t, 0))[PV__TNODE_ZERO] = 1; }

static void t_plant_empty_leaf(t_tree *t) { pv__tnode_init(t_write(t, t_node_at(t, 0)), 0); }

static void t_plant_overlap(t_tree *t) {
    uint8_t *page = t_write(t, t_node_at(t, 0)), *slots = page + PV__TNODE_BODY;
    pv__put16(slots, pv__get16(slots + 2));
}

static void t_plant_chain_mixed_up(t_tree *t) {
    const uint8_t *other = NULL;
    uint64_t one = t_long_at(t, 0), two = t_long_at(t, 1);
    assert_int_equal(pv__page_read(t->txn, two, PV__PAGE_OVERFLOW, &other, &t->err), 0);
    uint64_t next = pv__get64(other + PV__PAGE_HEAD);
    pv__put64(t_write(t, one) + PV__PAGE_HEAD, next);
}

static void t_plant_chain_closed(t_tree *t) {
    uint64_t one = t_long_at(t, 0);
    pv__put64(t_write(t, one) + PV__PAGE_HEAD, one);
}

static void t_plant_chain_cut(t_tree *t) {
    pv__put64(t_write(t, t_long_at(t, 0)) + PV__PAGE_HEAD, 0);
}

static void t_plant_chain_size(t_tree *t) {
    uint8_t *page = t_write(t, t_long_at(t, 0)) + PV__PAGE_HEAD + 8;
    pv__put32(page, pv__get32(page) - 1);
}

static void t_count_finding(void *ctx, uint64_t page_id, uint32_t owner, const char *what) {
    unsigned *n = ctx;
    assert_int_equal(owner, T_TREE_OWNER);
    assert_true(page_id > 0);
    assert_true(what[0] != 0);
    (*n)++;
}

static void test_tree__check_finds_planted_damage(void **state) {
    (void)state;
    void (*const plants[])(t_tree *) = {
        t_plant_swapped_slots,    t_plant_low_key,          t_plant_high_key,
        t_plant_high_separator,   t_plant_same_child_twice, t_plant_child_is_the_root,
        t_plant_child_is_missing, t_plant_wrong_count,      t_plant_wrong_holes,
        t_plant_wrong_low,        t_plant_wrong_level,      t_plant_reserved,
        t_plant_empty_leaf,       t_plant_overlap,          t_plant_chain_mixed_up,
        t_plant_chain_closed,     t_plant_chain_cut,        t_plant_chain_size,
    };
    t_tree t;
    t_build(&t);
    for (size_t i = 0; i < PV_COUNTOF(plants); i++) {
        unsigned told = 0;
        uint64_t bad = 10, entries = 0;
        plants[i](&t);
        assert_int_equal(pv__tree_check(&t.tree, t_count_finding, &told, &bad, &entries, &t.err),
                         0);
        if (told == 0) {
            fail_msg("plant %zu was not found", i);
        }
        assert_int_equal(bad, 10 + told);
        t_tree_rollback(&t);
    }
    t_expect_built(&t);
    t_tree_close(&t);
}

static void test_tree__errors_name_the_page_and_the_object(void **state) {
    (void)state;
    t_tree t;
    bool found = false;
    t_build(&t);
    t_write(&t, t.tree.root)[PV__TNODE_LEVEL] = 200;
    assert_int_equal(pv__tree_get(&t.tree, pv__bytes_of("a", 1), NULL, &found, &t.err),
                     PV_ERR_CORRUPT);
    char want[64];
    (void)snprintf(want, sizeof(want),
                   "tree page %llu of object 5: ", (unsigned long long)t.tree.root);
    assert_memory_equal(t.err.message, want, strlen(want));
    t_tree_rollback(&t);
    t.tree.owner = 6; /* somebody else's */
    assert_int_equal(pv__tree_get(&t.tree, pv__bytes_of("a", 1), NULL, &found, &t.err),
                     PV_ERR_CORRUPT);
    t_tree_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree__survives_failing_memory_when_inserting),
        cmocka_unit_test(test_tree__survives_failing_memory_when_replacing),
        cmocka_unit_test(test_tree__survives_failing_memory_when_deleting),
        cmocka_unit_test(test_tree__survives_failing_memory_when_loading_and_walking),
        cmocka_unit_test(test_tree__half_done_change_can_only_be_rolled_back),
        cmocka_unit_test(test_tree__any_bytes_in_its_pages_do_no_harm),
        cmocka_unit_test(test_tree__check_finds_planted_damage),
        cmocka_unit_test(test_tree__errors_name_the_page_and_the_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
