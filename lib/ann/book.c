/* SPDX-License-Identifier: Apache-2.0 */
/* book.c - what codes learn from data: the mean that rows are coded about.
 *
 *      vectors --sample--> pv__code_train --> bytes --> rows of the column of books, a page each
 *                                                          '--> memory of a walker, by hash
 *
 * A walker keeps the bytes between walks. It knows them by their hash, as it is in the graph page,
 * so that neither a rollback nor a snapshot nor another collection can give it wrong ones. */
#include "ann/internal.h"

#define BOOK_SAMPLE 4096u             /* vectors that a book is learned from, */
#define BOOK_SAMPLE_BYTES (16u << 20) /* and their bytes */
#define BOOK_PAUSE 64u
#define BOOK_ALIGN 64u

static int book_sample(pv__graph *g, const uint32_t *slots, size_t count, size_t n, float *sample,
                       pv_error *err) {
    for (size_t i = 0; i < n; i++) { /* from all of them, evenly */
        const uint8_t *row;
        const int rc = pv__column_read(g->vectors, slots[i * count / n], &row, err);
        if (rc != 0) {
            atomic_store_explicit(&g->data_bad, true, memory_order_relaxed);
            return rc;
        }
        pv__element_widen(pv__element_of(g->type), row, g->dims, sample + i * g->dims);
        if (i % BOOK_PAUSE == BOOK_PAUSE - 1) {
            PV_TRY(pv__txn_pause(g->txn, err));
        }
    }
    return 0;
}

int pv__book_write(pv__graph *g, pv__graph_book *book, const uint8_t *bytes, pv_error *err) {
    uint32_t row = book->row;
    for (uint32_t at = 0; at < book->bytes; at += PV__BOOK_ROW_BYTES, row++) {
        uint8_t *out;
        PV_TRY(pv__column_write(&g->books, row, &out, err));
        memcpy(out, bytes + at, PV_MIN(book->bytes - at, PV__BOOK_ROW_BYTES));
    }
    const uint64_t hash = pv__hash64(bytes, book->bytes, 0);
    book->hash = hash ? hash : 1;
    g->changed = true;
    return 0;
}

int pv__book_learn(pv__graph *g, const uint32_t *slots, size_t count, pv_error *err) {
    pv__mem *mem = pv__txn_mem(g->txn);
    pv__graph_book *book = &g->meta.books[0];
    const size_t vector = g->dims * sizeof(float);
    const uint32_t bytes = g->fine.book_bytes;
    if (bytes == 0 || book->hash != 0) {
        return 0;
    }
    const size_t most = PV_MIN(count, (size_t)BOOK_SAMPLE);
    const size_t n = PV_MAX(PV_MIN(most, BOOK_SAMPLE_BYTES / vector), (size_t)1);
    float *sample = pv__alloc_array(mem, n, vector);
    uint8_t *learned = pv__alloc_aligned(mem, bytes, BOOK_ALIGN);
    int rc = sample && learned ? 0 : pv__err_nomem(err, n * vector);
    rc = rc == 0 ? book_sample(g, slots, count, n, sample, err) : rc;
    rc = rc == 0 ? pv__code_train(&g->fine, mem, sample, n, NULL, learned, err) : rc;
    if (rc == 0) {
        *book = (pv__graph_book){.row = 0, .bytes = bytes};
        rc = pv__book_write(g, book, learned, err);
    }
    pv__alloc_free_aligned(mem, learned, bytes, BOOK_ALIGN);
    pv__alloc_free(mem, sample, n * vector);
    return rc;
}

/* Into memory of the walker, unless it is there. */
static int book_read(pv__walker *w, const pv__graph *g, unsigned index, pv_error *err) {
    const pv__graph_book *book = &g->meta.books[index];
    if (w->books[index].hash == book->hash) {
        return 0;
    }
    uint8_t *data = w->books[index].data;
    if (w->books[index].size != book->bytes) {
        pv__alloc_free_aligned(w->mem, data, w->books[index].size, BOOK_ALIGN);
        w->books[index].size = 0;
        data = w->books[index].data = pv__alloc_aligned(w->mem, book->bytes, BOOK_ALIGN);
        if (!data) {
            return pv__err_nomem(err, book->bytes);
        }
        w->books[index].size = book->bytes;
    }
    w->books[index].hash = 0;
    uint32_t row = book->row;
    for (uint32_t at = 0; at < book->bytes; at += PV__BOOK_ROW_BYTES, row++) {
        const uint8_t *from;
        PV_TRY(pv__column_read(&g->books, row, &from, err));
        memcpy(data + at, from, PV_MIN(book->bytes - at, PV__BOOK_ROW_BYTES));
    }
    const uint64_t hash = pv__hash64(data, book->bytes, 0);
    if ((hash ? hash : 1) != book->hash) {
        return pv__err(err, PV_ERR_CORRUPT, "graph of object %u: book %u is damaged",
                       (unsigned)g->owner, index);
    }
    w->books[index].hash = book->hash;
    return 0;
}

static int book_missing(const pv__graph *g, uint32_t bytes, pv_error *err) {
    return pv__err(err, PV_ERR_CORRUPT, "graph of object %u: a book of %u bytes is missing",
                   (unsigned)g->owner, (unsigned)bytes);
}

/* Product codes: the newest book and, while nodes are coded anew, the one before. */
static int book_load_product(pv__walker *w, const pv__graph *g, pv_error *err) {
    const unsigned newest = 1 + g->meta.epoch, other = 2 - g->meta.epoch;
    if (g->meta.books[newest].bytes != g->code.book_bytes) {
        return book_missing(g, g->code.book_bytes, err);
    }
    PV_TRY(book_read(w, g, newest, err));
    w->code.book = w->books[newest].data;
    w->code.epoch = g->meta.epoch;
    if (g->meta.books[other].hash != 0) {
        if (g->meta.books[other].bytes != g->code.book_bytes) {
            return book_missing(g, g->code.book_bytes, err);
        }
        PV_TRY(book_read(w, g, other, err));
        w->code.other_book = w->books[other].data;
    }
    return 0;
}

int pv__book_load(pv__walker *w, const pv__graph *g, pv_error *err) {
    const bool product = g->code.kind == PV__CODE_PQ;
    w->code = g->code;
    w->fine = g->fine;
    if (g->fine.book_bytes != 0) {
        if (g->meta.books[0].bytes != g->fine.book_bytes || g->meta.books[0].hash == 0) {
            return book_missing(g, g->fine.book_bytes, err);
        }
        PV_TRY(book_read(w, g, 0, err));
        w->fine.book = w->books[0].data;
        w->code.book = product || g->code.book_bytes == 0 ? NULL : w->books[0].data;
    }
    return product && g->meta.learned_nodes != 0 ? book_load_product(w, g, err) : 0;
}

#undef BOOK_SAMPLE
#undef BOOK_SAMPLE_BYTES
#undef BOOK_PAUSE
#undef BOOK_ALIGN
