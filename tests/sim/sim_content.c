/* SPDX-License-Identifier: Apache-2.0 */
/* sim_content.c - see sim_content.h. Invariants: a block with more than one reference is never
 * written; bytes behind `size` in the last block are zero, so that growing shows zeros. */
#include "sim/sim_content.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"

static void sim_out_of_memory(void) {
    fprintf(stderr, "sim: out of memory\n");
    abort();
}

void *sim_alloc(size_t size) {
    void *p = calloc(1, size ? size : 1);
    if (!p) {
        sim_out_of_memory();
    }
    return p;
}

void *sim_grow(void *array, size_t *cap, size_t want, size_t elem_size) {
    if (want <= *cap) {
        return array;
    }
    const size_t n = want > *cap * 2 ? want : *cap * 2;
    void *p = realloc(array, n * elem_size);
    if (!p) {
        sim_out_of_memory();
    }
    *cap = n;
    return p;
}

char *sim_strdup(const char *s) {
    const size_t n = strlen(s) + 1;
    return memcpy(sim_alloc(n), s, n);
}

static sim_block *sim_block_new(void) {
    sim_block *b = sim_alloc(sizeof *b);
    atomic_init(&b->refs, 1);
    return b;
}

/* acq_rel: whoever drops the last reference, or finds itself alone, sees all earlier reads of
 * other sharers as done. */
static void sim_block_unref(sim_block *b) {
    if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1) {
        free(b);
    }
}

static sim_block *sim_block_ref(sim_block *b) {
    if (b) {
        atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    }
    return b;
}

/* Block i, ours alone and ready to be written. */
static sim_block *sim_block_own(sim_content *c, size_t i) {
    sim_block *b = c->blocks[i];
    if (!b) {
        b = sim_block_new();
    } else if (atomic_load_explicit(&b->refs, memory_order_acquire) > 1) {
        sim_block *copy = sim_block_new();
        memcpy(copy->data, b->data, SIM_BLOCK);
        sim_block_unref(b);
        b = copy;
    }
    atomic_store_explicit(&b->hash, 0, memory_order_relaxed);
    c->blocks[i] = b;
    return b;
}

static void sim_content_room(sim_content *c, uint64_t size) {
    const size_t want = (size_t)((size + SIM_BLOCK - 1) / SIM_BLOCK);
    size_t cap = c->count;
    if (want > cap) {
        c->blocks = sim_grow(c->blocks, &cap, want, sizeof *c->blocks);
        memset(c->blocks + c->count, 0, (cap - c->count) * sizeof *c->blocks);
        c->count = cap;
    }
}

void sim_content_done(sim_content *c) {
    for (size_t i = 0; i < c->count; i++) {
        sim_block_unref(c->blocks[i]);
    }
    free(c->blocks);
    memset(c, 0, sizeof *c);
}

void sim_content_copy(sim_content *to, const sim_content *from) {
    const size_t used = (size_t)((from->size + SIM_BLOCK - 1) / SIM_BLOCK);
    const size_t n = used < from->count ? used : from->count;
    memset(to, 0, sizeof *to);
    if (n > 0) {
        to->blocks = sim_alloc(n * sizeof *to->blocks);
    }
    for (size_t i = 0; i < n; i++) {
        to->blocks[i] = sim_block_ref(from->blocks[i]);
    }
    to->count = n;
    to->size = from->size;
}

size_t sim_content_read(const sim_content *c, uint64_t offset, void *out, size_t n) {
    const uint64_t left = c->size > offset ? c->size - offset : 0;
    const size_t there = left < n ? (size_t)left : n;
    uint8_t *to = out;
    for (size_t at = 0; at < there;) {
        const size_t i = (size_t)((offset + at) / SIM_BLOCK);
        const size_t in = (size_t)((offset + at) % SIM_BLOCK);
        const size_t part = there - at < SIM_BLOCK - in ? there - at : SIM_BLOCK - in;
        if (i < c->count && c->blocks[i]) {
            memcpy(to + at, c->blocks[i]->data + in, part);
        } else {
            memset(to + at, 0, part);
        }
        at += part;
    }
    if (n > there) {
        memset(to + there, 0, n - there);
    }
    return there;
}

void sim_content_write(sim_content *c, uint64_t offset, const void *data, size_t n) {
    const uint8_t *from = data;
    sim_content_room(c, offset + n);
    for (size_t at = 0; at < n;) {
        const size_t i = (size_t)((offset + at) / SIM_BLOCK);
        const size_t in = (size_t)((offset + at) % SIM_BLOCK);
        const size_t part = n - at < SIM_BLOCK - in ? n - at : SIM_BLOCK - in;
        memcpy(sim_block_own(c, i)->data + in, from + at, part);
        at += part;
    }
    if (n > 0 && offset + n > c->size) {
        c->size = offset + n;
    }
}

void sim_content_resize(sim_content *c, uint64_t size) {
    const size_t keep = (size_t)((size + SIM_BLOCK - 1) / SIM_BLOCK);
    const size_t in = (size_t)(size % SIM_BLOCK);
    if (size < c->size) {
        for (size_t i = keep; i < c->count; i++) {
            sim_block_unref(c->blocks[i]);
            c->blocks[i] = NULL;
        }
        if (in > 0 && keep <= c->count && c->blocks[keep - 1]) {
            memset(sim_block_own(c, keep - 1)->data + in, 0, SIM_BLOCK - in);
        }
    }
    c->size = size;
}

void sim_content_take(sim_content *to, const sim_content *from, uint64_t offset, uint64_t end) {
    uint8_t bytes[SIM_BLOCK];
    sim_content_room(to, end);
    while (offset < end) {
        const size_t i = (size_t)(offset / SIM_BLOCK);
        const size_t in = (size_t)(offset % SIM_BLOCK);
        const uint64_t block_end = offset - in + SIM_BLOCK;
        const uint64_t stop = end < block_end ? end : block_end;
        if (in == 0 && (stop == block_end || (stop == from->size && stop >= to->size))) {
            sim_block *b = i < from->count ? from->blocks[i] : NULL; /* share the whole block */
            (void)sim_block_ref(b);
            sim_block_unref(to->blocks[i]);
            to->blocks[i] = b;
        } else {
            (void)sim_content_read(from, offset, bytes, (size_t)(stop - offset));
            memcpy(sim_block_own(to, i)->data + in, bytes, (size_t)(stop - offset));
        }
        offset = stop;
    }
    if (end > to->size) {
        to->size = end;
    }
}

static uint64_t sim_block_hash(sim_block *b) {
    static const uint8_t zeros[SIM_BLOCK];
    uint64_t h = atomic_load_explicit(&b->hash, memory_order_relaxed);
    if (h == 0) {
        h = memcmp(b->data, zeros, SIM_BLOCK) == 0 ? 1 : pv__hash64(b->data, SIM_BLOCK, 0) | 2;
        atomic_store_explicit(&b->hash, h, memory_order_relaxed);
    }
    return h;
}

uint64_t sim_content_hash(const sim_content *c) {
    uint64_t sum = pv__mix64(c->size + 0x5151u);
    for (size_t i = 0; i < c->count; i++) {
        const uint64_t h = c->blocks[i] ? sim_block_hash(c->blocks[i]) : 1;
        if (h != 1) { /* a block of zeros counts like a hole */
            sum += pv__mix64(h + pv__mix64(i + 1));
        }
    }
    return sum;
}
