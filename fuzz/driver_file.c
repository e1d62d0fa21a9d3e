/* SPDX-License-Identifier: Apache-2.0 */
/* driver_file.c - the main of every fuzz target outside libFuzzer.
 *
 *     fuzz_json corpus/json crash-1     runs the target on each file named, and on each file in
 *                                       each folder named (and in those below), and counts them
 *     afl-fuzz -i ... -- ./fuzz_json    built with afl-clang-fast and called without arguments:
 *                                       persistent mode, inputs through shared memory
 *
 * Exit codes: 0 all inputs ran, 2 wrong usage or unreadable files. A target that fails ends the
 * process by a signal, and the name of the input stands in the last line printed. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

#ifdef __AFL_FUZZ_TESTCASE_LEN
__AFL_FUZZ_INIT();
#endif

#define DRIVER_DEPTH_MAX 8
#define DRIVER_PATH_MAX 4096

typedef struct driver_counts {
    unsigned long runs, problems;
} driver_counts;

static void driver_problem(driver_counts *c, const char *path, const char *what) {
    fprintf(stderr, "%s: %s\n", path, what);
    c->problems++;
}

/* The whole file, in a block of exactly its size so that a sanitizer sees one byte too far. */
static void driver_run_file(driver_counts *c, const char *path, size_t size) {
    FILE *f = fopen(path, "rb");
    uint8_t *data = (uint8_t *)malloc(size > 0 ? size : 1);
    if (!f || !data || fread(data, 1, size, f) != size) {
        driver_problem(c, path, "cannot be read");
    } else {
        printf("%s\n", path);
        fflush(stdout);
        LLVMFuzzerTestOneInput(data, size);
        c->runs++;
    }
    free(data);
    if (f) {
        fclose(f);
    }
}

static void driver_run(driver_counts *c, const char *path, unsigned depth);

static int driver_wanted(const struct dirent *entry) { return entry->d_name[0] != '.'; }

/* In the order of names, so that two replays are the same. */
static void driver_run_folder(driver_counts *c, const char *path, unsigned depth) {
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, driver_wanted, alphasort);
    if (n < 0) {
        driver_problem(c, path, strerror(errno));
        return;
    }
    for (int i = 0; i < n; i++) {
        char name[DRIVER_PATH_MAX];
        int len = snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        if (len < 0 || (size_t)len >= sizeof name) {
            driver_problem(c, path, "holds a name that is too long");
        } else {
            driver_run(c, name, depth + 1);
        }
        free(entries[i]);
    }
    free(entries);
}

static void driver_run(driver_counts *c, const char *path, unsigned depth) {
    struct stat st;
    if (stat(path, &st) != 0) {
        driver_problem(c, path, strerror(errno));
    } else if (S_ISDIR(st.st_mode) && depth < DRIVER_DEPTH_MAX) {
        driver_run_folder(c, path, depth);
    } else if (S_ISREG(st.st_mode)) {
        driver_run_file(c, path, (size_t)st.st_size);
    }
}

#ifdef __AFL_FUZZ_TESTCASE_LEN
static int driver_afl(void) {
    __AFL_INIT();
    const uint8_t *shared = __AFL_FUZZ_TESTCASE_BUF;
    while (__AFL_LOOP(100000)) {
        size_t size = (size_t)__AFL_FUZZ_TESTCASE_LEN;
        /* Not in place: the shared block is larger than the input and would hide overreads. */
        uint8_t *data = (uint8_t *)malloc(size > 0 ? size : 1);
        if (!data) {
            return 2;
        }
        memcpy(data, shared, size);
        LLVMFuzzerTestOneInput(data, size);
        free(data);
    }
    return 0;
}
#endif

int main(int argc, char **argv) {
    driver_counts c = {0, 0};
#ifdef __AFL_FUZZ_TESTCASE_LEN
    if (argc == 1) {
        return driver_afl();
    }
#endif
    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE_OR_FOLDER...\n", argv[0]);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        driver_run(&c, argv[i], 0);
    }
    printf("%lu inputs, %lu problems\n", c.runs, c.problems);
    return c.problems == 0 ? 0 : 2;
}
