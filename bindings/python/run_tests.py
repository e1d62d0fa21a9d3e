#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Test the package as it is installed: usage run_tests.py [--env FOLDER] [pytest's arguments].

Makes a virtual environment with the tools of tests/requirements.txt (kept while that file and
Python stay the same), installs this folder into it by pip as anybody would, and runs the tests on
what was installed. PIRAMID_LIBRARY names a libpiramid.so for the test of the plain ABI,
PIRAMIDDB_RUNS the number of random programs, PIRAMIDDB_SEED their seed.
The last line is `N passed, N failed`; skipped tests count as failed.
"""
import argparse
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import venv
from xml.etree import ElementTree

HERE = pathlib.Path(__file__).resolve().parent
REQUIREMENTS = HERE / "tests/requirements.txt"


def make_environment(folder: pathlib.Path) -> pathlib.Path:
    """A virtual environment with the tools; its python."""
    python = folder / "bin/python"
    mark = folder / "made-from"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    if mark.exists() and mark.read_text(encoding="utf-8") == wanted and python.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                    "--requirement", REQUIREMENTS], check=True)
    mark.write_text(wanted, encoding="utf-8")
    return python


def count(report: pathlib.Path) -> "tuple[int, int]":
    """(passed, failed) of pytest's report."""
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    total = sum(int(suite.get("tests", 0)) for suite in suites)
    bad = sum(int(suite.get(what, 0)) for suite in suites
              for what in ("failures", "errors", "skipped"))
    return total - bad, bad


def main() -> int:
    """Make, install, run, count."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--env", default=str(HERE.parent.parent / "build/python"))
    args, rest = parser.parse_known_args()
    folder = pathlib.Path(args.env).resolve()
    python = make_environment(folder)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                    "--force-reinstall", "--no-deps", str(HERE)], check=True)
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    environment = dict(os.environ, PATH=f"{folder / 'bin'}:{os.environ['PATH']}",
                       PYTHONDONTWRITEBYTECODE="1")
    done = subprocess.run([python, "-m", "pytest", "-q", f"--junitxml={report}", "--durations=10",
                           "-p", "no:cacheprovider", *rest], cwd=HERE, env=environment,
                          check=False)
    if not report.exists():
        print("0 passed, 1 failed")
        return 1
    passed, failed = count(report)
    if done.returncode and not failed:
        failed = 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
