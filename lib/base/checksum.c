/* SPDX-License-Identifier: Apache-2.0 */
/* checksum.c - the one place where xxHash is compiled in. XXH3 gives the same 64 bits on every
 * machine and instruction set; a golden test holds it there, because files depend on it. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/checksum.h"

uint64_t pv__hash64(const void *p, size_t n, uint64_t seed) {
    return (uint64_t)XXH3_64bits_withSeed(p, n, (XXH64_hash_t)seed);
}
