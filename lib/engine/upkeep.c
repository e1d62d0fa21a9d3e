/* SPDX-License-Identifier: Apache-2.0 */
/* upkeep.c - see upkeep.h.
 *
 *      want --> names (a few; more: look at all collections) --> one step each, in turn --> done
 *
 * A collection whose step fails is left alone until somebody wants it again: its next writer will
 * meet the same error and tell it. */
#include "engine/upkeep.h"

#include "engine/index.h"

#define UPKEEP_STEP_US 2000u
#define UPKEEP_UNITS 4096u
#define UPKEEP_REST_MS 2u    /* between two steps: half of a core at most */
#define UPKEEP_BUSY_MS 4u    /* somebody else writes */
#define UPKEEP_BUSY_MAX 128u /* a long transaction */

/* ---- what is wanted ---------------------------------------------------------------------- */

static unsigned upkeep_find(const pv__upkeep *u, const char *name) {
    unsigned i = 0;
    while (i < u->count && strcmp(u->names[i], name) != 0) {
        i++;
    }
    return i;
}

static void upkeep_add(pv__upkeep *u, const char *name) {
    if (upkeep_find(u, name) < u->count) {
        return;
    }
    if (u->count == PV_COUNTOF(u->names)) {
        u->all = true;
        return;
    }
    memcpy(u->names[u->count++], name, strlen(name) + 1);
}

static void upkeep_remove(pv__upkeep *u, const char *name) {
    const unsigned i = upkeep_find(u, name);
    if (i < u->count) {
        memmove(u->names[i], u->names[i + 1], (--u->count - i) * sizeof(u->names[0]));
    }
}

bool pv__upkeep_want(pv_db *db, const pv__collection *c) {
    pv__mutex_lock(&db->mutex);
    upkeep_add(&db->upkeep, c->name);
    pv__mutex_unlock(&db->mutex);
    return pv__chore_want(db->store);
}

void pv__upkeep_want_graves(pv_db *db) {
    /* Relaxed: it only says that the catalogue is to be looked at. */
    atomic_store_explicit(&db->upkeep.graves, true, memory_order_relaxed);
    (void)pv__chore_want(db->store);
}

static unsigned upkeep_doubt_at(const pv__upkeep *u, uint64_t page) {
    unsigned i = 0;
    while (i < u->doubt_count && u->doubts[i] != page) {
        i++;
    }
    return i;
}

void pv__upkeep_doubt(pv_db *db, const pv__collection *c) {
    pv__upkeep *u = &db->upkeep;
    pv__mutex_lock(&db->mutex);
    if (upkeep_doubt_at(u, c->graph.page) == u->doubt_count &&
        u->doubt_count < PV_COUNTOF(u->doubts)) {
        u->doubts[u->doubt_count++] = c->graph.page;
    }
    pv__mutex_unlock(&db->mutex);
    (void)pv__upkeep_want(db, c);
}

bool pv__upkeep_doubted(pv_db *db, const pv__collection *c) {
    pv__mutex_lock(&db->mutex);
    const bool found = upkeep_doubt_at(&db->upkeep, c->graph.page) < db->upkeep.doubt_count;
    pv__mutex_unlock(&db->mutex);
    return found;
}

void pv__upkeep_settled(pv_db *db, uint64_t graph_page) {
    pv__upkeep *u = &db->upkeep;
    pv__mutex_lock(&db->mutex);
    const unsigned i = upkeep_doubt_at(u, graph_page);
    if (i < u->doubt_count) {
        u->doubts[i] = u->doubts[--u->doubt_count];
    }
    pv__mutex_unlock(&db->mutex);
}

/* ---- one step ---------------------------------------------------------------------------- */

static pv__index_budget upkeep_budget(void) {
    return (pv__index_budget){pv__sys_mono_us(NULL) + UPKEEP_STEP_US, UPKEEP_UNITS};
}

static int upkeep_parts(pv_db *db, pv__txn *txn, const char *name, bool *out_more, pv_error *err) {
    pv__parts p;
    int rc = pv__parts_open(&p, txn, name, err);
    if (rc == 0) {
        rc = pv__index_upkeep(db, &p, upkeep_budget(), err);
    }
    *out_more = rc == 0 && pv__index_due(db, &p);
    pv__parts_done(&p);
    return rc;
}

/* name NULL: graves. */
static int upkeep_step(pv_db *db, const char *name, bool *out_more, pv_error *err) {
    pv__txn *txn = NULL;
    *out_more = false;
    PV_TRY(pv__txn_begin(db->store, PV__TXN_WRITE | PV__TXN_ASYNC | PV__TXN_CHORE, &txn, err));
    const int rc = name ? upkeep_parts(db, txn, name, out_more, err)
                        : pv__index_graves(db, txn, upkeep_budget(), out_more, err);
    if (rc != 0) {
        pv__txn_rollback(txn);
        return rc;
    }
    return pv__txn_commit(txn, NULL, err);
}

/* Look at all collections: those of which something is due, as many as there is room for. */
static int upkeep_fill(pv_db *db, pv_error *err) {
    pv__catalog_walk walk;
    pv__txn *txn = NULL;
    PV_TRY(pv__txn_begin(db->store, 0, &txn, err));
    int rc = pv__catalog_walk_begin(&walk, txn, err);
    while (rc == 0) {
        pv__collection c;
        pv__parts p;
        bool found = false;
        rc = pv__catalog_walk_next(&walk, true, &c, &found, err);
        if (rc != 0 || !found) {
            break;
        }
        if (c.graph.page != 0 && pv__parts_open_entry(&p, txn, &c, NULL) == 0) {
            const bool due = pv__index_due(db, &p);
            pv__parts_done(&p);
            pv__mutex_lock(&db->mutex);
            if (due) {
                upkeep_add(&db->upkeep, c.name);
            }
            pv__mutex_unlock(&db->mutex);
        }
    }
    pv__catalog_walk_end(&walk);
    pv__txn_rollback(txn);
    return rc;
}

typedef enum upkeep_what { UPKEEP_NOTHING, UPKEEP_NAME, UPKEEP_ALL, UPKEEP_GRAVES } upkeep_what;

static upkeep_what upkeep_next(pv_db *db, char name[PV__NAME_BYTES_MAX + 1]) {
    pv__upkeep *u = &db->upkeep;
    upkeep_what what = UPKEEP_NOTHING;
    pv__mutex_lock(&db->mutex);
    if (u->count > 0) {
        what = UPKEEP_NAME;
        memcpy(name, u->names[0], sizeof(u->names[0]));
    } else if (u->all) {
        what = UPKEEP_ALL;
        u->all = false;
    } else if (atomic_load_explicit(&u->graves, memory_order_relaxed)) {
        what = UPKEEP_GRAVES;
    }
    pv__mutex_unlock(&db->mutex);
    return what;
}

/* Done with it, unless there is more; then the others have their turn first. */
static void upkeep_after(pv_db *db, upkeep_what what, const char *name, bool more) {
    pv__mutex_lock(&db->mutex);
    if (what == UPKEEP_NAME) {
        upkeep_remove(&db->upkeep, name);
        if (more) {
            upkeep_add(&db->upkeep, name);
        }
    } else if (what == UPKEEP_GRAVES) {
        atomic_store_explicit(&db->upkeep.graves, more, memory_order_relaxed);
    }
    db->upkeep.busy_ms = 0;
    pv__mutex_unlock(&db->mutex);
}

static uint32_t upkeep_busy(pv_db *db) {
    pv__upkeep *u = &db->upkeep; /* busy_ms: of this thread alone */
    u->busy_ms = PV_MIN(PV_MAX(2 * u->busy_ms, UPKEEP_BUSY_MS), UPKEEP_BUSY_MAX);
    return u->busy_ms;
}

static uint32_t upkeep_once(pv_db *db) {
    char name[PV__NAME_BYTES_MAX + 1] = "";
    pv_error err = PV_ERROR_INIT;
    bool more = false;
    const upkeep_what what = upkeep_next(db, name);
    if (what == UPKEEP_NOTHING) {
        return PV__CHORE_DONE;
    }
    const int rc = what == UPKEEP_ALL
                       ? upkeep_fill(db, &err)
                       : upkeep_step(db, what == UPKEEP_NAME ? name : NULL, &more, &err);
    if (rc == PV_ERR_BUSY) {
        return upkeep_busy(db);
    }
    if (rc != 0 && rc != PV_ERR_NOTFOUND) {
        pv__log(&db->log, PV_LOG_WARN, "index", "upkeep of %s%s%s: %s",
                what == UPKEEP_NAME ? "collection '" : "old graphs", name,
                what == UPKEEP_NAME ? "'" : "", err.message);
    }
    upkeep_after(db, what, name, rc == 0 && more);
    return UPKEEP_REST_MS;
}

uint32_t pv__upkeep_run(void *arg) {
    pv_db *db = arg;
    uint32_t again = PV__CHORE_DONE;
    if (pv__db_enter(db, NULL) == 0) { /* E2: pv_close waits for it, and it never comes again */
        again = upkeep_once(db);
        pv__db_leave(db);
    }
    return again;
}

#undef UPKEEP_STEP_US
#undef UPKEEP_UNITS
#undef UPKEEP_REST_MS
#undef UPKEEP_BUSY_MS
#undef UPKEEP_BUSY_MAX
