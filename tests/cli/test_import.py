#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of `piramid import`: JSON lines, CSV, npy, fvecs, refusals, batches, progress.

    PIRAMID=build/piramid python3 tests/cli/test_import.py [unittest's arguments]
"""
import array
import json
import math
import os
import pathlib
import pty
import random
import struct
import subprocess
import sys

from support import BUSY, IO, LIMIT, OK, PIRAMID, USAGE, Case, f32, fvecs, main, npy


class ImportJsonLines(Case):
    def test_records_come_back_as_they_were(self):
        self.create()
        rows = [{"id": "ä \"q\" \\ \n", "vector": [0.1, -2.5e-7, 3e38],
                 "metadata": {"s": "ü\u2028\U0001F600", "n": -12345678901234567, "x": 1.5,
                              "l": [1, None, True], "o": {"a": {"b": []}}}},
                {"id": "b", "vector": [0, -0.0, 1e-45]}]
        out = self.load(*rows)
        self.assertEqual((out["imported"], out["rejected"], out["complete"]), (2, 0, True))
        got = self.records()
        self.assertEqual(got[1]["metadata"], rows[0]["metadata"])
        self.assertEqual(got[1]["id"], rows[0]["id"])
        self.assertEqual(got[0]["metadata"], {})
        self.assertEqual(math.copysign(1, got[0]["vector"][1]), -1)
        for row, record in zip(rows, (got[1], got[0])):
            self.assertEqual(struct.pack("<3f", *row["vector"]),
                             struct.pack("<3f", *record["vector"]))

    def test_export_and_import_are_equal_bit_for_bit(self):
        rng = random.Random(11)
        values = [struct.unpack("<f", struct.pack("<I", rng.getrandbits(32)))[0]
                  for _ in range(6000)]
        values = [v if math.isfinite(v) else 1.0 for v in values]
        payload = struct.pack(f"<{len(values)}f", *values)
        source = self.write("v.npy", npy("<f4", len(values) // 12, 12, payload))
        self.ok("import", self.db, "a", source, "--create", "--metric", "l2", "--key", "u64")
        lines = self.path("out.jsonl")
        self.assertEqual(self.json("export", self.db, "a", lines), {"exported": 500})
        self.ok("import", self.db, "b", lines, "--create", "--metric", "l2", "--key", "u64")
        binary = self.path("out.npy")
        self.ok("export", self.db, "b", binary)
        self.assertEqual(pathlib.Path(binary).read_bytes()[-len(payload):], payload)

    def test_names_of_members_can_be_chosen(self):
        self.create()
        self.ok("import", self.db, "c", "-", "--id-field", "key", "--vector-field", "emb",
                "--metadata-field", "meta",
                stdin='{"key":"a","emb":[1,2,3],"meta":{"x":1}}\n')
        self.assertEqual(self.records(),
                         [{"id": "a", "vector": [1, 2, 3], "metadata": {"x": 1}}])

    def test_other_members_are_refused_kept_or_ignored(self):
        self.create()
        line = '{"id":"a","vector":[1,2,3],"year":2026,"t":[1,{"x":null}]}\n'
        self.fails(USAGE, 'stdin:1: unknown member "year"', "import", self.db, "c", "-",
                   stdin=line)
        self.ok("import", self.db, "c", "-", "--rest", "metadata", stdin=line)
        self.assertEqual(self.records()[0]["metadata"], {"year": 2026, "t": [1, {"x": None}]})
        self.ok("import", self.db, "c", "-", "--rest", "ignore", "--upsert", stdin=line)
        self.assertEqual(self.records()[0]["metadata"], {})
        self.fails(USAGE, "--rest", "import", self.db, "c", "-", "--rest", "x", stdin=line)

    def test_empty_lines_marks_and_line_ends(self):
        self.create()
        text = '\ufeff{"id":"a","vector":[1,2,3]}\r\n\n  \n{"id":"b","vector":[1,2,3]}'
        self.assertEqual(self.json("import", self.db, "c", "-", stdin=text)["imported"], 2)
        self.assertEqual(self.json("import", self.db, "c", "-")["imported"], 0)

    def test_a_bool_with_a_nul_behind_it_is_none(self):
        self.create()
        for kind, part in (("bool", "true or false"), ("int", "a whole number")):
            value = "true" if kind == "bool" else "1"
            with self.subTest(kind):
                self.fails(USAGE, f"wants {part}", "import", self.db, "c", "-", "--format", "csv",
                           stdin=f'id,n:{kind},vector\na,{value}\0,"[1,2,3]"\n')

    def test_bad_rows_are_named_by_line(self):
        self.create()
        good = '{"id":"g","vector":[1,2,3]}\n'
        for line, part in (
                ('{"id":"a","vector":[1,2]}', "vector has 2 dimensions, collection 'c' wants 3"),
                ('{"id":"a"}', "member 'vector' is missing"),
                ('{"id":"a","vector":[]}', "the vector is empty"),
                ('{"id":"a","vector":"x"}', "member 'vector' is no array"),
                ('{"id":"a","vector":[1,null,3]}', "element 1 of the vector is no number"),
                ('{"id":"a","vector":[1,2e39,3]}', "element 1 of the vector is too large"),
                ('{"id":1,"vector":[1,2,3]}', "the id is a number"),
                ('{"id":true,"vector":[1,2,3]}', "the id is neither"),
                ('{"id":"","vector":[1,2,3]}', "the id is empty"),
                ('{"id":"a\\u0000b","vector":[1,2,3]}', "NUL"),
                (json.dumps({"id": "x" * 513, "vector": [1, 2, 3]}), "513 bytes"),
                ('{"id":"a","id":"b","vector":[1,2,3]}', "stands twice"),
                ('{"id":"a","vector":[1,2,3],"vector":[1,2,3]}', "stands twice"),
                ('{"id":"a","vector":[1,2,3],"metadata":[]}', "member 'metadata' is no object"),
                ('{"id":"a","vector":[1,2,3],}', "key in quotes"),
                ('{"id":"a","vector":[1,2,3]} x', "text behind the value"),
                ('{"id":"a","vector":[01]}', "not a number"),
                ('{"id":"a\\x","vector":[1]}', "escape"),
                ('{"id":"\\ud800","vector":[1]}', "surrogate"),
                ('[' * 100, "no JSON object"),
                ('{"m":' + '[' * 100, "nested too deeply"),
                ('"text"', "no JSON object"),
                ('{"id":"a"', "ends too early")):
            with self.subTest(line[:40]):
                self.fails(USAGE, "stdin:2: ", "import", self.db, "c", "-", stdin=good + line)
                self.fails(USAGE, part, "import", self.db, "c", "-", stdin=good + line)
        self.fails(USAGE, "not UTF-8", "import", self.db, "c", "-",
                   stdin=b'{"id":"\xff","vector":[1,2,3]}\n')
        self.assertEqual(self.ok("count", self.db, "c"), "0\n")

    def test_an_import_stops_at_a_bad_row_and_keeps_whole_batches(self):
        self.create()
        lines = "".join(f'{{"id":"{i}","vector":[1,2,{i}]}}\n' for i in range(7)) + "oops\n"
        out = json.loads(self.fails(USAGE, "stdin:8: ", "import", self.db, "c", "-", "--batch", 2,
                                    "--json", stdin=lines))
        self.assertEqual((out["imported"], out["batches"], out["complete"]), (6, 3, False))
        self.assertEqual(self.ok("count", self.db, "c"), "6\n")

    def test_strict_imports_all_or_nothing(self):
        self.create()
        lines = "".join(f'{{"id":"{i}","vector":[1,2,{i}]}}\n' for i in range(7))
        out = json.loads(self.fails(USAGE, "stdin:8: ", "import", self.db, "c", "-", "--batch", 2,
                                    "--strict", "--json", stdin=lines + "oops\n"))
        self.assertEqual(out["imported"], 0)
        self.assertEqual(self.ok("count", self.db, "c"), "0\n")
        self.fails(BUSY, "stdin:8: ", "import", self.db, "c", "-", "--batch", 2, "--strict",
                   stdin=lines + '{"id":"3","vector":[1,2,3]}\n')
        self.assertEqual(self.ok("count", self.db, "c"), "0\n")
        self.ok("import", self.db, "c", "-", "--batch", 2, "--strict", stdin=lines)
        self.assertEqual(self.ok("count", self.db, "c"), "7\n")

    def test_skip_bad_writes_the_rejects(self):
        self.create()
        self.load({"id": "old", "vector": [1, 2, 3]})
        lines = ['{"id":"a","vector":[1,2,3]}', "oops", '{"id":"b","vector":[1,2]}',
                 '{"id":"old","vector":[1,2,3]}', '{"id":"c","vector":[1,2,3]}',
                 '{"id":"a","vector":[1,2,3]}', '{"id":"d","vector":[1,2,3]}']
        rejects = self.path("rejects.jsonl")
        out = self.json("import", self.db, "c", "-", "--skip-bad", "--rejects", rejects,
                        stdin="\n".join(lines))
        self.assertEqual((out["imported"], out["rejected"], out["complete"]), (3, 4, True))
        with open(rejects, encoding="utf-8") as f:
            rows = [json.loads(x) for x in f]
        self.assertEqual(sorted(r["line"] for r in rows), [2, 3, 4, 6])
        for row in rows:
            self.assertEqual(row["row"], lines[row["line"] - 1])
            self.assertTrue(row["error"])
        self.assertEqual([r["id"] for r in self.records()], ["a", "c", "d", "old"])

    def test_skip_bad_without_a_file_names_the_rows(self):
        self.create()
        done = self.run_it("import", self.db, "c", "-", "--skip-bad", stdin="oops\n[]\n")
        self.assertEqual(done.returncode, OK)
        self.assertEqual(len(done.stderr.splitlines()), 2)
        self.assertIn(b"stdin:2: ", done.stderr)

    def test_existing_records_are_refused_unless_upsert(self):
        self.small()
        line = '{"id":"n","vector":[9,9,9]}\n{"id":"b","vector":[9,9,9]}\n'
        self.fails(BUSY, "stdin:2: ", "import", self.db, "c", "-", stdin=line)
        self.assertEqual(self.ok("count", self.db, "c"), "3\n")
        self.ok("import", self.db, "c", "-", "--upsert", stdin=line)
        self.assertEqual(json.loads(self.ok("get", self.db, "c", "b"))["vector"], [9, 9, 9])

    def test_options_that_contradict_each_other(self):
        self.create()
        start = ("import", self.db, "c", "-")
        self.fails(USAGE, "contradict", *start, "--strict", "--skip-bad")
        self.fails(USAGE, "--skip-bad", *start, "--rejects", self.path("r"))
        self.fails(USAGE, "--create", *start, "--metric", "l2")
        self.fails(USAGE, "npy and fvecs", *start, "--metadata", self.path("m"))
        self.fails(LIMIT, "--batch", *start, "--batch", 0)
        self.fails(USAGE, "--format", *start, "--format", "parquet")
        self.fails(USAGE, "--format", "import", self.db, "c", self.path("data.bin"))
        self.fails(USAGE, "--ack-fd", *start, "--ack-fd", 99)
        self.fails(IO, "No such file", "import", self.db, "c", self.path("none.jsonl"))
        self.fails(IO, "directory", "import", self.db, "c", self.folder.name, "--format", "csv")

    def test_create_takes_the_dimensions_of_the_first_row(self):
        self.ok("import", self.db, "n", "-", "--create", "--metric", "dot",
                stdin='{"id":"a","vector":[1,2,3,4,5]}\n')
        info = self.json("info", self.db, "n")
        self.assertEqual((info["dims"], info["metric"], info["count"]), (5, "dot", 1))

    def test_dry_run_writes_nothing(self):
        out = self.json("import", self.db, "n", "-", "--create", "--dry-run",
                        stdin='{"id":"a","vector":[1,2]}\n')
        self.assertEqual((out["imported"], out["dry_run"]), (1, True))
        self.assertFalse(os.path.exists(self.db))
        self.create()
        self.fails(USAGE, "wants 3", "import", self.db, "c", "-", "--dry-run",
                   stdin='{"id":"a","vector":[1,2]}\n')
        self.ok("import", self.db, "c", "-", "--dry-run", stdin='{"id":"a","vector":[1,2,3]}\n')
        self.assertEqual(self.ok("count", self.db, "c"), "0\n")

    def test_skip_and_limit_pick_rows(self):
        self.create()
        lines = "".join(f'{{"id":"{i}","vector":[1,2,{i}]}}\n' for i in range(10))
        self.ok("import", self.db, "c", "-", "--skip", 3, "--limit", 4, stdin=lines)
        self.assertEqual([r["id"] for r in self.records()], ["3", "4", "5", "6"])

    def test_ids_that_are_left_out_are_made(self):
        self.create()
        self.ok("import", self.db, "c", "-", stdin='{"vector":[1,2,3]}\n' * 3)
        self.assertEqual(len({r["id"] for r in self.records()}), 3)

    def test_batches_are_acknowledged_in_order(self):
        self.create()
        lines = "".join(f'{{"id":"{i}","vector":[1,2,{i}]}}\n' for i in range(5))
        ack = self.path("ack")
        self.ok("import", self.db, "c", "-", "--batch", 2, "--ack", ack, stdin=lines)
        with open(ack, encoding="utf-8") as f:
            rows = [json.loads(x) for x in f]
        self.assertEqual(rows, [{"batch": 1, "ids": ["0", "1"]}, {"batch": 2, "ids": ["2", "3"]},
                                {"batch": 3, "ids": ["4"]}])
        read_end, write_end = os.pipe()
        done = self.run_it("import", self.db, "c", "-", "--upsert", "--ack-fd", write_end, "-q",
                           stdin=lines, pass_fds=[write_end])
        os.close(write_end)
        self.assertEqual((done.returncode, done.stdout), (OK, b""))
        with os.fdopen(read_end) as f:
            self.assertEqual(json.load(f)["ids"], ["0", "1", "2", "3", "4"])

    def test_lines_longer_than_a_block(self):
        self.create()
        text = "x" * 700000
        self.load({"id": "a", "vector": [1, 2, 3], "metadata": {"t": text}},
                  {"id": "b", "vector": [1, 2, 3]})
        self.assertEqual(self.records()[0]["metadata"]["t"], text)
        row = json.dumps({"id": "z", "vector": [1, 2, 3], "metadata": {"t": "x" * 1100000}})
        self.fails(USAGE, "metadata has", "import", self.db, "c", "-", stdin=row)


class ImportCsv(Case):
    def test_a_vector_in_one_column(self):
        self.create()
        text = ('id,year:int,title,score:float,new:bool,more:json,vector\r\n'
                'a,2026,"one, ""two""\nthree",1.50,true,"{""k"":[1]}","[1, 2, 3]"\r\n'
                'b,,,,,,"[4,5,6]"\r\n'
                '"c,d",-7,"",2e3,false,null,"[7,8,9]"')
        self.ok("import", self.db, "c", self.write("d.csv", text))
        self.assertEqual(self.records(), [
            {"id": "a", "vector": [1, 2, 3],
             "metadata": {"year": 2026, "title": 'one, "two"\nthree', "score": 1.5, "new": True,
                          "more": {"k": [1]}}},
            {"id": "b", "vector": [4, 5, 6], "metadata": {}},
            {"id": "c,d", "vector": [7, 8, 9],
             "metadata": {"year": -7, "title": "", "score": 2000, "new": False, "more": None}}])

    def test_a_vector_in_many_columns(self):
        self.create("--key", "u64")
        text = "vector1,id,vector0,vector_2,name\n2,7,1,3,x\n-5e-1,8,.5,6,y\n"
        self.fails(USAGE, "d.csv:3: element 0 of the vector is no number: '.5'", "import",
                   self.db, "c", self.write("d.csv", text))
        self.ok("import", self.db, "c", self.write("d.csv", text.replace(".5,6", "0.5,6")))
        self.assertEqual(self.records(), [
            {"id": 7, "vector": [1, 2, 3], "metadata": {"name": "x"}},
            {"id": 8, "vector": [0.5, -0.5, 6], "metadata": {"name": "y"}}])

    def test_types_delimiter_and_names(self):
        self.create()
        text = 'key;n;e0;e1;e2\nx;5;1;2;3\n'
        self.ok("import", self.db, "c", "-", "--format", "csv", "--delimiter", ";", "--id-field",
                "key", "--vector-field", "e", "--types", "n=int", stdin=text)
        self.ok("import", self.db, "c", "-", "--format", "csv", "--delimiter", "tab", "--rest",
                "ignore", stdin='id\tzz\tvector\ny\tq\t[1,2,3]\n')
        self.assertEqual(self.records(), [
            {"id": "x", "vector": [1, 2, 3], "metadata": {"n": 5}},
            {"id": "y", "vector": [1, 2, 3], "metadata": {}}])

    def test_a_bad_header_is_refused(self):
        self.create()
        for text, part in (("", "header is missing"), ("id,name\n", "the header wants"),
                           ("id,vector,vector0\n", "the header wants"),
                           ("id,id,vector\n", "the header wants"),
                           ("id,vector0,vector2\n", "not numbered"),
                           ("id,a,a,vector\n", "stands twice"), ("id,,vector\n", "no name")):
            with self.subTest(text):
                self.fails(USAGE, part, "import", self.db, "c", "-", "--format", "csv",
                           stdin=text)
        self.fails(USAGE, "--types", "import", self.db, "c", "-", "--format", "csv", "--types",
                   "a=date", stdin="id,a,vector\n")

    def test_a_bool_with_a_nul_behind_it_is_none(self):
        self.create()
        for kind, part in (("bool", "true or false"), ("int", "a whole number")):
            value = "true" if kind == "bool" else "1"
            with self.subTest(kind):
                self.fails(USAGE, f"wants {part}", "import", self.db, "c", "-", "--format", "csv",
                           stdin=f'id,n:{kind},vector\na,{value}\0,"[1,2,3]"\n')

    def test_bad_rows_are_named_by_line(self):
        self.create()
        head = 'id,n:int,vector\na,1,"[1,2,3]"\n"b\n",1,"[1,2,3]"\n'
        for row, part in (("c,1", "2 cells, the header has 3"), ('c,1.5,"[1,2,3]"', "whole number"),
                          ('c,x,"[1,2,3]"', "whole number"), ('c,1,"[1,2"', "the vector"),
                          ('c,1,5', "no JSON array"), ('c,1,"[1]"', "wants 3"),
                          ('c"d,1,"[1,2,3]"', "a quote inside"),
                          ('"c"d,1,"[1,2,3]"', "behind a closing quote"),
                          ('"c,1,[1,2,3]', "does not end")):
            with self.subTest(row):
                self.fails(USAGE, "stdin:5: ", "import", self.db, "c", "-", "--format", "csv",
                           stdin=head + row)
                self.fails(USAGE, part, "import", self.db, "c", "-", "--format", "csv",
                           stdin=head + row)

    def test_skip_bad_goes_on_behind_a_bad_row(self):
        self.create()
        text = 'id,vector\n"a"x,"[1,2,3]"\nb,"[1,2,3]"\nc,"[1]"\nd,"[3,2,1]"\n'
        rejects = self.path("r.jsonl")
        out = self.json("import", self.db, "c", "-", "--format", "csv", "--skip-bad", "--rejects",
                        rejects, stdin=text)
        self.assertEqual((out["imported"], out["rejected"]), (2, 2))
        with open(rejects, encoding="utf-8") as f:
            rows = [json.loads(x) for x in f]
        self.assertEqual([(r["line"], r["row"]) for r in rows],
                         [(2, '"a"x,"[1,2,3]"'), (4, 'c,"[1]"')])


class ImportArrays(Case):
    def vectors(self):
        return [r["vector"] for r in self.records()]

    def test_element_types_and_versions(self):
        numbers = [1.5, -2, 0.25, 0, 65504, -6.103515625e-05]
        for descr, code, version in (("<f4", "f", 1), ("<f8", "d", 2), ("<f2", "e", 3)):
            with self.subTest(descr):
                name = "c" + descr[2]
                payload = struct.pack(f"<6{code}", *numbers)
                self.ok("import", self.db, name,
                        self.write("v.npy", npy(descr, 2, 3, payload, version)), "--create")
                self.assertEqual([f32(x) for r in self.records(name) for x in r["vector"]],
                                 numbers)
        self.ok("import", self.db, "i", self.write("v.npy", npy("|i1", 1, 3, b"\x80\x00\x7f")),
                "--create", "--key", "u64")
        self.assertEqual(self.records("i"),
                         [{"id": 0, "vector": [-128, 0, 127], "metadata": {}}])

    def test_every_half_is_exact(self):
        halves = [h for h in range(65536) if (h >> 10 & 31) != 31]
        payload = struct.pack(f"<{len(halves)}H", *halves)
        self.ok("import", self.db, "c", self.write(
            "v.npy", npy("<f2", len(halves) // 1024, 1024, payload)), "--create", "--metric", "l2",
            "--key", "u64")
        out = self.path("o.npy")
        self.ok("export", self.db, "c", out)
        want = array.array("f", struct.unpack(f"<{len(halves)}e", payload)).tobytes()
        self.assertEqual(pathlib.Path(out).read_bytes()[-len(want):], want)

    def test_ids_and_metadata_stand_beside(self):
        self.create()
        source = self.write("v.npy", npy("<f4", 2, 3, struct.pack("<6f", 1, 2, 3, 4, 5, 6)))
        side = self.write("m.jsonl", '{"id":"x","year":1}\n{"id":"y","metadata":{"z":[]}}\n')
        self.ok("import", self.db, "c", source, "--metadata", side)
        self.assertEqual(self.records(), [
            {"id": "x", "vector": [1, 2, 3], "metadata": {"year": 1}},
            {"id": "y", "vector": [4, 5, 6], "metadata": {"z": []}}])
        for text, part in (('{"id":"p"}\n', "only 1 lines"), ('{"id":"p"}\n' * 3, "more lines"),
                           ('{"id":"p"}\nx\n', "row 1"),
                           ('{"id":"p"}\n{"id":"q","vector":[1]}\n', "has a vector too")):
            with self.subTest(text):
                side = self.write("m.jsonl", text)
                self.fails(USAGE, part, "import", self.db, "c", source, "--metadata", side,
                           "--strict")
        self.fails(IO, "--metadata", "import", self.db, "c", source, "--metadata",
                   self.path("none"))

    def test_files_that_are_wrong(self):
        self.create()
        body = struct.pack("<6f", *range(6))
        for content, part in (
                (b"", "not an npy file"), (b"\x93NUMPZ\x01\x00", "not an npy file"),
                (npy("<f4", 2, 3, body)[:20], "cut off"),
                (npy("<f4", 2, 3, body, version=9), "version 9.0"),
                (npy(">f4", 2, 3, body), "'>f4'"), (npy("<i8", 2, 3, body), "'<i8'"),
                (npy("<f4", 2, 3, body, fortran=True), "Fortran"),
                (npy("<f4", 2, 3, body, shape="(6,)"), "shape"),
                (npy("<f4", 2, 3, body, shape="(1, 2, 3)"), "shape"),
                (npy("<f4", 2, 0, body), "0 dimensions"),
                (npy("<f4", 2, 99999, body), "99999 dimensions"),
                (npy("<f4", 2, 4, body), "wants 3"),
                (npy("<f4", 3, 3, body), "row 2: the file ends too early"),
                (npy("<f4", 1, 3, struct.pack("<3f", 1, math.nan, 3)),
                 "row 0: element 1 of the vector is not finite"),
                (npy("<f8", 1, 3, struct.pack("<3d", 1, 1e300, 3)), "is not finite")):
            with self.subTest(part):
                source = self.write("v.npy", content)
                self.fails(USAGE, part, "import", self.db, "c", source)
        self.assertEqual(self.ok("count", self.db, "c"), "0\n")

    def test_fvecs(self):
        self.create("--key", "u64")
        rows = [[1.0, 2.0, 3.0], [-1.5, 0.0, 9.0]]
        source = self.write("v.fvecs", fvecs(rows))
        self.ok("import", self.db, "c", source)
        self.assertEqual(self.vectors(), rows)
        out = self.path("o.fvecs")
        self.ok("export", self.db, "c", out)
        self.assertEqual(pathlib.Path(out).read_bytes(), fvecs(rows))
        for content in (fvecs([[1.0, 2.0, 3.0], [1.0]]), fvecs(rows)[:-1], b"\x03\x00",
                        struct.pack("<i", -1)):
            self.fails(USAGE, "v.fvecs: row", "import", self.db, "c",
                       self.write("v.fvecs", content), "--upsert")

    def test_from_standard_input(self):
        self.create()
        self.ok("import", self.db, "c", "-", "--format", "npy",
                stdin=npy("<f4", 1, 3, struct.pack("<3f", 1, 2, 3)))
        self.assertEqual(self.records(), [{"id": "0", "vector": [1, 2, 3], "metadata": {}}])


class Progress(Case):
    def lines(self):
        return "".join(f'{{"id":"{i}","vector":[1,2,{i}]}}\n' for i in range(30000))

    def on_terminal(self, *options):
        """What an import prints to standard error when that is a terminal."""
        self.ok("create", self.db, "c", "--dims", 3, "--if-missing")
        source = self.write("in.jsonl", self.lines())
        master, slave = pty.openpty()
        child = subprocess.Popen([PIRAMID, "import", self.db, "c", source, "--upsert", "--batch",
                                  "100", *options], stdout=subprocess.PIPE, stderr=slave)
        os.close(slave)
        out = child.stdout.read()
        child.stdout.close()
        self.assertEqual(child.wait(), OK)
        text = b""
        try:
            while part := os.read(master, 4096):
                text += part
        except OSError:
            pass
        os.close(master)
        return out, text

    def test_nothing_without_a_terminal(self):
        self.create()
        done = self.run_it("import", self.db, "c", "-", stdin=self.lines())
        self.assertEqual((done.returncode, done.stderr), (OK, b""))
        self.assertIn(b"imported 30000 records in 30 batches, 0 rejected", done.stdout)

    def test_on_a_terminal_it_is_wiped_away(self):
        out, text = self.on_terminal()
        self.assertIn(b"imported 30000 records", out)
        if text:
            self.assertIn(b"rows/s", text)
            self.assertTrue(text.endswith(b"\r\x1b[K"))

    def test_quiet_is_quiet(self):
        self.assertEqual(self.on_terminal("--quiet"), (b"", b""))


if __name__ == "__main__":
    sys.exit(main())
