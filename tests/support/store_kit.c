/* SPDX-License-Identifier: Apache-2.0 */
/* store_kit.c - see store_kit.h. The numbers of the layer above (pv__store_root_get) serve as the
 * list of pages: index 0 counts commits, so that a recovered state tells which commit it is. */
#include "support/store_kit.h"

#include <stdio.h>

#include "base/checksum.h"

void kit_fill(uint8_t *page, size_t size, uint64_t seed) {
    /* A third of the blocks, so that deltas, full images and zero tails all occur. */
    uint8_t *payload = page + PV__PAGE_HEAD;
    pv__put64(payload, seed);
    size_t block = SIZE_MAX;
    uint64_t h = 0;
    bool zeros = false;
    for (size_t at = 8; at + 16 <= size - PV__PAGE_HEAD; at += 16) {
        if (at / 512 != block) {
            block = at / 512;
            h = pv__mix64(seed ^ block * 0x9E3779B97F4A7C15u);
            zeros = h % 3 != 0;
        }
        pv__put64(payload + at, zeros ? 0 : pv__mix64(h + at));
    }
}

bool kit_is(const uint8_t *page, size_t size, uint64_t seed) {
    static _Thread_local uint8_t want[PV__PAGE_SLOTS_MAX * PV__SLOT_SIZE];
    memset(want, 0, size);
    kit_fill(want, size, seed);
    return memcmp(want + PV__PAGE_HEAD, page + PV__PAGE_HEAD, size - PV__PAGE_HEAD) == 0;
}

static unsigned kit_slots(kit_world *w) {
    static const unsigned sizes[] = {1, 1, 1, 2, 2, 4, 16, 64};
    unsigned max = w->slots_max ? w->slots_max : 16, choice = 0, first = 0;
    while (choice < PV_COUNTOF(sizes) && sizes[choice] <= max) {
        first += sizes[choice] < w->slots_min;
        choice++;
    }
    return sizes[first + test_rng_below(&w->rng, choice - first)];
}

static unsigned kit_kind(const kit_world *w, size_t index) {
    return w->trees && index % 3 == 0 ? PV__PAGE_TREE : PV__PAGE_COLUMN;
}

static size_t kit_count(const kit_world *w) { return w->pages ? w->pages : KIT_PAGES_MAX; }

static int kit_make(kit_world *w, pv__txn *t, size_t index, uint8_t **out_page, pv_error *err) {
    kit_page *p = &w->now.pages[index];
    const unsigned slots = kit_slots(w);
    PV_TRY(pv__page_new(t, kit_kind(w, index), slots, 7, (uint32_t)index, &p->id, out_page, err));
    p->slots = slots;
    return PV_OK;
}

static int kit_counted(kit_world *w, pv__txn *t, pv_error *err) {
    w->now.commits++;
    return pv__store_root_set(t, 0, w->now.commits, err);
}

int kit_mutate(kit_world *w, pv__txn *t, unsigned changes, pv_error *err) {
    for (unsigned i = 0; i < changes; i++) {
        size_t index = (size_t)test_rng_below(&w->rng, kit_count(w));
        kit_page *p = &w->now.pages[index];
        uint64_t seed = test_rng_u64(&w->rng);
        uint8_t *page = NULL;
        if (p->id == 0) {
            PV_TRY(kit_make(w, t, index, &page, err));
        } else if (test_rng_below(&w->rng, 4) == 0) {
            PV_TRY(pv__page_free(t, p->id, err));
            p->id = 0;
            continue;
        } else {
            PV_TRY(pv__page_write(t, p->id, kit_kind(w, index), &page, err));
        }
        kit_fill(page, pv__page_size(page), seed);
        p->seed = seed;
        if (test_rng_below(&w->rng, 8) == 0) {
            PV_TRY(pv__txn_pause(t, err));
        }
    }
    return kit_counted(w, t, err);
}

int kit_drop(kit_world *w, pv__txn *t, pv_error *err) {
    for (size_t i = 0; i < kit_count(w); i++) {
        if (w->now.pages[i].id) {
            PV_TRY(pv__page_free(t, w->now.pages[i].id, err));
            w->now.pages[i].id = 0;
        }
    }
    return kit_counted(w, t, err);
}

int kit_load(kit_world *w, pv__txn *t, pv_error *err) {
    for (size_t i = 0; i < kit_count(w); i++) {
        uint8_t *page = NULL;
        if (w->now.pages[i].id == 0) {
            PV_TRY(kit_make(w, t, i, &page, err));
            w->now.pages[i].seed = test_rng_u64(&w->rng);
            kit_fill(page, pv__page_size(page), w->now.pages[i].seed);
        }
    }
    return kit_counted(w, t, err);
}

static bool kit_page_is(const kit_page *p, size_t i, const uint8_t *page, const char *how,
                        char message[200]) {
    const bool is = pv__page_ordinal(page) == i && pv__page_slots(page) == p->slots &&
                    kit_is(page, pv__page_size(page), p->seed);
    if (!is) {
        snprintf(message, 200, "page %llu, %s, has other content", (unsigned long long)p->id, how);
    }
    return is;
}

bool kit_sees(pv__txn *t, const kit_state *want, char message[200]) {
    pv_error err = PV_ERROR_INIT;
    uint64_t commits = 0, root = 1;
    if (pv__store_root_get(t, 0, &commits, &err) || pv__store_root_get(t, 1, &root, &err)) {
        snprintf(message, 200, "%.190s", err.message);
        return false;
    }
    if (commits != want->commits || root != 0) {
        snprintf(message, 200, "has commit %llu, wanted is %llu", (unsigned long long)commits,
                 (unsigned long long)want->commits);
        return false;
    }
    for (size_t i = 0; i < KIT_PAGES_MAX; i++) {
        const kit_page *p = &want->pages[i];
        const uint8_t *page = NULL;
        if (p->id == 0) {
            continue;
        }
        if (pv__page_read(t, p->id, PV__PAGE_ANY, &page, &err)) {
            snprintf(message, 200, "%.190s", err.message);
            return false;
        }
        if (!kit_page_is(p, i, page, "as it is read", message)) {
            return false;
        }
        if (pv__txn_pause(t, &err)) {
            snprintf(message, 200, "%.190s", err.message);
            return false;
        }
    }
    return true;
}

bool kit_remembers(pv__txn *t, const kit_state *want, kit_memory *m, char message[200]) {
    pv_error err = PV_ERROR_INIT;
    for (size_t i = 0; i < KIT_PAGES_MAX; i++) {
        const kit_page *p = &want->pages[i];
        const uint8_t *page = NULL;
        if (p->id == 0) {
            continue;
        }
        const pv__sight now = pv__sight_of(t);
        if (!pv__sight_same(m->sight, now)) {
            memset(m->pages, 0, sizeof m->pages);
            m->sight = now;
        }
        if (pv__page_read(t, p->id, PV__PAGE_ANY, &page, &err)) {
            snprintf(message, 200, "%.190s", err.message);
            return false;
        }
        /* Reading may have taken a while: the address holds until the pause. */
        if (m->pages[i] && !kit_page_is(p, i, m->pages[i], "where it was", message)) {
            return false;
        }
        m->believed += m->pages[i] ? 1 : 0;
        m->pages[i] = page;
        if (!kit_page_is(p, i, page, "as it is read", message)) {
            return false;
        }
        if (i % 2 == 1 && pv__txn_pause(t, &err)) {
            snprintf(message, 200, "%.190s", err.message);
            return false;
        }
    }
    return true;
}

bool kit_matches(pv__store *s, const kit_state *want, char message[200]) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    if (pv__txn_begin(s, 0, &t, &err)) {
        snprintf(message, 200, "%.190s", err.message);
        return false;
    }
    bool good = kit_sees(t, want, message);
    pv__txn_rollback(t);
    return good;
}

/* Written down once more on purpose: blocks of 256 bytes that are not all zero, by XXH3. */
int kit_sum(pv__txn *t, uint64_t *out_sum, pv_error *err) {
    static const uint8_t zeros[PV__BLOCK];
    const uint8_t *page = NULL;
    uint64_t commits = 0, sum = 0;
    *out_sum = 0;
    PV_TRY(pv__store_root_get(t, 0, &commits, err));
    if (commits == 0) {
        return PV_OK;
    }
    PV_TRY(pv__page_read(t, PV__META_PAGE, PV__PAGE_META, &page, err));
    uint64_t limit = pv__get64(page + PV__META_NEXT_ID);
    for (uint64_t id = 1; id < limit; id++) {
        pv_error gone = PV_ERROR_INIT;
        if (pv__page_read(t, id, PV__PAGE_ANY, &page, &gone) == PV_OK) {
            for (size_t at = 0; at < pv__page_size(page); at += PV__BLOCK) {
                if (memcmp(page + at, zeros, PV__BLOCK) != 0) {
                    sum ^=
                        pv__hash64(page + at, PV__BLOCK, pv__mix64(id * 1024 + at / PV__BLOCK + 1));
                }
            }
        }
        PV_TRY(pv__txn_pause(t, err));
    }
    *out_sum = sum;
    return PV_OK;
}
