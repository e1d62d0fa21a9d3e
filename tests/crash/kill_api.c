/* SPDX-License-Identifier: Apache-2.0 */
/* kill_api.c - kill -9 of a process that writes through pv.h to a real file.
 *
 *      child:  open, find the last batch n, then n + 1, n + 2, ...: one transaction each, and after
 *              its commit the number goes into a pipe
 *      parent: reads some numbers, kills, drains the pipe, opens the file itself
 *
 * What the collections hold after batch n is a function of n alone: rows of the newest batches, a
 * few rows that every batch writes again, and a collection that some batches drop. The parent
 * finds n in the file: it is the last number reported or the one after it, and every byte is that
 * of batch n. A hundred rounds on one file; the child goes on where the one before it died.
 *
 * PV_KILL_ROUNDS: other than 100 (with sanitizers 20; with PV_SOAK 1,000).
 * PV_SEED: when the kills come. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash/crash_kit.h"
#include "unit/test_api_kit.h"

enum { T_DIMS = 48, T_ROWS = 12, T_HOT = 5, T_LIVE = 6, T_DROP_EVERY = 10 };

/* ---- batch n ---- */

static float t_element(uint64_t n, uint32_t row, uint32_t i) {
    const uint64_t h = (n * 1000003u + row * 8191u + i) * UINT64_C(0x9E3779B97F4A7C15);
    return (float)(h >> 40) / 4096.0f - 2048.0f;
}

static void t_vector(uint64_t n, uint32_t row, float out[T_DIMS]) {
    for (uint32_t i = 0; i < T_DIMS; i++) {
        out[i] = t_element(n, row, i);
    }
}

/* Some rows carry a text that does not fit into a node of a tree. */
static size_t t_text(uint64_t n, uint32_t row, char out[8192]) {
    const size_t filler = row == 3 ? 3000 + n % 4000 : row * 7;
    size_t at = (size_t)sprintf(out, "{\"n\":%" PRIu64 ",\"row\":%u,\"text\":\"", n, (unsigned)row);
    memset(out + at, 'a' + (int)(n % 26), filler);
    at += filler;
    return at + (size_t)sprintf(out + at, "\"}");
}

static uint64_t t_key(uint64_t n, uint32_t row) { return n * T_ROWS + row + 1000; }

/* ---- child ---- */

static int t_put_row(pv_db *db, pv_txn *txn, uint64_t id, uint64_t n, uint32_t row, pv_error *err) {
    float vector[T_DIMS];
    char text[8192];
    t_vector(n, row, vector);
    t_text(n, row, text);
    const pv_record r = t_record_u64(id, vector, T_DIMS, text);
    return pv_upsert(db, txn, "rows", &r, 1, NULL, err);
}

static int t_write_rest(pv_db *db, pv_txn *txn, uint64_t n, pv_error *err) {
    pv_collection_opts o = PV_COLLECTION_OPTS_INIT;
    uint64_t ids[T_ROWS], deleted = 0;
    pv_ids gone = PV_IDS_INIT;
    int rc = 0;
    for (uint32_t row = 0; row < T_HOT && rc == 0; row++) {
        rc = t_put_row(db, txn, row, n, row + 100, err);
    }
    if (rc == 0 && n > T_LIVE) {
        for (uint32_t row = 0; row < T_ROWS; row++) {
            ids[row] = t_key(n - T_LIVE, row);
        }
        gone.count = T_ROWS;
        gone.ids_u64 = ids;
        rc = pv_delete_many(db, txn, "rows", &gone, &deleted, err);
    }
    if (rc == 0 && n % T_DROP_EVERY == 0) {
        o.dims = 1 + (uint32_t)(n / T_DROP_EVERY % 50);
        rc = n > T_DROP_EVERY ? pv_collection_drop(db, txn, "now", err) : 0;
        rc = rc ? rc : pv_collection_create(db, txn, "now", &o, err);
    }
    return rc;
}

static int t_write_batch(pv_db *db, uint64_t n, pv_error *err) {
    static float vectors[T_ROWS][T_DIMS];
    static char texts[T_ROWS][8192];
    const char *metadata[T_ROWS];
    uint64_t ids[T_ROWS];
    pv_batch b = PV_BATCH_INIT;
    pv_txn *txn = NULL;
    for (uint32_t row = 0; row < T_ROWS; row++) {
        t_vector(n, row, vectors[row]);
        t_text(n, row, texts[row]);
        metadata[row] = texts[row];
        ids[row] = t_key(n, row);
    }
    b.count = T_ROWS;
    b.vectors = vectors;
    b.dims = T_DIMS;
    b.ids_u64 = ids;
    b.metadata = metadata;
    int rc = pv_txn_begin(db, PV_TXN_WRITE, &txn, err);
    rc = rc ? rc : pv_upsert_batch(db, txn, "rows", &b, NULL, err);
    rc = rc ? rc : t_write_rest(db, txn, n, err);
    if (rc != 0) {
        pv_txn_rollback(txn);
        return rc;
    }
    return pv_txn_commit(txn, NULL, err);
}

/* The newest batch in the file: what the rows that every batch writes say. */
static int t_newest(pv_db *db, uint64_t *out_n, pv_error *err) {
    pv_results *res = NULL;
    const int rc = pv_get_u64(db, NULL, "rows", 0, &res, err);
    *out_n = 0;
    if (rc == 0) {
        const char *text = pv_results_metadata(res, 0, NULL);
        *out_n = strtoull(text + strlen("{\"n\":"), NULL, 10);
    }
    pv_results_free(res);
    return rc == PV_ERR_NOTFOUND ? 0 : rc;
}

static int t_open_rows(const char *path, pv_db **out, pv_error *err) {
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    pv_collection_opts c = PV_COLLECTION_OPTS_INIT;
    o.checkpoint_bytes = 512u << 10; /* some of the kills come in a checkpoint */
    c.dims = T_DIMS;
    c.metric = PV_METRIC_L2;
    c.key = PV_KEY_U64;
    const int rc = pv_open(path, &o, out, err);
    return rc ? rc : pv_collection_ensure(*out, NULL, "rows", &c, err);
}

/* Never returns; ends only by the kill, or with a message. */
static void t_child(const char *path, int to_parent) {
    pv_error err = PV_ERROR_INIT;
    pv_db *db = NULL;
    uint64_t n = 0;
    int rc = t_open_rows(path, &db, &err);
    rc = rc ? rc : t_newest(db, &n, &err);
    while (rc == 0) {
        rc = t_write_batch(db, ++n, &err);
        if (rc == 0 && write(to_parent, &n, sizeof(n)) != (ssize_t)sizeof(n)) {
            break;
        }
    }
    fprintf(stderr, "child at batch %" PRIu64 ": %s\n", n, rc ? err.message : "pipe");
    _exit(3);
}

/* ---- parent ---- */

static bool t_read_number(int from, uint64_t *out) {
    size_t got = 0;
    while (got < sizeof(*out)) {
        const ssize_t n = read(from, (char *)out + got, sizeof(*out) - got);
        if (n <= 0 && !(n < 0 && errno == EINTR)) {
            return false;
        }
        got += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* Let a child work and kill it. Returns the last number that it reported, at least `last`. */
static uint64_t t_round(const char *path, test_rng *r, uint64_t last) {
    int fds[2], status = 0;
    uint64_t n = last;
    assert_int_equal(pipe(fds), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(fds[0]);
        t_child(path, fds[1]);
    }
    (void)close(fds[1]);
    /* Now and then at once: the child then dies while it recovers. */
    const uint64_t batches = test_rng_below(r, 8) ? 1 + test_rng_below(r, 25) : 0;
    bool alive = true;
    for (uint64_t i = 0; i < batches && alive; i++) {
        alive = t_read_number(fds[0], &n);
    }
    volatile uint64_t spin = test_rng_below(r, batches ? 3000000 : 10000000);
    while (spin > 0) {
        spin--;
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    while (t_read_number(fds[0], &n)) {
    }
    (void)close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return n;
}

static void t_expect_row(const pv_iter *it, uint64_t id, uint64_t n, uint32_t row) {
    float vector[T_DIMS];
    char text[8192];
    size_t len = 0;
    uint32_t dims = 0;
    const char *metadata = pv_iter_metadata(it, &len);
    const void *got = pv_iter_vector(it, &dims);
    t_vector(n, row, vector);
    assert_int_equal(pv_iter_id_u64(it), id);
    assert_int_equal(len, t_text(n, row, text));
    test_assert_same_bytes(metadata, text, len);
    assert_int_equal(dims, T_DIMS);
    test_assert_same_bytes(got, vector, sizeof(vector));
}

/* Every byte is that of batch n. */
static void t_expect_batch(t_api *t, uint64_t n) {
    pv_iter_opts o = PV_ITER_OPTS_INIT;
    pv_iter *it = NULL;
    const uint64_t first = n > T_LIVE ? n - T_LIVE + 1 : 1;
    o.include = PV_INCLUDE_METADATA | PV_INCLUDE_VECTOR;
    test_assert_ok(pv_iter_open(t->db, NULL, "rows", &o, &it, &t->err), &t->err);
    for (uint32_t row = 0; row < T_HOT && n > 0; row++) {
        assert_int_equal(pv_iter_next(it, &t->err), 1);
        t_expect_row(it, row, n, row + 100);
    }
    for (uint64_t batch = first; batch <= n; batch++) {
        for (uint32_t row = 0; row < T_ROWS; row++) {
            assert_int_equal(pv_iter_next(it, &t->err), 1);
            t_expect_row(it, t_key(batch, row), batch, row);
        }
    }
    assert_int_equal(pv_iter_next(it, &t->err), 0);
    pv_iter_close(it);
    assert_int_equal(t_count(t, NULL, "rows", NULL), n ? T_HOT + T_ROWS * (n - first + 1) : 0);
    pv_collection_info info = PV_COLLECTION_INFO_INIT;
    const int rc = pv_collection_info_get(t->db, NULL, "now", &info, &t->err);
    test_assert_rc(rc, n < T_DROP_EVERY ? PV_ERR_NOTFOUND : 0, &t->err);
    assert_int_equal(info.dims, n < T_DROP_EVERY ? 0 : 1 + n / T_DROP_EVERY % 50);
    /* And the newest row is what a search for it finds. */
    if (n > 0) {
        float vector[T_DIMS];
        char want[32];
        t_vector(n, 7, vector);
        snprintf(want, sizeof(want), "%" PRIu64, t_key(n, 7));
        t_expect_search(t, NULL, "rows", t_query(vector, T_DIMS, 1), want);
    }
}

static void test_kill_api__acknowledged_batches_are_whole(void **state) {
    const uint64_t rounds = crash_env("PV_KILL_ROUNDS", getenv("PV_SOAK") ? 1000 : 100, 20);
    uint64_t last = 0, unreported = 0;
    test_rng r;
    t_api t;
    (void)state;
    memset(&t, 0, sizeof(t));
    t.err = (pv_error)PV_ERROR_INIT;
    test_rng_init(&r, test_seed());
    test_dir_init(&t.dir);
    test_dir_file(&t.dir, "k.pv", t.path, sizeof(t.path));
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t n = 0;
        const uint64_t reported = t_round(t.path, &r, last);
        test_assert_ok(t_open_rows(t.path, &t.db, &t.err), &t.err);
        test_assert_ok(t_newest(t.db, &n, &t.err), &t.err);
        if (n != reported && n != reported + 1) {
            fail_msg("round %" PRIu64 ": batch %" PRIu64 " was reported, the file has %" PRIu64,
                     round, reported, n);
        }
        unreported += n != reported;
        t_expect_batch(&t, n);
        t_expect_sound(&t);
        t_api_shut(&t);
        last = n;
    }
    fprintf(stderr,
            "%" PRIu64 " kills, %" PRIu64 " batches, %" PRIu64 " times one that was not reported\n",
            rounds, last, unreported);
    t_api_done(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_api__acknowledged_batches_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
