/* SPDX-License-Identifier: Apache-2.0 */
/* buf.h - growable byte buffer with a sticky error: append freely, ask once at the end. */
#ifndef PV_BASE_BUF_H
#define PV_BASE_BUF_H

#include "base/alloc.h"

typedef struct pv__buf {
    pv__mem *mem;
    uint8_t *data;
    size_t len, cap;
    bool failed; /* some append ran out of memory; data then holds a prefix */
} pv__buf;

PV_PRIVATE void pv__buf_init(pv__buf *b, pv__mem *mem);
PV_PRIVATE void pv__buf_done(pv__buf *b);
PV_PRIVATE void pv__buf_clear(pv__buf *b);                /* keeps the memory and resets `failed` */
PV_PRIVATE bool pv__buf_reserve(pv__buf *b, size_t more); /* room for `more` further bytes */
PV_PRIVATE uint8_t *pv__buf_extend(pv__buf *b, size_t n); /* n new uninitialised bytes or NULL */
PV_PRIVATE void pv__buf_add(pv__buf *b, const void *p, size_t n);
PV_PRIVATE void pv__buf_add_u8(pv__buf *b, uint8_t v);
PV_PRIVATE void pv__buf_add_u32(pv__buf *b, uint32_t v); /* little-endian */
PV_PRIVATE void pv__buf_add_u64(pv__buf *b, uint64_t v);
PV_PRIVATE void pv__buf_add_varint(pv__buf *b, uint64_t v); /* LEB128 */
PV_PRIVATE void pv__buf_add_text(pv__buf *b, const char *nul_terminated);
PV_PRIVATE int pv__buf_check(const pv__buf *b, pv_error *err); /* PV_ERR_NOMEM when failed */

#endif
