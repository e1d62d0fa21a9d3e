/* SPDX-License-Identifier: Apache-2.0 */
/* admin.c - collections as a whole, and figures. */
#include "engine/admin.h"

#include "engine/upkeep.h"

/* ---- create and ensure ------------------------------------------------------------------- */

#define ADMIN_EF_CONSTRUCTION 200u
#define ADMIN_EF_CONSTRUCTION_MIN 16u
#define ADMIN_EF_CONSTRUCTION_MAX 4096u
#define ADMIN_COMPRESSION 32u
#define ADMIN_OPQ_DIMS_MAX 2048u /* learning grows with their third power */
#define ADMIN_COMPRESSION_MIN 4u
#define ADMIN_COMPRESSION_MAX 64u

PV_STATIC_ASSERT(PV_CODE_F32 == PV__CODE_F32 && PV_CODE_SQ8 == PV__CODE_SQ8 &&
                     PV_CODE_Q4 == PV__CODE_Q4 && PV_CODE_B1 == PV__CODE_B1 &&
                     PV_CODE_F16 == PV__CODE_F16 && PV_CODE_PQ == PV__CODE_PQ &&
                     PV_CODE_I8 == PV__CODE_I8 && PV_CODE_BIT == PV__CODE_BIT,
                 codes_have_the_same_numbers);

/* The code as one number, with what product codes are made of. */
static uint32_t admin_code(const pv_collection_opts *o) {
    if (o->code != PV_CODE_PQ) {
        const uint32_t type = o->type ? o->type : PV_TYPE_F32;
        const uint32_t code = pv__code_default(type, o->metric ? o->metric : PV_METRIC_COSINE);
        return o->code ? o->code : code == PV__CODE_SQ8 ? PV__CODE_AUTO : code;
    }
    const uint32_t ratio = o->compression ? o->compression : ADMIN_COMPRESSION;
    const uint32_t bits = o->code_bits == 4 ? 4 : 8;
    const uint32_t parts =
        PV_MAX(PV_MIN(PV__DIMS_MAX, o->dims) * 32 / (PV_MAX(ratio, 1u) * bits), 1u);
    const uint32_t turned = o->flags & PV_COLLECTION_OPQ ? PV__CODE_TURNED : 0;
    return turned | PV__CODE_PACK((uint32_t)PV_CODE_PQ, bits,
                                  PV_MIN(o->code_parts ? o->code_parts : parts,
                                         PV_MIN(PV__DIMS_MAX, o->dims)));
}

static int admin_spec_index(const pv_collection_opts *o, pv__collection_spec *out, pv_error *err) {
    if (out->index > PV_INDEX_IVF) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "unknown index %u", (unsigned)out->index);
    }
    if (o->code != 0 && !pv__code_name(o->code)) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "unknown code %u", (unsigned)o->code);
    }
    if (out->code != PV__CODE_AUTO &&
        !pv__code_goes(PV__CODE_KIND(out->code), out->type, out->metric)) {
        return pv__err(err, PV_ERR_UNSUPPORTED,
                       "code %s does not go with element type %s and metric %s",
                       pv__code_name(PV__CODE_KIND(out->code)), pv__type_name(out->type),
                       pv__metric_name(out->metric));
    }
    if ((o->flags & PV_COLLECTION_OPQ) && (o->code != PV_CODE_PQ || o->dims > ADMIN_OPQ_DIMS_MAX)) {
        return o->code != PV_CODE_PQ
                   ? pv__err(err, PV_ERR_MISUSE, "PV_COLLECTION_OPQ is of code pq")
                   : pv__err(err, PV_ERR_LIMIT, "PV_COLLECTION_OPQ is for at most %u dimensions",
                             ADMIN_OPQ_DIMS_MAX);
    }
    if (o->code != PV_CODE_PQ && (o->compression || o->code_bits || o->code_parts)) {
        return pv__err(err, PV_ERR_MISUSE, "compression, code_bits and code_parts are of code pq");
    }
    if (o->compression &&
        (o->compression < ADMIN_COMPRESSION_MIN || o->compression > ADMIN_COMPRESSION_MAX)) {
        return pv__err(err, PV_ERR_LIMIT, "compression is %u, allowed are %u to %u",
                       (unsigned)o->compression, ADMIN_COMPRESSION_MIN, ADMIN_COMPRESSION_MAX);
    }
    if (o->code_bits && o->code_bits != 4 && o->code_bits != 8) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "code_bits is %u, it can be 4 or 8",
                       (unsigned)o->code_bits);
    }
    if (o->code_parts > o->dims) {
        return pv__err(err, PV_ERR_LIMIT, "code_parts is %u, more than the %u dimensions",
                       (unsigned)o->code_parts, (unsigned)o->dims);
    }
    if (out->ef_construction < ADMIN_EF_CONSTRUCTION_MIN ||
        out->ef_construction > ADMIN_EF_CONSTRUCTION_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "ef_construction is %u, allowed are %u to %u",
                       (unsigned)out->ef_construction, ADMIN_EF_CONSTRUCTION_MIN,
                       ADMIN_EF_CONSTRUCTION_MAX);
    }
    if (out->index != PV_INDEX_FLAT) {
        return 0;
    }
    if ((o->code && o->code != PV_CODE_SQ8) || o->ef_construction) {
        return o->ef_construction
                   ? pv__err(err, PV_ERR_MISUSE,
                             "ef_construction is given, but index flat has no graph")
                   : pv__err(err, PV_ERR_MISUSE, "code %s is given, but index flat has sq8 or none",
                             pv__code_name(o->code));
    }
    out->code = o->code; /* 0: vectors alone */
    return 0;
}

static int admin_spec(const pv_collection_opts *o, pv__collection_spec *out, pv_error *err) {
    *out = (pv__collection_spec){
        .dims = o->dims,
        .metric = o->metric ? o->metric : PV_METRIC_COSINE,
        .type = o->type ? o->type : PV_TYPE_F32,
        .key = o->key ? o->key : PV_KEY_STRING,
        .index = o->index,
        .code = admin_code(o),
        .ef_construction = o->ef_construction ? o->ef_construction : ADMIN_EF_CONSTRUCTION,
    };
    if (o->flags & ~PV_COLLECTION_OPQ) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "unknown collection flags 0x%x",
                       (unsigned)(o->flags & ~PV_COLLECTION_OPQ));
    }
    if (out->dims == 0) {
        return pv__err(err, PV_ERR_MISUSE, "a collection needs dims, the length of its vectors");
    }
    if (out->dims > PV__DIMS_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "%u dimensions are asked for, at most %u are allowed",
                       (unsigned)out->dims, (unsigned)PV__DIMS_MAX);
    }
    if (!pv__metric_of(out->metric)) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "unknown metric %u", (unsigned)out->metric);
    }
    if (out->type > PV_TYPE_BIT) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "unknown element type %u", (unsigned)out->type);
    }
    if (!pv__element_of(out->type)) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "element type %s is not supported yet",
                       pv__type_name(out->type));
    }
    if (!pv__measure_exists(out->type, out->metric)) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "metric %s does not go with element type %s",
                       pv__metric_name(out->metric), pv__type_name(out->type));
    }
    if (out->key > PV_KEY_U64) {
        return pv__err(err, PV_ERR_UNSUPPORTED, "unknown key kind %u", (unsigned)out->key);
    }
    return admin_spec_index(o, out, err);
}

/* How it is indexed is compared where the caller says it: opts left at 0 take what is there. */
static int admin_compare_index(const pv__collection *c, const pv__collection_spec *want,
                               const pv_collection_opts *o, pv_error *err) {
    static const char *const indexes[] = {"auto", "flat", "hnsw", "ivf"};
    if (o->index && c->field.index != want->index) {
        return pv__err(err, PV_ERR_EXISTS, "collection '%s' exists with index %s, not %s", c->name,
                       indexes[c->field.index], indexes[want->index]);
    }
    if (o->code && c->field.code != want->code) {
        return pv__err(err, PV_ERR_EXISTS, "collection '%s' exists with code %s, not %s", c->name,
                       c->field.code ? pv__code_name(PV__CODE_KIND(c->field.code)) : "none",
                       pv__code_name(PV__CODE_KIND(want->code)));
    }
    if (o->ef_construction && c->field.ef_construction != want->ef_construction) {
        return pv__err(err, PV_ERR_EXISTS, "collection '%s' exists with ef_construction %u, not %u",
                       c->name, c->field.ef_construction, (unsigned)want->ef_construction);
    }
    return 0;
}

/* The collection is there: is it the one that is wanted? */
static int admin_compare(const pv__collection *c, const pv__collection_spec *want,
                         const pv_collection_opts *o, pv_error *err) {
    static const char *const keys[] = {"?", "string", "u64"};
    if (c->field.dims != want->dims) {
        return pv__err(err, PV_ERR_EXISTS, "collection '%s' exists with %u dimensions, not %u",
                       c->name, (unsigned)c->field.dims, (unsigned)want->dims);
    }
    if (c->field.metric != want->metric) {
        return pv__err(err, PV_ERR_EXISTS, "collection '%s' exists with metric %s, not %s", c->name,
                       pv__metric_name(c->field.metric), pv__metric_name(want->metric));
    }
    if (c->field.type != want->type) {
        return pv__err(err, PV_ERR_EXISTS, "collection '%s' exists with element type %s, not %s",
                       c->name, pv__type_name(c->field.type), pv__type_name(want->type));
    }
    if (c->key != want->key) {
        return pv__err(err, PV_ERR_EXISTS, "collection '%s' exists with key %s, not %s", c->name,
                       keys[c->key], keys[want->key]);
    }
    return admin_compare_index(c, want, o, err);
}

/* *out_done: nothing is left to do. */
static int admin_look(pv__txn *txn, const char *name, const pv__collection_spec *spec,
                      const pv_collection_opts *opts, bool ensure, bool *out_done, pv_error *err) {
    pv__collection c;
    bool found = false;
    PV_TRY(pv__catalog_find(txn, name, strlen(name), &c, &found, err));
    *out_done = false;
    if (!found) {
        return pv__catalog_room(txn, err);
    }
    if (!ensure) {
        return pv__err(err, PV_ERR_EXISTS, "collection '%s' exists", name);
    }
    *out_done = true;
    return admin_compare(&c, spec, opts, err);
}

int pv__admin_create(pv_db *db, pv_txn *txn, const char *name, const pv_collection_opts *opts,
                     bool ensure, pv_error *err) {
    pv__collection_spec spec;
    bool done = false;
    pv__call call;
    if (!name) {
        return pv__err(err, PV_ERR_MISUSE, "the collection's name is NULL");
    }
    PV_TRY(pv__catalog_name_check(name, strlen(name), err));
    PV_TRY(admin_spec(opts, &spec, err));
    if (ensure) {
        /* Most often it is there: a read says so without waiting for a writer, and on a handle
         * or in a transaction that may not write. */
        PV_TRY(pv__call_begin(&call, db, txn, PV__CALL_READ, 0, err));
        int rc = admin_look(call.txn, name, &spec, opts, true, &done, err);
        PV_TRY(pv__call_end(&call, rc, err));
        if (done) {
            return 0;
        }
    }
    PV_TRY(pv__call_begin(&call, db, txn, PV__CALL_WRITE, 0, err));
    int rc = admin_look(call.txn, name, &spec, opts, ensure, &done, err);
    if (rc == 0 && !done) {
        call.changing = true;
        rc = pv__collection_make(call.txn, name, &spec, err);
    }
    return pv__call_end(&call, rc, err);
}

int pv__admin_drop(pv__call *call, const char *name, pv_error *err) {
    pv__parts parts;
    int rc = pv__parts_open(&parts, call->txn, name, err);
    if (rc == 0) {
        call->changing = true;
        rc = pv__collection_remove(call->txn, &parts, err);
        if (parts.graphs_changed) { /* one was damaged */
            pv__upkeep_want_graves(call->db);
        }
    }
    pv__parts_done(&parts);
    return rc;
}

/* ---- list and info ----------------------------------------------------------------------- */

static int admin_names_add(pv_names *n, const pv__collection *c, pv_error *err) {
    PV_TRY(
        pv__alloc_grow(&n->env->mem, (void **)&n->at, &n->cap, n->count + 1, sizeof(*n->at), err));
    n->at[n->count++] = n->text.len;
    pv__buf_add(&n->text, c->name, c->name_len);
    pv__buf_add_u8(&n->text, 0);
    return pv__buf_check(&n->text, err);
}

int pv__admin_list(pv__call *call, pv_names **out_names, pv_error *err) {
    pv__env *env = call->db->env;
    pv__catalog_walk walk;
    pv_names *names = pv__alloc_zero(&env->mem, sizeof(*names));
    if (!names) {
        return pv__err_nomem(err, sizeof(*names));
    }
    pv__env_ref(env);
    names->env = env;
    pv__buf_init(&names->text, &env->mem);
    int rc = pv__catalog_walk_begin(&walk, call->txn, err);
    while (rc == 0) {
        pv__collection c;
        bool found = false;
        rc = pv__catalog_walk_next(&walk, false, &c, &found, err);
        if (rc != 0 || !found) {
            break;
        }
        rc = admin_names_add(names, &c, err);
    }
    pv__catalog_walk_end(&walk);
    if (rc != 0) {
        pv__admin_names_free(names);
        return rc;
    }
    *out_names = names;
    return 0;
}

void pv__admin_names_free(pv_names *names) {
    if (names) {
        pv__env *env = names->env;
        pv__buf_done(&names->text);
        pv__alloc_free(&env->mem, names->at, names->cap * sizeof(*names->at));
        pv__alloc_free(&env->mem, names, sizeof(*names));
        pv__env_unref(env);
    }
}

/* Damage is told, not an error: the records are there. */
static int admin_info_graph(pv_db *db, pv__parts *p, uint32_t *out_flags, pv_error *err) {
    pv_error found = PV_ERROR_INIT;
    const int rc = pv__parts_graph(p, db->cpu, 1, &found);
    const bool damaged = rc == PV_ERR_CORRUPT || pv__upkeep_doubted(db, &p->c);
    if (rc != 0 && rc != PV_ERR_CORRUPT) {
        return pv__err(err, rc, "%s", found.message);
    }
    if (rc != 0) {
        pv__upkeep_doubt(db, &p->c);
    }
    *out_flags = (damaged ? PV_COLLECTION_INDEX_DAMAGED : 0u) |
                 (p->c.graph_lost || p->c.next.page != 0 ? PV_COLLECTION_INDEX_REBUILDING : 0u);
    return 0;
}

/* What it is walked by, and why. */
static void admin_info_code(const pv__parts *p, bool graph, pv_collection_info *out) {
    const uint32_t asked = p->c.field.code, code = graph ? p->graph.meta.code : asked;
    if (p->c.graph.page == 0) {
        return;
    }
    out->code_asked = asked == PV__CODE_AUTO ? (uint32_t)PV_CODE_AUTO : PV__CODE_KIND(asked);
    out->code = code == PV__CODE_AUTO ? (uint32_t)PV_CODE_AUTO : PV__CODE_KIND(code);
    if (graph) {
        pv__graph_choice_text(&p->graph, out->code_reason, sizeof(out->code_reason));
    }
}

int pv__admin_info(pv__call *call, const char *name, pv_collection_info *out, pv_error *err) {
    pv__parts parts;
    int rc = pv__parts_open(&parts, call->txn, name, err);
    bool graph = rc == 0 && parts.c.graph.page != 0;
    uint32_t flags = 0;
    if (graph) {
        rc = admin_info_graph(call->db, &parts, &flags, err);
        graph = rc == 0 && parts.graph_open;
    }
    if (rc == 0) {
        const pv__collection *c = &parts.c;
        const pv__graph_meta *m = &parts.graph.meta;
        *out = (pv_collection_info){
            .struct_size = sizeof(*out),
            .dims = c->field.dims,
            .metric = c->field.metric,
            .type = c->field.type,
            .key = c->key,
            .flags = flags,
            .object_id = c->object_id,
            .count = parts.slots.meta.live_count,
            .slots = parts.slots.meta.high_water,
            .generation = c->generation,
            .index = c->field.index,
            .ef_construction = c->field.ef_construction,
            .indexed = graph ? (uint64_t)m->node_count + m->dup_count : 0,
            .index_dead = graph ? m->tomb_count : 0,
            .lists = graph ? m->lists.count : 0,
        };
        admin_info_code(&parts, graph, out);
    }
    pv__parts_done(&parts);
    return rc;
}

/* ---- figures ----------------------------------------------------------------------------- */

int pv__admin_stats(pv_db *db, pv_stats *out, pv_error *err) {
    PV_TRY(pv__db_enter(db, err));
    const pv__mem *mem = &db->env->mem;
    pv__store_stats s;
    memset(&s, 0, sizeof(s));
    pv__store_stats_get(db->store, &s);
    *out = (pv_stats){
        .struct_size = sizeof(*out),
        .lsn = s.lsn,
        .durable_lsn = s.durable_lsn,
        .checkpoint_lsn = s.checkpoint_lsn,
        .db_checksum = s.db_checksum,
        .file_bytes = s.file_bytes,
        .log_bytes = s.log_bytes,
        .pages = s.page_count,
        .free_bytes = s.free_slots * PV__SLOT_SIZE,
        .cache_bytes = s.cache_bytes,
        .cache_limit = s.cache_limit,
        .memory_bytes = atomic_load_explicit(&mem->bytes_used, memory_order_relaxed),
        .memory_peak = atomic_load_explicit(&mem->bytes_peak, memory_order_relaxed),
        .page_hits = s.page_hits,
        .page_misses = s.page_misses,
        .log_syncs = s.log_syncs,
        .commits = s.commits_since_open,
        .checkpoints = s.checkpoints,
    };
    memcpy(out->uuid, s.uuid, sizeof(out->uuid));
    pv__db_leave(db);
    return 0;
}
