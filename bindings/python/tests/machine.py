# SPDX-License-Identifier: Apache-2.0
"""A random program against a dict and numpy: usage machine.py [--runs N] [--steps N] [--seed N].

Records are inserted, upserted, updated and deleted, alone and in transactions with savepoints that
are committed and rolled back; the file is opened again, and written by a child process that is
killed in the middle. After each step a look at the database must agree with the model: exact
searches by id and distance, reads, counts, walks. Vectors are three small integers, or their nine
bits, of any element type and metric: most distances are exact and ties are frequent.
test_machine.py runs it for a while.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile

import numpy as np
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import piramiddb

DIMS = 3
VECTOR = st.tuples(*[st.integers(-3, 3)] * DIMS)
METADATA = st.fixed_dictionaries({"n": st.integers(0, 4)})
NAMES = st.integers(0, 11)
BATCH = st.lists(st.tuples(NAMES, VECTOR, METADATA), min_size=1, max_size=6)
FILTERS = [({"n": {"$gte": 2}}, lambda m: m.get("n", -1) >= 2),
           ({"n": 1}, lambda m: m.get("n") == 1),
           (None, lambda m: True),
           ({"n": {"$in": [0, 4]}}, lambda m: m.get("n") in {0, 4})]
SPACES = [(dtype, metric) for dtype in ("f32", "f16", "i8") for metric in
          ("l2", "cosine", "dot", "l1")] + [("bit", "hamming"), ("bit", "jaccard")]
NUMPY = {"f32": np.float32, "f16": np.float16, "i8": np.int8, "bit": bool}
counted = {"kills": 0, "reopened": 0, "commits": 0, "rollbacks": 0, "searches": 0, "steps": 0}


def elements(dtype, vectors):
    """Vectors as they are given: rows of numbers, or each number as three bits."""
    rows = np.array(vectors, np.int8).reshape(len(vectors), DIMS)
    if dtype != "bit":
        return rows.astype(NUMPY[dtype])
    return ((rows + 3)[:, :, None] >> np.arange(3) & 1).reshape(len(rows), -1).astype(bool)


def stored(dtype, vectors):
    """The same as they are read back: bits packed."""
    rows = elements(dtype, vectors)
    return (np.packbits(rows, axis=1) if dtype == "bit" else rows).tolist()


def distance(metric, vector, query):
    """Of two rows of elements, in double."""
    v, q = np.asarray(vector, np.float64), np.asarray(query, np.float64)
    if metric in {"l1", "hamming"}:
        return np.abs(v - q).sum()
    if metric == "l2":
        return np.sqrt(((v - q) ** 2).sum())
    if metric == "dot":
        return -(v @ q) + 0.0
    if metric == "cosine":
        length = np.sqrt((v @ v) * (q @ q))
        return 1.0 if length == 0 else 1 - (v @ q) / length
    either = np.maximum(v, q).sum()
    return 0.0 if either == 0 else 1 - (v * q).sum() / either


class Machine(RuleBasedStateMachine):
    """The database under test and what it should hold."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="piramiddb-")
        self.path = os.path.join(self.folder, "m.pv")
        self.model = {}
        self.pending = None  # the model inside the open transaction
        self.tx = None
        self.marks = []

    @initialize(space=st.sampled_from(SPACES), key=st.sampled_from(["str", "int"]),
                sync=st.sampled_from(["full", "async"]),
                index=st.sampled_from(["auto", "flat", "hnsw", "ivf"]))
    def begin(self, space, key, sync, index):
        self.dtype, self.metric = space
        self.key, self.sync, self.index = key, sync, index
        self.open()

    def open(self):
        self.db = piramiddb.open(self.path, sync=self.sync, threads=1, cache_bytes=8 << 20)
        self.docs = self.db.collection("docs", dims=self.dims, dtype=self.dtype,
                                       metric=self.metric, key=self.key, index=self.index)

    @property
    def dims(self):
        return 3 * DIMS if self.dtype == "bit" else DIMS

    def name(self, number):
        return number * 7 if self.key == "int" else f"id{number:x}"

    def columns(self, batch):
        ids = [self.name(number) for number, _, _ in batch]
        return ids, elements(self.dtype, [v for _, v, _ in batch]), [m for _, _, m in batch]

    def records(self, batch):
        """As the model has them: the later of two with one id."""
        return {self.name(number): (vector, metadata) for number, vector, metadata in batch}

    @property
    def inside(self):
        return self.docs if self.tx is None else self.tx.collection(self.docs)

    @property
    def state(self):
        return self.model if self.tx is None else self.pending

    # ---- writing ----

    @rule(batch=BATCH)
    def upsert(self, batch):
        ids, vectors, metadata = self.columns(batch)
        self.inside.upsert(ids, vectors, metadata)
        self.state.update(self.records(batch))

    @rule(batch=BATCH)
    def insert(self, batch):
        ids, vectors, metadata = self.columns(batch)
        if len(set(ids)) < len(ids) or set(ids) & set(self.state):
            try:
                self.inside.insert(ids, vectors, metadata)
            except piramiddb.ExistsError:
                return
            raise AssertionError("an id that exists was inserted")
        self.inside.insert(ids, vectors, metadata)
        self.state.update(self.records(batch))

    @rule(batch=BATCH, merge=st.booleans())
    def update(self, batch, merge):
        ids, vectors, metadata = self.columns(batch)
        if set(ids) - set(self.state):
            try:
                self.inside.update(ids, vectors, metadata, merge=merge)
            except piramiddb.NotFoundError:
                return
            raise AssertionError("an id that does not exist was updated")
        patch = [{**m, "extra": m["n"]} for m in metadata] if merge else metadata
        self.inside.update(ids, None if merge else vectors, patch, merge=merge)
        for i, key in enumerate(ids):
            old = self.state[key]
            self.state[key] = (old[0], {**old[1], **patch[i]}) if merge else \
                (batch[i][1], metadata[i])

    @rule(numbers=st.lists(NAMES, max_size=5))
    def delete(self, numbers):
        ids = [self.name(number) for number in numbers]
        gone = set(ids) & set(self.state)
        assert self.inside.delete(ids) == len(gone)
        for key in gone:
            del self.state[key]

    @rule(at=st.integers(0, len(FILTERS) - 1))
    def delete_where(self, at):
        filter, matches = FILTERS[at]
        if filter is None:
            return
        gone = [key for key, (_, metadata) in self.state.items() if matches(metadata)]
        assert self.inside.delete(where=filter) == len(gone)
        for key in gone:
            del self.state[key]

    @rule(number=NAMES)
    def refuse(self, number):
        bad = {"i8": [200, 0, 0], "bit": [True] * DIMS}.get(self.dtype, [np.nan, 0.0, 0.0])
        for vector in (bad, np.ones(self.dims + 1, NUMPY[self.dtype])):
            try:
                self.inside.upsert(self.name(number), vector)
            except ValueError:
                continue
            raise AssertionError("a wrong vector was taken")

    # ---- transactions ----

    @precondition(lambda self: self.tx is None)
    @rule()
    def begin_transaction(self):
        self.tx = self.db.transaction()
        self.pending = dict(self.model)
        self.marks = []

    @precondition(lambda self: self.tx is not None)
    @rule()
    def savepoint(self):
        self.marks.append((self.tx.savepoint(), dict(self.pending)))

    @precondition(lambda self: self.tx is not None and self.marks)
    @rule(data=st.data())
    def back_to_savepoint(self, data):
        at = data.draw(st.integers(0, len(self.marks) - 1))
        point, self.pending = self.marks[at]
        self.pending = dict(self.pending)
        point.rollback()
        del self.marks[at + 1:]

    @precondition(lambda self: self.tx is not None)
    @rule()
    def commit(self):
        self.tx.commit()
        self.tx, self.model = None, self.pending
        counted["commits"] += 1

    @precondition(lambda self: self.tx is not None)
    @rule()
    def rollback(self):
        self.tx.rollback()
        self.tx = None
        counted["rollbacks"] += 1

    # ---- the file ----

    @rule()
    def reopen(self):
        if self.tx is not None:
            self.tx.rollback()
            self.tx = None
        self.db.close()
        self.open()
        counted["reopened"] += 1

    @precondition(lambda self: self.tx is None)
    @rule(batches=st.lists(BATCH, min_size=1, max_size=4), acknowledged=st.integers(0, 4),
          inside=st.booleans())
    def kill(self, batches, acknowledged, inside):
        """A child writes batch after batch and is killed while it goes on."""
        self.db.close()
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            self.child(read, write, batches, inside)
        os.close(write)
        seen = 0
        with os.fdopen(read, "rb") as acks:
            while seen < acknowledged and acks.read(1):
                seen += 1
            os.kill(pid, signal.SIGKILL)
            seen += len(acks.read())
        os.waitpid(pid, 0)
        states = [dict(self.model)]
        for batch in batches:
            states.append({**states[-1], **self.records(batch)})
        self.open()
        found = self.read_all(self.docs)
        possible = [i for i, state in enumerate(states) if self.same(found, state)]
        # All that was acknowledged and perhaps the one after; async may lose what it promised less.
        first = seen if self.sync == "full" else 0
        assert any(first <= i <= seen + 1 for i in possible), (seen, possible)
        self.model = states[max(possible)]
        counted["kills"] += 1

    def child(self, read, write, batches, inside):
        try:
            os.close(read)
            self.open()
            for batch in batches:
                ids, vectors, metadata = self.columns(batch)
                with self.db.transaction() if inside else contextlib.nullcontext() as tx:
                    docs = tx.collection(self.docs) if inside else self.docs
                    docs.upsert(ids, vectors, metadata)
                os.write(write, b".")
            tx = self.db.transaction()
            tx.collection(self.docs).upsert(*self.columns(batches[0]))
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)

    # ---- looking ----

    @staticmethod
    def read_all(docs):
        return {r.id: (r.vector.tolist(), r.metadata) for r in docs}

    def same(self, found, state):
        return found == {key: (stored(self.dtype, [vector])[0], metadata) for
                         key, (vector, metadata) in state.items()}

    @rule(query=VECTOR, k=st.integers(1, 14), at=st.integers(0, len(FILTERS) - 1),
          many=st.booleans())
    def search(self, query, k, at, many):
        filter, matches = FILTERS[at]
        query = elements(self.dtype, [query])[0]
        away = {key if self.key == "int" else key.encode():
                distance(self.metric, elements(self.dtype, [vector])[0], query)
                for key, (vector, metadata) in self.state.items() if matches(metadata)}
        wanted = sorted((np.float32(d), key) for key, d in away.items())[:k]
        docs = self.inside
        results = docs.search_many(query[None], k, filter=filter, exact=True)[0] if many else \
            docs.search(query, k, filter=filter, exact=True)
        assert len(docs.search(query, k, filter=filter)) == len(wanted)  # through the graph
        keys = [key if self.key == "int" else key.encode() for key in results.ids.tolist()]
        if self.metric in {"cosine", "jaccard"}:  # rounded: ties may be none
            np.testing.assert_allclose(results.distances, [d for d, _ in wanted], atol=2e-6)
            np.testing.assert_allclose(results.distances, [away[key] for key in keys], atol=2e-6)
            assert len(set(keys)) == len(wanted)
        else:
            assert list(zip(results.distances.tolist(), keys)) == wanted
        for hit in results:
            assert hit.metadata == self.state[hit.id][1]
        counted["searches"] += 1

    @rule(numbers=st.lists(NAMES, max_size=4))
    def get(self, numbers):
        ids = [self.name(number) for number in numbers]
        records = self.inside.get_many(ids)
        assert records.found.tolist() == [key in self.state for key in ids]
        for key, record in zip(ids, records):
            assert (record is None) == (key not in self.state)
            if record is not None:
                assert self.same({key: (record.vector.tolist(), record.metadata)},
                                 {key: self.state[key]})

    @rule()
    def walk(self):
        ids = [record.id for record in self.inside]
        assert ids == sorted(self.state)
        assert self.same(self.read_all(self.inside), self.state)

    @rule()
    def check_all(self):
        if self.tx is None:
            assert self.db.check(deep=True) == []

    @invariant()
    def counts(self):
        counted["steps"] += 1
        if getattr(self, "db", None) is None:
            return
        assert self.inside.count() == len(self.state)
        if self.tx is not None:
            assert self.docs.count() == len(self.model)  # nobody else sees it

    def teardown(self):
        try:
            if getattr(self, "db", None) is not None:
                if self.tx is not None:
                    self.tx.rollback()
                assert self.db.check(deep=True) == []
                assert self.same(self.read_all(self.docs), self.model)
                self.db.close()
                with piramiddb.open(self.path, create=False) as db:
                    assert self.same(self.read_all(db.collection("docs")), self.model)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


def run(runs, steps, number):
    """`runs` random programs of `steps` steps from one seed."""
    how = settings(max_examples=runs, stateful_step_count=steps, deadline=None, database=None,
                   print_blob=True, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(seed(number)(Machine), settings=how)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, help="one seed again, for all runs")
    parser.add_argument("--part", type=int, default=100, help="runs from one seed")
    args = parser.parse_args()
    for begin in range(0, args.runs, args.part):
        number = random.SystemRandom().randrange(2**32) if args.seed is None else args.seed
        runs = min(args.part, args.runs - begin)
        print(f"runs {begin} to {begin + runs - 1} of {args.steps} steps, seed {number}",
              flush=True)
        run(runs, args.steps, number)
    print(f"{args.runs} runs without a difference: {counted}")


if __name__ == "__main__":
    sys.exit(main())
