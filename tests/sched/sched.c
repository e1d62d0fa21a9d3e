/* SPDX-License-Identifier: Apache-2.0 */
/* sched.c - see sched.h: who runs, and pthreads as seen by the program. Without sched_begin all
 * calls go straight through. */
#include "sched/sched.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SCHED_THREADS 64u
#define SCHED_PATIENCE 20000u /* points that one thread may pass while others could run */

typedef enum sched_state {
    SCHED_FREE, /* no thread */
    SCHED_READY,
    SCHED_LOCK,  /* waits for a mutex */
    SCHED_WAIT,  /* ... a condition */
    SCHED_TIMED, /* ... a condition or the time */
    SCHED_JOIN,  /* ... the end of a thread */
    SCHED_DONE
} sched_state;

typedef struct sched_thread {
    sched_state state;
    const void *what; /* mutex or condition */
    uint32_t other;   /* SCHED_JOIN */
    bool timed_out;
    uint64_t priority;
    uint64_t points, stall_at; /* PCT: its own points, and at which of them it steps back */
    pthread_t real;
    pthread_cond_t turn; /* with the mutex below */
    void *(*fn)(void *);
    void *arg;
} sched_thread;

static struct {
    bool on, pct;
    uint64_t seed, rng, points, turns, trace, alone;
    uint64_t change_at, apart; /* PCT: next point where the running thread steps back; the one
                                  after that comes within so many */
    uint64_t lowest;
    uint32_t chance;     /* else: one of so many points passes the turn on */
    uint32_t count, now; /* threads made; the one whose turn it is */
    sched_thread at[SCHED_THREADS];
} sched = {0};

static pthread_mutex_t sched_mutex = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local uint32_t sched_self; /* index + 1; 0: not one of ours */

int __real_pthread_mutex_lock(pthread_mutex_t *m);
int __real_pthread_mutex_trylock(pthread_mutex_t *m);
int __real_pthread_mutex_unlock(pthread_mutex_t *m);
int __real_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m);
int __real_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t);
int __real_pthread_cond_signal(pthread_cond_t *c);
int __real_pthread_cond_broadcast(pthread_cond_t *c);
int __real_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int __real_pthread_join(pthread_t t, void **out);
pthread_t __real_pthread_self(void);
int __real_sched_yield(void);

int __wrap_pthread_mutex_lock(pthread_mutex_t *m);
int __wrap_pthread_mutex_trylock(pthread_mutex_t *m);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *m);
int __wrap_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m);
int __wrap_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t);
int __wrap_pthread_cond_signal(pthread_cond_t *c);
int __wrap_pthread_cond_broadcast(pthread_cond_t *c);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int __wrap_pthread_join(pthread_t t, void **out);
pthread_t __wrap_pthread_self(void);
int __wrap_sched_yield(void);

/* ---- whose turn ------------------------------------------------------------------------------ */

static uint64_t sched_draw(uint64_t n) {
    uint64_t z = sched.rng += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (z ^ z >> 31) % n;
}

static bool sched_ours(void) { return sched.on && sched_self > 0; }

static void sched_deadlock(void) {
    static const char *const names[] = {"free",         "ready",  "a mutex", "a condition",
                                        "a timed wait", "an end", "done"};
    fprintf(stderr, "deadlock, seed %llu after %llu points\n", (unsigned long long)sched.seed,
            (unsigned long long)sched.points);
    for (uint32_t i = 0; i < sched.count; i++) {
        fprintf(stderr, "thread %u: %s %p %u\n", i, names[sched.at[i].state], sched.at[i].what,
                sched.at[i].other);
    }
    abort();
}

/* The next to run, which may be the same. Somebody who waits for the time gets it when nobody else
 * can run, and now and then by chance. */
static uint32_t sched_pick(bool yield) {
    uint32_t ready[SCHED_THREADS], count = 0, timed[SCHED_THREADS], timed_count = 0;
    for (uint32_t i = 0; i < sched.count; i++) {
        if (sched.at[i].state == SCHED_READY) {
            ready[count++] = i;
        } else if (sched.at[i].state == SCHED_TIMED) {
            timed[timed_count++] = i;
        }
    }
    if (timed_count > 0 && (count == 0 || sched_draw(4096) == 0)) {
        const uint32_t i = timed[sched_draw(timed_count)];
        sched.at[i].state = SCHED_READY;
        sched.at[i].timed_out = true;
        return i;
    }
    if (count == 0) {
        sched_deadlock();
    }
    const bool can_stay = sched.at[sched.now].state == SCHED_READY && !yield;
    if (!sched.pct) {
        return can_stay && sched_draw(sched.chance) ? sched.now : ready[sched_draw(count)];
    }
    if (yield || sched.points >= sched.change_at || sched.alone > SCHED_PATIENCE ||
        sched.at[sched.now].points == sched.at[sched.now].stall_at) {
        sched.at[sched.now].priority = sched.lowest--;
        if (sched.points >= sched.change_at) {
            sched.change_at = sched.points + 1 + sched_draw(sched.apart);
        }
    }
    uint32_t best = ready[0];
    for (uint32_t i = 1; i < count; i++) {
        best = sched.at[ready[i]].priority > sched.at[best].priority ? ready[i] : best;
    }
    return best;
}

/* Under sched_mutex: give the turn away, come back when it is ours again. */
static void sched_turn(bool yield) {
    const uint32_t self = sched_self - 1;
    const uint32_t next = sched_pick(yield);
    sched.alone = next == sched.now ? sched.alone + 1 : 0;
    if (next != sched.now) {
        sched.turns++;
        sched.trace = (sched.trace ^ sched.points * SCHED_THREADS ^ next) * 0x100000001B3u;
        sched.now = next;
        (void)__real_pthread_cond_signal(&sched.at[next].turn);
    }
    while (sched.now != self && sched.at[self].state != SCHED_DONE) {
        (void)__real_pthread_cond_wait(&sched.at[self].turn, &sched_mutex);
    }
}

static void sched_step(bool yield) {
    (void)__real_pthread_mutex_lock(&sched_mutex);
    sched.points++;
    sched_turn(yield);
    (void)__real_pthread_mutex_unlock(&sched_mutex);
}

/* Only we run: the draws need no lock unless the turn may go. */
void sched_point(void) {
    if (!sched_ours()) {
        return;
    }
    sched_thread *t = &sched.at[sched_self - 1];
    t->points++;
    const bool may_stay = sched.pct ? sched.points + 1 < sched.change_at &&
                                          sched.alone < SCHED_PATIENCE && t->points != t->stall_at
                                    : sched_draw(sched.chance) != 0;
    if (may_stay) {
        sched.points++;
        sched.alone++;
        return;
    }
    sched_step(!sched.pct);
}

/* Wait until somebody sets us ready. */
static void sched_block(sched_state state, const void *what, uint32_t other) {
    sched_thread *t = &sched.at[sched_self - 1];
    (void)__real_pthread_mutex_lock(&sched_mutex);
    t->state = state;
    t->what = what;
    t->other = other;
    t->timed_out = false;
    sched.points++;
    sched_turn(false);
    (void)__real_pthread_mutex_unlock(&sched_mutex);
}

/* Those who wait for `what` may run: all, or one by chance. */
static void sched_wake(const void *what, bool lock, bool one) {
    uint32_t who[SCHED_THREADS], count = 0;
    for (uint32_t i = 0; i < sched.count; i++) {
        const sched_thread *t = &sched.at[i];
        const bool waits =
            lock ? t->state == SCHED_LOCK : t->state == SCHED_WAIT || t->state == SCHED_TIMED;
        if (waits && t->what == what) {
            who[count++] = i;
        }
    }
    if (one && count > 1) {
        who[0] = who[sched_draw(count)];
        count = 1;
    }
    for (uint32_t i = 0; i < count; i++) {
        sched.at[who[i]].state = SCHED_READY;
    }
}

/* ---- pthreads -------------------------------------------------------------------------------- */

int __wrap_pthread_mutex_lock(pthread_mutex_t *m) {
    if (!sched_ours()) {
        return __real_pthread_mutex_lock(m);
    }
    sched_point();
    while (__real_pthread_mutex_trylock(m) != 0) {
        sched_block(SCHED_LOCK, m, 0);
    }
    return 0;
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t *m) {
    sched_point();
    return __real_pthread_mutex_trylock(m);
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *m) {
    const int rc = __real_pthread_mutex_unlock(m);
    if (sched_ours()) {
        sched_wake(m, true, false);
        sched_point();
    }
    return rc;
}

static int sched_cond_wait(pthread_cond_t *c, pthread_mutex_t *m, sched_state state) {
    (void)__real_pthread_mutex_unlock(m);
    sched_wake(m, true, false);
    sched_block(state, c, 0);
    const bool timed_out = sched.at[sched_self - 1].timed_out;
    (void)__wrap_pthread_mutex_lock(m);
    return timed_out ? ETIMEDOUT : 0;
}

int __wrap_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m) {
    return sched_ours() ? sched_cond_wait(c, m, SCHED_WAIT) : __real_pthread_cond_wait(c, m);
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t) {
    return sched_ours() ? sched_cond_wait(c, m, SCHED_TIMED)
                        : __real_pthread_cond_timedwait(c, m, t);
}

int __wrap_pthread_cond_signal(pthread_cond_t *c) {
    if (!sched_ours()) {
        return __real_pthread_cond_signal(c);
    }
    sched_wake(c, false, true);
    sched_point();
    return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *c) {
    if (!sched_ours()) {
        return __real_pthread_cond_broadcast(c);
    }
    sched_wake(c, false, false);
    sched_point();
    return 0;
}

int __wrap_sched_yield(void) {
    if (sched_ours()) {
        sched_step(true);
        return 0;
    }
    return __real_sched_yield();
}

/* Small numbers, the same in every run: the library draws from them where it looks first. */
pthread_t __wrap_pthread_self(void) {
    return sched_ours() ? (pthread_t)sched_self : __real_pthread_self();
}

static uint32_t sched_add(void *(*fn)(void *), void *arg) {
    if (sched.count == SCHED_THREADS) {
        fprintf(stderr, "sched: too many threads\n");
        abort();
    }
    sched_thread *t = &sched.at[sched.count];
    memset(t, 0, sizeof *t);
    t->state = SCHED_READY;
    t->priority = ((uint64_t)1 << 32) + sched_draw(1u << 20);
    /* Early points are few and as good as late ones: each power of two has the same chance. */
    const uint64_t scale = (uint64_t)1 << sched_draw(14);
    t->stall_at = scale + sched_draw(scale);
    t->fn = fn;
    t->arg = arg;
    (void)pthread_cond_init(&t->turn, NULL);
    return sched.count++;
}

static void *sched_run(void *arg) {
    const uint32_t self = (uint32_t)(uintptr_t)arg;
    sched_thread *t = &sched.at[self];
    sched_self = self + 1;
    (void)__real_pthread_mutex_lock(&sched_mutex);
    while (sched.now != self) {
        (void)__real_pthread_cond_wait(&t->turn, &sched_mutex);
    }
    (void)__real_pthread_mutex_unlock(&sched_mutex);
    void *out = t->fn(t->arg);
    (void)__real_pthread_mutex_lock(&sched_mutex);
    t->state = SCHED_DONE;
    for (uint32_t i = 0; i < sched.count; i++) {
        if (sched.at[i].state == SCHED_JOIN && sched.at[i].other == self) {
            sched.at[i].state = SCHED_READY;
        }
    }
    sched_turn(false);
    (void)__real_pthread_mutex_unlock(&sched_mutex);
    return out;
}

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg) {
    if (!sched_ours()) {
        return __real_pthread_create(t, a, fn, arg);
    }
    const uint32_t i = sched_add(fn, arg);
    const int rc = __real_pthread_create(&sched.at[i].real, a, sched_run, (void *)(uintptr_t)i);
    if (rc) {
        sched.at[i].state = SCHED_DONE;
        return rc;
    }
    *t = (pthread_t)(i + 1);
    sched_point();
    return 0;
}

int __wrap_pthread_join(pthread_t t, void **out) {
    if (!sched_ours()) {
        return __real_pthread_join(t, out);
    }
    const uint32_t i = (uint32_t)t - 1;
    if (sched.at[i].state != SCHED_DONE) {
        sched_block(SCHED_JOIN, NULL, i);
    }
    return __real_pthread_join(sched.at[i].real, out);
}

/* ---- begin, end ------------------------------------------------------------------------------ */

void sched_begin(uint64_t seed) {
    memset(&sched, 0, sizeof sched);
    sched.seed = sched.rng = seed;
    sched.trace = 0xCBF29CE484222325u;
    sched.lowest = (uint64_t)1 << 31;
    sched.pct = sched_draw(2) == 0;
    sched.chance = 1u << (1 + sched_draw(9));
    sched.apart = (uint64_t)200 << sched_draw(8);
    sched.change_at = 1 + sched_draw(sched.apart);
    sched_self = sched_add(NULL, NULL) + 1;
    sched.on = true;
}

sched_stats sched_end(void) {
    sched_stats out = {sched.points, sched.turns, sched.trace, sched.count};
    sched.on = false;
    for (uint32_t i = 0; i < sched.count; i++) {
        (void)pthread_cond_destroy(&sched.at[i].turn);
    }
    sched_self = 0;
    return out;
}

#undef SCHED_THREADS
#undef SCHED_PATIENCE
