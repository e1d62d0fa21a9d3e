#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usearch. Parameters: m, efc, code=f32|f16|bf16|i8."""
import numpy as np
from usearch.index import Index

import peers


class Usearch:
    name, modules, looped = "usearch", ["usearch", "numkong"], False

    def make(self, job):
        return Index(ndim=job.dims, metric={"l2": "l2sq", "ip": "ip", "cos": "cos"}[job.metric],
                     dtype=job.text("code", "f32"), connectivity=job.number("m", 16),
                     expansion_add=job.number("efc", 200))

    def build(self, job, base, path):
        index = self.make(job)
        index.add(np.arange(len(base)), base, threads=job.threads)
        job.built()
        index.save(path)

    def load(self, job, path):
        self.index = self.make(job)
        self.index.load(path)

    def ef(self, n):
        self.index.expansion_search = n

    def many(self, queries):
        return self.index.search(queries, peers.K, threads=1).keys.astype(np.int64)

    def one(self, query):
        return self.index.search(query, peers.K).keys


if __name__ == "__main__":
    peers.main(Usearch())
