# SPDX-License-Identifier: Apache-2.0
"""Vectors and ids in: what is taken as it is, what is copied, what is refused."""

import array

import numpy as np
import pytest

import piramiddb
from piramiddb import _convert as convert
from piramiddb._native import ffi

F32 = convert.ELEMENTS["f32"]
ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)


class OnlyArray:
    def __init__(self, value):
        self.value = value

    def __array__(self, dtype=None, copy=None):
        return np.array(self.value, dtype=dtype)


class OnlyDLPack:
    """What a tensor of another library shows: DLPack alone."""

    def __init__(self, value):
        self.value = value

    def __dlpack__(self, **kwargs):
        return self.value.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.value.__dlpack_device__()


def address(pointer):
    return int(ffi.cast("uintptr_t", pointer))


GAPLESS = {
    "an array": ROWS,
    "read-only": np.frombuffer(ROWS.tobytes(), np.float32).reshape(3, 4),
    "every second row": np.arange(24, dtype=np.float32).reshape(6, 4)[::2],
    "left columns": np.arange(30, dtype=np.float32).reshape(3, 10)[:, :4],
}


@pytest.mark.parametrize("name", GAPLESS)
def test_gapless_float32_is_read_where_it_is(name):
    vectors = GAPLESS[name]
    rows = convert.rows(vectors, F32, vectors.shape[1])
    assert address(rows.pointer) == vectors.ctypes.data
    assert rows.stride == vectors.strides[0]
    assert (rows.length, rows.dims) == vectors.shape


COPIED = {
    "float64": ROWS.astype(np.float64),
    "float16": ROWS.astype(np.float16),
    "integers": ROWS.astype(np.int32),
    "big-endian": ROWS.astype(">f4"),
    "columns first": np.asfortranarray(ROWS),
    "backwards": ROWS[::-1].copy()[::-1],
    "lists": ROWS.tolist(),
    "tuples": tuple(map(tuple, ROWS.tolist())),
    "a list of arrays": list(ROWS),
    "a list of array.array": [array.array("f", row) for row in ROWS.tolist()],
    "a memoryview": memoryview(ROWS),
    "__array__": OnlyArray(ROWS),
    "DLPack": OnlyDLPack(ROWS),
    "a broadcast": np.broadcast_to(ROWS[1], (3, 4)),
}


@pytest.mark.parametrize("name", [*GAPLESS, *COPIED])
def test_every_form_stores_the_same_vectors(docs, name):
    vectors = {**GAPLESS, **COPIED}[name]
    wanted = np.asarray(vectors.value if hasattr(vectors, "value") else vectors, np.float32)
    docs.insert(["a", "b", "c"], vectors)
    assert np.array_equal(docs.get_many(["a", "b", "c"]).vectors, wanted)
    assert docs.search_many(vectors, k=1).distances.max() == 0
    if isinstance(vectors, (np.ndarray, list, tuple)):
        assert docs.search(vectors[1], k=1).distances[0] == 0


def test_dlpack_is_not_copied_before_it_must_be():
    rows = convert.rows(OnlyDLPack(ROWS), F32, 4)
    assert address(rows.pointer) == ROWS.ctypes.data


def test_a_large_batch_of_float64_is_copied_a_piece_at_a_time(docs, monkeypatch):
    seen = []
    real = convert._as_element
    monkeypatch.setattr(convert, "_as_element",
                        lambda a, *rest: seen.append(a.nbytes) or real(a, *rest))
    docs.insert([str(i) for i in range(50_000)], np.ones((50_000, 4)))
    assert len(seen) > 2
    assert max(seen) <= 2 * convert.PIECE_BYTES
    assert docs.count() == 50_000


@pytest.mark.parametrize(("vectors", "error"), [
    (np.zeros((1, 4), complex), TypeError),
    (np.zeros((1, 4), "U3"), TypeError),
    (np.zeros((1, 4), bool), TypeError),
    (np.zeros((1, 4), "datetime64[s]"), TypeError),
    (np.zeros((1, 4), object), TypeError),
    ([["a", "b", "c", "d"]], TypeError),
    (b"0123", TypeError),
    (np.ma.masked_array(np.zeros((1, 4)), mask=[[1, 0, 0, 0]]), TypeError),
    (np.zeros(4), piramiddb.DimsError),
    (np.zeros((1, 1, 4)), piramiddb.DimsError),
    (np.zeros((1, 5)), piramiddb.DimsError),
    (np.zeros((1, 0)), piramiddb.DimsError),
    ([[1, 2, 3]], piramiddb.DimsError),
    (np.zeros((2, 4)), ValueError),
    (np.array([[0, 0, np.nan, 0]], np.float32), piramiddb.MisuseError),
    (np.array([[0, 0, 0, np.inf]]), piramiddb.MisuseError),
    (np.array([[0, 0, 0, 1e300]]), piramiddb.MisuseError),
    (7, piramiddb.DimsError),
    (None, piramiddb.MisuseError),
])
def test_wrong_vectors_are_refused_and_nothing_is_written(docs, vectors, error):
    with pytest.raises(error) as caught:
        docs.insert(["a"], vectors)
    assert str(caught.value)
    assert docs.count() == 0


def test_the_place_of_a_wrong_record_is_named_over_pieces(docs):
    vectors = np.zeros((40_000, 4), np.float32)
    vectors[33_333, 2] = np.nan
    with pytest.raises(piramiddb.MisuseError, match=r"^record 33333: .*position 2") as caught:
        docs.insert(np.arange(40_000).astype(str), vectors)
    assert caught.value.record_index == 33_333
    assert docs.count() == 0
    ragged = [[0.0] * 4] * 30_000
    ragged[20_000] = [0.0] * 3
    with pytest.raises(piramiddb.DimsError, match=r"vectors\[20000\]"):
        docs.insert([str(i) for i in range(30_000)], ragged)
    assert docs.count() == 0


@pytest.mark.parametrize("query", [np.zeros(3, np.float32), np.zeros((1, 4)), 1.0, [[1, 2, 3, 4]]])
def test_a_query_of_a_wrong_shape(docs, query):
    with pytest.raises(piramiddb.DimsError):
        docs.search(query)
    with pytest.raises((piramiddb.DimsError, TypeError)):
        docs.search_many(query if np.ndim(query) != 2 else np.zeros((2, 5)))


@pytest.mark.parametrize("query", [[np.nan, 0, 0, 0], np.full(4, np.inf, np.float32)])
def test_a_query_that_is_not_finite(docs, query):
    docs.insert("a", [1, 2, 3, 4])
    with pytest.raises(piramiddb.MisuseError, match="position 0"):
        docs.search(query)
    with pytest.raises(piramiddb.MisuseError) as caught:
        docs.search_many(np.array([[1, 2, 3, 4], query]))
    assert caught.value.record_index == 1


def test_query_forms_give_the_same_answer(docs):
    docs.insert(["a", "b", "c"], ROWS)
    wide = np.zeros((4, 3), np.float32)
    wide[:, 1] = ROWS[2]
    for query in (ROWS[2], ROWS[2].tolist(), ROWS[2].astype(np.float64), wide[:, 1],
                  array.array("f", ROWS[2]), OnlyArray(ROWS[2]), OnlyDLPack(ROWS[2].copy()),
                  ROWS[2].astype(">f4")):
        assert docs.search(query, k=1).ids.tolist() == ["c"]


# ---- ids -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", [["a", 1, "c"], [1, 2, 3], ["a", None, b"c"], [1.0, 2.0, 3.0],
                                 np.arange(3), np.arange(3.0), [True, False, True]])
def test_string_keys_take_str_only(docs, ids):
    with pytest.raises(TypeError, match="ids"):
        docs.insert(ids, ROWS)
    assert docs.count() == 0


@pytest.mark.parametrize("ids", [[1, "b", 3], ["a", "b", "c"], [1.0, 2.0, 3.0], [1, True, 2],
                                 np.array(["a", "b", "c"]), np.arange(3.0), [1, None, "x"]])
def test_number_keys_take_integers_only(numbers, ids):
    with pytest.raises(TypeError, match="ids"):
        numbers.insert(ids, ROWS)
    assert numbers.count() == 0


@pytest.mark.parametrize("ids", [[1, -1, 2], [1, 2**64, 2], [1, 2**64 - 1, 2],
                                 np.array([1, -5, 2]), np.array([1, 2**64 - 1, 2], np.uint64)])
def test_numbers_out_of_range(numbers, ids):
    with pytest.raises(ValueError, match=r"ids\[1\]"):
        numbers.insert(ids, ROWS)


@pytest.mark.parametrize("ids", [["a", "", "c"], ["a", "x\0y", "c"], ["a", "\ud800", "c"]])
def test_strings_that_are_no_ids(docs, ids):
    with pytest.raises(ValueError):
        docs.insert(ids, ROWS)
    with pytest.raises(piramiddb.LimitError):
        docs.insert(["a", "b", "c" * 513], ROWS)
    assert docs.count() == 0


@pytest.mark.parametrize("make", [
    list, tuple, iter, lambda ids: np.array(ids, None if isinstance(ids[0], str) else "u8"),
    lambda ids: np.array(ids, object),
    lambda ids: (i for i in ids), lambda ids: dict.fromkeys(ids).keys(),
])
def test_every_form_of_ids(docs, numbers, make):
    docs.insert(make(["a", "ö", "字"]), ROWS)
    assert [record.id for record in docs] == ["a", "ö", "字"]
    numbers.insert(make([2**64 - 2, 0, 5]), ROWS)
    assert [record.id for record in numbers] == [0, 5, 2**64 - 2]


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u4", "i8", "u8", ">u8"])
def test_every_type_of_numbers(numbers, dtype):
    numbers.insert(np.array([1, 2, 3], dtype), ROWS)
    assert numbers.get_many(np.array([3, 1], dtype)).vectors[0, 0] == 8


def test_ids_that_are_left_out_are_made(docs, numbers):
    made = numbers.insert(None, ROWS)
    assert made.tolist() == [0, 1, 2] or made.tolist() == [1, 2, 3]
    assert numbers.insert([None, 77, None], ROWS).tolist() == [made[-1] + 1, 77, 78] or \
        numbers.count() == 6
    assert np.array_equal(numbers.get_many(made).vectors, ROWS)
    ids = docs.insert(vectors=ROWS)
    assert len(set(ids)) == 3
    assert all(isinstance(i, str) and len(i) == 36 for i in ids)
    mixed = docs.insert([None, "x", None], ROWS)
    assert mixed[1] == "x"
    assert docs.count() == 6
    large = numbers.insert(vectors=np.zeros((40_000, 4), np.float32))
    assert len(np.unique(large)) == 40_000
    one = docs.insert(vectors=[1, 2, 3, 4], metadata={"n": 1})
    assert docs[one].metadata == {"n": 1}
