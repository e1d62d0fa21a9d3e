#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A tour: real texts, real embeddings, one durable file, a command line.

    python3 examples/demo/demo.py BUILD

Needs python3 alone; with numpy the answers are compared with numpy's as well.
"""
import json
import math
import os
import sys
import tempfile

import common

try:
    import numpy
except ImportError:
    numpy = None

SHOWN = ["pet.n.01", "surgeon.n.01", "bicycle.n.01", "claustrophobia.n.01", "winery.n.01",
         "homesickness.n.01", "shoplift.v.01"]


def say(text):
    print(f"\n== {text}", flush=True)


def shell(*command):
    print("$ piramid " + " ".join(f"'{c}'" if " " in c or '"' in c else c for c in command))


class Tour:
    def __init__(self, program, folder):
        self.program = program
        self.db = os.path.join(folder, "demo.pv")
        self.records = {r["id"]: r for r in common.rows("glosses")}

    def search(self, *arguments, stdin=None):
        out = common.run(self.program, "search", self.db, "words", *arguments, "--json",
                         stdin=stdin)
        return [json.loads(line) for line in out.splitlines()]

    def show(self, answer):
        for hit in answer["results"]:
            m = hit["metadata"]
            words = ", ".join(m["words"][:3])
            text = m["text"] if len(m["text"]) <= 66 else m["text"][:63] + "..."
            print(f"    {hit['distance']:.4f}  {words[:28]:28}  {text}")

    def load(self):
        data = common.DATA
        say(f"{len(self.records)} WordNet definitions with their embeddings, into one file")
        shell("import", "demo.pv", "words", "glosses.f16.npy", "--metadata", "glosses.jsonl",
              "--create")
        print(common.run(self.program, "import", self.db, "words", str(data / "glosses.f16.npy"),
                         "--metadata", str(data / "glosses.jsonl"), "--create"), end="")
        print(common.run(self.program, "list", self.db), end="")
        print(f"{os.path.getsize(self.db)} bytes in {sorted(os.listdir(os.path.dirname(self.db)))}")

    def ask(self, question, halves, *options):
        vector = json.dumps(common.floats(halves))
        self.show(self.search("--vector", "-", "-k", "3", *options, stdin=vector)[0])

    def questions(self):
        rows, vectors = common.rows("questions"), common.vectors("questions")
        say("questions in free text (the embedding of the question was made beforehand)")
        for row, halves in zip(rows, vectors):
            if row["expect"] in SHOWN:
                print(f"  \"{row['text']}\"")
                self.ask(row["text"], halves)
        say("the same with a filter over the metadata")
        for expect, condition in (("bake.v.01", {"pos": "v"}),
                                  ("pilot.n.01", {"lexname": "noun.person",
                                                  "count": {"$gte": 1}})):
            at = next(i for i, row in enumerate(rows) if row["expect"] == expect)
            print(f"  \"{rows[at]['text']}\"  {json.dumps(condition)}")
            self.ask(rows[at]["text"], vectors[at], "--filter", json.dumps(condition))
        say("what is like a stored record")
        shell("search", "demo.pv", "words", "--like", "wolf.n.01", "-k", "4")
        self.show(self.search("--like", "wolf.n.01", "-k", "4")[0])
        answers = self.search("--queries", str(common.DATA / "questions.f16.npy"), "--metadata",
                              str(common.DATA / "questions.jsonl"), "-k", "10", "--no-metadata")
        found = sum(row["expect"] in [h["id"] for h in a["results"]]
                    for row, a in zip(rows, answers))
        print(f"\n  the expected word is among the first 10 for {found} of {len(rows)} questions")

    def judge(self):
        """Held-out definitions: is a word below the same hypernym among the first ten?"""
        rows = common.rows("heldout")
        say(f"{len(rows)} held-out definitions: is one of the first 10 below the same hypernym?")
        answers = self.search("--queries", str(common.DATA / "heldout.f16.npy"), "--metadata",
                              str(common.DATA / "heldout.jsonl"), "-k", "10", "--no-metadata")
        sizes = {}
        for record in self.records.values():
            sizes[record["hypernym"]] = sizes.get(record["hypernym"], 0) + 1
        total = len(self.records)
        for name, chosen in (("all", rows),
                             ("definition names the hypernym",
                              [r for r in rows if r["names_hypernym"]]),
                             ("definition does not name it",
                              [r for r in rows if not r["names_hypernym"]])):
            wanted = {r["id"] for r in chosen}
            hits = sum(any(self.records[h["id"]]["hypernym"] == r["hypernym"]
                           for h in a["results"])
                       for r, a in zip(rows, answers) if r["id"] in wanted)
            chance = sum(1 - math.comb(total - sizes[r["hypernym"]], 10) / math.comb(total, 10)
                         for r in chosen) / len(chosen)
            print(f"  {name:32} {len(chosen):4} queries   found {hits / len(chosen):6.1%}   "
                  f"10 at random {chance:6.1%}")

    def compare(self):
        if numpy is None:
            say("numpy is not installed: the comparison with it is left out")
            return
        corpus = numpy.load(common.DATA / "glosses.f16.npy").astype(numpy.float64)
        queries = numpy.load(common.DATA / "heldout.f16.npy").astype(numpy.float64)
        corpus /= numpy.linalg.norm(corpus, axis=1, keepdims=True)
        queries /= numpy.linalg.norm(queries, axis=1, keepdims=True)
        distance = 1.0 - queries @ corpus.T
        ids = list(self.records)
        row_of = {name: i for i, name in enumerate(ids)}
        say("the same searches in numpy (all distances, in double precision)")
        for mode in ([], ["--exact"]):
            answers = self.search("--queries", str(common.DATA / "heldout.f16.npy"), "-k", "10",
                                  "--no-metadata", *mode)
            equal = near = wrong = 0
            for q, answer in enumerate(answers):
                got = [h["id"] for h in answer["results"]]
                order = numpy.argsort(distance[q], kind="stable")[:10]
                if got == [ids[i] for i in order]:
                    equal += 1
                    continue
                gap = numpy.abs(distance[q][[row_of[g] for g in got]] - distance[q][order]).max()
                near, wrong = (near + 1, wrong) if gap < 1e-6 else (near, wrong + 1)
            name = "with --exact" if mode else "as searched"
            print(f"  {name:14} the same 10 ids in the same order: {equal} of {len(answers)}; "
                  f"equal but for distances closer than 1e-6: {near}; different: {wrong}")
            if wrong and mode:
                sys.exit("the exact search differs from numpy's")


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: demo.py BUILD")
    with tempfile.TemporaryDirectory(prefix="piramid-demo-") as folder:
        tour = Tour(common.program(sys.argv[1]), folder)
        tour.load()
        tour.questions()
        tour.judge()
        tour.compare()
        common.run(tour.program, "check", tour.db, "--deep")


if __name__ == "__main__":
    main()
