/* SPDX-License-Identifier: Apache-2.0 */
/* results.h - rows handed to the caller: copies, bound to nothing but their allocator.
 *
 *      ids        numbers: u64[count]          strings: id_text + at[count + 1]
 *      distances  f32[count]                   when the rows come from a search
 *      scores     f32[count]                   beside them
 *      found      u8[count]                    when rows can be missing
 *      metadata   text + {at, len}[count]      PV_INCLUDE_METADATA
 *      vectors    row_bytes * count, 64-byte aligned   PV_INCLUDE_VECTOR
 *
 * All but vectors and the text of metadata lie behind the structure in one piece of memory, so that
 * who makes one says how long the ids are together. Built row by row by one thread, then never
 * changed. All arrays have `count` places from the start. Ids are set in the order of rows, so that
 * id i ends where id i + 1 begins. */
#ifndef PV_ENGINE_RESULTS_H
#define PV_ENGINE_RESULTS_H

#include "engine/db.h"
#include "engine/parts.h"

typedef struct pv__span {
    size_t at, len;
} pv__span;

struct pv_results {
    pv__env *env;
    size_t count;
    uint32_t key;        /* PV_KEY_ */
    bool from_one;       /* the score is 1 - distance, not -distance */
    uint32_t type, dims; /* of the vectors; 0 without them */
    uint32_t row_bytes;
    const char *plan; /* of the search; NULL: there was none */
    float error;      /* of distances */
    uint64_t *ids_u64;
    uint64_t *ids;
    float *distances;
    float *scores; /* = distances + count */
    uint8_t *found;
    pv__span *metadata;
    uint8_t *vectors;
    char *id_text;            /* ids, each with a NUL */
    size_t id_bytes, id_room; /* of it: used, there are */
    size_t bytes;             /* of this piece of memory */
    pv__buf text;             /* metadata, each with a NUL */
};

struct pv_names {
    pv__env *env;
    size_t count, cap;
    size_t *at;
    pv__buf text;
};

#define PV__RESULTS_DISTANCES 0x100u /* beside PV_INCLUDE_ */
#define PV__RESULTS_FOUND 0x200u     /* rows may be missing: all are, until set */

/* id_bytes: of all string ids, with a NUL each. */
PV_PRIVATE int pv__results_new(pv__env *env, const pv__collection *c, size_t count, size_t id_bytes,
                               uint32_t include, pv_results **out, pv_error *err);
PV_PRIVATE void pv__results_free(pv_results *r); /* NULL is fine */
PV_PRIVATE int pv__results_set_id(pv_results *r, size_t i, pv__bytes key, pv_error *err);
/* Distance and score of row i. */
PV_PRIVATE void pv__results_set_distance(pv_results *r, size_t i, float distance);
/* Metadata and vector of a live slot: whatever r carries. row NULL: it is looked for, with buf as
 * scratch, when it is needed. */
PV_PRIVATE int pv__results_fill(pv_results *r, size_t i, pv__parts *p, uint32_t slot,
                                const pv__row *row, pv__buf *buf, pv_error *err);

#endif
