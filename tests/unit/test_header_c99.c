/* SPDX-License-Identifier: Apache-2.0 */
/* test_header_c99.c - pv.h as a C99 program sees it: nothing else is included before it, every INIT
 * macro names every member, and what is not named otherwise is zero. Compiles with -std=c99
 * -pedantic; test_header_cxx.cpp is its twin for C++11. */
#include "pv.h"
#include "pv_unstable.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define T_REST_IS_ZERO(value, from)                                                                \
    t_rest_is_zero((const unsigned char *)&(value), (from), sizeof(value))

static void t_rest_is_zero(const unsigned char *p, size_t from, size_t size) {
    uint32_t stated;
    memcpy(&stated, p, sizeof(stated));
    assert_int_equal(stated, size);
    for (size_t i = from; i < size; i++) {
        assert_int_equal(p[i], 0);
    }
}

static void test_header_c99__defaults_are_zero(void **state) {
    const pv_open_opts open_opts = PV_OPEN_OPTS_INIT;
    const pv_collection_opts collection_opts = PV_COLLECTION_OPTS_INIT;
    const pv_collection_info info = PV_COLLECTION_INFO_INIT;
    const pv_batch batch = PV_BATCH_INIT;
    const pv_write_opts write_opts = PV_WRITE_OPTS_INIT;
    const pv_ids ids = PV_IDS_INIT;
    const pv_query query = PV_QUERY_INIT;
    const pv_query_vectors vectors = PV_QUERY_VECTORS_INIT;
    const pv_stats stats = PV_STATS_INIT;
    (void)state;
    T_REST_IS_ZERO(open_opts, 4);
    T_REST_IS_ZERO(collection_opts, 4);
    T_REST_IS_ZERO(info, 4);
    T_REST_IS_ZERO(batch, 4);
    T_REST_IS_ZERO(write_opts, 4);
    T_REST_IS_ZERO(ids, 4);
    T_REST_IS_ZERO(query, 4);
    T_REST_IS_ZERO(vectors, 4);
    T_REST_IS_ZERO(stats, 4);
}

static void test_header_c99__left_out_numbers_are_not_zero(void **state) {
    pv_record record = PV_RECORD_INIT;
    pv_iter_opts iter_opts = PV_ITER_OPTS_INIT;
    pv_error err = PV_ERROR_INIT;
    (void)state;
    assert_true(record.id_u64 == PV_ID_NONE);
    record.id_u64 = 0;
    T_REST_IS_ZERO(record, 4);
    assert_true(iter_opts.after_id_u64 == PV_ID_NONE);
    iter_opts.after_id_u64 = 0;
    T_REST_IS_ZERO(iter_opts, 4);
    assert_true(err.record_index == UINT64_MAX);
    err.record_index = 0;
    T_REST_IS_ZERO(err, 4);
}

static void test_header_c99__codes_are_distinct(void **state) {
    static const int codes[] = {
        PV_OK,
        PV_ERR_MISUSE,
        PV_ERR_NOMEM,
        PV_ERR_IO,
        PV_ERR_FULL,
        PV_ERR_CANTOPEN,
        PV_ERR_READONLY,
        PV_ERR_BUSY,
        PV_ERR_CONFLICT,
        PV_ERR_CORRUPT,
        PV_ERR_FORMAT,
        PV_ERR_NOTFOUND,
        PV_ERR_EXISTS,
        PV_ERR_DIMS,
        PV_ERR_LIMIT,
        PV_ERR_CANCELLED,
        PV_ERR_TIMEOUT,
        PV_ERR_UNSUPPORTED,
        PV_ERR_PERM,
        PV_ERR_CLOSED,
        PV_ERR_INTERNAL,
        PV_ERR_SNAPSHOT_TOO_OLD,
        PV_ERR_LOG_MISSING,
        PV_ERR_SCHEMA,
    };
    (void)state;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        assert_int_equal(codes[i], -(int)i);
        assert_non_null(pv_error_text(codes[i]));
        assert_true(strcmp(pv_error_text(codes[i]), pv_error_text(-1000)) != 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_c99__defaults_are_zero),
        cmocka_unit_test(test_header_c99__left_out_numbers_are_not_zero),
        cmocka_unit_test(test_header_c99__codes_are_distinct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
