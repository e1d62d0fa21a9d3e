/* SPDX-License-Identifier: Apache-2.0 */
/* sort.h - sorts an array of numbers (indexes of something) in place by the caller's order. Heap
 * sort: no memory, no recursion, n log n also for input made to hurt; the library's qsort
 * promises none of these. Not stable: make the order total. */
#ifndef PV_VALUE_SORT_H
#define PV_VALUE_SORT_H

#include "base/base.h"

typedef bool (*pv__sort_less)(const void *ctx, uint32_t a, uint32_t b);
PV_PRIVATE void pv__sort_u32(uint32_t *items, size_t count, pv__sort_less less, const void *ctx);

#endif
