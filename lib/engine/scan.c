/* SPDX-License-Identifier: Apache-2.0 */
/* scan.c - exact search: the live rows of the column's pages through the kernels, into one bounded
 * heap per query.
 *
 *      page of vectors    | 0 | 1 | 2 | 3 | 4 | ...      slots first .. first + n
 *      live bitmap          1   1   0   1   1
 *      filter  (docs cursor, walked beside in slot order)
 *                           1   0       0   1            only when there is one
 *      rows, slots          0               4 | ...      collected over pages, compared in blocks
 *
 * With a filter a page without a matching row is not even read. Long rows that do not count are
 * stepped over. Where most of short ones count, one query is compared with all, and what is found
 * at the others is thrown away: their bytes are only ever old vectors or zeros, and a sequential
 * read is faster than picking. The kernels promise the same bits either way.
 *
 * What is collected are pointers into pages: between two pauses of the transaction, which let it
 * reclaim memory, all of them have to be gone. */
#include "engine/sieve.h"

#include <math.h>

#define SCAN_ONE_ROWS 256u             /* rows that are compared at once with one query */
#define SCAN_BLOCK_ROWS 256u           /* and with many */
#define SCAN_BLOCK_BYTES (128u * 1024) /* and their bytes, so that many queries find them cached */
#define SCAN_BLOCK_QUERIES 24u         /* what the tiles of all kernels divide */
#define SCAN_ROWS_MAX PV__SCREEN_ROWS_MAX
#define SCAN_STEP_BYTES 1024u                /* stepping over less saves no time: memory streams */
#define SCAN_ONCE_BYTES ((uint64_t)64 << 20) /* what is larger is not in a cache the next time */
#define SCAN_WINDOW 32u          /* pages whose ids are known ahead; half is looked up at once */
#define SCAN_HOLD_PAGES 32u      /* pages between two pauses, when all are in memory */
#define SCAN_HOLD_READ 16u       /* and when they have to be read and many queries wait for them */
#define SCAN_HOLD_DOCS 256u      /* documents that count as a page */
#define SCAN_INTERRUPT_ROWS 256u /* documents between two looks at the interrupt callback */
#define SCAN_TAKE_PAGES (SCAN_WINDOW / 2) /* pages that a thread takes at once */
#define SCAN_TAKES_MIN 2u                 /* so often at least, or it is not worth its start */

/* ---- documents --------------------------------------------------------------------------- */

int pv__scan_docs(pv_db *db, pv__parts *p, const pv__filter *filter, pv__scan_fn fn, void *ctx,
                  pv_error *err) {
    pv__cursor *cursor = NULL;
    pv__buf buf;
    bool valid = false;
    uint32_t seen = 0;
    pv__buf_init(&buf, &db->env->mem);
    int rc = pv__cursor_new(&p->docs, &cursor, err);
    if (rc == 0) {
        rc = pv__cursor_first(cursor, &valid, err);
    }
    while (rc == 0 && valid) {
        uint32_t slot = 0;
        pv__row row;
        rc = pv__row_at(p, cursor, &buf, &slot, &row, err);
        if (rc == 0) {
            rc = pv__txn_pause(p->txn, err);
        }
        if (rc == 0 && ++seen % SCAN_INTERRUPT_ROWS == 0) {
            rc = pv__db_interrupted(db, err);
        }
        if (rc == 0 && (!filter || pv__filter_match(filter, row.doc, row.doc_len))) {
            rc = fn(ctx, slot, &row, err);
        }
        if (rc == 0) {
            rc = pv__cursor_next(cursor, &valid, err);
        }
    }
    pv__cursor_free(cursor);
    pv__buf_done(&buf);
    return rc;
}

/* ---- vectors ----------------------------------------------------------------------------- */

typedef struct scan_state {
    pv_db *db;
    pv__parts *p;
    const pv__scan *s;
    pv__cursor *docs; /* with a filter: stands on the first document not looked at */
    bool docs_valid;
    pv__buf buf;
    uint32_t seen;
    uint32_t held;             /* pages since the last pause */
    uint32_t pages, known;     /* of the column: those that are scanned; ids known up to */
    uint64_t ids[SCAN_WINDOW]; /* page of ordinal i at i % SCAN_WINDOW */
    pv__sieve sieve;           /* for many queries */
    uint64_t words[PV__ROW_WORDS_MAX];
    bool once;                             /* see pv__kernel_near */
    uint32_t count, full;                  /* rows collected; so many are compared */
    uint64_t live[SCAN_ROWS_MAX / 64 + 2]; /* of one query: a bit for those that count */
    uint32_t slots[SCAN_ROWS_MAX];
    const uint8_t *rows[SCAN_ROWS_MAX + PV__KERNEL_AHEAD];
    float out[SCAN_BLOCK_QUERIES * SCAN_BLOCK_ROWS];
} scan_state;

static bool scan_bit(const uint64_t *words, uint32_t i) { return (words[i / 64] >> (i % 64)) & 1u; }

/* Clear the bits of live rows in [first, first + n) that do not match. *out_count: those left. */
static int scan_filter_page(scan_state *st, uint32_t first, uint32_t n, uint32_t *out_count,
                            pv_error *err) {
    uint64_t matching[PV__ROW_WORDS_MAX];
    const uint32_t seen = st->seen;
    uint32_t count = 0;
    memset(matching, 0, ((size_t)n + 63) / 64 * 8);
    while (st->docs_valid) {
        uint32_t slot = 0;
        pv__row row;
        PV_TRY(pv__row_at(st->p, st->docs, &st->buf, &slot, &row, err));
        if (slot >= first + n) {
            break;
        }
        if (st->count == 0) {
            PV_TRY(pv__txn_pause(st->p->txn, err));
        }
        if (++st->seen % SCAN_INTERRUPT_ROWS == 0) {
            PV_TRY(pv__scan_interrupted(st->db, st->s, err));
        }
        if (slot >= first && scan_bit(st->words, slot - first) &&
            pv__filter_match(st->s->filter, row.doc, row.doc_len)) {
            matching[(slot - first) / 64] |= UINT64_C(1) << ((slot - first) % 64);
            count++;
        }
        PV_TRY(pv__cursor_next(st->docs, &st->docs_valid, err));
    }
    memcpy(st->words, matching, ((size_t)n + 63) / 64 * 8);
    st->held += (st->seen - seen) / SCAN_HOLD_DOCS;
    *out_count = count;
    return 0;
}

/* Is any of 16 distances small enough? Nearly always none is; without a branch for each. */
static bool scan_any16(const float *distances, float bound) {
    unsigned any = 0;
    for (unsigned i = 0; i < 16; i++) {
        any |= distances[i] <= bound ? 1u : 0u;
    }
    return any != 0;
}

static int scan_offer(pv__nearest *nearest, float max_distance, float distance, uint32_t slot,
                      pv_error *err) {
    return distance <= max_distance ? pv__nearest_offer(nearest, distance, slot, err) : 0;
}

/* One query and the first n rows: only what is near enough is looked at one by one. */
static int scan_one(scan_state *st, uint32_t n, pv_error *err) {
    const pv__scan *s = st->s;
    uint64_t near[SCAN_ROWS_MAX / 64 + 1];
    const float bound = PV_MIN(pv__nearest_bound(s->nearest), s->max_distance);
    pv__kernel_near(s->kernel, s->queries, st->rows, n, st->once, bound, st->out, near);
    for (uint32_t w = 0; w * 64 < n; w++) {
        for (uint64_t left = near[w] & st->live[w]; left != 0; left &= left - 1) {
            const uint32_t r = w * 64 + (uint32_t)__builtin_ctzll(left);
            PV_TRY(scan_offer(s->nearest, s->max_distance, st->out[r], st->slots[r], err));
        }
    }
    return 0;
}

static int scan_many(scan_state *st, pv_error *err) {
    const pv__scan *s = st->s;
    const uint32_t n = st->count;
    for (size_t q = 0; q < s->query_count; q += SCAN_BLOCK_QUERIES) {
        const size_t queries = PV_MIN(s->query_count - q, (size_t)SCAN_BLOCK_QUERIES);
        pv__kernel_many(s->kernel, &s->queries[q], queries, st->rows, n, st->out, n);
        for (size_t i = 0; i < queries; i++) {
            pv__nearest *nearest = &s->nearest[q + i];
            const float *out = st->out + i * n;
            float bound = pv__nearest_bound(nearest);
            for (uint32_t r = 0; r < n; r++) {
                while (r % 16 == 0 && r + 16 <= n && !scan_any16(out + r, bound)) {
                    r += 16;
                }
                if (r < n && out[r] <= bound) {
                    PV_TRY(scan_offer(nearest, s->max_distance, out[r], st->slots[r], err));
                    bound = pv__nearest_bound(nearest);
                }
            }
        }
    }
    return 0;
}

static uint64_t scan_low(uint32_t n) { return n < 64 ? (UINT64_C(1) << n) - 1 : UINT64_MAX; }

/* How many rows are collected before they are compared: one query leaves the last of them for the
 * next time, so that they are fetched meanwhile. */
static uint32_t scan_full(const scan_state *st) {
    if (st->s->query_count == 1) {
        return SCAN_ONE_ROWS + PV__KERNEL_AHEAD;
    }
    if (st->sieve.open) {
        return (uint32_t)st->sieve.cap;
    }
    const uint32_t fits = SCAN_BLOCK_BYTES / st->p->column.row_size;
    return PV_MAX(PV_MIN(fits, SCAN_BLOCK_ROWS), (uint32_t)1);
}

/* Compare what was collected with many queries. */
static int scan_compare_many(scan_state *st, pv_error *err) {
    if (st->sieve.open) {
        PV_TRY(pv__sieve_run(&st->sieve, st->rows, st->slots, st->count, err));
    } else {
        if (st->s->query_count > SCAN_BLOCK_QUERIES) { /* then it takes its time */
            PV_TRY(pv__scan_interrupted(st->db, st->s, err));
        }
        PV_TRY(scan_many(st, err));
    }
    st->count = 0;
    st->full = scan_full(st); /* the sieve may have closed */
    return 0;
}

/* It is full. */
static int scan_compare(scan_state *st, pv_error *err) {
    if (st->s->query_count > 1) {
        return scan_compare_many(st, err);
    }
    PV_TRY(scan_one(st, SCAN_ONE_ROWS, err));
    memcpy(st->rows, st->rows + SCAN_ONE_ROWS, PV__KERNEL_AHEAD * sizeof *st->rows);
    memcpy(st->slots, st->slots + SCAN_ONE_ROWS, PV__KERNEL_AHEAD * sizeof *st->slots);
    st->live[0] = st->live[SCAN_ONE_ROWS / 64];
    st->count = PV__KERNEL_AHEAD;
    return 0;
}

/* Compare all of it; `next`: where rows lie that come next, NULL: unknown. */
static int scan_compare_all(scan_state *st, const uint8_t *next, pv_error *err) {
    const size_t row_size = st->p->column.row_size;
    if (st->count == 0) {
        return 0;
    }
    if (st->s->query_count > 1) {
        return scan_compare_many(st, err);
    }
    for (uint32_t i = 0; i < PV__KERNEL_AHEAD; i++) { /* addresses, fetched and never read */
        st->rows[st->count + i] =
            next ? (const uint8_t *)((uintptr_t)next + i * row_size) : st->rows[st->count - 1];
    }
    PV_TRY(scan_one(st, st->count, err));
    st->count = 0;
    return 0;
}

/* Where the rows of page `ordinal` probably begin, to be fetched ahead; NULL: unknown. */
static const uint8_t *scan_whereabouts(const scan_state *st, uint32_t ordinal) {
    const uint64_t id = ordinal < st->known ? st->ids[ordinal % SCAN_WINDOW] : 0;
    const uint8_t *page = id ? pv__page_whereabouts(st->p->txn, id) : NULL;
    return page ? page + st->p->column.front : NULL;
}

/* n bits behind those of the rows collected. */
static void scan_add_bits(scan_state *st, uint64_t bits, uint32_t n) {
    const uint32_t at = st->count % 64;
    uint64_t *live = st->live + st->count / 64;
    live[0] = (at ? live[0] : 0) | bits << at;
    live[1] = at + n > 64 ? bits >> (64 - at) : 0;
    st->count += n;
}

/* Rows that have a bit, until it is full. Returns the bits that are left. */
static uint64_t scan_collect_some(scan_state *st, uint64_t bits, const uint8_t *rows,
                                  uint32_t first) {
    const size_t row_size = st->p->column.row_size;
    const uint32_t room = st->full - st->count;
    const uint8_t **row = st->rows + st->count;
    uint32_t *slot = st->slots + st->count, n = 0;
    for (; bits != 0 && n < room; bits &= bits - 1, n++) {
        const uint32_t r = (uint32_t)__builtin_ctzll(bits);
        row[n] = rows + r * row_size;
        slot[n] = first + r;
    }
    scan_add_bits(st, scan_low(n), n);
    return bits;
}

/* n rows with the dead between them. */
static void scan_collect_all(scan_state *st, uint64_t bits, const uint8_t *rows, uint32_t first,
                             uint32_t n) {
    const size_t row_size = st->p->column.row_size;
    const uint8_t **row = st->rows + st->count;
    uint32_t *slot = st->slots + st->count;
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8, rows += 8 * row_size) { /* nearly always 64 */
        PV__KERNEL_UNROLL
        for (uint32_t k = 0; k < 8; k++) {
            row[i + k] = rows + k * row_size;
            slot[i + k] = first + i + k;
        }
    }
    for (; i < n; i++, rows += row_size) {
        row[i] = rows;
        slot[i] = first + i;
    }
    scan_add_bits(st, bits & scan_low(n), n);
}

/* n rows, at most 64. */
static int scan_collect(scan_state *st, uint64_t bits, const uint8_t *rows, uint32_t first,
                        uint32_t n, pv_error *err) {
    const size_t row_size = st->p->column.row_size;
    const bool all =
        st->s->query_count == 1 && row_size < SCAN_STEP_BYTES && pv__bit_count(bits) * 4 > n * 3;
    while (bits != 0) {
        if (all) {
            const uint32_t now = PV_MIN(st->full - st->count, n);
            scan_collect_all(st, bits, rows, first, now);
            rows += now * row_size;
            first += now;
            n -= now;
            bits = now < 64 ? bits >> now : 0;
        } else {
            bits = scan_collect_some(st, bits, rows, first);
        }
        if (st->count == st->full) {
            PV_TRY(scan_compare(st, err));
        }
    }
    return 0;
}

/* The rows of a page that have a bit. */
static int scan_page(scan_state *st, uint32_t ordinal, uint32_t first, uint32_t n, pv_error *err) {
    const uint32_t row_size = st->p->column.row_size;
    const uint8_t *rows = NULL, *next = scan_whereabouts(st, ordinal + 1);
    PV_TRY(pv__column_page_at(&st->p->column, st->ids[ordinal % SCAN_WINDOW], ordinal, &rows, err));
    if (next) { /* its head, which is looked at first */
        PV_PREFETCH(next - st->p->column.front);
    }
    if (!rows) {
        return pv__err(err, PV_ERR_CORRUPT, "collection '%s': the vectors from slot %u on are gone",
                       st->p->c.name, (unsigned)first);
    }
    for (uint32_t w = 0; w * 64 < n; w++) {
        PV_TRY(scan_collect(st, st->words[w], rows + (size_t)w * 64 * row_size, first + w * 64,
                            PV_MIN(n - w * 64, 64u), err));
    }
    return 0;
}

/* A pause costs as much as a small page, so that it waits while pages come from memory. */
static int scan_between(scan_state *st, uint32_t ordinal, pv_error *err) {
    const uint8_t *next = scan_whereabouts(st, ordinal + 1);
    const uint32_t hold = next ? SCAN_HOLD_PAGES : st->sieve.open ? SCAN_HOLD_READ : 1;
    if (++st->held >= hold) {
        PV_TRY(scan_compare_all(st, next, err));
        PV_TRY(pv__txn_pause(st->p->txn, err));
        st->held = 0;
        for (size_t q = 0; q < st->s->query_count; q++) {
            if (pv__nearest_is_long(&st->s->nearest[q])) {
                PV_TRY(pv__nearest_settle(&st->s->nearest[q], st->p, err));
            }
        }
    }
    return pv__scan_interrupted(st->db, st->s, err);
}

/* Clear the bits of slots outside the range that was asked for. */
static void scan_clip(scan_state *st, uint32_t first, uint32_t n, uint32_t end,
                      uint32_t *io_count) {
    const uint32_t from = st->s->slots_from;
    if (first >= from && first + n <= end) {
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        if ((first + i < from || first + i >= end) && scan_bit(st->words, i)) {
            st->words[i / 64] &= ~(UINT64_C(1) << (i % 64));
            --*io_count;
        }
    }
}

/* Know the ids of pages ahead of `ordinal`. With a filter many pages may not be wanted. */
static int scan_look_ahead(scan_state *st, uint32_t ordinal, pv_error *err) {
    const uint32_t half = SCAN_WINDOW / 2;
    while (st->known < st->pages && st->known < ordinal + SCAN_WINDOW - half + 1) {
        const uint32_t n = PV_MIN(st->pages - st->known, half);
        uint64_t *ids = st->ids + st->known % SCAN_WINDOW;
        PV_TRY(pv__column_page_ids(&st->p->column, st->known, n, ids, err));
        if (!st->s->filter) {
            pv__pages_expect(st->p->txn, ids, n);
        }
        st->known += n;
    }
    return 0;
}

/* Pages [from, end) of the column; `from` is the first or a multiple of what is looked up at once.
 * The sieve may keep rows for the next call. */
static int scan_pages(scan_state *st, uint32_t from, uint32_t end, pv_error *err) {
    const pv__slots *slots = &st->p->slots;
    const uint32_t rpp = st->p->column.rows_per_page;
    const uint32_t high = slots->meta.high_water;
    const uint32_t slots_end = st->s->slots_end ? PV_MIN(st->s->slots_end, high) : high;
    if (st->docs && from < end) {
        uint8_t key[4];
        PV_TRY(pv__cursor_seek(st->docs, pv__row_slot_key(key, from * rpp), &st->docs_valid, err));
    }
    st->known = from - from % (SCAN_WINDOW / 2);
    for (uint32_t ordinal = from; ordinal < end; ordinal++) {
        const uint32_t first = ordinal * rpp;
        const uint32_t n = PV_MIN(rpp, high - first);
        uint32_t count = 0;
        PV_TRY(scan_look_ahead(st, ordinal, err));
        PV_TRY(pv__slots_bits(slots, first, n, st->words, &count, err));
        scan_clip(st, first, n, slots_end, &count);
        if (count > 0 && st->s->filter) {
            PV_TRY(scan_filter_page(st, first, n, &count, err));
        }
        if (count > 0) {
            PV_TRY(scan_page(st, ordinal, first, n, err));
        }
        PV_TRY(scan_between(st, ordinal, err));
    }
    return 0;
}

static int scan_begin(scan_state *st, pv_db *db, pv__parts *p, const pv__scan *s,
                      const pv__sieve *lender, pv_error *err) {
    const uint32_t rpp = p->column.rows_per_page;
    const uint32_t high = p->slots.meta.high_water;
    const uint32_t end = s->slots_end ? PV_MIN(s->slots_end, high) : high;
    st->db = db;
    st->p = p;
    st->s = s;
    st->docs = NULL;
    st->docs_valid = false;
    st->seen = 0;
    st->held = 0;
    st->count = 0;
    st->pages = end / rpp + (end % rpp != 0);
    pv__buf_init(&st->buf, &db->env->mem);
    pv__sieve_init(&st->sieve, db, s, lender);
    st->full = scan_full(st);
    st->once = (uint64_t)st->pages * p->column.page_slots * PV__SLOT_SIZE > SCAN_ONCE_BYTES;
    return s->filter ? pv__cursor_new(&p->docs, &st->docs, err) : 0;
}

static void scan_end(scan_state *st) {
    pv__sieve_done(&st->sieve);
    pv__cursor_free(st->docs);
    pv__buf_done(&st->buf);
}

static uint32_t scan_first_page(const scan_state *st) {
    return PV_MIN(st->s->slots_from / st->p->column.rows_per_page, st->pages);
}

/* ---- several threads --------------------------------------------------------------------- */

/* What one thread has of its own. The caller's has the call's transaction, parts and heaps. */
typedef struct scan_member {
    scan_state st;
    pv__scan s;
    pv__parts parts;
    pv__txn *txn;
    pv__hit *hits;
    pv__nearest *nearest;
    pv__ties ties;
} scan_member;

static void scan_member_free(pv_db *db, scan_member *m) {
    pv__mem *mem = &db->env->mem;
    if (!m) {
        return;
    }
    const size_t n = m->s.query_count;
    if (m->st.db) {
        scan_end(&m->st);
    }
    pv__parts_done(&m->parts);
    for (size_t q = 0; m->nearest && q < n; q++) {
        pv__nearest_done(&m->nearest[q]);
    }
    pv__ties_done(&m->ties);
    pv__alloc_free(mem, m->hits, n * m->s.nearest[0].top.k * sizeof(*m->hits));
    pv__alloc_free(mem, m->nearest, n * sizeof(*m->nearest));
    pv__txn_rollback(m->txn);
    pv__alloc_free(mem, m, sizeof(*m));
}

/* NULL: the others do without it. */
static scan_member *scan_member_new(const scan_state *first, pv__crew *crew) {
    const pv__scan *s = first->s;
    const size_t n = s->query_count, k = s->nearest[0].top.k;
    pv__mem *mem = &first->db->env->mem;
    pv_error ignored = PV_ERROR_INIT;
    scan_member *m = pv__alloc_zero(mem, sizeof(*m));
    if (!m) {
        return NULL;
    }
    m->s = *s;
    m->s.crew = crew;
    m->s.hand = true;
    m->ties.mem = mem;
    m->hits = pv__alloc_array(mem, n * k, sizeof(*m->hits));
    m->nearest = pv__alloc_array(mem, n, sizeof(*m->nearest));
    for (size_t q = 0; m->nearest && q < n; q++) {
        pv__nearest_init(&m->nearest[q], mem, m->hits ? m->hits + q * k : NULL, k, &m->ties);
    }
    if (!m->hits || !m->nearest || pv__txn_share(first->p->txn, &m->txn, &ignored) ||
        pv__parts_open_entry(&m->parts, m->txn, &first->p->c, &ignored) ||
        pv__txn_pause(m->txn, &ignored)) {
        scan_member_free(first->db, m);
        return NULL;
    }
    m->s.nearest = m->nearest;
    if (scan_begin(&m->st, first->db, &m->parts, &m->s, &first->sieve, &ignored)) {
        scan_member_free(first->db, m);
        return NULL;
    }
    return m;
}

static int scan_take(void *ctx, uint32_t from, uint32_t end, pv_error *err) {
    scan_state *st = ctx;
    if (from == end) {
        return scan_compare_all(st, NULL, err);
    }
    return scan_pages(st, PV_MAX(from, scan_first_page(st)), end, err);
}

static int scan_together(scan_state *st, pv__crew *crew, unsigned threads, pv_error *err) {
    pv__mem *mem = &st->db->env->mem;
    const uint32_t from = scan_first_page(st);
    scan_member **members = pv__alloc_zero(mem, threads * sizeof(*members));
    pv__crew_hand *hands = pv__alloc_zero(mem, threads * sizeof(*hands));
    unsigned count = 1;
    int rc = members && hands ? 0 : pv__err_nomem(err, threads * sizeof(*hands));
    if (rc != 0) {
        goto done;
    }
    hands[0].fn = scan_take;
    hands[0].ctx = st;
    while (count < threads && (members[count] = scan_member_new(st, crew)) != NULL) {
        hands[count].fn = scan_take;
        hands[count].ctx = &members[count]->st;
        count++;
    }
    rc = pv__crew_run(st->db, crew, hands, count, from - from % SCAN_TAKE_PAGES, st->pages,
                      SCAN_TAKE_PAGES, err);
    for (unsigned i = 1; i < count && rc == 0; i++) {
        for (size_t q = 0; q < st->s->query_count && rc == 0; q++) {
            rc = pv__nearest_merge(&st->s->nearest[q], &members[i]->nearest[q], err);
        }
    }
done:
    for (unsigned i = 1; members && i < count; i++) {
        scan_member_free(st->db, members[i]);
    }
    pv__alloc_free(mem, hands, threads * sizeof(*hands));
    pv__alloc_free(mem, members, threads * sizeof(*members));
    return rc;
}

/* ---- the whole --------------------------------------------------------------------------- */

int pv__scan_interrupted(pv_db *db, const pv__scan *s, pv_error *err) {
    return s->crew ? pv__crew_interrupted(s->crew, !s->hand, err) : pv__db_interrupted(db, err);
}

int pv__scan_vectors(pv_db *db, pv__parts *p, const pv__scan *s, pv_error *err) {
    pv__mem *mem = &db->env->mem;
    pv__crew crew;
    pv__scan mine = *s;
    scan_state *st = pv__pool_take(&db->scans); /* too large for the stack of a small thread */
    st = st ? st : pv__alloc(mem, sizeof(*st));
    if (!st) {
        return pv__err_nomem(err, sizeof(*st));
    }
    int rc = scan_begin(st, db, p, &mine, NULL, err);
    if (rc == 0) {
        const uint32_t from = scan_first_page(st);
        const uint32_t parts = (st->pages - from + SCAN_TAKE_PAGES - 1) / SCAN_TAKE_PAGES;
        const unsigned threads = PV_MIN(PV_MIN(s->threads, db->threads), parts / SCAN_TAKES_MIN);
        if (threads > 1 && !pv__txn_is_write(p->txn)) {
            mine.crew = &crew;
            rc = scan_together(st, &crew, threads, err);
        } else {
            rc = scan_pages(st, from, st->pages, err);
            rc = rc != 0 ? rc : scan_compare_all(st, NULL, err);
        }
    }
    scan_end(st);
    if (!pv__pool_give(&db->scans, st)) {
        pv__scan_free(db, st);
    }
    return rc;
}

void pv__scan_free(pv_db *db, void *memory) {
    pv__alloc_free(&db->env->mem, memory, sizeof(scan_state));
}

#undef SCAN_BLOCK_ROWS
#undef SCAN_BLOCK_BYTES
#undef SCAN_BLOCK_QUERIES
#undef SCAN_WINDOW
#undef SCAN_TAKE_PAGES
#undef SCAN_TAKES_MIN
#undef SCAN_ONE_ROWS
#undef SCAN_ROWS_MAX
#undef SCAN_STEP_BYTES
#undef SCAN_ONCE_BYTES
#undef SCAN_HOLD_DOCS
#undef SCAN_HOLD_PAGES
#undef SCAN_HOLD_READ
#undef SCAN_INTERRUPT_ROWS
