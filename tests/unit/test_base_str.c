/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of base/str.h (numbers and UTF-8). glibc's strtod and printf, which are exact, are
 * the reference; the tests run in the "C" locale. */
#include "support/test_support.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"

static uint64_t t_bits(double v) {
    uint64_t b;
    memcpy(&b, &v, sizeof b);
    return b;
}

static double t_double(uint64_t b) {
    double v;
    memcpy(&v, &b, sizeof v);
    return v;
}

static void t_reads_as_libc(const char *text) {
    double got = 0.0;
    const double want = strtod(text, NULL);
    const bool ok = pv__str_to_double(text, strlen(text), &got);
    if (ok != (isfinite(want) != 0) || (ok && t_bits(got) != t_bits(want))) {
        fail_msg("'%s' gave %d %.17g, wanted %.17g", text, ok, got, want);
    }
}

static void t_double_is_shortest(double v) {
    char out[33];
    char other[64];
    double back = 0.0;
    const size_t n = pv__str_from_double(out, v);
    assert_true(n > 0 && n <= 32);
    out[n] = 0;
    if (t_bits(strtod(out, NULL)) != t_bits(v) || !pv__str_to_double(out, n, &back) ||
        t_bits(back) != t_bits(v)) {
        fail_msg("%.17g was written as '%s'", v, out);
    }
    int digits = 0;
    int zeros = 0;
    for (size_t i = 0; i < n && out[i] != 'e'; i++) {
        if (out[i] >= '1' && out[i] <= '9') {
            digits += zeros + 1;
            zeros = 0;
        } else if (out[i] == '0' && digits > 0) {
            zeros++;
        }
    }
    assert_true(digits <= 17);
    if (digits > 1) { /* the nearest text with one digit less is another number */
        (void)snprintf(other, sizeof other, "%.*e", digits - 2, v);
        assert_true(strtod(other, NULL) != v);
    }
    if (digits == 17) { /* of several with 17 digits the nearest */
        (void)snprintf(other, sizeof other, "%.16e", v);
        assert_true(fabs(strtod(other, NULL) - v) <= fabs(back - v));
    }
}

static void t_float_is_shortest(float v) {
    char out[33];
    char other[64];
    double back = 0.0;
    const size_t n = pv__str_from_float(out, v);
    assert_true(n > 0 && n <= 32);
    out[n] = 0;
    if (strtof(out, NULL) != v || !pv__str_to_double(out, n, &back) || (float)back != v) {
        fail_msg("%.9g was written as '%s'", (double)v, out);
    }
    for (int p = 0; p < 9; p++) {
        (void)snprintf(other, sizeof other, "%.*e", p, (double)v);
        if (strtof(other, NULL) == v && (float)strtod(other, NULL) == v) {
            const size_t digits = strspn(out + (out[0] == '-'), "0.");
            const size_t used = strcspn(out, "e");
            /* at most as many digits as that text has */
            assert_true(used <= digits + (size_t)p + 3 || !strchr(out, '.'));
            break;
        }
    }
}

static void test_str__doubles_have_known_texts(void **state) {
    (void)state;
    static const struct {
        double v;
        const char *text;
    } known[] = {
        {0.0, "0"},
        {-0.0, "-0"},
        {1.0, "1"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {0.3, "0.3"},
        {0.1 + 0.2, "0.30000000000000004"},
        {100.0, "100"},
        {123456789.0, "123456789"},
        {1e20, "100000000000000000000"},
        {1e21, "1e21"},
        {1.5e300, "1.5e300"},
        {0.000001, "0.000001"},
        {0.0000001, "1e-7"},
        {1.25e-7, "1.25e-7"},
        {5e-324, "5e-324"},
        {DBL_MAX, "1.7976931348623157e308"},
        {DBL_MIN, "2.2250738585072014e-308"},
        {9007199254740993.0, "9007199254740992"},
        {123456789012345680.0, "123456789012345680"},
        {4.35, "4.35"},
        {2.2250738585072011e-308, "2.225073858507201e-308"},
        {9.5e-10, "9.5e-10"},
        {5e-7, "5e-7"},
    };
    for (size_t i = 0; i < PV_COUNTOF(known); i++) {
        char out[33];
        out[pv__str_from_double(out, known[i].v)] = 0;
        assert_string_equal(out, known[i].text);
    }
    char out[33];
    out[pv__str_from_float(out, 0.1f)] = 0;
    assert_string_equal(out, "0.1");
    out[pv__str_from_float(out, 16777216.0f)] = 0;
    assert_string_equal(out, "16777216");
    out[pv__str_from_float(out, -FLT_MAX)] = 0;
    assert_string_equal(out, "-3.4028235e38");
    out[pv__str_from_float(out, 1e-45f)] = 0;
    assert_string_equal(out, "1e-45");
    out[pv__str_from_float(out, -0.0f)] = 0;
    assert_string_equal(out, "-0");
}

static void test_str__random_doubles_are_shortest_and_read_back(void **state) {
    (void)state;
    test_rng r;
    test_rng_init(&r, test_seed());
    for (int i = 0; i < 20000; i++) {
        double v = t_double(test_rng_u64(&r));
        if (isfinite(v)) {
            t_double_is_shortest(v);
        }
        t_double_is_shortest((double)(int64_t)test_rng_below(&r, 1u << 30) / 1000.0);
        t_double_is_shortest((double)test_rng_gauss(&r));
        t_double_is_shortest(test_rng_unit(&r) * 1e18);
    }
    for (int e = -1074; e < 1024; e++) { /* powers of two: the gap below is half */
        t_double_is_shortest(ldexp(1.0, e));
        t_double_is_shortest(nextafter(ldexp(1.0, e), 0.0) > 0 ? nextafter(ldexp(1.0, e), 0.0) : 1);
        t_double_is_shortest(nextafter(ldexp(1.0, e), INFINITY));
    }
}

static void test_str__random_floats_are_shortest_and_read_back(void **state) {
    (void)state;
    test_rng r;
    test_rng_init(&r, test_seed());
    for (int i = 0; i < 40000; i++) {
        const uint32_t bits = (uint32_t)test_rng_u64(&r);
        float v;
        memcpy(&v, &bits, sizeof v);
        if (isfinite(v)) {
            t_float_is_shortest(v);
        }
        t_float_is_shortest(test_rng_gauss(&r));
        t_float_is_shortest((float)test_rng_below(&r, 100000) / 1000.0f);
    }
    for (int e = -149; e < 128; e++) {
        t_float_is_shortest(ldexpf(1.0f, e));
        t_float_is_shortest(nextafterf(ldexpf(1.0f, e), INFINITY));
        t_float_is_shortest(nextafterf(ldexpf(1.0f, e), 0.0f));
    }
}

static void test_str__random_texts_read_as_libc_reads_them(void **state) {
    (void)state;
    test_rng r;
    char text[1200];
    test_rng_init(&r, test_seed());
    for (int i = 0; i < 60000; i++) {
        const size_t digits = 1 + test_rng_below(&r, i % 100 == 0 ? 900 : i % 3 == 0 ? 40 : 19);
        size_t n = 0;
        if (test_rng_below(&r, 3) == 0) {
            text[n++] = test_rng_below(&r, 2) ? '-' : '+';
        }
        const size_t point = test_rng_below(&r, digits + 1);
        for (size_t d = 0; d < digits; d++) {
            if (d == point) {
                text[n++] = '.';
            }
            text[n++] = (char)('0' + (test_rng_below(&r, 4) ? test_rng_below(&r, 10) : 0));
        }
        const int range = i % 4 == 0 ? 700 : i % 4 == 1 ? 60 : 30;
        const int e = (int)test_rng_below(&r, (uint64_t)range) - range / 2;
        (void)snprintf(text + n, sizeof text - n, "%c%d", i % 2 ? 'e' : 'E', e);
        t_reads_as_libc(text);
    }
}

static void test_str__midpoints_round_to_even(void **state) {
    (void)state;
    test_rng r;
    char text[1200];
    test_rng_init(&r, test_seed());
    for (int i = 0; i < 3000; i++) {
        /* the exact decimal text of the middle of two neighbours, and a hair more and less */
        uint64_t bits = test_rng_u64(&r) & ~((uint64_t)1 << 63);
        if (i % 3 == 0) {
            bits &= 0x000FFFFFFFFFFFFFu; /* subnormal */
        } else if (i % 3 == 1) {
            bits = (bits & 0x000FFFFFFFFFFFFFu) | (uint64_t)(1023 + test_rng_below(&r, 60)) << 52;
        }
        const long double low = (long double)t_double(bits);
        const long double high = (long double)t_double(bits + 1);
        if (!isfinite((double)high)) {
            continue;
        }
        const int n =
            snprintf(text, sizeof text - 2, "%.*Le", i % 3 == 1 ? 80 : 780, low + (high - low) / 2);
        t_reads_as_libc(text);
        char *e = strchr(text, 'e');
        assert_non_null(e);
        memmove(e + 1, e, (size_t)(text + n + 1 - e));
        *e = '1';
        t_reads_as_libc(text);
    }
    t_reads_as_libc("9007199254740993");
    t_reads_as_libc("9007199254740993.00000000000000000000000000000000000000000001");
    t_reads_as_libc("2.4703282292062327208e-324");
    t_reads_as_libc("2.4703282292062328e-324");
    t_reads_as_libc("1.7976931348623158e308");
    t_reads_as_libc("1.7976931348623159e308");
    t_reads_as_libc("2.2250738585072011e-308");
    t_reads_as_libc("6.631236846766476e-316");
}

static void test_str__odd_numbers_are_read_or_refused(void **state) {
    (void)state;
    static const char *const good[] = {
        "0",
        "-0",
        "1.",
        ".5",
        "+3",
        "00012",
        "0e999999999",
        "1e-999999999999999",
        "0.0e5",
        "1e+2",
        "1E2",
        "12345678901234567890",
        "0.000000000000000000000000000000000000000000000000001",
        "1e22",
        "1e23",
        "8.5e-5",
        "1e-400",
        "5e-324",
        "100000000000000000000000000000000000000000000e-44",
    };
    for (size_t i = 0; i < PV_COUNTOF(good); i++) {
        t_reads_as_libc(good[i]);
    }
    static const char *const bad[] = {
        "",     "-",     "+",     ".",      "e5",
        "-.e1", "1e",    "1e+",   "1.2.3",  "0x10",
        "inf",  "nan",   "1 ",    " 1",     "1,5",
        "--1",  "1e5x",  "1e999", "-1e309", "1e99999999999999999999",
        "1-",   "1e1.5", "١",
    };
    for (size_t i = 0; i < PV_COUNTOF(bad); i++) {
        double v = 42.0;
        if (pv__str_to_double(bad[i], strlen(bad[i]), &v)) {
            fail_msg("'%s' was read as %g", bad[i], v);
        }
        assert_true(v == 42.0); /* untouched */
    }
    double v = 0.0;
    assert_true(pv__str_to_double("15", 1, &v)); /* the length counts, not a NUL */
    assert_true(v == 1.0);
    char text[5000];
    memset(text, '0', sizeof text);
    memcpy(text, "0.", 2);
    memcpy(text + 4000, "7e4001", 6); /* 4000 digits of zeros do not matter */
    assert_true(pv__str_to_double(text, 4006, &v));
    assert_true(v == 700.0);
    memset(text, '9', 400);
    assert_false(pv__str_to_double(text, 400, &v));
    memcpy(text + 400, "e-399", 5);
    assert_true(pv__str_to_double(text, 405, &v));
    assert_true(v == 10.0);
}

static void test_str__integers_are_exact_or_refused(void **state) {
    (void)state;
    static const int64_t values[] = {0, 1, -1, 9, 10, -10, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    char out[24];
    int64_t v = 0;
    for (size_t i = 0; i < PV_COUNTOF(values); i++) {
        const size_t n = pv__str_from_i64(out, values[i]);
        assert_true(pv__str_to_i64(out, n, &v));
        assert_true(v == values[i]);
    }
    assert_true(pv__str_to_i64("-9223372036854775808", 20, &v));
    assert_true(v == INT64_MIN);
    assert_true(pv__str_to_i64("+007", 4, &v));
    assert_int_equal(v, 7);
    static const char *const bad[] = {"",
                                      "-",
                                      "+",
                                      "9223372036854775808",
                                      "1x",
                                      "1.",
                                      "- 1",
                                      "-9223372036854775809",
                                      " 1",
                                      "１",
                                      "99999999999999999999999"};
    for (size_t i = 0; i < PV_COUNTOF(bad); i++) {
        assert_false(pv__str_to_i64(bad[i], strlen(bad[i]), &v));
    }
}

static void test_utf8__only_well_formed_text_is_valid(void **state) {
    (void)state;
    static const char *const good[] = {
        "",
        "plain ascii that is longer than eight bytes",
        "ä",
        "€uro",
        "\xF0\x9F\x98\x80",
        "\xC2\x80",
        "\xDF\xBF",
        "\xE0\xA0\x80",
        "\xED\x9F\xBF",
        "\xEE\x80\x80",
        "\xEF\xBF\xBF",
        "\xF0\x90\x80\x80",
        "\xF4\x8F\xBF\xBF",
        "abcdefgä",
        "aaaaaaaaaaaaaaaaä€",
    };
    for (size_t i = 0; i < PV_COUNTOF(good); i++) {
        assert_true(pv__utf8_valid(good[i], strlen(good[i]), NULL));
    }
    static const struct {
        const char *text;
        size_t at;
    } bad[] = {
        {"\x80", 0},
        {"a\xC0\x80", 1},
        {"ab\xC1\xBF", 2},
        {"\xE0\x9F\xBF", 0},
        {"\xED\xA0\x80", 0},
        {"\xF0\x8F\xBF\xBF", 0},
        {"\xF5\x80\x80\x80", 0},
        {"\xF4\x90\x80\x80", 0},
        {"abcdefgh\xFF", 8},
        {"\xC3", 0},
        {"x\xE2\x82", 1},
        {"\xF0\x9F\x98", 0},
        {"\xE2\x28\xA1", 0},
        {"\xF0\x9F\x28\x80", 0},
        {"ok\xFE", 2},
    };
    for (size_t i = 0; i < PV_COUNTOF(bad); i++) {
        size_t at = 99;
        assert_false(pv__utf8_valid(bad[i].text, strlen(bad[i].text), &at));
        assert_int_equal(at, bad[i].at);
    }
    assert_true(pv__utf8_valid("a\0b", 3, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_str__doubles_have_known_texts),
        cmocka_unit_test(test_str__random_doubles_are_shortest_and_read_back),
        cmocka_unit_test(test_str__random_floats_are_shortest_and_read_back),
        cmocka_unit_test(test_str__random_texts_read_as_libc_reads_them),
        cmocka_unit_test(test_str__midpoints_round_to_even),
        cmocka_unit_test(test_str__odd_numbers_are_read_or_refused),
        cmocka_unit_test(test_str__integers_are_exact_or_refused),
        cmocka_unit_test(test_utf8__only_well_formed_text_is_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
