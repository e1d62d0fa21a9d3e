/* SPDX-License-Identifier: Apache-2.0 */
/* test_quant_kit.h - vectors to encode, and a code with its rows in memory of every alignment. */
#ifndef TEST_QUANT_KIT_H
#define TEST_QUANT_KIT_H

#include "test_quant_data.h"

/* With a kind: about a mean, that of some vectors which have one. */
#define T_CENTRED 0x100u

/* The i-th table that this CPU can run, scalar first, NULL at the end. */
static inline const pv__code_kernel *t_kernel(size_t i) {
    const uint32_t cpu = pv__sys_cpu();
    for (size_t at = 0; pv__code_kernel_at(at); at++) {
        const pv__code_kernel *k = pv__code_kernel_at(at);
        if ((k->cpu & cpu) == k->cpu && i-- == 0) {
            return k;
        }
    }
    return NULL;
}

/* A code, a query vector's and n rows' memory. */
typedef struct t_set {
    pv__code code;
    size_t n;
    float *vectors;  /* n * dims */
    uint8_t *memory; /* rows, at shift, stride bytes apart, with guards between them */
    size_t stride, shift;
    const uint8_t **rows;
    void *query;
    void *scratch;
    void *book;
} t_set;

static bool t_init(pv__code *c, unsigned kind, unsigned metric, uint32_t dims, float norm2_max,
                   uint64_t seed, uint32_t cpu) {
    const pv__code_spec spec = {.kind = kind & ~T_CENTRED,
                                .metric = metric,
                                .dims = dims,
                                .centred = kind & T_CENTRED,
                                .norm2_max = norm2_max,
                                .seed = seed};
    return pv__code_init(c, &spec, cpu);
}

/* A mean that no vector of a test is near to, and that makes it easy to confuse them. */
static void t_learn(t_set *s) {
    enum { n = 5 };
    pv__mem mem;
    float *sample = malloc(n * s->code.dims * sizeof *sample);
    for (size_t i = 0; i < n * s->code.dims; i++) {
        sample[i] = 1.0f + t_normal() * 0.5f;
    }
    pv__mem_init(&mem, NULL, 0);
    s->book = t_aligned(s->code.book_bytes);
    memset(s->book, 0x5A, s->code.book_bytes);
    assert_int_equal(pv__code_train(&s->code, &mem, sample, n, NULL, s->book, NULL), 0);
    s->code.book = s->book;
    free(sample);
}

static void t_open(t_set *s, unsigned kind, unsigned metric, uint32_t dims, size_t n, uint32_t cpu,
                   float norm2_max) {
    memset(s, 0, sizeof *s);
    assert_true(t_init(&s->code, kind, metric, dims, norm2_max, 4711, cpu));
    assert_true(s->code.row_size % 4 == 0);
    s->n = n;
    s->vectors = malloc(n * dims * sizeof(float));
    s->shift = dims % 7;
    s->stride = s->code.row_size + 1 + dims % 5;
    s->memory = malloc(n * s->stride + 16);
    s->rows = malloc(n * sizeof *s->rows);
    s->query = t_aligned(s->code.query_bytes);
    s->scratch = t_aligned(s->code.scratch_bytes);
    memset(s->memory, 0xA5, n * s->stride + 16);
    if (s->code.book_bytes > 0) {
        t_learn(s);
    }
    for (size_t i = 0; i < n; i++) {
        s->rows[i] = s->memory + s->shift + i * s->stride;
    }
}

static void t_encode(t_set *s) {
    for (size_t i = 0; i < s->n; i++) {
        uint8_t *row = s->memory + s->shift + i * s->stride;
        pv__code_encode(&s->code, s->vectors + i * s->code.dims, s->scratch, row);
        assert_int_equal(row[s->code.row_size], 0xA5);
    }
}

static void t_close(t_set *s) {
    free(s->vectors);
    free(s->memory);
    free(s->rows);
    free(s->query);
    free(s->scratch);
    free(s->book);
}

#endif
