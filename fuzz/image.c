/* SPDX-License-Identifier: Apache-2.0 */
/* image.c - see image.h. Nothing here trusts a byte of the input: every offset is checked against
 * the file it points into, and the walk over the page table is bounded. */
#include "image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "store/format.h"

#define IMAGE_SEEN_MAX 8192u /* entries of the page table that are mended */
#define IMAGE_GAP 16u        /* fewer zeros than this do not end a piece */
#define IMAGE_LENGTH_MAX 65535u

/* ---- pieces -------------------------------------------------------------------------------- */

/* Blocks of zeros, kept from one input to the next: to clear what was used is cheaper. */
static uint8_t *image_spare[IMAGE_FILES];

static bool image_init(image *img) {
    memset(img, 0, sizeof *img);
    for (unsigned i = 0; i < IMAGE_FILES; i++) {
        img->files[i].bytes = image_spare[i] ? image_spare[i] : calloc(1, IMAGE_BYTES_MAX);
        image_spare[i] = NULL;
        if (!img->files[i].bytes) {
            image_done(img);
            return false;
        }
    }
    return true;
}

void image_done(image *img) {
    for (unsigned i = 0; i < IMAGE_FILES; i++) {
        if (img->files[i].bytes) {
            memset(img->files[i].bytes, 0, img->files[i].size);
        }
        free(image_spare[i]);
        image_spare[i] = img->files[i].bytes;
    }
    memset(img, 0, sizeof *img);
}

bool image_read(image *img, const uint8_t *data, size_t size) {
    if (!image_init(img)) {
        return false;
    }
    for (size_t at = 0; size - at >= IMAGE_PIECE_HEAD;) {
        image_file *f = &img->files[data[at] % IMAGE_FILES];
        uint64_t offset = pv__get32(data + at + 1);
        size_t length = (size_t)data[at + 5] | (size_t)data[at + 6] << 8;
        at += IMAGE_PIECE_HEAD;
        length = length < size - at ? length : size - at;
        if (offset + length <= IMAGE_BYTES_MAX) {
            memcpy(f->bytes + offset, data + at, length);
            f->size = offset + length > f->size ? offset + length : f->size;
        }
        at += length;
    }
    return true;
}

static size_t image_pack_piece(unsigned file, size_t offset, const uint8_t *bytes, size_t length,
                               uint8_t *out, size_t cap) {
    if (cap >= IMAGE_PIECE_HEAD + length) {
        out[0] = (uint8_t)file;
        pv__put32(out + 1, (uint32_t)offset);
        out[5] = (uint8_t)length;
        out[6] = (uint8_t)(length >> 8);
        memcpy(out + IMAGE_PIECE_HEAD, bytes, length);
    }
    return IMAGE_PIECE_HEAD + length;
}

/* Where the run of bytes from `at` ends: before a longer gap, or when it is as long as can be. */
static size_t image_run_end(const image_file *f, size_t at) {
    size_t end = at + 1, zeros = 0;
    for (size_t i = at + 1; i < f->size && zeros < IMAGE_GAP && i - at < IMAGE_LENGTH_MAX; i++) {
        zeros = f->bytes[i] ? 0 : zeros + 1;
        end = f->bytes[i] ? i + 1 : end;
    }
    return end;
}

size_t image_pack(const image *img, uint8_t *out, size_t cap) {
    size_t used = 0;
    for (unsigned file = 0; file < IMAGE_FILES; file++) {
        const image_file *f = &img->files[file];
        for (size_t at = 0; at < f->size;) {
            size_t end = at + 1;
            if (f->bytes[at] || at + 1 == f->size) { /* the last byte tells how long the file is */
                end = image_run_end(f, at);
                used +=
                    image_pack_piece(file, at, f->bytes + at, end - at,
                                     used < cap ? out + used : NULL, used < cap ? cap - used : 0);
            }
            at = end;
        }
    }
    return used;
}

/* ---- the database -------------------------------------------------------------------------- */

typedef struct image_walk {
    image_file *f;
    uint64_t tag;
    unsigned seen;
} image_walk;

/* Slot by slot: hashes behind the head are made anew, and the sum is theirs. */
static uint64_t image_page_sum(const image_walk *w, uint64_t page_id, const pv__pte *e) {
    uint64_t seed = pv__mix64(w->tag ^ pv__mix64(page_id));
    uint8_t *page = w->f->bytes + e->slot * PV__SLOT_SIZE, hashes[8 * PV__PAGE_SLOTS_MAX];
    if (e->codec == PV__PTE_BY_SLOT && e->slots > 1 && e->slots <= PV__PAGE_SLOTS_MAX) {
        memset(page + PV__PAGE_HEAD, 0, pv__page_front(e->slots) - PV__PAGE_HEAD);
        for (unsigned i = 0; i < e->slots; i++) {
            pv__put64(hashes + 8 * i,
                      pv__hash64(page + (size_t)i * PV__SLOT_SIZE, PV__SLOT_SIZE, 0));
        }
        memcpy(page + PV__PAGE_HEAD, hashes, 8 * (size_t)e->slots);
        return pv__hash64(hashes, 8 * (size_t)e->slots, seed);
    }
    return pv__hash64(w->f->bytes + e->slot * PV__SLOT_SIZE, (size_t)e->slots * PV__SLOT_SIZE,
                      seed);
}

/* Mend what the entry at `at` refers to, children first, then the entry's checksum. level -1: a
 * page of data, whose bytes are its owner's. */
static void image_mend_entry(image_walk *w, uint8_t *at, int level, uint64_t index) {
    pv__pte e = pv__pte_get(at);
    uint64_t end = (e.slot + e.slots) * PV__SLOT_SIZE;
    if (e.slots == 0 || end > IMAGE_BYTES_MAX || w->seen++ > IMAGE_SEEN_MAX) {
        return;
    }
    uint8_t *node = w->f->bytes + e.slot * PV__SLOT_SIZE;
    for (unsigned i = 0; level >= 0 && i < PV__PT_FANOUT; i++) {
        image_mend_entry(w, node + PV__PAGE_HEAD + (size_t)i * PV__PTE_SIZE, level - 1,
                         index * PV__PT_FANOUT + i);
    }
    uint64_t id = level < 0 ? index : (uint64_t)level << 56 | index;
    e.checksum = image_page_sum(w, id, &e);
    pv__pte_put(at, &e);
}

static void image_mend_database(image_file *f) {
    static const uint64_t places[4] = {PV__SUPER_SLOT_A, PV__SUPER_SLOT_B,
                                       PV__SUPER_SLOT_A + PV__SUPER_MIRROR,
                                       PV__SUPER_SLOT_B + PV__SUPER_MIRROR};
    for (unsigned i = 0; i < 4; i++) {
        uint8_t *super = f->bytes + places[i] * PV__SLOT_SIZE;
        if ((places[i] + 1) * PV__SLOT_SIZE > f->size) {
            continue;
        }
        image_walk w = {f, pv__get64(super + PV__SUPER_UUID), 0};
        uint32_t height = pv__get32(super + PV__SUPER_HEIGHT);
        if (height > 0 && height <= 5) {
            image_mend_entry(&w, super + PV__SUPER_ROOT, (int)height - 1, 0);
        }
        pv__put64(super + PV__SUPER_CHECKSUM, pv__hash64(super, PV__SUPER_CHECKSUM, 0));
    }
}

/* ---- the log ------------------------------------------------------------------------------- */

typedef struct image_log {
    uint64_t tag;                  /* of the database */
    uint64_t root_lsn, root_chain; /* the first record behind the root continues this chain */
    uint64_t chain;                /* head hash of the record before */
} image_log;

/* The record at `at`; returns where the next may begin, or 0 when this is none. */
static size_t image_mend_record(image_file *f, size_t at, image_log *l) {
    uint8_t *h = f->bytes + at;
    if (at + PV__REC_HEAD > f->size || pv__get32(h + PV__REC_MAGIC) != PV__REC_MAGIC_VALUE) {
        return 0;
    }
    uint64_t body = pv__get64(h + PV__REC_BODY), stamp = pv__get64(h + PV__REC_STAMP);
    bool whole = body <= f->size - at - PV__REC_HEAD;
    if (whole) {
        pv__put64(h + PV__REC_BODY_HASH,
                  pv__hash64(h + PV__REC_HEAD, (size_t)body, l->tag ^ pv__mix64(stamp)));
    }
    pv__put64(h + PV__REC_CHAIN, stamp == l->root_lsn ? l->root_chain : l->chain);
    l->chain = pv__hash64(h, PV__REC_HEAD_HASH, l->tag);
    pv__put64(h + PV__REC_HEAD_HASH, l->chain);
    return whole ? (at + PV__REC_HEAD + (size_t)body + 7) / 8 * 8 : 0;
}

/* The records of one segment; a batch begins at the next 4 KiB where none follows at once. */
static void image_mend_segment(image_file *f, image_log *l) {
    pv__put64(f->bytes + PV__SEG_CHAIN, l->chain);
    pv__put64(f->bytes + PV__SEG_CHECKSUM, pv__hash64(f->bytes, PV__SEG_CHECKSUM, 0));
    for (size_t at = PV__SEG_HEAD; at < f->size;) {
        size_t next = image_mend_record(f, at, l);
        at = next ? next : (at / PV__SLOT_SIZE + 1) * PV__SLOT_SIZE;
    }
}

void image_mend(image *img) {
    const uint8_t *super = img->files[0].bytes, *newest = super;
    image_mend_database(&img->files[0]);
    if (pv__get64(super + PV__SLOT_SIZE + PV__SUPER_SEQUENCE) >
        pv__get64(super + PV__SUPER_SEQUENCE)) {
        newest = super + PV__SLOT_SIZE;
    }
    image_log l = {pv__get64(newest + PV__SUPER_UUID), pv__get64(newest + PV__SUPER_LSN),
                   pv__get64(newest + PV__SUPER_CHAIN), 0};
    for (unsigned i = 1; i < IMAGE_FILES; i++) {
        image_file *f = &img->files[i];
        if (f->size >= PV__SEG_HEAD) {
            /* A first segment from before the root begins with the chain of its own time. */
            l.chain = i == 1 ? pv__get64(f->bytes + PV__SEG_CHAIN) : l.chain;
            image_mend_segment(f, &l);
        }
    }
}

/* ---- files --------------------------------------------------------------------------------- */

static void image_log_name(const image_file *f, char *out, size_t cap) {
    uint64_t start = f->size >= PV__SEG_HEAD ? pv__get64(f->bytes + PV__SEG_START) : 0;
    uint32_t epoch = f->size >= PV__SEG_HEAD ? pv__get32(f->bytes + PV__SEG_EPOCH) : 0;
    snprintf(out, cap, IMAGE_LOG_DIR "/%016llx-%08x.pvw", (unsigned long long)start,
             (unsigned)epoch);
}

static int image_store_file(const image_file *f, const char *path, pv_vfs *vfs, pv_error *err) {
    pv_file *file = NULL;
    int rc = vfs->open(vfs, path, PV_VFS_OPEN_CREATE, &file, NULL, err);
    if (!rc) {
        pv_io io = {0, f->bytes, f->size, 0};
        rc = vfs->write(vfs, file, &io, 1, err);
        vfs->close(vfs, file, err);
    }
    return rc;
}

int image_store(const image *img, pv_vfs *vfs, pv_error *err) {
    int rc = image_store_file(&img->files[0], IMAGE_PATH, vfs, err);
    for (unsigned i = 1; i < IMAGE_FILES && !rc; i++) {
        char name[64];
        if (img->files[i].size > 0) {
            image_log_name(&img->files[i], name, sizeof name);
            rc = vfs->mkdir(vfs, IMAGE_LOG_DIR, err);
            rc = rc ? rc : image_store_file(&img->files[i], name, vfs, err);
        }
    }
    return rc;
}

static bool image_load_file(image_file *f, const char *path, pv_vfs *vfs, pv_error *err) {
    pv_file *file = NULL;
    uint64_t size = 0;
    if (vfs->open(vfs, path, PV_VFS_OPEN_READONLY, &file, NULL, err)) {
        return false;
    }
    bool ok = vfs->size(vfs, file, &size, err) == 0;
    pv_io io = {0, f->bytes, (size_t)(size < IMAGE_BYTES_MAX ? size : IMAGE_BYTES_MAX), 0};
    ok = ok && vfs->read(vfs, file, &io, 1, err) == 0;
    f->size = io.done;
    vfs->close(vfs, file, err);
    return ok;
}

typedef struct image_listing {
    char names[IMAGE_FILES][64];
    unsigned count;
} image_listing;

static int image_listed(void *arg, const char *name) {
    image_listing *l = arg;
    if (strlen(name) < 40 && l->count + 1 < IMAGE_FILES) {
        snprintf(l->names[l->count++], sizeof l->names[0], IMAGE_LOG_DIR "/%.40s", name);
    }
    return 0;
}

static int image_name_order(const void *a, const void *b) { return strcmp(a, b); }

bool image_load(image *img, pv_vfs *vfs, pv_error *err) {
    image_listing l;
    memset(&l, 0, sizeof l);
    if (!image_init(img) || !image_load_file(&img->files[0], IMAGE_PATH, vfs, err)) {
        return false;
    }
    (void)vfs->list(vfs, IMAGE_LOG_DIR, image_listed, &l, err); /* after a clean close: none */
    qsort(l.names, l.count, sizeof l.names[0], image_name_order);
    for (unsigned i = 0; i < l.count; i++) {
        image_file *f = &img->files[i + 1];
        if (!image_load_file(f, l.names[i], vfs, err)) {
            return false;
        }
        size_t used = f->size;
        while (used > 0 && f->bytes[used - 1] == 0) { /* allocated, not yet written */
            used--;
        }
        f->size = (used / PV__SLOT_SIZE + 2) * PV__SLOT_SIZE;
    }
    return true;
}
