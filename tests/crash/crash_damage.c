/* SPDX-License-Identifier: Apache-2.0 */
/* crash_damage.c - bytes that change behind the store's back: every slot of the database file and
 * every block of its log, with flipped bits, zeros, another block's bytes or its own older bytes.
 * A read gives what was written or PV_ERR_CORRUPT that names the page; the deep check finds the
 * damage unless nobody refers to the slot; damage in the log is reported, or right is what is
 * served, or it is the very last batch that is missing (S6). */
#include <stdio.h>
#include <stdlib.h>

#include "base/checksum.h"
#include "crash/crash_kit.h"
#include "sim/sim_content.h"

enum { T_FLIP, T_ZERO, T_SWAP, T_OLD, T_KINDS };
static const char *const t_kind_names[] = {"flip", "zero", "swap", "old"};

static pv__mem t_mem;
static crash_run t_run;
static size_t t_old_ops; /* the disk as it was then is the source of old blocks */

typedef struct damage_tally {
    uint64_t images, refused, corrupt, right, cut;
} damage_tally;

/* A database with two checkpoints, references in the log, id reuse; closed or left with a log. */
static void damage_world(bool closed, uint64_t cache_bytes, uint64_t seed) {
    static const crash_plan small_plan = {.name = "damage",
                                          .pages = 30,
                                          .segment_bytes = 32u << 10,
                                          .slots_max = 16,
                                          .changes = 10,
                                          .changes_big = 30};
    static crash_plan plan;
    plan = small_plan;
    plan.cache_bytes = cache_bytes;
    crash_run_init(&t_run, &plan, seed, sim_new(seed), &t_mem);
    assert_int_equal(crash_open(&t_run), 0);
    for (int i = 0; i < 14; i++) {
        assert_int_equal(crash_commit(&t_run, i % 5 == 3 ? 30 : 6, 0), 0);
        if (i == 4 || i == 8) {
            assert_int_equal(crash_checkpoint(&t_run), 0);
            t_old_ops = i == 4 ? sim_op_count(t_run.disk) : t_old_ops;
        }
    }
    if (closed) {
        assert_int_equal(crash_close(&t_run), 0);
    } else {
        crash_kill(&t_run);
    }
    assert_string_equal(t_run.wrong, "");
}

/* Change one 4 KiB block. False: it would be as before. */
static bool damage_block(sim *image, sim *old, const char *path, uint64_t block, uint64_t blocks,
                         int kind, test_rng *r) {
    uint8_t was[PV__SLOT_SIZE], now[PV__SLOT_SIZE];
    const uint64_t at = block * PV__SLOT_SIZE;
    memset(was, 0, sizeof was);
    if (!sim_file_peek(image, path, at, was, sizeof was)) {
        return false;
    }
    memcpy(now, was, sizeof now);
    if (kind == T_FLIP) {
        now[test_rng_below(r, test_rng_below(r, 2) ? sizeof now : 256)] ^=
            (uint8_t)(1u << test_rng_below(r, 8));
    } else if (kind == T_ZERO) {
        memset(now, 0, sizeof now);
    } else if (kind == T_SWAP) {
        (void)sim_file_peek(image, path, test_rng_below(r, blocks) * PV__SLOT_SIZE, now,
                            sizeof now);
    } else if (!old || !sim_file_peek(old, path, at, now, sizeof now)) {
        return false;
    }
    (void)sim_file_poke(image, path, at, now, sizeof now);
    return memcmp(was, now, sizeof now) != 0;
}

/* Reads of all pages of the last commit: how many are refused; wrong ones fail the test. */
static uint64_t damage_read_all(pv__store *s, const kit_state *want, const char *where) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint64_t corrupt = 0, commits = 0;
    test_assert_ok(pv__txn_begin(s, 0, &t, &err), &err);
    const int rc = pv__store_root_get(t, 0, &commits, &err);
    if (rc) {
        test_assert_rc(rc, PV_ERR_CORRUPT, &err);
        corrupt++;
    } else if (commits != want->commits) {
        fail_msg("%s: shows commit %llu", where, (unsigned long long)commits);
    }
    for (size_t i = 0; i < KIT_PAGES_MAX; i++) {
        const kit_page *p = &want->pages[i];
        const uint8_t *page = NULL;
        if (p->id == 0) {
            continue;
        }
        const int code = pv__page_read(t, p->id, PV__PAGE_ANY, &page, &err);
        if (code) {
            test_assert_rc(code, PV_ERR_CORRUPT, &err);
            if (!strstr(err.message, "page")) {
                fail_msg("%s: the message names no page: %s", where, err.message);
            }
            corrupt++;
        } else if (!kit_is(page, pv__page_size(page), p->seed)) {
            fail_msg("%s: wrong bytes of page %llu", where, (unsigned long long)p->id);
        }
        test_assert_ok(pv__txn_pause(t, &err), &err);
    }
    pv__txn_rollback(t);
    return corrupt;
}

/* Open one damaged image and look at everything. Returns the findings of the check; UINT64_MAX:
 * it was refused. */
static uint64_t damage_look(sim *image, const kit_state *want, const char *where,
                            damage_tally *tally) {
    pv_error err = PV_ERROR_INIT;
    pv__store_opts o = t_run.opts;
    pv__store *s = NULL;
    uint64_t bad = 0;
    o.vfs = sim_vfs(image);
    tally->images++;
    const int rc = pv__store_open(&o, &s, &err);
    if (rc) {
        if (rc != PV_ERR_CORRUPT && rc != PV_ERR_FORMAT && rc != PV_ERR_LOG_MISSING) {
            fail_msg("%s: open gives %d: %s", where, rc, err.message);
        }
        tally->refused++;
        return UINT64_MAX;
    }
    const uint64_t corrupt = damage_read_all(s, want, where);
    tally->corrupt += corrupt != 0;
    tally->right += corrupt == 0;
    test_assert_ok(pv__store_check(s, true, NULL, NULL, &bad, &err), &err);
    if (corrupt && !bad) {
        fail_msg("%s: reads are refused, yet the check finds nothing", where);
    }
    (void)pv__store_close(s, &err); /* any code, but no crash and no leak */
    assert_int_equal(atomic_load(&t_mem.bytes_used), 0);
    return bad;
}

static void damage_file(bool closed) {
    damage_tally tally;
    test_rng r;
    uint64_t size = 0, unused = 0;
    char where[120];
    memset(&tally, 0, sizeof tally);
    test_mem_init(&t_mem);
    test_rng_init(&r, test_seed());
    damage_world(closed, 192u << 10, 7 + closed);
    sim *old = sim_image(t_run.disk, t_old_ops, SIM_CUT_KEEP_ALL, 1);
    assert_true(sim_file_size(t_run.disk, "a.pv", &size));
    const uint64_t slots = size / PV__SLOT_SIZE;
    for (uint64_t slot = 0; slot < slots; slot++) {
        const bool super = slot < 2 || slot - PV__SUPER_MIRROR < 2;
        uint64_t zeroed = 0;
        for (int k = 0; k < T_KINDS + 2; k++) {
            const int kind = k < T_KINDS ? (k + T_ZERO) % T_KINDS : T_FLIP; /* zeros first */
            sim *image =
                sim_image(t_run.disk, sim_op_count(t_run.disk), SIM_CUT_KEEP_ALL, slot * 8 + k);
            (void)snprintf(where, sizeof where, "slot %llu of %llu, %s", (unsigned long long)slot,
                           (unsigned long long)slots, t_kind_names[kind]);
            if (damage_block(image, old, "a.pv", slot, slots, kind, &r)) {
                const uint64_t bad = damage_look(image, &t_run.w.now, where, &tally);
                if (super && (bad == UINT64_MAX || tally.corrupt + tally.refused > 1000000)) {
                    fail_msg("%s: one copy of a superblock should not matter", where);
                }
                if (kind == T_ZERO) {
                    zeroed = bad;
                } else if (!super && zeroed && !bad) {
                    fail_msg("%s: the check finds nothing, though the slot is in use", where);
                }
                unused += kind == T_ZERO && bad == 0;
            }
            sim_free(image);
        }
    }
    printf("%s: %llu slots (%llu unused), %llu damaged images: %llu refused at open, %llu with "
           "refused reads, %llu right\n",
           closed ? "closed" : "with a log", (unsigned long long)slots, (unsigned long long)unused,
           (unsigned long long)tally.images, (unsigned long long)tally.refused,
           (unsigned long long)tally.corrupt, (unsigned long long)tally.right);
    sim_free(old);
    crash_run_done(&t_run);
    test_mem_done(&t_mem);
}

static void test_damage__of_a_closed_database_is_found(void **state) {
    (void)state;
    damage_file(true);
}

static void test_damage__of_a_database_with_a_log_is_found(void **state) {
    (void)state;
    damage_file(false);
}

/* ---- the log --------------------------------------------------------------------------------- */

typedef struct damage_names {
    char path[64][64];
    uint64_t size[64];
    size_t count;
} damage_names;

static void damage_list(void *arg, const char *path, uint64_t size) {
    damage_names *n = arg;
    if (strstr(path, ".pvw") && n->count < PV_COUNTOF(n->path)) {
        (void)snprintf(n->path[n->count], sizeof n->path[0], "%s", path);
        n->size[n->count++] = size;
    }
}

/* The last record written: where the last batch begins. */
static sim_op_info damage_last_record(void) {
    for (size_t i = sim_op_count(t_run.disk); i-- > 0;) {
        const sim_op_info op = sim_op_get(t_run.disk, i);
        if (op.kind == SIM_WRITE && op.cls == SIM_CLASS_LOG && op.size == PV__REC_HEAD) {
            return op;
        }
    }
    fail_msg("no record was written");
    return sim_op_get(t_run.disk, 0);
}

static void damage_log_at(const char *path, uint64_t offset, int kind, bool last, test_rng *r,
                          damage_tally *tally) {
    uint8_t bytes[512];
    pv_error err = PV_ERROR_INIT;
    pv__store *s = NULL;
    pv__store_opts o = t_run.opts;
    char why[200], where[160];
    const kit_state *newest = &t_run.entries[t_run.count - 1].state;
    const kit_state *before = &t_run.entries[t_run.count - 2].state;
    sim *image = sim_image(t_run.disk, sim_op_count(t_run.disk), SIM_CUT_KEEP_ALL, offset);
    (void)snprintf(where, sizeof where, "%s at %llu, %s", path, (unsigned long long)offset,
                   t_kind_names[kind]);
    assert_true(sim_file_peek(image, path, offset, bytes, sizeof bytes));
    if (kind == T_ZERO) {
        memset(bytes, 0, sizeof bytes);
    } else {
        bytes[test_rng_below(r, sizeof bytes)] ^= (uint8_t)(1u << test_rng_below(r, 8));
    }
    (void)sim_file_poke(image, path, offset, bytes, sizeof bytes);
    o.vfs = sim_vfs(image);
    tally->images++;
    const int rc = pv__store_open(&o, &s, &err);
    if (rc) {
        if (rc != PV_ERR_CORRUPT && rc != PV_ERR_FORMAT && rc != PV_ERR_LOG_MISSING) {
            fail_msg("%s: open gives %d: %s", where, rc, err.message);
        }
        tally->refused++;
    } else if (kit_matches(s, newest, why)) {
        tally->right++;
    } else if (last && kit_matches(s, before, why)) {
        tally->cut++;
    } else {
        fail_msg("%s: neither refused nor right: %s", where, why);
    }
    if (s && pv__store_close(s, &err)) {
        fail_msg("%s: close: %s", where, err.message);
    }
    sim_free(image);
}

static void test_damage__of_the_log_is_never_cut_silently(void **state) {
    (void)state;
    damage_tally tally;
    damage_names names;
    test_rng r;
    memset(&tally, 0, sizeof tally);
    memset(&names, 0, sizeof names);
    test_mem_init(&t_mem);
    test_rng_init(&r, test_seed());
    damage_world(false, 64u << 20, 9);
    sim_file_each(t_run.disk, damage_list, &names);
    const sim_op_info tail = damage_last_record();
    const uint64_t step = crash_env("PV_DAMAGE_STEP", 512, 2048);
    for (size_t f = 0; f < names.count; f++) {
        for (uint64_t at = 0; at + 512 <= names.size[f]; at += step) {
            const bool last = strcmp(names.path[f], tail.path) == 0 && at + 512 > tail.offset;
            damage_log_at(names.path[f], at, T_FLIP, last, &r, &tally);
            damage_log_at(names.path[f], at, T_ZERO, last, &r, &tally);
        }
    }
    printf("%zu segments, %llu damaged images: %llu refused, %llu right, %llu without the last "
           "batch\n",
           names.count, (unsigned long long)tally.images, (unsigned long long)tally.refused,
           (unsigned long long)tally.right, (unsigned long long)tally.cut);
    assert_true(tally.refused > 0 && tally.right > 0 && tally.cut > 0);
    crash_run_done(&t_run);
    test_mem_done(&t_mem);
}

/* ---- the fallback ---------------------------------------------------------------------------- */

typedef struct damage_hunt {
    crash_run *run;
    uint64_t images;
} damage_hunt;

static int damage_judge(void *arg, sim *image, size_t upto, sim_cut mode, uint64_t seed) {
    damage_hunt *h = arg;
    size_t entry = 0;
    h->images++;
    if (!crash_judge(h->run, image, upto, seed | 1, &entry, NULL)) {
        crash_print(h->run, upto);
        fail_msg("cut %s after %zu: %s", sim_cut_name(mode), upto, h->run->wrong);
    }
    return 0;
}

/* The newest root cannot be read: the one before and its log serve instead, and power cuts while
 * the next checkpoint replaces the damaged one harm nothing. */
static void test_damage__of_the_newest_root_falls_back_to_the_one_before(void **state) {
    (void)state;
    static crash_run next;
    uint8_t block[PV__SLOT_SIZE];
    uint64_t newest = 0, slot = 0;
    test_mem_init(&t_mem);
    damage_world(false, 192u << 10, 11);
    for (uint64_t copy = 0; copy < 2; copy++) {
        assert_true(sim_file_peek(t_run.disk, "a.pv", copy * PV__SLOT_SIZE, block, sizeof block));
        if (pv__get64(block + PV__SUPER_SEQUENCE) > newest) {
            newest = pv__get64(block + PV__SUPER_SEQUENCE);
            slot = pv__pte_get(block + PV__SUPER_ROOT).slot;
        }
    }
    sim *disk = sim_image(t_run.disk, sim_op_count(t_run.disk), SIM_CUT_KEEP_ALL, 1);
    memset(block, 0, sizeof block);
    assert_true(sim_file_poke(disk, "a.pv", slot * PV__SLOT_SIZE, block, sizeof block));
    crash_run_init(&next, t_run.plan, 1, disk, &t_mem);
    next.entries[0] = t_run.entries[t_run.count - 1];
    next.entries[0].begun = next.entries[0].acked = 0;
    assert_int_equal(crash_open(&next), 0);
    assert_string_equal(next.wrong, "");
    assert_int_equal(crash_commit(&next, 5, 0), 0);
    assert_int_equal(crash_checkpoint(&next), 0);
    assert_int_equal(crash_commit(&next, 5, 0), 0);
    assert_int_equal(crash_checkpoint(&next), 0);
    crash_kill(&next);
    damage_hunt hunt = {&next, 0};
    (void)sim_each_cut(disk, 1, sim_op_count(disk), 1, 1, damage_judge, &hunt, NULL);
    printf("%llu images after the fallback\n", (unsigned long long)hunt.images);
    crash_run_done(&next);
    crash_run_done(&t_run);
    test_mem_done(&t_mem);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damage__of_a_closed_database_is_found),
        cmocka_unit_test(test_damage__of_a_database_with_a_log_is_found),
        cmocka_unit_test(test_damage__of_the_log_is_never_cut_silently),
        cmocka_unit_test(test_damage__of_the_newest_root_falls_back_to_the_one_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
