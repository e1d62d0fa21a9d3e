# SPDX-License-Identifier: Apache-2.0
"""One exception for each code of pv.h, with the library's message.

All derive from `Error`; where Python has an exception for the same thing, from that too, so that
``except KeyError`` and ``except OSError`` do what they say.
"""

from __future__ import annotations

import re
import threading
from typing import NoReturn

from ._native import ffi, lib

__all__ = [
    "BusyError",
    "CancelledError",
    "CantOpenError",
    "ClosedError",
    "ConflictError",
    "CorruptError",
    "DimsError",
    "Error",
    "ExistsError",
    "FormatError",
    "FullError",
    "InternalError",
    "LimitError",
    "LogMissingError",
    "MisuseError",
    "NoMemoryError",
    "NotFoundError",
    "PermError",
    "ReadOnlyError",
    "SchemaError",
    "SnapshotTooOldError",
    "StorageError",
    "TimedOutError",
    "UnsupportedError",
]


class Error(Exception):
    """Base of all errors of the library.

    Attributes:
        code: the ``PV_ERR_`` number, negative.
        sys_errno: number of the system call that failed, or 0.
        record_index: place in the batch of the record that is meant, or None.
        offset: byte offset in the text or file that is meant, else 0.
    """

    code: int = 0

    def __init__(self, message: str = "", *, sys_errno: int = 0,
                 record_index: int | None = None, offset: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.sys_errno = sys_errno
        self.record_index = record_index
        self.offset = offset
        if sys_errno and isinstance(self, OSError):
            setattr(self, "errno", sys_errno)  # noqa: B010 - errno is declared by OSError alone

    def __str__(self) -> str:
        return self.message


class MisuseError(Error, ValueError):
    """The call is wrong whatever the data: NaN, an empty id, a handle inherited through fork."""

    code = lib.PV_ERR_MISUSE


class NoMemoryError(Error, MemoryError):
    """Memory, or the memory limit of the database, ran out."""

    code = lib.PV_ERR_NOMEM


class StorageError(Error, OSError):
    """A system call failed; `sys_errno` and ``errno`` have its number (PV_ERR_IO)."""

    code = lib.PV_ERR_IO


class FullError(Error, OSError):
    """No space is left on the device."""

    code = lib.PV_ERR_FULL


class CantOpenError(Error, OSError):
    """The file cannot be opened."""

    code = lib.PV_ERR_CANTOPEN


class ReadOnlyError(Error):
    """A write to a database that was opened read-only, or lies on read-only media."""

    code = lib.PV_ERR_READONLY


class BusyError(Error):
    """Another process or transaction holds it."""

    code = lib.PV_ERR_BUSY


class ConflictError(Error):
    """Two changes contradict each other."""

    code = lib.PV_ERR_CONFLICT


class CorruptError(Error):
    """Stored bytes are damaged; the message names page and owner."""

    code = lib.PV_ERR_CORRUPT


class FormatError(Error, ValueError):
    """Not a database, a newer format, or input that does not parse."""

    code = lib.PV_ERR_FORMAT


class NotFoundError(Error, KeyError):
    """No such record, collection or file."""

    code = lib.PV_ERR_NOTFOUND


class ExistsError(Error, ValueError):
    """The id is there already, or the collection with other options."""

    code = lib.PV_ERR_EXISTS


class DimsError(Error, ValueError):
    """Wrong number of dimensions, or wrong element type."""

    code = lib.PV_ERR_DIMS


class LimitError(Error, ValueError):
    """A stated limit is exceeded."""

    code = lib.PV_ERR_LIMIT


class CancelledError(Error):
    """The call was interrupted. Ctrl-C raises KeyboardInterrupt instead."""

    code = lib.PV_ERR_CANCELLED


class TimedOutError(Error, TimeoutError):
    """The time for the call ran out."""

    code = lib.PV_ERR_TIMEOUT


class UnsupportedError(Error, NotImplementedError):
    """Known to be impossible in this version or build: an unknown operator, a codec left out."""

    code = lib.PV_ERR_UNSUPPORTED


class PermError(Error, PermissionError):
    """The system does not permit it."""

    code = lib.PV_ERR_PERM


class ClosedError(Error, ValueError):
    """The database, transaction or iterator was closed."""

    code = lib.PV_ERR_CLOSED


class InternalError(Error, RuntimeError):
    """A bug in the library: please report it."""

    code = lib.PV_ERR_INTERNAL


class SnapshotTooOldError(Error):
    """The state that is read has been overwritten."""

    code = lib.PV_ERR_SNAPSHOT_TOO_OLD


class LogMissingError(Error, OSError):
    """The file needs its log directory, which is not there."""

    code = lib.PV_ERR_LOG_MISSING


class SchemaError(Error):
    """The data contradict the collection's schema."""

    code = lib.PV_ERR_SCHEMA


BY_CODE: dict[int, type[Error]] = {cls.code: cls for cls in Error.__subclasses__()}
RECORD = re.compile(r"^record \d+: ")

# What a signal handler raised inside a call, to be raised again when the call has ended.
raised = threading.local()


def fail(code: int, first: int = 0) -> NoReturn:
    """Raise what the call that has just failed on this thread reported.

    first: number of the batch's first record, where a batch is written in several calls.
    """
    exception: BaseException | None = getattr(raised, "exception", None)
    if exception is not None:
        raised.exception = None
        if code == lib.PV_ERR_CANCELLED:
            raise exception
    if lib.pvpy_inside():
        raise MisuseError("the library may not be called from inside one of its callbacks "
                          "(a log function, or a signal handler during a call)")
    error = lib.pvpy_err()
    message = ffi.string(error.message).decode("utf-8", "replace")
    index = None
    if error.record_index != lib.PV_ID_NONE:
        index = error.record_index + first
        message = RECORD.sub(f"record {index}: ", message)
    cls = BY_CODE.get(code, Error)
    text = message or ffi.string(lib.pv_error_text(code)).decode()
    found = cls(text, sys_errno=error.sys_errno, record_index=index, offset=error.offset)
    found.code = code
    raise found


def check(code: int) -> None:
    """Raise unless the call succeeded."""
    if code:
        fail(code)
