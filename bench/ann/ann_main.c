/* SPDX-License-Identifier: Apache-2.0 */
/* ann_main.c - the protocol of ann.h: arguments, building, passes over the queries, rows. */
#include "ann.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAIN_REPS 64u
#define MAIN_THREADS 64u

void ann_die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "ann: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

static int main_uses_cpu(const ann_job *job) {
    char buffer[ANN_PARAM_BYTES];
    return strcmp(ann_param(job, "clock", "wall", buffer), "cpu") == 0;
}

static double main_clock(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double ann_wall(void) { return main_clock(CLOCK_MONOTONIC); }
double ann_cpu(void) { return main_clock(CLOCK_THREAD_CPUTIME_ID); }

double ann_seconds(const ann_job *job) {
    return main_clock(main_uses_cpu(job) ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC);
}

/* ---- parameters ------------------------------------------------------------------------------ */

const char *ann_param(const ann_job *job, const char *key, const char *otherwise, char *buffer) {
    const size_t n = strlen(key);
    const char *p = job->params;
    while (*p) {
        const size_t item = strcspn(p, ",");
        if (item > n && strncmp(p, key, n) == 0 && p[n] == '=') {
            if (item - n >= ANN_PARAM_BYTES) {
                ann_die("parameter %s is too long", key);
            }
            memcpy(buffer, p + n + 1, item - n - 1);
            buffer[item - n - 1] = '\0';
            return buffer;
        }
        p += item + (p[item] == ',');
    }
    return otherwise;
}

unsigned long ann_number(const ann_job *job, const char *key, unsigned long otherwise) {
    char buffer[ANN_PARAM_BYTES], *end = NULL;
    const char *text = ann_param(job, key, NULL, buffer);
    if (!text) {
        return otherwise;
    }
    errno = 0;
    const unsigned long n = strtoul(text, &end, 10);
    if (errno || end == text || *end) {
        ann_die("%s=%s is not a number", key, text);
    }
    return n;
}

/* The parameters without those of the driver, commas turned into blanks: one field of the row. */
static void main_print_params(const char *params) {
    static const char *const own[] = {"ef=", "st=", "rep=", "clock=", "until=", "io="};
    const char *p = params, *gap = "";
    while (*p) {
        const size_t item = strcspn(p, ",");
        int skip = 0;
        for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
            skip |= strncmp(p, own[i], strlen(own[i])) == 0;
        }
        if (!skip) {
            printf("%s%.*s", gap, (int)item, p);
            gap = " ";
        }
        p += item + (p[item] == ',');
    }
}

/* Peers talk on stdout while they build and load; rows shall stand there alone. */
static int main_hush(void) {
    fflush(stdout);
    const int out = dup(1);
    if (out < 0 || dup2(2, 1) < 0) {
        ann_die("stdout cannot be turned");
    }
    return out;
}

static void main_speak(int out) {
    fflush(stdout);
    dup2(out, 1);
    close(out);
}

/* ---- building -------------------------------------------------------------------------------- */

static void main_build(const ann_job *job, const ann_adapter *adapter) {
    char note[4096];
    ann_vecs base = ann_vecs_open(job->base);
    float *floats = ann_vecs_copy(&base);
    ann_vecs_close(&base);
    const int out = main_hush();
    const double seconds = adapter->build(job, floats);
    main_speak(out);
    snprintf(note, sizeof note, "%s.build", job->path);
    FILE *f = fopen(note, "w");
    if (!f || fprintf(f, "%.3f %u %.1f\n", seconds, job->threads, (double)ann_peak() * 1e-6) < 0 ||
        fclose(f) != 0) {
        ann_die("%s cannot be written", note);
    }
    free(floats);
    printf("# built in %.2f s, %.1f MB resident at most, the vectors given among them\n", seconds,
           (double)ann_peak() * 1e-6);
}

/* ---- passes ---------------------------------------------------------------------------------- */

typedef struct pass_share {
    const ann_adapter *adapter;
    void *index;
    const float *queries;
    size_t first, end, dims;
    int cpu;
    double *wall; /* of each query; NULL: not wanted */
    uint32_t *out;
    double seconds;
} pass_share;

static void *pass_run(void *ctx) {
    pass_share *s = ctx;
    const double begin = s->cpu ? ann_cpu() : ann_wall();
    double before = ann_wall();
    for (size_t i = s->first; i < s->end; i++) {
        s->adapter->search(s->index, s->queries + i * s->dims, s->out ? s->out + i * ANN_K : NULL);
        if (s->wall) {
            const double now = ann_wall();
            s->wall[i] = now - before;
            before = now;
        }
    }
    s->seconds = (s->cpu ? ann_cpu() : ann_wall()) - begin;
    return NULL;
}

/* One pass over all queries; the seconds of the slowest thread. */
static double pass_all(const pass_share *like, size_t threads) {
    pass_share shares[MAIN_THREADS];
    pthread_t handles[MAIN_THREADS];
    double most = 0;
    for (size_t t = 0; t < threads; t++) {
        shares[t] = *like;
        shares[t].first = like->end * t / threads;
        shares[t].end = like->end * (t + 1) / threads;
        if (threads > 1 && pthread_create(&handles[t], NULL, pass_run, &shares[t]) != 0) {
            ann_die("no thread");
        }
    }
    for (size_t t = 0; t < threads; t++) {
        if (threads > 1) {
            pthread_join(handles[t], NULL);
        } else {
            pass_run(&shares[t]);
        }
        most = shares[t].seconds > most ? shares[t].seconds : most;
    }
    return most;
}

static int main_compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double main_percentile(double *values, size_t n, double p) {
    qsort(values, n, sizeof *values, main_compare);
    return values[(size_t)(p * (double)(n - 1) + 0.5)];
}

typedef struct main_row {
    unsigned ef;
    double qps, p50, p99;
    double read;    /* bytes of the disk, a query */
    double commits; /* a second, beside */
    ann_recall recall;
} main_row;

static main_row main_measure(const ann_job *job, pass_share *share, unsigned ef) {
    const size_t reps = ann_number(job, "rep", 3), threads = ann_number(job, "st", 1);
    const size_t n = share->end;
    main_row row = {.ef = ef};
    double rates[MAIN_REPS], *wall = malloc(reps * n * sizeof(double));
    uint32_t *answers = malloc(n * ANN_K * sizeof *answers);
    if (!wall || !answers || reps < 1 || reps > MAIN_REPS || threads < 1 ||
        threads > MAIN_THREADS) {
        ann_die("rep is 1 to %u, st 1 to %u, and memory there must be", MAIN_REPS, MAIN_THREADS);
    }
    memset(answers, 0xFF, n * ANN_K * sizeof *answers);
    share->adapter->set_ef(share->index, ef);
    share->out = answers;
    share->wall = NULL;
    pass_all(share, 1); /* warms, and gives what is judged */
    share->out = NULL;
    const int writer = share->adapter->commits && ann_number(job, "writer", 0) != 0;
    const uint64_t read = ann_disk_read();
    if (writer) {
        (void)share->adapter->commits(share->index);
    }
    for (size_t r = 0; r < reps; r++) {
        share->wall = wall + r * n;
        rates[r] = (double)n / pass_all(share, threads);
    }
    row.commits = writer ? share->adapter->commits(share->index) : 0;
    row.read = (double)(ann_disk_read() - read) / (double)(reps * n);
    row.qps = main_percentile(rates, reps, 0.5);
    row.p50 = main_percentile(wall, reps * n, 0.5) * 1e6;
    row.p99 = main_percentile(wall, reps * n, 0.99) * 1e6;
    row.recall = ann_judge(job, answers);
    free(wall);
    free(answers);
    return row;
}

/* ef=10:20:40 in increasing order. */
static size_t main_efs(const ann_job *job, unsigned *efs, size_t max) {
    char buffer[ANN_PARAM_BYTES];
    size_t n = 0;
    const char *p = ann_param(job, "ef", "10:20:40:80:160", buffer);
    while (n < max) {
        char *end = NULL;
        efs[n++] = (unsigned)strtoul(p, &end, 10);
        if (end == p || (*end && *end != ':')) {
            ann_die("ef=%s is no list of numbers", p);
        }
        if (!*end) {
            break;
        }
        p = end + 1;
    }
    return n;
}

static void main_search(const ann_job *job, const ann_adapter *adapter) {
    char note[4096], buffer[ANN_PARAM_BYTES];
    unsigned efs[32], build_threads = job->threads;
    double build_s = -1;
    ann_vecs query = ann_vecs_open(job->query);
    float *queries = ann_vecs_copy(&query);
    pass_share share = {
        .adapter = adapter, .queries = queries, .end = query.rows, .dims = query.dims};
    share.cpu = main_uses_cpu(job);
    ann_vecs_close(&query);
    snprintf(note, sizeof note, "%s.build", job->path);
    FILE *f = fopen(note, "r");
    if (f) {
        if (fscanf(f, "%lf %u", &build_s, &build_threads) != 2) {
            build_s = -1;
        }
        fclose(f);
    }
    const double until = strtod(ann_param(job, "until", "2", buffer), NULL);
    const size_t n = main_efs(job, efs, sizeof efs / sizeof *efs);
    const uint64_t before = ann_anonymous();
    const int out = main_hush();
    share.index = adapter->load(job);
    main_speak(out);
    adapter->set_ef(share.index, efs[n / 2]);
    pass_all(&share, 1);
    ann_file_forget(job->path);
    pass_all(&share, 1);
    const uint64_t after = ann_anonymous(), pages = ann_file_resident(job->path);
    const double memory = (double)(after > before ? after - before : 0) + (double)pages;
    const double file = (double)ann_file_bytes(job->path);
    for (size_t i = 0; i < n; i++) {
        const main_row r = main_measure(job, &share, efs[i]);
        printf("%s,", adapter->name);
        main_print_params(job->params);
        printf(",%.2f,%u,%.1f,%.1f,%u,%.5f,%.1f,%.1f,%.1f,%.5f\n", build_s, build_threads,
               memory * 1e-6, file * 1e-6, r.ef, r.recall.by_distance, r.qps, r.p50, r.p99,
               r.recall.by_id);
        if (ann_number(job, "io", 0)) {
            printf("# %.0f bytes read from disk a query\n", r.read);
        }
        if (ann_number(job, "writer", 0)) {
            printf("# %.1f commits a second beside\n", r.commits);
        }
        fflush(stdout);
        if (r.recall.by_distance >= until) {
            break;
        }
    }
    adapter->close(share.index);
    free(queries);
}

/* ---- main ------------------------------------------------------------------------------------ */

/* Start again in a fresh process that only loads; `keep`: the index stays afterwards. */
ANN_NORETURN static void main_again(const ann_job *job, char **argv, int keep) {
    static const char *const metrics[] = {"l2", "ip", "cos"};
    char threads[16];
    snprintf(threads, sizeof threads, "%u", job->threads);
    const char *again[] = {argv[0],
                           "--base",
                           job->base,
                           "--query",
                           job->query,
                           "--gt",
                           job->gt,
                           "--metric",
                           metrics[job->metric],
                           "--threads",
                           threads,
                           "--params",
                           job->params,
                           keep ? "--load" : "--load-once",
                           job->path,
                           NULL};
    fflush(stdout);
    execv("/proc/self/exe", (char *const *)(uintptr_t)again);
    ann_die("cannot start again");
}

int ann_main(int argc, char **argv, const ann_adapter *adapter) {
    ann_job job = {.params = "", .metric = ANN_L2, .threads = 1};
    const char *load = NULL, *save = NULL;
    char own[64];
    int once = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *key = argv[i], *value = argv[i + 1];
        if (strcmp(key, "--base") == 0) {
            job.base = value;
        } else if (strcmp(key, "--query") == 0) {
            job.query = value;
        } else if (strcmp(key, "--gt") == 0) {
            job.gt = value;
        } else if (strcmp(key, "--metric") == 0) {
            job.metric = strcmp(value, "l2") == 0    ? ANN_L2
                         : strcmp(value, "ip") == 0  ? ANN_IP
                         : strcmp(value, "cos") == 0 ? ANN_COS
                                                     : -1;
        } else if (strcmp(key, "--threads") == 0) {
            job.threads = (unsigned)strtoul(value, NULL, 10);
        } else if (strcmp(key, "--save") == 0) {
            save = value;
        } else if (strcmp(key, "--load") == 0 || strcmp(key, "--load-once") == 0) {
            load = value;
            once = key[6] != '\0';
        } else if (strcmp(key, "--params") == 0) {
            job.params = value;
        } else {
            ann_die("no option %s: see bench/ann/ann.h", key);
        }
    }
    if (!job.base || !job.query || !job.gt || job.metric < 0 || job.threads < 1 || argc % 2 == 0 ||
        (load && save)) {
        ann_die(
            "--base --query --gt --metric l2|ip|cos --threads N [--save F | --load F] --params");
    }
    ann_vecs base = ann_vecs_open(job.base);
    job.rows = base.rows;
    job.dims = base.dims;
    ann_vecs_close(&base);
    snprintf(own, sizeof own, "ann-%ld.index", (long)getpid());
    job.path = load ? load : save ? save : own;
    if (!load) {
        ann_file_remove(job.path);
        printf("# %s %s\n", adapter->name, adapter->version());
        main_build(&job, adapter);
        main_again(&job, argv, save != NULL);
    }
    printf("name,params,build_s,build_threads,mem_mb,file_mb,ef,recall10,qps,p50_us,p99_us,"
           "idrecall10\n");
    main_search(&job, adapter);
    if (once) {
        ann_file_remove(job.path);
    }
    return 0;
}
