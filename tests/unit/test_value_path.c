/* SPDX-License-Identifier: Apache-2.0 */
/* test_value_path.c - dotted paths into documents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "test_value_random.h"
#include "value/path.h"

static pv__mem t_mem;

static int t_setup(void **state) {
    (void)state;
    pv__mem_init(&t_mem, NULL, 0);
    return 0;
}

static int t_teardown(void **state) {
    (void)state;
    return t_mem.bytes_used == 0 ? 0 : -1;
}

static const char t_json[] =
    "{\"a\":{\"b\":[10,{\"c\":\"deep\"},[20,21]],\"0\":\"zero\",\"01\":\"padded\",\"x.y\":1,"
    "\"\":2},\"n\":null,\"tags\":[],\"$k\":5,\"\\u00e9\":{\"\\ud83d\\ude00\":6}}";

/* The JSON text found at the path, "-" when nothing is there. */
static void t_finds(const char *path_text, const char *want) {
    pv__buf doc, text;
    pv__arena arena;
    pv__path path;
    pv_error err = PV_ERROR_INIT;
    pv__buf_init(&doc, &t_mem);
    pv__buf_init(&text, &t_mem);
    pv__arena_init(&arena, &t_mem, 256);
    assert_int_equal(t_read(t_json, sizeof t_json - 1, &doc, &err), 0);
    if (pv__path_compile(&arena, "filter", path_text, strlen(path_text), &path, &err)) {
        fail_msg("%s", err.message);
    }
    pv__value v = pv__path_walk(&path, pv__doc_root(doc.data, doc.len));
    if (v.data) {
        pv__json_write(&text, v);
    } else {
        pv__buf_add_text(&text, "-");
    }
    pv__buf_add_u8(&text, 0);
    assert_string_equal((const char *)text.data, want);
    pv__buf_done(&doc);
    pv__buf_done(&text);
    pv__arena_done(&arena);
}

static void test_path__fields_and_elements_are_found(void **state) {
    (void)state;
    t_finds("n", "null");
    t_finds("tags", "[]");
    t_finds("a.b.0", "10");
    t_finds("a.b.1.c", "\"deep\"");
    t_finds("a.b.2.1", "21");
    t_finds("a.0", "\"zero\""); /* a number is a key where there is an object */
    t_finds("a.01", "\"padded\"");
    t_finds("$k", "5");
    t_finds("\xC3\xA9.\xF0\x9F\x98\x80", "6");
}

static void test_path__everything_else_is_missing(void **state) {
    (void)state;
    t_finds("b", "-");
    t_finds("a.c", "-");
    t_finds("n.a", "-");   /* null has no fields */
    t_finds("a.b.3", "-"); /* beyond the end */
    t_finds("a.b.01", "-");
    t_finds("a.b.-1", "-");
    t_finds("a.b.4294967295", "-");
    t_finds("a.b.4294967296", "-");
    t_finds("a.b.18446744073709551616", "-");
    t_finds("a.b.c", "-"); /* no field of an array */
    t_finds("a.b.1.c.0", "-");
    t_finds("a.x.y", "-"); /* a key with a dot cannot be reached */
    t_finds("tags.0", "-");
    t_finds("A", "-");
    t_finds("a ", "-");
}

static void test_path__bad_paths_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        int code;
        uint64_t offset;
        const char *message;
    } cases[] = {
        {"", 0, PV_ERR_FORMAT, 0, "filter: path '': empty segment at byte 0"},
        {".", 1, PV_ERR_FORMAT, 0, "filter: path '.': empty segment at byte 0"},
        {"a.", 2, PV_ERR_FORMAT, 2, "filter: path 'a.': empty segment at byte 2"},
        {"a..b", 4, PV_ERR_FORMAT, 2, "filter: path 'a..b': empty segment at byte 2"},
        {".a", 2, PV_ERR_FORMAT, 0, "filter: path '.a': empty segment at byte 0"},
        {"a\xFF", 2, PV_ERR_FORMAT, 1, "filter: path 'a?': invalid UTF-8 at byte 1"},
    };
    pv__arena arena;
    pv__arena_init(&arena, &t_mem, 256);
    for (size_t i = 0; i < PV_COUNTOF(cases); i++) {
        pv__path path = {NULL, 77};
        pv_error err = PV_ERROR_INIT;
        int rc = pv__path_compile(&arena, "filter", cases[i].text, cases[i].len, &path, &err);
        assert_int_equal(rc, cases[i].code);
        assert_string_equal(err.message, cases[i].message);
        assert_int_equal(err.offset, cases[i].offset);
        assert_int_equal(path.count, 77); /* untouched */
        assert_int_equal(
            pv__path_compile(&arena, "filter", cases[i].text, cases[i].len, &path, NULL),
            cases[i].code);
    }
    pv__arena_done(&arena);
}

static void test_path__segments_are_limited(void **state) {
    (void)state;
    pv__arena arena;
    pv__buf text;
    pv__path path;
    pv_error err = PV_ERROR_INIT;
    pv__arena_init(&arena, &t_mem, 256);
    pv__buf_init(&text, &t_mem);
    pv__buf_add_u8(&text, 'a');
    for (unsigned i = 1; i < PV__JSON_DEPTH_MAX; i++) {
        pv__buf_add_text(&text, ".a");
    }
    assert_int_equal(
        pv__path_compile(&arena, "filter", (const char *)text.data, text.len, &path, &err), 0);
    assert_int_equal(path.count, PV__JSON_DEPTH_MAX);
    pv__buf_add_text(&text, ".a");
    assert_int_equal(
        pv__path_compile(&arena, "filter", (const char *)text.data, text.len, &path, &err),
        PV_ERR_LIMIT);
    pv__buf_done(&text);
    pv__arena_done(&arena);
}

static void test_path__every_allocation_may_fail(void **state) {
    (void)state;
    bool passed = false;
    for (uint64_t at = 1; !passed && at < 20; at++) {
        pv__mem mem;
        pv__arena arena;
        pv__path path;
        pv_error err = PV_ERROR_INIT;
        pv__mem_init(&mem, NULL, 0);
        mem.fail_at = at;
        mem.fail_forever = 1;
        pv__arena_init(&arena, &mem, 64);
        int rc =
            pv__path_compile(&arena, "filter", "some.longer.path.with.segments", 30, &path, &err);
        passed = rc == 0;
        assert_true(passed || rc == PV_ERR_NOMEM);
        pv__arena_done(&arena);
        assert_int_equal(mem.bytes_used, 0);
    }
    assert_true(passed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path__fields_and_elements_are_found),
        cmocka_unit_test(test_path__everything_else_is_missing),
        cmocka_unit_test(test_path__bad_paths_are_refused),
        cmocka_unit_test(test_path__segments_are_limited),
        cmocka_unit_test(test_path__every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, t_setup, t_teardown);
}
