/* SPDX-License-Identifier: Apache-2.0 */
/* ann.h - the protocol that every program of the recall bench speaks, ours and the adapters of
 * peers alike:
 *
 *      PROGRAM --base b.fvecs --query q.fvecs --gt g.ivecs --metric l2|ip|cos --threads N
 *              [--save FILE | --load FILE] --params 'm=16,efc=200,code=auto,ef=10:20,st=1,rep=3'
 *
 * It prints a comment line `# name version`, the heading below, and one CSV row per ef:
 *
 *      name,params,build_s,build_threads,mem_mb,file_mb,ef,recall10,qps,p50_us,p99_us,idrecall10
 *
 *      build (base in memory) --> FILE + FILE.build --exec--> fresh process: load, search, judge
 *
 * build_s        seconds from floats in memory to an index that can be searched (ours: committed,
 *                closed, so that another process can open it; peers: without writing their file);
 *                with clock=cpu those that all threads together had a processor
 * mem_mb         anonymous memory that loading and searching added, and the pages of the file that
 *                the kernel had to keep for it: the file is dropped from the page cache after
 *                warming, and what a further pass brings back is counted
 * recall10       share of the 10 answers whose true distance is at most 1.00001 times that of the
 *                10th true neighbour; an answer given twice counts once. idrecall10: by ids
 * qps            queries per second, median of `rep` passes over all queries, one query a call, by
 *                `st` threads. With clock=cpu, seconds are those that the searching threads had a
 *                processor
 * p50, p99       of single calls, wall time, over all passes
 *
 * writer=N adds a comment line behind each row with the commits a second beside it, where the
 * adapter has a writer.
 *
 * until=R ends the list of ef with the first that reaches that recall; io=1 adds a comment line
 * with the bytes that a query read from the disk.
 *
 * Every parameter that the driver does not know is the adapter's. A program that cannot go on says
 * why on stderr and exits with 1; one that cannot do what is asked (a metric) exits with 3. */
#ifndef ANN_H
#define ANN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define ANN_NORETURN [[noreturn]]
#else
#define ANN_NORETURN _Noreturn
#endif

#define ANN_K 10u

enum { ANN_L2, ANN_IP, ANN_COS };

/* Rows of a file of vectors: a count of 4 bytes before each row of as many 4-byte numbers; in a
 * file whose name ends with .bvecs of bytes, which are read as floats. */
typedef struct ann_vecs {
    const uint8_t *map; /* the file */
    size_t bytes, rows, dims;
} ann_vecs;

typedef struct ann_job {
    const char *base, *query, *gt, *params;
    const char *path; /* of the index */
    int metric;       /* ANN_ */
    unsigned threads; /* that build */
    size_t rows, dims;
} ann_job;

typedef struct ann_adapter {
    const char *name;
    const char *(*version)(void);
    /* Make the index of rows * dims floats at job->path. Returns the seconds to be reported. With
     * ANN_COS the floats are what the file has, not normalised. */
    double (*build)(const ann_job *job, const float *base);
    /* Open what build left. */
    void *(*load)(const ann_job *job);
    void (*set_ef)(void *index, unsigned ef);
    /* The nearest ANN_K; ids that are missing stay UINT32_MAX. out NULL: the answer is dropped. */
    void (*search)(void *index, const float *query, uint32_t *out);
    void (*close)(void *index);
    /* Commits a second since the last call, where somebody writes beside (writer=N). NULL: nobody
     * does. */
    double (*commits)(void *index);
} ann_adapter;

int ann_main(int argc, char **argv, const ann_adapter *adapter);

/* What adapters need. Text and number of a parameter, or what is given instead. */
const char *ann_param(const ann_job *job, const char *key, const char *otherwise, char *buffer);
unsigned long ann_number(const ann_job *job, const char *key, unsigned long otherwise);
ANN_NORETURN void ann_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
double ann_wall(void);
double ann_cpu(void);                   /* of the calling thread */
double ann_seconds(const ann_job *job); /* seconds for build: wall, or of all threads */

/* ---- files and judging (ann_judge.c) --------------------------------------------------------- */

#define ANN_PARAM_BYTES 256

ann_vecs ann_vecs_open(const char *path);
const float *ann_vecs_row(const ann_vecs *v, size_t i); /* ids: the same bytes */
float *ann_vecs_copy(const ann_vecs *v);                /* without the counts; free() */
void ann_vecs_close(ann_vecs *v);

typedef struct ann_recall {
    double by_distance, by_id;
} ann_recall;

/* answers: rows of query * ANN_K ids. */
ann_recall ann_judge(const ann_job *job, const uint32_t *answers);

/* Make v of unit length; zeros stay. */
void ann_normalise(float *v, size_t dims);

/* ---- the machine (ann_judge.c) --------------------------------------------------------------- */

uint64_t ann_anonymous(void);                 /* bytes of anonymous memory of this process */
uint64_t ann_peak(void);                      /* highest resident bytes so far */
uint64_t ann_disk_read(void);                 /* bytes that came from disks for this process */
uint64_t ann_file_bytes(const char *path);    /* of a file and of `path-wal`, if there is one */
uint64_t ann_file_resident(const char *path); /* bytes of them in the page cache */
void ann_file_forget(const char *path);       /* drop them from it, where nothing maps them */
void ann_file_remove(const char *path);

#ifdef __cplusplus
}
#endif
#endif
