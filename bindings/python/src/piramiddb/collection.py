# SPDX-License-Identifier: Apache-2.0
"""One collection: writing, reading, searching, walking."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np

from . import _convert as convert
from . import _rows
from ._native import ffi, lib
from .errors import ClosedError, NotFoundError, check, fail
from .results import BatchResults, Hit, K, Record, Records, Results, key_array, own

if TYPE_CHECKING:
    from .database import Database, View

__all__ = ["Collection", "CollectionInfo", "Cursor", "RecordIterator"]

T = TypeVar("T")

_NULL = ffi.NULL
_METADATA: int = lib.PV_INCLUDE_METADATA
_VECTOR: int = lib.PV_INCLUDE_VECTOR
_gc = ffi.gc
_from_buffer = ffi.from_buffer
_search = _rows.search
_ndarray = np.ndarray
_new = ffi.new
_QUERY = ffi.typeof("pv_query *")
_QUERY_SIZE: int = ffi.sizeof("pv_query")

METRICS = {"l2": lib.PV_METRIC_L2, "cosine": lib.PV_METRIC_COSINE, "dot": lib.PV_METRIC_DOT,
           "l1": lib.PV_METRIC_L1, "hamming": lib.PV_METRIC_HAMMING,
           "jaccard": lib.PV_METRIC_JACCARD}
DTYPES = {"f32": lib.PV_TYPE_F32, "f16": lib.PV_TYPE_F16, "bf16": lib.PV_TYPE_BF16,
          "i8": lib.PV_TYPE_I8, "bit": lib.PV_TYPE_BIT,
          "float32": lib.PV_TYPE_F32, "float16": lib.PV_TYPE_F16, "int8": lib.PV_TYPE_I8}
INDEXES = {"auto": lib.PV_INDEX_AUTO, "flat": lib.PV_INDEX_FLAT, "hnsw": lib.PV_INDEX_HNSW,
           "ivf": lib.PV_INDEX_IVF}
CODES = {"auto": lib.PV_CODE_AUTO, "f32": lib.PV_CODE_F32, "sq8": lib.PV_CODE_SQ8,
         "q4": lib.PV_CODE_Q4, "b1": lib.PV_CODE_B1, "f16": lib.PV_CODE_F16, "pq": lib.PV_CODE_PQ,
         "i8": lib.PV_CODE_I8, "bit": lib.PV_CODE_BIT}
KEYS = {"str": lib.PV_KEY_STRING, "int": lib.PV_KEY_U64}


def name_of(table: dict[str, int], value: int) -> str:
    """The word for a number of pv.h."""
    return next((name for name, number in table.items() if number == value), str(value))


def number_of(table: dict[str, int], name: str, what: str) -> int:
    """The number of pv.h for a word."""
    try:
        return table[name]
    except (KeyError, TypeError):
        raise ValueError(f"{what} is {name!r}, wanted one of {', '.join(table)}") from None


@dataclass(frozen=True)
class CollectionInfo:
    """What a collection is and holds.

    `indexed` is how many records the graph holds, `index_dead` how many of its nodes are gone
    records. `code` is None where there is no graph, and "auto" until one is chosen;
    `code_asked` is what was asked for, and `code_reason` says why it has this one. `lists` is how
    many lists an "ivf" index has.
    """

    name: str
    dims: int
    metric: str
    dtype: str
    key: str
    index: str
    code: str | None
    ef_construction: int
    count: int
    slots: int
    indexed: int
    index_dead: int
    generation: int
    object_id: int
    code_asked: str | None
    code_reason: str
    lists: int


class _Kind(NamedTuple):
    """A way of writing."""

    function: Any
    flags: int
    may_miss: bool  # ids that are left out are made


_INSERT = _Kind(lib.pv_insert_batch, 0, True)
_UPSERT = _Kind(lib.pv_upsert_batch, 0, True)
_UPDATE = _Kind(lib.pv_update_batch, 0, False)
_MERGE = _Kind(lib.pv_update_batch, lib.PV_WRITE_MERGE, False)


def _query(filter: Any, exact: bool, max_distance: float | None, ef: int,
           target_recall: float, rerank: bool = True, threads: int = 0) -> tuple[Any, object]:
    """A pv_query without its vector, and what must live as long."""
    query = _new(_QUERY)
    query.struct_size = _QUERY_SIZE
    query.ef = ef
    query.target_recall = target_recall
    query.threads = threads
    if exact:
        query.flags = lib.PV_QUERY_EXACT
    if not rerank:
        query.flags |= lib.PV_QUERY_CODES
    if max_distance is not None:
        if isnan(max_distance):
            raise ValueError("max_distance is NaN")
        query.flags |= lib.PV_QUERY_WITHIN
        query.max_distance = max_distance
    text = None
    if filter is not None:
        text = convert.filter_text(filter)
        query.filter = _from_buffer(text)
        query.filter_len = len(text)
    return query, text


class RecordIterator(Iterator[Record[K]]):
    """A walk over records in the order of their ids; also a context manager that ends it."""

    def __init__(self, collection: Collection[K], handle: Any) -> None:
        self._collection = collection  # and with it the database and transaction
        self._handle = handle
        self._lock = threading.RLock()

    def __iter__(self) -> RecordIterator[K]:
        return self

    def __next__(self) -> Record[K]:
        with self._lock, self._collection._lock():
            handle = self._handle
            if handle is None:
                raise StopIteration
            more = lib.pv_iter_next(handle, lib.pvpy_err())
            if more < 0:
                fail(more)
            if not more:
                self.close()
                raise StopIteration
            return self._record(handle)

    def _record(self, handle: Any) -> Record[K]:
        text = lib.pv_iter_id(handle)
        key: Any = ffi.string(text).decode() if text else lib.pv_iter_id_u64(handle)
        json = lib.pv_iter_metadata(handle, _NULL)
        dims = ffi.new("uint32_t *")
        vector = lib.pv_iter_vector(handle, dims)
        array = None
        if vector:
            element = self._collection._element
            size = element.length(dims[0]) * element.dtype.itemsize
            array = np.frombuffer(ffi.buffer(vector, size)[:], element.dtype)
        return Record(key, ffi.string(json) if json else None, array)

    def close(self) -> None:
        """End the walk and let go of the state it sees."""
        with self._lock:
            handle, self._handle = self._handle, None
            if handle is not None:
                ffi.release(handle)

    def __enter__(self) -> RecordIterator[K]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Cursor(Iterator[Hit[K]]):
    """A search that goes on: `next_page` page by page, or hit by hit; a context manager too."""

    def __init__(self, collection: Collection[K], handle: Any) -> None:
        self._collection = collection  # and with it the database and transaction
        self._handle = handle
        self._lock = threading.RLock()
        self._page: Iterator[Hit[K]] = iter(())
        self._ahead = 10

    def next_page(self, k: int = 10) -> Results[K]:
        """The next k hits, nearest first; none at the end."""
        if not 1 <= k <= lib.PV_LIMIT_K:
            raise ValueError(f"k is {k}, wanted 1 to {lib.PV_LIMIT_K}")
        with self._lock, self._collection._lock():
            if self._handle is None:
                raise ClosedError("the cursor was closed")
            out = ffi.new("pv_results **")
            check(lib.pv_cursor_next(self._handle, k, out, lib.pvpy_err()))
            return Results(own(out[0]))

    def __iter__(self) -> Cursor[K]:
        return self

    def __next__(self) -> Hit[K]:
        with self._lock:
            for hit in self._page:
                return hit
            if self._handle is None:
                raise StopIteration
            page = self.next_page(self._ahead)
            self._ahead = min(2 * self._ahead, 1000)
            if not page:
                self.close()
                raise StopIteration
            self._page = iter(page)
            return next(self._page)

    def close(self) -> None:
        """End the search and let go of the state it sees."""
        with self._lock:
            handle, self._handle = self._handle, None
            self._page = iter(())
            if handle is not None:
                ffi.release(handle)

    def __enter__(self) -> Cursor[K]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _NoLock:
    """Stands for a transaction's lock where there is no transaction."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


_NO_LOCK = _NoLock()


class Collection(Generic[K]):
    """A collection of records, alone or inside a transaction; made by ``collection(...)``.

    Vectors may be numpy arrays, anything with ``__array__``, the buffer protocol or DLPack, or
    lists of numbers. Arrays of the collection's own dtype (bits: packed, as ``numpy.packbits``
    has them) whose rows lie gapless are read where they are; everything else is converted and
    copied once, a few MiB at a time. Do not change an array while a call reads it: the
    interpreter's lock is released.

    >>> docs = piramiddb.open(":memory:").collection("docs", dims=2, metric="l2")
    >>> docs.upsert(["a", "b"], [[0, 1], [2, 3]], metadata=[{"n": 1}, {"n": 2}])
    ['a', 'b']
    >>> [(hit.id, hit.distance) for hit in docs.search([0, 0], k=2, filter={"n": {"$lt": 2}})]
    [('a', 1.0)]
    """

    __slots__ = ("_db", "_element", "_fast", "_handle", "_key", "_name", "_place",
                 "_place_address", "_raw_name", "_shape", "_view", "dims", "dtype", "key", "metric")

    def __init__(self, db: Database, view: View | None, name: str) -> None:
        self._db = db
        self._handle = db._handle
        self._view = view
        self._name = name
        self._raw_name = ffi.new("char[]", convert.name_text(name))
        info = self.info()
        self._key: int = KEYS[info.key]
        self.dims = info.dims
        self.metric = info.metric
        self.dtype = info.dtype
        self.key = info.key
        self._element = convert.ELEMENTS[info.dtype]
        place = ffi.new("pvpy_place *")
        place.db = self._handle
        place.collection = self._raw_name
        place.type = self._element.number
        place.dims = info.dims
        self._place = place
        self._place_address = int(ffi.cast("uintptr_t", place))
        # A vector of this type has as many elements as dimensions and needs no look.
        self._fast = None if info.dtype == "bit" else self._element.dtype
        self._shape = (info.dims,)

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    def __repr__(self) -> str:
        return (f"<Collection {self._name!r}: {self.dims} dims, {self.metric}, "
                f"{self.key} keys>")

    # ---- calls -----------------------------------------------------------------------------

    def _lock(self) -> Any:
        return _NO_LOCK if self._view is None else self._view._lock

    def _call(self, function: Any, *args: object) -> int:
        """One call in the view's transaction; its code, for `fail`."""
        view = self._view
        if lib.pvpy_inside():
            fail(lib.PV_ERR_MISUSE)
        if view is None:
            code: int = function(self._handle, _NULL, self._raw_name, *args, lib.pvpy_err())
            return code
        with view._lock:
            code = function(self._handle, view._pointer(), self._raw_name, *args, lib.pvpy_err())
            return code

    def _rows(self, function: Any, *args: object) -> Any:
        """One call that gives rows."""
        out = ffi.new("pv_results **")
        check(self._call(function, *args, out))
        return own(out[0])

    def info(self) -> CollectionInfo:
        """What the collection is and how many records it has; takes no time."""
        out = ffi.new("pv_collection_info *")
        out.struct_size = ffi.sizeof("pv_collection_info")
        check(self._call(lib.pv_collection_info_get, out))
        graph = out.index != lib.PV_INDEX_FLAT or out.code != 0
        return CollectionInfo(self._name, out.dims, name_of(METRICS, out.metric),
                              name_of(DTYPES, out.type), name_of(KEYS, out.key),
                              name_of(INDEXES, out.index),
                              name_of(CODES, out.code) if graph else None,
                              out.ef_construction, out.count, out.slots, out.indexed,
                              out.index_dead, out.generation, out.object_id,
                              name_of(CODES, out.code_asked) if graph else None,
                              ffi.string(out.code_reason).decode(), out.lists)

    def drop(self) -> None:
        """Remove the collection with all its records."""
        check(self._call(lib.pv_collection_drop))

    # ---- write -----------------------------------------------------------------------------

    def insert(self, ids: Any = None, vectors: Any = None, metadata: Any = None) -> Any:
        """Add new records, all or none.

        Args:
            ids: one id, a sequence of them, or None: they are made, as are single Nones among
                them. Or instead of columns a sequence of dicts ``{"id", "vector", "metadata"}``.
            vectors: shape ``(dims,)`` for one id, else ``(count, dims)``.
            metadata: dicts, JSON texts or None; for one id a single one.

        Returns:
            The ids, as they were given or made.

        Raises:
            ExistsError: an id is there already; `record_index` says which.
            DimsError, MisuseError, LimitError, FormatError: what is wrong with which record.
            TypeError, ValueError: ids of the wrong kind, columns of different lengths.

        >>> docs = piramiddb.open(":memory:").collection("docs", dims=2, key="int")
        >>> docs.insert(7, [1.0, 2.0], {"lang": "en"})
        7
        >>> docs.insert(vectors=[[1, 0], [0, 1]])
        array([8, 9], dtype=uint64)
        """
        return self._write(_INSERT, ids, vectors, metadata)

    def upsert(self, ids: Any = None, vectors: Any = None, metadata: Any = None) -> Any:
        """Add records, or replace those that exist, all or none; else as `insert`.

        An id that stands twice gets the later record.

        >>> docs = piramiddb.open(":memory:").collection("docs", dims=2)
        >>> docs.upsert([{"id": "a", "vector": [1, 2], "metadata": {"n": 1}}])
        ['a']
        """
        return self._write(_UPSERT, ids, vectors, metadata)

    def update(self, ids: Any, vectors: Any = None, metadata: Any = None, *,
               merge: bool = False) -> Any:
        """Change records that exist, all or none.

        Args:
            ids: as in `insert`; none may be missing.
            vectors: None keeps the stored vectors.
            metadata: None keeps what is stored, as do single Nones.
            merge: metadata are JSON merge patches: None inside removes a member, a dict is
                merged into the stored one, all else replaces.

        Returns:
            The ids.

        >>> docs = piramiddb.open(":memory:").collection("docs", dims=2)
        >>> docs.insert("a", [1, 2], {"n": 1, "lang": "en"})
        'a'
        >>> docs.update("a", metadata={"n": 2, "lang": None}, merge=True)
        'a'
        >>> docs["a"].metadata
        {'n': 2}
        """
        return self._write(_MERGE if merge else _UPDATE, ids, vectors, metadata)

    def _write(self, kind: _Kind, ids: Any, vectors: Any, metadata: Any) -> Any:
        if isinstance(ids, Mapping):
            return self._write_records(kind, [ids], vectors, metadata)[0]
        if convert.is_one_id(ids) or (ids is None and isinstance(metadata, (Mapping, str))):
            one = None if vectors is None else convert.one_row(vectors, self._element)
            return self._write_columns(kind, self._columns([ids], one, [metadata]))[0]
        if vectors is None and metadata is None and ids is not None:
            listed: Any = ids if isinstance(ids, (list, tuple, np.ndarray)) else list(ids)
            if len(listed) and isinstance(listed[0], Mapping):
                return self._write_records(kind, listed, vectors, metadata)
            ids = listed
        return self._write_columns(kind, self._columns(ids, vectors, metadata))

    def _columns(self, ids: Any, vectors: Any, metadata: Any) -> tuple[int, Any, Any, Any]:
        return convert.columns(ids, vectors, metadata, self._element)

    def _write_records(self, kind: _Kind, records: Sequence[Any], vectors: Any,
                       metadata: Any) -> Any:
        if vectors is not None or metadata is not None:
            raise TypeError("records as dicts carry vectors and metadata themselves")
        return self._write_columns(kind, convert.record_columns(records))

    def _write_columns(self, kind: _Kind, batch: tuple[int, Any, Any, Any]) -> Any:
        """All pieces of a batch, in one transaction when there are several."""
        lib.pvpy_sweep()
        pieces = convert.pieces(*batch, self.dims)
        if batch[0] <= convert.piece_length(self.dims):
            made = [self._write_piece(kind, piece) for piece in pieces]
        elif self._view is None:
            with self._db.transaction() as tx:
                inside: Collection[Any] = tx.collection(self)  # type: ignore[arg-type]
                made = [inside._write_piece(kind, piece) for piece in pieces]
        else:
            with self._view._all_or_nothing():
                made = [self._write_piece(kind, piece) for piece in pieces]
        ids = batch[1]
        if ids is not None and not any(piece is not None for piece in made):
            return ids
        return self._joined(ids, made)

    def _joined(self, given: Any, made: Sequence[Any]) -> Any:
        """Ids of all pieces, made ones among them; None in `made`: as they were given."""
        step = convert.piece_length(self.dims)
        parts = [given[at * step:(at + 1) * step] if ids is None else ids
                 for at, ids in enumerate(made)]
        if self._key == lib.PV_KEY_U64:
            return np.concatenate([np.asarray(part, convert.U64) for part in parts]
                                  or [np.empty(0, convert.U64)])
        return [key for part in parts for key in
                (part.tolist() if isinstance(part, np.ndarray) else part)]

    def _write_piece(self, kind: _Kind, piece: convert.Piece) -> Any:
        """One call. The ids that were made, or None when all were given."""
        batch = ffi.new("pv_batch *")
        opts = ffi.new("pv_write_opts *")
        batch.struct_size = ffi.sizeof("pv_batch")
        batch.count = piece.length
        opts.struct_size = ffi.sizeof("pv_write_opts")
        opts.flags = kind.flags
        batch.dims = self.dims
        batch.type = self._element.number
        keep: list[object] = []
        if piece.vectors is not None:
            rows = convert.piece_rows(piece, self._element, self.dims)
            batch.vectors = rows.pointer
            batch.vector_stride = rows.stride
            batch.dims = rows.dims
            keep.append(rows)
        numbers = self._key == lib.PV_KEY_U64
        make = piece.ids is None
        if piece.ids is not None and numbers:
            array = convert.id_numbers(piece.ids, piece.first, kind.may_miss)
            batch.ids_u64 = ffi.cast("uint64_t *", array.ctypes.data)
            keep.append(array)
            make = kind.may_miss and bool(len(array)) and array.max() == convert.ID_NONE
        elif piece.ids is not None:
            text = convert.id_texts(piece.ids, piece.first, kind.may_miss)
            batch.id_data = ffi.from_buffer(text.data)
            batch.id_offsets = ffi.cast("uint64_t *", text.offsets.ctypes.data)
            keep.append(text)
            make = kind.may_miss and bool((text.offsets[1:] == text.offsets[:-1]).any())
        if piece.metadata is not None:
            listed = [convert.metadata_text(value, piece.first + at)
                      for at, value in enumerate(piece.metadata)]
            json = convert.texts(listed)
            batch.metadata_data = ffi.from_buffer(json.data)
            batch.metadata_offsets = ffi.cast("uint64_t *", json.offsets.ctypes.data)
            keep.append(json)
        out = ffi.new("pv_results **")
        if make:
            opts.out_ids = out
        code = self._call(kind.function, batch, opts)
        if code:
            fail(code, piece.first)
        keep.clear()  # all of it had to live until here
        if not make:
            return None
        return key_array(own(out[0]))

    # ---- delete ----------------------------------------------------------------------------

    def _ids(self, ids: Any) -> tuple[Any, object]:
        """A pv_ids, and what must live as long."""
        out = ffi.new("pv_ids *")
        out.struct_size = ffi.sizeof("pv_ids")
        listed: Any = ids if isinstance(ids, (list, tuple, np.ndarray)) else list(ids)
        out.count = len(listed)
        if self._key == lib.PV_KEY_U64:
            array = convert.id_numbers(listed, 0, False)
            out.ids_u64 = ffi.cast("uint64_t *", array.ctypes.data)
            return out, array
        text = convert.id_texts(listed, 0, False)
        out.id_data = ffi.from_buffer(text.data)
        out.id_offsets = ffi.cast("uint64_t *", text.offsets.ctypes.data)
        return out, (text, out.id_data)

    def delete(self, ids: Any = None, *, where: Mapping[str, Any] | str | None = None) -> int:
        """Remove the records with these ids, or all that match a filter.

        Args:
            ids: one id or a sequence of them; those that are not there do not matter.
            where: a filter as in `search`, instead of ids; ``{}`` matches all.

        Returns:
            How many there were.

        >>> docs = piramiddb.open(":memory:").collection("docs", dims=2)
        >>> docs.insert(["a", "b", "c"], [[1, 2]] * 3, [{"n": 1}, {"n": 2}, None])
        ['a', 'b', 'c']
        >>> docs.delete(["a", "x"]), docs.delete(where={"n": 2}), docs.count()
        (1, 1, 1)
        """
        if (ids is None) == (where is None):
            raise TypeError("give either ids or where")
        lib.pvpy_sweep()
        out = ffi.new("uint64_t *")
        if where is not None:
            check(self._call(lib.pv_delete_where, convert.filter_text(where), out))
        else:
            listed, keep = self._ids([ids] if convert.is_one_id(ids) else ids)
            check(self._call(lib.pv_delete_many, listed, out))
            del keep
        deleted: int = out[0]
        return deleted

    def __delitem__(self, id: K) -> None:
        """Remove one record; NotFoundError (a KeyError) when there is none."""
        lib.pvpy_sweep()
        if self._key == lib.PV_KEY_U64:
            check(self._call(lib.pv_delete_u64, convert.id_number(id)))
        else:
            check(self._call(lib.pv_delete, convert.id_text(id)))

    # ---- read ------------------------------------------------------------------------------

    def __getitem__(self, id: K) -> Record[K]:
        """One record; NotFoundError (a KeyError) when there is none."""
        if self._key == lib.PV_KEY_U64:
            rows = self._rows(lib.pv_get_u64, convert.id_number(id))
        else:
            rows = self._rows(lib.pv_get, convert.id_text(id))
        record: Record[K] | None = Records[K](rows)[0]
        assert record is not None
        return record

    def get(self, id: K, default: T | None = None) -> Record[K] | T | None:
        """One record with metadata and vector, or `default` when there is none.

        >>> docs = piramiddb.open(":memory:").collection("docs", dims=2)
        >>> docs.insert("a", [1, 2], {"n": 1})
        'a'
        >>> docs.get("a").vector
        array([1., 2.], dtype=float32)
        >>> docs.get("b") is None
        True
        """
        try:
            return self[id]
        except NotFoundError:
            if self._gone():
                raise
            return default

    def _gone(self) -> bool:
        """Is the collection itself missing?"""
        try:
            self.info()
        except NotFoundError:
            return True
        return False

    def get_many(self, ids: Any, *, metadata: bool = True, vectors: bool = True) -> Records[K]:
        """Records by id, in the order asked, with None where there is none.

        Args:
            ids: a sequence of ids.
            metadata: with metadata.
            vectors: with vectors.
        """
        listed, keep = self._ids(ids)
        include = (_METADATA if metadata else 0) | (_VECTOR if vectors else 0)
        rows = self._rows(lib.pv_get_many, listed, include)
        del keep
        return Records(rows)

    def __contains__(self, id: object) -> bool:
        """Is there a record with this id?"""
        return bool(self.get_many([id], metadata=False, vectors=False).found[0])

    def count(self, filter: Mapping[str, Any] | str | None = None) -> int:
        """The number of records, or of those that match a filter."""
        out = ffi.new("uint64_t *")
        text = _NULL if filter is None else convert.filter_text(filter)
        check(self._call(lib.pv_count, text, out))
        count: int = out[0]
        return count

    def iterate(self, *, filter: Mapping[str, Any] | str | None = None, after: K | None = None,
                metadata: bool = True, vectors: bool = True) -> RecordIterator[K]:
        """Walk over the records in the order of their ids (bytes of str, size of int).

        Outside of a transaction the walk sees the state of now until it ends, whatever is written
        meanwhile.

        Args:
            filter: only records that match.
            after: begin behind this id, there or not.
            metadata: with metadata.
            vectors: with vectors.

        >>> docs = piramiddb.open(":memory:").collection("docs", dims=2, key="int")
        >>> docs.insert([3, 1, 2], [[1, 2]] * 3)
        [3, 1, 2]
        >>> [record.id for record in docs.iterate(after=1)]
        [2, 3]
        """
        opts = ffi.new("pv_iter_opts *")
        opts.struct_size = ffi.sizeof("pv_iter_opts")
        opts.include = (_METADATA if metadata else 0) | (_VECTOR if vectors else 0)
        opts.after_id_u64 = convert.ID_NONE
        keep: list[object] = []
        if filter is not None:
            text = convert.filter_text(filter)
            keep.append(text)
            opts.filter = ffi.from_buffer(text)
            opts.filter_len = len(text)
        if after is not None and self._key == lib.PV_KEY_U64:
            opts.after_id_u64 = convert.id_number(after)
        elif after is not None:
            raw = convert.id_text(after)
            keep.append(raw)
            opts.after_id = ffi.from_buffer(raw)
            opts.after_id_len = len(raw)
        out = ffi.new("pv_iter **")
        check(self._call(lib.pv_iter_open, opts, out))
        keep.clear()
        return RecordIterator(self, _gc(out[0], lib.pvpy_drop_iter))

    def __iter__(self) -> RecordIterator[K]:
        """All records with metadata and vectors, as `iterate`."""
        return self.iterate()

    # ---- search ----------------------------------------------------------------------------

    def search(self, vector: Any, k: int = 10, *,
               filter: Mapping[str, Any] | str | None = None, metadata: bool = True,
               vectors: bool = False, exact: bool = False,
               max_distance: float | None = None, ef: int = 0,
               target_recall: float = 0.0, rerank: bool = True,
               threads: int = 0) -> Results[K]:
        """The k records nearest to a vector, nearest first; equal distances by id.

        Args:
            vector: shape ``(dims,)``.
            k: rows wanted, 1 to 16384; the answer has min(k, matching records) rows.
            filter: a condition on the metadata, for instance
                ``{"year": {"$gte": 2020}, "$or": [{"lang": "en"}, {"tags": {"$in": ["a"]}}]}``.
                Operators: $and $or $not $eq $ne $gt $gte $lt $lte $in $nin $exists.
            metadata: hits carry their metadata.
            vectors: hits carry their vectors.
            exact: compare with every record, never through an index.
            max_distance: only records at most so far away, in the metric's distance.
            ef: candidates kept while a graph is walked, or with index "ivf" lists that are
                scanned; 0: as many as `target_recall` needs.
            target_recall: share of the true k nearest that is wanted, at most 1; 0: 0.95.
            rerank: False takes distances and order from the graph's codes and reads no vector;
                they are approximate, `Results.error` says by how much.
            threads: that may share an exact search; 0: none but the caller's.

        Raises:
            DimsError: the vector has not the collection's number of dimensions.
            MisuseError: it has NaN or infinity.
            FormatError, UnsupportedError, LimitError: the filter or k.

        >>> docs = piramiddb.open(":memory:").collection("docs", dims=2, metric="dot")
        >>> docs.insert(["a", "b"], [[1, 0], [0, 2]])
        ['a', 'b']
        >>> results = docs.search([1.0, 1.0], k=1)
        >>> results.ids, results.scores
        (array(['b'], dtype=object), array([2.], dtype=float32))
        """
        include = _METADATA if metadata else 0
        if vectors:
            include |= _VECTOR
        # The usual case first; it is what the cost of a call hangs on.
        if (type(vector) is _ndarray and vector.dtype is self._fast
                and vector.shape == self._shape
                and filter is None and self._view is None and max_distance is None and not exact
                and not ef and not target_recall and rerank and not threads):
            try:
                rows = _search(self._place_address, vector, k, include)
            except ValueError:  # elements with gaps between them
                rows = _search(self._place_address, np.ascontiguousarray(vector), k, include)
            if rows is None:
                fail(lib.pvpy_err().code)
            return Results(rows)
        array, dims = convert.one_vector(vector, self._element, self.dims)
        query, keep = _query(filter, exact, max_distance, ef, target_recall, rerank, threads)
        query.vector = _from_buffer(array)
        query.dims = dims
        query.include = include
        view = self._view
        if view is None:
            found = lib.pvpy_search_with(self._place, _NULL, k, query)
        else:
            with view._lock:
                found = lib.pvpy_search_with(self._place, view._pointer(), k, query)
        if not found:
            fail(lib.pvpy_err().code)
        del keep
        return Results(own(found))

    def cursor(self, vector: Any, *, filter: Mapping[str, Any] | str | None = None,
               metadata: bool = True, vectors: bool = False, exact: bool = False,
               max_distance: float | None = None, ef: int = 0,
               target_recall: float = 0.0) -> Cursor[K]:
        """A search without a k: all matching records, nearest first, as far as they are fetched.

        It sees one state (of now, or of a snapshot; not inside a transaction that writes), keeps
        the place where it stands, and gives each record once. Arguments as in `search`.

        >>> docs = piramiddb.open(":memory:").collection("docs", dims=2, metric="l2", key="int")
        >>> docs.insert([1, 2, 3], [[0, 1], [0, 5], [0, 3]])
        [1, 2, 3]
        >>> with docs.cursor([0.0, 0.0]) as cursor:
        ...     cursor.next_page(2).ids, [hit.id for hit in cursor]
        (array([1, 3], dtype=uint64), [2])
        """
        array, dims = convert.one_vector(vector, self._element, self.dims)
        query, keep = _query(filter, exact, max_distance, ef, target_recall)
        query.vector = _from_buffer(array)
        query.dims = dims
        query.type = self._element.number
        query.include = (_METADATA if metadata else 0) | (_VECTOR if vectors else 0)
        out = ffi.new("pv_cursor **")
        check(self._call(lib.pv_cursor_open, query, out))
        del keep
        return Cursor(self, _gc(out[0], lib.pvpy_drop_cursor))

    def search_many(self, vectors: Any, k: int = 10, *,
                    filter: Mapping[str, Any] | str | None = None, metadata: bool = True,
                    with_vectors: bool = False, exact: bool = False,
                    max_distance: float | None = None, ef: int = 0,
                    target_recall: float = 0.0, rerank: bool = True,
                    threads: int = 0) -> BatchResults[K]:
        """The same search for many vectors at once: far cheaper than one by one, equal answers.

        Args:
            vectors: shape ``(count, dims)``, at most 65536 of them, and at most 16,777,216 rows
                of answers.
            k: rows wanted for each.
            filter: as in `search`, common to all; so are the others.
            metadata: hits carry their metadata.
            with_vectors: hits carry their vectors.
            exact: compare with every record, never through an index.
            max_distance: only records at most so far away, in the metric's distance.
            ef: as in `search`.
            target_recall: as in `search`.
            rerank: as in `search`.
            threads: as in `search`.

        >>> docs = piramiddb.open(":memory:").collection("docs", dims=2, metric="l2")
        >>> docs.insert(["a", "b"], [[1, 0], [0, 2]])
        ['a', 'b']
        >>> docs.search_many([[1, 1], [0, 0]], k=2).ids
        array([['a', 'b'],
               ['a', 'b']], dtype=object)
        """
        if k < 1:
            raise ValueError(f"k is {k}, wanted at least 1")
        rows = convert.rows(vectors, self._element, self.dims)
        query, keep = _query(filter, exact, max_distance, ef, target_recall, rerank, threads)
        query.vector = rows.pointer
        query.dims = rows.dims
        query.type = self._element.number
        query.k = k
        query.include = (_METADATA if metadata else 0) | (_VECTOR if with_vectors else 0)
        many = ffi.new("pv_query_vectors *")
        many.struct_size = ffi.sizeof("pv_query_vectors")
        many.count = rows.length
        many.stride = rows.stride
        view = self._view
        if view is None:
            batch = lib.pvpy_search_many(self._handle, _NULL, self._raw_name, query, many)
        else:
            with view._lock:
                batch = lib.pvpy_search_many(self._handle, view._pointer(), self._raw_name, query,
                                             many)
        if not batch:
            fail(lib.pvpy_err().code)
        del keep
        return BatchResults(_gc(batch, lib.pvpy_drop_batch))
