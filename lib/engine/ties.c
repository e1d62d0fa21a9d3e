/* SPDX-License-Identifier: Apache-2.0 */
/* ties.c - see ties.h. */
#include "engine/ties.h"

static void ties_set_free(pv__ties *t, pv__ties_set *set) {
    pv__alloc_free(t->mem, set->slots, set->count * sizeof(*set->slots));
    *set = (pv__ties_set){.slots = NULL};
}

void pv__ties_done(pv__ties *t) {
    for (unsigned i = 0; t->mem && i < PV__TIES_SETS; i++) {
        ties_set_free(t, &t->sets[i]);
    }
}

const uint32_t *pv__ties_find(const pv__ties *t, uint64_t sum, uint64_t mix, size_t count) {
    for (unsigned i = 0; i < PV__TIES_SETS; i++) {
        const pv__ties_set *set = &t->sets[i];
        if (set->count == count && set->sum == sum && set->mix == mix) {
            return set->slots;
        }
    }
    return NULL;
}

uint32_t *pv__ties_add(pv__ties *t, uint64_t sum, uint64_t mix, size_t count) {
    pv__ties_set *set = &t->sets[t->next];
    if (count > PV__TIES_BYTES_MAX / sizeof(*set->slots)) {
        return NULL;
    }
    uint32_t *slots = pv__alloc_array(t->mem, count, sizeof(*slots));
    if (!slots) {
        return NULL; /* it is only faster with */
    }
    ties_set_free(t, set);
    *set = (pv__ties_set){sum, mix, slots, count};
    t->next = (t->next + 1) % PV__TIES_SETS;
    return slots;
}
