# SPDX-License-Identifier: Apache-2.0
"""What the tests of the program `piramid` share.

PIRAMID names the program, or BUILD the folder it lies in. Uses the standard library alone.
"""
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = os.environ.get("BUILD", str(ROOT / "build"))
PIRAMID = os.path.abspath(os.environ.get("PIRAMID", os.path.join(BUILD, "piramid")))
DATA = ROOT / "examples" / "data"

OK, NO, USAGE, IO, BUSY, LIMIT = 0, 1, 2, 3, 4, 6


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def npy(descr, rows, dims, payload, version=1, fortran=False, shape=None):
    shape = shape or f"({rows}, {dims})"
    text = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode("latin-1") + payload


def fvecs(rows):
    return b"".join(struct.pack(f"<i{len(r)}f", len(r), *r) for r in rows)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="piramid-cli-")
        self.addCleanup(self.folder.cleanup)
        self.db = self.path("t.pv")

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def write(self, name, content):
        with open(self.path(name), "wb") as f:
            f.write(content.encode() if isinstance(content, str) else content)
        return self.path(name)

    def run_it(self, *arguments, stdin=b"", **more):
        if isinstance(stdin, str):
            stdin = stdin.encode()
        return subprocess.run([PIRAMID, *map(str, arguments)], input=stdin, capture_output=True,
                              timeout=60, check=False, **more)

    def ok(self, *arguments, stdin=b""):
        done = self.run_it(*arguments, stdin=stdin)
        self.assertEqual(done.returncode, OK, done.stderr.decode())
        self.assertEqual(done.stderr, b"")
        return done.stdout.decode()

    def fails(self, code, part, *arguments, stdin=b""):
        """Refused with this exit code and one line that holds `part`. Returns standard output."""
        done = self.run_it(*arguments, stdin=stdin)
        text = done.stderr.decode()
        self.assertEqual(done.returncode, code, text + done.stdout.decode())
        self.assertRegex(text, r"\Apiramid: [^\n]+\n\Z")
        self.assertIn(part, text)
        return done.stdout.decode()

    def json(self, *arguments, stdin=b""):
        return json.loads(self.ok(*arguments, "--json", stdin=stdin))

    def create(self, *options, dims=3, name="c"):
        self.ok("create", self.db, name, "--dims", dims, *options)

    def load(self, *rows, name="c", options=()):
        lines = "".join(json.dumps(r) + "\n" for r in rows)
        return self.json("import", self.db, name, "-", *options, stdin=lines)

    def records(self, name="c"):
        return [json.loads(x) for x in self.ok("export", self.db, name).split("\n")[:-1]]

    def small(self):
        """Three records: a and b alike, c far."""
        self.create("--metric", "l2")
        self.load({"id": "a", "vector": [0, 0, 0], "metadata": {"n": 1, "tag": "x"}},
                  {"id": "b", "vector": [1, 0, 0], "metadata": {"n": 2, "tag": "x"}},
                  {"id": "c", "vector": [0, 5, 0], "metadata": {"n": 3, "tag": "y"}})


def main():
    """Runs the tests of the calling program; its last line is `N passed, N failed`."""
    if not os.access(PIRAMID, os.X_OK):
        print(f"{PIRAMID} is not there: build it first, or set PIRAMID", file=sys.stderr)
        print("0 passed, 1 failed")
        return 1
    program = unittest.main(module="__main__", exit=False, verbosity=1)
    result = program.result
    failed = len({test.id().split(" ")[0] for test, _ in result.failures + result.errors})
    failed += len(result.unexpectedSuccesses) + len(result.skipped)
    print(f"{max(0, result.testsRun - failed)} passed, {failed} failed", flush=True)
    return 0 if failed == 0 and result.testsRun > 0 else 1
