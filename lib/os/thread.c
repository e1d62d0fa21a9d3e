/* SPDX-License-Identifier: Apache-2.0 */
/* thread.c - mutex, condition and threads over pthreads. Conditions count on the monotonic clock,
 * so that setting the wall clock neither cuts a wait short nor stretches it. Threads of the
 * library block all signals: the host's handlers run on the host's threads. */
#include "os/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

int pv__mutex_init(pv__mutex *m, pv_error *err) {
    const int e = pthread_mutex_init(m, NULL);
    return e == 0 ? 0 : pv__err_sys(err, e == ENOMEM ? PV_ERR_NOMEM : PV_ERR_IO, e, "mutex");
}

void pv__mutex_done(pv__mutex *m) { (void)pthread_mutex_destroy(m); }

void pv__mutex_lock(pv__mutex *m) {
    const int e = pthread_mutex_lock(m);
    (void)e;
    PV_DEBUG_ASSERT(e == 0);
}

bool pv__mutex_try(pv__mutex *m) { return pthread_mutex_trylock(m) == 0; }

void pv__mutex_unlock(pv__mutex *m) {
    const int e = pthread_mutex_unlock(m);
    (void)e;
    PV_DEBUG_ASSERT(e == 0);
}

int pv__cond_init(pv__cond *c, pv_error *err) {
    int e = 0;
#if defined(__APPLE__)
    e = pthread_cond_init(c, NULL); /* waits are relative there, see below */
#else
    pthread_condattr_t attr;
    e = pthread_condattr_init(&attr);
    if (e == 0) {
        e = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        if (e == 0) {
            e = pthread_cond_init(c, &attr);
        }
        (void)pthread_condattr_destroy(&attr);
    }
#endif
    return e == 0 ? 0 : pv__err_sys(err, e == ENOMEM ? PV_ERR_NOMEM : PV_ERR_IO, e, "condition");
}

void pv__cond_done(pv__cond *c) { (void)pthread_cond_destroy(c); }

void pv__cond_wait(pv__cond *c, pv__mutex *m) { (void)pthread_cond_wait(c, m); }

bool pv__cond_wait_for(pv__cond *c, pv__mutex *m, uint32_t timeout_ms) {
    struct timespec t;
#if defined(__APPLE__)
    t.tv_sec = (time_t)(timeout_ms / 1000);
    t.tv_nsec = (long)(timeout_ms % 1000) * 1000000L;
    return pthread_cond_timedwait_relative_np(c, m, &t) != ETIMEDOUT;
#else
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(timeout_ms / 1000);
    t.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_nsec -= 1000000000L;
        t.tv_sec++;
    }
    return pthread_cond_timedwait(c, m, &t) != ETIMEDOUT;
#endif
}

void pv__cond_signal(pv__cond *c) { (void)pthread_cond_signal(c); }

void pv__cond_broadcast(pv__cond *c) { (void)pthread_cond_broadcast(c); }

int pv__thread_start(pv__thread *t, void *(*fn)(void *), void *arg, pv_error *err) {
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    const int masked = pthread_sigmask(SIG_SETMASK, &all, &before); /* the new thread inherits it */
    const int e = pthread_create(t, NULL, fn, arg);
    if (masked == 0) {
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    return e == 0 ? 0 : pv__err_sys(err, PV_ERR_LIMIT, e, "cannot start a thread");
}

void pv__thread_join(pv__thread t) { (void)pthread_join(t, NULL); }

void pv__thread_yield(void) { (void)sched_yield(); }

uint64_t pv__thread_id(void) {
    const pthread_t self = pthread_self();
    uint64_t id = 0;
    memcpy(&id, &self, PV_MIN(sizeof id, sizeof self)); /* a number or a pointer */
    return id;
}
