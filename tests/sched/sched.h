/* SPDX-License-Identifier: Apache-2.0 */
/* sched.h - threads of a test, one at a time, in an order that follows from a seed.
 *
 *      thread A   ..point..point......point            point..
 *                        \               \            /
 *      thread B           point..point.   point..    /          every point may pass the turn on
 *                                                \__/
 *
 * Points are: every call of pthreads (the program is linked with --wrap, so that locks, conditions
 * and threads of the library are here), and every atomic operation of the library, which is
 * compiled as for the thread sanitizer, but linked with sched_points.c instead of it. So a run is
 * one interleaving, sequentially consistent; the same seed gives the same one. What the processor
 * may reorder is not tried: that is for tests/spin and the sanitizer.
 *
 * Half of the seeds pass the turn on by chance; half give each thread a priority and change it at a
 * few points only, some early in its life, which finds bugs that need one thread to stand still for
 * long (PCT: Burckhardt et al., "A randomized scheduler with probabilistic guarantees of finding
 * bugs", ASPLOS 2010). */
#ifndef PV_TEST_SCHED_H
#define PV_TEST_SCHED_H

#include <stdbool.h>
#include <stdint.h>

typedef struct sched_stats {
    uint64_t points, turns; /* points passed; turns that went to another thread */
    uint64_t trace;         /* hash of who ran when */
    uint32_t threads;
} sched_stats;

/* From now on the calling thread and all that it makes run one at a time. It must join them before
 * sched_end. A deadlock ends the program with the seed and what everybody waits for. */
void sched_begin(uint64_t seed);
sched_stats sched_end(void);
void sched_point(void);

#endif
