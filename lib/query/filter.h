/* SPDX-License-Identifier: Apache-2.0 */
/* filter.h - conditions on documents, written in JSON, compiled once and asked per row.
 *
 *     filter    = { field: condition, ... , "$and": [filter, ...], "$or": [filter, ...],
 *                   "$not": filter }                  all of them must hold; {} holds always
 *     condition = value                                means {"$eq": value}
 *               | { "$eq" | "$ne" | "$gt" | "$gte" | "$lt" | "$lte": value,
 *                   "$in" | "$nin": [value, ...], "$exists": true | false,
 *                   "$not": { operators } }           all of them must hold
 *     field     = dotted path (path.h)
 *
 * Meaning, by the order of compare.h:
 *   - A missing field reads as null, everywhere but in $exists, which tells the two apart. So
 *     {"a": null} and {"a": {"$ne": 5}} match a document without "a"; {"a": {"$ne": null}} and
 *     {"a": {"$gt": 5}} do not.
 *   - $eq and $in compare whole values: 1 equals 1.0, [1] does not equal 1, and an object equals an
 *     object with the same fields in any order. Nothing looks into arrays by itself; "tags.0" does.
 *   - $ne, $nin and $not are the exact negations of $eq, $in and what stands in the $not.
 *   - $gt, $gte, $lt and $lte are false between different classes (null, booleans, numbers,
 *     strings, arrays, objects): {"a": {"$lt": 5}} never matches a string.
 *   - $in [] holds never, $nin [] always. An empty $and or $or is refused: it is a mistake more
 *     often than a wish, and one that could delete everything.
 *   - An object without operators is a value: {"a": {}} asks for the empty object. One that mixes
 *     operators and fields, or hides an operator deeper inside ({"a": {"b": {"$gt": 1}}}; "a.b" is
 *     meant), is refused; {"a": {"$eq": ...}} takes any value as it is.
 *
 * Refused with PV_ERR_UNSUPPORTED naming it: every operator not listed above. PV_ERR_FORMAT: text
 * that is not JSON (with err->offset), an operator in the wrong place or with the wrong operand.
 * PV_ERR_LIMIT: more than PV__FILTER_BYTES_MAX of text, PV__FILTER_DEPTH_MAX levels of filters or
 * PV__FILTER_NODES_MAX conditions. A field whose name begins with '$' can be reached only below
 * another one ("a.$b").
 *
 * Threads: a compiled filter never changes: any. pv__filter_free when nobody uses it. */
#ifndef PV_QUERY_FILTER_H
#define PV_QUERY_FILTER_H

#include "base/alloc.h"

typedef struct pv__filter pv__filter;

PV_PRIVATE int pv__filter_compile(pv__mem *mem, const char *json, size_t len,
                                  pv__filter **out_filter, pv_error *err);
/* Does the document match? It must have passed pv__doc_check; no bytes are the empty object.
 * Allocates nothing, cannot fail. */
PV_PRIVATE bool pv__filter_match(const pv__filter *filter, const uint8_t *doc, size_t len);
PV_PRIVATE void pv__filter_free(pv__filter *filter); /* NULL is fine */

#endif
