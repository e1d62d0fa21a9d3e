/* SPDX-License-Identifier: Apache-2.0 */
/* filter.c - compiling a filter: text -> document -> tree (filter_parse.c) -> steps. */
#include "query/filter.h"

#include "query/filter_node.h"
#include "value/json.h"

#define FILTER_ARENA_CHUNK 2048u

static void filter_emit_condition(pv__filter *filter, const pv__filter_node *node, uint32_t on_true,
                                  uint32_t on_false) {
    pv__filter_step *step = &filter->steps[filter->step_count++];
    step->op = node->op;
    step->on_true = node->negated ? on_false : on_true;
    step->on_false = node->negated ? on_true : on_false;
    step->path = node->path;
    step->operand = node->operand;
    step->values = node->values;
    step->value_count = node->value_count;
}

/* Append the steps of a node that goes on at on_true or on_false. Children follow each other, and
 * the number of their steps is known, so every target is known when it is written (Q1). Recursion
 * is bounded like the parser's. */
static void filter_emit(pv__filter *filter, const pv__filter_node *node, uint32_t on_true,
                        uint32_t on_false) {
    switch (node->op) {
    case PV__FILTER_NOT:
        filter_emit(filter, node->child, on_false, on_true);
        break;
    case PV__FILTER_AND:
        for (const pv__filter_node *c = node->child; c; c = c->next) {
            uint32_t after = filter->step_count + c->steps;
            filter_emit(filter, c, c->next ? after : on_true, on_false);
        }
        break;
    case PV__FILTER_OR:
        for (const pv__filter_node *c = node->child; c; c = c->next) {
            uint32_t after = filter->step_count + c->steps;
            filter_emit(filter, c, on_true, c->next ? after : on_false);
        }
        break;
    default:
        filter_emit_condition(filter, node, on_true, on_false);
        break;
    }
}

static int filter_build(pv__filter *filter, const char *json, size_t len, pv_error *err) {
    const pv__json_opts opts = {"filter", PV__FILTER_BYTES_MAX, true};
    PV_TRY(pv__json_read(&opts, json, len, &filter->doc, err));
    PV_TRY(pv__filter_parse(filter, err));
    size_t size = filter->root->steps * sizeof *filter->steps;
    filter->steps = (pv__filter_step *)pv__arena_alloc(&filter->arena, size);
    if (!filter->steps) {
        return pv__err_nomem(err, size);
    }
    filter_emit(filter, filter->root, PV__FILTER_TRUE, PV__FILTER_FALSE);
    PV_ASSERT(filter->step_count == filter->root->steps);
    return 0;
}

int pv__filter_compile(pv__mem *mem, const char *json, size_t len, pv__filter **out_filter,
                       pv_error *err) {
    *out_filter = NULL;
    if (!json) {
        return pv__err(err, PV_ERR_MISUSE, "filter: the text is NULL");
    }
    pv__filter *filter = (pv__filter *)pv__alloc_zero(mem, sizeof *filter);
    if (!filter) {
        return pv__err_nomem(err, sizeof *filter);
    }
    filter->mem = mem;
    pv__arena_init(&filter->arena, mem, FILTER_ARENA_CHUNK);
    pv__buf_init(&filter->doc, mem);
    int rc = filter_build(filter, json, len, err);
    if (rc) {
        pv__filter_free(filter);
        return rc;
    }
    *out_filter = filter;
    return 0;
}

void pv__filter_free(pv__filter *filter) {
    if (filter) {
        pv__arena_done(&filter->arena);
        pv__buf_done(&filter->doc);
        pv__alloc_free(filter->mem, filter, sizeof *filter);
    }
}

#undef FILTER_ARENA_CHUNK
