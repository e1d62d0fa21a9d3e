#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Is pv.c what it promises? usage amalgamation_check.py FOLDER (with pv.c, pv.h, pv_unstable.h).

Compiled without a warning by gcc and clang at -O0 and -O2; made twice with the same bytes; needs
no header of xxHash or zstd and no library but libc and libm; the quick start built from pv.c alone
in an empty folder prints the same when run twice; and it links into a C++ program.
The last line is `N passed, N failed`.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wno-sign-conversion", "-Wshadow",
            "-Wundef", "-Wcast-align", "-Wwrite-strings", "-Wvla", "-Werror"]
CPP_APP = r"""
#include "pv.h"
#include <cstdio>
int main() {
    pv_db *db = nullptr;
    pv_error err = PV_ERROR_INIT;
    if (pv_open(":memory:", nullptr, &db, &err) != PV_OK) {
        std::fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return pv_close(db, nullptr) == PV_OK ? 0 : 1;
}
"""


class Failed(Exception):
    pass


def run(folder, *command):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def compiles(folder, compiler, level):
    run(folder, compiler, level, *WARNINGS, "-c", "pv.c", "-o", f"pv-{compiler}{level}.o")


def is_reproducible(folder):
    again = folder / "again"
    run(folder, sys.executable, str(ROOT / "amalgamation/gen.py"), str(again))
    for name in ("pv.c", "pv.h", "pv_unstable.h"):
        if (again / name).read_bytes() != (folder / name).read_bytes():
            raise Failed(f"{name} differs when it is made again")


def needs_no_library(folder):
    headers = run(folder, "gcc", "-M", "pv.c")
    for name in ("xxhash", "zstd"):
        if re.search(rf"/{name}\w*\.h", headers):
            raise Failed(f"pv.c includes a header of {name}")


def quick_start(folder):
    empty = folder / "empty"
    empty.mkdir()
    for name in ("pv.c", "pv.h"):
        shutil.copy(folder / name, empty)
    shutil.copy(ROOT / "examples/quickstart.c", empty / "app.c")
    run(empty, "cc", "-I.", "app.c", "pv.c", "-lpthread", "-lm", "-o", "app")
    first, second = run(empty, "./app"), run(empty, "./app")
    if not first.strip() or first != second:
        raise Failed(f"first run: {first!r}, second run: {second!r}")
    needed = set(re.findall(r"NEEDED.*\[(\w+)", run(empty, "readelf", "-d", "app")))
    if needed - {"libc", "libm", "libpthread"}:
        raise Failed(f"the program needs {needed}")


def links_into_cpp(folder, compiler):
    (folder / "app.cpp").write_text(CPP_APP, encoding="utf-8")
    run(folder, compiler, "-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "app.cpp",
        "pv-gcc-O2.o", "-lpthread", "-lm", "-o", "cpp")
    run(folder, "./cpp")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.split("\n", maxsplit=1)[0])
    tests = [(compiles, c, o) for c in ("gcc", "clang") for o in ("-O0", "-O2")]
    tests += [(is_reproducible,), (needs_no_library,), (quick_start,), (links_into_cpp, "g++"),
              (links_into_cpp, "clang++")]
    passed = failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for file in ("pv.c", "pv.h", "pv_unstable.h"):
            shutil.copy(pathlib.Path(sys.argv[1]) / file, folder)
        for test, *arguments in tests:
            try:
                test(folder, *arguments)
                passed += 1
            except (Failed, OSError) as problem:
                failed += 1
                print(f"{test.__name__} {' '.join(arguments)}: {problem}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
