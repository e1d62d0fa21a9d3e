/* SPDX-License-Identifier: Apache-2.0 */
/* map.h - open-addressing hash map from u64 to u64. Key UINT64_MAX is not allowed. Not thread
 * safe. */
#ifndef PV_BASE_MAP_H
#define PV_BASE_MAP_H

#include "base/alloc.h"

typedef struct pv__map {
    pv__mem *mem;
    uint64_t *keys, *values;
    size_t count, cap; /* cap: 0 or a power of two */
} pv__map;

PV_PRIVATE void pv__map_init(pv__map *m, pv__mem *mem);
PV_PRIVATE void pv__map_done(pv__map *m);
PV_PRIVATE void pv__map_clear(pv__map *m); /* keeps the memory */
PV_PRIVATE bool pv__map_get(const pv__map *m, uint64_t key, uint64_t *out);
PV_PRIVATE int pv__map_put(pv__map *m, uint64_t key, uint64_t value, pv_error *err); /* replaces */
PV_PRIVATE bool pv__map_del(pv__map *m, uint64_t key);
/* Iterate: *pos starts at 0; false at the end. The map must not change meanwhile. */
PV_PRIVATE bool pv__map_next(const pv__map *m, size_t *pos, uint64_t *key, uint64_t *value);

#endif
