/* SPDX-License-Identifier: Apache-2.0 */
/* damage_blind.c - a program that knows the length of the files and nothing else: it flips a bit
 * at a random offset, zeroes a block of 4 KiB, swaps two, or puts an old one back from an earlier
 * copy of the file. The judge knows more:
 *
 *      page table of the undamaged file, walked here by docs/format/file.md alone
 *          slot --> superblock | node of the table | page, its owner | nobody's
 *
 * A change of a slot that somebody refers to must be found by pv_check, with the page and the
 * collection it belongs to; one of nobody's slot is found by nobody. Meanwhile every read is right
 * or an error that names a page. Damage in the log refuses the open, or concerns no byte that
 * recovery needs, or takes the very last batch, which cannot be told from a torn one (S6).
 *
 * PV_DAMAGE: bits to flip in each of three databases (300; with sanitizers 40; 20,000 with
 * PV_SOAK), and half as many blocks of each kind. A new seed each run, printed; PV_SEED replays. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "catalog/catalog.h"
#include "crash/crash_kit.h"
#include "sim/sim_content.h"
#include "support/api_ops.h"

#define T_PATH "d.pv"
enum { T_FLIP, T_ZERO, T_SWAP, T_OLD, T_WAYS };
static const char *const t_way_names[] = {"bit flipped", "block zeroed", "blocks swapped",
                                          "old block put back"};

typedef enum t_role { T_NOBODY, T_SUPER, T_NODE, T_PAGE } t_role;
typedef struct t_slot {
    t_role role;
    uint64_t page_id;
    uint32_t owner;
} t_slot;

typedef struct t_files { /* of a disk, one behind the other */
    char path[32][64];
    uint64_t size[32], all;
    size_t count;
} t_files;

typedef struct t_world {
    const char *name;
    sim *disk, *old;         /* as found, and an earlier state */
    api_model model, before; /* newest commit, and the one before it */
    t_files files;
    t_slot *slots;
    uint64_t slot_count, used;
    uint64_t root_lsn, last_batch; /* LSNs: what recovery begins with, where the last batch does */
    struct {
        char name[PV_LIMIT_NAME_BYTES + 1];
        uint32_t first;
    } owners[API_COLLECTIONS];
    size_t owner_count;
} t_world;

typedef struct t_tally {
    uint64_t tried, found, refused, mended, nobodys, spare, cut, reads_refused;
} t_tally;

/* ---- databases ------------------------------------------------------------------------------- */

/* What the library logs while it opens: a root that it cannot use is told there. */
static char t_log[600];

static void t_log_to(void *ctx, int level, const char *category, const char *message) {
    const size_t len = strlen(t_log);
    (void)ctx;
    (void)category;
    if (level <= PV_LOG_WARN) {
        (void)snprintf(t_log + len, sizeof t_log - len, "%s\n", message);
    }
}

static int t_open(sim *disk, api_clock *clock, pv_db **out, pv_error *err) {
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    t_log[0] = 0;
    o.log = t_log_to;
    o.vfs = sim_vfs(disk);
    o.clock = &clock->clock;
    o.threads = 1;
    return pv_open(T_PATH, &o, out, err);
}

static void t_must(api_world *w, int rc) {
    if (rc != 0) {
        fail_msg("%s: %s", w->what, w->why);
    }
}

static void t_fill(api_world *w, uint32_t first, uint32_t count) {
    t_must(w, api_begin(w, 0));
    for (uint32_t at = first; at < first + count; at += 50) {
        t_must(w, api_op_upsert(w, "texts", at, 50));
        t_must(w, api_op_upsert(w, "numbers", at, 50));
    }
    t_must(w, api_commit(w));
}

/* closed: what one load leaves. Else a life of several opens, changes, drops; `killed` at its end,
 * with a checkpoint and commits in the log. */
static void t_make(t_world *t, bool compact, bool killed, uint64_t seed) {
    api_world w;
    api_clock clock;
    size_t ops = 0;
    sim *disk = sim_new(seed);
    api_clock_init(&clock, seed);
    api_world_init(&w, NULL, seed);
    test_assert_ok(t_open(disk, &clock, &w.db, &w.err), &w.err);
    t_must(&w, api_op_create(&w, "texts", 96, PV_METRIC_L2, PV_KEY_STRING));
    t_must(&w, api_op_create(&w, "numbers", 24, PV_METRIC_DOT, PV_KEY_U64));
    t_must(&w, api_begin(&w, 0)); /* page ids that are never stored: the table gets two levels */
    t_must(&w, api_op_create(&w, "ids", 300, PV_METRIC_L2, PV_KEY_U64));
    for (uint32_t at = 0; at < 10000; at += 200) {
        t_must(&w, api_op_upsert(&w, "ids", at, 200));
    }
    t_must(&w, api_op_drop(&w, "ids"));
    t_must(&w, api_commit(&w));
    t_fill(&w, 0, compact ? 600 : 400);
    api_model_copy(&t->before, &w.now);
    if (!compact) {
        test_assert_ok(pv_close(w.db, &w.err), &w.err);
        ops = sim_op_count(disk);
        test_assert_ok(t_open(disk, &clock, &w.db, &w.err), &w.err);
        t_must(&w, api_op_create(&w, "gone", 200, PV_METRIC_L2, PV_KEY_U64));
        t_must(&w, api_op_upsert(&w, "gone", 0, 100));
        t_must(&w, api_op_delete(&w, "texts", 20, 60));
        t_fill(&w, 300, 200);
        test_assert_ok(pv_checkpoint(w.db, &w.err), &w.err);
        t_must(&w, api_op_drop(&w, "gone"));
        for (uint32_t i = 0; i < 20; i++) {
            t_must(&w, api_op_upsert(&w, i % 2 ? "texts" : "numbers", 40 + i * 9, 6));
            if (i % 4 == 3) {
                test_assert_ok(pv_checkpoint(w.db, &w.err), &w.err);
            }
        }
        api_model_copy(&t->before, &w.now);
        t_must(&w, api_op_upsert(&w, "texts", 130, 4));
        t->old = sim_image(disk, ops, SIM_CUT_KEEP_ALL, 1);
    }
    api_model_copy(&t->model, &w.now);
    ops = sim_op_count(disk);
    test_assert_ok(pv_close(w.db, &w.err), &w.err);
    t->disk = sim_image(disk, killed ? ops : sim_op_count(disk), SIM_CUT_KEEP_ALL, 1);
    w.db = NULL;
    api_world_done(&w);
    sim_free(disk);
}

/* ---- who refers to what ---------------------------------------------------------------------- */

static void t_list(void *arg, const char *path, uint64_t size) {
    t_files *f = arg;
    if (!strstr(path, "-shm")) {
        assert_in_range(f->count, 0, PV_COUNTOF(f->path) - 1);
        (void)snprintf(f->path[f->count], sizeof f->path[0], "%s", path);
        f->size[f->count++] = size;
        f->all += size;
    }
}

static void t_claim(t_world *t, const pv__pte *pte, t_role role, uint64_t page_id, uint32_t owner) {
    for (uint64_t i = pte->slot; i < pte->slot + pte->slots; i++) {
        assert_in_range(i, 0, t->slot_count - 1);
        assert_int_equal(t->slots[i].role, T_NOBODY);
        t->slots[i] = (t_slot){role, page_id, owner};
        t->used++;
    }
}

static void t_claim_below(t_world *t, const pv__pte *pte, uint64_t level, uint64_t index) {
    uint8_t node[PV__SLOT_SIZE], head[PV__SLOT_SIZE];
    assert_true(sim_file_peek(t->disk, T_PATH, pte->slot * PV__SLOT_SIZE, node, sizeof node));
    t_claim(t, pte, T_NODE, level << 56 | index, 0);
    for (uint64_t i = 0; i < PV__PT_FANOUT; i++) {
        const pv__pte below = pv__pte_get(node + PV__PAGE_HEAD + i * PV__PTE_SIZE);
        const uint64_t id = index * PV__PT_FANOUT + i;
        if (below.slots == 0) {
            continue;
        }
        if (level > 0) {
            t_claim_below(t, &below, level - 1, id);
        } else {
            assert_true(
                sim_file_peek(t->disk, T_PATH, below.slot * PV__SLOT_SIZE, head, sizeof head));
            t_claim(t, &below, T_PAGE, id, pv__page_owner(head));
        }
    }
}

static void t_read_owners(t_world *t) {
    pv_error err = PV_ERROR_INIT;
    pv__mem mem;
    pv__store *s = NULL;
    pv__txn *txn = NULL;
    pv__catalog_walk walk;
    sim *image = sim_image(t->disk, 0, SIM_CUT_KEEP_ALL, 1);
    pv__store_opts o = {.path = T_PATH, .vfs = sim_vfs(image), .mem = &mem};
    test_mem_init(&mem);
    test_assert_ok(pv__store_open(&o, &s, &err), &err);
    test_assert_ok(pv__txn_begin(s, 0, &txn, &err), &err);
    test_assert_ok(pv__catalog_walk_begin(&walk, txn, &err), &err);
    for (;;) {
        pv__collection c;
        bool found = false;
        test_assert_ok(pv__catalog_walk_next(&walk, true, &c, &found, &err), &err);
        if (!found) {
            break;
        }
        memcpy(t->owners[t->owner_count].name, c.name, sizeof c.name);
        t->owners[t->owner_count++].first = c.object_id;
    }
    pv__catalog_walk_end(&walk);
    pv__txn_rollback(txn);
    test_assert_ok(pv__store_close(s, &err), &err);
    sim_free(image);
    test_mem_done(&mem);
}

/* LSN of the last record head in the log, as its file says. */
static void t_read_log(t_world *t) {
    for (size_t f = 1; f < t->files.count; f++) {
        for (uint64_t at = PV__SEG_HEAD; at + PV__REC_HEAD <= t->files.size[f]; at += 8) {
            uint8_t head[PV__REC_HEAD];
            assert_true(sim_file_peek(t->disk, t->files.path[f], at, head, sizeof head));
            if (pv__get32(head) == PV__REC_MAGIC_VALUE && pv__get64(head + PV__REC_LSN) % 8 == 0) {
                t->last_batch = PV_MAX(t->last_batch, pv__get64(head + PV__REC_LSN));
            }
        }
    }
}

static void t_learn(t_world *t) {
    uint64_t newest = 0;
    pv__pte root = {0};
    uint32_t height = 0;
    sim_file_each(t->disk, t_list, &t->files);
    for (size_t f = 0; f < t->files.count; f++) { /* the database first */
        if (strcmp(t->files.path[f], T_PATH) == 0 && f > 0) {
            char path[64];
            const uint64_t size = t->files.size[f];
            memcpy(path, t->files.path[0], sizeof path);
            t->files.size[f] = t->files.size[0];
            memcpy(t->files.path[0], T_PATH, sizeof T_PATH);
            memcpy(t->files.path[f], path, sizeof path);
            t->files.size[0] = size;
        }
    }
    t->slot_count = t->files.size[0] / PV__SLOT_SIZE;
    assert_int_equal(t->files.size[0] % PV__SLOT_SIZE, 0);
    t->slots = sim_alloc(t->slot_count * sizeof *t->slots);
    for (uint64_t i = 0; i < 4; i++) {
        uint8_t super[PV__SLOT_SIZE];
        const uint64_t slot = i % 2 + i / 2 * PV__SUPER_MIRROR;
        assert_true(sim_file_peek(t->disk, T_PATH, slot * PV__SLOT_SIZE, super, sizeof super));
        if (pv__get64(super + PV__SUPER_SEQUENCE) > newest) {
            newest = pv__get64(super + PV__SUPER_SEQUENCE);
            root = pv__pte_get(super + PV__SUPER_ROOT);
            height = pv__get32(super + PV__SUPER_HEIGHT);
            t->root_lsn = pv__get64(super + PV__SUPER_LSN);
        }
        t->slots[slot].role = T_SUPER;
        t->used++;
    }
    assert_true(height > 1);
    t_claim_below(t, &root, height - 1, 0);
    t_read_owners(t);
    t_read_log(t);
}

static const char *t_owner(const t_world *t, uint32_t owner) {
    for (size_t i = 0; i < t->owner_count; i++) {
        if (owner >= t->owners[i].first && owner - t->owners[i].first < PV__OBJECT_IDS) {
            return t->owners[i].name;
        }
    }
    return NULL;
}

/* ---- one change ------------------------------------------------------------------------------ */

typedef struct t_change {
    size_t file;
    uint64_t at, other; /* offsets in it; other: of the second block of a swap */
    int way;
    char text[160];
} t_change;

/* False: nothing would change. The program knows nothing but the lengths. */
static bool t_damage(const t_world *t, sim *image, int way, test_rng *r, t_change *c) {
    uint8_t a[PV__SLOT_SIZE], b[PV__SLOT_SIZE];
    uint64_t at = test_rng_below(r, t->files.all);
    *c = (t_change){.way = way};
    while (at >= t->files.size[c->file]) {
        at -= t->files.size[c->file++];
    }
    const char *path = t->files.path[c->file];
    const uint64_t blocks = t->files.size[c->file] / PV__SLOT_SIZE;
    c->at = way == T_FLIP ? at : at - at % PV__SLOT_SIZE;
    (void)snprintf(c->text, sizeof c->text, "%s: %s at %s %" PRIu64, t->name, t_way_names[way],
                   path, c->at);
    if (way == T_FLIP) {
        assert_true(sim_file_peek(image, path, at, a, 1));
        a[0] ^= (uint8_t)(1u << test_rng_below(r, 8));
        return sim_file_poke(image, path, at, a, 1);
    }
    memset(b, 0, sizeof b);
    assert_true(sim_file_peek(image, path, c->at, a, sizeof a));
    c->other = c->at;
    if (way == T_OLD && (!t->old || !sim_file_peek(t->old, path, c->at, b, sizeof b))) {
        return false;
    }
    if (way == T_SWAP) {
        c->other = test_rng_below(r, blocks) * PV__SLOT_SIZE;
        assert_true(sim_file_peek(image, path, c->other, b, sizeof b));
        (void)sim_file_poke(image, path, c->other, a, sizeof a);
    }
    (void)sim_file_poke(image, path, c->at, b, sizeof b);
    return memcmp(a, b, sizeof a) != 0;
}

/* ---- the judge ------------------------------------------------------------------------------- */

typedef struct t_findings {
    const t_world *t;
    uint64_t count;
    bool super, page, owner; /* the changed one was named */
    const t_slot *slot;
    uint64_t slot_number;
    char text[1200]; /* all that was told, as far as there is room */
} t_findings;

/* Numbers in messages end where digits end: page 1 is not page 12. */
static bool t_says(const char *message, const char *what, uint64_t number) {
    char text[40];
    const int n = snprintf(text, sizeof text, "%s %" PRIu64, what, number);
    for (const char *at = strstr(message, text); at; at = strstr(at + 1, text)) {
        if (at[n] < '0' || at[n] > '9') {
            return true;
        }
    }
    return false;
}

/* Does an error speak of the page, or the node of the page table, in this slot? */
static bool t_names(const t_world *t, uint64_t slot, const char *message) {
    const t_slot *s = &t->slots[slot];
    return s->role == T_NODE ? strstr(message, "page table") && t_says(message, "slot", slot)
                             : s->role == T_PAGE && t_says(message, "page", s->page_id);
}

static void t_finding(void *ctx, const char *collection, uint64_t page_id, const char *message) {
    t_findings *f = ctx;
    const size_t len = strlen(f->text);
    f->count++;
    (void)snprintf(f->text + len, sizeof f->text - len, "\n  %s, page %" PRIu64 ": %s",
                   collection ? collection : "-", page_id, message);
    if (f->slot->role == T_SUPER) {
        f->super |= strstr(message, "superblock") && t_says(message, "slot", f->slot_number);
        return;
    }
    const bool page =
        f->slot->role == T_NODE
            ? strstr(message, "page table") && t_says(message, "slot", f->slot_number)
            : page_id == f->slot->page_id || t_says(message, "page", f->slot->page_id);
    const char *owner = t_owner(f->t, f->slot->owner);
    f->page |= page;
    f->owner |= page && (!owner || (collection && strcmp(collection, owner) == 0));
}

static void t_wrong(const t_change *c, const char *why) { fail_msg("%s: %s", c->text, why); }

static void t_wrong_slot(const t_change *c, const t_findings *f, const char *why) {
    fail_msg("%s, slot %" PRIu64 " of page %" PRIu64 " of object %u: %s%s", c->text, f->slot_number,
             f->slot->page_id, (unsigned)f->slot->owner, why, f->text);
}

/* Opening what a kill left writes the newest superblock again, both copies. */
static bool t_is_mended(sim *image, uint64_t slot) {
    uint8_t super[PV__SLOT_SIZE];
    assert_true(sim_file_peek(image, T_PATH, slot * PV__SLOT_SIZE, super, sizeof super));
    return pv__get64(super + PV__SUPER_CHECKSUM) == pv__hash64(super, PV__SUPER_CHECKSUM, 0) &&
           pv__get64(super + PV__SUPER_SELF) == slot;
}

/* pv_check on the open database, about one changed slot. False: of two damaged ones this is not
 * named, because the other may have led to it. */
static bool t_judge_slot(const t_world *t, sim *image, pv_db *db, const t_change *c, uint64_t slot,
                         uint64_t refused, t_tally *n) {
    pv_error err = PV_ERROR_INIT;
    uint64_t problems = 0;
    t_findings f = {.t = t, .slot = &t->slots[slot], .slot_number = slot};
    const int rc = pv_check(db, PV_CHECK_DEEP, t_finding, &f, &problems, &err);
    if (rc) { /* it could not go on: then the error names it, as a finding has before */
        assert_true(rc == PV_ERR_CORRUPT || rc == PV_ERR_FORMAT);
        t_finding(&f, NULL, 0, err.message);
        problems++;
    }
    const t_role role = t->slots[slot].role;
    if (t_log[0] && t->files.count > 1) { /* the root before and its log serve instead */
        t_finding(&f, NULL, 0, t_log);
        problems++;
    }
    if (role == T_NOBODY) {
        if (c->way != T_SWAP && (problems || refused)) {
            t_wrong_slot(c, &f, "nobody refers to it, yet something is found");
        }
        n->nobodys++;
        return true;
    }
    if (!problems && role == T_SUPER && t->files.count > 1 && t_is_mended(image, slot)) {
        n->mended++;
        return true;
    }
    if (!problems) {
        t_wrong_slot(c, &f, "it is in use, and pv_check finds nothing");
    }
    const bool alone =
        c->way != T_SWAP || t->slots[(c->at + c->other) / PV__SLOT_SIZE - slot].role == T_NOBODY;
    /* What the log replaces may by now belong to another. */
    const bool replaced = t->files.count > 1 && !refused;
    const bool named = role == T_SUPER ? f.super : f.page;
    const bool owned =
        f.owner || role != T_PAGE || replaced || t->slots[slot].owner < PV__OBJECT_FIRST;
    if (alone && !(named && owned)) {
        t_wrong_slot(c, &f,
                     named ? "pv_check does not name the collection" : "pv_check does not name it");
    }
    n->found += named;
    return named;
}

static void t_judge_file(const t_world *t, sim *image, const t_change *c, t_tally *n) {
    pv_error err = PV_ERROR_INIT;
    pv_db *db = NULL;
    api_clock clock;
    char why[API_WHY] = "";
    uint64_t refused = 0;
    const uint64_t slot = c->at / PV__SLOT_SIZE, other = c->other / PV__SLOT_SIZE;
    api_clock_init(&clock, 1);
    const int rc = t_open(image, &clock, &db, &err);
    if (rc) { /* the way to the catalogue is damaged: the error says so, or when neither root can be
               * used, the log does of the newest */
        char said[sizeof t_log + sizeof err.message];
        (void)snprintf(said, sizeof said, "%s%s", t_log, err.message);
        if ((rc != PV_ERR_CORRUPT && rc != PV_ERR_FORMAT) ||
            !(t_names(t, slot, said) || (c->way == T_SWAP && t_names(t, other, said)))) {
            t_wrong(c, said);
        }
        n->refused++;
        return;
    }
    if (!api_reads_honestly(&t->model, db, &refused, why)) {
        t_wrong(c, why);
    }
    n->reads_refused += refused != 0;
    const bool named = t_judge_slot(t, image, db, c, slot, refused, n);
    if (c->way == T_SWAP && !(t_judge_slot(t, image, db, c, other, refused, n) || named)) {
        t_wrong(c, "pv_check names neither");
    }
    (void)pv_close(db, &err); /* any code */
}

/* Is the byte in a record that recovery needs? *out_last: in the last batch. */
static bool t_is_needed(const t_world *t, const char *path, uint64_t at, bool *out_last) {
    const uint64_t start = strtoull(strrchr(path, '/') + 1, NULL, 16);
    *out_last = false;
    if (at < PV__SEG_HEAD) {
        return true;
    }
    for (uint64_t from = PV__SEG_HEAD; from <= at; from += 8) {
        uint8_t head[PV__REC_HEAD];
        if (!sim_file_peek(t->disk, path, from, head, sizeof head) ||
            pv__get32(head) != PV__REC_MAGIC_VALUE ||
            pv__get64(head + PV__REC_LSN) != start + from - PV__SEG_HEAD) {
            continue;
        }
        const uint64_t lsn = pv__get64(head + PV__REC_LSN);
        if (at < from + PV__REC_HEAD + pv__get64(head + PV__REC_BODY)) {
            *out_last = lsn == t->last_batch;
            return lsn >= t->root_lsn;
        }
    }
    return false;
}

static void t_judge_log(const t_world *t, sim *image, const t_change *c, t_tally *n) {
    pv_error err = PV_ERROR_INIT;
    pv_db *db = NULL;
    api_clock clock;
    test_rng r;
    char why[API_WHY] = "";
    bool last = false;
    const char *path = t->files.path[c->file];
    const bool needed = t_is_needed(t, path, c->at, &last) && c->way == T_FLIP;
    api_clock_init(&clock, 1);
    test_rng_init(&r, c->at);
    const int rc = t_open(image, &clock, &db, &err);
    if (rc) {
        if (rc != PV_ERR_CORRUPT && rc != PV_ERR_FORMAT && rc != PV_ERR_LOG_MISSING) {
            t_wrong(c, err.message);
        }
        n->refused++;
        return;
    }
    if (api_matches(&t->model, db, NULL, &r, 1, why)) {
        if (needed && c->at >= PV__SEG_HEAD) {
            t_wrong(c, "a record that is needed was changed, and is used");
        }
        n->spare++;
    } else if ((last || c->way != T_FLIP) && api_matches(&t->before, db, NULL, &r, 1, why)) {
        n->cut++;
    } else {
        t_wrong(c, why);
    }
    if (!api_is_sound(db, PV_CHECK_DEEP, why)) {
        t_wrong(c, why);
    }
    test_assert_ok(pv_close(db, &err), &err);
}

static void t_try(const t_world *t, int way, test_rng *r, t_tally *n) {
    t_change c;
    sim *image = NULL;
    for (unsigned turn = 0;; turn++) { /* until something changes */
        assert_in_range(turn, 0, 10000);
        image = sim_image(t->disk, 0, SIM_CUT_KEEP_ALL, 1);
        if (t_damage(t, image, way, r, &c)) {
            break;
        }
        sim_free(image);
    }
    n->tried++;
    if (c.file == 0) {
        t_judge_file(t, image, &c, n);
    } else {
        t_judge_log(t, image, &c, n);
    }
    sim_free(image);
}

static void t_run(const char *name, bool compact, bool killed) {
    t_world t;
    test_rng r;
    const uint64_t seed = test_seed_new();
    const uint64_t flips = crash_env("PV_DAMAGE", getenv("PV_SOAK") ? 20000 : 300, 40);
    memset(&t, 0, sizeof t);
    t.name = name;
    api_model_init(&t.model);
    api_model_init(&t.before);
    t_make(&t, compact, killed, seed);
    t_learn(&t);
    test_rng_init(&r, seed);
    const double unused = 100.0 * (double)(t.slot_count - t.used) / (double)t.slot_count;
    printf("%s: %" PRIu64 " slots, %.1f %% nobody's; %zu files, %" PRIu64 " bytes\n", name,
           t.slot_count, unused, t.files.count, t.files.all);
    printf("%8s %8s %8s %8s %8s %8s %8s %8s\n", "changes", "found", "refused", "mended", "nobody's",
           "log:ok", "log:cut", "reads");
    for (int way = 0; way < T_WAYS; way++) {
        t_tally n = {0};
        if (way == T_OLD && !t.old) {
            continue;
        }
        for (uint64_t i = 0; i < (way == T_FLIP ? flips : flips / 2); i++) {
            t_try(&t, way, &r, &n);
        }
        printf("%8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64
               " %8" PRIu64 " %8" PRIu64 "  %s\n",
               n.tried, n.found, n.refused, n.mended, n.nobodys, n.spare, n.cut, n.reads_refused,
               t_way_names[way]);
        assert_true(n.found > 0 || n.mended > 0);
    }
    if (compact && unused > 5.0) {
        fail_msg("%.1f %% of a compact file is nobody's", unused);
    }
    free(t.slots);
    api_model_done(&t.model);
    api_model_done(&t.before);
    sim_free(t.disk);
    sim_free(t.old);
}

static void test_damage_blind__in_a_compact_file(void **state) {
    (void)state;
    t_run("compact", true, false);
}

static void test_damage_blind__in_a_file_with_a_life_behind_it(void **state) {
    (void)state;
    t_run("lived in", false, false);
}

static void test_damage_blind__in_a_file_and_the_log_that_a_kill_left(void **state) {
    (void)state;
    t_run("killed", false, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damage_blind__in_a_compact_file),
        cmocka_unit_test(test_damage_blind__in_a_file_with_a_life_behind_it),
        cmocka_unit_test(test_damage_blind__in_a_file_and_the_log_that_a_kill_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#undef T_PATH
