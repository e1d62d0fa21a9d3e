# SPDX-License-Identifier: Apache-2.0
"""What searches and reads give back: light sequences over rows that C owns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import repeat
from typing import Any, Generic, NoReturn, TypeVar, overload

import numpy as np
import numpy.typing as npt

from ._native import ffi, lib
from .errors import MisuseError

__all__ = ["BatchResults", "Hit", "Record", "Records", "Results"]

K = TypeVar("K", bound="str | int")

_F32 = np.dtype(np.float32)
_U64 = np.dtype(np.uint64)
_frombuffer = np.frombuffer
_buffer = ffi.buffer
_NULL = ffi.NULL


def _left_out(what: str) -> NoReturn:
    raise MisuseError(f"the rows carry no {what}: ask for it with {what}=True")


def _keys(rows: Any, count: int) -> list[Any]:
    """Ids of all rows as a list."""
    offsets = ffi.new("uint64_t **")
    text = lib.pv_results_ids_text(rows, offsets)
    if not text:
        if not count:
            return []
        listed: list[Any] = ffi.unpack(lib.pv_results_ids_u64(rows), count)
        return listed
    if not count:
        return []
    return str(_buffer(text, offsets[0][count] - 1), "utf-8").split("\0")


def _key_array(rows: Any, count: int, keys: list[Any] | None) -> npt.NDArray[Any]:
    numbers = lib.pv_results_ids_u64(rows)
    if numbers:
        return _frombuffer(_buffer(numbers, 8 * count)[:], _U64)
    array = np.empty(count, object)
    array[:] = _keys(rows, count) if keys is None else keys
    return array


def _floats(pointer: Any, count: int) -> npt.NDArray[np.float32]:
    array: npt.NDArray[np.float32] = _frombuffer(_buffer(pointer, 4 * count)[:], _F32)
    return array


def _nothing(keep: object, pointer: object) -> None:
    """Destructor that does nothing but keep its owner until then."""


def _vectors(rows: Any, count: int) -> npt.NDArray[np.float32]:
    """All vectors as C has them; the array keeps the rows alive."""
    pointer = lib.pv_results_vectors(rows)
    if not pointer:
        _left_out("vectors")
    dims = lib.pv_results_dims(rows)
    owner = ffi.gc(pointer, partial(_nothing, rows))
    array: npt.NDArray[np.float32]
    array = _frombuffer(_buffer(owner, count * dims * 4), _F32).reshape(count, dims)
    array.flags.writeable = False
    return array


def _metadata(rows: Any, row: int) -> dict[str, Any]:
    text = lib.pv_results_metadata(rows, row, _NULL)
    if not text:
        _left_out("metadata")
    value: dict[str, Any] = json.loads(ffi.string(text).decode())
    return value


class Hit(Generic[K]):
    """One record found by a search.

    Attributes:
        id: its id, str or int.
        score: larger is nearer (see `Results.scores`).
        distance: smaller is nearer, by the collection's metric.
    """

    __slots__ = ("_results", "_row", "distance", "id", "score")

    id: K
    score: float
    distance: float

    def __init__(self, id: K, score: float, distance: float, results: Results[K],
                 row: int) -> None:
        self.id = id
        self.score = score
        self.distance = distance
        self._results = results
        self._row = row

    @property
    def metadata(self) -> dict[str, Any]:
        """Its metadata, a new dict each time."""
        return _metadata(self._results._rows, self._row)

    @property
    def vector(self) -> npt.NDArray[np.float32]:
        """Its vector of shape ``(dims,)``, read-only."""
        return self._results.vectors[self._row]

    def __repr__(self) -> str:
        return f"Hit(id={self.id!r}, score={self.score:.6g})"


class Results(Sequence[Hit[K]]):
    """The rows of one search, nearest first: a sequence of `Hit` and whole columns as arrays.

    Everything stays as it is, whatever is written, rolled back or closed later.
    """

    __slots__ = ("_count", "_distances", "_keys", "_rows", "_scores", "_vectors")

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self._count: int = lib.pv_results_count(rows)
        self._keys: list[K] | None = None
        self._scores: npt.NDArray[np.float32] | None = None
        self._distances: npt.NDArray[np.float32] | None = None
        self._vectors: npt.NDArray[np.float32] | None = None

    @property
    def ids(self) -> npt.NDArray[Any]:
        """Ids: uint64, or objects of type str. Shape ``(rows,)``."""
        return _key_array(self._rows, self._count, self._keys)

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """Scores, falling: cos, dot, or minus the l2 distance. Shape ``(rows,)``."""
        if self._scores is None:
            self._scores = _floats(lib.pv_results_scores(self._rows), self._count)
        return self._scores

    @property
    def distances(self) -> npt.NDArray[np.float32]:
        """Distances, rising: 1 - cos, minus dot, or l2. Shape ``(rows,)``."""
        if self._distances is None:
            self._distances = _floats(lib.pv_results_distances(self._rows), self._count)
        return self._distances

    @property
    def vectors(self) -> npt.NDArray[np.float32]:
        """Stored vectors, read-only, without a copy. Shape ``(rows, dims)``."""
        if self._vectors is None:
            self._vectors = _vectors(self._rows, self._count)
        return self._vectors

    @property
    def metadata(self) -> list[dict[str, Any]]:
        """Metadata of all rows."""
        return [_metadata(self._rows, row) for row in range(self._count)]

    def _id_list(self) -> list[K]:
        if self._keys is None:
            self._keys = _keys(self._rows, self._count)
        return self._keys

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Hit[K]]:
        return map(Hit, self._id_list(), self.scores.tolist(), self.distances.tolist(),
                   repeat(self), range(self._count))

    @overload
    def __getitem__(self, at: int) -> Hit[K]: ...
    @overload
    def __getitem__(self, at: slice) -> list[Hit[K]]: ...
    def __getitem__(self, at: int | slice) -> Hit[K] | list[Hit[K]]:
        if isinstance(at, slice):
            return list(self)[at]
        row = range(self._count)[at]
        return Hit(self._id_list()[row], float(self.scores[row]), float(self.distances[row]),
                   self, row)

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:3]))
        return f"<{self._count} hits: {shown}{', ...' if self._count > 3 else ''}>"


class BatchResults(Sequence[Results[K]]):
    """The answers of `Collection.search_many`: one `Results` a vector, and all columns at once.

    The arrays have one row a vector. Answers are equally long but with ``max_distance``; shorter
    ones are then filled up with NaN in `scores` and `distances`, and with None or 2**64 - 1 in
    `ids`; `counts` has their lengths.
    """

    __slots__ = ("_all",)

    def __init__(self, all_rows: list[Results[K]]) -> None:
        self._all = all_rows

    @property
    def counts(self) -> npt.NDArray[np.intp]:
        """Rows of each answer. Shape ``(vectors,)``."""
        return np.fromiter(map(len, self._all), np.intp, len(self._all))

    def _table(self, dtype: Any, fill: object, column: str) -> npt.NDArray[Any]:
        counts = self.counts
        width = int(counts.max()) if len(counts) else 0
        table = np.full((len(counts), width), fill, dtype)
        for row, results in enumerate(self._all):
            table[row, :len(results)] = getattr(results, column)
        return table

    @property
    def ids(self) -> npt.NDArray[Any]:
        """Ids. Shape ``(vectors, k)``."""
        numbers = any(lib.pv_results_ids_u64(r._rows) for r in self._all)
        return self._table(_U64, lib.PV_ID_NONE, "ids") if numbers else \
            self._table(object, None, "ids")

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """Scores. Shape ``(vectors, k)``."""
        return self._table(_F32, np.nan, "scores")

    @property
    def distances(self) -> npt.NDArray[np.float32]:
        """Distances. Shape ``(vectors, k)``."""
        return self._table(_F32, np.nan, "distances")

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Results[K]]:
        return iter(self._all)

    @overload
    def __getitem__(self, at: int) -> Results[K]: ...
    @overload
    def __getitem__(self, at: slice) -> list[Results[K]]: ...
    def __getitem__(self, at: int | slice) -> Results[K] | list[Results[K]]:
        return self._all[at]

    def __repr__(self) -> str:
        return f"<{len(self._all)} answers>"


class Record(Generic[K]):
    """A stored record.

    Attributes:
        id: its id, str or int.
    """

    __slots__ = ("_text", "_vector", "id")

    id: K

    def __init__(self, id: K, text: bytes | None, vector: npt.NDArray[np.float32] | None) -> None:
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
    def vector(self) -> npt.NDArray[np.float32]:
        """Its vector, bit for bit as it was written. Shape ``(dims,)``, read-only."""
        if self._vector is None:
            _left_out("vectors")
        return self._vector

    def __repr__(self) -> str:
        return f"Record(id={self.id!r})"


class Records(Sequence["Record[K] | None"]):
    """Records by id, in the order asked: a sequence of `Record`, with None where there is none."""

    __slots__ = ("_count", "_keys", "_rows", "_vectors")

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self._count: int = lib.pv_results_count(rows)
        self._keys: list[K] | None = None
        self._vectors: npt.NDArray[np.float32] | None = None

    @property
    def ids(self) -> npt.NDArray[Any]:
        """The ids that were asked for. Shape ``(rows,)``."""
        return _key_array(self._rows, self._count, self._keys)

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """Which of them exist. Shape ``(rows,)``."""
        has = lib.pv_results_found
        return np.fromiter((has(self._rows, row) for row in range(self._count)), np.bool_,
                           self._count)

    @property
    def vectors(self) -> npt.NDArray[np.float32]:
        """Their vectors, zero where there is no record. Shape ``(rows, dims)``, read-only."""
        if self._vectors is None:
            self._vectors = _vectors(self._rows, self._count)
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
        if not lib.pv_results_found(self._rows, row):
            return None
        if self._keys is None:
            self._keys = _keys(self._rows, self._count)
        text = lib.pv_results_metadata(self._rows, row, _NULL)
        vector = self.vectors[row] if lib.pv_results_dims(self._rows) else None
        return Record(self._keys[row], ffi.string(text) if text else None, vector)

    def __repr__(self) -> str:
        return f"<{int(self.found.sum())} of {self._count} records>"
