/* SPDX-License-Identifier: Apache-2.0 */
/* test_catalog.c - the catalogue: names, the bytes of a record, numbers, and damage. */
#include <stdio.h>

#include "catalog/catalog.h"
#include "support/test_support.h"

typedef struct t_catalog {
    pv__mem mem;
    pv__store *store;
    pv__txn *txn;
    pv_error err;
} t_catalog;

static void t_open(t_catalog *t) {
    memset(t, 0, sizeof(*t));
    t->err = (pv_error)PV_ERROR_INIT;
    test_mem_init(&t->mem);
    const pv__store_opts o = {
        .path = ":memory:", .mem = &t->mem, .create = true, .no_threads = true};
    test_assert_ok(pv__store_open(&o, &t->store, &t->err), &t->err);
    test_assert_ok(pv__txn_begin(t->store, PV__TXN_WRITE, &t->txn, &t->err), &t->err);
}

static void t_next(t_catalog *t) {
    test_assert_ok(pv__txn_commit(t->txn, NULL, &t->err), &t->err);
    test_assert_ok(pv__txn_begin(t->store, PV__TXN_WRITE, &t->txn, &t->err), &t->err);
}

static void t_close(t_catalog *t) {
    pv__txn_rollback(t->txn);
    test_assert_ok(pv__store_close(t->store, &t->err), &t->err);
    test_mem_done(&t->mem);
}

/* A collection whose parts are only numbers. */
static pv__collection t_collection(t_catalog *t, const char *name) {
    pv__collection c;
    memset(&c, 0, sizeof(c));
    c.name_len = (uint32_t)strlen(name);
    memcpy(c.name, name, c.name_len);
    test_assert_ok(pv__catalog_ids_take(t->txn, PV__OBJECT_IDS_GRAPH, &c.object_id, &t->err),
                   &t->err);
    c.idmap_root = 100;
    c.docs_root = 101;
    c.key = PV_KEY_U64;
    c.field = (pv__field){.root = 102,
                          .owner = c.object_id + PV__OBJECT_FIELD,
                          .dims = 384,
                          .metric = PV_METRIC_DOT,
                          .type = PV_TYPE_F32,
                          .index = PV_INDEX_HNSW,
                          .code = 2,
                          .ef_construction = 200,
                          .graph = 103};
    c.next_id = 7;
    c.generation = 3;
    memset(c.meta, 0xAB, sizeof(c.meta));
    return c;
}

static void t_expect_same(const pv__collection *a, const pv__collection *b) {
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->name_len, b->name_len);
    assert_int_equal(a->object_id, b->object_id);
    assert_int_equal(a->page, b->page);
    assert_int_equal(a->idmap_root, b->idmap_root);
    assert_int_equal(a->docs_root, b->docs_root);
    assert_int_equal(a->key, b->key);
    assert_int_equal(a->field.root, b->field.root);
    assert_int_equal(a->field.owner, b->field.owner);
    assert_int_equal(a->field.dims, b->field.dims);
    assert_int_equal(a->field.metric, b->field.metric);
    assert_int_equal(a->field.type, b->field.type);
    assert_int_equal(a->field.index, b->field.index);
    assert_int_equal(a->field.code, b->field.code);
    assert_int_equal(a->field.ef_construction, b->field.ef_construction);
    assert_int_equal(a->field.graph, b->field.graph);
}

static uint64_t t_check(t_catalog *t, bool deep) {
    uint64_t bad = 0;
    test_assert_ok(pv__catalog_check(t->txn, deep, NULL, NULL, &bad, &t->err), &t->err);
    return bad;
}

/* ---- names and numbers ---- */

static void test_catalog__names(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    char name[PV__NAME_BYTES_MAX + 1];
    memset(name, 'x', sizeof(name));
    test_assert_ok(pv__catalog_name_check(name, PV__NAME_BYTES_MAX, &err), &err);
    test_assert_rc(pv__catalog_name_check(name, PV__NAME_BYTES_MAX + 1, &err), PV_ERR_LIMIT, &err);
    test_assert_rc(pv__catalog_name_check("", 0, &err), PV_ERR_MISUSE, &err);
    test_assert_rc(pv__catalog_name_check("a\0b", 3, &err), PV_ERR_MISUSE, &err);
    test_assert_rc(pv__catalog_name_check("..", 2, &err), PV_ERR_MISUSE, &err);
    test_assert_rc(pv__catalog_name_check("_a", 2, &err), PV_ERR_MISUSE, &err);
    test_assert_rc(pv__catalog_name_check("\xc2\x80", 2, &err), PV_ERR_MISUSE, &err); /* C1 */
    test_assert_ok(pv__catalog_name_check("\xc2\xa0", 2, &err), &err);
    test_assert_rc(pv__catalog_name_check("\xc2", 1, &err), PV_ERR_MISUSE, &err);
}

static void test_catalog__object_ids_never_come_twice(void **state) {
    (void)state;
    t_catalog t;
    uint32_t a = 0, b = 0;
    t_open(&t);
    test_assert_ok(pv__catalog_ids_take(t.txn, 5, &a, &t.err), &t.err);
    assert_int_equal(a, PV__OBJECT_FIRST);
    test_assert_ok(pv__catalog_ids_take(t.txn, 5, &b, &t.err), &t.err);
    assert_int_equal(b, a + 5);
    test_assert_ok(pv__store_root_set(t.txn, 1, UINT32_MAX - 4, &t.err), &t.err);
    test_assert_rc(pv__catalog_ids_take(t.txn, 5, &b, &t.err), PV_ERR_LIMIT, &t.err);
    test_assert_ok(pv__store_root_set(t.txn, 1, 3, &t.err), &t.err);
    test_assert_rc(pv__catalog_ids_take(t.txn, 5, &b, &t.err), PV_ERR_CORRUPT, &t.err);
    t_close(&t);
}

/* ---- records ---- */

static void test_catalog__record_is_these_bytes(void **state) {
    (void)state;
    static const uint8_t want[64] = {
        1,   0, 0, 0, 17,   0, 0, 0, 99,  0, 0, 0, 0, 0, 0, 0, /* version, id, page */
        100, 0, 0, 0, 0,    0, 0, 0, 101, 0, 0, 0, 0, 0, 0, 0, /* idmap, docs */
        0,   0, 0, 0, 2,    0, 1, 0,                           /* flags, key, fields */
        24,  0, 0, 0, 0x80, 1, 0, 0, 21,  0, 0, 0, 3, 1, 0, 0, /* dims, owner, metric */
        102, 0, 0, 0, 0,    0, 0, 0,                           /* column */
    };
    pv__mem mem;
    pv__buf buf;
    pv_error err = PV_ERROR_INIT;
    pv__collection c, d;
    test_mem_init(&mem);
    pv__buf_init(&buf, &mem);
    memset(&c, 0, sizeof(c));
    memset(&d, 0, sizeof(d));
    c.object_id = 17;
    c.page = 99;
    c.idmap_root = 100;
    c.docs_root = 101;
    c.key = PV_KEY_U64;
    c.field = (pv__field){.root = 102,
                          .owner = 21,
                          .dims = 384,
                          .metric = PV_METRIC_DOT,
                          .type = PV_TYPE_F32,
                          .index = PV_INDEX_FLAT};
    pv__catalog_record_encode(&c, &buf);
    assert_int_equal(buf.len, sizeof(want));
    test_assert_same_bytes(buf.data, want, sizeof(want));
    test_assert_ok(pv__catalog_record_decode((pv__bytes){buf.data, buf.len}, &d, &err), &err);
    t_expect_same(&c, &d);
    pv__buf_done(&buf);
    test_mem_done(&mem);
}

static void test_catalog__bad_records_are_refused(void **state) {
    (void)state;
    static const struct {
        uint8_t at, value;
        int code;
    } cases[] = {
        {0, 2, PV_ERR_FORMAT},   {0, 0, PV_ERR_CORRUPT},  {4, 3, PV_ERR_CORRUPT},
        {8, 0, PV_ERR_CORRUPT},  {16, 0, PV_ERR_CORRUPT}, {24, 0, PV_ERR_CORRUPT},
        {32, 1, PV_ERR_FORMAT},  {36, 9, PV_ERR_FORMAT},  {37, 1, PV_ERR_FORMAT},
        {38, 2, PV_ERR_FORMAT},  {38, 0, PV_ERR_CORRUPT}, {40, 23, PV_ERR_CORRUPT},
        {40, 25, PV_ERR_FORMAT}, {42, 1, PV_ERR_FORMAT},  {47, 1, PV_ERR_CORRUPT},
        {48, 2, PV_ERR_CORRUPT}, {52, 77, PV_ERR_FORMAT}, {52, 0, PV_ERR_FORMAT},
        {52, 5, PV_ERR_FORMAT},  {53, 0, PV_ERR_FORMAT},  {53, 3, PV_ERR_FORMAT},
        {53, 5, PV_ERR_FORMAT},  {53, 6, PV_ERR_FORMAT},  {52, PV_METRIC_L1, 0},
        {53, PV_TYPE_F16, 0},    {53, PV_TYPE_I8, 0},     {54, 1, PV_ERR_FORMAT},
        {56, 0, PV_ERR_CORRUPT},
    };
    pv__mem mem;
    pv__buf buf;
    pv_error err = PV_ERROR_INIT;
    pv__collection c, d;
    test_mem_init(&mem);
    pv__buf_init(&buf, &mem);
    memset(&c, 0, sizeof(c));
    memset(&d, 0, sizeof(d));
    c.object_id = 17;
    c.page = 99;
    c.idmap_root = 100;
    c.docs_root = 101;
    c.key = PV_KEY_STRING;
    c.field = (pv__field){.root = 102,
                          .owner = 21,
                          .dims = 384,
                          .metric = PV_METRIC_DOT,
                          .type = PV_TYPE_F32,
                          .index = PV_INDEX_FLAT};
    pv__catalog_record_encode(&c, &buf);
    for (size_t i = 0; i < PV_COUNTOF(cases); i++) {
        uint8_t bytes[64];
        memcpy(bytes, buf.data, sizeof(bytes));
        bytes[cases[i].at] = cases[i].value;
        test_assert_rc(pv__catalog_record_decode((pv__bytes){bytes, sizeof(bytes)}, &d, &err),
                       cases[i].code, &err);
    }
    for (size_t n = 0; n < buf.len; n++) { /* cut short anywhere */
        test_assert_rc(pv__catalog_record_decode((pv__bytes){buf.data, n}, &d, &err),
                       PV_ERR_CORRUPT, &err);
    }
    pv__buf_add_u8(&buf, 0);
    test_assert_rc(pv__catalog_record_decode((pv__bytes){buf.data, buf.len}, &d, &err),
                   PV_ERR_CORRUPT, &err);
    pv__buf_done(&buf);
    test_mem_done(&mem);
}

/* ---- the tree ---- */

static void test_catalog__add_find_walk_remove(void **state) {
    (void)state;
    t_catalog t;
    pv__collection c, d;
    pv__catalog_walk w;
    bool found = true;
    char name[16];
    t_open(&t);
    test_assert_ok(pv__catalog_find(t.txn, "c0", 2, &d, &found, &t.err), &t.err);
    assert_false(found);
    assert_int_equal(t_check(&t, true), 0);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "c%d", i);
        c = t_collection(&t, name);
        test_assert_ok(pv__catalog_add(t.txn, &c, &t.err), &t.err);
    }
    t_next(&t);
    test_assert_ok(pv__catalog_find(t.txn, "c299", 4, &d, &found, &t.err), &t.err);
    assert_true(found);
    t_expect_same(&c, &d);
    assert_int_equal(d.next_id, 7);
    assert_int_equal(d.generation, 3);
    assert_memory_equal(d.meta, c.meta, sizeof(c.meta));
    d.next_id = 8;
    d.meta[5] = 1;
    test_assert_ok(pv__catalog_page_write(t.txn, &d, &t.err), &t.err);
    test_assert_ok(pv__catalog_page_read(t.txn, &c, &t.err), &t.err);
    assert_int_equal(c.next_id, 8);
    assert_int_equal(c.meta[5], 1);
    int n = 0;
    char last[PV__NAME_BYTES_MAX + 1] = "";
    test_assert_ok(pv__catalog_walk_begin(&w, t.txn, &t.err), &t.err);
    for (;;) {
        test_assert_ok(pv__catalog_walk_next(&w, true, &d, &found, &t.err), &t.err);
        if (!found) {
            break;
        }
        assert_true(strcmp(last, d.name) < 0);
        memcpy(last, d.name, sizeof(last));
        n++;
    }
    pv__catalog_walk_end(&w);
    assert_int_equal(n, 300);
    assert_int_equal(t_check(&t, false), 0);
    assert_int_equal(t_check(&t, true), 0);
    test_assert_ok(pv__catalog_remove(t.txn, &c, &t.err), &t.err);
    test_assert_ok(pv__catalog_find(t.txn, "c299", 4, &d, &found, &t.err), &t.err);
    assert_false(found);
    test_assert_rc(
        pv__page_read(t.txn, c.page, PV__PAGE_COLLECTION, &(const uint8_t *){NULL}, &t.err),
        PV_ERR_CORRUPT, &t.err);
    assert_int_equal(t_check(&t, true), 0);
    t_close(&t);
}

static void test_catalog__damage_is_found_and_named(void **state) {
    (void)state;
    t_catalog t;
    pv__collection a, b, d;
    bool found = false;
    uint8_t *page = NULL;
    t_open(&t);
    a = t_collection(&t, "a");
    test_assert_ok(pv__catalog_add(t.txn, &a, &t.err), &t.err);
    b = t_collection(&t, "b");
    test_assert_ok(pv__catalog_add(t.txn, &b, &t.err), &t.err);
    /* C3: the page of another collection. */
    d = b;
    d.page = a.page;
    test_assert_rc(pv__catalog_page_read(t.txn, &d, &t.err), PV_ERR_CORRUPT, &t.err);
    assert_non_null(strstr(t.err.message, "'b'"));
    /* A page of a later version. */
    test_assert_ok(pv__page_write(t.txn, a.page, PV__PAGE_COLLECTION, &page, &t.err), &t.err);
    page[PV__PAGE_HEAD] = 2;
    test_assert_rc(pv__catalog_find(t.txn, "a", 1, &d, &found, &t.err), PV_ERR_FORMAT, &t.err);
    assert_false(found);
    assert_int_equal(t_check(&t, true), 1);
    page[PV__PAGE_HEAD] = 1;
    assert_int_equal(t_check(&t, true), 0);
    /* C2: an id that was never given out. */
    test_assert_ok(pv__store_root_set(t.txn, 1, b.object_id, &t.err), &t.err);
    assert_int_equal(t_check(&t, false), 1);
    test_assert_ok(pv__store_root_set(t.txn, 1, b.object_id + PV__OBJECT_IDS_GRAPH, &t.err),
                   &t.err);
    /* C1: a wrong count, and a header of a later version. */
    uint64_t root = 0;
    test_assert_ok(pv__store_root_get(t.txn, 0, &root, &t.err), &t.err);
    pv__tree tree = {t.txn, root, PV__OBJECT_CATALOG};
    uint8_t header[24] = {1, 0, 0, 0, 5};
    const pv__bytes key = {(const uint8_t *)"\0", 1};
    test_assert_ok(pv__tree_put(&tree, key, (pv__bytes){header, 24}, NULL, &t.err), &t.err);
    assert_int_equal(t_check(&t, false), 1);
    header[0] = 9;
    test_assert_ok(pv__tree_put(&tree, key, (pv__bytes){header, 24}, NULL, &t.err), &t.err);
    test_assert_rc(pv__catalog_room(t.txn, &t.err), PV_ERR_FORMAT, &t.err);
    assert_int_equal(t_check(&t, false), 1);
    test_assert_ok(pv__tree_put(&tree, key, (pv__bytes){header, 3}, NULL, &t.err), &t.err);
    test_assert_rc(pv__catalog_room(t.txn, &t.err), PV_ERR_CORRUPT, &t.err);
    /* The most there may be. */
    memset(header, 0, sizeof(header));
    header[0] = 1;
    header[6] = 1; /* 65,536 */
    test_assert_ok(pv__tree_put(&tree, key, (pv__bytes){header, 24}, NULL, &t.err), &t.err);
    test_assert_rc(pv__catalog_room(t.txn, &t.err), PV_ERR_LIMIT, &t.err);
    t_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_catalog__names),
        cmocka_unit_test(test_catalog__object_ids_never_come_twice),
        cmocka_unit_test(test_catalog__record_is_these_bytes),
        cmocka_unit_test(test_catalog__bad_records_are_refused),
        cmocka_unit_test(test_catalog__add_find_walk_remove),
        cmocka_unit_test(test_catalog__damage_is_found_and_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
