/* SPDX-License-Identifier: Apache-2.0 */
/* bytes.h - little-endian loads and stores, varints, and a reader that cannot run past its end.
 * Everything that touches the disk format goes through here. Header only. */
#ifndef PV_BASE_BYTES_H
#define PV_BASE_BYTES_H

#include "base/base.h"

/* Big-endian machines are refused at open, so that a load is a memcpy. */
static inline uint16_t pv__get16(const void *p) {
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}
static inline uint32_t pv__get32(const void *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}
static inline uint64_t pv__get64(const void *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}
static inline void pv__put16(void *p, uint16_t v) { memcpy(p, &v, 2); }
static inline void pv__put32(void *p, uint32_t v) { memcpy(p, &v, 4); }
static inline void pv__put64(void *p, uint64_t v) { memcpy(p, &v, 8); }

/* Big-endian, for keys whose byte order must be their numeric order. */
static inline uint32_t pv__get32be(const void *p) { return __builtin_bswap32(pv__get32(p)); }
static inline uint64_t pv__get64be(const void *p) { return __builtin_bswap64(pv__get64(p)); }
static inline void pv__put32be(void *p, uint32_t v) { pv__put32(p, __builtin_bswap32(v)); }
static inline void pv__put64be(void *p, uint64_t v) { pv__put64(p, __builtin_bswap64(v)); }

/* A cursor over foreign bytes. After the first read beyond the end `bad` stays set and every
 * further read gives 0, so that a decoder checks once at its end. */
typedef struct pv__reader {
    const uint8_t *p, *end;
    bool bad;
} pv__reader;

static inline pv__reader pv__reader_of(const void *p, size_t n) {
    const uint8_t *at = p ? (const uint8_t *)p : (const uint8_t *)""; /* NULL: no bytes */
    pv__reader r = {at, at + n, false};
    return r;
}
static inline size_t pv__reader_left(const pv__reader *r) { return (size_t)(r->end - r->p); }
static inline const uint8_t *pv__reader_take(pv__reader *r, size_t n) {
    const uint8_t *p = r->p;
    if (PV_UNLIKELY(r->bad || n > (size_t)(r->end - r->p))) {
        r->bad = true;
        return NULL;
    }
    r->p += n;
    return p;
}
static inline uint8_t pv__reader_u8(pv__reader *r) {
    const uint8_t *p = pv__reader_take(r, 1);
    return p ? *p : 0;
}
static inline uint32_t pv__reader_u32(pv__reader *r) {
    const uint8_t *p = pv__reader_take(r, 4);
    return p ? pv__get32(p) : 0;
}
static inline uint64_t pv__reader_u64(pv__reader *r) {
    const uint8_t *p = pv__reader_take(r, 8);
    return p ? pv__get64(p) : 0;
}
static inline uint64_t pv__reader_varint(pv__reader *r) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t b = pv__reader_u8(r);
        if (shift == 63 && b > 1) {
            break; /* would not fit into 64 bits */
        }
        v |= (uint64_t)(b & 0x7F) << shift;
        if (!(b & 0x80)) {
            return v;
        }
    }
    r->bad = true;
    return 0;
}

#endif
