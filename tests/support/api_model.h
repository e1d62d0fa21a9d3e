/* SPDX-License-Identifier: Apache-2.0 */
/* api_model.h - a naive database in plain memory, the oracle for everything pv.h promises.
 *
 *      api_model --> collections, sorted by name --> records, sorted by key
 *                                                      shared by reference between copies
 *
 * A copy costs pointers only, so that a test can keep one for every commit and for every snapshot.
 * What a record holds is drawn from few numbers (api_meta, api_record), so that texts, filters and
 * merge patches have an obvious answer here. api_check.h compares a database with a model,
 * api_ops.h makes random changes on both sides. */
#ifndef PV_TEST_API_MODEL_H
#define PV_TEST_API_MODEL_H

#include <stdbool.h>
#include <stdio.h>

#include "pv_unstable.h"
#include "support/test_support.h"

enum {
    API_NAME = 16,       /* bytes of a collection's name, with its NUL */
    API_COLLECTIONS = 8, /* most of them at one time */
    API_DIMS_MAX = 320,  /* of a vector */
    API_TEXT_MAX = 12000 /* metadata of one record, as it is written */
};

/* ---- metadata: {"a":[..],"g":1,"s":"..."}, each member may be missing ---- */

typedef struct api_meta {
    int32_t g;     /* number, -1: missing */
    int32_t s_len; /* length of the text, -1: missing */
    uint32_t s_seed;
    uint32_t a; /* which array, 0: missing */
} api_meta;

api_meta api_meta_random(test_rng *r);
/* The canonical text, which is what the library must give back. Returns its length. */
size_t api_meta_text(const api_meta *m, char out[API_TEXT_MAX]);
/* The same value, differently written: blanks, order of members, escapes, by `style`. */
size_t api_meta_text_loose(const api_meta *m, uint32_t style, char out[API_TEXT_MAX]);

/* A change of single members, for PV_WRITE_MERGE. */
typedef struct api_patch {
    uint32_t set, remove; /* bits: 1 a, 2 g, 4 s */
    api_meta to;
} api_patch;
api_patch api_patch_random(test_rng *r);
size_t api_patch_text(const api_patch *p, char out[API_TEXT_MAX]);
void api_patch_apply(const api_patch *p, api_meta *m);

typedef enum api_filter_kind {
    API_FILTER_ALL,     /* {} */
    API_FILTER_EQ,      /* {"g":n} */
    API_FILTER_RANGE,   /* {"g":{"$gte":n,"$lt":n + 4}} */
    API_FILTER_NO_TEXT, /* {"s":{"$exists":false}} */
    API_FILTER_IN_OR,   /* {"$or":[{"g":{"$in":[n,n + 1]}},{"a.0":n}]} */
    API_FILTER_NOT,     /* {"$not":{"g":n}} */
    API_FILTERS
} api_filter_kind;
typedef struct api_filter {
    api_filter_kind kind;
    int32_t n;
} api_filter;
api_filter api_filter_random(test_rng *r);
void api_filter_text(const api_filter *f, char out[128]);
bool api_filter_matches(const api_filter *f, const api_meta *m);

/* ---- records and collections ---- */

typedef struct api_record {
    uint32_t refs;
    uint32_t dims;
    uint64_t id_u64; /* PV_ID_NONE: the key is `id` */
    char *id;
    api_meta meta;
    float vector[]; /* dims numbers, which the collection's elements have room for */
} api_record;

typedef struct api_collection {
    char name[API_NAME];
    uint32_t dims, metric, key;
    uint32_t type;    /* PV_TYPE_; f32 unless somebody sets it */
    bool integers;    /* all elements are small whole numbers: distances are exact */
    uint64_t next_id; /* for number keys that are left out */
    api_record **records;
    size_t count, cap;
} api_collection;

typedef struct api_model {
    api_collection items[API_COLLECTIONS];
    size_t count;
} api_model;

void api_model_init(api_model *m);
void api_model_done(api_model *m);
void api_model_copy(api_model *to, const api_model *from); /* to: initialised; what it held goes */

api_collection *api_model_find(api_model *m, const char *name); /* NULL: none */
api_collection *api_model_create(api_model *m, const char *name, uint32_t dims, uint32_t metric,
                                 uint32_t key, bool integers);
void api_model_drop(api_model *m, const char *name);

/* The place of a key: its index, or where it would stand. id NULL: the number. */
bool api_collection_find(const api_collection *c, const char *id, uint64_t id_u64, size_t *out_at);
/* Add or replace. */
void api_collection_put(api_collection *c, const char *id, uint64_t id_u64, const float *vector,
                        const api_meta *meta);
void api_collection_remove(api_collection *c, size_t at);
/* Are distances of c exact, so that ties are known? */
bool api_collection_is_exact(const api_collection *c);
/* Numbers as c stores them; returns the bytes. */
size_t api_vector_pack(const api_collection *c, const float *numbers,
                       uint8_t out[API_DIMS_MAX * sizeof(float)]);
/* Numbers for a vector of c, from a few values, so that distances tie often. */
void api_vector_random(test_rng *r, const api_collection *c, float *out);

/* A clock and a source of random bytes that give the same in every run; one thread at a time. */
typedef struct api_clock {
    pv_clock clock;
    uint64_t now_us;
    test_rng rng;
} api_clock;
void api_clock_init(api_clock *c, uint64_t seed);

#endif
