/* SPDX-License-Identifier: Apache-2.0 */
/* sim_internal.h - shared between the files of the simulator.
 *
 *      live     what the program sees: names -> nodes with contents, handles, locks  (sim_vfs.c)
 *      log      every operation that changed it, with its data                       (sim_log.c)
 *      replay   the disk after the first `pos` operations: for every node what is durable and
 *               which operations are pending, the same for names; moves forward, or starts
 *               again from base                                                      (sim_log.c)
 *      images   one choice of pending operations on top of the replayed disk         (sim_image.c)
 *      faults, sites and counters                                                    (sim_fault.c)
 */
#ifndef PV_SIM_INTERNAL_H
#define PV_SIM_INTERNAL_H

#include <pthread.h>

#include "sim/sim_content.h"
#include "sim/sim_vfs.h"

#define SIM_PATH_MAX 512
#define SIM_LOCKS 16u
#define SIM_SITES_MAX 256u

typedef struct sim_entry {
    char *path; /* clean, ours */
    uint32_t node;
    bool is_dir;
} sim_entry;

typedef struct sim_names {
    sim_entry *at;
    size_t count, cap;
} sim_names;

typedef struct sim_node {
    sim_content content; /* as the cache has it */
    uint32_t handles;
    bool named;
    uint32_t shared[SIM_LOCKS];
    bool exclusive[SIM_LOCKS];
} sim_node;

typedef struct sim_file {
    struct sim_file *prev, *next; /* all open handles */
    uint32_t node;
    bool readonly;
    sim_class cls;
    char path[SIM_PATH_MAX]; /* as opened */
    uint8_t lock[SIM_LOCKS];
} sim_file;

typedef struct sim_op {
    sim_kind kind;
    sim_class cls;
    uint32_t node;
    uint64_t offset, size;
    uint8_t *data;
    char *path, *to;
    sim_site *site;
} sim_op;

/* A part of a pending data operation. */
typedef struct sim_pending {
    uint32_t op;
    bool lost;            /* a failed sync: later syncs do not make it durable */
    uint64_t offset, end; /* writes: the part that is meant */
} sim_pending;

typedef struct sim_pending_list {
    sim_pending *at;
    size_t count, cap;
} sim_pending_list;

typedef struct sim_rnode {
    sim_content durable;
    sim_pending_list pending;
} sim_rnode;

typedef struct sim_pending_name {
    uint32_t op;
    bool synced; /* while a sync of a folder is worked out */
} sim_pending_name;

typedef struct sim_replay {
    size_t pos;
    sim_rnode *nodes;
    size_t node_count, node_cap;
    sim_names names; /* durable */
    sim_pending_name *pending;
    size_t pending_count, pending_cap;
} sim_replay;

struct sim {
    pv_vfs vfs;
    pthread_mutex_t mutex;
    uint64_t seed;
    /* live */
    sim_names names;
    sim_node *nodes;
    size_t node_count, node_cap;
    sim_file *files;
    /* log */
    bool log_on;
    sim_op *ops;
    size_t op_count, op_cap;
    sim_names base_names;
    sim_content *base; /* per node */
    size_t base_count;
    sim_replay replay;
    /* faults, sites, counters */
    sim_fault fault;
    uint64_t fault_seen, fault_hits;
    uint64_t calls[SIM_KINDS_OF_CALLS][SIM_CLASSES];
    sim_site sites[SIM_SITES_MAX];
    size_t site_count;
    sim_site_fn site_fn;
    void *site_ctx;
};

void sim_lock(sim *s);
void sim_unlock(sim *s);

/* names */
bool sim_path_clean(const char *path, char out[SIM_PATH_MAX]);
void sim_path_parent(const char *clean, char out[SIM_PATH_MAX]); /* "": the root */
sim_entry *sim_names_find(const sim_names *n, const char *path);
void sim_names_set(sim_names *n, const char *path, uint32_t node, bool is_dir); /* replaces */
void sim_names_del(sim_names *n, const char *path);
void sim_names_copy(sim_names *to, const sim_names *from);
void sim_names_done(sim_names *n);
/* Apply a CREATE, MKDIR, UNLINK, RMDIR or RENAME. */
void sim_names_apply(sim_names *n, const sim_op *op);
/* Remove what stands in folders that are not there. */
void sim_names_prune(sim_names *n);
sim_class sim_class_of(const char *clean);
/* Is the operation about a name in this folder? A rename may be in two. */
bool sim_op_is_in(const sim_op *o, const char *dir);
bool sim_op_shares_dir(const sim_op *a, const sim_op *b);

/* log and replay; the mutex is held */
void sim_log_add(sim *s, const sim_op *op, const void *data); /* copies data and paths */
void sim_log_done(sim *s);
void sim_replay_to(sim *s, size_t pos);
void sim_replay_done(sim_replay *r);
void sim_pending_apply(sim_content *c, const sim *s, const sim_pending *p);

/* faults and sites; the mutex is held. Counts the call and says what shall happen to it. */
sim_fault_kind sim_enter(sim *s, sim_kind kind, sim_class cls, const char *path, const void *caller,
                         sim_site **out_site);
int sim_fault_error(sim_fault_kind what, sim_kind kind, const char *path, pv_error *err);

#endif
