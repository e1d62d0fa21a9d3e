#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plant known bugs, one at a time, and see that the tests find them.

tests/mutants/NNN-name.patch is a unified diff against lib/ with a head of its own:

    Bug: what it does wrong, in one line
    Breaks: the invariant
    Caught by: tests/crash/crash_store PV_CRASH_IMAGES=3000

A program without a folder's own build is made by the Makefile; NAME=VALUE go to its environment,
SAN=... to its build. Several `Caught by` are tried in turn until one finds the bug. Everything is
done in copies of the tree in a temporary folder, of which each of --jobs workers has one; only the
changed files are compiled again. Each command is first run without a bug and must pass.

A mutant is caught when a command fails because of it, crashes or runs out of time. One that
does not apply, or does not compile, is an error like a survivor: it has to follow the code.

PV_MUTANTS="101 180-189 log" or --only picks some, `fast` the few of FAST. The last line is
`N passed, N failed`.
"""
import argparse
import concurrent.futures
import os
import pathlib
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests/mutants"
COPIED = ["lib", "include", "tests", "tools", "amalgamation", "Makefile"]

# One for each kind of damage, each found within a second or two.
FAST = {125, 128, 140, 160, 163, 192, 210, 221, 226, 301}

SCHED = "sched"  # in the place of sanitizers

# A short run of a crash suite may end without every operation that it wants to have seen. That is
# a failure of the suite, but it has found no bug.
NOT_A_FINDING = re.compile(r"no workload did this|\d+ commits, \d+ sites$")


class Mutant:
    def __init__(self, path):
        self.path = path
        self.number = int(path.name[:3])
        self.name = path.stem
        head, _, diff = path.read_text(encoding="utf-8").partition("--- ")
        fields = re.findall(r"^([A-Z][a-z ]+): (.+)$", head, re.M)
        self.tests = [value for key, value in fields if key == "Caught by"]
        self.files = re.findall(r"^\+\+\+ b/(\S+)", "--- " + diff, re.M)
        if not self.tests or not self.files or {"Bug", "Breaks"} - {key for key, _ in fields}:
            sys.exit(f"{path}: the head is not complete")


def parse(command):
    """(program, environment, sanitizers) of one `Caught by`. What runs under the scheduler of
    tests/sched has a build of its own."""
    program, *rest = shlex.split(command)
    env = dict(part.split("=", 1) for part in rest)
    san = env.pop("SAN", "")
    return program, env, SCHED if program.startswith("tests/sched/") else san


def run(command, cwd, env, limit):
    """Exit code (None: out of time), output, and seconds."""
    start = time.monotonic()
    proc = subprocess.Popen(command, cwd=cwd, env=dict(os.environ, **env), stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            start_new_session=True)
    try:
        out, _ = proc.communicate(timeout=limit)
        code = proc.returncode
    except subprocess.TimeoutExpired:
        os.killpg(proc.pid, signal.SIGKILL)
        out, _ = proc.communicate()
        code = None
    return code, out.decode("utf-8", "replace"), time.monotonic() - start


class Tree:
    """A copy of the sources with its build folders, one per set of sanitizers."""

    def __init__(self, folder, cc, cflags):
        self.folder = folder
        self.cc = cc
        self.cflags = cflags
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, copy_function=shutil.copy2)
            else:
                shutil.copy2(source, folder / name)

    def build_folder(self, san):
        return "build-" + (san.replace(",", "-") or "plain")

    def make(self, program, san):
        build = self.build_folder(san)
        env = {"MAKEFLAGS": ""}
        how = ["LIB_CFLAGS=-fsanitize=thread", "LAYERS=base os store"] if san == SCHED else [
            f"SAN={san}"]
        command = ["make", "-s", f"BUILD={build}", f"CC={self.cc}", f"CFLAGS={self.cflags}",
                   "WERROR=0", "DEBUG=1", *how, f"{build}/{program}"]
        code, text, _ = run(command, self.folder, env, 900)
        return code == 0, text

    def test(self, program, env, san, limit):
        temp = tempfile.mkdtemp(dir=self.folder)
        result = run([str(self.folder / self.build_folder(san) / program)], self.folder,
                     dict(env, TMPDIR=temp), limit)
        shutil.rmtree(temp, ignore_errors=True)
        return result

    def objects(self, files):
        for build in self.folder.glob("build-*"):
            for name in files:
                if name.endswith(".c"):
                    yield build / "obj" / (name[:-2] + ".o")
                else:  # a header: whatever includes it
                    yield from build.glob("obj/**/*.o")

    def plant(self, mutant):
        return run(["patch", "-p1", "--no-backup-if-mismatch", "-F3", "-i", str(mutant.path)],
                   self.folder, {}, 60)[:2]

    def restore(self, mutant, saved):
        for name in mutant.files:
            for junk in ("rej", "orig"):
                (self.folder / f"{name}.{junk}").unlink(missing_ok=True)
        for path, copy in saved:
            path.unlink(missing_ok=True)
            if copy:
                shutil.move(copy, path)
        for archive in self.folder.glob("build-*/libpiramid.a"):
            archive.unlink()  # it may hold the mutant's object, and be newer than the right one


def failed_because(code, text):
    """What a failing test says, or None when it has not failed."""
    if code == 0:
        return None
    if code is None:
        return "out of time"
    lines = [line.strip() for line in text.splitlines()]
    if any(NOT_A_FINDING.search(line) for line in lines):
        return None
    if code < 0:
        return f"signal {-code}"
    said = [line for line in lines
            if re.search(r"ERROR: \w+Sanitizer|runtime error:|^workload '|Assertion", line)]
    said += [after for line, after in zip(lines, lines[1:]) if "[  ERROR   ] ---" in line]
    said += [line for line in lines if "[  FAILED  ]" in line]
    return said[0] if said else f"exit {code}"


def hunt(tree, mutant, limits):
    """(caught?, what was seen)."""
    # The compiled files are put aside, so that the right ones need not be compiled again.
    sources = [tree.folder / name for name in mutant.files]
    saved = [(path, path.with_suffix(".right") if path.exists() else None)
             for path in [*sources, *tree.objects(mutant.files)]]
    for path, copy in saved:
        if copy:
            shutil.copy2(path, copy)
    try:
        code, text = tree.plant(mutant)
        if code != 0:
            return False, "does not apply: " + text.strip().splitlines()[-1]
        for command in mutant.tests:
            program, env, san = parse(command)
            made, text = tree.make(program, san)
            if not made:
                error = re.search(r"error: .*", text)
                return False, "does not compile: " + (error.group() if error else text[-200:])
            code, text, _ = tree.test(program, env, san, limits[command])
            why = failed_because(code, text)
            if why:
                return True, f"{program}: {why}"
        return False, "survived " + ", ".join(mutant.tests)
    finally:
        tree.restore(mutant, saved)


def baseline(tree, commands):
    """Time limits by command, from a run without a bug, which must pass."""
    limits, bad = {}, []
    for command in commands:
        program, env, san = parse(command)
        made, text = tree.make(program, san)
        code, seconds = 1, 0.0
        if made:
            code, text, seconds = tree.test(program, env, san, 600)
        if not made or failed_because(code, text):
            bad.append(f"{command} fails without a bug:\n{text[-2000:]}")
        limits[command] = 30 + 6 * seconds
    return limits, bad


def chosen(mutants, words):
    """Numbers, ranges, `fast` or parts of names."""
    if not words:
        return mutants
    picked = []
    for mutant in mutants:
        for word in words:
            span = re.fullmatch(r"(\d+)(?:-(\d+))?", word)
            if span and int(span[1]) <= mutant.number <= int(span[2] or span[1]):
                picked.append(mutant)
            elif word == "fast" and mutant.number in FAST:
                picked.append(mutant)
            elif not span and word != "fast" and word in mutant.name:
                picked.append(mutant)
            else:
                continue
            break
    return picked


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("-j", "--jobs", type=int, default=2, help="workers, each with a tree")
    parser.add_argument("--only", default=os.environ.get("PV_MUTANTS", ""),
                        help="numbers, ranges, parts of names, `fast`; else $PV_MUTANTS, else all")
    parser.add_argument("--list", action="store_true", help="only name them")
    parser.add_argument("--cc", default="gcc")
    parser.add_argument("--cflags", default="-O1")
    args = parser.parse_args()
    mutants = chosen([Mutant(path) for path in sorted(FOLDER.glob("[0-9]*.patch"))],
                     args.only.split())
    if args.list or not mutants:
        print("\n".join(f"{m.name:44} {', '.join(m.tests)}" for m in mutants))
        return 0 if mutants else 1
    start = time.monotonic()
    commands = list(dict.fromkeys(test for m in mutants for test in m.tests))
    trees, lock, caught = queue.Queue(), threading.Lock(), 0
    with tempfile.TemporaryDirectory(prefix="piramid-mutants-") as temp:
        first = Tree(pathlib.Path(temp, "0"), args.cc, args.cflags)
        limits, bad = baseline(first, commands)
        print(f"{len(commands)} commands without a bug, {time.monotonic() - start:.0f} s",
              flush=True)
        for text in bad:
            print(text)
        trees.put(first)
        for i in range(1, min(args.jobs, len(mutants))):
            shutil.copytree(first.folder, pathlib.Path(temp, str(i)), copy_function=shutil.copy2)
            other = object.__new__(Tree)
            other.__dict__.update(first.__dict__, folder=pathlib.Path(temp, str(i)))
            trees.put(other)

        def work(mutant):
            tree = trees.get()
            began = time.monotonic()
            try:
                good, why = hunt(tree, mutant, limits)
            finally:
                trees.put(tree)
            with lock:
                state = "caught  " if good else "SURVIVED" if "survived" in why[:8] else "ERROR   "
                print(f"{mutant.name:44} {time.monotonic() - began:6.1f} s  {state}  {why:.110}",
                      flush=True)
            return good

        with concurrent.futures.ThreadPoolExecutor(max(1, args.jobs)) as pool:
            caught = sum(pool.map(work, mutants))
    print(f"{time.monotonic() - start:.0f} s")
    print(f"{caught} passed, {len(mutants) - caught + len(bad)} failed")
    return 1 if bad or caught < len(mutants) else 0


if __name__ == "__main__":
    sys.exit(main())
