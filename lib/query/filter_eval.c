/* SPDX-License-Identifier: Apache-2.0 */
/* filter_eval.c - one row against a compiled filter: the hot loop of every filtered scan. No
 * allocation, no recursion, at most one visit of each step (Q1). */
#include "query/filter_node.h"
#include "value/compare.h"

static const uint8_t FEVAL_NULL[1] = {PV__VALUE_NULL};

static bool feval_in(const pv__filter_step *s, pv__value v) {
    size_t low = 0, high = s->value_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = pv__value_compare(v, s->values[mid]);
        if (order == 0) {
            return true;
        }
        if (order < 0) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return false;
}

/* $gt and its kind; false between classes. */
static bool feval_order(const pv__filter_step *s, pv__value v) {
    if (!pv__value_same_class(pv__value_type(v), pv__value_type(s->operand))) {
        return false;
    }
    int order = pv__value_compare(v, s->operand);
    switch (s->op) {
    case PV__FILTER_GT:
        return order > 0;
    case PV__FILTER_GTE:
        return order >= 0;
    case PV__FILTER_LT:
        return order < 0;
    default:
        return order <= 0;
    }
}

static bool feval_step(const pv__filter_step *s, pv__value v) {
    if (s->op == PV__FILTER_ALL) {
        return true;
    }
    if (s->op == PV__FILTER_EXISTS) {
        return v.data != NULL;
    }
    if (!v.data) { /* a missing field reads as null */
        v = (pv__value){FEVAL_NULL, sizeof FEVAL_NULL};
    }
    if (s->op == PV__FILTER_EQ) {
        return pv__value_compare(v, s->operand) == 0;
    }
    return s->op == PV__FILTER_IN ? feval_in(s, v) : feval_order(s, v);
}

bool pv__filter_match(const pv__filter *filter, const uint8_t *doc, size_t len) {
    pv__value root = pv__doc_root(doc, len), v = {NULL, 0};
    const pv__path *path = NULL;
    uint32_t at = 0;
    while (at < filter->step_count) { /* TRUE and FALSE are beyond */
        const pv__filter_step *s = &filter->steps[at];
        if (s->path && s->path != path) { /* operators on one field walk there once */
            path = s->path;
            v = pv__path_walk(path, root);
        }
        at = feval_step(s, v) ? s->on_true : s->on_false;
    }
    return at == PV__FILTER_TRUE;
}
