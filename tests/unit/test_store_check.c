/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_check.c - what pv__store_check says of files whose parts are whole, or not: copies of
 * the superblock, nodes of the page table, entries that contradict each other. Entries are changed
 * in the file, and everything above them is sealed again, so that no checksum tells. */
#include "test_store_mutants_kit.h"

typedef struct t_list {
    uint64_t count;
    char text[4000];
} t_list;

static void t_note(void *ctx, uint64_t page_id, uint32_t owner, const char *what) {
    t_list *l = ctx;
    const size_t len = strlen(l->text);
    l->count++;
    (void)snprintf(l->text + len, sizeof l->text - len, "page %llu of %u: %s\n",
                   (unsigned long long)page_id, (unsigned)owner, what);
}

static t_list t_check(bool deep) {
    static t_list l;
    pv_error err = PV_ERROR_INIT;
    uint64_t bad = 0;
    memset(&l, 0, sizeof l);
    test_assert_ok(pv__store_check(t_w.store, deep, t_note, &l, &bad, &err), &err);
    assert_int_equal(bad, l.count);
    return l;
}

static void t_expect(bool deep, uint64_t count, const char *words) {
    const t_list l = t_check(deep);
    if (l.count != count || (words && !strstr(l.text, words))) {
        fail_msg("wanted %llu findings, one with '%s'; got %llu:\n%s", (unsigned long long)count,
                 words ? words : "", (unsigned long long)l.count, l.text);
    }
}

/* A closed database of two commits, the second of which changed everything. */
static sim *t_made(unsigned pages) {
    t_begin(3, pages, 1);
    sim *s = sim_new(1);
    t_open(t_opts(sim_vfs(s)));
    t_commit(4 * pages, 0);
    t_close();
    t_open(t_opts(sim_vfs(s)));
    t_commit(4 * pages, 0);
    t_close();
    return s;
}

static void t_opened(sim *s) { t_open(t_opts(sim_vfs(s))); }

static void t_finished(sim *s) {
    pv_error err = PV_ERROR_INIT;
    (void)pv__store_close(t_w.store, &err); /* any code: the file is damaged */
    t_w.store = NULL;
    sim_free(s);
}

static void t_peek(sim *s, uint64_t slot, uint8_t out[PV__SLOT_SIZE]) {
    assert_true(sim_file_peek(s, "a.pv", slot * PV__SLOT_SIZE, out, PV__SLOT_SIZE));
}

static void t_poke(sim *s, uint64_t slot, const uint8_t bytes[PV__SLOT_SIZE]) {
    assert_true(sim_file_poke(s, "a.pv", slot * PV__SLOT_SIZE, bytes, PV__SLOT_SIZE));
}

/* ---- superblocks ----------------------------------------------------------------------------- */

static void test_store_check__names_each_copy_of_the_superblock(void **state) {
    (void)state;
    sim *s = t_made(10);
    uint8_t block[PV__SLOT_SIZE], old[PV__SLOT_SIZE];
    char words[64];
    for (uint64_t i = 0; i < PV__SUPER_COPIES; i++) {
        const uint64_t slot = i % 2 + i / 2 * PV__SUPER_MIRROR;
        (void)snprintf(words, sizeof words, "the superblock in slot %llu is damaged",
                       (unsigned long long)slot);
        sim *image = sim_image(s, sim_op_count(s), SIM_CUT_KEEP_ALL, 1);
        t_peek(image, slot, block);
        block[3000] ^= 4;
        t_poke(image, slot, block);
        t_opened(image);
        t_expect(false, 1, words);
        t_finished(image);
        /* A copy of earlier is whole, but not what its twin says. */
        image = sim_image(s, sim_op_count(s), SIM_CUT_KEEP_ALL, 1);
        sim *before = sim_image(s, sim_op_count(s) / 2, SIM_CUT_KEEP_ALL, 1);
        t_peek(before, slot, old);
        t_poke(image, slot, old);
        t_opened(image);
        t_expect(false, 1, words);
        t_finished(image);
        sim_free(before);
    }
    sim_free(s);
    test_mem_done(&t_mem);
}

static void test_store_check__sees_superblocks_change_under_an_open_handle(void **state) {
    (void)state;
    sim *s = t_made(10);
    uint8_t block[PV__SLOT_SIZE];
    t_opened(s);
    t_expect(true, 0, NULL);
    for (uint64_t i = 0; i < PV__SUPER_COPIES; i++) { /* as if another had gone on */
        const uint64_t slot = i % 2 + i / 2 * PV__SUPER_MIRROR;
        t_peek(s, slot, block);
        pv__put64(block + PV__SUPER_SEQUENCE, pv__get64(block + PV__SUPER_SEQUENCE) + 2);
        pv__put64(block + PV__SUPER_CHECKSUM, pv__hash64(block, PV__SUPER_CHECKSUM, 0));
        t_poke(s, slot, block);
    }
    t_expect(false, 1, "the newest superblock is not the one in use");
    memset(block, 0, sizeof block);
    for (uint64_t i = 0; i < PV__SUPER_COPIES; i++) {
        t_poke(s, i % 2 + i / 2 * PV__SUPER_MIRROR, block);
    }
    t_expect(false, 1, "is not a Piramid database");
    t_finished(s);
    test_mem_done(&t_mem);
}

/* ---- the page table -------------------------------------------------------------------------- */

/* The root node, and the superblocks that vouch for it after a close. */
static uint64_t t_root(sim *s, uint8_t node[PV__SLOT_SIZE], uint32_t *out_height) {
    uint8_t super[PV__SLOT_SIZE];
    t_peek(s, 0, super);
    const pv__pte root = pv__pte_get(super + PV__SUPER_ROOT);
    *out_height = pv__get32(super + PV__SUPER_HEIGHT);
    t_peek(s, root.slot, node);
    return root.slot;
}

static void t_seal_root(sim *s, const uint8_t node[PV__SLOT_SIZE]) {
    uint8_t super[PV__SLOT_SIZE];
    for (uint64_t i = 0; i < PV__SUPER_COPIES; i++) {
        const uint64_t slot = i % 2 + i / 2 * PV__SUPER_MIRROR;
        t_peek(s, slot, super);
        pv__pte root = pv__pte_get(super + PV__SUPER_ROOT);
        root.checksum =
            pv__hash64(node, PV__SLOT_SIZE,
                       pv__mix64(pv__get64(node + PV__HEAD_UUID) ^ pv__mix64(pv__page_id(node))));
        pv__pte_put(super + PV__SUPER_ROOT, &root);
        pv__put64(super + PV__SUPER_CHECKSUM, pv__hash64(super, PV__SUPER_CHECKSUM, 0));
        t_poke(s, slot, super);
        t_poke(s, root.slot, node);
    }
}

static uint8_t *t_entry(uint8_t node[PV__SLOT_SIZE], uint64_t i) {
    return node + PV__PAGE_HEAD + i * PV__PTE_SIZE;
}

static void t_change_entry(sim *s, uint64_t id, void (*change)(pv__pte *e, const pv__pte *other)) {
    uint8_t node[PV__SLOT_SIZE];
    uint32_t height = 0;
    (void)t_root(s, node, &height);
    assert_int_equal(height, 1);
    pv__pte e = pv__pte_get(t_entry(node, id));
    const pv__pte other = pv__pte_get(t_entry(node, id + 1));
    assert_true(e.slots && other.slots);
    change(&e, &other);
    pv__pte_put(t_entry(node, id), &e);
    t_seal_root(s, node);
}

static void t_far(pv__pte *e, const pv__pte *other) {
    (void)other;
    e->slot = 1u << 30;
}
static void t_shared(pv__pte *e, const pv__pte *other) { e->slot = other->slot; }
static void t_too_large(pv__pte *e, const pv__pte *other) {
    (void)other;
    e->slots = e->raw_slots = 65;
}
static void t_of_old(pv__pte *e, const pv__pte *other) {
    (void)other;
    e->checksum++;
}

static void test_store_check__finds_entries_that_cannot_be(void **state) {
    (void)state;
    static const struct {
        void (*change)(pv__pte *e, const pv__pte *other);
        bool deep;
        uint64_t count;
        const char *words;
    } cases[] = {
        {t_far, false, 1, "page 3 of 0: lies beyond the end of the file"},
        {t_shared, false, 1, "page 4 of 0: shares a slot with another page"},
        {t_shared, true, 2, "page 3 of 0: page 3 is damaged"},
        {t_too_large, true, 1, "page 3 of 0: "},
        {t_of_old, true, 1, "page 3 of 7: page 3 (object 7, part "},
    };
    sim *s = t_made(10);
    for (size_t i = 0; i < PV_COUNTOF(cases); i++) {
        sim *image = sim_image(s, sim_op_count(s), SIM_CUT_KEEP_ALL, 1);
        t_change_entry(image, 3, cases[i].change);
        t_opened(image);
        const t_list l = t_check(cases[i].deep);
        if (l.count < cases[i].count || !strstr(l.text, cases[i].words)) {
            fail_msg("case %zu, %llu findings:\n%s", i, (unsigned long long)l.count, l.text);
        }
        t_finished(image);
    }
    sim_free(s);
    test_mem_done(&t_mem);
}

/* A node that cannot be read hides the pages below it, and no others. */
static void test_store_check__goes_on_behind_a_damaged_node(void **state) {
    (void)state;
    sim *s = t_made(240);
    uint8_t root[PV__SLOT_SIZE], block[PV__SLOT_SIZE];
    uint32_t height = 0;
    (void)t_root(s, root, &height);
    assert_int_equal(height, 2);
    const pv__pte second = pv__pte_get(t_entry(root, 1)), first = pv__pte_get(t_entry(root, 0));
    t_peek(s, second.slot, block);
    unsigned at = 0;
    while (pv__pte_get(t_entry(block, at)).slots == 0) {
        at++;
    }
    const pv__pte page = pv__pte_get(t_entry(block, at));
    memset(block, 0xAA, sizeof block);
    t_opened(s); /* which loads the first node */
    t_poke(s, first.slot, block);
    t_poke(s, page.slot, block);
    t_expect(true, 2, "page table, node 0 of level 0: ");
    char words[40];
    (void)snprintf(words, sizeof words, "page %u of 0: page %u is damaged", PV__PT_FANOUT + at,
                   PV__PT_FANOUT + at);
    t_expect(true, 2, words);
    t_finished(s);
    test_mem_done(&t_mem);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void test_store_check__compares_the_database_checksum(void **state) {
    (void)state;
    sim *s = t_made(10);
    t_opened(s);
    t_expect(true, 0, NULL);
    t_w.store->db_sum ^= 1;
    t_expect(true, 1, "the database checksum differs from the pages");
    t_expect(false, 0, NULL);
    t_w.store->db_sum ^= 1;
    t_finished(s);
    test_mem_done(&t_mem);
}

static void t_set_next_id(uint64_t value) {
    pv_error err = PV_ERROR_INIT;
    pv__txn *t = NULL;
    uint8_t *page = NULL;
    test_assert_ok(pv__txn_begin(t_w.store, PV__TXN_WRITE, &t, &err), &err);
    test_assert_ok(pv__page_write(t, PV__META_PAGE, PV__PAGE_META, &page, &err), &err);
    pv__put64(page + PV__META_NEXT_ID, value);
    test_assert_ok(pv__txn_commit(t, NULL, &err), &err);
}

static void test_store_check__does_not_walk_ids_that_cannot_be(void **state) {
    (void)state;
    sim *s = t_made(10);
    t_opened(s);
    t_set_next_id((uint64_t)1 << 50);
    t_expect(true, 1, "page 1 of 0: counts more pages than there can be");
    t_finished(s);
    test_mem_done(&t_mem);
}

/* What is not damage ends the walk and is said. */
static void test_store_check__passes_on_what_is_no_damage(void **state) {
    (void)state;
    pv_error err = PV_ERROR_INIT;
    uint64_t bad = 0;
    sim *s = t_made(10);
    t_opened(s);
    sim_fault f = {SIM_FAULT_IO, SIM_READ, SIM_CLASS_DB, 1, false};
    for (f.nth = 1;; f.nth++) {
        sim_fault_set(s, &f);
        const int rc = pv__store_check(t_w.store, true, NULL, NULL, &bad, &err);
        if (sim_fault_hits(s) == 0) {
            assert_int_equal(rc, 0);
            break;
        }
        test_assert_rc(rc, PV_ERR_IO, &err);
    }
    assert_true(f.nth > 5);
    sim_fault_set(s, NULL);
    atomic_store(&t_mem.fail_forever, false);
    for (uint64_t n = 1;; n++) {
        const uint64_t begun = atomic_load(&t_mem.calls);
        atomic_store(&t_mem.fail_at, begun + n);
        const int rc = pv__store_check(t_w.store, true, NULL, NULL, &bad, &err);
        const bool hit = atomic_load(&t_mem.calls) >= begun + n;
        atomic_store(&t_mem.fail_at, 0);
        if (!hit) {
            assert_int_equal(rc, 0);
            break;
        }
        test_assert_rc(rc, PV_ERR_NOMEM, &err);
    }
    t_expect(true, 0, NULL);
    t_finished(s);
    test_mem_done(&t_mem);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_check__names_each_copy_of_the_superblock),
        cmocka_unit_test(test_store_check__sees_superblocks_change_under_an_open_handle),
        cmocka_unit_test(test_store_check__finds_entries_that_cannot_be),
        cmocka_unit_test(test_store_check__goes_on_behind_a_damaged_node),
        cmocka_unit_test(test_store_check__compares_the_database_checksum),
        cmocka_unit_test(test_store_check__does_not_walk_ids_that_cannot_be),
        cmocka_unit_test(test_store_check__passes_on_what_is_no_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
