/* SPDX-License-Identifier: Apache-2.0 */
/* pageio.c - one page between its slots in the file and a version in memory. Everything read is
 * verified before anyone sees it: the checksum that the parent entry holds (S4), then the page's
 * own statement of who it is. */
#include "base/compress.h"
#include "store/internal.h"

PV_PRIVATE uint64_t pv__page_seed(const pv__store *s, uint64_t page_id) {
    return pv__mix64(s->uuid_tag ^ pv__mix64(page_id));
}

/* The page's bytes say who it should be; name its owner when they do. */
static int pageio_damaged(pv__store *s, uint64_t page_id, const pv__pte *pte, const uint8_t *page,
                          const char *what, pv_error *err) {
    int rc;
    if (pv__get64(page + PV__HEAD_UUID) == s->uuid_tag && pv__page_id(page) == page_id) {
        rc =
            pv__err(err, PV_ERR_CORRUPT, "page %llu (object %u, part %u) is damaged: %s, slot %llu",
                    (unsigned long long)page_id, pv__page_owner(page), pv__page_ordinal(page), what,
                    (unsigned long long)pte->slot);
    } else {
        rc = pv__err(err, PV_ERR_CORRUPT, "page %llu is damaged: %s, slot %llu",
                     (unsigned long long)page_id, what, (unsigned long long)pte->slot);
    }
    if (err) {
        err->offset = pte->slot * PV__SLOT_SIZE;
    }
    return rc;
}

PV_PRIVATE int pv__pageio_check_pte(uint64_t page_id, const pv__pte *pte, pv_error *err) {
    if (pte->slots == 0) {
        return pv__err(err, PV_ERR_CORRUPT, "page %llu does not exist",
                       (unsigned long long)page_id);
    }
    if (pte->slots > PV__PAGE_SLOTS_MAX || pte->raw_slots > PV__PAGE_SLOTS_MAX ||
        pte->raw_slots < pte->slots || pte->slot < 2 ||
        (pte->codec != PV__PTE_BY_SLOT && (pte->codec & 0xF0)) ||
        ((pte->codec & 0x0F) == 0 && pte->raw_slots != pte->slots) ||
        (pte->codec == PV__PTE_BY_SLOT && pte->slots == 1)) {
        return pv__err(err, PV_ERR_CORRUPT, "page %llu: its table entry makes no sense",
                       (unsigned long long)page_id);
    }
    return PV_OK;
}

/* ---- pages by slot -------------------------------------------------------------------------- */

/* The hash of slot i of a page by slot, with the hashes themselves 0. */
PV_PRIVATE uint64_t pv__slot_hash(const uint8_t *slot) {
    return pv__hash64(slot, PV__SLOT_SIZE, 0);
}

/* What the table entry holds: the hash of these. */
PV_PRIVATE uint64_t pv__slots_checksum(const pv__store *s, uint64_t page_id, const uint8_t *hashes,
                                       unsigned slots) {
    return pv__hash64(hashes, 8 * (size_t)slots, pv__page_seed(s, page_id));
}

static uint64_t pageio_store_by_slot(const pv__store *s, uint64_t page_id, const uint8_t *page,
                                     unsigned slots, uint8_t *room) {
    uint8_t hashes[8 * PV__PAGE_SLOTS_MAX];
    memcpy(room, page, PV__SLOT_SIZE);
    memset(room + PV__PAGE_HEAD, 0, pv__page_front(slots) - PV__PAGE_HEAD);
    pv__put64(hashes, pv__slot_hash(room));
    for (unsigned i = 1; i < slots; i++) { /* hashed first: then it is at hand */
        const uint8_t *slot = page + (size_t)i * PV__SLOT_SIZE;
        pv__put64(hashes + 8 * (size_t)i, pv__slot_hash(slot));
        memcpy(room + (size_t)i * PV__SLOT_SIZE, slot, PV__SLOT_SIZE);
    }
    memcpy(room + PV__PAGE_HEAD, hashes, 8 * (size_t)slots);
    return pv__slots_checksum(s, page_id, hashes, slots);
}

/* Verify all of a page and leave it as it is in memory. */
static bool pageio_verify_by_slot(const pv__store *s, uint64_t page_id, const pv__pte *pte,
                                  uint8_t *page) {
    uint8_t hashes[8 * PV__PAGE_SLOTS_MAX];
    uint64_t wrong = 0;
    memcpy(hashes, page + PV__PAGE_HEAD, 8 * (size_t)pte->slots);
    memset(page + PV__PAGE_HEAD, 0, pv__page_front(pte->slots) - PV__PAGE_HEAD);
    for (unsigned i = 0; i < pte->slots; i++) {
        wrong |=
            pv__slot_hash(page + (size_t)i * PV__SLOT_SIZE) ^ pv__get64(hashes + 8 * (size_t)i);
    }
    return wrong == 0 && pv__slots_checksum(s, page_id, hashes, pte->slots) == pte->checksum;
}

/* Compressed pages: 64 bytes of head as they are, then the packed payload. */
static int pageio_unpack(pv__store *s, uint64_t page_id, const pv__pte *pte, const uint8_t *stored,
                         uint8_t *page, pv_error *err) {
    size_t raw = (size_t)pte->raw_slots * PV__SLOT_SIZE - PV__PAGE_HEAD, got = 0;
    uint32_t packed = pv__get32(stored + PV__HEAD_PACKED);
    if (packed > (size_t)pte->slots * PV__SLOT_SIZE - PV__PAGE_HEAD) {
        return pageio_damaged(s, page_id, pte, stored, "packed length", err);
    }
    PV_TRY(pv__decompress(s->mem, pte->codec, stored + PV__PAGE_HEAD, packed, page + PV__PAGE_HEAD,
                          raw, &got, err));
    if (got != raw) {
        return pageio_damaged(s, page_id, pte, stored, "unpacked length", err);
    }
    memcpy(page, stored, PV__PAGE_HEAD);
    pv__put32(page + PV__HEAD_PACKED, 0);
    return PV_OK;
}

PV_PRIVATE bool pv__head_is_of(const pv__store *s, uint64_t page_id, const pv__pte *pte,
                               const uint8_t *head) {
    const bool by_slot = head[PV__HEAD_FLAGS] & PV__HEAD_BY_SLOT;
    return pv__get64(head + PV__HEAD_UUID) == s->uuid_tag && pv__page_id(head) == page_id &&
           pv__page_slots(head) == pte->raw_slots && by_slot == (pte->codec == PV__PTE_BY_SLOT);
}

static int pageio_load(pv__store *s, uint64_t page_id, const pv__pte *pte, uint8_t *stored,
                       pv_error *err) {
    size_t size = (size_t)pte->slots * PV__SLOT_SIZE;
    int rc = pv__vfs_read(s->vfs, s->file, pte->slot * PV__SLOT_SIZE, stored, size, err);
    if (rc) {
        return rc == PV_ERR_CORRUPT
                   ? pv__err(err, PV_ERR_CORRUPT,
                             "page %llu is damaged: slot %llu lies beyond the end of the file",
                             (unsigned long long)page_id, (unsigned long long)pte->slot)
                   : rc;
    }
    if (pte->codec == PV__PTE_BY_SLOT
            ? !pageio_verify_by_slot(s, page_id, pte, stored)
            : pv__hash64(stored, size, pv__page_seed(s, page_id)) != pte->checksum) {
        return pageio_damaged(s, page_id, pte, stored, "checksum differs", err);
    }
    if (!pv__head_is_of(s, page_id, pte, stored)) {
        return pageio_damaged(s, page_id, pte, stored, "it states another identity", err);
    }
    return PV_OK;
}

PV_PRIVATE int pv__pageio_read(pv__store *s, uint64_t page_id, const pv__pte *pte, uint8_t *page,
                               pv_error *err) {
    PV_TRY(pv__pageio_check_pte(page_id, pte, err));
    if ((pte->codec & 0x0F) == 0) {
        return pageio_load(s, page_id, pte, page, err);
    }
    size_t size = (size_t)pte->slots * PV__SLOT_SIZE;
    uint8_t *stored = pv__alloc(s->mem, size);
    if (!stored) {
        return pv__err_nomem(err, size);
    }
    int rc = pageio_load(s, page_id, pte, stored, err);
    if (!rc) {
        rc = pageio_unpack(s, page_id, pte, stored, page, err);
    }
    pv__alloc_free(s->mem, stored, size);
    return rc;
}

PV_PRIVATE const uint8_t *pv__pageio_encode(pv__store *s, uint64_t page_id, const uint8_t *page,
                                            uint8_t *scratch, pv__pte *pte) {
    unsigned raw = pv__page_slots(page);
    const uint8_t *out = page;
    pte->raw_slots = pte->slots = (uint8_t)raw;
    pte->codec = 0;
    if (raw > 1 && (page[PV__HEAD_FLAGS] & PV__HEAD_BY_SLOT)) {
        pte->codec = PV__PTE_BY_SLOT;
        pte->checksum = pageio_store_by_slot(s, page_id, page, raw, scratch);
        return scratch;
    }
    /* Vectors hardly shrink, so only the pages of trees are tried. */
    unsigned kind = pv__page_kind(page);
    if (s->codec && scratch && raw > 1 && (kind == PV__PAGE_TREE || kind == PV__PAGE_OVERFLOW)) {
        size_t cap = (size_t)(raw - 1) * PV__SLOT_SIZE - PV__PAGE_HEAD, got = 0;
        pv_error ignored = PV_ERROR_INIT;
        int rc = pv__compress(s->mem, s->codec, 1, page + PV__PAGE_HEAD,
                              (size_t)raw * PV__SLOT_SIZE - PV__PAGE_HEAD, scratch + PV__PAGE_HEAD,
                              cap, &got, &ignored);
        if (rc == PV_OK && got > 0) {
            size_t used = PV_ALIGN_UP(got + PV__PAGE_HEAD, (size_t)PV__SLOT_SIZE);
            memcpy(scratch, page, PV__PAGE_HEAD);
            pv__put32(scratch + PV__HEAD_PACKED, (uint32_t)got);
            memset(scratch + PV__PAGE_HEAD + got, 0, used - PV__PAGE_HEAD - got);
            pte->slots = (uint8_t)(used / PV__SLOT_SIZE);
            pte->codec = (uint8_t)s->codec;
            out = scratch;
        }
    }
    pte->checksum = pv__hash64(out, (size_t)pte->slots * PV__SLOT_SIZE, pv__page_seed(s, page_id));
    return out;
}

/* ---- miss ---------------------------------------------------------------------------------- */

static int pageio_absent(uint64_t page_id, pv_error *err) {
    return pv__err(err, PV_ERR_CORRUPT, "page %llu does not exist", (unsigned long long)page_id);
}

/* Pages that walks read in no order, and that become smaller when they are squeezed. */
static bool pageio_squeezes(const pv__pte *pte) { return pte->raw_slots == 1 && pte->codec == 0; }

static bool pageio_unsqueeze(pv__store *s, pv__ver *v, const pv__pte *pte) {
    uint8_t bytes[PV__SQUEEZED_MAX + PV__SQUEEZED_PAD];
    if (!pageio_squeezes(pte) ||
        pv__keep_get(&s->squeezed, v->page_id, pte->checksum, bytes, PV__SQUEEZED_MAX) == 0) {
        return false;
    }
    pv__unsqueeze(bytes, 0, PV__SLOT_SIZE, pv__ver_page(v));
    pv__ver_set(v, pv__ver_flags(v) | PV__VER_SQUEEZED);
    return true;
}

/* It was read and verified, and will have to go again before long. */
static void pageio_keep(pv__store *s, pv__ver *v, const pv__pte *pte) {
    uint8_t bytes[PV__SQUEEZED_MAX];
    const uint8_t *page = pv__ver_page(v);
    if (!pageio_squeezes(pte) || pv__page_kind(page) != PV__PAGE_COLUMN ||
        !atomic_load_explicit(&s->cramped, memory_order_relaxed)) {
        return;
    }
    const size_t size = pv__squeeze(page, bytes);
    if (size > 0 && pv__keep_put(s, &s->squeezed, v->page_id, pte->checksum, bytes, size)) {
        pv__ver_set(v, pv__ver_flags(v) | PV__VER_SQUEEZED);
    }
}

/* A resident version with the bytes that pte vouches for, not yet in any chain. */
static int pageio_make(pv__store *s, uint64_t page_id, const pv__pte *pte, pv__ver **out,
                       pv_error *err) {
    PV_TRY(pv__pageio_check_pte(page_id, pte, err));
    pv__ver *v = NULL;
    PV_TRY(pv__ver_new(s, page_id, pte->raw_slots, true, &v, err));
    if (!pageio_unsqueeze(s, v, pte)) {
        int rc = pv__pageio_read(s, page_id, pte, pv__ver_page(v), err);
        if (rc) {
            pv__ver_free(s, v);
            return rc;
        }
        pageio_keep(s, v, pte);
    }
    v->lsn = pv__page_stamp(pv__ver_page(v)) + 1;
    v->pte = *pte;
    atomic_fetch_add_explicit(&s->misses, 1, memory_order_relaxed);
    *out = v;
    return PV_OK;
}

/* Put v in the place of the stub it was loaded for. False when the chain changed meanwhile. */
static bool pageio_replace(pv__store *s, pv__xent *x, pv__ver *stub, pv__ver *v) {
    pv__ver *at = pv__frame_ver(atomic_load_explicit(&x->frame, memory_order_relaxed));
    pv__ver *newer = NULL;
    while (at && at != stub) {
        newer = at;
        at = atomic_load_explicit(&at->prev, memory_order_relaxed);
    }
    if (!at || v->lsn != stub->lsn) {
        return false;
    }
    pv__ver *older = atomic_load_explicit(&stub->prev, memory_order_relaxed);
    pv__ver_set(v, pv__ver_flags(stub) | pv__ver_flags(v));
    v->pte = stub->pte;
    v->newer = newer;
    v->list_at = stub->list_at;
    atomic_store_explicit(&v->prev, older, memory_order_relaxed);
    if (older) {
        older->newer = v;
    }
    if (v->list_at) {
        s->superseded[v->list_at - 1].ver = v;
    }
    if (newer) {
        atomic_store_explicit(&newer->prev, v, memory_order_release);
    } else {
        atomic_store_explicit(&x->frame, pv__ver_frame(v), memory_order_release);
    }
    pv__ver_retire(s, stub);
    return true;
}

/* Hints only: whatever fails here is met again when the page is read. */
PV_PRIVATE void pv__pages_expect(pv__txn *t, const uint64_t *page_ids, size_t count) {
    pv__store *s = t->store;
    uint64_t slot = 0, slots = 0; /* a run of neighbours */
    for (size_t i = 0; i <= count; i++) {
        pv__pte pte = {.slots = 0};
        const uint64_t id = i < count ? page_ids[i] : 0;
        const pv__xent *x = id ? pv__xlat_find(s, id) : NULL;
        if (id == 0 || s->memory ||
            (x && atomic_load_explicit(&x->frame, memory_order_relaxed) != 0) ||
            pv__table_lookup(s, id, &pte, NULL)) {
            pte.slots = 0;
        }
        if (pte.slots != 0 && slots != 0 && pte.slot == slot + slots) {
            slots += pte.slots;
            continue;
        }
        if (slots != 0) {
            pv__vfs_ahead(s->vfs, s->file, slot * PV__SLOT_SIZE, slots * PV__SLOT_SIZE);
        }
        slot = pte.slot;
        slots = pte.slots;
    }
}

/* One try under the page's stripe lock. *out NULL and no error: look again. */
static int pageio_miss(pv__store *s, pv__xent *x, uint64_t page_id, uint64_t snap, pv__ver **out,
                       pv_error *err) {
    uintptr_t f = atomic_load_explicit(&x->frame, memory_order_acquire);
    pv__ver *v = pv__frame_ver(f), *fresh = NULL;
    pv__pte pte;
    while (v && v->lsn > snap) {
        v = atomic_load_explicit(&v->prev, memory_order_acquire);
    }
    if (f && (!v || (pv__ver_flags(v) & PV__VER_FREED))) {
        return pageio_absent(page_id, err);
    }
    if (v && (pv__ver_flags(v) & PV__VER_RESIDENT)) {
        *out = v;
        return PV_OK;
    }
    if (v) {
        pv__mutex_lock(&s->ver_mutex);
        pte = v->pte;
        pv__mutex_unlock(&s->ver_mutex);
    } else {
        PV_TRY(pv__table_lookup(s, page_id, &pte, err));
    }
    PV_TRY(pageio_make(s, page_id, &pte, &fresh, err));
    if (v && fresh->lsn != v->lsn) { /* the log vouches for these slots, with another stamp */
        pv__ver_free(s, fresh);
        return pv__err(err, PV_ERR_CORRUPT, "page %llu is damaged: it states another version",
                       (unsigned long long)page_id);
    }
    pv__mutex_lock(&s->ver_mutex);
    int rc = pv__ver_reserve(s, 1, err);
    bool placed = false;
    if (!rc && v) {
        placed = pageio_replace(s, x, v, fresh);
    } else if (!rc && atomic_load_explicit(&x->frame, memory_order_relaxed) == 0) {
        pv__ver_set(fresh, PV__VER_RESIDENT | PV__VER_STORED | PV__VER_TABLED);
        atomic_store_explicit(&x->lsn, fresh->lsn, memory_order_relaxed);
        atomic_store_explicit(&x->frame, pv__ver_frame(fresh), memory_order_release);
        placed = true;
    }
    pv__mutex_unlock(&s->ver_mutex);
    if (!placed) {
        pv__ver_free(s, fresh);
        return rc;
    }
    if (fresh->lsn <= snap) {
        *out = fresh;
        return PV_OK;
    }
    return pageio_absent(page_id, err);
}

PV_PRIVATE int pv__page_fetch(pv__store *s, uint64_t page_id, uint64_t snap, pv__ver **out,
                              pv_error *err) {
    pv__xent *x = NULL;
    PV_TRY(pv__xlat_make(s, page_id, &x, err));
    pv__mutex *stripe = pv__page_stripe(s, page_id);
    pv__ver *v = NULL;
    int rc = PV_OK;
    pv__mutex_lock(stripe);
    while (!rc && !v) {
        rc = pageio_miss(s, x, page_id, snap, &v, err);
    }
    pv__mutex_unlock(stripe);
    if (!rc) {
        *out = v;
    }
    return rc;
}
