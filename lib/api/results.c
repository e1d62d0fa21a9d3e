/* SPDX-License-Identifier: Apache-2.0 */
/* results.c - chapter "results": plain looks into what is never changed again. */
#include "engine/results.h"

#include <math.h>

/* Row i is there and is a record. */
static bool rows_has(const pv_results *r, size_t i) {
    return r && i < r->count && (!r->found || r->found[i]);
}

size_t pv_results_count(const pv_results *r) { return r ? r->count : 0; }

uint32_t pv_results_key(const pv_results *r) { return r ? r->key : 0; }

int pv_results_found(const pv_results *r, size_t i) { return rows_has(r, i) ? 1 : 0; }

const char *pv_results_id(const pv_results *r, size_t i) {
    return r && r->ids && i < r->count ? r->id_text + r->ids[i] : NULL;
}

uint64_t pv_results_id_u64(const pv_results *r, size_t i) {
    return r && r->ids_u64 && i < r->count ? r->ids_u64[i] : PV_ID_NONE;
}

float pv_results_distance(const pv_results *r, size_t i) {
    return r && r->distances && i < r->count ? r->distances[i] : NAN;
}

float pv_results_score(const pv_results *r, size_t i) {
    return r && r->scores && i < r->count ? r->scores[i] : NAN;
}

const char *pv_results_metadata(const pv_results *r, size_t i, size_t *out_len) {
    const bool has = rows_has(r, i) && r->metadata;
    if (out_len) {
        *out_len = has ? r->metadata[i].len : 0;
    }
    return has ? (const char *)r->text.data + r->metadata[i].at : NULL;
}

const void *pv_results_vector(const pv_results *r, size_t i) {
    return rows_has(r, i) && r->vectors ? r->vectors + i * r->row_bytes : NULL;
}

uint32_t pv_results_dims(const pv_results *r) { return r ? r->dims : 0; }

uint32_t pv_results_type(const pv_results *r) { return r ? r->type : 0; }

const uint64_t *pv_results_ids_u64(const pv_results *r) { return r ? r->ids_u64 : NULL; }

const char *pv_results_ids_text(const pv_results *r, const uint64_t **out_offsets) {
    const bool texts = r && r->ids;
    if (out_offsets) {
        *out_offsets = texts ? r->ids : NULL;
    }
    return !texts ? NULL : r->id_room > 0 ? r->id_text : "";
}

const float *pv_results_scores(const pv_results *r) { return r ? r->scores : NULL; }

const float *pv_results_distances(const pv_results *r) { return r ? r->distances : NULL; }

const void *pv_results_vectors(const pv_results *r) { return r ? r->vectors : NULL; }

const char *pv_results_plan(const pv_results *r) { return r ? r->plan : NULL; }

float pv_results_error(const pv_results *r) { return r && r->plan ? r->error : nanf(""); }

void pv_results_free(pv_results *r) { pv__results_free(r); }
