#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The style of the project as a test: usage lint.py [--selftest].

Each rule below is one test. A finding is printed as `file:line: rule: what`; the last line is
`N passed, N failed`. Exceptions stand in tools/lint_allow.txt with their reason. --selftest plants
one violation of each rule into a small tree and fails unless exactly that rule finds it.
"""
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SKIP_DIRS = {".git", "__pycache__", "corpus", "data", "golden", "baselines", "node_modules"}
CODE = (".c", ".h", ".py", ".sh", ".cpp")
# What building leaves among the sources, by its path from the root; git ignores it too.
BUILT = re.compile(r"build(-|$)|bindings/python/(build$|dist$|csrc/pv(_unstable)?\.[ch]$)|"
                   r".*(\.egg-info|/\.\w+_cache|/\.hypothesis|\.so)$")
LINE_MAX, FILE_MAX, FILE_WARN, FUNCTION_MAX = 100, 1000, 700, 70

# (names, path prefixes under lib/ where they are allowed, what to use instead)
BANNED = [
    ("malloc calloc realloc free strdup strndup aligned_alloc posix_memalign alloca",
     ["base/alloc.c"], "memory comes from base/alloc.h and base/arena.h"),
    ("open openat creat close read write pread pwrite preadv pwritev readv writev fsync fdatasync "
     "ftruncate truncate unlink rename mkdir rmdir opendir readdir stat fstat lstat flock fcntl "
     "mmap munmap madvise mprotect fopen fclose fread fwrite fflush remove tmpfile mkstemp",
     ["os/"], "files are reached through a pv_vfs"),
    ("time gettimeofday clock_gettime clock nanosleep usleep sleep getrandom getpid kill "
     "sysconf getenv fork execv execve execvp system popen waitpid signal sigaction raise",
     ["os/"], "clock, random and process calls belong to os/sys.h"),
    ("rand srand random srandom drand48 rand_r", [], "randomness comes from the caller's clock"),
    ("printf fprintf vprintf vfprintf puts fputs putchar fputc perror", [],
     "the library never prints"),
    ("sprintf vsprintf strcpy strcat strncat gets scanf sscanf strtok", [], "unbounded or unsafe"),
    ("assert abort exit _exit quick_exit atexit longjmp setjmp", [],
     "a library may not end its host: PV_ASSERT"),
    ("strtod strtof strtold atof atoi atol strtol strtoul strtoll strtoull setlocale localeconv "
     "toupper tolower isalpha isdigit isspace isalnum localtime gmtime mktime strftime", [],
     "depends on the locale or time zone: base/str.h"),
    ("qsort", [], "may allocate: sort with the code of the folder"),
    ("strerror", ["base/rc.c"], "not thread safe: pv__err_sys"),
    ("pthread_mutex_lock pthread_create pthread_cond_wait pthread_rwlock_rdlock pthread_once",
     ["os/"], "threads come from os/thread.h"),
]


def strip(text, keep_strings=False):
    """C code without comments (and string contents), newlines kept; and the lines with //."""
    out, slashes, i, line = [], [], 0, 1
    token = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)
    for found in token.finditer(text):
        out.append(text[i:found.start()])
        line += text.count("\n", i, found.start())
        piece = found[0]
        if piece.startswith("//"):
            slashes.append(line)
        elif not piece.startswith("/*"):
            out.append(piece if keep_strings else piece[0] * 2)
        else:
            out.append(" " + "\n" * piece.count("\n"))
        line += piece.count("\n")
        i = found.end()
    out.append(text[i:])
    return "".join(out), slashes


class Tree:
    """All text files, by their path from the root."""

    def __init__(self, files):
        self.files = files
        self.findings = []
        self.warnings = []
        self.stripped = {}
        for path, text in files.items():
            if path.endswith((".c", ".h")):
                self.stripped[path] = strip(text)

    @classmethod
    def read(cls, root):
        files = {}
        for folder, dirs, names in os.walk(root):
            rel = os.path.relpath(folder, root)
            dirs[:] = sorted(d for d in dirs if d not in SKIP_DIRS
                             and not BUILT.match(os.path.normpath(os.path.join(rel, d))))
            for name in sorted(names):
                path = os.path.normpath(os.path.join(rel, name))
                if BUILT.match(path):
                    continue
                data = pathlib.Path(folder, name).read_bytes()
                if b"\0" not in data[:4096] and not name.endswith((".o", ".jsonl", ".pyc")):
                    files[path] = data.decode("utf-8", "replace")
        return cls(files)

    def code(self, prefix="", suffix=(".c", ".h")):
        for path, (text, _) in self.stripped.items():
            if path.startswith(prefix) and path.endswith(suffix):
                yield path, text

    def report(self, rule, path, line, what, name=None):
        self.findings.append((rule, path, line, what, name))


def line_of(text, position):
    return text.count("\n", 0, position) + 1


# ---- the rules -----------------------------------------------------------------------------------


def rule_spdx(tree):
    """Every source file names its licence in its first two lines."""
    for path, text in tree.files.items():
        if path.endswith(CODE) or path in ("Makefile", "meson.build", ".ci/run"):
            if "SPDX-License-Identifier: Apache-2.0" not in "\n".join(text.split("\n")[:2]):
                tree.report("spdx", path, 1, "no SPDX line")


def layers(tree):
    table, outside = {}, []
    for line in tree.files.get("tools/layers.txt", "").splitlines():
        name, colon, rest = line.split("#")[0].partition(":")
        if colon and name.strip() == "outside":
            outside = rest.split()
        elif colon:
            table[name.strip()] = rest.split()
    return table, outside


def rule_layers(tree):
    """A folder of lib/ includes only what tools/layers.txt allows; others see pv.h only."""
    table, outside = layers(tree)
    order = list(table)
    for name, rights in table.items():
        for right in rights:
            if right.split("/")[0] not in order[:order.index(name)]:
                tree.report("layers", "tools/layers.txt", 1, f"{name} may not look up at {right}")
    for path, text in tree.files.items():
        if not path.endswith((".c", ".h")) or path.startswith(("tests/", "fuzz/")):
            continue
        for found in re.finditer(r'^\s*#\s*include\s+"([^"]+)"', text, re.M):
            target, line = found[1], line_of(text, found.start())
            folder = target.split("/")[0]
            if "../" in target:
                tree.report("layers", path, line, f"{target}: no paths upward")
            elif target in ("pv.h", "pv_unstable.h"):
                continue
            elif path.startswith("lib/"):
                own = path.split("/")[1]
                if own not in table:
                    tree.report("layers", path, line, f"{own} is not in tools/layers.txt")
                elif folder != own and folder not in table[own] and target not in table[own]:
                    tree.report("layers", path, line, f"{own} may not include {target}")
            elif folder in table and path not in outside:
                tree.report("layers", path, line, f"only lib/ may include {target}")


def rule_names(tree):
    """Statics, macros, tags, typedefs and enum constants are unique in all of lib/."""
    places = {}
    for path, text in tree.code("lib/"):
        text = re.sub(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)", "", text)
        here = set()
        code = re.sub(r"^\s*#(?:[^\n]*\\\n)*[^\n]*", "", text, flags=re.M)
        here |= set(re.findall(r"^static\b[^;{}=(]*?\b(\w+)\s*(?:\(|=|;|\[)", code, re.M))
        here |= set(re.findall(r"^(?:typedef )?(?:struct|union|enum) (\w+)\s*\{", code, re.M))
        here |= set(re.findall(r"^typedef [^;{}]*?\b(\w+);", code, re.M))
        for body in re.findall(r"\benum(?:\s+\w+)?\s*\{([^}]*)\}", code):
            here |= set(re.findall(r"(?:^|,)\s*(\w+)", body))
        undone = set(re.findall(r"^\s*#\s*undef\s+(\w+)", text, re.M))
        here |= set(re.findall(r"^\s*#\s*define\s+(\w+)", text, re.M)) - undone
        for name in here - {"_GNU_SOURCE"}:
            places.setdefault(name, []).append(path)
    for name, paths in places.items():
        forward = [p for p in paths if p.endswith(".c")]
        if len(paths) > 1 and (forward or len(set(paths)) > 1):
            if is_forward_typedef(tree, name, paths):
                continue
            tree.report("names", paths[1], 1, f"{name} is also defined in {paths[0]}", name)


def is_forward_typedef(tree, name, paths):
    """`typedef struct x x;` in a header and `struct x {` in one file are one name."""
    forward = re.compile(rf"^typedef (?:struct|union) {name} {name};", re.M)
    body = re.compile(rf"^(?:typedef )?(?:struct|union) {name}\s*\{{", re.M)
    bodies = sum(1 for p in paths if body.search(tree.stripped[p][0]))
    others = [p for p in paths
              if not forward.search(tree.stripped[p][0]) and not body.search(tree.stripped[p][0])]
    return bodies <= 1 and not others


def rule_calls(tree):
    """Calls that a library may not make, or only in one place."""
    for path, text in tree.code("lib/"):
        for names, allowed, instead in BANNED:
            if any(path.startswith("lib/" + a) for a in allowed):
                continue
            pattern = rf"(?<![\w.>])({'|'.join(names.split())})\s*\("
            for found in re.finditer(pattern, text):
                tree.report("calls", path, line_of(text, found.start()),
                            f"{found[1]}(): {instead}", found[1])
        whole, _ = strip(tree.files[path], keep_strings=True)
        for found in re.finditer(r'"[^"\n]*%[-+ #0-9.*]*l?[fFgGeE]\b[^"\n]*"', whole):
            tree.report("calls", path, line_of(whole, found.start()),
                        "a %f, %g or %e format depends on the locale: base/str.h")


def rule_globals(tree):
    """lib/ has no mutable globals and no thread-local variables."""
    variable = re.compile(r"^(static\s[^;{}=()]*?\b(\w+)(?:\[[^\]]*\])*\s*(?:=|;))|"
                          r"(?:\b(?:_Thread_local|__thread)\b)", re.M)
    for path, text in tree.code("lib/"):
        for found in variable.finditer(text):
            if not found[1] or "const" not in found[1].split() and "(" not in found[1]:
                tree.report("globals", path, line_of(text, found.start()),
                            f"mutable: {found[0].strip()}", found[2])


def rule_comments(tree):
    """Comments are /* */; a // is leftover debugging."""
    for path, (_, slashes) in tree.stripped.items():
        for line in slashes:
            tree.report("comments", path, line, "// comment")


def rule_lines(tree):
    """No tabs, no space at a line's end, at most 100 columns, a newline at the end."""
    for path, text in tree.files.items():
        if not path.endswith(CODE):
            continue
        if text and not text.endswith("\n"):
            tree.report("lines", path, text.count("\n") + 1, "no newline at the end")
        for number, line in enumerate(text.split("\n"), 1):
            if "\t" in line:
                tree.report("lines", path, number, "tab")
            if line != line.rstrip():
                tree.report("lines", path, number, "space at the end")
            if len(line) > LINE_MAX:
                tree.report("lines", path, number, f"{len(line)} columns")


def rule_files(tree):
    """A file has at most 1000 lines (a warning from 700 on)."""
    for path, text in tree.files.items():
        count = text.count("\n")
        if path.endswith(CODE) and count > FILE_MAX:
            tree.report("files", path, count, f"{count} lines")
        elif path.endswith(CODE) and count > FILE_WARN and not path.startswith("include/"):
            tree.warnings.append(f"{path}: {count} lines, consider two files")


def rule_functions(tree):
    """A function of lib/ or examples/ has at most 70 lines."""
    start = re.compile(r"^[A-Za-z][^;{}#=]*?\b(\w+)\([^;{}]*\)[^;{}()]*\{\n", re.M)
    for path, text in tree.code("", (".c",)):
        if not path.startswith(("lib/", "examples/")):
            continue
        for found in start.finditer(text):
            end = text.find("\n}", found.end() - 1)
            count = text.count("\n", found.start(), end) + 1
            if count > FUNCTION_MAX:
                tree.report("functions", path, line_of(text, found.start()),
                            f"{found[1]} has {count} lines", found[1])


def rule_readme(tree):
    """Every folder of lib/ has a README.md."""
    for folder in sorted({p.split("/")[1] for p in tree.files
                          if p.startswith("lib/") and p.count("/") > 1}):
        if f"lib/{folder}/README.md" not in tree.files:
            tree.report("readme", f"lib/{folder}", 1, "no README.md")


def rule_sources(tree):
    """lib/sources.txt lists every .c file of lib/ once, bottom layer first."""
    text = tree.files.get("lib/sources.txt", "")
    listed = [line.split("#")[0].strip() for line in text.splitlines()]
    listed = [name for name in listed if name]
    there = {p[4:] for p in tree.files if p.startswith("lib/") and p.endswith(".c")}
    order = list(layers(tree)[0])
    for name in sorted(there - set(listed)):
        tree.report("sources", f"lib/{name}", 1, "is not in lib/sources.txt")
    last = 0
    for line, name in enumerate(listed, 1):
        rank = order.index(name.split("/")[0]) if name.split("/")[0] in order else 0
        if name not in there:
            tree.report("sources", "lib/sources.txt", line, f"{name} does not exist")
        if listed.count(name) > 1 or rank < last:
            tree.report("sources", "lib/sources.txt", line, f"{name} stands twice or out of order")
        last = max(last, rank)


def rule_guards(tree):
    """A header of lib/ has the guard PV_FOLDER_FILE_H."""
    for path, text in tree.code("lib/", (".h",)):
        want = "PV_" + re.sub(r"[^A-Z0-9]", "_", path[4:].upper())
        if f"#ifndef {want}\n#define {want}\n" not in text:
            tree.report("guards", path, 1, f"include guard is not {want}")


def rule_paths(tree):
    """No paths of one machine in the project."""
    pattern = re.compile(r"(?<![\w.\-\}])/(?:work|farm|root|home/\w+|Users/\w+)/|\.\./shared\b")
    for path, text in tree.files.items():
        if path in ("tools/lint.py", "LICENSE"):
            continue
        for found in pattern.finditer(text):
            tree.report("paths", path, line_of(text, found.start()), f"machine path {found[0]}")


def rule_marks(tree):
    """No marks of unfinished work without an issue number."""
    pattern = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b(?!\(#\d+\))")
    for path, text in tree.files.items():
        if path.endswith(CODE) and path != "tools/lint.py":
            for found in pattern.finditer(text):
                tree.report("marks", path, line_of(text, found.start()), found[0])


RULES = {name[5:]: rule for name, rule in list(globals().items()) if name.startswith("rule_")}


# ---- running them --------------------------------------------------------------------------------


def allowed(tree):
    """Drop what tools/lint_allow.txt excuses; an entry that excuses nothing is a finding."""
    kept, entries = tree.findings, []
    for number, line in enumerate(tree.files.get("tools/lint_allow.txt", "").splitlines(), 1):
        words = line.split(maxsplit=2)
        if not words or line.startswith("#"):
            continue
        if len(words) < 3 or words[0] not in RULES:
            kept.append(("allow", "tools/lint_allow.txt", number, "want: rule file reason", None))
            continue
        path, _, name = words[1].partition(":")
        entries.append(words[1])
        rest = [f for f in kept if not (f[0] == words[0] and f[1] == path
                                        and (not name or f[4] == name))]
        if len(rest) == len(kept):
            kept.append(("allow", "tools/lint_allow.txt", number, f"{words[1]} excuses nothing",
                         None))
            continue
        kept = rest
    return kept


def lint(tree):
    for rule in RULES.values():
        rule(tree)
    return allowed(tree)


CLEAN = {
    "tools/layers.txt": "base:\nstore: base\n",
    "lib/sources.txt": "base/a.c\nstore/b.c\n",
    "lib/base/README.md": "x\n", "lib/store/README.md": "x\n",
    "lib/base/a.h": "/* SPDX-License-Identifier: Apache-2.0 */\n#ifndef PV_BASE_A_H\n"
                    "#define PV_BASE_A_H\ntypedef struct a a;\n#endif\n",
    "lib/base/a.c": "/* SPDX-License-Identifier: Apache-2.0 */\n#include \"base/a.h\"\n"
                    "struct a {\n    int b;\n};\n#define A_X 1\n"
                    "static const int a_table[2] = {A_X, 2};\n#undef A_X\n",
    "lib/store/b.c": "/* SPDX-License-Identifier: Apache-2.0 */\n#include \"base/a.h\"\n"
                     "#define A_X 2\nstatic int b_f(struct x *v) {\n"
                     "    return v->open(A_X); /* calls exit() // never */\n}\n#undef A_X\n",
}
PLANTED = {
    "spdx": {"lib/base/a.c": "int a_x;\n"},
    "layers": {"lib/base/a.c": "+#include \"store/b.h\"\n"},
    "names": {"lib/base/a.c": "+static int b_f(void) {\n    return 0;\n}\n"},
    "calls": {"lib/base/a.c": "+int a_g(void) {\n    return system(\"x\");\n}\n"},
    "globals": {"lib/base/a.c": "+static int a_count;\n"},
    "comments": {"lib/base/a.c": "+int a_g(void); // debug\n"},
    "lines": {"lib/base/a.c": "+int  a_g(void); \n"},
    "files": {"lib/base/a.c": "+" + "\n" * 1001},
    "functions": {"lib/base/a.c": "+int a_g(void) {\n" + "    a_h();\n" * 70 + "}\n"},
    "readme": {"lib/base/README.md": None},
    "sources": {"lib/sources.txt": "store/b.c\nbase/a.c\n"},
    "guards": {"lib/base/c.h": "/* SPDX-License-Identifier: Apache-2.0 */\n#pragma once\n"},
    "paths": {"lib/base/README.md": "see /home/me/notes\n"},
    "marks": {"lib/base/a.c": "+/* TODO finish */\n"},
    "allow": {"tools/lint_allow.txt": "calls lib/base/a.c:exit no such call\n"},
}
# Further plants of rules with several halves: rule, file, text.
MORE = [
    ("layers", "examples/x.c", "/* SPDX-License-Identifier: Apache-2.0 */\n"
                               "#include \"base/a.h\"\n"),
    ("layers", "tools/layers.txt", "base: store\nstore: base\n"),
    ("names", "lib/base/a.c", "+typedef struct b_f b_f;\n"),
    ("names", "lib/base/a.c", "+enum { a_one, b_f };\n"),
    ("names", "lib/base/a.c", "+#define b_f 1\n"),
    ("calls", "lib/store/b.c", "+int b_g(void) {\n    return b_h(\"%.3f\");\n}\n"),
    ("calls", "lib/store/b.c", "+void b_g(void *p) {\n    free(p);\n}\n"),
    ("globals", "lib/store/b.c", "+static _Thread_local int b_n;\n"),
    ("lines", "lib/base/a.c", "+\tint a_g(void);\n"),
    ("lines", "lib/base/a.c", "+/* " + "x" * 100 + " */\n"),
    ("sources", "lib/base/d.c", "/* SPDX-License-Identifier: Apache-2.0 */\n"),
    ("sources", "lib/sources.txt", "base/a.c\nbase/gone.c\nstore/b.c\n"),
]


def selftest():
    """Every rule finds its planted violation and nothing else does; a clean tree has none."""
    bad = [f"clean tree: {f}" for f in lint(Tree(dict(CLEAN)))]
    missing = set(RULES) - set(PLANTED)
    bad += [f"no planted violation of {name}" for name in missing]
    cases = [(rule, path, text) for rule, plant in PLANTED.items() for path, text in plant.items()]
    for rule, path, text in cases + MORE:
        files = dict(CLEAN)
        if text is None:
            del files[path]
        else:
            files[path] = files.get(path, "") + text[1:] if text.startswith("+") else text
        found = {f[0] for f in lint(Tree(files))}
        if found != {rule}:
            bad.append(f"{rule} planted in {path}: found by {sorted(found) or 'nothing'}")
    for line in bad:
        print(line)
    total = 1 + len(cases) + len(MORE)
    print(f"{total - min(len(bad), total)} passed, {len(bad)} failed")
    return 1 if bad else 0


def main():
    if "--selftest" in sys.argv:
        return selftest()
    tree = Tree.read(ROOT)
    findings = lint(tree)
    for rule, path, line, what, _ in sorted(findings, key=lambda f: (f[1], f[2])):
        print(f"{path}:{line}: {rule}: {what}")
    for line in tree.warnings:
        print(f"note: {line}")
    failed = {f[0] for f in findings}
    print(f"{len(RULES) + 1 - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
