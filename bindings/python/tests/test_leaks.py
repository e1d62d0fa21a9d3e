# SPDX-License-Identifier: Apache-2.0
"""Nothing is left behind by 100,000 calls: no memory of the library, no objects, no references."""

import gc
import resource
import sys
import tracemalloc

import numpy as np
import pytest

import piramiddb

CALLS = 100_000
VECTOR = np.array([1, 2, 3, 4], np.float32)


def fail(call, error):
    try:
        call()
    except error:
        return
    pytest.fail("no error")


def resident():
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def steps(db, docs, numbers):
    """What one round does, and how often it is done in a hundred rounds."""
    filter = {"n": {"$gte": 0}}
    matrix = np.stack([VECTOR, VECTOR])
    ids = ["a", "b"]

    def snapshot():
        with db.read() as snap:
            snap.collection(docs).get("a")

    def transaction():
        tx = db.transaction(sync="async")
        tx.collection(docs).upsert(ids, matrix, [{"n": 1}, None])
        tx.rollback()

    def abandoned():
        tx = db.transaction()
        tx.collection(docs).delete("a")

    def walk():
        next(iter(docs))

    return [
        (30, lambda: docs.search(VECTOR, 3).ids), (10, lambda: list(docs.search(VECTOR, 3))),
        (10, lambda: docs.search(VECTOR, 3, filter=filter).metadata),
        (5, lambda: docs.search(VECTOR, 3, vectors=True)[0].vector),
        (5, lambda: docs.search_many(matrix, 3).ids), (3, lambda: numbers.search(VECTOR, 3).ids),
        (3, lambda: docs.search_many(matrix, 3)[1].scores), (6, lambda: docs.get("a").metadata),
        (3, lambda: docs.get_many(ids).vectors), (5, lambda: docs.count(filter)),
        (3, lambda: numbers[5].vector), (3, walk), (2, snapshot), (1, transaction), (1, abandoned),
        (2, lambda: fail(lambda: docs.search([1, 2, 3]), piramiddb.DimsError)),
        (2, lambda: fail(lambda: docs.insert("a", VECTOR), piramiddb.ExistsError)),
        (2, lambda: fail(lambda: docs["none"], KeyError)),
        (1, lambda: fail(lambda: docs.count({"$x": 1}), piramiddb.UnsupportedError)),
        (1, lambda: numbers.upsert([5], VECTOR[None])), (1, docs.info), (1, db.stats),
    ]


def test_a_hundred_thousand_calls_leave_nothing(path):
    with piramiddb.open(path, sync="async", cache_bytes=16 << 20, threads=1) as db:
        docs = db.collection("docs", dims=4)
        numbers = db.collection("numbers", dims=4, key="int")
        docs.insert(["a", "b", "c"], np.ones((3, 4), np.float32), [{"n": i} for i in range(3)])
        numbers.insert([5, 6], np.ones((2, 4), np.float32))
        plan = [call for often, call in steps(db, docs, numbers) for _ in range(often)]
        assert len(plan) == 100

        def rounds(count):
            for _ in range(count):
                for call in plan:
                    call()
            gc.collect()

        rounds(100)
        db.checkpoint()
        objects, memory, bytes_resident = len(gc.get_objects()), db.stats().memory_bytes, \
            resident()
        references = sys.getrefcount(VECTOR), sys.getrefcount(docs), sys.getrefcount(None)
        rounds(CALLS // len(plan))
        db.checkpoint()
        assert len(gc.get_objects()) - objects < 50
        assert (sys.getrefcount(VECTOR), sys.getrefcount(docs)) == references[:2]
        assert abs(sys.getrefcount(None) - references[2]) < 1000
        assert db.stats().memory_bytes - memory < 1 << 20
        grown = resident() - bytes_resident
        print(f"{CALLS} calls: resident memory grew by {grown} bytes, the library's by "
              f"{db.stats().memory_bytes - memory}")
        assert grown < 4 << 20


def test_python_memory_stays(docs):
    docs.insert("a", VECTOR, {"n": 1})

    def rounds(count):
        for _ in range(count):
            list(docs.search(VECTOR, 1, filter={"n": 1}, vectors=True))
            docs.get_many(["a"])
            docs.upsert("a", VECTOR, {"n": 1})
        gc.collect()

    tracemalloc.start()
    try:
        rounds(200)
        before = tracemalloc.get_traced_memory()[0]
        rounds(1000)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 20_000
