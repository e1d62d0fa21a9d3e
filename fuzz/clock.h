/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h - time and random bytes that are the same in every run, for pv_open_opts. */
#ifndef FUZZ_CLOCK_H
#define FUZZ_CLOCK_H

#include "pv_unstable.h"

typedef struct fuzz_clock {
    pv_clock clock; /* its ctx is this structure, which must stay in its place */
    uint64_t now_us, state;
} fuzz_clock;

void fuzz_clock_init(fuzz_clock *c, uint64_t seed);

#endif
