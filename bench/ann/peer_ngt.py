#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""NGT: an ANNG, refined to an ONNG with onng=1. Parameters: edges (of building; m is not used),
out and in (of ONNG). ef is a hundred times epsilon plus 100. It has no call for many queries that
takes an epsilon.
"""
import ngtpy
import numpy as np

import peers


class Ngt:
    name, modules, looped = "ngt", ["ngt"], True

    def build(self, job, base, path):
        if job.metric == "ip":
            peers.refuse("NGT's inner product needs transformed vectors")
        onng = job.number("onng", 1)
        anng = path + ".anng" if onng else path
        ngtpy.create(anng, job.dims, distance_type="L2", object_type="Float",
                     edge_size_for_creation=job.number("edges", 50), edge_size_for_search=0)
        index = ngtpy.Index(anng)
        index.batch_insert(base, num_threads=job.threads)
        index.save()
        index.close()
        if onng:
            better = ngtpy.Optimizer(num_of_outgoings=job.number("out", 10),
                                     num_of_incomings=job.number("in", 100), log_disabled=True)
            better.set_processing_modes(search_parameter_optimization=False,
                                        prefetch_parameter_optimization=False,
                                        accuracy_table_generation=False)
            better.execute(anng, path)
            peers.remove(anng)

    def load(self, job, path):
        self.index = ngtpy.Index(path, read_only=True, zero_based_numbering=True)

    def ef(self, n):
        self.epsilon = (n - 100) / 100

    def one(self, query):
        return self.index.search(query, peers.K, self.epsilon, with_distance=False)

    def many(self, queries):
        out = np.full((len(queries), peers.K), -1, dtype=np.int64)
        for i, q in enumerate(queries):
            ids = self.one(q)
            out[i, :len(ids)] = ids
        return out


if __name__ == "__main__":
    peers.main(Ngt())
