# SPDX-License-Identifier: Apache-2.0
"""task.py in four libraries, each in a clean environment of its own: usage run.py [--rows N].

Environments are made with the versions below, this package is built from the checkout; only when
all are there does the first task begin. Written is RESULTS.md beside this file: the machine, the
versions, a table, and the output as it was. --environments keeps them in a folder for another run.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import venv

HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = {"piramiddb": [str(HERE.parent)], "chromadb": ["chromadb==1.5.9"],
            "lancedb": ["lancedb==0.40.0", "pyarrow"], "usearch": ["usearch==2.26.6"]}
PARTS = ["import and open", "write", "close", "open again", "first search", "search",
         "filtered search", "replace", "delete"]


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        sys.exit(f"{command}\n{done.stdout}{done.stderr}")
    return done.stdout


def environment(name, folder):
    """An environment with one library, kept when it is whole; its python, and what is in it."""
    python = folder / name / "bin/python"
    mark = folder / name / "versions.json"
    if not mark.exists():
        venv.create(folder / name, with_pip=True, clear=True)
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "numpy==2.4.6", *PACKAGES[name])
        mark.write_text(run(python, "-m", "pip", "list", "--format=json",
                            "--disable-pip-version-check"), encoding="utf-8")
    listed = json.loads(mark.read_text(encoding="utf-8"))
    return python, {p["name"]: p["version"] for p in listed
                    if p["name"] not in {"pip", "setuptools"}}


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")),
                    platform.processor())


def table(results):
    """Rows of the page."""
    names = list(results)
    yield "| | " + " | ".join(f"{n} {results[n][0][n]}" for n in names) + " |"
    yield "|---|" + "---|" * len(names)
    count = results[names[0]][1]["queries"]
    for part in PARTS:
        cells = []
        for name in names:
            wall, cpu = results[name][1]["seconds (wall, processor)"][part]
            if part in {"search", "filtered search"}:
                cells.append(f"{wall / count * 1e3:.2f} ms ({cpu / count * 1e3:.2f})")
            else:
                cells.append(f"{wall:.2f} s ({cpu:.2f})")
        what = part + (", each" if part in {"search", "filtered search"} else "")
        yield f"| {what} | " + " | ".join(cells) + " |"
    for what in ("recall@10", "recall@10 filtered", "peak MB", "MB on disk"):
        yield f"| {what} | " + " | ".join(str(results[n][1][what]) for n in names) + " |"
    yield "| packages installed | " + " | ".join(str(len(results[n][0])) for n in names) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", default="20000")
    parser.add_argument("--queries", default="300")
    parser.add_argument("--out", default=str(HERE / "RESULTS.md"))
    parser.add_argument("--environments", help="folder; default: made anew and removed")
    args = parser.parse_args()
    results, raw = {}, []
    with tempfile.TemporaryDirectory() as anew:
        folder = pathlib.Path(args.environments or anew)
        ready = {name: environment(name, folder) for name in PACKAGES}
        for name, (python, versions) in ready.items():
            line = run(python, HERE / "task.py", name, "--rows", args.rows, "--queries",
                       args.queries).strip().splitlines()[-1]
            results[name] = (versions, json.loads(line))
            raw.append(line)
            print(line, flush=True)
    made = (f"Made by `run.py --rows {args.rows} --queries {args.queries}` on "
            f"{datetime.date.today().isoformat()}: {processor()}, {os.cpu_count()} processors, "
            f"load {os.getloadavg()[0]:.1f} at the end, Python {platform.python_version()}. What "
            "the task is and what the figures mean: [README](README.md). Times are wall seconds, "
            "processor seconds of all threads in brackets.")
    page = ["# The same task in four libraries", "", made, "", *table(results), "", "## Output",
            "", "```json", *raw, "```", "", "## Versions", ""]
    for name, (versions, _) in results.items():
        page.append(f"- **{name}**: " + ", ".join(f"{n} {v}" for n, v in sorted(versions.items())))
    pathlib.Path(args.out).write_text("\n".join(page) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
