/* SPDX-License-Identifier: Apache-2.0 */
/* api_model.c - see api_model.h. */
#include "support/api_model.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- metadata ---- */

api_meta api_meta_random(test_rng *r) {
    api_meta m = {-1, -1, 0, 0};
    if (test_rng_below(r, 6) != 0) {
        m.g = (int32_t)test_rng_below(r, 12);
    }
    if (test_rng_below(r, 3) != 0) {
        m.s_len = (int32_t)test_rng_below(r, test_rng_below(r, 40) == 0 ? 6000 : 40);
        m.s_seed = (uint32_t)test_rng_below(r, 1000);
    }
    if (test_rng_below(r, 3) == 0) {
        m.a = 1 + (uint32_t)test_rng_below(r, 12);
    }
    return m;
}

/* Character number i of a text: letters, and now and then something that must be escaped. */
static char t_meta_char(const api_meta *m, int32_t i) {
    const uint32_t h = (m->s_seed + 1) * 2654435761u + (uint32_t)i * 40503u;
    const char letters[] = "abcdefghijklmnopqrstuvwxyz \"\\\n/0";
    return letters[(h >> 11) % (sizeof(letters) - 1)];
}

/* `how`: 0 canonical; bits: 1 blanks, 2 members the other way round, 4 every letter escaped. */
static size_t t_meta_string(const api_meta *m, uint32_t how, char *out) {
    size_t n = 0;
    out[n++] = '"';
    for (int32_t i = 0; i < m->s_len; i++) {
        const char c = t_meta_char(m, i);
        if (how & 4 && i < 40) {
            n += (size_t)sprintf(out + n, "\\u%04X", (unsigned)c);
        } else if (c == '"' || c == '\\') {
            out[n++] = '\\';
            out[n++] = c;
        } else if (c == '\n') {
            out[n++] = '\\';
            out[n++] = 'n';
        } else {
            out[n++] = c;
        }
    }
    out[n++] = '"';
    return n;
}

static size_t t_meta_array(uint32_t a, uint32_t how, char *out) {
    return (size_t)sprintf(out,
                           how & 1 ? " [ %u , 2.50, null,true , { } ,\"\\u00e9\"]"
                                   : "[%u,2.5,null,true,{},\"\xC3\xA9\"]",
                           (unsigned)a);
}

static size_t t_meta_member(const api_meta *m, char name, uint32_t how, char *out) {
    size_t n = (size_t)sprintf(out, how & 1 ? "\n\"%c\" : " : "\"%c\":", name);
    if (name == 'g') {
        n += (size_t)sprintf(out + n, "%" PRId32, m->g);
    } else {
        n += name == 'a' ? t_meta_array(m->a, how, out + n) : t_meta_string(m, how, out + n);
    }
    return n;
}

size_t api_meta_text_loose(const api_meta *m, uint32_t how, char out[API_TEXT_MAX]) {
    const char *names = how & 2 ? "sga" : "ags";
    size_t n = 0;
    out[n++] = '{';
    for (size_t i = 0; i < 3; i++) {
        const char name = names[i];
        if (name == 'g' ? m->g >= 0 : name == 'a' ? m->a != 0 : m->s_len >= 0) {
            if (n > 1) {
                out[n++] = ',';
            }
            n += t_meta_member(m, name, how, out + n);
        }
    }
    out[n++] = '}';
    out[n] = 0;
    return n;
}

size_t api_meta_text(const api_meta *m, char out[API_TEXT_MAX]) {
    return api_meta_text_loose(m, 0, out);
}

api_patch api_patch_random(test_rng *r) {
    api_patch p = {0, 0, api_meta_random(r)};
    p.set = (p.to.a ? 1u : 0u) | (p.to.g >= 0 ? 2u : 0u) | (p.to.s_len >= 0 ? 4u : 0u);
    p.remove = (uint32_t)test_rng_below(r, 8) & ~p.set;
    return p;
}

size_t api_patch_text(const api_patch *p, char out[API_TEXT_MAX]) {
    size_t n = api_meta_text(&p->to, out) - 1;
    for (uint32_t bit = 0; bit < 3; bit++) {
        if (p->remove >> bit & 1) {
            n += (size_t)sprintf(out + n, "%s\"%c\":null", n > 1 ? "," : "", "ags"[bit]);
        }
    }
    out[n++] = '}';
    out[n] = 0;
    return n;
}

void api_patch_apply(const api_patch *p, api_meta *m) {
    const api_meta none = {-1, -1, 0, 0};
    const uint32_t both = p->set | p->remove;
    const api_meta *from = &p->to;
    if (both & 1) {
        m->a = p->set & 1 ? from->a : none.a;
    }
    if (both & 2) {
        m->g = p->set & 2 ? from->g : none.g;
    }
    if (both & 4) {
        m->s_len = p->set & 4 ? from->s_len : none.s_len;
        m->s_seed = p->set & 4 ? from->s_seed : none.s_seed;
    }
}

/* ---- filters ---- */

api_filter api_filter_random(test_rng *r) {
    return (api_filter){(api_filter_kind)test_rng_below(r, API_FILTERS),
                        (int32_t)test_rng_below(r, 12)};
}

void api_filter_text(const api_filter *f, char out[128]) {
    switch (f->kind) {
    case API_FILTER_EQ:
        snprintf(out, 128, "{\"g\":%" PRId32 "}", f->n);
        break;
    case API_FILTER_RANGE:
        snprintf(out, 128, "{\"g\":{\"$gte\":%" PRId32 ",\"$lt\":%" PRId32 "}}", f->n, f->n + 4);
        break;
    case API_FILTER_NO_TEXT:
        snprintf(out, 128, "{\"s\":{\"$exists\":false}}");
        break;
    case API_FILTER_IN_OR:
        snprintf(out, 128,
                 "{\"$or\":[{\"g\":{\"$in\":[%" PRId32 ",%" PRId32 "]}},{\"a.0\":%" PRId32 "}]}",
                 f->n, f->n + 1, f->n);
        break;
    case API_FILTER_NOT:
        snprintf(out, 128, "{\"$not\":{\"g\":%" PRId32 "}}", f->n);
        break;
    default:
        snprintf(out, 128, "{}");
        break;
    }
}

bool api_filter_matches(const api_filter *f, const api_meta *m) {
    switch (f->kind) {
    case API_FILTER_EQ:
        return m->g == f->n;
    case API_FILTER_RANGE:
        return m->g >= f->n && m->g < f->n + 4;
    case API_FILTER_NO_TEXT:
        return m->s_len < 0;
    case API_FILTER_IN_OR:
        return m->g == f->n || m->g == f->n + 1 || (m->a != 0 && (int32_t)m->a == f->n);
    case API_FILTER_NOT:
        return m->g != f->n;
    default:
        return true;
    }
}

/* ---- records ---- */

static api_record *t_record_make(const api_collection *c, const char *id, uint64_t id_u64,
                                 const float *vector, const api_meta *meta) {
    const size_t len = id ? strlen(id) + 1 : 0;
    api_record *rec = malloc(sizeof(*rec) + c->dims * sizeof(float));
    if (!rec) {
        abort();
    }
    *rec = (api_record){1, c->dims, id ? PV_ID_NONE : id_u64, NULL, *meta};
    if (id) {
        rec->id = malloc(len);
        if (!rec->id) {
            abort();
        }
        memcpy(rec->id, id, len);
    }
    memcpy(rec->vector, vector, c->dims * sizeof(float));
    return rec;
}

static void t_record_unref(api_record *rec) {
    if (--rec->refs == 0) {
        free(rec->id);
        free(rec);
    }
}

static int t_record_order(const api_record *rec, const char *id, uint64_t id_u64) {
    if (id) {
        return strcmp(rec->id, id); /* C compares bytes as unsigned, a prefix is less */
    }
    return (rec->id_u64 > id_u64) - (rec->id_u64 < id_u64);
}

bool api_collection_find(const api_collection *c, const char *id, uint64_t id_u64, size_t *out_at) {
    size_t lo = 0, hi = c->count;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const int order = t_record_order(c->records[mid], id, id_u64);
        if (order == 0) {
            *out_at = mid;
            return true;
        }
        if (order < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    *out_at = lo;
    return false;
}

void api_collection_put(api_collection *c, const char *id, uint64_t id_u64, const float *vector,
                        const api_meta *meta) {
    api_record *rec = t_record_make(c, id, id_u64, vector, meta);
    size_t at = 0;
    if (!id && c->next_id <= id_u64) {
        c->next_id = id_u64 + 1;
    }
    if (api_collection_find(c, id, id_u64, &at)) {
        t_record_unref(c->records[at]);
        c->records[at] = rec;
        return;
    }
    if (c->count == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 16;
        c->records = realloc(c->records, c->cap * sizeof(*c->records));
        if (!c->records) {
            abort();
        }
    }
    memmove(c->records + at + 1, c->records + at, (c->count - at) * sizeof(*c->records));
    c->records[at] = rec;
    c->count++;
}

void api_collection_remove(api_collection *c, size_t at) {
    t_record_unref(c->records[at]);
    c->count--;
    memmove(c->records + at, c->records + at + 1, (c->count - at) * sizeof(*c->records));
}

void api_vector_random(test_rng *r, const api_collection *c, float *out) {
    const uint64_t shape = test_rng_below(r, 16);
    if (shape < 3 && c->count > 0) { /* twins of a stored one */
        memcpy(out, c->records[test_rng_below(r, c->count)]->vector, c->dims * sizeof(float));
        return;
    }
    for (uint32_t i = 0; i < c->dims; i++) {
        out[i] = shape == 3               ? 0.0f
                 : c->type == PV_TYPE_BIT ? (float)test_rng_below(r, 2)
                 : c->integers            ? (float)test_rng_below(r, 9) - 4.0f
                 : c->type == PV_TYPE_F16 ? (float)((int)test_rng_below(r, 2048) - 1024) / 256.0f
                                          : test_rng_gauss(r);
    }
}

bool api_collection_is_exact(const api_collection *c) {
    return c->integers && c->metric != PV_METRIC_COSINE && c->metric != PV_METRIC_JACCARD;
}

/* Of at most 11 bits, or not finite. */
static uint16_t t_half(float v) {
    int exponent = 0;
    const uint16_t sign = signbit(v) ? 0x8000 : 0;
    const float size = frexpf(fabsf(v), &exponent);
    if (v == 0) {
        return sign;
    }
    if (!isfinite(v)) {
        return (uint16_t)(sign | (isnan(v) ? 0x7E00 : 0x7C00));
    }
    return (uint16_t)(sign | (exponent + 14) << 10 | ((int)(size * 2048.0f) & 1023));
}

size_t api_vector_pack(const api_collection *c, const float *numbers,
                       uint8_t out[API_DIMS_MAX * sizeof(float)]) {
    memset(out, 0, API_DIMS_MAX * sizeof(float));
    for (uint32_t i = 0; i < c->dims; i++) {
        const uint16_t half = c->type == PV_TYPE_F16 ? t_half(numbers[i]) : 0;
        if (c->type == PV_TYPE_F32) {
            memcpy(out + 4 * (size_t)i, &numbers[i], 4);
        } else if (c->type == PV_TYPE_F16) {
            memcpy(out + 2 * (size_t)i, &half, 2);
        } else if (c->type == PV_TYPE_I8) {
            out[i] = (uint8_t)(int8_t)numbers[i];
        } else {
            out[i / 8] |= (uint8_t)(numbers[i] != 0 ? 0x80 >> i % 8 : 0);
        }
    }
    return c->type == PV_TYPE_F32   ? 4 * (size_t)c->dims
           : c->type == PV_TYPE_F16 ? 2 * (size_t)c->dims
           : c->type == PV_TYPE_I8  ? c->dims
                                    : (c->dims + 7) / 8;
}

/* ---- collections ---- */

void api_model_init(api_model *m) { memset(m, 0, sizeof(*m)); }

static void t_collection_done(api_collection *c) {
    for (size_t i = 0; i < c->count; i++) {
        t_record_unref(c->records[i]);
    }
    free(c->records);
}

void api_model_done(api_model *m) {
    for (size_t i = 0; i < m->count; i++) {
        t_collection_done(&m->items[i]);
    }
    api_model_init(m);
}

void api_model_copy(api_model *to, const api_model *from) {
    api_model copy = *from;
    for (size_t i = 0; i < copy.count; i++) {
        api_collection *c = &copy.items[i];
        const size_t bytes = c->count * sizeof(*c->records);
        api_record **records = c->count ? malloc(bytes) : NULL;
        if (c->count && !records) {
            abort();
        }
        if (c->count) {
            memcpy(records, c->records, bytes);
        }
        for (size_t k = 0; k < c->count; k++) {
            records[k]->refs++;
        }
        c->records = records;
        c->cap = c->count;
    }
    api_model_done(to);
    *to = copy;
}

api_collection *api_model_find(api_model *m, const char *name) {
    for (size_t i = 0; i < m->count; i++) {
        if (strcmp(m->items[i].name, name) == 0) {
            return &m->items[i];
        }
    }
    return NULL;
}

api_collection *api_model_create(api_model *m, const char *name, uint32_t dims, uint32_t metric,
                                 uint32_t key, bool integers) {
    size_t at = m->count;
    assert_true(m->count < API_COLLECTIONS && dims <= API_DIMS_MAX);
    while (at > 0 && strcmp(m->items[at - 1].name, name) > 0) {
        m->items[at] = m->items[at - 1];
        at--;
    }
    m->count++;
    api_collection *c = &m->items[at];
    memset(c, 0, sizeof(*c));
    snprintf(c->name, sizeof(c->name), "%s", name);
    c->dims = dims;
    c->metric = metric;
    c->key = key;
    c->type = PV_TYPE_F32;
    c->integers = integers;
    c->next_id = 1;
    return c;
}

void api_model_drop(api_model *m, const char *name) {
    api_collection *c = api_model_find(m, name);
    assert_non_null(c);
    t_collection_done(c);
    m->count--;
    memmove(c, c + 1, (size_t)(&m->items[m->count] - c) * sizeof(*c));
}

/* ---- clock ---- */

static int64_t t_clock_wall(void *ctx) {
    api_clock *c = ctx;
    return INT64_C(1760000000000000) + (int64_t)(c->now_us += 7);
}

static uint64_t t_clock_mono(void *ctx) {
    api_clock *c = ctx;
    return c->now_us += 7;
}

static int t_clock_random(void *ctx, void *out, size_t n) {
    api_clock *c = ctx;
    test_rng_bytes(&c->rng, out, n);
    return 0;
}

void api_clock_init(api_clock *c, uint64_t seed) {
    memset(c, 0, sizeof(*c));
    test_rng_init(&c->rng, seed ^ 0xC10CC10Cu);
    c->clock = (pv_clock){c, t_clock_wall, t_clock_mono, t_clock_random};
}
