/* SPDX-License-Identifier: Apache-2.0 */
/* helper.c - see helper.h. */
#include "os/helper.h"

int pv__helper_init(pv__helper *h, bool allowed, pv_error *err) {
    h->fn = NULL;
    h->ctx = NULL;
    h->allowed = allowed;
    h->started = h->stop = false;
    PV_TRY(pv__mutex_init(&h->mutex, err));
    return pv__cond_init(&h->cond, err);
}

static void *helper_run(void *arg) {
    pv__helper *h = arg;
    pv__mutex_lock(&h->mutex);
    while (!h->stop) {
        if (!h->fn) {
            pv__cond_wait(&h->cond, &h->mutex);
            continue;
        }
        const pv__helper_fn fn = h->fn;
        void *ctx = h->ctx;
        pv__mutex_unlock(&h->mutex);
        fn(ctx);
        pv__mutex_lock(&h->mutex);
        h->fn = NULL;
        pv__cond_broadcast(&h->cond);
    }
    pv__mutex_unlock(&h->mutex);
    return NULL;
}

bool pv__helper_start(pv__helper *h, pv__helper_fn fn, void *ctx) {
    bool accepted = false;
    if (!h->allowed) {
        return false;
    }
    pv__mutex_lock(&h->mutex);
    if (!h->fn && !h->stop) {
        if (!h->started) {
            pv_error ignored = PV_ERROR_INIT;
            h->started = pv__thread_start(&h->thread, helper_run, h, &ignored) == 0;
        }
        if (h->started) {
            h->fn = fn;
            h->ctx = ctx;
            accepted = true;
            pv__cond_broadcast(&h->cond);
        }
    }
    pv__mutex_unlock(&h->mutex);
    return accepted;
}

void pv__helper_wait(pv__helper *h) {
    pv__mutex_lock(&h->mutex);
    while (h->fn) {
        pv__cond_wait(&h->cond, &h->mutex);
    }
    pv__mutex_unlock(&h->mutex);
}

void pv__helper_stop(pv__helper *h) {
    pv__helper_wait(h);
    pv__mutex_lock(&h->mutex);
    const bool started = h->started;
    h->stop = true;
    pv__cond_broadcast(&h->cond);
    pv__mutex_unlock(&h->mutex);
    if (started) {
        pv__thread_join(h->thread);
        h->started = false;
    }
}

void pv__helper_done(pv__helper *h) {
    pv__cond_done(&h->cond);
    pv__mutex_done(&h->mutex);
}
