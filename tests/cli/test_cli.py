#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of `piramid`: arguments, collections, files, records, search, export.

    PIRAMID=build/piramid python3 tests/cli/test_cli.py [unittest's arguments]
"""
import json
import os
import pathlib
import random
import struct
import subprocess
import sys

from support import BUSY, IO, LIMIT, NO, OK, PIRAMID, USAGE, Case, main, npy


class Arguments(Case):
    def test_help_lists_every_command(self):
        text = self.ok("help")
        for name in ("create", "import", "search", "get", "delete", "list", "info", "count",
                     "check", "export", "drop", "stats", "checkpoint", "version"):
            self.assertIn(f"  {name} ", text)
            self.assertTrue(self.ok("help", name).startswith(f"usage: piramid {name}"))
            self.assertEqual(self.ok(name, "--help"), self.ok("help", name))

    def test_version_in_text_and_json(self):
        self.assertRegex(self.ok("version"), r"\Apiramid \d+\.\d+\.\d+ ")
        self.assertEqual(self.ok("--version"), self.ok("version"))
        self.assertEqual(set(self.json("version")), {"version", "library", "compiler", "arch"})

    def test_what_is_wrong_is_a_usage_error(self):
        self.fails(USAGE, "a command is wanted")
        self.fails(USAGE, "unknown command 'frob'", "frob")
        self.fails(USAGE, "unknown command 'frob'", "help", "frob")
        self.fails(USAGE, "unknown option '--frob'", "list", self.db, "--frob")
        self.fails(USAGE, "too few arguments", "info", self.db)
        self.fails(USAGE, "unexpected argument 'x'", "list", self.db, "x")
        self.fails(USAGE, "--dims wants a value", "create", self.db, "c", "--dims")
        self.fails(USAGE, "--dims wants a number", "create", self.db, "c", "--dims", "three")
        self.fails(USAGE, "--json takes no value", "list", self.db, "--json=1")
        self.fails(USAGE, "--sync wants full or async", "list", self.db, "--sync", "maybe")
        self.fails(USAGE, "in memory", "list", ":memory:")
        self.fails(LIMIT, "--cache", "list", self.db, "--cache", 1 << 21)
        self.assertFalse(os.path.exists(self.db))

    def test_a_message_stays_on_one_line(self):
        self.fails(USAGE, "unknown command", "a\nb\tc\x7f")

    def test_double_dash_ends_the_options(self):
        self.create()
        self.load({"id": "--json", "vector": [1, 2, 3]})
        self.assertIn('"--json"', self.ok("get", self.db, "c", "--", "--json"))


class Collections(Case):
    def test_create_then_list_and_info(self):
        out = self.json("create", self.db, "one", "--dims", 4)
        self.assertEqual(out, {"collection": "one", "dims": 4, "metric": "cosine", "type": "f32",
                               "key": "string"})
        self.create("--metric", "l2", "--key", "u64", name="two")
        listed = self.json("list", self.db)["collections"]
        self.assertEqual([(c["name"], c["dims"], c["metric"], c["key"], c["count"])
                          for c in listed],
                         [("one", 4, "cosine", "string", 0), ("two", 3, "l2", "u64", 0)])
        self.assertEqual(self.json("info", self.db, "two"), listed[1])
        self.assertIn("dimensions  3", self.ok("info", self.db, "two"))
        self.assertEqual(len(self.ok("list", self.db).splitlines()), 2)

    def test_info_names_index_and_code(self):
        rows = [{"id": f"r{i}", "vector": [i % 7, i // 7, i % 3]} for i in range(80)]
        shown = {}
        for index in ("auto", "flat", "hnsw", "ivf"):
            self.create("--index", index, "--metric", "l2", name=index)
            self.load(*rows, name=index)
            info = self.json("info", self.db, index)
            self.assertEqual((info["index"], info["metric"], info["type"], info["code_asked"]),
                             (index, "l2", "f32", "auto"))
            self.assertEqual(info["indexed"], 80 if index in {"hnsw", "ivf"} else 0)
            self.assertEqual(info["code"] is not None, bool(info["indexed"]), info)
            self.assertEqual(info["lists"] > 0, index == "ivf")
            shown[index] = self.ok("info", self.db, index)
            for line in (f"index       {index}\n", "metric      l2\n", "elements    f32\n",
                         f"code        {info['code'] or 'none'} (asked for: auto)\n",
                         f"indexed     {info['indexed']}\n"):
                self.assertIn(line, shown[index])
        self.assertIn("lists ", shown["ivf"])
        self.assertNotIn("lists ", shown["hnsw"])
        self.assertIn("because     ", shown["hnsw"])

    def test_create_refuses(self):
        self.create()
        self.fails(BUSY, "'c'", "create", self.db, "c", "--dims", 3)
        self.ok("create", self.db, "c", "--dims", 3, "--if-missing")
        self.fails(BUSY, "'c'", "create", self.db, "c", "--dims", 4, "--if-missing")
        self.fails(USAGE, "--dims", "create", self.db, "d")
        self.fails(LIMIT, "limit", "create", self.db, "d", "--dims", 16385)
        self.fails(USAGE, "--metric", "create", self.db, "d", "--dims", 3, "--metric", "far")
        self.fails(USAGE, "--key", "create", self.db, "d", "--dims", 3, "--key", "blob")
        self.fails(USAGE, "--index", "create", self.db, "d", "--dims", 3, "--index", "tree")
        self.assertEqual(len(self.json("list", self.db)["collections"]), 1)

    def test_create_with_lists(self):
        self.ok("create", self.db, "c", "--dims", 3, "--index", "ivf")
        self.ok("create", self.db, "c", "--dims", 3, "--index", "ivf", "--if-missing")
        self.fails(BUSY, "ivf", "create", self.db, "c", "--dims", 3, "--index", "hnsw",
                   "--if-missing")

    def test_create_with_a_code(self):
        rows = [{"id": f"r{i}", "vector": [i % 7, i // 7, i % 3]} for i in range(80)]
        for index, code in (("hnsw", "q4"), ("hnsw", "f32"), ("flat", "sq8")):
            name = f"{index}-{code}"
            self.create("--index", index, "--code", code, "--metric", "l2", name=name)
            self.load(*rows, name=name)
            info = self.json("info", self.db, name)
            self.assertEqual((info["index"], info["code_asked"]), (index, code))
            if index == "hnsw":
                self.assertEqual((info["code"], info["indexed"]), (code, 80))
        self.fails(USAGE, "--code", "create", self.db, "d", "--dims", 3, "--code", "zip")
        self.fails(USAGE, "flat", "create", self.db, "d", "--dims", 3, "--index", "flat",
                   "--code", "q4")

    def test_create_refuses_a_bad_name(self):
        self.create()
        self.assertEqual(self.run_it("create", self.db, "a/b", "--dims", 3).returncode, USAGE)
        self.assertEqual(self.run_it("create", self.db, "", "--dims", 3).returncode, USAGE)

    def test_drop(self):
        self.create()
        self.ok("drop", self.db, "c")
        self.assertEqual(self.json("list", self.db), {"collections": []})
        self.fails(NO, "'c'", "drop", self.db, "c")

    def test_a_missing_collection_is_not_found(self):
        self.create()
        for command in (["info"], ["count"], ["export"], ["search", "--vector", "[1,2,3]"],
                        ["get", "x"], ["delete", "x"], ["import", "-"]):
            self.fails(NO, "'nope'", command[0], self.db, "nope", *command[1:])


class Files(Case):
    def test_a_missing_file_is_an_error_of_files(self):
        for command in (["list"], ["check"], ["stats"], ["checkpoint"], ["info", "c"],
                        ["import", "c", "-"], ["drop", "c"]):
            self.fails(IO, self.db, command[0], self.db, *command[1:])
        self.assertFalse(os.path.exists(self.db))

    def test_a_foreign_file_is_refused_and_kept(self):
        content = b"this is not a database\n" * 1000
        self.write("t.pv", content)
        self.fails(IO, "", "list", self.db)
        self.fails(IO, "", "create", self.db, "c", "--dims", "3")
        self.assertEqual(pathlib.Path(self.db).read_bytes(), content)

    def test_one_file_remains_after_a_command(self):
        self.small()
        self.assertEqual(os.listdir(self.folder.name), ["t.pv"])

    def test_check_and_stats(self):
        self.small()
        self.assertEqual(self.json("check", self.db), {"findings": [], "problems": 0})
        self.assertEqual(self.json("check", self.db, "--deep"), {"findings": [], "problems": 0})
        self.assertEqual(self.ok("check", self.db), "0 problems\n")
        stats = self.json("stats", self.db)
        self.assertEqual(len(stats["uuid"]), 32)
        self.assertIn("file_bytes", stats)
        self.assertIn("file_bytes ", self.ok("stats", self.db))
        self.ok("checkpoint", self.db)

    def test_damage_is_found(self):
        self.create(dims=64)
        rng = random.Random(7)
        self.load(*({"id": f"r{i}", "vector": [rng.random() for _ in range(64)]}
                    for i in range(500)))
        content = pathlib.Path(self.db).read_bytes()
        vector = json.loads(self.ok("get", self.db, "c", "r250"))["vector"]
        at = content.find(struct.pack("<4f", *vector[10:14]))
        self.assertGreater(at, 0)
        self.write("t.pv", content[:at] + bytes([content[at] ^ 64]) + content[at + 1:])
        done = self.run_it("check", self.db, "--deep")
        self.assertEqual(done.returncode, IO, done.stderr)

    def test_standard_output_that_fails_is_an_error(self):
        self.small()
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PIRAMID, "export", self.db, "c"], stdout=full,
                                  stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, IO)
        self.assertIn(b"No space left", done.stderr)

    def test_two_writers_wait_for_each_other(self):
        self.create("--key", "string")
        lines = "".join(json.dumps({"id": f"{i}", "vector": [i, 1, 2]}) + "\n"
                        for i in range(200))
        files = [self.write(f"in{n}.jsonl", lines.replace('"id": "', f'"id": "{n}-'))
                 for n in range(3)]
        children = [subprocess.Popen([PIRAMID, "import", self.db, "c", f, "--batch", "10", "-q"],
                                     stderr=subprocess.PIPE) for f in files]
        for child in children:
            self.assertEqual(child.communicate()[1], b"")
            self.assertEqual(child.returncode, OK)
        self.assertEqual(self.ok("count", self.db, "c"), "600\n")


class Records(Case):
    def test_get_prints_lines_or_one_document(self):
        self.small()
        lines = self.ok("get", self.db, "c", "b", "a").splitlines()
        self.assertEqual([json.loads(x)["id"] for x in lines], ["b", "a"])
        self.assertEqual(json.loads(lines[0]),
                         {"id": "b", "vector": [1, 0, 0], "metadata": {"n": 2, "tag": "x"}})
        doc = self.json("get", self.db, "c", "a", "--no-vectors")
        self.assertEqual(doc, {"records": [{"id": "a", "metadata": {"n": 1, "tag": "x"}}],
                               "missing": []})

    def test_get_of_nothing_is_no(self):
        self.small()
        self.assertEqual(self.fails(NO, "'z'", "get", self.db, "c", "z"), "")
        out = self.fails(NO, "'z'", "get", self.db, "c", "a", "z", "--json")
        doc = json.loads(out)
        self.assertEqual((len(doc["records"]), doc["missing"]), (1, ["z"]))

    def test_delete_by_id(self):
        self.small()
        self.assertEqual(self.ok("delete", self.db, "c", "a", "z"), "deleted 1\n")
        self.assertEqual([r["id"] for r in self.records()], ["b", "c"])
        self.fails(NO, "none of these", "delete", self.db, "c", "a")
        self.fails(USAGE, "either ids or --filter", "delete", self.db, "c")
        self.fails(USAGE, "either ids or --filter", "delete", self.db, "c", "a", "--filter", "{}")

    def test_delete_by_filter(self):
        self.small()
        self.assertEqual(self.json("delete", self.db, "c", "--filter", '{"tag":"x"}'),
                         {"deleted": 2})
        self.assertEqual([r["id"] for r in self.records()], ["c"])
        self.assertEqual(self.json("delete", self.db, "c", "--filter", '{"tag":"q"}'),
                         {"deleted": 0})

    def test_count(self):
        self.small()
        self.assertEqual(self.ok("count", self.db, "c"), "3\n")
        self.assertEqual(self.json("count", self.db, "c", "--filter", '{"tag":"x"}'),
                         {"count": 2})
        self.fails(USAGE, "", "count", self.db, "c", "--filter", "{nonsense")
        self.fails(USAGE, "$bogus", "count", self.db, "c", "--filter", '{"n":{"$bogus":1}}')

    def test_number_keys(self):
        self.create("--key", "u64")
        big = 2**64 - 2
        self.load({"id": 7, "vector": [1, 2, 3]}, {"id": big, "vector": [3, 2, 1]})
        self.assertEqual([r["id"] for r in self.records()], [7, big])
        self.assertEqual(json.loads(self.ok("get", self.db, "c", big))["id"], big)
        self.fails(USAGE, "'x' is none", "get", self.db, "c", "x")
        self.fails(NO, "8", "get", self.db, "c", 8)
        self.assertEqual(self.json("search", self.db, "c", "--like", 7)["results"][0]["id"], big)
        self.fails(USAGE, "'x' is none", "search", self.db, "c", "--like", "x")
        self.assertEqual(self.ok("delete", self.db, "c", 7), "deleted 1\n")


class Search(Case):
    def ids(self, *arguments, stdin=b""):
        out = self.json("search", self.db, "c", *arguments, stdin=stdin)
        return [r["id"] for r in out["results"]]

    def test_by_vector_and_from_standard_input(self):
        self.small()
        self.assertEqual(self.ids("--vector", "[0.1, 0, 0]"), ["a", "b", "c"])
        self.assertEqual(self.ids("--vector", "-", stdin="[0.9, 0, 0]\n"), ["b", "a", "c"])
        self.assertEqual(self.ids("--vector", "[0.1, 0, 0]", "-k", 1), ["a"])
        self.assertEqual(self.ids("--vector", "[0.1, 0, 0]", "--exact"), ["a", "b", "c"])

    def test_rows_carry_distance_score_and_metadata(self):
        self.small()
        out = self.json("search", self.db, "c", "--vector", "[0,2,0]", "-k", 2)
        first = out["results"][0]
        self.assertEqual(first["id"], "a")
        self.assertAlmostEqual(first["distance"], 2, places=6)
        self.assertAlmostEqual(first["score"], -2, places=6)
        self.assertEqual(first["metadata"], {"n": 1, "tag": "x"})
        self.assertNotIn("vector", first)
        self.assertIsInstance(out["elapsed_us"], int)
        row = self.json("search", self.db, "c", "--vector", "[0,2,0]", "--with-vectors",
                        "--no-metadata")["results"][1]
        self.assertEqual(row["vector"], [1, 0, 0])
        self.assertNotIn("metadata", row)

    def test_for_people(self):
        self.small()
        lines = self.ok("search", self.db, "c", "--vector", "[0,2,0]").splitlines()
        self.assertEqual(len(lines), 3)
        self.assertEqual(lines[0].split("\t")[:2], ["2.000000", "a"])
        shown = self.ok("search", self.db, "c", "--vector", "[0,2,0]", "--show", "tag,none,n")
        self.assertEqual(shown.splitlines()[0].split("\t"), ["2.000000", "a", "x", "", "1"])

    def test_like_leaves_out_the_record_itself(self):
        self.small()
        self.assertEqual(self.ids("--like", "a"), ["b", "c"])
        self.assertEqual(self.ids("--like", "a", "-k", 1), ["b"])
        self.fails(NO, "'z'", "search", self.db, "c", "--like", "z")

    def test_like_with_equal_vectors_gives_k_rows(self):
        self.create("--metric", "l2")
        self.load(*({"id": f"{i}", "vector": [1, 1, 1]} for i in range(9)))
        got = self.ids("--like", "8", "-k", 3)
        self.assertEqual(len(got), 3)
        self.assertNotIn("8", got)

    def test_filter_and_distance(self):
        self.small()
        self.assertEqual(self.ids("--vector", "[0,0,0]", "--filter", '{"tag":"y"}'), ["c"])
        self.assertEqual(self.ids("--vector", "[0,0,0]", "--max-distance", "1"), ["a", "b"])
        self.assertEqual(self.ids("--vector", "[0,0,0]", "--filter", '{"tag":"none"}'), [])
        self.fails(USAGE, "", "search", self.db, "c", "--vector", "[0,0,0]", "-f", "[]")

    def test_an_empty_collection_answers_with_nothing(self):
        self.create()
        self.assertEqual(self.ids("--vector", "[1,0,0]"), [])
        self.assertEqual(self.ok("search", self.db, "c", "--vector", "[1,0,0]"), "")

    def test_refusals(self):
        self.small()
        search = ("search", self.db, "c")
        self.fails(USAGE, "one of --vector, --like and --queries", *search)
        self.fails(USAGE, "one of", *search, "--vector", "[1,2,3]", "--like", "a")
        self.fails(USAGE, "2", *search, "--vector", "[1,2]")
        for text in ("", "[]", "[1,2", "[1,2,3]x", "{}", "[1,\"a\",3]", "[1e99,0,0]", "[NaN,0,0]"):
            self.fails(USAGE, "--vector", *search, "--vector", text)
        self.fails(USAGE, "--vector", *search, "--vector", "-")
        self.fails(LIMIT, "limit", *search, "--vector", "[1,2,3]", "-k", 16385)
        self.fails(USAGE, "--max-distance", *search, "--vector", "[1,2,3]", "--max-distance", "x")
        self.fails(USAGE, "--show", *search, "--vector", "[1,2,3]", "--show", "n", "--json")
        self.fails(LIMIT, "more than", *search, "--vector", json.dumps([0] * 16385))
        self.fails(USAGE, "go with --queries", *search, "--vector", "[1,2,3]", "--format", "csv")

    def test_many_queries_from_a_file(self):
        self.small()
        lines = self.write("q.jsonl", '{"id":"q1","vector":[0,4,0]}\n{"vector":[1,0,0]}\n')
        out = [json.loads(x) for x in self.ok("search", self.db, "c", "--queries", lines, "-k",
                                              1, "--json").splitlines()]
        self.assertEqual([(o["query"], o["results"][0]["id"]) for o in out],
                         [("q1", "c"), (1, "b")])
        binary = self.write("q.npy", npy("<f4", 2, 3, struct.pack("<6f", 0, 4, 0, 1, 0, 0)))
        names = self.write("names.jsonl", '{"id":"one","text":"x"}\n{"id":"two"}\n')
        text = self.ok("search", self.db, "c", "--queries", binary, "--metadata", names, "-k", 1)
        self.assertEqual([x for x in text.splitlines() if x[0] == "#"], ["# one", "# two"])
        bad = self.write("bad.jsonl", '{"vector":[0,4,0]}\n{"vector":[1,0]}\n')
        self.fails(USAGE, "bad.jsonl:2: vector has 2 dimensions", "search", self.db, "c",
                   "--queries", bad)
        self.fails(IO, "none.npy", "search", self.db, "c", "--queries", self.path("none.npy"))


class Export(Case):
    def test_filter_and_without_vectors(self):
        self.small()
        text = self.ok("export", self.db, "c", "--filter", '{"tag":"y"}', "--no-vectors")
        self.assertEqual(text, '{"id":"c","metadata":{"n":3,"tag":"y"}}\n')
        out = self.path("o.npy")
        side = self.path("o.jsonl")
        self.ok("export", self.db, "c", out, "--filter", '{"tag":"x"}', "--metadata", side)
        data = pathlib.Path(out).read_bytes()
        self.assertEqual(data[:8], b"\x93NUMPY\x01\x00")
        self.assertEqual((10 + int.from_bytes(data[8:10], "little")) % 64, 0)
        self.assertIn(b"'shape': (2, 3)", data)
        self.assertEqual(data[-24:], struct.pack("<6f", 0, 0, 0, 1, 0, 0))
        self.assertEqual(len(pathlib.Path(side).read_text(encoding="utf-8").splitlines()), 2)
        self.ok("import", self.db, "d", out, "--metadata", side, "--create")
        self.assertEqual(self.records("d"), self.records()[:2])

    def test_refusals_leave_no_file(self):
        self.small()
        out = self.path("o.jsonl")
        self.fails(USAGE, "", "export", self.db, "c", out, "--filter", "{x")
        self.fails(NO, "'q'", "export", self.db, "q", out)
        self.fails(USAGE, "--format", "export", self.db, "c", self.path("o.bin"))
        self.fails(USAGE, "--no-vectors", "export", self.db, "c", self.path("o.npy"),
                   "--no-vectors")
        self.fails(USAGE, "--metadata", "export", self.db, "c", out, "--metadata", "x")
        self.fails(IO, "No such file", "export", self.db, "c", self.path("none/o.jsonl"))
        self.assertEqual(os.listdir(self.folder.name), ["t.pv"])

    def test_a_file_is_replaced_only_when_complete(self):
        self.small()
        out = self.write("o.jsonl", "old\n")
        self.fails(USAGE, "", "export", self.db, "c", out, "--filter", "{x")
        self.assertEqual(pathlib.Path(out).read_text(encoding="utf-8"), "old\n")
        self.assertEqual(self.ok("export", self.db, "c", out), "exported 3 records\n")
        self.assertEqual(self.ok("export", self.db, "c", out, "--quiet"), "")
        self.assertEqual(len(pathlib.Path(out).read_text(encoding="utf-8").splitlines()), 3)

    def test_a_reader_that_goes_away_is_no_message(self):
        self.create(dims=64)
        self.load(*({"id": f"{i}", "vector": [i / 7] * 64} for i in range(3000)))
        child = subprocess.Popen([PIRAMID, "export", self.db, "c"], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE)
        child.stdout.read(10)
        child.stdout.close()
        self.assertEqual(child.stderr.read(), b"")
        child.stderr.close()
        self.assertEqual(child.wait(), IO)


if __name__ == "__main__":
    sys.exit(main())
