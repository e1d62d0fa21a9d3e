/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_mutants.c - what the other tests of the store would not notice, found by planting bugs
 * (tests/mutants): the second root and the copies of superblocks, a log that says what it should
 * not, what happens while a sync runs, memory and slots that readers still need, leaks. */
#include <stdio.h>
#include <stdlib.h>

#include "sim/sim_vfs.h"
#include "store/internal.h"
#include "support/store_kit.h"

static pv__mem t_mem;
static kit_world t_w;

static uint64_t t_mono(void *ctx) {
    (void)ctx;
    return 1;
}
static int64_t t_wall(void *ctx) {
    (void)ctx;
    return 1700000000000000;
}
static int t_random(void *ctx, void *out, size_t n) {
    (void)ctx;
    memset(out, 0x5A, n);
    return 0;
}
/* Time stands still: asynchronous commits are never flushed because they have waited too long. */
static const pv_clock t_clock = {NULL, t_wall, t_mono, t_random};

/* What is freed is overwritten, so that a reader of freed memory is noticed without a sanitizer. */
static void *t_realloc(void *ctx, void *p, size_t old_size, size_t new_size) {
    (void)ctx;
    if (new_size == 0) {
        if (p) {
            memset(p, 0xDD, old_size);
        }
        free(p);
        return NULL;
    }
    return realloc(p, new_size);
}

static pv__store_opts t_opts(pv_vfs *vfs) {
    pv__store_opts o;
    memset(&o, 0, sizeof o);
    o.path = "a.pv";
    o.vfs = vfs;
    o.mem = &t_mem;
    o.clock = &t_clock;
    o.create = true;
    o.no_threads = true;
    o.cache_bytes = 64u << 20;
    o.log_segment_bytes = 64u << 10;
    return o;
}

static void t_begin(uint64_t seed, unsigned pages, unsigned slots_max) {
    static const pv_allocator poison = {NULL, t_realloc};
    memset(&t_w, 0, sizeof t_w);
    test_rng_init(&t_w.rng, seed);
    t_w.pages = pages;
    t_w.slots_max = slots_max;
    pv__mem_init(&t_mem, &poison, 0);
}

static void t_open(pv__store_opts o) {
    pv_error err = PV_ERROR_INIT;
    test_assert_ok(pv__store_open(&o, &t_w.store, &err), &err);
}

static void t_close(void) {
    pv_error err = PV_ERROR_INIT;
    test_assert_ok(pv__store_close(t_w.store, &err), &err);
    t_w.store = NULL;
}

static void t_commit(unsigned changes, uint32_t flags) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE | flags, &t, &err), &err);
    test_assert_ok(kit_mutate(&t_w, t, changes, &err), &err);
    test_assert_ok(pv__txn_commit(t, &t_w.now.lsn, &err), &err);
}

static void t_checkpoint(void) {
    pv_error err = PV_ERROR_INIT;
    test_assert_ok(pv__store_checkpoint(t_w.store, &err), &err);
}

static void t_finding(void *ctx, uint64_t page_id, uint32_t owner, const char *what) {
    (void)ctx;
    print_message("check: page %llu, object %u: %s\n", (unsigned long long)page_id, owner, what);
}

static void t_matches(void) {
    char why[200];
    pv_error err = PV_ERROR_INIT;
    uint64_t bad = 0;
    if (!kit_matches(t_w.store, &t_w.now, why)) {
        fail_msg("%s", why);
    }
    test_assert_ok(pv__store_check(t_w.store, true, t_finding, NULL, &bad, &err), &err);
    assert_int_equal(bad, 0);
}

/* The image opens and holds t_w.now; frees it. The open store and its disk stay as they are. */
static void t_image_matches(sim *image, uint64_t cache_bytes) {
    pv__store *open = t_w.store;
    pv__store_opts o = t_opts(sim_vfs(image));
    char why[200];
    o.create = false;
    o.cache_bytes = cache_bytes;
    t_open(o);
    if (!kit_matches(t_w.store, &t_w.now, why)) {
        fail_msg("%s", why);
    }
    pv__store_abandon(t_w.store);
    t_w.store = open;
    sim_free(image);
}

static sim *t_cut(sim *s) { return sim_image(s, sim_op_count(s), SIM_CUT_KEEP_ALL, 1); }

/* Kill the process: the store goes on with what is on the disk. */
static sim *t_kill(sim *s) {
    sim *after = t_cut(s);
    pv__store_abandon(t_w.store);
    t_w.store = NULL;
    sim_free(s);
    return after;
}

/* ---- superblocks --------------------------------------------------------------------------- */

static const uint64_t t_places[4] = {0, 1, PV__SUPER_MIRROR, PV__SUPER_MIRROR + 1};

static uint64_t t_sequence(sim *s, uint64_t slot) {
    uint8_t p[PV__SLOT_SIZE];
    assert_true(sim_file_peek(s, "a.pv", slot * PV__SLOT_SIZE, p, sizeof p));
    bool whole = pv__get64(p + PV__SUPER_CHECKSUM) == pv__hash64(p, PV__SUPER_CHECKSUM, 0);
    return whole ? pv__get64(p + PV__SUPER_SEQUENCE) : 0;
}

static void t_ruin(sim *s, uint64_t slot) {
    uint8_t noise[PV__SLOT_SIZE];
    memset(noise, 0xEE, sizeof noise);
    assert_true(sim_file_poke(s, "a.pv", slot * PV__SLOT_SIZE, noise, sizeof noise));
}

/* Both copies of the newest superblock are lost. */
static void t_ruin_newest(sim *s) {
    uint64_t newest = 0;
    for (unsigned i = 0; i < 4; i++) {
        newest = PV_MAX(newest, t_sequence(s, t_places[i]));
    }
    for (unsigned i = 0; i < 4; i++) {
        if (t_sequence(s, t_places[i]) == newest) {
            t_ruin(s, t_places[i]);
        }
    }
}

static void test_mutants__a_new_database_is_there_after_a_power_cut(void **state) {
    (void)state;
    uint64_t size = 0;
    t_begin(1, 8, 1);
    sim *s = sim_new(1);
    t_open(t_opts(sim_vfs(s)));
    sim *image = sim_image(s, sim_op_count(s), SIM_CUT_DROP_ALL, 1);
    assert_true(sim_file_size(image, "a.pv", &size));
    sim_free(image);
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

static void test_mutants__any_one_superblock_is_enough_after_closing(void **state) {
    (void)state;
    t_begin(2, 20, 4);
    sim *s = sim_new(1);
    t_open(t_opts(sim_vfs(s)));
    for (int i = 0; i < 5; i++) {
        t_commit(10, 0);
    }
    t_close();
    for (unsigned keep = 0; keep < 4; keep++) {
        sim *image = t_cut(s);
        for (unsigned i = 0; i < 4; i++) {
            if (i != keep) {
                t_ruin(image, t_places[i]);
            }
        }
        t_image_matches(image, 64u << 20);
    }
    for (unsigned i = 0; i < 4; i++) { /* one wrong number in a copy that else looks well */
        uint8_t lsn[8];
        sim *image = t_cut(s);
        uint64_t at = t_places[i] * PV__SLOT_SIZE + PV__SUPER_LSN;
        assert_true(sim_file_peek(image, "a.pv", at, lsn, 8));
        lsn[1] ^= 0x10;
        assert_true(sim_file_poke(image, "a.pv", at, lsn, 8));
        pv__store_opts o = t_opts(sim_vfs(image));
        t_open(o);
        char why[200];
        if (!kit_matches(t_w.store, &t_w.now, why)) {
            fail_msg("%s", why);
        }
        pv__store_stats st;
        pv__store_stats_get(t_w.store, &st);
        assert_int_equal(st.checkpoint_lsn, t_w.now.lsn);
        pv__store_abandon(t_w.store);
        sim_free(image);
    }
    sim_free(s);
    test_mem_done(&t_mem);
}

/* Cut at each operation of [from, to) and take the newest root away: the older one and its log
 * still lead to the newest commit. */
static void t_second_root(sim *s, size_t from, size_t to) {
    for (size_t upto = from; upto <= to; upto++) {
        const sim_op_info op = sim_op_get(s, upto - 1);
        if (op.kind == SIM_WRITE && op.cls == SIM_CLASS_LOG) {
            break; /* the next commit */
        }
        sim *image = sim_image(s, upto, SIM_CUT_KEEP_ALL, upto);
        t_ruin_newest(image);
        t_image_matches(image, 64u << 20);
    }
}

/* S3: pages, nodes and log of the root before the newest one are kept. */
static void test_mutants__the_older_root_leads_to_the_newest_commit(void **state) {
    (void)state;
    t_begin(3, 24, 8);
    sim *s = sim_new(1);
    t_open(t_opts(sim_vfs(s)));
    t_commit(20, 0);
    t_checkpoint();
    t_commit(20, 0);
    t_checkpoint();
    for (int round = 0; round < 8; round++) {
        t_commit(8, 0);
        if (round % 4 == 2) {
            s = t_kill(s);
            t_open(t_opts(sim_vfs(s)));
        }
        size_t from = sim_op_count(s) + 1;
        t_checkpoint();
        t_second_root(s, from, sim_op_count(s));
        kit_state was = t_w.now;
        from = sim_op_count(s) + 1;
        t_w.slots_max = 64;
        t_commit(60, 0); /* images in slots of their own */
        t_w.slots_max = 8;
        kit_state is = t_w.now;
        t_w.now = was;
        t_second_root(s, from, sim_op_count(s));
        t_w.now = is;
    }
    t_matches();
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

static void test_mutants__a_torn_superblock_is_mended(void **state) {
    (void)state;
    t_begin(4, 24, 4);
    sim *s = sim_new(1);
    t_open(t_opts(sim_vfs(s)));
    t_commit(20, 0);
    t_checkpoint();
    t_commit(20, 0);
    s = t_kill(s);
    t_ruin_newest(s);
    t_open(t_opts(sim_vfs(s)));
    t_matches(); /* finds both superblocks */
    s = t_kill(s);
    t_ruin_newest(s);
    t_image_matches(s, 64u << 20);
    test_mem_done(&t_mem);
}

/* ---- log ----------------------------------------------------------------------------------- */

typedef struct t_log {
    char path[64];
    uint64_t at[64]; /* offsets of records */
    size_t count;
    uint64_t uuid_tag;
} t_log;

static void t_log_name(void *arg, const char *path, uint64_t size) {
    t_log *l = arg;
    (void)size;
    if (strstr(path, ".pvw")) {
        (void)snprintf(l->path, sizeof l->path, "%s", path);
    }
}

static void t_log_find(sim *s, t_log *l) {
    uint64_t size = 0;
    uint8_t h[PV__REC_HEAD];
    memset(l, 0, sizeof *l);
    sim_file_each(s, t_log_name, l);
    assert_true(sim_file_size(s, l->path, &size));
    for (uint64_t at = PV__SEG_HEAD; at + PV__REC_HEAD <= size; at += PV__SLOT_SIZE) {
        assert_true(sim_file_peek(s, l->path, at, h, sizeof h));
        if (pv__get32(h + PV__REC_MAGIC) == PV__REC_MAGIC_VALUE) {
            l->at[l->count++] = at;
        }
    }
    assert_true(sim_file_peek(s, "a.pv", PV__SUPER_UUID, h, 8));
    l->uuid_tag = pv__get64(h);
}

/* Change a number of a record's head; with `sealed` its hash is right again. */
static void t_log_forge(sim *s, const t_log *l, size_t i, unsigned field, bool sealed) {
    uint8_t h[PV__REC_HEAD];
    assert_true(sim_file_peek(s, l->path, l->at[i], h, sizeof h));
    pv__put64(h + field, pv__get64(h + field) + 1);
    if (sealed) {
        pv__put64(h + PV__REC_HEAD_HASH, pv__hash64(h, PV__REC_HEAD_HASH, l->uuid_tag));
    }
    assert_true(sim_file_poke(s, l->path, l->at[i], h, sizeof h));
}

static void t_refused(sim *image, int code) {
    pv_error err = PV_ERROR_INIT;
    pv__store *store = NULL;
    pv__store_opts o = t_opts(sim_vfs(image));
    test_assert_rc(pv__store_open(&o, &store, &err), code, &err);
    sim_free(image);
}

static void test_mutants__a_forged_log_is_refused(void **state) {
    (void)state;
    t_log l;
    t_begin(5, 8, 1);
    sim *s = sim_new(1);
    pv__store_opts o = t_opts(sim_vfs(s));
    o.log_segment_bytes = 1u << 20;
    t_open(o);
    for (int i = 0; i < 8; i++) {
        t_commit(3, 0);
    }
    t_log_find(s, &l);
    assert_int_equal(l.count, 8);
    sim *image = t_cut(s);
    t_log_forge(image, &l, 3, PV__REC_TIME_US, false); /* nothing but the hash tells */
    t_refused(image, PV_ERR_CORRUPT);
    image = t_cut(s);
    t_log_forge(image, &l, 3, PV__REC_TIME_US, true); /* nothing but the chain tells */
    t_refused(image, PV_ERR_CORRUPT);
    image = t_cut(s);
    t_log_forge(image, &l, 7, PV__REC_DB_SUM, true); /* replay arrives at another sum (S13) */
    t_refused(image, PV_ERR_CORRUPT);
    image = t_cut(s);
    pv_error err = PV_ERROR_INIT;
    test_assert_ok(sim_vfs(image)->unlink(sim_vfs(image), l.path, &err), &err);
    test_assert_ok(sim_vfs(image)->rmdir(sim_vfs(image), "a.pv-wal", &err), &err);
    t_refused(image, PV_ERR_LOG_MISSING);
    pv__store_abandon(t_w.store);
    sim_free(s);
    test_mem_done(&t_mem);
}

static void test_mutants__changes_fit_one_version_only(void **state) {
    (void)state;
    static uint8_t old[PV__SLOT_SIZE], page[PV__SLOT_SIZE], copy[PV__SLOT_SIZE];
    pv__buf body;
    pv_error err = PV_ERROR_INIT;
    uint64_t sum = 0;
    t_begin(6, 8, 1);
    old[PV__HEAD_SLOTS] = 1;
    pv__put64(old + PV__HEAD_PAGE_ID, 5);
    pv__put64(old + PV__HEAD_STAMP, 100);
    memcpy(page, old, sizeof page);
    pv__put64(page + PV__HEAD_STAMP, 900);
    page[1000] = 1;
    pv__buf_init(&body, &t_mem);
    pv__delta_encode(&body, 5, old, sizeof old, page, sizeof page, 0, &sum);
    for (uint64_t stamp = 100; stamp <= 108; stamp += 8) {
        pv__reader r = pv__reader_of(body.data, body.len);
        uint64_t again = 0;
        assert_int_equal(pv__reader_u8(&r), PV__ENTRY_DELTA);
        assert_int_equal(pv__reader_varint(&r), 5);
        memcpy(copy, old, sizeof copy);
        pv__put64(copy + PV__HEAD_STAMP, stamp);
        test_assert_rc(pv__delta_apply(&r, 5, copy, sizeof copy, 900, &again, &err),
                       stamp == 100 ? PV_OK : PV_ERR_CORRUPT, &err);
    }
    pv__buf_done(&body);
    test_mem_done(&t_mem);
}

static void t_count_segments(void *arg, const char *path, uint64_t size) {
    (void)size;
    *(unsigned *)arg += strstr(path, "-wal/") != NULL;
}

static void test_mutants__a_log_that_a_close_left_is_removed(void **state) {
    (void)state;
    unsigned stale = 0;
    t_begin(7, 8, 2);
    sim *s = sim_new(1);
    t_open(t_opts(sim_vfs(s)));
    t_commit(5, 0);
    size_t from = sim_op_count(s);
    t_close();
    for (size_t upto = from; upto <= sim_op_count(s); upto++) {
        unsigned before = 0, after = 0;
        sim *image = sim_image(s, upto, SIM_CUT_KEEP_ALL, 1);
        sim_file_each(image, t_count_segments, &before);
        t_open(t_opts(sim_vfs(image)));
        t_matches();
        if (!t_w.store->log.marked) {
            sim_file_each(image, t_count_segments, &after);
            assert_int_equal(after, 0);
            stale += before > 0;
        }
        pv__store_abandon(t_w.store);
        sim_free(image);
    }
    assert_true(stale > 0);
    sim_free(s);
    test_mem_done(&t_mem);
}

/* Every step of a recovery may be its last, and it may have less memory than the writer had. */
static void t_recover_everywhere(sim *disk, uint64_t cache_bytes) {
    pv__store_opts o = t_opts(sim_vfs(disk));
    o.cache_bytes = cache_bytes;
    t_open(o);
    char why[200];
    if (!kit_matches(t_w.store, &t_w.now, why)) {
        fail_msg("%s", why);
    }
    for (size_t upto = 0; upto <= sim_op_count(disk); upto++) {
        for (unsigned cut = SIM_CUT_DROP_ALL; cut <= SIM_CUT_KEEP_ALL; cut++) {
            t_image_matches(sim_image(disk, upto, (sim_cut)cut, 1), cache_bytes);
        }
    }
    pv__store_abandon(t_w.store);
    t_w.store = NULL;
    sim_free(disk);
}

static void test_mutants__replay_with_checkpoints_in_it_can_be_cut_anywhere(void **state) {
    (void)state;
    for (unsigned async = 0; async < 3; async++) {
        t_begin(8 + async, 30, 4);
        sim *s = sim_new(1);
        pv__store_opts o = t_opts(sim_vfs(s));
        o.log_segment_bytes = async ? 512u << 10 : 16u << 10;
        t_open(o);
        t_commit(30, 0);
        for (int i = 0; i < 30; i++) {
            t_commit(6, async && (async == 1 || i % 5) ? PV__TXN_ASYNC : 0);
        }
        t_commit(6, 0);
        sim *image = t_cut(s);
        pv__store_abandon(t_w.store);
        t_w.store = NULL;
        sim_free(s);
        t_recover_everywhere(image, 128u << 10);
        test_mem_done(&t_mem);
    }
}

/* ---- while a sync runs --------------------------------------------------------------------- */

static pv_vfs t_hooked; /* the disk, whose sync calls t_hook first, once */
static int (*t_real_sync)(pv_vfs *vfs, pv_file *file, pv_error *err);
static void (*t_hook)(void);

static int t_sync(pv_vfs *vfs, pv_file *file, pv_error *err) {
    void (*hook)(void) = t_hook;
    t_hook = NULL;
    if (hook) {
        hook();
    }
    return t_real_sync(vfs, file, err);
}

static void t_open_hooked(sim *s) {
    t_hooked = *sim_vfs(s);
    t_real_sync = t_hooked.sync;
    t_hooked.sync = t_sync;
    t_hook = NULL;
    pv__store_opts o = t_opts(&t_hooked);
    o.log_segment_bytes = 8u << 20;
    t_open(o);
}

static kit_state t_acked, t_pending; /* before and with the commit whose sync runs */

static void t_sees(pv__store *store, const kit_state *want) {
    char why[200];
    if (!kit_matches(store, want, why)) {
        fail_msg("%s", why);
    }
}

static void t_hook_look(void) { t_sees(t_w.store, &t_acked); }

static void t_hook_async(void) {
    t_pending = t_w.now;
    t_commit(40, PV__TXN_ASYNC);
    t_commit(40, PV__TXN_ASYNC);
    t_sees(t_w.store, &t_acked);
}

static void test_mutants__nothing_is_seen_before_it_is_durable(void **state) {
    (void)state;
    t_begin(12, 60, 1);
    sim *s = sim_new(1);
    t_open_hooked(s);
    for (int i = 0; i < 4; i++) {
        t_commit(60, 0);
    }
    t_acked = t_w.now;
    t_hook = t_hook_look;
    t_commit(60, 0);
    assert_null(t_hook);
    for (int i = 0; i < 5; i++) {
        t_acked = t_w.now;
        t_hook = t_hook_async;
        t_commit(60, 0); /* while it is synced, two others are accepted behind it */
        assert_null(t_hook);
        t_sees(t_w.store, &t_pending); /* it is visible, the others are not: of all three versions
                                          the sweep has kept the middle one, too */
        t_commit(1, 0);
        t_matches();
    }
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

static void t_hook_overtake(void) {
    t_commit(40, PV__TXN_ASYNC);
    t_commit(40, PV__TXN_ASYNC);
    t_commit(40, PV__TXN_ASYNC);
}

/* A checkpoint waits for the log; meanwhile the pages it has to write are changed and swept. */
static void test_mutants__a_checkpoint_writes_what_it_was_cut_at(void **state) {
    (void)state;
    t_begin(13, 60, 1);
    sim *s = sim_new(1);
    t_open_hooked(s);
    t_commit(120, 0);
    for (int i = 0; i < 5; i++) {
        t_commit(60, PV__TXN_ASYNC);
        kit_state cut = t_w.now;
        t_hook = t_hook_overtake;
        t_checkpoint();
        assert_null(t_hook);
        kit_state now = t_w.now;
        sim *image = sim_image(s, sim_op_count(s), SIM_CUT_DROP_ALL, 1);
        t_w.now = cut; /* what came later is not on disk */
        t_image_matches(image, 64u << 20);
        t_w.now = now;
        t_sees(t_w.store, &now);
    }
    t_commit(1, 0);
    t_matches();
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* ---- what readers need --------------------------------------------------------------------- */

static void t_pressure(unsigned rounds) {
    for (unsigned i = 0; i < rounds; i++) {
        t_commit(30, 0);
        t_checkpoint();
        t_matches();
    }
}

static void test_mutants__a_pointer_is_good_until_pause(void **state) {
    (void)state;
    static uint8_t copy[16][PV__SLOT_SIZE * 4];
    const uint8_t *page[16];
    pv_error err = PV_ERROR_INIT;
    t_begin(14, 60, 4);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    pv__store_opts o = t_opts(sim_vfs(s));
    o.cache_bytes = 400u << 10;
    t_open(o);
    for (int round = 0; round < 6; round++) {
        pv__txn *r = NULL;
        size_t n = 0;
        t_commit(100, 0);
        t_checkpoint();
        test_assert_ok(pv__txn_begin(t_w.store, 0, &r, &err), &err);
        for (size_t i = 0; i < t_w.pages && n < PV_COUNTOF(page); i++) {
            if (t_w.now.pages[i].id) {
                test_assert_ok(pv__page_read(r, t_w.now.pages[i].id, PV__PAGE_ANY, &page[n], &err),
                               &err);
                memcpy(copy[n], page[n], pv__page_size(page[n]));
                n++;
            }
        }
        t_pressure(3);
        for (size_t i = 0; i < n; i++) {
            assert_memory_equal(copy[i], page[i], (size_t)copy[i][PV__HEAD_SLOTS] * PV__SLOT_SIZE);
        }
        pv__txn_rollback(r);
    }
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* The pages of a snapshot are evicted, and read again from slots the root has long replaced. */
static void test_mutants__slots_of_a_snapshot_are_kept(void **state) {
    (void)state;
    static kit_state seen[4];
    pv__txn *r[4] = {NULL, NULL, NULL, NULL};
    pv_error err = PV_ERROR_INIT;
    char why[200];
    t_begin(15, 60, 4);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    pv__store_opts o = t_opts(sim_vfs(s));
    o.cache_bytes = 400u << 10;
    t_open(o);
    for (int round = 0; round < 24; round++) {
        size_t i = (size_t)round % 4;
        pv__txn_rollback(r[i]);
        seen[i] = t_w.now;
        test_assert_ok(pv__txn_begin(t_w.store, 0, &r[i], &err), &err);
        t_pressure(2);
        for (i = 0; i < 4; i++) {
            if (r[i] && !kit_sees(r[i], &seen[i], why)) {
                fail_msg("round %d: %s", round, why);
            }
        }
    }
    for (size_t i = 0; i < 4; i++) {
        pv__txn_rollback(r[i]);
    }
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* ---- slots and identity -------------------------------------------------------------------- */

static uint64_t t_slots_in_use(void) {
    pv__store_stats st;
    pv__store_stats_get(t_w.store, &st);
    return t_w.store->space.count - st.free_slots;
}

static void test_mutants__what_is_undone_leaves_no_slots_behind(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    t_begin(16, 60, 8);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    pv__store_opts o = t_opts(sim_vfs(s));
    o.cache_bytes = 256u << 10;
    t_open(o);
    t_commit(60, 0);
    t_checkpoint();
    t_commit(10, 0);
    for (int i = 0; i < 5; i++) {
        pv__txn *t = NULL;
        uint32_t number = 0;
        uint64_t used = t_slots_in_use();
        kit_state was = t_w.now;
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        test_assert_ok(kit_mutate(&t_w, t, 100, &err), &err);
        test_assert_ok(pv__txn_savepoint(t, &number, &err), &err);
        test_assert_ok(kit_mutate(&t_w, t, 100, &err), &err);
        assert_true(t_slots_in_use() > used); /* spilled */
        pv__txn_rollback(t);
        t_w.now = was;
        assert_int_equal(t_slots_in_use(), used);
        const sim_fault full = {SIM_FAULT_FULL, SIM_WRITE, SIM_CLASS_DB, (uint64_t)i + 1, true};
        sim_fault_set(s, &full);
        test_assert_rc(pv__store_checkpoint(t_w.store, &err), PV_ERR_FULL, &err);
        sim_fault_set(s, NULL);
        assert_int_equal(t_slots_in_use(), used);
    }
    t_matches();
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

static void test_mutants__savepoints_of_a_spilled_transaction(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    t_begin(17, 30, 16);
    sim *s = sim_new(1);
    sim_log_enable(s, false);
    pv__store_opts o = t_opts(sim_vfs(s));
    o.cache_bytes = 256u << 10;
    t_open(o);
    t_commit(60, 0);
    for (int i = 0; i < 20; i++) {
        pv__txn *t = NULL;
        uint32_t number = 0;
        test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
        test_assert_ok(kit_mutate(&t_w, t, 60, &err), &err);
        test_assert_ok(pv__txn_savepoint(t, &number, &err), &err);
        kit_state was = t_w.now;
        test_assert_ok(kit_mutate(&t_w, t, 60, &err), &err);
        test_assert_ok(pv__txn_rollback_to(t, number, &err), &err);
        t_w.now = was;
        test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
        t_matches();
    }
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

static void test_mutants__a_page_must_state_who_it_is(void **state) {
    (void)state;
    static uint8_t page[PV__SLOT_SIZE], got[PV__SLOT_SIZE];
    pv_error err = PV_ERROR_INIT;
    t_begin(18, 8, 1);
    sim *s = sim_new(1);
    t_open(t_opts(sim_vfs(s)));
    for (unsigned wrong = 0; wrong < 3; wrong++) {
        pv__pte pte;
        memset(&pte, 0, sizeof pte);
        memset(page, 0, sizeof page);
        pv__put64(page + PV__HEAD_UUID, t_w.store->uuid_tag + (wrong == 1));
        pv__put64(page + PV__HEAD_PAGE_ID, 7 + (wrong == 2));
        page[PV__HEAD_SLOTS] = 1;
        (void)pv__pageio_encode(t_w.store, 7, page, NULL, &pte);
        test_assert_ok(pv__space_alloc(t_w.store, 1, &pte.slot, &err), &err);
        test_assert_ok(pv__vfs_write(t_w.store->vfs, t_w.store->file, pte.slot * PV__SLOT_SIZE,
                                     page, sizeof page, &err),
                       &err);
        test_assert_rc(pv__pageio_read(t_w.store, 7, &pte, got, &err),
                       wrong ? PV_ERR_CORRUPT : PV_OK, &err);
        pv__space_free_now(t_w.store, pte.slot, 1);
    }
    /* The same bytes in the place of another page have another checksum. */
    assert_true(pv__page_seed(t_w.store, 7) != pv__page_seed(t_w.store, 8));
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mutants__a_new_database_is_there_after_a_power_cut),
        cmocka_unit_test(test_mutants__any_one_superblock_is_enough_after_closing),
        cmocka_unit_test(test_mutants__the_older_root_leads_to_the_newest_commit),
        cmocka_unit_test(test_mutants__a_torn_superblock_is_mended),
        cmocka_unit_test(test_mutants__a_forged_log_is_refused),
        cmocka_unit_test(test_mutants__changes_fit_one_version_only),
        cmocka_unit_test(test_mutants__a_log_that_a_close_left_is_removed),
        cmocka_unit_test(test_mutants__replay_with_checkpoints_in_it_can_be_cut_anywhere),
        cmocka_unit_test(test_mutants__nothing_is_seen_before_it_is_durable),
        cmocka_unit_test(test_mutants__a_checkpoint_writes_what_it_was_cut_at),
        cmocka_unit_test(test_mutants__a_pointer_is_good_until_pause),
        cmocka_unit_test(test_mutants__slots_of_a_snapshot_are_kept),
        cmocka_unit_test(test_mutants__what_is_undone_leaves_no_slots_behind),
        cmocka_unit_test(test_mutants__savepoints_of_a_spilled_transaction),
        cmocka_unit_test(test_mutants__a_page_must_state_who_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
