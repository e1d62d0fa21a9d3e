/* SPDX-License-Identifier: Apache-2.0 */
/* limits.h - every bound of the library in one place. A bound that a user can meet is also in
 * pv.h or the README. Tests may shrink those in an #ifndef. */
#ifndef PV_BASE_LIMITS_H
#define PV_BASE_LIMITS_H

#define PV__DIMS_MAX 16384u
#define PV__K_MAX 16384u
#define PV__KEY_BYTES_MAX 512u            /* string ids */
#define PV__NAME_BYTES_MAX 128u           /* collection names */
#define PV__METADATA_BYTES_MAX (1u << 20) /* JSON text of one record */
#define PV__JSON_DEPTH_MAX 64u
#define PV__DOC_BYTES_MAX (64u << 20)   /* binary document */
#define PV__FILTER_BYTES_MAX (1u << 20) /* JSON text of a filter */
#define PV__FILTER_DEPTH_MAX 32u
#define PV__FILTER_NODES_MAX 4096u
#define PV__BATCH_RECORDS_MAX (1u << 20)
#define PV__SLOTS_PER_COLLECTION_MAX 0x7FFFFFFFu
#define PV__COLLECTIONS_MAX 65536u

#define PV__SLOT_SIZE 4096u    /* the unit of space in the file */
#define PV__PAGE_SLOTS_MAX 64u /* 256 KiB */
#define PV__PAGE_HEAD 64u      /* bytes of every page that belong to the store */

#define PV__TREE_KEY_MAX 1024u
#define PV__TREE_VALUE_MAX (64u << 20)

#endif
