#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""LanceDB, IVF_HNSW_SQ with one partition. Parameters: m, efc, rf (refine factor; 0: none). It has
no call for many queries on one thread.
"""
import lancedb
import numpy as np
import pyarrow

import peers


class Lance:
    name, modules, looped = "lancedb", ["lancedb"], True
    queries = 500

    def build(self, job, base, path):
        self.metric = {"l2": "l2", "ip": "dot", "cos": "cosine"}[job.metric]
        table = lancedb.connect(path).create_table("base", schema=pyarrow.schema(
            [("id", pyarrow.int64()), ("v", pyarrow.list_(pyarrow.float32(), job.dims))]))
        for at in range(0, len(base), 20000):
            part = base[at:at + 20000]
            flat = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(part.ravel()), job.dims)
            table.add(pyarrow.table({"id": np.arange(at, at + len(part)), "v": flat}))
        table.create_index(metric=self.metric, vector_column_name="v", index_type="IVF_HNSW_SQ",
                           num_partitions=1, m=job.number("m", 16),
                           ef_construction=job.number("efc", 200))

    def load(self, job, path):
        self.rf = job.number("rf", 1)
        self.metric = {"l2": "l2", "ip": "dot", "cos": "cosine"}[job.metric]
        self.table = lancedb.connect(path).open_table("base")

    def ef(self, n):
        self.beam = n

    def one(self, query):
        asked = (self.table.search(query, vector_column_name="v").distance_type(self.metric)
                 .ef(self.beam).limit(peers.K).select(["id"]))
        asked = asked.refine_factor(self.rf) if self.rf else asked
        return asked.to_arrow()["id"].to_numpy()

    def many(self, queries):
        out = np.full((len(queries), peers.K), -1, dtype=np.int64)
        for i, q in enumerate(queries):
            ids = self.one(q)
            out[i, :len(ids)] = ids
        return out


if __name__ == "__main__":
    peers.main(Lance())
