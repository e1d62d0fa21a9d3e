/* SPDX-License-Identifier: Apache-2.0 */
/* bench_threads.c - what a second searching thread brings, against a second process.
 *
 * Usage: bench_threads DB query.fvecs [rounds [milliseconds]]
 *
 * DB is what `bench/ann --save DB` leaves. In every round each of these searches for so many
 * milliseconds (default 250), in an order that turns with the rounds (default 16):
 *
 *      one         one thread, on the one processor and then on the other: the mean
 *      threads     two threads, one database open
 *      handles     two threads, each with a database of its own (copies of DB)
 *      processes   two processes, each with a database of its own
 *
 * What two processes share is the machine; so `threads` against `processes` is what the library
 * costs, and `processes` against `one` what the machine does. Rates are queries a second of wall
 * time and of processor time, which leaves out other jobs but not what they do to caches and
 * clocks; a factor is the median of those within rounds, with the tenth and the ninetieth
 * percentile. Each worker is pinned to a processor of its own and begins elsewhere in the queries.
 * One query a call, string ids, the library's default recall. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define CACHE_BYTES (UINT64_C(6) << 30)
#define ROUNDS_MAX 1000u
#define WORKERS 2u
#define LEAD 0.004 /* seconds until all are at the start */

enum { ONE, THREADS, HANDLES, PROCESSES, KINDS };
static const char *const names[KINDS] = {"one", "threads", "handles", "processes"};

/* One worker in one turn. */
typedef struct turn_job {
    pv_db *db;
    const float *queries;
    uint64_t count, dims, from;
    int cpu;
    double begin, end; /* by bench_now */
    double done, wall, processor;
} turn_job;

/* What goes to a process that works, and what comes back. */
typedef struct turn_order {
    int cpu;
    double begin, end;
} turn_order;
typedef struct turn_answer {
    double done, wall, processor;
} turn_answer;

typedef struct threads_bench {
    pv_db *shared, *own[WORKERS];
    const float *queries;
    uint64_t count, dims;
    int cpus[WORKERS];
    int to[WORKERS], back[WORKERS]; /* pipes of the processes */
    double seconds;
    double rate[2][KINDS][ROUNDS_MAX]; /* by wall and by processor time */
} threads_bench;

static double thread_cpu(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void sleep_until(double when) {
    const struct timespec t = {(time_t)when, (long)((when - (double)(time_t)when) * 1e9)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0) {
    }
}

static void *turn_run(void *ctx) {
    turn_job *j = ctx;
    pv_error err = PV_ERROR_INIT;
    pv_query q = PV_QUERY_INIT;
    cpu_set_t set;
    q.dims = (uint32_t)j->dims;
    CPU_ZERO(&set);
    CPU_SET(j->cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        bench_die("processor %d is not to be had", j->cpu);
    }
    sleep_until(j->begin);
    const double begin = bench_now(), cpu = thread_cpu();
    uint64_t n = 0;
    double now = begin;
    for (; now < j->end; n++) {
        pv_results *r = NULL;
        q.vector = j->queries + (j->from + n) % j->count * j->dims;
        bench_check(pv_search(j->db, NULL, "base", &q, &r, &err), &err, "search");
        if (pv_results_count(r) == 0 || !pv_results_id(r, 0)) {
            bench_die("an answer is empty");
        }
        pv_results_free(r);
        now = bench_now();
    }
    j->done = (double)n;
    j->wall = now - begin;
    j->processor = thread_cpu() - cpu;
    return NULL;
}

static pv_db *open_db(const char *path) {
    pv_db *db = NULL;
    pv_error err = PV_ERROR_INIT;
    pv_open_opts o = PV_OPEN_OPTS_INIT;
    o.threads = 1;
    o.cache_bytes = CACHE_BYTES;
    bench_check(pv_open(path, &o, &db, &err), &err, "open");
    return db;
}

static turn_job job_of(const threads_bench *b, unsigned worker, pv_db *db) {
    return (turn_job){.db = db,
                      .queries = b->queries,
                      .count = b->count,
                      .dims = b->dims,
                      .from = b->count * worker / WORKERS,
                      .cpu = b->cpus[worker]};
}

static void warm(const threads_bench *b, pv_db *db) {
    turn_job j = job_of(b, 0, db);
    j.end = bench_now() + 1;
    turn_run(&j);
}

static void copy_file(const char *from, const char *to) {
    static char block[1 << 20];
    size_t n;
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    while (in && out && (n = fread(block, 1, sizeof block, in)) > 0) {
        if (fwrite(block, 1, n, out) != n) {
            bench_die("%s cannot be written", to);
        }
    }
    if (!in || !out || fclose(out) != 0) {
        bench_die("%s cannot be copied to %s", from, to);
    }
    fclose(in);
}

/* ---- processes ------------------------------------------------------------------------------- */

static void process_serve(const threads_bench *b, unsigned worker, const char *path, int in,
                          int out) {
    turn_order order;
    pv_error err = PV_ERROR_INIT;
    pv_db *db = open_db(path);
    warm(b, db);
    turn_answer answer = {0, 0, 0};
    do {
        if (write(out, &answer, sizeof answer) != (ssize_t)sizeof answer) {
            bench_die("nobody listens");
        }
        if (read(in, &order, sizeof order) != (ssize_t)sizeof order) {
            break;
        }
        turn_job j = job_of(b, worker, db);
        j.cpu = order.cpu;
        j.begin = order.begin;
        j.end = order.end;
        turn_run(&j);
        answer = (turn_answer){j.done, j.wall, j.processor};
    } while (answer.done > 0);
    bench_check(pv_close(db, &err), &err, "close");
}

static turn_answer process_hear(const threads_bench *b, unsigned worker) {
    turn_answer answer;
    if (read(b->back[worker], &answer, sizeof answer) != (ssize_t)sizeof answer) {
        bench_die("a process has ended");
    }
    return answer;
}

/* Before this process opens anything: a database does not survive a fork. */
static void process_start(threads_bench *b, unsigned worker, const char *path) {
    int to[2], back[2];
    if (pipe(to) != 0 || pipe(back) != 0) {
        bench_die("no pipe");
    }
    const pid_t pid = fork();
    if (pid < 0) {
        bench_die("no process");
    }
    if (pid == 0) {
        close(to[1]);
        close(back[0]);
        for (unsigned i = 0; i < worker; i++) { /* or the end of the other one's is not seen */
            close(b->to[i]);
        }
        process_serve(b, worker, path, to[0], back[1]);
        exit(0);
    }
    close(to[0]);
    close(back[1]);
    b->to[worker] = to[1];
    b->back[worker] = back[0];
}

/* ---- turns ----------------------------------------------------------------------------------- */

static void turn_processes(const threads_bench *b, turn_job *jobs) {
    for (unsigned i = 0; i < WORKERS; i++) {
        const turn_order order = {jobs[i].cpu, jobs[i].begin, jobs[i].end};
        if (write(b->to[i], &order, sizeof order) != (ssize_t)sizeof order) {
            bench_die("a process has ended");
        }
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        const turn_answer a = process_hear(b, i);
        jobs[i].done = a.done;
        jobs[i].wall = a.wall;
        jobs[i].processor = a.processor;
    }
}

static void turn_threads(turn_job *jobs, unsigned workers) {
    pthread_t handles[WORKERS];
    for (unsigned i = 0; i < workers; i++) {
        if (pthread_create(&handles[i], NULL, turn_run, &jobs[i]) != 0) {
            bench_die("no thread");
        }
    }
    for (unsigned i = 0; i < workers; i++) {
        pthread_join(handles[i], NULL);
    }
}

/* Rates of `workers` from worker `first` on, added to what is there times `weight`. */
static void turn(threads_bench *b, int kind, unsigned first, unsigned workers, double weight,
                 double out[2]) {
    turn_job jobs[WORKERS];
    const double begin = bench_now() + LEAD;
    for (unsigned i = 0; i < workers; i++) {
        jobs[i] = job_of(b, first + i, kind == HANDLES ? b->own[first + i] : b->shared);
        jobs[i].begin = begin;
        jobs[i].end = begin + b->seconds;
    }
    if (kind == PROCESSES) {
        turn_processes(b, jobs);
    } else {
        turn_threads(jobs, workers);
    }
    for (unsigned i = 0; i < workers; i++) {
        out[0] += weight * jobs[i].done / jobs[i].wall;
        out[1] += weight * jobs[i].done / jobs[i].processor;
    }
}

static void round_run(threads_bench *b, unsigned round) {
    for (unsigned k = 0; k < KINDS; k++) {
        const int kind = (int)((k + round) % KINDS);
        double rate[2] = {0, 0};
        if (kind == ONE) {
            for (unsigned i = 0; i < WORKERS; i++) {
                turn(b, kind, i, 1, 1.0 / WORKERS, rate);
            }
        } else {
            turn(b, kind, 0, WORKERS, 1, rate);
        }
        b->rate[0][kind][round] = rate[0];
        b->rate[1][kind][round] = rate[1];
    }
}

static void print_factor(const threads_bench *b, int a, int of, unsigned rounds) {
    double found[2][3];
    for (unsigned clock = 0; clock < 2; clock++) {
        static const double at[3] = {0.5, 0.1, 0.9};
        double factors[ROUNDS_MAX];
        for (unsigned r = 0; r < rounds; r++) {
            factors[r] = b->rate[clock][a][r] / b->rate[clock][of][r];
        }
        for (unsigned i = 0; i < 3; i++) {
            found[clock][i] = bench_percentile(factors, rounds, at[i]);
        }
    }
    printf("%s.to_%s %.3f (%.3f to %.3f); by processor time %.3f (%.3f to %.3f)\n", names[a],
           names[of], found[0][0], found[0][1], found[0][2], found[1][0], found[1][1], found[1][2]);
}

static void print_all(threads_bench *b, unsigned rounds) {
    for (int k = 0; k < KINDS; k++) {
        double wall[ROUNDS_MAX], processor[ROUNDS_MAX];
        memcpy(wall, b->rate[0][k], rounds * sizeof *wall);
        memcpy(processor, b->rate[1][k], rounds * sizeof *processor);
        printf("%s.rate %.0f queries/s, %.0f of processor time\n", names[k],
               bench_percentile(wall, rounds, 0.5), bench_percentile(processor, rounds, 0.5));
    }
    print_factor(b, THREADS, ONE, rounds);
    print_factor(b, HANDLES, ONE, rounds);
    print_factor(b, PROCESSES, ONE, rounds);
    print_factor(b, THREADS, PROCESSES, rounds);
}

/* ---- main ------------------------------------------------------------------------------------ */

static void read_queries(threads_bench *b, const char *path) {
    int32_t dims = 0;
    FILE *f = fopen(path, "rb");
    if (!f || fread(&dims, 4, 1, f) != 1 || dims < 1 || fseek(f, 0, SEEK_END) != 0) {
        bench_die("%s cannot be read", path);
    }
    b->dims = (uint64_t)dims;
    b->count = (uint64_t)ftell(f) / (4 * (b->dims + 1));
    rewind(f);
    float *queries = bench_alloc(b->count * b->dims * sizeof *queries);
    for (uint64_t i = 0; i < b->count; i++) {
        if (fread(&dims, 4, 1, f) != 1 || fread(queries + i * b->dims, 4, b->dims, f) != b->dims) {
            bench_die("%s is too short", path);
        }
    }
    fclose(f);
    b->queries = queries;
}

static void two_processors(threads_bench *b) {
    cpu_set_t set;
    unsigned n = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        bench_die("no list of processors");
    }
    for (int i = 0; i < CPU_SETSIZE && n < WORKERS; i++) {
        if (CPU_ISSET(i, &set)) {
            b->cpus[n++] = i;
        }
    }
    if (n < WORKERS) {
        bench_die("two processors are needed");
    }
}

int main(int argc, char **argv) {
    static threads_bench b;
    char copies[2 * WORKERS][4096];
    pv_error err = PV_ERROR_INIT;
    if (argc < 3) {
        bench_die("usage: bench_threads DB query.fvecs [rounds [milliseconds]]");
    }
    const uint64_t rounds = argc > 3 ? bench_number(argv[3], "rounds") : 16;
    b.seconds = (double)(argc > 4 ? bench_number(argv[4], "milliseconds") : 250) * 1e-3;
    if (rounds < 1 || rounds > ROUNDS_MAX) {
        bench_die("1 to %u rounds", ROUNDS_MAX);
    }
    two_processors(&b);
    read_queries(&b, argv[2]);
    for (unsigned i = 0; i < 2 * WORKERS; i++) {
        snprintf(copies[i], sizeof copies[i], "%s.copy%u", argv[1], i);
        copy_file(argv[1], copies[i]);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        process_start(&b, i, copies[WORKERS + i]);
    }
    b.shared = open_db(argv[1]);
    warm(&b, b.shared);
    for (unsigned i = 0; i < WORKERS; i++) {
        b.own[i] = open_db(copies[i]);
        warm(&b, b.own[i]);
    }
    for (unsigned i = 0; i < WORKERS; i++) { /* they are ready */
        (void)process_hear(&b, i);
    }
    for (unsigned r = 0; r < rounds; r++) {
        round_run(&b, r);
    }
    print_all(&b, (unsigned)rounds);
    for (unsigned i = 0; i < WORKERS; i++) {
        close(b.to[i]);
        bench_check(pv_close(b.own[i], &err), &err, "close");
    }
    while (wait(NULL) > 0) {
    }
    bench_check(pv_close(b.shared, &err), &err, "close");
    for (unsigned i = 0; i < 2 * WORKERS; i++) {
        bench_remove_db(copies[i]);
    }
    return 0;
}
