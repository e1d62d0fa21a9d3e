/* SPDX-License-Identifier: Apache-2.0 */
/* make_store.c - makes a database out of bare pages and leaves it as told, so that test_pvread.py
 * has every kind of page, log entry and ending to read. It uses the internal interface of
 * lib/store, and is linked with the static library.
 *
 *   make_store PATH STEP...
 *     open[:OPTION,...] options zstd, small (64 MiB cache), auto=BYTES (checkpoint by log size)
 *     new:COUNT:SLOTS   a transaction makes COUNT pages of SLOTS slots, tree pages, compressible
 *     noise:COUNT:SLOTS the same with random bytes, column pages
 *     change:COUNT      a transaction changes some bytes in each of COUNT pages
 *     free:COUNT        a transaction frees COUNT pages
 *     undo:COUNT        like change, but rolled back
 *     async, sync       how the following transactions commit
 *     checkpoint
 *     close
 *     kill              SIGKILL to itself
 *
 * After each commit a line "LSN DBSUM COMMITS" goes to standard output. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/store.h"

#define MAKE_PAGES_MAX 65536u

typedef struct make_state {
    pv__store *store;
    pv__mem mem;
    const char *path;
    uint64_t ids[MAKE_PAGES_MAX];
    size_t count, at;
    uint64_t rng;
    uint32_t flags;
} make_state;

static void make_must(int rc, const pv_error *err) {
    if (rc) {
        (void)fprintf(stderr, "make_store: %d: %s\n", rc, err->message);
        exit(1);
    }
}

static uint64_t make_random(make_state *m) { /* xorshift64 */
    m->rng ^= m->rng << 13;
    m->rng ^= m->rng >> 7;
    m->rng ^= m->rng << 17;
    return m->rng;
}

static void make_open(make_state *m, const char *options) {
    pv__store_opts o;
    pv_error err = PV_ERROR_INIT;
    const char *limit = strstr(options, "auto=");
    memset(&o, 0, sizeof o);
    o.path = m->path;
    o.mem = &m->mem;
    o.create = true;
    o.no_threads = true;
    o.codec = strstr(options, "zstd") ? 1 : 0;
    o.cache_bytes = strstr(options, "small") ? 64u << 20 : 512u << 20;
    o.checkpoint_bytes = limit ? strtoull(limit + 5, NULL, 10) : 0;
    make_must(pv__store_open(&o, &m->store, &err), &err);
}

static void make_fill(make_state *m, uint8_t *page, bool noise) {
    size_t size = pv__page_size(page);
    for (size_t i = PV__PAGE_HEAD; i + 8 <= size / (noise ? 1 : 3); i += 8) {
        pv__put64(page + i, noise ? make_random(m) : i / 64);
    }
}

static void make_step(make_state *m, pv__txn *t, const char *what, unsigned slots) {
    pv_error err = PV_ERROR_INIT;
    uint8_t *page = NULL;
    bool noise = what[1] == 'o';
    if (strcmp(what, "new") == 0 || noise) {
        uint64_t id = 0;
        unsigned kind = noise ? PV__PAGE_COLUMN : PV__PAGE_TREE;
        if (m->count == MAKE_PAGES_MAX) {
            exit(2);
        }
        make_must(
            pv__page_new(t, kind, slots, noise ? 17 : 16, (uint32_t)m->count, &id, &page, &err),
            &err);
        make_fill(m, page, noise);
        m->ids[m->count++] = id;
    } else if (strcmp(what, "free") == 0) {
        size_t i = (size_t)(make_random(m) % m->count);
        make_must(pv__page_free(t, m->ids[i], &err), &err);
        m->ids[i] = m->ids[--m->count];
    } else {
        m->at = (m->at + 1) % m->count;
        make_must(pv__page_write(t, m->ids[m->at], PV__PAGE_ANY, &page, &err), &err);
        size_t size = pv__page_size(page);
        for (unsigned i = 0; i < 8; i++) {
            size_t at = PV__PAGE_HEAD + (size_t)(make_random(m) % (size - PV__PAGE_HEAD));
            page[at] = (uint8_t)make_random(m);
        }
    }
}

static void make_txn(make_state *m, const char *what, unsigned long count, unsigned slots) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    pv__store_stats st;
    uint64_t lsn = 0;
    make_must(pv__txn_begin(m->store, PV__TXN_WRITE | m->flags, &t, &err), &err);
    for (unsigned long i = 0; i < count; i++) {
        make_step(m, t, what, slots);
        make_must(pv__txn_pause(t, &err), &err);
    }
    if (strcmp(what, "undo") == 0) {
        pv__txn_rollback(t);
        return;
    }
    make_must(pv__txn_commit(t, &lsn, &err), &err);
    pv__store_stats_get(m->store, &st);
    (void)printf("%llu %016llx %llu\n", (unsigned long long)lsn, (unsigned long long)st.db_checksum,
                 (unsigned long long)st.commits);
    (void)fflush(stdout);
}

int main(int argc, char **argv) {
    static make_state m;
    pv_error err = PV_ERROR_INIT;
    if (argc < 3) {
        return 2;
    }
    m.path = argv[1];
    m.rng = 88172645463325252u;
    pv__mem_init(&m.mem, NULL, 0);
    for (int i = 2; i < argc; i++) {
        char what[16] = "";
        unsigned long count = 0;
        unsigned slots = 1;
        (void)sscanf(argv[i], "%15[a-z]:%lu:%u", what, &count, &slots);
        if (strcmp(what, "open") == 0) {
            make_open(&m, argv[i]);
        } else if (strcmp(what, "async") == 0) {
            m.flags = PV__TXN_ASYNC;
        } else if (strcmp(what, "sync") == 0) {
            m.flags = 0;
        } else if (strcmp(what, "checkpoint") == 0) {
            make_must(pv__store_checkpoint(m.store, &err), &err);
        } else if (strcmp(what, "close") == 0) {
            make_must(pv__store_close(m.store, &err), &err);
            m.store = NULL;
        } else if (strcmp(what, "kill") == 0) {
            (void)kill(getpid(), SIGKILL);
        } else {
            make_txn(&m, what, count, slots);
        }
    }
    return 0;
}
