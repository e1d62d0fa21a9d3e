# SPDX-License-Identifier: Apache-2.0
"""Piramid: an embeddable, transactional vector database in one file.

>>> import numpy as np
>>> import piramiddb
>>> with piramiddb.open(":memory:") as db:
...     docs = db.collection("docs", dims=3, metric="cosine")
...     _ = docs.upsert(["a", "b"], np.eye(2, 3, dtype=np.float32), [{"n": 1}, {"n": 2}])
...     for hit in docs.search([0, 1, 0], k=1):
...         print(hit.id, hit.score, hit.metadata)
b 1.0 {'n': 2}
"""

from ._native import ffi as _ffi
from ._native import lib as _lib
from .collection import Collection, CollectionInfo, Cursor, RecordIterator
from .database import (
    Database,
    Finding,
    Savepoint,
    Snapshot,
    Stats,
    Transaction,
    open,
)
from .errors import (
    BusyError,
    CancelledError,
    CantOpenError,
    ClosedError,
    ConflictError,
    CorruptError,
    DimsError,
    Error,
    ExistsError,
    FormatError,
    FullError,
    InternalError,
    LimitError,
    LogMissingError,
    MisuseError,
    NoMemoryError,
    NotFoundError,
    PermError,
    ReadOnlyError,
    SchemaError,
    SnapshotTooOldError,
    StorageError,
    TimedOutError,
    UnsupportedError,
)
from .results import BatchResults, Hit, Record, Records, Results

__all__ = [
    "BatchResults",
    "BusyError",
    "CancelledError",
    "CantOpenError",
    "ClosedError",
    "Collection",
    "CollectionInfo",
    "ConflictError",
    "CorruptError",
    "Cursor",
    "Database",
    "DimsError",
    "Error",
    "ExistsError",
    "Finding",
    "FormatError",
    "FullError",
    "Hit",
    "InternalError",
    "LimitError",
    "LogMissingError",
    "MisuseError",
    "NoMemoryError",
    "NotFoundError",
    "PermError",
    "ReadOnlyError",
    "Record",
    "RecordIterator",
    "Records",
    "Results",
    "Savepoint",
    "SchemaError",
    "Snapshot",
    "SnapshotTooOldError",
    "Stats",
    "StorageError",
    "TimedOutError",
    "Transaction",
    "UnsupportedError",
    "build_option",
    "open",
    "version_number",
]

__version__: str = _ffi.string(_lib.pv_version_string()).decode()


def version_number() -> int:
    """The version as one number that orders: 0.1.0 is 1000, 1.2.3 is 1002003."""
    number: int = _lib.pv_version_number()
    return number


def build_option(name: str) -> "str | None":
    """How the library was built: "compiler", "debug", "arch"; None for an unknown name."""
    text = _lib.pv_build_option(name.encode())
    return _ffi.string(text).decode() if text else None
