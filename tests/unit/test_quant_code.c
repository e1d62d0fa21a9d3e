/* SPDX-License-Identifier: Apache-2.0 */
/* test_quant_code.c - codes of every kind: the same bits on every instruction set, distances near
 * the truth, nothing outside a row touched, and values at the edges of f32. */
#include <float.h>

#include "test_quant_kit.h"

#include <sys/mman.h>

static const unsigned t_kinds[] = {PV__CODE_F32,
                                   PV__CODE_F16,
                                   PV__CODE_SQ8,
                                   PV__CODE_Q4,
                                   PV__CODE_B1,
                                   PV__CODE_Q4 | T_CENTRED,
                                   PV__CODE_B1 | T_CENTRED};

static unsigned t_plain(size_t k) { return t_kinds[k] & ~T_CENTRED; }

/* 1..300, then common and odd large ones. */
static uint32_t t_dims(size_t i) {
    static const uint32_t more[] = {384, 511, 768, 1023, 1536, 1537, 16383, 16384, 0};
    return i < 300 ? (uint32_t)i + 1 : more[i - 300];
}

/* Vectors of several shapes: plain, offset, sparse, constant, zero, alternating at the edges of the
 * grid, one far element. */
static void t_shape(float *v, uint32_t dims, size_t shape) {
    for (uint32_t i = 0; i < dims; i++) {
        const float x = t_normal();
        switch (shape % 8) {
        case 0:
            v[i] = x;
            break;
        case 1:
            v[i] = pv__unfused(x * 0.01f) + 7.0f; /* the same data everywhere */
            break;
        case 2:
            v[i] = t_bits() % 8 == 0 ? fabsf(x) : 0.0f;
            break;
        case 3:
            v[i] = -3.25f;
            break;
        case 4:
            v[i] = 0.0f;
            break;
        case 5:
            v[i] = i % 2 ? 255.0f : 0.0f;
            break;
        case 6:
            v[i] = i == dims / 2 ? 1000.0f : x;
            break;
        default:
            v[i] = (float)(t_bits() % 256);
            break;
        }
    }
}

static void t_same(const void *a, const void *b, size_t size, const pv__code_kernel *k,
                   const pv__code *c, const char *what) {
    if (memcmp(a, b, size) != 0) {
        fail_msg("%s differs from scalar: %s, kind %u, metric %u, %u dims", k->name, what, c->kind,
                 c->metric, c->dims);
    }
}

/* Rows and distances of one table, all from the same seed; n rows in one call, and one by one. */
static void t_run(uint32_t cpu, unsigned kind, unsigned metric, uint32_t dims, size_t n,
                  uint8_t *out_rows, float *out) {
    t_set s;
    t_open(&s, kind, metric, dims, n, cpu, (float)dims);
    t_state = dims;
    for (size_t i = 0; i < n; i++) {
        t_shape(s.vectors + i * dims, dims, i);
    }
    t_encode(&s);
    for (size_t i = 0; i < n; i++) {
        memcpy(out_rows + i * s.code.row_size, s.rows[i], s.code.row_size);
    }
    for (size_t q = 0; q < 4; q++) {
        if (q < 2) {
            pv__code_query(&s.code, s.vectors + q * 6 * dims, s.query);
        } else {
            pv__code_query_row(&s.code, s.rows[(q - 2) * 6], s.query);
        }
        pv__code_distances(&s.code, s.query, s.rows, n, out + q * n);
        for (size_t i = 0; i < n; i++) {
            float one = -1;
            assert_true(isfinite(out[q * n + i]));
            pv__code_distances(&s.code, s.query, s.rows + i, 1, &one);
            assert_memory_equal(&one, &out[q * n + i], sizeof one);
            assert_true(pv__code_sigma(&s.code, s.query, s.rows[i]) >= 0);
        }
    }
    t_close(&s);
}

static void test_quant_code__every_table_gives_the_bits_of_scalar(void **state) {
    (void)state;
    enum { n = 14 };
    float want[4 * n], got[4 * n];
    uint8_t *want_rows = malloc(n * 70000), *got_rows = malloc(n * 70000);
    for (size_t at = 1; t_kernel(at); at++) {
        for (size_t d = 0; t_dims(d); d++) {
            const uint32_t dims = t_dims(d);
            for (size_t k = 0; k < PV_COUNTOF(t_kinds); k++) {
                const unsigned metric = t_metrics[d % 3];
                pv__code c;
                assert_true(t_init(&c, t_kinds[k], metric, dims, 1, 4711, 0));
                t_run(0, t_kinds[k], metric, dims, n, want_rows, want);
                t_run(t_kernel(at)->cpu, t_kinds[k], metric, dims, n, got_rows, got);
                t_same(got_rows, want_rows, n * c.row_size, t_kernel(at), &c, "rows");
                t_same(got, want, sizeof got, t_kernel(at), &c, "distances");
            }
        }
    }
    free(want_rows);
    free(got_rows);
}

/* Element by element, in place or not, nothing behind touched; cut where it overflows. */
static void test_quant_code__times_and_less_of_every_length(void **state) {
    (void)state;
    enum { most = 70 };
    for (size_t at = 0; t_kernel(at); at++) {
        const pv__code_kernel *k = t_kernel(at);
        for (size_t n = 1; n <= most; n++) {
            float v[most], mean[most], by[most + 1], less[most + 1];
            for (size_t i = 0; i < n; i++) {
                v[i] = t_normal() * (i % 7 == 3 ? 3e38f : 1.0f);
                mean[i] = t_normal() * (i % 7 == 3 ? -3e38f : 1.0f);
                v[i] = PV_MAX(PV_MIN(v[i], FLT_MAX), -FLT_MAX);
                mean[i] = PV_MAX(PV_MIN(mean[i], FLT_MAX), -FLT_MAX);
            }
            float *exact = malloc(n * sizeof *exact); /* what is read or written behind is found */
            memcpy(exact, v, n * sizeof *exact);
            by[n] = less[n] = 4711;
            k->times(exact, n, 0.75f, by);
            memcpy(less, v, n * sizeof *less);
            k->less(less, n, memcpy(exact, mean, n * sizeof *exact));
            memcpy(exact, v, n * sizeof *exact);
            k->times(exact, n, 0.75f, exact);
            assert_memory_equal(exact, by, n * sizeof *exact);
            for (size_t i = 0; i < n; i++) {
                const double d = (double)v[i] - (double)mean[i];
                assert_true(by[i] == v[i] * 0.75f);
                assert_true(less[i] == (float)PV_MAX(PV_MIN(d, (double)FLT_MAX), -(double)FLT_MAX));
            }
            assert_true(by[n] == 4711 && less[n] == 4711);
            free(exact);
        }
    }
}

static uint64_t t_hash(uint64_t hash, const void *bytes, size_t n) { /* FNV-1a */
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * 1099511628211u;
    }
    return hash;
}

/* Rows and distances of this machine and compiler are those of any other. */
static void test_quant_code__bits_are_those_of_every_machine(void **state) {
    (void)state;
    enum { n = 14 };
    static const uint64_t want[PV_COUNTOF(t_kinds)] = {
        5665872367499911719u,  13355558157348954543u, 13319769925870257495u, 17844000773953416688u,
        16048895440980059650u, 6194921518224513314u,  10817206759696571859u};
    uint8_t *rows = malloc(n * 70000);
    float out[4 * n];
    for (size_t k = 0; k < PV_COUNTOF(t_kinds); k++) {
        uint64_t hash = 14695981039346656037u;
        for (uint32_t dims = 1; dims < 900; dims += 37) {
            for (size_t m = 0; m < 3; m++) {
                pv__code c;
                assert_true(t_init(&c, t_kinds[k], t_metrics[m], dims, 1, 4711, 0));
                t_run(pv__sys_cpu(), t_kinds[k], t_metrics[m], dims, n, rows, out);
                hash = t_hash(t_hash(hash, rows, n * c.row_size), out, sizeof out);
            }
        }
        if (hash != want[k]) {
            fail_msg("kind %u: %llu", t_kinds[k], (unsigned long long)hash);
        }
    }
    free(rows);
}

/* The largest error that rounding to the grids allows: each element moves by half a step. */
static double t_sq8_move(const float *v, uint32_t dims, unsigned metric) {
    double low = (double)v[0], high = low, norm2 = 0;
    for (uint32_t i = 0; i < dims; i++) {
        low = fmin(low, (double)v[i]);
        high = fmax(high, (double)v[i]);
        norm2 += (double)v[i] * (double)v[i];
    }
    const double half = (high - low) / 255 * 0.5001 + 1e-6 * fmax(fabs(low), fabs(high));
    double move = half * sqrt((double)dims);
    if (metric == PV_METRIC_COSINE && norm2 > 0) {
        move = 2 * move / sqrt(norm2); /* and again by the length of the decoded vector */
    }
    return move;
}

/* Squared distance to the mean. */
static double t_about(const pv__code *c, const float *v) {
    const float *mean = c->book;
    double norm2 = 0, sum = 0;
    for (uint32_t i = 0; i < c->dims; i++) {
        norm2 += (double)v[i] * (double)v[i];
    }
    const double by = c->metric == PV_METRIC_COSINE && norm2 > 0 ? 1 / sqrt(norm2) : 1;
    for (uint32_t i = 0; i < c->dims; i++) {
        const double d = (double)v[i] * by - (double)mean[i];
        sum += d * d;
    }
    return sum;
}

/* How far an estimate may be from its truth, whatever the data; rows: both sides are rows. */
static double t_allowed(const pv__code *c, const float *a, const float *b, bool rows,
                        double truth) {
    double a2 = 0, b2 = 0, move = 0, allowed = 0, rounding = 0;
    for (uint32_t i = 0; i < c->dims; i++) {
        a2 += (double)a[i] * (double)a[i];
        b2 += (double)b[i] * (double)b[i];
    }
    if (c->metric == PV_METRIC_COSINE) {
        a2 = b2 = 1;
    }
    rounding = (a2 + b2) * ((double)c->dims / 16 + 32) * 0x1p-24;
    if (c->centred) { /* what is coded are differences; for dot the query is not */
        a2 = c->metric == PV_METRIC_DOT && !rows ? a2 : t_about(c, a);
        b2 = t_about(c, b);
        rounding += (a2 + b2) * ((double)c->dims / 16 + 32) * 0x1p-24;
    }
    if (c->kind == PV__CODE_F16) { /* the last bit of eleven */
        move = (sqrt(a2) + sqrt(b2)) * 0x1p-11 * 1.001;
    }
    if (c->kind == PV__CODE_SQ8) {
        move = t_sq8_move(a, c->dims, c->metric) + t_sq8_move(b, c->dims, c->metric);
    }
    if (c->kind == PV__CODE_Q4 || c->kind == PV__CODE_B1) {
        /* six deviations of two dots, and from rows the bias */
        const bool b1 = c->kind == PV__CODE_B1;
        const double n = (double)PV_ALIGN_UP(c->dims, 64u);
        const double sigma = (rows ? 1.8 : 1) * (b1 ? 1 : 0.13) * sqrt(a2 * b2 / (n - 1));
        allowed = 2 * 6 * sigma + (rows ? (b1 ? 1.5 : 0.06) * (a2 + b2) : 0);
        if (c->metric == PV_METRIC_COSINE && !c->centred && (a2 == 0 || b2 == 0)) {
            allowed = b1 ? 0.8 : 0.05;
        }
    } else if (c->metric != PV_METRIC_DOT) {
        allowed = move * (2 * sqrt(fabs(truth)) + move);
    } else if (!rows) {
        allowed = move * (sqrt(a2) + sqrt(b2) + move);
    } else { /* the appended coordinate moves by at most the root of what the norm does */
        const double e = sqrt(move * (2 * sqrt(fmax(a2, b2)) + move));
        allowed = (move + 2 * e) * (2 * sqrt(truth) + move + 2 * e);
    }
    return allowed + rounding;
}

static void t_near_truth(t_set *s, double norm2_max) {
    const pv__code *c = &s->code;
    for (size_t q = 0; q<16; q += c->dims> 1000 ? 5 : 1) {
        const bool rows = q % 2 == 0;
        const float *a = s->vectors + q / 2 * c->dims;
        float out[24];
        if (rows) {
            pv__code_query_row(c, s->rows[q / 2], s->query);
        } else {
            pv__code_query(c, a, s->query);
        }
        pv__code_distances(c, s->query, s->rows, s->n, out);
        for (size_t i = 0; i < s->n; i++) {
            const float *b = s->vectors + i * c->dims;
            const double truth = t_truth(c->metric, a, b, c->dims, rows, norm2_max);
            const double allowed = t_allowed(c, a, b, rows, truth);
            if (!(fabs((double)out[i] - truth) <= allowed)) {
                fail_msg("kind %u metric %u %u dims, query %zu row %zu: %.9g, not %.9g, "
                         "allowed %.3g",
                         c->kind, c->metric, c->dims, q, i, (double)out[i], truth, allowed);
            }
        }
    }
}

static void test_quant_code__distances_are_near_the_truth(void **state) {
    (void)state;
    for (size_t d = 0; t_dims(d); d += d < 300 ? 7 : 1) {
        const uint32_t dims = t_dims(d);
        const float norm2_max = (float)dims * 1.5f;
        for (size_t k = 0; k < PV_COUNTOF(t_kinds); k++) {
            for (size_t m = 0; m < 3; m++) {
                t_set s;
                t_open(&s, t_kinds[k], t_metrics[m], dims, 24, pv__sys_cpu(), norm2_max);
                for (size_t i = 0; i < s.n; i++) {
                    t_shape(s.vectors + i * dims, dims, i);
                }
                t_encode(&s);
                t_near_truth(&s, (double)norm2_max);
                t_close(&s);
            }
        }
    }
}

static void test_quant_code__equal_rows_are_at_nothing(void **state) {
    (void)state;
    for (size_t k = 0; k < PV_COUNTOF(t_kinds); k++) {
        for (size_t m = 0; m < 3; m++) {
            for (uint32_t dims = 1; dims < 400; dims += 57) {
                t_set s;
                t_open(&s, t_kinds[k], t_metrics[m], dims, 8, pv__sys_cpu(), 1);
                for (size_t i = 0; i < 8; i++) {
                    t_shape(s.vectors + i * dims, dims, i);
                }
                t_encode(&s);
                for (size_t i = 0; i < 8; i++) {
                    float out[8];
                    double norm2 = 0;
                    for (uint32_t j = 0; j < dims; j++) {
                        norm2 += fabs((double)s.vectors[i * dims + j]);
                    }
                    pv__code_query_row(&s.code, s.rows[i], s.query);
                    pv__code_distances(&s.code, s.query, s.rows, 8, out);
                    assert_true(out[i] ==
                                (norm2 == 0 && t_metrics[m] == PV_METRIC_COSINE ? 2.0f : 0.0f));
                    assert_false(signbit(out[i]));
                }
                t_close(&s);
            }
        }
    }
}

/* A zero vector under cosine is at 2 to everything. */
static void test_quant_code__zero_vectors(void **state) {
    (void)state;
    enum { dims = 100 };
    for (size_t k = 0; k < PV_COUNTOF(t_kinds); k++) {
        t_set s;
        t_open(&s, t_kinds[k], PV_METRIC_COSINE, dims, 8, pv__sys_cpu(), 0);
        for (size_t i = 0; i < 8; i++) {
            t_shape(s.vectors + i * dims, dims, i);
        }
        t_encode(&s);
        for (size_t i = 0; i < 8; i++) {
            for (int row = 0; row < 2; row++) {
                float out[8];
                if (row) {
                    pv__code_query_row(&s.code, s.rows[i], s.query);
                } else {
                    pv__code_query(&s.code, s.vectors + i * dims, s.query);
                }
                pv__code_distances(&s.code, s.query, s.rows, 8, out);
                const unsigned kind = t_plain(k);
                const float allowed = kind == PV__CODE_F16         ? 2e-3f
                                      : !row || kind < PV__CODE_Q4 ? 1e-5f
                                      : kind == PV__CODE_Q4        ? 0.05f
                                                                   : 0.8f;
                assert_true(fabsf(out[4] - 2.0f) <= allowed); /* shape 4 is zero */
                if (i == 4) {
                    for (size_t j = 0; j < 8; j++) {
                        assert_true(fabsf(out[j] - 2.0f) <= allowed);
                    }
                }
            }
        }
        t_close(&s);
    }
}

/* From denormal to the largest: finite, no NaN, order kept where f32 can tell; the same bits on
 * every table, whatever stands beside a row. */
static void test_quant_code__values_at_the_edges(void **state) {
    (void)state;
    static const float scale[] = {0x1p-149f, 1e-42f, 1e-37f, 1e-25f, 1e-15f, 1.0f,
                                  1e12f,     1e18f,  1e25f,  1e32f,  3e38f};
    enum { n = 2 * PV_COUNTOF(scale) + 3 };
    for (uint32_t dims = 1; dims < 200; dims += 33) {
        for (size_t k = 0; k < PV_COUNTOF(t_kinds); k++) {
            for (size_t m = 0; m < 3; m++) {
                float want[2 * n * n];
                for (size_t at = 0; t_kernel(at); at++) {
                    t_set s;
                    t_open(&s, t_kinds[k], t_metrics[m], dims, n, t_kernel(at)->cpu, FLT_MAX);
                    t_state = 5;
                    for (size_t i = 0; i < n; i++) {
                        for (uint32_t j = 0; j < dims; j++) {
                            const float x = (float)(t_uniform() * 2 - 1);
                            s.vectors[i * dims + j] = x * scale[i % PV_COUNTOF(scale)];
                            if (i + 3 == n) {
                                s.vectors[i * dims + j] = j % 2 ? FLT_MAX : -FLT_MAX;
                            } else if (i + 2 == n) {
                                s.vectors[i * dims + j] = FLT_MAX;
                            } else if (i + 1 == n) {
                                s.vectors[i * dims + j] = j == 0 ? FLT_MAX : 0x1p-149f;
                            }
                        }
                    }
                    t_encode(&s);
                    for (size_t q = 0; q < 2 * n; q++) {
                        float out[n];
                        if (q < n) {
                            pv__code_query(&s.code, s.vectors + q * dims, s.query);
                        } else {
                            pv__code_query_row(&s.code, s.rows[q - n], s.query);
                        }
                        pv__code_distances(&s.code, s.query, s.rows, n, out);
                        for (size_t i = 0; i < n; i++) {
                            float one;
                            assert_true(isfinite(out[i]));
                            if (t_metrics[m] == PV_METRIC_COSINE) {
                                assert_true(out[i] >= 0 &&
                                            out[i] <= (t_plain(k) == PV__CODE_B1 ? 40.0f
                                                       : s.code.centred          ? 4.8f
                                                                                 : 4.1f));
                            }
                            pv__code_distances(&s.code, s.query, s.rows + i, 1, &one);
                            assert_memory_equal(&one, &out[i], sizeof one);
                            assert_true(isfinite(pv__code_sigma(&s.code, s.query, s.rows[i])));
                        }
                        if (at == 0) {
                            memcpy(want + q * n, out, sizeof out);
                        }
                        assert_memory_equal(want + q * n, out, sizeof out);
                    }
                    t_close(&s);
                }
            }
        }
    }
}

/* Cosine does not look at lengths, however small or large. */
static void test_quant_code__cosine_has_no_scale(void **state) {
    (void)state;
    enum { dims = 96, n = 40 };
    static const float scale[] = {1e-40f, 1e-30f, 1e-10f, 1e10f, 1e30f, 1e37f};
    for (size_t k = 0; k < PV_COUNTOF(t_kinds); k++) {
        t_set s;
        t_open(&s, t_kinds[k], PV_METRIC_COSINE, dims, n, pv__sys_cpu(), 0);
        for (size_t i = 0; i < n * dims; i++) {
            s.vectors[i] = t_normal();
        }
        t_encode(&s);
        float want[n], out[n], v[dims];
        pv__code_query(&s.code, s.vectors, s.query);
        pv__code_distances(&s.code, s.query, s.rows, n, want);
        for (size_t i = 0; i < PV_COUNTOF(scale); i++) {
            for (size_t j = 0; j < dims; j++) {
                v[j] = s.vectors[j] * scale[i];
            }
            pv__code_query(&s.code, v, s.query);
            pv__code_distances(&s.code, s.query, s.rows, n, out);
            for (size_t r = 1; r < n; r++) {
                assert_true(fabsf(out[r] - want[r]) <= 1e-3f);
            }
        }
        t_close(&s);
    }
}

static void test_quant_code__nothing_behind_a_row_is_touched(void **state) {
    (void)state;
    const size_t page = 131072; /* a multiple of every page size */
    uint8_t *end = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(end != MAP_FAILED);
    assert_int_equal(mprotect(end + page, page, PROT_NONE), 0);
    for (size_t at = 0; t_kernel(at); at++) {
        for (uint32_t dims = 1; dims <= 300; dims++) {
            for (size_t k = 0; k < PV_COUNTOF(t_kinds); k++) {
                t_set s;
                t_open(&s, t_kinds[k], t_metrics[dims % 3], dims, 1, t_kernel(at)->cpu, 1);
                const uint8_t *rows[5];
                float out[5];
                float *vector = (void *)(end + page - dims * sizeof(float));
                for (uint32_t i = 0; i < dims; i++) {
                    vector[i] = t_normal();
                }
                pv__code_query(&s.code, vector, s.query);
                memcpy(s.vectors, vector, dims * sizeof(float));
                for (size_t i = 0; i < 5; i++) {
                    uint8_t *row = end + page - s.code.row_size;
                    memset(row, (int)i, s.code.row_size);
                    pv__code_encode(&s.code, s.vectors, s.scratch, row);
                    rows[i] = row;
                }
                pv__code_distances(&s.code, s.query, rows, 5, out);
                pv__code_query_row(&s.code, rows[0], s.query);
                pv__code_distances(&s.code, s.query, rows, 5, out);
                t_close(&s);
            }
        }
    }
    munmap(end, 2 * page);
}

/* Every byte is written, and twice the same. */
static void test_quant_code__encoding_leaves_no_byte_to_chance(void **state) {
    (void)state;
    for (size_t k = 0; k < PV_COUNTOF(t_kinds); k++) {
        for (uint32_t dims = 1; dims < 300; dims++) {
            t_set s;
            t_open(&s, t_kinds[k], t_metrics[dims % 3], dims, 8, pv__sys_cpu(), 9);
            for (size_t i = 0; i < 8; i++) {
                t_shape(s.vectors + i * dims, dims, i);
            }
            uint8_t *a = malloc(s.code.row_size), *b = malloc(s.code.row_size);
            for (size_t i = 0; i < 8; i++) {
                memset(a, 0x00, s.code.row_size);
                memset(b, 0xFF, s.code.row_size);
                memset(s.scratch, 0x33, s.code.scratch_bytes);
                pv__code_encode(&s.code, s.vectors + i * dims, s.scratch, a);
                memset(s.scratch, 0xCC, s.code.scratch_bytes);
                pv__code_encode(&s.code, s.vectors + i * dims, s.scratch, b);
                assert_memory_equal(a, b, s.code.row_size);
            }
            free(a);
            free(b);
            t_close(&s);
        }
    }
}

/* More rows than a block, and sums that fill 31 bits. */
static void test_quant_code__many_rows_and_the_largest_sums(void **state) {
    (void)state;
    enum { n = 333, dims = 64 };
    for (size_t k = 0; k < PV_COUNTOF(t_kinds); k++) {
        t_set s;
        t_open(&s, t_kinds[k], PV_METRIC_L2, dims, n, pv__sys_cpu(), 0);
        for (size_t i = 0; i < n * dims; i++) {
            s.vectors[i] = t_normal();
        }
        t_encode(&s);
        float out[n], one;
        pv__code_query(&s.code, s.vectors, s.query);
        pv__code_distances(&s.code, s.query, s.rows, n, out);
        for (size_t i = 0; i < n; i++) {
            pv__code_distances(&s.code, s.query, s.rows + i, 1, &one);
            assert_memory_equal(&one, &out[i], sizeof one);
        }
        pv__code_distances(&s.code, s.query, s.rows, 0, NULL);
        t_close(&s);

        enum { most = PV_LIMIT_DIMS };
        t_open(&s, t_kinds[k], PV_METRIC_L2, most, 3, pv__sys_cpu(), 0);
        for (size_t i = 0; i < most; i++) { /* both ends of the grid, means far from its middle */
            s.vectors[i] = i == 0 ? 0.0f : 255.0f;
            s.vectors[most + i] = i == 0 ? 255.0f : 0.0f;
            s.vectors[2 * most + i] = i % 2 ? 255.0f : 0.0f;
        }
        t_encode(&s);
        pv__code_query(&s.code, s.vectors, s.query);
        pv__code_distances(&s.code, s.query, s.rows, 3, out);
        for (size_t i = 0; i < 3; i++) {
            const double truth = t_truth(PV_METRIC_L2, s.vectors, s.vectors + i * most, most, 0, 0);
            const double norm2 = 255.0 * 255 * most;
            assert_true(fabs((double)out[i] - truth) <= (t_plain(k) == PV__CODE_B1 ? 0.1 * norm2
                                                         : t_plain(k) == PV__CODE_Q4
                                                             ? 0.02 * norm2
                                                             : 1e-4 * truth));
        }
        t_close(&s);
    }
}

/* Estimates within 1.3 and 2 sigma: a normal error would be so in 80.6 and 95.4 of 100. */
static void t_coverage(unsigned kind, unsigned metric, uint32_t dims, bool clustered) {
    enum { n = 320, queries = 64 };
    t_set s;
    size_t near = 0, far = 0;
    double ratio = 0;
    t_open(&s, kind, metric, dims, n + queries, pv__sys_cpu(), (float)dims * 2);
    float *centre = malloc(64 * dims * sizeof(float)); /* near rows share their errors */
    for (size_t i = 0; i < 64 * dims; i++) {
        centre[i] = t_normal() * 2;
    }
    for (size_t i = 0; i < n + queries; i++) {
        for (uint32_t j = 0; j < dims; j++) {
            s.vectors[i * dims + j] =
                clustered ? centre[i % 64 * dims + j] + 0.3f * t_normal() : t_normal();
        }
    }
    t_encode(&s);
    for (size_t q = 0; q < queries; q++) {
        const float *a = s.vectors + (n + q) * dims;
        float out[n];
        pv__code_query(&s.code, a, s.query);
        pv__code_distances(&s.code, s.query, s.rows, n, out);
        for (size_t i = 0; i < n; i++) {
            const double truth = t_truth(metric, a, s.vectors + i * dims, dims, false, 0);
            const double off = fabs((double)out[i] - truth);
            const double sigma = (double)pv__code_sigma(&s.code, s.query, s.rows[i]);
            near += off <= 1.3 * sigma;
            far += off <= 2 * sigma;
            ratio += off / sigma;
        }
    }
    const double all = n * queries;
    if ((double)near < 0.77 * all || (double)far < 0.93 * all) {
        fail_msg("kind %u metric %u %u dims%s: %.3f within 1.3 sigma, %.3f within 2", kind, metric,
                 dims, clustered ? " clustered" : "", (double)near / all, (double)far / all);
    }
    if (ratio / all < 0.6) { /* normal: 0.80 */
        fail_msg("kind %u metric %u %u dims: sigma is %.1f times too large", kind, metric, dims,
                 0.8 * all / ratio);
    }
    free(centre);
    t_close(&s);
}

static void test_quant_code__sigma_covers_what_it_says(void **state) {
    (void)state;
    static const uint32_t dims[] = {100, 768};
    for (size_t k = 1; k < PV_COUNTOF(t_kinds); k++) {
        for (size_t m = 0; m < 3; m++) {
            for (size_t d = 0; d < PV_COUNTOF(dims); d++) {
                t_coverage(t_kinds[k], t_metrics[m], dims[d], false);
                t_coverage(t_kinds[k], t_metrics[m], dims[d], true);
            }
        }
    }
}

/* Sixteen levels of Lloyd and Max lose 0.0095 of the square of a normal vector; the rotation makes
 * every vector nearly so, also one with a single element. */
static void test_quant_code__rotated_codes_lose_as_little_as_they_say(void **state) {
    (void)state;
    static const uint32_t dims[] = {128, 192, 768, 960, 1536, 3000};
    for (size_t d = 0; d < PV_COUNTOF(dims); d++) {
        for (size_t shape = 0; shape < 6; shape++) {
            t_set s;
            double lost = 0;
            t_open(&s, PV__CODE_Q4, PV_METRIC_L2, dims[d], 32, pv__sys_cpu(), 0);
            for (size_t i = 0; i < s.n; i++) {
                float *v = s.vectors + i * dims[d];
                t_shape(v, dims[d], shape == 4 ? 0 : shape);
                for (uint32_t j = 0; shape == 4 && j < dims[d]; j++) {
                    v[j] = j == (i * 97) % dims[d] ? 5.0f : 0.0f;
                }
            }
            t_encode(&s);
            for (size_t i = 0; i < s.n; i++) {
                float unit, norm2;
                int32_t sum2;
                const uint8_t *f = s.rows[i] + s.code.row_size - 16;
                memcpy(&unit, f, 4);
                memcpy(&norm2, f + 4, 4);
                memcpy(&sum2, f + 12, 4);
                lost += (double)unit * (double)unit * sum2 / (double)norm2 - 1;
            }
            const bool alike = shape == 3 || shape == 5; /* 32 times the same vector */
            if (!(lost / 32 > (alike ? 0.006 : 0.0080) && lost / 32 < (alike ? 0.016 : 0.0112))) {
                fail_msg("%u dims, shape %zu: %.4f lost", dims[d], shape, lost / 32);
            }
            t_close(&s);
        }
    }
}

static void test_quant_code__seeds_turn_differently(void **state) {
    (void)state;
    enum { dims = 200 };
    float v[dims];
    _Alignas(64) uint8_t a[1024], b[1024], scratch[8192];
    pv__code c;
    for (size_t i = 0; i < dims; i++) {
        v[i] = t_normal();
    }
    assert_true(t_init(&c, PV__CODE_Q4, PV_METRIC_L2, dims, 0, 1, pv__sys_cpu()));
    assert_true(c.row_size <= sizeof a && c.scratch_bytes <= sizeof scratch);
    pv__code_encode(&c, v, scratch, a);
    assert_true(t_init(&c, PV__CODE_Q4, PV_METRIC_L2, dims, 0, 2, pv__sys_cpu()));
    pv__code_encode(&c, v, scratch, b);
    size_t same = 0;
    for (size_t i = 0; i < 128; i++) {
        same += a[i] == b[i];
    }
    assert_true(same < 32);
}

static void test_quant_code__what_is_no_code_is_refused(void **state) {
    (void)state;
    pv__code c;
    assert_false(t_init(&c, 0, PV_METRIC_L2, 8, 0, 0, 0));
    assert_false(t_init(&c, 99, PV_METRIC_L2, 8, 0, 0, 0));
    assert_false(t_init(&c, PV__CODE_SQ8, 0, 8, 0, 0, 0));
    assert_false(t_init(&c, PV__CODE_SQ8, 4, 8, 0, 0, 0));
    assert_false(t_init(&c, PV__CODE_SQ8, PV_METRIC_L2, 0, 0, 0, 0));
    assert_false(t_init(&c, PV__CODE_SQ8, PV_METRIC_L2, PV_LIMIT_DIMS + 1, 0, 0, 0));
    assert_true(t_init(&c, PV__CODE_SQ8, PV_METRIC_L2, PV_LIMIT_DIMS, 0, 0, 0));
    assert_string_equal(c.kernel->name, "scalar");
}

static void test_quant_code__table_needs_all_its_cpu_bits(void **state) {
    (void)state;
    assert_ptr_equal(pv__code_kernel_at(0), pv__code_kernel_table(0));
    assert_null(pv__code_kernel_at(9));
    for (size_t i = 0; pv__code_kernel_at(i); i++) {
        assert_ptr_equal(pv__code_kernel_table(pv__code_kernel_at(i)->cpu), pv__code_kernel_at(i));
    }
#if PV__KERNEL_X86
    assert_string_equal(pv__code_kernel_table(PV__CPU_AVX512)->name, "scalar");
    assert_string_equal(pv__code_kernel_table(PV__CPU_AVX512 | PV__CPU_AVX2)->name, "avx2");
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quant_code__every_table_gives_the_bits_of_scalar),
        cmocka_unit_test(test_quant_code__times_and_less_of_every_length),
        cmocka_unit_test(test_quant_code__bits_are_those_of_every_machine),
        cmocka_unit_test(test_quant_code__distances_are_near_the_truth),
        cmocka_unit_test(test_quant_code__equal_rows_are_at_nothing),
        cmocka_unit_test(test_quant_code__zero_vectors),
        cmocka_unit_test(test_quant_code__values_at_the_edges),
        cmocka_unit_test(test_quant_code__cosine_has_no_scale),
        cmocka_unit_test(test_quant_code__nothing_behind_a_row_is_touched),
        cmocka_unit_test(test_quant_code__encoding_leaves_no_byte_to_chance),
        cmocka_unit_test(test_quant_code__many_rows_and_the_largest_sums),
        cmocka_unit_test(test_quant_code__sigma_covers_what_it_says),
        cmocka_unit_test(test_quant_code__rotated_codes_lose_as_little_as_they_say),
        cmocka_unit_test(test_quant_code__seeds_turn_differently),
        cmocka_unit_test(test_quant_code__what_is_no_code_is_refused),
        cmocka_unit_test(test_quant_code__table_needs_all_its_cpu_bits),
    };
    printf("seed %llu\n", (unsigned long long)t_state);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
