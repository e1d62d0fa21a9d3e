/* SPDX-License-Identifier: Apache-2.0 */
/* sort.c - heap sort, and insertion sort for the short runs that documents mostly have. */
#include "value/sort.h"

#define SORT_SHORT 12u /* below this insertion sort asks fewer questions */

static void sort_insertion(uint32_t *items, size_t count, pv__sort_less less, const void *ctx) {
    for (size_t i = 1; i < count; i++) {
        uint32_t item = items[i];
        size_t j = i;
        for (; j > 0 && less(ctx, item, items[j - 1]); j--) {
            items[j] = items[j - 1];
        }
        items[j] = item;
    }
}

/* Let items[at] sink to its place in the max-heap items[0 .. count). */
static void sort_sink(uint32_t *items, size_t at, size_t count, pv__sort_less less,
                      const void *ctx) {
    uint32_t item = items[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) {
            break;
        }
        if (child + 1 < count && less(ctx, items[child], items[child + 1])) {
            child++;
        }
        if (!less(ctx, item, items[child])) {
            break;
        }
        items[at] = items[child];
        at = child;
    }
    items[at] = item;
}

void pv__sort_u32(uint32_t *items, size_t count, pv__sort_less less, const void *ctx) {
    if (count <= SORT_SHORT) {
        sort_insertion(items, count, less, ctx);
        return;
    }
    for (size_t i = count / 2; i-- > 0;) {
        sort_sink(items, i, count, less, ctx);
    }
    for (size_t end = count - 1; end > 0; end--) {
        uint32_t largest = items[0];
        items[0] = items[end];
        items[end] = largest;
        sort_sink(items, 0, end, less, ctx);
    }
}

#undef SORT_SHORT
