/* SPDX-License-Identifier: Apache-2.0 */
/* exact.h - exact search by the codes of an index. */
#ifndef PV_ENGINE_EXACT_H
#define PV_ENGINE_EXACT_H

#include "engine/scan.h"

/* As pv__scan_vectors, the same answers bit for bit: where there are codes of which bounds are
 * known and reading them is cheaper than reading vectors, by those; else by that. PV_ERR_CORRUPT
 * where the index is damaged, too: then what s->nearest holds is worth nothing. */
PV_PRIVATE int pv__exact_vectors(pv_db *db, pv__parts *p, const pv__scan *s, pv_error *err);

#endif
