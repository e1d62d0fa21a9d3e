#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Test of `piramid` with collections of f16, i8 and bits: create, import, export, search, refusals.

Usage: test_types.py; the environment of support.py. Its last line is `N passed, N failed`.
"""
import math
import pathlib
import struct
import sys

from support import USAGE, Case, f32, fvecs, main, npy

F16_ROWS = [[0.5, -2.0, 65504.0], [2.0 ** -24, 1.0009765625, -0.0]]
I8_ROWS = [[1, -128, 127], [0, 5, -5]]
BIT_ROWS = [[1, 0, 1, 1, 0, 0, 0, 1, 0, 1], [0] * 10, [1] * 10]
BIT_BYTES = b"\xb1\x40\x00\x00\xff\xc0"


class Types(Case):
    def vectors(self, name="c"):
        """As floats: numbers are printed in the shortest form that reads back as the same."""
        return [[f32(v) for v in r["vector"]] for r in self.records(name)]

    def test_json_lines_there_and_back(self):
        for kind, metric, rows in (("f16", "l1", F16_ROWS), ("i8", "dot", I8_ROWS),
                                   ("bit", "hamming", BIT_ROWS)):
            self.create("--type", kind, "--metric", metric, dims=len(rows[0]), name=kind)
            self.load(*({"id": str(i), "vector": row} for i, row in enumerate(rows)), name=kind)
            self.assertEqual(self.vectors(kind), rows)
            info = self.json("info", self.db, kind)
            self.assertEqual((info["type"], info["metric"]), (kind, metric))
            got = self.json("get", self.db, kind, "1")
            self.assertEqual([f32(v) for v in got["records"][0]["vector"]], rows[1])

    def test_arrays_there_and_back(self):
        cases = (("f16", "l2", npy("<f2", 2, 3, struct.pack("<6e", *F16_ROWS[0], *F16_ROWS[1]))),
                 ("i8", "l2", npy("|i1", 2, 3, struct.pack("6b", *I8_ROWS[0], *I8_ROWS[1]))),
                 ("bit", "jaccard", npy("|u1", 3, 2, BIT_BYTES)))
        for kind, metric, content in cases:
            rows = {"f16": F16_ROWS, "i8": I8_ROWS, "bit": BIT_ROWS}[kind]
            self.create("--type", kind, "--metric", metric, dims=len(rows[0]), name=kind)
            self.ok("import", self.db, kind, self.write("v.npy", content))
            self.assertEqual(self.vectors(kind), rows)
            out = self.path("out.npy")
            self.ok("export", self.db, kind, out)
            self.ok("import", self.db, kind, out, "--upsert")
            self.assertEqual(self.vectors(kind), rows)
            self.assertTrue(pathlib.Path(out).read_bytes().endswith(content[-len(rows):]))
            out = self.path("out.fvecs")
            self.ok("export", self.db, kind, out)
            self.assertEqual(pathlib.Path(out).read_bytes(),
                             fvecs([[float(v) for v in row] for row in rows]))

    def test_made_from_the_first_row(self):
        source = self.write("v.npy", npy("|u1", 3, 2, BIT_BYTES))
        self.ok("import", self.db, "c", source, "--create", "--type", "bit", "--metric", "hamming")
        self.assertEqual(self.json("info", self.db, "c")["dims"], 16)
        plain = self.write("b.npy", npy("|b1", 1, 16, bytes([1, 0] * 8)))
        self.ok("import", self.db, "c", plain, "--upsert")
        self.assertEqual(self.vectors()[0], [1, 0] * 8)
        self.fails(USAGE, "go with --create", "import", self.db, "c", source, "--type", "bit")

    def test_f16_is_rounded_to_the_nearest(self):
        self.create("--type", "f16", "--metric", "l2", dims=7)
        given = [0.1, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 65519, 2 ** -25, 3 * 2 ** -25, 2047.9999]
        self.load({"id": "a", "vector": given})
        want = [struct.unpack("<e", struct.pack("<e", v))[0] for v in given]
        self.assertEqual(self.vectors(), [want])

    def test_search(self):
        self.create("--type", "bit", "--metric", "hamming", dims=10)
        self.ok("import", self.db, "c", self.write("v.npy", npy("|u1", 3, 2, BIT_BYTES)))
        found = self.json("search", self.db, "c", "--vector", str(BIT_ROWS[0]), "--with-vectors")
        self.assertEqual([(r["id"], r["distance"], r["score"]) for r in found["results"]],
                         [("0", 0, 0), ("1", 5, -5), ("2", 5, -5)])
        self.assertEqual(found["results"][2]["vector"], BIT_ROWS[2])
        like = self.json("search", self.db, "c", "--like", "2", "-k", "1")
        self.assertEqual((like["results"][0]["id"], like["results"][0]["distance"]), ("0", 5))
        many = self.ok("search", self.db, "c", "--queries", self.path("v.npy"), "-k", "1")
        self.assertEqual(many, "".join(f"# {i}\n0.000000\t{i}\n" for i in range(3)))

    def test_what_does_not_fit_is_named(self):
        for kind, metric, bad, wanted in (
                ("i8", "l2", [1, 2, 128], "element 2 of the vector is 128, wanted an integer"),
                ("i8", "l2", [1, 0.5, 2], "element 1 of the vector is 0.5, wanted an integer"),
                ("bit", "hamming", [1, 0, 2], "element 2 of the vector is 2, wanted 0 or 1"),
                ("f16", "l2", [0, 65520, 0], "element 1 of the vector is 65520, wanted a number")):
            self.ok("create", self.db, kind, "--dims", 3, "--type", kind, "--metric", metric,
                    "--if-missing")
            self.fails(USAGE, wanted, "import", self.db, kind, "-",
                       stdin=f'{{"id": "x", "vector": {bad}}}\n')
            self.fails(USAGE, wanted.replace(" of the vector", ""), "search", self.db, kind,
                       "--vector", str(bad))
        self.fails(USAGE, "bit 3 is set, behind the last", "import", self.db, "bit",
                   self.write("v.npy", npy("|u1", 1, 1, b"\xf0")))
        self.fails(USAGE, "has 16 dimensions, collection 'bit' wants 3", "import", self.db, "bit",
                   self.write("v.npy", npy("|u1", 1, 2, b"\xe0\x00")))
        self.fails(USAGE, "elements are bits, 8 a byte; the collection's are i8", "import",
                   self.db, "i8", self.write("v.npy", npy("|u1", 1, 1, b"\xe0")))
        self.fails(USAGE, "--type wants f32, f16, i8 or bit, not 'f8'", "create", self.db, "x",
                   "--dims", 3, "--type", "f8")
        self.fails(USAGE, "--metric wants l2", "create", self.db, "x", "--dims", 3, "--metric",
                   "l3")
        done = self.run_it("create", self.db, "x", "--dims", 3, "--type", "bit")
        self.assertIn(b"metric cosine does not go with element type bit", done.stderr)

    def test_not_a_number(self):
        self.create("--type", "f16", "--metric", "l2")
        self.fails(USAGE, "element 1 of the vector is not finite", "import", self.db, "c",
                   self.write("v.npy", npy("<f2", 1, 3, struct.pack("<3e", 1, math.nan, 3))))


if __name__ == "__main__":
    sys.exit(main())
