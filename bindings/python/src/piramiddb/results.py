# SPDX-License-Identifier: Apache-2.0
"""What searches and reads give back: light sequences over rows that C owns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Generic, NoReturn, TypeVar, overload

import numpy as np
import numpy.typing as npt

from . import _rows
from ._convert import ELEMENTS
from ._native import ffi, lib
from .errors import MisuseError

__all__ = ["BatchResults", "Hit", "Record", "Records", "Results"]

K = TypeVar("K", bound="str | int")

_F32 = np.dtype(np.float32)
_U64 = np.dtype(np.uint64)
_OBJECT = np.dtype(object)
_ELEMENTS = {element.number: element for element in ELEMENTS.values()}
_asarray = np.asarray
_frombuffer = np.frombuffer
_NULL = ffi.NULL
_POINTER = {"f": "float[]", "u": "uint64_t[]"}


def _left_out(what: str) -> NoReturn:
    raise MisuseError(f"the rows carry no {what}: ask for it with {what}=True")


_rows.bind(int(ffi.cast("uintptr_t", lib.pvpy_functions())))


def own(results: Any) -> _rows.Rows:
    """Rows of a pv_results, which they take over."""
    return _rows.own(int(ffi.cast("uintptr_t", results)))


def _results(rows: _rows.Rows) -> Any:
    """The pv_results of rows, which must live as long."""
    return ffi.cast("pv_results *", rows.address())


def key_array(rows: _rows.Rows) -> npt.NDArray[Any]:
    """Ids of all rows as an array: uint64, or objects of type str."""
    if rows.texts:
        return _asarray(rows.keys(), _OBJECT)
    return _frombuffer(rows.numbers(), _U64)


def _nothing(keep: object, pointer: object) -> None:
    """Destructor that does nothing but keep its owner until then."""


def _vectors(rows: _rows.Rows) -> npt.NDArray[Any]:
    """All vectors as C has them; the array keeps the rows alive."""
    results = _results(rows)
    pointer = lib.pv_results_vectors(results)
    if not pointer:
        _left_out("vectors")
    dims = lib.pv_results_dims(results)
    count = rows.count
    owner = ffi.gc(pointer, partial(_nothing, rows))
    element = _ELEMENTS[lib.pv_results_type(results)]
    length = element.length(dims)
    size = count * length * element.dtype.itemsize
    array: npt.NDArray[Any]
    array = _frombuffer(ffi.buffer(owner, size), element.dtype).reshape(count, length)
    array.flags.writeable = False
    return array


def _metadata(rows: _rows.Rows, row: int) -> dict[str, Any]:
    text = lib.pv_results_metadata(_results(rows), row, _NULL)
    if not text:
        _left_out("metadata")
    value: dict[str, Any] = json.loads(ffi.string(text).decode())
    return value


class Hit(_rows.Hit, Generic[K]):
    """One record found by a search.

    Attributes:
        id: its id, str or int.
        score: larger is nearer (see `Results.scores`).
    """

    __slots__ = ()

    id: K  # made in C with all that is read of it, one for each row that is looped over

    @property
    def distance(self) -> float:
        """Smaller is nearer, by the collection's metric."""
        distance: float = self._results._rows.distance(self._row)
        return distance

    @property
    def metadata(self) -> dict[str, Any]:
        """Its metadata, a new dict each time."""
        return _metadata(self._results._rows, self._row)

    @property
    def vector(self) -> npt.NDArray[Any]:
        """Its vector of shape ``(dims,)``, read-only."""
        vector: npt.NDArray[Any] = self._results.vectors[self._row]
        return vector

    def __repr__(self) -> str:
        return f"Hit(id={self.id!r}, score={self.score:.6g})"


class Results(Sequence[Hit[K]]):
    """The rows of one search, nearest first: a sequence of `Hit` and whole columns as arrays.

    Everything stays as it is, whatever is written, rolled back or closed later.
    """

    __slots__ = ("_rows",)

    def __init__(self, rows: _rows.Rows) -> None:
        self._rows = rows

    @property
    def ids(self) -> npt.NDArray[Any]:
        """Ids: uint64, or objects of type str. Shape ``(rows,)``."""
        rows = self._rows
        if rows.texts:
            return _asarray(rows.keys(), _OBJECT)
        return _frombuffer(rows.numbers(), _U64)

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """Scores, falling: cos, dot, or minus the l2 distance. Shape ``(rows,)``."""
        return _frombuffer(self._rows.scores(), _F32)

    @property
    def distances(self) -> npt.NDArray[np.float32]:
        """Distances, rising: 1 - cos, minus dot, or l2. Shape ``(rows,)``."""
        return _frombuffer(self._rows.distances(), _F32)

    @property
    def vectors(self) -> npt.NDArray[Any]:
        """Stored vectors, read-only, without a copy. Shape ``(rows, dims)``."""
        return _vectors(self._rows)

    @property
    def metadata(self) -> list[dict[str, Any]]:
        """Metadata of all rows."""
        return [_metadata(self._rows, row) for row in range(len(self))]

    @property
    def error(self) -> float:
        """How far distances may be off: 0, unless they come from codes (``rerank=False``)."""
        return float(lib.pv_results_error(_results(self._rows)))

    @property
    def plan(self) -> str:
        """How the search went: "scan", "graph", "graph, one hop", "graph, two hops", "codes"."""
        text: bytes = ffi.string(lib.pv_results_plan(_results(self._rows)))
        return text.decode()

    def __len__(self) -> int:
        return self._rows.count

    def __iter__(self) -> Iterator[Hit[K]]:
        rows = self._rows
        return iter(rows.hits(Hit, self, 0, rows.count))

    @overload
    def __getitem__(self, at: int) -> Hit[K]: ...
    @overload
    def __getitem__(self, at: slice) -> list[Hit[K]]: ...
    def __getitem__(self, at: int | slice) -> Hit[K] | list[Hit[K]]:
        if isinstance(at, slice):
            return list(self)[at]
        row = range(len(self))[at]
        return self._rows.hits(Hit, self, row, 1)[0]

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:3]))
        return f"<{len(self)} hits: {shown}{', ...' if len(self) > 3 else ''}>"


class BatchResults(Sequence[Results[K]]):
    """The answers of `Collection.search_many`: one `Results` a vector, and all columns at once.

    The arrays have one row a vector. Answers are equally long but with ``max_distance``; shorter
    ones are then filled up with NaN in `scores` and `distances`, and with None or 2**64 - 1 in
    `ids`; `counts` has their lengths.
    """

    __slots__ = ("_batch",)

    def __init__(self, batch: Any) -> None:
        self._batch = batch  # a pvpy_batch, which frees itself

    @property
    def counts(self) -> npt.NDArray[np.intp]:
        """Rows of each answer. Shape ``(vectors,)``."""
        batch = self._batch
        count = lib.pv_results_count
        return np.fromiter((count(batch.results[i]) for i in range(batch.count)), np.intp,
                           batch.count)

    def _table(self, dtype: Any, fill: object, column: Any) -> npt.NDArray[Any]:
        table = np.full((self._batch.count, self._batch.width), fill, dtype)
        if table.size:
            column(self._batch, ffi.from_buffer(_POINTER[table.dtype.kind], table))
        return table

    @property
    def ids(self) -> npt.NDArray[Any]:
        """Ids. Shape ``(vectors, k)``."""
        batch = self._batch
        if not batch.ids_size:
            numbers = batch.count and lib.pv_results_ids_u64(batch.results[0])
            if numbers:
                return self._table(_U64, lib.PV_ID_NONE, lib.pvpy_batch_numbers)
            return np.full((batch.count, batch.width), None, _OBJECT)
        texts = ffi.new("char[]", batch.ids_size)
        lib.pvpy_batch_texts(batch, texts)
        keys = ffi.buffer(texts, batch.ids_size - 1)[:].decode().split("\0")
        if len(keys) == batch.count * batch.width:
            return np.array(keys, _OBJECT).reshape(batch.count, batch.width)
        table = np.full((batch.count, batch.width), None, _OBJECT)
        table[np.arange(batch.width) < self.counts[:, None]] = keys
        return table

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """Scores. Shape ``(vectors, k)``."""
        return self._table(_F32, np.nan, lib.pvpy_batch_scores)

    @property
    def distances(self) -> npt.NDArray[np.float32]:
        """Distances. Shape ``(vectors, k)``."""
        return self._table(_F32, np.nan, lib.pvpy_batch_distances)

    def __len__(self) -> int:
        count: int = self._batch.count
        return count

    @overload
    def __getitem__(self, at: int) -> Results[K]: ...
    @overload
    def __getitem__(self, at: slice) -> list[Results[K]]: ...
    def __getitem__(self, at: int | slice) -> Results[K] | list[Results[K]]:
        rows = range(self._batch.count)[at]
        if isinstance(rows, range):
            return [self[row] for row in rows]
        address = int(ffi.cast("uintptr_t", self._batch.results[rows]))
        return Results(_rows.view(address, self._batch))

    def __repr__(self) -> str:
        return f"<{len(self)} answers>"


class Record(Generic[K]):
    """A stored record.

    Attributes:
        id: its id, str or int.
    """

    __slots__ = ("_text", "_vector", "id")

    id: K

    def __init__(self, id: K, text: bytes | None, vector: npt.NDArray[Any] | None) -> None:
        self.id = id
        self._text = text
        self._vector = vector

    @property
    def metadata(self) -> dict[str, Any]:
        """Its metadata, a new dict each time."""
        if self._text is None:
            _left_out("metadata")
        value: dict[str, Any] = json.loads(self._text.decode())
        return value

    @property
    def vector(self) -> npt.NDArray[Any]:
        """Its vector, bit for bit as it was written. Shape ``(dims,)``, read-only."""
        if self._vector is None:
            _left_out("vectors")
        return self._vector

    def __repr__(self) -> str:
        return f"Record(id={self.id!r})"


class Records(Sequence["Record[K] | None"]):
    """Records by id, in the order asked: a sequence of `Record`, with None where there is none."""

    __slots__ = ("_count", "_keys", "_rows", "_vectors")

    def __init__(self, rows: _rows.Rows) -> None:
        self._rows = rows
        self._count = rows.count
        self._keys: list[K] | None = None
        self._vectors: npt.NDArray[Any] | None = None

    @property
    def ids(self) -> npt.NDArray[Any]:
        """The ids that were asked for. Shape ``(rows,)``."""
        return key_array(self._rows)

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """Which of them exist. Shape ``(rows,)``."""
        has = lib.pv_results_found
        results = _results(self._rows)
        return np.fromiter((has(results, row) for row in range(self._count)), np.bool_,
                           self._count)

    @property
    def vectors(self) -> npt.NDArray[Any]:
        """Their vectors, zero where there is no record. Shape ``(rows, dims)``, read-only."""
        if self._vectors is None:
            self._vectors = _vectors(self._rows)
        return self._vectors

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> Record[K] | None: ...
    @overload
    def __getitem__(self, at: slice) -> list[Record[K] | None]: ...
    def __getitem__(self, at: int | slice) -> Record[K] | list[Record[K] | None] | None:
        if isinstance(at, slice):
            return [self[row] for row in range(self._count)[at]]
        row = range(self._count)[at]
        results = _results(self._rows)
        if not lib.pv_results_found(results, row):
            return None
        if self._keys is None:
            self._keys = self._rows.keys()
        text = lib.pv_results_metadata(results, row, _NULL)
        vector = self.vectors[row] if lib.pv_results_dims(results) else None
        return Record(self._keys[row], ffi.string(text) if text else None, vector)

    def __repr__(self) -> str:
        return f"<{int(self.found.sum())} of {self._count} records>"
