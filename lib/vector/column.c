/* SPDX-License-Identifier: Apache-2.0 */
/* column.c - fixed-size rows addressed by slot.
 *
 *      slot s  =  row s % rows_per_page of page s / rows_per_page
 *
 *      page    | front | row 0 | row 1 | ... | row n-1 | rest, zero |     n rows without gaps
 *
 * Pages are 16 to 64 slots of 4 KiB, chosen so that the rest is at most 3 % of the page for every
 * row of up to 64 KiB (docs/format/column.md has the table). Large pages because a scan wants long
 * runs; without gaps because then a page is one array for the distance kernels.
 *
 * Not here: the directory (coldir.c), drop and check (colwalk.c), live slots (slots.c). */
#include "vector/coldir.h"

#define COLUMN_PAGE_SLOTS_MIN 16u
#define COLUMN_WASTE_PERCENT 3u

static uint32_t column_rows_behind(uint32_t front, uint32_t row_size, uint32_t page_slots) {
    return (page_slots * PV__SLOT_SIZE - front) / row_size;
}

static uint32_t column_rows_in(uint32_t row_size, uint32_t page_slots) {
    return column_rows_behind(pv__page_front(page_slots), row_size, page_slots);
}

bool pv__column_layout(uint32_t row_size, uint32_t *out_page_slots, uint32_t *out_rows_per_page) {
    if (row_size == 0 || row_size > PV__ROW_SIZE_MAX) {
        return false;
    }
    /* Waste of n slots is w / n; compare fractions crosswise. */
    uint64_t best_waste = 1;
    uint32_t best = 0;
    for (uint32_t n = COLUMN_PAGE_SLOTS_MIN; n <= PV__PAGE_SLOTS_MAX; n++) {
        const uint32_t rows = column_rows_in(row_size, n);
        const uint64_t size = (uint64_t)n * PV__SLOT_SIZE;
        const uint64_t waste = size - (uint64_t)rows * row_size;
        if (rows > 0 && (best == 0 || waste * best < best_waste * n)) {
            best = n;
            best_waste = waste;
        }
        if (rows > 0 && waste * 100 <= size * COLUMN_WASTE_PERCENT) {
            best = n;
            break; /* good enough: small pages copy less when one row changes */
        }
    }
    *out_page_slots = best;
    *out_rows_per_page = column_rows_in(row_size, best);
    return true;
}

int pv__column_create_part(pv__txn *txn, uint32_t owner, uint32_t row_size, uint32_t page_slots,
                           uint32_t part, uint64_t *out_root, pv_error *err) {
    pv__column shape = {txn, 0, owner, row_size, page_slots, 0, 0, part};
    if (!pv__column_layout(row_size, &shape.page_slots, &shape.rows_per_page)) {
        return pv__err(err, PV_ERR_LIMIT, "rows of %u bytes, at most %u fit into a page",
                       (unsigned)row_size, (unsigned)PV__ROW_SIZE_MAX);
    }
    if (page_slots) {
        if (page_slots > PV__PAGE_SLOTS_MAX || column_rows_in(row_size, page_slots) == 0) {
            return pv__err(err, PV_ERR_LIMIT, "pages of %u slots cannot hold rows of %u bytes",
                           (unsigned)page_slots, (unsigned)row_size);
        }
        shape.page_slots = page_slots;
        shape.rows_per_page = column_rows_in(row_size, page_slots);
    }
    shape.front = pv__page_front(shape.page_slots);
    return pv__coldir_create(txn, &shape, out_root, err);
}

int pv__column_create(pv__txn *txn, uint32_t owner, uint32_t row_size, uint32_t page_slots,
                      uint64_t *out_root, pv_error *err) {
    return pv__column_create_part(txn, owner, row_size, page_slots, 0, out_root, err);
}

int pv__column_open(pv__txn *txn, uint32_t owner, uint64_t root, uint32_t row_size,
                    pv__column *out_column, pv_error *err) {
    const uint8_t *page;
    PV_TRY(pv__page_read(txn, root, PV__PAGE_COLDIR, &page, err));
    pv__column c = {txn, root, owner, row_size, 0, 0, 0, 0};
    c.page_slots = page[PV__COLDIR_PAGE_SLOTS];
    c.part = pv__get16(page + PV__COLDIR_PART);
    c.front = pv__coldir_front(page);
    if (row_size == 0 || c.page_slots == 0 || c.page_slots > PV__PAGE_SLOTS_MAX || c.part > 1 ||
        (c.front != PV__PAGE_HEAD && c.front != pv__page_front(c.page_slots))) {
        return pv__err(err, PV_ERR_CORRUPT, "page %llu: impossible column of object %u",
                       (unsigned long long)root, (unsigned)owner);
    }
    c.rows_per_page = column_rows_behind(c.front, row_size, c.page_slots);
    PV_TRY(pv__coldir_root(&c, &page, err)); /* compares everything else */
    if (c.rows_per_page == 0) {
        return pv__err(err, PV_ERR_CORRUPT, "page %llu: column of object %u holds no rows",
                       (unsigned long long)root, (unsigned)owner);
    }
    *out_column = c;
    return 0;
}

static int column_place(const pv__column *c, uint32_t slot, uint32_t *out_ordinal,
                        size_t *out_offset, pv_error *err) {
    if (slot >= PV__SLOTS_PER_COLLECTION_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "slot %u of object %u is beyond the limit of %u",
                       (unsigned)slot, (unsigned)c->owner, (unsigned)PV__SLOTS_PER_COLLECTION_MAX);
    }
    *out_ordinal = slot / c->rows_per_page;
    *out_offset = c->front + (size_t)(slot % c->rows_per_page) * c->row_size;
    return 0;
}

int pv__column_read(const pv__column *c, uint32_t slot, const uint8_t **out_row, pv_error *err) {
    uint32_t ordinal = 0;
    size_t offset = 0;
    uint64_t id;
    const uint8_t *page;
    PV_TRY(column_place(c, slot, &ordinal, &offset, err));
    PV_TRY(pv__coldir_find(c, ordinal, &id, err));
    if (id == 0) {
        return pv__err(err, PV_ERR_CORRUPT, "object %u has no row for slot %u", (unsigned)c->owner,
                       (unsigned)slot);
    }
    PV_TRY(pv__coldir_rows(c, id, ordinal, &page, err));
    *out_row = page + offset;
    return 0;
}

int pv__column_copy(const pv__column *c, uint32_t slot, uint8_t *to, pv_error *err) {
    uint32_t ordinal = 0;
    size_t offset = 0;
    const uint8_t *row = NULL;
    const size_t scratch_bytes = pv__piece_scratch(c->row_size);
    pv__piece p = {.size = c->row_size, .to = to};
    PV_TRY(column_place(c, slot, &ordinal, &offset, err));
    PV_TRY(pv__coldir_find(c, ordinal, &p.page_id, err));
    uint8_t *scratch = p.page_id != 0 && !pv__page_whereabouts(c->txn, p.page_id)
                           ? pv__alloc(pv__txn_mem(c->txn), scratch_bytes)
                           : NULL;
    if (!scratch) { /* at hand, or it will be said what is wrong */
        PV_TRY(pv__column_read(c, slot, &row, err));
        memcpy(to, row, c->row_size);
        return 0;
    }
    p.offset = (uint32_t)offset;
    int rc = pv__page_pieces(c->txn, PV__PAGE_COLUMN, &p, 1, scratch, err);
    pv__alloc_free(pv__txn_mem(c->txn), scratch, scratch_bytes);
    if (rc == 0 && !pv__coldir_is_rows(c, &p, ordinal)) {
        rc = pv__column_read(c, slot, &row, err);
    }
    return rc;
}

/* The page of an ordinal for writing, made when missing. */
static int column_page_writable(const pv__column *c, uint32_t ordinal, uint8_t **out_page,
                                pv_error *err) {
    uint64_t id;
    const uint8_t *page;
    PV_TRY(pv__coldir_find(c, ordinal, &id, err));
    if (id == 0) {
        return pv__coldir_add(c, ordinal, out_page, err);
    }
    PV_TRY(pv__coldir_rows(c, id, ordinal, &page, err)); /* V1 before anything changes */
    return pv__page_write(c->txn, id, PV__PAGE_COLUMN, out_page, err);
}

int pv__column_write(const pv__column *c, uint32_t slot, uint8_t **out_row, pv_error *err) {
    uint32_t ordinal = 0;
    size_t offset = 0;
    uint8_t *page;
    PV_TRY(column_place(c, slot, &ordinal, &offset, err));
    PV_TRY(column_page_writable(c, ordinal, &page, err));
    *out_row = page + offset;
    return 0;
}

int pv__column_page_read(const pv__column *c, uint32_t ordinal, const uint8_t **out_rows,
                         pv_error *err) {
    uint64_t id;
    const uint8_t *page;
    PV_TRY(pv__coldir_find(c, ordinal, &id, err));
    if (id == 0) {
        *out_rows = NULL;
        return 0;
    }
    PV_TRY(pv__coldir_rows(c, id, ordinal, &page, err));
    *out_rows = page + c->front;
    return 0;
}

int pv__column_page_ids(const pv__column *c, uint32_t ordinal, uint32_t count, uint64_t *out_ids,
                        pv_error *err) {
    while (count > 0) {
        uint32_t got = 0;
        PV_TRY(pv__coldir_run(c, ordinal, count, out_ids, &got, err));
        ordinal += got;
        out_ids += got;
        count -= got;
    }
    return 0;
}

int pv__column_page_at(const pv__column *c, uint64_t page_id, uint32_t ordinal,
                       const uint8_t **out_rows, pv_error *err) {
    const uint8_t *page;
    *out_rows = NULL;
    if (page_id != 0) {
        PV_TRY(pv__coldir_rows(c, page_id, ordinal, &page, err));
        *out_rows = page + c->front;
    }
    return 0;
}

int pv__column_page_write(const pv__column *c, uint32_t ordinal, uint8_t **out_rows,
                          pv_error *err) {
    uint8_t *page;
    if (ordinal > PV__COLDIR_ORDINAL_MAX) {
        return pv__err(err, PV_ERR_LIMIT, "page %u of object %u is beyond the limit",
                       (unsigned)ordinal, (unsigned)c->owner);
    }
    PV_TRY(column_page_writable(c, ordinal, &page, err));
    *out_rows = page + c->front;
    return 0;
}

int pv__column_page_free(const pv__column *c, uint32_t ordinal, pv_error *err) {
    return pv__coldir_remove(c, ordinal, err);
}

int pv__column_page_count(const pv__column *c, uint32_t *out_count, pv_error *err) {
    const uint8_t *root;
    PV_TRY(pv__coldir_root(c, &root, err));
    *out_count = pv__get32(root + PV__COLDIR_PAGE_COUNT);
    return 0;
}

#undef COLUMN_PAGE_SLOTS_MIN
#undef COLUMN_WASTE_PERCENT
