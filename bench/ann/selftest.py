#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Check the bench itself: usage selftest.py PROGRAM (ours, with exact search).

Small sets with ties and copies, in all metrics, through the program: recall by distance must be 1
for exact answers, recall by id must not where the truth names copies, and both must fall by what is
broken in the truth. The Python judge must agree with the C one on the same answers.
"""
import csv
import pathlib
import subprocess
import sys
import tempfile

import data  # says what to do where numpy is missing
import peers

import numpy as np

ROWS, DIMS, QUERIES = 600, 12, 40


def make(folder, metric):
    """Vectors of few values (many ties), a fifth of them copies, one of zeros."""
    rng = np.random.default_rng(7)
    base = rng.integers(-2, 3, (ROWS, DIMS)).astype(np.float32)
    base[ROWS - ROWS // 5:] = base[:ROWS // 5]
    base[17] = 0
    query = base[rng.choice(ROWS, QUERIES)] + rng.normal(0, 0.01, (QUERIES, DIMS))
    query = query.astype(np.float32)
    found, _ = data.truth(metric, base, query, 20)
    data.write_vecs(folder / "b.fvecs", base)
    data.write_vecs(folder / "q.fvecs", query)
    data.write_vecs(folder / "g.ivecs", found)
    if not np.array_equal(data.read_vecs(folder / "g.ivecs", np.int32), found):
        sys.exit("files of vectors do not read as they were written")
    return base, query, found


def run(program, folder, metric, how, gt="g.ivecs", kind="fvecs"):
    done = subprocess.run(
        [program, "--base", folder / f"b.{kind}", "--query", folder / f"q.{kind}",
         "--gt", folder / gt,
         "--metric", metric, "--threads", "1", *how, "--params", "index=flat,ef=10:20,rep=1"],
        capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{program}: {done.returncode}: {done.stderr}")
    return list(csv.DictReader(x for x in done.stdout.splitlines() if x[:1] != "#"))


def expect(what, found, wanted):
    if abs(found - wanted) > 1e-5:
        sys.exit(f"{what}: {found}, not {wanted}")


def check(program, folder, metric):
    base, query, found = make(folder, metric)
    saved = str(folder / f"saved-{metric}.pv")
    rows = run(program, folder, metric, ["--save", saved])
    again = run(program, folder, metric, ["--load", saved])
    if [r["ef"] for r in rows] != ["10", "20"] or len(again) != 2:
        sys.exit("not one row for each ef")
    for row in rows + again:
        expect(f"{metric} recall by distance", float(row["recall10"]), 1.0)
        if float(row["qps"]) <= 0 or float(row["file_mb"]) <= 0 or float(row["build_s"]) <= 0:
            sys.exit("a figure is missing")
    # Truth that names copies instead: as near, but other ids.
    copies = np.where(found < ROWS // 5, found + ROWS - ROWS // 5, found)
    data.write_vecs(folder / "copies.ivecs", copies.astype(np.int32))
    row = run(program, folder, metric, ["--load", saved], "copies.ivecs")[0]
    expect(f"{metric} copies by distance", float(row["recall10"]), 1.0)
    if not 0.2 < float(row["idrecall10"]) < 0.98:
        sys.exit(f"{metric}: copies leave recall by id at {row['idrecall10']}")
    # Truth that has only the nearest row, ten times: what is farther must not count.
    near = np.repeat(found[:, :1], 20, axis=1)
    data.write_vecs(folder / "near.ivecs", near)
    row = run(program, folder, metric, ["--load", saved], "near.ivecs")[0]
    answers = found[:, :10].copy()
    expect(f"{metric} both judges", float(row["recall10"]),
           peers.judge(metric, base, query, near, answers)[0])
    answers[:, 1:] = answers[:, :1]
    expect(f"{metric} one answer ten times",
           peers.judge(metric, base, query, found, answers)[0], 0.1)
    answers[:] = -1
    expect(f"{metric} no answers", peers.judge(metric, base, query, found, answers)[0], 0.0)


def check_bytes(program, folder):
    rng = np.random.default_rng(8)
    base, query = (rng.integers(0, 256, (n, DIMS)).astype(np.uint8) for n in (ROWS, QUERIES))
    found, _ = data.truth("l2", base.astype(np.float32), query.astype(np.float32), 20)
    data.write_vecs(folder / "b.bvecs", base)
    data.write_vecs(folder / "q.bvecs", query)
    data.write_vecs(folder / "bytes.ivecs", found)
    if not np.array_equal(data.read_vecs(folder / "b.bvecs"), base):
        sys.exit("files of bytes do not read as they were written")
    saved = ["--save", str(folder / "saved-bytes.pv")]
    row = run(program, folder, "l2", saved, "bytes.ivecs", "bvecs")[0]
    expect("recall of bytes", float(row["recall10"]), 1.0)


def main():
    with tempfile.TemporaryDirectory() as name:
        for metric in ("l2", "ip", "cos"):
            check(sys.argv[1], pathlib.Path(name), metric)
        check_bytes(sys.argv[1], pathlib.Path(name))
    print("the bench agrees with itself")


if __name__ == "__main__":
    main()
