/* SPDX-License-Identifier: Apache-2.0 */
/* format.h - every structure of the store on disk, with its offsets pinned. The byte tables in
 * docs/format/ say the same in words; change both or neither.
 *
 * Page head (64 bytes), at the start of every page, table nodes too:
 *    0  u64  uuid_tag   first 8 bytes of the database's uuid
 *    8  u64  page_id
 *   16  u64  stamp      LSN: end of the record before the commit that wrote this version   S1
 *   24  u32  owner      object id (0: the store itself)
 *   28  u32  ordinal    place within the owner
 *   32  u8   kind       PV__PAGE_*
 *   33  u8   version    of the payload layout, 1
 *   34  u8   slots      length of the page in 4 KiB slots
 *   35  u8   flags      0
 *   36  ..   zero */
#ifndef PV_STORE_FORMAT_H
#define PV_STORE_FORMAT_H

#include "base/bytes.h"
#include "base/limits.h"

#define PV__HEAD_UUID 0
#define PV__HEAD_PAGE_ID 8
#define PV__HEAD_STAMP 16
#define PV__HEAD_OWNER 24
#define PV__HEAD_ORDINAL 28
#define PV__HEAD_KIND 32
#define PV__HEAD_VERSION 33
#define PV__HEAD_SLOTS 34
#define PV__HEAD_FLAGS 35
#define PV__HEAD_RESERVED 36

static inline unsigned pv__page_slots(const uint8_t *page) { return page[PV__HEAD_SLOTS]; }
static inline unsigned pv__page_kind(const uint8_t *page) { return page[PV__HEAD_KIND]; }
static inline uint64_t pv__page_id(const uint8_t *page) { return pv__get64(page + PV__HEAD_PAGE_ID); }
static inline uint64_t pv__page_stamp(const uint8_t *page) { return pv__get64(page + PV__HEAD_STAMP); }
static inline uint32_t pv__page_owner(const uint8_t *page) { return pv__get32(page + PV__HEAD_OWNER); }
static inline uint32_t pv__page_ordinal(const uint8_t *page) {
    return pv__get32(page + PV__HEAD_ORDINAL);
}

#endif
