/* SPDX-License-Identifier: Apache-2.0 */
/* checksum.h - XXH3 (https://xxhash.com, header-only build inside checksum.c). */
#ifndef PV_BASE_CHECKSUM_H
#define PV_BASE_CHECKSUM_H

#include "base/base.h"

PV_PRIVATE uint64_t pv__hash64(const void *p, size_t n, uint64_t seed); /* XXH3-64 with seed */
static inline uint64_t pv__mix64(uint64_t x) {                          /* splitmix64 finaliser */
    x ^= x >> 30;
    x *= 0xBF58476D1CE4E5B9u;
    x ^= x >> 27;
    x *= 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

#endif
