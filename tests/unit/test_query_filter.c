/* SPDX-License-Identifier: Apache-2.0 */
/* test_query_filter.c - what filters mean, and what is refused. Random filters against a naive
 * evaluator are in test_query_filter_model.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>

#include "query/filter.h"
#include "value/json.h"

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

static void t_doc(pv__buf *doc, const char *json) {
    const pv__json_opts opts = {"metadata", PV__METADATA_BYTES_MAX, true};
    pv_error err = PV_ERROR_INIT;
    pv__buf_clear(doc);
    if (pv__json_read(&opts, json, strlen(json), doc, &err)) {
        fail_msg("%s: %s", json, err.message);
    }
}

static bool t_match(const char *filter_json, const char *json) {
    pv__filter *filter = NULL;
    pv__buf doc;
    pv_error err = PV_ERROR_INIT;
    pv__buf_init(&doc, &t_mem);
    t_doc(&doc, json);
    if (pv__filter_compile(&t_mem, filter_json, strlen(filter_json), &filter, &err)) {
        fail_msg("%s: %s", filter_json, err.message);
    }
    uint64_t calls = t_mem.calls;
    bool match = pv__filter_match(filter, doc.data, doc.len);
    assert_int_equal(t_mem.calls, calls); /* a match allocates nothing */
    pv__filter_free(filter);
    pv__buf_done(&doc);
    return match;
}

static void t_yes(const char *filter, const char *json) {
    if (!t_match(filter, json)) {
        fail_msg("%s should match %s", filter, json);
    }
}

static void t_no(const char *filter, const char *json) {
    if (t_match(filter, json)) {
        fail_msg("%s should not match %s", filter, json);
    }
}

static void test_filter__empty_matches_all(void **state) {
    (void)state;
    pv__filter *filter = NULL;
    pv_error err = PV_ERROR_INIT;
    t_yes("{}", "{}");
    t_yes("{}", "{\"a\":1}");
    t_no("{\"$not\":{}}", "{}");
    t_yes("{\"$and\":[{},{}]}", "{}");
    assert_int_equal(pv__filter_compile(&t_mem, "{\"a\":null}", 10, &filter, &err), 0);
    assert_true(pv__filter_match(filter, NULL, 0)); /* no bytes are the empty object */
    pv__filter_free(filter);
    pv__filter_free(NULL);
}

static void test_filter__eq_compares_whole_values(void **state) {
    (void)state;
    t_yes("{\"a\":1}", "{\"a\":1}");
    t_yes("{\"a\":1}", "{\"a\":1.0}");
    t_yes("{\"a\":{\"$eq\":1.0}}", "{\"a\":1}");
    t_no("{\"a\":1}", "{\"a\":true}");
    t_no("{\"a\":1}", "{\"a\":\"1\"}");
    t_no("{\"a\":9007199254740993}", "{\"a\":9007199254740992.0}");
    t_yes("{\"a\":\"x\"}", "{\"a\":\"x\"}");
    t_no("{\"a\":\"x\"}", "{\"a\":\"X\"}");
    t_no("{\"a\":\"x\"}", "{\"a\":[\"x\"]}"); /* membership is not equality */
    t_yes("{\"a\":[1,2]}", "{\"a\":[1,2]}");
    t_no("{\"a\":[1,2]}", "{\"a\":[2,1]}");
    t_yes("{\"a\":{\"x\":1,\"y\":[]}}", "{\"a\":{\"y\":[],\"x\":1}}");
    t_no("{\"a\":{\"x\":1}}", "{\"a\":{\"x\":1,\"y\":[]}}");
    t_yes("{\"a\":{}}", "{\"a\":{}}");
    t_no("{\"a\":{}}", "{\"a\":{\"x\":1}}");
    t_no("{\"a\":{}}", "{}");
    t_yes("{\"a\":{\"$eq\":{\"$gt\":1}}}", "{\"a\":{\"$gt\":1}}"); /* $eq takes it literally */
}

static void test_filter__missing_reads_as_null(void **state) {
    (void)state;
    t_yes("{\"a\":null}", "{}");
    t_yes("{\"a\":null}", "{\"a\":null}");
    t_no("{\"a\":null}", "{\"a\":0}");
    t_no("{\"a\":5}", "{}");
    t_yes("{\"a\":{\"$ne\":5}}", "{}");
    t_no("{\"a\":{\"$ne\":null}}", "{}");
    t_no("{\"a\":{\"$ne\":null}}", "{\"a\":null}");
    t_yes("{\"a\":{\"$ne\":null}}", "{\"a\":false}");
    t_yes("{\"a\":{\"$in\":[1,null]}}", "{}");
    t_no("{\"a\":{\"$in\":[1,2]}}", "{}");
    t_yes("{\"a\":{\"$nin\":[1,2]}}", "{}");
    t_no("{\"a\":{\"$nin\":[1,null]}}", "{}");
    t_no("{\"a\":{\"$lt\":5}}", "{}");
    t_no("{\"a\":{\"$gt\":-5}}", "{}");
    t_yes("{\"a\":{\"$gte\":null}}", "{}");
    t_no("{\"a\":{\"$gt\":null}}", "{}");
    t_yes("{\"a.b.c\":null}", "{\"a\":{\"b\":5}}");
}

static void test_filter__exists_tells_missing_from_null(void **state) {
    (void)state;
    t_yes("{\"a\":{\"$exists\":true}}", "{\"a\":null}");
    t_no("{\"a\":{\"$exists\":true}}", "{}");
    t_no("{\"a\":{\"$exists\":false}}", "{\"a\":null}");
    t_yes("{\"a\":{\"$exists\":false}}", "{\"b\":1}");
    t_yes("{\"a.1\":{\"$exists\":true}}", "{\"a\":[0,0]}");
    t_no("{\"a.2\":{\"$exists\":true}}", "{\"a\":[0,0]}");
    t_yes("{\"a\":{\"$exists\":true,\"$eq\":null}}", "{\"a\":null}");
    t_no("{\"a\":{\"$exists\":true,\"$eq\":null}}", "{}");
}

static void test_filter__order_stays_inside_a_class(void **state) {
    (void)state;
    t_yes("{\"a\":{\"$gt\":1}}", "{\"a\":1.5}");
    t_no("{\"a\":{\"$gt\":1}}", "{\"a\":1.0}");
    t_yes("{\"a\":{\"$gte\":1}}", "{\"a\":1.0}");
    t_yes("{\"a\":{\"$lt\":9007199254740993}}", "{\"a\":9007199254740992.0}");
    t_no("{\"a\":{\"$lt\":5}}", "{\"a\":\"4\"}");
    t_no("{\"a\":{\"$gte\":5}}", "{\"a\":\"5\"}");
    t_no("{\"a\":{\"$gt\":5}}", "{\"a\":[6]}");
    t_no("{\"a\":{\"$gt\":5}}", "{\"a\":true}");
    t_yes("{\"a\":{\"$gt\":\"abc\"}}", "{\"a\":\"abd\"}");
    t_yes("{\"a\":{\"$lt\":\"b\"}}", "{\"a\":\"abc\"}");
    t_yes("{\"a\":{\"$gt\":false}}", "{\"a\":true}");
    t_no("{\"a\":{\"$gt\":true}}", "{\"a\":true}");
    t_yes("{\"a\":{\"$lte\":true}}", "{\"a\":false}");
    t_no("{\"a\":{\"$lt\":true}}", "{\"a\":null}");
    t_yes("{\"a\":{\"$gt\":[1,2]}}", "{\"a\":[1,3]}");
    t_no("{\"a\":{\"$gt\":[1,2]}}", "{\"a\":{}}");
    t_yes("{\"a\":{\"$lte\":null}}", "{\"a\":null}");
    t_yes("{\"a\":{\"$gte\":1,\"$lt\":5}}", "{\"a\":1}");
    t_no("{\"a\":{\"$gte\":1,\"$lt\":5}}", "{\"a\":5}");
}

static void test_filter__in_takes_any_of_the_list(void **state) {
    (void)state;
    t_yes("{\"a\":{\"$in\":[3,\"x\",1,2,2,1.0]}}", "{\"a\":2.0}");
    t_yes("{\"a\":{\"$in\":[3,\"x\",[1],{\"b\":2}]}}", "{\"a\":[1]}");
    t_yes("{\"a\":{\"$in\":[3,\"x\",[1],{\"b\":2}]}}", "{\"a\":{\"b\":2}}");
    t_no("{\"a\":{\"$in\":[3,\"x\",[1]]}}", "{\"a\":1}");
    t_no("{\"a\":{\"$in\":[]}}", "{\"a\":1}");
    t_no("{\"a\":{\"$in\":[]}}", "{}");
    t_yes("{\"a\":{\"$nin\":[]}}", "{\"a\":1}");
    t_no("{\"a\":{\"$nin\":[1]}}", "{\"a\":1}");
    t_yes("{\"a\":{\"$nin\":[1]}}", "{\"a\":2}");
}

static void test_filter__logic(void **state) {
    (void)state;
    t_yes("{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":2}");
    t_no("{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":3}");
    t_yes("{\"$or\":[{\"a\":1},{\"b\":2}]}", "{\"b\":2}");
    t_no("{\"$or\":[{\"a\":1},{\"b\":2}]}", "{\"a\":2,\"b\":1}");
    t_yes("{\"$and\":[{\"a\":1},{\"b\":2}]}", "{\"a\":1,\"b\":2}");
    t_no("{\"$and\":[{\"a\":1},{\"b\":2}]}", "{\"a\":1}");
    t_yes("{\"$not\":{\"a\":1,\"b\":2}}", "{\"a\":1,\"b\":3}");
    t_no("{\"$not\":{\"a\":1,\"b\":2}}", "{\"a\":1,\"b\":2}");
    t_yes("{\"a\":{\"$not\":{\"$gt\":5}}}", "{\"a\":\"text\"}"); /* the exact negation */
    t_yes("{\"a\":{\"$not\":{\"$gt\":5}}}", "{}");
    t_no("{\"a\":{\"$not\":{\"$gt\":5}}}", "{\"a\":6}");
    t_yes("{\"a\":{\"$not\":{\"$gte\":1,\"$lte\":3}}}", "{\"a\":4}");
    t_no("{\"a\":{\"$not\":{\"$gte\":1,\"$lte\":3}}}", "{\"a\":2}");
    t_yes("{\"a\":{\"$not\":{\"$not\":{\"$eq\":1}}}}", "{\"a\":1}");
    t_yes("{\"$or\":[{\"a\":1},{\"$and\":[{\"b\":1},{\"c\":{\"$ne\":1}}]}],\"d\":0}",
          "{\"b\":1,\"d\":0}");
    t_no("{\"$or\":[{\"a\":1},{\"$and\":[{\"b\":1},{\"c\":{\"$ne\":1}}]}],\"d\":0}",
         "{\"b\":1,\"c\":1,\"d\":0}");
    t_no("{\"$or\":[{\"a\":1},{\"b\":1}],\"d\":0}", "{\"b\":1,\"d\":1}");
}

static void test_filter__paths_reach_inside(void **state) {
    (void)state;
    t_yes("{\"a.b\":1}", "{\"a\":{\"b\":1}}");
    t_no("{\"a.b\":1}", "{\"a.b\":1}");
    t_yes("{\"tags.1\":\"y\"}", "{\"tags\":[\"x\",\"y\"]}");
    t_yes("{\"a.$b\":1}", "{\"a\":{\"$b\":1}}");
    t_yes("{\"a.0.b\":{\"$gt\":1}}", "{\"a\":[{\"b\":2}]}");
}

static void t_refused(const char *json, int code, const char *message) {
    static int t_unset;
    pv__filter *filter = (pv__filter *)(void *)&t_unset;
    pv_error err = PV_ERROR_INIT;
    int rc = pv__filter_compile(&t_mem, json, strlen(json), &filter, &err);
    if (rc != code || strcmp(err.message, message) != 0) {
        fail_msg("%s: %d '%s'", json, rc, err.message);
    }
    assert_null(filter);
    assert_int_equal(pv__filter_compile(&t_mem, json, strlen(json), &filter, NULL), code);
}

static void test_filter__unknown_operators_are_named(void **state) {
    (void)state;
    static const char *const names[] = {"$contains", "$any",  "$all", "$regex", "$like", "$glob",
                                        "$EQ",       "$size", "$",    "$eq ",   "$nor",  "$and2"};
    for (size_t i = 0; i < PV_COUNTOF(names); i++) {
        char json[128], message[128];
        snprintf(message, sizeof message, "filter: operator '%s' is not supported in this version",
                 names[i]);
        snprintf(json, sizeof json, "{\"a\":{\"%s\":\"x\"}}", names[i]);
        t_refused(json, PV_ERR_UNSUPPORTED, message);
        snprintf(json, sizeof json, "{\"a\":{\"$gt\":1,\"%s\":\"x\"}}", names[i]);
        t_refused(json, PV_ERR_UNSUPPORTED, message);
        snprintf(json, sizeof json, "{\"%s\":\"x\"}", names[i]);
        t_refused(json, PV_ERR_UNSUPPORTED, message);
        snprintf(json, sizeof json, "{\"$or\":[{\"b\":1},{\"a\":{\"$not\":{\"%s\":1}}}]}",
                 names[i]);
        t_refused(json, PV_ERR_UNSUPPORTED, message);
    }
}

static void test_filter__misplaced_operators_are_refused(void **state) {
    (void)state;
    t_refused("{\"$gt\":1}", PV_ERR_FORMAT, "filter: operator '$gt' must stand below a field");
    t_refused("{\"$exists\":true}", PV_ERR_FORMAT,
              "filter: operator '$exists' must stand below a field");
    t_refused("{\"a\":{\"$and\":[{\"$gt\":1}]}}", PV_ERR_FORMAT,
              "filter: operator '$and' cannot stand below a field");
    t_refused("{\"a\":{\"$or\":[]}}", PV_ERR_FORMAT,
              "filter: operator '$or' cannot stand below a field");
    t_refused("{\"a\":{\"$gt\":1,\"x\":2}}", PV_ERR_FORMAT,
              "filter: 'x' among operators: a field or a value cannot stand here");
    t_refused("{\"a\":{\"$gt\":1,\"\":2}}", PV_ERR_FORMAT,
              "filter: '' among operators: a field or a value cannot stand here");
    t_refused("{\"a\":{\"$gt\":1,\"!\":2}}", PV_ERR_FORMAT,
              "filter: '!' among operators: a field or a value cannot stand here");
    t_refused("{\"a\":{\"b\":{\"$gt\":1}}}", PV_ERR_FORMAT,
              "filter: '$gt' inside the value of 'a': name the field by its dotted path, or use "
              "$eq to compare with the value as it is");
    t_refused("{\"a\":[1,{\"x\":[{\"$in\":[]}]}]}", PV_ERR_FORMAT,
              "filter: '$in' inside the value of 'a': name the field by its dotted path, or use "
              "$eq to compare with the value as it is");
}

static void test_filter__wrong_operands_are_refused(void **state) {
    (void)state;
    t_refused("{\"a\":{\"$exists\":1}}", PV_ERR_FORMAT,
              "filter: operator '$exists' wants true or false");
    t_refused("{\"a\":{\"$in\":5}}", PV_ERR_FORMAT, "filter: operator '$in' wants an array");
    t_refused("{\"a\":{\"$nin\":{\"b\":1}}}", PV_ERR_FORMAT,
              "filter: operator '$nin' wants an array");
    t_refused("{\"$and\":[]}", PV_ERR_FORMAT,
              "filter: operator '$and' wants an array of at least one filter");
    t_refused("{\"$or\":{\"a\":1}}", PV_ERR_FORMAT,
              "filter: operator '$or' wants an array of at least one filter");
    t_refused("{\"$or\":[1]}", PV_ERR_FORMAT, "filter: a filter must be an object");
    t_refused("{\"$not\":[{\"a\":1}]}", PV_ERR_FORMAT, "filter: a filter must be an object");
    t_refused("{\"a\":{\"$not\":5}}", PV_ERR_FORMAT,
              "filter: operator '$not' below a field wants an object of operators");
    t_refused("{\"a\":{\"$not\":{}}}", PV_ERR_FORMAT,
              "filter: operator '$not' below a field wants an object of operators");
    t_refused("{\"a\":{\"$not\":{\"b\":1}}}", PV_ERR_FORMAT,
              "filter: operator '$not' below a field wants an object of operators");
}

static void test_filter__bad_text_is_refused_with_its_place(void **state) {
    (void)state;
    t_refused("", PV_ERR_FORMAT, "filter: expected a value at byte 0");
    t_refused("[]", PV_ERR_FORMAT, "filter: expected an object at byte 0");
    t_refused("{\"a\" 1}", PV_ERR_FORMAT, "filter: expected ':' at byte 5");
    t_refused("{\"a\":1,\"a\":2}", PV_ERR_FORMAT, "filter: duplicate key 'a' at byte 7");
    t_refused("{\"a..b\":1}", PV_ERR_FORMAT, "filter: path 'a..b': empty segment at byte 2");
    t_refused("{\"\":1}", PV_ERR_FORMAT, "filter: path '': empty segment at byte 0");
    pv__filter *filter = NULL;
    pv_error err = PV_ERROR_INIT;
    assert_int_equal(pv__filter_compile(&t_mem, "{\"a\":tru}", 9, &filter, &err), PV_ERR_FORMAT);
    assert_int_equal(err.offset, 5);
    assert_int_equal(pv__filter_compile(&t_mem, NULL, 0, &filter, &err), PV_ERR_MISUSE);
}

/* kind 0: $and, 1: top $not, 2: $not below a field; `depth` filters inside each other. */
static int t_compile_nested(unsigned kind, unsigned depth, pv_error *err) {
    static const char *const open[] = {"{\"$and\":[", "{\"$not\":", "{\"$not\":"};
    pv__buf text;
    pv__filter *filter = NULL;
    pv__buf_init(&text, &t_mem);
    if (kind == 2) {
        pv__buf_add_text(&text, "{\"a\":");
    }
    for (unsigned i = 1; i < depth; i++) {
        pv__buf_add_text(&text, open[kind]);
    }
    pv__buf_add_text(&text, kind == 2 ? "{\"$eq\":1}" : "{\"a\":1}");
    for (unsigned i = 1; i < depth; i++) {
        pv__buf_add_text(&text, kind == 0 ? "]}" : "}");
    }
    if (kind == 2) {
        pv__buf_add_u8(&text, '}');
    }
    int rc = pv__filter_compile(&t_mem, (const char *)text.data, text.len, &filter, err);
    pv__filter_free(filter);
    pv__buf_done(&text);
    return rc;
}

static void test_filter__depth_is_limited(void **state) {
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        pv_error err = PV_ERROR_INIT;
        assert_int_equal(t_compile_nested(kind, PV__FILTER_DEPTH_MAX, &err), 0);
        assert_int_equal(t_compile_nested(kind, PV__FILTER_DEPTH_MAX + 1, &err), PV_ERR_LIMIT);
        assert_int_equal(t_compile_nested(kind, 1000, &err), PV_ERR_LIMIT);
    }
}

static void test_filter__conditions_and_text_are_limited(void **state) {
    (void)state;
    pv__buf text, doc;
    pv__filter *filter = NULL;
    pv_error err = PV_ERROR_INIT;
    pv__buf_init(&text, &t_mem);
    pv__buf_init(&doc, &t_mem);
    /* {"$or":[...]} of n conditions is n + 1 nodes */
    for (unsigned n = PV__FILTER_NODES_MAX - 1; n <= PV__FILTER_NODES_MAX; n++) {
        pv__buf_clear(&text);
        pv__buf_add_text(&text, "{\"$or\":[");
        for (unsigned i = 0; i < n; i++) {
            char one[32];
            snprintf(one, sizeof one, "%s{\"a\":%u}", i ? "," : "", i);
            pv__buf_add_text(&text, one);
        }
        pv__buf_add_text(&text, "]}");
        int rc = pv__filter_compile(&t_mem, (const char *)text.data, text.len, &filter, &err);
        if (n < PV__FILTER_NODES_MAX) {
            assert_int_equal(rc, 0);
            t_doc(&doc, "{\"a\":4094}");
            assert_true(pv__filter_match(filter, doc.data, doc.len));
            t_doc(&doc, "{\"a\":4095}");
            assert_false(pv__filter_match(filter, doc.data, doc.len));
            pv__filter_free(filter);
        } else {
            assert_int_equal(rc, PV_ERR_LIMIT);
            assert_string_equal(err.message, "filter: more than 4096 conditions");
        }
    }
    /* a long list is one condition */
    pv__buf_clear(&text);
    pv__buf_add_text(&text, "{\"a\":{\"$in\":[");
    for (unsigned i = 60000; i > 0; i--) {
        char one[32];
        snprintf(one, sizeof one, "%u,", i * 3);
        pv__buf_add_text(&text, one);
    }
    pv__buf_add_text(&text, "\"end\"]}}");
    assert_int_equal(pv__filter_compile(&t_mem, (const char *)text.data, text.len, &filter, &err),
                     0);
    t_doc(&doc, "{\"a\":90000}");
    assert_true(pv__filter_match(filter, doc.data, doc.len));
    t_doc(&doc, "{\"a\":90001}");
    assert_false(pv__filter_match(filter, doc.data, doc.len));
    pv__filter_free(filter);
    /* text beyond the limit is not even read */
    pv__buf_clear(&text);
    while (text.len <= PV__FILTER_BYTES_MAX) {
        pv__buf_add_text(&text, "                ");
    }
    assert_int_equal(pv__filter_compile(&t_mem, (const char *)text.data, text.len, &filter, &err),
                     PV_ERR_LIMIT);
    pv__buf_done(&text);
    pv__buf_done(&doc);
}

static void test_filter__every_allocation_may_fail(void **state) {
    (void)state;
    static const char json[] =
        "{\"$or\":[{\"a.b.c\":{\"$gt\":1,\"$lt\":5}},{\"x\":{\"$in\":[5,4,3,\"two\",[1]]}},"
        "{\"$not\":{\"y\":{\"$exists\":true}}}],\"z\":{\"$not\":{\"$nin\":[1,2,3]}},"
        "\"w\":\"\\u00e9scaped\"}";
    for (unsigned forever = 0; forever < 2; forever++) {
        bool passed = false;
        for (uint64_t at = 1; !passed && at < 500; at++) {
            pv__mem mem;
            pv__filter *filter = NULL;
            pv_error err = PV_ERROR_INIT;
            pv__mem_init(&mem, NULL, 0);
            mem.fail_at = at;
            mem.fail_forever = forever;
            int rc = pv__filter_compile(&mem, json, sizeof json - 1, &filter, &err);
            assert_true(rc == 0 || rc == PV_ERR_NOMEM);
            assert_int_equal(rc == 0, filter != NULL);
            assert_int_equal(err.code, rc);
            passed = rc == 0 && mem.calls < at;
            pv__filter_free(filter);
            assert_int_equal(mem.bytes_used, 0);
        }
        assert_true(passed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filter__empty_matches_all),
        cmocka_unit_test(test_filter__eq_compares_whole_values),
        cmocka_unit_test(test_filter__missing_reads_as_null),
        cmocka_unit_test(test_filter__exists_tells_missing_from_null),
        cmocka_unit_test(test_filter__order_stays_inside_a_class),
        cmocka_unit_test(test_filter__in_takes_any_of_the_list),
        cmocka_unit_test(test_filter__logic),
        cmocka_unit_test(test_filter__paths_reach_inside),
        cmocka_unit_test(test_filter__unknown_operators_are_named),
        cmocka_unit_test(test_filter__misplaced_operators_are_refused),
        cmocka_unit_test(test_filter__wrong_operands_are_refused),
        cmocka_unit_test(test_filter__bad_text_is_refused_with_its_place),
        cmocka_unit_test(test_filter__depth_is_limited),
        cmocka_unit_test(test_filter__conditions_and_text_are_limited),
        cmocka_unit_test(test_filter__every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, t_setup, t_teardown);
}
