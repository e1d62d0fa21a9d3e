# SPDX-License-Identifier: Apache-2.0
"""One handle in many threads; the interpreter's lock is released."""

import threading
import time

import numpy as np
import pytest

import piramiddb


def together(*functions):
    """Run functions at once; raise what any of them raised."""
    failures = []

    def guarded(function):
        try:
            function()
        except BaseException as problem:
            failures.append(problem)

    threads = [threading.Thread(target=guarded, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def test_the_lock_of_the_interpreter_is_released_in_long_calls(db, rng):
    docs = db.collection("docs", dims=64, index="flat")
    vectors = rng.standard_normal((20_000, 64), np.float32)
    ids = [str(i) for i in range(20_000)]
    docs.insert(ids, vectors)
    queries = rng.standard_normal((2000, 64), np.float32)
    calls = {
        "search_many": lambda: docs.search_many(queries, k=5),
        "upsert": lambda: docs.upsert(ids[:4000], vectors[:4000]),
        "get_many": lambda: docs.get_many(ids),
        "count": lambda: docs.count({"n": {"$gte": 3}}),
        "check": lambda: db.check(deep=True),
        "checkpoint": db.checkpoint,
        "delete": lambda: docs.delete(where={"n": 5}),
    }
    for name, call in calls.items():
        ticks, stop = [0], threading.Event()

        def count(ticks=ticks, stop=stop):
            while not stop.is_set():
                ticks[0] += 1

        thread = threading.Thread(target=count)
        thread.start()
        while not ticks[0]:
            time.sleep(0.001)
        try:
            for _ in range(20):  # a short call may fall between two looks
                before = ticks[0]
                call()
                if ticks[0] > before + 10:
                    break
            else:
                pytest.fail(f"{name} held the interpreter's lock")
        finally:
            stop.set()
            thread.join()


def test_readers_and_writers_at_once(db, rng):
    docs = db.collection("docs", dims=8, metric="l2", key="int")
    vectors = rng.standard_normal((500, 8), np.float32)
    docs.insert(np.arange(500), vectors, [{"gen": 0}] * 500)
    done = threading.Event()

    def writer():
        try:
            for generation in range(1, 30):
                with db.transaction(sync="async") as tx:
                    tx.collection(docs).upsert(np.arange(500), vectors,
                                               [{"gen": generation}] * 500)
        finally:
            done.set()

    def reader():
        while not done.is_set():
            with db.read() as snap:
                inside = snap.collection(docs)
                first = inside[0].metadata
                assert inside.count(first) == 500
                assert {h.metadata["gen"] for h in inside.search(vectors[3], k=20)} == \
                    {first["gen"]}
            assert docs.search(vectors[7], k=1).ids.tolist() == [7]

    together(writer, reader, reader)
    assert docs.count({"gen": 29}) == 500
    assert db.check(deep=True) == []


def test_writers_take_turns(db):
    docs = db.collection("docs", dims=2)

    def writer(name):
        def write():
            for i in range(40):
                docs.insert(f"{name}{i}", [1, i])
        return write

    together(*(writer(name) for name in "abcd"))
    assert docs.count() == 160


def test_closing_while_others_call(path):
    for _ in range(30):
        db = piramiddb.open(path)
        docs = db.collection("docs", dims=4)
        docs.upsert("a", [1, 2, 3, 4])
        begun = threading.Barrier(4)

        def use(docs=docs, db=db, begun=begun):
            begun.wait()
            with pytest.raises(piramiddb.ClosedError):
                while True:
                    docs.search([1, 2, 3, 4])
                    docs.get("a")
                    db.stats()

        def walk(docs=docs, begun=begun):
            begun.wait()
            with pytest.raises(piramiddb.ClosedError):
                while True:
                    for record in docs:
                        assert record.id == "a"

        def close(db=db, begun=begun):
            begun.wait()
            time.sleep(0.002)
            db.close()

        together(use, use, walk, close)


def test_a_transaction_used_by_two_threads_is_used_in_turn(db):
    docs = db.collection("docs", dims=4)
    with db.transaction() as tx:
        inside = tx.collection(docs)

        def write(name):
            return lambda: [inside.insert(f"{name}{i}", [1, 2, 3, 4]) for i in range(200)]

        together(write("a"), write("b"), lambda: [inside.count() for _ in range(200)])
        assert inside.count() == 400
    ended = []
    with db.read() as snap:
        inside = snap.collection(docs)

        def read():
            try:
                while True:
                    inside.search([1, 2, 3, 4])
            except piramiddb.ClosedError:
                ended.append(1)

        together(read, read, lambda: (time.sleep(0.02), snap.close()))
    assert len(ended) == 2


def test_a_walk_used_by_two_threads_gives_each_record_once(db):
    docs = db.collection("docs", dims=2, key="int", index="flat")
    docs.insert(np.arange(5000), np.ones((5000, 2), np.float32))
    walk, seen = iter(docs), []
    together(*([lambda: seen.extend(record.id for record in walk)] * 3))
    assert sorted(seen) == list(range(5000))


def test_a_writer_that_must_wait_too_long(path):
    with piramiddb.open(path, busy_timeout=0.05) as db:
        docs = db.collection("docs", dims=2)
        with db.transaction():
            def other():
                with pytest.raises(piramiddb.BusyError):
                    docs.insert("a", [1, 2])
                with pytest.raises(piramiddb.BusyError):
                    db.transaction(wait=False)

            together(other)
