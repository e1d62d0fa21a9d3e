/* SPDX-License-Identifier: Apache-2.0 */
/* segment.c - the files of the log: naming, making, listing and removing them. A segment is made
 * whole (allocated to its full length, head written and synced, directory synced) before a record
 * goes into it, and never rewound; it is removed when no retained root needs it (S3). */
#include "store/internal.h"

static const char segment_hex[] = "0123456789abcdef";

PV_PRIVATE void pv__seg_name(char out[PV__SEG_NAME_MAX], uint64_t start, uint32_t epoch) {
    for (unsigned i = 0; i < 16; i++) {
        out[i] = segment_hex[start >> (60 - 4 * i) & 15];
    }
    out[16] = '-';
    for (unsigned i = 0; i < 8; i++) {
        out[17 + i] = segment_hex[epoch >> (28 - 4 * i) & 15];
    }
    memcpy(out + 25, ".pvw", 5);
}

static bool segment_parse(const char *name, uint64_t *start, uint32_t *epoch) {
    char again[PV__SEG_NAME_MAX];
    uint64_t v[2] = {0, 0};
    if (strlen(name) != 29) {
        return false;
    }
    for (unsigned i = 0; i < 25; i++) {
        const char *at = i == 16 ? NULL : memchr(segment_hex, name[i], 16);
        if (i != 16 && !at) {
            return false;
        }
        if (at) {
            v[i > 16] = v[i > 16] << 4 | (uint64_t)(at - segment_hex);
        }
    }
    *start = v[0];
    *epoch = (uint32_t)v[1];
    pv__seg_name(again, *start, *epoch);
    return strcmp(again, name) == 0;
}

PV_PRIVATE char *pv__path_join(pv__mem *mem, const char *dir, const char *name, size_t *out_size) {
    size_t a = strlen(dir), b = strlen(name);
    char *p = pv__alloc(mem, a + b + 2);
    if (p) {
        memcpy(p, dir, a);
        p[a] = '/';
        memcpy(p + a + 1, name, b + 1);
        *out_size = a + b + 2;
    }
    return p;
}

static int segment_open(pv__store *s, const char *name, uint32_t flags, pv_file **out,
                        pv_error *err) {
    size_t size = 0;
    char *path = pv__path_join(s->mem, s->wal_dir, name, &size);
    if (!path) {
        return pv__err_nomem(err, strlen(s->wal_dir) + PV__SEG_NAME_MAX);
    }
    int rc = s->vfs->open(s->vfs, path, flags, out, NULL, err);
    pv__alloc_free(s->mem, path, size);
    return rc;
}

static void segment_head(const pv__store *s, const pv__segment *seg, uint8_t *p) {
    memset(p, 0, PV__SEG_HEAD);
    memcpy(p, PV__SEG_MAGIC, 16);
    pv__put32(p + PV__SEG_MAJOR, PV__FORMAT_MAJOR);
    pv__put32(p + PV__SEG_MINOR, PV__FORMAT_MINOR);
    memcpy(p + PV__SEG_UUID, s->super.uuid, 16);
    pv__put64(p + PV__SEG_START, seg->start);
    pv__put32(p + PV__SEG_TIMELINE, s->super.timeline);
    pv__put32(p + PV__SEG_EPOCH, seg->epoch);
    pv__put64(p + PV__SEG_CHAIN, seg->chain);
    pv__put64(p + PV__SEG_DURABLE, seg->durable);
    pv__put64(p + PV__SEG_CREATED_US, (uint64_t)pv__sys_wall_us(s->clock));
    pv__put64(p + PV__SEG_CHECKSUM, pv__hash64(p, PV__SEG_CHECKSUM, 0));
}

PV_PRIVATE int pv__seg_create(pv__store *s, const pv__segment *seg, const char *name, pv_file **out,
                              pv_error *err) {
    uint8_t *head = pv__alloc(s->mem, PV__SEG_HEAD);
    if (!head) {
        return pv__err_nomem(err, PV__SEG_HEAD);
    }
    pv_file *file = NULL;
    int rc = segment_open(s, name, PV_VFS_OPEN_CREATE, &file, err);
    if (!rc) {
        rc = s->vfs->truncate(s->vfs, file, 0, err); /* a leftover of a creation that was cut off */
    }
    if (!rc) {
        rc = s->vfs->allocate(s->vfs, file, 0, PV__SEG_HEAD + seg->cap, err);
    }
    segment_head(s, seg, head);
    if (!rc) {
        rc = pv__vfs_write(s->vfs, file, 0, head, PV__SEG_HEAD, err);
    }
    pv__alloc_free(s->mem, head, PV__SEG_HEAD);
    if (rc && file) {
        pv_error ignored = PV_ERROR_INIT;
        s->vfs->close(s->vfs, file, &ignored);
        pv__seg_unlink(s, seg, &ignored);
        return rc;
    }
    *out = file;
    return rc;
}

PV_PRIVATE int pv__seg_push(pv__store *s, const pv__segment *seg, pv_error *err) {
    pv__mutex_lock(&s->log.mutex);
    int rc = pv__alloc_grow(s->mem, (void **)&s->log.segs, &s->log.seg_cap, s->log.seg_count + 1,
                            sizeof *seg, err);
    if (!rc) {
        size_t at = s->log.seg_count++;
        while (at > 0 && (s->log.segs[at - 1].start > seg->start ||
                          (s->log.segs[at - 1].start == seg->start &&
                           s->log.segs[at - 1].epoch > seg->epoch))) {
            s->log.segs[at] = s->log.segs[at - 1];
            at--;
        }
        s->log.segs[at] = *seg;
    }
    pv__mutex_unlock(&s->log.mutex);
    return rc;
}

static int segment_unlink(pv__store *s, const char *name, pv_error *err) {
    size_t size = 0;
    char *path = pv__path_join(s->mem, s->wal_dir, name, &size);
    if (!path) {
        return pv__err_nomem(err, size);
    }
    int rc = s->vfs->unlink(s->vfs, path, err);
    pv__alloc_free(s->mem, path, size);
    return rc == PV_ERR_NOTFOUND ? PV_OK : rc;
}

PV_PRIVATE int pv__seg_unlink(pv__store *s, const pv__segment *seg, pv_error *err) {
    char name[PV__SEG_NAME_MAX];
    pv__seg_name(name, seg->start, seg->epoch);
    return segment_unlink(s, name, err);
}

/* Read the head of the file `name`: ours, foreign (an error) or damaged (valid = false). */
static int segment_read_head(pv__store *s, const char *name, pv__segment *seg, pv_error *err) {
    uint8_t *p = pv__alloc_zero(s->mem, PV__SEG_HEAD);
    pv_file *file = NULL;
    uint64_t size = 0;
    if (!p) {
        return pv__err_nomem(err, PV__SEG_HEAD);
    }
    int rc = segment_open(s, name, PV_VFS_OPEN_READONLY, &file, err);
    pv_io io = {0, p, PV__SEG_HEAD, 0};
    if (!rc) {
        rc = s->vfs->read(s->vfs, file, &io, 1, err);
    }
    if (!rc) {
        rc = s->vfs->size(s->vfs, file, &size, err);
    }
    if (!rc) {
        seg->valid = memcmp(p, PV__SEG_MAGIC, 16) == 0 &&
                     pv__get64(p + PV__SEG_CHECKSUM) == pv__hash64(p, PV__SEG_CHECKSUM, 0) &&
                     pv__get64(p + PV__SEG_START) == seg->start &&
                     pv__get32(p + PV__SEG_EPOCH) == seg->epoch;
        seg->chain = pv__get64(p + PV__SEG_CHAIN);
        seg->durable = pv__get64(p + PV__SEG_DURABLE);
        seg->cap = size > PV__SEG_HEAD ? size - PV__SEG_HEAD : 0;
        if (seg->valid && memcmp(p + PV__SEG_UUID, s->super.uuid, 16) != 0) {
            rc = pv__err(err, PV_ERR_FORMAT, "log segment '%s/%s' belongs to another database",
                         s->wal_dir, name);
        } else if (seg->valid && pv__get32(p + PV__SEG_TIMELINE) != s->super.timeline) {
            rc = pv__err(err, PV_ERR_FORMAT, "log segment '%s/%s' belongs to another timeline",
                         s->wal_dir, name);
        } else if (seg->valid && pv__get32(p + PV__SEG_MAJOR) != PV__FORMAT_MAJOR) {
            rc = pv__err(err, PV_ERR_FORMAT, "log segment '%s/%s' has format %u", s->wal_dir, name,
                         pv__get32(p + PV__SEG_MAJOR));
        }
    }
    if (file) {
        pv_error ignored = PV_ERROR_INIT;
        s->vfs->close(s->vfs, file, &ignored);
    }
    pv__alloc_free(s->mem, p, PV__SEG_HEAD);
    return rc;
}

typedef struct segment_lister {
    pv__store *s;
    pv_error *err;
} segment_lister;

static int segment_listed(void *arg, const char *name) {
    segment_lister *l = arg;
    pv__segment seg;
    memset(&seg, 0, sizeof seg);
    if (!segment_parse(name, &seg.start, &seg.epoch)) {
        return PV_OK; /* not a segment: the name of a temporary file, or somebody else's */
    }
    int rc = segment_read_head(l->s, name, &seg, l->err);
    return rc ? rc : pv__seg_push(l->s, &seg, l->err);
}

PV_PRIVATE int pv__log_list(pv__store *s, bool *out_exists, pv_error *err) {
    segment_lister l = {s, err};
    pv_error missing = PV_ERROR_INIT;
    int rc = s->vfs->list(s->vfs, s->wal_dir, segment_listed, &l, &missing);
    *out_exists = rc != PV_ERR_NOTFOUND;
    if (rc == PV_ERR_NOTFOUND) {
        return PV_OK;
    }
    if (rc && missing.code) {
        return pv__err(err, rc, "%s", missing.message);
    }
    return rc;
}

PV_PRIVATE void pv__log_trim(pv__store *s, uint64_t keep_from) {
    pv__wal *l = &s->log;
    pv_error ignored = PV_ERROR_INIT;
    for (;;) {
        pv__segment first;
        pv__mutex_lock(&l->mutex);
        bool old = l->seg_count > 1 && l->segs[1].start <= keep_from;
        if (old) {
            first = l->segs[0];
            l->seg_count--;
            memmove(l->segs, l->segs + 1, l->seg_count * sizeof *l->segs);
        }
        pv__mutex_unlock(&l->mutex);
        if (!old || pv__seg_unlink(s, &first, &ignored)) {
            return; /* one that cannot be removed is only a file too many */
        }
    }
}

PV_PRIVATE int pv__log_remove_all(pv__store *s, pv_error *err) {
    pv__wal *l = &s->log;
    if (l->file) {
        pv_error ignored = PV_ERROR_INIT;
        s->vfs->close(s->vfs, l->file, &ignored);
        l->file = NULL;
    }
    while (l->seg_count > 0) { /* newest first: what is left is never taken for a whole log */
        PV_TRY(pv__seg_unlink(s, &l->segs[l->seg_count - 1], err));
        l->seg_count--;
    }
    pv_error ignored = PV_ERROR_INIT;
    (void)segment_unlink(s, PV__SEG_TEMP, &ignored); /* left by a recovery that was cut off */
    if (s->vfs->rmdir(s->vfs, s->wal_dir, &ignored)) {
        pv__log(&s->log_to, PV_LOG_INFO, "store", "'%s' stays: %s", s->wal_dir, ignored.message);
    }
    return PV_OK;
}
