/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_api.c - bytes as a program: calls of pv.h, failing memory, failing files, power cuts.
 *
 *      op, arguments, op, arguments ...   beside the library a model of it: two collections with
 *                                         keys 0 to 127, each there or not, with two numbers
 *
 * Without a fault every call must answer what the model says. With one it may fail instead, with
 * the code of the fault; then nothing of it is visible. After each reopening the content is the
 * model's as of the last acknowledged commit or, where a commit failed by the disk, that with it.
 * No power cut loses what was acknowledged, and at the end all memory is given back. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "fuzz.h"
#include "sim/sim_vfs.h"

enum { API_KEYS = 128, API_SETS = 2, API_MARKS = 4, API_MAYBE = 4, API_OPS_MAX = 160 };

typedef struct api_cell {
    uint8_t there, vector, meta;
} api_cell;

typedef struct api_set {
    bool there;
    uint8_t space; /* of api_spaces */
    api_cell cells[API_KEYS];
} api_set;

typedef struct api_content {
    api_set sets[API_SETS];
} api_content;

typedef struct api_memory {
    uint64_t calls, fail_at; /* counted from 1; 0: never */
    bool for_good;
    int64_t used;
} api_memory;

typedef struct api_run {
    const uint8_t *in;
    size_t left;
    sim *disk;
    api_memory memory;
    fuzz_clock clock;
    pv_db *db;
    pv_txn *txn;
    pv_error err;
    api_content now;              /* what the transaction sees, or else the newest state */
    api_content committed;        /* acknowledged */
    api_content maybe[API_MAYBE]; /* what a commit that the disk failed would have made of it */
    api_content marks[API_MARKS];
    uint32_t mark_count, maybe_count;
    bool armed; /* a fault is set */
    bool sick;  /* one was met since the database was opened: calls may be refused */
    bool hurt;  /* one was met in this transaction: it may be doomed */
    pv_iter *iter;
    uint32_t iter_set, iter_key; /* the next key that may come */
    api_content iter_sees;
} api_run;

static uint8_t api_byte(api_run *a) {
    if (a->left == 0) {
        return 0;
    }
    a->left--;
    return *a->in++;
}

/* ---- faults -------------------------------------------------------------------------------- */

static void *api_realloc(void *ctx, void *p, size_t old_size, size_t new_size) {
    api_memory *m = ctx;
    if (new_size == 0) {
        m->used -= p ? (int64_t)old_size : 0;
        free(p);
        return NULL;
    }
    m->calls++;
    if (m->fail_at && (m->calls == m->fail_at || (m->for_good && m->calls > m->fail_at))) {
        return NULL;
    }
    void *out = realloc(p, new_size);
    FUZZ_CHECK(out != NULL);
    m->used += (int64_t)new_size - (p ? (int64_t)old_size : 0);
    return out;
}

static void api_disarm(api_run *a) {
    sim_fault_set(a->disk, NULL);
    a->memory.fail_at = 0;
    a->armed = false;
}

static bool api_met(const api_run *a) {
    return a->armed && (sim_fault_hits(a->disk) > 0 ||
                        (a->memory.fail_at && a->memory.calls >= a->memory.fail_at));
}

static bool api_is_fault(int rc) {
    return rc == PV_ERR_NOMEM || rc == PV_ERR_IO || rc == PV_ERR_FULL || rc == PV_ERR_PERM ||
           rc == PV_ERR_CANTOPEN || rc == PV_ERR_CORRUPT || rc == PV_ERR_READONLY;
}

/* The answer is the one wanted, or a fault's where there was one. True: as wanted. */
static bool api_settle(api_run *a, int rc, int want) {
    if (api_met(a)) {
        a->sick = true;
        a->hurt = a->hurt || a->txn;
        if (!a->memory.for_good) {
            api_disarm(a);
        }
    }
    if (rc < 0) {
        FUZZ_CHECK(a->err.code == rc && a->err.message[0] && !strchr(a->err.message, '\n'));
    }
    if (rc == want) {
        return true;
    }
    /* A doomed transaction may answer from what the call that failed had done; it can't commit. */
    FUZZ_CHECK(a->txn && a->hurt ? true : rc < 0 && a->sick && api_is_fault(rc));
    return false;
}

/* A change of the newest state or of the open transaction was asked for: `after` is what it makes
 * of a->now. */
static void api_changed(api_run *a, int rc, int want, const api_content *after) {
    bool as_wanted = api_settle(a, rc, want);
    if (as_wanted && want == 0) {
        a->now = *after;
        if (!a->txn) {
            a->committed = *after;
            a->maybe_count = 0;
        }
    } else if (!as_wanted && !a->txn && rc != PV_ERR_NOMEM && a->maybe_count < API_MAYBE) {
        a->maybe[a->maybe_count++] = *after;
    }
}

/* ---- what a record is ---------------------------------------------------------------------- */

static const char *const api_names[API_SETS] = {"numbers", "texts"};
static const uint32_t api_dims[API_SETS] = {2, 5};

/* What collections are made of; set 1 of the first by cosine. */
static const struct {
    uint32_t type, metric, bits;
} api_spaces[4] = {{PV_TYPE_F32, PV_METRIC_L2, 32},
                   {PV_TYPE_F16, PV_METRIC_L1, 16},
                   {PV_TYPE_I8, PV_METRIC_DOT, 8},
                   {PV_TYPE_BIT, PV_METRIC_HAMMING, 1}};

/* Returns the bytes. */
static size_t api_vector(uint32_t set, uint32_t space, uint8_t v, uint8_t out[32]) {
    memset(out, 0, 32);
    for (uint32_t i = 0; i < api_dims[set]; i++) {
        const float f = (float)(v >> i % 4) + 1.0f;
        if (api_spaces[space].bits == 32) {
            memcpy(out + 4 * (size_t)i, &f, 4);
        } else if (api_spaces[space].bits == 16) { /* all but infinity and NaN */
            out[2 * i] = v;
            out[2 * i + 1] = (uint8_t)(v >> i % 4 & 0x3B);
        } else if (api_spaces[space].bits == 8) {
            out[i] = (uint8_t)(v >> i % 4);
        } else {
            out[0] |= (uint8_t)(v >> i & 1 ? 0x80 >> i : 0);
        }
    }
    return (api_dims[set] * api_spaces[space].bits + 7) / 8;
}

static void api_meta_of(uint8_t m, char *out, size_t cap) {
    int at = snprintf(out, cap, "{");
    if (m & 0x80) { /* long enough for pages of its own */
        at += snprintf(out + at, cap - (size_t)at, "\"t\":\"%0*u\",", (m & 0x7F) * 24 + 1, 0u);
    }
    snprintf(out + at, cap - (size_t)at, "\"v\":%u}", (unsigned)m);
}

static void api_key(uint32_t key, char out[16]) { snprintf(out, 16, "key%03u", (unsigned)key); }

/* ---- reading ------------------------------------------------------------------------------- */

static bool api_same_row(uint32_t set, uint32_t space, const api_cell *cell, const void *vector,
                         const char *text) {
    char want[4096];
    uint8_t v[32];
    const size_t bytes = api_vector(set, space, cell->vector, v);
    api_meta_of(cell->meta, want, sizeof want);
    return vector && text && memcmp(v, vector, bytes) == 0 && strcmp(text, want) == 0;
}

/* Which key the walk stands on. */
static uint32_t api_iter_key(const pv_iter *it, uint32_t set) {
    const char *id = pv_iter_id(it);
    return set ? (uint32_t)strtoul(id + 3, NULL, 10) : (uint32_t)pv_iter_id_u64(it);
}

typedef enum api_answer { API_SAME, API_DIFFERS, API_FAILED } api_answer;

static api_answer api_read_set(api_run *a, pv_txn *txn, uint32_t set, const api_set *want) {
    pv_iter_opts opts = PV_ITER_OPTS_INIT;
    pv_iter *it = NULL;
    uint32_t key = 0;
    opts.include = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    int rc = pv_iter_open(a->db, txn, api_names[set], &opts, &it, &a->err);
    if (rc == 0 || (rc == PV_ERR_NOTFOUND && !api_met(a))) {
        if ((rc == 0) != want->there) {
            pv_iter_close(it);
            return API_DIFFERS;
        }
    }
    while (rc == 0 && (rc = pv_iter_next(it, &a->err)) == 1) {
        while (key < API_KEYS && !want->cells[key].there) {
            key++;
        }
        if (key == API_KEYS || api_iter_key(it, set) != key ||
            !api_same_row(set, want->space, &want->cells[key], pv_iter_vector(it, NULL),
                          pv_iter_metadata(it, NULL))) {
            pv_iter_close(it);
            return API_DIFFERS;
        }
        key++;
        rc = 0;
    }
    pv_iter_close(it);
    if (rc < 0 && rc != PV_ERR_NOTFOUND) {
        (void)api_settle(a, rc, 0);
        return API_FAILED;
    }
    while (rc == 0 && key < API_KEYS && !want->cells[key].there) {
        key++;
    }
    return rc == 0 && key < API_KEYS ? API_DIFFERS : API_SAME;
}

static api_answer api_read(api_run *a, pv_txn *txn, const api_content *want) {
    api_answer all = API_SAME;
    for (uint32_t set = 0; set < API_SETS && all == API_SAME; set++) {
        all = api_read_set(a, txn, set, &want->sets[set]);
    }
    return all;
}

/* Count and one search: as many rows as there are, the nearest first. */
static void api_search(api_run *a, uint32_t set, const api_set *want) {
    pv_query q = PV_QUERY_INIT;
    pv_results *rows = NULL;
    uint64_t count = 0, there = 0;
    uint8_t v[32];
    for (uint32_t i = 0; i < API_KEYS; i++) {
        there += want->there && want->cells[i].there;
    }
    if (api_settle(a, pv_count(a->db, a->txn, api_names[set], NULL, &count, &a->err),
                   want->there ? 0 : PV_ERR_NOTFOUND)) {
        FUZZ_CHECK(count == there || a->hurt);
    }
    (void)api_vector(set, want->space, 9, v);
    q.vector = v;
    q.type = api_spaces[want->space].type;
    q.dims = api_dims[set];
    q.k = API_KEYS;
    if (api_settle(a, pv_search(a->db, a->txn, api_names[set], &q, &rows, &a->err),
                   want->there ? 0 : PV_ERR_NOTFOUND)) {
        FUZZ_CHECK(pv_results_count(rows) == there || a->hurt);
        for (size_t i = 1; i < pv_results_count(rows); i++) {
            FUZZ_CHECK(pv_results_distance(rows, i - 1) <= pv_results_distance(rows, i));
        }
    }
    pv_results_free(rows);
}

static void api_verify(api_run *a) {
    uint64_t problems = 0;
    if (!a->hurt) {
        FUZZ_CHECK(api_read(a, a->txn, &a->now) != API_DIFFERS || a->hurt);
        api_search(a, 0, &a->now.sets[0]);
        api_search(a, 1, &a->now.sets[1]);
    }
    if (a->txn) {
        FUZZ_CHECK(api_read(a, NULL, &a->committed) != API_DIFFERS);
    } else if (api_settle(a, pv_check(a->db, PV_CHECK_DEEP, NULL, NULL, &problems, &a->err), 0)) {
        FUZZ_CHECK(problems == 0 || a->sick); /* what could not be read counts as one */
    }
}

/* ---- a walk that lasts --------------------------------------------------------------------- */

static void api_iter_end(api_run *a) {
    pv_iter_close(a->iter);
    a->iter = NULL;
}

static void api_iter_begin(api_run *a, uint32_t set) {
    pv_iter_opts opts = PV_ITER_OPTS_INIT;
    api_iter_end(a);
    opts.include = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    a->iter_set = set;
    a->iter_key = 0;
    a->iter_sees = a->committed;
    (void)api_settle(a, pv_iter_open(a->db, NULL, api_names[set], &opts, &a->iter, &a->err),
                     a->committed.sets[set].there ? 0 : PV_ERR_NOTFOUND);
}

static void api_iter_step(api_run *a, uint32_t steps) {
    while (a->iter && steps-- > 0) {
        const api_set *sees = &a->iter_sees.sets[a->iter_set];
        while (a->iter_key < API_KEYS && !sees->cells[a->iter_key].there) {
            a->iter_key++;
        }
        int want = a->iter_key < API_KEYS ? 1 : 0;
        if (!api_settle(a, pv_iter_next(a->iter, &a->err), want)) {
            api_iter_end(a);
        } else if (want == 1) {
            FUZZ_CHECK(api_iter_key(a->iter, a->iter_set) == a->iter_key);
            FUZZ_CHECK(api_same_row(a->iter_set, sees->space, &sees->cells[a->iter_key],
                                    pv_iter_vector(a->iter, NULL),
                                    pv_iter_metadata(a->iter, NULL)));
            a->iter_key++;
        }
    }
}

/* ---- writing ------------------------------------------------------------------------------- */

typedef enum api_mode { API_INSERT, API_UPSERT, API_UPDATE, API_MERGE, API_MODES } api_mode;

static void api_write(api_run *a, api_mode mode) {
    static api_content after;
    static char texts[64][4096], ids[64][16];
    static uint8_t vectors[64][32];
    pv_record r[64];
    pv_write_opts opts = PV_WRITE_OPTS_INIT;
    uint8_t what = api_byte(a), first = api_byte(a), v = api_byte(a), m = api_byte(a);
    uint32_t set = what & 1, count = 1u + (what >> 1) % 64;
    int want = a->now.sets[set].there ? 0 : PV_ERR_NOTFOUND;
    after = a->now;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t key = (first + i) % API_KEYS;
        api_cell *cell = &after.sets[set].cells[key];
        want = want                                 ? want
               : mode == API_INSERT && cell->there  ? PV_ERR_EXISTS
               : mode >= API_UPDATE && !cell->there ? PV_ERR_NOTFOUND
                                                    : 0;
        r[i] = (pv_record)PV_RECORD_INIT;
        api_key(key, ids[i]);
        (void)api_vector(set, after.sets[set].space, v, vectors[i]);
        api_meta_of(m, texts[i], sizeof texts[i]);
        if (mode == API_MERGE) { /* an old text goes or stays, so the result is still one of ours */
            m &= 0x7F;
            snprintf(texts[i], sizeof texts[i], "{\"t\":null,\"v\":%u}", (unsigned)m);
        }
        r[i].id = set ? ids[i] : NULL;
        r[i].id_u64 = set ? PV_ID_NONE : key;
        r[i].vector = mode == API_MERGE && (v & 1) ? NULL : vectors[i];
        r[i].dims = api_dims[set];
        r[i].type = api_spaces[after.sets[set].space].type;
        r[i].metadata = texts[i];
        *cell = (api_cell){1, r[i].vector ? v : cell->vector, m};
    }
    opts.flags = mode == API_MERGE ? PV_WRITE_MERGE : 0;
    int (*call)(pv_db *, pv_txn *, const char *, const pv_record *, size_t, const pv_write_opts *,
                pv_error *) = mode == API_INSERT   ? pv_insert
                              : mode == API_UPSERT ? pv_upsert
                                                   : pv_update;
    api_changed(a, call(a->db, a->txn, api_names[set], r, count, &opts, &a->err), want, &after);
}

static void api_delete(api_run *a) {
    static api_content after;
    uint8_t what = api_byte(a), first = api_byte(a);
    uint32_t set = what & 1, count = 1u + (what >> 1) % 64;
    uint64_t numbers[64], deleted = 0, there = 0;
    char texts[64][16];
    const char *ids[64];
    pv_ids list = PV_IDS_INIT;
    after = a->now;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t key = (first + i) % API_KEYS;
        numbers[i] = key;
        api_key(key, texts[i]);
        ids[i] = texts[i];
        there += after.sets[set].cells[key].there;
        after.sets[set].cells[key] = (api_cell){0, 0, 0};
    }
    list.count = count;
    list.ids = set ? ids : NULL;
    list.ids_u64 = set ? NULL : numbers;
    int rc = pv_delete_many(a->db, a->txn, api_names[set], &list, &deleted, &a->err);
    FUZZ_CHECK(rc != 0 || deleted == there || a->hurt);
    api_changed(a, rc, a->now.sets[set].there ? 0 : PV_ERR_NOTFOUND, &after);
}

static void api_delete_where(api_run *a) {
    static api_content after;
    char filter[64];
    uint8_t what = api_byte(a), below = api_byte(a);
    uint32_t set = what & 1;
    uint64_t deleted = 0;
    after = a->now;
    for (uint32_t i = 0; i < API_KEYS; i++) {
        api_cell *cell = &after.sets[set].cells[i];
        *cell = cell->there && cell->meta < below ? (api_cell){0, 0, 0} : *cell;
    }
    snprintf(filter, sizeof filter, "{\"v\":{\"$lt\":%u}}", (unsigned)below);
    api_changed(a, pv_delete_where(a->db, a->txn, api_names[set], filter, &deleted, &a->err),
                a->now.sets[set].there ? 0 : PV_ERR_NOTFOUND, &after);
}

static void api_make_or_drop(api_run *a) {
    static api_content after;
    uint8_t what = api_byte(a);
    uint32_t set = what & 1;
    bool there = a->now.sets[set].there;
    after = a->now;
    memset(&after.sets[set], 0, sizeof after.sets[set]);
    if (what & 2) {
        api_changed(a, pv_collection_drop(a->db, a->txn, api_names[set], &a->err),
                    there ? 0 : PV_ERR_NOTFOUND, &after);
        return;
    }
    pv_collection_opts opts = PV_COLLECTION_OPTS_INIT;
    opts.dims = api_dims[set];
    after.sets[set].space = what >> 2 & 3;
    opts.type = api_spaces[after.sets[set].space].type;
    opts.metric = api_spaces[after.sets[set].space].metric;
    opts.metric = set && opts.type == PV_TYPE_F32 ? PV_METRIC_COSINE : opts.metric;
    opts.key = set ? PV_KEY_STRING : PV_KEY_U64;
    after.sets[set].there = true;
    api_changed(a, pv_collection_create(a->db, a->txn, api_names[set], &opts, &a->err),
                there ? PV_ERR_EXISTS : 0, &after);
}

/* ---- transactions -------------------------------------------------------------------------- */

static void api_begin_txn(api_run *a) {
    if (!a->txn && api_settle(a, pv_txn_begin(a->db, PV_TXN_WRITE, &a->txn, &a->err), 0)) {
        a->mark_count = 0;
        a->hurt = false;
    }
}

static void api_end_txn(api_run *a, bool commit) {
    static api_content after;
    pv_txn *txn = a->txn;
    if (!txn) {
        return;
    }
    bool hurt = a->hurt;
    after = a->now;
    a->txn = NULL;
    a->now = a->committed;
    a->hurt = false;
    if (!commit) {
        pv_txn_rollback(txn);
        (void)api_settle(a, 0, 0);
        return;
    }
    int rc = pv_txn_commit(txn, NULL, &a->err);
    a->sick = a->sick || hurt;
    api_changed(a, rc, 0, &after);
}

static void api_mark(api_run *a) {
    uint8_t what = api_byte(a);
    uint32_t number = 1u + (what >> 2) % API_MARKS, got = 0;
    if (!a->txn) {
        return;
    }
    if (what % 4 < 2) {
        if (a->mark_count < API_MARKS && !a->hurt &&
            api_settle(a, pv_txn_savepoint(a->txn, &got, &a->err), 0)) {
            FUZZ_CHECK(got == a->mark_count + 1);
            a->marks[a->mark_count++] = a->now;
        }
        return;
    }
    int want = number <= a->mark_count ? 0 : PV_ERR_NOTFOUND;
    if (what % 4 == 2) {
        if (api_settle(a, pv_txn_rollback_to(a->txn, number, &a->err), want) && want == 0) {
            a->now = a->marks[number - 1];
            a->mark_count = number;
        }
    } else if (api_settle(a, pv_txn_release(a->txn, number, &a->err), want) && want == 0) {
        a->mark_count = number - 1;
    }
}

/* ---- opening and closing ------------------------------------------------------------------- */

static void api_open(api_run *a) {
    pv_open_opts opts = PV_OPEN_OPTS_INIT;
    const pv_allocator memory = {&a->memory, api_realloc};
    opts.threads = 1;
    opts.allocator = &memory;
    opts.vfs = sim_vfs(a->disk);
    opts.clock = &a->clock.clock;
    opts.cache_bytes = 1 << 20;
    opts.checkpoint_bytes = 96 << 10;
    a->sick = false;
    if (!api_settle(a, pv_open("fuzz.pv", &opts, &a->db, &a->err), 0)) {
        api_disarm(a); /* and without the fault it must open */
        FUZZ_CHECK(pv_open("fuzz.pv", &opts, &a->db, &a->err) == 0);
        a->sick = false;
    }
}

/* Which of the states that are allowed is it? That one holds from now on. */
static void api_find_state(api_run *a) {
    api_answer got = API_FAILED;
    for (uint32_t i = 0; i <= a->maybe_count; i++) {
        const api_content *want = i ? &a->maybe[i - 1] : &a->committed;
        got = api_read(a, NULL, want);
        if (got == API_FAILED) { /* a fault is still set: once more without */
            api_disarm(a);
            got = api_read(a, NULL, want);
        }
        FUZZ_CHECK(got != API_FAILED);
        if (got == API_SAME) {
            a->committed = *want;
            break;
        }
    }
    FUZZ_CHECK(got == API_SAME);
    a->maybe_count = 0;
    a->now = a->committed;
}

static void api_close(api_run *a) {
    api_iter_end(a);
    api_end_txn(a, false);
    (void)api_settle(a, pv_close(a->db, &a->err), 0);
    a->db = NULL;
    FUZZ_CHECK(a->memory.used == 0);
}

static void api_reopen(api_run *a) {
    api_close(a);
    api_open(a);
    api_find_state(a);
}

static void api_power_cut(api_run *a) {
    uint8_t mode = api_byte(a), seed = api_byte(a);
    sim *image = sim_image(a->disk, sim_op_count(a->disk), (sim_cut)(mode % SIM_CUT_COUNT), seed);
    FUZZ_CHECK(image != NULL);
    api_close(a);
    api_disarm(a);
    sim_free(a->disk);
    a->disk = image;
    api_open(a);
    api_find_state(a);
}

static void api_arm(api_run *a) {
    uint8_t what = api_byte(a), nth = api_byte(a);
    api_disarm(a);
    a->armed = true;
    if (what & 1) {
        a->memory.fail_at = a->memory.calls + 1 + nth;
        a->memory.for_good = (what & 2) != 0;
        return;
    }
    static const sim_kind kinds[8] = {SIM_ANY,  SIM_WRITE,    SIM_SYNC,     SIM_READ,
                                      SIM_OPEN, SIM_ALLOCATE, SIM_SYNC_DIR, SIM_UNLINK};
    sim_fault f = {(sim_fault_kind)(1 + (what >> 1) % 4), kinds[what >> 3 & 7], SIM_CLASS_ANY,
                   1u + nth % 32, (what & 0x40) != 0};
    a->memory.for_good = f.for_good;
    sim_fault_set(a->disk, &f);
}

/* ---- the program --------------------------------------------------------------------------- */

static void api_op_run(api_run *a) {
    uint8_t op = api_byte(a) % 16;
    switch (op) {
    case 0:
        api_make_or_drop(a);
        break;
    case 1:
    case 2:
    case 3:
    case 4:
        api_write(a, (api_mode)(op - 1));
        break;
    case 5:
        api_delete(a);
        break;
    case 6:
        api_delete_where(a);
        break;
    case 7:
        api_begin_txn(a);
        break;
    case 8:
        api_end_txn(a, true);
        break;
    case 9:
        api_mark(a);
        break;
    case 10:
        api_verify(a);
        break;
    case 11:
        (void)api_settle(a, pv_checkpoint(a->db, &a->err), 0);
        break;
    case 12:
        api_reopen(a);
        break;
    case 13:
        api_power_cut(a);
        break;
    case 14:
        api_arm(a);
        break;
    default:
        op = api_byte(a);
        if (op & 1) {
            api_iter_begin(a, op >> 1 & 1);
        } else if (op & 2) {
            api_end_txn(a, false);
        } else {
            api_iter_step(a, 1u + (op >> 2));
        }
        break;
    }
    if (a->maybe_count == API_MAYBE) {
        api_disarm(a);
        api_reopen(a);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static api_run a;
    memset(&a, 0, sizeof a);
    a.in = data;
    a.left = size;
    a.err = (pv_error)PV_ERROR_INIT;
    a.disk = sim_new(1);
    FUZZ_CHECK(a.disk != NULL);
    fuzz_clock_init(&a.clock, 3);
    api_open(&a);
    for (unsigned i = 0; i < API_OPS_MAX && a.left > 0; i++) {
        api_op_run(&a);
    }
    api_disarm(&a);
    api_verify(&a);
    api_reopen(&a);
    api_verify(&a);
    api_close(&a);
    sim_free(a.disk);
    return 0;
}
