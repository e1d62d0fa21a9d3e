#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fuzz the targets of fuzz/ with AFL++: fuzz.py CPU_SECONDS [target ...]

A target is named as in fuzz/fuzz_<target>.c; its seeds are in fuzz/corpus/<target>. Each gets so
many seconds of processor time, of the fuzzer and the target together, so that a busy machine does
not shorten the hunt. Printed for each: executions, CPU seconds, edges of the program that were
reached and that there are, inputs that reached new ones, crashes and hangs, which stay in
BUILD/afl/out/<target>. With --keep the inputs that reach edges which no seed reaches go to
fuzz/corpus, smallest first. Environment: BUILD, AFL_CC. The last line is `N passed, N failed`.
"""
import argparse
import concurrent.futures
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
QUIET = {"AFL_SKIP_CPUFREQ": "1", "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1", "AFL_NO_UI": "1",
         "AFL_QUIET": "1", "AFL_NO_AFFINITY": "1", "AFL_ALLOW_TMP": "1"}
TICK = os.sysconf("SC_CLK_TCK")
KEEP_BYTES = 64 * 1024  # larger inputs are left out of the corpus
KEEP_COUNT = 40  # and of more, those that are larger than the others


def cpu_seconds(root):
    """Processor time of a process and its descendants, and of those they have waited for."""
    parent, ticks = {}, {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="latin-1").rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        pid = int(path.parent.name)
        parent[pid] = int(fields[1])
        ticks[pid] = sum(int(n) for n in fields[11:15])
    total = 0
    for pid in ticks:
        at = pid
        while at and at != root:
            at = parent.get(at, 0)
        total += ticks[pid] if at == root else 0
    return total / TICK


def targets_all():
    return sorted(p.stem[len("fuzz_"):] for p in ROOT.glob("fuzz/fuzz_*.c"))


def build_targets(build, names):
    command = ["make", "-s", f"BUILD={build}", f"CC={os.environ.get('AFL_CC', 'afl-clang-fast')}",
               "SAN=address,undefined", "DEBUG=1", "WERROR=0", "CFLAGS=-O2 -g -w",
               *(f"{build}/fuzz/fuzz_{name}" for name in names)]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, **QUIET})


def stats_of(out):
    """fuzzer_stats as a dictionary."""
    path = out / "default/fuzzer_stats"
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def hunt(build, name, seconds, until):
    """(name, statistics, CPU seconds, log)."""
    out = build / "out" / name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    seeds = ROOT / "fuzz/corpus" / name
    if not any(seeds.glob("*")):
        seeds = out / "seeds"
        seeds.mkdir()
        (seeds / "zero").write_bytes(b"0")
    words = ROOT / "fuzz/dict" / f"{name}.dict"
    command = ["afl-fuzz", "-i", seeds, "-o", out, "-m", "none", "-t", "5000+",
               *(["-x", words] if words.exists() else []), "--", build / "fuzz" / f"fuzz_{name}"]
    log = out / "log"
    used = 0.0
    with open(log, "wb") as sink:
        proc = subprocess.Popen([str(part) for part in command], cwd=ROOT, stdout=sink,
                                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                env={**os.environ, **QUIET}, start_new_session=True)
        while proc.poll() is None:
            used = max(used, cpu_seconds(proc.pid))
            if used >= seconds or time.monotonic() > until:
                proc.send_signal(signal.SIGINT)
                try:
                    proc.wait(timeout=60)
                except subprocess.TimeoutExpired:
                    os.killpg(proc.pid, signal.SIGKILL)
            time.sleep(0.5)
    return name, stats_of(out), used, log


def keep(build, name):
    """Copy what AFL's minimiser needs beside the seeds to reach all edges. Returns how many."""
    out, corpus = build / "out" / name, ROOT / "fuzz/corpus" / name
    gathered, least = out / "gathered", out / "least"
    for folder in (gathered, least):
        shutil.rmtree(folder, ignore_errors=True)
    gathered.mkdir()
    have = {hashlib.sha256(p.read_bytes()).hexdigest() for p in corpus.glob("*")}
    for path in [*corpus.glob("*"), *out.glob("default/queue/id:*")]:
        data = path.read_bytes()
        if len(data) <= KEEP_BYTES or path.parent == corpus:
            (gathered / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    done = subprocess.run(["afl-cmin", "-i", gathered, "-o", least, "-m", "none", "-t", "20000",
                           "--", build / "fuzz" / f"fuzz_{name}"], cwd=ROOT, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, **QUIET})
    if done.returncode:
        print(f"{name}: afl-cmin: {done.stdout.decode(errors='replace')[-300:].strip()}")
        return 0
    count = 0
    for path in sorted(least.glob("*"), key=lambda p: p.stat().st_size):
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if digest not in have and count < KEEP_COUNT:
            (corpus / f"found-{digest[:12]}").write_bytes(data)
            count += 1
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("seconds", type=float, help="of processor time, for each target")
    parser.add_argument("targets", nargs="*")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="targets at the same time")
    parser.add_argument("--wall", type=float, default=float("inf"),
                        help="seconds after which all targets end, whatever they have used")
    parser.add_argument("--keep", action="store_true", help="new inputs go to fuzz/corpus")
    args = parser.parse_args()
    subprocess.run([ROOT / "tools/deps.sh", "fuzz"], check=True)
    build = pathlib.Path(os.environ.get("BUILD", "build")).resolve() / "afl"
    names = args.targets or targets_all()
    build_targets(build, names)
    until = time.monotonic() + args.wall
    passed = failed = 0
    executions = cpu = 0.0
    print(f"{'target':8} {'executions':>11} {'CPU s':>8} {'edges':>15} {'new':>6} {'crashes':>8} "
          f"{'hangs':>6}{'  kept' if args.keep else ''}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for name, stats, used, log in pool.map(lambda n: hunt(build, n, args.seconds, until),
                                                names):
            if not stats:
                print(log.read_text(encoding="utf-8", errors="replace")[-2000:])
                print(f"{name}: afl-fuzz did not run", flush=True)
                failed += 1
                continue
            out = log.parent / "default"
            crashes = len(list(out.glob("crashes/id:*")))
            hangs = len(list(out.glob("hangs/id:*")))
            edges = f"{stats.get('edges_found', '?')}/{stats.get('total_edges', '?')}"
            kept = f"{keep(build, name):6}" if args.keep else ""
            print(f"{name:8} {stats.get('execs_done', '?'):>11} {used:8.1f} {edges:>15} "
                  f"{stats.get('corpus_found', '?'):>6} {crashes:8} {hangs:6}{kept}", flush=True)
            executions += float(stats.get("execs_done", 0))
            cpu += used
            good = crashes + hangs == 0
            passed, failed = passed + good, failed + (not good)
    print(f"{executions:.0f} executions in {cpu:.0f} CPU seconds")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
