/* SPDX-License-Identifier: Apache-2.0 */
/* near.h - what lies near the rows of a large call: cells about centres, for as long as the call
 * takes.
 *
 *      nodes   | cell 0: 17 21 40 . . | cell 1: 3 8 9 30 . | ...     node, or IN_BATCH | row
 *                first[0]    count[0]   first[1]
 *
 * A walk finds the candidates of one row after the other, and waits for memory at every hop. Rows
 * of a batch that lie near each other want the same candidates: here 32 of those are turned into a
 * panel and compared with all rows that want their cell. So each of a few hundred rows is compared
 * with many thousands, and that takes less than a walk that meets two thousand.
 *
 * Only sq8 and q4 can be turned. Where the graph has other codes (f32, f16, i8), rows are coded in
 * sq8 on the way into a panel, and what is found is measured again by the graph's own.
 *
 * Invariants
 *   N1  While a batch is planned, the lists of cells have its own rows (but those that equal an
 *       earlier one of them), behind the nodes.
 *   N2  What is found for a row depends on the lists and the row, not on the rows that are looked
 *       at with it (G5): of all that it is compared with the nearest, by distance and then by
 *       number, as far as its stop; a bound only leaves out what cannot be one of those.
 *
 * Threads: lists are for whoever builds; scans of one batch may run side by side. */
#ifndef PV_ANN_NEAR_H
#define PV_ANN_NEAR_H

#include "ann/best.h"
#include "ann/build.h"

#define PV__NEAR_IN_BATCH 0x80000000u /* a row of the batch instead of a node */
#define PV__NEAR_CELLS_MAX 4096u

struct pv__near {
    pv__graph *g;
    pv__mem *mem;
    pv__code own;            /* what rows are compared by; kind 0: the graph's own code */
    uint32_t n;              /* cells */
    uint8_t *centres;        /* their codes */
    uint8_t *queries;        /* the same, prepared */
    const uint8_t **query;   /* n, into them */
    size_t query_bytes;      /* of one, a multiple of 64 */
    uint32_t *first, *count; /* first: n + 1 */
    uint32_t *nodes;
    uint32_t node_count; /* in all lists */
    size_t node_cap;
    uint16_t *cells; /* of the rows of the call, in the order of the call */
    size_t rows;
    /* to place 32 rows */
    pv__code_panel panel;
    size_t panel_bytes;
    uint8_t *codes;
    uint8_t *scratch; /* of encoding into them; behind it a row of the graph's code */
    size_t scratch_bytes;
    float *distances; /* n x 32 */
};

/* How many cells for a call of so many rows; 0: cells would not help. */
PV_PRIVATE uint32_t pv__near_cells(const pv__graph *g, size_t count);
/* Learn `n` cells from these rows, and say in which each row and each node lies. Pauses. */
PV_PRIVATE int pv__near_new(pv__graph *g, pv__walker *w, const uint32_t *slots, size_t count,
                            uint32_t n, pv__graph_interrupt_fn interrupt, void *ctx, pv__near **out,
                            pv_error *err);
PV_PRIVATE void pv__near_free(pv__near *x);

/* Are the rows that one is compared with a large enough part of all? Else walks find more. */
PV_PRIVATE bool pv__near_serves(const pv__near *x);

/* What rows of cells are compared by, centres among them. */
PV_PRIVATE const pv__code *pv__near_code(const pv__near *x, const pv__walker *w);
/* Row `row` of the batch, or a node, is in a cell now. */
PV_PRIVATE void pv__near_add(pv__near *x, uint32_t cell, uint32_t id);
/* What was added last to a cell no longer is. */
PV_PRIVATE void pv__near_drop(pv__near *x, uint32_t cell);

/* ---- some rows of a batch -------------------------------------------------------------------- */

typedef struct pv__near_want {
    uint32_t cell, row; /* of the scan */
} pv__near_want;

typedef struct pv__near_scan {
    pv__near *x;
    const uint8_t *codes;   /* of the whole batch */
    pv__best_rule rule, rank; /* of hits, of cells */
    size_t cap;               /* rows */
    size_t from, rows; /* now: rows from .. from + rows of the batch; 0: none */
    uint8_t *queries;
    const uint8_t **query;
    pv__best *hits;     /* of each row; first of cells */
    float *hit_floats;  /* theirs */
    uint32_t *hit_ids;
    bool *large; /* its cell is too large: a walk is better */
    pv__near_want *wants;
    size_t want_count, at;
    uint32_t at_row, wave; /* row of the cell of wants[at]; its wave */
    pv__code_panel panel;
    const uint8_t *next[PV__CODE_PANEL_ROWS]; /* rows of the panel behind this one */
    uint8_t *turned, *scratch; /* codes of the panel's rows where they are not the graph's */
    const uint8_t **asked;                    /* rows of a panel's queries */
    float *distances;
    size_t bytes;
    uint8_t *memory;
} pv__near_scan;

/* At most `keep` candidates for a row, and none beyond `stop` times the `at`-th. */
typedef struct pv__near_stop {
    uint32_t keep, at;
    float stop;
} pv__near_stop;
/* Memory for scans of up to `rows` rows at a time. */
PV_PRIVATE int pv__near_scan_init(pv__near_scan *s, pv__near *x, const pv__near_stop *stop,
                                  size_t rows, pv_error *err);
PV_PRIVATE void pv__near_scan_done(pv__near_scan *s);
/* Rows [from, from + rows) of a batch with these codes. w has fresh views. */
PV_PRIVATE void pv__near_scan_begin(pv__near_scan *s, pv__walker *w, const uint8_t *codes,
                                    size_t from, size_t rows);
/* Go on; *out_done false when memory is short or it has taken a while: pause or ask, and go on. */
PV_PRIVATE int pv__near_scan_run(pv__near_scan *s, pv__walker *w, bool *out_done, pv_error *err);
/* The candidates of row `row` of the batch, ascending, by pv__near_code. */
PV_PRIVATE size_t pv__near_scan_take(pv__near_scan *s, size_t row, const pv__hit **out);

#endif
