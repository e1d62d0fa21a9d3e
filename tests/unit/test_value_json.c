/* SPDX-License-Identifier: Apache-2.0 */
/* test_value_json.c - JSON text in and out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "test_value_random.h"
#include "value/compare.h"

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

/* Text in, text out. The input is an exact copy on the heap, so that one byte too far is seen. */
static void t_becomes(const char *json, size_t len, const char *want) {
    pv__buf doc, text;
    pv_error err = PV_ERROR_INIT;
    char *copy = (char *)malloc(len + (len == 0));
    assert_non_null(copy);
    memcpy(copy, json, len);
    pv__buf_init(&doc, &t_mem);
    pv__buf_init(&text, &t_mem);
    if (t_read(copy, len, &doc, &err)) {
        fail_msg("%.*s: %s", (int)len, json, err.message);
    }
    assert_int_equal(pv__doc_check(doc.data, doc.len, &err), 0);
    pv__json_write(&text, pv__doc_root(doc.data, doc.len));
    pv__buf_add_u8(&text, 0);
    assert_int_equal(pv__buf_check(&text, &err), 0);
    assert_string_equal((const char *)text.data, want);
    pv__buf_done(&doc);
    pv__buf_done(&text);
    free(copy);
}
#define T_BECOMES(json, want) t_becomes(json, sizeof(json) - 1, want)

static void test_json__text_becomes_canonical(void **state) {
    (void)state;
    T_BECOMES(" \t\r\n null \n", "null");
    T_BECOMES("[ ]", "[]");
    T_BECOMES("{ }", "{}");
    T_BECOMES("[1, 2 ,[3 , {} ]]", "[1,2,[3,{}]]");
    T_BECOMES("{\"b\":1,\"a\":{\"d\":[],\"c\":false}}", "{\"a\":{\"c\":false,\"d\":[]},\"b\":1}");
    T_BECOMES("{\"aa\":1,\"a\":2,\"\":3,\"B\":4}", "{\"\":3,\"B\":4,\"a\":2,\"aa\":1}");
    T_BECOMES("\"\\u0041\\/\\b\\f\\n\\r\\t\\\"\\\\\"", "\"A/\\b\\f\\n\\r\\t\\\"\\\\\"");
    T_BECOMES("\"\\u0000\\u001F\\u007f\"", "\"\\u0000\\u001f\x7F\"");
    T_BECOMES("\"\\u00E9\\u20ac\\uD83D\\uDE00\\uFFFF\"",
              "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xEF\xBF\xBF\"");
    T_BECOMES("\"\\uDBFF\\uDFFF\\ud800\\udc00\"", "\"\xF4\x8F\xBF\xBF\xF0\x90\x80\x80\"");
    T_BECOMES("{\"\\u0061\\u0000\":1}", "{\"a\\u0000\":1}");
}

static void test_json__numbers_keep_value_and_type(void **state) {
    (void)state;
    T_BECOMES("0", "0");
    T_BECOMES("-0", "0");
    T_BECOMES("-0.0", "-0.0");
    T_BECOMES("0.0", "0.0");
    T_BECOMES("1.0", "1.0");
    T_BECOMES("1e0", "1.0");
    T_BECOMES("100", "100");
    T_BECOMES("1E2", "100.0");
    T_BECOMES("9223372036854775807", "9223372036854775807");
    T_BECOMES("-9223372036854775808", "-9223372036854775808");
    T_BECOMES("9007199254740993", "9007199254740993");
    T_BECOMES("0.1", "0.1");
    T_BECOMES("0.30000000000000004", "0.30000000000000004");
    T_BECOMES("0.1000000000000000055511151231257827", "0.1");
    T_BECOMES("1e-400", "0.0");
    T_BECOMES("-1e-400", "-0.0");
    /* Spellings are str.h's; here they only have to come back the same. */
    static const char *const same[] = {"9223372036854775808", "1e300", "5e-324",
                                       "1.7976931348623157e308", "123456789012345678901234567890"};
    for (size_t i = 0; i < PV_COUNTOF(same); i++) {
        pv__buf doc, text, again;
        pv_error err = PV_ERROR_INIT;
        pv__buf_init(&doc, &t_mem);
        pv__buf_init(&text, &t_mem);
        pv__buf_init(&again, &t_mem);
        assert_int_equal(t_read(same[i], strlen(same[i]), &doc, &err), 0);
        assert_int_equal(doc.data[0], PV__VALUE_DOUBLE);
        assert_true(pv__value_double(pv__doc_root(doc.data, doc.len)) == strtod(same[i], NULL));
        pv__json_write(&text, pv__doc_root(doc.data, doc.len));
        assert_int_equal(t_read((const char *)text.data, text.len, &again, &err), 0);
        assert_int_equal(again.len, doc.len);
        assert_memory_equal(again.data, doc.data, doc.len);
        pv__buf_done(&doc);
        pv__buf_done(&text);
        pv__buf_done(&again);
    }
}

static void t_refused(const char *json, size_t len, uint64_t offset, const char *message) {
    pv__buf doc;
    pv_error err = PV_ERROR_INIT;
    char *copy = (char *)malloc(len + (len == 0));
    assert_non_null(copy);
    memcpy(copy, json, len);
    pv__buf_init(&doc, &t_mem);
    pv__buf_add_text(&doc, "before");
    int rc = t_read(copy, len, &doc, &err);
    if (rc != PV_ERR_FORMAT || err.offset != offset || strcmp(err.message, message) != 0) {
        fail_msg("%s: %d offset %llu '%s'", json, rc, (unsigned long long)err.offset, err.message);
    }
    assert_int_equal(doc.len, 6);
    assert_int_equal(t_read(copy, len, &doc, NULL), PV_ERR_FORMAT);
    pv__buf_done(&doc);
    free(copy);
}
#define T_REFUSED(json, offset, message)                                                           \
    t_refused(json, sizeof(json) - 1, offset, "metadata: " message)

static void test_json__grammar_is_strict(void **state) {
    (void)state;
    T_REFUSED("", 0, "expected a value at byte 0");
    T_REFUSED("   ", 3, "expected a value at byte 3");
    T_REFUSED("\xEF\xBB\xBF{}", 0, "expected a value at byte 0");
    T_REFUSED("nul", 0, "expected a value at byte 0");
    T_REFUSED("True", 0, "expected a value at byte 0");
    T_REFUSED("NaN", 0, "expected a value at byte 0");
    T_REFUSED("'a'", 0, "expected a value at byte 0");
    T_REFUSED("// a\n1", 0, "expected a value at byte 0");
    T_REFUSED("nulll", 4, "unexpected text after the value at byte 4");
    T_REFUSED("{} {}", 3, "unexpected text after the value at byte 3");
    T_REFUSED("1,", 1, "unexpected text after the value at byte 1");
    T_REFUSED("1\0", 1, "unexpected text after the value at byte 1");
    T_REFUSED("[", 1, "expected a value at byte 1");
    T_REFUSED("[1", 2, "expected ',' or ']' at byte 2");
    T_REFUSED("[1,]", 3, "expected a value at byte 3");
    T_REFUSED("[,1]", 1, "expected a value at byte 1");
    T_REFUSED("[1 2]", 3, "expected ',' or ']' at byte 3");
    T_REFUSED("[1}", 2, "expected ',' or ']' at byte 2");
    T_REFUSED("]", 0, "expected a value at byte 0");
    T_REFUSED("{", 1, "expected a key or '}' at byte 1");
    T_REFUSED("{a:1}", 1, "expected a key or '}' at byte 1");
    T_REFUSED("{\"a\"", 4, "expected ':' at byte 4");
    T_REFUSED("{\"published\": 1, \"a\" 2}", 21, "expected ':' at byte 21");
    T_REFUSED("{\"a\":}", 5, "expected a value at byte 5");
    T_REFUSED("{\"a\":1", 6, "expected ',' or '}' at byte 6");
    T_REFUSED("{\"a\":1,}", 7, "expected a key at byte 7");
    T_REFUSED("{\"a\":1]", 6, "expected ',' or '}' at byte 6");
    T_REFUSED("{\"a\":1 \"b\":2}", 7, "expected ',' or '}' at byte 7");
    T_REFUSED("{1:1}", 1, "expected a key or '}' at byte 1");
}

/* Strings are looked through eight bytes at a time: whatever ends or spoils one is seen at every
 * place, and nothing behind it is. */
static void test_json__strings_end_where_they_end(void **state) {
    (void)state;
    for (size_t n = 0; n < 40; n++) {
        for (size_t at = 0; at <= n; at++) {
            char text[64], want[64], message[80];
            memset(text, 'x', sizeof text);
            text[0] = text[n + 1] = '"';
            memcpy(want, text, n + 2);
            want[n + 2] = 0;
            t_becomes(text, n + 2, want);
            if (at == n) {
                continue;
            }
            text[1 + at] = (char)(at * 7 % 32); /* a control character; 0 as well */
            (void)snprintf(message, sizeof message,
                           "metadata: control character in a string at byte %zu", at + 1);
            t_refused(text, n + 2, at + 1, message);
            text[1 + at] = (char)0x80;
            (void)snprintf(message, sizeof message, "metadata: invalid UTF-8 at byte %zu", at + 1);
            t_refused(text, n + 2, at + 1, message);
            text[1 + at] = '"'; /* ends here, whatever stands behind */
            text[n + 1] = (char)0x80;
            (void)snprintf(message, sizeof message,
                           "metadata: unexpected text after the value at byte %zu", at + 2);
            t_refused(text, n + 2, at + 2, message);
            text[n + 1] = '"';
            if (at + 1 < n) {
                text[1 + at] = '\\';
                text[2 + at] = 'n';
                memcpy(want, text, n + 2);
                t_becomes(text, n + 2, want);
            }
        }
    }
}

static void test_json__bad_numbers_are_refused(void **state) {
    (void)state;
    T_REFUSED("-", 1, "expected a digit at byte 1");
    T_REFUSED("+1", 0, "expected a value at byte 0");
    T_REFUSED("01", 1, "unexpected text after the value at byte 1");
    T_REFUSED("-01", 2, "unexpected text after the value at byte 2");
    T_REFUSED("1.", 2, "expected a digit at byte 2");
    T_REFUSED("1.e5", 2, "expected a digit at byte 2");
    T_REFUSED(".5", 0, "expected a value at byte 0");
    T_REFUSED("1e", 2, "expected a digit at byte 2");
    T_REFUSED("1e+", 3, "expected a digit at byte 3");
    T_REFUSED("0x10", 1, "unexpected text after the value at byte 1");
    T_REFUSED("1_000", 1, "unexpected text after the value at byte 1");
    T_REFUSED("-Infinity", 1, "expected a digit at byte 1");
    T_REFUSED("[1e309]", 1, "number out of range at byte 1");
    T_REFUSED("[0, -1e999999999999]", 4, "number out of range at byte 4");
}

static void test_json__bad_strings_are_refused(void **state) {
    (void)state;
    T_REFUSED("\"", 1, "unterminated string at byte 1");
    T_REFUSED("\"abc", 4, "unterminated string at byte 4");
    T_REFUSED("\"abc\\", 5, "unterminated string at byte 5");
    T_REFUSED("\"abc\\\"", 6, "unterminated string at byte 6");
    T_REFUSED("\"a\nb\"", 2, "control character in a string at byte 2");
    T_REFUSED("\"a\0b\"", 2, "control character in a string at byte 2");
    T_REFUSED("\"\\x\"", 1, "unknown escape at byte 1");
    T_REFUSED("\"\\\0\"", 1, "unknown escape at byte 1");
    T_REFUSED("\"\\U0041\"", 1, "unknown escape at byte 1");
    T_REFUSED("\"\\u12\"", 1, "\\u without four hexadecimal digits at byte 1");
    T_REFUSED("\"\\u12g4\"", 1, "\\u without four hexadecimal digits at byte 1");
    T_REFUSED("\"\\u123", 1, "\\u without four hexadecimal digits at byte 1");
    T_REFUSED("\"ab\\uD800\"", 3, "lone surrogate at byte 3");
    T_REFUSED("\"\\uD800\\n\"", 1, "lone surrogate at byte 1");
    T_REFUSED("\"\\uD800\\uD800\"", 1, "lone surrogate at byte 1");
    T_REFUSED("\"\\uD800\\u\"", 1, "lone surrogate at byte 1");
    T_REFUSED("\"\\uDC00\\uD800\"", 1, "lone surrogate at byte 1");
    T_REFUSED("\"ab\xFF\"", 3, "invalid UTF-8 at byte 3");
    T_REFUSED("\"\\n\xC0\x80\"", 3, "invalid UTF-8 at byte 3");
    T_REFUSED("\"\xED\xA0\x80\"", 1, "invalid UTF-8 at byte 1");
    T_REFUSED("\"\xF4\x90\x80\x80\"", 1, "invalid UTF-8 at byte 1");
    T_REFUSED("\"\xE2\x82\"", 1, "invalid UTF-8 at byte 1");
    T_REFUSED("{\"\xE2\x82\":1}", 2, "invalid UTF-8 at byte 2");
}

static void test_json__duplicate_keys_are_refused(void **state) {
    (void)state;
    T_REFUSED("{\"a\":1,\"a\":1}", 7, "duplicate key 'a' at byte 7");
    T_REFUSED("{\"a\":1,\"b\":2,\"\\u0061\":1}", 13, "duplicate key 'a' at byte 13");
    T_REFUSED("{\"b\":0,\"c\":1,\"c\":2,\"b\":3,\"c\":4}", 13, "duplicate key 'c' at byte 13");
    T_REFUSED("[{\"x\":{\"\":1, \"\":1}}]", 13, "duplicate key '' at byte 13");
    T_BECOMES("{\"a\":{\"a\":{\"a\":1}}}", "{\"a\":{\"a\":{\"a\":1}}}"); /* other objects */
    T_BECOMES("[{\"a\":1},{\"a\":1}]", "[{\"a\":1},{\"a\":1}]");
}

static void test_json__an_object_can_be_demanded(void **state) {
    (void)state;
    const pv__json_opts opts = {"metadata", 100, true};
    pv__buf doc;
    pv_error err = PV_ERROR_INIT;
    pv__buf_init(&doc, &t_mem);
    assert_int_equal(pv__json_read(&opts, " {}", 3, &doc, &err), 0);
    static const char *const others[] = {"[]", "null", "1", "\"a\"", "true"};
    for (size_t i = 0; i < PV_COUNTOF(others); i++) {
        assert_int_equal(pv__json_read(&opts, others[i], strlen(others[i]), &doc, &err),
                         PV_ERR_FORMAT);
        assert_string_equal(err.message, "metadata: expected an object at byte 0");
    }
    assert_int_equal(doc.len, 2);
    pv__buf_done(&doc);
}

static void test_json__depth_and_size_are_limited(void **state) {
    (void)state;
    pv__buf text, doc;
    pv_error err = PV_ERROR_INIT;
    pv__buf_init(&text, &t_mem);
    pv__buf_init(&doc, &t_mem);
    for (unsigned kind = 0; kind < 2; kind++) {
        for (unsigned depth = PV__JSON_DEPTH_MAX; depth <= PV__JSON_DEPTH_MAX + 1; depth++) {
            const char *open = kind ? "{\"a\":" : "[";
            pv__buf_clear(&text);
            for (unsigned i = 0; i < depth; i++) {
                pv__buf_add_text(&text, i + 1 == depth && kind ? "{" : open);
            }
            for (unsigned i = 0; i < depth; i++) {
                pv__buf_add_u8(&text, kind ? '}' : ']');
            }
            pv__buf_clear(&doc);
            int rc = t_read((const char *)text.data, text.len, &doc, &err);
            if (depth <= PV__JSON_DEPTH_MAX) {
                assert_int_equal(rc, 0);
                assert_int_equal(pv__doc_check(doc.data, doc.len, &err), 0);
            } else {
                assert_int_equal(rc, PV_ERR_LIMIT);
                assert_int_equal(err.offset, PV__JSON_DEPTH_MAX * strlen(open));
                assert_int_equal(doc.len, 0);
            }
        }
    }
    const pv__json_opts opts = {"metadata", 8, false};
    assert_int_equal(pv__json_read(&opts, "[1,2,34]", 8, &doc, &err), 0);
    assert_int_equal(pv__json_read(&opts, "[1,2,345]", 9, &doc, &err), PV_ERR_LIMIT);
    assert_string_equal(err.message, "metadata: 9 bytes of JSON, the limit is 8");
    pv__buf_done(&text);
    pv__buf_done(&doc);
}

/* The largest metadata in its most swollen form stays far below the limit of a document. */
static void test_json__largest_metadata_fits_a_document(void **state) {
    (void)state;
    pv__buf text, doc;
    pv_error err = PV_ERROR_INIT;
    const pv__json_opts opts = {"metadata", PV__METADATA_BYTES_MAX, false};
    pv__buf_init(&text, &t_mem);
    pv__buf_init(&doc, &t_mem);
    pv__buf_add_u8(&text, '[');
    while (text.len + 4 < PV__METADATA_BYTES_MAX) {
        pv__buf_add_text(&text, "1,");
    }
    pv__buf_add_text(&text, "1]");
    assert_int_equal(pv__json_read(&opts, (const char *)text.data, text.len, &doc, &err), 0);
    assert_int_equal(pv__doc_check(doc.data, doc.len, &err), 0);
    assert_true(doc.len < 4 * PV__METADATA_BYTES_MAX);
    pv__buf_done(&text);
    pv__buf_done(&doc);
}

/* Another spelling of the same value: fields in another order, other spaces. */
static void t_respell(t_rng *rng, pv__buf *out, pv__value v) {
    size_t n = pv__value_count(v);
    bool is_object = pv__value_type(v) == PV__VALUE_OBJECT;
    t_space(rng, out);
    if (!is_object && pv__value_type(v) != PV__VALUE_ARRAY) {
        pv__json_write(out, v);
        t_space(rng, out);
        return;
    }
    size_t start = n > 0 ? t_below(rng, (unsigned)n) : 0;
    pv__buf_add_u8(out, is_object ? '{' : '[');
    for (size_t i = 0; i < n; i++) {
        size_t at = is_object ? (start + n - i) % n : i;
        if (i > 0) {
            pv__buf_add_u8(out, ',');
        }
        if (is_object) {
            size_t len;
            const char *key = pv__value_key(v, at, &len);
            pv__buf_add_u8(out, '"');
            for (size_t k = 0; k < len; k++) { /* escape every ASCII byte in full */
                char hex[8];
                if ((unsigned char)key[k] < 0x80) {
                    snprintf(hex, sizeof hex, "\\u%04X", (unsigned)key[k]);
                    pv__buf_add_text(out, hex);
                } else {
                    pv__buf_add_u8(out, (uint8_t)key[k]);
                }
            }
            pv__buf_add_text(out, "\" :");
        }
        t_respell(rng, out, pv__value_at(v, at));
    }
    pv__buf_add_u8(out, is_object ? '}' : ']');
    t_space(rng, out);
}

static void test_json__random_documents_round_trip(void **state) {
    (void)state;
    const uint64_t seed = 7741;
    print_message("seed %llu\n", (unsigned long long)seed);
    t_rng rng = {seed};
    pv__buf text, doc, other, again;
    pv_error err = PV_ERROR_INIT;
    pv__buf_init(&text, &t_mem);
    pv__buf_init(&doc, &t_mem);
    pv__buf_init(&other, &t_mem);
    pv__buf_init(&again, &t_mem);
    for (unsigned round = 0; round < 4000; round++) {
        pv__buf_clear(&text);
        pv__buf_clear(&doc);
        pv__buf_clear(&other);
        pv__buf_clear(&again);
        t_random_json(&rng, &text, t_below(&rng, 6));
        if (t_read((const char *)text.data, text.len, &doc, &err)) {
            fail_msg("round %u: %s", round, err.message);
        }
        assert_int_equal(pv__doc_check(doc.data, doc.len, &err), 0);
        pv__value v = pv__doc_root(doc.data, doc.len);
        if (round % 2) {
            pv__json_write(&other, v);
        } else {
            t_respell(&rng, &other, v);
        }
        assert_int_equal(t_read((const char *)other.data, other.len, &again, &err), 0);
        assert_int_equal(again.len, doc.len); /* equal values, equal bytes */
        assert_memory_equal(again.data, doc.data, doc.len);
        assert_int_equal(pv__value_compare(v, pv__doc_root(again.data, again.len)), 0);
    }
    pv__buf_done(&text);
    pv__buf_done(&doc);
    pv__buf_done(&other);
    pv__buf_done(&again);
}

/* Random damage to random texts: an answer, and a document only when it is a good one. */
static void test_json__mutated_texts_never_make_a_bad_document(void **state) {
    (void)state;
    const uint64_t seed = 90210;
    print_message("seed %llu\n", (unsigned long long)seed);
    t_rng rng = {seed};
    pv__buf text, doc;
    pv_error err = PV_ERROR_INIT;
    pv__buf_init(&text, &t_mem);
    pv__buf_init(&doc, &t_mem);
    unsigned accepted = 0, refused = 0;
    for (unsigned round = 0; round < 12000; round++) {
        static const char marks[] = "{}[],:\"\\u0-1.e\x80\n";
        pv__buf_clear(&text);
        pv__buf_clear(&doc);
        t_random_json(&rng, &text, t_below(&rng, 4));
        for (unsigned m = t_below(&rng, 3); m > 0; m--) {
            text.data[t_below(&rng, (unsigned)text.len)] =
                (uint8_t)marks[t_below(&rng, sizeof marks)];
        }
        size_t len = t_below(&rng, 8) ? text.len : t_below(&rng, (unsigned)text.len + 1);
        char *copy = (char *)malloc(len + (len == 0));
        assert_non_null(copy);
        memcpy(copy, text.data, len);
        int rc = t_read(copy, len, &doc, &err);
        if (rc == 0) {
            accepted++;
            assert_int_equal(pv__doc_check(doc.data, doc.len, &err), 0);
        } else {
            refused++;
            assert_int_equal(rc, PV_ERR_FORMAT);
            assert_true(err.offset <= len);
            assert_int_equal(doc.len, 0);
        }
        free(copy);
    }
    print_message("%u accepted, %u refused\n", accepted, refused);
    assert_true(accepted > 500 && refused > 500);
    pv__buf_done(&text);
    pv__buf_done(&doc);
}

static void test_json__every_allocation_may_fail(void **state) {
    (void)state;
    static const char json[] =
        "{\"zz\":[1,2.5,\"\\u00e9\\n and more than a few bytes of text so that buffers grow\"],"
        "\"k1\":{\"b\":[[],[1,2,3,4,5,6,7,8,9,10]],\"a\":\"\\t\"},\"k0\":0,\"ka\":1,\"kb\":2,"
        "\"kc\":3,\"kd\":4,\"ke\":5,\"kf\":6,\"kg\":7,\"kh\":8,\"ki\":9}";
    for (unsigned forever = 0; forever < 2; forever++) {
        bool passed = false;
        for (uint64_t at = 1; !passed && at < 200; at++) {
            pv__mem mem;
            pv__buf doc, text;
            pv_error err = PV_ERROR_INIT;
            pv__mem_init(&mem, NULL, 0);
            mem.fail_at = at;
            mem.fail_forever = forever;
            pv__buf_init(&doc, &mem);
            pv__buf_init(&text, &mem);
            int rc = t_read(json, sizeof json - 1, &doc, &err);
            assert_true(rc == 0 || rc == PV_ERR_NOMEM);
            if (rc == 0) {
                pv__json_write(&text, pv__doc_root(doc.data, doc.len));
                rc = pv__buf_check(&text, &err);
            } else {
                assert_int_equal(doc.len, 0);
                assert_false(doc.failed);
                assert_int_equal(err.code, PV_ERR_NOMEM);
            }
            passed = rc == 0 && mem.calls < at;
            pv__buf_done(&doc);
            pv__buf_done(&text);
            assert_int_equal(mem.bytes_used, 0);
        }
        assert_true(passed);
    }
}

static void test_json__events_come_one_by_one(void **state) {
    (void)state;
    static const char json[] = " {\"v\" : [1, -2.5, \"x\\ty\"], \"e\":{}, \"t\":[true,null] } ";
    static const struct {
        unsigned event;
        size_t at;
    } want[] = {
        {PV__JSON_OBJECT, 1},      {PV__JSON_KEY, 2},     {PV__JSON_ARRAY, 8},
        {PV__JSON_INT, 9},         {PV__JSON_DOUBLE, 12}, {PV__JSON_STRING, 18},
        {PV__JSON_ARRAY_END, 24},  {PV__JSON_KEY, 27},    {PV__JSON_OBJECT, 31},
        {PV__JSON_OBJECT_END, 32}, {PV__JSON_KEY, 35},    {PV__JSON_ARRAY, 39},
        {PV__JSON_TRUE, 40},       {PV__JSON_NULL, 45},   {PV__JSON_ARRAY_END, 49},
        {PV__JSON_OBJECT_END, 51}, {PV__JSON_END, 53},
    };
    pv__json j;
    pv_error err = PV_ERROR_INIT;
    pv__json_init(&j, &t_mem, "vector", json, sizeof json - 1);
    for (size_t i = 0; i < PV_COUNTOF(want); i++) {
        assert_int_equal(pv__json_next(&j, &err), 0);
        assert_int_equal(j.event, want[i].event);
        assert_int_equal(j.at, want[i].at);
        if (j.event == PV__JSON_INT) {
            assert_int_equal(j.number_int, 1);
            assert_true(j.number_double == 1.0);
        } else if (j.event == PV__JSON_DOUBLE) {
            assert_true(j.number_double == -2.5);
        } else if (j.event == PV__JSON_STRING) {
            assert_int_equal(j.str_len, 3);
            assert_memory_equal(j.str, "x\ty", 3);
        }
    }
    assert_int_equal(pv__json_next(&j, &err), 0); /* the end stays the end */
    assert_int_equal(j.event, PV__JSON_END);
    pv__json_done(&j);
}

static void test_json__no_value_writes_null(void **state) {
    (void)state;
    pv__buf text;
    pv__buf_init(&text, &t_mem);
    pv__json_write(&text, (pv__value){NULL, 0});
    assert_int_equal(text.len, 4);
    assert_memory_equal(text.data, "null", 4);
    pv__buf_done(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json__text_becomes_canonical),
        cmocka_unit_test(test_json__numbers_keep_value_and_type),
        cmocka_unit_test(test_json__grammar_is_strict),
        cmocka_unit_test(test_json__strings_end_where_they_end),
        cmocka_unit_test(test_json__bad_numbers_are_refused),
        cmocka_unit_test(test_json__bad_strings_are_refused),
        cmocka_unit_test(test_json__duplicate_keys_are_refused),
        cmocka_unit_test(test_json__an_object_can_be_demanded),
        cmocka_unit_test(test_json__depth_and_size_are_limited),
        cmocka_unit_test(test_json__largest_metadata_fits_a_document),
        cmocka_unit_test(test_json__random_documents_round_trip),
        cmocka_unit_test(test_json__mutated_texts_never_make_a_bad_document),
        cmocka_unit_test(test_json__every_allocation_may_fail),
        cmocka_unit_test(test_json__events_come_one_by_one),
        cmocka_unit_test(test_json__no_value_writes_null),
    };
    return cmocka_run_group_tests(tests, t_setup, t_teardown);
}
