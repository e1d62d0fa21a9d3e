/* SPDX-License-Identifier: Apache-2.0 */
/* buf.c - growable byte buffer. After a failed append all further ones do nothing, so that data
 * is always a true prefix of what was meant. */
#include "base/buf.h"

#include "base/bytes.h"

void pv__buf_init(pv__buf *b, pv__mem *mem) {
    b->mem = mem;
    b->data = NULL;
    b->len = 0;
    b->cap = 0;
    b->failed = false;
}

void pv__buf_done(pv__buf *b) {
    pv__alloc_free(b->mem, b->data, b->cap);
    b->data = NULL;
    b->len = 0;
    b->cap = 0;
    b->failed = false;
}

void pv__buf_clear(pv__buf *b) {
    b->len = 0;
    b->failed = false;
}

bool pv__buf_reserve(pv__buf *b, size_t more) {
    if (b->failed) {
        return false;
    }
    if (more <= b->cap - b->len) {
        return true;
    }
    void *array = b->data;
    if (more > SIZE_MAX / 2 - b->len ||
        pv__alloc_grow(b->mem, &array, &b->cap, PV_MAX(b->len + more, (size_t)64), 1, NULL) != 0) {
        b->failed = true;
        return false;
    }
    b->data = array;
    return true;
}

uint8_t *pv__buf_extend(pv__buf *b, size_t n) {
    if (!pv__buf_reserve(b, PV_MAX(n, (size_t)1))) { /* n 0 still gives a pointer, not NULL */
        return NULL;
    }
    uint8_t *p = b->data + b->len;
    b->len += n;
    return p;
}

void pv__buf_add(pv__buf *b, const void *p, size_t n) {
    if (n == 0) {
        return;
    }
    uint8_t *to = pv__buf_extend(b, n);
    if (to) {
        memcpy(to, p, n);
    }
}

void pv__buf_add_u8(pv__buf *b, uint8_t v) { pv__buf_add(b, &v, 1); }

void pv__buf_add_u32(pv__buf *b, uint32_t v) {
    uint8_t *to = pv__buf_extend(b, 4);
    if (to) {
        pv__put32(to, v);
    }
}

void pv__buf_add_u64(pv__buf *b, uint64_t v) {
    uint8_t *to = pv__buf_extend(b, 8);
    if (to) {
        pv__put64(to, v);
    }
}

void pv__buf_add_varint(pv__buf *b, uint64_t v) {
    uint8_t bytes[10];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7) {
        bytes[n++] = (uint8_t)(v | 0x80);
    }
    bytes[n++] = (uint8_t)v;
    pv__buf_add(b, bytes, n);
}

void pv__buf_add_text(pv__buf *b, const char *nul_terminated) {
    pv__buf_add(b, nul_terminated, strlen(nul_terminated));
}

int pv__buf_check(const pv__buf *b, pv_error *err) {
    if (b->failed) {
        return pv__err(err, PV_ERR_NOMEM, "out of memory in a buffer of %zu bytes", b->len);
    }
    return 0;
}
