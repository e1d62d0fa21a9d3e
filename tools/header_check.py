#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compile the public headers alone, as strict C99, C11 and C++: usage header_check.py.

A small file uses every PV_..._INIT macro and passes options to nothing; it must compile without a
warning with gcc, g++, clang and clang++. Structures with struct_size may hold no hidden padding,
because bytes between members would make "the bytes the library does not know are zero" untrue.
The last line is `N passed, N failed`.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wshadow", "-Wundef", "-Wpadded"]
RUNS = [("gcc", "c99", "c"), ("gcc", "c11", "c"), ("clang", "c99", "c"), ("clang", "c11", "c"),
        ("g++", "c++11", "c++"), ("g++", "c++20", "c++"), ("clang++", "c++11", "c++"),
        ("clang++", "c++17", "c++")]


def program(header):
    """A translation unit that includes the header twice and uses its initialisers."""
    text = (ROOT / "include" / header).read_text(encoding="utf-8")
    lines = [f'#include "{header}"', f'#include "{header}"', "int use(void);", "int use(void) {",
             "    size_t sum = 0;"]
    for name in re.findall(r"#define PV_(\w+)_INIT\b", text):
        lines.append(f"    {{ pv_{name.lower()} v = PV_{name}_INIT; sum += v.struct_size; }}")
    return "\n".join(lines + ["    return sum != 0;", "}", ""])


def main():
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for header in ("pv.h", "pv_unstable.h"):
            for compiler, standard, language in RUNS:
                if not shutil.which(compiler):
                    print(f"{compiler} is not installed")
                    failed += 1
                    continue
                source = pathlib.Path(folder, "use." + ("c" if language == "c" else "cpp"))
                source.write_text(program(header), encoding="utf-8")
                done = subprocess.run([compiler, f"-std={standard}", *STRICT, "-fsyntax-only",
                                       f"-I{ROOT / 'include'}", str(source)],
                                      capture_output=True, text=True, check=False)
                if done.returncode:
                    failed += 1
                    print(f"{header} as {standard} with {compiler}:\n{done.stderr}")
                else:
                    passed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
