/* SPDX-License-Identifier: Apache-2.0 */
/* filter_node.h - the two forms of a compiled filter, private to lib/query: a tree, which the
 * parser makes and a planner can look at, and steps, which rows are tested with.
 *
 *     tree      AND( a = 1, OR( b > 2, b < 0 ) )
 *
 *     steps     0: a = 1   true -> 1       false -> FALSE
 *               1: b > 2   true -> TRUE    false -> 2
 *               2: b < 0   true -> TRUE    false -> FALSE
 *
 * Invariant Q1: a step's targets are later steps, TRUE or FALSE, so that every row comes to an end
 * within step_count steps. AND, OR and NOT cost nothing at run time: they have become targets. */
#ifndef PV_QUERY_FILTER_NODE_H
#define PV_QUERY_FILTER_NODE_H

#include "query/filter.h"
#include "value/path.h"

enum {
    PV__FILTER_AND, /* children: at least one */
    PV__FILTER_OR,  /* children: at least one */
    PV__FILTER_NOT, /* one child */
    PV__FILTER_ALL, /* true; from here on: conditions, which become steps */
    PV__FILTER_EQ,
    PV__FILTER_GT,
    PV__FILTER_GTE,
    PV__FILTER_LT,
    PV__FILTER_LTE,
    PV__FILTER_IN,
    PV__FILTER_EXISTS
};

#define PV__FILTER_TRUE UINT32_MAX
#define PV__FILTER_FALSE (UINT32_MAX - 1)

typedef struct pv__filter_node pv__filter_node;
struct pv__filter_node {
    unsigned op;    /* PV__FILTER_* */
    bool negated;   /* a condition of $ne, $nin or $exists false */
    uint32_t steps; /* conditions at and below this node */
    const pv__path *path;
    pv__value operand;       /* a view into pv__filter.doc */
    const pv__value *values; /* IN: ascending, each once */
    uint32_t value_count;    /* IN */
    pv__filter_node *child, *next;
};

typedef struct pv__filter_step {
    unsigned op;
    uint32_t on_true, on_false; /* Q1 */
    uint32_t value_count;
    const pv__path *path; /* equal pointers are equal paths; NULL for ALL */
    pv__value operand;
    const pv__value *values;
} pv__filter_step;

struct pv__filter {
    pv__mem *mem;
    pv__arena arena; /* nodes, steps, paths, lists */
    pv__buf doc;     /* the filter's text as a document: operands are views into it */
    const pv__filter_node *root;
    pv__filter_step *steps;
    uint32_t step_count;
};

/* Fill filter->root from filter->doc. filter_parse.c */
PV_PRIVATE int pv__filter_parse(pv__filter *filter, pv_error *err);

#endif
