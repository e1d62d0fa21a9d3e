/* SPDX-License-Identifier: Apache-2.0 */
/* store_kit.h - a small world for tests of the store: pages whose whole content follows from a
 * number, and a model that remembers which number each page has at each commit. */
#ifndef PV_TEST_STORE_KIT_H
#define PV_TEST_STORE_KIT_H

#include "store/peek.h"
#include "support/test_support.h"

#define KIT_PAGES_MAX 256u

typedef struct kit_page {
    uint64_t id;   /* 0: none */
    uint64_t seed; /* content */
    unsigned slots;
} kit_page;

/* What a committed state holds. */
typedef struct kit_state {
    kit_page pages[KIT_PAGES_MAX];
    uint64_t lsn, db_sum, commits;
} kit_state;

typedef struct kit_world {
    pv__store *store;
    kit_state now;   /* of the open transaction, or the last commit */
    kit_state saved; /* before the open transaction */
    test_rng rng;
    unsigned pages;     /* how many of KIT_PAGES_MAX are used; 0: all */
    unsigned slots_max; /* largest page; 0: 16 */
    unsigned slots_min; /* smallest; 0: 1 */
    bool trees;         /* every third page is of the kind that is compressed */
} kit_world;

/* Change single words of a page so that its content is a function of (old content, seed). */
void kit_fill(uint8_t *page, size_t size, uint64_t seed);
bool kit_is(const uint8_t *page, size_t size, uint64_t seed);
/* Random changes inside txn, mirrored in w->now. */
int kit_mutate(kit_world *w, pv__txn *txn, unsigned changes, pv_error *err);
/* Free all pages, or make all that are not there. Both count as a commit, like kit_mutate. */
int kit_drop(kit_world *w, pv__txn *txn, pv_error *err);
int kit_load(kit_world *w, pv__txn *txn, pv_error *err);
/* Do all pages of `want`, and no others, exist with their content? Fails the test or, when
 * `message` is given, returns false with the reason in it. */
bool kit_matches(pv__store *s, const kit_state *want, char message[200]);
/* The same through an open transaction. */
bool kit_sees(pv__txn *t, const kit_state *want, char message[200]);
/* The same by addresses that earlier transactions have found, where the sight says that they hold
 * (S14), and by the pages as they are read, which are remembered. */
typedef struct kit_memory {
    pv__sight sight;
    const uint8_t *pages[KIT_PAGES_MAX]; /* NULL: not known */
    uint64_t believed;                   /* addresses that were gone by */
} kit_memory;
bool kit_remembers(pv__txn *t, const kit_state *want, kit_memory *m, char message[200]);
/* The database checksum (S13) from scratch, through an open transaction. */
int kit_sum(pv__txn *t, uint64_t *out_sum, pv_error *err);

#endif
