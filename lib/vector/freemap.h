/* SPDX-License-Identifier: Apache-2.0 */
/* freemap.h - which groups of slots have dead ones, the deadest first. Private to lib/vector.
 *
 * One byte for each group, 0: no dead slot that the map should give out, else 1..255 growing with
 * their number; above that two levels of maxima, so that the largest is found in three pages:
 *
 *      page 0          top: byte i = max of level-1 page i
 *      pages 1..133    level 1: byte i = max of level-0 page i
 *      pages 134..     level 0: byte g % 4032 of page 134 + g / 4032 is group g
 *
 * They are rows of one byte in a column of 4 KiB pages; a page that is not there is all zero. The
 * group that is being refilled (pv__slots_meta.group) has byte 0. */
#ifndef PV_VECTOR_FREEMAP_H
#define PV_VECTOR_FREEMAP_H

#include "vector/vector.h"

#define PV__FREEMAP_FANOUT 4032u /* bytes of a page */
#define PV__FREEMAP_LEVEL1 1u    /* first page of level 1 */
#define PV__FREEMAP_LEVEL0 134u  /* and of level 0; 4032 * 133 pages reach the limit of slots */

PV_STATIC_ASSERT(PV__FREEMAP_FANOUT == PV__SLOT_SIZE - PV__PAGE_HEAD, freemap_page);
PV_STATIC_ASSERT((uint64_t)PV__FREEMAP_FANOUT *PV__FREEMAP_FANOUT *(PV__FREEMAP_LEVEL0 -
                                                                    PV__FREEMAP_LEVEL1) >=
                     PV__SLOTS_PER_COLLECTION_MAX,
                 freemap_reach);

/* The byte of a group of `size` slots with `dead` dead ones. */
PV_PRIVATE uint8_t pv__freemap_value(uint32_t dead, uint32_t size);
PV_PRIVATE int pv__freemap_get(const pv__column *map, uint32_t group, uint8_t *out_value,
                               pv_error *err);
PV_PRIVATE int pv__freemap_set(const pv__column *map, uint32_t group, uint8_t value, pv_error *err);
/* A group with the largest byte, the lowest such; *out_found false when all are 0. */
PV_PRIVATE int pv__freemap_best(const pv__column *map, uint32_t *out_group, bool *out_found,
                                pv_error *err);
/* Are the maxima above level-0 page `page` right? *out_ok. */
PV_PRIVATE int pv__freemap_maxima(const pv__column *map, uint32_t page, bool *out_ok,
                                  pv_error *err);

#endif
