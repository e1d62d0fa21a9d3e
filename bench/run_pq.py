#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Recall of product codes, ours beside faiss's PQ and OPQ: same bytes, same sample, same queries.

    run_pq.py --set FOLDER --metric cos [--ratios 16,32,64] [--queries 200] [--sample 16384]

FOLDER has base.fvecs and query.fvecs. 8 bits a part. What is compared are codes by themselves: a
scan of all rows, the share of the true ten nearest (by distance) among the first ten, and when the
first 100 were ranked again by their vectors. For cosine both get vectors of length 1. Runs of
bench_kernel_pq and of faiss alternate; times are of one thread. Needs faiss and numpy.
"""
import argparse
import re
import subprocess
import time

import common

try:
    import faiss
    import numpy as np
except ImportError as missing:
    raise SystemExit(f"{missing.name} is missing: make ann-peers installs it") from None

K = 10
OURS = re.compile(r"(\d+) B a row; learned in ([\d.]+) s.*encode ([\d.]+) us.*scan "
                  r"([\d.]+) ns a row; recall ([\d.]+), of 100 ([\d.]+)")


def read(path, most=None):
    raw = np.fromfile(path, dtype=np.int32, count=1)
    rows = np.memmap(path, dtype=np.float32, mode="r").reshape(-1, raw[0] + 1)[:most, 1:]
    return np.ascontiguousarray(rows)


class Truth:
    """Exact distances, smaller is nearer."""

    def __init__(self, base, query, metric):
        self.exact = -(query @ base.T)
        if metric == "l2":
            self.exact = (base * base).sum(1)[None] + 2 * self.exact
        kth = np.partition(self.exact, K - 1, axis=1)[:, K - 1]
        self.bound = kth + np.abs(kth) * 1e-5

    def recall(self, ids):
        near = np.take_along_axis(self.exact, ids, axis=1) <= self.bound[:, None]
        return np.minimum(near.sum(1), K).mean() / K


def ours(args, ratio, turned):
    command = [common.program(args, "bench_kernel_pq"), f"{args.set}/base.fvecs",
               f"{args.set}/query.fvecs", args.metric, str(ratio), "8", str(args.queries),
               str(args.sample), *(["opq"] if turned else [])]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    size, learned, encode, scan, first, again = OURS.search(out).groups()
    return int(size), float(learned), float(encode), float(scan), float(first), float(again)


def peer(args, base, query, truth, ratio, turned):
    dims = base.shape[1]
    parts = dims * 4 // ratio
    index = faiss.IndexPQ(dims, parts, 8, faiss.METRIC_L2)
    if turned:
        matrix = faiss.OPQMatrix(dims, parts)
        matrix.niter = args.niter
        index = faiss.IndexPreTransform(matrix, index)
    step = np.arange(args.sample) * len(base) // args.sample
    begin = time.process_time()
    index.train(base[step])
    learned = time.process_time()
    index.add(base)
    added = time.process_time()
    _, ids = index.search(query, 100)
    ended = time.process_time()
    return (parts, learned - begin, (added - learned) / len(base) * 1e6,
            (ended - added) / len(query) / len(base) * 1e9, truth.recall(ids[:, :K]),
            truth.recall(ids))


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--build", default=str(common.ROOT / "build"))
    args.add_argument("--set", required=True)
    args.add_argument("--metric", choices=("l2", "cos"), default="cos")
    args.add_argument("--ratios", default="16,32,64")
    args.add_argument("--queries", type=int, default=200)
    args.add_argument("--sample", type=int, default=16384)
    args.add_argument("--niter", type=int, default=12, help="rounds of faiss's OPQ")
    args = args.parse_args()
    faiss.omp_set_num_threads(1)
    base, query = read(f"{args.set}/base.fvecs"), read(f"{args.set}/query.fvecs", args.queries)
    if args.metric == "cos":
        faiss.normalize_L2(base)
        faiss.normalize_L2(query)
    args.sample = min(args.sample, len(base))
    truth = Truth(base, query, args.metric)
    print(f"faiss {faiss.__version__}, {len(base)} x {base.shape[1]}, {args.metric}\n\n"
          "| | bytes a row | recall@10 | first 100 ranked again | learned, s | encode, us | "
          "scan, ns a row |\n|---|---|---|---|---|---|---|", flush=True)
    for ratio in (int(r) for r in args.ratios.split(",")):
        for turned in (False, True):
            for name, row in (("ours", ours(args, ratio, turned)),
                              ("faiss", peer(args, base, query, truth, ratio, turned))):
                kind = "OPQ" if turned else "PQ"
                print(f"| {name} {kind} {ratio} x | {row[0]} | {row[4]:.4f} | {row[5]:.4f} | "
                      f"{row[1]:.1f} | {row[2]:.1f} | {row[3]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
