# SPDX-License-Identifier: Apache-2.0
"""Exceptions, closed handles, forked children, callbacks, freeing in any order."""

import builtins
import gc
import itertools
import os
import pathlib
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import weakref

import numpy as np
import pytest
from conftest import make_it_log

import piramiddb
from piramiddb import errors
from piramiddb._native import ffi, lib

V = [1.0, 2.0, 3.0, 4.0]
CODES = sorted(name for name in dir(lib) if name.startswith("PV_ERR_"))


def run(source, *args):
    """A Python program of its own; its output, or fails with what it said."""
    done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(source),
                           *map(str, args)], capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert "Fatal" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", CODES)
def test_each_code_has_one_exception(name):
    code = getattr(lib, name)
    classes = [cls for cls in errors.Error.__subclasses__() if cls.code == code]
    assert len(classes) == 1
    [cls] = classes
    assert cls.__name__ in piramiddb.__all__
    assert cls.__doc__
    error = lib.pvpy_err()
    error.code = code
    error.sys_errno = 28
    error.record_index = lib.PV_ID_NONE
    error.message = "über: the message".encode()
    with pytest.raises(cls) as caught:
        errors.fail(code)
    assert str(caught.value) == "über: the message"
    assert (caught.value.code, caught.value.record_index) == (code, None)
    if issubclass(cls, OSError):
        assert caught.value.errno == 28
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.code, type(copy)) == (str(caught.value), code, cls)


def test_every_code_of_the_header_is_covered():
    assert len(CODES) == len(errors.BY_CODE) == len(errors.Error.__subclasses__())
    header = (pathlib.Path(__file__).parent.parent / "csrc/pv.h").read_text()
    assert set(re.findall(r"#define (PV_ERR_\w+)", header)) == set(CODES)


@pytest.mark.parametrize(("cls", "base"), [
    ("NotFoundError", "KeyError"), ("StorageError", "OSError"), ("NoMemoryError", "MemoryError"),
    ("TimedOutError", "TimeoutError"), ("PermError", "PermissionError"),
    ("UnsupportedError", "NotImplementedError"), ("DimsError", "ValueError"),
    ("MisuseError", "ValueError"), ("FormatError", "ValueError"), ("ClosedError", "ValueError"),
])
def test_exceptions_are_also_those_of_python(cls, base):
    assert issubclass(getattr(piramiddb, cls), getattr(builtins, base))


def test_an_error_without_a_message_has_the_text_of_its_code():
    error = lib.pvpy_err()
    error.message = b""
    with pytest.raises(piramiddb.BusyError) as caught:
        errors.fail(lib.PV_ERR_BUSY)
    assert str(caught.value) == ffi.string(lib.pv_error_text(lib.PV_ERR_BUSY)).decode()


# ---- use after close -------------------------------------------------------------------------


def test_everything_is_refused_after_close(path):
    db = piramiddb.open(path)
    docs = db.collection("docs", dims=4)
    docs.insert("a", V)
    tx, snap, walk = db.transaction(), db.read(), iter(docs)
    inside = tx.collection(docs)
    inside.insert("b", V)
    point = tx.savepoint()
    tx_walk = iter(snap.collection(docs))
    hits, record = docs.search(V), docs["a"]
    assert not db.closed
    db.close()
    db.close()
    assert db.closed
    calls = [
        lambda: docs.insert("c", V), lambda: docs.search(V), lambda: docs.search_many([V]),
        docs.count, lambda: docs["a"], lambda: docs.get("a"), lambda: docs.get_many(["a"]),
        lambda: docs.delete("a"), lambda: docs.delete(where={}), docs.info, docs.drop,
        docs.iterate, lambda: docs.update("a", V), lambda: "a" in docs,
        db.stats, db.check, db.checkpoint, db.collections, db.read, db.transaction,
        lambda: db.collection("docs"), lambda: db.collection("new", dims=2),
        lambda: db.drop_collection("docs"), tx.commit, lambda: inside.count(),
        point.rollback, snap.collections, lambda: next(tx_walk),
    ]
    for call in calls:
        with pytest.raises(piramiddb.ClosedError):
            call()
    assert next(walk).id == "a"  # begun before, over a state of its own
    assert list(walk) == []
    snap.close()
    tx.rollback()
    assert hits[0].metadata == record.metadata == {}
    with piramiddb.open(path) as db:
        assert db.collection("docs").count() == 1  # the open transaction was rolled back


@pytest.mark.parametrize("order", list(itertools.permutations(range(5), 5))[::7])
def test_handles_are_freed_in_any_order(path, order):
    db = piramiddb.open(path)
    docs = db.collection("docs", dims=4)
    docs.upsert(["a", "b"], [V, V])
    things = [db, db.transaction(), db.read(), iter(docs), docs.search(V)]
    del db, docs
    next(things[3])
    for at in order:
        things[at] = None
        gc.collect()
    with piramiddb.open(path) as db:
        assert db.collection("docs").count() == 2


def test_a_database_that_is_dropped_is_closed_at_once(path):
    db = piramiddb.open(path)
    with pytest.warns(ResourceWarning, match="not closed"):
        del db
    assert sorted(p.name for p in path.parent.iterdir()) == ["t.pv"]


def test_a_cycle_of_handles_is_collected(path):
    db = piramiddb.open(path)
    tx = db.transaction()
    db.me, tx.db = tx, db
    tx.collection("docs", dims=4).insert("a", V)
    gone = weakref.ref(tx)
    del db, tx
    with pytest.warns(ResourceWarning, match="not closed"):
        gc.collect()
    assert gone() is None
    with piramiddb.open(path) as db:
        assert db.collections() == []


def test_an_open_database_is_closed_when_the_program_ends(path):
    run("""
        import sys, piramiddb
        db = piramiddb.open(sys.argv[1], log=lambda *line: None, log_level=4)
        docs = db.collection("docs", dims=4)
        docs.insert("a", [1, 2, 3, 4])
        tx = db.transaction()
        tx.collection(docs).insert("b", [1, 2, 3, 4])
        walk = iter(docs)
        next(walk)
    """, path)
    assert sorted(p.name for p in path.parent.iterdir()) == ["t.pv"]
    with piramiddb.open(path) as db:
        assert db.collection("docs").count() == 1


# ---- fork ------------------------------------------------------------------------------------


def test_a_forked_child_is_told_and_cannot_harm(path):
    out = run("""
        import os, sys, traceback, piramiddb
        V = [1, 2, 3, 4]
        db = piramiddb.open(sys.argv[1])
        docs = db.collection("docs", dims=4)
        docs.insert("a", V)
        tx, snap, walk, hits = db.transaction(), db.read(), iter(docs), docs.search(V)
        inside = tx.collection(docs)
        inside.insert("b", V)
        pid = os.fork()
        if pid == 0:
            calls = [docs.count, lambda: docs.insert("c", V), lambda: docs.search(V), db.check,
                     db.stats, lambda: next(walk), inside.count, tx.savepoint, snap.collections,
                     lambda: docs.search_many([V]), db.read, db.transaction, tx.commit]
            code = 0
            for call in calls:
                try:
                    call()
                    print("no error:", call)
                    code = 1
                except piramiddb.MisuseError as error:
                    assert "fork" in str(error), error
            assert hits[0].id == "a"
            walk.close(); snap.close(); tx.rollback(); db.close(); db.close()
            with piramiddb.open(sys.argv[1] + "2") as other:
                other.collection("x", dims=2).insert("y", [1, 2])
            print("child is done", flush=True)
            sys.exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        tx.commit()
        assert docs.count() == 2 and next(walk).id == "a" and db.check(deep=True) == []
        db.close()
        print("parent is done")
    """, path)
    assert "child is done" in out
    assert "parent is done" in out


def test_a_child_that_just_exits_leaves_the_parent_alone(path):
    run("""
        import os, sys, threading, piramiddb
        db = piramiddb.open(sys.argv[1])
        docs = db.collection("docs", dims=4)
        tx = db.transaction()
        tx.collection(docs).insert("a", [1, 2, 3, 4])
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                del tx, docs, db
                sys.exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        tx.commit()
        assert docs.count() == 1
        db.close()
    """, path)


# ---- callbacks -------------------------------------------------------------------------------


def test_a_log_function_that_raises_harms_nothing(path, capsys):
    def log(level, category, message):
        raise ZeroDivisionError("in the log function")

    with piramiddb.open(path, log=log, log_level=4) as db:
        docs = db.collection("docs", dims=4)
        docs.insert("a", V)
        make_it_log(path)
    assert "in the log function" in capsys.readouterr().err


def test_the_library_may_not_be_called_from_its_callbacks(path):
    caught = []

    def log(level, category, message):
        for call in (db.stats, docs.count, lambda: docs.search(V), db.close, db.transaction,
                     lambda: piramiddb.open(":memory:"), lambda: docs.insert("x", V)):
            try:
                call()
            except piramiddb.MisuseError as error:
                caught.append(str(error))

    db = piramiddb.open(path, log=log, log_level=4, threads=1)
    docs = db.collection("docs", dims=4)
    docs.insert("a", V)
    make_it_log(path)
    db.close()
    assert len(caught) == 7
    assert all("callback" in text for text in caught)


def test_garbage_collected_inside_a_callback_is_freed_later(path, tmp_path):
    other = piramiddb.open(tmp_path / "other.pv")

    class Holder:
        pass

    def log(level, category, message):
        if holders:
            holders.clear()
            gc.collect()

    holders = []
    with piramiddb.open(path, log=log, log_level=4, threads=1) as db:
        docs = db.collection("docs", dims=4)
        holder = Holder()
        holder.me, holder.tx = holder, other.transaction()
        gone = weakref.ref(holder)
        holders.append(holder)
        del holder
        docs.insert("a", V)
        make_it_log(path)
        db.close()
        assert gone() is None
        with other.transaction(wait=False) as tx:  # its writer was let go of on the way
            tx.collection("x", dims=2)
    other.close()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
def test_a_signal_handler_may_not_close_under_a_running_call(path):
    out = run("""
        import signal, sys, numpy as np, piramiddb
        db = piramiddb.open(sys.argv[1])
        docs = db.collection("docs", dims=64, index="flat")
        docs.insert(vectors=np.ones((20000, 64), np.float32))
        def handler(*_):
            db.close()
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            while True:
                docs.search_many(np.ones((3000, 64), np.float32))
        except piramiddb.MisuseError as error:
            print("refused:", error)
        except piramiddb.ClosedError:
            print("refused: it came between two calls")
        if not db.closed:
            assert docs.count() == 20000
            db.close()
    """, path)
    assert "refused:" in out


def test_arguments_of_the_wrong_kind(db, docs):
    docs.insert("a", V)
    for call in (lambda: docs.search(None), lambda: docs.search("abcd"),
                 lambda: docs.search(V, "x"), lambda: docs.count(5),
                 lambda: docs.insert(object(), V),
                 lambda: docs.insert(["a"], V, 7), lambda: docs.get_many(None),
                 lambda: docs.delete(5.5), lambda: docs.iterate(after=5),
                 lambda: db.collection(None), lambda: docs.search_many(None),
                 lambda: docs.search(V, max_distance="x")):
        with pytest.raises((TypeError, ValueError)):
            call()
    assert docs.count() == 1
    assert np.array_equal(docs["a"].vector, V)
    assert os.getpid() > 0
