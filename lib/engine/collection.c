/* SPDX-License-Identifier: Apache-2.0 */
/* collection.c - the parts of a collection: open, make, remove.
 *
 * A collection takes several object ids in a row (catalog.h). Removing frees all pages in bounded
 * memory inside one transaction; readers of older states keep their pages, that is the store's. */
#include "engine/parts.h"

#include <stddef.h>

#include "engine/db.h"

uint32_t pv__vector_bytes(uint32_t type, uint32_t dims) {
    const pv__element *e = pv__element_of(type);
    return e ? (uint32_t)pv__element_bytes(e, dims) : 0;
}

const char *pv__type_name(uint32_t type) {
    const pv__element *e = pv__element_of(type);
    return e ? e->name : type == PV_TYPE_BF16 ? "bf16" : "?";
}

const char *pv__metric_name(uint32_t metric) {
    const pv__metric *m = pv__metric_of(metric);
    return m ? m->name : "?";
}

int pv__parts_query(const pv__parts *p, uint32_t cpu, const void *vector, void *room,
                    pv__kernel_query *out, pv_error *err) {
    const pv__field *f = &p->c.field;
    PV_ASSERT(pv__kernel_query_of(out, cpu, f->type, f->metric, vector, f->dims, room));
    return 0;
}

int pv__parts_open_entry(pv__parts *p, pv__txn *txn, const pv__collection *c, pv_error *err) {
    pv__slots_meta meta;
    memset(p, 0, offsetof(pv__parts, next));
    p->txn = txn;
    p->c = *c;
    pv__slots_meta_decode(c->meta, &meta);
    pv__idmap_init(&p->ids, txn, c->object_id + PV__OBJECT_IDMAP, c->idmap_root);
    p->docs = (pv__tree){txn, c->docs_root, c->object_id + PV__OBJECT_DOCS};
    PV_TRY(pv__slots_open(txn, c->object_id + PV__OBJECT_SLOTS, &meta, &p->slots, err));
    return pv__column_open(txn, c->field.owner, c->field.root,
                           pv__vector_bytes(c->field.type, c->field.dims), &p->column, err);
}

int pv__parts_open(pv__parts *p, pv__txn *txn, const char *name, pv_error *err) {
    pv__collection c;
    bool found = false;
    memset(p, 0, offsetof(pv__parts, next));
    if (!name) {
        return pv__err(err, PV_ERR_MISUSE, "the collection's name is NULL");
    }
    PV_TRY(pv__catalog_find(txn, name, strlen(name), &c, &found, err));
    if (!found) {
        return pv__err(err, PV_ERR_NOTFOUND, "there is no collection '%.*s'", PV__NAME_SHOWN, name);
    }
    return pv__parts_open_entry(p, txn, &c, err);
}

pv__graph_spec pv__graph_spec_of(const pv__field *f) {
    return (pv__graph_spec){.shape = f->index == PV_INDEX_IVF    ? PV__SHAPE_LISTS
                                     : f->index == PV_INDEX_FLAT ? PV__SHAPE_PLAIN
                                                                 : PV__SHAPE_LINKS,
                            .code = f->code,
                            .ef_construction = f->ef_construction};
}

static int parts_open_graph(pv__parts *p, pv__graph *g, const pv__graph_ref *ref, bool *io_open,
                            uint32_t cpu, unsigned threads, pv_error *err) {
    if (!*io_open) {
        const pv__field *f = &p->c.field;
        const pv__graph_space space = {f->type, f->metric, f->dims};
        PV_TRY(pv__graph_open(g, p->txn, ref->page, ref->owner, &p->column, &space, cpu, err));
        g->threads = threads;
        *io_open = true;
    }
    g->slots = p->slots.meta.high_water;
    return 0;
}

int pv__parts_graph(pv__parts *p, uint32_t cpu, unsigned threads, pv_error *err) {
    return parts_open_graph(p, &p->graph, &p->c.graph, &p->graph_open, cpu, threads, err);
}

int pv__parts_next(pv__parts *p, uint32_t cpu, unsigned threads, pv_error *err) {
    return parts_open_graph(p, &p->next, &p->c.next, &p->next_open, cpu, threads, err);
}

void pv__parts_done(pv__parts *p) {
    if (p->txn) {
        pv__idmap_done(&p->ids);
        p->txn = NULL;
    }
}

void pv__parts_move(pv__parts *p, pv__txn *txn) {
    p->txn = txn;
    p->slots.bits.txn = p->slots.free_map.txn = p->column.txn = txn;
    p->ids.tree.txn = p->docs.txn = txn;
    if (p->graph_open) {
        pv__graph_move(&p->graph, txn);
    }
    if (p->next_open) {
        pv__graph_move(&p->next, txn);
    }
}

static int parts_save_graph(pv__graph *g, bool open, pv_error *err) {
    return open ? pv__graph_save(g, err) : 0;
}

int pv__parts_save_graphs(pv__parts *p, pv_error *err) {
    PV_TRY(parts_save_graph(&p->graph, p->graph_open, err));
    PV_TRY(parts_save_graph(&p->next, p->next_open, err));
    if (p->graphs_changed) {
        PV_TRY(pv__catalog_page_write(p->txn, &p->c, err));
        p->graphs_changed = false;
    }
    return 0;
}

int pv__parts_save(pv__parts *p, pv_error *err) {
    PV_TRY(parts_save_graph(&p->graph, p->graph_open, err));
    PV_TRY(parts_save_graph(&p->next, p->next_open, err));
    pv__slots_meta_encode(&p->slots.meta, p->c.meta);
    p->c.generation++;
    return pv__catalog_page_write(p->txn, &p->c, err);
}

int pv__collection_make(pv__txn *txn, const char *name, const pv__collection_spec *spec,
                        pv_error *err) {
    const uint32_t row_size = pv__vector_bytes(spec->type, spec->dims);
    uint32_t page_slots = 0, rows_per_page = 0;
    pv__slots_meta meta;
    pv__collection c;
    memset(&c, 0, sizeof(c));
    PV_ASSERT(pv__column_layout(row_size, &page_slots, &rows_per_page));
    c.name_len = (uint32_t)strlen(name);
    memcpy(c.name, name, c.name_len);
    c.key = (uint8_t)spec->key;
    c.field.dims = spec->dims;
    c.field.metric = (uint8_t)spec->metric;
    c.field.type = (uint8_t)spec->type;
    c.next_id = 1;
    PV_TRY(pv__catalog_ids_take(txn, spec->code == 0 ? PV__OBJECT_IDS : PV__OBJECT_IDS_GRAPH,
                                &c.object_id, err));
    c.field.owner = c.object_id + PV__OBJECT_FIELD;
    PV_TRY(pv__idmap_create(txn, c.object_id + PV__OBJECT_IDMAP, &c.idmap_root, err));
    PV_TRY(pv__tree_create(txn, c.object_id + PV__OBJECT_DOCS, &c.docs_root, err));
    PV_TRY(pv__slots_create(txn, c.object_id + PV__OBJECT_SLOTS, rows_per_page, &meta, err));
    PV_TRY(pv__column_create(txn, c.field.owner, row_size, 0, &c.field.root, err));
    c.field.index = (uint8_t)spec->index;
    if (spec->code != 0) {
        c.field.code = spec->code;
        c.field.ef_construction = (uint16_t)spec->ef_construction;
        const pv__graph_spec graph = pv__graph_spec_of(&c.field);
        PV_TRY(pv__graph_create(txn, c.object_id + PV__OBJECT_GRAPH, &graph, NULL, &c.field.graph,
                                err));
    }
    pv__slots_meta_encode(&meta, c.meta);
    return pv__catalog_add(txn, &c, err);
}

/* One that is damaged goes to a grave. */
static int collection_drop_graph(pv__parts *p, const pv__graph_ref *ref, pv_error *err) {
    pv_error found = PV_ERROR_INIT;
    uint64_t at = 0;
    bool done = false;
    const pv__field *f = &p->c.field;
    const pv__graph_space space = {f->type, f->metric, f->dims};
    const int rc =
        pv__graph_drop_some(p->txn, ref->page, ref->owner, &space, &at, UINT32_MAX, &done, &found);
    if (rc != PV_ERR_CORRUPT) {
        return rc == 0 ? 0 : pv__err(err, rc, "%s", found.message);
    }
    const pv__grave grave = {.owner = ref->owner, .owners = PV__GRAPH_OWNERS};
    pv__txn_forgive(p->txn);
    p->graphs_changed = true;
    return pv__grave_put(p->txn, &grave, err);
}

int pv__collection_remove(pv__txn *txn, pv__parts *p, pv_error *err) {
    if (p->c.graph.page != 0) {
        PV_TRY(collection_drop_graph(p, &p->c.graph, err));
    }
    if (p->c.next.page != 0) {
        PV_TRY(collection_drop_graph(p, &p->c.next, err));
    }
    PV_TRY(pv__column_drop(&p->column, err));
    PV_TRY(pv__slots_drop(&p->slots, err));
    PV_TRY(pv__tree_drop(&p->docs, err));
    PV_TRY(pv__idmap_drop(&p->ids, err));
    return pv__catalog_remove(txn, &p->c, err);
}
