# SPDX-License-Identifier: Apache-2.0
"""Writing, reading, deleting, walking."""

import json

import numpy as np
import pytest

import piramiddb

ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_the_six_lines(db):
    docs = db.collection("d", dims=3, metric="cosine")
    docs.upsert(["a", "b"], np.eye(2, 3), metadata=[{"year": 2024}, {"year": 2026}])
    found = [(hit.id, hit.score, hit.metadata) for hit in
             docs.search([0, 1, 0], k=10, filter={"year": {"$gte": 2025}})]
    assert found == [("b", 1.0, {"year": 2026})]


def test_columns_dicts_and_single_records_are_the_same(docs):
    docs.insert(["a"], ROWS[:1], [{"n": 1}])
    docs.insert([{"id": "b", "vector": ROWS[1], "metadata": {"n": 2}}])
    assert docs.insert("c", ROWS[2], {"n": 3}) == "c"
    assert docs.insert({"id": "d", "vector": [1, 1, 1, 1]}) == "d"
    assert docs.insert(iter([{"vector": [1, 1, 1, 1], "metadata": '{"n": 5}'}])) != ["e"]
    assert docs.count() == 5
    records = docs.get_many(["a", "b", "c", "d"])
    assert [r.metadata for r in records] == [{"n": 1}, {"n": 2}, {"n": 3}, {}]
    assert np.array_equal(records.vectors[:3], ROWS)


@pytest.mark.parametrize("records", [
    [{"id": "a", "vector": [1, 2, 3, 4]}, {"id": "b"}],
    [{"id": "a", "vektor": [1, 2, 3, 4]}],
    [{"id": "a", "vector": [1, 2, 3, 4]}, ("b", [1, 2, 3, 4])],
])
def test_wrong_dicts(docs, records):
    with pytest.raises((ValueError, TypeError), match="records"):
        docs.upsert(records)
    assert docs.count() == 0


def test_columns_of_different_lengths(docs):
    with pytest.raises(ValueError, match="2 ids, 3 vectors"):
        docs.upsert(["a", "b"], ROWS)
    with pytest.raises(ValueError, match="1 metadata"):
        docs.upsert(["a", "b", "c"], ROWS, [{}])
    with pytest.raises(TypeError):
        docs.upsert(["a", "b", "c"], ROWS, {"n": 1})
    with pytest.raises(TypeError):
        docs.upsert()
    with pytest.raises(TypeError):
        docs.upsert([{"id": "a", "vector": ROWS[0]}], ROWS[:1])


METADATA = [
    {}, {"a": None, "b": True, "c": [1, 2.5, "x", {"d": []}]}, {"ö\n\"\\": "字\U0001f600\0"},
    {"big": 2**63 - 1, "small": -(2**63), "float": 1e-300}, {"deep": [[[[{"x": {}}]]]]},
]


@pytest.mark.parametrize("metadata", METADATA)
def test_metadata_comes_back_equal(docs, metadata):
    docs.insert("a", ROWS[0], metadata)
    docs.insert("b", ROWS[0], json.dumps(metadata))
    assert docs["a"].metadata == metadata == docs["b"].metadata
    assert docs.search(ROWS[0], k=1)[0].metadata == metadata
    assert next(iter(docs)).metadata == metadata


def test_numpy_values_in_metadata_and_filters(docs):
    docs.insert("a", ROWS[0], {"i": np.int64(3), "f": np.float32(0.5), "a": np.arange(2),
                               "b": np.bool_(True), "s": np.str_("x")})
    assert docs["a"].metadata == {"i": 3, "f": 0.5, "a": [0, 1], "b": True, "s": "x"}
    assert docs.count({"i": {"$in": np.array([3, 4])}}) == 1
    assert docs.count({"i": np.uint8(4)}) == 0


@pytest.mark.parametrize(("metadata", "error"), [
    (7, TypeError), ([1], TypeError), ({"x": object()}, TypeError), ({"x": {1}}, TypeError),
    ({"x": float("nan")}, ValueError), ("[1]", piramiddb.FormatError),
    ("{", piramiddb.FormatError), ("", ValueError), ({"x": "y" * 2**20}, piramiddb.LimitError),
    ({"x": 2**80}, None),
])
def test_metadata_that_is_none(docs, metadata, error):
    if error is None:
        docs.insert("a", ROWS[0], metadata)
        return
    with pytest.raises(error):
        docs.insert(["a"], ROWS[:1], [metadata])
    with pytest.raises(error):
        docs.insert("a", ROWS[0], metadata)
    assert docs.count() == 0


def test_circular_metadata_is_an_error(docs):
    loop = {}
    loop["x"] = loop
    with pytest.raises(ValueError):
        docs.insert("a", ROWS[0], loop)


def test_insert_refuses_what_exists_and_upsert_replaces(docs):
    docs.insert(["a", "b"], ROWS[:2])
    with pytest.raises(piramiddb.ExistsError, match="'b'") as caught:
        docs.insert(["c", "b"], ROWS[:2])
    assert caught.value.record_index == 1
    assert docs.count() == 2
    docs.upsert(["b", "c", "c"], ROWS, [{"n": 1}, {"n": 2}, {"n": 3}])
    assert [(r.id, r.metadata) for r in docs] == [("a", {}), ("b", {"n": 1}), ("c", {"n": 3})]
    assert np.array_equal(docs["c"].vector, ROWS[2])


def test_update(docs):
    docs.insert(["a", "b", "c"], ROWS, [{"x": 1, "y": {"z": 1}}] * 3)
    docs.update("a", metadata={"x": 2})
    docs.update(["b", "c"], metadata=[{"y": {"w": 2}}, None], merge=True)
    docs.update("c", vectors=[9, 9, 9, 9])
    docs.update([{"id": "a", "vector": [8, 8, 8, 8]}])
    assert docs["a"].metadata == {"x": 2}
    assert docs["b"].metadata == {"x": 1, "y": {"z": 1, "w": 2}}
    assert docs["c"].metadata == {"x": 1, "y": {"z": 1}}
    assert docs.get_many(["a", "b", "c"]).vectors[:, 0].tolist() == [8, 4, 9]
    with pytest.raises(piramiddb.NotFoundError) as caught:
        docs.update(["a", "nobody"], metadata=[{}, {}])
    assert caught.value.record_index == 1
    assert docs["a"].metadata == {"x": 2}
    with pytest.raises(TypeError):
        docs.update(["a", None], metadata=[{}, {}])


def test_reading_by_id(docs, numbers):
    docs.insert(["a", "b"], ROWS[:2], [{"n": 1}, {"n": 2}])
    numbers.insert([5, 6], ROWS[:2], [{"n": 1}, {"n": 2}])
    for collection, one, none in ((docs, "b", "x"), (numbers, 6, 99)):
        record = collection[one]
        assert (record.id, record.metadata) == (one, {"n": 2})
        assert np.array_equal(record.vector, ROWS[1])
        assert collection.get(one).id == one
        assert collection.get(none) is None
        assert collection.get(none, 7) == 7
        assert one in collection
        assert none not in collection
        with pytest.raises(KeyError):
            collection[none]
        many = collection.get_many([none, one], vectors=False)
        assert many.found.tolist() == [False, True]
        assert many.ids.tolist() == [none, one]
        assert many[0] is None
        assert many[1].metadata == {"n": 2}
        assert many[-1].id == one
        assert len(many[:]) == 2
        with pytest.raises(piramiddb.MisuseError, match="vectors=True"):
            many[1].vector
        with pytest.raises(piramiddb.MisuseError, match="metadata=True"):
            collection.get_many([one], metadata=False)[0].metadata
        with pytest.raises(IndexError):
            many[2]
        assert len(collection.get_many([])) == 0
    with pytest.raises(TypeError):
        docs[5]
    with pytest.raises(TypeError):
        numbers["5"]
    with pytest.raises(TypeError):
        docs.get_many(["a", 5])
    with pytest.raises(TypeError):
        docs.get_many(["a", None])
    with pytest.raises(ValueError):
        docs[""]


def test_vectors_are_views_that_outlive_everything(path):
    db = piramiddb.open(path)
    docs = db.collection("docs", dims=4)
    docs.insert(["a", "b", "c"], ROWS)
    many = docs.get_many(["a", "b"])
    vectors, one = many.vectors, many[1].vector
    hits = docs.search(ROWS[0], k=3, vectors=True)
    found = hits[0].vector
    assert not vectors.flags.writeable
    assert not vectors.flags.owndata
    assert np.shares_memory(vectors, one)
    db.close()
    del db, docs, many, hits
    assert np.array_equal(vectors, ROWS[:2])
    assert np.array_equal(one, ROWS[1])
    assert found.shape == (4,)


def test_deleting(docs, numbers):
    for collection, ids in ((docs, ["a", "b", "c"]), (numbers, [1, 2, 3])):
        collection.insert(ids, ROWS, [{"n": 1}, {"n": 2}, {"n": 3}])
        assert collection.delete([ids[0], ids[0]]) == 1
        assert collection.delete(ids[0]) == 0
        assert collection.delete([]) == 0
        del collection[ids[1]]
        with pytest.raises(KeyError):
            del collection[ids[1]]
        assert collection.delete(where={"n": {"$gt": 5}}) == 0
        assert collection.delete(where='{"n": 3}') == 1
        assert collection.count() == 0
        with pytest.raises(TypeError):
            collection.delete()
        with pytest.raises(TypeError):
            collection.delete(ids, where={})
        with pytest.raises(piramiddb.UnsupportedError, match="regexx"):
            collection.delete(where={"n": {"$regexx": 1}})
    with pytest.raises(TypeError):
        docs.delete(1)
    with pytest.raises(TypeError):
        numbers.delete(["1"])


def test_walking(docs, numbers):
    ids = ["a", "b", "c"]
    docs.insert(ids, ROWS, [{"n": i} for i in range(3)])
    numbers.insert([10, 2, 30], ROWS)
    assert [r.id for r in docs] == ids
    assert [r.id for r in docs.iterate(after="a")] == ["b", "c"]
    assert [r.id for r in docs.iterate(after="aa", filter={"n": {"$ne": 1}})] == ["c"]
    assert [r.id for r in numbers.iterate(after=2)] == [10, 30]
    assert np.array_equal(np.stack([r.vector for r in docs]), ROWS)
    bare = next(docs.iterate(metadata=False, vectors=False))
    with pytest.raises(piramiddb.MisuseError):
        bare.metadata
    with pytest.raises(piramiddb.MisuseError):
        bare.vector
    with docs.iterate() as walk:
        docs.delete(where={})  # the walk sees the state it began with
        assert [r.id for r in walk] == ids
        assert list(walk) == []
    walk = numbers.iterate()
    next(walk)
    walk.close()
    walk.close()
    assert list(walk) == []


def test_collections(db):
    a = db.create_collection("a", 3, metric="dot", key="int")
    assert (a.dims, a.metric, a.key, a.dtype, a.name) == (3, "dot", "int", "f32", "a")
    with pytest.raises(piramiddb.ExistsError):
        db.create_collection("a", 3)
    with pytest.raises(piramiddb.ExistsError, match="dim"):
        db.collection("a", dims=4, metric="dot", key="int")
    assert db.collection("a", dims=3, metric="dot", key="int").info().count == 0
    assert db.collection("a").key == "int"
    with pytest.raises(piramiddb.NotFoundError):
        db.collection("b")
    db.collection("ö", dims=1)
    assert db.collections() == ["a", "ö"]
    info = a.info()
    a.insert(1, [1, 2, 3])
    assert a.info().generation > info.generation
    a.drop()
    db.drop_collection("ö")
    assert db.collections() == []
    with pytest.raises(piramiddb.NotFoundError):
        a.count()
    with pytest.raises(piramiddb.NotFoundError):  # the collection is missing, not the record
        a.get(1)
    for name in ("", "a/b", "_x", "a\nb"):
        with pytest.raises(piramiddb.MisuseError):
            db.collection(name, dims=2)
    with pytest.raises(ValueError):
        db.collection("a\0b", dims=2)
    with pytest.raises(TypeError):
        db.collection(5, dims=2)
    with pytest.raises(ValueError, match="metric"):
        db.collection("m", dims=2, metric="l7")
    with pytest.raises(ValueError, match="key"):
        db.collection("m", dims=2, key="float")
    with pytest.raises(piramiddb.UnsupportedError):
        db.collection("m", dims=2, dtype="bf16")
    with pytest.raises(piramiddb.MisuseError):
        db.collection("m", dims=0)
    with pytest.raises(piramiddb.LimitError):
        db.collection("m", dims=16385)
    with pytest.raises(OverflowError):
        db.collection("m", dims=-1)


def test_empty_batches(docs, numbers):
    assert docs.insert([], np.zeros((0, 4))) == []
    assert len(numbers.insert([], np.zeros((0, 4), np.float32))) == 0
    assert docs.upsert([]) == [] or docs.count() == 0
    assert docs.count() == 0
