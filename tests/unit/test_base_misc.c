/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of the small parts of base: codes and messages, log, checksum, map, heap, compress. */
#include "support/test_support.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef XXH_INLINE_ALL /* else pv.c is in here and has it */
#define XXH_INLINE_ALL
#define XXH_VECTOR 0 /* XXH_SCALAR */
#include <xxhash.h>
#endif

#include "base/checksum.h"
#include "base/compress.h"
#include "base/heap.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"

static void test_err__message_is_one_valid_line(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    err.record_index = 5;
    err.offset = 6;
    err.sys_errno = 7;
    assert_int_equal(pv__err(&err, PV_ERR_DIMS, "vector has %d, wants %d", 3, 4), PV_ERR_DIMS);
    assert_int_equal(err.code, PV_ERR_DIMS);
    assert_string_equal(err.message, "vector has 3, wants 4");
    assert_true(err.record_index == UINT64_MAX);
    assert_int_equal(err.offset, 0);
    assert_int_equal(err.sys_errno, 0);
    pv__err(&err, PV_ERR_IO, "name '%s'", "a\nb\tc\x01\x7F\xFF\xC3\xA4");
    assert_string_equal(err.message, "name 'a b c???\xC3\xA4'");
    pv__err(&err, PV_ERR_IO, "again: %s", err.message); /* an argument inside err itself */
    assert_string_equal(err.message, "again: name 'a b c???\xC3\xA4'");
    assert_int_equal(pv__err(NULL, PV_ERR_IO, "nobody listens"), PV_ERR_IO);
    assert_int_equal(pv__err_sys(NULL, PV_ERR_IO, EIO, "nobody"), PV_ERR_IO);
}

static void test_err__long_messages_are_cut_between_characters(void **state) {
    (void)state;
    char text[2001];
    for (int shift = 0; shift < 4; shift++) {
        pv_error err = PV_ERROR_INIT;
        memset(text, 'x', sizeof text);
        for (size_t i = (size_t)shift; i + 3 < sizeof text; i += 3) {
            memcpy(text + i, "\xE2\x82\xAC", 3);
        }
        text[2000] = 0;
        pv__err(&err, PV_ERR_IO, "%s", text);
        const size_t n = strlen(err.message);
        assert_in_range(n, sizeof err.message - 4, sizeof err.message - 1);
        assert_true(pv__utf8_valid(err.message, n, NULL));
        assert_memory_equal(err.message, text, n);
    }
}

static void test_err__system_errors_carry_number_and_text(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    pv__err_sys(&err, PV_ERR_FULL, ENOSPC, "writing '%s'", "x.pv");
    assert_string_equal(err.message, "writing 'x.pv': no space left on device");
    assert_int_equal(err.sys_errno, ENOSPC);
    pv__err_sys(&err, PV_ERR_IO, 9999, "reading");
    assert_string_equal(err.message, "reading: system error 9999");
    pv__err_nomem(&err, 77);
    assert_int_equal(err.code, PV_ERR_NOMEM);
    assert_non_null(strstr(err.message, "77"));
    assert_string_equal(pv__rc_text(PV_ERR_CORRUPT), "corrupt");
    assert_string_equal(pv__rc_text(PV_OK), "ok");
    assert_string_equal(pv__rc_text(PV_ERR_SCHEMA), "schema error");
    assert_string_equal(pv__rc_text(1), "unknown code");
    assert_string_equal(pv__rc_text(-1000), "unknown code");
}

typedef struct t_sink {
    int count, level;
    char line[64];
} t_sink;

static void t_sink_log(void *ctx, int level, const char *category, const char *message) {
    t_sink *s = ctx;
    s->count++;
    s->level = level;
    (void)snprintf(s->line, sizeof s->line, "%s:%s", category, message);
}

static void test_log__only_up_to_the_level_and_only_with_a_callback(void **state) {
    (void)state;
    t_sink sink = {0, 0, {0}};
    const pv__logger l = {t_sink_log, &sink, PV_LOG_WARN};
    const pv__logger silent = {NULL, NULL, PV_LOG_DEBUG};
    pv__log(&l, PV_LOG_INFO, "store", "no");
    pv__log(&silent, PV_LOG_ERROR, "store", "no");
    pv__log(NULL, PV_LOG_ERROR, "store", "no");
    assert_int_equal(sink.count, 0);
    pv__log(&l, PV_LOG_WARN, "store", "%d pages", 3);
    assert_int_equal(sink.count, 1);
    assert_string_equal(sink.line, "store:3 pages");
}

/* Files depend on these: they may never change. */
static void test_checksum__golden_values(void **state) {
    (void)state;
    uint8_t data[4096];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 31 + 7);
    }
    assert_true(pv__hash64(NULL, 0, 0) == 0x2D06800538D394C2u); /* XXH3 of nothing */
    assert_true(pv__hash64(data, 3, 1) == 0x2D2F08AD1DCF5855u);
    assert_true(pv__hash64(data, 100, 2) == 0xD6C2F0223E961546u);
    assert_true(pv__hash64(data, 240, 0) == 0xCCC7375172C41F03u);
    assert_true(pv__hash64(data, 4096, 0x123456789ABCDEF0u) == 0x96B23CCCD1537633u);
    assert_true(pv__mix64(0) == 0);
    assert_true(pv__mix64(1) == 0x5692161D100B05E5u);
}

/* Against the code of xxHash itself. */
static void test_checksum__is_xxh3_at_every_length(void **state) {
    (void)state;
    static uint8_t data[5000];
    test_rng rng;
    test_rng_init(&rng, test_seed());
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)test_rng_below(&rng, 256);
    }
    for (size_t n = 0; n < sizeof data - 8; n++) {
        const uint64_t seed = n % 3 == 0 ? 0 : pv__mix64(n);
        const uint8_t *p = data + n % 8;
        assert_true(pv__hash64(p, n, seed) == (uint64_t)XXH3_64bits_withSeed(p, n, seed));
    }
    for (size_t i = 0; i + 256 <= sizeof data; i++) { /* the length of the blocks of pages */
        const uint64_t seed = pv__mix64(i) << i % 64;
        const uint8_t *p = data + i;
        assert_true(pv__hash64(p, 256, seed) == (uint64_t)XXH3_64bits_withSeed(p, 256, seed));
    }
}

static void test_checksum__every_bit_counts(void **state) {
    (void)state;
    uint8_t data[300] = {0};
    const uint64_t base = pv__hash64(data, sizeof data, 9);
    for (size_t bit = 0; bit < sizeof data * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_true(pv__hash64(data, sizeof data, 9) != base);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(pv__hash64(data, sizeof data - 1, 9) != base);
    assert_true(pv__hash64(data, sizeof data, 10) != base);
}

static void test_map__agrees_with_a_plain_array(void **state) {
    (void)state;
    enum { T_KEYS = 600 };
    static uint64_t value[T_KEYS];
    static bool there[T_KEYS];
    test_rng r;
    pv__mem mem;
    pv__map m;
    test_rng_init(&r, test_seed());
    test_mem_init(&mem);
    pv__map_init(&m, &mem);
    size_t count = 0;
    assert_false(pv__map_del(&m, 3));
    for (int i = 0; i < 60000; i++) {
        const uint64_t k = test_rng_below(&r, T_KEYS);
        const uint64_t key = k % 2 ? k : k << 40; /* also keys that differ high up only */
        uint64_t got = 0;
        if (test_rng_below(&r, 100) < (i / 10000 % 2 ? 30u : 70u)) {
            value[k] = test_rng_u64(&r);
            count += !there[k];
            there[k] = true;
            assert_int_equal(pv__map_put(&m, key, value[k], NULL), 0);
        } else {
            assert_int_equal(pv__map_del(&m, key), there[k]);
            count -= there[k];
            there[k] = false;
        }
        assert_int_equal(m.count, count);
        const uint64_t q = test_rng_below(&r, T_KEYS);
        assert_int_equal(pv__map_get(&m, q % 2 ? q : q << 40, &got), there[q]);
        assert_true(!there[q] || got == value[q]);
    }
    size_t pos = 0;
    size_t seen = 0;
    uint64_t key = 0;
    uint64_t v = 0;
    while (pv__map_next(&m, &pos, &key, &v)) {
        const uint64_t k = key % 2 ? key : key >> 40;
        assert_true(there[k] && value[k] == v);
        seen++;
    }
    assert_int_equal(seen, count);
    assert_false(pv__map_next(&m, &pos, &key, &v));
    pv__map_clear(&m);
    assert_int_equal(m.count, 0);
    assert_false(pv__map_get(&m, 1, NULL));
    assert_false(pv__map_get(&m, UINT64_MAX, NULL));
    assert_false(pv__map_del(&m, UINT64_MAX));
    pv__map_done(&m);
    test_mem_done(&mem);
}

static int t_map_call(void *arg) {
    pv__map m;
    int rc = 0;
    pv__map_init(&m, arg);
    for (uint64_t i = 0; i < 100 && rc == 0; i++) {
        rc = pv__map_put(&m, i, i * 2, NULL);
    }
    uint64_t v = 0;
    for (uint64_t i = 0; i < m.count; i++) {
        assert_true(pv__map_get(&m, i, &v) && v == i * 2); /* unharmed by the failure */
    }
    pv__map_done(&m);
    return rc;
}

static void test_map__survives_every_failure(void **state) {
    (void)state;
    pv__mem mem;
    test_mem_init(&mem);
    assert_true(test_nomem_loop(&mem, t_map_call, &mem) > 4);
    test_mem_done(&mem);
}

static int t_hit_order(const void *a, const void *b) {
    const pv__hit *x = a;
    const pv__hit *y = b;
    return pv__hit_less(*x, *y) ? -1 : pv__hit_less(*y, *x) ? 1 : 0;
}

static void test_topk__keeps_the_smallest_in_order(void **state) {
    (void)state;
    test_rng r;
    test_rng_init(&r, test_seed());
    for (size_t k = 0; k < 40; k++) {
        for (size_t n = 0; n < 200; n += 13) {
            pv__hit all[200];
            pv__hit kept[40];
            pv__topk t = {kept, 0, k};
            for (size_t i = 0; i < n; i++) {
                all[i].distance = (float)test_rng_below(&r, 20); /* many ties */
                all[i].slot = (uint32_t)test_rng_below(&r, 50);
                pv__topk_add(&t, all[i].distance, all[i].slot);
            }
            if (t.count < k) {
                assert_true(isinf(pv__topk_bound(&t)) && pv__topk_bound(&t) > 0);
            }
            qsort(all, n, sizeof all[0], t_hit_order);
            assert_int_equal(t.count, PV_MIN(n, k));
            if (k > 0 && t.count == k) {
                assert_true(pv__topk_bound(&t) == all[k - 1].distance);
            }
            pv__topk_sort(&t);
            for (size_t i = 0; i < t.count; i++) {
                assert_true(kept[i].distance == all[i].distance && kept[i].slot == all[i].slot);
            }
        }
    }
}

static void test_compress__codec_none_copies(void **state) {
    (void)state;
    pv__mem mem;
    char out[8];
    size_t n = 99;
    pv_error err = PV_ERROR_INIT;
    test_mem_init(&mem);
    assert_true(pv__codec_built_in(PV__CODEC_NONE));
    assert_int_equal(pv__compress_bound(PV__CODEC_NONE, 5), 5);
    test_assert_ok(pv__compress(&mem, PV__CODEC_NONE, 0, "hello", 5, out, 8, &n, &err), &err);
    assert_int_equal(n, 5);
    test_assert_ok(pv__compress(&mem, PV__CODEC_NONE, 0, "hello", 5, out, 4, &n, &err), &err);
    assert_int_equal(n, 0); /* does not fit */
    test_assert_ok(pv__decompress(&mem, PV__CODEC_NONE, "hello", 5, out, 5, &n, &err), &err);
    assert_int_equal(n, 5);
    assert_memory_equal(out, "hello", 5);
    test_assert_rc(pv__decompress(&mem, PV__CODEC_NONE, "hello", 5, out, 4, &n, &err),
                   PV_ERR_CORRUPT, &err);
    test_mem_done(&mem);
}

static void test_compress__missing_codecs_are_named(void **state) {
    (void)state;
    pv__mem mem;
    char out[64];
    size_t n = 0;
    pv_error err = PV_ERROR_INIT;
    test_mem_init(&mem);
    test_assert_rc(pv__compress(&mem, 77, 0, "x", 1, out, 64, &n, &err), PV_ERR_UNSUPPORTED, &err);
    assert_non_null(strstr(err.message, "77"));
    if (!pv__codec_built_in(PV__CODEC_ZSTD)) {
        test_assert_rc(pv__compress(&mem, PV__CODEC_ZSTD, 0, "x", 1, out, 64, &n, &err),
                       PV_ERR_UNSUPPORTED, &err);
        test_assert_rc(pv__decompress(&mem, PV__CODEC_ZSTD, "x", 1, out, 64, &n, &err),
                       PV_ERR_UNSUPPORTED, &err);
        assert_non_null(strstr(err.message, "zstd"));
    }
    assert_string_equal(pv__codec_name(PV__CODEC_ZSTD), "zstd");
    test_mem_done(&mem);
}

typedef struct t_pack {
    pv__mem *mem;
    uint8_t src[20000], packed[21000], back[20000];
    size_t n, packed_n;
    int level;
} t_pack;

static int t_pack_call(void *arg) {
    t_pack *p = arg;
    size_t back_n = 0;
    PV_TRY(pv__compress(p->mem, PV__CODEC_ZSTD, p->level, p->src, p->n, p->packed,
                        pv__compress_bound(PV__CODEC_ZSTD, p->n), &p->packed_n, NULL));
    PV_TRY(pv__decompress(p->mem, PV__CODEC_ZSTD, p->packed, p->packed_n, p->back, p->n, &back_n,
                          NULL));
    assert_int_equal(back_n, p->n);
    test_assert_same_bytes(p->back, p->src, p->n);
    return 0;
}

static void test_compress__zstd_blocks_come_back_or_are_refused(void **state) {
    (void)state;
    if (!pv__codec_built_in(PV__CODEC_ZSTD)) {
        skip();
    }
    static t_pack p;
    pv__mem mem;
    pv_error err = PV_ERROR_INIT;
    test_rng r;
    size_t n = 0;
    test_rng_init(&r, test_seed());
    test_mem_init(&mem);
    p.mem = &mem;
    for (size_t i = 0; i < sizeof p.src; i++) {
        p.src[i] = (uint8_t)(i / 50 + test_rng_below(&r, 3));
    }
    for (p.level = -1; p.level <= 19; p.level += 5) {
        for (p.n = 0; p.n <= sizeof p.src; p.n += 4000) {
            assert_int_equal(t_pack_call(&p), 0);
        }
    }
    p.level = 0;
    p.n = 8192;
    assert_int_equal(test_nomem_loop(&mem, t_pack_call, &p), 2);
    assert_true(p.packed_n > 0 && p.packed_n < p.n);
    /* not enough room is an answer, not an error; packing is deterministic */
    test_assert_ok(
        pv__compress(&mem, PV__CODEC_ZSTD, 0, p.src, p.n, p.back, p.packed_n - 1, &n, &err), &err);
    assert_int_equal(n, 0);
    test_assert_rc(pv__compress(&mem, PV__CODEC_ZSTD, 1000, p.src, p.n, p.back, p.n, &n, &err),
                   PV_ERR_MISUSE, &err);
    test_assert_rc(
        pv__decompress(&mem, PV__CODEC_ZSTD, p.packed, p.packed_n, p.back, p.n - 1, &n, &err),
        PV_ERR_CORRUPT, &err);
    test_assert_rc(
        pv__decompress(&mem, PV__CODEC_ZSTD, p.packed, p.packed_n - 1, p.back, p.n, &n, &err),
        PV_ERR_CORRUPT, &err);
    p.packed[0] ^= 1;
    test_assert_rc(
        pv__decompress(&mem, PV__CODEC_ZSTD, p.packed, p.packed_n, p.back, p.n, &n, &err),
        PV_ERR_CORRUPT, &err);
    test_mem_done(&mem);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err__message_is_one_valid_line),
        cmocka_unit_test(test_err__long_messages_are_cut_between_characters),
        cmocka_unit_test(test_err__system_errors_carry_number_and_text),
        cmocka_unit_test(test_log__only_up_to_the_level_and_only_with_a_callback),
        cmocka_unit_test(test_checksum__golden_values),
        cmocka_unit_test(test_checksum__is_xxh3_at_every_length),
        cmocka_unit_test(test_checksum__every_bit_counts),
        cmocka_unit_test(test_map__agrees_with_a_plain_array),
        cmocka_unit_test(test_map__survives_every_failure),
        cmocka_unit_test(test_topk__keeps_the_smallest_in_order),
        cmocka_unit_test(test_compress__codec_none_copies),
        cmocka_unit_test(test_compress__missing_codecs_are_named),
        cmocka_unit_test(test_compress__zstd_blocks_come_back_or_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
