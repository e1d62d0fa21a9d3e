/* SPDX-License-Identifier: Apache-2.0 */
/* within.c - which of many distances are not above a bound: counted, or kept with their ids. */
#include "quant/kinds.h"

static uint32_t within_some(const float *distances, size_t n, float bound) {
    uint32_t within = 0;
    for (size_t i = 0; i < n; i++) {
        within |= (uint32_t)(distances[i] <= bound) << i;
    }
    return within;
}

size_t pv__code_count_within(const pv__code *c, const float *distances, size_t n, float bound) {
    size_t count = 0;
    if (c->kernel->count) {
        return c->kernel->count(distances, n, bound);
    }
    for (size_t i = 0; i < n; i++) {
        count += distances[i] <= bound ? 1u : 0u;
    }
    return count;
}

size_t pv__code_keep_within(const pv__code *c, const float *distances, const uint32_t *ids,
                            size_t n, float bound, float *out, uint32_t *out_ids) {
    const pv__code_kernel *kernel = c->kernel;
    size_t kept = 0;
    if (kernel->keep) {
        return kernel->keep(distances, ids, n, bound, out, out_ids);
    }
    for (size_t at = 0; at < n; at += PV__CODE_PANEL) {
        const size_t count = PV_MIN(n - at, (size_t)PV__CODE_PANEL);
        uint32_t within = kernel->within && count == PV__CODE_PANEL
                              ? kernel->within(distances + at, bound)
                              : within_some(distances + at, count, bound);
        for (; within != 0; within &= within - 1) {
            const size_t i = at + pv__low_bit(within);
            out[kept] = distances[i];
            out_ids[kept++] = ids[i];
        }
    }
    return kept;
}
