#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which lines of lib/ the tests have run: usage coverage.py --build FOLDER [--want FOLDER=PERCENT]

FOLDER was built with --coverage and its programs have run; gcov says what they reached. Lines that
the compiler made code for are counted once, however many objects they are in, and none is left out.
Printed are the lines of each file and folder, and with --missing the numbers of those that were
never run. --want lib/store=95 counts as a test; the last line is `N passed, N failed`.
"""
import argparse
import collections
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def add(report, lines):
    """One gcov report: lines[file][number] becomes how often that line ran in all."""
    for entry in report["files"]:
        path = pathlib.Path(ROOT, entry["file"]).resolve()
        if ROOT / "lib" in path.parents:
            name = str(path.relative_to(ROOT))
            for line in entry["lines"]:
                lines[name][line["line_number"]] += line["count"]


def measure(build, gcov):
    lines = collections.defaultdict(collections.Counter)
    notes = sorted(str(p) for p in pathlib.Path(build, "obj/lib").rglob("*.gcno"))
    if not notes:
        sys.exit(f"{build} was not built with --coverage")
    out = subprocess.run([gcov, "--json-format", "--stdout", *notes], cwd=ROOT, check=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    for text in out.decode().splitlines():
        if text.strip():
            add(json.loads(text), lines)
    return lines


def ranges(numbers):
    """[1, 2, 3, 7] as '1-3 7'."""
    out = []
    for n in numbers:
        if out and out[-1][1] == n - 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in out)


def figures(lines):
    """(lines, of these run) of each file and of each folder."""
    sums = {}
    for name, counts in lines.items():
        for key in (name, os.path.dirname(name)):
            total, run = sums.get(key, (0, 0))
            sums[key] = (total + len(counts), run + sum(1 for n in counts.values() if n))
    return sums


def percent(total, run):
    return 100.0 * run / total if total else 0.0


def judge(sums, wanted):
    """(passed, failed) of wishes like lib/store=95."""
    passed = failed = 0
    for wish in wanted:
        folder, _, least = wish.partition("=")
        have = percent(*sums.get(folder, (0, 0)))
        good = have >= float(least)
        print(f"{folder}: {have:.2f} % of the lines were run, wanted are {least} %"
              f"{'' if good else ': too few'}")
        passed, failed = passed + good, failed + (not good)
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", default="build/coverage")
    parser.add_argument("--want", action="append", default=[])
    parser.add_argument("--missing", action="append", default=[], help="list lines of this folder")
    parser.add_argument("--gcov", default=os.environ.get("GCOV", "gcov"))
    args = parser.parse_args()
    lines = measure(os.path.abspath(args.build), args.gcov)
    sums = figures(lines)
    print(f"{'lines':>7} {'run':>7} {'%':>7}")
    for name in sorted(sums):
        total, run = sums[name]
        print(f"{total:7} {run:7} {percent(total, run):7.2f}  {name}"
              f"{'' if name in lines else '/'}")
        if name in lines and any(name.startswith(folder + "/") for folder in args.missing):
            never = sorted(n for n, count in lines[name].items() if not count)
            if never:
                print(f"{'':24} never: {ranges(never)}")
    passed, failed = judge(sums, args.want)
    if args.want:
        print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
