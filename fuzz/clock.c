/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c - see clock.h. */
#include "clock.h"

#include "base/checksum.h"

static uint64_t clock_tick(void *ctx) {
    fuzz_clock *c = ctx;
    c->now_us += 1000;
    return c->now_us;
}

static int64_t clock_wall(void *ctx) { return (int64_t)clock_tick(ctx); }

static int clock_random(void *ctx, void *out, size_t n) {
    fuzz_clock *c = ctx;
    for (size_t i = 0; i < n; i++) {
        c->state += 0x9E3779B97F4A7C15u;
        ((uint8_t *)out)[i] = (uint8_t)pv__mix64(c->state);
    }
    return 0;
}

void fuzz_clock_init(fuzz_clock *c, uint64_t seed) {
    c->clock = (pv_clock){c, clock_wall, clock_tick, clock_random};
    c->now_us = 1767225600000000u; /* 2026-01-01 */
    c->state = seed;
}
