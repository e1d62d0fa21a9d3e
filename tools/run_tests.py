#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run test programs one after the other and add up what they report.

Each program runs in a session of its own, with a timeout and an empty TMPDIR that is removed
afterwards. Counted are cmocka's result lines, or a last line `N passed, N failed`; a program that
prints neither is one test. A crash, a timeout or a non-zero exit counts as at least one failure.
Output of a program is shown only when something in it failed (or with -v). The last line is
`N passed, N failed`; skipped tests count as failed.
"""
import argparse
import concurrent.futures
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PASSED = re.compile(r"^\[  PASSED  \] (\d+) test", re.M)
FAILED = re.compile(r"^\[  FAILED  \] .*?: (\d+) test|^\[  FAILED  \] (\d+) test", re.M)
SKIPPED = re.compile(r"^\[  SKIPPED \] .*?: (\d+) test|^\[  SKIPPED \] (\d+) test", re.M)
SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed\s*$", re.M)


def count(text, code):
    """(passed, failed) of one program's output."""
    def total(pattern):
        return sum(int(a or b) for a, b in pattern.findall(text))

    summary = SUMMARY.findall(text)
    if summary:
        passed, failed = (int(n) for n in summary[-1])
    elif PASSED.search(text):
        passed = sum(int(n) for n in PASSED.findall(text))
        failed = total(FAILED) + total(SKIPPED)
    else:
        passed, failed = (1, 0) if code == 0 else (0, 1)
    if code != 0 and failed == 0:
        failed = 1
    if passed + failed == 0:
        failed = 1  # a program without a single test is a mistake
    return passed, failed


def command(program, under):
    if under:
        return [*under.split(), os.path.abspath(program)]
    if program.endswith(".py"):
        return [sys.executable, os.path.abspath(program)]
    if program.endswith(".sh"):
        return ["bash", os.path.abspath(program)]
    return [os.path.abspath(program)]


def run(program, timeout, under):
    """Exit code (negative: signal, None: timeout), all output and seconds of one program."""
    start = time.monotonic()
    folder = tempfile.mkdtemp(prefix="piramid-test-")
    proc = subprocess.Popen(command(program, under), stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                            env=dict(os.environ, TMPDIR=folder), start_new_session=True)
    try:
        out, _ = proc.communicate(timeout=timeout)
        code = proc.returncode
    except subprocess.TimeoutExpired:
        os.killpg(proc.pid, signal.SIGKILL)
        out, _ = proc.communicate()
        code = None
    shutil.rmtree(folder, ignore_errors=True)
    return code, out.decode("utf-8", "replace"), time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--timeout", type=float, default=120, help="seconds for one program")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="programs at the same time")
    parser.add_argument("--under", default="", help="what runs the programs: an emulator")
    parser.add_argument("-v", action="store_true", help="show all output")
    parser.add_argument("programs", nargs="*")
    args = parser.parse_args()
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(max(1, args.jobs)) as pool:
        futures = [pool.submit(run, program, args.timeout, args.under) for program in args.programs]
        for program, future in zip(args.programs, futures):
            code, text, seconds = future.result()
            good, bad = count(text, 1 if code is None else code)
            passed += good
            failed += bad
            if bad or args.v:
                sys.stdout.write(text)
            state = "TIMEOUT" if code is None else f"exit {code}" if code else "ok"
            print(f"{program:48} {good:5} passed {bad:3} failed {seconds:7.2f} s  {state}",
                  flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
