# SPDX-License-Identifier: Apache-2.0
"""Time from Ctrl-C to KeyboardInterrupt, rollback included: interrupt.py [--rows N] [--times N].

A process inserts one array of a million vectors in one call; at a random moment of the call it gets
SIGINT. Shown is the time from the signal until the exception is there (everything undone by then),
and checked that nothing is left and that the database goes on. The last moments of the call, the
commit, run to their end: such a round is told apart.
"""
import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

DIMS = 128


def child(path, rows, index):
    import numpy as np  # noqa: PLC0415

    import piramiddb  # noqa: PLC0415

    vectors = np.random.default_rng(1).standard_normal((rows, DIMS), np.float32)
    with piramiddb.open(path, cache_bytes=256 << 20) as db:
        docs = db.collection("docs", dims=DIMS, key="int", index=index)
        before = db.stats().db_checksum
        print("ready", flush=True)
        begin = time.monotonic()
        try:
            docs.insert(np.arange(rows), vectors)
            print("committed", flush=True)
        except KeyboardInterrupt:
            if docs.count() == rows:  # it came when the commit's record was written already
                print("committed", flush=True)
                return
            print("stopped", flush=True)
            assert docs.count() == 0
            assert db.stats().db_checksum == before
            docs.insert(5, vectors[0])
            assert db.check(deep=True) == []
        print(f"{time.monotonic() - begin:.1f}", flush=True)


def one(rows, index, delay):
    with tempfile.TemporaryDirectory() as folder:
        program = subprocess.Popen([sys.executable, __file__, "--rows", str(rows), "--index",
                                    index, "--child", f"{folder}/i.pv"],
                                   stdout=subprocess.PIPE, text=True)
        assert program.stdout.readline() == "ready\n"
        time.sleep(delay)
        begin = time.monotonic()
        os.kill(program.pid, signal.SIGINT)
        how = program.stdout.readline().strip()
        took = time.monotonic() - begin
        assert program.wait() == 0 or how == "committed"
        program.stdout.close()
        return how, took


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--index", choices=["flat", "auto", "hnsw"], default="auto")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--last", type=float, default=4.0, help="seconds: moments lie before it")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.rows, args.index)
        return
    stopped = []
    for i in range(args.times):
        delay = random.uniform(0.05, args.last)
        how, took = one(args.rows, args.index, delay)
        print(f"round {i}: signal after {delay:.2f} s, {how} {took * 1000:.0f} ms later",
              flush=True)
        if how == "stopped":
            stopped.append(took)
    stopped.sort()
    print(f"{len(stopped)} of {args.times} stopped and undone: median "
          f"{stopped[len(stopped) // 2] * 1000:.0f} ms, longest {stopped[-1] * 1000:.0f} ms "
          "(wanted <= 200)")


if __name__ == "__main__":
    main()
