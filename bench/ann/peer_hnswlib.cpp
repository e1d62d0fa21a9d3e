// SPDX-License-Identifier: Apache-2.0
// peer_hnswlib.cpp - hnswlib in C++: HNSWLIB names its sources (headers; PyPI's source package).
// Parameters: m, efc; tail=N adds the last N rows one by one and prints what a call took. Cosine
// goes over unit vectors.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "ann.h"
#include "hnswlib/hnswlib.h"

namespace {

struct Index {
    hnswlib::SpaceInterface<float> *space;
    hnswlib::HierarchicalNSW<float> *graph;
    bool unit;
    size_t dims;
};

hnswlib::SpaceInterface<float> *make_space(const ann_job *job) {
    if (job->metric == ANN_L2) {
        return new hnswlib::L2Space(job->dims);
    }
    return new hnswlib::InnerProductSpace(job->dims);
}

const char *version() { return PEER_VERSION; }

double build(const ann_job *job, const float *base) {
    const double start = ann_seconds(job);
    hnswlib::HierarchicalNSW<float> graph(make_space(job), job->rows, ann_number(job, "m", 16),
                                          ann_number(job, "efc", 200), 100);
    const size_t tail = std::min<size_t>(ann_number(job, "tail", 0), job->rows - 1);
    std::vector<double> times, cpu;
    auto add = [&](size_t first, size_t step, size_t end, bool timed) {
        std::vector<float> v(job->dims);
        for (size_t i = first; i < end; i += step) {
            std::memcpy(v.data(), base + i * job->dims, job->dims * sizeof(float));
            const double wall = timed ? ann_wall() : 0, used = timed ? ann_cpu() : 0;
            if (job->metric == ANN_COS) {
                ann_normalise(v.data(), job->dims);
            }
            graph.addPoint(v.data(), i);
            if (timed) {
                times.push_back(ann_wall() - wall);
                cpu.push_back(ann_cpu() - used);
            }
        }
    };
    add(0, 1, 1, false); // the first alone: it becomes the entry point
    std::vector<std::thread> threads;
    for (size_t t = 0; t < job->threads; t++) {
        threads.emplace_back(add, 1 + t, job->threads, job->rows - tail, false);
    }
    for (auto &t : threads) {
        t.join();
    }
    add(job->rows - tail, 1, job->rows, true);
    for (auto *seconds : {&times, &cpu}) {
        std::sort(seconds->begin(), seconds->end());
        if (tail > 0) {
            std::printf("# add_point, %s: p50 %.1f us, p99 %.1f us\n",
                        seconds == &cpu ? "processor" : "wall", (*seconds)[tail / 2] * 1e6,
                        (*seconds)[tail * 99 / 100] * 1e6);
        }
    }
    const double seconds = ann_seconds(job) - start;
    graph.saveIndex(job->path);
    return seconds;
}

void *load(const ann_job *job) {
    auto *x = new Index{make_space(job), nullptr, job->metric == ANN_COS, job->dims};
    x->graph = new hnswlib::HierarchicalNSW<float>(x->space, job->path);
    return x;
}

void set_ef(void *index, unsigned ef) { static_cast<Index *>(index)->graph->setEf(ef); }

void search(void *index, const float *query, uint32_t *out) {
    auto *x = static_cast<Index *>(index);
    float unit[16384];
    if (x->unit) {
        std::memcpy(unit, query, x->dims * sizeof(float));
        ann_normalise(unit, x->dims);
        query = unit;
    }
    auto found = x->graph->searchKnn(query, ANN_K);
    for (size_t i = found.size(); out && i-- > 0; found.pop()) {
        out[i] = static_cast<uint32_t>(found.top().second);
    }
}

void close(void *) {}

} // namespace

int main(int argc, char **argv) {
    const ann_adapter adapter = {"hnswlib", version, build, load, set_ef, search, close};
    return ann_main(argc, argv, &adapter);
}
