/* SPDX-License-Identifier: Apache-2.0 */
/* matching.c - see matching.h. */
#include "engine/matching.h"

#include "base/checksum.h"
#include "tree/tree.h"

PV_STATIC_ASSERT(PV__ASK_MANY <= PV__TREE_MANY, what_is_asked_at_once_is_looked_up_at_once);

#define MATCHING_SCAN_NS 200.0f /* a record, read in the order of slots, and tested */
/* Reading records one by one holds their pages until the search pauses: no longer than this. */
#define MATCHING_ASK_MOST_NS 16e6f
/* A sample ends when this many match, or when reading it took a hundredth of reading all. */
#define MATCHING_SAMPLE_ENOUGH 8u
#define MATCHING_SAMPLE_MIN 32u
#define MATCHING_SAMPLE_PART 512u

static bool matching_bit(const uint64_t *words, uint32_t slot) {
    return words[slot / 64] >> (slot % 64) & 1u;
}

static void matching_set(uint64_t *words, uint32_t slot) {
    words[slot / 64] |= UINT64_C(1) << (slot % 64);
}

static size_t matching_words(uint32_t slots) { return (size_t)slots / 64 + 1; }

/* Read them and remember whether they match. */
static int matching_read(pv__matching *m, const uint32_t *slots, size_t n, pv_error *err) {
    pv__row rows[PV__ASK_MANY];
    pv__buf_clear(&m->buf);
    PV_TRY(n == 1 ? pv__row_get(m->p, slots[0], &m->buf, &rows[0], err)
                  : pv__rows_get(m->p, slots, n, true, &m->buf, rows, err));
    for (size_t i = 0; i < n; i++) {
        matching_set(m->known, slots[i]);
        m->looked++;
        if (pv__filter_match(m->filter, rows[i].doc, rows[i].doc_len)) {
            matching_set(m->words, slots[i]);
            m->matched++;
        }
    }
    return 0;
}

/* Slots that live. */
static int matching_ask(void *ctx, const uint32_t *slots, size_t n, bool *out, pv_error *err) {
    pv__matching *m = ctx;
    uint32_t unknown[PV__ASK_MANY];
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (PV_UNLIKELY(slots[i] >= m->slots)) {
            return pv__err(err, PV_ERR_CORRUPT,
                           "the graph of collection '%s' leads to slot %u beyond the last",
                           m->p->c.name, (unsigned)slots[i]);
        }
        unknown[count] = slots[i];
        count += matching_bit(m->known, slots[i]) ? 0 : 1;
    }
    PV_TRY(count > 0 ? matching_read(m, unknown, count, err) : 0);
    for (size_t i = 0; i < n; i++) {
        out[i] = matching_bit(m->words, slots[i]);
    }
    return 0;
}

int pv__matching_test(pv__matching *m, uint32_t slot, bool *out, pv_error *err) {
    if (m->allowed.ask) {
        return matching_ask(m, &slot, 1, out, err);
    }
    *out = pv__matching_has(m, slot);
    return 0;
}

static int matching_sample(pv__matching *m, pv_error *err) {
    const uint32_t most =
        m->slots == 0 ? 0 : PV_MAX(m->slots / MATCHING_SAMPLE_PART, MATCHING_SAMPLE_MIN);
    for (uint32_t i = 0; i < most && m->matched < MATCHING_SAMPLE_ENOUGH; i++) {
        const uint32_t from = (uint32_t)(pv__mix64(i + 1) % m->slots);
        uint32_t slot = 0;
        bool found = false, matches = false;
        PV_TRY(pv__slots_next(&m->p->slots, from, &slot, &found, err));
        if (found) {
            PV_TRY(matching_ask(m, &slot, 1, &matches, err));
        }
        PV_TRY(pv__txn_pause(m->p->txn, err));
    }
    return 0;
}

int pv__matching_begin(pv__matching *m, pv_db *db, pv__parts *p, const pv__filter *filter,
                       pv_error *err) {
    const uint32_t slots = p->slots.meta.high_water;
    pv__mem *mem = &db->env->mem;
    *m = (pv__matching){.db = db, .p = p, .filter = filter, .slots = slots};
    pv__buf_init(&m->buf, mem);
    m->words = pv__alloc_array(mem, matching_words(slots), sizeof *m->words);
    m->known = pv__alloc_array(mem, matching_words(slots), sizeof *m->known);
    if (!m->words || !m->known) {
        return pv__err_nomem(err, matching_words(slots) * sizeof *m->words);
    }
    memset(m->words, 0, matching_words(slots) * sizeof *m->words);
    memset(m->known, 0, matching_words(slots) * sizeof *m->known);
    m->allowed = (pv__allowed){.slots = slots, .ask = matching_ask, .ctx = m};
    return matching_sample(m, err);
}

void pv__matching_done(pv__matching *m) {
    pv__mem *mem = &m->db->env->mem;
    pv__alloc_free(mem, m->words, matching_words(m->slots) * sizeof *m->words);
    pv__alloc_free(mem, m->known, matching_words(m->slots) * sizeof *m->known);
    pv__buf_done(&m->buf);
}

void pv__matching_expect(pv__matching *m, size_t searches) {
    const float live = (float)m->p->slots.meta.live_count;
    if (m->allowed.ask) {
        const float share = ((float)m->matched + 0.5f) / ((float)m->looked + 1.0f);
        m->allowed.count = (uint32_t)(share * live) + 1;
        m->allowed.words_ns =
            PV_MIN(live * MATCHING_SCAN_NS / (float)searches, MATCHING_ASK_MOST_NS);
    }
}

static int matching_take(void *ctx, uint32_t slot, const pv__row *row, pv_error *err) {
    pv__matching *m = ctx;
    (void)row;
    if (PV_UNLIKELY(slot >= m->slots)) {
        return pv__err(err, PV_ERR_CORRUPT, "collection '%s' has a record beyond the last slot",
                       m->p->c.name);
    }
    matching_set(m->words, slot);
    m->allowed.count++;
    return 0;
}

int pv__matching_all(pv__matching *m, pv_error *err) {
    memset(m->words, 0, matching_words(m->slots) * sizeof *m->words);
    m->allowed.count = 0;
    PV_TRY(pv__scan_docs(m->db, m->p, m->filter, matching_take, m, err));
    m->allowed.words = m->words;
    m->allowed.ask = NULL;
    m->allowed.words_ns = 0;
    return 0;
}

#undef MATCHING_SCAN_NS
#undef MATCHING_ASK_MOST_NS
#undef MATCHING_SAMPLE_ENOUGH
#undef MATCHING_SAMPLE_MIN
#undef MATCHING_SAMPLE_PART
