/* SPDX-License-Identifier: Apache-2.0 */
/* sim_content.h - the bytes of a simulated file as shared 4 KiB blocks: copying a file copies
 * pointers, writing copies the blocks it touches. Not locked, but blocks may be shared between
 * contents that are used by different threads. */
#ifndef PV_SIM_CONTENT_H
#define PV_SIM_CONTENT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_BLOCK 4096u

typedef struct sim_block {
    _Atomic uint32_t refs;
    _Atomic uint64_t hash; /* 0: not known yet */
    uint8_t data[SIM_BLOCK];
} sim_block;

typedef struct sim_content {
    sim_block **blocks; /* NULL: zeros */
    size_t count;
    uint64_t size;
} sim_content;

/* malloc and friends that end the test program instead of failing. */
void *sim_alloc(size_t size); /* zeroed */
void *sim_grow(void *array, size_t *cap, size_t want, size_t elem_size);
char *sim_strdup(const char *s);

void sim_content_done(sim_content *c);
void sim_content_copy(sim_content *to, const sim_content *from); /* to: done or zeroed */
/* Bytes that exist from offset on, at most n; the rest of out is zeroed. */
size_t sim_content_read(const sim_content *c, uint64_t offset, void *out, size_t n);
void sim_content_write(sim_content *c, uint64_t offset, const void *data, size_t n);
void sim_content_resize(sim_content *c, uint64_t size); /* new bytes are zero */
/* Make [offset, end) of `to` what it is in `from` (which reaches to end). */
void sim_content_take(sim_content *to, const sim_content *from, uint64_t offset, uint64_t end);
uint64_t sim_content_hash(const sim_content *c); /* equal bytes and sizes, equal hash */

#endif
