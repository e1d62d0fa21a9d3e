/* SPDX-License-Identifier: Apache-2.0 */
/* sim_fault.c - what every call passes first: counters, call sites, injected faults. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sim/sim_internal.h"

const char *sim_kind_name(sim_kind kind) {
    static const char *const names[SIM_KINDS] = {
        "any",      "open", "close",  "read",        "write", "sync",  "truncate",
        "allocate", "size", "unlink", "rename",      "mkdir", "rmdir", "sync_dir",
        "list",     "lock", "create", "sync_failed", "poke"};
    return (unsigned)kind < SIM_KINDS ? names[kind] : "?";
}

const char *sim_class_name(sim_class cls) {
    static const char *const names[SIM_CLASSES] = {"any", "db",  "log-segment",
                                                   "shm", "dir", "other"};
    return (unsigned)cls < SIM_CLASSES ? names[cls] : "?";
}

static bool sim_ends_with(const char *s, size_t len, const char *end) {
    const size_t n = strlen(end);
    return len >= n && memcmp(s + len - n, end, n) == 0;
}

sim_class sim_class_of(const char *clean) {
    const char *slash = strrchr(clean, '/');
    const char *name = slash ? slash + 1 : clean;
    const size_t len = strlen(name);
    if (slash && sim_ends_with(clean, (size_t)(slash - clean), "-wal")) {
        return SIM_CLASS_LOG;
    }
    if (sim_ends_with(name, len, "-shm")) {
        return SIM_CLASS_SHM;
    }
    if (sim_ends_with(name, len, ".tmp") || strstr(name, "-lock") || strstr(name, "-tmp")) {
        return SIM_CLASS_OTHER;
    }
    return SIM_CLASS_DB;
}

/* The table is full only in a program with very many sites; the last one then takes the rest. */
static sim_site *sim_site_of(sim *s, sim_kind kind, sim_class cls, const char *tag,
                             const void *caller) {
    for (size_t i = 0; i < s->site_count; i++) {
        sim_site *site = &s->sites[i];
        if (site->kind == kind && site->cls == cls && site->caller == caller &&
            strcmp(site->tag, tag) == 0) {
            return site;
        }
    }
    if (s->site_count == SIM_SITES_MAX) {
        return &s->sites[SIM_SITES_MAX - 1];
    }
    sim_site *site = &s->sites[s->site_count++];
    site->kind = kind;
    site->cls = cls;
    site->tag = tag;
    site->caller = caller;
    site->calls = 0;
    return site;
}

sim_fault_kind sim_enter(sim *s, sim_kind kind, sim_class cls, const char *path, const void *caller,
                         sim_site **out_site) {
    const char *tag = s->site_fn ? s->site_fn(s->site_ctx, kind, cls, path) : NULL;
    sim_site *site = sim_site_of(s, kind, cls, tag ? tag : "", caller);
    site->calls++;
    s->calls[kind][cls]++;
    if (out_site) {
        *out_site = site;
    }
    const sim_fault *f = &s->fault;
    if (f->what == SIM_FAULT_NONE || kind == SIM_CLOSE || (f->kind != SIM_ANY && f->kind != kind) ||
        (f->cls != SIM_CLASS_ANY && f->cls != cls)) {
        return SIM_FAULT_NONE;
    }
    s->fault_seen++;
    if (s->fault_seen == f->nth || (f->for_good && s->fault_seen > f->nth)) {
        s->fault_hits++;
        return f->what;
    }
    return SIM_FAULT_NONE;
}

int sim_fault_error(sim_fault_kind what, sim_kind kind, const char *path, pv_error *err) {
    if (what == SIM_FAULT_SHORT) {
        what = kind == SIM_WRITE ? SIM_FAULT_FULL : SIM_FAULT_IO;
    }
    switch (what) {
    case SIM_FAULT_FULL:
        return pv__err_sys(err, PV_ERR_FULL, ENOSPC, "sim: %s '%s'", sim_kind_name(kind), path);
    case SIM_FAULT_PERM:
        return pv__err_sys(err, PV_ERR_PERM, EACCES, "sim: %s '%s'", sim_kind_name(kind), path);
    default:
        return pv__err_sys(err, PV_ERR_IO, EIO, "sim: %s '%s'", sim_kind_name(kind), path);
    }
}

void sim_fault_set(sim *s, const sim_fault *fault) {
    sim_lock(s);
    memset(&s->fault, 0, sizeof s->fault);
    if (fault) {
        s->fault = *fault;
    }
    s->fault_seen = 0;
    s->fault_hits = 0;
    sim_unlock(s);
}

uint64_t sim_fault_hits(sim *s) {
    sim_lock(s);
    const uint64_t hits = s->fault_hits;
    sim_unlock(s);
    return hits;
}

uint64_t sim_calls(sim *s, sim_kind kind, sim_class cls) {
    uint64_t sum = 0;
    sim_lock(s);
    for (int k = 1; k < SIM_KINDS_OF_CALLS; k++) {
        for (int c = 1; c < SIM_CLASSES; c++) {
            if ((kind == SIM_ANY || (int)kind == k) && (cls == SIM_CLASS_ANY || (int)cls == c)) {
                sum += s->calls[k][c];
            }
        }
    }
    sim_unlock(s);
    return sum;
}

void sim_calls_reset(sim *s) {
    sim_lock(s);
    memset(s->calls, 0, sizeof s->calls);
    sim_unlock(s);
}

size_t sim_site_count(sim *s) {
    sim_lock(s);
    const size_t n = s->site_count;
    sim_unlock(s);
    return n;
}

const sim_site *sim_site_get(sim *s, size_t i) { return i < SIM_SITES_MAX ? &s->sites[i] : NULL; }

void sim_site_hook(sim *s, sim_site_fn fn, void *ctx) {
    sim_lock(s);
    s->site_fn = fn;
    s->site_ctx = ctx;
    sim_unlock(s);
}
