#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sqlite-vec, which compares with every row (its index kinds are not in the released build). SQLite
comes from pysqlite3 where Python's own was built without extensions.
"""
try:
    import pysqlite3.dbapi2 as sqlite3
except ImportError:
    import sqlite3

import numpy as np
import sqlite_vec

import peers


class SqliteVec:
    name, modules, looped = "sqlite-vec", ["sqlite-vec"], True
    queries = 40  # it is slow and always right

    def connect(self, path):
        db = sqlite3.connect(path)
        db.enable_load_extension(True)
        sqlite_vec.load(db)
        db.execute("pragma mmap_size=68719476736")
        return db

    def build(self, job, base, path):
        if job.metric == "ip":
            peers.refuse("sqlite-vec has no inner products")
        metric = "cosine" if job.metric == "cos" else "l2"
        db = self.connect(path)
        db.execute("pragma journal_mode=wal")
        db.execute(f"create virtual table base using vec0(v float[{job.dims}] "
                   f"distance_metric={metric})")
        with db:
            db.executemany("insert into base(rowid, v) values (?, ?)",
                           ((i, row) for i, row in enumerate(base)))
        db.execute("pragma wal_checkpoint(truncate)")
        db.close()

    def load(self, job, path):
        self.db = self.connect(path)

    def ef(self, n):
        pass

    def one(self, query):
        return [row[0] for row in self.db.execute(
            "select rowid from base where v match ? and k = 10", [query])]

    def many(self, queries):
        return np.array([self.one(q) for q in queries])


if __name__ == "__main__":
    peers.main(SqliteVec())
