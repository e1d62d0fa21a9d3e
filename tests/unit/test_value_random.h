/* SPDX-License-Identifier: Apache-2.0 */
/* test_value_random.h - random JSON texts for the tests of lib/value: valid ones, in many spellings
 * of the same thing (spaces, escapes, order of keys). Deterministic for a seed. */
#ifndef TEST_VALUE_RANDOM_H
#define TEST_VALUE_RANDOM_H

#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "value/json.h"

typedef struct t_rng {
    uint64_t state;
} t_rng;

static inline uint64_t t_next(t_rng *r) {
    uint64_t z = (r->state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static inline unsigned t_below(t_rng *r, unsigned n) { return (unsigned)(t_next(r) % n); }

static inline void t_space(t_rng *r, pv__buf *out) {
    static const char *const spaces[] = {"", "", "", "", " ", "\n", "\t", "\r\n  "};
    pv__buf_add_text(out, spaces[t_below(r, 8)]);
}

static inline void t_random_string(t_rng *r, pv__buf *out) {
    static const char *const pieces[] = {"a",
                                         "b",
                                         "key",
                                         "\xC3\xA9",
                                         "\\u00e9",
                                         "\\n",
                                         "\\\"",
                                         "\\\\",
                                         "\\/",
                                         "\\ud83d\\ude00",
                                         "\\u0000",
                                         ".",
                                         "\xE2\x82\xAC",
                                         "\xF0\x9F\x98\x80",
                                         "$"};
    pv__buf_add_u8(out, '"');
    for (unsigned i = 0, n = t_below(r, 6); i < n; i++) {
        pv__buf_add_text(out, pieces[t_below(r, 15)]);
    }
    if (t_below(r, 40) == 0) {
        for (unsigned i = 0; i < 300; i++) {
            pv__buf_add_text(out, "long ");
        }
    }
    pv__buf_add_u8(out, '"');
}

static inline void t_random_number(t_rng *r, pv__buf *out) {
    char text[64];
    switch (t_below(r, 6)) {
    case 0:
        snprintf(text, sizeof text, "%d", (int)t_below(r, 600) - 300);
        break;
    case 1:
        snprintf(text, sizeof text, "%lld",
                 (long long)(int64_t)(t_next(r) >> t_below(r, 64)) * (t_below(r, 2) ? -1 : 1));
        break;
    case 2:
        snprintf(text, sizeof text, "%d.%u", (int)t_below(r, 20) - 10, t_below(r, 1000));
        break;
    case 3:
        snprintf(text, sizeof text, "%d.%ue%d", (int)t_below(r, 19) - 9, t_below(r, 100000),
                 (int)t_below(r, 600) - 300);
        break;
    case 4:
        snprintf(text, sizeof text, "%uE+%u", t_below(r, 9) + 1, t_below(r, 30));
        break;
    default:
        snprintf(text, sizeof text, "%llu0", (unsigned long long)(t_next(r) | 1));
        break;
    }
    pv__buf_add_text(out, text);
}

/* A JSON value of at most `depth` further levels. Keys are made unique by a number. */
static inline void t_random_json(t_rng *r, pv__buf *out, unsigned depth) {
    unsigned kind = t_below(r, depth > 0 ? 10 : 6);
    t_space(r, out);
    if (kind < 3) {
        static const char *const words[] = {"null", "true", "false"};
        pv__buf_add_text(out, words[kind]);
    } else if (kind == 3) {
        t_random_string(r, out);
    } else if (kind < 6) {
        t_random_number(r, out);
    } else {
        bool is_object = kind >= 8;
        unsigned n = t_below(r, 20) == 0 ? 60 : t_below(r, 7), first = t_below(r, 1000);
        pv__buf_add_u8(out, is_object ? '{' : '[');
        for (unsigned i = 0; i < n; i++) {
            if (i > 0) {
                pv__buf_add_u8(out, ',');
            }
            t_space(r, out);
            if (is_object) {
                char tail[16];
                t_random_string(r, out);
                out->len--; /* back over the quote */
                snprintf(tail, sizeof tail, "%u\"", (first + i * 7) % 1000);
                pv__buf_add_text(out, tail);
                t_space(r, out);
                pv__buf_add_u8(out, ':');
            }
            t_random_json(r, out, depth - 1);
        }
        t_space(r, out);
        pv__buf_add_u8(out, is_object ? '}' : ']');
    }
    t_space(r, out);
}

static inline int t_read(const char *text, size_t len, pv__buf *out, pv_error *err) {
    const pv__json_opts opts = {"metadata", PV__DOC_BYTES_MAX, false};
    return pv__json_read(&opts, text, len, out, err);
}

#endif
