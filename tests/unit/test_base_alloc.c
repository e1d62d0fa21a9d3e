/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of base/alloc.h, base/arena.h and base/buf.h. */
#include "support/test_support.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"

static size_t t_used(pv__mem *mem) { return atomic_load(&mem->bytes_used); }

static void test_alloc__bytes_in_use_and_peak_are_counted(void **state) {
    (void)state;
    pv__mem mem;
    test_mem_init(&mem);
    void *a = pv__alloc(&mem, 100);
    void *b = pv__alloc_zero(&mem, 50);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(t_used(&mem), 150);
    a = pv__alloc_realloc(&mem, a, 100, 1000);
    assert_int_equal(t_used(&mem), 1050);
    a = pv__alloc_realloc(&mem, a, 1000, 10);
    assert_int_equal(t_used(&mem), 60);
    pv__alloc_free(&mem, a, 10);
    pv__alloc_free(&mem, b, 50);
    pv__alloc_free(&mem, NULL, 99);
    assert_int_equal(atomic_load(&mem.bytes_peak), 1050);
    assert_int_equal(atomic_load(&mem.calls), 4);
    test_mem_done(&mem);
}

static void test_alloc__size_zero_gives_a_unique_pointer(void **state) {
    (void)state;
    pv__mem mem;
    test_mem_init(&mem);
    void *a = pv__alloc(&mem, 0);
    void *b = pv__alloc_zero(&mem, 0);
    void *c = pv__alloc_array(&mem, 0, 8);
    assert_true(a && b && c && a != b && b != c);
    a = pv__alloc_realloc(&mem, a, 0, 0);
    assert_non_null(a);
    pv__alloc_free(&mem, a, 0);
    pv__alloc_free(&mem, b, 0);
    pv__alloc_free(&mem, c, 0);
    test_mem_done(&mem);
}

static void test_alloc__limit_is_kept(void **state) {
    (void)state;
    pv__mem mem;
    pv__mem_init(&mem, NULL, 1000);
    void *a = pv__alloc(&mem, 600);
    assert_non_null(a);
    assert_null(pv__alloc(&mem, 401));
    assert_null(pv__alloc_zero(&mem, 401));
    assert_null(pv__alloc_aligned(&mem, 401, 64));
    assert_null(pv__alloc_realloc(&mem, a, 600, 1001));
    assert_int_equal(t_used(&mem), 600);
    void *b = pv__alloc(&mem, 400);
    assert_non_null(b);
    a = pv__alloc_realloc(&mem, a, 600, 1); /* shrinking works at the limit */
    assert_non_null(a);
    pv__alloc_free(&mem, a, 1);
    pv__alloc_free(&mem, b, 400);
    assert_true(atomic_load(&mem.bytes_peak) <= 1000);
    test_mem_done(&mem);
}

static void test_alloc__products_and_sizes_do_not_overflow(void **state) {
    (void)state;
    pv__mem mem;
    test_mem_init(&mem);
    assert_null(pv__alloc_array(&mem, SIZE_MAX / 4, 8));
    assert_null(pv__alloc_array(&mem, 8, SIZE_MAX / 4));
    assert_null(pv__alloc_aligned(&mem, SIZE_MAX - 10, 4096));
    void *array = NULL;
    size_t cap = 0;
    pv_error err = PV_ERROR_INIT;
    test_assert_rc(pv__alloc_grow(&mem, &array, &cap, SIZE_MAX / 4, 8, &err), PV_ERR_NOMEM, &err);
    assert_null(array);
    test_mem_done(&mem);
}

static void test_alloc__nth_request_fails_once_or_for_good(void **state) {
    (void)state;
    pv__mem mem;
    test_mem_init(&mem);
    atomic_store(&mem.fail_at, 2);
    void *a = pv__alloc(&mem, 1);
    assert_non_null(a);
    assert_null(pv__alloc(&mem, 1));
    void *b = pv__alloc(&mem, 1);
    assert_non_null(b);
    atomic_store(&mem.fail_at, 5);
    atomic_store(&mem.fail_forever, 1);
    void *c = pv__alloc(&mem, 1);
    assert_non_null(c);
    assert_null(pv__alloc_zero(&mem, 1));
    assert_null(pv__alloc_aligned(&mem, 1, 64));
    assert_null(pv__alloc_realloc(&mem, c, 1, 2));
    pv__alloc_free(&mem, a, 1);
    pv__alloc_free(&mem, b, 1);
    pv__alloc_free(&mem, c, 1);
    test_mem_done(&mem);
}

/* An allocator that checks the sizes it is told and never aligns better than to 16. */
typedef struct t_heap {
    size_t live, bytes;
    bool refuse;
} t_heap;

static void *t_heap_realloc(void *ctx, void *p, size_t old_size, size_t new_size) {
    t_heap *h = ctx;
    uint8_t *raw = p ? (uint8_t *)p - 16 : NULL;
    if (raw) {
        assert_memory_equal(raw, &old_size, sizeof old_size);
    } else {
        assert_int_equal(old_size, 0);
    }
    if (new_size == 0) {
        assert_non_null(raw);
        h->live--;
        h->bytes -= old_size;
        free(raw);
        return NULL;
    }
    uint8_t *q = h->refuse ? NULL : realloc(raw, new_size + 16);
    if (!q) {
        return NULL;
    }
    memcpy(q, &new_size, sizeof new_size);
    h->live += raw ? 0 : 1;
    h->bytes += new_size - old_size;
    return q + 16;
}

static void test_alloc__callers_allocator_is_told_true_sizes(void **state) {
    (void)state;
    t_heap heap = {0, 0, false};
    const pv_allocator table = {&heap, t_heap_realloc};
    pv__mem mem;
    pv__mem_init(&mem, &table, 0);
    uint8_t *a = pv__alloc_zero(&mem, 77);
    for (int i = 0; i < 77; i++) {
        assert_int_equal(a[i], 0);
    }
    a = pv__alloc_realloc(&mem, a, 77, 0);
    a = pv__alloc_realloc(&mem, a, 0, 300);
    for (size_t align = 1; align <= 4096; align *= 2) {
        void *p = pv__alloc_aligned(&mem, 33, align);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % align, 0);
        memset(p, 1, 33);
        pv__alloc_free_aligned(&mem, p, 33, align);
    }
    heap.refuse = true;
    assert_null(pv__alloc(&mem, 1));
    assert_null(pv__alloc_zero(&mem, 1));
    assert_null(pv__alloc_aligned(&mem, 1, 4096));
    assert_null(pv__alloc_realloc(&mem, a, 300, 301));
    assert_int_equal(t_used(&mem), 300);
    pv__alloc_free(&mem, a, 300);
    assert_int_equal(heap.live, 0);
    assert_int_equal(heap.bytes, 0);
    test_mem_done(&mem);
}

static void test_alloc__aligned_memory_is_aligned(void **state) {
    (void)state;
    pv__mem mem;
    test_mem_init(&mem);
    for (size_t align = 1; align <= 4096; align *= 2) {
        for (size_t size = 0; size < 200; size += 67) {
            uint8_t *p = pv__alloc_aligned(&mem, size, align);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % align, 0);
            memset(p, 0xA5, size);
            pv__alloc_free_aligned(&mem, p, size, align);
        }
    }
    test_mem_done(&mem);
}

static int t_grow_call(void *arg) {
    pv__mem *mem = arg;
    void *array = NULL;
    size_t cap = 0;
    int rc = 0;
    for (size_t want = 1; want < 100 && rc == 0; want += 7) {
        rc = pv__alloc_grow(mem, &array, &cap, want, sizeof(uint64_t), NULL);
        assert_true(rc != 0 || cap >= want);
    }
    pv__alloc_free(mem, array, cap * sizeof(uint64_t));
    return rc;
}

static void test_alloc__grow_survives_every_failure(void **state) {
    (void)state;
    pv__mem mem;
    test_mem_init(&mem);
    assert_true(test_nomem_loop(&mem, t_grow_call, &mem) > 2);
    test_mem_done(&mem);
}

static void test_arena__pieces_are_aligned_and_apart(void **state) {
    (void)state;
    pv__mem mem;
    test_mem_init(&mem);
    pv__arena a;
    pv__arena_init(&a, &mem, 1024);
    uint8_t *p[100];
    for (size_t i = 0; i < 100; i++) {
        const size_t size = i % 10 == 9 ? 5000 : i;
        p[i] = pv__arena_alloc(&a, size);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        memset(p[i], (int)i, size);
    }
    for (size_t i = 0; i < 100; i++) {
        const size_t size = i % 10 == 9 ? 5000 : i;
        for (size_t j = 0; j < size; j++) {
            assert_int_equal(p[i][j], i);
        }
    }
    uint8_t *z = pv__arena_zero(&a, 100);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(z[i], 0);
    }
    assert_string_equal(pv__arena_strdup(&a, "abcdef", 3), "abc");
    assert_string_equal(pv__arena_strdup(&a, NULL, 0), "");
    assert_null(pv__arena_alloc(&a, SIZE_MAX - 3));
    assert_null(pv__arena_strdup(&a, "", SIZE_MAX));
    pv__arena_done(&a);
    test_mem_done(&mem);
}

static void test_arena__reset_keeps_one_chunk_and_reuses_it(void **state) {
    (void)state;
    pv__mem mem;
    test_mem_init(&mem);
    pv__arena a;
    pv__arena_init(&a, &mem, 1000);
    for (int i = 0; i < 50; i++) {
        assert_non_null(pv__arena_alloc(&a, 400));
    }
    assert_non_null(pv__arena_alloc(&a, 100000));
    pv__arena_reset(&a);
    const size_t kept = t_used(&mem);
    assert_in_range(kept, 1000, 1100);
    const uint64_t calls = atomic_load(&mem.calls);
    for (int round = 0; round < 10; round++) {
        assert_non_null(pv__arena_alloc(&a, 400));
        pv__arena_reset(&a);
    }
    assert_int_equal(atomic_load(&mem.calls), calls);
    pv__arena_done(&a);
    pv__arena_done(&a); /* again is fine */
    pv__arena_init(&a, &mem, 10);
    assert_non_null(pv__arena_alloc(&a, 100000)); /* the first piece is a large one */
    pv__arena_reset(&a);
    assert_int_equal(t_used(&mem), 0);
    pv__arena_done(&a);
    test_mem_done(&mem);
}

static void test_buf__holds_what_was_added(void **state) {
    (void)state;
    pv__mem mem;
    test_mem_init(&mem);
    pv__buf b;
    pv__buf_init(&b, &mem);
    assert_non_null(pv__buf_extend(&b, 0));
    pv__buf_add(&b, NULL, 0);
    pv__buf_add_u8(&b, 7);
    pv__buf_add_u32(&b, 0x04030201u);
    pv__buf_add_u64(&b, 0x0807060504030201u);
    pv__buf_add_text(&b, "hi");
    const uint8_t want[] = {7, 1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8, 'h', 'i'};
    assert_int_equal(b.len, sizeof want);
    test_assert_same_bytes(b.data, want, sizeof want);
    assert_int_equal(pv__buf_check(&b, NULL), 0);
    pv__buf_clear(&b);
    assert_int_equal(b.len, 0);
    pv__buf_done(&b);
    test_mem_done(&mem);
}

static void test_buf__varints_read_back(void **state) {
    (void)state;
    pv__mem mem;
    test_mem_init(&mem);
    pv__buf b;
    pv__buf_init(&b, &mem);
    uint64_t v[200];
    size_t n = 0;
    for (unsigned bit = 0; bit < 64; bit++) {
        v[n++] = (uint64_t)1 << bit;
        v[n++] = ((uint64_t)1 << bit) - 1;
    }
    v[n++] = UINT64_MAX;
    for (size_t i = 0; i < n; i++) {
        pv__buf_add_varint(&b, v[i]);
    }
    pv__reader r = pv__reader_of(b.data, b.len);
    for (size_t i = 0; i < n; i++) {
        assert_true(pv__reader_varint(&r) == v[i]);
    }
    assert_false(r.bad);
    assert_int_equal(pv__reader_left(&r), 0);
    (void)pv__reader_varint(&r);
    assert_true(r.bad);
    pv__buf_done(&b);
    test_mem_done(&mem);
}

static void test_reader__refuses_overlong_varints_and_short_input(void **state) {
    (void)state;
    const uint8_t overlong[] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02};
    pv__reader r = pv__reader_of(overlong, sizeof overlong);
    assert_int_equal(pv__reader_varint(&r), 0);
    assert_true(r.bad);
    r = pv__reader_of(overlong, 3);
    assert_int_equal(pv__reader_u32(&r), 0);
    assert_true(r.bad);
    assert_int_equal(pv__reader_u8(&r), 0); /* stays bad */
    r = pv__reader_of(overlong, 3);
    assert_null(pv__reader_take(&r, SIZE_MAX));
    assert_true(r.bad);
}

static void test_buf__failure_is_sticky_and_data_a_prefix(void **state) {
    (void)state;
    pv__mem mem;
    test_mem_init(&mem);
    pv__buf b;
    pv_error err = PV_ERROR_INIT;
    pv__buf_init(&b, &mem);
    pv__buf_add_text(&b, "abc");
    assert_false(pv__buf_reserve(&b, SIZE_MAX - 1));
    pv__buf_add_text(&b, "def");
    assert_null(pv__buf_extend(&b, 1));
    assert_int_equal(b.len, 3);
    assert_memory_equal(b.data, "abc", 3);
    test_assert_rc(pv__buf_check(&b, &err), PV_ERR_NOMEM, &err);
    pv__buf_clear(&b);
    pv__buf_add_text(&b, "def");
    assert_int_equal(pv__buf_check(&b, NULL), 0);
    pv__buf_done(&b);
    test_mem_done(&mem);
}

static int t_buf_call(void *arg) {
    pv__mem *mem = arg;
    pv__buf b;
    pv__buf_init(&b, mem);
    for (uint32_t i = 0; i < 500; i++) {
        pv__buf_add_u32(&b, i);
    }
    const int rc = pv__buf_check(&b, NULL);
    for (uint32_t i = 0; i < b.len / 4; i++) {
        assert_int_equal(pv__get32(b.data + (size_t)i * 4), i);
    }
    pv__buf_done(&b);
    return rc;
}

static void test_buf__survives_every_failure(void **state) {
    (void)state;
    pv__mem mem;
    test_mem_init(&mem);
    assert_true(test_nomem_loop(&mem, t_buf_call, &mem) > 3);
    test_mem_done(&mem);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc__bytes_in_use_and_peak_are_counted),
        cmocka_unit_test(test_alloc__size_zero_gives_a_unique_pointer),
        cmocka_unit_test(test_alloc__limit_is_kept),
        cmocka_unit_test(test_alloc__products_and_sizes_do_not_overflow),
        cmocka_unit_test(test_alloc__nth_request_fails_once_or_for_good),
        cmocka_unit_test(test_alloc__callers_allocator_is_told_true_sizes),
        cmocka_unit_test(test_alloc__aligned_memory_is_aligned),
        cmocka_unit_test(test_alloc__grow_survives_every_failure),
        cmocka_unit_test(test_arena__pieces_are_aligned_and_apart),
        cmocka_unit_test(test_arena__reset_keeps_one_chunk_and_reuses_it),
        cmocka_unit_test(test_buf__holds_what_was_added),
        cmocka_unit_test(test_buf__varints_read_back),
        cmocka_unit_test(test_reader__refuses_overlong_varints_and_short_input),
        cmocka_unit_test(test_buf__failure_is_sticky_and_data_a_prefix),
        cmocka_unit_test(test_buf__survives_every_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
