# SPDX-License-Identifier: Apache-2.0
"""What a search costs in Python beyond C: usage overhead.py [--rounds N].

The same pv.c is compiled into a small shared library with a loop in C (overhead.c) that opens a
copy of the file. Both sides search in turn, round by round, in this thread; times are processor
times of the thread. Shown are medians over rounds of the difference for one search, with ids and
scores of all rows read on both sides; and, for machines that do other things too, the same for the
tenth of the rounds that was disturbed least.
"""
import argparse
import ctypes
import itertools
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np

import piramiddb

HERE = pathlib.Path(__file__).resolve().parent
CSRC = HERE.parent / "csrc"
DIMS, K = 128, 10
ROUND = 500  # searches of one side before it is the other's turn
FILTER = {"n": {"$gte": 0}, "lang": "en"}
FILTER_TEXT = b'{"n":{"$gte":0},"lang":"en"}'


def c_library(folder):
    out = pathlib.Path(folder, "overhead.so")
    subprocess.run(["cc", "-O2", "-std=gnu11", "-fPIC", "-shared", f"-I{CSRC}", "-o", str(out),
                    str(HERE / "overhead.c"), str(CSRC / "pv.c"), "-lpthread", "-lm"], check=True)
    library = ctypes.CDLL(str(out))
    library.overhead_search.restype = library.overhead_many.restype = ctypes.c_double
    return library


class CSide:
    """The records in a database of the C library's own."""

    def __init__(self, library, path):
        self.library = library
        self.db = ctypes.c_void_p()
        code = library.pv_open(str(path).encode(), None, ctypes.byref(self.db), None)
        assert code == 0, code
        self.sum = ctypes.c_double()

    def search(self, name, vectors, include, text, rounds):
        took = self.library.overhead_search(
            self.db, name.encode(), vectors.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_size_t(len(vectors)), DIMS, K, include, text, ctypes.c_size_t(rounds),
            ctypes.byref(self.sum))
        assert took > 0
        return took

    def many(self, name, vectors):
        out = (ctypes.c_void_p * len(vectors))()
        took = self.library.overhead_many(
            self.db, name.encode(), vectors.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_size_t(len(vectors)), DIMS, K, out, ctypes.byref(self.sum))
        assert took > 0
        return took

    def close(self):
        assert self.library.pv_close(self.db, None) == 0


# What is timed on Python's side, as a program would write it.
LOOP = """
def run(docs, queries):
    begin = thread_time()
    for query in queries:
        results = docs.search(query, {k}{options})
{touch}
    return thread_time() - begin
"""
TOUCH = {
    "arrays": "        results.ids[-1], results.scores[-1]",
    "hits": "        for hit in results:\n            hit.id, hit.score",
}


def loop(touch, options):
    """A function that searches for each query and looks at all rows."""
    names = {"thread_time": time.thread_time, "FILTER": FILTER}
    exec(LOOP.format(k=K, options=options, touch=TOUCH[touch]), names)
    return names["run"]


def fill(path, rows, rng):
    vectors = rng.standard_normal((rows, DIMS), np.float32)
    metadata = [{"n": i, "lang": "en"} for i in range(rows)]
    with piramiddb.open(path) as db:
        texts = db.collection("texts", dims=DIMS, index="flat")
        texts.insert([f"doc-{i:07d}" for i in range(rows)], vectors, metadata)
        numbers = db.collection("numbers", dims=DIMS, key="int", index="flat")
        numbers.insert(np.arange(rows), vectors, metadata)


def report(what, seconds, wanted):
    """Medians, and what the least disturbed tenth of the rounds of each side says."""
    scale = 1e6 / ROUND
    c, python = (sorted(side) for side in zip(*seconds))
    tenth = len(seconds) // 10
    extra = statistics.median(b - a for a, b in seconds) * scale
    calm = (python[tenth] - c[tenth]) * scale
    print(f"{what}  C {statistics.median(c) * scale:6.2f} us, Python + {extra:5.2f} us; calm "
          f"rounds: C {c[tenth] * scale:6.2f}, + {calm:5.2f}  (wanted <= {wanted:g})", flush=True)


def single(folder, library, rounds, rng):
    path = pathlib.Path(folder, "small.pv")
    fill(path, 64, rng)
    copy = pathlib.Path(folder, "copy.pv")
    copy.write_bytes(path.read_bytes())
    other = CSide(library, copy)
    queries = rng.standard_normal((100, DIMS), np.float32)
    rows = list(queries) * (ROUND // len(queries))
    cases = [("no filter", "", None, 3.0), ("dict filter", ", filter=FILTER", FILTER_TEXT, 13.0)]
    with piramiddb.open(path) as db:
        for name, key in (("texts", "str"), ("numbers", "int")):
            docs = db.collection(name)
            for (what, options, text, wanted), touch, metadata in itertools.product(
                    cases, TOUCH, (True, False)):
                run = loop(touch, options + ("" if metadata else ", metadata=False"))
                seconds = [(other.search(name, queries, int(metadata), text, ROUND),
                            run(docs, rows)) for _ in range(rounds)]
                report(f"{key} ids, {what:11}, {touch:6}, metadata={metadata!s:5}", seconds,
                       wanted)
    other.close()


def batch(folder, library, rounds, rng):
    path = pathlib.Path(folder, "large.pv")
    fill(path, 50_000, rng)
    copy = pathlib.Path(folder, "large-copy.pv")
    copy.write_bytes(path.read_bytes())
    other = CSide(library, copy)
    queries = rng.standard_normal((1000, DIMS), np.float32)
    with piramiddb.open(path) as db:
        docs = db.collection("texts")
        ratios = []
        for _ in range(rounds):
            c = other.many("texts", queries)
            begin = time.thread_time()
            answers = docs.search_many(queries, K, metadata=False)
            _ = answers.ids[-1, -1], answers.scores[-1, -1]
            ratios.append((time.thread_time() - begin) / c)
        print(f"1000 vectors at once over 50,000: C {c * 1e3:.0f} ms, Python / C "
              f"{statistics.median(ratios):.4f} (wanted <= 1.02; "
              f"{min(ratios):.3f} to {max(ratios):.3f})")
    other.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=31)
    args = parser.parse_args()
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        library = c_library(folder)
        single(folder, library, args.rounds, rng)
        batch(folder, library, max(5, args.rounds // 3), rng)


if __name__ == "__main__":
    main()
