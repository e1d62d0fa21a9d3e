/* SPDX-License-Identifier: Apache-2.0 */
/* space.c - which 4 KiB slots of the file are in use. The bitmap is derived: it is made when first
 * needed, from the two retained roots and the slots that log records name (S3), and kept in memory.
 *
 *   free --alloc--> used --replaced at checkpoint d--> dead [seen_from, d) --reap--> free
 *
 * A dead slot becomes free when both retained roots are at d or later (recovery can then start from
 * neither a root nor a record that needs it) and no live snapshot lies in [seen_from, d). */
#include "store/internal.h"

#define SPACE_GROW_WORDS 1024u /* 256 MiB of file */
#define SPACE_AHEAD_SHARE 8u   /* the file is given this part of its length ahead, ... */
#define SPACE_AHEAD_MIN 256u   /* ... if that is 1 MiB ... */
#define SPACE_AHEAD_MAX 8192u  /* ... and at most 32 MiB */

static bool space_get(const pv__space *a, uint64_t slot) {
    return a->used[slot / 64] >> (slot % 64) & 1;
}

/* Room in the bitmap for `count` slots. */
static int space_grow(pv__store *s, uint64_t count, pv_error *err) {
    pv__space *a = &s->space;
    if (count >= (uint64_t)1 << 40) {
        return pv__err(err, PV_ERR_LIMIT, "the file would grow beyond 4 PiB");
    }
    size_t words = (size_t)(count / 64 + 1);
    if (words <= a->words) {
        return PV_OK;
    }
    words = PV_ALIGN_UP(PV_MAX(words, a->words + a->words / 2), (size_t)SPACE_GROW_WORDS);
    uint64_t *used = pv__alloc_realloc(s->mem, a->used, a->words * 8, words * 8);
    if (!used) {
        return pv__err_nomem(err, words * 8);
    }
    memset(used + a->words, 0, (words - a->words) * 8);
    a->used = used;
    a->words = words;
    return PV_OK;
}

PV_PRIVATE int pv__space_mark(pv__store *s, uint64_t slot, unsigned count, bool *out_twice,
                              pv_error *err) {
    pv__space *a = &s->space;
    bool twice = false;
    PV_TRY(space_grow(s, slot + count, err));
    for (uint64_t i = slot; i < slot + count; i++) {
        twice |= space_get(a, i);
        a->used[i / 64] |= (uint64_t)1 << (i % 64);
    }
    a->count = PV_MAX(a->count, slot + count);
    if (out_twice) {
        *out_twice = twice;
    }
    return PV_OK;
}

static int space_mark_visit(void *ctx, int level, uint64_t id, const pv__pte *pte, pv_error *err) {
    (void)level;
    (void)id;
    return pv__space_mark(ctx, pte->slot, pte->slots, NULL, err);
}

/* Slots that replayed records refer to and no root knows yet. */
static int space_mark_stored(pv__store *s, pv_error *err) {
    uint64_t limit = atomic_load_explicit(&s->xlat.limit, memory_order_relaxed);
    int rc = PV_OK;
    pv__mutex_lock(&s->ver_mutex);
    for (uint64_t id = 1; id < limit && !rc; id++) {
        pv__xent *x = pv__xlat_find(s, id);
        pv__ver *v =
            x ? pv__frame_ver(atomic_load_explicit(&x->frame, memory_order_acquire)) : NULL;
        for (; v && !rc; v = atomic_load_explicit(&v->prev, memory_order_acquire)) {
            if (pv__ver_flags(v) & PV__VER_STORED) {
                rc = pv__space_mark(s, v->pte.slot, v->pte.slots, NULL, err);
            }
        }
    }
    for (size_t i = 0; i < s->space.dead_count && !rc; i++) { /* replaced in replay: recover.c */
        rc = pv__space_mark(s, s->space.dead[i].slot, s->space.dead[i].count, NULL, err);
    }
    pv__mutex_unlock(&s->ver_mutex);
    return rc;
}

PV_PRIVATE int pv__space_prepare(pv__store *s, pv_error *err) {
    pv__space *a = &s->space;
    if (a->ready) {
        return PV_OK;
    }
    PV_TRY(pv__space_mark(s, PV__SUPER_SLOT_A, 2, NULL, err));
    PV_TRY(pv__space_mark(s, PV__SUPER_SLOT_A + PV__SUPER_MIRROR, 2, NULL, err));
    PV_TRY(pv__table_walk(s, &s->super.root, s->super.height, NULL, 0, space_mark_visit, s, err));
    if (s->older_valid) {
        pv_error lost = PV_ERROR_INIT;
        int rc = pv__table_walk(s, &s->older_root, s->older_height, &s->super.root, s->super.height,
                                space_mark_visit, s, &lost);
        if (rc == PV_ERR_CORRUPT) { /* then it is no fallback, and need not be kept */
            pv__log(&s->log_to, PV_LOG_WARN, "store", "older root: %s", lost.message);
            s->older_valid = false;
        } else if (rc) {
            return pv__err(err, rc, "%s", lost.message);
        }
    }
    PV_TRY(space_mark_stored(s, err));
    for (uint64_t i = 0; i < a->words; i++) {
        a->free += 64 - pv__bit_count(a->used[i]);
    }
    a->free -= a->words * 64 - a->count;
    a->cursor = 2;
    a->ready = true;
    return PV_OK;
}

/* First run of `count` free slots in [from, to), or UINT64_MAX. */
static uint64_t space_find(const pv__space *a, uint64_t from, uint64_t to, unsigned count) {
    unsigned run = 0;
    for (uint64_t i = from; i < to;) {
        if (i % 64 == 0 && a->used[i / 64] == UINT64_MAX) {
            run = 0;
            i += 64;
            continue;
        }
        if (space_get(a, i)) {
            run = 0;
        } else if (++run == count) {
            return i + 1 - count;
        }
        i++;
    }
    return UINT64_MAX;
}

/* The end of the file has moved from `end`. A write that makes the file longer is one that the file
 * system lets nobody else write beside; so it is made longer before, where nobody has slots yet. A
 * hint: without it writes are slower, and the space is given back at close. */
static void space_ahead(pv__store *s, uint64_t end) {
    pv__space *a = &s->space;
    pv_error ignored = PV_ERROR_INIT;
    const uint64_t more = PV_MIN(a->count / SPACE_AHEAD_SHARE, (uint64_t)SPACE_AHEAD_MAX);
    if (a->count <= a->ahead || more < SPACE_AHEAD_MIN || s->no_threads) {
        return;
    }
    const uint64_t from = PV_MAX(a->ahead, end);
    a->ahead = a->count + more;
    if (s->vfs->allocate(s->vfs, s->file, from * PV__SLOT_SIZE, (a->ahead - from) * PV__SLOT_SIZE,
                         &ignored)) {
        a->ahead = UINT64_MAX;
    }
}

static int space_take(pv__store *s, unsigned count, uint64_t *out_slot, pv_error *err) {
    pv__space *a = &s->space;
    uint64_t at = UINT64_MAX;
    PV_TRY(pv__space_prepare(s, err));
    if (a->free >= count && a->fail_at[count] != a->frees + 1) {
        at = space_find(a, a->cursor, a->count, count);
        if (at == UINT64_MAX) {
            at = space_find(a, 2, a->count, count);
        }
        if (at == UINT64_MAX) {
            a->fail_at[count] = a->frees + 1;
        }
    }
    if (at == UINT64_MAX) { /* at the end of the file, joined with a free tail */
        at = a->count;
        while (at > 2 && !space_get(a, at - 1)) {
            at--;
        }
        const uint64_t end = a->count;
        PV_TRY(space_grow(s, at + count, err));
        a->free += at + count - PV_MAX(a->count, at);
        a->count = PV_MAX(a->count, at + count);
        space_ahead(s, end);
    } else {
        a->cursor = at + count;
    }
    PV_TRY(pv__space_mark(s, at, count, NULL, err));
    a->free -= count;
    *out_slot = at;
    return PV_OK;
}

PV_PRIVATE int pv__space_alloc(pv__store *s, unsigned count, uint64_t *out_slot, pv_error *err) {
    pv__mutex_lock(&s->space_mutex);
    int rc = space_take(s, count, out_slot, err);
    pv__mutex_unlock(&s->space_mutex);
    return rc;
}

static void space_clear(pv__space *a, uint64_t slot, unsigned count) {
    for (uint64_t i = slot; i < slot + count; i++) {
        a->used[i / 64] &= ~((uint64_t)1 << (i % 64));
    }
    a->free += count;
    a->frees++;
    a->cursor = PV_MIN(a->cursor, slot);
}

PV_PRIVATE int pv__space_alloc_all(pv__store *s, pv__image *images, size_t n, pv_error *err) {
    size_t have = 0;
    int rc = PV_OK;
    pv__mutex_lock(&s->space_mutex); /* once: so that they lie side by side */
    while (have < n && !rc) {
        rc = space_take(s, images[have].pte.slots, &images[have].pte.slot, err);
        have += rc == PV_OK;
    }
    while (rc && have > 0) {
        have--;
        space_clear(&s->space, images[have].pte.slot, images[have].pte.slots);
    }
    pv__mutex_unlock(&s->space_mutex);
    return rc;
}

PV_PRIVATE void pv__space_free_now(pv__store *s, uint64_t slot, unsigned count) {
    pv__mutex_lock(&s->space_mutex);
    space_clear(&s->space, slot, count);
    pv__mutex_unlock(&s->space_mutex);
}

PV_PRIVATE int pv__space_reserve_dead(pv__store *s, size_t more, pv_error *err) {
    pv__space *a = &s->space;
    return pv__alloc_grow(s->mem, (void **)&a->dead, &a->dead_cap,
                          a->dead_count + a->dead_promised + more, sizeof(pv__dead_space), err);
}

PV_PRIVATE void pv__space_free_later(pv__store *s, uint64_t slot, unsigned count,
                                     uint64_t seen_from, uint64_t death) {
    pv__dead_space *d = &s->space.dead[s->space.dead_count++];
    d->slot = slot;
    d->count = count;
    d->seen_from = seen_from;
    d->death = death;
}

PV_PRIVATE void pv__space_go(pv__store *s, uint64_t slot, unsigned count, pv__slots_go go,
                             uint64_t lsn) {
    if (go == PV__SLOTS_FREE) {
        pv__space_free_now(s, slot, count);
    } else if (go == PV__SLOTS_LATER) {
        pv__mutex_lock(&s->ver_mutex);
        pv__space_free_later(s, slot, count, lsn + 1, lsn + 1);
        pv__mutex_unlock(&s->ver_mutex);
    }
}

PV_PRIVATE void pv__space_reap(pv__store *s) {
    pv__space *a = &s->space;
    pv__snaps snaps;
    pv__mutex_lock(&s->space_mutex);
    pv__mutex_lock(&s->ver_mutex);
    pv__snaps_collect(s, &snaps);
    size_t kept = 0;
    for (size_t i = 0; i < a->dead_count; i++) {
        pv__dead_space d = a->dead[i];
        bool needed = d.death > s->super.lsn || (s->older_valid && d.death > s->older_lsn) ||
                      pv__snaps_between(&snaps, d.seen_from, d.death);
        if (needed || !a->ready) {
            a->dead[kept++] = d;
        } else {
            space_clear(a, d.slot, d.count);
        }
    }
    a->dead_count = kept;
    pv__mutex_unlock(&s->ver_mutex);
    pv__mutex_unlock(&s->space_mutex);
}

PV_PRIVATE void pv__space_done(pv__store *s) {
    pv__space *a = &s->space;
    pv__alloc_free(s->mem, a->used, a->words * 8);
    pv__alloc_free(s->mem, a->dead, a->dead_cap * sizeof(pv__dead_space));
    memset(a, 0, sizeof *a);
}

#undef SPACE_AHEAD_SHARE
#undef SPACE_AHEAD_MIN
#undef SPACE_AHEAD_MAX
#undef SPACE_GROW_WORDS
