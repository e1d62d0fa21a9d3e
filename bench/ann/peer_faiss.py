#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""faiss. code=f32|sq8|f16: HNSW; code=pqfs|rabitq: IVF with `lists` lists (ef is then nprobe) over
4-bit PQ in blocks of 32 or 1-bit RaBitQ codes. rf=N re-ranks N*10 rows in full precision, which are
read again when loading; 0: none.
"""
import faiss
import numpy as np

import peers


class Faiss:
    name, modules, looped = "faiss", ["faiss-cpu"], False

    def make(self, job):
        m, code, dims = job.number("m", 16), job.text("code", "f32"), job.dims
        metric = faiss.METRIC_INNER_PRODUCT if job.metric == "ip" else faiss.METRIC_L2
        if code in ("pqfs", "rabitq"):
            lists = job.number("lists", 1024)
            inner = f"PQ{dims // 2}x4fs" if code == "pqfs" else "RaBitQfs"
            index = faiss.index_factory(dims, f"IVF{lists},{inner}", metric)
        elif code == "f32":
            index = faiss.IndexHNSWFlat(dims, m, metric)
        else:
            kind = {"sq8": faiss.ScalarQuantizer.QT_8bit, "f16": faiss.ScalarQuantizer.QT_fp16}
            index = faiss.IndexHNSWSQ(dims, kind[code], m, metric)
        if hasattr(index, "hnsw"):
            index.hnsw.efConstruction = job.number("efc", 200)
        return index

    def build(self, job, base, path):
        faiss.omp_set_num_threads(job.threads)
        index = self.make(job)
        index.train(base)
        index.add(base)
        job.built()
        faiss.write_index(index, path)

    def load(self, job, path):
        faiss.omp_set_num_threads(1)
        self.whole = faiss.read_index(path)  # owns what is below
        self.index = self.inner = faiss.downcast_index(self.whole)
        if job.number("rf", 0):
            base = job.base()
            self.index = faiss.IndexRefineFlat(self.inner, faiss.swig_ptr(base))
            self.index.k_factor = job.number("rf", 0)

    def ef(self, n):
        if hasattr(self.inner, "hnsw"):
            self.inner.hnsw.efSearch = n
        else:
            self.inner.nprobe = n

    def many(self, queries):
        return self.index.search(queries, peers.K)[1]

    def one(self, query):
        return self.index.search(np.atleast_2d(query), peers.K)[1]


if __name__ == "__main__":
    peers.main(Faiss())
