/* SPDX-License-Identifier: Apache-2.0 */
/* code.h - short codes of vectors: what a graph walk reads instead of the full vectors.
 *
 *      vector --encode--> row of bytes (code | factors)          stored, one a slot
 *      vector --query---> prepared query --.
 *      row -----query_row-> the same -------+--distances--> n rows at once -> n floats
 *
 * Distances that come out of here are estimates in a scale of their own, made for comparing:
 *
 *      l2       squared Euclidean
 *      cosine   squared Euclidean of the normalised vectors, 2 * (1 - cos); a zero vector is at 2
 *               to everything, itself included
 *      l1       the square of the sum of absolute differences
 *      hamming, jaccard    as pv.h has them
 *      dot      -dot from a prepared vector, and from a prepared row where links are chosen. From a
 *               prepared row elsewhere (lists, orders): squared Euclidean after the augmentation of
 *               Bachrach et al. (2014), which makes inner product a metric: coordinate
 *               sqrt(norm2_max - |x|^2) is appended, 0 where negative
 *
 * Same bits: sums over elements are integers; then one fixed expression in f32, without fused
 * operations, whatever the instruction set. So a graph that is built from distances of rows is the
 * same on every machine and with any number of threads.
 *
 * Nothing here allocates or keeps state; a pv__code is plain data. Threads: any. */
#ifndef PV_QUANT_CODE_H
#define PV_QUANT_CODE_H

#include "base/alloc.h"

/* Stored in the catalogue: numbers never change. */
enum {
    PV__CODE_F32 = 1, /* the normalised or plain elements themselves */
    PV__CODE_SQ8 = 2, /* 8 bits an element, range of each vector by itself */
    PV__CODE_Q4 = 3,  /* rotated, 4 bits an element, unbiased scale (RaBitQ, Gao et al.) */
    PV__CODE_B1 = 4,  /* rotated, the signs only; the same scale and bound */
    PV__CODE_F16 = 5, /* the elements as binary16 */
    PV__CODE_PQ = 6,  /* product codes; from prepared vectors only: no query_row */
    PV__CODE_I8 = 7,  /* vectors of i8 themselves */
    PV__CODE_BIT = 8  /* vectors of bits themselves */
};

/* In the catalogue, and of a graph that has not begun: it is chosen by measuring (ann/choose.c). */
#define PV__CODE_AUTO 255u

/* A code as one number: its kind, and for pq the bits of a part, the number of parts, and whether
 * vectors are turned before they are cut. */
#define PV__CODE_TURNED 0x80000000u
#define PV__CODE_PACK(kind, bits, parts) ((kind) | (bits) << 8 | (parts) << 16)
#define PV__CODE_KIND(code) ((code)&0xFFu)
#define PV__CODE_BITS(code) ((code) >> 8 & 0xFFu)
#define PV__CODE_PARTS(code) ((code) >> 16 & 0x7FFFu)

struct pv__code_kernel;
struct pv__code_floats;
struct pv__code_ints;
struct pv__code_parts;

/* What a code is asked to be; what is stored of it decides all bytes of a row. */
typedef struct pv__code_spec {
    uint32_t kind;   /* PV__CODE_ */
    uint32_t metric; /* PV_METRIC_ */
    uint32_t dims;
    uint32_t type;   /* PV_TYPE_ of the vectors; 0: f32 */
    bool centred;    /* q4, b1: about a mean, which is the book; else about the origin */
    float norm2_max; /* dot: largest |x|^2 when the graph began; else 0 */
    uint64_t seed;   /* of the rotation, of learning */
    uint32_t parts;  /* pq: 1 to dims */
    uint32_t bits;   /* pq: 4 or 8 for each part */
    bool turned;     /* pq: by a rotation that is learned (OPQ) */
} pv__code_spec;

typedef struct pv__code {
    uint32_t kind; /* as in the spec */
    uint32_t metric;
    uint32_t dims;
    uint32_t type;
    bool centred;
    float norm2_max;
    uint64_t seed;
    uint32_t parts, bits;
    bool turned;
    uint32_t row_size;      /* bytes of one stored row, a multiple of 4 */
    uint32_t query_bytes;   /* bytes of one prepared query; 64-byte aligned memory, please */
    uint32_t scratch_bytes; /* encode wants so many, 64-byte aligned; may be 0 */
    uint32_t wide_bytes; /* of both, at the end: the vector as f32; 0: it is, or stays as it is */
    uint32_t book_bytes; /* 0: the code learns nothing from data */
    /* What was learned: the caller's, 64-byte aligned; to be set before anything is encoded and
     * before a query is prepared. Distances do without. */
    const void *book;
    /* pq: another one that is alive; rows say in which of the two they were coded, by epoch. NULL:
     * none. Rows are encoded in `book`. */
    const void *other_book;
    uint32_t epoch; /* of `book`: 0 or 1 */
    const struct pv__code_kernel *kernel;
    const struct pv__code_floats *floats;
    const struct pv__code_parts *product;
    const struct pv__code_ints *ints;
} pv__code;

/* "sq8"; NULL: no such kind. */
PV_PRIVATE const char *pv__code_name(uint32_t kind);
/* Can vectors of this type and metric be coded so? */
PV_PRIVATE bool pv__code_goes(uint32_t kind, uint32_t type, uint32_t metric);
/* The kind where nobody has said one. */
PV_PRIVATE uint32_t pv__code_default(uint32_t type, uint32_t metric);

/* False: no such kind, one that does not go with type and metric, or dims 0 or more than
 * PV_LIMIT_DIMS. cpu: PV__CPU_ bits. */
PV_PRIVATE bool pv__code_init(pv__code *c, const pv__code_spec *spec, uint32_t cpu);

/* Learn the book (c->book_bytes, all of which are written) from n >= 1 vectors in a row, as f32.
 * The same sample gives the same bytes everywhere. Nothing to do where book_bytes is 0. */
typedef struct pv__code_stop { /* asked now and then; not 0 ends it with that code */
    int (*fn)(void *ctx, pv_error *err);
    void *ctx;
} pv__code_stop;
PV_PRIVATE int pv__code_train(const pv__code *c, pv__mem *mem, const float *sample, size_t n,
                              const pv__code_stop *stop, void *book, pv_error *err);

/* vector: elements of c->type. row: c->row_size bytes, any alignment; every byte of it is written.
 * The elements are finite. */
PV_PRIVATE void pv__code_encode(const pv__code *c, const void *vector, void *scratch, uint8_t *row);

/* sq8, f16, bit: the dims elements that a row stands for (cosine: of the normalised vector). */
PV_PRIVATE void pv__code_decode(const pv__code *c, const uint8_t *row, float *out);

/* query: c->query_bytes. */
PV_PRIVATE void pv__code_query(const pv__code *c, const void *vector, void *query);
PV_PRIVATE void pv__code_query_row(const pv__code *c, const uint8_t *row, void *query);
/* The same for choosing links: for dot -dot. */
PV_PRIVATE void pv__code_query_link(const pv__code *c, const uint8_t *row, void *query);

/* Distances of the query to n rows anywhere in memory. Fetches rows a few ahead by itself: rows
 * need not be in the cache. Never NaN. */
PV_PRIVATE void pv__code_distances(const pv__code *c, const void *query, const uint8_t *const *rows,
                                   size_t n, float *out);

/* The same for rows that memory was asked for already (pv__colview_rows). */
PV_PRIVATE void pv__code_distances_expected(const pv__code *c, const void *query,
                                            const uint8_t *const *rows, size_t n, float *out);

/* A few rows that many prepared queries are compared with: turned once (panel.c). */
#define PV__CODE_PANEL_ROWS 32u
typedef struct pv__code_panel {
    const uint8_t *rows[PV__CODE_PANEL_ROWS]; /* the caller's; they stay */
    size_t n;
    uint8_t *turned; /* pv__code_panel_bytes, 64-byte aligned */
} pv__code_panel;
PV_PRIVATE size_t pv__code_panel_bytes(const pv__code *c);
/* Bytes of a query that pv__code_query_row has prepared, for these: may be fewer than query_bytes;
 * a multiple of 64. */
PV_PRIVATE size_t pv__code_panel_query_bytes(const pv__code *c);
/* After rows and n are set. */
PV_PRIVATE void pv__code_panel_fill(const pv__code *c, pv__code_panel *p);
/* out[q * PANEL_ROWS + r]: what pv__code_distances says of query q and row r; +inf behind row n. */
PV_PRIVATE void pv__code_panel_distances(const pv__code *c, const pv__code_panel *p,
                                         const uint8_t *const *queries, size_t count, float *out);
/* How many of n distances are not above the bound. */
PV_PRIVATE size_t pv__code_count_within(const pv__code *c, const float *distances, size_t n,
                                        float bound);
/* Those and their ids to out, as they come; how many. out may be where they are, or begin before;
 * up to KEEP_BEHIND places behind the last are written. */
#define PV__CODE_KEEP_BEHIND 16u
PV_PRIVATE size_t pv__code_keep_within(const pv__code *c, const float *distances,
                                       const uint32_t *ids, size_t n, float bound, float *out,
                                       uint32_t *out_ids);

/* pq: what encoding has lost of a vector, squared; the epoch of a row, or 2 for one that holds no
 * code (zeros behind, and at FLT_MAX to all). */
PV_PRIVATE float pv__code_lost(const pv__code *c, const void *vector, void *scratch,
                               const uint8_t *row);
PV_PRIVATE uint32_t pv__code_epoch(const pv__code *c, const uint8_t *row);
/* pq: what the book says that it loses. */
PV_PRIVATE float pv__code_book_lost(const void *book);

/* How far an estimate of pv__code_query may be from the truth, in the same scale: one standard
 * deviation for this query and row. */
PV_PRIVATE float pv__code_sigma(const pv__code *c, const void *query, const uint8_t *row);
/* The same for rows whose distances are known. */
PV_PRIVATE void pv__code_sigmas(const pv__code *c, const void *query, const uint8_t *const *rows,
                                size_t n, const float *distances, float *out);

/* Does a query that is prepared for one of two codes serve the other too? */
PV_PRIVATE bool pv__code_same_query(const pv__code *a, const pv__code *b);

#endif
