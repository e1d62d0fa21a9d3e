/* SPDX-License-Identifier: Apache-2.0 */
/* compare.h - the one order over all values, used by filters and by indexes. By class first:
 *
 *     no value < null < false < true < numbers < timestamp < string < bytes < array < object
 *
 * then inside a class: numbers by their exact value whatever their type (1 == 1.0; no int64 is
 * ever rounded; -0.0 == 0; a NaN, which no document holds, is below all numbers and equal to
 * itself), strings by bytes, arrays by their elements from the front and then by length, objects
 * likewise by their fields in key order, each by key and then by value.
 *
 * Invariant V4: total, antisymmetric and transitive over every pair of checked values; 0 is an
 * equivalence. Threads: any. */
#ifndef PV_VALUE_COMPARE_H
#define PV_VALUE_COMPARE_H

#include "value/doc.h"

/* Negative, 0 or positive. */
PV_PRIVATE int pv__value_compare(pv__value a, pv__value b);

/* The pieces, for keys of indexes. */
PV_PRIVATE int pv__compare_i64_double(int64_t a, double b);
PV_PRIVATE int pv__compare_double(double a, double b);

/* Can values of these types be put in order by $gt and its kind? false and true are one class. */
PV_PRIVATE bool pv__value_same_class(unsigned type_a, unsigned type_b);

#endif
