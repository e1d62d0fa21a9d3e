#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Everything `make check` runs: usage check.py --build FOLDER [step ...].

Each step is a command with a time limit. A step reports its tests in a last line
`N passed, N failed`; one that prints no such line is one test. A step that dies, times out or
counts nothing where it should have counted is at least one failure. Logs are in FOLDER/check/.
At the end stand a table of the steps with their times and, alone on the last line, the sum.
"""
import argparse
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed\s*$", re.M)

# Unit tests that use threads or processes, for the thread sanitizer, by name.
TSAN_TESTS = ["os_*", "store*", "engine*", "api_*"]

# Unit tests for a build without zstd: all folders that write pages, and what reports the codecs.
NO_ZSTD_TESTS = ["base_alloc", "store*", "vector*", "api_*"]


def unit_tests(patterns):
    names = {p.stem[len("test_"):] for pattern in patterns
             for p in (ROOT / "tests/unit").glob(f"test_{pattern}.c")}
    return " ".join(sorted(names))


def plan(build):
    """(name, seconds, counts?, command) in the order of running."""
    python = sys.executable
    make = f"make -s -j{os.cpu_count() or 2} WERROR=1 BUILD={build}"
    asan = (f"make -s -j{os.cpu_count() or 2} WERROR=1 BUILD={build}/asan SAN=address,undefined "
            "DEBUG=1 CFLAGS='-O1 -g'")
    tsan = (f"make -s -j{os.cpu_count() or 2} WERROR=1 BUILD={build}/tsan SAN=thread DEBUG=1 "
            "CFLAGS='-O1 -g'")
    clang = f"make -s -j{os.cpu_count() or 2} WERROR=1 BUILD={build}/clang CC=clang"
    steps = [
        ("lint", 60, True, f"{python} tools/lint.py"),
        ("lint-selftest", 60, True, f"{python} tools/lint.py --selftest"),
        ("tools", 60, True, f"{python} tools/tools_test.py"),
        ("headers", 120, True, f"{python} tools/header_check.py"),
        ("build", 400, False, f"{make} all tests benches"),
        ("symbols", 30, True, f"{python} tools/symbols.py {build}/libpiramid.so"),
        ("unit", 300, True, f"{make} test"),
        ("suites", 900, True, f"{make} suites"),
        ("schedules", 300, True, f"{make} sched"),
        ("scripts", 300, True, f"{make} scripts"),
        ("install", 120, True, f"sh tools/install_check.sh {build}"),
        ("amalgamation", 300, True, f"{make} amalgamation && "
                                    f"{python} tools/amalgamation_check.py {build}/amalgamation"),
        ("readme", 120, True, f"{python} tools/readme_check.py {build}"),
        ("unit-on-pv.c", 600, True, f"{make} CFLAGS=-O0 BUILD={build}/pv test-pv"),
        ("python", 600, True, f"PIRAMID_LIBRARY={build}/libpiramid.so {python} "
                              f"bindings/python/run_tests.py --env {build}/python"),
        ("asan", 600, True, f"{asan} test"),
        ("asan-suites", 900, True, f"{asan} suites"),
        ("corpora", 300, True, f"{asan} corpora"),
        ("fake-store", 300, True, f"{make} fake"),
        ("tsan", 600, True, f"{tsan} TESTS='{unit_tests(TSAN_TESTS)}' test"),
        ("tsan-threads", 600, True, f"{tsan} threads"),
        ("clang", 400, True, f"{clang} all test"),
        ("aarch64", 600, True, f"{make} aarch64"),
        ("aarch64-base", 120, True, f"{make} aarch64-base"),
        ("no-zstd", 300, True, f"{make} ZSTD=0 BUILD={build}/nozstd lib "
                               f"TESTS='{unit_tests(NO_ZSTD_TESTS)}' test"),
        ("meson", 400, False, f"rm -rf {build}/meson && CC=gcc meson setup --werror {build}/meson "
                              f"&& ninja -C {build}/meson && meson test -C {build}/meson "
                              f"--suite unit --print-errorlogs"),
        ("same-builds", 60, True, f"{python} tools/same_builds.py {build} {build}/meson"),
    ]
    needless = set()
    if not list((ROOT / "tests/threads").glob("*.c")):
        needless.add("tsan-threads")
    if platform.machine() in ("aarch64", "arm64"):
        needless |= {"aarch64", "aarch64-base"}  # the others run there already
    return [step for step in steps if step[0] not in needless]


def run(command, seconds, log):
    """Exit code, or None after the time limit; output goes to the log."""
    with open(log, "wb") as out:
        proc = subprocess.Popen(["bash", "-c", command], cwd=ROOT, stdout=out,
                                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                start_new_session=True)
        try:
            return proc.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(proc.pid, signal.SIGKILL)
            proc.wait()
            return None


def count(text, code, counts):
    """(passed, failed) of a step."""
    found = SUMMARY.findall(text)
    if found:
        passed, failed = (int(n) for n in found[-1])
    elif counts:
        passed, failed = 0, 1
    else:
        passed, failed = (1, 0) if code == 0 else (0, 1)
    if (code != 0 or passed == 0) and failed == 0:
        failed = 1
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("steps", nargs="*", help="only these")
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    logs = pathlib.Path(build, "check")
    logs.mkdir(parents=True, exist_ok=True)
    steps = plan(build)
    unknown = set(args.steps) - {step[0] for step in steps}
    if unknown:
        sys.exit(f"no such step: {', '.join(sorted(unknown))}")
    os.environ.pop("MAKEFLAGS", None)  # the steps are builds of their own
    os.environ.pop("MAKELEVEL", None)
    rows, begin = [], time.monotonic()
    for name, seconds, counts, command in steps:
        if args.steps and name not in args.steps:
            continue
        print(f"== {name}: ", end="", flush=True)
        start, log = time.monotonic(), logs / f"{name}.log"
        code = run(command, seconds, log)
        text = log.read_text(encoding="utf-8", errors="replace")
        passed, failed = count(text, code, counts)
        took = time.monotonic() - start
        end = f"no end after {seconds} s" if code is None else f"exit {code}" if code else "ok"
        print(f"{passed} passed, {failed} failed in {took:.1f} s ({end})", flush=True)
        if failed:
            print("\n".join(text.splitlines()[-60:]))
            print(f"-- the command was: {command}\n-- all of its output: {log}", flush=True)
        rows.append((name, passed, failed, took, end))
    print(f"\n{'step':16} {'passed':>7} {'failed':>7} {'seconds':>9}")
    for name, passed, failed, took, end in rows:
        print(f"{name:16} {passed:7} {failed:7} {took:9.1f}{'' if end == 'ok' else '  ' + end}")
    print(f"{'all':16} {sum(r[1] for r in rows):7} {sum(r[2] for r in rows):7} "
          f"{time.monotonic() - begin:9.1f}\n")
    print(f"{sum(r[1] for r in rows)} passed, {sum(r[2] for r in rows)} failed")
    return 1 if any(r[2] for r in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
