# SPDX-License-Identifier: Apache-2.0
"""Databases, transactions and snapshots."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import uuid
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, TypeVar, overload

from . import _convert as convert
from ._native import ffi, lib
from .collection import CODES, DTYPES, INDEXES, KEYS, METRICS, Collection, number_of
from .errors import ClosedError, MisuseError, check, fail, raised

__all__ = ["Database", "Finding", "Savepoint", "Snapshot", "Stats", "Transaction", "View", "open"]

_NULL = ffi.NULL
_SYNC = {"full": lib.PV_SYNC_FULL, "async": lib.PV_SYNC_ASYNC}
_TXN_SYNC = {"full": lib.PV_TXN_SYNC_FULL, "async": lib.PV_TXN_SYNC_ASYNC}
_COMPRESSION = {"none": lib.PV_COMPRESSION_NONE, "zstd": lib.PV_COMPRESSION_ZSTD}

Sync = Literal["full", "async"]
Log = Callable[[int, str, str], None]
V = TypeVar("V", bound="View")


# ---- callbacks -------------------------------------------------------------------------------


def _signal_raised(kind: Any, exception: BaseException, traceback: Any) -> int:
    """What the handler of a signal raised: it ends the call and is raised again behind it."""
    raised.exception = exception
    return 1


@ffi.def_extern(error=1, onerror=_signal_raised)  # type: ignore[untyped-decorator]
def pvpy_on_signals() -> int:
    """Let the interpreter handle signals, which it does between two steps of a program."""
    for _ in range(2):
        pass
    return 0


def _callback_raised(kind: Any, exception: BaseException, traceback: Any) -> None:
    """Errors of a log function go where those of destructors go."""
    sys.excepthook(kind, exception, traceback)


@ffi.def_extern(onerror=_callback_raised)  # type: ignore[untyped-decorator]
def pvpy_on_log(ctx: Any, level: int, category: Any, message: Any) -> None:
    """One line of the library's log."""
    function: Log = ffi.from_handle(ctx)
    function(level, ffi.string(category).decode(), ffi.string(message).decode("utf-8", "replace"))


@ffi.def_extern(onerror=_callback_raised)  # type: ignore[untyped-decorator]
def pvpy_on_finding(ctx: Any, collection: Any, page_id: int, message: Any) -> None:
    """One finding of a check."""
    findings: list[Finding] = ffi.from_handle(ctx)
    name = ffi.string(collection).decode() if collection else None
    findings.append(Finding(name, page_id or None,
                            ffi.string(message).decode("utf-8", "replace")))


# ---- processes and threads -------------------------------------------------------------------

_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_views: weakref.WeakSet[View] = weakref.WeakSet()


def _know_main_thread() -> None:
    lib.pvpy_set_main(threading.main_thread().ident or 0)


def _after_fork() -> None:
    """In the child: another main thread, and locks that nobody is left to give back."""
    _know_main_thread()
    for view in list(_views):
        view._lock = threading.RLock()


def _close_all() -> None:
    """At the interpreter's end, while callbacks still can run."""
    for database in list(_databases):
        try:
            database._shut()
        except Exception as problem:
            warnings.warn(f"closing {database!r}: {problem}", ResourceWarning, stacklevel=2)


_know_main_thread()
os.register_at_fork(after_in_child=_after_fork)
atexit.register(_close_all)


# ---- database --------------------------------------------------------------------------------


class Stats(NamedTuple):
    """Figures of an open database; bytes where the name says so, LSNs are log positions."""

    uuid: uuid.UUID
    lsn: int
    durable_lsn: int
    checkpoint_lsn: int
    db_checksum: int
    file_bytes: int
    log_bytes: int
    pages: int
    free_bytes: int
    cache_bytes: int
    cache_limit: int
    memory_bytes: int
    memory_peak: int
    page_hits: int
    page_misses: int
    log_syncs: int
    commits: int
    checkpoints: int


class Finding(NamedTuple):
    """One thing that `Database.check` found."""

    collection: str | None
    page_id: int | None
    message: str


class _HasCollections:
    """What a database and a view of it have in common."""

    def _database(self) -> Database:
        raise NotImplementedError

    def _view(self) -> View | None:
        raise NotImplementedError

    def _collections_call(self, function: Any, *args: object) -> int:
        if lib.pvpy_inside():
            fail(lib.PV_ERR_MISUSE)
        view = self._view()
        if view is None:
            code: int = function(self._database()._handle, _NULL, *args, lib.pvpy_err())
            return code
        with view._lock:
            code = function(self._database()._handle, view._pointer(), *args, lib.pvpy_err())
            return code

    @overload
    def collection(self, name: str, dims: int | None = None, *, metric: str = ...,
                   dtype: str = ..., index: str = ..., code: str = ...,
                   ef_construction: int = ..., compression: int = ..., code_bits: int = ...,
                   code_parts: int = ..., opq: bool = ...) -> Collection[str]: ...
    @overload
    def collection(self, name: str, dims: int | None = None, *, key: Literal["str"],
                   metric: str = ..., dtype: str = ..., index: str = ..., code: str = ...,
                   ef_construction: int = ..., compression: int = ..., code_bits: int = ...,
                   code_parts: int = ..., opq: bool = ...) -> Collection[str]: ...
    @overload
    def collection(self, name: str, dims: int | None = None, *, key: Literal["int"],
                   metric: str = ..., dtype: str = ..., index: str = ..., code: str = ...,
                   ef_construction: int = ..., compression: int = ..., code_bits: int = ...,
                   code_parts: int = ..., opq: bool = ...) -> Collection[int]: ...
    @overload
    def collection(self, name: Collection[str]) -> Collection[str]: ...
    @overload
    def collection(self, name: Collection[int]) -> Collection[int]: ...
    def collection(self, name: Any, dims: int | None = None, *, metric: str = "cosine",
                   key: str = "str", dtype: str = "f32", index: str = "auto",
                   code: str = "auto", ef_construction: int = 0, compression: int = 0,
                   code_bits: int = 0, code_parts: int = 0, opq: bool = False) -> Any:
        """A collection by name, made when `dims` is given and there is none.

        Args:
            name: 1 to 128 bytes without control characters and slashes; or a `Collection`, to
                have the same one inside this transaction.
            dims: dimensions of its vectors, 1 to 16384. None: it must exist.
            metric: "cosine", "l2", "dot" or "l1"; of bits "hamming" or "jaccard".
            key: "str" or "int", what its ids are.
            dtype: what stored vectors are made of: "f32", "f16" ("float32", "float16"), "i8"
                ("int8") or "bit". Other floats and integers are rounded to f32 and f16 (to the
                nearest, ties to even); i8 takes integers from -128 to 127; bit takes booleans, or
                uint8 that hold 8 of them each, the first in the highest bit.
            index: "flat" compares with every record, "hnsw" walks a graph, "ivf" scans lists of
                records about centres, "auto" chooses the first or the second by their number.
            code: what a graph is walked by: "f32", "f16", "sq8", "q4", "b1", "pq" or "auto"; of
                such vectors "i8" and "bit" too. With "l1" only "f32", "f16" and "i8".
                Answers are always ranked by the full vectors.
            ef_construction: candidates for each record while the graph is built; 0: 200.
            compression: with "pq": times as small as f32, 4 to 64; 0: 32.
            code_bits: with "pq": 4 or 8 for a part of the vector; 0: 8.
            code_parts: with "pq": parts, at most dims; 0: what `compression` gives.
            opq: with "pq": vectors are turned before they are cut; codes tell more, learning and
                coding take longer.

        Raises:
            ExistsError: it exists with other options.
            NotFoundError: it does not exist and no dims are given.

        >>> db = piramiddb.open(":memory:")
        >>> db.collection("docs", dims=3, metric="l2")
        <Collection 'docs': 3 dims, l2, str keys>
        """
        if isinstance(name, Collection):
            name = name.name
        elif dims is not None:
            self._make(lib.pv_collection_ensure, name, dims, metric=metric, key=key, dtype=dtype,
                       index=index, code=code, ef_construction=ef_construction,
                       compression=compression, code_bits=code_bits, code_parts=code_parts,
                       opq=opq)
        return Collection(self._database(), self._view(), name)

    def create_collection(self, name: str, dims: int, *, metric: str = "cosine",
                          key: str = "str", dtype: str = "f32", index: str = "auto",
                          code: str = "auto", ef_construction: int = 0, compression: int = 0,
                          code_bits: int = 0, code_parts: int = 0,
                          opq: bool = False) -> Collection[Any]:
        """A new collection, as `collection`; ExistsError when there is one of this name."""
        self._make(lib.pv_collection_create, name, dims, metric=metric, key=key, dtype=dtype,
                   index=index, code=code, ef_construction=ef_construction,
                   compression=compression, code_bits=code_bits, code_parts=code_parts, opq=opq)
        return Collection(self._database(), self._view(), name)

    def _make(self, function: Any, name: str, dims: int, *, metric: str, key: str, dtype: str,
              index: str, code: str, ef_construction: int, compression: int, code_bits: int,
              code_parts: int, opq: bool) -> None:
        opts = ffi.new("pv_collection_opts *")
        opts.struct_size = ffi.sizeof("pv_collection_opts")
        opts.dims = dims
        opts.metric = number_of(METRICS, metric, "metric")
        opts.type = number_of(DTYPES, dtype, "dtype")
        opts.key = number_of(KEYS, key, "key")
        opts.index = number_of(INDEXES, index, "index")
        opts.code = number_of(CODES, code, "code")
        opts.ef_construction = ef_construction
        opts.compression = compression
        opts.code_bits = code_bits
        opts.code_parts = code_parts
        opts.flags = lib.PV_COLLECTION_OPQ if opq else 0
        lib.pvpy_sweep()
        check(self._collections_call(function, convert.name_text(name), opts))

    def drop_collection(self, name: str) -> None:
        """Remove a collection with all its records."""
        lib.pvpy_sweep()
        check(self._collections_call(lib.pv_collection_drop, convert.name_text(name)))

    def collections(self) -> list[str]:
        """Names of all collections, in byte order.

        >>> db = piramiddb.open(":memory:")
        >>> _ = db.collection("b", dims=3), db.collection("a", dims=3)
        >>> db.collections()
        ['a', 'b']
        """
        out = ffi.new("pv_names **")
        check(self._collections_call(lib.pv_collection_list, out))
        names = ffi.gc(out[0], lib.pv_names_free)
        return [ffi.string(lib.pv_names_get(names, i)).decode()
                for i in range(lib.pv_names_count(names))]


class Database(_HasCollections):
    """An open database; made by `open`. Any number of threads may use it at once.

    As a context manager it closes itself. Whatever was handed out before (results, records)
    stays valid; everything else raises ClosedError afterwards.
    """

    def __init__(self, path: str, handle: Any, keep: object) -> None:
        self._path = path
        self._handle = handle
        self._keep = keep
        self._pid = os.getpid()
        self._closed = False
        _databases.add(self)

    def _database(self) -> Database:
        return self

    def _view(self) -> View | None:
        return None

    @property
    def path(self) -> str:
        """Where the file is, or ":memory:"."""
        return self._path

    @property
    def closed(self) -> bool:
        """Was it closed?"""
        return self._closed

    def __repr__(self) -> str:
        return f"<Database {self._path!r}{', closed' if self._closed else ''}>"

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True) and self._pid == os.getpid():
            warnings.warn(f"{self!r} was not closed", ResourceWarning, stacklevel=2)

    def close(self) -> None:
        """Close the file; open transactions are rolled back. Closing twice is fine.

        Waits for calls that other threads have begun. Afterwards one file remains.

        Raises:
            StorageError, FullError: not everything could be written back. Nothing committed is
                lost: the log stays and is applied when the database is opened next.
        """
        if lib.pvpy_inside():
            fail(lib.PV_ERR_MISUSE)
        self._shut()

    def _shut(self) -> None:
        code = lib.pv_close(self._handle, lib.pvpy_err())
        self._closed = True
        _databases.discard(self)
        if code not in (0, lib.PV_ERR_CLOSED):
            fail(code)

    def transaction(self, *, sync: Sync | None = None, wait: bool = True) -> Transaction:
        """Begin a write transaction; as a context manager it commits at the end.

        Args:
            sync: "full" is durable before the commit returns, "async" soon after; None as the
                database was opened.
            wait: wait for another writer (as long as ``busy_timeout`` says), or BusyError at once.

        >>> db = piramiddb.open(":memory:")
        >>> docs = db.collection("docs", dims=2)
        >>> with db.transaction() as tx:
        ...     inside = tx.collection(docs)
        ...     _ = inside.insert("a", [1, 2])
        ...     docs.count(), inside.count()
        (0, 1)
        >>> docs.count()
        1
        """
        flags = lib.PV_TXN_WRITE | (0 if wait else lib.PV_TXN_NOWAIT)
        if sync is not None:
            flags |= number_of(_TXN_SYNC, sync, "sync")
        lib.pvpy_sweep()
        return Transaction(self, flags)

    def read(self) -> Snapshot:
        """A read transaction: one state, however long, whatever is written meanwhile.

        >>> db = piramiddb.open(":memory:")
        >>> docs = db.collection("docs", dims=2)
        >>> with db.read() as snap:
        ...     _ = docs.insert("a", [1, 2])
        ...     docs.count(), snap.collection(docs).count()
        (1, 0)
        """
        return Snapshot(self, lib.PV_TXN_READ)

    def stats(self) -> Stats:
        """Figures of the database and of this handle; costs no I/O."""
        out = ffi.new("pv_stats *")
        out.struct_size = ffi.sizeof("pv_stats")
        self._call(lib.pv_stats_get, out)
        identity = uuid.UUID(bytes=bytes(ffi.buffer(out.uuid)))
        return Stats(identity, *(getattr(out, name) for name in Stats._fields[1:]))

    def checkpoint(self) -> None:
        """Write everything committed into the database file; it happens by itself too."""
        self._call(lib.pv_checkpoint)

    def check(self, *, deep: bool = False) -> list[Finding]:
        """Look for damage, while others read and write. An empty list: nothing is wrong.

        Args:
            deep: every page, key, document and vector; else structure, catalogue and counters.

        >>> piramiddb.open(":memory:").check(deep=True)
        []
        """
        findings: list[Finding] = []
        handle = ffi.new_handle(findings)
        count = ffi.new("uint64_t *")
        self._call(lib.pv_check, lib.PV_CHECK_DEEP if deep else lib.PV_CHECK_QUICK,
                   lib.pvpy_finding, handle, count)
        assert count[0] == len(findings)
        return findings

    def _call(self, function: Any, *args: object) -> None:
        if lib.pvpy_inside():
            fail(lib.PV_ERR_MISUSE)
        check(function(self._handle, *args, lib.pvpy_err()))


def open(path: str | bytes | os.PathLike[str] | os.PathLike[bytes], *, create: bool = True,
         readonly: bool = False, wait: bool = True, sync: Sync = "full", threads: int = 0,
         busy_timeout: float | None = None, cache_bytes: int = 0, memory_limit_bytes: int = 0,
         checkpoint_bytes: int = 0, compression: Literal["none", "zstd"] = "none",
         log: Log | None = None, log_level: int = 0) -> Database:
    """Open a database, or create it.

    Args:
        path: the file; while it is open its log stands beside it in ``<path>-wal``. ":memory:"
            makes an empty database that ends with its handle.
        create: make the file when it is missing, else NotFoundError.
        readonly: refuse all writes.
        wait: wait for another process that writes, or BusyError at once.
        sync: when a commit is durable: "full" before it returns, "async" soon after.
        threads: 0 lets the library choose, 1 means none but the caller's.
        busy_timeout: seconds to wait for another writer; None: 5.
        cache_bytes: page cache; 0: a quarter of memory, at most 4 GiB.
        memory_limit_bytes: all memory of the handle, cache included; 0: none.
        checkpoint_bytes: log size that starts a checkpoint; 0: the library chooses.
        compression: of ids and metadata written from now on; "zstd" where the build has it.
        log: told lines of the library's log as ``(level, category, message)``, on any thread; it
            must not call the library.
        log_level: 1 errors, 2 warnings (the default), 3 information, 4 everything.

    Raises:
        NotFoundError, CantOpenError, PermError, ReadOnlyError: the file.
        FormatError: it is something else, or of a newer format; it is never overwritten.
        BusyError: another process has it; the message names it.
        CorruptError, LogMissingError, UnsupportedError, FullError: see the message.

    >>> with piramiddb.open(":memory:") as db:
    ...     db.stats().commits
    0
    """
    raw = os.fsencode(path)
    if b"\0" in raw:
        raise ValueError("the path has a NUL inside")
    opts = ffi.new("pv_open_opts *")
    opts.struct_size = ffi.sizeof("pv_open_opts")
    opts.flags = (0 if create else lib.PV_OPEN_NOCREATE) | \
        (lib.PV_OPEN_READONLY if readonly else 0) | (0 if wait else lib.PV_OPEN_NOWAIT)
    opts.sync = number_of(_SYNC, sync, "sync")
    opts.threads = threads
    if busy_timeout is not None:
        if not 0 < busy_timeout < 4e6:
            raise ValueError(f"busy_timeout is {busy_timeout}, wanted seconds (or wait=False)")
        opts.busy_timeout_ms = max(1, round(busy_timeout * 1000))
    opts.cache_bytes = cache_bytes
    opts.memory_limit_bytes = memory_limit_bytes
    opts.checkpoint_bytes = checkpoint_bytes
    opts.compression = number_of(_COMPRESSION, compression, "compression")
    opts.interrupt = lib.pvpy_interrupt
    opts.log_level = log_level
    keep = None
    if log is not None:
        keep = ffi.new_handle(log)
        opts.log = lib.pvpy_log
        opts.log_ctx = keep
    if lib.pvpy_inside():
        fail(lib.PV_ERR_MISUSE)
    out = ffi.new("pv_db **")
    check(lib.pv_open(raw, opts, out, lib.pvpy_err()))
    # The memory of the handle lives as long as the Python object, so that no thread can be between
    # having looked at it and calling with it when another closes it.
    check(lib.pv_db_ref(out[0], lib.pvpy_err()))
    handle = ffi.gc(out[0], lib.pvpy_drop_db)
    return Database(os.fsdecode(raw), handle, keep)


# ---- transactions ----------------------------------------------------------------------------


class View(_HasCollections):
    """One view of a database. For one thread at a time: a second one waits for the call to end."""

    def __init__(self, db: Database, flags: int) -> None:
        if lib.pvpy_inside():
            fail(lib.PV_ERR_MISUSE)
        self._db = db
        self._lock = threading.RLock()
        self._txn: Any = None
        out = ffi.new("pv_txn **")
        check(lib.pv_txn_begin(db._handle, flags, out, lib.pvpy_err()))
        self._txn = ffi.gc(out[0], lib.pvpy_drop_txn)
        _views.add(self)

    def _database(self) -> Database:
        return self._db

    def _view(self) -> View | None:
        return self

    def _pointer(self) -> Any:
        if self._txn is None:
            raise ClosedError("the transaction has ended")
        return self._txn

    @property
    def lsn(self) -> int:
        """Log position of the state it began with."""
        with self._lock:
            found: int = lib.pv_txn_lsn(self._pointer())
            return found

    @property
    def closed(self) -> bool:
        """Has it ended?"""
        return self._txn is None

    def _end(self) -> None:
        with self._lock:
            txn, self._txn = self._txn, None
            if txn is not None:
                if lib.pvpy_inside():
                    self._txn = txn
                    fail(lib.PV_ERR_MISUSE)
                ffi.release(txn)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Several calls that shall be one: what they did is undone when one fails."""
        if not isinstance(self, Transaction):
            raise MisuseError("the transaction was begun for reading")
        with self.savepoint():
            yield

    def __enter__(self: V) -> V:
        return self


class Snapshot(View):
    """A read transaction: one state of the database; made by `Database.read`."""

    def close(self) -> None:
        """Let go of the state. Closing twice is fine."""
        self._end()

    def __exit__(self, *_: object) -> None:
        self._end()

    def __repr__(self) -> str:
        return f"<Snapshot{' ended' if self.closed else ''}>"


class Transaction(View):
    """A write transaction; made by `Database.transaction`. Nobody sees it before its commit."""

    def commit(self) -> int:
        """Make all changes visible and durable together; the position in the log.

        Raises:
            ClosedError: it has ended.
            Error: nothing of it is visible; the message says why.
        """
        with self._lock:
            txn = self._pointer()
            if lib.pvpy_inside():
                fail(lib.PV_ERR_MISUSE)
            lsn = ffi.new("uint64_t *")
            self._txn = None
            ffi.gc(txn, None)
            check(lib.pv_txn_commit(txn, lsn, lib.pvpy_err()))
            position: int = lsn[0]
            return position

    def rollback(self) -> None:
        """Undo all changes. Afterwards, and after a commit, it does nothing."""
        self._end()

    def savepoint(self) -> Savepoint:
        """Mark this point, to go back to; as a context manager it does so on an exception.

        >>> db = piramiddb.open(":memory:")
        >>> with db.transaction() as tx:
        ...     docs = tx.collection("docs", dims=2)
        ...     try:
        ...         with tx.savepoint():
        ...             _ = docs.insert("a", [1, 2])
        ...             docs.insert("a", [1, 2])
        ...     except piramiddb.ExistsError:
        ...         docs.count()
        0
        """
        with self._lock:
            number = ffi.new("uint32_t *")
            check(lib.pv_txn_savepoint(self._pointer(), number, lib.pvpy_err()))
            return Savepoint(self, number[0])

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None or self.closed:
            self._end()
        else:
            self.commit()

    def __repr__(self) -> str:
        return f"<Transaction{' ended' if self.closed else ''}>"


class Savepoint:
    """A point of a transaction to which it can be taken back; made by `Transaction.savepoint`."""

    def __init__(self, tx: Transaction, number: int) -> None:
        self._tx = tx
        self._number = number

    def rollback(self) -> None:
        """Undo all changes made since; the savepoint itself stays."""
        with self._tx._lock:
            check(lib.pv_txn_rollback_to(self._tx._pointer(), self._number, lib.pvpy_err()))

    def release(self) -> None:
        """Forget this savepoint and those made after it; the changes stay."""
        with self._tx._lock:
            check(lib.pv_txn_release(self._tx._pointer(), self._number, lib.pvpy_err()))

    def __enter__(self) -> Savepoint:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._tx.closed:
            return
        if kind is not None:
            self.rollback()
        self.release()

    def __repr__(self) -> str:
        return f"<Savepoint {self._number}>"
