/* SPDX-License-Identifier: Apache-2.0 */
/* sim_vfs.h - a simulated disk that remembers everything: a pv_vfs whose operations are logged,
 * disk images as any power cut could have left them, injected errors, and counters by call site.
 * The model and its limits are explained in README.md beside this file.
 *
 *      sim *s = sim_new(seed);
 *      ... open a database on sim_vfs(s), work, note sim_op_count(s) after each acknowledged commit
 *      for (size_t i = 0; i <= sim_op_count(s); i++) {
 *          sim *disk = sim_image(s, i, SIM_CUT_TORN_512, seed + i);
 *          ... open the database on sim_vfs(disk), check, close
 *          sim_free(disk);
 *      }
 *
 * Threads: any; every call takes the object's mutex. Images are independent objects. */
#ifndef PV_SIM_VFS_H
#define PV_SIM_VFS_H

#include <stdbool.h>
#include <stdio.h>

#include "pv_unstable.h"

typedef struct sim sim;

typedef enum sim_kind {
    SIM_ANY = 0,
    SIM_OPEN,
    SIM_CLOSE,
    SIM_READ,
    SIM_WRITE,
    SIM_SYNC,
    SIM_TRUNCATE,
    SIM_ALLOCATE,
    SIM_SIZE,
    SIM_UNLINK,
    SIM_RENAME,
    SIM_MKDIR,
    SIM_RMDIR,
    SIM_SYNC_DIR,
    SIM_LIST,
    SIM_LOCK,
    SIM_KINDS_OF_CALLS, /* from here on only in the log */
    SIM_CREATE = SIM_KINDS_OF_CALLS,
    SIM_SYNC_FAILED,
    SIM_POKE, /* sim_file_poke */
    SIM_KINDS
} sim_kind;

typedef enum sim_class {
    SIM_CLASS_ANY = 0,
    SIM_CLASS_DB,    /* every file that is nothing below */
    SIM_CLASS_LOG,   /* in a folder NAME-wal */
    SIM_CLASS_SHM,   /* NAME-shm */
    SIM_CLASS_DIR,   /* folders: mkdir, rmdir, sync_dir, list */
    SIM_CLASS_OTHER, /* NAME.tmp, NAME-lock... */
    SIM_CLASSES
} sim_class;

const char *sim_kind_name(sim_kind kind);
const char *sim_class_name(sim_class cls);

sim *sim_new(uint64_t seed);
void sim_free(sim *s); /* also with files still open, as a crash leaves them; NULL is fine */
pv_vfs *sim_vfs(sim *s);

/* ---- the log: operations that changed the disk, in order ---- */

typedef struct sim_site {
    sim_kind kind; /* of the call */
    sim_class cls;
    const char *tag;    /* from the hook, or "" */
    const void *caller; /* address in the function that called the vfs */
    uint64_t calls;
} sim_site;

typedef struct sim_op_info {
    sim_kind kind;
    sim_class cls;
    const char *path; /* what it was about */
    const char *to;   /* rename: the new name, else NULL */
    uint64_t offset, size;
    const void *data; /* writes */
    const sim_site *site;
} sim_op_info;

size_t sim_op_count(sim *s);
/* Pointers stay valid until sim_free. */
sim_op_info sim_op_get(sim *s, size_t i);
const sim_site *sim_op_site(sim *s, size_t i);
void sim_op_print(sim *s, size_t from, size_t to, FILE *out);
/* Without a log nothing but counters is kept and no images can be made. On at first. */
void sim_log_enable(sim *s, bool on);

/* ---- images ---- */

typedef enum sim_cut {
    SIM_CUT_DROP_ALL, /* nothing that was not synced */
    SIM_CUT_KEEP_ALL, /* everything: also what kill -9 of the process leaves */
    SIM_CUT_SUBSET,   /* any subset of the pending operations */
    SIM_CUT_REORDER,  /* one without some that came before it */
    SIM_CUT_TORN_512, /* one write, mostly the last, only in part: sectors of 512 bytes */
    SIM_CUT_TORN_4K,  /* the same in blocks of 4 KiB */
    SIM_CUT_GARBAGE,  /* sectors of pending writes hold noise */
    SIM_CUT_ZERO,     /* or zeros */
    SIM_CUT_SIZE,     /* files as long as they should be, mostly without the data */
    SIM_CUT_DIRS,     /* names: any subset of pending creations, renames, removals */
    SIM_CUT_COUNT
} sim_cut;

const char *sim_cut_name(sim_cut mode);
/* A new disk as a power cut after the first `upto` operations may have left it. The same arguments
 * give the same image. Going through upto in ascending order is cheap; a step back replays. */
sim *sim_image(sim *s, size_t upto, sim_cut mode, uint64_t seed);
/* Of the names and contents of all files as they are seen now. */
uint64_t sim_image_hash(sim *s);
/* The same without the contents of one file. */
uint64_t sim_image_hash_but(sim *s, const char *path);

/* For upto = from, from + 1, ..., to and all modes with `seeds` seeds each (the first two modes
 * have one image): call fn with every image that differs from all others of the same upto. A
 * non-zero return stops; it is returned through *out_rc. fn does not free the image; `seed` makes
 * sim_image build it again. Returns the number of distinct images given to fn. */
typedef int (*sim_cut_fn)(void *arg, sim *image, size_t upto, sim_cut mode, uint64_t seed);
size_t sim_each_cut(sim *s, size_t from, size_t to, uint32_t seeds, uint64_t seed, sim_cut_fn fn,
                    void *arg, int *out_rc);

/* ---- faults ---- */

typedef enum sim_fault_kind {
    SIM_FAULT_NONE = 0,
    SIM_FAULT_IO,    /* PV_ERR_IO, nothing happened; a sync loses what it should have written */
    SIM_FAULT_FULL,  /* PV_ERR_FULL, nothing happened */
    SIM_FAULT_SHORT, /* write: half, then PV_ERR_FULL; read: half, as at the end; else as IO */
    SIM_FAULT_PERM   /* PV_ERR_PERM, nothing happened */
} sim_fault_kind;

typedef struct sim_fault {
    sim_fault_kind what;
    sim_kind kind; /* SIM_ANY: every call but close */
    sim_class cls; /* SIM_CLASS_ANY: every file */
    uint64_t nth;  /* the n-th such call from now on, from 1 */
    bool for_good; /* and all such calls after it */
} sim_fault;

void sim_fault_set(sim *s, const sim_fault *fault); /* replaces; NULL: none */
uint64_t sim_fault_hits(sim *s);                    /* calls that failed since it was set */

/* ---- counters ---- */

uint64_t sim_calls(sim *s, sim_kind kind, sim_class cls); /* SIM_ANY, SIM_CLASS_ANY: all */
void sim_calls_reset(sim *s);                             /* sites keep their counts */
size_t sim_site_count(sim *s);
const sim_site *sim_site_get(sim *s, size_t i);
/* A name for what the program is doing, asked at every call; must live as long as the sim. Called
 * with the mutex held: it may not call the sim. */
typedef const char *(*sim_site_fn)(void *ctx, sim_kind kind, sim_class cls, const char *path);
void sim_site_hook(sim *s, sim_site_fn fn, void *ctx);

/* ---- looking at and damaging the disk (tests of damage, not of power cuts) ---- */

/* The size of a file, false when there is none. */
bool sim_file_size(sim *s, const char *path, uint64_t *out_size);
/* Read or change bytes behind the library's back. A change is durable at once, whatever else is
 * pending, and stands in the log as SIM_POKE. */
bool sim_file_peek(sim *s, const char *path, uint64_t offset, void *out, size_t n);
bool sim_file_poke(sim *s, const char *path, uint64_t offset, const void *data, size_t n);
/* Call fn for every file (not folders) with its size. */
void sim_file_each(sim *s, void (*fn)(void *arg, const char *path, uint64_t size), void *arg);

#endif
