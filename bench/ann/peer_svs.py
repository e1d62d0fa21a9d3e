#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Intel SVS (scalable-vs), Vamana. code=f32|lvq4x8|lvq8|lvq4x4|leanvec (dims / 2, 4x8 bits);
m is half the degree, efc the window of building.
"""
import os

import numpy as np
import svs

import data
import peers


class Svs:
    name, modules, looped = "svs", ["scalable-vs"], False

    def distance(self, job):
        return svs.DistanceType.MIP if job.metric == "ip" else svs.DistanceType.L2

    def build(self, job, base, path):
        os.makedirs(path)
        plain = os.path.join(path, "plain.fvecs")
        data.write_vecs(plain, base)
        job.begun = job.now()
        loader = svs.VectorDataLoader(plain, svs.DataType.float32, dims=job.dims)
        code = job.text("code", "lvq4x8")
        if code == "leanvec":
            loader = svs.LeanVecLoader(loader, job.dims // 2, svs.LeanVecKind.lvq4,
                                       svs.LeanVecKind.lvq8)
        elif code != "f32":
            bits = [int(b) for b in code[3:].split("x")] + [0]
            loader = svs.LVQLoader(loader, primary=bits[0], residual=bits[1])
        how = svs.VamanaBuildParameters(
            alpha=0.95 if job.metric == "ip" else 1.2, graph_max_degree=2 * job.number("m", 16),
            window_size=job.number("efc", 200))
        index = svs.Vamana.build(how, loader, self.distance(job), num_threads=job.threads)
        job.built()
        os.unlink(plain)
        index.save(*(os.path.join(path, part) for part in ("config", "graph", "vectors")))

    def load(self, job, path):
        vectors = os.path.join(path, "vectors")
        code = job.text("code", "lvq4x8")
        if code == "f32":
            loader = svs.VectorDataLoader(vectors, svs.DataType.float32, dims=job.dims)
        else:
            loader = (svs.LeanVecLoader if code == "leanvec" else svs.LVQLoader)(vectors)
        self.index = svs.Vamana(os.path.join(path, "config"),
                                svs.GraphLoader(os.path.join(path, "graph")), loader,
                                self.distance(job), num_threads=1)

    def ef(self, n):
        self.index.search_window_size = n

    def many(self, queries):
        return self.index.search(queries, peers.K)[0].astype(np.int64)

    def one(self, query):
        return self.index.search(np.atleast_2d(query), peers.K)[0]


if __name__ == "__main__":
    peers.main(Svs())
