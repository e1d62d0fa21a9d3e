# SPDX-License-Identifier: Apache-2.0
"""Element types and metrics: what goes in, what comes out, and distances against numpy."""

import numpy as np
import pytest

import piramiddb
from piramiddb import _convert as convert

DIMS = 43
RNG = np.random.default_rng(7)
FLOATS = RNG.standard_normal((60, DIMS))
ROWS = {
    "f32": FLOATS.astype(np.float32),
    "f16": FLOATS.astype(np.float16),
    "i8": (FLOATS * 40).round().clip(-128, 127).astype(np.int8),
    "bit": FLOATS > 0,
}


def cosine(a, b):
    return 1 - (b @ a) / (np.linalg.norm(a) * np.linalg.norm(b, axis=1))


DISTANCES = {
    "l2": lambda a, b: np.linalg.norm(b - a, axis=1),
    "cosine": cosine,
    "dot": lambda a, b: -(b @ a),
    "l1": lambda a, b: np.abs(b - a).sum(axis=1),
    "hamming": lambda a, b: (a != b).sum(axis=1),
    "jaccard": lambda a, b: 1 - (a * b).sum(axis=1) / np.maximum(a, b).sum(axis=1),
}
SPACES = [(dtype, metric) for dtype in ("f32", "f16", "i8") for metric in
          ("l2", "cosine", "dot", "l1")] + [("bit", "hamming"), ("bit", "jaccard")]


@pytest.fixture
def db():
    with piramiddb.open(":memory:") as database:
        yield database


@pytest.mark.parametrize("index", ["flat", "hnsw", "ivf"])
@pytest.mark.parametrize(("dtype", "metric"), SPACES)
def test_search_against_numpy(db, dtype, metric, index):
    rows = ROWS[dtype]
    c = db.collection("c", dims=DIMS, dtype=dtype, metric=metric, key="int", index=index)
    c.insert(np.arange(60), rows)
    assert (c.dtype, c.metric, c.info().dtype) == (dtype, metric, dtype)
    wide = rows.astype(np.float64)
    for query in (3, 17):
        want = DISTANCES[metric](wide[query], wide)
        found = c.search(rows[query], k=20, exact=index == "flat", vectors=True)
        np.testing.assert_allclose(found.distances, np.sort(want)[:20], rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(found.distances, want[found.ids], rtol=2e-5, atol=2e-5)
        stored = np.packbits(rows, axis=1) if dtype == "bit" else rows
        assert found.vectors.dtype == stored.dtype
        np.testing.assert_array_equal(found.vectors, stored[found.ids])
        np.testing.assert_array_equal(found[0].vector, stored[found[0].id])
        np.testing.assert_array_equal(c[query].vector, stored[query])
        if dtype != "bit":
            np.testing.assert_array_equal(c.cursor(rows[query]).next_page(5).ids, found.ids[:5])
    np.testing.assert_array_equal(c.search_many(rows[:5], k=3).ids[:, 0],
                                  [c.search(row, k=1).ids[0] for row in rows[:5]])
    walked = np.array([record.vector for record in c])
    np.testing.assert_array_equal(walked, np.packbits(rows, axis=1) if dtype == "bit" else rows)
    assert db.check(deep=True) == []


@pytest.mark.parametrize("dtype", ["f16", "i8", "bit"])
def test_own_type_is_read_where_it_is(dtype):
    element = convert.ELEMENTS[dtype]
    rows = np.packbits(ROWS[dtype], axis=1) if dtype == "bit" else ROWS[dtype]
    for array in (rows, rows[::2]):
        taken = convert.rows(array, element, DIMS)
        assert taken.keep is array
        assert (taken.length, taken.dims, taken.stride) == (len(array), DIMS, array.strides[0])


def test_packed_and_plain_bits_are_the_same(db):
    c = db.collection("c", dims=DIMS, dtype="bit", metric="jaccard", key="int")
    plain = ROWS["bit"]
    packed = np.packbits(plain, axis=1)
    c.insert(np.arange(20), plain[:20])
    c.insert(np.arange(20, 40), packed[20:40])
    c.insert(40, packed[40])
    c.insert(41, plain[41].tolist())
    np.testing.assert_array_equal(c.get_many(range(42)).vectors, packed[:42])
    for query in (plain[5], packed[5], plain[5].tolist()):
        assert c.search(query, k=1)[0].id == 5


def test_rounding_to_f16_is_numpys(db):
    c = db.collection("c", dims=4, dtype="float16", metric="l2", key="int")
    given = [[0.1, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 65519]]
    c.insert([1], given)
    np.testing.assert_array_equal(c[1].vector, np.array(given[0], np.float16))
    with pytest.raises(piramiddb.MisuseError, match="infinity at position 3"):
        c.insert([2], [[0, 0, 0, 65520.0]])


def test_i8_takes_integers_alone(db):
    c = db.collection("c", dims=3, dtype="int8", metric="dot", key="int")
    c.insert([1, 2], [[1, -128, 127], [0, 0, 5]])
    np.testing.assert_array_equal(c[1].vector, np.array([1, -128, 127], np.int8))
    with pytest.raises(TypeError, match="float64, wanted integers"):
        c.insert([3], [[0.5, 1.0, 2.0]])
    with pytest.raises(ValueError, match="from 0 to 128, wanted integers from -128 to 127"):
        c.insert([3], [[0, 1, 128]])
    with pytest.raises(TypeError, match="wanted integers"):
        c.search(np.ones(3, np.float32))
    assert c.count() == 2
    assert c.search([0, 0, 1], k=1)[0].id == 1


def test_bits_of_another_length_are_refused(db):
    c = db.collection("c", dims=12, dtype="bit", metric="hamming", key="int")
    with pytest.raises(piramiddb.DimsError, match="11 dimensions"):
        c.insert(1, np.ones(11, bool))
    with pytest.raises(piramiddb.DimsError, match="11 dimensions"):
        c.search(np.ones(11, bool))
    with pytest.raises(piramiddb.DimsError, match="24 dimensions"):
        c.insert([1], np.ones((1, 3), np.uint8))
    with pytest.raises(piramiddb.MisuseError, match="a bit behind the last at position 15"):
        c.insert([1], np.array([[255, 0xF1]], np.uint8))
    with pytest.raises(TypeError, match="float64, wanted booleans"):
        c.insert([1], np.ones((1, 12)))
    with pytest.raises(TypeError, match="int64, wanted booleans"):
        c.insert([1], np.ones((1, 12), np.int64))


def test_what_does_not_go_together(db):
    with pytest.raises(piramiddb.UnsupportedError, match="metric l2 does not go with"):
        db.collection("c", dims=8, dtype="bit", metric="l2")
    with pytest.raises(piramiddb.UnsupportedError, match="code pq does not go with"):
        db.collection("c", dims=8, metric="l1", code="pq")
    with pytest.raises(piramiddb.UnsupportedError, match="bf16"):
        db.collection("c", dims=8, dtype="bf16")
    with pytest.raises(ValueError, match="wanted one of"):
        db.collection("c", dims=8, dtype="float8")
