/* SPDX-License-Identifier: Apache-2.0 */
/* test_sim.c - the simulator's own tests: it must be able to show every kind of loss, and must
 * never lose what was promised. */
#include "sim/sim_tests.h"

static bool t_a_is_there(sim *s) { return t_size(s, "a") >= 0; }

static void test_sim__write_without_sync_can_be_lost_or_kept(void **state) {
    (void)state;
    pv_file *f = NULL;
    sim *s = t_disk(4096, &f);
    t_write(s, f, 0, 'n', 4096);
    assert_int_equal(t_count(s, SIM_CUT_DROP_ALL, t_a_is_old), T_IMAGES);
    assert_int_equal(t_count(s, SIM_CUT_KEEP_ALL, t_a_is_new), T_IMAGES);
    const int kept = t_count(s, SIM_CUT_SUBSET, t_a_is_new);
    assert_in_range(kept, 30, T_IMAGES - 30);
    assert_int_equal(t_count(s, SIM_CUT_SUBSET, t_a_is_old), T_IMAGES - kept);
    sim_free(s); /* with the file open */
}

static void test_sim__synced_write_is_never_lost(void **state) {
    (void)state;
    pv_file *f = NULL;
    sim *s = t_disk(4096, &f);
    t_write(s, f, 0, 'n', 4096);
    t_sync(s, f);
    t_write(s, f, 8192, 'x', 10000); /* something else is pending */
    assert_int_equal(t_count_all(s, t_a_is_new), T_IMAGES * SIM_CUT_COUNT);
    sim_free(s);
}

static void test_sim__creation_needs_a_sync_of_the_folder(void **state) {
    (void)state;
    sim *s = sim_new(1);
    pv_file *f = t_open(s, "a");
    t_write(s, f, 0, 'n', 10);
    t_sync(s, f); /* of the file only */
    assert_int_equal(t_count(s, SIM_CUT_DROP_ALL, t_a_is_there), 0);
    assert_int_equal(t_count(s, SIM_CUT_KEEP_ALL, t_a_is_new), T_IMAGES);
    assert_in_range(t_count(s, SIM_CUT_SUBSET, t_a_is_there), 30, T_IMAGES - 1);
    assert_in_range(t_count(s, SIM_CUT_DIRS, t_a_is_there), 30, T_IMAGES - 30);
    t_sync_dir(s, ".");
    assert_int_equal(t_count_all(s, t_a_is_new), T_IMAGES * SIM_CUT_COUNT);
    sim_free(s);
}

static bool t_renamed(sim *s) { return t_byte(s, "b", 0) == 'n' && t_size(s, "a") < 0; }
static bool t_not_renamed(sim *s) { return t_byte(s, "a", 0) == 'n' && t_byte(s, "b", 0) == 'o'; }

static void test_sim__rename_needs_a_sync_of_the_folder(void **state) {
    (void)state;
    sim *s = sim_new(1);
    pv_file *a = t_open(s, "a");
    pv_file *b = t_open(s, "b");
    t_write(s, a, 0, 'n', 10);
    t_write(s, b, 0, 'o', 10);
    t_sync(s, a);
    t_sync(s, b);
    t_sync_dir(s, "/");
    assert_int_equal(sim_vfs(s)->rename(sim_vfs(s), "a", "b", NULL), 0);
    assert_int_equal(t_count(s, SIM_CUT_DROP_ALL, t_not_renamed), T_IMAGES);
    const int done = t_count(s, SIM_CUT_SUBSET, t_renamed);
    assert_in_range(done, 30, T_IMAGES - 1);
    /* never half of it, never both names */
    assert_int_equal(t_count_all(s, t_renamed) + t_count_all(s, t_not_renamed),
                     T_IMAGES * SIM_CUT_COUNT);
    t_sync_dir(s, "/");
    assert_int_equal(t_count_all(s, t_renamed), T_IMAGES * SIM_CUT_COUNT);
    sim_free(s);
}

static bool t_in_folder(sim *s) { return t_byte(s, "d/x", 0) == 'n'; }

static void test_sim__file_is_lost_with_its_folder(void **state) {
    (void)state;
    sim *s = sim_new(1);
    assert_int_equal(sim_vfs(s)->mkdir(sim_vfs(s), "d", NULL), 0);
    pv_file *f = t_open(s, "d/x");
    t_write(s, f, 0, 'n', 10);
    t_sync(s, f);
    t_sync_dir(s, "d"); /* the entry of x in d, but not that of d */
    assert_int_equal(t_count(s, SIM_CUT_DROP_ALL, t_in_folder), 0);
    assert_in_range(t_count(s, SIM_CUT_DIRS, t_in_folder), 30, T_IMAGES - 30);
    t_sync_dir(s, "");
    assert_int_equal(t_count_all(s, t_in_folder), T_IMAGES * SIM_CUT_COUNT);
    sim_free(s);
}

static bool t_first_only(sim *s) { return t_size(s, "p") >= 0 && t_size(s, "q") < 0; }
static bool t_second_only(sim *s) { return t_size(s, "p") < 0 && t_size(s, "q") >= 0; }

static void test_sim__names_are_lost_from_the_end_or_in_any_order(void **state) {
    (void)state;
    sim *s = sim_new(1);
    (void)t_open(s, "p");
    (void)t_open(s, "q");
    assert_int_equal(t_count(s, SIM_CUT_SUBSET, t_second_only), 0);
    assert_true(t_count(s, SIM_CUT_SUBSET, t_first_only) > 10);
    assert_true(t_count(s, SIM_CUT_DIRS, t_second_only) > 10);
    assert_true(t_count(s, SIM_CUT_DIRS, t_first_only) > 10);
    sim_free(s);
}

static void test_sim__removal_without_sync_can_come_back(void **state) {
    (void)state;
    pv_file *f = NULL;
    sim *s = t_disk(4096, &f);
    assert_int_equal(sim_vfs(s)->unlink(sim_vfs(s), "a", NULL), 0);
    assert_int_equal(sim_vfs(s)->close(sim_vfs(s), f, NULL), 0);
    assert_int_equal(t_size(s, "a"), -1);
    assert_int_equal(t_count(s, SIM_CUT_DROP_ALL, t_a_is_old), T_IMAGES);
    assert_in_range(t_count(s, SIM_CUT_SUBSET, t_a_is_there), 5, T_IMAGES - 30);
    t_sync_dir(s, "");
    assert_int_equal(t_count_all(s, t_a_is_there), 0);
    sim_free(s);
}

/* How many of n units of a file are new, old, something else. */
typedef struct t_mix {
    int fresh, old, other;
} t_mix;

static t_mix t_look(sim *s, size_t unit, size_t n) {
    t_mix m = {0, 0, 0};
    char *data = malloc(unit);
    char *want = malloc(unit);
    for (size_t i = 0; i < n; i++) {
        memset(data, 0, unit);
        (void)sim_file_peek(s, "a", i * unit, data, unit);
        memset(want, 'n', unit);
        const bool fresh = memcmp(data, want, unit) == 0;
        memset(want, 'o', unit);
        const bool old = memcmp(data, want, unit) == 0;
        m.fresh += fresh;
        m.old += old;
        m.other += !fresh && !old;
    }
    free(data);
    free(want);
    return m;
}

static void test_sim__torn_writes_have_whole_sectors(void **state) {
    (void)state;
    pv_file *f = NULL;
    sim *s = t_disk(16384, &f);
    t_write(s, f, 0, 'n', 16384);
    int torn = 0;
    int middle = 0; /* a hole in it, or only a hole filled: neither a prefix nor a suffix */
    for (uint64_t seed = 0; seed < T_IMAGES; seed++) {
        sim *image = sim_image(s, sim_op_count(s), SIM_CUT_TORN_512, seed);
        const t_mix m = t_look(image, 512, 32);
        assert_int_equal(m.other, 0);
        torn += m.fresh > 0 && m.old > 0;
        middle += t_byte(image, "a", 0) == t_byte(image, "a", 16383) && m.fresh > 0 && m.old > 0;
        sim_free(image);
        image = sim_image(s, sim_op_count(s), SIM_CUT_TORN_4K, seed);
        assert_int_equal(t_look(image, 4096, 4).other, 0);
        sim_free(image);
    }
    assert_true(torn > T_IMAGES / 2);
    assert_true(middle > 20);
    sim_free(s);
}

static bool t_later_only(sim *s) { return t_byte(s, "a", 0) == 'o' && t_byte(s, "a", 8192) == 'n'; }

static void test_sim__later_write_can_be_there_without_an_earlier_one(void **state) {
    (void)state;
    pv_file *f = NULL;
    sim *s = t_disk(16384, &f);
    t_write(s, f, 0, 'n', 4096);
    t_write(s, f, 8192, 'n', 4096);
    assert_int_equal(t_count(s, SIM_CUT_REORDER, t_later_only), T_IMAGES);
    assert_true(t_count(s, SIM_CUT_SUBSET, t_later_only) > 10);
    sim_free(s);
}

static bool t_same_sector_reversed(sim *s) {
    return t_byte(s, "a", 0) == 'o' && t_byte(s, "a", 100) == 'n';
}

static void test_sim__sector_has_no_later_bytes_without_earlier_ones(void **state) {
    (void)state;
    pv_file *f = NULL;
    sim *s = t_disk(4096, &f);
    t_write(s, f, 0, 'n', 100);
    t_write(s, f, 100, 'n', 100);
    assert_int_equal(t_count_all(s, t_same_sector_reversed), 0);
    sim_free(s);
}

static void test_sim__pending_sectors_can_be_noise_or_zero(void **state) {
    (void)state;
    pv_file *f = NULL;
    sim *s = t_disk(16384, &f);
    t_write(s, f, 4096, 'n', 4096);
    int noise = 0;
    int zeros = 0;
    for (uint64_t seed = 0; seed < T_IMAGES; seed++) {
        sim *image = sim_image(s, sim_op_count(s), SIM_CUT_GARBAGE, seed);
        noise += t_look(image, 512, 32).other > 0;
        assert_int_equal(t_byte(image, "a", 4095), 'o'); /* synced neighbours stay */
        assert_int_equal(t_byte(image, "a", 8192), 'o');
        assert_int_equal(t_size(image, "a"), 16384);
        sim_free(image);
        image = sim_image(s, sim_op_count(s), SIM_CUT_ZERO, seed);
        for (uint64_t at = 4096; at < 8192; at += 512) {
            const int b = t_byte(image, "a", at);
            assert_true(b == 0 || b == 'o' || b == 'n');
            zeros += b == 0;
        }
        sim_free(image);
    }
    assert_true(noise > T_IMAGES / 4);
    assert_true(zeros > T_IMAGES);
    sim_free(s);
}

static bool t_long_and_empty(sim *s) {
    return t_size(s, "a") == 12288 && t_byte(s, "a", 4096) == 0;
}

static void test_sim__size_can_be_there_without_the_data(void **state) {
    (void)state;
    pv_file *f = NULL;
    sim *s = t_disk(4096, &f);
    t_write(s, f, 4096, 'n', 8192);
    assert_true(t_count(s, SIM_CUT_SIZE, t_long_and_empty) > T_IMAGES / 2);
    sim_free(s);
}

static bool t_is_short(sim *s) { return t_size(s, "a") == 100; }

static void test_sim__truncate_and_allocate_need_a_sync(void **state) {
    (void)state;
    pv_file *f = NULL;
    sim *s = t_disk(4096, &f);
    assert_int_equal(sim_vfs(s)->truncate(sim_vfs(s), f, 100, NULL), 0);
    assert_int_equal(t_count(s, SIM_CUT_DROP_ALL, t_is_short), 0);
    assert_in_range(t_count(s, SIM_CUT_SUBSET, t_is_short), 30, T_IMAGES - 30);
    t_sync(s, f);
    assert_int_equal(t_count_all(s, t_is_short), T_IMAGES * SIM_CUT_COUNT);
    assert_int_equal(sim_vfs(s)->allocate(sim_vfs(s), f, 50, 1000, NULL), 0);
    assert_int_equal(t_size(s, "a"), 1050);
    assert_int_equal(t_byte(s, "a", 100), 0); /* what was cut off stays away */
    assert_int_equal(t_count(s, SIM_CUT_DROP_ALL, t_is_short), T_IMAGES);
    t_sync(s, f);
    assert_int_equal(t_count_all(s, t_is_short), 0);
    sim_free(s);
}

/* ---- a random workload ----------------------------------------------------------------------- */

enum { T_FILES = 3, T_SECTORS = 40, T_SECTOR = 512 };

typedef struct t_work {
    sim *s;
    test_rng rng;
    pv_file *f[T_FILES];
    uint64_t hash[2000]; /* after each operation of the log */
    /* The versions that each sector may have after a cut: the last `versions` of its history. */
    uint8_t history[T_FILES][T_SECTORS][64];
    int versions[T_FILES][T_SECTORS];
} t_work;

static void t_work_open(t_work *w) {
    memset(w, 0, sizeof *w);
    w->s = sim_new(7);
    test_rng_init(&w->rng, test_seed());
    for (int i = 0; i < T_FILES; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "f%d", i);
        w->f[i] = t_open(w->s, name);
        t_write(w->s, w->f[i], 0, 0, (size_t)T_SECTORS * T_SECTOR);
        t_sync(w->s, w->f[i]);
        for (int j = 0; j < T_SECTORS; j++) {
            w->versions[i][j] = 1;
        }
    }
    t_sync_dir(w->s, "");
}

static void t_work_write(t_work *w, int i) {
    const int first = (int)test_rng_below(&w->rng, T_SECTORS);
    const int n = 1 + (int)test_rng_below(&w->rng, (uint64_t)(T_SECTORS - first));
    const char fill = (char)(1 + test_rng_below(&w->rng, 100));
    t_write(w->s, w->f[i], (uint64_t)first * T_SECTOR, fill, (size_t)n * T_SECTOR);
    for (int j = first; j < first + n; j++) {
        assert_true(w->versions[i][j] < 64);
        w->history[i][j][w->versions[i][j]++] = (uint8_t)fill;
    }
}

static void t_work_sync(t_work *w, int i) {
    t_sync(w->s, w->f[i]);
    for (int j = 0; j < T_SECTORS; j++) {
        w->history[i][j][0] = w->history[i][j][w->versions[i][j] - 1];
        w->versions[i][j] = 1;
    }
}

static void t_work_check(t_work *w, sim *image) {
    for (int i = 0; i < T_FILES; i++) {
        char name[16];
        uint8_t data[T_SECTORS * T_SECTOR];
        (void)snprintf(name, sizeof name, "f%d", i);
        assert_true(sim_file_peek(image, name, 0, data, sizeof data));
        for (int j = 0; j < T_SECTORS; j++) {
            const uint8_t *p = data + (size_t)j * T_SECTOR;
            bool known = false;
            for (int v = 0; v < w->versions[i][j]; v++) {
                known = known || p[0] == w->history[i][j][v];
            }
            assert_true(known);
            assert_memory_equal(p, p + 1, T_SECTOR - 1); /* of one version as a whole */
        }
    }
}

static void test_sim__every_sector_is_one_of_its_pending_versions(void **state) {
    (void)state;
    static t_work w;
    t_work_open(&w);
    for (int step = 0; step < 150; step++) {
        const int i = (int)test_rng_below(&w.rng, T_FILES);
        if (test_rng_below(&w.rng, 4) == 0) {
            t_work_sync(&w, i);
        } else {
            t_work_write(&w, i);
        }
        for (int mode = 0; mode < SIM_CUT_COUNT; mode++) {
            if (mode == SIM_CUT_GARBAGE || mode == SIM_CUT_ZERO) {
                continue;
            }
            for (uint64_t seed = 0; seed < 3; seed++) {
                sim *image = sim_image(w.s, sim_op_count(w.s), (sim_cut)mode, seed);
                t_work_check(&w, image);
                sim_free(image);
            }
        }
    }
    sim_free(w.s);
}

static void test_sim__keeping_all_is_what_the_program_saw(void **state) {
    (void)state;
    static uint64_t hash[2000];
    test_rng r;
    sim *s = sim_new(3);
    test_rng_init(&r, test_seed());
    assert_int_equal(sim_vfs(s)->mkdir(sim_vfs(s), "d", NULL), 0);
    while (sim_op_count(s) < 1000) {
        const size_t before = sim_op_count(s);
        t_random_op(s, &r);
        if (sim_op_count(s) == before + 1) {
            hash[before + 1] = sim_image_hash(s);
        }
    }
    sim *end = sim_image(s, sim_op_count(s), SIM_CUT_KEEP_ALL, 0);
    assert_true(sim_image_hash(end) == sim_image_hash(s));
    sim_free(end);
    for (int i = 0; i < 1500; i++) { /* forward, then at random */
        const size_t upto = i < 1000 ? (size_t)i : (size_t)test_rng_below(&r, 1000);
        sim *image = sim_image(s, upto, SIM_CUT_KEEP_ALL, 0);
        assert_true(hash[upto] == 0 || sim_image_hash(image) == hash[upto]);
        sim_free(image);
        i += i >= 1000 ? 20 : 0;
    }
    sim_free(s);
}

static void test_sim__after_all_syncs_all_images_are_one(void **state) {
    (void)state;
    test_rng r;
    test_rng_init(&r, test_seed());
    for (int round = 0; round < 20; round++) {
        sim *s = sim_new(3);
        pv_vfs *v = sim_vfs(s);
        assert_int_equal(v->mkdir(v, "d", NULL), 0);
        for (int i = 0; i < 60; i++) {
            t_random_op(s, &r);
        }
        for (int i = 0; i < 10; i++) {
            char name[16];
            pv_file *f = NULL;
            (void)snprintf(name, sizeof name, "%s%d", i < 5 ? "d/" : "", i % 5);
            if (v->open(v, name, 0, &f, NULL, NULL) == 0) {
                t_sync(s, f);
                assert_int_equal(v->close(v, f, NULL), 0);
            }
        }
        t_sync_dir(s, "d");
        t_sync_dir(s, "");
        for (int mode = 0; mode < SIM_CUT_COUNT; mode++) {
            sim *image = sim_image(s, sim_op_count(s), (sim_cut)mode, (uint64_t)round);
            assert_true(sim_image_hash(image) == sim_image_hash(s));
            sim_free(image);
        }
        sim_free(s);
    }
}

/* ---- images as objects ----------------------------------------------------------------------- */

typedef struct t_cuts {
    int calls, stop_at;
    size_t last;
} t_cuts;

static int t_take_cut(void *arg, sim *image, size_t upto, sim_cut mode, uint64_t seed) {
    t_cuts *c = arg;
    (void)mode;
    (void)seed;
    assert_true(upto >= c->last);
    assert_true(sim_image_hash(image) != 0);
    c->last = upto;
    return ++c->calls == c->stop_at ? 77 : 0;
}

static void test_sim__hash_counts_distinct_images(void **state) {
    (void)state;
    pv_file *f = NULL;
    sim *s = t_disk(8192, &f);
    const size_t synced = sim_op_count(s);
    t_write(s, f, 0, 'n', 4096);
    t_write(s, f, 4096, 'n', 4096);
    int rc = 5;
    t_cuts c = {0, 0, 0};
    /* nothing pending: one image, whatever mode and seed */
    assert_int_equal(sim_each_cut(s, synced, synced, 8, 1, t_take_cut, &c, &rc), 1);
    assert_int_equal(rc, 0);
    const size_t many = sim_each_cut(s, synced, synced + 2, 16, 1, t_take_cut, &c, &rc);
    assert_int_equal(many + 1, (size_t)c.calls);
    assert_true(many > 40);
    c.stop_at = c.calls + 3;
    assert_int_equal(sim_each_cut(s, 0, synced + 2, 4, 1, t_take_cut, &(t_cuts){0, 3, 0}, &rc), 3);
    assert_int_equal(rc, 77);
    /* four images: each write there or not */
    uint64_t seen[T_IMAGES];
    size_t distinct = 0;
    for (uint64_t seed = 0; seed < T_IMAGES; seed++) {
        sim *image = sim_image(s, synced + 2, SIM_CUT_SUBSET, seed);
        sim *again = sim_image(s, synced + 2, SIM_CUT_SUBSET, seed);
        const uint64_t h = sim_image_hash(image);
        assert_true(h == sim_image_hash(again));
        size_t i = 0;
        while (i < distinct && seen[i] != h) {
            i++;
        }
        if (i == distinct) {
            seen[distinct++] = h;
        }
        sim_free(image);
        sim_free(again);
    }
    assert_int_equal(distinct, 4);
    sim_free(s);
}

static void test_sim__hash_sees_names_sizes_and_every_byte(void **state) {
    (void)state;
    pv_file *f = NULL;
    sim *s = t_disk(10000, &f);
    const uint64_t h = sim_image_hash(s);
    sim *same = sim_image(s, sim_op_count(s), SIM_CUT_DROP_ALL, 9);
    assert_true(sim_image_hash(same) == h);
    assert_true(sim_file_poke(same, "a", 9999, "x", 1));
    assert_true(sim_image_hash(same) != h);
    assert_true(sim_file_poke(same, "a", 9999, "o", 1));
    assert_true(sim_image_hash(same) == h);
    assert_int_equal(sim_vfs(same)->rename(sim_vfs(same), "a", "b", NULL), 0);
    assert_true(sim_image_hash(same) != h);
    assert_int_equal(sim_vfs(same)->rename(sim_vfs(same), "b", "a", NULL), 0);
    assert_true(sim_image_hash(same) == h);
    pv_file *g = t_open(same, "a");
    assert_int_equal(sim_vfs(same)->truncate(sim_vfs(same), g, 10001, NULL), 0);
    assert_true(sim_image_hash(same) != h);
    sim_free(same);
    assert_true(sim_image_hash(s) == h); /* the image shares blocks, not fate */
    sim_free(s);
}

static void test_sim__images_can_be_cut_again(void **state) {
    (void)state;
    pv_file *f = NULL;
    sim *s = t_disk(4096, &f);
    t_write(s, f, 0, 'n', 4096);
    sim *first = sim_image(s, sim_op_count(s), SIM_CUT_KEEP_ALL, 1);
    sim_free(s); /* the image stands alone */
    assert_int_equal(sim_op_count(first), 0);
    pv_file *g = t_open(first, "a");
    t_write(first, g, 4096, 'z', 4096);
    sim *second = sim_image(first, sim_op_count(first), SIM_CUT_DROP_ALL, 2);
    assert_int_equal(t_size(second, "a"), 4096);
    assert_int_equal(t_byte(second, "a", 4095), 'n'); /* durable by the first cut */
    sim_free(second);
    t_sync(first, g);
    second = sim_image(first, sim_op_count(first), SIM_CUT_DROP_ALL, 2);
    assert_int_equal(t_byte(second, "a", 8191), 'z');
    sim_free(first);
    assert_int_equal(t_byte(second, "a", 8191), 'z');
    sim_free(second);
}

static void test_sim__poke_is_durable_at_once(void **state) {
    (void)state;
    pv_file *f = NULL;
    sim *s = t_disk(4096, &f);
    const size_t before = sim_op_count(s);
    assert_true(sim_file_poke(s, "a", 0, "n", 1));
    assert_false(sim_file_poke(s, "none", 0, "n", 1));
    assert_int_equal(t_count_all(s, t_a_is_new), T_IMAGES * SIM_CUT_COUNT);
    sim *image = sim_image(s, before, SIM_CUT_KEEP_ALL, 0);
    assert_true(t_a_is_old(image));
    sim_free(image);
    sim_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sim__write_without_sync_can_be_lost_or_kept),
        cmocka_unit_test(test_sim__synced_write_is_never_lost),
        cmocka_unit_test(test_sim__creation_needs_a_sync_of_the_folder),
        cmocka_unit_test(test_sim__rename_needs_a_sync_of_the_folder),
        cmocka_unit_test(test_sim__file_is_lost_with_its_folder),
        cmocka_unit_test(test_sim__names_are_lost_from_the_end_or_in_any_order),
        cmocka_unit_test(test_sim__removal_without_sync_can_come_back),
        cmocka_unit_test(test_sim__torn_writes_have_whole_sectors),
        cmocka_unit_test(test_sim__later_write_can_be_there_without_an_earlier_one),
        cmocka_unit_test(test_sim__sector_has_no_later_bytes_without_earlier_ones),
        cmocka_unit_test(test_sim__pending_sectors_can_be_noise_or_zero),
        cmocka_unit_test(test_sim__size_can_be_there_without_the_data),
        cmocka_unit_test(test_sim__truncate_and_allocate_need_a_sync),
        cmocka_unit_test(test_sim__every_sector_is_one_of_its_pending_versions),
        cmocka_unit_test(test_sim__keeping_all_is_what_the_program_saw),
        cmocka_unit_test(test_sim__after_all_syncs_all_images_are_one),
        cmocka_unit_test(test_sim__hash_counts_distinct_images),
        cmocka_unit_test(test_sim__hash_sees_names_sizes_and_every_byte),
        cmocka_unit_test(test_sim__images_can_be_cut_again),
        cmocka_unit_test(test_sim__poke_is_durable_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
