/* SPDX-License-Identifier: Apache-2.0 */
/* upkeep.h - what nobody waits for: graphs are filled, swept, calibrated, built again, and the
 * pages of old ones given back, in write transactions of about 2 ms each.
 *
 * They are run by the store's thread (store.h: chore), which gives way to every writer and waits
 * for no reader; without threads the calls that write pay for them (index.c). What there is to do
 * stands in the pages; in memory is only where to look. */
#ifndef PV_ENGINE_UPKEEP_H
#define PV_ENGINE_UPKEEP_H

#include "engine/db.h"
#include "engine/parts.h"

/* Something is to be done for this collection, once its transaction has ended. False: nobody will,
 * there is no thread. */
PV_PRIVATE bool pv__upkeep_want(pv_db *db, const pv__collection *c);
PV_PRIVATE void pv__upkeep_want_graves(pv_db *db);
/* A reader has found this collection's graph damaged. */
PV_PRIVATE void pv__upkeep_doubt(pv_db *db, const pv__collection *c);
PV_PRIVATE bool pv__upkeep_doubted(pv_db *db, const pv__collection *c);
PV_PRIVATE void pv__upkeep_settled(pv_db *db, uint64_t graph_page);
PV_PRIVATE uint32_t pv__upkeep_run(void *db); /* the chore */

#endif
