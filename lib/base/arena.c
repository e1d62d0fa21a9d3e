/* SPDX-License-Identifier: Apache-2.0 */
/* arena.c - bump memory in chunks.
 *
 *      head -> [next|size| used ... free] -> [next|size| full ] -> ... -> NULL
 *
 * Only the head has free room. A piece larger than a chunk gets a chunk of its own, put behind
 * the head so that the head's room is not lost. Pieces are never freed alone. */
#include "base/arena.h"

struct pv__arena_chunk {
    pv__arena_chunk *next;
    size_t size; /* bytes after this head */
};

#define ARENA_ALIGN ((size_t)16)
#define ARENA_CHUNK_MIN ((size_t)256)

PV_STATIC_ASSERT(sizeof(pv__arena_chunk) % 16 == 0, arena_chunk_head_keeps_alignment);

static uint8_t *arena_bytes(pv__arena_chunk *c) { return (uint8_t *)(c + 1); }

void pv__arena_init(pv__arena *a, pv__mem *mem, size_t chunk_size) {
    a->mem = mem;
    a->head = NULL;
    a->used = 0;
    a->chunk_size =
        PV_ALIGN_UP(PV_MAX(PV_MIN(chunk_size, SIZE_MAX / 4), ARENA_CHUNK_MIN), ARENA_ALIGN);
}

static pv__arena_chunk *arena_chunk_new(pv__arena *a, size_t size) {
    pv__arena_chunk *c = pv__alloc_aligned(a->mem, sizeof *c + size, ARENA_ALIGN);
    if (c) {
        c->size = size;
        c->next = NULL;
    }
    return c;
}

static void arena_chunk_free(pv__arena *a, pv__arena_chunk *c) {
    pv__alloc_free_aligned(a->mem, c, sizeof *c + c->size, ARENA_ALIGN);
}

void *pv__arena_alloc(pv__arena *a, size_t size) {
    if (PV_UNLIKELY(size > SIZE_MAX / 2)) {
        return NULL;
    }
    const size_t need = PV_ALIGN_UP(PV_MAX(size, (size_t)1), ARENA_ALIGN);
    if (a->head && a->head->size - a->used >= need) {
        void *p = arena_bytes(a->head) + a->used;
        a->used += need;
        return p;
    }
    pv__arena_chunk *c = arena_chunk_new(a, PV_MAX(need, a->chunk_size));
    if (!c) {
        return NULL;
    }
    if (need > a->chunk_size && a->head) {
        c->next = a->head->next;
        a->head->next = c;
    } else {
        c->next = a->head;
        a->head = c;
        a->used = need;
    }
    return arena_bytes(c);
}

void *pv__arena_zero(pv__arena *a, size_t size) {
    void *p = pv__arena_alloc(a, size);
    if (p) {
        memset(p, 0, size);
    }
    return p;
}

char *pv__arena_strdup(pv__arena *a, const char *s, size_t len) {
    if (len == SIZE_MAX) {
        return NULL;
    }
    char *p = pv__arena_alloc(a, len + 1);
    if (p) {
        if (len > 0) {
            memcpy(p, s, len);
        }
        p[len] = 0;
    }
    return p;
}

void pv__arena_reset(pv__arena *a) {
    pv__arena_chunk *keep = NULL;
    for (pv__arena_chunk *c = a->head; c;) {
        pv__arena_chunk *next = c->next;
        if (!keep && c->size == a->chunk_size) {
            keep = c;
        } else {
            arena_chunk_free(a, c); /* odd sizes go: one huge call must not pin its memory */
        }
        c = next;
    }
    if (keep) {
        keep->next = NULL;
    }
    a->head = keep;
    a->used = 0;
}

void pv__arena_done(pv__arena *a) {
    for (pv__arena_chunk *c = a->head; c;) {
        pv__arena_chunk *next = c->next;
        arena_chunk_free(a, c);
        c = next;
    }
    a->head = NULL;
    a->used = 0;
}

#undef ARENA_ALIGN
#undef ARENA_CHUNK_MIN
