/* SPDX-License-Identifier: Apache-2.0 */
/* glue.h - what the Python module has in C beside pv.h. build_ffi.py reads this file and pv.h to
 * declare everything to cffi, so that prototypes stand here only.
 *
 * cffi lets go of the interpreter's lock around every function below and takes it again inside the
 * three pvpy_on_ functions, which are Python. */
#ifndef PVPY_GLUE_H
#define PVPY_GLUE_H

#include "pv.h"

/* The error of the calling thread, for the last argument of every call: it is filled by a call that
 * fails and is read before the thread makes the next one. */
pv_error *pvpy_err(void);

/* One search without a structure built in Python. NULL: pvpy_err() has the error. */
pv_results *pvpy_search(pv_db *db, pv_txn *txn, const char *collection, const void *vector,
                        uint32_t dims, uint32_t k, uint32_t include, uint32_t flags,
                        float max_distance, const char *filter, size_t filter_len);

/* Destructors of Python objects; the collector of garbage calls them on any thread and at any time,
 * even while a callback runs inside a call of the library. What may not be done there is put off
 * until pvpy_sweep, which every writing call and every destructor begins with. */
void pvpy_drop_db(void *db); /* closes it when nobody has, and lets go of it */
void pvpy_drop_txn(void *txn);
void pvpy_drop_iter(void *iter);
void pvpy_drop_results(void *results);
void pvpy_sweep(void);

/* Is this thread inside a callback of the library, where no call may be made? */
int pvpy_inside(void);

/* For pv_open_opts and pv_check. The interrupt asks Python for signals at most every 50 ms, and only
 * on the thread that handles them, whose number is told here (0: nobody's). */
void pvpy_set_main(unsigned long thread);
int pvpy_interrupt(void *ctx);
void pvpy_log(void *ctx, int level, const char *category, const char *message);
void pvpy_finding(void *ctx, const char *collection, uint64_t page_id, const char *message);

#endif
