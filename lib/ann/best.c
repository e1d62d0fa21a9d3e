/* SPDX-License-Identifier: Apache-2.0 */
/* best.c - the nearest of many (best.h). */
#include <float.h>

#include "ann/best.h"

#define BEST_SPARE 256u   /* hits beyond those that are kept */
#define BEST_HALVES 24u   /* steps of looking for a bound */
#define BEST_BUCKETS 256u /* of a sort; each is sorted by inserting */
#define BEST_SPREAD 1e-30f /* distances that differ by less lie in one of them */

size_t pv__best_room(uint32_t keep) {
    return (size_t)keep + 1 + BEST_SPARE + PV__CODE_PANEL_ROWS + PV__CODE_KEEP_BEHIND;
}

void pv__best_clear(pv__best *b) {
    b->count = 0;
    b->bound = FLT_MAX; /* what fills a panel up is beyond */
}

static float best_most(const float *d, size_t n) {
    float most = 0;
    for (size_t i = 0; i < n; i++) {
        most = PV_MAX(most, d[i]);
    }
    return most;
}

/* A bound that at least `keep` of all are within, and not many more unless they are equal. */
static float best_bound(const pv__best_rule *rule, const pv__best *b, size_t keep) {
    const size_t enough = keep + keep / 8;
    float low = 0, high = b->bound < FLT_MAX ? b->bound : best_most(b->distances, b->count);
    size_t within = b->count;
    for (unsigned i = 0; i < BEST_HALVES && within > enough; i++) {
        const float middle = low + (high - low) / 2;
        const size_t n = pv__code_count_within(rule->code, b->distances, b->count, middle);
        if (n >= keep) {
            high = middle;
            within = n;
        } else {
            low = middle;
        }
    }
    return high;
}

static void best_keep(const pv__best_rule *rule, pv__best *b, float bound) {
    b->count = (uint32_t)pv__code_keep_within(rule->code, b->distances, b->ids, b->count, bound,
                                              b->distances, b->ids);
    b->bound = bound;
}

/* ---- sorting --------------------------------------------------------------------------------- */

/* Into buckets by distance, which a sum and a product put in the right order; then what is in wrong
 * order within them. */
static void best_sort(const pv__best_rule *rule, const pv__best *b) {
    uint16_t at[BEST_BUCKETS + 1] = {0};
    pv__hit *const h = rule->hits;
    const size_t n = b->count;
    float least = n > 0 ? b->distances[0] : 0, most = least;
    for (size_t i = 1; i < n; i++) {
        least = PV_MIN(least, b->distances[i]);
        most = PV_MAX(most, b->distances[i]);
    }
    const float spread = most - least;
    const float scale = spread > BEST_SPREAD ? (float)(BEST_BUCKETS - 1) / spread : 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t bucket = (uint32_t)((b->distances[i] - least) * scale);
        rule->bytes[i] = (uint8_t)PV_MIN(bucket, BEST_BUCKETS - 1);
        at[rule->bytes[i] + 1u]++;
    }
    for (size_t i = 1; i < BEST_BUCKETS; i++) {
        at[i] = (uint16_t)(at[i] + at[i - 1]);
    }
    for (size_t i = 0; i < n; i++) {
        h[at[rule->bytes[i]]++] = (pv__hit){b->distances[i], b->ids[i]};
    }
    for (size_t i = 1; i < n; i++) {
        const pv__hit hit = h[i];
        size_t to = i;
        for (; to > 0 && pv__hit_less(hit, h[to - 1]); to--) {
            h[to] = h[to - 1];
        }
        h[to] = hit;
    }
}

/* ---- thinning out ---------------------------------------------------------------------------- */

/* To those that can be among the `keep` nearest; one more, because one will be left out. */
static void best_cut(const pv__best_rule *rule, pv__best *b) {
    const size_t keep = (size_t)rule->keep + 1;
    if (b->count <= keep) {
        return;
    }
    best_keep(rule, b, best_bound(rule, b, keep));
    if (b->count > keep + BEST_SPARE / 2) { /* equal ones: by their ids */
        best_sort(rule, b);
        for (size_t i = 0; i < keep; i++) {
            b->distances[i] = rule->hits[i].distance;
            b->ids[i] = rule->hits[i].slot;
        }
        b->count = (uint32_t)keep;
        b->bound = b->distances[keep - 1];
    }
}

void pv__best_tighten(const pv__best_rule *rule, pv__best *b) {
    const size_t at = (size_t)rule->at + 1;
    if (rule->at > 0 && b->count > at) {
        const float bound = rule->stop * best_bound(rule, b, at);
        if (bound < b->bound) {
            best_keep(rule, b, bound);
        }
    }
    best_cut(rule, b);
}

/* What is at the bound is taken, too: so it does not matter when a bound was drawn. */
void pv__best_add(const pv__best_rule *rule, pv__best *b, const float *distances,
                  const uint32_t *ids, size_t n) {
    b->count += (uint32_t)pv__code_keep_within(rule->code, distances, ids, n, b->bound,
                                               b->distances + b->count, b->ids + b->count);
    if (b->count > rule->keep + 1 + BEST_SPARE) {
        best_cut(rule, b);
    }
}

size_t pv__best_take(const pv__best_rule *rule, pv__best *b, uint32_t but) {
    pv__hit *const h = rule->hits;
    size_t n = 0;
    pv__best_tighten(rule, b);
    best_sort(rule, b);
    for (size_t i = 0; i < b->count; i++) {
        const pv__hit hit = h[i];
        h[n] = hit;
        n += hit.slot != but ? 1u : 0u;
    }
    n = PV_MIN(n, (size_t)rule->keep); /* equal ones may have crowded `but` out */
    if (rule->at > 0 && n > rule->at) {
        const float bound = rule->stop * h[rule->at - 1].distance;
        for (; h[n - 1].distance > bound; n--) {
        }
    }
    return n;
}

#undef BEST_SPARE
#undef BEST_HALVES
#undef BEST_BUCKETS
#undef BEST_SPREAD
