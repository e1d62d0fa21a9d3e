#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How fast records go in, beside sqlite-vec in the same run on the same disk.

Both load the same records, a tenth of them in turn, and the plain write of as many bytes runs in
between. Then commits of one record, beside a plain write and fdatasync, from one thread and from
eight. sqlite-vec is used when its package is installed for this Python and SQLite for the system;
strace, when there, counts the syncs from outside.
"""
import importlib.util
import re
import shutil
import subprocess
import sys

from common import Turns, arguments, folder, median, program, run, values, verdict


def extension():
    """Path of the extension, or None."""
    if importlib.util.find_spec("sqlite_vec") is None:
        print("sqlite-vec is not installed (pip install sqlite-vec): no peer in this run")
        return None
    import sqlite_vec
    return sqlite_vec.loadable_path()


def slice_rate(lines):
    """Rows and seconds that the slice lines among `lines` tell."""
    return [(float(w[1]), float(w[2])) for w in (line.split() for line in lines)
            if w[:1] == ["slice"]]


def load(args, where):
    sizes = [str(args.rows), str(args.dims), str(args.batch), str(args.meta), str(args.cache)]
    own = Turns([program(args, "bench_store"), "load", where, *sizes, str(args.threads), "step"])
    path = extension()
    peer = Turns([program(args, "bench_sqlite_vec"), path, where, *sizes, "step"]) if path else None
    own_slices, peer_slices = [], []
    for _ in range(10):
        own_slices += slice_rate(own.turn())
        if peer:
            peer_slices += slice_rate(peer.turn())
        own.turn()  # the plain write
    own.finish()
    print("".join(line for line in own.lines if not line.startswith("slice")), end="")
    have = own.values()
    if peer:
        peer.finish()
        print("".join(line for line in peer.lines if not line.startswith("slice")), end="")
        other = peer.values()
        pairs = [p[1] / o[1] for o, p in zip(own_slices, peer_slices) if o[1] > 0]
        print(f"slices: rows/s to sqlite-vec's, median {median(pairs):.2f}, "
              f"worst {min(pairs):.2f}, best {max(pairs):.2f}")
        verdict("load: rows/s to sqlite-vec's", have["load.rate"] / other["peer.rate"], 1.0)
        verdict("load, close included: rows/s to sqlite-vec's",
                have["load.rate_closed"] / other["peer.rate_closed"], 1.0)
    verdict("load: bytes written to payload", have["load.written_to_payload"], 2.3, False)
    verdict("load: speed to plain writes of a tenth with one fdatasync each",
            have["load.to_plain_write"], 0.5)
    verdict("load: speed to a plain write of all with one fdatasync",
            have["load.to_plain_write_whole"], 0.5)
    print(f"load: speed to a plain write with an fdatasync for each batch: "
          f"{have['load.to_plain_write_synced']:.3f}")


def load_alone(args, where):
    """The same with no thread but the caller's."""
    sizes = [str(args.rows), str(args.dims), str(args.batch), str(args.meta), str(args.cache)]
    alone = values(run([program(args, "bench_store"), "load", where, *sizes, "1"], show=False))
    for name in ("rate", "cpu_per_row", "speed", "to_plain_write", "to_plain_write_whole",
                 "to_plain_write_synced"):
        print(f"alone.{name} {alone['load.' + name]:.3f}")


def strace_syncs(command):
    """fdatasync and fsync calls of a command and its threads, or None without strace."""
    if not shutil.which("strace"):
        return None
    done = subprocess.run(["strace", "-f", "-c", "-e", "trace=fdatasync,fsync", *command],
                          capture_output=True, text=True)
    if done.returncode != 0:
        return None
    return sum(int(m[1]) for m in
               re.finditer(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+).*\b(?:fdatasync|fsync)$",
                           done.stderr, re.M))


def commits(args, where):
    store = program(args, "bench_store")
    found = [values(run([store, "commit", where, "768", str(args.commits)], show=i == 0))
             for i in range(args.rounds)]
    p50 = median([f["commit.p50"] for f in found])
    sync = median([f["sync.p50"] for f in found])
    print(f"median of {args.rounds} rounds: commit p50 {p50:.0f} us, fdatasync p50 {sync:.0f} us, "
          f"ratio {p50 / sync:.3f}")
    verdict("one-row commit: p50 to 1.3 x fdatasync p50 + 100 us", p50 / (1.3 * sync + 100), 1.0,
            False)
    verdict("one-row commit of 768 d: log bytes without padding",
            median([f["commit.log_per_row_unpadded"] for f in found]), 4200, False, " bytes")
    verdict("one-row commit: syncs by the library's count",
            max(f["commit.syncs_per_commit"] for f in found), 1.0, False)
    out = values(run([store, "writers", where, "768", "8", str(args.commits)]))
    verdict("8 writers: syncs per commit", out["writers.syncs_per_commit"], 1.0, False)
    none = strace_syncs([store, "commit", where, "768", "0", "noprobe"])
    one = strace_syncs([store, "commit", where, "768", "400", "noprobe"])
    zero = strace_syncs([store, "writers", where, "768", "8", "0"])
    many = strace_syncs([store, "writers", where, "768", "8", "800"])
    if None in (none, one, zero, many):
        print("strace is not there or not allowed: syncs were counted by the library alone")
        return
    print(f"strace: {one - none} syncs for 400 commits, {many - zero} for 800 of 8 threads "
          f"(open, create and close taken off)")
    verdict("one-row commit: syncs by strace", (one - none) / 400, 1.01, False)
    verdict("8 writers: syncs per commit by strace", (many - zero) / 800, 1.0, False)


def main():
    args = arguments(__doc__, {"rows": (200000, 1000000), "dims": (128, 128),
                               "batch": (10000, 10000), "meta": (100, 100), "cache": (256, 256),
                               "threads": (2, 2), "commits": (500, 2000), "rounds": (3, 5)})
    with folder(args) as where:
        run([program(args, "bench_store"), "disk", where, "1000"])
        load(args, where)
        load_alone(args, where)
        commits(args, where)
        run([program(args, "bench_store"), "disk", where, "1000"])


if __name__ == "__main__":
    sys.exit(main())
