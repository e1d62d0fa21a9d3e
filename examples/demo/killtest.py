#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kill a writing process again and again, and see that nothing it acknowledged is lost.

    python3 examples/demo/killtest.py BUILD [--rounds 20] [--rows 2000] [--batch 25] [--seed N]

Each round a child process (`piramid import --upsert`) replaces all records of one file, batch by
batch, with vectors and metadata that belong to that round. It writes the ids of a batch to a pipe
only after the batch's commit returned. At a random moment between the first and the last commit
it gets SIGKILL. The file is then opened again and every row is compared byte for byte:

    rows acknowledged in this round     must be this round's
    all other rows                      their batch is wholly this round's, or wholly what it was
    batches of this round               stand without a gap before them (commits in order)

The same file goes through all rounds, so that recovery is followed by the next crash. Only the
child that was started here is killed.
"""
import argparse
import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time

import common


class Trial:
    def __init__(self, program, folder, args):
        self.program, self.batch = program, args.batch
        self.db = os.path.join(folder, "kill.pv")
        self.folder = folder
        self.records = common.rows("glosses")[:args.rows]
        self.halves = common.vectors("glosses")[:args.rows]
        self.floats = [common.as_f32(h) for h in self.halves]
        self.order = sorted(range(len(self.records)), key=lambda i: self.records[i]["id"].encode())
        self.state = [None] * len(self.records)  # the round each row was last seen in
        self.batches = -(-len(self.records) // args.batch)
        self.acknowledged = 0

    def source(self, row, rnd):
        """Which text's vector the row has in a round."""
        return (row + 7919 * rnd) % len(self.records)

    def metadata(self, row, rnd):
        record = self.records[row]
        return {"id": record["id"], "metadata": {"round": rnd, "row": row, "text": record["text"]}}

    def write_input(self, rnd):
        count = len(self.records)
        npy, lines = os.path.join(self.folder, "in.npy"), os.path.join(self.folder, "in.jsonl")
        with open(npy, "wb") as f:
            f.write(common.npy_header("<f2", count, common.DIMS))
            f.writelines(self.halves[self.source(row, rnd)] for row in range(count))
        with open(lines, "w", encoding="utf-8") as f:
            f.writelines(json.dumps(self.metadata(row, rnd)) + "\n" for row in range(count))
        return npy, lines

    def start(self, rnd):
        npy, lines = self.write_input(rnd)
        read_end, write_end = os.pipe()
        child = subprocess.Popen(
            [self.program, "import", self.db, "rows", npy, "--metadata", lines, "--create",
             "--upsert", "--batch", str(self.batch), "--ack-fd", str(write_end), "--quiet"],
            pass_fds=[write_end])
        os.close(write_end)
        return child, read_end

    def run_and_kill(self, rnd, rng):
        """Ids acknowledged before the kill, batch by batch; None when the child was faster."""
        child, pipe = self.start(rnd)
        wanted = rng.randint(1, self.batches - 1)
        data, seen, moment, began = b"", 0, None, time.monotonic()
        while True:
            wait = None if moment is None else max(0.0, moment - time.monotonic())
            if not select.select([pipe], [], [], wait)[0]:
                break
            part = os.read(pipe, 1 << 16)
            if not part:
                break
            data += part
            seen = data.count(b"\n")
            if moment is None and seen >= wanted:
                spent = (time.monotonic() - began) / seen
                moment = time.monotonic() + rng.uniform(0.0, 2.0 * spent)
        child.send_signal(signal.SIGKILL)
        code = child.wait()
        while part := os.read(pipe, 1 << 16):
            data += part
        os.close(pipe)
        lines = data.split(b"\n")[:-1]  # a last line that was cut off was not acknowledged
        if code not in (0, -signal.SIGKILL):
            sys.exit(f"round {rnd}: the import ended with {code}")
        if code == 0 or len(lines) >= self.batches:
            for row in range(len(self.state)):
                self.state[row] = rnd
            return None
        return [json.loads(line)["ids"] for line in lines]

    def read_back(self):
        """(vector bytes, metadata) of all rows, by row."""
        npy, lines = os.path.join(self.folder, "out.npy"), os.path.join(self.folder, "out.jsonl")
        common.run(self.program, "export", self.db, "rows", npy, "--metadata", lines, "--quiet")
        data, size = common.npy_payload(npy), 4 * common.DIMS
        found = {}
        with open(lines, encoding="utf-8") as f:
            for i, line in enumerate(f):
                record = json.loads(line)
                found[record["id"]] = data[i * size:(i + 1) * size], record
        return found

    def version(self, row, found, rnd):
        """The round whose content the row has, byte for byte; fails when it is none."""
        record = self.records[row]
        if record["id"] not in found:
            return None
        vector, line = found[record["id"]]
        for candidate in {rnd, self.state[row]} - {None}:
            want = json.dumps(self.metadata(row, candidate), sort_keys=True)
            if json.dumps(line, sort_keys=True) == want and \
                    vector == self.floats[self.source(row, candidate)]:
                return candidate
        sys.exit(f"round {rnd}: record '{record['id']}' is neither what it was nor what it became")

    def compare(self, rnd, acknowledged):
        found = self.read_back()
        versions = [self.version(row, found, rnd) for row in range(len(self.records))]
        extra = set(found) - {r["id"] for r in self.records}
        if extra:
            sys.exit(f"round {rnd}: {len(extra)} records that nobody wrote")
        new = []
        for b in range(self.batches):
            part = range(b * self.batch, min((b + 1) * self.batch, len(versions)))
            states = {versions[row] for row in part if versions[row] == rnd} | {
                "old" for row in part if versions[row] == self.state[row] != rnd}
            if len(states) != 1:
                sys.exit(f"round {rnd}: batch {b} is half there")
            new.append(states == {rnd})
            if b < len(acknowledged):
                ids = [self.records[row]["id"] for row in part]
                if acknowledged[b] != ids or not new[b]:
                    sys.exit(f"round {rnd}: batch {b} was acknowledged and is not there")
        committed = sum(new)
        if any(new[committed:]):
            sys.exit(f"round {rnd}: a later batch is there without an earlier one")
        self.acknowledged += len(acknowledged) * self.batch
        self.state = versions
        return committed

    def check(self):
        common.run(self.program, "check", self.db, "--deep")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", help="build folder, or the program itself")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=25)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "little"))
    args = parser.parse_args()
    rng = random.Random(args.seed)
    print(f"seed {args.seed}")
    with tempfile.TemporaryDirectory(prefix="piramid-kill-") as folder:
        trial = Trial(common.program(args.build), folder, args)
        killed, rnd = 0, 0
        while killed < args.rounds:
            if rnd > 3 * args.rounds + 10:
                sys.exit("the child ends before it can be killed; give more --rows")
            acknowledged = trial.run_and_kill(rnd, rng)
            rnd += 1
            if acknowledged is None:
                continue
            killed += 1
            committed = trial.compare(rnd - 1, acknowledged)
            print(f"kill {killed:2}: {len(acknowledged)} of {trial.batches} batches acknowledged, "
                  f"{committed} found complete, 0 lost, 0 half there", flush=True)
            if killed % 5 == 0 or killed == args.rounds:
                trial.check()
        print(f"{killed} kills, {trial.acknowledged} acknowledged rows compared byte for byte, "
              "none lost")


if __name__ == "__main__":
    main()
