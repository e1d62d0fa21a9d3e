/* SPDX-License-Identifier: Apache-2.0 */
/* compare.c - the total order of compare.h. Containers are walked side by side with a stack of
 * pairs; checked values are at most PV__JSON_DEPTH_MAX deep. */
#include "value/compare.h"

#include <math.h>

int pv__compare_double(double a, double b) {
    if (a < b) {
        return -1;
    }
    if (a > b) {
        return 1;
    }
    int a_number = !isnan(a), b_number = !isnan(b); /* a NaN is below every number */
    return a_number - b_number;
}

/* Exact: a double of 2^63 and more, or below -2^63, is beyond every int64; any other one has an
 * integral part that fits, and what it has behind the point decides between equals. */
int pv__compare_i64_double(int64_t a, double b) {
    if (isnan(b) || b < -9223372036854775808.0) {
        return 1;
    }
    if (b >= 9223372036854775808.0) {
        return -1;
    }
    int64_t whole = (int64_t)b; /* towards zero */
    if (a != whole) {
        return a < whole ? -1 : 1;
    }
    double rest = b - (double)whole; /* exact: whole came from b */
    return rest > 0 ? -1 : rest < 0 ? 1 : 0;
}

/* Types that are put in order by value and not by type. */
static unsigned compare_rank(unsigned type) {
    return type == PV__VALUE_DOUBLE ? (unsigned)PV__VALUE_INT : type;
}

bool pv__value_same_class(unsigned type_a, unsigned type_b) {
    unsigned a = type_a == PV__VALUE_TRUE ? (unsigned)PV__VALUE_FALSE : compare_rank(type_a);
    unsigned b = type_b == PV__VALUE_TRUE ? (unsigned)PV__VALUE_FALSE : compare_rank(type_b);
    return a == b;
}

static int compare_bytes(const void *a, size_t a_len, const void *b, size_t b_len) {
    size_t n = PV_MIN(a_len, b_len);
    int order = n > 0 ? memcmp(a, b, n) : 0;
    if (order == 0) {
        return (a_len > b_len) - (a_len < b_len);
    }
    return order < 0 ? -1 : 1;
}

static int compare_numbers(pv__value a, pv__value b) {
    bool a_int = a.data[0] == PV__VALUE_INT, b_int = b.data[0] == PV__VALUE_INT;
    if (a_int && b_int) {
        int64_t x = pv__value_int(a), y = pv__value_int(b);
        return (x > y) - (x < y);
    }
    if (a_int) {
        return pv__compare_i64_double(pv__value_int(a), pv__value_double(b));
    }
    if (b_int) {
        return -pv__compare_i64_double(pv__value_int(b), pv__value_double(a));
    }
    return pv__compare_double(pv__value_double(a), pv__value_double(b));
}

/* Two values that are not both arrays or both objects. */
static int compare_flat(pv__value a, pv__value b) {
    unsigned type_a = compare_rank(pv__value_type(a)), type_b = compare_rank(pv__value_type(b));
    if (type_a != type_b) {
        return type_a < type_b ? -1 : 1;
    }
    switch (type_a) {
    case PV__VALUE_INT:
        return compare_numbers(a, b);
    case PV__VALUE_STRING:
        return compare_bytes(a.data + 1, a.size - 1, b.data + 1, b.size - 1);
    default:
        return 0; /* none, null, false, true */
    }
}

typedef struct compare_frame {
    pv__value a, b;
    size_t next, a_count, b_count;
} compare_frame;

/* The next pair of children; *done with the order when this container is decided. */
static int compare_step(compare_frame *f, bool *done, pv__value *a, pv__value *b) {
    *done = true;
    if (f->next == f->a_count || f->next == f->b_count) {
        return (f->a_count > f->b_count) - (f->a_count < f->b_count);
    }
    if (f->a.data[0] == PV__VALUE_OBJECT) {
        size_t a_len, b_len;
        const char *a_key = pv__value_key(f->a, f->next, &a_len);
        const char *b_key = pv__value_key(f->b, f->next, &b_len);
        int order = compare_bytes(a_key, a_len, b_key, b_len);
        if (order != 0) {
            return order;
        }
    }
    *done = false;
    *a = pv__value_at(f->a, f->next);
    *b = pv__value_at(f->b, f->next);
    f->next++;
    return 0;
}

int pv__value_compare(pv__value a, pv__value b) {
    compare_frame stack[PV__JSON_DEPTH_MAX];
    unsigned depth = 0;
    for (;;) {
        unsigned type = pv__value_type(a);
        if ((type == PV__VALUE_ARRAY || type == PV__VALUE_OBJECT) && type == pv__value_type(b) &&
            depth < PV__JSON_DEPTH_MAX) {
            stack[depth++] = (compare_frame){a, b, 0, pv__value_count(a), pv__value_count(b)};
        } else {
            int order = compare_flat(a, b);
            if (order != 0) {
                return order;
            }
        }
        for (bool done = true; done;) {
            if (depth == 0) {
                return 0;
            }
            int order = compare_step(&stack[depth - 1], &done, &a, &b);
            if (order != 0) {
                return order;
            }
            depth -= done ? 1 : 0;
        }
    }
}
