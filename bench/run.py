#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""All benches that print ratios, one after the other; what is given is passed on to each.

The default is short (under three minutes) and tells whether something broke; figures to be quoted
come from --long or BENCH_LONG=1 on a quiet machine.
"""
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def main():
    failed = 0
    for name in ("store", "exact", "open"):
        print(f"==== {name}", flush=True)
        failed |= subprocess.run([sys.executable, str(HERE / f"run_{name}.py"),
                                  *sys.argv[1:]]).returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
