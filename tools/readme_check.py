#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Is what the documents say true? usage readme_check.py BUILD (a finished build).

README.md and CONTRIBUTING.md: each ```c block is compiled with pv.h and the library without a
warning and run twice in an empty folder, with equal output and, where a ```text block follows,
with exactly that output. Each ```sh block runs in a folder with app.c (the last C block), pv.c and
pv.h, with the program `piramid` on the path; blocks that only call make or git are not run, but
every make target they name must exist. Numbers in README.md's table of limits equal pv.h. Relative
links of all .md files lead somewhere, and the indexes of docs/format and docs/decisions are whole.
The last line is `N passed, N failed`.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


class Failed(Exception):
    pass


def run(command, folder, build):
    env = dict(os.environ, PATH=f"{build}:{os.environ['PATH']}")
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=100,
                          shell=isinstance(command, str), check=False)
    if done.returncode:
        raise Failed(f"{command}\nexit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def check_c(text, expected, folder, build):
    (folder / "app.c").write_text(text, encoding="utf-8")
    run(["gcc", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{ROOT / 'include'}", "app.c",
         f"{build}/libpiramid.a", *zstd(build), "-lpthread", "-lm", "-o", "block"], folder, build)
    with tempfile.TemporaryDirectory() as empty:
        first, second = (run([str(folder / "block")], empty, build) for _ in range(2))
    if first != second:
        raise Failed(f"first run: {first!r}, second run: {second!r}")
    if expected is not None and first != expected:
        raise Failed(f"the document says {expected!r}, the program {first!r}")


def zstd(build):
    symbols = run(["nm", f"{build}/libpiramid.a"], ROOT, build)
    return ["-lzstd"] if " U ZSTD_" in symbols else []


def check_sh(text, expected, folder, build):
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    if all(re.match(r"(make|git|cd|sudo)\b", line) for line in lines):
        targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.M))
        for line in lines:
            words = [w for w in line.split("#")[0].split()[1:] if re.fullmatch(r"[a-z-]+", w)]
            if line.startswith("make") and not set(words) <= targets:
                raise Failed(f"{line}: no such target")
        return
    out = run(f"set -e\n{text}", folder, build)
    if expected is not None and out != expected:
        raise Failed(f"the document says {expected!r}, the commands {out!r}")


def blocks(document):
    """(language, text, expected output or None, line) of each block that is checked."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = list(BLOCK.finditer(text))
    for block, following in zip(found, found[1:] + [None]):
        expected = None
        if following and following[1] == "text" and \
                not text[block.end():following.start()].strip(" \n").count("\n\n"):
            expected = following[2]
        if block[1] in ("c", "sh"):
            yield block[1], block[2], expected, text.count("\n", 0, block.start()) + 1


def check_limits():
    """Rows `| ... | 16,384 ... | PV_LIMIT_X |` of README.md against pv.h."""
    header = (ROOT / "include/pv.h").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    defined = dict(re.findall(r"#define (PV_LIMIT_\w+) (\d+)", header))
    shown = {}
    for line in readme.splitlines():
        name = re.search(r"PV_LIMIT_\w+", line)
        number = re.search(r"\d[\d,]*", line)
        if line.startswith("|") and name and number:
            shown[name[0]] = number[0].replace(",", "")
    if shown != defined:
        raise Failed(f"differ: {sorted(set(shown.items()) ^ set(defined.items()))}")


def check_links(document):
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not re.match(r"[a-z]+:", target) and not (document.parent / target).exists():
            raise Failed(f"link to {target}")


def check_index(folder):
    """Every page of docs/<folder> is linked from its README.md."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    lost = [p.name for p in folder.glob("*.md")
            if p.name != "README.md" and f"({p.name})" not in text]
    if lost:
        raise Failed(f"does not link to {', '.join(sorted(lost))}")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.split("\n", maxsplit=1)[0])
    build = os.path.abspath(sys.argv[1])
    passed = failed = 0

    def test(what, function, *arguments):
        nonlocal passed, failed
        try:
            function(*arguments)
            passed += 1
        except (Failed, OSError, subprocess.TimeoutExpired) as problem:
            failed += 1
            print(f"{what}: {problem}")

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for file in ("pv.c", "pv.h", "pv_unstable.h"):
            shutil.copy(pathlib.Path(build, "amalgamation", file), folder)
        for document in ("README.md", "CONTRIBUTING.md"):
            for language, text, expected, line in blocks(document):
                check = check_c if language == "c" else check_sh
                test(f"{document}:{line}", check, text, expected, folder, build)
    test("README.md limits", check_limits)
    for name in ("docs/format", "docs/decisions"):
        test(f"{name}/README.md", check_index, ROOT / name)
    for document in sorted(ROOT.rglob("*.md")):
        if not {".git", "build"} & set(document.relative_to(ROOT).parts):
            test(str(document.relative_to(ROOT)), check_links, document)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
