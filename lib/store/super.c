/* SPDX-License-Identifier: Apache-2.0 */
/* super.c - the superblock: two places, each mirrored; the valid one with the highest sequence
 * number is the database's newest root. Odd sequences go to A, even ones to B, so that writing one
 * never touches the other. Layout in format.h. */
#include "store/internal.h"

static void super_encode(const pv__super *u, uint64_t self, uint8_t *p) {
    memset(p, 0, PV__SLOT_SIZE);
    memcpy(p, PV__SUPER_MAGIC, 16);
    pv__put32(p + PV__SUPER_MAJOR, PV__FORMAT_MAJOR);
    pv__put32(p + PV__SUPER_MINOR, PV__FORMAT_MINOR);
    pv__put64(p + PV__SUPER_COMPAT, u->compat);
    pv__put64(p + PV__SUPER_RO_COMPAT, u->ro_compat);
    pv__put64(p + PV__SUPER_INCOMPAT, u->incompat);
    memcpy(p + PV__SUPER_UUID, u->uuid, 16);
    pv__put64(p + PV__SUPER_SEQUENCE, u->sequence);
    pv__put64(p + PV__SUPER_LSN, u->lsn);
    pv__put64(p + PV__SUPER_DB_SUM, u->db_sum);
    pv__put64(p + PV__SUPER_FILE_SLOTS, u->file_slots);
    pv__pte_put(p + PV__SUPER_ROOT, &u->root);
    pv__put32(p + PV__SUPER_HEIGHT, u->height);
    pv__put32(p + PV__SUPER_FLAGS, u->flags);
    pv__put32(p + PV__SUPER_TIMELINE, u->timeline);
    pv__put32(p + PV__SUPER_EPOCH, u->epoch);
    pv__put64(p + PV__SUPER_FORK_LSN, u->fork_lsn);
    pv__put64(p + PV__SUPER_COMMITS, u->commits);
    pv__put64(p + PV__SUPER_CREATED_US, (uint64_t)u->created_us);
    pv__put64(p + PV__SUPER_SELF, self);
    pv__put64(p + PV__SUPER_CHAIN, u->chain);
}

static void super_decode(const uint8_t *p, pv__super *u) {
    memcpy(u->uuid, p + PV__SUPER_UUID, 16);
    u->compat = pv__get64(p + PV__SUPER_COMPAT);
    u->ro_compat = pv__get64(p + PV__SUPER_RO_COMPAT);
    u->incompat = pv__get64(p + PV__SUPER_INCOMPAT);
    u->sequence = pv__get64(p + PV__SUPER_SEQUENCE);
    u->lsn = pv__get64(p + PV__SUPER_LSN);
    u->db_sum = pv__get64(p + PV__SUPER_DB_SUM);
    u->file_slots = pv__get64(p + PV__SUPER_FILE_SLOTS);
    u->root = pv__pte_get(p + PV__SUPER_ROOT);
    u->height = pv__get32(p + PV__SUPER_HEIGHT);
    u->flags = pv__get32(p + PV__SUPER_FLAGS);
    u->timeline = pv__get32(p + PV__SUPER_TIMELINE);
    u->epoch = pv__get32(p + PV__SUPER_EPOCH);
    u->fork_lsn = pv__get64(p + PV__SUPER_FORK_LSN);
    u->commits = pv__get64(p + PV__SUPER_COMMITS);
    u->created_us = (int64_t)pv__get64(p + PV__SUPER_CREATED_US);
    u->chain = pv__get64(p + PV__SUPER_CHAIN);
}

PV_PRIVATE int pv__super_try(pv__store *s, const pv__super *super, bool *out_no_room,
                             pv_error *err) {
    *out_no_room = false;
    uint8_t *p = pv__alloc(s->mem, PV__SLOT_SIZE);
    if (!p) {
        return pv__err_nomem(err, PV__SLOT_SIZE);
    }
    uint64_t slot = super->sequence % 2 ? PV__SUPER_SLOT_A : PV__SUPER_SLOT_B;
    int rc = PV_OK;
    for (unsigned copy = 0; copy < 2 && !rc; copy++) {
        uint64_t self = slot + copy * PV__SUPER_MIRROR;
        super_encode(super, self, p);
        pv__put64(p + PV__SUPER_WRITTEN_US, (uint64_t)pv__sys_wall_us(s->clock));
        pv__put64(p + PV__SUPER_CHECKSUM, pv__hash64(p, PV__SUPER_CHECKSUM, 0));
        rc = pv__vfs_write(s->vfs, s->file, self * PV__SLOT_SIZE, p, PV__SLOT_SIZE, err);
        *out_no_room = rc == PV_ERR_FULL;
    }
    if (!rc) {
        rc = s->vfs->sync(s->vfs, s->file, err);
    }
    if (!rc) {
        atomic_store(&s->super_unsure, 0);
    }
    pv__alloc_free(s->mem, p, PV__SLOT_SIZE);
    return rc;
}

PV_PRIVATE int pv__super_write(pv__store *s, const pv__super *super, pv_error *err) {
    bool unused = false;
    return pv__super_try(s, super, &unused, err);
}

/* A superblock that the disk had no room for may lie there all the same, whole or in part. The next
 * one goes to its place again, with a higher number. */
PV_PRIVATE void pv__super_skip(pv__store *s) {
    pv__mutex_lock(&s->ver_mutex);
    s->super.sequence += 2;
    atomic_fetch_add(&s->super_unsure, 1);
    pv__mutex_unlock(&s->ver_mutex);
}

/* The newest superblock may have been written by somebody who died or failed before the sync, and
 * be read from the system's cache only. Write it again as it is, one copy after the other so that
 * one always holds, a damaged one first. */
PV_PRIVATE int pv__super_refresh(pv__store *s, pv_error *err) {
    uint64_t slot = s->super.sequence % 2 ? PV__SUPER_SLOT_A : PV__SUPER_SLOT_B;
    uint8_t *p = pv__alloc_zero(s->mem, 2 * (size_t)PV__SLOT_SIZE);
    if (!p) {
        return pv__err_nomem(err, 2 * (size_t)PV__SLOT_SIZE);
    }
    pv_io io = {slot * PV__SLOT_SIZE, p + PV__SLOT_SIZE, PV__SLOT_SIZE, 0};
    int rc = s->vfs->read(s->vfs, s->file, &io, 1, err);
    uint64_t written = pv__get64(p + PV__SLOT_SIZE + PV__SUPER_WRITTEN_US);
    super_encode(&s->super, slot, p);
    pv__put64(p + PV__SUPER_WRITTEN_US, written);
    pv__put64(p + PV__SUPER_CHECKSUM, pv__hash64(p, PV__SUPER_CHECKSUM, 0));
    uint64_t first = memcmp(p, p + PV__SLOT_SIZE, PV__SLOT_SIZE) == 0;
    written = first ? written : (uint64_t)pv__sys_wall_us(s->clock);
    for (uint64_t i = 0; i < 2 && !rc; i++) {
        uint64_t self = slot + ((first + i) % 2) * PV__SUPER_MIRROR;
        super_encode(&s->super, self, p);
        pv__put64(p + PV__SUPER_WRITTEN_US, written);
        pv__put64(p + PV__SUPER_CHECKSUM, pv__hash64(p, PV__SUPER_CHECKSUM, 0));
        rc = pv__vfs_write(s->vfs, s->file, self * PV__SLOT_SIZE, p, PV__SLOT_SIZE, err);
        rc = rc ? rc : s->vfs->sync(s->vfs, s->file, err);
    }
    pv__alloc_free(s->mem, p, 2 * (size_t)PV__SLOT_SIZE);
    return rc;
}

/* Does this copy count? A newer format is told apart from damage. */
static int super_judge(const uint8_t *p, uint64_t self, bool *out_valid, pv_error *err) {
    *out_valid = false;
    if (memcmp(p, PV__SUPER_MAGIC, 16) != 0 ||
        pv__get64(p + PV__SUPER_CHECKSUM) != pv__hash64(p, PV__SUPER_CHECKSUM, 0) ||
        pv__get64(p + PV__SUPER_SELF) != self) {
        return PV_OK;
    }
    uint32_t major = pv__get32(p + PV__SUPER_MAJOR);
    if (major != PV__FORMAT_MAJOR) {
        return pv__err(err, PV_ERR_FORMAT, "the file has format %u.%u, this library knows %u.%u",
                       major, pv__get32(p + PV__SUPER_MINOR), PV__FORMAT_MAJOR, PV__FORMAT_MINOR);
    }
    uint64_t strange = pv__get64(p + PV__SUPER_INCOMPAT) & ~(uint64_t)PV__FEATURE_INCOMPAT_KNOWN;
    if (strange) {
        return pv__err(err, PV_ERR_FORMAT,
                       "the file uses features (0x%llx) that this library does not know",
                       (unsigned long long)strange);
    }
    *out_valid = true;
    return PV_OK;
}

static const uint64_t super_places[PV__SUPER_COPIES] = {PV__SUPER_SLOT_A, PV__SUPER_SLOT_B,
                                                        PV__SUPER_SLOT_A + PV__SUPER_MIRROR,
                                                        PV__SUPER_SLOT_B + PV__SUPER_MIRROR};

/* All four copies, one behind the other in memory that the caller frees. */
static int super_load(pv__store *s, uint8_t **out, pv_error *err) {
    const size_t size = PV__SUPER_COPIES * (size_t)PV__SLOT_SIZE;
    pv_io io[PV__SUPER_COPIES];
    uint8_t *p = pv__alloc_zero(s->mem, size);
    if (!p) {
        return pv__err_nomem(err, size);
    }
    memset(io, 0, sizeof io);
    for (unsigned i = 0; i < PV__SUPER_COPIES; i++) {
        io[i].offset = super_places[i] * PV__SLOT_SIZE;
        io[i].data = p + i * (size_t)PV__SLOT_SIZE;
        io[i].size = PV__SLOT_SIZE;
    }
    int rc = s->vfs->read(s->vfs, s->file, io, PV__SUPER_COPIES, err);
    if (rc) {
        pv__alloc_free(s->mem, p, size);
        return rc;
    }
    *out = p;
    return PV_OK;
}

PV_PRIVATE int pv__super_read(pv__store *s, pv__super *out_new, pv__super *out_old, bool *has_old,
                              pv_error *err) {
    uint8_t *p = NULL;
    PV_TRY(super_load(s, &p, err));
    int rc = PV_OK;
    bool found = false, magic = false;
    *has_old = false;
    for (unsigned i = 0; i < PV__SUPER_COPIES && !rc; i++) {
        const uint8_t *copy = p + i * (size_t)PV__SLOT_SIZE;
        pv__super u;
        bool valid = false;
        magic |= memcmp(copy, PV__SUPER_MAGIC, 16) == 0;
        rc = super_judge(copy, super_places[i], &valid, err);
        if (rc || !valid) {
            continue;
        }
        memset(&u, 0, sizeof u);
        super_decode(copy, &u);
        if (!found || u.sequence > out_new->sequence) {
            if (found) {
                *out_old = *out_new;
                *has_old = true;
            }
            *out_new = u;
            found = true;
        } else if (u.sequence < out_new->sequence &&
                   (!*has_old || u.sequence > out_old->sequence)) {
            *out_old = u;
            *has_old = true;
        }
    }
    if (!rc && !found) {
        rc = magic ? pv__err(err, PV_ERR_CORRUPT,
                             "'%s': all four copies of the superblock are damaged", s->path)
                   : pv__err(err, PV_ERR_FORMAT, "'%s' is not a Piramid database", s->path);
    }
    pv__alloc_free(s->mem, p, PV__SUPER_COPIES * (size_t)PV__SLOT_SIZE);
    return rc;
}

/* Which of the four copies in p do not count, or are older than their twins. */
static void super_compare(const uint8_t *p, bool bad[PV__SUPER_COPIES],
                          bool valid[PV__SUPER_COPIES]) {
    uint64_t sequence[PV__SUPER_COPIES];
    pv_error ignored = PV_ERROR_INIT;
    for (unsigned i = 0; i < PV__SUPER_COPIES; i++) {
        const uint8_t *copy = p + i * (size_t)PV__SLOT_SIZE;
        (void)super_judge(copy, super_places[i], &valid[i], &ignored);
        sequence[i] = pv__get64(copy + PV__SUPER_SEQUENCE);
    }
    for (unsigned i = 0; i < PV__SUPER_COPIES; i++) {
        const unsigned twin = (i + 2) % PV__SUPER_COPIES;
        bad[i] = !valid[i] || (valid[twin] && sequence[i] < sequence[twin]);
    }
}

PV_PRIVATE int pv__super_check(pv__store *s, uint64_t out_bad[PV__SUPER_COPIES],
                               unsigned *out_count, pv_error *err) {
    bool bad[PV__SUPER_COPIES], valid[PV__SUPER_COPIES];
    uint8_t *p = NULL;
    PV_TRY(super_load(s, &p, err));
    super_compare(p, bad, valid);
    *out_count = 0;
    for (unsigned i = 0; i < PV__SUPER_COPIES; i++) {
        if (bad[i]) {
            out_bad[(*out_count)++] = super_places[i];
        }
    }
    pv__alloc_free(s->mem, p, PV__SUPER_COPIES * (size_t)PV__SLOT_SIZE);
    return PV_OK;
}

/* After a power cut: a copy that was being written is torn, and its twin tells what stood there. */
PV_PRIVATE int pv__super_mend(pv__store *s, pv_error *err) {
    bool bad[PV__SUPER_COPIES], valid[PV__SUPER_COPIES];
    uint8_t *p = NULL;
    int rc = PV_OK;
    PV_TRY(super_load(s, &p, err));
    super_compare(p, bad, valid);
    for (unsigned i = 0; i < PV__SUPER_COPIES && !rc; i++) {
        const unsigned twin = (i + 2) % PV__SUPER_COPIES;
        uint8_t *copy = p + i * (size_t)PV__SLOT_SIZE;
        if (bad[i] && valid[twin]) {
            memcpy(copy, p + twin * (size_t)PV__SLOT_SIZE, PV__SLOT_SIZE);
            pv__put64(copy + PV__SUPER_SELF, super_places[i]);
            pv__put64(copy + PV__SUPER_CHECKSUM, pv__hash64(copy, PV__SUPER_CHECKSUM, 0));
            rc = pv__vfs_write(s->vfs, s->file, super_places[i] * PV__SLOT_SIZE, copy,
                               PV__SLOT_SIZE, err);
            rc = rc ? rc : s->vfs->sync(s->vfs, s->file, err);
        }
    }
    pv__alloc_free(s->mem, p, PV__SUPER_COPIES * (size_t)PV__SLOT_SIZE);
    return rc;
}
