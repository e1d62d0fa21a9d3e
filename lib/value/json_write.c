/* SPDX-License-Identifier: Apache-2.0 */
/* json_write.c - a binary document to its one canonical JSON text. Checked values are at most
 * PV__JSON_DEPTH_MAX deep, and a stack of the open containers replaces recursion. */
#include "base/str.h"
#include "value/json.h"

/* Runs of plain bytes go out as they are; only what RFC 8259 demands is escaped. */
static void jwrite_string(pv__buf *out, const char *s, size_t len) {
    static const char hex[] = "0123456789abcdef";
    size_t from = 0;
    pv__buf_add_u8(out, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        pv__buf_add(out, s + from, i - from);
        from = i + 1;
        char escape[6] = {'\\', (char)c, '0', '0', 0, 0};
        size_t n = 2;
        switch (c) {
        case '"':
        case '\\':
            break;
        case '\b':
            escape[1] = 'b';
            break;
        case '\f':
            escape[1] = 'f';
            break;
        case '\n':
            escape[1] = 'n';
            break;
        case '\r':
            escape[1] = 'r';
            break;
        case '\t':
            escape[1] = 't';
            break;
        default:
            escape[1] = 'u';
            escape[4] = hex[c >> 4];
            escape[5] = hex[c & 15];
            n = 6;
            break;
        }
        pv__buf_add(out, escape, n);
    }
    pv__buf_add(out, s + from, len - from);
    pv__buf_add_u8(out, '"');
}

static void jwrite_double(pv__buf *out, double v) {
    char text[34];
    size_t n = pv__str_from_double(text, v);
    bool integral = true;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '.' || text[i] == 'e' || text[i] == 'E') {
            integral = false;
        }
    }
    if (integral) { /* or it would come back as an INT */
        text[n++] = '.';
        text[n++] = '0';
    }
    pv__buf_add(out, text, n);
}

static void jwrite_scalar(pv__buf *out, pv__value v) {
    char text[24];
    size_t len;
    switch (pv__value_type(v)) {
    case PV__VALUE_FALSE:
        pv__buf_add(out, "false", 5);
        break;
    case PV__VALUE_TRUE:
        pv__buf_add(out, "true", 4);
        break;
    case PV__VALUE_INT:
        len = pv__str_from_i64(text, pv__value_int(v));
        pv__buf_add(out, text, len);
        break;
    case PV__VALUE_DOUBLE:
        jwrite_double(out, pv__value_double(v));
        break;
    case PV__VALUE_STRING: {
        const char *s = pv__value_string(v, &len);
        jwrite_string(out, s, len);
        break;
    }
    default:
        pv__buf_add(out, "null", 4);
        break;
    }
}

typedef struct jwrite_frame {
    pv__value value;
    size_t next, count;
    bool is_object;
} jwrite_frame;

void pv__json_write(pv__buf *out, pv__value v) {
    jwrite_frame stack[PV__JSON_DEPTH_MAX];
    unsigned depth = 0;
    for (;;) {
        unsigned type = pv__value_type(v);
        if (type != PV__VALUE_ARRAY && type != PV__VALUE_OBJECT) {
            jwrite_scalar(out, v);
        } else if (depth < PV__JSON_DEPTH_MAX) { /* always so in a checked document */
            bool is_object = type == PV__VALUE_OBJECT;
            pv__buf_add_u8(out, is_object ? '{' : '[');
            stack[depth++] = (jwrite_frame){v, 0, pv__value_count(v), is_object};
        }
        while (depth > 0 && stack[depth - 1].next == stack[depth - 1].count) {
            pv__buf_add_u8(out, stack[--depth].is_object ? '}' : ']');
        }
        if (depth == 0) {
            return;
        }
        jwrite_frame *f = &stack[depth - 1];
        if (f->next > 0) {
            pv__buf_add_u8(out, ',');
        }
        if (f->is_object) {
            size_t len;
            const char *key = pv__value_key(f->value, f->next, &len);
            jwrite_string(out, key, len);
            pv__buf_add_u8(out, ':');
        }
        v = pv__value_at(f->value, f->next++);
    }
}
