/* SPDX-License-Identifier: Apache-2.0 */
/* tree_kit.h - what the tests of lib/tree share: a tree in an in-memory store, a random source
 * that can be replayed, values made from a seed, and walks that look for lost pages. */
#ifndef PV_TEST_SUPPORT_TREE_KIT_H
#define PV_TEST_SUPPORT_TREE_KIT_H

#include "tree/node.h"

#define T_TREE_OWNER 5u

typedef struct t_tree {
    pv__mem mem;
    pv__store *store;
    pv__txn *txn; /* write transaction */
    pv__tree tree;
    pv__buf buf; /* scratch of the helpers below */
    pv__buf value;
    pv_error err;
} t_tree;

void t_tree_open(t_tree *t);  /* with an empty tree in an open transaction */
void t_tree_close(t_tree *t); /* rolls back, and checks that all memory came back */
void t_tree_commit(t_tree *t);
void t_tree_rollback(t_tree *t); /* and begin the next one */

uint64_t t_rand(uint64_t *state); /* splitmix64 */
static inline uint64_t t_rand_below(uint64_t *state, uint64_t n) { return t_rand(state) % n; }

/* Seeds from..to - 1, or what PV_TEST_SEEDS=from-to says, to replay or to look longer. */
void t_seeds(uint64_t *from, uint64_t *to);
/* Bytes number 0..size-1 of the value of `seed`. */
void t_value_fill(uint8_t *out, size_t size, uint64_t seed);
/* Put, get and delete with asserts; the value is made from the seed. */
void t_put(t_tree *t, const void *key, size_t key_size, uint64_t seed, size_t value_size);
void t_expect(t_tree *t, const void *key, size_t key_size, uint64_t seed, size_t value_size);
void t_del(t_tree *t, const void *key, size_t key_size, bool expect_found);
uint64_t t_key64(uint64_t n); /* the number whose bytes in memory sort like n */

/* pv__tree_check finds nothing; returns the number of entries. */
uint64_t t_check(t_tree *t);
/* Pages of the tree's owner among ids 1..id_max, whether reachable or not. */
uint64_t t_pages_owned(t_tree *t, uint64_t id_max);

typedef struct t_shape {
    uint64_t leaves, inner, overflow;
    uint64_t leaf_bytes, inner_bytes; /* in use, slots included */
    uint64_t page_max;                /* highest page id */
    unsigned depth, least_used;       /* least_used: of nodes that are not the root */
} t_shape;
void t_shape_of(t_tree *t, t_shape *out); /* of a sound tree */

#endif
