// SPDX-License-Identifier: Apache-2.0
// peer_glass.cpp - glass (zilliztech/pyglass) in C++: GLASS names a checkout of its sources.
// Parameters: m (degree is twice that), efc, build (codes while building), code (codes walked),
// refine (codes of the re-rank, "none" for none). Its file has only the graph, so that loading
// reads the vectors again; its prefetching is tuned at every load, as its authors do.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "ann.h"
#include "glass/hnsw/hnsw.hpp"
#include "glass/searcher/graph_searcher.hpp"

namespace {

struct Index {
    std::unique_ptr<glass::GraphSearcherBase> searcher;
    size_t dims;
    bool unit;
};

const char *version() { return PEER_VERSION; }

std::string text(const ann_job *job, const char *key, const char *otherwise) {
    char buffer[ANN_PARAM_BYTES];
    return ann_param(job, key, otherwise, buffer);
}

std::string metric_of(const ann_job *job) { return job->metric == ANN_L2 ? "L2" : "IP"; }

std::vector<float> prepared(const ann_job *job, const float *base) {
    std::vector<float> v(base, base + job->rows * job->dims);
    for (size_t i = 0; job->metric == ANN_COS && i < job->rows; i++) {
        ann_normalise(v.data() + i * job->dims, job->dims);
    }
    return v;
}

double build(const ann_job *job, const float *base) {
    const std::vector<float> v = prepared(job, base);
    omp_set_num_threads(static_cast<int>(job->threads));
    const double start = ann_seconds(job);
    auto builder = glass::create_hnsw(metric_of(job), text(job, "build", "SQ8U"),
                                      static_cast<int>(2 * ann_number(job, "m", 16)),
                                      static_cast<int>(ann_number(job, "efc", 200)));
    auto graph = builder->Build(v.data(), static_cast<int>(job->rows), static_cast<int>(job->dims));
    const double seconds = ann_seconds(job) - start;
    graph.save(job->path);
    return seconds;
}

void *load(const ann_job *job) {
    const std::string refine = text(job, "refine", "FP16");
    if (ann_number(job, "st", 1) != 1) {
        std::fprintf(stderr, "glass: one searcher is for one thread\n");
        std::exit(3);
    }
    glass::Graph<int> graph;
    graph.load(job->path, "glass");
    ann_vecs file = ann_vecs_open(job->base);
    float *base = ann_vecs_copy(&file);
    ann_vecs_close(&file);
    auto *x =
        new Index{glass::create_searcher(std::move(graph), metric_of(job),
                                         text(job, "code", "SQ8U"), refine == "none" ? "" : refine),
                  job->dims, job->metric == ANN_COS};
    {
        const std::vector<float> v = prepared(job, base);
        std::free(base);
        x->searcher->SetData(v.data(), static_cast<int>(job->rows), static_cast<int>(job->dims));
    }
    omp_set_num_threads(1);
    x->searcher->SetEf(32);
    x->searcher->Optimize(1);
    return x;
}

void set_ef(void *index, unsigned ef) {
    static_cast<Index *>(index)->searcher->SetEf(static_cast<int>(ef));
}

void search(void *index, const float *query, uint32_t *out) {
    auto *x = static_cast<Index *>(index);
    float unit[16384];
    int ids[ANN_K];
    float scores[ANN_K];
    if (x->unit) {
        std::memcpy(unit, query, x->dims * sizeof(float));
        ann_normalise(unit, x->dims);
        query = unit;
    }
    x->searcher->Search(query, ANN_K, ids, scores);
    for (size_t i = 0; out && i < ANN_K; i++) {
        out[i] = static_cast<uint32_t>(ids[i]);
    }
}

void close(void *) {}

} // namespace

int main(int argc, char **argv) {
    const ann_adapter adapter = {"glass", version, build, load, set_ef, search, close};
    return ann_main(argc, argv, &adapter);
}
