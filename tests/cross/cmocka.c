/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka.c - what our tests call of cmocka, for a machine that there is a compiler for but no
 * cmocka (`make aarch64`): its header is the same for all of them.
 *
 *      test --assertion--> failed: back to the group by longjmp, the next test begins
 *
 * Results are printed as cmocka prints them, because tools/run_tests.py counts those lines. Tests
 * whose names hold one of the words of CROSS_OMIT in the environment, with spaces between them, are
 * left out: emulators are slow. Not here: mocks, counted memory, signals (a crash ends the program,
 * which is counted, too). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CROSS_PASSED, CROSS_FAILED, CROSS_SKIPPED };

static jmp_buf cross_group;

void vprint_message(const char *const format, va_list args) { (void)vprintf(format, args); }

void print_message(const char *const format, ...) {
    va_list args;
    va_start(args, format);
    vprint_message(format, args);
    va_end(args);
}

void print_error(const char *const format, ...) {
    va_list args;
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
}

void _fail(const char *const file, const int line) {
    print_error("%s:%d: failed\n", file, line);
    longjmp(cross_group, CROSS_FAILED);
}

void _skip(const char *const file, const int line) {
    print_error("%s:%d: skipped\n", file, line);
    longjmp(cross_group, CROSS_SKIPPED);
}

void _assert_true(const LargestIntegralType result, const char *const expression,
                  const char *const file, const int line) {
    if (!result) {
        print_error("%s\n", expression);
        _fail(file, line);
    }
}

void _assert_int_equal(const LargestIntegralType a, const LargestIntegralType b,
                       const char *const file, const int line) {
    if (a != b) {
        print_error("%#jx != %#jx\n", (uintmax_t)a, (uintmax_t)b);
        _fail(file, line);
    }
}

void _assert_int_not_equal(const LargestIntegralType a, const LargestIntegralType b,
                           const char *const file, const int line) {
    if (a == b) {
        print_error("%#jx == %#jx\n", (uintmax_t)a, (uintmax_t)b);
        _fail(file, line);
    }
}

void _assert_in_range(const LargestIntegralType value, const LargestIntegralType minimum,
                      const LargestIntegralType maximum, const char *const file, const int line) {
    if (value < minimum || value > maximum) {
        print_error("%ju is not in %ju to %ju\n", (uintmax_t)value, (uintmax_t)minimum,
                    (uintmax_t)maximum);
        _fail(file, line);
    }
}

void _assert_string_equal(const char *const a, const char *const b, const char *const file,
                          const int line) {
    if (strcmp(a, b) != 0) {
        print_error("\"%s\" != \"%s\"\n", a, b);
        _fail(file, line);
    }
}

void _assert_memory_equal(const void *const a, const void *const b, const size_t size,
                          const char *const file, const int line) {
    if (memcmp(a, b, size) != 0) {
        print_error("two times %zu bytes differ\n", size);
        _fail(file, line);
    }
}

void _assert_memory_not_equal(const void *const a, const void *const b, const size_t size,
                              const char *const file, const int line) {
    if (memcmp(a, b, size) == 0) {
        print_error("two times %zu bytes are the same\n", size);
        _fail(file, line);
    }
}

static bool cross_omitted(const char *name) {
    const char *words = getenv("CROSS_OMIT");
    char word[80];
    for (int n = 0; words && sscanf(words, " %79s%n", word, &n) == 1; words += n) {
        if (strstr(name, word)) {
            return true;
        }
    }
    return false;
}

static int cross_run(const struct CMUnitTest *test, void **state) {
    const int ended = setjmp(cross_group);
    if (ended == CROSS_PASSED) {
        if (test->setup_func && test->setup_func(state) != 0) {
            return CROSS_FAILED;
        }
        test->test_func(state);
    }
    return test->teardown_func && test->teardown_func(state) != 0 ? CROSS_FAILED : ended;
}

int _cmocka_run_group_tests(const char *group_name, const struct CMUnitTest *const tests,
                            const size_t num_tests, CMFixtureFunction group_setup,
                            CMFixtureFunction group_teardown) {
    static const char *const words[] = {"       OK", "  FAILED ", " SKIPPED "};
    size_t ended[3] = {0};
    void *state = NULL;
    (void)setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    bool good = !group_setup || group_setup(&state) == 0;
    for (size_t i = 0; good && i < num_tests; i++) {
        void *own = tests[i].initial_state ? tests[i].initial_state : state;
        if (cross_omitted(tests[i].name)) {
            print_message("[ left out ] %s\n", tests[i].name);
            continue;
        }
        const clock_t begin = clock();
        const int how = cross_run(&tests[i], &own);
        print_message("[%-10s] %s (%.1f s)\n", words[how], tests[i].name,
                      (double)(clock() - begin) / CLOCKS_PER_SEC);
        ended[how]++;
    }
    good = (!group_teardown || group_teardown(&state) == 0) && good;
    print_message("[  PASSED  ] %zu test(s).\n", ended[CROSS_PASSED]);
    for (int how = CROSS_FAILED; how <= CROSS_SKIPPED; how++) {
        if (ended[how] > 0) {
            print_error("[ %-8s ] %s: %zu test(s).\n", how == CROSS_FAILED ? " FAILED" : "SKIPPED",
                        group_name, ended[how]);
        }
    }
    return good ? (int)ended[CROSS_FAILED] : -1;
}
