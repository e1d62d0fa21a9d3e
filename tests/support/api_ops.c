/* SPDX-License-Identifier: Apache-2.0 */
/* api_ops.c - see api_ops.h. A writing call goes through three steps: the records are drawn
 * (t_load), what must come of them is worked out on the model (t_load_predict), and after the call
 * the model follows (t_load_apply). */
#include "support/api_ops.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { T_BATCH_MAX = 64 };

typedef enum t_mode { T_INSERT, T_UPSERT, T_UPDATE, T_MERGE } t_mode;

/* What is wrong with the last record of a call. */
typedef enum t_defect {
    T_SOUND,
    T_WRONG_DIMS,
    T_NAN,
    T_INFINITY,
    T_NO_VECTOR,
    T_WRONG_TYPE,
    T_BAD_JSON,
    T_JSON_ARRAY,
    T_WRONG_KEY,
    T_LONG_KEY,
    T_TWICE, /* the first id again; an upsert allows it */
    T_DEFECTS
} t_defect;

typedef struct t_row {
    char id[PV_LIMIT_ID_BYTES + 2];
    uint64_t id_u64;
    bool made; /* the key is left out */
    bool has_vector, has_meta;
    api_meta meta;
    api_patch patch;
    char *text;
    float vector[API_DIMS_MAX];
    uint8_t packed[API_DIMS_MAX * sizeof(float)]; /* for the call */
} t_row;

typedef struct t_load {
    api_world *w;
    api_collection *c;
    t_mode mode;
    t_defect defect;
    size_t count;
    bool columns; /* pv_..._batch */
    bool bad_name;
    t_row rows[T_BATCH_MAX];
} t_load;

/* ---- the world ---- */

void api_world_init(api_world *w, pv_db *db, uint64_t seed) {
    memset(w, 0, sizeof(*w));
    w->db = db;
    w->err = (pv_error)PV_ERROR_INIT;
    w->keys = 60;
    w->batch = 12;
    w->names = 4;
    w->dims_max = 72;
    test_rng_init(&w->rng, seed);
    api_model_init(&w->now);
    api_model_init(&w->before);
    for (int i = 0; i < API_SAVEPOINTS; i++) {
        api_model_init(&w->marks[i]);
    }
}

void api_world_done(api_world *w) {
    api_rollback(w);
    api_model_done(&w->now);
    api_model_done(&w->before);
    for (int i = 0; i < API_SAVEPOINTS; i++) {
        api_model_done(&w->marks[i]);
    }
}

static uint32_t t_below(api_world *w, uint64_t n) { return (uint32_t)test_rng_below(&w->rng, n); }

static int t_ask(api_world *w, api_phase phase, int want) {
    return w->around && w->around(w->around_ctx, w, phase, want) != 0 ? -1 : 0;
}

/* rc is what the call gave, want what it must give. */
static int t_settle(api_world *w, int rc, int want) {
    w->ops++;
    w->refused += want != 0 ? 1u : 0u;
    if (rc != want) {
        snprintf(w->why, sizeof(w->why), "%.200s: %s (%.400s), wanted %s", w->what,
                 pv_error_text(rc), rc ? w->err.message : "", pv_error_text(want));
        return -1;
    }
    if (rc != 0 && (w->err.code != rc || !w->err.message[0] || strchr(w->err.message, '\n'))) {
        snprintf(w->why, sizeof(w->why), "%s: the error has code %d and message '%.200s'", w->what,
                 w->err.code, w->err.message);
        return -1;
    }
    return t_ask(w, API_AFTER, want);
}

void api_key_text(uint32_t n, char out[PV_LIMIT_ID_BYTES + 1]) {
    int at = sprintf(out, "%s%" PRIu32, n % 3 ? "k" : "key/\xC3\xA9/", n * 7919u % 1000u);
    if (n % 11 == 5) {
        const int to = n % 2 ? PV_LIMIT_ID_BYTES : 200;
        memset(out + at, 'a' + (int)(n % 26), (size_t)(to - at));
        out[to] = 0;
    }
}

/* ---- drawing records ---- */

static void t_row_key(t_row *row, uint32_t n) {
    api_key_text(n, row->id);
    row->id_u64 = n % 13 == 1 ? UINT64_C(1000000007) * n : n;
    row->made = false;
}

static void t_row_draw(t_load *l, t_row *row, uint32_t key) {
    api_world *w = l->w;
    t_row_key(row, key);
    row->meta = api_meta_random(&w->rng);
    row->patch = api_patch_random(&w->rng);
    row->has_vector = l->mode < T_UPDATE || t_below(w, 2);
    row->has_meta = t_below(w, 8) != 0;
    if (!row->has_meta && l->mode < T_UPDATE) {
        row->meta = (api_meta){-1, -1, 0, 0};
    }
    api_vector_random(&w->rng, l->c, row->vector);
    if (row->has_meta && l->mode == T_MERGE) {
        api_patch_text(&row->patch, row->text);
    } else {
        api_meta_text_loose(&row->meta, t_below(w, 8), row->text);
    }
}

static t_load *t_load_new(api_world *w, api_collection *c, t_mode mode, size_t count) {
    t_load *l = calloc(1, sizeof(*l));
    if (!l) {
        abort();
    }
    l->w = w;
    l->c = c;
    l->mode = mode;
    l->count = count;
    for (size_t i = 0; i < count; i++) {
        l->rows[i].text = malloc(API_TEXT_MAX);
        if (!l->rows[i].text) {
            abort();
        }
    }
    return l;
}

static void t_load_free(t_load *l) {
    for (size_t i = 0; i < l->count; i++) {
        free(l->rows[i].text);
    }
    free(l);
}

static const char *t_row_id(const t_load *l, const t_row *row) {
    return l->c->key == PV_KEY_STRING ? row->id : NULL;
}

static bool t_same_key(const t_load *l, const t_row *a, const t_row *b) {
    return l->c->key == PV_KEY_STRING ? strcmp(a->id, b->id) == 0 : a->id_u64 == b->id_u64;
}

/* Make the last record wrong. */
static void t_load_spoil(t_load *l, t_defect defect) {
    t_row *row = &l->rows[l->count - 1];
    const bool floats = l->c->type == PV_TYPE_F32 || l->c->type == PV_TYPE_F16;
    if (!floats && (defect == T_NAN || defect == T_INFINITY)) {
        defect = T_WRONG_TYPE; /* there are none among integers */
    }
    l->defect = defect;
    l->columns = false;
    if (defect == T_NAN || defect == T_INFINITY) {
        row->has_vector = true;
        row->vector[t_below(l->w, l->c->dims)] = defect == T_NAN ? NAN : -INFINITY;
    } else if (defect == T_WRONG_DIMS || defect == T_WRONG_TYPE) {
        row->has_vector = true;
    } else if (defect == T_NO_VECTOR) {
        row->has_vector = false;
    } else if (defect == T_BAD_JSON) {
        row->has_meta = true;
        snprintf(row->text, API_TEXT_MAX, "{\"g\":1,\"g");
    } else if (defect == T_JSON_ARRAY) {
        row->has_meta = true;
        snprintf(row->text, API_TEXT_MAX, "[1]");
    } else if (defect == T_LONG_KEY) {
        memset(row->id, 'x', PV_LIMIT_ID_BYTES + 1);
        row->id[PV_LIMIT_ID_BYTES + 1] = 0;
    } else if (defect == T_TWICE) {
        memcpy(row->id, l->rows[0].id, sizeof(row->id));
        row->id_u64 = l->rows[0].id_u64;
    }
    row->made = false;
}

/* ---- what must come of it ---- */

static int t_defect_code(const t_load *l) {
    switch (l->defect) {
    case T_WRONG_DIMS:
    case T_WRONG_TYPE:
        return PV_ERR_DIMS;
    case T_NAN:
    case T_INFINITY:
    case T_WRONG_KEY:
        return PV_ERR_MISUSE;
    case T_NO_VECTOR:
        return l->mode < T_UPDATE ? PV_ERR_MISUSE : 0;
    case T_BAD_JSON:
    case T_JSON_ARRAY:
        return PV_ERR_FORMAT;
    case T_LONG_KEY:
        return l->c->key == PV_KEY_STRING ? PV_ERR_LIMIT : 0;
    default:
        return 0;
    }
}

static int t_load_predict(const t_load *l) {
    const int code = t_defect_code(l);
    if (l->bad_name) {
        return PV_ERR_NOTFOUND;
    }
    if (code != 0) {
        return code;
    }
    for (size_t i = 0; i < l->count; i++) {
        const t_row *row = &l->rows[i];
        size_t at = 0;
        if (row->made) {
            continue;
        }
        for (size_t k = 0; k < i && l->mode == T_INSERT; k++) {
            if (!l->rows[k].made && t_same_key(l, row, &l->rows[k])) {
                return PV_ERR_EXISTS;
            }
        }
        const bool there = api_collection_find(l->c, t_row_id(l, row), row->id_u64, &at);
        if (there && l->mode == T_INSERT) {
            return PV_ERR_EXISTS;
        }
        if (!there && l->mode >= T_UPDATE) {
            return PV_ERR_NOTFOUND;
        }
    }
    return 0;
}

/* Made number keys follow the largest one, explicit ones of the same call included. */
static bool t_load_made_keys(t_load *l, const pv_results *ids) {
    uint64_t next = l->c->next_id;
    if (pv_results_count(ids) != l->count) {
        return false;
    }
    for (size_t i = 0; i < l->count; i++) {
        if (!l->rows[i].made && l->rows[i].id_u64 >= next) {
            next = l->rows[i].id_u64 + 1;
        }
    }
    for (size_t i = 0; i < l->count; i++) {
        t_row *row = &l->rows[i];
        if (l->c->key == PV_KEY_U64) {
            row->id_u64 = row->made ? next++ : row->id_u64;
            if (pv_results_id_u64(ids, i) != row->id_u64) {
                return false;
            }
        } else if (row->made) {
            size_t at = 0;
            snprintf(row->id, sizeof(row->id), "%s", pv_results_id(ids, i));
            if (strlen(row->id) != 36 || api_collection_find(l->c, row->id, 0, &at)) {
                return false;
            }
        } else if (strcmp(row->id, pv_results_id(ids, i)) != 0) {
            return false;
        }
    }
    return true;
}

static void t_load_apply(t_load *l) {
    for (size_t i = 0; i < l->count; i++) {
        t_row *row = &l->rows[i];
        const float *vector = row->vector;
        api_meta meta = row->meta;
        float kept[API_DIMS_MAX];
        size_t at = 0;
        if (l->mode >= T_UPDATE) {
            (void)api_collection_find(l->c, t_row_id(l, row), row->id_u64, &at);
            const api_record *old = l->c->records[at];
            memcpy(kept, old->vector, l->c->dims * sizeof(float));
            vector = row->has_vector ? row->vector : kept;
            if (!row->has_meta) {
                meta = old->meta;
            } else if (l->mode == T_MERGE) {
                meta = old->meta;
                api_patch_apply(&row->patch, &meta);
            }
        }
        api_collection_put(l->c, t_row_id(l, row), row->id_u64, vector, &meta);
    }
}

/* ---- the call ---- */

static void t_load_record(const t_load *l, size_t i, pv_record *out) {
    const t_row *row = &l->rows[i];
    const bool bad = i + 1 == l->count;
    const bool text = (l->c->key == PV_KEY_STRING) != (bad && l->defect == T_WRONG_KEY);
    *out = (pv_record)PV_RECORD_INIT;
    if (!row->made) {
        out->id = text ? row->id : NULL;
        out->id_u64 = text ? PV_ID_NONE : row->id_u64 + 1 - (l->c->key == PV_KEY_U64);
    }
    out->vector = row->has_vector ? row->packed : NULL;
    out->dims = l->c->dims + (bad && l->defect == T_WRONG_DIMS);
    out->type = l->c->type == PV_TYPE_F32 && (i & 1) ? 0 : l->c->type; /* 0 says f32 as well */
    if (bad && l->defect == T_WRONG_TYPE) {
        out->type = l->c->type == PV_TYPE_F16 ? 0 : PV_TYPE_F16;
    }
    out->metadata = row->has_meta ? row->text : NULL;
}

static int t_load_call_records(t_load *l, const char *name, pv_write_opts *o) {
    api_world *w = l->w;
    pv_record records[T_BATCH_MAX];
    for (size_t i = 0; i < l->count; i++) {
        t_load_record(l, i, &records[i]);
    }
    switch (l->mode) {
    case T_INSERT:
        return pv_insert(w->db, w->txn, name, records, l->count, o, &w->err);
    case T_UPSERT:
        return pv_upsert(w->db, w->txn, name, records, l->count, o, &w->err);
    default:
        o->flags = l->mode == T_MERGE ? PV_WRITE_MERGE : 0;
        return pv_update(w->db, w->txn, name, records, l->count, o, &w->err);
    }
}

static int t_load_call_columns(t_load *l, const char *name, pv_write_opts *o) {
    api_world *w = l->w;
    const char *ids[T_BATCH_MAX], *metadata[T_BATCH_MAX];
    uint64_t numbers[T_BATCH_MAX];
    pv_batch b = PV_BATCH_INIT;
    for (size_t i = 0; i < l->count; i++) {
        const t_row *row = &l->rows[i];
        ids[i] = row->made ? NULL : row->id;
        numbers[i] = row->made ? PV_ID_NONE : row->id_u64;
        metadata[i] = row->has_meta ? row->text : NULL;
    }
    b.count = l->count;
    b.vectors = l->rows[0].packed;
    b.type = l->c->type;
    b.vector_stride = sizeof(l->rows[0]);
    b.dims = l->c->dims;
    b.ids = l->c->key == PV_KEY_STRING ? ids : NULL;
    b.ids_u64 = l->c->key == PV_KEY_U64 ? numbers : NULL;
    b.metadata = metadata;
    return l->mode == T_INSERT ? pv_insert_batch(w->db, w->txn, name, &b, o, &w->err)
                               : pv_upsert_batch(w->db, w->txn, name, &b, o, &w->err);
}

static int t_load_run(t_load *l) {
    static const char *const modes[] = {"insert", "upsert", "update", "merge"};
    api_world *w = l->w;
    const char *name = l->bad_name ? "nobody" : l->c->name;
    const int want = t_load_predict(l);
    for (size_t i = 0; i < l->count; i++) {
        (void)api_vector_pack(l->c, l->rows[i].vector, l->rows[i].packed);
    }
    pv_write_opts o = PV_WRITE_OPTS_INIT;
    pv_results *ids = NULL;
    snprintf(w->what, sizeof(w->what), "%s of %zu in '%s'%s, defect %d%s", modes[l->mode], l->count,
             name, l->columns ? " by columns" : "", (int)l->defect,
             w->txn ? " in a transaction" : "");
    o.out_ids = &ids;
    if (t_ask(w, API_BEFORE, want) != 0) {
        return -1;
    }
    const int rc = l->columns ? t_load_call_columns(l, name, &o) : t_load_call_records(l, name, &o);
    int result = 0;
    if (rc == 0 && want == 0) {
        if (!t_load_made_keys(l, ids)) {
            snprintf(w->why, sizeof(w->why), "%s: the ids that came back are wrong", w->what);
            result = -1;
        }
        t_load_apply(l);
    } else if (rc == want && l->defect != T_TWICE && t_defect_code(l) != 0 && !l->bad_name &&
               w->err.record_index != l->count - 1) {
        snprintf(w->why, sizeof(w->why), "%s: record_index is %" PRIu64, w->what,
                 w->err.record_index);
        result = -1;
    }
    pv_results_free(ids);
    return result != 0 ? -1 : t_settle(w, rc, want);
}

int api_op_upsert(api_world *w, const char *name, uint32_t first, uint32_t count) {
    api_collection *c = api_model_find(&w->now, name);
    int rc = 0;
    while (count > 0 && rc == 0) {
        const uint32_t n = count < T_BATCH_MAX ? count : T_BATCH_MAX;
        t_load *l = t_load_new(w, c, T_UPSERT, n);
        for (uint32_t i = 0; i < n; i++) {
            t_row_draw(l, &l->rows[i], first + i);
        }
        l->columns = t_below(w, 2);
        rc = t_load_run(l);
        t_load_free(l);
        first += n;
        count -= n;
    }
    return rc;
}

int api_op_upsert_refused(api_world *w, const char *name, uint32_t first, uint32_t count) {
    static const t_defect defects[] = {T_NAN, T_BAD_JSON, T_JSON_ARRAY, T_NO_VECTOR, T_WRONG_KEY};
    const uint32_t n = count < T_BATCH_MAX ? count : T_BATCH_MAX;
    t_load *l = t_load_new(w, api_model_find(&w->now, name), T_UPSERT, n);
    for (uint32_t i = 0; i < n; i++) {
        t_row_draw(l, &l->rows[i], first + i);
    }
    t_load_spoil(l, defects[t_below(w, sizeof(defects) / sizeof(defects[0]))]);
    const int rc = t_load_run(l);
    t_load_free(l);
    return rc;
}

static int t_op_write(api_world *w, api_collection *c, bool refuse) {
    const t_mode mode = (t_mode)(t_below(w, 2) ? T_UPSERT : t_below(w, 4));
    const size_t most = w->batch < T_BATCH_MAX ? w->batch : T_BATCH_MAX;
    const size_t count = t_below(w, 2) ? 1 : 1 + t_below(w, most);
    t_load *l = t_load_new(w, c, mode, count);
    for (size_t i = 0; i < count; i++) {
        uint32_t key = t_below(w, w->keys);
        if (c->count > 0 && mode >= T_UPDATE && t_below(w, 8) != 0) {
            const api_record *there = c->records[t_below(w, c->count)];
            t_row_draw(l, &l->rows[i], key);
            snprintf(l->rows[i].id, sizeof(l->rows[i].id), "%s", there->id ? there->id : "");
            l->rows[i].id_u64 = there->id_u64;
            continue;
        }
        t_row_draw(l, &l->rows[i], key);
        l->rows[i].made = mode < T_UPDATE && t_below(w, 10) == 0;
    }
    l->columns = mode < T_UPDATE && t_below(w, 3) == 0;
    if (refuse) {
        if (t_below(w, 12) == 0) {
            l->bad_name = true;
        } else {
            t_load_spoil(l, (t_defect)(1 + t_below(w, T_DEFECTS - 1)));
        }
    }
    int rc = 0;
    if (!refuse || t_load_predict(l) != 0) {
        rc = t_load_run(l);
    }
    t_load_free(l);
    return rc;
}

/* ---- delete ---- */

int api_op_delete(api_world *w, const char *name, uint32_t first, uint32_t count) {
    api_collection *c = api_model_find(&w->now, name);
    char(*texts)[PV_LIMIT_ID_BYTES + 2] = calloc(T_BATCH_MAX, sizeof(*texts));
    const char *ids[T_BATCH_MAX];
    uint64_t numbers[T_BATCH_MAX], deleted = 0, want = 0;
    size_t places[T_BATCH_MAX];
    pv_ids list = PV_IDS_INIT;
    if (!texts) {
        abort();
    }
    count = count < T_BATCH_MAX ? count : T_BATCH_MAX;
    for (uint32_t i = 0; i < count; i++) {
        api_key_text(first + i, texts[i]);
        ids[i] = texts[i];
        numbers[i] = first + i;
        want +=
            api_collection_find(c, c->key == PV_KEY_STRING ? ids[i] : NULL, numbers[i], &places[i]);
    }
    list.count = count;
    list.ids = c->key == PV_KEY_STRING ? ids : NULL;
    list.ids_u64 = c->key == PV_KEY_U64 ? numbers : NULL;
    snprintf(w->what, sizeof(w->what), "delete of %u in '%s'", (unsigned)count, name);
    int rc = t_ask(w, API_BEFORE, 0);
    if (rc == 0) {
        const int got = pv_delete_many(w->db, w->txn, name, &list, &deleted, &w->err);
        for (uint32_t i = 0; got == 0 && i < count; i++) {
            size_t at = 0;
            if (api_collection_find(c, c->key == PV_KEY_STRING ? ids[i] : NULL, numbers[i], &at)) {
                api_collection_remove(c, at);
            }
        }
        rc = t_settle(w, got, 0);
    }
    if (rc == 0 && deleted != want) {
        snprintf(w->why, sizeof(w->why), "%s: %" PRIu64 " are gone, wanted %" PRIu64, w->what,
                 deleted, want);
        rc = -1;
    }
    free(texts);
    return rc;
}

static int t_op_delete_one(api_world *w, api_collection *c, bool refuse) {
    const bool wrong_kind = refuse && t_below(w, 2);
    char id[PV_LIMIT_ID_BYTES + 2];
    uint64_t id_u64 = t_below(w, w->keys);
    size_t at = 0;
    api_key_text((uint32_t)id_u64, id);
    if (!refuse && c->count > 0 && t_below(w, 4) != 0) {
        const api_record *rec = c->records[t_below(w, c->count)];
        id_u64 = rec->id_u64;
        snprintf(id, sizeof(id), "%s", rec->id ? rec->id : "");
    }
    const bool text = c->key == PV_KEY_STRING;
    const bool there = api_collection_find(c, text ? id : NULL, id_u64, &at);
    const int want = wrong_kind ? PV_ERR_MISUSE : there ? 0 : PV_ERR_NOTFOUND;
    if (refuse && want == 0) {
        return 0;
    }
    snprintf(w->what, sizeof(w->what), "delete of one in '%s'", c->name);
    if (t_ask(w, API_BEFORE, want) != 0) {
        return -1;
    }
    const int rc = text != wrong_kind ? pv_delete(w->db, w->txn, c->name, id, &w->err)
                                      : pv_delete_u64(w->db, w->txn, c->name, id_u64, &w->err);
    if (rc == 0 && want == 0) {
        api_collection_remove(c, at);
    }
    return t_settle(w, rc, want);
}

static int t_op_delete_where(api_world *w, api_collection *c, bool refuse) {
    const api_filter f = refuse || t_below(w, 6) == 0
                             ? api_filter_random(&w->rng)
                             : (api_filter){API_FILTER_EQ, (int32_t)t_below(w, 12)};
    const int want = !refuse ? 0 : t_below(w, 2) ? PV_ERR_UNSUPPORTED : PV_ERR_FORMAT;
    uint64_t deleted = UINT64_MAX, gone = 0;
    char text[128];
    api_filter_text(&f, text);
    snprintf(w->what, sizeof(w->what), "delete where %s in '%s'", text, c->name);
    if (t_ask(w, API_BEFORE, want) != 0) {
        return -1;
    }
    const int rc = pv_delete_where(w->db, w->txn, c->name,
                                   want == 0                    ? text
                                   : want == PV_ERR_UNSUPPORTED ? "{\"g\":{\"$near\":1}}"
                                                                : "{\"g\":{\"$gt\":",
                                   &deleted, &w->err);
    for (size_t i = c->count; rc == 0 && i > 0; i--) {
        if (api_filter_matches(&f, &c->records[i - 1]->meta)) {
            api_collection_remove(c, i - 1);
            gone++;
        }
    }
    if (rc == 0 && deleted != gone) {
        snprintf(w->why, sizeof(w->why), "%s: %" PRIu64 " are gone, wanted %" PRIu64, w->what,
                 deleted, gone);
        return -1;
    }
    return t_settle(w, rc, want);
}

/* ---- collections ---- */

/* Can a graph of such vectors be walked by this code? */
static bool t_code_goes(const pv_collection_opts *o) {
    const uint32_t type = o->type ? o->type : PV_TYPE_F32;
    switch (o->code) {
    case PV_CODE_AUTO:
        return true;
    case PV_CODE_I8:
        return type == PV_TYPE_I8;
    case PV_CODE_BIT:
        return type == PV_TYPE_BIT;
    case PV_CODE_F32:
    case PV_CODE_F16:
        return type != PV_TYPE_BIT;
    default:
        return type != PV_TYPE_BIT && o->metric != PV_METRIC_L1;
    }
}

/* misfit: the code may be one that does not go with the vectors. */
static int t_op_create(api_world *w, const char *name, pv_collection_opts o, bool ensure,
                       bool misfit) {
    api_collection *there = api_model_find(&w->now, name);
    const bool same = there && there->dims == o.dims && there->metric == o.metric &&
                      there->key == o.key && there->type == (o.type ? o.type : PV_TYPE_F32);
    int want = name[0] == '_' || o.dims == 0 ? PV_ERR_MISUSE
               : !there || (ensure && same)  ? 0
                                             : PV_ERR_EXISTS;
    if (!there) { /* half of them with a graph from the first record on, or with lists */
        static const uint32_t indexes[] = {PV_INDEX_AUTO, PV_INDEX_FLAT, PV_INDEX_HNSW,
                                           PV_INDEX_HNSW, PV_INDEX_IVF,  PV_INDEX_IVF};
        o.index = indexes[t_below(w, sizeof indexes / sizeof indexes[0])];
        o.code = o.index == PV_INDEX_FLAT ? 0 : t_below(w, 9); /* all */
        if (!t_code_goes(&o) && (!misfit || t_below(w, 4) != 0)) {
            o.code = 0;
        }
        want = want == 0 && !t_code_goes(&o) ? PV_ERR_UNSUPPORTED : want;
        o.ef_construction = o.index == PV_INDEX_FLAT ? 0 : 16 + t_below(w, 3) * 16;
    }
    snprintf(w->what, sizeof(w->what), "%s '%s' of %u, type %u, index %u",
             ensure ? "ensure" : "create", name, (unsigned)o.dims, (unsigned)o.type,
             (unsigned)o.index);
    if (t_ask(w, API_BEFORE, want) != 0) {
        return -1;
    }
    const int rc = ensure ? pv_collection_ensure(w->db, w->txn, name, &o, &w->err)
                          : pv_collection_create(w->db, w->txn, name, &o, &w->err);
    if (rc == 0 && want == 0 && !there) {
        const bool whole = o.type == PV_TYPE_I8 || o.type == PV_TYPE_BIT || o.dims % 3 != 2;
        api_collection *c = api_model_create(&w->now, name, o.dims, o.metric, o.key, whole);
        c->type = o.type ? o.type : PV_TYPE_F32;
    }
    return t_settle(w, rc, want);
}

int api_op_create(api_world *w, const char *name, uint32_t dims, uint32_t metric, uint32_t key) {
    pv_collection_opts o = PV_COLLECTION_OPTS_INIT;
    o.dims = dims;
    o.metric = metric;
    o.key = key;
    return t_op_create(w, name, o, t_below(w, 2), false);
}

int api_op_drop(api_world *w, const char *name) {
    const int want = api_model_find(&w->now, name) ? 0 : PV_ERR_NOTFOUND;
    snprintf(w->what, sizeof(w->what), "drop '%s'", name);
    if (t_ask(w, API_BEFORE, want) != 0) {
        return -1;
    }
    const int rc = pv_collection_drop(w->db, w->txn, name, &w->err);
    if (rc == 0 && want == 0) {
        api_model_drop(&w->now, name);
    }
    return t_settle(w, rc, want);
}

static void t_name(api_world *w, char name[API_NAME]) {
    snprintf(name, API_NAME, "c%u", (unsigned)t_below(w, w->names));
}

static int t_op_create_any(api_world *w, bool refuse) {
    static const uint32_t dims[] = {1, 2, 3, 8, 17, 33, 64, 100, 300};
    pv_collection_opts o = PV_COLLECTION_OPTS_INIT;
    char name[API_NAME];
    t_name(w, name);
    do {
        o.dims = dims[t_below(w, sizeof(dims) / sizeof(dims[0]))];
    } while (o.dims > w->dims_max);
    static const uint32_t types[] = {0, 0, PV_TYPE_F32, PV_TYPE_F16, PV_TYPE_I8, PV_TYPE_BIT};
    o.type = types[t_below(w, sizeof(types) / sizeof(types[0]))];
    o.metric = o.type == PV_TYPE_BIT ? PV_METRIC_HAMMING + t_below(w, 2) : 1 + t_below(w, 4);
    o.key = 1 + t_below(w, 2);
    const api_collection *there = api_model_find(&w->now, name);
    if (there && t_below(w, 2)) { /* the same again */
        o.dims = there->dims;
        o.metric = there->metric;
        o.type = there->type;
        o.key = there->key;
    }
    if (refuse && !there) {
        name[0] = t_below(w, 2) ? '_' : 'c';
        o.dims = name[0] == '_' ? o.dims : 0;
    }
    return t_op_create(w, name, o, refuse && there ? false : t_below(w, 2), true);
}

/* ---- any op ---- */

static api_collection *t_any_collection(api_world *w) {
    return w->now.count ? &w->now.items[t_below(w, w->now.count)] : NULL;
}

int api_op_refused(api_world *w) {
    api_collection *c = t_any_collection(w);
    const uint32_t which = t_below(w, 10);
    if (!c || which == 0) {
        return t_op_create_any(w, true);
    }
    if (which == 1) {
        return api_op_drop(w, "nobody");
    }
    if (which == 2) {
        return t_op_delete_one(w, c, true);
    }
    return which == 3 ? t_op_delete_where(w, c, true) : t_op_write(w, c, true);
}

int api_op(api_world *w) {
    api_collection *c = t_any_collection(w);
    const uint32_t which = t_below(w, 40);
    char name[API_NAME];
    if (!c || which < 3) {
        return t_op_create_any(w, false);
    }
    if (which == 3) {
        t_name(w, name);
        return api_op_drop(w, name);
    }
    if (which < 8) {
        return t_op_delete_one(w, c, false);
    }
    if (which < 10) {
        return api_op_delete(w, c->name, t_below(w, w->keys), 1 + t_below(w, w->batch));
    }
    if (which == 10) {
        return t_op_delete_where(w, c, false);
    }
    return which < 14 ? api_op_refused(w) : t_op_write(w, c, false);
}

/* ---- transactions ---- */

int api_begin(api_world *w, uint32_t flags) {
    snprintf(w->what, sizeof(w->what), "begin");
    api_model_copy(&w->before, &w->now);
    return t_settle(w, pv_txn_begin(w->db, PV_TXN_WRITE | flags, &w->txn, &w->err), 0);
}

int api_commit(api_world *w) {
    pv_txn *txn = w->txn;
    snprintf(w->what, sizeof(w->what), "commit");
    if (t_ask(w, API_BEFORE, 0) != 0) {
        return -1;
    }
    w->txn = NULL;
    return t_settle(w, pv_txn_commit(txn, NULL, &w->err), 0);
}

void api_rollback(api_world *w) {
    if (w->txn) {
        pv_txn_rollback(w->txn);
        w->txn = NULL;
        api_model_copy(&w->now, &w->before);
    }
}

int api_savepoint(api_world *w, uint32_t *out_number) {
    snprintf(w->what, sizeof(w->what), "savepoint");
    const int rc = pv_txn_savepoint(w->txn, out_number, &w->err);
    if (t_settle(w, rc, 0) != 0) {
        return -1;
    }
    assert_in_range(*out_number, 1, API_SAVEPOINTS);
    api_model_copy(&w->marks[*out_number - 1], &w->now);
    return 0;
}

int api_rollback_to(api_world *w, uint32_t number) {
    snprintf(w->what, sizeof(w->what), "rollback to savepoint %u", (unsigned)number);
    api_model_copy(&w->now, &w->marks[number - 1]);
    return t_settle(w, pv_txn_rollback_to(w->txn, number, &w->err), 0);
}

int api_release(api_world *w, uint32_t number) {
    snprintf(w->what, sizeof(w->what), "release savepoint %u", (unsigned)number);
    return t_settle(w, pv_txn_release(w->txn, number, &w->err), 0);
}
