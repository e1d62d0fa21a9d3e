/* SPDX-License-Identifier: Apache-2.0 */
/* ex_buf.c - see ex_buf.h.
 *
 * Numbers: strtof and snprintf follow the locale, but these programs never call setlocale(), so
 * they run in the "C" locale, where the decimal sign is a point. */
#include "ex_buf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ex_buf_done(ex_buf *b) {
    free(b->data);
    memset(b, 0, sizeof(*b));
}

void ex_buf_clear(ex_buf *b) {
    b->len = 0;
    if (b->data != NULL) {
        b->data[0] = '\0';
    }
}

int ex_buf_reserve(ex_buf *b, size_t more) {
    if (b->failed) {
        return -1;
    }
    if (more >= SIZE_MAX / 2 - b->len) {
        b->failed = 1;
        return -1;
    }
    size_t need = b->len + more + 1;
    if (need <= b->cap) {
        return 0;
    }
    size_t cap = b->cap + b->cap / 2;
    if (cap < need) {
        cap = need < 256 ? 256 : need;
    }
    char *data = realloc(b->data, cap);
    if (data == NULL) {
        b->failed = 1;
        return -1;
    }
    b->data = data;
    b->cap = cap;
    return 0;
}

void ex_buf_add(ex_buf *b, const void *bytes, size_t len) {
    if (ex_buf_reserve(b, len) != 0) {
        return;
    }
    if (len > 0) {
        memcpy(b->data + b->len, bytes, len);
    }
    b->len += len;
    b->data[b->len] = '\0';
}

void ex_buf_puts(ex_buf *b, const char *text) { ex_buf_add(b, text, strlen(text)); }

void ex_buf_putc(ex_buf *b, char c) { ex_buf_add(b, &c, 1); }

void ex_buf_u64(ex_buf *b, uint64_t value) {
    char text[24];
    int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    ex_buf_add(b, text, (size_t)n);
}

static int utf8_follows(const unsigned char *s, size_t count) {
    for (size_t i = 1; i <= count; i++) {
        if ((s[i] & 0xC0u) != 0x80u) {
            return 0;
        }
    }
    return 1;
}

size_t ex_utf8_length(const char *text, size_t len) {
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80) {
        return 1;
    }
    if (s[0] >= 0xC2 && s[0] <= 0xDF) {
        return len >= 2 && utf8_follows(s, 1) ? 2 : 0;
    }
    if (s[0] >= 0xE0 && s[0] <= 0xEF) {
        if (len < 3 || !utf8_follows(s, 2) || (s[0] == 0xE0 && s[1] < 0xA0) ||
            (s[0] == 0xED && s[1] > 0x9F)) {
            return 0; /* too short, overlong, or a surrogate */
        }
        return 3;
    }
    if (s[0] >= 0xF0 && s[0] <= 0xF4) {
        if (len < 4 || !utf8_follows(s, 3) || (s[0] == 0xF0 && s[1] < 0x90) ||
            (s[0] == 0xF4 && s[1] > 0x8F)) {
            return 0; /* too short, overlong, or beyond U+10FFFF */
        }
        return 4;
    }
    return 0;
}

static void buf_json_control(ex_buf *b, unsigned char c) {
    static const char names[] = "btn?fr"; /* 8, 9, 10, 11, 12, 13 */
    char text[8] = "\\u0000";
    if (c >= 8 && c <= 13 && c != 11) {
        text[1] = names[c - 8];
        text[2] = '\0';
    } else {
        static const char hex[] = "0123456789abcdef";
        text[4] = hex[c >> 4];
        text[5] = hex[c & 15];
    }
    ex_buf_puts(b, text);
}

void ex_buf_json(ex_buf *b, const char *text, size_t len) {
    ex_buf_putc(b, '"');
    size_t plain = 0; /* start of the bytes that can be copied as they are */
    size_t i = 0;
    while (i < len) {
        unsigned char c = (unsigned char)text[i];
        size_t n = ex_utf8_length(text + i, len - i);
        if (n > 0 && c >= 0x20 && c != '"' && c != '\\') {
            i += n;
            continue;
        }
        ex_buf_add(b, text + plain, i - plain);
        if (n == 0) {
            ex_buf_puts(b, "\xEF\xBF\xBD");
        } else if (c < 0x20) {
            buf_json_control(b, c);
        } else {
            ex_buf_putc(b, '\\');
            ex_buf_putc(b, (char)c);
        }
        i++;
        plain = i;
    }
    ex_buf_add(b, text + plain, len - plain);
    ex_buf_putc(b, '"');
}

static const double buf_pow10[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* Does digits / 10^scale read as `value`? The quotient of two exact doubles is correctly rounded;
 * rounding it again to float can go wrong only when it sits exactly between two floats, which is
 * answered with no. */
static int buf_reads_as(double digits, int scale, float value) {
    double quotient = digits / buf_pow10[scale];
    uint64_t bits;
    memcpy(&bits, &quotient, sizeof(bits));
    return (bits & 0x1FFFFFFFu) != 0x10000000u && (float)quotient == value;
}

/* Writes digits / 10^scale in plain notation. */
static void buf_decimal(ex_buf *b, uint64_t digits, int scale) {
    char text[40];
    int at = (int)sizeof(text);
    int written = 0;
    while (digits > 0 || written <= scale) {
        if (written == scale && scale > 0) {
            text[--at] = '.';
        }
        text[--at] = (char)('0' + digits % 10);
        digits /= 10;
        written++;
    }
    ex_buf_add(b, text + at, (size_t)((int)sizeof(text) - at));
}

/* Fast way for magnitudes in [1e-5, 1e6): tries 1, 2, ... 9 significant digits. */
static int buf_f32_fast(ex_buf *b, float value) {
    double magnitude = fabs((double)value);
    if (!(magnitude >= 1e-5 && magnitude < 1e6)) {
        return 0;
    }
    int first = 0; /* digits before the point, or minus the zeros behind it */
    while (first < 6 && magnitude >= buf_pow10[first]) {
        first++;
    }
    while (first > -4 && first <= 0 && magnitude * buf_pow10[1 - first] < 1.0) {
        first--;
    }
    for (int significant = 1; significant <= 9; significant++) {
        int scale = significant - first;
        if (scale < 0) {
            continue;
        }
        double digits = floor(magnitude * buf_pow10[scale] + 0.5);
        if (buf_reads_as(digits, scale, (float)magnitude)) {
            if (signbit(value)) {
                ex_buf_putc(b, '-');
            }
            buf_decimal(b, (uint64_t)digits, scale);
            return 1;
        }
    }
    return 0;
}

void ex_buf_f32(ex_buf *b, float value) {
    char text[32];
    if (!isfinite(value)) {
        ex_buf_puts(b, "null");
        return;
    }
    if (value == 0.0f) {
        ex_buf_puts(b, signbit(value) ? "-0.0" : "0"); /* readers take "-0" for the integer 0 */
        return;
    }
    if (buf_f32_fast(b, value)) {
        return;
    }
    for (int significant = 1; significant <= 9; significant++) {
        (void)snprintf(text, sizeof(text), "%.*g", significant, (double)value);
        if (strtof(text, NULL) == value) {
            break;
        }
    }
    ex_buf_puts(b, text);
}

void ex_buf_f64(ex_buf *b, double value) {
    char text[40];
    if (!isfinite(value)) {
        ex_buf_puts(b, "null");
        return;
    }
    if (value == 0.0) {
        ex_buf_puts(b, signbit(value) ? "-0.0" : "0");
        return;
    }
    for (int significant = 15; significant <= 17; significant++) {
        (void)snprintf(text, sizeof(text), "%.*g", significant, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    ex_buf_puts(b, text);
}
