/* SPDX-License-Identifier: Apache-2.0 */
/* flat.c - the walk over arrays: row i of a column begins at base + i * row_size. */
#include "bench.h"
#include "vector/colview.h"

#define FLAT_COLUMNS 16u

static struct {
    uint64_t root;
    uint8_t *rows;
} flat_columns[FLAT_COLUMNS];
static size_t flat_count;

/* One base for all. */
static int flat_open(pv__colview *v, const pv__column *c, uint32_t slots, const pv__sights *sights,
                     pv__mem *mem, pv_error *err) {
    (void)slots;
    (void)sights;
    (void)mem;
    (void)err;
    v->c = *c;
    v->base = NULL;
    for (size_t i = 0; i < flat_count; i++) {
        if (flat_columns[i].root == c->root) {
            v->base = (uintptr_t *)(void *)flat_columns[i].rows;
        }
    }
    return 0;
}

/* The walker is freed by the library. */
static void flat_done(pv__colview *v, pv__mem *mem) {
    (void)v;
    (void)mem;
}

static inline const uint8_t *flat_at(const pv__colview *v, uint32_t slot) {
    return (const uint8_t *)(const void *)v->base + (size_t)slot * v->c.row_size;
}

static inline int flat_row(pv__colview *v, uint32_t slot, const uint8_t **out_row, pv_error *err) {
    (void)err;
    *out_row = flat_at(v, slot);
    return 0;
}

static int flat_rows(pv__colview *v, const uint32_t *slots, size_t n, const uint8_t **out_rows,
                     pv_error *err) {
    const size_t size = v->c.row_size;
    (void)err;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = flat_at(v, slots[i]);
        for (size_t at = 0; at < size; at += 64) {
            PV_PREFETCH(row + at);
        }
        PV_PREFETCH(row + size - 1);
        out_rows[i] = row;
    }
    return 0;
}

static inline int flat_ahead(pv__colview *v, const uint32_t *slots, size_t n, pv_error *err) {
    (void)v, (void)slots, (void)n, (void)err;
    return 0;
}

#define pv__colview_open flat_open
#define pv__colview_done flat_done
#define pv__colview_row flat_row
#define pv__colview_rows flat_rows
#define pv__colview_ahead flat_ahead
#define WALK_PREFIX flat__
#include "walk/rename.h"

#include "walk/walk.h"

#include "ann/walker.c"

#include "ann/walk.c"

#include "ann/search.c"

void walk_flat_add(const pv__column *c, uint32_t rows, pv_error *err) {
    uint8_t *out = bench_alloc_huge((size_t)rows * c->row_size + 64);
    for (uint32_t i = 0; i < rows; i++) {
        const uint8_t *row;
        bench_check(pv__column_read(c, i, &row, err), err, "row");
        memcpy(out + (size_t)i * c->row_size, row, c->row_size);
        if (i % 4096 == 0) {
            bench_check(pv__txn_pause(c->txn, err), err, "pause");
        }
    }
    if (flat_count == FLAT_COLUMNS) {
        bench_die("too many columns");
    }
    flat_columns[flat_count].root = c->root;
    flat_columns[flat_count++].rows = out;
}

const walk_kind walk_flat = {"flat array", pv__links_search, pv__graph_lower, pv__graph_vectors};
