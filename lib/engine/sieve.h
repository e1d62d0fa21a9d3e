/* SPDX-License-Identifier: Apache-2.0 */
/* sieve.h - exact search for many queries at once: of rows that the scan has collected, all
 * pairs are screened by one product of matrices (kernel/screen.h), and only those that may be near
 * enough are compared. The answers are those of comparing all, bit for bit.
 *
 * When too many pairs pass - vectors far from the origin and close together, or more wanted than
 * there are - comparing all is cheaper: then the sieve closes and the scan goes on without it. */
#ifndef PV_ENGINE_SIEVE_H
#define PV_ENGINE_SIEVE_H

#include "engine/db.h"
#include "engine/scan.h"
#include "kernel/screen.h"

typedef struct pv__sieve {
    pv__mem *mem;
    pv_db *db;
    const pv__scan *scan;
    bool open;
    size_t cap; /* rows at once */
    uint64_t pairs, passed;
    float *groups;
    size_t group_bytes;
    double *norm2;
    bool lent; /* groups and norm2 are another's */
    pv__screen screen;
} pv__sieve;

/* Stays closed where it would not help, also for want of memory. The scan outlives it. lender:
 * NULL, or a sieve of the same queries for another thread, which outlives this one. */
PV_PRIVATE void pv__sieve_init(pv__sieve *v, pv_db *db, const pv__scan *scan,
                               const pv__sieve *lender);
PV_PRIVATE void pv__sieve_done(pv__sieve *v);
/* Offer `count` rows to every query, at most `cap`; to be full is best. */
PV_PRIVATE int pv__sieve_run(pv__sieve *v, const uint8_t *const *rows, const uint32_t *slots,
                             size_t count, pv_error *err);

#endif
