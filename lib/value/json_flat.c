/* SPDX-License-Identifier: Apache-2.0 */
/* json_flat.c - the metadata that most records have, in one pass over its text: an object of
 * numbers, words and strings without escapes.
 *
 *     {"n":17,"lang":"en"} --> members on the stack, in the order of their keys --> document
 *
 * It makes what json_scan.c and doc_build.c make of the same text, byte for byte, in a quarter of
 * the time. Whatever is more than that (nesting, escapes, many members) or wrong is not its
 * business: it says no, and the other way is gone, which also knows what to tell. */
#include "base/str.h"
#include "value/json.h"

#if defined(__SSE2__)
#define FLAT_SSE2 1
#include <emmintrin.h>
#else
#define FLAT_SSE2 0
#endif

#define FLAT_TEXT_MAX 16384u
#define FLAT_MEMBERS_MAX 32u
#define FLAT_INT_DIGITS 18u /* so many fit an int64 whatever they are */
#define FLAT_STEP 16u

typedef struct flat_member {
    const uint8_t *key, *value; /* the value is in the text, or in `number` */
    uint64_t word;              /* the first 8 bytes of the key, which order most keys */
    uint32_t key_len, value_len;
    uint8_t number[8];
    uint8_t type;
} flat_member;

typedef struct flat_reader {
    const uint8_t *text, *at, *end;
    size_t keys_len, values_len; /* of all members, with the type bytes */
    unsigned count;
    flat_member members[FLAT_MEMBERS_MAX];
    uint8_t order[FLAT_MEMBERS_MAX]; /* of the keys */
} flat_reader;

static bool flat_is_space(uint8_t c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

/* Is `c` the next byte that is no space? Then it is taken. */
static bool flat_take(flat_reader *r, uint8_t c) {
    while (r->at < r->end && flat_is_space(*r->at)) {
        r->at++;
    }
    if (r->at == r->end || *r->at != c) {
        return false;
    }
    r->at++;
    return true;
}

/* ---- strings -------------------------------------------------------------------------------- */

/* Goes on to the next quote, backslash or control character; *io_high: bytes beyond ASCII were
 * passed. The last bytes of a text by themselves. */
static const uint8_t *flat_run_tail(const uint8_t *p, const uint8_t *end, bool *io_high) {
    uint8_t seen = 0;
    for (; p < end && *p != '"' && *p != '\\' && *p >= 0x20; p++) {
        seen |= *p;
    }
    *io_high |= seen >= 0x80;
    return p;
}

#if FLAT_SSE2

/* The same for 16 bytes at p: a bit for each that ends the run. */
static unsigned flat_stops(const uint8_t *p, unsigned *out_high) {
    const __m128i v = _mm_loadu_si128((const void *)p);
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1F)), v);
    const __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
    const __m128i slash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
    *out_high = (unsigned)_mm_movemask_epi8(v);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, _mm_or_si128(quote, slash)));
}

static const uint8_t *flat_run(const flat_reader *r, const uint8_t *p, bool *io_high) {
    unsigned stops = 0, high = 0, seen = 0;
    for (; (size_t)(r->end - p) >= FLAT_STEP; p += FLAT_STEP) {
        stops = flat_stops(p, &high);
        if (stops) {
            const unsigned n = (unsigned)__builtin_ctz(stops);
            *io_high |= (seen | (high & ((1u << n) - 1))) != 0;
            return p + n;
        }
        seen |= high;
    }
    *io_high |= seen != 0;
    const size_t past = FLAT_STEP - (size_t)(r->end - p);
    if ((size_t)(p - r->text) < past) {
        return flat_run_tail(p, r->end, io_high);
    }
    stops = flat_stops(p - past, &high) >> past; /* the last 16 bytes, without those before p */
    const unsigned n = stops ? (unsigned)__builtin_ctz(stops) : (unsigned)(FLAT_STEP - past);
    *io_high |= (high >> past & ((1u << n) - 1)) != 0;
    return p + n;
}

#else

static const uint8_t *flat_run(const flat_reader *r, const uint8_t *p, bool *io_high) {
    return flat_run_tail(p, r->end, io_high);
}

#endif

/* The bytes of a string whose opening quote was taken. False: it is none, or has an escape. */
static bool flat_string(flat_reader *r, const uint8_t **out, uint32_t *out_len) {
    const uint8_t *const from = r->at;
    bool high = false;
    const uint8_t *const to = flat_run(r, from, &high);
    if (to == r->end || *to != '"' ||
        (high && !pv__utf8_valid((const char *)from, (size_t)(to - from), NULL))) {
        return false;
    }
    *out = from;
    *out_len = (uint32_t)(to - from);
    r->at = to + 1;
    return true;
}

/* ---- members -------------------------------------------------------------------------------- */

/* The payload of an INT: no byte that only repeats the sign of the one below it, none for 0. */
static void flat_int(flat_member *m, int64_t v) {
    const uint64_t magnitude = (uint64_t)v ^ (v < 0 ? UINT64_MAX : 0);
    const unsigned bits = 65u - (unsigned)__builtin_clzll(magnitude | 1);
    pv__put64(m->number, (uint64_t)v);
    m->value_len = v == 0 ? 0 : (bits + 7) / 8;
    m->value = m->number;
    m->type = PV__VALUE_INT;
}

/* A number that is no short integer. */
static bool flat_other_number(flat_reader *r, flat_member *m) {
    pv__json j;
    pv__json_init(&j, NULL, "", (const char *)r->text, (size_t)(r->end - r->text));
    j.pos = (size_t)(r->at - r->text);
    if (pv__json_next(&j, NULL) != 0) { /* a number needs no memory */
        return false;
    }
    r->at = r->text + j.pos;
    if (j.event == PV__JSON_INT) {
        flat_int(m, j.number_int);
        return true;
    }
    const bool narrow = pv__doc_fits_float(j.number_double);
    const float f = narrow ? (float)j.number_double : 0;
    memcpy(m->number, narrow ? (const void *)&f : (const void *)&j.number_double, narrow ? 4 : 8);
    m->value = m->number;
    m->value_len = narrow ? 4 : 8;
    m->type = PV__VALUE_DOUBLE;
    return true;
}

static bool flat_number(flat_reader *r, flat_member *m) {
    const uint8_t *p = r->at;
    const bool minus = *p == '-';
    p += minus ? 1 : 0;
    const uint8_t *const digits = p;
    int64_t v = 0;
    for (; p < r->end && (size_t)(p - digits) < FLAT_INT_DIGITS && *p >= '0' && *p <= '9'; p++) {
        v = v * 10 + (*p - '0');
    }
    const bool more = p < r->end && ((*p >= '0' && *p <= '9') || *p == '.' || (*p | 0x20) == 'e');
    if (p == digits || more || (*digits == '0' && p - digits > 1)) {
        return flat_other_number(r, m);
    }
    flat_int(m, minus ? -v : v);
    r->at = p;
    return true;
}

static bool flat_word(flat_reader *r, flat_member *m, const char *word, size_t n, uint8_t type) {
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0) {
        return false;
    }
    r->at += n;
    m->value = m->number;
    m->value_len = 0;
    m->type = type;
    return true;
}

static bool flat_value(flat_reader *r, flat_member *m) {
    while (r->at < r->end && flat_is_space(*r->at)) {
        r->at++;
    }
    switch (r->at < r->end ? *r->at : 0) {
    case '"':
        r->at++;
        m->type = PV__VALUE_STRING;
        return flat_string(r, &m->value, &m->value_len);
    case 't':
        return flat_word(r, m, "true", 4, PV__VALUE_TRUE);
    case 'f':
        return flat_word(r, m, "false", 5, PV__VALUE_FALSE);
    case 'n':
        return flat_word(r, m, "null", 4, PV__VALUE_NULL);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return flat_number(r, m);
    default:
        return false;
    }
}

/* Keys have no zero byte in them here, so that the zeros behind a short one sort it rightly. */
static uint64_t flat_key_word(const flat_reader *r, const flat_member *m) {
    uint8_t first[8] = {0};
    if (m->key_len >= sizeof first) {
        return pv__get64be(m->key);
    }
    if ((size_t)(r->end - m->key) >= sizeof first) {
        const uint64_t w = pv__get64be(m->key);
        return m->key_len == 0 ? 0 : w & (UINT64_MAX << (64 - 8 * m->key_len));
    }
    memcpy(first, m->key, m->key_len);
    return pv__get64be(first);
}

static int flat_order(const flat_member *a, const flat_member *b) {
    if (a->word != b->word) {
        return a->word < b->word ? -1 : 1;
    }
    const int order = memcmp(a->key, b->key, PV_MIN(a->key_len, b->key_len));
    return order ? order : (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

/* The place of the newest member in the order. False: its key is there already. */
static bool flat_place(flat_reader *r) {
    const flat_member *m = &r->members[r->count];
    unsigned i = r->count;
    for (; i > 0; i--) {
        const int order = flat_order(&r->members[r->order[i - 1]], m);
        if (order == 0) {
            return false;
        }
        if (order < 0) {
            break;
        }
        r->order[i] = r->order[i - 1];
    }
    r->order[i] = (uint8_t)r->count;
    return true;
}

static bool flat_read(flat_reader *r) {
    bool ended = false;
    if (!flat_take(r, '{')) {
        return false;
    }
    while (!ended) {
        flat_member *m = &r->members[r->count];
        if (r->count == FLAT_MEMBERS_MAX || !flat_take(r, '"') ||
            !flat_string(r, &m->key, &m->key_len) || !flat_take(r, ':') || !flat_value(r, m)) {
            return false;
        }
        m->word = flat_key_word(r, m);
        if (!flat_place(r)) {
            return false;
        }
        r->count++;
        r->keys_len += m->key_len;
        r->values_len += 1 + m->value_len;
        ended = flat_take(r, '}');
        if (!ended && !flat_take(r, ',')) {
            return false;
        }
    }
    while (r->at < r->end && flat_is_space(*r->at)) {
        r->at++;
    }
    return r->at == r->end;
}

/* ---- the document --------------------------------------------------------------------------- */

static void flat_write(const flat_reader *r, unsigned w, uint8_t *out) {
    size_t key_to = 1 + w * (1 + 2 * (size_t)r->count), value_to = key_to + r->keys_len;
    uint8_t *cell = out + 1 + w;
    out[0] = PV__VALUE_OBJECT;
    pv__doc_put_cell(out + 1, w, r->count);
    for (unsigned i = 0; i < r->count; i++, cell += 2 * w) {
        const flat_member *m = &r->members[r->order[i]];
        pv__doc_put_cell(cell, w, key_to);
        pv__doc_put_cell(cell + w, w, value_to);
        memcpy(out + key_to, m->key, m->key_len);
        out[value_to] = m->type;
        memcpy(out + value_to + 1, m->value, m->value_len);
        key_to += m->key_len;
        value_to += 1 + m->value_len;
    }
}

bool pv__json_flat(const char *text, size_t len, pv__buf *out) {
    flat_reader r;
    if (len > FLAT_TEXT_MAX) {
        return false;
    }
    r.text = r.at = (const uint8_t *)text;
    r.end = r.text + len;
    r.keys_len = r.values_len = 0;
    r.count = 0;
    if (!flat_read(&r)) {
        return false;
    }
    const size_t cells = 1 + 2 * (size_t)r.count, rest = r.keys_len + r.values_len;
    const unsigned w = pv__doc_cell_width(cells, rest);
    const bool failed = out->failed; /* by what stands before: then nothing may follow */
    uint8_t *to = pv__buf_extend(out, 1 + w * cells + rest);
    if (!to) {
        out->failed = failed; /* the other way asks again, and tells */
        return false;
    }
    flat_write(&r, w, to);
    return true;
}

#undef FLAT_SSE2
#undef FLAT_TEXT_MAX
#undef FLAT_MEMBERS_MAX
#undef FLAT_INT_DIGITS
#undef FLAT_STEP
