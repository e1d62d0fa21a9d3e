/* SPDX-License-Identifier: Apache-2.0 */
/* ann_judge.c - files of vectors, recall by distance, and what the kernel counted: see ann.h. */
#include "ann.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANN_SLACK 1e-5 /* distances this close count as equal, relative to the larger */

/* ---- files of vectors ------------------------------------------------------------------------ */

/* A file of bytes becomes one of floats in memory. */
static void judge_widen(ann_vecs *v, const char *path) {
    const size_t from = v->dims + 4, to = (v->dims + 1) * 4;
    if (v->bytes % from != 0) {
        ann_die("%s is no file of vectors", path);
    }
    const size_t rows = v->bytes / from;
    const int access = PROT_READ | PROT_WRITE, how = MAP_PRIVATE | MAP_ANONYMOUS;
    uint8_t *wide = mmap(NULL, rows * to, access, how, -1, 0);
    if (wide == MAP_FAILED) {
        ann_die("out of memory for %zu vectors", rows);
    }
    for (size_t i = 0; i < rows; i++) {
        memcpy(wide + i * to, v->map + i * from, 4);
        for (size_t k = 0; k < v->dims; k++) {
            const float x = v->map[i * from + 4 + k];
            memcpy(wide + i * to + 4 + 4 * k, &x, sizeof x);
        }
    }
    munmap((void *)(uintptr_t)v->map, v->bytes);
    v->map = wide;
    v->bytes = rows * to;
}

ann_vecs ann_vecs_open(const char *path) {
    ann_vecs v = {NULL, 0, 0, 0};
    struct stat st;
    uint32_t dims = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size < 8) {
        ann_die("%s cannot be read", path);
    }
    v.bytes = (size_t)st.st_size;
    void *map = mmap(NULL, v.bytes, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED) {
        ann_die("%s cannot be mapped", path);
    }
    v.map = (const uint8_t *)map;
    memcpy(&dims, v.map, sizeof dims);
    v.dims = dims;
    if (dims > 0 && strlen(path) > 6 && strcmp(path + strlen(path) - 6, ".bvecs") == 0) {
        judge_widen(&v, path);
    }
    if (dims == 0 || v.bytes % ((v.dims + 1) * 4) != 0) {
        ann_die("%s is no file of vectors", path);
    }
    v.rows = v.bytes / ((v.dims + 1) * 4);
    return v;
}

const float *ann_vecs_row(const ann_vecs *v, size_t i) {
    return (const float *)(const void *)(v->map + (i * (v->dims + 1) + 1) * 4);
}

float *ann_vecs_copy(const ann_vecs *v) {
    float *copy = aligned_alloc(64, (v->rows * v->dims * sizeof(float) + 63) / 64 * 64);
    if (!copy) {
        ann_die("out of memory for %zu vectors", v->rows);
    }
    for (size_t i = 0; i < v->rows; i++) {
        memcpy(copy + i * v->dims, ann_vecs_row(v, i), v->dims * sizeof(float));
    }
    return copy;
}

void ann_vecs_close(ann_vecs *v) {
    if (v->map) {
        munmap((void *)(uintptr_t)v->map, v->bytes);
    }
    v->map = NULL;
}

void ann_normalise(float *v, size_t dims) {
    double sum = 0;
    for (size_t i = 0; i < dims; i++) {
        sum += (double)v[i] * v[i];
    }
    const float scale = sum > 0 ? (float)(1.0 / sqrt(sum)) : 0.0f;
    for (size_t i = 0; i < dims; i++) {
        v[i] *= scale;
    }
}

/* ---- recall ---------------------------------------------------------------------------------- */

static double judge_distance(int metric, const float *a, const float *b, size_t dims) {
    double dot = 0, aa = 0, bb = 0, l2 = 0;
    for (size_t i = 0; i < dims; i++) {
        const double x = a[i], y = b[i];
        dot += x * y;
        aa += x * x;
        bb += y * y;
        l2 += (x - y) * (x - y);
    }
    if (metric == ANN_L2) {
        return sqrt(l2);
    }
    if (metric == ANN_IP) {
        return -dot;
    }
    return aa > 0 && bb > 0 ? 1.0 - dot / sqrt(aa * bb) : 1.0;
}

static int judge_has(const uint32_t *ids, size_t n, uint32_t id) {
    for (size_t i = 0; i < n; i++) {
        if (ids[i] == id) {
            return 1;
        }
    }
    return 0;
}

ann_recall ann_judge(const ann_job *job, const uint32_t *answers) {
    ann_vecs base = ann_vecs_open(job->base), query = ann_vecs_open(job->query);
    ann_vecs gt = ann_vecs_open(job->gt);
    size_t near = 0, same = 0;
    if (gt.rows != query.rows || gt.dims < ANN_K || base.dims != query.dims) {
        ann_die("base, query and gt do not belong together");
    }
    for (size_t q = 0; q < query.rows; q++) {
        const float *v = ann_vecs_row(&query, q);
        const uint32_t *truth = (const uint32_t *)(const void *)ann_vecs_row(&gt, q);
        const uint32_t *found = answers + q * ANN_K;
        double limit = 0;
        for (size_t i = 0; i < ANN_K; i++) { /* ids of equal distance may stand in any order */
            const double d =
                judge_distance(job->metric, v, ann_vecs_row(&base, truth[i]), base.dims);
            limit = i == 0 || d > limit ? d : limit;
        }
        limit += fabs(limit) * ANN_SLACK;
        for (size_t i = 0; i < ANN_K; i++) {
            if (found[i] >= base.rows || judge_has(found, i, found[i])) {
                continue;
            }
            same += (size_t)judge_has(truth, ANN_K, found[i]);
            near +=
                judge_distance(job->metric, v, ann_vecs_row(&base, found[i]), base.dims) <= limit;
        }
    }
    const double all = (double)(query.rows * ANN_K);
    ann_vecs_close(&base);
    ann_vecs_close(&query);
    ann_vecs_close(&gt);
    const ann_recall r = {(double)near / all, (double)same / all};
    return r;
}

/* ---- the machine ----------------------------------------------------------------------------- */

static uint64_t machine_number(const char *path, const char *key) {
    char line[256];
    unsigned long long n = 0;
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, strlen(key)) == 0) {
            n = strtoull(line + strlen(key), NULL, 10);
        }
    }
    if (f) {
        fclose(f);
    }
    return n;
}

static uint64_t machine_status(const char *key) {
    return machine_number("/proc/self/status", key) * 1024;
}

uint64_t ann_disk_read(void) { return machine_number("/proc/self/io", "read_bytes:"); }
uint64_t ann_anonymous(void) { return machine_status("RssAnon:") + machine_status("RssShmem:"); }
uint64_t ann_peak(void) { return machine_status("VmHWM:"); }

typedef uint64_t (*machine_fn)(const char *path);

/* The sum of fn over the file, the files of a folder, and those of `path-wal`. */
static uint64_t machine_each(const char *path, machine_fn fn, int with_log) {
    char other[4096];
    struct stat st;
    const struct dirent *e;
    uint64_t sum = 0;
    if (with_log) {
        snprintf(other, sizeof other, "%s-wal", path);
        sum += machine_each(other, fn, 0);
    }
    if (stat(path, &st) != 0) {
        return sum;
    }
    if (!S_ISDIR(st.st_mode)) {
        return sum + fn(path);
    }
    DIR *d = opendir(path);
    while (d && (e = readdir(d))) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            snprintf(other, sizeof other, "%s/%s", path, e->d_name);
            sum += machine_each(other, fn, 0);
        }
    }
    if (d) {
        closedir(d);
    }
    return sum;
}

static uint64_t machine_size(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static uint64_t machine_resident(const char *path) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = (size_t)machine_size(path);
    uint64_t sum = 0;
    const int fd = bytes ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) {
        return 0;
    }
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    unsigned char *in = malloc(bytes / page + 1);
    if (map != MAP_FAILED && in && mincore(map, bytes, in) == 0) {
        for (size_t i = 0; i < (bytes + page - 1) / page; i++) {
            sum += (in[i] & 1) ? page : 0;
        }
    }
    if (map != MAP_FAILED) {
        munmap(map, bytes);
    }
    free(in);
    close(fd);
    return sum;
}

static uint64_t machine_forget(const char *path) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        fdatasync(fd); /* dirty pages are not dropped */
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
    return 0;
}

static uint64_t machine_remove(const char *path) {
    unlink(path);
    return 0;
}

uint64_t ann_file_bytes(const char *path) { return machine_each(path, machine_size, 1); }
uint64_t ann_file_resident(const char *path) { return machine_each(path, machine_resident, 1); }
void ann_file_forget(const char *path) { machine_each(path, machine_forget, 1); }

void ann_file_remove(const char *path) {
    char other[4096];
    machine_each(path, machine_remove, 1);
    snprintf(other, sizeof other, "%s-wal", path);
    rmdir(other);
    snprintf(other, sizeof other, "%s-shm", path);
    unlink(other);
    snprintf(other, sizeof other, "%s.build", path);
    unlink(other);
}
