#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Recall against queries per second: ours beside the peers, on every data set of bench/ann/data.py.

Every configuration is built once and its index kept in the cache under a key of what made it (the
peer, the parameters of building, for ours the program's bytes too), so that a later run only
searches. Then rounds: in each, every configuration in turn loads its index in a fresh process
pinned to one core and passes over the queries. What is printed are medians over the rounds; qps at
a recall is interpolated on the configuration's own curve, and a peer counts with the best of its
configurations.

    run_ann.py [--sets mix768,text] [--peers piramid,hnswlib] [--quick 100000] [--grid climb]

`--grid full` builds every M times every efConstruction. `climb` takes a peer's ways (codes) at M 16
and efConstruction 200, the best of them at each recall goal with every M, and the best of those
with every efConstruction, one pass each; a try is kept beside its index. Rounds are then made of
the two best of a peer at a goal; the others keep their one pass (column rounds). With `--climbed
SET-ROWS` the climb is made there (fewer rows, or fewer dimensions of the same mixture), and the
best it leads to at each goal is what is built and measured.

Writes SET-ROWS.csv, .md and .svg to --out (default docs/benchmarks). Peers that are missing are
named and left out: see bench/ann/peers.sh.
"""
import argparse
import csv
import datetime
import hashlib
import io
import itertools
import json
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "ann"))

import data  # noqa: E402
import plans  # noqa: E402
import svg  # noqa: E402

GOALS = (0.95, 0.99)
FINALISTS = 2  # of a peer at a goal, after climbing
OURS = "piramid"


class Program:
    """How a peer is called, and what tells its version."""

    def __init__(self, args, peer):
        build, peers = pathlib.Path(args.build), args.peer_folder
        self.peer = peer
        native = build / "bench" / "ann" if peer == OURS else peers / f"ann-{peer}"
        script = HERE / "ann" / f"peer_{peer.replace('-', '_')}.py"
        python = peers / "venv" / "bin" / "python"
        self.command, self.stamp = None, ""
        if native.exists():
            self.command = [str(native)]
            if peer == OURS:  # built anew with every change
                self.stamp = hashlib.sha256(native.read_bytes()).hexdigest()
        elif script.exists() and python.exists():
            self.command = [str(python), str(script)]


class Config:
    """One way of building and one of searching, on one set."""

    def __init__(self, args, program, folder, about, plan):
        self.program, self.folder, self.about, self.plan = program, folder, about, plan
        self.build, self.search, self.efs = plan["build"], plan.get("search", ""), plan["ef"]
        text = f"{program.peer} {self.build} {args.threads} {program.stamp} {args.clock}"
        self.key = f"{program.peer}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        self.index = folder / "index" / self.key
        self.note = folder / "index" / f"{self.key}.version"
        self.writer = "writer=" in self.search  # who is slowed down on purpose, and not the best
        self.rows = []

    def title(self):
        items = [x for x in f"{self.build},{self.search}".split(",") if x and x != "exact=1"]
        return " ".join(items)

    def command(self, args, action, rep, efs):
        folder = self.folder
        params = ",".join(x for x in (self.build, self.search, f"ef={efs}", f"rep={rep}",
                                      f"st={args.search_threads}", f"clock={args.clock}",
                                      "until=0.9985") if x)
        pin = ["taskset", "-c", args.core] if action == "--load" and not self.writer else []
        return [*pin, *self.program.command,
                "--base", str(folder / "base.fvecs"), "--query", str(folder / "query.fvecs"),
                "--gt", str(folder / "gt.ivecs"), "--metric", self.about["metric"],
                "--threads", str(args.threads), action, str(self.index), "--params", params]

    def run(self, args, action, rep, efs):
        """The rows printed, or None with a word why not."""
        try:
            done = subprocess.run(self.command(args, action, rep, efs), capture_output=True,
                                  text=True, timeout=args.timeout, env=environment())
        except subprocess.TimeoutExpired:
            print(f"  {self.key}: more than {args.timeout} s", flush=True)
            return None
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or [""])[-1]
            print(f"  {self.program.peer} {self.title()}: exit {done.returncode}: {last[:160]}",
                  flush=True)
            return None
        lines = done.stdout.splitlines()
        notes = [line[2:] for line in lines if line.startswith("# ")]
        commits = [n.split()[0] for n in notes if n.endswith(" commits a second beside")]
        if notes and not commits:
            self.note.write_text(notes[0] + "\n")
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
        for row, rate in itertools.zip_longest(rows, commits, fillvalue="0"):
            row["commits_s"] = rate
        return rows

    def ensure(self, args):
        if self.note.exists() and (self.index.exists() or self.program.peer == OURS):
            return True
        self.index.parent.mkdir(parents=True, exist_ok=True)
        print(f"  building {self.program.peer} {self.build}", flush=True)
        return bool(self.run(args, "--save", 1, self.efs.split(":")[0]))

    def attempt(self, args):
        """One pass, kept beside the index; whether there is one."""
        text = f"{self.search} {self.efs} {args.search_threads}"
        kept = self.index.with_name(
            f"{self.key}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.try")
        if kept.exists() and self.note.exists():
            self.rows = json.loads(kept.read_text())
        elif self.ensure(args):
            self.rows = self.run(args, "--load", 1, self.efs) or []
            kept.write_text(json.dumps(self.rows))
        return bool(self.rows)

    def version(self):
        return self.note.read_text().strip() if self.note.exists() else "?"

    def curve(self):
        """[{column: median}], one for each ef."""
        found = []
        for ef, group in itertools.groupby(sorted(self.rows, key=lambda r: int(r["ef"])),
                                           key=lambda r: int(r["ef"])):
            group = list(group)
            row = {c: statistics.median(float(r[c]) for r in group)
                   for c in ("build_s", "mem_mb", "file_mb", "recall10", "qps", "p50_us", "p99_us",
                             "idrecall10", "commits_s")}
            found.append(row | {"ef": ef, "rounds": len(group),
                                "low": min(float(r["qps"]) for r in group),
                                "high": max(float(r["qps"]) for r in group)})
        return found

    def at(self, recall):
        """qps at a recall: interpolated between the two points around it (log of qps over
        -log10(1 - recall)); where the lowest ef is above it, that point's; None beyond."""
        points = sorted((r["recall10"], r["qps"]) for r in self.curve())
        best = None
        for (r0, q0), (r1, q1) in itertools.pairwise(points):
            if r0 < recall <= r1:
                a, b, c = (svg.across(r) for r in (r0, r1, recall))
                t = (c - a) / (b - a) if b > a else 1.0
                best = max(best or 0, math.exp(math.log(q0) + t * (math.log(q1) - math.log(q0))))
        if best is None and points and points[0][0] >= recall:
            best = max(q for _, q in points)
        return best


def environment():
    """Peers' linear algebra chooses its own kernels; one thread wherever it asks."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
    return env | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def climb(args, configs, finalists=FINALISTS):
    """What a peer's ways lead to (see the head): (those for the rounds, the others)."""
    tried = [c for c in configs if c.attempt(args)]
    for name, values in (("m", plans.MS), ("efc", plans.EFCS)):
        known = {(c.build, c.search) for c in tried}
        for top in [c for goal in GOALS for c in ranked(tried, goal)[:1]]:
            for plan in plans.beside(top.program.peer, top.plan, name, values):
                if (plan["build"], plan.get("search", "")) not in known:
                    known.add((plan["build"], plan.get("search", "")))
                    more = Config(args, top.program, top.folder, top.about, plan)
                    tried += [more] if more.attempt(args) else []
    final = [c for goal in GOALS for c in ranked(tried, goal)[:finalists]]
    return [c for c in tried if c in final], [c for c in tried if c not in final]


def climb_elsewhere(args, configs):
    """What a climb on the set of --climbed leads to, as configurations of this one."""
    name, rows = args.climbed.rsplit("-", 1)
    folder, about = data.ensure(name, int(rows))
    there = [Config(args, c.program, folder, about, plan) for c, plan in
             zip(configs, plans.of(configs[0].program.peer, args.grid, about), strict=True)]
    same = {(t.build, t.search): c for t, c in zip(there, configs, strict=True)}  # lists go by rows
    top = configs[0]
    final = [same.get((t.build, t.search))
             or Config(args, top.program, top.folder, top.about, t.plan)
             for t in climb(args, there, 1)[0]]
    return [c for c in final if c.ensure(args)], []


def measure(args, name, about, configs):
    """Build, then round after round; what there is so far is written after each."""
    ready, rest = [c for c in configs if args.grid != "climb" or c.program.peer == OURS], []
    ready = [c for c in ready if c.ensure(args)]
    if args.grid == "climb":
        for peer, group in itertools.groupby(configs, key=lambda c: c.program.peer):
            if peer != OURS:
                group = list(group)
                final, others = (climb_elsewhere if args.climbed else climb)(args, group)
                ready, rest = ready + final, rest + others
        for c in ready:
            c.rows = []
    for i in range(args.rounds):
        print(f"  round {i + 1}: {len(ready)} configurations", flush=True)
        for c in ready:
            c.rows += c.run(args, "--load", args.reps, c.efs) or []
        if any(c.rows for c in ready):
            report(args, name, about, [c for c in [*ready, *rest] if c.rows], i + 1)


# ---- reports -------------------------------------------------------------------------------------

def ranked(configs, recall):
    """Those that reach a recall, the fastest first."""
    found = [(c.at(recall), i, c) for i, c in enumerate(configs) if not c.writer and c.at(recall)]
    return [c for _, _, c in sorted(found, key=lambda f: (-f[0], f[1]))]


def best_of(configs, recall):
    """{peer: (qps, config)} at a recall."""
    best = {}
    for c in configs:
        qps = None if c.writer else c.at(recall)
        if qps and qps > best.get(c.program.peer, (0, None))[0]:
            best[c.program.peer] = (qps, c)
    return best


def envelope(configs):
    """{peer: points that no other point of the peer beats in both}, ours first."""
    lines = {}
    for peer in sorted({c.program.peer for c in configs}, key=lambda p: (p != OURS, p)):
        points = sorted(((r["recall10"], r["qps"]) for c in configs
                         if c.program.peer == peer and not c.writer for r in c.curve()),
                        reverse=True)
        lines[peer], top = [], 0.0
        for recall, qps in points:
            if qps > top:
                lines[peer].append((recall, qps))
                top = qps
    return lines


def table(args, name, about, configs, rounds):
    out = io.StringIO()
    best = [best_of(configs, goal) for goal in GOALS]
    lid = f"{about['lid']:.1f}" if about["lid"] else "not defined"
    seconds = {"cpu": "of processor time (other jobs ran beside)", "wall": "of wall time"}
    print(f"# {name}\n\n{about['rows']:,} x {about['dims']}, {about['metric']}, "
          f"{about['queries']:,} queries, local intrinsic dimension {lid}. "
          f"{datetime.date.today():%d %B %Y}, {machine()}; built with {args.threads} thread, "
          f"searched with {args.search_threads}, seconds {seconds[args.clock]}, medians of "
          f"{rounds} rounds in turn, each of {args.reps} passes.\n", file=out)
    print("Best configuration of each at recall@10 0.95 and 0.99 (by distance); `x` is the speed "
          "to hnswlib's best.\n", file=out)
    print("| | " + " | ".join(f"qps at {g} | x | parameters" for g in GOALS)
          + " | build s | memory MB | file MB |", file=out)
    print("|---" * (3 * len(GOALS) + 4) + "|", file=out)
    order = sorted({c.program.peer for c in configs},
                   key=lambda p: -(best[0].get(p, (0, None))[0]))
    for peer in order:
        cells, used = [], None
        for found in best:
            qps, config = found.get(peer, (None, None))
            base = found.get("hnswlib", (None, None))[0]
            used = used or config
            cells += [f"{qps:,.0f}" if qps else "not reached",
                      f"{qps / base:.2f}" if qps and base else "", config.title() if config else ""]
        used = used or next(c for c in configs if c.program.peer == peer)
        row = used.curve()[0]
        cells += [f"{row['build_s']:.1f}", f"{row['mem_mb']:.0f}", f"{row['file_mb']:.0f}"]
        print(f"| {peer} | " + " | ".join(cells) + " |", file=out)
    for c in configs:
        if c.program.peer == OURS and c.efs == "0" and not c.writer:
            row = c.curve()[0]
            wish = "99 %" if "tr=99" in c.search else "the default"
            print(f"\nOurs without an ef, recall asked for: {wish}: got {row['recall10']:.4f} at "
                  f"{row['qps']:,.0f} queries a second.", file=out)
    print_writers(configs, out)
    print(f"\n![recall against queries a second]({name}.svg)\n\nEvery point: [{name}.csv]"
          f"({name}.csv). Versions: "
          + "; ".join(sorted({c.version() for c in configs})) + ".", file=out)
    return out.getvalue()


def print_writers(configs, out):
    """What somebody who commits beside costs, at the same efforts."""
    for c in configs:
        alone = {r["ef"]: r for a in configs if not a.writer and a.build == c.build
                 and a.program.peer == c.program.peer and not a.search.startswith("tr=9")
                 for r in a.curve()}
        for r in c.curve() if c.writer else []:
            if r["ef"] in alone:
                a = alone[r["ef"]]
                print(f"\nWith a writer beside, {r['commits_s']:,.0f} commits a second of one row "
                      f"each, ef {r['ef'] or 'by default'}: recall {r['recall10']:.4f} at "
                      f"{r['qps']:,.0f} queries a second, p99 {r['p99_us']:,.0f} us; alone "
                      f"{a['recall10']:.4f} at {a['qps']:,.0f}, {a['p99_us']:,.0f} us.", file=out)


def machine():
    model = platform.processor() or platform.machine()
    for line in open("/proc/cpuinfo", encoding="ascii", errors="replace"):
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}"


def report(args, name, about, configs, rounds):
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    with open(out / f"{name}.csv", "w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow("name,version,params,build_s,build_threads,mem_mb,file_mb,ef,recall10,qps,"
                        "p50_us,p99_us,idrecall10,rounds,qps_low,qps_high,commits_s".split(","))
        for c in configs:
            for r in c.curve():
                writer.writerow([c.program.peer, c.version(), c.title(), f"{r['build_s']:.2f}",
                                 args.threads, f"{r['mem_mb']:.1f}", f"{r['file_mb']:.1f}", r["ef"],
                                 f"{r['recall10']:.5f}", f"{r['qps']:.1f}", f"{r['p50_us']:.1f}",
                                 f"{r['p99_us']:.1f}", f"{r['idrecall10']:.5f}", r["rounds"],
                                 f"{r['low']:.1f}", f"{r['high']:.1f}", f"{r['commits_s']:.1f}"])
    text = table(args, name, about, configs, rounds)
    (out / f"{name}.md").write_text(text, encoding="utf-8")
    (out / f"{name}.svg").write_text(svg.plot(
        f"{name}: {about['rows']:,} x {about['dims']}, {about['metric']}", envelope(configs)),
        encoding="utf-8")
    if rounds == args.rounds:
        print(text, flush=True)


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--build", default=os.environ.get("BUILD", str(HERE.parent / "build")))
    args.add_argument("--peer-folder", type=pathlib.Path, help="default: BUILD/ann-peers")
    args.add_argument("--sets", default="mix128,mix768,mix1536,heavy200,ood256,text")
    args.add_argument("--peers", default=",".join(plans.PLANS))
    args.add_argument("--quick", type=int, nargs="?", const=100000, metavar="ROWS",
                      help="at most so many rows of each set; alone: 100000")
    args.add_argument("--grid", choices=("small", "climb", "full"), default="small")
    args.add_argument("--climbed", metavar="SET-ROWS", help="where the climb is made, if not here")
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--reps", type=int, default=3)
    args.add_argument("--threads", type=int, default=1, help="that build")
    args.add_argument("--search-threads", type=int, default=1)
    args.add_argument("--clock", choices=("wall", "cpu"), default="wall",
                      help="cpu: processor time, for machines that others use at the same time")
    args.add_argument("--core", default=str(max(os.sched_getaffinity(0))))
    args.add_argument("--timeout", type=int, default=7200, help="seconds of one program")
    args.add_argument("--out", default=str(HERE.parent / "docs" / "benchmarks"))
    args = args.parse_args()
    args.peer_folder = args.peer_folder or pathlib.Path(args.build) / "ann-peers"
    programs = [Program(args, peer) for peer in args.peers.split(",")]
    for p in programs:
        if not p.command:
            print(f"{p.peer} is not there: see bench/ann/peers.sh", flush=True)
    for name in args.sets.split(","):
        folder, about = data.ensure(name, args.quick)
        print(f"==== {folder.name}", flush=True)
        configs = [Config(args, p, folder, about, plan) for p in programs if p.command
                   for plan in plans.of(p.peer, args.grid, about)]
        measure(args, folder.name, about, configs)


if __name__ == "__main__":
    sys.exit(main())
