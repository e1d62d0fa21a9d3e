#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Print the helper sources that a test needs: usage test_helpers.py tests/unit/test_x.c

For a test that is one translation unit with pv.c and its helpers, so that helpers it never names do
not lie in its way. A header support/x.h stands for support/x.c; a header of another folder of
tests/ stands for all files of that folder without a main. Helpers of helpers are found as well.
"""
import pathlib
import re
import sys

TESTS = pathlib.Path(__file__).resolve().parent.parent / "tests"
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
MAIN = re.compile(r"^int main\(", re.M)


def sources_of(header):
    """The .c files that define what `header` declares."""
    if header.parent.name == "support":
        found = [header.with_suffix(".c")]
    elif header.parent.name == "unit":
        found = []
    else:
        found = sorted(header.parent.glob("*.c"))
    return [p for p in found if p.is_file() and not MAIN.search(p.read_text(encoding="utf-8"))]


def main():
    queue, seen, helpers = [pathlib.Path(sys.argv[1]).resolve()], set(), []
    while queue:
        path = queue.pop(0)
        for name in INCLUDE.findall(path.read_text(encoding="utf-8")):
            near = [TESTS / name, path.parent / name]
            for header in (p.resolve() for p in near if p.is_file()):
                if header in seen or TESTS not in header.parents:
                    continue
                seen.add(header)
                new = [p for p in sources_of(header) if p not in helpers]
                helpers += new
                queue += [header] + new
    print(" ".join(str(p.relative_to(TESTS.parent)) for p in helpers))


if __name__ == "__main__":
    main()
