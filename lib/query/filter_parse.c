/* SPDX-License-Identifier: Apache-2.0 */
/* filter_parse.c - the document of a filter to its tree. The text has been read by json_read.c, so
 * grammar, UTF-8 and duplicate keys are behind us; here operators get their meaning and everything
 * that has none is refused. Recursion is bounded by PV__FILTER_DEPTH_MAX.
 *
 * A filter's keys are tried in the order of their bytes, which is fixed and not the writer's. */
#include "query/filter_node.h"
#include "value/compare.h"
#include "value/sort.h"

typedef struct fparse {
    pv__filter *filter;
    uint32_t node_count;
    pv_error *err;
} fparse;

/* The text of a key or an operator as the arguments of "%.*s". */
#define FPARSE_SHOW(s, len) (int)PV_MIN((len), (size_t)128), (s)

static int fparse_filter(fparse *p, pv__value v, unsigned depth, pv__filter_node **out);
static int fparse_operators(fparse *p, const pv__path *path, pv__value v, unsigned depth,
                            pv__filter_node **out);

static bool fparse_is(const char *s, size_t len, const char *word) {
    return len == strlen(word) && memcmp(s, word, len) == 0;
}

static int fparse_node(fparse *p, unsigned op, pv__filter_node **out) {
    if (p->node_count == PV__FILTER_NODES_MAX) {
        return pv__err(p->err, PV_ERR_LIMIT, "filter: more than %u conditions",
                       PV__FILTER_NODES_MAX);
    }
    pv__filter_node *node = (pv__filter_node *)pv__arena_zero(&p->filter->arena, sizeof *node);
    if (!node) {
        return pv__err_nomem(p->err, sizeof *node);
    }
    p->node_count++;
    node->op = op;
    node->steps = op >= PV__FILTER_ALL ? 1 : 0;
    *out = node;
    return 0;
}

static int fparse_depth(const fparse *p, unsigned depth) {
    if (depth > PV__FILTER_DEPTH_MAX) {
        return pv__err(p->err, PV_ERR_LIMIT, "filter: nested deeper than %u levels",
                       PV__FILTER_DEPTH_MAX);
    }
    return 0;
}

static void fparse_append(pv__filter_node *parent, pv__filter_node ***tail,
                          pv__filter_node *child) {
    **tail = child;
    *tail = &child->next;
    parent->steps += child->steps;
}

/* ---- operators ------------------------------------------------------------------------------ */

typedef struct fparse_operator {
    const char *name;
    unsigned op;
    bool negated;
} fparse_operator;

/* Those that stand below a field; $not is apart. */
static const fparse_operator *fparse_find(const char *s, size_t len) {
    static const fparse_operator table[] = {
        {"$eq", PV__FILTER_EQ, false},         {"$ne", PV__FILTER_EQ, true},
        {"$gt", PV__FILTER_GT, false},         {"$gte", PV__FILTER_GTE, false},
        {"$lt", PV__FILTER_LT, false},         {"$lte", PV__FILTER_LTE, false},
        {"$in", PV__FILTER_IN, false},         {"$nin", PV__FILTER_IN, true},
        {"$exists", PV__FILTER_EXISTS, false},
    };
    for (size_t i = 0; i < PV_COUNTOF(table); i++) {
        if (fparse_is(s, len, table[i].name)) {
            return &table[i];
        }
    }
    return NULL;
}

static bool fparse_is_logical(const char *s, size_t len) {
    return fparse_is(s, len, "$and") || fparse_is(s, len, "$or") || fparse_is(s, len, "$not");
}

/* Has this object an operator among its own keys? '$' is not the smallest byte a key begins with,
 * so all are looked at. */
static bool fparse_has_operator(pv__value v) {
    for (size_t i = 0, n = pv__value_count(v); i < n; i++) {
        size_t len;
        const char *key = pv__value_key(v, i, &len);
        if (len > 0 && key[0] == '$') {
            return true;
        }
    }
    return false;
}

/* An operator that cannot stand here: known in another place, or not known at all. */
static int fparse_misplaced(const fparse *p, const char *s, size_t len) {
    if (fparse_find(s, len)) {
        return pv__err(p->err, PV_ERR_FORMAT, "filter: operator '%.*s' must stand below a field",
                       FPARSE_SHOW(s, len));
    }
    if (fparse_is_logical(s, len)) {
        return pv__err(p->err, PV_ERR_FORMAT, "filter: operator '%.*s' cannot stand below a field",
                       FPARSE_SHOW(s, len));
    }
    return pv__err(p->err, PV_ERR_UNSUPPORTED,
                   "filter: operator '%.*s' is not supported in this version", FPARSE_SHOW(s, len));
}

static bool fparse_less(const void *ctx, uint32_t a, uint32_t b) {
    pv__value list = *(const pv__value *)ctx;
    int order = pv__value_compare(pv__value_at(list, a), pv__value_at(list, b));
    return order < 0 || (order == 0 && a < b);
}

/* The elements of $in, ascending and each once, so that a row asks by binary search. */
static int fparse_list(fparse *p, pv__filter_node *node) {
    pv__value list = node->operand;
    size_t count = pv__value_count(list), kept = 0;
    if (pv__value_type(list) != PV__VALUE_ARRAY) {
        return pv__err(p->err, PV_ERR_FORMAT, "filter: operator '%s' wants an array",
                       node->negated ? "$nin" : "$in");
    }
    if (count == 0) {
        return 0;
    }
    pv__mem *mem = p->filter->mem;
    uint32_t *order = (uint32_t *)pv__alloc_array(mem, count, sizeof *order);
    pv__value *values = (pv__value *)pv__arena_alloc(&p->filter->arena, count * sizeof *values);
    if (order && values) {
        for (size_t i = 0; i < count; i++) {
            order[i] = (uint32_t)i;
        }
        pv__sort_u32(order, count, fparse_less, &list);
        for (size_t i = 0; i < count; i++) {
            pv__value v = pv__value_at(list, order[i]);
            if (kept == 0 || pv__value_compare(values[kept - 1], v) != 0) {
                values[kept++] = v;
            }
        }
        node->values = values;
        node->value_count = (uint32_t)kept;
    }
    bool failed = !order || !values;
    pv__alloc_free(mem, order, count * sizeof *order);
    return failed ? pv__err_nomem(p->err, count * sizeof *values) : 0;
}

static int fparse_condition(fparse *p, const pv__path *path, const fparse_operator *o, pv__value v,
                            pv__filter_node **out) {
    PV_TRY(fparse_node(p, o->op, out));
    pv__filter_node *node = *out;
    unsigned type = pv__value_type(v);
    node->path = path;
    node->negated = o->negated;
    node->operand = v;
    if (o->op == PV__FILTER_EXISTS) {
        if (type != PV__VALUE_TRUE && type != PV__VALUE_FALSE) {
            return pv__err(p->err, PV_ERR_FORMAT, "filter: operator '$exists' wants true or false");
        }
        node->negated = type == PV__VALUE_FALSE;
    }
    return o->op == PV__FILTER_IN ? fparse_list(p, node) : 0;
}

/* One member of an object of operators. */
static int fparse_operator_one(fparse *p, const pv__path *path, const char *s, size_t len,
                               pv__value v, unsigned depth, pv__filter_node **out) {
    if (len == 0 || s[0] != '$') {
        return pv__err(p->err, PV_ERR_FORMAT,
                       "filter: '%.*s' among operators: a field or a value cannot stand here",
                       FPARSE_SHOW(s, len));
    }
    if (fparse_is(s, len, "$not")) {
        if (pv__value_type(v) != PV__VALUE_OBJECT || !fparse_has_operator(v)) {
            return pv__err(p->err, PV_ERR_FORMAT,
                           "filter: operator '$not' below a field wants an object of operators");
        }
        PV_TRY(fparse_node(p, PV__FILTER_NOT, out));
        PV_TRY(fparse_operators(p, path, v, depth + 1, &(*out)->child));
        (*out)->steps = (*out)->child->steps;
        return 0;
    }
    const fparse_operator *o = fparse_find(s, len);
    if (!o) {
        return fparse_misplaced(p, s, len);
    }
    return fparse_condition(p, path, o, v, out);
}

/* {"$gte": 1, "$lt": 5}: all of them. */
static int fparse_operators(fparse *p, const pv__path *path, pv__value v, unsigned depth,
                            pv__filter_node **out) {
    size_t count = pv__value_count(v), len;
    PV_TRY(fparse_depth(p, depth));
    if (count == 1) {
        const char *s = pv__value_key(v, 0, &len);
        return fparse_operator_one(p, path, s, len, pv__value_at(v, 0), depth, out);
    }
    PV_TRY(fparse_node(p, PV__FILTER_AND, out));
    pv__filter_node **tail = &(*out)->child;
    for (size_t i = 0; i < count; i++) {
        pv__filter_node *child;
        const char *s = pv__value_key(v, i, &len);
        PV_TRY(fparse_operator_one(p, path, s, len, pv__value_at(v, i), depth, &child));
        fparse_append(*out, &tail, child);
    }
    return 0;
}

/* ---- fields --------------------------------------------------------------------------------- */

typedef struct fparse_frame {
    pv__value value;
    size_t next;
} fparse_frame;

/* A key that begins with '$' anywhere in a value that stands for itself: *out_key, or NULL. */
static const char *fparse_hidden_operator(pv__value v, size_t *out_len) {
    fparse_frame stack[PV__JSON_DEPTH_MAX];
    unsigned depth = 0;
    for (;;) {
        if (pv__value_count(v) > 0 && depth < PV__JSON_DEPTH_MAX) {
            stack[depth++] = (fparse_frame){v, 0};
        }
        while (depth > 0 && stack[depth - 1].next == pv__value_count(stack[depth - 1].value)) {
            depth--;
        }
        if (depth == 0) {
            return NULL;
        }
        fparse_frame *f = &stack[depth - 1];
        if (pv__value_type(f->value) == PV__VALUE_OBJECT) {
            const char *key = pv__value_key(f->value, f->next, out_len);
            if (*out_len > 0 && key[0] == '$') {
                return key;
            }
        }
        v = pv__value_at(f->value, f->next++);
    }
}

/* "field": condition */
static int fparse_field(fparse *p, const char *s, size_t len, pv__value v, unsigned depth,
                        pv__filter_node **out) {
    static const fparse_operator equals = {"$eq", PV__FILTER_EQ, false};
    pv__path *path = (pv__path *)pv__arena_alloc(&p->filter->arena, sizeof *path);
    if (!path) {
        return pv__err_nomem(p->err, sizeof *path);
    }
    int rc = pv__path_compile(&p->filter->arena, "filter", s, len, path, p->err);
    if (rc) {
        if (p->err) {
            p->err->offset = 0; /* of the path; the caller wants the filter's */
        }
        return rc;
    }
    if (pv__value_type(v) == PV__VALUE_OBJECT && fparse_has_operator(v)) {
        return fparse_operators(p, path, v, depth, out);
    }
    size_t hidden_len;
    const char *hidden = fparse_hidden_operator(v, &hidden_len);
    if (hidden) {
        return pv__err(p->err, PV_ERR_FORMAT,
                       "filter: '%.*s' inside the value of '%.*s': name the field by its dotted "
                       "path, or use $eq to compare with the value as it is",
                       FPARSE_SHOW(hidden, hidden_len), FPARSE_SHOW(s, len));
    }
    return fparse_condition(p, path, &equals, v, out);
}

/* ---- filters -------------------------------------------------------------------------------- */

/* "$and": [...], "$or": [...] */
static int fparse_group(fparse *p, unsigned op, pv__value v, unsigned depth,
                        pv__filter_node **out) {
    size_t count = pv__value_count(v);
    if (pv__value_type(v) != PV__VALUE_ARRAY || count == 0) {
        return pv__err(p->err, PV_ERR_FORMAT,
                       "filter: operator '%s' wants an array of at least one filter",
                       op == PV__FILTER_AND ? "$and" : "$or");
    }
    PV_TRY(fparse_node(p, op, out));
    pv__filter_node **tail = &(*out)->child;
    for (size_t i = 0; i < count; i++) {
        pv__filter_node *child;
        PV_TRY(fparse_filter(p, pv__value_at(v, i), depth + 1, &child));
        fparse_append(*out, &tail, child);
    }
    return 0;
}

/* One member of a filter. */
static int fparse_member(fparse *p, const char *s, size_t len, pv__value v, unsigned depth,
                         pv__filter_node **out) {
    if (len == 0 || s[0] != '$') {
        return fparse_field(p, s, len, v, depth, out);
    }
    if (fparse_is(s, len, "$and")) {
        return fparse_group(p, PV__FILTER_AND, v, depth, out);
    }
    if (fparse_is(s, len, "$or")) {
        return fparse_group(p, PV__FILTER_OR, v, depth, out);
    }
    if (!fparse_is(s, len, "$not")) {
        return fparse_misplaced(p, s, len);
    }
    PV_TRY(fparse_node(p, PV__FILTER_NOT, out));
    PV_TRY(fparse_filter(p, v, depth + 1, &(*out)->child));
    (*out)->steps = (*out)->child->steps;
    return 0;
}

static int fparse_filter(fparse *p, pv__value v, unsigned depth, pv__filter_node **out) {
    size_t count = pv__value_count(v), len;
    PV_TRY(fparse_depth(p, depth));
    if (pv__value_type(v) != PV__VALUE_OBJECT) {
        return pv__err(p->err, PV_ERR_FORMAT, "filter: a filter must be an object");
    }
    if (count == 0) {
        return fparse_node(p, PV__FILTER_ALL, out);
    }
    if (count == 1) {
        const char *s = pv__value_key(v, 0, &len);
        return fparse_member(p, s, len, pv__value_at(v, 0), depth, out);
    }
    PV_TRY(fparse_node(p, PV__FILTER_AND, out));
    pv__filter_node **tail = &(*out)->child;
    for (size_t i = 0; i < count; i++) {
        pv__filter_node *child;
        const char *s = pv__value_key(v, i, &len);
        PV_TRY(fparse_member(p, s, len, pv__value_at(v, i), depth, &child));
        fparse_append(*out, &tail, child);
    }
    return 0;
}

int pv__filter_parse(pv__filter *filter, pv_error *err) {
    fparse p = {filter, 0, err};
    pv__filter_node *root = NULL;
    PV_TRY(fparse_filter(&p, pv__doc_root(filter->doc.data, filter->doc.len), 1, &root));
    filter->root = root;
    return 0;
}

#undef FPARSE_SHOW
