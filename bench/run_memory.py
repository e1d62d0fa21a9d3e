#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Searching under a memory limit: recall, queries per second and bytes read from the disk.

    run_memory.py --set FOLDER --metric cos --limits 340,111,67,33 code=sq8:FILE hnswlib:FILE ...

FOLDER has base.fvecs, query.fvecs and gt.ivecs; a FILE is what bench/ann or the peer saved. Each
program runs in a memory group of its own (cgroup v1 or v2) whose limit counts anonymous memory and
the pages of files alike; RESERVE is added for what the bench itself holds (queries, answers, the
program). Ours gets the limit less
--spare as its cache: a search has some memory of its own (with pq 3 MB of books), and the system
needs room for what is being read. Where no group can be made the limit is that
of the cache alone, and the table says so.
"""
import argparse
import os
import pathlib
import subprocess
import sys

from common import ROOT

RESERVE = 6 << 20
V1 = pathlib.Path("/sys/fs/cgroup/memory")
V2 = pathlib.Path("/sys/fs/cgroup")


def group():
    """A new memory group and the file of its limit; None where that is not permitted."""
    for parent, limit in ((V1, "memory.limit_in_bytes"), (V2, "memory.max")):
        made = parent / f"bench-memory-{os.getpid()}"
        try:
            made.mkdir()
        except OSError:
            continue
        if (made / limit).exists():
            return made, made / limit
        made.rmdir()
    return None


def run(args, program, path, cache, limit, params):
    """CSV row and bytes a query, or why not."""
    where = pathlib.Path(args.set)
    settings = f"{params},io=1,rep={args.reps},clock={args.clock}"
    if cache:
        settings += f",cache={cache // 1000000}"
    command = [program, "--base", str(where / "base.fvecs"), "--query", str(where / "query.fvecs"),
               "--gt", str(where / "gt.ivecs"), "--metric", args.metric, "--threads", "1",
               "--load", path, "--params", settings]
    made = group() if limit else None
    if made:
        made[1].write_text(str(limit + RESERVE))

    def enter():
        if made:
            (made[0] / "cgroup.procs").write_text(str(os.getpid()))
    try:
        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=enter,
                              timeout=args.timeout)
    except subprocess.TimeoutExpired:
        return "too slow", made is not None
    finally:
        if made:
            made[0].rmdir()
    if done.returncode != 0:
        killed = done.returncode == -9
        return "out of memory" if killed else done.stderr.strip()[-80:], made is not None
    rows, read = [], 0.0
    for line in done.stdout.splitlines():
        if line.startswith("#"):
            read = float(line.split()[1])
            rows[-1]["read"] = read
        elif not line.startswith("name,"):
            f = line.split(",")
            rows.append({"mem": float(f[4]), "recall": float(f[7]), "qps": float(f[8]),
                         "p50": float(f[9]), "p99": float(f[10])})
    return rows, made is not None


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.environ.get("BUILD", str(ROOT / "build")))
    parser.add_argument("--peers", help="folder of peer_hnswlib; default: BUILD/ann-peers")
    parser.add_argument("--set", required=True)
    parser.add_argument("--metric", default="cos")
    parser.add_argument("--limits", default="0", help="MB, 0: none")
    parser.add_argument("--params", default="ef=0", help="for ours")
    parser.add_argument("--peer-params", default="ef=40")
    parser.add_argument("--spare", type=int, default=4, help="MB")
    parser.add_argument("--reps", type=int, default=1)
    parser.add_argument("--clock", default="wall")
    parser.add_argument("--timeout", type=int, default=120)
    parser.add_argument("files", nargs="+", help="NAME:FILE; a NAME of hnswlib is the peer")
    args = parser.parse_args()
    print("| | limit MB | resident MB | recall@10 | queries/s | p50 us | p99 us | read a query |")
    print("|---|---|---|---|---|---|---|---|")
    for item in args.files:
        name, _, path = item.partition(":")
        peer = name.startswith("hnswlib")
        folder = pathlib.Path(args.peers or pathlib.Path(args.build) / "ann-peers")
        program = str(folder / "peer_hnswlib") if peer else str(
            pathlib.Path(args.build) / "bench" / "ann")
        for mb in (int(m) for m in args.limits.split(",")):
            limit = mb * 1000000
            cache = 0 if peer else limit - args.spare * 1000000 if limit else 4000000000
            rows, grouped = run(args, program, path, cache, limit,
                                args.peer_params if peer else args.params)
            label = "none" if mb == 0 else f"{mb}" + ("" if grouped else " (cache alone)")
            if isinstance(rows, str):
                print(f"| {name} | {label} | {rows} | | | | | |", flush=True)
                continue
            for r in rows:
                print(f"| {name} | {label} | {r['mem']:.0f} | {r['recall']:.4f} | "
                      f"{r['qps']:.0f} | {r['p50']:.0f} | {r['p99']:.0f} | "
                      f"{r['read'] / 1024:.0f} KiB |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
