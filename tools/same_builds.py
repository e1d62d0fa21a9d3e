#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Do Make and meson build the same? usage same_builds.py MAKE_BUILD MESON_BUILD.

Both folders must be built. Compared are the object files in the static library, the symbols
exported by the shared library with their versions, its SONAME, the list of unit tests, and the
sonames it needs. The last line is `N passed, N failed`.
"""
import json
import pathlib
import re
import subprocess
import sys


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def functions(archive):
    """Functions and objects that the static library defines."""
    lines = output("nm", "-g", "--defined-only", str(archive)).splitlines()
    return sorted(line.split()[2] for line in lines if len(line.split()) == 3)


def exported(library):
    lines = output("nm", "-D", "--defined-only", str(library)).splitlines()
    return sorted(line.split()[2] for line in lines)


def dynamic(library, tag):
    return sorted(re.findall(rf"\({tag}\).*\[(.*)\]", output("readelf", "-d", str(library))))


def make_tests(build):
    return sorted(p.name for p in pathlib.Path(build, "tests/unit").glob("test_*")
                  if p.is_file() and not p.suffix)


def meson_tests(build):
    return sorted(t["name"] for t in json.loads(output("meson", "introspect", "--tests", build))
                  if any(s.endswith("unit") for s in t["suite"]))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.split("\n", maxsplit=1)[0])
    make, meson = sys.argv[1:]
    pairs = {
        "functions of the static library": [functions(f"{b}/libpiramid.a") for b in (make, meson)],
        "exported symbols": [exported(f"{b}/libpiramid.so") for b in (make, meson)],
        "soname": [dynamic(f"{b}/libpiramid.so", "SONAME") for b in (make, meson)],
        "needed libraries": [dynamic(f"{b}/libpiramid.so", "NEEDED") for b in (make, meson)],
        "unit tests": [make_tests(make), meson_tests(meson)],
    }
    failed = 0
    for what, (left, right) in pairs.items():
        if left == right and left:
            continue
        failed += 1
        print(f"{what} differ: only make {sorted(set(left) - set(right))}, "
              f"only meson {sorted(set(right) - set(left))}, {len(left)} and {len(right)} in all")
    print(f"{len(pairs) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
