/* SPDX-License-Identifier: Apache-2.0 */
/* json_scan.c - strict JSON text to a sequence of events, one per call. The grammar is a state and
 * one bit per open container:
 *
 *     VALUE --scalar--> AFTER --','--> VALUE (in arrays) or KEY (in objects)
 *       |                 ^ '--']' '}'--> AFTER of the container outside
 *       |--'['--> FIRST_VALUE        FIRST_*: the same, but the container may end at once
 *       '--'{'--> FIRST_KEY --key ':'--> VALUE
 *
 * Not here: duplicate keys (the builder sees them when it sorts). */
#include <math.h>

#include "base/str.h"
#include "value/json.h"

enum { JSON_VALUE, JSON_FIRST_VALUE, JSON_FIRST_KEY, JSON_KEY, JSON_AFTER, JSON_FAILED };

void pv__json_init(pv__json *j, pv__mem *mem, const char *what, const char *text, size_t len) {
    memset(j, 0, sizeof *j);
    j->what = what;
    j->text = text;
    j->len = len;
    j->state = JSON_VALUE;
    pv__buf_init(&j->scratch, mem);
}

void pv__json_done(pv__json *j) { pv__buf_done(&j->scratch); }

static int json_fail_with(pv__json *j, int code, size_t at, const char *what, pv_error *err) {
    j->state = JSON_FAILED;
    pv__err(err, code, "%s: %s at byte %zu", j->what, what, at);
    if (err) {
        err->offset = at;
    }
    return code;
}

static int json_fail(pv__json *j, size_t at, const char *what, pv_error *err) {
    return json_fail_with(j, PV_ERR_FORMAT, at, what, err);
}

static void json_skip_space(pv__json *j) {
    while (j->pos < j->len) {
        char c = j->text[j->pos];
        if (c != ' ' && c != '\n' && c != '\t' && c != '\r') {
            break;
        }
        j->pos++;
    }
}

/* The next byte, or -1 at the end. */
static int json_peek(const pv__json *j) {
    return j->pos < j->len ? (unsigned char)j->text[j->pos] : -1;
}

static bool json_in_object(const pv__json *j) { return (j->objects >> (j->depth - 1)) & 1; }

/* ---- strings -------------------------------------------------------------------------------- */

static int json_hex4(const char *p, size_t left) {
    int v = 0;
    if (left < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) {
            return -1;
        }
        v = v * 16 + digit;
    }
    return v;
}

static void json_add_utf8(pv__buf *b, uint32_t c) {
    uint8_t u[4];
    size_t n;
    if (c < 0x80) {
        u[0] = (uint8_t)c;
        n = 1;
    } else if (c < 0x800) {
        u[0] = (uint8_t)(0xC0 | (c >> 6));
        u[1] = (uint8_t)(0x80 | (c & 0x3F));
        n = 2;
    } else if (c < 0x10000) {
        u[0] = (uint8_t)(0xE0 | (c >> 12));
        u[1] = (uint8_t)(0x80 | ((c >> 6) & 0x3F));
        u[2] = (uint8_t)(0x80 | (c & 0x3F));
        n = 3;
    } else {
        u[0] = (uint8_t)(0xF0 | (c >> 18));
        u[1] = (uint8_t)(0x80 | ((c >> 12) & 0x3F));
        u[2] = (uint8_t)(0x80 | ((c >> 6) & 0x3F));
        u[3] = (uint8_t)(0x80 | (c & 0x3F));
        n = 4;
    }
    pv__buf_add(b, u, n);
}

/* \uXXXX at pos (which stands on the backslash), with its second half where it needs one. */
static int json_unescape_u(pv__json *j, pv_error *err) {
    size_t at = j->pos;
    int high = json_hex4(j->text + at + 2, j->len - at - 2);
    if (high < 0) {
        return json_fail(j, at, "\\u without four hexadecimal digits", err);
    }
    uint32_t c = (uint32_t)high;
    j->pos += 6;
    if (c >= 0xDC00 && c <= 0xDFFF) {
        return json_fail(j, at, "lone surrogate", err);
    }
    if (c >= 0xD800 && c <= 0xDBFF) {
        const char *p = j->text + j->pos;
        size_t left = j->len - j->pos;
        int low = left >= 6 && p[0] == '\\' && p[1] == 'u' ? json_hex4(p + 2, left - 2) : -1;
        if (low < 0xDC00 || low > 0xDFFF) {
            return json_fail(j, at, "lone surrogate", err);
        }
        c = 0x10000 + ((c - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
        j->pos += 6;
    }
    json_add_utf8(&j->scratch, c);
    return 0;
}

static int json_unescape(pv__json *j, pv_error *err) {
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    if (j->pos + 1 >= j->len) {
        return json_fail(j, j->len, "unterminated string", err);
    }
    char c = j->text[j->pos + 1];
    if (c == 'u') {
        return json_unescape_u(j, err);
    }
    const char *name = c ? strchr(names, c) : NULL;
    if (!name) {
        return json_fail(j, j->pos, "unknown escape", err);
    }
    pv__buf_add_u8(&j->scratch, (uint8_t)values[name - names]);
    j->pos += 2;
    return 0;
}

#define JSON_EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Bit 7 of each byte that is 0; bytes above the lowest such one may be marked too. */
static uint64_t json_zeros(uint64_t w) { return (w - JSON_EACH(1)) & ~w & JSON_EACH(0x80); }

/* Go on to the next quote, backslash or control character; is all before it UTF-8? Eight bytes at
 * a time (H. Warren, "Hacker's Delight", 6-1), the rest one by one. */
static int json_plain_run(pv__json *j, pv_error *err) {
    size_t from = j->pos, bad_at;
    uint64_t seen = 0;
    while (j->len - j->pos >= 8) {
        uint64_t w = pv__get64(j->text + j->pos);
        uint64_t stop = json_zeros(w ^ JSON_EACH('"')) | json_zeros(w ^ JSON_EACH('\\')) |
                        ((w - JSON_EACH(0x20)) & ~w & JSON_EACH(0x80));
        if (stop) {
            unsigned n = (unsigned)__builtin_ctzll(stop) / 8;
            seen |= n ? w << (64 - 8 * n) & JSON_EACH(0x80) : 0;
            j->pos += n;
            break;
        }
        seen |= w & JSON_EACH(0x80);
        j->pos += 8;
    }
    while (j->pos < j->len) {
        unsigned char c = (unsigned char)j->text[j->pos];
        if (c == '"' || c == '\\' || c < 0x20) {
            break;
        }
        seen |= c;
        j->pos++;
    }
    if ((seen & JSON_EACH(0x80)) && !pv__utf8_valid(j->text + from, j->pos - from, &bad_at)) {
        return json_fail(j, from + bad_at, "invalid UTF-8", err);
    }
    if (j->pos == j->len) {
        return json_fail(j, j->len, "unterminated string", err);
    }
    if ((unsigned char)j->text[j->pos] < 0x20) {
        return json_fail(j, j->pos, "control character in a string", err);
    }
    return 0;
}

/* A string whose opening quote is at pos. Without escapes it is used where it lies. */
static int json_string(pv__json *j, pv_error *err) {
    size_t from = ++j->pos;
    PV_TRY(json_plain_run(j, err));
    if (j->text[j->pos] == '"') {
        j->str = j->text + from;
        j->str_len = j->pos - from;
        j->pos++;
        return 0;
    }
    pv__buf_clear(&j->scratch);
    for (;;) {
        pv__buf_add(&j->scratch, j->text + from, j->pos - from);
        if (j->text[j->pos] == '"') {
            break;
        }
        PV_TRY(json_unescape(j, err));
        from = j->pos;
        PV_TRY(json_plain_run(j, err));
    }
    j->pos++;
    if (j->scratch.failed) {
        j->state = JSON_FAILED;
        return pv__buf_check(&j->scratch, err);
    }
    j->str = j->scratch.len > 0 ? (const char *)j->scratch.data : "";
    j->str_len = j->scratch.len;
    return 0;
}

/* ---- numbers and words ---------------------------------------------------------------------- */

/* Digits at pos; how many. */
static size_t json_digits(pv__json *j) {
    size_t from = j->pos;
    while (j->pos < j->len && j->text[j->pos] >= '0' && j->text[j->pos] <= '9') {
        j->pos++;
    }
    return j->pos - from;
}

static int json_number(pv__json *j, pv_error *err) {
    size_t from = j->pos;
    bool integer = true;
    if (json_peek(j) == '-') {
        j->pos++;
    }
    if (json_peek(j) == '0') {
        j->pos++; /* nothing but '.' or an exponent can follow a leading zero */
    } else if (json_digits(j) == 0) {
        return json_fail(j, j->pos, "expected a digit", err);
    }
    if (json_peek(j) == '.') {
        integer = false;
        j->pos++;
        if (json_digits(j) == 0) {
            return json_fail(j, j->pos, "expected a digit", err);
        }
    }
    if (json_peek(j) == 'e' || json_peek(j) == 'E') {
        integer = false;
        j->pos++;
        if (json_peek(j) == '+' || json_peek(j) == '-') {
            j->pos++;
        }
        if (json_digits(j) == 0) {
            return json_fail(j, j->pos, "expected a digit", err);
        }
    }
    const char *text = j->text + from;
    size_t len = j->pos - from;
    if (integer && pv__str_to_i64(text, len, &j->number_int)) {
        j->event = PV__JSON_INT;
        j->number_double = (double)j->number_int;
        return 0;
    }
    if (!pv__str_to_double(text, len, &j->number_double) || !isfinite(j->number_double)) {
        return json_fail(j, from, "number out of range", err);
    }
    j->event = PV__JSON_DOUBLE;
    return 0;
}

static int json_word(pv__json *j, const char *word, unsigned event, pv_error *err) {
    size_t n = strlen(word);
    if (j->len - j->pos < n || memcmp(j->text + j->pos, word, n) != 0) {
        return json_fail(j, j->pos, "expected a value", err);
    }
    j->pos += n;
    j->event = event;
    return 0;
}

/* ---- grammar -------------------------------------------------------------------------------- */

static int json_open(pv__json *j, bool is_object, pv_error *err) {
    if (j->depth == PV__JSON_DEPTH_MAX) {
        return json_fail_with(j, PV_ERR_LIMIT, j->pos, "nested too deep", err);
    }
    uint64_t bit = (uint64_t)1 << j->depth++;
    j->objects = is_object ? j->objects | bit : j->objects & ~bit;
    j->event = is_object ? PV__JSON_OBJECT : PV__JSON_ARRAY;
    j->state = is_object ? JSON_FIRST_KEY : JSON_FIRST_VALUE;
    j->pos++;
    return 0;
}

static int json_value(pv__json *j, pv_error *err) {
    int c = json_peek(j);
    if (c == '{' || c == '[') {
        return json_open(j, c == '{', err);
    }
    j->state = JSON_AFTER;
    switch (c) {
    case '"':
        j->event = PV__JSON_STRING;
        return json_string(j, err);
    case 't':
        return json_word(j, "true", PV__JSON_TRUE, err);
    case 'f':
        return json_word(j, "false", PV__JSON_FALSE, err);
    case 'n':
        return json_word(j, "null", PV__JSON_NULL, err);
    default:
        if (c == '-' || (c >= '0' && c <= '9')) {
            return json_number(j, err);
        }
        return json_fail(j, j->pos, "expected a value", err);
    }
}

/* A key and its colon; the value stays for the next call. */
static int json_key(pv__json *j, pv_error *err) {
    if (json_peek(j) != '"') {
        bool first = j->state == JSON_FIRST_KEY;
        return json_fail(j, j->pos, first ? "expected a key or '}'" : "expected a key", err);
    }
    j->event = PV__JSON_KEY;
    PV_TRY(json_string(j, err));
    json_skip_space(j);
    if (json_peek(j) != ':') {
        return json_fail(j, j->pos, "expected ':'", err);
    }
    j->pos++;
    j->state = JSON_VALUE;
    return 0;
}

static void json_close(pv__json *j) {
    j->event = json_in_object(j) ? PV__JSON_OBJECT_END : PV__JSON_ARRAY_END;
    j->depth--;
    j->pos++;
    j->state = JSON_AFTER;
}

int pv__json_next(pv__json *j, pv_error *err) {
    PV_ASSERT(j->state != JSON_FAILED);
    json_skip_space(j);
    j->at = j->pos;
    int c = json_peek(j);
    if (j->state == JSON_AFTER) {
        if (j->depth == 0) {
            j->event = PV__JSON_END;
            return c < 0 ? 0 : json_fail(j, j->pos, "unexpected text after the value", err);
        }
        bool in_object = json_in_object(j);
        if (c == (in_object ? '}' : ']')) {
            json_close(j);
            return 0;
        }
        if (c != ',') {
            return json_fail(j, j->pos, in_object ? "expected ',' or '}'" : "expected ',' or ']'",
                             err);
        }
        j->pos++;
        json_skip_space(j);
        j->at = j->pos;
        j->state = in_object ? JSON_KEY : JSON_VALUE;
    } else if ((j->state == JSON_FIRST_KEY && c == '}') ||
               (j->state == JSON_FIRST_VALUE && c == ']')) {
        json_close(j);
        return 0;
    }
    if (j->state == JSON_FIRST_KEY || j->state == JSON_KEY) {
        return json_key(j, err);
    }
    return json_value(j, err);
}

#undef JSON_EACH
