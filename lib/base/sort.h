/* SPDX-License-Identifier: Apache-2.0 */
/* sort.h - heap sort of an array, for each element type by itself: no memory (the C library's qsort
 * may ask for some), no bad cases, and the comparison inline. Equal elements come in any order. */
#ifndef PV_BASE_SORT_H
#define PV_BASE_SORT_H

#include "base/base.h"

/* Defines static void name(type *v, size_t n). before(const type *a, const type *b): a comes first.
 *
 *   first half of the loop   [ sink begin-1 .. 0 ]  makes a heap, the last one at its top
 *   second half              [ top to the end, what was there sinks ] */
#define PV__SORT_DEFINE(name, type, before)                                                        \
    static void name(type *v, size_t n) {                                                          \
        for (size_t begin = n / 2, end = n; end > 1;) {                                            \
            type moved;                                                                            \
            if (begin > 0) {                                                                       \
                moved = v[--begin];                                                                \
            } else {                                                                               \
                moved = v[--end];                                                                  \
                v[end] = v[0];                                                                     \
            }                                                                                      \
            size_t at = begin;                                                                     \
            for (size_t child; (child = 2 * at + 1) < end; at = child) {                           \
                child += child + 1 < end && before(&v[child], &v[child + 1]) ? 1u : 0u;            \
                if (!before(&moved, &v[child])) {                                                  \
                    break;                                                                         \
                }                                                                                  \
                v[at] = v[child];                                                                  \
            }                                                                                      \
            v[at] = moved;                                                                         \
        }                                                                                          \
    }

#endif
