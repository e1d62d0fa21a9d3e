/* SPDX-License-Identifier: Apache-2.0 */
/* format.h - every structure of the store on disk, by offset. The byte tables in docs/format/ say
 * the same in words; change both or neither. All integers little-endian, all padding zero.
 *
 *   x.pv      [super A][super B] ... [A' at slot 16][B' at slot 17] ... pages and table nodes
 *   x.pv-wal/ [segment head 4 KiB][records ...]   one file per segment, never rewound
 *
 * Page head (64 bytes), at the start of every page, table nodes too. The parent entry vouches for
 * the page's bytes, the page states its identity (S4):
 *    0  u64  uuid_tag   first 8 bytes of the database's uuid
 *    8  u64  page_id
 *   16  u64  stamp      LSN: end of the record before the commit that wrote this version (S1)
 *   24  u32  owner      object id (0: the store itself)
 *   28  u32  ordinal    place within the owner
 *   32  u8   kind       PV__PAGE_*
 *   33  u8   version    of the payload layout, 1
 *   34  u8   slots      length of the page in 4 KiB slots, before compression
 *   35  u8   flags      bit 0: by slot
 *   36  u32  packed     bytes of the compressed payload that follows; 0 when not compressed
 *   40  ..   zero
 *
 * A page by slot has, as it is stored, the hash of each of its slots behind the head, and the entry
 * the hash of these: any slot can be verified without the others (piece.c). In memory they are 0,
 * and hashes are of that. */
#ifndef PV_STORE_FORMAT_H
#define PV_STORE_FORMAT_H

#include "base/bytes.h"
#include "base/limits.h"

#define PV__FORMAT_MAJOR 1u
#define PV__FORMAT_MINOR 0u

/* Features this code knows. An unknown incompat bit refuses the file, an unknown ro_compat bit
 * refuses writing, compat bits are ignored. */
#define PV__FEATURE_INCOMPAT_ZSTD 0x1u /* some page or record may be compressed with zstd */
#define PV__FEATURE_INCOMPAT_KNOWN 0x1u
#define PV__FEATURE_RO_KNOWN 0x0u

/* ---- page head ----------------------------------------------------------------------------- */

#define PV__HEAD_UUID 0
#define PV__HEAD_PAGE_ID 8
#define PV__HEAD_STAMP 16
#define PV__HEAD_OWNER 24
#define PV__HEAD_ORDINAL 28
#define PV__HEAD_KIND 32
#define PV__HEAD_VERSION 33
#define PV__HEAD_SLOTS 34
#define PV__HEAD_FLAGS 35
#define PV__HEAD_PACKED 36
#define PV__HEAD_BY_SLOT 0x1u /* flag */

/* Bytes before the owner's in a page by slot: the head, and u64 for each slot, to a full line. One
 * slot needs none. */
#define PV__PAGE_FRONT_MAX (PV__PAGE_HEAD + 8 * PV__PAGE_SLOTS_MAX)
static inline uint32_t pv__page_front(unsigned slots) {
    return slots > 1 ? PV__PAGE_HEAD + (slots + 7) / 8 * 64 : PV__PAGE_HEAD;
}

static inline unsigned pv__page_slots(const uint8_t *page) { return page[PV__HEAD_SLOTS]; }
static inline unsigned pv__page_kind(const uint8_t *page) { return page[PV__HEAD_KIND]; }
static inline uint64_t pv__page_id(const uint8_t *page) {
    return pv__get64(page + PV__HEAD_PAGE_ID);
}
static inline uint64_t pv__page_stamp(const uint8_t *page) {
    return pv__get64(page + PV__HEAD_STAMP);
}
static inline uint32_t pv__page_owner(const uint8_t *page) {
    return pv__get32(page + PV__HEAD_OWNER);
}
static inline uint32_t pv__page_ordinal(const uint8_t *page) {
    return pv__get32(page + PV__HEAD_ORDINAL);
}

/* ---- superblock (4 KiB, at slots 0, 1 and mirrored at 16, 17) ------------------------------- */

#define PV__SUPER_MAGIC                                                                            \
    "\x89"                                                                                         \
    "Piramid\r\n\x1a\n\0\0\0" /* 16 bytes with the final NUL */
#define PV__SUPER_SLOT_A 0u
#define PV__SUPER_SLOT_B 1u
#define PV__SUPER_MIRROR 16u     /* added to the slot of a superblock */
#define PV__SUPER_MAJOR 16       /* u32 */
#define PV__SUPER_MINOR 20       /* u32 */
#define PV__SUPER_COMPAT 24      /* u64 */
#define PV__SUPER_RO_COMPAT 32   /* u64 */
#define PV__SUPER_INCOMPAT 40    /* u64 */
#define PV__SUPER_UUID 48        /* 16 bytes */
#define PV__SUPER_SEQUENCE 64    /* u64, grows with every superblock written */
#define PV__SUPER_LSN 72         /* u64, the root holds the database as of this LSN */
#define PV__SUPER_DB_SUM 80      /* u64, S13 at that LSN */
#define PV__SUPER_FILE_SLOTS 88  /* u64, slots that the root may refer to */
#define PV__SUPER_ROOT 96        /* table entry, 24 bytes */
#define PV__SUPER_HEIGHT 120     /* u32, levels of the page table, 0: no page yet */
#define PV__SUPER_FLAGS 124      /* u32 */
#define PV__SUPER_TIMELINE 128   /* u32 */
#define PV__SUPER_EPOCH 132      /* u32, highest log epoch used */
#define PV__SUPER_FORK_LSN 136   /* u64, where this timeline began */
#define PV__SUPER_COMMITS 144    /* u64, commit number of the root */
#define PV__SUPER_CREATED_US 152 /* i64 */
#define PV__SUPER_WRITTEN_US 160 /* i64 */
#define PV__SUPER_SELF 168       /* u64, the slot this copy belongs to */
#define PV__SUPER_CHAIN 176      /* u64, head hash of the last record before the root's LSN */
#define PV__SUPER_CHECKSUM 4088  /* u64, XXH3-64 of bytes 0..4087 */
#define PV__SUPER_FLAG_LOG 0x1u  /* the log from SUPER_LSN is required (S9) */

/* ---- page table ----------------------------------------------------------------------------
 * Radix of 4 KiB nodes: page head (kind TABLE, page_id = level << 56 | index, ordinal = level) and
 * 168 entries of 24 bytes. Level 0 describes pages: entry page_id % 168 of node page_id / 168. */

#define PV__PTE_SIZE 24u
#define PV__PT_FANOUT 168u
#define PV__PTE_CHECKSUM                                                                           \
    0                        /* u64, XXH3-64 of the stored bytes, or of the hashes of the slots of
                              * a page by slot, seeded with uuid and page id */
#define PV__PTE_BIRTH 8      /* u64, LSN of the checkpoint that first referred to it */
#define PV__PTE_SLOT 16      /* u40 */
#define PV__PTE_SLOTS 21     /* u8, stored slots; 0: no such page */
#define PV__PTE_CODEC 22     /* u8, low half: 0 none, 1 zstd; high half: flags */
#define PV__PTE_RAW_SLOTS 23 /* u8, slots before compression */

#define PV__PTE_BY_SLOT 0x10u /* flag, beside codec 0: a page by slot */

typedef struct pv__pte {
    uint64_t checksum, birth, slot;
    uint8_t slots, codec, raw_slots;
} pv__pte;

static inline pv__pte pv__pte_get(const uint8_t *p) {
    pv__pte e;
    e.checksum = pv__get64(p + PV__PTE_CHECKSUM);
    e.birth = pv__get64(p + PV__PTE_BIRTH);
    e.slot = pv__get32(p + PV__PTE_SLOT) | (uint64_t)p[PV__PTE_SLOT + 4] << 32;
    e.slots = p[PV__PTE_SLOTS];
    e.codec = p[PV__PTE_CODEC];
    e.raw_slots = p[PV__PTE_RAW_SLOTS];
    return e;
}
static inline void pv__pte_put(uint8_t *p, const pv__pte *e) {
    pv__put64(p + PV__PTE_CHECKSUM, e->checksum);
    pv__put64(p + PV__PTE_BIRTH, e->birth);
    pv__put32(p + PV__PTE_SLOT, (uint32_t)e->slot);
    p[PV__PTE_SLOT + 4] = (uint8_t)(e->slot >> 32);
    p[PV__PTE_SLOTS] = e->slots;
    p[PV__PTE_CODEC] = e->codec;
    p[PV__PTE_RAW_SLOTS] = e->raw_slots;
}

/* ---- page 1 ---------------------------------------------------------------------------------
 * Payload: u64 next_page_id, u64 freelist page (0: none), u64 free page count, u64 reserved,
 * then 16 u64 numbers of the layer above. */
#define PV__META_PAGE 1u
#define PV__META_NEXT_ID (PV__PAGE_HEAD + 0)
#define PV__META_FREELIST (PV__PAGE_HEAD + 8)
#define PV__META_FREE_COUNT (PV__PAGE_HEAD + 16)
#define PV__META_ROOTS (PV__PAGE_HEAD + 32)
#define PV__META_ROOT_COUNT 16u
/* Free list page: u64 next, u64 count, then ids. Freed ids are handed out last in first out. */
#define PV__FREELIST_NEXT (PV__PAGE_HEAD + 0)
#define PV__FREELIST_COUNT (PV__PAGE_HEAD + 8)
#define PV__FREELIST_IDS (PV__PAGE_HEAD + 16)
#define PV__FREELIST_CAP ((PV__SLOT_SIZE - PV__FREELIST_IDS) / 8)
#define PV__PAGE_ID_MAX ((uint64_t)1 << 29)

/* ---- log ------------------------------------------------------------------------------------
 * Segment file name: 16 hex digits of the first LSN, '-', 8 hex digits of the epoch, ".pvw".
 * LSN x of a segment lies at file offset 4096 + (x - first LSN); first LSNs are multiples of
 * 4 KiB. */

#define PV__SEG_MAGIC                                                                              \
    "\x89"                                                                                         \
    "PiramidLog\r\n\x1a\n"    /* 16 bytes with the final NUL */
#define PV__SEG_MAJOR 16      /* u32 */
#define PV__SEG_MINOR 20      /* u32 */
#define PV__SEG_UUID 24       /* 16 bytes */
#define PV__SEG_START 40      /* u64, first LSN */
#define PV__SEG_TIMELINE 48   /* u32 */
#define PV__SEG_EPOCH 52      /* u32 */
#define PV__SEG_CHAIN 56      /* u64, head hash of the record before */
#define PV__SEG_CREATED_US 64 /* i64 */
#define PV__SEG_DURABLE 72    /* u64, durable LSN when it was made: with this epoch all before it */
#define PV__SEG_CHECKSUM 4088 /* u64, XXH3-64 of bytes 0..4087 */
#define PV__SEG_HEAD 4096u

/* Record: one commit. 128 bytes of head, the body, zeros up to a multiple of 8. */
#define PV__REC_MAGIC_VALUE 0x31525650u /* "PVR1" */
#define PV__REC_MAGIC 0                 /* u32 */
#define PV__REC_EPOCH 4                 /* u32 */
#define PV__REC_LSN 8                   /* u64, where this record begins */
#define PV__REC_STAMP 16      /* u64, where the record before ended: the stamp of its pages */
#define PV__REC_CHAIN 24      /* u64, head hash of the record before */
#define PV__REC_DURABLE 32    /* u64, everything before this LSN was durable when it was written */
#define PV__REC_BODY 40       /* u64, bytes of the body as stored */
#define PV__REC_RAW 48        /* u64, bytes of the body before compression */
#define PV__REC_ENTRIES 56    /* u32 */
#define PV__REC_TIMELINE 60   /* u32 */
#define PV__REC_TIME_US 64    /* i64, wall clock */
#define PV__REC_COMMIT 72     /* u64, number of the commit */
#define PV__REC_DB_SUM 80     /* u64, S13 after this commit */
#define PV__REC_CODEC 88      /* u32 */
#define PV__REC_RESERVED 92   /* u32 */
#define PV__REC_BODY_HASH 96  /* u64, XXH3-64 of the stored body, seeded with uuid and stamp */
#define PV__REC_RESERVED2 104 /* 16 bytes */
#define PV__REC_HEAD_HASH 120 /* u64, XXH3-64 of bytes 0..119, seeded with the uuid */
#define PV__REC_HEAD 128u

/* Entries of a body: u8 kind, varint page id, then by kind
 *   DELTA  varint (stamp of record - stamp of previous version), varint count of ranges, each:
 *          varint gap from the end of the range before, varint length, bytes
 *   FULL   u64 sum of the previous version (0: none), varint length, bytes from the page's start
 *          (head included); the rest of the page is zero
 *   REF    u64 sum before, u64 sum after, table entry (24 bytes, birth 0): the page lies in those
 *          slots, which were synced before this record was written
 *   FREE   u64 sum before
 * "sum" is the page's part of the database checksum (S13). */
#define PV__ENTRY_DELTA 1u
#define PV__ENTRY_FULL 2u
#define PV__ENTRY_REF 3u
#define PV__ENTRY_FREE 4u

#define PV__BLOCK 256u /* unit of the database checksum */

#endif
