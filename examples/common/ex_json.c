/* SPDX-License-Identifier: Apache-2.0 */
/* ex_json.c - see ex_json.h. The state is `want` and one byte per open bracket:
 *
 *      VALUE --value--> AFTER --','--> VALUE | KEY        AFTER --']' '}'--> AFTER, one level up
 *      KEY   --string--> COLON (read with the key) --> VALUE
 *      FIRST_*: as VALUE or KEY, but the closing bracket may come at once
 */
#include "ex_json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WANT_VALUE, WANT_FIRST_VALUE, WANT_KEY, WANT_FIRST_KEY, WANT_AFTER };

void ex_json_init(ex_json *j, const char *text, size_t len) {
    memset(j, 0, sizeof(*j));
    j->text = text;
    j->len = len;
    j->want = WANT_VALUE;
}

static ex_json_type json_fail(ex_json *j, size_t at, const char *why) {
    if (j->error == NULL) {
        j->error = why;
        j->error_at = at;
    }
    return EX_JSON_ERROR;
}

static void json_space(ex_json *j) {
    while (j->at < j->len) {
        char c = j->text[j->at];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r') {
            break;
        }
        j->at++;
    }
}

static int json_hex(const char *s, unsigned *out) {
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        char c = s[i];
        unsigned digit;
        if (c >= '0' && c <= '9') {
            digit = (unsigned)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            digit = (unsigned)(c - 'a') + 10;
        } else if (c >= 'A' && c <= 'F') {
            digit = (unsigned)(c - 'A') + 10;
        } else {
            return -1;
        }
        value = value * 16 + digit;
    }
    *out = value;
    return 0;
}

/* The escape at j->at (the backslash); moves behind it. The text ends with a NUL, so looking a
 * few bytes ahead stops there. */
static ex_json_type json_escape(ex_json *j) {
    const char *s = j->text + j->at;
    unsigned high;
    unsigned low;
    if (s[1] != 'u') {
        if (s[1] == '\0' || strchr("\"\\/bfnrt", s[1]) == NULL) {
            return json_fail(j, j->at, "unknown escape in a string");
        }
        j->at += 2;
        return EX_JSON_STRING;
    }
    if (json_hex(s + 2, &high) != 0) {
        return json_fail(j, j->at, "\\u wants four hexadecimal digits");
    }
    j->at += 6;
    if (high >= 0xDC00 && high <= 0xDFFF) {
        return json_fail(j, j->at - 6, "half of a surrogate pair");
    }
    if (high >= 0xD800 && high <= 0xDBFF) {
        if (s[6] != '\\' || s[7] != 'u' || json_hex(s + 8, &low) != 0 || low < 0xDC00 ||
            low > 0xDFFF) {
            return json_fail(j, j->at - 6, "half of a surrogate pair");
        }
        j->at += 6;
    }
    return EX_JSON_STRING;
}

static ex_json_type json_string(ex_json *j) {
    size_t begin = j->at;
    j->at++;
    while (j->at < j->len) {
        unsigned char c = (unsigned char)j->text[j->at];
        if (c == '"') {
            j->at++;
            return EX_JSON_STRING;
        }
        if (c == '\\') {
            if (json_escape(j) == EX_JSON_ERROR) {
                return EX_JSON_ERROR;
            }
            continue;
        }
        if (c < 0x20) {
            return json_fail(j, j->at, "control character in a string");
        }
        size_t n = ex_utf8_length(j->text + j->at, j->len - j->at);
        if (n == 0) {
            return json_fail(j, j->at, "string is not UTF-8");
        }
        j->at += n;
    }
    return json_fail(j, begin, "string does not end");
}

static size_t json_digits(const ex_json *j, size_t at) {
    while (j->text[at] >= '0' && j->text[at] <= '9') {
        at++;
    }
    return at;
}

static ex_json_type json_number(ex_json *j) {
    size_t begin = j->at;
    size_t at = begin + (j->text[begin] == '-');
    size_t end = j->text[at] == '0' ? at + 1 : json_digits(j, at);
    int bad = end == at;
    if (j->text[end] == '.') {
        at = end + 1;
        end = json_digits(j, at);
        bad |= end == at;
    }
    if (j->text[end] == 'e' || j->text[end] == 'E') {
        at = end + 1;
        at += j->text[at] == '-' || j->text[at] == '+';
        end = json_digits(j, at);
        bad |= end == at;
    }
    if (bad || (j->text[end] >= '0' && j->text[end] <= '9')) {
        return json_fail(j, begin, "not a number");
    }
    j->at = end;
    return EX_JSON_NUMBER;
}

static ex_json_type json_word(ex_json *j) {
    static const struct {
        const char *text;
        size_t len;
        ex_json_type type;
    } words[] = {{"null", 4, EX_JSON_NULL}, {"true", 4, EX_JSON_TRUE}, {"false", 5, EX_JSON_FALSE}};
    for (size_t i = 0; i < 3; i++) {
        if (j->len - j->at >= words[i].len &&
            memcmp(j->text + j->at, words[i].text, words[i].len) == 0) {
            j->at += words[i].len;
            return words[i].type;
        }
    }
    return json_fail(j, j->at, "not a JSON value");
}

static ex_json_type json_open(ex_json *j, int is_object) {
    if (j->depth == EX_JSON_DEPTH_MAX) {
        return json_fail(j, j->at, "nested too deeply");
    }
    j->is_object[j->depth] = (unsigned char)is_object;
    j->depth++;
    j->at++;
    j->want = is_object ? WANT_FIRST_KEY : WANT_FIRST_VALUE;
    return is_object ? EX_JSON_OBJECT : EX_JSON_ARRAY;
}

static ex_json_type json_close(ex_json *j, char c) {
    int is_object = c == '}';
    if (j->depth == 0 || j->is_object[j->depth - 1] != is_object) {
        return json_fail(j, j->at, "closing bracket does not match");
    }
    j->depth--;
    j->at++;
    j->want = WANT_AFTER;
    return is_object ? EX_JSON_OBJECT_END : EX_JSON_ARRAY_END;
}

static ex_json_type json_value(ex_json *j) {
    char c = j->text[j->at];
    if (c == '{' || c == '[') {
        return json_open(j, c == '{');
    }
    j->want = WANT_AFTER;
    if (c == '"') {
        return json_string(j);
    }
    if (c == '-' || (c >= '0' && c <= '9')) {
        return json_number(j);
    }
    return json_word(j);
}

static ex_json_type json_key(ex_json *j, ex_json_token *out) {
    if (j->text[j->at] != '"') {
        return json_fail(j, j->at, "object wants a key in quotes");
    }
    if (json_string(j) == EX_JSON_ERROR) {
        return EX_JSON_ERROR;
    }
    out->end = j->at;
    json_space(j);
    if (j->at >= j->len || j->text[j->at] != ':') {
        return json_fail(j, j->at, "key wants a colon");
    }
    j->at++;
    j->want = WANT_VALUE;
    return EX_JSON_KEY;
}

/* Reads what stands between two values: a comma, or nothing when a bracket closes. */
static int json_comma(ex_json *j) {
    if (j->want != WANT_AFTER || j->text[j->at] == ']' || j->text[j->at] == '}') {
        return 0;
    }
    if (j->text[j->at] != ',') {
        (void)json_fail(j, j->at, "comma or closing bracket wanted");
        return -1;
    }
    j->at++;
    json_space(j);
    j->want = j->is_object[j->depth - 1] ? WANT_KEY : WANT_VALUE;
    return 0;
}

ex_json_type ex_json_next(ex_json *j, ex_json_token *out) {
    memset(out, 0, sizeof(*out));
    if (j->error != NULL) {
        return EX_JSON_ERROR;
    }
    json_space(j);
    out->begin = j->at;
    out->end = j->at;
    if (j->want == WANT_AFTER && j->depth == 0) {
        out->type = j->at == j->len ? EX_JSON_END : json_fail(j, j->at, "text behind the value");
        return out->type;
    }
    if (j->at < j->len && json_comma(j) != 0) {
        return EX_JSON_ERROR;
    }
    if (j->at >= j->len) {
        return json_fail(j, j->at, j->len == 0 ? "empty text" : "text ends too early");
    }
    out->begin = j->at;
    char c = j->text[j->at];
    if ((c == ']' || c == '}') && j->want != WANT_KEY && j->want != WANT_VALUE) {
        out->type = json_close(j, c);
        out->end = j->at;
    } else if (j->want == WANT_KEY || j->want == WANT_FIRST_KEY) {
        out->type = json_key(j, out);
    } else {
        out->type = json_value(j);
        out->end = j->at;
    }
    return out->type;
}

int ex_json_skip(ex_json *j, ex_json_token *token) {
    if (token->type != EX_JSON_OBJECT && token->type != EX_JSON_ARRAY) {
        return token->type == EX_JSON_ERROR ? -1 : 0;
    }
    unsigned depth = j->depth - 1;
    ex_json_token inner;
    while (j->depth > depth) {
        if (ex_json_next(j, &inner) == EX_JSON_ERROR) {
            return -1;
        }
    }
    token->end = j->at;
    return 0;
}

static void json_utf8(ex_buf *out, unsigned c) {
    char s[4];
    size_t n;
    if (c < 0x80) {
        s[0] = (char)c;
        n = 1;
    } else if (c < 0x800) {
        s[0] = (char)(0xC0 | (c >> 6));
        s[1] = (char)(0x80 | (c & 63));
        n = 2;
    } else if (c < 0x10000) {
        s[0] = (char)(0xE0 | (c >> 12));
        s[1] = (char)(0x80 | ((c >> 6) & 63));
        s[2] = (char)(0x80 | (c & 63));
        n = 3;
    } else {
        s[0] = (char)(0xF0 | (c >> 18));
        s[1] = (char)(0x80 | ((c >> 12) & 63));
        s[2] = (char)(0x80 | ((c >> 6) & 63));
        s[3] = (char)(0x80 | (c & 63));
        n = 4;
    }
    ex_buf_add(out, s, n);
}

/* Decodes the escape at s, which the scan has found valid. Returns its length. */
static size_t json_unescape(const char *s, ex_buf *out) {
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    unsigned c = 0;
    unsigned low = 0;
    if (s[1] != 'u') {
        const char *known = strchr(from, s[1]);
        ex_buf_putc(out, known != NULL ? to[known - from] : s[1]);
        return 2;
    }
    (void)json_hex(s + 2, &c);
    if (c < 0xD800 || c > 0xDFFF) {
        json_utf8(out, c);
        return 6;
    }
    (void)json_hex(s + 8, &low);
    json_utf8(out, 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00));
    return 12;
}

int ex_json_text(const ex_json *j, const ex_json_token *token, ex_buf *out) {
    size_t at = token->begin + 1;
    size_t end = token->end - 1;
    while (at < end) {
        const char *slash = memchr(j->text + at, '\\', end - at);
        size_t stop = slash == NULL ? end : (size_t)(slash - j->text);
        ex_buf_add(out, j->text + at, stop - at);
        at = stop;
        if (slash != NULL) {
            at += json_unescape(slash, out);
        }
    }
    return ex_buf_reserve(out, 0);
}

int ex_json_equals(const ex_json *j, const ex_json_token *token, const char *name) {
    const char *s = j->text + token->begin + 1;
    size_t len = token->end - token->begin - 2;
    if (memchr(s, '\\', len) == NULL) {
        return strlen(name) == len && memcmp(s, name, len) == 0;
    }
    ex_buf decoded = {0};
    int same = ex_json_text(j, token, &decoded) == 0 && decoded.len == strlen(name) &&
               memcmp(decoded.data, name, decoded.len) == 0;
    ex_buf_done(&decoded);
    return same;
}

int ex_json_f32(const ex_json *j, const ex_json_token *token, float *out) {
    float value = strtof(j->text + token->begin, NULL);
    if (!isfinite(value)) {
        return -1;
    }
    *out = value;
    return 0;
}

int ex_json_u64(const ex_json *j, const ex_json_token *token, uint64_t *out) {
    uint64_t value = 0;
    if (token->type != EX_JSON_NUMBER) {
        return -1;
    }
    for (size_t i = token->begin; i < token->end; i++) {
        unsigned digit = (unsigned)(j->text[i] - '0');
        if (digit > 9 || value > (UINT64_MAX - digit) / 10) {
            return -1;
        }
        value = value * 10 + digit;
    }
    *out = value;
    return 0;
}

int ex_json_valid(const char *text, size_t len) {
    ex_json j;
    ex_json_token token;
    ex_json_init(&j, text, len);
    for (;;) {
        ex_json_type type = ex_json_next(&j, &token);
        if (type == EX_JSON_END || type == EX_JSON_ERROR) {
            return type == EX_JSON_END;
        }
    }
}
