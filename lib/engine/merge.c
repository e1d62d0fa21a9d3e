/* SPDX-License-Identifier: Apache-2.0 */
/* merge.c - JSON merge patch (RFC 7396) on binary documents.
 *
 *     merge(target, patch):  a patch that is no object takes the target's place;
 *                            else every field of the patch: null removes it from the target,
 *                            anything else is merged with the target's field of that name.
 *
 * Fields of both sides come sorted, so one pass over the two lists does an object. Recursion is as
 * deep as documents are, which the reader has bounded; the depth is carried all the same. */
#include "engine/write.h"
#include "value/doc.h"

static int merge_too_deep(pv_error *err) {
    return pv__err(err, PV_ERR_LIMIT, "metadata is nested deeper than %u",
                   (unsigned)PV__JSON_DEPTH_MAX);
}

static int merge_copy(pv__docb *b, pv__value v, unsigned depth, pv_error *err) {
    size_t len = 0;
    const char *text;
    const bool is_object = pv__value_type(v) == PV__VALUE_OBJECT;
    switch (pv__value_type(v)) {
    case PV__VALUE_NULL:
        pv__docb_null(b);
        return 0;
    case PV__VALUE_FALSE:
    case PV__VALUE_TRUE:
        pv__docb_bool(b, pv__value_type(v) == PV__VALUE_TRUE);
        return 0;
    case PV__VALUE_INT:
        pv__docb_int(b, pv__value_int(v));
        return 0;
    case PV__VALUE_DOUBLE:
        pv__docb_double(b, pv__value_double(v));
        return 0;
    case PV__VALUE_STRING:
        text = pv__value_string(v, &len);
        pv__docb_string(b, text, len);
        return 0;
    case PV__VALUE_ARRAY:
    case PV__VALUE_OBJECT:
        break;
    default:
        return pv__err(err, PV_ERR_CORRUPT, "metadata holds a value of unknown type %u",
                       pv__value_type(v));
    }
    if (depth >= PV__JSON_DEPTH_MAX) {
        return merge_too_deep(err);
    }
    if (is_object) {
        pv__docb_object(b);
    } else {
        pv__docb_array(b);
    }
    for (size_t i = 0; i < pv__value_count(v); i++) {
        if (is_object) {
            text = pv__value_key(v, i, &len);
            pv__docb_key(b, text, len);
        }
        PV_TRY(merge_copy(b, pv__value_at(v, i), depth + 1, err));
    }
    pv__docb_end(b);
    return 0;
}

/* Order of two field names, either of which may be behind the end of its object. */
static int merge_order(pv__value a, size_t i, pv__value b, size_t j) {
    size_t a_len = 0, b_len = 0;
    if (i >= pv__value_count(a)) {
        return 1;
    }
    if (j >= pv__value_count(b)) {
        return -1;
    }
    const char *a_key = pv__value_key(a, i, &a_len);
    const char *b_key = pv__value_key(b, j, &b_len);
    int order = memcmp(a_key, b_key, PV_MIN(a_len, b_len));
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

/* target: no value when there is none; patch: an object. */
static int merge_objects(pv__docb *b, pv__value target, pv__value patch, unsigned depth,
                         pv_error *err) {
    const pv__value none = {NULL, 0};
    const pv__value old = pv__value_type(target) == PV__VALUE_OBJECT ? target : none;
    size_t i = 0, j = 0, len = 0;
    if (depth >= PV__JSON_DEPTH_MAX) {
        return merge_too_deep(err);
    }
    pv__docb_object(b);
    while (i < pv__value_count(old) || j < pv__value_count(patch)) {
        const int order = merge_order(old, i, patch, j);
        if (order < 0) {
            const char *key = pv__value_key(old, i, &len);
            pv__docb_key(b, key, len);
            PV_TRY(merge_copy(b, pv__value_at(old, i), depth + 1, err));
            i++;
            continue;
        }
        const pv__value value = pv__value_at(patch, j);
        if (pv__value_type(value) != PV__VALUE_NULL) {
            const char *key = pv__value_key(patch, j, &len);
            pv__docb_key(b, key, len);
            PV_TRY(pv__value_type(value) == PV__VALUE_OBJECT
                       ? merge_objects(b, order == 0 ? pv__value_at(old, i) : none, value,
                                       depth + 1, err)
                       : merge_copy(b, value, depth + 1, err));
        }
        i += order == 0 ? 1u : 0u;
        j++;
    }
    pv__docb_end(b);
    return 0;
}

int pv__merge_patch(pv__bytes target, pv__bytes patch, pv__buf *out, pv_error *err) {
    pv__docb b;
    pv__docb_init(&b, out, "metadata", err);
    int rc = merge_objects(&b, pv__doc_root(target.data, target.size),
                           pv__doc_root(patch.data, patch.size), 0, err);
    if (rc == 0) {
        return pv__docb_finish(&b);
    }
    pv_error unused = PV_ERROR_INIT; /* finish must not replace the message */
    b.err = &unused;
    (void)pv__docb_finish(&b);
    return rc;
}
