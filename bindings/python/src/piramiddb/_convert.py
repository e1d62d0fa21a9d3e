# SPDX-License-Identifier: Apache-2.0
"""From what Python gives to what C takes, a bounded piece at a time.

An array of the collection's own element type whose rows lie gapless in memory is passed as it is.
Everything else is copied, once, piece by piece, so that the copies of a large batch never exist
together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ._native import ffi, lib
from .errors import DimsError

Array = npt.NDArray[Any]
F32 = np.dtype(np.float32)
U64 = np.dtype(np.uint64)
ID_NONE: int = lib.PV_ID_NONE

PIECE_BYTES = 4 << 20  # of vectors in one call of the library
PIECE_ROWS = 16384


# ---- element types ---------------------------------------------------------------------------


class Element(NamedTuple):
    """What the vectors of a collection are made of, in numpy."""

    name: str
    dtype: np.dtype[Any]
    kinds: str  # kinds of arrays that it takes
    number: int  # of pv.h

    def length(self, dims: int) -> int:
        """Entries of one row: 8 dimensions each where they are bits."""
        return (dims + 7) // 8 if self.name == "bit" else dims


ELEMENTS = {element.name: element for element in (
    Element("f32", F32, "fiu", lib.PV_TYPE_F32),
    Element("f16", np.dtype(np.float16), "fiu", lib.PV_TYPE_F16),
    Element("i8", np.dtype(np.int8), "iu", lib.PV_TYPE_I8),
    Element("bit", np.dtype(np.uint8), "bu", lib.PV_TYPE_BIT))}


# ---- metadata and filters --------------------------------------------------------------------


def _plain(value: object) -> object:
    """Values of numpy inside metadata and filters."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no value of JSON")


_dump = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"),
                         default=_plain).encode


def metadata_text(value: object, at: int | None = None) -> str:
    """JSON text of one record's metadata; "" when it is left out."""
    if value is None:
        return ""
    if isinstance(value, str):
        if not value.strip():
            raise ValueError("metadata is an empty text, not a JSON object")
        return value
    if isinstance(value, Mapping):
        return _dump(value if isinstance(value, dict) else dict(value))
    where = "metadata" if at is None else f"metadata[{at}]"
    raise TypeError(f"{where} is {type(value).__name__}, wanted a dict, JSON text or None")


def filter_text(value: object) -> bytes:
    """JSON text of a filter, without NUL."""
    if isinstance(value, dict):
        return _dump(value).encode()
    if isinstance(value, Mapping):
        return _dump(dict(value)).encode()
    if isinstance(value, str):
        text = value.encode()
        if b"\0" in text:
            raise ValueError("the filter has a NUL inside")
        return text
    raise TypeError(f"filter is {type(value).__name__}, wanted a dict, JSON text or None")


def name_text(name: str) -> bytes:
    """A collection's name, without NUL."""
    if not isinstance(name, str):
        raise TypeError(f"a collection's name is str, not {type(name).__name__}")
    text = name.encode()
    if b"\0" in text:
        raise ValueError("the name has a NUL inside")
    return text


# ---- vectors ---------------------------------------------------------------------------------


_WANTED = {"i8": "integers from -128 to 127", "bit": "booleans, or uint8 with 8 of them each"}


def as_array(value: object, what: str, element: Element) -> Array:
    """An array of any shape that can become `element`: a view where that is possible."""
    if not isinstance(value, np.ndarray):
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            value = np.from_dlpack(value)
        else:
            value = np.asarray(value)
    if value.dtype.kind not in element.kinds and value.size:
        wanted = _WANTED.get(element.name, "real numbers")
        raise TypeError(f"{what}: elements are {value.dtype}, wanted {wanted}")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise TypeError(f"{what}: masked values are no numbers")
    return value


def _as_element(array: Array, what: str, element: Element) -> Array:
    """A C-contiguous array of the element's type: itself when it is one, else a copy.

    f16 are rounded to the nearest, ties to even. Integers do not wrap around.
    """
    if array.dtype == element.dtype or not array.size:
        return np.ascontiguousarray(array, dtype=element.dtype)
    if element.name == "bit":
        if array.dtype.kind != "b":
            raise TypeError(f"{what}: elements are {array.dtype}, wanted {_WANTED['bit']}")
        return np.packbits(array, axis=-1)
    if element.name == "i8" and (array.min() < -128 or array.max() > 127):
        raise ValueError(f"{what}: elements from {array.min()} to {array.max()}, "
                         f"wanted {_WANTED['i8']}")
    with np.errstate(over="ignore"):  # infinities are the library's to refuse, by position
        return np.ascontiguousarray(array, dtype=element.dtype)


def _dims(array: Array, element: Element, dims: int) -> int:
    """Dimensions of the rows of an array; `dims` where packed bits are as many bytes."""
    length: int = array.shape[-1]
    if element.name != "bit" or array.dtype.kind == "b":
        return length
    return dims if length == element.length(dims) else 8 * length


def one_row(value: object, element: Element) -> Array:
    """A vector of any length, as it came, as a matrix of one row."""
    array = as_array(value, "the vector", element)
    if array.ndim != 1:
        raise DimsError(f"the vector has the shape {array.shape}, wanted one dimension")
    return array[None]


def one_vector(value: object, element: Element, dims: int) -> tuple[Array, int]:
    """A vector as C wants it, of any length, and its dimensions."""
    array = one_row(value, element)[0]
    return _as_element(array, "the vector", element), _dims(array, element, dims)


class Rows(NamedTuple):
    """Vectors for C: where they lie, and what must live as long."""

    pointer: Any
    stride: int
    length: int
    dims: int
    keep: object


def rows(value: object, element: Element, dims: int, what: str = "vectors") -> Rows:
    """A matrix for C, without a copy where each row lies gapless in the element's type."""
    array = as_array(value, what, element)
    if array.ndim != 2:
        raise DimsError(f"{what}: the shape is {array.shape}, wanted (count, dims)")
    dims = _dims(array, element, dims)
    count = array.shape[0]
    size = element.dtype.itemsize
    row = array.shape[1] * size
    wide = array.strides[0] >= row or count < 2
    if array.dtype == element.dtype and array.strides[1] == size and wide:
        if array.flags.c_contiguous:
            return Rows(ffi.from_buffer(array), row, count, dims, array)
        return Rows(ffi.cast("void *", array.ctypes.data), array.strides[0], count, dims, array)
    array = _as_element(array, what, element)
    return Rows(ffi.from_buffer(array), array.shape[1] * size, count, dims, array)


# ---- ids -------------------------------------------------------------------------------------


def is_one_id(ids: object) -> bool:
    """Is it a single id, and not a sequence of them?"""
    return isinstance(ids, (str, int, np.integer))


def id_text(value: object) -> bytes:
    """A single string id."""
    if not isinstance(value, str):
        raise TypeError(f"the id is {type(value).__name__}, the collection has str keys")
    text = value.encode()
    if not text or b"\0" in text:
        raise ValueError("the id is empty" if not text else "the id has a NUL inside")
    return text


def id_number(value: object) -> int:
    """A single number id."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"the id is {type(value).__name__}, the collection has int keys")
    if not 0 <= value < ID_NONE:
        raise ValueError(f"the id {value} is not from 0 to 2**64 - 2")
    return int(value)


class Texts(NamedTuple):
    """Strings for C: one buffer and count + 1 offsets into it."""

    data: bytes
    offsets: Array


def texts(pieces: Sequence[str]) -> Texts:
    """Strings in one buffer."""
    joined = "".join(pieces)
    data = joined.encode()
    offsets = np.zeros(len(pieces) + 1, U64)
    if len(data) == len(joined):
        lengths = list(map(len, pieces))
    else:
        lengths = [len(piece.encode()) for piece in pieces]
    np.cumsum(lengths, dtype=U64, out=offsets[1:])
    return Texts(data, offsets)


def id_texts(ids: Sequence[Any], first: int, may_miss: bool) -> Texts:
    """String ids for C. None stands for one that the library shall make."""
    listed: list[Any] = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
    for at, value in enumerate(listed):
        if type(value) is str and value:
            continue
        if value is None and may_miss:
            listed[at] = ""
        elif not isinstance(value, str):
            raise TypeError(f"ids[{first + at}] is {type(value).__name__}, "
                            "the collection has str keys")
        elif not value:
            raise ValueError(f"ids[{first + at}] is empty")
    return texts(listed)


def id_numbers(ids: Sequence[Any], first: int, may_miss: bool) -> Array:
    """Number ids for C. None stands for one that the library shall make."""
    if isinstance(ids, np.ndarray) and ids.dtype.kind in "iu":
        if ids.dtype.kind == "i" and len(ids) and ids.min() < 0:
            at = int(np.argmax(ids < 0))
            raise ValueError(f"ids[{first + at}] is {ids[at]}, wanted 0 to 2**64 - 2")
        numbers = np.ascontiguousarray(ids, dtype=U64)
        if len(numbers) and numbers.max() == ID_NONE:
            raise ValueError(f"ids[{first + int(np.argmax(numbers))}] is 2**64 - 1, wanted less")
        return numbers
    listed: list[Any] = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
    if not listed or set(map(type, listed)) != {int}:
        for at, value in enumerate(listed):
            if value is None and may_miss:
                listed[at] = ID_NONE
            elif isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise TypeError(f"ids[{first + at}] is {type(value).__name__}, "
                                "the collection has int keys")
            elif value == ID_NONE:
                raise ValueError(f"ids[{first + at}] is 2**64 - 1, wanted less")
    elif max(listed) == ID_NONE:
        raise ValueError(f"ids[{first + listed.index(ID_NONE)}] is 2**64 - 1, wanted less")
    if listed and not (min(listed) >= 0 and max(listed) <= ID_NONE):
        at = next(i for i, value in enumerate(listed) if not 0 <= value <= ID_NONE)
        raise ValueError(f"ids[{first + at}] is {listed[at]}, wanted 0 to 2**64 - 2")
    return np.array(listed, dtype=U64)


# ---- batches ---------------------------------------------------------------------------------


class Piece(NamedTuple):
    """A part of a batch, small enough for one call."""

    first: int
    length: int
    ids: Sequence[Any] | None
    vectors: Any
    metadata: Sequence[Any] | None


def _sequence(value: Any, what: str) -> Any:
    """Something that has a length and can be sliced: itself when it can, else a list."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return value
    if isinstance(value, (str, bytes, Mapping)):
        raise TypeError(f"{what} is {type(value).__name__}, wanted one entry for each record")
    try:
        return list(value)
    except TypeError:
        raise TypeError(f"{what} is {type(value).__name__}, wanted a sequence") from None


def columns(ids: Any, vectors: Any, metadata: Any,
            element: Element) -> tuple[int, Any, Any, Any]:
    """Number of records and the three columns, checked for their lengths."""
    if ids is not None:
        ids = _sequence(ids, "ids")
    if vectors is not None and not isinstance(vectors, (list, tuple)):
        vectors = as_array(vectors, "vectors", element)
        if vectors.ndim != 2:
            raise DimsError(f"vectors: the shape is {vectors.shape}, wanted (count, dims)")
    if metadata is not None:
        metadata = _sequence(metadata, "metadata")
    given = {what: len(column) for what, column in
             (("ids", ids), ("vectors", vectors), ("metadata", metadata)) if column is not None}
    if not given:
        raise TypeError("neither ids nor vectors are given")
    if len(set(given.values())) > 1:
        shown = ", ".join(f"{count} {what}" for what, count in given.items())
        raise ValueError(f"the columns differ in length: {shown}")
    return next(iter(given.values())), ids, vectors, metadata


RECORD_KEYS = {"id", "vector", "metadata"}


def record_columns(records: Sequence[Any]) -> tuple[int, Any, Any, Any]:
    """The same for records as dicts."""
    for at, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise TypeError(f"records[{at}] is {type(record).__name__}, wanted a dict")
        if unknown := set(record) - RECORD_KEYS:
            raise ValueError(f"records[{at}] has {sorted(map(str, unknown))}, "
                             "wanted id, vector and metadata")
    ids = [record.get("id") for record in records]
    vectors = [record.get("vector") for record in records]
    metadata = [record.get("metadata") for record in records]
    missing = sum(vector is None for vector in vectors)
    if missing and missing < len(vectors):
        at = next(i for i, vector in enumerate(vectors) if vector is None)
        raise ValueError(f"records[{at}] has no vector and others have")
    return len(records), ids, None if missing else vectors, metadata


def piece_length(dims: int) -> int:
    """Records in one call of the library: as of f32, also where they need less."""
    return max(1, min(PIECE_ROWS, PIECE_BYTES // (4 * max(dims, 1))))


def pieces(count: int, ids: Any, vectors: Any, metadata: Any, dims: int) -> Iterator[Piece]:
    """A batch in parts: no part but the current one exists, neither converted nor cut out."""
    step = piece_length(dims)
    for first in range(0, count, step):
        end = min(count, first + step)
        yield Piece(first, end - first,
                    None if ids is None else ids[first:end],
                    None if vectors is None else vectors[first:end],
                    None if metadata is None else metadata[first:end])


def piece_rows(piece: Piece, element: Element, dims: int) -> Rows:
    """The vectors of a part."""
    vectors = piece.vectors
    if isinstance(vectors, (list, tuple)):
        try:
            vectors = np.asarray(vectors)
        except ValueError as problem:  # rows of different lengths
            for at, vector in enumerate(vectors):
                if np.shape(vector) != np.shape(vectors[0]):
                    raise DimsError(f"vectors[{piece.first + at}] has the shape "
                                    f"{np.shape(vector)}, others {np.shape(vectors[0])}") \
                        from problem
            raise
    return rows(vectors, element, dims)
