/* SPDX-License-Identifier: Apache-2.0 */
/* catalog.c - the catalogue tree and the pages of collections.
 *
 * Invariants
 *   C1  The header counts the records: pv__catalog_add and _remove change both or neither.
 *   C2  Object ids grow: root 1 of the store is above every id in use, so that an id names one
 *       object for ever, in messages, in salvage and in copies of old pages.
 *   C3  The page of a collection belongs to its object id, and only to it.
 * A failure half-way dooms the transaction: the tree and page calls do it themselves. */
#include "catalog/catalog.h"
#include "base/bytes.h"

#define CATALOG_ROOT_TREE 0u /* numbers of the store's roots */
#define CATALOG_ROOT_NEXT_ID 1u

#define CATALOG_KEY_HEADER 0x00u
#define CATALOG_KEY_COLLECTION 0x01u
#define CATALOG_KEY_MAX (1u + PV__NAME_BYTES_MAX)

/* Header: u32 version, u32 collections, u64 changes, u64 flags. */
#define CATALOG_HEADER_VERSION 1u
#define CATALOG_HEADER_SIZE 24u

/* Payload of a PV__PAGE_COLLECTION. */
#define CATALOG_PAGE_VERSION 1u
#define CATALOG_PAGE_AT_VERSION (PV__PAGE_HEAD + 0u)
#define CATALOG_PAGE_AT_FLAGS (PV__PAGE_HEAD + 4u)
#define CATALOG_PAGE_AT_NEXT_ID (PV__PAGE_HEAD + 8u)
#define CATALOG_PAGE_AT_GENERATION (PV__PAGE_HEAD + 16u)
#define CATALOG_PAGE_AT_META (PV__PAGE_HEAD + 32u)
#define CATALOG_PAGE_AT_GRAPH (PV__PAGE_HEAD + 64u) /* u64 page, u32 owner, u32 lost */
#define CATALOG_PAGE_AT_NEXT (PV__PAGE_HEAD + 80u)  /* u64 page, u32 owner */
#define CATALOG_PAGE_FLAG_GRAPHS 1u                 /* those two are not all zero */

typedef struct catalog_header {
    uint32_t collections;
    uint64_t changes;
} catalog_header;

static pv__bytes catalog_key(uint8_t buf[CATALOG_KEY_MAX], const char *name, size_t len) {
    pv__bytes key = {buf, 1 + len};
    buf[0] = CATALOG_KEY_COLLECTION;
    memcpy(buf + 1, name, len);
    return key;
}

int pv__catalog_tree(pv__txn *txn, pv__tree *out, pv_error *err) {
    uint64_t root = 0;
    PV_TRY(pv__store_root_get(txn, CATALOG_ROOT_TREE, &root, err));
    *out = (pv__tree){txn, root, PV__OBJECT_CATALOG};
    return 0;
}

static int catalog_header_read(pv__tree *tree, catalog_header *out, pv_error *err) {
    static const uint8_t key[1] = {CATALOG_KEY_HEADER};
    pv__buf value;
    bool found = false;
    pv__buf_init(&value, pv__txn_mem(tree->txn));
    int rc = pv__tree_get(tree, (pv__bytes){key, 1}, &value, &found, err);
    if (rc == 0) {
        pv__reader r = pv__reader_of(value.data, found ? value.len : 0);
        uint32_t version = pv__reader_u32(&r);
        out->collections = pv__reader_u32(&r);
        out->changes = pv__reader_u64(&r);
        uint64_t flags = pv__reader_u64(&r);
        if (r.bad || version == 0 || out->collections > PV__COLLECTIONS_MAX) {
            rc = pv__err(err, PV_ERR_CORRUPT, "the header of the catalogue is damaged");
        } else if (version != CATALOG_HEADER_VERSION || flags != 0 ||
                   value.len != CATALOG_HEADER_SIZE) {
            rc = pv__err(err, PV_ERR_FORMAT,
                         "the catalogue has version %u, this library reads version %u",
                         (unsigned)version, CATALOG_HEADER_VERSION);
        }
    }
    pv__buf_done(&value);
    return rc;
}

static int catalog_header_write(pv__tree *tree, const catalog_header *h, pv_error *err) {
    static const uint8_t key[1] = {CATALOG_KEY_HEADER};
    uint8_t value[CATALOG_HEADER_SIZE] = {0};
    pv__put32(value, CATALOG_HEADER_VERSION);
    pv__put32(value + 4, h->collections);
    pv__put64(value + 8, h->changes);
    return pv__tree_put(tree, (pv__bytes){key, 1}, (pv__bytes){value, sizeof(value)}, NULL, err);
}

/* The tree, made on its first use. */
static int catalog_tree_for_write(pv__txn *txn, pv__tree *out, pv_error *err) {
    PV_TRY(pv__catalog_tree(txn, out, err));
    if (out->root == 0) {
        const catalog_header empty = {0, 0};
        PV_TRY(pv__tree_create(txn, PV__OBJECT_CATALOG, &out->root, err));
        PV_TRY(pv__store_root_set(txn, CATALOG_ROOT_TREE, out->root, err));
        PV_TRY(catalog_header_write(out, &empty, err));
    }
    return 0;
}

int pv__catalog_ids_take(pv__txn *txn, uint32_t count, uint32_t *out_first, pv_error *err) {
    uint64_t next = 0;
    PV_TRY(pv__store_root_get(txn, CATALOG_ROOT_NEXT_ID, &next, err));
    if (next == 0) {
        next = PV__OBJECT_FIRST;
    }
    if (next < PV__OBJECT_FIRST) {
        return pv__err(err, PV_ERR_CORRUPT, "the next object id is %llu", (unsigned long long)next);
    }
    if (next > UINT32_MAX - (uint64_t)count) {
        return pv__err(err, PV_ERR_LIMIT, "all object ids of this database are used");
    }
    PV_TRY(pv__store_root_set(txn, CATALOG_ROOT_NEXT_ID, next + count, err));
    *out_first = (uint32_t)next;
    return 0;
}

static int catalog_page_check(const pv__collection *c, const uint8_t *page, pv_error *err) {
    uint32_t version = pv__get32(page + CATALOG_PAGE_AT_VERSION);
    if (pv__page_owner(page) != c->object_id || version == 0) {
        return pv__err(err, PV_ERR_CORRUPT,
                       "page %llu is not the page of collection '%s' (object %u)",
                       (unsigned long long)c->page, c->name, (unsigned)c->object_id);
    }
    const uint32_t flags = pv__get32(page + CATALOG_PAGE_AT_FLAGS);
    if (version != CATALOG_PAGE_VERSION || (flags & ~CATALOG_PAGE_FLAG_GRAPHS) != 0) {
        return pv__err(err, PV_ERR_FORMAT,
                       "collection '%s' needs a newer version of the library (page version %u)",
                       c->name, (unsigned)version);
    }
    return 0;
}

/* Until the first graph has been replaced it is the one of the record. */
static void catalog_page_graphs(pv__collection *c, const uint8_t *page) {
    c->graph = (pv__graph_ref){c->field.graph, c->object_id + PV__OBJECT_GRAPH};
    c->next = (pv__graph_ref){0, 0};
    c->graph_lost = false;
    if (c->field.graph != 0 && pv__get32(page + CATALOG_PAGE_AT_FLAGS) != 0) {
        c->graph.page = pv__get64(page + CATALOG_PAGE_AT_GRAPH);
        c->graph.owner = pv__get32(page + CATALOG_PAGE_AT_GRAPH + 8);
        c->graph_lost = pv__get32(page + CATALOG_PAGE_AT_GRAPH + 12) != 0;
        c->next.page = pv__get64(page + CATALOG_PAGE_AT_NEXT);
        c->next.owner = pv__get32(page + CATALOG_PAGE_AT_NEXT + 8);
    }
}

int pv__catalog_page_read(pv__txn *txn, pv__collection *c, pv_error *err) {
    const uint8_t *page = NULL;
    PV_TRY(pv__page_read(txn, c->page, PV__PAGE_COLLECTION, &page, err));
    PV_TRY(catalog_page_check(c, page, err));
    c->next_id = pv__get64(page + CATALOG_PAGE_AT_NEXT_ID);
    c->generation = pv__get64(page + CATALOG_PAGE_AT_GENERATION);
    memcpy(c->meta, page + CATALOG_PAGE_AT_META, sizeof(c->meta));
    catalog_page_graphs(c, page);
    return 0;
}

static void catalog_page_fill(const pv__collection *c, uint8_t *page) {
    pv__put32(page + CATALOG_PAGE_AT_VERSION, CATALOG_PAGE_VERSION);
    pv__put64(page + CATALOG_PAGE_AT_NEXT_ID, c->next_id);
    pv__put64(page + CATALOG_PAGE_AT_GENERATION, c->generation);
    memcpy(page + CATALOG_PAGE_AT_META, c->meta, sizeof(c->meta));
    if (c->graph.page != c->field.graph || c->next.page != 0 || c->graph_lost ||
        pv__get32(page + CATALOG_PAGE_AT_FLAGS) != 0) {
        pv__put32(page + CATALOG_PAGE_AT_FLAGS, CATALOG_PAGE_FLAG_GRAPHS);
        pv__put64(page + CATALOG_PAGE_AT_GRAPH, c->graph.page);
        pv__put32(page + CATALOG_PAGE_AT_GRAPH + 8, c->graph.owner);
        pv__put32(page + CATALOG_PAGE_AT_GRAPH + 12, c->graph_lost ? 1 : 0);
        pv__put64(page + CATALOG_PAGE_AT_NEXT, c->next.page);
        pv__put32(page + CATALOG_PAGE_AT_NEXT + 8, c->next.owner);
    }
}

int pv__catalog_page_write(pv__txn *txn, const pv__collection *c, pv_error *err) {
    uint8_t *page = NULL;
    PV_TRY(pv__page_write(txn, c->page, PV__PAGE_COLLECTION, &page, err));
    PV_TRY(catalog_page_check(c, page, err));
    catalog_page_fill(c, page);
    return 0;
}

int pv__catalog_find(pv__txn *txn, const char *name, size_t name_len, pv__collection *out,
                     bool *out_found, pv_error *err) {
    uint8_t key[CATALOG_KEY_MAX];
    pv__tree tree;
    pv__buf value;
    *out_found = false;
    memset(out, 0, sizeof(*out));
    if (name_len == 0 || name_len > PV__NAME_BYTES_MAX) {
        return 0;
    }
    memcpy(out->name, name, name_len);
    out->name_len = (uint32_t)name_len;
    PV_TRY(pv__catalog_tree(txn, &tree, err));
    if (tree.root == 0) {
        return 0;
    }
    pv__buf_init(&value, pv__txn_mem(txn));
    int rc = pv__tree_get(&tree, catalog_key(key, name, name_len), &value, out_found, err);
    if (rc == 0 && *out_found) {
        rc = pv__catalog_record_decode((pv__bytes){value.data, value.len}, out, err);
        if (rc == 0) {
            rc = pv__catalog_page_read(txn, out, err);
        }
    }
    pv__buf_done(&value);
    if (rc != 0) {
        *out_found = false;
    }
    return rc;
}

int pv__catalog_leaf(pv__txn *txn, const pv__collection *c, uint64_t *out_page, pv_error *err) {
    uint8_t key[CATALOG_KEY_MAX];
    pv__tree tree;
    pv__finger finger;
    bool found = false;
    finger.depth = 0;
    PV_TRY(pv__catalog_tree(txn, &tree, err));
    PV_TRY(pv__tree_get_near(&tree, &finger, catalog_key(key, c->name, c->name_len), NULL, &found,
                             err));
    PV_ASSERT(found && finger.depth > 0);
    *out_page = finger.path[finger.depth - 1].page_id;
    return 0;
}

int pv__catalog_room(pv__txn *txn, pv_error *err) {
    catalog_header h = {0, 0};
    pv__tree tree;
    PV_TRY(pv__catalog_tree(txn, &tree, err));
    if (tree.root != 0) {
        PV_TRY(catalog_header_read(&tree, &h, err));
    }
    if (h.collections >= PV__COLLECTIONS_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "the database has %u collections, no more are allowed",
                       (unsigned)PV__COLLECTIONS_MAX);
    }
    return 0;
}

/* C1: `by` is +1 or -1. */
static int catalog_count_change(pv__tree *tree, int by, pv_error *err) {
    catalog_header h = {0, 0};
    PV_TRY(catalog_header_read(tree, &h, err));
    if (by < 0 && h.collections == 0) {
        return pv__err(err, PV_ERR_CORRUPT, "the catalogue counts fewer collections than it has");
    }
    h.collections = by < 0 ? h.collections - 1 : h.collections + 1;
    h.changes++;
    return catalog_header_write(tree, &h, err);
}

int pv__catalog_add(pv__txn *txn, pv__collection *c, pv_error *err) {
    uint8_t key[CATALOG_KEY_MAX];
    uint8_t *page = NULL;
    bool replaced = false;
    pv__tree tree;
    pv__buf value;
    PV_TRY(catalog_tree_for_write(txn, &tree, err));
    PV_TRY(catalog_count_change(&tree, +1, err));
    PV_TRY(pv__page_new(txn, PV__PAGE_COLLECTION, 1, c->object_id, 0, &c->page, &page, err));
    catalog_page_graphs(c, page); /* an empty page: those of the record */
    catalog_page_fill(c, page);
    pv__buf_init(&value, pv__txn_mem(txn));
    pv__catalog_record_encode(c, &value);
    int rc = pv__buf_check(&value, err);
    if (rc == 0) {
        rc = pv__tree_put(&tree, catalog_key(key, c->name, c->name_len),
                          (pv__bytes){value.data, value.len}, &replaced, err);
    }
    pv__buf_done(&value);
    if (rc == 0 && replaced) {
        rc = pv__err(err, PV_ERR_INTERNAL, "collection '%s' was added twice", c->name);
    }
    if (rc != 0) {
        pv__txn_doom(txn, rc);
    }
    return rc;
}

int pv__catalog_remove(pv__txn *txn, const pv__collection *c, pv_error *err) {
    uint8_t key[CATALOG_KEY_MAX];
    bool found = false;
    pv__tree tree;
    PV_TRY(pv__catalog_tree(txn, &tree, err));
    PV_TRY(pv__tree_del(&tree, catalog_key(key, c->name, c->name_len), &found, err));
    if (!found) {
        return pv__err(err, PV_ERR_INTERNAL, "collection '%s' was removed twice", c->name);
    }
    PV_TRY(catalog_count_change(&tree, -1, err));
    return pv__page_free(txn, c->page, err);
}

int pv__catalog_walk_begin(pv__catalog_walk *w, pv__txn *txn, pv_error *err) {
    pv__tree tree;
    *w = (pv__catalog_walk){.txn = txn};
    pv__buf_init(&w->value, pv__txn_mem(txn));
    PV_TRY(pv__catalog_tree(txn, &tree, err));
    return tree.root == 0 ? 0 : pv__cursor_new(&tree, &w->cursor, err);
}

int pv__catalog_walk_next(pv__catalog_walk *w, bool want_record, pv__collection *out,
                          bool *out_found, pv_error *err) {
    static const uint8_t first[1] = {CATALOG_KEY_COLLECTION};
    bool valid = false;
    *out_found = false;
    memset(out, 0, sizeof(*out));
    if (!w->cursor) {
        return 0;
    }
    PV_TRY(w->begun ? pv__cursor_next(w->cursor, &valid, err)
                    : pv__cursor_seek(w->cursor, (pv__bytes){first, 1}, &valid, err));
    w->begun = true;
    if (!valid) {
        return 0;
    }
    pv__bytes key = pv__cursor_key(w->cursor);
    if (key.size == 0 || key.data[0] != CATALOG_KEY_COLLECTION) {
        return 0; /* kinds of records that are sorted behind */
    }
    if (pv__catalog_name_check((const char *)key.data + 1, key.size - 1, NULL) != 0) {
        return pv__err(err, PV_ERR_CORRUPT, "the catalogue holds a name that cannot be one");
    }
    memcpy(out->name, key.data + 1, key.size - 1);
    out->name_len = (uint32_t)(key.size - 1);
    if (want_record) {
        pv__buf_clear(&w->value);
        PV_TRY(pv__cursor_value(w->cursor, &w->value, err));
        PV_TRY(pv__catalog_record_decode((pv__bytes){w->value.data, w->value.len}, out, err));
        PV_TRY(pv__catalog_page_read(w->txn, out, err));
    }
    *out_found = true;
    return 0;
}

void pv__catalog_walk_end(pv__catalog_walk *w) {
    pv__cursor_free(w->cursor);
    pv__buf_done(&w->value);
    w->cursor = NULL;
}

/* A finding: counted, and told to who wants to hear it. */
static void catalog_finding(pv__check_fn fn, void *ctx, uint64_t *io_bad, uint32_t owner,
                            const char *what) {
    (*io_bad)++;
    if (fn) {
        fn(ctx, 0, owner, what);
    }
}

int pv__catalog_check(pv__txn *txn, bool deep, pv__check_fn fn, void *ctx, uint64_t *io_bad,
                      pv_error *err) {
    catalog_header h = {0, 0};
    uint64_t next_id = 0, entries = 0, records = 0, bad_before = *io_bad;
    pv__tree tree;
    PV_TRY(pv__catalog_tree(txn, &tree, err));
    if (tree.root == 0) {
        return 0;
    }
    if (deep) {
        PV_TRY(pv__tree_check(&tree, fn, ctx, io_bad, &entries, err));
        if (*io_bad != bad_before) {
            return 0; /* the walk below would follow what was just found damaged */
        }
    }
    PV_TRY(pv__store_root_get(txn, CATALOG_ROOT_NEXT_ID, &next_id, err));
    pv_error found_err = PV_ERROR_INIT;
    int rc = catalog_header_read(&tree, &h, &found_err);
    pv__catalog_walk walk;
    bool found = true;
    if (rc == 0) {
        rc = pv__catalog_walk_begin(&walk, txn, &found_err);
        while (rc == 0) {
            pv__collection c;
            rc = pv__catalog_walk_next(&walk, true, &c, &found, &found_err);
            if ((rc == PV_ERR_CORRUPT || rc == PV_ERR_FORMAT) && c.name_len > 0) {
                catalog_finding(fn, ctx, io_bad, c.object_id ? c.object_id : PV__OBJECT_CATALOG,
                                found_err.message);
                records++;
                rc = 0;
                continue;
            }
            if (rc != 0 || !found) {
                break;
            }
            records++;
            if (c.object_id + pv__collection_object_ids(&c) > next_id) { /* C2 */
                catalog_finding(fn, ctx, io_bad, PV__OBJECT_CATALOG,
                                "an object id is in use that was never given out");
            }
        }
        pv__catalog_walk_end(&walk);
    }
    if (rc == PV_ERR_CORRUPT || rc == PV_ERR_FORMAT) {
        catalog_finding(fn, ctx, io_bad, PV__OBJECT_CATALOG, found_err.message);
        return 0;
    }
    if (rc != 0) {
        if (err) {
            *err = found_err;
        }
        return rc;
    }
    if (records != h.collections) { /* C1 */
        catalog_finding(fn, ctx, io_bad, PV__OBJECT_CATALOG,
                        "the catalogue's count of collections is wrong");
    }
    return 0;
}

#undef CATALOG_ROOT_TREE
#undef CATALOG_ROOT_NEXT_ID
#undef CATALOG_KEY_HEADER
#undef CATALOG_KEY_COLLECTION
#undef CATALOG_KEY_MAX
#undef CATALOG_HEADER_VERSION
#undef CATALOG_HEADER_SIZE
#undef CATALOG_PAGE_VERSION
#undef CATALOG_PAGE_AT_VERSION
#undef CATALOG_PAGE_AT_FLAGS
#undef CATALOG_PAGE_AT_NEXT_ID
#undef CATALOG_PAGE_AT_GENERATION
#undef CATALOG_PAGE_AT_META
#undef CATALOG_PAGE_AT_GRAPH
#undef CATALOG_PAGE_AT_NEXT
#undef CATALOG_PAGE_FLAG_GRAPHS
