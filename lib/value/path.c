/* SPDX-License-Identifier: Apache-2.0 */
/* path.c - dotted paths, see path.h. */
#include "value/path.h"

#include "base/str.h"

/* The index that a segment means on an array: "0", "17", but not "017", "-1" or "4294967295". */
static uint32_t vpath_index(const char *s, size_t len) {
    uint64_t v = 0;
    if (len == 0 || len > 10 || (s[0] == '0' && len > 1)) {
        return PV__PATH_NO_INDEX;
    }
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return PV__PATH_NO_INDEX;
        }
        v = v * 10 + (uint64_t)(s[i] - '0');
    }
    return v < PV__PATH_NO_INDEX ? (uint32_t)v : PV__PATH_NO_INDEX;
}

static int vpath_fail(const char *what, const char *text, size_t len, const char *problem,
                      size_t at, pv_error *err) {
    pv__err(err, PV_ERR_FORMAT, "%s: path '%.*s': %s at byte %zu", what, (int)PV_MIN(len, 128u),
            text, problem, at);
    if (err) {
        err->offset = at;
    }
    return PV_ERR_FORMAT;
}

/* Segments of the text, each not empty; they share its copy in the arena. */
static int vpath_split(const char *what, const char *text, size_t len, pv__path_segment *segments,
                       pv_error *err) {
    size_t from = 0, n = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && text[i] != '.') {
            continue;
        }
        if (i == from) {
            return vpath_fail(what, text, len, "empty segment", i, err);
        }
        segments[n].key = text + from;
        segments[n].len = (uint32_t)(i - from);
        segments[n].index = vpath_index(text + from, i - from);
        n++;
        from = i + 1;
    }
    return 0;
}

int pv__path_compile(pv__arena *arena, const char *what, const char *text, size_t len,
                     pv__path *out, pv_error *err) {
    size_t bad_at, count = 1;
    if (!pv__utf8_valid(text, len, &bad_at)) {
        return vpath_fail(what, text, len, "invalid UTF-8", bad_at, err);
    }
    for (size_t i = 0; i < len; i++) {
        count += text[i] == '.';
    }
    if (count > PV__JSON_DEPTH_MAX || len > PV__DOC_BYTES_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "%s: path '%.*s' has %zu segments, the limit is %u", what,
                       (int)PV_MIN(len, 128u), text, count, PV__JSON_DEPTH_MAX);
    }
    char *copy = pv__arena_strdup(arena, text, len);
    pv__path_segment *segments =
        (pv__path_segment *)pv__arena_alloc(arena, count * sizeof *segments);
    if (!copy || !segments) {
        return pv__err_nomem(err, len + count * sizeof *segments);
    }
    PV_TRY(vpath_split(what, copy, len, segments, err));
    out->segments = segments;
    out->count = (uint32_t)count;
    return 0;
}

pv__value pv__path_walk(const pv__path *path, pv__value root) {
    pv__value v = root;
    for (uint32_t i = 0; i < path->count; i++) {
        const pv__path_segment *s = &path->segments[i];
        switch (pv__value_type(v)) {
        case PV__VALUE_OBJECT:
            v = pv__value_get(v, s->key, s->len);
            break;
        case PV__VALUE_ARRAY: /* beyond the end, as no index always is: no value */
            v = pv__value_at(v, s->index);
            break;
        default:
            return (pv__value){NULL, 0};
        }
    }
    return v;
}
