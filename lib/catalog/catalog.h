/* SPDX-License-Identifier: Apache-2.0 */
/* catalog.h - which collections there are, and where their parts lie.
 *
 *      root 0 of the store --> catalogue tree
 *          key 00           -> header: format, number of collections, change counter
 *          key 01 | name    -> record: object ids, roots, key kind, vector fields
 *          key 02 | object  -> grave: pages of a graph that nobody uses any more
 *                                 '-- page --> 4 KiB page with what every write changes
 *
 * A record is written when its collection is made and never again; what each write changes (the
 * next id, the slot counters) is in the collection's own page, so that a write logs a few bytes of
 * one page and leaves the catalogue alone. Byte tables: docs/format/catalog.md.
 *
 * The catalogue only keeps the numbers: trees, columns and slots are made and freed by the engine.
 * Nothing is cached here; every call reads the pages of its transaction, so rollback and snapshots
 * need no code. Threads: as the transaction. */
#ifndef PV_CATALOG_CATALOG_H
#define PV_CATALOG_CATALOG_H

#include "store/store.h"
#include "tree/tree.h"

/* Object ids (store.h: owner). 0 is the store; below FIRST they are fixed, above they are taken
 * from a counter and never used twice. */
#define PV__OBJECT_CATALOG 1u
#define PV__OBJECT_FIRST 16u
/* The ids of one collection follow each other. */
#define PV__OBJECT_IDMAP 1u /* + the collection's */
#define PV__OBJECT_DOCS 2u
#define PV__OBJECT_SLOTS 3u
#define PV__OBJECT_FIELD 4u
#define PV__OBJECT_GRAPH 5u /* the first of those of the graph */
#define PV__OBJECT_IDS 5u   /* so many are taken without a graph */
#define PV__OBJECT_IDS_GRAPH 16u

#define PV__COLLECTION_META_BYTES 32u /* slot counters, of the layer above */

/* One vector field. The format has a list of them, this version makes and reads exactly one,
 * without a name. */
typedef struct pv__field {
    uint64_t root;  /* column of its rows */
    uint32_t owner; /* object id of the column */
    uint32_t dims;
    uint8_t metric; /* PV_METRIC_ */
    uint8_t type;   /* PV_TYPE_ */
    uint8_t index;  /* PV_INDEX_ */
    uint16_t ef_construction;
    uint32_t code;  /* of the graph: PV__CODE_PACK (quant/code.h) */
    uint64_t graph; /* page of the first graph; 0 without an index */
} pv__field;

/* A graph: its page, and the first of the object ids that it owns. */
typedef struct pv__graph_ref {
    uint64_t page;
    uint32_t owner;
} pv__graph_ref;

/* A collection as it was read. Plain data, no pointers: good for the life of its transaction, the
 * second half until the next change of the collection. */
typedef struct pv__collection {
    char name[PV__NAME_BYTES_MAX + 1];
    uint32_t name_len;
    uint32_t object_id;
    uint64_t page; /* PV__PAGE_COLLECTION */
    uint64_t idmap_root, docs_root;
    uint8_t key; /* PV_KEY_ */
    pv__field field;
    /* from the page */
    uint64_t next_id;    /* smallest number never used as a key */
    uint64_t generation; /* counts changes */
    pv__graph_ref graph; /* page 0: none */
    pv__graph_ref next;  /* that will take its place; page 0: none */
    bool graph_lost;     /* the one before was damaged; until this one is whole */
    uint8_t meta[PV__COLLECTION_META_BYTES];
} pv__collection;

/* Object ids that a collection takes. */
static inline uint32_t pv__collection_object_ids(const pv__collection *c) {
    return c->field.graph ? PV__OBJECT_IDS_GRAPH : PV__OBJECT_IDS;
}

/* names.c. The rules stand in pv.h at pv_collection_create. PV_ERR_MISUSE or PV_ERR_LIMIT. */
PV_PRIVATE int pv__catalog_name_check(const char *name, size_t len, pv_error *err);

/* record.c: values of the catalogue tree. encode appends. */
PV_PRIVATE void pv__catalog_record_encode(const pv__collection *c, pv__buf *out);
/* Fills all of `out` but the name and the page's half; c->name must be set, for messages. */
PV_PRIVATE int pv__catalog_record_decode(pv__bytes value, pv__collection *c, pv_error *err);

/* graves.c: graphs whose pages are to be given back a few at a time, by whoever finds time. */
typedef struct pv__grave {
    uint32_t owner, owners;      /* object ids of its pages */
    uint32_t type, metric, dims; /* of its collection */
    uint64_t page; /* of the graph; 0: not to be trusted, all pages are looked through */
    uint64_t at;   /* how far that has come; meaning: of who does it */
} pv__grave;
PV_PRIVATE int pv__grave_put(pv__txn *txn, const pv__grave *grave, pv_error *err);
PV_PRIVATE int pv__grave_remove(pv__txn *txn, const pv__grave *grave, pv_error *err);
PV_PRIVATE int pv__grave_first(pv__txn *txn, pv__grave *out, bool *out_found, pv_error *err);

/* catalog.c */

/* out->root 0: no collection was ever made. */
PV_PRIVATE int pv__catalog_tree(pv__txn *txn, pv__tree *out, pv_error *err);

/* Take `count` object ids in a row; a change. */
PV_PRIVATE int pv__catalog_ids_take(pv__txn *txn, uint32_t count, uint32_t *out_first,
                                    pv_error *err);
/* *out_found; when found *out is filled, the page's half too. */
PV_PRIVATE int pv__catalog_find(pv__txn *txn, const char *name, size_t name_len,
                                pv__collection *out, bool *out_found, pv_error *err);
/* The page of the catalogue's tree that holds the record of c, which is there. */
PV_PRIVATE int pv__catalog_leaf(pv__txn *txn, const pv__collection *c, uint64_t *out_page,
                                pv_error *err);
/* Add a collection whose parts exist: allocates and sets c->page, writes both halves. The name
 * must be new. PV_ERR_LIMIT when there are PV__COLLECTIONS_MAX, found before any change. */
PV_PRIVATE int pv__catalog_room(pv__txn *txn, pv_error *err);
PV_PRIVATE int pv__catalog_add(pv__txn *txn, pv__collection *c, pv_error *err);
/* Remove the record and the page. */
PV_PRIVATE int pv__catalog_remove(pv__txn *txn, const pv__collection *c, pv_error *err);

/* The page's half of c. */
PV_PRIVATE int pv__catalog_page_read(pv__txn *txn, pv__collection *c, pv_error *err);
PV_PRIVATE int pv__catalog_page_write(pv__txn *txn, const pv__collection *c, pv_error *err);

/* Walk all collections in the order of their names; the tree must not change meanwhile. */
typedef struct pv__catalog_walk {
    pv__txn *txn;
    pv__cursor *cursor; /* NULL: no catalogue yet */
    pv__buf value;
    bool begun;
} pv__catalog_walk;
PV_PRIVATE int pv__catalog_walk_begin(pv__catalog_walk *w, pv__txn *txn, pv_error *err);
/* *out_found false at the end. want_record false: only name and name_len are set. After an error
 * name_len tells whether the walk can go on to the next: the name was found, what follows was not
 * (object_id 0: not even the record). */
PV_PRIVATE int pv__catalog_walk_next(pv__catalog_walk *w, bool want_record, pv__collection *out,
                                     bool *out_found, pv_error *err);
PV_PRIVATE void pv__catalog_walk_end(pv__catalog_walk *w); /* also after a failed begin */

/* The tree, its header and every record by itself; parts of collections are the engine's
 * to check. */
PV_PRIVATE int pv__catalog_check(pv__txn *txn, bool deep, pv__check_fn fn, void *ctx,
                                 uint64_t *io_bad, pv_error *err);

#endif
