#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compare what is declared, exported, promised and documented: usage symbols.py LIBPIRAMID.SO.

Tests: the functions of include/pv.h are the exported symbols of the library; they are the lines of
tools/symbols.txt (sorted); and every one has a doc block that ends directly above its prototype,
begins with its name and states Since, Threads (or its chapter's handle rule), Owner where it hands
out something, and Errors where it can fail with more than the codes which the head of pv.h names.
The last line is `N passed, N failed`.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(/\*(?:[^*]|\*(?!/))*\*/)\nPV_EXTERN ([^;]*?)\b(pv_\w+)\(([^;]*)\);", re.S)
PROTOTYPE = re.compile(r"^PV_EXTERN [^;]*?\b(pv_\w+)\(", re.M)


def exported(library):
    out = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True,
                         check=True).stdout
    names = (line.split()[2].split("@")[0] for line in out.splitlines())
    return {n for n in names if not n.startswith("PIRAMID_")}


def differences(left, left_name, right, right_name):
    for name in sorted(left - right):
        yield f"{name} is in {left_name} but not in {right_name}"
    for name in sorted(right - left):
        yield f"{name} is in {right_name} but not in {left_name}"


def documented(text, names):
    """What is missing in the doc blocks."""
    blocks = {m[3]: m for m in BLOCK.finditer(text)}
    for name in sorted(names):
        if name not in blocks:
            yield f"{name} has no doc block directly above it"
            continue
        block, result, _, arguments = blocks[name].groups()
        if f"{name} -" not in block:
            yield f"the block above {name} does not begin with its name"
        if "Since:" not in block:
            yield f"{name}: no Since"
        iterator = re.match(r"\s*(const )?pv_iter \*", arguments)
        if "Threads:" not in block and not iterator:
            yield f"{name}: no Threads"
        hands_out = "*" in result or re.search(r"pv_\w+ \*\*out_", arguments)
        if hands_out and "Owner:" not in block and not iterator:
            yield f"{name}: hands something out and has no Owner"
        codes = set(re.findall(r"PV_ERR_\w+", block))
        if "pv_error *err" in arguments and codes and "Errors:" not in block:
            yield f"{name}: names codes outside of an Errors line"
        defined = set(re.findall(r"#define (PV_ERR_\w+)", text))
        for code in sorted(codes - defined - {"PV_ERR_"}):
            yield f"{name}: {code} does not exist"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.split("\n", maxsplit=1)[0])
    text = (ROOT / "include/pv.h").read_text(encoding="utf-8")
    names = set(PROTOTYPE.findall(text))
    listed = [line.strip() for line in
              (ROOT / "tools/symbols.txt").read_text(encoding="utf-8").splitlines()]
    listed = [line for line in listed if line and not line.startswith("#")]
    tests = {
        "exported": list(differences(exported(sys.argv[1]), "the library", names, "pv.h")),
        "listed": list(differences(set(listed), "tools/symbols.txt", names, "pv.h")),
        "sorted": [] if listed == sorted(set(listed)) else ["tools/symbols.txt is not sorted"],
        "documented": list(documented(text, names)),
        "any": [] if names else ["pv.h declares nothing"],
    }
    for test, findings in tests.items():
        for line in findings:
            print(f"{test}: {line}")
    failed = sum(1 for findings in tests.values() if findings)
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
