/* SPDX-License-Identifier: Apache-2.0 */
/* ties.h - slots at one distance in the order of their keys, kept from one query to the next: where
 * thousands of records have equal vectors, every query of a call asks for the same order, and
 * fetching the keys costs more than all distances. */
#ifndef PV_ENGINE_TIES_H
#define PV_ENGINE_TIES_H

#include "base/alloc.h"

#define PV__TIES_SETS 8u              /* the newest */
#define PV__TIES_SLOTS_MIN 64u        /* fewer are ordered as fast as they are found */
#define PV__TIES_BYTES_MAX (8u << 20) /* of one set */

typedef struct pv__ties_set {
    uint64_t sum, mix; /* of the slots, in whatever order */
    uint32_t *slots;   /* by key */
    size_t count;
} pv__ties_set;

/* All zero but mem: empty. For one thread. */
typedef struct pv__ties {
    pv__mem *mem;
    pv__ties_set sets[PV__TIES_SETS];
    unsigned next;
} pv__ties;

PV_PRIVATE void pv__ties_done(pv__ties *t);
/* What tells one set of slots from another: add up over all slots. */
static inline void pv__ties_sum(uint32_t slot, uint64_t *io_sum, uint64_t *io_mix) {
    *io_sum += (slot + UINT64_C(1)) * UINT64_C(0x9E3779B97F4A7C15);
    const uint64_t x = (slot + UINT64_C(1)) * UINT64_C(0xD6E8FEB86659FD93);
    *io_mix += (x ^ x >> 32) * UINT64_C(0xD6E8FEB86659FD93);
}
/* The same slots by key, or NULL. */
PV_PRIVATE const uint32_t *pv__ties_find(const pv__ties *t, uint64_t sum, uint64_t mix,
                                         size_t count);
/* A place for `count` slots by key, in the place of the oldest set; NULL: none. */
PV_PRIVATE uint32_t *pv__ties_add(pv__ties *t, uint64_t sum, uint64_t mix, size_t count);

#endif
