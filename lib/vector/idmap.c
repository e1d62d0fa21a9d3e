/* SPDX-License-Identifier: Apache-2.0 */
/* idmap.c - record key -> slot: a B+tree whose values are 4 bytes, the slot, little-endian. The way
 * back, slot -> key, is the document's.
 *
 * Not here: what keys look like above their bytes (the engine's business). */
#include "vector/vector.h"

#define IDMAP_VALUE_BYTES 4u

static int idmap_check_key(pv__bytes key, pv_error *err) {
    if (key.size == 0) {
        return pv__err(err, PV_ERR_MISUSE, "an id of 0 bytes");
    }
    if (key.size > PV__KEY_BYTES_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "an id of %zu bytes, at most %u are allowed", key.size,
                       (unsigned)PV__KEY_BYTES_MAX);
    }
    return 0;
}

int pv__idmap_create(pv__txn *txn, uint32_t owner, uint64_t *out_root, pv_error *err) {
    return pv__tree_create(txn, owner, out_root, err);
}

void pv__idmap_init(pv__idmap *m, pv__txn *txn, uint32_t owner, uint64_t root) {
    m->tree.txn = txn;
    m->tree.root = root;
    m->tree.owner = owner;
    m->near = NULL;
    pv__buf_init(&m->value, pv__txn_mem(txn));
}

void pv__idmap_done(pv__idmap *m) { pv__buf_done(&m->value); }

/* The slot in m->value. */
static int idmap_slot(const pv__idmap *m, uint32_t *out_slot, pv_error *err) {
    PV_TRY(pv__buf_check(&m->value, err));
    if (m->value.len != IDMAP_VALUE_BYTES ||
        pv__get32(m->value.data) >= PV__SLOTS_PER_COLLECTION_MAX) {
        return pv__err(err, PV_ERR_CORRUPT, "id map of object %u holds no slot",
                       (unsigned)m->tree.owner);
    }
    *out_slot = pv__get32(m->value.data);
    return 0;
}

int pv__idmap_get(pv__idmap *m, pv__bytes key, uint32_t *out_slot, bool *out_found, pv_error *err) {
    bool found;
    PV_TRY(idmap_check_key(key, err));
    pv__buf_clear(&m->value);
    PV_TRY(pv__tree_get_near(&m->tree, m->near, key, &m->value, &found, err));
    if (found) {
        PV_TRY(idmap_slot(m, out_slot, err));
    }
    *out_found = found;
    return 0;
}

int pv__idmap_put(pv__idmap *m, pv__bytes key, uint32_t slot, bool *out_replaced, pv_error *err) {
    uint8_t value[IDMAP_VALUE_BYTES];
    PV_TRY(idmap_check_key(key, err));
    PV_ASSERT(slot < PV__SLOTS_PER_COLLECTION_MAX);
    pv__put32(value, slot);
    const pv__bytes bytes = {value, sizeof value};
    return pv__tree_put_near(&m->tree, m->near, key, bytes, out_replaced, err);
}

int pv__idmap_put_run(pv__idmap *m, const pv__bytes *keys, const uint32_t *slots, size_t n,
                      size_t *out_replaced, pv_error *err) {
    uint8_t bytes[PV__IDMAP_RUN][IDMAP_VALUE_BYTES];
    pv__bytes values[PV__IDMAP_RUN];
    pv__finger here;
    here.depth = 0;
    PV_ASSERT(n <= PV__IDMAP_RUN);
    for (size_t i = 0; i < n; i++) {
        PV_TRY(idmap_check_key(keys[i], err));
        PV_ASSERT(slots[i] < PV__SLOTS_PER_COLLECTION_MAX);
        pv__put32(bytes[i], slots[i]);
        values[i] = (pv__bytes){bytes[i], IDMAP_VALUE_BYTES};
    }
    return pv__tree_put_run(&m->tree, m->near ? m->near : &here, keys, values, n, out_replaced,
                            err);
}

int pv__idmap_del(pv__idmap *m, pv__bytes key, bool *out_found, pv_error *err) {
    PV_TRY(idmap_check_key(key, err));
    return pv__tree_del(&m->tree, key, out_found, err);
}

int pv__idmap_cursor_slot(pv__idmap *m, pv__cursor *cursor, uint32_t *out_slot, pv_error *err) {
    pv__buf_clear(&m->value);
    PV_TRY(pv__cursor_value(cursor, &m->value, err));
    return idmap_slot(m, out_slot, err);
}

int pv__idmap_drop(pv__idmap *m, pv_error *err) { return pv__tree_drop(&m->tree, err); }

#undef IDMAP_VALUE_BYTES
