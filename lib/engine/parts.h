/* SPDX-License-Identifier: Apache-2.0 */
/* parts.h - one collection inside one transaction: its catalogue entry and handles to its parts.
 *
 *      key --idmap--> slot --column--> vector
 *                       '----docs----> { key, document }
 *
 * Invariants
 *   E4  A slot is live if and only if the id map has a key for it, the docs tree a row for it that
 *       states the same key, and the column a vector.
 *   E5  The slot counters and next_id in memory are written back by pv__parts_save once per call,
 *       at its end; a failure before that dooms the transaction.
 *
 * Row of the docs tree: key = slot, 4 bytes big-endian; value = u8 layout (1), varint key length,
 * key, document. */
#ifndef PV_ENGINE_PARTS_H
#define PV_ENGINE_PARTS_H

#include "ann/graph.h"
#include "catalog/catalog.h"
#include "kernel/element.h"
#include "kernel/kernel.h"
#include "vector/vector.h"

typedef struct pv__parts {
    pv__txn *txn;
    pv__collection c;
    pv__slots slots;
    pv__column column;
    pv__idmap ids;
    pv__tree docs;
    pv__graph graph;
    bool graph_open;     /* pv__parts_graph */
    bool next_open;      /* pv__parts_next */
    bool graphs_changed; /* which they are: c.graph, c.next, c.graph_lost */
    pv__graph next;      /* c.next; the last member: not set until it is opened */
} pv__parts;

/* What a new collection shall be; all numbers resolved (never 0) and checked. */
typedef struct pv__collection_spec {
    uint32_t dims, metric, type, key;
    uint32_t index, code, ef_construction; /* code: PV__CODE_; 0: no index, only with FLAT */
} pv__collection_spec;

/* Bytes of one element times dims, as stored. */
PV_PRIVATE uint32_t pv__vector_bytes(uint32_t type, uint32_t dims);
PV_PRIVATE const char *pv__type_name(uint32_t type);     /* "f32", or "?" */
PV_PRIVATE const char *pv__metric_name(uint32_t metric); /* "l2" */
/* A query of the collection's type and metric (kernel.h). room: pv__kernel_query_room bytes. */
PV_PRIVATE int pv__parts_query(const pv__parts *p, uint32_t cpu, const void *vector, void *room,
                               pv__kernel_query *out, pv_error *err);

/* collection.c. PV_ERR_NOTFOUND when there is none of this name. `name` ends with a NUL. */
PV_PRIVATE int pv__parts_open(pv__parts *p, pv__txn *txn, const char *name, pv_error *err);
/* The same for an entry that was read already, by a walk. */
PV_PRIVATE int pv__parts_open_entry(pv__parts *p, pv__txn *txn, const pv__collection *c,
                                    pv_error *err);
PV_PRIVATE void pv__parts_done(pv__parts *p); /* also after a failed open */
/* Hand p, which has changed nothing, to another transaction that sees the same state of it. */
PV_PRIVATE void pv__parts_move(pv__parts *p, pv__txn *txn);
/* p->graph, opened when it is first wanted. The collection has one: c.graph.page is not 0. */
PV_PRIVATE int pv__parts_graph(pv__parts *p, uint32_t cpu, unsigned threads, pv_error *err);
/* The same of p->next; c.next.page is not 0. */
PV_PRIVATE int pv__parts_next(pv__parts *p, uint32_t cpu, unsigned threads, pv_error *err);
/* What a graph of this field is. */
PV_PRIVATE pv__graph_spec pv__graph_spec_of(const pv__field *f);
/* The graphs, when they have changed. */
PV_PRIVATE int pv__parts_save_graphs(pv__parts *p, pv_error *err);
PV_PRIVATE int pv__parts_save(pv__parts *p, pv_error *err); /* E5; counts a generation */

/* Checked already: the spec, and that the name is free and allowed. */
PV_PRIVATE int pv__collection_make(pv__txn *txn, const char *name, const pv__collection_spec *spec,
                                   pv_error *err);
PV_PRIVATE int pv__collection_remove(pv__txn *txn, pv__parts *p, pv_error *err);

/* row.c */
typedef struct pv__row {
    const uint8_t *key;
    size_t key_len;
    const uint8_t *doc; /* checked; no bytes: the empty object */
    size_t doc_len;
} pv__row;
static inline pv__bytes pv__row_slot_key(uint8_t buf[4], uint32_t slot) {
    pv__bytes key = {buf, 4};
    pv__put32be(buf, slot);
    return key;
}
/* Append to `out` what comes before the document in a row; how many bytes. */
PV_PRIVATE size_t pv__row_head(pv__buf *out, pv__bytes key);
/* Rows that are put in together, in the order they were added. They point into the caller's
 * memory until then. */
#define PV__ROW_RUN 64u
typedef struct pv__row_run {
    size_t count, bytes; /* of rows */
    uint32_t slots[PV__ROW_RUN];
    pv__bytes rows[PV__ROW_RUN]; /* head and document */
} pv__row_run;
static inline void pv__row_run_add(pv__row_run *r, uint32_t slot, pv__bytes row) {
    r->slots[r->count] = slot;
    r->rows[r->count++] = row;
    r->bytes += row.size;
}
/* Empties the run. near: of p->docs. */
PV_PRIVATE int pv__row_put(pv__parts *p, pv__finger *near, pv__row_run *run, pv_error *err);
/* The row of a live slot, in `buf`, which is cleared first. A missing one is PV_ERR_CORRUPT. */
PV_PRIVATE int pv__row_get(pv__parts *p, uint32_t slot, pv__buf *buf, pv__row *out, pv_error *err);
/* The rows of up to PV__TREE_MANY live slots, in pages where they are short, else in `buf`, which
 * is cleared first: good until the transaction pauses. with_docs false: documents are not looked
 * at. */
PV_PRIVATE int pv__rows_get(pv__parts *p, const uint32_t *slots, size_t n, bool with_docs,
                            pv__buf *buf, pv__row *out, pv_error *err);
/* The row that a cursor over p->docs stands on, and its slot. */
PV_PRIVATE int pv__row_at(pv__parts *p, pv__cursor *cursor, pv__buf *buf, uint32_t *out_slot,
                          pv__row *out, pv_error *err);
PV_PRIVATE int pv__row_del(pv__parts *p, uint32_t slot, pv_error *err);

/* Text of a key for messages: 'abc' cut to a bearable length, or the number. */
#define PV__KEY_SHOWN 80
PV_PRIVATE const char *pv__key_show(const pv__parts *p, pv__bytes key, char out[PV__KEY_SHOWN]);

#endif
