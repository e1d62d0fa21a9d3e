#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""zvec. Parameters: m, efc, code=f32|f16|int8|int4|uint8|uint7|uint4, refine=0|1, contiguous=0|1.
Cosine goes over unit vectors (its uniform codes know l2 alone). Ids that it returns are its own
numbers, which follow the order of inserting; it has no call for many queries.
"""
import numpy as np
import zvec

import peers

CODES = {"f32": "UNDEFINED", "f16": "FP16", "int8": "INT8", "int4": "INT4",
         "uint8": "UNIFORM_UINT8", "uint7": "UNIFORM_UINT7", "uint4": "UNIFORM_UINT4"}


class Zvec:
    name, modules, looped = "zvec", ["zvec"], True

    def start(self, job):
        zvec.init(log_level=zvec.LogLevel.ERROR, query_threads=1, optimize_threads=job.threads)

    def build(self, job, base, path):
        self.start(job)
        metric = "IP" if job.metric == "ip" else "L2"
        how = zvec.HnswIndexParam(metric_type=getattr(zvec.MetricType, metric),
                                  m=2 * job.number("m", 16), ef_construction=job.number("efc", 200),
                                  quantize_type=getattr(zvec.QuantizeType,
                                                        CODES[job.text("code", "f32")]),
                                  use_contiguous_memory=bool(job.number("contiguous", 1)))
        schema = zvec.CollectionSchema("base", vectors=zvec.VectorSchema(
            "v", zvec.DataType.VECTOR_FP32, job.dims, how))
        found = zvec.create_and_open(path, schema)
        for at in range(0, len(base), 1000):
            found.insert([zvec.Doc(id=str(i), vectors={"v": base[i]})
                          for i in range(at, min(at + 1000, len(base)))])
        found.optimize(zvec.OptimizeOption(concurrency=job.threads))
        found.flush()
        job.built()
        found.close()

    def load(self, job, path):
        self.start(job)
        self.refine = bool(job.number("refine", 1)) and job.text("code", "f32") != "f32"
        self.found = zvec.open(path, zvec.CollectionOption(read_only=True))

    def ef(self, n):
        self.param = zvec.HnswQueryParam(ef=n, is_using_refiner=self.refine,
                                         scale_factor=2.0 if self.refine else 0.0)

    def one(self, query):
        asked = zvec.Query("v", vector=query, param=self.param)
        return self.found.query_internal_ids(asked, topk=peers.K)

    def many(self, queries):
        out = np.full((len(queries), peers.K), -1, dtype=np.int64)
        for i, q in enumerate(queries):
            ids = self.one(q)
            out[i, :len(ids)] = ids
        return out


if __name__ == "__main__":
    peers.main(Zvec())
