/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_mutants.c - what opening must find and refuse, as far as the other tests of the store
 * would not notice; found by planting bugs (tests/mutants). The second root and the copies of
 * superblocks, a log that says what it should not, replay with checkpoints in it. */
#include "test_store_mutants_kit.h"

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

static void t_many(uint64_t *ids, size_t n, bool make) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint8_t *page = NULL;
    test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
    for (size_t i = 0; i < n; i++) {
        if (make) {
            test_assert_ok(pv__page_new(t, PV__PAGE_COLUMN, 16, 1, 0, &ids[i], &page, &err), &err);
        } else {
            test_assert_ok(pv__page_write(t, ids[i], PV__PAGE_COLUMN, &page, &err), &err);
        }
        page[5000]++;
    }
    test_assert_ok(pv__txn_commit(t, &t_w.now.lsn, &err), &err);
}

/* S3: slots of a record between the two roots, whose version the newest root has replaced. */
static void test_mutants__slots_of_records_behind_the_older_root_are_kept(void **state) {
    (void)state;
    uint64_t ids[40], more[40];
    pv_error err = PV_ERROR_INIT;
    t_begin(30, 8, 1);
    sim *s = sim_new(1);
    t_open(t_opts(sim_vfs(s)));
    t_commit(8, 0);
    t_checkpoint();
    t_many(ids, 40, true);  /* by reference */
    t_many(ids, 40, false); /* changes of that */
    t_checkpoint();
    s = t_kill(s);
    t_open(t_opts(sim_vfs(s)));
    uint64_t commits = t_w.store->commits;
    size_t upto = sim_op_count(s);
    t_many(more, 40, true);
    while (sim_op_get(s, upto).cls != SIM_CLASS_LOG) {
        upto++;
    }
    sim *image = sim_image(s, upto, SIM_CUT_KEEP_ALL, 1);
    pv__store_abandon(t_w.store);
    sim_free(s);
    t_ruin_newest(image);
    t_open(t_opts(sim_vfs(image)));
    assert_int_equal(t_w.store->commits, commits);
    uint64_t bad = 0;
    test_assert_ok(pv__store_check(t_w.store, true, t_finding, NULL, &bad, &err), &err);
    assert_int_equal(bad, 0);
    t_close();
    sim_free(image);
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

/* Change n bytes of a page of 64 slots in an asynchronous commit. Returns where its record ends. */
static uint64_t t_write_bytes(uint64_t id, size_t n, unsigned fill, uint32_t flags) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint8_t *page = NULL;
    uint64_t end = 0;
    test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE | flags, &t, &err), &err);
    test_assert_ok(pv__page_write(t, id, PV__PAGE_COLUMN, &page, &err), &err);
    for (size_t i = 0; i < n; i++) {
        page[PV__PAGE_HEAD + i] = (uint8_t)(page[PV__PAGE_HEAD + i] + fill);
    }
    test_assert_ok(pv__txn_commit(t, &end, &err), &err);
    return end;
}

/* Each record fills a segment of its own up to a 4 KiB boundary, and replay makes a checkpoint at
 * each: the segments stay until it has read them. */
static void test_mutants__replay_keeps_the_segments_that_it_reads(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint8_t *page = NULL;
    uint64_t id = 0, end = 0, bad = 0;
    t_begin(100, 8, 1);
    sim *s = sim_new(1);
    t_open(t_opts(sim_vfs(s)));
    test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
    test_assert_ok(pv__page_new(t, PV__PAGE_COLUMN, 64, 1, 0, &id, &page, &err), &err);
    test_assert_ok(pv__txn_commit(t, &end, &err), &err);
    end = t_write_bytes(id, 9000, 1, 0);
    size_t n = 9000 + (size_t)(PV_ALIGN_UP(end, (uint64_t)PV__SLOT_SIZE) - end);
    for (int i = 0; i < 20; i++) {
        t_w.store->log.next_cap = PV__SLOT_SIZE; /* as long as it needs to be */
        end = t_write_bytes(id, n, 1, 0);
        assert_int_equal(end % PV__SLOT_SIZE, 0);
    }
    assert_true(t_w.store->log.seg_count > 15);
    uint64_t commits = t_w.store->commits;
    s = t_kill(s);
    pv__store_opts o = t_opts(sim_vfs(s));
    o.cache_bytes = 300u << 10;
    t_open(o);
    assert_true(t_w.store->checkpoints > 10);
    assert_int_equal(t_w.store->commits, commits);
    test_assert_ok(pv__store_check(t_w.store, true, t_finding, NULL, &bad, &err), &err);
    assert_int_equal(bad, 0);
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* A record of the unproven tail that happens to begin on a 4 KiB boundary: replay may checkpoint
 * there, and then the root lies in the middle of what is copied to the new epoch. */
static void test_mutants__a_root_in_the_middle_of_the_tail(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint8_t *page = NULL;
    uint64_t id = 0, bad = 0;
    t_begin(19, 8, 1);
    sim *s = sim_new(1);
    pv__store_opts o = t_opts(sim_vfs(s));
    o.log_segment_bytes = 4u << 20;
    t_open(o);
    test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
    test_assert_ok(pv__page_new(t, PV__PAGE_COLUMN, 64, 1, 0, &id, &page, &err), &err);
    test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
    t_checkpoint();
    (void)t_write_bytes(id, 9000, 1, 0);
    uint64_t one = t_write_bytes(id, 9000, 1, PV__TXN_ASYNC);
    uint64_t two = t_write_bytes(id, 9000, 1, PV__TXN_ASYNC);
    size_t n =
        9000 + (size_t)(PV_ALIGN_UP(2 * two - one, (uint64_t)PV__SLOT_SIZE) - (2 * two - one));
    uint64_t three = t_write_bytes(id, n, 1, PV__TXN_ASYNC);
    assert_int_equal(three % PV__SLOT_SIZE, 0);
    (void)t_write_bytes(id, 3000, 1, PV__TXN_ASYNC);
    (void)t_write_bytes(id, 3000, 1, 0);
    uint64_t commits = t_w.store->commits;
    for (int round = 0; round < 3; round++) {
        s = t_kill(s);
        o = t_opts(sim_vfs(s));
        o.cache_bytes = 300u << 10;
        t_open(o);
        assert_int_equal(t_w.store->commits, commits);
        test_assert_ok(pv__store_check(t_w.store, true, t_finding, NULL, &bad, &err), &err);
        assert_int_equal(bad, 0);
        assert_true(round > 0 || t_w.store->super.lsn == three);
    }
    t_close();
    sim_free(s);
    test_mem_done(&t_mem);
}

/* The only batch behind the root is damaged, which looks like a torn tail, and behind it lies a
 * segment whose making was cut off: what is written next must not take it for its own. */
static void test_mutants__a_half_made_segment_behind_the_end_goes(void **state) {
    (void)state;
    t_log l;
    static kit_state root;
    size_t upto = 0;
    t_begin(20, 8, 1);
    sim *s = sim_new(1);
    t_open(t_opts(sim_vfs(s)));
    t_commit(8, 0);
    for (bool made = false; !made;) { /* until a commit needs a new segment */
        t_checkpoint();
        root = t_w.now;
        t_commit(8, 0);
        t_log_find(s, &l);
        upto = sim_op_count(s);
        t_commit(8, 0);
        while (upto < sim_op_count(s) && !made) {
            made = sim_op_get(s, upto++).kind == SIM_ALLOCATE;
        }
    }
    sim *image = sim_image(s, upto, SIM_CUT_KEEP_ALL, 1);
    pv__store_abandon(t_w.store);
    sim_free(s);
    t_log_forge(image, &l, l.count - 1, PV__REC_TIME_US, false);
    t_w.now = root;
    t_open(t_opts(sim_vfs(image)));
    t_matches();
    t_commit(5, 0);
    t_commit(5, 0);
    image = t_kill(image);
    t_open(t_opts(sim_vfs(image)));
    t_matches();
    t_close();
    sim_free(image);
    test_mem_done(&t_mem);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mutants__a_new_database_is_there_after_a_power_cut),
        cmocka_unit_test(test_mutants__any_one_superblock_is_enough_after_closing),
        cmocka_unit_test(test_mutants__the_older_root_leads_to_the_newest_commit),
        cmocka_unit_test(test_mutants__a_torn_superblock_is_mended),
        cmocka_unit_test(test_mutants__slots_of_records_behind_the_older_root_are_kept),
        cmocka_unit_test(test_mutants__a_forged_log_is_refused),
        cmocka_unit_test(test_mutants__changes_fit_one_version_only),
        cmocka_unit_test(test_mutants__a_log_that_a_close_left_is_removed),
        cmocka_unit_test(test_mutants__replay_with_checkpoints_in_it_can_be_cut_anywhere),
        cmocka_unit_test(test_mutants__replay_keeps_the_segments_that_it_reads),
        cmocka_unit_test(test_mutants__a_root_in_the_middle_of_the_tail),
        cmocka_unit_test(test_mutants__a_half_made_segment_behind_the_end_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
