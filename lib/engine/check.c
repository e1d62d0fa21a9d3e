/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - looking for damage: the store, the catalogue, and every collection's parts against
 * each other.
 *
 *   quick   the store's structure, the catalogue, the counters of each collection
 *   deep    also every page, key, document and vector, and E4: the id map, the docs tree and the
 *           live bitmap name the same records
 *
 * Damage is a finding and not an error: the walk goes on with the next part that does not depend
 * on what was found damaged. Findings name the collection by the object id that the store knows;
 * the names are read before anything else, as far as the catalogue can still be read. */
#include "engine/admin.h"
#include "engine/scan.h"
#include "engine/write.h"

#define CHECK_FINDINGS_PER_COLLECTION 100u /* rows; more of the same help nobody */

typedef struct check_name {
    uint32_t object_id; /* 0: not known */
    uint32_t object_ids;
    bool damaged; /* its record or page, which pv__catalog_check tells */
    char name[PV__NAME_BYTES_MAX + 1];
} check_name;

typedef struct check_state {
    pv_db *db;
    pv__txn *txn;
    bool deep;
    pv_check_fn fn;
    void *ctx;
    uint64_t problems;
    check_name *names; /* of all collections */
    size_t name_count, name_cap;
} check_state;

static const char *check_owner_name(const check_state *st, uint32_t owner) {
    for (size_t i = 0; i < st->name_count; i++) {
        const check_name *n = &st->names[i];
        if (n->object_id > 0 && owner >= n->object_id && owner - n->object_id < n->object_ids) {
            return st->names[i].name;
        }
    }
    return NULL;
}

/* The callback handed down; who calls it counts by itself. */
static void check_tell(void *ctx, uint64_t page_id, uint32_t owner, const char *what) {
    const check_state *st = ctx;
    if (st->fn) {
        st->fn(st->ctx, check_owner_name(st, owner), page_id, what);
    }
}

static void check_found(check_state *st, const char *collection, const char *what) {
    st->problems++;
    if (st->fn) {
        st->fn(st->ctx, collection, 0, what);
    }
}

/* Damage becomes a finding and 0; everything else goes up. */
static int check_settle(check_state *st, const char *collection, int rc, const pv_error *found,
                        pv_error *err) {
    if (rc == PV_ERR_CORRUPT || rc == PV_ERR_FORMAT) {
        check_found(st, collection, found->message);
        return 0;
    }
    if (rc != 0 && err) {
        *err = *found;
    }
    return rc;
}

/* ---- names ------------------------------------------------------------------------------- */

static int check_names_walk(check_state *st, pv__catalog_walk *walk, pv_error *err) {
    for (;;) {
        pv__collection c;
        bool found = false;
        const int rc = pv__catalog_walk_next(walk, true, &c, &found, err);
        const bool named = (rc == PV_ERR_CORRUPT || rc == PV_ERR_FORMAT) && c.name_len > 0;
        if (rc != 0 && !named) {
            return rc;
        }
        if (rc == 0 && !found) {
            return 0;
        }
        PV_TRY(pv__alloc_grow(&st->db->env->mem, (void **)&st->names, &st->name_cap,
                              st->name_count + 1, sizeof(*st->names), err));
        st->names[st->name_count].object_id = c.object_id;
        st->names[st->name_count].object_ids = pv__collection_object_ids(&c);
        st->names[st->name_count].damaged = named;
        memcpy(st->names[st->name_count].name, c.name, sizeof(c.name));
        st->name_count++;
    }
}

/* What cannot be read is found and told by pv__catalog_check. */
static int check_names(check_state *st, pv_error *err) {
    pv_error found = PV_ERROR_INIT;
    pv__catalog_walk walk;
    int rc = pv__catalog_walk_begin(&walk, st->txn, &found);
    if (rc == 0) {
        rc = check_names_walk(st, &walk, &found);
    }
    pv__catalog_walk_end(&walk);
    if (rc == PV_ERR_CORRUPT || rc == PV_ERR_FORMAT) {
        return 0;
    }
    if (rc != 0 && err) {
        *err = found;
    }
    return rc;
}

/* ---- one collection ---------------------------------------------------------------------- */

typedef struct check_rows {
    check_state *st;
    pv__parts *p;
    uint64_t rows;
    uint32_t findings;
} check_rows;

static int check_row(void *ctx, uint32_t slot, const pv__row *row, pv_error *err) {
    check_rows *r = ctx;
    pv__parts *p = r->p;
    const pv__bytes key = {row->key, row->key_len};
    const uint8_t *vector = NULL;
    const char *what = NULL;
    char shown[PV__KEY_SHOWN];
    uint32_t mapped = 0;
    bool found = false, live = false;
    pv_error message = PV_ERROR_INIT;
    r->rows++;
    PV_TRY(pv__slots_is_live(&p->slots, slot, &live, err));
    PV_TRY(pv__idmap_get(&p->ids, key, &mapped, &found, err));
    if (!live) {
        what = "has a document, but its slot is free";
    } else if (!found || mapped != slot) {
        what = found ? "leads to another slot" : "is not in the id map";
    } else {
        PV_TRY(pv__column_read(&p->column, slot, &vector, err));
        if (pv__vector_check(p, vector, p->c.field.dims, p->c.field.type, NULL) != 0) {
            what = "has a vector with NaN or infinity";
        }
    }
    if (what && r->findings++ < CHECK_FINDINGS_PER_COLLECTION) {
        pv__err(&message, PV_ERR_CORRUPT, "record %s in slot %u %s", pv__key_show(p, key, shown),
                (unsigned)slot, what);
        check_found(r->st, p->c.name, message.message);
    }
    return pv__txn_pause(p->txn, err);
}

/* E4: keys, documents and live slots are as many, and each document's key leads to its slot; so
 * they are the same records. */
static int check_records(check_state *st, pv__parts *p, uint64_t keys, uint64_t docs,
                         pv_error *err) {
    const uint32_t live = p->slots.meta.live_count;
    pv_error message = PV_ERROR_INIT;
    check_rows rows = {st, p, 0, 0};
    if (keys != live || docs != live) {
        pv__err(&message, PV_ERR_CORRUPT, "%u live slots, %llu keys and %llu documents",
                (unsigned)live, (unsigned long long)keys, (unsigned long long)docs);
        check_found(st, p->c.name, message.message);
    }
    return pv__scan_docs(st->db, p, NULL, check_row, &rows, err);
}

static int check_parts_deep(check_state *st, pv__parts *p, pv_error *err) {
    const uint64_t before = st->problems;
    uint64_t keys = 0, docs = 0;
    PV_TRY(pv__tree_check(&p->ids.tree, check_tell, st, &st->problems, &keys, err));
    PV_TRY(pv__tree_check(&p->docs, check_tell, st, &st->problems, &docs, err));
    PV_TRY(pv__slots_check(&p->slots, check_tell, st, &st->problems, err));
    PV_TRY(pv__column_check(&p->column, check_tell, st, &st->problems, err));
    if (p->c.graph.page != 0 && st->problems == before) {
        PV_TRY(pv__parts_graph(p, st->db->cpu, 1, err));
        PV_TRY(pv__graph_check(&p->graph, &p->slots, true, check_tell, st, &st->problems, err));
    }
    if (p->c.next.page != 0 && st->problems == before) {
        PV_TRY(pv__parts_next(p, st->db->cpu, 1, err));
        PV_TRY(pv__graph_check(&p->next, &p->slots, true, check_tell, st, &st->problems, err));
    }
    if (st->problems != before) {
        return 0; /* going on would follow what was just found damaged */
    }
    return check_records(st, p, keys, docs, err);
}

static int check_collection(check_state *st, const char *name, pv_error *err) {
    pv_error found = PV_ERROR_INIT;
    pv__parts parts;
    int rc = pv__parts_open(&parts, st->txn, name, &found);
    if (rc == 0 && parts.slots.meta.live_count > parts.slots.meta.high_water) {
        check_found(st, name, "more live slots than slots");
    } else if (rc == 0 && st->deep) {
        rc = check_parts_deep(st, &parts, &found);
    }
    pv__parts_done(&parts);
    rc = check_settle(st, name, rc, &found, err);
    return rc == 0 ? pv__txn_pause(st->txn, err) : rc;
}

/* ---- all --------------------------------------------------------------------------------- */

static int check_everything(check_state *st, pv_error *err) {
    uint64_t bad = 0;
    PV_TRY(check_names(st, err));
    PV_TRY(pv__store_check(st->db->store, st->deep, check_tell, st, &bad, err));
    st->problems += bad;
    PV_TRY(pv__catalog_check(st->txn, st->deep, check_tell, st, &st->problems, err));
    for (size_t i = 0; i < st->name_count; i++) {
        if (!st->names[i].damaged) {
            PV_TRY(check_collection(st, st->names[i].name, err));
        }
        PV_TRY(pv__db_interrupted(st->db, err));
    }
    return 0;
}

int pv__check_all(pv_db *db, bool deep, pv_check_fn fn, void *ctx, uint64_t *out_problems,
                  pv_error *err) {
    pv__call call;
    PV_TRY(pv__call_begin(&call, db, NULL, PV__CALL_READ, 0, err));
    check_state st = {.db = db, .txn = call.txn, .deep = deep, .fn = fn, .ctx = ctx};
    int rc = check_everything(&st, err);
    pv__alloc_free(&db->env->mem, st.names, st.name_cap * sizeof(*st.names));
    rc = pv__call_end(&call, rc, err);
    if (rc == 0 && out_problems) {
        *out_problems = st.problems;
    }
    return rc;
}

#undef CHECK_FINDINGS_PER_COLLECTION
