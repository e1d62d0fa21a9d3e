/* SPDX-License-Identifier: Apache-2.0 */
/* screen.c - panels, groups and bounds of screen.h; the product of one group and one panel is in
 * the files of the instruction sets. */
#include "kernel/screen.h"

#include <float.h>
#include <math.h>

#if PV__KERNEL_X86
#include <emmintrin.h>
#elif PV__KERNEL_ARM
#include <arm_neon.h>
#endif

#define SCREEN_GROUP_BYTES_MAX ((size_t)256 << 20)
#define SCREEN_PANEL_BYTES ((size_t)384 << 10) /* of all panels: in the second-level cache */
#define SCREEN_QUERIES_MAX 12u
#define SCREEN_NORM2_MIN 0x1p-80
#define SCREEN_NORM2_MAX 0x1p+80
#define SCREEN_WORDS (PV__SCREEN_ROWS_MAX / 64)
#define SCREEN_BLOCK 32u

bool pv__screen_can(const pv__kernel *k) { return k->screen != NULL; }

static double screen_error(size_t dims) { return ((double)dims + 16) * 0x1p-23; }

static bool screen_in_range(double norm2) {
    return norm2 >= SCREEN_NORM2_MIN && norm2 <= SCREEN_NORM2_MAX;
}

/* ---- queries ------------------------------------------------------------------------------- */

size_t pv__screen_group_bytes(const pv__kernel *k, size_t dims, size_t count) {
    const size_t groups = (count + k->screen_queries - 1) / k->screen_queries;
    const size_t bytes = k->screen_queries * dims * sizeof(float);
    return groups <= SCREEN_GROUP_BYTES_MAX / bytes ? groups * bytes : 0;
}

void pv__screen_groups(const pv__kernel *k, const pv__kernel_query *queries, size_t count,
                       float *groups, double *norm2) {
    const size_t wide = k->screen_queries, dims = count > 0 ? queries[0].dims : 0;
    for (size_t q = 0; q < (count + wide - 1) / wide * wide; q++) {
        const float *from = queries[PV_MIN(q, count - 1)].wide; /* the last group is filled up */
        float *to = groups + q / wide * wide * dims + q % wide;
        double sum = 0;
        for (size_t i = 0; i < dims; i++) {
            to[i * wide] = from[i];
            sum += (double)from[i] * (double)from[i];
        }
        if (q < count) {
            norm2[q] = sum;
        }
    }
}

/* ---- rows ---------------------------------------------------------------------------------- */

size_t pv__screen_rows(const pv__kernel *k, size_t dims) {
    const size_t fits = SCREEN_PANEL_BYTES / (dims * sizeof(float)) / k->screen_rows;
    return PV_MIN(PV_MAX(fits, (size_t)1) * k->screen_rows, (size_t)PV__SCREEN_ROWS_MAX);
}

static void screen_pack_some(const uint8_t *const *rows, size_t from, size_t dims, size_t wide,
                             float *panel) {
    for (size_t i = from; i < dims; i++) {
        for (size_t r = 0; r < wide; r++) {
            memcpy(&panel[i * wide + r], rows[r] + i * sizeof(float), sizeof(float));
        }
    }
}

/* One panel: element i of row r goes to panel[i * wide + r]. */
static void screen_pack(const uint8_t *const *rows, size_t dims, size_t wide, float *panel) {
    size_t i = 0;
#if PV__KERNEL_X86
    for (; i + 4 <= dims; i += 4) {
        for (size_t r = 0; r < wide; r += 4) { /* wide is a multiple of 4 */
            __m128 a = _mm_loadu_ps((const void *)(rows[r] + i * sizeof(float)));
            __m128 b = _mm_loadu_ps((const void *)(rows[r + 1] + i * sizeof(float)));
            __m128 c = _mm_loadu_ps((const void *)(rows[r + 2] + i * sizeof(float)));
            __m128 d = _mm_loadu_ps((const void *)(rows[r + 3] + i * sizeof(float)));
            _MM_TRANSPOSE4_PS(a, b, c, d);
            float *to = panel + i * wide + r;
            _mm_store_ps(to, a);
            _mm_store_ps(to + wide, b);
            _mm_store_ps(to + 2 * wide, c);
            _mm_store_ps(to + 3 * wide, d);
        }
    }
#elif PV__KERNEL_ARM
    for (; i + 4 <= dims; i += 4) {
        for (size_t r = 0; r < wide; r += 4) {
            float32x4_t v[4];
            for (size_t k = 0; k < 4; k++) {
                v[k] = vreinterpretq_f32_u8(vld1q_u8(rows[r + k] + i * sizeof(float)));
            }
            const float32x4x2_t a = vzipq_f32(v[0], v[2]), b = vzipq_f32(v[1], v[3]);
            const float32x4x2_t low = vzipq_f32(a.val[0], b.val[0]);
            const float32x4x2_t high = vzipq_f32(a.val[1], b.val[1]);
            float *to = panel + i * wide + r;
            vst1q_f32(to, low.val[0]);
            vst1q_f32(to + wide, low.val[1]);
            vst1q_f32(to + 2 * wide, high.val[0]);
            vst1q_f32(to + 3 * wide, high.val[1]);
        }
    }
#endif
    screen_pack_some(rows, i, dims, wide, panel);
}

static void screen_row(pv__screen *s, size_t r, float norm2) {
    const double k = screen_error(s->dims), n = (double)norm2;
    if (!screen_in_range(n)) { /* dot * 0 + infinity: never less than anything */
        s->scale[r] = 0.0f;
        s->shift[r] = -INFINITY;
        return;
    }
    s->scale[r] = s->metric == PV_METRIC_COSINE ? 1.0f / sqrtf(norm2) : 1.0f;
    s->shift[r] = s->metric == PV_METRIC_L2    ? (float)(n / 2 * (1 - 4 * k))
                  : s->metric == PV_METRIC_DOT ? (float)(-k * n)
                                               : 0.0f;
}

void pv__screen_fill(pv__screen *s, const pv__kernel_query *some, const uint8_t *const *rows,
                     size_t count) {
    const size_t wide = s->kernel->screen_rows;
    float dot[SCREEN_BLOCK], norm2[SCREEN_BLOCK];
    s->count = count;
    for (size_t r = 0; r < count; r += SCREEN_BLOCK) {
        const size_t n = PV_MIN(count - r, (size_t)SCREEN_BLOCK);
        const pv__kernel_ahead ahead = {r + n < count ? 1 : 0, false};
        s->kernel->cos(some->wide, s->dims, rows + r, n, ahead, dot, norm2);
        for (size_t i = 0; i < n; i++) {
            screen_row(s, r + i, norm2[i]);
        }
    }
    for (size_t r = count; r % wide != 0; r++) { /* what fills the last panel up */
        s->scale[r] = s->scale[count - 1];
        s->shift[r] = s->shift[count - 1];
    }
    for (size_t r = 0; r < count; r += wide) {
        const uint8_t *row[64];
        for (size_t i = 0; i < wide; i++) {
            row[i] = rows[PV_MIN(r + i, count - 1)];
        }
        screen_pack(row, s->dims, wide, s->panels + r * s->dims);
    }
}

/* ---- pairs --------------------------------------------------------------------------------- */

/* The largest float that is not above v. */
static float screen_down(double v) {
    if (!(v >= -(double)FLT_MAX)) {
        return -INFINITY; /* NaN too */
    }
    const float f = v > (double)FLT_MAX ? FLT_MAX : (float)v;
    return (double)f > v ? nextafterf(f, -INFINITY) : f;
}

static float screen_least(const pv__screen *s, double norm2, float bound) {
    const double k = screen_error(s->dims), b = (double)bound;
    if (!screen_in_range(norm2) || !(b <= (double)FLT_MAX)) {
        return -INFINITY;
    }
    if (s->metric == PV_METRIC_L2) {
        return b < 0 ? INFINITY
                     : screen_down((norm2 * (1 - 2 * k) - b * b * (1 + 4 * k)) / 2 - FLT_MIN);
    }
    if (s->metric == PV_METRIC_DOT) {
        return screen_down(-b - k * norm2 - k * fabs(b) - FLT_MIN);
    }
    return screen_down(sqrt(norm2) * (1 - b - 4 * k) - FLT_MIN);
}

size_t pv__screen_run(const pv__screen *s, const float *groups, const double *norm2, size_t first,
                      size_t n, const float *bounds, uint64_t *out) {
    const size_t wide = s->kernel->screen_rows;
    const float *group = groups + first * s->dims;
    float least[SCREEN_QUERIES_MAX];
    uint32_t maybe[SCREEN_QUERIES_MAX];
    size_t bits = 0;
    for (size_t i = 0; i < s->kernel->screen_queries; i++) {
        least[i] = i < n ? screen_least(s, norm2[first + i], bounds[i]) : INFINITY;
    }
    memset(out, 0, n * SCREEN_WORDS * sizeof *out);
    for (size_t r = 0; r < s->count; r += wide) {
        const size_t left = s->count - r;
        const uint32_t mask = left >= 32 ? UINT32_MAX : (UINT32_C(1) << left) - 1;
        if (s->kernel->screen(group, s->dims, s->panels + r * s->dims, s->scale + r, s->shift + r,
                              least, maybe)) {
            for (size_t i = 0; i < n; i++) {
                const uint64_t m = maybe[i] & mask;
                out[i * SCREEN_WORDS + r / 64] |= m << (r % 64);
                bits += pv__bit_count(m);
            }
        }
    }
    return bits;
}

#undef SCREEN_GROUP_BYTES_MAX
#undef SCREEN_PANEL_BYTES
#undef SCREEN_QUERIES_MAX
#undef SCREEN_NORM2_MIN
#undef SCREEN_NORM2_MAX
#undef SCREEN_WORDS
#undef SCREEN_BLOCK
