/* SPDX-License-Identifier: Apache-2.0 */
/* thread.h - mutex, condition and threads over pthreads. */
#ifndef PV_OS_THREAD_H
#define PV_OS_THREAD_H

#include <pthread.h>

#include "base/base.h"

typedef pthread_mutex_t pv__mutex;
typedef pthread_cond_t pv__cond; /* waits on the monotonic clock */
typedef pthread_t pv__thread;

PV_PRIVATE int pv__mutex_init(pv__mutex *m, pv_error *err);
PV_PRIVATE void pv__mutex_done(pv__mutex *m);
PV_PRIVATE void pv__mutex_lock(pv__mutex *m);
PV_PRIVATE bool pv__mutex_try(pv__mutex *m);
PV_PRIVATE void pv__mutex_unlock(pv__mutex *m);
PV_PRIVATE int pv__cond_init(pv__cond *c, pv_error *err);
PV_PRIVATE void pv__cond_done(pv__cond *c);
PV_PRIVATE void pv__cond_wait(pv__cond *c, pv__mutex *m);
/* false when timeout_ms (real time) passed without a wake-up. */
PV_PRIVATE bool pv__cond_wait_for(pv__cond *c, pv__mutex *m, uint32_t timeout_ms);
PV_PRIVATE void pv__cond_signal(pv__cond *c);
PV_PRIVATE void pv__cond_broadcast(pv__cond *c);
PV_PRIVATE int pv__thread_start(pv__thread *t, void *(*fn)(void *), void *arg, pv_error *err);
PV_PRIVATE void pv__thread_join(pv__thread t);
PV_PRIVATE void pv__thread_yield(void);
/* A number that differs between running threads; the same for one thread's life. */
PV_PRIVATE uint64_t pv__thread_id(void);

#endif
