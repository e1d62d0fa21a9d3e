/* SPDX-License-Identifier: Apache-2.0 */
/* tree_kit.c - see tree_kit.h. */
#include "support/tree_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void t_tree_begin(t_tree *t) {
    assert_int_equal(pv__txn_begin(t->store, PV__TXN_WRITE, &t->txn, &t->err), 0);
    t->tree.txn = t->txn;
}

void t_tree_open(t_tree *t) {
    memset(t, 0, sizeof(*t));
    const pv_error none = PV_ERROR_INIT;
    t->err = none;
    pv__mem_init(&t->mem, NULL, 0);
    pv__buf_init(&t->buf, &t->mem);
    pv__buf_init(&t->value, &t->mem);
    pv__store_opts opts = {.path = ":memory:", .mem = &t->mem, .create = true, .no_threads = true};
    assert_int_equal(pv__store_open(&opts, &t->store, &t->err), 0);
    t_tree_begin(t);
    assert_int_equal(pv__tree_create(t->txn, T_TREE_OWNER, &t->tree.root, &t->err), 0);
    t->tree.owner = T_TREE_OWNER;
}

void t_tree_close(t_tree *t) {
    pv__txn_rollback(t->txn);
    pv__buf_done(&t->buf);
    pv__buf_done(&t->value);
    assert_int_equal(pv__store_close(t->store, &t->err), 0);
    assert_int_equal(t->mem.bytes_used, 0);
}

void t_tree_commit(t_tree *t) {
    assert_int_equal(pv__txn_commit(t->txn, NULL, &t->err), 0);
    t_tree_begin(t);
}

void t_tree_rollback(t_tree *t) {
    pv__txn_rollback(t->txn);
    t_tree_begin(t);
}

uint64_t t_rand(uint64_t *state) {
    uint64_t x = *state += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

void t_seeds(uint64_t *from, uint64_t *to) {
    const char *text = getenv("PV_TEST_SEEDS");
    unsigned long long a = 0, b = 0;
    if (text && sscanf(text, "%llu-%llu", &a, &b) == 2) {
        *from = a;
        *to = b;
    }
}

void t_value_fill(uint8_t *out, size_t size, uint64_t seed) {
    uint64_t x = seed * 0x9E3779B97F4A7C15u + 1;
    for (size_t i = 0; i < size; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        out[i] = (uint8_t)(x >> 56);
    }
}

static pv__bytes t_value(pv__buf *buf, uint64_t seed, size_t size) {
    pv__buf_clear(buf);
    uint8_t *p = pv__buf_extend(buf, size);
    assert_non_null(p);
    t_value_fill(p, size, seed);
    return pv__bytes_of(p, size);
}

void t_put(t_tree *t, const void *key, size_t key_size, uint64_t seed, size_t value_size) {
    pv__bytes value = t_value(&t->buf, seed, value_size);
    int rc = pv__tree_put(&t->tree, pv__bytes_of(key, key_size), value, NULL, &t->err);
    if (rc) {
        fail_msg("put: %s", t->err.message);
    }
}

void t_expect(t_tree *t, const void *key, size_t key_size, uint64_t seed, size_t value_size) {
    bool found = false;
    pv__buf_clear(&t->value);
    int rc = pv__tree_get(&t->tree, pv__bytes_of(key, key_size), &t->value, &found, &t->err);
    if (rc) {
        fail_msg("get: %s", t->err.message);
    }
    assert_true(found);
    assert_int_equal(t->value.len, value_size);
    pv__bytes value = t_value(&t->buf, seed, value_size);
    assert_true(value_size == 0 || memcmp(value.data, t->value.data, value_size) == 0);
}

void t_del(t_tree *t, const void *key, size_t key_size, bool expect_found) {
    bool found = !expect_found;
    int rc = pv__tree_del(&t->tree, pv__bytes_of(key, key_size), &found, &t->err);
    if (rc) {
        fail_msg("del: %s", t->err.message);
    }
    assert_int_equal(found, expect_found);
}

uint64_t t_key64(uint64_t n) {
    uint64_t key;
    pv__put64be(&key, n);
    return key;
}

static void t_finding(void *ctx, uint64_t page_id, uint32_t owner, const char *what) {
    (void)ctx;
    print_message("finding: page %llu of %u: %s\n", (unsigned long long)page_id, owner, what);
}

uint64_t t_check(t_tree *t) {
    uint64_t bad = 0, entries = 0;
    int rc = pv__tree_check(&t->tree, t_finding, NULL, &bad, &entries, &t->err);
    if (rc) {
        fail_msg("check: %s", t->err.message);
    }
    assert_int_equal(bad, 0);
    return entries;
}

uint64_t t_pages_owned(t_tree *t, uint64_t id_max) {
    uint64_t n = 0;
    for (uint64_t id = 1; id <= id_max; id++) {
        const uint8_t *page = NULL;
        if (pv__page_read(t->txn, id, PV__PAGE_ANY, &page, NULL) == 0 &&
            pv__page_owner(page) == t->tree.owner) {
            n++;
        }
    }
    return n;
}

static const uint8_t *t_page(t_tree *t, uint64_t id, unsigned kind, t_shape *s) {
    const uint8_t *page = NULL;
    assert_int_equal(pv__page_read(t->txn, id, kind, &page, &t->err), 0);
    s->page_max = PV_MAX(s->page_max, id);
    return page;
}

static void t_shape_node(t_tree *t, uint64_t id, unsigned depth, t_shape *s) {
    const uint8_t *page = t_page(t, id, PV__PAGE_TREE, s);
    const unsigned used = pv__tnode_used(page), level = pv__tnode_level(page);
    s->depth = PV_MAX(s->depth, depth);
    if (depth > 1) {
        s->least_used = PV_MIN(s->least_used, used);
    }
    *(level ? &s->inner : &s->leaves) += 1;
    *(level ? &s->inner_bytes : &s->leaf_bytes) += used;
    for (unsigned i = 0; i < pv__tnode_count(page); i++) {
        pv__tcell cell = {{NULL, 0}, {NULL, 0}, false};
        assert_true(pv__tnode_cell(page, i, &cell));
        if (level) {
            t_shape_node(t, pv__tcell_child(&cell), depth + 1, s);
        } else if (cell.is_long) {
            uint64_t next = pv__get64(cell.tail.data);
            while (next) {
                s->overflow++;
                next = pv__get64(t_page(t, next, PV__PAGE_OVERFLOW, s) + PV__PAGE_HEAD);
            }
        }
    }
}

void t_shape_of(t_tree *t, t_shape *out) {
    memset(out, 0, sizeof(*out));
    out->least_used = PV__TNODE_ROOM;
    t_shape_node(t, t->tree.root, 1, out);
}
