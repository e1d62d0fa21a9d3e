# SPDX-License-Identifier: Apache-2.0
"""Memory of one large insert: usage memory.py [--rows N] [--cache MIB] [--ids I] [--index I].

One numpy array is inserted in one call, in a process of its own that reads it from a file and has
imported nothing but numpy and the module: what makes the array and reads the arguments is elsewhere
(numpy.random alone is 8 MiB of libraries). Shown is the highest resident memory of the process
(VmHWM) and what it is made of: the array; the ids, which are the caller's as well (8 bytes each of
int, 16 in a numpy array of short strings, about 69 in a list of str); the budget of the page cache;
and the rest, with the part of it that was there when numpy and the module had just been imported.
"""
import sys
import time

MIB = 1 << 20
DIMS = 128


def status(name):
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def make_ids(np, rows, kind):
    if kind == "int":
        return np.arange(rows)
    if kind == "list":
        return [f"{i:07d}" for i in range(rows)]
    ids = np.empty(rows, np.dtypes.StringDType())
    for at in range(0, rows, 10_000):
        ids[at:at + 10_000] = [f"{i:07d}" for i in range(at, min(rows, at + 10_000))]
    return ids


def make_vectors(folder, rows):
    import numpy as np  # noqa: PLC0415

    rng = np.random.default_rng(1)
    with open(f"{folder}/vectors", "wb") as out:
        for at in range(0, rows, 10_000):
            rng.standard_normal((min(10_000, rows - at), DIMS), np.float32).tofile(out)


def child(folder, rows, cache, kind, index):
    import numpy as np  # noqa: PLC0415 - the process is measured from its beginning

    import piramiddb  # noqa: PLC0415

    imported = status("VmRSS")
    vectors = np.fromfile(f"{folder}/vectors", np.float32).reshape(rows, DIMS)
    before_ids = status("VmRSS")
    ids = make_ids(np, rows, kind)
    ready = status("VmRSS")
    begin = time.perf_counter()
    with piramiddb.open(f"{folder}/m.pv", cache_bytes=cache * MIB, sync="async") as db:
        docs = db.collection("docs", dims=DIMS, metric="l2", key="int" if kind == "int" else "str",
                             index=index)
        docs.insert(ids, vectors)
        took = time.perf_counter() - begin
        library = db.stats().memory_peak
        assert docs.count() == rows
        assert docs.search(vectors[rows // 2], k=1, exact=True).ids[0] == ids[rows // 2]
    peak = status("VmHWM")
    array, listed = vectors.nbytes, ready - before_ids
    beyond = peak - array - cache * MIB
    print(f"ids {kind}, index {index}: {rows} x {DIMS} in {took:.1f} s; "
          f"peak {peak / MIB:.0f} MiB = "
          f"array {array / MIB:.0f} + cache {cache} + {beyond / MIB:.1f}; of this the ids "
          f"{listed / MIB:.1f} and {(beyond - listed) / MIB:.1f} beyond them (wanted <= 64), "
          f"{imported / MIB:.1f} of it before the array was made; the library's own count, cache "
          f"included: {library / MIB:.1f}", flush=True)


def main():
    import argparse  # noqa: PLC0415 - not in the process that is measured, as are the others
    import subprocess  # noqa: PLC0415
    import tempfile  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--cache", type=int, default=256)
    parser.add_argument("--index", choices=["flat", "auto", "hnsw"], default="flat")
    parser.add_argument("--ids", choices=["int", "array", "list"])
    args = parser.parse_args()
    for ids in [args.ids] if args.ids else ["int", "array", "list"]:
        with tempfile.TemporaryDirectory() as folder:
            make_vectors(folder, args.rows)
            subprocess.run([sys.executable, __file__, "child", folder, str(args.rows),
                            str(args.cache), ids, args.index], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5], sys.argv[6])
    else:
        main()
