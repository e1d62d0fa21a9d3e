/* SPDX-License-Identifier: Apache-2.0 */
/* test_golden.c - files written by released versions open for ever. tests/golden/ holds for each
 * format a database as a clean close left it and one as kill -9 left it, with its log; both hold
 * what t_fill writes. `PV_GOLDEN_MAKE=NAME test_golden` writes such a pair for a new version. */
#include "test_api_kit.h"

#include <sys/stat.h>

#define T_ROWS 60
#define T_DIMS 5

static const char *const t_versions[] = {"0.1", "0.1-by-slot"};

static void t_vector(int row, float v[T_DIMS]) {
    for (int i = 0; i < T_DIMS; i++) {
        v[i] = (float)((row * 7 + i * 13) % 31) - 15.5f;
    }
}

static const char *t_text(int row, char out[120]) {
    snprintf(out, 120, "{\"row\":%d,\"name\":\"r\\u00e4w %d\",\"tags\":[null,true,%d.5]}", row, row,
             row);
    return out;
}

/* Strings under cosine, numbers under L2; every third row deleted, some replaced. */
static void t_fill(t_api *t) {
    t_api_create(t, "texts", T_DIMS, PV_METRIC_COSINE, PV_KEY_STRING);
    t_api_create(t, "numbers", T_DIMS, PV_METRIC_L2, PV_KEY_U64);
    for (int row = 0; row < T_ROWS; row++) {
        float v[T_DIMS];
        char text[120], id[16];
        t_vector(row, v);
        snprintf(id, sizeof id, "id-%d", row);
        pv_record s = t_record(id, v, T_DIMS, t_text(row, text));
        pv_record n = t_record_u64((uint64_t)row, v, T_DIMS, text);
        test_assert_ok(pv_insert(t->db, NULL, "texts", &s, 1, NULL, &t->err), &t->err);
        test_assert_ok(pv_insert(t->db, NULL, "numbers", &n, 1, NULL, &t->err), &t->err);
    }
    uint64_t gone = 0;
    test_assert_ok(
        pv_delete_where(t->db, NULL, "texts", "{\"row\": {\"$lt\": 20}}", &gone, &t->err), &t->err);
    assert_int_equal(gone, 20);
}

static void t_verify(t_api *t) {
    uint64_t n = 0;
    char text[120], id[16];
    float v[T_DIMS];
    test_assert_ok(pv_count(t->db, NULL, "texts", NULL, &n, &t->err), &t->err);
    assert_int_equal(n, T_ROWS - 20);
    test_assert_ok(pv_count(t->db, NULL, "numbers", NULL, &n, &t->err), &t->err);
    assert_int_equal(n, T_ROWS);
    for (int row = 20; row < T_ROWS; row++) {
        pv_results *r = NULL;
        pv_query q = PV_QUERY_INIT;
        t_vector(row, v);
        snprintf(id, sizeof id, "id-%d", row);
        test_assert_ok(pv_get(t->db, NULL, "texts", id, &r, &t->err), &t->err);
        test_assert_same_bytes(pv_results_vector(r, 0), v, sizeof v);
        snprintf(text, sizeof text,
                 "{\"name\":\"r\303\244w %d\",\"row\":%d,\"tags\":[null,true,%d.5]}", row, row,
                 row);
        assert_string_equal(pv_results_metadata(r, 0, NULL), text);
        pv_results_free(r);
        q.vector = v;
        q.dims = T_DIMS;
        q.k = 1;
        test_assert_ok(pv_search(t->db, NULL, "numbers", &q, &r, &t->err), &t->err);
        assert_true(pv_results_distance(r, 0) == 0.0f);
        pv_results_free(r);
    }
    t_expect_sound(t);
}

static bool t_copy(const char *from, const char *to) {
    char buf[4096];
    FILE *in = fopen(from, "rb"), *out = in ? fopen(to, "wb") : NULL;
    size_t n = 0;
    while (out && (n = fread(buf, 1, sizeof buf, in)) > 0) {
        fwrite(buf, 1, n, out);
    }
    if (in) {
        fclose(in);
    }
    return out && fclose(out) == 0;
}

static void t_open_golden(t_api *t, const char *file, const char *segment) {
    char from[600], to[700];
    const char *root = getenv("PV_SOURCE_DIR");
    memset(t, 0, sizeof *t);
    t->err = (pv_error)PV_ERROR_INIT;
    test_dir_init(&t->dir);
    test_dir_file(&t->dir, "t.pv", t->path, sizeof t->path);
    snprintf(from, sizeof from, "%s/tests/golden/%s", root ? root : ".", file);
    if (!t_copy(from, t->path)) {
        fail_msg("cannot copy %s", from);
    }
    if (segment) {
        snprintf(to, sizeof to, "%s-wal", t->path);
        assert_int_equal(mkdir(to, 0700), 0);
        snprintf(to, sizeof to, "%s-wal/%s", t->path, segment);
        snprintf(from, sizeof from, "%s/tests/golden/%s-wal/%s", root ? root : ".", file, segment);
        assert_true(t_copy(from, to));
    }
}

static void test_golden__closed_files_of_every_version_open(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof t_versions / sizeof t_versions[0]; i++) {
        t_api t;
        char file[64];
        pv_open_opts o = PV_OPEN_OPTS_INIT;
        snprintf(file, sizeof file, "%s-closed.pv", t_versions[i]);
        t_open_golden(&t, file, NULL);
        o.flags = PV_OPEN_READONLY;
        t_api_reopen(&t, &o);
        t_verify(&t);
        t_api_shut(&t);
        t_api_reopen(&t, NULL);
        t_verify(&t);
        t_api_done(&t);
    }
}

static void test_golden__killed_files_of_every_version_open(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof t_versions / sizeof t_versions[0]; i++) {
        t_api t;
        char file[64];
        snprintf(file, sizeof file, "%s-killed.pv", t_versions[i]);
        t_open_golden(&t, file, "0000000000001000-00000001.pvw");
        t_api_reopen(&t, NULL);
        t_verify(&t);
        t_api_shut(&t);
        t_api_reopen(&t, NULL);
        t_verify(&t);
        t_api_done(&t);
    }
}

/* Not a test: write the pair into the current folder. */
static int t_make(const char *name) {
    t_api t;
    char to[700], from[700];
    for (int killed = 0; killed < 2; killed++) {
        t_api_open(&t, NULL);
        t_fill(&t);
        if (!killed) {
            t_api_shut(&t);
        }
        snprintf(to, sizeof to, "%s-%s.pv", name, killed ? "killed" : "closed");
        if (!t_copy(t.path, to)) {
            return 1;
        }
        if (killed) {
            snprintf(to, sizeof to, "%s-killed.pv-wal", name);
            mkdir(to, 0755);
            snprintf(from, sizeof from, "%s-wal/0000000000001000-00000001.pvw", t.path);
            snprintf(to, sizeof to, "%s-killed.pv-wal/0000000000001000-00000001.pvw", name);
            if (!t_copy(from, to)) {
                return 1;
            }
        }
        t_api_done(&t);
    }
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden__closed_files_of_every_version_open),
        cmocka_unit_test(test_golden__killed_files_of_every_version_open),
    };
    const char *make = getenv("PV_GOLDEN_MAKE");
    return make ? t_make(make) : cmocka_run_group_tests(tests, NULL, NULL);
}
