/* SPDX-License-Identifier: Apache-2.0 */
/* crew.c - see crew.h. */
#include "engine/crew.h"

#define CREW_WAIT_MS 10u /* between two looks at the interrupt, when the caller has nothing to do */

static void crew_fail(pv__crew *c, int rc, const pv_error *why) {
    pv__mutex_lock(&c->mutex);
    if (c->rc == 0) {
        c->rc = rc;
        c->err = *why;
    }
    pv__mutex_unlock(&c->mutex);
    atomic_store_explicit(&c->ended, 1, memory_order_relaxed);
}

int pv__crew_interrupted(pv__crew *c, bool caller, pv_error *err) {
    /* relaxed: it only ends work, what has failed is read after all have been joined */
    if (atomic_load_explicit(&c->ended, memory_order_relaxed)) {
        return pv__err(err, PV_ERR_CANCELLED, "another thread of the search has failed");
    }
    return caller ? pv__db_interrupted(c->db, err) : 0;
}

static void crew_work(pv__crew_hand *h) {
    pv__crew *c = h->crew;
    pv_error err = PV_ERROR_INIT;
    int rc = 0;
    while (rc == 0 && !atomic_load_explicit(&c->ended, memory_order_relaxed)) {
        const uint32_t from = atomic_fetch_add_explicit(&c->next, c->step, memory_order_relaxed);
        if (from >= c->end) {
            rc = h->fn(h->ctx, c->end, c->end, &err);
            break;
        }
        rc = h->fn(h->ctx, from, PV_MIN(from + c->step, c->end), &err);
    }
    if (rc != 0) {
        crew_fail(c, rc, &err);
    }
}

static void *crew_thread(void *arg) {
    pv__crew_hand *h = arg;
    crew_work(h);
    pv__mutex_lock(&h->crew->mutex);
    h->crew->working--;
    pv__cond_signal(&h->crew->cond);
    pv__mutex_unlock(&h->crew->mutex);
    return NULL;
}

static void crew_start(pv__crew_hand *h) {
    pv__crew *c = h->crew;
    pv_error ignored = PV_ERROR_INIT;
    pv__mutex_lock(&c->mutex);
    c->working++;
    pv__mutex_unlock(&c->mutex);
    h->started = pv__thread_start(&h->thread, crew_thread, h, &ignored) == 0;
    if (!h->started) {
        pv__mutex_lock(&c->mutex);
        c->working--;
        pv__mutex_unlock(&c->mutex);
    }
}

/* Until the others have ended: a part of theirs may take long with many queries. */
static void crew_wait(pv__crew *c) {
    pv__mutex_lock(&c->mutex);
    while (c->working > 0) {
        (void)pv__cond_wait_for(&c->cond, &c->mutex, CREW_WAIT_MS);
        pv_error err = PV_ERROR_INIT;
        pv__mutex_unlock(&c->mutex); /* no callback under a lock */
        const int rc = pv__crew_interrupted(c, true, &err);
        if (rc != 0) {
            crew_fail(c, rc, &err);
        }
        pv__mutex_lock(&c->mutex);
    }
    pv__mutex_unlock(&c->mutex);
}

int pv__crew_run(pv_db *db, pv__crew *c, pv__crew_hand *hands, unsigned count, uint32_t from,
                 uint32_t end, uint32_t step, pv_error *err) {
    PV_TRY(pv__db_interrupted(db, err)); /* once at least, whoever does the work */
    c->db = db;
    c->end = end;
    c->step = step;
    c->working = 0;
    c->rc = 0;
    c->err = (pv_error)PV_ERROR_INIT;
    atomic_init(&c->next, from);
    atomic_init(&c->ended, 0);
    PV_TRY(pv__mutex_init(&c->mutex, err));
    const int rc = pv__cond_init(&c->cond, err);
    if (rc != 0) {
        pv__mutex_done(&c->mutex);
        return rc;
    }
    for (unsigned i = 0; i < count; i++) {
        hands[i].crew = c;
        hands[i].started = false;
    }
    for (unsigned i = 1; i < count; i++) {
        crew_start(&hands[i]);
    }
    crew_work(&hands[0]);
    crew_wait(c);
    for (unsigned i = 1; i < count; i++) {
        if (hands[i].started) {
            pv__thread_join(hands[i].thread);
        }
    }
    pv__cond_done(&c->cond);
    pv__mutex_done(&c->mutex);
    if (c->rc != 0 && err) {
        *err = c->err;
    }
    return c->rc;
}

#undef CREW_WAIT_MS
