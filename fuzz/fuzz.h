/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz.h - what a fuzz target is: one function that must return 0 for any bytes at all. The driver
 * (driver_file.c, or libFuzzer) supplies main. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise of the library that does not hold for this input: stop here, loudly. */
#define FUZZ_CHECK(cond)                                                                           \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            __builtin_trap();                                                                      \
        }                                                                                          \
    } while (0)

#endif
