/* SPDX-License-Identifier: Apache-2.0 */
/* test_quant_pq.c - product codes: sums and learning are the same bits on every instruction set,
 * estimates are those of decoded rows, two books can be alive, more bytes lose less. */
#include <float.h>

#include "quant/kinds.h"
#include "test_quant_data.h"

#include <sys/mman.h>

/* ---- sums ------------------------------------------------------------------------------------ */

/* Rows end before an inaccessible page, at every alignment. */
static void test_quant_pq__sums_equal_scalar(void **state) {
    (void)state;
    enum { n = 71 };
    const pv__code_parts *scalar = pv__code_parts_table(0),
                         *best = pv__code_parts_table(pv__sys_cpu());
    const size_t page = 131072;
    uint8_t *end = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(end != MAP_FAILED);
    assert_int_equal(mprotect(end + page, page, PROT_NONE), 0);
    static const size_t more[] = {256, 257, 300, 512, 767, 1024, 0};
    for (size_t i = 0; i < 206; i++) {
        const size_t parts = i < 200 ? i + 1 : more[i - 200], bytes = (parts + 1) / 2;
        uint8_t *table = t_aligned(parts * 16);
        const uint8_t *rows[n];
        uint32_t want[n], got[n];
        for (size_t t = 0; t < parts * 16; t++) {
            table[t] = i % 3 == 0 ? 255 : (uint8_t)t_bits();
        }
        for (size_t r = 0; r < n; r++) {
            uint8_t *row = end + page - (n - r) * bytes;
            for (size_t b = 0; b < bytes; b++) {
                row[b] = (uint8_t)t_bits();
            }
            rows[r] = row;
        }
        for (size_t count = 1; count <= n; count += i % 7 == 0 ? 1 : 35) {
            const pv__code_rows some = {rows + n - count, count, count, bytes};
            scalar->sums4(table, parts, &some, want);
            best->sums4(table, parts, &some, got);
            assert_memory_equal(want, got, count * sizeof *want);
        }
        free(table);
    }
    munmap(end, 2 * page);
}

static void test_quant_pq__measures_equal_scalar(void **state) {
    (void)state;
    const pv__code_parts *scalar = pv__code_parts_table(0),
                         *best = pv__code_parts_table(pv__sys_cpu());
    for (uint32_t dims = 1; dims <= 40; dims++) {
        for (uint32_t count = 16; count <= 256; count += 240) {
            float v[40], centres[40 * 256], want[256], got[256];
            for (size_t i = 0; i < dims * count; i++) {
                centres[i] = t_normal();
            }
            for (size_t i = 0; i < dims; i++) {
                v[i] = t_normal();
            }
            for (int dot = 0; dot < 2; dot++) {
                scalar->measure(v, dims, centres, count, dot, want);
                best->measure(v, dims, centres, count, dot, got);
                assert_memory_equal(want, got, count * sizeof *want);
            }
            scalar->measure(v, dims, centres, count, false, want);
            double d = 0;
            for (size_t i = 0; i < dims; i++) {
                d += pow((double)v[i] - (double)centres[i * count + 5], 2);
            }
            assert_true(fabs(d - (double)want[5]) < 1e-4 * (1 + d));
        }
    }
}

/* ---- codes ----------------------------------------------------------------------------------- */

typedef struct t_pq {
    pv__code code;
    size_t n;
    float *vectors;
    uint8_t *memory;
    const uint8_t **rows;
    void *book[2], *query, *scratch;
} t_pq;

/* Clusters, so that there is something to learn; shift moves them. */
static void t_pq_data(t_pq *t, float shift) {
    float centre[8][64];
    for (size_t i = 0; i < 8; i++) {
        for (size_t j = 0; j < 64; j++) {
            centre[i][j] = 2 * t_normal() + shift;
        }
    }
    for (size_t i = 0; i < t->n; i++) {
        for (uint32_t j = 0; j < t->code.dims; j++) {
            t->vectors[i * t->code.dims + j] =
                pv__unfused(0.5f * t_normal()) + centre[i % 8][j % 64];
        }
    }
}

static void t_pq_learn(t_pq *t, unsigned which) {
    pv__mem mem;
    pv__mem_init(&mem, NULL, 0);
    memset(t->book[which], 0xEE, t->code.book_bytes);
    assert_int_equal(pv__code_train(&t->code, &mem, t->vectors, t->n, NULL, t->book[which], NULL),
                     0);
    assert_int_equal(mem.bytes_used, 0);
}

static bool t_turned; /* of those that are opened */

static void t_pq_open(t_pq *t, unsigned metric, uint32_t dims, uint32_t parts, uint32_t bits,
                      size_t n, uint32_t cpu) {
    const pv__code_spec spec = {.kind = PV__CODE_PQ,
                                .metric = metric,
                                .dims = dims,
                                .seed = 7,
                                .turned = t_turned,
                                .parts = parts,
                                .bits = bits};
    memset(t, 0, sizeof *t);
    assert_true(pv__code_init(&t->code, &spec, cpu));
    t->n = n;
    t->vectors = malloc(n * dims * sizeof(float));
    t->memory = malloc(n * t->code.row_size);
    t->rows = malloc(n * sizeof *t->rows);
    t->book[0] = t_aligned(t->code.book_bytes);
    t->book[1] = t_aligned(t->code.book_bytes);
    t->query = t_aligned(t->code.query_bytes);
    t->scratch = t_aligned(t->code.scratch_bytes);
    for (size_t i = 0; i < n; i++) {
        t->rows[i] = t->memory + i * t->code.row_size;
    }
    t_pq_data(t, 0.3f);
}

static void t_pq_encode(t_pq *t, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        pv__code_encode(&t->code, t->vectors + i * t->code.dims, t->scratch,
                        t->memory + i * t->code.row_size);
    }
}

static void t_pq_close(t_pq *t) {
    free(t->vectors);
    free(t->memory);
    free(t->rows);
    free(t->book[0]);
    free(t->book[1]);
    free(t->query);
    free(t->scratch);
}

static void test_quant_pq__learning_and_rows_are_the_same_bits(void **state) {
    (void)state;
    static const uint32_t shapes[][3] = {{16, 4, 8}, {33, 7, 4}, {64, 64, 4}, {30, 30, 8}};
    for (size_t s = 0; s < 2 * PV_COUNTOF(shapes); s++) {
        const uint32_t *const shape = shapes[s / 2];
        t_turned = s % 2;
        for (size_t m = 0; m < 3; m++) {
            t_pq a, b;
            t_state = 77;
            t_pq_open(&a, t_metrics[m], shape[0], shape[1], shape[2], 700, 0);
            t_state = 77;
            t_pq_open(&b, t_metrics[m], shape[0], shape[1], shape[2], 700, pv__sys_cpu());
            t_pq_learn(&a, 0);
            t_pq_learn(&b, 0);
            assert_memory_equal(a.book[0], b.book[0], a.code.book_bytes);
            a.code.book = a.book[0];
            b.code.book = b.book[0];
            t_pq_encode(&a, 0, a.n);
            t_pq_encode(&b, 0, b.n);
            assert_memory_equal(a.memory, b.memory, a.n * a.code.row_size);
            float want[700], got[700];
            pv__code_query(&a.code, a.vectors + 5 * a.code.dims, a.query);
            pv__code_query(&b.code, b.vectors + 5 * b.code.dims, b.query);
            pv__code_distances(&a.code, a.query, a.rows, a.n, want);
            pv__code_distances(&b.code, b.query, b.rows, b.n, got);
            assert_memory_equal(want, got, sizeof want);
            t_pq_close(&a);
            t_pq_close(&b);
        }
    }
    t_turned = false;
}

/* Share of estimates within two deviations, and the mean loss. */
static double t_pq_quality(t_pq *t, double *out_lost) {
    size_t far = 0, all = 0;
    double lost = 0;
    for (size_t i = 0; i < t->n; i++) {
        lost +=
            (double)pv__code_lost(&t->code, t->vectors + i * t->code.dims, t->scratch, t->rows[i]);
    }
    *out_lost = lost / (double)t->n;
    for (size_t q = 0; q < 20; q++) {
        const float *v = t->vectors + q * 7 * t->code.dims;
        float *out = malloc(t->n * sizeof *out), sigma;
        pv__code_query(&t->code, v, t->query);
        pv__code_distances(&t->code, t->query, t->rows, t->n, out);
        for (size_t i = 0; i < t->n; i++) {
            const double truth =
                t_truth(t->code.metric, v, t->vectors + i * t->code.dims, t->code.dims, false, 0);
            assert_true(isfinite(out[i]));
            pv__code_sigmas(&t->code, t->query, &t->rows[i], 1, &out[i], &sigma);
            far += fabs((double)out[i] - truth) > 2 * (double)sigma;
            all++;
        }
        free(out);
    }
    return 1 - (double)far / (double)all;
}

static void test_quant_pq__more_bytes_lose_less_and_sigma_covers(void **state) {
    (void)state;
    for (size_t m = 0; m < 3; m++) {
        double before = DBL_MAX;
        for (uint32_t parts = 4; parts <= 32; parts *= 2) {
            t_pq t;
            double lost = 0;
            t_state = 3;
            t_pq_open(&t, t_metrics[m], 64, parts, 8, 2500, pv__sys_cpu());
            t_pq_learn(&t, 0);
            t.code.book = t.book[0];
            t_pq_encode(&t, 0, t.n);
            const double covered = t_pq_quality(&t, &lost);
            const double said = (double)pv__code_book_lost(t.book[0]);
            if (covered < 0.90 || lost > 0.92 * before || fabs(lost - said) > 0.01 * said) {
                fail_msg("metric %u, %u parts: %.3f within 2 sigma, lost %.4f, said %.4f",
                         t_metrics[m], parts, covered, lost, said);
            }
            before = lost;
            t_pq_close(&t);
        }
    }
}

/* Turning changes no distance: the matrix is orthonormal. */
static void test_quant_pq__axes_are_a_rotation(void **state) {
    (void)state;
    static const uint32_t dims[] = {1, 2, 3, 16, 33, 96};
    for (size_t s = 0; s < PV_COUNTOF(dims); s++) {
        const uint32_t n = dims[s], room = PV_ALIGN_UP(n, 16u);
        t_pq t;
        pv__mem mem;
        pv__mem_init(&mem, NULL, 0);
        t_pq_open(&t, PV_METRIC_L2, n, PV_MIN(n, 4u), 8, s % 2 ? 300 : 2, pv__sys_cpu());
        float *axes = t_aligned((size_t)room * n * sizeof *axes);
        assert_int_equal(pv__code_axes(&t.code, &mem, t.vectors, t.n, NULL, axes, NULL), 0);
        for (uint32_t i = 0; i < n; i++) {
            for (uint32_t k = 0; k <= i; k++) {
                double dot = 0;
                for (uint32_t j = 0; j < n; j++) {
                    dot += (double)axes[(i / 16 * n + j) * 16 + i % 16] *
                           (double)axes[(k / 16 * n + j) * 16 + k % 16];
                }
                assert_true(fabs(dot - (i == k)) < 1e-5);
            }
        }
        assert_int_equal(mem.bytes_used, 0);
        free(axes);
        t_pq_close(&t);
    }
}

/* Half of the elements have nearly all that vectors differ by: cut as they stand, half of the parts
 * have nothing to tell. */
static void test_quant_pq__turned_codes_lose_less(void **state) {
    (void)state;
    double lost[2];
    for (unsigned turned = 0; turned < 2; turned++) {
        t_pq t;
        t_state = 5;
        t_turned = turned;
        t_pq_open(&t, PV_METRIC_L2, 32, 4, 8, 2000, pv__sys_cpu());
        for (size_t i = 0; i < t.n * 32; i++) {
            t.vectors[i] = t_normal() * (i % 32 < 16 ? 1.0f : 0.05f);
        }
        t_pq_learn(&t, 0);
        t.code.book = t.book[0];
        t_pq_encode(&t, 0, t.n);
        const double covered = t_pq_quality(&t, &lost[turned]);
        assert_true(covered > 0.9);
        assert_true(fabs(lost[turned] - (double)pv__code_book_lost(t.book[0])) <
                    0.01 * lost[turned]);
        t_pq_close(&t);
    }
    t_turned = false;
    assert_true(lost[1] < 0.7 * lost[0]);
}

static int t_ask(void *ctx, pv_error *err) {
    (void)err;
    return (*(int *)ctx)-- <= 0 ? PV_ERR_CANCELLED : 0;
}

/* It is asked often, wherever it is, and ends at once; and memory that runs out leaves none. */
static void test_quant_pq__learning_can_be_stopped(void **state) {
    (void)state;
    t_pq t;
    pv__mem mem;
    t_turned = true;
    t_pq_open(&t, PV_METRIC_L2, 64, 8, 8, 1200, pv__sys_cpu());
    t_turned = false;
    pv__mem_init(&mem, NULL, 0);
    unsigned stopped = 0;
    for (int after = 0;; after += 7) {
        int left = after;
        const pv__code_stop stop = {t_ask, &left};
        const int rc = pv__code_train(&t.code, &mem, t.vectors, t.n, &stop, t.book[0], NULL);
        assert_int_equal(mem.bytes_used, 0);
        if (rc == 0) {
            break;
        }
        assert_int_equal(rc, PV_ERR_CANCELLED);
        stopped++;
    }
    assert_true(stopped > 20);
    const size_t least = t.n * 64 * sizeof(float);
    for (size_t limit = 1024; limit < 2 * least; limit += 4096) {
        pv__mem_init(&mem, NULL, limit);
        const int rc = pv__code_train(&t.code, &mem, t.vectors, t.n, NULL, t.book[0], NULL);
        assert_true(rc == 0 || rc == PV_ERR_NOMEM);
        assert_int_equal(mem.bytes_used, 0);
        if (rc == 0) {
            assert_true(limit > least);
            break;
        }
    }
    t_pq_close(&t);
}

/* Rows of two books beside each other: each is measured in its own. */
static void test_quant_pq__two_books_are_alive(void **state) {
    (void)state;
    t_pq t;
    float both[600], one[600];
    t_pq_open(&t, PV_METRIC_L2, 48, 12, 4, 600, pv__sys_cpu());
    t_pq_learn(&t, 0);
    t_pq_data(&t, -4.0f);
    t_pq_learn(&t, 1);
    t.code.book = t.book[0];
    t_pq_encode(&t, 0, 300);
    t.code.book = t.book[1];
    t.code.other_book = t.book[0];
    t.code.epoch = 1;
    t_pq_encode(&t, 300, 600);
    pv__code_query(&t.code, t.vectors, t.query);
    pv__code_distances(&t.code, t.query, t.rows, 600, both);
    assert_int_equal(pv__code_epoch(&t.code, t.rows[0]), 0);
    assert_int_equal(pv__code_epoch(&t.code, t.rows[300]), 1);
    pv__code_distances(&t.code, t.query, t.rows, 300, one);
    assert_memory_equal(both, one, 300 * sizeof *one);
    t.code.other_book = NULL;
    pv__code_query(&t.code, t.vectors, t.query);
    pv__code_distances(&t.code, t.query, t.rows + 300, 300, one);
    assert_memory_equal(both + 300, one, 300 * sizeof *one);
    memset(t.memory, 0, t.code.row_size); /* a row without a code */
    assert_int_equal(pv__code_epoch(&t.code, t.rows[0]), 2);
    pv__code_query(&t.code, t.vectors, t.query);
    pv__code_distances(&t.code, t.query, t.rows, 1, one);
    assert_true(one[0] == FLT_MAX);
    t_pq_close(&t);
}

static void test_quant_pq__zero_vectors_and_few_rows(void **state) {
    (void)state;
    t_pq t;
    float out[3];
    t_pq_open(&t, PV_METRIC_COSINE, 20, 5, 8, 3, pv__sys_cpu()); /* fewer rows than centres */
    memset(t.vectors, 0, 20 * sizeof(float));
    t_pq_learn(&t, 0);
    t.code.book = t.book[0];
    t_pq_encode(&t, 0, 3);
    for (size_t q = 0; q < 3; q++) {
        pv__code_query(&t.code, t.vectors + q * 20, t.query);
        pv__code_distances(&t.code, t.query, t.rows, 3, out);
        assert_true(out[0] == 2.0f);
        assert_true(q == 0 ? out[1] == 2.0f : out[q] < 0.01f);
    }
    t_pq_close(&t);
}

static void test_quant_pq__what_is_no_code_is_refused(void **state) {
    (void)state;
    pv__code c;
    pv__code_spec s = {
        .kind = PV__CODE_PQ, .metric = PV_METRIC_L2, .dims = 8, .parts = 4, .bits = 8};
    assert_true(pv__code_init(&c, &s, 0));
    s.bits = 5;
    assert_false(pv__code_init(&c, &s, 0));
    s.bits = 4;
    s.parts = 9;
    assert_false(pv__code_init(&c, &s, 0));
    s.parts = 0;
    assert_false(pv__code_init(&c, &s, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quant_pq__sums_equal_scalar),
        cmocka_unit_test(test_quant_pq__measures_equal_scalar),
        cmocka_unit_test(test_quant_pq__learning_and_rows_are_the_same_bits),
        cmocka_unit_test(test_quant_pq__more_bytes_lose_less_and_sigma_covers),
        cmocka_unit_test(test_quant_pq__axes_are_a_rotation),
        cmocka_unit_test(test_quant_pq__turned_codes_lose_less),
        cmocka_unit_test(test_quant_pq__learning_can_be_stopped),
        cmocka_unit_test(test_quant_pq__two_books_are_alive),
        cmocka_unit_test(test_quant_pq__zero_vectors_and_few_rows),
        cmocka_unit_test(test_quant_pq__what_is_no_code_is_refused),
    };
    printf("seed %llu\n", (unsigned long long)t_state);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
