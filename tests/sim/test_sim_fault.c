/* SPDX-License-Identifier: Apache-2.0 */
/* test_sim_fault.c - the simulator's own tests: injected errors, counters, sites, threads. */
#include "sim/sim_tests.h"

#include "os/thread.h"

/* ---- faults ---------------------------------------------------------------------------------- */

static void test_sim__nth_call_fails_once_or_for_good(void **state) {
    (void)state;
    pv_file *f = NULL;
    sim *s = t_disk(100, &f);
    pv_vfs *v = sim_vfs(s);
    pv_error err = PV_ERROR_INIT;
    char b[4];
    sim_fault fault = {SIM_FAULT_IO, SIM_READ, SIM_CLASS_ANY, 2, false};
    sim_fault_set(s, &fault);
    test_assert_ok(pv__vfs_write(v, f, 0, "x", 1, &err), &err); /* another kind */
    test_assert_ok(pv__vfs_read(v, f, 0, b, 4, &err), &err);
    test_assert_rc(pv__vfs_read(v, f, 0, b, 4, &err), PV_ERR_IO, &err);
    test_assert_ok(pv__vfs_read(v, f, 0, b, 4, &err), &err);
    assert_int_equal(sim_fault_hits(s), 1);
    fault.for_good = true;
    fault.kind = SIM_ANY;
    fault.what = SIM_FAULT_PERM;
    sim_fault_set(s, &fault);
    test_assert_ok(pv__vfs_read(v, f, 0, b, 4, &err), &err);
    const size_t before = sim_op_count(s);
    test_assert_rc(pv__vfs_write(v, f, 0, "y", 1, &err), PV_ERR_PERM, &err);
    pv_file *g = NULL;
    test_assert_rc(v->open(v, "b", PV_VFS_OPEN_CREATE, &g, NULL, &err), PV_ERR_PERM, &err);
    assert_null(g);
    test_assert_rc(v->unlink(v, "a", &err), PV_ERR_PERM, &err);
    test_assert_rc(v->rename(v, "a", "b", &err), PV_ERR_PERM, &err);
    test_assert_rc(v->mkdir(v, "d", &err), PV_ERR_PERM, &err);
    test_assert_rc(v->rmdir(v, "d", &err), PV_ERR_PERM, &err);
    test_assert_rc(v->sync_dir(v, "", &err), PV_ERR_PERM, &err);
    test_assert_rc(v->truncate(v, f, 0, &err), PV_ERR_PERM, &err);
    test_assert_rc(v->allocate(v, f, 0, 9, &err), PV_ERR_PERM, &err);
    test_assert_rc(v->lock(v, f, 0, PV_VFS_LOCK_SHARED, &err), PV_ERR_PERM, &err);
    test_assert_ok(v->lock(v, f, 0, PV_VFS_UNLOCK, &err), &err);
    assert_int_equal(sim_op_count(s), before); /* nothing happened */
    assert_int_equal(sim_fault_hits(s), 10);
    sim_fault_set(s, NULL);
    test_assert_ok(v->close(v, f, &err), &err);
    sim_free(s);
}

static void test_sim__fault_of_a_class_leaves_others_alone(void **state) {
    (void)state;
    sim *s = sim_new(1);
    pv_vfs *v = sim_vfs(s);
    assert_int_equal(v->mkdir(v, "x.pv-wal", NULL), 0);
    pv_file *db = t_open(s, "x.pv");
    pv_file *log = t_open(s, "x.pv-wal/00000001");
    pv_file *shm = t_open(s, "x.pv-shm");
    const sim_fault fault = {SIM_FAULT_FULL, SIM_WRITE, SIM_CLASS_LOG, 1, true};
    sim_fault_set(s, &fault);
    assert_int_equal(pv__vfs_write(v, db, 0, "x", 1, NULL), 0);
    assert_int_equal(pv__vfs_write(v, shm, 0, "x", 1, NULL), 0);
    assert_int_equal(pv__vfs_write(v, log, 0, "x", 1, NULL), PV_ERR_FULL);
    assert_int_equal(sim_calls(s, SIM_WRITE, SIM_CLASS_ANY), 3);
    assert_int_equal(sim_calls(s, SIM_WRITE, SIM_CLASS_SHM), 1);
    assert_int_equal(sim_calls(s, SIM_ANY, SIM_CLASS_DIR), 1);
    sim_calls_reset(s);
    assert_int_equal(sim_calls(s, SIM_ANY, SIM_CLASS_ANY), 0);
    sim_free(s);
}

static bool t_second_block_new(sim *s) { return t_byte(s, "a", 4096) == 'n'; }
static bool t_third_block_new(sim *s) { return t_byte(s, "a", 8192) == 'n'; }

static void test_sim__failed_sync_loses_what_the_cache_still_shows(void **state) {
    (void)state;
    pv_file *f = NULL;
    sim *s = t_disk(12288, &f);
    const sim_fault fault = {SIM_FAULT_IO, SIM_SYNC, SIM_CLASS_ANY, 1, false};
    t_write(s, f, 0, 'n', 12288);
    sim_fault_set(s, &fault);
    assert_int_equal(sim_vfs(s)->sync(sim_vfs(s), f, NULL), PV_ERR_IO);
    assert_true(t_a_is_new(s)); /* reads show it */
    t_sync(s, f);               /* says yes, and writes nothing */
    assert_int_equal(t_count(s, SIM_CUT_DROP_ALL, t_a_is_old), T_IMAGES);
    assert_in_range(t_count(s, SIM_CUT_SUBSET, t_a_is_new), 30, T_IMAGES - 30);
    t_write(s, f, 5000, 'n', 10); /* dirties its page again */
    t_sync(s, f);
    assert_int_equal(t_count_all(s, t_second_block_new), T_IMAGES * SIM_CUT_COUNT);
    assert_int_equal(t_count(s, SIM_CUT_DROP_ALL, t_a_is_old), T_IMAGES);
    assert_int_equal(t_count(s, SIM_CUT_DROP_ALL, t_third_block_new), 0);
    sim_free(s);
}

static void test_sim__short_calls_do_half(void **state) {
    (void)state;
    pv_file *f = NULL;
    sim *s = t_disk(100, &f);
    pv_vfs *v = sim_vfs(s);
    char data[100];
    pv_io io[2] = {{0, data, 10, 0}, {50, data, 20, 0}};
    const sim_fault write_fault = {SIM_FAULT_SHORT, SIM_WRITE, SIM_CLASS_ANY, 1, false};
    const sim_fault read_fault = {SIM_FAULT_SHORT, SIM_READ, SIM_CLASS_ANY, 1, false};
    memset(data, 'n', sizeof data);
    sim_fault_set(s, &write_fault);
    assert_int_equal(v->write(v, f, io, 2, NULL), PV_ERR_FULL);
    assert_int_equal(t_byte(s, "a", 9), 'n');
    assert_int_equal(t_byte(s, "a", 54), 'n');
    assert_int_equal(t_byte(s, "a", 55), 'o');
    sim_fault_set(s, &read_fault);
    assert_int_equal(v->read(v, f, io, 2, NULL), 0);
    assert_int_equal(io[0].done, 10);
    assert_int_equal(io[1].done, 10);
    assert_int_equal(data[10], 0);
    sim_free(s);
}

/* ---- sites and threads ----------------------------------------------------------------------- */

static const char *t_site(void *ctx, sim_kind kind, sim_class cls, const char *path) {
    (void)kind;
    (void)cls;
    (void)path;
    return *(const char **)ctx;
}

static void test_sim__calls_are_counted_by_site(void **state) {
    (void)state;
    const char *now = "commit";
    sim *s = sim_new(1);
    pv_file *f = t_open(s, "a");
    sim_site_hook(s, t_site, &now);
    t_sync(s, f);
    t_sync(s, f);
    now = "checkpoint";
    t_sync(s, f);
    uint64_t commits = 0;
    uint64_t checkpoints = 0;
    for (size_t i = 0; i < sim_site_count(s); i++) {
        const sim_site *site = sim_site_get(s, i);
        assert_non_null(site->caller);
        commits += strcmp(site->tag, "commit") == 0 ? site->calls : 0;
        checkpoints += strcmp(site->tag, "checkpoint") == 0 ? site->calls : 0;
    }
    assert_int_equal(commits, 2);
    assert_int_equal(checkpoints, 1);
    assert_string_equal(sim_op_site(s, sim_op_count(s) - 1)->tag, "checkpoint");
    const sim_op_info info = sim_op_get(s, 0);
    assert_int_equal(info.kind, SIM_CREATE);
    assert_string_equal(info.path, "a");
    assert_string_equal(sim_kind_name(info.kind), "create");
    assert_string_equal(sim_class_name(info.cls), "db");
    for (int i = 0; i < SIM_CUT_COUNT; i++) {
        assert_string_not_equal(sim_cut_name((sim_cut)i), "?");
    }
    sim_free(s);
}

static void *t_hammer(void *arg) {
    sim *s = arg;
    test_rng r;
    test_rng_init(&r, pv__thread_id());
    for (int i = 0; i < 200; i++) {
        t_random_op(s, &r);
        if (i % 20 == 0) {
            sim *image = sim_image(s, sim_op_count(s), (sim_cut)(i / 20), (uint64_t)i);
            t_random_op(image, &r);
            sim_free(image);
        }
    }
    return NULL;
}

static void test_sim__threads_may_share_it(void **state) {
    (void)state;
    sim *s = sim_new(1);
    pv__thread t[3];
    assert_int_equal(sim_vfs(s)->mkdir(sim_vfs(s), "d", NULL), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pv__thread_start(&t[i], t_hammer, s, NULL), 0);
    }
    for (int i = 0; i < 3; i++) {
        pv__thread_join(t[i]);
    }
    sim *image = sim_image(s, sim_op_count(s), SIM_CUT_KEEP_ALL, 0);
    assert_true(sim_image_hash(image) == sim_image_hash(s));
    sim_free(image);
    sim_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sim__nth_call_fails_once_or_for_good),
        cmocka_unit_test(test_sim__fault_of_a_class_leaves_others_alone),
        cmocka_unit_test(test_sim__failed_sync_loses_what_the_cache_still_shows),
        cmocka_unit_test(test_sim__short_calls_do_half),
        cmocka_unit_test(test_sim__calls_are_counted_by_site),
        cmocka_unit_test(test_sim__threads_may_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
