#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of the demo: the corpus under examples/data, and 20 kills of a writing process.

    PIRAMID=build/piramid python3 tests/cli/test_demo.py [unittest's arguments]
"""
import json
import os
import subprocess
import sys

from support import DATA, PIRAMID, ROOT, Case, main


class Demo(Case):
    """The corpus under examples/data and the kill test."""

    def test_corpus_answers_as_brute_force_does(self):
        self.ok("import", self.db, "words", DATA / "glosses.f16.npy", "--metadata",
                DATA / "glosses.jsonl", "--create")
        self.assertEqual(self.ok("count", self.db, "words"), "7500\n")
        with open(DATA / "questions.jsonl", encoding="utf-8") as f:
            questions = [json.loads(x) for x in f]
        out = [json.loads(x) for x in self.ok(
            "search", self.db, "words", "--queries", DATA / "questions.f16.npy", "--metadata",
            DATA / "questions.jsonl", "--json").splitlines()]
        self.assertEqual([o["query"] for o in out], [q["id"] for q in questions])
        hits = sum(q["expect"] in [r["id"] for r in o["results"]] for q, o in zip(questions, out))
        self.assertGreaterEqual(hits, 36)
        near = self.json("search", self.db, "words", "--like", "bicycle.n.01", "-k", 2)
        self.assertIn("tricycle.n.01", [r["id"] for r in near["results"]])

    def test_nothing_acknowledged_is_lost_in_20_kills(self):
        done = subprocess.run(
            [sys.executable, str(ROOT / "examples" / "demo" / "killtest.py"), PIRAMID, "--rounds",
             "20"], capture_output=True, text=True, timeout=250, check=False,
            env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("20 kills, ", done.stdout)


if __name__ == "__main__":
    sys.exit(main())
