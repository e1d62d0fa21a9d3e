# SPDX-License-Identifier: Apache-2.0
"""What the drivers share: arguments, running a bench, and letting programs run in turn."""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def arguments(text, sizes):
    """Options of a driver; `sizes` maps a name to its short and its long default."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--build", default=os.environ.get("BUILD", str(ROOT / "build")))
    parser.add_argument("--dir", help="folder on the disk to measure; default: beside the build")
    parser.add_argument("--long", action="store_true", default=bool(os.environ.get("BENCH_LONG")),
                        help="the sizes of docs/bench.md (also BENCH_LONG=1)")
    for name, (short, full) in sizes.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(short), default=None,
                            help=f"default {short}, with --long {full}")
    args = parser.parse_args()
    for name, (short, full) in sizes.items():
        if getattr(args, name) is None:
            setattr(args, name, full if args.long else short)
    return args


def folder(args):
    """A new empty folder that goes when the driver ends."""
    return tempfile.TemporaryDirectory(prefix="bench-", dir=args.dir or args.build)


def program(args, name):
    path = pathlib.Path(args.build) / "bench" / name
    if not path.exists():
        sys.exit(f"{path} is missing: make bench builds it")
    return str(path)


def values(text):
    """`name value unit` lines as a dict of numbers."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2:
            try:
                found[words[0]] = float(words[1])
            except ValueError:
                continue
    return found


def run(command, show=True, expect=0):
    done = subprocess.run(command, capture_output=True, text=True)
    if show:
        print(done.stdout, end="")
    if done.returncode != expect:
        sys.exit(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Turns:
    """A bench started with `step`: it works only between turn() and its next `ready`."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.lines = []
        self.alive = True
        self.wait()

    def wait(self):
        """Lines up to the next `ready` or the end."""
        seen = []
        for line in self.process.stdout:
            if line == "ready\n":
                return seen
            seen.append(line)
            self.lines.append(line)
        self.alive = False
        if self.process.wait() != 0:
            sys.exit(f"{self.process.args[0]} failed: {self.process.returncode}")
        return seen

    def turn(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self.wait()

    def finish(self):
        while self.alive:
            self.turn()

    def values(self):
        return values("".join(self.lines))


def median(numbers):
    return statistics.median(numbers)


def verdict(name, value, bound, at_least=True, unit=""):
    """One line: a ratio beside what is wanted of it."""
    good = value >= bound if at_least else value <= bound
    sign = ">=" if at_least else "<="
    print(f"{'ok    ' if good else 'MISSED'} {name}: {value:.3f}{unit} ({sign} {bound:g} wanted)",
          flush=True)
    return good
