#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Test of the bench of filtered searches: what it says that was done, and where.

    BUILD=build python3 tests/cli/test_bench_filter.py [unittest's arguments]
"""
import os
import random
import subprocess
import sys

from support import BUILD, Case, fvecs, main

ROWS, DIMS, QUERIES = 5000, 8, 3


class Plans(Case):
    def test_a_plan_has_its_own_name(self):
        rng = random.Random(5)
        rows = [[rng.uniform(-1, 1) for _ in range(DIMS)] for _ in range(ROWS)]
        base = self.write("base.fvecs", fvecs(rows))
        query = self.write("query.fvecs", fvecs(rows[:QUERIES]))
        self.create("--metric", "l2", "--key", "u64", "--index", "hnsw", dims=DIMS, name="base")
        self.ok("import", self.db, "base", base, "--batch", ROWS)
        done = subprocess.run([os.path.join(BUILD, "bench/bench_filter"), self.db, query,
                               str(QUERIES)], capture_output=True, timeout=250, check=False)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        table = [[cell.strip() for cell in line.strip().strip("|").split("|")]
                 for line in done.stdout.decode().splitlines() if line.startswith("| ")]
        heading, *lines = table
        self.assertEqual(heading[5:9], ["chosen", "codes us", "one hop us", "two hops us"])
        self.assertEqual(len(lines), 15)
        for line in lines:
            cell = dict(zip(heading, line, strict=True))
            # Half of so many rows take more than a walk, few less; with short codes nothing looks
            # behind nodes, and a graph has no lists.
            if cell["allowed"] == "50 %" and cell["correlation"] != "negative":
                self.assertEqual(cell["chosen"], f"one hop {QUERIES}")
            elif cell["allowed"] in ("0.1 %", "0.01 %"):
                self.assertEqual(cell["chosen"], f"codes {QUERIES}")
            self.assertNotRegex(cell["chosen"], "lists|two")
            self.assertGreater(float(cell["codes us"]), 0)


if __name__ == "__main__":
    sys.exit(main())
