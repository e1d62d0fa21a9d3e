#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""voyager (hnswlib's graph). Parameters: m, efc, code=f32|float8|e4m3."""
import voyager

import peers


class Voyager:
    name, modules, looped = "voyager", ["voyager"], False

    def build(self, job, base, path):
        space = {"l2": voyager.Space.Euclidean, "ip": voyager.Space.InnerProduct,
                 "cos": voyager.Space.Cosine}[job.metric]
        code = {"f32": voyager.StorageDataType.Float32, "float8": voyager.StorageDataType.Float8,
                "e4m3": voyager.StorageDataType.E4M3}[job.text("code", "f32")]
        index = voyager.Index(space, num_dimensions=job.dims, M=job.number("m", 16),
                              ef_construction=job.number("efc", 200), max_elements=len(base),
                              storage_data_type=code)
        index.add_items(base, num_threads=job.threads)
        job.built()
        index.save(path)

    def load(self, job, path):
        self.index = voyager.Index.load(path)

    def ef(self, n):
        self.beam = n

    def many(self, queries):
        return self.index.query(queries, k=peers.K, num_threads=1, query_ef=self.beam)[0]

    def one(self, query):
        return self.index.query(query, k=peers.K, query_ef=self.beam)[0]


if __name__ == "__main__":
    peers.main(Voyager())
