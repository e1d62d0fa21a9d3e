# SPDX-License-Identifier: Apache-2.0
"""Transactions, savepoints, snapshots, files that are opened again."""

import os
import pathlib
import uuid

import numpy as np
import pytest
from conftest import make_it_log

import piramiddb

V = [1.0, 2.0, 3.0, 4.0]


def test_commit_at_the_end_and_rollback_on_an_exception(db, docs):
    with db.transaction() as tx:
        inside = tx.collection(docs)
        inside.insert("a", V)
        assert inside.count() == 1
        assert docs.count() == 0
    assert tx.closed
    assert docs.count() == 1
    with pytest.raises(ZeroDivisionError), db.transaction() as tx:
        tx.collection("docs").insert("b", V)
        tx.collection("new", dims=3)
        1 / 0
    assert docs.count() == 1
    assert db.collections() == ["docs"]
    tx = db.transaction()
    tx.collection(docs).delete("a")
    tx.rollback()
    tx.rollback()
    assert docs.count() == 1
    tx = db.transaction(sync="async")
    tx.collection(docs).delete("a")
    assert tx.commit() > tx_lsn(db)
    assert docs.count() == 0
    for call in (tx.commit, tx.savepoint, lambda: tx.lsn, tx.collections,
                 lambda: tx.collection(docs)):
        with pytest.raises(piramiddb.ClosedError, match="ended"):
            call()


def tx_lsn(db):
    with db.read() as snap:
        return snap.lsn - 1


def test_a_commit_inside_the_block_is_the_end(db, docs):
    with db.transaction() as tx:
        tx.collection(docs).insert("a", V)
        tx.commit()
    assert docs.count() == 1
    with pytest.raises(KeyError), db.transaction() as tx:
        tx.collection(docs).insert("b", V)
        tx.commit()
        raise KeyError
    assert docs.count() == 2


def test_writing_beside_an_open_transaction_is_refused_at_once(db, docs):
    with db.transaction() as tx:
        with pytest.raises(piramiddb.MisuseError, match="write transaction"):
            docs.insert("a", V)
        with pytest.raises(piramiddb.MisuseError):
            db.transaction()
        tx.collection(docs).insert("a", V)
    assert docs.count() == 1


def test_a_refused_call_leaves_the_transaction_usable(db, docs):
    with db.transaction() as tx:
        inside = tx.collection(docs)
        inside.insert("a", V)
        for wrong in ([np.nan] * 4, [1, 2]):
            with pytest.raises(ValueError):
                inside.insert("b", wrong)
        with pytest.raises(piramiddb.ExistsError):
            inside.insert("a", V)
        large = np.zeros((50_000, 4), np.float32)
        large[-1, 0] = np.inf
        with pytest.raises(piramiddb.MisuseError, match="record 49999"):
            inside.insert(np.arange(50_000).astype(str), large)
        assert inside.count() == 1
        inside.insert("b", V)
    assert [record.id for record in docs] == ["a", "b"]


def test_savepoints(db, docs):
    with db.transaction() as tx:
        inside = tx.collection(docs)
        with tx.savepoint():
            inside.insert("a", V)
        with pytest.raises(ZeroDivisionError), tx.savepoint():
            inside.insert("b", V)
            1 / 0
        outer = tx.savepoint()
        inside.insert("c", V)
        inner = tx.savepoint()
        inside.insert("d", V)
        inner.rollback()
        assert inside.count() == 2
        outer.rollback()
        with pytest.raises(piramiddb.NotFoundError):
            inner.release()
        outer.release()
        assert repr(outer) == "<Savepoint 1>"
    assert [record.id for record in docs] == ["a"]


def test_a_snapshot_is_one_state(db, docs):
    docs.insert("a", V, {"n": 1})
    with db.read() as snap:
        old = snap.collection(docs)
        docs.upsert(["a", "b"], [V, V], [{"n": 2}, {"n": 3}])
        db.collection("later", dims=2)
        assert (old.count(), docs.count()) == (1, 2)
        assert old["a"].metadata == {"n": 1}
        assert old.search(V).metadata == [{"n": 1}]
        assert len(old.search_many([V, V])[1]) == 1
        assert [record.id for record in old] == ["a"]
        assert old.get("b") is None
        assert snap.collections() == ["docs"]
        with pytest.raises(piramiddb.MisuseError, match="reading"):
            old.insert("c", V)
        with pytest.raises(piramiddb.MisuseError, match="reading"):
            old.insert(np.arange(40_000).astype(str), np.zeros((40_000, 4)))
        with pytest.raises(piramiddb.MisuseError):
            snap.collection("new", dims=3)
        lsn = snap.lsn
    assert lsn > 0
    assert snap.closed
    snap.close()
    for call in (old.count, lambda: old.search(V), lambda: old.search_many([V]),
                 lambda: next(iter(old)), snap.collections):
        with pytest.raises(piramiddb.ClosedError):
            call()


def test_a_walk_ends_with_its_transaction(db, docs):
    docs.insert(["a", "b"], [V, V])
    with db.read() as snap:
        walk = iter(snap.collection(docs))
        assert next(walk).id == "a"
    with pytest.raises(piramiddb.ClosedError):
        next(walk)
    walk.close()


def test_transactions_of_two_databases(db, docs, tmp_path):
    with piramiddb.open(tmp_path / "other.pv") as other, db.transaction() as tx:
        assert other.collections() == []
        with other.transaction() as second:
            second.collection("x", dims=2).insert("a", [1, 2])
        tx.collection(docs).insert("a", V)
    assert docs.count() == 1


def test_what_was_written_is_there_again(path):
    with piramiddb.open(path) as db:
        docs = db.collection("docs", dims=4, metric="dot", key="int")
        docs.insert([1, 2], [V, V], [{"n": 1}, None])
        identity = db.stats().uuid
    assert sorted(p.name for p in path.parent.iterdir()) == ["t.pv"]
    with piramiddb.open(path, create=False) as db:
        docs = db.collection("docs")
        assert (docs.dims, docs.metric, docs.key, docs.count()) == (4, "dot", "int", 2)
        assert docs[1].metadata == {"n": 1}
        assert docs[2].vector.tolist() == V
        assert db.stats().uuid == identity
        assert isinstance(identity, uuid.UUID)
    with piramiddb.open(path, readonly=True) as db:
        assert db.collection("docs", dims=4, metric="dot", key="int").count() == 2
        with pytest.raises(piramiddb.ReadOnlyError):
            db.collection("docs").delete([1])
        with pytest.raises(piramiddb.ReadOnlyError):
            db.transaction()
        with pytest.raises(piramiddb.ReadOnlyError):
            db.checkpoint()


@pytest.mark.parametrize("form", [str, os.fsencode, pathlib.Path, lambda p: FsPath(p)])
def test_every_form_of_a_path(tmp_path, form):
    name = tmp_path / "döcs.pv"
    with piramiddb.open(form(name)) as db:
        assert db.path == str(name)
        assert "döcs.pv" in repr(db)
    assert name.exists()


class FsPath:
    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return os.fsencode(self.path)


def test_opening_what_cannot_be_opened(path, tmp_path):
    with pytest.raises(piramiddb.NotFoundError):
        piramiddb.open(path, create=False)
    with pytest.raises(piramiddb.NotFoundError):
        piramiddb.open(path, readonly=True)
    (tmp_path / "text.pv").write_text("no database at all\n" * 1000)
    with pytest.raises(piramiddb.FormatError):
        piramiddb.open(tmp_path / "text.pv")
    assert (tmp_path / "text.pv").read_text().startswith("no database")
    with pytest.raises((piramiddb.CantOpenError, piramiddb.StorageError)):
        piramiddb.open(tmp_path)
    with pytest.raises(ValueError, match="NUL"):
        piramiddb.open("a\0b")
    with pytest.raises(piramiddb.MisuseError):
        piramiddb.open("")
    with pytest.raises(TypeError):
        piramiddb.open(5)
    for wrong in ({"sync": "never"}, {"compression": "rar"}, {"busy_timeout": 0}):
        with pytest.raises(ValueError):
            piramiddb.open(path, **wrong)
    with pytest.raises(piramiddb.LimitError):
        piramiddb.open(path, threads=5000)
    assert not path.exists()


def test_one_handle_at_a_time(db, path):
    with pytest.raises(piramiddb.BusyError, match=str(os.getpid())):
        piramiddb.open(path, wait=False)
    with pytest.raises(piramiddb.BusyError):
        piramiddb.open(path, busy_timeout=0.05)


def test_compression_is_refused_where_the_build_has_none(path):
    try:
        with piramiddb.open(path, compression="zstd") as db:
            db.collection("docs", dims=2).insert("a", [1, 2], {"x": "y" * 1000})
    except piramiddb.UnsupportedError as problem:
        assert "zstd" in str(problem)


def test_options_reach_the_library(path):
    lines = []
    with piramiddb.open(path, cache_bytes=32 << 20, threads=1, sync="async", log_level=4,
                        checkpoint_bytes=1 << 20,
                        log=lambda *line: lines.append(line)) as db:
        docs = db.collection("docs", dims=128, index="flat")
        assert db.stats().cache_limit == 32 << 20
        for i in range(8):
            docs.insert([f"{i}-{j}" for j in range(1000)], np.ones((1000, 128), np.float32))
        db.checkpoint()
        assert db.stats().checkpoints > 0
        make_it_log(path)
    [(level, category, message)] = lines
    assert (level, category) == (3, "store")
    assert "t.pv-wal" in message
    with pytest.raises(piramiddb.NoMemoryError), \
            piramiddb.open(path, memory_limit_bytes=8 << 20) as db:
        db.collection("docs").get_many([f"0-{j}" for j in range(1000)] * 100)


def test_figures_and_checks(db, docs, path):
    docs.insert("a", V)
    before = db.stats()
    docs.insert("b", V)
    after = db.stats()
    assert after.commits == before.commits + 1
    assert after.lsn > before.lsn
    assert after.db_checksum != before.db_checksum
    assert db.check() == []
    assert db.check(deep=True) == []


def test_damage_is_found_and_named(path):
    with piramiddb.open(path) as db:
        docs = db.collection("docs", dims=64, key="int")
        docs.insert(np.arange(2000), np.random.default_rng(1).random((2000, 64), np.float32))
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 2, len(data) // 2 + 4096, 512):
        data[at] ^= 0xFF
    path.write_bytes(data)
    with piramiddb.open(path) as db:
        try:
            findings = db.check(deep=True)
        except piramiddb.CorruptError as problem:
            findings = [piramiddb.Finding(None, None, str(problem))]
        assert findings
        assert all(finding.message for finding in findings)
        with pytest.raises(piramiddb.CorruptError):
            db.collection("docs").search_many(np.ones((1, 64)), k=10)
