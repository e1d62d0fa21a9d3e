/* SPDX-License-Identifier: Apache-2.0 */
/* touched.c - which pages the log touches, read from its files as docs/format/log.md says; the
 * library is not asked, so that the count is of what recovery will meet. */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define TOUCHED_HEAD 4096u  /* of a segment */
#define TOUCHED_RECORD 128u /* head of a record */
#define TOUCHED_MAGIC 0x31525650u
#define TOUCHED_PAGES_MAX ((uint64_t)1 << 29)
enum { TOUCHED_DELTA = 1, TOUCHED_FULL = 2, TOUCHED_REF = 3 };

typedef struct touched_bytes {
    const uint8_t *p, *end;
} touched_bytes;

static void touched_require(bool ok, const char *what) {
    if (!ok) {
        bench_die("counting pages of the log: %s", what);
    }
}

static uint64_t touched_number(const uint8_t *p, size_t bytes) {
    uint64_t v = 0;
    for (size_t i = bytes; i-- > 0;) {
        v = v << 8 | p[i];
    }
    return v;
}

static void touched_skip(touched_bytes *b, uint64_t n) {
    touched_require(n <= (uint64_t)(b->end - b->p), "the log's format");
    b->p += n;
}

static uint64_t touched_varint(touched_bytes *b) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        const uint8_t *p = b->p;
        touched_skip(b, 1);
        v |= (uint64_t)(*p & 0x7F) << shift;
        if (!(*p & 0x80)) {
            break;
        }
    }
    return v;
}

static void touched_entry(touched_bytes *b, bench_touched *t) {
    const uint8_t *kind = b->p;
    touched_skip(b, 1);
    const uint64_t page = touched_varint(b);
    touched_require(page < TOUCHED_PAGES_MAX, "a page of the log");
    if (page >= t->cap) {
        const size_t cap = (size_t)page * 2 + 1024;
        t->kinds = realloc(t->kinds, cap);
        touched_require(t->kinds != NULL, "memory");
        memset(t->kinds + t->cap, 0, cap - t->cap);
        t->cap = cap;
    }
    t->pages += t->kinds[page] == 0;
    if (*kind == TOUCHED_DELTA) {
        t->based += t->kinds[page] == 0; /* its first entry changes what the file holds */
        (void)touched_varint(b);
        for (uint64_t ranges = touched_varint(b); ranges > 0; ranges--) {
            (void)touched_varint(b);
            touched_skip(b, touched_varint(b));
        }
    } else if (*kind == TOUCHED_FULL) {
        touched_skip(b, 8);
        touched_skip(b, touched_varint(b));
    } else {
        t->referred += *kind == TOUCHED_REF && !(t->kinds[page] & 1u << TOUCHED_REF);
        touched_skip(b, *kind == TOUCHED_REF ? 16 + 24 : 8);
    }
    t->kinds[page] |= (uint8_t)(1u << *kind);
    t->entries++;
}

/* The records of one segment that begin at from_lsn or later. */
static void touched_segment(const uint8_t *file, size_t size, uint64_t from_lsn, bench_touched *t) {
    const uint64_t start = size < TOUCHED_HEAD ? 0 : touched_number(file + 40, 8);
    for (uint64_t at = 0;
         size >= TOUCHED_HEAD + TOUCHED_RECORD && at <= size - TOUCHED_HEAD - TOUCHED_RECORD;) {
        const uint8_t *head = file + TOUCHED_HEAD + at;
        if (touched_number(head, 4) != TOUCHED_MAGIC || touched_number(head + 8, 8) != start + at) {
            if (at % 4096 == 0) {
                break; /* neither here nor at the next batch */
            }
            at = (at + 4095) / 4096 * 4096;
            continue;
        }
        const uint64_t body = touched_number(head + 40, 8);
        touched_bytes b = {head + TOUCHED_RECORD, file + size};
        touched_require(body <= (uint64_t)(b.end - b.p), "the log's format");
        b.end = b.p + body;
        if (start + at >= from_lsn) {
            t->records++;
            t->bytes += TOUCHED_RECORD + body;
            for (uint64_t n = touched_number(head + 56, 4); n > 0; n--) {
                touched_entry(&b, t);
            }
            touched_require(b.p == b.end, "the log's format");
        }
        at = (at + TOUCHED_RECORD + body + 7) / 8 * 8;
    }
}

static int touched_order(const void *a, const void *b) { return strcmp(a, b); }

void bench_touched_pages(const char *db_path, uint64_t from_lsn, bench_touched *out) {
    char dir[1024], path[2048], names[256][64];
    size_t count = 0;
    const struct dirent *e;
    memset(out, 0, sizeof *out);
    snprintf(dir, sizeof dir, "%s-wal", db_path);
    DIR *d = opendir(dir);
    while (d && (e = readdir(d))) {
        if (e->d_name[0] != '.' && strlen(e->d_name) < sizeof names[0]) {
            touched_require(count < 256, "the number of segments");
            snprintf(names[count++], sizeof names[0], "%s", e->d_name);
        }
    }
    if (d) {
        closedir(d);
    }
    qsort(names, count, sizeof names[0], touched_order); /* by first LSN: the order of replay */
    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        const size_t size = (size_t)bench_file_bytes(path);
        uint8_t *bytes = bench_alloc(size);
        FILE *f = fopen(path, "rb");
        touched_require(f && fread(bytes, 1, size, f) == size, path);
        fclose(f);
        touched_segment(bytes, size, from_lsn, out);
        free(bytes);
    }
    free(out->kinds);
    out->kinds = NULL;
}
