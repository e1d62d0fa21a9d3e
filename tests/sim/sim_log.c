/* SPDX-License-Identifier: Apache-2.0 */
/* sim_log.c - the operation log, names, and the replay of what is durable and what is pending. */
#include <stdlib.h>
#include <string.h>

#include "sim/sim_internal.h"

void sim_lock(sim *s) { (void)pthread_mutex_lock(&s->mutex); }

void sim_unlock(sim *s) { (void)pthread_mutex_unlock(&s->mutex); }

/* ---- names ----------------------------------------------------------------------------------- */

bool sim_path_clean(const char *path, char out[SIM_PATH_MAX]) {
    size_t n = 0;
    for (const char *p = path; *p;) {
        const size_t part = strcspn(p, "/");
        if (part > 0 && !(part == 1 && p[0] == '.')) {
            if (n + part + 2 > SIM_PATH_MAX) {
                return false;
            }
            if (n > 0 || path[0] == '/') {
                out[n++] = '/';
            }
            memcpy(out + n, p, part);
            n += part;
        }
        p += part + (p[part] == '/');
    }
    out[n] = 0;
    return true;
}

void sim_path_parent(const char *clean, char out[SIM_PATH_MAX]) {
    const char *slash = strrchr(clean, '/');
    const size_t n = slash ? (size_t)(slash - clean) : 0;
    memcpy(out, clean, n);
    out[n] = 0;
}

sim_entry *sim_names_find(const sim_names *n, const char *path) {
    for (size_t i = 0; i < n->count; i++) {
        if (strcmp(n->at[i].path, path) == 0) {
            return &n->at[i];
        }
    }
    return NULL;
}

void sim_names_set(sim_names *n, const char *path, uint32_t node, bool is_dir) {
    sim_entry *e = sim_names_find(n, path);
    if (!e) {
        n->at = sim_grow(n->at, &n->cap, n->count + 1, sizeof *n->at);
        e = &n->at[n->count++];
        e->path = sim_strdup(path);
    }
    e->node = node;
    e->is_dir = is_dir;
}

static void sim_names_del_at(sim_names *n, size_t i) {
    free(n->at[i].path);
    n->at[i] = n->at[--n->count];
}

void sim_names_del(sim_names *n, const char *path) {
    for (size_t i = 0; i < n->count; i++) {
        if (strcmp(n->at[i].path, path) == 0) {
            sim_names_del_at(n, i);
            return;
        }
    }
}

void sim_names_copy(sim_names *to, const sim_names *from) {
    memset(to, 0, sizeof *to);
    for (size_t i = 0; i < from->count; i++) {
        sim_names_set(to, from->at[i].path, from->at[i].node, from->at[i].is_dir);
    }
}

void sim_names_done(sim_names *n) {
    for (size_t i = 0; i < n->count; i++) {
        free(n->at[i].path);
    }
    free(n->at);
    memset(n, 0, sizeof *n);
}

/* Also where an earlier operation on the same name was lost: the entry then says what this one
 * wrote. A node never has two names. */
void sim_names_apply(sim_names *n, const sim_op *op) {
    const sim_entry *e = NULL;
    switch (op->kind) {
    case SIM_CREATE:
    case SIM_MKDIR:
        sim_names_set(n, op->path, op->node, op->kind == SIM_MKDIR);
        break;
    case SIM_UNLINK:
    case SIM_RMDIR:
        e = sim_names_find(n, op->path);
        if (e && e->node == op->node) {
            sim_names_del(n, op->path);
        }
        break;
    case SIM_RENAME:
        for (size_t i = n->count; i-- > 0;) {
            if (n->at[i].node == op->node) {
                sim_names_del_at(n, i);
            }
        }
        sim_names_set(n, op->to, op->node, false);
        break;
    default:
        break;
    }
}

void sim_names_prune(sim_names *n) {
    char parent[SIM_PATH_MAX];
    bool again = true;
    while (again) {
        again = false;
        for (size_t i = n->count; i-- > 0;) {
            sim_path_parent(n->at[i].path, parent);
            const sim_entry *e = parent[0] ? sim_names_find(n, parent) : NULL;
            if (parent[0] && (!e || !e->is_dir)) {
                sim_names_del_at(n, i);
                again = true;
            }
        }
    }
}

/* ---- log ------------------------------------------------------------------------------------- */

void sim_log_add(sim *s, const sim_op *op, const void *data) {
    if (!s->log_on) {
        return;
    }
    s->ops = sim_grow(s->ops, &s->op_cap, s->op_count + 1, sizeof *s->ops);
    sim_op *o = &s->ops[s->op_count++];
    *o = *op;
    o->path = sim_strdup(op->path);
    o->to = op->to ? sim_strdup(op->to) : NULL;
    o->data = NULL;
    if (data) {
        o->data = sim_alloc((size_t)op->size);
        memcpy(o->data, data, (size_t)op->size);
    }
}

void sim_log_done(sim *s) {
    for (size_t i = 0; i < s->op_count; i++) {
        free(s->ops[i].path);
        free(s->ops[i].to);
        free(s->ops[i].data);
    }
    free(s->ops);
    s->ops = NULL;
    s->op_count = 0;
    s->op_cap = 0;
}

size_t sim_op_count(sim *s) {
    sim_lock(s);
    const size_t n = s->op_count;
    sim_unlock(s);
    return n;
}

sim_op_info sim_op_get(sim *s, size_t i) {
    sim_op_info info;
    memset(&info, 0, sizeof info);
    sim_lock(s);
    if (i < s->op_count) {
        const sim_op *o = &s->ops[i];
        info.kind = o->kind;
        info.cls = o->cls;
        info.path = o->path;
        info.to = o->to;
        info.offset = o->offset;
        info.size = o->size;
        info.data = o->data;
        info.site = o->site;
    }
    sim_unlock(s);
    return info;
}

const sim_site *sim_op_site(sim *s, size_t i) { return sim_op_get(s, i).site; }

void sim_op_print(sim *s, size_t from, size_t to, FILE *out) {
    for (size_t i = from; i < to && i < sim_op_count(s); i++) {
        const sim_op_info o = sim_op_get(s, i);
        fprintf(out, "%6zu %-11s %-11s %s", i, sim_kind_name(o.kind), sim_class_name(o.cls),
                o.path);
        if (o.to) {
            fprintf(out, " -> %s", o.to);
        }
        if (o.kind == SIM_WRITE || o.kind == SIM_ALLOCATE || o.kind == SIM_TRUNCATE) {
            fprintf(out, " at %llu, %llu bytes", (unsigned long long)o.offset,
                    (unsigned long long)o.size);
        }
        fprintf(out, "%s%s\n", o.site && o.site->tag[0] ? " #" : "", o.site ? o.site->tag : "");
    }
}

void sim_log_enable(sim *s, bool on) {
    sim_lock(s);
    s->log_on = on;
    sim_unlock(s);
}

/* ---- replay ---------------------------------------------------------------------------------- */

void sim_pending_apply(sim_content *c, const sim *s, const sim_pending *p) {
    const sim_op *o = &s->ops[p->op];
    switch (o->kind) {
    case SIM_WRITE:
        sim_content_write(c, p->offset, o->data + (p->offset - o->offset),
                          (size_t)(p->end - p->offset));
        break;
    case SIM_TRUNCATE:
        sim_content_resize(c, o->size);
        break;
    case SIM_ALLOCATE:
        if (o->offset + o->size > c->size) {
            sim_content_resize(c, o->offset + o->size);
        }
        break;
    default:
        break;
    }
}

static void sim_pending_push(sim_pending_list *l, sim_pending p) {
    l->at = sim_grow(l->at, &l->cap, l->count + 1, sizeof *l->at);
    l->at[l->count++] = p;
}

static sim_rnode *sim_replay_node(sim_replay *r, uint32_t node) {
    while (r->node_count <= node) {
        r->nodes = sim_grow(r->nodes, &r->node_cap, r->node_count + 1, sizeof *r->nodes);
        memset(&r->nodes[r->node_count++], 0, sizeof *r->nodes);
    }
    return &r->nodes[node];
}

/* What a successful sync leaves of a lost write: the pages of it that nothing touched since. The
 * others went to the disk whole, with all that was in the cache. */
static void sim_lost_keep(const sim *s, const sim_pending_list *all, size_t i,
                          sim_pending_list *kept) {
    sim_pending piece = all->at[i];
    for (uint64_t at = piece.offset; at < piece.end;) {
        const uint64_t page = at - at % SIM_BLOCK;
        const uint64_t stop = page + SIM_BLOCK < piece.end ? page + SIM_BLOCK : piece.end;
        sim_pending part = {piece.op, true, at, stop};
        bool written = false;
        for (size_t j = i + 1; j < all->count; j++) {
            const sim_pending *q = &all->at[j];
            const sim_op *o = &s->ops[q->op];
            if (!q->lost && o->kind == SIM_WRITE && q->offset < page + SIM_BLOCK && q->end > page) {
                written = true;
            } else if (o->kind == SIM_TRUNCATE && o->size < part.end) {
                part.end = o->size;
            }
        }
        if (!written && part.end > part.offset) {
            sim_pending_push(kept, part);
        }
        at = stop;
    }
}

/* A sync: all that is pending and not lost becomes durable. */
static void sim_replay_sync(const sim *s, sim_rnode *n) {
    bool lost = false;
    for (size_t i = 0; i < n->pending.count; i++) {
        lost = lost || n->pending.at[i].lost;
    }
    if (!lost) {
        for (size_t i = 0; i < n->pending.count; i++) {
            sim_pending_apply(&n->durable, s, &n->pending.at[i]);
        }
        n->pending.count = 0;
        return;
    }
    sim_pending_list kept = {NULL, 0, 0};
    sim_content cache;
    sim_content_copy(&cache, &n->durable);
    for (size_t i = 0; i < n->pending.count; i++) {
        const sim_pending *p = &n->pending.at[i];
        sim_pending_apply(&cache, s, p);
        if (p->lost) {
            sim_lost_keep(s, &n->pending, i, &kept);
        } else if (s->ops[p->op].kind == SIM_WRITE) {
            const uint64_t page_end = (p->end + SIM_BLOCK - 1) / SIM_BLOCK * SIM_BLOCK;
            const uint64_t known = n->durable.size > p->end ? n->durable.size : p->end;
            sim_content_take(&n->durable, &cache, p->offset - p->offset % SIM_BLOCK,
                             page_end < known ? page_end : known);
        } else {
            sim_pending_apply(&n->durable, s, p);
        }
    }
    sim_content_done(&cache);
    free(n->pending.at);
    n->pending = kept;
}

bool sim_op_is_in(const sim_op *o, const char *dir) {
    char parent[SIM_PATH_MAX];
    sim_path_parent(o->path, parent);
    if (strcmp(parent, dir) == 0) {
        return true;
    }
    sim_path_parent(o->to ? o->to : o->path, parent);
    return strcmp(parent, dir) == 0;
}

bool sim_op_shares_dir(const sim_op *a, const sim_op *b) {
    char parent[SIM_PATH_MAX];
    sim_path_parent(a->path, parent);
    if (sim_op_is_in(b, parent)) {
        return true;
    }
    sim_path_parent(a->to ? a->to : a->path, parent);
    return sim_op_is_in(b, parent);
}

/* All pending operations of the folder become durable, and with them the earlier ones of any
 * other folder that one of them touches: a journal keeps its order. */
static void sim_replay_sync_dir(const sim *s, sim_replay *r, const char *dir) {
    size_t keep = 0;
    for (size_t i = r->pending_count; i-- > 0;) {
        sim_pending_name *p = &r->pending[i];
        p->synced = sim_op_is_in(&s->ops[p->op], dir);
        for (size_t j = i + 1; !p->synced && j < r->pending_count; j++) {
            p->synced = r->pending[j].synced &&
                        sim_op_shares_dir(&s->ops[p->op], &s->ops[r->pending[j].op]);
        }
    }
    for (size_t i = 0; i < r->pending_count; i++) {
        if (r->pending[i].synced) {
            sim_names_apply(&r->names, &s->ops[r->pending[i].op]);
        } else {
            r->pending[keep++] = r->pending[i];
        }
    }
    r->pending_count = keep;
}

static void sim_replay_step(sim *s, uint32_t op) {
    sim_replay *r = &s->replay;
    const sim_op *o = &s->ops[op];
    sim_rnode *n = NULL;
    switch (o->kind) {
    case SIM_WRITE:
    case SIM_TRUNCATE:
    case SIM_ALLOCATE: {
        const sim_pending p = {op, false, o->offset, o->offset + o->size};
        sim_pending_push(&sim_replay_node(r, o->node)->pending, p);
        break;
    }
    case SIM_SYNC:
        sim_replay_sync(s, sim_replay_node(r, o->node));
        break;
    case SIM_SYNC_FAILED:
        n = sim_replay_node(r, o->node);
        for (size_t i = 0; i < n->pending.count; i++) {
            n->pending.at[i].lost = s->ops[n->pending.at[i].op].kind == SIM_WRITE;
        }
        break;
    case SIM_POKE:
        sim_content_write(&sim_replay_node(r, o->node)->durable, o->offset, o->data,
                          (size_t)o->size);
        break;
    case SIM_SYNC_DIR:
        sim_replay_sync_dir(s, r, o->path);
        break;
    default:
        (void)sim_replay_node(r, o->node);
        r->pending =
            sim_grow(r->pending, &r->pending_cap, r->pending_count + 1, sizeof *r->pending);
        r->pending[r->pending_count++] = (sim_pending_name){op, false};
        break;
    }
}

void sim_replay_done(sim_replay *r) {
    for (size_t i = 0; i < r->node_count; i++) {
        sim_content_done(&r->nodes[i].durable);
        free(r->nodes[i].pending.at);
    }
    free(r->nodes);
    free(r->pending);
    sim_names_done(&r->names);
    memset(r, 0, sizeof *r);
}

void sim_replay_to(sim *s, size_t pos) {
    sim_replay *r = &s->replay;
    if (pos < r->pos || r->pos == 0) {
        sim_replay_done(r);
        sim_names_copy(&r->names, &s->base_names);
        for (size_t i = 0; i < s->base_count; i++) {
            sim_content_copy(&sim_replay_node(r, (uint32_t)i)->durable, &s->base[i]);
        }
    }
    while (r->pos < pos) {
        sim_replay_step(s, (uint32_t)r->pos);
        r->pos++;
    }
}
