# SPDX-License-Identifier: Apache-2.0
"""The usual search and the rows of an answer, which are C by hand (csrc/rows.c)."""

import gc
import sys

import numpy as np
import pytest

import piramiddb
from piramiddb import _rows

VECTORS = np.arange(30, dtype=np.float32).reshape(10, 3)


@pytest.fixture(params=["str", "int"])
def filled(request, db):
    docs = db.collection("c", dims=3, metric="l2", key=request.param)
    ids = np.arange(10) if request.param == "int" else [f"\u00e4-{i}" + "x" * i for i in range(10)]
    docs.insert(ids, VECTORS, [{"n": i} for i in range(10)])
    return docs, list(ids)


def test_all_ways_of_asking_give_the_same(filled):
    docs, ids = filled
    gaps = np.zeros((3, 2), np.float32)
    gaps[:, 0] = VECTORS[4]
    backwards = VECTORS[4, ::-1].copy()[::-1]
    asked = [VECTORS[4], gaps[:, 0], backwards, VECTORS[4].tolist(), VECTORS[4].astype(np.float64),
             memoryview(VECTORS[4]), np.asfortranarray(VECTORS)[4]]
    wanted = docs.search(VECTORS[4], 4, exact=True)
    assert wanted.ids[0] == ids[4]
    for vector in asked:
        for k in (4, np.int64(4), True + 3):
            found = docs.search(vector, k)
            assert found.ids.tolist() == wanted.ids.tolist()
            assert found.scores.tobytes() == wanted.scores.tobytes()
            assert found.distances.tobytes() == wanted.distances.tobytes()
            assert [hit.id for hit in found] == wanted.ids.tolist()
            assert [hit.score for hit in found] == [found[i].score for i in range(4)]
            assert [hit.distance for hit in found] == wanted.distances.tolist()


@pytest.mark.parametrize(("k", "error"), [
    (0, piramiddb.MisuseError), (-1, piramiddb.MisuseError), (16385, piramiddb.LimitError),
    (2 ** 40, piramiddb.LimitError), (2 ** 70, OverflowError), (2.0, TypeError),
    ("2", TypeError), (None, TypeError)])
@pytest.mark.parametrize("options", [{}, {"filter": {}}])
def test_a_k_that_is_none(filled, k, error, options):
    with pytest.raises(error):
        filled[0].search(VECTORS[0], k, **options)


def test_refusals_of_the_library_arrive(filled):
    docs, _ = filled
    with pytest.raises(piramiddb.MisuseError, match=r"(?i)nan"):
        docs.search(np.array([1, np.nan, 0], np.float32))
    with pytest.raises(piramiddb.DimsError, match="2 dimensions"):
        docs.search(np.zeros(2, np.float32))
    docs.drop()
    with pytest.raises(piramiddb.NotFoundError):
        docs.search(VECTORS[0])


def test_columns_cannot_be_written_and_outlive_their_rows(filled):
    docs, ids = filled
    found = docs.search(VECTORS[2], 10)
    keys, scores, distances = found.ids, found.scores, found.distances
    batch = docs.search_many(VECTORS, 2)
    one = batch[3]
    del found, batch
    gc.collect()
    assert not scores.flags.writeable
    assert keys[0] == ids[2]
    assert (distances == -scores).all()
    assert one.ids[0] == ids[3]
    assert one[0].metadata == {"n": 3}


def test_an_empty_answer(db):
    for key in ("str", "int"):
        found = db.collection(key, dims=3, key=key).search(VECTORS[0])
        assert (len(found), list(found), found[:2]) == (0, [], [])
        assert found.ids.shape == found.scores.shape == found.distances.shape == (0,)
        assert found.ids.dtype == (np.uint64 if key == "int" else object)
        with pytest.raises(IndexError):
            found[0]


def test_rows_by_hand_are_safe(filled):
    rows = _rows.Rows()
    assert (rows.count, rows.texts, rows.address(), rows.keys()) == (0, False, 0, [])
    assert rows.numbers() == rows.scores() == rows.distances() == b""
    assert rows.hits(_rows.Hit, rows, 0, 0) == []
    found = filled[0].search(VECTORS[0], 3)
    real = found._rows
    assert isinstance(real.distance(2), float)
    for row in (3, -1, 2 ** 62):
        with pytest.raises(IndexError):
            real.distance(row)
        with pytest.raises(IndexError):
            real.hits(_rows.Hit, found, row, 1)
        with pytest.raises(IndexError):
            real.hits(_rows.Hit, found, 1, row)
    for call in (lambda: real.distance("0"), lambda: real.hits(int, found, 0, 1),
                 lambda: real.hits(0, found, 0, 1), lambda: real.hits(_rows.Hit, found)):
        with pytest.raises(TypeError):
            call()
    for call in (lambda: _rows.search(1), lambda: _rows.view(1), lambda: _rows.own("x"),
                 lambda: _rows.view("x", None), lambda: _rows.search(0, b"", 1, None)):
        with pytest.raises(TypeError):
            call()


def test_hits_are_read_only_and_may_have_subclasses(filled):
    docs, ids = filled
    found = docs.search(VECTORS[3], 5)
    hit = found[0]
    assert (hit.id, hit.distance) == (ids[3], 0)
    for name in ("id", "score", "_results", "_row"):
        with pytest.raises(AttributeError):
            setattr(hit, name, 1)
    empty = piramiddb.Hit()
    with pytest.raises(AttributeError):
        empty.id

    class Named(piramiddb.Hit):
        name = "more"

    named = found._rows.hits(Named, found, 1, 4)
    named[0].name = "own"  # it has a dict, and is one that the collector of garbage knows
    named[1].circle = named
    assert [one.id for one in named] == found.ids[1:].tolist()
    plain = found._rows.hits(_rows.Hit, found, 0, 1)[0]
    assert [gc.is_tracked(one) for one in (plain, named[0])] == [False, True]
    del named, plain, hit, found
    gc.collect()


def test_references_are_given_back(filled):
    docs, _ = filled
    batch = docs.search_many(VECTORS, 2)
    vector = VECTORS[1].copy()
    with pytest.raises(OverflowError):
        docs.search(vector, 2 ** 70)

    def references():  # an assert would hold one more
        gc.collect()
        return [sys.getrefcount(thing) for thing in (_rows.Rows, piramiddb.Hit, vector,
                                                     batch._batch)]

    before = references()
    kept = [docs.search(vector, 2) for _ in range(50)] + [batch[1] for _ in range(50)]
    for found in kept:
        _ = found.ids, found.scores, found.distances, list(found), found[1].distance
    hits = [hit for found in kept for hit in found]
    during = references()
    assert during == [before[0] + 100, before[1] + 202, before[2], before[3] + 50]
    del kept, found, hits, _
    after = references()
    assert after == before
