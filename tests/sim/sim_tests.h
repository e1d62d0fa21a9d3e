/* SPDX-License-Identifier: Apache-2.0 */
/* sim_tests.h - helpers of the simulator's own tests. */
#ifndef PV_SIM_TESTS_H
#define PV_SIM_TESTS_H

#include "support/test_support.h"

#include <stdio.h>
#include <stdlib.h>

#include "os/vfs.h"
#include "sim/sim_vfs.h"

enum { T_IMAGES = 300 };

static inline pv_file *t_open(sim *s, const char *path) {
    pv_file *f = NULL;
    pv_error err = PV_ERROR_INIT;
    test_assert_ok(sim_vfs(s)->open(sim_vfs(s), path, PV_VFS_OPEN_CREATE, &f, NULL, &err), &err);
    return f;
}

static inline void t_write(sim *s, pv_file *f, uint64_t offset, char fill, size_t n) {
    char *data = malloc(n);
    memset(data, fill, n);
    assert_int_equal(pv__vfs_write(sim_vfs(s), f, offset, data, n, NULL), 0);
    free(data);
}

static inline void t_sync(sim *s, pv_file *f) {
    assert_int_equal(sim_vfs(s)->sync(sim_vfs(s), f, NULL), 0);
}

static inline void t_sync_dir(sim *s, const char *path) {
    assert_int_equal(sim_vfs(s)->sync_dir(sim_vfs(s), path, NULL), 0);
}

/* A disk with a durable file "a" of n bytes 'o', open. */
static inline sim *t_disk(size_t n, pv_file **out_file) {
    sim *s = sim_new(1);
    *out_file = t_open(s, "a");
    if (n > 0) {
        t_write(s, *out_file, 0, 'o', n);
    }
    t_sync(s, *out_file);
    t_sync_dir(s, "");
    return s;
}

/* The file's bytes, -1 where it ends; 'size' is -1 when the file is missing. */
static inline int64_t t_size(sim *s, const char *path) {
    uint64_t size = 0;
    return sim_file_size(s, path, &size) ? (int64_t)size : -1;
}

static inline int t_byte(sim *s, const char *path, uint64_t offset) {
    uint8_t b = 0;
    return sim_file_peek(s, path, offset, &b, 1) ? b : -1;
}

/* Count the images of the whole log for which `holds`. */
typedef bool (*t_holds)(sim *image);

static inline int t_count(sim *s, sim_cut mode, t_holds holds) {
    int n = 0;
    for (uint64_t seed = 0; seed < T_IMAGES; seed++) {
        sim *image = sim_image(s, sim_op_count(s), mode, seed);
        n += holds(image);
        sim_free(image);
    }
    return n;
}

static inline int t_count_all(sim *s, t_holds holds) {
    int n = 0;
    for (int mode = 0; mode < SIM_CUT_COUNT; mode++) {
        n += t_count(s, (sim_cut)mode, holds);
    }
    return n;
}

static inline bool t_a_is_new(sim *s) { return t_byte(s, "a", 0) == 'n'; }
static inline bool t_a_is_old(sim *s) { return t_byte(s, "a", 0) == 'o'; }

/* Anything that changes the disk. */
static inline void t_random_op(sim *s, test_rng *r) {
    pv_vfs *v = sim_vfs(s);
    char name[16];
    char other[16];
    pv_file *f = NULL;
    (void)snprintf(name, sizeof name, "%s%d", test_rng_below(r, 2) ? "d/" : "",
                   (int)test_rng_below(r, 5));
    (void)snprintf(other, sizeof other, "%s%d", test_rng_below(r, 2) ? "d/" : "",
                   (int)test_rng_below(r, 5));
    const uint64_t what = test_rng_below(r, 12);
    if (what == 0) {
        (void)v->rename(v, name, other, NULL);
    } else if (what == 1) {
        (void)v->unlink(v, name, NULL);
    } else if (what == 2) {
        (void)v->sync_dir(v, test_rng_below(r, 2) ? "d" : "", NULL);
    } else if (v->open(v, name, PV_VFS_OPEN_CREATE, &f, NULL, NULL) == 0) {
        if (what < 8) {
            t_write(s, f, test_rng_below(r, 20000), (char)test_rng_below(r, 256),
                    1 + test_rng_below(r, 9000));
        } else if (what == 8) {
            assert_int_equal(v->truncate(v, f, test_rng_below(r, 20000), NULL), 0);
        } else if (what == 9) {
            assert_int_equal(
                v->allocate(v, f, test_rng_below(r, 20000), 1 + test_rng_below(r, 9000), NULL), 0);
        } else {
            t_sync(s, f);
        }
        assert_int_equal(v->close(v, f, NULL), 0);
    }
}

#endif
