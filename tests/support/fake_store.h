/* SPDX-License-Identifier: Apache-2.0 */
/* fake_store.h - a store in plain memory that is as strict about pointers as store.h allows.
 *
 * It takes the place of lib/store when PV_TEST_FAKE_STORE is defined, so that a layer above can be
 * tested for lifetime mistakes that the real store forgives:
 *   - the first pv__page_write of a page in a transaction moves it and frees the old copy
 *   - pv__txn_pause moves every page that was handed out since the last one
 *   - a freed page is gone at once, and its id is the next one to be given out
 *   - every page lies in a block of exactly its size
 * Built with the address sanitiser and without lib/store: the sources of lib/base and lib/tree,
 * this one, tree_kit.c and one of tests/unit/test_tree*.c, all with -DPV_TEST_FAKE_STORE.
 * Each page call counts as one allocation, so that pv__mem.fail_at makes it fail. One transaction
 * at a time. Without the macro this is an empty unit. */
#ifndef PV_TEST_SUPPORT_FAKE_STORE_H
#define PV_TEST_SUPPORT_FAKE_STORE_H

#ifdef PV_TEST_FAKE_STORE
#include "store/store.h"
#endif

#endif
