/* SPDX-License-Identifier: Apache-2.0 */
/* sieve.c - see sieve.h. */
#include "engine/sieve.h"

#define SIEVE_QUERIES_MIN 8u /* fewer do not pay for the panels */
#define SIEVE_K_MAX 1024u    /* more fill their heaps too slowly */
#define SIEVE_WORDS (PV__SCREEN_ROWS_MAX / 64)
#define SIEVE_GROUP_MAX 12u
#define SIEVE_PAIRS_MIN ((uint64_t)1 << 16) /* before passing shares mean something */
#define SIEVE_PASS_SHARE 16u                /* a comparison costs as much as screening this many */
/* Of n rows in no order about k * ln(n / k) pass while the bounds settle, most of them early: that
 * many times k are not held against it. */
#define SIEVE_WARM 8u
#define SIEVE_INTERRUPT_GROUPS 64u

/* What all threads read: the queries in groups. */
static bool sieve_groups(pv__sieve *v, const pv__sieve *lender) {
    const pv__scan *scan = v->scan;
    if (lender) {
        v->group_bytes = lender->group_bytes;
        v->groups = lender->groups;
        v->norm2 = lender->norm2;
        v->lent = true;
        return lender->groups != NULL;
    }
    v->group_bytes = pv__screen_group_bytes(scan->kernel, scan->queries[0].dims, scan->query_count);
    if (v->group_bytes == 0) {
        return false;
    }
    v->groups = pv__alloc_aligned(v->mem, v->group_bytes, 64);
    v->norm2 = pv__alloc_array(v->mem, scan->query_count, sizeof(double));
    if (!v->groups || !v->norm2) {
        return false;
    }
    pv__screen_groups(scan->kernel, scan->queries, scan->query_count, v->groups, v->norm2);
    return true;
}

void pv__sieve_init(pv__sieve *v, pv_db *db, const pv__scan *scan, const pv__sieve *lender) {
    const pv__kernel *k = scan->kernel;
    const pv__kernel_query *q = scan->queries;
    v->mem = &db->env->mem;
    v->db = db;
    v->scan = scan;
    v->open = false;
    v->pairs = v->passed = 0;
    v->groups = NULL;
    v->norm2 = NULL;
    v->lent = false;
    v->screen.panels = NULL;
    if ((lender && !lender->open) || scan->query_count < SIEVE_QUERIES_MIN ||
        scan->nearest[0].top.k > SIEVE_K_MAX || !pv__screen_can(k) || q->distances) {
        return;
    }
    v->cap = pv__screen_rows(k, q->dims);
    v->screen.kernel = k;
    v->screen.metric = q->metric;
    v->screen.dims = q->dims;
    if (!sieve_groups(v, lender)) {
        return;
    }
    v->screen.panels = pv__alloc_aligned(v->mem, v->cap * q->dims * sizeof(float), 64);
    v->open = v->screen.panels != NULL;
}

void pv__sieve_done(pv__sieve *v) {
    const size_t dims = v->scan->queries[0].dims;
    if (v->screen.panels) {
        pv__alloc_free_aligned(v->mem, v->screen.panels, v->cap * dims * sizeof(float), 64);
    }
    if (v->lent) {
        return;
    }
    pv__alloc_free(v->mem, v->norm2, v->scan->query_count * sizeof(double));
    if (v->groups) {
        pv__alloc_free_aligned(v->mem, v->groups, v->group_bytes, 64);
    }
}

static float sieve_bound(const pv__sieve *v, size_t query) {
    return PV_MIN(pv__nearest_bound(&v->scan->nearest[query]), v->scan->max_distance);
}

/* Compare one query with the rows whose bits are set. */
static int sieve_compare(pv__sieve *v, const uint8_t *const *rows, const uint32_t *slots,
                         size_t count, size_t query, const uint64_t *bits, pv_error *err) {
    const uint8_t *picked[64];
    float out[64];
    for (size_t w = 0; w * 64 < count; w++) {
        uint32_t at[64], n = 0;
        for (uint64_t left = bits[w]; left != 0; left &= left - 1) {
            at[n] = (uint32_t)(w * 64 + (size_t)__builtin_ctzll(left));
            picked[n] = rows[at[n]];
            n++;
        }
        if (n == 0) {
            continue;
        }
        pv__kernel_gather(v->scan->kernel, &v->scan->queries[query], picked, n, out);
        for (uint32_t i = 0; i < n; i++) {
            if (out[i] <= sieve_bound(v, query)) {
                PV_TRY(pv__nearest_offer(&v->scan->nearest[query], out[i], slots[at[i]], err));
            }
        }
    }
    return 0;
}

int pv__sieve_run(pv__sieve *v, const uint8_t *const *rows, const uint32_t *slots, size_t count,
                  pv_error *err) {
    const size_t wide = v->scan->kernel->screen_queries;
    uint64_t bits[SIEVE_GROUP_MAX * SIEVE_WORDS];
    float bounds[SIEVE_GROUP_MAX];
    if (count == 0) {
        return 0;
    }
    pv__screen_fill(&v->screen, v->scan->queries, rows, count);
    for (size_t q = 0; q < v->scan->query_count; q += wide) {
        const size_t n = PV_MIN(v->scan->query_count - q, wide);
        size_t full = 0;
        if (q / wide % SIEVE_INTERRUPT_GROUPS == SIEVE_INTERRUPT_GROUPS - 1) {
            PV_TRY(pv__scan_interrupted(v->db, v->scan, err));
        }
        for (size_t i = 0; i < n; i++) {
            const pv__topk *top = &v->scan->nearest[q + i].top;
            bounds[i] = sieve_bound(v, q + i);
            full += top->count == top->k;
        }
        const size_t passed = pv__screen_run(&v->screen, v->groups, v->norm2, q, n, bounds, bits);
        if (full == n) { /* while heaps fill, everything passes */
            v->pairs += n * count;
            v->passed += passed;
        }
        for (size_t i = 0; i < n && passed > 0; i++) {
            PV_TRY(sieve_compare(v, rows, slots, count, q + i, bits + i * SIEVE_WORDS, err));
        }
    }
    const uint64_t warm = SIEVE_WARM * v->scan->query_count * v->scan->nearest[0].top.k;
    v->open = v->pairs < SIEVE_PAIRS_MIN || v->passed < warm + v->pairs / SIEVE_PASS_SHARE;
    return 0;
}

#undef SIEVE_QUERIES_MIN
#undef SIEVE_K_MAX
#undef SIEVE_WORDS
#undef SIEVE_GROUP_MAX
#undef SIEVE_PAIRS_MIN
#undef SIEVE_PASS_SHARE
#undef SIEVE_WARM
#undef SIEVE_INTERRUPT_GROUPS
