#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""RaBitQ Library. kind=symqg (graph of 1-bit codes of neighbours; m is half the degree; bits) or
kind=hnsw (bits a dimension, 16 clusters by faiss). Cosine goes over unit vectors.
"""
import faiss
import numpy as np
import rabitqlib

import peers


class Rabitq:
    name, modules, looped = "rabitq", ["rabitqlib"], False

    def build(self, job, base, path):
        metric, m = "ip" if job.metric == "ip" else "l2", job.number("m", 16)
        if job.text("kind", "symqg") == "symqg":
            index = rabitqlib.SymqgIndex(job.dims, 2 * m, metric,
                                         quantization_bits=job.number("bits", 0))
            index.build(base, job.number("efc", 200), job.threads)
        else:
            clusters = faiss.Kmeans(job.dims, 16, niter=10, seed=1)
            clusters.train(base)
            owner = clusters.index.search(base, 1)[1].ravel().astype(np.uint32)
            index = rabitqlib.HnswIndex(job.dims, len(base), m, job.number("efc", 200),
                                        nbits=job.number("bits", 5), metric=metric)
            index.build(base, clusters.centroids, owner, job.threads)
        job.built()
        index.save(path)

    def load(self, job, path):
        kind = rabitqlib.SymqgIndex if job.text("kind", "symqg") == "symqg" else rabitqlib.HnswIndex
        self.index = kind.load(path)

    def ef(self, n):
        self.beam = n

    def many(self, queries):
        found = self.index.search(queries, peers.K, self.beam, num_threads=1)
        return next(a for a in found if np.issubdtype(a.dtype, np.integer)).astype(np.int64)

    def one(self, query):
        return self.index.search(query[None], peers.K, self.beam, num_threads=1)


if __name__ == "__main__":
    peers.main(Rabitq())
