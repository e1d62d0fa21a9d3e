// SPDX-License-Identifier: Apache-2.0
// peer_symqg.cpp - SymphonyQG (gouyt13/SymphonyQG) in C++: SYMQG names a checkout of its sources.
// Parameters: m (degree is twice that, a multiple of 32), efc, iter (passes of building). It has
// the Euclidean distance only; cosine goes over unit vectors, inner products are refused.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "ann.h"
#include "qg/qg.hpp"
#include "qg/qg_builder.hpp"

namespace {

struct Index {
    symqg::QuantizedGraph graph;
    size_t dims;
    bool unit;
};

const char *version() { return PEER_VERSION; }

size_t degree(const ann_job *job) {
    const size_t r = 2 * ann_number(job, "m", 16);
    if (job->metric == ANN_IP || r % 32 != 0) {
        std::fprintf(stderr, "symqg: no inner products, and 2 m is a multiple of 32\n");
        std::exit(3);
    }
    return r;
}

double build(const ann_job *job, const float *base) {
    std::vector<float> v(base, base + job->rows * job->dims);
    for (size_t i = 0; job->metric == ANN_COS && i < job->rows; i++) {
        ann_normalise(v.data() + i * job->dims, job->dims);
    }
    const double start = ann_seconds(job);
    symqg::QuantizedGraph graph(job->rows, degree(job), job->dims);
    symqg::QGBuilder builder(graph, static_cast<uint32_t>(ann_number(job, "efc", 200)), v.data(),
                             job->threads);
    builder.build(ann_number(job, "iter", 3));
    const double seconds = ann_seconds(job) - start;
    graph.save_index(job->path);
    return seconds;
}

void *load(const ann_job *job) {
    if (ann_number(job, "st", 1) != 1) {
        std::fprintf(stderr, "symqg: one graph is for one thread\n");
        std::exit(3);
    }
    auto *x = new Index{symqg::QuantizedGraph(job->rows, degree(job), job->dims), job->dims,
                        job->metric == ANN_COS};
    x->graph.load_index(job->path);
    return x;
}

void set_ef(void *index, unsigned ef) { static_cast<Index *>(index)->graph.set_ef(ef); }

void search(void *index, const float *query, uint32_t *out) {
    auto *x = static_cast<Index *>(index);
    float unit[16384];
    uint32_t ids[ANN_K];
    if (x->unit) {
        std::memcpy(unit, query, x->dims * sizeof(float));
        ann_normalise(unit, x->dims);
        query = unit;
    }
    x->graph.search(query, ANN_K, ids);
    if (out) {
        std::memcpy(out, ids, sizeof ids);
    }
}

void close(void *) {}

} // namespace

int main(int argc, char **argv) {
    const ann_adapter adapter = {"symqg", version, build, load, set_ef, search, close};
    return ann_main(argc, argv, &adapter);
}
