/* SPDX-License-Identifier: Apache-2.0 */
/* test_value_flat.c - the short way from text to document makes what the long way makes, or says
 * no. The long way of a text T is that of [T], whose only element it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "test_value_random.h"

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

/* Whether the short way takes a text; what it makes is compared. An exact copy of the text on the
 * heap shows bytes read too far. */
static bool t_flat(const uint8_t *json, size_t len) {
    static const pv__json_opts opts = {"metadata", PV__DOC_BYTES_MAX, false};
    pv__buf flat, array, text;
    pv_error err = PV_ERROR_INIT;
    char *copy = (char *)malloc(len + (len == 0));
    assert_non_null(copy);
    memcpy(copy, json, len);
    pv__buf_init(&flat, &t_mem);
    pv__buf_init(&array, &t_mem);
    pv__buf_init(&text, &t_mem);
    pv__buf_add_text(&flat, "before");
    const bool taken = pv__json_flat(copy, len, &flat);
    pv__buf_add_u8(&text, '[');
    pv__buf_add(&text, json, len);
    pv__buf_add_u8(&text, ']');
    const int rc = pv__json_read(&opts, (const char *)text.data, text.len, &array, &err);
    if (taken) {
        if (rc != 0) {
            fail_msg("%.*s is taken, but: %s", (int)len, copy, err.message);
        }
        const pv__value v = pv__doc_root(array.data, array.len);
        assert_int_equal(pv__value_count(v), 1);
        const pv__value want = pv__value_at(v, 0);
        assert_int_equal(flat.len, 6 + want.size);
        assert_memory_equal(flat.data + 6, want.data, want.size);
        assert_int_equal(pv__doc_check(flat.data + 6, want.size, &err), 0);
    } else {
        assert_int_equal(flat.len, 6);
        assert_false(flat.failed);
    }
    pv__buf_done(&flat);
    pv__buf_done(&array);
    pv__buf_done(&text);
    free(copy);
    return taken;
}
#define T_TAKEN(json) assert_true(t_flat((const uint8_t *)(json), sizeof(json) - 1))
#define T_LEFT(json) assert_false(t_flat((const uint8_t *)(json), sizeof(json) - 1))

static void test_flat__takes_what_is_usual(void **state) {
    (void)state;
    T_TAKEN("{\"n\":1}");
    T_TAKEN(" {\"n\" : 1 , \"a\"\n:\t\"x\" , \"b\":null}\r\n");
    T_TAKEN("{\"t\":true,\"f\":false,\"n\":null,\"s\":\"\",\"\":\"e\"}");
    T_TAKEN("{\"a\":0,\"b\":-0,\"c\":-1,\"d\":127,\"e\":128,\"f\":-128,\"g\":-129,\"h\":32768}");
    T_TAKEN("{\"a\":999999999999999999,\"b\":-999999999999999999,\"c\":1234567890123456789}");
    T_TAKEN("{\"a\":9223372036854775807,\"b\":-9223372036854775808,\"c\":9223372036854775808}");
    T_TAKEN("{\"a\":0.5,\"b\":-0.0,\"c\":0.1,\"d\":1e10,\"e\":12E-3,\"f\":1e-400}");
    T_TAKEN("{\"lang\":\"\xC3\xA9t\xC3\xA9\",\"\xE2\x82\xAC\":5,\"s\":\"\xF0\x9F\x98\x80\"}");
    T_TAKEN("{\"aa\":1,\"a\":2,\"B\":4,\"longer than eight 2\":5,\"longer than eight\":6,"
            "\"longer than eight 1\":7,\"longer t\":8,\"longer \":9}");
}

static void test_flat__leaves_the_rest(void **state) {
    (void)state;
    T_LEFT("");
    T_LEFT("{}");
    T_LEFT("[]");
    T_LEFT("1");
    T_LEFT("{\"a\":{}}");
    T_LEFT("{\"a\":[]}");
    T_LEFT("{\"a\":\"\\n\"}");
    T_LEFT("{\"\\u0061\":1}");
    T_LEFT("{\"a\":1,\"a\":2}");
    T_LEFT("{\"a\":1,\"b\":0,\"a\":2}");
    T_LEFT("{\"longer than eight\":1,\"longer than eight\":2}");
    T_LEFT("{\"a\":1}x");
    T_LEFT("{\"a\":1,}");
    T_LEFT("{\"a\":1");
    T_LEFT("{\"a\":");
    T_LEFT("{\"a\"");
    T_LEFT("{\"a");
    T_LEFT("{");
    T_LEFT("{\"a\":01}");
    T_LEFT("{\"a\":-}");
    T_LEFT("{\"a\":-");
    T_LEFT("{\"a\":1.}");
    T_LEFT("{\"a\":1e}");
    T_LEFT("{\"a\":1e309}");
    T_LEFT("{\"a\":tru}");
    T_LEFT("{\"a\":nul");
    T_LEFT("{\"a\":\"\x80\"}");
    T_LEFT("{\"\xC3\":1}");
    T_LEFT("{\"a\":\"\n\"}");
    T_LEFT("{\"a\":\"\0\"}");
    T_LEFT("{\"a\":\"\x1F\"}");
}

/* What ends or spoils a string is seen at every place, however much stands before and behind. */
static void test_flat__strings_end_where_they_end(void **state) {
    (void)state;
    static const char spoil[] = {0, '\n', 0x1F, '\\', (char)0x80, (char)0xFF, '"'};
    for (size_t n = 0; n < 70; n++) {
        for (size_t tail = 0; tail < 24; tail++) {
            char text[128];
            size_t len = 0;
            memcpy(text, "{\"k\":\"", 6);
            memset(text + 6, 'x', n);
            len = 6 + n;
            text[len++] = '"';
            memset(text + len, ' ', tail);
            len += tail;
            text[len++] = '}';
            assert_true(t_flat((const uint8_t *)text, len));
            for (size_t at = 0; at < n; at++) {
                const char was = text[6 + at];
                text[6 + at] = spoil[(at + n + tail) % sizeof spoil];
                assert_false(t_flat((const uint8_t *)text, len));
                text[6 + at] = was;
            }
            if (n >= 2) { /* two bytes that are one character */
                memcpy(text + 6 + (n + tail) % (n - 1), "\xC3\xA9", 2);
                assert_true(t_flat((const uint8_t *)text, len));
            }
        }
    }
}

static void test_flat__many_members_in_any_order(void **state) {
    (void)state;
    const uint64_t seed = 4711;
    print_message("seed %llu\n", (unsigned long long)seed);
    t_rng rng = {seed};
    pv__buf text;
    pv__buf_init(&text, &t_mem);
    for (unsigned count = 1; count < 40; count++) {
        for (unsigned round = 0; round < 40; round++) {
            const unsigned step = 1 + t_below(&rng, 4096) * 2, first = t_below(&rng, 8192);
            const unsigned value = t_below(&rng, 3) ? 3 : 40 + t_below(&rng, 300);
            pv__buf_clear(&text);
            for (unsigned i = 0; i < count; i++) {
                char member[64];
                snprintf(member, sizeof member, "%s\"%s%u\":\"", i ? "," : "{",
                         t_below(&rng, 2) ? "k" : "a longer key ", (first + i * step) % 8192);
                pv__buf_add_text(&text, member);
                for (unsigned k = 0; k < value; k++) {
                    pv__buf_add_u8(&text, (uint8_t)('a' + k % 26));
                }
                pv__buf_add_u8(&text, '"');
            }
            pv__buf_add_u8(&text, '}');
            assert_int_equal(t_flat(text.data, text.len), count <= 32 && text.len <= 16384);
        }
    }
    pv__buf_done(&text);
}

/* An object of plain members; now and then something that is not plain. */
static void t_random_flat(t_rng *rng, pv__buf *out) {
    static const char *const words[] = {"null", "true", "false", "\"\"", "\"caf\xC3\xA9 au lait\""};
    static const char *const keys[] = {"a", "year", "a key of some length ", "\xE2\x82\xAC", ""};
    const unsigned n = 1 + t_below(rng, 7), first = t_below(rng, 1000);
    t_space(rng, out);
    pv__buf_add_u8(out, '{');
    for (unsigned i = 0; i < n; i++) {
        char key[64];
        snprintf(key, sizeof key, "%s\"%s%u\"", i > 0 ? "," : "", keys[t_below(rng, 5)],
                 (first + i * 7) % 1000);
        pv__buf_add_text(out, key);
        t_space(rng, out);
        pv__buf_add_u8(out, ':');
        t_space(rng, out);
        if (t_below(rng, 2)) {
            t_random_number(rng, out);
        } else if (t_below(rng, 12)) {
            pv__buf_add_text(out, words[t_below(rng, 5)]);
        } else {
            t_random_json(rng, out, 1);
        }
        t_space(rng, out);
    }
    pv__buf_add_u8(out, '}');
    t_space(rng, out);
}

static void test_flat__random_texts_and_damaged_ones(void **state) {
    (void)state;
    const uint64_t seed = 60486;
    print_message("seed %llu\n", (unsigned long long)seed);
    t_rng rng = {seed};
    pv__buf text;
    pv__buf_init(&text, &t_mem);
    unsigned taken = 0, left = 0;
    for (unsigned round = 0; round < 20000; round++) {
        static const char marks[] = "{}[],:\"\\u0-1.e\x80\n t";
        pv__buf_clear(&text);
        t_random_flat(&rng, &text);
        for (unsigned m = t_below(&rng, 3); m > 0; m--) {
            text.data[t_below(&rng, (unsigned)text.len)] =
                (uint8_t)marks[t_below(&rng, sizeof marks)];
        }
        const size_t len = t_below(&rng, 8) ? text.len : t_below(&rng, (unsigned)text.len + 1);
        if (t_flat(text.data, len)) {
            taken++;
        } else {
            left++;
        }
    }
    print_message("%u taken, %u left\n", taken, left);
    assert_true(taken > 3000 && left > 3000);
    pv__buf_done(&text);
}

/* Without memory it says no and leaves the buffer in order. */
static void test_flat__without_memory(void **state) {
    (void)state;
    static const char json[] = "{\"a\":1,\"b\":\"text\"}";
    pv__mem mem;
    pv__buf out;
    pv__mem_init(&mem, NULL, 0);
    mem.fail_at = 1;
    pv__buf_init(&out, &mem);
    assert_false(pv__json_flat(json, sizeof json - 1, &out));
    assert_false(out.failed);
    assert_int_equal(out.len, 0);
    assert_true(pv__json_flat(json, sizeof json - 1, &out));
    pv__buf_done(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flat__takes_what_is_usual),
        cmocka_unit_test(test_flat__leaves_the_rest),
        cmocka_unit_test(test_flat__strings_end_where_they_end),
        cmocka_unit_test(test_flat__many_members_in_any_order),
        cmocka_unit_test(test_flat__random_texts_and_damaged_ones),
        cmocka_unit_test(test_flat__without_memory),
    };
    return cmocka_run_group_tests(tests, t_setup, t_teardown);
}
