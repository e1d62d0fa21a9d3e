/* SPDX-License-Identifier: Apache-2.0 */
/* test_query_filter_model.c - random filters on random documents against a naive evaluator that
 * shares nothing with the library: it has its own tree of values, walks paths by cutting text, and
 * asks the tree of the filter directly. Both sides meet only in JSON text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>

#include "query/filter.h"
#include "value/json.h"

/* ---- values of the model -------------------------------------------------------------------- */

enum { T_NULL, T_BOOL, T_NUMBER, T_STRING, T_ARRAY, T_OBJECT };

typedef struct t_value t_value;
struct t_value {
    int kind;
    bool truth;
    long long quarters;  /* NUMBER: four times its value, exact for every number here */
    bool as_double;      /* how it is spelled */
    const char *text;    /* STRING */
    unsigned count;      /* ARRAY, OBJECT */
    const char *keys[4]; /* OBJECT: ascending, each once */
    t_value *items[4];
};

static t_value t_values[4096];
static unsigned t_value_count;

static t_value *t_new_value(int kind) {
    assert_true(t_value_count < 4096);
    t_value *v = &t_values[t_value_count++];
    memset(v, 0, sizeof *v);
    v->kind = kind;
    return v;
}

static uint64_t t_state;
static unsigned t_below(unsigned n) {
    t_state ^= t_state << 13; /* xorshift64 */
    t_state ^= t_state >> 7;
    t_state ^= t_state << 17;
    return (unsigned)((t_state >> 11) % n);
}

static const char *const t_keys[] = {"0", "a", "ab", "b"}; /* ascending */
static const char *const t_texts[] = {"", "a", "ab", "b", "\xC3\xA9"};
/* Numbers that matter, in quarters; the large ones are where a double cannot count by one. */
#define T_BIG (1LL << 53)
static const long long t_numbers[] = {
    0, 1, 4, 4, 6, 8, -4, -6, 4 * T_BIG, 4 * (T_BIG + 1), 4 * (T_BIG + 2)};

/* Small domains, so that equality and order happen often. */
static t_value *t_random_value(unsigned depth) {
    unsigned roll = t_below(depth > 0 ? 12 : 9);
    if (roll < 1) {
        return t_new_value(T_NULL);
    }
    if (roll < 2) {
        t_value *v = t_new_value(T_BOOL);
        v->truth = t_below(2);
        return v;
    }
    if (roll < 6) {
        t_value *v = t_new_value(T_NUMBER);
        v->quarters = t_numbers[t_below(PV_COUNTOF(t_numbers))];
        bool exact = v->quarters != 4 * (T_BIG + 1);
        v->as_double = v->quarters % 4 != 0 || (exact && t_below(2));
        return v;
    }
    if (roll < 9) {
        t_value *v = t_new_value(T_STRING);
        v->text = t_texts[t_below(PV_COUNTOF(t_texts))];
        return v;
    }
    t_value *v = t_new_value(roll < 10 ? T_ARRAY : T_OBJECT);
    for (unsigned i = 0; i < 4; i++) {
        if (t_below(2)) {
            v->keys[v->count] = t_keys[i];
            v->items[v->count++] = t_random_value(depth - 1);
        }
    }
    return v;
}

static void t_print_value(pv__buf *out, const t_value *v) {
    char text[64];
    switch (v->kind) {
    case T_NULL:
        pv__buf_add_text(out, "null");
        return;
    case T_BOOL:
        pv__buf_add_text(out, v->truth ? "true" : "false");
        return;
    case T_NUMBER: {
        static const char *const tails[] = {".0", ".25", ".5", ".75"};
        long long magnitude = v->quarters < 0 ? -v->quarters : v->quarters;
        snprintf(text, sizeof text, "%s%lld%s", v->quarters < 0 ? "-" : "", magnitude / 4,
                 v->as_double ? tails[magnitude % 4] : "");
        pv__buf_add_text(out, text);
        return;
    }
    case T_STRING:
        snprintf(text, sizeof text, "\"%s\"", v->text);
        pv__buf_add_text(out, text);
        return;
    default:
        break;
    }
    unsigned start = v->count > 0 && v->kind == T_OBJECT ? t_below(v->count) : 0;
    pv__buf_add_u8(out, v->kind == T_OBJECT ? '{' : '[');
    for (unsigned i = 0; i < v->count; i++) {
        unsigned at = (start + i) % v->count; /* fields in any order */
        if (i > 0) {
            pv__buf_add_u8(out, ',');
        }
        if (v->kind == T_OBJECT) {
            snprintf(text, sizeof text, "\"%s\":", v->keys[at]);
            pv__buf_add_text(out, text);
        }
        t_print_value(out, v->items[at]);
    }
    pv__buf_add_u8(out, v->kind == T_OBJECT ? '}' : ']');
}

/* The order that the documentation states, written down again. */
static int t_compare(const t_value *a, const t_value *b) {
    if (a->kind != b->kind) {
        return a->kind < b->kind ? -1 : 1;
    }
    switch (a->kind) {
    case T_NULL:
        return 0;
    case T_BOOL:
        return (int)a->truth - (int)b->truth;
    case T_NUMBER:
        return (a->quarters > b->quarters) - (a->quarters < b->quarters);
    case T_STRING:
        return strcmp(a->text, b->text);
    default:
        break;
    }
    for (unsigned i = 0; i < a->count && i < b->count; i++) {
        int order = a->kind == T_OBJECT ? strcmp(a->keys[i], b->keys[i]) : 0;
        order = order ? order : t_compare(a->items[i], b->items[i]);
        if (order) {
            return order;
        }
    }
    return (int)a->count - (int)b->count;
}

static const t_value *t_walk(const t_value *v, const char *path) {
    while (*path) {
        char segment[16];
        size_t n = strcspn(path, ".");
        assert_true(n < sizeof segment);
        memcpy(segment, path, n);
        segment[n] = 0;
        path += n + (path[n] == '.');
        const t_value *found = NULL;
        for (unsigned i = 0; i < v->count; i++) {
            char index[16];
            snprintf(index, sizeof index, "%u", i);
            if (strcmp(segment, v->kind == T_OBJECT ? v->keys[i] : index) == 0) {
                found = v->items[i];
            }
        }
        if (!found) {
            return NULL;
        }
        v = found;
    }
    return v;
}

/* ---- filters of the model ------------------------------------------------------------------- */

enum { T_EQ, T_IMPLICIT, T_NE, T_GT, T_GTE, T_LT, T_LTE, T_IN, T_NIN, T_EXISTS, T_OPS };
static const char *const t_op_names[] = {"$eq", "",     "$ne", "$gt",  "$gte",
                                         "$lt", "$lte", "$in", "$nin", "$exists"};

enum { T_COND, T_FIELD_NOT, T_AND, T_OR, T_NOT, T_FIELDS };

typedef struct t_filter t_filter;
struct t_filter {
    int kind;
    int op;           /* COND, FIELD_NOT: of the field `path` */
    const char *path; /* FIELDS: of each child, all different */
    const t_value *operand;
    unsigned count;
    t_filter *children[4];
};

static t_filter t_filters[1024];
static unsigned t_filter_count;

static const char *const t_paths[] = {"a", "b", "ab", "a.a", "a.0", "b.1", "ab.a.b", "0", "a.ab.0"};

static t_filter *t_random_condition(const char *path) {
    t_filter *f = &t_filters[t_filter_count++];
    memset(f, 0, sizeof *f);
    f->kind = t_below(5) ? T_COND : T_FIELD_NOT;
    f->op = (int)t_below(T_OPS);
    f->path = path;
    if (f->kind == T_FIELD_NOT && f->op == T_IMPLICIT) {
        f->op = T_EQ;
    }
    if (f->op == T_EXISTS) {
        t_value *v = t_new_value(T_BOOL);
        v->truth = t_below(2);
        f->operand = v;
    } else if (f->op == T_IN || f->op == T_NIN) {
        t_value *v = t_new_value(T_ARRAY);
        v->count = t_below(5);
        for (unsigned i = 0; i < v->count; i++) {
            v->items[i] = t_random_value(1);
        }
        f->operand = v;
    } else {
        f->operand = t_random_value(2);
    }
    return f;
}

static t_filter *t_random_filter(unsigned depth) {
    if (depth == 0 || t_below(3) == 0) {
        return t_random_condition(t_paths[t_below(PV_COUNTOF(t_paths))]);
    }
    assert_true(t_filter_count < 1000);
    t_filter *f = &t_filters[t_filter_count++];
    memset(f, 0, sizeof *f);
    f->kind = T_AND + (int)t_below(4);
    f->count = f->kind == T_NOT ? 1 : f->kind == T_FIELDS ? t_below(4) : 1 + t_below(4);
    unsigned first = t_below(PV_COUNTOF(t_paths));
    for (unsigned i = 0; i < f->count; i++) {
        f->children[i] = f->kind == T_FIELDS
                             ? t_random_condition(t_paths[(first + i * 2) % PV_COUNTOF(t_paths)])
                             : t_random_filter(depth - 1);
    }
    return f;
}

/* "path": condition */
static void t_print_condition(pv__buf *out, const t_filter *f) {
    char text[64];
    snprintf(text, sizeof text, "\"%s\": ", f->path);
    pv__buf_add_text(out, text);
    if (f->op == T_IMPLICIT) {
        t_print_value(out, f->operand);
        return;
    }
    snprintf(text, sizeof text,
             f->kind == T_FIELD_NOT ? "{\"$not\":{\"%s\":" : "{\"%s\":", t_op_names[f->op]);
    pv__buf_add_text(out, text);
    t_print_value(out, f->operand);
    pv__buf_add_text(out, f->kind == T_FIELD_NOT ? "}}" : "}");
}

static void t_print_filter(pv__buf *out, const t_filter *f) {
    static const char *const heads[] = {"{", "{", "{\"$and\":[", "{\"$or\":[", "{\"$not\":", "{"};
    static const char *const tails[] = {"}", "}", "]}", "]}", "}", "}"};
    pv__buf_add_text(out, heads[f->kind]);
    if (f->kind == T_COND || f->kind == T_FIELD_NOT) {
        t_print_condition(out, f);
    }
    for (unsigned i = 0; i < f->count; i++) {
        if (i > 0) {
            pv__buf_add_text(out, ", ");
        }
        if (f->kind == T_FIELDS) {
            t_print_condition(out, f->children[i]);
        } else {
            t_print_filter(out, f->children[i]);
        }
    }
    pv__buf_add_text(out, tails[f->kind]);
}

static bool t_holds(const t_filter *f, const t_value *doc) {
    static const t_value null_value = {.kind = T_NULL};
    const t_value *found = t_walk(doc, f->path);
    const t_value *v = found ? found : &null_value, *o = f->operand;
    bool in = false;
    switch (f->op) {
    case T_EXISTS:
        return (found != NULL) == o->truth;
    case T_EQ:
    case T_IMPLICIT:
        return t_compare(v, o) == 0;
    case T_NE:
        return t_compare(v, o) != 0;
    case T_IN:
    case T_NIN:
        for (unsigned i = 0; i < o->count; i++) {
            in = in || t_compare(v, o->items[i]) == 0;
        }
        return in == (f->op == T_IN);
    default:
        break;
    }
    if (v->kind != o->kind) {
        return false;
    }
    int order = t_compare(v, o);
    return f->op == T_GT    ? order > 0
           : f->op == T_GTE ? order >= 0
           : f->op == T_LT  ? order < 0
                            : order <= 0;
}

static bool t_model(const t_filter *f, const t_value *doc) {
    bool all = true, any = false;
    switch (f->kind) {
    case T_COND:
        return t_holds(f, doc);
    case T_FIELD_NOT:
        return !t_holds(f, doc);
    case T_NOT:
        return !t_model(f->children[0], doc);
    default:
        break;
    }
    for (unsigned i = 0; i < f->count; i++) {
        bool one = t_model(f->children[i], doc);
        all = all && one;
        any = any || one;
    }
    return f->kind == T_OR ? any : all;
}

/* ---- the meeting ---------------------------------------------------------------------------- */

#define T_DOCS 40

static pv__mem t_mem;

/* One set of documents, many filters. Returns the number of matches. */
static unsigned t_one_round(unsigned filter_count) {
    const t_value *docs[T_DOCS];
    pv__buf texts[T_DOCS], binary[T_DOCS], text;
    const pv__json_opts opts = {"metadata", PV__METADATA_BYTES_MAX, true};
    pv_error err = PV_ERROR_INIT;
    unsigned matches = 0;
    t_value_count = 0;
    pv__buf_init(&text, &t_mem);
    for (unsigned i = 0; i < T_DOCS; i++) {
        t_value *v;
        do {
            v = t_random_value(3);
        } while (v->kind != T_OBJECT);
        docs[i] = v;
        pv__buf_init(&texts[i], &t_mem);
        pv__buf_init(&binary[i], &t_mem);
        t_print_value(&texts[i], v);
        pv__buf_add_u8(&texts[i], 0);
        assert_int_equal(
            pv__json_read(&opts, (const char *)texts[i].data, texts[i].len - 1, &binary[i], &err),
            0);
    }
    unsigned values_kept = t_value_count;
    for (unsigned k = 0; k < filter_count; k++) {
        pv__filter *filter = NULL;
        t_value_count = values_kept;
        t_filter_count = 0;
        const t_filter *f = t_random_filter(4);
        pv__buf_clear(&text);
        t_print_filter(&text, f);
        pv__buf_add_u8(&text, 0);
        const char *json = (const char *)text.data;
        if (pv__filter_compile(&t_mem, json, text.len - 1, &filter, &err)) {
            fail_msg("%s: %s", json, err.message);
        }
        for (unsigned i = 0; i < T_DOCS; i++) {
            bool want = t_model(f, docs[i]);
            bool got = pv__filter_match(filter, binary[i].data, binary[i].len);
            if (want != got) {
                fail_msg("%s on %s: %d, the model says %d", json, (const char *)texts[i].data, got,
                         want);
            }
            matches += got;
        }
        pv__filter_free(filter);
    }
    for (unsigned i = 0; i < T_DOCS; i++) {
        pv__buf_done(&texts[i]);
        pv__buf_done(&binary[i]);
    }
    pv__buf_done(&text);
    return matches;
}

static void test_filter__random_filters_agree_with_a_naive_evaluator(void **state) {
    (void)state;
    const uint64_t seed = 424242;
    const unsigned rounds = 30, filters = 100;
    print_message("seed %llu\n", (unsigned long long)seed);
    pv__mem_init(&t_mem, NULL, 0);
    t_state = seed;
    unsigned matches = 0;
    for (unsigned i = 0; i < rounds; i++) {
        matches += t_one_round(filters);
    }
    unsigned total = rounds * filters * T_DOCS;
    print_message("%u comparisons, %u matches\n", total, matches);
    assert_true(matches > total / 5 && matches < total - total / 5);
    assert_int_equal(t_mem.bytes_used, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filter__random_filters_agree_with_a_naive_evaluator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
