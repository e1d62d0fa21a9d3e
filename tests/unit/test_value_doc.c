/* SPDX-License-Identifier: Apache-2.0 */
/* test_value_doc.c - the binary document: its bytes, its builder, its checker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>

#include "test_value_random.h"
#include "value/compare.h"

static pv__mem t_mem;

static int t_setup(void **state) {
    (void)state;
    pv__mem_init(&t_mem, NULL, 0);
    return 0;
}

static int t_teardown(void **state) {
    (void)state;
    return t_mem.bytes_used == 0 ? 0 : -1; /* nothing leaks from any test */
}

static void t_doc_is(const char *json, const char *bytes, size_t len) {
    pv__buf doc;
    pv_error err = PV_ERROR_INIT;
    pv__buf_init(&doc, &t_mem);
    if (t_read(json, strlen(json), &doc, &err)) {
        fail_msg("%s: %s", json, err.message);
    }
    assert_int_equal(doc.len, len);
    assert_memory_equal(doc.data, bytes, len);
    assert_int_equal(pv__doc_check(doc.data, doc.len, &err), 0);
    pv__buf_done(&doc);
}
#define T_DOC_IS(json, bytes) t_doc_is(json, bytes, sizeof(bytes) - 1)

/* These bytes are the disk format (docs/format/document.md): a change here breaks every file. */
static void test_doc__bytes_are_the_disk_format(void **state) {
    (void)state;
    T_DOC_IS("null", "\x01");
    T_DOC_IS("false", "\x02");
    T_DOC_IS("true", "\x03");
    T_DOC_IS("0", "\x04");
    T_DOC_IS("-0", "\x04");
    T_DOC_IS("1", "\x04\x01");
    T_DOC_IS("-1", "\x04\xFF");
    T_DOC_IS("127", "\x04\x7F");
    T_DOC_IS("128", "\x04\x80\x00");
    T_DOC_IS("-128", "\x04\x80");
    T_DOC_IS("-129", "\x04\x7F\xFF");
    T_DOC_IS("2026", "\x04\xEA\x07");
    T_DOC_IS("9223372036854775807", "\x04\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F");
    T_DOC_IS("-9223372036854775808", "\x04\x00\x00\x00\x00\x00\x00\x00\x80");
    T_DOC_IS("1.0", "\x05\x00\x00\x80\x3F");
    T_DOC_IS("-0.0", "\x05\x00\x00\x00\x80");
    T_DOC_IS("0.1", "\x05\x9A\x99\x99\x99\x99\x99\xB9\x3F");
    T_DOC_IS("9223372036854775808", "\x05\x00\x00\x00\x5F");
    T_DOC_IS("\"\"", "\x07");
    T_DOC_IS("\"h\\u00e9\"", "\x07h\xC3\xA9");
    T_DOC_IS("[]", "\x09\x00");
    T_DOC_IS("[1,\"a\",[]]", "\x09\x03\x05\x07\x09\x04\x01\x07"
                             "a\x09\x00");
    T_DOC_IS("{}", "\x0A\x00");
    T_DOC_IS("{\"year\":2026}", "\x0A\x01\x04\x08year\x04\xEA\x07");
    T_DOC_IS("{\"b\":true,\"a\":null,\"ab\":[]}", "\x0A\x03\x08\x0C\x09\x0D\x0B\x0F"
                                                  "aabb\x01\x09\x00\x03");
}

static pv__value t_doc(pv__buf *doc, const char *json) {
    pv_error err = PV_ERROR_INIT;
    pv__buf_clear(doc);
    if (t_read(json, strlen(json), doc, &err)) {
        fail_msg("%s: %s", json, err.message);
    }
    assert_int_equal(pv__doc_check(doc->data, doc->len, &err), 0);
    return pv__doc_root(doc->data, doc->len);
}

static void test_doc__no_bytes_are_the_empty_object(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    assert_int_equal(pv__doc_check(NULL, 0, &err), 0);
    pv__value v = pv__doc_root(NULL, 0);
    assert_int_equal(pv__value_type(v), PV__VALUE_OBJECT);
    assert_int_equal(pv__value_count(v), 0);
    assert_null(pv__value_get(v, "a", 1).data);
    assert_null(pv__value_at(v, 0).data);
}

static void test_doc__accessors_of_the_wrong_type_find_nothing(void **state) {
    (void)state;
    pv__buf doc;
    pv__buf_init(&doc, &t_mem);
    pv__value none = {NULL, 0};
    assert_int_equal(pv__value_type(none), PV__VALUE_NONE);
    assert_int_equal(pv__value_count(none), 0);
    assert_null(pv__value_at(none, 0).data);
    assert_null(pv__value_get(none, "a", 1).data);
    pv__value v = t_doc(&doc, "\"text\"");
    assert_int_equal(pv__value_count(v), 0);
    assert_null(pv__value_at(v, 0).data);
    assert_null(pv__value_get(v, "a", 1).data);
    v = t_doc(&doc, "[1,2]");
    assert_null(pv__value_get(v, "0", 1).data);
    assert_null(pv__value_at(v, 2).data);
    assert_int_equal(pv__value_int(pv__value_at(v, 1)), 2);
    pv__buf_done(&doc);
}

/* Sizes around the borders of one-, two- and four-byte offsets, arrays and objects. */
static void test_doc__offset_widths_meet_at_their_borders(void **state) {
    (void)state;
    pv__buf doc;
    pv_error err = PV_ERROR_INIT;
    pv__buf_init(&doc, &t_mem);
    char *text = (char *)malloc(70000);
    assert_non_null(text);
    memset(text, 'x', 70000);
    static const unsigned centres[] = {0xFF, 0xFFFF};
    for (unsigned c = 0; c < 2; c++) {
        for (unsigned len = centres[c] - 24; len < centres[c] + 8; len++) {
            for (unsigned is_object = 0; is_object < 2; is_object++) {
                pv__docb b;
                pv__buf_clear(&doc);
                pv__docb_init(&b, &doc, "test", &err);
                if (is_object) {
                    pv__docb_object(&b);
                    pv__docb_key(&b, "z", 1);
                    pv__docb_string(&b, text, len);
                    pv__docb_key(&b, "a", 1);
                    pv__docb_int(&b, 7);
                } else {
                    pv__docb_array(&b);
                    pv__docb_int(&b, 7);
                    pv__docb_string(&b, text, len);
                }
                pv__docb_end(&b);
                assert_int_equal(pv__docb_finish(&b), 0);
                assert_int_equal(pv__doc_check(doc.data, doc.len, &err), 0);
                unsigned w = pv__doc_width(doc.len);
                unsigned head = is_object ? 1 + 5 * w + 2 : 1 + 3 * w;
                assert_int_equal(doc.len, head + 2 + 1 + len);
                pv__value v = pv__doc_root(doc.data, doc.len);
                assert_int_equal(pv__value_int(pv__value_at(v, 0)), 7);
                assert_int_equal(pv__value_at(v, 1).size, 1 + len);
            }
        }
    }
    free(text);
    pv__buf_done(&doc);
}

static void test_doc__lookup_finds_every_key_and_no_other(void **state) {
    (void)state;
    t_rng rng = {11};
    pv__buf doc;
    pv_error err = PV_ERROR_INIT;
    pv__buf_init(&doc, &t_mem);
    for (unsigned n = 0; n < 200; n += 1 + n / 8) {
        pv__docb b;
        char key[32];
        unsigned step = 1 + t_below(&rng, 50);
        pv__buf_clear(&doc);
        pv__docb_init(&b, &doc, "test", &err);
        pv__docb_object(&b);
        for (unsigned i = 0; i < n; i++) { /* i -> (i * 7919) % n: every key once, in no order */
            unsigned id = n % 7919 ? (i * 7919u) % n : i;
            snprintf(key, sizeof key, "%x", id * step * 2);
            pv__docb_key(&b, key, strlen(key));
            pv__docb_int(&b, (int64_t)id);
        }
        pv__docb_end(&b);
        assert_int_equal(pv__docb_finish(&b), 0);
        assert_int_equal(pv__doc_check(doc.data, doc.len, &err), 0);
        pv__value v = pv__doc_root(doc.data, doc.len);
        assert_int_equal(pv__value_count(v), n);
        for (unsigned i = 0; i < n; i++) {
            snprintf(key, sizeof key, "%x", i * step * 2);
            assert_int_equal(pv__value_int(pv__value_get(v, key, strlen(key))), i);
            snprintf(key, sizeof key, "%x", i * step * 2 + 1);
            assert_null(pv__value_get(v, key, strlen(key)).data);
            snprintf(key, sizeof key, "%x ", i * step * 2);
            assert_null(pv__value_get(v, key, strlen(key)).data);
        }
        assert_null(pv__value_get(v, "", 0).data);
    }
    pv__buf_done(&doc);
}

static void t_expect_bad(const char *bytes, size_t len, int code, uint64_t offset,
                         const char *words) {
    /* An exact copy on the heap, so that one byte too far is seen. */
    uint8_t *copy = (uint8_t *)malloc(len);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    pv_error err = PV_ERROR_INIT;
    int rc = pv__doc_check(copy, len, &err);
    if (rc != code || err.offset != offset || !strstr(err.message, words)) {
        fail_msg("code %d offset %llu '%s', wanted %d %llu '%s'", rc,
                 (unsigned long long)err.offset, err.message, code, (unsigned long long)offset,
                 words);
    }
    assert_int_equal(pv__doc_check(copy, len, NULL), code);
    free(copy);
}
#define T_BAD(bytes, offset, words)                                                                \
    t_expect_bad(bytes, sizeof(bytes) - 1, PV_ERR_CORRUPT, offset, words)

static void test_doc__every_kind_of_damage_is_named(void **state) {
    (void)state;
    T_BAD("\x01\x00", 0, "constant with a payload");
    T_BAD("\x04\x00", 0, "malformed integer"); /* zero has no bytes */
    T_BAD("\x04\x01\x00", 0, "malformed integer");
    T_BAD("\x04\xFF\xFF", 0, "malformed integer");
    T_BAD("\x04\x01\x02\x03\x04\x05\x06\x07\x08\x09", 0, "malformed integer");
    T_BAD("\x05", 0, "malformed double");
    T_BAD("\x05\x00\x00\x80\x7F", 0, "malformed double");                 /* infinity */
    T_BAD("\x05\x00\x00\x00\x00\x00\x00\xF0\x3F", 0, "malformed double"); /* fits a float */
    T_BAD("\x05\x01\x00\x00\x00\x00\x00\xF8\x7F", 0, "malformed double"); /* NaN */
    T_BAD("\x07"
          "ab\xFF",
          3, "string is not UTF-8");
    T_BAD("\x09", 0, "container without a count");
    T_BAD("\x09\x00\x00", 1, "wrong count");
    T_BAD("\x09\x01", 1, "wrong count");
    T_BAD("\x09\x01\x02\x01", 2, "wrong offset");
    T_BAD("\x09\x01\x03", 2, "wrong offset"); /* no byte for the element */
    T_BAD("\x09\x02\x04\x04\x01\x01", 3, "wrong offset");
    T_BAD("\x09\x02\x04\x06\x01\x01", 3, "wrong offset");
    T_BAD("\x09\x01\x03\x04\x00", 3, "malformed integer");
    T_BAD("\x0A\x01\x04\x05", 3, "wrong offset");
    T_BAD("\x0A\x01\x05\x05"
          "a\x01",
          2, "wrong offset");
    T_BAD("\x0A\x01\x04\x06"
          "a\x01",
          3, "wrong offset");
    T_BAD("\x0A\x01\x04\x05\xFF\x01", 4, "key is not UTF-8");
    T_BAD("\x0A\x02\x06\x08\x07\x09"
          "ba\x01\x01",
          7, "keys out of order");
    T_BAD("\x0A\x02\x06\x08\x07\x09"
          "aa\x01\x01",
          7, "keys out of order");
    T_BAD("\x0A\x02\x06\x08\x07\x08"
          "ab\x01\x01",
          5, "wrong offset");
    T_BAD("\x0A\x02\x06\x08\x09\x09"
          "ab\x01\x01",
          4, "wrong offset");
    static const unsigned later[] = {0, 6, 8, 11, 15, 255};
    for (size_t i = 0; i < PV_COUNTOF(later); i++) {
        char bytes[4] = {'\x09', '\x01', '\x03', (char)later[i]};
        t_expect_bad(bytes, 4, PV_ERR_FORMAT, 3, "not known to this version");
    }
}

/* An array of one string whose size is a border when its two cells take one width, and beyond the
 * border when they take the next: the wider one is refused, one byte more it is the only one. */
static void test_doc__only_the_narrowest_offsets_are_accepted(void **state) {
    (void)state;
    static const struct {
        unsigned w;
        size_t border;
    } cases[] = {{2, 0xFF}, {4, 0xFFFF}};
    for (size_t i = 0; i < 2; i++) {
        for (size_t more = 0; more < 2; more++) {
            size_t w = cases[i].w, head = 1 + 2 * w;
            size_t size = cases[i].border + more + 2 * (w / 2);
            uint8_t *doc = (uint8_t *)calloc(1, size);
            assert_non_null(doc);
            doc[0] = PV__VALUE_ARRAY;
            doc[1] = 1;
            doc[1 + w] = (uint8_t)head;
            doc[head] = PV__VALUE_STRING;
            pv_error err = PV_ERROR_INIT;
            int rc = pv__doc_check(doc, size, &err);
            assert_int_equal(rc, more ? 0 : PV_ERR_CORRUPT);
            if (rc) {
                assert_string_equal(err.message, "document: offsets wider than needed at byte 1");
            }
            free(doc);
        }
    }
}

static void test_doc__depth_is_limited(void **state) {
    (void)state;
    uint8_t deep[3 * (PV__JSON_DEPTH_MAX + 1)];
    for (unsigned depth = PV__JSON_DEPTH_MAX; depth <= PV__JSON_DEPTH_MAX + 1; depth++) {
        /* depth - 1 arrays of one element around an empty one; 194 bytes: width 1 */
        size_t n = 0;
        for (unsigned i = 0; i + 1 < depth; i++) {
            deep[n++] = PV__VALUE_ARRAY;
            deep[n++] = 1;
            deep[n++] = 3;
        }
        deep[n++] = PV__VALUE_ARRAY;
        deep[n++] = 0;
        pv_error err = PV_ERROR_INIT;
        int rc = pv__doc_check(deep, n, &err);
        assert_int_equal(rc, depth > PV__JSON_DEPTH_MAX ? PV_ERR_CORRUPT : 0);
    }
}

/* ---- mutations ------------------------------------------------------------------------------ */

static uint64_t t_sum;

/* Touch everything that the accessors can reach. */
static void t_walk(pv__value v, unsigned depth) {
    size_t len;
    t_sum += pv__value_type(v);
    switch (pv__value_type(v)) {
    case PV__VALUE_INT:
        t_sum += (uint64_t)pv__value_int(v);
        break;
    case PV__VALUE_DOUBLE:
        t_sum += isfinite(pv__value_double(v)) ? 1 : 0;
        break;
    case PV__VALUE_STRING: {
        const char *s = pv__value_string(v, &len);
        for (size_t i = 0; i < len; i++) {
            t_sum += (unsigned char)s[i];
        }
        break;
    }
    default:
        break;
    }
    assert_true(depth <= PV__JSON_DEPTH_MAX);
    for (size_t i = 0, n = pv__value_count(v); i < n; i++) {
        pv__value child = pv__value_at(v, i);
        if (pv__value_type(v) == PV__VALUE_OBJECT) {
            const char *key = pv__value_key(v, i, &len);
            pv__value found = pv__value_get(v, key, len);
            assert_true(found.data == child.data && found.size == child.size);
        }
        t_walk(child, depth + 1);
    }
}

static void test_doc__mutated_bytes_are_refused_or_safe(void **state) {
    (void)state;
    const uint64_t seed = 20260101;
    print_message("seed %llu\n", (unsigned long long)seed);
    t_rng rng = {seed};
    pv__buf text, doc, again;
    pv_error err = PV_ERROR_INIT;
    pv__buf_init(&text, &t_mem);
    pv__buf_init(&doc, &t_mem);
    pv__buf_init(&again, &t_mem);
    unsigned accepted = 0, refused = 0;
    for (unsigned round = 0; round < 1500; round++) {
        pv__buf_clear(&text);
        pv__buf_clear(&doc);
        t_random_json(&rng, &text, 1 + t_below(&rng, 5));
        assert_int_equal(t_read((const char *)text.data, text.len, &doc, &err), 0);
        for (unsigned k = 0; k < 40; k++) {
            /* cut, grow or change a copy of exactly its own length */
            size_t len = doc.len;
            unsigned how = t_below(&rng, 4);
            if (how == 0 && len > 1) {
                len = 1 + t_below(&rng, (unsigned)len - 1);
            }
            uint8_t *copy = (uint8_t *)malloc(len + 4);
            assert_non_null(copy);
            memset(copy, 0, len + 4);
            memcpy(copy, doc.data, len);
            len += how == 1 ? t_below(&rng, 5) : 0;
            for (unsigned m = t_below(&rng, 4); m > 0; m--) {
                uint8_t *at = copy + t_below(&rng, (unsigned)len);
                *at = (uint8_t)(t_below(&rng, 2) ? t_next(&rng) : *at + 1 - t_below(&rng, 3));
            }
            uint8_t *exact = (uint8_t *)realloc(copy, len);
            assert_non_null(exact);
            if (pv__doc_check(exact, len, &err) == 0) {
                accepted++;
                t_walk(pv__doc_root(exact, len), 0);
                /* V1: what is accepted is exactly what its own text reads back to. */
                pv__buf_clear(&text);
                pv__buf_clear(&again);
                pv__json_write(&text, pv__doc_root(exact, len));
                assert_int_equal(pv__buf_check(&text, &err), 0);
                assert_int_equal(t_read((const char *)text.data, text.len, &again, &err), 0);
                assert_int_equal(again.len, len);
                assert_memory_equal(again.data, exact, len);
            } else {
                refused++;
                assert_true(err.code == PV_ERR_CORRUPT || err.code == PV_ERR_FORMAT);
                assert_true(err.offset <= len);
            }
            free(exact);
        }
    }
    print_message("%u accepted, %u refused\n", accepted, refused);
    assert_true(accepted > 1000 && refused > 10000);
    pv__buf_done(&text);
    pv__buf_done(&doc);
    pv__buf_done(&again);
}

/* ---- the builder ---------------------------------------------------------------------------- */

typedef void (*t_build)(pv__docb *b);

static void t_two_roots(pv__docb *b) {
    pv__docb_int(b, 1);
    pv__docb_int(b, 2);
}
static void t_no_root(pv__docb *b) { (void)b; }
static void t_open_array(pv__docb *b) { pv__docb_array(b); }
static void t_no_key(pv__docb *b) {
    pv__docb_object(b);
    pv__docb_int(b, 1);
}
static void t_key_in_array(pv__docb *b) {
    pv__docb_array(b);
    pv__docb_key(b, "a", 1);
}
static void t_key_at_root(pv__docb *b) { pv__docb_key(b, "a", 1); }
static void t_two_keys(pv__docb *b) {
    pv__docb_object(b);
    pv__docb_key(b, "a", 1);
    pv__docb_key(b, "b", 1);
}
static void t_end_after_key(pv__docb *b) {
    pv__docb_object(b);
    pv__docb_key(b, "a", 1);
    pv__docb_end(b);
}
static void t_end_of_nothing(pv__docb *b) { pv__docb_end(b); }
static void t_same_key(pv__docb *b) {
    pv__docb_object(b);
    for (int i = 0; i < 3; i++) {
        pv__docb_key(b, i == 1 ? "b" : "a", 1);
        pv__docb_null(b);
    }
    pv__docb_end(b);
}
static void t_infinite(pv__docb *b) { pv__docb_double(b, HUGE_VAL); }
static void t_nan(pv__docb *b) { pv__docb_double(b, (double)NAN); }
static void t_bad_text(pv__docb *b) { pv__docb_string(b, "\xFF", 1); }
static void t_bad_key(pv__docb *b) {
    pv__docb_object(b);
    pv__docb_key(b, "\xC0\x80", 2);
}
static void t_too_deep(pv__docb *b) {
    for (unsigned i = 0; i <= PV__JSON_DEPTH_MAX; i++) {
        pv__docb_array(b);
    }
}
static void t_too_large(pv__docb *b) {
    static char block[1u << 20];
    memset(block, 'x', sizeof block);
    pv__docb_array(b);
    for (unsigned i = 0; i < 65; i++) {
        pv__docb_string(b, block, sizeof block);
    }
    pv__docb_end(b);
}

static void test_builder__mistakes_have_codes_and_leave_the_buffer(void **state) {
    (void)state;
    static const struct {
        t_build build;
        int code;
        const char *words;
    } cases[] = {
        {t_two_roots, PV_ERR_MISUSE, "stats: a second value"},
        {t_no_root, PV_ERR_MISUSE, "stats: the document is not complete"},
        {t_open_array, PV_ERR_MISUSE, "not complete"},
        {t_no_key, PV_ERR_MISUSE, "without a key"},
        {t_key_in_array, PV_ERR_MISUSE, "a key where"},
        {t_key_at_root, PV_ERR_MISUSE, "a key where"},
        {t_two_keys, PV_ERR_MISUSE, "a key where"},
        {t_end_after_key, PV_ERR_MISUSE, "after a key"},
        {t_end_of_nothing, PV_ERR_MISUSE, "without a beginning"},
        {t_same_key, PV_ERR_FORMAT, "stats: key 'a' is given twice"},
        {t_infinite, PV_ERR_FORMAT, "not finite"},
        {t_nan, PV_ERR_FORMAT, "not finite"},
        {t_bad_text, PV_ERR_FORMAT, "not UTF-8"},
        {t_bad_key, PV_ERR_FORMAT, "not UTF-8"},
        {t_too_deep, PV_ERR_LIMIT, "deeper than"},
        {t_too_large, PV_ERR_LIMIT, "larger than"},
    };
    for (size_t i = 0; i < PV_COUNTOF(cases); i++) {
        pv__buf out;
        pv__docb b;
        pv_error err = PV_ERROR_INIT;
        pv__buf_init(&out, &t_mem);
        pv__buf_add_text(&out, "before");
        pv__docb_init(&b, &out, "stats", &err);
        cases[i].build(&b);
        if (b.rc) {
            pv__docb_null(&b); /* the first mistake stays */
        }
        assert_int_equal(pv__docb_finish(&b), cases[i].code);
        if (!strstr(err.message, cases[i].words)) {
            fail_msg("'%s' lacks '%s'", err.message, cases[i].words);
        }
        assert_int_equal(out.len, 6);
        assert_memory_equal(out.data, "before", 6);
        assert_false(out.failed);
        pv__buf_done(&out);
    }
}

static void test_builder__a_failed_buffer_stays_failed(void **state) {
    (void)state;
    pv__buf out;
    pv__docb b;
    pv_error err = PV_ERROR_INIT;
    pv__buf_init(&out, &t_mem);
    out.failed = true;
    pv__docb_init(&b, &out, "stats", &err);
    pv__docb_null(&b);
    assert_int_equal(pv__docb_finish(&b), PV_ERR_NOMEM);
    assert_true(out.failed);
    pv__buf_done(&out);
}

static void test_builder__every_allocation_may_fail(void **state) {
    (void)state;
    bool passed = false;
    for (uint64_t at = 1; !passed && at < 200; at++) {
        pv__mem mem;
        pv__buf out;
        pv__docb b;
        pv_error err = PV_ERROR_INIT;
        pv__mem_init(&mem, NULL, 0);
        pv__buf_init(&out, &mem);
        pv__buf_add_text(&out, "before");
        mem.fail_at = mem.calls + at;
        mem.fail_forever = 1;
        pv__docb_init(&b, &out, "stats", &err);
        pv__docb_object(&b);
        for (int i = 40; i > 0; i--) { /* against the order, so that it must sort */
            char key[16];
            snprintf(key, sizeof key, "key %02d", i);
            pv__docb_key(&b, key, strlen(key));
            pv__docb_array(&b);
            pv__docb_string(&b, "some longer text", 16);
            pv__docb_double(&b, 0.1);
            pv__docb_end(&b);
        }
        pv__docb_end(&b);
        int rc = pv__docb_finish(&b);
        passed = rc == 0;
        assert_true(passed || rc == PV_ERR_NOMEM);
        if (!passed) {
            assert_int_equal(out.len, 6);
            assert_false(out.failed);
            assert_int_equal(err.code, PV_ERR_NOMEM);
        }
        pv__buf_done(&out);
        assert_int_equal(mem.bytes_used, 0);
    }
    assert_true(passed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doc__bytes_are_the_disk_format),
        cmocka_unit_test(test_doc__no_bytes_are_the_empty_object),
        cmocka_unit_test(test_doc__accessors_of_the_wrong_type_find_nothing),
        cmocka_unit_test(test_doc__offset_widths_meet_at_their_borders),
        cmocka_unit_test(test_doc__lookup_finds_every_key_and_no_other),
        cmocka_unit_test(test_doc__every_kind_of_damage_is_named),
        cmocka_unit_test(test_doc__only_the_narrowest_offsets_are_accepted),
        cmocka_unit_test(test_doc__depth_is_limited),
        cmocka_unit_test(test_doc__mutated_bytes_are_refused_or_safe),
        cmocka_unit_test(test_builder__mistakes_have_codes_and_leave_the_buffer),
        cmocka_unit_test(test_builder__a_failed_buffer_stays_failed),
        cmocka_unit_test(test_builder__every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, t_setup, t_teardown);
}
