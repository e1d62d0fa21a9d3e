/* SPDX-License-Identifier: Apache-2.0 */
/* results.c - building and freeing what results.h describes. */
#include "engine/results.h"

#include "base/bytes.h"
#include "value/json.h"

#define RESULTS_ALIGN 64u

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

/* A place for an array in the piece of memory behind *io_at bytes. */
static size_t results_place(size_t *io_at, size_t count, size_t size) {
    const size_t at = PV_ALIGN_UP(*io_at, sizeof(uint64_t));
    *io_at = at + count * size;
    return at;
}

int pv__results_new(pv__env *env, const pv__collection *c, size_t count, size_t id_bytes,
                    uint32_t include, pv_results **out, pv_error *err) {
    pv__mem *mem = &env->mem;
    const bool texts = c->key != PV_KEY_U64;
    const size_t room = texts ? id_bytes : 0;
    size_t at = sizeof(pv_results);
    const size_t ids = results_place(&at, texts ? count + 1 : count, sizeof(uint64_t));
    const size_t spans =
        results_place(&at, include & PV_INCLUDE_METADATA ? count : 0, sizeof(pv__span));
    const size_t distances =
        results_place(&at, include & PV__RESULTS_DISTANCES ? count : 0, 2 * sizeof(float));
    const size_t found = results_place(&at, include & PV__RESULTS_FOUND ? count : 0, 1);
    if (count > SIZE_MAX / 64 || room > SIZE_MAX / 2) {
        return pv__err(err, PV_ERR_LIMIT, "%zu rows do not fit into memory", count);
    }
    uint8_t *p = pv__alloc(mem, at + room);
    if (!p) {
        return pv__err_nomem(err, at + room);
    }
    memset(p, 0, at);
    pv_results *r = (void *)p;
    pv__env_ref(env);
    r->env = env;
    r->bytes = at + room;
    r->count = count;
    r->key = c->key;
    r->from_one = pv__metric_of(c->field.metric)->from_one;
    r->ids = texts ? (void *)(p + ids) : NULL;
    r->ids_u64 = texts ? NULL : (void *)(p + ids);
    r->id_text = (char *)p + at;
    r->id_room = room;
    r->metadata = include & PV_INCLUDE_METADATA ? (void *)(p + spans) : NULL;
    r->distances = include & PV__RESULTS_DISTANCES ? (void *)(p + distances) : NULL;
    r->scores = r->distances ? r->distances + count : NULL;
    r->found = include & PV__RESULTS_FOUND ? p + found : NULL;
    pv__buf_init(&r->text, mem);
    const int rc = include & PV_INCLUDE_VECTOR ? results_vectors(r, c, err) : 0;
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
    pv__alloc_free_aligned(mem, r->vectors, results_vector_bytes(r), RESULTS_ALIGN);
    pv__buf_done(&r->text);
    pv__alloc_free(mem, r, r->bytes);
    pv__env_unref(env);
}

int pv__results_set_id(pv_results *r, size_t i, pv__bytes key, pv_error *err) {
    if (r->ids_u64) {
        r->ids_u64[i] = pv__get64be(key.data);
        return 0;
    }
    PV_ASSERT(r->id_room - r->id_bytes > key.size);
    memcpy(r->id_text + r->id_bytes, key.data, key.size);
    r->id_text[r->id_bytes + key.size] = '\0';
    r->ids[i] = r->id_bytes;
    r->id_bytes += key.size + 1;
    r->ids[i + 1] = r->id_bytes;
    return 0;
}

void pv__results_set_distance(pv_results *r, size_t i, float distance) {
    if (r->distances) {
        r->distances[i] = distance + 0.0f; /* no -0 */
    }
    if (r->scores) { /* 0 - d and not -d: a score is never -0 */
        r->scores[i] = r->from_one ? 1.0f - distance : 0.0f - distance;
    }
}

static int results_metadata(pv_results *r, size_t i, const pv__row *row, pv_error *err) {
    size_t at = r->text.len;
    pv__json_write(&r->text, pv__doc_root(row->doc, row->doc_len));
    PV_TRY(pv__buf_check(&r->text, err));
    r->metadata[i] = (pv__span){at, r->text.len - at};
    pv__buf_add_u8(&r->text, 0);
    return pv__buf_check(&r->text, err);
}

int pv__results_fill(pv_results *r, size_t i, pv__parts *p, uint32_t slot, const pv__row *row,
                     pv__buf *buf, pv_error *err) {
    if (r->metadata) {
        pv__row own;
        if (!row) {
            PV_TRY(pv__row_get(p, slot, buf, &own, err));
            row = &own;
        }
        PV_TRY(results_metadata(r, i, row, err));
    }
    if (r->vectors) {
        PV_TRY(pv__column_copy(&p->column, slot, r->vectors + i * r->row_bytes, err));
    }
    if (r->found) {
        r->found[i] = 1;
    }
    return 0;
}

#undef RESULTS_ALIGN
