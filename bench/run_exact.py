#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Exact search through pv.h beside faiss IndexFlatL2, one thread each, in turn, on the same rows.

A single query against a plain read of as many bytes, then against faiss; many queries in one call
against faiss's batch. The answers of both are compared: where ids differ, the distances must not.
Twice: a flat collection, and one with codes, which are read before vectors.
faiss is used when its package (faiss-cpu) is installed for this Python.
"""
import importlib.util
import os
import pathlib
import platform
import subprocess
import sys
import time

from common import arguments, folder, median, program, verdict

K = 10
# The linear algebra that comes with faiss may take a new processor for an ancient one, and settings
# for that may stand in the environment. The peer shall be at its best: each is tried.
CORES = [None, "SkylakeX", "Cooperlake", "Zen", "Haswell"]
TRIAL = """
import faiss, numpy, time
faiss.omp_set_num_threads(1)
r = numpy.random.default_rng(1)
x = r.standard_normal((50000, 128), dtype=numpy.float32)
i = faiss.IndexFlatL2(128)
i.add(x)
t = []
for _ in range(3):
    s = time.perf_counter()
    i.search(x[:1000], 10)
    t.append(time.perf_counter() - s)
print(min(t))
"""


def core_environment(core):
    env = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
    if core:
        env["OPENBLAS_CORETYPE"] = core
    return env | {"BENCH_CORE": core or "unset"}


def choose_core():
    """Start again with the fastest setting, once; nothing without faiss."""
    if "BENCH_CORE" in os.environ or importlib.util.find_spec("faiss") is None:
        return
    tried = []
    for core in CORES if platform.machine() == "x86_64" else CORES[:1]:
        done = subprocess.run([sys.executable, "-c", TRIAL], env=core_environment(core),
                              capture_output=True, text=True)
        if done.returncode == 0:
            tried.append((float(done.stdout), core or ""))
    if tried:
        best = min(tried)[1]
        os.execve(sys.executable, [sys.executable, *sys.argv], core_environment(best))


class Own:
    """bench_exact, serving."""

    def __init__(self, args, where, rows, dims, queries, index):
        self.process = subprocess.Popen(
            [program(args, "bench_exact"), where, str(rows), str(dims), str(queries),
             str(args.rounds), "serve", index],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.found = {}
        for line in self.process.stdout:
            if line == "ready\n":
                return
            print(line, end="")
            words = line.split()
            self.found[words[0]] = float(words[1])
        sys.exit("bench_exact ended early")

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        words = self.process.stdout.readline().split()
        if not words:
            sys.exit("bench_exact ended early")
        return float(words[1]) if words[0] == "time" else None

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


def faiss_or_none():
    try:
        import faiss
        import numpy
    except ImportError:
        print("faiss is not installed (pip install faiss-cpu): no peer in this run")
        return None, None
    faiss.omp_set_num_threads(1)
    return faiss, numpy


def compare(numpy, own_ids, own_distances, ids, squared):
    """Share of equal ids, and how many places differ by more than rounding."""
    distances = numpy.sqrt(numpy.maximum(squared, 0))
    differs = own_ids != ids
    off = numpy.abs(own_distances - distances) > 2e-4 * numpy.maximum(distances, 1e-3)
    recall = sum(len(set(a) & set(b)) for a, b in zip(own_ids.tolist(), ids.tolist())) / ids.size
    print(f"answers: ids equal in {1 - differs.mean():.6f} of the places, recall {recall:.6f}, "
          f"places beyond a tie {int((differs & off).sum())}, distances beyond rounding "
          f"{int(off.sum())}")
    if off.any():
        sys.exit("answers differ from those of faiss")


def measure(args, where, rows, dims, queries, kind):
    """kind: "flat", or "codes", which are read before vectors."""
    print(f"---- {rows} x {dims}, {kind}", flush=True)
    own = Own(args, where, rows, dims, queries, kind)
    verdict(f"{dims} d, {kind}: scan to plain read", own.found["exact.scan_to_read"], 0.7)
    faiss, numpy = faiss_or_none()
    if faiss:
        base = pathlib.Path(where)
        numbers = numpy.fromfile(base / "rows.u64", dtype=numpy.uint64)
        index = faiss.IndexFlatL2(dims)
        index.add(numpy.fromfile(base / "rows.f32", dtype=numpy.float32).reshape(-1, dims))
        asked = numpy.fromfile(base / "queries.f32", dtype=numpy.float32).reshape(-1, dims)
        print(f"faiss {faiss.__version__} ({faiss.get_compile_options().strip()}), linear algebra "
              f"for {os.environ.get('BENCH_CORE', 'unset')}")
        ones, manys = [], []
        for i in range(args.rounds):
            mine = own.ask(f"one {i % queries}")
            q = asked[i % queries:i % queries + 1]
            start = time.perf_counter()
            index.search(q, K)
            theirs = time.perf_counter() - start
            if i:  # the first warms both
                ones.append((theirs / mine, mine, theirs))
        for _ in range(args.batch_rounds):
            mine = own.ask(f"many {queries}")
            start = time.perf_counter()
            squared, ids = index.search(asked, K)
            theirs = time.perf_counter() - start
            manys.append((theirs / mine, mine, theirs))
        print(f"one query: {median([o[1] for o in ones]) * 1e3:.2f} ms, faiss "
              f"{median([o[2] for o in ones]) * 1e3:.2f} ms")
        print(f"{queries} queries: {queries / median([m[1] for m in manys]):.1f} queries/s, faiss "
              f"{queries / median([m[2] for m in manys]):.1f} queries/s")
        what = f"{dims} d, {kind}"
        verdict(f"{what}: single query, speed to faiss", median([o[0] for o in ones]), 0.95)
        verdict(f"{what}: {queries} at once, speed to faiss", median([m[0] for m in manys]), 0.8)
        own.ask("ids")
        own_ids = numpy.fromfile(base / "answers.u64", dtype=numpy.uint64).reshape(-1, K)
        own_distances = numpy.fromfile(base / "answers.f32", dtype=numpy.float32).reshape(-1, K)
        compare(numpy, own_ids, own_distances, numbers[ids], squared)
    if own.close() != 0:
        sys.exit("bench_exact failed")


def main():
    args = arguments(__doc__, {"rows": (200000, 1000000), "rows_768": (60000, 300000),
                               "queries": (200, 1000), "rounds": (21, 41),
                               "batch_rounds": (3, 3)})
    choose_core()
    with folder(args) as where:
        for kind in ("flat", "codes"):
            measure(args, where, args.rows, 128, args.queries, kind)
            measure(args, where, args.rows_768, 768, args.queries, kind)


if __name__ == "__main__":
    sys.exit(main())
