/* SPDX-License-Identifier: Apache-2.0 */
/* approx.h - the nearest records through the graph of a collection. */
#ifndef PV_ENGINE_APPROX_H
#define PV_ENGINE_APPROX_H

#include "engine/scan.h"

/* As pv__scan_vectors, but each query walks the graph, and only the tail is compared row by row.
 * ef: of the caller, 0: by target_recall. *out_done false: a scan should answer instead, nothing
 * was offered. */
PV_PRIVATE int pv__approx_vectors(pv_db *db, pv__parts *p, const pv__scan *s, size_t k, uint32_t ef,
                                  float target_recall, bool *out_done, pv_error *err);

/* How a search of its graph goes, where nothing is chosen. */
PV_PRIVATE pv__how pv__approx_how(const pv__parts *p);

#endif
