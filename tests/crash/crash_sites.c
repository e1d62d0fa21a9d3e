/* SPDX-License-Identifier: Apache-2.0 */
/* crash_sites.c - see crash_kit.h: names for what was done to the disk, what a workload has done,
 * and the set of hashes. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "crash/crash_kit.h"
#include "sim/sim_content.h"

static const char *crash_phase_of(void *ctx, sim_kind kind, sim_class cls, const char *path) {
    (void)ctx;
    (void)kind;
    (void)cls;
    (void)path;
    return crash_phase;
}

void crash_site_watch(sim *disk) { sim_site_hook(disk, crash_phase_of, NULL); }

static bool crash_path_is(const char *path, const char *end) {
    const size_t a = strlen(path), b = strlen(end);
    return a >= b && strcmp(path + a - b, end) == 0;
}

/* What a write is, from where it goes and what it says. */
static const char *crash_content(const sim_op_info *op) {
    const uint8_t *p = op->data;
    if (op->cls == SIM_CLASS_DB) {
        const uint64_t slot = op->offset / PV__SLOT_SIZE;
        if (slot < 2) {
            return "superblock";
        }
        if (slot - PV__SUPER_MIRROR < 2 && memcmp(p, PV__SUPER_MAGIC, 16) == 0) {
            return "mirror superblock";
        }
        return pv__page_kind(p) == PV__PAGE_TABLE ? "table node" : "page";
    }
    if (op->offset == 0) {
        return "segment head";
    }
    return op->size == PV__REC_HEAD && pv__get32(p) == PV__REC_MAGIC_VALUE ? "record head"
                                                                           : "record body";
}

bool crash_site_name(const sim_op_info *op, char out[96]) {
    const char *what = "";
    const char *where = sim_class_name(op->cls);
    if (op->cls == SIM_CLASS_SHM || op->kind == SIM_POKE) {
        return false;
    }
    if (op->kind == SIM_WRITE) {
        what = crash_content(op);
    } else if (op->cls == SIM_CLASS_DIR) {
        what = crash_path_is(op->path, "-wal") ? "of the log" : "of the database";
    }
    if (op->cls == SIM_CLASS_LOG && crash_path_is(op->path, ".tmp")) {
        where = "adopted segment";
    }
    (void)snprintf(out, 96, "%-12s %-15s %-17s %s", sim_kind_name(op->kind), where, what,
                   op->site ? op->site->tag : "");
    return true;
}

crash_site *crash_site_of(crash_sites *t, const char *name) {
    for (size_t i = 0; i < t->count; i++) {
        if (strcmp(t->at[i].name, name) == 0) {
            return &t->at[i];
        }
    }
    if (t->count == CRASH_SITES_MAX) {
        return &t->at[CRASH_SITES_MAX - 1];
    }
    crash_site *s = &t->at[t->count++];
    memset(s, 0, sizeof *s);
    (void)snprintf(s->name, sizeof s->name, "%s", name);
    return s;
}

/* ---- what was done --------------------------------------------------------------------------- */

const char *crash_deed_name(crash_deed deed) {
    static const char *const names[CRASH_DEEDS] = {
        "checkpoints",
        "pages spilled by open transactions",
        "pages of bulk loads, by reference",
        "pages read again after eviction",
        "transactions rolled back",
        "savepoints rolled back to",
        "pages dropped",
        "slots written again",
        "recoveries after a kill",
    };
    return (unsigned)deed < CRASH_DEEDS ? names[deed] : "?";
}

typedef struct crash_slots { /* of the file: 1 written, 2 by an open transaction */
    uint8_t *at;
    size_t count;
} crash_slots;

static uint8_t *crash_slot(crash_slots *s, uint64_t slot) {
    if (slot >= s->count) {
        size_t cap = s->count;
        s->at = sim_grow(s->at, &cap, (size_t)slot + 1, 1);
        memset(s->at + s->count, 0, cap - s->count);
        s->count = cap;
    }
    return &s->at[slot];
}

/* The entries of one record; written down from docs/format/log.md. */
static void crash_tally_body(crash_run *r, crash_slots *slots, const uint8_t *head,
                             const uint8_t *body, size_t size) {
    pv__reader in = pv__reader_of(body, size);
    for (uint32_t n = pv__get32(head + PV__REC_ENTRIES); n > 0 && !in.bad; n--) {
        const unsigned kind = pv__reader_u8(&in);
        (void)pv__reader_varint(&in);
        if (kind == PV__ENTRY_DELTA) {
            (void)pv__reader_varint(&in);
            for (uint64_t ranges = pv__reader_varint(&in); ranges > 0 && !in.bad; ranges--) {
                (void)pv__reader_varint(&in);
                (void)pv__reader_take(&in, (size_t)pv__reader_varint(&in));
            }
        } else if (kind == PV__ENTRY_FULL) {
            (void)pv__reader_u64(&in);
            (void)pv__reader_take(&in, (size_t)pv__reader_varint(&in));
        } else if (kind == PV__ENTRY_REF) {
            (void)pv__reader_take(&in, 16);
            const uint8_t *entry = pv__reader_take(&in, PV__PTE_SIZE);
            const bool open = entry && *crash_slot(slots, pv__pte_get(entry).slot) == 2;
            r->did[open ? CRASH_SPILLED : CRASH_REFERENCES]++;
        } else {
            (void)pv__reader_u64(&in);
            r->did[CRASH_DROPPED]++;
        }
    }
}

void crash_tally(crash_run *r) {
    crash_slots slots = {NULL, 0};
    uint64_t newest = 0;
    const uint8_t *head = NULL;
    for (size_t i = 0; i < sim_op_count(r->disk); i++) {
        const sim_op_info op = sim_op_get(r->disk, i);
        if (op.kind != SIM_WRITE) {
            continue;
        }
        const char *what = crash_content(&op);
        if (strcmp(what, "superblock") == 0) {
            const uint64_t lsn = pv__get64((const uint8_t *)op.data + PV__SUPER_LSN);
            r->did[CRASH_CHECKPOINTS] += lsn > newest && newest > 0;
            newest = PV_MAX(newest, lsn);
        } else if (strcmp(what, "page") == 0 || strcmp(what, "table node") == 0) {
            const bool open = op.site && strcmp(op.site->tag, "work") == 0;
            for (uint64_t at = 0; at < op.size / PV__SLOT_SIZE; at++) {
                uint8_t *slot = crash_slot(&slots, op.offset / PV__SLOT_SIZE + at);
                r->did[CRASH_SLOTS_REUSED] += *slot != 0;
                *slot = open ? 2 : 1;
            }
        } else if (strcmp(what, "record head") == 0) {
            head = op.data;
        } else if (strcmp(what, "record body") == 0 && head) {
            crash_tally_body(r, &slots, head, op.data,
                             (size_t)PV_MIN(op.size, pv__get64(head + PV__REC_BODY)));
            head = NULL;
        }
    }
    free(slots.at);
}

/* ---- what was seen before -------------------------------------------------------------------- */

uint32_t *crash_seen_put(crash_seen *s, uint64_t hash, bool *out_new) {
    if (2 * (s->count + 1) > s->cap) {
        crash_seen old = *s;
        s->cap = old.cap ? 2 * old.cap : 4096;
        s->hash = sim_alloc(s->cap * sizeof *s->hash);
        s->value = sim_alloc(s->cap * sizeof *s->value);
        s->count = 0;
        for (size_t i = 0; i < old.cap; i++) {
            bool fresh = false;
            if (old.hash[i]) {
                *crash_seen_put(s, old.hash[i], &fresh) = old.value[i];
            }
        }
        crash_seen_done(&old);
    }
    hash = hash ? hash : 1;
    size_t at = (size_t)(hash % s->cap);
    while (s->hash[at] && s->hash[at] != hash) {
        at = (at + 1) % s->cap;
    }
    *out_new = s->hash[at] == 0;
    s->count += *out_new;
    s->hash[at] = hash;
    return &s->value[at];
}

void crash_seen_done(crash_seen *s) {
    free(s->hash);
    free(s->value);
    memset(s, 0, sizeof *s);
}

uint64_t crash_env(const char *name, uint64_t normal, uint64_t with_sanitizer) {
    const char *v = getenv(name);
    if (v && v[0]) {
        return strtoull(v, NULL, 10);
    }
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return with_sanitizer;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return with_sanitizer;
#endif
#endif
    (void)with_sanitizer;
    return normal;
}
