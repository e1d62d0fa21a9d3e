#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make the data sets of the recall bench: base.fvecs, query.fvecs, gt.ivecs and about.json each.

    data.py SET [--rows N] [--cache DIR]        data.py --list

Synthetic sets are Gaussian mixtures of low rank: every cluster has its own subspace with a power
law of scales, centres and cluster sizes follow power laws as well, and a little noise fills all
dimensions. `rank` and `decay` were chosen so that the local intrinsic dimension (maximum
likelihood over 100 neighbours, Levina and Bickel 2004; printed and kept in about.json) is that of
real embeddings, 10 to 25; `apart` so that clusters overlap as those of the real set do: of 256
lists made by k-means one must read 12, 24 and 83 to see 90, 95 and 99 % of the true neighbours in
`text`, 10, 30 and 110 in `mix768`. (Centres three times as far apart took 2, 2 and 5, and
flattered every index of lists.) `heavy200` has tails of Student's t and is meant to be hard. Seeds
are fixed, so that the same numpy makes the same bytes. The set `text` is real: see text.py.

The cache is $PV_BENCH_CACHE, else build/ann-cache. Truth is exact: candidates by matrix product,
the order among them in double precision.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys

try:
    import numpy as np
except ImportError:
    sys.exit("the recall bench needs numpy: make ann-peers installs it")

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRUTH = 100
CHUNK = 50000
APART = 0.3  # how far centres lie apart

SETS = {
    "mix128": {"dims": 128, "rows": 1000000, "metric": "l2", "rank": 40, "decay": 0.6},
    "mix128-sorted": {"dims": 128, "rows": 1000000, "metric": "l2", "rank": 40, "decay": 0.6,
                      "sorted": True},
    "mix768": {"dims": 768, "rows": 300000, "metric": "cos", "rank": 96, "decay": 0.4},
    "mix768-large": {"dims": 768, "rows": 600000, "metric": "cos", "rank": 96, "decay": 0.4},
    "mix1536": {"dims": 1536, "rows": 100000, "metric": "cos", "rank": 96, "decay": 0.4,
                "clusters": 250},
    "heavy200": {"dims": 200, "rows": 400000, "metric": "cos", "rank": 100, "decay": 0.3,
                 "tails": 4.0, "apart": 1.0},
    "ood256": {"dims": 256, "rows": 300000, "metric": "ip", "rank": 64, "decay": 0.4,
               "ood": True},
    "text": {"dims": 384, "rows": 163906, "metric": "cos", "real": True},
}


def cache_folder():
    return pathlib.Path(os.environ.get("PV_BENCH_CACHE", ROOT / "build" / "ann-cache"))


def rotation(rng, dims, columns):
    return np.linalg.qr(rng.standard_normal((dims, columns)))[0].astype(np.float32)


class Mixture:
    """Rows of one distribution; `draw` may be called again and goes on with the same seed."""

    def __init__(self, spec, seed):
        self.rng = rng = np.random.default_rng(seed)
        self.spec, dims = spec, spec["dims"]
        self.count = spec.get("clusters", 400)
        wide = np.arange(1, dims + 1, dtype=np.float32) ** -0.5
        centres = rng.standard_normal((self.count, dims), dtype=np.float32) * wide
        self.centres = (centres @ rotation(rng, dims, dims).T) * np.float32(
            spec.get("apart", APART))
        self.scales = np.arange(1, spec["rank"] + 1, dtype=np.float32) ** -spec["decay"]
        self.bases = [rotation(rng, dims, spec["rank"]) for _ in range(self.count)]
        self.spread = rng.uniform(0.5, 1.5, self.count).astype(np.float32)
        weights = np.arange(1, self.count + 1) ** -0.7
        self.weights = rng.permutation(weights / weights.sum())

    def draw(self, rows):
        rng, spec = self.rng, self.spec
        out = np.empty((rows, spec["dims"]), dtype=np.float32)
        owner = rng.choice(self.count, size=rows, p=self.weights)
        if spec.get("sorted"):
            owner.sort()
        for at in range(0, rows, CHUNK):
            part = owner[at:at + CHUNK]
            z = rng.standard_normal((len(part), spec["rank"]), dtype=np.float32)
            if "tails" in spec:
                freedom = rng.chisquare(spec["tails"], size=(len(part), 1)) / spec["tails"]
                z /= np.sqrt(freedom).astype(np.float32)
            z *= self.scales * self.spread[part, None]
            x = rng.standard_normal((len(part), spec["dims"]), dtype=np.float32)
            x *= np.float32(0.15 / np.sqrt(spec["dims"]))
            for c in np.unique(part):
                mine = np.flatnonzero(part == c)
                x[mine] += self.centres[c] + z[mine] @ self.bases[c].T
            out[at:at + CHUNK] = x
        return out


def outside(rng, x):
    """Queries from elsewhere: another mean, another covariance, half of each row its own."""
    dims = x.shape[1]
    size = np.linalg.norm(x, axis=1, keepdims=True)
    other = (rng.standard_normal(x.shape, dtype=np.float32)
             * np.arange(1, dims + 1, dtype=np.float32) ** -0.4) @ rotation(rng, dims, dims).T
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    mean = rng.standard_normal(dims).astype(np.float32)
    mean /= np.linalg.norm(mean)
    return (x + size * (0.8 * other + 0.6 * mean)).astype(np.float32)


def make_synthetic(spec, rows, queries):
    source = Mixture(spec, 20261)
    base = source.draw(rows)
    query = Mixture.draw(source, queries)
    source.rng.shuffle(query)
    if spec.get("ood"):
        query = outside(source.rng, query)
    return base, query


def make_text(folder, rows, queries):
    path = folder / "text.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, str(ROOT / "bench/ann/text.py"), str(path)], check=True)
    every = np.load(path)
    order = np.random.default_rng(20261).permutation(len(every))
    return every[order[queries:queries + rows]], every[order[:queries]]


def distances(metric, q, x):
    """Of one query, in double precision, as pv.h measures them."""
    q, x = q.astype(np.float64), x.astype(np.float64)
    if metric == "l2":
        return np.sqrt(((x - q) ** 2).sum(1))
    dot = x @ q
    if metric == "ip":
        return -dot
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(q)
    return 1.0 - np.divide(dot, norms, out=np.zeros_like(dot), where=norms > 0)


def truth(metric, base, query, k=TRUTH):
    """Ids and distances of the k nearest."""
    weight = np.ones(len(base), dtype=np.float32)
    add = np.zeros(len(base), dtype=np.float32)
    squared = np.einsum("ij,ij->i", base, base)
    if metric == "cos":
        weight = 1.0 / np.sqrt(np.maximum(squared, 1e-30))
    elif metric == "l2":
        add = 0.5 * squared
    wanted = k + 50
    best = np.full((len(query), 0), 0, dtype=np.float32)
    ids = np.full((len(query), 0), 0, dtype=np.int64)
    for at in range(0, len(base), CHUNK):
        score = add[at:at + CHUNK] - (query @ base[at:at + CHUNK].T) * weight[at:at + CHUNK]
        top = np.argpartition(score, min(wanted, score.shape[1] - 1), axis=1)[:, :wanted]
        best = np.hstack([best, np.take_along_axis(score, top, 1)])
        ids = np.hstack([ids, top + at])
        if best.shape[1] > wanted:
            keep = np.argpartition(best, wanted, axis=1)[:, :wanted]
            best, ids = (np.take_along_axis(a, keep, 1) for a in (best, ids))
    found = np.empty((len(query), k), dtype=np.int32)
    far = np.empty((len(query), k))
    for i, row in enumerate(ids):
        d = distances(metric, query[i], base[row])
        order = np.lexsort((row, d))[:k]
        found[i], far[i] = row[order], d[order]
    return found, far


def intrinsic(metric, far):
    """Median local intrinsic dimension of the queries' neighbourhoods; None for inner products."""
    if metric == "ip":
        return None
    d = np.sqrt(2 * np.maximum(far, 0)) if metric == "cos" else far
    d = np.maximum(d, 1e-9)
    return float(np.median(-1.0 / np.mean(np.log(d[:, :-1] / d[:, -1:]), axis=1)))


def write_vecs(path, rows):
    """fvecs, ivecs and bvecs: each row with its length before it."""
    rows = np.ascontiguousarray(rows)
    head = np.array([rows.shape[1]], dtype=np.int32).view(rows.dtype)
    out = np.empty((min(len(rows), CHUNK), len(head) + rows.shape[1]), dtype=rows.dtype)
    out[:, :len(head)] = head
    with open(path, "wb") as f:
        for at in range(0, len(rows), CHUNK):
            part = rows[at:at + CHUNK]
            out[:len(part), len(head):] = part
            out[:len(part)].tofile(f)


def read_vecs(path, dtype=np.float32):
    if str(path).endswith(".bvecs"):
        raw = np.fromfile(path, dtype=np.uint8)
        dims = int(raw[:4].view(np.int32)[0])
        return raw.reshape(-1, dims + 4)[:, 4:].astype(np.float32)
    raw = np.fromfile(path, dtype=np.int32)
    return np.ascontiguousarray(raw.reshape(-1, raw[0] + 1)[:, 1:]).view(dtype)


def ensure(name, rows=None, queries=2000):
    """The folder of a set, made if need be, and what about.json says."""
    spec = SETS[name]
    rows = min(rows or spec["rows"], spec["rows"])
    folder = cache_folder() / f"{name}-{rows}"
    about = folder / "about.json"
    made = json.loads(about.read_text()) if about.exists() else {}
    if made.get("spec") == spec:
        return folder, made
    shutil.rmtree(folder, ignore_errors=True)  # indexes of other data too
    print(f"making {folder.name}", file=sys.stderr, flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    if spec.get("real"):
        base, query = make_text(cache_folder(), rows, queries)
    else:
        base, query = make_synthetic(spec, rows, queries)
    found, far = truth(spec["metric"], base, query)
    write_vecs(folder / "base.fvecs", base)
    write_vecs(folder / "query.fvecs", query)
    write_vecs(folder / "gt.ivecs", found)
    words = {"set": name, "rows": len(base), "dims": int(base.shape[1]), "queries": len(query),
             "metric": spec["metric"], "lid": intrinsic(spec["metric"], far),
             "numpy": np.__version__, "spec": spec}
    about.write_text(json.dumps(words) + "\n")
    return folder, words


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("set", nargs="?", choices=sorted(SETS))
    args.add_argument("--rows", type=int)
    args.add_argument("--cache")
    args.add_argument("--list", action="store_true")
    args = args.parse_args()
    if args.cache:
        os.environ["PV_BENCH_CACHE"] = args.cache
    if args.list or not args.set:
        for name, spec in SETS.items():
            print(name, spec["rows"], spec["dims"], spec["metric"])
        return
    folder, words = ensure(args.set, args.rows)
    print(folder, json.dumps(words))


if __name__ == "__main__":
    main()
