# SPDX-License-Identifier: Apache-2.0
"""One task in one of four libraries: usage task.py piramiddb|chromadb|lancedb|usearch [--rows N].

Write records (text id, 128 floats, year and language) in batches, close; open again; search 10
nearest for many vectors one by one, without and with a filter (about a fifth matches); replace and
delete some; close, open, count. Each library is used as its documentation shows, with its defaults,
on a file or folder. Answers are compared with numpy. The last line is JSON.
"""

import argparse
import json
import os
import pathlib
import resource
import sys
import tempfile
import time

import numpy as np

DIMS, K, BATCH = 128, 10, 1000
FROM_YEAR = 2020  # years are 2000 to 2024


class Piramid:
    """piramiddb."""

    def open(self, folder):
        import piramiddb
        self.db = piramiddb.open(f"{folder}/task.pv")
        self.docs = self.db.collection("docs", dims=DIMS, metric="cosine")

    def upsert(self, ids, vectors, metadata):
        self.docs.upsert(ids, vectors, metadata)

    def search(self, vector, filtered):
        where = {"year": {"$gte": FROM_YEAR}} if filtered else None
        return [hit.id for hit in self.docs.search(vector, k=K, filter=where)]

    def delete(self, ids):
        self.docs.delete(ids)

    def count(self):
        return self.docs.count()

    def close(self):
        self.db.close()


class Chroma:
    """chromadb, its persistent client."""

    def open(self, folder):
        import chromadb
        from chromadb.config import Settings
        self.client = chromadb.PersistentClient(folder, Settings(anonymized_telemetry=False))
        self.docs = self.client.get_or_create_collection(
            "docs", embedding_function=None, metadata={"hnsw:space": "cosine"})

    def upsert(self, ids, vectors, metadata):
        self.docs.upsert(ids=ids, embeddings=vectors, metadatas=metadata)

    def search(self, vector, filtered):
        where = {"year": {"$gte": FROM_YEAR}} if filtered else None
        return self.docs.query(query_embeddings=[vector], n_results=K, where=where)["ids"][0]

    def delete(self, ids):
        self.docs.delete(ids=ids)

    def count(self):
        return self.docs.count()

    def close(self):
        self.client.close()


class Lance:
    """lancedb, a table without an index (its default)."""

    def open(self, folder):
        import lancedb
        import pyarrow as pa
        self.pa = pa
        self.db = lancedb.connect(folder)
        self.schema = pa.schema([("id", pa.string()), ("vector", pa.list_(pa.float32(), DIMS)),
                                 ("year", pa.int32()), ("lang", pa.string())])
        self.table = self.db.create_table("docs", schema=self.schema, exist_ok=True)
        self.fresh = True

    def upsert(self, ids, vectors, metadata):
        flat = self.pa.array(vectors.reshape(-1), self.pa.float32())
        rows = self.pa.table({
            "id": ids, "vector": self.pa.FixedSizeListArray.from_arrays(flat, DIMS),
            "year": self.pa.array([m["year"] for m in metadata], self.pa.int32()),
            "lang": [m["lang"] for m in metadata]}, schema=self.schema)
        self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all() \
            .execute(rows)

    def search(self, vector, filtered):
        query = self.table.search(vector).distance_type("cosine").limit(K).select(["id"])
        if filtered:
            query = query.where(f"year >= {FROM_YEAR}", prefilter=True)
        return [row["id"] for row in query.to_list()]

    def delete(self, ids):
        self.table.delete("id IN (" + ", ".join(f"'{i}'" for i in ids) + ")")

    def count(self):
        return self.table.count_rows()

    def close(self):
        del self.table, self.db


class Usearch:
    """usearch: an index alone. Ids, metadata and their file are the program's, filters too."""

    def open(self, folder):
        from usearch.index import Index
        self.folder = pathlib.Path(folder)
        self.index = Index(ndim=DIMS, metric="cos", dtype="f32")
        self.numbers, self.names, self.metadata, self.next = {}, {}, {}, 0
        if (self.folder / "index").exists():
            self.index.load(str(self.folder / "index"))
            self.metadata, self.numbers, self.next = json.loads(
                (self.folder / "rest.json").read_text(encoding="utf-8"))
            self.names = {number: name for name, number in self.numbers.items()}

    def upsert(self, ids, vectors, metadata):
        old = [self.numbers.pop(i) for i in ids if i in self.numbers]
        if old:
            self.index.remove(np.array(old, np.uint64))
        keys = np.arange(self.next, self.next + len(ids), dtype=np.uint64)
        self.next += len(ids)
        self.index.add(keys, vectors)
        for name, key, meta in zip(ids, keys.tolist(), metadata):
            self.numbers[name], self.names[key], self.metadata[name] = key, name, meta

    def search(self, vector, filtered):
        wanted = K
        while True:  # it has no filter: ask for more until enough of them match
            found = [self.names[key] for key in self.index.search(vector, wanted).keys.tolist()]
            if filtered:
                found = [i for i in found if self.metadata[i]["year"] >= FROM_YEAR]
            if len(found) >= K or wanted >= len(self.numbers):
                return found[:K]
            wanted = min(wanted * 4, len(self.numbers))

    def delete(self, ids):
        self.index.remove(np.array([self.numbers.pop(i) for i in ids], np.uint64))
        for i in ids:
            del self.metadata[i]

    def count(self):
        return len(self.index)

    def close(self):
        self.index.save(str(self.folder / "index"))
        (self.folder / "rest.json").write_text(
            json.dumps([self.metadata, self.numbers, self.next]), encoding="utf-8")


LIBRARIES = {"piramiddb": Piramid, "chromadb": Chroma, "lancedb": Lance, "usearch": Usearch}


def size(folder):
    return sum(p.stat().st_size for p in pathlib.Path(folder).rglob("*") if p.is_file())


class Clock:
    """Wall and processor seconds of parts of the task."""

    def __init__(self):
        self.seconds = {}

    def time(self, name, function):
        wall, cpu = time.perf_counter(), time.process_time()
        value = function()
        self.seconds[name] = (round(time.perf_counter() - wall, 4),
                              round(time.process_time() - cpu, 4))
        return value


def recall(library, queries, vectors, years, filtered):
    """Share of the true 10 nearest among the answers."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    allowed = np.flatnonzero(years >= FROM_YEAR) if filtered else np.arange(len(vectors))
    right = 0
    for query in queries:
        near = allowed[np.argsort(-(unit[allowed] @ query))[:K]]
        right += len({f"doc-{i}" for i in near} & set(library.search(query, filtered)))
    return round(right / (K * len(queries)), 4)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("library", choices=LIBRARIES)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=300)
    args = parser.parse_args()
    rng = np.random.default_rng(7)
    centres = rng.standard_normal((200, DIMS), np.float32)
    vectors = centres[rng.integers(0, 200, args.rows)] + \
        0.6 * rng.standard_normal((args.rows, DIMS), np.float32)
    queries = centres[rng.integers(0, 200, args.queries)] + \
        0.6 * rng.standard_normal((args.queries, DIMS), np.float32)
    years = rng.integers(2000, 2025, args.rows)
    ids = [f"doc-{i}" for i in range(args.rows)]
    metadata = [{"year": int(y), "lang": "en" if y % 2 else "de"} for y in years]
    library, clock = LIBRARIES[args.library](), Clock()
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        clock.time("import and open", lambda: library.open(folder))

        def write():
            for at in range(0, args.rows, BATCH):
                library.upsert(ids[at:at + BATCH], vectors[at:at + BATCH],
                               metadata[at:at + BATCH])

        clock.time("write", write)
        clock.time("close", library.close)
        library = LIBRARIES[args.library]()
        clock.time("open again", lambda: library.open(folder))
        clock.time("first search", lambda: library.search(queries[0], False))
        clock.time("search", lambda: [library.search(q, False) for q in queries])
        clock.time("filtered search", lambda: [library.search(q, True) for q in queries])
        plain = recall(library, queries[:100], vectors, years, False)
        filtered = recall(library, queries[:100], vectors, years, True)
        clock.time("replace", lambda: library.upsert(ids[:BATCH], vectors[BATCH:2 * BATCH],
                                                     metadata[:BATCH]))
        clock.time("delete", lambda: library.delete(ids[:BATCH]))
        library.close()
        library = LIBRARIES[args.library]()
        library.open(folder)
        assert library.count() == args.rows - BATCH, library.count()
        library.close()
        bytes_on_disk = size(folder)
    print(json.dumps({
        "library": args.library, "rows": args.rows, "queries": args.queries,
        "seconds (wall, processor)": clock.seconds, "recall@10": plain,
        "recall@10 filtered": filtered, "MB on disk": round(bytes_on_disk / 1e6, 1),
        "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1),
        "all seconds": round(time.perf_counter() - begin, 1)}))
    sys.stdout.flush()
    os._exit(0)  # some keep threads that do not end


if __name__ == "__main__":
    main()
