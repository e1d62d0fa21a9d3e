# SPDX-License-Identifier: Apache-2.0
"""Search against numpy, and the shapes of answers."""

import numpy as np
import pytest

import piramiddb

DIMS, ROWS = 24, 3000


def distances(metric, vectors, query):
    v, q = vectors.astype(np.float64), query.astype(np.float64)
    if metric == "l2":
        return np.linalg.norm(v - q, axis=1)
    if metric == "dot":
        return -(v @ q)
    return 1 - (v @ q) / np.linalg.norm(v, axis=1) / np.linalg.norm(q)


@pytest.fixture(params=["l2", "dot", "cosine"])
def loaded(request, db, rng):
    vectors = rng.standard_normal((ROWS, DIMS), np.float32)
    docs = db.collection("c", dims=DIMS, metric=request.param, key="int")
    docs.insert(np.arange(ROWS), vectors, [{"n": i % 10} for i in range(ROWS)])
    return docs, vectors


def test_search_agrees_with_numpy(loaded, rng):
    docs, vectors = loaded
    for query in rng.standard_normal((20, DIMS), np.float32):
        wanted = distances(docs.metric, vectors, query)
        results = docs.search(query, k=15, exact=True)
        assert np.allclose(results.distances, np.sort(wanted)[:15], atol=1e-5)
        assert np.allclose(wanted[results.ids.astype(int)], results.distances, atol=1e-5)
        sign = results.scores if docs.metric == "cosine" else -results.distances
        assert np.array_equal(results.scores, sign)
        assert np.all(np.diff(results.distances) >= 0)
        few = docs.search(query, k=5, filter={"n": 3}, exact=True)
        rest = wanted[3::10]
        assert np.allclose(few.distances, np.sort(rest)[:5], atol=1e-5)
        assert set((few.ids % 10).tolist()) == {3}


def test_many_searches_equal_single_ones(loaded, rng):
    docs, _ = loaded
    queries = rng.standard_normal((50, DIMS), np.float32)
    batch = docs.search_many(queries, k=7, with_vectors=True)
    assert len(batch) == 50
    assert batch.ids.shape == batch.scores.shape == batch.distances.shape == (50, 7)
    for row, query in enumerate(queries):
        single = docs.search(query, k=7)
        assert np.array_equal(batch.ids[row], single.ids)
        assert np.array_equal(batch.scores[row], single.scores)
        assert np.array_equal(batch[row].distances, single.distances)
        assert batch[row][0].metadata == single[0].metadata
        assert batch[row][0].vector.shape == (DIMS,)
    assert [len(r) for r in batch] == [7] * 50
    assert len(batch[10:13]) == 3
    last = batch[-1]
    ids = last.ids
    vectors = last.vectors
    del batch  # one answer keeps what it is part of
    assert np.array_equal(last.ids, ids)
    del last
    assert vectors.shape == (7, DIMS)
    assert np.isfinite(vectors).all()


def test_lists_find_nearly_all_and_more_when_asked(db, rng):
    vectors = rng.standard_normal((4000, DIMS), np.float32)
    docs = db.collection("lists", dims=DIMS, key="int", index="ivf", code="q4")
    docs.insert(np.arange(4000), vectors)
    info = docs.info()
    assert (info.index, info.code, info.indexed) == ("ivf", "q4", 4000)
    assert info.lists > 10
    queries = rng.standard_normal((50, DIMS), np.float32)
    wanted = docs.search_many(queries, exact=True).ids

    def recall(**options):
        many = docs.search_many(queries, **options).ids
        return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(many, wanted)])

    assert recall(target_recall=0.95) > 0.85
    assert recall(ef=1) < recall(ef=8) < recall(ef=info.lists)
    assert recall(ef=info.lists) > 0.95  # all of them; what codes hide is the rest
    docs.delete(np.arange(0, 4000, 2))
    assert all(i % 2 for i in docs.search(queries[0], k=100).ids)
    assert docs.info().index_dead == 0


def test_a_graph_finds_nearly_all_and_more_when_asked(db, rng):
    vectors = rng.standard_normal((4000, DIMS), np.float32)
    flat = db.collection("flat", dims=DIMS, index="flat")
    graph = db.collection("graph", dims=DIMS, index="hnsw", code="f32", ef_construction=100)
    for docs in (flat, graph):
        docs.insert([str(i) for i in range(4000)], vectors)
    assert (graph.info().index, graph.info().code, graph.info().ef_construction) == \
        ("hnsw", "f32", 100)
    assert (flat.info().index, flat.info().code, flat.info().indexed) == ("flat", None, 0)
    assert graph.info().indexed == 4000
    queries = rng.standard_normal((50, DIMS), np.float32)
    wanted = flat.search_many(queries).ids

    def recall(**options):
        many = graph.search_many(queries, **options).ids
        assert graph.search(queries[3], **options).ids.tolist() == many[3].tolist()
        return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(many, wanted)])

    assert recall() > 0.85
    assert recall(ef=2000) >= recall(ef=10)
    assert recall(ef=2000) > 0.98
    assert recall(target_recall=0.99) > 0.93
    assert recall(exact=True) == 1
    with pytest.raises(piramiddb.Error):
        graph.search(queries[0], target_recall=1.5)
    with pytest.raises(ValueError, match="index"):
        db.collection("x", dims=2, index="tree")
    with pytest.raises(ValueError, match="code"):
        db.collection("x", dims=2, code="zip")
    with pytest.raises(piramiddb.Error):
        db.collection("x", dims=2, ef_construction=1)
    with pytest.raises(piramiddb.ExistsError):
        db.collection("flat", dims=DIMS, index="hnsw")


def test_answers_of_different_lengths(docs):
    docs.insert(["near", "far"], [[0, 0, 0, 0], [10, 0, 0, 0]])
    batch = docs.search_many([[0, 0, 0, 0], [99, 0, 0, 0], [5, 0, 0, 0]], k=3, max_distance=6)
    assert batch.counts.tolist() == [1, 0, 2]
    assert batch.ids.tolist() == [["near", None], [None, None], ["far", "near"]]
    assert np.isnan(batch.scores[1]).all()
    assert batch.distances[2].tolist() == [5, 5]
    nothing = docs.search_many([[99, 0, 0, 0]], max_distance=1)
    assert nothing.ids.shape == (1, 0)
    assert docs.search_many(np.zeros((0, 4))).ids.shape == (0, 0)


def test_numbers_of_different_lengths(numbers):
    numbers.insert([1, 2], [[0, 0, 0, 0], [10, 0, 0, 0]])
    batch = numbers.search_many([[0, 0, 0, 0], [5, 0, 0, 0]], max_distance=6)
    assert batch.ids.tolist() == [[1, 2**64 - 1], [1, 2]]
    assert batch.ids.dtype == np.uint64


def test_a_sequence_of_hits(docs):
    docs.insert(["a", "b", "c"], np.eye(3, 4), [{"n": i} for i in range(3)])
    results = docs.search([1, 0, 0, 0], k=3)
    assert len(results) == 3
    assert [hit.id for hit in results] == results.ids.tolist()
    assert results[0].id == results[-3].id == "a"
    assert [hit.id for hit in results[1:]] == results.ids[1:].tolist()
    with pytest.raises(IndexError):
        results[3]
    assert results.metadata[0] == {"n": 0}
    assert "a" in repr(results)
    assert [h.id for h in reversed(results)] == results.ids.tolist()[::-1]
    assert results.ids.dtype == object
    assert results.scores.dtype == results.distances.dtype == np.float32
    bare = docs.search([1, 0, 0, 0], metadata=False)
    with pytest.raises(piramiddb.MisuseError, match="metadata=True"):
        bare[0].metadata
    with pytest.raises(piramiddb.MisuseError, match="vectors=True"):
        bare[0].vector
    with pytest.raises(piramiddb.MisuseError):
        bare.vectors
    empty = docs.search([1, 0, 0, 0], filter={"n": 99})
    assert (len(empty), list(empty), empty.ids.tolist(), empty.scores.tolist()) == (0, [], [], [])
    assert empty.metadata == []


def test_ids_of_every_script(docs):
    ids = ["ö", "字", "\U0001f600", "a b", "x" * 512, " ", "\\", "\n"]
    docs.insert(ids, np.arange(32).reshape(8, 4))
    assert sorted(docs.search([0, 0, 0, 0]).ids) == sorted(ids)
    assert sorted(docs.search_many([[0, 0, 0, 0]]).ids[0]) == sorted(ids)
    assert {record.id for record in docs} == set(ids)


def test_k_and_thresholds(docs):
    docs.insert([str(i) for i in range(30)], np.arange(120).reshape(30, 4))
    query = [0, 0, 0, 0]
    assert len(docs.search(query)) == 10
    assert len(docs.search(query, k=16384)) == 30
    for k in (0, -1):
        with pytest.raises(ValueError):
            docs.search(query, k=k)
        with pytest.raises(ValueError):
            docs.search_many([query], k=k)
    with pytest.raises(piramiddb.LimitError):
        docs.search(query, k=16385)
    with pytest.raises(TypeError):
        docs.search(query, k="3")
    with pytest.raises(ValueError):
        docs.search(query, max_distance=float("nan"))
    with pytest.raises(piramiddb.LimitError):
        docs.search_many(np.zeros((65_537, 4), np.float32), k=1)
    assert len(docs.search(query, max_distance=float("inf"))) == 10
    assert docs.search(query, max_distance=4).ids.tolist() == ["0"]
    assert docs.search(query, k=3, exact=True).ids.tolist() == \
        docs.search(query, k=np.int64(3)).ids.tolist()


@pytest.mark.parametrize(("filter", "error"), [
    ({"n": {"$regexx": 1}}, piramiddb.UnsupportedError), ("[]", piramiddb.FormatError),
    ("{", piramiddb.FormatError), ("", piramiddb.FormatError), (7, TypeError), ([], TypeError),
    ({"n": {1, 2}}, TypeError), ({"n": float("inf")}, ValueError), ("{}\0", ValueError),
    ({"$and": [{"n": 1}] * 5000}, piramiddb.LimitError),
])
def test_wrong_filters(docs, filter, error):
    docs.insert("a", [1, 2, 3, 4])
    for call in (lambda: docs.search([1, 2, 3, 4], filter=filter),
                 lambda: docs.search_many([[1, 2, 3, 4]], filter=filter),
                 lambda: docs.count(filter), lambda: docs.iterate(filter=filter),
                 lambda: docs.delete(where=filter)):
        with pytest.raises(error):
            call()
    assert docs.count() == 1


def test_filters(docs):
    docs.insert(["a", "b", "c"], np.eye(3, 4),
                [{"n": 1, "t": ["x"]}, {"n": 2, "s": {"u": "v"}}, {}])
    for filter, wanted in [
        ({}, "abc"), ({"n": 1}, "a"), ({"n": {"$gte": 1, "$lt": 2}}, "a"), ({"s.u": "v"}, "b"),
        ({"$or": [{"n": 2}, {"n": {"$exists": False}}]}, "bc"), ({"$not": {"n": 1}}, "bc"),
        ({"n": {"$in": [1, 2]}}, "ab"), ({"n": {"$nin": [1]}}, "bc"), ('{"n": 2}', "b"),
        ({"n": None}, "c"),
    ]:
        found = docs.search([0, 0, 0, 0], filter=filter).ids
        assert "".join(sorted(found)) == wanted, filter
        assert docs.count(filter) == len(wanted)


def test_a_cursor_gives_each_record_once_and_sees_one_state(loaded, rng):
    docs, vectors = loaded
    query = rng.standard_normal(DIMS, np.float32)
    wanted = distances(docs.metric, vectors, query)
    with docs.cursor(query, filter={"n": 3}, metadata=False) as cursor:
        first = cursor.next_page(7)
        assert np.allclose(first.distances, np.sort(wanted[3::10])[:7], atol=1e-5)
        docs.delete(where={"n": 3})
        rest = [hit.id for hit in cursor]
    assert sorted([*first.ids.tolist(), *rest]) == list(range(3, ROWS, 10))
    with pytest.raises(piramiddb.ClosedError):
        cursor.next_page()
    with pytest.raises(StopIteration):
        next(cursor)
    with pytest.raises(ValueError):
        docs.cursor(query).next_page(0)
    with docs._db.transaction() as tx, pytest.raises(piramiddb.MisuseError):
        tx.collection(docs).cursor(query)


def test_product_codes_and_search_without_ranking(db: piramiddb.Database) -> None:
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((1300, 32), dtype=np.float32)
    docs = db.collection("codes", dims=32, metric="l2", key="int", index="hnsw", code="pq",
                         compression=8, code_bits=4, code_parts=32, opq=True)
    assert (docs.info().code, docs.info().code_asked) == ("pq", "pq")
    docs.insert(np.arange(1300), vectors)
    found = docs.search(vectors[7], k=5, rerank=False)
    assert found.error > 0
    assert found.ids[0] == 7
    assert docs.search(vectors[7], k=5).error == 0
    exact = docs.search(vectors[7], k=5, exact=True, threads=2)
    assert exact.ids[0] == 7
    assert docs.search_many(vectors[:3], k=1, rerank=False).ids[:, 0].tolist() == [0, 1, 2]
    with pytest.raises(piramiddb.MisuseError):
        docs.search(vectors[7], exact=True, rerank=False)
    with pytest.raises(piramiddb.ExistsError):
        db.collection("codes", dims=32, metric="l2", key="int", code="pq", compression=8,
                      code_bits=4)
    with pytest.raises(piramiddb.MisuseError):
        db.collection("other", dims=32, opq=True)


def test_the_code_of_a_collection_is_measured(db: piramiddb.Database) -> None:
    docs = db.collection("auto", dims=16, metric="l2", key="int", index="hnsw")
    assert (docs.info().code, docs.info().code_asked) == ("auto", "auto")
    docs.insert(np.arange(1100), np.random.default_rng(6).standard_normal((1100, 16)))
    assert docs.info().code == "sq8"
    assert "measured at 1100 records" in docs.info().code_reason
    assert db.collection("flat", dims=2, index="flat").info().code is None
