/* SPDX-License-Identifier: Apache-2.0 */
/* sim_image.c - disks as a power cut could have left them.
 *
 * For every pending write a fate is drawn; contents are then put together in two copies:
 *
 *      cache   all pending operations in order: what the page cache held after each
 *      disk    what is durable, plus for every write that counts its sectors *out of cache*
 *
 * Whole sectors are taken, because a device writes whole sectors and the page cache has all earlier
 * bytes of them: a later write to the same sector can't be there without an earlier one. */
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "sim/sim_internal.h"

typedef enum sim_fate { SIM_DROP, SIM_KEEP, SIM_TEAR, SIM_JUNK } sim_fate;

typedef struct sim_plan {
    const sim *s;
    sim_cut mode;
    uint64_t rng;
    uint32_t sector;    /* 512 or 4096 */
    uint32_t keep_of_8; /* chance to be kept where it is a matter of chance */
    size_t victim;      /* operation that is torn, or kept out of order */
    size_t missing;     /* operation that certainly is not there */
    bool after;         /* may operations after the victim be there? */
} sim_plan;

const char *sim_cut_name(sim_cut mode) {
    static const char *const names[SIM_CUT_COUNT] = {"drop-all", "keep-all", "subset",  "reorder",
                                                     "torn-512", "torn-4k",  "garbage", "zero",
                                                     "size",     "dirs"};
    return (unsigned)mode < SIM_CUT_COUNT ? names[mode] : "?";
}

static uint64_t sim_draw(sim_plan *p, uint64_t n) {
    p->rng += 0x9E3779B97F4A7C15u;
    return n ? pv__mix64(p->rng) % n : 0;
}

/* ---- the plan -------------------------------------------------------------------------------- */

static int sim_op_order(const void *a, const void *b) {
    const size_t x = *(const size_t *)a;
    const size_t y = *(const size_t *)b;
    return x < y ? -1 : x > y;
}

/* All pending operations on contents, in order. The caller frees the array. */
static size_t *sim_pending_ops(const sim *s, size_t *out_count) {
    size_t *ops = NULL;
    size_t cap = 0;
    size_t n = 0;
    for (size_t i = 0; i < s->replay.node_count; i++) {
        const sim_pending_list *l = &s->replay.nodes[i].pending;
        for (size_t j = 0; j < l->count; j++) {
            ops = sim_grow(ops, &cap, n + 1, sizeof *ops);
            ops[n++] = l->at[j].op;
        }
    }
    if (n > 1) {
        qsort(ops, n, sizeof *ops, sim_op_order);
    }
    *out_count = n;
    return ops;
}

static sim_plan sim_plan_make(const sim *s, sim_cut mode, uint64_t seed) {
    sim_plan p;
    size_t n = 0;
    memset(&p, 0, sizeof p);
    p.s = s;
    p.mode = mode;
    p.rng = pv__mix64(seed + 0x51ED270Bu) ^ pv__mix64(s->seed + 1) ^
            pv__mix64(s->replay.pos * 64 + (uint64_t)mode);
    p.sector = sim_draw(&p, 2) ? 512 : 4096;
    p.keep_of_8 = (uint32_t)(1 + sim_draw(&p, 7));
    p.victim = SIZE_MAX;
    p.missing = SIZE_MAX;
    size_t *ops = sim_pending_ops(s, &n);
    if (mode == SIM_CUT_TORN_512 || mode == SIM_CUT_TORN_4K) {
        p.sector = mode == SIM_CUT_TORN_512 ? 512 : 4096;
        p.after = sim_draw(&p, 4) == 0;
        if (n > 0) {
            p.victim = ops[sim_draw(&p, 2) ? n - 1 : sim_draw(&p, n)];
        }
        p.keep_of_8 = sim_draw(&p, 2) ? 8 : p.keep_of_8; /* what came before: all or some */
    } else if (mode == SIM_CUT_REORDER && n > 0) {
        const size_t at = n > 1 ? 1 + sim_draw(&p, n - 1) : 0;
        p.victim = ops[at];
        p.missing = at > 0 ? ops[sim_draw(&p, at)] : SIZE_MAX;
    } else if (mode == SIM_CUT_SIZE) {
        p.keep_of_8 = (uint32_t)sim_draw(&p, 3);
    }
    free(ops);
    return p;
}

static sim_fate sim_fate_of(sim_plan *p, const sim_pending *q) {
    const bool chance = sim_draw(p, 8) < p->keep_of_8;
    if (p->mode == SIM_CUT_DROP_ALL) {
        return SIM_DROP;
    }
    if (p->mode == SIM_CUT_KEEP_ALL) {
        return SIM_KEEP;
    }
    if (q->lost) {
        return sim_draw(p, 2) ? SIM_KEEP : SIM_DROP;
    }
    switch (p->mode) {
    case SIM_CUT_TORN_512:
    case SIM_CUT_TORN_4K:
        if (q->op == p->victim) {
            return SIM_TEAR;
        }
        return chance && (q->op < p->victim || p->after) ? SIM_KEEP : SIM_DROP;
    case SIM_CUT_REORDER:
        if (q->op == p->victim) {
            return SIM_KEEP;
        }
        return chance && q->op < p->victim && q->op != p->missing ? SIM_KEEP : SIM_DROP;
    case SIM_CUT_GARBAGE:
    case SIM_CUT_ZERO:
        return sim_draw(p, 3) == 0 ? (chance ? SIM_KEEP : SIM_DROP) : SIM_JUNK;
    default:
        return chance ? SIM_KEEP : SIM_DROP;
    }
}

/* ---- contents -------------------------------------------------------------------------------- */

/* Sector by sector: old, new, or junk. */
static void sim_cut_sectors(sim_plan *p, sim_content *disk, const sim_content *cache,
                            const sim_pending *q, sim_fate fate) {
    const uint64_t first = q->offset / p->sector;
    const uint64_t count = (q->end + p->sector - 1) / p->sector - first;
    const uint64_t style = sim_draw(p, 4);
    const uint64_t at = sim_draw(p, count + 1);
    uint8_t noise[SIM_BLOCK];
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t from = (first + i) * p->sector;
        uint64_t end = from + p->sector;
        bool fresh = true;
        if (fate == SIM_TEAR) {
            fresh = style == 0   ? i < at
                    : style == 1 ? i >= at
                    : style == 2 ? i != at
                                 : sim_draw(p, 2) == 0;
        } else if (fate == SIM_JUNK) {
            const uint64_t what = sim_draw(p, 3);
            fresh = what == 1;
            if (what == 2) {
                end = end < cache->size ? end : cache->size;
                for (uint32_t j = 0; j < p->sector; j += 8) {
                    const uint64_t x = p->mode == SIM_CUT_ZERO ? 0 : sim_draw(p, UINT64_MAX);
                    memcpy(noise + j, &x, 8);
                }
                sim_content_write(disk, from, noise, (size_t)(end - from));
            }
        }
        if (fresh) {
            sim_content_take(disk, cache, from, end < cache->size ? end : cache->size);
        }
    }
}

static void sim_build(sim_plan *p, const sim_rnode *n, sim_content *disk) {
    sim_content cache;
    sim_content_copy(disk, &n->durable);
    if (n->pending.count == 0 || p->mode == SIM_CUT_DROP_ALL) {
        return;
    }
    if (p->mode == SIM_CUT_KEEP_ALL) {
        for (size_t i = 0; i < n->pending.count; i++) {
            sim_pending_apply(disk, p->s, &n->pending.at[i]);
        }
        return;
    }
    sim_content_copy(&cache, &n->durable);
    for (size_t i = 0; i < n->pending.count; i++) {
        const sim_pending *q = &n->pending.at[i];
        const sim_fate fate = sim_fate_of(p, q);
        sim_pending_apply(&cache, p->s, q);
        if (fate == SIM_DROP) {
            continue;
        }
        if (p->s->ops[q->op].kind != SIM_WRITE) {
            if (fate == SIM_KEEP || sim_draw(p, 2)) {
                sim_pending_apply(disk, p->s, q);
            }
        } else {
            sim_cut_sectors(p, disk, &cache, q, fate);
        }
    }
    if (p->mode == SIM_CUT_SIZE && cache.size > disk->size) {
        sim_content_resize(disk, cache.size);
    }
    sim_content_done(&cache);
}

/* ---- names ----------------------------------------------------------------------------------- */

/* Lose the end of each folder's journal: what stands behind a lost operation of one of its folders
 * is lost, too. keep[] in: drawn; out: a prefix per folder. */
static void sim_names_prefix(const sim *s, bool *keep) {
    const sim_replay *r = &s->replay;
    for (size_t i = 0; i < r->pending_count; i++) {
        for (size_t j = i + 1; !keep[i] && j < r->pending_count; j++) {
            if (sim_op_shares_dir(&s->ops[r->pending[i].op], &s->ops[r->pending[j].op])) {
                keep[j] = false;
            }
        }
    }
}

static void sim_build_names(sim_plan *p, sim_names *names) {
    const sim *s = p->s;
    const sim_replay *r = &s->replay;
    sim_names_copy(names, &r->names);
    if (r->pending_count == 0 || p->mode == SIM_CUT_DROP_ALL) {
        sim_names_prune(names);
        return;
    }
    bool *keep = sim_alloc(r->pending_count * sizeof *keep);
    const bool all = p->mode == SIM_CUT_KEEP_ALL || (p->mode != SIM_CUT_DIRS && sim_draw(p, 2));
    const uint64_t of_8 = p->mode == SIM_CUT_DIRS ? 4 : 5 + sim_draw(p, 3);
    for (size_t i = 0; i < r->pending_count; i++) {
        keep[i] = all || sim_draw(p, 8) < of_8;
    }
    if (p->mode != SIM_CUT_DIRS) {
        sim_names_prefix(s, keep);
    }
    for (size_t i = 0; i < r->pending_count; i++) {
        if (keep[i]) {
            sim_names_apply(names, &s->ops[r->pending[i].op]);
        }
    }
    free(keep);
    sim_names_prune(names);
}

/* ---- images ---------------------------------------------------------------------------------- */

sim *sim_image(sim *s, size_t upto, sim_cut mode, uint64_t seed) {
    sim_names names;
    sim *image = sim_new(seed);
    sim_lock(s);
    sim_replay_to(s, upto < s->op_count ? upto : s->op_count);
    sim_plan p = sim_plan_make(s, mode, seed);
    sim_build_names(&p, &names);
    image->base = sim_alloc((names.count + 1) * sizeof *image->base);
    image->nodes = sim_grow(NULL, &image->node_cap, names.count + 1, sizeof *image->nodes);
    memset(image->nodes, 0, (names.count + 1) * sizeof *image->nodes);
    /* Contents in the order of nodes, whatever order the names are in: an image is one function
     * of its arguments. */
    for (size_t node = 0; node < s->replay.node_count; node++) {
        for (size_t i = 0; i < names.count; i++) {
            sim_entry *e = &names.at[i];
            if (e->node != node) {
                continue;
            }
            const uint32_t id = (uint32_t)image->base_count++;
            if (!e->is_dir) {
                sim_build(&p, &s->replay.nodes[node], &image->base[id]);
                sim_content_copy(&image->nodes[id].content, &image->base[id]);
            }
            image->nodes[id].named = true;
            sim_names_set(&image->names, e->path, id, e->is_dir);
        }
    }
    image->node_count = image->base_count;
    sim_unlock(s);
    sim_names_copy(&image->base_names, &image->names);
    sim_names_done(&names);
    return image;
}

uint64_t sim_image_hash_but(sim *s, const char *path) {
    uint64_t sum = 0x9E3779B97F4A7C15u;
    sim_lock(s);
    for (size_t i = 0; i < s->names.count; i++) {
        const sim_entry *e = &s->names.at[i];
        const uint64_t name = pv__hash64(e->path, strlen(e->path), e->is_dir);
        const bool counts = !e->is_dir && (!path || strcmp(e->path, path) != 0);
        sum += pv__mix64(name ^
                         pv__mix64(counts ? sim_content_hash(&s->nodes[e->node].content) : 1));
    }
    sim_unlock(s);
    return sum;
}

uint64_t sim_image_hash(sim *s) { return sim_image_hash_but(s, NULL); }

static bool sim_seen_before(uint64_t *seen, size_t *count, uint64_t hash) {
    for (size_t i = 0; i < *count; i++) {
        if (seen[i] == hash) {
            return true;
        }
    }
    seen[(*count)++] = hash;
    return false;
}

size_t sim_each_cut(sim *s, size_t from, size_t to, uint32_t seeds, uint64_t seed, sim_cut_fn fn,
                    void *arg, int *out_rc) {
    size_t distinct = 0;
    int rc = 0;
    uint64_t *seen = sim_alloc((size_t)SIM_CUT_COUNT * (seeds + 1) * sizeof *seen);
    for (size_t upto = from; upto <= to && rc == 0; upto++) {
        size_t count = 0;
        for (int mode = 0; mode < SIM_CUT_COUNT && rc == 0; mode++) {
            const uint32_t n = mode <= SIM_CUT_KEEP_ALL ? 1 : seeds;
            for (uint32_t i = 0; i < n && rc == 0; i++) {
                const uint64_t this_seed = pv__mix64(seed + i);
                sim *image = sim_image(s, upto, (sim_cut)mode, this_seed);
                if (!sim_seen_before(seen, &count, sim_image_hash(image))) {
                    distinct++;
                    rc = fn(arg, image, upto, (sim_cut)mode, this_seed);
                }
                sim_free(image);
            }
        }
    }
    free(seen);
    if (out_rc) {
        *out_rc = rc;
    }
    return distinct;
}
