/* SPDX-License-Identifier: Apache-2.0 */
/* results.c - building and freeing what results.h describes. */
#include "engine/results.h"

#include "base/bytes.h"
#include "value/json.h"

#define RESULTS_ALIGN 64u

static int results_array(pv__mem *mem, void **out, size_t count, size_t size, pv_error *err) {
    void *p = pv__alloc_array(mem, PV_MAX(count, (size_t)1), size);
    if (!p) {
        return pv__err_nomem(err, count * size);
    }
    memset(p, 0, PV_MAX(count, (size_t)1) * size);
    *out = p;
    return 0;
}

static void results_array_free(pv__mem *mem, void *p, size_t count, size_t size) {
    pv__alloc_free(mem, p, PV_MAX(count, (size_t)1) * size);
}

static size_t results_vector_bytes(const pv_results *r) {
    return PV_MAX(r->count, (size_t)1) * r->row_bytes;
}

static int results_vectors(pv_results *r, const pv__collection *c, pv_error *err) {
    r->type = c->field.type;
    r->dims = c->field.dims;
    r->row_bytes = pv__vector_bytes(r->type, r->dims);
    if (r->count > SIZE_MAX / 2 / r->row_bytes) {
        return pv__err(err, PV_ERR_LIMIT, "%zu vectors do not fit into memory", r->count);
    }
    r->vectors = pv__alloc_aligned(&r->env->mem, results_vector_bytes(r), RESULTS_ALIGN);
    if (!r->vectors) {
        return pv__err_nomem(err, results_vector_bytes(r));
    }
    memset(r->vectors, 0, results_vector_bytes(r));
    return 0;
}

int pv__results_new(pv__env *env, const pv__collection *c, size_t count, uint32_t include,
                    pv_results **out, pv_error *err) {
    pv__mem *mem = &env->mem;
    pv_results *r = pv__alloc_zero(mem, sizeof(*r));
    if (!r) {
        return pv__err_nomem(err, sizeof(*r));
    }
    pv__env_ref(env);
    r->env = env;
    r->count = count;
    r->key = c->key;
    r->metric = c->field.metric;
    pv__buf_init(&r->id_text, mem);
    pv__buf_init(&r->text, mem);
    void *p = NULL;
    int rc = r->key == PV_KEY_U64 ? results_array(mem, &p, count, sizeof(uint64_t), err)
                                  : results_array(mem, &p, count + 1, sizeof(uint64_t), err);
    if (r->key == PV_KEY_U64) {
        r->ids_u64 = p;
    } else {
        r->ids = p;
    }
    if (rc == 0 && (include & PV__RESULTS_DISTANCES)) {
        p = NULL;
        rc = results_array(mem, &p, count, 2 * sizeof(float), err);
        r->distances = p;
        r->scores = r->distances ? r->distances + count : NULL;
    }
    if (rc == 0 && (include & PV__RESULTS_FOUND)) {
        p = NULL;
        rc = results_array(mem, &p, count, 1, err);
        r->found = p;
    }
    if (rc == 0 && (include & PV_INCLUDE_METADATA)) {
        p = NULL;
        rc = results_array(mem, &p, count, sizeof(pv__span), err);
        r->metadata = p;
    }
    if (rc == 0 && (include & PV_INCLUDE_VECTOR)) {
        rc = results_vectors(r, c, err);
    }
    if (rc != 0) {
        pv__results_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

void pv__results_free(pv_results *r) {
    if (!r) {
        return;
    }
    pv__env *env = r->env;
    pv__mem *mem = &env->mem;
    results_array_free(mem, r->ids_u64, r->count, sizeof(uint64_t));
    results_array_free(mem, r->ids, r->count + 1, sizeof(uint64_t));
    results_array_free(mem, r->distances, r->count, 2 * sizeof(float));
    results_array_free(mem, r->found, r->count, 1);
    results_array_free(mem, r->metadata, r->count, sizeof(pv__span));
    pv__alloc_free_aligned(mem, r->vectors, results_vector_bytes(r), RESULTS_ALIGN);
    pv__buf_done(&r->id_text);
    pv__buf_done(&r->text);
    pv__alloc_free(mem, r, sizeof(*r));
    pv__env_unref(env);
}

int pv__results_set_id(pv_results *r, size_t i, pv__bytes key, pv_error *err) {
    if (r->ids_u64) {
        r->ids_u64[i] = pv__get64be(key.data);
        return 0;
    }
    r->ids[i] = r->id_text.len;
    pv__buf_add(&r->id_text, key.data, key.size);
    pv__buf_add_u8(&r->id_text, 0);
    r->ids[i + 1] = r->id_text.len;
    return pv__buf_check(&r->id_text, err);
}

void pv__results_set_distance(pv_results *r, size_t i, float distance) {
    r->distances[i] = distance + 0.0f; /* no -0 */
    /* 0 - d and not -d: a score is never -0. */
    r->scores[i] = r->metric == PV_METRIC_COSINE ? 1.0f - distance : 0.0f - distance;
}

static int results_metadata(pv_results *r, size_t i, const pv__row *row, pv_error *err) {
    size_t at = r->text.len;
    pv__json_write(&r->text, pv__doc_root(row->doc, row->doc_len));
    PV_TRY(pv__buf_check(&r->text, err));
    r->metadata[i] = (pv__span){at, r->text.len - at};
    pv__buf_add_u8(&r->text, 0);
    return pv__buf_check(&r->text, err);
}

int pv__results_fill_found(pv_results *r, size_t i, pv__parts *p, uint32_t slot, pv__buf *buf,
                           pv_error *err) {
    if (r->metadata) {
        pv__row row;
        PV_TRY(pv__row_get(p, slot, buf, &row, err));
        PV_TRY(results_metadata(r, i, &row, err));
    }
    if (r->vectors) {
        const uint8_t *vector = NULL;
        PV_TRY(pv__column_read(&p->column, slot, &vector, err));
        memcpy(r->vectors + i * r->row_bytes, vector, r->row_bytes);
    }
    if (r->found) {
        r->found[i] = 1;
    }
    return 0;
}

int pv__results_fill(pv_results *r, size_t i, pv__parts *p, uint32_t slot, pv__buf *buf,
                     pv_error *err) {
    pv__row row;
    PV_TRY(pv__row_get(p, slot, buf, &row, err));
    PV_TRY(pv__results_set_id(r, i, (pv__bytes){row.key, row.key_len}, err));
    if (r->metadata) {
        PV_TRY(results_metadata(r, i, &row, err));
    }
    if (r->vectors) {
        const uint8_t *vector = NULL;
        PV_TRY(pv__column_read(&p->column, slot, &vector, err));
        memcpy(r->vectors + i * r->row_bytes, vector, r->row_bytes);
    }
    return 0;
}

#undef RESULTS_ALIGN
