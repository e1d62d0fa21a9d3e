/* SPDX-License-Identifier: Apache-2.0 */
/* graves.c - graphs that nobody uses any more, until all their pages have been given back.
 *
 *     key 02 | first object id, 4 bytes big-endian  ->   0 u32 version 1
 *                                                        4 u32 object ids
 *                                                        8 u64 page of the graph, or 0
 *                                                       16 u64 at
 *                                                       24 u32 metric     28 u32 dims
 *
 * They stand in the catalogue tree, apart from the collection, so that they outlive it. */
#include "base/bytes.h"
#include "catalog/catalog.h"

#define GRAVE_KEY 0x02u
#define GRAVE_KEY_SIZE 5u
#define GRAVE_VERSION 1u
#define GRAVE_SIZE 32u

static pv__bytes grave_key(uint8_t buf[GRAVE_KEY_SIZE], uint32_t owner) {
    buf[0] = GRAVE_KEY;
    pv__put32be(buf + 1, owner);
    return (pv__bytes){buf, GRAVE_KEY_SIZE};
}

int pv__grave_put(pv__txn *txn, const pv__grave *grave, pv_error *err) {
    uint8_t key[GRAVE_KEY_SIZE], value[GRAVE_SIZE];
    pv__tree tree;
    PV_TRY(pv__catalog_tree(txn, &tree, err));
    pv__put32(value, GRAVE_VERSION);
    pv__put32(value + 4, grave->owners);
    pv__put64(value + 8, grave->page);
    pv__put64(value + 16, grave->at);
    pv__put32(value + 24, grave->metric | (grave->type == PV_TYPE_F32 ? 0 : grave->type << 8));
    pv__put32(value + 28, grave->dims);
    return pv__tree_put(&tree, grave_key(key, grave->owner), (pv__bytes){value, sizeof(value)},
                        NULL, err);
}

int pv__grave_remove(pv__txn *txn, const pv__grave *grave, pv_error *err) {
    uint8_t key[GRAVE_KEY_SIZE];
    bool found = false;
    pv__tree tree;
    PV_TRY(pv__catalog_tree(txn, &tree, err));
    return pv__tree_del(&tree, grave_key(key, grave->owner), &found, err);
}

static int grave_decode(pv__bytes key, const pv__buf *value, pv__grave *out, pv_error *err) {
    if (key.size != GRAVE_KEY_SIZE || value->len != GRAVE_SIZE ||
        pv__get32(value->data) != GRAVE_VERSION) {
        return pv__err(err, PV_ERR_CORRUPT, "the catalogue names pages to be freed that cannot be");
    }
    out->owner = pv__get32be(key.data + 1);
    out->owners = pv__get32(value->data + 4);
    out->page = pv__get64(value->data + 8);
    out->at = pv__get64(value->data + 16);
    out->metric = pv__get32(value->data + 24) & 0xFFu;
    out->type = pv__get32(value->data + 24) >> 8;
    out->type = out->type ? out->type : PV_TYPE_F32;
    out->dims = pv__get32(value->data + 28);
    return 0;
}

int pv__grave_first(pv__txn *txn, pv__grave *out, bool *out_found, pv_error *err) {
    static const uint8_t first[1] = {GRAVE_KEY};
    pv__cursor *cursor = NULL;
    pv__tree tree;
    pv__buf value;
    bool valid = false;
    *out_found = false;
    PV_TRY(pv__catalog_tree(txn, &tree, err));
    if (tree.root == 0) {
        return 0;
    }
    pv__buf_init(&value, pv__txn_mem(txn));
    int rc = pv__cursor_new(&tree, &cursor, err);
    rc = rc == 0 ? pv__cursor_seek(cursor, (pv__bytes){first, 1}, &valid, err) : rc;
    if (rc == 0 && valid && pv__cursor_key(cursor).data[0] == GRAVE_KEY) {
        rc = pv__cursor_value(cursor, &value, err);
        rc = rc == 0 ? grave_decode(pv__cursor_key(cursor), &value, out, err) : rc;
        *out_found = rc == 0;
    }
    pv__cursor_free(cursor);
    pv__buf_done(&value);
    return rc;
}

#undef GRAVE_KEY
#undef GRAVE_KEY_SIZE
#undef GRAVE_VERSION
#undef GRAVE_SIZE
