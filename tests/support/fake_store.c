/* SPDX-License-Identifier: Apache-2.0 */
/* fake_store.c - see fake_store.h. */
#include "support/fake_store.h"

typedef int t_fake_store_is_not_empty;

#ifdef PV_TEST_FAKE_STORE
#include <stdio.h>
#include <stdlib.h>

typedef struct fake_page {
    uint8_t *bytes; /* NULL: not there */
    uint8_t *saved; /* as of the beginning of the transaction, when touched */
    bool touched;   /* changed by the transaction */
    bool handed;    /* a pointer was given out since the last pause */
} fake_page;

typedef struct fake_list {
    uint64_t *ids;
    size_t count, cap;
} fake_list;

struct pv__store {
    pv__mem *mem;
    fake_page *pages; /* by id, 0 unused */
    uint64_t count, count_saved, cap;
    fake_list freed, freed_saved; /* handed out last in first out */
    fake_list touched, handed;
    uint64_t roots[16], roots_saved[16];
    uint64_t lsn, live;
    pv__txn *txn;
};

struct pv__txn {
    pv__store *store;
    bool write, dirty;
    int doomed;
};

static void *fake_need(void *p) {
    if (!p) {
        fprintf(stderr, "fake_store: out of memory\n");
        abort();
    }
    return p;
}

static uint8_t *fake_copy(const uint8_t *from) {
    size_t size = pv__page_size(from);
    uint8_t *to = fake_need(malloc(size));
    memcpy(to, from, size);
    return to;
}

static void fake_poison(uint8_t *bytes) {
    if (bytes) {
        memset(bytes, 0xDB, pv__page_size(bytes));
        free(bytes);
    }
}

static void fake_push(fake_list *list, uint64_t id) {
    if (list->count == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 64;
        list->ids = fake_need(realloc(list->ids, list->cap * sizeof(*list->ids)));
    }
    list->ids[list->count++] = id;
}

static void fake_list_copy(fake_list *to, const fake_list *from) {
    to->count = 0;
    for (size_t i = 0; i < from->count; i++) {
        fake_push(to, from->ids[i]);
    }
}

/* The place where a request may fail. */
static int fake_gate(pv__txn *txn, pv_error *err) {
    void *p = pv__alloc(txn->store->mem, 16);
    if (!p) {
        return pv__err_nomem(err, 16);
    }
    pv__alloc_free(txn->store->mem, p, 16);
    return 0;
}

static void fake_hand(pv__store *s, uint64_t id) {
    if (!s->pages[id].handed) {
        s->pages[id].handed = true;
        fake_push(&s->handed, id);
    }
}

static void fake_touch(pv__store *s, uint64_t id) {
    fake_page *p = &s->pages[id];
    if (!p->touched) {
        p->touched = true;
        p->saved = p->bytes ? fake_copy(p->bytes) : NULL;
        fake_push(&s->touched, id);
    }
}

int pv__store_open(const pv__store_opts *opts, pv__store **out_store, pv_error *err) {
    (void)err;
    pv__store *s = fake_need(calloc(1, sizeof(*s)));
    s->mem = opts->mem;
    s->count = 1;
    s->lsn = 1;
    *out_store = s;
    return 0;
}

int pv__store_close(pv__store *s, pv_error *err) {
    (void)err;
    for (uint64_t i = 0; i < s->count; i++) {
        fake_poison(s->pages ? s->pages[i].bytes : NULL);
    }
    free(s->pages);
    free(s->freed.ids);
    free(s->freed_saved.ids);
    free(s->touched.ids);
    free(s->handed.ids);
    free(s);
    return 0;
}

void pv__store_stats_get(pv__store *s, pv__store_stats *out) {
    memset(out, 0, sizeof(*out));
    out->lsn = s->lsn;
    out->page_count = s->live;
}

int pv__txn_begin(pv__store *s, uint32_t flags, pv__txn **out_txn, pv_error *err) {
    *out_txn = NULL;
    if (s->txn) {
        return pv__err(err, PV_ERR_BUSY, "fake store: a transaction is open");
    }
    pv__txn *t = pv__alloc_zero(s->mem, sizeof(*t));
    if (!t) {
        return pv__err_nomem(err, sizeof(*t));
    }
    t->store = s;
    t->write = (flags & PV__TXN_WRITE) != 0;
    fake_list_copy(&s->freed_saved, &s->freed);
    s->count_saved = s->count;
    memcpy(s->roots_saved, s->roots, sizeof(s->roots));
    s->txn = t;
    *out_txn = t;
    return 0;
}

/* Move all pages that somebody may still point to. */
static void fake_move(pv__store *s) {
    for (size_t i = 0; i < s->handed.count; i++) {
        fake_page *p = &s->pages[s->handed.ids[i]];
        p->handed = false;
        if (p->bytes) {
            uint8_t *to = fake_copy(p->bytes);
            fake_poison(p->bytes);
            p->bytes = to;
        }
    }
    s->handed.count = 0;
}

static void fake_end(pv__txn *t, bool undo) {
    pv__store *s = t->store;
    fake_move(s);
    for (size_t i = 0; i < s->touched.count; i++) {
        fake_page *p = &s->pages[s->touched.ids[i]];
        p->touched = false;
        if (undo) {
            s->live -= p->bytes ? 1 : 0;
            s->live += p->saved ? 1 : 0;
            fake_poison(p->bytes);
            p->bytes = p->saved;
        } else {
            fake_poison(p->saved);
        }
        p->saved = NULL;
    }
    s->touched.count = 0;
    if (undo) {
        memcpy(s->roots, s->roots_saved, sizeof(s->roots));
        fake_list_copy(&s->freed, &s->freed_saved);
        s->count = s->count_saved;
    } else if (t->dirty) {
        s->lsn += 8;
    }
    s->txn = NULL;
    pv__alloc_free(s->mem, t, sizeof(*t));
}

int pv__txn_commit(pv__txn *t, uint64_t *out_lsn, pv_error *err) {
    int doomed = t->doomed;
    pv__store *s = t->store;
    fake_end(t, doomed != 0);
    if (doomed) {
        return pv__err(err, doomed, "fake store: the transaction was doomed");
    }
    if (out_lsn) {
        *out_lsn = s->lsn;
    }
    return 0;
}

void pv__txn_rollback(pv__txn *t) {
    if (t) {
        fake_end(t, true);
    }
}

uint64_t pv__txn_lsn(const pv__txn *t) { return t->store->lsn; }
bool pv__txn_is_write(const pv__txn *t) { return t->write; }
bool pv__txn_is_dirty(const pv__txn *t) { return t->dirty; }
pv__mem *pv__txn_mem(pv__txn *t) { return t->store->mem; }
void pv__txn_doom(pv__txn *t, int code) { t->doomed = t->doomed ? t->doomed : code; }

int pv__txn_pause(pv__txn *t, pv_error *err) {
    (void)err;
    fake_move(t->store);
    return 0;
}

static int fake_find(pv__txn *t, uint64_t id, unsigned kind, pv_error *err) {
    pv__store *s = t->store;
    if (id == 0 || id >= s->count || !s->pages[id].bytes) {
        return pv__err(err, PV_ERR_CORRUPT, "page %llu does not exist", (unsigned long long)id);
    }
    if (kind != PV__PAGE_ANY && pv__page_kind(s->pages[id].bytes) != kind) {
        return pv__err(err, PV_ERR_CORRUPT, "page %llu is of another kind", (unsigned long long)id);
    }
    return fake_gate(t, err);
}

const void *pv__page_whereabouts(pv__txn *t, uint64_t id) {
    (void)t;
    (void)id;
    return NULL;
}

void pv__pages_expect(pv__txn *t, const uint64_t *ids, size_t count) {
    (void)t;
    (void)ids;
    (void)count;
}

int pv__page_read(pv__txn *t, uint64_t id, unsigned kind, const uint8_t **out_page, pv_error *err) {
    PV_TRY(fake_find(t, id, kind, err));
    fake_hand(t->store, id);
    *out_page = t->store->pages[id].bytes;
    return 0;
}

static int fake_writable(const pv__txn *t, pv_error *err) {
    if (!t->write) {
        return pv__err(err, PV_ERR_MISUSE, "fake store: write in a read transaction");
    }
    return t->doomed ? pv__err(err, t->doomed, "fake store: the transaction was doomed") : 0;
}

int pv__page_write(pv__txn *t, uint64_t id, unsigned kind, uint8_t **out_page, pv_error *err) {
    PV_TRY(fake_writable(t, err));
    PV_TRY(fake_find(t, id, kind, err));
    fake_page *p = &t->store->pages[id];
    if (!p->touched) {
        fake_touch(t->store, id);
        uint8_t *to = fake_copy(p->bytes);
        fake_poison(p->bytes);
        p->bytes = to;
    }
    fake_hand(t->store, id);
    t->dirty = true;
    *out_page = p->bytes;
    return 0;
}

int pv__page_new(pv__txn *t, unsigned kind, unsigned slot_count, uint32_t owner, uint32_t ordinal,
                 uint64_t *out_page_id, uint8_t **out_page, pv_error *err) {
    pv__store *s = t->store;
    uint64_t id = 0;
    PV_TRY(fake_writable(t, err));
    PV_TRY(fake_gate(t, err));
    if (s->freed.count) {
        id = s->freed.ids[--s->freed.count];
    } else {
        id = s->count++;
        if (id >= s->cap) {
            const uint64_t had = s->cap;
            s->cap = had ? had * 2 : 64;
            s->pages = fake_need(realloc(s->pages, s->cap * sizeof(*s->pages)));
            memset(s->pages + had, 0, (s->cap - had) * sizeof(*s->pages));
        }
    }
    fake_touch(s, id);
    uint8_t *page = fake_need(calloc(slot_count, PV__SLOT_SIZE));
    pv__put64(page + PV__HEAD_PAGE_ID, id);
    pv__put32(page + PV__HEAD_OWNER, owner);
    pv__put32(page + PV__HEAD_ORDINAL, ordinal);
    page[PV__HEAD_KIND] = (uint8_t)kind;
    page[PV__HEAD_VERSION] = 1;
    page[PV__HEAD_SLOTS] = (uint8_t)slot_count;
    s->pages[id].bytes = page;
    s->live++;
    fake_hand(s, id);
    t->dirty = true;
    *out_page_id = id;
    *out_page = page;
    return 0;
}

int pv__page_free(pv__txn *t, uint64_t id, pv_error *err) {
    pv__store *s = t->store;
    PV_TRY(fake_writable(t, err));
    PV_TRY(fake_find(t, id, PV__PAGE_ANY, err));
    fake_touch(s, id);
    fake_poison(s->pages[id].bytes);
    s->pages[id].bytes = NULL;
    s->live--;
    fake_push(&s->freed, id);
    t->dirty = true;
    return 0;
}

/* From now on it lies elsewhere: who changes it without asking for it again is noticed. */
void pv__page_finished(pv__txn *t, uint64_t id) {
    fake_page *p = &t->store->pages[id];
    if (id == 0 || id >= t->store->count || !p->bytes || !p->touched) {
        fprintf(stderr, "page %llu is finished, but was not changed\n", (unsigned long long)id);
        abort();
    }
    uint8_t *to = fake_copy(p->bytes);
    fake_poison(p->bytes);
    p->bytes = to;
}
#endif
