# SPDX-License-Identifier: Apache-2.0
"""Memory of one large insert: usage memory.py [--rows N] [--cache MIB] [--key K] [--index I].

One numpy array is inserted in one call, in a process of its own. Shown are the highest resident
memory of the process (VmHWM), and what is left of it beyond the array, the ids and the cache.
"""
import argparse
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
DIMS = 128


def status(name):
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def child(folder, rows, cache, key, index):
    import numpy as np  # noqa: PLC0415 - the process is measured from its beginning

    import piramiddb  # noqa: PLC0415

    vectors = np.empty((rows, DIMS), np.float32)
    rng = np.random.default_rng(1)
    for at in range(0, rows, 10_000):
        vectors[at:at + 10_000] = rng.standard_normal((len(vectors[at:at + 10_000]), DIMS),
                                                      np.float32)
    before_ids = status("VmRSS")
    ids = np.arange(rows) if key == "int" else [f"{i:07d}" for i in range(rows)]
    ready = status("VmRSS")
    begin = time.perf_counter()
    with piramiddb.open(f"{folder}/m.pv", cache_bytes=cache * MIB, sync="async") as db:
        docs = db.collection("docs", dims=DIMS, metric="l2", key=key, index=index)
        docs.insert(ids, vectors)
        took = time.perf_counter() - begin
        library = db.stats().memory_peak
        assert docs.count() == rows
        assert docs.search(vectors[rows // 2], k=1).ids[0] == ids[rows // 2]
    peak = status("VmHWM")
    array = vectors.nbytes
    print(f"{key} ids: {rows} x {DIMS} in {took:.1f} s; peak {peak / MIB:.0f} MiB = array "
          f"{array / MIB:.0f} + cache {cache} + {(peak - array) / MIB - cache:.1f} MiB; "
          f"before the call {ready / MIB:.0f} MiB (the ids {(ready - before_ids) / MIB:.0f}), "
          f"so the call took the cache and {(peak - ready) / MIB - cache:.1f} MiB; "
          f"the library's own count {library / MIB:.1f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--cache", type=int, default=256)
    parser.add_argument("--index", choices=["flat", "auto", "hnsw"], default="flat")
    parser.add_argument("--key", choices=["int", "str"])
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder:
        child(args.folder, args.rows, args.cache, args.key, args.index)
        return
    for key in [args.key] if args.key else ["int", "str"]:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, __file__, "--rows", str(args.rows), "--cache",
                            str(args.cache), "--key", key, "--index", args.index, "--folder",
                            folder], check=True)


if __name__ == "__main__":
    main()
