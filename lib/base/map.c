/* SPDX-License-Identifier: Apache-2.0 */
/* map.c - u64 to u64, linear probing over two parallel arrays (keys are scanned, values touched
 * once). A key of all ones marks a free place. Deleting shifts the rest of the run back, so that
 * there are no tombstones and a map that lives long does not slow down. At most 3/4 full. */
#include "base/map.h"

#include "base/checksum.h"

#define MAP_FREE UINT64_MAX
#define MAP_CAP_MIN ((size_t)16)

void pv__map_init(pv__map *m, pv__mem *mem) {
    m->mem = mem;
    m->keys = NULL;
    m->values = NULL;
    m->count = 0;
    m->cap = 0;
}

void pv__map_done(pv__map *m) {
    pv__alloc_free(m->mem, m->keys, m->cap * sizeof *m->keys);
    pv__alloc_free(m->mem, m->values, m->cap * sizeof *m->values);
    pv__map_init(m, m->mem);
}

void pv__map_clear(pv__map *m) {
    if (m->count > 0) {
        memset(m->keys, 0xFF, m->cap * sizeof *m->keys);
        m->count = 0;
    }
}

/* Where key is, or the free place where it would go. cap > 0. */
static size_t map_find(const uint64_t *keys, size_t cap, uint64_t key) {
    size_t i = (size_t)pv__mix64(key) & (cap - 1);
    while (keys[i] != key && keys[i] != MAP_FREE) {
        i = (i + 1) & (cap - 1);
    }
    return i;
}

bool pv__map_get(const pv__map *m, uint64_t key, uint64_t *out) {
    if (m->count == 0 || key == MAP_FREE) {
        return false;
    }
    const size_t i = map_find(m->keys, m->cap, key);
    if (m->keys[i] != key) {
        return false;
    }
    if (out) {
        *out = m->values[i];
    }
    return true;
}

static int map_grow(pv__map *m, pv_error *err) {
    if (m->cap > SIZE_MAX / 2 / sizeof(uint64_t)) {
        return pv__err_nomem(err, SIZE_MAX);
    }
    const size_t cap = m->cap ? m->cap * 2 : MAP_CAP_MIN;
    uint64_t *keys = pv__alloc_array(m->mem, cap, sizeof *keys);
    uint64_t *values = pv__alloc_array(m->mem, cap, sizeof *values);
    if (!keys || !values) {
        pv__alloc_free(m->mem, keys, cap * sizeof *keys);
        pv__alloc_free(m->mem, values, cap * sizeof *values);
        return pv__err_nomem(err, cap * sizeof *keys);
    }
    memset(keys, 0xFF, cap * sizeof *keys);
    for (size_t i = 0; i < m->cap; i++) {
        if (m->keys[i] != MAP_FREE) {
            const size_t to = map_find(keys, cap, m->keys[i]);
            keys[to] = m->keys[i];
            values[to] = m->values[i];
        }
    }
    pv__alloc_free(m->mem, m->keys, m->cap * sizeof *keys);
    pv__alloc_free(m->mem, m->values, m->cap * sizeof *values);
    m->keys = keys;
    m->values = values;
    m->cap = cap;
    return 0;
}

int pv__map_put(pv__map *m, uint64_t key, uint64_t value, pv_error *err) {
    PV_ASSERT(key != MAP_FREE);
    if (m->count > 0) {
        const size_t i = map_find(m->keys, m->cap, key);
        if (m->keys[i] == key) {
            m->values[i] = value;
            return 0;
        }
    }
    if (m->count >= m->cap / 4 * 3) {
        PV_TRY(map_grow(m, err));
    }
    const size_t i = map_find(m->keys, m->cap, key);
    m->keys[i] = key;
    m->values[i] = value;
    m->count++;
    return 0;
}

bool pv__map_del(pv__map *m, uint64_t key) {
    if (m->count == 0 || key == MAP_FREE) {
        return false;
    }
    const size_t mask = m->cap - 1;
    size_t hole = map_find(m->keys, m->cap, key);
    if (m->keys[hole] != key) {
        return false;
    }
    for (size_t i = (hole + 1) & mask; m->keys[i] != MAP_FREE; i = (i + 1) & mask) {
        const size_t home = (size_t)pv__mix64(m->keys[i]) & mask;
        /* The entry may move to the hole unless its home lies cyclically in (hole, i]. */
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->keys[hole] = m->keys[i];
            m->values[hole] = m->values[i];
            hole = i;
        }
    }
    m->keys[hole] = MAP_FREE;
    m->count--;
    return true;
}

bool pv__map_next(const pv__map *m, size_t *pos, uint64_t *key, uint64_t *value) {
    for (size_t i = *pos; i < m->cap; i++) {
        if (m->keys[i] != MAP_FREE) {
            *key = m->keys[i];
            *value = m->values[i];
            *pos = i + 1;
            return true;
        }
    }
    *pos = m->cap;
    return false;
}

#undef MAP_FREE
#undef MAP_CAP_MIN
