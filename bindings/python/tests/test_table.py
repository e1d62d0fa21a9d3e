# SPDX-License-Identifier: Apache-2.0
"""The table of the README: every function of pv.h has a row, its Python is there and calls it."""

import functools
import gc
import pathlib
import re

import numpy as np
import pytest

import piramiddb
from piramiddb import _rows, collection, database, errors, results
from piramiddb._native import lib

HERE = pathlib.Path(__file__).resolve().parent.parent
README = (HERE / "README.md").read_text(encoding="utf-8")
HEADER = (HERE / "csrc/pv.h").read_text(encoding="utf-8")
GLUE = (HERE / "csrc/glue.c").read_text(encoding="utf-8")
ROWS_C = (HERE / "csrc/rows.c").read_text(encoding="utf-8")
HANDED_OVER = dict(re.findall(r"^ +\.(\w+) = (\w+),$", GLUE, re.M))  # to rows.c, by glue.c
FUNCTIONS = re.findall(r"^PV_EXTERN [^;]*?\b(pv_\w+)\(", HEADER, re.M)
ROWS = [(re.findall(r"`(pv_\w+)`", left), right.strip()) for left, right in
        re.findall(r"^\| (`pv_\w+`[^|]*)\|([^|]*)\|$", README, re.M)]


def bound():
    return {name for names, right in ROWS for name in names if not right.startswith("not bound: ")}


def test_every_function_has_one_row():
    listed = [name for names, _ in ROWS for name in names]
    assert sorted(listed) == sorted(FUNCTIONS)
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize(("names", "right"), ROWS, ids=lambda value: str(value)[:40])
def test_the_python_of_a_row_exists_or_a_reason_stands_there(names, right):
    if right.startswith("not bound: "):
        assert len(right) > 30
        return
    methods = re.findall(r"`([\w.]+)`", right)
    assert methods
    for method in methods:
        found = functools.reduce(getattr, method.split("."), piramiddb)
        assert method.startswith("__") or found.__doc__ or callable(found), method


def glue_calls():
    """What each function of glue.c and rows.c calls of pv.h, also through others of them."""
    bodies = {}
    text = GLUE + re.sub(r"\brows_c->(\w+)", lambda found: HANDED_OVER[found[1]], ROWS_C)
    function = r"^(?:static )?\w[\w ]*?\*?(\w+)\([^;{}]*\) \{(?: (.*?) \}$|\n(.*?)^\})"
    for found in re.finditer(function, text, re.M | re.S):
        bodies[found[1]] = set(re.findall(r"\b((?:pv|pvpy|glue|rows)_\w+)\b",
                                          found[2] or found[3]))
    done = False
    while not done:
        done = True
        for name, used in bodies.items():
            more = set().union(*(bodies.get(other, ()) for other in used)) - used
            if more:
                bodies[name] = used | more
                done = False
    return {name: {u for u in used if u in FUNCTIONS} for name, used in bodies.items()}


class Recorder:
    """The library's functions, each noted when it is called."""

    def __init__(self):
        self.called = set()

    def __getattr__(self, name):
        value = getattr(lib, name)
        if not callable(value) or not name.startswith(("pv_", "pvpy_")) or \
                name in {"pvpy_interrupt", "pvpy_log", "pvpy_finding"}:
            return value

        def note(*args):
            self.called.add(name)
            return value(*args)

        # What is handed to C as a destructor is called from there.
        return note

    def watch(self, name, function):
        """A function of rows.c that is noted by its name there."""
        def note(*args):
            self.called.add(name)
            return function(*args)

        return note


def use_everything(path):
    """Each method of the table once."""
    assert piramiddb.version_number() > 0
    assert piramiddb.build_option("compiler")
    vectors = np.eye(3, dtype=np.float32)
    with piramiddb.open(path) as db:
        db.create_collection("made", 3).drop()
        docs = db.collection("docs", dims=3)
        numbers = db.collection("numbers", dims=3, key="int")
        assert db.collections() == ["docs", "numbers"]
        docs.insert(["a", "b", "c"], vectors, [{"n": 1}, {"n": 2}, {"n": 3}])
        docs.upsert("a", vectors[0])
        docs.update("a", metadata={"n": 7})
        numbers.insert([1, 2, 3], vectors)
        for collection_, one in ((docs, "b"), (numbers, 2)):
            assert collection_.get(one).vector[1] == 1
            assert collection_.get_many([one]).found.all()
            assert collection_.get_many([one])[0].metadata is not None
            found = collection_.search(vectors[1], k=2, vectors=True)
            assert found.ids[0] == one
            assert found[0].metadata is not None
            assert found.scores[0] == 1
            assert found.plan == "scan"
            assert found.error == 0
            with collection_.cursor(vectors[1]) as cursor:
                assert cursor.next_page(1).ids[0] == one
                assert next(cursor).id != one
            assert found.distances[0] == 0
            assert found.vectors.shape == (2, 3)
            many = collection_.search_many(vectors, k=1)
            assert many.ids[1, 0] == one
            assert many.scores.shape == many.distances.shape == (3, 1)
            assert many.counts.sum() == len(many[1]) * 3
            with collection_.iterate() as walk:
                assert next(walk).metadata is not None
                assert next(walk).id == one
            assert collection_.delete([one]) == 1
        assert docs.count({"n": 7}) == 1
        assert docs.delete(where={"n": 3}) == 1
        del docs["a"]
        del numbers[1]
        with db.transaction() as tx:
            tx.collection(docs).insert("x", vectors[0])
            point = tx.savepoint()
            point.rollback()
            point.release()
            assert tx.lsn > 0
        db.transaction().rollback()
        with db.read() as snap:
            assert snap.lsn > 0
        assert docs.info().count == 1
        db.checkpoint()
        assert db.check() == []
        assert db.stats().commits > 0
    errors.lib.pvpy_err().message = b""
    with pytest.raises(piramiddb.BusyError):
        errors.fail(lib.PV_ERR_BUSY)


def test_every_bound_function_is_executed(path, monkeypatch):
    recorder = Recorder()
    for module in (piramiddb, collection, database, errors, results):
        monkeypatch.setattr(module, "_lib" if module is piramiddb else "lib", recorder)
    monkeypatch.setattr(collection, "_search", recorder.watch("module_search", _rows.search))
    for name in ("own", "view"):
        monkeypatch.setattr(_rows, name, recorder.watch(f"module_{name}", getattr(_rows, name)))
    for name in ("keys", "numbers", "scores", "distances", "hits", "distance"):
        note = recorder.watch(f"rows_{name}", getattr(_rows.Rows, name))
        monkeypatch.setattr(_rows.Rows, name, note)
    for name in ("_INSERT", "_UPSERT", "_UPDATE"):
        kind = getattr(collection, name)
        function = {"_INSERT": "pv_insert_batch", "_UPSERT": "pv_upsert_batch",
                    "_UPDATE": "pv_update_batch"}[name]
        monkeypatch.setattr(collection, name, kind._replace(function=getattr(recorder, function)))
    use_everything(path)
    gc.collect()
    recorder.pv_version_string()  # when the module is imported
    through = glue_calls()
    called = set()
    for name in recorder.called:
        called |= {name} if name in FUNCTIONS else through.get(name, set())
    assert bound() - called == set()
    assert called - bound() == set()


def test_a_function_that_is_not_called_would_be_noticed():
    assert glue_calls()["module_search"] >= {"pv_search", "pv_results_count"}
    assert "pv_results_scores" not in glue_calls()["module_search"]
    assert glue_calls()["rows_distance"] == {"pv_results_distances"}
    assert "pv_close" in glue_calls()["pvpy_drop_db"]
    assert "pv_close" not in glue_calls()["pvpy_search_with"]


def test_exceptions_of_the_readme_are_all_there():
    section = README.split("## Errors")[1].split("##")[0]
    assert set(re.findall(r"`(\w+Error)`", section)) >= \
        {cls.__name__ for cls in errors.Error.__subclasses__()}
